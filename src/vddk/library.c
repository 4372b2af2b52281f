/* Finds libvixDiskLib and its functions.
 *
 * The library opens more of its own later (transport plugins, its private OpenSSL) by bare name, and
 * the C library reads LD_LIBRARY_PATH only when a program starts.  So the engine starts this program
 * with it set; here it is too late. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vddk/say.h"
#include "vddk/vix.h"
#include "vddk/wire.h"

static const int versions[] = {9, 8, 7, 6};
static const char *const folders[] = {"/lib64", ""};

static void
fail(struct vddk_wire_result *result, enum vddk_wire_failure failure, const char *fmt, ...)
{
    va_list args;

    result->failure = failure;
    va_start(args, fmt);
    (void)vsnprintf(result->text, sizeof(result->text), fmt, args);
    va_end(args);
}

static void *
find_symbol(const struct vix_library *library, const char *name)
{
    char symbol[64];

    snprintf(symbol, sizeof(symbol), "VixDiskLib_%s", name);
    return dlsym(library->dl, symbol);
}

/* A function pointer is filled through memory: ISO C has no cast from void * to it. */
#define FIND(name)                                                                                 \
    do {                                                                                           \
        void *found_ = find_symbol(library, #name);                                                \
        memcpy(&library->name, &found_, sizeof(found_));                                           \
    } while (0)
#define NEED(name)                                                                                 \
    do {                                                                                           \
        FIND(name);                                                                                \
        if (!library->name)                                                                        \
            return #name;                                                                          \
    } while (0)

/* NULL, or the name of the first function that must be there and is not. */
static const char *
find_functions(struct vix_library *library)
{
    NEED(InitEx);
    NEED(Exit);
    NEED(GetErrorText);
    NEED(FreeErrorText);
    NEED(ConnectEx);
    NEED(Disconnect);
    NEED(FreeConnectParams);
    NEED(Open);
    NEED(Close);
    NEED(GetTransportMode);
    NEED(GetInfo);
    NEED(FreeInfo);
    NEED(Read);
    FIND(ReadAsync);
    FIND(Wait);
    FIND(QueryAllocatedBlocks);
    FIND(FreeBlockList);
    FIND(AllocateConnectParams);
    FIND(PrepareForAccess);
    FIND(EndAccess);
    FIND(Cleanup);
    return NULL;
}

/* True when one was loaded.  A file that is there but does not load is remembered in @result; an
 * older one beside it may still do. */
static bool
try_file(const char *libdir, const char *folder, int version, struct vix_library *library,
         struct vddk_wire_result *result)
{
    const char *missing;

    if (snprintf(library->path, sizeof(library->path), "%s%s/libvixDiskLib.so.%d", libdir, folder,
                 version) >= (int)sizeof(library->path) ||
        access(library->path, F_OK) < 0)
        return false;
    library->dl = dlopen(library->path, RTLD_NOW | RTLD_LOCAL);
    if (!library->dl) {
        const char *why = dlerror();

        say(SAY_DEBUG, "%s", why);
        if (result->failure == VDDK_WIRE_OK)
            fail(result, VDDK_WIRE_FAIL_LOAD, "%s", why);
        return false;
    }
    missing = find_functions(library);
    if (missing) {
        if (result->failure == VDDK_WIRE_OK)
            fail(result, VDDK_WIRE_FAIL_SYMBOL, "%s has no function VixDiskLib_%s", library->path,
                 missing);
        dlclose(library->dl);
        return false;
    }
    library->version = version;
    return true;
}

bool
vix_load(const char *libdir, struct vix_library *ret_library, struct vddk_wire_result *ret_result)
{
    struct vddk_wire_result result = {0};

    for (size_t f = 0; f < sizeof(folders) / sizeof(folders[0]); f++)
        for (size_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++) {
            struct vix_library library = {0};

            if (!try_file(libdir, folders[f], versions[v], &library, &result))
                continue;
            say(SAY_DEBUG, "loaded %s", library.path);
            *ret_library = library;
            return true;
        }
    if (result.failure == VDDK_WIRE_OK)
        fail(&result, VDDK_WIRE_FAIL_MISSING,
             "no libvixDiskLib.so.9, .8, .7 or .6 in %s/lib64 or %s", libdir, libdir);
    *ret_result = result;
    return false;
}
