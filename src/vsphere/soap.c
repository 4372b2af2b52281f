#include "vsphere/internal.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"

/* One exchange: the parser is fed while the body arrives. */
struct exchange {
    struct xml_parser *parser;
    struct err *parse_error; /* reported only if the status does not say more */
};

void
answer_done(struct answer *answer)
{
    xml_parser_freep(&answer->parser);
    answer->result = NULL;
}

bool
soap_is_lost(const struct err *err)
{
    switch (err_code(err)) {
    case E_NET:
    case E_NET_RESOLVE:
    case E_TIMEOUT:
    case E_HTTP_STATUS:
    case E_VSPHERE_PROTOCOL:
        return true;
    default:
        return false;
    }
}

unsigned
soap_logins(struct vsphere *vsphere)
{
    SCOPE_LOCK(&vsphere->lock);
    return vsphere->logins;
}

static char *
make_envelope(const struct call *call, size_t *ret_length)
{
    struct str s = STR_INIT(2 * MAX_ARGS);

    str_append(&s, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                   "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\""
                   " xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\""
                   " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>");
    str_appendf(&s, "<%s xmlns=\"urn:vim25\">", call->method);
    xml_append_ref(&s, "_this", call->type, call->moref);
    if (call->args)
        str_append(&s, str_text(call->args));
    str_appendf(&s, "</%s></soapenv:Body></soapenv:Envelope>", call->method);
    *ret_length = s.length;
    return str_take(&s);
}

static int
on_body(void *opaque, const void *data, size_t length, struct err **err)
{
    struct exchange *x = opaque;

    if (!x->parse_error)
        (void)xml_parser_feed(x->parser, data, length, &x->parse_error);
    /* What is no XML may be a proxy's error page, which ends soon: its status says more.  Anything
     * else (a bound, the reader's refusal) need not be read to its end. */
    if (x->parse_error && err_code(x->parse_error) != E_VSPHERE_PROTOCOL)
        return err_move(err, &x->parse_error);
    return 0;
}

static int
check_status(const struct vsphere *vsphere, long status, struct err **err)
{
    if (status == 200 || status == 500) /* 500 carries a fault */
        return 0;
    err_set(err, E_HTTP_STATUS, "https://%s:%u/sdk answers with HTTP status %ld", vsphere->host,
            vsphere->port, status);
    if (status == 404)
        err_hint(err, "is %s a vCenter or an ESXi host?", vsphere->host);
    else if (status == 503)
        err_hint(err, "vCenter's services are starting, or it is overloaded");
    return -1;
}

/* A session cookie holds for all calls after it; its quotes belong to the value. */
static void
keep_cookie(struct vsphere *vsphere, struct net_response *response)
{
    if (!response->set_cookie || strncmp(response->set_cookie, "vmware_soap_session=", 20) != 0)
        return;
    free(vsphere->cookie);
    vsphere->cookie = take(response->set_cookie);
}

static int
exchange(struct vsphere *vsphere, const struct call *call, struct exchange *x, struct err **err)
{
    size_t length;
    CLEANUP(free_charp) char *envelope = make_envelope(call, &length);
    CLEANUP(free_charp)
    char *url = xasprintf("https://%s:%u/sdk", vsphere->host, vsphere->port);
    CLEANUP(free_charp)
    char *action = xasprintf("SOAPAction: \"urn:vim25/%s\"", vsphere->version);
    CLEANUP(free_charp)
    char *cookie = vsphere->cookie ? xasprintf("Cookie: %s", vsphere->cookie) : NULL;
    const char *headers[] = {"Content-Type: text/xml; charset=utf-8", action, cookie, NULL};
    struct net_request request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = envelope,
        .body_length = length,
        .timeout_ms = call->timeout_ms ? call->timeout_ms : vsphere->timeout_ms,
        .max_response = call->max_answer ? call->max_answer : MAX_ANSWER,
        .is_once = call->is_change,
        .on_body = on_body,
        .opaque = x,
        .cancel = vsphere->cancel,
    };
    CLEANUP(net_response_done) struct net_response response = {0};
    int rc = net_perform(vsphere->net, &request, &response, err);

    explicit_bzero(envelope, length); /* Login's holds the password */
    if (rc < 0)
        return -1;
    if (check_status(vsphere, response.status, err) < 0)
        return -1;
    keep_cookie(vsphere, &response);
    return 0;
}

