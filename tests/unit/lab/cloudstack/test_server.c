/* The pretend CloudStack as a server: VMs through their life, lists, faults, the ways in. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

static int
setup(void **state)
{
    *state = fixture_new(NULL);
    return 0;
}

static int
teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

static char *
make_vm(struct fixture *f)
{
    char *id;

    make_disk(f, "root.qcow2");
    id = import_vm(f, "web01", "root.qcow2");
    assert_non_null(id);
    return id;
}

static void
attach_data(struct fixture *f, const char *vm)
{
    CLEANUP(json_freep) json_t *volume = NULL, *attached = NULL;

    make_disk(f, "data.qcow2");
    volume = job(f, "importVolume", "storageid", POOL, "path", "data.qcow2", NULL);
    attached = job(f, "attachVolume", "id", cs_text(json_object_get(volume, "volume"), "id"),
                   "virtualmachineid", vm, NULL);
    assert_non_null(attached);
}

/* ---- VMs -------------------------------------------------------------------------------------- */

static void
test_start_boots_root_then_data_with_macs_and_details(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f), *job_id = NULL;
    CLEANUP(json_freep) json_t *nic = NULL, *result = NULL, *told = NULL;
    struct cloudstack_param items[] = {{"rootDiskController", "scsi"}, {"UEFI", "LEGACY"}};
    struct cloudstack_params details = {items, 2, 2};
    const json_t *shown;

    attach_data(f, vm);
    nic = job(f, "addNicToVirtualMachine", "virtualmachineid", vm, "networkid", L2, "macaddress",
              "00:50:56:00:00:02", NULL);
    assert_non_null(nic);
    assert_int_equal(cloudstack_update_vm(f->cs, vm, DEBIAN, &details, &f->err), 0);
    assert_int_equal(cloudstack_start_vm(f->cs, vm, &job_id, &f->err), 0);
    assert_int_equal(cloudstack_job_wait(f->cs, job_id, 30000, &result, &f->err), 0);
    assert_string_equal(cs_text(json_object_get(result, "virtualmachine"), "state"), "Running");
    assert_int_equal(seen_boot.disk_count, 2);
    assert_non_null(strstr(seen_boot.disks[0], "/primary/root.qcow2"));
    assert_non_null(strstr(seen_boot.disks[1], "/primary/data.qcow2"));
    assert_int_equal(seen_boot.nic_count, 2);
    assert_string_equal(seen_boot.macs[1], "00:50:56:00:00:02");
    assert_string_equal(seen_boot.controller, "scsi");
    assert_string_equal(seen_boot.adapter, "virtio");
    assert_true(seen_boot.is_uefi);
    told = lab_cloudstack_state(&f->lab);
    shown = json_array_get(json_object_get(told, "vms"), 0);
    assert_true(json_integer_value(json_object_get(shown, "started_at_ms")) > 0);
    assert_int_equal(json_array_size(json_object_get(shown, "volumes")), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(shown, "boot"), "files")),
                     3);
}

static void
test_without_details_the_old_default_os_gets_ide(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *result = job(f, "startVirtualMachine", "id", vm, NULL);

    assert_non_null(result);
    assert_string_equal(seen_boot.controller, "ide");
    assert_string_equal(seen_boot.adapter, "e1000");
    assert_false(seen_boot.is_uefi);
}

static void
test_running_vm_is_not_started_again(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *first = job(f, "startVirtualMachine", "id", vm, NULL);

    assert_non_null(first);
    assert_null(job(f, "startVirtualMachine", "id", vm, NULL));
    expect_error(f, E_CS_JOB, "is already running");
    assert_int_equal(seen_boot.starts, 1);
}

static void
test_guest_that_ends_is_stopped(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *first = job(f, "startVirtualMachine", "id", vm, NULL), *now = NULL;

    assert_non_null(first);
    seen_boot.has_ended = true;
    assert_int_equal(cloudstack_get_vm(f->cs, vm, &now, &f->err), 0);
    assert_string_equal(cs_text(now, "state"), "Stopped");
}

