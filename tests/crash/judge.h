/* Judges the bytes of a QCOW2 file with nothing but the format's specification: what `qemu-img check`
 * looks at, without a process, so that thousands of states can be judged.  It shares no code with the
 * program; the tests hold it against qemu-img on a sample. */
#ifndef V2C_TESTS_CRASH_JUDGE_H
#define V2C_TESTS_CRASH_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

enum judge_verdict { JUDGE_CLEAN, JUDGE_LEAKS, JUDGE_CORRUPT, JUDGE_NO_IMAGE };

/* @why: of a verdict that is not clean; at least 128 bytes. */
enum judge_verdict judge_file(const uint8_t *bytes, uint64_t length, char *why);
/* The verdict that an exit status of `qemu-img check` stands for. */
enum judge_verdict judge_of_qemu(int status);
/* What the header says of the disk's size. */
uint64_t judge_disk_size(const uint8_t *bytes, uint64_t length);
/* What a guest would read, into @size bytes; of a file that is at least no JUDGE_NO_IMAGE. */
void judge_read_guest(const uint8_t *bytes, uint64_t length, uint8_t *guest, uint64_t size);

#endif
