/* The vCenter's HTTP side: envelopes in and out, the table of methods, injected faults. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <libxml/parser.h>

#include "base/clock.h"
#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

#define ENVELOPE                                                                                   \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                                                 \
    "<soapenv:Envelope xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\" "               \
    "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" "                                 \
    "xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" "                                              \
    "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n"
#define ENVELOPE_END "\n</soapenv:Body>\n</soapenv:Envelope>"

static const char VERSIONS[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n"
    "<namespaces version=\"1.0\"><namespace><name>urn:vim25</name><version>8.0.2.0</version>"
    "<priorVersions><version>8.0.1.0</version><version>8.0.0.1</version>"
    "<version>7.0.3.2</version><version>7.0.3.0</version><version>7.0.2.0</version>"
    "<version>7.0.1.0</version><version>7.0</version><version>6.9.1</version>"
    "<version>6.8.7</version><version>6.7.3</version><version>6.7.2</version>"
    "<version>6.7.1</version><version>6.7</version><version>6.5</version><version>6.0</version>"
    "<version>5.5</version><version>5.1</version><version>5.0</version><version>4.1</version>"
    "<version>4.0</version><version>2.5u2</version><version>2.5</version><version>2.0</version>"
    "</priorVersions></namespace></namespaces>\n";

/* ---- faults ----------------------------------------------------------------------------------- */

struct vs_fault *
vs_fault_new(const char *type, const char *fmt, ...)
{
    struct vs_fault *fault = xcalloc(1, sizeof(*fault));
    va_list args;

    (void)snprintf(fault->type, sizeof(fault->type), "%s", type);
    va_start(args, fmt);
    if (vasprintf(&fault->message, fmt, args) < 0)
        abort();
    va_end(args);
    fault->detail = value_object(type);
    return fault;
}

struct vs_fault *
vs_fault_of(struct lab *lab, struct lab_vm *vm, const struct err *err)
{
    struct vs_fault *fault;

    switch (err_code(err)) {
    case E_VSPHERE_STATE:
        fault = vs_fault_new("InvalidPowerState", "The attempted operation cannot be performed in "
                                                  "the current state");
        value_set(fault->detail, "existingState",
                  value_word("VirtualMachinePowerState",
                             vm->machine->ops->is_on(vm->machine) ? "poweredOn" : "poweredOff"));
        return fault;
    case E_VSPHERE_TOOLS:
        return vs_fault_new("ToolsUnavailable", "Cannot complete operation because VMware Tools is "
                                                "not running in this virtual machine.");
    case E_VSPHERE_NOT_FOUND:
        return vs_fault_new("NotFound", "%s", err_message(err));
    case E_UNSUPPORTED:
        return vs_fault_new("SnapshotIncompatibleDeviceInVm", "%s", err_message(err));
    case E_LIMIT:
        return vs_fault_new("TooManySnapshotLevels", "Snapshot hierarchy is too deep.");
    case E_NO_SPACE:
        fault = vs_fault_new("NoDiskSpace", "There is not enough space on the file system");
        value_set(fault->detail, "file", value_string(""));
        value_set(fault->detail, "datastore", value_string("ds1"));
        return fault;
    default:
        fault = vs_fault_new("GenericVmConfigFault", "%s", err_message(err));
        value_set(fault->detail, "reason", value_string(err_message(err)));
        return fault;
    }
}

void
vs_fault_free(struct vs_fault *fault)
{
    if (!fault)
        return;
    value_free(fault->detail);
    free(fault->message);
    free(fault);
}

static struct vs_fault *
injected(const struct vs_call *call, const char *type)
{
    struct vs_fault *fault = vs_fault_new(*type ? type : "SystemError",
                                          "A general system error occurred: injected by the lab");

    if (!strcmp(type, "NotAuthenticated") || !strcmp(type, "NoPermission")) {
        value_set(fault->detail, "object", value_ref("Folder", "group-d1"));
        value_set(fault->detail, "privilegeId",
                  value_string(!strcmp(type, "NoPermission") ? "VirtualMachine.State.CreateSnapshot"
                                                             : "System.View"));
    } else if (!strcmp(type, "ManagedObjectNotFound")) {
        value_set(fault->detail, "obj", value_ref(call->type, call->moref));
    } else if (!strcmp(type, "TaskInProgress")) {
        value_set(fault->detail, "task", value_ref("Task", "task-1"));
    } else if (!strcmp(type, "InvalidPowerState")) {
        value_set(fault->detail, "existingState",
                  value_word("VirtualMachinePowerState", "poweredOff"));
    }
    return fault;
}

