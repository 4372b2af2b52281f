#include "tests/unit/config/files.h"

#include "base/doc.h"
#include "base/str.h"
#include "config/config.h"

#define TARGET                                                                                     \
    "target: {cloudstack: {zoneid: z, clusterid: c, storageid: s, networkid: n, "                  \
    "serviceofferingid: so}}\n"

static struct config *config;

static int
setup(void **state)
{
    config = config_new();
    return enter_dir(state);
}

static int
teardown(void **state)
{
    config_freep(&config);
    return leave_dir(state);
}

static struct spec_list
load_with(const struct spec_overrides *overrides, const char *text, char **ret_warnings)
{
    const char *paths[] = {"spec.yaml"};
    struct spec_list specs = {0};
    struct err *err = NULL;

    write_file("spec.yaml", text);
    assert_ok(spec_load_all(paths, 1, config, overrides, false, &specs, ret_warnings, &err), &err);
    return specs;
}

static struct spec_list
load(const char *text)
{
    return load_with(NULL, text, NULL);
}

static void
assert_refused(const char *text, const char *says)
{
    const char *paths[] = {"spec.yaml"};
    struct spec_list specs = {0};
    struct err *err = NULL;

    write_file("spec.yaml", text);
    if (spec_load_all(paths, 1, config, NULL, false, &specs, NULL, &err) == 0)
        fail_msg("\"%s\" was accepted", text);
    assert_int_equal(specs.count, 0);
    assert_err_says(&err, E_CONFIG, says);
}

/* ---- one VM ---- */

static void
a_small_spec_gets_the_defaults(void **state)
{
    CLEANUP(spec_list_done) struct spec_list specs = load("vm: {name: web01}\n" TARGET);
    const struct spec *spec = specs.items[0];

    assert_int_equal(specs.count, 1);
    assert_string_equal(spec->path, "spec.yaml");
    assert_string_equal(spec->vm.name, "web01");
    assert_string_equal(spec_label(spec), "web01");
    assert_int_equal(spec->delta_interval, 300);
    assert_int_equal(spec->finalize_delta_interval, 30);
    assert_int_equal(spec->finalize_window, 600);
    assert_int_equal(spec->finalize_at, 0);
    assert_int_equal(spec->finalize_settle_seconds, -1);
    assert_int_equal(spec->readers, 4);
    assert_int_equal(spec->parallel_disks, 4);
    assert_false(spec->run_virt_v2v);
    assert_false(spec->start_vm_after_import);
    assert_int_equal(spec->quiesce, CONFIG_QUIESCE_AUTO);
    assert_int_equal(spec->shutdown, CONFIG_SHUTDOWN_AUTO);
    assert_int_equal(spec->extents, CONFIG_EXTENTS_AUTO);
    assert_int_equal(spec->import_method, CONFIG_IMPORT_VM);
    assert_int_equal(spec->primary_nic, -1);
    assert_string_equal(spec->target.network_id, "n");
}

