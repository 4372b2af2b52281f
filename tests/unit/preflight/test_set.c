/* Plans, rules of several VMs together, and of this host. */
#include <string.h>

#include "check.h"
#include "support.h"

/* ---- plans ------------------------------------------------------------------------------------ */

static void
the_primary_nic_comes_first_and_keeps_its_mac(void **state)
{
    struct vsphere_nic nics[] = {
        {.key = 4000, .label = literal("Network adapter 1"), .mac = literal("00:50:56:00:00:01")},
        {.key = 4001, .mac = literal("00:50:56:00:00:02")}};
    struct spec_nic mappings[] = {{.key = literal("4001"), .network_id = literal("net-b")},
                                  {.key = literal("4000"), .network_id = literal("net-a")}};
    struct spec spec = {.nics = {.items = mappings, .count = 2}, .primary_nic = 1};
    struct vsphere_vm vm = {.nics = {.items = nics, .count = 2}};
    struct preflight_nics plan = {0};

    preflight_plan_nics(&spec, &vm, &plan);
    assert_int_equal(plan.count, 2);
    assert_string_equal(plan.items[0].network_id, "net-a");
    assert_string_equal(plan.items[0].mac, "00:50:56:00:00:01");
    assert_string_equal(plan.items[1].mac, "00:50:56:00:00:02");
    assert_int_equal(preflight_check_nics(&plan, NULL), 0);
    vec_done(&plan);
}

static void
two_nics_on_one_network_are_refused(void **state)
{
    struct preflight_nic items[] = {{.key = "4000", .network_id = "net-a"},
                                    {.key = "4001", .network_id = "NET-A"}};
    struct preflight_nics plan = {.items = items, .count = 2};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(preflight_check_nics(&plan, &err), -1);
    assert_err_says(&err, E_CONFIG, "4001");
}

static void
the_boot_disk_goes_to_the_targets_pool_whatever_the_spec_says_of_it(void **state)
{
    struct spec_disk wanted[] = {{.by = SPEC_DISK_BY_UNIT,
                                  .number = 0,
                                  .place = literal("disks.0"),
                                  .storage_id = literal("p9")},
                                 {.by = SPEC_DISK_BY_ADDRESS,
                                  .address = literal("SCSI0:1"),
                                  .place = literal("disks.1"),
                                  .storage_id = literal("p2"),
                                  .disk_offering_id = literal("do2")}};
    struct good g;

    good_init(&g);
    g.spec.disks = (struct spec_disks){.items = wanted, .count = 2};
    good_plan(&g);
    assert_true(g.disks.items[0].is_boot);
    assert_string_equal(g.disks.items[0].storage_id, "p1");
    assert_null(g.disks.items[0].disk_offering_id);
    assert_string_equal(g.disks.items[1].storage_id, "p2");
    assert_string_equal(g.disks.items[1].disk_offering_id, "do2");
    g.vm.boot_disk_key = 2001;
    wanted[0].disk_offering_id = literal("do3");
    good_plan(&g);
    assert_true(g.disks.items[1].is_boot);
    assert_string_equal(g.disks.items[0].storage_id, "p9");
    g.spec.disks = (struct spec_disks){0};
    good_done(&g);
}

static void
entries_for_disks_that_are_not_there_are_refused(void **state)
{
    struct spec_disk wanted[] = {
        {.by = SPEC_DISK_BY_KEY, .number = 2999, .place = literal("spec.yaml:9: disks.2999")}};
    struct preflight_disks disks = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct good g;

    good_init(&g);
    g.spec.disks = (struct spec_disks){.items = wanted, .count = 1};
    assert_int_equal(preflight_plan_disks(&g.spec, &g.vm, &disks, &err), -1);
    assert_err_says(&err, E_CONFIG, "spec.yaml:9");
    wanted[0].is_default = true; /* for the VMs that have such a disk */
    good_plan(&g);
    g.spec.target.disk_offering_id = NULL;
    assert_int_equal(preflight_plan_disks(&g.spec, &g.vm, &disks, &err), -1);
    assert_err_says(&err, E_CONFIG, "scsi0:1");
    g.spec.disks = (struct spec_disks){0};
    good_done(&g);
}

/* ---- several VMs ------------------------------------------------------------------------------ */

