/* Settings of base-copy and delta-sync.  One table says where each key stands in an engine spec and
 * within what bounds; flags are the same keys under longer names. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/expert.h"

#define MAX_IN_FLIGHT        64 /* requests of 1 MiB: beyond it memory grows and nothing else */
#define DEFAULT_MAX_CHUNK_MB INT64_C(4)
#define MAX_MOREF            50 /* so that the owner id of a target can hold it */

#define OPTION(name, kind, field, value, help)                                                     \
    {                                                                                              \
        name, kind, offsetof(struct expert, field), value, help                                    \
    }

/* Flags of both commands. */
#define CONNECTION_OPTIONS                                                                         \
    OPTION("spec", OPTION_TEXT, spec, "FILE", "Engine spec (YAML); flags override its values."),   \
        OPTION("source", OPTION_TEXT, source, "SOURCE",                                            \
               "Read file:PATH (raw), nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH " \
               "instead of a disk of VMware's."),                                                  \
        OPTION("vddk-libdir", OPTION_TEXT, libdir, "DIR", "VDDK: the directory that has lib64."),  \
        OPTION("server", OPTION_TEXT, server, "HOST", "vCenter or ESXi host."),                    \
        OPTION("user", OPTION_TEXT, user, "NAME", "User there."),                                  \
        OPTION("password", OPTION_TEXT, password, "TEXT",                                          \
               "Password there; VC_PASSWORD in the environment is better, as everybody on this "   \
               "host can see a command line."),                                                    \
        OPTION("thumbprint", OPTION_TEXT, thumbprint, "HEX",                                       \
               "Fingerprint (SHA-256 or SHA-1) of the server's certificate; without it the "       \
               "certificate must verify against this host's authorities."),                        \
        OPTION("vm-moref", OPTION_TEXT, vm_moref, "ID", "The VM: vm-16."),                         \
        OPTION("snapshot-moref", OPTION_TEXT, snapshot_moref, "ID",                                \
               "Its snapshot: snapshot-17; none only for a VM that is powered off."),              \
        OPTION("disk-path", OPTION_TEXT, disk_path, "PATH",                                        \
               "\"[datastore] directory/disk.vmdk\", as of that snapshot."),                       \
        OPTION("readers", OPTION_INT, readers, "N",                                                \
               "Upper bound of connections (4). NBD sources use as many as are measured to help; " \
               "a disk of VMware's is read over one."),                                            \
        OPTION("queue-depth", OPTION_INT, queue_depth, "N",                                        \
               "Upper bound of reads in flight (64). Not given: 16, over NBD 32. As many are "     \
               "used as "                                                                          \
               "help.")

#define AT_MOST_ONE " More than 1 MiB is taken as 1 MiB."

const struct option_def expert_base_options[] = {
    CONNECTION_OPTIONS,
    OPTION("target-qcow2", OPTION_TEXT, target, "FILE", "File to make; it must not exist."),
    OPTION("disk-size-bytes", OPTION_INT, disk_size_bytes, "N",
           "Size that the source must have; 0: any."),
    OPTION("min-chunk-mb", OPTION_INT, min_chunk_mb, "N",
           "Smallest request; not given: 256 KiB, for a source that is slow." AT_MOST_ONE),
    OPTION("max-chunk-mb", OPTION_INT, max_chunk_mb, "N", "Largest request." AT_MOST_ONE),
    OPTION(
        "fast-latency-ms", OPTION_INT, fast_latency_ms, "N",
        "Requests that are no slower than this, and bring fast-mbps, let the next ones grow (40)."),
    OPTION("slow-latency-ms", OPTION_INT, slow_latency_ms, "N",
           "Requests that are slower, because they wait for each other or little comes through, "
           "make the next ones fewer, then smaller (250)."),
    OPTION("fast-mbps", OPTION_INT, fast_mbps, "N",
           "MiB/s of the source from which on requests grow (180)."),
    OPTION("slow-mbps", OPTION_INT, slow_mbps, "N",
           "MiB/s of the source below which requests become fewer, then smaller (40)."),
    {"run-virt-v2v", OPTION_BOOL, offsetof(struct expert, run_virt_v2v), NULL,
     "Convert the guest afterwards (true, but false with --source). This version cannot: "
     "--run-virt-v2v=false must be given.",
     offsetof(struct expert, has_run_virt_v2v)},
    OPTION("virtio-iso", OPTION_TEXT, virtio_iso, "FILE",
           "Drivers for the conversion. Without effect in this version."),
    OPTION_END,
};

