/* Files of ours in the pools: partial images, and the directories of a conversion's overlays. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/cleanup.h"
#include "cloudstack/cloudstack.h"
#include "io/io.h"
#include "qcow2/qcow2.h"

#define MAX_FILES 1000000 /* of one directory */

VEC_DECLARE(directories, char *);

static void
add_directory(struct directories *dirs, const char *path, size_t length)
{
    for (size_t i = 0; i < dirs->count; i++)
        if (strlen(dirs->items[i]) == length && !strncmp(dirs->items[i], path, length))
            return;
    vec_push(dirs, strndup(path, length));
}

/* Where migrations of this store have their files. */
static int
add_targets(struct cleanup *c, struct directories *dirs, struct err **err)
{
    for (size_t i = 0; i < c->knowns.count; i++) {
        struct store_disks disks = {0};

        if (!c->knowns.items[i].migration)
            continue;
        if (store_disks_load(c->selection->store, c->knowns.items[i].migration, &disks, err) < 0)
            return -1;
        for (size_t d = 0; d < disks.count; d++) {
            const char *path = disks.items[d].target_path;

            if (path && !io_path_is_remote(path))
                add_directory(dirs, path, (size_t)(strrchr(path, '/') - path));
        }
        store_disks_done(&disks);
    }
    return 0;
}

/* CloudStack's pools, as far as they can be seen here without mounting anything. */
static int
add_pools(struct cleanup *c, struct directories *dirs, struct err **err)
{
    const struct cloudstack_params none = {0};
    json_t *pools = NULL, *pool;
    size_t i;

    if (!c->cloudstack)
        return 0;
    if (cloudstack_list(c->cloudstack, "listStoragePools", &none, &pools, err) < 0)
        return -1;
    json_array_foreach (pools, i, pool) {
        const char *type = json_string_value(json_object_get(pool, "type"));
        const char *path = json_string_value(json_object_get(pool, "path"));
        const char *id = json_string_value(json_object_get(pool, "id"));
        CLEANUP(free_charp) char *mounted = NULL;

        if (type && id && !strchr(id, '/') && !strcasecmp(type, "NetworkFilesystem"))
            path = mounted = xasprintf("/mnt/%s", id);
        else if (!type || strcasecmp(type, "SharedMountPoint") != 0)
            continue;
        if (path && path[0] == '/' && path[1] && !strstr(path, "/..") && access(path, X_OK) == 0)
            add_directory(dirs, path, strlen(path) - (path[strlen(path) - 1] == '/'));
    }
    json_decref(pools);
    return 0;
}

/* ---- one file ---------------------------------------------------------------------------------- */

static void
judge_file(const struct cleanup *c, struct item *item, const struct qcow2_info *info)
{
    const struct known *known = cleanup_find_known(c, item->tag);

    if (item->fate != FATE_REMOVE)
        return;
    if (known && known->state == KNOWN_OVER)
        cleanup_leave(item, FATE_LEFT, "its migration is %s: it may hold a VM's data",
                      known->stage);
    else if (known && known->keeps_files)
        cleanup_leave(item, FATE_LEFT, "it was to be kept when its migration was given up");
    else if (info->is_in_use)
        cleanup_leave(item, FATE_IN_USE, "another process has it open");
    else if (info->is_finished)
        cleanup_leave(item, FATE_LEFT,
                      "it is a whole disk and not a partial copy: remove it by "
                      "hand if nobody wants it");
    else if (!c->volume_paths)
        cleanup_leave(item, FATE_LEFT, "CloudStack cannot be asked whether a volume uses it");
    else if (cleanup_is_referred(c, item->what))
        cleanup_leave(item, FATE_IN_USE, "a volume of CloudStack has its name");
}

/* Ours are called "<migration>_disk<n>.qcow2"; whether it is one stands in the file. */
static void
look_at_file(struct cleanup *c, const char *dir, const char *name)
{
    CLEANUP(free_charp) char *path = file_join(dir, name), *moref = NULL;
    size_t length = strlen(name);
    struct err *failure = NULL;
    struct qcow2_info info;
    struct item *item;
    struct stat st;

    if (!strstr(name, "_disk") || length < 6 || strcmp(name + length - 6, ".qcow2") != 0 ||
        lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    if (qcow2_inspect(path, &info, &failure) < 0) {
        if (err_code(failure) == E_TARGET_FORMAT || err_code(failure) == E_TARGET_DAMAGED)
            err_free(failure); /* does not say that it is ours */
        else
            cleanup_note(c, SIDE_STORAGE, &failure);
        return;
    }
    moref = info.is_ours ? cleanup_moref_of(info.owner_id) : NULL;
    if (!moref)
        return;
    item = cleanup_add(c, SIDE_STORAGE, ITEM_FILE, path, info.owner_id);
    item->bytes = (int64_t)st.st_blocks * 512;
    judge_file(c, item, &info);
}

static int64_t
bytes_below(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int64_t bytes = 0;

    while (dir && (entry = readdir(dir))) {
        struct stat st;

        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            bytes += (int64_t)st.st_blocks * 512;
    }
    if (dir)
        closedir(dir);
    return bytes;
}

/* ".v2c-vm-16-65a1b2c3" is where a migration's overlays are. */
static void
look_at_overlays(struct cleanup *c, const char *dir, const char *name)
{
    CLEANUP(free_charp) char *path = file_join(dir, name), *moref = cleanup_moref_of(name + 1);
    struct item *item;
    struct stat st;

    if (!moref || strlen(name) > 63 || lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return;
    item = cleanup_add(c, SIDE_STORAGE, ITEM_OVERLAYS, path, name + 1);
    item->bytes = bytes_below(path);
}

static void
scan(struct cleanup *c, const char *path)
{
    DIR *dir = opendir(path);
    struct err *failure = NULL;
    struct dirent *entry;

    if (!dir) {
        err_set_errno(&failure, E_POOL, errno, "%s", path);
        cleanup_note(c, SIDE_STORAGE, &failure);
        return;
    }
    for (int i = 0; i < MAX_FILES && (entry = readdir(dir)); i++)
        if (!strncmp(entry->d_name, ".v2c-", 5))
            look_at_overlays(c, path, entry->d_name);
        else
            look_at_file(c, path, entry->d_name);
    closedir(dir);
}

void
cleanup_find_files(struct cleanup *c)
{
    struct directories dirs = {0};
    struct err *failure = NULL;

    if (add_targets(c, &dirs, &failure) < 0 || add_pools(c, &dirs, &failure) < 0)
        cleanup_note(c, SIDE_STORAGE, &failure);
    for (size_t i = 0; i < dirs.count; i++) {
        scan(c, dirs.items[i]);
        free(dirs.items[i]);
    }
    vec_done(&dirs);
}
