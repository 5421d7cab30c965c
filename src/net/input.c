/*
 * The way in: socket → TLS → WebSocket → owner.
 *
 * A reactor reads into a few large buffers of its own. What a connection has left over from before,
 * its tail, is copied in front of the place that the socket is read into, so the owner finds whole
 * packets in one piece and parses them where they lie:
 *
 *     buffer  │ taken │ tail │ new bytes …          │ free
 *                     └── at                        └── used moves here if somebody keeps a
 * reference
 *
 * Where nobody keeps one, the same place serves the next read, and stays in the cache. A buffer
 * that is used up is left to those who refer to it; we take the next, or make one.
 *
 * A long tail is not copied again and again: the socket is read into the tail's own buffer, which
 * grows by doubling. So it costs what has arrived, never what a peer has announced.
 */
#include "base/alloc.h"
#include "net/state.h"

/* A place of `need` bytes in one of the reactor's buffers: the one at buffer_at, from buffer_used.
 */
static enum pl_err find_room(struct pl_reactor *r, size_t need)
{
    if (r->buffer_count) {
        struct pl_shared *buffer = r->buffers[r->buffer_at];
        if (pl_shared_is_mine(buffer))
            r->buffer_used = 0;
        if (buffer->cap - r->buffer_used >= need)
            return PL_OK;
    }
    for (uint32_t i = 1; i < r->buffer_count; i++) {
        uint32_t at = (r->buffer_at + i) % r->buffer_count;
        if (pl_shared_is_mine(r->buffers[at])) {
            r->buffer_at = at;
            r->buffer_used = 0;
            return PL_OK;
        }
    }
    struct pl_shared *made = pl_shared_new(READ_BUFFER_SIZE);
    if (!made)
        return PL_NO_MEMORY;
    uint32_t at = r->buffer_count;
    if (at == READ_BUFFERS_MAX) {
        at = (r->buffer_at + 1) % READ_BUFFERS_MAX;
        pl_shared_unref(r->buffers[at]); /* it belongs to those who still refer to it */
    } else {
        r->buffer_count++;
    }
    r->buffers[at] = made;
    r->buffer_at = at;
    r->buffer_used = 0;
    return PL_OK;
}

/* Makes room behind a long tail, in its own buffer. */
static enum pl_err grow_tail(struct pl_conn *conn)
{
    struct pl_shared *tail = conn->tail;
    if (tail->cap - tail->len >= READ_ROOM_MIN && pl_shared_is_mine(tail))
        return PL_OK;
    size_t cap = (size_t)tail->len * 2;
    if (cap < (size_t)tail->len + READ_BUFFER_SIZE)
        cap = (size_t)tail->len + READ_BUFFER_SIZE;
    struct pl_shared *grown = pl_shared_new(cap);
    if (!grown)
        return PL_NO_MEMORY;
    memcpy(grown->data, tail->data, tail->len);
    grown->len = tail->len;
    pl_shared_unref(tail);
    conn->tail = grown;
    return PL_OK;
}

enum pl_err pl_input_region(struct pl_conn *conn, struct pl_region *out)
{
    struct pl_reactor *r = conn->reactor;
    size_t tail_len = conn->tail ? conn->tail->len : 0;
    if (tail_len > TAIL_COPIED_MAX) {
        enum pl_err err = grow_tail(conn);
        if (err)
            return err;
        *out =
            (struct pl_region){conn->tail, conn->tail->data, tail_len, conn->tail->cap - tail_len};
        return PL_OK;
    }
    enum pl_err err = find_room(r, tail_len + READ_ROOM_MIN);
    if (err)
        return err;
    struct pl_shared *buffer = r->buffers[r->buffer_at];
    uint8_t *at = buffer->data + r->buffer_used;
    if (tail_len)
        memcpy(at, conn->tail->data, tail_len);
    *out = (struct pl_region){buffer, at, tail_len, buffer->cap - r->buffer_used - tail_len};
    return PL_OK;
}

