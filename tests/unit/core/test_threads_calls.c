/*
 * Three workers on three threads: sessions that register, call, answer, cancel, pass on, read too
 * slowly, leave and come back, while time passes. Each call ends exactly once, with its own answer
 * or a reason; nobody stays held up; nothing is left behind. Run under TSan too.
 *
 * PARLEY_TEST_OPERATIONS says how many operations, of all threads together.
 */
#include <pthread.h>
#include <sched.h>

#include "core/realm.h"
#include "core/worker.h"

#include "check.h"

#include <stdlib.h>

enum {
    WORKERS = 3,
    OPERATIONS = 60000,
    ACTORS = 4, /* of each thread */
    OFFERS = 3, /* of an actor */
    OPEN = 16,  /* calls of an actor, and invocations it may keep unanswered */
    OUT_MAX = 100,
    ERRORS = 256, /* enum pl_err fits in a byte */
};

struct actor;

struct offer {
    struct pl_callee core; /* first */
    struct actor *owner;
    bool is_registered, is_going;
};

/* What a call carries, and its answers give back. */
struct ticket {
    uint64_t session, token;
};

struct call {
    uint64_t token; /* 0: free */
    bool wants_progress, is_parted;
};

struct invocation {
    uint64_t id; /* 0: free */
    struct ticket ticket;
    bool wants_progress;
};

struct actor {
    struct pl_session core; /* first */
    struct pl_output out;
    struct thread *thread;
    struct actor **place; /* in its thread; NULL: it is leaving */
    struct offer *offers[OFFERS];
    struct call calls[OPEN];
    struct invocation invocations[OPEN];
    uint64_t tokens, last_invocation;
    bool is_joined, is_pressed;
};

struct thread {
    pthread_t id;
    struct pl_worker *worker;
    struct actor *actors[ACTORS];
    uint64_t random;
    uint32_t alive; /* sessions that have not been freed */
    uint64_t steps, called, answered, progressed, failed[ERRORS], interrupted, forced, pressed;
    uint64_t wrong; /* what must not be … */
    int wrong_line; /* … and where it was first */
    bool is_over;   /* every invocation is answered at once */
};

static const struct {
    const char *pattern;
    uint8_t invoke;
} procedures[] = {{"p.one", PL_INVOKE_SINGLE}, {"p.turn", PL_INVOKE_ROUNDROBIN},
    {"p.any", PL_INVOKE_RANDOM}, {"p.old", PL_INVOKE_FIRST}, {"p.new", PL_INVOKE_LAST},
    {"p.*", PL_INVOKE_ROUNDROBIN}};
static const char *const names[] = {"p.one", "p.turn", "p.any", "p.old", "p.new", "p.else", "q"};

enum { PROCEDURES = sizeof procedures / sizeof *procedures, NAMES = sizeof names / sizeof *names };

static struct pl_worker workers[WORKERS];
static struct thread threads[WORKERS];
static struct pl_realm *realm;
static struct pl_identity *identity;
static atomic_uint finished;
static _Atomic uint64_t clock_ms;

static void claim(struct thread *t, bool holds, int line)
{
    if (!holds && !t->wrong++)
        t->wrong_line = line;
}

/* CHECK, for what happens a million times. */
#define CLAIM(t, holds) claim((t), (holds), __LINE__)

static uint32_t below(struct thread *t, uint32_t n)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % n;
}

static struct actor *of(struct pl_session *s)
{
    return (struct actor *)s;
}

/* ---- What an actor asks for ---- */

static struct pl_bytes ticket_bytes(struct pl_session *s, const struct ticket *ticket)
{
    const char *copy = pl_arena_copy(pl_session_arena(s), pl_bytes_of(ticket, sizeof *ticket));
    return pl_bytes_of(copy, sizeof *ticket);
}

static void yield(struct actor *a, struct invocation *i, bool is_progress, const char *error)
{
    struct pl_properties *p = pl_arena_zalloc(pl_session_arena(&a->core), sizeof *p);
    *p = (struct pl_properties){.expires_ms = PL_NEVER, .is_progress = is_progress};
    if (error)
        p->error = pl_bytes_text(error);
    struct pl_message draft = {.payload = ticket_bytes(&a->core, &i->ticket), .properties = p};
    pl_session_yield(&a->core, i->id, &draft, NULL);
    if (!is_progress)
        i->id = 0;
}

static void answer_one(struct actor *a)
{
    struct thread *t = a->thread;
    struct invocation *i = &a->invocations[below(t, OPEN)];
    if (!i->id)
        return;
    uint32_t what = below(t, 8);
    if (what == 0) {
        pl_session_pass(&a->core, i->id);
        i->id = 0;
    } else {
        yield(a, i, what < 4 && i->wants_progress, what == 7 ? "e.rror" : NULL);
    }
}

