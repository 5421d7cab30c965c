/*
 * A batch: what one worker's sessions ask of one realm in one turn, and what came of it.
 *
 *     ops     filled by the sessions while they read (their worker's thread)
 *     items   filled under the realm's lock: deliveries and completions, in the order that every
 *             reactor will see
 *
 * A run batch is linked into the inbox of each worker that an item concerns. Each walks all items
 * and takes its own; the last one to finish gives the batch back. So a message lives as long as its
 * batch, without a count of its own, and costs one entry under the lock however many want it.
 *
 * Internal to the core.
 */
#ifndef PL_CORE_BATCH_H
#define PL_CORE_BATCH_H

#include "core/match.h"
#include "core/realm.h"
#include "core/worker.h"

enum pl_op_kind {
    PL_OP_NONE, /* its session has gone */
    PL_OP_PUBLISH,
    PL_OP_JOIN,
    PL_OP_CLAIM,
    PL_OP_SEAT,
    PL_OP_HOLD,
    PL_OP_SUBSCRIBE,
    PL_OP_UNSUBSCRIBE,
    PL_OP_FENCE,
    PL_OP_STATE,
    PL_OP_REPLAY,
    PL_OP_EXPIRY,
    PL_OP_DETACH,
    PL_OP_LEAVE,
    PL_OP_IDENTITY,
    PL_OP_REGISTER,
    PL_OP_UNREGISTER,
    PL_OP_CALL,
    PL_OP_CANCEL,
    PL_OP_YIELD,
    PL_OP_PASS,
    PL_OP_PRESS,
    PL_OP_TELL,
    PL_OP_CARD,
    PL_OP_READ_LOG,
};

struct pl_op {
    uint8_t kind;
    uint8_t flags;  /* PUBLISH: pl_publish_flags; DETACH, LEAVE: 1 = publish the will; CALL:
                       pl_call_flags; CANCEL: enum pl_cancel; PRESS: whether it is on */
    uint8_t err;    /* refused already: run only answers */
    uint32_t index; /* PUBLISH: the first in the batch's messages …; EXPIRY, DETACH, LEAVE: the
                       session's tenure; SUBSCRIBE: its identities */
    uint32_t count; /* … and how many; more than one only if nothing is to be answered; CLAIM: of
                       the realm's `unstored` when it was written */
    struct pl_session *session;
    uint64_t token; /* EXPIRY: milliseconds; YIELD, PASS: the invocation; TELL: to whom */
    void *subject;  /* pl_subscription, pl_expected, pl_seat, pl_replay, pl_identity, pl_callee,
                       pl_word or  pl_shared, by kind; CALL: uint64_t, the timeout, or NULL */
};

enum pl_item_kind {
    PL_ITEM_RUN,    /* messages to a match set */
    PL_ITEM_PICK,   /* messages to one subscription (queue groups) */
    PL_ITEM_REPLAY, /* kept messages to one subscription */
    PL_ITEM_DONE,
    PL_ITEM_ENDED,
    PL_ITEM_EXPECT, /* a claimed session will come here */
    PL_ITEM_TAKEN,  /* hand the session over */
    PL_ITEM_IDENTITY,
    PL_ITEM_CONTESTED, /* someone waits for the session's seat */
    PL_ITEM_INVOKE,
    PL_ITEM_INTERRUPT,
    PL_ITEM_RESULT,
    PL_ITEM_UNREGISTERED,
    PL_ITEM_PRESS,
    PL_ITEM_TOLD,
    PL_ITEM_NOTICE,
};

enum { PL_NO_MESSAGE = UINT32_MAX };

/* What an invocation needs beside its item. */
struct pl_invoke_facts {
    struct pl_callee *callee;
    struct pl_identity *caller; /* one reference, or NULL */
    uint64_t caller_id, timeout_ms;
    bool wants_progress, is_first, has_more;
};

struct pl_item {
    uint8_t kind;
    uint8_t worker; /* whom it concerns; of a RUN: see the match set */
    uint8_t err;    /* ENDED, INTERRUPT, RESULT; DONE: of the completion */
    uint8_t done;   /* DONE: enum pl_done; INTERRUPT: enum pl_cancel */
    uint8_t origin; /* REPLAY */
    bool is_resumed, is_recovered;
    bool is_on;            /* PRESS; RESULT: more follow; DONE of a log: it is the end */
    bool spares_publisher; /* RUN: whoever published does not hear it */
    uint32_t first, count; /* in the batch's messages, or in `kept`; RESULT: first may be
                              PL_NO_MESSAGE */
    union {
        struct pl_match *match;         /* RUN; one reference */
        struct pl_subscription *sub;    /* PICK, REPLAY, DONE */
        struct pl_expected *expected;   /* EXPECT, TAKEN; DONE of a claim */
        struct pl_identity *identity;   /* IDENTITY; one reference */
        struct pl_callee *callee;       /* UNREGISTERED; DONE of REGISTER, UNREGISTER */
        struct pl_invoke_facts *invoke; /* INVOKE; in the arena */
        const struct pl_word *word;     /* TOLD; in the arena */
        struct pl_notice *notice;       /* NOTICE; in the arena */
    };
    struct pl_session *session;
    uint64_t token;     /* DONE, RESULT; INVOKE, INTERRUPT: the invocation; RUN: the publisher,
                           if someone must not hear himself */
    uint64_t id;        /* DONE: of the completion */
    uint32_t receivers; /* DONE */
    struct pl_message **kept; /* REPLAY; the array in the arena, one reference each */
    struct pl_cursor cursor;  /* DONE: SUBSCRIBE */
};

