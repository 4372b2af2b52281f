/* Every handler of routes.def. */
#ifndef V2C_API_HANDLERS_H
#define V2C_API_HANDLERS_H

struct err;
struct request;

#define ROUTE(method, path, role, lane, audit, handler)                                            \
    int handler(struct request *r, struct err **err);
#include "api/routes.def"
#undef ROUTE

#endif
