/* Breaks a text in ways that are the same on every run. */
#ifndef V2C_TESTS_UNIT_VSPHERE_MUTATE_H
#define V2C_TESTS_UNIT_VSPHERE_MUTATE_H

#include <stddef.h>
#include <stdint.h>

uint32_t mutate_random(uint32_t *seed);
/* Changes, moves, adds and removes bytes and cuts the end off; returns the new length, never more
 * than @length. */
size_t mutate(char *text, size_t length, uint32_t *seed);

#endif
