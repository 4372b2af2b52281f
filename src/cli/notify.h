/* Inside cli: the service manager's protocol, sd_notify(3), without a library for it. */
#ifndef V2C_CLI_NOTIFY_H
#define V2C_CLI_NOTIFY_H

#include <stdint.h>

/* Takes NOTIFY_SOCKET and the watchdog's variables out of the environment: children must not answer for us. */
void notify_init(void);
/* "READY=1", "STOPPING=1", "STATUS=..."; nothing happens without a service manager. */
void notify_send(const char *text);
/* How often the watchdog wants to hear of us, in ms; 0: there is none. */
int64_t notify_watchdog_ms(void);

#endif
