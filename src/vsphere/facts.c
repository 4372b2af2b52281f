/* What a preflight asks besides the VMs: hosts, datastores, privileges, the clock. */
#include "vsphere/internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define MAX_LISTED 100000
#define MAX_NAMES  8192

static char *
text_or_empty(const char *text)
{
    return xstrdup(text ? text : "");
}

/* ---- facts of VMs ----------------------------------------------------------------------------- */

struct fact_reading {
    const char *const *morefs;
    size_t count;
    struct vsphere_vm_facts *facts;
};

void
vsphere_vm_facts_done(struct vsphere_vm_facts *facts)
{
    free(facts->untracked);
    memset(facts, 0, sizeof(*facts));
}

static char *
list_untracked(const struct object *object, struct err **err)
{
    CLEANUP(vsphere_disks_done) struct vsphere_disks disks = {0};
    struct str text = STR_INIT(MAX_NAMES);

    if (devices_read_disks(object_get(object, "config.hardware.device"), &disks, err) < 0)
        return NULL;
    for (size_t i = 0; i < disks.count; i++) {
        char address[32];

        if (!cbt_is_disabled(object_get(object, "config.extraConfig"), &disks.items[i]))
            continue;
        vsphere_disk_address(&disks.items[i], address);
        str_appendf(&text, "%s%s", text.length ? ", " : "", address);
    }
    return str_take(&text);
}

static bool
is_method_disabled(const struct object *object, const char *method)
{
    const struct xml_node *list = object_get(object, "disabledMethod");

    for (const struct xml_node *n = list ? list->first_child : NULL; n; n = n->next)
        if (!strcmp(n->text, method))
            return true;
    return false;
}

static int
on_facts(void *opaque, const struct object *object, struct err **err)
{
    struct fact_reading *reading = opaque;
    const char *tolerance = object_text(object, "runtime.faultToleranceState");

    for (size_t i = 0; i < reading->count; i++) {
        struct vsphere_vm_facts *facts = &reading->facts[i];
        char *untracked;

        if (strcmp(reading->morefs[i], object->moref) != 0)
            continue;
        untracked = list_untracked(object, err);
        if (!untracked)
            return err_wrap(err, "%s", object->moref);
        vsphere_vm_facts_done(facts);
        facts->is_fault_tolerant = tolerance && strcmp(tolerance, "notConfigured") != 0;
        facts->is_snapshot_disabled = is_method_disabled(object, "CreateSnapshot_Task");
        facts->untracked = untracked;
    }
    return 0;
}

int
vsphere_read_vm_facts(struct vsphere *vsphere, const char *const *morefs, size_t count,
                      struct vsphere_vm_facts *ret_facts, struct err **err)
{
    static const char *const paths[] = {"runtime.host",           "runtime.faultToleranceState",
                                        "disabledMethod",         "config.extraConfig",
                                        "config.hardware.device", NULL};
    struct vsphere_vm_facts *facts = xcalloc(count + 1, sizeof(*facts));
    struct fact_reading reading = {morefs, count, facts};
    int result =
        props_read_many(vsphere, "VirtualMachine", morefs, count, paths, on_facts, &reading, err);

    for (size_t i = 0; i < count; i++) {
        if (result < 0) {
            vsphere_vm_facts_done(&facts[i]);
            continue;
        }
        ret_facts[i] = facts[i];
        if (!ret_facts[i].untracked)
            ret_facts[i].untracked = xstrdup("");
    }
    free(facts);
    return result;
}

/* ---- privileges ------------------------------------------------------------------------------- */

/* Which every session has that can read a VM: where the answer says no, it speaks of another session. */
#define CONTROL_PRIVILEGE "System.View"

static int
read_authorization_manager(struct vsphere *vsphere, char **ret_moref, struct err **err)
{
    const struct call call = {
        .method = "RetrieveServiceContent", .type = "ServiceInstance", .moref = "ServiceInstance"};
    CLEANUP(answer_done) struct answer answer = {0};
    const char *moref;

    if (soap_call(vsphere, &call, &answer, err) < 0)
        return -1;
    moref = xml_child_text(answer.result, "authorizationManager");
    if (!moref || !*moref)
        return err_set(err, E_VSPHERE_FAULT, "the service content has no authorizationManager");
    *ret_moref = xstrdup(moref);
    return 0;
}

static int
on_session(void *opaque, const struct object *object, struct err **err)
{
    const char *key = xml_child_text(object_get(object, "currentSession"), "key");

    if (!key || !*key)
        return err_set(err, E_VSPHERE_PROTOCOL, "the session has no key");
    free(*(char **)opaque);
    *(char **)opaque = xstrdup(key);
    return 0;
}

