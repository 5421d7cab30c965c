/*
 * Which registration answers calls of this name? (WAMP, "Pattern-based Registrations")
 *
 *     1  the one of exactly this name
 *     2  else the longest prefix
 *     3  else the pattern of tokens with the longest first run of literal ones, ties by the second
 *        run and so on
 *
 * Names and patterns stand in the matcher's two indexes. Guarded by the realm's lock.
 */
#ifndef PL_CORE_REGISTRATIONS_H
#define PL_CORE_REGISTRATIONS_H

#include "core/call.h"
#include "core/match_index.h"

/* The callees of one pattern. There is no registration without one. */
struct pl_registration {
    struct pl_subscription place; /* where it stands in the index; nobody's subscription */
    uint64_t id;
    uint8_t invoke; /* enum pl_invoke, of all its callees */
    uint32_t callee_count;
    struct pl_callee *first, *last; /* oldest first */
    struct pl_callee *turn;         /* round robin: who was asked last; NULL: nobody yet */
};

struct pl_registrations {
    struct pl_literals literals;
    struct pl_tree tree;
    struct pl_places places; /* scratch */
    uint64_t seed;
    uint64_t made;  /* ids given out */
    uint32_t count; /* registrations; 0: nothing has to be looked up */
};

void pl_registrations_init(struct pl_registrations *all, uint64_t seed);
void pl_registrations_done(struct pl_registrations *all);

/* NULL: none. */
struct pl_registration *pl_registrations_match(struct pl_registrations *all, struct pl_bytes name);
/* The one of exactly this pattern; NULL: none. */
struct pl_registration *pl_registrations_find(
    struct pl_registrations *all, const struct pl_pattern *pattern);
/* Adds a callee, and its registration if it is the first. PL_EXISTS, PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_registrations_add(
    struct pl_registrations *all, struct pl_callee *callee);
/* Takes a callee out, and its registration if it was the last; *out_last tells. Its pattern's
 * reference goes. */
void pl_registrations_remove(
    struct pl_registrations *all, struct pl_callee *callee, bool *out_last);

/* Does `a` answer rather than `b`, where both match? */
bool pl_pattern_precedes(const struct pl_pattern *a, const struct pl_pattern *b);

#endif