int
vs_fail(struct vs_call *call, struct vs_fault *fault)
{
    vs_fault_free(call->fault);
    call->fault = fault;
    return -1;
}

int
vs_fail_argument(struct vs_call *call, const char *name, const char *why)
{
    struct vs_fault *fault =
        vs_fault_new("InvalidArgument", "A specified parameter was not correct: %s: %s", name, why);

    value_set(fault->detail, "invalidProperty", value_word("PropertyPath", name));
    return vs_fail(call, fault);
}

/* ---- parameters ------------------------------------------------------------------------------- */

xmlNode *
vs_next(xmlNode *node, const char *name)
{
    for (; node; node = node->next)
        if (node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name))
            return node;
    return NULL;
}

xmlNode *
vs_child(xmlNode *node, const char *name)
{
    return node ? vs_next(node->children, name) : NULL;
}

void
vs_text(xmlNode *node, char *to, size_t room)
{
    xmlChar *text = node ? xmlNodeGetContent(node) : NULL;

    (void)snprintf(to, room, "%s", text ? (const char *)text : "");
    xmlFree(text);
}

void
vs_param(const struct vs_call *call, const char *name, char *to, size_t room)
{
    vs_text(vs_child(call->method, name), to, room);
}

bool
vs_param_bool(const struct vs_call *call, const char *name, bool otherwise)
{
    char text[16];

    vs_param(call, name, text, sizeof(text));
    return *text ? !strcmp(text, "true") || !strcmp(text, "1") : otherwise;
}

int64_t
vs_param_long(const struct vs_call *call, const char *name, int64_t otherwise)
{
    char text[32];

    vs_param(call, name, text, sizeof(text));
    return *text ? strtoll(text, NULL, 10) : otherwise;
}

void
vs_return(struct vs_call *call, const char *declared, struct value *value)
{
    if (value)
        value_write(&call->out, "returnval", declared, value);
    value_free(value);
}

/* ---- small methods ---------------------------------------------------------------------------- */

static int
retrieve_service_content(struct vs_call *call)
{
    vs_return(call, "ServiceContent", vs_service_content(call->vs));
    return 0;
}

static int
current_time(struct vs_call *call)
{
    uint64_t ahead_ms = call->lab->settings.clock_ahead_s * 1000ULL;

    vs_return(call, "dateTime", value_time_ms((uint64_t)clock_wall_ms() + ahead_ms));
    return 0;
}

/* ---- the table -------------------------------------------------------------------------------- */

enum {
    ANYBODY = 1, /* needs no session */
    UNLOCKED = 2,
};

static const struct method {
    const char *name;
    int (*handle)(struct vs_call *call);
    int flags;
} METHODS[] = {
    {"RetrieveServiceContent", retrieve_service_content, ANYBODY},
    {"Login", vs_login, ANYBODY},
    {"Logout", vs_logout, 0},
    {"CurrentTime", current_time, 0},
    {"SessionIsActive", vs_session_is_active, 0},
    {"FindByInventoryPath", vs_find_by_path, 0},
    {"FindByUuid", vs_find_by_uuid, 0},
    {"FindAllByUuid", vs_find_all_by_uuid, 0},
    {"FindChild", vs_find_child, 0},
    {"CreateContainerView", vs_create_container_view, 0},
    {"DestroyView", vs_destroy_view, 0},
    {"Fetch", vs_fetch, ANYBODY},
    {"RetrieveProperties", vs_retrieve, ANYBODY},
    {"RetrievePropertiesEx", vs_retrieve_ex, ANYBODY},
    {"ContinueRetrievePropertiesEx", vs_continue_retrieve, 0},
    {"CancelRetrievePropertiesEx", vs_cancel_retrieve, 0},
    {"CreatePropertyCollector", vs_create_collector, 0},
    {"DestroyPropertyCollector", vs_destroy_collector, 0},
    {"CreateFilter", vs_create_filter, 0},
    {"DestroyPropertyFilter", vs_destroy_filter, 0},
    {"WaitForUpdates", vs_wait_for_updates, 0},
    {"WaitForUpdatesEx", vs_wait_for_updates, 0},
    {"CheckForUpdates", vs_wait_for_updates, 0},
    {"CancelWaitForUpdates", vs_wait_for_updates, 0},
    {"ReconfigVM_Task", vs_reconfigure, 0},
    {"CreateSnapshot_Task", vs_create_snapshot, 0},
    {"CreateSnapshotEx_Task", vs_create_snapshot, 0},
    {"RemoveSnapshot_Task", vs_remove_snapshot, 0},
    {"RemoveAllSnapshots_Task", vs_remove_all_snapshots, 0},
    {"ConsolidateVMDisks_Task", vs_consolidate, 0},
    {"PowerOnVM_Task", vs_power, 0},
    {"PowerOffVM_Task", vs_power, 0},
    {"ShutdownGuest", vs_shutdown_guest, UNLOCKED},
    {"QueryChangedDiskAreas", vs_query_changes, UNLOCKED},
    {"HasPrivilegeOnEntities", vs_has_privileges, 0},
};

