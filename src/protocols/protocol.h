/*
 * How a wire protocol plugs in: one const struct, one line in the server's registry.
 *
 * A link is one peer's connection as a protocol sees it: bytes come in, bytes are appended to
 * link->out; TCP, TLS, Unix and WebSocket look alike. A protocol does no I/O, so it can be driven
 * by hand, by a test and by a fuzzer. Every call comes from the link's reactor.
 *
 *     open      the connection is there (NATS sends INFO here)
 *     receive   takes whole packets, leaves the rest; what is left comes again with more bytes
 *     tick      time passed: keep-alive, login limit
 *     closed    the transport is gone, or is about to be closed by us: let go of link and out now;
 *               sessions detach or leave, and free themselves when the core says so (their own
 *               memory, not the link's)
 */
#ifndef PL_PROTOCOLS_PROTOCOL_H
#define PL_PROTOCOLS_PROTOCOL_H

#include "core/realm.h"
#include "core/session.h"
#include "core/worker.h"

struct pl_link;

/* What a peer's first bytes say on a shared port. */
enum pl_sniff { PL_SNIFF_NO, PL_SNIFF_MORE, PL_SNIFF_YES };

enum pl_input_kind { PL_INPUT_STREAM, PL_INPUT_TEXT_FRAME, PL_INPUT_BINARY_FRAME };

/* How a protocol's own messages are told apart on their way out. */
enum pl_framing {
    PL_FRAMING_STREAM,    /* bytes follow each other; what they mean is the protocol's */
    PL_FRAMING_WEBSOCKET, /* input comes as whole messages; the protocol appends whole frames of a
                             server to link->out (codec/websocket.h) */
    PL_FRAMING_MESSAGES,  /* input comes as whole messages; each one goes out by
                             host->send_message, which may compress it */
};

struct pl_input {
    struct pl_bytes bytes;
    struct pl_shared *buffer; /* where bytes lie; give it to pl_session_publish */
    uint8_t kind;             /* enum pl_input_kind. Stream subprotocols over WebSocket: STREAM */
};

/* What the connection does for its link. Implemented once, by the server (and by tests). */
struct pl_link_host {
    /* Input waits because link->is_waiting was set; it was cleared now: call receive again, soon.
     */
    void (*resume)(struct pl_link *link);
    /* Writes what is queued, then closes. `closed` is called later, never from inside this. why is
     * for counters and logs (PL_OK: an orderly end); diag may be NULL. Idempotent. */
    void (*close)(struct pl_link *link, enum pl_err why, const struct pl_diag *diag);
    /* After what is queued was written, TLS begins: next bytes are a ClientHello. */
    enum pl_err (*start_tls)(struct pl_link *link);
    /* `tick` comes at that time instead of the one that it asked for. */
    void (*tick_at)(struct pl_link *link, uint64_t at_ms);
    /* One message, where link->framing is PL_FRAMING_MESSAGES. */
    enum pl_err (*send_message)(struct pl_link *link, bool is_text, struct pl_bytes message);
    /* Bytes that came from the peer in all, also those that it does not see (a WebSocket's pongs).
     */
    uint64_t (*bytes_in)(struct pl_link *link);
    /* From the WebSocket's request: header ("authorization", "cookie", lower case) or query
     * parameter; empty if there is none. Borrowed while the link lives. */
    struct pl_bytes (*request_header)(struct pl_link *link, const char *name);
    struct pl_bytes (*request_query)(struct pl_link *link, const char *name);
    /* Of a link with TLS: the certificate that the peer showed, DER, and the channel id of that
     * type
     * ("tls-unique", "tls-exporter"); its length, 0: none. Both are NULL where a link is not one
     * connection's. */
    struct pl_bytes (*certificate)(struct pl_link *link);
    size_t (*channel_id)(struct pl_link *link, struct pl_bytes type, uint8_t *out, size_t cap);
};

