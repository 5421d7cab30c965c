/*
 * A session: someone who takes part in a realm, whatever the protocol. It publishes and subscribes;
 * the core delivers to it and tells it what became of its requests.
 *
 * A session without a name lives and ends with its connection. A session with a name (an MQTT
 * client id) may outlive it as a *mailbox*: detached, it keeps its subscriptions, and deliveries to
 * it go on. A new connection that claims the name gets it, on whatever reactor it came in.
 *
 * A protocol embeds pl_session in its own struct. What it asks for is appended to its worker's
 * batch, runs at the end of the turn under the realm's lock, and is answered by ops->complete,
 * which comes in one order with the deliveries:
 *
 *     pl_session_init(&s->core, &my_ops, worker, out);
 *     pl_session_login(&s->core, &credentials, 0);   → complete PL_DONE_LOGIN: realm, identity set
 *     pl_session_join(&s->core, 0);                  → PL_DONE_JOIN (or _claim → PL_DONE_CLAIM)
 *     pl_session_subscribe(&s->core, sub, NULL, 0);  → PL_DONE_SUBSCRIBE
 *     pl_session_publish(&s->core, &message, …);     → PL_DONE_PUBLISH if wanted
 *     pl_session_leave(&s->core);                    → PL_DONE_LEAVE: nothing refers to it; free it
 *
 * Every function here runs on the session's reactor. Every op is called there too, outside the
 * lock, at the end of a turn (never from inside one of these functions); what ops are given is
 * borrowed.
 */
#ifndef PL_CORE_SESSION_H
#define PL_CORE_SESSION_H

#include "base/map.h"
#include "base/output.h"
#include "core/call.h"
#include "core/history.h"
#include "core/identity.h"
#include "core/message.h"
#include "core/subscription.h"

struct pl_realm;
struct pl_worker;
struct pl_mailbox;
struct pl_seat;
struct pl_session;
struct pl_call;
struct pl_exchange;
struct pl_presence;

enum pl_done {
    PL_DONE_LOGIN,       /* err: PL_BAD_LOGIN, PL_EXPIRED …; PL_OK: realm and identity are set */
    PL_DONE_JOIN,        /* err: PL_LIMIT, PL_NO_MEMORY */
    PL_DONE_CLAIM,       /* session: who stands under the name now; see pl_session_claim */
    PL_DONE_SUBSCRIBE,   /* sub; on an error it was not added and is the protocol's to free */
    PL_DONE_UNSUBSCRIBE, /* sub: nothing refers to it any more, free it */
    PL_DONE_REPLAY,      /* sub: retained or history has been sent whole; live from here */
    PL_DONE_PUBLISH,     /* err: PL_NO_RESPONDERS, PL_DENIED, PL_LIMIT …; receivers */
    PL_DONE_STATE,       /* what pl_session_put_state wrote is on disk. err: PL_STORE */
    PL_DONE_FENCE,       /* all that was asked for before has been answered and delivered */
    PL_DONE_REGISTER,    /* callee, id; on an error it is the protocol's to free */
    PL_DONE_UNREGISTER,  /* callee: nothing refers to it any more, free it */
    PL_DONE_LOG,         /* messages, see pl_session_read_log */
    PL_DONE_LEAVE,       /* the session is out of the realm; free it and its subscriptions. err: why
                            the core ended it; PL_OK: it was asked for */
};

struct pl_completion {
    uint8_t kind;      /* enum pl_done */
    bool is_resumed;   /* CLAIM: session is an older one that goes on */
    bool is_recovered; /* SUBSCRIBE with a cursor: nothing was lost behind it */
    enum pl_err err;
    uint64_t token;     /* what the request was given */
    uint32_t receivers; /* PUBLISH: targets plus queue slots that matched */
    uint64_t id;        /* PUBLISH: pl_publication_public_id; REGISTER: of the registration */
    struct pl_subscription *sub;
    struct pl_callee *callee;
    struct pl_session *session; /* CLAIM */
    struct pl_cursor cursor;    /* SUBSCRIBE: where the log stood; LOG: where to go on */
    const struct pl_message *const *messages; /* LOG; borrowed */
    uint32_t message_count;
    bool is_end; /* LOG: there is nothing behind cursor */
};

