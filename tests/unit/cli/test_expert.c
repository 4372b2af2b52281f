#include "cli/expert.h"

#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"

#define CAPACITY (64 * MIB)

static char dir[] = "/tmp/v2c-test-expert.XXXXXX";

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

/* ---- ranges ----------------------------------------------------------------------------------- */

static int
parse(const char *text, struct extents *extents, struct err **err)
{
    extents->count = 0;
    return ranges_parse("r.json", text, strlen(text), CAPACITY, extents, err);
}

static void
ranges_are_read_in_their_order(void **state)
{
    struct extents extents = {0};
    struct err *err = NULL;

    assert_ok(
        parse(" [ {\"start\": 1048576, \"length\": 512},\n{\"length\":67108352,\"start\":512} ] \n",
              &extents, &err),
        &err);
    assert_int_equal(extents.count, 2);
    assert_int_equal(extents.items[0].offset, 1048576);
    assert_int_equal(extents.items[0].length, 512);
    assert_int_equal(extents.items[1].offset, 512);
    assert_int_equal(extents.items[1].length, CAPACITY - 512);
    assert_ok(parse("[]", &extents, &err), &err);
    assert_int_equal(extents.count, 0);
    vec_done(&extents);
}

static void
every_wrong_range_is_refused_by_its_number(void **state)
{
    static const char *const wrong[] = {
        "{\"start\":0}",
        "{\"start\":0,\"length\":0}",
        "{\"start\":0,\"length\":-512}",
        "{\"start\":-512,\"length\":512}",
        "{\"start\":1,\"length\":512}",
        "{\"start\":0,\"length\":513}",
        "{\"start\":0.0,\"length\":512}",
        "{\"start\":\"0\",\"length\":512}",
        "{\"start\":0,\"length\":512,\"x\":1}",
        "{\"start\":67108864,\"length\":512}",
        "{\"start\":67108352,\"length\":1024}",
        "{\"start\":512,\"length\":9223372036854775296}",
        "[0,512]",
    };
    struct extents extents = {0};
    struct err *err = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(free_charp) char *text = xasprintf("[{\"start\":0,\"length\":512},%s]", wrong[i]);

        assert_int_equal(parse(text, &extents, &err), -1);
        assert_err_says(&err, E_CONFIG, "r.json: range 2: ");
    }
    vec_done(&extents);
}

static void
what_is_no_list_of_ranges_is_a_syntax_error(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "{}",
        "[",
        "[,]",
        "[{\"start\":0,\"length\":512}",
        "[{\"start\":0,\"length\":512},]",
        "[{\"start\":0,\"length\":512} {\"start\":0,\"length\":512}]",
        "[{\"start\":0,\"start\":0,\"length\":512}]",
        "[{\"start\":99999999999999999999,\"length\":512}]",
        "[] x",
        "[][]",
        "[7]",
    };
    CLEANUP(free_charp) char *huge = xasprintf("[{\"start\":0,%8192s\"length\":512}]", "");
    struct extents extents = {0};
    struct err *err = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(parse(wrong[i], &extents, &err), -1);
        assert_err_says(&err, E_SYNTAX, "r.json: ");
    }
    assert_int_equal(parse(huge, &extents, &err), -1);
    assert_err(&err, E_SYNTAX);
    vec_done(&extents);
}

/* ---- settings --------------------------------------------------------------------------------- */

static const char spec_text[] = "vddk:\n"
                                "  libdir: /opt/vddk\n"
                                "  server: vc.example\n"
                                "  user: admin\n"
                                "  password: secret\n"
                                "  thumbprint: ''\n"
                                "  vm_moref: vm-16\n"
                                "base_copy:\n"
                                "  snapshot_moref: snapshot-17\n"
                                "  disk_path: '[ds] web/web.vmdk'\n"
                                "  target_qcow2: /tmp/web.qcow2\n"
                                "  disk_size_bytes: 0\n"
                                "  readers: 8\n"
                                "  queue_depth: 32\n"
                                "  min_chunk_mb: 1\n"
                                "  max_chunk_mb: 4\n"
                                "  fast_latency_ms: 40\n"
                                "  slow_latency_ms: 250\n"
                                "  fast_mbps: 180\n"
                                "  slow_mbps: 40\n"
                                "  run_virt_v2v: false\n"
                                "  virtio_iso: /usr/share/virtio-win/virtio-win.iso\n"
                                "delta_sync:\n"
                                "  snapshot_moref: snapshot-18\n"
                                "  disk_path: '[ds] web/web-000001.vmdk'\n"
                                "  target_qcow2: /tmp/web.qcow2\n"
                                "  ranges_file: /tmp/ranges.json\n"
                                "  readers: 2\n"
                                "  queue_depth: 64\n"
                                "  chunk_mb: 4\n";

