/*
 * WebSocket frames. The first byte says how the rest is cut and whether compression was agreed on.
 * However it is cut, the same comes out; compressed messages are inflated within a limit.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/deflate.h"
#include "codec/websocket.h"

enum { INFLATED_MAX = 65536, GATHERED_MAX = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint64_t hash;    /* of payload, control frames, and where messages end */
    uint16_t failure; /* close code */
};

static void add(struct outcome *o, uint64_t what, struct pl_bytes bytes)
{
    if (what)
        o->hash = o->hash * 1099511628211u + what;
    for (size_t i = 0; i < bytes.len; i++)
        o->hash = o->hash * 1099511628211u + bytes.data[i];
}

struct gathered {
    uint8_t bytes[GATHERED_MAX];
    size_t len;
};

static void end_compressed(struct outcome *o, struct gathered *g, bool is_text)
{
    static struct pl_inflater *inflater;
    static uint8_t out[4096];
    size_t len, total = 0;
    uint32_t utf8 = 0;
    if (!inflater)
        inflater = pl_inflater_new();
    pl_inflater_begin(inflater, pl_bytes_of(g->bytes, g->len));
    do {
        if (pl_inflater_next(inflater, out, sizeof out, &len) != PL_OK) {
            add(o, 1007, PL_NO_BYTES);
            break;
        }
        PL_ASSERT(len <= sizeof out);
        if (is_text && !pl_utf8_feed(&utf8, pl_bytes_of(out, len)))
            break;
        add(o, 'z', pl_bytes_of(out, len));
        total += len;
    } while (len && total < INFLATED_MAX);
    g->len = 0;
}

static struct outcome run(const uint8_t *data, size_t size, size_t step, bool compressed)
{
    static struct gathered g;
    struct outcome o = {0};
    struct pl_websocket_decoder d;
    struct pl_websocket_piece piece;
    uint8_t *copy = pl_alloc(size);
    if (!copy)
        return o;
    memcpy(copy, data, size);
    g.len = 0;
    pl_websocket_decoder_init(&d, compressed);
    for (size_t at = 0; at < size && !o.failure; at += step) {
        struct pl_bytes in = {copy + at, size - at < step ? size - at : step};
        uint8_t *to = copy + at;
        for (;;) {
            size_t before = in.len;
            enum pl_err err = pl_websocket_decode(&d, &in, to, &piece);
            PL_ASSERT(in.len <= before);
            if (err == PL_NEED_MORE)
                break;
            if (err) {
                PL_ASSERT(pl_websocket_is_code(d.close_code));
                o.failure = d.close_code;
                break;
            }
            if (piece.kind >= PL_WS_CLOSE) {
                PL_ASSERT(piece.bytes.len <= PL_WS_CONTROL_MAX);
                add(&o, piece.kind, piece.bytes);
                continue;
            }
            PL_ASSERT(piece.bytes.data == to);
            to += piece.bytes.len;
            if (piece.is_compressed && g.len + piece.bytes.len <= GATHERED_MAX) {
                memcpy(g.bytes + g.len, piece.bytes.data, piece.bytes.len);
                g.len += piece.bytes.len;
            } else {
                add(&o, 0, piece.bytes);
            }
            if (piece.is_end && piece.is_compressed)
                end_compressed(&o, &g, piece.kind == PL_WS_TEXT);
        }
    }
    pl_free(copy);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > GATHERED_MAX)
        return 0;
    bool compressed = data[0] & 0x80;
    size_t step = (data[0] & 0x7f) + 1u;
    struct outcome whole = run(data + 1, size - 1, size, compressed);
    struct outcome cut = run(data + 1, size - 1, step, compressed);
    PL_ASSERT(whole.failure == cut.failure);
    /* At a failure, how much of the message before it was given depends on the cut. */
    PL_ASSERT(whole.failure || whole.hash == cut.hash);
    return 0;
}