static const struct method *
find_method(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(METHODS); i++)
        if (!strcmp(METHODS[i].name, name))
            return &METHODS[i];
    return NULL;
}

/* ---- one request ------------------------------------------------------------------------------ */

static void
answer_fault(struct vs_call *call)
{
    struct str body = STR_INIT(MAX_ANSWER);
    const struct vs_fault *fault = call->fault;

    str_append(&body,
               ENVELOPE "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>");
    value_write_text(&body, fault->message);
    str_appendf(&body, "</faultstring><detail><%sFault xmlns=\"urn:vim25\" xsi:type=\"%s\">",
                fault->type, fault->type);
    value_write_inside(&body, fault->detail);
    str_appendf(&body, "</%sFault></detail></soapenv:Fault>" ENVELOPE_END, fault->type);
    lab_exchange_answer(call->exchange, 500, "text/xml; charset=utf-8", str_text(&body),
                        body.length);
    str_done(&body);
}

static void
answer_success(struct vs_call *call)
{
    struct str body = STR_INIT(MAX_ANSWER);

    str_append(&body, ENVELOPE);
    str_appendf(&body, "<%sResponse xmlns=\"urn:vim25\">", call->name);
    str_append_bytes(&body, str_text(&call->out), call->out.length);
    str_appendf(&body, "</%sResponse>" ENVELOPE_END, call->name);
    lab_exchange_answer(call->exchange, 200, "text/xml; charset=utf-8", str_text(&body),
                        body.length);
    str_done(&body);
}

static void
read_cookie(struct vs_call *call)
{
    const char *header = lab_exchange_header(call->exchange, "Cookie");
    const char *at = header ? strstr(header, "vmware_soap_session=") : NULL;
    size_t length = 0;

    call->cookie[0] = '\0';
    if (!at)
        return;
    at += strlen("vmware_soap_session=");
    at += *at == '"';
    while (at[length] && !strchr("\"; ", at[length]) && length + 1 < sizeof(call->cookie))
        length++;
    memcpy(call->cookie, at, length);
    call->cookie[length] = '\0';
}

int
vs_need_session(struct vs_call *call)
{
    struct vs_fault *fault;

    if (call->session)
        return 0;
    fault = vs_fault_new("NotAuthenticated", "The session is not authenticated.");
    value_set(fault->detail, "object", value_ref("Folder", "group-d1"));
    value_set(fault->detail, "privilegeId", value_string("System.View"));
    return vs_fail(call, fault);
}

/* mutex held.  Whether _this is there at all. */
static int
need_object(struct vs_call *call)
{
    struct vs_fault *fault;

    if (vs_object_type(call->vs, call->moref, call->cookie))
        return 0;
    fault = vs_fault_new("ManagedObjectNotFound",
                         "The object '%s:%s' has already been deleted or has not been completely "
                         "created",
                         call->type, call->moref);
    value_set(fault->detail, "obj", value_ref(call->type, call->moref));
    return vs_fail(call, fault);
}

static const struct method *
resolve(struct vs_call *call)
{
    const struct method *method = find_method(call->name);
    struct vs_fault *fault;

    if (method)
        return method;
    fault = vs_fault_new("MethodNotFound", "The pretend vCenter has no method %s", call->name);
    value_set(fault->detail, "receiver", value_ref(call->type, call->moref));
    value_set(fault->detail, "method", value_string(call->name));
    (void)vs_fail(call, fault);
    return NULL;
}

int
vs_need_privilege(struct vs_call *call, const char *privilege)
{
    struct vs_fault *fault;

    if (!lab_lacks_privilege(call->lab, privilege))
        return 0;
    fault = vs_fault_new("NoPermission", "Permission to perform this operation was denied.");
    value_set(fault->detail, "object", value_ref(call->type, call->moref));
    value_set(fault->detail, "privilegeId", value_string(privilege));
    return vs_fail(call, fault);
}

/* What an account needs for the methods that change something or read disks (vSphere Web Services API,
 * "Required Privileges"). */
