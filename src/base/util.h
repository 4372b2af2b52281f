/* The vocabulary of ownership: clean-up at scope end, and taking a value out of its variable. */
#ifndef V2C_BASE_UTIL_H
#define V2C_BASE_UTIL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* `CLEANUP(qcow2_closep) struct qcow2_image *image = NULL;` calls qcow2_closep(&image) at scope end. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* The value of @p, which becomes 0/NULL: `*ret_image = take(image);`. */
#define take(p)                                                                                    \
    ({                                                                                             \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = 0;                                                                                   \
        taken_;                                                                                    \
    })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

#define KIB           1024ULL
#define MIB           (1024ULL * KIB)
#define GIB           (1024ULL * MIB)
#define TIB           (1024ULL * GIB)

static inline uint64_t
round_down(uint64_t value, uint64_t unit)
{
    return value - value % unit;
}

/* The caller has made sure that value + unit does not overflow. */
static inline uint64_t
round_up(uint64_t value, uint64_t unit)
{
    return round_down(value + unit - 1, unit);
}

static inline void
free_charp(char **p)
{
    free(*p);
}

static inline void
close_fdp(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void
unlock_mutexp(pthread_mutex_t **mutex)
{
    if (*mutex)
        pthread_mutex_unlock(*mutex);
}

#define SCOPE_LOCK_NAME2(line) scope_lock_##line
#define SCOPE_LOCK_NAME(line)  SCOPE_LOCK_NAME2(line)
/* Takes @mutex until the end of the scope. */
#define SCOPE_LOCK(mutex)                                                                          \
    CLEANUP(unlock_mutexp) pthread_mutex_t *SCOPE_LOCK_NAME(__LINE__) = (mutex);                   \
    pthread_mutex_lock(SCOPE_LOCK_NAME(__LINE__))

/* Memory that is never NULL: running out of it for small things ends the process, as a crash would;
 * a crash is safe everywhere.  Large or outside-controlled sizes use malloc and report E_MEMORY. */
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t count, size_t size);
char *xstrdup(const char *s); /* NULL stays NULL */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
