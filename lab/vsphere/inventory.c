/* The inventory: what there is besides VMs, and the properties of all of it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

#define HOST_MEMORY (256LL * 1024 * 1024 * 1024)

/* ---- the tree --------------------------------------------------------------------------------- */

static struct vs_entity *
add(struct lab_vsphere *vs, const char *type, const char *prefix, unsigned number, const char *name,
    const char *parent, const char *datacenter)
{
    struct vs_entity entity = {0};

    (void)snprintf(entity.moref, sizeof(entity.moref), "%s%u", prefix, number);
    (void)snprintf(entity.type, sizeof(entity.type), "%s", type);
    (void)snprintf(entity.name, sizeof(entity.name), "%s", name);
    (void)snprintf(entity.parent, sizeof(entity.parent), "%s", parent);
    (void)snprintf(entity.datacenter, sizeof(entity.datacenter), "%s", datacenter);
    vec_push(&vs->entities, entity);
    return &vs->entities.items[vs->entities.count - 1];
}

static char *
add_folder(struct lab_vsphere *vs, const char *prefix, unsigned number, const char *name,
           const char *parent, const char *datacenter, const char *child_type)
{
    struct vs_entity *folder = add(vs, "Folder", prefix, number, name, parent, datacenter);

    (void)snprintf(folder->child_type, sizeof(folder->child_type), "%s", child_type);
    return xstrdup(folder->moref);
}

static void
add_networks(struct lab_vsphere *vs, const char *datacenter, const char *folder, unsigned number)
{
    struct lab *lab = vs->lab;

    for (size_t i = 0; i < lab->vms.count; i++) {
        const struct lab_vm *vm = lab->vms.items[i];

        for (size_t n = 0; n < vm->nics.count && !strcmp(vm->datacenter, datacenter); n++) {
            const char *name = vm->nics.items[n].network;
            bool is_there = false;

            for (size_t e = 0; e < vs->entities.count; e++)
                is_there = is_there || (!strcmp(vs->entities.items[e].type, "Network") &&
                                        !strcmp(vs->entities.items[e].name, name) &&
                                        !strcmp(vs->entities.items[e].datacenter, datacenter));
            if (!is_there)
                add(vs, "Network", "network-", number++, name, folder, datacenter);
        }
    }
}

static void
add_datacenter(struct lab_vsphere *vs, const char *name, unsigned base)
{
    char datacenter[32], cluster[32], host_name[96];
    CLEANUP(free_charp) char *folder_vm = NULL;
    CLEANUP(free_charp) char *folder_host = NULL;
    CLEANUP(free_charp) char *folder_datastore = NULL;
    CLEANUP(free_charp) char *folder_network = NULL;

    (void)snprintf(datacenter, sizeof(datacenter), "datacenter-%u", base);
    (void)snprintf(cluster, sizeof(cluster), "domain-c%u", base + 5);
    (void)snprintf(host_name, sizeof(host_name), "esx1.%s.lab", name);
    add(vs, "Datacenter", "datacenter-", base, name, "group-d1", name);
    folder_vm = add_folder(vs, "group-v", base + 1, "vm", datacenter, name, "VirtualMachine");
    folder_host = add_folder(vs, "group-h", base + 2, "host", datacenter, name, "ComputeResource");
    folder_datastore =
        add_folder(vs, "group-s", base + 3, "datastore", datacenter, name, "Datastore");
    folder_network = add_folder(vs, "group-n", base + 4, "network", datacenter, name, "Network");
    add(vs, "ClusterComputeResource", "domain-c", base + 5, "cluster1", folder_host, name);
    add(vs, "HostSystem", "host-", base + 6, host_name, cluster, name);
    add(vs, "ResourcePool", "resgroup-", base + 7, "Resources", cluster, name);
    add(vs, "Datastore", "datastore-", base + 8, "ds1", folder_datastore, name);
    for (size_t i = 0; i < vs->lab->settings.datastores.count; i++)
        if (strcmp(vs->lab->settings.datastores.items[i].name, "ds1") != 0)
            add(vs, "Datastore", "datastore-", base + 9 + (unsigned)i,
                vs->lab->settings.datastores.items[i].name, folder_datastore, name);
    add_networks(vs, name, folder_network, base + 20);
}

