#include "core/realm_state.h"

#include "base/alloc.h"

enum { CACHE_MAX = 1 << 15, EXPIRE_EVERY_MS = 1000 };

const struct pl_realm_limits pl_realm_limits_default = {
    .payload_max = 1024 * 1024,
    .subject_max = 4096,
    .subscriptions_max = 100000,
    .registrations_max = 100000,
    .calls_max = 65536,
    .sessions_max = 1000000,
    .retained_count_max = 1000000,
    .retained_bytes_max = 256u * 1024 * 1024,
    .history_bytes_max = 256u * 1024 * 1024,
    .reply_grant_ms = 30000,
    .reply_grants_max = 1024,
    .session_expiry_max_ms = PL_NEVER,
    .backlog_max = 1000,
};

struct pl_realm *pl_realm_new(const char *name, struct pl_worker *workers, uint32_t worker_count,
    const struct pl_realm_limits *limits, uint64_t seed, uint64_t epoch)
{
    PL_ASSERT(worker_count > 0 && worker_count <= PL_WORKERS_MAX);
    struct pl_realm *realm = pl_zalloc(sizeof *realm);
    if (!realm)
        return NULL;
    pthread_mutex_init(&realm->lock, NULL);
    realm->workers = workers;
    realm->worker_count = worker_count;
    realm->limits = *limits;
    realm->seed = seed;
    realm->epoch = epoch;
    realm->random = pl_random_seeded(seed);
    pl_map_init(&realm->names, seed);
    pl_map_init(&realm->seats, seed);
    pl_dealer_init(&realm->dealer, seed);
    pl_map_init(&realm->presences, seed);
    realm->name = pl_alloc_copy(name, strlen(name));
    realm->matcher = pl_matcher_new(seed, CACHE_MAX);
    realm->retained = pl_retained_new(seed, limits->retained_count_max, limits->retained_bytes_max);
    realm->history = pl_history_new(seed, epoch, limits->history_bytes_max);
    if (!realm->name || !realm->matcher || !realm->retained || !realm->history)
        return pl_realm_free(realm);
    return realm;
}

struct pl_realm *pl_realm_free(struct pl_realm *realm)
{
    if (!realm)
        return NULL;
    PL_ASSERT(!realm->sessions);
    pl_deferrals_done(&realm->deferrals);
    pl_free(realm->epochs);
    pl_matcher_free(realm->matcher);
    pl_retained_free(realm->retained);
    pl_history_free(realm->history);
    pl_map_done(&realm->names);
    pl_map_done(&realm->seats);
    pl_dealer_done(&realm->dealer);
    pl_map_done(&realm->presences);
    pl_heap_done(&realm->deadlines);
    pthread_mutex_destroy(&realm->lock);
    pl_free(realm->name);
    pl_free(realm);
    return NULL;
}

const char *pl_realm_name(const struct pl_realm *realm)
{
    return realm->name;
}

const struct pl_realm_limits *pl_realm_limits(const struct pl_realm *realm)
{
    return &realm->limits;
}

uint32_t pl_realm_worker_count(const struct pl_realm *realm)
{
    return realm->worker_count;
}

uint64_t pl_realm_seed(const struct pl_realm *realm)
{
    return realm->seed;
}

uint64_t pl_realm_epoch(const struct pl_realm *realm)
{
    return realm->epoch;
}

enum pl_err pl_realm_add_history(struct pl_realm *realm, struct pl_history_rule rule)
{
    enum pl_err err = pl_history_add_rule(realm->history, rule);
    realm->has_history = pl_history_has_rules(realm->history);
    return err;
}

void pl_realm_set_claims(struct pl_realm *realm, const struct pl_history_claims *claims)
{
    pl_history_set_claims(realm->history, claims);
    realm->has_history = pl_history_has_rules(realm->history);
}

/* A batch outside the worker's open ones: no session's op can stand in it. */
static struct pl_batch *own_batch(struct pl_realm *realm, struct pl_worker *w)
{
    struct pl_batch *open = w->open;
    w->open = NULL;
    struct pl_batch *b = pl_batch_open(w, realm);
    w->open = open;
    if (b)
        b->next = NULL;
    return b;
}

