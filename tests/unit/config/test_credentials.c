/* Credentials from files, from systemd, and from the profiles of other clients. */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "config/config.h"

static char dir[64];

static int
make_dir(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/v2c-test-credentials.XXXXXX");
    if (!mkdtemp(dir) || chdir(dir) < 0)
        return -1;
    setenv("HOME", dir, 1);
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("CLOUDSTACK_CONFIG");
    unsetenv("VC_PASSWORD");
    return 0;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return chdir("/") < 0 ? -1 : system(command);
}

static void
put(const char *name, mode_t mode, const char *text)
{
    struct err *err = NULL;

    assert_ok(file_replace(name, text, strlen(text), mode, &err), &err);
}

static struct config *
load(const char *text, struct err **err)
{
    struct config *config = NULL;

    put("config.yaml", 0600, text);
    return config_load("config.yaml", false, &config, NULL, err) < 0 ? NULL : config;
}

static struct config *
load_well(const char *text)
{
    struct err *err = NULL;
    struct config *config = load(text, &err);

    if (!config)
        fail_msg("%s", err_message(err));
    return config;
}

static void
refused(const char *text, const char *why)
{
    struct err *err = NULL;

    assert_null(load(text, &err));
    assert_err_says(&err, E_CONFIG, why);
}

static void
a_file_holds_one_value(void **state)
{
    CLEANUP(config_freep) struct config *config = NULL;

    put("pw", 0600, " blanks count \n");
    put("secret", 0400, "s3cret");
    config = load_well("vcenter: {password_file: pw}\ncloudstack: {secret_key_file: secret}\n");
    assert_string_equal(config->vcenter.password, " blanks count ");
    assert_string_equal(config->cloudstack.secret_key, "s3cret");
}

static void
a_file_that_others_can_read_is_refused(void **state)
{
    put("pw", 0644, "x\n");
    refused("vcenter: {password_file: pw}\n", "config.yaml:1: vcenter.password_file: pw holds "
                                              "credentials and others can read or write it; chmod "
                                              "600 pw");
}

static void
what_is_no_value_is_refused(void **state)
{
    put("empty", 0600, "\n");
    put("two", 0600, "a\nb\n");
    refused("vcenter: {password_file: empty}\n", "does not hold one line");
    refused("vcenter: {password_file: two}\n", "does not hold one line");
    refused("vcenter: {password_file: nowhere}\n", "No such file");
    refused("vcenter: {password_file: /dev/zero}\n", "is no file of at most");
    refused("vcenter: {password_file: two, password: x}\n", "keep one of them");
}

static void
systemd_hands_credentials_over_in_a_directory(void **state)
{
    CLEANUP(config_freep) struct config *config = NULL;

    put("vcenter-password", 0400, "from systemd");
    put("cloudstack-api-key", 0400, "the key");
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    setenv("VC_PASSWORD", "from the environment", 1);
    config = load_well("cloudstack: {secret_key: inline}\n");
    assert_string_equal(config->vcenter.password, "from systemd");
    assert_string_equal(config->cloudstack.api_key, "the key");
    assert_string_equal(config->cloudstack.secret_key, "inline");
}

/* As for a service with a user of its own: root's file, and an ACL for that user. */
static void
a_credential_of_systemd_may_have_the_mask_of_its_acl_and_no_more(void **state)
{
    CLEANUP(config_freep) struct config *config = NULL;

    put("vcenter-password", 0440, "from systemd");
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    config = load_well("cloudstack: {secret_key: inline}\n");
    assert_string_equal(config->vcenter.password, "from systemd");
    put("vcenter-password", 0444, "from systemd");
    refused("cloudstack: {secret_key: inline}\n", "others can read or write it");
}

static void
a_profile_of_cloudmonkey_fills_what_is_not_set(void **state)
{
    CLEANUP(config_freep) struct config *config = NULL;

    assert_int_equal(mkdir(".cmk", 0700), 0);
    put(".cmk/config", 0600,
        "prompt = x\nprofile = other\n\n[other]\nurl = http://no\n\n[site]\n; a comment\n"
        "url       = https://cs.example.com:8443/client/api\nusername  = admin\n"
        "apikey    = AK\nsecretkey = SK=with=equals\n");
    config = load_well("cloudstack: {profile: 'cmk:site', api_key: mine}\n");
    assert_string_equal(config->cloudstack.endpoint, "https://cs.example.com:8443/client/api");
    assert_string_equal(config->cloudstack.api_key, "mine");
    assert_string_equal(config->cloudstack.secret_key, "SK=with=equals");
    refused("cloudstack: {profile: 'cmk:nowhere'}\n", "has no section [nowhere]");
    refused("cloudstack: {profile: site}\n", "expected cmk:NAME or cs:REGION");
}

static void
a_region_of_cs_is_read_from_where_cs_looks(void **state)
{
    CLEANUP(config_freep) struct config *home = NULL, *here = NULL, *named = NULL;

    put(".cloudstack.ini", 0600, "[cloudstack]\nendpoint=https://h\nkey=hk\nsecret=hs\n");
    home = load_well("cloudstack: {profile: 'cs:cloudstack'}\n");
    assert_string_equal(home->cloudstack.secret_key, "hs");
    put("cloudstack.ini", 0600, "[cloudstack]\nendpoint=https://c\nkey=ck\nsecret=cs\n");
    here = load_well("cloudstack: {profile: 'cs:cloudstack'}\n");
    assert_string_equal(here->cloudstack.secret_key, "cs");
    put("named.ini", 0644, "[cloudstack]\nendpoint=https://n\nkey=nk\nsecret=ns\n");
    setenv("CLOUDSTACK_CONFIG", "named.ini", 1);
    refused("cloudstack: {profile: 'cs:cloudstack'}\n", "others can read");
    assert_int_equal(chmod("named.ini", 0600), 0);
    named = load_well("cloudstack: {profile: 'cs:cloudstack'}\n");
    assert_string_equal(named->cloudstack.secret_key, "ns");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_holds_one_value),
        TEST(a_file_that_others_can_read_is_refused),
        TEST(what_is_no_value_is_refused),
        TEST(systemd_hands_credentials_over_in_a_directory),
        TEST(a_credential_of_systemd_may_have_the_mask_of_its_acl_and_no_more),
        TEST(a_profile_of_cloudmonkey_fills_what_is_not_set),
        TEST(a_region_of_cs_is_read_from_where_cs_looks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