static void
the_vm_wins_over_the_defaults_block_and_that_over_the_configuration(void **state)
{
    CLEANUP(spec_list_done) struct spec_list specs = {0};
    struct config *saved = config;
    const struct spec *one, *two;

    config = config_new();
    config->migration.quiesce = CONFIG_QUIESCE_TRUE;
    config->migration.shutdown = CONFIG_SHUTDOWN_FORCE;
    config->migration.extents = CONFIG_EXTENTS_ALLOCATED;
    config->migration.import_method = CONFIG_IMPORT_SHELL;
    config->migration.parallel_disks = 9;
    config->migration.finalize_settle_seconds = 8;
    config->virt.run_virt_v2v = true;
    config->defaults.zone_id = xstrdup("config-zone");
    config->defaults.cluster_id = xstrdup("config-cluster");
    config->defaults.nic_adapter = xstrdup("config-nic");
    specs =
        load("defaults:\n"
             "  migration: {delta_interval: 11, readers: 3, shutdown_mode: manual,\n"
             "              finalize_at: '2026-01-31T22:30', start_vm_after_import: true}\n"
             "  target: {cloudstack: {clusterid: defaults-cluster, storageid: defaults-pool,\n"
             "           networkid: defaults-net, serviceofferingid: defaults-so}}\n"
             "  disks: {'1': {storageid: d1, diskofferingid: o1}, 'scsi1:0': {storageid: d2}}\n"
             "vms:\n"
             "  - vm: {name: one}\n"
             "    migration: {delta_interval: 22, run_virt_v2v: false, snapshot_quiesce: false,\n"
             "                start_vm_after_import: false, parallel_disks: 1, extents: None,\n"
             "                import_method: ImportVM,\n"
             "                finalize_at: '2026-01-31T22:30:00Z'}\n"
             "    target: {cloudstack: {storageid: own-pool, zoneid: ''}}\n"
             "    disks: {1: {diskofferingid: own-o1}, 2000: {storageid: own-d3}}\n"
             "  - vm: {name: two}\n"
             "    migration: {snapshot_quiesce: 'false'}\n");
    one = specs.items[0];
    two = specs.items[1];
    assert_int_equal(specs.count, 2);
    assert_int_equal(one->entry, 0);
    assert_int_equal(two->entry, 1);
    assert_int_equal(one->delta_interval, 22);
    assert_int_equal(two->delta_interval, 11);
    assert_int_equal(one->readers, 3);
    assert_int_equal(one->shutdown, CONFIG_SHUTDOWN_MANUAL);
    assert_int_equal(one->parallel_disks, 1);
    assert_int_equal(two->parallel_disks, 9);
    assert_int_equal(two->finalize_settle_seconds, 8);
    assert_int_equal(two->quiesce, CONFIG_QUIESCE_FALSE);
    assert_int_equal(one->extents, CONFIG_EXTENTS_NONE);
    assert_int_equal(two->extents, CONFIG_EXTENTS_ALLOCATED);
    assert_int_equal(one->import_method, CONFIG_IMPORT_VM);
    assert_int_equal(two->import_method, CONFIG_IMPORT_SHELL);
    assert_false(one->run_virt_v2v);
    assert_true(two->run_virt_v2v);
    assert_false(one->start_vm_after_import);
    assert_true(two->start_vm_after_import);
    assert_int_equal(one->finalize_at, two->finalize_at);
    assert_false(one->finalize_at_was_zoneless);
    assert_true(two->finalize_at_was_zoneless);
    assert_string_equal(one->target.storage_id, "own-pool");
    assert_string_equal(two->target.storage_id, "defaults-pool");
    assert_string_equal(one->target.cluster_id, "defaults-cluster");
    assert_string_equal(one->target.zone_id, "config-zone");
    assert_string_equal(one->target.nic_adapter, "config-nic");
    assert_int_equal(one->disks.count, 3);
    assert_string_equal(one->disks.items[0].storage_id, "d1");
    assert_string_equal(one->disks.items[0].disk_offering_id, "own-o1");
    assert_false(one->disks.items[0].is_default);
    assert_int_equal(one->disks.items[1].by, SPEC_DISK_BY_KEY);
    assert_string_equal(one->disks.items[2].address, "scsi1:0");
    assert_true(one->disks.items[2].is_default);
    assert_int_equal(two->disks.count, 2);
    config_free(config);
    config = saved;
}

static void
the_command_line_wins_over_all(void **state)
{
    struct spec_overrides overrides = {.readers = 7, .parallel_disks = 2, .run_virt_v2v = 1};
    struct spec_overrides none = {.readers = -1, .parallel_disks = -1, .run_virt_v2v = -1};
    const char *text = "vm: {name: x}\n"
                       "migration: {readers: 3, parallel_disks: 5, run_virt_v2v: false}\n" TARGET;
    CLEANUP(spec_list_done) struct spec_list with = load_with(&overrides, text, NULL);
    CLEANUP(spec_list_done) struct spec_list without = load_with(&none, text, NULL);

    assert_int_equal(with.items[0]->readers, 7);
    assert_int_equal(with.items[0]->parallel_disks, 2);
    assert_true(with.items[0]->run_virt_v2v);
    assert_int_equal(without.items[0]->readers, 3);
    assert_int_equal(without.items[0]->parallel_disks, 5);
    assert_false(without.items[0]->run_virt_v2v);
}

static void
a_vm_is_named_by_moref_or_uuid_too(void **state)
{
    CLEANUP(spec_list_done) struct spec_list moref = load("vm: {moref: vm-42}\n" TARGET);
    CLEANUP(spec_list_done)
    struct spec_list uuid =
        load("vm: {uuid: 502C1234-5678-9ABC-DEF0-123456789ABC, datacenter: DC 1}\n" TARGET);

    assert_string_equal(spec_label(moref.items[0]), "vm-42");
    assert_string_equal(spec_label(uuid.items[0]), "502c1234-5678-9abc-def0-123456789abc");
    assert_string_equal(uuid.items[0]->vm.datacenter, "DC 1");
    assert_refused("vm: {moref: '../etc'}\n" TARGET, "vm.moref: expected a MoRef such as vm-1234");
    assert_refused("vm: {uuid: 502c}\n" TARGET, "vm.uuid: expected a uuid");
    assert_refused("vm: {datacenter: DC1}\n" TARGET, "spec.yaml:1: vm: expected a VM");
    assert_refused(TARGET, "spec.yaml:1: expected a VM");
}

