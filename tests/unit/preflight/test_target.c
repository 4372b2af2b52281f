/* Rules of the target: what CloudStack says in, findings out. */
#include "check.h"
#include "support.h"

static void
rules(struct good *g)
{
    target_server_rules(g->facts, &g->findings);
    target_place_rules(&g->subject, g->facts, &g->findings);
    target_offering_rules(&g->subject, g->facts, &g->findings);
    target_network_rules(&g->subject, g->facts, &g->findings);
    target_address_rules(&g->subject, g->facts, &g->findings);
    target_volume_rules(&g->subject, g->facts, &g->findings);
    target_import_rules(&g->subject, g->facts, &g->findings);
    target_owner_rules(&g->subject, g->facts, &g->findings);
}

#define SET(kind, id, json) good_set(&g, kind, id, json)

static void
a_good_target_passes_everything(void **state)
{
    struct good g;

    good_init(&g);
    rules(&g);
    expect_all_pass(&g.findings);
    for (const char *const *check =
             (const char *const[]){"target.api", "target.zone", "target.cluster", "target.hosts",
                                   "target.pool", "target.service_offering", "target.disk_offering",
                                   "target.os_type", "target.network", "target.mac", "target.name",
                                   "target.volumes", NULL};
         *check; check++)
        if (!find_finding(&g.findings, *check, PREFLIGHT_PASS))
            fail_msg("%s was not looked at", *check);
    good_done(&g);
}

static void
ids_that_name_nothing_fail(void **state)
{
    SPOILED(rules, SET("zone", "z1", "null"), "target.zone", FAILURE, "z1");
    SPOILED(rules, SET("cluster", "c1", "null"), "target.cluster", FAILURE, "c1");
    SPOILED(rules, SET("pool", "p1", "null"), "target.pool", FAILURE, "p1");
    SPOILED(rules, SET("network", "n1", "null"), "target.network", FAILURE, "n1");
    SPOILED(rules, SET("service_offering", "so1", "null"), "target.service_offering", FAILURE,
            "so1");
    SPOILED(rules, SET("disk_offering", "do1", "null"), "target.disk_offering", FAILURE,
            "disk scsi0:1");
    SPOILED(rules, SET("os_type", "os1", "null"), "target.os_type", FAILURE, "os1");
}

static void
what_could_not_be_asked_is_a_warning(void **state)
{
    SPOILED(rules, (json_object_del(g.facts, "zone"), SET("unread", "zone", "'denied'")),
            "target.zone", WARNING, "denied");
    SPOILED(rules, (json_object_del(g.facts, "hosts"), SET("unread", "hosts", "'denied'")),
            "target.hosts", WARNING, "denied");
    SPOILED(rules, (json_object_del(g.facts, "apis"), SET("unread", "apis", "'denied'")),
            "target.api", WARNING, "denied");
    SPOILED(rules, (json_object_del(g.facts, "vms"), SET("unread", "vms", "'denied'")),
            "target.name", WARNING, "denied");
    SPOILED(rules, (json_object_del(g.facts, "network"), SET("unread", "network", "'denied'")),
            "target.network", WARNING, "denied");
}

static void
commands_that_the_account_lacks_fail(void **state)
{
    SPOILED(rules, json_object_del(json_object_get(g.facts, "apis"), "importVm"), "target.api",
            FAILURE, "importVm");
    SPOILED(rules, json_object_del(json_object_get(g.facts, "apis"), "importVolume"), "target.api",
            FAILURE, "importVolume");
    SPOILED(rules, json_object_del(json_object_get(g.facts, "apis"), "startVirtualMachine"),
            "target.api", FAILURE, "startVirtualMachine");
    /* Not needed by a VM that is not to be started. */
    SPOILED(rules,
            (json_object_del(json_object_get(g.facts, "apis"), "startVirtualMachine"),
             g.spec.start_vm_after_import = false),
            "target.api", PASS, "may import");
}

