#include "auth/guard.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/hash.h"

enum {
    WAYS = 4,          /* places where a key may stand */
    SETS = 1024,       /* power of two */
    EXTRA_MAX = 16,    /* failures counted beyond the free ones */
    TOKEN_FREE = 10,   /* times as many free failures for tokens … */
    TOKEN_WAIT = 1000, /* … and at most this long a wait, ms */
    ADDRESS_KEY_MAX = 8,
};

struct entry {
    uint64_t key; /* 0: free */
    uint64_t until_ms;
    uint64_t counted_ms; /* since when nothing was forgotten */
    uint32_t failures;
    uint32_t pending; /* admitted and not settled */
};

struct pl_guard {
    pthread_mutex_t lock; /* guards all below */
    struct pl_guard_limits limits;
    uint64_t seed;
    uint64_t latest_ms;
    struct entry entries[SETS][WAYS];
    uint64_t good_pairs[SETS][WAYS]; /* the newest first; 0: none */
};

struct pl_guard *pl_guard_new(const struct pl_guard_limits *limits, uint64_t seed)
{
    struct pl_guard *guard = pl_zalloc(sizeof(*guard));
    if (!guard)
        return NULL;
    pthread_mutex_init(&guard->lock, NULL);
    guard->limits = *limits;
    guard->seed = seed;
    return guard;
}

struct pl_guard *pl_guard_free(struct pl_guard *guard)
{
    if (guard)
        pthread_mutex_destroy(&guard->lock);
    pl_free(guard);
    return NULL;
}

/* What counts as one place: an IPv4 address, the first half of an IPv6 one. 0: no IP address. */
static size_t address_key(struct pl_bytes address, uint8_t out[ADDRESS_KEY_MAX])
{
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    if (address.len >= sizeof(text))
        return 0;
    memcpy(text, address.data ? (const char *)address.data : "", address.len);
    text[address.len] = 0;
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    if (inet_pton(AF_INET6, text, bytes) != 1)
        return 0;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool is_mapped = memcmp(bytes, mapped, sizeof(mapped)) == 0;
    memcpy(out, is_mapped ? bytes + 12 : bytes, is_mapped ? 4 : 8);
    return is_mapped ? 4 : 8;
}

/* Never 0. */
static uint64_t make_key(const struct pl_guard *guard, uint64_t what, struct pl_bytes bytes)
{
    uint64_t key = pl_hash(guard->seed + what, bytes);
    return key ? key : 1;
}

static struct entry *find(struct pl_guard *guard, uint64_t key)
{
    struct entry *set = guard->entries[key % SETS];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
    }
    return NULL;
}

static void forget(const struct pl_guard *guard, struct entry *e)
{
    uint64_t passed = guard->latest_ms - e->counted_ms, every = guard->limits.forget_ms;
    uint64_t less = every ? passed / every : 0;
    if (less == 0)
        return;
    e->failures -= less < e->failures ? (uint32_t)less : e->failures;
    e->counted_ms += less * every;
}

/* The entry of key, made if need be in the place of the one that matters least. NULL: all of them
 * have attempts under way. */
static struct entry *find_or_make(struct pl_guard *guard, uint64_t key)
{
    struct entry *e = find(guard, key);
    if (e)
        return e;
    struct entry *set = guard->entries[key % SETS];
    for (int i = 0; i < WAYS; i++) {
        forget(guard, &set[i]);
        if (set[i].pending > 0)
            continue;
        bool is_less = !e || set[i].failures < e->failures ||
                       (set[i].failures == e->failures && set[i].counted_ms < e->counted_ms);
        if (is_less)
            e = &set[i];
    }
    if (e)
        *e = (struct entry){.key = key, .counted_ms = guard->latest_ms};
    return e;
}

static bool is_good_pair(const struct pl_guard *guard, uint64_t pair)
{
    for (int i = 0; pair && i < WAYS; i++) {
        if (guard->good_pairs[pair % SETS][i] == pair)
            return true;
    }
    return false;
}

static void remember_pair(struct pl_guard *guard, uint64_t pair)
{
    uint64_t *set = guard->good_pairs[pair % SETS];
    int at = 0;
    while (at < WAYS - 1 && set[at] != pair)
        at++;
    memmove(set + 1, set, (size_t)at * sizeof(*set));
    set[0] = pair;
}

