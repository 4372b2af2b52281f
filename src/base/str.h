/* A growing text or byte buffer with a mandatory maximum, so that nothing from outside can make it
 * grow without bound.  Once an append would pass the maximum the buffer is `is_over`, keeps what it
 * has, and ignores what follows; str_finish reports it.  Always NUL terminated. */
#ifndef V2C_BASE_STR_H
#define V2C_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

struct str {
    char *data; /* NULL while empty; use str_text */
    size_t length, room, max;
    bool is_over;
};

#define STR_INIT(maximum) ((struct str){.max = (maximum)})

void str_append(struct str *s, const char *text);
void str_append_bytes(struct str *s, const void *data, size_t length);
void str_appendf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_vappendf(struct str *s, const char *fmt, va_list args);
void str_clear(struct str *s);             /* empty again, keeps the memory */
const char *str_text(const struct str *s); /* never NULL */
/* E_LIMIT "@what is larger than N bytes" when the buffer was over; else 0. */
int str_check(const struct str *s, const char *what, struct err **err);
char *str_take(struct str *s); /* the caller frees; never NULL */
void str_done(struct str *s);

#endif
