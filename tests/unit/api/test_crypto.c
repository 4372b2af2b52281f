#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "api/internal.h"
#include "base/file.h"

static void
a_password_is_known_again_and_another_is_not(void **state)
{
    CLEANUP(free_charp) char *hash = NULL;
    CLEANUP(free_charp) char *again = NULL;
    bool is_right = false;

    assert_int_equal(api_hash_password("correct horse", &hash, NULL), 0);
    assert_int_equal(api_hash_password("correct horse", &again, NULL), 0);
    assert_string_not_equal(hash, again); /* each has a salt of its own */
    assert_null(strstr(hash, "correct"));
    assert_int_equal(crypto_check_password("correct horse", hash, &is_right, NULL), 0);
    assert_true(is_right);
    assert_int_equal(crypto_check_password("correct horsf", hash, &is_right, NULL), 0);
    assert_false(is_right);
    assert_int_equal(crypto_check_password("", hash, &is_right, NULL), 0);
    assert_false(is_right);
}

static void
passwords_that_are_too_short_or_too_long_are_refused(void **state)
{
    char text[2000];
    char *hash = NULL;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(api_hash_password("short", &hash, NULL), -1);
    assert_int_equal(api_hash_password(text, &hash, NULL), -1);
    assert_null(hash);
}

static void
a_broken_record_of_a_password_is_an_error(void **state)
{
    static const char *const broken[] = {
        "", "scrypt$", "scrypt$99$00$00", "scrypt$15$zz$00", "scrypt$15$00$0011", "plain"};
    bool is_right = true;

    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct err *err = NULL;

        assert_int_equal(crypto_check_password("correct horse", broken[i], &is_right, &err), -1);
        assert_int_equal(err_code(err), E_STORE_DAMAGED);
        assert_false(is_right);
        err_free(err);
    }
}

static void
a_sealed_text_opens_with_its_key_and_its_subject_only(void **state)
{
    unsigned char key[32] = {1}, other[32] = {2};
    CLEANUP(free_charp) char *sealed = NULL;
    CLEANUP(free_charp) char *opened = NULL;
    struct err *err = NULL;

    assert_int_equal(crypto_seal(key, "secret", "vc-1", &sealed, NULL), 0);
    assert_null(strstr(sealed, "secret"));
    assert_int_equal(crypto_open(key, sealed, "vc-1", &opened, NULL), 0);
    assert_string_equal(opened, "secret");
    free(take(opened));
    assert_int_equal(crypto_open(other, sealed, "vc-1", &opened, &err), -1);
    err_free(take(err));
    assert_int_equal(crypto_open(key, sealed, "vc-2", &opened, &err), -1);
    err_free(take(err));
    for (size_t i = 0; i < strlen(sealed); i += 7) {
        char before = sealed[i];

        sealed[i] = before == '0' ? '1' : '0';
        assert_int_equal(crypto_open(key, sealed, "vc-1", &opened, NULL), -1);
        sealed[i] = before;
    }
    sealed[20] = '\0';
    assert_int_equal(crypto_open(key, sealed, "vc-1", &opened, NULL), -1);
    assert_int_equal(crypto_open(key, "", "vc-1", &opened, NULL), -1);
    assert_null(opened);
}

static void
the_key_is_made_once_and_for_us_alone(void **state)
{
    char dir[] = "/tmp/v2c-key-XXXXXX";
    unsigned char first[32], second[32];
    CLEANUP(free_charp) char *path = NULL;
    struct err *err = NULL;
    struct stat st;

    assert_non_null(mkdtemp(dir));
    path = file_join(dir, "service.key");
    assert_int_equal(crypto_load_key(dir, first, NULL), 0);
    assert_int_equal(crypto_load_key(dir, second, NULL), 0);
    assert_memory_equal(first, second, 32);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(file_replace(path, "nonsense\n", 9, 0600, NULL), 0);
    assert_int_equal(crypto_load_key(dir, first, &err), -1);
    assert_int_equal(err_code(err), E_CONFIG);
    assert_non_null(err_hint_text(err));
    err_free(err);
    (void)unlink(path);
    (void)rmdir(dir);
}

/* Each process makes its own where none is there yet: all of them must end up with the same. */
static void
services_that_start_at_once_have_one_key(void **state)
{
    enum { PROCESSES = 12 };
    char dir[] = "/tmp/v2c-crypto-XXXXXX";
    CLEANUP(free_charp) char *path = NULL;
    unsigned char keys[PROCESSES][32];
    int ends[2], start[2];
    char go;

    assert_non_null(mkdtemp(dir));
    path = file_join(dir, "service.key");
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(start), 0);
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            unsigned char key[32];

            close(start[1]);
            if (read(start[0], &go, 1) == 0 && crypto_load_key(dir, key, NULL) == 0)
                (void)!write(ends[1], key, sizeof(key));
            _exit(0);
        }
    close(start[0]);
    close(ends[1]);
    close(start[1]); /* now */
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(read(ends[0], keys[i], 32), 32);
    close(ends[0]);
    for (int i = 0; i < PROCESSES; i++) {
        assert_memory_equal(keys[i], keys[0], 32);
        assert_true(wait(NULL) > 0);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing else is left in it */
}

static void
random_texts_fit_into_headers_and_differ(void **state)
{
    CLEANUP(free_charp) char *a = crypto_random_text("v2c_", 32, NULL);
    CLEANUP(free_charp) char *b = crypto_random_text("v2c_", 32, NULL);

    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 4 + 43);
    assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"),
                     strlen(a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_known_again_and_another_is_not),
        cmocka_unit_test(passwords_that_are_too_short_or_too_long_are_refused),
        cmocka_unit_test(a_broken_record_of_a_password_is_an_error),
        cmocka_unit_test(a_sealed_text_opens_with_its_key_and_its_subject_only),
        cmocka_unit_test(the_key_is_made_once_and_for_us_alone),
        cmocka_unit_test(services_that_start_at_once_have_one_key),
        cmocka_unit_test(random_texts_fit_into_headers_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