const struct option_def expert_delta_options[] = {
    CONNECTION_OPTIONS,
    OPTION("target-qcow2", OPTION_TEXT, target, "FILE", "File that base-copy made."),
    OPTION("ranges-file", OPTION_TEXT, ranges_file, "FILE",
           "What to copy: a JSON list of {\"start\": bytes, \"length\": bytes}."),
    OPTION("chunk-mb", OPTION_INT, chunk_mb, "N", "Largest request." AT_MOST_ONE),
    OPTION_END,
};

#define IN_VDDK  1U
#define IN_BASE  2U
#define IN_DELTA 4U

#define TEXT_KEY(sections, key)                                                                    \
    {                                                                                              \
#key, sections, offsetof(struct expert, key), 0, 0                                         \
    }
#define INT_KEY(sections, key, most, preset)                                                       \
    {                                                                                              \
#key, sections, offsetof(struct expert, key), most, preset                                 \
    }
static const struct key {
    const char *name;
    unsigned sections;
    size_t offset;
    int64_t most, preset; /* of a number; most 0: a text */
} keys[] = {
    TEXT_KEY(IN_VDDK, libdir),
    TEXT_KEY(IN_VDDK, server),
    TEXT_KEY(IN_VDDK, user),
    TEXT_KEY(IN_VDDK, password),
    TEXT_KEY(IN_VDDK, thumbprint),
    TEXT_KEY(IN_VDDK, vm_moref),
    TEXT_KEY(IN_BASE | IN_DELTA, source),
    TEXT_KEY(IN_BASE | IN_DELTA, snapshot_moref),
    TEXT_KEY(IN_BASE | IN_DELTA, disk_path),
    {"target_qcow2", IN_BASE | IN_DELTA, offsetof(struct expert, target), 0, 0},
    TEXT_KEY(IN_DELTA, ranges_file),
    TEXT_KEY(IN_BASE, virtio_iso),
    INT_KEY(IN_BASE, disk_size_bytes, INT64_MAX, 0),
    INT_KEY(IN_BASE | IN_DELTA, readers, 256, 4),
    INT_KEY(IN_BASE | IN_DELTA, queue_depth, 4096, 0),
    INT_KEY(IN_BASE, min_chunk_mb, 1024, 0),
    INT_KEY(IN_BASE, max_chunk_mb, 1024, 0),
    INT_KEY(IN_DELTA, chunk_mb, 1024, 0),
    INT_KEY(IN_BASE, fast_latency_ms, 3600000, 40),
    INT_KEY(IN_BASE, slow_latency_ms, 3600000, 250),
    INT_KEY(IN_BASE, fast_mbps, 1000000, 180),
    INT_KEY(IN_BASE, slow_mbps, 1000000, 40),
};

static char **
text_of(const struct expert *expert, const struct key *key)
{
    return (char **)((char *)expert + key->offset);
}

static int64_t *
number_of(const struct expert *expert, const struct key *key)
{
    return (int64_t *)((char *)expert + key->offset);
}

/* ---- the engine spec -------------------------------------------------------------------------- */

/* Decodes one section into @settings, or only checks it when that is NULL: a file may serve both
 * commands, and a mistake in it is one either way. */
static void
decode_section(const struct node *map, unsigned section, struct expert *settings,
               struct problems *problems)
{
    const char *known[ARRAY_SIZE(keys) + 2] = {NULL};
    struct expert dropped = {0};
    struct expert *into = settings ? settings : &dropped;
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!(keys[i].sections & section))
            continue;
        known[count++] = keys[i].name;
        if (keys[i].most)
            (void)node_decode_int(map, keys[i].name, 0, keys[i].most, number_of(into, &keys[i]),
                                  problems);
        else
            (void)node_decode_string(map, keys[i].name, text_of(into, &keys[i]), problems);
    }
    if (section == IN_BASE) {
        known[count++] = "run_virt_v2v";
        into->has_run_virt_v2v =
            node_decode_bool(map, "run_virt_v2v", &into->run_virt_v2v, problems);
    }
    node_check_keys(map, known, problems);
    expert_done(&dropped);
}

