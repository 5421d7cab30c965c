/*
 * Reply rights (DESIGN section 3): who was given a message with a reply subject may publish there
 * once, for a while, even without a right of its own. A ring of hashes under the realm's secret
 * seed; the oldest gives way.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "core/batch.h"

struct pl_grant {
    uint64_t hash, until_ms;
};

struct pl_grants {
    uint32_t count, cap, max;
    uint32_t next; /* where the oldest stands once the ring is full */
    struct pl_grant ring[];
};

enum { FIRST_CAP = 8 };

void pl_grants_add(struct pl_session *s, struct pl_bytes reply)
{
    const struct pl_realm_limits *limits = pl_realm_limits(s->realm);
    struct pl_grants *g = s->grants;
    if (!limits->reply_grants_max)
        return;
    if (!g || (g->count == g->cap && g->cap < g->max)) {
        uint32_t cap = g ? g->cap * 2 : FIRST_CAP;
        if (cap > limits->reply_grants_max)
            cap = limits->reply_grants_max;
        struct pl_grants *bigger = pl_realloc(g, sizeof *g + cap * sizeof *g->ring);
        if (!bigger)
            return;
        if (!g)
            bigger->count = bigger->next = 0;
        bigger->cap = cap;
        bigger->max = limits->reply_grants_max;
        s->grants = g = bigger;
    }
    struct pl_grant grant = {
        pl_hash(pl_realm_seed(s->realm), reply), s->worker->now_ms + limits->reply_grant_ms};
    if (g->count < g->cap) {
        g->ring[g->count++] = grant;
        return;
    }
    g->ring[g->next] = grant;
    g->next = (g->next + 1) % g->cap;
}

bool pl_grants_take(struct pl_session *s, struct pl_bytes subject)
{
    struct pl_grants *g = s->grants;
    if (!g || !g->count)
        return false;
    uint64_t hash = pl_hash(pl_realm_seed(s->realm), subject), now_ms = s->worker->now_ms;
    for (uint32_t i = 0; i < g->count; i++)
        if (g->ring[i].hash == hash) {
            bool is_valid = g->ring[i].until_ms > now_ms;
            g->ring[i] = g->ring[--g->count];
            g->next = 0;
            return is_valid;
        }
    return false;
}
