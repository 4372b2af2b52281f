#include "support.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

/* What CloudStack would say. */
static const char target[] =
    "{'version':'4.22.1.0',"
    "'capability':{'customdiskofferingminsize':1,'customdiskofferingmaxsize':1024},"
    "'apis':{'importVm':['name','macaddress'],'queryAsyncJobResult':[],'listVirtualMachines':[],"
    "'listVolumes':[],'listServiceOfferings':[],'listStoragePools':[],'importVolume':[],"
    "'attachVolume':[],'addNicToVirtualMachine':['macaddress'],'startVirtualMachine':[],"
    "'updateVirtualMachine':[],'createTags':[]},"
    "'zone':{'z1':{'id':'z1','name':'zone one','networktype':'Advanced','allocationstate':"
    "'Enabled'}},"
    "'cluster':{'c1':{'id':'c1','name':'cluster one','zoneid':'z1','hypervisortype':'KVM',"
    "'allocationstate':'Enabled','managedstate':'Managed'}},"
    "'pool':{'p1':{'id':'p1','name':'primary','type':'SharedMountPoint','state':'Up','scope':"
    "'CLUSTER','clusterid':'c1','zoneid':'z1','hypervisor':'KVM','disksizetotal':109951162777600,"
    "'disksizeused':0,'disksizeallocated':0,'overprovisionfactor':'2.0'}},"
    "'dir':{'p1':{'path':'/mnt/primary','free':1099511627776}},"
    "'hosts':{'z1':[{'id':'h1','name':'kvm1','state':'Up','resourcestate':'Enabled','clusterid':"
    "'c1','ueficapability':true,'memorytotal':68719476736,'memoryallocatedbytes':0}]},"
    "'network':{'n1':{'id':'n1','name':'blue','type':'Isolated','state':'Implemented','zoneid':"
    "'z1','canusefordeploy':true},'n2':{'id':'n2','name':'green','type':'L2','state':'Setup',"
    "'zoneid':'z1','canusefordeploy':true}},"
    "'vms':{'n1':[],'n2':[]},"
    "'service_offering':{'so1':{'id':'so1','name':'medium','cpunumber':2,'memory':4096,"
    "'iscustomized':false,'storagetype':'shared','state':'Active'}},"
    "'disk_offering':{'do1':{'id':'do1','name':'any','iscustomized':true,'storagetype':'shared',"
    "'state':'Active','encrypt':false}},"
    "'os_type':{'os1':{'id':'os1','description':'Debian 12'}},"
    "'hypervisor':[{'hypervisor':'KVM','hypervisorversion':'default','maxdatavolumeslimit':64}],"
    "'thresholds':{'z1':{'used':0.85,'allocated':0.85}},"
    "'details':{'rootDiskController':['virtio','scsi'],'nicAdapter':['virtio']}}";

json_t *
good_parse(const char *text)
{
    CLEANUP(free_charp) char *copy = xstrdup(text);
    json_error_t why;
    json_t *json;

    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    json = json_loads(copy, JSON_DECODE_ANY, &why);
    if (!json)
        fail_msg("%s: %s", why.text, copy);
    return json;
}

char *
literal(const char *text)
{
    union {
        const char *in;
        char *out;
    } cast = {.in = text};

    return cast.out;
}

static void
make_spec(struct spec *spec)
{
    *spec = (struct spec){
        .vm = {.name = literal("web01")},
        .quiesce = CONFIG_QUIESCE_AUTO,
        .shutdown = CONFIG_SHUTDOWN_AUTO,
        .start_vm_after_import = true,
        .primary_nic = -1,
        .target = {.zone_id = literal("z1"),
                   .cluster_id = literal("c1"),
                   .storage_id = literal("p1"),
                   .network_id = literal("n1"),
                   .service_offering_id = literal("so1"),
                   .disk_offering_id = literal("do1"),
                   .os_type_id = literal("os1"),
                   .root_disk_controller = literal("virtio"),
                   .nic_adapter = literal("virtio")},
    };
}

