#include "web/cache.h"

#include <pthread.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/recent.h"

enum {
    ENTRY_BYTES = 256, /* what an entry takes beside its body, counted with it */
};

struct entry {
    struct pl_map_entry entry;
    struct pl_recent_node recent;
    struct pl_web_stamp stamp;
    struct pl_shared *body; /* owned; NULL: useless, or being made */
    bool is_making;
    char key[]; /* the encoding's number, then the name */
};

struct pl_web_cache {
    pthread_mutex_t lock; /* guards all below */
    struct pl_map map;
    struct pl_recent recent;
    size_t bytes, bytes_max;
};

struct pl_web_cache *pl_web_cache_new(size_t bytes_max)
{
    struct pl_web_cache *cache = pl_zalloc(sizeof *cache);
    if (!cache)
        return NULL;
    pthread_mutex_init(&cache->lock, NULL);
    pl_map_init(&cache->map, (uint64_t)(uintptr_t)cache);
    cache->bytes_max = bytes_max;
    return cache;
}

static size_t size_of(const struct entry *e)
{
    return ENTRY_BYTES + e->entry.key.len + (e->body ? e->body->len : 0);
}

static void forget(struct pl_web_cache *cache, struct entry *e)
{
    cache->bytes -= size_of(e);
    pl_recent_remove(&cache->recent, &e->recent);
    pl_map_remove(&cache->map, &e->entry);
    pl_shared_unref(e->body);
    pl_free(e);
}

struct pl_web_cache *pl_web_cache_free(struct pl_web_cache *cache)
{
    if (!cache)
        return NULL;
    while (cache->recent.oldest)
        forget(cache, PL_CONTAINER(cache->recent.oldest, struct entry, recent));
    pl_map_done(&cache->map);
    pthread_mutex_destroy(&cache->lock);
    pl_free(cache);
    return NULL;
}

/* The entry, made if it is not there. NULL: no memory. */
static struct entry *enter(
    struct pl_web_cache *cache, struct pl_bytes name, enum pl_web_encoding encoding, bool makes)
{
    char key[PL_WEB_CACHE_NAME_MAX + 1];
    if (name.len > PL_WEB_CACHE_NAME_MAX)
        return NULL;
    key[0] = (char)('0' + encoding);
    memcpy(key + 1, name.data, name.len);
    struct pl_bytes whole = pl_bytes_of(key, name.len + 1);
    struct pl_map_entry *found = pl_map_find(&cache->map, whole);
    if (found || !makes)
        return found ? PL_CONTAINER(found, struct entry, entry) : NULL;
    struct entry *e = pl_zalloc(sizeof *e + whole.len);
    if (!e)
        return NULL;
    memcpy(e->key, key, whole.len);
    if (pl_map_add(&cache->map, &e->entry, pl_bytes_of(e->key, whole.len)) != PL_OK) {
        pl_free(e);
        return NULL;
    }
    cache->bytes += size_of(e);
    pl_recent_add(&cache->recent, &e->recent);
    return e;
}

static bool is_same(struct pl_web_stamp a, struct pl_web_stamp b)
{
    return a.modified_ns == b.modified_ns && a.size == b.size;
}

enum pl_err pl_web_cache_find(struct pl_web_cache *cache, struct pl_bytes name,
    enum pl_web_encoding encoding, struct pl_web_stamp stamp, struct pl_shared **out)
{
    enum pl_err err = PL_NOT_FOUND;
    pthread_mutex_lock(&cache->lock);
    struct entry *e = enter(cache, name, encoding, true);
    if (!e || e->is_making) {
        err = PL_LIMIT;
    } else if (is_same(e->stamp, stamp)) {
        pl_recent_touch(&cache->recent, &e->recent);
        *out = e->body ? pl_shared_ref(e->body) : NULL;
        err = PL_OK;
    } else {
        cache->bytes -= e->body ? e->body->len : 0;
        e->body = pl_shared_unref(e->body);
        e->is_making = true;
    }
    pthread_mutex_unlock(&cache->lock);
    return err;
}

/* Least recently used first; what is being made stays, its maker comes back. */
static void make_room(struct pl_web_cache *cache)
{
    struct pl_recent_node *node = cache->recent.oldest;
    while (node && cache->bytes > cache->bytes_max) {
        struct entry *e = PL_CONTAINER(node, struct entry, recent);
        node = node->newer;
        if (!e->is_making)
            forget(cache, e);
    }
}

void pl_web_cache_put(struct pl_web_cache *cache, struct pl_bytes name,
    enum pl_web_encoding encoding, struct pl_web_stamp stamp, struct pl_shared *body,
    bool is_useless)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *e = enter(cache, name, encoding, false);
    PL_ASSERT(e && e->is_making);
    e->is_making = false;
    /* One that is too large would be made again for each request: from now on it is not made. */
    if (body && body->len > cache->bytes_max / 2) {
        body = NULL;
        is_useless = true;
    }
    if (!body && !is_useless) {
        forget(cache, e);
    } else {
        e->stamp = stamp;
        e->body = body ? pl_shared_ref(body) : NULL;
        cache->bytes += body ? body->len : 0;
        pl_recent_touch(&cache->recent, &e->recent);
        make_room(cache);
    }
    pthread_mutex_unlock(&cache->lock);
}

size_t pl_web_cache_bytes(struct pl_web_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}
