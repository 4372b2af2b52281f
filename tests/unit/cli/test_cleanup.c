/* Which names are ours: what is not is never touched. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cleanup.h"
#include "tests/unit/check.h"

static void
ids_have_one_form(void **state)
{
    static const struct {
        const char *tag, *moref;
    } cases[] = {
        {"v2c-vm-16-65a1b2c3", "vm-16"},
        {"v2c-16-0", "16"},
        {"v2c-vm-16-65A1B2C3", NULL},
        {"v2c-vm-16-", NULL},
        {"v2c--65a1b2c3", NULL},
        {"v2c-65a1b2c3", NULL},
        {"v2c-", NULL},
        {"v2c", NULL},
        {"", NULL},
        {"v3c-vm-16-65a1b2c3", NULL},
        {"v2c-vm-16-65a1b2c365a1b2c31", NULL},
        {"v2c-vm-16-test", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp) char *moref = cleanup_moref_of(cases[i].tag);

        if (cases[i].moref)
            assert_string_equal(moref, cases[i].moref);
        else
            assert_null(moref);
    }
}

static void
snapshots_of_ours_are_told_from_those_of_others(void **state)
{
    static const char *const theirs[] = {
        "v2c-vm-16-65a1b2c3",
        "v2c-vm-16-65a1b2c3-base",
        "v2c-vm-16-65a1b2c3-base-",
        "v2c-vm-16-65a1b2c3-base-1x",
        "v2c-vm-16-65a1b2c3-before-1",
        "v2c-vm-161-65a1b2c3-base-1",
        "v2c-vm-1-65a1b2c3-base-1",
        "my v2c-vm-16-65a1b2c3-base-1",
        "v2c-vm-16-65a1b2c3-base-1 ",
        "v2c-vm-16-nothex-base-1",
        "V2C-vm-16-65a1b2c3-base-1",
        "before the update",
        "v2c-vm-16-65a1b2c3-Base-1",
        "",
        "-base-1",
        "v2c-vm-16-65a1b2c3-base-1-base-2",
    };
    static const char *const ours[] = {
        "v2c-vm-16-65a1b2c3-base-1767225600",
        "v2c-vm-16-65a1b2c3-delta-1",
        "v2c-vm-16-65a1b2c3-final-1767225600",
    };
    char tag[64] = "untouched", long_name[300], moref[41];

    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
        assert_false(cleanup_tag_of_snapshot(theirs[i], "vm-16", tag));
    assert_string_equal(tag, "untouched");
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        assert_true(cleanup_tag_of_snapshot(ours[i], "vm-16", tag));
        assert_string_equal(tag, "v2c-vm-16-65a1b2c3");
    }
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    memcpy(long_name + sizeof(long_name) - 8, "-base-1", 8);
    assert_false(cleanup_tag_of_snapshot(long_name, "vm-16", tag));
    /* An id holds the first 30 bytes of a moref. */
    memset(moref, 'm', 40);
    moref[40] = '\0';
    assert_true(cleanup_tag_of_snapshot("v2c-mmmmmmmmmmmmmmmmmmmmmmmmmmmmmm-1-base-1", moref, tag));
    assert_false(cleanup_tag_of_snapshot("v2c-mmmmmmmmmm-1-base-1", moref, tag));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_have_one_form),
        cmocka_unit_test(snapshots_of_ours_are_told_from_those_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