/* Keeps len bytes at `at`, which lie in region or in the tail itself. */
static enum pl_err keep_tail(
    struct pl_conn *conn, const struct pl_region *region, const uint8_t *at, size_t len)
{
    struct pl_shared *tail = conn->tail;
    if (!len) {
        conn->tail = pl_shared_unref(tail);
        return PL_OK;
    }
    if (tail && region->buffer == tail && at == tail->data) {
        tail->len = (uint32_t)len;
        return PL_OK;
    }
    if (!tail || region->buffer == tail || tail->cap < len || !pl_shared_is_mine(tail)) {
        tail = pl_shared_new(len < 256 ? 256 : len);
        if (!tail)
            return PL_NO_MEMORY;
        memcpy(tail->data, at, len);
        pl_shared_unref(conn->tail);
        conn->tail = tail;
    } else {
        memcpy(tail->data, at, len);
    }
    tail->len = (uint32_t)len;
    return PL_OK;
}

/* Gives the owner what the region holds, keeps what it leaves. */
static void give(struct pl_conn *conn, const struct pl_region *region, size_t len)
{
    bool was_tls = pl_conn_is_tls(conn), was_websocket = pl_conn_is_websocket(conn);
    size_t used = 0;
    if (!conn->is_paused && len) {
        region->buffer->len = (uint32_t)(region->at + len - region->buffer->data);
        enum pl_err err = conn->listener->ops->on_input(
            conn, (struct pl_conn_input){{region->at, len}, region->buffer, PL_CONN_STREAM}, &used);
        PL_ASSERT(used <= len);
        if (err)
            pl_conn_close(conn, err, NULL);
        if (conn->state != CONN_OPEN)
            return;
    }
    const uint8_t *rest = region->at + used;
    size_t rest_len = len - used;
    if (!was_tls && pl_conn_is_tls(conn)) {
        /* The peer's ClientHello, or its beginning. */
        conn->tail = pl_shared_unref(conn->tail);
        pl_tls_layer_feed(conn, rest, rest_len);
        return;
    }
    if (!was_websocket && pl_conn_is_websocket(conn) && rest_len) {
        pl_conn_close(conn, PL_PROTOCOL, NULL);
        return;
    }
    enum pl_err err = keep_tail(conn, region, rest, rest_len);
    if (!err && rest_len > conn->input_max && !conn->is_paused)
        err = PL_TOO_LARGE;
    if (err)
        pl_conn_close(conn, err, NULL);
}

/* A region in use: whoever wants room meanwhile finds it behind. */
struct pin {
    struct pl_shared *buffer; /* one reference: it may be the tail, which may go */
    uint32_t begin;
    bool is_ours;
};

static struct pin pin(struct pl_reactor *r, const struct pl_region *region, size_t n)
{
    struct pin p = {.buffer = pl_shared_ref(region->buffer), .begin = r->buffer_used};
    p.is_ours = r->buffer_count && p.buffer == r->buffers[r->buffer_at];
    size_t end = (size_t)(region->at - p.buffer->data) + region->tail_len + n;
    end = (end + 15) & ~(size_t)15;
    if (end > p.buffer->cap)
        end = p.buffer->cap;
    if (p.is_ours && end > r->buffer_used)
        r->buffer_used = (uint32_t)end;
    return p;
}

static void unpin(struct pl_reactor *r, struct pin p)
{
    bool is_free = p.is_ours && p.buffer == r->buffers[r->buffer_at];
    pl_shared_unref(p.buffer);
    /* Nobody has kept a reference: the same place, still in the cache, serves again. */
    if (is_free && pl_shared_is_mine(p.buffer))
        r->buffer_used = p.begin;
}

void pl_input_stream(struct pl_conn *conn, const struct pl_region *region, size_t n)
{
    if (conn->state != CONN_OPEN)
        return;
    struct pin p = pin(conn->reactor, region, n);
    give(conn, region, region->tail_len + n);
    unpin(conn->reactor, p);
}

