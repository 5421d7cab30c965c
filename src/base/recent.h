/*
 * Things in the order of their last use, for those who forget the least recent.
 *
 *     struct entry { struct pl_recent_node recent; … };
 *     pl_recent_add(&recent, &e->recent);      // the newest now
 *     pl_recent_touch(&recent, &e->recent);    // again
 *     struct entry *e = PL_CONTAINER(recent.oldest, struct entry, recent);
 *
 * A node is embedded in the thing. Not thread-safe.
 */
#ifndef PL_BASE_RECENT_H
#define PL_BASE_RECENT_H

#include <stddef.h>

struct pl_recent_node {
    struct pl_recent_node *older, *newer;
};

struct pl_recent {
    struct pl_recent_node *oldest, *newest; /* NULL: it is empty */
};

static inline void pl_recent_add(struct pl_recent *recent, struct pl_recent_node *node)
{
    node->newer = NULL;
    node->older = recent->newest;
    if (node->older)
        node->older->newer = node;
    else
        recent->oldest = node;
    recent->newest = node;
}

static inline void pl_recent_remove(struct pl_recent *recent, struct pl_recent_node *node)
{
    if (node->older)
        node->older->newer = node->newer;
    else
        recent->oldest = node->newer;
    if (node->newer)
        node->newer->older = node->older;
    else
        recent->newest = node->older;
}

static inline void pl_recent_touch(struct pl_recent *recent, struct pl_recent_node *node)
{
    pl_recent_remove(recent, node);
    pl_recent_add(recent, node);
}

#endif
