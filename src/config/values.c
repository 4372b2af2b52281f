#include "config/values.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/util.h"

static bool
is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* A quoted "" where a word, number or flag is wanted: the existing tool saves unset values so. */
static bool
is_blank_text(const struct node *map, const char *key)
{
    const struct node *node = node_get(map, key);

    return node && node_kind(node) == NODE_SCALAR && is_blank(node_text(node));
}

void
decode_text(const struct node *map, const char *key, char **value, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;
    char *start, *end;

    if (!node_decode_string(map, key, &text, problems) || is_blank(text))
        return;
    start = text + strspn(text, " ");
    end = start + strlen(start);
    while (end > start && end[-1] == ' ')
        *--end = '\0';
    free(*value);
    *value = xstrdup(start);
}

void
decode_interval(const struct node *map, const char *key, int64_t *value, struct problems *problems)
{
    int64_t seconds = 0;

    if (is_blank_text(map, key))
        return;
    if (node_decode_int(map, key, 0, INTERVAL_MAX_S, &seconds, problems) && seconds > 0)
        *value = seconds;
}

void
decode_count(const struct node *map, const char *key, int64_t max, int64_t *value,
             struct problems *problems)
{
    int64_t count = 0;

    if (is_blank_text(map, key) || !node_decode_int(map, key, 0, INT64_MAX, &count, problems) ||
        count == 0)
        return;
    if (count > max)
        problems_warn(problems, node_get(map, key),
                      "%" PRId64 " is more than the engine allows; %" PRId64 " is used", count,
                      max);
    *value = MIN(count, max);
}

void
decode_flag(const struct node *map, const char *key, int *value, struct problems *problems)
{
    bool flag;

    if (!is_blank_text(map, key) && node_decode_bool(map, key, &flag, problems))
        *value = flag;
}

static const char *const quiesce_words[] = {"auto", "true", "false", NULL};
static const char *const shutdown_words[] = {"auto", "force", "manual", NULL};
static const char *const extents_words[] = {"auto", "cbt", "allocated", "none", NULL};

static const char *const on_failure_words[] = {"keep", "power_on_source", NULL};
static const char *const import_words[] = {"importvm", "shell", NULL};
static const char *const verify_words[] = {"none", "sample", "full", NULL};

void
decode_quiesce(const struct node *map, int *value, struct problems *problems)
{
    if (!is_blank_text(map, "snapshot_quiesce"))
        node_decode_word(map, "snapshot_quiesce", quiesce_words, value, problems);
}

void
decode_shutdown(const struct node *map, int *value, struct problems *problems)
{
    if (!is_blank_text(map, "shutdown_mode"))
        node_decode_word(map, "shutdown_mode", shutdown_words, value, problems);
}

void
decode_verify(const struct node *map, int *value, struct problems *problems)
{
    if (!is_blank_text(map, "verify"))
        node_decode_word(map, "verify", verify_words, value, problems);
}

const char *
verify_word(enum config_verify verify)
{
    return verify_words[verify];
}

bool
verify_from_word(const char *word, enum config_verify *ret)
{
    for (int i = 0; verify_words[i]; i++)
        if (!strcasecmp(word, verify_words[i])) {
            *ret = (enum config_verify)i;
            return true;
        }
    return false;
}

void
decode_extents(const struct node *map, int *value, struct problems *problems)
{
    if (!is_blank_text(map, "extents"))
        node_decode_word(map, "extents", extents_words, value, problems);
}

void
decode_import(const struct node *map, int *value, struct problems *problems)
{
    if (!is_blank_text(map, "import_method"))
        node_decode_word(map, "import_method", import_words, value, problems);
}

void
decode_rates(const struct node *map, const char *key, struct rate_schedule *value,
             struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    decode_text(map, key, &text, problems);
    if (text && rate_schedule_parse(text, value, &err) < 0)
        problems_add(problems, node_get(map, key), "%s", err_message(err));
}

const char *
quiesce_word(enum config_quiesce quiesce)
{
    return quiesce_words[quiesce];
}

const char *
shutdown_word(enum config_shutdown shutdown)
{
    return shutdown_words[shutdown];
}

const char *
import_word(enum config_import import)
{
    return import_words[import];
}

void
decode_on_failure(const struct node *map, int *value, struct problems *problems)
{
    if (!is_blank_text(map, "on_failure"))
        node_decode_word(map, "on_failure", on_failure_words, value, problems);
}

