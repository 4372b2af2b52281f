/* What is asked of virt-v2v and virt-inspector, and what their answers mean. */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "guest/internal.h"

#define ALL_FEATURES "virt-v2v-in-place-2.0\nin-place\nblock-driver-option\nconvert:linux\n"

static const char *const two_images[] = {"/pool/.v2c/a.qcow2", "/pool/.v2c/b&'<.qcow2"};

/* The arguments with a blank between them. */
static const char *
joined(const struct guest_conversion *conversion, const char *features, const char *xml)
{
    static char text[1024];
    struct guest_argv argv;

    text[0] = '\0';
    guest_build_argv(conversion, "v2v", features, xml, &argv);
    assert_null(argv.items[argv.count]);
    for (size_t i = 0; i < argv.count; i++) {
        size_t length = strlen(text);

        snprintf(text + length, sizeof(text) - length, "%s%s", i ? " " : "", argv.items[i]);
    }
    return text;
}

static void
one_disk_is_converted_by_its_name(void **state)
{
    const struct guest_conversion plain = {.images = two_images, .count = 1};
    const struct guest_conversion debug = {
        .images = two_images, .count = 1, .root = "/dev/sda2", .is_debug = true};

    assert_string_equal(joined(&plain, "in-place\n", NULL),
                        "v2v --root first -i disk -if qcow2 /pool/.v2c/a.qcow2");
    assert_string_equal(joined(&debug, "in-place\n", NULL),
                        "v2v -v -x --root /dev/sda2 -i disk -if qcow2 /pool/.v2c/a.qcow2");
}

static void
options_are_given_to_versions_that_know_them(void **state)
{
    const struct guest_conversion scsi = {
        .images = two_images, .count = 1, .block_driver = "virtio-scsi"};

    assert_string_equal(joined(&scsi, ALL_FEATURES, "/x.xml"),
                        "v2v --root first --block-driver virtio-scsi -i libvirtxml /x.xml");
    assert_string_equal(joined(&scsi, "in-place\nblock-driver-option-2\n", "/x.xml"),
                        "v2v --root first -i libvirtxml /x.xml");
    assert_string_equal(joined(&scsi, "in-place\n\n--no-fstrim\n", "/x.xml"),
                        "v2v --root first --no-fstrim -i libvirtxml /x.xml");
}

static void
several_disks_are_described_as_scsi_disks(void **state)
{
    struct guest_conversion conversion = {.images = two_images, .count = 2, .is_uefi = true};
    CLEANUP(str_done) struct str xml = STR_INIT(65536);
    struct err *err = NULL;

    assert_ok(guest_describe_disks(&conversion, &xml, &err), &err);
    assert_contains(str_text(&xml), "<os firmware='efi'>");
    assert_contains(str_text(&xml), "<source file='/pool/.v2c/a.qcow2'/>\n"
                                    "      <target dev='sda' bus='scsi'/>");
    assert_contains(str_text(&xml), "<source file='/pool/.v2c/b&amp;&apos;&lt;.qcow2'/>\n"
                                    "      <target dev='sdb' bus='scsi'/>");
    conversion.count = 27;
    assert_int_equal(guest_describe_disks(&conversion, &xml, &err), -1);
    assert_err(&err, E_LIMIT);
}

static void
a_step_is_what_follows_the_time(void **state)
{
    assert_string_equal(guest_step_of("[   1.0] Opening the source"), "Opening the source");
    assert_string_equal(guest_step_of("[ 123.4] Converting"), "Converting");
    assert_null(guest_step_of("virt-v2v-in-place: warning: something"));
    assert_null(guest_step_of("[not a time] x"));
    assert_null(guest_step_of(""));
}

#define SYSTEM(root, type, rest)                                                                   \
    "<operatingsystems><operatingsystem><root>" root "</root><name>" type "</name>"                \
    "<product_name>Some System</product_name>" rest "</operatingsystem></operatingsystems>"
#define MOUNT(device, place) "<mountpoint dev='" device "'>" place "</mountpoint>"
#define MOUNTS(mounts)       "<mountpoints>" mounts "</mountpoints>"
#define DRIVES(drives)       "<drive_mappings>" drives "</drive_mappings>"

