/* Waiting for what a guest says on its console, and comparing what its disks hold. */
#ifndef V2C_TESTS_LAB_GUEST_WAIT_H
#define V2C_TESTS_LAB_GUEST_WAIT_H

#include "disks/machine.h"

/* Under an emulator on a loaded machine. */
#define BOOT_MS 120000

/* Waits until @text stands in the console's output @count times; fails the test after @timeout_ms. */
void await_console(const char *dir, const char *text, unsigned count, int timeout_ms);
/* How often it does now. */
unsigned count_console(const char *dir, const char *text);
void await_off(struct lab_machine *machine, int timeout_ms);
/* A checksum over a whole view of one disk. */
uint64_t sum_view(struct lab_machine *machine, unsigned disk, uint64_t capacity, uint64_t view);

#endif
