/* QEMU's machine protocol over one socket: commands with their answers, and events.
 *
 * Threading: any thread; a thread of the connection reads, and calls the event function without holding
 * a lock.  Commands of different threads wait for each other. */
#ifndef V2C_LAB_GUEST_QMP_H
#define V2C_LAB_GUEST_QMP_H

#include <stdint.h>

#include <jansson.h>

struct err;
struct qmp;

/* An answer is waited for as long; a loaded machine may stall QEMU for seconds. */
#define QMP_TIMEOUT_MS 60000

/* @event is NULL when the connection has ended: QEMU is gone. */
typedef void (*qmp_event_fn)(void *opaque, const char *event);
/* Takes over @fd when it succeeds.  E_NET, E_TIMEOUT. */
int qmp_open(int fd, qmp_event_fn on_event, void *opaque, struct qmp **ret, struct err **err);
void qmp_close(struct qmp *qmp);
/* Steals @arguments (NULL: none).  *ret_value (may be NULL) is the caller's.  E_IO when QEMU refuses,
 * E_NET when it is gone, E_TIMEOUT. */
int qmp_call(struct qmp *qmp, const char *command, json_t *arguments, json_t **ret_value,
             struct err **err);
/* Waits until no object of the list that @query answers has @key = @value.  E_TIMEOUT. */
int qmp_await_absent(struct qmp *qmp, const char *query, const char *key, const char *value,
                     struct err **err);
/* Waits until query-status says @status. */
int qmp_await_status(struct qmp *qmp, const char *status, struct err **err);

#endif
