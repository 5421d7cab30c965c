/*
 * The life of a connection.
 *
 *     OPEN ──── pl_conn_close, the peer's end ──→ CLOSING ── all written ──→ LINGERS ──→ GONE
 *       └────── pl_conn_abort, a broken socket ────────────────────────────────────────→ GONE
 *
 * The owner is told at the end of the turn (pl_conn_care), so on_close never comes from inside one
 * of its own calls. A closing connection lingers: it ends its own side and reads on for a moment,
 * because closing a socket with unread input would reset it, and the peer might lose our last
 * words.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/state.h"

static void on_closed(uv_handle_t *handle)
{
    struct pl_conn *conn = handle->data;
    struct pl_reactor *r = conn->reactor;
    if (conn->layers) {
        pl_ws_layer_free(conn);
        pl_tls_layer_free(conn->layers->tls);
        pl_chain_free(r->outputs, &conn->layers->plain);
        pl_chain_free(r->outputs, &conn->layers->wire);
        pl_free(conn->layers->diag);
        pl_free(conn->layers);
    }
    pl_output_done(&conn->out);
    pl_shared_unref(conn->tail);
    pl_gate_leave(conn->peer);
    pl_free(conn->write);
    pl_free(conn);
    atomic_fetch_sub(&r->conn_count, 1);
}

static void set_deadline(struct pl_conn *conn, uint64_t at_ms)
{
    struct pl_heap *heap = &conn->reactor->heap;
    if (at_ms == PL_NEVER)
        pl_heap_remove(heap, &conn->timer);
    else if (pl_heap_set(heap, &conn->timer, at_ms) != PL_OK)
        pl_conn_abort(conn, PL_NO_MEMORY);
}

/* Closes the handle; the owner must have been told. */
static void let_go(struct pl_conn *conn)
{
    if (conn->state == CONN_GONE && uv_is_closing(&conn->handle))
        return;
    conn->state = CONN_GONE;
    conn->out.closed = true;
    pl_heap_remove(&conn->reactor->heap, &conn->timer);
    pl_reactor_remove_due(conn->reactor, conn);
    if (conn->reactor->reader == conn)
        conn->reactor->reader = NULL;
    uv_close(&conn->handle, on_closed);
}

static void end(struct pl_conn *conn, enum pl_err why, enum pl_conn_state state)
{
    if (conn->state >= state)
        return;
    if (conn->state == CONN_OPEN)
        conn->why = (uint8_t)why;
    conn->state = (uint8_t)state;
    conn->out.closed = true;
    pl_reactor_add_due(conn->reactor, conn);
}

void pl_conn_close(struct pl_conn *conn, enum pl_err why, const struct pl_diag *diag)
{
    if (conn->state != CONN_OPEN)
        return;
    if (diag && pl_conn_layers(conn) && !conn->layers->diag) {
        conn->layers->diag = pl_alloc(sizeof *diag);
        if (conn->layers->diag)
            *conn->layers->diag = *diag;
    }
    end(conn, why, CONN_CLOSING);
}

void pl_conn_abort(struct pl_conn *conn, enum pl_err why)
{
    end(conn, why, CONN_GONE);
}

void pl_conn_on_broken(struct pl_conn *conn, enum pl_err why)
{
    end(conn, why, CONN_GONE);
}

void pl_conn_on_eof(struct pl_conn *conn)
{
    conn->is_eof = true;
    if (conn->is_reading) {
        uv_read_stop(&conn->stream);
        conn->is_reading = false;
    }
    pl_reactor_add_due(conn->reactor, conn);
}

void pl_conn_on_goodbye(struct pl_conn *conn)
{
    pl_reactor_add_due(conn->reactor, conn);
}

void pl_conn_on_deadline(struct pl_conn *conn, uint64_t now_ms)
{
    if (conn->state == CONN_OPEN) {
        if (conn->listener->ops->on_timer)
            conn->listener->ops->on_timer(conn, now_ms);
    } else {
        end(conn, PL_TIMEOUT, CONN_GONE);
    }
}

