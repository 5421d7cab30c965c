#include "client/client.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "client/router.h"
#include "net/reactor.h"

enum {
    RECONNECT_MIN_MS = 500,
    RECONNECT_MAX_MS = 30000,
    CONNECT_MS = 10000,
    KEEPALIVE_MS = 30000,
    SCRATCH_MAX = 1 << 20, /* a larger one is not kept */
    KEEPALIVE_MIN_MS = 10,
};

static const size_t queue_bytes_default = (size_t)64 << 20;

/* ---- The lock ---- */

void pl_client_lock(struct parley_client *c)
{
    pthread_mutex_lock(&c->lock);
}

void pl_client_unlock(struct parley_client *c)
{
    pthread_mutex_unlock(&c->lock);
}

bool pl_client_is_runner(const struct parley_client *c)
{
    return c->is_running && pthread_equal(c->runner, pthread_self());
}

void pl_client_tell(struct parley_client *c, parley_message_fn *fn, void *context,
    const struct parley_message *message)
{
    if (!fn)
        return;
    pl_client_unlock(c);
    fn(c, message, context);
    pl_client_lock(c);
}

/* ---- Sending ---- */

/* What epoll waits for is what the wire wants now. Once there is a session, its descriptor stays.
 */
static void watch(struct parley_client *c)
{
    int fd = c->wire ? pl_wire_fd(c->wire) : -1;
    bool writes = c->wire && pl_wire_wants_write(c->wire);
    if (c->phase == PL_PHASE_JOINED && c->watched == fd && c->watches_write == writes)
        return;
    if (c->watched >= 0 && c->watched != fd)
        /* If it was closed, it has left by itself. */
        (void)epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->watched, NULL);
    if (fd >= 0) {
        struct epoll_event event = {
            .events = EPOLLIN | (writes ? (uint32_t)EPOLLOUT : 0), .data.fd = fd};
        /* A new descriptor may have the number of the one that was closed. */
        if (epoll_ctl(c->epoll, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT)
            (void)epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event);
    }
    c->watched = fd;
    c->watches_write = writes;
}

struct pl_value_writer pl_client_begin(
    struct parley_client *c, struct pl_writer *w, enum pl_wamp_type type)
{
    *w = pl_writer_reuse(&c->scratch);
    return pl_wamp_begin(w, c->serializer, type);
}

enum pl_err pl_client_send(struct parley_client *c, struct pl_writer *w)
{
    enum pl_err err = pl_writer_take(w, &c->scratch);
    if (err)
        return err;
    if (!c->wire)
        err = PL_CLOSED;
    else if (pl_wire_queued(c->wire) + c->scratch->len > c->options.queue_bytes_max)
        err = PL_LIMIT;
    else
        err = pl_wire_send(c->wire, c->scratch->data, c->scratch->len);
    if (c->scratch->cap > SCRATCH_MAX)
        c->scratch = pl_shared_unref(c->scratch);
    if (err)
        return err;
    /* The runner writes when it is done with all it has; of others each message goes at once. */
    if (!pl_client_is_runner(c)) {
        (void)!pl_wire_flush(c->wire); /* The runner hears of it by reading. */
        watch(c);
    }
    return PL_OK;
}

void pl_client_drop(struct parley_client *c, struct pl_writer *w)
{
    if (pl_writer_take(w, &c->scratch) != PL_OK)
        c->scratch = NULL;
}

/* ---- The loop ---- */

static void set_timer(struct parley_client *c, uint64_t at_ms)
{
    if (c->timer_at_ms == at_ms)
        return;
    c->timer_at_ms = at_ms;
    struct itimerspec time = {{0, 0}, {0, 0}};
    if (at_ms != PL_NEVER) {
        time.it_value.tv_sec = (time_t)(at_ms / 1000);
        /* A time of zero would turn it off. */
        time.it_value.tv_nsec = (long)(at_ms % 1000) * 1000000 + 1;
    }
    (void)timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &time, NULL);
}

void pl_client_wake(struct parley_client *c)
{
    if (!pl_client_is_runner(c))
        set_timer(c, 0);
}

void pl_client_run(struct parley_client *c, int timeout_ms)
{
    struct epoll_event events[2];
    uint64_t expirations;
    c->is_running = true;
    c->runner = pthread_self();
    if (timeout_ms) {
        pl_client_unlock(c);
        (void)epoll_wait(c->epoll, events, 2, timeout_ms);
        pl_client_lock(c);
    }
    if (read(c->timer, &expirations, sizeof expirations) > 0)
        c->timer_at_ms = PL_NEVER; /* it has fired, and is set to nothing */
    pl_client_step(c);
    watch(c);
    set_timer(c, pl_client_next_ms(c));
    c->is_running = false;
    pthread_cond_broadcast(&c->changed);
}

static int left_ms(uint64_t end_ms)
{
    uint64_t now_ms = pl_clock_ms();
    if (end_ms == PL_NEVER)
        return -1;
    return end_ms <= now_ms ? 0 : end_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(end_ms - now_ms);
}

