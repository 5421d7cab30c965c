/*
 * What the files of the server share and nobody else sees.
 *
 *     server.c      start, reload, drain, end        connection.c  net's connection ↔ a protocol's
 *     ports.c       listeners, their table           http.c        requests: upgrades, small
 * answers login.c       hooks.login → auth               admin.c       /metrics, /connections, …
 *     sys.c         $SYS                             ready.c       /readyz
 *     longpoll.c    WAMP by requests                 certificates.c  files, ACME
 *     site.c        pages                            mles.c        links to other Mles servers
 *
 *     main thread   signals, reload; owns the server
 *     shard         a reactor's thread: a worker and its connections
 *     home          shard 0: ticks the realms, publishes $SYS, probes
 */
#ifndef PL_SERVER_STATE_H
#define PL_SERVER_STATE_H

#include <pthread.h>

#include "acme/acme.h"
#include "auth/authenticator.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/reactor.h"
#include "net/tls.h"
#include "net/tls_store.h"
#include "server/config.h"
#include "server/registry.h"

enum {
    PL_PROTOCOLS_MAX = 8,
    PL_ADDRESSES_MAX = 16,   /* of one listener */
    PL_TURN_EVERY_MS = 1000, /* the home's tick */
    PL_LOGS_PER_SECOND = 10, /* lines that peers can cause */
    PL_SHARD_SHIFT = 40,     /* a connection's id: shard + 1, then its number there */
    PL_SUBPROTOCOLS_MAX = 16,
};

struct pl_server;
struct pl_connection;
struct pl_place;
struct pl_peers;
struct pl_probe;
struct pl_store;
struct pl_sys;
struct pl_user_hold;
struct pl_wamp_asker;

/* A thread with its reactor, worker and connections. All but the atomics is its own. */
struct pl_shard {
    struct pl_server *server;
    struct pl_reactor *reactor; /* owned */
    uint32_t index;
    struct pl_worker *worker;      /* one of server->workers */
    struct pl_connection *current; /* whose protocol is running */
    uint64_t next_connection;
    size_t queued_told;    /* part of server->queued that is ours */
    uint32_t stalled;      /* connections that wait for server->queued to fall */
    struct pl_timer tick;  /* every second */
    struct pl_timer drain; /* while the server goes down */
    uint64_t drain_from_ms, drain_spread_ms;
    struct pl_post drain_post, close_post;
    bool is_drained;     /* it counts in server->drained */
    struct pl_map polls; /* longpoll.c */
};

/* A configured listener. Constant after the start, but for what tls points at. */
struct pl_port {
    struct pl_server *server;
    const struct pl_config_listener *config;
    struct pl_realm *realm;
    struct pl_tls_server *tls; /* borrowed; NULL: none */
    const struct pl_protocol *protocols[PL_PROTOCOLS_MAX + 1];
    const char *subprotocols[PL_SUBPROTOCOLS_MAX + 1];
    struct pl_place *places; /* owned array, one per address that it listens on */
    uint32_t place_count;
    bool is_skipped; /* a default one whose port is in use */
    bool is_local;   /* of this process: no socket */
};

/* One address of a port. Constant after the start. */
struct pl_place {
    struct pl_server *server;
    struct pl_port *port; /* NULL: the admin listener */
    struct pl_listener *listener;
    struct pl_link_config links[PL_PROTOCOLS_MAX]; /* in the order of port->protocols */
};

/* Connections per user with a name. */
struct pl_user_counts {
    pthread_mutex_t lock;
    struct pl_map map; /* struct user_count; under the lock */
};

/* Lines that peers can cause: PL_LOGS_PER_SECOND of them; the rest is counted. */
struct pl_log_limit {
    _Atomic uint64_t second; /* of the monotonic clock */
    atomic_uint written;     /* in that second */
    atomic_uint lost;        /* since the last line that told so */
};