enum { PL_SUB_STATE_MAX = 32 };

enum pl_origin { PL_ORIGIN_LIVE, PL_ORIGIN_RETAINED, PL_ORIGIN_HISTORY };

/* Messages that go to one or more subscriptions, in order. */
struct pl_run {
    const struct pl_message *const *messages;
    uint32_t count;
    uint8_t origin; /* enum pl_origin */
    struct pl_shared
        *frames;             /* the encoded messages, one behind the other; NULL: encode yourself */
    const uint32_t *ends;    /* ends[i]: where message i's frame ends in frames */
    struct pl_cursor cursor; /* epoch of the realm's log; a message's cursor is (epoch, offset) */
};

enum pl_notice_kind {
    PL_NOTICE_JOINED,
    PL_NOTICE_LEFT,
    PL_NOTICE_SUBSCRIBED,
    PL_NOTICE_UNSUBSCRIBED,
    PL_NOTICE_REGISTERED,
    PL_NOTICE_UNREGISTERED,
};

/* What an observer is told of sessions that have a card, in the realm's order. */
struct pl_notice {
    uint8_t kind;           /* enum pl_notice_kind */
    bool is_first, is_last; /* REGISTERED, UNREGISTERED: of its registration */
    uint64_t session;       /* pl_session_public_id */
    uint64_t time_unix_ms;
    struct pl_shared *card;     /* the session's; borrowed */
    struct pl_pattern *pattern; /* of a subscription or registration; borrowed */
    uint64_t registration;      /* its id … */
    uint8_t invoke;             /* … and enum pl_invoke */
};

/* A word from one session to another; kind and bytes are their protocol's. */
struct pl_word {
    uint64_t from; /* pl_session_public_id */
    uint32_t kind;
    struct pl_bytes bytes;
};

enum pl_had {
    PL_HAD_NOT,  /* it may be given to this one */
    PL_HAD_OPEN, /* it was given to this one, and is not acknowledged */
    PL_HAD_DONE, /* this one needs it no more, or it was another's */
};

/* What the core asks of anyone who takes part: protocol, engine, trigger, embedder. Who never asks
 * for what an op answers has NULL there. */
struct pl_session_ops {
    const char *name; /* of the protocol, for people */
    /* Appends one message's frame for all subscriptions of sub's form. Pure: no session state. It
     * may fail with any error; then that message is left out for this form. NULL if all forms are
     * 0. A frame may have length 0. */
    enum pl_err (*encode)(const struct pl_subscription *sub, const struct pl_message *message,
        uint64_t now_ms, struct pl_writer *w);
    /* A run for this subscription. The core has checked the output's limit (slow policy), expiry
     * and no-local. out may be NULL: the session is detached. */
    void (*deliver)(
        struct pl_session *session, struct pl_subscription *sub, const struct pl_run *run);
    /* What the session asked for is done or refused, in the order of asking. */
    void (*complete)(struct pl_session *session, const struct pl_completion *done);
    /* Revoked, expired, taken over, kicked, too slow, drained: say goodbye in the protocol's words
     * and close the connection; a session that has none (detached) leaves. After PL_TAKEN_OVER of a
     * session that goes on, the session must be without a connection when this returns (out NULL):
     * it may belong to another reactor then. */
    void (*ended)(struct pl_session *session, enum pl_err why);

    /* Pure, under the realm's lock: what a durable subscription is made of again, at most
     * PL_SUB_STATE_MAX bytes, and the key, unique in its session and borrowed from it. */
    size_t (*write_state)(
        const struct pl_subscription *sub, uint8_t *out_state, struct pl_bytes *out_key);

    /* While messages are restored: of one in the store that a queue group shares. */
    enum pl_had (*had)(const struct pl_session *session, const struct pl_message *message);

