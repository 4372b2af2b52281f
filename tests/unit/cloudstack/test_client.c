/* The client against a server that plays a script: each request takes the next answer, and is kept
 * for the test to look at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cloudstack/internal.h"
#include "core/https.h"

#define API_KEY    "apiKEY-not-to-be-seen"
#define SECRET_KEY "secretKEY-not-to-be-seen"
#define CAPABLE                                                                                    \
    "{\"listcapabilitiesresponse\":{\"capability\":{\"cloudstackversion\":\"4.22.1.0\"}}}"

struct answer {
    unsigned status; /* 0: drop the connection */
    const char *body, *date;
};

struct script {
    pthread_mutex_t mutex;
    struct answer answers[32];
    size_t answer_count, used;
    struct {
        char method[8], query[64];
        char *body;
    } seen[32];
    struct lab_https *server;
    struct cloudstack *cs;
    struct err *err;
    struct cloudstack_params params;
    volatile int cancel;
};

static void
serve(void *opaque, struct lab_exchange *x)
{
    struct script *s = opaque;
    struct answer *answer;

    SCOPE_LOCK(&s->mutex);
    if (s->used >= s->answer_count) {
        lab_exchange_answer(x, 500, "text/plain", "script is over", 14);
        return;
    }
    (void)snprintf(s->seen[s->used].method, sizeof(s->seen[0].method), "%s",
                   lab_exchange_method(x));
    (void)snprintf(s->seen[s->used].query, sizeof(s->seen[0].query), "%s",
                   lab_exchange_query_raw(x));
    s->seen[s->used].body = xstrdup(lab_exchange_body(x, NULL));
    answer = &s->answers[s->used++];
    if (!answer->status) {
        lab_exchange_drop(x);
        return;
    }
    if (answer->date)
        lab_exchange_answer_header(x, "Date", answer->date);
    lab_exchange_answer(x, answer->status, "application/json", answer->body, strlen(answer->body));
}

static void
say(struct script *s, unsigned status, const char *body)
{
    SCOPE_LOCK(&s->mutex);
    s->answers[s->answer_count++] = (struct answer){status, body, NULL};
}

static int
connect_to(struct script *s)
{
    CLEANUP(free_charp)
    char *endpoint = xasprintf("http://127.0.0.1:%u", lab_https_port(s->server));
    struct cloudstack_options options = {
        .endpoint = endpoint,
        .api_key = API_KEY,
        .secret_key = SECRET_KEY,
        .trust = {.config_key = "cloudstack"},
        .timeout_ms = 10000,
        .cancel = &s->cancel,
    };

    return cloudstack_connect(&options, &s->cs, &s->err);
}

static int
setup_bare(void **state)
{
    struct script *s = xcalloc(1, sizeof(*s));

    pthread_mutex_init(&s->mutex, NULL);
    *state = s;
    return lab_https_start(NULL, 0, serve, s, &s->server, NULL);
}

static int
setup(void **state)
{
    struct script *s;

    if (setup_bare(state) < 0)
        return -1;
    s = *state;
    say(s, 200, CAPABLE);
    if (connect_to(s) < 0)
        return -1;
    s->cs->pause_ms = 1;
    s->cs->poll_ms = 1;
    s->answer_count = s->used = 0;
    free(s->seen[0].body);
    s->seen[0].body = NULL;
    return 0;
}

static int
teardown(void **state)
{
    struct script *s = *state;

    cloudstack_free(s->cs);
    lab_https_stop(s->server);
    for (size_t i = 0; i < s->used; i++)
        free(s->seen[i].body);
    params_done(&s->params);
    err_free(s->err);
    pthread_mutex_destroy(&s->mutex);
    free(s);
    return 0;
}

static bool
body_has(const struct script *s, size_t index, const char *text)
{
    return s->seen[index].body && strstr(s->seen[index].body, text);
}

static void
expect_error(struct script *s, enum err_code code, const char *words)
{
    assert_non_null(s->err);
    if (err_code(s->err) != code || !strstr(err_message(s->err), words))
        fail_msg("got %s: %s", err_code_name(err_code(s->err)), err_message(s->err));
    assert_null(strstr(err_message(s->err), "not-to-be-seen"));
}

/* ---- connect ---------------------------------------------------------------------------------- */

