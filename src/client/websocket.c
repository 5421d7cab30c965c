/*
 * WebSocket, the client's side (RFC 6455): one message of a wire is one WebSocket message.
 */
#include <gnutls/crypto.h>

#include "base/text.h"
#include "client/wire_state.h"
#include "codec/http.h"
#include "net/upgrade.h"

static const char *const subprotocols[PL_SERIAL_COUNT] = {
    [PL_SERIAL_JSON] = "wamp.2.json",
    [PL_SERIAL_MSGPACK] = "wamp.2.msgpack",
    [PL_SERIAL_CBOR] = "wamp.2.cbor",
};

static const char *subprotocol_of(const struct pl_wire *w)
{
    const char *own = w->options.subprotocol;
    return own ? own : subprotocols[w->options.serializer];
}

static enum pl_err begin(struct pl_wire *w)
{
    uint8_t nonce[16];
    if (gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof nonce) < 0)
        return PL_IO;
    pl_base64_encode(pl_bytes_of(nonce, sizeof nonce), false, w->key);
    pl_websocket_decoder_init_client(&w->decoder);
    bool is_v6 = strchr(w->url.host, ':');
    struct pl_writer out = pl_writer_begin(&w->out);
    pl_write_text(&out, "GET ");
    pl_write_text(&out, w->url.path[0] ? w->url.path : "/");
    pl_write_text(&out, is_v6 ? " HTTP/1.1\r\nHost: [" : " HTTP/1.1\r\nHost: ");
    pl_write_text(&out, w->url.host);
    pl_write_text(&out, is_v6 ? "]:" : ":");
    pl_write_text(&out, w->url.port);
    pl_write_text(&out, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ");
    pl_write_text(&out, subprotocol_of(w));
    if (w->options.origin) {
        pl_write_text(&out, "\r\nOrigin: ");
        pl_write_text(&out, w->options.origin);
    }
    pl_write_text(&out, "\r\nSec-WebSocket-Key: ");
    pl_write_bytes(&out, pl_bytes_of(w->key, sizeof w->key));
    pl_write_text(&out, "\r\n\r\n");
    return pl_writer_end(&out);
}

/* Takes the next line of a head, without its CRLF; false: none is whole. */
static bool next_line(struct pl_bytes *in, struct pl_bytes *out)
{
    const uint8_t *end = in->len ? memmem(in->data, in->len, "\r\n", 2) : NULL;
    if (!end)
        return false;
    *out = pl_bytes_of(in->data, (size_t)(end - in->data));
    *in = pl_bytes_from(*in, out->len + 2);
    return true;
}

enum { HAS_UPGRADE = 1, HAS_CONNECTION = 2, HAS_ACCEPT = 4, HAS_PROTOCOL = 8, HAS_ALL = 15 };

/* Which of the headers that there must be this one is; 0: of no importance. */
static unsigned judge(const struct pl_wire *w, struct pl_bytes line)
{
    const uint8_t *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
    if (!colon)
        return 0;
    struct pl_bytes name = pl_bytes_of(line.data, (size_t)(colon - line.data));
    struct pl_bytes value = pl_http_trim(pl_bytes_from(line, name.len + 1));
    char accept[PL_UPGRADE_KEY_ANSWER];
    if (pl_bytes_equal_nocase(name, PL_BYTES("upgrade")))
        return pl_bytes_equal_nocase(value, PL_BYTES("websocket")) ? HAS_UPGRADE : 0;
    if (pl_bytes_equal_nocase(name, PL_BYTES("connection"))) {
        struct pl_bytes word;
        while (pl_http_next_element(&value, &word)) {
            if (pl_bytes_equal_nocase(word, PL_BYTES("upgrade")))
                return HAS_CONNECTION;
        }
        return 0;
    }
    if (pl_bytes_equal_nocase(name, PL_BYTES("sec-websocket-accept"))) {
        enum pl_err err = pl_upgrade_answer_key(pl_bytes_of(w->key, sizeof w->key), accept);
        return !err && pl_bytes_equal(value, pl_bytes_of(accept, sizeof accept)) ? HAS_ACCEPT : 0;
    }
    if (pl_bytes_equal_nocase(name, PL_BYTES("sec-websocket-protocol")))
        return pl_bytes_equal(value, pl_bytes_text(subprotocol_of(w))) ? HAS_PROTOCOL : 0;
    return 0;
}

static enum pl_err greet(struct pl_wire *w, struct pl_diag *diag)
{
    struct pl_bytes in = pl_wire_input(w), line, rest = in;
    const uint8_t *end = in.len ? memmem(in.data, in.len, "\r\n\r\n", 4) : NULL;
    if (!end && in.len < PL_HTTP_HEAD_MAX)
        return PL_NEED_MORE;
    size_t head_len = end ? (size_t)(end - in.data) + 4 : 0;
    rest.len = head_len;
    if (!next_line(&rest, &line) || !pl_bytes_starts(line, PL_BYTES("HTTP/1.1 "))) {
        pl_diag_set(diag, 0, "the other side does not speak HTTP");
        return PL_PROTOCOL;
    }
    if (!pl_bytes_starts(line, PL_BYTES("HTTP/1.1 101"))) {
        int shown = line.len > 60 ? 60 : (int)line.len;
        pl_diag_set(diag, 0, "the server accepts no WebSocket here: %.*s", shown - 9,
            (const char *)line.data + 9);
        return PL_PROTOCOL;
    }
    unsigned found = 0;
    while (next_line(&rest, &line))
        found |= judge(w, line);
    if (found != HAS_ALL) {
        pl_diag_set(diag, (int)found,
            "the server's WebSocket handshake is wrong, or it does not "
            "speak this subprotocol");
        return PL_PROTOCOL;
    }
    w->peer_max = UINT32_MAX;
    w->in_at += head_len;
    return PL_OK;
}

