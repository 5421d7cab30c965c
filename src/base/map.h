/*
 * A map from bytes to things, for lookups off the hot path: names to sessions, roles, channels.
 *
 * An entry is embedded in the thing; the key stays with the thing and must not change while it is
 * in the map. Chained, grows by doubling. Not thread-safe.
 *
 *     struct channel { struct pl_map_entry entry; … };
 *     struct pl_map_entry *e = pl_map_find(&map, name);
 *     struct channel *c = e ? PL_CONTAINER(e, struct channel, entry) : NULL;
 */
#ifndef PL_BASE_MAP_H
#define PL_BASE_MAP_H

#include "base/bytes.h"

#define PL_CONTAINER(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct pl_map_entry {
    struct pl_map_entry *next; /* in its chain */
    struct pl_bytes key;       /* borrowed from the thing */
    uint64_t hash;
};

struct pl_map {
    struct pl_map_entry **chains;
    size_t chain_count; /* power of two, or 0 */
    size_t count;
    uint64_t seed;
};

void pl_map_init(struct pl_map *map, uint64_t seed);
/* Frees the chains; the things are the caller's. */
void pl_map_done(struct pl_map *map);
/* Borrowed, or NULL. */
struct pl_map_entry *pl_map_find(const struct pl_map *map, struct pl_bytes key);
/* The key must not be in the map yet. */
PL_MUST_USE enum pl_err pl_map_add(
    struct pl_map *map, struct pl_map_entry *entry, struct pl_bytes key);
void pl_map_remove(struct pl_map *map, struct pl_map_entry *entry);
/* In no order: the first (entry NULL) or the next; NULL at the end. Do not add meanwhile. */
struct pl_map_entry *pl_map_next(const struct pl_map *map, const struct pl_map_entry *entry);

#endif
