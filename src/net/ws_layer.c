/*
 * WebSocket over a connection: RFC 6455 and permessage-deflate, the server's side.
 *
 * In: frames are unmasked where they lie. A stream's payloads move together as they are unmasked,
 * so that the owner gets all that one read brought as one run behind the tail:
 *
 *     tail │ header ▒▒▒▒ header ▒▒▒ header ▒▒▒▒▒   →   tail │ ▒▒▒▒▒▒▒▒▒▒▒▒
 *
 * A compressed message is gathered as it came and inflated when it is whole, straight into the
 * reactor's buffers. So no inflater belongs to a connection, and both sizes have one limit.
 *
 * Out: a stream's output gets one header for all that a flush takes. Pongs wait beside it and go
 * between two frames. Messages are framed (and compressed) when they are appended, by us or by the
 * owner itself, and their pongs stand between them in the output.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "codec/deflate.h"
#include "codec/websocket.h"
#include "net/state.h"

enum {
    FRAME_MAX = 256 * 1024, /* about: a frame ends with the chunk that reaches it */
    DEFLATE_MIN = 256,      /* shorter frames are not worth it */
    GATHER_FIRST = 1024,
};

struct pl_ws_layer {
    struct pl_websocket_decoder decoder;
    uint32_t message_max;
    bool is_stream, refuses_text;
    bool is_over;    /* the peer's close frame came */
    bool has_failed; /* the decoder must not be asked again */
    bool has_deflate, gathers_text, gathers_compressed, rest_is_text;
    uint8_t server_bits;
    uint16_t close_code;       /* 0: made of the reason that the connection ended for */
    const char *close_reason;  /* static; NULL: none */
    struct pl_chunk *pongs;    /* owned; go out before the next frame */
    struct pl_shared *held;    /* owned; frames that came while the input was paused */
    struct pl_shared *message; /* owned; being gathered */
    struct pl_shared *rest;    /* owned; what a paused owner has left of a message */
};

enum pl_err pl_conn_set_websocket(struct pl_conn *conn, const struct pl_websocket_options *options)
{
    if (pl_conn_is_websocket(conn))
        return PL_UNSUPPORTED;
    if (!pl_conn_layers(conn))
        return PL_NO_MEMORY;
    struct pl_ws_layer *ws = pl_zalloc(sizeof *ws);
    if (!ws)
        return PL_NO_MEMORY;
    ws->is_stream = options->is_stream;
    ws->refuses_text = options->refuses_text;
    ws->message_max = options->message_max;
    ws->has_deflate = options->deflate != NULL;
    ws->server_bits = options->deflate ? options->deflate->server_bits : 0;
    pl_websocket_decoder_init(&ws->decoder, ws->has_deflate);
    conn->layers->ws = ws;
    /* The answer to the upgrade is no frame. */
    pl_chain_take(conn->layers->tls ? &conn->layers->plain : &conn->layers->wire, conn, SIZE_MAX);
    return PL_OK;
}

void pl_conn_set_message_max(struct pl_conn *conn, uint32_t bytes)
{
    if (pl_conn_is_websocket(conn))
        conn->layers->ws->message_max = bytes;
}

void pl_ws_layer_free(struct pl_conn *conn)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    if (!ws)
        return;
    if (ws->pongs)
        pl_chunk_free(conn->reactor->outputs, ws->pongs);
    pl_shared_unref(ws->held);
    pl_shared_unref(ws->message);
    pl_shared_unref(ws->rest);
    pl_free(ws);
    conn->layers->ws = NULL;
}

bool pl_ws_layer_is_over(const struct pl_ws_layer *ws)
{
    return ws->is_over;
}

bool pl_ws_layer_has_failed(const struct pl_ws_layer *ws)
{
    return ws->has_failed;
}

static void fail(struct pl_conn *conn, uint16_t code, const char *text)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct pl_diag diag;
    ws->has_failed = true;
    if (conn->state != CONN_OPEN)
        return;
    pl_diag_set(&diag, code, "WebSocket: %s", text);
    ws->close_code = code;
    ws->close_reason = text;
    pl_conn_close(conn,
        code == PL_WS_TOO_BIG       ? PL_TOO_LARGE
        : code == PL_WS_UNSUPPORTED ? PL_UNSUPPORTED
        : code == PL_WS_INTERNAL    ? PL_NO_MEMORY
                                    : PL_PROTOCOL,
        &diag);
}

