#include "base/arena.h"

#include "base/alloc.h"

enum { ALIGN = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 256 * 1024 };

struct pl_arena_block {
    struct pl_arena_block *older;
    size_t size; /* bytes of data */
    _Alignas(ALIGN) uint8_t data[];
};

void *pl_arena_alloc(struct pl_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if ((size_t)(arena->end - arena->at) < size || !arena->block) {
        size_t block_size = arena->block ? arena->block->size * 2 : FIRST_BLOCK;
        if (block_size > LARGEST_BLOCK)
            block_size = LARGEST_BLOCK;
        if (block_size < size)
            block_size = size;
        struct pl_arena_block *block = pl_alloc(sizeof *block + block_size);
        if (!block)
            return NULL;
        block->older = arena->block;
        block->size = block_size;
        arena->block = block;
        arena->at = block->data;
        arena->end = block->data + block_size;
    }
    void *at = arena->at;
    arena->at += size;
    return at;
}

void *pl_arena_zalloc(struct pl_arena *arena, size_t size)
{
    void *at = pl_arena_alloc(arena, size);
    if (at)
        memset(at, 0, size);
    return at;
}

char *pl_arena_copy(struct pl_arena *arena, struct pl_bytes bytes)
{
    char *copy = pl_arena_alloc(arena, bytes.len + 1);
    if (!copy)
        return NULL;
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len] = 0;
    return copy;
}

static void free_blocks(struct pl_arena_block *block)
{
    while (block) {
        struct pl_arena_block *older = block->older;
        pl_free(block);
        block = older;
    }
}

void pl_arena_reset(struct pl_arena *arena)
{
    struct pl_arena_block *keep = arena->block;
    if (!keep)
        return;
    free_blocks(keep->older);
    if (keep->size > LARGEST_BLOCK) {
        pl_free(keep);
        *arena = (struct pl_arena){0};
        return;
    }
    keep->older = NULL;
    arena->at = keep->data;
    arena->end = keep->data + keep->size;
}

void pl_arena_done(struct pl_arena *arena)
{
    free_blocks(arena->block);
    *arena = (struct pl_arena){0};
}
