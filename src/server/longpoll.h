/*
 * WAMP by HTTP long-poll, for peers that have nothing else: POST requests with bodies.
 *
 *     …/open            {"protocols": ["wamp.2.json"]} → {"protocol": …, "transport": ID}
 *     …/ID/receive      held until there is a message; 200 and the message, or 204 after a while
 *     …/ID/send         a message → 204
 *     …/ID/close        → 204
 *
 * 404: there is no such transport. Any path may stand in front. A transport that nobody asks for is
 * closed after a minute.
 *
 * A transport is a link without a connection: it lives on the shard that its id names, and requests
 * come to it from whatever shard their connections are on.
 */
#ifndef PL_SERVER_LONGPOLL_H
#define PL_SERVER_LONGPOLL_H

#include "server/state.h"

/* Is this request one for a transport, by its method and path? */
bool pl_longpoll_is_asked(const struct pl_place *place, const struct pl_http_request *request);
/* Answers it, now or later. body is whole. */
void pl_longpoll_serve(struct pl_conn *conn, const struct pl_place *place,
    const struct pl_http_request *request, struct pl_bytes body, bool is_ambient);

/* On the shard: tells each peer that the server goes down; ends all. */
void pl_longpolls_drain(struct pl_shard *shard);
void pl_longpolls_close(struct pl_shard *shard);
/* After its thread has ended. */
void pl_longpolls_free(struct pl_shard *shard);

#endif