static void fail_decoding(struct pl_conn *conn)
{
    uint16_t code = conn->layers->ws->decoder.close_code;
    fail(conn, code, code == PL_WS_BAD_DATA ? "text is not UTF-8" : "malformed frame");
}

/* Adds bytes to *to, which grows up to max. PL_TOO_LARGE, PL_NO_MEMORY. */
static enum pl_err gather(struct pl_shared **to, struct pl_bytes bytes, size_t max)
{
    struct pl_shared *old = *to;
    size_t len = old ? old->len : 0;
    if (bytes.len > max || len > max - bytes.len)
        return PL_TOO_LARGE;
    if (!old || old->cap - len < bytes.len) {
        size_t cap = len * 2 > GATHER_FIRST ? len * 2 : GATHER_FIRST;
        if (cap < len + bytes.len)
            cap = len + bytes.len;
        struct pl_shared *grown = pl_shared_new(cap);
        if (!grown)
            return PL_NO_MEMORY;
        if (len)
            memcpy(grown->data, old->data, len);
        pl_shared_unref(old);
        *to = grown;
    }
    if (bytes.len)
        memcpy((*to)->data + len, bytes.data, bytes.len);
    (*to)->len = (uint32_t)(len + bytes.len);
    return PL_OK;
}

static void fail_gathering(struct pl_conn *conn, enum pl_err err)
{
    if (err == PL_TOO_LARGE)
        fail(conn, PL_WS_TOO_BIG, "message too large");
    else if (err == PL_MALFORMED)
        fail(conn, PL_WS_BAD_DATA, "compressed data is malformed");
    else
        fail(conn, PL_WS_INTERNAL, "out of memory");
}

static void give_message(
    struct pl_conn *conn, struct pl_shared *buffer, struct pl_bytes bytes, bool is_text)
{
    size_t used = 0;
    buffer->len = (uint32_t)(bytes.data + bytes.len - buffer->data);
    enum pl_err err = conn->listener->ops->on_input(conn,
        (struct pl_conn_input){bytes, buffer, is_text ? PL_CONN_TEXT : PL_CONN_BINARY}, &used);
    if (err) {
        pl_conn_close(conn, err, NULL);
        return;
    }
    struct pl_ws_layer *ws = conn->layers->ws;
    if (used == bytes.len || !conn->is_paused || conn->state != CONN_OPEN)
        return;
    ws->rest_is_text = is_text;
    err = gather(&ws->rest, pl_bytes_from(bytes, used), UINT32_MAX / 2);
    if (err)
        fail_gathering(conn, err);
}

/* Gives what the owner had left of a message. */
static void give_rest(struct pl_conn *conn)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct pl_shared *rest = ws->rest;
    ws->rest = NULL;
    give_message(conn, rest, pl_bytes_of(rest->data, rest->len), ws->rest_is_text);
    pl_shared_unref(rest);
}

/* Inflates one message into the stream. */
static enum pl_err inflate_stream(struct pl_conn *conn, struct pl_inflater *inflater, bool is_text)
{
    size_t total = 0;
    uint32_t utf8 = 0;
    for (;;) {
        struct pl_region region;
        size_t len;
        enum pl_err err = pl_input_region(conn, &region);
        if (!err)
            err = pl_inflater_next(inflater, region.at + region.tail_len, region.room, &len);
        if (err)
            return err;
        total += len;
        if (total > conn->layers->ws->message_max)
            return PL_TOO_LARGE;
        if (is_text && (!pl_utf8_feed(&utf8, pl_bytes_of(region.at + region.tail_len, len)) ||
                           (!len && utf8))) {
            fail(conn, PL_WS_BAD_DATA, "text is not UTF-8");
            return PL_OK;
        }
        if (!len)
            return PL_OK;
        pl_input_stream(conn, &region, len);
        if (conn->state != CONN_OPEN)
            return PL_OK;
    }
}

