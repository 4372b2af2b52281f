#include "storage/storage.h"

#include "tests/unit/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "storage/internal.h"

static char dir[] = "/tmp/v2c-test-storage.XXXXXX";

static int
make_dir(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return system(command);
}

/* A plain directory will do, but in the tests of what else may be there. */
static struct storage_pool
pool_at(const char *path)
{
    return (struct storage_pool){.id = "3333",
                                 .name = "smp1",
                                 .type = "SharedMountPoint",
                                 .path = path,
                                 .state = "Up",
                                 .allows_unmounted = true};
}

static void
assert_refused(const struct storage_pool *pool, const char *says)
{
    struct err *err = NULL;
    char *resolved = NULL;

    if (storage_resolve(pool, &resolved, &err) == 0)
        fail_msg("the pool at %s was accepted", pool->path);
    assert_null(resolved);
    assert_contains(err_message(err), "storage pool smp1: ");
    if (!err_hint_text(err) && !strstr(says, "not a directory"))
        fail_msg("no cure is named for \"%s\"", err_message(err));
    assert_err_says(&err, E_POOL, says);
}

static size_t
count_entries(void)
{
    DIR *d = opendir(dir);
    size_t count = 0;

    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static void
a_shared_mount_point_is_its_own_directory(void **state)
{
    CLEANUP(free_charp) char *slashed = xasprintf("%s//", dir), *resolved = NULL, *again = NULL;
    struct storage_pool pool = pool_at(dir);
    size_t before = count_entries();
    struct err *err = NULL;

    assert_ok(storage_resolve(&pool, &resolved, &err), &err);
    assert_string_equal(resolved, dir);
    assert_int_equal(count_entries(), before); /* the trial file is gone */
    pool = pool_at(slashed);
    pool.type = "shared_mountpoint";
    pool.state = NULL; /* older servers do not tell */
    assert_ok(storage_resolve(&pool, &again, &err), &err);
    assert_string_equal(again, dir);
}

static void
other_types_are_refused_with_the_cure(void **state)
{
    static const char *const types[] = {"RBD", "Linstor", "PowerFlex", ""};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct storage_pool pool = pool_at(dir);

        pool.type = types[i];
        assert_refused(&pool, "is not supported");
    }
    {
        struct storage_pool pool = pool_at(dir);

        pool.type = NULL;
        assert_refused(&pool, "its type (none) is not supported");
    }
}

static void
a_pool_that_is_not_up_is_refused(void **state)
{
    struct storage_pool pool = pool_at(dir);

    pool.state = "Maintenance";
    assert_refused(&pool, "its state is Maintenance");
}

static void
paths_that_are_no_single_directory_are_refused(void **state)
{
    CLEANUP(free_charp) char *up = xasprintf("%s/../x", dir), *end = xasprintf("%s/..", dir);
    CLEANUP(free_charp) char *control = xasprintf("%s/a\nb", dir), *huge = xcalloc(1, 5000);
    const struct {
        const char *path, *says;
    } cases[] = {
        {NULL, "is not absolute"}, {"", "is not absolute"},   {"pool", "is not absolute"},
        {up, "has .. in it"},      {end, "has .. in it"},     {"/..", "has .. in it"},
        {"/", "root directory"},   {"///", "root directory"}, {control, "control characters"},
        {huge, "is not absolute"},
    };

    memset(huge, '/', 4999);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct storage_pool pool = pool_at(cases[i].path);

        assert_refused(&pool, cases[i].says);
    }
}

static void
a_directory_that_is_not_there_is_refused(void **state)
{
    CLEANUP(free_charp) char *missing = file_join(dir, "missing"), *file = file_join(dir, "file");
    struct storage_pool pool = pool_at(missing);
    struct err *err = NULL;

    assert_refused(&pool, "missing: No such file");
    assert_ok(file_replace(file, "", 0, 0600, &err), &err);
    pool.path = file;
    assert_refused(&pool, "is not a directory");
}

static void
a_directory_that_cannot_be_written_is_refused(void **state)
{
    struct storage_pool pool = pool_at("/proc");

    assert_refused(&pool, "cannot write in /proc: ");
}

static void
a_name_that_is_missing_is_replaced_by_the_id(void **state)
{
    struct storage_pool pool = pool_at("/proc");
    struct err *err = NULL;
    char *resolved;

    pool.name = NULL;
    assert_int_equal(storage_resolve(&pool, &resolved, &err), -1);
    assert_err_says(&err, E_POOL, "storage pool 3333: ");
}

static void
a_mount_point_of_fstab_that_is_not_mounted_is_noticed(void **state)
{
    CLEANUP(free_charp) char *fstab = file_join(dir, "fstab"), *mounts = file_join(dir, "mounts");
    CLEANUP(free_charp) char *missing = NULL, *none = NULL;
    static const char fstab_text[] = "# comment\n/dev/sda1 / ext4 defaults 0 1\n"
                                     "nas:/a /mnt/pool\\040one nfs defaults 0 0\n"
                                     "nas:/b /mnt/two nfs defaults 0 0\nnone swap swap sw 0 0\n";
    static const char mounts_text[] = "/dev/sda1 / ext4 rw 0 0\nnas:/b /mnt/two nfs rw 0 0\n";
    struct err *err = NULL;

    assert_ok(file_replace(fstab, fstab_text, strlen(fstab_text), 0600, &err), &err);
    assert_ok(file_replace(mounts, mounts_text, strlen(mounts_text), 0600, &err), &err);
    assert_true(storage_lacks_mount("/mnt/pool one/vms", fstab, mounts, &missing));
    assert_string_equal(missing, "/mnt/pool one");
    assert_false(storage_lacks_mount("/mnt/two", fstab, mounts, &none));
    assert_false(storage_lacks_mount("/mnt/two/vms", fstab, mounts, &none));
    assert_false(storage_lacks_mount("/mnt/pool onetwo", fstab, mounts, &none));
    assert_false(storage_lacks_mount("/srv/other", fstab, mounts, &none));
    assert_false(storage_lacks_mount("/mnt/pool one", fstab, "/no/such/file", &none));
    assert_false(storage_lacks_mount("/mnt/pool one", "/no/such/file", mounts, &none));
}