static void
places_must_belong_together(void **state)
{
    SPOILED(rules, SET("cluster", "c1", "{'name':'c','zoneid':'z9','zonename':'nine'}"),
            "target.cluster", WARNING, "zone nine");
    SPOILED(rules, SET("cluster", "c1", "{'name':'c','zoneid':'z1','hypervisortype':'VMware'}"),
            "target.cluster", WARNING, "VMware");
    SPOILED(rules, SET("cluster", "c1", "{'name':'c','zoneid':'z1','allocationstate':'Disabled'}"),
            "target.cluster", WARNING, "disabled");
    SPOILED(rules, SET("zone", "z1", "{'name':'z','allocationstate':'Disabled'}"), "target.zone",
            WARNING, "disabled");
    SPOILED(
        rules,
        SET("pool", "p1", "{'name':'p','type':'SharedMountPoint','zoneid':'z9','zonename':'x'}"),
        "target.pool", FAILURE, "zone x");
    SPOILED(rules,
            SET("pool", "p1",
                "{'name':'p','type':'SharedMountPoint','zoneid':'z1','scope':'CLUSTER',"
                "'clusterid':'c9','clustername':'nine'}"),
            "target.pool", WARNING, "cluster nine");
}

static void
a_basic_zone_has_one_nic(void **state)
{
    static struct spec_nic nics[] = {{.network_id = NULL}, {.network_id = NULL}};

    nics[0] = (struct spec_nic){.key = literal("4000"), .network_id = literal("n1")};
    nics[1] = (struct spec_nic){.key = literal("4001"), .network_id = literal("n2")};
    SPOILED(rules,
            (SET("zone", "z1", "{'name':'z','networktype':'Basic'}"),
             g.spec.nics = (struct spec_nics){.items = nics, .count = 2}, g.spec.primary_nic = 0,
             good_plan(&g)),
            "target.zone", FAILURE, "Basic");
}

static void
a_host_must_be_up(void **state)
{
    SPOILED(rules, SET("hosts", "z1", "[]"), "target.hosts", FAILURE, "none of the 0");
    SPOILED(rules,
            SET("hosts", "z1", "[{'state':'Down','resourcestate':'Enabled','clusterid':'c1'}]"),
            "target.hosts", FAILURE, "none of the 1");
    SPOILED(rules,
            SET("hosts", "z1",
                "[{'state':'Up','resourcestate':'PrepareForMaintenance','clusterid':'c1'}]"),
            "target.hosts", FAILURE, "none of the 1");
    /* One of another cluster does not reach the pool. */
    SPOILED(rules,
            SET("hosts", "z1", "[{'state':'Up','resourcestate':'Enabled','clusterid':'c9'}]"),
            "target.hosts", FAILURE, "none of the 0");
    SPOILED(rules,
            SET("hosts", "z1",
                "[{'state':'Up','resourcestate':'Enabled','clusterid':'c1','memorytotal':1000,"
                "'memoryallocatedbytes':1000}]"),
            "target.hosts", WARNING, "4096 MiB");
}

static void
a_uefi_vm_needs_a_host_that_can(void **state)
{
    SPOILED(rules, g.vm.firmware = literal("efi"), "target.uefi", PASS, "1 of 1");
    SPOILED(rules,
            (g.vm.firmware = literal("efi"),
             SET("hosts", "z1",
                 "[{'state':'Up','resourcestate':'Enabled','clusterid':'c1','ueficapability':"
                 "false}]")),
            "target.uefi", FAILURE, "never start");
    SPOILED(rules,
            (g.vm.firmware = literal("efi"),
             SET("hosts", "z1", "[{'state':'Up','resourcestate':'Enabled','clusterid':'c1'}]")),
            "target.uefi", WARNING, "no host says");
}

static void
pools_must_be_usable_from_here(void **state)
{
    SPOILED(rules, SET("dir", "p1", "{'error':'pool p: not mounted','cure':'mount it'}"),
            "target.pool", FAILURE, "not mounted");
    SPOILED(rules, SET("version", NULL, "'4.20.1.0'"), "target.pool", FAILURE,
            "CloudStack 4.20.1.0 cannot import");
    SPOILED(rules, SET("version", NULL, "'4.22.1.0-SNAPSHOT'"), "target.pool", PASS, "written");
    SPOILED(rules, SET("version", NULL, "'4.23.0.0'"), "target.pool", PASS, "written");
}