/* Of PL_OP_STATE; in the arena. */
struct pl_state_note {
    struct pl_bytes key, value;
};

struct pl_log_request {
    struct pl_pattern *pattern; /* one reference */
    struct pl_cursor from;
    uint32_t max;
};

struct pl_batch_link {
    struct pl_post post;
    struct pl_batch *batch;
};

enum { PL_SLAB_COUNT = 128, PL_SLABS_KEPT = 64 };

struct pl_slab {
    struct pl_slab *next;
    struct pl_message messages[PL_SLAB_COUNT];
};

struct pl_batch {
    struct pl_batch *next;
    struct pl_worker *worker; /* whose sessions asked; whose pool it returns to */
    struct pl_realm *realm;
    struct pl_arena arena;
    struct pl_op *ops;
    uint32_t op_count, op_cap;
    struct pl_message **messages; /* in slabs, or kept with one reference */
    uint32_t message_count, message_cap;
    struct pl_item *items;
    uint32_t item_count, item_cap;
    uint32_t item_promised;     /* room that ops still to be answered must find */
    struct pl_shared **buffers; /* one reference each */
    uint32_t buffer_count, buffer_cap;
    struct pl_slab *slabs, *slab; /* all, and the one in use */
    uint32_t slab_used;
    uint32_t open_run;   /* index + 1 of the RUN item that may still grow */
    bool has_expiring;   /* a message with an expiry is in it */
    uint32_t deferred;   /* ops that wait for the disk, whose tokens may lie in its arena; under the
                            realm's lock */
    size_t bytes;        /* of its payloads */
    uint64_t concerned;  /* bit per worker that has items */
    atomic_uint walkers; /* workers that have not finished; one more while ops are deferred */
    uint32_t link_count;
    struct pl_batch_link links[];
};

/* The batch that this worker fills for the realm. NULL: no memory. */
PL_MUST_USE struct pl_batch *pl_batch_open(struct pl_worker *w, struct pl_realm *realm);
PL_MUST_USE struct pl_op *pl_batch_add_op(
    struct pl_batch *b, enum pl_op_kind kind, struct pl_session *session);
/* Its session has gone, or is about to: nothing of it is done but what it published, and nothing is
 * answered. */
void pl_op_forget(struct pl_op *op);
/* A message slot (not zeroed but its atomics) that stands in the batch; *out_index in messages. */
PL_MUST_USE struct pl_message *pl_batch_add_message(struct pl_batch *b, uint32_t *out_index);
/* A kept message, whose reference the batch takes. */
PL_MUST_USE enum pl_err pl_batch_add_kept(
    struct pl_batch *b, struct pl_message *kept_moved, uint32_t *out_index);
PL_MUST_USE enum pl_err pl_batch_hold(struct pl_batch *b, struct pl_shared *buffer);
/* Makes room for n more items beside the promised ones, so that pl_batch_item cannot fail for
 * these. */
PL_MUST_USE enum pl_err pl_batch_reserve_items(struct pl_batch *b, uint32_t n);
/* Room was reserved. Zeroed but for kind, worker. Marks the worker as concerned. */
struct pl_item *pl_batch_item(struct pl_batch *b, enum pl_item_kind kind, struct pl_worker *whom);
/* A walker has finished; the last one on its own thread gives it back to its pool. */
void pl_batch_release(struct pl_batch *b, struct pl_worker *walker);
void pl_batch_free(struct pl_batch *b);
/* Drops the references of a notice of the batch. */
void pl_notice_done(struct pl_notice *notice);

/* What pl_session_publish does with a draft that may be published: a message in the batch. */
PL_MUST_USE enum pl_err pl_session_add_message(struct pl_session *s, struct pl_batch *b,
    const struct pl_message *draft, struct pl_shared *buffer, uint32_t *out_index);
/* The op, in the batch of the session's realm; NULL: no memory, or no realm. */
PL_MUST_USE struct pl_op *pl_session_add_op(struct pl_session *s, enum pl_op_kind kind);
/* Size and name of what is published or called. */
PL_MUST_USE enum pl_err pl_session_check_draft(
    const struct pl_session *s, const struct pl_message *draft);

/* Under the lock, runs all ops and hands the batch over; after it, wakes. Consumes the batch.
 * False: no memory, nothing was run; try again. */
