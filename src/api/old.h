/* Inside api: what the existing tool's endpoints share. */
#ifndef V2C_API_OLD_H
#define V2C_API_OLD_H

#include "api/internal.h"

struct old_vm {
    struct store_job job;          /* the newest of it; id 0: none */
    struct store_migration record; /* id 0: none */
};
/* 0; 1 when the request has its answer; -1.  @job_id (may be NULL) must be of that VM. */
int old_find(struct request *r, const char *vm, const char *job_id, struct old_vm *ret,
             struct err **err);
void old_vm_done(struct old_vm *vm);

/* A migration to begin from a spec file. */
struct old_start {
    const char *vm_name, *spec_file;
    const char *retry_of;             /* NULL: a new one */
    const char *vcenter, *cloudstack; /* environments; NULL: as the request's headers say */
    bool is_debug;
};
int old_begin(struct request *r, const struct old_start *start, struct err **err);
/* The spec of the VM called @name: @file, or (NULL) the one in its directory.  E_JOB_NOT_FOUND. */
int old_spec_path(struct request *r, const char *name, const char *file, char **ret,
                  struct err **err);

#endif
