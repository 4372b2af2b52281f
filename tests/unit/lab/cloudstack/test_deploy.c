/* The pretend CloudStack: VMs that are deployed without being started, their root volumes, NICs and
 * tags. */
#include "fixture.h"

#include <unistd.h>

#define TINY   "74706c74-0000-4000-8000-000000000002"
#define UNDONE "74706c74-0000-4000-8000-000000000003"
#define SHARED "6e657477-0000-4000-8000-000000000003"
#define OWN_ID "0b3d1f0e-9a55-4a3c-8a0b-2f6a8d3c1e77"
#define MAC_1  "00:50:56:00:00:01"
#define MAC_2  "00:50:56:00:00:02"

/* What every deployment here has; more names and values may follow. */
#define DEPLOY(...)                                                                                \
    job(f, "deployVirtualMachine", "zoneid", ZONE, "startvm", "false", "hypervisor", "KVM",        \
        "iptonetworklist[0].networkid", ISOLATED, "iptonetworklist[0].mac", MAC_1, __VA_ARGS__,    \
        NULL)
#define GOOD "name", "web01", "serviceofferingid", SMALL, "templateid", TINY

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

static json_t *
first_vm(struct fixture *f)
{
    return json_array_get(cs_all(f->lab.cloudstack, "vm"), 0);
}

static json_t *
first_volume(struct fixture *f)
{
    return json_array_get(cs_all(f->lab.cloudstack, "volume"), 0);
}

static void
test_deployed_vm_has_what_was_asked_for(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep)
    json_t *result = DEPLOY(GOOD, "customid", OWN_ID, "boottype", "UEFI", "bootmode", "Secure",
                            "iptonetworklist[0].ip", "10.1.1.77", "iptonetworklist[1].networkid",
                            L2, "iptonetworklist[1].mac", MAC_2, "details[0].nicAdapter", "virtio");
    const json_t *vm = json_object_get(result, "virtualmachine"), *nics, *volume;

    assert_non_null(vm);
    nics = json_object_get(vm, "nic");
    volume = first_volume(f);
    assert_string_equal(cs_text(vm, "id"), OWN_ID);
    assert_string_equal(cs_text(vm, "state"), "Stopped");
    assert_string_equal(cs_text(json_object_get(vm, "details"), "UEFI"), "SECURE");
    assert_string_equal(cs_text(json_object_get(vm, "details"), "nicAdapter"), "virtio");
    assert_string_equal(cs_text(json_array_get(nics, 0), "macaddress"), MAC_1);
    assert_string_equal(cs_text(json_array_get(nics, 0), "ipaddress"), "10.1.1.77");
    assert_true(json_is_true(json_object_get(json_array_get(nics, 0), "isdefault")));
    assert_string_equal(cs_text(json_array_get(nics, 1), "macaddress"), MAC_2);
    assert_false(json_is_true(json_object_get(json_array_get(nics, 1), "isdefault")));
    assert_string_equal(cs_text(volume, "state"), "Allocated");
    assert_string_equal(cs_text(volume, "path"), "");
    assert_string_equal(cs_text(volume, "virtualmachineid"), OWN_ID);
}

static void
test_vm_is_there_when_the_submission_is_answered(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *answer = NULL;

    answer = call(f, "deployVirtualMachine", "zoneid", ZONE, "startvm", "false",
                  "iptonetworklist[0].networkid", ISOLATED, GOOD, NULL);
    assert_non_null(answer);
    assert_string_equal(cs_text(answer, "id"), cs_text(first_vm(f), "id"));
}

static void
test_deployments_that_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *first = DEPLOY(GOOD, "customid", OWN_ID);

    assert_non_null(first);
    assert_null(DEPLOY("name", "other", "serviceofferingid", SMALL, "templateid", TINY));
    expect_error(f, E_CS_API, "A NIC with this MAC address exists");