    /* A call for one of its callees. */
    void (*invoke)(struct pl_session *session, const struct pl_invocation *invocation);
    /* The invocation is not wanted any more. KILL: its answer still counts. */
    void (*interrupt)(
        struct pl_session *session, uint64_t invocation, enum pl_cancel mode, enum pl_err why);
    void (*answer)(struct pl_session *session, const struct pl_result *result);
    /* Another took its place (PL_CALLEE_FORCED): it is as after pl_session_unregister, and
     * PL_DONE_UNREGISTER follows. */
    void (*unregistered)(struct pl_session *session, struct pl_callee *callee);
    /* Who is answered by it reads too slowly (true), or reads again: do not read its peer until
     * then. Called only when it changes. */
    void (*press)(struct pl_session *session, bool is_on);
    void (*told)(struct pl_session *session, const struct pl_word *word);
    void (*noticed)(struct pl_session *session, const struct pl_notice *notice);
    /* Someone else wants its seat: pl_session_hold_seat, or leave. */
    void (*contested)(struct pl_session *session);
};

enum pl_session_state { PL_SESSION_NEW, PL_SESSION_JOINED, PL_SESSION_LEFT };

struct pl_session {
    const struct pl_session_ops *ops;
    struct pl_worker *worker;  /* who owns it; its reactor */
    struct pl_worker *address; /* where deliveries go; differs during a hand-over; under the lock */
    struct pl_realm *realm;    /* NULL before the login */
    struct pl_identity *identity; /* one reference; NULL before the login */
    struct pl_output *out;        /* of its connection; NULL: detached */
    uint64_t id;                  /* unique in the process, given by init */

    struct pl_shared *card; /* one reference, set before joining: what observers are told
                               of it. NULL: they are told nothing. Freed by done */
    const struct pl_attribute *attributes; /* for audiences; the protocol's own, its reactor */
    uint32_t attribute_count;
    struct pl_bytes name; /* as others are told it: a login's of its own where it has no user */

    /* The core's. */
    struct pl_subscription *subs;              /* under the lock */
    struct pl_callee *callees;                 /* under the lock */
    struct pl_call *calls_made, *calls_taken;  /* open ones; under the lock */
    uint64_t invocations;                      /* numbers given out; under the lock */
    struct pl_presence *presence;              /* of one with a card; under the lock */
    int pressed;                               /* callers that read too slowly; its reactor */
    bool presses;                              /* it holds up someone who answers it; its reactor */
    struct pl_session *realm_next, **realm_at; /* the realm's list; under the lock */
    struct pl_mailbox *mailbox;                /* of one with a name */
    struct pl_seat *seat;                      /* that it has, or waits for; under the lock */
    struct pl_grants *grants;                  /* reply subjects it may publish to once */
    struct pl_deadline expiry; /* identity's end; the realm's heap, under the lock */
    /* Compilers read neighbours at once, so what the lock guards and what the reactor owns stand in
     * words apart. */
    uint32_t sub_count;                /* under the lock */
    uint32_t match_at;                 /* the matcher's while it makes a set; under the lock */
    uint32_t callee_count, open_calls; /* under the lock */
    uint32_t claims;                   /* how often it was resumed; under the lock */
    uint32_t identities;               /* counts changes of identity; its reactor, under the lock */
    bool is_in_realm;                  /* under the lock */
    bool was_removed;   /* PL_DONE_LEAVE is on its way: the last answer; under the lock */
    uint32_t tenure;    /* claims, as its owner knows; its reactor */
    uint8_t state;      /* enum pl_session_state; its reactor */
    bool is_ending;     /* ended() was called or is due; its reactor */
    bool has_left;      /* leave was asked for; its reactor */
    uint8_t ending_why; /* enum pl_err; its reactor */
    struct pl_session *ending_next;       /* the worker's list; its reactor */
    void *open_request;                   /* the login or claim that is open; its reactor */
    const struct pl_challenge *challenge; /* after PL_CHALLENGED; in `exchange` */
    struct pl_exchange *exchange;         /* the authenticator's, until the next login or done */
    uint32_t deferred;                    /* its ops that wait for the disk; under the lock … */
    uint32_t deferred_plain;              /* … publications under no rule that want no answer */
    struct pl_realm *asked_realm;         /* the server's: which the login asked for; NULL: none */
    void *about; /* the server's: what /connections tells of it. Borrowed */
};

/* Zeroes and fills. out may be NULL. */
void pl_session_init(struct pl_session *s, const struct pl_session_ops *ops,
    struct pl_worker *worker, struct pl_output *out);
