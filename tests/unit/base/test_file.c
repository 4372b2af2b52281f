#include "base/file.h"

#include "tests/unit/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

static char *dir;

static int
make_dir(void **state)
{
    char template[] = "/tmp/v2c-test-file.XXXXXX";

    dir = xstrdup(mkdtemp(template));
    return dir ? 0 : -1;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);
    int rc = system(command);

    free(dir);
    return rc;
}

static char *
in_dir(const char *name)
{
    return file_join(dir, name);
}

static void
a_file_is_replaced_as_a_whole(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("state.json"), *data = NULL;
    struct err *err = NULL;
    struct stat st;
    size_t length;

    assert_ok(file_replace(path, "first, longer", 13, 0640, &err), &err);
    assert_ok(file_replace(path, "second", 6, 0600, &err), &err);
    assert_ok(file_read(path, 100, &data, &length, &err), &err);
    assert_int_equal(length, 6);
    assert_string_equal(data, "second");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
a_failed_replacement_leaves_the_old_file_and_no_temporary(void **state)
{
    CLEANUP(free_charp)
    char *path = in_dir("is-a-directory"), *temporary = in_dir("is-a-directory.tmp");
    CLEANUP(free_charp) char *inside = xasprintf("%s/x", path), *nowhere = in_dir("no/such/dir");
    struct err *err = NULL;

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(file_replace(path, "x", 1, 0600, &err), -1);
    assert_err_says(&err, E_IO, path);
    assert_int_equal(access(inside, F_OK), 0);
    assert_int_equal(access(temporary, F_OK), -1);
    assert_int_equal(file_replace(nowhere, "x", 1, 0600, &err), -1);
    assert_err_says(&err, E_IO, nowhere);
}

static void
a_full_disk_says_so(void **state)
{
    struct err *err = NULL;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        skip();
    assert_int_equal(file_pwrite(fd, "x", 1, 0, &err), -1);
    assert_err(&err, E_NO_SPACE);
    close(fd);
}

static void
what_a_crash_left_beside_the_file_is_used_again(void **state)
{
    CLEANUP(free_charp)
    char *path = in_dir("state.json"), *temporary = in_dir("state.json.tmp"), *data = NULL;
    struct err *err = NULL;
    size_t length;

    assert_ok(file_replace(temporary, "half of a longer text", 21, 0600, &err), &err);
    assert_ok(file_replace(path, "new", 3, 0600, &err), &err);
    assert_ok(file_read(path, 100, &data, &length, &err), &err);
    assert_string_equal(data, "new");
    assert_int_equal(access(temporary, F_OK), -1);
}

/* Several processes replace one file: whatever is read is one of their texts as a whole. */
static void
concurrent_replacements_never_mix(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("contended");
    struct err *err = NULL;
    pid_t pids[3];
    int status;

    assert_ok(file_replace(path, "0", 1, 0600, &err), &err);
    for (int who = 0; who < 3; who++) {
        pids[who] = fork();
        if (pids[who] == 0) {
            char text[5000];

            memset(text, '0' + who, sizeof(text));
            for (int i = 0; i < 30; i++)
                if (file_replace(path, text, (size_t)(i % 2 ? 5000 : 100), 0600, NULL) < 0)
                    _exit(1);
            _exit(0);
        }
    }
    for (int i = 0; i < 100; i++) {
        CLEANUP(free_charp) char *data = NULL;
        size_t length;

        assert_ok(file_read(path, 10000, &data, &length, &err), &err);
        assert_true(length == 1 || length == 100 || length == 5000);
        for (size_t k = 1; k < length; k++)
            assert_int_equal(data[k], data[0]);
    }
    for (int who = 0; who < 3; who++) {
        assert_int_equal(waitpid(pids[who], &status, 0), pids[who]);
        assert_int_equal(status, 0);
    }
}

static void
reading_is_bounded(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("ten"), *data = NULL;
    struct err *err = NULL;
    size_t length = 77;

    assert_ok(file_replace(path, "0123456789", 10, 0600, &err), &err);
    assert_int_equal(file_read(path, 9, &data, &length, &err), -1);
    assert_err_says(&err, E_LIMIT, "larger than 9 bytes");
    assert_null(data);
    assert_int_equal(length, 77);
    assert_ok(file_read(path, 10, &data, &length, &err), &err);
    assert_string_equal(data, "0123456789");
}

static void
files_without_a_size_are_read_too(void **state)
{
    CLEANUP(free_charp) char *data = NULL;
    struct err *err = NULL;
    size_t length;

    assert_ok(file_read("/proc/self/status", 1 << 20, &data, &length, &err), &err);
    assert_contains(data, "Pid:");
    assert_int_equal(file_read("/dev/zero", 100000, &data, &length, &err), -1);
    assert_err(&err, E_LIMIT);
}

static void
a_missing_file_and_a_directory_are_named(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("missing"), *data = NULL;
    struct err *err = NULL;
    size_t length;

    assert_int_equal(file_read(path, 100, &data, &length, &err), -1);
    assert_err_says(&err, E_IO, "missing: No such file");
    assert_int_equal(file_read(dir, 100, &data, &length, &err), -1);
    assert_err_says(&err, E_IO, "is a directory");
}

static void
parents_are_made_and_existing_ones_are_fine(void **state)
{
    CLEANUP(free_charp)
    char *deep = in_dir("a/b//c/"), *file = in_dir("plain"), *below = in_dir("plain/x");
    struct err *err = NULL;

    assert_ok(file_make_dirs(deep, 0750, &err), &err);
    assert_ok(file_make_dirs(deep, 0750, &err), &err);
    assert_int_equal(access(deep, W_OK), 0);
    assert_ok(file_replace(file, "", 0, 0600, &err), &err);
    assert_int_equal(file_make_dirs(file, 0750, &err), -1);
    assert_err_says(&err, E_IO, "not a directory");
    assert_int_equal(file_make_dirs(below, 0750, &err), -1);
    assert_err(&err, E_IO);
}

static void
positioned_io_is_exact(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("positioned");
    CLEANUP(close_fdp) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct err *err = NULL;
    char data[8] = "";

    assert_ok(file_pwrite(fd, "abcdef", 6, 10, &err), &err);
    assert_ok(file_pread(fd, data, 3, 12, &err), &err);
    assert_string_equal(data, "cde");
    assert_int_equal(file_pread(fd, data, 4, 14, &err), -1);
    assert_err_says(&err, E_IO, "the file ends at 16, 2 bytes early");
    assert_int_equal(file_pwrite(-1, "x", 1, 0, &err), -1);
    assert_err(&err, E_IO);
}

/* Holds the lock in another process until *ret_go is closed. */
static pid_t
lock_elsewhere(const char *path, int *ret_go)
{
    int ready[2], go[2];
    char c = '-';
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid = fork();
    if (pid == 0) {
        int fd;

        close(go[1]);
        c = file_lock(path, &fd, NULL) == 0 ? 'y' : 'n';
        if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) < 0)
            _exit(1);
        _exit(0);
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    close(ready[0]);
    *ret_go = go[1];
    return pid;
}

