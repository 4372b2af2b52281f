#include "guest/nbd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <libnbd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define TIMEOUT_MS  60000
#define MAX_REQUEST (16 * MIB)
#define MAX_MAP     (1 * GIB)

struct lab_nbd {
    struct nbd_handle *handle;
    char *context; /* owned; NULL when none was asked for */
};

static int
fail(struct err **err, const char *what)
{
    return err_set(err, E_NET, "%s: %s", what, nbd_get_error() ?: "the connection is closed");
}

static int
wait_a_little(struct lab_nbd *nbd, int64_t deadline, const char *what, struct err **err)
{
    int64_t left = deadline - clock_monotonic_ms();

    if (left <= 0)
        return err_set(err, E_TIMEOUT, "%s: QEMU does not answer", what);
    return nbd_poll(nbd->handle, (int)left) < 0 ? fail(err, what) : 0;
}

int
lab_nbd_open(int dir_fd, const char *export_name, const char *context, struct lab_nbd **ret,
             struct err **err)
{
    CLEANUP(lab_nbd_closep) struct lab_nbd *nbd = xcalloc(1, sizeof(*nbd));
    int64_t deadline = clock_monotonic_ms() + TIMEOUT_MS;
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/" QEMU_NBD_SOCKET, dir_fd);
    nbd->handle = nbd_create();
    nbd->context = xstrdup(context);
    if (!nbd->handle || nbd_set_export_name(nbd->handle, export_name) < 0 ||
        (context && nbd_add_meta_context(nbd->handle, context) < 0) ||
        nbd_aio_connect_unix(nbd->handle, path) < 0)
        return fail(err, export_name);
    while (nbd_aio_is_connecting(nbd->handle))
        if (wait_a_little(nbd, deadline, export_name, err) < 0)
            return -1;
    if (!nbd_aio_is_ready(nbd->handle))
        return fail(err, export_name);
    if (context && nbd_can_meta_context(nbd->handle, context) != 1)
        return err_set(err, E_NET, "%s: QEMU has no %s", export_name, context);
    *ret = take(nbd);
    return 0;
}

static int
finish(struct lab_nbd *nbd, int64_t cookie, const char *what, struct err **err)
{
    int64_t deadline = clock_monotonic_ms() + TIMEOUT_MS;

    if (cookie < 0)
        return fail(err, what);
    for (;;) {
        int done = nbd_aio_command_completed(nbd->handle, (uint64_t)cookie);

        if (done < 0)
            return fail(err, what);
        if (done > 0)
            return 0;
        if (wait_a_little(nbd, deadline, what, err) < 0)
            return -1;
    }
}

int
lab_nbd_read(struct lab_nbd *nbd, void *data, uint32_t length, uint64_t offset, struct err **err)
{
    uint8_t *p = data;

    while (length > 0) {
        uint32_t part = (uint32_t)MIN(length, MAX_REQUEST);
        int64_t cookie = nbd_aio_pread(nbd->handle, p, part, offset, NBD_NULL_COMPLETION, 0);

        if (finish(nbd, cookie, "read", err) < 0)
            return err_wrap(err, "at %" PRIu64, offset);
        p += part;
        offset += part;
        length -= part;
    }
    return 0;
}

struct mapping {
    const char *context;
    uint64_t offset, end; /* what is still asked for */
    uint32_t mask, value;
    struct extents *extents;
    uint64_t reached;
};

/* Pairs of length and flags from @offset on; the last may reach beyond what was asked for. */
static int
take_entries(void *opaque, const char *context, uint64_t offset, uint32_t *entries, size_t count,
             int *error)
{
    struct mapping *m = opaque;

    if (strcmp(context, m->context))
        return 0;
    for (size_t i = 0; i + 1 < count && offset < m->end; i += 2) {
        uint64_t length = MIN(entries[i], m->end - offset);

        if ((entries[i + 1] & m->mask) == m->value && length > 0)
            vec_push(m->extents, (struct extent){offset, length});
        offset += length;
    }
    m->reached = offset;
    return 0;
}

int
lab_nbd_map(struct lab_nbd *nbd, uint64_t offset, uint64_t length, uint32_t mask, uint32_t value,
            struct extents *extents, struct err **err)
{
    struct mapping m = {.context = nbd->context, .mask = mask, .value = value, .extents = extents};
    uint64_t end = offset + length;

    while (offset < end) {
        int64_t cookie;

        m.offset = m.reached = offset;
        m.end = offset + MIN(end - offset, MAX_MAP);
        cookie =
            nbd_aio_block_status(nbd->handle, m.end - offset, offset,
                                 (nbd_extent_callback){.callback = take_entries, .user_data = &m},
                                 NBD_NULL_COMPLETION, 0);
        if (finish(nbd, cookie, "block status", err) < 0)
            return err_wrap(err, "at %" PRIu64, offset);
        if (m.reached <= offset)
            return err_set(err, E_NET, "at %" PRIu64 ": QEMU's block status is empty", offset);
        offset = m.reached;
    }
    return 0;
}

void
lab_nbd_close(struct lab_nbd *nbd)
{
    if (!nbd)
        return;
    nbd_close(nbd->handle);
    free(nbd->context);
    free(nbd);
}

void
lab_nbd_closep(struct lab_nbd **nbd)
{
    lab_nbd_close(*nbd);
}
