/*
 * Three workers on three threads: sessions register, call, cancel, answer, pass and leave at
 * random, all in the same names, while time passes. Each call of who stayed is answered once to its
 * end; a callee is invoked in the order of its numbers, between its registration and its
 * withdrawal. Run under TSan too.
 *
 *     PARLEY_TEST_OPERATIONS=1000000 build/tsan/tests/unit/test_core_threads_calls
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "core/realm.h"
#include "core/worker.h"

#include "base/hash.h"
#include "check.h"

enum { WORKERS = 3, SLOTS = 4, NAMES = 5, OFFERS = 3, OPEN_MAX = 32, OPERATIONS = 60000 };

static const char *const names[NAMES] = {"p.a", "p.b", "p.a.c", "q", "q.r"};

struct actor;

struct offer {
    struct pl_callee core; /* first */
    bool is_there, is_going;
};

struct actor {
    struct pl_session core; /* first */
    struct pl_output out;
    struct offer *offers[OFFERS];
    uint64_t invocations[OPEN_MAX]; /* that wait for an answer, as far as we know */
    uint32_t invocation_count;
    uint64_t last_invocation, tokens;
    uint64_t open[OPEN_MAX]; /* tokens of calls that have not ended */
    uint32_t open_count;
    bool is_joined, is_leaving, has_left;
};

struct thread {
    pthread_t id;
    struct pl_worker *worker;
    struct actor *slots[SLOTS];
    struct pl_random random;
    uint64_t now_ms;
    uint32_t operations, ended, answered, twice, disorder, unknown;
};

static struct pl_worker workers[WORKERS];
static struct thread threads[WORKERS];
static struct pl_realm *realm;
static struct pl_identity *identity;
static atomic_uint finished;
static uint32_t operations_each;

static struct thread *thread_of(const struct pl_session *s)
{
    return &threads[s->worker->index];
}

static bool take(uint64_t *list, uint32_t *count, uint64_t value)
{
    for (uint32_t i = 0; i < *count; i++)
        if (list[i] == value) {
            list[i] = list[--*count];
            return true;
        }
    return false;
}

static void drop_offer(struct actor *a, struct pl_callee *callee)
{
    for (int i = 0; i < OFFERS; i++)
        if (a->offers[i] == (struct offer *)callee)
            a->offers[i] = NULL;
    free(callee);
}

static void on_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct actor *a = (struct actor *)s;
    switch (done->kind) {
    case PL_DONE_JOIN:
        a->is_joined = !done->err;
        break;
    case PL_DONE_REGISTER:
        ((struct offer *)done->callee)->is_there = !done->err;
        if (done->err)
            drop_offer(a, done->callee);
        break;
    case PL_DONE_UNREGISTER:
        drop_offer(a, done->callee);
        break;
    case PL_DONE_LEAVE:
        a->has_left = true;
        break;
    default:
        break;
    }
}

static void on_ended(struct pl_session *s, enum pl_err why)
{
    (void)why;
    ((struct actor *)s)->is_leaving = true;
    pl_session_leave(s, false);
}

static void on_invoke(struct pl_session *s, const struct pl_invocation *i)
{
    struct actor *a = (struct actor *)s;
    struct thread *t = thread_of(s);
    const struct offer *offer = (const struct offer *)i->callee;
    t->disorder += i->id != a->last_invocation + 1 || !offer->is_there;
    a->last_invocation = i->id;
    if (a->invocation_count < OPEN_MAX)
        a->invocations[a->invocation_count++] = i->id;
}

static void on_interrupt(
    struct pl_session *s, uint64_t invocation, enum pl_cancel mode, enum pl_err why)
{
    struct actor *a = (struct actor *)s;
    (void)why;
    if (mode != PL_CANCEL_KILL)
        (void)take(a->invocations, &a->invocation_count, invocation);
}

static void on_answer(struct pl_session *s, const struct pl_result *result)
{
    struct actor *a = (struct actor *)s;
    struct thread *t = thread_of(s);
    t->unknown += result->token > a->tokens || (!result->err && !result->message);
    if (result->is_progress)
        return;
    t->ended++;
    t->answered += !result->err;
    t->twice += !take(a->open, &a->open_count, result->token);
}

