#include "base/str.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

void
str_append_bytes(struct str *s, const void *data, size_t length)
{
    size_t needed;

    if (s->is_over || length > s->max - s->length) {
        s->is_over = true;
        return;
    }
    needed = s->length + length + 1;
    if (needed > s->room) {
        s->room = MAX(needed, MIN(s->room * 2, s->max + 1));
        s->data = xrealloc(s->data, s->room, 1);
    }
    if (length)
        memcpy(s->data + s->length, data, length);
    s->length += length;
    s->data[s->length] = '\0';
}

void
str_append(struct str *s, const char *text)
{
    str_append_bytes(s, text, strlen(text));
}

void
str_vappendf(struct str *s, const char *fmt, va_list args)
{
    CLEANUP(free_charp) char *text = NULL;
    int length = vasprintf(&text, fmt, args);

    if (length < 0)
        abort();
    str_append_bytes(s, text, (size_t)length);
}

void
str_appendf(struct str *s, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    str_vappendf(s, fmt, args);
    va_end(args);
}

void
str_clear(struct str *s)
{
    s->length = 0;
    s->is_over = false;
    if (s->data)
        s->data[0] = '\0';
}

const char *
str_text(const struct str *s)
{
    return s->data ? s->data : "";
}

int
str_check(const struct str *s, const char *what, struct err **err)
{
    if (s->is_over)
        return err_set(err, E_LIMIT, "%s is larger than %zu bytes", what, s->max);
    return 0;
}

char *
str_take(struct str *s)
{
    char *text = s->data ? take(s->data) : xstrdup("");

    s->length = s->room = 0;
    return text;
}

void
str_done(struct str *s)
{
    free(s->data);
    s->data = NULL;
    s->length = s->room = 0;
}
