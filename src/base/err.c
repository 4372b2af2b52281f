#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct err {
    enum err_code code;
    char *message;
    char *hint;
};

static const struct {
    const char *name;
    enum err_class klass;
} codes[E_MAX] = {
    [E_NONE] = {"E_NONE", ERR_CLASS_BUG},
#define ERR_DEF(code, klass, meaning) [code] = {#code, klass},
#include "base/errors.def"
#undef ERR_DEF
};

static int
set_owned(struct err **err, enum err_code code, char *message)
{
    struct err *e;

    if (!err) {
        free(message);
        return -1;
    }
    if (*err) {
        fprintf(stderr, "bug: error \"%s\" set over \"%s\"\n", message, (*err)->message);
        abort();
    }
    e = xcalloc(1, sizeof(*e));
    e->code = code;
    e->message = message;
    *err = e;
    return -1;
}

static char *
format_message(const char *fmt, va_list args)
{
    char *message;

    if (vasprintf(&message, fmt, args) < 0)
        abort();
    return message;
}

int
err_set(struct err **err, enum err_code code, const char *fmt, ...)
{
    va_list args;
    char *message;

    va_start(args, fmt);
    message = format_message(fmt, args);
    va_end(args);
    return set_owned(err, code, message);
}

static enum err_code
code_of_errno(enum err_code code, int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return E_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return E_PERMISSION;
    default:
        return code;
    }
}

int
err_set_errno(struct err **err, enum err_code code, int errnum, const char *fmt, ...)
{
    CLEANUP(free_charp) char *what = NULL;
    char text[128];
    va_list args;

    va_start(args, fmt);
    what = format_message(fmt, args);
    va_end(args);
    return set_owned(err, code_of_errno(code, errnum),
                     xasprintf("%s: %s", what, strerror_r(errnum, text, sizeof(text))));
}

int
err_wrap(struct err **err, const char *fmt, ...)
{
    CLEANUP(free_charp) char *context = NULL;
    char *whole;
    va_list args;

    if (!err || !*err)
        return -1;
    va_start(args, fmt);
    context = format_message(fmt, args);
    va_end(args);
    whole = xasprintf("%s: %s", context, (*err)->message);
    free((*err)->message);
    (*err)->message = whole;
    return -1;
}

int
err_hint(struct err **err, const char *fmt, ...)
{
    va_list args;

    if (!err || !*err || (*err)->hint)
        return -1;
    va_start(args, fmt);
    (*err)->hint = format_message(fmt, args);
    va_end(args);
    return -1;
}

int
err_move(struct err **to, struct err **from)
{
    if (!to) {
        err_free(*from);
        *from = NULL;
        return -1;
    }
    if (*to) {
        fprintf(stderr, "bug: error \"%s\" moved over \"%s\"\n", err_message(*from),
                (*to)->message);
        abort();
    }
    *to = take(*from);
    return -1;
}

struct err *
err_copy(const struct err *err)
{
    struct err *copy;

    if (!err)
        return NULL;
    copy = xcalloc(1, sizeof(*copy));
    copy->code = err->code;
    copy->message = xstrdup(err->message);
    copy->hint = xstrdup(err->hint);
    return copy;
}

enum err_code
err_code(const struct err *err)
{
    return err ? err->code : E_NONE;
}

enum err_class
err_class(const struct err *err)
{
    return codes[err_code(err)].klass;
}

const char *
err_message(const struct err *err)
{
    return err ? err->message : "no error";
}

const char *
err_hint_text(const struct err *err)
{
    return err ? err->hint : NULL;
}

const char *
err_code_name(enum err_code code)
{
    return code < E_MAX ? codes[code].name : "E_UNKNOWN";
}

enum err_code
err_code_from_name(const char *name)
{
    for (int code = 0; code < E_MAX; code++)
        if (name && !strcmp(codes[code].name, name))
            return (enum err_code)code;
    return E_NONE;
}

enum err_class
err_code_class(enum err_code code)
{
    return codes[code < E_MAX ? code : E_NONE].klass;
}

void
err_free(struct err *err)
{
    if (!err)
        return;
    free(err->message);
    free(err->hint);
    free(err);
}

void
err_freep(struct err **err)
{
    err_free(*err);
    *err = NULL;
}