static void
make_vm(struct good *good)
{
    good->disk_items[0] = (struct vsphere_disk){.key = 2000,
                                                .label = literal("Hard disk 1"),
                                                .datastore = literal("datastore-1"),
                                                .mode = literal("persistent"),
                                                .capacity = 20 * GIB};
    good->disk_items[1] = good->disk_items[0];
    good->disk_items[1].key = 2001;
    good->disk_items[1].unit = 1;
    good->nic_items[0] = (struct vsphere_nic){
        .key = 4000, .label = literal("Network adapter 1"), .mac = literal("00:50:56:00:00:01")};
    good->nic_items[1] = good->nic_items[0];
    good->nic_items[1].key = 4001;
    good->nic_items[1].label = literal("Network adapter 2");
    good->nic_items[1].mac = literal("00:50:56:00:00:02");
    good->vm = (struct vsphere_vm){
        .moref = literal("vm-7"),
        .name = literal("web01"),
        .instance_uuid = literal("502c"),
        .bios_uuid = literal("422c"),
        .datacenter = literal("DC1"),
        .guest_id = literal("debian12_64Guest"),
        .guest_full_name = literal("Debian 12"),
        .version = literal("vmx-19"),
        .firmware = literal("bios"),
        .power = VSPHERE_POWERED_ON,
        .tools_status = literal("guestToolsRunning"),
        .connection_state = literal("connected"),
        .host = literal("host-1"),
        .is_cbt_supported = true,
        .is_cbt_enabled = true,
        .cpu_count = 2,
        .memory_mib = 4096,
        .disks = {.items = good->disk_items, .count = 2},
        .nics = {.items = good->nic_items, .count = 1},
    };
}

void
good_init(struct good *good)
{
    memset(good, 0, sizeof(*good));
    make_spec(&good->spec);
    make_vm(good);
    good->vm_facts = (struct vsphere_vm_facts){.untracked = literal("")};
    good->datastore_items[0] = (struct vsphere_datastore_state){.moref = literal("datastore-1"),
                                                                .name = literal("ds1"),
                                                                .type = literal("VMFS"),
                                                                .capacity = TIB,
                                                                .free_bytes = TIB / 2,
                                                                .is_accessible = true,
                                                                .maintenance = literal("normal")};
    good->datastores =
        (struct vsphere_datastore_states){.items = good->datastore_items, .count = 1, .room = 1};
    good->host_items[0] = (struct vsphere_host){.moref = literal("host-1"),
                                                .name = literal("esx1"),
                                                .version = literal("8.0.2"),
                                                .connection_state = literal("connected")};
    good->hosts = (struct vsphere_hosts){.items = good->host_items, .count = 1, .room = 1};
    good->facts = good_parse(target);
    good->subject = (struct subject){.spec = &good->spec,
                                     .vm = &good->vm,
                                     .facts = &good->vm_facts,
                                     .missing_privileges = "",
                                     .datastores = &good->datastores,
                                     .hosts = &good->hosts,
                                     .disks = &good->disks,
                                     .nics = &good->nics};
    good_plan(good);
}

void
good_plan(struct good *good)
{
    CLEANUP(err_freep) struct err *err = NULL;

    vec_done(&good->disks);
    vec_done(&good->nics);
    preflight_plan_nics(&good->spec, &good->vm, &good->nics);
    assert_ok(preflight_plan_disks(&good->spec, &good->vm, &good->disks, &err), &err);
}

void
good_done(struct good *good)
{
    vec_done(&good->disks);
    vec_done(&good->nics);
    json_decref(good->facts);
    preflight_findings_done(&good->findings);
}

void
good_set(struct good *good, const char *kind, const char *id, const char *json)
{
    json_t *object = json_object_get(good->facts, kind);

    if (!id) {
        json_object_set_new(good->facts, kind, good_parse(json));
        return;
    }
    if (!object) {
        object = json_object();
        json_object_set_new(good->facts, kind, object);
    }
    json_object_set_new(object, id, good_parse(json));
}

const struct preflight_finding *
find_finding(const struct preflight_findings *findings, const char *check,
             enum preflight_status status)
{
    for (size_t i = 0; i < findings->count; i++)
        if (!strcmp(findings->items[i].check, check) && findings->items[i].status == status)
            return &findings->items[i];
    return NULL;
}

static void
print_findings(const struct preflight_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        (void)fprintf(stderr, "%s %s: %s\n", preflight_status_name(findings->items[i].status),
                      findings->items[i].check, findings->items[i].message);
}

void
expect(const struct preflight_findings *findings, const char *check, enum preflight_status status,
       const char *wanted)
{
    for (size_t i = 0; i < findings->count; i++)
        if (!strcmp(findings->items[i].check, check) && findings->items[i].status == status &&
            strstr(findings->items[i].message, wanted)) {
            /* A failure that says nothing of its cure helps nobody. */
            assert_true(status != PREFLIGHT_FAILURE || findings->items[i].cure);
            return;
        }
    print_findings(findings);
    fail_msg("no %s of %s with \"%s\"", preflight_status_name(status), check, wanted);
}

void
expect_all_pass(const struct preflight_findings *findings)
{
    if (preflight_worst(findings) == PREFLIGHT_PASS)
        return;
    print_findings(findings);
    fail_msg("not all pass");
}
