/*
 * A session of the server's own that calls procedures of its realm: dynamic authenticators are
 * asked by it. Nobody sees it join. Lives on one worker.
 */
#ifndef PL_PROTOCOLS_WAMP_ASKER_H
#define PL_PROTOCOLS_WAMP_ASKER_H

#include "codec/value.h"

struct pl_realm;
struct pl_worker;
struct pl_wamp_asker;

/* A call; the caller's memory, until it is answered. */
struct pl_wamp_asked {
    /* result: the first argument; NULL: an error, no argument, or nobody will ever answer.
     * Borrowed. Once, on the worker. */
    void (*answered)(struct pl_wamp_asked *asked, const struct pl_value *result);
    /* The asker's. */
    struct pl_wamp_asked *next;
    uint64_t token;
};

/* Joins the realm. On the worker's thread, or before it runs. */
PL_MUST_USE enum pl_err pl_wamp_asker_new(
    struct pl_realm *realm, struct pl_worker *worker, struct pl_wamp_asker **out);
/* After it has left the realm, which it does when it is ended. Returns NULL; accepts NULL. */
struct pl_wamp_asker *pl_wamp_asker_free(struct pl_wamp_asker *asker);

/* arguments: a list in MessagePack; borrowed. procedure lives as long as the asker. On the worker;
 * may answer before it returns. */
void pl_wamp_asker_call(struct pl_wamp_asker *asker, const char *procedure,
    struct pl_shared *arguments, struct pl_wamp_asked *asked);

#endif
