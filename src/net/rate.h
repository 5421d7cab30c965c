/*
 * How often something may come, each address counted by itself: token buckets.
 *
 * An address may come `per_minute` times at once, and each minute as often again. Its bucket is
 * kept until it is full again, a minute after its last try, and at most PL_RATE_ADDRESSES_MAX are
 * kept: where more come, the one that was seen least recently is forgotten.
 *
 * Not thread-safe.
 */
#ifndef PL_NET_RATE_H
#define PL_NET_RATE_H

#include "base/map.h"
#include "base/recent.h"

enum { PL_RATE_ADDRESSES_MAX = 65536 };

struct pl_rate {
    uint32_t per_minute; /* 0: no limit */
    struct pl_map map;
    struct pl_recent recent;
};

void pl_rate_init(struct pl_rate *rate, uint32_t per_minute, uint64_t seed);
void pl_rate_done(struct pl_rate *rate);
/* May it come now? It is counted. address: 16 bytes at most. Without memory: yes. */
bool pl_rate_take(struct pl_rate *rate, struct pl_bytes address, uint64_t now_ms);

#endif
