/*
 * The matcher's two indexes of subscriptions.
 *
 *     pl_literals   patterns without wildcards, by the hash of the whole name: most subscriptions,
 *                   16 bytes a slot and no tree node
 *     pl_tree       patterns with wildcards, token by token; globs and prefixes at their head's
 * node
 *
 * Both keep lists of subscriptions, linked through node_next and node_at. node_at is the node_next
 * that points to this one, or NULL for the first: that one is found by its place, so that places
 * may move.
 *
 * Part of the matcher (match.h), guarded by the realm's lock.
 */
#ifndef PL_CORE_MATCH_INDEX_H
#define PL_CORE_MATCH_INDEX_H

#include "base/map.h"
#include "core/subscription.h"

/* A list of subscriptions that may match, found for one subject. */
struct pl_place {
    struct pl_subscription *subs;
    uint32_t pattern; /* equal for equal patterns, a last '#' counting as '>'; a literal has 0 */
    uint8_t tests;    /* enum pl_place_tests: what each of them must still pass */
};

enum pl_place_tests {
    PL_TEST_PATTERN = 1, /* a glob or prefix: does it match? */
    PL_TEST_DOLLAR = 2,  /* not one that spares names with '$' */
    PL_TEST_NAME = 4,    /* literal: is it this name? One answer for the list */
};

/* Grows as needed and is used again. */
struct pl_places {
    struct pl_place *items;
    uint32_t count, cap;
};

struct pl_literal_slot {
    struct pl_subscription *subs; /* NULL: a free slot */
    uint64_t hash;
};

struct pl_literals {
    struct pl_literal_slot *slots;
    uint32_t cap; /* power of two, or 0 */
    uint32_t count;
};

void pl_literals_done(struct pl_literals *literals);
/* hash: of the pattern's text. PL_NO_MEMORY: nothing changed. */
PL_MUST_USE enum pl_err pl_literals_add(
    struct pl_literals *literals, struct pl_subscription *sub, uint64_t hash);
void pl_literals_remove(struct pl_literals *literals, struct pl_subscription *sub, uint64_t hash);
/* Brings into the processor's cache what find will read. */
void pl_literals_prefetch(const struct pl_literals *literals, uint64_t hash);
/* Appends the subscriptions of names with this hash, to be tested by PL_TEST_NAME. */
PL_MUST_USE enum pl_err pl_literals_find(
    const struct pl_literals *literals, uint64_t hash, struct pl_places *places);

struct pl_node {
    struct pl_subscription *subs;
    uint32_t wild;     /* index of its wildcard children; 0: none */
    uint32_t children; /* literal children and wild */
};

/* A node's children that are not literal; 0: none. All but `any` are leaves. */
struct pl_wild {
    uint32_t any, rest, self_or_rest, loose;
};

struct pl_edge {
    uint64_t token; /* see match_tree.c */
    uint32_t parent;
    uint32_t child; /* 0: a free slot */
};

struct pl_tree {
    struct pl_node *nodes;
    struct pl_wild *wilds;
    struct pl_edge *edges;
    uint32_t node_count, node_cap, node_free; /* free ones are linked through `children` */
    uint32_t wild_count, wild_cap, wild_free; /* … through `any` */
    uint32_t edge_count, edge_cap;            /* cap: power of two */
    struct pl_map long_tokens;                /* those that do not fit in an edge */
    uint64_t seed;
    uint32_t sub_count;
};

void pl_tree_init(struct pl_tree *tree, uint64_t seed);
void pl_tree_done(struct pl_tree *tree);
/* PL_NO_MEMORY: nothing changed. */
PL_MUST_USE enum pl_err pl_tree_add(struct pl_tree *tree, struct pl_subscription *sub);
void pl_tree_remove(struct pl_tree *tree, struct pl_subscription *sub);
/* Appends where matching subscriptions stand. PL_NO_MEMORY: some are missing. */
PL_MUST_USE enum pl_err pl_tree_find(
    const struct pl_tree *tree, struct pl_bytes name, struct pl_places *places);

PL_MUST_USE enum pl_err pl_places_add(
    struct pl_places *places, struct pl_subscription *subs, uint32_t pattern, uint8_t tests);

/* The first 64 bytes, which need not be one line. */
static inline void pl_sub_prefetch(const struct pl_subscription *sub)
{
    __builtin_prefetch(sub);
    __builtin_prefetch((const char *)sub + 63);
}

static inline void pl_subs_link(struct pl_subscription **head, struct pl_subscription *sub)
{
    sub->node_next = *head;
    sub->node_at = NULL;
    if (*head)
        (*head)->node_at = &sub->node_next;
    *head = sub;
}

static inline void pl_subs_unlink(struct pl_subscription **head, struct pl_subscription *sub)
{
    struct pl_subscription *next = sub->node_next;
    PL_ASSERT(sub->node_at ? *sub->node_at == sub : *head == sub);
    if (sub->node_at)
        *sub->node_at = next;
    else
        *head = next;
    if (next)
        next->node_at = sub->node_at;
    sub->node_next = NULL;
    sub->node_at = NULL;
}

#endif