static void
offerings_are_held_against_the_vm(void **state)
{
    SPOILED(rules, g.vm.cpu_count = 8, "target.service_offering", WARNING, "the VM has 8");
    SPOILED(rules, g.vm.memory_mib = 8192, "target.service_offering", WARNING, "8192");
    SPOILED(rules,
            SET("service_offering", "so1",
                "{'name':'custom','iscustomized':true,'serviceofferingdetails':{'maxcpunumber':"
                "'1','maxmemory':'512'}}"),
            "target.service_offering", WARNING, "1 to 1 CPUs");
    SPOILED(rules, SET("service_offering", "so1", "{'name':'custom','iscustomized':true}"),
            "target.service_offering", PASS, "the VM's 2 CPUs");
    SPOILED(rules,
            SET("service_offering", "so1",
                "{'name':'safe','cpunumber':2,'memory':4096,'encryptroot':true}"),
            "target.service_offering", FAILURE, "encrypts");
    SPOILED(rules,
            SET("service_offering", "so1",
                "{'name':'old','cpunumber':2,'memory':4096,'state':'Inactive'}"),
            "target.service_offering", FAILURE, "Inactive");
    SPOILED(rules,
            SET("service_offering", "so1",
                "{'name':'loc','cpunumber':2,'memory':4096,'storagetype':'local'}"),
            "target.service_offering", WARNING, "local");
}

static void
disk_offerings_are_held_against_the_disks(void **state)
{
    SPOILED(rules, g.disk_items[1].capacity = 2048 * GIB, "target.disk_offering", FAILURE,
            "1 to 1024");
    SPOILED(rules, g.disk_items[1].capacity = 512 * MIB, "target.disk_offering", FAILURE,
            "has 0 GiB");
    SPOILED(rules, SET("disk_offering", "do1", "{'name':'ten','disksize':10}"),
            "target.disk_offering", WARNING, "larger than the 10 GiB");
    SPOILED(rules, SET("disk_offering", "do1", "{'name':'twenty','disksize':20}"),
            "target.disk_offering", PASS, "twenty");
    SPOILED(rules,
            SET("disk_offering", "do1", "{'name':'loc','iscustomized':true,'storagetype':'local'}"),
            "target.disk_offering", FAILURE, "local");
    SPOILED(rules, SET("disk_offering", "do1", "{'name':'e','iscustomized':true,'encrypt':true}"),
            "target.disk_offering", FAILURE, "encrypts");
    SPOILED(rules,
            SET("disk_offering", "do1", "{'name':'i','iscustomized':true,'state':'Inactive'}"),
            "target.disk_offering", FAILURE, "Inactive");
}

static void
storage_tags_must_be_on_the_pool(void **state)
{
    const char ssd[] = "{'name':'p','type':'SharedMountPoint','zoneid':'z1','tags':'fast, ssd'}";

    SPOILED(rules,
            SET("service_offering", "so1",
                "{'name':'s','cpunumber':2,'memory':4096,'storagetags':'ssd'}"),
            "target.tags", FAILURE, "has none");
    SPOILED(rules,
            (SET("service_offering", "so1",
                 "{'name':'s','cpunumber':2,'memory':4096,'storagetags':'ssd,fast'}"),
             SET("pool", "p1", ssd)),
            "target.service_offering", PASS, "s");
    SPOILED(rules,
            (SET("disk_offering", "do1", "{'name':'d','iscustomized':true,'tags':'ss'}"),
             SET("pool", "p1", ssd)),
            "target.tags", FAILURE, "disk scsi0:1");
}

