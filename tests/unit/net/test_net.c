#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "net/net.h"
#include "server.h"

#define BIG (1 << 20)

/* What the server does is chosen by the path. */
struct fixture {
    struct certificate authority, self_signed, signed_ip, signed_other;
    char ca_path[64];
    unsigned requests;
    char last_headers[2048], last_body[256], last_method[16];
};
static struct fixture fx;

static void
answer(void *opaque, const struct server_request *request, struct server_reply *reply)
{
    fx.requests++;
    snprintf(fx.last_method, sizeof(fx.last_method), "%s", request->method);
    snprintf(fx.last_headers, sizeof(fx.last_headers), "%s", request->headers);
    snprintf(fx.last_body, sizeof(fx.last_body), "%s", request->body);
    reply->body = strdup("hello");
    if (!strcmp(request->path, "/big")) {
        free(reply->body);
        reply->body = calloc(1, BIG);
        reply->body_length = BIG;
        memset(reply->body, 'x', BIG);
    } else if (!strcmp(request->path, "/stall")) {
        reply->is_stalled = true;
    } else if (!strcmp(request->path, "/drop")) {
        reply->is_dropped = true;
    } else if (!strcmp(request->path, "/cut")) {
        reply->cut_after = 2;
    } else if (!strcmp(request->path, "/redirect")) {
        reply->status = 302;
        reply->headers = "Location: /ok\r\n";
    } else if (!strcmp(request->path, "/error")) {
        reply->status = 500;
    } else if (!strcmp(request->path, "/headers")) {
        reply->headers = "Date: Thu, 01 Jan 1970 00:01:40 GMT\r\n"
                         "set-cookie:  vmware_soap_session=\"52 a\"; Path=/; HttpOnly\r\n"
                         "Set-Cookie: other=1\r\n";
    }
}

static int
start(void **state)
{
    int fd;

    fx.authority = certificate_new("Test authority", NULL, true, NULL);
    fx.self_signed = certificate_new("self", "IP:127.0.0.1,DNS:localhost", false, NULL);
    fx.signed_ip = certificate_new("signed", "IP:127.0.0.1", false, &fx.authority);
    fx.signed_other = certificate_new("other", "DNS:vcenter.example", false, &fx.authority);
    strcpy(fx.ca_path, "/tmp/v2c-test-net-XXXXXX");
    fd = mkstemp(fx.ca_path);
    close(fd);
    certificate_write(&fx.authority, fx.ca_path);
    return fd < 0;
}

static int
stop(void **state)
{
    unlink(fx.ca_path);
    certificate_done(&fx.authority);
    certificate_done(&fx.self_signed);
    certificate_done(&fx.signed_ip);
    certificate_done(&fx.signed_other);
    return 0;
}

struct case_ {
    struct server *server;
    struct net_client *client;
    struct net_response response;
    struct err *err;
    char url[128];
};

static void
case_done(struct case_ *c)
{
    net_client_free(c->client);
    server_stop(c->server);
    net_response_done(&c->response);
    err_free(c->err);
}

static void
case_start(struct case_ *c, const struct certificate *certificate, const struct net_trust *trust)
{
    static const struct net_trust nothing = {.config_key = "vcenter"};

    memset(c, 0, sizeof(*c));
    fx.requests = 0;
    c->server = server_start(certificate, answer, NULL);
    c->client = net_client_new(trust ? trust : &nothing, &c->err);
    assert_non_null(c->client);
    snprintf(c->url, sizeof(c->url), "%s://127.0.0.1:%u", certificate ? "https" : "http",
             server_port(c->server));
}

static int
perform(struct case_ *c, struct net_request request, const char *path)
{
    char url[256];

    snprintf(url, sizeof(url), "%s%s", c->url, path);
    request.url = url;
    if (!request.method)
        request.method = "GET";
    net_response_done(&c->response);
    return net_perform(c->client, &request, &c->response, &c->err);
}

static int
get(struct case_ *c, const char *path)
{
    return perform(c, (struct net_request){0}, path);
}