static void call_one(struct actor *a)
{
    struct thread *t = a->thread;
    struct call *call = &a->calls[below(t, OPEN)];
    struct ticket ticket = {a->core.id, call->token ? call->token : a->tokens + 1};
    struct pl_message draft = {.subject = pl_bytes_text(names[below(t, NAMES)]),
        .payload = ticket_bytes(&a->core, &ticket)};
    unsigned flags = 0;
    if (call->token) {
        if (!call->is_parted)
            return;
        call->is_parted = below(t, 2);
        flags = PL_CALL_NEXT | (call->is_parted ? PL_CALL_MORE : 0u);
    } else {
        *call = (struct call){
            .token = ++a->tokens, .wants_progress = below(t, 2), .is_parted = below(t, 8) == 0};
        flags = (call->wants_progress ? PL_CALL_WANTS_PROGRESS : 0u) |
                (call->is_parted ? PL_CALL_MORE : 0u);
        t->called++;
    }
    uint64_t timeout_ms = below(t, 3) ? 0 : 1 + below(t, 20);
    pl_session_call(&a->core, &draft, NULL, flags, timeout_ms, ticket.token);
}

static void cancel_one(struct actor *a)
{
    struct call *call = &a->calls[below(a->thread, OPEN)];
    /* At times one that is over, or never was. */
    uint64_t token = call->token ? call->token : below(a->thread, (uint32_t)a->tokens + 2);
    pl_session_cancel(&a->core, token, (enum pl_cancel)below(a->thread, 3));
}

static void offer_one(struct actor *a)
{
    struct thread *t = a->thread;
    uint32_t place = below(t, OFFERS), procedure = below(t, PROCEDURES);
    struct offer *offer = a->offers[place];
    if (offer) {
        if (!offer->is_registered || offer->is_going)
            return;
        offer->is_going = true;
        pl_session_unregister(&a->core, &offer->core, place);
        return;
    }
    a->offers[place] = offer = calloc(1, sizeof *offer);
    offer->owner = a;
    offer->core.invoke = procedures[procedure].invoke;
    offer->core.concurrency = below(t, 3);
    offer->core.flags = (uint8_t)(below(t, 2) ? PL_CALLEE_CAN_CANCEL | PL_CALLEE_TAKES_PARTS : 0);
    if (below(t, 6) == 0)
        offer->core.flags |= PL_CALLEE_FORCED;
    if (below(t, 4) == 0)
        offer->core.flags |= PL_CALLEE_KEEPS_TIME;
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(procedures[procedure].pattern), &offer->core.pattern),
        PL_OK);
    pl_session_register(&a->core, &offer->core, place);
}

/* Reads no more, or again. */
static void stop_or_go(struct actor *a, bool stops)
{
    a->out.bytes = stops ? OUT_MAX + 1 : 0;
    if (!stops)
        pl_session_drained(&a->core);
}

static struct actor *new_actor(struct thread *t, struct actor **place);

static void leave(struct actor *a)
{
    *a->place = NULL;
    a->place = NULL;
    pl_session_leave(&a->core, false);
}

/* ---- What it is told ---- */

static void forget_offer(struct actor *a, struct pl_callee *callee)
{
    for (int i = 0; i < OFFERS; i++)
        if (a->offers[i] && &a->offers[i]->core == callee) {
            free(a->offers[i]);
            a->offers[i] = NULL;
            return;
        }
    CLAIM(a->thread, false);
}

static void free_actor(struct actor *a)
{
    a->thread->alive--;
    for (int i = 0; i < OFFERS; i++)
        free(a->offers[i]);
    pl_session_done(&a->core);
    a->out.bytes = 0;
    pl_output_done(&a->out);
    free(a);
}

static void on_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct actor *a = of(s);
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        pl_session_join(s, 0);
        break;
    case PL_DONE_JOIN:
        a->is_joined = true;
        break;
    case PL_DONE_REGISTER:
        if (done->err)
            forget_offer(a, done->callee);
        else
            ((struct offer *)done->callee)->is_registered = true;
        break;
    case PL_DONE_UNREGISTER:
        forget_offer(a, done->callee);
        break;
    case PL_DONE_LEAVE:
        free_actor(a);
        break;
    default:
        CLAIM(a->thread, false);
    }
}

static void on_ended(struct pl_session *s, enum pl_err why)
{
    (void)why;
    CLAIM(of(s)->thread, false);
}

static struct invocation *find_invocation(struct actor *a, uint64_t id)
{
    for (int i = 0; i < OPEN; i++)
        if (a->invocations[i].id == id)
            return &a->invocations[i];
    return NULL;
}

