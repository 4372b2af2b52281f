/* The configuration file that InitEx is given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fakevddk/fake.h"

static unsigned long long buffer_size = 1, buffer_count = 4; /* of a session; size in 64 KiB */

static void
take_setting(const char *key, const char *value)
{
    static const char *const others[] = {"vixDiskLib.transport.LogLevel", "vixDiskLib.nfc.LogLevel",
                                         "tmpDirectory"};

    fake_record("config %s=%s", key, value);
    if (!strcmp(key, "vixDiskLib.nfcAio.Session.BufSizeIn64KB")) {
        buffer_size = strtoull(value, NULL, 10);
        return;
    }
    if (!strcmp(key, "vixDiskLib.nfcAio.Session.BufCount")) {
        buffer_count = strtoull(value, NULL, 10);
        return;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (!strcmp(key, others[i]))
            return;
    /* The real library ignores it without a word. */
    fake_die("the configuration has a key that is not known: %s", key);
}

bool
fake_config_read(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    struct stat st;

    fake_record("config-file %s", path);
    if (!file || fstat(fileno(file), &st) < 0)
        return false;
    if (st.st_mode & 077)
        fake_die("others can read the configuration %s", path);
    while (fgets(line, sizeof(line), file)) {
        char *value = strchr(line, '=');

        line[strcspn(line, "\n")] = '\0';
        if (!value)
            continue;
        *value++ = '\0';
        take_setting(line, value);
    }
    (void)fclose(file);
    fake_log("VixDiskLib: nfcAio: %llu buffers of %llu x 64 KiB", buffer_count, buffer_size);
    return buffer_size >= 1 && buffer_size <= 32 && buffer_count >= 1 &&
           buffer_size * buffer_count <= 256;
}

uint64_t
fake_config_session_kb(void)
{
    return buffer_size * buffer_count * 64;
}