static void
missing_target_fields_are_listed(void **state)
{
    assert_refused("vm: {name: x}\ntarget: {cloudstack: {storageid: s, clusterid: ' '}}\n",
                   "spec.yaml:1: missing cloudstack target fields: zoneid, clusterid, networkid, "
                   "serviceofferingid (");
}

static void
combinations_that_cannot_be_are_refused(void **state)
{
    static const char *const bases =
        "vm: {name: x}\ntarget: {cloudstack: {zoneid: z, clusterid: c, "
        "storageid: s, networkid: n, serviceofferingid: so, %s}}\n";
    static const struct {
        const char *words, *says;
    } cases[] = {
        {"boottype: BIOS, bootmode: Secure", "bootmode Secure needs boottype UEFI, not BIOS"},
        {"bootmode: secure", "bootmode Secure needs boottype UEFI, not none"},
        {"account: a, domainid: d, projectid: p", "account and projectid exclude each other"},
        {"account: a", "account needs domainid"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str text = STR_INIT(1000);
        const char *at = strstr(bases, "%s");

        str_append_bytes(&text, bases, (size_t)(at - bases));
        str_append(&text, cases[i].words);
        str_append(&text, at + 2);
        assert_refused(str_text(&text), cases[i].says);
        str_done(&text);
    }
}

static void
bad_values_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"delta_interval: -300", "migration.delta_interval: expected a whole number from 0"},
        {"delta_interval: 5m", "migration.delta_interval: expected a whole number"},
        {"finalize_window: 99999999", "migration.finalize_window: expected"},
        {"finalize_at: tomorrow", "migration.finalize_at: \"tomorrow\" is no time; write 2026"},
        {"finalize_at: 2026-02-30T10:00", "is no time"},
        {"finalize_at: 1969-01-01T00:00", "expected a time after 1970"},
        {"finalize_at: [1]", "migration.finalize_at: expected text, not a list"},
        {"shutdown_mode: hard", "migration.shutdown_mode: expected auto, force or manual"},
        {"verify: some", "migration.verify: expected none, sample or full"},
        {"extents: all", "migration.extents: expected auto, cbt, allocated or none, not \"all\""},
        {"snapshot_quiesce: 1", "migration.snapshot_quiesce: expected auto, true or false"},
        {"readers: -1", "migration.readers: expected a whole number not below 0, not \"-1\""},
        {"run_virt_v2v: 2", "migration.run_virt_v2v: expected true or false"},
        {"delta_intervall: 3", "unknown key; did you mean \"delta_interval\"?"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp)
        char *text = xasprintf("vm: {name: x}\nmigration:\n  %s\n" TARGET, cases[i].line);

        assert_refused(text, cases[i].says);
        assert_refused(text, "spec.yaml:3: migration.");
    }
}

static void
intervals_that_make_no_sense_together_warn(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load_with(NULL,
                  "vm: {name: x}\nmigration: {finalize_delta_interval: 60, finalize_window: 30,\n"
                  "  readers: 500}\n" TARGET,
                  &warnings);

    assert_contains(warnings,
                    "spec.yaml:1: finalize_delta_interval (60 s) is longer than finalize_window");
    assert_contains(warnings, "migration.readers: 500 is more than the engine allows; 64 is used");
    assert_int_equal(specs.items[0]->readers, 64);
}

static void
a_spec_that_the_existing_tool_saved_is_read(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(spec_list_done)
    struct spec_list specs = load_with(
        NULL,
        "vm:\n    name: web01\n"
        "migration:\n    delta_interval: 300\n    finalize_at: \"\"\n"
        "    finalize_delta_interval: 0\n    finalize_window: 0\n    finalize_settle_seconds: 0\n"
        "    readers: 0\n    run_virt_v2v: null\n    snapshot_quiesce: \"\"\n"
        "    shutdown_mode: \"\"\n    parallel_disks: 0\n    start_vm_after_import: false\n"
        "target:\n    cloudstack:\n        zoneid: z\n        clusterid: c\n        storageid: s\n"
        "        networkid: n\n        serviceofferingid: so\n        diskofferingid: \"\"\n"
        "        ostypeid: \"\"\n        boottype: \"\"\n        bootmode: \"\"\n"
        "        rootdiskcontroller: \"\"\n        nicadapter: \"\"\n        nic_mappings: {}\n"
        "disks: {}\nvms: []\n",
        &warnings);

    assert_string_equal(warnings, "");
    assert_int_equal(specs.items[0]->finalize_window, 600);
    assert_int_equal(specs.items[0]->finalize_settle_seconds, -1);
    assert_int_equal(specs.items[0]->finalize_at, 0);
    assert_null(specs.items[0]->target.boot_type);
}

/* ---- disks ---- */