/* Frees what the core keeps in one that never joined, or has left. */
void pl_session_done(struct pl_session *s);

/* Answers now or later, always by PL_DONE_LOGIN. The caller takes no input meanwhile. */
void pl_session_login(
    struct pl_session *s, const struct pl_credentials *credentials, uint64_t token);

/* Becomes part of its realm, without a name. */
void pl_session_join(struct pl_session *s, uint64_t token);

/*
 * The same at a seat, a name that one session of the realm has at a time. If it is taken, the one
 * that has it is asked (ops->contested) whether it is still there, and PL_DONE_JOIN comes when it
 * has left, or with PL_EXISTS when it holds the seat. One session may wait for a seat; for further
 * ones it is PL_EXISTS at once. Who leaves while it waits gets PL_DONE_LEAVE alone.
 */
void pl_session_join_at(struct pl_session *s, struct pl_bytes seat, uint64_t token);
/* An answer to ops->contested; the other one is to leave. */
void pl_session_hold_seat(struct pl_session *s);

/*
 * Goes on in its realm as someone else: a login renewed on a live connection. PL_DONE_JOIN tells
 * that the new rights count from here on. Subscriptions stay; if there is one that the new identity
 * may not have, the session is ended with PL_REVOKED. Takes the reference over.
 */
void pl_session_rejoin(struct pl_session *s, struct pl_identity *identity_moved, uint64_t token);

struct pl_claim {
    struct pl_bytes name;    /* unique among the sessions of one user; not empty */
    bool clean;              /* an older session of that name is ended, not resumed */
    uint64_t expiry_ms;      /* how long it stays when detached; 0: not; PL_NEVER */
    struct pl_message *will; /* one reference, given to the core; NULL: none */
    uint64_t will_delay_ms;
    uint64_t will_expiry_ms; /* it expires so long after it went out; 0: as the message says */
};

/*
 * Joins under a name. PL_DONE_CLAIM tells, on `s`:
 *
 *     session == s        s stands under the name; an older one was ended, or there was none
 *     session != s        (is_resumed) the older session goes on here, on this reactor, without
 *                         connection: give it the connection. s has not joined; free it. The
 * claim's expiry and will are the older one's from now on
 *
 * An older session's connection was ended with PL_TAKEN_OVER before. If `s` leaves before the
 * answer, the answer is PL_CLOSED, an older session stays detached, and PL_DONE_LEAVE follows.
 */
void pl_session_claim(struct pl_session *s, const struct pl_claim *claim, uint64_t token);

/* Changes how long a named session stays when detached. */
void pl_session_set_expiry(struct pl_session *s, uint64_t expiry_ms);

/*
 * The connection of a named session is gone (out is NULL from now on). publish_will: it went
 * without a goodbye; the will goes out after its delay, or when the session ends, whichever is
 * first; else the will is dropped. If the session stays, deliver goes on being called; else
 * PL_DONE_LEAVE comes. When it expires later: PL_DONE_LEAVE as well.
 */
void pl_session_detach(struct pl_session *s, bool publish_will);

/* Leaves: subscriptions go, then PL_DONE_LEAVE. A named one's will goes out if publish_will. Fine
 * in every state, also before login or join; an open login or claim is answered first. */
void pl_session_leave(struct pl_session *s, bool publish_will);

struct pl_subscribe_options {
    bool has_cursor; /* history from here on, whatever sub->replay says */
    bool from_start; /* history, all of it */
    bool claims;     /* with one of these two, of a literal pattern: see pl_history_claim */
    struct pl_cursor cursor;
    bool is_strict; /* an unrecoverable cursor gives live messages only */
};

/*
 * sub is the core's until PL_DONE_UNSUBSCRIBE (or _LEAVE, or an error in PL_DONE_SUBSCRIBE).
 * Rights are checked here: PL_DENIED comes by the completion like every other error. options may be
 * NULL. After PL_OK, if there is something to replay, PL_DONE_REPLAY follows when all was sent.
 */
void pl_session_subscribe(struct pl_session *s, struct pl_subscription *sub,
    const struct pl_subscribe_options *options, uint64_t token);
