#include "storage/internal.h"

#include "tests/unit/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"

#define POOL_ID "33333333-3333-3333-3333-333333333333"

/* A host whose `mount` is a script, which does what $SCRIPT_DOES says. */
static char dir[] = "/tmp/v2c-test-nfs.XXXXXX";
static char root[64], mounts[64], os_release[64], agent[64], script[64], calls[64];
static struct storage_host host;

static const struct storage_pool nfs_pool = {.id = POOL_ID,
                                             .name = "nfs1",
                                             .type = "NetworkFilesystem",
                                             .path = "/export/primary",
                                             .host = "127.0.0.1",
                                             .state = "Up"};

static void
write_text(const char *path, const char *text)
{
    struct err *err = NULL;

    assert_ok(file_replace(path, text, strlen(text), 0600, &err), &err);
}

static int
set_up(void **state)
{
    static const char text[] = "#!/bin/sh\n"
                               "here=$(dirname \"$0\")\n"
                               "echo \"$*\" >> $here/calls\n"
                               "case $(cat $here/does) in\n"
                               "fail) echo 'mount.nfs: access denied by server' >&2; exit 32;;\n"
                               "hang) exec sleep 100;;\n"
                               "esac\n"
                               "for last; do before=$source; source=$at; at=$last; done\n"
                               "echo \"$source $at nfs rw,addr=127.0.0.1 0 0\" >> $here/mounts\n";

    if (!mkdtemp(dir))
        return -1;
    snprintf(root, sizeof(root), "%s/mnt", dir);
    snprintf(mounts, sizeof(mounts), "%s/mounts", dir);
    snprintf(os_release, sizeof(os_release), "%s/os-release", dir);
    snprintf(agent, sizeof(agent), "%s/agent.properties", dir);
    snprintf(script, sizeof(script), "%s/mount", dir);
    snprintf(calls, sizeof(calls), "%s/calls", dir);
    host = (struct storage_host){.fstab = "/dev/null",
                                 .mounts = mounts,
                                 .os_release = os_release,
                                 .agent_properties = agent,
                                 .mount_root = root,
                                 .mount_argv = {"/bin/sh", script},
                                 .patience_ms = 20000};
    write_text(script, text);
    return mkdir(root, 0755);
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return system(command);
}

static int
begin(void **state)
{
    CLEANUP(free_charp) char *does = file_join(dir, "does");

    write_text(does, "mount");
    write_text(mounts, "/dev/sda1 / ext4 rw 0 0\n");
    write_text(os_release, "ID=debian\n");
    write_text(calls, "");
    (void)unlink(agent);
    unsetenv("V2C_NFS_MOUNT_OPTS");
    host.patience_ms = 20000;
    return 0;
}

static char *
called(void)
{
    struct err *err = NULL;
    char *text = NULL;
    size_t length;

    assert_ok(file_read(calls, 4096, &text, &length, &err), &err);
    return text;
}

static void
assert_refused(const struct storage_pool *pool, const char *says)
{
    struct err *err = NULL;
    char *resolved = NULL;

    assert_int_equal(storage_resolve_on(&host, pool, &resolved, &err), -1);
    assert_null(resolved);
    assert_non_null(err_hint_text(err));
    assert_err_says(&err, E_POOL, says);
}

static void
assert_mounted_once(const struct storage_pool *pool)
{
    CLEANUP(free_charp) char *expected = file_join(root, POOL_ID), *resolved = NULL;
    struct err *err = NULL;

    assert_ok(storage_resolve_on(&host, pool, &resolved, &err), &err);
    assert_string_equal(resolved, expected);
}

static void
a_pool_that_is_not_mounted_is_mounted_by_its_id(void **state)
{
    CLEANUP(free_charp) char *text = NULL, *expected = NULL, *again = NULL;

    assert_mounted_once(&nfs_pool);
    text = called();
    expected = xasprintf("-t nfs 127.0.0.1:/export/primary %s/" POOL_ID "\n", root);
    assert_string_equal(text, expected);
    assert_mounted_once(&nfs_pool);
    again = called();
    assert_string_equal(again, expected); /* and not mounted twice */
}

