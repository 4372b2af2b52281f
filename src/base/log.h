/* The log.  Program code (migration, supervisor, cli, api) logs; rooms below return errors and log
 * at debug only.  Lines go to stderr and, once opened, to one file, as
 * `[YYYY-MM-DD HH:MM:SS] text` in UTC; any thread may log.
 *
 * Instead of stderr's lines there may be JSON objects, or entries of systemd's journal, which have fields
 * beside the text (docs/logging.md); the file stays as it is. */
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

/* What a line is about, for programs; NULL is not known.  Text lines do not show it. */
struct log_fields {
    const char *vm, *moref, *job_id, *migration_id, *stage;
    const char *code; /* "E_..." */
    const char *room; /* NULL: that of the source file */
};
void log_write_at(const char *file, int line, const struct log_fields *fields, enum log_level level,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
#define log_write(level, ...)        log_write_at(__FILE__, __LINE__, NULL, level, __VA_ARGS__)
#define log_with(fields, level, ...) log_write_at(__FILE__, __LINE__, fields, level, __VA_ARGS__)
#define log_debug(...)               log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)                log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...)             log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...)               log_write(LOG_ERROR, __VA_ARGS__)
/* "what: message", and the hint on a second line. */
void log_err_at(const char *file, int line, enum log_level level, const struct err *err,
                const char *what);
#define log_err(level, err, what) log_err_at(__FILE__, __LINE__, level, err, what)

/* The least level that is written; LOG_INFO unless V2C_LOG says debug, info, warning or error. */
void log_set_level(enum log_level level);
/* Puts "[tag] " after the time stamp of stderr lines (the file is one VM's own and needs none). */
void log_set_tag(const char *tag);
/* Also appends to @path (mode 0640).  One file at a time; NULL closes it. */
int log_open_file(const char *path, struct err **err);
/* Whether lines go to stderr too (default yes). */
void log_set_stderr(bool is_on);

enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNALD };
bool log_format_from_name(const char *name, enum log_format *ret); /* "text", "json", "journald" */
/* What takes the place of stderr's lines.  E_CONFIG when there is no journal. */
int log_set_format(enum log_format format, struct err **err);
enum log_format log_format(void);
bool log_level_from_name(const char *name, enum log_level *ret);

#endif
