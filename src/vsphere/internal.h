/* What the files of the room share: the connection, one SOAP call, properties, tasks. */
#ifndef V2C_VSPHERE_INTERNAL_H
#define V2C_VSPHERE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "base/str.h"
#include "base/vec.h"
#include "vsphere/fault.h"
#include "vsphere/vsphere.h"
#include "vsphere/xml.h"

#define MAX_ARGS   (1U << 20) /* of what we send */

/* An answer of vCenter may be as large as this: a VM with everything in it is below 1 MiB, and
 * properties come in pages. */
#define MAX_ANSWER (256 * MIB)

struct vsphere {
    struct net_client *net; /* safe between threads */
    char *host;             /* as in a URL: IPv6 in brackets */
    unsigned port;
    char *user, *password;
    int timeout_ms;
    int settle_ms;      /* how long a lost answer is looked for */
    int consolidate_ms; /* the first pause between tries of it, doubled with each */
    const volatile int *cancel;

    /* From RetrieveServiceContent, constant after vsphere_connect. */
    char *version;       /* "8.0.2.0", of the API as we speak it */
    bool has_encryption; /* the API knows config.keyId */
    char *server_name, *server_uuid;
    char *property_collector, *root_folder, *view_manager, *session_manager, *search_index;

    pthread_mutex_t lock; /* one call at a time; guards what follows */
    char *cookie;
    unsigned logins;           /* counts sessions: views and tokens die with theirs */
    struct err *login_refused; /* once set no login is tried again */
};

/* ---- soap.c ---- */

struct call {
    const char *method;
    const char *type, *moref; /* of _this */
    const struct str *args;   /* XML after _this; NULL: none */
    bool is_change;           /* is never sent twice */
    int timeout_ms;           /* 0: the connection's */
    size_t max_answer;        /* 0: MAX_ANSWER */
    const char *stream;       /* see xml.h */
    xml_stream_fn on_stream;
    void *opaque;
    struct fault *ret_fault; /* filled when the call failed with a fault; may be NULL */
};

/* One answer; owns the tree. */
struct answer {
    struct xml_parser *parser;
    const struct xml_node *result; /* <returnval>, the first one; NULL when there is none */
};
void answer_done(struct answer *answer);

/* Performs @call; logs in again when the session has ended and then repeats it once: the server has
 * said that it did not begin.  E_VSPHERE_*, E_NET..., E_HTTP_STATUS. */
int soap_call(struct vsphere *vsphere, const struct call *call, struct answer *ret_answer,
              struct err **err);
/* The same within the session as it is; the caller has the lock. */
int soap_call_locked(struct vsphere *vsphere, const struct call *call, struct answer *ret_answer,
                     struct err **err);
/* For calls whose answer does not matter. */
int soap_call_void(struct vsphere *vsphere, const struct call *call, struct err **err);
/* Whether an error leaves open if the server did what was asked. */
bool soap_is_lost(const struct err *err);
unsigned soap_logins(struct vsphere *vsphere);

/* ---- session.c ---- */

int session_login_locked(struct vsphere *vsphere, struct err **err);

/* ---- props.c ---- */

/* One <objects> of an answer. */
struct object {
    const char *type, *moref;
    const struct xml_node *node;
};
typedef int (*object_fn)(void *opaque, const struct object *object, struct err **err);

/* The value of a property, or NULL when it is not set. */
const struct xml_node *object_get(const struct object *object, const char *path);
const char *object_text(const struct object *object, const char *path);
bool object_is_true(const struct object *object, const char *path);
/* Fails when the server refused to show @path. */
int object_check_readable(const struct object *object, const char *path, struct err **err);

/* Appends <propSet>; @paths is NULL terminated. */
void props_append_set(struct str *s, const char *type, const char *const *paths);
/* Reads all pages of @spec, the content of one PropertyFilterSpec.  An ended session in the middle
 * is E_VSPHERE_SESSION: what was read so far is worthless. */
int props_retrieve(struct vsphere *vsphere, const struct str *spec, object_fn fn, void *opaque,
                   struct err **err);