bool pl_client_await(
    struct parley_client *c, bool (*is_true)(const void *what), const void *what, uint64_t end_ms)
{
    while (!is_true(what)) {
        int ms = left_ms(end_ms);
        if (!ms)
            return false;
        if (!c->is_running && !c->options.own_thread) {
            pl_client_run(c, ms);
            continue;
        }
        struct timespec end = {(time_t)(end_ms / 1000), (long)(end_ms % 1000) * 1000000};
        if (ms < 0)
            pthread_cond_wait(&c->changed, &c->lock);
        else
            pthread_cond_timedwait(&c->changed, &c->lock, &end);
    }
    return true;
}

static void *thread_main(void *context)
{
    struct parley_client *c = context;
    pl_client_lock(c);
    while (c->phase != PL_PHASE_ENDED)
        pl_client_run(c, -1);
    pl_client_unlock(c);
    return NULL;
}

int parley_client_fd(const struct parley_client *c)
{
    return c->options.own_thread ? -1 : c->epoll;
}

enum parley_code parley_client_process(struct parley_client *c, int timeout_ms)
{
    if (c->options.own_thread)
        return PARLEY_INVALID;
    pl_client_lock(c);
    enum parley_code code = PARLEY_BUSY;
    if (!c->is_running) {
        if (c->phase != PL_PHASE_ENDED)
            pl_client_run(c, timeout_ms);
        code = c->phase == PL_PHASE_ENDED ? PARLEY_CLOSED : PARLEY_OK;
    }
    pl_client_unlock(c);
    return code;
}

/* ---- Options ---- */

static enum pl_err own(struct parley_client *c, const char **text)
{
    if (*text)
        *text = pl_arena_copy(&c->arena, pl_bytes_text(*text));
    return *text ? PL_OK : PL_NO_MEMORY;
}

static enum pl_err own_texts(struct parley_client *c)
{
    struct parley_client_options *o = &c->options;
    const char **const texts[] = {&o->url, &o->realm, &o->authmethods, &o->authid, &o->authrole,
        &o->ticket, &o->password, &o->private_key, &o->authextra, &o->ca_file, &o->cert_file,
        &o->key_file, &o->agent, &o->origin, &o->details};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (*texts[i] && own(c, texts[i]) != PL_OK)
            return PL_NO_MEMORY;
    }
    return PL_OK;
}

static void set_defaults(struct parley_client *c)
{
    struct parley_client_options *o = &c->options;
    o->realm = o->realm ? o->realm : "realm1";
    o->agent = o->agent ? o->agent : "libparley/" PARLEY_VERSION;
    if (!o->authid && c->url.has_user)
        o->authid = c->url.user;
    if (!o->password && c->url.has_password)
        o->password = c->url.password;
    if (!o->reconnect_min_ms)
        o->reconnect_min_ms = RECONNECT_MIN_MS;
    if (!o->reconnect_max_ms)
        o->reconnect_max_ms = RECONNECT_MAX_MS;
    if (!o->connect_timeout_ms)
        o->connect_timeout_ms = CONNECT_MS;
    if (!o->keepalive_ms)
        o->keepalive_ms = KEEPALIVE_MS;
    if (o->keepalive_ms < KEEPALIVE_MIN_MS)
        o->keepalive_ms = KEEPALIVE_MIN_MS;
    if (!o->message_bytes_max || o->message_bytes_max > PL_WIRE_MESSAGE_MAX)
        o->message_bytes_max = PL_WIRE_MESSAGE_MAX;
    if (!o->queue_bytes_max)
        o->queue_bytes_max = queue_bytes_default;
    c->serializer = o->serializer == PARLEY_JSON   ? PL_SERIAL_JSON
                    : o->serializer == PARLEY_CBOR ? PL_SERIAL_CBOR
                                                   : PL_SERIAL_MSGPACK;
}

/* Is it a JSON object, or not there? */
static bool is_object(const char *text)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_JSON);
    pl_put_dict(&v);
    enum pl_err err = pl_put_json_pairs(&v, text);
    struct pl_shared *buffer;
    if (pl_writer_take(&w, &buffer) == PL_OK)
        pl_shared_unref(buffer);
    return err != PL_MALFORMED;
}

void pl_client_take_options(void *own, size_t own_size, const void *given)
{
    size_t size = 0;
    if (given)
        memcpy(&size, given, sizeof size);
    if (size)
        memcpy(own, given, size < own_size ? size : own_size);
    memcpy(own, &own_size, sizeof own_size);
}

static enum pl_err take_options(struct parley_client *c, const struct parley_client_options *given)
{
    pl_client_take_options(&c->options, sizeof c->options, given);
    enum pl_err err = own_texts(c);
    if (err)
        return err;
    if (!c->options.url == !c->options.router)
        return PL_MALFORMED;
    if (c->options.url && (!pl_url_parse(c->options.url, &c->url) || !pl_wire_knows(&c->url)))
        return PL_MALFORMED;
    if (!is_object(c->options.authextra) || !is_object(c->options.details))
        return PL_MALFORMED;
    set_defaults(c);
    return PL_OK;
}

