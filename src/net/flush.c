/*
 * The way out: output → WebSocket → TLS → socket.
 *
 * A plain connection writes its output's chunks where they stand. One with layers takes some off,
 * wraps them, writes the result, and takes the next only when that is gone: what a slow peer has
 * not read stays in the output, unwrapped and counted.
 *
 * The first try is one writev without waiting. Only if the socket is full, libuv waits for it, with
 * a bounded part of what is left; when that is written we come here again.
 */
#include "base/alloc.h"
#include "net/state.h"

enum {
    WRITE_PARTS = 64,               /* runs in one system call */
    WRITE_WAITING_MAX = 256 * 1024, /* bytes that wait in libuv */
    WRAP_MAX = 256 * 1024,          /* bytes that are taken from the output at a time */
};

void pl_chain_add(struct pl_chain *chain, struct pl_chunk *chunk)
{
    chunk->next = NULL;
    if (chain->tail)
        chain->tail->next = chunk;
    else
        chain->head = chunk;
    chain->tail = chunk;
}

enum pl_err pl_chain_append(
    struct pl_output_pool *pool, struct pl_chain *chain, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    while (len) {
        struct pl_chunk *tail = chain->tail;
        if (!tail || !tail->room) {
            tail = pl_chunk_new(pool, len < PL_CHUNK_LARGE ? len : PL_CHUNK_LARGE);
            if (!tail)
                return PL_NO_MEMORY;
            pl_chain_add(chain, tail);
        }
        size_t part = len < tail->room ? len : tail->room;
        memcpy(tail->bytes + (tail->cap - tail->room), from, part);
        tail->len += (uint32_t)part;
        tail->room -= (uint32_t)part;
        from += part;
        len -= part;
    }
    return PL_OK;
}

void pl_chain_free(struct pl_output_pool *pool, struct pl_chain *chain)
{
    while (chain->head) {
        struct pl_chunk *chunk = chain->head;
        chain->head = chunk->next;
        pl_chunk_free(pool, chunk);
    }
    chain->tail = NULL;
}

size_t pl_chain_take(struct pl_chain *chain, struct pl_conn *conn, size_t max)
{
    struct pl_output *out = &conn->out;
    size_t taken = 0;
    while (out->head && taken < max) {
        struct pl_chunk *chunk = out->head;
        out->head = chunk->next;
        if (!out->head)
            out->tail = NULL;
        chunk->room = 0; /* nobody appends to what has left the output */
        taken += chunk->len;
        pl_chain_add(chain, chunk);
    }
    conn->layers->taken += taken;
    return taken;
}

static void on_written(uv_write_t *req, int status);

/* Up to max bytes of the chain as buffers; *out_len: how many bytes. */
static unsigned gather(struct pl_chunk *chunk, size_t max, uv_buf_t *bufs, size_t *out_len)
{
    unsigned count = 0;
    size_t len = 0;
    for (; chunk && count < WRITE_PARTS && len < max; chunk = chunk->next) {
        if (!chunk->len)
            continue;
        size_t part = chunk->len < max - len ? chunk->len : max - len;
        /* libuv's buffers are not const, but a write does not write to them. */
        bufs[count++] = uv_buf_init((char *)(uintptr_t)chunk->data, (unsigned)part);
        len += part;
    }
    *out_len = len;
    return count;
}

static bool is_layered(const struct pl_conn *conn)
{
    return conn->layers && (conn->layers->tls || conn->layers->ws);
}

/* The chain whose head is next for the socket. */
static struct pl_chunk **socket_head(struct pl_conn *conn)
{
    return is_layered(conn) ? &conn->layers->wire.head : &conn->out.head;
}

static void on_sent(struct pl_conn *conn, size_t n)
{
    conn->bytes_out += n;
    pl_reactor_count(&conn->reactor->bytes_out, n);
    struct pl_chunk **head = socket_head(conn);
    pl_chunk_advance(conn->reactor->outputs, head, n);
    if (is_layered(conn)) {
        if (!*head)
            conn->layers->wire.tail = NULL;
    } else {
        if (!*head)
            conn->out.tail = NULL;
        pl_output_sent(&conn->out, n);
    }
}

