/*
 * How the load generator speaks a protocol: the least that a client of it says.
 *
 * A wire writes into a growing buffer and finds messages in what a server sent. It keeps no state
 * but what stands in struct wire_peer.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *data;
    size_t at, len, cap; /* at: what is spent in front */
};

void buffer_add(struct buffer *b, const void *bytes, size_t len);
void buffer_text(struct buffer *b, const char *text);

struct wire_peer {
    uint32_t number;    /* of the connection, unique in the run */
    uint16_t packet_id; /* MQTT's next */
    int qos;
    bool keeps_session;           /* MQTT: it outlives the connection */
    const char *token;            /* MQTT: shown as the password of JWT; NULL: nothing is shown */
    uint64_t request, invocation; /* WAMP's newest */
    bool is_open;                 /* RawSocket: the handshake is over */
    bool is_ready;                /* the server has accepted it */
    uint32_t acks;                /* publications acknowledged, or subscriptions confirmed */
};

/* What stands at the front of the bytes. */
enum found { FOUND_NOTHING, FOUND_OTHER, FOUND_MESSAGE, FOUND_ERROR };

struct message {
    const uint8_t *payload;
    size_t len;
    const char *reply; /* NATS: where the answer goes; not terminated */
    size_t reply_len;
};

struct wire {
    const char *name;
    const char *subprotocol; /* of WebSocket; NULL: none */
    bool is_framed;          /* each message is a frame of its own, which the wire itself makes */
    void (*hello)(struct wire_peer *p, struct buffer *out);
    void (*subscribe)(struct wire_peer *p, struct buffer *out, const char *subject,
        const char *queue, uint32_t id);
    void (*publish)(struct wire_peer *p, struct buffer *out, const char *subject,
        const uint8_t *payload, size_t len);
    /* A question whose answer counts as an ack, behind all that was published before. */
    void (*sync)(struct buffer *out);
    /* *used: bytes of what was found. Answers that the protocol asks for go to out. */
    enum found (*next)(struct wire_peer *p, const uint8_t *bytes, size_t len, size_t *used,
        struct message *message, struct buffer *out);
};

extern const struct wire wire_nats, wire_mqtt, wire_redis, wire_redis_xadd, wire_wamp,
    wire_wamp_call, wire_wamp_json, wire_wamp_json_call;

/* One WebSocket frame of a client around bytes; first: 0x81 text, 0x82 binary. */
void websocket_hello(struct buffer *out, const char *subprotocol);
void websocket_wrap(struct buffer *out, uint8_t first, const void *bytes, size_t len);
/* Length of the head and of the payload of the frame at the front; 0: not whole. */
size_t websocket_frame(const uint8_t *bytes, size_t len, size_t *payload_len);

#endif
