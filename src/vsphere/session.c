#include "vsphere/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define TIMEOUT_MS        60000
#define LOGOUT_TIMEOUT_MS 5000
#define SETTLE_MS         15000
#define CONSOLIDATE_MS    2000
#define DEFAULT_PORT      443

/* The newest API of which we know what it looks like. */
#define NEWEST_MAJOR      8
#define NEWEST_MINOR      0
/* What a server is asked for that does not say which versions it speaks. */
#define OLDEST_VERSION    "6.5"

/* ---- versions ---- */

/* "8.0.2.0" as numbers; false for what is none, such as the version names of before 4.0. */
static bool
parse_version(const char *text, unsigned ret_parts[4])
{
    int end = 0;

    memset(ret_parts, 0, 4 * sizeof(ret_parts[0]));
    if (strlen(text) > 20 || strspn(text, "0123456789.") != strlen(text))
        return false;
    return sscanf(text, "%u.%u%n.%u.%u", &ret_parts[0], &ret_parts[1], &end, &ret_parts[2],
                  &ret_parts[3]) >= 2 &&
           end > 0;
}

static int
compare_versions(const unsigned a[4], const unsigned b[4])
{
    for (int i = 0; i < 4; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static void
consider_version(const char *text, char **best)
{
    unsigned parts[4], best_parts[4];

    if (!parse_version(text, parts) || parts[0] > NEWEST_MAJOR ||
        (parts[0] == NEWEST_MAJOR && parts[1] > NEWEST_MINOR))
        return;
    if (*best && parse_version(*best, best_parts) && compare_versions(parts, best_parts) <= 0)
        return;
    free(*best);
    *best = xstrdup(text);
}

/* The newest version in vimServiceVersions.xml that we know, or NULL. */
static char *
choose_version(const struct xml_node *root)
{
    char *best = NULL;

    for (const struct xml_node *n = xml_child(root, "namespace"); n; n = xml_next(n)) {
        const char *name = xml_child_text(n, "name"), *version = xml_child_text(n, "version");
        const struct xml_node *prior = xml_path(n, "priorVersions", "version", NULL);

        if (!name || strcmp(name, "urn:vim25") != 0)
            continue;
        if (version)
            consider_version(version, &best);
        for (; prior; prior = xml_next(prior))
            consider_version(prior->text, &best);
    }
    return best;
}

/* Without login; also the first contact, so trust and network are found wanting here. */
static int
negotiate_version(struct vsphere *vsphere, struct err **err)
{
    CLEANUP(free_charp)
    char *url = xasprintf("https://%s:%u/sdk/vimServiceVersions.xml", vsphere->host, vsphere->port);
    struct net_request request = {.method = "GET",
                                  .url = url,
                                  .timeout_ms = vsphere->timeout_ms,
                                  .max_response = MIB,
                                  .cancel = vsphere->cancel};
    CLEANUP(net_response_done) struct net_response response = {0};
    CLEANUP(xml_parser_freep) struct xml_parser *parser = xml_parser_new(NULL, NULL, NULL);
    const struct xml_node *root;
    unsigned parts[4];
    char *version = NULL;

    if (net_perform(vsphere->net, &request, &response, err) < 0)
        return -1;
    if (response.status == 200 &&
        xml_parser_feed(parser, str_text(&response.body), response.body.length, NULL) == 0 &&
        xml_parser_finish(parser, &root, NULL) == 0)
        version = choose_version(root);
    vsphere->version = version ? version : xstrdup(OLDEST_VERSION);
    vsphere->has_encryption = parse_version(vsphere->version, parts) &&
                              compare_versions(parts, (const unsigned[4]){6, 5}) >= 0;
    return 0;
}

/* ---- session ---- */

static int
take_ref(const struct xml_node *content, const char *name, char **to, struct err **err)
{
    const char *text = xml_child_text(content, name);

    if (!text || !*text)
        return err_set(err, E_VSPHERE_PROTOCOL, "the service content has no %s", name);
    *to = xstrdup(text);
    return 0;
}

static int
read_service_content(struct vsphere *vsphere, struct err **err)
{
    const struct call call = {
        .method = "RetrieveServiceContent", .type = "ServiceInstance", .moref = "ServiceInstance"};
    CLEANUP(answer_done) struct answer answer = {0};
    const struct xml_node *content;
    const char *name, *uuid;

    if (soap_call_locked(vsphere, &call, &answer, err) < 0)
        return -1;
    content = answer.result;
    name = xml_child_text(xml_child(content, "about"), "fullName");
    vsphere->server_name = xstrdup(name ? name : "vSphere");
    uuid = xml_child_text(xml_child(content, "about"), "instanceUuid");
    vsphere->server_uuid = uuid && *uuid ? xstrdup(uuid) : NULL;
    if (take_ref(content, "propertyCollector", &vsphere->property_collector, err) < 0 ||
        take_ref(content, "rootFolder", &vsphere->root_folder, err) < 0 ||
        take_ref(content, "viewManager", &vsphere->view_manager, err) < 0 ||
        take_ref(content, "sessionManager", &vsphere->session_manager, err) < 0 ||
        take_ref(content, "searchIndex", &vsphere->search_index, err) < 0)
        return -1;
    return 0;
}

int
session_login_locked(struct vsphere *vsphere, struct err **err)
{
    struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "Login",
                              .type = "SessionManager",
                              .moref = vsphere->session_manager,
                              .args = &args,
                              .is_change = true};
    CLEANUP(answer_done) struct answer answer = {0};
    struct err *error = NULL;
    int rc;

    /* The old cookie would tie the new session to the dead one. */
    free(take(vsphere->cookie));
    xml_append_element(&args, "userName", vsphere->user);
    xml_append_element(&args, "password", vsphere->password);
    rc = soap_call_locked(vsphere, &call, &answer, &error);
    if (args.data)
        explicit_bzero(args.data, args.length);
    str_done(&args);
    if (rc < 0) {
        err_wrap(&error, "login as %s", vsphere->user);
        /* Repeating a refused password locks the account on many sites. */
        if (err_code(error) == E_VSPHERE_LOGIN && !vsphere->login_refused)
            vsphere->login_refused = err_copy(error);
        return err_move(err, &error);
    }
    if (!vsphere->cookie)
        return err_set(err, E_VSPHERE_PROTOCOL, "login as %s: the answer has no session cookie",
                       vsphere->user);
    vsphere->logins++;
    return 0;
}

int
vsphere_split_host(const char *text, bool is_for_url, char **ret_host, unsigned *ret_port,
                   struct err **err)
{
    const char *start = text, *end, *colon, *host_end;
    unsigned long port = DEFAULT_PORT;
    bool is_address = false; /* of IPv6 */

    if (!strncasecmp(start, "https://", 8))
        start += 8;
    end = host_end = start + strcspn(start, "/ \t\r\n?#@");
    if (end == start || (*end && *end != '/'))
        return err_set(err, E_CONFIG, "vcenter.host \"%.100s\" is no host name", text);
    colon = memchr(start, ':', (size_t)(end - start));
    if (*start == '[') {
        const char *bracket = memchr(start, ']', (size_t)(end - start));

        if (!bracket || (bracket + 1 != end && bracket[1] != ':'))
            return err_set(err, E_CONFIG, "vcenter.host \"%.100s\" is no host name", text);
        colon = bracket + 1 != end ? bracket + 1 : NULL;
        is_address = true;
        start++;
        host_end = bracket;
    } else if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
        is_address = true;
        colon = NULL;
    } else if (colon) {
        host_end = colon;
    }
    if (host_end == start)
        return err_set(err, E_CONFIG, "vcenter.host \"%.100s\" is no host name", text);
    if (colon) {
        char *stop;

        port = strtoul(colon + 1, &stop, 10);
        if (stop != end || port < 1 || port > 65535)
            return err_set(err, E_CONFIG, "vcenter.host \"%.100s\" has no valid port", text);
    }
    *ret_port = (unsigned)port;
    *ret_host =
        xasprintf(is_for_url && is_address ? "[%.*s]" : "%.*s", (int)(host_end - start), start);
    return 0;
}

