/*
 * A ring of entries in the order of their coming, and chains of them by hash. The ring grows by
 * doubling up to cap; then the newest takes the place of the oldest.
 */
#include "peers/memory.h"

#include "base/alloc.h"

enum { ROOM_MIN = 64 };

static const uint32_t none = UINT32_MAX;

struct entry {
    uint64_t hash, bits;
    uint32_t next; /* in its chain; none: the last */
};

struct pl_peer_memory {
    uint32_t cap, room, count, next; /* next: where the newest will stand */
    struct entry *entries;           /* owned array of room */
    uint32_t *chains;                /* owned array of room, a power of two */
};

struct pl_peer_memory *pl_peer_memory_new(uint32_t cap)
{
    struct pl_peer_memory *m = pl_zalloc(sizeof *m);
    if (m)
        m->cap = cap;
    return m;
}

struct pl_peer_memory *pl_peer_memory_free(struct pl_peer_memory *m)
{
    if (m) {
        pl_free(m->entries);
        pl_free(m->chains);
        pl_free(m);
    }
    return NULL;
}

static uint32_t *chain_of(const struct pl_peer_memory *m, uint64_t hash)
{
    return &m->chains[hash & (m->room - 1)];
}

static void link_entry(struct pl_peer_memory *m, uint32_t at)
{
    uint32_t *chain = chain_of(m, m->entries[at].hash);
    m->entries[at].next = *chain;
    *chain = at;
}

static void unlink_entry(struct pl_peer_memory *m, uint32_t at)
{
    uint32_t *where = chain_of(m, m->entries[at].hash);
    while (*where != at)
        where = &m->entries[*where].next;
    *where = m->entries[at].next;
}

/* Doubles; where that fails, it stays as it is. Before it has ever been full, so in order. */
static void grow(struct pl_peer_memory *m)
{
    uint32_t room = m->room ? m->room * 2 : ROOM_MIN;
    struct entry *entries = pl_alloc(room * sizeof *entries);
    uint32_t *chains = pl_alloc(room * sizeof *chains);
    if (!entries || !chains) {
        pl_free(entries);
        pl_free(chains);
        return;
    }
    for (uint32_t i = 0; i < m->count; i++)
        entries[i] = m->entries[i];
    for (uint32_t i = 0; i < room; i++)
        chains[i] = none;
    pl_free(m->entries);
    pl_free(m->chains);
    m->entries = entries;
    m->chains = chains;
    m->room = room;
    m->next = m->count;
    for (uint32_t i = 0; i < m->count; i++)
        link_entry(m, i);
}

static void add(struct pl_peer_memory *m, uint64_t hash, uint64_t bits)
{
    bool was_turned = m->count && m->next != m->count;
    if (m->count == m->room && m->count < m->cap && !was_turned)
        grow(m);
    if (!m->room)
        return;
    uint32_t limit = m->room < m->cap ? m->room : m->cap;
    if (m->next == limit)
        m->next = 0;
    if (m->count == limit)
        unlink_entry(m, m->next);
    else
        m->count++;
    m->entries[m->next] = (struct entry){.hash = hash, .bits = bits};
    link_entry(m, m->next++);
}

bool pl_peer_memory_note(
    struct pl_peer_memory *m, uint64_t hash, uint64_t bits, uint64_t *out_before)
{
    for (uint32_t i = m->room ? *chain_of(m, hash) : none; i != none; i = m->entries[i].next) {
        struct entry *entry = &m->entries[i];
        if (entry->hash != hash)
            continue;
        *out_before = entry->bits;
        entry->bits |= bits;
        return true;
    }
    *out_before = 0;
    add(m, hash, bits);
    return false;
}

void pl_peer_memory_forget_peer(struct pl_peer_memory *m, uint64_t bit)
{
    for (uint32_t i = 0; i < m->count; i++)
        m->entries[i].bits &= ~bit;
}

uint32_t pl_peer_memory_count(const struct pl_peer_memory *m)
{
    return m->count;
}
