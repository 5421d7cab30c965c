#include "check.h"

#include <stdlib.h>

#include "base/order.h"

enum { MANY = 2000 };

struct thing {
    struct pl_order_node node;
    bool stands;
    struct pl_order_node *links[PL_ORDER_LEVELS];
};

static struct thing things[MANY]; /* thing i has the key (i / 7, i) */

static bool is_whole(const struct pl_order *order)
{
    const struct pl_order_node *node = pl_order_first(order);
    for (int i = 0; i < MANY; i++)
        if (things[i].stands) {
            if (node != &things[i].node)
                return false;
            node = pl_order_next(node);
        }
    return !node;
}

static void add(struct pl_order *order, uint32_t i)
{
    things[i].node.links = things[i].links;
    things[i].stands = true;
    pl_order_add(order, &things[i].node, pl_order_height(order), i / 7, i);
}

TEST(things_stand_in_the_order_of_their_keys)
{
    struct pl_order order;
    struct pl_random random = pl_random_seeded(5);
    pl_order_init(&order, 5);
    CHECK(!pl_order_first(&order) && !pl_order_find(&order, 0, 0));
    for (int round = 0; round < 20000; round++) {
        uint32_t i = pl_random_below(&random, MANY);
        if (things[i].stands) {
            pl_order_remove(&order, &things[i].node);
            things[i].stands = false;
        } else {
            add(&order, i);
        }
        uint32_t from = pl_random_below(&random, MANY), expected = from;
        while (expected < MANY && !things[expected].stands)
            expected++;
        struct pl_order_node *found = pl_order_find(&order, from / 7, from);
        if (!CHECK(found == (expected < MANY ? &things[expected].node : NULL)))
            break;
        if (round % 1000 == 0 && !CHECK(is_whole(&order)))
            break;
    }
    for (uint32_t i = 0; i < MANY; i++)
        if (things[i].stands) {
            pl_order_remove(&order, &things[i].node);
            things[i].stands = false;
        }
    CHECK(!pl_order_first(&order) && !order.last[0]);
    for (uint32_t i = 0; i < MANY; i++) /* rising: each at the end */
        add(&order, i);
    CHECK(is_whole(&order));
}