/* Properties of one object; E_VSPHERE_NOT_FOUND when it is gone. */
int props_read(struct vsphere *vsphere, const char *type, const char *moref,
               const char *const *paths, object_fn fn, void *opaque, struct err **err);
/* Properties of many objects of one @type; one that is gone is left out. */
int props_read_many(struct vsphere *vsphere, const char *type, const char *const *morefs,
                    size_t count, const char *const *paths, object_fn fn, void *opaque,
                    struct err **err);
/* Properties of every object of @type below @container. */
int props_read_below(struct vsphere *vsphere, const char *container_type, const char *container,
                     const char *type, const char *const *paths, object_fn fn, void *opaque,
                     struct err **err);

/* ---- task.c ---- */

/* Starts a *_Task and waits for its end.  While another task holds the object it waits for that one
 * and asks again.  *ret_fault (may be NULL) is filled when call or task failed with a fault.
 * *ret_result (may be NULL, the caller frees) is the task's result as a moref, or NULL. */
int task_run(struct vsphere *vsphere, const struct call *call, const char *vm_moref,
             char **ret_result, struct fault *ret_fault, struct err **err);
/* Waits for the end of every task of the VM that is running and is about snapshots. */
int task_wait_snapshot_tasks(struct vsphere *vsphere, const char *vm_moref, struct err **err);
/* Sleeps; E_CANCELLED. */
int task_pause(const struct vsphere *vsphere, int64_t ms, struct err **err);
bool task_is_cancelled(const struct vsphere *vsphere);

/* ---- devices.c ---- */

/* Reads <val> of config.hardware.device.  Sorted as vsphere.h says. */
int devices_read_disks(const struct xml_node *devices, struct vsphere_disks *ret_disks,
                       struct err **err);
/* The network of a card on a distributed port group is its moref. */
int devices_read_nics(const struct xml_node *devices, struct vsphere_nics *ret_nics,
                      struct err **err);
/* What `guest.net` (may be NULL) tells of the addresses of @nics. */
void devices_read_addresses(const struct xml_node *guest_nics, struct vsphere_nics *nics);
void devices_free_nics(struct vsphere_nics *nics);
/* The cards that have such a setting, in the server's order. */
int devices_read_starts(const struct xml_node *devices, struct vsphere_nic_starts *ret_starts,
                        struct err **err);
/* The first device; xml_next gives the others. */
const struct xml_node *devices_first(const struct xml_node *devices);
bool devices_is_card(const struct xml_node *device);
bool devices_has_type(const struct xml_node *devices, const char *xsi_type);

/* ---- snapshot.c ---- */

/* Reads <val> of the property `snapshot`; NULL gives none. */
void snapshots_read(const struct xml_node *value, struct vsphere_snapshots *ret_snapshots);
void snapshots_done(struct vsphere_snapshots *snapshots);

/* ---- cbt.c ---- */

/* Whether the disk's own key in @extra_config (may be NULL) turns tracking off. */
bool cbt_is_disabled(const struct xml_node *extra_config, const struct vsphere_disk *disk);

/* ---- find.c ---- */

/* What vsphere_find_vm finds, for many: ret_morefs[i], and ret_datacenters[i] with the name where it
 * is known (else NULL), or ret_errors[i]; all owned by the caller. */
int find_vms(struct vsphere *vsphere, const struct vsphere_selector *selectors, size_t count,
             char **ret_morefs, char **ret_datacenters, struct err **ret_errors, struct err **err);

struct datacenter {
    const char *type; /* "Datacenter", or "Folder" for the root where none is visible */
    char *moref, *name;
};
VEC_DECLARE(datacenters, struct datacenter);
int datacenters_read(struct vsphere *vsphere, struct datacenters *datacenters, struct err **err);
void datacenters_done(struct datacenters *datacenters);

/* ---- inventory.c ---- */

/* A name as people see it: vCenter stores '%', '/' and '\' as %25, %2f and %5c. */
char *inventory_unescape_name(const char *name);
int inventory_read_text(struct vsphere *vsphere, const char *moref, const char *path,
                        char **ret_text, struct err **err);

#endif
