/* virt-v2v-in-place: what it is told, and what it tells. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "guest/internal.h"

#define FEATURES_MS 30000
#define NO_FSTRIM   "--no-fstrim" /* no feature speaks of it: its help does */
#define MAX_XML     (64 * KIB)

/* ---- the command line -------------------------------------------------------------------------- */

static bool
has_feature(const char *features, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = features; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, length) && (line[length] == '\n' || !line[length]))
            return true;
    }
    return false;
}

/* "virt-v2v-in-place-2.0" is a line of every version; what came later is not always one. */
static void
add(struct guest_argv *argv, const char *word)
{
    argv->items[argv->count++] = word;
    argv->items[argv->count] = NULL;
}

void
guest_build_argv(const struct guest_conversion *conversion, const char *program,
                 const char *features, const char *xml_path, struct guest_argv *ret)
{
    ret->count = 0;
    add(ret, program);
    if (conversion->is_debug) {
        add(ret, "-v");
        add(ret, "-x");
    }
    /* As it comes it asks on the terminal when there are several. */
    add(ret, "--root");
    add(ret, conversion->root ? conversion->root : "first");
    if (conversion->block_driver && has_feature(features, "block-driver-option")) {
        add(ret, "--block-driver");
        add(ret, conversion->block_driver);
    }
    /* What it would give back is not worth the downtime: the running guest trims again by itself. */
    if (has_feature(features, NO_FSTRIM))
        add(ret, "--no-fstrim");
    add(ret, "-i");
    if (xml_path) {
        add(ret, "libvirtxml");
        add(ret, xml_path);
        return;
    }
    add(ret, "disk");
    add(ret, "-if");
    add(ret, "qcow2");
    add(ret, conversion->images[0]);
}

static void
append_escaped(struct str *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            str_append(out, "&amp;");
            break;
        case '<':
            str_append(out, "&lt;");
            break;
        case '\'':
            str_append(out, "&apos;");
            break;
        default:
            str_append_bytes(out, text, 1);
        }
    }
}

/* VMware's disks are SCSI disks to the guest: virt-v2v renames /dev/sdX in its files by that. */
int
guest_describe_disks(const struct guest_conversion *conversion, struct str *out, struct err **err)
{
    if (conversion->count > GUEST_MAX_DISKS)
        return err_set(err, E_LIMIT, "a VM of more than %d disks cannot be converted",
                       GUEST_MAX_DISKS);
    str_appendf(out,
                "<domain type='kvm'>\n  <name>v2c</name>\n  <memory unit='MiB'>1024</memory>\n"
                "  <vcpu>2</vcpu>\n  <os%s>\n    <type arch='x86_64'>hvm</type>\n  </os>\n"
                "  <features><acpi/></features>\n  <devices>\n",
                conversion->is_uefi ? " firmware='efi'" : "");
    for (size_t i = 0; i < conversion->count; i++) {
        str_append(out, "    <disk type='file' device='disk'>\n"
                        "      <driver name='qemu' type='qcow2'/>\n      <source file='");
        append_escaped(out, conversion->images[i]);
        str_appendf(out, "'/>\n      <target dev='sd%c' bus='scsi'/>\n    </disk>\n",
                    (char)('a' + i));
    }
    str_append(out, "  </devices>\n</domain>\n");
    return str_check(out, "the description of the disks", err);
}

/* ---- what it tells ----------------------------------------------------------------------------- */

const char *
guest_step_of(const char *line)
{
    const char *end;

    if (*line != '[')
        return NULL;
    end = line + 1 + strspn(line + 1, " 0123456789.");
    if (*end != ']')
        return NULL;
    end++;
    return end + strspn(end, " ");
}

struct follower {
    const struct guest_watch *watch;
    char step[160], complaint[512];
};

static void
follow_line(void *opaque, const char *line)
{
    static const char *const marks[] = {
        "virt-v2v-in-place: error:", "virt-v2v: error:", "libguestfs: error:"};
    struct follower *f = opaque;
    const char *step = guest_step_of(line);

    if (step)
        snprintf(f->step, sizeof(f->step), "%s", step);
    for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
        if (!strncmp(line, marks[i], strlen(marks[i])) && !f->complaint[0])
            snprintf(f->complaint, sizeof(f->complaint), "%s",
                     line + strlen(marks[i]) + strspn(line + strlen(marks[i]), " "));
    if (f->watch->line)
        f->watch->line(f->watch->opaque, line);
}