struct pl_server {
    struct pl_config *config; /* owned; of the start */
    char *config_file;        /* owned; NULL: none */
    const char *const *sets;  /* borrowed */
    uint32_t set_count;
    struct pl_protocol_options options;
    bool is_embedded; /* in a program whose signals and systemd are its own */
    bool needs_local_login;
    struct pl_config *local;    /* owned; of the local listener; NULL: there is none */
    struct pl_port *local_port; /* NULL: there is none */
    char server_id[57];
    char *data; /* owned; folder */
    uint64_t started_ms, started_unix_ms;
    struct pl_shard *shards;   /* owned array */
    struct pl_worker *workers; /* owned array, one per shard */
    struct pl_worker_hooks hooks;
    uint32_t shard_count;
    struct pl_realm **realms; /* owned array; main is the first */
    uint32_t realm_count;
    struct pl_auth *auth;
    struct pl_gate *gate;
    struct pl_web *web;                /* NULL: no pages */
    struct pl_tls_store *certificates; /* what listeners without their own one show */
    struct pl_acme_tokens *acme_tokens;
    pthread_mutex_t acme_lock;      /* guards acme */
    struct pl_acme *acme;           /* NULL: no certificate is ordered */
    char *acme_text;                /* what it was made from; open_memstream's. The main thread's */
    struct pl_tls_server *tls;      /* these; NULL: nobody wants them */
    struct pl_tls_server **own_tls; /* by port; NULL: it has none of its own */
    struct pl_port *ports;          /* owned array, one per configured listener */
    uint32_t port_count;
    struct pl_place *admin; /* owned array */
    uint32_t admin_count;
    bool admin_is_skipped;
    struct pl_user_counts users;
    struct pl_probe *probe; /* /readyz */
    struct pl_peers *peers; /* mles.c; NULL: none are configured */
    char *peer_uid;         /* owned */
    struct pl_mles_peering peering;
    struct pl_wamp_meta **metas;   /* owned array, one per realm; NULL: none */
    struct pl_wamp_asker **askers; /* the same */
    atomic_uint asking;            /* questions to dynamic authenticators without an answer */
    struct pl_store *store;        /* NULL: nothing outlives the process */
    struct pl_sys *sys;
    struct pl_log_limit logs;
    atomic_size_t queued; /* bytes that wait for clients, in all shards */
    atomic_bool is_draining;
    atomic_uint drained; /* shards that have no client any more, while the server goes down */
};

static inline struct pl_shard *pl_conn_shard(const struct pl_conn *conn)
{
    return pl_reactor_context(pl_conn_reactor(conn));
}

/* connection.c */
struct pl_http_request;
struct pl_upgrade;
extern const struct pl_conn_ops pl_connection_ops;
/* The ids, counters and names that /connections tells; on its shard. */
struct pl_connection_facts {
    uint64_t id;
    const struct pl_place *place;
    const struct pl_link *link; /* NULL: its protocol is not known yet */
    uint64_t opened_ms;
};
struct pl_connection_facts pl_connection_facts(struct pl_conn *conn);
/* From inside on_input: the WebSocket has been accepted; the connection speaks protocol from now
 * on. cookie: by which it is known again; empty: none. */
PL_MUST_USE enum pl_err pl_connection_speak_websocket(struct pl_conn *conn,
    const struct pl_protocol *protocol, const struct pl_http_request *request,
    const struct pl_upgrade *up, const char *cookie, bool is_ambient);
/* Where the connection whose protocol is running keeps its holds; NULL: none is running. */
struct pl_user_hold **pl_connection_holds(struct pl_shard *shard);
/* Lets those go on that were not read from. On the shard. */
void pl_connection_unstall(struct pl_shard *shard);
/* Tells its peer that the server goes down, once. False: it was told before. */
bool pl_connection_drain(struct pl_conn *conn);
/* For answers that come later; NULL: it waits for none. */
struct pl_answer;
void pl_connection_set_answer(struct pl_conn *conn, struct pl_answer *answer);
bool pl_connection_has_answer(struct pl_conn *conn);
/* Gives it input, which it may take. False: it waits for none, or wants none. */
PL_MUST_USE bool pl_connection_feed_answer(
    struct pl_conn *conn, struct pl_bytes in, size_t *out_used, enum pl_err *out_err);

/* http.c */
/* Requests on a shared port or the admin listener. */
PL_MUST_USE enum pl_err pl_http_serve(
    struct pl_conn *conn, struct pl_place *place, struct pl_bytes in, size_t *out_used);

