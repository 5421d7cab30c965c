/*
 * What a client needs of a router in its own process: a connection. The first member of whatever
 * struct parley_router is.
 */
#ifndef PL_CLIENT_ROUTER_H
#define PL_CLIENT_ROUTER_H

#include "base/err.h"

struct parley_router {
    /* A connected descriptor whose other end the router serves as RawSocket. Any thread. */
    enum pl_err (*connect)(struct parley_router *router, int *out_fd);
};

#endif
