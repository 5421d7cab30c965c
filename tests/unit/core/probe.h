/*
 * A protocol for tests of the core: what a session is told is written down as text.
 *
 *     world_init(&w, 2);                       two workers, one realm
 *     struct probe *p = probe_new(&w, 0);      joined on worker 0
 *     probe_subscribe(p, "a.>", …);
 *     probe_publish(p, "a.b", "1");
 *     world_run(&w);                           turns until nothing happens
 *     CHECK_STR(p->log, "sub ok; a.b=1; ");
 */
#ifndef PARLEY_TESTS_PROBE_H
#define PARLEY_TESTS_PROBE_H

#include <stdio.h>
#include <stdlib.h>

#include "core/realm.h"
#include "core/worker.h"

#include "check.h"

enum { PROBE_LOG = 1 << 16 };

struct world {
    struct pl_worker_hooks hooks;
    struct pl_worker workers[4];
    uint32_t count;
    struct pl_realm *realm;
    struct pl_identity *identity; /* given to who logs in */
    bool holds_logins;            /* a login stays open until world_login */
    struct pl_session *held;
    uint64_t now_ms;
};

struct probe {
    struct pl_session core;
    struct world *world;
    struct pl_output out;
    struct probe *became; /* a claim was answered with this older session */
    bool has_left, is_kept_attached;
    bool frees_itself; /* when it has left, as protocols do */
    bool asks_at_once; /* publishes to a.x on the session that it was given, at once */
    enum pl_err asked_err;
    size_t received, log_len;
    uint64_t last_token, calls; /* calls: see caller.h */
    struct pl_cursor cursor;
    char log[PROBE_LOG];
};

struct probe_sub {
    struct pl_subscription core;
    char queue[32];
};

__attribute__((format(printf, 2, 3))) static inline void probe_note(
    struct probe *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (p->log_len < PROBE_LOG - 1) {
        int n = vsnprintf(p->log + p->log_len, PROBE_LOG - p->log_len, format, args);
        p->log_len += n > 0 ? (size_t)n : 0;
        if (p->log_len > PROBE_LOG - 1)
            p->log_len = PROBE_LOG - 1;
    }
    va_end(args);
}

static inline void probe_clear(struct probe *p)
{
    p->log_len = 0;
    p->log[0] = 0;
}

static enum pl_err probe_encode(const struct pl_subscription *sub, const struct pl_message *m,
    uint64_t now_ms, struct pl_writer *w)
{
    (void)sub;
    (void)now_ms;
    pl_write_bytes(w, m->subject);
    pl_write_u8(w, '=');
    pl_write_bytes(w, m->payload);
    return PL_OK;
}

static void probe_deliver(
    struct pl_session *s, struct pl_subscription *sub, const struct pl_run *run)
{
    struct probe *p = PL_CONTAINER(s, struct probe, core);
    (void)sub;
    static const char *const marks[] = {"", "retained ", "history "};
    uint32_t start = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        p->received++;
        if (run->frames) {
            probe_note(
                p, "%.*s; ", (int)(run->ends[i] - start), (const char *)run->frames->data + start);
            start = run->ends[i];
        } else {
            probe_note(p, "%s%.*s=%.*s; ", marks[run->origin], (int)m->subject.len,
                (const char *)m->subject.data, (int)m->payload.len, (const char *)m->payload.data);
        }
    }
    if (p->core.out && run->frames)
        CHECK_EQ(pl_output_append_shared(
                     p->core.out, run->frames, pl_bytes_of(run->frames->data, run->frames->len)),
            PL_OK);
}

static inline void probe_free(struct probe *p)
{
    pl_session_done(&p->core);
    pl_output_done(&p->out);
    free(p);
}

