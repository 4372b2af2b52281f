/* What the files behind select.h share. */
#ifndef V2C_CLI_SELECT_INTERNAL_H
#define V2C_CLI_SELECT_INTERNAL_H

#include "cli/select.h"

/* A VM as a spec names it. */
struct vm_entry {
    char *name, *moref, *uuid; /* NULL: not said; never all three */
    char *datacenter;          /* narrows the name; NULL: not said */
    bool runs_virt_v2v;
};
VEC_DECLARE(vm_entries, struct vm_entry);

/* Reads only what identifies VMs: a spec that has become wrong otherwise still shows its status. */
int entries_read(const char *path, bool runs_virt_v2v, struct vm_entries *entries,
                 struct err **err);
void entries_done(struct vm_entries *entries);
const char *entry_label(const struct vm_entry *entry);

/* What the existing tool's state files below @control_dir say of @entry, appended to @views. */
void foreign_find(const char *control_dir, const struct vm_entry *entry, struct vm_views *views);

void view_done(struct vm_view *view);

#endif
