#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>
#include <libnbd.h>
#include <libxml/xmlversion.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <yaml.h>

#include "base/child.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/doctor.h"
#include "cli/text.h"
#include "config/config.h"
#include "disk/disk.h"
#include "io/io.h"
#include "preflight/preflight.h"
#include "storage/storage.h"

#define NEEDED_FILES    1024
#define NEEDED_ROOM     (256 * MIB) /* in the control directory: state, logs */
#define QEMU_TIMEOUT_MS 10000
#define BYTES_PER_DISK  (8 * MIB)  /* of a worker beside its buffers: tables, v2c-vddk */
#define LOCKED_BYTES    (32 * MIB) /* that io_uring wants to register, for one disk */

static void add(struct findings *findings, const char *name, enum finding_level level,
                const char *advice, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void
add(struct findings *findings, const char *name, enum finding_level level, const char *advice,
    const char *fmt, ...)
{
    struct finding finding = {.name = name, .level = level, .advice = xstrdup(advice)};
    struct str found = STR_INIT(4096);
    va_list args;

    va_start(args, fmt);
    str_vappendf(&found, fmt, args);
    va_end(args);
    for (char *c = found.data; c && *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c == 0x7f)
            *c = ' ';
    finding.found = str_take(&found);
    vec_push(findings, finding);
}

/* With the error's own hint, where it has one. */
static void
add_error(struct findings *findings, const char *name, enum finding_level level, const char *advice,
          const struct err *error)
{
    const char *hint = err_hint_text(error);

    add(findings, name, level, hint ? hint : advice, "%s", err_message(error));
}

void
findings_done(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->items[i].found);
        free(findings->items[i].advice);
    }
    vec_done(findings);
}

/* ---- program and host ------------------------------------------------------------------------- */

static void
look_at_versions(struct findings *findings)
{
    struct nbd_handle *nbd = nbd_create();
    const char *nbd_version = nbd ? nbd_get_version(nbd) : NULL;
    struct utsname host = {0};

    (void)uname(&host);
    add(findings, "program", FINDING_OK, NULL, "v2c-engine %s on %s %s, %s", V2C_VERSION,
        host.sysname, host.release, host.machine);
    add(findings, "libraries", FINDING_OK, NULL,
        "libcurl %s, %s, libxml2 %s, SQLite %s, libnbd %s, jansson %s, libyaml %s",
        curl_version_info(CURLVERSION_NOW)->version, OpenSSL_version(OPENSSL_VERSION),
        LIBXML_DOTTED_VERSION, sqlite3_libversion(), nbd_version ? nbd_version : "unknown",
        jansson_version_str(), yaml_get_version_string());
    nbd_close(nbd);
}

/* What a disk's target is written through, by opening just that. */
static void
look_at_file_io(struct findings *findings)
{
    CLEANUP(disk_pool_freep) struct disk_pool *pool = NULL;
    CLEANUP(io_freep) struct io *io = NULL;
    CLEANUP(err_freep) struct err *error = NULL, *refusal = NULL;

    pool = disk_pool_new(disk_pool_share(1), &error);
    if (!pool || io_new(IO_BACKEND_AUTO, 16, pool->base, pool->slot_count * DISK_MAX_REQUEST, &io,
                        &error) < 0)
        add_error(findings, "file I/O", FINDING_PROBLEM, "no disk can be written", error);
    else if (io_has_fixed_buffers(io))
        add(findings, "file I/O", FINDING_OK, NULL, "%s, with registered buffers",
            io_backend_name(io));
    else if (io_uring_usable(&refusal))
        add(findings, "file I/O", FINDING_OK, NULL, "%s, without registered buffers",
            io_backend_name(io));
    else
        add(findings, "file I/O", FINDING_WARNING,
            "threads cost more CPU than io_uring; allow it with sysctl kernel.io_uring_disabled=0, "
            "or in the container's seccomp profile",
            "%s: %s", io_backend_name(io), err_message(refusal));
}

static void
look_at_limits(struct findings *findings)
{
    struct rlimit files = {0}, locked = {0};

    (void)getrlimit(RLIMIT_NOFILE, &files);
    (void)getrlimit(RLIMIT_MEMLOCK, &locked);
    if (files.rlim_cur < NEEDED_FILES)
        add(findings, "open files", FINDING_WARNING,
            "many disks at once may run out of them: raise it with ulimit -n, or LimitNOFILE= of "
            "the service",
            "limited to %" PRIu64, (uint64_t)files.rlim_cur);
    else
        add(findings, "open files", FINDING_OK, NULL, "limit %" PRIu64, (uint64_t)files.rlim_cur);
    /* Kernels since 5.12 account registered buffers to the memory cgroup, not to this limit. */
    if (locked.rlim_cur == RLIM_INFINITY || geteuid() == 0)
        add(findings, "locked memory", FINDING_OK, NULL, "not limited");
    else if (locked.rlim_cur < LOCKED_BYTES)
        add(findings, "locked memory", FINDING_WARNING,
            "io_uring may be refused fixed buffers, which costs some CPU: raise it with ulimit -l, "
            "or LimitMEMLOCK= of the service",
            "limited to %" PRIu64 " KiB", (uint64_t)(locked.rlim_cur / KIB));
    else
        add(findings, "locked memory", FINDING_OK, NULL, "limit %" PRIu64 " KiB",
            (uint64_t)(locked.rlim_cur / KIB));
}

