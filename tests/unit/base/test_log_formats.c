/* A log for programs: JSON on stderr, and entries of a journal that is a socket of the test's own. */
#include "base/log.h"

#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "base/util.h"

#define MAX_READ ((size_t)512 * KIB)

static char dir[] = "/tmp/v2c-test-journal.XXXXXX";
static int saved = -1;
static char *stderr_path, *socket_path;

static int
begin(void **state)
{
    int fd;

    if (!mkdtemp(dir))
        return -1;
    stderr_path = xasprintf("%s/stderr", dir);
    socket_path = xasprintf("%s/socket", dir);
    saved = dup(STDERR_FILENO);
    fd = open(stderr_path, O_RDWR | O_CREAT | O_APPEND, 0600);
    return dup2(fd, STDERR_FILENO) < 0 || close(fd) < 0 ? -1 : 0;
}

static int
end(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    dup2(saved, STDERR_FILENO);
    close(saved);
    (void)log_set_format(LOG_TEXT, NULL);
    log_set_level(LOG_INFO);
    unsetenv("V2C_JOURNAL_SOCKET");
    free(take(stderr_path));
    free(take(socket_path));
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    return system(command);
}

static char *
logged(void)
{
    char *text = xcalloc(1, MAX_READ + 1);
    int fd = open(stderr_path, O_RDONLY);

    assert_true(read(fd, text, MAX_READ) >= 0);
    close(fd);
    return text;
}

static const char *
text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void
a_line_is_a_json_object(void **state)
{
    const struct log_fields fields = {
        .vm = "web\"01", .job_id = "1-1", .stage = "delta", .code = "E_POOL"};
    struct err *err = NULL;
    json_t *o;

    assert_ok(log_set_format(LOG_JSON, &err), &err);
    log_with(&fields, LOG_WARNING, "two\nlines and \x1b[31m %s", "ü");
    CLEANUP(free_charp) char *text = logged();
    assert_int_equal(strchr(text, '\n') - text, strlen(text) - 1);
    o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_string_equal(text_of(o, "level"), "warning");
    assert_string_equal(text_of(o, "message"), "two\nlines and \x1b[31m ü");
    assert_string_equal(text_of(o, "vm"), "web\"01");
    assert_string_equal(text_of(o, "job_id"), "1-1");
    assert_string_equal(text_of(o, "stage"), "delta");
    assert_string_equal(text_of(o, "code"), "E_POOL");
    assert_null(json_object_get(o, "moref"));
    assert_int_equal(strlen(text_of(o, "time")), strlen("2026-01-02T03:04:05.678Z"));
    json_decref(o);
}

static void
what_is_no_utf8_or_too_long_is_json_all_the_same(void **state)
{
    CLEANUP(free_charp) char *huge = xcalloc(1, 400 * KIB + 1);
    json_t *o;

    for (size_t i = 0; i + 2 <= 400 * KIB; i += 2)
        memcpy(huge + i, "\xc3\xbc", 2);
    assert_int_equal(log_set_format(LOG_JSON, NULL), 0);
    log_info("caf\xe9");
    log_info("x%s", huge);
    CLEANUP(free_charp) char *text = logged();
    char *second = strchr(text, '\n') + 1;

    second[-1] = '\0';
    o = json_loads(text, 0, NULL);
    assert_string_equal(text_of(o, "message"), "caf?");
    json_decref(o);
    o = json_loads(second, 0, NULL);
    assert_non_null(o);
    assert_true(strlen(text_of(o, "message")) > 255 * KIB);
    assert_non_null(strstr(text_of(o, "message"), "ü"));
    json_decref(o);
}

static void
an_error_tells_its_code(void **state)
{
    struct err *err = NULL;
    json_t *o;

    err_set(&err, E_POOL, "not mounted");
    err_hint(&err, "mount it");
    assert_int_equal(log_set_format(LOG_JSON, NULL), 0);
    log_err(LOG_ERROR, err, "pool nfs1");
    CLEANUP(free_charp) char *text = logged();
    o = json_loads(text, 0, NULL);
    assert_string_equal(text_of(o, "code"), "E_POOL");
    assert_string_equal(text_of(o, "message"), "pool nfs1: not mounted\nhint: mount it");
    json_decref(o);
    err_free(err);
}

/* ---- the journal --------------------------------------------------------------------------------- */

static int
listen_as_journal(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    setenv("V2C_JOURNAL_SOCKET", socket_path, 1);
    return fd;
}

