/* The examples that are shipped load without a warning and show every key there is. */
#include "tests/unit/config/files.h"

#include "config/config.h"

/* A copy, because the configuration's file mode is looked at. */
static char *
copy(const char *name)
{
    CLEANUP(free_charp) char *from = file_join(EXAMPLES, name);
    struct err *err = NULL;
    char *text;
    size_t length;

    assert_ok(file_read(from, 1 << 20, &text, &length, &err), &err);
    write_file(name, text);
    return text;
}

static struct config *
load_config(void)
{
    CLEANUP(free_charp) char *warnings = NULL, *text = copy("config.yaml");
    struct config *config = NULL;
    struct err *err = NULL;

    assert_ok(config_load("config.yaml", false, &config, &warnings, &err), &err);
    assert_string_equal(warnings, "");
    return config;
}

static struct spec_list
load_specs(const char *name, const struct config *config)
{
    CLEANUP(free_charp) char *warnings = NULL, *text = copy(name);
    struct spec_list specs = {0};
    struct err *err = NULL;

    assert_ok(spec_load_all(&name, 1, config, NULL, false, &specs, &warnings, &err), &err);
    assert_string_equal(warnings, "");
    return specs;
}

static void
the_example_configuration_is_enough_to_run(void **state)
{
    CLEANUP(config_freep) struct config *config = load_config();
    struct err *err = NULL;

    assert_ok(config_check_run(config, &err), &err);
}

/* Takes the "# " off the lines that show a default. */
static void
uncomment(char *text, const char *const *keys)
{
    for (; *keys; keys++) {
        CLEANUP(free_charp) char *commented = xasprintf("# %s:", *keys);

        for (char *at = text; (at = strstr(at, commented)); at++)
            memmove(at, at + 2, strlen(at + 2) + 1);
    }
}

static void
the_commented_keys_of_the_configuration_are_right_too(void **state)
{
    static const char *const keys[] = {"timeout_seconds",
                                       "control_dir",
                                       "specs_dir",
                                       "workdir",
                                       "parallel_vms",
                                       "parallel_disks",
                                       "insecure",
                                       "snapshot_quiesce",
                                       "shutdown_mode",
                                       "ostypeid",
                                       "boottype",
                                       "finalize_settle_seconds",
                                       "cutover_max_downtime",
                                       "bootmode",
                                       "virtio_iso",
                                       "account",
                                       "rootdiskcontroller",
                                       "nicadapter",
                                       "domainid",
                                       "extents",
                                       "on_failure",
                                       "mark_source",
                                       "note",
                                       "rename",
                                       "suffix",
                                       "disconnect_nics",
                                       "import_method",
                                       "max_handles_per_host",
                                       "max_inflight_mib",
                                       "vddk",
                                       "transports",
                                       "compression",
                                       "unbuffered",
                                       "nfc_buffer_kb",
                                       "nfc_buffer_count",
                                       "bandwidth_limit",
                                       "host_bandwidth_limit",
                                       "host_bandwidth",
                                       "allow_unmounted_paths",
                                       "log",
                                       "format",
                                       "serve",
                                       "webhooks",
                                       "- name",
                                       "url",
                                       "secret",
                                       "events",
                                       "waves",
                                       "environments",
                                       "give_up_seconds",
                                       NULL};
    CLEANUP(config_freep) struct config *plain = load_config(), *full = NULL;
    CLEANUP(free_charp) char *text = copy("config.yaml"), *warnings = NULL;
    struct err *err = NULL;

    uncomment(text, keys);
    write_file("full.yaml", text);
    assert_ok(config_load("full.yaml", false, &full, &warnings, &err), &err);
    assert_string_equal(warnings, "");
    assert_int_equal(full->cloudstack.timeout_seconds, 45);
    assert_string_equal(full->defaults.account, "tenant1");
    assert_string_equal(full->defaults.boot_type, "BIOS");
    assert_string_equal(full->migration.control_dir, plain->migration.control_dir);
    assert_string_equal(full->migration.specs_dir, plain->migration.specs_dir);
    assert_int_equal(full->migration.parallel_vms, plain->migration.parallel_vms);
    assert_int_equal(full->migration.parallel_disks, plain->migration.parallel_disks);
    assert_int_equal(full->migration.finalize_settle_seconds,
                     plain->migration.finalize_settle_seconds);
    assert_int_equal(rate_schedule_at(&full->migration.bandwidth, 0), 0);
    assert_int_equal(rate_schedule_at(&full->migration.host_bandwidth, 0), 0);
    assert_int_equal(full->migration.quiesce, plain->migration.quiesce);
    assert_int_equal(full->migration.shutdown, plain->migration.shutdown);
    assert_int_equal(full->migration.extents, plain->migration.extents);
    assert_int_equal(full->migration.import_method, plain->migration.import_method);
    assert_int_equal(full->migration.max_handles_per_host, plain->migration.max_handles_per_host);
    assert_int_equal(full->migration.max_inflight_mib, plain->migration.max_inflight_mib);
    assert_memory_equal(&full->migration.vddk, &plain->migration.vddk,
                        sizeof(full->migration.vddk));
    assert_int_equal(full->vcenter.is_insecure, plain->vcenter.is_insecure);
    assert_string_equal(full->virt.virtio_iso, plain->virt.virtio_iso);
    assert_int_equal(full->storage.allows_unmounted, plain->storage.allows_unmounted);
    assert_int_equal(full->log_format, plain->log_format);
    assert_int_equal(full->serve.webhooks.count, 1);
    assert_int_equal(full->serve.webhooks.items[0].timeout_seconds, 10);
    assert_int_equal(full->serve.webhooks.items[0].give_up_seconds, 86400);
}

