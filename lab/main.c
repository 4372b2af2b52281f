/* v2c-lab: the pretend data centre. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include <jansson.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "core/control.h"
#include "core/lab.h"
#include "core/scenario.h"
#include "core/vms.h"

struct options {
    const char *dir, *scenario;
    unsigned vcenter_port, cloudstack_port, control_port;
    bool dies_with_parent;
};

static const char USAGE[] =
    "usage: v2c-lab --dir DIR --scenario FILE [--vcenter-port N] [--cloudstack-port N]\n"
    "               [--control-port N] [--die-with-parent]\n"
    "\n"
    "A pretend data centre on 127.0.0.1: vCenter, disk server, CloudStack.  DIR/lab.json says "
    "where\n"
    "everything is once the line \"v2c-lab: ready\" is printed.  SIGTERM ends it.\n";

static int
parse_port(const char *text, unsigned *ret_port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*end || end == text || number > 65535) {
        fprintf(stderr, "v2c-lab: %s is no port number\n", text);
        return -1;
    }
    *ret_port = (unsigned)number;
    return 0;
}

static int
parse_options(int argc, char **argv, struct options *options)
{
    static const struct option LONG[] = {
        {"dir", required_argument, NULL, 'd'},
        {"scenario", required_argument, NULL, 's'},
        {"vcenter-port", required_argument, NULL, 'v'},
        {"cloudstack-port", required_argument, NULL, 'c'},
        {"control-port", required_argument, NULL, 'p'},
        {"die-with-parent", no_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, result = 0;

    while ((option = getopt_long(argc, argv, "h", LONG, NULL)) != -1 && result == 0) {
        if (option == 'd')
            options->dir = optarg;
        else if (option == 's')
            options->scenario = optarg;
        else if (option == 'v')
            result = parse_port(optarg, &options->vcenter_port);
        else if (option == 'c')
            result = parse_port(optarg, &options->cloudstack_port);
        else if (option == 'p')
            result = parse_port(optarg, &options->control_port);
        else if (option == 'x')
            options->dies_with_parent = true;
        else
            return option == 'h' ? 1 : -1;
    }
    if (result < 0 || optind < argc || !options->dir || !options->scenario)
        return -1;
    return 0;
}

/* ---- lab.json --------------------------------------------------------------------------------- */

static char *
vddk_path(void)
{
    CLEANUP(free_charp) char *self = realpath("/proc/self/exe", NULL);
    char *slash = self ? strrchr(self, '/') : NULL;

    if (slash)
        *slash = '\0';
    return file_join(slash ? self : ".", "fakevddk");
}

static int
write_description(struct lab *lab, const struct lab_control *control, struct err **err)
{
    CLEANUP(free_charp) char *vddk = vddk_path();
    CLEANUP(free_charp) char *path = file_join(lab->dir, "lab.json");
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(free_charp) char *address = xasprintf("127.0.0.1:%u", lab_vsphere_port(lab));
    CLEANUP(free_charp) char *url = xasprintf("http://127.0.0.1:%u", lab_control_port(control));
    json_t *vms = json_array(), *root;

    pthread_mutex_lock(&lab->mutex);
    for (size_t i = 0; i < lab->vms.count; i++)
        json_array_append_new(vms, lab_vm_describe(lab, lab->vms.items[i]));
    pthread_mutex_unlock(&lab->mutex);
    root = json_pack("{s:{s:s, s:s, s:i, s:s, s:s, s:s, s:s}, s:o, s:s, s:s, s:s, s:i, s:o}",
                     "vcenter", "host", "127.0.0.1", "address", address, "port",
                     (int)lab_vsphere_port(lab), "user", lab->user, "password", lab->password,
                     "sha1", lab->certificate.sha1, "sha256", lab->certificate.sha256, "cloudstack",
                     lab_cloudstack_describe(lab), "vddk_path", vddk, "control", url, "dir",
                     lab->dir, "pid", (int)getpid(), "vms", vms);
    text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return file_replace(path, text, strlen(text), 0600, err);
}

/* ---- running ---------------------------------------------------------------------------------- */

/* Blocks the signals that end us, in every thread that is made after. */
static int
open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static void
wait_for_end(int signals)
{
    struct signalfd_siginfo info;

    while (read(signals, &info, sizeof(info)) < 0 && errno == EINTR)
        ;
}

static int
run(struct lab *lab, const struct options *options, int signals, struct err **err)
{
    struct lab_control *control = NULL;
    json_t *cloudstack = NULL;
    int result = lab_scenario_load(lab, options->scenario, &cloudstack, err);

    if (result == 0)
        result = lab_watch(lab, err);
    if (result == 0)
        result = lab_nfc_start(lab, err);
    if (result == 0)
        result = lab_vsphere_start(lab, options->vcenter_port, err);
    if (result == 0)
        result = lab_cloudstack_start(lab, options->cloudstack_port, cloudstack, err);
    if (result == 0)
        result = lab_control_start(lab, options->control_port, &control, err);
    if (result == 0)
        result = write_description(lab, control, err);
    if (result == 0) {
        printf("v2c-lab: ready: %s/lab.json\n", lab->dir);
        (void)fflush(stdout);
        wait_for_end(signals);
    }
    lab_control_stop(control);
    lab_cloudstack_stop(lab);
    lab_vsphere_stop(lab);
    lab_nfc_stop(lab);
    json_decref(cloudstack);
    return result;
}

int
main(int argc, char **argv)
{
    struct options options = {0};
    struct lab *lab = NULL;
    struct err *err = NULL;
    int parsed = parse_options(argc, argv, &options), signals, result;

    if (parsed != 0) {
        (void)fputs(USAGE, parsed > 0 ? stdout : stderr);
        return parsed > 0 ? 0 : 2;
    }
    if (options.dies_with_parent) {
        pid_t parent = getppid();

        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            return 1; /* it died in between */
    }
    signals = open_signals();
    result = lab_new(options.dir, &lab, &err);
    if (result == 0)
        result = run(lab, &options, signals, &err);
    if (result < 0)
        fprintf(stderr, "v2c-lab: %s\n", err_message(err));
    err_free(err);
    lab_free(lab);
    return result < 0 ? 1 : 0;
}
