/*
 * Three workers on three threads: publishers, steady subscribers, queue groups, and named sessions
 * that are claimed from everywhere while messages flow. Every subscriber checks that each
 * publisher's numbers rise, and the steady ones that none is missing. Run under TSan too.
 */
#include <pthread.h>
#include <sched.h>

#include "core/realm.h"
#include "core/worker.h"

#include "check.h"

#include <stdlib.h>

enum { WORKERS = 3, MESSAGES = 6000, NAMES = 4, CLAIMS = 400 };

struct actor {
    struct pl_session core;
    struct pl_subscription sub, queue_sub;
    struct actor *next;     /* to be freed at the end */
    uint32_t seen[WORKERS]; /* the last number of each publisher */
    uint32_t gaps, disorders, received, queued;
    bool is_joined, has_left, is_claimer, is_connected, is_subscribed;
    uint32_t thread; /* whose actors list it is in */
};

struct thread {
    pthread_t id;
    struct pl_worker *worker;
    struct actor *publisher, *steady;
    struct actor *actors;           /* all made by this thread */
    struct actor *connected[NAMES]; /* named sessions that are connected here */
    bool is_claiming[NAMES];
    uint32_t published, claims;
    uint64_t random;
};

static struct pl_worker workers[WORKERS];
static struct thread threads[WORKERS];
static struct pl_realm *realm;
static struct pl_identity *identity;
static atomic_uint finished;

static void on_deliver(struct pl_session *s, struct pl_subscription *sub, const struct pl_run *run)
{
    struct actor *a = PL_CONTAINER(s, struct actor, core);
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        uint32_t number, from;
        memcpy(&number, m->payload.data, 4);
        memcpy(&from, m->payload.data + 4, 4);
        if (sub == &a->queue_sub) {
            a->queued++;
            continue;
        }
        a->disorders += number <= a->seen[from];
        a->gaps += number != a->seen[from] + 1;
        a->seen[from] = number;
        a->received++;
    }
}

static struct thread *thread_of(const struct pl_session *s)
{
    return &threads[s->worker->index];
}

static struct pl_output *fake_output(struct thread *t)
{
    /* Never written to: being connected is all that counts here. */
    static struct pl_output outputs[WORKERS];
    return &outputs[t->worker->index];
}

static void on_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct actor *a = PL_CONTAINER(s, struct actor, core);
    struct thread *t = thread_of(s);
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        if (!a->is_claimer)
            pl_session_join(s, 0);
        break;
    case PL_DONE_JOIN:
        a->is_joined = true;
        break;
    case PL_DONE_CLAIM: {
        uint32_t name = (uint32_t)done->token;
        t->is_claiming[name] = false;
        struct actor *now = PL_CONTAINER(done->session, struct actor, core);
        now->core.out = fake_output(t);
        now->is_connected = true;
        t->connected[name] = now;
        if (now != a) {
            pl_session_leave(s, false);
        } else {
            pl_session_subscribe(s, &a->sub, NULL, 0);
            a->is_subscribed = true;
        }
        break;
    }
    case PL_DONE_LEAVE:
        a->has_left = true;
        break;
    case PL_DONE_SUBSCRIBE:
    case PL_DONE_UNSUBSCRIBE:
    case PL_DONE_REPLAY:
    case PL_DONE_STATE:
    case PL_DONE_PUBLISH:
    case PL_DONE_FENCE:
    case PL_DONE_REGISTER:
    case PL_DONE_UNREGISTER:
    case PL_DONE_LOG:
        break;
    }
}

static void on_ended(struct pl_session *s, enum pl_err why)
{
    struct actor *a = PL_CONTAINER(s, struct actor, core);
    (void)why;
    s->out = NULL;
    a->is_connected = false;
    struct thread *t = thread_of(s);
    for (uint32_t i = 0; i < NAMES; i++)
        if (t->connected[i] == a)
            t->connected[i] = NULL;
}

static const struct pl_session_ops actor_ops = {
    .name = "actor", .deliver = on_deliver, .complete = on_complete, .ended = on_ended};

static struct actor *new_actor(struct thread *t)
{
    struct actor *a = calloc(1, sizeof *a);
    a->next = t->actors;
    t->actors = a;
    pl_session_init(&a->core, &actor_ops, t->worker, fake_output(t));
    struct pl_credentials nobody = {.protocol = "test"};
    CHECK_EQ(pl_pattern_parse(PL_BYTES("t.*"), &a->sub.pattern), PL_OK);
    pl_session_login(&a->core, &nobody, 0);
    return a;
}