struct pair {
    struct good a, b;
    struct subject subjects[2];
    struct preflight_findings common;
};

static void
pair_init(struct pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    good_init(&pair->a);
    good_init(&pair->b);
    pair->b.vm.moref = literal("vm-8");
    pair->b.vm.name = literal("web02");
    pair->b.nic_items[0].mac = literal("00:50:56:00:00:09");
    good_plan(&pair->b);
}

static void
pair_judge(struct pair *pair)
{
    struct preflight_findings *lists[] = {&pair->a.findings, &pair->b.findings};

    pair->subjects[0] = pair->a.subject;
    pair->subjects[1] = pair->b.subject;
    set_rules(pair->subjects, 2, pair->a.facts, &pair->common, lists);
}

static void
pair_done(struct pair *pair)
{
    good_done(&pair->a);
    good_done(&pair->b);
    preflight_findings_done(&pair->common);
}

static void
room_is_counted_for_all_vms_together(void **state)
{
    struct pair pair;

    pair_init(&pair);
    pair_judge(&pair);
    expect_all_pass(&pair.common);
    expect(&pair.common, "target.space", PREFLIGHT_PASS, "80.0 GiB in 4 disks");
    preflight_findings_done(&pair.common);
    good_set(&pair.a, "dir", "p1", "{'path':'/p','free':64424509440}"); /* 60 GiB */
    pair_judge(&pair);
    expect(&pair.common, "target.space", PREFLIGHT_WARNING, "hold up to 80.0 GiB");
    preflight_findings_done(&pair.common);
    good_set(&pair.a, "dir", "p1", "{'path':'/p','free':1000}");
    pair_judge(&pair);
    expect(&pair.common, "target.space", PREFLIGHT_FAILURE, "is full");
    pair_done(&pair);
}

static void
two_vms_do_not_have_one_address_on_one_network(void **state)
{
    struct pair pair;

    pair_init(&pair);
    good_set(&pair.a, "network", "n1", "{'id':'n1','name':'blue','cidr':'10.1.1.0/24'}");
    pair.a.nics.items[0].ip = pair.b.nics.items[0].ip = "10.1.1.7";
    pair.a.spec.import_method = pair.b.spec.import_method = CONFIG_IMPORT_SHELL;
    pair_judge(&pair);
    expect(&pair.b.findings, "target.ip", PREFLIGHT_FAILURE, "web01 is to have 10.1.1.7");
    assert_null(find_finding(&pair.a.findings, "target.ip", PREFLIGHT_FAILURE));
    preflight_findings_done(&pair.b.findings);
    pair.a.spec.import_method = CONFIG_IMPORT_VM; /* gets another address: it cannot be told */
    pair_judge(&pair);
    expect(&pair.b.findings, "target.ip", PREFLIGHT_WARNING, "10.1.1.7");
    preflight_findings_done(&pair.b.findings);
    pair.b.nics.items[0].ip = "10.1.1.8";
    pair_judge(&pair);
    assert_null(find_finding(&pair.b.findings, "target.ip", PREFLIGHT_WARNING));
    pair_done(&pair);
}

static void
a_conversion_needs_room_beside_the_copy(void **state)
{
    struct pair pair;

    pair_init(&pair);
    pair_judge(&pair);
    assert_null(find_finding(&pair.common, "target.conversion_space", PREFLIGHT_PASS));
    preflight_findings_done(&pair.common);
    pair.b.spec.run_virt_v2v = true;
    pair_judge(&pair);
    expect(&pair.common, "target.conversion_space", PREFLIGHT_PASS, "1.0 GiB");
    preflight_findings_done(&pair.common);
    /* 81.5 GiB: the disks may leave 1.5 */
    good_set(&pair.a, "dir", "p1", "{'path':'/p','free':87509958656,'floor':1073741824}");
    pair_judge(&pair);
    expect(&pair.common, "target.conversion_space", PREFLIGHT_WARNING, "the 2.0 GiB");
    preflight_findings_done(&pair.common);
    good_set(&pair.a, "dir", "p1", "{'path':'/p','free':1610612736,'floor':1073741824}");
    pair_judge(&pair);
    expect(&pair.common, "target.conversion_space", PREFLIGHT_FAILURE, "less than 2.0 GiB");
    pair_done(&pair);
}

