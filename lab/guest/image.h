/* The disks of the little Linux: found in the cache or built, and copied for one machine. */
#ifndef V2C_LAB_GUEST_IMAGE_H
#define V2C_LAB_GUEST_IMAGE_H

#include <stdint.h>

struct err;

enum { GUEST_DISKS = 2 }; /* root, data */

/* The folder with root.raw and data.raw of the largest size whose disks fit into @capacities (of
 * @count disks); the caller frees.  The first call may take a minute, to build them.  E_CONFIG when the
 * capacities are too small. */
char *guest_image_find(const uint64_t *capacities, unsigned count, struct err **err);
/* Makes @path a sparse copy of disk @number in @image, or an empty file for a disk beyond the guest's,
 * @capacity bytes long. */
int guest_image_copy(const char *image, unsigned number, uint64_t capacity, const char *path,
                     struct err **err);

#endif