#define OTHER                                                                                      \
    "deployVirtualMachine", "zoneid", ZONE, "startvm", "false", "iptonetworklist[0].networkid", L2
    assert_null(call(f, OTHER, GOOD, "customid", OWN_ID, NULL));
    expect_error(f, E_CS_API, "already exists so it can't be used");
    assert_null(
        call(f, OTHER, "name", "b", "serviceofferingid", SMALL, "templateid", UNDONE, NULL));
    expect_error(f, E_CS_API, "has not been completely downloaded");
    assert_null(call(f, OTHER, "name", "9b", "serviceofferingid", SMALL, "templateid", TINY, NULL));
    expect_error(f, E_CS_API, "Invalid name");
    assert_null(call(f, OTHER, "name", "b", "serviceofferingid", CUSTOM, "templateid", TINY,
                     "details[0].cpuNumber", "64", "details[0].memory", "512", NULL));
    expect_error(f, E_CS_API, "specify a value between 1 and 32");
    assert_null(call(f, OTHER, "name", "b", "serviceofferingid", SMALL, "templateid", TINY,
                     "iptonetworklist[1].networkid", SHARED, "iptonetworklist[1].ip", "10.9.9.9",
                     NULL));
    expect_error(f, E_CS_BUSY, "Unable to acquire Guest IP");
    assert_null(call(f, "deployVirtualMachine", "zoneid", ZONE, "startvm", "false",
                     "iptonetworklist[0].networkid", ISOLATED, GOOD, NULL));
    expect_error(f, E_CS_API, "already exists in the network domain");
    assert_int_equal(json_array_size(cs_all(f->lab.cloudstack, "vm")), 1);
}

/* The root volume's id, owned. */
static char *
deploy_and_import(struct fixture *f, char **ret_imported)
{
    CLEANUP(json_freep) json_t *vm = DEPLOY(GOOD, "customid", OWN_ID), *volume = NULL;
    char *root = xstrdup(cs_text(first_volume(f), "id"));

    assert_non_null(vm);
    make_disk(f, "root.qcow2");
    volume = job(f, "importVolume", "storageid", POOL, "path", "root.qcow2", NULL);
    *ret_imported = xstrdup(cs_text(json_object_get(volume, "volume"), "id"));
    return root;
}

static void
test_planned_root_is_swapped_for_an_imported_volume(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *imported = NULL, *root = deploy_and_import(f, &imported);
    CLEANUP(json_freep) json_t *done = NULL, *detached = NULL, *deleted = NULL;

    assert_null(
        job(f, "attachVolume", "id", imported, "virtualmachineid", OWN_ID, "deviceid", "0", NULL));
    expect_error(f, E_CS_JOB, "already has root volume");
    assert_null(call(f, "deleteVolume", "id", root, NULL));
    expect_error(f, E_CS_API, "not attached to any VM");
    detached = job(f, "detachVolume", "id", root, NULL);
    assert_non_null(detached);
    deleted = call(f, "deleteVolume", "id", root, NULL);
    assert_non_null(deleted);
    done =
        job(f, "attachVolume", "id", imported, "virtualmachineid", OWN_ID, "deviceid", "0", NULL);
    assert_non_null(done);
    assert_string_equal(cs_text(first_volume(f), "type"), "ROOT");
    assert_string_equal(cs_text(first_volume(f), "path"), "root.qcow2");
    assert_int_equal(json_array_size(cs_all(f->lab.cloudstack, "volume")), 1);
    assert_int_equal(access(pool_path(f, "root.qcow2"), F_OK), 0);
}

static void
test_deleted_volume_takes_its_file_along(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *volume = NULL, *deleted = NULL;

    make_disk(f, "data.qcow2");
    volume = job(f, "importVolume", "storageid", POOL, "path", "data.qcow2", NULL);
    deleted = call(f, "deleteVolume", "id", cs_text(json_object_get(volume, "volume"), "id"), NULL);
    assert_non_null(deleted);
    assert_int_equal(access(pool_path(f, "data.qcow2"), F_OK), -1);
}