static void probe_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct probe *p = PL_CONTAINER(s, struct probe, core);
    static const char *const names[] = {"login", "join", "claim", "sub", "unsub", "replayed", "pub",
        "state", "fence", "register", "unregister", "log", "leave"};
    static const char *const errors[] = {
#define PL_ERR(name, text) #name,
#include "base/err.def"
#undef PL_ERR
    };
    p->last_token = done->token;
    if (done->kind == PL_DONE_LOGIN && !done->err)
        return;
    if (done->err)
        probe_note(p, "%s %s; ", names[done->kind], errors[done->err]);
    else if (done->kind == PL_DONE_PUBLISH)
        probe_note(p, "pub %u; ", done->receivers);
    else
        probe_note(p, "%s%s%s; ", names[done->kind], done->is_resumed ? " resumed" : " ok",
            done->is_recovered ? " recovered" : "");
    if (done->kind == PL_DONE_SUBSCRIBE)
        p->cursor = done->cursor;
    if ((done->kind == PL_DONE_UNSUBSCRIBE) || (done->kind == PL_DONE_SUBSCRIBE && done->err)) {
        pl_pattern_unref(done->sub->pattern);
        free(done->sub);
    }
    if (done->kind == PL_DONE_CLAIM && done->session != s) {
        p->became = PL_CONTAINER(done->session, struct probe, core);
        p->became->core.out = &p->out;
        probe_note(p->became, "back; ");
        struct pl_message draft = {.subject = PL_BYTES("a.x")};
        if (p->asks_at_once)
            p->asked_err = pl_session_publish(done->session, &draft, NULL, 0, 0);
        pl_session_leave(s, false);
    }
    if (done->kind == PL_DONE_LEAVE)
        p->has_left = true;
    if (p->has_left && p->frees_itself)
        probe_free(p);
}

static void probe_ended(struct pl_session *s, enum pl_err why)
{
    struct probe *p = PL_CONTAINER(s, struct probe, core);
    probe_note(p, "ended: %s; ", pl_err_text(why));
    if (why == PL_TAKEN_OVER && s->mailbox)
        s->out = NULL;
    else
        pl_session_leave(s, false);
}

static void probe_contested(struct pl_session *s)
{
    probe_note(PL_CONTAINER(s, struct probe, core), "contested; ");
}

static const struct pl_session_ops probe_ops = {
    .name = "probe",
    .encode = probe_encode,
    .deliver = probe_deliver,
    .complete = probe_complete,
    .ended = probe_ended,
    .contested = probe_contested,
};

static void world_wake(void *context, struct pl_worker *worker)
{
    (void)context;
    (void)worker;
}

static void world_on_login(
    void *context, struct pl_session *s, const struct pl_credentials *credentials, uint64_t token)
{
    struct world *w = context;
    (void)credentials;
    if (w->holds_logins) {
        w->held = s;
        return;
    }
    pl_worker_logged_in(s->worker, s, PL_OK, pl_identity_ref(w->identity), w->realm, token);
}

static inline void world_init_limits(
    struct world *w, uint32_t count, const struct pl_realm_limits *limits)
{
    memset(w, 0, sizeof *w);
    w->hooks = (struct pl_worker_hooks){w, world_wake, world_on_login};
    w->count = count;
    w->now_ms = 1000;
    for (uint32_t i = 0; i < count; i++)
        CHECK(pl_worker_init(&w->workers[i], i, &w->hooks) == PL_OK);
    w->realm = pl_realm_new("main", w->workers, count, limits, 42, 7);
    w->identity = pl_identity_new_all("ann", "all");
    CHECK(w->realm && w->identity);
    for (uint32_t i = 0; i < count; i++)
        pl_worker_begin(&w->workers[i], w->now_ms, w->now_ms + 1000000);
}

static inline void world_init(struct world *w, uint32_t count)
{
    world_init_limits(w, count, &pl_realm_limits_default);
}

/* Turns of all workers until nothing is left to do. */
static inline void world_run(struct world *w)
{
    for (int i = 0; i < 1000; i++) {
        bool more = false;
        for (uint32_t k = 0; k < w->count; k++)
            more |= pl_worker_turn(&w->workers[k]);
        for (uint32_t k = 0; k < w->count; k++) {
            more |= !pl_worker_sleep(&w->workers[k]);
            pl_inbox_wake(&w->workers[k].inbox);
        }
        if (!more)
            return;
    }
    CHECK(!"the workers come to rest");
}