const char *
on_failure_word(enum config_on_failure on_failure)
{
    return on_failure_words[on_failure];
}

const char *
extents_word(enum config_extents extents)
{
    return extents_words[extents];
}

/* ---- target ----------------------------------------------------------------------------------- */

#define FIELD(key, member, is_required)                                                            \
    {                                                                                              \
        key, offsetof(struct config_target, member), is_required                                   \
    }
const struct target_field target_fields[] = {
    FIELD("zoneid", zone_id, true),
    FIELD("clusterid", cluster_id, true),
    FIELD("storageid", storage_id, true),
    FIELD("networkid", network_id, true),
    FIELD("serviceofferingid", service_offering_id, true),
    FIELD("diskofferingid", disk_offering_id, false),
    FIELD("ostypeid", os_type_id, false),
    FIELD("boottype", boot_type, false),
    FIELD("bootmode", boot_mode, false),
    FIELD("rootdiskcontroller", root_disk_controller, false),
    FIELD("nicadapter", nic_adapter, false),
    FIELD("account", account, false),
    FIELD("domainid", domain_id, false),
    FIELD("projectid", project_id, false),
    FIELD("templateid", template_id, false),
    FIELD("placeholder_networkid", placeholder_network_id, false),
};
const size_t target_field_count = ARRAY_SIZE(target_fields);

char **
target_value(struct config_target *target, const struct target_field *field)
{
    return (char **)((char *)target + field->offset);
}

const char *const *
target_keys(bool has_nics)
{
    static const char *const keys[] = {
        "nic_mappings",
        "zoneid",
        "clusterid",
        "storageid",
        "networkid",
        "serviceofferingid",
        "ostypeid",
        "boottype",
        "bootmode",
        "diskofferingid",
        "rootdiskcontroller",
        "nicadapter",
        "account",
        "domainid",
        "projectid",
        "templateid",
        "placeholder_networkid",
        NULL,
    };

    return has_nics ? keys : keys + 1;
}

/* Kept in the case CloudStack uses. */
static void
decode_boot_word(const struct node *map, const char *key, const char *const *words, char **value,
                 struct problems *problems)
{
    int word;

    if (is_blank_text(map, key) || !node_decode_word(map, key, words, &word, problems))
        return;
    free(*value);
    *value = xstrdup(words[word]);
}

void
target_decode(const struct node *map, struct config_target *target, struct problems *problems)
{
    static const char *const boot_types[] = {"BIOS", "UEFI", NULL};
    static const char *const boot_modes[] = {"Legacy", "Secure", NULL};

    for (size_t i = 0; i < target_field_count; i++) {
        const struct target_field *field = &target_fields[i];

        if (!strcmp(field->key, "boottype"))
            decode_boot_word(map, field->key, boot_types, &target->boot_type, problems);
        else if (!strcmp(field->key, "bootmode"))
            decode_boot_word(map, field->key, boot_modes, &target->boot_mode, problems);
        else
            decode_text(map, field->key, target_value(target, field), problems);
    }
}

void
target_fill(struct config_target *target, const struct config_target *from)
{
    for (size_t i = 0; i < target_field_count; i++) {
        char **value = target_value(target, &target_fields[i]);

        if (!*value)
            *value = xstrdup(*target_value((struct config_target *)from, &target_fields[i]));
    }
}

void
target_done(struct config_target *target)
{
    for (size_t i = 0; i < target_field_count; i++) {
        char **value = target_value(target, &target_fields[i]);

        free(*value);
        *value = NULL;
    }
}

/* ---- what is said of servers ---------------------------------------------------------------------- */

/* 20 (SHA-1) or 32 (SHA-256) bytes in hex, with or without colons. */
void
config_check_thumbprint(const struct node *map, const char *thumbprint, struct problems *problems)
{
    size_t digits = 0;

    if (!thumbprint)
        return;
    for (const char *p = thumbprint; *p; p++) {
        if (isxdigit((unsigned char)*p))
            digits++;
        else if (*p != ':')
            digits = 1000;
    }
    if (digits != 40 && digits != 64)
        problems_add(problems, node_get(map, "thumbprint"),
                     "expected the SHA-256 (64 hex digits) or SHA-1 (40) of the certificate");
}

void
config_check_file(const struct node *map, const char *key, const char *path,
                  struct problems *problems)
{
    if (path && access(path, R_OK) < 0)
        problems_add(problems, node_get(map, key), "cannot read %s: %s", path, strerror(errno));
}
