/* Import into the pretend CloudStack, with files made by the real qemu-img. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"

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

static void
expect_import_refused(struct fixture *f, const char *file, const char *words)
{
    assert_null(import_vm(f, "web01", file));
    expect_error(f, E_CS_JOB, words);
}

static void
poke(const struct fixture *f, const char *name, off_t offset, const void *data, size_t length)
{
    int fd = open(pool_path(f, name), O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, offset), length);
    close(fd);
}

/* ---- importVm --------------------------------------------------------------------------------- */

static void
test_imported_vm_is_as_the_real_one_makes_it(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *id = NULL, *found = NULL;
    CLEANUP(json_freep) json_t *vm = NULL, *volume = NULL;
    const json_t *nic;

    make_disk(f, "root.qcow2");
    id = import_vm(f, "web01", "root.qcow2");
    assert_non_null(id);
    assert_int_equal(cloudstack_get_vm(f->cs, id, &vm, NULL), 0);
    assert_string_equal(cs_text(vm, "name"), "web01");
    assert_string_equal(cs_text(vm, "state"), "Stopped");
    assert_string_equal(cs_text(vm, "osdisplayname"), "CentOS 4.5 (32-bit)");
    nic = json_array_get(json_object_get(vm, "nic"), 0);
    assert_string_equal(cs_text(nic, "networkid"), ISOLATED);
    assert_true(cs_is_mac(cs_text(nic, "macaddress")));
    assert_true(strlen(cs_text(nic, "ipaddress")) > 0);
    assert_int_equal(cloudstack_find_volume_by_path(f->cs, POOL, "root.qcow2", &volume, NULL), 0);
    assert_string_equal(cs_text(volume, "type"), "ROOT");
    assert_int_equal(json_integer_value(json_object_get(volume, "deviceid")), 1);
    assert_int_equal(json_integer_value(json_object_get(volume, "size")), 8 << 20);
    assert_int_equal(cloudstack_find_vm_by_path(f->cs, POOL, "root.qcow2", &found, NULL), 0);
    assert_string_equal(found, id);
}

static void
test_client_imports_with_details_os_and_owner(void **state)
{
    struct fixture *f = *state;
    struct cloudstack_param items[] = {{"cpuNumber", "2"}, {"memory", "768"}, {"UEFI", "LEGACY"}};
    struct cloudstack_params details = {items, 3, 3};
    struct cloudstack_import_vm import = {
        .name = "web01",
        .display_name = "Web \xc3\xa9 01 *~",
        .zone_id = ZONE,
        .cluster_id = CLUSTER,
        .storage_id = POOL,
        .disk_path = "root.qcow2",
        .network_id = ISOLATED,
        .service_offering_id = CUSTOM,
        .os_type_id = DEBIAN,
        .mac = "00:50:56:aa:bb:cc",
        .account = "tenant",
        .domain_id = DOMAIN,
        .details = &details,
    };
    CLEANUP(free_charp) char *job_id = NULL;
    CLEANUP(json_freep) json_t *result = NULL;
    const json_t *vm;

    make_disk(f, "root.qcow2");
    assert_int_equal(cloudstack_import_vm(f->cs, &import, &job_id, &f->err), 0);
    assert_int_equal(cloudstack_job_wait(f->cs, job_id, 30000, &result, &f->err), 0);
    vm = json_object_get(result, "virtualmachine");
    assert_string_equal(cs_text(vm, "displayname"), "Web \xc3\xa9 01 *~");
    assert_string_equal(cs_text(vm, "account"), "tenant");
    assert_string_equal(cs_text(vm, "ostypeid"), DEBIAN);
    assert_string_equal(cs_text(json_object_get(vm, "details"), "UEFI"), "LEGACY");
    assert_int_equal(json_integer_value(json_object_get(vm, "memory")), 768);
}

static void
test_missing_file_is_refused(void **state)
{
    struct fixture *f = *state;

    expect_import_refused(f, "none.qcow2", "Disk not found or is invalid (error 530)");
}

