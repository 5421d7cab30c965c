/*
 * Peer links: this server as a client of other Mles servers, so that a channel is one on all.
 *
 * For each channel with members here there is one WebSocket session to each peer, with a uid of
 * this server. A peer sees a client like any other, so it may be any server that speaks Mles. Data
 * frames go both ways as they are, text and binary; header frames do not.
 *
 * When a link opens, the peer replays its history, as to every client; what is new of it is
 * published here. When nothing more of that comes, our history is read, and what the peer has not
 * shown is sent to it. So each gets back from the other what it lost by a restart.
 *
 * Of equal frames one crosses, as long as it is remembered (memory.h): that stops loops, and makes
 * the replays do no harm. Frames that do not cross a link are never compared.
 *
 *     a shard         pl_peers_join, _leave, _admits
 *     own thread      WebSockets, their timers (thread.c)
 *     home's worker   a session of the core per link (session.c)
 */
#ifndef PL_PEERS_PEERS_H
#define PL_PEERS_PEERS_H

#include "client/socket.h"
#include "core/realm.h"

enum { PL_PEERS_MAX = 64 };

/* How the uid of a link begins, on every server. */
#define PL_PEER_UID "peer-"

enum pl_peer_news_kind {
    PL_PEER_LINKED, /* frames go both ways */
    PL_PEER_LOST,   /* or could not be reached; tried again after retry_ms */
    PL_PEER_LIMIT,  /* a channel more than links_max allows: it has no link */
};

struct pl_peer_news {
    enum pl_peer_news_kind kind;
    const char *url; /* LINKED, LOST */
    struct pl_bytes channel;
    const char *why; /* LOST: for people */
    uint64_t retry_ms;
};

/* Texts, and what told gets, are borrowed while the peers live. */
struct pl_peers_options {
    const char *const *urls; /* ws://host:port, wss://host:port, at most PL_PEERS_MAX */
    uint32_t url_count;
    const char *const *channels; /* linked without members, too */
    uint32_t channel_count;
    const char *uid; /* begins with PL_PEER_UID */
    struct pl_bytes key;
    bool has_key;
    struct pl_bytes prefix; /* of a channel's subject */
    struct pl_socket_tls tls;
    uint32_t memory;       /* frames per channel that are remembered */
    uint32_t links_max;    /* channels times peers */
    uint64_t queue_max;    /* bytes that wait for one peer; above it the link begins anew */
    uint64_t retry_ms;     /* the first wait, doubled by each further failure … */
    uint64_t retry_max_ms; /* … up to this */
    uint64_t settle_ms;    /* the peer's replay is over when nothing came for so long */
    uint64_t linger_ms;    /* a channel whose last member has gone keeps its links for so long */
    struct pl_realm *realm;
    struct pl_worker *home;
    void *context;
    void (*told)(void *context, const struct pl_peer_news *news); /* on the own thread */
};

enum { PL_PEER_HOST_MAX = 256 };
/* The host of a peer's URL. False: it is none, or has a user. */
PL_MUST_USE bool pl_peers_read_host(const char *url, char out[PL_PEER_HOST_MAX]);

struct pl_peers;

/* PL_CONFIG: a URL, diag. */
PL_MUST_USE enum pl_err pl_peers_new(
    const struct pl_peers_options *options, struct pl_peers **out, struct pl_diag *diag);
/* Begins the thread. The home's worker runs. */
PL_MUST_USE enum pl_err pl_peers_start(struct pl_peers *peers, struct pl_diag *diag);
/* Ends all links and the thread, and waits for it; the home's worker still runs. Not on it. */
void pl_peers_stop(struct pl_peers *peers);
/* Stopped, or never started. Returns NULL; accepts NULL. */
struct pl_peers *pl_peers_free(struct pl_peers *peers);

/* Any thread: how many channels are shared with a peer at the moment. */
uint32_t pl_peers_open_count(const struct pl_peers *peers, uint32_t url);

/* Any thread: a member that is no link of another server has come to the channel of that name.
 * False: no memory, do not tell when it leaves. */
PL_MUST_USE bool pl_peers_join(struct pl_peers *peers, struct pl_bytes name);
void pl_peers_leave(struct pl_peers *peers, struct pl_bytes name);
/* Any thread: a frame that a link of another server brings. False: it has been here before. */
PL_MUST_USE bool pl_peers_admits(
    struct pl_peers *peers, struct pl_bytes channel, bool is_text, struct pl_bytes frame);

#endif
