/* Names that people write: the endpoint of the configuration, and host names made of VM names. */
#include "cloudstack/internal.h"

#include <string.h>
#include <strings.h>

#include "base/util.h"

#define MAX_HOST_NAME 63

/* The path of the API for the path @length bytes at @path, without slashes at either end. */
static char *
api_path(const char *path, size_t length)
{
    if (length == 0 || (length == 6 && !memcmp(path, "client", 6)))
        return xstrdup("client/api");
    if (length == 3 && !memcmp(path, "api", 3))
        return xstrdup("api");
    if (length >= 10 && !memcmp(path + length - 10, "client/api", 10) &&
        (length == 10 || path[length - 11] == '/'))
        return xasprintf("%.*s", (int)length, path);
    return xasprintf("%.*s/client/api", (int)length, path);
}

static int
bad_endpoint(struct err **err, const char *what)
{
    err_set(err, E_CONFIG, "cloudstack.endpoint %s", what);
    return err_hint(err, "write it like https://cloudstack.example.com:8443/client/api");
}

char *
cloudstack_normalize_endpoint(const char *endpoint, struct err **err)
{
    const char *scheme = "http", *rest, *path;
    CLEANUP(free_charp) char *api = NULL;
    size_t host_length, path_length;

    endpoint += strspn(endpoint, " \t");
    rest = strstr(endpoint, "://");
    if (rest) {
        if (rest - endpoint == 5 && !strncasecmp(endpoint, "https", 5))
            scheme = "https";
        else if (rest - endpoint != 4 || strncasecmp(endpoint, "http", 4))
            return bad_endpoint(err, "has a scheme that is neither http nor https"), NULL;
        rest += 3;
    } else {
        rest = endpoint;
    }
    host_length = strcspn(rest, "/?# \t");
    if (host_length == 0)
        return bad_endpoint(err, "names no host"), NULL;
    if (memchr(rest, '@', host_length))
        return bad_endpoint(err, "holds a user name or password"), NULL;
    path = rest + host_length;
    path += strspn(path, "/");
    path_length = strcspn(path, "?# \t");
    while (path_length && path[path_length - 1] == '/')
        path_length--;
    for (const char *c = rest; c < path + path_length; c++)
        if ((unsigned char)*c < 0x21 || *c == 0x7f)
            return bad_endpoint(err, "holds a control character"), NULL;
    api = api_path(path, path_length);
    return xasprintf("%s://%.*s/%s", scheme, (int)host_length, rest, api);
}

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

char *
cloudstack_host_name(const char *vm_name)
{
    char name[MAX_HOST_NAME + 1];
    size_t length = 0;

    /* Runs of anything else become one hyphen; none at the start. */
    for (const char *c = vm_name; *c && length < MAX_HOST_NAME; c++) {
        if (length == 0 && is_digit(*c)) {
            memcpy(name, "vm-", 3);
            length = 3;
        }
        if (is_letter(*c) || is_digit(*c))
            name[length++] = *c;
        else if (length && name[length - 1] != '-')
            name[length++] = '-';
    }
    while (length && name[length - 1] == '-')
        length--;
    name[length] = '\0';
    return xstrdup(length ? name : "vm");
}
