/* Runs a fuzz target over every file of the given directories, and over beginnings of each: a corpus is
 * a test.  Says how many; fails when there is none. */
#include <dirent.h>
#include <err.h>

#include "fuzz/fuzz.h"

#define MAX_BYTES (4U << 20)
#define CUTS      64U

static size_t
replay_file(const char *path)
{
    uint8_t *data = malloc(MAX_BYTES);
    FILE *file = fopen(path, "re");
    size_t size, runs = 0;

    if (!data || !file)
        err(1, "%s", path);
    size = fread(data, 1, MAX_BYTES, file);
    if (ferror(file) || !feof(file))
        errx(1, "%s: cannot be read, or is too large", path);
    (void)fclose(file);
    for (size_t cut = 0; cut <= CUTS; cut++) {
        size_t length = size * cut / CUTS;
        /* Exactly as large, so that a sanitizer sees a read beyond it. */
        uint8_t *copy = malloc(length ? length : 1);

        if (!copy)
            err(1, "%s", path);
        memcpy(copy, data, length);
        (void)LLVMFuzzerTestOneInput(copy, length);
        free(copy);
        runs++;
    }
    free(data);
    return runs;
}

static size_t
replay_directory(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t count = 0;
    char name[4096];

    if (!dir)
        err(1, "%s", path);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
            (void)replay_file(name);
            count++;
        }
    closedir(dir);
    return count;
}

int
main(int argc, char **argv)
{
    size_t count = 0;

    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    if (count == 0)
        errx(1, "no file to replay");
    printf("%zu files\n", count);
    return 0;
}