static void
options_are_the_users_or_the_distributions(void **state)
{
    CLEANUP(free_charp) char *none = NULL, *like = NULL, *ubuntu = NULL, *own = NULL;

    none = storage_nfs_options(&host);
    assert_null(none);
    write_text(os_release, "NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
    like = storage_nfs_options(&host);
    assert_contains(like, "vers=3");
    write_text(os_release, "ID=ubuntu\n");
    ubuntu = storage_nfs_options(&host);
    assert_string_equal(ubuntu, "rw,relatime,vers=3,rsize=1048576,wsize=1048576,hard,proto=tcp,"
                                "timeo=600,retrans=2");
    setenv("V2C_NFS_MOUNT_OPTS", "vers=4.1,soft", 1);
    own = storage_nfs_options(&host);
    assert_string_equal(own, "vers=4.1,soft");
    {
        CLEANUP(free_charp) char *text = NULL;

        assert_mounted_once(&nfs_pool);
        text = called();
        assert_contains(text, "-o vers=4.1,soft 127.0.0.1:/export/primary");
    }
}

static void
a_mount_of_another_export_is_refused(void **state)
{
    CLEANUP(free_charp) char *other = NULL, *text = NULL;

    other = xasprintf("127.0.0.1:/export/secondary %s/" POOL_ID " nfs4 rw 0 0\n", root);
    write_text(mounts, other);
    assert_refused(&nfs_pool, "/export/secondary (nfs4) mounted, and the pool is 127.0.0.1:");
    free(other);
    other = xasprintf("/dev/sdb1 %s/" POOL_ID " ext4 rw 0 0\n", root);
    write_text(mounts, other);
    assert_refused(&nfs_pool, "/dev/sdb1 (ext4)");
    text = called();
    assert_string_equal(text, "");
}

static void
an_export_is_the_same_by_name_and_by_address(void **state)
{
    assert_true(
        storage_is_same_export("127.0.0.1:/export/primary/", "127.0.0.1", "/export/primary"));
    assert_true(
        storage_is_same_export("127.0.0.1:/export//primary", "localhost", "/export/primary"));
    assert_true(storage_is_same_export("[::1]:/a", "::1", "/a/"));
    assert_true(storage_is_same_export("NAS:/", "nas", "/"));
    assert_false(
        storage_is_same_export("127.0.0.1:/export/primary2", "127.0.0.1", "/export/primary"));
    assert_false(storage_is_same_export("127.0.0.1:/export", "127.0.0.1", "/export/primary"));
    assert_false(storage_is_same_export("127.0.0.2:/a", "127.0.0.1", "/a"));
    assert_false(storage_is_same_export("tmpfs", "127.0.0.1", "/a"));
}

static void
beside_an_agent_nothing_is_mounted(void **state)
{
    CLEANUP(free_charp) char *text = NULL, *line = NULL;

    write_text(agent, "guid=1\n");
    assert_refused(&nfs_pool, "runs a CloudStack agent");
    text = called();
    assert_string_equal(text, "");
    line = xasprintf("127.0.0.1:/export/primary %s/" POOL_ID " nfs rw 0 0\n", root);
    write_text(mounts, line);
    assert_mounted_once(&nfs_pool); /* by the agent */
}

static void
what_mount_says_is_told(void **state)
{
    CLEANUP(free_charp) char *does = file_join(dir, "does");

    write_text(does, "fail");
    assert_refused(&nfs_pool, "access denied by server");
}

static void
a_mount_that_hangs_ends(void **state)
{
    CLEANUP(free_charp) char *does = file_join(dir, "does");

    write_text(does, "hang");
    host.patience_ms = 200;
    assert_refused(&nfs_pool, "took more than");
}

static void
answers_that_are_no_export_never_reach_a_command_line(void **state)
{
    static const struct {
        const char *server, *path, *id;
    } cases[] = {
        {"-o", "/a", POOL_ID},        {"", "/a", POOL_ID},   {"a b", "/a", POOL_ID},
        {"a/b", "/a", POOL_ID},       {"nas", "a", POOL_ID}, {"nas", "/a\n", POOL_ID},
        {"nas", "/a", "../../etc/x"}, {"nas", "/a", ""},     {NULL, "/a", POOL_ID},
        {"nas", NULL, POOL_ID},
    };
    CLEANUP(free_charp) char *text = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct storage_pool pool = nfs_pool;

        pool.host = cases[i].server;
        pool.path = cases[i].path;
        pool.id = cases[i].id;
        assert_refused(&pool, " ");
    }
    text = called();
    assert_string_equal(text, "");
}

