/*
 * WebSocket frames (RFC 6455). A server's peer masks, and it does not; a client has it the other
 * way round.
 *
 * The decoder takes whatever bytes came and gives pieces: a run of payload, or a whole control
 * frame. It keeps the header of an unfinished frame and what a control frame has of its payload (at
 * most 125 bytes), nothing else, so it never waits for a length that a peer claims.
 *
 *     while ((err = pl_websocket_decode(&d, &in, in.data, &piece)) == PL_OK)
 *         switch (piece.kind) …
 *     if (err != PL_NEED_MORE) …close with d.close_code…
 *
 * Payload is unmasked on its way to where the caller wants it, which may be its own place or any
 * place before it in the same buffer. So consecutive frames of a byte stream become one run.
 *
 * Pure: no allocation, no I/O. Compressed messages (RFC 7692) come as they are, marked; see
 * codec/deflate.h.
 */
#ifndef PL_CODEC_WEBSOCKET_H
#define PL_CODEC_WEBSOCKET_H

#include "base/bytes.h"

enum pl_websocket_opcode {
    PL_WS_CONTINUATION = 0,
    PL_WS_TEXT = 1,
    PL_WS_BINARY = 2,
    PL_WS_CLOSE = 8,
    PL_WS_PING = 9,
    PL_WS_PONG = 10,
};

/* Close codes (RFC 6455, section 7.4.1, and the IANA registry). */
enum pl_websocket_code {
    PL_WS_NORMAL = 1000,
    PL_WS_GOING_AWAY = 1001,
    PL_WS_PROTOCOL_ERROR = 1002,
    PL_WS_UNSUPPORTED = 1003,
    PL_WS_NO_CODE = 1005, /* never on the wire: the frame had none */
    PL_WS_ABNORMAL = 1006,
    PL_WS_BAD_DATA = 1007,
    PL_WS_POLICY = 1008,
    PL_WS_TOO_BIG = 1009,
    PL_WS_INTERNAL = 1011,
    PL_WS_RESTART = 1012,
    PL_WS_TRY_LATER = 1013,
};

enum {
    PL_WS_HEADER_MAX = 14,     /* a client's, with its mask */
    PL_WS_OUR_HEADER_MAX = 10, /* a server's own */
    PL_WS_CONTROL_MAX = 125,   /* payload of a control frame */
    PL_WS_REASON_MAX = 123,    /* of it, the text of a close */
};

struct pl_websocket_decoder {
    uint64_t left;           /* payload bytes of the current frame that have not come yet */
    uint32_t utf8;           /* state of the text check, see pl_utf8_feed */
    uint16_t close_code;     /* after an error: what to close with */
    uint8_t mask[4];         /* turned so that mask[0] belongs to the next byte */
    uint8_t opcode;          /* of the current frame */
    uint8_t message;         /* opcode of the message that is open, 0: none */
    uint8_t head_len;        /* bytes in head, while the header is not whole */
    uint8_t control_len;     /* bytes in control */
    bool in_frame;           /* the header was read, its payload not yet to its end */
    bool is_fin;             /* the current frame is the last one of its message */
    bool is_start;           /* no piece of the open message was given yet */
    bool is_compressed;      /* the open message is */
    bool allows_compression; /* permessage-deflate was agreed on */
    bool closed;             /* a close frame came; what follows is ignored */
    bool is_client;          /* the peer is a server: what it sends has no mask */
    uint8_t head[PL_WS_HEADER_MAX];
    uint8_t control[PL_WS_CONTROL_MAX];
};

struct pl_websocket_piece {
    uint8_t kind;          /* PL_WS_TEXT, _BINARY (also of continuations), _CLOSE, _PING, _PONG */
    bool is_start;         /* the first piece of its message */
    bool is_end;           /* and the last one */
    bool is_compressed;    /* bytes are of a compressed message: inflate, then check a text */
    uint16_t code;         /* CLOSE: PL_WS_NO_CODE if it had none */
    struct pl_bytes bytes; /* payload; of a CLOSE its reason. Control: lies in the decoder */
};

void pl_websocket_decoder_init(struct pl_websocket_decoder *d, bool allows_compression);
/* The same for a client, whose peer does not mask. */
void pl_websocket_decoder_init_client(struct pl_websocket_decoder *d);

/*
 * Gives the next piece and moves *in on. Data payload is written to `to`, which is at most in->data
 * (in one buffer with it) or does not overlap it at all. A piece may be empty (an empty message).
 *
 * PL_OK: a piece. PL_NEED_MORE: all of *in was taken. PL_MALFORMED: d->close_code tells; the
 * connection is to be failed, no further call.
 */
PL_MUST_USE enum pl_err pl_websocket_decode(struct pl_websocket_decoder *d, struct pl_bytes *in,
    uint8_t *to, struct pl_websocket_piece *out);

/* XORs with the mask, whose first byte belongs to from[0]. to <= from, or not overlapping. */
void pl_websocket_mask(uint8_t *to, const uint8_t *from, size_t len, const uint8_t mask[4]);

/* The header of a frame without mask. Returns its length. */
size_t pl_websocket_encode_header(uint8_t out[PL_WS_OUR_HEADER_MAX],
    enum pl_websocket_opcode opcode, bool is_fin, bool is_compressed, uint64_t len);

/* The header of a client's whole message; its payload is to be masked with the same mask. Returns
 * its length. */
size_t pl_websocket_encode_masked(uint8_t out[PL_WS_HEADER_MAX], enum pl_websocket_opcode opcode,
    uint64_t len, const uint8_t mask[4]);

/* A whole control frame into out (2 + PL_WS_CONTROL_MAX). Longer payload is cut. Its length. */
size_t pl_websocket_encode_control(
    uint8_t *out, enum pl_websocket_opcode opcode, struct pl_bytes payload);

/* A close frame: code PL_WS_NO_CODE: an empty one. The reason is cut at a character's end. */
size_t pl_websocket_encode_close(uint8_t *out, uint16_t code, struct pl_bytes reason);

/* May this code stand in a close frame? */
bool pl_websocket_is_code(uint16_t code);

/* What Sec-WebSocket-Key must be: 16 bytes in base64. */
bool pl_websocket_is_key(struct pl_bytes key);

#endif
