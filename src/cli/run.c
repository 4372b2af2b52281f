#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/display.h"
#include "cli/load.h"
#include "cli/log_choice.h"
#include "config/config.h"
#include "supervisor/supervisor.h"

struct run_values {
    struct words specs;
    const char *config, *verify, *untouched, *log_format;
    int64_t readers, parallel_vms, parallel_disks;
    bool run_virt_v2v, override_run_virt_v2v, lenient, allow_past_finalize;
};

#define OPTION(name, kind, field, value, help)                                                     \
    {                                                                                              \
        name, kind, offsetof(struct run_values, field), value, help                                \
    }
static const struct option_def run_options[] = {
    OPTION("spec", OPTION_LIST, specs, "FILE", "VM spec; may be given several times."),
    OPTION("config", OPTION_TEXT, config, "FILE",
           "Configuration (default: config.yaml, else ../config.yaml)."),
    OPTION("readers", OPTION_INT, readers, "N",
           "Upper bound of readers a disk, instead of what specs say."),
    OPTION("parallel-vms", OPTION_INT, parallel_vms, "N",
           "VMs at once, instead of migration.parallel_vms (3)."),
    OPTION("parallel-disks", OPTION_INT, parallel_disks, "N",
           "Disks of a VM at once, instead of what specs and configuration say."),
    OPTION("verify", OPTION_TEXT, verify, "none|sample|full",
           "What of the copies is read back before the cutover, instead of what specs say."),
    OPTION("run-virt-v2v", OPTION_BOOL, run_virt_v2v, NULL,
           "Whether guests are converted; counts only with --override-run-virt-v2v."),
    OPTION("override-run-virt-v2v", OPTION_BOOL, override_run_virt_v2v, NULL,
           "Let --run-virt-v2v decide instead of specs and configuration."),
    OPTION("lenient", OPTION_BOOL, lenient, NULL,
           "Warn of unknown keys in configuration and specs instead of refusing them."),
    OPTION("allow-past-finalize", OPTION_BOOL, allow_past_finalize, NULL,
           "Begin even when finalize_at has passed: cut over right after the base copy."),
    OPTION("source-untouched", OPTION_TEXT, untouched, "MOREF",
           "That VM was edited or moved after its conversion, and neither started nor written; for "
           "jobs of `serve` a retry takes the same word."),
    OPTION("log-format", OPTION_TEXT, log_format, "text|json|journald", LOG_CHOICE_HELP),
    OPTION_END,
};

/* Set by signals: 1 stops at the next checkpoint, 2 at once. */
static volatile int stop_requests;

static void
on_stop_signal(int number)
{
    if (stop_requests < 2)
        stop_requests++;
}

static void
catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_stop_signal};
    struct sigaction before;

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
            (void)sigaction(numbers[i], &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* ---- jobs ------------------------------------------------------------------------------------- */

VEC_DECLARE(owned_words, char *);

struct run {
    struct supervisor_job *jobs;
    struct owned_words *argv; /* one a job, NULL terminated */
    const char **labels;      /* borrowed from the specs */
    bool *has_started;
    size_t count;
    struct display *display;
    int told_stop; /* the last stop request that was spoken of */
};

static void
add_flag(struct owned_words *argv, const char *name, bool is_set)
{
    if (is_set)
        vec_push(argv, xasprintf("--%s", name));
}

static void
add_number(struct owned_words *argv, const char *name, int64_t value)
{
    if (value > 0)
        vec_push(argv, xasprintf("--%s=%" PRId64, name, value));
}

static void
build_argv(const struct run_values *v, const char *config, const struct spec *spec,
           struct owned_words *argv)
{
    vec_push(argv, xstrdup("worker"));
    vec_push(argv, xasprintf("--config=%s", config));
    vec_push(argv, xasprintf("--spec=%s", spec->path));
    vec_push(argv, xasprintf("--entry=%u", spec->entry));
    vec_push(argv, xasprintf("--vm=%s", spec_label(spec)));
    vec_push(argv, xstrdup("--report-fd=3"));
    add_number(argv, "readers", v->readers);
    add_number(argv, "parallel-disks", v->parallel_disks);
    if (v->verify)
        vec_push(argv, xasprintf("--verify=%s", v->verify));
    add_flag(argv, "run-virt-v2v", v->run_virt_v2v);
    add_flag(argv, "override-run-virt-v2v", v->override_run_virt_v2v);
    add_flag(argv, "lenient", v->lenient);
    add_flag(argv, "allow-past-finalize", v->allow_past_finalize);
    if (v->untouched)
        vec_push(argv, xasprintf("--source-untouched=%s", v->untouched));
    vec_push(argv, NULL);
}

static void
run_init(struct run *run, const struct run_values *v, const char *config,
         const struct spec_list *specs)
{
    size_t count = specs->count;

    *run = (struct run){
        .jobs = xcalloc(count, sizeof(run->jobs[0])),
        .argv = xcalloc(count, sizeof(run->argv[0])),
        .labels = xcalloc(count, sizeof(run->labels[0])),
        .has_started = xcalloc(count, sizeof(run->has_started[0])),
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        build_argv(v, config, specs->items[i], &run->argv[i]);
        run->labels[i] = spec_label(specs->items[i]);
        run->jobs[i] = (struct supervisor_job){.label = run->labels[i],
                                               .argv = (const char *const *)run->argv[i].items};
    }
    run->display = display_new(stderr, log_format() == LOG_TEXT && isatty(STDERR_FILENO) == 1,
                               run->labels, count);
}

static void
run_done(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        for (size_t w = 0; w < run->argv[i].count; w++)
            free(run->argv[i].items[w]);
        vec_done(&run->argv[i]);
    }
    display_free(run->display);
    free(run->jobs);
    free(run->argv);
    free(run->labels);
    free(run->has_started);
}

