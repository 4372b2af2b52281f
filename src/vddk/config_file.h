/* Inside vddk: the configuration that VDDK reads at its start, lines of key=value.  The keys are those of
 * VMware's VDDK Programming Guide; what is misspelt there is ignored by VDDK without a word.
 *
 * Threading: as session.h. */
#ifndef V2C_VDDK_CONFIG_FILE_H
#define V2C_VDDK_CONFIG_FILE_H

#include <stddef.h>

#include "vddk/wire.h"

#define CONFIG_FILE_TEXT 1024 /* bytes, more than any has */

struct config_file {
    char path[64]; /* "": there is none */
    int fd;        /* of memory without a name; -1: it is a file */
};
#define CONFIG_FILE_NONE ((struct config_file){.fd = -1})

/* What is asked for, NUL at the end. */
void config_file_text(const struct vddk_wire_open *open, char ret_text[CONFIG_FILE_TEXT]);
/* Writes it where only we can read it.  NULL, and a warning, when that cannot be done; else its path, or
 * V2C_VDDK_CONFIG if somebody brings a file of their own. */
const char *config_file_make(const struct vddk_wire_open *open, struct config_file *ret_file);
/* Removes it: VDDK reads it once.  Any state. */
void config_file_done(struct config_file *file);

#endif
