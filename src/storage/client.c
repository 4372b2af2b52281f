/* What this host has to mount NFS with. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "storage/internal.h"

#define CAP_NET_BIND_SERVICE_BIT 10
#define CAP_SYS_ADMIN_BIT        21

static void
close_streamp(FILE **file)
{
    if (*file)
        (void)fclose(*file);
}

/* 1 when a line of the file has @text, 0 when none has, -1 when it cannot be read. */
static int
has_line_with(const char *path, const char *text)
{
    CLEANUP(close_streamp) FILE *file = fopen(path, "re");
    CLEANUP(free_charp) char *line = NULL;
    size_t size = 0;

    while (file && getline(&line, &size, file) >= 0)
        if (strstr(line, text))
            return 1;
    return file ? 0 : -1;
}

/* It is in the kernel, or a module that is loaded when it is first mounted. */
static enum storage_known
kernel_has_nfs(const struct storage_host *host)
{
    static const char *const lists[] = {"modules.dep", "modules.builtin"};
    bool is_unknown = false;
    struct utsname name;

    if (has_line_with(host->filesystems, "\tnfs\n") == 1)
        return STORAGE_YES;
    if (uname(&name) < 0)
        return STORAGE_UNKNOWN;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        CLEANUP(free_charp)
        char *path = xasprintf("%s/%s/%s", host->modules, name.release, lists[i]);
        int found = has_line_with(path, "/fs/nfs/nfs.ko");

        if (found == 1)
            return STORAGE_YES;
        is_unknown = is_unknown || found < 0;
    }
    return is_unknown ? STORAGE_UNKNOWN : STORAGE_NO;
}

/* Of the capabilities that this process has now. */
static bool
is_capable(unsigned bit)
{
    CLEANUP(close_streamp) FILE *file = fopen("/proc/self/status", "re");
    CLEANUP(free_charp) char *line = NULL;
    size_t size = 0;

    while (file && getline(&line, &size, file) >= 0)
        if (!strncmp(line, "CapEff:", 7))
            return strtoull(line + 7, NULL, 16) >> bit & 1;
    return geteuid() == 0;
}

void
storage_look_at_nfs_on(const struct storage_host *host, struct storage_nfs_client *ret_client)
{
    *ret_client = (struct storage_nfs_client){
        .kernel = kernel_has_nfs(host),
        .may_mount = geteuid() == 0 && is_capable(CAP_SYS_ADMIN_BIT),
        .has_low_ports = is_capable(CAP_NET_BIND_SERVICE_BIT),
        .has_agent = access(host->agent_properties, F_OK) == 0,
    };
    for (size_t i = 0; i < ARRAY_SIZE(host->mount_nfs) && !ret_client->program; i++)
        if (host->mount_nfs[i] && access(host->mount_nfs[i], X_OK) == 0)
            ret_client->program = host->mount_nfs[i];
}

void
storage_look_at_nfs(struct storage_nfs_client *ret_client)
{
    storage_look_at_nfs_on(&storage_this_host, ret_client);
}
