/* What may be handed to CloudStack. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static void
importable_means_the_right_size_and_finished(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB);
    struct err *err = NULL;

    fixture_write_both(f, image, 0, 4096);
    qcow2_closep(&image);
    assert_int_equal(qcow2_check_importable(f->path, MIB, NULL, &err), -1);
    assert_non_null(strstr(err_message(err), "not finished"));
    err_freep(&err);
    image = fixture_resume(f, MIB);
    fixture_finish(&image);
    assert_int_equal(qcow2_check_importable(f->path, 2 * MIB, NULL, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_CHECK);
    err_freep(&err);
    assert_int_equal(qcow2_check_importable(f->path, MIB, NULL, &err), 0);
}

/* What QEMU makes with @options, and what is then said of it; NULL: it may be imported. */
static void
expect_judgement(struct fixture *f, const char *options, const char *reason)
{
    CLEANUP(free_charp)
    char *command = xasprintf("qemu-img create -q -f qcow2 %s %s 8M", options, f->path);
    const char *argv[] = {"sh", "-c", command, NULL};
    struct err *err = NULL;

    assert_int_equal(support_run(argv), 0);
    if (qcow2_check_importable(f->path, 8 * MIB, NULL, &err) < 0) {
        if (!reason || !strstr(err_message(err), reason))
            fail_msg("%s: %s", options, err_message(err));
        assert_int_equal(err_code(err), E_TARGET_CHECK);
    } else if (reason) {
        fail_msg("%s may be imported", options);
    }
    err_free(err);
    unlink(f->path);
}

static void
what_cloudstack_does_not_want_is_not_importable(void **state)
{
    struct fixture *f = *state;
    char *backing = support_path("backing.raw");
    const char *bitmap[] = {"qemu-img", "bitmap", "--add", f->path, "b", NULL};
    const char *make[] = {"qemu-img", "create", "-q", "-f", "qcow2", f->path, "8M", NULL};
    const char *zero[] = {
        "qemu-io",          "-f",    "qcow2", "-c", "write 0 1M", "-c", "write -z 0 64k", "-c",
        "discard 128k 64k", f->path, NULL};
    struct err *err = NULL;

    close(open(backing, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    expect_judgement(f, "", NULL);
    expect_judgement(f, "-o cluster_size=256k", NULL);
    expect_judgement(f, "-o preallocation=metadata", NULL);
    expect_judgement(f, "-o compat=0.10", "version 2");
    expect_judgement(f, "-o cluster_size=32k", "clusters");
    expect_judgement(f, "-o cluster_size=2M", "clusters");
    expect_judgement(f, "-o refcount_bits=1", "refcounts have 1 bits");
    expect_judgement(f, "-o lazy_refcounts=on", "compatible features");
    expect_judgement(f, "-o extended_l2=on,cluster_size=128k", "extended L2");
    expect_judgement(f, "-o compression_type=zstd", "compression");
    expect_judgement(f, "-b backing.raw -F raw", "backing file");
    assert_int_equal(support_run(make), 0);
    assert_int_equal(support_run(bitmap), 0);
    assert_int_equal(qcow2_check_importable(f->path, 8 * MIB, NULL, &err), -1);
    assert_non_null(strstr(err_message(err), "it has bitmaps"));
    err_freep(&err);
    /* Zero clusters, as a conversion of the guest leaves them, are as good as any. */
    assert_int_equal(support_run(make), 0);
    assert_int_equal(support_run(zero), 0);
    assert_int_equal(qcow2_check_importable(f->path, 8 * MIB, NULL, NULL), 0);
    unlink(backing);
    free(backing);
}

static unsigned
mode_of(const struct fixture *f)
{
    struct stat st;

    assert_int_equal(stat(f->path, &st), 0);
    return (unsigned)st.st_mode & 07777;
}

static void
files_get_the_mode_that_cloudstack_gives_them(void **state)
{
    struct fixture *f = *state;
    mode_t mask = umask(077);
    struct qcow2_image *image = fixture_create(f, MIB);

    umask(mask);
    assert_int_equal(mode_of(f), 0644);
    assert_int_equal(chmod(f->path, 0600), 0);
    fixture_finish(&image);
    assert_int_equal(mode_of(f), 0644);
}

static void
a_mode_that_hosts_cannot_use_is_not_importable(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB);
    struct err *err = NULL, *warning = NULL;

    fixture_finish(&image);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(chmod(f->path, i ? 0444 : 0640), 0);
        assert_int_equal(qcow2_check_importable(f->path, MIB, &warning, &err), -1);
        assert_int_equal(err_code(err), E_PERMISSION);
        assert_non_null(strstr(err_message(err), i ? "mode 0444" : "mode 0640"));
        assert_non_null(strstr(err_hint_text(err), "chmod 0644"));
        err_freep(&err);
        assert_null(warning);
    }
    assert_int_equal(chmod(f->path, 0666), 0);
    assert_int_equal(qcow2_check_importable(f->path, MIB, &warning, NULL), 0);
    assert_non_null(warning);
    err_freep(&warning);
    assert_int_equal(qcow2_check_access(support_dir(), &warning, &err), -1);
    err_freep(&err);
}

/* Root's files are taken back from whoever has them; who is not root is told that it matters. */
static void
another_owner_than_root_is_warned_of(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB);
    struct err *warning = NULL;
    struct stat st;

    if (geteuid() == 0) {
        assert_int_equal(chown(f->path, 1234, 1234), 0);
        assert_int_equal(qcow2_check_access(f->path, &warning, NULL), 0);
        assert_non_null(strstr(err_message(warning), "squashes root"));
        err_freep(&warning);
        fixture_finish(&image);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_uid, 0);
        assert_int_equal(st.st_gid, 0);
        assert_int_equal(qcow2_check_access(f->path, &warning, NULL), 0);
        assert_null(warning);
    } else {
        fixture_finish(&image);
        assert_int_equal(qcow2_check_access(f->path, &warning, NULL), 0);
        assert_non_null(strstr(err_message(warning), "belongs to user"));
        err_freep(&warning);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        T(importable_means_the_right_size_and_finished),
        T(what_cloudstack_does_not_want_is_not_importable),
        T(files_get_the_mode_that_cloudstack_gives_them),
        T(a_mode_that_hosts_cannot_use_is_not_importable),
        T(another_owner_than_root_is_warned_of),
#undef T
    };

    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
