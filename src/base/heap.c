#include "base/heap.h"

#include "base/alloc.h"

static void place(struct pl_heap *heap, uint32_t i, struct pl_deadline *d)
{
    heap->items[i] = d;
    d->index = i + 1;
}

static void sift(struct pl_heap *heap, uint32_t i)
{
    struct pl_deadline *d = heap->items[i];
    while (i && heap->items[(i - 1) / 2]->at_ms > d->at_ms) {
        place(heap, i, heap->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->items[child + 1]->at_ms < heap->items[child]->at_ms)
            child++;
        if (heap->items[child]->at_ms >= d->at_ms)
            break;
        place(heap, i, heap->items[child]);
        i = child;
    }
    place(heap, i, d);
}

enum pl_err pl_heap_set(struct pl_heap *heap, struct pl_deadline *d, uint64_t at_ms)
{
    if (!d->index) {
        if (heap->count == heap->cap) {
            uint32_t cap = heap->cap ? heap->cap * 2 : 16;
            struct pl_deadline **items = pl_realloc(heap->items, cap * sizeof *items);
            if (!items)
                return PL_NO_MEMORY;
            heap->items = items;
            heap->cap = cap;
        }
        place(heap, heap->count++, d);
    }
    d->at_ms = at_ms;
    sift(heap, d->index - 1);
    return PL_OK;
}

void pl_heap_remove(struct pl_heap *heap, struct pl_deadline *d)
{
    if (!d->index)
        return;
    uint32_t i = d->index - 1;
    struct pl_deadline *last = heap->items[--heap->count];
    if (last != d) {
        place(heap, i, last);
        sift(heap, i);
    }
    d->index = 0;
    d->at_ms = PL_NEVER;
}

uint64_t pl_heap_next_ms(const struct pl_heap *heap)
{
    return heap->count ? heap->items[0]->at_ms : PL_NEVER;
}

struct pl_deadline *pl_heap_pop_due(struct pl_heap *heap, uint64_t now_ms)
{
    if (!heap->count || heap->items[0]->at_ms > now_ms)
        return NULL;
    struct pl_deadline *d = heap->items[0];
    pl_heap_remove(heap, d);
    return d;
}

void pl_heap_done(struct pl_heap *heap)
{
    pl_free(heap->items);
    *heap = (struct pl_heap){0};
}
