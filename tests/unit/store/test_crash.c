/* kill -9 of a writer, again and again: what is found is always one whole save, at least as new as
 * the last one that had returned. */
#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"

/* Round after round writes the same number into a migration and its two disks, and tells of each
 * save that has returned through the pipe. */
static void
write_rounds(int report)
{
    struct store_migration migration;
    struct store_disks disks = {0};
    struct store *store;

    if (store_open(dir, true, &store, NULL) < 0 ||
        store_migration_find(store, "vc.example.com", "vm-1", &migration, NULL) < 0 ||
        store_disks_load(store, migration.id, &disks, NULL) < 0)
        _exit(1);
    for (;;) {
        migration.delta_rounds++;
        for (size_t i = 0; i < disks.count; i++) {
            disks.items[i].delta_rounds = migration.delta_rounds;
            free(disks.items[i].change_id);
            disks.items[i].change_id = xasprintf("52/%d", (int)migration.delta_rounds);
        }
        if (store_migration_save(store, &migration, &disks, NULL) < 0 ||
            store_bitmap_save(store, disks.items[0].id, STORE_BITMAP_DONE, NULL,
                              &migration.delta_rounds, 8, NULL) < 0)
            _exit(2);
        if (write(report, &migration.delta_rounds, sizeof(int64_t)) != sizeof(int64_t))
            _exit(3);
    }
}

static int64_t
check_consistency(void)
{
    CLEANUP(store_migration_done) struct store_migration migration = {0};
    CLEANUP(store_disks_done) struct store_disks disks = {0};
    CLEANUP(store_closep) struct store *store = open_store();
    struct err *err = NULL;
    struct store_bitmap bitmap;
    int64_t rounds;

    assert_ok(store_migration_find(store, "vc.example.com", "vm-1", &migration, &err), &err);
    assert_ok(store_disks_load(store, migration.id, &disks, &err), &err);
    assert_int_equal(disks.count, 2);
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(free_charp) char *id = xasprintf("52/%d", (int)migration.delta_rounds);

        assert_int_equal(disks.items[i].delta_rounds, migration.delta_rounds);
        if (migration.delta_rounds)
            assert_string_equal(disks.items[i].change_id, id);
    }
    assert_ok(store_bitmap_load(store, disks.items[0].id, STORE_BITMAP_DONE, &bitmap, &err), &err);
    if (bitmap.bits) {
        assert_int_equal(bitmap.length, 8);
        memcpy(&rounds, bitmap.bits, sizeof(rounds));
        assert_in_range(migration.delta_rounds - rounds, 0, 1);
    }
    store_bitmap_done(&bitmap);
    return migration.delta_rounds;
}

static void
a_killed_writer_leaves_whole_saves_only(void **state)
{
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1");
    struct store *store = open_store();
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct store_disk disk = new_disk(migration.id, i ? "1" : "0");
        struct store_disks disks = {0};

        vec_push(&disks, disk);
        assert_ok(store_disk_create(store, &disks.items[0], &err), &err);
        store_disks_done(&disks);
    }
    store_closep(&store);
    for (int kill_number = 0; kill_number < 25; kill_number++) {
        int64_t reported = 0, last = 0;
        int report[2];
        pid_t pid;

        assert_int_equal(pipe(report), 0);
        pid = fork();
        if (pid == 0) {
            close(report[0]);
            write_rounds(report[1]);
        }
        close(report[1]);
        /* A different point of the writer's work each time. */
        assert_int_equal(read(report[0], &last, sizeof(last)), sizeof(last));
        for (volatile int spin = 0; spin < kill_number * 20000; spin++)
            ;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(report[0], &reported, sizeof(reported)) == sizeof(reported))
            last = reported;
        close(report[0]);
        assert_true(check_consistency() >= last);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_killed_writer_leaves_whole_saves_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