void
vs_inventory_build(struct lab_vsphere *vs)
{
    struct lab *lab = vs->lab;
    unsigned base = 1001;

    free(add_folder(vs, "group-d", 1, "Datacenters", "", "", "Datacenter"));
    for (size_t i = 0; i < lab->vms.count; i++) {
        if (vs_entity_role(vs, lab->vms.items[i]->datacenter, "Datacenter", NULL))
            continue;
        add_datacenter(vs, lab->vms.items[i]->datacenter, base);
        base += 1000;
    }
}

struct vs_entity *
vs_entity_find(struct lab_vsphere *vs, const char *moref)
{
    for (size_t i = 0; i < vs->entities.count; i++)
        if (!strcmp(vs->entities.items[i].moref, moref))
            return &vs->entities.items[i];
    return NULL;
}

struct vs_entity *
vs_entity_role(struct lab_vsphere *vs, const char *datacenter, const char *type,
               const char *child_type)
{
    for (size_t i = 0; i < vs->entities.count; i++) {
        struct vs_entity *entity = &vs->entities.items[i];

        if (!strcmp(entity->datacenter, datacenter) && !strcmp(entity->type, type) &&
            (!child_type || !strcmp(entity->child_type, child_type)))
            return entity;
    }
    return NULL;
}

const char *
vs_parent_of(struct lab_vsphere *vs, const char *moref)
{
    const struct vs_entity *entity = vs_entity_find(vs, moref);
    const struct lab_vm *vm = entity ? NULL : lab_find_vm(vs->lab, moref);

    if (vm)
        return vs_entity_role(vs, vm->datacenter, "Folder", "VirtualMachine")->moref;
    return entity ? entity->parent : "";
}

/* What a VM's name looks like where a slash would end it. */
void
vs_escape_name(const char *name, char *to, size_t room)
{
    size_t at = 0;

    for (; *name && at + 4 < room; name++) {
        if (*name == '/' || *name == '%' || *name == '\\') {
            to[at] = '%';
            (void)lab_put_hex(to + at + 1, (uint8_t)*name);
            at += 3;
        } else {
            to[at++] = *name;
        }
    }
    to[at] = '\0';
}

/* ---- classes ---------------------------------------------------------------------------------- */

bool
vs_type_is(const char *type, const char *base)
{
    static const char *const ENTITIES[] = {
        "Folder",    "Datacenter", "ComputeResource", "ClusterComputeResource", "HostSystem",
        "Datastore", "Network",    "ResourcePool",    "VirtualMachine"};
    bool is_entity = false;

    if (!strcmp(type, base) || !strcmp(base, "ManagedObject"))
        return true;
    if (!strcmp(type, "ClusterComputeResource") && !strcmp(base, "ComputeResource"))
        return true;
    if (!strcmp(type, "ContainerView") &&
        (!strcmp(base, "View") || !strcmp(base, "ManagedObjectView")))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(ENTITIES); i++)
        is_entity = is_entity || !strcmp(type, ENTITIES[i]);
    return (is_entity &&
            (!strcmp(base, "ManagedEntity") || !strcmp(base, "ExtensibleManagedObject"))) ||
           (!strcmp(type, "Task") && !strcmp(base, "ExtensibleManagedObject"));
}

static const struct {
    const char *moref, *type;
} SINGLETONS[] = {
    {"ServiceInstance", "ServiceInstance"},
    {"propertyCollector", "PropertyCollector"},
    {"ViewManager", "ViewManager"},
    {"SessionManager", "SessionManager"},
    {"SearchIndex", "SearchIndex"},
    {"TaskManager", "TaskManager"},
    {"AuthorizationManager", "AuthorizationManager"},
};

const char *
vs_object_type(struct lab_vsphere *vs, const char *moref, const char *cookie)
{
    const struct vs_entity *entity = vs_entity_find(vs, moref);
    const struct vs_view *view;

    if (entity)
        return entity->type;
    if (lab_find_vm(vs->lab, moref))
        return "VirtualMachine";
    if (vs_snapshot_vm(vs->lab, moref))
        return "VirtualMachineSnapshot";
    if (vs_task_find(vs, moref))
        return "Task";
    view = vs_view_find(vs, moref);
    if (view)
        return strcmp(view->cookie, cookie) ? NULL : "ContainerView";
    if (!strncmp(moref, "session[", 8))
        return vs_collector_object(vs, moref, cookie);
    for (size_t i = 0; i < ARRAY_SIZE(SINGLETONS); i++)
        if (!strcmp(SINGLETONS[i].moref, moref))
            return SINGLETONS[i].type;
    return NULL;
}

/* ---- properties ------------------------------------------------------------------------------- */

