/*
 * Makes a match set of the lists that the indexes found. Part of the matcher (match.h), guarded by
 * the realm's lock.
 */
#ifndef PL_CORE_MATCH_SET_H
#define PL_CORE_MATCH_SET_H

#include "core/match.h"
#include "core/match_index.h"

/* A subscription that matched, with what sets are ordered by. */
struct pl_found {
    struct pl_subscription *sub;
    uint64_t major, minor; /* of a target: ops, form. Of a member: 0, place's pattern */
    uint32_t worker;
    uint8_t tests;
};

/* Memory that is used again for each set. */
struct pl_set_builder {
    struct pl_found *targets, *members, *scratch;
    uint32_t target_count, target_cap, member_count, member_cap, scratch_cap;
};

void pl_set_builder_done(struct pl_set_builder *b);

/*
 * One reference. spare: a set that nobody else holds, to be used again if its size fits (then it is
 * returned), else left alone; may be NULL. NULL: no memory.
 */
PL_MUST_USE struct pl_match *pl_set_build(struct pl_set_builder *b, const struct pl_places *places,
    struct pl_bytes subject, bool is_logged, struct pl_match *spare);

/* Bytes that a set takes. */
size_t pl_set_size(struct pl_match *match);
/* Nobody but the caller holds it. */
bool pl_set_is_mine(struct pl_match *match);

#endif