static void
a_lock_held_by_another_process_is_refused_with_its_pid(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("lock"), *owner = NULL;
    struct err *err = NULL;
    int go, fd = -7;
    pid_t pid = lock_elsewhere(path, &go);

    owner = xasprintf("locked by process %ld", (long)pid);
    assert_int_equal(file_lock(path, &fd, &err), -1);
    assert_int_equal(fd, -7);
    assert_non_null(err_hint_text(err));
    assert_err_says(&err, E_LOCKED, owner);
    close(go);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_ok(file_lock(path, &fd, &err), &err);
    close(fd);
}

static void
a_lock_is_released_when_its_owner_is_killed(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("lock-killed");
    struct err *err = NULL;
    int go, fd;
    pid_t pid = lock_elsewhere(path, &go);

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_ok(file_lock(path, &fd, &err), &err);
    close(fd);
    close(go);
}

static void
a_second_lock_of_the_same_process_is_refused(void **state)
{
    CLEANUP(free_charp) char *path = in_dir("lock-twice");
    struct err *err = NULL;
    int first, second;

    assert_ok(file_lock(path, &first, &err), &err);
    assert_int_equal(file_lock(path, &second, &err), -1);
    assert_err(&err, E_LOCKED);
    assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
    close(first);
    assert_ok(file_lock(path, &second, &err), &err);
    close(second);
}

static void
a_published_file_never_replaces_another(void **state)
{
    CLEANUP(free_charp) char *from = in_dir("unborn"), *to = in_dir("born"), *data = NULL;
    CLEANUP(free_charp) char *third = in_dir("third");
    struct err *err = NULL;
    size_t length;
    bool exists = true;

    assert_ok(file_replace(from, "ours", 4, 0600, &err), &err);
    assert_ok(file_publish(from, to, &exists, &err), &err);
    assert_false(exists);
    assert_int_equal(access(from, F_OK), -1);
    assert_ok(file_replace(from, "other", 5, 0600, &err), &err);
    assert_ok(file_publish(from, to, &exists, &err), &err);
    assert_true(exists);
    assert_ok(file_read(to, 100, &data, &length, &err), &err);
    assert_string_equal(data, "ours");
    assert_int_equal(unlink(from), 0);
    assert_int_equal(file_publish(from, third, &exists, &err), -1);
    assert_err(&err, E_IO);
}

static void
unsafe_characters_become_underscores(void **state)
{
    CLEANUP(free_charp) char *safe = file_safe_name("web 01/\xc3\xa9.prod_A-z");

    assert_string_equal(safe, "web_01___.prod_A-z");
}

static void
joining_adds_one_slash(void **state)
{
    CLEANUP(free_charp) char *plain = file_join("/a", "b"), *slashed = file_join("/a/", "b");

    assert_string_equal(plain, "/a/b");
    assert_string_equal(slashed, "/a/b");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_replaced_as_a_whole),
        cmocka_unit_test(a_failed_replacement_leaves_the_old_file_and_no_temporary),
        cmocka_unit_test(a_full_disk_says_so),
        cmocka_unit_test(what_a_crash_left_beside_the_file_is_used_again),
        cmocka_unit_test(concurrent_replacements_never_mix),
        cmocka_unit_test(reading_is_bounded),
        cmocka_unit_test(files_without_a_size_are_read_too),
        cmocka_unit_test(a_missing_file_and_a_directory_are_named),
        cmocka_unit_test(parents_are_made_and_existing_ones_are_fine),
        cmocka_unit_test(positioned_io_is_exact),
        cmocka_unit_test(a_lock_held_by_another_process_is_refused_with_its_pid),
        cmocka_unit_test(a_lock_is_released_when_its_owner_is_killed),
        cmocka_unit_test(a_second_lock_of_the_same_process_is_refused),
        cmocka_unit_test(a_published_file_never_replaces_another),
        cmocka_unit_test(unsafe_characters_become_underscores),
        cmocka_unit_test(joining_adds_one_slash),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
