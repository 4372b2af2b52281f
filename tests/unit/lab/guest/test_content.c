/* What the guest's files and manifest promise, and what is noticed when the promise is broken. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "guest/inside/content.h"
#include "tests/unit/check.h"

static char dir[64];
static struct content content;

static void
reopen(bool is_writable)
{
    content_close(&content);
    assert_int_equal(content_open(&content, dir, is_writable, 7), 0);
}

static int
make_dir(void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/v2c-content-XXXXXX");
    if (!mkdtemp(dir) || content_open(&content, dir, true, 7) < 0)
        return -1;
    for (unsigned i = 0; i < 6; i++)
        if (content_add(&content, 1000 + i * 5000, i == 3, true) < 0)
            return -1;
    return 0;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *manifest = file_join(dir, "MANIFEST");

    content_close(&content);
    for (unsigned i = 0; i < 100; i++) {
        CLEANUP(free_charp) char *path = xasprintf("%s/%07u", dir, i);

        (void)unlink(path);
    }
    (void)unlink(manifest);
    return rmdir(dir);
}

static void
assert_verified(unsigned files, unsigned bad)
{
    unsigned got_files = 0, got_bad = 0;

    content_verify(&content, &got_files, &got_bad);
    assert_int_equal(got_files, files);
    assert_int_equal(got_bad, bad);
}

static void
write_at(const char *name, const char *text, off_t offset, int flags)
{
    CLEANUP(free_charp) char *path = file_join(dir, name);
    CLEANUP(close_fdp) int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

    assert_true(fd >= 0);
    if (flags & O_APPEND)
        assert_true(write(fd, text, strlen(text)) > 0);
    else
        assert_true(pwrite(fd, text, strlen(text), offset) > 0);
}

static void
what_was_written_verifies_when_opened_again(void **state)
{
    assert_int_equal(content_rewrite(&content, 1, true), 0);
    assert_int_equal(content_remove(&content, 0), 0);
    reopen(false);
    assert_verified(5, 0);
    assert_int_equal(content.next_number, 7);
}

static void
a_flipped_byte_is_bad(void **state)
{
    write_at("0000002", "x", 5999, 0);
    reopen(false);
    assert_verified(6, 1);
}

static void
a_missing_a_short_and_a_long_file_are_bad(void **state)
{
    CLEANUP(free_charp) char *missing = file_join(dir, "0000001");
    CLEANUP(free_charp) char *cut = file_join(dir, "0000003");

    assert_int_equal(unlink(missing), 0);
    assert_int_equal(truncate(cut, 512), 0);
    write_at("0000005", "more", 0, O_APPEND);
    reopen(false);
    assert_verified(6, 3);
}

static void
a_manifest_line_that_was_cut_off_promised_nothing(void **state)
{
    write_at("MANIFEST", "A 7 4096 00000000", 0, O_APPEND);
    reopen(true);
    assert_verified(6, 0);
    /* And what is appended next is whole. */
    assert_int_equal(content_add(&content, 100, false, true), 0);
    reopen(false);
    assert_verified(7, 0);
}

static void
a_manifest_line_that_was_changed_is_bad(void **state)
{
    write_at("MANIFEST", "9", 2, 0);
    reopen(false);
    assert_verified(5, 1);
}

static void
sweeping_removes_only_what_is_not_listed(void **state)
{
    CLEANUP(free_charp) char *stray = file_join(dir, "0000042");
    struct stat st;

    write_at("0000042", "left over", 0, O_CREAT);
    reopen(true);
    assert_int_equal(content_sweep(&content), 0);
    assert_int_equal(stat(stray, &st), -1);
    assert_verified(6, 0);
    assert_int_equal(content.next_number, 43);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_verifies_when_opened_again, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_flipped_byte_is_bad, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_missing_a_short_and_a_long_file_are_bad, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_manifest_line_that_was_cut_off_promised_nothing, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_manifest_line_that_was_changed_is_bad, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(sweeping_removes_only_what_is_not_listed, make_dir,
                                        remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
