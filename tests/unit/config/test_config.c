#include "config/config.h"

#include "tests/unit/config/files.h"

#include <sys/stat.h>

static struct config *
load(const char *text, char **ret_warnings)
{
    struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", text);
    assert_ok(config_load("config.yaml", false, &config, ret_warnings, &err), &err);
    return config;
}

static void
assert_refused(const char *text, const char *says)
{
    struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", text);
    if (config_load("config.yaml", false, &config, NULL, &err) == 0)
        fail_msg("\"%s\" was accepted", text);
    assert_null(config);
    assert_err_says(&err, E_CONFIG, says);
}

static void
an_empty_file_gives_the_defaults(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(config_freep) struct config *config = load("", &warnings);

    assert_string_equal(warnings, "");
    assert_string_equal(config->path, "config.yaml");
    assert_null(config->vcenter.host);
    assert_null(config->vcenter.password);
    assert_false(config->vcenter.is_insecure);
    assert_string_equal(config->migration.control_dir, "/var/lib/vm-migrator");
    assert_string_equal(config->migration.specs_dir, "/var/lib/vm-migrator/specs");
    assert_int_equal(config->migration.parallel_disks, 4);
    assert_int_equal(config->migration.parallel_vms, 3);
    assert_int_equal(config->migration.max_handles_per_host, 8);
    assert_int_equal(config->migration.max_inflight_mib, 192);
    assert_int_equal(config->migration.quiesce, CONFIG_QUIESCE_AUTO);
    assert_int_equal(config->migration.shutdown, CONFIG_SHUTDOWN_AUTO);
    assert_int_equal(config->migration.extents, CONFIG_EXTENTS_AUTO);
    assert_int_equal(config->migration.finalize_settle_seconds, -1);
    assert_int_equal(config->cloudstack.timeout_seconds, 0);
    assert_false(config->virt.run_virt_v2v);
    assert_string_equal(config->virt.virtio_iso, "/usr/share/virtio-win/virtio-win.iso");
}

static void
trusted_proxies_are_addresses_or_ranges(void **state)
{
    CLEANUP(config_freep)
    struct config *config =
        load("serve: {trusted_proxies: [192.0.2.10, \"2001:db8::/32\"]}\n", NULL);

    assert_int_equal(config->serve.trusted_proxies.count, 2);
    assert_refused("serve: {trusted_proxies: [proxy.example.com]}\n",
                   "serve.trusted_proxies[0]: expected an address such as 192.0.2.10");
    assert_refused("serve: {trusted_proxies: 192.0.2.10}\n", "list");
}