static void
look_at_memory(const struct config *config, struct findings *findings)
{
    uint64_t disks = (uint64_t)MAX(config->migration.parallel_vms, 1) *
                     (uint64_t)MAX(config->migration.parallel_disks, 1);
    uint64_t buffers =
        disk_pool_share((size_t)MAX(config->migration.parallel_disks, 1)) * DISK_MAX_REQUEST;
    uint64_t needed = disks * (buffers + BYTES_PER_DISK), available = 0;
    CLEANUP(free_charp) char *text = NULL;
    size_t length;
    const char *line;

    if (file_read("/proc/meminfo", 64 * KIB, &text, &length, NULL) == 0 &&
        (line = strstr(text, "MemAvailable:")))
        available = strtoull(line + strlen("MemAvailable:"), NULL, 10) * KIB;
    if (available == 0)
        return;
    add(findings, "memory", available < needed ? FINDING_WARNING : FINDING_OK,
        available < needed ? "lower migration.parallel_vms or parallel_disks" : NULL,
        "%" PRIu64 " MiB available, %" PRIu64 " MiB needed for %" PRIu64 " disks at once",
        (uint64_t)(available / MIB), (uint64_t)(needed / MIB), disks);
}

static void
look_at_qemu_img(struct findings *findings)
{
    static const char *const argv[] = {"qemu-img", "--version", NULL};
    const struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(free_charp) char *output = NULL;
    const char *advice =
        "finished files are then checked by this program alone; install qemu-utils "
        "(EL: qemu-img)";
    int status;

    if (child_run(&spec, QEMU_TIMEOUT_MS, 4096, &output, &status, &error) < 0)
        add(findings, "qemu-img", FINDING_WARNING, advice, "%s", err_message(error));
    else if (!WIFEXITED(status) || WEXITSTATUS(status))
        add(findings, "qemu-img", FINDING_WARNING, advice, "it ended with %s",
            child_describe_status(status));
    else
        add(findings, "qemu-img", FINDING_OK, NULL, "%.*s", (int)strcspn(output, "\n"), output);
}

static void
look_at_mounts(const struct storage_nfs_client *client, struct findings *findings)
{
    if (client->has_agent)
        add(findings, "NFS mounts", FINDING_OK, NULL,
            "this host's CloudStack agent makes them, and v2c-engine none");
    else if (!client->program)
        add(findings, "NFS mounts", FINDING_WARNING,
            "where CloudStack's primary storage is NFS, install nfs-common (EL: nfs-utils), or "
            "write it without a mount (storage.nfs: userspace)",
            "there is no mount.nfs");
    else if (client->kernel == STORAGE_NO)
        add(findings, "NFS mounts", FINDING_WARNING,
            "where CloudStack's primary storage is NFS, boot a kernel that has its client, or "
            "write it without a mount (storage.nfs: userspace)",
            "this kernel has no NFS client");
    else if (!client->may_mount)
        add(findings, "NFS mounts", FINDING_WARNING,
            "where CloudStack's primary storage is NFS, run as root, mount it beforehand, or "
            "write it without a mount (storage.nfs: userspace)",
            "%s is there, but this user may not mount", client->program);
    else
        add(findings, "NFS mounts", FINDING_OK, NULL, "%s%s", client->program,
            client->kernel == STORAGE_UNKNOWN
                ? "; whether the kernel has a client is only seen by mounting"
                : ", and a kernel with a client");
}

static void
look_at_nfs(const struct config *config, struct findings *findings)
{
    const char *version = io_nfs_version();
    bool is_chosen = config->storage.is_userspace_nfs;
    struct storage_nfs_client client;

    storage_look_at_nfs(&client);
    if (!is_chosen)
        look_at_mounts(&client, findings);
    if (version)
        add(findings, "userspace NFS", FINDING_OK, NULL, "libnfs %s%s%s", version,
            is_chosen ? "" : ", not used (storage.nfs: mount)",
            client.has_low_ports ? "" : "; exports must allow ports above 1023 (insecure)");
    else if (is_chosen)
        add(findings, "userspace NFS", FINDING_PROBLEM,
            "set storage.nfs to mount, or build v2c-engine with libnfs",
            "not built in, and storage.nfs is userspace");
    else
        add(findings, "userspace NFS", FINDING_OK, NULL,
            "not built in, and not used (storage.nfs: mount)");
}

/* ---- configuration ---------------------------------------------------------------------------- */