static void
devices_must_be_known_words(void **state)
{
    SPOILED(rules, g.spec.target.root_disk_controller = literal("lsilogic"), "target.details",
            WARNING, "lsilogic");
    SPOILED(rules, (g.spec.target.os_type_id = NULL, g.spec.target.root_disk_controller = NULL),
            "target.os_type", WARNING, "IDE");
    SPOILED(rules, g.spec.target.root_disk_controller = literal("virtio-scsi"), "target.os_type",
            PASS, "Debian");
}

static void
networks_must_be_usable(void **state)
{
    SPOILED(rules, SET("network", "n1", "{'name':'n','zoneid':'z9','zonename':'nine'}"),
            "target.network", FAILURE, "zone nine");
    SPOILED(rules, SET("network", "n1", "{'name':'n','zoneid':'z1','state':'Destroy'}"),
            "target.network", FAILURE, "Destroy");
    SPOILED(rules, SET("network", "n1", "{'name':'n','zoneid':'z1','issystem':true}"),
            "target.network", FAILURE, "system");
    SPOILED(rules, SET("network", "n1", "{'name':'n','zoneid':'z1','canusefordeploy':false}"),
            "target.network", WARNING, "cannot be used");
    SPOILED(rules,
            (SET("network", "n1", "{'name':'n','zoneid':'z1','account':'alice'}"),
             g.spec.target.account = literal("bob"), g.spec.target.domain_id = literal("d1")),
            "target.network", WARNING, "alice");
    SPOILED(rules,
            (SET("network", "n1", "{'name':'n','zoneid':'z1','acltype':'Domain','account':'x'}"),
             g.spec.target.account = literal("bob"), g.spec.target.domain_id = literal("d1")),
            "target.network", PASS, "n");
}

static void
addresses_and_names_may_be_taken(void **state)
{
    const char taken[] = "[{'id':'v1','name':'other','displayname':'The Other','nic':[{'networkid':"
                         "'n1','macaddress':'00:50:56:00:00:01'}]}]";

    SPOILED(rules, SET("vms", "n1", taken), "target.mac", FAILURE, "The Other");
    SPOILED(rules, (SET("vms", "n1", taken), g.subject.imported_vm_id = "v1"), "target.mac", PASS,
            "keeps");
    SPOILED(rules, SET("apis", "importVm", "['name']"), "target.mac", WARNING, "new MAC");
    SPOILED(rules, SET("vms", "n1", "[{'id':'v2','name':'WEB01','nic':[]}]"), "target.name",
            WARNING, "web01");
}

static void
nics_are_compared_with_the_plan(void **state)
{
    static struct spec_nic nics[2];

    nics[0] = (struct spec_nic){.key = literal("4000"), .network_id = literal("n1")};
    nics[1] = (struct spec_nic){.key = literal("4001"), .network_id = literal("N1")};
    SPOILED(rules,
            (g.spec.nics = (struct spec_nics){.items = nics, .count = 2}, g.spec.primary_nic = 0,
             good_plan(&g)),
            "spec.nics", FAILURE, "4001");
    nics[1] = (struct spec_nic){.key = literal("4007"), .network_id = literal("n2")};
    SPOILED(rules,
            (g.spec.nics = (struct spec_nics){.items = nics, .count = 2}, g.spec.primary_nic = 0,
             good_plan(&g)),
            "spec.nics", WARNING, "matches no NIC");
    SPOILED(rules, g.vm.nics.count = 2, "spec.nics", WARNING, "has 2 NICs, 1 of them");
}

