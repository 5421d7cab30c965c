#include "client/wire.h"

#include <netinet/in.h>

#include "base/alloc.h"
#include "client/lookup.h"
#include "client/wire_state.h"
#include "net/reactor.h"

enum {
    READ_ROOM = 64 * 1024,       /* a read is not begun with less */
    STEP_READ_MAX = 256 * 1024,  /* bytes of one step, so that others have their turn */
    IDLE_INPUT_MAX = 1024 * 1024 /* a larger buffer that is empty is given back */
};

/* ---- Life ---- */

static const struct {
    const char *scheme, *port;
    const struct pl_framing *framing;
    bool is_tls;
} schemes[] = {
    {"ws", "80", &pl_websocket_framing, false},
    {"wss", "443", &pl_websocket_framing, true},
    {"rs", "8080", &pl_rawsocket_framing, false},
    {"rss", "8443", &pl_rawsocket_framing, true},
    {"unix", "", &pl_rawsocket_framing, false},
};

bool pl_wire_knows(const struct pl_url *url)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (strcmp(url->scheme, schemes[i].scheme) == 0)
            return true;
    }
    return false;
}

static enum pl_err begin(struct pl_wire *w, struct pl_diag *diag)
{
    if (w->options.fd_moved >= 0) {
        w->framing = &pl_rawsocket_framing;
        w->phase = PL_WIRE_CONNECTING;
        return pl_socket_adopt(w->options.fd_moved, &w->socket);
    }
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (strcmp(w->url.scheme, schemes[i].scheme) != 0)
            continue;
        w->framing = schemes[i].framing;
        w->is_tls = schemes[i].is_tls;
        if (!w->url.port[0])
            (void)stpcpy(w->url.port, schemes[i].port);
    }
    if (!w->framing)
        return PL_UNSUPPORTED;
    if (w->url.host[0]) {
        w->phase = PL_WIRE_RESOLVING;
        return pl_lookup_new(w->url.host, w->url.port, &w->lookup, diag);
    }
    w->phase = PL_WIRE_CONNECTING;
    return pl_socket_begin_unix(w->url.path, &w->socket, diag);
}

enum pl_err pl_wire_new(
    const struct pl_wire_options *options, struct pl_wire **out, struct pl_diag *diag)
{
    struct pl_wire *w = pl_zalloc(sizeof *w);
    if (!w)
        return PL_NO_MEMORY;
    w->options = *options;
    if (options->url)
        w->url = *options->url;
    w->options.url = &w->url;
    w->heard_ms = pl_clock_ms();
    pl_output_init(&w->out, &w->pool, SIZE_MAX);
    enum pl_err err = begin(w, diag);
    if (err)
        pl_wire_free(w);
    else
        *out = w;
    return err;
}

static bool has_output(const struct pl_wire *w)
{
    return w->sending || w->out.head;
}

struct pl_wire *pl_wire_free(struct pl_wire *w)
{
    if (!w)
        return NULL;
    while (has_output(w)) {
        if (!w->sending)
            w->sending = pl_output_take(&w->out);
        pl_output_sent(&w->out, w->sending->len);
        pl_chunk_advance(&w->pool, &w->sending, w->sending->len);
    }
    pl_output_done(&w->out);
    pl_output_pool_done(&w->pool);
    pl_socket_close(w->socket);
    pl_lookup_free(w->lookup);
    pl_shared_unref(w->message);
    pl_free(w->addresses);
    pl_free(w->in);
    pl_free(w);
    return NULL;
}

/* ---- Bytes ---- */

enum pl_err pl_wire_flush(struct pl_wire *w)
{
    if (!w->socket || w->phase < PL_WIRE_GREETING)
        return PL_OK;
    while (has_output(w)) {
        if (!w->sending)
            w->sending = pl_output_take(&w->out);
        size_t n;
        enum pl_err err =
            pl_socket_write(w->socket, pl_bytes_of(w->sending->data, w->sending->len), &n);
        if (err == PL_NEED_MORE)
            return PL_OK;
        if (err)
            return err;
        pl_output_sent(&w->out, n);
        pl_chunk_advance(&w->pool, &w->sending, n);
    }
    (void)pl_output_pool_next_dirty(&w->pool);
    return PL_OK;
}