static char *
write_spec(const char *text)
{
    char *path = file_join(dir, "engine.yaml");
    struct err *err = NULL;

    assert_ok(file_replace(path, text, strlen(text), 0600, &err), &err);
    return path;
}

static void
each_command_takes_its_own_section_of_the_spec(void **state)
{
    CLEANUP(free_charp) char *path = write_spec(spec_text);
    struct expert base = {0}, delta = {0}, flags = {.spec = path};
    struct err *err = NULL;
    char owner[QCOW2_ID_SIZE];

    assert_ok(expert_settings(EXPERT_BASE_COPY, &flags, &base, &err), &err);
    assert_string_equal(base.server, "vc.example");
    assert_null(base.thumbprint);
    assert_string_equal(base.snapshot_moref, "snapshot-17");
    assert_int_equal(base.queue_depth, 32);
    assert_int_equal(base.readers, 8);
    expert_owner(&base, owner);
    assert_string_equal(owner, "expert:vm-16");
    assert_ok(expert_settings(EXPERT_DELTA_SYNC, &flags, &delta, &err), &err);
    assert_string_equal(delta.disk_path, "[ds] web/web-000001.vmdk");
    assert_string_equal(delta.ranges_file, "/tmp/ranges.json");
    assert_int_equal(delta.readers, 2);
    expert_done(&base);
    expert_done(&delta);
}

static void
flags_override_the_spec(void **state)
{
    CLEANUP(free_charp) char *path = write_spec(spec_text);
    struct expert settings = {0};
    struct expert flags = {.spec = path,
                           .server = (char *)"other",
                           .queue_depth = 4,
                           .disk_size_bytes = 1024,
                           .target = (char *)"/tmp/other.qcow2"};
    struct err *err = NULL;

    assert_ok(expert_settings(EXPERT_BASE_COPY, &flags, &settings, &err), &err);
    assert_string_equal(settings.server, "other");
    assert_string_equal(settings.target, "/tmp/other.qcow2");
    assert_string_equal(settings.user, "admin");
    assert_int_equal(settings.queue_depth, 4);
    assert_int_equal(settings.disk_size_bytes, 1024);
    expert_done(&settings);
}

static void
mistakes_in_any_section_are_told_with_their_place(void **state)
{
    CLEANUP(free_charp)
    char *path = write_spec("vddk:\n  srever: x\n"
                            "base_copy:\n  readers: -1\n"
                            "delta_sync:\n  chunk_mb: four\n");
    struct expert settings = {0}, flags = {.spec = path};
    struct err *err = NULL;

    assert_int_equal(expert_settings(EXPERT_BASE_COPY, &flags, &settings, &err), -1);
    assert_contains(err_message(err), "engine.yaml:2");
    assert_contains(err_message(err), "base_copy.readers");
    assert_contains(err_message(err), "delta_sync.chunk_mb");
    assert_err(&err, E_CONFIG);
    expert_done(&settings);
}

static struct expert
file_flags(void)
{
    return (struct expert){.source = (char *)"file:/tmp/a.raw", .target = (char *)"/tmp/a.qcow2"};
}

static void
assert_refused(const struct expert *flags, enum err_code code, const char *text)
{
    struct expert settings = {0};
    struct err *err = NULL;

    assert_int_equal(expert_settings(EXPERT_BASE_COPY, flags, &settings, &err), -1);
    assert_err_says(&err, code, text);
    expert_done(&settings);
}

