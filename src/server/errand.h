/*
 * A request that a thread of a pool answers, for one connection.
 *
 *     begun on the shard → (waits in a line) → with a thread ⇄ on the shard, where bytes go out
 *
 * At most so many errands of a line are under way; the others wait. One that is done leaves when
 * its last piece is read. Its connection may go at any time: the errand ends when it is on the
 * shard again.
 *
 * What an errand is about stands in a struct around it, which `done` frees.
 */
#ifndef PL_SERVER_ERRAND_H
#define PL_SERVER_ERRAND_H

#include "base/pool.h"
#include "server/state.h"
#include "web/site.h"

struct pl_errand;

/* Answers by the first digit of their status. */
struct pl_web_tally {
    atomic_ullong answers[10];
};
static inline void pl_web_tally_add(struct pl_web_tally *tally, unsigned digit)
{
    atomic_fetch_add_explicit(&tally->answers[digit % 10], 1, memory_order_relaxed);
}

struct pl_line {
    struct pl_web_tally *tally; /* borrowed */
    struct pl_pool *pool;       /* owned */
    uint32_t open_max, waiting_max;
    uint64_t timeout_ms, idle_ms; /* of a client that takes nothing; between requests */
    pthread_mutex_t lock;         /* guards all below */
    uint32_t open;                /* errands under way */
    uint32_t waiting;
    struct pl_errand *first, *last; /* these wait */
};

struct pl_errand_ops {
    /* On a thread of the pool: fills x->result. */
    enum pl_err (*work)(struct pl_errand *x);
    /* On the shard: something is to be said about it, before its bytes go out; may be NULL. */
    void (*tell)(struct pl_errand *x);
    void (*done)(struct pl_errand *x);
    /* It holds its place in the line until the client has taken all. */
    bool keeps_place;
};

struct pl_errand {
    struct pl_answer answer;
    struct pl_pool_job job;
    const struct pl_errand_ops *ops;
    struct pl_line *line;
    /* While it waits, who leaves the line writes these. */
    struct pl_errand *next;
    bool has_slot; /* counted in line->open */
    struct pl_web_answer result;
    struct pl_shared *piece; /* owned; what was read */
    enum pl_err err;
    size_t output_max;   /* the connection's own */
    bool has_begun;      /* the head is on its way */
    bool is_away;        /* not on the shard; the shard's to know */
    atomic_bool is_gone; /* nobody waits for it */
};

PL_MUST_USE enum pl_err pl_line_init(
    struct pl_line *line, uint32_t threads, uint32_t open_max, uint32_t waiting_max);
uint32_t pl_line_waiting(struct pl_line *line);
/* Before the reactors end: no errand is with a thread or waits for one any more. */
void pl_line_end(struct pl_line *line);
/* After them. */
void pl_line_done(struct pl_line *line);

/* The connection waits for x from now on; x is zeroed but for what surrounds it. answer_ops: NULL,
 * or of who gathers a body first; then pl_errand_drained and pl_errand_gone are to be in it. */
void pl_errand_begin(struct pl_errand *x, struct pl_conn *conn, struct pl_line *line,
    const struct pl_errand_ops *ops, const struct pl_answer_ops *answer_ops, bool keeps_alive);
/* Nothing more is read of the connection until x is done: to a thread, or into the line. */
void pl_errand_submit(struct pl_errand *x);
/* Ends it before that: the caller has answered. */
void pl_errand_cancel(struct pl_errand *x);

void pl_errand_drained(struct pl_answer *answer);
void pl_errand_gone(struct pl_answer *answer);

/* The client has so long to do its part. */
void pl_errand_wait_for_client(const struct pl_errand *x);

#endif
