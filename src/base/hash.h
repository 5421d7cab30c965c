/*
 * Hashes and random numbers. The hash is fast and seeded, so that a peer cannot choose names that
 * collide; it is not cryptographic. The generator is for choices, not for secrets.
 */
#ifndef PL_BASE_HASH_H
#define PL_BASE_HASH_H

#include "base/bytes.h"

uint64_t pl_hash(uint64_t seed, struct pl_bytes bytes);

enum { PL_SECRET_HASH_SIZE = 16 };

/* Of key and bytes, which nobody guesses who does not know the key (BLAKE2b). key: 16 to 64 bytes.
 */
void pl_hash_secret(struct pl_bytes key, struct pl_bytes bytes, uint8_t out[PL_SECRET_HASH_SIZE]);

/* 1 to 2^53 - 1 for each number below that, and no two the same: the seed says which. */
uint64_t pl_hash_id(uint64_t seed, uint64_t number);

struct pl_random {
    uint64_t state[2];
};

/* The same seed gives the same numbers, so that a failing run can be replayed. */
struct pl_random pl_random_seeded(uint64_t seed);
uint64_t pl_random_next(struct pl_random *random);
/* 0 to below - 1; below > 0. */
uint32_t pl_random_below(struct pl_random *random, uint32_t below);

#endif