void pl_realm_set_journal(struct pl_realm *realm, const struct pl_journal *journal)
{
    pthread_mutex_lock(&realm->lock);
    realm->journal = journal;
    pthread_mutex_unlock(&realm->lock);
}

/* A part of what has been decided; true: there is more, and memory for it. */
static bool run_decided(struct pl_realm *realm, struct pl_worker *home)
{
    struct pl_batch *b = own_batch(realm, home);
    if (!b)
        return false; /* the next tick comes */
    struct pl_runner r = {
        .realm = realm,
        .batch = b,
        .now_ms = home->now_ms,
        .now_unix_ms = home->now_unix_ms,
    };
    pthread_mutex_lock(&realm->lock);
    struct pl_batch *spent;
    bool is_more = pl_run_decided(&r, &spent);
    pl_run_let_go(&r);
    uint64_t wake = pl_realm_hand_over(realm, b);
    pthread_mutex_unlock(&realm->lock);
    pl_realm_wake(realm, wake);
    while (spent) {
        struct pl_batch *next = spent->next;
        spent->next = NULL;
        pl_batch_release(spent, home);
        spent = next;
    }
    return is_more;
}

void pl_realm_committed(
    struct pl_realm *realm, struct pl_worker *home, uint64_t ticket, enum pl_err err)
{
    pthread_mutex_lock(&realm->lock);
    pl_deferrals_decide(&realm->deferrals, ticket, err);
    bool is_more = realm->deferrals.head < realm->deferrals.decided;
    pthread_mutex_unlock(&realm->lock);
    while (is_more)
        is_more = run_decided(realm, home);
}

static void forget_retained(void *context, struct pl_bytes subject)
{
    pl_store_retained(context, subject);
}

void pl_realm_tick(struct pl_realm *realm, struct pl_worker *home)
{
    pl_realm_committed(realm, home, 0, PL_OK); /* what met no memory */
    struct pl_batch *b = own_batch(realm, home);
    if (!b)
        return; /* no memory: the next tick comes */
    struct pl_runner r = {
        .realm = realm,
        .batch = b,
        .now_ms = home->now_ms,
        .now_unix_ms = home->now_unix_ms,
    };
    pthread_mutex_lock(&realm->lock);
    pl_run_due(&r);
    if (realm->dealer.stuck)
        pl_run_stuck_calls(&r);
    pl_run_let_go(&r);
    if (home->now_ms >= realm->expire_next_ms) {
        uint64_t forgotten = pl_history_forgotten(realm->history);
        pl_history_expire(realm->history, home->now_unix_ms);
        if (forgotten != pl_history_forgotten(realm->history))
            pl_matcher_touch(realm->matcher);
        if (realm->journal)
            pl_store_dropped(realm);
        pl_retained_expire(realm->retained, home->now_ms, forget_retained, &r);
        pl_run_let_go(&r);
        realm->expire_next_ms = home->now_ms + EXPIRE_EVERY_MS;
    }
    uint64_t wake = pl_realm_hand_over(realm, b);
    pthread_mutex_unlock(&realm->lock);
    pl_realm_wake(realm, wake);
}

enum pl_err pl_realm_publish(
    struct pl_realm *realm, struct pl_worker *worker, const struct pl_message *draft)
{
    struct pl_message *kept = pl_message_keep(draft);
    /* The draft's hold on the copy goes: it stands nowhere. */
    struct pl_message *hold =
        atomic_load_explicit(&((struct pl_message *)(uintptr_t)draft)->kept, memory_order_relaxed);
    if (!kept)
        return PL_NO_MEMORY;
    if (hold && !draft->is_kept) {
        pl_message_unref(hold);
        atomic_store_explicit(
            &((struct pl_message *)(uintptr_t)draft)->kept, NULL, memory_order_relaxed);
    }
    struct pl_batch *b = own_batch(realm, worker);
    if (!b) {
        pl_message_unref(kept);
        return PL_NO_MEMORY;
    }
    struct pl_runner r = {
        .realm = realm,
        .batch = b,
        .now_ms = worker->now_ms,
        .now_unix_ms = worker->now_unix_ms,
    };
    pthread_mutex_lock(&realm->lock);
    pl_run_publish_kept(&r, kept);
    pl_run_let_go(&r);
    uint64_t wake = pl_realm_hand_over(realm, b);
    pthread_mutex_unlock(&realm->lock);
    pl_realm_wake(realm, wake);
    return PL_OK;
}

