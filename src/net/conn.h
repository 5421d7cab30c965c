/*
 * A connection: bytes of one peer, whatever they travel in.
 *
 *     socket (TCP, Unix) → TLS? → WebSocket? → on_input
 *     pl_output          → WebSocket? → TLS? → socket, once per turn
 *
 * It belongs to its reactor, as everything here does; each function is for the reactor's thread. An
 * idle connection owns no buffer: input is read into the reactor's, which the owner parses in
 * place, and only an unfinished tail is kept.
 *
 *     on_open      it is there
 *     on_secured   the TLS handshake is done
 *     on_input     bytes came; takes whole packets, the rest comes again with more bytes
 *     on_timer     the time that pl_conn_set_timer asked for has come
 *     on_drained   the output was over bytes_max and is below half of it
 *     on_close     it is over: let go of conn and of its output now. Comes once for each on_open,
 *                  never from inside a function of this header
 *
 * After on_close the connection lives on by itself until it has written what is queued and said
 * goodbye (TLS close_notify, WebSocket close, reading the peer's last bytes), at most 5 seconds.
 */
#ifndef PL_NET_CONN_H
#define PL_NET_CONN_H

#include "base/output.h"
#include "base/heap.h"

struct pl_conn;
struct pl_listener;
struct pl_reactor;
struct pl_tls_server;
struct pl_deflate_terms;

enum pl_conn_kind { PL_CONN_STREAM, PL_CONN_TEXT, PL_CONN_BINARY };

struct pl_conn_input {
    struct pl_bytes bytes;
    struct pl_shared *buffer; /* where bytes lie; take a reference to keep them */
    enum pl_conn_kind kind;   /* TEXT, BINARY: one whole WebSocket message, not as a stream */
};

struct pl_conn_ops {
    /* An error refuses it: it is closed after what is queued was written, and on_close comes. */
    enum pl_err (*on_open)(struct pl_conn *conn);
    void (*on_secured)(struct pl_conn *conn); /* may be NULL */
    /* *out_used: bytes taken. What is left of a TEXT or BINARY comes again, as one of its kind, if
     * it paused; else it is dropped. An error closes: what is queued, then goodbye with that
     * reason. After pl_conn_pause and pl_conn_start_tls it must return. */
    enum pl_err (*on_input)(struct pl_conn *conn, struct pl_conn_input in, size_t *out_used);
    void (*on_timer)(struct pl_conn *conn, uint64_t now_ms); /* may be NULL */
    void (*on_drained)(struct pl_conn *conn);                /* may be NULL */
    /* diag: what more is known, or NULL. PL_OK: ended by us in order. PL_CLOSED: by the peer. */
    void (*on_close)(struct pl_conn *conn, enum pl_err why, const struct pl_diag *diag);
};

/* The owner's own; NULL at first. */
void *pl_conn_owner(const struct pl_conn *conn);
void pl_conn_set_owner(struct pl_conn *conn, void *owner);

struct pl_reactor *pl_conn_reactor(const struct pl_conn *conn);
/* The listener that accepted it. */
struct pl_listener *pl_conn_listener(const struct pl_conn *conn);
/* Append to it at any time in a turn; it is written when the turn ends. */
struct pl_output *pl_conn_output(struct pl_conn *conn);
/* The peer's IP address as text ("192.0.2.7", "2001:db8::1"), or "unix". Lives with conn. */
struct pl_bytes pl_conn_address(const struct pl_conn *conn);
/* The peer's port, 0 for a Unix socket. A system call. */
uint16_t pl_conn_peer_port(const struct pl_conn *conn);
bool pl_conn_is_tls(const struct pl_conn *conn);
/* What it showed, and the listener's authority vouches for: DER, lives with conn. Empty: none. */
struct pl_bytes pl_conn_certificate(const struct pl_conn *conn);
/* What both ends of its TLS connection know, and nobody between them: tls-unique (RFC 5929,
 * TLS 1.2) or tls-exporter (RFC 9266). Its length; 0: there is none, or more than cap. */
enum pl_channel_binding { PL_TLS_UNIQUE, PL_TLS_EXPORTER };
size_t pl_conn_channel_id(
    const struct pl_conn *conn, enum pl_channel_binding type, uint8_t *out, size_t cap);
bool pl_conn_is_websocket(const struct pl_conn *conn);
/* Bytes that came from and went to the socket. */
uint64_t pl_conn_bytes_in(const struct pl_conn *conn);
uint64_t pl_conn_bytes_out(const struct pl_conn *conn);
/* False after pl_conn_close, pl_conn_abort, or an end that the peer made. */
bool pl_conn_is_open(const struct pl_conn *conn);

/* How many unfinished bytes may wait for the rest of a packet; a longer tail closes with
 * PL_TOO_LARGE. The listener's input_max at first. */
void pl_conn_set_input_max(struct pl_conn *conn, size_t bytes);

/* on_timer comes at that time, once; PL_NEVER: not. */
void pl_conn_set_timer(struct pl_conn *conn, uint64_t at_ms);

/* No more on_input until resumed; the socket is not read. Resuming calls on_input later in this
 * turn or the next one, with what waits. Both may be called twice. */
void pl_conn_pause(struct pl_conn *conn);
void pl_conn_resume(struct pl_conn *conn);

/* The output takes nothing more; what is queued is written, then the connection says goodbye. The
 * first reason counts. diag may be NULL; its text goes into a WebSocket's close frame. */
void pl_conn_close(struct pl_conn *conn, enum pl_err why, const struct pl_diag *diag);
/* At once, without a goodbye; what is queued is lost. on_close still comes. */
void pl_conn_abort(struct pl_conn *conn, enum pl_err why);

/*
 * TLS begins: what is queued goes out in the clear, the next bytes of the peer are its ClientHello.
 * From inside on_input: the bytes that it does not take are the first of it. PL_UNSUPPORTED: the
 * listener has no TLS, or it is on already. Output that follows waits for the handshake.
 */
PL_MUST_USE enum pl_err pl_conn_start_tls(struct pl_conn *conn);
/* Do these first bytes look like a ClientHello? PL_OK, PL_NEED_MORE, PL_MALFORMED. */
PL_MUST_USE enum pl_err pl_tls_sniff(struct pl_bytes first);

struct pl_websocket_options {
    bool is_stream;       /* payloads are one stream of bytes; else each message comes alone */
    bool refuses_text;    /* close with 1003 at a text message (MQTT 5.0, section 6.0) */
    uint32_t message_max; /* bytes of a message that must be gathered: one that comes alone, and a
                             compressed one, before and after inflating */
    const struct pl_deflate_terms *deflate; /* NULL: no permessage-deflate */
};

/*
 * From inside on_input, after the answer 101 was appended: what follows are frames, both ways. The
 * bytes of the request must be taken. What a stream appends goes out as binary frames, one for all
 * that a turn has queued. The owner of messages appends each by pl_conn_send_message, or whole
 * frames of a server to the output itself (codec/websocket.h): these are left as they are, and what
 * WebSocket has to say by itself stands between them.
 */
PL_MUST_USE enum pl_err pl_conn_set_websocket(
    struct pl_conn *conn, const struct pl_websocket_options *options);
/* Changes message_max, after a login. */
void pl_conn_set_message_max(struct pl_conn *conn, uint32_t bytes);
/* One text or binary message, compressed if that was agreed on and helps; not for a stream. */
PL_MUST_USE enum pl_err pl_conn_send_message(
    struct pl_conn *conn, enum pl_conn_kind kind, struct pl_bytes payload);

#endif