static void
owners_must_exist_and_be_active(void **state)
{
#define OWNED (g.spec.target.account = literal("bob"), g.spec.target.domain_id = literal("d1"))
    SPOILED(rules, g.spec.target.account = literal("bob"), "target.owner", FAILURE,
            "without domainid");
    SPOILED(rules, g.spec.target.domain_id = literal("d1"), "target.owner", FAILURE,
            "without account");
    SPOILED(rules, (OWNED, g.spec.target.project_id = literal("pr1")), "target.owner", FAILURE,
            "both");
    SPOILED(rules, (OWNED, SET("owner", "bob|d1|", "{'domain':null}")), "target.owner", FAILURE,
            "d1");
    SPOILED(rules, (OWNED, SET("owner", "bob|d1|", "{'domain':{},'account':null}")), "target.owner",
            FAILURE, "no account bob");
    SPOILED(rules, (OWNED, SET("owner", "bob|d1|", "{'domain':{},'account':{'state':'disabled'}}")),
            "target.owner", FAILURE, "disabled");
    SPOILED(rules,
            (OWNED, SET("owner", "bob|d1|",
                        "{'domain':{},'account':{'state':'enabled','domain':'ROOT'}}")),
            "target.owner", PASS, "ROOT");
    SPOILED(rules,
            (g.spec.target.project_id = literal("pr1"),
             SET("owner", "||pr1", "{'project':{'name':'blue','state':'Suspended'}}")),
            "target.owner", FAILURE, "Suspended");
    SPOILED(rules, (OWNED, SET("unread", "owner", "'denied'")), "target.owner", WARNING, "denied");
#undef OWNED
}

static void
a_vm_that_was_not_found_is_not_in_the_way(void **state)
{
    struct good g;

    good_init(&g);
    g.subject.vm = NULL;
    vec_done(&g.disks);
    rules(&g);
    expect_all_pass(&g.findings);
    good_done(&g);
}

/* ---- the two ways to import ------------------------------------------------------------------- */

#define SHELL (g.spec.import_method = CONFIG_IMPORT_SHELL)
#define READY "{'id':'t1','name':'tiny','isready':true,'ispublic':true,'size':9}"

static void
a_shell_needs_a_template_and_its_commands(void **state)
{
    SPOILED(rules, SHELL, "target.api", FAILURE, "deployVirtualMachine, detachVolume");
    SPOILED(rules, (SHELL, SET("apis", "deployVirtualMachine", "['startvm','iptonetworklist']")),
            "target.shell", FAILURE, "customid");
    SPOILED(rules, (SHELL, SET("template", "z1", "[]")), "target.template", FAILURE,
            "cannot be deployed without one");
    SPOILED(rules, (SHELL, SET("template", "z1", "[" READY "]")), "target.template", PASS, "tiny");
    SPOILED(
        rules,
        (SHELL, SET("template", "z1", "[" READY "]"), g.spec.target.template_id = literal("t9")),
        "target.template", FAILURE, "t9");
    SPOILED(rules,
            (SHELL, SET("template", "z1", "[{'id':'t2','name':'half','isready':false}]"),
             g.spec.target.template_id = literal("t2")),
            "target.template", FAILURE, "half is not ready");
    /* One for others must be theirs to use. */
    SPOILED(rules,
            (SHELL, SET("template", "z1", "[{'id':'t3','name':'own','isready':true}]"),
             g.spec.target.project_id = literal("p")),
            "target.template", FAILURE, "cannot be deployed without one");
}

static void
a_shell_keeps_macs_and_refuses_what_deploying_would(void **state)
{
    SPOILED(rules, (SHELL, SET("apis", "importVm", "['name']")), "target.mac", PASS, "keeps");
    SPOILED(rules, (SHELL, SET("vms", "n1", "[{'id':'v2','name':'WEB01','nic':[]}]")),
            "target.name", FAILURE, "host name");
    SPOILED(rules,
            (SHELL, SET("service_offering", "so1",
                        "{'name':'c','iscustomized':true,'serviceofferingdetails':"
                        "{'maxcpunumber':'1'}}")),
            "target.service_offering", FAILURE, "CloudStack refuses it");
    SPOILED(rules,
            SET("service_offering", "so1",
                "{'name':'c','iscustomized':true,'serviceofferingdetails':{'mincpunumber':'4'}}"),
            "target.service_offering", WARNING, "it gets the least that is allowed");
}

