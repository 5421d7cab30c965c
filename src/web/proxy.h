/*
 * Requests that other servers answer: those below a prefix of the path, by plain HTTP.
 *
 *     reactor         pl_proxy_find, pl_proxy_ask_make; the body is gathered by the caller
 *     another thread  pl_proxy_answer
 *
 * Of the head what concerns one connection alone stays here (RFC 9110, section 7.6.1). The upstream
 * is told who asks by X-Forwarded-For, -Proto and -Host, which nobody else can say.
 */
#ifndef PL_WEB_PROXY_H
#define PL_WEB_PROXY_H

#include <stdatomic.h>

#include "base/arena.h"
#include "web/site.h"

struct pl_http_request;
struct pl_proxy;

struct pl_proxy_target {
    const char *prefix; /* borrowed; slashes around it do not count */
    const char *url;    /* borrowed; "http://host:port" or with a path */
};

struct pl_proxy_options {
    const struct pl_proxy_target *targets; /* borrowed */
    uint32_t target_count;
    uint64_t connect_timeout_ms, timeout_ms;
    uint64_t answer_max; /* bytes of an answer's body */
    uint32_t idle_max;   /* connections to upstreams that are kept */
};

/* Before there are threads: libcurl is prepared. PL_NO_MEMORY, PL_IO. */
PL_MUST_USE enum pl_err pl_proxy_new(const struct pl_proxy_options *options, struct pl_proxy **out);
/* Any thread: what is being asked ends soon. Accepts NULL. */
void pl_proxy_end(struct pl_proxy *proxy);
/* Returns NULL; accepts NULL. */
struct pl_proxy *pl_proxy_free(struct pl_proxy *proxy);

/* Whose prefix is the longest above the path, as it was sent; NULL: nobody's. */
const struct pl_proxy_target *pl_proxy_find(const struct pl_proxy *proxy, struct pl_bytes path);

/* A request for an upstream; texts lie in the arena. */
struct pl_proxy_ask {
    const char *url, *method;
    const char **lines; /* "Name: value" of its head */
    uint32_t line_count;
    struct pl_bytes body; /* the caller's */
    bool has_body;
    bool is_head, keeps_alive, is_old;
    const atomic_bool *is_gone; /* nobody waits for it any more */
};

/* PL_NOT_FOUND: a path that goes up. PL_NO_MEMORY. address: who asks. */
PL_MUST_USE enum pl_err pl_proxy_ask_make(const struct pl_proxy_target *target,
    const struct pl_http_request *request, struct pl_bytes address, bool is_tls,
    struct pl_arena *arena, struct pl_proxy_ask *out);

/* Never without an answer, 502 or 504 of ours if need be, but for PL_NO_MEMORY and, where nobody
 * waits, PL_CLOSED. why: what went wrong with the upstream, else empty. Blocks. */
PL_MUST_USE enum pl_err pl_proxy_answer(struct pl_proxy *proxy, const struct pl_proxy_ask *ask,
    struct pl_web_answer *out, struct pl_diag *why);

#endif
