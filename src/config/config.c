#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "config/credentials.h"
#include "config/mark_source.h"
#include "config/values.h"
#include "config/vddk.h"
#include "config/webhooks.h"

struct config *
config_new(void)
{
    struct config *config = xcalloc(1, sizeof(*config));

    config->path = xstrdup("config.yaml");
    config->migration.control_dir = xstrdup("/var/lib/vm-migrator");
    config->migration.quiesce = CONFIG_QUIESCE_AUTO;
    config->migration.verify = CONFIG_VERIFY_SAMPLE;
    config->migration.shutdown = CONFIG_SHUTDOWN_AUTO;
    config->migration.finalize_settle_seconds = -1;
    config->virt.timeout_seconds = 3600;
    config->migration.parallel_disks = 4;
    config->migration.parallel_vms = 3;
    config->migration.max_handles_per_host = 8;
    config->migration.max_inflight_mib = 192;
    vddk_defaults(&config->migration.vddk);
    mark_source_defaults(&config->migration.mark_source);
    config->virt.virtio_iso = xstrdup("/usr/share/virtio-win/virtio-win.iso");
    return config;
}

void
config_free(struct config *config)
{
    if (!config)
        return;
    free(config->path);
    free(config->vcenter.host);
    free(config->vcenter.user);
    free(config->vcenter.password);
    free(config->vcenter.ca_file);
    free(config->vcenter.thumbprint);
    free(config->cloudstack.endpoint);
    free(config->cloudstack.api_key);
    free(config->cloudstack.secret_key);
    free(config->cloudstack.ca_file);
    free(config->cloudstack.thumbprint);
    free(config->migration.vddk_path);
    free(config->migration.control_dir);
    free(config->migration.specs_dir);
    free(config->migration.workdir);
    host_rates_done(&config->migration.host_rates);
    vec_done(&config->serve.trusted_proxies);
    target_done(&config->defaults);
    free(config->virt.virtio_iso);
    webhooks_done(&config->serve.webhooks);
    free(config);
}

void
config_freep(struct config **config)
{
    config_free(*config);
    *config = NULL;
}

char *
config_default_path(void)
{
    if (access("config.yaml", F_OK) == 0)
        return xstrdup("config.yaml");
    if (access("../config.yaml", F_OK) == 0)
        return xstrdup("../config.yaml");
    return xstrdup("config.yaml");
}

/* ---- single values ---------------------------------------------------------------------------- */

/* What may follow a host: nothing, or ":443". */
static bool
is_port(const char *text, size_t length)
{
    unsigned port = 0;

    if (length == 0)
        return true;
    if (text[0] != ':' || length > 6)
        return false;
    for (size_t i = 1; i < length; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port > 0 && port < 65536;
}

/* A name, an address or an IPv6 address in brackets, of @length bytes, with an optional port. */
static bool
is_host(const char *text, size_t length)
{
    size_t name = *text == '[' ? strspn(text + 1, "0123456789abcdefABCDEF:.%") + 2
                               : strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
                                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_");

    return name > 0 && name <= length && (*text != '[' || text[name - 1] == ']') &&
           is_port(text + name, length - name);
}

/* People paste the address of the web client: its scheme and path are taken off.  @where says in a
 * warning or problem where the value came from. */
static void
decode_host(const char *text, const struct node *node, const char *where, char **host,
            struct problems *problems)
{
    const char *start = strstr(text, "://");
    size_t length;

    start = start ? start + 3 : text;
    length = strcspn(start, "/?#");
    if (!is_host(start, length)) {
        problems_add(problems, node,
                     "%sexpected the name or address of a vCenter or ESXi host, with an optional "
                     ":port",
                     where);
        return;
    }
    if (start != text || start[length])
        problems_warn(problems, node, "%sonly the host is used: %.*s", where, (int)length, start);
    free(*host);
    *host = strndup(start, length);
}

/* What @name says in the environment, unless that is nothing. */
static const char *
environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static void
override(const char *name, char **value)
{
    const char *text = environment(name);

    if (!text)
        return;
    free(*value);
    *value = xstrdup(text);
}

/* V2C_..._TLS, from the service, for servers that are not the file's: "verify", "insecure" or
 * "thumbprint:...".  What the file trusts does not count then. */
static void
override_trust(const char *name, bool *is_insecure, char **ca_file, char **thumbprint)
{
    const char *text = environment(name);

    if (!text)
        return;
    free(take(*ca_file));
    free(take(*thumbprint));
    *is_insecure = !strcmp(text, "insecure");
    if (!strncmp(text, "thumbprint:", 11))
        *thumbprint = xstrdup(text + 11);
}

/* ---- sections --------------------------------------------------------------------------------- */

static void
decode_vcenter(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"host",     "user",    "password",   "password_file",
                                       "insecure", "ca_file", "thumbprint", NULL};
    const struct node *map = node_decode_map(root, "vcenter", problems);
    CLEANUP(free_charp) char *host = NULL;
    int is_insecure = false;

    node_check_keys(map, keys, problems);
    decode_text(map, "host", &host, problems);
    if (host)
        decode_host(host, node_get(map, "host"), "", &config->vcenter.host, problems);
    if (environment("V2C_VCENTER_HOST"))
        decode_host(environment("V2C_VCENTER_HOST"), NULL,
                    "V2C_VCENTER_HOST: ", &config->vcenter.host, problems);
    decode_text(map, "user", &config->vcenter.user, problems);
    override("V2C_VCENTER_USER", &config->vcenter.user);
    /* Not trimmed: blanks may be part of a password. */
    if (node_decode_string(map, "password", &config->vcenter.password, problems) &&
        !*config->vcenter.password)
        free(take(config->vcenter.password));
    credential_decode(map, "password_file", "vcenter-password", &config->vcenter.password,
                      problems);
    override("V2C_VCENTER_PASSWORD", &config->vcenter.password);
    if (!config->vcenter.password)
        override("VC_PASSWORD", &config->vcenter.password);
    decode_flag(map, "insecure", &is_insecure, problems);
    config->vcenter.is_insecure = is_insecure;
    decode_text(map, "ca_file", &config->vcenter.ca_file, problems);
    config_check_file(map, "ca_file", config->vcenter.ca_file, problems);
    decode_text(map, "thumbprint", &config->vcenter.thumbprint, problems);
    config_check_thumbprint(map, config->vcenter.thumbprint, problems);
    override_trust("V2C_VCENTER_TLS", &config->vcenter.is_insecure, &config->vcenter.ca_file,
                   &config->vcenter.thumbprint);
}

