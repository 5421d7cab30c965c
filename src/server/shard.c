/*
 * A shard's turn, the home's tick, and how connections are told that the server goes down.
 *
 *     begin → (net reads, connections call protocols) → turn: the core's → (net writes) → sleep
 */
#include <errno.h>
#include <semaphore.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "server/notify.h"
#include "server/longpoll.h"
#include "server/state.h"

enum { STALLED_EVERY_MS = 20, DRAIN_EVERY_MS = 20 };

/* ---- A turn ---- */

static void tell_queued(struct pl_shard *shard)
{
    size_t bytes = shard->worker->outputs.bytes;
    if (bytes == shard->queued_told)
        return;
    /* Wraps around where it has fallen, as unsigned numbers do. */
    atomic_fetch_add_explicit(
        &shard->server->queued, bytes - shard->queued_told, memory_order_relaxed);
    shard->queued_told = bytes;
}

bool pl_shard_is_full(const struct pl_shard *shard, size_t limit)
{
    return atomic_load_explicit(&shard->server->queued, memory_order_relaxed) > limit ||
           atomic_load_explicit(&shard->worker->handed_bytes, memory_order_relaxed) > limit;
}

static bool has_room(const struct pl_shard *shard)
{
    return !pl_shard_is_full(shard, shard->server->config->limits.queued / 2);
}

void pl_shard_look_soon(struct pl_shard *shard)
{
    uint64_t soon_ms = pl_reactor_now_ms(shard->reactor) + STALLED_EVERY_MS;
    if (shard->tick.deadline.at_ms > soon_ms)
        /* It stands in the heap, so it only moves. */
        (void)!pl_timer_set(shard->reactor, &shard->tick, soon_ms);
}

static void begin(void *context, uint64_t now_ms, uint64_t now_unix_ms)
{
    struct pl_shard *shard = context;
    pl_worker_begin(shard->worker, now_ms, now_unix_ms);
    tell_queued(shard);
}

/* A deadline may have come that is due before the home's tick. */
static void keep_tick(struct pl_shard *shard)
{
    uint64_t tick_ms = atomic_load_explicit(&shard->worker->tick_ms, memory_order_relaxed);
    if (tick_ms < shard->tick.deadline.at_ms)
        /* It stands in the heap, so it only moves. */
        (void)!pl_timer_set(shard->reactor, &shard->tick, tick_ms);
}

static bool turn(void *context)
{
    struct pl_shard *shard = context;
    bool more = pl_worker_turn(shard->worker);
    tell_queued(shard);
    if (shard->index == 0)
        keep_tick(shard);
    if (shard->stalled && has_room(shard))
        pl_connection_unstall(shard);
    return more;
}

static bool may_sleep(void *context)
{
    const struct pl_shard *shard = context;
    return pl_worker_sleep(shard->worker);
}

static const struct pl_reactor_ops reactor_ops = {
    .begin = begin,
    .turn = turn,
    .sleep = may_sleep,
};

static void wake(void *context, struct pl_worker *worker)
{
    struct pl_server *server = context;
    pl_reactor_wake(server->shards[worker->index].reactor);
}

/* Two threads at the turn of a second may both begin it anew: a few lines more. */
bool pl_server_may_log(struct pl_server *server)
{
    struct pl_log_limit *logs = &server->logs;
    uint64_t second = pl_clock_ms() / 1000;
    if (atomic_exchange(&logs->second, second) != second) {
        atomic_store(&logs->written, 0);
        unsigned lost = atomic_exchange(&logs->lost, 0);
        if (lost)
            pl_log(PL_LOG_WARN, "log_lines_left_out", "count=%u", lost);
    }
    if (atomic_fetch_add(&logs->written, 1) < PL_LOGS_PER_SECOND)
        return true;
    atomic_fetch_add(&logs->lost, 1);
    return false;
}

/* ---- Ticks ---- */

