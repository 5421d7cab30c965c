/*
 * Things in the order of a key of two numbers: a skip list.
 *
 * Adding, removing and finding cost O(log n), going on to the next one is following a pointer, and
 * adding at the end (rising keys) is O(1). A node is embedded in the thing; its links stand in
 * memory that the thing brings, as many as pl_order_height said:
 *
 *     uint32_t height = pl_order_height(&order);
 *     struct entry *e = pl_alloc(sizeof *e + height * sizeof(struct pl_order_node *));
 *     e->node.links = (struct pl_order_node **)(void *)(e + 1);
 *     pl_order_add(&order, &e->node, height, major, minor);
 *
 * Keys are unique. Not thread-safe.
 */
#ifndef PL_BASE_ORDER_H
#define PL_BASE_ORDER_H

#include "base/hash.h"

enum { PL_ORDER_LEVELS = 16 };

struct pl_order_node {
    uint64_t major, minor;
    struct pl_order_node **links; /* per level the next one */
};

struct pl_order {
    struct pl_order_node *first[PL_ORDER_LEVELS], *last[PL_ORDER_LEVELS];
    struct pl_random random;
};

void pl_order_init(struct pl_order *order, uint64_t seed);
/* How many links the next node shall have: 1 to PL_ORDER_LEVELS, 4/3 on average. */
uint32_t pl_order_height(struct pl_order *order);
void pl_order_add(struct pl_order *order, struct pl_order_node *node, uint32_t height,
    uint64_t major, uint64_t minor);
void pl_order_remove(struct pl_order *order, struct pl_order_node *node);
/* The first whose key is not smaller; NULL: none. */
struct pl_order_node *pl_order_find(const struct pl_order *order, uint64_t major, uint64_t minor);

static inline struct pl_order_node *pl_order_first(const struct pl_order *order)
{
    return order->first[0];
}

static inline struct pl_order_node *pl_order_next(const struct pl_order_node *node)
{
    return node->links[0];
}

#endif