static void
decode_cloudstack(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"endpoint",
                                       "api_key",
                                       "api_key_file",
                                       "secret_key",
                                       "secret_key_file",
                                       "timeout_seconds",
                                       "profile",
                                       "insecure",
                                       "ca_file",
                                       "thumbprint",
                                       NULL};
    const struct node *map = node_decode_map(root, "cloudstack", problems);
    int is_insecure = false;

    node_check_keys(map, keys, problems);
    decode_text(map, "endpoint", &config->cloudstack.endpoint, problems);
    override("V2C_CLOUDSTACK_ENDPOINT", &config->cloudstack.endpoint);
    decode_text(map, "api_key", &config->cloudstack.api_key, problems);
    credential_decode(map, "api_key_file", "cloudstack-api-key", &config->cloudstack.api_key,
                      problems);
    override("V2C_CLOUDSTACK_API_KEY", &config->cloudstack.api_key);
    decode_text(map, "secret_key", &config->cloudstack.secret_key, problems);
    credential_decode(map, "secret_key_file", "cloudstack-secret-key",
                      &config->cloudstack.secret_key, problems);
    override("V2C_CLOUDSTACK_SECRET_KEY", &config->cloudstack.secret_key);
    credential_profile(map, config, problems);
    decode_count(map, "timeout_seconds", CLOUDSTACK_TIMEOUT_S, &config->cloudstack.timeout_seconds,
                 problems);
    decode_flag(map, "insecure", &is_insecure, problems);
    config->cloudstack.is_insecure = is_insecure;
    decode_text(map, "ca_file", &config->cloudstack.ca_file, problems);
    config_check_file(map, "ca_file", config->cloudstack.ca_file, problems);
    decode_text(map, "thumbprint", &config->cloudstack.thumbprint, problems);
    config_check_thumbprint(map, config->cloudstack.thumbprint, problems);
    override_trust("V2C_CLOUDSTACK_TLS", &config->cloudstack.is_insecure,
                   &config->cloudstack.ca_file, &config->cloudstack.thumbprint);
    if (config->cloudstack.endpoint && !strstr(config->cloudstack.endpoint, "://"))
        problems_warn(problems, node_get(map, "endpoint"),
                      "no scheme: http is used, which is not encrypted; write https://%s",
                      config->cloudstack.endpoint);
}

/* What QEMU and CloudStack are at home with; 0 is not set. */
static void
decode_clusters(const struct node *map, unsigned *bits, struct problems *problems)
{
    static const int64_t sizes[] = {0, 64, 128, 256};
    int64_t kb = 0;

    decode_count(map, "qcow2_cluster_kb", INT64_MAX, &kb, problems);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
        if (sizes[i] == kb) {
            *bits = kb ? 15 + i : 0;
            return;
        }
    problems_add(problems, node_get(map, "qcow2_cluster_kb"), "expected 64, 128 or 256");
}