static void
test_failed_boot_fails_the_job(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *now = NULL;

    seen_boot.must_fail = true;
    assert_null(job(f, "startVirtualMachine", "id", vm, NULL));
    expect_error(f, E_CS_JOB, "no QEMU today");
    assert_int_equal(cloudstack_get_vm(f->cs, vm, &now, &f->err), 0);
    assert_string_equal(cs_text(now, "state"), "Stopped");
}

static void
test_boot_none_still_looks_at_the_disks(void **state)
{
    struct fixture *f = fixture_new("{\"boot\": \"none\"}");
    CLEANUP(free_charp) char *vm = make_vm(f);
    json_t *result = job(f, "startVirtualMachine", "id", vm, NULL);

    assert_non_null(result);
    json_decref(result);
    assert_int_equal(seen_boot.starts, 0);
    result = job(f, "stopVirtualMachine", "id", vm, NULL);
    assert_non_null(result);
    json_decref(result);
    assert_int_equal(unlink(pool_path(f, "root.qcow2")), 0);
    assert_null(job(f, "startVirtualMachine", "id", vm, NULL));
    expect_error(f, E_CS_JOB, "does not exist");
    fixture_free(f);
}

static void
test_expunge_deletes_the_root_file_and_lets_data_go(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *result = NULL, *data = NULL;

    attach_data(f, vm);
    result = job(f, "destroyVirtualMachine", "id", vm, "expunge", "true", NULL);
    assert_non_null(result);
    assert_int_equal(access(pool_path(f, "root.qcow2"), F_OK), -1);
    assert_int_equal(access(pool_path(f, "data.qcow2"), F_OK), 0);
    assert_int_equal(cloudstack_find_volume_by_path(f->cs, POOL, "data.qcow2", &data, NULL), 0);
    assert_non_null(data);
    assert_null(json_object_get(data, "virtualmachineid"));
}

static void
test_unmanaged_vm_keeps_its_files(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f), *again = NULL;
    CLEANUP(json_freep) json_t *result = job(f, "unmanageVirtualMachine", "id", vm, NULL);

    assert_non_null(result);
    assert_int_equal(access(pool_path(f, "root.qcow2"), F_OK), 0);
    again = import_vm(f, "web01", "root.qcow2");
    assert_non_null(again);
}

static void
test_details_replace_the_whole_set(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep)
    json_t *first =
        call(f, "updateVirtualMachine", "id", vm, "details[0].nicAdapter", "virtio", NULL);
    CLEANUP(json_freep)
    json_t *second = call(f, "updateVirtualMachine", "id", vm, "details[0].UEFI", "SECURE", NULL);
    const json_t *details = json_object_get(json_object_get(second, "virtualmachine"), "details");

    assert_int_equal(json_object_size(details), 1);
    assert_string_equal(cs_text(details, "UEFI"), "SECURE");
}

/* ---- NICs ------------------------------------------------------------------------------------- */

static void
test_second_nic_on_one_network_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);

    assert_null(
        job(f, "addNicToVirtualMachine", "virtualmachineid", vm, "networkid", ISOLATED, NULL));
    expect_error(f, E_CS_JOB, "A NIC already exists for VM:i-2-3-VM in network: " ISOLATED);
}

static void
test_invalid_mac_is_silently_replaced(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *result = NULL, *nics = NULL;
    const json_t *nic;

    result = job(f, "addNicToVirtualMachine", "virtualmachineid", vm, "networkid", L2, "macaddress",
                 "01:00:5e:00:00:01", NULL);
    assert_non_null(result);
    nics = call(f, "listNics", "virtualmachineid", vm, "networkid", L2, NULL);
    assert_int_equal(json_integer_value(json_object_get(nics, "count")), 1);
    nic = json_array_get(json_object_get(nics, "nic"), 0);
    assert_string_not_equal(cs_text(nic, "macaddress"), "01:00:5e:00:00:01");
    assert_true(cs_is_mac(cs_text(nic, "macaddress")));
}