static void
test_file_below_the_top_level_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir(pool_path(f, "sub"), 0700), 0);
    make_disk(f, "sub/root.qcow2");
    expect_import_refused(f, "sub/root.qcow2", "Disk not found or is invalid");
    expect_import_refused(f, "../primary/sub/root.qcow2", "Disk not found or is invalid");
}

static void
test_full_path_is_taken(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *id = NULL;

    make_disk(f, "root.qcow2");
    id = import_vm(f, "web01", pool_path(f, "root.qcow2"));
    assert_non_null(id);
}

static void
test_managed_path_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *id = NULL;

    make_disk(f, "root.qcow2");
    id = import_vm(f, "web01", "root.qcow2");
    assert_non_null(id);
    expect_import_refused(f, "root.qcow2", "Disk image is already in use");
}

static void
test_backing_file_is_refused(void **state)
{
    struct fixture *f = *state;

    make_disk(f, "base.qcow2");
    run(f, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2",
        pool_path(f, "root.qcow2"), NULL);
    expect_import_refused(f, "root.qcow2", "Volume with backing file cannot be imported");
}

static void
test_version_2_is_refused(void **state)
{
    struct fixture *f = *state;

    run(f, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10",
        pool_path(f, "root.qcow2"), "8M", NULL);
    expect_import_refused(f, "root.qcow2", "Disk not found or is invalid");
}

static void
test_raw_file_is_refused(void **state)
{
    struct fixture *f = *state;

    run(f, "qemu-img", "create", "-q", "-f", "raw", pool_path(f, "root.qcow2"), "8M", NULL);
    expect_import_refused(f, "root.qcow2", "Disk not found or is invalid");
}

static void
test_dirty_image_is_refused(void **state)
{
    struct fixture *f = *state;

    make_disk(f, "root.qcow2");
    poke(f, "root.qcow2", 79, "\x01", 1);
    expect_import_refused(f, "root.qcow2", "Disk not found or is invalid");
}

static void
test_unknown_feature_is_refused(void **state)
{
    struct fixture *f = *state;

    run(f, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on",
        pool_path(f, "root.qcow2"), "8M", NULL);
    expect_import_refused(f, "root.qcow2", "Disk not found or is invalid");
}

static void
test_leaking_image_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cs_image image;

    make_disk(f, "root.qcow2");
    /* A fifth cluster that the refcount block, the third cluster, counts and nobody uses. */
    assert_int_equal(truncate(pool_path(f, "root.qcow2"), 5 * 65536), 0);
    poke(f, "root.qcow2", 2 * 65536 + 4 * 2, "\0\1", 2);
    cs_image_look(pool_path(f, "root.qcow2"), &image);
    assert_non_null(strstr(image.refusal, "qemu-img check"));
    expect_import_refused(f, "root.qcow2", "Disk not found or is invalid");
}

static void
test_locked_image_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *argv[] = {"qemu-io", NULL, NULL};
    struct child child = CHILD_NONE;
    struct cs_image image = {0};
    int pipe_fds[2];
    int64_t end = clock_monotonic_ms() + 20000;

    make_disk(f, "root.qcow2");
    argv[1] = pool_path(f, "root.qcow2");
    /* qemu-io holds the image open for writing for as long as its standard input is open. */
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(
        child_start(&(struct child_spec){.argv = argv,
                                         .pass_fds = &(struct child_fd){pipe_fds[0], 0},
                                         .pass_fd_count = 1,
                                         .dies_with_parent = true},
                    &child, NULL),
        0);
    while (!image.is_locked && clock_monotonic_ms() < end)
        cs_image_look(pool_path(f, "root.qcow2"), &image);
    expect_import_refused(f, "root.qcow2", "Locked volume cannot be imported or unmanaged");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    child_stop(&child, 10000);
    free(import_vm(f, "web01", "root.qcow2"));
    assert_null(f->err);
}