static int
read_spec(const char *path, enum expert_mode mode, struct expert *settings, struct err **err)
{
    static const char *const sections[] = {"vddk", "base_copy", "delta_sync", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    const struct node *root, *base, *delta;
    struct problems problems;
    int rc;

    if (doc_read(path, &doc, err) < 0)
        return -1;
    root = doc_root(doc);
    problems_init(&problems, false);
    if (node_kind(root) != NODE_MAP) {
        problems_add(&problems, root, "expected an engine spec with vddk, base_copy, delta_sync");
    } else {
        node_check_keys(root, sections, &problems);
        base = node_decode_map(root, "base_copy", &problems);
        delta = node_decode_map(root, "delta_sync", &problems);
        decode_section(node_decode_map(root, "vddk", &problems), IN_VDDK, settings, &problems);
        decode_section(base, IN_BASE, mode == EXPERT_BASE_COPY ? settings : NULL, &problems);
        decode_section(delta, IN_DELTA, mode == EXPERT_DELTA_SYNC ? settings : NULL, &problems);
    }
    rc = problems_check(&problems, err);
    problems_done(&problems);
    return rc;
}

/* ---- merging and checking --------------------------------------------------------------------- */

static void
drop_blank(char **text)
{
    if (*text && !(*text)[strspn(*text, " \t")]) {
        free(*text);
        *text = NULL;
    }
}

static int
merge(const struct expert *flags, struct expert *settings, struct err **err)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        const struct key *key = &keys[i];

        if (!key->most) {
            if (*text_of(flags, key)) {
                free(*text_of(settings, key));
                *text_of(settings, key) = xstrdup(*text_of(flags, key));
            }
            drop_blank(text_of(settings, key));
            continue;
        }
        if (*number_of(flags, key) < 0 || *number_of(flags, key) > key->most)
            return err_set(err, E_USAGE, "%s: expected 0 to %" PRId64, key->name, key->most);
        if (*number_of(flags, key))
            *number_of(settings, key) = *number_of(flags, key);
        if (!*number_of(settings, key))
            *number_of(settings, key) = key->preset;
    }
    if (flags->has_run_virt_v2v) {
        settings->has_run_virt_v2v = true;
        settings->run_virt_v2v = flags->run_virt_v2v;
    }
    if (flags->password)
        log_warning("everybody on this host can see --password on the command line; VC_PASSWORD "
                    "in the environment is better");
    return 0;
}

/* Every one that is missing, in one go. */
static int
check_vddk(struct expert *s, struct err **err)
{
    const struct {
        const char *value, *flag;
    } needed[] = {{s->libdir, "--vddk-libdir"}, {s->server, "--server"},
                  {s->user, "--user"},          {s->password, "VC_PASSWORD (or --password)"},
                  {s->vm_moref, "--vm-moref"},  {s->disk_path, "--disk-path"}};
    struct str missing = STR_INIT(4096);
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!needed[i].value)
            str_appendf(&missing, "%s%s", missing.length ? ", " : "", needed[i].flag);
    if (missing.length) {
        err_set(err, E_USAGE, "missing: %s", str_text(&missing));
        rc =
            err_hint(err, "an engine spec (--spec) may give them too; --source reads a file or NBD "
                          "export instead");
    }
    str_done(&missing);
    if (rc == 0 && strlen(s->vm_moref) > MAX_MOREF)
        return err_set(err, E_USAGE, "vm_moref %.60s... is no id of a VM", s->vm_moref);
    return rc;
}

static int
check_source(struct expert *s, struct err **err)
{
    static const char *const schemes[] = {"file:", "nbd://", "nbds://", "nbd+unix://",
                                          "nbds+unix://"};

    if (!s->source) {
        if (!s->password && getenv("VC_PASSWORD"))
            s->password = xstrdup(getenv("VC_PASSWORD"));
        return check_vddk(s, err);
    }
    if (s->disk_path || s->snapshot_moref)
        return err_set(err, E_USAGE,
                       "a source (%s) and a disk of VMware's are both given: leave one out",
                       s->source);
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
        size_t length = strlen(schemes[i]);

        if (!strncmp(s->source, schemes[i], length) && s->source[length])
            return 0;
    }
    return err_set(err, E_USAGE, "source %s: expected file:PATH, nbd://... or nbd+unix://...",
                   s->source);
}