static int
set_credentials(struct vsphere *vsphere, const struct vsphere_options *options, struct err **err)
{
    if (!options->user || !*options->user || !options->password)
        return err_set(err, E_CONFIG, "vcenter.user or vcenter.password is not set");
    if (!xml_is_text(options->user) || !xml_is_text(options->password))
        return err_set(err, E_CONFIG,
                       "vcenter.user or vcenter.password holds control characters or is not UTF-8");
    vsphere->user = xstrdup(options->user);
    vsphere->password = xstrdup(options->password);
    return 0;
}

int
vsphere_connect(const struct vsphere_options *options, struct vsphere **ret_vsphere,
                struct err **err)
{
    CLEANUP(vsphere_freep) struct vsphere *vsphere = xcalloc(1, sizeof(*vsphere));
    struct net_trust trust = options->trust;

    pthread_mutex_init(&vsphere->lock, NULL);
    vsphere->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    vsphere->settle_ms = (int)clock_patience_ms(SETTLE_MS);
    vsphere->consolidate_ms = (int)clock_patience_ms(CONSOLIDATE_MS);
    vsphere->cancel = options->cancel;
    if (!trust.config_key)
        trust.config_key = "vcenter";
    if (!options->host)
        return err_set(err, E_CONFIG, "vcenter.host is not set");
    if (vsphere_split_host(options->host, true, &vsphere->host, &vsphere->port, err) < 0 ||
        set_credentials(vsphere, options, err) < 0)
        return -1;
    vsphere->net = net_client_new(&trust, err);
    if (!vsphere->net)
        return -1;
    if (negotiate_version(vsphere, err) < 0 || read_service_content(vsphere, err) < 0 ||
        session_login_locked(vsphere, err) < 0)
        return err_wrap(err, "vCenter %s", vsphere->host);
    *ret_vsphere = take(vsphere);
    return 0;
}