static void
decode_migration(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"vddk_path",
                                       "snapshot_quiesce",
                                       "shutdown_mode",
                                       "finalize_settle_seconds",
                                       "cutover_max_downtime",
                                       "control_dir",
                                       "parallel_disks",
                                       "parallel_vms",
                                       "specs_dir",
                                       "workdir",
                                       "verify",
                                       "import_method",
                                       "extents",
                                       "on_failure",
                                       "max_handles_per_host",
                                       "max_inflight_mib",
                                       "vddk",
                                       "mark_source",
                                       "bandwidth_limit",
                                       "host_bandwidth_limit",
                                       "host_bandwidth",
                                       "qcow2_cluster_kb",
                                       NULL};
    const struct node *map = node_decode_map(root, "migration", problems);
    int quiesce = CONFIG_QUIESCE_AUTO, shutdown = CONFIG_SHUTDOWN_AUTO;
    int verify = (int)config->migration.verify, extents = (int)config->migration.extents;
    int import_method = (int)config->migration.import_method;
    int on_failure = (int)config->migration.on_failure;

    node_check_keys(map, keys, problems);
    decode_text(map, "vddk_path", &config->migration.vddk_path, problems);
    decode_quiesce(map, &quiesce, problems);
    config->migration.quiesce = (enum config_quiesce)quiesce;
    decode_shutdown(map, &shutdown, problems);
    config->migration.shutdown = (enum config_shutdown)shutdown;
    decode_import(map, &import_method, problems);
    config->migration.import_method = (enum config_import)import_method;
    decode_verify(map, &verify, problems);
    config->migration.verify = (enum config_verify)verify;
    decode_on_failure(map, &on_failure, problems);
    config->migration.on_failure = (enum config_on_failure)on_failure;
    decode_extents(map, &extents, problems);
    config->migration.extents = (enum config_extents)extents;
    decode_interval(map, "finalize_settle_seconds", &config->migration.finalize_settle_seconds,
                    problems);
    decode_interval(map, "cutover_max_downtime", &config->migration.cutover_max_downtime, problems);
    decode_count(map, "parallel_disks", PARALLEL_DISKS_MAX, &config->migration.parallel_disks,
                 problems);
    decode_count(map, "parallel_vms", PARALLEL_VMS_MAX, &config->migration.parallel_vms, problems);
    /* Not the existing tool's: here 0 is a value. */
    (void)node_decode_int(map, "max_handles_per_host", 0, HANDLES_PER_HOST_MAX,
                          &config->migration.max_handles_per_host, problems);
    (void)node_decode_int(map, "max_inflight_mib", 0, INFLIGHT_MIB_MAX,
                          &config->migration.max_inflight_mib, problems);
    decode_text(map, "control_dir", &config->migration.control_dir, problems);
    decode_text(map, "specs_dir", &config->migration.specs_dir, problems);
    decode_text(map, "workdir", &config->migration.workdir, problems);
    vddk_decode(map, &config->migration.vddk, problems);
    mark_source_decode(map, &config->migration.mark_source, problems);
    vddk_check(&config->migration.vddk, node_get(map, "vddk"), problems);
    decode_rates(map, "bandwidth_limit", &config->migration.bandwidth, problems);
    decode_rates(map, "host_bandwidth_limit", &config->migration.host_bandwidth, problems);
    host_rates_decode(node_decode_map(map, "host_bandwidth", problems),
                      &config->migration.host_rates, problems);
    decode_clusters(map, &config->migration.qcow2_cluster_bits, problems);
}

static void
decode_virt(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"run_virt_v2v", "virtio_iso", "timeout_seconds", NULL};
    const struct node *map = node_decode_map(root, "virt", problems);
    int run = false;

    node_check_keys(map, keys, problems);
    decode_flag(map, "run_virt_v2v", &run, problems);
    config->virt.run_virt_v2v = run;
    decode_text(map, "virtio_iso", &config->virt.virtio_iso, problems);
    decode_interval(map, "timeout_seconds", &config->virt.timeout_seconds, problems);
}

static void
decode_storage(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"nfs", "allow_unmounted_paths", NULL};
    static const char *const ways[] = {"mount", "userspace", NULL};
    const struct node *map = node_decode_map(root, "storage", problems);
    int way = 0, allow = false;

    node_check_keys(map, keys, problems);
    node_decode_word(map, "nfs", ways, &way, problems);
    decode_flag(map, "allow_unmounted_paths", &allow, problems);
    config->storage.allows_unmounted = allow;
    config->storage.is_userspace_nfs = way == 1;
}

