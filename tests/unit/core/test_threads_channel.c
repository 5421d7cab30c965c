/*
 * Members come to two channels and go again, on three threads, at seats that they contest. Each has
 * the whole history when it joins, then what is said: nobody misses, doubles or reorders anything,
 * nobody hears himself, and no seat is ever two members'. Run under TSan too.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "core/realm.h"
#include "core/worker.h"

#include "check.h"

enum { WORKERS = 3, MEMBERS = 150, SAYS = 6, SEATS = 4, CHANNELS = 2, AGE_MS = 1000 };

struct member {
    struct pl_session core;
    struct pl_subscription sub;
    struct pl_pattern *pattern; /* until it subscribes */
    struct member *next;        /* all of its thread */
    uint32_t id, seat, channel, said;
    bool is_joined, is_refused, has_left, is_leaving;
    uint64_t offset;                 /* of what it heard last */
    uint8_t seen[WORKERS * MEMBERS]; /* the last number of each other member */
    uint32_t notes, gaps, disorders, own;
};

struct thread {
    pthread_t id;
    struct pl_worker *worker;
    struct member *members;
    uint32_t count;
    uint64_t random;
};

static const char *const channels[CHANNELS] = {"red.room", "blue.room"};
static const char *const seats[SEATS] = {"s0", "s1", "s2", "s3"};
static struct pl_worker workers[WORKERS];
static struct thread threads[WORKERS];
static struct pl_realm *realm;
static struct pl_identity *identity;
static atomic_uint finished;
static atomic_int sitting[SEATS];
static atomic_uint joined, refused;
static uint64_t now_ms = 1000;

static uint32_t below(struct thread *t, uint32_t n)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % n;
}

static struct thread *thread_of(const struct pl_session *s)
{
    return &threads[s->worker->index];
}

static void on_deliver(struct pl_session *s, struct pl_subscription *sub, const struct pl_run *run)
{
    struct member *m = PL_CONTAINER(s, struct member, core);
    (void)sub;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *said = run->messages[i];
        uint32_t from, number;
        memcpy(&from, said->payload.data, 4);
        memcpy(&number, said->payload.data + 4, 4);
        m->disorders += said->offset <= m->offset;
        m->offset = said->offset;
        m->own += from == m->id;
        m->notes += said->is_note;
        if (!said->is_note) {
            m->gaps += number != m->seen[from] + 1u;
            m->seen[from] = (uint8_t)number;
        }
    }
}

static void say(struct member *m, bool is_note)
{
    uint32_t numbers[2] = {m->id, is_note ? 0 : ++m->said};
    struct pl_message draft = {
        .subject = pl_bytes_text(channels[m->channel]),
        .payload = pl_bytes_of(
            pl_arena_copy(pl_session_arena(&m->core), pl_bytes_of(numbers, sizeof numbers)),
            sizeof numbers),
        .is_note = is_note,
    };
    CHECK(pl_session_publish(&m->core, &draft, NULL, 0, 0) == PL_OK);
}

static void leave(struct member *m)
{
    if (m->is_leaving)
        return;
    m->is_leaving = true;
    if (m->is_joined)
        atomic_fetch_sub(&sitting[m->seat], 1);
    pl_session_leave(&m->core, false);
}

static void on_join(struct member *m, enum pl_err err)
{
    if (m->is_leaving)
        return;
    if (err) {
        CHECK_EQ(err, PL_EXISTS);
        atomic_fetch_add(&refused, 1);
        leave(m);
        return;
    }
    CHECK_EQ(atomic_fetch_add(&sitting[m->seat], 1), 0);
    atomic_fetch_add(&joined, 1);
    m->is_joined = true;
    m->sub =
        (struct pl_subscription){.pattern = m->pattern, .flags = PL_SUB_NO_LOCAL | PL_SUB_NOTES};
    m->pattern = NULL;
    pl_session_subscribe(
        &m->core, &m->sub, &(struct pl_subscribe_options){.from_start = true, .claims = true}, 0);
    say(m, true);
    say(m, false);
}

static void on_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct member *m = PL_CONTAINER(s, struct member, core);
    if (done->kind == PL_DONE_LOGIN)
        pl_session_join_at(s, pl_bytes_text(seats[m->seat]), 0);
    else if (done->kind == PL_DONE_JOIN)
        on_join(m, done->err);
    else if (done->kind == PL_DONE_SUBSCRIBE)
        CHECK_EQ(done->err, PL_OK);
    else if (done->kind == PL_DONE_LEAVE)
        m->has_left = true;
}

