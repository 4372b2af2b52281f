/* `serve`: the web service and the queue of its jobs; `ui`: the UI's files alone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/log_choice.h"
#include "cli/notify.h"
#include "config/config.h"
#include "store/accounts.h"

#define DEFAULT_LISTEN  ":8000"
#define DEFAULT_CONTROL "/var/lib/vm-migrator"
#define DEFAULT_WORKERS 3

struct serve_values {
    const char *config, *listen, *allow_origins, *frame_ancestors, *engine_bin, *control_dir,
        *specs_dir, *workdir, *tls_cert, *tls_key, *ui_dir, *log_format;
    int64_t max_workers;
    bool insecure_http;
};

#define OPTION(name, kind, field, value, help)                                                     \
    {                                                                                              \
        name, kind, offsetof(struct serve_values, field), value, help                              \
    }
static const struct option_def serve_options[] = {
    OPTION("config", OPTION_TEXT, config, "FILE",
           "Configuration (default: config.yaml, else ../config.yaml)."),
    OPTION("listen", OPTION_TEXT, listen, "ADDRESS", "ADDRESS:PORT or :PORT (default :8000)."),
    OPTION(
        "tls-cert", OPTION_TEXT, tls_cert, "FILE",
        "Certificate with its chain, PEM. Without it one is made in the control directory, unless "
        "only this host can reach the address."),
    OPTION("tls-key", OPTION_TEXT, tls_key, "FILE", "Its private key, PEM."),
    OPTION("insecure-http", OPTION_BOOL, insecure_http, NULL,
           "Plain HTTP even where others can reach it, as behind a proxy that speaks TLS."),
    OPTION(
        "max-workers", OPTION_INT, max_workers, "N",
        "VMs whose base is copied at once, or that cut over, until it is changed in the settings "
        "(default: migration.parallel_vms, else 3)."),
    OPTION("allow-origins", OPTION_TEXT, allow_origins, "LIST",
           "Origins of other web pages that may use the API, separated by commas (default: "
           "MIGRATOR_CORS_ORIGINS, else none)."),
    OPTION("frame-ancestors", OPTION_TEXT, frame_ancestors, "LIST",
           "Who may embed the UI in a page, as https://cloudstack.example.com (default: nobody)."),
    OPTION("control-dir", OPTION_TEXT, control_dir, "DIR",
           "Must be migration.control_dir where both are given."),
    OPTION("specs-dir", OPTION_TEXT, specs_dir, "DIR",
           "Specs that can be started by their name (default: migration.specs_dir, else specs in "
           "the control directory)."),
    OPTION("workdir", OPTION_TEXT, workdir, "DIR", "Directory that jobs run in."),
    OPTION("engine-bin", OPTION_TEXT, engine_bin, "FILE",
           "Program that runs jobs, instead of this one."),
    OPTION("ui-dir", OPTION_TEXT, ui_dir, "DIR", "The UI's files, instead of the installed ones."),
    OPTION("log-format", OPTION_TEXT, log_format, "text|json|journald", LOG_CHOICE_HELP),
    OPTION_END,
};

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
    const struct sigaction stop = {.sa_handler = on_stop_signal};

    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* ---- what it works with -------------------------------------------------------------------------- */

struct setup {
    char *config_path, *control_dir, *specs_dir, *ui_dir;
    struct ip_ranges trusted_proxies;
    int64_t workers;
    struct config *config;
};

static void
setup_done(struct setup *setup)
{
    vec_done(&setup->trusted_proxies);
    free(setup->config_path);
    free(setup->control_dir);
    free(setup->specs_dir);
    free(setup->ui_dir);
    config_free(setup->config);
}

/* Absolute: jobs are started in another directory. */
static char *
absolute(const char *path)
{
    char *real = realpath(path, NULL);

    return real ? real : xstrdup(path);
}

