#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "migration/internal.h"

#define DEFAULT_SLOTS 8
#define MAX_SLOTS     256
#define POLL_MS       200

static long
slot_count(void)
{
    const char *text = getenv("V2C_VDDK_MAX_OPEN");
    char *end;
    long count;

    if (!text || !*text)
        return DEFAULT_SLOTS;
    count = strtol(text, &end, 10);
    return *end || count < 1 ? DEFAULT_SLOTS : MIN(count, MAX_SLOTS);
}

/* A slot is a locked file: the kernel gives it back when its holder ends, however it ends. */
int
migration_slot_take(const char *control_dir, const volatile int *cancel, int *ret_fd,
                    struct err **err)
{
    CLEANUP(free_charp) char *dir = file_join(control_dir, ".vddk-slots");
    long count = slot_count();

    if (file_make_dirs(dir, 0700, err) < 0)
        return -1;
    for (bool is_first = true;; is_first = false) {
        for (long i = 0; i < count; i++) {
            CLEANUP(free_charp) char *path = xasprintf("%s/%ld", dir, i);
            struct err *failure = NULL;

            if (file_lock(path, ret_fd, &failure) == 0)
                return 0;
            if (err_code(failure) != E_LOCKED)
                return err_move(err, &failure);
            err_free(failure);
        }
        if (is_first)
            log_info("waiting for one of %ld VDDK handles (V2C_VDDK_MAX_OPEN)", count);
        if (cancel && *cancel)
            return err_set(err, E_CANCELLED, "stopped while waiting for a free VDDK handle");
        clock_sleep_ms(POLL_MS);
    }
}
