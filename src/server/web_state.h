/*
 * What site.c and forward.c share.
 */
#ifndef PL_SERVER_WEB_STATE_H
#define PL_SERVER_WEB_STATE_H

#include "server/errand.h"
#include "server/site.h"
#include "web/proxy.h"

/* Constant after the start, but for what its parts guard by themselves. */
struct pl_web {
    struct pl_server *server;
    struct pl_site *site;            /* owned; NULL: no files */
    struct pl_proxy *proxy;          /* owned; NULL: no other servers */
    struct pl_proxy_target *targets; /* owned array */
    struct pl_line files;            /* with a file open, or about to open one */
    struct pl_line proxied;          /* with an upstream, or with an answer of one */
    struct pl_web_tally tally;
    atomic_size_t bodies; /* bytes of requests' bodies, of proxied ones */
};

#endif