static void
test_connect_learns_the_version(void **state)
{
    struct script *s = *state;

    say(s, 200, CAPABLE);
    assert_int_equal(connect_to(s), 0);
    assert_string_equal(cloudstack_version(s->cs), "4.22.1.0");
    assert_true(body_has(s, 0, "command=listCapabilities"));
    assert_true(body_has(s, 0, "signatureversion=3"));
    assert_string_equal(s->seen[0].method, "POST");
    assert_string_equal(s->seen[0].query, "");
}

static void
test_capabilities_and_clock_are_kept(void **state)
{
    struct script *s = *state;
    int64_t skew_s = 0;

    say(s, 200,
        "{\"listcapabilitiesresponse\":{\"capability\":{\"cloudstackversion\":\"4.20.0.0\","
        "\"customdiskofferingminsize\":1}}}");
    s->answers[0].date = "Wed, 01 Jan 2020 00:00:00 GMT";
    assert_int_equal(connect_to(s), 0);
    assert_int_equal(json_integer_value(json_object_get(cloudstack_capabilities(s->cs),
                                                        "customdiskofferingminsize")),
                     1);
    assert_true(cloudstack_clock_skew(s->cs, &skew_s));
    assert_true(skew_s < -1000000);
}

static void
test_detail_options_are_a_map_of_words(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *details = NULL, *none = NULL;

    say(s, 200, CAPABLE);
    say(s, 200,
        "{\"listdetailoptionsresponse\":{\"detailoptions\":{\"details\":{\"nicAdapter\":"
        "[\"virtio\",\"e1000\"]}}}}");
    say(s, 200, "{\"listdetailoptionsresponse\":{}}");
    assert_int_equal(connect_to(s), 0);
    assert_int_equal(cloudstack_detail_options(s->cs, "UserVm", &details, &s->err), 0);
    assert_true(body_has(s, 1, "resourcetype=UserVm"));
    assert_int_equal(json_array_size(json_object_get(details, "nicAdapter")), 2);
    assert_int_equal(cloudstack_detail_options(s->cs, "UserVm", &none, &s->err), 0);
    assert_int_equal(json_object_size(none), 0);
}

static void
test_wrong_key_is_auth(void **state)
{
    struct script *s = *state;

    say(s, 401,
        "{\"listcapabilitiesresponse\":{\"uuidList\":[],\"errorcode\":401,\"errortext\":"
        "\"unable to verify user credentials and/or request signature\"}}");
    assert_int_equal(connect_to(s), -1);
    expect_error(s, E_CS_AUTH, "unable to verify user credentials");
    assert_non_null(strstr(err_hint_text(s->err), "api_key"));
    assert_null(s->cs);
}

static void
test_clock_skew_is_named_on_401(void **state)
{
    struct script *s = *state;

    say(s, 401, "{\"x\":{\"errorcode\":401,\"errortext\":\"no\"}}");
    s->answers[0].date = "Wed, 01 Jan 2020 00:00:00 GMT";
    assert_int_equal(connect_to(s), -1);
    assert_int_equal(err_code(s->err), E_CS_AUTH);
    assert_non_null(strstr(err_hint_text(s->err), "ahead of"));
    assert_non_null(strstr(err_hint_text(s->err), "clock"));
}

static void
test_html_is_no_cloudstack(void **state)
{
    struct script *s = *state;

    say(s, 404, "<html>not here</html>");
    assert_int_equal(connect_to(s), -1);
    expect_error(s, E_CONFIG, "no CloudStack API");
}

static void
test_redirection_is_a_wrong_endpoint(void **state)
{
    struct script *s = *state;

    say(s, 302, "");
    assert_int_equal(connect_to(s), -1);
    expect_error(s, E_CONFIG, "redirection");
}

static void
test_missing_keys_are_refused_before_any_call(void **state)
{
    struct script *s = *state;
    struct cloudstack_options options = {.endpoint = "x", .api_key = "", .secret_key = "s"};

    assert_int_equal(cloudstack_connect(&options, &s->cs, &s->err), -1);
    expect_error(s, E_CONFIG, "api_key");
}

/* ---- envelopes -------------------------------------------------------------------------------- */

