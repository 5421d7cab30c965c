#include "net/rate.h"

#include "check.h"

static bool take(struct pl_rate *rate, uint32_t host, uint64_t now_ms)
{
    return pl_rate_take(rate, pl_bytes_of(&host, sizeof host), now_ms);
}

TEST(an_address_may_come_so_often_at_once_and_each_minute_again)
{
    struct pl_rate rate;
    pl_rate_init(&rate, 3, 1);
    for (int i = 0; i < 3; i++)
        CHECK(take(&rate, 1, 1000));
    CHECK(!take(&rate, 1, 1000));
    CHECK(take(&rate, 2, 1000)); /* another one has its own */
    CHECK(!take(&rate, 1, 20000));
    CHECK(take(&rate, 1, 21000)); /* a third of a minute later: one more */
    CHECK(!take(&rate, 1, 21001));
    for (int i = 0; i < 3; i++)
        CHECK(take(&rate, 1, 200000));
    CHECK(!take(&rate, 1, 200000));
    pl_rate_done(&rate);
}

TEST(what_tries_all_the_time_gets_in_at_the_rate)
{
    struct pl_rate rate;
    unsigned count = 0;
    pl_rate_init(&rate, 60, 1);
    for (uint64_t now_ms = 0; now_ms < 600000; now_ms += 100)
        count += take(&rate, 7, now_ms);
    CHECK(count >= 600 + 58 && count <= 600 + 60);
    pl_rate_done(&rate);
}

TEST(addresses_are_forgotten_after_a_minute_and_never_more_than_so_many_are_kept)
{
    struct pl_rate rate;
    pl_rate_init(&rate, 1, 1);
    for (uint32_t i = 0; i < PL_RATE_ADDRESSES_MAX + 1000; i++)
        CHECK(take(&rate, i, 1000));
    CHECK_EQ(rate.map.count, PL_RATE_ADDRESSES_MAX);
    CHECK(!take(&rate, PL_RATE_ADDRESSES_MAX + 999, 1000));
    CHECK(take(&rate, 0, 1000)); /* forgotten */
    CHECK(take(&rate, 5, 62000));
    CHECK_EQ(rate.map.count, 1);
    pl_rate_done(&rate);
}

TEST(without_a_rate_nobody_is_refused)
{
    struct pl_rate rate;
    pl_rate_init(&rate, 0, 1);
    for (int i = 0; i < 100; i++)
        CHECK(take(&rate, 1, 0));
    CHECK_EQ(rate.map.count, 0);
    pl_rate_done(&rate);
}
