/*
 * The connection's side: RawSocket's handshake and frames, WebSocket's messages, batches,
 * keep-alive.
 *
 *     RawSocket   7F LS 00 00 ◄─► 7F LS 00 00, then frames of one byte of kind and three of length;
 *                 each waits until it is whole
 *     WebSocket   each message is one of WAMP, or a batch of them
 */
#include "protocols/wamp/wamp_session.h"

enum {
    RAW_MAGIC = 0x7F,
    RAW_MESSAGE = 0,
    RAW_PING = 1,
    RAW_PONG = 2,
    RAW_LONGEST = 0x08, /* with length 0: 2^24 bytes */
    RAW_LENGTH_MIN = 9, /* the least that a length nibble says is 2^9 */
    RECORD_END = 0x1E,
};

const struct pl_wamp_options pl_wamp_options_default = {
    .allow_disclose = true,
    .details_max = 64 * 1024,
    .audience_max = 10000,
    .headers_max = 256,
    .testaments_max = 100,
    .testament_bytes_max = 256 * 1024,
    .events_max = 1000,
    .event_reads_max = 64,
};

static struct wamp_link *of_link(struct pl_link *link)
{
    return (struct wamp_link *)link;
}

static enum pl_sniff sniff(struct pl_bytes first)
{
    if (!first.len)
        return PL_SNIFF_MORE;
    return first.data[0] == RAW_MAGIC ? PL_SNIFF_YES : PL_SNIFF_NO;
}

static bool names(const char *subprotocol, const char *serializer, bool *out_batched)
{
    size_t len = strlen(serializer);
    if (strncmp(subprotocol, serializer, len) != 0)
        return false;
    *out_batched = strcmp(subprotocol + len, ".batched") == 0;
    return *out_batched || !subprotocol[len];
}

static enum pl_err on_open(struct pl_link *link)
{
    static const char *const serializers[PL_SERIAL_COUNT] = {
        "wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor"};
    struct wamp_link *wl = of_link(link);
    wl->way.framing = link->framing;
    wl->peer_max = UINT32_MAX / 2;
    for (uint8_t i = 0; i < PL_SERIAL_COUNT && link->subprotocol; i++)
        if (names(link->subprotocol, serializers[i], &wl->way.is_batched))
            wl->way.serializer = i;
    return PL_OK;
}

/* The largest power of two within the limit, as the handshake tells it. */
static uint8_t own_length(const struct wamp_link *wl)
{
    uint8_t nibble = 0;
    while (
        nibble < 15 && (uint64_t)1 << (RAW_LENGTH_MIN + nibble + 1) <= wl->link.config->packet_max)
        nibble++;
    return nibble;
}

static enum pl_err shake_hands(struct wamp_link *wl, const uint8_t *at)
{
    uint8_t serializer = at[1] & 0x0F;
    uint8_t error = serializer < 1 || serializer > PL_SERIAL_COUNT ? 1 : at[2] || at[3] ? 3 : 0;
    if (at[0] != RAW_MAGIC)
        return PL_PROTOCOL;
    const uint8_t answer[] = {
        RAW_MAGIC, (uint8_t)(error ? error << 4 : own_length(wl) << 4 | serializer), 0, 0};
    enum pl_err err = pl_output_append(wl->link.out, pl_bytes_of(answer, sizeof answer));
    wl->way.serializer = (uint8_t)(serializer - 1);
    wl->peer_max = (uint32_t)1 << (RAW_LENGTH_MIN + (at[1] >> 4));
    wl->has_handshake = true;
    return err ? err : error ? PL_UNSUPPORTED : PL_OK;
}

static enum pl_err answer_ping(struct wamp_link *wl, struct pl_bytes ping)
{
    const uint8_t head[] = {RAW_PONG | (ping.len == WAMP_RAW_MAX ? RAW_LONGEST : 0),
        (uint8_t)(ping.len >> 16), (uint8_t)(ping.len >> 8), (uint8_t)ping.len};
    /* Whole at once: events may be appended between two reads. */
    struct pl_writer w = pl_writer_begin(wl->link.out);
    pl_write_bytes(&w, pl_bytes_of(head, sizeof head));
    pl_write_bytes(&w, ping);
    return pl_writer_end(&w);
}

