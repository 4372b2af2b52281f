/* How `status` shows what select.h found. */
#ifndef V2C_CLI_STATUS_H
#define V2C_CLI_STATUS_H

#include "base/str.h"
#include "cli/select.h"

/* One line a VM, as the existing tool writes it, then what we know more of it, indented. */
void status_render_text(const struct vm_views *views, struct str *out);
/* An array of objects: the existing tool's fields, then ours.  The caller frees. */
char *status_render_json(const struct vm_views *views);

#endif