/* What an answer in parts is told, on its shard. */
struct pl_answer_ops {
    /* More of the request came; NULL: nothing more is read until it is answered. */
    enum pl_err (*input)(struct pl_answer *answer, struct pl_bytes in, size_t *out_used);
    void (*drained)(struct pl_answer *answer); /* see pl_conn_ops.on_drained; or NULL */
    void (*gone)(struct pl_answer *answer);    /* conn has just been forgotten; may be NULL */
};

/*
 * An answer that comes later, from other threads. Owned by whoever works on it, and given to
 * pl_answer_send, on any thread, exactly once. The connection only knows it, to say that it is
 * gone.
 */
struct pl_answer {
    const struct pl_answer_ops *ops; /* NULL: it has none */
    struct pl_post post;
    struct pl_shard *shard;
    struct pl_conn *conn; /* NULL: it is gone; the shard's */
    unsigned status;
    const char *type;
    char *body; /* owned by pl_alloc; len bytes */
    size_t len;
    bool is_head, keeps_alive;
};
/* Pauses the connection until the answer comes. NULL: no memory. */
PL_MUST_USE struct pl_answer *pl_answer_begin(
    struct pl_conn *conn, const struct pl_http_request *request);
/* body: moved, by pl_alloc. */
void pl_answer_send(
    struct pl_answer *answer, unsigned status, const char *type, char *body_moved, size_t len);

/* admin.c, ready.c: the answers to requests. */
void pl_admin_metrics(struct pl_conn *conn, const struct pl_http_request *request);
void pl_admin_connections(struct pl_conn *conn, const struct pl_http_request *request);
void pl_admin_subscriptions(struct pl_conn *conn, const struct pl_http_request *request);
void pl_ready_ask(struct pl_conn *conn, const struct pl_http_request *request);

/* ready.c: the probe's session. On the home shard. */
PL_MUST_USE enum pl_err pl_probe_open(struct pl_server *server);
void pl_probe_close(struct pl_server *server);
struct pl_probe *pl_probe_free(struct pl_probe *probe);

/* meta.c: the sessions of WAMP's meta API. They join before any thread runs, and leave when all
 * sessions are ended. */
PL_MUST_USE enum pl_err pl_metas_open(struct pl_server *server);
void pl_metas_free(struct pl_server *server);

/* caller.c: dynamic authenticators, and the sessions that call them, as those of meta.c. */
PL_MUST_USE enum pl_err pl_callers_open(struct pl_server *server);
void pl_callers_free(struct pl_server *server);
/* Has this realm one? */
bool pl_caller_has(const struct pl_server *server, const struct pl_realm *realm);
/* Any thread: asks that of the realm, and tells auth what it says. */
void pl_caller_ask(
    struct pl_server *server, const struct pl_realm *realm, struct pl_auth_question *question);

/* mles.c: the links to other Mles servers, if there are some. They begin when the shards run, and
 * end before the sessions. */
