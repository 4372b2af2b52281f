#include "vddk/say.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINE 1024

static enum say_level least_level = SAY_WARNING;
static atomic_bool is_failure_expected;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char line_tag[128] = "vddk"; /* lock */
static char complaint[256];         /* lock */
static int64_t complaint_at_ms;     /* lock */

/* VDDK warns of these on every run, and nobody can do anything about them. */
static const char *const noise[] = {"PhoneHome", "CEIP"};

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
say_init(void)
{
    const char *level = getenv("V2C_LOG");

    if (level && !strcmp(level, "debug"))
        least_level = SAY_DEBUG;
    else if (level && !strcmp(level, "error"))
        least_level = SAY_ERROR;
}

void
say_set_tag(const char *tag)
{
    pthread_mutex_lock(&lock);
    snprintf(line_tag, sizeof(line_tag), "vddk %s", tag);
    pthread_mutex_unlock(&lock);
}

bool
say_is_debug(void)
{
    return least_level == SAY_DEBUG;
}

/* One line of text: no trailing newline, nothing that moves a terminal's cursor. */
static void
format_line(char line[MAX_LINE], const char *fmt, va_list args)
{
    size_t length;

    if (vsnprintf(line, MAX_LINE, fmt, args) < 0)
        line[0] = '\0';
    length = strlen(line);
    while (length > 0 && (unsigned char)line[length - 1] <= ' ')
        line[--length] = '\0';
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = ' ';
}

static void
write_line(enum say_level level, const char *text)
{
    static const char *const names[] = {"", "warning: ", "error: "};
    char whole[MAX_LINE + 256];
    int length;

    if (level < least_level)
        return;
    pthread_mutex_lock(&lock);
    length = snprintf(whole, sizeof(whole), "[%s] %s%s\n", line_tag, names[level], text);
    pthread_mutex_unlock(&lock);
    /* One write a line, so that lines do not mix.  The engine stamps them
     * with the time; when it does not keep up they are lost rather than that VDDK waits. */
    if (length > 0)
        (void)!write(STDERR_FILENO, whole, (size_t)length);
}

void
say(enum say_level level, const char *fmt, ...)
{
    char line[MAX_LINE];
    va_list args;

    va_start(args, fmt);
    format_line(line, fmt, args);
    va_end(args);
    write_line(level, line);
}

void
say_vix_log(const char *fmt, va_list args)
{
    char line[MAX_LINE];

    if (least_level > SAY_DEBUG)
        return;
    format_line(line, fmt, args);
    write_line(SAY_DEBUG, line);
}

void
say_vix_warn(const char *fmt, va_list args)
{
    enum say_level level = SAY_WARNING;
    char line[MAX_LINE];

    format_line(line, fmt, args);
    for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
        if (strstr(line, noise[i]))
            level = SAY_DEBUG;
    if (atomic_load(&is_failure_expected))
        level = SAY_DEBUG;
    if (level == SAY_WARNING) {
        pthread_mutex_lock(&lock);
        snprintf(complaint, sizeof(complaint), "%.*s", (int)sizeof(complaint) - 1, line);
        complaint_at_ms = now_ms();
        pthread_mutex_unlock(&lock);
    }
    write_line(level, line);
}

void
say_vix_panic(const char *fmt, va_list args)
{
    char line[MAX_LINE];

    format_line(line, fmt, args);
    say(SAY_ERROR, "VDDK panics: %s", line);
}

void
say_expect_failure(bool is_on)
{
    atomic_store(&is_failure_expected, is_on);
}

bool
say_last_complaint(int max_age_ms, char *ret_text, size_t size)
{
    bool is_fresh;

    pthread_mutex_lock(&lock);
    is_fresh = complaint[0] && now_ms() - complaint_at_ms <= max_age_ms;
    if (is_fresh)
        snprintf(ret_text, size, "%s", complaint);
    pthread_mutex_unlock(&lock);
    return is_fresh;
}

void
say_forget_complaint(void)
{
    pthread_mutex_lock(&lock);
    complaint[0] = '\0';
    pthread_mutex_unlock(&lock);
}