/* Workers read the control directory from the configuration: another one here would make two of it. */
static int
choose_control_dir(const struct serve_values *v, const struct config *config, struct setup *ret,
                   struct err **err)
{
    const char *configured = config->migration.control_dir;

    ret->control_dir = xstrdup(configured && *configured ? configured : DEFAULT_CONTROL);
    if (!v->control_dir || !strcmp(v->control_dir, ret->control_dir))
        return 0;
    err_set(err, E_CONFIG, "--control-dir is %s, migration.control_dir in %s is %s", v->control_dir,
            ret->config_path, ret->control_dir);
    return err_hint(err, "workers read the configuration: change it there, and leave the flag out");
}

/* Beside the program where it was built, else where it is installed. */
static char *
find_ui(const char *given)
{
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    CLEANUP(free_charp) char *built = NULL;
    char *slash;

    if (given)
        return xstrdup(given);
    program[MAX(length, 0)] = '\0';
    slash = strrchr(program, '/');
    if (slash) {
        *slash = '\0';
        built = xasprintf("%s/../../../web/dist", program);
    }
    if (built && access(built, R_OK) == 0)
        return take(built);
    return xstrdup(V2C_UI_DIR);
}

static int
prepare(const struct serve_values *v, struct setup *ret, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *config_path = v->config ? xstrdup(v->config) : config_default_path();
    CLEANUP(free_charp) char *warnings = NULL;
    const char *specs_dir;

    if (log_choose_early(v->log_format, err) < 0 ||
        config_load(config_path, false, &config, &warnings, err) < 0 ||
        log_choose(v->log_format, config, err) < 0 || config_check_serve(config, err) < 0)
        return -1;
    if (warnings && *warnings)
        log_warning("%s", warnings);
    ret->config_path = absolute(config_path);
    if (choose_control_dir(v, config, ret, err) < 0)
        return -1;
    if (file_make_dirs(ret->control_dir, 0750, err) < 0)
        return -1;
    specs_dir = v->specs_dir ? v->specs_dir : config->migration.specs_dir;
    ret->specs_dir =
        specs_dir && *specs_dir ? absolute(specs_dir) : file_join(ret->control_dir, "specs");
    ret->ui_dir = find_ui(v->ui_dir);
    ret->trusted_proxies = config->serve.trusted_proxies;
    config->serve.trusted_proxies = (struct ip_ranges){0};
    ret->workers = v->max_workers > 0                   ? v->max_workers
                   : config->migration.parallel_vms > 0 ? config->migration.parallel_vms
                                                        : DEFAULT_WORKERS;
    ret->config = take(config);
    return 0;
}

static void
enter_workdir(const struct serve_values *v, const struct setup *setup)
{
    const char *dir = v->workdir ? v->workdir : setup->control_dir;

    if (chdir(dir) < 0)
        log_warning("%s: %s; jobs run in the current directory", dir, strerror(errno));
}

/* Without anybody who may sign in the service is of no use, and says so. */
static void
look_for_people(const struct setup *setup)
{
    CLEANUP(store_closep) struct store *store = NULL;
    struct store_accounts accounts = {0};

    if (store_open(setup->control_dir, false, &store, NULL) < 0 ||
        store_account_list(store, &accounts, NULL) < 0)
        return;
    if (accounts.count == 0)
        log_warning("nobody can sign in yet: `v2c-engine user add NAME --role admin --config %s` "
                    "makes the first administrator",
                    setup->config_path);
    store_accounts_done(&accounts);
}

/* ---- running --------------------------------------------------------------------------------------- */

/* By the queue's thread: so the queue gets on, and whether the others do is asked for. */
static void
on_tick(void *opaque)
{
    static int64_t next_ms;
    static bool was_alive = true;
    int64_t limit = notify_watchdog_ms(), now = clock_monotonic_ms();
    bool is_alive;

    if (limit <= 0 || now < next_ms)
        return;
    next_ms = now + limit / 3;
    is_alive = api_is_alive(opaque, limit);
    if (is_alive)
        notify_send("WATCHDOG=1");
    else if (was_alive)
        log_error(
            "requests are not answered any more: systemd's watchdog is told no longer that all "
            "is well, and starts the service again");
    was_alive = is_alive;
}

