#include "auth/cookies.h"

#include <pthread.h>
#include <sodium.h>

#include "base/alloc.h"
#include "base/map.h"

enum { HASH_LEN = 32 };

struct cookie {
    struct pl_map_entry entry;
    struct cookie *newer, *older;
    struct pl_identity *identity; /* one reference */
    uint64_t until_unix_ms;
    uint8_t hash[HASH_LEN];
};

struct pl_cookies {
    pthread_mutex_t lock; /* guards all below */
    struct pl_map map;
    struct cookie *newest, *oldest;
    uint32_t count, count_max;
    uint64_t lifetime_ms;
};

struct pl_cookies *pl_cookies_new(uint32_t count_max, uint64_t lifetime_ms)
{
    struct pl_cookies *cookies = pl_zalloc(sizeof *cookies);
    uint64_t seed;
    if (!cookies)
        return NULL;
    randombytes_buf(&seed, sizeof seed);
    pthread_mutex_init(&cookies->lock, NULL);
    pl_map_init(&cookies->map, seed);
    cookies->count_max = count_max;
    cookies->lifetime_ms = lifetime_ms;
    return cookies;
}

static void unlink_cookie(struct pl_cookies *cookies, struct cookie *c)
{
    *(c->newer ? &c->newer->older : &cookies->newest) = c->older;
    *(c->older ? &c->older->newer : &cookies->oldest) = c->newer;
}

static void link_newest(struct pl_cookies *cookies, struct cookie *c)
{
    c->newer = NULL;
    c->older = cookies->newest;
    *(c->older ? &c->older->newer : &cookies->oldest) = c;
    cookies->newest = c;
}

static void drop(struct pl_cookies *cookies, struct cookie *c)
{
    unlink_cookie(cookies, c);
    pl_map_remove(&cookies->map, &c->entry);
    pl_identity_unref(c->identity);
    pl_free(c);
    cookies->count--;
}

struct pl_cookies *pl_cookies_free(struct pl_cookies *cookies)
{
    if (!cookies)
        return NULL;
    while (cookies->oldest)
        drop(cookies, cookies->oldest);
    pl_map_done(&cookies->map);
    pthread_mutex_destroy(&cookies->lock);
    pl_free(cookies);
    return NULL;
}

/* Under the lock. */
static struct cookie *find(struct pl_cookies *cookies, const uint8_t hash[HASH_LEN])
{
    struct pl_map_entry *entry = pl_map_find(&cookies->map, pl_bytes_of(hash, HASH_LEN));
    return entry ? PL_CONTAINER(entry, struct cookie, entry) : NULL;
}

static void hash_of(struct pl_bytes cookie, uint8_t out[HASH_LEN])
{
    /* Fails only for sizes out of range. */
    (void)crypto_generichash(out, HASH_LEN, cookie.data, cookie.len, NULL, 0);
}

static uint64_t end_of(const struct pl_cookies *cookies, uint64_t now_unix_ms)
{
    return cookies->lifetime_ms > PL_NEVER - now_unix_ms ? PL_NEVER
                                                         : now_unix_ms + cookies->lifetime_ms;
}

/* Under the lock. NULL: no memory. */
static struct cookie *add(struct pl_cookies *cookies, const uint8_t hash[HASH_LEN])
{
    struct cookie *c = pl_zalloc(sizeof *c);
    if (!c)
        return NULL;
    memcpy(c->hash, hash, HASH_LEN);
    if (pl_map_add(&cookies->map, &c->entry, pl_bytes_of(c->hash, HASH_LEN))) {
        pl_free(c);
        return NULL;
    }
    link_newest(cookies, c);
    if (++cookies->count > cookies->count_max)
        drop(cookies, cookies->oldest);
    return c;
}

void pl_cookies_remember(struct pl_cookies *cookies, struct pl_bytes cookie,
    struct pl_identity *identity, uint64_t now_unix_ms)
{
    uint8_t hash[HASH_LEN];
    if (!cookies->count_max)
        return;
    hash_of(cookie, hash);
    pthread_mutex_lock(&cookies->lock);
    struct cookie *c = find(cookies, hash);
    if (!c)
        c = add(cookies, hash);
    if (c) {
        pl_identity_unref(c->identity);
        c->identity = pl_identity_ref(identity);
        c->until_unix_ms = end_of(cookies, now_unix_ms);
    }
    pthread_mutex_unlock(&cookies->lock);
}

struct pl_identity *pl_cookies_find(
    struct pl_cookies *cookies, struct pl_bytes cookie, uint64_t now_unix_ms)
{
    uint8_t hash[HASH_LEN];
    struct pl_identity *identity = NULL;
    hash_of(cookie, hash);
    pthread_mutex_lock(&cookies->lock);
    struct cookie *c = find(cookies, hash);
    if (c && (now_unix_ms >= c->until_unix_ms || now_unix_ms >= c->identity->expires_unix_ms)) {
        drop(cookies, c);
        c = NULL;
    }
    if (c) {
        c->until_unix_ms = end_of(cookies, now_unix_ms);
        unlink_cookie(cookies, c);
        link_newest(cookies, c);
        identity = pl_identity_ref(c->identity);
    }
    pthread_mutex_unlock(&cookies->lock);
    return identity;
}

void pl_cookies_forget(struct pl_cookies *cookies, struct pl_bytes cookie)
{
    uint8_t hash[HASH_LEN];
    hash_of(cookie, hash);
    pthread_mutex_lock(&cookies->lock);
    struct cookie *c = find(cookies, hash);
    if (c)
        drop(cookies, c);
    pthread_mutex_unlock(&cookies->lock);
}
