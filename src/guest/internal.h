/* What the files of this room share. */
#ifndef V2C_GUEST_INTERNAL_H
#define V2C_GUEST_INTERNAL_H

#include "base/str.h"
#include "guest/guest.h"

#define GUEST_MAX_DISKS 26 /* sda to sdz */

/* Runs a program to its end; lines of stdout and stderr go to @watch, and stdout alone, whole, into @output
 * when that is not NULL (then it is no line).  @set_env as in child.h.  E_SPAWN, E_GUEST_TIMEOUT, E_CANCELLED. */
int guest_run(const char *const *argv, const char *const *set_env, const struct guest_watch *watch,
              struct str *output, int *ret_status, struct err **err);

/* inspect.c: of virt-inspector's answer, for @disk_count disks. */
int guest_parse_inspection(const char *xml, size_t length, struct guest_inspection *ret,
                           struct err **err);
/* convert.c: what virt-v2v-in-place is told; the features are the lines of its --machine-readable. */
struct guest_argv {
    const char *items[32];
    size_t count;
};
void guest_build_argv(const struct guest_conversion *conversion, const char *program,
                      const char *features, const char *xml_path, struct guest_argv *ret);
/* The disks for `-i libvirtxml`; E_LIMIT for more than GUEST_MAX_DISKS. */
int guest_describe_disks(const struct guest_conversion *conversion, struct str *out,
                         struct err **err);
/* "[  12.3] Converting the guest" to "Converting the guest", in the line; NULL for other lines. */
const char *guest_step_of(const char *line);

#endif
