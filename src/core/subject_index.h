/*
 * Things by their subject: exactly, and all that a pattern matches, in steps.
 *
 * For retained slots and the log's subjects. A reader's position is a place in a fixed order, so
 * what is added or removed between two steps neither repeats a thing nor leaves one out that stood
 * all the time. Guarded by the realm's lock.
 *
 *     struct pl_subject_position at = {0};
 *     size_t steps = 1000;
 *     struct pl_subject_entry *e;
 *     while ((e = pl_subject_index_next(&index, pattern, &at, &steps)))
 *         …
 *     bool is_end = pl_subject_position_is_end(at);
 */
#ifndef PL_CORE_SUBJECT_INDEX_H
#define PL_CORE_SUBJECT_INDEX_H

#include "base/map.h"
#include "base/order.h"
#include "core/pattern.h"

struct pl_subject_index {
    struct pl_map by_name;
    struct pl_order order;
    uint64_t seed;
    uint64_t last_serial;
};

/* Embedded in the thing; node.links are the thing's to bring (see base/order.h). */
struct pl_subject_entry {
    struct pl_map_entry by_name; /* its key is the subject: bytes of the thing */
    struct pl_order_node node;
};

/* Behind which key a reader stands; zero: at the start. */
struct pl_subject_position {
    uint64_t major, minor;
};

static inline bool pl_subject_position_is_end(struct pl_subject_position at)
{
    return at.major == UINT64_MAX && at.minor == UINT64_MAX;
}

void pl_subject_index_init(struct pl_subject_index *index, uint64_t seed);
/* The things are the caller's. */
void pl_subject_index_done(struct pl_subject_index *index);
struct pl_subject_entry *pl_subject_index_find(
    const struct pl_subject_index *index, struct pl_bytes subject);
/* The subject is not in it yet. height: from pl_order_height of index->order. */
PL_MUST_USE enum pl_err pl_subject_index_add(struct pl_subject_index *index,
    struct pl_subject_entry *entry, uint32_t height, struct pl_bytes subject);
void pl_subject_index_remove(struct pl_subject_index *index, struct pl_subject_entry *entry);
/* The same bytes elsewhere. */
static inline void pl_subject_index_move_key(
    struct pl_subject_entry *entry, struct pl_bytes subject)
{
    entry->by_name.key = subject;
}

/*
 * The next one that the pattern matches. NULL: there is none, or *steps is used up. A step is a
 * look at one thing or a jump over many.
 */
struct pl_subject_entry *pl_subject_index_next(const struct pl_subject_index *index,
    const struct pl_pattern *pattern, struct pl_subject_position *at, size_t *steps);

static inline struct pl_bytes pl_subject_entry_name(const struct pl_subject_entry *entry)
{
    return entry->by_name.key;
}

#endif
