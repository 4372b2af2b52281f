/* The pretend server's own reading of the signing rules. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"

#define SECRET                                                                                     \
    "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ"
#define KEY "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg"

struct server {
    struct lab_cloudstack cs;
    struct cs_request rq;
    struct cs_error error;
};

static int
setup(void **state)
{
    struct server *s = xcalloc(1, sizeof(*s));

    (void)snprintf(s->cs.api_key, sizeof(s->cs.api_key), "%s", KEY);
    (void)snprintf(s->cs.secret_key, sizeof(s->cs.secret_key), "%s", SECRET);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    struct server *s = *state;

    cs_request_done(&s->rq);
    free(s);
    return 0;
}

/* The developer guide's example. */
static void
add_official(struct server *s)
{
    cs_request_add(&s->rq, "command", "listUsers");
    cs_request_add(&s->rq, "response", "json");
    cs_request_add(&s->rq, "apikey", KEY);
    cs_request_add(&s->rq, "signature", "TTpdDq/7j/J58XCRHomKoQXEQds=");
}

/* Signed by the engine's client: the one place where the two meet. */
static void
sign(struct server *s)
{
    struct cloudstack_params params = {0};
    CLEANUP(free_charp) char *signature = NULL;

    for (size_t i = 0; i < s->rq.params.count; i++)
        params_add(&params, s->rq.params.items[i].name, s->rq.params.items[i].value);
    signature = cloudstack_sign(&params, SECRET);
    cs_request_add(&s->rq, "signature", signature);
    params_done(&params);
}

static void
add_version_3(struct server *s, int64_t expires_s, const char *zone)
{
    char utc[32];
    CLEANUP(free_charp) char *expires = NULL;

    clock_format_utc(expires_s, utc);
    expires = xasprintf("%.19s%s", utc, zone);
    cs_request_add(&s->rq, "apikey", KEY);
    cs_request_add(&s->rq, "command", "listZones");
    cs_request_add(&s->rq, "signatureversion", "3");
    cs_request_add(&s->rq, "expires", expires);
    sign(s);
}

static void
expect_refused(struct server *s)
{
    assert_int_equal(cs_check_signature(&s->cs, &s->rq, &s->error), -1);
    assert_int_equal(s->error.code, 401);
    assert_string_equal(s->error.text,
                        "unable to verify user credentials and/or request signature");
}

static void
test_official_example_is_accepted(void **state)
{
    struct server *s = *state;
    CLEANUP(free_charp) char *text = NULL;

    add_official(s);
    text = cs_signed_string(&s->rq);
    assert_string_equal(text,
                        "apikey=plgwjfzk4gys3momtvmjuvg-x-jlwlnfauj9gabbbf9edm-kaymmailqzzq1elzlyq_"
                        "u38zcm0bewzgudp66mg&command=listusers&response=json");
    assert_int_equal(cs_check_signature(&s->cs, &s->rq, &s->error), 0);
}

static void
test_signed_string_of_every_kind_of_byte(void **state)
{
    struct server *s = *state;
    CLEANUP(free_charp) char *text = NULL;

    cs_request_add(&s->rq, "name", "web 01~*(a)_\xc3\xa9/+");
    cs_request_add(&s->rq, "details[0].rootDiskController", "virtio");
    cs_request_add(&s->rq, "signatureversion", "3");
    cs_request_add(&s->rq, "expires", "2026-01-02T03:04:05+0000");
    cs_request_add(&s->rq, "response", "json");
    cs_request_add(&s->rq, "command", "importVm");
    cs_request_add(&s->rq, "apikey", "K");
    text = cs_signed_string(&s->rq);
    assert_string_equal(
        text, "apikey=k&command=importvm&details[0].rootdiskcontroller=virtio&expires=2026-01-02t03"
              "%3a04%3a05%2b0000&name=web%2001%7e*%28a%29_%c3%a9%2f%2b&response=json"
              "&signatureversion=3");
}

static void
test_changed_value_is_refused(void **state)
{
    struct server *s = *state;

    add_official(s);
    free(s->rq.params.items[0].value);
    s->rq.params.items[0].value = xstrdup("listZones");
    expect_refused(s);
}

static void
test_added_parameter_is_refused(void **state)
{
    struct server *s = *state;

    add_official(s);
    cs_request_add(&s->rq, "listall", "true");
    expect_refused(s);
}

static void
test_unknown_key_is_refused(void **state)
{
    struct server *s = *state;

    add_official(s);
    s->cs.api_key[0] ^= 1;
    expect_refused(s);
}

static void
test_missing_signature_is_refused(void **state)
{
    struct server *s = *state;

    cs_request_add(&s->rq, "command", "listUsers");
    cs_request_add(&s->rq, "apikey", KEY);
    expect_refused(s);
}

static void
test_of_a_repeated_name_the_first_value_counts(void **state)
{
    struct server *s = *state;

    add_official(s);
    cs_request_add(&s->rq, "command", "deleteEverything");
    assert_int_equal(cs_check_signature(&s->cs, &s->rq, &s->error), 0);
    assert_string_equal(cs_get(&s->rq, "command"), "listUsers");
}

static void
test_version_3_in_time_is_accepted(void **state)
{
    struct server *s = *state;

    add_version_3(s, clock_wall_s() + 600, "+0000");
    assert_int_equal(cs_check_signature(&s->cs, &s->rq, &s->error), 0);
}

static void
test_version_3_expired_is_refused(void **state)
{
    struct server *s = *state;

    add_version_3(s, clock_wall_s() - 2, "Z");
    expect_refused(s);
}

static void
test_zone_of_expires_is_minded(void **state)
{
    struct server *s = *state;

    /* The same digits five and a half hours to the east lie in the past. */
    add_version_3(s, clock_wall_s() + 600, "+05:30");
    expect_refused(s);
}

static void
test_version_3_without_expires_is_refused(void **state)
{
    struct server *s = *state;

    cs_request_add(&s->rq, "apikey", KEY);
    cs_request_add(&s->rq, "command", "listZones");
    cs_request_add(&s->rq, "signatureversion", "3");
    sign(s);
    expect_refused(s);
}

static void
test_expires_that_is_no_time_is_refused(void **state)
{
    struct server *s = *state;

    add_version_3(s, clock_wall_s() + 600, "+00x0");
    expect_refused(s);
}

static void
test_enforced_time_is_at_most_15_minutes_ahead(void **state)
{
    struct server *s = *state;

    s->cs.is_post_enforced = true;
    add_version_3(s, clock_wall_s() + 1000, "Z");
    expect_refused(s);
    s->cs.is_post_enforced = false;
    assert_int_equal(cs_check_signature(&s->cs, &s->rq, &s->error), 0);
}

static void
test_enforced_servers_refuse_version_2(void **state)
{
    struct server *s = *state;

    add_official(s);
    s->cs.is_post_enforced = true;
    expect_refused(s);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_official_example_is_accepted),
        T(test_signed_string_of_every_kind_of_byte),
        T(test_changed_value_is_refused),
        T(test_added_parameter_is_refused),
        T(test_unknown_key_is_refused),
        T(test_missing_signature_is_refused),
        T(test_of_a_repeated_name_the_first_value_counts),
        T(test_version_3_in_time_is_accepted),
        T(test_version_3_expired_is_refused),
        T(test_zone_of_expires_is_minded),
        T(test_version_3_without_expires_is_refused),
        T(test_expires_that_is_no_time_is_refused),
        T(test_enforced_time_is_at_most_15_minutes_ahead),
        T(test_enforced_servers_refuse_version_2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