/* Inflates one message into a buffer of its own and gives it. */
static enum pl_err inflate_message(struct pl_conn *conn, struct pl_inflater *inflater, bool is_text)
{
    struct pl_shared *message = NULL;
    uint8_t part[16384];
    size_t len;
    enum pl_err err;
    do {
        err = pl_inflater_next(inflater, part, sizeof part, &len);
        if (!err)
            err = gather(&message, pl_bytes_of(part, len), conn->layers->ws->message_max);
    } while (!err && len);
    if (!err) {
        struct pl_bytes bytes = pl_bytes_of(message->data, message->len);
        if (is_text && !pl_utf8_is_valid(bytes))
            fail(conn, PL_WS_BAD_DATA, "text is not UTF-8");
        else
            give_message(conn, message, bytes, is_text);
    }
    pl_shared_unref(message);
    return err;
}

static void end_gathering(struct pl_conn *conn)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct pl_reactor *r = conn->reactor;
    struct pl_shared *message = ws->message;
    struct pl_bytes bytes = pl_bytes_of(message->data, message->len);
    bool is_text = ws->gathers_text;
    ws->message = NULL;
    if (!ws->gathers_compressed) {
        give_message(conn, message, bytes, is_text);
    } else {
        enum pl_err err = PL_OK;
        if (!r->inflater && !(r->inflater = pl_inflater_new()))
            err = PL_NO_MEMORY;
        if (!err) {
            pl_inflater_begin(r->inflater, bytes);
            err = ws->is_stream ? inflate_stream(conn, r->inflater, is_text)
                                : inflate_message(conn, r->inflater, is_text);
        }
        if (err)
            fail_gathering(conn, err);
    }
    pl_shared_unref(message);
}

static void answer_ping(struct pl_conn *conn, struct pl_bytes payload)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct pl_output_pool *pool = conn->reactor->outputs;
    uint8_t pong[2 + PL_WS_CONTROL_MAX];
    size_t len = pl_websocket_encode_control(pong, PL_WS_PONG, payload);
    if (conn->state != CONN_OPEN)
        return;
    if (!ws->is_stream) {
        /* Who pings and does not read gets no more of them. */
        if (conn->out.bytes <= conn->out.bytes_max &&
            pl_output_append(&conn->out, pl_bytes_of(pong, len)) != PL_OK)
            pl_conn_abort(conn, PL_NO_MEMORY);
        return;
    }
    if (!ws->pongs)
        ws->pongs = pl_chunk_new(pool, sizeof pong);
    if (!ws->pongs) {
        pl_conn_abort(conn, PL_NO_MEMORY);
        return;
    }
    /* One chunk of them; after that the newest will do (RFC 6455, section 5.5.3). */
    struct pl_chunk *chunk = ws->pongs;
    if (chunk->room < len) {
        chunk->len = 0;
        chunk->room = chunk->cap;
    }
    memcpy(chunk->bytes + chunk->len, pong, len);
    chunk->len += (uint32_t)len;
    chunk->room -= (uint32_t)len;
    pl_output_touch(&conn->out);
}

static void on_peer_close(struct pl_conn *conn, const struct pl_websocket_piece *piece)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    ws->is_over = true;
    if (conn->state == CONN_OPEN) {
        if (!ws->close_code)
            ws->close_code = piece->code; /* told back (section 5.5.1) */
        struct pl_diag diag;
        pl_diag_set(&diag, piece->code, "WebSocket closed by the peer: %u %.*s", piece->code,
            (int)piece->bytes.len, piece->bytes.data ? (const char *)piece->bytes.data : "");
        pl_conn_close(conn, PL_CLOSED, &diag);
    } else {
        pl_conn_on_goodbye(conn);
    }
}

/*
 * The frames of one read. Payload of a stream is collected at `region`, behind the tail: where the
 * frames themselves lie (is_in_place), or in a fresh place when what lay there has been given.
 * Whole messages are given one by one from there, and stand behind each other too.
 */
struct run {
    struct pl_conn *conn;
    struct pl_ws_layer *ws;
    struct pl_region region;
    size_t len;
    bool is_in_place, has_region;
};

/* Gives what was collected, before something that has to come behind it. The tail may be another
 * one then, so the place is used up. */
static void give_run(struct run *run)
{
    if (!run->ws->is_stream)
        return;
    if (run->len)
        pl_input_stream(run->conn, &run->region, run->len);
    run->len = 0;
    run->is_in_place = run->has_region = false;
}