static void
look_at_secrets(const struct config *config, struct findings *findings)
{
    struct stat st;

    if (stat(config->path, &st) == 0 && (st.st_mode & 044))
        add(findings, "secrets", FINDING_WARNING, "chmod 600 it", "%s can be read by other users",
            config->path);
}

/* The configuration, or the defaults where there is none. */
static void
look_at_webhooks(const struct config *config, struct findings *findings)
{
    CLEANUP(err_freep) struct err *error = NULL;

    if (!config->serve.webhooks.count)
        return;
    if (config_check_serve(config, &error) < 0)
        add_error(findings, "webhooks", FINDING_WARNING, "`serve` does not start like this", error);
    else
        add(findings, "webhooks", FINDING_OK, NULL, "%zu, each with a secret",
            config->serve.webhooks.count);
}

static struct config *
look_at_config(const char *given, struct findings *findings)
{
    CLEANUP(free_charp) char *path = given ? xstrdup(given) : config_default_path();
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(free_charp) char *warnings = NULL;
    struct config *config = NULL;

    if (!given && access(path, F_OK) < 0) {
        add(findings, "configuration", FINDING_PROBLEM,
            "name one with --config, or copy examples/config.yaml; what follows is for the "
            "defaults",
            "there is no config.yaml here or in the parent directory");
        return config_new();
    }
    if (config_load(path, false, &config, &warnings, &error) < 0) {
        add_error(findings, "configuration", FINDING_PROBLEM,
                  "correct the file; what follows is for the defaults", error);
        return config_new();
    }
    if (config_check_run(config, &error) < 0)
        add_error(findings, "configuration", FINDING_PROBLEM, "add what is missing", error);
    else
        add(findings, "configuration", FINDING_OK, NULL, "%s", path);
    look_at_webhooks(config, findings);
    look_at_secrets(config, findings);
    return config;
}

/* The check that `check` makes too, under the name that it has here. */
static void
look_at_vddk(const struct config *config, struct findings *findings)
{
    static const enum finding_level levels[] = {FINDING_OK, FINDING_WARNING, FINDING_PROBLEM};
    struct preflight_findings looked = {0};

    preflight_look_at_vddk(config, &looked);
    for (size_t i = 0; i < looked.count; i++)
        add(findings, "VDDK", levels[looked.items[i].status], looked.items[i].cure, "%s",
            looked.items[i].message);
    preflight_findings_done(&looked);
}

/* ---- control directory ------------------------------------------------------------------------ */

static void
look_at_room(const char *dir, struct findings *findings)
{
    struct str text = STR_INIT(64);
    struct statvfs fs;
    uint64_t room;

    if (statvfs(dir, &fs) < 0)
        return;
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    text_append_bytes(&text, room);
    if (room < NEEDED_ROOM)
        add(findings, "control directory", FINDING_WARNING,
            "state and logs need room: a full disk stops every migration", "%s: only %s free", dir,
            str_text(&text));
    else
        add(findings, "control directory", FINDING_OK, NULL, "%s: writable, %s free", dir,
            str_text(&text));
    str_done(&text);
}

static void
look_at_direct_io(const char *dir, const struct io_file *file, struct findings *findings)
{
    if (file->direct_fd >= 0)
        add(findings, "direct I/O", FINDING_OK, NULL, "works in %s, in units of %" PRIu32 " bytes",
            dir, file->offset_alignment);
    else
        add(findings, "direct I/O", FINDING_WARNING,
            "only a target's file system counts; where it has none either, writes go through the "
            "page cache and cost more CPU and memory",
            "the file system of %s has none", dir);
}

static void
look_at_control_dir(const struct config *config, struct findings *findings)
{
    const char *dir = config->migration.control_dir;
    CLEANUP(free_charp) char *path = xasprintf("%s/.doctor-%ld", dir, (long)getpid());
    struct io_file file = IO_FILE_NONE;
    int errnum;

    if (access(dir, F_OK) < 0 && errno == ENOENT) {
        add(findings, "control directory", FINDING_WARNING,
            "the first run makes it (migration.control_dir)", "%s does not exist", dir);
        return;
    }
    if (io_file_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, false, &file, &errnum) <
        0) {
        add(findings, "control directory", FINDING_PROBLEM,
            "run as a user who may write there, or set migration.control_dir to another directory",
            "%s cannot be written: %s", dir, strerror(errnum));
        return;
    }
    (void)unlink(path);
    look_at_room(dir, findings);
    look_at_direct_io(dir, &file, findings);
    io_file_close(&file);
}

void
doctor_look(const char *config_path, struct findings *findings)
{
    CLEANUP(config_freep) struct config *config = NULL;

    look_at_versions(findings);
    config = look_at_config(config_path, findings);
    look_at_control_dir(config, findings);
    look_at_vddk(config, findings);
    look_at_file_io(findings);
    look_at_qemu_img(findings);
    look_at_nfs(config, findings);
    look_at_limits(findings);
    look_at_memory(config, findings);
}