static void
test_custom_offering_needs_sizes(void **state)
{
    struct fixture *f = *state;

    make_disk(f, "root.qcow2");
#define CUSTOM_IMPORT                                                                              \
    "name", "web01", "zoneid", ZONE, "clusterid", CLUSTER, "hypervisor", "KVM", "importsource",    \
        "shared", "storageid", POOL, "diskpath", "root.qcow2", "networkid", ISOLATED,              \
        "serviceofferingid", CUSTOM
    assert_null(job(f, "importVm", CUSTOM_IMPORT, NULL));
    expect_error(f, E_CS_JOB, "Detail 'cpuNumber' must be provided.");
    assert_null(job(f, "importVm", CUSTOM_IMPORT, "details[0].cpuNumber", "2", NULL));
    expect_error(f, E_CS_JOB, "Detail 'memory' must be provided.");
    assert_null(job(f, "importVm", CUSTOM_IMPORT, "details[0].cpuNumber", "2", "details[0].memory",
                    "much", NULL));
    expect_error(f, E_CS_JOB, "valid integer value for detail 'memory'");
}

static void
test_name_that_is_no_host_name_is_refused(void **state)
{
    struct fixture *f = *state;

    make_disk(f, "root.qcow2");
    assert_null(import_vm(f, "web 01", "root.qcow2"));
    expect_error(f, E_CS_JOB, "VM name contains unsupported characters");
}

static void
test_offering_with_other_tags_is_refused(void **state)
{
    struct fixture *f = *state;

    make_disk(f, "root.qcow2");
    assert_null(job(f, "importVm", "name", "web01", "zoneid", ZONE, "clusterid", CLUSTER,
                    "hypervisor", "KVM", "importsource", "shared", "storageid", POOL, "diskpath",
                    "root.qcow2", "networkid", ISOLATED, "serviceofferingid", SSD_ONLY, NULL));
    expect_error(f, E_CS_JOB, "storage tags are not compatible");
}

static void
test_other_source_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_null(job(f, "importVm", "name", "web01", "zoneid", ZONE, "clusterid", CLUSTER,
                    "hypervisor", "VMware", "importsource", "shared", "serviceofferingid", SMALL,
                    NULL));
    expect_error(f, E_CS_JOB, "not supported for hypervisor: VMware");
    assert_null(job(f, "importVm", "name", "web01", "zoneid", ZONE, "clusterid", CLUSTER,
                    "hypervisor", "KVM", "importsource", "shared", "serviceofferingid", SMALL,
                    NULL));
    expect_error(f, E_CS_JOB, "Disk Path is required");
}

static void
test_mac_is_kept_where_the_server_takes_it(void **state)
{
    struct fixture *f = fixture_new("{\"importvm_macaddress\": true}");
    bool has = false;
    json_t *result;

    make_disk(f, "root.qcow2");
    assert_int_equal(cloudstack_has_param(f->cs, "importVm", "macaddress", &has, &f->err), 0);
    assert_true(has);
    result = job(f, "importVm", "name", "web01", "zoneid", ZONE, "clusterid", CLUSTER, "hypervisor",
                 "KVM", "importsource", "shared", "storageid", POOL, "diskpath", "root.qcow2",
                 "networkid", ISOLATED, "serviceofferingid", SMALL, "macaddress",
                 "00:50:56:12:34:56", NULL);
    assert_non_null(result);
    assert_string_equal(
        cs_text(
            json_array_get(json_object_get(json_object_get(result, "virtualmachine"), "nic"), 0),
            "macaddress"),
        "00:50:56:12:34:56");
    json_decref(result);
    fixture_free(f);
}

static void
test_old_servers_cannot_use_a_shared_mount_point(void **state)
{
    struct fixture *f = fixture_new("{\"version\": \"4.22.0\"}");

    make_disk(f, "root.qcow2");
    expect_import_refused(f, "root.qcow2", "Disk not found or is invalid");
    assert_null(job(f, "importVolume", "storageid", POOL, "path", "root.qcow2", NULL));
    expect_error(f, E_CS_JOB, "not supported for pool type SharedMountPoint");
    fixture_free(f);
}

