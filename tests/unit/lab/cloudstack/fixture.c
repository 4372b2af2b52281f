#include "fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"

struct seen_boot seen_boot;
struct lab_fault next_fault;
char next_fault_where[128];

/* ---- what stands for other rooms -------------------------------------------------------------- */

struct lab_boot {
    int nothing;
};

int
lab_boot_start(const struct lab_boot_plan *plan, struct lab_boot **ret, struct err **err)
{
    if (seen_boot.must_fail)
        return err_set(err, E_SPAWN, "no QEMU today");
    seen_boot.disk_count = plan->disk_count;
    seen_boot.nic_count = plan->nic_count;
    for (unsigned i = 0; i < plan->disk_count && i < 8; i++)
        (void)snprintf(seen_boot.disks[i], sizeof(seen_boot.disks[i]), "%s", plan->disks[i]);
    for (unsigned i = 0; i < plan->nic_count && i < 8; i++)
        (void)snprintf(seen_boot.macs[i], sizeof(seen_boot.macs[i]), "%s", plan->macs[i]);
    (void)snprintf(seen_boot.controller, sizeof(seen_boot.controller), "%s", plan->disk_controller);
    (void)snprintf(seen_boot.adapter, sizeof(seen_boot.adapter), "%s", plan->nic_adapter);
    seen_boot.is_uefi = plan->is_uefi;
    seen_boot.starts++;
    *ret = xcalloc(1, sizeof(**ret));
    return 0;
}

void
lab_boot_state(struct lab_boot *boot, struct lab_boot_state *ret)
{
    *ret = (struct lab_boot_state){.is_running = !seen_boot.has_ended, .is_up = true, .files = 3};
}

void
lab_boot_stop(struct lab_boot *boot)
{
    seen_boot.stops++;
    free(boot);
}

bool
lab_fault_take(struct lab_faults *faults, const char *where, struct lab_fault *ret_fault)
{
    if (strcmp(where, next_fault_where))
        return false;
    next_fault_where[0] = '\0';
    *ret_fault = next_fault;
    return true;
}

/* ---- life ------------------------------------------------------------------------------------- */

static int
connect_client(struct fixture *f)
{
    json_t *told = lab_cloudstack_describe(&f->lab);
    struct cloudstack_options options = {
        .endpoint = cs_text(told, "endpoint"),
        .api_key = cs_text(told, "api_key"),
        .secret_key = cs_text(told, "secret_key"),
        .trust = {.thumbprint = cs_text(told, "sha256"), .config_key = "cloudstack"},
    };
    int result = cloudstack_connect(&options, &f->cs, &f->err);

    json_decref(told);
    if (result == 0) {
        f->cs->pause_ms = 1;
        f->cs->poll_ms = 20;
    }
    return result;
}

struct fixture *
fixture_new(const char *config)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    json_t *section = config ? json_loads(config, 0, NULL) : json_object();

    memset(&seen_boot, 0, sizeof(seen_boot));
    next_fault_where[0] = '\0';
    if (!json_object_get(section, "job_ms"))
        json_object_set_new(section, "job_ms", json_integer(5));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/v2c-cs-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->lab.dir = f->dir;
    /* Any non-NULL: lab_fault_take above does not look at it. */
    f->lab.faults = (struct lab_faults *)f;
    assert_int_equal(lab_certificate_new(&f->lab.certificate, NULL), 0);
    if (lab_cloudstack_start(&f->lab, 0, section, &f->err) < 0 || connect_client(f) < 0)
        fail_msg("%s", err_message(f->err));
    json_decref(section);
    return f;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return remove(path);
}

void
fixture_free(struct fixture *f)
{
    cloudstack_free(f->cs);
    lab_cloudstack_stop(&f->lab);
    lab_certificate_done(&f->lab.certificate);
    (void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    err_free(f->err);
    free(f);
}

bool
has_qemu_img(void)
{
    const char *argv[] = {"qemu-img", "--version", NULL};
    CLEANUP(free_charp) char *output = NULL;
    int status = -1;

    if (child_run(&(struct child_spec){.argv = argv}, 30000, 65536, &output, &status, NULL) == 0 &&
        status == 0)
        return true;
    puts("skipped: qemu-img is not installed");
    return false;
}

/* ---- calls ------------------------------------------------------------------------------------ */

static json_t *
vcall(struct fixture *f, const char *command, va_list args)
{
    struct cloudstack_params params = {0};
    json_t *answer = NULL;
    const char *name;

    while ((name = va_arg(args, const char *)))
        params_add(&params, name, va_arg(args, const char *));
    (void)cloudstack_call(f->cs, CALL_WRITE, command, &params, &answer, &f->err);
    params_done(&params);
    return answer;
}

json_t *
call(struct fixture *f, const char *command, ...)
{
    json_t *answer;
    va_list args;

    va_start(args, command);
    answer = vcall(f, command, args);
    va_end(args);
    return answer;
}

json_t *
job(struct fixture *f, const char *command, ...)
{
    json_t *answer, *result = NULL;
    va_list args;

    va_start(args, command);
    answer = vcall(f, command, args);
    va_end(args);
    if (answer)
        (void)cloudstack_job_wait(f->cs, cs_text(answer, "jobid"), 30000, &result, &f->err);
    json_decref(answer);
    return result;
}

void
expect_error(struct fixture *f, enum err_code code, const char *words)
{
    assert_non_null(f->err);
    if (err_code(f->err) != code || !strstr(err_message(f->err), words))
        fail_msg("got %s: %s", err_code_name(err_code(f->err)), err_message(f->err));
    err_free(take(f->err));
}

/* ---- files ------------------------------------------------------------------------------------ */

void
run(const struct fixture *f, const char *program, ...)
{
    const char *argv[16] = {program};
    CLEANUP(free_charp) char *output = NULL;
    struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    struct err *err = NULL;
    int status = 0, count = 1;
    va_list args;

    va_start(args, program);
    while (count < 15 && (argv[count] = va_arg(args, const char *)))
        count++;
    va_end(args);
    if (child_run(&spec, 60000, 65536, &output, &status, &err) < 0)
        fail_msg("%s", err_message(err));
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        fail_msg("%s: %s", program, output);
}

const char *
pool_path(const struct fixture *f, const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/primary/%s", f->dir, name);
    return path;
}

void
make_disk(const struct fixture *f, const char *name)
{
    run(f, "qemu-img", "create", "-q", "-f", "qcow2", pool_path(f, name), "8M", NULL);
}

char *
import_vm(struct fixture *f, const char *name, const char *file)
{
    json_t *result = job(f, "importVm", "name", name, "zoneid", ZONE, "clusterid", CLUSTER,
                         "hypervisor", "KVM", "importsource", "shared", "storageid", POOL,
                         "diskpath", file, "networkid", ISOLATED, "serviceofferingid", SMALL, NULL);
    char *id = result ? xstrdup(cs_text(json_object_get(result, "virtualmachine"), "id")) : NULL;

    json_decref(result);
    return id;
}
