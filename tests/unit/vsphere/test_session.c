#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "vcenter.h"
#include "vsphere/fault.h"
#include "vsphere/xml.h"

#define POWER_ON                                                                                   \
    "<returnval><objects><obj type=\"VirtualMachine\">vm-62</obj><propSet>"                        \
    "<name>runtime.powerState</name><val xsi:type=\"VirtualMachinePowerState\">poweredOn</val>"    \
    "</propSet></objects></returnval>"

static int
connect_as(struct vcenter *vcenter, const char *host, const char *password, const char *thumbprint,
           struct err **err)
{
    const struct vsphere_options options = {.host = host ? host : vcenter_host(vcenter),
                                            .user = "o'brien&co@vsphere.local",
                                            .password = password ? password : "p<&>\xc3\xa4",
                                            .trust = {.thumbprint = thumbprint},
                                            .timeout_ms = 10000};
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;

    return vsphere_connect(&options, &vsphere, err);
}

static void
the_newest_known_version_is_spoken_and_the_session_ended(void **state)
{
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(NULL);
    CLEANUP(err_freep) struct err *err = NULL;
    struct vsphere *vsphere = vcenter_connect(vcenter, NULL);
    char sha1[60];

    assert_string_equal(vsphere_server_name(vsphere), "VMware vCenter Server 8.0.2 build-1");
    /* 9.0 is beyond what we know; 8.0.10 is newer than 8.0.2. */
    assert_string_equal(vcenter_last_action(vcenter), "SOAPAction: \"urn:vim25/8.0.10.1\"");
    assert_ok(vsphere_thumbprint(vsphere, sha1, &err), &err);
    assert_string_equal(sha1, vcenter_thumbprint(vcenter));
    vsphere_free(vsphere);
    assert_contains(vcenter_last_request(vcenter), "<Logout ");
    vcenter_check(vcenter);
}

static void
a_server_without_versions_is_spoken_to_as_an_old_one(void **state)
{
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(NULL);

    vcenter_set_versions(vcenter, NULL);
    vsphere_free(vcenter_connect(vcenter, NULL));
    assert_string_equal(vcenter_last_action(vcenter), "SOAPAction: \"urn:vim25/6.5\"");
    vcenter_set_versions(vcenter, "<html>no such page</html>");
    vsphere_free(vcenter_connect(vcenter, NULL));
    assert_string_equal(vcenter_last_action(vcenter), "SOAPAction: \"urn:vim25/6.5\"");
}

static void
a_refused_password_is_tried_once(void **state)
{
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(NULL);
    CLEANUP(err_freep) struct err *err = NULL;

    vcenter_set_login_fault(vcenter, "InvalidLogin");
    assert_int_equal(connect_as(vcenter, NULL, NULL, vcenter_thumbprint(vcenter), &err), -1);
    assert_contains(err_hint_text(err), "vcenter.password");
    assert_err_says(&err, E_VSPHERE_LOGIN, "InvalidLogin");
    assert_int_equal(vcenter_logins(vcenter), 1);
}

static void
an_untrusted_certificate_gets_no_password(void **state)
{
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(NULL);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(connect_as(vcenter, NULL, NULL, NULL, &err), -1);
    assert_contains(err_hint_text(err), "vcenter.thumbprint: \"");
    assert_err(&err, E_TLS_UNTRUSTED);
    assert_int_equal(vcenter_logins(vcenter), 0);
}

static void
wrong_hosts_and_passwords_are_config_errors(void **state)
{
    static const char *const hosts[] = {"",       "a b",  "user@host",  "host:",   "host:0",
                                        "host:x", "[::1", "host:70000", "https://"};
    CLEANUP(err_freep) struct err *err = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        assert_int_equal(connect_as(NULL, hosts[i], NULL, NULL, &err), -1);
        assert_err_says(&err, E_CONFIG, "vcenter.host");
    }
    assert_int_equal(connect_as(NULL, "host", "\x01", NULL, &err), -1);
    assert_err_says(&err, E_CONFIG, "vcenter.password");
    assert_int_equal(connect_as(NULL, "host", NULL, "12", &err), -1);
    assert_err_says(&err, E_CONFIG, "vcenter.thumbprint");
}

static void
a_pasted_url_is_understood(void **state)
{
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(NULL);
    CLEANUP(err_freep) struct err *err = NULL;
    char url[64];

    snprintf(url, sizeof(url), "https://%s/sdk", vcenter_host(vcenter));
    assert_ok(connect_as(vcenter, url, NULL, vcenter_thumbprint(vcenter), &err), &err);
}