/* ---- events ----------------------------------------------------------------------------------- */

static void
on_ended(struct run *run, size_t job, const struct err *error)
{
    const char *label = run->labels[job];
    struct str summary = STR_INIT(4096);

    display_set_state(run->display, job, error ? DISPLAY_FAILED : DISPLAY_DONE);
    if (!error)
        display_vm_line(run->display, job, NULL, "[run] completed VM workflow: %s", label);
    if (!error && display_summary(run->display, job, &summary))
        display_vm_line(run->display, job, NULL, "[run] %s: %s", label, str_text(&summary));
    /* The only one's error ends the program, and is said then. */
    if (error && (run->count > 1 || log_format() != LOG_TEXT))
        display_vm_line(run->display, job, error, "[run] %s VM workflow: %s: %s",
                        err_code(error) == E_CANCELLED ? "stopped" : "failed", label,
                        err_message(error));
    str_done(&summary);
}

static void
on_event(void *opaque, const struct supervisor_event *event)
{
    struct run *run = opaque;

    switch (event->kind) {
    case SUPERVISOR_STARTED:
        display_set_state(run->display, event->job, DISPLAY_RUNNING);
        if (!run->has_started[event->job])
            display_vm_line(run->display, event->job, NULL, "[run] starting VM workflow: %s",
                            run->labels[event->job]);
        run->has_started[event->job] = true;
        break;
    case SUPERVISOR_REPORT:
        display_report(run->display, event->job, event->report);
        break;
    case SUPERVISOR_RESTART:
        display_set_state(run->display, event->job, DISPLAY_RESTARTING);
        display_vm_line(run->display, event->job, event->error,
                        "[run] %s: %s; starting it again in %d s", run->labels[event->job],
                        err_message(event->error), (event->delay_ms + 999) / 1000);
        break;
    case SUPERVISOR_ENDED:
        on_ended(run, event->job, event->error);
        break;
    }
}

static void
on_tick(void *opaque)
{
    struct run *run = opaque;

    if (stop_requests > run->told_stop) {
        run->told_stop = stop_requests;
        display_line(run->display, "%s",
                     stop_requests == 1
                         ? "[run] stopping at the next checkpoint; once more (Ctrl-C) stops at once"
                         : "[run] stopping at once");
    }
    display_tick(run->display);
}

/* ---- command ---------------------------------------------------------------------------------- */

static int
run_run(void *opaque, const struct words *words, struct err **err)
{
    struct run_values *v = opaque;
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *config_path = v->config ? xstrdup(v->config) : config_default_path();
    const struct load_request request = {
        .specs = &v->specs,
        .words = words,
        .config_path = config_path,
        .overrides = {.readers = v->readers > 0 ? v->readers : -1,
                      .verify = v->verify,
                      .parallel_disks = v->parallel_disks > 0 ? v->parallel_disks : -1,
                      .run_virt_v2v = v->override_run_virt_v2v ? v->run_virt_v2v : -1},
        .is_lenient = v->lenient,
        .chooses_log = true,
        .log_format = v->log_format,
    };
    struct spec_list specs = {0};
    struct run run;
    int rc;

    if (log_choose_early(v->log_format, err) < 0 || load_all(&request, &config, &specs, err) < 0) {
        spec_list_done(&specs);
        return -1;
    }
    catch_signals();
    run_init(&run, v, config_path, &specs);
    rc = supervisor_run(
        &(struct supervisor_options){
            .jobs = run.jobs,
            .job_count = run.count,
            .max_workers =
                (size_t)(v->parallel_vms > 0 ? v->parallel_vms : config->migration.parallel_vms),
            .on_event = on_event,
            .on_tick = on_tick,
            .opaque = &run,
            .stop = &stop_requests,
        },
        err);
    run_done(&run);
    spec_list_done(&specs);
    if (rc < 0 && stop_requests)
        err_hint(err, "run the same command again: it goes on from the last checkpoint");
    return rc;
}

const struct command command_run = {
    .name = "run",
    .words = "[SPEC...]",
    .summary = "migrate the VMs of one or more specs",
    .description =
        "Migrates every VM of the specs: copies its disks while it runs, keeps them current, cuts "
        "over when finalize is asked for (see finalize, and finalize_at in the spec), and imports "
        "it "
        "into CloudStack. It stays in the foreground to the end.\n\n"
        "Ctrl-C stops at the next checkpoint; a second one stops at once and is as safe. The same "
        "command goes on where it stopped, after a crash too. One VM that fails does not stop the "
        "others; the exit status is 1 then.",
    .options = run_options,
    .values_size = sizeof(struct run_values),
    .run = run_run,
};
