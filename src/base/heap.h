/*
 * A heap of deadlines: what is due next?
 *
 * A deadline is embedded in what waits for it. Adding, removing and moving cost O(log n), looking
 * at the next one O(1). Not thread-safe.
 */
#ifndef PL_BASE_HEAP_H
#define PL_BASE_HEAP_H

#include <stdbool.h>

#include "base/err.h"

#define PL_NEVER UINT64_MAX

struct pl_deadline {
    uint64_t at_ms; /* monotonic; PL_NEVER while it is not in the heap */
    uint32_t index; /* place in the heap plus 1; 0: not in it */
    uint32_t kind;  /* the owner's */
};

struct pl_heap {
    struct pl_deadline **items; /* owned array of borrowed deadlines */
    uint32_t count, cap;
};

/* Adds, or moves one that is in it. PL_NO_MEMORY only when adding. */
PL_MUST_USE enum pl_err pl_heap_set(struct pl_heap *heap, struct pl_deadline *d, uint64_t at_ms);
/* Does nothing if it is not in the heap. */
void pl_heap_remove(struct pl_heap *heap, struct pl_deadline *d);
/* When the next is due; PL_NEVER if none. */
uint64_t pl_heap_next_ms(const struct pl_heap *heap);
/* Removes and returns the next one that is due at now_ms; NULL: none. */
struct pl_deadline *pl_heap_pop_due(struct pl_heap *heap, uint64_t now_ms);
void pl_heap_done(struct pl_heap *heap);

#endif