static void
every_key_is_read(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL, *text = NULL;
    CLEANUP(config_freep) struct config *config = NULL;
    const char *sha256 = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

    write_file("ca.pem", "x");
    text =
        xasprintf("vcenter: {host: vc:8443, user: u, password: ' p ', insecure: true,\n"
                  "          ca_file: ca.pem, thumbprint: %s}\n"
                  "cloudstack: {endpoint: 'https://cs', api_key: k, secret_key: s,\n"
                  "             timeout_seconds: 9, insecure: yes, ca_file: ca.pem,\n"
                  "             thumbprint: 'AA:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:AA:"
                  "BB:CC:DD'}\n"
                  "migration: {vddk_path: /vddk, control_dir: /c, specs_dir: /s, workdir: /w,\n"
                  "            snapshot_quiesce: false, shutdown_mode: Manual,\n"
                  "            extents: allocated, max_handles_per_host: 0,\n"
                  "            max_inflight_mib: 64,\n"
                  "            finalize_settle_seconds: 7, parallel_disks: 2, parallel_vms: 5, "
                  "qcow2_cluster_kb: 128,\n"
                  "            bandwidth_limit: 1GiB/s, host_bandwidth_limit: 9MiB/s,\n"
                  "            host_bandwidth: {Esx1: '00:00-12:00 none, 7MiB/s', esx2: 5MiB/s}}\n"
                  "cloudstack_defaults: {zoneid: z, clusterid: c, storageid: s, networkid: n,\n"
                  "  serviceofferingid: so, diskofferingid: do, ostypeid: o, boottype: uefi,\n"
                  "  bootmode: secure, rootdiskcontroller: r, nicadapter: a, account: acc,\n"
                  "  domainid: d, projectid: p}\n"
                  "virt: {run_virt_v2v: true, virtio_iso: /iso}\n"
                  "storage: {nfs: userspace, allow_unmounted_paths: true}\n",
                  sha256);
    config = load(text, &warnings);
    assert_string_equal(warnings, "");
    assert_string_equal(config->vcenter.host, "vc:8443");
    assert_string_equal(config->vcenter.user, "u");
    assert_string_equal(config->vcenter.password, " p ");
    assert_true(config->vcenter.is_insecure);
    assert_string_equal(config->vcenter.ca_file, "ca.pem");
    assert_string_equal(config->vcenter.thumbprint, sha256);
    assert_string_equal(config->cloudstack.endpoint, "https://cs");
    assert_string_equal(config->cloudstack.api_key, "k");
    assert_string_equal(config->cloudstack.secret_key, "s");
    assert_int_equal(config->cloudstack.timeout_seconds, 9);
    assert_true(config->cloudstack.is_insecure);
    assert_string_equal(config->cloudstack.ca_file, "ca.pem");
    assert_int_equal(strlen(config->cloudstack.thumbprint), 59);
    assert_string_equal(config->migration.vddk_path, "/vddk");
    assert_string_equal(config->migration.control_dir, "/c");
    assert_string_equal(config->migration.specs_dir, "/s");
    assert_string_equal(config->migration.workdir, "/w");
    assert_int_equal(config->migration.quiesce, CONFIG_QUIESCE_FALSE);
    assert_int_equal(config->migration.shutdown, CONFIG_SHUTDOWN_MANUAL);
    assert_int_equal(config->migration.extents, CONFIG_EXTENTS_ALLOCATED);
    assert_int_equal(config->migration.finalize_settle_seconds, 7);
    assert_int_equal(config->migration.parallel_disks, 2);
    assert_int_equal(config->migration.parallel_vms, 5);
    assert_int_equal(config->migration.max_handles_per_host, 0);
    assert_int_equal(config->migration.max_inflight_mib, 64);
    assert_int_equal(rate_schedule_at(&config->migration.bandwidth, 0), GIB);
    assert_int_equal(rate_schedule_at(&config->migration.host_bandwidth, 0), 9 * MIB);
    assert_int_equal(config->migration.qcow2_cluster_bits, 17);
    assert_string_equal(config->defaults.zone_id, "z");
    assert_string_equal(config->defaults.cluster_id, "c");
    assert_string_equal(config->defaults.storage_id, "s");
    assert_string_equal(config->defaults.network_id, "n");
    assert_string_equal(config->defaults.service_offering_id, "so");
    assert_string_equal(config->defaults.disk_offering_id, "do");
    assert_string_equal(config->defaults.os_type_id, "o");
    assert_string_equal(config->defaults.boot_type, "UEFI");
    assert_string_equal(config->defaults.boot_mode, "Secure");
    assert_string_equal(config->defaults.root_disk_controller, "r");
    assert_string_equal(config->defaults.nic_adapter, "a");
    assert_string_equal(config->defaults.account, "acc");
    assert_string_equal(config->defaults.domain_id, "d");
    assert_string_equal(config->defaults.project_id, "p");
    assert_true(config->virt.run_virt_v2v);
    assert_string_equal(config->virt.virtio_iso, "/iso");
    assert_true(config->storage.is_userspace_nfs);
    assert_true(config->storage.allows_unmounted);
}

static void
storage_is_mounted_unless_it_is_said(void **state)
{
    static const char *const texts[] = {"{}", "storage:\n", "storage: {nfs: mount}",
                                        "storage: {nfs: Mount, allow_unmounted_paths: no}"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(config_freep) struct config *config = load(texts[i], NULL);

        assert_false(config->storage.is_userspace_nfs);
        assert_false(config->storage.allows_unmounted);
    }
    assert_refused("storage: {nfs: kernel}\n", "config.yaml:1: storage.nfs: expected ");
    assert_refused("storage: {allow_unmounted_paths: /mnt}\n",
                   "config.yaml:1: storage.allow_unmounted_paths: expected ");
    assert_refused("storage: {nfs_options: x}\n", "nfs_options");
    assert_refused("storage: userspace\n", "expected a map");
}

