/* NFS pools through the kernel's client: at <mount_root>/<pool id>, where CloudStack's agents have them.
 *
 * What we mount stays mounted: other VMs of the same pool may be using it, and a CloudStack agent that is
 * installed here later unmounts what it finds there by itself. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "storage/internal.h"

#define OPTIONS_ENV "V2C_NFS_MOUNT_OPTS"
/* There, some servers' NFS 4 loses the state of a file that is written for long. */
#define UBUNTU_OPTIONS                                                                             \
    "rw,relatime,vers=3,rsize=1048576,wsize=1048576,hard,proto=tcp,timeo=600,retrans=2"
#define MAX_OUTPUT     2048U
#define LOOK_AGAIN_MS  100
#define MAX_OS_RELEASE (64U << 10)

/* ---- the same server, the same export --------------------------------------------------------- */

static void
free_addresses(struct addrinfo **addresses)
{
    if (*addresses)
        freeaddrinfo(*addresses);
}

static bool
is_same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (!a || !b || a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return !memcmp(&((const struct sockaddr_in *)a)->sin_addr,
                       &((const struct sockaddr_in *)b)->sin_addr, sizeof(struct in_addr));
    return a->sa_family == AF_INET6 &&
           !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                   &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr));
}

static struct addrinfo *
addresses_of(const char *server)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    return getaddrinfo(server, NULL, &hints, &found) == 0 ? found : NULL;
}

static bool
is_same_server(const char *a, const char *b)
{
    CLEANUP(free_addresses) struct addrinfo *first = NULL, *second = NULL;

    if (!strcasecmp(a, b))
        return true;
    first = addresses_of(a);
    second = addresses_of(b);
    for (const struct addrinfo *x = first; x; x = x->ai_next)
        for (const struct addrinfo *y = second; y; y = y->ai_next)
            if (is_same_address(x->ai_addr, y->ai_addr))
                return true;
    return false;
}

static bool
is_same_path(const char *a, const char *b)
{
    for (;;) {
        while (a[0] == '/' && (a[1] == '/' || a[1] == '\0'))
            a++;
        while (b[0] == '/' && (b[1] == '/' || b[1] == '\0'))
            b++;
        if (*a != *b)
            return false;
        if (*a == '\0')
            return true;
        a++;
        b++;
    }
}

bool
storage_is_same_export(const char *source, const char *server, const char *path)
{
    const char *colon = source[0] == '[' ? strstr(source, "]:") : strchr(source, ':');
    CLEANUP(free_charp) char *host = NULL;

    if (!colon)
        return false;
    if (source[0] == '[') {
        host = strndup(source + 1, (size_t)(colon - source - 1));
        colon++;
    } else {
        host = strndup(source, (size_t)(colon - source));
    }
    return host && is_same_path(colon + 1, path) && is_same_server(host, server);
}

bool
storage_is_this_machine(const char *server)
{
    CLEANUP(free_addresses) struct addrinfo *wanted = addresses_of(server);
    struct ifaddrs *ours = NULL;
    bool is_ours = false;

    if (getifaddrs(&ours) < 0)
        return false;
    for (const struct addrinfo *a = wanted; a; a = a->ai_next)
        for (const struct ifaddrs *i = ours; i; i = i->ifa_next)
            is_ours = is_ours || is_same_address(a->ai_addr, i->ifa_addr);
    freeifaddrs(ours);
    return is_ours;
}

/* ---- how -------------------------------------------------------------------------------------- */

static bool
has_word(const char *text, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = text; (at = strcasestr(at, word)) != NULL; at += length)
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length]))
            return true;
    return false;
}

static bool
is_ubuntu(const char *os_release)
{
    CLEANUP(free_charp) char *text = NULL;
    size_t length;
    char *rest = NULL;

    if (file_read(os_release, MAX_OS_RELEASE, &text, &length, NULL) < 0)
        return false;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if ((!strncmp(line, "ID=", 3) || !strncmp(line, "ID_LIKE=", 8)) &&
            has_word(strchr(line, '=') + 1, "ubuntu"))
            return true;
    return false;
}

