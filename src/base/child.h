/* Child processes: started without a shell, with a chosen environment and fds, killed and waited for
 * by pid, never left behind.  All of our fds are close-on-exec; only what @pass_fds names is handed
 * down.  A child dies with its parent when @dies_with_parent is set (PR_SET_PDEATHSIG). */
#ifndef V2C_BASE_CHILD_H
#define V2C_BASE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct child_fd {
    int ours;   /* fd in this process; stays open here */
    int theirs; /* its number in the child: 0, 1, 2, or 3 and up without gaps */
};

struct child_spec {
    const char *const *argv; /* NULL terminated; argv[0] is looked up in PATH when it has no '/' */
    const char *const
        *set_env; /* "NAME=value" pairs added to our environment, NULL terminated; or NULL */
    const char *const *drop_env; /* names left out of it, NULL terminated; or NULL */
    const struct child_fd *pass_fds;
    size_t pass_fd_count; /* 0, 1 and 2 not named: 0 is /dev/null, 1 and 2 are ours */
    bool dies_with_parent;
    /* What it has started ends with it, however it ends: it leads a process group, and a guard between us
     * and it kills that group.  The guard's pid is what child.pid is; a program killed by signal N is seen
     * as exit status 128 + N.  Asked to stop it has 2 s.  Includes dies_with_parent. */
    bool takes_along;
};

struct child {
    pid_t pid; /* 0 when none runs */
    int pidfd; /* readable when it has ended; -1 when none runs */
};

/* Variables that hold credentials: no child gets them, as everybody who may look at its environment would. */
extern const char *const child_secrets[];

#define CHILD_NONE ((struct child){.pidfd = -1})

/* E_SPAWN when the program cannot be started (missing, no permission): the exec error itself. */
int child_start(const struct child_spec *spec, struct child *ret_child, struct err **err);
/* Waits at most @timeout_ms (-1: without end).  *ret_status is as of waitpid.  E_TIMEOUT. */
int child_wait(struct child *child, int timeout_ms, int *ret_status, struct err **err);
/* SIGTERM, up to @grace_ms, SIGKILL; waits for the end.  Nothing happens when none runs. */
void child_stop(struct child *child, int grace_ms);
/* "exit status 3", "killed by SIGSEGV"; static storage of the calling thread. */
const char *child_describe_status(int status);
/* The credentials of our environment in a file in memory, for a child that has to have them, and @more
 * ("V2C_...=value", NULL terminated, or NULL) in their place or beside them: pass it the fd.  The caller
 * closes *ret_fd. */
int child_hand_secrets_over(const char *const *more, int *ret_fd, struct err **err);
/* In that child: takes them into our environment, where its own children do not find what is a credential;
 * closes @fd.  Before other threads are started. */
int child_take_secrets_over(int fd, struct err **err);

/* Runs to the end and collects stdout and stderr together, at most @max_output bytes of it (the rest
 * is read and dropped).  The caller frees *ret_output.  E_TIMEOUT kills the child. */
int child_run(const struct child_spec *spec, int timeout_ms, size_t max_output, char **ret_output,
              int *ret_status, struct err **err);

#endif
