/*
 * Open addressing, linear probing, removal by shifting back; between an eighth and three quarters
 * full. Equal hashes of different names are told apart by the text of the first subscription's
 * pattern.
 */
#include "core/match_index.h"

#include "base/alloc.h"

enum { FIRST_CAP = 64 };

void pl_literals_done(struct pl_literals *literals)
{
    pl_free(literals->slots);
    *literals = (struct pl_literals){0};
}

static enum pl_err resize(struct pl_literals *literals, uint32_t cap)
{
    struct pl_literal_slot *slots = pl_zalloc(cap * sizeof *slots);
    if (!slots)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < literals->cap; i++) {
        struct pl_literal_slot *from = &literals->slots[i];
        if (!from->subs)
            continue;
        uint32_t at = (uint32_t)from->hash & (cap - 1);
        while (slots[at].subs)
            at = (at + 1) & (cap - 1);
        slots[at] = *from;
    }
    pl_free(literals->slots);
    literals->slots = slots;
    literals->cap = cap;
    return PL_OK;
}

/* The slot of this name, or the free one where it belongs. */
static struct pl_literal_slot *slot_of(
    const struct pl_literals *literals, struct pl_bytes name, uint64_t hash)
{
    uint32_t mask = literals->cap - 1;
    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        struct pl_literal_slot *slot = &literals->slots[at];
        if (!slot->subs)
            return slot;
        if (slot->hash == hash && pl_bytes_equal(slot->subs->pattern->text, name))
            return slot;
    }
}

enum pl_err pl_literals_add(
    struct pl_literals *literals, struct pl_subscription *sub, uint64_t hash)
{
    if (literals->count >= literals->cap / 4 * 3 &&
        resize(literals, literals->cap ? literals->cap * 2 : FIRST_CAP))
        return PL_NO_MEMORY;
    struct pl_literal_slot *slot = slot_of(literals, sub->pattern->text, hash);
    if (!slot->subs) {
        slot->hash = hash;
        literals->count++;
    }
    pl_subs_link(&slot->subs, sub);
    return PL_OK;
}

void pl_literals_remove(struct pl_literals *literals, struct pl_subscription *sub, uint64_t hash)
{
    struct pl_literal_slot *slots = literals->slots,
                           *slot = slot_of(literals, sub->pattern->text, hash);
    pl_subs_unlink(&slot->subs, sub);
    if (slot->subs)
        return;
    literals->count--;
    uint32_t mask = literals->cap - 1, hole = (uint32_t)(slot - slots);
    for (uint32_t at = (hole + 1) & mask; slots[at].subs; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            slots[hole] = slots[at];
            hole = at;
        }
    }
    slots[hole] = (struct pl_literal_slot){0};
    /* If there is no memory for a smaller table the larger one serves. */
    if (literals->cap > FIRST_CAP && literals->count < literals->cap / 8)
        (void)!resize(literals, literals->cap / 2);
}

void pl_literals_prefetch(const struct pl_literals *literals, uint64_t hash)
{
    if (literals->count)
        __builtin_prefetch(&literals->slots[(uint32_t)hash & (literals->cap - 1)]);
}

enum pl_err pl_literals_find(
    const struct pl_literals *literals, uint64_t hash, struct pl_places *places)
{
    uint32_t mask = literals->cap - 1;
    for (uint32_t at = (uint32_t)hash & mask; literals->count; at = (at + 1) & mask) {
        const struct pl_literal_slot *slot = &literals->slots[at];
        if (!slot->subs)
            break;
        if (slot->hash == hash && pl_places_add(places, slot->subs, 0, PL_TEST_NAME))
            return PL_NO_MEMORY;
    }
    return PL_OK;
}
