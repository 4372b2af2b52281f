/* Marks a source that was migrated, so that nobody starts it by accident: a line in its note, cards that are
 * not connected when it starts, another name.  The spec says which (`mark_source`).
 *
 * Of each mark what was there and what will be there is a setting of the VM before anything is changed.  So
 * one that a crash has interrupted is recognised by what the VM says now, nothing is marked twice, and a
 * rollback can tell what is still ours.  A mark that cannot be made is told and never fails a migration. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/str.h"
#include "migration/internal.h"

#define MARK_NAME "mark_name" /* settings of the VM: {"was", "is", "state"} */
#define MARK_NOTE "mark_note"
#define MARK_NICS "mark_nics" /* "was" is a list of the keys that are connected at the start */

#define ATTEMPTS  3
#define MAX_NOTE  (256 * KIB)

/* ---- what is recorded -------------------------------------------------------------------------- */

static int
load(struct store *store, int64_t migration, const char *key, json_t **ret, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = migration};
    CLEANUP(free_charp) char *text = NULL;

    *ret = NULL;
    if (store_setting_get(store, &vm, key, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    *ret = json_loads(text, 0, NULL);
    return *ret ? 0 : err_set(err, E_STORE_DAMAGED, "the setting %s cannot be read", key);
}

/* "begun", "set", "taken back". */
static int
put_state(struct migration *m, const char *key, json_t *mark, const char *state, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = m->record.id};
    CLEANUP(free_charp) char *text = NULL;

    json_object_set_new(mark, "state", json_string(state));
    text = json_dumps(mark, JSON_COMPACT);
    if (!text)
        return err_set(err, E_CONFIG, "what the VM has there is no UTF-8");
    return store_setting_put(m->store, &vm, key, text, err);
}

static const char *
text_of(const json_t *mark, const char *key)
{
    const char *text = json_string_value(json_object_get(mark, key));

    return text ? text : "";
}

int
migration_is_marked(struct store *store, int64_t migration, bool *ret_is, struct err **err)
{
    static const char *const keys[] = {MARK_NAME, MARK_NOTE, MARK_NICS};
    bool is = false;

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        json_t *mark = NULL;

        if (load(store, migration, keys[i], &mark, err) < 0)
            return -1;
        is = is || (mark && strcmp(text_of(mark, "state"), "taken back") != 0);
        json_decref(mark);
    }
    *ret_is = is;
    return 0;
}

/* ---- name and note ----------------------------------------------------------------------------- */

/* A text of the VM that is replaced by another. */
struct text_mark {
    const char *key, *what;
    const char *(*now)(const struct vsphere_labels *labels);
    char *(*make)(const struct migration *m, const char *was); /* NULL: it need not be changed */
    int (*set)(struct vsphere *vsphere, const char *moref, const char *text, struct err **err);
};

static const char *
name_now(const struct vsphere_labels *labels)
{
    return labels->name;
}

static char *
make_name(const struct migration *m, const char *was)
{
    const char *suffix = m->spec->mark_source.suffix;
    size_t length = strlen(was), added = strlen(suffix);

    if (length >= added && !strcmp(was + length - added, suffix))
        return NULL;
    return xasprintf("%s%s", was, suffix);
}

static const char *
note_now(const struct vsphere_labels *labels)
{
    return labels->annotation;
}

static char *
make_note(const struct migration *m, const char *was)
{
    CLEANUP(str_done) struct str note = STR_INIT(MAX_NOTE);
    char stamp[32];

    clock_format_utc(clock_wall_s(), stamp);
    str_append(&note, was);
    if (*was && was[strlen(was) - 1] != '\n')
        str_append(&note, "\n");
    str_appendf(&note, "Migrated to CloudStack (%s) as VM %s on %s by v2c-engine. Do not power on.",
                m->config->cloudstack.endpoint, m->record.cloudstack_vm_id, stamp);
    return note.is_over ? NULL : str_take(&note);
}

static const struct text_mark NAME = {MARK_NAME, "name", name_now, make_name, vsphere_set_name};
static const struct text_mark NOTE = {MARK_NOTE, "note", note_now, make_note,
                                      vsphere_set_annotation};

/* What is to be there; *ret_mark NULL: nothing is to be changed. */
static int
plan_text(struct migration *m, const struct text_mark *kind, const struct vsphere_labels *labels,
          json_t **ret_mark, struct err **err)
{
    CLEANUP(free_charp) char *wanted = NULL;
    json_t *mark = NULL;

    if (load(m->store, m->record.id, kind->key, ret_mark, err) < 0 || *ret_mark)
        return *ret_mark ? 0 : -1;
    wanted = kind->make(m, kind->now(labels));
    if (!wanted)
        return 0;
    mark = json_pack("{s:s, s:s}", "was", kind->now(labels), "is", wanted);
    if (!mark)
        return err_set(err, E_CONFIG, "the VM's %s is no UTF-8", kind->what);
    if (put_state(m, kind->key, mark, "begun", err) < 0) {
        json_decref(mark);
        return -1;
    }
    *ret_mark = mark;
    return 0;
}