/* Reads a datagram as the journal does: the value of @name, which the caller frees; NULL: it has none. */
static char *
field(const char *datagram, size_t length, const char *name)
{
    const char *p = datagram, *stop = datagram + length;

    while (p < stop) {
        const char *line = memchr(p, '\n', (size_t)(stop - p));
        const char *equals = memchr(p, '=', (size_t)(line - p));
        const char *value = equals ? equals + 1 : line + 9;
        size_t size = 0, name_length = (size_t)((equals ? equals : line) - p);

        if (equals)
            size = (size_t)(line - value);
        for (unsigned i = 0; !equals && i < 8; i++)
            size |= (size_t)(unsigned char)line[1 + i] << (8 * i);
        assert_true(value + size < stop && value[size] == '\n');
        if (strlen(name) == name_length && !memcmp(p, name, name_length))
            return strndup(value, size);
        p = value + size + 1;
    }
    return NULL;
}

static void
check_field(const char *datagram, ssize_t length, const char *name, const char *wanted)
{
    CLEANUP(free_charp) char *value = field(datagram, (size_t)length, name);

    if (!wanted)
        assert_null(value);
    else
        assert_string_equal(value, wanted);
}

static void
the_journal_gets_fields(void **state)
{
    const struct log_fields fields = {.vm = "web01\nPRIORITY=0", .moref = "vm-1", .code = "E_POOL"};
    CLEANUP(free_charp) char *data = xcalloc(1, MAX_READ);
    struct err *err = NULL;
    int fd = listen_as_journal();
    ssize_t n;

    assert_ok(log_set_format(LOG_JOURNALD, &err), &err);
    log_with(&fields, LOG_ERROR, "first\nsecond\x1b\n");
    n = recv(fd, data, MAX_READ, 0);
    assert_true(n > 0);
    check_field(data, n, "MESSAGE", "first\nsecond?");
    check_field(data, n, "PRIORITY", "3");
    check_field(data, n, "SYSLOG_IDENTIFIER", "v2c-engine");
    check_field(data, n, "V2C_VM", "web01\nPRIORITY=0");
    check_field(data, n, "V2C_MOREF", "vm-1");
    check_field(data, n, "V2C_ERROR", "E_POOL");
    check_field(data, n, "V2C_JOB_ID", NULL);
    log_info("plain");
    n = recv(fd, data, MAX_READ, 0);
    check_field(data, n, "MESSAGE", "plain");
    check_field(data, n, "PRIORITY", "6");
    check_field(data, n, "V2C_VM", NULL);
    close(fd);
}

static void
what_the_journal_does_not_take_goes_to_stderr(void **state)
{
    int fd = listen_as_journal();

    assert_int_equal(log_set_format(LOG_JOURNALD, NULL), 0);
    close(fd);
    log_info("nobody listens");
    CLEANUP(free_charp) char *text = logged();
    assert_contains(text, "] nobody listens\n");
}

static void
a_long_message_fits_into_a_datagram(void **state)
{
    CLEANUP(free_charp) char *huge = xcalloc(1, 400 * KIB + 1);
    CLEANUP(free_charp) char *data = xcalloc(1, MAX_READ);
    int fd = listen_as_journal();

    memset(huge, 'x', 400 * KIB);
    assert_int_equal(log_set_format(LOG_JOURNALD, NULL), 0);
    log_info("%s", huge);
    assert_true(recv(fd, data, MAX_READ, MSG_DONTWAIT) > (ssize_t)(90 * KIB));
    close(fd);
}

static void
without_a_journal_it_is_refused(void **state)
{
    struct err *err = NULL;

    setenv("V2C_JOURNAL_SOCKET", "/nonexistent/socket", 1);
    assert_int_equal(log_set_format(LOG_JOURNALD, &err), -1);
    assert_err_says(&err, E_CONFIG, "there is no journal at /nonexistent/socket");
    assert_int_equal(log_format(), LOG_TEXT);
}

#define FORMAT_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FORMAT_TEST(a_line_is_a_json_object),
        FORMAT_TEST(what_is_no_utf8_or_too_long_is_json_all_the_same),
        FORMAT_TEST(an_error_tells_its_code),
        FORMAT_TEST(the_journal_gets_fields),
        FORMAT_TEST(what_the_journal_does_not_take_goes_to_stderr),
        FORMAT_TEST(a_long_message_fits_into_a_datagram),
        FORMAT_TEST(without_a_journal_it_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
