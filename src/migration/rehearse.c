/* A rehearsal of the conversion, asked for through the store and done by the worker right after a delta round:
 * then the targets are the source as of a moment, and nobody writes to them.  All happens in overlays that
 * are thrown away.  It gives way to a pause, a cutover and a stop, and never fails the migration. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "guest/guest.h"
#include "migration/convert_room.h"
#include "migration/internal.h"

#define SETTING        "rehearsal"
#define LOOK_MS        1000
#define BOOT_MS        (10 * 60 * 1000)
#define MAX_MEMORY_MIB 2048
#define MIN_MEMORY_MIB 512
#define CONSOLE_BYTES  1024 /* of what is shown of the console of a guest that did not boot */

/* ---- the record -------------------------------------------------------------------------------- */

static struct store_subject
subject(int64_t migration)
{
    return (struct store_subject){.scope = STORE_VM, .migration = migration};
}

static void
copy_text(const json_t *object, const char *key, char *ret, size_t room)
{
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(ret, room, "%s", text ? text : "");
}

int
migration_rehearsal_load(struct store *store, int64_t migration, struct migration_rehearsal *ret,
                         struct err **err)
{
    const struct store_subject vm = subject(migration);
    CLEANUP(free_charp) char *text = NULL;
    struct migration_rehearsal found = {0};
    json_t *object;

    if (store_setting_get(store, &vm, SETTING, &text, err) < 0)
        return -1;
    object = text ? json_loads(text, 0, NULL) : NULL;
    found.id = json_integer_value(json_object_get(object, "id"));
    found.is_running = json_is_true(json_object_get(object, "running"));
    found.is_done = json_is_true(json_object_get(object, "done"));
    found.convert_ms = json_integer_value(json_object_get(object, "convert_ms"));
    found.boot_ms = json_integer_value(json_object_get(object, "boot_ms"));
    copy_text(object, "converts", found.converts, sizeof(found.converts));
    copy_text(object, "boots", found.boots, sizeof(found.boots));
    copy_text(object, "text", found.text, sizeof(found.text));
    json_decref(object);
    *ret = found;
    return 0;
}

static int
save(struct store *store, int64_t migration, const struct migration_rehearsal *r, struct err **err)
{
    const struct store_subject vm = subject(migration);
    json_t *object = json_pack(
        "{s:I, s:b, s:b, s:s, s:s, s:I, s:I, s:o}", "id", (json_int_t)r->id, "running",
        r->is_running, "done", r->is_done, "converts", r->converts, "boots", r->boots, "convert_ms",
        (json_int_t)r->convert_ms, "boot_ms", (json_int_t)r->boot_ms, "text", json_text(r->text));
    CLEANUP(free_charp) char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    if (!text)
        return err_set(err, E_BUG, "the rehearsal cannot be written down");
    return store_setting_put(store, &vm, SETTING, text, err);
}

int
migration_rehearsal_request(struct store *store, const struct store_migration *record,
                            int64_t *ret_id, struct err **err)
{
    struct migration_rehearsal r;

    if (record->stage > STAGE_DELTA) {
        err_set(err, E_REHEARSAL, "it is in stage %s: the cutover has begun",
                store_stage_name(record->stage));
        return err_hint(err, "a rehearsal is for before the cutover");
    }
    if (migration_rehearsal_load(store, record->id, &r, err) < 0)
        return -1;
    if (!r.id || r.is_done) {
        r = (struct migration_rehearsal){.id = MAX(clock_wall_ms(), r.id + 1)};
        if (save(store, record->id, &r, err) < 0)
            return -1;
    }
    *ret_id = r.id;
    return 0;
}

/* ---- the worker's side ------------------------------------------------------------------------- */

bool
migration_is_rehearsal_wanted(struct migration *m)
{
    int64_t now = clock_monotonic_ms();
    struct migration_rehearsal r;

    if (m->rehearsal_seen_ms && now - m->rehearsal_seen_ms < LOOK_MS)
        return m->is_rehearsal_wanted;
    m->rehearsal_seen_ms = now;
    m->is_rehearsal_wanted = migration_rehearsal_load(m->store, m->record.id, &r, NULL) == 0 &&
                             r.id && !r.is_done && !r.is_running;
    return m->is_rehearsal_wanted;
}