static void tick_home(struct pl_server *server, uint64_t now_ms)
{
    struct pl_worker *worker = server->shards[0].worker;
    pl_worker_set_tick(worker, now_ms + PL_TURN_EVERY_MS);
    for (uint32_t i = 0; i < server->realm_count; i++)
        pl_realm_tick(server->realms[i], worker);
    pl_sys_tick(server, now_ms);
    if (!server->is_embedded)
        pl_notify_watchdog();
}

static void tick(struct pl_timer *timer, uint64_t now_ms)
{
    struct pl_shard *shard = PL_CONTAINER(timer, struct pl_shard, tick);
    uint64_t next_ms = now_ms + PL_TURN_EVERY_MS;
    if (shard->index == 0)
        tick_home(shard->server, now_ms);
    if (shard->stalled && has_room(shard))
        pl_connection_unstall(shard);
    if (shard->stalled && next_ms > now_ms + STALLED_EVERY_MS)
        next_ms = now_ms + STALLED_EVERY_MS;
    enum pl_err err = pl_timer_set(shard->reactor, timer, next_ms);
    PL_ASSERT(err == PL_OK); /* It has just left its place in the heap. */
}

/* ---- Going down ---- */

struct drain_walk {
    struct pl_shard *shard;
    uint64_t share; /* of 1000: which part of the connections has been told by now */
    uint32_t clients;
};

static void drain_one(struct pl_conn *conn, void *context)
{
    struct drain_walk *walk = context;
    struct pl_connection_facts facts = pl_connection_facts(conn);
    if (!facts.place || !facts.place->port)
        return; /* The admin listener stays to the end. */
    walk->clients++;
    /* The id decides when, so that each is told once and they spread evenly. */
    if (pl_hash(1, pl_bytes_of(&facts.id, sizeof facts.id)) % 1000 < walk->share)
        pl_connection_drain(conn);
}

static void drain_step(struct pl_timer *timer, uint64_t now_ms)
{
    struct pl_shard *shard = PL_CONTAINER(timer, struct pl_shard, drain);
    uint64_t elapsed = now_ms - shard->drain_from_ms;
    struct drain_walk walk = {
        .shard = shard,
        .share = elapsed >= shard->drain_spread_ms ? 1000 : elapsed * 1000 / shard->drain_spread_ms,
    };
    pl_longpolls_drain(shard);
    pl_reactor_each_conn(shard->reactor, drain_one, &walk);
    if (walk.clients == 0 && !shard->is_drained) {
        shard->is_drained = true;
        atomic_fetch_add(&shard->server->drained, 1);
    }
    enum pl_err err = pl_timer_set(shard->reactor, timer, now_ms + DRAIN_EVERY_MS);
    PL_ASSERT(err == PL_OK || err == PL_NO_MEMORY);
}

static void on_drain(struct pl_post *post, void *context)
{
    struct pl_shard *shard = PL_CONTAINER(post, struct pl_shard, drain_post);
    (void)context;
    shard->drain_from_ms = pl_reactor_now_ms(shard->reactor);
    shard->drain_spread_ms = shard->server->config->drain.spread_ms;
    drain_step(&shard->drain, shard->drain_from_ms);
}

void pl_shards_drain(struct pl_server *server)
{
    for (uint32_t i = 0; i < server->shard_count; i++)
        /* By the worker's inbox: behind the deliveries that stand there already. */
        pl_worker_post(server->shards[i].worker, &server->shards[i].drain_post);
}

static void close_one(struct pl_conn *conn, void *context)
{
    (void)context;
    pl_conn_close(conn, PL_DRAINING, NULL);
}

static void on_close(struct pl_post *post, void *context)
{
    struct pl_shard *shard = PL_CONTAINER(post, struct pl_shard, close_post);
    (void)context;
    (void)!pl_timer_set(shard->reactor, &shard->drain, PL_NEVER);
    pl_longpolls_close(shard);
    pl_reactor_each_conn(shard->reactor, close_one, NULL);
}

void pl_shards_close(struct pl_server *server)
{
    for (uint32_t i = 0; i < server->shard_count; i++)
        pl_reactor_post(server->shards[i].reactor, &server->shards[i].close_post);
}

