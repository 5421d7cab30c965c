/*
 * Messages on their way out. A frame's head stands before what it tells the length of, so the room
 * of the smallest one is left, and a larger one moves what follows.
 *
 *     RawSocket   kind and 24 bits of length; 2^24 itself has a bit of its own
 *     WebSocket   a server's head; text for JSON
 *     batched     inside of these: JSON ends with 0x1E, the others begin with 32 bits of length
 */
#include "codec/websocket.h"
#include "protocols/wamp/wamp_session.h"

enum { WS_HEAD_MIN = 2, BATCH_HEAD = 4, RECORD_END = 0x1E };

static size_t head_room(const struct wamp_way *way)
{
    return way->framing == PL_FRAMING_STREAM      ? WAMP_RAW_HEADER
           : way->framing == PL_FRAMING_WEBSOCKET ? WS_HEAD_MIN
                                                  : 0;
}

static bool has_length(const struct wamp_way *way)
{
    return way->is_batched && way->serializer != PL_SERIAL_JSON;
}

size_t wamp_frame_begin(const struct wamp_way *way, struct pl_writer *w)
{
    size_t at = w->len, room = head_room(way) + (has_length(way) ? BATCH_HEAD : 0);
    if (room)
        (void)pl_writer_room(w, room);
    return at;
}

static void end_websocket(const struct wamp_way *way, struct pl_writer *w, size_t at, size_t len)
{
    uint8_t head[PL_WS_OUR_HEADER_MAX];
    enum pl_websocket_opcode opcode = way->serializer == PL_SERIAL_JSON ? PL_WS_TEXT : PL_WS_BINARY;
    size_t size = pl_websocket_encode_header(head, opcode, true, false, len);
    if (size > WS_HEAD_MIN) {
        if (!pl_writer_room(w, size - WS_HEAD_MIN))
            return;
        memmove(w->data + at + size, w->data + at + WS_HEAD_MIN, len);
    }
    memcpy(w->data + at, head, size);
}

void wamp_frame_end(const struct wamp_way *way, struct pl_writer *w, size_t at)
{
    size_t room = head_room(way);
    if (way->is_batched && way->serializer == PL_SERIAL_JSON)
        pl_write_u8(w, RECORD_END);
    if (w->err)
        return;
    size_t len = w->len - at - room;
    if (has_length(way)) {
        uint8_t *head = w->data + at + room;
        for (int i = 0; i < BATCH_HEAD; i++)
            head[i] = (uint8_t)((len - BATCH_HEAD) >> 8 * (BATCH_HEAD - 1 - i));
    }
    if (way->framing == PL_FRAMING_WEBSOCKET) {
        end_websocket(way, w, at, len);
    } else if (way->framing == PL_FRAMING_STREAM) {
        uint8_t *head = w->data + at;
        if (len > WAMP_RAW_MAX) {
            w->err = PL_TOO_LARGE;
            return;
        }
        head[0] = len == WAMP_RAW_MAX ? 0x08 : 0;
        head[1] = (uint8_t)(len >> 16);
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
    }
}

void wamp_send_begin(struct wamp_out *o, struct wamp_link *wl, enum pl_wamp_type type)
{
    o->wl = wl;
    o->w = wl->way.framing == PL_FRAMING_MESSAGES ? pl_writer_new() : pl_writer_begin(wl->link.out);
    o->at = wamp_frame_begin(&wl->way, &o->w);
    o->v = pl_wamp_begin(&o->w, wl->way.serializer, type);
}

static enum pl_err send_message(struct wamp_link *wl, struct pl_bytes message)
{
    return wl->link.host->send_message(&wl->link, wl->way.serializer == PL_SERIAL_JSON, message);
}

static enum pl_err send_it(struct wamp_out *o)
{
    struct wamp_link *wl = o->wl;
    /* Behind ABORT and GOODBYE there is nothing, also of what was asked for before. */
    if (wl->phase == WAMP_CLOSING && !o->w.err)
        o->w.err = PL_CLOSED;
    wamp_frame_end(&wl->way, &o->w, o->at);
    if (!o->w.err && o->w.len - o->at > (size_t)wl->peer_max + PL_WS_OUR_HEADER_MAX)
        o->w.err = PL_TOO_LARGE;
    if (wl->way.framing != PL_FRAMING_MESSAGES)
        return pl_writer_end(&o->w);
    struct pl_shared *whole;
    enum pl_err err = pl_writer_take(&o->w, &whole);
    if (err)
        return err;
    err = send_message(wl, pl_bytes_of(whole->data, whole->len));
    pl_shared_unref(whole);
    return err;
}

enum pl_err wamp_send_end(struct wamp_out *o)
{
    pl_put_end(&o->v);
    return send_it(o);
}

enum pl_err wamp_send_end_payload(struct wamp_out *o, const struct pl_message *m, uint8_t rule)
{
    if (m->format >= PL_FORMAT_ARGUMENTS)
        pl_wamp_end(&o->v, (enum pl_serializer)(m->format - PL_FORMAT_ARGUMENTS), m->payload);
    else
        pl_wamp_end_plain(&o->v, m->payload, pl_message_content_type(m), (enum pl_wamp_plain)rule);
    return send_it(o);
}

void wamp_send_ids(struct wamp_link *wl, enum pl_wamp_type type, uint64_t request, uint64_t id)
{
    struct wamp_out o;
    wamp_send_begin(&o, wl, type);
    pl_put_natural(&o.v, request);
    if (id)
        pl_put_natural(&o.v, id);
    (void)wamp_send_end(&o);
}

/* Messages that the peer does not take, or that go out one by one. */
static void send_singly(struct wamp_link *wl, const struct pl_run *run)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        struct pl_bytes one = pl_bytes_of(run->frames->data + start, run->ends[i] - start);
        start = run->ends[i];
        if (!one.len || one.len > (size_t)wl->peer_max + PL_WS_OUR_HEADER_MAX)
            continue;
        /* Without memory it is lost, as at most once allows. */
        if (wl->way.framing == PL_FRAMING_MESSAGES)
            (void)!send_message(wl, one);
        else
            (void)!pl_output_append_shared(wl->link.out, run->frames, one);
    }
}

void wamp_send_frames(struct wamp_link *wl, const struct pl_run *run)
{
    uint32_t len = run->ends[run->count - 1];
    if (wl->way.framing == PL_FRAMING_MESSAGES || len > wl->peer_max)
        send_singly(wl, run);
    else
        (void)!pl_output_append_shared(
            wl->link.out, run->frames, pl_bytes_of(run->frames->data, len));
}