static void
test_error_envelope_carries_text_and_numbers(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 431,
        "{\"startvirtualmachineresponse\":{\"uuidList\":[],\"errorcode\":431,\"cserrorcode\":4350,"
        "\"errortext\":\"it will not\"}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_CS_API, "it will not (error 431/4350)");
    assert_null(job);
}

static void
test_errorresponse_with_http_200_is_an_error(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 200, "{\"errorresponse\":{\"errorcode\":530,\"errortext\":\"inside\"}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_CS_API, "inside (error 530)");
}

static void
test_http_error_without_errorcode_is_an_error(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 530, "{\"startvirtualmachineresponse\":{\"jobid\":\"j\"}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_CS_PROTOCOL, "HTTP 530");
}

static void
test_secrets_in_error_texts_are_hidden(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 431,
        "{\"r\":{\"errorcode\":431,\"errortext\":\"bad apikey " API_KEY " or " SECRET_KEY "!\"}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_CS_API, "bad apikey *** or ***!");
}

static void
test_submit_without_job_id_is_an_error(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 200, "{\"startvirtualmachineresponse\":{\"id\":\"v1\"}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_CS_PROTOCOL, "without a job id");
}

static void
test_two_top_level_keys_are_no_answer(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 200, "{\"a\":{\"jobid\":\"1\"},\"b\":{}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_CS_PROTOCOL, "no JSON of CloudStack");
}

/* ---- lost answers ----------------------------------------------------------------------------- */

static void
test_reading_call_is_repeated_after_a_lost_answer(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *items = NULL;

    say(s, 0, "");
    say(s, 503, "<html/>");
    say(s, 200, "{\"listzonesresponse\":{\"count\":1,\"zone\":[{\"id\":\"z\"}]}}");
    assert_int_equal(cloudstack_list(s->cs, "listZones", NULL, &items, &s->err), 0);
    assert_int_equal(json_array_size(items), 1);
}

static void
test_changing_call_is_never_repeated(void **state)
{
    struct script *s = *state;
    char *job = NULL;

    say(s, 0, "");
    say(s, 200, "{\"r\":{\"jobid\":\"second\"}}");
    assert_int_equal(cloudstack_start_vm(s->cs, "v1", &job, &s->err), -1);
    expect_error(s, E_NET, "startVirtualMachine");
    assert_int_equal(s->used, 1);
}

static void
test_cancel_ends_a_wait(void **state)
{
    struct script *s = *state;
    json_t *result = NULL;

    say(s, 200, "{\"r\":{\"jobstatus\":0}}");
    s->cs->poll_ms = 60000;
    s->cancel = 1;
    assert_int_equal(cloudstack_job_wait(s->cs, "j", 60000, &result, &s->err), -1);
    assert_int_equal(err_code(s->err), E_CANCELLED);
}

/* ---- lists ------------------------------------------------------------------------------------ */

static void
test_list_goes_over_all_pages_whatever_the_array_is_called(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *items = NULL;

    say(s, 200, "{\"r\":{\"count\":3,\"odd\":[{\"id\":\"1\"},{\"id\":\"2\"}]}}");
    say(s, 200, "{\"r\":{\"count\":3,\"odd\":[{\"id\":\"3\"}]}}");
    assert_int_equal(cloudstack_list(s->cs, "listHosts", NULL, &items, &s->err), 0);
    assert_int_equal(json_array_size(items), 3);
    assert_true(body_has(s, 0, "page=1&pagesize=500"));
    assert_true(body_has(s, 1, "page=2&pagesize=500"));
    assert_false(body_has(s, 0, "listall"));
}

static void
test_empty_list_is_an_empty_array(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *items = NULL;

    say(s, 200, "{\"listvolumesresponse\":{}}");
    assert_int_equal(cloudstack_list(s->cs, "listVolumes", NULL, &items, &s->err), 0);
    assert_int_equal(json_array_size(items), 0);
    assert_true(body_has(s, 0, "listall=true"));
}