static void
a_system_is_on_the_first_disk_when_all_that_boots_is(void **state)
{
    static const struct {
        const char *xml;
        bool is_on_first;
    } cases[] = {
        {SYSTEM("/dev/sda1", "linux", MOUNTS(MOUNT("/dev/sda1", "/"))), true},
        {SYSTEM("/dev/sda1", "linux", MOUNTS(MOUNT("/dev/sda1", "/") MOUNT("/dev/sdb1", "/srv"))),
         true},
        {SYSTEM("/dev/sda2", "linux", MOUNTS(MOUNT("/dev/sda2", "/") MOUNT("/dev/sdb1", "/var"))),
         false},
        {SYSTEM("/dev/sda2", "linux",
                MOUNTS(MOUNT("/dev/sda2", "/") MOUNT("/dev/sdb1", "/boot/efi"))),
         false},
        {SYSTEM("/dev/sdb1", "linux", MOUNTS(MOUNT("/dev/sdb1", "/"))), false},
        {SYSTEM("/dev/sdab1", "linux", MOUNTS(MOUNT("/dev/sdab1", "/"))), false},
        /* Nobody says which disks a volume group is on. */
        {SYSTEM("/dev/rhel/root", "linux", MOUNTS(MOUNT("/dev/rhel/root", "/"))), false},
        {SYSTEM("/dev/sda2", "windows",
                DRIVES("<drive_mapping name='C'>/dev/sda2</drive_mapping>")),
         true},
        {SYSTEM("/dev/sda2", "windows",
                DRIVES("<drive_mapping name='C'>/dev/sda2</drive_mapping>"
                       "<drive_mapping name='E'>/dev/sdb1</drive_mapping>")),
         false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct guest_inspection found = {0};
        struct err *err = NULL;

        assert_ok(guest_parse_inspection(cases[i].xml, strlen(cases[i].xml), &found, &err), &err);
        if (found.is_on_first_disk != cases[i].is_on_first)
            fail_msg("case %zu: %s", i, cases[i].xml);
        assert_int_equal(found.systems, 1);
        assert_string_equal(found.product, "Some System");
        guest_inspection_done(&found);
    }
}

static void
answers_that_name_no_system_are_refused(void **state)
{
    static const struct {
        const char *xml;
        enum err_code code;
    } cases[] = {
        {"", E_GUEST_INSPECT},
        {"<operatingsystems/>", E_GUEST_INSPECT},
        {"<domain/>", E_GUEST_INSPECT},
        {"<operatingsystems><operatingsystem></operatingsystem></operatingsystems>",
         E_GUEST_INSPECT},
        {"<operatingsystems><operatingsystem><root>/dev/sda1", E_GUEST_INSPECT},
        {"<!DOCTYPE operatingsystems [<!ENTITY a 'b'>]><operatingsystems/>", E_GUEST_INSPECT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct guest_inspection found = {0};
        struct err *err = NULL;

        assert_int_equal(guest_parse_inspection(cases[i].xml, strlen(cases[i].xml), &found, &err),
                         -1);
        assert_err(&err, cases[i].code);
        assert_null(found.root);
    }
}

static void
of_several_systems_the_first_is_told_and_the_number(void **state)
{
    static const char xml[] =
        "<operatingsystems><operatingsystem><root>/dev/sda1</root>"
        "<name>linux</name></operatingsystem>\n<operatingsystem><root>/dev/sda5"
        "</root><name>windows</name></operatingsystem></operatingsystems>";
    struct guest_inspection found = {0};
    struct err *err = NULL;

    assert_ok(guest_parse_inspection(xml, strlen(xml), &found, &err), &err);
    assert_int_equal(found.systems, 2);
    assert_string_equal(found.root, "/dev/sda1");
    assert_null(found.product);
    guest_inspection_done(&found);
}

/* ---- running ----------------------------------------------------------------------------------- */

struct heard {
    char text[512];
    bool is_stopped;
};

static void
hear(void *opaque, const char *line)
{
    struct heard *heard = opaque;
    size_t length = strlen(heard->text);

    snprintf(heard->text + length, sizeof(heard->text) - length, "%s|", line);
}

static bool
is_stopped(void *opaque)
{
    return ((struct heard *)opaque)->is_stopped;
}

static int
run_shell(const char *script, struct heard *heard, int64_t timeout_ms, struct str *output,
          int *ret_status, struct err **err)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const struct guest_watch watch = {
        .line = hear, .is_stopped = is_stopped, .opaque = heard, .timeout_ms = timeout_ms};

    return guest_run(argv, NULL, &watch, output, ret_status, err);
}

static void
output_comes_line_by_line_and_the_last_needs_no_end(void **state)
{
    struct heard heard = {""};
    struct err *err = NULL;
    int status;

    assert_ok(run_shell("echo one; echo; printf 'two\\r\\n'; printf three; exit 3", &heard, 0, NULL,
                        &status, &err),
              &err);
    assert_string_equal(heard.text, "one|two|three|");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void
an_answer_is_kept_apart_from_complaints(void **state)
{
    CLEANUP(str_done) struct str output = STR_INIT(64);
    struct heard heard = {""};
    struct err *err = NULL;
    int status;

    assert_ok(run_shell("echo answer; echo complaint >&2", &heard, 0, &output, &status, &err),
              &err);
    assert_string_equal(str_text(&output), "answer\n");
    assert_string_equal(heard.text, "complaint|");
}

static void
credentials_are_not_handed_down(void **state)
{
    struct heard heard = {""};
    struct err *err = NULL;
    int status;

    setenv("VC_PASSWORD", "secret", 1);
    assert_ok(run_shell("echo ${VC_PASSWORD:-none}", &heard, 0, NULL, &status, &err), &err);
    assert_string_equal(heard.text, "none|");
    unsetenv("VC_PASSWORD");
}

static void
what_takes_too_long_or_is_stopped_is_ended(void **state)
{
    struct heard heard = {""}, stopped = {.is_stopped = true};
    struct err *err = NULL;
    int status;

    assert_int_equal(run_shell("echo on; exec sleep 60", &heard, 300, NULL, &status, &err), -1);
    assert_err(&err, E_GUEST_TIMEOUT);
    assert_string_equal(heard.text, "on|");
    assert_int_equal(run_shell("exec sleep 60", &stopped, 0, NULL, &status, &err), -1);
    assert_err(&err, E_CANCELLED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_disk_is_converted_by_its_name),
        cmocka_unit_test(options_are_given_to_versions_that_know_them),
        cmocka_unit_test(several_disks_are_described_as_scsi_disks),
        cmocka_unit_test(a_step_is_what_follows_the_time),
        cmocka_unit_test(a_system_is_on_the_first_disk_when_all_that_boots_is),
        cmocka_unit_test(answers_that_name_no_system_are_refused),
        cmocka_unit_test(of_several_systems_the_first_is_told_and_the_number),
        cmocka_unit_test(output_comes_line_by_line_and_the_last_needs_no_end),
        cmocka_unit_test(an_answer_is_kept_apart_from_complaints),
        cmocka_unit_test(credentials_are_not_handed_down),
        cmocka_unit_test(what_takes_too_long_or_is_stopped_is_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