static enum pl_err append(
    struct pl_wire *w, enum pl_websocket_opcode opcode, uint8_t *bytes, size_t len)
{
    uint8_t head[PL_WS_HEADER_MAX], mask[4];
    if (gnutls_rnd(GNUTLS_RND_NONCE, mask, sizeof mask) < 0)
        return PL_IO;
    size_t head_len = pl_websocket_encode_masked(head, opcode, len, mask);
    if (len)
        pl_websocket_mask(bytes, bytes, len, mask);
    struct pl_writer out = pl_writer_begin(&w->out);
    pl_write_bytes(&out, pl_bytes_of(head, head_len));
    pl_write_bytes(&out, pl_bytes_of(bytes, len));
    return pl_writer_end(&out);
}

static enum pl_err append_close(struct pl_wire *w, uint16_t code)
{
    uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    return append(w, PL_WS_CLOSE, bytes, code == PL_WS_NO_CODE ? 0 : sizeof bytes);
}

/* What came of a message so far, and these bytes. */
static enum pl_err gather(struct pl_wire *w, struct pl_bytes bytes)
{
    size_t len = w->message ? w->message->len : 0;
    if (!w->message || w->message->cap - len < bytes.len) {
        struct pl_shared *bigger = pl_shared_new((len + bytes.len) * 2);
        if (!bigger)
            return PL_NO_MEMORY;
        if (len)
            memcpy(bigger->data, w->message->data, len);
        pl_shared_unref(w->message);
        w->message = bigger;
    }
    if (bytes.len)
        memcpy(w->message->data + len, bytes.data, bytes.len);
    w->message->len = (uint32_t)(len + bytes.len);
    return PL_OK;
}

/* PL_OK: *out is a whole message; PL_NEED_MORE: its rest is to come. */
static enum pl_err on_data(struct pl_wire *w, const struct pl_websocket_piece *piece,
    struct pl_bytes *out, struct pl_diag *diag)
{
    w->is_text = piece->kind == PL_WS_TEXT;
    if (piece->is_start && w->message)
        w->message->len = 0;
    size_t before = piece->is_start || !w->message ? 0 : w->message->len;
    if (before + piece->bytes.len > w->options.message_max) {
        (void)!append_close(w, PL_WS_TOO_BIG);
        pl_diag_set(diag, 0, "the server sent more than message_bytes_max");
        return PL_TOO_LARGE;
    }
    if (piece->is_start && piece->is_end) {
        *out = piece->bytes;
        return PL_OK;
    }
    enum pl_err err = gather(w, piece->bytes);
    if (err)
        return err;
    *out = pl_bytes_of(w->message->data, w->message->len);
    return piece->is_end ? PL_OK : PL_NEED_MORE;
}

static enum pl_err on_control(
    struct pl_wire *w, const struct pl_websocket_piece *piece, struct pl_diag *diag)
{
    uint8_t bytes[PL_WS_CONTROL_MAX];
    if (piece->kind == PL_WS_PING) {
        if (piece->bytes.len)
            memcpy(bytes, piece->bytes.data, piece->bytes.len);
        return append(w, PL_WS_PONG, bytes, piece->bytes.len);
    }
    if (piece->kind != PL_WS_CLOSE)
        return PL_OK;
    (void)!append_close(w, piece->code);
    (void)!pl_wire_flush(w);
    pl_diag_set(diag, piece->code, "the server closed the connection (%u)%s%.*s", piece->code,
        piece->bytes.len ? ": " : "", (int)piece->bytes.len,
        piece->bytes.len ? (const char *)piece->bytes.data : "");
    return PL_CLOSED;
}

static enum pl_err take(struct pl_wire *w, struct pl_bytes *out, struct pl_diag *diag)
{
    for (;;) {
        struct pl_bytes in = pl_wire_input(w);
        struct pl_websocket_piece piece;
        size_t before = in.len;
        /* In its own place: over the header of its frame. */
        enum pl_err err =
            in.len ? pl_websocket_decode(&w->decoder, &in, w->in + w->in_at, &piece) : PL_NEED_MORE;
        w->in_at += before - in.len;
        if (err == PL_MALFORMED) {
            (void)!append_close(w, w->decoder.close_code);
            pl_diag_set(diag, w->decoder.close_code, "the server sent a frame that is none");
            return PL_PROTOCOL;
        }
        if (err)
            return err;
        bool is_data = piece.kind == PL_WS_TEXT || piece.kind == PL_WS_BINARY;
        err = is_data ? on_data(w, &piece, out, diag) : on_control(w, &piece, diag);
        if (is_data ? err != PL_NEED_MORE : err != PL_OK)
            return err;
    }
}

static enum pl_err send_message(struct pl_wire *w, bool is_text, uint8_t *message, size_t len)
{
    return append(w, is_text ? PL_WS_TEXT : PL_WS_BINARY, message, len);
}

static enum pl_err ping(struct pl_wire *w)
{
    return append(w, PL_WS_PING, NULL, 0);
}

static void bye(struct pl_wire *w)
{
    (void)!append_close(w, PL_WS_NORMAL);
}

const struct pl_framing pl_websocket_framing = {
    .begin = begin,
    .greet = greet,
    .take = take,
    .send = send_message,
    .ping = ping,
    .bye = bye,
};