static void on_invoke(struct pl_session *s, const struct pl_invocation *i)
{
    struct actor *a = of(s);
    struct thread *t = a->thread;
    struct offer *offer = (struct offer *)i->callee;
    CLAIM(t, !offer || offer->owner == a);
    CLAIM(t, !i->is_first || (offer && offer->is_registered && i->id > a->last_invocation));
    CLAIM(t, i->message->payload.len == sizeof(struct ticket));
    if (i->is_first)
        a->last_invocation = i->id;
    struct invocation now = {.id = i->id, .wants_progress = i->wants_progress}, *kept;
    memcpy(&now.ticket, i->message->payload.data, sizeof now.ticket);
    if (!i->is_first) {
        kept = find_invocation(a, i->id);
        CLAIM(t, !kept || memcmp(&kept->ticket, &now.ticket, sizeof now.ticket) == 0);
        return;
    }
    kept = find_invocation(a, 0);
    if (!kept || t->is_over || !a->place || below(t, 4) == 0)
        yield(a, &now, false, NULL);
    else
        *kept = now;
}

static void on_interrupt(
    struct pl_session *s, uint64_t invocation, enum pl_cancel mode, enum pl_err why)
{
    struct actor *a = of(s);
    struct invocation *i = find_invocation(a, invocation);
    a->thread->interrupted++;
    CLAIM(a->thread, mode != PL_CANCEL_SKIP && why);
    if (i && below(a->thread, 2))
        yield(a, i, false, "wamp.error.canceled");
}

static void on_answer(struct pl_session *s, const struct pl_result *result)
{
    struct actor *a = of(s);
    struct thread *t = a->thread;
    struct call *call = NULL;
    for (int i = 0; i < OPEN; i++)
        if (a->calls[i].token == result->token)
            call = &a->calls[i];
    if (!call) { /* it ended twice, or was never made */
        CLAIM(t, false);
        return;
    }
    struct ticket own = {a->core.id, call->token};
    if (result->err)
        t->failed[result->err]++;
    else
        CLAIM(t, result->message->payload.len == sizeof own &&
                     memcmp(result->message->payload.data, &own, sizeof own) == 0);
    if (result->is_progress) {
        CLAIM(t, call->wants_progress);
        t->progressed++;
        return;
    }
    t->answered++;
    call->token = 0;
}

static void on_unregistered(struct pl_session *s, struct pl_callee *callee)
{
    struct offer *offer = (struct offer *)callee;
    CLAIM(of(s)->thread, offer->owner == of(s));
    of(s)->thread->forced++;
    offer->is_going = true;
}

static void on_press(struct pl_session *s, bool is_on)
{
    struct actor *a = of(s);
    CLAIM(a->thread, a->is_pressed != is_on);
    a->thread->pressed += is_on;
    a->is_pressed = is_on;
}

static const struct pl_session_ops actor_ops = {
    .name = "actor",
    .complete = on_complete,
    .ended = on_ended,
    .invoke = on_invoke,
    .interrupt = on_interrupt,
    .answer = on_answer,
    .unregistered = on_unregistered,
    .press = on_press,
};

/* ---- Threads ---- */

static struct actor *new_actor(struct thread *t, struct actor **place)
{
    struct actor *a = calloc(1, sizeof *a);
    a->thread = t;
    a->place = place;
    t->alive++;
    pl_output_init(&a->out, &t->worker->outputs, OUT_MAX);
    pl_session_init(&a->core, &actor_ops, t->worker, &a->out);
    struct pl_credentials nobody = {.protocol = "test"};
    pl_session_login(&a->core, &nobody, 0);
    return a;
}

static void turn(struct thread *t)
{
    uint64_t now_ms = atomic_load(&clock_ms);
    pl_worker_begin(t->worker, now_ms, now_ms + 1000000);
    while (pl_worker_turn(t->worker))
        ;
    if (t->worker->index)
        return;
    atomic_fetch_add(&clock_ms, below(t, 2));
    pl_realm_tick(realm, t->worker);
}

static void step(struct thread *t)
{
    struct actor **place = &t->actors[below(t, ACTORS)];
    struct actor *a = *place;
    if (!a) {
        *place = new_actor(t, place);
        return;
    }
    if (!a->is_joined)
        return;
    t->steps++;
    uint32_t what = below(t, 100);
    if (what < 35)
        call_one(a);
    else if (what < 70 && !a->is_pressed)
        answer_one(a);
    else if (what < 80)
        cancel_one(a);
    else if (what < 95)
        offer_one(a);
    else if (what < 99)
        stop_or_go(a, !a->out.bytes);
    else
        leave(a);
}