/* What a protocol needs to know of its listener and of the configuration; constant, shared. */
struct pl_link_config {
    const char *listener;  /* its name */
    const char *server_id; /* random, stable for this process; for INFO, HELLO … */
    const char *server_name;
    const char *version;
    const char *host; /* address that it listens on, for INFO */
    uint16_t port;
    bool has_tls; /* TLS can be started here (NATS: tls_available) */
    bool requires_tls;
    bool requires_login;       /* anonymous is not enough (NATS: auth_required) */
    bool is_shared;            /* a shared port: Redis takes only `*` */
    uint8_t replay;            /* enum pl_replay: the listener's default */
    uint8_t slow;              /* enum pl_slow_policy where the protocol has no custom … */
    bool has_slow;             /* … if it is configured */
    uint32_t packet_max;       /* bytes of one packet or frame, after the login */
    uint32_t packet_max_login; /* and before */
    uint32_t line_max;         /* bytes of a control line (NATS, Redis inline) */
    uint64_t login_ms;         /* the peer must have logged in after this; PL_NEVER */
    uint64_t ping_interval_ms; /* idle time after which a protocol that can pings */
    uint32_t ping_max;         /* unanswered pings before the end */
    const void *options;       /* the protocol's own keys: the struct of its header */
};

struct pl_link {
    const struct pl_protocol *protocol;
    const struct pl_link_host *host;
    const struct pl_link_config *config;
    struct pl_worker *worker;
    struct pl_output *out;
    struct pl_bytes address; /* the peer's IP address, or "unix" */
    uint64_t opened_ms;
    uint64_t id; /* of the connection, unique in the process */
    bool is_websocket, is_tls;
    uint8_t framing;         /* enum pl_framing */
    const char *subprotocol; /* of its WebSocket; NULL: none was named. Static */
    struct pl_bytes cookie;  /* by which its WebSocket is known again: that it came with, or was
                                given; empty: none */
    bool is_ambient_allowed; /* Origin and Host checks passed, or there is nothing to check */
    bool is_waiting;         /* set by the protocol (login, claim): receive is not called until it
                                clears it and calls host->resume */
    bool is_open;            /* false after host->close */
    bool is_draining;        /* the server is going down; set before `drain` is called */
    struct pl_session *session; /* whom it speaks for now, NULL: nobody yet; for /connections */
};

/*
 * The token in the request of the link's WebSocket, where a browser must put it: "Authorization:
 * Bearer …", else ?token=, else the cookie `token`. A cookie comes by itself, so it counts only
 * where is_ambient_allowed. Empty if there is none. Lives with the link.
 */
struct pl_bytes pl_link_request_token(struct pl_link *link);

/*
 * A protocol's sessions that outlive the process, at the start (core/restore.h): on the home
 * worker's thread, before anyone connects.
 */
struct pl_restorer {
    /* Without a connection, not in a realm yet. NULL: no memory. */
    struct pl_session *(*session)(struct pl_worker *home, const void *options, bool was_connected);
    /* One that its realm did not take. */
    void (*give_up)(struct pl_session *session);
    /* Calls pl_realm_restore_subscription. PL_MALFORMED: these are not the bytes of one. */
    enum pl_err (*subscription)(struct pl_realm *realm, struct pl_session *session,
        struct pl_bytes key, struct pl_bytes state, uint64_t since);
    enum pl_err (*progress)(struct pl_session *session, struct pl_bytes key, struct pl_bytes value);
    /* All that was kept has been delivered. */
    void (*end)(struct pl_session *session);
};

struct pl_protocol {
    const char *name;
    const char *const *websocket; /* subprotocols, NULL-terminated, preferred first; NULL: none */
    bool takes_messages; /* a WebSocket's messages come whole and one by one, not as a stream */
    bool refuses_text;   /* a WebSocket's text message is a violation (MQTT 5.0, section 6.0) */
    bool never_deflates; /* what it carries does not get smaller, or each frame goes to many */
    size_t link_size; /* bytes of its struct that begins with struct pl_link; allocated zeroed with
                         the connection, and freed with it after `closed` */

    enum pl_sniff (*sniff)(struct pl_bytes first); /* NULL: it speaks first, as NATS does */
    enum pl_err (*open)(struct pl_link *link);
    /* PL_OK and how much was taken. An error: the protocol has appended its last words; the caller
     * closes. It must look at link->is_waiting after each packet and return. */
    enum pl_err (*receive)(struct pl_link *link, struct pl_input in, size_t *out_used);
    /* Returns when it wants to be called next; PL_NEVER. Called first right after open. */
    uint64_t (*tick)(struct pl_link *link, uint64_t now_ms);
    /* The server goes down: tell the peer in the protocol's words; close if that is the custom. */
    void (*drain)(struct pl_link *link);
    void (*closed)(struct pl_link *link, enum pl_err why);
    const struct pl_restorer *restorer; /* NULL: its sessions end with the process */
};

#endif