static int
apply_text(struct migration *m, const struct text_mark *kind, const struct vsphere_labels *labels,
           json_t *mark, struct err **err)
{
    const char *now = kind->now(labels), *is = text_of(mark, "is");

    if (!strcmp(text_of(mark, "state"), "set"))
        return 0;
    if (strcmp(now, is) != 0) {
        if (strcmp(now, text_of(mark, "was")) != 0)
            return err_set(err, E_SOURCE_CHANGED, "somebody has changed its %s meanwhile",
                           kind->what);
        if (kind->set(m->vsphere, m->record.vm_moref, is, err) < 0)
            return -1;
    }
    migration_log(m, LOG_INFO, "Marked the source VM by its %s", kind->what);
    return put_state(m, kind->key, mark, "set", err);
}

static int
mark_text(struct migration *m, const struct text_mark *kind, const struct vsphere_labels *labels,
          struct err **err)
{
    json_t *mark = NULL;
    int result = plan_text(m, kind, labels, &mark, err);

    if (result == 0 && mark)
        result = apply_text(m, kind, labels, mark, err);
    json_decref(mark);
    return result;
}

static int
mark_name(struct migration *m, const struct vsphere_labels *labels, struct err **err)
{
    return mark_text(m, &NAME, labels, err);
}

static int
mark_note(struct migration *m, const struct vsphere_labels *labels, struct err **err)
{
    return mark_text(m, &NOTE, labels, err);
}

static int
unmark_text(struct migration *m, const struct text_mark *kind, const struct vsphere_labels *labels,
            struct err **err)
{
    const char *now = kind->now(labels);
    json_t *mark = NULL;
    int result = load(m->store, m->record.id, kind->key, &mark, err);

    if (result == 0 && mark && strcmp(text_of(mark, "state"), "taken back") != 0) {
        if (!strcmp(now, text_of(mark, "is")))
            result = kind->set(m->vsphere, m->record.vm_moref, text_of(mark, "was"), err);
        else if (strcmp(now, text_of(mark, "was")) != 0)
            migration_log(m, LOG_WARNING,
                          "somebody has changed the source VM's %s since it was marked: it stays "
                          "as it is; it was: %s",
                          kind->what, text_of(mark, "was"));
        if (result == 0)
            result = put_state(m, kind->key, mark, "taken back", err);
    }
    json_decref(mark);
    return result;
}

/* ---- network cards ----------------------------------------------------------------------------- */

static bool
was_connected(const json_t *mark, int32_t key)
{
    const json_t *was = json_object_get(mark, "was");

    for (size_t i = 0; i < json_array_size(was); i++)
        if (json_integer_value(json_array_get(was, i)) == key)
            return true;
    return false;
}

/* Those of the mark's cards that are not @is_wanted now; the caller frees. */
static struct vsphere_nic_starts
cards_to_set(const struct vsphere_labels *labels, const json_t *mark, bool is_wanted)
{
    struct vsphere_nic_starts cards = {0};

    for (size_t i = 0; i < labels->nics.count; i++) {
        const struct vsphere_nic_start *nic = &labels->nics.items[i];

        if (was_connected(mark, nic->key) && nic->is_connected != is_wanted)
            vec_push(&cards, ((struct vsphere_nic_start){nic->key, is_wanted}));
    }
    return cards;
}

static int
set_cards(struct migration *m, const struct vsphere_labels *labels, json_t *mark, bool is_wanted,
          struct err **err)
{
    struct vsphere_nic_starts cards = cards_to_set(labels, mark, is_wanted);
    int result = 0;

    if (cards.count)
        result = vsphere_set_nic_starts(m->vsphere, m->record.vm_moref, &cards, err);
    vec_done(&cards);
    return result < 0 ? -1 : put_state(m, MARK_NICS, mark, is_wanted ? "taken back" : "set", err);
}

static int
plan_nics(struct migration *m, const struct vsphere_labels *labels, json_t **ret_mark,
          struct err **err)
{
    json_t *mark, *was;

    if (load(m->store, m->record.id, MARK_NICS, ret_mark, err) < 0 || *ret_mark)
        return *ret_mark ? 0 : -1;
    was = json_array();
    for (size_t i = 0; i < labels->nics.count; i++)
        if (labels->nics.items[i].is_connected)
            json_array_append_new(was, json_integer(labels->nics.items[i].key));
    mark = json_pack("{s:o}", "was", was);
    if (put_state(m, MARK_NICS, mark, "begun", err) < 0) {
        json_decref(mark);
        return -1;
    }
    *ret_mark = mark;
    return 0;
}

static int
mark_nics(struct migration *m, const struct vsphere_labels *labels, struct err **err)
{
    json_t *mark = NULL;
    int result = plan_nics(m, labels, &mark, err);

    if (result == 0 && strcmp(text_of(mark, "state"), "set") != 0) {
        result = set_cards(m, labels, mark, false, err);
        if (result == 0)
            migration_log(m, LOG_INFO,
                          "The source VM's network cards stay disconnected when it starts");
    }
    json_decref(mark);
    return result;
}

