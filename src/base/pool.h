/*
 * A few threads for work that takes a reactor too long, behind a bounded queue.
 *
 * The threads begin with the first job. A job is embedded in what it works on, and belongs to the
 * pool until run or drop is called, once, one of them.
 */
#ifndef PL_BASE_POOL_H
#define PL_BASE_POOL_H

#include "base/err.h"

struct pl_pool_job {
    struct pl_pool_job *next;
    void (*run)(struct pl_pool_job *job);  /* on a thread of the pool */
    void (*drop)(struct pl_pool_job *job); /* the pool ends, on the thread that ends it */
};

struct pl_pool;

PL_MUST_USE struct pl_pool *pl_pool_new(uint32_t threads, uint32_t queue_max);
/* Waits for what runs, drops what waits, and takes nothing more. Any thread but its own, once or
 * several times; pl_pool_free does it too. */
void pl_pool_end(struct pl_pool *pool);
/* Returns NULL; accepts NULL. */
struct pl_pool *pl_pool_free(struct pl_pool *pool);

/* Any thread. PL_LIMIT: the queue is full, there is not one thread to be had, or it has ended. */
PL_MUST_USE enum pl_err pl_pool_submit(struct pl_pool *pool, struct pl_pool_job *job);

#endif