/* As the existing tool says it, where people read. */
static void
say_listening(const struct api *api)
{
    if (log_format() != LOG_TEXT)
        log_info("[serve] API listening on %s (control_dir=%s)", api_address(api),
                 api_control_dir(api));
    else
        fprintf(stderr, "[serve] API listening on %s (control_dir=%s)\n", api_address(api),
                api_control_dir(api));
}

/* The control directory is ours now. */
static int
on_begin(void *opaque, struct err **err)
{
    struct api *api = opaque;

    if (api_begin(api, err) < 0)
        return -1;
    say_listening(api);
    notify_send("READY=1");
    return 0;
}

static int
serve(const struct serve_values *v, const struct setup *setup, struct err **err)
{
    CLEANUP(close_fdp) int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CLEANUP(close_fdp) int lock = -1;
    const char *origins = v->allow_origins ? v->allow_origins : getenv("MIGRATOR_CORS_ORIGINS");
    struct api *api = NULL;
    int rc;

    if (wake < 0)
        return err_set_errno(err, E_MEMORY, errno, "eventfd");
    if (queue_lock(setup->control_dir, &lock, err) < 0)
        return -1;
    if (api_start(
            &(struct api_options){
                .config_path = setup->config_path,
                .control_dir = setup->control_dir,
                .specs_dir = setup->specs_dir,
                .listen = v->listen ? v->listen : DEFAULT_LISTEN,
                .tls_cert = v->tls_cert,
                .tls_key = v->tls_key,
                .is_insecure = v->insecure_http,
                .allow_origins = origins,
                .frame_ancestors = v->frame_ancestors,
                .ui_dir = setup->ui_dir,
                .trusted_proxies = &setup->trusted_proxies,
                .default_workers = setup->workers,
                .wake_fd = wake,
                .webhooks = &setup->config->serve.webhooks,
            },
            &api, err) < 0)
        return -1;
    look_for_people(setup);
    rc = queue_run(
        &(struct queue_options){
            .control_dir = setup->control_dir,
            .config_path = setup->config_path,
            .program = v->engine_bin,
            .default_workers = setup->workers,
            .wake_fd = wake,
            .stop = &stop_requests,
            .environment = api_job_environment,
            .on_begin = on_begin,
            .on_change = api_job_changed,
            .on_progress = api_job_progress,
            .on_tick = on_tick,
            .opaque = api,
        },
        err);
    notify_send("STOPPING=1");
    api_stop(api);
    return rc;
}

static int
run_serve(void *opaque, const struct words *words, struct err **err)
{
    const struct serve_values *v = opaque;
    struct setup setup = {0};
    int rc;

    notify_init();
    catch_signals();
    rc = prepare(v, &setup, err);
    if (rc == 0) {
        enter_workdir(v, &setup);
        rc = serve(v, &setup, err);
    }
    setup_done(&setup);
    return rc;
}

const struct command command_serve = {
    .name = "serve",
    .words = "",
    .summary = "run the web service: API, UI and a queue of migrations",
    .description =
        "Serves the API and the UI, and runs the jobs that people begin there, several at once. "
        "Jobs "
        "outlast the service: what runs when it is stopped, or crashes, goes on when it is started "
        "again. A migration that makes deltas, or waits for a person, holds no slot.\n\n"
        "Everybody signs in; `v2c-engine user` makes the first administrator. Where others can "
        "reach "
        "the address it speaks TLS. On SIGTERM workers stop at their next checkpoint; a second one "
        "ends them at once, which is safe too.",
    .options = serve_options,
    .values_size = sizeof(struct serve_values),
    .run = run_serve,
};

/* ---- ui -------------------------------------------------------------------------------------------- */

