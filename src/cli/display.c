#include "cli/display.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "base/vec.h"
#include "cli/text.h"

#define MAX_DISKS     256 /* of one VM that are shown */
#define REDRAW_MS     250
#define PLAIN_MS      10000
#define PLAIN_PERCENT 10.0
#define BAR_WIDTH     20
#define REPORT_MAX    (300 * 1024) /* a report and what is put before it */

struct shown_disk {
    char name[160], stage[160]; /* 40 characters */
    double percent;
    uint64_t read, planned, rate;
    int64_t eta_s;
};

struct shown_vm {
    const char *label;
    enum display_state state;
    char stage[160];
    bool is_paused;
    char note[1024];                    /* the last thing that it said */
    char moref[160], migration_id[640]; /* for a log for programs */
    VEC_DECLARE(, struct shown_disk)
    disks;
    json_t *summary; /* owned; NULL when there is none */
    int64_t told_ms; /* when the last plain line of progress was printed */
    double told_percent;
};

struct display {
    FILE *stream;
    bool is_terminal;
    struct shown_vm *vms;
    size_t vm_count;
    unsigned drawn; /* lines of bars that stand on the terminal */
    int64_t drawn_ms;
};

struct display *
display_new(FILE *stream, bool is_terminal, const char *const *labels, size_t count)
{
    struct display *display = xcalloc(1, sizeof(*display));

    display->stream = stream;
    display->is_terminal = is_terminal;
    display->vms = xcalloc(count, sizeof(display->vms[0]));
    display->vm_count = count;
    for (size_t i = 0; i < count; i++)
        display->vms[i].label = labels[i];
    return display;
}

/* ---- totals ----------------------------------------------------------------------------------- */

static bool
is_copying(const struct shown_disk *disk)
{
    return disk->planned > 0 && disk->percent < 100.0;
}

/* All disks of a VM as one; @ret->stage is that of a disk being copied.  False when none is. */
static bool
sum_disks(const struct shown_vm *vm, struct shown_disk *ret)
{
    bool is_any = false;

    *ret = (struct shown_disk){0};
    for (size_t i = 0; i < vm->disks.count; i++) {
        const struct shown_disk *disk = &vm->disks.items[i];

        if (is_copying(disk)) {
            memcpy(ret->stage, disk->stage, sizeof(ret->stage));
            ret->rate += disk->rate;
            ret->eta_s = MAX(ret->eta_s, disk->eta_s);
            is_any = true;
        }
        ret->read += MIN(disk->read, disk->planned);
        ret->planned += disk->planned;
    }
    if (ret->planned)
        ret->percent = 100.0 * (double)ret->read / (double)ret->planned;
    return is_any;
}

static void
append_amounts(struct str *out, const struct shown_disk *disk)
{
    text_append_bytes(out, disk->read);
    str_append(out, " of ");
    text_append_bytes(out, disk->planned);
    if (disk->rate) {
        str_append(out, ", ");
        text_append_rate(out, disk->rate);
    }
    if (disk->rate && disk->eta_s > 0) {
        str_append(out, ", ETA ");
        text_append_duration(out, disk->eta_s);
    }
}

bool
display_describe(const struct display *display, size_t vm, struct str *out)
{
    struct shown_disk all;

    if (!sum_disks(&display->vms[vm], &all))
        return false;
    str_appendf(out, "%s %.1f%%, ", all.stage, all.percent);
    append_amounts(out, &all);
    return true;
}

bool
display_summary(const struct display *display, size_t vm, struct str *out)
{
    const json_t *summary = display->vms[vm].summary;
    json_int_t bytes = json_integer_value(json_object_get(summary, "base_bytes"));
    json_int_t ms = json_integer_value(json_object_get(summary, "base_ms"));

    if (!summary)
        return false;
    str_append(out, "base ");
    text_append_bytes(out, (uint64_t)MAX(bytes, 0));
    if (bytes > 0 && ms > 0) {
        str_append(out, " at ");
        text_append_rate(out, (uint64_t)((double)bytes * 1000.0 / (double)ms));
    }
    str_appendf(out, ", deltas %" JSON_INTEGER_FORMAT,
                json_integer_value(json_object_get(summary, "delta_rounds")));
    return true;
}

