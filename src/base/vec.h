/* A typed growing array.
 *
 *     VEC_DECLARE(name_vec, char *);            // struct name_vec { char **items; size_t count, room; }
 *     struct name_vec names = {0};
 *     vec_push(&names, xstrdup("scsi0:1"));
 *     for (size_t i = 0; i < names.count; i++) use(names.items[i]);
 *     vec_done(&names);                         // frees the array, not what the items own
 */
#ifndef V2C_BASE_VEC_H
#define V2C_BASE_VEC_H

#include "base/util.h"

#define VEC_DECLARE(name, type)                                                                    \
    struct name {                                                                                  \
        type *items;                                                                               \
        size_t count, room;                                                                        \
    }

#define vec_reserve(v, n)                                                                          \
    do {                                                                                           \
        if ((n) > (v)->room) {                                                                     \
            (v)->room = MAX((size_t)(n), (v)->room * 2);                                           \
            (v)->items = xrealloc((v)->items, (v)->room, sizeof((v)->items[0]));                   \
        }                                                                                          \
    } while (0)

#define vec_push(v, ...)                                                                           \
    do {                                                                                           \
        vec_reserve((v), (v)->count + 1);                                                          \
        (v)->items[(v)->count++] = (__VA_ARGS__);                                                  \
    } while (0)

#define vec_done(v)                                                                                \
    do {                                                                                           \
        free((v)->items);                                                                          \
        (v)->items = NULL;                                                                         \
        (v)->count = (v)->room = 0;                                                                \
    } while (0)

#endif