static struct value *
about(struct lab_vsphere *vs)
{
    struct value *value = value_object("AboutInfo");

    value_set(value, "name", value_string("VMware vCenter Server"));
    value_set(value, "fullName", value_string("VMware vCenter Server 8.0.2 build-22617221"));
    value_set(value, "vendor", value_string("VMware, Inc."));
    value_set(value, "version", value_string("8.0.2"));
    value_set(value, "build", value_string("22617221"));
    value_set(value, "localeVersion", value_string("INTL"));
    value_set(value, "localeBuild", value_string("000"));
    value_set(value, "osType", value_string("linux-x64"));
    value_set(value, "productLineId", value_string("vpx"));
    value_set(value, "apiType", value_string("VirtualCenter"));
    value_set(value, "apiVersion", value_string("8.0.2.0"));
    value_set(value, "instanceUuid", value_string(vs->instance_uuid));
    value_set(value, "licenseProductName", value_string("VMware VirtualCenter Server"));
    value_set(value, "licenseProductVersion", value_string("8.0"));
    return value;
}

struct value *
vs_service_content(struct lab_vsphere *vs)
{
    struct value *value = value_object("ServiceContent");

    value_set(value, "rootFolder", value_ref("Folder", "group-d1"));
    value_set(value, "propertyCollector", value_ref("PropertyCollector", "propertyCollector"));
    value_set(value, "viewManager", value_ref("ViewManager", "ViewManager"));
    value_set(value, "about", about(vs));
    value_set(value, "sessionManager", value_ref("SessionManager", "SessionManager"));
    value_set(value, "authorizationManager",
              value_ref("AuthorizationManager", "AuthorizationManager"));
    value_set(value, "taskManager", value_ref("TaskManager", "TaskManager"));
    value_set(value, "searchIndex", value_ref("SearchIndex", "SearchIndex"));
    return value;
}

/* References to everything of @type in a datacenter. */
static struct value *
refs_of_type(struct lab_vsphere *vs, const char *datacenter, const char *type)
{
    struct value *list = value_list("ManagedObjectReference");

    for (size_t i = 0; i < vs->entities.count; i++)
        if (!strcmp(vs->entities.items[i].datacenter, datacenter) &&
            !strcmp(vs->entities.items[i].type, type))
            value_add(list, value_ref(type, vs->entities.items[i].moref));
    for (size_t i = 0; i < vs->lab->vms.count && !strcmp(type, "VirtualMachine"); i++)
        if (!strcmp(vs->lab->vms.items[i]->datacenter, datacenter))
            value_add(list, value_ref(type, vs->lab->vms.items[i]->moref));
    return list;
}

static struct value *
children(struct lab_vsphere *vs, const struct vs_entity *folder)
{
    struct value *list = value_list("ManagedObjectReference");

    if (!strcmp(folder->child_type, "VirtualMachine")) {
        value_free(list);
        return refs_of_type(vs, folder->datacenter, "VirtualMachine");
    }
    for (size_t i = 0; i < vs->entities.count; i++)
        if (!strcmp(vs->entities.items[i].parent, folder->moref))
            value_add(list, value_ref(vs->entities.items[i].type, vs->entities.items[i].moref));
    return list;
}

static struct value *
child_types(const struct vs_entity *folder)
{
    struct value *list = value_list("string");

    value_add(list, value_string("Folder"));
    value_add(list, value_string(folder->child_type));
    return list;
}

static struct value *
role_ref(struct lab_vsphere *vs, const struct vs_entity *entity, const char *type,
         const char *child_type)
{
    const struct vs_entity *other = vs_entity_role(vs, entity->datacenter, type, child_type);

    return other ? value_ref(other->type, other->moref) : NULL;
}

static struct lab_datastore
datastore_of(struct lab_vsphere *vs, const char *name)
{
    struct lab_datastore plain = {
        .maintenance = "normal", .capacity = 4ULL << 40, .free_bytes = 2ULL << 40};

    for (size_t i = 0; i < vs->lab->settings.datastores.count; i++)
        if (!strcmp(vs->lab->settings.datastores.items[i].name, name))
            return vs->lab->settings.datastores.items[i];
    return plain;
}

