#include "base/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *
xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        abort();
    return p;
}

void *
xrealloc(void *p, size_t count, size_t size)
{
    void *grown = reallocarray(p, count ? count : 1, size);

    if (!grown)
        abort();
    return grown;
}

char *
xstrdup(const char *s)
{
    char *copy;

    if (!s)
        return NULL;
    copy = strdup(s);
    if (!copy)
        abort();
    return copy;
}

char *
xasprintf(const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    return text;
}