/* What was published before still comes, until PL_DONE_UNSUBSCRIBE. */
void pl_session_unsubscribe(struct pl_session *s, struct pl_subscription *sub, uint64_t token);

/*
 * Writes a state of a named session's own into the store, under a key that is unique in it; an
 * empty value drops it. It ends with the session. wants_done: PL_DONE_STATE tells when it is on
 * disk. A session that does not outlive the process, or no store: nothing is written, and that is
 * told at once. Bytes are copied.
 */
void pl_session_put_state(struct pl_session *s, struct pl_bytes key, struct pl_bytes value,
    bool wants_done, uint64_t token);

/*
 * Asks for nothing but its place in the order: PL_DONE_FENCE comes behind the completions of all
 * that this session asked for before, and behind what it is delivered of its own publications. For
 * answers such as NATS' PONG, which tell a client that everything until then has happened.
 */
void pl_session_fence(struct pl_session *s, uint64_t token);

enum pl_publish_flags {
    PL_WANT_DONE = 1,       /* PL_DONE_PUBLISH wanted, also when all went well */
    PL_WANT_RESPONDERS = 2, /* a request: PL_DONE_PUBLISH with PL_NO_RESPONDERS if nobody matches */
    PL_WANT_ERROR = 4, /* PL_DONE_PUBLISH wanted if it fails later: its store is full, or broken */
};

/*
 * draft: subject, payload, reply, properties, format, qos, retain are the caller's; the rest is
 * filled here. Its bytes lie in `buffer`, which the batch holds as long as it needs (NULL: none),
 * in memory of pl_session_arena, or are static. Rights are checked here: PL_DENIED is returned and
 * also comes as PL_DONE_PUBLISH if PL_WANT_DONE. Other errors: PL_TOO_LARGE (payload_max),
 * PL_NO_MEMORY, PL_BAD_NAME (reserved, too long, too many tokens): the same way.
 */
enum pl_err pl_session_publish(struct pl_session *s, const struct pl_message *draft,
    struct pl_shared *buffer, unsigned flags, uint64_t token);

/*
 * Ids as strangers may see them: 1 to 2^53, unique in the process (of a publication: in its realm),
 * in no order that tells how many there are. A bijection of the inner id under the worker's, or the
 * realm's, secret seed.
 */
uint64_t pl_session_public_id(const struct pl_session *s);
uint64_t pl_publication_public_id(const struct pl_realm *realm, const struct pl_message *message);

/* Who this is, as others may be told: in the arena. Nothing but the trust level if it is not to be
 * disclosed. */
PL_MUST_USE enum pl_err pl_session_author(
    const struct pl_session *s, struct pl_arena *arena, bool is_disclosed, struct pl_author *out);

/* ops->told of the session with that public id in this one's realm, in the realm's order. Nobody
 * there: nothing happens. Bytes are copied. */
void pl_session_tell(struct pl_session *s, uint64_t to_public_id, const struct pl_word *word);

/* What a card tells has changed: observers get it with later notices. The reference is moved. */
void pl_session_set_card(struct pl_session *s, struct pl_shared *card_moved);

/* Reads the realm's log without a subscription: PL_DONE_LOG with at most `max` (1 to 1000) messages
 * that the pattern matches and this session may receive, behind `from` (an unknown epoch: from the
 * start). The pattern is borrowed. */
void pl_session_read_log(struct pl_session *s, struct pl_pattern *pattern, struct pl_cursor from,
    uint32_t max, uint64_t token);

/* Memory that lives as long as the batch that the session appends to now. For escaped subjects,
 * headers and properties of drafts. */
struct pl_arena *pl_session_arena(struct pl_session *s);

/* The process' monotonic clock as of this turn. */
uint64_t pl_session_now_ms(const struct pl_session *s);

/*
 * Ends a session from its own reactor: calls ops->ended at the end of the turn, once. The protocol
 * then detaches or leaves as for a lost connection.
 */
void pl_session_end(struct pl_session *s, enum pl_err why);

/* The session's live output is read again: backlogs of slow subscriptions and replays go on. The
 * transport's owner calls it when an output that was over its limit falls below half of it. */
void pl_session_drained(struct pl_session *s);

#endif
