/*
 * The core's part of a reactor: the batch that a turn fills, the inbox, the counters.
 *
 *     read what is ready → protocols append to the batch → pl_worker_turn: run the batch under the
 *     lock, hand it to the inboxes, drain the own inbox (deliveries and completions) → the owner
 *     of the transports writes every dirty output once
 *
 * One thread drives a worker. It does no I/O and reads no clock: time comes with the turn.
 */
#ifndef PL_CORE_WORKER_H
#define PL_CORE_WORKER_H

#include "base/inbox.h"
#include "base/output.h"
#include "core/session.h"

enum { PL_WORKERS_MAX = 64 };

typedef _Atomic uint64_t pl_counter;

struct pl_counters {
#define PL_COUNTER(name, help) pl_counter name;
#include "core/counters.def"
#undef PL_COUNTER
};

/* One writer per counter: no locked instruction. */
static inline void pl_count(pl_counter *counter, uint64_t n)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

struct pl_worker_hooks {
    void *context;
    /* Any thread: makes that worker's thread call pl_worker_turn soon. */
    void (*wake)(void *context, struct pl_worker *worker);
    /* The session's reactor: finds out who this is and answers by pl_worker_logged_in, now or
     * later, from any thread. */
    void (*login)(void *context, struct pl_session *session, const struct pl_credentials *shown,
        uint64_t token);
};

struct pl_batch;

struct pl_worker {
    uint32_t index;
    const struct pl_worker_hooks *hooks;
    struct pl_output_pool outputs;
    struct pl_counters counters;
    struct pl_inbox inbox;
    struct pl_batch *open;      /* being filled in this turn, one per realm; NULL: none yet */
    atomic_size_t handed_bytes; /* payloads in its batches that some worker has not walked yet */
    uint64_t batches_opened;    /* while it stays the same, so does what pl_session_arena gave */
    struct pl_batch *free_batches;
    uint32_t free_batch_count;
    uint64_t turn; /* counts turns */
    uint64_t now_ms, now_unix_ms;
    _Atomic uint64_t tick_ms; /* of a home: when it ticks its realms next; 0: nobody has said */
    uint64_t next_session_id;
    uint64_t id_seed;           /* of public ids; secret, the same for all workers of the process */
    struct pl_arena turn_arena; /* nothing in it survives the turn */
    struct pl_replay_job *replays; /* subscriptions that read retained values or the log */
    struct pl_backlog *backlogs;   /* messages that wait for slow readers */
    struct pl_session *ending;     /* ended() or leaving is due */
    struct pl_expected *expected;  /* sessions on their way here from another worker */
    struct pl_walk *walk;          /* scratch of the delivery walk */
};

PL_MUST_USE enum pl_err pl_worker_init(
    struct pl_worker *w, uint32_t index, const struct pl_worker_hooks *hooks);
void pl_worker_done(struct pl_worker *w);

/* At the start of a turn, before any protocol runs: what time it is. */
void pl_worker_begin(struct pl_worker *w, uint64_t now_ms, uint64_t now_unix_ms);
/*
 * Runs what was asked for, delivers what the inbox holds, again while that leads to new requests (a
 * bounded number of rounds). True: there is more to do, call again without sleeping.
 */
bool pl_worker_turn(struct pl_worker *w);
/* Before sleeping. False: there are posts; turn again. After waking, pl_worker_begin. */
bool pl_worker_sleep(struct pl_worker *w);

/* The home's thread, when it begins to tick its realms: the next tick comes at at_ms, or earlier
 * (tick_ms) if a deadline of theirs is due before it. */
void pl_worker_set_tick(struct pl_worker *home, uint64_t at_ms);
/* Any thread: it must come at at_ms at the latest. True: that is earlier than it would. */
bool pl_worker_hurry_tick(struct pl_worker *home, uint64_t at_ms);

/* Any thread: runs `run` on the worker's thread, in the inbox' order. */
void pl_worker_post(struct pl_worker *w, struct pl_post *post);

/*
 * The answer to hooks->login; identity: one reference moved, NULL with an error. Any thread, once
 * per login; the session must still be there: a protocol does not free one whose login is open (it
 * leaves first, and PL_DONE_LOGIN comes before PL_DONE_LEAVE).
 */
void pl_worker_logged_in(struct pl_worker *w, struct pl_session *session, enum pl_err err,
    struct pl_identity *identity_moved, struct pl_realm *realm, uint64_t token);

#endif
