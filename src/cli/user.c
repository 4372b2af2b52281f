/* `user`: who may sign in to the service. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/command.h"
#include "config/config.h"
#include "store/accounts.h"

struct user_values {
    const char *config, *control_dir, *role, *password_file, *token_name;
    bool generate;
};

static const struct option_def user_options[] = {
    {"config", OPTION_TEXT, offsetof(struct user_values, config), "FILE",
     "Configuration (default: config.yaml, else ../config.yaml)."},
    {"control-dir", OPTION_TEXT, offsetof(struct user_values, control_dir), "DIR",
     "Where state is kept, instead of migration.control_dir."},
    {"role", OPTION_TEXT, offsetof(struct user_values, role), "ROLE",
     "viewer, operator or admin; of `add` and `token`."},
    {"password-file", OPTION_TEXT, offsetof(struct user_values, password_file), "FILE",
     "File with the password in its first line, instead of asking for it; - is standard input."},
    {"generate", OPTION_BOOL, offsetof(struct user_values, generate), NULL,
     "Make a password, and print it this once."},
    {"name", OPTION_TEXT, offsetof(struct user_values, token_name), "NAME",
     "What the token is called; of `token`."},
    OPTION_END,
};

/* ---- passwords ------------------------------------------------------------------------------------- */

static int
read_line(FILE *stream, char **ret, struct err **err)
{
    char *line = NULL;
    size_t room = 0;

    if (getline(&line, &room, stream) < 0) {
        free(line);
        return err_set(err, E_USAGE, "no password was given");
    }
    line[strcspn(line, "\r\n")] = '\0';
    *ret = line;
    return 0;
}

static int
ask(const char *prompt, char **ret, struct err **err)
{
    struct termios before, quiet;
    int rc;

    fprintf(stderr, "%s: ", prompt);
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return err_set_errno(err, E_USAGE, errno, "the terminal");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    rc = read_line(stdin, ret, err);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return rc;
}

static int
ask_twice(char **ret, struct err **err)
{
    CLEANUP(free_charp) char *first = NULL;
    CLEANUP(free_charp) char *second = NULL;

    if (ask("password", &first, err) < 0 || ask("once more", &second, err) < 0)
        return -1;
    if (strcmp(first, second) != 0)
        return err_set(err, E_USAGE, "the two are not the same");
    *ret = take(first);
    return 0;
}

static int
read_password_file(const char *path, char **ret, struct err **err)
{
    FILE *stream = !strcmp(path, "-") ? stdin : fopen(path, "re");
    int rc;

    if (!stream)
        return err_set_errno(err, E_USAGE, errno, "%s", path);
    rc = read_line(stream, ret, err);
    if (stream != stdin)
        (void)fclose(stream);
    return rc;
}

static int
get_hash(const struct user_values *v, char **ret_hash, struct err **err)
{
    CLEANUP(free_charp) char *password = NULL;
    int rc;

    if (v->generate)
        rc = api_random_password(&password, err);
    else if (v->password_file)
        rc = read_password_file(v->password_file, &password, err);
    else if (isatty(STDIN_FILENO))
        rc = ask_twice(&password, err);
    else
        rc = err_set(err, E_USAGE, "give --password-file or --generate");
    if (rc < 0 || api_hash_password(password, ret_hash, err) < 0)
        return -1;
    if (v->generate)
        printf("%s\n", password);
    explicit_bzero(password, strlen(password));
    return 0;
}

/* ---- what can be done ------------------------------------------------------------------------------ */

static int
parse_role(const char *text, enum store_role *ret, struct err **err)
{
    if (text && store_role_from_name(text, ret))
        return 0;
    return err_set(err, E_USAGE, "--role: expected viewer, operator or admin");
}

static int
do_add(struct store *store, const struct user_values *v, const char *name, struct err **err)
{
    struct store_account account = {.created_at = clock_wall_s()};
    enum store_role role;
    int rc;

    if (parse_role(v->role, &role, err) < 0 || get_hash(v, &account.password, err) < 0)
        return -1;
    account.name = xstrdup(name);
    account.role = (int32_t)role;
    rc = store_account_add(store, &account, err);
    store_account_done(&account);
    return rc;
}

