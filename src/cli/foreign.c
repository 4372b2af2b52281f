/* Migrations that the existing tool began and we have no record of: its state.json is all there is. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/select_internal.h"
#include "migration/view.h"

/* The existing tool's ways to name a VM's directory: the name raw or made safe, alone or before "_". */
static bool
is_directory_of(const char *directory, const char *name)
{
    CLEANUP(free_charp) char *safe = file_safe_name(name);
    const char *const forms[] = {name, safe};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        size_t length = strlen(forms[i]);

        if (!strncmp(directory, forms[i], length) &&
            (directory[length] == '\0' || directory[length] == '_'))
            return true;
    }
    return false;
}

static char *
text_of(const struct node *map, const char *key)
{
    const struct node *node = node_get(map, key);

    return node && node_kind(node) == NODE_SCALAR ? xstrdup(node_text(node)) : NULL;
}

static void
read_state(const char *directory, const char *file, const struct vm_entry *entry,
           struct vm_views *views)
{
    CLEANUP(free_charp) char *path = file_join(directory, file);
    CLEANUP(free_charp) char *percent = NULL;
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct vm_view view = {.is_foreign = true};
    const struct node *root;

    if (doc_read(path, &doc, NULL) < 0 || node_kind(root = doc_root(doc)) != NODE_MAP)
        return;
    view.name = text_of(root, "vm_name");
    view.moref = text_of(root, "vm_moref");
    view.stage = text_of(root, "stage");
    percent = text_of(root, "progress");
    view.percent = percent ? strtod(percent, NULL) : 0;
    if (!view.name || !view.moref || !view.stage || strcmp(view.name, entry->name) != 0 ||
        (entry->moref && strcmp(view.moref, entry->moref) != 0)) {
        view_done(&view);
        return;
    }
    view.directory = xstrdup(directory);
    view.state_file = take(path);
    view.runs_virt_v2v = entry->runs_virt_v2v;
    view.is_finalize_now = migration_has_marker((&view)->directory, "FINALIZE_NOW");
    view.is_finalize_requested =
        view.is_finalize_now || migration_has_marker((&view)->directory, "FINALIZE");
    vec_push(views, view);
}

void
foreign_find(const char *control_dir, const struct vm_entry *entry, struct vm_views *views)
{
    /* Its state files have no uuid: where that decides, none of them can be told to be the VM. */
    bool can_tell = entry->name && (entry->moref || !entry->uuid);
    DIR *dir = can_tell ? opendir(control_dir) : NULL;
    size_t before;

    for (const struct dirent *e; dir && (e = readdir(dir));) {
        CLEANUP(free_charp) char *path = NULL;

        if (e->d_name[0] == '.' || strstr(e->d_name, FORGOTTEN) ||
            !is_directory_of(e->d_name, entry->name))
            continue;
        path = file_join(control_dir, e->d_name);
        before = views->count;
        read_state(path, "state.json", entry, views);
        if (views->count == before)
            read_state(path, "state.engine.json", entry, views);
    }
    if (dir)
        closedir(dir);
}
