/* Errors.
 *
 * A function that can fail returns -1 (or NULL) and takes `struct err **err` as its last parameter;
 * `err` may be NULL when the caller does not care.  The error is set once, where the failure is known,
 * and wrapped with context on the way out, outermost first: "vm web01: disk scsi0:1: read at 4096 MiB:
 * connection reset".  A message is one phrase without a full stop; what the person can do about it
 * goes into the hint.  Outputs are never touched on failure, *err never on success.
 *
 * Threading: an error belongs to one thread at a time. */
#ifndef V2C_BASE_ERR_H
#define V2C_BASE_ERR_H

#include <stdbool.h>

enum err_class {
    ERR_CLASS_RETRY,    /* a passing fault: the same call may go through later */
    ERR_CLASS_COMPARE,  /* the change history is gone: the disk must be compared fully */
    ERR_CLASS_OPERATOR, /* somebody must change something (password, space, spec) and start again */
    ERR_CLASS_PERMANENT, /* this cannot work with this VM, server or file */
    ERR_CLASS_BUG,       /* an invariant of ours does not hold */
};

enum err_code {
    E_NONE = 0,
#define ERR_DEF(code, klass, meaning) code,
#include "base/errors.def"
#undef ERR_DEF
    E_MAX,
};

struct err;

/* Set *err, or drop the message when err is NULL.  Always return -1, so that a caller can write
 * `return err_set(err, ...)`.  Setting an error over another one is a bug and aborts. */
int err_set(struct err **err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, followed by ": " and strerror(@errnum); ENOSPC, EDQUOT, EACCES and EPERM replace @code by
 * the code that names them. */
int err_set_errno(struct err **err, enum err_code code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* For functions that return a pointer: `return err_null(err, ...)`. */
#define err_null(err, ...) (err_set((err), __VA_ARGS__), NULL)

/* Puts "context: " before the message.  Returns -1; does nothing when there is no error. */
int err_wrap(struct err **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Says what the person can do.  The innermost hint wins: a second one is dropped.  Returns -1. */
int err_hint(struct err **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Moves *from (owned) to *to; frees it when to is NULL.  Returns -1. */
int err_move(struct err **to, struct err **from);
/* A copy the caller owns, for an error that must reach two places. */
struct err *err_copy(const struct err *err);

enum err_code err_code(const struct err *err);    /* E_NONE for NULL */
enum err_class err_class(const struct err *err);  /* of a non-NULL error */
const char *err_message(const struct err *err);   /* never NULL */
const char *err_hint_text(const struct err *err); /* NULL when there is none */
/* "E_VSPHERE_LOGIN", and back (E_NONE for a word that is no code). */
const char *err_code_name(enum err_code code);
enum err_code err_code_from_name(const char *name);
enum err_class err_code_class(enum err_code code);

void err_free(struct err *err);
void err_freep(struct err **err);

#endif
