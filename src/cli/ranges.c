/* The ranges file of delta-sync.  It is read range by range, so that a file of a million ranges needs
 * no tree of a million nodes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/expert.h"

#define MAX_RANGES      (4U * 1024 * 1024)
#define MAX_RANGE_BYTES 4096U /* of one range's text */

static void
json_freep(json_t **json)
{
    json_decref(*json);
}

static int
next_char(FILE *file)
{
    int c;

    do
        c = getc_unlocked(file);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    return c;
}

static int
fail_range(const char *name, size_t number, const char *what, struct err **err)
{
    return err_set(err, E_CONFIG, "%s: range %zu: %s", name, number, what);
}

/* -1: absent, no whole number, or negative. */
static int64_t
get_number(const json_t *range, const char *key)
{
    const json_t *value = json_object_get(range, key);

    return value && json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

static int
check_range(const char *name, size_t number, const json_t *range, uint64_t capacity,
            struct extent *ret_extent, struct err **err)
{
    int64_t start = get_number(range, "start"), length = get_number(range, "length");

    if (start < 0)
        return fail_range(name, number, "\"start\" must be a whole number of bytes", err);
    if (length <= 0)
        return fail_range(name, number, "\"length\" must be a whole number of bytes above 0", err);
    if (json_object_size(range) != 2)
        return fail_range(name, number, "it has keys other than \"start\" and \"length\"", err);
    if (start % DISK_SECTOR || length % DISK_SECTOR)
        return fail_range(name, number, "start and length must be multiples of 512", err);
    if ((uint64_t)start >= capacity || (uint64_t)length > capacity - (uint64_t)start)
        return err_set(err, E_CONFIG,
                       "%s: range %zu: %" PRId64 "+%" PRId64 " ends beyond the disk's %" PRIu64
                       " bytes",
                       name, number, start, length, capacity);
    *ret_extent = (struct extent){(uint64_t)start, (uint64_t)length};
    return 0;
}

struct piece {
    FILE *file;
    size_t left;
};

/* jansson reads a byte at a time here, so that nothing behind the range is taken. */
static size_t
read_byte(void *buffer, size_t length, void *opaque)
{
    struct piece *piece = opaque;
    int c = length && piece->left ? getc_unlocked(piece->file) : EOF;

    if (c == EOF)
        return 0;
    piece->left--;
    *(char *)buffer = (char)c;
    return 1;
}

static int
read_range(FILE *file, const char *name, size_t number, uint64_t capacity,
           struct extent *ret_extent, struct err **err)
{
    struct piece piece = {.file = file, .left = MAX_RANGE_BYTES};
    json_error_t error;
    CLEANUP(json_freep)
    json_t *range = json_load_callback(read_byte, &piece,
                                       JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);

    if (!range)
        return err_set(err, E_SYNTAX, "%s: range %zu: %s", name, number, error.text);
    if (!json_is_object(range))
        return fail_range(name, number, "expected {\"start\": bytes, \"length\": bytes}", err);
    return check_range(name, number, range, capacity, ret_extent, err);
}

static int
read_list(FILE *file, const char *name, uint64_t capacity, struct extents *extents,
          struct err **err)
{
    size_t count = 0;
    int c = next_char(file);

    if (c != '[')
        return err_set(err, E_SYNTAX, "%s: expected a JSON list of {\"start\", \"length\"}", name);
    c = next_char(file);
    while (c != ']' || count > 0) {
        struct extent extent;

        if (count == MAX_RANGES)
            return err_set(err, E_LIMIT, "%s has more than %u ranges", name, MAX_RANGES);
        (void)ungetc(c, file);
        if (read_range(file, name, ++count, capacity, &extent, err) < 0)
            return -1;
        vec_push(extents, extent);
        c = next_char(file);
        if (c == ']')
            break;
        if (c != ',')
            return err_set(err, E_SYNTAX, "%s: expected , or ] behind range %zu", name, count);
        c = next_char(file);
    }
    if (next_char(file) != EOF)
        return err_set(err, E_SYNTAX, "%s: something stands behind the list", name);
    if (ferror(file))
        return err_set_errno(err, E_IO, errno, "%s", name);
    return 0;
}

int
ranges_read(const char *path, uint64_t capacity, struct extents *extents, struct err **err)
{
    FILE *file = fopen(path, "re");
    int rc;

    if (!file)
        return err_set_errno(err, E_CONFIG, errno, "%s", path);
    rc = read_list(file, path, capacity, extents, err);
    (void)fclose(file);
    return rc;
}

int
ranges_parse(const char *name, const char *text, size_t length, uint64_t capacity,
             struct extents *extents, struct err **err)
{
    /* fmemopen refuses an empty buffer in older C libraries. */
    FILE *file = length ? fmemopen((void *)text, length, "r") : fopen("/dev/null", "re");
    int rc;

    if (!file)
        return err_set_errno(err, E_MEMORY, errno, "%s", name);
    rc = read_list(file, name, capacity, extents, err);
    (void)fclose(file);
    return rc;
}