static struct value *
datastore_summary(struct lab_vsphere *vs, const struct vs_entity *entity)
{
    struct lab_datastore datastore = datastore_of(vs, entity->name);
    int kind = vs->lab->settings.datastore_type;
    struct value *value = value_object("DatastoreSummary");

    value_set(value, "datastore", value_ref("Datastore", entity->moref));
    value_set(value, "name", value_string(entity->name));
    value_set(value, "url", value_stringf("ds:///vmfs/volumes/%s/", entity->moref));
    value_set(value, "capacity", value_long((int64_t)datastore.capacity));
    value_set(value, "freeSpace", value_long((int64_t)datastore.free_bytes));
    value_set(value, "accessible", value_bool(!datastore.is_inaccessible));
    value_set(value, "multipleHostAccess", value_bool(false));
    value_set(value, "type",
              value_string(*datastore.type ? datastore.type : LAB_DATASTORE_TYPES[kind]));
    value_set(value, "maintenanceMode", value_string(datastore.maintenance));
    return value;
}

static struct value *
host_runtime(struct lab_vsphere *vs)
{
    struct value *value = value_object("HostRuntimeInfo");

    value_set(value, "connectionState", value_word("HostSystemConnectionState", "connected"));
    value_set(value, "powerState", value_word("HostSystemPowerState", "poweredOn"));
    value_set(value, "inMaintenanceMode", value_bool(vs->lab->settings.is_host_in_maintenance));
    return value;
}

static struct value *
host_summary(struct lab_vsphere *vs, const struct vs_entity *entity)
{
    struct value *value = value_object("HostListSummary");
    struct value *hardware = value_object("HostHardwareSummary");
    struct value *config = value_object("HostConfigSummary");
    struct value *product = about(vs);

    value_set(hardware, "vendor", value_string("V2C"));
    value_set(hardware, "model", value_string("Pretend host"));
    value_set(hardware, "uuid", value_string(vs->instance_uuid));
    value_set(hardware, "memorySize", value_long(HOST_MEMORY));
    value_set(hardware, "cpuModel", value_string("Pretend CPU"));
    value_set(hardware, "cpuMhz", value_int(2600));
    value_set(hardware, "numCpuPkgs", value_word("short", "2"));
    value_set(hardware, "numCpuCores", value_word("short", "32"));
    value_set(hardware, "numCpuThreads", value_word("short", "64"));
    value_set(hardware, "numNics", value_int(2));
    value_set(hardware, "numHBAs", value_int(1));
    value_set(product, "name", value_string("VMware ESXi"));
    value_set(product, "fullName",
              value_stringf("VMware ESXi %s build-22380479", vs->lab->settings.esxi_version));
    value_set(product, "version", value_string(vs->lab->settings.esxi_version));
    value_set(product, "productLineId", value_string("embeddedEsx"));
    value_set(product, "apiType", value_string("HostAgent"));
    value_set(config, "name", value_string(entity->name));
    value_set(config, "port", value_int(902));
    value_set(config, "product", product);
    value_set(value, "host", value_ref("HostSystem", entity->moref));
    value_set(value, "hardware", hardware);
    value_set(value, "runtime", host_runtime(vs));
    value_set(value, "config", config);
    value_set(value, "quickStats", value_object("HostListSummaryQuickStats"));
    value_set(value, "overallStatus", value_word("ManagedEntityStatus", "green"));
    return value;
}

static struct value *
cluster_summary(void)
{
    struct value *value = value_object("ClusterComputeResourceSummary");

    value_set(value, "totalCpu", value_int(83200));
    value_set(value, "totalMemory", value_long(HOST_MEMORY));
    value_set(value, "numHosts", value_int(1));
    value_set(value, "numEffectiveHosts", value_int(1));
    value_set(value, "overallStatus", value_word("ManagedEntityStatus", "green"));
    return value;
}

static struct value *
network_summary(const struct vs_entity *entity)
{
    struct value *value = value_object("NetworkSummary");

    value_set(value, "network", value_ref("Network", entity->moref));
    value_set(value, "name", value_string(entity->name));
    value_set(value, "accessible", value_bool(true));
    return value;
}

static struct value *
summary(struct lab_vsphere *vs, const struct vs_entity *entity)
{
    if (!strcmp(entity->type, "Datastore"))
        return datastore_summary(vs, entity);
    if (!strcmp(entity->type, "HostSystem"))
        return host_summary(vs, entity);
    if (!strcmp(entity->type, "ClusterComputeResource"))
        return cluster_summary();
    if (!strcmp(entity->type, "Network"))
        return network_summary(entity);
    return NULL;
}

