#include "guest/inside/content.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MANIFEST   "MANIFEST"
#define LINE_BYTES 96

/* xorshift64*: fast enough to fill a gigabyte in a second, and nothing compresses it. */
uint64_t
content_random(struct content *content)
{
    uint64_t x = content->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    content->random = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

static int
write_fully(int fd, const void *data, size_t length)
{
    const char *p = data;

    while (length > 0) {
        ssize_t n = write(fd, p, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        length -= (size_t)n;
    }
    return 0;
}

static void
name_file(uint32_t number, char ret_name[16])
{
    snprintf(ret_name, 16, "%07u", number);
}

static int
list_file(struct content *content, const struct content_file *file)
{
    if (content->count >= CONTENT_MAX_FILES) {
        errno = EOVERFLOW;
        return -1;
    }
    if (content->count == content->room) {
        size_t room = content->room ? content->room * 2 : 256;
        struct content_file *files = realloc(content->files, room * sizeof(*files));
        if (!files)
            return -1;
        content->files = files;
        content->room = room;
    }
    content->files[content->count++] = *file;
    content->total_bytes += file->size;
    if (file->number >= content->next_number)
        content->next_number = file->number + 1;
    return 0;
}

static void
unlist_file(struct content *content, size_t index)
{
    content->total_bytes -= content->files[index].size;
    memmove(&content->files[index], &content->files[index + 1],
            (content->count - index - 1) * sizeof(content->files[0]));
    content->count--;
}

/* The newest are at the end, and those are what is changed most. */
static bool
find_file(const struct content *content, uint32_t number, size_t *ret_index)
{
    for (size_t i = content->count; i-- > 0;)
        if (content->files[i].number == number) {
            *ret_index = i;
            return true;
        }
    return false;
}

/* ---- the manifest ------------------------------------------------------------------------------ */

static int
append_line(struct content *content, bool is_durable, const char *text)
{
    char line[LINE_BYTES];
    int length =
        snprintf(line, sizeof(line), "%s %08x\n", text, (unsigned)XXH64(text, strlen(text), 0));

    if (write_fully(content->manifest_fd, line, (size_t)length) < 0)
        return -1;
    return is_durable ? fdatasync(content->manifest_fd) : 0;
}

static int
log_added(struct content *content, const struct content_file *file, bool is_durable)
{
    char text[LINE_BYTES - 16];

    snprintf(text, sizeof(text), "A %" PRIu32 " %" PRIu32 " %016" PRIx64, file->number, file->size,
             file->hash);
    return append_line(content, is_durable, text);
}

static int
log_removed(struct content *content, uint32_t number)
{
    char text[LINE_BYTES - 16];

    snprintf(text, sizeof(text), "D %" PRIu32, number);
    return append_line(content, true, text);
}

/* @line without its newline.  False when it is none of ours. */
static bool
read_line(struct content *content, char *line)
{
    struct content_file file;
    size_t index;
    char *check = strrchr(line, ' '), *end;

    if (!check)
        return false;
    *check++ = '\0';
    if (strtoul(check, &end, 16) != (uint32_t)XXH64(line, strlen(line), 0) || *end || end == check)
        return false;
    if (sscanf(line, "A %" SCNu32 " %" SCNu32 " %" SCNx64, &file.number, &file.size, &file.hash) ==
        3)
        return file.size <= CONTENT_MAX_FILE && list_file(content, &file) == 0;
    if (sscanf(line, "D %" SCNu32, &file.number) != 1 || !find_file(content, file.number, &index))
        return false;
    unlist_file(content, index);
    return true;
}

static int
read_manifest(struct content *content, off_t *ret_end)
{
    int fd = openat(content->dir_fd, MANIFEST, O_RDONLY | O_CLOEXEC);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
    char line[LINE_BYTES];
    off_t end = 0;

    if (!in)
        return fd < 0 && errno == ENOENT ? 0 : -1;
    while (fgets(line, sizeof(line), in)) {
        char *newline = strchr(line, '\n');
        if (newline)
            *newline = '\0';
        else if (feof(in))
            break; /* an append that was cut off: what it speaks of was never promised */
        if (!newline || !read_line(content, line))
            content->bad_lines++;
        end = ftello(in);
    }
    *ret_end = end;
    fclose(in);
    return 0;
}

int
content_open(struct content *content, const char *dir, bool is_writable, uint64_t seed)
{
    off_t end = 0;

    *content = (struct content){.dir_fd = -1, .manifest_fd = -1, .random = seed | 1};
    content->next_number = 1;
    if (posix_memalign((void **)&content->buffer, 4096, CONTENT_MAX_FILE) != 0) {
        errno = ENOMEM;
        return -1;
    }
    if (is_writable && mkdir(dir, 0755) < 0 && errno != EEXIST)
        return -1;
    content->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (content->dir_fd < 0 || read_manifest(content, &end) < 0)
        return -1;
    if (!is_writable)
        return 0;
    content->manifest_fd =
        openat(content->dir_fd, MANIFEST, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (content->manifest_fd < 0 || ftruncate(content->manifest_fd, end) < 0)
        return -1;
    return fsync(content->dir_fd);
}

void
content_close(struct content *content)
{
    if (content->manifest_fd >= 0)
        close(content->manifest_fd);
    if (content->dir_fd >= 0)
        close(content->dir_fd);
    free(content->files);
    free(content->buffer);
    *content = (struct content){.dir_fd = -1, .manifest_fd = -1};
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void
make_bytes(struct content *content, uint32_t size, bool is_zero)
{
    uint64_t *words = (uint64_t *)(void *)content->buffer;

    for (size_t i = 0; i < (size + 7) / 8; i++)
        words[i] = is_zero ? 0 : content_random(content);
}

static int
put_file(struct content *content, const struct content_file *file, int flags, bool is_durable)
{
    char name[16];
    int fd, result;

    name_file(file->number, name);
    fd = openat(content->dir_fd, name, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (fd < 0)
        return -1;
    result = write_fully(fd, content->buffer, file->size);
    if (result == 0 && is_durable)
        result = fsync(fd);
    close(fd);
    return result;
}

int
content_add(struct content *content, uint32_t size, bool is_zero, bool is_durable)
{
    struct content_file file = {.number = content->next_number, .size = size};

    make_bytes(content, size, is_zero);
    file.hash = XXH64(content->buffer, size, 0);
    if (put_file(content, &file, O_CREAT | O_EXCL, is_durable) < 0)
        return -1;
    if (is_durable && fsync(content->dir_fd) < 0)
        return -1;
    if (log_added(content, &file, is_durable) < 0)
        return -1;
    return list_file(content, &file);
}

int
content_rewrite(struct content *content, size_t index, bool is_zero)
{
    struct content_file file = content->files[index];

    if (log_removed(content, file.number) < 0)
        return -1;
    unlist_file(content, index);
    make_bytes(content, file.size, is_zero);
    file.hash = XXH64(content->buffer, file.size, 0);
    if (put_file(content, &file, 0, true) < 0 || log_added(content, &file, true) < 0)
        return -1;
    return list_file(content, &file);
}

int
content_remove(struct content *content, size_t index)
{
    char name[16];

    name_file(content->files[index].number, name);
    if (log_removed(content, content->files[index].number) < 0)
        return -1;
    unlist_file(content, index);
    return unlinkat(content->dir_fd, name, 0);
}

int
content_sweep(struct content *content)
{
    int fd = openat(content->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        size_t index;

        if (*end || end == entry->d_name || number > UINT32_MAX)
            continue;
        if (!find_file(content, (uint32_t)number, &index))
            (void)unlinkat(content->dir_fd, entry->d_name, 0);
        if (number >= content->next_number)
            content->next_number = (uint32_t)number + 1;
    }
    closedir(dir);
    return 0;
}

/* ---- checking ---------------------------------------------------------------------------------- */

static ssize_t
read_fully(int fd, unsigned char *data, size_t length)
{
    size_t done = 0;

    while (done < length) {
        ssize_t n = read(fd, data + done, (length - done + 4095) / 4096 * 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Direct reads, of whole blocks: they are what the disk holds, and they spare the emulated processor a copy. */
static bool
is_intact(struct content *content, const struct content_file *file)
{
    char name[16];
    struct stat st;
    ssize_t length;
    int fd;

    name_file(file->number, name);
    fd = openat(content->dir_fd, name, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return false;
    length = fstat(fd, &st) == 0 && st.st_size == file->size
                 ? read_fully(fd, content->buffer, file->size)
                 : -1;
    close(fd);
    return length == file->size && XXH64(content->buffer, file->size, 0) == file->hash;
}

void
content_verify(struct content *content, unsigned *ret_files, unsigned *ret_bad)
{
    *ret_files += (unsigned)content->count;
    *ret_bad += content->bad_lines;
    for (size_t i = 0; i < content->count; i++)
        if (!is_intact(content, &content->files[i]))
            (*ret_bad)++;
}
