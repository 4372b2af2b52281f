#include "vcenter.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "check.h"
#include "server.h"
#include "vsphere/internal.h"

#define ENVELOPE_START                                                                             \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope "                               \
    "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" "                                 \
    "xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" "                                              \
    "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n"
#define ENVELOPE_END "</soapenv:Body>\n</soapenv:Envelope>"

struct vcenter {
    struct certificate certificate;
    struct server *server;
    char host[32];

    pthread_mutex_t lock; /* guards what follows */
    const struct step *steps;
    size_t next;
    bool is_next_played; /* a repeated step was called */
    unsigned logins, calls;
    const char *versions, *login_fault;
    char action[128];
    struct str last;
    struct str problem; /* why the script was left */
};

static const char default_versions[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\"><namespace>"
    "<name>urn:vim25</name><version>9.0.0.0</version><priorVersions><version>8.0.2.0</version>"
    "<version>8.0.10.1</version><version>7.0.3.2</version><version>6.7</version>"
    "<version>2.5u2</version></priorVersions></namespace><namespace><name>urn:vim2</name>"
    "<version>2.0</version></namespace></namespaces>";

static const char service_content[] =
    "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>"
    "<propertyCollector type=\"PropertyCollector\">pc</propertyCollector>"
    "<viewManager type=\"ViewManager\">vm-manager</viewManager><about><name>VMware vCenter Server"
    "</name><fullName>VMware vCenter Server 8.0.2 build-1</fullName></about>"
    "<sessionManager type=\"SessionManager\">sm</sessionManager>"
    "<authorizationManager type=\"AuthorizationManager\">auth-1</authorizationManager>"
    "<searchIndex type=\"SearchIndex\">si</searchIndex></returnval>";

static char *
wrap(const char *method, const char *content)
{
    if (!strncmp(content, "<?xml", 5))
        return xstrdup(content);
    return xasprintf(ENVELOPE_START
                     "<%sResponse xmlns=\"urn:vim25\">%s</%sResponse>\n" ENVELOPE_END,
                     method, content, method);
}

static char *
wrap_fault(const char *type, const char *text, const char *fields)
{
    return xasprintf(ENVELOPE_START
                     "<soapenv:Fault><faultcode>ServerFaultCode</faultcode>"
                     "<faultstring>%s</faultstring><detail>"
                     "<%sFault xmlns=\"urn:vim25\" xsi:type=\"%s\">%s</%sFault></detail>"
                     "</soapenv:Fault>" ENVELOPE_END,
                     text ? text : "", type, type, fields ? fields : "", type);
}

static char *
read_data(const char *name)
{
    CLEANUP(free_charp) char *path = file_join(DATA_DIR, name);
    char *text = NULL;
    size_t length;

    if (file_read(path, 1 << 20, &text, &length, NULL) < 0)
        abort();
    return text;
}

/* The method is the first element of the body. */
static char *
method_of(const char *body)
{
    const char *p = strstr(body, "<soapenv:Body>");

    if (!p)
        return xstrdup("no envelope");
    p += strlen("<soapenv:Body>");
    p += strspn(p, "< \r\n");
    return xasprintf("%.*s", (int)strcspn(p, " >"), p);
}

static void
play_step(struct vcenter *v, const char *method, const char *body, struct server_reply *reply)
{
    const struct step *step = &v->steps[v->next];

    if (step->method && step->is_repeated && v->is_next_played &&
        strcmp(step->method, method) != 0) {
        v->is_next_played = false;
        step = &v->steps[++v->next];
    }
    if (!step->method || strcmp(step->method, method) != 0) {
        str_appendf(&v->problem, "step %zu is %s, but %s came\n", v->next,
                    step->method ? step->method : "the end", method);
        reply->is_dropped = true;
        return;
    }
    if ((step->wants && !strstr(body, step->wants)) ||
        (step->wants_no && strstr(body, step->wants_no)))
        str_appendf(&v->problem, "step %zu: with%s \"%s\": %s\n", v->next,
                    step->wants && !strstr(body, step->wants) ? "out" : "",
                    step->wants && !strstr(body, step->wants) ? step->wants : step->wants_no, body);
    v->calls++;
    v->is_next_played = true;
    if (!step->is_repeated) {
        v->next++;
        v->is_next_played = false;
    }
    reply->is_dropped = step->is_dropped;
    reply->status = step->status ? step->status : step->fault ? 500 : 200;
    if (step->fault) {
        reply->body = wrap_fault(step->fault, step->text, step->answer);
    } else {
        CLEANUP(free_charp) char *data = step->file ? read_data(step->file) : NULL;

        reply->body = wrap(method, data ? data : step->answer ? step->answer : "");
    }
}

static void
play_login(struct vcenter *v, const char *body, struct server_reply *reply)
{
    v->logins++;
    if (v->login_fault) {
        reply->status = 500;
        reply->body = wrap_fault(v->login_fault, "Login failure", NULL);
        return;
    }
    if (!strstr(body, "<userName>o'brien&amp;co@vsphere.local</userName><password>p&lt;&amp;&gt;"
                      "\xc3\xa4</password>"))
        str_appendf(&v->problem, "login with other credentials: %s\n", body);
    reply->headers = "Set-Cookie: vmware_soap_session=\"52ab cd\"; Path=/; HttpOnly; Secure;\r\n";
    reply->body = wrap("Login", "<returnval><key>52</key><userName>x</userName></returnval>");
}

static void
play_versions(struct vcenter *v, struct server_reply *reply)
{
    if (v->versions)
        reply->body = xstrdup(v->versions);
    else
        reply->status = 404;
}

static void
check_headers(struct vcenter *v, const char *method, const char *headers)
{
    const char *action = strstr(headers, "SOAPAction: ");

    snprintf(v->action, sizeof(v->action), "%.*s", action ? (int)strcspn(action, "\r") : 0,
             action ? action : "");
    if (strcmp(method, "Login") != 0 && strcmp(method, "RetrieveServiceContent") != 0 &&
        !strstr(headers, "Cookie: vmware_soap_session=\"52ab cd\"\r\n"))
        str_appendf(&v->problem, "%s without the session's cookie: %s\n", method, headers);
}

static void
answer(void *opaque, const struct server_request *request, struct server_reply *reply)
{
    struct vcenter *v = opaque;
    CLEANUP(free_charp) char *method = method_of(request->body);

    SCOPE_LOCK(&v->lock);
    if (!strcmp(request->path, "/sdk/vimServiceVersions.xml")) {
        play_versions(v, reply);
        return;
    }
    str_clear(&v->last);
    str_append(&v->last, request->body);
    check_headers(v, method, request->headers);
    if (!strcmp(method, "RetrieveServiceContent"))
        reply->body = wrap(method, service_content);
    else if (!strcmp(method, "Login"))
        play_login(v, request->body, reply);
    else if (!strcmp(method, "Logout"))
        reply->body = wrap(method, "");
    else
        play_step(v, method, request->body, reply);
}

struct vcenter *
vcenter_start(const struct step *steps)
{
    static const struct step none[] = {{NULL}};
    struct vcenter *v = xcalloc(1, sizeof(*v));

    pthread_mutex_init(&v->lock, NULL);
    v->steps = steps ? steps : none;
    v->versions = default_versions;
    v->last = STR_INIT(1 << 20);
    v->problem = STR_INIT(1 << 16);
    v->certificate = certificate_new("vcenter", "DNS:vcenter.example", false, NULL);
    v->server = server_start(&v->certificate, answer, v);
    snprintf(v->host, sizeof(v->host), "127.0.0.1:%u", server_port(v->server));
    return v;
}

void
vcenter_play(struct vcenter *v, const struct step *steps)
{
    SCOPE_LOCK(&v->lock);
    v->steps = steps;
    v->next = 0;
    v->is_next_played = false;
}

void
vcenter_stop(struct vcenter *v)
{
    if (!v)
        return;
    server_stop(v->server);
    certificate_done(&v->certificate);
    str_done(&v->last);
    str_done(&v->problem);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

void
vcenter_stopp(struct vcenter **v)
{
    vcenter_stop(*v);
    *v = NULL;
}

void
vcenter_check(struct vcenter *v)
{
    SCOPE_LOCK(&v->lock);
    if (v->problem.length)
        fail_msg("%s", str_text(&v->problem));
    if (v->steps[v->next].method && v->steps[v->next].is_repeated && v->is_next_played)
        v->next++;
    if (v->steps[v->next].method)
        fail_msg("step %zu, %s, never came", v->next, v->steps[v->next].method);
}

unsigned
vcenter_logins(struct vcenter *v)
{
    SCOPE_LOCK(&v->lock);
    return v->logins;
}

unsigned
vcenter_calls(struct vcenter *v)
{
    SCOPE_LOCK(&v->lock);
    return v->calls;
}

void
vcenter_set_versions(struct vcenter *v, const char *xml)
{
    SCOPE_LOCK(&v->lock);
    v->versions = xml;
}

void
vcenter_set_login_fault(struct vcenter *v, const char *fault)
{
    SCOPE_LOCK(&v->lock);
    v->login_fault = fault;
}

const char *
vcenter_host(const struct vcenter *v)
{
    return v->host;
}

const char *
vcenter_thumbprint(const struct vcenter *v)
{
    return v->certificate.sha1;
}

const char *
vcenter_last_action(const struct vcenter *v)
{
    return v->action;
}

const char *
vcenter_last_request(const struct vcenter *v)
{
    return str_text(&v->last);
}

struct vsphere *
vcenter_connect(struct vcenter *v, const volatile int *cancel)
{
    const struct vsphere_options options = {.host = v->host,
                                            .user = "o'brien&co@vsphere.local",
                                            .password = "p<&>\xc3\xa4",
                                            .trust = {.thumbprint = v->certificate.sha1},
                                            .timeout_ms = 10000,
                                            .cancel = cancel};
    CLEANUP(err_freep) struct err *err = NULL;
    struct vsphere *vsphere = NULL;

    assert_ok(vsphere_connect(&options, &vsphere, &err), &err);
    vsphere->settle_ms = 300;
    vsphere->consolidate_ms = 5;
    return vsphere;
}
