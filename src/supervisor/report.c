#include "supervisor/report.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"

static void
finish_line(struct report_reader *reader, void (*fn)(void *opaque, const json_t *report),
            void *opaque)
{
    json_t *report = NULL;

    if (!reader->is_skipping && !reader->line.is_over)
        report =
            json_loadb(str_text(&reader->line), reader->line.length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(report))
        fn(opaque, report);
    else if (reader->line.length > 0 || reader->is_skipping)
        reader->dropped++;
    json_decref(report);
    str_clear(&reader->line);
    reader->is_skipping = false;
}

void
report_feed(struct report_reader *reader, const char *data, size_t length,
            void (*fn)(void *opaque, const json_t *report), void *opaque)
{
    while (length > 0) {
        const char *end = memchr(data, '\n', length);
        size_t part = end ? (size_t)(end - data) : length;

        if (!reader->is_skipping)
            str_append_bytes(&reader->line, data, part);
        if (reader->line.is_over) {
            str_clear(&reader->line);
            reader->is_skipping = true;
        }
        if (!end)
            return;
        finish_line(reader, fn, opaque);
        data += part + 1;
        length -= part + 1;
    }
}

void
report_reader_done(struct report_reader *reader)
{
    str_done(&reader->line);
}

struct err *
report_error(const json_t *report)
{
    const json_t *error = json_object_get(report, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    enum err_code code = err_code_from_name(json_string_value(json_object_get(error, "code")));
    struct err *err = NULL;

    if (!json_is_object(error))
        return NULL;
    err_set(&err, code == E_NONE ? E_WORKER_CRASH : code, "%s",
            message ? message : "it failed and did not say why");
    if (hint && *hint)
        err_hint(&err, "%s", hint);
    return err;
}