/* Where the next payload goes, and how much of it. */
static enum pl_err next_place(struct run *run, uint8_t **out_to, size_t *in_out_len)
{
    if (!run->is_in_place && run->has_region && run->len == run->region.room)
        give_run(run);
    if (!run->has_region) {
        enum pl_err err = pl_input_region(run->conn, &run->region);
        if (err)
            return err;
        run->has_region = true;
    }
    *out_to = run->region.at + run->region.tail_len + run->len;
    if (!run->is_in_place && *in_out_len > run->region.room - run->len)
        *in_out_len = run->region.room - run->len;
    return PL_OK;
}

static void on_data(struct run *run, const struct pl_websocket_piece *piece)
{
    struct pl_conn *conn = run->conn;
    struct pl_ws_layer *ws = run->ws;
    bool is_text = piece->kind == PL_WS_TEXT;
    if (conn->state != CONN_OPEN)
        return;
    if (is_text && ws->refuses_text) {
        give_run(run);
        fail(conn, PL_WS_UNSUPPORTED, "text messages are not accepted");
        return;
    }
    if (ws->is_stream && !piece->is_compressed) {
        run->len += piece->bytes.len;
        return;
    }
    bool is_whole = piece->is_start && piece->is_end && !piece->is_compressed;
    if (is_whole && run->is_in_place) {
        if (piece->bytes.len > ws->message_max)
            fail_gathering(conn, PL_TOO_LARGE);
        else
            give_message(conn, run->region.buffer, piece->bytes, is_text);
        run->len += piece->bytes.len; /* the owner may keep it: the next one goes behind it */
        return;
    }
    if (piece->is_start) {
        ws->gathers_text = is_text;
        ws->gathers_compressed = piece->is_compressed;
    }
    enum pl_err err = gather(&ws->message, piece->bytes, ws->message_max);
    if (err) {
        give_run(run);
        fail_gathering(conn, err);
    } else if (piece->is_end) {
        give_run(run);
        if (conn->state == CONN_OPEN)
            end_gathering(conn);
    }
}

/* One step. False: nothing is left to do now. */
static bool decode_one(struct run *run, struct pl_bytes *in)
{
    struct pl_ws_layer *ws = run->ws;
    uint8_t *to;
    size_t len = in->len;
    if (next_place(run, &to, &len) != PL_OK) {
        fail(run->conn, PL_WS_INTERNAL, "out of memory");
        return false;
    }
    struct pl_bytes part = {in->data, len};
    struct pl_websocket_piece piece;
    enum pl_err err = pl_websocket_decode(&ws->decoder, &part, to, &piece);
    *in = pl_bytes_from(*in, len - part.len);
    if (err == PL_NEED_MORE)
        return in->len != 0;
    if (err) {
        give_run(run);
        fail_decoding(run->conn);
        return false;
    }
    switch (piece.kind) {
    case PL_WS_PING:
        answer_ping(run->conn, piece.bytes);
        break;
    case PL_WS_PONG:
        break;
    case PL_WS_CLOSE:
        give_run(run);
        on_peer_close(run->conn, &piece);
        return false;
    default:
        on_data(run, &piece);
        break;
    }
    /* Also with nothing left: an empty payload makes its piece without input. */
    return !ws->has_failed;
}

static void decode(struct run *run, struct pl_bytes in)
{
    struct pl_conn *conn = run->conn;
    struct pl_ws_layer *ws = run->ws;
    while (!ws->has_failed && !ws->is_over && !conn->is_paused && decode_one(run, &in))
        continue;
    give_run(run);
    if (in.len && conn->is_paused && conn->state == CONN_OPEN) {
        enum pl_err err = gather(&ws->held, in, UINT32_MAX / 2);
        if (err)
            fail_gathering(conn, err);
    }
}

void pl_ws_layer_feed(struct pl_conn *conn, const struct pl_region *region, size_t n)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct pl_bytes in = pl_bytes_of(region->at + region->tail_len, n);
    if (ws->has_failed || ws->is_over)
        return;
    /* What came before is first. TLS may bring more although nothing is read. */
    if (conn->state == CONN_OPEN && (conn->is_paused || ws->held || ws->rest)) {
        enum pl_err err = gather(&ws->held, in, UINT32_MAX / 2);
        if (err)
            fail_gathering(conn, err);
        return;
    }
    struct run run = {
        .conn = conn, .ws = ws, .region = *region, .is_in_place = true, .has_region = true};
    decode(&run, in);
}