/* ---- reports ---------------------------------------------------------------------------------- */

void
display_set_state(struct display *display, size_t vm, enum display_state state)
{
    display->vms[vm].state = state;
    display->vms[vm].is_paused = false; /* a worker that is paused says so */
}

static void
copy_clean(char *to, size_t size, const char *text)
{
    struct str clean = STR_INIT(4096);

    text_append_clean(&clean, text ? text : "", size / 4); /* at most 4 bytes a character */
    snprintf(to, size, "%s", str_text(&clean));
    str_done(&clean);
}

static uint64_t
positive(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

static void
take_progress(struct shown_vm *vm, const json_t *disks)
{
    size_t count = MIN(json_array_size(disks), (size_t)MAX_DISKS);

    vm->disks.count = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(disks, i);
        struct shown_disk disk = {
            .percent = json_number_value(json_object_get(from, "percent")),
            .read = positive(from, "read"),
            .planned = positive(from, "planned"),
            .rate = positive(from, "rate"),
            .eta_s = (int64_t)positive(from, "eta"),
        };

        copy_clean(disk.name, sizeof(disk.name), json_string_value(json_object_get(from, "name")));
        copy_clean(disk.stage, sizeof(disk.stage),
                   json_string_value(json_object_get(from, "stage")));
        vec_push(&vm->disks, disk);
    }
}

/* ---- drawing ---------------------------------------------------------------------------------- */

/* Ends a line that must not be longer than the terminal: one too long would wrap, and the next picture
 * would start in the wrong place. */
static void
end_line(struct str *out, struct str *line, unsigned columns)
{
    text_append_clean(out, str_text(line), columns > 1 ? columns - 1 : 1);
    str_append(out, "\n");
    str_clear(line);
}

static void
append_bar(struct str *line, double percent)
{
    int full = (int)(MIN(MAX(percent, 0.0), 100.0) * BAR_WIDTH / 100.0);

    str_append(line, "[");
    for (int i = 0; i < BAR_WIDTH; i++)
        str_append(line, i < full ? "=" : i == full ? ">" : " ");
    str_appendf(line, "] %5.1f%%", percent);
}

static void
append_head(struct str *line, const struct shown_vm *vm)
{
    static const char *const states[] = {"waiting", "", "starting again after a crash", "done",
                                         "failed"};
    struct shown_disk all;

    str_appendf(line, "%s  ", vm->label);
    if (vm->state != DISPLAY_RUNNING) {
        str_append(line, states[vm->state]);
        return;
    }
    str_append(line, vm->stage[0] ? vm->stage : "starting");
    if (vm->is_paused)
        str_append(line, "  paused");
    if (!sum_disks(vm, &all) && vm->note[0])
        str_appendf(line, "  %s", vm->note);
}

static unsigned
render_vm(const struct shown_vm *vm, unsigned columns, unsigned room, struct str *out)
{
    struct str line = STR_INIT(4096);
    unsigned lines = 1;

    append_head(&line, vm);
    end_line(out, &line, columns);
    for (size_t i = 0; i < vm->disks.count && vm->state == DISPLAY_RUNNING; i++) {
        const struct shown_disk *disk = &vm->disks.items[i];

        if (!is_copying(disk))
            continue;
        if (lines == room)
            break;
        str_appendf(&line, "  %-10s ", disk->name);
        append_bar(&line, disk->percent);
        str_append(&line, "  ");
        append_amounts(&line, disk);
        end_line(out, &line, columns);
        lines++;
    }
    str_done(&line);
    return lines;
}