/* All is said: our side ends, the peer may finish. */
static void linger(struct pl_conn *conn)
{
    struct pl_ws_layer *ws = conn->layers ? conn->layers->ws : NULL;
    if (conn->is_eof || (ws && pl_ws_layer_is_over(ws))) {
        let_go(conn);
        return;
    }
    if (conn->state == CONN_LINGERS)
        return;
    conn->state = CONN_LINGERS;
    set_deadline(conn, pl_reactor_now_ms(conn->reactor) + LINGER_MS);
    pl_input_start(conn);
    /* A WebSocket ends with the peer's close frame, and then by us (RFC 6455, section 7.1.1). */
    uv_os_fd_t fd;
    if ((!ws || pl_ws_layer_has_failed(ws)) && uv_fileno(&conn->handle, &fd) == 0)
        (void)shutdown(fd, SHUT_WR);
}

void pl_conn_on_flushed(struct pl_conn *conn)
{
    if (conn->state == CONN_CLOSING && conn->is_told)
        linger(conn);
}

static void tell_owner(struct pl_conn *conn)
{
    if (conn->is_told)
        return;
    conn->is_told = true;
    conn->is_paused = conn->is_resuming = false; /* from here on what comes is read to be dropped */
    pl_heap_remove(&conn->reactor->heap, &conn->timer);
    conn->tail = pl_shared_unref(conn->tail);
    conn->listener->ops->on_close(conn, conn->why, conn->layers ? conn->layers->diag : NULL);
    conn->owner = NULL;
}

void pl_conn_care(struct pl_conn *conn, bool after_turn)
{
    if (conn->state == CONN_OPEN && conn->is_resuming)
        pl_input_resume(conn);
    if (conn->state == CONN_OPEN && conn->is_eof) {
        /* What it asked for with its last bytes is still answered. */
        if (!after_turn) {
            pl_reactor_add_due(conn->reactor, conn);
            return;
        }
        conn->why = PL_CLOSED;
        conn->state = CONN_CLOSING;
        conn->out.closed = true;
    }
    if (conn->state == CONN_OPEN)
        return;
    bool was_told = conn->is_told;
    tell_owner(conn);
    if (conn->state == CONN_GONE) {
        let_go(conn);
    } else if (!was_told) {
        set_deadline(conn, pl_reactor_now_ms(conn->reactor) + CLOSE_MS);
        pl_input_start(conn); /* a paused one reads again, to see the peer's end */
        pl_output_touch(&conn->out);
    } else if (conn->state == CONN_LINGERS) {
        linger(conn); /* what it waited for has come, perhaps */
    }
}

void pl_conn_start(struct pl_conn *conn)
{
    struct pl_reactor *r = conn->reactor;
    int fd = (int)conn->out.bytes_max; /* where pl_conn_new has put it */
    pl_output_init(&conn->out, r->outputs, conn->listener->output_max);
    conn->timer = (struct pl_deadline){.at_ms = PL_NEVER, .kind = DEADLINE_CONN};
    conn->input_max =
        (uint32_t)(conn->listener->input_max < UINT32_MAX / 2 ? conn->listener->input_max
                                                              : UINT32_MAX / 2);
    int err;
    if (conn->is_unix) {
        uv_pipe_init(&r->loop, &conn->pipe, 0);
        err = uv_pipe_open(&conn->pipe, fd);
    } else {
        uv_tcp_init(&r->loop, &conn->tcp);
        err = uv_tcp_open(&conn->tcp, fd);
    }
    conn->handle.data = conn;
    if (err || r->stopping) {
        if (err)
            close(fd);
        conn->is_told = true;
        let_go(conn);
        return;
    }
    enum pl_err refused = conn->listener->ops->on_open(conn);
    if (refused)
        pl_conn_close(conn, refused, NULL);
    pl_input_start(conn);
}

static void start_post(struct pl_post *post, void *reactor)
{
    (void)reactor;
    pl_conn_start(PL_CONTAINER(post, struct pl_conn, post));
}