/* ---- volumes ---------------------------------------------------------------------------------- */

static char *
import_data(struct fixture *f, const char *file)
{
    CLEANUP(free_charp) char *job_id = NULL;
    json_t *result = NULL;
    char *id = NULL;

    if (cloudstack_import_volume(f->cs, "data", ZONE, POOL, file, NULL, NULL, NULL, NULL, &job_id,
                                 &f->err) == 0 &&
        cloudstack_job_wait(f->cs, job_id, 30000, &result, &f->err) == 0)
        id = xstrdup(cs_text(json_object_get(result, "volume"), "id"));
    json_decref(result);
    return id;
}

static void
test_volume_is_imported_attached_detached_and_given_back(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = NULL, *volume = NULL, *job_id = NULL;
    CLEANUP(json_freep) json_t *result = NULL, *found = NULL, *back = NULL;

    make_disk(f, "root.qcow2");
    make_disk(f, "data.qcow2");
    vm = import_vm(f, "web01", "root.qcow2");
    volume = import_data(f, "data.qcow2");
    assert_non_null(volume);
    assert_int_equal(cloudstack_attach_volume(f->cs, volume, vm, -1, &job_id, &f->err), 0);
    assert_int_equal(cloudstack_job_wait(f->cs, job_id, 30000, &result, &f->err), 0);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(result, "volume"), "deviceid")), 2);
    assert_null(job(f, "unmanageVolume", "id", volume, NULL));
    expect_error(f, E_CS_JOB, "attached");
    back = job(f, "detachVolume", "id", volume, NULL);
    assert_non_null(back);
    json_decref(back);
    back = job(f, "unmanageVolume", "id", volume, NULL);
    assert_non_null(back);
    assert_int_equal(access(pool_path(f, "data.qcow2"), F_OK), 0);
    assert_int_equal(cloudstack_find_volume_by_path(f->cs, POOL, "data.qcow2", &found, NULL), 0);
    assert_null(found);
}

static void
test_device_ids_leave_out_the_cdrom(void **state)
{
    static const int WANTED[] = {2, 4, 5};
    static const char *const FILES[] = {"a.qcow2", "b.qcow2", "c.qcow2"};
    struct fixture *f = *state;
    CLEANUP(free_charp) char *vm = NULL;

    make_disk(f, "root.qcow2");
    vm = import_vm(f, "web01", "root.qcow2");
    for (int i = 0; i < 3; i++) {
        CLEANUP(free_charp) char *volume = NULL;
        json_t *result;

        make_disk(f, FILES[i]);
        volume = import_data(f, FILES[i]);
        result = job(f, "attachVolume", "id", volume, "virtualmachineid", vm, NULL);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(result, "volume"), "deviceid")),
            WANTED[i]);
        json_decref(result);
    }
}

static void
test_volume_texts(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *volume = NULL;

    make_disk(f, "data.qcow2");
    assert_null(job(f, "importVolume", "storageid", POOL, "path", "no.qcow2", NULL));
    expect_error(f, E_CS_JOB, "Cannot find volume on storage pool");
    assert_null(job(f, "importVolume", "storageid", POOL, "path", "data.qcow2", "diskofferingid",
                    DISK_LOCAL, NULL));
    expect_error(f, E_CS_JOB, "should use shared storage");
    assert_null(
        job(f, "importVolume", "storageid", POOL, "path", "data.qcow2", "domainid", DOMAIN, NULL));
    expect_error(f, E_CS_JOB, "unknown owner");
    volume = import_data(f, "data.qcow2");
    assert_non_null(volume);
    assert_null(import_data(f, "data.qcow2"));
    expect_error(f, E_CS_JOB, "Volume is already managed by CloudStack: data.qcow2");
}

