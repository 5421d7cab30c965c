/*
 * What a wire's two framings, RawSocket and WebSocket, share with it.
 */
#ifndef PL_CLIENT_WIRE_STATE_H
#define PL_CLIENT_WIRE_STATE_H

#include "client/wire.h"
#include "codec/websocket.h"

struct pl_framing {
    /* Appends the client's half of the handshake. */
    enum pl_err (*begin)(struct pl_wire *wire);
    /* Reads the other half from wire->in. PL_OK, PL_NEED_MORE, PL_PROTOCOL with a diag. */
    enum pl_err (*greet)(struct pl_wire *wire, struct pl_diag *diag);
    /* As pl_wire_next, from wire->in alone. */
    enum pl_err (*take)(struct pl_wire *wire, struct pl_bytes *out, struct pl_diag *diag);
    enum pl_err (*send)(struct pl_wire *wire, bool is_text, uint8_t *message, size_t len);
    enum pl_err (*ping)(struct pl_wire *wire);
    void (*bye)(struct pl_wire *wire); /* NULL: there is no such word */
};

extern const struct pl_framing pl_rawsocket_framing, pl_websocket_framing;

enum pl_wire_phase {
    PL_WIRE_RESOLVING,
    PL_WIRE_CONNECTING,
    PL_WIRE_SECURING, /* the TLS handshake */
    PL_WIRE_GREETING, /* WebSocket's or RawSocket's */
    PL_WIRE_OPEN,
    PL_WIRE_FAILED,
};

struct pl_lookup;
struct pl_address;

struct pl_wire {
    struct pl_wire_options options;
    struct pl_url url;
    const struct pl_framing *framing;
    enum pl_wire_phase phase;
    bool is_tls;
    struct pl_lookup *lookup;     /* owned; while RESOLVING */
    struct pl_address *addresses; /* owned array */
    uint32_t address_count, address_at;
    struct pl_socket *socket; /* owned; NULL: between two addresses */

    struct pl_output_pool pool;
    struct pl_output out;
    struct pl_chunk *sending; /* taken from out, being written */

    uint8_t *in; /* owned; bytes from in_at to in_len are not taken yet */
    size_t in_at, in_len, in_cap;
    bool is_ended; /* the other side has; what it said before is still looked at */
    bool has_more; /* the last step left something to read */
    uint64_t heard_ms;

    uint32_t peer_max; /* bytes of a message that the other side takes */
    char key[24];      /* WebSocket: of our request */
    struct pl_websocket_decoder decoder;
    struct pl_shared *message; /* owned; WebSocket: what came of a fragmented message */
    bool is_text;              /* WebSocket: so is the message that was taken last */
};

static inline struct pl_bytes pl_wire_input(const struct pl_wire *wire)
{
    return pl_bytes_of(wire->in + wire->in_at, wire->in_len - wire->in_at);
}

#endif
