#include "net/rate.h"

#include "base/alloc.h"

enum { MINUTE_MS = 60000, ADDRESS_MAX = 16 };

struct pl_rate_bucket {
    struct pl_map_entry entry;
    struct pl_rate_bucket *older, *newer;
    uint64_t tokens;  /* in parts of which MINUTE_MS are one try */
    uint64_t seen_ms; /* when tokens was right */
    uint8_t key[ADDRESS_MAX];
};

void pl_rate_init(struct pl_rate *rate, uint32_t per_minute, uint64_t seed)
{
    *rate = (struct pl_rate){.per_minute = per_minute};
    pl_map_init(&rate->map, seed);
}

static void unlink_bucket(struct pl_rate *rate, struct pl_rate_bucket *b)
{
    if (b->older)
        b->older->newer = b->newer;
    else
        rate->oldest = b->newer;
    if (b->newer)
        b->newer->older = b->older;
    else
        rate->newest = b->older;
}

static void link_newest(struct pl_rate *rate, struct pl_rate_bucket *b)
{
    b->newer = NULL;
    b->older = rate->newest;
    if (b->older)
        b->older->newer = b;
    else
        rate->oldest = b;
    rate->newest = b;
}

static void forget(struct pl_rate *rate, struct pl_rate_bucket *b)
{
    unlink_bucket(rate, b);
    pl_map_remove(&rate->map, &b->entry);
    pl_free(b);
}

void pl_rate_done(struct pl_rate *rate)
{
    while (rate->oldest)
        forget(rate, rate->oldest);
    pl_map_done(&rate->map);
}

static struct pl_rate_bucket *bucket_new(struct pl_rate *rate, struct pl_bytes address)
{
    if (rate->map.count >= PL_RATE_ADDRESSES_MAX)
        forget(rate, rate->oldest);
    struct pl_rate_bucket *b = pl_zalloc(sizeof *b);
    if (!b)
        return NULL;
    memcpy(b->key, address.data, address.len);
    if (pl_map_add(&rate->map, &b->entry, pl_bytes_of(b->key, address.len)) != PL_OK) {
        pl_free(b);
        return NULL;
    }
    return b;
}

bool pl_rate_take(struct pl_rate *rate, struct pl_bytes address, uint64_t now_ms)
{
    if (!rate->per_minute || !address.len || address.len > ADDRESS_MAX)
        return true;
    while (rate->oldest && now_ms > rate->oldest->seen_ms + MINUTE_MS)
        forget(rate, rate->oldest);
    uint64_t full = (uint64_t)rate->per_minute * MINUTE_MS;
    struct pl_map_entry *entry = pl_map_find(&rate->map, address);
    struct pl_rate_bucket *b = entry ? PL_CONTAINER(entry, struct pl_rate_bucket, entry) : NULL;
    if (b) {
        unlink_bucket(rate, b);
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
    link_newest(rate, b);
    if (b->tokens < MINUTE_MS)
        return false;
    b->tokens -= MINUTE_MS;
    return true;
}