/* Room for a read behind what waits, which moves to the front. */
static enum pl_err make_room(struct pl_wire *w)
{
    if (w->in_at) {
        memmove(w->in, w->in + w->in_at, w->in_len - w->in_at);
        w->in_len -= w->in_at;
        w->in_at = 0;
    }
    if (!w->in_len && w->in_cap > IDLE_INPUT_MAX) {
        pl_free(w->in);
        w->in = NULL;
        w->in_cap = 0;
    }
    if (w->in_cap - w->in_len >= READ_ROOM)
        return PL_OK;
    size_t cap = w->in_cap * 2 + READ_ROOM;
    uint8_t *bigger = pl_realloc(w->in, cap);
    if (!bigger)
        return PL_NO_MEMORY;
    w->in = bigger;
    w->in_cap = cap;
    return PL_OK;
}

/* The end of the stream is noted, not told: what came before it counts. */
static enum pl_err read_some(struct pl_wire *w)
{
    w->has_more = false;
    for (size_t total = 0; total < STEP_READ_MAX && !w->is_ended;) {
        enum pl_err err = make_room(w);
        if (err)
            return err;
        size_t n, room = w->in_cap - w->in_len;
        err = pl_socket_read(w->socket, w->in + w->in_len, room, &n);
        if (err == PL_NEED_MORE)
            return PL_OK;
        if (err) {
            w->is_ended = true;
            return PL_OK;
        }
        w->heard_ms = pl_clock_ms();
        w->in_len += n;
        total += n;
        if (n < room && !pl_socket_has_pending(w->socket))
            return PL_OK;
    }
    w->has_more = !w->is_ended;
    return PL_OK;
}

/* ---- On the way to being open ---- */

static enum pl_err fail(struct pl_wire *w, enum pl_err err)
{
    w->phase = PL_WIRE_FAILED;
    return err;
}

static enum pl_err resolve(struct pl_wire *w, struct pl_diag *diag)
{
    enum pl_err err = pl_lookup_take(w->lookup, &w->addresses, &w->address_count, diag);
    if (err == PL_NEED_MORE)
        return err;
    w->lookup = pl_lookup_free(w->lookup);
    w->phase = PL_WIRE_CONNECTING;
    return err;
}

/* Tries the addresses one after the other. */
static enum pl_err connect_next(struct pl_wire *w, struct pl_diag *diag)
{
    enum pl_err err = PL_IO;
    for (;;) {
        if (w->socket)
            err = pl_socket_connected(w->socket, diag);
        if (w->socket && (err == PL_OK || err == PL_NEED_MORE))
            return err;
        w->socket = pl_socket_close(w->socket);
        if (w->address_at == w->address_count)
            return err;
        const struct pl_address *address = &w->addresses[w->address_at++];
        err = pl_socket_begin(
            (const struct sockaddr *)&address->bytes, address->len, &w->socket, diag);
        if (err == PL_NO_MEMORY)
            return err;
    }
}

static enum pl_err secure_or_greet(struct pl_wire *w, struct pl_diag *diag)
{
    if (w->is_tls && w->phase == PL_WIRE_CONNECTING) {
        w->phase = PL_WIRE_SECURING;
        return pl_socket_begin_tls(w->socket, w->url.host, &w->options.tls, diag);
    }
    w->phase = PL_WIRE_GREETING;
    return w->framing->begin(w);
}

static enum pl_err greet(struct pl_wire *w, struct pl_diag *diag)
{
    enum pl_err err = pl_wire_flush(w);
    if (!err)
        err = read_some(w);
    if (!err)
        err = w->framing->greet(w, diag);
    if ((err == PL_NEED_MORE && w->is_ended) || err == PL_CLOSED) {
        pl_diag_set(diag, 0, "the server closed the connection in its handshake");
        return PL_CLOSED;
    }
    if (!err)
        w->phase = PL_WIRE_OPEN;
    return err;
}