static void
decode_log(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"format", NULL};
    static const char *const formats[] = {"text", "json", "journald",
                                          NULL}; /* of enum log_format */
    const struct node *map = node_decode_map(root, "log", problems);
    int format = LOG_TEXT;

    node_check_keys(map, keys, problems);
    node_decode_word(map, "format", formats, &format, problems);
    config->log_format = (enum log_format)format;
}

static void
decode_serve(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"trusted_proxies", "webhooks", NULL};
    const struct node *map = node_decode_map(root, "serve", problems);
    const struct node *list = node_decode_list(map, "trusted_proxies", problems);

    node_check_keys(map, keys, problems);
    for (size_t i = 0; list && i < node_count(list); i++) {
        const struct node *item = node_item(list, i);
        struct ip_range range;

        if (node_kind(item) == NODE_SCALAR && ip_parse_range(node_text(item), &range))
            vec_push(&config->serve.trusted_proxies, range);
        else
            problems_add(problems, item,
                         "expected an address such as 192.0.2.10, or a range such as 10.0.0.0/8");
    }
    webhooks_decode(node_decode_list(map, "webhooks", problems), &config->serve.webhooks, problems);
}

static void
decode_config(const struct node *root, struct config *config, struct problems *problems)
{
    static const char *const keys[] = {"vcenter", "migration", "cloudstack", "cloudstack_defaults",
                                       "virt",    "storage",   "serve",      "log",
                                       NULL};
    const struct node *defaults;

    if (node_kind(root) != NODE_MAP && node_kind(root) != NODE_NULL) {
        problems_add(problems, root, "expected a map with vcenter:, cloudstack: and so on");
        return;
    }
    node_check_keys(root, keys, problems);
    decode_vcenter(root, config, problems);
    decode_cloudstack(root, config, problems);
    decode_migration(root, config, problems);
    decode_virt(root, config, problems);
    decode_storage(root, config, problems);
    decode_serve(root, config, problems);
    decode_log(root, config, problems);
    defaults = node_decode_map(root, "cloudstack_defaults", problems);
    node_check_keys(defaults, target_keys(false), problems);
    target_decode(defaults, &config->defaults, problems);
}

static void
warn_of_readable_secrets(const struct config *config, const struct node *root,
                         struct problems *problems)
{
    bool has_secret = node_get(node_get(root, "vcenter"), "password") ||
                      node_get(node_get(root, "cloudstack"), "secret_key") ||
                      webhooks_hold_secret(node_get(node_get(root, "serve"), "webhooks"));
    struct stat st;

    if (has_secret && stat(config->path, &st) == 0 && (st.st_mode & S_IROTH))
        problems_warn(problems, root, "holds secrets and everybody can read it; chmod 600 %s",
                      config->path);
}

int
config_load(const char *path, bool is_lenient, struct config **ret_config, char **ret_warnings,
            struct err **err)
{
    CLEANUP(config_freep) struct config *config = config_new();
    CLEANUP(doc_freep) struct doc *doc = NULL;
    CLEANUP(problems_done) struct problems problems;

    problems_init(&problems, is_lenient);
    if (doc_read(path, &doc, err) < 0) {
        err_hint(err, "name the configuration with --config");
        return -1;
    }
    free(config->path);
    config->path = xstrdup(path);
    decode_config(doc_root(doc), config, &problems);
    warn_of_readable_secrets(config, doc_root(doc), &problems);
    if (problems_check(&problems, err) < 0)
        return -1;
    if (!config->migration.specs_dir)
        config->migration.specs_dir = file_join(config->migration.control_dir, "specs");
    *ret_config = take(config);
    if (ret_warnings)
        *ret_warnings = str_take(&problems.warnings);
    return 0;
}

int
config_check_run(const struct config *config, struct err **err)
{
    const struct {
        const char *value, *key, *hint;
    } needed[] = {
        {config->vcenter.host, "vcenter.host", ""},
        {config->vcenter.user, "vcenter.user", ""},
        {config->vcenter.password, "vcenter.password", " (or VC_PASSWORD in the environment)"},
        {config->migration.vddk_path, "migration.vddk_path",
         " (the directory that holds VDDK's lib64)"},
        {config->cloudstack.endpoint, "cloudstack.endpoint", ""},
        {config->cloudstack.api_key, "cloudstack.api_key", ""},
        {config->cloudstack.secret_key, "cloudstack.secret_key", ""},
    };
    struct str missing = STR_INIT(4096);
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!needed[i].value)
            str_appendf(&missing, "%s%s%s", missing.length ? ", " : "", needed[i].key,
                        needed[i].hint);
    if (missing.length)
        rc = err_set(err, E_CONFIG, "%s: missing: %s", config->path, str_text(&missing));
    str_done(&missing);
    return rc;
}