void pl_realm_set_observer(struct pl_realm *realm, struct pl_session *observer)
{
    pthread_mutex_lock(&realm->lock);
    realm->observer = observer;
    pthread_mutex_unlock(&realm->lock);
}

void pl_realm_stats(struct pl_realm *realm, struct pl_realm_stats *out)
{
    pthread_mutex_lock(&realm->lock);
    *out = (struct pl_realm_stats){
        .sessions = realm->session_count,
        .sessions_detached = realm->detached_count,
        .subscriptions = pl_matcher_count(realm->matcher),
        .registrations = realm->dealer.registrations.count,
        .calls = realm->dealer.open_count,
        .retained_count = pl_retained_count(realm->retained),
        .retained_bytes = pl_retained_bytes(realm->retained),
        .history_count = pl_history_count(realm->history),
        .history_bytes = pl_history_bytes(realm->history),
        .publications = realm->publications,
    };
    pthread_mutex_unlock(&realm->lock);
}

void pl_realm_each_session(struct pl_realm *realm, pl_session_fn *fn, void *context)
{
    pthread_mutex_lock(&realm->lock);
    for (struct pl_session *s = realm->sessions; s; s = s->realm_next)
        fn(context, s);
    pthread_mutex_unlock(&realm->lock);
}

void pl_realm_each_subscription(struct pl_realm *realm, pl_subscription_fn *fn, void *context)
{
    pthread_mutex_lock(&realm->lock);
    pl_matcher_each(realm->matcher, fn, context);
    pthread_mutex_unlock(&realm->lock);
}

static bool add_item(
    struct pl_batch *b, struct pl_session *s, enum pl_item_kind kind, struct pl_item **out)
{
    if (pl_batch_reserve_items(b, 1))
        return false;
    *out = pl_batch_item(b, kind, s->address);
    (*out)->session = s;
    return true;
}

void pl_realm_review(
    struct pl_realm *realm, struct pl_worker *worker, pl_review_fn *fn, void *context)
{
    struct pl_batch *b = own_batch(realm, worker);
    if (!b)
        return;
    pthread_mutex_lock(&realm->lock);
    for (struct pl_session *s = realm->sessions; s; s = s->realm_next) {
        struct pl_identity *identity = NULL;
        struct pl_item *item;
        enum pl_err err = fn(context, s->identity, &identity);
        if (!err && identity && add_item(b, s, PL_ITEM_IDENTITY, &item))
            item->identity = identity;
        else if (identity)
            pl_identity_unref(identity);
        else if (err && add_item(b, s, PL_ITEM_ENDED, &item))
            item->err = (uint8_t)err;
    }
    uint64_t wake = pl_realm_hand_over(realm, b);
    pthread_mutex_unlock(&realm->lock);
    pl_realm_wake(realm, wake);
}

size_t pl_realm_end_sessions(struct pl_realm *realm, struct pl_worker *worker, pl_choose_fn *choose,
    void *context, enum pl_err why)
{
    struct pl_batch *b = own_batch(realm, worker);
    if (!b)
        return 0;
    size_t count = 0;
    pthread_mutex_lock(&realm->lock);
    for (struct pl_session *s = realm->sessions; s; s = s->realm_next) {
        struct pl_item *item;
        if (choose(context, s) && add_item(b, s, PL_ITEM_ENDED, &item)) {
            item->err = (uint8_t)why;
            count++;
        }
    }
    uint64_t wake = pl_realm_hand_over(realm, b);
    pthread_mutex_unlock(&realm->lock);
    pl_realm_wake(realm, wake);
    return count;
}
