#include "base/map.h"

#include "base/alloc.h"
#include "base/hash.h"

void pl_map_init(struct pl_map *map, uint64_t seed)
{
    *map = (struct pl_map){.seed = seed};
}

void pl_map_done(struct pl_map *map)
{
    pl_free(map->chains);
    *map = (struct pl_map){.seed = map->seed};
}

static struct pl_map_entry **chain_of(const struct pl_map *map, uint64_t hash)
{
    return &map->chains[hash & (map->chain_count - 1)];
}

struct pl_map_entry *pl_map_find(const struct pl_map *map, struct pl_bytes key)
{
    if (!map->count)
        return NULL;
    uint64_t hash = pl_hash(map->seed, key);
    for (struct pl_map_entry *e = *chain_of(map, hash); e; e = e->next)
        if (e->hash == hash && pl_bytes_equal(e->key, key))
            return e;
    return NULL;
}

static enum pl_err grow(struct pl_map *map)
{
    size_t count = map->chain_count ? map->chain_count * 2 : 16;
    struct pl_map_entry **chains = pl_zalloc(count * sizeof *chains);
    if (!chains)
        return map->chain_count ? PL_OK : PL_NO_MEMORY; /* a full map still works, slower */
    for (size_t i = 0; i < map->chain_count; i++) {
        struct pl_map_entry *e = map->chains[i];
        while (e) {
            struct pl_map_entry *next = e->next;
            struct pl_map_entry **chain = &chains[e->hash & (count - 1)];
            e->next = *chain;
            *chain = e;
            e = next;
        }
    }
    pl_free(map->chains);
    map->chains = chains;
    map->chain_count = count;
    return PL_OK;
}

enum pl_err pl_map_add(struct pl_map *map, struct pl_map_entry *entry, struct pl_bytes key)
{
    if (map->count >= map->chain_count && grow(map))
        return PL_NO_MEMORY;
    entry->key = key;
    entry->hash = pl_hash(map->seed, key);
    struct pl_map_entry **chain = chain_of(map, entry->hash);
    entry->next = *chain;
    *chain = entry;
    map->count++;
    return PL_OK;
}

void pl_map_remove(struct pl_map *map, struct pl_map_entry *entry)
{
    for (struct pl_map_entry **at = chain_of(map, entry->hash); *at; at = &(*at)->next)
        if (*at == entry) {
            *at = entry->next;
            entry->next = NULL;
            map->count--;
            return;
        }
    PL_ASSERT(!"the entry is in this map");
}

struct pl_map_entry *pl_map_next(const struct pl_map *map, const struct pl_map_entry *entry)
{
    size_t i = 0;
    if (entry) {
        if (entry->next)
            return entry->next;
        i = (entry->hash & (map->chain_count - 1)) + 1;
    }
    for (; i < map->chain_count; i++)
        if (map->chains[i])
            return map->chains[i];
    return NULL;
}
