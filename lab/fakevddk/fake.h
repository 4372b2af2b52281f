/* A pretend libvixDiskLib.so.8: what v2c-vddk loads where there is no VMware.  It reads disks from the
 * lab over TLS (disks/nfc.h) and enforces the rules of the real library: who breaks one is aborted
 * with a line on stderr that names the rule.
 *
 * Declared on its own, not from src/vddk: a wrong offset there must show here.
 *
 * V2C_FAKEVDDK tells it to misbehave: words with commas between them, or "@FILE" with such words in
 * FILE.
 *
 *     no-async, no-extents, no-allocate    these functions do not exist
 *     no-info                              GetInfo does not exist either (the real one always has it)
 *     fail-init=N, fail-open=N             error N
 *     fail-extents[=N]                     QueryAllocatedBlocks answers error N (6)
 *     lie-extents                          its list is not sorted and runs past what was asked
 *     fail-read=K                          the K-th read of the process completes with an error
 *     refuse-flags=N                       Open answers "not supported" to these flags
 *     session-memory-kb=N                  the host has no more for the buffers of a session: Open fails
 *     read-memory-kb=N                     nor for reads in flight: the one that is too much fails
 *     record=PATH                          adds a line to PATH for each setting that arrives
 *     hang-read=K, hang-open, hang-close   never comes back
 *     kill-read=K, abort-read=K, segv-read=K   the process dies at the K-th read
 *     latency-ms=N                         each read takes N to 2N ms
 *     once=PATH                            the faults above only for the process that makes PATH
 */
#ifndef V2C_LAB_FAKEVDDK_FAKE_H
#define V2C_LAB_FAKEVDDK_FAKE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_SECTOR 512U

enum {
    FAKE_OK = 0,
    FAKE_E_FAIL = 1,
    FAKE_E_OUT_OF_MEMORY = 2,
    FAKE_E_INVALID_ARG = 3,
    FAKE_E_NOT_SUPPORTED = 6,
    FAKE_E_FILE_ACCESS_ERROR = 13,
    FAKE_E_HOST_USER_PERMISSIONS = 3014,
    FAKE_E_HOST_SERVER_NOT_FOUND = 14008,
    FAKE_E_HOST_NETWORK_CONN_REFUSED = 14009,
    FAKE_E_HOST_TCP_CONN_LOST = 14011,
    FAKE_E_CANNOT_CONNECT_TO_HOST = 18000,
    FAKE_E_SUBSYSTEM_INIT_FAIL = 16053,
    FAKE_ASYNC = 25000,
};

/* ---- control.c --------------------------------------------------------------------------------- */

/* Whether @word is asked for; its number, or @fallback without one, goes to *ret_number. */
bool fake_control(const char *word, uint64_t fallback, uint64_t *ret_number);
bool fake_has(const char *word);
/* Adds a line to the file of the word `record`, if there is one. */
void fake_record(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As fake_control, but only if `once` lets it happen. */
bool fake_fault(const char *word, uint64_t fallback, uint64_t *ret_number);
/* Says which rule was broken and aborts. */
_Noreturn void fake_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fake_hang(void);

/* ---- config.c ---------------------------------------------------------------------------------- */

/* Before any session.  False: it is not there, or says what cannot be. */
bool fake_config_read(const char *path);
/* What the buffers of a session take on the host. */
uint64_t fake_config_session_kb(void);

/* ---- api.c ------------------------------------------------------------------------------------- */

/* Through the caller's log functions. */
void fake_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fake_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- remote.c ---------------------------------------------------------------------------------- */

typedef void fake_done_fn(void *opaque, uint64_t error);

struct fake_ticket {
    char text[64], server[256];
    unsigned port;
    /* The real library finds these only when a disk is opened, and then says no more than "unknown
     * error". */
    bool is_refused;
};

/* Logs in to the lab's vCenter: the connection's error. */
uint64_t fake_dial(const char *server, unsigned port, const char *thumbprint, const char *user,
                   const char *password, const char *vm, const char *snapshot,
                   struct fake_ticket *ret_ticket);

struct fake_remote;
uint64_t fake_remote_open(const struct fake_ticket *ticket, const char *path,
                          struct fake_remote **ret_remote, uint64_t *ret_capacity);
void fake_remote_close(struct fake_remote *remote);
/* @done is called on another thread, in an order of its own. */
void fake_remote_read(struct fake_remote *remote, uint8_t *data, uint64_t offset, uint32_t length,
                      fake_done_fn *done, void *opaque);
/* Until nothing is in flight. */
void fake_remote_wait(struct fake_remote *remote);

struct fake_extent {
    uint64_t offset, length; /* bytes */
};
/* The caller frees *ret_extents. */
uint64_t fake_remote_extents(struct fake_remote *remote, uint64_t offset, uint64_t length,
                             struct fake_extent **ret_extents, size_t *ret_count);

/* True on a thread that is inside a caller's callback. */
extern _Thread_local bool fake_is_in_callback;

#endif
