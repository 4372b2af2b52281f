/* The log.  Program code (migration, supervisor, cli, api) logs; rooms below return errors and log
 * at debug only.  Lines go to stderr and, once opened, to one file, as
 * `[YYYY-MM-DD HH:MM:SS] text` in UTC; any thread may log. */
#ifndef V2C_BASE_LOG_H
#define V2C_BASE_LOG_H

#include <stdbool.h>

struct err;

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARNING,
    LOG_ERROR,
};

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...)   log_write(LOG_ERROR, __VA_ARGS__)
/* "what: message", and the hint on a second line. */
void log_err(enum log_level level, const struct err *err, const char *what);

/* The least level that is written; LOG_INFO unless V2C_LOG says debug, info, warning or error. */
void log_set_level(enum log_level level);
/* Puts "[tag] " after the time stamp of stderr lines (the file is one VM's own and needs none). */
void log_set_tag(const char *tag);
/* Also appends to @path (mode 0640).  One file at a time; NULL closes it. */
int log_open_file(const char *path, struct err **err);
/* Whether lines go to stderr too (default yes). */
void log_set_stderr(bool is_on);

#endif