static void
test_list_takes_the_servers_smaller_page_size(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *items = NULL;

    say(s, 431,
        "{\"r\":{\"errorcode\":431,\"errortext\":\"The parameter pagesize exceeded its max value - "
        "2\"}}");
    say(s, 200, "{\"r\":{\"count\":3,\"host\":[{\"id\":\"1\"},{\"id\":\"2\"}]}}");
    say(s, 200, "{\"r\":{\"count\":3,\"host\":[{\"id\":\"3\"}]}}");
    assert_int_equal(cloudstack_list(s->cs, "listHosts", NULL, &items, &s->err), 0);
    assert_int_equal(json_array_size(items), 3);
    assert_true(body_has(s, 2, "page=2&pagesize=2"));
}

static void
test_server_that_ignores_pages_is_not_asked_for_ever(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *items = NULL;

    s->cs->max_page_size = 1;
    say(s, 200, "{\"r\":{\"count\":9,\"host\":[{\"id\":\"1\"}]}}");
    say(s, 200, "{\"r\":{\"count\":9,\"host\":[{\"id\":\"1\"}]}}");
    assert_int_equal(cloudstack_list(s->cs, "listHosts", NULL, &items, &s->err), 0);
    assert_int_equal(json_array_size(items), 1);
    assert_int_equal(s->used, 2);
}

/* ---- jobs ------------------------------------------------------------------------------------- */

static void
test_job_wait_returns_the_result(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *result = NULL;

    say(s, 200, "{\"r\":{\"jobstatus\":0}}");
    say(s, 0, "");
    say(s, 200, "{\"r\":{\"jobstatus\":1,\"jobresult\":{\"virtualmachine\":{\"id\":\"v9\"}}}}");
    assert_int_equal(cloudstack_job_wait(s->cs, "j1", 20000, &result, &s->err), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(result, "virtualmachine"), "id")), "v9");
    assert_true(body_has(s, 0, "jobid=j1"));
}

static void
test_failed_job_gives_its_text(void **state)
{
    struct script *s = *state;
    json_t *result = NULL;

    say(s, 200,
        "{\"r\":{\"jobstatus\":2,\"jobresultcode\":530,\"jobresult\":{\"errorcode\":530,"
        "\"errortext\":\"Disk not found or is invalid\"}}}");
    assert_int_equal(cloudstack_job_wait(s->cs, "j1", 20000, &result, &s->err), -1);
    expect_error(s, E_CS_JOB, "Disk not found or is invalid (error 530)");
    assert_null(result);
}

static void
test_job_that_never_ends_times_out(void **state)
{
    struct script *s = *state;
    json_t *result = NULL;

    for (int i = 0; i < 30; i++)
        say(s, 200, "{\"r\":{\"jobstatus\":0}}");
    s->cs->poll_ms = 100000;
    assert_int_equal(cloudstack_job_wait(s->cs, "j1", 20, &result, &s->err), -1);
    expect_error(s, E_TIMEOUT, "has not ended");
}

static void
test_job_without_status_is_an_error(void **state)
{
    struct script *s = *state;
    struct cloudstack_job job = {0};

    say(s, 200, "{\"r\":{\"jobstatus\":7}}");
    assert_int_equal(cloudstack_job_query(s->cs, "j1", &job, &s->err), -1);
    expect_error(s, E_CS_PROTOCOL, "no status");
}

static void
test_settle_waits_for_jobs_of_that_command_twice(void **state)
{
    struct script *s = *state;

    say(s, 200,
        "{\"r\":{\"count\":1,\"asyncjobs\":[{\"jobstatus\":0,\"cmd\":"
        "\"org.apache.cloudstack.api.command.admin.vm.AddNicToVMCmdByAdmin\"}]}}");
    say(s, 200,
        "{\"r\":{\"count\":2,\"asyncjobs\":[{\"jobstatus\":1,\"cmd\":\"x.AddNicToVMCmd\"},"
        "{\"jobstatus\":0,\"cmd\":\"x.ImportVmCmd\"}]}}");
    say(s, 200, "{\"r\":{}}");
    assert_int_equal(cloudstack_settle(s->cs, "addNicToVirtualMachine", 20000, &s->err), 0);
    assert_int_equal(s->used, 3);
    assert_false(body_has(s, 0, "listall"));
}