static uint32_t free_failures(const struct pl_guard *guard, enum pl_guard_kind kind)
{
    return guard->limits.free_failures * (kind == PL_GUARD_TOKEN ? TOKEN_FREE : 1);
}

static bool may_try(const struct pl_guard *guard, const struct entry *e, enum pl_guard_kind kind)
{
    if (!e)
        return true;
    if (guard->latest_ms < e->until_ms || e->pending >= guard->limits.pending_max)
        return false;
    /* Who has failed gets no more tries at a time than are free: else all guesses would be sent
     * before the first is answered. */
    return e->failures == 0 || e->pending == 0 ||
           e->failures + e->pending < free_failures(guard, kind);
}

bool pl_guard_admit(struct pl_guard *guard, enum pl_guard_kind kind, struct pl_bytes address,
    struct pl_bytes name, uint64_t now_ms, struct pl_guard_attempt *out)
{
    enum { OF_ADDRESS = 1, OF_TOKENS, OF_NAME, OF_PAIR };
    uint8_t place[ADDRESS_KEY_MAX];
    struct pl_bytes where = pl_bytes_of(place, address_key(address, place));
    struct pl_guard_attempt attempt = {.kind = kind};
    if (where.len)
        attempt.keys[0] = make_key(guard, kind == PL_GUARD_TOKEN ? OF_TOKENS : OF_ADDRESS, where);
    if (name.len)
        attempt.keys[1] = make_key(guard, OF_NAME, name);
    if (name.len && kind == PL_GUARD_PASSWORD)
        attempt.pair = pl_hash(make_key(guard, OF_PAIR, where), name) | 1;

    pthread_mutex_lock(&guard->lock);
    if (now_ms > guard->latest_ms)
        guard->latest_ms = now_ms;
    if (is_good_pair(guard, attempt.pair)) {
        attempt.keys[0] = attempt.pair;
        attempt.keys[1] = 0;
    }
    bool may = true;
    for (int i = 0; i < 2; i++) {
        struct entry *e = attempt.keys[i] ? find(guard, attempt.keys[i]) : NULL;
        if (e)
            forget(guard, e);
        may = may && may_try(guard, e, kind);
    }
    for (int i = 0; may && i < 2; i++) {
        struct entry *e = attempt.keys[i] ? find_or_make(guard, attempt.keys[i]) : NULL;
        if (e)
            e->pending++;
        else
            attempt.keys[i] = 0;
    }
    pthread_mutex_unlock(&guard->lock);
    if (may)
        *out = attempt;
    return may;
}

static void count_failure(struct pl_guard *guard, struct entry *e, enum pl_guard_kind kind)
{
    forget(guard, e);
    if (e->failures == 0)
        e->counted_ms = guard->latest_ms;
    uint32_t allowed = free_failures(guard, kind);
    if (e->failures < allowed + EXTRA_MAX)
        e->failures++;
    if (e->failures <= allowed)
        return;
    uint64_t longest = guard->limits.backoff_max_ms;
    if (kind == PL_GUARD_TOKEN && longest > TOKEN_WAIT)
        longest = TOKEN_WAIT;
    uint64_t wait = guard->limits.backoff_ms << (e->failures - allowed - 1);
    e->until_ms = guard->latest_ms + (wait < longest ? wait : longest);
}

void pl_guard_settle(
    struct pl_guard *guard, const struct pl_guard_attempt *attempt, enum pl_guard_outcome outcome)
{
    pthread_mutex_lock(&guard->lock);
    for (int i = 0; i < 2; i++) {
        /* An entry with an attempt under way is not taken from it. */
        struct entry *e = attempt->keys[i] ? find(guard, attempt->keys[i]) : NULL;
        if (!e)
            continue;
        e->pending--;
        if (outcome == PL_GUARD_BAD)
            count_failure(guard, e, attempt->kind);
    }
    if (outcome == PL_GUARD_GOOD && attempt->pair)
        remember_pair(guard, attempt->pair);
    pthread_mutex_unlock(&guard->lock);
}
