#include "base/order.h"

void pl_order_init(struct pl_order *order, uint64_t seed)
{
    *order = (struct pl_order){.random = pl_random_seeded(seed)};
}

uint32_t pl_order_height(struct pl_order *order)
{
    uint64_t bits = pl_random_next(&order->random) >> 20;
    uint32_t height = 1;
    for (; height < PL_ORDER_LEVELS && !(bits & 3); bits >>= 2)
        height++;
    return height;
}

static bool is_before(const struct pl_order_node *node, uint64_t major, uint64_t minor)
{
    return node->major != major ? node->major < major : node->minor < minor;
}

/* Per level the last node before the key; NULL: none. */
static void find_before(
    const struct pl_order *order, uint64_t major, uint64_t minor, struct pl_order_node **before)
{
    struct pl_order_node *at = NULL;
    for (int level = PL_ORDER_LEVELS - 1; level >= 0; level--) {
        struct pl_order_node *next = at ? at->links[level] : order->first[level];
        while (next && is_before(next, major, minor)) {
            at = next;
            next = at->links[level];
        }
        before[level] = at;
    }
}

void pl_order_add(struct pl_order *order, struct pl_order_node *node, uint32_t height,
    uint64_t major, uint64_t minor)
{
    struct pl_order_node *found[PL_ORDER_LEVELS], **before = found;
    node->major = major;
    node->minor = minor;
    if (order->last[0] && is_before(order->last[0], major, minor))
        before = order->last;
    else
        find_before(order, major, minor, found);
    for (uint32_t level = 0; level < height; level++) {
        struct pl_order_node *previous = before[level];
        struct pl_order_node **at = previous ? &previous->links[level] : &order->first[level];
        node->links[level] = *at;
        *at = node;
        if (!node->links[level])
            order->last[level] = node;
    }
}

void pl_order_remove(struct pl_order *order, struct pl_order_node *node)
{
    struct pl_order_node *before[PL_ORDER_LEVELS];
    bool is_first = order->first[0] == node;
    if (is_first)
        memset(before, 0, sizeof before);
    else
        find_before(order, node->major, node->minor, before);
    for (uint32_t level = 0; level < PL_ORDER_LEVELS; level++) {
        struct pl_order_node **at =
            before[level] ? &before[level]->links[level] : &order->first[level];
        if (*at != node)
            break;
        *at = node->links[level];
        if (!*at)
            order->last[level] = before[level];
    }
}

struct pl_order_node *pl_order_find(const struct pl_order *order, uint64_t major, uint64_t minor)
{
    struct pl_order_node *before[PL_ORDER_LEVELS];
    find_before(order, major, minor, before);
    return before[0] ? before[0]->links[0] : order->first[0];
}
