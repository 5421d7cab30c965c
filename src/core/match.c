/*
 * The cache: sets of four entries, one cache line each, found by the subject's hash. An entry
 * counts only if it is of the current generation. The same hash finds the literal subscriptions of
 * a subject, so a change of a literal pattern costs one look at either.
 *
 * A match set that is replaced and that nobody else holds is used again for the new one. What all
 * cached sets take in bytes is limited too: those of subjects with thousands of subscribers are
 * large.
 */
#include "core/match.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "core/match_index.h"
#include "core/match_set.h"

enum {
    WAYS = 4,
    BYTES_PER_ENTRY = 512, /* of cache_max entries, so many bytes in all */
    LINE = 64,
};

struct cache_entry {
    struct pl_match *match; /* one reference; NULL: free */
    uint32_t tag;           /* high bits of the subject's hash */
    uint32_t generation;
};

struct pl_matcher {
    uint64_t seed;
    uint32_t generation;
    struct pl_literals literals;
    struct pl_tree tree;
    size_t count;
    struct cache_entry *entries; /* aligned to LINE, within entry_memory */
    void *entry_memory;
    uint32_t entry_count; /* power of two, at least WAYS */
    uint32_t victim;      /* which way is replaced next where none is free */
    uint32_t sweep;       /* where making room goes on */
    size_t cached_bytes, cached_bytes_max;
    struct pl_places places;
    struct pl_set_builder builder;
};

struct pl_matcher *pl_matcher_new(uint64_t seed, uint32_t cache_max)
{
    struct pl_matcher *m = pl_zalloc(sizeof *m);
    if (!m)
        return NULL;
    m->seed = seed;
    m->generation = 1;
    m->entry_count = WAYS;
    while (m->entry_count < cache_max)
        m->entry_count *= 2;
    m->cached_bytes_max = (size_t)m->entry_count * BYTES_PER_ENTRY;
    pl_tree_init(&m->tree, seed);
    m->entry_memory = pl_zalloc(m->entry_count * sizeof *m->entries + LINE);
    if (!m->entry_memory)
        return pl_matcher_free(m);
    uintptr_t at = (uintptr_t)m->entry_memory;
    m->entries = (struct cache_entry *)((at + LINE - 1) / LINE * LINE);
    return m;
}

static void drop_entry(struct pl_matcher *m, struct cache_entry *e)
{
    m->cached_bytes -= pl_set_size(e->match);
    pl_match_unref(e->match);
    *e = (struct cache_entry){0};
}

struct pl_matcher *pl_matcher_free(struct pl_matcher *m)
{
    if (!m)
        return NULL;
    for (uint32_t i = 0; m->entries && i < m->entry_count; i++)
        pl_match_unref(m->entries[i].match);
    pl_literals_done(&m->literals);
    pl_tree_done(&m->tree);
    pl_set_builder_done(&m->builder);
    pl_free(m->places.items);
    pl_free(m->entry_memory);
    pl_free(m);
    return NULL;
}

static struct cache_entry *ways_of(const struct pl_matcher *m, uint64_t hash)
{
    return &m->entries[(hash & (m->entry_count - 1)) / WAYS * WAYS];
}

static struct cache_entry *find_cached(
    const struct pl_matcher *m, struct pl_bytes subject, uint64_t hash)
{
    struct cache_entry *ways = ways_of(m, hash);
    for (int i = 0; i < WAYS; i++) {
        struct cache_entry *e = &ways[i];
        if (e->match && e->tag == hash >> 32 && e->generation == m->generation &&
            pl_bytes_equal(e->match->subject, subject))
            return e;
    }
    return NULL;
}

static struct cache_entry *choose_victim(struct pl_matcher *m, uint64_t hash)
{
    struct cache_entry *ways = ways_of(m, hash);
    for (int i = 0; i < WAYS; i++)
        if (!ways[i].match || ways[i].generation != m->generation)
            return &ways[i];
    return &ways[m->victim++ % WAYS];
}

static void keep_within_bytes(struct pl_matcher *m, const struct cache_entry *except)
{
    uint32_t left = m->entry_count;
    while (m->cached_bytes > m->cached_bytes_max && left--) {
        struct cache_entry *e = &m->entries[m->sweep++ & (m->entry_count - 1)];
        if (e->match && e != except)
            drop_entry(m, e);
    }
}