#define CASE(...)                                                                                  \
    CLEANUP(case_done) struct case_ c;                                                             \
    case_start(&c, __VA_ARGS__)

static void
assert_ok(const struct case_ *c, int result)
{
    if (result < 0)
        print_error("%s (hint: %s)\n", err_message(c->err), err_hint_text(c->err));
    assert_int_equal(result, 0);
    assert_int_equal(c->response.status, 200);
    assert_string_equal(str_text(&c->response.body), "hello");
}

static void
assert_fails(const struct case_ *c, int result, enum err_code code)
{
    assert_int_equal(result, -1);
    assert_string_equal(err_code_name(err_code(c->err)), err_code_name(code));
    assert_null(c->response.body.data);
}

/* ---- trust ---- */

static void
self_signed_is_refused_and_both_fingerprints_and_the_line_are_in_the_hint(void **state)
{
    char line[160];

    CASE(&fx.self_signed, NULL);
    assert_fails(&c, get(&c, "/"), E_TLS_UNTRUSTED);
    assert_non_null(strstr(err_message(c.err), "self-signed certificate"));
    assert_non_null(strstr(err_hint_text(c.err), fx.self_signed.sha1));
    snprintf(line, sizeof(line), "vcenter.thumbprint: \"%s\"", fx.self_signed.sha256);
    assert_non_null(strstr(err_hint_text(c.err), line));
    assert_int_equal(fx.requests, 0);
}

static void
unknown_authority_is_refused(void **state)
{
    CASE(&fx.signed_ip, NULL);
    assert_fails(&c, get(&c, "/"), E_TLS_UNTRUSTED);
    assert_non_null(strstr(err_message(c.err), "unable to get local issuer certificate"));
    assert_int_equal(fx.requests, 0);
}

static void
pin_by_sha1_is_accepted(void **state)
{
    CASE(&fx.self_signed, &(struct net_trust){.thumbprint = fx.self_signed.sha1});
    assert_ok(&c, get(&c, "/"));
}

static void
pin_by_sha256_is_accepted_whatever_the_host_name(void **state)
{
    CASE(&fx.signed_other, &(struct net_trust){.thumbprint = fx.signed_other.sha256});
    assert_ok(&c, get(&c, "/"));
}

static void
pin_without_colons_in_lower_case_is_accepted(void **state)
{
    char pin[64] = "", *to = pin;

    for (const char *p = fx.self_signed.sha1; *p; p++)
        if (*p != ':')
            *to++ = *p >= 'A' ? (char)(*p + 32) : *p;
    CASE(&fx.self_signed, &(struct net_trust){.thumbprint = pin});
    assert_ok(&c, get(&c, "/"));
}

static void
wrong_pin_is_refused_even_for_a_certificate_of_a_known_authority(void **state)
{
    CASE(&fx.signed_ip, &(struct net_trust){.thumbprint = fx.self_signed.sha256,
                                            .ca_file = fx.ca_path,
                                            .config_key = "vcenter"});
    assert_fails(&c, get(&c, "/"), E_TLS_UNTRUSTED);
    assert_non_null(strstr(err_message(c.err), "not the one that is pinned"));
    assert_non_null(strstr(err_hint_text(c.err), fx.signed_ip.sha256));
    assert_int_equal(fx.requests, 0);
}

static void
wrong_pin_is_refused_even_when_insecure(void **state)
{
    CASE(&fx.self_signed,
         &(struct net_trust){.thumbprint = fx.signed_ip.sha1, .is_insecure = true});
    assert_fails(&c, get(&c, "/"), E_TLS_UNTRUSTED);
    assert_int_equal(fx.requests, 0);
}

static void
ca_file_is_accepted(void **state)
{
    CASE(&fx.signed_ip, &(struct net_trust){.ca_file = fx.ca_path});
    assert_ok(&c, get(&c, "/"));
}