void pl_input_commit(struct pl_conn *conn, const struct pl_region *region, size_t n)
{
    if (!pl_conn_is_websocket(conn)) {
        pl_input_stream(conn, region, n);
        return;
    }
    struct pin p = pin(conn->reactor, region, n);
    pl_ws_layer_feed(conn, region, n);
    unpin(conn->reactor, p);
}

static bool may_read(const struct pl_conn *conn)
{
    const struct pl_reactor *r = conn->reactor;
    if (conn->is_paused && conn->state == CONN_OPEN)
        return false;
    return r->reader != conn || r->reader_bytes < EVENT_READ_MAX;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct pl_conn *conn = handle->data;
    struct pl_reactor *r = conn->reactor;
    pl_reactor_enter(r);
    *buf = uv_buf_init(NULL, 0);
    if (!may_read(conn))
        return;
    if (pl_conn_is_tls(conn)) {
        if (!r->cipher)
            r->cipher = pl_alloc(READ_BUFFER_SIZE);
        if (r->cipher)
            *buf = uv_buf_init((char *)r->cipher, READ_BUFFER_SIZE);
    } else if (pl_input_region(conn, &r->region) == PL_OK) {
        *buf = uv_buf_init((char *)r->region.at + r->region.tail_len, (unsigned)r->region.room);
    }
    if (!buf->len)
        pl_conn_on_broken(conn, PL_NO_MEMORY);
}

static void count_read(struct pl_conn *conn, size_t n)
{
    struct pl_reactor *r = conn->reactor;
    if (r->reader != conn) {
        r->reader = conn;
        r->reader_bytes = 0;
    }
    r->reader_bytes += n;
    r->turn_bytes += n;
    conn->bytes_in += n;
    pl_reactor_count(&conn->reactor->bytes_in, n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pl_conn *conn = stream->data;
    struct pl_reactor *r = conn->reactor;
    if (n == UV_ENOBUFS) {
        if (conn->is_paused || conn->state == CONN_GONE) {
            uv_read_stop(stream);
            conn->is_reading = false;
        }
        return;
    }
    if (n == 0)
        return;
    if (n == UV_EOF) {
        pl_conn_on_eof(conn);
        return;
    }
    if (n < 0) {
        pl_conn_on_broken(conn, n == UV_ECONNRESET ? PL_CLOSED : PL_IO);
        return;
    }
    count_read(conn, (size_t)n);
    if (pl_conn_is_tls(conn))
        pl_tls_layer_feed(conn, (const uint8_t *)buf->base, (size_t)n);
    else
        pl_input_commit(conn, &r->region, (size_t)n);
    if (r->turn_bytes >= TURN_READ_MAX)
        pl_reactor_end_turn(r);
}

void pl_input_start(struct pl_conn *conn)
{
    if (conn->is_reading || conn->is_eof || conn->state == CONN_GONE)
        return;
    int err = uv_read_start(&conn->stream, on_alloc, on_read);
    if (err)
        pl_conn_on_broken(conn, PL_IO);
    else
        conn->is_reading = true;
}

void pl_input_resume(struct pl_conn *conn)
{
    if (conn->is_paused)
        return;
    conn->is_resuming = false;
    if (pl_conn_is_websocket(conn)) {
        pl_ws_layer_resume(conn);
    } else if (conn->tail) {
        struct pl_region region;
        enum pl_err err = pl_input_region(conn, &region);
        if (err)
            pl_conn_close(conn, err, NULL);
        else
            pl_input_commit(conn, &region, 0);
    }
    if (!conn->is_paused)
        pl_input_start(conn);
}

void pl_input_done(struct pl_reactor *r)
{
    for (uint32_t i = 0; i < r->buffer_count; i++)
        pl_shared_unref(r->buffers[i]);
    r->buffer_count = 0;
    pl_free(r->cipher);
    r->cipher = NULL;
}
