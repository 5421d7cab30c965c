/*
 * A reactor: a thread with an event loop that owns its connections for life.
 *
 *     sleep → read what is ready (connections call their owner) → timers → turn → one write per
 *     connection that has something to say → sleep
 *
 * The reactor knows nothing of the core; the server gives it three functions, which it fills with
 * pl_worker_begin, pl_worker_turn and pl_worker_sleep:
 *
 *     static const struct pl_reactor_ops ops = {.begin = …, .turn = …, .sleep = …};
 *     pl_reactor_new(&(struct pl_reactor_options){.ops = &ops, .context = shard,
 *                        .outputs = &shard->worker.outputs}, &reactor, &diag);
 *     …open listeners…
 *     pl_reactor_start(reactor);
 *     …
 *     pl_reactor_stop(reactor);
 *     pl_reactor_join(reactor);
 *     reactor = pl_reactor_free(reactor);
 *
 * Every output that links itself into `outputs` must be the one of a pl_conn of this reactor.
 * Functions are for the reactor's own thread, or for any before it was started, unless they say
 * "any thread".
 */
#ifndef PL_NET_REACTOR_H
#define PL_NET_REACTOR_H

#include "base/bytes.h"
#include "base/heap.h"
#include "base/inbox.h"

struct pl_output_pool;
struct pl_reactor;
struct pl_conn;

struct pl_reactor_ops {
    /* A turn begins: what time it is. Comes before anything else in the turn. */
    void (*begin)(void *context, uint64_t now_ms, uint64_t now_unix_ms);
    /* The input is read: do it. True: there is more to do, so come again without sleeping. */
    bool (*turn)(void *context);
    /* May the thread sleep? After true, whoever brings work calls pl_reactor_wake. */
    bool (*sleep)(void *context);
};

struct pl_reactor_options {
    const struct pl_reactor_ops *ops; /* borrowed, constant */
    void *context;
    struct pl_output_pool *outputs; /* borrowed; outlives the reactor */
};

PL_MUST_USE enum pl_err pl_reactor_new(
    const struct pl_reactor_options *options, struct pl_reactor **out, struct pl_diag *diag);

/* Runs in a thread of its own, named name (15 characters). SIGPIPE and what the process handles
 * elsewhere are blocked in it. */
PL_MUST_USE enum pl_err pl_reactor_start(
    struct pl_reactor *reactor, const char *name, struct pl_diag *diag);
/* Runs in the calling thread, until it is stopped. */
void pl_reactor_run(struct pl_reactor *reactor);

/* Any thread, once. Connections that are still there are aborted (on_close, PL_DRAINING), turns go
 * on until there is nothing more to do, then the thread ends. */
void pl_reactor_stop(struct pl_reactor *reactor);
/* Waits for the thread; does nothing for one that was not started. */
void pl_reactor_join(struct pl_reactor *reactor);
/* After join, or if it never ran. Returns NULL. */
struct pl_reactor *pl_reactor_free(struct pl_reactor *reactor);

/* Any thread: there is work for ops->turn. */
void pl_reactor_wake(struct pl_reactor *reactor);
/* Any thread: run(post, reactor) runs on the reactor's thread, before ops->turn of the next turn.
 */
void pl_reactor_post(struct pl_reactor *reactor, struct pl_post *post);

/* The monotonic clock of this turn: what ops->begin was told. */
uint64_t pl_reactor_now_ms(const struct pl_reactor *reactor);
/* The monotonic clock itself. Any thread. */
uint64_t pl_clock_ms(void);
/* The wall clock. Any thread. */
uint64_t pl_clock_unix_ms(void);

void *pl_reactor_context(const struct pl_reactor *reactor);

/* How many connections it has. Any thread. */
size_t pl_reactor_conn_count(const struct pl_reactor *reactor);
/* Bytes that came from and went to the sockets of its connections so far. Any thread. */
uint64_t pl_reactor_bytes_in(const struct pl_reactor *reactor);
uint64_t pl_reactor_bytes_out(const struct pl_reactor *reactor);
/* Calls visit for each open connection. visit may close it. */
void pl_reactor_each_conn(
    struct pl_reactor *reactor, void (*visit)(struct pl_conn *conn, void *context), void *context);

/* How late the loop is: milliseconds that the longest of the recent turns took. Any thread. */
uint32_t pl_reactor_lag_ms(const struct pl_reactor *reactor);

/* A timer; embedded in what waits. Zeroed but for run before its first use. */
struct pl_timer {
    struct pl_deadline deadline;
    void (*run)(struct pl_timer *timer, uint64_t now_ms); /* once per set; may set it again */
};

/* Sets or moves it; at_ms PL_NEVER removes it. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_timer_set(
    struct pl_reactor *reactor, struct pl_timer *timer, uint64_t at_ms);

#endif