static void on_ended(struct pl_session *s, enum pl_err why)
{
    (void)why;
    leave(PL_CONTAINER(s, struct member, core));
}

static void on_contested(struct pl_session *s)
{
    if (below(thread_of(s), 2))
        pl_session_hold_seat(s);
    else
        leave(PL_CONTAINER(s, struct member, core));
}

static const struct pl_session_ops member_ops = {
    .name = "member",
    .deliver = on_deliver,
    .complete = on_complete,
    .ended = on_ended,
    .contested = on_contested,
};

static void new_member(struct thread *t)
{
    struct member *m = calloc(1, sizeof *m);
    m->id = t->worker->index * MEMBERS + t->count++;
    m->seat = below(t, SEATS);
    m->channel = below(t, CHANNELS);
    m->next = t->members;
    t->members = m;
    CHECK_EQ(pl_pattern_new_literal(pl_bytes_text(channels[m->channel]), &m->pattern), PL_OK);
    pl_session_init(&m->core, &member_ops, t->worker, NULL);
    pl_session_login(&m->core, &(struct pl_credentials){.protocol = "test"}, 0);
}

static void turn(struct thread *t)
{
    pl_worker_begin(t->worker, now_ms, 1000000 + now_ms);
    while (pl_worker_turn(t->worker))
        ;
}

static void *run_thread(void *context)
{
    struct thread *t = context;
    bool is_anyone_here = true;
    while (t->count < MEMBERS || is_anyone_here) {
        if (t->count < MEMBERS && below(t, 3) == 0)
            new_member(t);
        is_anyone_here = false;
        for (struct member *m = t->members; m; m = m->next) {
            is_anyone_here |= !m->has_left;
            if (!m->is_joined || m->is_leaving)
                continue;
            if (m->said < SAYS && below(t, 2))
                say(m, false);
            else if (below(t, 20) == 0)
                leave(m);
        }
        turn(t);
        sched_yield();
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
    (void)context, (void)worker;
}

static void login(
    void *context, struct pl_session *s, const struct pl_credentials *shown, uint64_t token)
{
    (void)context, (void)shown;
    pl_worker_logged_in(s->worker, s, PL_OK, pl_identity_ref(identity), realm, token);
}

TEST(members_on_three_threads_hear_everything_once_and_no_seat_is_two_members)
{
    struct pl_worker_hooks hooks = {NULL, wake, login};
    for (uint32_t i = 0; i < WORKERS; i++) {
        REQUIRE(pl_worker_init(&workers[i], i, &hooks) == PL_OK);
        threads[i] = (struct thread){.worker = &workers[i], .random = i + 1};
    }
    realm = pl_realm_new("main", workers, WORKERS, &pl_realm_limits_default, 1, 1);
    identity = pl_identity_new_all("", "all");
    REQUIRE(realm && identity);
    pl_realm_set_claims(realm, &(struct pl_history_claims){.subjects = 10, .age_ms = AGE_MS});
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i].id, NULL, run_thread, &threads[i]);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i].id, NULL);

    uint32_t notes = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        for (struct member *m = threads[i].members; m; m = m->next) {
            CHECK(m->has_left && !m->disorders && !m->gaps && !m->own);
            notes += m->notes;
        }
    }
    CHECK(notes > 0);
    CHECK(atomic_load(&joined) >= WORKERS && atomic_load(&refused) > 0);
    struct pl_realm_stats stats;
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.sessions, 0);
    CHECK(stats.history_count > 0);
    now_ms += AGE_MS;
    for (uint32_t i = 0; i < WORKERS; i++)
        turn(&threads[i]);
    pl_realm_tick(realm, &workers[0]);
    turn(&threads[0]);
    pl_realm_stats(realm, &stats);
    CHECK_EQ(stats.history_count, 0); /* every claim was released */
    for (uint32_t i = 0; i < WORKERS; i++)
        while (threads[i].members) {
            struct member *m = threads[i].members;
            threads[i].members = m->next;
            pl_pattern_unref(m->pattern);
            pl_pattern_unref(m->sub.pattern);
            pl_session_done(&m->core);
            free(m);
        }
    pl_realm_free(realm);
    pl_identity_unref(identity);
    for (uint32_t i = 0; i < WORKERS; i++)
        pl_worker_done(&workers[i]);
}