/* What is said of the shared mount point @path, on a host with these mounts, after / and in the format of
 * fstab(5); the caller frees.  NULL: it is accepted. */
static struct err *
judge_mount(const char *path, const char *more)
{
    CLEANUP(free_charp) char *mounts = file_join(dir, "mounts"), *resolved = NULL;
    CLEANUP(free_charp) char *text = xasprintf("/dev/sda1 / ext4 rw 0 0\n%s", more);
    struct storage_host host = storage_this_host;
    struct storage_pool pool = pool_at(path);
    struct err *err = NULL;

    assert_ok(file_replace(mounts, text, strlen(text), 0600, &err), &err);
    host.fstab = "/dev/null";
    host.mounts = mounts;
    pool.allows_unmounted = false;
    if (storage_resolve_on(&host, &pool, &resolved, &err) == 0)
        assert_string_equal(resolved, path);
    else
        assert_null(resolved);
    return err;
}

static void
a_shared_mount_point_must_be_mounted(void **state)
{
    CLEANUP(free_charp) char *link = xasprintf("%s.link", dir);
    /* @first, the directory, @second, and with @third the directory and it. */
    static const struct {
        const char *first, *second, *third;
        bool is_good;
    } cases[] = {
        {"/dev/sdb ", " ext4 rw 0 0\n", "", true},
        {"systemd-1 ", " autofs rw 0 0\nnas:/x ", " nfs4 rw 0 0\n", true},
        {"nas:/x /tmp nfs rw 0 0\nnone /mnt", " none rw 0 0\n", "", true},
        {"gv0 /tmp fuse.glusterfs rw 0 0\nnone /mnt", " none rw 0 0\n", "", true},
        {"lun /tmp gfs2 rw 0 0\nnone /mnt", " none rw 0 0\n", "", true},
        {"none /mnt", " none rw 0 0\n", "", false},
        {"/dev/sda5 /tmp ext4 rw 0 0\nnone /mnt", " none rw 0 0\n", "", false},
        {"tmpfs ", "/below tmpfs rw 0 0\n", "", false},
        {"tmpfs ", "x tmpfs rw 0 0\n", "", false},
        {"systemd-1 ", " autofs rw 0 0\n", "", false},
        {"nas:/x / nfs rw 0 0\n/dev/sda5 /tmp ext4 rw 0 0\nnone /mnt", " none rw 0 0\n", "", false},
    };

    assert_int_equal(symlink(dir, link), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp)
        char *mounts = xasprintf("%s%s%s%s%s", cases[i].first, dir, cases[i].second,
                                 *cases[i].third ? dir : "", cases[i].third);
        struct err *err = judge_mount(dir, mounts), *by_link = judge_mount(link, mounts);

        if (!err != cases[i].is_good || !by_link != cases[i].is_good)
            fail_msg("%s with %s", cases[i].is_good ? "refused" : "accepted", mounts);
        if (!err)
            continue;
        assert_contains(err_hint_text(err), "allow_unmounted_paths");
        assert_err_says(&err, E_POOL, "nothing is mounted at ");
        err_free(by_link);
    }
    assert_int_equal(unlink(link), 0);
}

static void
storage_of_this_host_need_not_be_mounted(void **state)
{
    CLEANUP(free_charp) char *resolved = NULL;
    struct storage_pool pool = pool_at(dir);
    struct err *err = NULL;

    pool.type = "Filesystem";
    pool.host = "127.0.0.1";
    pool.allows_unmounted = false;
    assert_ok(storage_resolve(&pool, &resolved, &err), &err);
}

static void
free_space_is_what_the_file_system_says(void **state)
{
    uint64_t bytes = 7, expected;
    struct err *err = NULL;
    struct statvfs st;

    assert_ok(storage_free_bytes(dir, &bytes, &err), &err);
    assert_int_equal(statvfs(dir, &st), 0);
    expected = (uint64_t)st.f_bavail * st.f_frsize;
    /* Others write to the same file system meanwhile. */
    assert_in_range(bytes, expected / 2, expected * 2 + GIB);
    bytes = 7;
    assert_int_equal(storage_free_bytes("/no/such/dir", &bytes, &err), -1);
    assert_err(&err, E_POOL);
    assert_int_equal(bytes, 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_mount_point_is_its_own_directory),
        cmocka_unit_test(other_types_are_refused_with_the_cure),
        cmocka_unit_test(a_pool_that_is_not_up_is_refused),
        cmocka_unit_test(paths_that_are_no_single_directory_are_refused),
        cmocka_unit_test(a_directory_that_is_not_there_is_refused),
        cmocka_unit_test(a_directory_that_cannot_be_written_is_refused),
        cmocka_unit_test(a_name_that_is_missing_is_replaced_by_the_id),
        cmocka_unit_test(a_mount_point_of_fstab_that_is_not_mounted_is_noticed),
        cmocka_unit_test(a_shared_mount_point_must_be_mounted),
        cmocka_unit_test(storage_of_this_host_need_not_be_mounted),
        cmocka_unit_test(free_space_is_what_the_file_system_says),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
