/* A router inside a program: the server without its command line. */
#include <parley/parley.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "client/router.h"
#include "server/server.h"

struct embedded {
    struct parley_router base; /* first */
    struct pl_server *server;
};

static struct embedded *of(struct parley_router *router)
{
    return (struct embedded *)(void *)router;
}

static enum pl_err connect_client(struct parley_router *router, int *out_fd)
{
    return pl_server_connect(of(router)->server, out_fd);
}

static enum parley_code code_of(enum pl_err err)
{
    switch (err) {
    case PL_OK:
        return PARLEY_OK;
    case PL_NO_MEMORY:
        return PARLEY_NO_MEMORY;
    case PL_EXISTS:
    case PL_DENIED:
    case PL_IO:
        return PARLEY_IO;
    default:
        return PARLEY_CONFIG;
    }
}

enum parley_code parley_router_new(const struct parley_router_options *given,
    struct parley_router **out_router, char *error, size_t error_size)
{
    struct parley_router_options options = PARLEY_ROUTER_OPTIONS;
    struct pl_diag diag = {{0}, 0};
    if (given && given->size > sizeof options)
        return PARLEY_INVALID;
    if (given)
        memcpy(&options, given, given->size);
    struct embedded *router = pl_zalloc(sizeof *router);
    const struct pl_server_options server = {
        .config_file = options.config_file,
        .config_text = options.config,
        .sets = options.sets,
        .set_count = (uint32_t)options.set_count,
        .has_no_listeners = options.no_listeners,
        .needs_local_login = options.local_login,
    };
    enum pl_err err = router ? pl_server_open(&server, &router->server, &diag) : PL_NO_MEMORY;
    if (error && error_size)
        snprintf(error, error_size, "%s", !err ? "" : diag.text[0] ? diag.text : pl_err_text(err));
    if (err) {
        pl_free(router);
        return code_of(err);
    }
    router->base.connect = connect_client;
    *out_router = &router->base;
    return PARLEY_OK;
}

uint16_t parley_router_port(struct parley_router *router, const char *listener)
{
    return pl_server_port(of(router)->server, listener);
}

void parley_router_free(struct parley_router *router)
{
    if (!router)
        return;
    pl_server_close(of(router)->server);
    pl_free(router);
}