bool pl_realm_run(struct pl_realm *realm, struct pl_batch *b);

/* Walks a batch on one worker: deliveries and completions (deliver.c). */
void pl_walk_batch(struct pl_worker *w, struct pl_batch *b);
PL_MUST_USE struct pl_walk *pl_walk_new(void);
struct pl_walk *pl_walk_free(struct pl_walk *walk);
/* One run to one subscription, with all rules on slow readers; encodes if the form is shared. */
void pl_walk_deliver(struct pl_worker *w, struct pl_subscription *sub,
    const struct pl_message *const *messages, uint32_t count, enum pl_origin origin,
    uint64_t epoch);
/* Goes on with what waits for slow readers. True: something went out. */
bool pl_walk_backlogs(struct pl_worker *w);
/* The subscription goes, or its session does. */
void pl_backlog_drop(struct pl_worker *w, struct pl_subscription *sub);
void pl_backlog_drop_session(struct pl_worker *w, struct pl_session *session);

/*
 * A subscription that is given what was before it: retained values, or the log. Made outside the
 * lock by pl_session_subscribe, in the worker's list while it lasts.
 */
struct pl_replay_job {
    struct pl_replay_job *next;
    struct pl_session *session;
    struct pl_subscription *sub;
    bool is_history, is_started;
    bool is_asked;       /* an op is on its way; the worker's */
    atomic_bool is_over; /* set under the lock, by whatever worker; freed by its own */
    struct pl_subscribe_options options;
    struct pl_retained_cursor *retained;
    uint64_t offset;
};

/* A name that one session has, see pl_session_join_at. Guarded by the lock. */
struct pl_seat {
    struct pl_map_entry entry; /* in the realm's seats */
    struct pl_session *holder, *waiter;
    uint64_t token; /* the waiter's */
    uint8_t name[];
};

/* A named session: what the realm keeps of it. Guarded by the lock. */
struct pl_mailbox {
    struct pl_map_entry entry; /* in the realm's names */
    struct pl_session *session;
    struct pl_deadline expiry, will_due;
    uint64_t expiry_ms, will_delay_ms, will_expiry_ms;
    struct pl_message *will; /* one reference, or NULL */
    bool is_detached;
    bool is_stored; /* it is in the store, with what belongs to it */
    uint8_t name[]; /* user, 0, name */
};

/* A claim, and while its session is on the way to this worker, what came before it (mailbox.c). */
struct pl_early;
struct pl_expected {
    struct pl_expected *next;
    struct pl_post post;        /* HANDED, from the old worker */
    struct pl_worker *worker;   /* where it is expected */
    struct pl_session *claimer; /* who claimed */
    struct pl_session *session; /* who comes */
    struct pl_mailbox *mailbox; /* the claimer's, made outside the lock */
    struct pl_early *early, *early_last;
    struct pl_replay_job *replays; /* what the session brings along */
    struct pl_expected *onward;    /* taken over again before it came: where it goes next */
    uint64_t token;
    bool clean;
};

PL_MUST_USE struct pl_expected *pl_expected_new(
    struct pl_session *claimer, const struct pl_claim *claim, uint64_t token);
void pl_expected_free(struct pl_expected *e);
/* The session's entry in the worker's list of those on the way; NULL: it is here. */
struct pl_expected *pl_expected_find(struct pl_worker *w, const struct pl_session *session);
void pl_expected_keep_run(struct pl_expected *e, struct pl_subscription *sub,
    const struct pl_message *const *messages, uint32_t count, enum pl_origin origin,
    uint64_t epoch);
void pl_expected_keep_item(struct pl_expected *e, const struct pl_item *item);
/* The walking worker's sides of a takeover. */
void pl_takeover_expect(struct pl_worker *w, struct pl_expected *e);
void pl_takeover_take(struct pl_worker *w, struct pl_session *session, struct pl_expected *to);

/* What a completion or an end does, on the session's worker. */
void pl_session_dispatch(struct pl_worker *w, const struct pl_item *item);
void pl_session_call_ended(struct pl_session *s, enum pl_err why);
/* The session is gone, or another worker's: what it asked for here must not refer to it any more.
 * What it published goes out all the same. */
void pl_session_drop_ops(struct pl_worker *w, const struct pl_session *s);
/* Runs the worker's open batches now. False: no memory, they stay. */
bool pl_worker_run_open(struct pl_worker *w);
/* Works off the worker's list of ending and leaving sessions. True: there were some. */
bool pl_session_run_ending(struct pl_worker *w);
/* Reply subjects that a session may publish to once (grants.c). */
void pl_grants_add(struct pl_session *s, struct pl_bytes reply);
bool pl_grants_take(struct pl_session *s, struct pl_bytes subject);

/* Constant facts of a realm that the core needs without its lock. */
uint64_t pl_realm_epoch(const struct pl_realm *realm);
uint32_t pl_realm_worker_count(const struct pl_realm *realm);

#endif
