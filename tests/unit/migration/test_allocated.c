/* Who is asked what is in use of a disk, and what is made of the answer.  vCenter and log are played
 * here. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "migration/internal.h"

#define CAPACITY (64 * MIB)

static struct {
    struct extents answer;
    bool is_refused;
    unsigned asked;
    char log[4096];
} played;

/* ---- what the code under test calls ---- */

void
migration_log(struct migration *m, enum log_level level, const char *fmt, ...)
{
    size_t length = strlen(played.log);
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(played.log + length, sizeof(played.log) - length, fmt, args);
    va_end(args);
}

const struct vsphere_disk *
migration_source_disk(const struct vsphere_disks *disks, int32_t key)
{
    for (size_t i = 0; i < disks->count; i++)
        if (disks->items[i].key == key)
            return &disks->items[i];
    return NULL;
}

int
vsphere_query_changes(struct vsphere *vsphere, const char *vm_moref, const char *snapshot_moref,
                      int32_t disk_key, uint64_t capacity, const char *change_id,
                      struct extents *ret_areas, struct err **err)
{
    assert_string_equal(change_id, "*");
    assert_string_equal(snapshot_moref, "snapshot-1");
    assert_int_equal(capacity, CAPACITY);
    played.asked++;
    if (played.is_refused)
        return err_set(err, E_CBT_RESET, "FileFault");
    for (size_t i = 0; i < played.answer.count; i++)
        vec_push(ret_areas, played.answer.items[i]);
    return 0;
}

/* ---- one VM that can be trusted ---- */

struct world {
    struct migration m;
    struct spec spec;
    struct vsphere_disk source;
    struct vsphere_snapshot snapshot;
    struct vsphere_datastore stores[2];
    struct store_disk disk;
};

static void
begin(struct world *w)
{
    vec_done(&played.answer);
    memset(&played, 0, sizeof(played));
    vec_push(&played.answer, ((struct extent){0, MIB}));
    vec_push(&played.answer, ((struct extent){8 * MIB, MIB}));
    *w = (struct world){
        .source = {.key = 2000, .capacity = CAPACITY, .parent_count = 1},
        .snapshot = {.moref = (char *)"snapshot-1", .name = (char *)"v2c-vm-7-1-base-1"},
        .stores = {{.name = (char *)"iso", .type = (char *)"NFS"},
                   {.name = (char *)"ds 1", .type = (char *)"VMFS"}},
        .disk = {.name = (char *)"disk0",
                 .device_key = 2000,
                 .capacity = CAPACITY,
                 .change_id = (char *)"52 6f/1",
                 .source_path = (char *)"[ds 1] web/web.vmdk"},
    };
    w->m.spec = &w->spec;
    w->m.record.vm_moref = (char *)"vm-7";
    w->m.record.active_snapshot = (char *)"snapshot-1";
    w->m.record.is_cbt_enabled_by_us = true;
    w->m.disks = (struct store_disks){.items = &w->disk, .count = 1};
    w->m.vm.disks = (struct vsphere_disks){.items = &w->source, .count = 1};
    w->m.vm.snapshots = (struct vsphere_snapshots){.items = &w->snapshot, .count = 1};
    w->m.vm.datastores = (struct vsphere_datastores){.items = w->stores, .count = 2};
}

/* Leaves the disk to the source and says why. */
static void
assert_left_to_the_source(struct world *w, bool was_asked, const char *why)
{
    const bool wanted[] = {true};
    struct migration_plan *found = migration_find_allocated(&w->m, wanted);

    assert_int_equal(found[0].extents.count, 0);
    assert_int_equal(played.asked, was_asked ? 1 : 0);
    assert_contains(played.log, "VDDK is asked what is in use");
    assert_contains(played.log, why);
    vec_done(&found[0].extents);
    free(found);
}

