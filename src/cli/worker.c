/* The hidden command: migrates one VM, under a supervisor. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/told.h"
#include "config/config.h"
#include "migration/migration.h"

struct worker_values {
    const char *config, *spec, *vm, *verify, *untouched;
    int64_t entry, report_fd, readers, parallel_disks;
    bool run_virt_v2v, override_run_virt_v2v, lenient, allow_past_finalize;
};

#define OPTION(name, kind, field)                                                                  \
    {                                                                                              \
        name, kind, offsetof(struct worker_values, field), "X", NULL                               \
    }
static const struct option_def worker_options[] = {
    OPTION("config", OPTION_TEXT, config),
    OPTION("spec", OPTION_TEXT, spec),
    OPTION("entry", OPTION_INT, entry),
    OPTION("vm", OPTION_TEXT, vm),
    OPTION("report-fd", OPTION_INT, report_fd),
    OPTION("readers", OPTION_INT, readers),
    OPTION("parallel-disks", OPTION_INT, parallel_disks),
    OPTION("verify", OPTION_TEXT, verify),
    OPTION("run-virt-v2v", OPTION_BOOL, run_virt_v2v),
    OPTION("override-run-virt-v2v", OPTION_BOOL, override_run_virt_v2v),
    OPTION("lenient", OPTION_BOOL, lenient),
    OPTION("allow-past-finalize", OPTION_BOOL, allow_past_finalize),
    OPTION("source-untouched", OPTION_TEXT, untouched),
    OPTION_END,
};

static volatile int stop_requested;

static void
on_stop(int number)
{
    stop_requested = number == SIGUSR1 ? MIGRATION_STOP_ORPHANED : MIGRATION_STOP;
}

/* The supervisor alone decides when to stop: Ctrl-C and the end of a terminal reach it, and must not
 * reach the worker or what the worker has started. */
static void
leave_terminal(void)
{
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)setsid();
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGUSR1, &stop, NULL); /* the supervisor is about to go */
    (void)sigaction(SIGINT, &ignore, NULL);
    (void)sigaction(SIGHUP, &ignore, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

/* ---- the supervisor's life -------------------------------------------------------------------- */

struct parent {
    int pidfd, report_fd;
};

/* Ends the migration at its next checkpoint when the supervisor is gone: the pipe's other end closes,
 * or the process ends; whichever is seen first. */
static void *
watch_parent(void *opaque)
{
    const struct parent *parent = opaque;
    struct pollfd fds[] = {
        {.fd = parent->pidfd, .events = POLLIN},
        {.fd = parent->report_fd}, /* POLLERR when nobody can read any more */
    };

    while (poll(fds, ARRAY_SIZE(fds), -1) <= 0)
        continue;
    log_warning("the supervisor is gone: stopping at the next checkpoint");
    stop_requested = MIGRATION_STOP_ORPHANED;
    return NULL;
}

static int
start_watching(struct parent *parent, struct err **err)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    int errnum;

    parent->pidfd = (int)syscall(SYS_pidfd_open, getppid(), 0); /* without it the pipe is enough */
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errnum = pthread_create(&thread, &attr, watch_parent, parent);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (errnum)
        return err_set_errno(err, E_MEMORY, errnum,
                             "starting the thread that watches the supervisor");
    return 0;
}

/* ---- the work --------------------------------------------------------------------------------- */

/* The entry must still be the VM that the supervisor means: the file may have been edited since. */
static int
find_spec(const struct worker_values *v, const struct spec_list *specs, const struct spec **ret,
          struct err **err)
{
    const struct spec *spec = NULL;

    for (size_t i = 0; i < specs->count; i++)
        if (specs->items[i]->entry == v->entry)
            spec = specs->items[i];
    if (!spec || (v->vm && strcmp(spec_label(spec), v->vm) != 0)) {
        err_set(err, E_CONFIG, "%s has changed: VM number %lld is not %s any more", v->spec,
                (long long)v->entry + 1, v->vm ? v->vm : "there");
        return err_hint(err, "start the run again to take the new file");
    }
    *ret = spec;
    return 0;
}

static int
migrate(const struct worker_values *v, const struct config *config, struct spec_list *specs,
        struct err **err)
{
    const struct spec_overrides overrides = {
        .readers = v->readers > 0 ? v->readers : -1,
        .verify = v->verify,
        .parallel_disks = v->parallel_disks > 0 ? v->parallel_disks : -1,
        .run_virt_v2v = v->override_run_virt_v2v ? v->run_virt_v2v : -1,
    };
    const struct spec *spec = NULL;

    /* Warnings were shown by the supervisor, which has read the same files. */
    if (spec_load_all(&v->spec, 1, config, &overrides, v->lenient, specs, NULL, err) < 0 ||
        find_spec(v, specs, &spec, err) < 0)
        return -1;
    return migration_run(
        &(struct migration_options){
            .config = config,
            .spec = spec,
            .allow_past_finalize = v->allow_past_finalize,
            .untouched = v->untouched,
            .stop = &stop_requested,
            .report_fd = (int)v->report_fd,
        },
        err);
}

static int
run_worker(void *opaque, const struct words *words, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    static struct parent parent; /* the watching thread has it to the end of the process */
    struct worker_values *v = opaque;
    struct spec_list specs = {0};
    struct err *failure = NULL;
    int rc = -1;

    if (!v->spec || !v->config)
        return err_set(err, E_USAGE, "worker needs --config and --spec; it is started by `run`");
    if (v->report_fd <= STDERR_FILENO)
        v->report_fd = -1;
    leave_terminal();
    parent = (struct parent){.pidfd = -1, .report_fd = (int)v->report_fd};
    if (v->report_fd >= 0) {
        (void)fcntl((int)v->report_fd, F_SETFD, FD_CLOEXEC);
        /* A supervisor that was suspended (Ctrl-Z) must not hold up the migration. */
        (void)fcntl((int)v->report_fd, F_SETFL, O_NONBLOCK);
        log_set_stderr(false); /* the supervisor shows what is reported */
        rc = start_watching(&parent, &failure);
    } else {
        rc = 0;
    }
    if (rc == 0)
        rc = config_load(v->config, v->lenient, &config, NULL, &failure);
    if (rc == 0)
        rc = migrate(v, config, &specs, &failure);
    if (rc < 0)
        tell_failure((int)v->report_fd, failure);
    spec_list_done(&specs);
    if (rc == 0)
        return 0;
    if (v->report_fd < 0)
        return err_move(err, &failure);
    err_free(failure);
    return COMMAND_FAILED_AND_SAID_SO;
}

const struct command command_worker = {
    .name = "worker",
    .words = "",
    .summary = "migrate one VM for `run`",
    .description = "Migrates one VM under the supervision of `run`.",
    .options = worker_options,
    .values_size = sizeof(struct worker_values),
    .is_hidden = true,
    .run = run_worker,
};
