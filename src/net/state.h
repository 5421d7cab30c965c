/*
 * What the files of net share and nobody else sees: the structs of a reactor, a connection, a
 * listener, and the seams between their parts.
 *
 *     reactor.c    loop, turn, timers, posts        conn.c       life of a connection
 *     input.c      read buffers, the way in         flush.c      the way out
 *     tls_layer.c  TLS of one connection            ws_layer.c   WebSocket of one connection
 *     listener.c   accepting                        gate.c       limits, peers' addresses
 */
#ifndef PL_NET_STATE_H
#define PL_NET_STATE_H

#include <uv.h>

#include "base/map.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/reactor.h"

enum {
    READ_BUFFER_SIZE = 256 * 1024,
    READ_ROOM_MIN = 64 * 1024, /* a read is not begun with less */
    READ_BUFFERS_MAX = 16,     /* of one reactor, that it keeps hold of */
    TAIL_COPIED_MAX = 16384,   /* a longer tail is read on in its own place, not copied again */
    EVENT_READ_MAX = 1 << 20,  /* bytes of one connection before the next one has its turn */
    TURN_READ_MAX = 2 << 20,   /* bytes of all before a turn ends */
    CLOSE_MS = 5000,           /* to write what is queued after the end */
    LINGER_MS = 1000,          /* to hear the peer's last bytes after that */
};

/* A place for bytes that come. */
struct pl_region {
    struct pl_shared *buffer;
    uint8_t *at;     /* the tail stands here, … */
    size_t tail_len; /* … new bytes behind it */
    size_t room;     /* for new bytes */
};

struct pl_reactor {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active: the next poll does not wait */
    uv_async_t async;
    uv_poll_t
        timer; /* of timer_fd, which does nothing but end a poll in time for the heap's next */
    const struct pl_reactor_ops *ops;
    void *context;
    struct pl_output_pool *outputs;
    struct pl_inbox inbox;
    struct pl_heap heap; /* of pl_timer and pl_conn deadlines */
    uint64_t now_ms;
    uint64_t ended_ms;                    /* when the last turn was over */
    uint64_t timer_at_ms;                 /* what `timer` is set to; PL_NEVER: not */
    uint64_t unix_ahead_ms, unix_next_ms; /* Unix time beyond now_ms, and when that is looked up */
    int timer_fd;
    bool in_turn; /* ops->begin was called, the turn is not over */
    bool more;    /* something is left to do: the next poll does not wait */
    bool stopping;
    struct pl_post stop_post;
    struct pl_conn *due, **due_at; /* connections that want care when the turn ends */
    struct pl_listener *listeners; /* those that accept on this reactor */
    uint32_t next_target;          /* which of a listener's reactors is next */
    atomic_size_t conn_count;
    atomic_uint lag_ms;
    _Atomic uint64_t bytes_in, bytes_out; /* of all its connections, those that ended too */
    pthread_t thread;
    bool has_thread;

    /* Reading. */
    struct pl_shared *buffers[READ_BUFFERS_MAX]; /* one reference each; the first count are there */
    uint32_t buffer_count, buffer_at;            /* buffer_at: the one in use */
    uint32_t buffer_used;                        /* bytes of it that are taken */
    struct pl_region region; /* between libuv's two callbacks, which follow each other at once */
    uint8_t *cipher;         /* READ_BUFFER_SIZE, made at the first TLS */
    struct pl_conn *reader;  /* who read last, and how much in this event */
    size_t reader_bytes, turn_bytes;

    /* Compression; made at first use, shared by all connections. */
    struct pl_inflater *inflater;
    struct pl_deflater *deflater;
    uint8_t deflater_bits;
};

/* A peer's address, shared by its connections. Under its gate's lock. */
struct pl_peer {
    struct pl_map_entry entry;
    struct pl_gate *gate;
    uint32_t count; /* connections */
    bool is_exempt; /* from the limit per address */
    uint8_t text_len;
    uint8_t key[16]; /* the address in network order: 4 bytes, 16, or none */
    char text[46];
};

