/* Inside cli: what a process has from the supervisor that started it, and what it tells it (supervisor.h). */
#ifndef V2C_CLI_TOLD_H
#define V2C_CLI_TOLD_H

struct err;

/* Takes over the credentials that were handed down; *ret_report_fd is where failures are reported, -1 when
 * nobody asks.  Before other threads are started. */
int told_by_supervisor(int *ret_report_fd, struct err **err);
/* One line {"error": {"code", "message", "hint"}}. */
void tell_failure(int fd, const struct err *failure);

#endif
