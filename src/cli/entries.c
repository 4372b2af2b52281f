#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/util.h"
#include "cli/select_internal.h"

const char *
entry_label(const struct vm_entry *entry)
{
    return entry->name ? entry->name : entry->moref ? entry->moref : entry->uuid;
}

static bool
is_filled(const char *text)
{
    return text && text[strspn(text, " \t\r\n")];
}

static void
decode_text(const struct node *map, const char *key, char **value, struct problems *problems)
{
    if (!node_decode_string(map, key, value, problems) || is_filled(*value))
        return;
    free(*value);
    *value = NULL;
}

/* run_virt_v2v of `migration` in @spec, or in the file's `defaults`. */
static void
decode_virt_v2v(const struct node *spec, bool *value, struct problems *problems)
{
    const struct node *migration = node_decode_map(spec, "migration", problems);

    if (migration)
        (void)node_decode_bool(migration, "run_virt_v2v", value, problems);
}

static void
decode_entry(const struct node *spec, bool runs_virt_v2v, struct vm_entries *entries,
             struct problems *problems)
{
    struct vm_entry entry = {.runs_virt_v2v = runs_virt_v2v};
    const struct node *vm;

    if (node_kind(spec) != NODE_MAP) {
        problems_add(problems, spec, "expected a VM spec");
        return;
    }
    vm = node_decode_map(spec, "vm", problems);
    if (vm) {
        decode_text(vm, "name", &entry.name, problems);
        decode_text(vm, "moref", &entry.moref, problems);
        decode_text(vm, "uuid", &entry.uuid, problems);
        decode_text(vm, "datacenter", &entry.datacenter, problems);
    }
    if (!entry.name && !entry.moref && !entry.uuid) {
        problems_add(problems, vm ? vm : spec, "expected vm.name, vm.moref or vm.uuid");
        return;
    }
    decode_virt_v2v(spec, &entry.runs_virt_v2v, problems);
    vec_push(entries, entry);
}

int
entries_read(const char *path, bool runs_virt_v2v, struct vm_entries *entries, struct err **err)
{
    CLEANUP(doc_freep) struct doc *doc = NULL;
    const struct node *root, *vms, *defaults;
    struct problems problems;
    int rc;

    if (doc_read(path, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    root = doc_root(doc);
    if (node_kind(root) != NODE_MAP) {
        problems_add(&problems, root, "expected a VM spec or a list `vms`");
    } else {
        defaults = node_decode_map(root, "defaults", &problems);
        if (defaults)
            decode_virt_v2v(defaults, &runs_virt_v2v, &problems);
        vms = node_decode_list(root, "vms", &problems);
        for (size_t i = 0; vms && i < node_count(vms); i++)
            decode_entry(node_item(vms, i), runs_virt_v2v, entries, &problems);
        if (!vms || node_count(vms) == 0)
            decode_entry(root, runs_virt_v2v, entries, &problems);
    }
    rc = problems_check(&problems, err);
    problems_done(&problems);
    return rc;
}

void
entries_done(struct vm_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].name);
        free(entries->items[i].moref);
        free(entries->items[i].uuid);
        free(entries->items[i].datacenter);
    }
    vec_done(entries);
}