char *
storage_nfs_options(const struct storage_host *host)
{
    const char *wished = getenv(OPTIONS_ENV);

    if (wished && wished[strspn(wished, " \t")])
        return xstrdup(wished + strspn(wished, " \t"));
    return is_ubuntu(host->os_release) ? xstrdup(UBUNTU_OPTIONS) : NULL;
}

int
storage_check_answers(const struct storage_host *host, const char *dir, struct err **err)
{
    const char *const argv[] = {"stat", "-f", "--", dir, NULL};
    const struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(free_charp) char *output = NULL;
    CLEANUP(storage_mount_done) struct storage_mount mount = {0};
    int status;

    /* By its name: even to follow a link may hang. */
    if (!storage_find_mount_above(dir, host->mounts, &mount) || !storage_is_shared_type(mount.type))
        return 0;
    if (child_run(&spec, host->patience_ms, MAX_OUTPUT, &output, &status, &failure) == 0 ||
        err_code(failure) != E_TIMEOUT)
        return 0; /* what is wrong then is said by who looks into it */
    err_set(err, E_POOL, "%s (%s) does not answer within %d s", dir, mount.source,
            host->patience_ms / 1000);
    return err_hint(err, "see that its server runs and can be reached; the kernel goes on by "
                         "itself when it answers again");
}

/* ---- mounting --------------------------------------------------------------------------------- */

/* Both come from a server and stand on a command line. */
static int
refuse(const char *what, const char *said, struct err **err)
{
    err_set(err, E_POOL, "%s \"%s\"", what, said);
    return err_hint(err, "look at the pool in CloudStack");
}

int
storage_nfs_check(const struct storage_pool *pool, struct err **err)
{
    const char *server = pool->host ? pool->host : "", *path = pool->path ? pool->path : "";

    if (!*server || *server == '-' || strpbrk(server, " ,/\t\n"))
        return refuse("it is on no NFS server that we could name:", server, err);
    if (path[0] != '/' || strlen(path) >= PATH_MAX - NAME_MAX)
        return refuse("its export is not absolute:", path, err);
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return refuse("its export has control characters:", path, err);
    if (!*pool->id || strspn(pool->id, "0123456789abcdefABCDEF-") != strlen(pool->id))
        return refuse("its id is no UUID:", pool->id, err);
    return 0;
}

/* 1 when the pool is mounted at @dir, 0 when nothing is. */
static int
check_mounted(const struct storage_host *host, const struct storage_pool *pool, const char *dir,
              struct err **err)
{
    CLEANUP(storage_mount_done) struct storage_mount mount = {0};

    if (!storage_find_mount(dir, host->mounts, &mount))
        return 0;
    if (!strncmp(mount.type, "nfs", 3) &&
        storage_is_same_export(mount.source, pool->host, pool->path))
        return 1;
    err_set(err, E_POOL, "%s has %s (%s) mounted, and the pool is %s:%s", dir, mount.source,
            mount.type, pool->host, pool->path);
    return err_hint(err,
                    "unmount it, and look at who mounted it; or correct the pool in CloudStack");
}

static bool
has_agent(const struct storage_host *host)
{
    return access(host->agent_properties, F_OK) == 0;
}

static int
refuse_beside_agent(const struct storage_host *host, const char *dir, struct err **err)
{
    err_set(err, E_POOL,
            "%s is not mounted, and this host runs a CloudStack agent (%s), which mounts "
            "it when it uses the pool",
            dir, host->agent_properties);
    return err_hint(err,
                    "see that this host is up in CloudStack and in the pool's zone and cluster; a "
                    "mount made beside the agent would be unmounted by it in mid-copy");
}