struct pl_listener {
    struct pl_reactor **reactors; /* owned array */
    uint32_t reactor_count;
    struct pl_gate *gate;
    bool owns_gate;
    const struct pl_conn_ops *ops;
    void *context;
    struct pl_tls_server *tls;
    size_t output_max, input_max;
    int fd;       /* -1: stopped */
    int spare_fd; /* given up for a moment when there are no others */
    bool is_unix, is_loopback;
    bool has_address_rate;
    uint16_t port;
    char *host; /* owned */
    dev_t unix_dev;
    ino_t unix_ino;
    struct pl_listener *next; /* in its reactor's list */
    bool is_started, is_polling;
    uv_poll_t poll;
    struct pl_timer pause; /* accepting goes on when it runs */
    struct pl_post start_post, stop_post;
    atomic_bool start_posted, stop_posted;
};

/* Chunks in a row. */
struct pl_chain {
    struct pl_chunk *head, *tail;
};

struct pl_tls_layer;
struct pl_ws_layer;

/* What only some connections have. */
struct pl_layers {
    struct pl_tls_layer *tls;
    struct pl_ws_layer *ws;
    struct pl_chain plain; /* with TLS: framed, not yet encrypted */
    struct pl_chain wire;  /* next for the socket */
    size_t taken;          /* bytes of the output that stand in the two */
    struct pl_diag *diag;  /* owned; why it ended */
};

enum pl_conn_state {
    CONN_OPEN,
    CONN_CLOSING, /* writes what is queued */
    CONN_LINGERS, /* has said all, reads the peer's last bytes */
    CONN_GONE,    /* the handle is being closed */
};

struct pl_write {
    uv_write_t req;
    size_t len;
};

struct pl_conn {
    struct pl_output out;
    struct pl_reactor *reactor;
    struct pl_listener *listener;
    struct pl_peer *peer; /* counted by its gate */
    void *owner;
    struct pl_shared *tail;   /* owned: input that waits for more; NULL: none */
    struct pl_layers *layers; /* owned; NULL: plain */
    struct pl_write *write;   /* owned; in flight */
    struct pl_conn *next_due;
    union {
        struct pl_deadline timer; /* the owner's; after the end ours */
        struct pl_post post;      /* on its way to its reactor */
    };
    uint64_t bytes_in, bytes_out;
    uint32_t input_max;
    uint8_t state; /* enum pl_conn_state */
    uint8_t why;   /* enum pl_err, after the end */
    bool is_unix : 1;
    bool is_due : 1;
    bool is_paused : 1;
    bool is_reading : 1;   /* libuv reads the socket */
    bool is_resuming : 1;  /* what waits is to be given to the owner */
    bool is_told : 1;      /* on_close was called */
    bool is_eof : 1;       /* the peer has ended its side */
    bool was_over : 1;     /* the output was over bytes_max and has not fallen below half */
    bool said_goodbye : 1; /* the last words of TLS and WebSocket are queued */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe; /* larger than tcp: a TCP connection has no room for it */
    };
};

/* What a deadline in the heap is embedded in. */
enum { DEADLINE_TIMER, DEADLINE_CONN };

/* One writer, so no locked instruction. */
static inline void pl_reactor_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* reactor.c */
void pl_reactor_begin_turn(struct pl_reactor *r);
/* Before anything that an event causes. */
static inline void pl_reactor_enter(struct pl_reactor *r)
{
    if (!r->in_turn)
        pl_reactor_begin_turn(r);
}
void pl_reactor_end_turn(struct pl_reactor *r);
/* pl_conn_care comes for it before the turn is over. */
void pl_reactor_add_due(struct pl_reactor *r, struct pl_conn *conn);
void pl_reactor_remove_due(struct pl_reactor *r, struct pl_conn *conn);

/* conn.c */
/* Any thread. NULL: no memory; the socket and the peer stay the caller's. */
struct pl_conn *pl_conn_new(
    struct pl_listener *listener, int fd, struct pl_peer *peer, struct pl_reactor *reactor);
