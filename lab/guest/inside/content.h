/* The files that a pretend VM is watched by: numbered files of random content in one folder, and a
 * manifest that says what each must hold.  Shared by the guest and by the program that fills its disks
 * on the host, so it uses nothing but libc.
 *
 * The manifest is a log, one line a change, each with a checksum of its own:
 *     A <number> <size> <XXH64 of the content> <check>
 *     D <number> <check>
 * A file's A line is written after the file is synced, its D line before the file is touched again, and
 * every line is synced before the next step.  So whatever the moment at which a disk is frozen, each
 * file that is listed and not struck out must be there with that content.  XXH64 and not SHA-256: the
 * guest runs on an emulated processor, and what is looked for is an accident, not an attack. */
#ifndef V2C_LAB_GUEST_INSIDE_CONTENT_H
#define V2C_LAB_GUEST_INSIDE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENT_MAX_FILE  (4U * 1024 * 1024)
#define CONTENT_MAX_FILES 200000U

struct content_file {
    uint32_t number;
    uint32_t size;
    uint64_t hash;
};

struct content {
    int dir_fd;      /* -1: not open */
    int manifest_fd; /* open for appending; -1 when opened to be read only */
    struct content_file *files;
    size_t count, room;
    uint64_t total_bytes;
    uint32_t next_number;
    unsigned bad_lines;    /* of the manifest */
    unsigned char *buffer; /* CONTENT_MAX_FILE, aligned for direct I/O */
    uint64_t random;       /* state of the generator */
};

/* All return 0, or -1 with errno set. */
int content_open(struct content *content, const char *dir, bool is_writable, uint64_t seed);
void content_close(struct content *content);
/* Adds one file of @size bytes, random or zeroes.  Without @is_durable nothing is synced. */
int content_add(struct content *content, uint32_t size, bool is_zero, bool is_durable);
/* New content, of the same size and in place, for file @index. */
int content_rewrite(struct content *content, size_t index, bool is_zero);
int content_remove(struct content *content, size_t index);
/* Removes what is there and not listed: left by a writer that was cut off. */
int content_sweep(struct content *content);
/* Reads every listed file again; counts those that are missing, of another size or content. */
void content_verify(struct content *content, unsigned *ret_files, unsigned *ret_bad);
uint64_t content_random(struct content *content);

#endif