PL_MUST_USE enum pl_err pl_mles_open_peers(struct pl_server *server, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_mles_start_peers(struct pl_server *server, struct pl_diag *diag);
void pl_mles_stop_peers(struct pl_server *server);
void pl_mles_free_peers(struct pl_server *server);

/* sys.c. On the home shard, every second. */
PL_MUST_USE struct pl_sys *pl_sys_new(void);
struct pl_sys *pl_sys_free(struct pl_sys *sys);
void pl_sys_tick(struct pl_server *server, uint64_t now_ms);

/* What the shards have counted. Any thread. */
struct pl_totals {
#define PL_COUNTER(name, help) uint64_t name;
#include "core/counters.def"
#undef PL_COUNTER
    uint64_t connections; /* open now */
};
void pl_server_totals(const struct pl_server *server, struct pl_totals *out);

/* shard.c */
/* More than that waits for clients in all, or is on its way from here to other shards. */
bool pl_shard_is_full(const struct pl_shard *shard, size_t limit);
/* It has stalled connections: the next tick comes soon. */
void pl_shard_look_soon(struct pl_shard *shard);
PL_MUST_USE enum pl_err pl_shards_open(struct pl_server *server, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_shards_start(struct pl_server *server, struct pl_diag *diag);
/* Any thread: goodbyes, spread over the time that the configuration says. */
void pl_shards_drain(struct pl_server *server);
/* Any thread: closes what is still open. */
void pl_shards_close(struct pl_server *server);
bool pl_shards_are_empty(const struct pl_server *server);
/* Ends the threads. */
void pl_shards_stop(struct pl_server *server);
void pl_shards_free(struct pl_server *server);
/* Runs on the home shard's thread while the caller waits. Not from a shard. */
void pl_home_run(struct pl_server *server, void (*run)(struct pl_server *server));

/* Any thread: a line that a peer caused may be written now. */
bool pl_server_may_log(struct pl_server *server);

/* login.c */
void pl_login_hook(
    void *context, struct pl_session *session, const struct pl_credentials *shown, uint64_t token);
/* What auth wants to know; texts are config's, arrays the arena's. */
PL_MUST_USE enum pl_err pl_login_config(
    const struct pl_config *config, struct pl_arena *arena, struct pl_auth_config *out);
/* What the salts of unknown users are made from: kept in the data folder, made if it is missing. */
enum { PL_LOGIN_SECRET_LEN = 32 };
void pl_login_secret(const struct pl_server *server, uint8_t out[PL_LOGIN_SECRET_LEN]);
/* A connection's holds on its users' counts: the connection ended. Returns NULL; accepts NULL. */
struct pl_user_hold *pl_user_hold_free(struct pl_user_hold *hold);

/* certificates.c */
PL_MUST_USE enum pl_err pl_certificates_open(struct pl_server *server);
void pl_certificates_free(struct pl_server *server);
/* Begins to order what the configuration wants of an authority, anew if that has changed; what was
 * issued before is shown at once. On the main thread. */
PL_MUST_USE enum pl_err pl_certificates_order(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag);
/* No more orders. */
void pl_certificates_stop(struct pl_server *server);
/* Any thread; under a lock. */
void pl_certificates_each(struct pl_server *server,
    void (*visit)(void *context, const struct pl_acme_facts *facts), void *context);
/* A request that an authority checks a name by (HTTP-01). False: it is another one. */
bool pl_certificates_answer(
    struct pl_server *server, struct pl_conn *conn, const struct pl_http_request *request);
/* Can the named files be used? The one that would be made is not. */
PL_MUST_USE enum pl_err pl_certificates_check(const struct pl_config *config, struct pl_diag *diag);
/* Reads the files into server->certificates, anew or for the first time; where none is named one is
 * made. */
PL_MUST_USE enum pl_err pl_certificates_load(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag);

/* ports.c */
/* Opens everything; nobody is served yet. PL_EXISTS, PL_CONFIG, PL_IO …: diag is one line. */
PL_MUST_USE enum pl_err pl_ports_open(struct pl_server *server, struct pl_diag *diag);
void pl_ports_start(struct pl_server *server);
void pl_ports_stop(struct pl_server *server);
/* Of sessions of this process; NULL: there is none. */
struct pl_listener *pl_ports_local(const struct pl_server *server);
/* Where HTTPS has pages: as the configuration says, or the first such port; 0: nowhere. */
uint16_t pl_ports_https(const struct pl_server *server);
/* The port of a listener; 0: none. */
uint16_t pl_ports_number(const struct pl_server *server, const char *name);
void pl_ports_free(struct pl_server *server);
/* Loads every certificate anew, or for the first time. */
PL_MUST_USE enum pl_err pl_ports_load_tls(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag);
void pl_ports_print(const struct pl_server *server, FILE *out);
PL_MUST_USE enum pl_err pl_ports_write(
    const struct pl_server *server, const char *path, struct pl_diag *diag);

/* ---- store.c ---- */

/* Opens the store and puts back what it has; realms and ports are there, no thread runs yet. */
PL_MUST_USE enum pl_err pl_store_restore(struct pl_server *server, struct pl_diag *diag);
/* Where its file is, or would be; freed by the caller. */
PL_MUST_USE enum pl_err pl_store_find_file(
    const struct pl_server *server, char **out, struct pl_diag *diag);
/* Writes what waits; realms have no store any more. */
void pl_store_close(struct pl_server *server);

#endif
