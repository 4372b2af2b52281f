/* What the files of the pretend vCenter share.
 *
 * Locking: `lab->mutex` guards everything in struct lab_vsphere but `server`.  Handlers of methods run
 * with it held unless the table in soap.c says otherwise. */
#ifndef V2C_LAB_VSPHERE_INNER_H
#define V2C_LAB_VSPHERE_INNER_H

#include <libxml/tree.h>

#include "base/err.h"
#include "base/str.h"
#include "core/lab.h"
#include "vsphere/value.h"

#define MAX_ANSWER (256U * 1024 * 1024)

/* ---- faults ----------------------------------------------------------------------------------- */

struct vs_fault {
    char type[64];
    char *message;
    struct value *detail; /* an object of that type */
};
struct vs_fault *vs_fault_new(const char *type, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* What a failed operation of core/vms.h is called in this API. */
struct vs_fault *vs_fault_of(struct lab *lab, struct lab_vm *vm, const struct err *err);
void vs_fault_free(struct vs_fault *fault);
struct value *vs_fault_localized(const struct vs_fault *fault); /* LocalizedMethodFault */

/* ---- one call --------------------------------------------------------------------------------- */

struct vs_session {
    char cookie[40], key[40], user[64], agent[128];
    uint64_t login_ms;
    int64_t active_ms; /* monotonic */
    uint64_t calls;
};

struct vs_call {
    struct lab *lab;
    struct lab_vsphere *vs;
    struct lab_exchange *exchange;
    xmlNode *method;
    const char *name;            /* of the method */
    char type[64], moref[256];   /* of _this */
    char cookie[40];             /* of the session; "" none */
    struct vs_session *session;  /* only while the mutex is held */
    struct vs_fault *fault;      /* owned */
    struct vs_fault *task_fault; /* owned: what the task that it starts is to end with */
    char lie[64];                /* what an injected "lie" says; "" none */
    struct str out;              /* inside of <XResponse> */
};
/* Return -1, for `return vs_fail(...)`. */
int vs_fail(struct vs_call *call, struct vs_fault *fault);
int vs_need_session(struct vs_call *call);
int vs_fail_argument(struct vs_call *call, const char *name, const char *why);
int vs_need_privilege(struct vs_call *call, const char *privilege);
/* mutex held.  The VM that _this is, or the one of the snapshot that it is; NULL: failed. */
struct lab_vm *vs_this_vm(struct vs_call *call);

/* Parameters.  Borrowed from the document, or "" */
xmlNode *vs_child(xmlNode *node, const char *name);
xmlNode *vs_next(xmlNode *node, const char *name); /* the next sibling of that name */
void vs_text(xmlNode *node, char *to, size_t room);
void vs_param(const struct vs_call *call, const char *name, char *to, size_t room);
bool vs_param_bool(const struct vs_call *call, const char *name, bool otherwise);
int64_t vs_param_long(const struct vs_call *call, const char *name, int64_t otherwise);
/* <returnval>, of a type that the client knows. */
void vs_return(struct vs_call *call, const char *declared, struct value *value /* taken */);

/* ---- things ----------------------------------------------------------------------------------- */

/* A folder, datacenter, cluster, host, pool, datastore or network.  Fixed while the lab runs. */
struct vs_entity {
    char moref[32], type[32], name[128];
    char parent[32];     /* "" for the root folder */
    char datacenter[64]; /* "" for the root folder */
    char child_type[32]; /* of a folder */
};
struct vs_view {
    char moref[96], cookie[40], container[32];
    VEC_DECLARE(, char *)
    types;
    bool is_recursive;
};
struct vs_task {
    char moref[32], name[64], vm[32], user[64];
    enum { TASK_QUEUED, TASK_RUNNING, TASK_SUCCESS, TASK_ERROR } state;
    uint64_t queued_ms, started_ms, done_ms; /* wall clock */
    int64_t done_at;                         /* monotonic */
    struct value *result;
    struct vs_fault *fault;
};
struct vs_page; /* what is left of a long answer */
struct vs_filter;
struct vs_collector;

struct lab_vsphere {
    struct lab *lab;
    struct lab_https *server;
    char instance_uuid[40];
    VEC_DECLARE(, struct vs_entity)
    entities;
    VEC_DECLARE(, struct vs_session *)
    sessions;
    VEC_DECLARE(, struct vs_view *)
    views;
    VEC_DECLARE(, struct vs_task *)
    tasks;
    VEC_DECLARE(, struct vs_page *)
    pages;
    VEC_DECLARE(, struct vs_filter *)
    filters;
    VEC_DECLARE(, struct vs_collector *)
    collectors;
    uint64_t next_number; /* of tasks, views, tokens, filters */
    unsigned running_tasks;
    bool is_stopping;
};

/* inventory.c */
void vs_inventory_build(struct lab_vsphere *vs);
struct vs_entity *vs_entity_find(struct lab_vsphere *vs, const char *moref);
struct vs_entity *vs_entity_role(struct lab_vsphere *vs, const char *datacenter, const char *type,
                                 const char *child_type);            /* child_type NULL: any */
const char *vs_parent_of(struct lab_vsphere *vs, const char *moref); /* "" none */
/* Its type, or NULL when there is no such thing. */
const char *vs_object_type(struct lab_vsphere *vs, const char *moref, const char *cookie);
bool vs_type_is(const char *type, const char *base); /* base itself or a class above @type */
/* Property @name (one word) of a thing that exists; NULL when unset.  The caller frees. */
struct value *vs_property(struct lab_vsphere *vs, const char *type, const char *moref,
                          const char *name, const char *cookie);
struct value *vs_service_content(struct lab_vsphere *vs);
void vs_escape_name(const char *name, char *to, size_t room); /* "%2f" for a slash */

/* vm_properties.c */
struct value *vs_vm_property(struct lab_vsphere *vs, struct lab_vm *vm, const char *name);
struct value *vs_snapshot_property(struct lab_vsphere *vs, struct lab_vm *vm,
                                   struct lab_snapshot *snapshot, const char *name);
struct lab_vm *vs_snapshot_vm(struct lab *lab, const char *moref); /* mutex held */

/* sessions.c */
struct vs_session *vs_session_find(struct lab_vsphere *vs, const char *cookie);
void vs_session_end(struct lab_vsphere *vs, const char *cookie);
void vs_sessions_end_all(struct lab_vsphere *vs);
struct value *vs_session_value(const struct vs_session *session);

/* views.c */
struct vs_view *vs_view_find(struct lab_vsphere *vs, const char *moref);
void vs_views_end(struct lab_vsphere *vs, const char *cookie);
struct value *vs_view_members(struct lab_vsphere *vs, const struct vs_view *view);

/* collector.c, filters.c */
void vs_collector_end(struct lab_vsphere *vs, const char *cookie); /* pages and filters */
void vs_pages_end(struct lab_vsphere *vs, const char *cookie);
/* "PropertyCollector" or "PropertyFilter" of that session, or NULL. */
const char *vs_collector_object(struct lab_vsphere *vs, const char *moref, const char *cookie);
struct vs_found { /* one object that a spec selects */
    char type[32], moref[256];
};
VEC_DECLARE(vs_founds, struct vs_found);
/* @spec: a PropertyFilterSpec.  -1 with call->fault. */
int vs_select(struct vs_call *call, xmlNode *spec, struct vs_founds *ret);
typedef void (*vs_property_fn)(void *opaque, const char *path, const struct value *value);
/* Every property that @spec asks of one object and that is set.  1, or 0 when no propSet speaks of its
 * class, or -1 with call->fault. */
int vs_each_property(struct vs_call *call, xmlNode *spec, const struct vs_found *found,
                     vs_property_fn fn, void *opaque);

/* tasks.c */
typedef struct vs_fault *(*vs_task_run)(struct lab_vsphere *vs, struct lab_vm *vm, void *opaque,
                                        struct value **ret_result);
/* Answers with a new task that runs @run (mutex not held) with @opaque, which is freed after.  Fails
 * with TaskInProgress. */
int vs_task_start(struct vs_call *call, struct lab_vm *vm, vs_task_run run, void *opaque);
struct vs_task *vs_task_find(struct lab_vsphere *vs, const char *moref);
struct value *vs_task_info(struct lab_vsphere *vs, const struct vs_task *task);
void vs_task_free(struct vs_task *task);

/* ticket.c */
void vs_serve_ticket(struct lab *lab, struct lab_exchange *x);

/* The handlers. */
int vs_login(struct vs_call *call);
int vs_logout(struct vs_call *call);
int vs_has_privileges(struct vs_call *call);
int vs_session_is_active(struct vs_call *call);
int vs_find_by_path(struct vs_call *call);
int vs_find_by_uuid(struct vs_call *call);
int vs_find_all_by_uuid(struct vs_call *call);
int vs_find_child(struct vs_call *call);
int vs_create_container_view(struct vs_call *call);
int vs_destroy_view(struct vs_call *call);
int vs_fetch(struct vs_call *call);
int vs_retrieve(struct vs_call *call);
int vs_retrieve_ex(struct vs_call *call);
int vs_continue_retrieve(struct vs_call *call);
int vs_cancel_retrieve(struct vs_call *call);
int vs_create_collector(struct vs_call *call);
int vs_destroy_collector(struct vs_call *call);
int vs_create_filter(struct vs_call *call);
int vs_destroy_filter(struct vs_call *call);
int vs_wait_for_updates(struct vs_call *call); /* all four of that name */
int vs_reconfigure(struct vs_call *call);
int vs_create_snapshot(struct vs_call *call);
int vs_remove_snapshot(struct vs_call *call);
int vs_remove_all_snapshots(struct vs_call *call);
int vs_consolidate(struct vs_call *call);
int vs_power(struct vs_call *call);          /* on and off */
int vs_shutdown_guest(struct vs_call *call); /* mutex not held */
int vs_query_changes(struct vs_call *call);  /* mutex not held */

#endif