static void on_unregistered(struct pl_session *s, struct pl_callee *callee)
{
    (void)s;
    ((struct offer *)callee)->is_going = true;
}

static void on_press(struct pl_session *s, bool is_on)
{
    (void)s;
    (void)is_on;
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

static struct actor *new_actor(struct thread *t)
{
    struct actor *a = calloc(1, sizeof *a);
    pl_output_init(&a->out, &t->worker->outputs, 1 << 20);
    pl_session_init(&a->core, &actor_ops, t->worker, &a->out);
    a->core.realm = realm;
    a->core.identity = pl_identity_ref(identity);
    pl_session_join(&a->core, 0);
    return a;
}

static void free_actor(struct actor *a)
{
    for (int i = 0; i < OFFERS; i++)
        free(a->offers[i]);
    pl_session_done(&a->core);
    pl_output_done(&a->out);
    free(a);
}

static uint32_t roll(struct thread *t, uint32_t below)
{
    return pl_random_below(&t->random, below);
}

static void add_offer(struct thread *t, struct actor *a)
{
    for (int i = 0; i < OFFERS; i++) {
        if (a->offers[i])
            continue;
        struct offer *offer = calloc(1, sizeof *offer);
        struct pl_bytes name = pl_bytes_text(names[roll(t, NAMES)]);
        enum pl_err err = roll(t, 3) ? pl_pattern_new_literal(name, &offer->core.pattern)
                                     : pl_pattern_new_prefix(name, &offer->core.pattern);
        CHECK(err == PL_OK);
        offer->core.invoke = (uint8_t)(PL_INVOKE_ROUNDROBIN + roll(t, 4));
        offer->core.flags = (uint8_t)(roll(t, 2) ? PL_CALLEE_CAN_CANCEL : 0);
        offer->core.flags |= (uint8_t)(roll(t, 10) ? 0 : PL_CALLEE_FORCED);
        offer->core.concurrency = roll(t, 2) ? 0 : 2;
        a->offers[i] = offer;
        pl_session_register(&a->core, &offer->core, 0);
        return;
    }
}

static void drop_one(struct thread *t, struct actor *a)
{
    struct offer *offer = a->offers[roll(t, OFFERS)];
    if (!offer || !offer->is_there || offer->is_going)
        return;
    offer->is_going = true;
    pl_session_unregister(&a->core, &offer->core, 0);
}

static void make_call(struct thread *t, struct actor *a)
{
    if (a->open_count == OPEN_MAX)
        return;
    const struct pl_message draft = {
        .subject = pl_bytes_text(names[roll(t, NAMES)]), .payload = PL_BYTES("question")};
    a->open[a->open_count++] = ++a->tokens;
    pl_session_call(&a->core, &draft, NULL, roll(t, 2) ? PL_CALL_WANTS_PROGRESS : 0,
        roll(t, 3) ? 0 : 1 + roll(t, 50), a->tokens);
}

static void answer(struct thread *t, struct actor *a)
{
    static const struct pl_properties progress = {.is_progress = true, .expires_ms = PL_NEVER};
    if (!a->invocation_count)
        return;
    uint64_t id = a->invocations[roll(t, a->invocation_count)];
    bool is_last = roll(t, 3);
    const struct pl_message draft = {
        .payload = PL_BYTES("answer"), .properties = is_last ? NULL : &progress};
    if (is_last)
        (void)take(a->invocations, &a->invocation_count, id);
    if (is_last && !roll(t, 6))
        pl_session_pass(&a->core, id);
    else
        pl_session_yield(&a->core, id, &draft, NULL);
}

static void do_one(struct thread *t, struct actor *a)
{
    uint32_t what = roll(t, 100);
    if (what < 10)
        add_offer(t, a);
    else if (what < 14)
        drop_one(t, a);
    else if (what < 50)
        make_call(t, a);
    else if (what < 58 && a->open_count)
        pl_session_cancel(&a->core, a->open[roll(t, a->open_count)], (enum pl_cancel)roll(t, 3));
    else if (what < 99)
        answer(t, a);
    else if (!roll(t, 3)) {
        a->is_leaving = true;
        pl_session_leave(&a->core, false);
    }
    t->operations++;
}

static void turn(struct thread *t)
{
    t->now_ms++;
    pl_worker_begin(t->worker, t->now_ms, t->now_ms + 1000000);
    if (t->worker->index == 0)
        pl_realm_tick(realm, t->worker);
    while (pl_worker_turn(t->worker))
        continue;
}

static void *run_thread(void *context)
{
    struct thread *t = context;
    while (t->operations < operations_each) {
        struct actor **slot = &t->slots[roll(t, SLOTS)];
        if ((*slot)->has_left) {
            free_actor(*slot);
            *slot = new_actor(t);
        }
        for (uint32_t n = roll(t, 8); n && (*slot)->is_joined && !(*slot)->is_leaving; n--)
            do_one(t, *slot);
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

static void run_all(void)
{
    for (int i = 0; i < 20; i++)
        for (int k = 0; k < WORKERS; k++)
            turn(&threads[k]);
}

/* Everything is answered, also what was answered before: then each call has ended. */
static void answer_all(struct actor *a)
{
    const struct pl_message draft = {.payload = PL_BYTES("at last")};
    for (uint64_t id = 1; !a->is_leaving && id <= a->last_invocation; id++)
        pl_session_yield(&a->core, id, &draft, NULL);
}

static void end_all(void)
{
    struct pl_realm_stats stats;
    for (int k = 0; k < WORKERS; k++)
        for (int i = 0; i < SLOTS; i++)
            answer_all(threads[k].slots[i]);
    run_all();
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.calls, 0);
    for (int k = 0; k < WORKERS; k++)
        for (int i = 0; i < SLOTS; i++) {
            struct actor *a = threads[k].slots[i];
            CHECK(a->is_leaving || a->open_count == 0);
            if (!a->is_leaving)
                pl_session_leave(&a->core, false);
        }
    run_all();
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.registrations, 0);
    CHECK_EQ(stats.sessions, 0);
    for (int k = 0; k < WORKERS; k++)
        for (int i = 0; i < SLOTS; i++) {
            CHECK(threads[k].slots[i]->has_left);
            free_actor(threads[k].slots[i]);
        }
}

TEST(calls_end_once_and_in_order_on_three_threads)
{
    const char *wanted = getenv("PARLEY_TEST_OPERATIONS");
    struct pl_worker_hooks hooks = {NULL, wake, NULL};
    operations_each = (uint32_t)(wanted ? strtoul(wanted, NULL, 10) : OPERATIONS) / WORKERS;
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.registrations_max = OFFERS;
    limits.calls_max = OPEN_MAX;
    for (uint32_t i = 0; i < WORKERS; i++) {
        REQUIRE(pl_worker_init(&workers[i], i, &hooks) == PL_OK);
        threads[i] = (struct thread){
            .worker = &workers[i], .random = pl_random_seeded(i + 1), .now_ms = 1000};
        pl_worker_begin(&workers[i], 1000, 1000000);
    }
    realm = pl_realm_new("main", workers, WORKERS, &limits, 1, 1);
    identity = pl_identity_new_all("u", "r");
    REQUIRE(realm && identity);
    for (uint32_t k = 0; k < WORKERS; k++)
        for (int i = 0; i < SLOTS; i++)
            threads[k].slots[i] = new_actor(&threads[k]);
    run_all();
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i].id, NULL, run_thread, &threads[i]);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i].id, NULL);
    run_all();
    end_all();
    uint32_t ended = 0, answered = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        CHECK_EQ(threads[i].twice, 0);
        CHECK_EQ(threads[i].disorder, 0);
        CHECK_EQ(threads[i].unknown, 0);
        ended += threads[i].ended;
        answered += threads[i].answered;
    }
    CHECK(ended > operations_each / 4);
    CHECK(answered > operations_each / 40);
    pl_realm_free(realm);
    pl_identity_unref(identity);
    for (uint32_t i = 0; i < WORKERS; i++)
        pl_worker_done(&workers[i]);
}