static void
assert_taken_from_tracking(struct world *w)
{
    const bool wanted[] = {true};
    struct migration_plan *found = migration_find_allocated(&w->m, wanted);

    assert_int_equal(found[0].extents.count, 2);
    assert_int_equal(extents_total(&found[0].extents), 2 * MIB);
    assert_contains(played.log, "in use by changed-block tracking: extents=2 bytes=2097152");
    vec_done(&found[0].extents);
    free(found);
}

static void
tracking_is_believed_where_it_can_know(void **state)
{
    struct world w;

    begin(&w);
    assert_taken_from_tracking(&w);
}

static void
each_reason_for_doubt_leaves_the_disk_to_the_source(void **state)
{
    struct vsphere_snapshot two[] = {{.moref = (char *)"snapshot-1"},
                                     {.moref = (char *)"snapshot-9"}};
    struct world w;

    begin(&w);
    w.m.record.is_cbt_enabled_by_us = false;
    assert_left_to_the_source(&w, false, "was not turned on by this migration");
    begin(&w);
    w.disk.change_id = (char *)""; /* as of a disk that has grown */
    assert_left_to_the_source(&w, false, "has been lost");
    begin(&w);
    w.m.vm.snapshots = (struct vsphere_snapshots){.items = two, .count = 2};
    assert_left_to_the_source(&w, false, "has other snapshots");
    begin(&w);
    w.source.is_raw_mapping = true;
    assert_left_to_the_source(&w, false, "raw device mapping");
    begin(&w);
    w.source.parent_count = 2;
    assert_left_to_the_source(&w, false, "linked clone");
    begin(&w);
    w.stores[1].type = (char *)"vsan";
    assert_left_to_the_source(&w, false, "its datastore is vsan, not VMFS");
    begin(&w);
    w.stores[1].type = NULL;
    assert_left_to_the_source(&w, false, "its datastore is of an unknown kind");
    begin(&w);
    w.disk.source_path = (char *)"[ds] web/web.vmdk"; /* the beginning of another's name */
    assert_left_to_the_source(&w, false, "its datastore is of an unknown kind");
}

static void
an_answer_that_does_not_help_is_no_answer(void **state)
{
    struct world w;

    begin(&w);
    played.answer.count = 0;
    assert_left_to_the_source(&w, true, "nothing is in use");
    begin(&w);
    played.answer.count = 0;
    vec_push(&played.answer, ((struct extent){0, CAPACITY}));
    assert_left_to_the_source(&w, true, "everything is in use");
    begin(&w);
    played.is_refused = true;
    assert_left_to_the_source(&w, true, "FileFault");
}

static void
the_spec_may_choose(void **state)
{
    const bool wanted[] = {true};
    struct migration_plan *found;
    struct world w;

    begin(&w);
    w.spec.extents = CONFIG_EXTENTS_ALLOCATED;
    assert_left_to_the_source(&w, false, "extents: allocated");
    begin(&w);
    w.spec.extents = CONFIG_EXTENTS_CBT;
    w.m.record.is_cbt_enabled_by_us = false;
    assert_taken_from_tracking(&w);
    begin(&w);
    w.spec.extents = CONFIG_EXTENTS_NONE;
    found = migration_find_allocated(&w.m, wanted);
    assert_int_equal(played.asked, 0);
    assert_int_equal(found[0].extents.count, 1);
    assert_int_equal(extents_total(&found[0].extents), CAPACITY);
    vec_done(&found[0].extents);
    free(found);
}

static void
a_disk_that_is_not_wanted_is_not_asked_about(void **state)
{
    const bool wanted[] = {false};
    struct migration_plan *found;
    struct world w;

    begin(&w);
    found = migration_find_allocated(&w.m, wanted);
    assert_int_equal(played.asked, 0);
    assert_int_equal(found[0].extents.count, 0);
    assert_string_equal(played.log, "");
    free(found);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tracking_is_believed_where_it_can_know),
        cmocka_unit_test(each_reason_for_doubt_leaves_the_disk_to_the_source),
        cmocka_unit_test(an_answer_that_does_not_help_is_no_answer),
        cmocka_unit_test(the_spec_may_choose),
        cmocka_unit_test(a_disk_that_is_not_wanted_is_not_asked_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
