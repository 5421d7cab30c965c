#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/alloc.h"

enum { THREADS_MAX = 64, STACK_SIZE = 256 << 10 };

struct pl_pool {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct pl_pool_job *head, *tail;
    uint32_t queued, queue_max;
    uint32_t started, thread_max;
    bool is_ending;
    pthread_t threads[THREADS_MAX];
};

struct pl_pool *pl_pool_new(uint32_t threads, uint32_t queue_max)
{
    struct pl_pool *pool = pl_zalloc(sizeof(*pool));
    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pool->queue_max = queue_max;
    pool->thread_max = threads < THREADS_MAX ? threads : THREADS_MAX;
    return pool;
}

static struct pl_pool_job *take(struct pl_pool *pool)
{
    struct pl_pool_job *job = pool->head;
    if (job) {
        pool->head = job->next;
        pool->queued--;
    }
    return job;
}

static void *work(void *context)
{
    struct pl_pool *pool = context;
    pthread_mutex_lock(&pool->lock);
    while (!pool->is_ending) {
        struct pl_pool_job *job = take(pool);
        if (!job) {
            pthread_cond_wait(&pool->changed, &pool->lock);
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        job->run(job);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the main thread. */
static bool start_thread(struct pl_pool *pool)
{
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    bool ok = pthread_create(&pool->threads[pool->started], &attr, work, pool) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok)
        pool->started++;
    return ok;
}

enum pl_err pl_pool_submit(struct pl_pool *pool, struct pl_pool_job *job)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->started < pool->thread_max && !pool->is_ending)
        start_thread(pool);
    bool ok = pool->started > 0 && pool->queued < pool->queue_max && !pool->is_ending;
    if (ok) {
        job->next = NULL;
        if (pool->head)
            pool->tail->next = job;
        else
            pool->head = job;
        pool->tail = job;
        pool->queued++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    return ok ? PL_OK : PL_LIMIT;
}

void pl_pool_end(struct pl_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->is_ending = true; /* from here on no thread is started and no job taken in */
    uint32_t started = pool->started;
    pool->started = 0;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(pool->threads[i], NULL);
    for (struct pl_pool_job *job; (job = take(pool)) != NULL;)
        job->drop(job);
}

struct pl_pool *pl_pool_free(struct pl_pool *pool)
{
    if (!pool)
        return NULL;
    pl_pool_end(pool);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    pl_free(pool);
    return NULL;
}