void pl_ws_layer_resume(struct pl_conn *conn)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct run run = {.conn = conn, .ws = ws};
    if (conn->tail) {
        /* What the owner had left comes first, and alone: it may pause again. */
        struct pl_region region;
        enum pl_err err = pl_input_region(conn, &region);
        if (err) {
            fail_gathering(conn, err);
            return;
        }
        pl_input_stream(conn, &region, 0);
    }
    if (ws->rest && !conn->is_paused && conn->state == CONN_OPEN)
        give_rest(conn);
    if (conn->is_paused || conn->state != CONN_OPEN || !ws->held)
        return;
    struct pl_shared *held = ws->held;
    ws->held = NULL;
    decode(&run, pl_bytes_of(held->data, held->len));
    pl_shared_unref(held);
}

/* The reactor's, ready for one message of this connection; NULL: no memory. */
static struct pl_deflater *begin_deflating(struct pl_conn *conn)
{
    struct pl_reactor *r = conn->reactor;
    uint8_t bits = conn->layers->ws->server_bits;
    if (r->deflater && r->deflater_bits != bits)
        r->deflater = pl_deflater_free(r->deflater);
    if (!r->deflater) {
        r->deflater = pl_deflater_new(bits);
        r->deflater_bits = bits;
    }
    if (r->deflater)
        pl_deflater_begin(r->deflater);
    return r->deflater;
}

/* Deflates the chain. */
static enum pl_err compress(
    struct pl_conn *conn, const struct pl_chain *from, struct pl_chain *to, size_t *out_len)
{
    struct pl_deflater *deflater = begin_deflating(conn);
    if (!deflater)
        return PL_NO_MEMORY;
    *out_len = 0;
    for (const struct pl_chunk *chunk = from->head; chunk; chunk = chunk->next) {
        struct pl_bytes in = pl_bytes_of(chunk->data, chunk->len);
        bool more = true;
        while (more) {
            uint8_t part[8192];
            size_t len;
            enum pl_err err =
                pl_deflater_next(deflater, in, !chunk->next, part, sizeof part, &len, &more);
            if (!err)
                err = pl_chain_append(conn->reactor->outputs, to, part, len);
            if (err)
                return err;
            in = PL_NO_BYTES;
            *out_len += len;
        }
    }
    return PL_OK;
}

/* Deflates one message into a buffer of its own. */
static enum pl_err compress_message(
    struct pl_conn *conn, struct pl_bytes payload, struct pl_shared **out)
{
    struct pl_deflater *deflater = begin_deflating(conn);
    struct pl_writer w = pl_writer_new();
    enum pl_err err = deflater ? PL_OK : PL_NO_MEMORY;
    bool more = true;
    while (more && !err) {
        uint8_t part[8192];
        size_t len = 0;
        err = pl_deflater_next(deflater, payload, true, part, sizeof part, &len, &more);
        pl_write_bytes(&w, pl_bytes_of(part, len));
        payload = PL_NO_BYTES;
    }
    enum pl_err taken = pl_writer_take(&w, out);
    if (err && !taken)
        pl_shared_unref(*out);
    return err ? err : taken;
}

static void append_chain(struct pl_chain *to, struct pl_chain *from)
{
    if (!from->head)
        return;
    if (to->tail)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    *from = (struct pl_chain){0};
}

enum pl_err pl_ws_layer_frame(struct pl_conn *conn, struct pl_chain *to, bool *out_some)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    struct pl_output_pool *pool = conn->reactor->outputs;
    struct pl_chain payload = {0}, deflated = {0};
    uint8_t header[PL_WS_OUR_HEADER_MAX];
    *out_some = false;
    if (ws->pongs) {
        ws->pongs->room = 0;
        pl_chain_add(to, ws->pongs);
        ws->pongs = NULL;
        *out_some = true;
    }
    if (!ws->is_stream) {
        *out_some |= pl_chain_take(to, conn, FRAME_MAX) != 0;
        return PL_OK;
    }
    size_t len = pl_chain_take(&payload, conn, FRAME_MAX), deflated_len;
    if (!len)
        return PL_OK;
    *out_some = true;
    enum pl_err err = PL_OK;
    bool is_compressed = false;
    if (ws->has_deflate && len >= DEFLATE_MIN) {
        err = compress(conn, &payload, &deflated, &deflated_len);
        is_compressed = !err && deflated_len < len;
        if (is_compressed) {
            pl_chain_free(pool, &payload);
            append_chain(&payload, &deflated);
            len = deflated_len;
        }
    }
    size_t header_len = pl_websocket_encode_header(header, PL_WS_BINARY, true, is_compressed, len);
    if (!err)
        err = pl_chain_append(pool, to, header, header_len);
    if (!err)
        append_chain(to, &payload);
    pl_chain_free(pool, &deflated);
    pl_chain_free(pool, &payload);
    return err;
}

