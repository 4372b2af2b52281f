#include "config/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "config/values.h"

#define MAX_SECRET        4096U
#define MAX_PROFILE       (256U * KIB)

/* ---- files of one value ------------------------------------------------------------------------ */

/* Mode bits that a file of ours must not have, and one of systemd's: it lets the service's user read root's
 * file by an ACL, whose mask shows as the group's bits.  Its directory is closed to all others. */
#define OTHERS            (S_IRWXG | S_IRWXO)
#define OTHERS_BY_SYSTEMD (S_IWGRP | S_IXGRP | S_IRWXO)

/* The whole of a file that has none of the mode bits @forbidden; NULL with a problem. */
static char *
read_private(const struct node *node, const char *path, mode_t forbidden, size_t max,
             size_t *ret_length, struct problems *problems)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP(free_charp) char *data = NULL;
    struct stat st;
    ssize_t length;

    if (fd < 0 || fstat(fd, &st) < 0) {
        problems_add(problems, node, "%s: %s", path, strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)max) {
        problems_add(problems, node, "%s is no file of at most %zu bytes", path, max);
        return NULL;
    }
    if (st.st_mode & forbidden) {
        problems_add(problems, node,
                     "%s holds credentials and others can read or write it; chmod 600 %s", path,
                     path);
        return NULL;
    }
    data = xcalloc(max + 1, 1);
    length = read(fd, data, max);
    if (length < 0) {
        problems_add(problems, node, "%s: %s", path, strerror(errno));
        return NULL;
    }
    *ret_length = (size_t)length;
    return take(data);
}

static void
read_secret(const struct node *node, const char *path, mode_t forbidden, char **value,
            struct problems *problems)
{
    size_t length = 0;
    char *text = read_private(node, path, forbidden, MAX_SECRET, &length, problems);

    if (!text)
        return;
    if (length && text[length - 1] == '\n')
        text[--length] = '\0';
    if (!length || strlen(text) != length || strchr(text, '\n')) {
        problems_add(problems, node, "%s does not hold one line", path);
        free(text);
        return;
    }
    free(*value);
    *value = text;
}

void
credential_decode(const struct node *map, const char *key, const char *name, char **value,
                  struct problems *problems)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    CLEANUP(free_charp) char *path = NULL;

    decode_text(map, key, &path, problems);
    if (path && *value) {
        problems_add(problems, node_get(map, key), "the value is set as well; keep one of them");
        return;
    }
    if (path) {
        read_secret(node_get(map, key), path, OTHERS, value, problems);
        return;
    }
    if (*value || !directory || !*directory)
        return;
    path = file_join(directory, name);
    if (access(path, F_OK) == 0)
        read_secret(map, path, OTHERS_BY_SYSTEMD, value, problems);
}

/* ---- profiles ---------------------------------------------------------------------------------- */

struct profile {
    const char *section;
    const char *keys[3]; /* of endpoint, API key and secret key */
    char **values[3];
    bool was_found;
};

static char *
trimmed(char *text)
{
    char *end = text + strlen(text);

    while (end > text && strchr(" \t\r", end[-1]))
        *--end = '\0';
    return text + strspn(text, " \t");
}

static void
take_value(struct profile *profile, const char *key, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(profile->keys); i++)
        if (!strcasecmp(key, profile->keys[i]) && !*profile->values[i] && *value)
            *profile->values[i] = xstrdup(value);
}

/* "[section]", "key = value", and comments. */
static void
read_ini(char *text, struct profile *profile)
{
    bool is_ours = false;
    char *line;

    while ((line = strsep(&text, "\n")) != NULL) {
        char *equals, *end;

        line = trimmed(line);
        if (*line == '[' && (end = strchr(line, ']')) != NULL) {
            *end = '\0';
            is_ours = !strcmp(trimmed(line + 1), profile->section);
            profile->was_found |= is_ours;
        } else if (is_ours && *line && !strchr("#;", *line) &&
                   (equals = strchr(line, '=')) != NULL) {
            *equals = '\0';
            take_value(profile, trimmed(line), trimmed(equals + 1));
        }
    }
}

/* Where cs looks, in its order; the caller frees. */
static char *
cs_file(void)
{
    const char *named = getenv("CLOUDSTACK_CONFIG"), *home = getenv("HOME");

    if (named && *named)
        return xstrdup(named);
    if (access("cloudstack.ini", F_OK) == 0)
        return xstrdup("cloudstack.ini");
    return file_join(home ? home : "", ".cloudstack.ini");
}

static void
read_profile(const struct node *node, const char *path, struct profile *profile,
             struct problems *problems)
{
    size_t length = 0;
    CLEANUP(free_charp)
    char *text = read_private(node, path, OTHERS, MAX_PROFILE, &length, problems);

    if (!text)
        return;
    read_ini(text, profile);
    if (!profile->was_found)
        problems_add(problems, node, "%s has no section [%s]", path, profile->section);
}

void
credential_profile(const struct node *map, struct config *config, struct problems *problems)
{
    const struct node *node = node_get(map, "profile");
    CLEANUP(free_charp) char *named = NULL;
    CLEANUP(free_charp) char *path = NULL;
    struct profile profile = {.values = {&config->cloudstack.endpoint, &config->cloudstack.api_key,
                                         &config->cloudstack.secret_key}};

    decode_text(map, "profile", &named, problems);
    if (!named)
        return;
    if (!strncmp(named, "cmk:", 4)) {
        const char *home = getenv("HOME");

        path = xasprintf("%s/.cmk/config", home ? home : "");
        profile.section = named + 4;
        memcpy(profile.keys, ((const char *[]){"url", "apikey", "secretkey"}),
               sizeof(profile.keys));
    } else if (!strncmp(named, "cs:", 3)) {
        path = cs_file();
        profile.section = named + 3;
        memcpy(profile.keys, ((const char *[]){"endpoint", "key", "secret"}), sizeof(profile.keys));
    } else {
        problems_add(problems, node, "expected cmk:NAME or cs:REGION");
        return;
    }
    read_profile(node, path, &profile, problems);
}