static void
test_dry_run_tells_what_the_host_sees(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *good = NULL, *linked = NULL, *none = NULL;

    make_disk(f, "base.qcow2");
    run(f, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2",
        pool_path(f, "link.qcow2"), NULL);
    assert_int_equal(cloudstack_find_importable(f->cs, POOL, "base.qcow2", &good, &f->err), 0);
    assert_string_equal(cs_text(json_object_get(good, "details"), "IS_LOCKED"), "false");
    assert_int_equal(json_integer_value(json_object_get(good, "virtualsize")), 8 << 20);
    assert_int_equal(cloudstack_find_importable(f->cs, POOL, "link.qcow2", &linked, &f->err), 0);
    assert_string_equal(cs_text(json_object_get(linked, "details"), "BACKING_FILE"), "base.qcow2");
    assert_int_equal(cloudstack_find_importable(f->cs, POOL, "no.qcow2", &none, &f->err), 0);
    assert_null(none);
}

/* What a test or a scenario changes is not only told, it is obeyed. */
static void
change(struct fixture *f, const char *kind, const char *name, const char *set)
{
    json_t *change =
        json_pack("{s:s, s:s, s:o}", "kind", kind, "name", name, "set", json_loads(set, 0, NULL));

    if (lab_cloudstack_change(&f->lab, change, &f->err) < 0)
        fail_msg("%s", err_message(f->err));
    json_decref(change);
}

static void
test_changed_facts_are_obeyed_by_imports(void **state)
{
    static const struct {
        const char *kind, *name, *bad, *good, *words;
    } rows[] = {
        {"host", "kvm1-host1", "{\"state\": \"Down\"}", "{\"state\": \"Up\"}", "destination"},
        {"storagepool", "primary", "{\"state\": \"Maintenance\"}", "{\"state\": \"Up\"}",
         "destination"},
        {"storagepool", "primary", "{\"disksizeused\": 17592186044416}", "{\"disksizeused\": 0}",
         "destination"},
        {"storagepool", "primary", "{\"disksizeallocated\": 35184372088832}",
         "{\"disksizeallocated\": 0}", "destination"},
        {"network", "lab-isolated", "{\"zoneid\": \"x\"}", "{\"zoneid\": \"" ZONE "\"}",
         "belong to zone"},
        {"account", "admin", "{\"vmavailable\": \"0\"}", "{\"vmavailable\": null}", "vmavailable"},
        {"account", "admin", "{\"memoryavailable\": 511}", "{\"memoryavailable\": \"Unlimited\"}",
         "memoryavailable"},
        {"serviceoffering", "small", "{\"storagetags\": \"ssd\"}", "{\"storagetags\": null}",
         "tags"},
    };
    struct fixture *f = *state;
    CLEANUP(free_charp) char *id = NULL;

    make_disk(f, "root.qcow2");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        change(f, rows[i].kind, rows[i].name, rows[i].bad);
        expect_import_refused(f, "root.qcow2", rows[i].words);
        change(f, rows[i].kind, rows[i].name, rows[i].good);
    }
    id = import_vm(f, "web01", "root.qcow2");
    assert_non_null(id);
    cloudstack_update_vm(f->cs, id, NULL,
                         &(struct cloudstack_params){
                             .items = &(struct cloudstack_param){"UEFI", "LEGACY"}, .count = 1},
                         &f->err);
    change(f, "host", "kvm1-host1", "{\"ueficapability\": false}");
    assert_null(job(f, "startVirtualMachine", "id", id, NULL));
    expect_error(f, E_CS_JOB, "deployment");
}