static void
disks_are_named_in_three_ways(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load("vm: {name: x}\n" TARGET "disks:\n  0: {storageid: a}\n  '255': {storageid: b}\n"
             "  2016: {diskofferingid: c}\n  SCSI1:0: {storageid: d}\n  nvme0:14:\n");
    const struct spec_disk *disks = specs.items[0]->disks.items;

    assert_int_equal(specs.items[0]->disks.count, 5);
    assert_int_equal(disks[0].by, SPEC_DISK_BY_UNIT);
    assert_int_equal(disks[0].number, 0);
    assert_string_equal(disks[0].place, "spec.yaml:4: disks.0");
    assert_int_equal(disks[1].number, 255);
    assert_int_equal(disks[2].by, SPEC_DISK_BY_KEY);
    assert_int_equal(disks[2].number, 2016);
    assert_null(disks[2].storage_id);
    assert_string_equal(disks[2].disk_offering_id, "c");
    assert_int_equal(disks[3].by, SPEC_DISK_BY_ADDRESS);
    assert_string_equal(disks[3].address, "scsi1:0");
    assert_string_equal(disks[4].address, "nvme0:14");
}

static void
what_names_no_disk_is_refused(void **state)
{
    static const char *const bad[] = {"256",      "999",    "-1",     "01",       "scsi0",
                                      "scsi0:",   "scsi:0", "usb0:1", "scsi0:1x", "scsi0:999",
                                      "scsi00:1", "disk0",  "1.0",    "",         "9999999999"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(free_charp)
        char *text = xasprintf("vm: {name: x}\n" TARGET "disks: {'%s': {}}\n", bad[i]);

        assert_refused(text, "expected a disk as its unit");
    }
    assert_refused("vm: {name: x}\n" TARGET "disks: {'scsi0:1': {}, 'SCSI0:1': {}}\n",
                   "the same disk as at spec.yaml:3: disks.scsi0:1");
    assert_refused("vm: {name: x}\n" TARGET "disks: {1: text}\n",
                   "disks.1: expected a map, not \"text\"");
    assert_refused("vm: {name: x}\n" TARGET "disks: {1: {storage: a}}\n", "unknown key");
}

/* ---- NICs ---- */

#define NICS(text)                                                                                 \
    "vm: {name: x}\ntarget:\n  cloudstack:\n    zoneid: z\n    clusterid: c\n    storageid: s\n"   \
    "    networkid: n\n    serviceofferingid: so\n    nic_mappings:\n" text

static void
nics_are_sorted_and_the_first_adapter_is_primary(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(spec_list_done)
    struct spec_list specs = load_with(
        NULL,
        NICS("      '4002': {source_index: 2, networkid: n2, source_label: Network adapter 3}\n"
             "      '4000': {source_index: 5, networkid: n0, source_label: network ADAPTER 1,\n"
             "               source_mac: '00:50:56:00:00:01', source_network: VM Network,\n"
             "               source_device_key: 4000}\n"
             "      '4003': {source_index: 0, networkid: ''}\n"
             "      '4001': {source_index: 0, networkid: n1}\n"),
        &warnings);
    const struct spec *spec = specs.items[0];

    assert_int_equal(spec->nics.count, 3);
    assert_string_equal(spec->nics.items[0].key, "4001");
    assert_string_equal(spec->nics.items[1].key, "4002");
    assert_string_equal(spec->nics.items[2].key, "4000");
    assert_string_equal(spec->nics.items[2].source_mac, "00:50:56:00:00:01");
    assert_int_equal(spec->nics.items[2].source_device_key, 4000);
    assert_int_equal(spec->primary_nic, 2);
    assert_string_equal(spec->target.network_id, "n0");
    assert_contains(warnings, "nic_mappings.4003: no networkid: this NIC will not be migrated");
}

static void
the_primary_nic_falls_back_to_index_zero_then_to_4000_then_to_none(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list zero = load(NICS("      a: {source_index: 1, networkid: n1}\n"
                                      "      b: {networkid: n2, source_label: Zebra}\n"
                                      "      c: {networkid: n3}\n"));
    CLEANUP(spec_list_done)
    struct spec_list key = load(NICS("      a: {source_index: 1, networkid: n1}\n"
                                     "      4000: {source_index: 2, networkid: n2}\n"));
    CLEANUP(spec_list_done)
    struct spec_list none = load(NICS("      a: {source_index: 1, networkid: n1}\n"));

    assert_string_equal(zero.items[0]->nics.items[0].key, "c"); /* "NIC c" < "Zebra" */
    assert_int_equal(zero.items[0]->primary_nic, 0);
    assert_string_equal(zero.items[0]->target.network_id, "n3");
    assert_int_equal(key.items[0]->primary_nic, 1);
    assert_string_equal(key.items[0]->target.network_id, "n2");
    assert_int_equal(none.items[0]->primary_nic, -1);
    assert_string_equal(none.items[0]->target.network_id, "n");
}

