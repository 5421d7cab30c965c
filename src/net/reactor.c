/*
 * The loop of a reactor, on libuv.
 *
 *     prepare   nothing to do? then the poll may wait, else `idle` makes it return at once
 *     (poll)    reads: connections → owners → the batch
 *     check     end of the turn
 *
 * libuv has no hook between the poll's return and the first callback, so each callback of ours
 * enters the turn itself (pl_reactor_enter), and only the first one in a turn does anything.
 *
 * A turn also ends in the middle of a poll when TURN_READ_MAX bytes have been read: what they
 * became stays in the processor's cache, and the memory of one turn is bounded.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "codec/deflate.h"
#include "net/state.h"

enum { LAG_DECAY = 8, UNIX_EVERY_MS = 500 };

uint64_t pl_clock_ms(void)
{
    return uv_hrtime() / 1000000;
}

uint64_t pl_clock_unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void pl_reactor_begin_turn(struct pl_reactor *r)
{
    r->in_turn = true;
    r->now_ms = uv_now(&r->loop);
    /* Who has slept as long as it was late is late no more. */
    if (r->now_ms - r->ended_ms > atomic_load_explicit(&r->lag_ms, memory_order_relaxed))
        atomic_store_explicit(&r->lag_ms, 0, memory_order_relaxed);
    /* The two clocks go side by side; a step of the second one is noticed a little later. */
    if (r->now_ms >= r->unix_next_ms) {
        r->unix_ahead_ms = pl_clock_unix_ms() - r->now_ms;
        r->unix_next_ms = r->now_ms + UNIX_EVERY_MS;
    }
    r->ops->begin(r->context, r->now_ms, r->now_ms + r->unix_ahead_ms);
}

void pl_reactor_add_due(struct pl_reactor *r, struct pl_conn *conn)
{
    if (conn->is_due)
        return;
    conn->is_due = true;
    conn->next_due = NULL;
    *r->due_at = conn;
    r->due_at = &conn->next_due;
}

void pl_reactor_remove_due(struct pl_reactor *r, struct pl_conn *conn)
{
    if (!conn->is_due)
        return;
    for (struct pl_conn **at = &r->due; *at; at = &(*at)->next_due)
        if (*at == conn) {
            *at = conn->next_due;
            if (r->due_at == &conn->next_due)
                r->due_at = at;
            conn->is_due = false;
            return;
        }
}

static void care_for_due(struct pl_reactor *r, bool after_turn)
{
    struct pl_conn *conn = r->due;
    r->due = NULL;
    r->due_at = &r->due;
    while (conn) {
        struct pl_conn *next = conn->next_due;
        conn->is_due = false;
        pl_conn_care(conn, after_turn);
        conn = next;
    }
}

static void run_posts(struct pl_reactor *r)
{
    struct pl_post *post = pl_inbox_take(&r->inbox);
    while (post) {
        struct pl_post *next = post->next;
        post->run(post, r);
        post = next;
    }
}

static void run_timers(struct pl_reactor *r)
{
    /* What is set anew while we are here waits for the next turn, so that nobody can keep us. */
    for (uint32_t left = r->heap.count; left; left--) {
        struct pl_deadline *d = pl_heap_pop_due(&r->heap, r->now_ms);
        if (!d)
            break;
        if (d->kind == DEADLINE_CONN) {
            pl_conn_on_deadline(PL_CONTAINER(d, struct pl_conn, timer), r->now_ms);
        } else {
            struct pl_timer *timer = PL_CONTAINER(d, struct pl_timer, deadline);
            timer->run(timer, r->now_ms);
        }
    }
}

static void note_lag(struct pl_reactor *r)
{
    uv_update_time(&r->loop);
    r->ended_ms = uv_now(&r->loop);
    uint64_t took = r->ended_ms - r->now_ms;
    uint64_t lag = atomic_load_explicit(&r->lag_ms, memory_order_relaxed);
    uint64_t next = took >= lag ? took : lag - (lag + LAG_DECAY - 1) / LAG_DECAY;
    if (next != lag)
        atomic_store_explicit(
            &r->lag_ms, next > UINT32_MAX ? UINT32_MAX : (unsigned)next, memory_order_relaxed);
}

