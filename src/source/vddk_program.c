#include "source/vddk_program.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/err.h"
#include "base/util.h"
#include "source/source.h"

#define PROBE_TIMEOUT_MS 30000
#define PROBE_OUTPUT     (16U << 10)

char *
vddk_find_program(const char *given)
{
    static const char *const places[] = {"", "/../libexec/v2c-engine", "/../vddk"};
    const char *from_env = getenv("V2C_VDDK_PROGRAM");
    char self[4096];
    ssize_t length;
    char *slash;

    if (given)
        return xstrdup(given);
    if (from_env && *from_env)
        return xstrdup(from_env);
    length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[MAX(length, 0)] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
        CLEANUP(free_charp) char *path = xasprintf("%s%s/v2c-vddk", self, places[i]);

        if (access(path, X_OK) == 0)
            return take(path);
    }
    return xasprintf("%s/v2c-vddk", slash ? self : ".");
}

int
vddk_library_variable(const char *libdir, char **ret_variable, struct err **err)
{
    CLEANUP(free_charp) char *lib64 = xasprintf("%s/lib64", libdir);

    if (strpbrk(libdir, ":;$")) {
        err_set(err, E_VDDK_LIBRARY, "the path of VDDK has one of : ; $ in it: %s", libdir);
        return err_hint(err, "the dynamic linker cannot look there: move it");
    }
    *ret_variable = xasprintf("LD_LIBRARY_PATH=%s", access(lib64, F_OK) == 0 ? lib64 : libdir);
    return 0;
}

/* The last line: what came before is the library's own chatter. */
static char *
last_line(char *output)
{
    size_t length = strlen(output);
    char *line;

    while (length && output[length - 1] == '\n')
        output[--length] = '\0';
    line = strrchr(output, '\n');
    return line ? line + 1 : output;
}

int
source_vddk_probe(const char *libdir, char **ret_library, struct err **err)
{
    CLEANUP(free_charp) char *program = vddk_find_program(NULL);
    CLEANUP(free_charp) char *variable = NULL;
    CLEANUP(free_charp) char *output = NULL;
    const char *argv[] = {program, "--probe", libdir, NULL};
    int status;

    if (vddk_library_variable(libdir, &variable, err) < 0 ||
        child_run(
            &(struct child_spec){
                .argv = argv,
                .set_env = (const char *const[]){variable, NULL},
                .dies_with_parent = true,
            },
            PROBE_TIMEOUT_MS, PROBE_OUTPUT, &output, &status, err) < 0)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        *ret_library = xstrdup(last_line(output));
        return 0;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
        return err_set(err, E_VDDK_LIBRARY, "%s", last_line(output));
    return err_set(err, E_VDDK_CRASH, "loading VDDK from %s ended with %s", libdir,
                   child_describe_status(status));
}
