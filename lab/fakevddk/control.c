#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fakevddk/fake.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int once_state; /* lock: 0 not asked yet, 1 faults happen, -1 they do not */

/* The words are read anew each time: a test may write FILE while the process runs. */
static void
read_words(char words[1024])
{
    const char *value = getenv("V2C_FAKEVDDK");
    ssize_t n;
    int fd;

    words[0] = '\0';
    if (!value)
        return;
    if (value[0] != '@') {
        (void)snprintf(words, 1024, "%s", value);
        return;
    }
    fd = open(value + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, words, 1023);
    words[n > 0 ? n : 0] = '\0';
    words[strcspn(words, "\n")] = '\0';
    close(fd);
}

/* What follows "word=" or is empty, NULL when the word is not there. */
static const char *
find_word(char words[1024], const char *word)
{
    char *rest = words, *item;

    while ((item = strsep(&rest, ","))) {
        size_t length = strcspn(item, "=");

        if (length == strlen(word) && !strncmp(item, word, length))
            return item[length] ? item + length + 1 : item + length;
    }
    return NULL;
}

bool
fake_control(const char *word, uint64_t fallback, uint64_t *ret_number)
{
    char words[1024];
    const char *value;

    read_words(words);
    value = find_word(words, word);
    if (!value)
        return false;
    *ret_number = *value ? strtoull(value, NULL, 10) : fallback;
    return true;
}

bool
fake_has(const char *word)
{
    uint64_t unused;

    return fake_control(word, 0, &unused);
}

/* One write, so that lines of several processes do not mix. */
void
fake_record(const char *fmt, ...)
{
    char words[1024], line[1024];
    const char *path;
    va_list args;
    int fd, length;

    read_words(words);
    path = find_word(words, "record");
    if (!path)
        return;
    va_start(args, fmt);
    length = vsnprintf(line, sizeof(line) - 1, fmt, args);
    va_end(args);
    if (length < 0 || length >= (int)sizeof(line) - 1)
        fake_die("a line of the record is too long");
    line[length++] = '\n';
    fd = open(path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        fake_die("the record %s cannot be written", path);
    close(fd);
}

static bool
is_once(void)
{
    char words[1024];
    const char *path;
    bool is_on;
    int fd;

    pthread_mutex_lock(&lock);
    if (once_state == 0) {
        read_words(words);
        path = find_word(words, "once");
        once_state = 1;
        if (path) {
            fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
            once_state = fd >= 0 ? 1 : -1;
            if (fd >= 0)
                close(fd);
        }
    }
    is_on = once_state > 0;
    pthread_mutex_unlock(&lock);
    return is_on;
}

bool
fake_fault(const char *word, uint64_t fallback, uint64_t *ret_number)
{
    return fake_control(word, fallback, ret_number) && is_once();
}

void
fake_die(const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(stderr, "fake libvixDiskLib: a rule is broken: %s\n", text);
    abort();
}

void
fake_hang(void)
{
    for (;;)
        pause();
}