static void
a_primary_nic_makes_up_for_a_missing_networkid(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load("vm: {name: x}\ntarget: {cloudstack: {zoneid: z, clusterid: c, storageid: s,\n"
             "  serviceofferingid: so, nic_mappings: {4000: {networkid: n1}}}}\n");

    assert_string_equal(specs.items[0]->target.network_id, "n1");
}

static void
the_address_of_a_nic_is_kept_given_or_chosen(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs = load(NICS("      a: {source_index: 0, networkid: n1, ip: Keep}\n"
                                       "      b: {source_index: 1, networkid: n2, ip: 10.1.1.7}\n"
                                       "      c: {source_index: 2, networkid: n3, ip: auto}\n"));
    const struct spec_nics *nics = &specs.items[0]->nics;

    assert_string_equal(nics->items[0].ip, SPEC_IP_KEEP);
    assert_string_equal(nics->items[1].ip, "10.1.1.7");
    assert_null(nics->items[2].ip);
    assert_refused(NICS("      a: {networkid: n1, ip: 10.1.1}\n"),
                   "expected keep, auto or an IPv4");
}

static void
two_nics_on_one_network_are_refused(void **state)
{
    assert_refused(NICS("      a: {networkid: n1}\n      b: {networkid: N1}\n"),
                   "nic_mappings.b.networkid: NIC a is on that network already");
    assert_refused(NICS("      a: {source_index: 1, networkid: n}\n"),
                   "NIC a is on the network of networkid");
    assert_refused(NICS("      a: {source_index: x, mac: y}\n"), "2 problems");
}

/* ---- several VMs ---- */

static void
several_files_are_put_in_one_list(void **state)
{
    const char *paths[] = {"one.yaml", "two.json"};
    CLEANUP(spec_list_done) struct spec_list specs = {0};
    struct err *err = NULL;

    write_file("one.yaml", "vm: {name: one}\n" TARGET);
    write_file("two.json",
               "{\"vms\":[{\"vm\":{\"name\":\"two\"}},{\"vm\":{\"name\":\"three\"}}],"
               "\"defaults\":{\"target\":{\"cloudstack\":{\"zoneid\":\"z\",\"clusterid\":\"c\","
               "\"storageid\":\"s\",\"networkid\":\"n\",\"serviceofferingid\":\"so\"}}}}");
    assert_ok(spec_load_all(paths, 2, config, NULL, false, &specs, NULL, &err), &err);
    assert_int_equal(specs.count, 3);
    assert_string_equal(spec_label(specs.items[0]), "one");
    assert_string_equal(spec_label(specs.items[2]), "three");
    assert_string_equal(specs.items[2]->path, "two.json");
    assert_int_equal(specs.items[2]->entry, 1);
}

static void
problems_of_all_files_come_in_one_go(void **state)
{
    const char *paths[] = {"one.yaml", "broken.yaml", "missing.yaml", "two.yaml"};
    struct spec_list specs = {0};
    struct err *err = NULL;

    write_file("one.yaml", "vm: {name: one}\nmigration: {readers: many}\n" TARGET);
    write_file("broken.yaml", "vm: {name: x\n");
    write_file("two.yaml", "vms:\n  - vm: {name: two}\n    disk: {}\n    " TARGET "  - 5\n");
    assert_int_equal(spec_load_all(paths, 4, config, NULL, false, &specs, NULL, &err), -1);
    assert_contains(err_message(err), "5 problems:\none.yaml:2: migration.readers: expected");
    assert_contains(err_message(err), "\nbroken.yaml:");
    assert_contains(err_message(err), "\nmissing.yaml: No such file");
    assert_contains(err_message(err),
                    "\ntwo.yaml:3: vms[0].disk: unknown key; did you mean \"disks\"");
    assert_err_says(&err, E_CONFIG, "\ntwo.yaml:5: vms[1]: expected a map");
}

static void
a_problem_of_the_defaults_is_reported_once(void **state)
{
    assert_refused("defaults: {migration: {readers: x}}\nvms:\n  - vm: {name: a}\n    " TARGET
                   "  - vm: {name: b}\n    " TARGET,
                   "spec.yaml:1: defaults.migration.readers: expected a whole number not below 0, "
                   "not \"x\"");
    assert_refused("defaults: {vm: {name: x}}\nvms: [{vm: {name: a}}]\n",
                   "defaults.vm: unknown key");
}