/* One frame. PL_NEED_MORE: it is not whole. */
static enum pl_err on_raw_frame(struct wamp_link *wl, struct pl_input in, size_t *io_used)
{
    struct pl_bytes all = in.bytes;
    size_t left = all.len - *io_used;
    const uint8_t *head = all.data + *io_used;
    if (left < WAMP_RAW_HEADER)
        return PL_NEED_MORE;
    uint32_t len = (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    bool is_longest = head[0] & RAW_LONGEST;
    uint8_t kind = head[0] & 0x07;
    if (head[0] & 0xF0 || (is_longest && len) || kind > RAW_PONG)
        return PL_PROTOCOL;
    if (is_longest)
        len = WAMP_RAW_MAX;
    if (len > (uint32_t)1 << (RAW_LENGTH_MIN + own_length(wl)))
        return PL_TOO_LARGE;
    if (left - WAMP_RAW_HEADER < len)
        return PL_NEED_MORE;
    *io_used += WAMP_RAW_HEADER + len;
    struct pl_bytes content = pl_bytes_of(head + WAMP_RAW_HEADER, len);
    if (kind == RAW_PING)
        return answer_ping(wl, content);
    if (kind == RAW_PONG) {
        wl->pings_out = 0;
        return PL_OK;
    }
    return wamp_on_message(wl, content, in.buffer);
}

static enum pl_err on_stream(struct wamp_link *wl, struct pl_input in, size_t *out_used)
{
    size_t used = 0;
    enum pl_err err = PL_OK;
    if (!wl->has_handshake) {
        if (in.bytes.len < WAMP_RAW_HEADER)
            return PL_OK;
        if ((err = shake_hands(wl, in.bytes.data)))
            return err;
        used = WAMP_RAW_HEADER;
    }
    while (!err && used < in.bytes.len && !wl->link.is_waiting && wl->link.is_open)
        err = on_raw_frame(wl, in, &used);
    *out_used = used;
    return err == PL_NEED_MORE ? PL_OK : err;
}

/* The next message of a batch. */
static enum pl_err next_of_batch(
    const struct wamp_way *way, struct pl_bytes *rest, struct pl_bytes *out)
{
    if (way->serializer == PL_SERIAL_JSON) {
        const uint8_t *end = memchr(rest->data, RECORD_END, rest->len);
        if (!end)
            return PL_MALFORMED;
        *out = pl_bytes_of(rest->data, (size_t)(end - rest->data));
        *rest = pl_bytes_from(*rest, out->len + 1);
        return PL_OK;
    }
    if (rest->len < 4)
        return PL_MALFORMED;
    uint32_t len = (uint32_t)rest->data[0] << 24 | (uint32_t)rest->data[1] << 16 |
                   (uint32_t)rest->data[2] << 8 | rest->data[3];
    if (len > rest->len - 4)
        return PL_MALFORMED;
    *out = pl_bytes_of(rest->data + 4, len);
    *rest = pl_bytes_from(*rest, len + 4);
    return PL_OK;
}

static enum pl_err on_batch(struct wamp_link *wl, struct pl_input in, size_t *out_used)
{
    struct pl_bytes rest = in.bytes, one;
    enum pl_err err = PL_OK;
    *out_used = 0;
    if (!rest.len)
        return wamp_violate(wl, "a batch has a message at least");
    /* What is left when the link must wait comes again. */
    while (!err && rest.len && wl->link.is_open && !wl->link.is_waiting) {
        err = next_of_batch(&wl->way, &rest, &one);
        if (err)
            return wamp_violate(wl, "a batch is not framed rightly");
        err = wamp_on_message(wl, one, in.buffer);
        *out_used = in.bytes.len - rest.len;
    }
    return err;
}

static enum pl_err on_receive(struct pl_link *link, struct pl_input in, size_t *out_used)
{
    struct wamp_link *wl = of_link(link);
    *out_used = 0;
    if (link->framing == PL_FRAMING_STREAM)
        return on_stream(wl, in, out_used);
    bool is_text = in.kind == PL_INPUT_TEXT_FRAME;
    if (is_text != (wl->way.serializer == PL_SERIAL_JSON))
        return wamp_violate(wl, "text is for JSON, binary for the other serializers");
    if (wl->way.is_batched)
        return on_batch(wl, in, out_used);
    *out_used = in.bytes.len;
    return wamp_on_message(wl, in.bytes, in.buffer);
}

static uint64_t add_ms(uint64_t a, uint64_t b)
{
    return a > PL_NEVER - b ? PL_NEVER : a + b;
}

static void send_ping(struct wamp_link *wl)
{
    static const uint8_t raw[] = {RAW_PING, 0, 0, 0}, websocket[] = {0x89, 0};
    struct pl_bytes ping = wl->way.framing == PL_FRAMING_STREAM
                               ? pl_bytes_of(raw, sizeof raw)
                               : pl_bytes_of(websocket, sizeof websocket);
    (void)!pl_output_append(wl->link.out, ping);
    wl->pings_out++;
}

/* Silence of an interval gets a ping; ping_max of them unanswered are the end. */
static uint64_t on_tick(struct pl_link *link, uint64_t now_ms)
{
    struct wamp_link *wl = of_link(link);
    const struct pl_link_config *config = link->config;
    if (!link->is_open)
        return PL_NEVER;
    if (wl->phase != WAMP_JOINED) {
        /* Once it is done, silence counts. */
        uint64_t due_ms = add_ms(link->opened_ms, config->login_ms);
        uint64_t next_ms = add_ms(now_ms, config->ping_interval_ms);
        if (now_ms < due_ms)
            return due_ms < next_ms ? due_ms : next_ms;
        link->is_waiting = true;
        if (link->framing != PL_FRAMING_STREAM || wl->has_handshake)
            (void)wamp_abort(
                wl, PL_TIMEOUT, "wamp.error.authentication_failed", "the login took too long");
        link->host->close(link, PL_TIMEOUT, NULL);
        return PL_NEVER;
    }
    uint64_t bytes = link->host->bytes_in(link);
    bool is_silent = bytes == wl->seen_bytes && now_ms > link->opened_ms;
    wl->seen_bytes = bytes;
    if (!is_silent)
        wl->pings_out = 0;
    else if (wl->pings_out < config->ping_max)
        send_ping(wl);
    else
        link->host->close(link, PL_TIMEOUT, NULL);
    return add_ms(now_ms, config->ping_interval_ms);
}

static void on_drain(struct pl_link *link)
{
    struct wamp_link *wl = of_link(link);
    if (wl->session && wl->phase == WAMP_JOINED) {
        wl->session->keeps_quiet = true;
        wamp_goodbye(wl->session, "wamp.close.system_shutdown", PL_NO_BYTES);
    } else {
        link->host->close(link, PL_DRAINING, NULL);
    }
}

static void on_closed(struct pl_link *link, enum pl_err why)
{
    struct wamp_link *wl = of_link(link);
    (void)why;
    link->session = NULL;
    if (wl->session)
        wamp_close(wl->session);
    wl->session = NULL;
}

const struct pl_protocol pl_wamp_protocol = {
    .name = "wamp",
    .websocket = (const char *const[]){"wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor",
        "wamp.2.json.batched", "wamp.2.msgpack.batched", "wamp.2.cbor.batched", NULL},
    .takes_messages = true,
    .link_size = sizeof(struct wamp_link),
    .sniff = sniff,
    .open = on_open,
    .receive = on_receive,
    .tick = on_tick,
    .drain = on_drain,
    .closed = on_closed,
};
