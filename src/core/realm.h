/*
 * A realm: an isolated subject space with its subscriptions, retained values, history and limits.
 * A monitor: one lock, taken once per batch, held over no I/O, no callback, no large allocation.
 * Nobody ever holds two realm locks.
 */
#ifndef PL_CORE_REALM_H
#define PL_CORE_REALM_H

#include "core/history.h"
#include "core/match.h"
#include "core/session.h"

struct pl_journal;

struct pl_realm_limits {
    uint32_t payload_max;       /* bytes of a published payload */
    uint32_t subject_max;       /* bytes of a name or pattern */
    uint32_t subscriptions_max; /* per session */
    uint32_t registrations_max; /* per session */
    uint32_t calls_max;         /* open ones, per session */
    uint32_t sessions_max;      /* in the realm, detached ones too */
    uint32_t retained_count_max;
    size_t retained_bytes_max;
    size_t history_bytes_max;
    uint64_t reply_grant_ms;        /* calls.timeout: how long a reply right lasts */
    uint32_t reply_grants_max;      /* per session */
    uint64_t session_expiry_max_ms; /* detached sessions end at last after this */
    uint32_t backlog_max;           /* messages that wait per slow subscription */
};

extern const struct pl_realm_limits pl_realm_limits_default;

struct pl_realm;

/* workers: borrowed array that outlives the realm. seed: for hashes and choices. NULL: no memory.
 */
PL_MUST_USE struct pl_realm *pl_realm_new(const char *name, struct pl_worker *workers,
    uint32_t worker_count, const struct pl_realm_limits *limits, uint64_t seed, uint64_t epoch);
/* All sessions have left. Accepts NULL. */
struct pl_realm *pl_realm_free(struct pl_realm *realm);
const char *pl_realm_name(const struct pl_realm *realm);
const struct pl_realm_limits *pl_realm_limits(const struct pl_realm *realm);
/* A secret: for hashes that peers must not foresee. */
uint64_t pl_realm_seed(const struct pl_realm *realm);

/* Before anyone joins. The pattern's reference is the realm's from then on. */
PL_MUST_USE enum pl_err pl_realm_add_history(struct pl_realm *realm, struct pl_history_rule rule);
/* Before anyone joins: subjects may be claimed (pl_subscribe_options). */
void pl_realm_set_claims(struct pl_realm *realm, const struct pl_history_claims *claims);

/* Where what is to outlive the process is written to, before anyone joins; NULL: nothing is any
 * more, whatever ends from here on stays in the store. Borrowed. */
void pl_realm_set_journal(struct pl_realm *realm, const struct pl_journal *journal);
/* On the home worker's thread, in the order of tickets: what became of the journal's group. */
void pl_realm_committed(
    struct pl_realm *realm, struct pl_worker *home, uint64_t ticket, enum pl_err err);

/* The realm's home worker, the first, calls it at least every second, and when a deadline is due:
 * runs deadlines (calls, wills, session expiry, identities) as a batch of that worker. When that is
 * stands in home->tick_ms, if it said by pl_worker_set_tick when it would come anyway. */
void pl_realm_tick(struct pl_realm *realm, struct pl_worker *home);

/* The server publishes: reserved names too. On the worker's thread; runs in its batch; bytes are
 * copied. */
PL_MUST_USE enum pl_err pl_realm_publish(
    struct pl_realm *realm, struct pl_worker *worker, const struct pl_message *draft);

struct pl_realm_stats {
    uint64_t sessions, sessions_detached, subscriptions, registrations, calls, retained_count,
        retained_bytes, history_count, history_bytes, publications;
};

void pl_realm_stats(struct pl_realm *realm, struct pl_realm_stats *out);

/* Calls fn for each session, or subscription, under the lock: copy what is needed, quickly. */
typedef void pl_session_fn(void *context, struct pl_session *session);
void pl_realm_each_session(struct pl_realm *realm, pl_session_fn *fn, void *context);
void pl_realm_each_subscription(struct pl_realm *realm, pl_subscription_fn *fn, void *context);

/*
 * After a reload: for each session, decide (under the lock; quick, no I/O) which identity it has
 * from now on: PL_OK and *out_identity one reference (NULL: unchanged), or an error, with which it
 * is ended. If the new identity may not have a subscription any more, the session is ended with
 * PL_REVOKED. On a worker's thread.
 */
typedef enum pl_err pl_review_fn(
    void *context, const struct pl_identity *now, struct pl_identity **out_identity);
void pl_realm_review(
    struct pl_realm *realm, struct pl_worker *worker, pl_review_fn *fn, void *context);

/* Who is told what happens in the realm (ops->noticed); one, or NULL. Set by the server before
 * anyone joins; the observer joins first and leaves last. */
void pl_realm_set_observer(struct pl_realm *realm, struct pl_session *observer);

/* Ends every session that `choose` says yes to (under the lock) with `why`; returns how many. On a
 * worker's thread. */
typedef bool pl_choose_fn(void *context, const struct pl_session *session);
size_t pl_realm_end_sessions(struct pl_realm *realm, struct pl_worker *worker, pl_choose_fn *choose,
    void *context, enum pl_err why);

#endif