static void
test_default_nic_changes_places_and_the_other_can_go(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep)
    json_t *vm = DEPLOY(GOOD, "customid", OWN_ID, "iptonetworklist[1].networkid", L2), *gone = NULL,
           *changed = NULL;
    const json_t *nics = json_object_get(json_object_get(vm, "virtualmachine"), "nic");
    CLEANUP(free_charp) char *first = xstrdup(cs_text(json_array_get(nics, 0), "id"));
    CLEANUP(free_charp) char *second = xstrdup(cs_text(json_array_get(nics, 1), "id"));

    assert_null(
        job(f, "removeNicFromVirtualMachine", "virtualmachineid", OWN_ID, "nicid", first, NULL));
    expect_error(f, E_CS_JOB, "nic is default");
    changed = job(f, "updateDefaultNicForVirtualMachine", "virtualmachineid", OWN_ID, "nicid",
                  second, NULL);
    nics = json_object_get(json_object_get(changed, "virtualmachine"), "nic");
    assert_string_equal(cs_text(json_array_get(nics, 0), "id"), second);
    assert_string_equal(cs_text(json_array_get(nics, 0), "deviceid"), "0");
    assert_string_equal(cs_text(json_array_get(nics, 1), "deviceid"), "1");
    gone = job(f, "removeNicFromVirtualMachine", "virtualmachineid", OWN_ID, "nicid", first, NULL);
    nics = json_object_get(json_object_get(gone, "virtualmachine"), "nic");
    assert_int_equal(json_array_size(nics), 1);
}

static void
test_address_of_a_nic_can_be_changed(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *vm = DEPLOY(GOOD), *done = NULL;
    const json_t *nic =
        json_array_get(json_object_get(json_object_get(vm, "virtualmachine"), "nic"), 0);

    assert_null(
        job(f, "updateVmNicIp", "nicid", cs_text(nic, "id"), "ipaddress", "10.1.1.1", NULL));
    expect_error(f, E_CS_JOB, "Unable to acquire");
    done = job(f, "updateVmNicIp", "nicid", cs_text(nic, "id"), "ipaddress", "10.1.1.9", NULL);
    assert_non_null(done);
}

static void
test_tags_are_there_once_and_go_with_their_object(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep)
    json_t *vm = DEPLOY(GOOD, "customid", OWN_ID), *tagged = NULL, *list = NULL, *destroyed = NULL;

    tagged = job(f, "createTags", "resourceids", OWN_ID, "resourcetype", "UserVm", "tags[0].key",
                 "a", "tags[0].value", "1", "tags[1].key", "b", "tags[1].value", "2", NULL);
    assert_non_null(tagged);
    assert_null(job(f, "createTags", "resourceids", OWN_ID, "resourcetype", "UserVm", "tags[0].key",
                    "c", "tags[0].value", "1", "tags[1].key", "b", "tags[1].value", "2", NULL));
    expect_error(f, E_CS_JOB, "already on UserVm");
    list = call(f, "listTags", "resourceid", OWN_ID, "key", "b", NULL);
    assert_int_equal(json_array_size(json_object_get(list, "tag")), 1);
    assert_int_equal(json_array_size(cs_all(f->lab.cloudstack, "tag")), 2);
    destroyed = job(f, "destroyVirtualMachine", "id", OWN_ID, "expunge", "true", NULL);
    assert_non_null(destroyed);
    assert_int_equal(json_array_size(cs_all(f->lab.cloudstack, "tag")), 0);
    assert_int_equal(json_array_size(cs_all(f->lab.cloudstack, "volume")), 0);
}

static void
test_guest_os_names_are_mapped(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep)
    json_t *list = call(f, "listGuestOsMapping", "hypervisor", "VMware", "osnameforhypervisor",
                        "debian12_64Guest", NULL);
    const json_t *found = json_object_get(list, "guestosmapping");

    assert_int_equal(json_array_size(found), 1);
    assert_string_equal(cs_text(json_array_get(found, 0), "ostypeid"), DEBIAN);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_deployed_vm_has_what_was_asked_for),
        T(test_vm_is_there_when_the_submission_is_answered),
        T(test_deployments_that_are_refused),
        T(test_planned_root_is_swapped_for_an_imported_volume),
        T(test_deleted_volume_takes_its_file_along),
        T(test_default_nic_changes_places_and_the_other_can_go),
        T(test_address_of_a_nic_can_be_changed),
        T(test_tags_are_there_once_and_go_with_their_object),
        T(test_guest_os_names_are_mapped),
    };

    if (!has_qemu_img())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