static int
do_password(struct store *store, const struct user_values *v, const char *name, struct err **err)
{
    struct store_account account = {0};
    CLEANUP(free_charp) char *hash = NULL;
    int rc;

    if (store_account_get(store, name, &account, err) < 0)
        return -1;
    rc = get_hash(v, &hash, err);
    if (rc == 0) {
        free(account.password);
        account.password = take(hash);
        rc = store_account_change(store, &account, err);
    }
    store_account_done(&account);
    return rc;
}

static int
do_role(struct store *store, const struct user_values *v, const char *name, struct err **err)
{
    struct store_account account = {0};
    enum store_role role;
    int rc;

    if (parse_role(v->role, &role, err) < 0 || store_account_get(store, name, &account, err) < 0)
        return -1;
    account.role = (int32_t)role;
    rc = store_account_change(store, &account, err);
    store_account_done(&account);
    return rc;
}

static int
do_remove(struct store *store, const struct user_values *v, const char *name, struct err **err)
{
    return store_account_delete(store, name, err);
}

static int
do_token(struct store *store, const struct user_values *v, const char *name, struct err **err)
{
    struct store_account account = {0};
    CLEANUP(free_charp) char *token = NULL;
    enum store_role role;
    int rc;

    if (store_account_get(store, name, &account, err) < 0)
        return -1;
    role = (enum store_role)account.role;
    rc = v->role ? parse_role(v->role, &role, err) : 0;
    if (rc == 0 && (int32_t)role > account.role)
        rc = err_set(err, E_USAGE, "--role: %s is %s, and so is a token at most", name,
                     store_role_name((enum store_role)account.role));
    if (rc == 0)
        rc = api_make_token(store, name, v->token_name ? v->token_name : "command line", (int)role,
                            &token, err);
    if (rc == 0)
        printf("%s\n", token);
    store_account_done(&account);
    return rc;
}

static int
do_list(struct store *store, struct err **err)
{
    struct store_accounts accounts;

    if (store_account_list(store, &accounts, err) < 0)
        return -1;
    for (size_t i = 0; i < accounts.count; i++)
        printf("%-30s %s\n", accounts.items[i].name,
               store_role_name((enum store_role)accounts.items[i].role));
    store_accounts_done(&accounts);
    return 0;
}

/* ---- command --------------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    int (*act)(struct store *store, const struct user_values *v, const char *name,
               struct err **err);
} actions[] = {
    {"add", do_add},       {"password", do_password}, {"role", do_role},
    {"remove", do_remove}, {"token", do_token},
};

static int
open_store(const struct user_values *v, struct store **ret, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *path = v->config ? xstrdup(v->config) : config_default_path();

    if (v->control_dir)
        return file_make_dirs(v->control_dir, 0750, err) < 0
                   ? -1
                   : store_open(v->control_dir, false, ret, err);
    if (config_load(path, true, &config, NULL, err) < 0 ||
        file_make_dirs(config->migration.control_dir, 0750, err) < 0)
        return -1;
    return store_open(config->migration.control_dir, false, ret, err);
}

static bool
is_valid_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-") ==
               length;
}

static int
run_user(void *opaque, const struct words *words, struct err **err)
{
    const struct user_values *v = opaque;
    CLEANUP(store_closep) struct store *store = NULL;
    const char *word = words->count ? words->items[0] : "";

    if (!strcmp(word, "list") && words->count == 1)
        return open_store(v, &store, err) < 0 ? -1 : do_list(store, err);
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        if (strcmp(actions[i].word, word) != 0)
            continue;
        if (words->count != 2 || !is_valid_name(words->items[1]))
            return err_set(err, E_USAGE,
                           "expected one NAME of letters, digits and . _ @ - behind %s", word);
        return open_store(v, &store, err) < 0 ? -1 : actions[i].act(store, v, words->items[1], err);
    }
    return err_set(err, E_USAGE, "expected add, password, role, remove, token or list");
}

const struct command command_user = {
    .name = "user",
    .words = "add|password|role|remove|token NAME | list",
    .summary = "say who may sign in to the web service",
    .description =
        "`add` makes a user, `password` sets a new password and ends the user's sessions, `role` "
        "changes what the user may do, `remove` takes sessions and tokens along, `token` makes a "
        "token for programs and prints it this once, `list` shows all users.\n\n"
        "A viewer looks, an operator migrates, an admin also changes users and limits. The service "
        "need not run, and need not be started again.",
    .options = user_options,
    .values_size = sizeof(struct user_values),
    .has_late_flags = true,
    .run = run_user,
};