static void
duplicate_vms_are_refused(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_same;
    } cases[] = {
        {"name: web", "name: web", true},
        {"name: web", "name: Web", false},
        {"name: web, datacenter: A", "name: web, datacenter: B", false},
        {"name: web, datacenter: A", "name: web", true},
        {"name: web, moref: vm-1", "name: web, moref: vm-2", false},
        {"name: web, moref: vm-1", "name: other, moref: vm-1", true},
        {"moref: vm-1", "moref: vm-1", true},
        {"name: web, moref: vm-1", "name: web", true},
        {"uuid: 502c1234-5678-9abc-def0-123456789abc", "uuid: 502C1234-5678-9ABC-DEF0-123456789ABC",
         true},
        {"moref: vm-1", "name: web", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp)
        char *text = xasprintf("vms:\n  - vm: {%s}\n    " TARGET "  - vm: {%s}\n    " TARGET,
                               cases[i].a, cases[i].b);

        if (cases[i].is_same) {
            assert_refused(text, "spec.yaml:4: vms[1]: the same VM (");
            assert_refused(text, ") as at spec.yaml:2: vms[0]");
        } else {
            CLEANUP(spec_list_done) struct spec_list specs = load(text);

            assert_int_equal(specs.count, 2);
        }
    }
}

static void
the_same_file_twice_is_a_duplicate(void **state)
{
    const char *paths[] = {"spec.yaml", "spec.yaml"};
    struct spec_list specs = {0};
    struct err *err = NULL;

    write_file("spec.yaml", "vm: {name: x}\n" TARGET);
    assert_int_equal(spec_load_all(paths, 2, config, NULL, false, &specs, NULL, &err), -1);
    assert_err_says(&err, E_CONFIG, "spec.yaml:1: the same VM (x) as at spec.yaml:1");
}

static void
keys_beside_a_list_are_ignored_with_a_warning(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(spec_list_done)
    struct spec_list specs = load_with(
        NULL, "vms:\n  - vm: {name: a}\n    " TARGET "migration: {readers: 9}\n", &warnings);

    assert_int_equal(specs.items[0]->readers, 4);
    assert_contains(warnings, "spec.yaml:4: migration: ignored, because the file has a list vms:");
}

static void
anchors_share_settings_between_vms(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load("vms:\n  - &first\n    vm: {name: a}\n    " TARGET "    migration: {readers: 2}\n"
             "  - <<: *first\n    vm: {name: b}\n");

    assert_int_equal(specs.count, 2);
    assert_string_equal(spec_label(specs.items[1]), "b");
    assert_int_equal(specs.items[1]->readers, 2);
    assert_string_equal(specs.items[1]->target.zone_id, "z");
}

static void
unknown_keys_warn_when_lenient(void **state)
{
    const char *paths[] = {"spec.yaml"};
    CLEANUP(spec_list_done) struct spec_list specs = {0};
    CLEANUP(free_charp) char *warnings = NULL;
    struct err *err = NULL;

    write_file("spec.yaml", "vm: {name: x, folder: y}\ncolour: red\n" TARGET);
    assert_ok(spec_load_all(paths, 1, config, NULL, true, &specs, &warnings, &err), &err);
    assert_contains(warnings, "spec.yaml:1: vm.folder: unknown key");
    assert_contains(warnings, "spec.yaml:2: colour: unknown key");
}

static void
files_that_are_no_spec_are_refused(void **state)
{
    assert_refused("", "spec.yaml:1: expected a map with vm: or a list vms:");
    assert_refused("- vm: {name: x}\n", "expected a map with vm: or a list vms:");
    assert_refused("vms: {name: x}\n", "spec.yaml:1: vms: expected a list, not a map");
}

static void
marks_of_the_vm_win_over_those_of_its_file(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load("defaults: {migration: {mark_source: {note: true, rename: true}}}\n"
             "vms:\n  - vm: {name: x}\n    " TARGET
             "    migration: {mark_source: {rename: false, suffix: _old}}\n");
    const struct config_mark *mark = &specs.items[0]->mark_source;

    assert_int_equal(mark->note, 1);
    assert_int_equal(mark->rename, 0);
    assert_int_equal(mark->disconnect_nics, 0);
    assert_string_equal(mark->suffix, "_old");
    assert_refused("vm: {name: x}\nmigration: {mark_source: {suffix: a/b}}\n" TARGET,
                   "without %, quotes and slashes");
    assert_refused("vm: {name: x}\nmigration: {mark_source: {colour: red}}\n" TARGET,
                   "unknown key");
}

/* ---- writing ---- */

static void
assert_same_spec(const struct spec *a, const struct spec *b)
{
    CLEANUP(free_charp) char *a_text = spec_to_yaml(a), *b_text = spec_to_yaml(b);

    assert_string_equal(a_text, b_text);
    assert_int_equal(a->primary_nic, b->primary_nic);
    assert_int_equal(a->finalize_at, b->finalize_at);
    assert_int_equal(a->finalize_at_was_zoneless, b->finalize_at_was_zoneless);
    assert_int_equal(a->finalize_settle_seconds, b->finalize_settle_seconds);
    assert_int_equal(a->cutover_max_downtime, b->cutover_max_downtime);
    assert_int_equal(a->quiesce, b->quiesce);
    assert_int_equal(a->shutdown, b->shutdown);
    assert_int_equal(a->extents, b->extents);
    assert_int_equal(a->disks.count, b->disks.count);
    for (size_t i = 0; i < a->disks.count; i++)
        assert_int_equal(a->disks.items[i].is_default, b->disks.items[i].is_default);
    assert_int_equal(a->nics.count, b->nics.count);
}