static void
wrong_host_name_is_refused_with_fingerprints(void **state)
{
    CASE(&fx.signed_other, &(struct net_trust){.ca_file = fx.ca_path, .config_key = "vcenter"});
    assert_fails(&c, get(&c, "/"), E_TLS_UNTRUSTED);
    assert_non_null(strstr(err_message(c.err), "127.0.0.1"));
    assert_non_null(strstr(err_hint_text(c.err), fx.signed_other.sha256));
    assert_int_equal(fx.requests, 0);
}

static void
insecure_accepts_anything(void **state)
{
    CASE(&fx.signed_other, &(struct net_trust){.is_insecure = true});
    assert_ok(&c, get(&c, "/"));
}

static void
a_second_connection_is_verified_as_the_first(void **state)
{
    CASE(&fx.self_signed, &(struct net_trust){.thumbprint = fx.self_signed.sha1});
    for (int i = 0; i < 3; i++)
        assert_ok(&c, perform(&c, (struct net_request){.is_once = true}, "/"));
    assert_int_equal(server_connections(c.server), 3);
}

static void
refuse_trust(struct net_trust trust, const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;

    trust.config_key = "vcenter";
    assert_null(net_client_new(&trust, &err));
    assert_int_equal(err_code(err), E_CONFIG);
    assert_non_null(strstr(err_message(err), text));
}

static void
nonsense_thumbprints_and_ca_files_are_refused_at_once(void **state)
{
    refuse_trust((struct net_trust){.thumbprint = "12:34"}, "vcenter.thumbprint: \"12:34\"");
    refuse_trust((struct net_trust){.thumbprint = "see the other file"}, "no SHA-1 or SHA-256");
    refuse_trust((struct net_trust){.ca_file = "/nonexistent/ca.pem"}, "/nonexistent/ca.pem");
    refuse_trust((struct net_trust){.ca_file = "/dev/null"}, "holds no certificate");
}

static void
server_thumbprint_is_the_sha1_of_an_accepted_certificate(void **state)
{
    char sha1[60];

    CASE(&fx.self_signed, &(struct net_trust){.thumbprint = fx.self_signed.sha256});
    assert_int_equal(
        net_server_thumbprint(c.client, "127.0.0.1", server_port(c.server), sha1, &c.err), 0);
    assert_string_equal(sha1, fx.self_signed.sha1);
}

static void
server_thumbprint_of_an_untrusted_server_is_refused(void **state)
{
    char sha1[60] = "untouched";

    CASE(&fx.self_signed, NULL);
    assert_int_equal(
        net_server_thumbprint(c.client, "127.0.0.1", server_port(c.server), sha1, &c.err), -1);
    assert_int_equal(err_code(c.err), E_TLS_UNTRUSTED);
    assert_string_equal(sha1, "untouched");
}

/* ---- exchanges ---- */

static void
post_sends_body_and_headers(void **state)
{
    const char *headers[] = {"Content-Type: text/xml", "SOAPAction: \"urn:vim25/7.0\"", NULL};

    CASE(NULL, NULL);
    assert_ok(&c,
              perform(&c,
                      (struct net_request){
                          .method = "POST", .headers = headers, .body = "<a/>", .body_length = 4},
                      "/x"));
    assert_string_equal(fx.last_method, "POST");
    assert_string_equal(fx.last_body, "<a/>");
    assert_non_null(strstr(fx.last_headers, "SOAPAction: \"urn:vim25/7.0\"\r\n"));
    assert_non_null(strstr(fx.last_headers, "Content-Type: text/xml\r\n"));
    assert_null(strstr(fx.last_headers, "Expect:"));
}

static void
cookie_and_date_come_from_the_headers(void **state)
{
    CASE(NULL, NULL);
    assert_ok(&c, get(&c, "/headers"));
    assert_string_equal(c.response.set_cookie, "vmware_soap_session=\"52 a\"");
    assert_int_equal(c.response.server_date, 100);
}

static void
any_status_is_an_answer(void **state)
{
    CASE(NULL, NULL);
    assert_int_equal(get(&c, "/error"), 0);
    assert_int_equal(c.response.status, 500);
    assert_string_equal(str_text(&c.response.body), "hello");
}