static void
test_settle_ends_in_time(void **state)
{
    struct script *s = *state;

    for (int i = 0; i < 30; i++)
        say(s, 200,
            "{\"r\":{\"count\":1,\"asyncjobs\":[{\"jobstatus\":0,\"cmd\":\"a.ImportVmCmd\"}]}}");
    s->cs->poll_ms = 20;
    assert_int_equal(cloudstack_settle(s->cs, "importVm", 30, &s->err), -1);
    expect_error(s, E_TIMEOUT, "still has a pending job of importVm");
}

static void
test_settle_does_not_hide_a_refusal(void **state)
{
    struct script *s = *state;

    say(s, 401, "{\"r\":{\"errorcode\":401,\"errortext\":\"no\"}}");
    assert_int_equal(cloudstack_settle(s->cs, "importVm", 20000, &s->err), -1);
    expect_error(s, E_CS_AUTH, "no");
}

/* ---- what the server can do ------------------------------------------------------------------- */

#define API_WITH(params)                                                                           \
    "{\"listapisresponse\":{\"count\":1,\"api\":[{\"name\":\"importVm\",\"params\":[" params "]}]" \
    "}}"

static void
test_has_param_asks_once(void **state)
{
    struct script *s = *state;
    bool has = false;

    say(s, 200, API_WITH("{\"name\":\"osid\"},{\"name\":\"name\"}"));
    assert_int_equal(cloudstack_has_param(s->cs, "importVm", "osid", &has, &s->err), 0);
    assert_true(has);
    assert_int_equal(cloudstack_has_param(s->cs, "importvm", "macaddress", &has, &s->err), 0);
    assert_false(has);
    assert_int_equal(s->used, 1);
    assert_false(body_has(s, 0, "pagesize"));
}

static void
test_unknown_command_has_no_params(void **state)
{
    struct script *s = *state;
    bool has = true;

    say(s, 530, "{\"r\":{\"errorcode\":530,\"errortext\":\"unable to find an api by that name\"}}");
    assert_int_equal(cloudstack_has_param(s->cs, "startVmwareCbtMigration", "x", &has, &s->err), 0);
    assert_false(has);
}

static void
test_has_param_does_not_guess_after_a_401(void **state)
{
    struct script *s = *state;
    bool has = true;

    say(s, 401, "{\"r\":{\"errorcode\":401,\"errortext\":\"no\"}}");
    assert_int_equal(cloudstack_has_param(s->cs, "importVm", "osid", &has, &s->err), -1);
    assert_int_equal(err_code(s->err), E_CS_AUTH);
    assert_true(has);
}

/* ---- import ----------------------------------------------------------------------------------- */

static struct cloudstack_import_vm
plain_import(const struct cloudstack_params *details)
{
    return (struct cloudstack_import_vm){
        .name = "web01",
        .display_name = "Web 01",
        .zone_id = "z",
        .cluster_id = "c",
        .storage_id = "p",
        .disk_path = "d.qcow2",
        .network_id = "n",
        .service_offering_id = "o",
        .os_type_id = "os",
        .mac = "00:50:56:00:00:01",
        .details = details,
    };
}

static void
test_import_sends_what_the_server_knows(void **state)
{
    struct script *s = *state;
    struct cloudstack_import_vm import;
    CLEANUP(free_charp) char *job = NULL;

    params_add(&s->params, "rootDiskController", "virtio");
    params_add(&s->params, "cpuNumber", "2");
    import = plain_import(&s->params);
    say(s, 200, API_WITH("{\"name\":\"osid\"},{\"name\":\"macaddress\"}"));
    say(s, 200, "{\"importvmresponse\":{\"jobid\":\"j7\"}}");
    assert_int_equal(cloudstack_import_vm(s->cs, &import, &job, &s->err), 0);
    assert_string_equal(job, "j7");
    assert_true(body_has(s, 1,
                         "command=importVm&details%5B0%5D.cpuNumber=2"
                         "&details%5B0%5D.rootDiskController=virtio&diskpath=d.qcow2"
                         "&displayname=Web%2001&expires="));
    assert_true(body_has(s, 1,
                         "&hypervisor=KVM&importsource=shared&macaddress=00%3A50%3A56%3A00"
                         "%3A00%3A01&name=web01&networkid=n&osid=os&response=json"
                         "&serviceofferingid=o&signatureversion=3&storageid=p&zoneid=z"
                         "&signature="));
}