static uint32_t below(struct thread *t, uint32_t n)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % n;
}

static void turn(struct thread *t)
{
    pl_worker_begin(t->worker, 1000, 1000000);
    while (pl_worker_turn(t->worker))
        ;
}

static void publish_some(struct thread *t)
{
    static const char *const subjects[] = {"t.0", "t.1", "t.2"};
    uint32_t n = below(t, 20);
    for (uint32_t i = 0; i < n && t->published < MESSAGES; i++) {
        uint32_t numbers[2] = {++t->published, t->worker->index};
        struct pl_bytes payload = {
            (const uint8_t *)pl_arena_copy(
                pl_session_arena(&t->publisher->core), pl_bytes_of(numbers, sizeof numbers)),
            sizeof numbers};
        struct pl_message draft = {
            .subject = pl_bytes_text(subjects[t->worker->index]), .payload = payload};
        CHECK(pl_session_publish(&t->publisher->core, &draft, NULL, 0, 0) == PL_OK);
    }
}

static void churn(struct thread *t)
{
    static const char *const names[NAMES] = {"n0", "n1", "n2", "n3"};
    uint32_t name = below(t, NAMES);
    struct actor *here = t->connected[name];
    if (here && below(t, 2)) {
        t->connected[name] = NULL;
        here->is_connected = false;
        here->core.out = NULL;
        pl_session_detach(&here->core, true);
    } else if (!t->is_claiming[name] && t->claims < CLAIMS) {
        struct actor *a = new_actor(t);
        a->is_claimer = true;
        turn(t);
        struct pl_claim claim = {.name = pl_bytes_text(names[name]), .expiry_ms = 1000000};
        t->is_claiming[name] = true;
        t->claims++;
        pl_session_claim(&a->core, &claim, name);
    }
}

static void *run_thread(void *context)
{
    struct thread *t = context;
    while (t->published < MESSAGES || t->claims < CLAIMS) {
        publish_some(t);
        churn(t);
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

TEST(order_and_every_message_survive_three_threads_with_takeovers)
{
    struct pl_worker_hooks hooks = {NULL, wake, login};
    for (uint32_t i = 0; i < WORKERS; i++) {
        REQUIRE(pl_worker_init(&workers[i], i, &hooks) == PL_OK);
        threads[i] = (struct thread){.worker = &workers[i], .random = i + 1};
    }
    realm = pl_realm_new("main", workers, WORKERS, &pl_realm_limits_default, 1, 1);
    identity = pl_identity_new_all("u", "r");
    REQUIRE(realm && identity);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct thread *t = &threads[i];
        t->publisher = new_actor(t);
        t->steady = new_actor(t);
    }
    run_all();
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct actor *a = threads[i].steady;
        CHECK(a->is_joined);
        pl_session_subscribe(&a->core, &a->sub, NULL, 0);
        a->is_subscribed = true;
        CHECK_EQ(pl_pattern_parse(PL_BYTES("t.>"), &a->queue_sub.pattern), PL_OK);
        a->queue_sub.queue = PL_BYTES("group");
        pl_session_subscribe(&a->core, &a->queue_sub, NULL, 0);
    }
    run_all();
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i].id, NULL, run_thread, &threads[i]);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i].id, NULL);
    run_all();
    uint32_t queued = 0, named = 0, disorders = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct actor *steady = threads[i].steady;
        CHECK_EQ(steady->received, WORKERS * MESSAGES);
        CHECK_EQ(steady->gaps, 0);
        queued += steady->queued;
        for (struct actor *a = threads[i].actors; a; a = a->next) {
            disorders += a->disorders;
            named += a->is_claimer && a->received > 0;
        }
    }
    CHECK_EQ(queued, WORKERS * MESSAGES);
    CHECK_EQ(disorders, 0);
    CHECK(named > 0);
    /* Named sessions are nobody's child: end them by leaving from where they are. */
    for (uint32_t i = 0; i < WORKERS; i++)
        for (struct actor *a = threads[i].actors; a; a = a->next)
            if (!a->has_left)
                pl_session_leave(&a->core, false);
    run_all();
    struct pl_realm_stats stats;
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.sessions, 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        while (threads[i].actors) {
            struct actor *a = threads[i].actors;
            threads[i].actors = a->next;
            CHECK(a->has_left);
            pl_pattern_unref(a->sub.pattern);
            pl_session_done(&a->core);
            free(a);
        }
    pl_realm_free(realm);
    pl_identity_unref(identity);
    for (uint32_t i = 0; i < WORKERS; i++)
        pl_worker_done(&workers[i]);
}