struct ui_values {
    const char *listen, *api_base, *ui_dir, *tls_cert, *tls_key, *frame_ancestors;
    bool insecure_http;
};

#define UI_OPTION(name, kind, field, value, help)                                                  \
    {                                                                                              \
        name, kind, offsetof(struct ui_values, field), value, help                                 \
    }
static const struct option_def ui_options[] = {
    UI_OPTION("listen", OPTION_TEXT, listen, "ADDRESS",
              "ADDRESS:PORT or :PORT (default 0.0.0.0:5173)."),
    UI_OPTION("api-base", OPTION_TEXT, api_base, "URL",
              "Where browsers find the API (default: VITE_API_BASE in the environment)."),
    UI_OPTION("ui-dir", OPTION_TEXT, ui_dir, "DIR",
              "The UI's files, instead of the installed ones."),
    UI_OPTION("tls-cert", OPTION_TEXT, tls_cert, "FILE", "Certificate with its chain, PEM."),
    UI_OPTION("tls-key", OPTION_TEXT, tls_key, "FILE", "Its private key, PEM."),
    UI_OPTION("insecure-http", OPTION_BOOL, insecure_http, NULL,
              "Plain HTTP even where others can reach it."),
    UI_OPTION("frame-ancestors", OPTION_TEXT, frame_ancestors, "LIST",
              "Who may embed the UI in a page (default: nobody)."),
    OPTION_END,
};

/* It goes into a header: nothing but an address. */
static bool
is_address(const char *text)
{
    return (!strncmp(text, "https://", 8) || !strncmp(text, "http://", 7)) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        ".-:/[]_~%") == strlen(text);
}

static int
serve_ui(const struct ui_values *v, const char *base, const char *dir, struct err **err)
{
    CLEANUP(free_charp) char *index = file_join(dir, "index.html");
    struct api *api = NULL;

    if (access(index, R_OK) < 0)
        return err_set_errno(err, E_CONFIG, errno, "%s", index);
    if (api_start(
            &(struct api_options){
                .listen = v->listen ? v->listen : "0.0.0.0:5173",
                .tls_cert = v->tls_cert,
                .tls_key = v->tls_key,
                .is_insecure = v->insecure_http,
                .frame_ancestors = v->frame_ancestors,
                .ui_dir = dir,
                .ui_for = base,
                .wake_fd = -1,
            },
            &api, err) < 0)
        return -1;
    fprintf(stderr, "[ui] listening on %s, for the API at %s\n", api_address(api), base);
    notify_send("READY=1");
    while (!stop_requests)
        clock_sleep_ms(100);
    api_stop(api);
    return 0;
}

static int
run_ui(void *opaque, const struct words *words, struct err **err)
{
    const struct ui_values *v = opaque;
    const char *base = v->api_base ? v->api_base : getenv("VITE_API_BASE");
    CLEANUP(free_charp) char *dir = find_ui(v->ui_dir);

    notify_init();
    catch_signals();
    if (!base || !*base) {
        err_set(err, E_USAGE, "--api-base is missing, and VITE_API_BASE is not set");
        return err_hint(err, "`v2c-engine serve` has the UI on its own port, and needs neither");
    }
    if (!is_address(base))
        return err_set(err, E_USAGE, "%s: expected an address such as https://v2c.example.com:8000",
                       base);
    return serve_ui(v, base, dir, err);
}

const struct command command_ui = {
    .name = "ui",
    .words = "",
    .summary = "serve the web UI alone, for an API that is elsewhere",
    .description =
        "Serves the UI's files on a port of their own, as the existing tool does on 5173. `serve` "
        "has "
        "them on the API's port already, so this is for those who want them apart. The API must "
        "allow this page's origin (serve --allow-origins), and both must be reached the same way "
        "(https and the same host name): browsers send the session's cookie only then.",
    .options = ui_options,
    .values_size = sizeof(struct ui_values),
    .run = run_ui,
};
