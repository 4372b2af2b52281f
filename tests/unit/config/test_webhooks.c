/* `serve.webhooks`: what is taken, and what is refused. */
#include "tests/unit/config/files.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "config/config.h"

#define HOOK   "serve: {webhooks: [{name: ops, url: 'https://hooks.example.com/x', secret: "
#define SECRET "0123456789abcdef"

static struct config *
load(const char *text, char **ret_warnings)
{
    struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", text);
    assert_ok(config_load("config.yaml", false, &config, ret_warnings, &err), &err);
    return config;
}

static void
refused(const char *text, const char *why)
{
    struct config *config = NULL;
    struct err *err = NULL;

    write_file("config.yaml", text);
    assert_int_equal(config_load("config.yaml", false, &config, NULL, &err), -1);
    assert_err_says(&err, E_CONFIG, why);
}

static void
a_webhook_has_defaults(void **state)
{
    CLEANUP(free_charp) char *warnings = NULL;
    CLEANUP(config_freep) struct config *config = load(HOOK SECRET "}]}\n", &warnings);
    const struct config_webhook *hook = &config->serve.webhooks.items[0];
    struct err *err = NULL;

    assert_string_equal(warnings, "");
    assert_int_equal(config->serve.webhooks.count, 1);
    assert_string_equal(hook->name, "ops");
    assert_string_equal(hook->secret, SECRET);
    assert_int_equal(hook->timeout_seconds, 10);
    assert_int_equal(hook->give_up_seconds, 86400);
    assert_false(hook->is_insecure);
    assert_int_equal(hook->events.count, 0);
    assert_ok(config_check_serve(config, &err), &err);
}

static void
every_key_is_known(void **state)
{
    CLEANUP(config_freep)
    struct config *config =
        load(HOOK SECRET ", events: [failed, stage, needs_person], waves: [a, b], "
                         "environments: [vc-1], timeout_seconds: 5, "
                         "give_up_seconds: 60, insecure: false}]}\n",
             NULL);
    const struct config_webhook *hook = &config->serve.webhooks.items[0];

    assert_int_equal(hook->events.count, 3);
    assert_string_equal(hook->events.items[2], "needs_person");
    assert_string_equal(hook->waves.items[1], "b");
    assert_string_equal(hook->environments.items[0], "vc-1");
    assert_int_equal(hook->timeout_seconds, 5);
    assert_int_equal(hook->give_up_seconds, 60);
}

static void
a_secret_may_be_a_file_or_a_credential(void **state)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct err *err = NULL;

    write_file("s", SECRET "\n");
    write_file("webhook-b", SECRET "x\n");
    assert_int_equal(chmod("s", 0600) | chmod("webhook-b", 0600), 0);
    setenv("CREDENTIALS_DIRECTORY", ".", 1);
    config = load("serve:\n  webhooks:\n  - {name: a, url: 'https://h/', secret_file: s}\n"
                  "  - {name: b, url: 'https://h/'}\n  - {name: c, url: 'https://h/'}\n",
                  NULL);
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_string_equal(config->serve.webhooks.items[0].secret, SECRET);
    assert_string_equal(config->serve.webhooks.items[1].secret, SECRET "x");
    assert_null(config->serve.webhooks.items[2].secret);
    assert_int_equal(config_check_serve(config, &err), -1);
    assert_err_says(&err, E_CONFIG, "the webhook c has no secret");
}

static void
a_webhook_that_makes_no_sense_is_refused(void **state)
{
    refused("serve: {webhooks: [{name: ops, secret: " SECRET "}]}\n", "`url` is missing");
    refused("serve: {webhooks: [{name: '.x', url: 'https://h/'}]}\n", "expected a `name`");
    refused("serve: {webhooks: [{name: a, url: 'h/'}]}\n", "expected an address");
    refused("serve: {webhooks: [{name: a, url: 'https:///x'}]}\n", "expected a host");
    refused("serve: {webhooks: [{name: a, url: 'https://u:p@h/'}]}\n", "expected no user");
    refused("serve: {webhooks: [{name: a, url: 'https://h/'}, {name: a, url: 'https://h/'}]}\n",
            "there is a webhook a already");
    refused(HOOK "short}]}\n", "less than 16 characters");
    refused(HOOK SECRET ", events: [done]}]}\n", "done is none of queued");
    refused(HOOK SECRET ", event: failed}]}\n", "event");
    refused(HOOK SECRET ", ca_file: /nonexistent}]}\n", "cannot read /nonexistent");
    refused(HOOK SECRET ", thumbprint: 'AA'}]}\n", "expected the SHA-256");
    refused("serve: {webhooks: [x]}\n", "expected a map");
    refused("serve: {hooks: []}\n", "hooks");
}

static void
plain_http_to_others_is_warned_of(void **state)
{
    CLEANUP(free_charp) char *far = NULL;
    CLEANUP(free_charp) char *near = NULL;
    CLEANUP(config_freep) struct config *a = NULL, *b = NULL;

    a = load("serve: {webhooks: [{name: a, url: 'http://h/'}]}\n", &far);
    b = load("serve: {webhooks: [{name: a, url: 'http://127.0.0.1:1/'}]}\n", &near);
    assert_non_null(strstr(far, "http is not encrypted"));
    assert_string_equal(near, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_webhook_has_defaults),
        cmocka_unit_test(every_key_is_known),
        cmocka_unit_test(a_secret_may_be_a_file_or_a_credential),
        cmocka_unit_test(a_webhook_that_makes_no_sense_is_refused),
        cmocka_unit_test(plain_http_to_others_is_warned_of),
    };

    return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