static void
test_mac_that_is_taken_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f), *other = NULL;
    CLEANUP(json_freep) json_t *result = NULL;

    make_disk(f, "other.qcow2");
    other = import_vm(f, "web02", "other.qcow2");
    result = job(f, "addNicToVirtualMachine", "virtualmachineid", vm, "networkid", L2, "macaddress",
                 "00:50:56:00:00:09", NULL);
    assert_non_null(result);
    assert_null(job(f, "addNicToVirtualMachine", "virtualmachineid", other, "networkid", L2,
                    "macaddress", "00:50:56:00:00:09", NULL));
    expect_error(f, E_CS_JOB, "A NIC with this MAC address exists for network");
}

/* ---- lists and tags --------------------------------------------------------------------------- */

static void
test_client_reads_all_pages(void **state)
{
    struct fixture *f = fixture_new("{\"page_size\": 2}");
    CLEANUP(json_freep) json_t *items = NULL;

    assert_int_equal(cloudstack_list(f->cs, "listServiceOfferings", NULL, &items, &f->err), 0);
    assert_int_equal(json_array_size(items), 5);
    assert_int_equal(f->cs->max_page_size, 2);
    fixture_free(f);
}

static void
test_keyword_and_filters(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *os = call(f, "listOsTypes", "keyword", "debian", NULL);
    CLEANUP(json_freep) json_t *none = call(f, "listHosts", "type", "SecondaryStorageVM", NULL);
    CLEANUP(json_freep)
    json_t *kvm = call(f, "listClusters", "hypervisor", "KVM", "zoneid", ZONE, NULL);

    assert_int_equal(json_integer_value(json_object_get(os, "count")), 1);
    assert_null(json_object_get(json_array_get(json_object_get(os, "ostype"), 0), "_pv"));
    assert_int_equal(json_object_size(none), 0);
    assert_int_equal(json_integer_value(json_object_get(kvm, "count")), 1);
}

static void
test_page_without_size_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_null(call(f, "listZones", "page", "1", NULL));
    expect_error(f, E_CS_API, "pagesize");
}

static void
test_get_finds_by_id_or_says_so(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *pool = NULL, *none = NULL;

    assert_int_equal(cloudstack_get_pool(f->cs, POOL, &pool, &f->err), 0);
    assert_string_equal(cs_text(pool, "type"), "SharedMountPoint");
    assert_non_null(strstr(cs_text(pool, "path"), "/primary"));
    assert_int_equal(cloudstack_get(f->cs, "listZones", POOL, &none, &f->err), -1);
    expect_error(f, E_CS_NOT_FOUND, "entity does not exist");
}

static void
test_tags_mark_and_find(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = make_vm(f);
    CLEANUP(json_freep) json_t *made = NULL, *found = NULL, *none = NULL, *tags = NULL;

    made = job(f, "createTags", "resourceids", vm, "resourcetype", "UserVm", "tags[0].key",
               "migration-id", "tags[0].value", "m1", NULL);
    assert_non_null(made);
    found = call(f, "listVirtualMachines", "listall", "true", "tags[0].key", "migration-id",
                 "tags[0].value", "m1", NULL);
    assert_int_equal(json_integer_value(json_object_get(found, "count")), 1);
    none = call(f, "listVirtualMachines", "listall", "true", "tags[0].key", "migration-id",
                "tags[0].value", "m2", NULL);
    assert_int_equal(json_object_size(none), 0);
    tags = call(f, "listTags", "resourceid", vm, NULL);
    assert_int_equal(json_integer_value(json_object_get(tags, "count")), 1);
}

/* ---- faults ----------------------------------------------------------------------------------- */

