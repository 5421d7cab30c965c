/*
 * The only place that calls malloc. Everything else allocates here, in arenas or in pools, so a
 * test can let the n-th allocation fail and a program can be told how much it holds.
 *
 * All functions are thread-safe. NULL means no memory. pl_free(NULL) does nothing.
 */
#ifndef PL_BASE_ALLOC_H
#define PL_BASE_ALLOC_H

#include "base/err.h"

PL_MUST_USE void *pl_alloc(size_t size);              /* not zeroed */
PL_MUST_USE void *pl_zalloc(size_t size);             /* zeroed */
PL_MUST_USE void *pl_realloc(void *old, size_t size); /* old stays valid when this fails */
void pl_free(void *memory);

/* Copies len bytes and adds a terminating zero that is not counted. */
PL_MUST_USE char *pl_alloc_copy(const void *bytes, size_t len);

/*
 * Tests only: of the next allocations of the calling thread, let number `after` (0 is the next)
 * and, if `then_all`, all later ones fail. Negative: none.
 */
void pl_alloc_fail(long after, int then_all);

#endif