unsigned
display_render(const struct display *display, unsigned columns, unsigned rows, struct str *out)
{
    unsigned room =
        rows > 4 ? rows - 2 : 2; /* a line to say what does not fit, one for the cursor */
    unsigned lines = 0;
    size_t counts[DISPLAY_FAILED + 1] = {0}, hidden = 0;

    for (size_t i = 0; i < display->vm_count; i++) {
        const struct shown_vm *vm = &display->vms[i];
        bool is_active = vm->state == DISPLAY_RUNNING || vm->state == DISPLAY_RESTARTING;

        counts[vm->state]++;
        if (!is_active)
            continue;
        if (lines < room)
            lines += render_vm(vm, columns, room - lines, out);
        else
            hidden++;
    }
    if (display->vm_count > 1) {
        struct str line = STR_INIT(4096);

        str_appendf(&line, "%zu done, %zu failed, %zu running, %zu waiting", counts[DISPLAY_DONE],
                    counts[DISPLAY_FAILED], counts[DISPLAY_RUNNING] + counts[DISPLAY_RESTARTING],
                    counts[DISPLAY_WAITING]);
        if (hidden)
            str_appendf(&line, " (%zu of them do not fit here)", hidden);
        end_line(out, &line, columns);
        str_done(&line);
        lines++;
    }
    return lines;
}

static void
erase(struct display *display)
{
    if (display->drawn)
        fprintf(display->stream, "\033[%uA\033[J", display->drawn);
    display->drawn = 0;
}

static void
draw(struct display *display)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct winsize real;
    struct str picture = STR_INIT(256 * KIB);
    unsigned lines;

    if (ioctl(fileno(display->stream), TIOCGWINSZ, &real) == 0 && real.ws_col && real.ws_row)
        size = real;
    lines = display_render(display, size.ws_col, size.ws_row, &picture);
    erase(display);
    fputs(str_text(&picture), display->stream);
    (void)fflush(display->stream);
    str_done(&picture);
    display->drawn = lines;
    display->drawn_ms = clock_monotonic_ms();
}

static void
print_line(struct display *display, const char *stamp, const char *text)
{
    struct str line = STR_INIT(REPORT_MAX);

    text_append_clean(&line, text, 0);
    if (display->is_terminal)
        erase(display);
    fprintf(display->stream, "%s%s\n", stamp, str_text(&line));
    if (display->is_terminal)
        draw(display);
    (void)fflush(display->stream);
    str_done(&line);
}

/* With the time, as in migration.log. */
static void
print_stamped(struct display *display, const char *text)
{
    time_t now = (time_t)clock_wall_s();
    char stamp[32];
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "[%Y-%m-%d %H:%M:%S] ", &tm);
    print_line(display, stamp, text);
}

static struct log_fields
fields_of(const struct shown_vm *vm)
{
    return (struct log_fields){
        .vm = vm->label, .moref = vm->moref, .migration_id = vm->migration_id, .stage = vm->stage};
}

void
display_line(struct display *display, const char *fmt, ...)
{
    struct str text = STR_INIT(64 * KIB);
    va_list args;

    va_start(args, fmt);
    str_vappendf(&text, fmt, args);
    va_end(args);
    if (log_format() != LOG_TEXT)
        log_info("%s", str_text(&text));
    else
        print_line(display, "", str_text(&text));
    str_done(&text);
}

void
display_vm_line(struct display *display, size_t vm, const struct err *error, const char *fmt, ...)
{
    struct log_fields fields = fields_of(&display->vms[vm]);
    struct str text = STR_INIT(64 * KIB);
    va_list args;

    va_start(args, fmt);
    str_vappendf(&text, fmt, args);
    va_end(args);
    if (error)
        fields.code = err_code_name(err_code(error));
    if (log_format() != LOG_TEXT)
        log_with(&fields, error ? LOG_ERROR : LOG_INFO, "%s", str_text(&text));
    else
        print_line(display, "", str_text(&text));
    str_done(&text);
}