static void
zero_and_blank_mean_not_set(void **state)
{
    CLEANUP(config_freep)
    struct config *config =
        load("vcenter: {host: '', password: ''}\n"
             "migration: {parallel_disks: 0, parallel_vms: 0, finalize_settle_seconds: 0,\n"
             "            snapshot_quiesce: '', shutdown_mode: ' ', control_dir: ''}\n"
             "cloudstack_defaults: {zoneid: '', boottype: ''}\nvirt: {run_virt_v2v: }\n",
             NULL);

    assert_null(config->vcenter.host);
    assert_null(config->vcenter.password);
    assert_int_equal(config->migration.parallel_disks, 4);
    assert_int_equal(config->migration.parallel_vms, 3);
    assert_int_equal(config->migration.finalize_settle_seconds, -1);
    assert_string_equal(config->migration.control_dir, "/var/lib/vm-migrator");
    assert_null(config->defaults.zone_id);
    assert_null(config->defaults.boot_type);
}

static uint64_t
host_rate(const struct config *config, const char *host, int minute)
{
    return rate_schedule_at(config_host_bandwidth(config, host), minute);
}

static void
a_host_has_its_own_limit_or_that_of_each(void **state)
{
    CLEANUP(config_freep)
    struct config *config =
        load("migration: {host_bandwidth_limit: 9MiB/s,\n"
             "  host_bandwidth: {Esx1.Example: '00:00-12:00 none, 7MiB/s', esx2: ' '}}\n",
             NULL);

    assert_int_equal(host_rate(config, "esx1.example", 60), 0);
    assert_int_equal(host_rate(config, "ESX1.EXAMPLE", 13 * 60), 7 * MIB);
    assert_int_equal(host_rate(config, "esx2", 0), 9 * MIB);
    assert_int_equal(host_rate(config, "esx3", 0), 9 * MIB);
}

static void
limits_that_are_none_are_refused(void **state)
{
    assert_refused("migration:\n  bandwidth_limit: 100Mbit\n  host_bandwidth_limit: [1]\n"
                   "  host_bandwidth:\n    a: fast\n    B: 1MiB/s\n    b: 2MiB/s\n    '': none\n"
                   "    c: {}\n",
                   "6 problems:\n"
                   "config.yaml:2: migration.bandwidth_limit: \"100Mbit\" is no limit");
    assert_refused("migration:\n  host_bandwidth:\n    a: fast\n",
                   "config.yaml:3: migration.host_bandwidth.a: \"fast\" is no limit");
    assert_refused("migration:\n  host_bandwidth:\n    B: 1MiB/s\n    b: 2MiB/s\n",
                   "config.yaml:4: migration.host_bandwidth.b: the host stands here twice");
    assert_refused("migration: {host_bandwidth: 5MiB/s}\n", "expected a map");
}

static void
the_environment_overrides_the_file(void **state)
{
    CLEANUP(config_freep) struct config *config = NULL;

    setenv("V2C_VCENTER_HOST", "vc2", 1);
    setenv("V2C_VCENTER_USER", "u2", 1);
    setenv("V2C_VCENTER_PASSWORD", "p2", 1);
    setenv("V2C_CLOUDSTACK_ENDPOINT", "https://cs2", 1);
    setenv("V2C_CLOUDSTACK_API_KEY", "k2", 1);
    setenv("V2C_CLOUDSTACK_SECRET_KEY", "s2", 1);
    setenv("VC_PASSWORD", "p3", 1);
    config = load("vcenter: {host: vc, user: u, password: p}\n"
                  "cloudstack: {endpoint: 'https://cs', api_key: k, secret_key: s}\n",
                  NULL);
    assert_string_equal(config->vcenter.host, "vc2");
    assert_string_equal(config->vcenter.user, "u2");
    assert_string_equal(config->vcenter.password, "p2");
    assert_string_equal(config->cloudstack.endpoint, "https://cs2");
    assert_string_equal(config->cloudstack.api_key, "k2");
    assert_string_equal(config->cloudstack.secret_key, "s2");
    clear_environment();
}

static void
vc_password_fills_in_for_a_missing_password_only(void **state)
{
    CLEANUP(config_freep) struct config *with = NULL, *without = NULL;

    setenv("VC_PASSWORD", "from-env", 1);
    with = load("vcenter: {password: from-file}\n", NULL);
    without = load("vcenter: {password: ''}\n", NULL);
    unsetenv("VC_PASSWORD");
    assert_string_equal(with->vcenter.password, "from-file");
    assert_string_equal(without->vcenter.password, "from-env");
}