/* Conversion is the default of the existing tool for a VMware disk.  Leaving it out unasked would give
 * out an image that does not boot as one that does. */
static int
check_conversion(const struct expert *s, struct err **err)
{
    if (s->has_run_virt_v2v ? !s->run_virt_v2v : s->source != NULL)
        return 0;
    err_set(err, E_NOT_BUILT, "run_virt_v2v: this version cannot convert guests");
    return err_hint(err,
                    "give --run-virt-v2v=false (base_copy.run_virt_v2v: false in the spec) and "
                    "run virt-v2v-in-place on the file afterwards%s",
                    s->has_run_virt_v2v ? "" : "; without it true is the default");
}

/* The existing tool's requests are of up to 4 MiB; ours are not, because more are in flight. */
static void
clamp_chunk(int64_t *chunk_mb, const char *name)
{
    if (*chunk_mb <= 1)
        return;
    log_warning("%s %" PRId64 ": requests are of at most 1 MiB", name, *chunk_mb);
    *chunk_mb = 1;
}

static int
check_bounds(struct expert *s, struct err **err)
{
    if (s->min_chunk_mb > (s->max_chunk_mb ? s->max_chunk_mb : DEFAULT_MAX_CHUNK_MB))
        return err_set(err, E_CONFIG, "min_chunk_mb %" PRId64 " is above max_chunk_mb %" PRId64,
                       s->min_chunk_mb, s->max_chunk_mb ? s->max_chunk_mb : DEFAULT_MAX_CHUNK_MB);
    clamp_chunk(&s->min_chunk_mb, "min_chunk_mb");
    clamp_chunk(&s->max_chunk_mb, "max_chunk_mb");
    clamp_chunk(&s->chunk_mb, "chunk_mb");
    if (s->fast_latency_ms > s->slow_latency_ms)
        return err_set(err, E_CONFIG,
                       "fast_latency_ms %" PRId64 " is above slow_latency_ms %" PRId64,
                       s->fast_latency_ms, s->slow_latency_ms);
    if (s->slow_mbps > s->fast_mbps)
        return err_set(err, E_CONFIG, "slow_mbps %" PRId64 " is above fast_mbps %" PRId64,
                       s->slow_mbps, s->fast_mbps);
    if (s->disk_size_bytes % DISK_SECTOR)
        return err_set(err, E_CONFIG, "disk_size_bytes %" PRId64 " is no multiple of 512",
                       s->disk_size_bytes);
    if (s->queue_depth > MAX_IN_FLIGHT) {
        log_warning("queue_depth %" PRId64 " is more than this program uses: %d", s->queue_depth,
                    MAX_IN_FLIGHT);
        s->queue_depth = MAX_IN_FLIGHT;
    }
    return 0;
}

int
expert_settings(enum expert_mode mode, const struct expert *flags, struct expert *ret_settings,
                struct err **err)
{
    struct expert *s = ret_settings;

    if (flags->spec && read_spec(flags->spec, mode, s, err) < 0)
        return -1;
    if (merge(flags, s, err) < 0 || check_source(s, err) < 0)
        return -1;
    if (!s->target)
        return err_set(err, E_USAGE, "missing: --target-qcow2");
    if (mode == EXPERT_DELTA_SYNC && !s->ranges_file)
        return err_set(err, E_USAGE, "missing: --ranges-file");
    if (check_bounds(s, err) < 0)
        return -1;
    return mode == EXPERT_BASE_COPY ? check_conversion(s, err) : 0;
}

void
expert_done(struct expert *settings)
{
    if (settings->password)
        explicit_bzero(settings->password, strlen(settings->password));
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (!keys[i].most) {
            free(*text_of(settings, &keys[i]));
            *text_of(settings, &keys[i]) = NULL;
        }
}

void
expert_owner(const struct expert *settings, char ret_owner[QCOW2_ID_SIZE])
{
    if (settings->source)
        snprintf(ret_owner, QCOW2_ID_SIZE, "expert");
    else
        snprintf(ret_owner, QCOW2_ID_SIZE, "expert:%s", settings->vm_moref);
}