/* On its reactor. */
void pl_conn_start(struct pl_conn *conn);
/* What events of a turn asked for; once before and, if asked for again, once after ops->turn. */
void pl_conn_care(struct pl_conn *conn, bool after_turn);
void pl_conn_on_deadline(struct pl_conn *conn, uint64_t now_ms);
/* The peer or the network ended it. */
void pl_conn_on_eof(struct pl_conn *conn);
void pl_conn_on_broken(struct pl_conn *conn, enum pl_err why);
/* All that was queued has been written. */
void pl_conn_on_flushed(struct pl_conn *conn);
/* The peer's WebSocket close came, or its TLS close. */
void pl_conn_on_goodbye(struct pl_conn *conn);
struct pl_layers *pl_conn_layers(struct pl_conn *conn); /* makes them; NULL: no memory */

/* input.c */
/* A place for new stream bytes, with the tail before it. PL_NO_MEMORY. */
enum pl_err pl_input_region(struct pl_conn *conn, struct pl_region *out);
/* n bytes were put into the region: through the WebSocket to the owner. */
void pl_input_commit(struct pl_conn *conn, const struct pl_region *region, size_t n);
/* The same with n bytes of the stream itself. */
void pl_input_stream(struct pl_conn *conn, const struct pl_region *region, size_t n);
void pl_input_start(struct pl_conn *conn);
/* Gives the owner what waits, reads the socket again. */
void pl_input_resume(struct pl_conn *conn);
void pl_input_done(struct pl_reactor *r);

/* flush.c */
void pl_conn_flush(struct pl_conn *conn);
/* Copies to the end of a chain. */
enum pl_err pl_chain_append(
    struct pl_output_pool *pool, struct pl_chain *chain, const void *bytes, size_t len);
void pl_chain_add(struct pl_chain *chain, struct pl_chunk *chunk);
void pl_chain_free(struct pl_output_pool *pool, struct pl_chain *chain);
/* Moves chunks from the output's head to the chain, until there are `max` bytes or none are left.
 * How many bytes; they count as taken. */
size_t pl_chain_take(struct pl_chain *chain, struct pl_conn *conn, size_t max);

/* tls_layer.c */
enum pl_err pl_tls_layer_new(struct pl_conn *conn, struct pl_tls_server *server);
void pl_tls_layer_free(struct pl_tls_layer *tls);
/* Encrypted bytes of the peer; all are taken. */
void pl_tls_layer_feed(struct pl_conn *conn, const uint8_t *bytes, size_t len);
bool pl_tls_layer_is_ready(const struct pl_tls_layer *tls);
/* Encrypts layers->plain into layers->wire. */
enum pl_err pl_tls_layer_encrypt(struct pl_conn *conn);
void pl_tls_layer_goodbye(struct pl_conn *conn);

/* ws_layer.c */
void pl_ws_layer_free(struct pl_conn *conn);
void pl_ws_layer_feed(struct pl_conn *conn, const struct pl_region *region, size_t n);
void pl_ws_layer_resume(struct pl_conn *conn);
/* Frames what the output has, and what is to be said between frames, into the chain. False: there
 * is nothing. */
enum pl_err pl_ws_layer_frame(struct pl_conn *conn, struct pl_chain *to, bool *out_some);
void pl_ws_layer_goodbye(struct pl_conn *conn, struct pl_chain *to);
/* Did the peer's close frame come? */
bool pl_ws_layer_is_over(const struct pl_ws_layer *ws);
/* Did the peer break the rules, so that nothing more is read of it? */
bool pl_ws_layer_has_failed(const struct pl_ws_layer *ws);

/* gate.c */
/* Counts one connection of that address; NULL: refused. addr NULL: a Unix socket. */
struct pl_peer *pl_gate_enter(
    struct pl_gate *gate, const struct sockaddr *addr, bool has_address_rate, uint64_t now_ms);
void pl_gate_leave(struct pl_peer *peer);

/* listener.c */
void pl_listener_stop_here(struct pl_listener *listener);

#endif
