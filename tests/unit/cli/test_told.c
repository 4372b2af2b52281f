/* What a worker's supervisor hears of its failure. */
#include "cli/told.h"

#include "tests/unit/check.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/report.h"

/* The failure of the last report in what was written. */
static void
take_report(void *opaque, const json_t *report)
{
    struct err **said = opaque;

    err_free(*said);
    *said = report_error(report);
}

static struct err *
tell_and_hear(const struct err *failure)
{
    struct report_reader reader = REPORT_READER_INIT;
    struct err *said = NULL;
    char data[4096];
    int ends[2];
    ssize_t n;

    assert_return_code(pipe(ends), 0);
    tell_failure(ends[1], failure);
    close(ends[1]);
    while ((n = read(ends[0], data, sizeof(data))) > 0)
        report_feed(&reader, data, (size_t)n, take_report, &said);
    close(ends[0]);
    report_reader_done(&reader);
    return said;
}

static void
a_failure_is_told_with_its_code_and_hint(void **state)
{
    struct err *failure = NULL, *said;

    err_set(&failure, E_IO, "the disk is full");
    err_hint(&failure, "make room");
    said = tell_and_hear(failure);
    err_free(failure);
    assert_string_equal(err_hint_text(said), "make room");
    assert_err_says(&said, E_IO, "the disk is full");
}

static void
what_is_no_utf8_takes_nothing_else_along(void **state)
{
    struct err *failure = NULL, *said;

    err_set(&failure, E_IO, "virt-v2v: /M\xfcnchen: no such file");
    err_hint(&failure, "look at \xff");
    said = tell_and_hear(failure);
    err_free(failure);
    assert_non_null(said);
    assert_string_equal(err_hint_text(said), "look at \xef\xbf\xbd");
    assert_err_says(&said, E_IO, "virt-v2v: /M\xef\xbf\xbdnchen: no such file");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_told_with_its_code_and_hint),
        cmocka_unit_test(what_is_no_utf8_takes_nothing_else_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
