#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "guest/guest.h"

static char *
if_executable(const char *path)
{
    return path && *path && access(path, X_OK) == 0 ? xstrdup(path) : NULL;
}

static char *
find_in_path(const char *name)
{
    const char *variable = getenv("PATH");
    CLEANUP(free_charp) char *path = xstrdup(variable ? variable : "/usr/bin:/bin");
    char *rest = path, *dir;

    while ((dir = strsep(&rest, ":")) != NULL) {
        CLEANUP(free_charp) char *file = file_join(dir, name);
        char *found = *dir ? if_executable(file) : NULL;

        if (found)
            return found;
    }
    return NULL;
}

/* What is named explicitly must be there. */
static char *
find(const char *const *variables, const char *name, const char *const *places)
{
    char *found;

    for (; *variables; variables++) {
        const char *named = getenv(*variables);

        if (named && *named)
            return if_executable(named);
    }
    found = find_in_path(name);
    for (; !found && *places; places++)
        found = if_executable(*places);
    return found;
}

char *
guest_find_converter(void)
{
    static const char *const variables[] = {"VIRT_V2V_IN_PLACE", "V2C_VIRT_V2V_BIN", NULL};
    static const char *const places[] = {"/usr/libexec/virt-v2v-in-place",
                                         "/usr/bin/virt-v2v-in-place", NULL};

    return find(variables, "virt-v2v-in-place", places);
}

char *
guest_find_inspector(void)
{
    static const char *const variables[] = {"V2C_VIRT_INSPECTOR", NULL};
    static const char *const places[] = {"/usr/bin/virt-inspector", NULL};

    return find(variables, "virt-inspector", places);
}

char *
guest_find_virtio_win(const char *configured)
{
    const char *const places[] = {configured, "/usr/share/virtio-win/virtio-win.iso",
                                  "/usr/share/virtio-win"};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (places[i] && *places[i] && access(places[i], R_OK) == 0)
            return xstrdup(places[i]);
    return NULL;
}

bool
guest_has_windows_tool(const char *name)
{
    const char *dir = getenv("VIRT_TOOLS_DATA_DIR");
    CLEANUP(free_charp) char *path = file_join(dir && *dir ? dir : "/usr/share/virt-tools", name);

    return access(path, R_OK) == 0;
}

char *
guest_find_qemu(void)
{
    static const char *const variables[] = {NULL};
    static const char *const places[] = {"/usr/libexec/qemu-kvm", NULL};

    return find(variables, "qemu-system-x86_64", places);
}

char *
guest_find_qemu_img(void)
{
    return find_in_path("qemu-img");
}