static uint64_t operations(void)
{
    const char *text = getenv("PARLEY_TEST_OPERATIONS");
    return text ? strtoull(text, NULL, 10) : OPERATIONS;
}

static void *run_thread(void *context)
{
    struct thread *t = context;
    for (uint64_t wanted = operations() / WORKERS; t->steps < wanted;) {
        for (uint32_t i = 1 + below(t, 8); i; i--)
            step(t);
        turn(t);
    }
    atomic_fetch_add(&finished, 1);
    while (atomic_load(&finished) < WORKERS) {
        turn(t);
        sched_yield();
    }
    return NULL;
}

static void wake(void *context, struct pl_worker *worker)
{
    (void)context;
    (void)worker;
}

static void login(
    void *context, struct pl_session *s, const struct pl_credentials *shown, uint64_t token)
{
    (void)context;
    (void)shown;
    pl_worker_logged_in(s->worker, s, PL_OK, pl_identity_ref(identity), realm, token);
}

static void run_all(void)
{
    for (int i = 0; i < 50; i++)
        for (int k = 0; k < WORKERS; k++)
            turn(&threads[k]);
}

/* Everyone reads again, and answers all that he was asked. */
static void settle(struct thread *t)
{
    t->is_over = true;
    for (int i = 0; i < ACTORS; i++) {
        struct actor *a = t->actors[i];
        if (!a || !a->is_joined)
            continue;
        stop_or_go(a, false);
        for (int k = 0; k < OPEN; k++)
            if (a->invocations[k].id)
                yield(a, &a->invocations[k], false, NULL);
    }
}

static uint32_t open_calls(const struct thread *t)
{
    uint32_t count = 0;
    for (int i = 0; i < ACTORS; i++)
        for (int k = 0; t->actors[i] && k < OPEN; k++)
            count += t->actors[i]->calls[k].token != 0;
    return count;
}

static bool start(void)
{
    static struct pl_worker_hooks hooks = {NULL, wake, login};
    atomic_store(&clock_ms, 1000);
    for (uint32_t i = 0; i < WORKERS; i++) {
        if (pl_worker_init(&workers[i], i, &hooks))
            return false;
        threads[i] = (struct thread){.worker = &workers[i], .random = i + 1};
    }
    realm = pl_realm_new("main", workers, WORKERS, &pl_realm_limits_default, 1, 1);
    identity = pl_identity_new_all("u", "r");
    return realm && identity;
}

static void stop(void)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        for (int k = 0; k < ACTORS; k++)
            if (threads[i].actors[k])
                leave(threads[i].actors[k]);
    run_all();
    struct pl_realm_stats stats;
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.sessions, 0);
    CHECK_EQ(stats.calls, 0);
    CHECK_EQ(stats.registrations, 0);
    pl_realm_free(realm);
    pl_identity_unref(identity);
    for (uint32_t i = 0; i < WORKERS; i++) {
        CHECK_EQ(threads[i].alive, 0);
        pl_worker_done(&workers[i]);
    }
}

TEST(every_call_ends_once_over_three_threads_whatever_its_sessions_do)
{
    REQUIRE(start());
    run_all();
    for (uint32_t i = 0; i < WORKERS; i++)
        REQUIRE(!pthread_create(&threads[i].id, NULL, run_thread, &threads[i]));
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i].id, NULL);
    for (uint32_t i = 0; i < WORKERS; i++)
        settle(&threads[i]);
    run_all();
    /* The time of those whose callee hears of it itself goes by here; a part more is all that
     * others wait for. */
    uint64_t failed[ERRORS] = {0}, progressed = 0, interrupted = 0, forced = 0, pressed = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        const struct thread *t = &threads[i];
        if (!CHECK_EQ(t->wrong, 0))
            printf("    first in line %d\n", t->wrong_line);
        CHECK_EQ(open_calls(t), 0);
        for (int k = 0; k < ACTORS; k++)
            CHECK(!t->actors[k] || !t->actors[k]->is_pressed);
        for (int err = 0; err < ERRORS; err++)
            failed[err] += t->failed[err];
        progressed += t->progressed;
        interrupted += t->interrupted;
        forced += t->forced;
        pressed += t->pressed;
    }
    struct pl_realm_stats stats;
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.calls, 0);
    /* It was no idle run. */
    CHECK(failed[PL_TIMEOUT] && failed[PL_CANCELED] && failed[PL_CALLEE_GONE]);
    CHECK(failed[PL_NO_CALLEE] && failed[PL_NOT_FOUND] && failed[PL_NO_PARTS]);
    CHECK(failed[PL_SLOW_CONSUMER]);
    CHECK(progressed && interrupted && forced && pressed);
    stop();
}