static void
finish(struct migration *m, struct migration_rehearsal *r)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    r->is_running = false;
    r->is_done = true;
    for (char *c = r->text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            *c = ' ';
    m->rehearsal_seen_ms = 0;
    if (save(m->store, m->record.id, r, &failure) < 0)
        log_err(LOG_WARNING, failure, "recording the rehearsal");
}

void
migration_end_rehearsal(struct migration *m, bool is_overtaken)
{
    struct migration_rehearsal r;

    if (!is_overtaken)
        migration_drop_overlays(&m->record, &m->disks);
    if (migration_rehearsal_load(m->store, m->record.id, &r, NULL) < 0 || !r.id || r.is_done ||
        (!is_overtaken && !r.is_running))
        return;
    snprintf(r.converts, sizeof(r.converts), "unknown");
    snprintf(r.boots, sizeof(r.boots), "unknown");
    snprintf(r.text, sizeof(r.text), "%s",
             is_overtaken ? "the cutover came first" : "the run ended in the middle of it");
    migration_log(m, LOG_WARNING, "Rehearsal: %s", r.text);
    finish(m, &r);
}

/* Also where the session to the vCenter is kept alive. */
static bool
gives_way(void *opaque)
{
    struct migration *m = opaque;

    return migration_wait(m, 0, NULL, NULL) < 0 || migration_is_paused(m) ||
           migration_is_cutover_near(m);
}

static struct guest_watch
watch_of(struct migration *m, int64_t timeout_ms)
{
    return (struct guest_watch){.line = migration_tell_converter,
                                .is_stopped = gives_way,
                                .opaque = m,
                                .timeout_ms = timeout_ms};
}

static void
fail(struct migration_rehearsal *r, const struct err *failure)
{
    snprintf(r->text, sizeof(r->text), "%s",
             err_code(failure) == E_CANCELLED ? "it gave way to a pause, a stop or the cutover"
                                              : err_message(failure));
}

static int
rehearse_conversion(struct migration *m, struct migration_rehearsal *r, struct err **err)
{
    const struct store_subject vm = subject(m->record.id);
    struct guest_watch watch = watch_of(m, m->config->virt.timeout_seconds * 1000);
    int64_t began_ms = clock_monotonic_ms();
    char text[24];

    if (!m->spec->run_virt_v2v) {
        snprintf(r->converts, sizeof(r->converts), "not wanted");
        return 0;
    }
    if (migration_convert_overlays(m, MIGRATION_REHEARSAL, &watch, err) < 0) {
        snprintf(r->converts, sizeof(r->converts), "%s",
                 err_code(*err) == E_CANCELLED || err_code(*err) == E_NO_SPACE ? "unknown" : "no");
        return -1;
    }
    r->convert_ms = MAX(clock_monotonic_ms() - began_ms, 1);
    snprintf(r->converts, sizeof(r->converts), "yes");
    snprintf(text, sizeof(text), "%" PRId64, r->convert_ms);
    return store_setting_put(m->store, &vm, STORE_REHEARSED, text, err);
}

/* The guest sees all of its disks, also those that were not converted. */
static int
make_missing_overlays(struct migration *m, const struct store_disk *const *disks, char **ret_images,
                      struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        ret_images[i] = migration_overlay_path(m, disks[i], MIGRATION_REHEARSAL);
        if (access(ret_images[i], F_OK) < 0 &&
            migration_make_overlay(m, disks[i], MIGRATION_REHEARSAL, err) < 0)
            return -1;
    }
    return 0;
}

static int
boot_images(struct migration *m, const struct store_disk *const *disks, char **images,
            struct guest_boot *ret, struct err **err)
{
    const char *controller = m->spec->target.root_disk_controller;
    CLEANUP(free_charp) char *dir = migration_overlay_dir(&m->record, &m->disks.items[0]);
    struct guest_watch watch = watch_of(m, BOOT_MS);
    struct room_guard guard;
    const struct guest_machine machine = {
        .images = (const char *const *)images,
        .count = m->disks.count,
        .is_uefi = preflight_uefi_mode(m->spec, &m->vm) != NULL,
        .is_scsi = controller && strstr(controller, "scsi"),
        .memory_mib = MAX(MIN(m->vm.memory_mib, MAX_MEMORY_MIB), MIN_MEMORY_MIB),
        .work_dir = dir,
    };

