/*
 * Memory that is given back all at once: of a turn, of a connection, of a parsed document.
 *
 *     struct pl_arena arena = {0};
 *     char *copy = pl_arena_copy(&arena, bytes);
 *     pl_arena_reset(&arena);   // keeps one block for the next turn
 *     pl_arena_done(&arena);
 *
 * An unused arena owns no memory. Not thread-safe.
 */
#ifndef PL_BASE_ARENA_H
#define PL_BASE_ARENA_H

#include "base/bytes.h"

struct pl_arena_block;

struct pl_arena {
    struct pl_arena_block *block; /* the newest; it links to older ones */
    uint8_t *at, *end;            /* room in the newest */
};

/* Aligned for any type, not zeroed. NULL: no memory. */
PL_MUST_USE void *pl_arena_alloc(struct pl_arena *arena, size_t size);
PL_MUST_USE void *pl_arena_zalloc(struct pl_arena *arena, size_t size);
/* A copy with a zero behind it that is not counted. NULL: no memory. */
PL_MUST_USE char *pl_arena_copy(struct pl_arena *arena, struct pl_bytes bytes);
void pl_arena_reset(struct pl_arena *arena);
void pl_arena_done(struct pl_arena *arena);

#endif