static int
need_privilege(struct vs_call *call)
{
    static const char *const NEEDS[][2] = {
        {"CreateSnapshot_Task", "VirtualMachine.State.CreateSnapshot"},
        {"CreateSnapshotEx_Task", "VirtualMachine.State.CreateSnapshot"},
        {"RemoveSnapshot_Task", "VirtualMachine.State.RemoveSnapshot"},
        {"RemoveAllSnapshots_Task", "VirtualMachine.State.RemoveSnapshot"},
        {"ConsolidateVMDisks_Task", "VirtualMachine.State.RemoveSnapshot"},
        {"PowerOnVM_Task", "VirtualMachine.Interact.PowerOn"},
        {"PowerOffVM_Task", "VirtualMachine.Interact.PowerOff"},
        {"ShutdownGuest", "VirtualMachine.Interact.PowerOff"},
        {"QueryChangedDiskAreas", "VirtualMachine.Provisioning.DiskRandomRead"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(NEEDS); i++)
        if (!strcmp(NEEDS[i][0], call->name) && vs_need_privilege(call, NEEDS[i][1]) < 0)
            return -1;
    return 0;
}

static int
run_method(struct vs_call *call, const struct method *method)
{
    int result;

    pthread_mutex_lock(&call->lab->mutex);
    call->session = vs_session_find(call->vs, call->cookie);
    if (call->session) {
        call->session->active_ms = clock_monotonic_ms();
        call->session->calls++;
    }
    result = method->flags & ANYBODY ? 0 : vs_need_session(call);
    if (result == 0)
        result = need_object(call);
    if (result == 0)
        result = need_privilege(call);
    if (method->flags & UNLOCKED)
        pthread_mutex_unlock(&call->lab->mutex);
    if (result == 0)
        result = method->handle(call);
    if (!(method->flags & UNLOCKED))
        pthread_mutex_unlock(&call->lab->mutex);
    call->session = NULL;
    return result;
}

/* Faults that a *_Task method raises at once; all others end the task. */
static bool
is_raised_by_call(const char *type)
{
    static const char *const CALL[] = {
        "NotAuthenticated", "NoPermission",    "ManagedObjectNotFound", "MethodDisabled",
        "TaskInProgress",   "InvalidArgument", "HostNotConnected",      "HostNotReachable"};

    for (size_t i = 0; i < ARRAY_SIZE(CALL); i++)
        if (!strcmp(CALL[i], type))
            return true;
    return false;
}

/* Returns whether the method is to be run.  *ret_drop_after: but its answer lost. */
static bool
apply_fault(struct vs_call *call, bool *ret_drop_after)
{
    CLEANUP(free_charp) char *where = xasprintf("vsphere.%s", call->name);
    struct lab_fault fault;
    size_t length = strlen(call->name);
    bool is_task = length > 5 && !strcmp(call->name + length - 5, "_Task");

    if (!lab_fault_take(call->lab->faults, where, &fault))
        return true;
    if (!strcmp(fault.action, "drop")) {
        lab_exchange_drop(call->exchange);
        return false;
    }
    if (!strcmp(fault.action, "drop_after")) {
        *ret_drop_after = true;
    } else if (!strcmp(fault.action, "expire")) {
        SCOPE_LOCK(&call->lab->mutex);
        vs_session_end(call->vs, call->cookie);
    } else if (!strcmp(fault.action, "fail")) {
        struct vs_fault *made = injected(call, fault.detail);

        if (is_task && !is_raised_by_call(fault.detail)) {
            call->task_fault = made;
            return true;
        }
        (void)vs_fail(call, made);
        answer_fault(call);
        return false;
    } else if (!strcmp(fault.action, "lie")) {
        (void)snprintf(call->lie, sizeof(call->lie), "%.63s", fault.detail);
    }
    return true;
}

static void
apply_fault_after(struct vs_call *call, bool is_dropped)
{
    CLEANUP(free_charp) char *where = xasprintf("vsphere.%s.after", call->name);
    struct lab_fault fault;

    if (lab_fault_take(call->lab->faults, where, &fault)) {
        is_dropped = is_dropped || !strncmp(fault.action, "drop", 4);
        if (!strcmp(fault.action, "expire")) {
            SCOPE_LOCK(&call->lab->mutex);
            vs_session_end(call->vs, call->cookie);
        } else if (!strcmp(fault.action, "fail")) {
            (void)vs_fail(call, injected(call, fault.detail));
        }
    }
    if (is_dropped)
        lab_exchange_drop(call->exchange);
}

static void
serve_call(struct vs_call *call)
{
    const struct method *method = resolve(call);
    bool is_dropped = false;

    if (method && !apply_fault(call, &is_dropped))
        return;
    if (method && run_method(call, method) == 0)
        apply_fault_after(call, is_dropped);
    else if (is_dropped)
        lab_exchange_drop(call->exchange);
    if (call->fault)
        answer_fault(call);
    else
        answer_success(call);
}

static int
parse_call(struct vs_call *call, xmlDoc *doc)
{
    xmlNode *body = doc ? vs_child(xmlDocGetRootElement(doc), "Body") : NULL;
    xmlNode *this;
    xmlChar *type;

    call->method = body ? body->children : NULL;
    while (call->method && call->method->type != XML_ELEMENT_NODE)
        call->method = call->method->next;
    this = vs_child(call->method, "_this");
    /* A document type could make entities: no client of this API sends one. */
    if (!this || doc->intSubset)
        return vs_fail(call, vs_fault_new("InvalidRequest", "The request is no SOAP call"));
    type = xmlGetNoNsProp(this, (const xmlChar *)"type");
    (void)snprintf(call->type, sizeof(call->type), "%s", type ? (const char *)type : "");
    xmlFree(type);
    vs_text(this, call->moref, sizeof(call->moref));
    call->name = (const char *)call->method->name;
    return 0;
}

static void
serve_sdk(struct lab_vsphere *vs, struct lab_exchange *x)
{
    struct vs_call call = {
        .lab = vs->lab, .vs = vs, .exchange = x, .out = STR_INIT(MAX_ANSWER), .name = ""};
    size_t length;
    const char *text = lab_exchange_body(x, &length);
    xmlDoc *doc = xmlReadMemory(text, (int)length, NULL, NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);

    read_cookie(&call);
    if (parse_call(&call, doc) < 0)
        answer_fault(&call);
    else
        serve_call(&call);
    vs_fault_free(call.fault);
    vs_fault_free(call.task_fault);
    str_done(&call.out);
    xmlFreeDoc(doc);
}

static void
serve(void *opaque, struct lab_exchange *x)
{
    struct lab_vsphere *vs = opaque;
    const char *path = lab_exchange_path(x), *method = lab_exchange_method(x);

    if (!strcmp(path, "/sdk/vimServiceVersions.xml") && !strcmp(method, "GET"))
        lab_exchange_answer(x, 200, "text/xml", VERSIONS, strlen(VERSIONS));
    else if (!strncmp(path, "/sdk", 4) && !strcmp(method, "POST"))
        serve_sdk(vs, x);
    else if (!strcmp(path, "/lab/nfc-ticket") && !strcmp(method, "POST"))
        vs_serve_ticket(vs->lab, x);
    else
        lab_exchange_answer(x, 404, "text/plain", "Not Found\n", 10);
}

/* ---- start and stop --------------------------------------------------------------------------- */

int
lab_vsphere_start(struct lab *lab, unsigned port, struct err **err)
{
    struct lab_vsphere *vs = xcalloc(1, sizeof(*vs));

    xmlInitParser();
    vs->lab = lab;
    vs->next_number = 101;
    lab_uuid("the pretend vCenter", vs->instance_uuid);
    vs_inventory_build(vs);
    lab->vsphere = vs;
    if (lab_https_start(&lab->certificate, port, serve, vs, &vs->server, err) < 0) {
        lab_vsphere_stop(lab);
        return err_wrap(err, "the vCenter");
    }
    return 0;
}

unsigned
lab_vsphere_port(const struct lab *lab)
{
    return lab_https_port(lab->vsphere->server);
}

void
lab_vsphere_expire_sessions(struct lab *lab)
{
    SCOPE_LOCK(&lab->mutex);
    vs_sessions_end_all(lab->vsphere);
}

void
lab_vsphere_stop(struct lab *lab)
{
    struct lab_vsphere *vs = lab->vsphere;

    if (!vs)
        return;
    pthread_mutex_lock(&lab->mutex);
    vs->is_stopping = true;
    lab_note_change(lab);
    pthread_mutex_unlock(&lab->mutex);
    lab_https_stop(vs->server);
    pthread_mutex_lock(&lab->mutex);
    while (vs->running_tasks)
        pthread_cond_wait(&lab->changed, &lab->mutex);
    vs_sessions_end_all(vs);
    pthread_mutex_unlock(&lab->mutex);
    for (size_t i = 0; i < vs->tasks.count; i++)
        vs_task_free(vs->tasks.items[i]);
    vec_done(&vs->tasks);
    vec_done(&vs->sessions);
    vec_done(&vs->views);
    vec_done(&vs->pages);
    vec_done(&vs->filters);
    vec_done(&vs->collectors);
    vec_done(&vs->entities);
    free(vs);
    lab->vsphere = NULL;
}