static void
cloudstacks_books_count_too(void **state)
{
    struct pair pair;

    pair_init(&pair);
    good_set(&pair.a, "pool", "p1",
             "{'name':'p','zoneid':'z1','disksizetotal':1000,'disksizeused':900,"
             "'overprovisionfactor':'1000000000'}");
    pair_judge(&pair);
    expect(&pair.common, "target.space", PREFLIGHT_FAILURE, "90% full");
    preflight_findings_done(&pair.common);
    json_object_del(pair.a.facts, "thresholds"); /* the defaults are only likely */
    pair_judge(&pair);
    expect(&pair.common, "target.space", PREFLIGHT_WARNING, "90% full");
    preflight_findings_done(&pair.common);
    good_set(&pair.a, "pool", "p1",
             "{'name':'p','zoneid':'z1','disksizetotal':107374182400,'overprovisionfactor':'1.0',"
             "'disksizeallocated':53687091200}"); /* 100 GiB, 50 of them given away */
    pair_judge(&pair);
    expect(&pair.common, "target.space", PREFLIGHT_WARNING, "130%");
    pair_done(&pair);
}

static void
limits_are_counted_for_all_vms_of_an_owner(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"{'account':{'name':'bob','vmavailable':'1'}}", "account bob has 1 instances left, 2"},
        {"{'account':{'name':'bob','cpuavailable':3}}", "3 CPUs left, 4"},
        {"{'account':{'name':'bob','memoryavailable':'8191'}}", "MiB of memory"},
        {"{'domain':{'name':'sales','volumeavailable':'3'}}", "domain sales has 3 volumes left, 4"},
        {"{'account':{'name':'bob','primarystorageavailable':'79'}}", "GiB of primary storage"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pair pair;

        pair_init(&pair);
        pair.a.spec.target.account = pair.b.spec.target.account = literal("bob");
        pair.a.spec.target.domain_id = pair.b.spec.target.domain_id = literal("d1");
        good_set(&pair.a, "owner", "bob|d1|", rows[i].json);
        pair_judge(&pair);
        expect(&pair.common, "target.limits", PREFLIGHT_FAILURE, rows[i].text);
        pair_done(&pair);
    }
}

static void
what_is_unlimited_is_enough(void **state)
{
    struct pair pair;

    pair_init(&pair);
    pair.a.spec.target.account = pair.b.spec.target.account = literal("bob");
    pair.a.spec.target.domain_id = pair.b.spec.target.domain_id = literal("d1");
    good_set(&pair.a, "owner", "bob|d1|",
             "{'account':{'name':'bob','vmavailable':'Unlimited','cpuavailable':'-1',"
             "'memoryavailable':'8192','volumeavailable':'4','primarystorageavailable':'80'}}");
    pair_judge(&pair);
    expect_all_pass(&pair.common);
    expect(&pair.common, "target.limits", PREFLIGHT_PASS, "");
    pair_done(&pair);
}

static void
two_vms_that_share_something_are_told(void **state)
{
    struct pair pair;

    pair_init(&pair);
    pair.b.vm.name = literal("Web01");
    pair.b.nic_items[0].mac = literal("00:50:56:00:00:01");
    good_plan(&pair.b);
    pair_judge(&pair);
    expect(&pair.b.findings, "target.name", PREFLIGHT_WARNING, "host name Web01");
    expect(&pair.b.findings, "target.mac", PREFLIGHT_WARNING, "web01 has the MAC address");
    assert_int_equal(pair.a.findings.count, 0);
    preflight_findings_done(&pair.b.findings);
    pair.b.vm.moref = literal("vm-7");
    pair_judge(&pair);
    expect(&pair.b.findings, "source.vm", PREFLIGHT_FAILURE, "named twice");
    pair_done(&pair);
}

/* ---- this host -------------------------------------------------------------------------------- */

static void
this_host_is_judged_by_what_is_there(void **state)
{
    struct preflight_findings f = {0};
    struct local_facts facts = {.vddk_library = literal("/opt/vddk/lib64/libvixDiskLib.so.8"),
                                .is_uring_usable = true};

    local_rules(&facts, &f);
    expect_all_pass(&f);
    expect(&f, "local.vddk", PREFLIGHT_PASS, "version 8");
    preflight_findings_done(&f);
    facts.vddk_library = literal("/opt/vddk/lib64/libvixDiskLib.so.6");
    facts.is_uring_usable = false;
    facts.uring_reason = literal("io_uring is disabled");
    local_rules(&facts, &f);
    expect(&f, "local.vddk", PREFLIGHT_WARNING, "version 6");
    expect(&f, "local.io_uring", PREFLIGHT_WARNING, "disabled");
    preflight_findings_done(&f);
}

