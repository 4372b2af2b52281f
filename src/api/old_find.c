/* Which VM the existing tool's paths mean: its moref, the id of a job of it, or its name if only one has it. */
#include <stdio.h>
#include <string.h>

#include "api/internal.h"
#include "api/old.h"

void
old_vm_done(struct old_vm *vm)
{
    store_job_done(&vm->job);
    store_migration_done(&vm->record);
    *vm = (struct old_vm){0};
}

static int
refuse(struct request *r, unsigned status, const char *text)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    err_set(&failure, E_REQUEST, "%s", text);
    answer_error(r, status, failure);
    return 1;
}

static bool
means(const char *text, const char *name, const char *moref)
{
    return (moref && !strcmp(text, moref)) || (name && !strcmp(text, name));
}

/* Two VMs of one name are two morefs, or one moref of two vCenters. */
static bool
is_other(const struct store_migration *a, const struct store_migration *b)
{
    return a->id && b->id && a->id != b->id;
}

static int
find_record(struct request *r, const char *text, struct old_vm *ret, struct err **err)
{
    struct store_migrations records = {0};
    struct store_migration *found = NULL;
    int rc = 0;

    if (store_migration_list(r->store, &records, err) < 0)
        return -1;
    for (size_t i = 0; i < records.count && rc == 0; i++) {
        struct store_migration *record = &records.items[i];

        if (!means(text, record->vm_name, record->vm_moref))
            continue;
        if (found && is_other(found, record))
            rc = refuse(r, MHD_HTTP_CONFLICT,
                        "several VMs have that name: say which by its moref or job id");
        found = record;
    }
    if (rc == 0 && found) {
        ret->record = *found;
        *found = (struct store_migration){0};
    }
    store_migrations_done(&records);
    return rc;
}

/* The newest job of the VM. */
static int
find_job(struct request *r, const char *text, struct old_vm *ret, struct err **err)
{
    struct store_jobs jobs = {0};
    const struct store_job *found = NULL;
    int rc = 0;

    if (store_job_list(r->store, &(struct store_job_filter){.kind = JOB_MIGRATE}, &jobs, NULL,
                       err) < 0)
        return -1;
    for (size_t i = 0; i < jobs.count && rc == 0; i++) {
        const struct store_job *job = &jobs.items[i];

        if (ret->record.id ? job->migration != ret->record.id &&
                                 (job->migration || !means(text, job->vm_name, job->vm_moref))
                           : !means(text, job->vm_name, job->vm_moref))
            continue;
        if (found && found->vm_moref && job->vm_moref && strcmp(found->vm_moref, job->vm_moref))
            rc = refuse(r, MHD_HTTP_CONFLICT,
                        "several VMs have that name: say which by its moref or job id");
        found = job;
    }
    if (rc == 0 && found)
        rc = store_job_get(r->store, found->job_id, &ret->job, err);
    store_jobs_done(&jobs);
    return rc;
}

static int
record_of_job(struct request *r, struct old_vm *ret, struct err **err)
{
    bool is_there = false;

    if (ret->record.id || !ret->job.migration)
        return 0;
    return store_migration_of_job(r->store, &ret->job, &is_there, &ret->record, err);
}

int
old_find(struct request *r, const char *text, const char *job_id, struct old_vm *ret,
         struct err **err)
{
    int rc = 0;

    *ret = (struct old_vm){0};
    if (job_id || store_job_get(r->store, text, &ret->job, NULL) == 0) {
        if (job_id)
            rc = store_job_get(r->store, job_id, &ret->job, err);
        if (rc == 0 && job_id && strcmp(text, job_id) != 0 &&
            !means(text, ret->job.vm_name, ret->job.vm_moref))
            rc = refuse(r, MHD_HTTP_BAD_REQUEST, "that job is of another VM");
    } else {
        rc = find_record(r, text, ret, err);
        if (rc == 0)
            rc = find_job(r, text, ret, err);
    }
    if (rc == 0)
        rc = record_of_job(r, ret, err);
    if (rc == 0 && !ret->job.id && !ret->record.id)
        rc = refuse(r, MHD_HTTP_NOT_FOUND, "no job and no migration of that VM is known");
    if (rc)
        old_vm_done(ret);
    return rc;
}
