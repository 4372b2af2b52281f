/* Whose ids are ours: those of the store, and those that `forget` and `cancel` have left word of. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/abandon.h"
#include "cli/cleanup.h"

#define MAX_DIRECTORIES 100000

static void
known_done(struct known *known)
{
    free(known->vcenter);
    free(known->moref);
    free(known->vm_name);
    free(known->shell_vm);
    free(known->stage);
}

void
cleanup_free_known(struct cleanup *c)
{
    for (size_t i = 0; i < c->knowns.count; i++)
        known_done(&c->knowns.items[i]);
    vec_done(&c->knowns);
}

/* ---- the store --------------------------------------------------------------------------------- */

static int
judge_record(struct cleanup *c, const struct store_migration *record, struct known *known,
             struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = record->id};
    bool is_cancelled = false;

    if (store_setting_get(c->selection->store, &vm, MIGRATION_SHELL_VM, &known->shell_vm, err) <
            0 ||
        migration_is_cancel_wanted(c->selection->store, record->id, &is_cancelled, err) < 0)
        return -1;
    if (migration_is_over(record->stage))
        known->state = KNOWN_OVER;
    else if (is_cancelled && record->stage < STAGE_IMPORT_ROOT_DISK)
        known->state = KNOWN_CANCELLED;
    if (known->shell_vm &&
        (known->state != KNOWN_OVER ||
         (record->cloudstack_vm_id && !strcmp(known->shell_vm, record->cloudstack_vm_id))))
        free(take(known->shell_vm)); /* it is in use, or the imported VM itself */
    return 0;
}

static int
load_records(struct cleanup *c, struct err **err)
{
    CLEANUP(store_migrations_done) struct store_migrations all = {0};

    if (store_migration_list(c->selection->store, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.count; i++) {
        const struct store_migration *record = &all.items[i];
        struct known known = {.state = KNOWN_RESUMABLE,
                              .migration = record->id,
                              .vcenter = xstrdup(record->vcenter),
                              .moref = xstrdup(record->vm_moref),
                              .vm_name = xstrdup(record->vm_name),
                              .stage = xstrdup(store_stage_name(record->stage))};

        migration_record_tag(record, known.tag);
        if (judge_record(c, record, &known, err) < 0) {
            known_done(&known);
            return -1;
        }
        vec_push(&c->knowns, known);
    }
    return 0;
}

/* ---- what was given up ------------------------------------------------------------------------- */

static char *
copy_word(const json_t *word, const char *key)
{
    return xstrdup(json_string_value(json_object_get(word, key)));
}

static void
load_word(struct cleanup *c, const char *path)
{
    json_t *word = json_load_file(path, 0, NULL);
    struct known known = {.state = KNOWN_FORGOTTEN,
                          .vcenter = copy_word(word, "vcenter"),
                          .moref = copy_word(word, "moref"),
                          .vm_name = copy_word(word, "vm_name"),
                          .stage = copy_word(word, "stage"),
                          .shell_vm = copy_word(word, "shell_vm_id"),
                          .keeps_files = !json_is_false(json_object_get(word, "files_kept"))};
    const char *tag = json_string_value(json_object_get(word, "id"));
    CLEANUP(free_charp) char *moref = tag ? cleanup_moref_of(tag) : NULL;

    if (moref && known.vcenter && known.moref && known.vm_name && known.stage &&
        strlen(tag) < sizeof(known.tag) && !cleanup_find_known(c, tag)) {
        memcpy(known.tag, tag, strlen(tag) + 1);
        vec_push(&c->knowns, known);
    } else {
        known_done(&known);
    }
    json_decref(word);
}

static void
load_forgotten(struct cleanup *c)
{
    DIR *dir = opendir(c->selection->control_dir);
    struct dirent *entry;

    for (int i = 0; dir && i < MAX_DIRECTORIES && (entry = readdir(dir)); i++) {
        CLEANUP(free_charp) char *path = NULL;

        if (!strstr(entry->d_name, FORGOTTEN))
            continue;
        path = xasprintf("%s/%s/" FORGOTTEN_FILE, c->selection->control_dir, entry->d_name);
        load_word(c, path);
    }
    if (dir)
        closedir(dir);
}

int
cleanup_load_known(struct cleanup *c, struct err **err)
{
    if (load_records(c, err) < 0)
        return -1;
    load_forgotten(c);
    return 0;
}

const struct known *
cleanup_find_known(const struct cleanup *c, const char *tag)
{
    for (size_t i = 0; i < c->knowns.count; i++)
        if (!strcmp(c->knowns.items[i].tag, tag))
            return &c->knowns.items[i];
    return NULL;
}

bool
cleanup_is_in_use(const struct cleanup *c, const char *vcenter, const char *moref)
{
    for (size_t i = 0; i < c->knowns.count; i++) {
        const struct known *known = &c->knowns.items[i];

        if ((known->state == KNOWN_RESUMABLE || known->state == KNOWN_CANCELLED) &&
            (!vcenter || !strcmp(known->vcenter, vcenter)) && !strcmp(known->moref, moref))
            return true;
    }
    return false;
}

/* ---- ids --------------------------------------------------------------------------------------- */

static bool
is_all(const char *text, size_t length, const char *of)
{
    return length > 0 && strspn(text, of) >= length;
}

char *
cleanup_moref_of(const char *tag)
{
    const char *last = strrchr(tag, '-');

    if (strncmp(tag, "v2c-", 4) != 0 || last <= tag + 4 ||
        !is_all(last + 1, strlen(last + 1), "0123456789abcdef") || strlen(last + 1) > 16)
        return NULL;
    return strndup(tag + 4, (size_t)(last - tag) - 4);
}

bool
cleanup_tag_of_snapshot(const char *name, const char *moref, char ret_tag[64])
{
    static const char *const kinds[] = {"-base-", "-delta-", "-final-"};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *kind = strstr(name, kinds[i]);
        CLEANUP(free_charp) char *tag = NULL, *of = NULL;

        if (!kind || kind - name >= 64)
            continue;
        kind += strlen(kinds[i]);
        if (!is_all(kind, strlen(kind), "0123456789"))
            continue;
        tag = strndup(name, (size_t)(kind - name) - strlen(kinds[i]));
        of = cleanup_moref_of(tag);
        if (!of || strncmp(of, moref, 30) != 0 || strlen(of) != MIN(strlen(moref), (size_t)30))
            continue;
        memcpy(ret_tag, tag, strlen(tag) + 1);
        return true;
    }
    return false;
}