/* Properties whose value is other things of the same datacenter. */
static struct value *
relation(struct lab_vsphere *vs, const struct vs_entity *entity, const char *name)
{
    static const struct {
        const char *property, *type, *child_type; /* child_type: one folder */
    } RELATIONS[] = {
        {"vmFolder", "Folder", "VirtualMachine"},
        {"hostFolder", "Folder", "ComputeResource"},
        {"datastoreFolder", "Folder", "Datastore"},
        {"networkFolder", "Folder", "Network"},
        {"datastore", "Datastore", NULL},
        {"network", "Network", NULL},
        {"host", "HostSystem", NULL},
        {"vm", "VirtualMachine", NULL},
    };

    if (!strcmp(name, "owner"))
        return role_ref(vs, entity, "ClusterComputeResource", NULL);
    if (!strcmp(name, "resourcePool") && !strcmp(entity->type, "ClusterComputeResource"))
        return role_ref(vs, entity, "ResourcePool", NULL);
    if (!strcmp(name, "host") && !strcmp(entity->type, "Datastore"))
        return NULL; /* mounts, not references */
    for (size_t i = 0; i < ARRAY_SIZE(RELATIONS); i++) {
        if (strcmp(RELATIONS[i].property, name) != 0)
            continue;
        if (RELATIONS[i].child_type)
            return role_ref(vs, entity, RELATIONS[i].type, RELATIONS[i].child_type);
        return refs_of_type(vs, entity->datacenter, RELATIONS[i].type);
    }
    return NULL;
}

static struct value *
entity_property(struct lab_vsphere *vs, const struct vs_entity *entity, const char *name)
{
    const char *parent = entity->parent;

    if (!strcmp(name, "name"))
        return value_string(entity->name);
    if (!strcmp(name, "parent"))
        return *parent ? value_ref(vs_entity_find(vs, parent)->type, parent) : NULL;
    if (!strcmp(name, "overallStatus") || !strcmp(name, "configStatus"))
        return value_word("ManagedEntityStatus", "green");
    if (!strcmp(name, "childEntity"))
        return children(vs, entity);
    if (!strcmp(name, "childType"))
        return child_types(entity);
    if (!strcmp(name, "summary"))
        return summary(vs, entity);
    if (!strcmp(name, "runtime") && !strcmp(entity->type, "HostSystem"))
        return host_runtime(vs);
    return relation(vs, entity, name);
}

static struct value *
session_manager_property(struct lab_vsphere *vs, const char *name, const char *cookie)
{
    const struct vs_session *session = vs_session_find(vs, cookie);

    if (!strcmp(name, "currentSession") && session)
        return vs_session_value(session);
    if (!strcmp(name, "defaultLocale"))
        return value_string("en");
    return NULL;
}

static struct value *
view_property(struct lab_vsphere *vs, const struct vs_view *view, const char *name)
{
    if (!strcmp(name, "view"))
        return vs_view_members(vs, view);
    if (!strcmp(name, "container"))
        return value_ref(vs_entity_find(vs, view->container)->type, view->container);
    if (!strcmp(name, "recursive"))
        return value_bool(view->is_recursive);
    return NULL;
}

static struct value *
service_instance_property(struct lab_vsphere *vs, const char *name)
{
    if (!strcmp(name, "content"))
        return vs_service_content(vs);
    if (!strcmp(name, "serverClock"))
        return value_time_ms((uint64_t)clock_wall_ms());
    if (!strcmp(name, "capability"))
        return value_object("Capability");
    return NULL;
}

struct value *
vs_property(struct lab_vsphere *vs, const char *type, const char *moref, const char *name,
            const char *cookie)
{
    const struct vs_entity *entity = vs_entity_find(vs, moref);
    struct lab_vm *vm = lab_find_vm(vs->lab, moref);

    if (entity)
        return entity_property(vs, entity, name);
    if (vm)
        return vs_vm_property(vs, vm, name);
    vm = vs_snapshot_vm(vs->lab, moref);
    if (vm)
        return vs_snapshot_property(vs, vm, lab_find_snapshot(vm, moref), name);
    if (!strcmp(type, "Task"))
        return strcmp(name, "info") ? NULL : vs_task_info(vs, vs_task_find(vs, moref));
    if (!strcmp(type, "ContainerView"))
        return view_property(vs, vs_view_find(vs, moref), name);
    if (!strcmp(type, "SessionManager"))
        return session_manager_property(vs, name, cookie);
    if (!strcmp(type, "ServiceInstance"))
        return service_instance_property(vs, name);
    return NULL;
}