static void
test_changed_disk_offerings_are_obeyed(void **state)
{
    static const char *const bad[][2] = {{"{\"tags\": \"ssd\"}", "{\"tags\": null}"},
                                         {"{\"state\": \"Inactive\"}", "{\"state\": \"Active\"}"},
                                         {"{\"encrypt\": true}", "{\"encrypt\": false}"}};
    static const char custom[] = "6469736b-0000-4000-8000-000000000001";
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *result = NULL;

    make_disk(f, "data.qcow2");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        change(f, "diskoffering", "custom", bad[i][0]);
        assert_null(job(f, "importVolume", "storageid", POOL, "path", "data.qcow2",
                        "diskofferingid", custom, NULL));
        expect_error(f, E_CS_JOB, "ffering");
        change(f, "diskoffering", "custom", bad[i][1]);
    }
    result = job(f, "importVolume", "storageid", POOL, "path", "data.qcow2", "diskofferingid",
                 custom, NULL);
    assert_non_null(result);
}

static void
test_changes_that_make_no_sense_are_refused(void **state)
{
    static const char *const bad[] = {
        "{\"kind\": \"host\", \"name\": \"nobody\", \"set\": {}}",
        "{\"kind\": \"hosts\", \"name\": \"kvm1-host1\", \"set\": {}}",
        "{\"kind\": \"host\", \"name\": \"kvm1-host1\"}"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(json_freep) json_t *json = json_loads(bad[i], 0, NULL);

        assert_int_equal(lab_cloudstack_change(&f->lab, json, &f->err), -1);
        expect_error(f, E_CONFIG, "");
    }
}

static void
test_forbidden_commands_are_neither_listed_nor_run(void **state)
{
    struct fixture *f = fixture_new("{\"forbid\": [\"listHosts\"]}");
    bool has = true;

    assert_int_equal(cloudstack_has_param(f->cs, "listHosts", "id", &has, &f->err), 0);
    assert_false(has);
    assert_null(call(f, "listHosts", NULL));
    expect_error(f, E_CS_API, "not available");
    fixture_free(f);
}

static void
test_project_owns_what_was_imported_for_it(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) json_t *result = NULL, *found = NULL, *plain = NULL;

    make_disk(f, "data.qcow2");
    result =
        job(f, "importVolume", "storageid", POOL, "path", "data.qcow2", "projectid", PROJECT, NULL);
    assert_non_null(result);
    plain = call(f, "listVolumes", "listall", "true", NULL);
    assert_null(json_object_get(plain, "volume"));
    assert_int_equal(cloudstack_find_volume_by_path(f->cs, POOL, "data.qcow2", &found, NULL), 0);
    assert_string_equal(cs_text(found, "project"), "blue");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_imported_vm_is_as_the_real_one_makes_it),
        T(test_client_imports_with_details_os_and_owner),
        T(test_missing_file_is_refused),
        T(test_file_below_the_top_level_is_refused),
        T(test_full_path_is_taken),
        T(test_managed_path_is_refused),
        T(test_backing_file_is_refused),
        T(test_version_2_is_refused),
        T(test_raw_file_is_refused),
        T(test_dirty_image_is_refused),
        T(test_unknown_feature_is_refused),
        T(test_leaking_image_is_refused),
        T(test_locked_image_is_refused),
        T(test_custom_offering_needs_sizes),
        T(test_name_that_is_no_host_name_is_refused),
        T(test_offering_with_other_tags_is_refused),
        T(test_other_source_is_refused),
        cmocka_unit_test(test_mac_is_kept_where_the_server_takes_it),
        cmocka_unit_test(test_old_servers_cannot_use_a_shared_mount_point),
        T(test_volume_is_imported_attached_detached_and_given_back),
        T(test_device_ids_leave_out_the_cdrom),
        T(test_volume_texts),
        T(test_dry_run_tells_what_the_host_sees),
        T(test_changed_facts_are_obeyed_by_imports),
        T(test_changed_disk_offerings_are_obeyed),
        T(test_changes_that_make_no_sense_are_refused),
        cmocka_unit_test(test_forbidden_commands_are_neither_listed_nor_run),
        T(test_project_owns_what_was_imported_for_it),
    };

    if (!has_qemu_img())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
