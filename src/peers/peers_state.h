/*
 * What the files of peers/ share.
 *
 *     peers.c     life; channels and their memories, behind the lock
 *     thread.c    the own thread: which links there are, their WebSockets, timers
 *     session.c   the home's worker: each link's session in the core
 *
 * A link's way:
 *
 *     thread  ── attach ──►  home: joins, subscribes, remembers what the history holds
 *             ◄── ready ───
 *     connects, sends the header
 *             ── opened ──►  forgets what the peer had
 *             ── frame ───►  new here? published
 *     nothing has come for a while
 *             ── settled ─►  reads the history, then goes on live: what the peer has not
 *             ◄── frame ───
 *     few of these wait, and the history is held
 *             ── drained ─►  reads on
 *     the connection is lost, or was not to be had
 *             ── lost ────►  only remembers from here on; later: opened again
 *     nobody is on the channel any more
 *             ── detach ──►  leaves
 *             ◄── gone ────  freed
 */
#ifndef PL_PEERS_STATE_H
#define PL_PEERS_STATE_H

#include <pthread.h>

#include "base/hash.h"
#include "base/heap.h"
#include "base/inbox.h"
#include "base/map.h"
#include "client/wire.h"
#include "peers/memory.h"
#include "core/worker.h"
#include "peers/peers.h"

struct pl_peer_channel;

enum pl_peer_phase {
    PL_PEER_ATTACHING,
    PL_PEER_WAITING, /* until the next attempt */
    PL_PEER_CONNECTING,
    PL_PEER_SETTLING, /* the peer's history comes */
    PL_PEER_OPEN,
    PL_PEER_LEAVING,
};

/* The session's side. Belongs to the home. */
struct pl_peer_member {
    struct pl_session session;
    struct pl_subscription subscription;
    struct pl_output out;  /* never written to: the core asks for its size */
    uint32_t attempt;      /* the connection that is open */
    bool is_scanned;       /* the history has been read once */
    bool sends;            /* what is published goes to the peer */
    bool catches_up;       /* the peer is given the history: … */
    struct pl_cursor read; /* … what it has had of it */
    bool has_left;         /* it was asked to … */
    bool is_out;           /* … and has */
    bool is_detached;      /* the thread has sent its last about it */
};

struct pl_peer_link {
    struct pl_peers *peers;
    struct pl_peer_channel *channel;
    uint32_t peer; /* which of options.urls */

    /* The thread's. */
    struct pl_peer_link *next, **at; /* all */
    struct pl_peer_link *flush_next; /* those that have something to write */
    bool is_to_flush;
    enum pl_peer_phase phase;
    struct pl_wire *wire;
    int watched;                    /* what epoll waits for; -1: nothing */
    bool watches_write, is_watched; /* is_watched: and it stays that descriptor */
    struct pl_deadline due;
    uint64_t opened_ms, wait_ms; /* wait_ms: how long it waited last; 0: never */
    uint32_t attempt;

    struct pl_post attach, detach, ready, gone;
    struct pl_peer_member member;
    atomic_size_t queued;  /* bytes on their way to the wire */
    atomic_size_t written; /* of the wire: bytes that wait in it */
    atomic_bool is_held;   /* the history waits until these are few */
    atomic_bool is_behind; /* the peer reads too slowly, or there was no memory: begin anew */
};

struct pl_peer_channel {
    struct pl_peers *peers;
    struct pl_map_entry entry;
    char *name; /* owned; entry.key is it */

    /* Under the lock. */
    struct pl_peer_memory *memory; /* owned */
    uint32_t members;
    bool is_posted; /* `changed` is on its way to the thread */

    struct pl_post changed; /* there are members now, or none any more */
    bool is_configured;     /* linked without members, too; constant */

    /* The thread's. */
    struct pl_deadline due; /* when its links end */
    bool is_linked;         /* it is to have links */
    uint32_t link_count;
    struct pl_peer_link *links[]; /* one per peer; NULL: none */
};

struct pl_peers {
    struct pl_peers_options options;
    struct pl_url *urls;            /* owned array, checked */
    atomic_uint open[PL_PEERS_MAX]; /* links of each that are open */
    uint8_t hash_key[16];
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    struct pl_map channels; /* under the lock; only the thread removes from it */
    struct pl_inbox inbox;  /* the thread's */
    int wake, epoll;
    atomic_size_t inbound; /* bytes of frames on their way home */
    atomic_bool is_paused; /* the thread reads nothing until there are fewer */
    atomic_bool is_stopping;
    atomic_bool has_behind; /* there are links that are */

    /* The thread's. */
    struct pl_heap heap;
    struct pl_peer_link *links, *to_flush;
    uint32_t link_count, connecting; /* connecting: of the links */
    struct pl_random random;
    bool has_told_limit;
};

enum { PL_PEER_DUE_LINK, PL_PEER_DUE_CHANNEL };

enum { PL_PEERS_INBOUND_MAX = 8 << 20 }; /* bytes of frames on their way home */

/* What the two sides send each other, beside the posts in the link. */
enum pl_peer_event_kind {
    PL_PEER_EVENT_OPENED,
    PL_PEER_EVENT_SETTLED,
    PL_PEER_EVENT_DRAINED,
    PL_PEER_EVENT_LOST,
    PL_PEER_EVENT_FRAME
};

struct pl_peer_event {
    struct pl_post post;
    struct pl_peer_link *link;
    uint32_t attempt;
    uint8_t kind; /* enum pl_peer_event_kind */
    bool is_text;
    struct pl_shared *bytes; /* one reference; FRAME */
};

/* peers.c */
uint64_t pl_peers_hash(const struct pl_peers *peers, bool is_text, struct pl_bytes frame);
/* The thread's: nobody is on it, and it has no links. */
void pl_peers_drop_channel(struct pl_peer_channel *channel);
/* The thread's: is somebody on it? */
bool pl_peers_is_occupied(struct pl_peer_channel *channel);
/* As pl_peer_memory_note, under the lock. */
bool pl_peers_note(struct pl_peer_link *link, uint64_t hash, uint64_t bits, uint64_t *out_before);
static inline uint64_t pl_peer_bit(const struct pl_peer_link *link)
{
    return 1ull << link->peer;
}

/* What a frame on its way between the two counts for: empty ones take memory, too. */
static inline size_t pl_peer_cost(const struct pl_shared *frame)
{
    return frame->len + sizeof(struct pl_peer_event) + sizeof *frame;
}

/* So many bytes wait for the peer that the history does. */
static inline bool pl_peer_is_full(struct pl_peer_link *link)
{
    return atomic_load(&link->queued) + atomic_load(&link->written) >
           link->peers->options.queue_max / 2;
}

/* thread.c. Any thread. */
/* It begins anew, and gets what it missed out of the history. */
void pl_peer_fall_behind(struct pl_peer_link *link);
void pl_peers_post(struct pl_peers *peers, struct pl_post *post);
void pl_peers_wake(struct pl_peers *peers);
void *pl_peers_main(void *context);
/* On it: a post of peers.c, those of session.c. */
void pl_peer_on_changed(struct pl_post *post, void *context);
void pl_peer_on_ready(struct pl_post *post, void *context);
void pl_peer_on_gone(struct pl_post *post, void *context);
void pl_peer_on_outgoing(struct pl_post *post, void *context);

/* session.c. On the home. */
void pl_peer_on_attach(struct pl_post *post, void *context);
void pl_peer_on_detach(struct pl_post *post, void *context);
void pl_peer_on_event(struct pl_post *post, void *context);

#endif