static void
a_placeholder_keeps_the_first_mac_of_an_old_server(void **state)
{
#define PLACEHOLDER(id)                                                                            \
    (SET("apis", "importVm", "['name']"), g.spec.target.placeholder_network_id = literal(id))
    SPOILED(rules, PLACEHOLDER("n2"), "target.placeholder", PASS, "green");
    SPOILED(rules, PLACEHOLDER("n2"), "target.mac", PASS, "keeps");
    SPOILED(rules, PLACEHOLDER("n2"), "target.api", FAILURE, "removeNicFromVirtualMachine");
    SPOILED(rules, PLACEHOLDER("n1"), "target.placeholder", FAILURE, "that of NIC");
    SPOILED(rules, (PLACEHOLDER("n9"), SET("network", "n9", "null")), "target.placeholder", FAILURE,
            "n9");
}

#define KEEP(address) (g.nics.items[0].ip = (address), g.nics.items[0].keeps_ip = true)
#define CIDR                                                                                       \
    SET("network", "n1",                                                                           \
        "{'id':'n1','name':'blue','zoneid':'z1','cidr':'10.1.1.0/24','gateway':'10.1.1.1'}")

static void
an_address_must_be_one_of_the_network_and_free(void **state)
{
    SPOILED(rules, KEEP(NULL), "target.ip", WARNING, "Tools tell none");
    SPOILED(rules, KEEP("10.1.1.7"), "target.ip", PASS, "gives out no addresses");
    SPOILED(rules, (CIDR, KEEP("10.1.1.7")), "target.ip", WARNING, "cannot be told");
    SPOILED(rules, (CIDR, KEEP("10.1.1.7"), SHELL), "target.ip", PASS, "10.1.1.7");
    SPOILED(rules, (CIDR, KEEP("10.1.1.7"), SET("apis", "updateVmNicIp", "['nicid']")), "target.ip",
            PASS, "10.1.1.7");
    SPOILED(rules, (CIDR, KEEP("10.1.2.7")), "target.ip", FAILURE, "not in 10.1.1.0/24");
    SPOILED(rules, (CIDR, KEEP("10.1.1.1")), "target.ip", FAILURE, "gateway");
    SPOILED(rules, (CIDR, KEEP("10.1.1.255")), "target.ip", FAILURE, "no host's address");
    SPOILED(rules,
            (CIDR, KEEP("10.1.1.7"),
             SET("vms", "n1",
                 "[{'id':'v9','name':'x','nic':[{'networkid':'n1','ipaddress':'10.1.1.7'}]}]")),
            "target.ip", FAILURE, "VM x has it");
}

#define SHARED                                                                                     \
    (SET("network", "n1",                                                                          \
         "{'id':'n1','name':'blue','type':'Shared','zoneid':'z1','cidr':'10.1.1.0/24'}"),          \
     SHELL)
#define RANGES                                                                                     \
    SET("ranges", "n1",                                                                            \
        "[{'startipv6':'fd00::1'},{'startip':'10.1.1.9','endip':'10.1.1.11'},"                     \
        "{'startip':'10.1.1.200','endip':'10.1.1.210'}]")

static void
an_address_on_a_shared_network_must_be_in_one_of_its_ranges(void **state)
{
    SPOILED(rules, (SHARED, RANGES, KEEP("10.1.1.9")), "target.ip", PASS, "10.1.1.9");
    SPOILED(rules, (SHARED, RANGES, KEEP("10.1.1.11")), "target.ip", PASS, "10.1.1.11");
    SPOILED(rules, (SHARED, RANGES, KEEP("10.1.1.205")), "target.ip", PASS, "10.1.1.205");
    SPOILED(rules, (SHARED, RANGES, KEEP("10.1.1.8")), "target.ip", FAILURE, "none of the address");
    SPOILED(rules, (SHARED, RANGES, KEEP("10.1.1.12")), "target.ip", FAILURE,
            "none of the address");
    SPOILED(rules, (SHARED, SET("ranges", "n1", "[]"), KEEP("10.1.1.8")), "target.ip", PASS,
            "10.1.1.8");
    SPOILED(rules, (SHARED, SET("unread", "ranges", "'no role'"), KEEP("10.1.1.8")), "target.ip",
            WARNING, "cannot be told: no role");
}

