/*
 * Slows those who guess: by the address that they come from, and by the name that they try.
 *
 *     after the first free failures each further one doubles the time for which the next attempt is
 *     refused unseen, up to a maximum; with time failures are forgotten
 *
 * An address and a name that logged in together before have a count of their own: who tries
 * passwords from elsewhere cannot lock them out, and neither can a neighbour behind the same
 * address with a wrong password.
 *
 * Memory is constant: two tables of 4096 keys, hashed with a secret seed, in which a newcomer takes
 * the place of the one that matters least. Thread-safe. It reads no clock.
 */
#ifndef PL_AUTH_GUARD_H
#define PL_AUTH_GUARD_H

#include "base/bytes.h"

struct pl_guard_limits {
    uint32_t free_failures;
    uint64_t backoff_ms;     /* first wait */
    uint64_t backoff_max_ms; /* longest */
    uint64_t forget_ms;      /* one failure less after each of these */
    uint32_t pending_max;    /* of one address at a time */
};

/* What is being tried. Tokens cannot be guessed; slowing them saves work, so it comes later and is
 * short: many devices may share an address with one whose token is bad. */
enum pl_guard_kind { PL_GUARD_PASSWORD, PL_GUARD_TOKEN };

enum pl_guard_outcome {
    PL_GUARD_GOOD,
    PL_GUARD_BAD,
    PL_GUARD_NEITHER, /* no guess: expired, no memory, shutting down */
};

/* One attempt, from admit to settle. */
struct pl_guard_attempt {
    uint64_t keys[2]; /* 0: none */
    uint64_t pair;    /* 0: none */
    uint8_t kind;     /* enum pl_guard_kind */
};

struct pl_guard;

PL_MUST_USE struct pl_guard *pl_guard_new(const struct pl_guard_limits *limits, uint64_t seed);
/* Returns NULL; accepts NULL. */
struct pl_guard *pl_guard_free(struct pl_guard *guard);

/*
 * address: text; what is no IP address (a Unix socket) is not counted, IPv6 by /64. name: empty:
 * none. False: refuse unseen, there is nothing to settle.
 */
PL_MUST_USE bool pl_guard_admit(struct pl_guard *guard, enum pl_guard_kind kind,
    struct pl_bytes address, struct pl_bytes name, uint64_t now_ms, struct pl_guard_attempt *out);
/* Once per admitted attempt. Its time is the latest that admit has heard of. */
void pl_guard_settle(
    struct pl_guard *guard, const struct pl_guard_attempt *attempt, enum pl_guard_outcome outcome);

#endif