static int
read_session_key(struct vsphere *vsphere, char **ret_key, struct err **err)
{
    static const char *const paths[] = {"currentSession", NULL};
    CLEANUP(free_charp) char *key = NULL;

    if (props_read(vsphere, "SessionManager", vsphere->session_manager, paths, on_session, &key,
                   err) < 0)
        return -1;
    if (!key)
        return err_set(err, E_VSPHERE_PROTOCOL, "the session manager shows no session");
    *ret_key = take(key);
    return 0;
}

struct privilege_reading {
    const char *const *morefs;
    size_t count;
    struct str *missing;
    bool *is_seen;
    bool is_foreign; /* the answer is not about this session */
};

static void
read_availability(const struct xml_node *entity, struct privilege_reading *reading, size_t index)
{
    reading->is_seen[index] = true;
    for (const struct xml_node *p = xml_child(entity, "privAvailability"); p; p = xml_next(p)) {
        const char *id = xml_child_text(p, "privId");

        if (!id || xml_child_is_true(p, "isGranted"))
            continue;
        if (!strcmp(id, CONTROL_PRIVILEGE))
            reading->is_foreign = true;
        str_appendf(&reading->missing[index], "%s%s", reading->missing[index].length ? ", " : "",
                    id);
    }
}

static int
on_privileges(void *opaque, const struct xml_node *node, struct err **err)
{
    struct privilege_reading *reading = opaque;
    const char *moref = xml_child_text(node, "entity");

    for (size_t i = 0; moref && i < reading->count; i++)
        if (!strcmp(reading->morefs[i], moref) && !reading->is_seen[i])
            read_availability(node, reading, i);
    return 0;
}

static int
ask_privileges(struct vsphere *vsphere, const char *const *privileges,
               struct privilege_reading *reading, struct err **err)
{
    CLEANUP(free_charp) char *manager = NULL;
    CLEANUP(free_charp) char *key = NULL;
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    struct call call = {.method = "HasPrivilegeOnEntities",
                        .type = "AuthorizationManager",
                        .args = &args,
                        .stream = "returnval",
                        .on_stream = on_privileges,
                        .opaque = reading};
    CLEANUP(answer_done) struct answer answer = {0};

    if (read_authorization_manager(vsphere, &manager, err) < 0 ||
        read_session_key(vsphere, &key, err) < 0)
        return -1;
    for (size_t i = 0; i < reading->count; i++)
        xml_append_ref(&args, "entity", "VirtualMachine", reading->morefs[i]);
    xml_append_element(&args, "sessionId", key);
    xml_append_element(&args, "privId", CONTROL_PRIVILEGE);
    for (; *privileges; privileges++)
        xml_append_element(&args, "privId", *privileges);
    call.moref = manager;
    return soap_call(vsphere, &call, &answer, err);
}

int
vsphere_missing_privileges(struct vsphere *vsphere, const char *const *morefs, size_t count,
                           const char *const *privileges, char **ret_missing, struct err **err)
{
    struct str *missing = xcalloc(count + 1, sizeof(*missing));
    struct privilege_reading reading = {morefs, count, missing, xcalloc(count + 1, sizeof(bool)),
                                        false};
    int result;

    for (size_t i = 0; i < count; i++)
        missing[i] = STR_INIT(MAX_NAMES);
    result = ask_privileges(vsphere, privileges, &reading, err);
    for (size_t i = 0; result == 0 && i < count; i++)
        if (!reading.is_seen[i])
            result = err_set(err, E_VSPHERE_PROTOCOL, "the answer says nothing of %s", morefs[i]);
    if (result == 0 && reading.is_foreign)
        result = err_set(err, E_VSPHERE_PROTOCOL,
                         "the answer denies what this session was just allowed");
    for (size_t i = 0; i < count; i++) {
        if (result == 0)
            ret_missing[i] = str_take(&missing[i]);
        str_done(&missing[i]);
    }
    free(missing);
    free(reading.is_seen);
    return result;
}

/* ---- datastores ------------------------------------------------------------------------------- */

static void
datastore_done(struct vsphere_datastore_state *datastore)
{
    free(datastore->moref);
    free(datastore->name);
    free(datastore->type);
    free(datastore->maintenance);
}