static void
two_nics_of_a_vm_do_not_share_an_address(void **state)
{
    struct good g;

    good_init(&g);
    KEEP("10.1.1.7");
    vec_push(&g.nics,
             ((struct preflight_nic){.key = "4001", .network_id = "n2", .ip = "10.1.1.7"}));
    rules(&g);
    expect(&g.findings, "target.ip", PREFLIGHT_WARNING, "both are to have 10.1.1.7");
    good_done(&g);
}

static void
many_disks_rules(struct good *g)
{
    struct preflight_disk items[10] = {{.is_boot = true}};
    struct preflight_disks disks = {.items = items, .count = ARRAY_SIZE(items)};

    g->subject.disks = &disks;
    target_volume_rules(&g->subject, g->facts, &g->findings);
    g->subject.disks = &g->disks;
}

static void
only_so_many_data_volumes_are_attached(void **state)
{
#define LIMIT(number)                                                                              \
    SET("hypervisor", NULL,                                                                        \
        "[{'hypervisor':'KVM','hypervisorversion':'default','maxdatavolumeslimit':" number "}]")
    SPOILED(rules, (void)0, "target.volumes", PASS, "1 data disks, 64");
    SPOILED(rules, LIMIT("0"), "target.volumes", PASS, "1 data disks, 6 ");
    SPOILED(rules, SET("hypervisor", NULL, "[]"), "target.volumes", PASS, "1 data disks, 6 ");
    SPOILED(rules, json_object_del(g.facts, "hypervisor"), "target.volumes", WARNING,
            "cannot be told");
    SPOILED(many_disks_rules, LIMIT("8"), "target.volumes", FAILURE, "9 data disks");
    SPOILED(many_disks_rules, LIMIT("9"), "target.volumes", WARNING, "the last is refused");
    SPOILED(many_disks_rules, (LIMIT("9"), SHELL), "target.volumes", PASS, "9 data disks");
    SPOILED(many_disks_rules, LIMIT("10"), "target.volumes", PASS, "9 data disks");
    /* A row of the hosts' version counts before the default; which of two is taken nobody knows. */
#define VERSIONS                                                                                   \
    SET("hypervisor", NULL,                                                                        \
        "[{'hypervisor':'KVM','hypervisorversion':'default','maxdatavolumeslimit':64},"            \
        "{'hypervisor':'KVM','hypervisorversion':'8','maxdatavolumeslimit':5}]")
    SPOILED(many_disks_rules, (VERSIONS, SET("hosts", "z1", "[{'hypervisorversion':'8'}]")),
            "target.volumes", FAILURE, "attaches 5");
    SPOILED(many_disks_rules,
            (VERSIONS, SET("hosts", "z1", "[{'hypervisorversion':'8'},{'hypervisorversion':'9'}]")),
            "target.volumes", WARNING, "attaches 5");
}

static void
an_old_server_may_have_been_patched(void **state)
{
    SPOILED(rules, (SET("version", NULL, "'4.20.1.0'"), SET("importable", "p1", "true")),
            "target.pool", WARNING, "must have been patched");
    SPOILED(rules, (SET("version", NULL, "'4.20.1.0'"), SET("importable", "p1", "false")),
            "target.pool", FAILURE, "cannot import");
}

static void
the_guest_id_chooses_the_os_type(void **state)
{
#define NO_TYPE (g.spec.target.os_type_id = NULL)
    SPOILED(rules,
            (NO_TYPE, SET("guest", "debian12_64Guest", "{'id':'o','description':'Debian 12'}")),
            "target.os_type", PASS, "by the guest id");
    SPOILED(rules,
            (NO_TYPE,
             SET("guest", "debian12_64Guest", "{'id':'o','description':'Other','is_guess':true}")),
            "target.os_type", WARNING, "is a guess");
    SPOILED(rules, json_object_del(json_object_get(g.facts, "apis"), "createTags"), "target.tags",
            WARNING, "will not say where it came from");
}