static void
a_written_spec_reads_back_the_same(void **state)
{
    static const char *const texts[] = {
        "vm: {name: x}\n" TARGET,
        "vm: {name: \"we\\\"b\\\\ 01: # \xc3\xa9\", moref: vm-7, datacenter: 'null',\n"
        "     uuid: 502c1234-5678-9abc-def0-123456789abc}\n"
        "migration: {delta_interval: 1, finalize_at: '2026-01-31T22:30', finalize_window: 2,\n"
        "  finalize_delta_interval: 3, finalize_settle_seconds: 4, readers: 5, parallel_disks: 6,\n"
        "  cutover_max_downtime: 7, run_virt_v2v: yes, snapshot_quiesce: true, shutdown_mode: "
        "manual,\n"
        "  extents: cbt, on_failure: power_on_source, start_vm_after_import: true, "
        "bandwidth_limit: '22:00-06:00 none, "
        "5MiB/s', mark_source: {note: true, suffix: ' (gone)', disconnect_nics: yes}}\n"
        "target: {cloudstack: {zoneid: '007', clusterid: 'true', storageid: s, networkid: n,\n"
        "  serviceofferingid: so, diskofferingid: do, ostypeid: o, boottype: UEFI,\n"
        "  bootmode: Secure, rootdiskcontroller: r, nicadapter: a, account: acc, domainid: d,\n"
        "  nic_mappings: {'4001': {source_index: 1, networkid: n1, ip: keep, source_label: 'L "
        "\"x\"'},\n"
        "    '4000': {source_index: 0, networkid: n0, source_mac: 'aa:bb', source_network: w,\n"
        "             source_device_key: 4000}}}}\n"
        "disks: {'1': {storageid: a, diskofferingid: b}, '2000': {}, 'sata0:3': {storageid: c}}\n",
        "vm: {moref: vm-1}\nmigration: {finalize_at: '2026-01-31T23:30:00+01:00'}\n" TARGET,
        "vm: {moref: vm-1}\ndefaults: {disks: {'1': {storageid: a}, 'scsi1:0': {}}}\n"
        "disks: {'1': {diskofferingid: b}}\n" TARGET,
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(spec_list_done) struct spec_list first = load(texts[i]);
        CLEANUP(free_charp) char *yaml = spec_to_yaml(first.items[0]);
        CLEANUP(spec_list_done) struct spec_list second = load(yaml);

        assert_same_spec(first.items[0], second.items[0]);
    }
}

static void
a_written_spec_holds_what_was_merged(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load("vm: {name: x}\nmigration: {finalize_at: '2026-01-31T22:30'}\n" TARGET);
    CLEANUP(free_charp) char *yaml = spec_to_yaml(specs.items[0]);

    assert_string_equal(yaml, "vm:\n"
                              "  name: \"x\"\n"
                              "migration:\n"
                              "  delta_interval: 300\n"
                              "  finalize_delta_interval: 30\n"
                              "  finalize_window: 600\n"
                              "  finalize_at: \"2026-01-31T22:30:00\"\n"
                              "  readers: 4\n"
                              "  parallel_disks: 4\n"
                              "  run_virt_v2v: false\n"
                              "  snapshot_quiesce: \"auto\"\n"
                              "  shutdown_mode: \"auto\"\n"
                              "  verify: \"sample\"\n"
                              "  extents: \"auto\"\n"
                              "  on_failure: \"keep\"\n"
                              "  import_method: \"importvm\"\n"
                              "  start_vm_after_import: false\n"
                              "  mark_source:\n"
                              "    note: false\n"
                              "    rename: false\n"
                              "    suffix: \"-migrated\"\n"
                              "    disconnect_nics: false\n"
                              "  vddk:\n"
                              "    transports: \"nbdssl:nbd\"\n"
                              "    compression: none\n"
                              "    unbuffered: true\n"
                              "    nfc_buffer_kb: 1024\n"
                              "    nfc_buffer_count: 4\n"
                              "target:\n"
                              "  cloudstack:\n"
                              "    zoneid: \"z\"\n"
                              "    clusterid: \"c\"\n"
                              "    storageid: \"s\"\n"
                              "    networkid: \"n\"\n"
                              "    serviceofferingid: \"so\"\n");
}

/* ---- bandwidth ---- */