static void begin_generation(struct pl_matcher *m)
{
    if (++m->generation)
        return;
    /* Once in four thousand million times: no entry may seem to be of a generation to come. */
    for (uint32_t i = 0; i < m->entry_count; i++)
        if (m->entries[i].match)
            drop_entry(m, &m->entries[i]);
}

/* A literal pattern changes the answer for one subject, any other for unknown ones. */
static void forget_answers(struct pl_matcher *m, const struct pl_pattern *p, uint64_t hash)
{
    if (!p->is_literal) {
        begin_generation(m);
        return;
    }
    struct cache_entry *e = find_cached(m, p->text, hash);
    if (e)
        drop_entry(m, e);
}

enum pl_err pl_matcher_add(struct pl_matcher *m, struct pl_subscription *sub)
{
    bool is_literal = sub->pattern->is_literal;
    uint64_t hash = is_literal ? pl_hash(m->seed, sub->pattern->text) : 0;
    enum pl_err err =
        is_literal ? pl_literals_add(&m->literals, sub, hash) : pl_tree_add(&m->tree, sub);
    if (err)
        return err;
    m->count++;
    forget_answers(m, sub->pattern, hash);
    return PL_OK;
}

void pl_matcher_remove(struct pl_matcher *m, struct pl_subscription *sub)
{
    bool is_literal = sub->pattern->is_literal;
    uint64_t hash = is_literal ? pl_hash(m->seed, sub->pattern->text) : 0;
    if (is_literal)
        pl_literals_remove(&m->literals, sub, hash);
    else
        pl_tree_remove(&m->tree, sub);
    m->count--;
    forget_answers(m, sub->pattern, hash);
}

void pl_matcher_touch(struct pl_matcher *m)
{
    begin_generation(m);
}

void pl_matcher_touch_pattern(struct pl_matcher *m, const struct pl_pattern *pattern)
{
    forget_answers(m, pattern, pattern->is_literal ? pl_hash(m->seed, pattern->text) : 0);
}

/* With many subscriptions nearly all of the time is waiting for memory: it is asked for early. */
struct pl_match *pl_matcher_match(struct pl_matcher *m, struct pl_bytes subject, bool is_logged)
{
    uint64_t hash = pl_hash(m->seed, subject);
    pl_literals_prefetch(&m->literals, hash);
    struct cache_entry *e = find_cached(m, subject, hash);
    if (e)
        return e->match;

    e = choose_victim(m, hash);
    if (e->match)
        __builtin_prefetch(&e->match->refs);
    m->places.count = 0;
    if (pl_literals_find(&m->literals, hash, &m->places) ||
        pl_tree_find(&m->tree, subject, &m->places))
        return NULL;

    struct pl_match *spare = e->match && pl_set_is_mine(e->match) ? e->match : NULL;
    size_t spare_size = spare ? pl_set_size(spare) : 0;
    struct pl_match *match = pl_set_build(&m->builder, &m->places, subject, is_logged, spare);
    if (!match)
        return NULL;
    if (match == spare)
        m->cached_bytes -= spare_size;
    else if (e->match)
        drop_entry(m, e);
    *e = (struct cache_entry){
        .match = match, .tag = (uint32_t)(hash >> 32), .generation = m->generation};
    m->cached_bytes += pl_set_size(match);
    keep_within_bytes(m, e);
    return match;
}

size_t pl_matcher_count(const struct pl_matcher *m)
{
    return m->count;
}

static void each_of(struct pl_subscription *subs, pl_subscription_fn *fn, void *context)
{
    while (subs) {
        struct pl_subscription *next = subs->node_next;
        fn(context, subs);
        subs = next;
    }
}

void pl_matcher_each(struct pl_matcher *m, pl_subscription_fn *fn, void *context)
{
    for (uint32_t i = 0; i < m->literals.cap; i++)
        each_of(m->literals.slots[i].subs, fn, context);
    for (uint32_t i = 1; i < m->tree.node_count; i++)
        each_of(m->tree.nodes[i].subs, fn, context);
}