/* The body's only child is <Fault> or <MethodResponse>. */
static int
read_answer(const struct call *call, const struct xml_node *root, const char *what,
            struct answer *answer, struct fault *ret_fault, struct err **err)
{
    const struct xml_node *body = xml_child(root, "Body");
    const struct xml_node *content = body ? body->first_child : NULL;
    size_t length = strlen(call->method);

    if (strcmp(root->name, "Envelope") != 0 || !content)
        return err_set(err, E_VSPHERE_PROTOCOL, "%s: the answer is no SOAP envelope", what);
    if (!strcmp(content->name, "Fault")) {
        fault_read_soap(content, ret_fault);
        return fault_set(ret_fault, what, err);
    }
    /* "CreateSnapshot_Task" is answered by <CreateSnapshot_TaskResponse>. */
    if (strncmp(content->name, call->method, length) != 0 ||
        strcmp(content->name + length, "Response") != 0)
        return err_set(err, E_VSPHERE_PROTOCOL, "%s: the answer is a <%.60s>", what, content->name);
    answer->result = xml_child(content, "returnval");
    return 0;
}

static void
free_exchange(struct exchange *x)
{
    xml_parser_freep(&x->parser);
    err_freep(&x->parse_error);
}

static int
call_once(struct vsphere *vsphere, const struct call *call, struct answer *ret_answer,
          struct fault *ret_fault, struct err **err)
{
    CLEANUP(free_charp) char *what = xasprintf("%s of %s", call->method, call->moref);
    CLEANUP(free_exchange)
    struct exchange x = {.parser = xml_parser_new(call->stream, call->on_stream, call->opaque)};
    const struct xml_node *root;

    if (call->args && str_check(call->args, "the request", err) < 0)
        return err_wrap(err, "%s", what);
    if (exchange(vsphere, call, &x, err) < 0)
        return err_wrap(err, "%s", what);
    if (!x.parse_error)
        (void)xml_parser_finish(x.parser, &root, &x.parse_error);
    if (x.parse_error) {
        err_move(err, &x.parse_error);
        return err_wrap(err, "%s", what);
    }
    if (read_answer(call, root, what, ret_answer, ret_fault, err) < 0)
        return -1;
    ret_answer->parser = take(x.parser);
    return 0;
}

int
soap_call_locked(struct vsphere *vsphere, const struct call *call, struct answer *ret_answer,
                 struct err **err)
{
    CLEANUP(fault_done) struct fault fault = {0};

    if (call_once(vsphere, call, ret_answer, &fault, err) == 0)
        return 0;
    if (call->ret_fault && fault.name) {
        *call->ret_fault = fault;
        memset(&fault, 0, sizeof(fault));
    }
    return -1;
}

int
soap_call(struct vsphere *vsphere, const struct call *call, struct answer *ret_answer,
          struct err **err)
{
    CLEANUP(err_freep) struct err *first = NULL;

    SCOPE_LOCK(&vsphere->lock);
    if (vsphere->login_refused) {
        first = err_copy(vsphere->login_refused);
        return err_move(err, &first);
    }
    if (soap_call_locked(vsphere, call, ret_answer, &first) == 0)
        return 0;
    if (err_code(first) != E_VSPHERE_SESSION)
        return err_move(err, &first);
    if (call->ret_fault)
        fault_done(call->ret_fault);
    if (session_login_locked(vsphere, err) < 0)
        return err_wrap(err, "the session has ended");
    return soap_call_locked(vsphere, call, ret_answer, err);
}

int
soap_call_void(struct vsphere *vsphere, const struct call *call, struct err **err)
{
    CLEANUP(answer_done) struct answer answer = {0};

    return soap_call(vsphere, call, &answer, err);
}