static void *
resolve_beside(void *opaque)
{
    char *resolved = NULL;

    if (storage_resolve_on(&host, &nfs_pool, &resolved, NULL) == 0)
        *(bool *)opaque = true;
    free(resolved);
    return NULL;
}

static void
two_at_once_mount_once(void **state)
{
    CLEANUP(free_charp) char *text = NULL, *expected = NULL;
    bool is_well[4] = {false};
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_beside, &is_well[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_true(is_well[i]);
    }
    text = called();
    expected = xasprintf("-t nfs 127.0.0.1:/export/primary %s/" POOL_ID "\n", root);
    assert_string_equal(text, expected);
}

static void
local_storage_is_for_its_own_host(void **state)
{
    struct storage_pool pool = nfs_pool;
    struct err *err = NULL;
    char *resolved = NULL;

    pool.type = "Filesystem";
    pool.path = root;
    pool.host = "192.0.2.77";
    assert_refused(&pool, "local to 192.0.2.77, which is not this machine");
    pool.host = NULL;
    assert_refused(&pool, "local to one KVM host");
    pool.host = "127.0.0.1";
    assert_ok(storage_resolve_on(&host, &pool, &resolved, &err), &err);
    assert_string_equal(resolved, root);
    free(resolved);
}

static void
what_mounting_needs_is_looked_for(void **state)
{
    struct storage_nfs_client client;
    struct storage_host other = host;
    CLEANUP(free_charp) char *filesystems = file_join(dir, "filesystems"), *modules = NULL;
    CLEANUP(free_charp) char *dep = NULL, *builtin = NULL;
    struct utsname name;
    struct err *err = NULL;

    assert_int_equal(uname(&name), 0);
    modules = xasprintf("%s/modules", dir);
    dep = xasprintf("%s/%s/modules.dep", modules, name.release);
    builtin = xasprintf("%s/%s/modules.builtin", modules, name.release);
    other.filesystems = filesystems;
    other.modules = modules;
    write_text(filesystems, "nodev\tnfsd\n\text4\n");
    storage_look_at_nfs_on(&other, &client);
    assert_null(client.program);
    assert_int_equal(client.kernel, STORAGE_UNKNOWN); /* no modules: a kernel of one's own */
    assert_false(client.has_agent);

    assert_int_equal(chmod(script, 0700), 0);
    other.mount_nfs[1] = script;
    write_text(agent, "");
    *strrchr(dep, '/') = '\0';
    assert_ok(file_make_dirs(dep, 0700, &err), &err);
    dep[strlen(dep)] = '/';
    write_text(dep, "kernel/fs/nfsd/nfsd.ko: kernel/fs/lockd/lockd.ko\n");
    write_text(builtin, "kernel/fs/ext4/ext4.ko\n");
    storage_look_at_nfs_on(&other, &client);
    assert_string_equal(client.program, script);
    assert_int_equal(client.kernel, STORAGE_NO);
    assert_true(client.has_agent);

    write_text(dep, "kernel/fs/nfs/nfs.ko.xz: kernel/fs/lockd/lockd.ko.xz\n");
    storage_look_at_nfs_on(&other, &client);
    assert_int_equal(client.kernel, STORAGE_YES);
    write_text(dep, "");
    write_text(filesystems, "nodev\tnfs\n");
    storage_look_at_nfs_on(&other, &client);
    assert_int_equal(client.kernel, STORAGE_YES);
    if (geteuid() != 0)
        assert_false(client.may_mount);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pool_that_is_not_mounted_is_mounted_by_its_id, begin),
        cmocka_unit_test_setup(options_are_the_users_or_the_distributions, begin),
        cmocka_unit_test_setup(a_mount_of_another_export_is_refused, begin),
        cmocka_unit_test_setup(an_export_is_the_same_by_name_and_by_address, begin),
        cmocka_unit_test_setup(beside_an_agent_nothing_is_mounted, begin),
        cmocka_unit_test_setup(what_mount_says_is_told, begin),
        cmocka_unit_test_setup(a_mount_that_hangs_ends, begin),
        cmocka_unit_test_setup(answers_that_are_no_export_never_reach_a_command_line, begin),
        cmocka_unit_test_setup(two_at_once_mount_once, begin),
        cmocka_unit_test_setup(what_mounting_needs_is_looked_for, begin),
        cmocka_unit_test_setup(local_storage_is_for_its_own_host, begin),
    };

    return cmocka_run_group_tests(tests, set_up, remove_dir);
}