void pl_reactor_end_turn(struct pl_reactor *r)
{
    pl_reactor_enter(r);
    run_posts(r);
    run_timers(r);
    /* Ends come before the turn, so that what they lead to is part of it. */
    care_for_due(r, false);
    r->more = r->ops->turn(r->context);
    if (r->due) {
        care_for_due(r, true);
        r->more = true; /* they have asked for something, perhaps */
    }
    struct pl_output *out;
    while ((out = pl_output_pool_next_dirty(r->outputs)))
        pl_conn_flush(PL_CONTAINER(out, struct pl_conn, out));
    r->turn_bytes = 0;
    note_lag(r);
    r->in_turn = false;
}

static bool may_sleep(struct pl_reactor *r)
{
    if (r->more || r->due || r->in_turn)
        return false;
    if (!pl_inbox_sleep(&r->inbox))
        return false;
    if (r->ops->sleep(r->context))
        return true;
    pl_inbox_wake(&r->inbox);
    return false;
}

static void on_timer(uv_poll_t *timer, int status, int events)
{
    struct pl_reactor *r = timer->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    ssize_t n = read(r->timer_fd, &expirations, sizeof expirations);
    if (n == (ssize_t)sizeof expirations)
        r->timer_at_ms = PL_NEVER;
    pl_reactor_enter(r);
}

/*
 * The heap's next deadline ends the poll. It is set only when it has to be sooner, or has run: a
 * timer of the kernel's own stays where it is, where the poll's timeout would be set anew at every
 * wait, which costs a short round trip a tenth.
 */
static void set_timer(struct pl_reactor *r)
{
    uint64_t next = pl_heap_next_ms(&r->heap);
    if (next >= r->timer_at_ms)
        return;
    uint64_t at_ms = next ? next : 1; /* 0 would stop it */
    const struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000}};
    int err = timerfd_settime(r->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    PL_ASSERT(err == 0);
    r->timer_at_ms = next;
}

static void on_async(uv_async_t *async)
{
    pl_reactor_enter(async->data);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct pl_reactor *r = prepare->data;
    bool sleeps = may_sleep(r);
    if (r->stopping && sleeps && !r->listeners && !atomic_load(&r->conn_count)) {
        uv_stop(&r->loop);
        sleeps = false;
    }
    if (sleeps && !r->stopping)
        uv_idle_stop(&r->idle);
    else
        uv_idle_start(&r->idle, on_idle);
    set_timer(r);
}

static void on_check(uv_check_t *check)
{
    struct pl_reactor *r = check->data;
    pl_inbox_wake(&r->inbox);
    pl_reactor_end_turn(r);
    r->reader = NULL;
    r->reader_bytes = 0;
}

enum pl_err pl_reactor_new(
    const struct pl_reactor_options *options, struct pl_reactor **out, struct pl_diag *diag)
{
    struct pl_reactor *r = pl_zalloc(sizeof *r);
    if (!r)
        return PL_NO_MEMORY;
    int err = uv_loop_init(&r->loop);
    if (err) {
        pl_diag_set(diag, err, "cannot make an event loop: %s", uv_strerror(err));
        pl_free(r);
        return err == UV_ENOMEM ? PL_NO_MEMORY : PL_IO;
    }
    r->ops = options->ops;
    r->context = options->context;
    r->outputs = options->outputs;
    r->due_at = &r->due;
    r->timer_at_ms = PL_NEVER;
    r->more = true; /* the first turn comes without a wait */
    pl_inbox_init(&r->inbox);
    uv_prepare_init(&r->loop, &r->prepare);
    uv_check_init(&r->loop, &r->check);
    uv_idle_init(&r->loop, &r->idle);
    r->prepare.data = r->check.data = r->timer.data = r->async.data = r;
    r->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    err = r->timer_fd < 0 ? uv_translate_sys_error(errno)
                          : uv_poll_init(&r->loop, &r->timer, r->timer_fd);
    if (!err)
        err = uv_poll_start(&r->timer, UV_READABLE, on_timer);
    if (!err)
        err = uv_async_init(&r->loop, &r->async, on_async);
    if (err) {
        pl_diag_set(diag, err, "cannot make an event loop: %s", uv_strerror(err));
        pl_reactor_free(r);
        return PL_IO;
    }
    uv_prepare_start(&r->prepare, on_prepare);
    uv_check_start(&r->check, on_check);
    *out = r;
    return PL_OK;
}