static void
a_vddk_that_does_not_load_fails(void **state)
{
    struct preflight_findings f = {0};
    struct local_facts facts = {.is_uring_usable = true};

    (void)err_set(&facts.vddk_error, E_VDDK_LIBRARY, "no libvixDiskLib in /nowhere");
    local_rules(&facts, &f);
    expect(&f, "local.vddk", PREFLIGHT_FAILURE, "/nowhere");
    local_facts_done(&facts);
    preflight_findings_done(&f);
}

static void
conversion_needs_its_programs(void **state)
{
    struct preflight_findings f = {0};
    struct local_facts facts = {.vddk_library = literal("/x/libvixDiskLib.so.7"),
                                .is_uring_usable = true,
                                .was_conversion_looked_for = true,
                                .wants_windows = true};

    local_rules(&facts, &f);
    expect(&f, "local.virt_v2v", PREFLIGHT_FAILURE, "virt-v2v-in-place");
    expect(&f, "local.qemu_img", PREFLIGHT_FAILURE, "qemu-img");
    expect(&f, "local.virt_inspector", PREFLIGHT_WARNING, "several disks");
    facts.wants_inspector = true;
    local_rules(&facts, &f);
    expect(&f, "local.virt_inspector", PREFLIGHT_FAILURE, "several disks");
    expect(&f, "local.virtio_win", PREFLIGHT_FAILURE, "virtio-win");
    expect(&f, "local.virt_tools", PREFLIGHT_FAILURE, "rhsrvany");
    preflight_findings_done(&f);
    facts.virt_v2v = literal("/usr/bin/virt-v2v-in-place");
    facts.virtio_win = literal("/usr/share/virtio-win/virtio-win.iso");
    facts.has_pvvxsvc = facts.has_inspector = facts.has_qemu_img = true;
    local_rules(&facts, &f);
    expect_all_pass(&f);
    preflight_findings_done(&f);
    facts.is_userspace_nfs = true;
    local_rules(&facts, &f);
    expect(&f, "local.conversion", PREFLIGHT_FAILURE, "not mounted");
    preflight_findings_done(&f);
}

static void
clocks_that_differ_are_told(void **state)
{
    struct preflight_findings f = {0};

    clock_rule("vCenter", true, 5, &f);
    expect_all_pass(&f);
    clock_rule("vCenter", true, 120, &f);
    expect(&f, "local.clock", PREFLIGHT_WARNING, "120 seconds behind that of vCenter");
    clock_rule("CloudStack", true, -90, &f);
    expect(&f, "local.clock", PREFLIGHT_WARNING, "90 seconds ahead of that of CloudStack");
    clock_rule("CloudStack", false, 0, &f);
    expect(&f, "local.clock", PREFLIGHT_WARNING, "does not tell");
    preflight_findings_done(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_primary_nic_comes_first_and_keeps_its_mac),
        cmocka_unit_test(two_nics_on_one_network_are_refused),
        cmocka_unit_test(the_boot_disk_goes_to_the_targets_pool_whatever_the_spec_says_of_it),
        cmocka_unit_test(entries_for_disks_that_are_not_there_are_refused),
        cmocka_unit_test(room_is_counted_for_all_vms_together),
        cmocka_unit_test(two_vms_do_not_have_one_address_on_one_network),
        cmocka_unit_test(a_conversion_needs_room_beside_the_copy),
        cmocka_unit_test(cloudstacks_books_count_too),
        cmocka_unit_test(limits_are_counted_for_all_vms_of_an_owner),
        cmocka_unit_test(what_is_unlimited_is_enough),
        cmocka_unit_test(two_vms_that_share_something_are_told),
        cmocka_unit_test(this_host_is_judged_by_what_is_there),
        cmocka_unit_test(a_vddk_that_does_not_load_fails),
        cmocka_unit_test(conversion_needs_its_programs),
        cmocka_unit_test(clocks_that_differ_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
