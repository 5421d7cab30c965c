/*
 * Open calls of a realm (call.h): who asked, who answers, until when. Internal to the core; guarded
 * by the realm's lock.
 */
#ifndef PL_CORE_DEALER_H
#define PL_CORE_DEALER_H

#include "base/map.h"
#include "core/registrations.h"
#include "core/session.h"

struct pl_realm;
struct pl_runner;
struct pl_op;

/* Where the answers of a message's call go. One block. */
struct pl_sink {
    bool grants; /* the requester could publish there itself, or it is an inbox */
    struct pl_bytes reply, correlation;
    uint8_t bytes[];
};

/* What finds a call: a session and its own number of it. */
struct pl_call_key {
    uint64_t session, number;
};

enum { PL_CALL_TRIES_MAX = 8, PL_CALL_REPLY_LEN = 7 + 32 };

struct pl_call {
    struct pl_deadline deadline;
    struct pl_map_entry by_caller,
        by_callee; /* by_callee: by reply subject if subscriptions answer */
    struct pl_call_key caller_key, callee_key;
    struct pl_session *caller; /* NULL: a message's */
    struct pl_session *callee; /* NULL: subscriptions answer */
    struct pl_call *caller_next, **caller_at, *callee_next, **callee_at;
    struct pl_callee *offer;      /* NULL: it was unregistered since */
    struct pl_identity *identity; /* the caller's; one reference */
    uint64_t caller_id;
    struct pl_sink *sink;    /* a message's; owned */
    struct pl_message *kept; /* the first; one reference. Where another callee may be asked, or
                                parts follow; or NULL */
    uint64_t tried[PL_CALL_TRIES_MAX]; /* sessions that were asked before */
    uint64_t timeout_ms;               /* 0: none */
    uint8_t tried_count, callee_flags;
    bool wants_progress, has_more, keeps_time;
    bool is_parted; /* further parts came, which are not kept: no other callee can be asked */
    bool is_stuck;
    bool is_killed;   /* canceled: the callee's answer is waited for */
    bool is_pressing; /* its caller reads too slowly: the callee is not read from */
    char reply[PL_CALL_REPLY_LEN + 1];
    struct pl_call *next; /* in a list: free ones, ones that could not be ended */
};

struct pl_dealer {
    struct pl_registrations registrations;
    struct pl_map by_caller, by_callee, by_reply;
    struct pl_call *free, *stuck; /* stuck: ended, and there was no memory to say so */
    uint32_t open_count, free_count;
    uint8_t key[16]; /* of reply subjects */
    uint64_t replies;
};

void pl_dealer_init(struct pl_dealer *dealer, uint64_t seed);
void pl_dealer_done(struct pl_dealer *dealer);

/* ---- Ops; under the lock ---- */

void pl_run_register(struct pl_runner *r, const struct pl_op *op);
void pl_run_unregister(struct pl_runner *r, const struct pl_op *op);
void pl_run_call(struct pl_runner *r, const struct pl_op *op);
void pl_run_cancel(struct pl_runner *r, const struct pl_op *op);
void pl_run_yield(struct pl_runner *r, const struct pl_op *op);
void pl_run_pass(struct pl_runner *r, const struct pl_op *op);
void pl_run_press(struct pl_runner *r, const struct pl_op *op);

/*
 * A message with a reply subject: if there is a registration of its subject it becomes a call of
 * it, and subscribers do not see the reply subject. True: it was called, or its publisher may not.
 */
bool pl_run_request(struct pl_runner *r, struct pl_session *publisher, uint32_t index);
/* A publication to a reply subject of ours: is the answer to a call. True: it was, and is done. */
bool pl_run_reply(struct pl_runner *r, uint32_t index);
/* The session is leaving: its offers go, its calls end on both sides. */
void pl_run_drop_calls(struct pl_runner *r, struct pl_session *s);
void pl_run_call_due(struct pl_runner *r, struct pl_deadline *due);
/* Says what could not be said before. */
void pl_run_stuck_calls(struct pl_runner *r);

/* Ends an offer; calls that it has taken go on. */
void pl_run_withdraw(struct pl_runner *r, struct pl_callee *callee);
/* The callee whose turn it is; NULL: all are busy or were asked for this call. */
struct pl_callee *pl_dealer_choose(
    struct pl_realm *realm, const struct pl_call *call, struct pl_registration *reg);

/* ---- Walking; on the target's worker ---- */

struct pl_item;
struct pl_batch;
void pl_walk_call(struct pl_batch *b, const struct pl_item *item);

#endif
