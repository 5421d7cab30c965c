#include "net/rate.h"

#include "base/alloc.h"

enum { MINUTE_MS = 60000, ADDRESS_MAX = 16 };

struct pl_rate_bucket {
    struct pl_map_entry entry;
    struct pl_recent_node recent; /* by the last try */
    uint64_t tokens;              /* in parts of which MINUTE_MS are one try */
    uint64_t seen_ms;             /* when tokens was right */
    uint8_t key[ADDRESS_MAX];
};

void pl_rate_init(struct pl_rate *rate, uint32_t per_minute, uint64_t seed)
{
    *rate = (struct pl_rate){.per_minute = per_minute};
    pl_map_init(&rate->map, seed);
}

static struct pl_rate_bucket *oldest(const struct pl_rate *rate)
{
    struct pl_recent_node *node = rate->recent.oldest;
    return node ? PL_CONTAINER(node, struct pl_rate_bucket, recent) : NULL;
}

static void forget(struct pl_rate *rate, struct pl_rate_bucket *b)
{
    pl_recent_remove(&rate->recent, &b->recent);
    pl_map_remove(&rate->map, &b->entry);
    pl_free(b);
}

void pl_rate_done(struct pl_rate *rate)
{
    for (struct pl_rate_bucket *b; (b = oldest(rate)) != NULL;)
        forget(rate, b);
    pl_map_done(&rate->map);
}

static struct pl_rate_bucket *bucket_new(struct pl_rate *rate, struct pl_bytes address)
{
    struct pl_rate_bucket *b = oldest(rate);
    if (b && rate->map.count >= PL_RATE_ADDRESSES_MAX)
        forget(rate, b);
    b = pl_zalloc(sizeof *b);
    if (!b)
        return NULL;
    memcpy(b->key, address.data, address.len);
    if (pl_map_add(&rate->map, &b->entry, pl_bytes_of(b->key, address.len)) != PL_OK) {
        pl_free(b);
        return NULL;
    }
    pl_recent_add(&rate->recent, &b->recent);
    return b;
}

bool pl_rate_take(struct pl_rate *rate, struct pl_bytes address, uint64_t now_ms)
{
    if (!rate->per_minute || !address.len || address.len > ADDRESS_MAX)
        return true;
    for (struct pl_rate_bucket *old; (old = oldest(rate)) && now_ms > old->seen_ms + MINUTE_MS;)
        forget(rate, old);
    uint64_t full = (uint64_t)rate->per_minute * MINUTE_MS;
    struct pl_map_entry *entry = pl_map_find(&rate->map, address);
    struct pl_rate_bucket *b = entry ? PL_CONTAINER(entry, struct pl_rate_bucket, entry) : NULL;
    if (b) {
        pl_recent_touch(&rate->recent, &b->recent);
        uint64_t passed = now_ms > b->seen_ms ? now_ms - b->seen_ms : 0;
        b->tokens += passed * rate->per_minute; /* a minute at most: it was kept */
        if (b->tokens > full)
            b->tokens = full;
    } else {
        b = bucket_new(rate, address);
        if (!b)
            return true;
        b->tokens = full;
    }
    b->seen_ms = now_ms;
    if (b->tokens < MINUTE_MS)
        return false;
    b->tokens -= MINUTE_MS;
    return true;
}