/* ---- Life ---- */

static enum pl_err open_descriptors(struct parley_client *c)
{
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (c->epoll < 0 || c->timer < 0)
        return PL_IO;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = c->timer};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &event) != 0)
        return PL_IO;
    c->timer_at_ms = PL_NEVER;
    set_timer(c, 0);
    return PL_OK;
}

/* The program's signals are the program's. */
static enum pl_err start_thread(struct parley_client *c)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int number = pthread_create(&c->thread, NULL, thread_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return number ? PL_IO : PL_OK;
}

static void free_all(struct parley_client *c)
{
    if (c->epoll >= 0)
        close(c->epoll);
    if (c->timer >= 0)
        close(c->timer);
    pl_wire_free(c->wire);
    pl_map_done(&c->requests);
    pl_map_done(&c->invocations);
    pl_map_done(&c->handlers_by_id);
    pl_map_done(&c->topics);
    pl_map_done(&c->procedures);
    pl_heap_done(&c->deadlines);
    pl_shared_unref(c->scratch);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    pl_arena_done(&c->arena);
    pl_free(c);
}

bool pl_client_unref(struct parley_client *c)
{
    if (--c->refs)
        return true;
    pl_client_unlock(c);
    free_all(c);
    return false;
}

static enum pl_err init(struct parley_client *c, const struct parley_client_options *options)
{
    pthread_condattr_t clock;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &clock);
    pthread_condattr_destroy(&clock);
    c->refs = 1;
    c->epoll = c->timer = c->watched = -1;
    c->ready_at = &c->ready;
    c->handlers_at = &c->handlers;
    /* The router chooses their numbers, or they are ours: no one can make them collide. */
    pl_map_init(&c->requests, 1);
    pl_map_init(&c->invocations, 1);
    pl_map_init(&c->handlers_by_id, 1);
    pl_map_init(&c->topics, 1);
    pl_map_init(&c->procedures, 1);
    enum pl_err err = take_options(c, options);
    if (!err)
        err = open_descriptors(c);
    if (!err && c->options.own_thread)
        err = start_thread(c);
    return err;
}

enum parley_code parley_client_new(
    const struct parley_client_options *options, struct parley_client **out)
{
    if (!options || options->size < sizeof options->size || !out)
        return PARLEY_INVALID;
    struct parley_client *c = pl_zalloc(sizeof *c);
    if (!c)
        return PARLEY_NO_MEMORY;
    enum pl_err err = init(c, options);
    if (err)
        free_all(c);
    else
        *out = c;
    return pl_code_of(err);
}

void parley_client_close(struct parley_client *c)
{
    pl_client_lock(c);
    c->is_closing = true;
    pl_client_wake(c);
    pl_client_unlock(c);
}

static bool has_ended(const void *client)
{
    return ((const struct parley_client *)client)->phase == PL_PHASE_ENDED;
}

void parley_client_free(struct parley_client *c)
{
    if (!c)
        return;
    parley_client_close(c);
    pl_client_lock(c);
    /* Its limit is that of leaving, in session.c. */
    (void)pl_client_await(c, has_ended, c, PL_NEVER);
    pl_client_unlock(c);
    if (c->options.own_thread)
        pthread_join(c->thread, NULL);
    pl_client_lock(c);
    if (pl_client_unref(c))
        pl_client_unlock(c);
}

static bool has_settled(const void *client)
{
    const struct parley_client *c = client;
    return c->phase == PL_PHASE_JOINED || c->phase == PL_PHASE_ENDED;
}

enum parley_code parley_client_join(struct parley_client *c, int timeout_ms)
{
    pl_client_lock(c);
    enum parley_code code = PARLEY_BUSY;
    if (!pl_client_is_runner(c)) {
        uint64_t end_ms = timeout_ms < 0 ? PL_NEVER : pl_clock_ms() + (uint64_t)timeout_ms;
        if (!pl_client_await(c, has_settled, c, end_ms))
            code = PARLEY_TIMEOUT;
        else if (c->phase == PL_PHASE_JOINED)
            code = PARLEY_OK;
        else
            code = c->error_code ? c->error_code : PARLEY_CLOSED;
    }
    pl_client_unlock(c);
    return code;
}

void parley_client_error(struct parley_client *c, char *out, size_t size)
{
    if (!size)
        return;
    pl_client_lock(c);
    size_t len = strnlen(c->error.text, size - 1);
    memcpy(out, c->error.text, len);
    out[len] = '\0';
    pl_client_unlock(c);
}

uint64_t parley_client_session_id(struct parley_client *c)
{
    pl_client_lock(c);
    uint64_t id = c->phase == PL_PHASE_JOINED ? c->session_id : 0;
    pl_client_unlock(c);
    return id;
}