static void
logout(struct vsphere *vsphere)
{
    const struct call call = {.method = "Logout",
                              .type = "SessionManager",
                              .moref = vsphere->session_manager,
                              .timeout_ms = MIN(LOGOUT_TIMEOUT_MS, vsphere->timeout_ms)};
    CLEANUP(answer_done) struct answer answer = {0};

    vsphere->cancel = NULL; /* sessions are counted by vCenter: also a stopped program logs out */
    (void)soap_call_locked(vsphere, &call, &answer, NULL);
}

void
vsphere_free(struct vsphere *vsphere)
{
    if (!vsphere)
        return;
    if (vsphere->logins && vsphere->cookie)
        logout(vsphere);
    net_client_free(vsphere->net);
    free(vsphere->host);
    free(vsphere->user);
    if (vsphere->password)
        explicit_bzero(vsphere->password, strlen(vsphere->password));
    free(vsphere->password);
    free(vsphere->version);
    free(vsphere->server_name);
    free(vsphere->server_uuid);
    free(vsphere->property_collector);
    free(vsphere->root_folder);
    free(vsphere->view_manager);
    free(vsphere->session_manager);
    free(vsphere->search_index);
    free(vsphere->cookie);
    err_free(vsphere->login_refused);
    pthread_mutex_destroy(&vsphere->lock);
    free(vsphere);
}

void
vsphere_freep(struct vsphere **vsphere)
{
    vsphere_free(*vsphere);
    *vsphere = NULL;
}

int
vsphere_keep_alive(struct vsphere *vsphere, struct err **err)
{
    const struct call call = {
        .method = "CurrentTime", .type = "ServiceInstance", .moref = "ServiceInstance"};

    return soap_call_void(vsphere, &call, err);
}

const char *
vsphere_server_name(const struct vsphere *vsphere)
{
    return vsphere->server_name;
}

const char *
vsphere_server_uuid(const struct vsphere *vsphere)
{
    return vsphere->server_uuid;
}

int
vsphere_thumbprint(struct vsphere *vsphere, char ret_sha1[60], struct err **err)
{
    return net_server_thumbprint(vsphere->net, vsphere->host, vsphere->port, ret_sha1, err);
}