static void
the_example_configuration_shows_every_key(void **state)
{
    static const char *const keys[] = {"vcenter",
                                       "host",
                                       "user",
                                       "password",
                                       "insecure",
                                       "ca_file",
                                       "thumbprint",
                                       "cloudstack",
                                       "endpoint",
                                       "api_key",
                                       "secret_key",
                                       "timeout_seconds",
                                       "migration",
                                       "vddk_path",
                                       "snapshot_quiesce",
                                       "shutdown_mode",
                                       "finalize_settle_seconds",
                                       "cutover_max_downtime",
                                       "parallel_disks",
                                       "parallel_vms",
                                       "control_dir",
                                       "specs_dir",
                                       "workdir",
                                       "extents",
                                       "on_failure",
                                       "mark_source",
                                       "note",
                                       "rename",
                                       "suffix",
                                       "disconnect_nics",
                                       "import_method",
                                       "max_handles_per_host",
                                       "max_inflight_mib",
                                       "vddk",
                                       "transports",
                                       "compression",
                                       "unbuffered",
                                       "nfc_buffer_kb",
                                       "nfc_buffer_count",
                                       "log_level",
                                       "tmp_dir",
                                       "bandwidth_limit",
                                       "host_bandwidth_limit",
                                       "host_bandwidth",
                                       "cloudstack_defaults",
                                       "zoneid",
                                       "clusterid",
                                       "storageid",
                                       "networkid",
                                       "serviceofferingid",
                                       "diskofferingid",
                                       "ostypeid",
                                       "boottype",
                                       "bootmode",
                                       "rootdiskcontroller",
                                       "nicadapter",
                                       "account",
                                       "domainid",
                                       "projectid",
                                       "virt",
                                       "run_virt_v2v",
                                       "virtio_iso",
                                       "timeout_seconds",
                                       "storage",
                                       "nfs",
                                       "allow_unmounted_paths",
                                       "log",
                                       "format",
                                       "serve",
                                       "webhooks",
                                       "name",
                                       "url",
                                       "secret",
                                       "secret_file",
                                       "events",
                                       "waves",
                                       "environments",
                                       "give_up_seconds"};
    CLEANUP(free_charp) char *text = copy("config.yaml");

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        CLEANUP(free_charp) char *key = xasprintf("%s:", keys[i]);

        assert_contains(text, key);
    }
}

