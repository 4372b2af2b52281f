/* A peer for the benchmarks: writes changed ranges of a raw disk to an NBD server with libnbd, in the
 * order given, several requests in flight on one connection, and flushes at the end.
 *
 *     v2c-nbd-delta RAW NBD-URI RANGES IN-FLIGHT
 *
 * RANGES has a line "offset length" each.  Buffers are allocated once: the peer is not to lose by its
 * client. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libnbd.h>

#define MAX_LENGTH    (1024U * 1024)
#define MAX_IN_FLIGHT 64U

struct client {
    struct nbd_handle *nbd;
    int fd;
    uint8_t *memory;
    uint8_t *free_buffers[MAX_IN_FLIGHT];
    unsigned free_count;
    bool has_failed;
};

struct write_op {
    struct client *client;
    uint8_t *buffer;
};

static _Noreturn void
die(const char *what)
{
    fprintf(stderr, "v2c-nbd-delta: %s\n", what);
    exit(1);
}

static int
write_done(void *opaque, int *error)
{
    struct write_op *op = opaque;

    if (*error)
        op->client->has_failed = true;
    op->client->free_buffers[op->client->free_count++] = op->buffer;
    free(op);
    return 1; /* retire the command */
}

static void
start(struct client *client, const char *raw, const char *uri, unsigned in_flight)
{
    client->fd = open(raw, O_RDONLY | O_CLOEXEC);
    if (client->fd < 0)
        die("cannot open the raw disk");
    client->nbd = nbd_create();
    if (!client->nbd || nbd_connect_uri(client->nbd, uri) < 0)
        die(nbd_get_error());
    client->memory = mmap(NULL, (size_t)in_flight * MAX_LENGTH, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (client->memory == MAP_FAILED)
        die("no memory");
    for (unsigned i = 0; i < in_flight; i++)
        client->free_buffers[client->free_count++] = client->memory + (size_t)i * MAX_LENGTH;
}

static void
wait_for_buffers(struct client *client, unsigned count)
{
    while (client->free_count < count)
        if (nbd_poll(client->nbd, -1) < 0)
            die(nbd_get_error());
}

static void
write_range(struct client *client, uint64_t offset, uint64_t length)
{
    struct write_op *op = malloc(sizeof(*op));

    if (!op || length > MAX_LENGTH)
        die("a range is too long");
    wait_for_buffers(client, 1);
    *op = (struct write_op){client, client->free_buffers[--client->free_count]};
    if (pread(client->fd, op->buffer, (size_t)length, (off_t)offset) != (ssize_t)length)
        die("cannot read the raw disk");
    if (nbd_aio_pwrite(client->nbd, op->buffer, (size_t)length, offset,
                       (nbd_completion_callback){.callback = write_done, .user_data = op}, 0) < 0)
        die(nbd_get_error());
}

int
main(int argc, char **argv)
{
    struct client client = {0};
    unsigned long in_flight = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
    uint64_t offset, length;
    FILE *ranges;

    if (in_flight < 1 || in_flight > MAX_IN_FLIGHT)
        die("usage: v2c-nbd-delta RAW NBD-URI RANGES IN-FLIGHT");
    ranges = fopen(argv[3], "re");
    if (!ranges)
        die("cannot open the ranges");
    start(&client, argv[1], argv[2], (unsigned)in_flight);
    while (!client.has_failed && fscanf(ranges, "%" SCNu64 " %" SCNu64, &offset, &length) == 2)
        write_range(&client, offset, length);
    if (!feof(ranges) || ferror(ranges))
        die("a range cannot be read, or a write failed");
    wait_for_buffers(&client, (unsigned)in_flight);
    if (client.has_failed)
        die("a write failed");
    if (nbd_flush(client.nbd, 0) < 0 || nbd_shutdown(client.nbd, 0) < 0)
        die(nbd_get_error());
    fclose(ranges);
    nbd_close(client.nbd);
    close(client.fd);
    munmap(client.memory, (size_t)in_flight * MAX_LENGTH);
    return 0;
}