static void
set_fault(const char *where, const char *action, const char *detail)
{
    memset(&next_fault, 0, sizeof(next_fault));
    (void)snprintf(next_fault.action, sizeof(next_fault.action), "%s", action);
    (void)snprintf(next_fault.detail, sizeof(next_fault.detail), "%s", detail);
    (void)snprintf(next_fault_where, sizeof(next_fault_where), "%s", where);
}

static void
test_fault_fails_with_its_text(void **state)
{
    struct fixture *f = *state;

    set_fault("cloudstack.startVirtualMachine", "fail", "out of luck");
    assert_null(call(f, "startVirtualMachine", "id", "x", NULL));
    expect_error(f, E_CS_API, "out of luck (error 530/4250)");
}

static void
test_dropped_call_is_not_done(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *id = NULL;

    make_disk(f, "root.qcow2");
    set_fault("cloudstack.importVm", "drop", "");
    assert_null(import_vm(f, "web01", "root.qcow2"));
    expect_error(f, E_NET, "importVm");
    id = import_vm(f, "web01", "root.qcow2");
    assert_non_null(id);
}

static void
test_answer_lost_after_the_deed_is_found_by_path(void **state)
{
    static const char *const PLACES[] = {"cloudstack.importVm", "cloudstack.importVm.after"};

    for (size_t i = 0; i < ARRAY_SIZE(PLACES); i++) {
        struct fixture *f = fixture_new("{\"job_ms\": 300}");
        CLEANUP(free_charp) char *id = NULL;

        make_disk(f, "root.qcow2");
        set_fault(PLACES[i], "drop_after", "");
        assert_null(import_vm(f, "web01", "root.qcow2"));
        expect_error(f, E_NET, "importVm");
        assert_int_equal(cloudstack_settle(f->cs, "importVm", 30000, &f->err), 0);
        assert_int_equal(cloudstack_find_vm_by_path(f->cs, POOL, "root.qcow2", &id, &f->err), 0);
        assert_non_null(id);
        fixture_free(f);
    }
}

static void
test_fault_of_a_job_fails_the_job(void **state)
{
    struct fixture *f = *state;

    make_disk(f, "root.qcow2");
    set_fault("cloudstack.importVm.job", "fail", "host is away");
    assert_null(import_vm(f, "web01", "root.qcow2"));
    expect_error(f, E_CS_JOB, "host is away");
}

/* ---- the ways in ------------------------------------------------------------------------------ */

static void
test_wrong_secret_is_refused(void **state)
{
    struct fixture *f = *state;
    json_t *answer = NULL;

    f->cs->secret_key[0] ^= 1;
    answer = call(f, "listZones", NULL);
    assert_null(answer);
    expect_error(f, E_CS_AUTH, "unable to verify user credentials");
}

static void
test_unknown_command_is_432(void **state)
{
    struct fixture *f = *state;

    assert_null(call(f, "makeCoffee", NULL));
    expect_error(f, E_CS_API, "does not exist or it is not available for user (error 432");
}

static void
test_command_that_the_lab_lacks_says_so(void **state)
{
    struct fixture *f = *state;

    assert_null(call(f, "listWebhooks", NULL));
    expect_error(f, E_CS_API, "The lab does not do listWebhooks");
}

static long
fetch(struct fixture *f, const char *rest, struct str *ret_body)
{
    CLEANUP(free_charp)
    char *url = xasprintf("https://127.0.0.1:%u%s", lab_cloudstack_port(&f->lab), rest);
    struct net_request request = {.method = "GET", .url = url};
    struct net_response response = {0};
    long status;

    assert_int_equal(net_perform(f->cs->net, &request, &response, &f->err), 0);
    status = response.status;
    *ret_body = response.body;
    response.body = (struct str){0};
    net_response_done(&response);
    return status;
}

