/*
 * From an HTTP request to a WebSocket (RFC 6455, section 4.2), and small HTTP answers.
 *
 *     struct pl_upgrade up = {0};
 *     err = pl_upgrade_check(&request, rest, subprotocols, allows_deflate, &up);
 *     if (err)
 *         → pl_conn_answer_status(conn, up.status);
 *     else
 *         → pl_upgrade_accept(conn, &request, &up, &options);
 */
#ifndef PL_NET_UPGRADE_H
#define PL_NET_UPGRADE_H

#include "codec/deflate.h"
#include "codec/http.h"
#include "net/conn.h"

struct pl_upgrade {
    const char *subprotocol; /* from the owner's list: the first of the client's that is in it;
                                NULL: none in common, or none asked for */
    bool asked_subprotocol;  /* the client named some */
    bool has_deflate;
    struct pl_deflate_terms deflate;
    struct pl_bytes more; /* the owner's, before it accepts: further lines of the 101, each with its
                             end */
    unsigned status;      /* after an error: 400, 405 or 426 */
};

/* Does it ask for a WebSocket at all? Then pl_upgrade_check tells whether it does so rightly. */
bool pl_upgrade_is_asked(const struct pl_http_request *request);

/*
 * Validates. subprotocols: NULL-terminated, may be NULL. rest: bytes behind the head; there must be
 * none before the 101 (RFC 9931).
 */
PL_MUST_USE enum pl_err pl_upgrade_check(const struct pl_http_request *request,
    struct pl_bytes rest, const char *const *subprotocols, bool allows_deflate,
    struct pl_upgrade *out);

enum { PL_UPGRADE_KEY_ANSWER = 28 };
/* What Sec-WebSocket-Accept says to a key (RFC 6455, section 4.2.2): base64(SHA-1(key + GUID)), no
 * zero at its end. For clients too. */
PL_MUST_USE enum pl_err pl_upgrade_answer_key(struct pl_bytes key, char out[PL_UPGRADE_KEY_ANSWER]);

/* Appends the 101 and turns the connection into a WebSocket. options->deflate is filled here. */
PL_MUST_USE enum pl_err pl_upgrade_accept(struct pl_conn *conn,
    const struct pl_http_request *request, const struct pl_upgrade *up,
    struct pl_websocket_options options);

/* Appends a small answer; if it does not keep the connection alive, closes after it. */
void pl_conn_answer(struct pl_conn *conn, const struct pl_http_answer *answer);
/* The same with the status' own words as text, and the headers that the status needs (426:
 * Upgrade, Sec-WebSocket-Version). Closes. */
void pl_conn_answer_status(struct pl_conn *conn, unsigned status);

#endif
