/*
 * Where peers come in: TCP (IPv4, IPv6) and Unix sockets.
 *
 * The first reactor accepts and hands the sockets round, so that connections spread evenly whatever
 * the kernel thinks. A gate, which several listeners share, refuses early: too many connections,
 * too many of one address, too fast.
 *
 *     pl_listener_open(&options, &listener, &diag);   // bound: its port is known, nobody is served
 *     pl_listener_start(listener);                    // any time later
 *     pl_listener_stop(listener);                     // drain: no new ones, the old go on
 *     …reactors stopped and joined…
 *     listener = pl_listener_free(listener);
 */
#ifndef PL_NET_LISTENER_H
#define PL_NET_LISTENER_H

#include "base/bytes.h"

struct pl_conn_ops;
struct pl_listener;
struct pl_reactor;
struct pl_tls_server;
struct pl_gate;

/* 0: no limit. */
struct pl_gate_limits {
    uint32_t connections_max;
    uint32_t per_address_max; /* loopback and Unix sockets are not counted so */
    uint32_t accepts_per_second;
    /* Of one IP address, on the listeners that ask for it; as many may come at once. */
    uint32_t address_accepts_per_minute;
};

/* What a gate has seen; for metrics. */
struct pl_gate_counts {
    uint64_t open, accepted, refused_connections, refused_address, refused_rate,
        refused_address_rate, refused_memory;
};

/* Any thread. NULL: no memory. */
PL_MUST_USE struct pl_gate *pl_gate_new(const struct pl_gate_limits *limits);
struct pl_gate_counts pl_gate_counts(struct pl_gate *gate);
/* After the last connection is gone. Returns NULL. */
struct pl_gate *pl_gate_free(struct pl_gate *gate);

struct pl_listener_options {
    const char *host;      /* address or name; "" or "*": every address, IPv6 and IPv4 */
    uint16_t port;         /* 0: a free one */
    const char *unix_path; /* not NULL: a Unix socket instead; a stale file is replaced */
    unsigned unix_mode;    /* permissions of its file; 0: as the umask says */
    bool is_local;         /* no socket: it serves what pl_listener_adopt gives it */
    int backlog;           /* 0: 4096 */
    int keepalive_s;       /* idle TCP connections are probed after and every so many; 0: never */
    struct pl_reactor *const *reactors; /* copied; the first one accepts */
    uint32_t reactor_count;
    struct pl_gate *gate;          /* NULL: no limits */
    bool has_address_rate;         /* address_accepts_per_minute counts here */
    const struct pl_conn_ops *ops; /* of its connections */
    void *context;                 /* pl_listener_context */
    struct pl_tls_server *tls;     /* for pl_conn_start_tls; NULL: none. Borrowed */
    size_t output_max;             /* pl_output.bytes_max of its connections */
    size_t input_max;              /* see pl_conn_set_input_max */
};

/* PL_EXISTS: the port or path is in use. PL_DENIED: no right to it. PL_IO, PL_CONFIG: diag. */
PL_MUST_USE enum pl_err pl_listener_open(
    const struct pl_listener_options *options, struct pl_listener **out, struct pl_diag *diag);
/* Any thread: begins to accept, soon. */
void pl_listener_start(struct pl_listener *listener);
/* Any thread, before it is stopped: serves a connected stream socket as if it had been accepted
 * from a Unix socket. fd is the listener's from PL_OK on. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_listener_adopt(struct pl_listener *listener, int fd);
/* Any thread: accepts no more and closes its socket. */
void pl_listener_stop(struct pl_listener *listener);
/* After its reactors were joined. Returns NULL. */
struct pl_listener *pl_listener_free(struct pl_listener *listener);

void *pl_listener_context(const struct pl_listener *listener);
/* As bound: "127.0.0.1", "::", or the path. */
const char *pl_listener_host(const struct pl_listener *listener);
/* As bound; 0 for a Unix socket. */
uint16_t pl_listener_port(const struct pl_listener *listener);
/* Reachable from this machine alone: a loopback address or a Unix socket. */
bool pl_listener_is_loopback(const struct pl_listener *listener);

#endif
