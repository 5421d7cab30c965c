#include "base/hash.h"

#include <sodium.h>

__extension__ typedef unsigned __int128 uint128; /* Not ISO C; gcc and clang have it. */

/*
 * Multiply and fold: 64 x 64 bits to 128, high half xor low half. One product for 16 bytes, with
 * the secret seed in both factors, keeps short names (most subjects) near 3 ns.
 */
static uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const uint8_t *at, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, at, n);
    return v;
}

static const uint64_t odd_a = 0x9E3779B97F4A7C15u, odd_b = 0xD6E8FEB86659FD93u;

uint64_t pl_hash(uint64_t seed, struct pl_bytes bytes)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    uint64_t h = seed ^ odd_a;
    while (left > 16) {
        h = fold(load(at, 8) ^ odd_b, load(at + 8, 8) ^ h);
        at += 16;
        left -= 16;
    }
    uint64_t low = 0, high = 0;
    if (left >= 8) {
        low = load(at, 8);
        high = load(at + left - 8, 8);
    } else if (left >= 4) {
        low = load(at, 4);
        high = load(at + left - 4, 4);
    } else if (left) {
        low = load(at, left);
    }
    h = fold(low ^ odd_b, high ^ h);
    return fold(h ^ bytes.len, seed ^ odd_b);
}

struct pl_random pl_random_seeded(uint64_t seed)
{
    return (struct pl_random){{fold(seed ^ odd_a, odd_b) | 1, seed + odd_a}};
}

/* xoroshiro128+ */
uint64_t pl_random_next(struct pl_random *random)
{
    uint64_t a = random->state[0], b = random->state[1], sum = a + b;
    b ^= a;
    random->state[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
    random->state[1] = b << 37 | b >> 27;
    return sum;
}

uint32_t pl_random_below(struct pl_random *random, uint32_t below)
{
    return (uint32_t)((pl_random_next(random) >> 32) * below >> 32);
}

void pl_hash_secret(struct pl_bytes key, struct pl_bytes bytes, uint8_t out[PL_SECRET_HASH_SIZE])
{
    (void)crypto_generichash(out, PL_SECRET_HASH_SIZE, bytes.data, bytes.len, key.data, key.len);
}

/*
 * A Feistel network on 54 bits, walked on until it falls below 2^53 and is not 0: a bijection of
 * the numbers from 1 to 2^53 - 1.
 */
uint64_t pl_hash_id(uint64_t seed, uint64_t number)
{
    enum { HALF = 27, ROUNDS = 4 };
    const uint64_t mask = ((uint64_t)1 << HALF) - 1;
    uint64_t id = number;
    do {
        uint64_t left = id >> HALF & mask, right = id & mask;
        for (uint64_t i = 0; i < ROUNDS; i++) {
            uint64_t mixed = (right ^ seed ^ i << 60) * 0x9E3779B97F4A7C15u;
            mixed = (mixed ^ mixed >> 29 ^ seed >> 7) * 0xBF58476D1CE4E5B9u;
            uint64_t next = left ^ (mixed >> 33 & mask);
            left = right;
            right = next;
        }
        id = left << HALF | right;
    } while (!id || id >> 53);
    return id;
}
