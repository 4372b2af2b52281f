#include "config/vddk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "config/values.h"

#define UNIT_KB       64
#define MAX_BUFFER_KB 2048
#define MAX_TOTAL_KB  16384 /* of one session on the ESXi host */
#define MAX_LOG_LEVEL 6

static const char *const compression_words[] = {"none", "zlib", "fastlz", "skipz", NULL};
static const char *const transport_words[] = {"nbdssl", "nbd", "hotadd", "san", NULL};

void
vddk_defaults(struct config_vddk *vddk)
{
    *vddk = (struct config_vddk){
        .transports = "nbdssl:nbd",
        .compression = CONFIG_COMPRESSION_NONE,
        .is_unbuffered = true,
        .nfc_buffer_kb = 1024,
        .nfc_buffer_count = 4,
        .log_level = -1,
    };
}

/* Index of the word of @length bytes at @text, -1 for none of them. */
static int
find_transport(const char *text, size_t length)
{
    for (int i = 0; transport_words[i]; i++)
        if (strlen(transport_words[i]) == length && !strncmp(transport_words[i], text, length))
            return i;
    return -1;
}

static bool
is_transport_list(const char *text)
{
    unsigned seen = 0;

    for (;;) {
        size_t length = strcspn(text, ":");
        int transport = find_transport(text, length);

        if (transport < 0 || (seen & 1U << transport))
            return false;
        seen |= 1U << transport;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

static void
decode_transports(const struct node *map, struct config_vddk *vddk, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;

    decode_text(map, "transports", &text, problems);
    if (!text)
        return;
    if (is_transport_list(text)) /* and so no longer than all of them */
        (void)snprintf(vddk->transports, sizeof(vddk->transports), "%s", text);
    else
        problems_add(
            problems, node_get(map, "transports"),
            "expected one or more of nbdssl, nbd, hotadd and san, in the order to try, with "
            "colons between: nbdssl:nbd");
}

static void
decode_tmp_dir(const struct node *map, struct config_vddk *vddk, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;

    decode_text(map, "tmp_dir", &text, problems);
    if (!text)
        return;
    if (*text != '/' || strchr(text, '"') || strlen(text) >= sizeof(vddk->tmp_dir))
        problems_add(problems, node_get(map, "tmp_dir"),
                     "expected an absolute path of at most %zu bytes without quotes",
                     sizeof(vddk->tmp_dir) - 1);
    else
        (void)snprintf(vddk->tmp_dir, sizeof(vddk->tmp_dir), "%s", text);
}

static void
decode_buffers(const struct node *map, struct config_vddk *vddk, struct problems *problems)
{
    int64_t number = 0;

    if (node_decode_int(map, "nfc_buffer_kb", 0, MAX_BUFFER_KB, &number, problems) && number > 0) {
        if (number % UNIT_KB)
            problems_add(problems, node_get(map, "nfc_buffer_kb"), "expected a multiple of %d",
                         UNIT_KB);
        else
            vddk->nfc_buffer_kb = number;
    }
    number = 0;
    if (node_decode_int(map, "nfc_buffer_count", 0, MAX_TOTAL_KB / UNIT_KB, &number, problems) &&
        number > 0)
        vddk->nfc_buffer_count = number;
}

void
vddk_decode(const struct node *migration, struct config_vddk *vddk, struct problems *problems)
{
    static const char *const keys[] = {
        "transports",       "compression", "unbuffered", "nfc_buffer_kb",
        "nfc_buffer_count", "log_level",   "tmp_dir",    NULL};
    const struct node *map = node_decode_map(migration, "vddk", problems);

    node_check_keys(map, keys, problems);
    decode_transports(map, vddk, problems);
    (void)node_decode_word(map, "compression", compression_words, &vddk->compression, problems);
    decode_flag(map, "unbuffered", &vddk->is_unbuffered, problems);
    decode_buffers(map, vddk, problems);
    (void)node_decode_int(map, "log_level", 0, MAX_LOG_LEVEL, &vddk->log_level, problems);
    decode_tmp_dir(map, vddk, problems);
}

void
vddk_fill(struct config_vddk *vddk, const struct config_vddk *from)
{
    if (!vddk->transports[0])
        memcpy(vddk->transports, from->transports, sizeof(vddk->transports));
    if (vddk->compression < 0)
        vddk->compression = from->compression;
    if (vddk->is_unbuffered < 0)
        vddk->is_unbuffered = from->is_unbuffered;
    if (!vddk->nfc_buffer_kb)
        vddk->nfc_buffer_kb = from->nfc_buffer_kb;
    if (!vddk->nfc_buffer_count)
        vddk->nfc_buffer_count = from->nfc_buffer_count;
    if (vddk->log_level < 0)
        vddk->log_level = from->log_level;
    if (!vddk->tmp_dir[0])
        memcpy(vddk->tmp_dir, from->tmp_dir, sizeof(vddk->tmp_dir));
}

void
vddk_check(const struct config_vddk *vddk, const struct node *place, struct problems *problems)
{
    if (vddk->nfc_buffer_kb * vddk->nfc_buffer_count > MAX_TOTAL_KB)
        problems_add(
            problems, place,
            "migration.vddk: %" PRId64 " buffers of %" PRId64
            " KiB are more than the 16 MiB that a session may have; lower nfc_buffer_kb or "
            "nfc_buffer_count",
            vddk->nfc_buffer_count, vddk->nfc_buffer_kb);
}

void
vddk_append_yaml(struct str *s, const struct config_vddk *vddk)
{
    str_append(s, "  vddk:\n");
    str_appendf(s, "    transports: \"%s\"\n", vddk->transports);
    str_appendf(s, "    compression: %s\n", compression_words[vddk->compression]);
    str_appendf(s, "    unbuffered: %s\n", vddk->is_unbuffered ? "true" : "false");
    str_appendf(s, "    nfc_buffer_kb: %" PRId64 "\n", vddk->nfc_buffer_kb);
    str_appendf(s, "    nfc_buffer_count: %" PRId64 "\n", vddk->nfc_buffer_count);
    if (vddk->log_level >= 0)
        str_appendf(s, "    log_level: %" PRId64 "\n", vddk->log_level);
    if (vddk->tmp_dir[0]) {
        str_append(s, "    tmp_dir: \"");
        for (const char *c = vddk->tmp_dir; *c; c++) { /* it has no quotes */
            if (*c == '\\')
                str_append(s, "\\");
            str_append_bytes(s, c, 1);
        }
        str_append(s, "\"\n");
    }
}