static void
an_expired_session_is_renewed_and_the_call_repeated_once(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .fault = "NotAuthenticated",
         .text = "The session is not authenticated.",
         .answer = "<object type=\"Folder\">group-d1</object><privilegeId>System.View"
                   "</privilegeId>"},
        {.method = "RetrievePropertiesEx", .answer = POWER_ON},
        {NULL}};
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(steps);
    CLEANUP(vsphere_freep) struct vsphere *vsphere = vcenter_connect(vcenter, NULL);
    CLEANUP(err_freep) struct err *err = NULL;
    enum vsphere_power power = VSPHERE_SUSPENDED;

    assert_ok(vsphere_power_state(vsphere, "vm-62", &power, &err), &err);
    assert_int_equal(power, VSPHERE_POWERED_ON);
    assert_int_equal(vcenter_logins(vcenter), 2);
    vcenter_check(vcenter);
}

static void
a_session_that_cannot_be_kept_is_an_error_not_a_loop(void **state)
{
    static const struct step steps[] = {
        {.method = "CurrentTime", .fault = "NotAuthenticated", .is_repeated = true}, {NULL}};
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(steps);
    CLEANUP(vsphere_freep) struct vsphere *vsphere = vcenter_connect(vcenter, NULL);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(vsphere_keep_alive(vsphere, &err), -1);
    assert_err_says(&err, E_VSPHERE_SESSION, "NotAuthenticated");
    assert_int_equal(vcenter_logins(vcenter), 2);
    assert_int_equal(vcenter_calls(vcenter), 2);
}

static void
a_password_refused_at_renewal_is_never_tried_again(void **state)
{
    static const struct step steps[] = {{.method = "CurrentTime", .fault = "NotAuthenticated"},
                                        {NULL}};
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(steps);
    CLEANUP(vsphere_freep) struct vsphere *vsphere = vcenter_connect(vcenter, NULL);
    CLEANUP(err_freep) struct err *err = NULL;

    vcenter_set_login_fault(vcenter, "InvalidLogin");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vsphere_keep_alive(vsphere, &err), -1);
        assert_err(&err, E_VSPHERE_LOGIN);
    }
    assert_int_equal(vcenter_logins(vcenter), 2);
    vcenter_check(vcenter);
}

static void
fail_keep_alive(const struct step *step, enum err_code code, const char *says, const char *hints)
{
    const struct step steps[] = {*step, {NULL}};
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(steps);
    CLEANUP(vsphere_freep) struct vsphere *vsphere = vcenter_connect(vcenter, NULL);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(vsphere_keep_alive(vsphere, &err), -1);
    if (hints)
        assert_contains(err_hint_text(err), hints);
    assert_err_says(&err, code, says);
    vcenter_check(vcenter);
}