static void
scheme_and_path_of_the_host_are_taken_off_with_a_warning(void **state)
{
    static const struct {
        const char *written, *host;
    } cases[] = {
        {"https://vc.example.com/ui/", "vc.example.com"},
        {"https://vc.example.com:8443/sdk", "vc.example.com:8443"},
        {"vc.example.com/", "vc.example.com"},
        {"http://[fe80::1]:443", "[fe80::1]:443"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp) char *warnings = NULL;
        CLEANUP(free_charp) char *text = xasprintf("vcenter: {host: '%s'}\n", cases[i].written);
        CLEANUP(config_freep) struct config *config = load(text, &warnings);

        assert_string_equal(config->vcenter.host, cases[i].host);
        assert_contains(warnings, "config.yaml:1: vcenter.host: only the host is used");
    }
}

static void
what_is_no_host_is_refused(void **state)
{
    static const char *const bad[] = {
        "https://", "user@vc", "vc one",       "vc:",      "vc:port",    "vc:1:2", "vc:0",
        "vc:70000", "fe80::1", "https:///sdk", "[fe80::1", "vc\\\\evil", ":443"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(free_charp) char *text = xasprintf("vcenter:\n  host: '%s'\n", bad[i]);

        assert_refused(text, "config.yaml:2: vcenter.host: expected the name or address");
    }
    setenv("V2C_VCENTER_HOST", "a b", 1);
    assert_refused("{}", "V2C_VCENTER_HOST: expected the name or address");
    unsetenv("V2C_VCENTER_HOST");
}

static void
thumbprints_and_ca_files_are_checked(void **state)
{
    assert_refused("vcenter: {thumbprint: 'AA:BB'}", "vcenter.thumbprint: expected the SHA-256");
    assert_refused("cloudstack: {thumbprint: 'not hex at all'}", "cloudstack.thumbprint: expected");
    assert_refused("vcenter: {ca_file: /no/such.pem}",
                   "vcenter.ca_file: cannot read /no/such.pem: No such file");
}

static void
all_problems_come_in_one_go(void **state)
{
    assert_refused(
        "vcentre: {}\nmigration:\n  parallel_vms: -1\n  shutdown_mode: hard\n"
        "  snapshot_quiesce: maybe\n  finalize_settle_seconds: soon\n"
        "cloudstack_defaults: {boottype: EFI, nic_mappings: {}}\nvirt: [1]\n",
        "8 problems:\n"
        "config.yaml:1: vcentre: unknown key; did you mean \"vcenter\"?\n"
        "config.yaml:5: migration.snapshot_quiesce: expected auto, true or false, not "
        "\"maybe\"\n"
        "config.yaml:4: migration.shutdown_mode: expected auto, force or manual, not "
        "\"hard\"\n"
        "config.yaml:6: migration.finalize_settle_seconds: expected a whole number from "
        "0 to 2592000, not \"soon\"\n"
        "config.yaml:3: migration.parallel_vms: expected a whole number not below 0, not "
        "\"-1\"\n"
        "config.yaml:8: virt: expected a map, not a list\n"
        "config.yaml:7: cloudstack_defaults.nic_mappings: unknown key\n"
        "config.yaml:7: cloudstack_defaults.boottype: expected BIOS or UEFI, not "
        "\"EFI\"");
    assert_refused("- a list\n", "config.yaml:1: expected a map");
}

static void
clusters_are_of_three_sizes(void **state)
{
    static const unsigned bits[] = {16, 17, 18};

    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        CLEANUP(free_charp)
        char *text = xasprintf("migration: {qcow2_cluster_kb: %u}\n", 1U << (bits[i] - 10));
        CLEANUP(config_freep) struct config *config = load(text, NULL);

        assert_int_equal(config->migration.qcow2_cluster_bits, bits[i]);
    }
    assert_refused("migration: {qcow2_cluster_kb: 2048}\n",
                   "config.yaml:1: migration.qcow2_cluster_kb: expected 64, 128 or 256");
}

static void
unknown_keys_warn_when_lenient(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(config_freep) struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", "vcenter: {hots: x}\nextra: 1\n");
    assert_ok(config_load("config.yaml", true, &config, &warnings, &err), &err);
    assert_contains(warnings, "config.yaml:2: extra: unknown key\n");
    assert_contains(warnings, "vcenter.hots: unknown key; did you mean \"host\"?");
}