static bool
follow_stop(void *opaque)
{
    const struct follower *f = opaque;

    return f->watch->is_stopped && f->watch->is_stopped(f->watch->opaque);
}

static int
fail_conversion(const struct follower *f, int status, struct err **err)
{
    bool wants_helper = strstr(f->complaint, "rhsrvany") || strstr(f->complaint, "pvvxsvc");

    err_set(err, E_GUEST_CONVERT, "virt-v2v-in-place failed (%s) in step \"%s\": %s",
            child_describe_status(status), f->step[0] ? f->step : "start",
            f->complaint[0] ? f->complaint : "it did not say why");
    if (wants_helper)
        return err_hint(err,
                        "put rhsrvany.exe and pvvxsvc.exe into /usr/share/virt-tools (packages "
                        "rhsrvany, libguestfs-winsupport)");
    return err_hint(err,
                    "the log has all it said; V2C_VIRT_V2V_DEBUG=1 in the environment makes it "
                    "say more");
}

/* ---- the run ----------------------------------------------------------------------------------- */

static int
ask_converter(const char *program, const char *question, char **ret_answer, int *ret_status,
              struct err **err)
{
    const char *const argv[] = {program, question, NULL};

    return child_run(&(struct child_spec){.argv = argv}, FEATURES_MS, 64 * KIB, ret_answer,
                     ret_status, err);
}

/* The lines of --machine-readable, and NO_FSTRIM as one more. */
static int
read_features(const char *program, char **ret_features, struct err **err)
{
    CLEANUP(free_charp) char *features = NULL;
    CLEANUP(free_charp) char *help = NULL;
    int status;

    if (ask_converter(program, "--machine-readable", &features, &status, err) < 0)
        return -1;
    if (status || !strstr(features, "in-place")) {
        err_set(err, E_GUEST_TOOLS, "%s does not convert in place (%s)", program,
                child_describe_status(status));
        return err_hint(err, "virt-v2v 2.2 and later has virt-v2v-in-place");
    }
    if (ask_converter(program, "--help", &help, &status, err) < 0)
        return -1;
    *ret_features = xasprintf("%s\n%s\n", features, strstr(help, NO_FSTRIM) ? NO_FSTRIM : "");
    return 0;
}

static int
run_converter(const struct guest_conversion *conversion, const char *program, const char *xml_path,
              const struct guest_watch *watch, struct err **err)
{
    CLEANUP(free_charp) char *features = NULL;
    CLEANUP(free_charp) char *drivers = NULL;
    struct follower follower = {.watch = watch};
    struct guest_watch inner = {.line = follow_line,
                                .is_stopped = follow_stop,
                                .opaque = &follower,
                                .timeout_ms = watch->timeout_ms};
    const char *env[] = {"LIBGUESTFS_BACKEND=direct", "LC_ALL=C", NULL, NULL};
    struct guest_argv argv;
    int status;

    if (read_features(program, &features, err) < 0)
        return -1;
    if (conversion->virtio_win)
        env[2] = drivers = xasprintf("VIRTIO_WIN=%s", conversion->virtio_win);
    guest_build_argv(conversion, program, features, xml_path, &argv);
    if (guest_run(argv.items, env, &inner, NULL, &status, err) < 0)
        return err_wrap(err, "step \"%s\"", follower.step[0] ? follower.step : "start");
    return status ? fail_conversion(&follower, status, err) : 0;
}

int
guest_convert(const struct guest_conversion *conversion, const struct guest_watch *watch,
              struct err **err)
{
    CLEANUP(free_charp) char *program = guest_find_converter();
    CLEANUP(free_charp) char *xml_path = file_join(conversion->work_dir, "disks.xml");
    CLEANUP(str_done) struct str xml = STR_INIT(MAX_XML);
    int result;

    if (!program) {
        err_set(err, E_GUEST_TOOLS, "there is no virt-v2v-in-place");
        return err_hint(err,
                        "install virt-v2v, or set run_virt_v2v: false for guests that have virtio "
                        "drivers");
    }
    if (conversion->count == 1)
        return run_converter(conversion, program, NULL, watch, err);
    if (guest_describe_disks(conversion, &xml, err) < 0 ||
        file_replace(xml_path, str_text(&xml), xml.length, 0600, err) < 0)
        return -1;
    result = run_converter(conversion, program, xml_path, watch, err);
    (void)unlink(xml_path);
    return result;
}