static void
test_import_leaves_out_what_the_server_does_not_know(void **state)
{
    struct script *s = *state;
    struct cloudstack_import_vm import = plain_import(NULL);
    CLEANUP(free_charp) char *job = NULL;

    say(s, 200, API_WITH("{\"name\":\"name\"}"));
    say(s, 200, "{\"importvmresponse\":{\"jobid\":\"j7\"}}");
    assert_int_equal(cloudstack_import_vm(s->cs, &import, &job, &s->err), 0);
    assert_false(body_has(s, 1, "macaddress"));
    assert_false(body_has(s, 1, "osid"));
}

static void
test_import_volume_sends_no_zone_that_the_server_does_not_take(void **state)
{
    struct script *s = *state;
    CLEANUP(free_charp) char *job = NULL;

    say(s, 200, API_WITH("{\"name\":\"path\"}"));
    say(s, 200, "{\"importvolumeresponse\":{\"jobid\":\"j8\"}}");
    assert_int_equal(cloudstack_import_volume(s->cs, "data", "zone-1", "p", "d2.qcow2", "do",
                                              "acct", "dom", NULL, &job, &s->err),
                     0);
    assert_true(body_has(s, 1, "account=acct"));
    assert_true(body_has(s, 1, "diskofferingid=do"));
    assert_false(body_has(s, 1, "zone"));
}

static void
test_deploy_names_the_vm_its_nics_and_its_firmware(void **state)
{
    struct script *s = *state;
    const struct cloudstack_nic nics[] = {{"n1", "00:50:56:00:00:01", "10.1.1.7"},
                                          {"n2", NULL, NULL}};
    const struct cloudstack_deploy_vm deploy = {.id = "own",
                                                .name = "web01",
                                                .zone_id = "z",
                                                .service_offering_id = "so",
                                                .template_id = "t",
                                                .uefi_mode = "SECURE",
                                                .project_id = "pr",
                                                .nics = nics,
                                                .nic_count = 2,
                                                .details = &s->params};
    CLEANUP(free_charp) char *job = NULL;

    params_add(&s->params, "nicAdapter", "virtio");
    say(s, 200, "{\"deployvirtualmachineresponse\":{\"id\":\"own\",\"jobid\":\"j9\"}}");
    assert_int_equal(cloudstack_deploy_vm(s->cs, &deploy, &job, &s->err), 0);
    assert_string_equal(job, "j9");
    assert_true(body_has(s, 0,
                         "bootmode=Secure&boottype=UEFI&command=deployVirtualMachine&customid=own&"
                         "details%5B0%5D.nicAdapter=virtio"));
    assert_true(
        body_has(s, 0,
                 "iptonetworklist%5B0%5D.ip=10.1.1.7&iptonetworklist%5B0%5D.mac=00%3A50%3A56"
                 "%3A00%3A00%3A01&iptonetworklist%5B0%5D.networkid=n1&"
                 "iptonetworklist%5B1%5D.networkid=n2&"));
    assert_true(body_has(s, 0, "&startvm=false&templateid=t&zoneid=z"));
}

static void
test_a_device_id_is_sent_when_it_is_chosen(void **state)
{
    struct script *s = *state;
    CLEANUP(free_charp) char *root = NULL, *any = NULL;

    say(s, 200, "{\"attachvolumeresponse\":{\"jobid\":\"j1\"}}");
    say(s, 200, "{\"attachvolumeresponse\":{\"jobid\":\"j2\"}}");
    assert_int_equal(cloudstack_attach_volume(s->cs, "vol", "vm", 0, &root, &s->err), 0);
    assert_int_equal(cloudstack_attach_volume(s->cs, "vol", "vm", -1, &any, &s->err), 0);
    assert_true(body_has(s, 0, "deviceid=0&"));
    assert_false(body_has(s, 1, "deviceid"));
}

static void
test_tags_of_several_things_are_one_call(void **state)
{
    struct script *s = *state;
    CLEANUP(free_charp) char *job = NULL;

    params_add(&s->params, "v2c-migration", "web01_vm-1");
    say(s, 200, "{\"createtagsresponse\":{\"jobid\":\"j1\"}}");
    assert_int_equal(cloudstack_create_tags(s->cs, "Volume", "a,b", &s->params, &job, &s->err), 0);
    assert_true(body_has(s, 0,
                         "resourceids=a%2Cb&resourcetype=Volume&response=json&signatureversion=3&"
                         "tags%5B0%5D.key=v2c-migration&tags%5B0%5D.value=web01_vm-1"));
}

