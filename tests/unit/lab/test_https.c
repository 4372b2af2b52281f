/* The lab's HTTPS server, spoken to by libcurl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "core/https.h"

struct fixture {
    struct lab_certificate certificate;
    struct lab_https *server;
    CURL *curl;
    struct str body;
};

static void
count_param(void *opaque, const char *name, const char *value)
{
    ++*(int *)opaque;
}

static void
handle(void *opaque, struct lab_exchange *x)
{
    const char *path = lab_exchange_path(x);
    size_t length;
    int params = 0;
    CLEANUP(free_charp) char *text = NULL;

    if (!strcmp(path, "/drop")) {
        lab_exchange_drop(x);
        return;
    }
    if (!strcmp(path, "/silent"))
        return;
    lab_exchange_each_param(x, count_param, &params);
    (void)lab_exchange_body(x, &length);
    text = xasprintf("%s %s q=%s n=%s params=%d length=%zu header=%s", lab_exchange_method(x), path,
                     lab_exchange_query_raw(x),
                     lab_exchange_param(x, "n") ? lab_exchange_param(x, "n") : "-", params, length,
                     lab_exchange_header(x, "X-Test") ? lab_exchange_header(x, "x-test") : "-");
    lab_exchange_answer_header(x, "X-Answer", "yes");
    lab_exchange_answer(x, 201, "text/plain", text, strlen(text));
}

static size_t
collect(char *data, size_t size, size_t count, void *opaque)
{
    str_append_bytes(opaque, data, size * count);
    return size * count;
}

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct curl_blob ca = {.flags = CURL_BLOB_COPY};

    curl_global_init(CURL_GLOBAL_DEFAULT);
    assert_int_equal(lab_certificate_new(&f->certificate, NULL), 0);
    assert_int_equal(lab_https_start(&f->certificate, 0, handle, f, &f->server, NULL), 0);
    f->curl = curl_easy_init();
    f->body = STR_INIT(65536);
    ca.data = f->certificate.cert_pem;
    ca.len = strlen(f->certificate.cert_pem);
    curl_easy_setopt(f->curl, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, &f->body);
    curl_easy_setopt(f->curl, CURLOPT_TIMEOUT, 20L);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    curl_easy_cleanup(f->curl);
    lab_https_stop(f->server);
    lab_certificate_done(&f->certificate);
    str_done(&f->body);
    free(f);
    return 0;
}

static CURLcode
get(struct fixture *f, const char *host, const char *rest)
{
    CLEANUP(free_charp)
    char *url = xasprintf("https://%s:%u%s", host, lab_https_port(f->server), rest);

    str_clear(&f->body);
    curl_easy_setopt(f->curl, CURLOPT_URL, url);
    return curl_easy_perform(f->curl);
}

static void
test_certificate_is_accepted_for_both_names(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "localhost", "/x"), CURLE_OK);
    assert_int_equal(get(f, "127.0.0.1", "/x"), CURLE_OK);
}

static void
test_unknown_authority_is_refused(void **state)
{
    struct fixture *f = *state;

    curl_easy_setopt(f->curl, CURLOPT_CAINFO_BLOB, NULL);
    assert_int_equal(get(f, "localhost", "/x"), CURLE_PEER_FAILED_VERIFICATION);
}

static void
test_query_and_form_body_are_decoded_together(void **state)
{
    struct fixture *f = *state;
    struct curl_slist *headers = curl_slist_append(NULL, "X-Test: 7");

    curl_easy_setopt(f->curl, CURLOPT_POSTFIELDS, "n=a+b%26%C3%A9&n=second&empty");
    curl_easy_setopt(f->curl, CURLOPT_HTTPHEADER, headers);
    assert_int_equal(get(f, "localhost", "/p%20q?z=%5B0%5D"), CURLE_OK);
    curl_slist_free_all(headers);
    assert_string_equal(str_text(&f->body),
                        "POST /p q q=z=%5B0%5D n=a b&\xc3\xa9 params=4 length=29 header=7");
}

static void
test_body_beyond_the_bound_is_413(void **state)
{
    struct fixture *f = *state;
    size_t length = 8U * 1024 * 1024 + 1;
    CLEANUP(free_charp) char *data = xcalloc(length, 1);
    long status = 0;

    memset(data, 'a', length);
    curl_easy_setopt(f->curl, CURLOPT_POSTFIELDS, data);
    curl_easy_setopt(f->curl, CURLOPT_POSTFIELDSIZE, (long)length);
    assert_int_equal(get(f, "localhost", "/x"), CURLE_OK);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 413);
}

static void
test_dropped_exchange_closes_the_connection(void **state)
{
    struct fixture *f = *state;
    CURLcode code = get(f, "localhost", "/drop");

    assert_true(code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR);
    assert_int_equal(get(f, "localhost", "/x"), CURLE_OK);
}

static void
test_handler_without_answer_is_500(void **state)
{
    struct fixture *f = *state;
    long status = 0;

    assert_int_equal(get(f, "localhost", "/silent"), CURLE_OK);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 500);
}

static void
test_port_in_use_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct lab_https *second = NULL;
    struct err *err = NULL;

    assert_int_equal(lab_https_start(NULL, lab_https_port(f->server), handle, f, &second, &err),
                     -1);
    assert_null(second);
    assert_int_equal(err_code(err), E_NET);
    err_free(err);
}

static void
test_fingerprints_have_their_shape(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(strlen(f->certificate.sha1), 59);
    assert_int_equal(strlen(f->certificate.sha256), 95);
    assert_int_equal(strspn(f->certificate.sha1, "0123456789ABCDEF:"), 59);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_certificate_is_accepted_for_both_names),
        T(test_unknown_authority_is_refused),
        T(test_query_and_form_body_are_decoded_together),
        T(test_body_beyond_the_bound_is_413),
        T(test_dropped_exchange_closes_the_connection),
        T(test_handler_without_answer_is_500),
        T(test_port_in_use_is_an_error),
        T(test_fingerprints_have_their_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