    watch.line = NULL; /* QEMU's own words are in the result when they matter */
    room_guard_begin(&guard, &watch, disks, m->disks.count);
    return room_guard_end(&guard, guest_boot(&machine, &guard.watch, ret, err), err);
}

/* The end of what a guest that did not boot has said. */
static void
log_console(const struct migration *m)
{
    CLEANUP(free_charp) char *dir = migration_overlay_dir(&m->record, &m->disks.items[0]);
    CLEANUP(free_charp) char *path = file_join(dir, GUEST_CONSOLE);
    CLEANUP(free_charp) char *data = NULL;
    size_t length = 0;
    char *text;

    if (file_read(path, 16 * MIB, &data, &length, NULL) < 0 || !length)
        return;
    text = data + (length > CONSOLE_BYTES ? length - CONSOLE_BYTES : 0);
    for (char *c = text; c < data + length; c++)
        if (*c != '\n' && ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f))
            *c = ' ';
    log_info("Rehearsal: the end of its console:\n%s", text);
}

static int
rehearse_boot(struct migration *m, struct migration_rehearsal *r, struct err **err)
{
    const struct store_disk **disks = xcalloc(m->disks.count, sizeof(*disks));
    char **images = xcalloc(m->disks.count, sizeof(*images));
    struct guest_boot boot = {0};
    int result;

    migration_boot_first(m, disks);
    result = make_missing_overlays(m, disks, images, err);
    if (result == 0) {
        migration_log(m, LOG_INFO, "Rehearsal: booting the guest without a network");
        result = boot_images(m, disks, images, &boot, err);
    }
    for (size_t i = 0; i < m->disks.count; i++)
        free(images[i]);
    free(images);
    free(disks);
    if (result < 0)
        return -1;
    r->boot_ms = boot.ms;
    snprintf(r->boots, sizeof(r->boots), "%s",
             boot.life == GUEST_LIFE_UNKNOWN ? "unknown"
             : boot.life == GUEST_LIFE_NONE  ? "no"
                                             : "yes");
    snprintf(r->text, sizeof(r->text), "%s", boot.text);
    if (boot.life == GUEST_LIFE_NONE)
        log_console(m);
    return 0;
}

static void
tell(struct migration *m, const struct migration_rehearsal *r)
{
    bool is_bad = strcmp(r->converts, "no") == 0 || strcmp(r->boots, "no") == 0;

    migration_log(m, is_bad ? LOG_WARNING : LOG_INFO,
                  "Rehearsal: converts=%s seconds=%.1f boots=%s (%s)", r->converts,
                  (double)r->convert_ms / 1000, r->boots, r->text);
    (void)store_event_add(m->store, m->record.id, "rehearsal", r->text, NULL);
}

void
migration_rehearse(struct migration *m)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    struct migration_rehearsal r;

    m->rehearsal_seen_ms = 0;
    if (!migration_is_rehearsal_wanted(m) || migration_is_cutover_near(m) ||
        migration_rehearsal_load(m->store, m->record.id, &r, NULL) < 0)
        return;
    snprintf(r.converts, sizeof(r.converts), "unknown");
    snprintf(r.boots, sizeof(r.boots), "unknown");
    r.is_running = true;
    migration_log(m, LOG_INFO, "Rehearsing the conversion; delta rounds go on afterwards");
    migration_drop_overlays(&m->record, &m->disks);
    if (save(m->store, m->record.id, &r, &failure) < 0 ||
        rehearse_conversion(m, &r, &failure) < 0 || rehearse_boot(m, &r, &failure) < 0)
        fail(&r, failure);
    migration_drop_overlays(&m->record, &m->disks);
    tell(m, &r);
    finish(m, &r);
}