static void
redirects_are_not_followed(void **state)
{
    CASE(NULL, NULL);
    assert_int_equal(get(&c, "/redirect"), 0);
    assert_int_equal(c.response.status, 302);
    assert_int_equal(fx.requests, 1);
}

static void
connections_are_used_again(void **state)
{
    CASE(&fx.self_signed, &(struct net_trust){.thumbprint = fx.self_signed.sha256});
    for (int i = 0; i < 5; i++)
        assert_ok(&c, get(&c, "/"));
    assert_int_equal(fx.requests, 5);
    assert_int_equal(server_connections(c.server), 1);
}

static void
a_request_that_must_not_repeat_reaches_the_server_once(void **state)
{
    CASE(NULL, NULL);
    assert_ok(&c, get(&c, "/")); /* leaves a warm connection, which curl would retry on */
    assert_fails(&c,
                 perform(&c,
                         (struct net_request){
                             .method = "POST", .body = "x", .body_length = 1, .is_once = true},
                         "/drop"),
                 E_NET);
    assert_int_equal(fx.requests, 2);
}

static void
too_large_body_is_refused(void **state)
{
    CASE(NULL, NULL);
    assert_fails(&c, perform(&c, (struct net_request){.max_response = BIG - 1}, "/big"), E_LIMIT);
    err_freep(&c.err);
    assert_int_equal(perform(&c, (struct net_request){.max_response = BIG}, "/big"), 0);
    assert_int_equal(c.response.body.length, BIG);
}

static int
count_bytes(void *opaque, const void *data, size_t length, struct err **err)
{
    size_t *total = opaque;

    *total += length;
    if (*total > BIG / 2)
        return err_set(err, E_SYNTAX, "half is enough");
    return 0;
}

static void
a_body_callback_can_stop_the_exchange_with_its_own_error(void **state)
{
    size_t total = 0;

    CASE(NULL, NULL);
    assert_fails(
        &c, perform(&c, (struct net_request){.on_body = count_bytes, .opaque = &total}, "/big"),
        E_SYNTAX);
    assert_non_null(strstr(err_message(c.err), "half is enough"));
}

static void
silence_is_a_timeout(void **state)
{
    CASE(NULL, NULL);
    assert_fails(&c, perform(&c, (struct net_request){.timeout_ms = 200}, "/stall"), E_TIMEOUT);
}

static void
a_dropped_connection_is_a_net_error(void **state)
{
    CASE(&fx.self_signed, &(struct net_trust){.is_insecure = true});
    assert_fails(&c, get(&c, "/drop"), E_NET);
}

static void
a_connection_that_breaks_in_the_body_is_a_net_error(void **state)
{
    CASE(&fx.self_signed, &(struct net_trust){.is_insecure = true});
    assert_fails(&c, get(&c, "/cut"), E_NET);
}

static void
a_closed_port_is_a_net_error_that_names_the_address_but_no_secret(void **state)
{
    CASE(NULL, NULL);
    {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound but not listening: refuses */

        assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
        snprintf(c.url, sizeof(c.url), "http://127.0.0.1:%u", ntohs(address.sin_port));
        assert_fails(&c, get(&c, "/client/api?apikey=SECRET"), E_NET);
        close(fd);
    }
    assert_non_null(strstr(err_message(c.err), c.url));
    assert_null(strstr(err_message(c.err), "SECRET"));
}

static void
an_unknown_host_is_a_resolve_error(void **state)
{
    CASE(NULL, NULL);
    strcpy(c.url, "http://no-such-host.invalid");
    assert_fails(&c, get(&c, "/"), E_NET_RESOLVE);
}

static void
a_text_that_is_no_url_is_a_config_error(void **state)
{
    CASE(NULL, NULL);
    strcpy(c.url, "file://");
    assert_fails(&c, get(&c, "/etc/passwd"), E_CONFIG);
}

static void *
set_soon(void *opaque)
{
    clock_sleep_ms(50); /* the exchange is then under way, or not yet: both must end */
    *(volatile int *)opaque = 1;
    return NULL;
}