static void
test_update_merges_with_the_details_that_are_there(void **state)
{
    struct script *s = *state;

    params_add(&s->params, "rootDiskController", "scsi");
    say(s, 200,
        "{\"r\":{\"count\":1,\"virtualmachine\":[{\"id\":\"v1\",\"details\":{\"UEFI\":\"LEGACY\","
        "\"rootDiskController\":\"ide\",\"bad&key\":\"x\"}}]}}");
    say(s, 200, "{\"updatevirtualmachineresponse\":{\"virtualmachine\":{\"id\":\"v1\"}}}");
    assert_int_equal(cloudstack_update_vm(s->cs, "v1", "os9", &s->params, &s->err), 0);
    assert_true(
        body_has(s, 1, "details%5B0%5D.UEFI=LEGACY&details%5B0%5D.rootDiskController=scsi"));
    assert_true(body_has(s, 1, "ostypeid=os9"));
    assert_false(body_has(s, 1, "bad"));
}

static void
test_update_of_nothing_calls_nothing(void **state)
{
    struct script *s = *state;

    assert_int_equal(cloudstack_update_vm(s->cs, "v1", NULL, NULL, &s->err), 0);
    assert_int_equal(s->used, 0);
}

static void
test_update_of_a_missing_vm_is_not_found(void **state)
{
    struct script *s = *state;

    params_add(&s->params, "UEFI", "LEGACY");
    say(s, 200, "{\"r\":{}}");
    say(s, 200, "{\"r\":{}}");
    assert_int_equal(cloudstack_update_vm(s->cs, "v1", NULL, &s->params, &s->err), -1);
    expect_error(s, E_CS_NOT_FOUND, "no VM v1");
}

/* ---- finding ---------------------------------------------------------------------------------- */

static void
test_vm_is_found_by_the_path_of_its_root(void **state)
{
    struct script *s = *state;
    CLEANUP(free_charp) char *vm = NULL;

    say(s, 200,
        "{\"r\":{\"count\":2,\"volume\":[{\"id\":\"a\",\"path\":\"other\"},{\"id\":\"b\","
        "\"path\":\"/mnt/p/d.qcow2\",\"virtualmachineid\":\"v5\"}]}}");
    assert_int_equal(cloudstack_find_vm_by_path(s->cs, "p", "d.qcow2", &vm, &s->err), 0);
    assert_string_equal(vm, "v5");
    assert_true(body_has(s, 0, "storageid=p"));
    assert_true(body_has(s, 0, "type=ROOT"));
}

static void
test_volume_of_a_project_is_found_in_the_second_pass(void **state)
{
    struct script *s = *state;
    CLEANUP(json_freep) json_t *volume = NULL;

    say(s, 200, "{\"r\":{}}");
    say(s, 200, "{\"r\":{\"count\":1,\"volume\":[{\"id\":\"b\",\"path\":\"d.qcow2\"}]}}");
    assert_int_equal(cloudstack_find_volume_by_path(s->cs, "p", "d.qcow2", &volume, &s->err), 0);
    assert_non_null(volume);
    assert_true(body_has(s, 1, "projectid=-1"));
}

static void
test_what_is_not_there_is_null_and_no_error(void **state)
{
    struct script *s = *state;
    char *vm = (char *)"untouched";
    json_t *found = NULL;

    say(s, 200, "{\"r\":{}}");
    say(s, 200, "{\"r\":{}}");
    assert_int_equal(cloudstack_find_vm_by_path(s->cs, "p", "d.qcow2", &vm, &s->err), 0);
    assert_null(vm);
    for (int i = 0; i < 2; i++)
        say(s, 431,
            "{\"r\":{\"errorcode\":431,\"errortext\":\"Invalid parameter id value=v1 due to "
            "incorrect long value format, or entity does not exist\"}}");
    assert_int_equal(cloudstack_get_vm(s->cs, "v1", &found, &s->err), 0);
    assert_null(found);
}