struct pl_conn *pl_conn_new(
    struct pl_listener *listener, int fd, struct pl_peer *peer, struct pl_reactor *reactor)
{
    size_t size = offsetof(struct pl_conn, handle) +
                  (listener->is_unix ? sizeof(uv_pipe_t) : sizeof(uv_tcp_t));
    struct pl_conn *conn = pl_zalloc(size);
    if (!conn)
        return NULL;
    conn->listener = listener;
    conn->peer = peer;
    conn->reactor = reactor;
    conn->is_unix = listener->is_unix;
    conn->out.bytes_max = (size_t)fd;
    conn->post.run = start_post;
    atomic_fetch_add(&reactor->conn_count, 1);
    return conn;
}

struct pl_layers *pl_conn_layers(struct pl_conn *conn)
{
    if (!conn->layers)
        conn->layers = pl_zalloc(sizeof *conn->layers);
    return conn->layers;
}

void *pl_conn_owner(const struct pl_conn *conn)
{
    return conn->owner;
}

void pl_conn_set_owner(struct pl_conn *conn, void *owner)
{
    conn->owner = owner;
}

struct pl_reactor *pl_conn_reactor(const struct pl_conn *conn)
{
    return conn->reactor;
}

struct pl_listener *pl_conn_listener(const struct pl_conn *conn)
{
    return conn->listener;
}

struct pl_output *pl_conn_output(struct pl_conn *conn)
{
    return &conn->out;
}

struct pl_bytes pl_conn_address(const struct pl_conn *conn)
{
    return pl_bytes_of(conn->peer->text, conn->peer->text_len);
}

uint16_t pl_conn_peer_port(const struct pl_conn *conn)
{
    struct sockaddr_storage addr;
    int len = sizeof addr;
    if (conn->is_unix || uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&addr, &len))
        return 0;
    /* Both kinds have the port at the same place. */
    return ntohs(((struct sockaddr_in *)&addr)->sin_port);
}

bool pl_conn_is_tls(const struct pl_conn *conn)
{
    return conn->layers && conn->layers->tls;
}

bool pl_conn_is_websocket(const struct pl_conn *conn)
{
    return conn->layers && conn->layers->ws;
}

uint64_t pl_conn_bytes_in(const struct pl_conn *conn)
{
    return conn->bytes_in;
}

uint64_t pl_conn_bytes_out(const struct pl_conn *conn)
{
    return conn->bytes_out;
}

bool pl_conn_is_open(const struct pl_conn *conn)
{
    return conn->state == CONN_OPEN;
}

void pl_conn_set_input_max(struct pl_conn *conn, size_t bytes)
{
    conn->input_max = (uint32_t)(bytes < UINT32_MAX / 2 ? bytes : UINT32_MAX / 2);
}

void pl_conn_set_timer(struct pl_conn *conn, uint64_t at_ms)
{
    if (conn->state == CONN_OPEN)
        set_deadline(conn, at_ms);
}

void pl_conn_pause(struct pl_conn *conn)
{
    /* The socket is read on until it has something: most pauses end before that, and stopping and
     * starting costs two system calls. */
    conn->is_paused = true;
}

void pl_conn_resume(struct pl_conn *conn)
{
    if (!conn->is_paused)
        return;
    conn->is_paused = false;
    conn->is_resuming = true;
    pl_reactor_add_due(conn->reactor, conn);
}

enum pl_err pl_conn_start_tls(struct pl_conn *conn)
{
    if (!conn->listener->tls || conn->is_unix || pl_conn_is_tls(conn) || pl_conn_is_websocket(conn))
        return PL_UNSUPPORTED;
    if (!pl_conn_layers(conn))
        return PL_NO_MEMORY;
    enum pl_err err = pl_tls_layer_new(conn, conn->listener->tls);
    if (!err)
        pl_chain_take(&conn->layers->wire, conn, SIZE_MAX);
    return err;
}

enum pl_err pl_tls_sniff(struct pl_bytes first)
{
    /* A record of type handshake, of SSL 3.x as every version says (RFC 8446, section 5.1). */
    if (first.len && first.data[0] != 0x16)
        return PL_MALFORMED;
    if (first.len < 2)
        return PL_NEED_MORE;
    return first.data[1] == 0x03 ? PL_OK : PL_MALFORMED;
}
