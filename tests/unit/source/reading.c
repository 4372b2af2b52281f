#include "reading.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "source/source.h"

void
start(struct fixture *f, uint64_t capacity, const char *misbehave)
{
    if (misbehave)
        setenv("V2C_FAKEVDDK", misbehave, 1);
    centre_start(&f->centre, capacity);
}

int
open_source(struct fixture *f)
{
    struct source_vddk_options options = centre_options(&f->centre, f->pool);

    return source_vddk_open(&options, &f->source, &f->err);
}

void
open_well(struct fixture *f)
{
    if (open_source(f) < 0)
        fail_msg("%s", err_message(f->err));
}

int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    unsetenv("V2C_FAKEVDDK");
    f->pool = disk_pool_new(DEPTH + 2, NULL);
    *state = f;
    return 0;
}

int
teardown(void **state)
{
    struct fixture *f = *state;

    disk_source_closep(&f->source);
    if (f->centre.https)
        centre_stop(&f->centre);
    disk_pool_free(f->pool);
    err_free(f->err);
    free(f);
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */

static void
copy_done(struct disk_request *request, struct err *error)
{
    struct copy *copy = request->opaque;

    copy->in_flight--;
    if (error) {
        copy->bad++;
        if (!copy->error)
            copy->error = take(error);
        err_free(error);
    } else {
        copy->good++;
        centre_check(request->slot->data, request->offset, request->length);
        copy->disorder += request->offset < copy->last_offset;
        copy->last_offset = request->offset;
    }
    disk_pool_put(copy->f->pool, request->slot);
    request->slot = NULL;
}

bool
copy_fill(struct copy *copy)
{
    struct disk_source *source = copy->f->source;

    for (unsigned i = 0; i < DEPTH && copy->next < copy->end; i++) {
        struct disk_request *request = &copy->requests[i];

        if (request->slot)
            continue;
        *request = (struct disk_request){
            .offset = copy->next,
            .length = (uint32_t)MIN(copy->step, copy->end - copy->next),
            .slot = disk_pool_get(copy->f->pool),
            .done = copy_done,
            .opaque = copy,
        };
        if (source->ops->read(source, request, &copy->f->err) < 0) {
            disk_pool_put(copy->f->pool, request->slot);
            request->slot = NULL;
            return false;
        }
        copy->in_flight++;
        copy->next += request->length;
    }
    assert_int_equal(source->ops->submit(source, NULL), 0);
    return true;
}

void
copy_wait(struct copy *copy, int timeout_ms)
{
    struct pollfd p = {.fd = copy->f->source->poll_fd, .events = POLLIN};
    unsigned count;

    assert_int_equal(poll(&p, 1, timeout_ms), 1);
    assert_int_equal(copy->f->source->ops->reap(copy->f->source, &count, NULL), 0);
}

struct copy
copy_range(struct fixture *f, uint64_t offset, uint64_t end, uint32_t step)
{
    struct copy copy = {.f = f, .next = offset, .end = end, .step = step};

    while (copy_fill(&copy) && copy.in_flight)
        copy_wait(&copy, 20000);
    return copy;
}

void
copy_all(struct fixture *f, unsigned requests)
{
    struct copy copy = copy_range(f, 0, f->source->size, DISK_MAX_REQUEST);

    if (copy.error)
        fail_msg("%s", err_message(copy.error));
    assert_int_equal(copy.good, requests);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}
