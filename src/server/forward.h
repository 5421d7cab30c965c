/*
 * Requests that go on to another server: the body is gathered first, then a thread asks.
 */
#ifndef PL_SERVER_FORWARD_H
#define PL_SERVER_FORWARD_H

struct pl_conn;
struct pl_http_request;
struct pl_proxy_target;
struct pl_web;

/* From inside on_input, the head being taken. An errand is begun, or the request refused. */
void pl_forward_begin(struct pl_conn *conn, struct pl_web *web,
    const struct pl_proxy_target *target, const struct pl_http_request *request);

#endif