static void
cancel_ends_a_silent_exchange_soon(void **state)
{
    volatile int cancel = 0;
    pthread_t thread;
    int64_t started = clock_monotonic_ms();

    CASE(NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, set_soon, (void *)&cancel), 0);
    assert_fails(&c, perform(&c, (struct net_request){.cancel = &cancel}, "/stall"), E_CANCELLED);
    pthread_join(thread, NULL);
    assert_true(clock_monotonic_ms() - started < 10000);
}

static void *
get_many(void *opaque)
{
    struct case_ *c = opaque;
    intptr_t failures = 0;

    for (int i = 0; i < 20; i++) {
        struct net_response response;
        struct net_request request = {.method = "GET", .url = c->url};

        failures += net_perform(c->client, &request, &response, NULL) < 0 ||
                    strcmp(str_text(&response.body), "hello") != 0;
        net_response_done(&response);
    }
    return (void *)failures;
}

static void
several_threads_share_a_client(void **state)
{
    pthread_t threads[4];

    CASE(&fx.self_signed, &(struct net_trust){.thumbprint = fx.self_signed.sha256});
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_many, &c), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        void *failures;

        pthread_join(threads[i], &failures);
        assert_null(failures);
    }
    assert_int_equal(fx.requests, 80);
    assert_true(server_connections(c.server) <= ARRAY_SIZE(threads));
}

static void
the_loopback_is_never_asked_through_a_proxy(void **state)
{
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("no_proxy", "example.org", 1);
    {
        CASE(NULL, NULL);
        assert_ok(&c, get(&c, "/"));
    }
    unsetenv("http_proxy");
    unsetenv("no_proxy");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_signed_is_refused_and_both_fingerprints_and_the_line_are_in_the_hint),
        cmocka_unit_test(unknown_authority_is_refused),
        cmocka_unit_test(pin_by_sha1_is_accepted),
        cmocka_unit_test(pin_by_sha256_is_accepted_whatever_the_host_name),
        cmocka_unit_test(pin_without_colons_in_lower_case_is_accepted),
        cmocka_unit_test(wrong_pin_is_refused_even_for_a_certificate_of_a_known_authority),
        cmocka_unit_test(wrong_pin_is_refused_even_when_insecure),
        cmocka_unit_test(ca_file_is_accepted),
        cmocka_unit_test(wrong_host_name_is_refused_with_fingerprints),
        cmocka_unit_test(insecure_accepts_anything),
        cmocka_unit_test(a_second_connection_is_verified_as_the_first),
        cmocka_unit_test(nonsense_thumbprints_and_ca_files_are_refused_at_once),
        cmocka_unit_test(server_thumbprint_is_the_sha1_of_an_accepted_certificate),
        cmocka_unit_test(server_thumbprint_of_an_untrusted_server_is_refused),
        cmocka_unit_test(post_sends_body_and_headers),
        cmocka_unit_test(cookie_and_date_come_from_the_headers),
        cmocka_unit_test(any_status_is_an_answer),
        cmocka_unit_test(redirects_are_not_followed),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(a_request_that_must_not_repeat_reaches_the_server_once),
        cmocka_unit_test(too_large_body_is_refused),
        cmocka_unit_test(a_body_callback_can_stop_the_exchange_with_its_own_error),
        cmocka_unit_test(silence_is_a_timeout),
        cmocka_unit_test(a_dropped_connection_is_a_net_error),
        cmocka_unit_test(a_connection_that_breaks_in_the_body_is_a_net_error),
        cmocka_unit_test(a_closed_port_is_a_net_error_that_names_the_address_but_no_secret),
        cmocka_unit_test(an_unknown_host_is_a_resolve_error),
        cmocka_unit_test(a_text_that_is_no_url_is_a_config_error),
        cmocka_unit_test(cancel_ends_a_silent_exchange_soon),
        cmocka_unit_test(several_threads_share_a_client),
        cmocka_unit_test(the_loopback_is_never_asked_through_a_proxy),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