static void wait_for_socket(struct pl_conn *conn)
{
    uv_buf_t bufs[WRITE_PARTS];
    size_t len;
    unsigned count = gather(*socket_head(conn), WRITE_WAITING_MAX, bufs, &len);
    conn->write = pl_alloc(sizeof *conn->write);
    if (!conn->write) {
        pl_conn_on_broken(conn, PL_NO_MEMORY);
        return;
    }
    conn->write->len = len;
    conn->write->req.data = conn;
    int err = uv_write(&conn->write->req, &conn->stream, bufs, count, on_written);
    if (err) {
        pl_free(conn->write);
        conn->write = NULL;
        pl_conn_on_broken(conn, err == UV_ENOMEM ? PL_NO_MEMORY : PL_IO);
    }
}

/* Writes the socket's chain. True: all is gone. */
static bool write_chain(struct pl_conn *conn)
{
    for (;;) {
        uv_buf_t bufs[WRITE_PARTS];
        size_t len;
        unsigned count = gather(*socket_head(conn), SIZE_MAX, bufs, &len);
        if (!count)
            return true;
        int n = uv_try_write(&conn->stream, bufs, count);
        if (n < 0 && n != UV_EAGAIN) {
            pl_conn_on_broken(conn, n == UV_ENOBUFS || n == UV_ENOMEM ? PL_NO_MEMORY : PL_IO);
            return false;
        }
        if (n > 0)
            on_sent(conn, (size_t)n);
        if (n < 0 || (size_t)n < len) {
            wait_for_socket(conn);
            return false;
        }
    }
}

/* Fills the empty wire with what comes next; *out_some false: there is nothing. */
static enum pl_err wrap(struct pl_conn *conn, bool *out_some)
{
    struct pl_layers *layers = conn->layers;
    *out_some = false;
    if (!layers->tls)
        return pl_ws_layer_frame(conn, &layers->wire, out_some);
    if (!pl_tls_layer_is_ready(layers->tls))
        return PL_OK;
    enum pl_err err = PL_OK;
    if (layers->plain.head)
        *out_some = true;
    else if (layers->ws)
        err = pl_ws_layer_frame(conn, &layers->plain, out_some);
    else
        *out_some = pl_chain_take(&layers->plain, conn, WRAP_MAX) != 0;
    return err || !*out_some ? err : pl_tls_layer_encrypt(conn);
}

static void say_goodbye(struct pl_conn *conn)
{
    struct pl_layers *layers = conn->layers;
    conn->said_goodbye = true;
    if (layers->ws)
        pl_ws_layer_goodbye(conn, layers->tls ? &layers->plain : &layers->wire);
    if (layers->tls && pl_tls_layer_is_ready(layers->tls)) {
        if (layers->plain.head && pl_tls_layer_encrypt(conn) != PL_OK)
            return;
        pl_tls_layer_goodbye(conn);
    }
}

/* True: everything has been written. */
static bool flush_layers(struct pl_conn *conn)
{
    struct pl_layers *layers = conn->layers;
    for (;;) {
        if (!write_chain(conn))
            return false;
        if (!layers->plain.head) {
            pl_output_sent(&conn->out, layers->taken);
            layers->taken = 0;
        }
        bool some;
        enum pl_err err = wrap(conn, &some);
        if (err) {
            pl_conn_on_broken(conn, err);
            return false;
        }
        if (!some && conn->is_told && !conn->said_goodbye)
            say_goodbye(conn);
        if (!layers->wire.head)
            return true;
    }
}

void pl_conn_flush(struct pl_conn *conn)
{
    if (conn->state == CONN_GONE || conn->write)
        return;
    struct pl_output *out = &conn->out;
    conn->was_over |= out->bytes > out->bytes_max;
    bool is_done = is_layered(conn) ? flush_layers(conn) : write_chain(conn);
    if (conn->was_over && out->bytes <= out->bytes_max / 2) {
        conn->was_over = false;
        if (conn->state == CONN_OPEN && conn->listener->ops->on_drained) {
            conn->listener->ops->on_drained(conn);
            conn->reactor->more = true;
        }
    }
    if (is_done)
        pl_conn_on_flushed(conn);
}

static void on_written(uv_write_t *req, int status)
{
    struct pl_conn *conn = req->data;
    size_t len = conn->write->len;
    pl_free(conn->write);
    conn->write = NULL;
    if (conn->state == CONN_GONE)
        return;
    pl_reactor_enter(conn->reactor);
    if (status < 0) {
        pl_conn_on_broken(conn, PL_IO);
        return;
    }
    on_sent(conn, len);
    pl_output_touch(&conn->out);
}