void pl_reactor_run(struct pl_reactor *r)
{
    /* A peer that is gone must be an error of write, not the end of the process. */
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

static void *run_thread(void *reactor)
{
    pl_reactor_run(reactor);
    return NULL;
}

enum pl_err pl_reactor_start(struct pl_reactor *r, const char *name, struct pl_diag *diag)
{
    /* Signals are for the thread that made us. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    sigdelset(&all, SIGPROF);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int err = pthread_create(&r->thread, NULL, run_thread, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        pl_diag_set(diag, err, "cannot start a thread: %s", strerror(err));
        return PL_IO;
    }
    r->has_thread = true;
    pthread_setname_np(r->thread, name);
    return PL_OK;
}

static void abort_conn(struct pl_conn *conn, void *context)
{
    (void)context;
    pl_conn_abort(conn, PL_DRAINING);
}

static void stop(struct pl_post *post, void *reactor)
{
    (void)post;
    struct pl_reactor *r = reactor;
    r->stopping = true;
    while (r->listeners)
        pl_listener_stop_here(r->listeners);
    pl_reactor_each_conn(r, abort_conn, NULL);
}

void pl_reactor_stop(struct pl_reactor *r)
{
    r->stop_post.run = stop;
    pl_reactor_post(r, &r->stop_post);
}

void pl_reactor_join(struct pl_reactor *r)
{
    if (r->has_thread)
        pthread_join(r->thread, NULL);
    r->has_thread = false;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

struct pl_reactor *pl_reactor_free(struct pl_reactor *r)
{
    if (!r)
        return NULL;
    r->stopping = true;
    run_posts(r); /* sockets that another reactor has handed over meanwhile are closed */
    uv_prepare_stop(&r->prepare);
    uv_check_stop(&r->check);
    uv_walk(&r->loop, close_handle, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    PL_ASSERT(uv_loop_close(&r->loop) == 0);
    if (r->timer_fd >= 0)
        close(r->timer_fd);
    pl_input_done(r);
    pl_inflater_free(r->inflater);
    pl_deflater_free(r->deflater);
    pl_heap_done(&r->heap);
    pl_inbox_done(&r->inbox);
    pl_free(r);
    return NULL;
}

void pl_reactor_wake(struct pl_reactor *r)
{
    uv_async_send(&r->async);
}

void pl_reactor_post(struct pl_reactor *r, struct pl_post *post)
{
    if (pl_inbox_push(&r->inbox, post))
        uv_async_send(&r->async);
}

uint64_t pl_reactor_now_ms(const struct pl_reactor *r)
{
    return r->now_ms;
}

void *pl_reactor_context(const struct pl_reactor *r)
{
    return r->context;
}

uint64_t pl_reactor_bytes_in(const struct pl_reactor *reactor)
{
    return atomic_load_explicit(&reactor->bytes_in, memory_order_relaxed);
}

uint64_t pl_reactor_bytes_out(const struct pl_reactor *reactor)
{
    return atomic_load_explicit(&reactor->bytes_out, memory_order_relaxed);
}

size_t pl_reactor_conn_count(const struct pl_reactor *r)
{
    return atomic_load_explicit(&r->conn_count, memory_order_relaxed);
}

uint32_t pl_reactor_lag_ms(const struct pl_reactor *r)
{
    return atomic_load_explicit(&r->lag_ms, memory_order_relaxed);
}

struct visit {
    void (*conn)(struct pl_conn *conn, void *context);
    void *context;
};

static void visit_handle(uv_handle_t *handle, void *context)
{
    const struct visit *visit = context;
    /* Those of listeners are of these types too; a connection's points to itself. */
    if (handle->type != UV_TCP && handle->type != UV_NAMED_PIPE)
        return;
    struct pl_conn *conn = PL_CONTAINER(handle, struct pl_conn, handle);
    if (handle->data == conn && conn->state == CONN_OPEN)
        visit->conn(conn, visit->context);
}

void pl_reactor_each_conn(
    struct pl_reactor *r, void (*visit)(struct pl_conn *conn, void *context), void *context)
{
    struct visit v = {visit, context};
    uv_walk(&r->loop, visit_handle, &v);
}

enum pl_err pl_timer_set(struct pl_reactor *r, struct pl_timer *timer, uint64_t at_ms)
{
    if (at_ms == PL_NEVER) {
        pl_heap_remove(&r->heap, &timer->deadline);
        return PL_OK;
    }
    timer->deadline.kind = DEADLINE_TIMER;
    return pl_heap_set(&r->heap, &timer->deadline, at_ms);
}