static int
unmark_nics(struct migration *m, const struct vsphere_labels *labels, struct err **err)
{
    json_t *mark = NULL;
    int result = load(m->store, m->record.id, MARK_NICS, &mark, err);

    if (result == 0 && mark && strcmp(text_of(mark, "state"), "taken back") != 0)
        result = set_cards(m, labels, mark, true, err);
    json_decref(mark);
    return result;
}

/* ---- all of it --------------------------------------------------------------------------------- */

typedef int (*mark_fn)(struct migration *m, const struct vsphere_labels *labels, struct err **err);

static int
try_once(struct migration *m, mark_fn fn, struct err **err)
{
    CLEANUP(vsphere_labels_done) struct vsphere_labels labels = {0};

    if (vsphere_read_labels(m->vsphere, m->record.vm_moref, &labels, err) < 0)
        return -1;
    return fn(m, &labels, err);
}

/* The VM is read anew for each try: what was done is seen. */
static int
try_some_times(struct migration *m, mark_fn fn, struct err **err)
{
    for (int attempt = 1;; attempt++) {
        struct err *failure = NULL;

        if (try_once(m, fn, &failure) == 0)
            return 0;
        if (err_class(failure) != ERR_CLASS_RETRY || attempt == ATTEMPTS)
            return err_move(err, &failure);
        err_free(failure);
        clock_sleep_ms(clock_patience_ms(1000LL << attempt));
    }
}

static void
mark(struct migration *m, const char *what, mark_fn fn)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (try_some_times(m, fn, &failure) < 0)
        migration_log(m, LOG_WARNING, "the source VM is migrated and not marked by its %s: %s",
                      what, err_message(failure));
}

void
migration_mark_source(struct migration *m)
{
    const struct config_mark *wanted = &m->spec->mark_source;
    CLEANUP(err_freep) struct err *failure = NULL;
    enum vsphere_power power = VSPHERE_POWERED_OFF;

    if (wanted->note <= 0 && wanted->rename <= 0 && wanted->disconnect_nics <= 0)
        return;
    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, &failure) < 0)
        log_debug("%s", err_message(failure)); /* what follows says it */
    if (power != VSPHERE_POWERED_OFF) {
        migration_log(m, LOG_WARNING, "the source VM runs again: it is not marked");
        return;
    }
    if (wanted->note > 0)
        mark(m, "note", mark_note);
    if (wanted->disconnect_nics > 0)
        mark(m, "network cards", mark_nics);
    if (wanted->rename > 0)
        mark(m, "name", mark_name);
}

static int
unmark_name(struct migration *m, const struct vsphere_labels *labels, struct err **err)
{
    return unmark_text(m, &NAME, labels, err);
}

static int
unmark_note(struct migration *m, const struct vsphere_labels *labels, struct err **err)
{
    return unmark_text(m, &NOTE, labels, err);
}

static void
unmark(struct migration *m, const char *what, mark_fn fn)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (try_some_times(m, fn, &failure) < 0)
        migration_log(m, LOG_WARNING, "the source VM's %s stays as the migration has set it: %s",
                      what, err_message(failure));
}

/* A service without its network is none: that alone holds the rollback up. */
int
migration_unmark_source(struct migration *m, struct err **err)
{
    bool is_marked = false;

    if (migration_is_marked(m->store, m->record.id, &is_marked, err) < 0)
        return -1;
    if (!is_marked)
        return 0;
    migration_log(m, LOG_INFO, "Taking the marks of the source VM back");
    if (try_some_times(m, unmark_nics, err) < 0)
        return err_wrap(err, "connecting the source VM's network cards at its start again");
    unmark(m, "note", unmark_note);
    unmark(m, "name", unmark_name);
    return 0;
}

/* ---- a VM that has another name now ------------------------------------------------------------- */

/* Whether @record is of the VM that was called @name until it was marked. */
static int
was_called(struct store *store, const struct store_migration *record, const char *vcenter,
           const char *name, bool *ret_was, struct err **err)
{
    json_t *mark = NULL;

    *ret_was = false;
    if (strcmp(record->vcenter, vcenter) != 0 || record->stage < STAGE_IMPORT_DATA_DISK)
        return 0;
    if (load(store, record->id, MARK_NAME, &mark, err) < 0)
        return -1;
    *ret_was = mark && !strcmp(text_of(mark, "was"), name) &&
               strcmp(text_of(mark, "state"), "taken back") != 0;
    json_decref(mark);
    return 0;
}

int
migration_find_renamed(struct store *store, const char *vcenter, const char *name,
                       const char *datacenter, char **ret_moref, struct err **err)
{
    CLEANUP(store_migrations_done) struct store_migrations all = {0};
    const char *found = NULL;
    size_t count = 0;

    *ret_moref = NULL;
    if (store_migration_list(store, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.count; i++) {
        const struct store_migration *record = &all.items[i];
        bool was;

        if (was_called(store, record, vcenter, name, &was, err) < 0)
            return -1;
        if (!was || (datacenter && record->datacenter && strcmp(datacenter, record->datacenter)))
            continue;
        found = record->vm_moref;
        count++;
    }
    if (count == 1)
        *ret_moref = xstrdup(found);
    return 0;
}
