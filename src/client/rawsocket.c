/*
 * WAMP's RawSocket, the client's side (WAMP, "RawSocket Transport"):
 *
 *     we      7F  LS 00 00       L: we take up to 2^(9+L) octets; S: the serializer
 *     router  7F  LS 00 00       its own limit; or E0: error E
 *     then    0000Xttt + 24 bit length; ttt: 0 message, 1 ping, 2 pong; X: exactly 2^24 octets
 */
#include "client/wire_state.h"

enum { HEAD_LEN = 4, MAGIC = 0x7F, LENGTH_BITS_MIN = 9, LENGTH_MAX_NIBBLE = 15 };
enum { FRAME_MESSAGE, FRAME_PING, FRAME_PONG, FRAME_LONG = 8 };

static const uint8_t serializer_ids[PL_SERIAL_COUNT] = {
    [PL_SERIAL_JSON] = 1, [PL_SERIAL_MSGPACK] = 2, [PL_SERIAL_CBOR] = 3};

static enum pl_err begin(struct pl_wire *w)
{
    unsigned nibble = 0;
    while (nibble < LENGTH_MAX_NIBBLE &&
           1u << (LENGTH_BITS_MIN + nibble + 1) <= w->options.message_max)
        nibble++;
    const uint8_t hello[HEAD_LEN] = {
        MAGIC, (uint8_t)(nibble << 4 | serializer_ids[w->options.serializer])};
    return pl_output_append(&w->out, pl_bytes_of(hello, sizeof hello));
}

static enum pl_err greet(struct pl_wire *w, struct pl_diag *diag)
{
    static const char *const errors[] = {"", "it does not speak this serializer",
        "it does not take this limit", "reserved bits were set", "it has too many connections"};
    struct pl_bytes in = pl_wire_input(w);
    if (in.len && in.data[0] != MAGIC) {
        pl_diag_set(diag, 0, "the other side does not speak RawSocket");
        return PL_PROTOCOL;
    }
    if (in.len < HEAD_LEN)
        return PL_NEED_MORE;
    unsigned high = in.data[1] >> 4, low = in.data[1] & 15;
    if (!low) {
        pl_diag_set(diag, (int)high, "the router refuses RawSocket: %s",
            high && high < sizeof errors / sizeof *errors ? errors[high] : "unknown reason");
        return PL_PROTOCOL;
    }
    if (low != serializer_ids[w->options.serializer] || in.data[2] || in.data[3]) {
        pl_diag_set(diag, 0, "the router's RawSocket handshake is wrong");
        return PL_PROTOCOL;
    }
    w->peer_max = 1u << (LENGTH_BITS_MIN + high);
    w->in_at += HEAD_LEN;
    return PL_OK;
}

static enum pl_err append(struct pl_wire *w, unsigned type, struct pl_bytes bytes)
{
    if (bytes.len > w->peer_max || bytes.len > PL_WIRE_MESSAGE_MAX)
        return PL_TOO_LARGE;
    struct pl_writer out = pl_writer_begin(&w->out);
    bool is_long = bytes.len == PL_WIRE_MESSAGE_MAX;
    pl_write_u32(
        &out, (type | (is_long ? FRAME_LONG : 0)) << 24 | (uint32_t)(is_long ? 0 : bytes.len));
    pl_write_bytes(&out, bytes);
    return pl_writer_end(&out);
}

static enum pl_err take(struct pl_wire *w, struct pl_bytes *out, struct pl_diag *diag)
{
    for (;;) {
        struct pl_bytes in = pl_wire_input(w);
        if (in.len < HEAD_LEN)
            return PL_NEED_MORE;
        size_t len = (size_t)in.data[1] << 16 | (size_t)in.data[2] << 8 | in.data[3];
        unsigned type = in.data[0] & 7;
        if (in.data[0] & FRAME_LONG && !len)
            len = PL_WIRE_MESSAGE_MAX;
        else if (in.data[0] & FRAME_LONG)
            type = 7;
        if (in.data[0] & 0xF0 || type > FRAME_PONG) {
            pl_diag_set(diag, 0, "the router sent a frame that is none");
            return PL_PROTOCOL;
        }
        if (len > w->options.message_max) {
            pl_diag_set(diag, 0, "the router sent %zu bytes, more than message_bytes_max", len);
            return PL_TOO_LARGE;
        }
        if (in.len < HEAD_LEN + len)
            return PL_NEED_MORE;
        w->in_at += HEAD_LEN + len;
        struct pl_bytes bytes = pl_bytes_of(in.data + HEAD_LEN, len);
        if (type == FRAME_MESSAGE) {
            *out = bytes;
            return PL_OK;
        }
        enum pl_err err = type == FRAME_PING ? append(w, FRAME_PONG, bytes) : PL_OK;
        if (err)
            return err;
    }
}

static enum pl_err send_message(struct pl_wire *w, bool is_text, uint8_t *message, size_t len)
{
    (void)is_text;
    return append(w, FRAME_MESSAGE, pl_bytes_of(message, len));
}

static enum pl_err ping(struct pl_wire *w)
{
    return append(w, FRAME_PING, PL_NO_BYTES);
}

const struct pl_framing pl_rawsocket_framing = {
    .begin = begin,
    .greet = greet,
    .take = take,
    .send = send_message,
    .ping = ping,
};
