/*
 * Which subscriptions want this subject?
 *
 * A tree of tokens; a pattern sits where it ends. Globs and prefixes sit at the node of their
 * literal head and are tested one by one. Answers ("match sets") are immutable, counted, already
 * grouped as deliveries need them, and cached by subject: a change of a literal pattern drops one
 * entry, a change of a wildcard bumps the generation.
 *
 * Guarded by the realm's lock; the match sets it gave out may be read on any thread by who holds a
 * reference, each reactor looking at its own part only.
 */
#ifndef PL_CORE_MATCH_H
#define PL_CORE_MATCH_H

#include "core/subscription.h"

struct pl_session_ops;

/* Subscriptions of one worker, one protocol and one wire form. */
struct pl_match_group {
    const struct pl_session_ops *ops;
    uint64_t form;         /* 0: each is encoded by its session, never shared */
    uint32_t first, count; /* in targets */
};

/* The groups of one worker. */
struct pl_match_part {
    uint32_t worker;
    uint32_t first, count; /* in groups */
};

/* A queue group's slot: one of its members gets the message. */
struct pl_match_slot {
    uint32_t first, count; /* in members */
};

struct pl_match {
    atomic_uint refs;
    bool has_durable;   /* some target or member outlives the process */
    bool has_no_local;  /* some target must not get what its session published */
    uint32_t receivers; /* targets plus slots */
    uint32_t part_count, group_count, target_count, slot_count, member_count;
    struct pl_bytes subject; /* a copy */
    const struct pl_match_part *parts;
    const struct pl_match_group *groups;
    struct pl_subscription *const *targets;
    const struct pl_match_slot *slots;
    struct pl_subscription *const *members;
};

struct pl_match *pl_match_ref(struct pl_match *match);
struct pl_match *pl_match_unref(struct pl_match *match);

struct pl_matcher;

/* seed: for its hashes. cache_max: match sets kept, rounded up to a power of two, in at most 512
 * bytes on average. NULL: no memory. */
PL_MUST_USE struct pl_matcher *pl_matcher_new(uint64_t seed, uint32_t cache_max);
/* The subscriptions in it are the caller's. Accepts NULL. */
struct pl_matcher *pl_matcher_free(struct pl_matcher *m);

/* Uses pattern, session, worker, form, queue, flags. PL_NO_MEMORY: nothing changed. */
PL_MUST_USE enum pl_err pl_matcher_add(struct pl_matcher *m, struct pl_subscription *sub);
void pl_matcher_remove(struct pl_matcher *m, struct pl_subscription *sub);
/* What match sets were built from changed (rights, workers): old answers are not used again. */
void pl_matcher_touch(struct pl_matcher *m);
/* The same for what this pattern matches alone. */
void pl_matcher_touch_pattern(struct pl_matcher *m, const struct pl_pattern *pattern);

/*
 * Borrowed until the next call on the matcher; take a reference to keep it. Asks
 * pl_identity_may_receive of the session's identity for subscriptions that are FILTERED. is_logged:
 * the subject stands under a history rule, so RECOVERING subscriptions are left out (they will read
 * it from the log); it must be the same at every call for one subject.
 * NULL: no memory. Equal answers for equal subjects as long as nothing changes are the same
 * pointer.
 */
PL_MUST_USE struct pl_match *pl_matcher_match(
    struct pl_matcher *m, struct pl_bytes subject, bool is_logged);

size_t pl_matcher_count(const struct pl_matcher *m);
/* Calls for every subscription, in no order. */
typedef void pl_subscription_fn(void *context, struct pl_subscription *sub);
void pl_matcher_each(struct pl_matcher *m, pl_subscription_fn *fn, void *context);

#endif
