#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static const struct option_def *
find_option(const struct option_def *defs, const char *name, size_t length)
{
    for (; defs->name; defs++)
        if (strlen(defs->name) == length && !memcmp(defs->name, name, length))
            return defs;
    return NULL;
}

static int
parse_bool(const char *text, bool *value)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (!strcmp(text, yes[i])) {
            *value = true;
            return 0;
        }
        if (!strcmp(text, no[i])) {
            *value = false;
            return 0;
        }
    }
    return -1;
}

static int
parse_int(const char *text, int64_t *value)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno || end == text || *end || text[0] == ' ')
        return -1;
    *value = number;
    return 0;
}

static bool
is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

static int
set_value(const struct option_def *def, const char *text, void *values, struct err **err)
{
    void *value = (char *)values + def->offset;

    if (def->given)
        *(bool *)((char *)values + def->given) = true;
    switch (def->kind) {
    case OPTION_BOOL:
        if (parse_bool(text, value) < 0)
            return err_set(err, E_USAGE, "--%s=%s: expected true or false", def->name, text);
        break;
    case OPTION_INT:
        if (parse_int(text, value) < 0)
            return err_set(err, E_USAGE, "--%s %s: expected a whole number", def->name, text);
        break;
    case OPTION_TEXT:
        *(const char **)value = text;
        break;
    case OPTION_LIST:
        if (!is_blank(text))
            vec_push((struct words *)value, text);
        break;
    }
    return 0;
}

static bool
is_flag(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

static int
take_words(int argc, char **argv, struct words *ret_words, struct err **err)
{
    for (int i = 0; i < argc; i++) {
        if (is_flag(argv[i])) {
            err_set(err, E_USAGE, "%s stands behind %s", argv[i], argv[0]);
            return err_hint(err, "flags come first, or put -- before a name that begins with '-'");
        }
    }
    for (int i = 0; i < argc; i++)
        if (!is_blank(argv[i]))
            vec_push(ret_words, argv[i]);
    return 0;
}

int
options_parse(const struct option_def *defs, int argc, char **argv, void *values,
              struct words *ret_words, bool *ret_help, struct err **err)
{
    int i = 0;

    while (i < argc && is_flag(argv[i])) {
        const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
        size_t length = strcspn(name, "=");
        const char *text = name[length] ? name + length + 1 : NULL;
        const struct option_def *def;

        i++;
        if (!strcmp(argv[i - 1], "--")) {
            for (; i < argc; i++)
                vec_push(ret_words, argv[i]);
            return 0;
        }
        if (!strcmp(name, "h") || !strcmp(name, "help")) {
            *ret_help = true;
            return 0;
        }
        def = find_option(defs, name, length);
        if (!def)
            return err_set(err, E_USAGE, "unknown flag --%.*s", (int)length, name);
        if (!text && def->kind == OPTION_BOOL)
            text = "true";
        if (!text) {
            if (i == argc)
                return err_set(err, E_USAGE, "--%s needs a value: --%s %s", def->name, def->name,
                               def->value);
            text = argv[i++];
        }
        if (set_value(def, text, values, err) < 0)
            return -1;
    }
    return take_words(argc - i, argv + i, ret_words, err);
}

void
options_done(const struct option_def *defs, void *values)
{
    for (; defs->name; defs++)
        if (defs->kind == OPTION_LIST)
            vec_done((struct words *)((char *)values + defs->offset));
}