static void
test_importable_file_that_the_server_does_not_see_is_null(void **state)
{
    struct script *s = *state;
    json_t *found = NULL;

    say(s, 530, "{\"r\":{\"errorcode\":530,\"errortext\":\"Cannot get volumes\"}}");
    say(s, 200, "{\"r\":{\"count\":1,\"volumesforimport\":[{\"path\":\"d.qcow2.old\"}]}}");
    assert_int_equal(cloudstack_find_importable(s->cs, "p", "d.qcow2", &found, &s->err), 0);
    assert_null(found);
}

static void
test_importable_file_with_a_fault_is_an_error(void **state)
{
    struct script *s = *state;
    json_t *found = NULL;

    say(s, 530, "{\"r\":{\"errorcode\":530,\"errortext\":\"disk format VMDK is unsupported\"}}");
    say(s, 200, "{\"r\":{\"count\":1,\"volumesforimport\":[{\"path\":\"d.qcow2\"}]}}");
    assert_int_equal(cloudstack_find_importable(s->cs, "p", "d.qcow2", &found, &s->err), -1);
    expect_error(s, E_CS_API, "VMDK is unsupported");
}

static void
test_get_of_an_unknown_id_is_not_found(void **state)
{
    struct script *s = *state;
    json_t *pool = NULL;

    say(s, 200, "{\"r\":{}}");
    assert_int_equal(cloudstack_get_pool(s->cs, "p1", &pool, &s->err), -1);
    expect_error(s, E_CS_NOT_FOUND, "knows no id p1");
    assert_non_null(err_hint_text(s->err));
}

int
main(void)
{
#define BARE(name) cmocka_unit_test_setup_teardown(name, setup_bare, teardown)
#define T(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        BARE(test_connect_learns_the_version),
        BARE(test_capabilities_and_clock_are_kept),
        BARE(test_detail_options_are_a_map_of_words),
        BARE(test_wrong_key_is_auth),
        BARE(test_clock_skew_is_named_on_401),
        BARE(test_html_is_no_cloudstack),
        BARE(test_redirection_is_a_wrong_endpoint),
        BARE(test_missing_keys_are_refused_before_any_call),
        T(test_error_envelope_carries_text_and_numbers),
        T(test_errorresponse_with_http_200_is_an_error),
        T(test_http_error_without_errorcode_is_an_error),
        T(test_secrets_in_error_texts_are_hidden),
        T(test_submit_without_job_id_is_an_error),
        T(test_two_top_level_keys_are_no_answer),
        T(test_reading_call_is_repeated_after_a_lost_answer),
        T(test_changing_call_is_never_repeated),
        T(test_cancel_ends_a_wait),
        T(test_list_goes_over_all_pages_whatever_the_array_is_called),
        T(test_empty_list_is_an_empty_array),
        T(test_list_takes_the_servers_smaller_page_size),
        T(test_server_that_ignores_pages_is_not_asked_for_ever),
        T(test_job_wait_returns_the_result),
        T(test_failed_job_gives_its_text),
        T(test_job_that_never_ends_times_out),
        T(test_job_without_status_is_an_error),
        T(test_settle_waits_for_jobs_of_that_command_twice),
        T(test_settle_ends_in_time),
        T(test_settle_does_not_hide_a_refusal),
        T(test_has_param_asks_once),
        T(test_unknown_command_has_no_params),
        T(test_has_param_does_not_guess_after_a_401),
        T(test_import_sends_what_the_server_knows),
        T(test_import_leaves_out_what_the_server_does_not_know),
        T(test_import_volume_sends_no_zone_that_the_server_does_not_take),
        T(test_deploy_names_the_vm_its_nics_and_its_firmware),
        T(test_a_device_id_is_sent_when_it_is_chosen),
        T(test_tags_of_several_things_are_one_call),
        T(test_update_merges_with_the_details_that_are_there),
        T(test_update_of_nothing_calls_nothing),
        T(test_update_of_a_missing_vm_is_not_found),
        T(test_vm_is_found_by_the_path_of_its_root),
        T(test_volume_of_a_project_is_found_in_the_second_pass),
        T(test_what_is_not_there_is_null_and_no_error),
        T(test_importable_file_that_the_server_does_not_see_is_null),
        T(test_importable_file_with_a_fault_is_an_error),
        T(test_get_of_an_unknown_id_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