static void
faults_become_our_codes(void **state)
{
    static const struct {
        const char *fault, *fields;
        enum err_code code;
        const char *says, *hints;
    } cases[] = {
        {"NoPermission",
         "<object type=\"VirtualMachine\">vm-62</object>"
         "<privilegeId>VirtualMachine.State.CreateSnapshot</privilegeId>",
         E_VSPHERE_PRIVILEGE, "VirtualMachine.State.CreateSnapshot on vm-62",
         "VirtualMachine.State.CreateSnapshot"},
        {"ManagedObjectNotFound", "<obj type=\"VirtualMachine\">vm-1</obj>", E_VSPHERE_NOT_FOUND,
         "ManagedObjectNotFound", NULL},
        {"TaskInProgress", "<task type=\"Task\">task-1</task>", E_VSPHERE_BUSY, "TaskInProgress",
         "another task"},
        {"InvalidPowerState", "<existingState>poweredOff</existingState>", E_VSPHERE_STATE,
         "InvalidPowerState", NULL},
        {"ToolsUnavailable", NULL, E_VSPHERE_TOOLS, "ToolsUnavailable", "VMware Tools"},
        {"ApplicationQuiesceFault", NULL, E_VSPHERE_QUIESCE, "Application", NULL},
        {"TooManySnapshotLevels", NULL, E_VSPHERE_SNAPSHOT, "TooMany", "delete old snapshots"},
        {"HostNotConnected", NULL, E_VSPHERE_HOST, "HostNotConnected", NULL},
        {"Timedout", NULL, E_TIMEOUT, "Timedout", NULL},
        {"GenericVmConfigFault", "<reason>msg.disk.full</reason>", E_VSPHERE_FAULT, "msg.disk.full",
         NULL},
        {"FluxCapacitorFault", NULL, E_VSPHERE_FAULT,
         "the server's own words &amp; more (FluxCapacitorFault)", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        fail_keep_alive(&(struct step){.method = "CurrentTime",
                                       .fault = cases[i].fault,
                                       .answer = cases[i].fields,
                                       .text = "the server's own words &amp;amp; more"},
                        cases[i].code, cases[i].says, cases[i].hints);
}

static void
a_fault_without_xsi_type_is_named_by_its_element(void **state)
{
    fail_keep_alive(
        &(struct step){.method = "CurrentTime",
                       .status = 500,
                       .answer = "<?xml version=\"1.0\"?><E:Envelope xmlns:E=\"http://schemas."
                                 "xmlsoap.org/soap/envelope/\"><E:Body><E:Fault><faultcode>x"
                                 "</faultcode><faultstring/><detail><HostNotReachableFault "
                                 "xmlns=\"urn:vim25\"/></detail></E:Fault></E:Body></E:Envelope>"},
        E_VSPHERE_HOST, "(HostNotReachable)", NULL);
}

static void
other_statuses_and_nonsense_are_told_apart(void **state)
{
    fail_keep_alive(
        &(struct step){.method = "CurrentTime", .status = 503, .answer = "<?xml no, really"},
        E_HTTP_STATUS, "503", "starting");
    fail_keep_alive(&(struct step){.method = "CurrentTime", .answer = "<?xml version='1.0'?><a/>"},
                    E_VSPHERE_PROTOCOL, "no SOAP envelope", NULL);
    fail_keep_alive(&(struct step){.method = "CurrentTime", .answer = "<?xml nonsense"},
                    E_VSPHERE_PROTOCOL, "no XML", NULL);
    fail_keep_alive(&(struct step){.method = "CurrentTime",
                                   .answer = "<?xml version='1.0'?><Envelope><Body><Other/></Body>"
                                             "</Envelope>"},
                    E_VSPHERE_PROTOCOL, "is a <Other>", NULL);
}

static void
cancel_ends_a_call_but_the_session_is_still_closed(void **state)
{
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(NULL);
    CLEANUP(err_freep) struct err *err = NULL;
    volatile int cancel = 0;
    struct vsphere *vsphere = vcenter_connect(vcenter, &cancel);

    cancel = 1;
    assert_int_equal(vsphere_keep_alive(vsphere, &err), -1);
    assert_err(&err, E_CANCELLED);
    vsphere_free(vsphere);
    assert_contains(vcenter_last_request(vcenter), "<Logout ");
}

static void
hosts_are_split_as_people_write_them(void **state)
{
    static const struct {
        const char *text, *for_url, *plain;
        unsigned port;
    } cases[] = {
        {"vcenter", "vcenter", "vcenter", 443},
        {"vcenter:8443", "vcenter", "vcenter", 8443},
        {"https://vcenter.example/sdk", "vcenter.example", "vcenter.example", 443},
        {"::1", "[::1]", "::1", 443},
        {"[::1]", "[::1]", "::1", 443},
        {"[::1]:8443", "[::1]", "::1", 8443},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp) char *for_url = NULL, *plain = NULL;
        struct err *err = NULL;
        unsigned port = 0;

        assert_ok(vsphere_split_host(cases[i].text, true, &for_url, &port, &err), &err);
        assert_string_equal(for_url, cases[i].for_url);
        assert_ok(vsphere_split_host(cases[i].text, false, &plain, &port, &err), &err);
        assert_string_equal(plain, cases[i].plain);
        assert_int_equal(port, cases[i].port);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_split_as_people_write_them),
        cmocka_unit_test(the_newest_known_version_is_spoken_and_the_session_ended),
        cmocka_unit_test(a_server_without_versions_is_spoken_to_as_an_old_one),
        cmocka_unit_test(a_refused_password_is_tried_once),
        cmocka_unit_test(an_untrusted_certificate_gets_no_password),
        cmocka_unit_test(wrong_hosts_and_passwords_are_config_errors),
        cmocka_unit_test(a_pasted_url_is_understood),
        cmocka_unit_test(an_expired_session_is_renewed_and_the_call_repeated_once),
        cmocka_unit_test(a_session_that_cannot_be_kept_is_an_error_not_a_loop),
        cmocka_unit_test(a_password_refused_at_renewal_is_never_tried_again),
        cmocka_unit_test(faults_become_our_codes),
        cmocka_unit_test(a_fault_without_xsi_type_is_named_by_its_element),
        cmocka_unit_test(other_statuses_and_nonsense_are_told_apart),
        cmocka_unit_test(cancel_ends_a_call_but_the_session_is_still_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