static void
contradictions_are_refused(void **state)
{
    struct expert f = file_flags();

    f.disk_path = (char *)"[ds] a.vmdk";
    assert_refused(&f, E_USAGE, "both given");
    f = file_flags();
    f.source = (char *)"http://x/y";
    assert_refused(&f, E_USAGE, "expected file:PATH");
    f.source = (char *)"file:";
    assert_refused(&f, E_USAGE, "expected file:PATH");
    f = file_flags();
    f.min_chunk_mb = 8;
    assert_refused(&f, E_CONFIG, "max_chunk_mb");
    f = file_flags();
    f.fast_latency_ms = 300;
    assert_refused(&f, E_CONFIG, "slow_latency_ms");
    f = file_flags();
    f.slow_mbps = 200;
    assert_refused(&f, E_CONFIG, "fast_mbps");
    f = file_flags();
    f.disk_size_bytes = 1000;
    assert_refused(&f, E_CONFIG, "512");
    f = file_flags();
    f.readers = 257;
    assert_refused(&f, E_USAGE, "readers: expected 0 to 256");
    f = file_flags();
    f.target = NULL;
    assert_refused(&f, E_USAGE, "--target-qcow2");
}

static void
requests_larger_than_a_mib_are_taken_as_one(void **state)
{
    struct expert f = file_flags(), settings = {0};
    struct err *err = NULL;

    assert_ok(expert_settings(EXPERT_BASE_COPY, &f, &settings, &err), &err);
    assert_int_equal(settings.min_chunk_mb, 0); /* not given: ours to choose */
    assert_int_equal(settings.fast_latency_ms, 40);
    assert_int_equal(settings.slow_latency_ms, 250);
    assert_int_equal(settings.fast_mbps, 180);
    assert_int_equal(settings.slow_mbps, 40);
    expert_done(&settings);
    f.min_chunk_mb = 2;
    f.max_chunk_mb = 8;
    assert_ok(expert_settings(EXPERT_BASE_COPY, &f, &settings, &err), &err);
    assert_int_equal(settings.min_chunk_mb, 1);
    assert_int_equal(settings.max_chunk_mb, 1);
    expert_done(&settings);
}

static void
everything_that_is_missing_is_told_in_one_go(void **state)
{
    struct expert flags = {.target = (char *)"/tmp/a.qcow2", .server = (char *)"vc"};

    unsetenv("VC_PASSWORD");
    assert_refused(&flags, E_USAGE,
                   "missing: --vddk-libdir, --user, VC_PASSWORD (or --password), --vm-moref, "
                   "--disk-path");
}

static void
conversion_is_never_left_out_in_silence(void **state)
{
    struct expert f = file_flags(), settings = {0};
    struct expert vmware = {.libdir = (char *)"/opt/vddk",
                            .server = (char *)"vc",
                            .user = (char *)"u",
                            .password = (char *)"p",
                            .vm_moref = (char *)"vm-1",
                            .disk_path = (char *)"[ds] a.vmdk",
                            .target = (char *)"/tmp/a.qcow2"};
    struct err *err = NULL;

    f.run_virt_v2v = f.has_run_virt_v2v = true;
    assert_refused(&f, E_NOT_BUILT, "run_virt_v2v");
    assert_refused(&vmware, E_NOT_BUILT, "run_virt_v2v");
    vmware.has_run_virt_v2v = true;
    assert_ok(expert_settings(EXPERT_BASE_COPY, &vmware, &settings, &err), &err);
    expert_done(&settings);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_read_in_their_order),
        cmocka_unit_test(every_wrong_range_is_refused_by_its_number),
        cmocka_unit_test(what_is_no_list_of_ranges_is_a_syntax_error),
        cmocka_unit_test(each_command_takes_its_own_section_of_the_spec),
        cmocka_unit_test(flags_override_the_spec),
        cmocka_unit_test(mistakes_in_any_section_are_told_with_their_place),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(requests_larger_than_a_mib_are_taken_as_one),
        cmocka_unit_test(everything_that_is_missing_is_told_in_one_go),
        cmocka_unit_test(conversion_is_never_left_out_in_silence),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