static void
relay_log(const struct shown_vm *vm, const char *level_name, const char *text)
{
    struct log_fields fields = fields_of(vm);
    enum log_level level = LOG_INFO;

    (void)log_level_from_name(level_name, &level);
    fields.room = "migration";
    log_with(&fields, level, "%s", text);
}

static void
take_log(struct display *display, size_t vm, const char *level, const char *text)
{
    struct shown_vm *v = &display->vms[vm];
    struct str line = STR_INIT(REPORT_MAX);

    copy_clean(v->note, sizeof(v->note), text);
    if (log_format() != LOG_TEXT) {
        relay_log(v, level, text);
        return;
    }
    str_appendf(&line, "[%s] ", v->label);
    if (level && strcmp(level, "info") != 0)
        str_appendf(&line, "%s: ", level);
    str_append(&line, text);
    print_stamped(display, str_text(&line));
    str_done(&line);
}

void
display_report(struct display *display, size_t vm, const json_t *report)
{
    struct shown_vm *v = &display->vms[vm];
    const char *type = json_string_value(json_object_get(report, "type"));
    const char *text = json_string_value(json_object_get(report, "text"));

    if (!type)
        return;
    if (!strcmp(type, "log") && text) {
        take_log(display, vm, json_string_value(json_object_get(report, "level")), text);
    } else if (!strcmp(type, "stage")) {
        copy_clean(v->stage, sizeof(v->stage), json_string_value(json_object_get(report, "stage")));
        v->disks.count = 0; /* what was copied belongs to the stage before */
    } else if (!strcmp(type, "vm")) {
        copy_clean(v->moref, sizeof(v->moref), json_string_value(json_object_get(report, "moref")));
        copy_clean(v->migration_id, sizeof(v->migration_id),
                   json_string_value(json_object_get(report, "migration_id")));
        if (log_format() != LOG_TEXT) /* on a terminal it is one that was entered */
            copy_clean(v->stage, sizeof(v->stage),
                       json_string_value(json_object_get(report, "stage")));
    } else if (!strcmp(type, "pause")) {
        v->is_paused = json_is_true(json_object_get(report, "paused"));
        v->disks.count = 0; /* nothing is being copied */
    } else if (!strcmp(type, "progress")) {
        take_progress(v, json_object_get(report, "disks"));
    } else if (!strcmp(type, "summary")) {
        json_decref(v->summary);
        v->summary = json_deep_copy(report);
    }
}

static void
print_progress(struct display *display, const struct shown_vm *vm, const char *text)
{
    if (log_format() != LOG_TEXT)
        relay_log(vm, "info", text);
    else
        print_stamped(display, text);
}

static void
tell_plainly(struct display *display, size_t vm)
{
    struct shown_vm *v = &display->vms[vm];
    int64_t now = clock_monotonic_ms();
    struct str text = STR_INIT(4096);
    struct shown_disk all;

    if (v->state == DISPLAY_RUNNING && sum_disks(v, &all) &&
        (now - v->told_ms >= PLAIN_MS || all.percent >= v->told_percent + PLAIN_PERCENT ||
         all.percent < v->told_percent)) {
        v->told_ms = now;
        v->told_percent = all.percent;
        if (log_format() == LOG_TEXT)
            str_appendf(&text, "[%s] ", v->label);
        if (display_describe(display, vm, &text))
            print_progress(display, v, str_text(&text));
    }
    str_done(&text);
}

void
display_tick(struct display *display)
{
    if (!display->is_terminal) {
        for (size_t i = 0; i < display->vm_count; i++)
            tell_plainly(display, i);
    } else if (clock_monotonic_ms() - display->drawn_ms >= REDRAW_MS) {
        draw(display);
    }
}

void
display_free(struct display *display)
{
    if (!display)
        return;
    for (size_t i = 0; i < display->vm_count; i++) {
        vec_done(&display->vms[i].disks);
        json_decref(display->vms[i].summary);
    }
    free(display->vms);
    free(display);
}