void
vsphere_datastore_states_done(struct vsphere_datastore_states *datastores)
{
    for (size_t i = 0; i < datastores->count; i++)
        datastore_done(&datastores->items[i]);
    vec_done(datastores);
}

static int
on_datastore(void *opaque, const struct object *object, struct err **err)
{
    struct vsphere_datastore_states *to = opaque;
    const struct xml_node *summary = object_get(object, "summary");
    const char *name = object_text(object, "name");
    struct vsphere_datastore_state datastore = {0};
    int64_t capacity = 0, free_bytes = 0;

    if (!summary)
        return 0; /* not for this account's eyes */
    if (to->count == MAX_LISTED)
        return err_set(err, E_LIMIT, "vCenter lists more than %d datastores", MAX_LISTED);
    if (xml_child_int(summary, "capacity", 0, INT64_MAX, &capacity, err) < 0 ||
        xml_child_int(summary, "freeSpace", 0, INT64_MAX, &free_bytes, err) < 0)
        return err_wrap(err, "%s", object->moref);
    datastore.moref = xstrdup(object->moref);
    datastore.name = inventory_unescape_name(name ? name : "");
    datastore.type = text_or_empty(xml_child_text(summary, "type"));
    datastore.maintenance = text_or_empty(xml_child_text(summary, "maintenanceMode"));
    datastore.is_accessible = xml_child_is_true(summary, "accessible");
    datastore.capacity = (uint64_t)capacity;
    datastore.free_bytes = (uint64_t)free_bytes;
    vec_push(to, datastore);
    return 0;
}

int
vsphere_list_datastores(struct vsphere *vsphere, struct vsphere_datastore_states *ret_datastores,
                        struct err **err)
{
    static const char *const paths[] = {"name", "summary", NULL};
    CLEANUP(vsphere_datastore_states_done) struct vsphere_datastore_states datastores = {0};

    if (props_read_below(vsphere, "Folder", vsphere->root_folder, "Datastore", paths, on_datastore,
                         &datastores, err) < 0)
        return err_wrap(err, "datastores");
    *ret_datastores = datastores;
    memset(&datastores, 0, sizeof(datastores));
    return 0;
}

/* ---- hosts ------------------------------------------------------------------------------------ */

void
vsphere_hosts_done(struct vsphere_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        free(hosts->items[i].moref);
        free(hosts->items[i].name);
        free(hosts->items[i].version);
        free(hosts->items[i].connection_state);
    }
    vec_done(hosts);
}

static int
on_host(void *opaque, const struct object *object, struct err **err)
{
    struct vsphere_hosts *to = opaque;
    struct vsphere_host host = {0};

    if (to->count == MAX_LISTED)
        return err_set(err, E_LIMIT, "vCenter lists more than %d hosts", MAX_LISTED);
    host.moref = xstrdup(object->moref);
    host.name = text_or_empty(object_text(object, "name"));
    host.version = text_or_empty(object_text(object, "summary.config.product.version"));
    host.connection_state = text_or_empty(object_text(object, "runtime.connectionState"));
    host.is_in_maintenance = object_is_true(object, "runtime.inMaintenanceMode");
    vec_push(to, host);
    return 0;
}

int
vsphere_list_hosts(struct vsphere *vsphere, struct vsphere_hosts *ret_hosts, struct err **err)
{
    static const char *const paths[] = {"name", "summary.config.product.version",
                                        "runtime.connectionState", "runtime.inMaintenanceMode",
                                        NULL};
    CLEANUP(vsphere_hosts_done) struct vsphere_hosts hosts = {0};

    if (props_read_below(vsphere, "Folder", vsphere->root_folder, "HostSystem", paths, on_host,
                         &hosts, err) < 0)
        return err_wrap(err, "hosts");
    *ret_hosts = hosts;
    memset(&hosts, 0, sizeof(hosts));
    return 0;
}

/* ---- the clock -------------------------------------------------------------------------------- */

int
vsphere_server_time(struct vsphere *vsphere, int64_t *ret_wall_s, struct err **err)
{
    const struct call call = {
        .method = "CurrentTime", .type = "ServiceInstance", .moref = "ServiceInstance"};
    CLEANUP(answer_done) struct answer answer = {0};
    CLEANUP(err_freep) struct err *failure = NULL;

    if (soap_call(vsphere, &call, &answer, err) < 0)
        return -1;
    if (clock_parse_time(answer.result ? answer.result->text : "", ret_wall_s, NULL, &failure) < 0)
        return err_set(err, E_VSPHERE_PROTOCOL, "CurrentTime: %s", err_message(failure));
    return 0;
}
