#include "check.h"

#include <stdlib.h>

#include "base/hash.h"

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* How many of count numbers from `first` on have an id that is out of range, or another's. */
static uint32_t wrong_ids(uint64_t seed, uint64_t first, uint32_t count)
{
    uint64_t *ids = calloc(count, sizeof *ids);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = pl_hash_id(seed, first + i);
        wrong += !ids[i] || ids[i] >= (uint64_t)1 << 53;
    }
    qsort(ids, count, sizeof *ids, compare);
    for (uint32_t i = 1; i < count; i++)
        wrong += ids[i] == ids[i - 1];
    free(ids);
    return wrong;
}

TEST(ids_are_in_the_range_of_wamp_and_no_two_the_same)
{
    enum { COUNT = 100000 };
    static const uint64_t firsts[] = {1, (uint64_t)1 << 26, ((uint64_t)1 << 27) - COUNT / 2,
        (uint64_t)1 << 40, (uint64_t)64 << 40, ((uint64_t)1 << 53) - COUNT};
    static const uint64_t seeds[] = {0, 1, 42, UINT64_MAX, 0x9E3779B97F4A7C15u};
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++)
        for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
            CHECK_EQ(wrong_ids(seeds[s], firsts[i], COUNT), 0);
}

TEST(ids_tell_neither_how_many_there_are_nor_the_next_one)
{
    enum { COUNT = 10000 };
    uint32_t rising = 0, low = 0, same = 0;
    for (uint64_t i = 1; i <= COUNT; i++) {
        uint64_t id = pl_hash_id(42, i);
        rising += pl_hash_id(42, i + 1) > id;
        low += id < (uint64_t)1 << 52;
        same += pl_hash_id(43, i) == id;
    }
    CHECK(rising > COUNT * 45 / 100 && rising < COUNT * 55 / 100);
    CHECK(low > COUNT * 45 / 100 && low < COUNT * 55 / 100);
    CHECK_EQ(same, 0);
    CHECK(pl_hash_id(42, 7) == pl_hash_id(42, 7));
}

TEST(a_secret_hash_depends_on_its_key_and_on_every_byte)
{
    static const char key[] = "0123456789abcdef", other[] = "0123456789abcdeg";
    uint8_t a[PL_SECRET_HASH_SIZE], b[PL_SECRET_HASH_SIZE];
    pl_hash_secret(pl_bytes_text(key), PL_BYTES("text"), a);
    pl_hash_secret(pl_bytes_text(key), PL_BYTES("text"), b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    pl_hash_secret(pl_bytes_text(key), PL_BYTES("texu"), b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    pl_hash_secret(pl_bytes_text(other), PL_BYTES("text"), b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}
