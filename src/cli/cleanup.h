/* Inside cli: what `cleanup` knows, finds and does. */
#ifndef V2C_CLI_CLEANUP_H
#define V2C_CLI_CLEANUP_H

#include <jansson.h>

#include "cli/select.h"

struct cloudstack;
struct vsphere;

/* A migration whose id (the tag of its snapshots and files) is this engine's. */
enum known_state {
    KNOWN_RESUMABLE, /* running, or `run` goes on with it */
    KNOWN_CANCELLED, /* its cancel did not come to its end */
    KNOWN_OVER, /* done or rolled back: its files are a VM's disks, or hold what one has written */
    KNOWN_FORGOTTEN, /* no record any more */
};
struct known {
    char tag[64];
    enum known_state state;
    int64_t migration; /* row; 0: forgotten */
    char *vcenter, *moref, *vm_name;
    char *shell_vm;   /* deployed for its import, and not the imported one; NULL: none */
    bool keeps_files; /* somebody wanted its files to stay */
    char *stage;
};
VEC_DECLARE(knowns, struct known);

enum item_side { SIDE_VSPHERE, SIDE_STORAGE, SIDE_CLOUDSTACK, SIDE_LOCAL, SIDE_MAX_ };
enum item_kind { ITEM_SNAPSHOT, ITEM_FILE, ITEM_OVERLAYS, ITEM_VM, ITEM_MIGRATION, ITEM_DIRECTORY };
enum item_fate { FATE_REMOVE, FATE_IN_USE, FATE_LEFT, FATE_REMOVED, FATE_FAILED };

struct item {
    enum item_side side;
    enum item_kind kind;
    enum item_fate fate;
    char *what;  /* moref, path, id */
    char *label; /* name of a snapshot, else NULL */
    char tag[64];
    char *vcenter, *moref; /* whose lock is taken; NULL: nobody's */
    char *vm_name;         /* NULL: not known */
    int64_t migration;     /* of ITEM_MIGRATION */
    int64_t bytes;         /* -1: not known */
    char *why;             /* it is believed ours, or is not touched */
};
VEC_DECLARE(items, struct item);

struct cleanup {
    struct selection *selection;
    bool takes_orphans;
    struct knowns knowns;
    struct items items;
    struct vsphere *vsphere;       /* NULL: not reached */
    struct cloudstack *cloudstack; /* NULL: not reached */
    json_t *volume_paths;          /* {path: true} of all volumes of CloudStack; NULL: not known */
    struct err *unreached[SIDE_MAX_];
};

/* ---- cleanup_known.c */

int cleanup_load_known(struct cleanup *c, struct err **err);
void cleanup_free_known(struct cleanup *c);
const struct known *cleanup_find_known(const struct cleanup *c, const char *tag);
/* Whether a migration of that VM is running or can go on. */
bool cleanup_is_in_use(const struct cleanup *c, const char *vcenter, const char *moref);
/* "v2c-vm-16-65a1b2c3" into its moref, which the caller frees; NULL: no such id. */
char *cleanup_moref_of(const char *tag);
/* The id that a snapshot of ours of the VM @moref has in its name: "<id>-<kind>-<seconds>". */
bool cleanup_tag_of_snapshot(const char *name, const char *moref, char ret_tag[64]);

/* ---- cleanup_find.c, cleanup_pools.c: fill c->items; a side that fails is noted in `unreached` */

void cleanup_find(struct cleanup *c);
void cleanup_find_files(struct cleanup *c);
/* Asks CloudStack for the volumes it has now. */
int cleanup_read_volumes(struct cleanup *c, struct err **err);
/* A new item with the fate that follows from who has the id; @what is copied. */
struct item *cleanup_add(struct cleanup *c, enum item_side side, enum item_kind kind,
                         const char *what, const char *tag);
/* Sets fate and reason. */
void cleanup_leave(struct item *item, enum item_fate fate, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void cleanup_note(struct cleanup *c, enum item_side side, struct err **failure /* taken */);
/* "<pool>/<file>" of ours: its owner id, and whether it is to be left although the id would let it go. */
bool cleanup_is_referred(const struct cleanup *c, const char *path);

/* ---- cleanup_do.c: removes what is to be removed; each under its VM's lock, looked at again */

void cleanup_do(struct cleanup *c);

#endif
