/* Inside source: how v2c-vddk is found and started. */
#ifndef V2C_SOURCE_VDDK_PROGRAM_H
#define V2C_SOURCE_VDDK_PROGRAM_H

struct err;

/* @given, else V2C_VDDK_PROGRAM, else relative to the engine: installed, or in the build tree.  The
 * caller frees. */
char *vddk_find_program(const char *given);
/* "LD_LIBRARY_PATH=...", which must be set when the program starts; the caller frees.  E_VDDK_LIBRARY
 * for a path that the dynamic linker cannot be given. */
int vddk_library_variable(const char *libdir, char **ret_variable, struct err **err);

#endif
