#include "core/worker.h"

#include "base/alloc.h"
#include "core/batch.h"

enum { ROUNDS_MAX = 8 };

enum pl_err pl_worker_init(struct pl_worker *w, uint32_t index, const struct pl_worker_hooks *hooks)
{
    *w = (struct pl_worker){.index = index, .hooks = hooks};
    /* Ids of different workers never meet: the upper bits say whose they are. */
    w->next_session_id = (uint64_t)(index + 1) << 40;
    w->walk = pl_walk_new();
    if (!w->walk)
        return PL_NO_MEMORY;
    pl_inbox_init(&w->inbox);
    return PL_OK;
}

static void free_batches(struct pl_batch *b)
{
    while (b) {
        struct pl_batch *next = b->next;
        pl_batch_free(b);
        b = next;
    }
}

void pl_worker_done(struct pl_worker *w)
{
    if (!w->walk)
        return;
    free_batches(w->open);
    free_batches(w->free_batches);
    while (w->replays) {
        struct pl_replay_job *next = w->replays->next;
        pl_free(w->replays);
        w->replays = next;
    }
    pl_arena_done(&w->turn_arena);
    pl_output_pool_done(&w->outputs);
    pl_inbox_done(&w->inbox);
    w->walk = pl_walk_free(w->walk);
}

void pl_worker_begin(struct pl_worker *w, uint64_t now_ms, uint64_t now_unix_ms)
{
    w->now_ms = now_ms;
    w->now_unix_ms = now_unix_ms;
    w->turn++;
}

/* Asks for the next step of each replay whose reader has room; forgets those that are over. */
static void ask_replays(struct pl_worker *w)
{
    for (struct pl_replay_job **at = &w->replays; *at;) {
        struct pl_replay_job *job = *at;
        if (atomic_load_explicit(&job->is_over, memory_order_acquire) && !job->is_asked) {
            *at = job->next;
            pl_free(job);
            continue;
        }
        at = &job->next;
        if (!job->is_started || job->is_asked)
            continue;
        const struct pl_output *out = job->session->out;
        if (out && out->bytes > out->bytes_max / 2)
            continue;
        struct pl_batch *b = pl_batch_open(w, job->session->realm);
        struct pl_op *op = b ? pl_batch_add_op(b, PL_OP_REPLAY, job->session) : NULL;
        if (op) {
            op->subject = job;
            job->is_asked = true;
        }
    }
}

bool pl_worker_run_open(struct pl_worker *w)
{
    struct pl_batch *b = w->open, *stuck = NULL;
    w->open = NULL;
    while (b) {
        struct pl_batch *next = b->next;
        b->next = NULL;
        if (!b->op_count) { /* opened for its arena alone */
            atomic_store_explicit(&b->walkers, 1, memory_order_relaxed);
            b->bytes = 0; /* a message may stand there whose op met no memory */
            pl_batch_release(b, w);
        } else if (!pl_realm_run(b->realm, b)) {
            b->next = stuck;
            stuck = b;
        }
        b = next;
    }
    w->open = stuck;
    return !stuck;
}

bool pl_worker_turn(struct pl_worker *w)
{
    bool is_stuck = false, any = true;
    for (int round = 0; any && !is_stuck && round < ROUNDS_MAX; round++) {
        if (w->replays)
            ask_replays(w);
        any = w->open != NULL;
        is_stuck = any && !pl_worker_run_open(w);
        struct pl_post *post = pl_inbox_take(&w->inbox);
        any |= post != NULL;
        while (post) {
            struct pl_post *next = post->next;
            post->run(post, w);
            post = next;
        }
        if (w->backlogs)
            any |= pl_walk_backlogs(w);
        if (w->ending)
            any |= pl_session_run_ending(w);
    }
    pl_arena_reset(&w->turn_arena);
    return any || is_stuck || w->open != NULL || w->ending != NULL;
}

bool pl_worker_sleep(struct pl_worker *w)
{
    return !w->open && pl_inbox_sleep(&w->inbox);
}

void pl_worker_set_tick(struct pl_worker *home, uint64_t at_ms)
{
    atomic_store_explicit(&home->tick_ms, at_ms, memory_order_relaxed);
}

bool pl_worker_hurry_tick(struct pl_worker *home, uint64_t at_ms)
{
    uint64_t tick_ms = atomic_load_explicit(&home->tick_ms, memory_order_relaxed);
    while (at_ms < tick_ms)
        if (atomic_compare_exchange_weak_explicit(
                &home->tick_ms, &tick_ms, at_ms, memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

void pl_worker_post(struct pl_worker *w, struct pl_post *post)
{
    if (pl_inbox_push(&w->inbox, post))
        w->hooks->wake(w->hooks->context, w);
}