/* PL_OK: the phase has ended. */
static enum pl_err go_on(struct pl_wire *w, struct pl_diag *diag)
{
    enum pl_err err = PL_CLOSED;
    switch (w->phase) {
    case PL_WIRE_RESOLVING:
        return resolve(w, diag);
    case PL_WIRE_CONNECTING:
        err = connect_next(w, diag);
        return err ? err : secure_or_greet(w, diag);
    case PL_WIRE_SECURING:
        err = pl_socket_handshake(w->socket, diag);
        return err ? err : secure_or_greet(w, diag);
    case PL_WIRE_GREETING:
        return greet(w, diag);
    case PL_WIRE_OPEN:
        return PL_OK;
    case PL_WIRE_FAILED:
        return PL_CLOSED;
    }
    return err;
}

enum pl_err pl_wire_step(struct pl_wire *w, struct pl_diag *diag)
{
    bool was_open = w->phase == PL_WIRE_OPEN;
    while (w->phase != PL_WIRE_OPEN) {
        enum pl_err err = go_on(w, diag);
        if (err == PL_NEED_MORE)
            return err;
        if (err)
            return fail(w, err);
    }
    if (!was_open)
        return PL_OK;
    /* A router that hangs up has often said why: so its end is noticed by reading. */
    (void)!pl_wire_flush(w);
    enum pl_err err = read_some(w);
    return err ? fail(w, err) : PL_OK;
}

enum pl_err pl_wire_next(struct pl_wire *w, struct pl_bytes *out, struct pl_diag *diag)
{
    enum pl_err err = w->framing->take(w, out, diag);
    if (err == PL_NEED_MORE && w->is_ended) {
        pl_diag_set(diag, 0, "the server closed the connection");
        return PL_CLOSED;
    }
    return err;
}

/* ---- What the owner asks ---- */

static enum pl_err send_as(struct pl_wire *w, bool is_text, uint8_t *message, size_t len)
{
    return w->phase == PL_WIRE_OPEN ? w->framing->send(w, is_text, message, len) : PL_CLOSED;
}

enum pl_err pl_wire_send(struct pl_wire *w, uint8_t *message, size_t len)
{
    return send_as(w, w->options.serializer == PL_SERIAL_JSON, message, len);
}

enum pl_err pl_wire_send_text(struct pl_wire *w, uint8_t *message, size_t len)
{
    return send_as(w, true, message, len);
}

enum pl_err pl_wire_send_binary(struct pl_wire *w, uint8_t *message, size_t len)
{
    return send_as(w, false, message, len);
}

bool pl_wire_is_text(const struct pl_wire *w)
{
    return w->is_text;
}

enum pl_err pl_wire_ping(struct pl_wire *w)
{
    return w->phase == PL_WIRE_OPEN ? w->framing->ping(w) : PL_OK;
}

void pl_wire_bye(struct pl_wire *w)
{
    if (w->phase == PL_WIRE_OPEN && w->framing->bye)
        w->framing->bye(w);
}

int pl_wire_fd(const struct pl_wire *w)
{
    return w->lookup ? pl_lookup_fd(w->lookup) : w->socket ? pl_socket_fd(w->socket) : -1;
}

bool pl_wire_wants_write(const struct pl_wire *w)
{
    switch (w->phase) {
    case PL_WIRE_RESOLVING:
    case PL_WIRE_FAILED:
        return false;
    case PL_WIRE_CONNECTING:
        return true;
    case PL_WIRE_SECURING:
        return pl_socket_wants_write(w->socket);
    case PL_WIRE_GREETING:
    case PL_WIRE_OPEN:
        break;
    }
    return has_output(w);
}

bool pl_wire_has_more(const struct pl_wire *w)
{
    return w->has_more;
}

size_t pl_wire_queued(const struct pl_wire *w)
{
    return w->out.bytes;
}

uint64_t pl_wire_heard_ms(const struct pl_wire *w)
{
    return w->heard_ms;
}