enum pl_err pl_conn_send_message(
    struct pl_conn *conn, enum pl_conn_kind kind, struct pl_bytes payload)
{
    uint8_t header[PL_WS_OUR_HEADER_MAX];
    enum pl_websocket_opcode opcode = kind == PL_CONN_TEXT ? PL_WS_TEXT : PL_WS_BINARY;
    struct pl_shared *deflated = NULL;
    if (conn->layers->ws->has_deflate && payload.len >= DEFLATE_MIN) {
        enum pl_err err = compress_message(conn, payload, &deflated);
        if (err)
            return err;
    }
    bool is_compressed = deflated && deflated->len < payload.len;
    if (is_compressed)
        payload = pl_bytes_of(deflated->data, deflated->len);
    size_t len = pl_websocket_encode_header(header, opcode, true, is_compressed, payload.len);
    struct pl_writer w = pl_writer_begin(&conn->out);
    pl_write_bytes(&w, pl_bytes_of(header, len));
    pl_write_bytes(&w, payload);
    pl_shared_unref(deflated);
    return pl_writer_end(&w);
}

static uint16_t code_of(enum pl_err why)
{
    switch (why) {
    case PL_OK:
    case PL_CLOSED:
        return PL_WS_NORMAL;
    case PL_DRAINING:
        return PL_WS_RESTART;
    case PL_MALFORMED:
    case PL_PROTOCOL:
        return PL_WS_PROTOCOL_ERROR;
    case PL_UNSUPPORTED:
        return PL_WS_UNSUPPORTED;
    case PL_TOO_LARGE:
        return PL_WS_TOO_BIG;
    case PL_NO_MEMORY:
    case PL_IO:
    case PL_STORE:
    case PL_CONFIG:
        return PL_WS_INTERNAL;
    case PL_NEED_MORE:
    case PL_LIMIT:
    case PL_BAD_NAME:
    case PL_DENIED:
    case PL_BAD_LOGIN:
    case PL_EXPIRED:
    case PL_REVOKED:
    case PL_TAKEN_OVER:
    case PL_KICKED:
    case PL_SLOW_CONSUMER:
    case PL_TIMEOUT:
    case PL_CANCELED:
    case PL_CALLEE_GONE:
    case PL_NO_CALLEE:
    case PL_NO_PARTS:
    case PL_CHALLENGED:
    case PL_NO_REALM:
    case PL_NO_METHOD:
    case PL_NO_RESPONDERS:
    case PL_NOT_FOUND:
    case PL_EXISTS:
        return PL_WS_POLICY;
    }
    return PL_WS_INTERNAL;
}

void pl_ws_layer_goodbye(struct pl_conn *conn, struct pl_chain *to)
{
    struct pl_ws_layer *ws = conn->layers->ws;
    const struct pl_diag *diag = conn->layers->diag;
    uint8_t frame[2 + PL_WS_CONTROL_MAX];
    uint16_t code = ws->close_code ? ws->close_code : code_of(conn->why);
    if (!ws->close_code && diag && pl_websocket_is_code((uint16_t)diag->code))
        code = (uint16_t)diag->code; /* of a protocol that knows WebSocket's codes */
    const char *reason = ws->close_reason;
    if (!reason && !ws->is_over && conn->why != PL_OK)
        reason = diag ? diag->text : pl_err_text(conn->why);
    size_t len = pl_websocket_encode_close(frame, code, pl_bytes_text(reason));
    if (pl_chain_append(conn->reactor->outputs, to, frame, len) != PL_OK)
        ws->is_over = true; /* then without */
}
