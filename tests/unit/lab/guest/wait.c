#include "tests/unit/lab/guest/wait.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "tests/unit/check.h"

#define MAX_CONSOLE (4 * MIB)
#define CHUNK       (1 * MIB)
#define POLL_MS     50

unsigned
count_console(const char *dir, const char *text)
{
    CLEANUP(free_charp) char *path = file_join(dir, "serial.log"), *data = NULL;
    unsigned count = 0;
    size_t length;

    if (file_read(path, MAX_CONSOLE, &data, &length, NULL) < 0)
        return 0;
    for (size_t i = 0; i < length; i++)
        if (data[i] == '\0')
            data[i] = ' ';
    for (const char *p = data; (p = strstr(p, text)) != NULL; p++)
        count++;
    return count;
}

void
await_console(const char *dir, const char *text, unsigned count, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;

    while (count_console(dir, text) < count) {
        if (clock_monotonic_ms() > deadline)
            fail_msg("the guest did not say \"%s\" %u times in %d ms", text, count, timeout_ms);
        clock_sleep_ms(POLL_MS);
    }
}

void
await_off(struct lab_machine *machine, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;

    while (machine->ops->is_on(machine)) {
        if (clock_monotonic_ms() > deadline)
            fail_msg("the guest is still on after %d ms", timeout_ms);
        clock_sleep_ms(POLL_MS);
    }
}

uint64_t
sum_view(struct lab_machine *machine, unsigned disk, uint64_t capacity, uint64_t view)
{
    CLEANUP(free_charp) char *data = xcalloc(1, CHUNK);
    uint64_t sum = 0;

    for (uint64_t offset = 0; offset < capacity; offset += CHUNK) {
        uint32_t length = (uint32_t)MIN(CHUNK, capacity - offset);
        struct err *err = NULL;

        assert_ok(machine->ops->read(machine, disk, view, data, length, offset, &err), &err);
        for (uint32_t i = 0; i + 8 <= length; i += 8) {
            uint64_t word;

            memcpy(&word, data + i, sizeof(word));
            sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
            sum ^= sum >> 29;
        }
    }
    return sum;
}