static void
a_bandwidth_limit_follows_the_time_of_day(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs = load("vm: {name: x}\nmigration: {bandwidth_limit: '08:00-18:00 "
                                  "50MiB/s, 22:30-06:00 none, 2 GiB/s'}\n" TARGET);
    const struct rate_schedule *schedule = &specs.items[0]->bandwidth;

    assert_int_equal(rate_schedule_at(schedule, 8 * 60 - 1), 2ULL << 30);
    assert_int_equal(rate_schedule_at(schedule, 8 * 60), 50ULL << 20);
    assert_int_equal(rate_schedule_at(schedule, 18 * 60 - 1), 50ULL << 20);
    assert_int_equal(rate_schedule_at(schedule, 18 * 60), 2ULL << 30);
    assert_int_equal(rate_schedule_at(schedule, 22 * 60 + 30), 0);
    assert_int_equal(rate_schedule_at(schedule, 0), 0);
    assert_int_equal(rate_schedule_at(schedule, 6 * 60), 2ULL << 30);
}

static void
a_vm_without_a_bandwidth_limit_takes_the_defaults(void **state)
{
    CLEANUP(spec_list_done)
    struct spec_list specs =
        load("defaults: {migration: {bandwidth_limit: 1MiB/s}}\nvms:\n"
             "- vm: {name: a}\n  " TARGET "- vm: {name: b}\n  migration: {bandwidth_limit: none}\n"
             "  " TARGET);

    assert_int_equal(rate_schedule_at(&specs.items[0]->bandwidth, 0), 1ULL << 20);
    assert_int_equal(rate_schedule_at(&specs.items[1]->bandwidth, 0), 0);
}

static void
a_bandwidth_limit_that_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"fast",
                                        "200",
                                        "0MiB/s",
                                        "200MB/s",
                                        "-5MiB/s",
                                        "8-18 5MiB/s",
                                        "08:00-18:00",
                                        "08:60-18:00 5MiB/s",
                                        "08:00-24:01 5MiB/s",
                                        "08:00-08:00 5MiB/s",
                                        "5MiB/s, 6MiB/s",
                                        "5MiB/s,",
                                        "99999999999999999999GiB/s"};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(free_charp)
        char *text =
            xasprintf("vm: {name: x}\nmigration: {bandwidth_limit: '%s'}\n" TARGET, wrong[i]);

        assert_refused(text, "spec.yaml:2: migration.bandwidth_limit: \"");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_spec_gets_the_defaults),
        cmocka_unit_test(the_vm_wins_over_the_defaults_block_and_that_over_the_configuration),
        cmocka_unit_test(the_command_line_wins_over_all),
        cmocka_unit_test(a_vm_is_named_by_moref_or_uuid_too),
        cmocka_unit_test(missing_target_fields_are_listed),
        cmocka_unit_test(combinations_that_cannot_be_are_refused),
        cmocka_unit_test(bad_values_are_refused_with_their_place),
        cmocka_unit_test(intervals_that_make_no_sense_together_warn),
        cmocka_unit_test(a_spec_that_the_existing_tool_saved_is_read),
        cmocka_unit_test(disks_are_named_in_three_ways),
        cmocka_unit_test(what_names_no_disk_is_refused),
        cmocka_unit_test(nics_are_sorted_and_the_first_adapter_is_primary),
        cmocka_unit_test(the_primary_nic_falls_back_to_index_zero_then_to_4000_then_to_none),
        cmocka_unit_test(a_primary_nic_makes_up_for_a_missing_networkid),
        cmocka_unit_test(the_address_of_a_nic_is_kept_given_or_chosen),
        cmocka_unit_test(two_nics_on_one_network_are_refused),
        cmocka_unit_test(several_files_are_put_in_one_list),
        cmocka_unit_test(problems_of_all_files_come_in_one_go),
        cmocka_unit_test(a_problem_of_the_defaults_is_reported_once),
        cmocka_unit_test(duplicate_vms_are_refused),
        cmocka_unit_test(the_same_file_twice_is_a_duplicate),
        cmocka_unit_test(keys_beside_a_list_are_ignored_with_a_warning),
        cmocka_unit_test(anchors_share_settings_between_vms),
        cmocka_unit_test(unknown_keys_warn_when_lenient),
        cmocka_unit_test(files_that_are_no_spec_are_refused),
        cmocka_unit_test(a_bandwidth_limit_follows_the_time_of_day),
        cmocka_unit_test(a_vm_without_a_bandwidth_limit_takes_the_defaults),
        cmocka_unit_test(a_bandwidth_limit_that_is_none_is_refused),
        cmocka_unit_test(marks_of_the_vm_win_over_those_of_its_file),
        cmocka_unit_test(a_written_spec_reads_back_the_same),
        cmocka_unit_test(a_written_spec_holds_what_was_merged),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