static void
the_example_spec_uses_what_it_shows(void **state)
{
    CLEANUP(config_freep) struct config *config = load_config();
    CLEANUP(spec_list_done) struct spec_list specs = load_specs("spec.yaml", config);
    const struct spec *spec = specs.items[0];

    assert_int_equal(specs.count, 1);
    assert_string_equal(spec_label(spec), "web01");
    assert_int_equal(spec->finalize_at, 1769895000);
    assert_int_equal(spec->nics.count, 2);
    assert_int_equal(spec->primary_nic, 0);
    assert_int_equal(spec->disks.count, 3);
    assert_true(spec->start_vm_after_import);
}

static void
the_example_spec_shows_every_key(void **state)
{
    static const char *const keys[] = {"vm",
                                       "name",
                                       "moref",
                                       "uuid",
                                       "datacenter",
                                       "migration",
                                       "delta_interval",
                                       "finalize_at",
                                       "finalize_window",
                                       "finalize_delta_interval",
                                       "finalize_settle_seconds",
                                       "cutover_max_downtime",
                                       "readers",
                                       "parallel_disks",
                                       "snapshot_quiesce",
                                       "shutdown_mode",
                                       "extents",
                                       "on_failure",
                                       "mark_source",
                                       "note",
                                       "rename",
                                       "suffix",
                                       "disconnect_nics",
                                       "run_virt_v2v",
                                       "import_method",
                                       "start_vm_after_import",
                                       "vddk",
                                       "target",
                                       "cloudstack",
                                       "zoneid",
                                       "clusterid",
                                       "storageid",
                                       "networkid",
                                       "serviceofferingid",
                                       "diskofferingid",
                                       "ostypeid",
                                       "boottype",
                                       "bootmode",
                                       "rootdiskcontroller",
                                       "nicadapter",
                                       "account",
                                       "domainid",
                                       "projectid",
                                       "templateid",
                                       "placeholder_networkid",
                                       "ip",
                                       "nic_mappings",
                                       "source_label",
                                       "source_network",
                                       "source_mac",
                                       "source_device_key",
                                       "source_index",
                                       "disks"};
    CLEANUP(free_charp) char *text = copy("spec.yaml");

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        CLEANUP(free_charp) char *key = xasprintf("%s:", keys[i]);

        assert_contains(text, key);
    }
}

static void
the_example_of_several_vms_shares_its_defaults(void **state)
{
    CLEANUP(config_freep) struct config *config = load_config();
    CLEANUP(spec_list_done) struct spec_list specs = load_specs("spec-multi.yaml", config);

    assert_int_equal(specs.count, 3);
    for (size_t i = 0; i < specs.count; i++) {
        assert_int_equal(specs.items[i]->delta_interval, 600);
        assert_true(specs.items[i]->start_vm_after_import);
        assert_int_equal(specs.items[i]->disks.count, 1);
        assert_string_equal(specs.items[i]->disks.items[0].storage_id,
                            "33333333-3333-3333-3333-333333333334");
    }
    assert_int_equal(specs.items[1]->finalize_at - specs.items[0]->finalize_at, 24 * 3600);
    assert_string_equal(specs.items[2]->target.boot_mode, "Secure");
    assert_null(specs.items[0]->target.boot_mode);
    assert_true(specs.items[0]->disks.items[0].is_default);
    assert_false(specs.items[2]->disks.items[0].is_default);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_configuration_is_enough_to_run),
        cmocka_unit_test(the_commented_keys_of_the_configuration_are_right_too),
        cmocka_unit_test(the_example_configuration_shows_every_key),
        cmocka_unit_test(the_example_spec_uses_what_it_shows),
        cmocka_unit_test(the_example_spec_shows_every_key),
        cmocka_unit_test(the_example_of_several_vms_shares_its_defaults),
    };

    return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