/* Two workers may want the same pool at once: the directory above all mount points is what they lock. */
static int
lock_root(const struct storage_host *host, int *ret_fd, struct err **err)
{
    int64_t end = clock_monotonic_ms() + 2LL * host->patience_ms;
    int fd = open(host->mount_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, E_POOL, errno, "%s", host->mount_root);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            int errnum = errno;

            (void)close(fd);
            return err_set_errno(err, E_POOL, errnum, "%s: lock", host->mount_root);
        }
        if (clock_monotonic_ms() >= end) {
            (void)close(fd);
            return err_set(err, E_POOL, "%s is locked by another process that mounts",
                           host->mount_root);
        }
        clock_sleep_ms(LOOK_AGAIN_MS);
    }
    *ret_fd = fd;
    return 0;
}

static int
explain_mount(const char *source, const char *dir, const char *output, struct err **err)
{
    size_t length = output ? strcspn(output, "\n") : 0;

    err_set(err, E_POOL, "mounting %s at %s failed: %.*s", source, dir, (int)length,
            length ? output : "no reason given");
    if (geteuid() != 0)
        return err_hint(err,
                        "mounting needs root: run as root, mount it beforehand with `mount -t nfs "
                        "%s %s`, or write to the export without a mount (storage.nfs: userspace)",
                        source, dir);
    return err_hint(err,
                    "try `mount -t nfs %s %s` by hand: is the client (nfs-common, nfs-utils) "
                    "installed, is this host allowed to mount the export? " OPTIONS_ENV
                    " sets options",
                    source, dir);
}

static int
run_mount(const struct storage_host *host, const char *source, const char *dir, struct err **err)
{
    CLEANUP(free_charp) char *options = storage_nfs_options(host), *output = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    const char *argv[10];
    const struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    size_t n = 0;
    int status;

    for (size_t i = 0; i < ARRAY_SIZE(host->mount_argv) && host->mount_argv[i]; i++)
        argv[n++] = host->mount_argv[i];
    argv[n++] = "-t";
    argv[n++] = "nfs";
    if (options) {
        argv[n++] = "-o";
        argv[n++] = options;
    }
    argv[n++] = source;
    argv[n++] = dir;
    argv[n] = NULL;
    if (child_run(&spec, host->patience_ms, MAX_OUTPUT, &output, &status, &failure) < 0) {
        if (err_code(failure) != E_TIMEOUT)
            return explain_mount(source, dir, err_message(failure), err);
        err_set(err, E_POOL, "mounting %s at %s took more than %d s", source, dir,
                host->patience_ms / 1000);
        return err_hint(err, "see that the NFS server runs, and that no firewall drops its ports");
    }
    return status == 0 ? 0 : explain_mount(source, dir, output, err);
}

static int
mount_pool(const struct storage_host *host, const struct storage_pool *pool, const char *dir,
           struct err **err)
{
    bool is_v6 = strchr(pool->host, ':') != NULL && pool->host[0] != '[';
    CLEANUP(free_charp)
    char *source = xasprintf(is_v6 ? "[%s]:%s" : "%s:%s", pool->host, pool->path);
    int mounted;

    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return err_set_errno(err, E_POOL, errno, "%s", dir);
    if (run_mount(host, source, dir, err) < 0)
        return -1;
    mounted = check_mounted(host, pool, dir, err);
    if (mounted == 0)
        return err_set(err, E_POOL, "%s is not mounted although `mount` succeeded", dir);
    return mounted < 0 ? -1 : 0;
}

int
storage_nfs_mount(const struct storage_host *host, const struct storage_pool *pool, char **ret_dir,
                  struct err **err)
{
    CLEANUP(free_charp) char *dir = NULL;
    CLEANUP(close_fdp) int lock = -1;
    int mounted;

    if (storage_nfs_check(pool, err) < 0)
        return -1;
    dir = file_join(host->mount_root, pool->id);
    mounted = check_mounted(host, pool, dir, err);
    if (mounted == 0 && has_agent(host))
        return refuse_beside_agent(host, dir, err);
    if (mounted == 0) {
        if (lock_root(host, &lock, err) < 0)
            return -1;
        mounted = check_mounted(host, pool, dir, err); /* by another worker, while we waited */
    }
    if (mounted < 0 || (mounted == 0 && mount_pool(host, pool, dir, err) < 0))
        return -1;
    *ret_dir = take(dir);
    return 0;
}