static void
what_is_too_much_is_clamped_with_a_warning(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(config_freep)
    struct config *config =
        load("migration: {parallel_disks: 1000, parallel_vms: 500}\n", &warnings);

    assert_int_equal(config->migration.parallel_disks, 32);
    assert_int_equal(config->migration.parallel_vms, 64);
    assert_contains(warnings,
                    "migration.parallel_disks: 1000 is more than the engine allows; 32 is "
                    "used");
}

static void
an_endpoint_without_a_scheme_warns(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(config_freep)
    struct config *config = load("cloudstack: {endpoint: cs.example.com}\n", &warnings);

    assert_string_equal(config->cloudstack.endpoint, "cs.example.com");
    assert_contains(warnings, "not encrypted");
}

static void
secrets_that_everybody_can_read_warn(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(config_freep) struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", "vcenter: {password: p}\n");
    assert_int_equal(chmod("config.yaml", 0644), 0);
    assert_ok(config_load("config.yaml", false, &config, &warnings, &err), &err);
    assert_contains(warnings, "chmod 600 config.yaml");
}

static void
what_run_needs_is_listed_when_missing(void **state)
{
    CLEANUP(config_freep) struct config *empty = load("", NULL);
    CLEANUP(config_freep)
    struct config *full =
        load("vcenter: {host: vc, user: u, password: p}\nmigration: {vddk_path: /v}\n"
             "cloudstack: {endpoint: 'https://cs', api_key: k, secret_key: s}\n",
             NULL);
    struct err *err = NULL;

    assert_ok(config_check_run(full, &err), &err);
    assert_int_equal(config_check_run(empty, &err), -1);
    assert_contains(err_message(err), "VC_PASSWORD");
    assert_err_says(&err, E_CONFIG, "config.yaml: missing: vcenter.host, vcenter.user, ");
}

static void
a_missing_file_says_how_to_name_another(void **state)
{
    struct config *config = NULL;
    struct err *err = NULL;

    assert_int_equal(config_load("no.yaml", false, &config, NULL, &err), -1);
    assert_contains(err_hint_text(err), "--config");
    assert_err_says(&err, E_IO, "no.yaml: No such file");
}

static void
the_default_path_is_here_else_above(void **state)
{
    CLEANUP(free_charp) char *here = NULL, *above = NULL, *none = NULL;

    write_file("config.yaml", "");
    assert_int_equal(mkdir("below", 0700), 0);
    here = config_default_path();
    assert_int_equal(chdir("below"), 0);
    above = config_default_path();
    assert_int_equal(chdir(".."), 0);
    unlink("config.yaml");
    none = config_default_path();
    assert_string_equal(here, "config.yaml");
    assert_string_equal(above, "../config.yaml");
    assert_string_equal(none, "config.yaml");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_gives_the_defaults),
        cmocka_unit_test(trusted_proxies_are_addresses_or_ranges),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(zero_and_blank_mean_not_set),
        cmocka_unit_test(a_host_has_its_own_limit_or_that_of_each),
        cmocka_unit_test(storage_is_mounted_unless_it_is_said),
        cmocka_unit_test(limits_that_are_none_are_refused),
        cmocka_unit_test(the_environment_overrides_the_file),
        cmocka_unit_test(vc_password_fills_in_for_a_missing_password_only),
        cmocka_unit_test(scheme_and_path_of_the_host_are_taken_off_with_a_warning),
        cmocka_unit_test(what_is_no_host_is_refused),
        cmocka_unit_test(thumbprints_and_ca_files_are_checked),
        cmocka_unit_test(all_problems_come_in_one_go),
        cmocka_unit_test(clusters_are_of_three_sizes),
        cmocka_unit_test(unknown_keys_warn_when_lenient),
        cmocka_unit_test(what_is_too_much_is_clamped_with_a_warning),
        cmocka_unit_test(an_endpoint_without_a_scheme_warns),
        cmocka_unit_test(secrets_that_everybody_can_read_warn),
        cmocka_unit_test(what_run_needs_is_listed_when_missing),
        cmocka_unit_test(a_missing_file_says_how_to_name_another),
        cmocka_unit_test(the_default_path_is_here_else_above),
    };

    return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
