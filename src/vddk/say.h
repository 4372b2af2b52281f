/* Lines on stderr, "[vddk NAME] warning: text", which the engine brings into its log.
 *
 * Threading: any; VDDK calls its log functions from threads of its own. */
#ifndef V2C_VDDK_SAY_H
#define V2C_VDDK_SAY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum say_level {
    SAY_DEBUG,
    SAY_WARNING,
    SAY_ERROR,
};

/* Takes the least level from V2C_LOG, as the engine's own log does. */
void say_init(void);
/* What stands at the head of each line; copied. */
void say_set_tag(const char *tag);
bool say_is_debug(void);
void say(enum say_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What InitEx is given. */
void say_vix_log(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
void say_vix_warn(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
void say_vix_panic(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
/* While on, warnings of VDDK are only for debugging: a call is tried that may well fail. */
void say_expect_failure(bool is_on);
/* The last warning of VDDK's that is not older than @max_age_ms and came after the last
 * say_forget_complaint.  VDDK's error codes tell little; what it logs just before often names the
 * host and port that did not answer. */
bool say_last_complaint(int max_age_ms, char *ret_text, size_t size);
void say_forget_complaint(void);

#endif