bool pl_shards_are_empty(const struct pl_server *server)
{
    for (uint32_t i = 0; i < server->shard_count; i++) {
        if (pl_reactor_conn_count(server->shards[i].reactor))
            return false;
    }
    return true;
}

/* ---- Life ---- */

static const struct pl_worker_hooks hooks_proto = {.wake = wake, .login = pl_login_hook};

enum pl_err pl_shards_open(struct pl_server *server, struct pl_diag *diag)
{
    server->shards = pl_zalloc(server->shard_count * sizeof *server->shards);
    server->workers = pl_zalloc(server->shard_count * sizeof *server->workers);
    if (!server->shards || !server->workers)
        return PL_NO_MEMORY;
    server->hooks = hooks_proto;
    server->hooks.context = server;
    uint64_t id_seed;
    if (getrandom(&id_seed, sizeof id_seed, 0) != (ssize_t)sizeof id_seed)
        return PL_IO;
    for (uint32_t i = 0; i < server->shard_count; i++) {
        struct pl_shard *shard = &server->shards[i];
        shard->server = server;
        shard->index = i;
        shard->worker = &server->workers[i];
        shard->tick.run = tick;
        shard->drain.run = drain_step;
        shard->drain_post.run = on_drain;
        shard->close_post.run = on_close;
        enum pl_err err = pl_worker_init(shard->worker, i, &server->hooks);
        shard->worker->id_seed = id_seed;
        if (!err)
            err = pl_reactor_new(
                &(struct pl_reactor_options){
                    .ops = &reactor_ops, .context = shard, .outputs = &shard->worker->outputs},
                &shard->reactor, diag);
        if (err)
            return err;
        pl_worker_begin(shard->worker, pl_clock_ms(), pl_clock_unix_ms());
    }
    return PL_OK;
}

enum pl_err pl_shards_start(struct pl_server *server, struct pl_diag *diag)
{
    for (uint32_t i = 0; i < server->shard_count; i++) {
        struct pl_shard *shard = &server->shards[i];
        char name[24];
        snprintf(name, sizeof name, "parley-%u", i);
        /* The home's first tick publishes $SYS, before anyone can ask for it. */
        enum pl_err err = pl_timer_set(shard->reactor, &shard->tick, pl_clock_ms());
        if (!err)
            err = pl_reactor_start(shard->reactor, name, diag);
        if (err)
            return err;
    }
    return PL_OK;
}

void pl_shards_stop(struct pl_server *server)
{
    for (uint32_t i = 0; server->shards && i < server->shard_count; i++) {
        if (server->shards[i].reactor)
            pl_reactor_stop(server->shards[i].reactor);
    }
    for (uint32_t i = 0; server->shards && i < server->shard_count; i++) {
        if (server->shards[i].reactor)
            pl_reactor_join(server->shards[i].reactor);
    }
}

void pl_shards_free(struct pl_server *server)
{
    for (uint32_t i = 0; server->shards && i < server->shard_count; i++) {
        pl_longpolls_free(&server->shards[i]);
        if (server->shards[i].reactor)
            pl_reactor_free(server->shards[i].reactor);
    }
    for (uint32_t i = 0; server->workers && i < server->shard_count; i++)
        pl_worker_done(&server->workers[i]);
    pl_free(server->shards);
    pl_free(server->workers);
    server->shards = NULL;
    server->workers = NULL;
}

struct home_run {
    struct pl_post post;
    struct pl_server *server;
    void (*run)(struct pl_server *server);
    sem_t done;
};

static void on_home(struct pl_post *post, void *context)
{
    struct home_run *home = PL_CONTAINER(post, struct home_run, post);
    (void)context;
    home->run(home->server);
    sem_post(&home->done);
}

void pl_home_run(struct pl_server *server, void (*run)(struct pl_server *server))
{
    struct home_run home = {.post.run = on_home, .server = server, .run = run};
    sem_init(&home.done, 0, 0);
    pl_reactor_post(server->shards[0].reactor, &home.post);
    while (sem_wait(&home.done) != 0 && errno == EINTR)
        ;
    sem_destroy(&home.done);
}
