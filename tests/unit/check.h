/* cmocka with its prerequisites, and the checks that every unit test wants. */
#ifndef V2C_TESTS_CHECK_H
#define V2C_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

/* The call that sets *@err must have failed with @code; frees the error. */
#define assert_err(err, code)                                                                      \
    do {                                                                                           \
        assert_string_equal(err_code_name(err_code(*(err))), err_code_name(code));                 \
        err_freep(err);                                                                            \
    } while (0)

/* The same, and its message must contain @text. */
#define assert_err_says(err, code, text)                                                           \
    do {                                                                                           \
        if (!strstr(err_message(*(err)), (text)))                                                  \
            fail_msg("\"%s\" does not contain \"%s\"", err_message(*(err)), (text));               \
        assert_err(err, code);                                                                     \
    } while (0)

/* @call must return 0; shows the error when it does not. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, err_message(*(err)));                                        \
    } while (0)

#define assert_contains(whole, text)                                                               \
    do {                                                                                           \
        if (!strstr((whole), (text)))                                                              \
            fail_msg("\"%s\" does not contain \"%s\"", (whole), (text));                           \
    } while (0)

#endif
