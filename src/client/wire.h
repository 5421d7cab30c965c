/*
 * A connection to a router as a row of messages, whatever they travel in:
 *
 *     URL → address → socket → TLS? → WebSocket or RawSocket handshake → messages
 *
 * Nothing waits. Whoever owns it calls pl_wire_step when pl_wire_fd is ready, and before it has
 * ever been:
 *
 *     err = pl_wire_step(wire, &diag);          PL_NEED_MORE: it is not open yet
 *     while (!err && !(err = pl_wire_next(wire, &message))) …
 *     err = pl_wire_send(wire, message);        at any time after it is open
 *     err = pl_wire_flush(wire);
 *
 * For one thread at a time.
 */
#ifndef PL_CLIENT_WIRE_H
#define PL_CLIENT_WIRE_H

#include "client/socket.h"
#include "client/url.h"
#include "codec/value.h"

struct pl_wire;

enum { PL_WIRE_MESSAGE_MAX = 1 << 24 };

/* Texts are borrowed while the wire lives. */
struct pl_wire_options {
    const struct pl_url *url; /* copied */
    int fd_moved;             /* instead of a URL: a connected descriptor; else -1 */
    enum pl_serializer serializer;
    const char *subprotocol; /* of a WebSocket that carries something else; NULL: WAMP's */
    struct pl_socket_tls tls;
    const char *origin;   /* of a WebSocket's request; NULL: none */
    uint32_t message_max; /* bytes of one that comes; at most PL_WIRE_MESSAGE_MAX */
};

/* ws, wss, rs, rss, unix? */
bool pl_wire_knows(const struct pl_url *url);
PL_MUST_USE enum pl_err pl_wire_new(
    const struct pl_wire_options *options, struct pl_wire **out, struct pl_diag *diag);
/* Returns NULL; accepts NULL. */
struct pl_wire *pl_wire_free(struct pl_wire *wire);

/* What to wait on; changes while it connects. -1: nothing, step again. */
int pl_wire_fd(const struct pl_wire *wire);
bool pl_wire_wants_write(const struct pl_wire *wire);
/* There is more to be done than the descriptor tells. */
bool pl_wire_has_more(const struct pl_wire *wire);

/* Goes on as far as it can, and reads what there is, up to a limit. PL_OK: it is open.
 * PL_NEED_MORE: not yet. Else it failed: diag tells why; what was read before can still be taken.
 */
PL_MUST_USE enum pl_err pl_wire_step(struct pl_wire *wire, struct pl_diag *diag);
/* The next whole message, borrowed until the next call of a function here but those that send.
 * PL_NEED_MORE: none. PL_CLOSED: the other side has ended it. PL_PROTOCOL, PL_TOO_LARGE: diag. */
PL_MUST_USE enum pl_err pl_wire_next(
    struct pl_wire *wire, struct pl_bytes *out, struct pl_diag *diag);

/* Did the last one come as a WebSocket's text? */
bool pl_wire_is_text(const struct pl_wire *wire);

/* Queues a message, whose bytes it may change: as the serializer wants it, or as text or not.
 * PL_TOO_LARGE: the other side takes none so long. */
PL_MUST_USE enum pl_err pl_wire_send(struct pl_wire *wire, uint8_t *message, size_t len);
PL_MUST_USE enum pl_err pl_wire_send_text(struct pl_wire *wire, uint8_t *message, size_t len);
PL_MUST_USE enum pl_err pl_wire_send_binary(struct pl_wire *wire, uint8_t *message, size_t len);
/* Writes as far as that goes. PL_CLOSED, PL_IO: it is broken; pl_wire_step tells too. */
PL_MUST_USE enum pl_err pl_wire_flush(struct pl_wire *wire);
/* Asks whether the other side is still there. */
PL_MUST_USE enum pl_err pl_wire_ping(struct pl_wire *wire);
/* Says that nothing more will be sent, where the transport has a way. */
void pl_wire_bye(struct pl_wire *wire);
/* Bytes that wait to be written. */
size_t pl_wire_queued(const struct pl_wire *wire);
/* When something came last, by pl_clock_ms. */
uint64_t pl_wire_heard_ms(const struct pl_wire *wire);

#endif
