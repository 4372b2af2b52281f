/* `migration.vddk`, in config.yaml and in specs. */
#include "tests/unit/config/files.h"

#include "base/doc.h"
#include "config/config.h"

#define TARGET                                                                                     \
    "target: {cloudstack: {zoneid: z, clusterid: c, storageid: s, networkid: n, "                  \
    "serviceofferingid: so}}\n"

static struct config *
load(const char *text)
{
    struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", text);
    assert_ok(config_load("config.yaml", false, &config, NULL, &err), &err);
    return config;
}

static void
load_spec(const char *text, const struct config *config, struct spec_list *specs)
{
    static const char *const path = "spec.yaml";
    struct err *err = NULL;

    write_file(path, text);
    assert_ok(spec_load_all(&path, 1, config, NULL, false, specs, NULL, &err), &err);
}

static void
refuse(const char *vddk, const char *message)
{
    CLEANUP(free_charp) char *text = xasprintf("migration: {vddk: %s}\n", vddk);
    struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", text);
    assert_int_equal(config_load("config.yaml", false, &config, NULL, &err), -1);
    assert_err_says(&err, E_CONFIG, message);
}

static void
the_defaults_suit_most(void **state)
{
    CLEANUP(config_freep) struct config *config = load("");
    const struct config_vddk *vddk = &config->migration.vddk;

    assert_string_equal(vddk->transports, "nbdssl:nbd");
    assert_int_equal(vddk->compression, CONFIG_COMPRESSION_NONE);
    assert_true(vddk->is_unbuffered);
    assert_int_equal(vddk->nfc_buffer_kb, 1024);
    assert_int_equal(vddk->nfc_buffer_count, 4);
    assert_int_equal(vddk->log_level, -1);
    assert_string_equal(vddk->tmp_dir, "");
}

static void
every_key_is_read(void **state)
{
    CLEANUP(config_freep)
    struct config *config =
        load("migration: {vddk: {transports: 'san:hotadd:nbd:nbdssl', compression: FastLZ,\n"
             "  unbuffered: false, nfc_buffer_kb: 2048, nfc_buffer_count: 8, log_level: 6,\n"
             "  tmp_dir: /var/tmp/vddk}}\n");
    const struct config_vddk *vddk = &config->migration.vddk;

    assert_string_equal(vddk->transports, "san:hotadd:nbd:nbdssl");
    assert_int_equal(vddk->compression, CONFIG_COMPRESSION_FASTLZ);
    assert_false(vddk->is_unbuffered);
    assert_int_equal(vddk->nfc_buffer_kb, 2048);
    assert_int_equal(vddk->nfc_buffer_count, 8);
    assert_int_equal(vddk->log_level, 6);
    assert_string_equal(vddk->tmp_dir, "/var/tmp/vddk");
}

static void
what_vddk_cannot_do_is_refused(void **state)
{
    refuse("{transports: 'nbdssl,nbd'}", "migration.vddk.transports");
    refuse("{transports: 'nbdssl:'}", "with colons between");
    refuse("{transports: 'nbd:nbd'}", "with colons between");
    refuse("{transports: 'file'}", "with colons between");
    refuse("{transports: 'nbdss'}", "with colons between");
    refuse("{compression: lz4}", "compression");
    refuse("{nfc_buffer_kb: 100}", "a multiple of 64");
    refuse("{nfc_buffer_kb: 4096}", "nfc_buffer_kb");
    refuse("{nfc_buffer_count: 17}", "17 buffers of 1024 KiB are more than the 16 MiB");
    refuse("{nfc_buffer_kb: 2048, nfc_buffer_count: 9}", "more than the 16 MiB");
    refuse("{nfc_buffer_count: -1}", "nfc_buffer_count");
    refuse("{log_level: 7}", "log_level");
    refuse("{tmp_dir: here}", "an absolute path");
    refuse("{tmp_dir: '/tmp\"'}", "an absolute path");
    refuse("{transport: nbd}", "transport");
    refuse("nbd", "vddk");
}

static void
a_spec_changes_what_it_names(void **state)
{
    CLEANUP(config_freep)
    struct config *config =
        load("migration: {vddk: {compression: zlib, nfc_buffer_count: 2, tmp_dir: /t}}\n");
    CLEANUP(spec_list_done) struct spec_list specs = {0};
    const struct config_vddk *one, *two;

    load_spec("defaults: {migration: {vddk: {transports: nbd, unbuffered: false, log_level: 3}},\n"
              "  " TARGET "}\n"
              "vms:\n"
              "  - {vm: {name: one}, migration: {vddk: {transports: nbdssl, compression: skipz,\n"
              "      nfc_buffer_kb: 256, log_level: 0}}}\n"
              "  - {vm: {name: two}}\n",
              config, &specs);
    one = &specs.items[0]->vddk;
    two = &specs.items[1]->vddk;
    assert_string_equal(one->transports, "nbdssl");
    assert_string_equal(two->transports, "nbd");
    assert_int_equal(one->compression, CONFIG_COMPRESSION_SKIPZ);
    assert_int_equal(two->compression, CONFIG_COMPRESSION_ZLIB);
    assert_false(one->is_unbuffered);
    assert_int_equal(one->nfc_buffer_kb, 256);
    assert_int_equal(two->nfc_buffer_kb, 1024);
    assert_int_equal(one->nfc_buffer_count, 2);
    assert_int_equal(one->log_level, 0);
    assert_int_equal(two->log_level, 3);
    assert_string_equal(two->tmp_dir, "/t");
}

static void
a_spec_that_makes_a_session_too_large_is_refused(void **state)
{
    CLEANUP(config_freep)
    struct config *config = load("migration: {vddk: {nfc_buffer_kb: 2048}}\n");
    static const char *const path = "spec.yaml";
    struct spec_list specs = {0};
    struct err *err = NULL;

    write_file(path, "vm: {name: x}\nmigration: {vddk: {nfc_buffer_count: 9}}\n" TARGET);
    assert_int_equal(spec_load_all(&path, 1, config, NULL, false, &specs, NULL, &err), -1);
    assert_err_says(&err, E_CONFIG, "9 buffers of 2048 KiB");
}

static void
a_written_spec_reads_back_the_same(void **state)
{
    CLEANUP(config_freep) struct config *config = load("");
    CLEANUP(spec_list_done) struct spec_list first = {0}, second = {0};
    CLEANUP(free_charp) char *yaml = NULL;

    load_spec("vm: {name: x}\nmigration: {vddk: {transports: 'hotadd:nbdssl', compression: zlib,\n"
              "  unbuffered: no, nfc_buffer_kb: 64, nfc_buffer_count: 256, log_level: 0,\n"
              "  tmp_dir: '/a\\b: #c'}}\n" TARGET,
              config, &first);
    yaml = spec_to_yaml(first.items[0]);
    load_spec(yaml, config, &second);
    assert_memory_equal(&first.items[0]->vddk, &second.items[0]->vddk, sizeof(struct config_vddk));
    assert_string_equal(second.items[0]->vddk.tmp_dir, "/a\\b: #c");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_suit_most),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(what_vddk_cannot_do_is_refused),
        cmocka_unit_test(a_spec_changes_what_it_names),
        cmocka_unit_test(a_spec_that_makes_a_session_too_large_is_refused),
        cmocka_unit_test(a_written_spec_reads_back_the_same),
    };

    return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