static void
test_signed_get_is_taken_but_changes_must_be_posted_where_enforced(void **state)
{
    struct fixture *f = fixture_new("{\"enforce_post\": true}");
    struct str form = STR_INIT(8192), body;
    CLEANUP(free_charp) char *read = NULL, *change = NULL;

    form_sign(&form, "listZones", NULL, f->cs->api_key, f->cs->secret_key, time(NULL) + 60);
    read = xasprintf("/client/api?%s", str_text(&form));
    str_clear(&form);
    form_sign(&form, "startVirtualMachine", NULL, f->cs->api_key, f->cs->secret_key,
              time(NULL) + 60);
    change = xasprintf("/client/api?%s", str_text(&form));
    assert_int_equal(fetch(f, read, &body), 200);
    str_done(&body);
    assert_int_equal(fetch(f, change, &body), 432);
    assert_non_null(strstr(str_text(&body), "must be sent by POST"));
    str_done(&body);
    str_done(&form);
    fixture_free(f);
}

static void
test_other_paths_and_forms_are_no_json(void **state)
{
    struct fixture *f = *state;
    struct str body;

    assert_int_equal(fetch(f, "/api", &body), 404);
    assert_non_null(strstr(str_text(&body), "<html>"));
    str_done(&body);
    assert_int_equal(fetch(f, "/client/api?command=listZones", &body), 200);
    assert_non_null(strstr(str_text(&body), "<?xml"));
    str_done(&body);
    assert_int_equal(fetch(f, "/client/api?response=json", &body), 431);
    assert_non_null(strstr(str_text(&body), "errorresponse"));
    str_done(&body);
}

static void
test_wrong_configuration_is_refused(void **state)
{
    static const char *const WRONG[][2] = {
        {"{\"bot\": 1}", "no key"},           {"{\"boot\": \"vmware\"}", "qemu or none"},
        {"{\"job_ms\": \"soon\"}", "job_ms"}, {"{\"enforce_post\": 1}", "true or false"},
        {"[]", "must be an object"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(WRONG); i++) {
        struct lab other = {.dir = f->dir};
        json_t *config = json_loads(WRONG[i][0], 0, NULL);

        assert_int_equal(lab_cloudstack_start(&other, 0, config, &f->err), -1);
        expect_error(f, E_CONFIG, WRONG[i][1]);
        assert_null(other.cloudstack);
        json_decref(config);
    }
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_start_boots_root_then_data_with_macs_and_details),
        T(test_without_details_the_old_default_os_gets_ide),
        T(test_running_vm_is_not_started_again),
        T(test_guest_that_ends_is_stopped),
        T(test_failed_boot_fails_the_job),
        cmocka_unit_test(test_boot_none_still_looks_at_the_disks),
        T(test_expunge_deletes_the_root_file_and_lets_data_go),
        T(test_unmanaged_vm_keeps_its_files),
        T(test_details_replace_the_whole_set),
        T(test_second_nic_on_one_network_is_refused),
        T(test_invalid_mac_is_silently_replaced),
        T(test_mac_that_is_taken_is_refused),
        cmocka_unit_test(test_client_reads_all_pages),
        T(test_keyword_and_filters),
        T(test_page_without_size_is_refused),
        T(test_get_finds_by_id_or_says_so),
        T(test_tags_mark_and_find),
        T(test_fault_fails_with_its_text),
        T(test_dropped_call_is_not_done),
        cmocka_unit_test(test_answer_lost_after_the_deed_is_found_by_path),
        T(test_fault_of_a_job_fails_the_job),
        T(test_wrong_secret_is_refused),
        T(test_unknown_command_is_432),
        T(test_command_that_the_lab_lacks_says_so),
        cmocka_unit_test(test_signed_get_is_taken_but_changes_must_be_posted_where_enforced),
        T(test_other_paths_and_forms_are_no_json),
        T(test_wrong_configuration_is_refused),
    };

    if (!has_qemu_img())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