/* ---- which OS type ---------------------------------------------------------------------------- */

static void
expect_type(const char *guest_id, const char *mappings, const char *types, const char *id,
            bool is_guess)
{
    json_t *mapped = good_parse(mappings), *all = good_parse(types);
    struct preflight_os_type type;

    os_type_choose(guest_id, strstr(guest_id, "windows") != NULL, mapped, all, &type);
    if (id)
        assert_string_equal(type.id, id);
    else
        assert_null(type.id);
    assert_int_equal(type.is_guess, is_guess);
    preflight_os_type_done(&type);
    json_decref(mapped);
    json_decref(all);
}

static void
an_os_type_is_found_by_mapping_then_table_then_kind(void **state)
{
    const char *types = "[{'id':'1','description':'Red Hat Enterprise Linux 9.2'},"
                        "{'id':'2','description':'Red Hat Enterprise Linux 9.10'},"
                        "{'id':'3','description':'Other Linux (64-bit)'},"
                        "{'id':'4','description':'Windows Server 2019 (64-bit)'}]";

    expect_type("rhel9_64Guest", "[{'ostypeid':'m','osdisplayname':'RHEL 9'}]", types, "m", false);
    expect_type("rhel9_64Guest", "[]", types, "2", false);
    expect_type("rhel9_64Guest",
                "[{'ostypeid':'a','osdisplayname':'CentOS 9'},"
                "{'ostypeid':'b','osdisplayname':'Red Hat Enterprise Linux 9.0'}]",
                types, "b", false);
    expect_type("other3xLinux64Guest",
                "[{'ostypeid':'a','osdisplayname':'Other 2'},"
                "{'ostypeid':'b','osdisplayname':'Other 10'}]",
                types, "b", true);
    expect_type("vmkernel7Guest", "[]", types, "3", true);
    expect_type("windows99Guest", "[]", types, "4", true);
    expect_type("vmkernel7Guest", "[]", "[]", NULL, false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_target_passes_everything),
        cmocka_unit_test(ids_that_name_nothing_fail),
        cmocka_unit_test(what_could_not_be_asked_is_a_warning),
        cmocka_unit_test(commands_that_the_account_lacks_fail),
        cmocka_unit_test(places_must_belong_together),
        cmocka_unit_test(a_basic_zone_has_one_nic),
        cmocka_unit_test(a_host_must_be_up),
        cmocka_unit_test(a_uefi_vm_needs_a_host_that_can),
        cmocka_unit_test(pools_must_be_usable_from_here),
        cmocka_unit_test(offerings_are_held_against_the_vm),
        cmocka_unit_test(disk_offerings_are_held_against_the_disks),
        cmocka_unit_test(storage_tags_must_be_on_the_pool),
        cmocka_unit_test(devices_must_be_known_words),
        cmocka_unit_test(networks_must_be_usable),
        cmocka_unit_test(addresses_and_names_may_be_taken),
        cmocka_unit_test(nics_are_compared_with_the_plan),
        cmocka_unit_test(owners_must_exist_and_be_active),
        cmocka_unit_test(a_vm_that_was_not_found_is_not_in_the_way),
        cmocka_unit_test(a_shell_needs_a_template_and_its_commands),
        cmocka_unit_test(a_shell_keeps_macs_and_refuses_what_deploying_would),
        cmocka_unit_test(a_placeholder_keeps_the_first_mac_of_an_old_server),
        cmocka_unit_test(an_address_must_be_one_of_the_network_and_free),
        cmocka_unit_test(an_address_on_a_shared_network_must_be_in_one_of_its_ranges),
        cmocka_unit_test(two_nics_of_a_vm_do_not_share_an_address),
        cmocka_unit_test(only_so_many_data_volumes_are_attached),
        cmocka_unit_test(an_old_server_may_have_been_patched),
        cmocka_unit_test(the_guest_id_chooses_the_os_type),
        cmocka_unit_test(an_os_type_is_found_by_mapping_then_table_then_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
