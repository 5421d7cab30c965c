/*
 * Pages on the ports of clients: files of web.root, other servers by web.proxies, and the way from
 * HTTP to HTTPS.
 *
 *     reactor   a request → an errand, which pauses the connection → a thread of the pool
 *     pool      opens, reads, compresses; or asks the other server   → back, with head and bytes
 *     reactor   appends them; while there are more, waits until the client has taken these
 */
#ifndef PL_SERVER_SITE_H
#define PL_SERVER_SITE_H

#include "base/bytes.h"

struct pl_conn;
struct pl_diag;
struct pl_http_request;
struct pl_place;
struct pl_proxy_target;
struct pl_server;
struct pl_web;

/* What the configuration says. *out NULL: no pages. */
PL_MUST_USE enum pl_err pl_web_open(
    struct pl_server *server, struct pl_web **out, struct pl_diag *diag);
/* Before the reactors end: no errand is with a thread any more. Accepts NULL. */
void pl_web_end(struct pl_web *web);
/* After them. Returns NULL; accepts NULL. */
struct pl_web *pl_web_free(struct pl_web *web);

/* What it has done so far; any thread. */
struct pl_web_counts {
    uint64_t answers[10]; /* by the first digit of their status */
    uint32_t files_waiting, proxies_waiting;
    size_t cache_bytes;
};
void pl_web_counts(struct pl_web *web, struct pl_web_counts *out);

/* Is this Host one of ours, on a listener of pages? Then whoever names it may use it. */
bool pl_web_has_host(const struct pl_place *place, struct pl_bytes host);

/* Whose the path is, of web.proxies; NULL: nobody's. See pl_forward_begin. */
const struct pl_proxy_target *pl_web_target(
    const struct pl_place *place, const struct pl_http_request *request);

/*
 * Answers a request, now or later. False: there are no pages on this listener, and nothing was
 * done.
 */
bool pl_web_serve(
    struct pl_conn *conn, struct pl_place *place, const struct pl_http_request *request);

#endif