static inline void world_pass(struct world *w, uint64_t ms)
{
    w->now_ms += ms;
    for (uint32_t i = 0; i < w->count; i++)
        pl_worker_begin(&w->workers[i], w->now_ms, w->now_ms + 1000000);
    pl_realm_tick(w->realm, &w->workers[0]);
    world_run(w);
}

static inline struct probe *probe_alloc(struct world *w, uint32_t worker)
{
    struct probe *p = calloc(1, sizeof *p);
    p->world = w;
    pl_output_init(&p->out, &w->workers[worker].outputs, 1 << 20);
    pl_session_init(&p->core, &probe_ops, &w->workers[worker], &p->out);
    struct pl_credentials nobody = {.protocol = "probe"};
    pl_session_login(&p->core, &nobody, 0);
    return p;
}

/* Joined, nothing in its log. */
static inline struct probe *probe_new(struct world *w, uint32_t worker)
{
    struct probe *p = probe_alloc(w, worker);
    world_run(w);
    pl_session_join(&p->core, 0);
    world_run(w);
    probe_clear(p);
    return p;
}

/* A named one; its log tells how the claim went. The claim has not run yet. */
static inline struct probe *probe_claim(struct world *w, uint32_t worker, const char *name,
    bool clean, uint64_t expiry_ms, struct pl_message *will, uint64_t will_delay_ms)
{
    struct probe *p = probe_alloc(w, worker);
    for (uint32_t i = 0; i < 3; i++)
        pl_worker_turn(&w->workers[worker]);
    struct pl_claim claim = {
        .name = pl_bytes_text(name),
        .clean = clean,
        .expiry_ms = expiry_ms,
        .will = will,
        .will_delay_ms = will_delay_ms,
    };
    pl_session_claim(&p->core, &claim, 0);
    return p;
}

struct probe_sub_options {
    const char *queue;
    uint64_t form;
    uint8_t flags, slow, replay;
    bool from_start, has_cursor, is_strict;
    struct pl_cursor cursor;
};

static inline struct probe_sub *probe_subscribe(
    struct probe *p, const char *pattern, struct probe_sub_options o)
{
    struct probe_sub *sub = calloc(1, sizeof *sub);
    CHECK(pl_pattern_parse(pl_bytes_text(pattern), &sub->core.pattern) == PL_OK);
    if (o.queue) {
        (void)snprintf(sub->queue, sizeof sub->queue, "%s", o.queue);
        sub->core.queue = pl_bytes_text(sub->queue);
    }
    sub->core.form = o.form;
    sub->core.flags = o.flags;
    sub->core.slow = o.slow;
    sub->core.replay = o.replay;
    struct pl_subscribe_options options = {
        .has_cursor = o.has_cursor,
        .from_start = o.from_start,
        .cursor = o.cursor,
        .is_strict = o.is_strict,
    };
    pl_session_subscribe(&p->core, &sub->core, &options, 0);
    return sub;
}

/* Leaves and frees; all its subscriptions, given as an array that ends with NULL, too. */
static inline void probe_gone(struct probe *p, struct probe_sub **subs)
{
    struct world *w = p->world;
    if (!p->has_left)
        pl_session_leave(&p->core, false);
    world_run(w);
    CHECK(p->has_left);
    for (; subs && *subs; subs++) {
        pl_pattern_unref((*subs)->core.pattern);
        free(*subs);
    }
    probe_free(p);
}

static inline enum pl_err probe_send(struct probe *p, struct pl_message draft, unsigned flags)
{
    return pl_session_publish(&p->core, &draft, NULL, flags, 0);
}

static inline enum pl_err probe_publish(struct probe *p, const char *subject, const char *payload)
{
    struct pl_message draft = {
        .subject = pl_bytes_text(subject), .payload = pl_bytes_text(payload)};
    return probe_send(p, draft, 0);
}

static inline void world_done(struct world *w)
{
    world_run(w);
    for (uint32_t i = 0; i < w->count; i++)
        CHECK_EQ(w->workers[i].outputs.bytes, 0);
    pl_realm_free(w->realm);
    pl_identity_unref(w->identity);
    for (uint32_t i = 0; i < w->count; i++)
        pl_worker_done(&w->workers[i]);
}

#endif
