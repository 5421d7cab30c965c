/* How guessing is slowed: by an injected clock. */
#include "check.h"

#include "auth/guard.h"

static const struct pl_guard_limits limits = {
    .free_failures = 3,
    .backoff_ms = 100,
    .backoff_max_ms = 1000,
    .forget_ms = 60000,
    .pending_max = 8,
};

static struct pl_guard *fresh(void)
{
    return pl_guard_new(&limits, 7);
}

/* One attempt from admit to settle; false: it was refused unseen. */
static bool try_at(struct pl_guard *guard, const char *address, const char *name, uint64_t now_ms,
    enum pl_guard_outcome outcome)
{
    struct pl_guard_attempt attempt;
    if (!pl_guard_admit(guard, PL_GUARD_PASSWORD, pl_bytes_text(address), pl_bytes_text(name),
            now_ms, &attempt))
        return false;
    pl_guard_settle(guard, &attempt, outcome);
    return true;
}

TEST(behind_the_free_failures_each_one_doubles_the_wait_up_to_the_longest)
{
    struct pl_guard *guard = fresh();
    for (int i = 0; i < 3; i++)
        CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_BAD));
    uint64_t now = 0;
    static const uint64_t waits[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        CHECK(try_at(guard, "10.0.0.1", "bob", now, PL_GUARD_BAD));
        CHECK(!try_at(guard, "10.0.0.1", "bob", now, PL_GUARD_BAD));
        CHECK(!try_at(guard, "10.0.0.1", "bob", now + waits[i] - 1, PL_GUARD_GOOD));
        now += waits[i];
    }
    pl_guard_free(guard);
}

TEST(an_address_is_slowed_whatever_names_it_tries)
{
    struct pl_guard *guard = fresh();
    char name[16];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        CHECK(try_at(guard, "10.0.0.1", name, 0, PL_GUARD_BAD));
    }
    CHECK(!try_at(guard, "10.0.0.1", "another", 0, PL_GUARD_GOOD));
    CHECK(try_at(guard, "10.0.0.2", "another", 0, PL_GUARD_GOOD));
    pl_guard_free(guard);
}

TEST(a_name_is_slowed_wherever_it_is_tried_from)
{
    struct pl_guard *guard = fresh();
    char address[32];
    for (int i = 0; i < 4; i++) {
        snprintf(address, sizeof(address), "10.0.1.%d", i);
        CHECK(try_at(guard, address, "bob", 0, PL_GUARD_BAD));
    }
    CHECK(!try_at(guard, "10.0.2.1", "bob", 0, PL_GUARD_GOOD));
    CHECK(try_at(guard, "10.0.2.1", "ann", 0, PL_GUARD_GOOD));
    pl_guard_free(guard);
}

TEST(who_logged_in_from_an_address_before_is_not_locked_out_by_others)
{
    struct pl_guard *guard = fresh();
    CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_GOOD));
    char address[32];
    for (int i = 0; i < 4; i++) {
        snprintf(address, sizeof(address), "10.0.1.%d", i);
        CHECK(try_at(guard, address, "bob", 0, PL_GUARD_BAD));
        CHECK(try_at(guard, "10.0.0.1", "eve", 0, PL_GUARD_BAD));
    }
    CHECK(!try_at(guard, "10.0.1.9", "bob", 0, PL_GUARD_BAD));
    CHECK(!try_at(guard, "10.0.0.1", "ann", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_GOOD));
    /* And has a count of its own, so that a neighbour cannot guess on. */
    for (int i = 0; i < 4; i++)
        CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_BAD));
    CHECK(!try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_BAD));
    pl_guard_free(guard);
}

TEST(failures_are_forgotten_with_time)
{
    struct pl_guard *guard = fresh();
    for (int i = 0; i < 3; i++)
        CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "10.0.0.1", "bob", 120000, PL_GUARD_BAD));
    CHECK(try_at(guard, "10.0.0.1", "bob", 120000, PL_GUARD_BAD));
    CHECK(try_at(guard, "10.0.0.1", "bob", 120000, PL_GUARD_BAD));
    CHECK(!try_at(guard, "10.0.0.1", "bob", 120000, PL_GUARD_BAD));
    pl_guard_free(guard);
}

TEST(what_is_no_guess_does_not_count)
{
    struct pl_guard *guard = fresh();
    for (int i = 0; i < 100; i++)
        CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_NEITHER));
    pl_guard_free(guard);
}

TEST(guesses_that_are_under_way_count_once_somebody_failed)
{
    struct pl_guard *guard = fresh();
    struct pl_bytes address = PL_BYTES("10.0.0.1"), name = PL_BYTES("bob");
    struct pl_guard_attempt under_way[8], more;
    /* Nobody failed: a fleet that comes back with one name. */
    for (int i = 0; i < 8; i++)
        CHECK(pl_guard_admit(guard, PL_GUARD_PASSWORD, address, name, 0, &under_way[i]));
    CHECK(!pl_guard_admit(guard, PL_GUARD_PASSWORD, address, name, 0, &more));
    for (int i = 0; i < 8; i++)
        pl_guard_settle(guard, &under_way[i], PL_GUARD_NEITHER);
    CHECK(try_at(guard, "10.0.0.1", "bob", 0, PL_GUARD_BAD));
    /* One failed, so two more free ones at a time. */
    CHECK(pl_guard_admit(guard, PL_GUARD_PASSWORD, address, name, 0, &under_way[0]));
    CHECK(pl_guard_admit(guard, PL_GUARD_PASSWORD, address, name, 0, &under_way[1]));
    CHECK(!pl_guard_admit(guard, PL_GUARD_PASSWORD, address, name, 0, &more));
    pl_guard_settle(guard, &under_way[0], PL_GUARD_BAD);
    pl_guard_settle(guard, &under_way[1], PL_GUARD_BAD);
    pl_guard_free(guard);
}

TEST(ipv6_counts_by_the_network_and_mapped_ipv4_as_ipv4)
{
    struct pl_guard *guard = fresh();
    CHECK(try_at(guard, "2001:db8::1", "a", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "2001:db8::2", "b", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "2001:db8::3:4", "c", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "2001:db8::5", "d", 0, PL_GUARD_BAD));
    CHECK(!try_at(guard, "2001:db8::6", "e", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "2001:db8:0:1::6", "e", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "::ffff:10.0.0.1", "f", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "10.0.0.1", "g", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "::ffff:10.0.0.1", "h", 0, PL_GUARD_BAD));
    CHECK(try_at(guard, "10.0.0.1", "i", 0, PL_GUARD_BAD));
    CHECK(!try_at(guard, "10.0.0.1", "j", 0, PL_GUARD_BAD));
    pl_guard_free(guard);
}

TEST(a_unix_socket_is_no_address_but_its_names_count)
{
    struct pl_guard *guard = fresh();
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        CHECK(try_at(guard, "unix", name, 0, PL_GUARD_BAD));
    }
    for (int i = 0; i < 4; i++)
        CHECK(try_at(guard, "unix", "bob", 0, PL_GUARD_BAD));
    CHECK(!try_at(guard, "unix", "bob", 0, PL_GUARD_BAD));
    pl_guard_free(guard);
}

TEST(bad_tokens_are_slowed_later_and_for_a_second_at_most)
{
    static const struct pl_guard_limits long_waits = {3, 100, 60000, 60000, 8};
    struct pl_guard *guard = pl_guard_new(&long_waits, 7);
    struct pl_guard_attempt attempt;
    int admitted = 0;
    for (int i = 0; i < 200; i++) {
        if (!pl_guard_admit(
                guard, PL_GUARD_TOKEN, PL_BYTES("10.0.0.1"), PL_NO_BYTES, (uint64_t)i, &attempt))
            continue;
        pl_guard_settle(guard, &attempt, PL_GUARD_BAD);
        admitted++;
    }
    CHECK_EQ(admitted, 32); /* 30 free, one at 30, one at 130 */
    /* Passwords from there are another matter. */
    CHECK(try_at(guard, "10.0.0.1", "bob", 200, PL_GUARD_BAD));
    for (uint64_t now = 10000; now < 30000; now += 1000) {
        CHECK(pl_guard_admit(
            guard, PL_GUARD_TOKEN, PL_BYTES("10.0.0.1"), PL_NO_BYTES, now, &attempt));
        pl_guard_settle(guard, &attempt, PL_GUARD_BAD);
    }
    pl_guard_free(guard);
}

TEST(a_flood_of_names_takes_no_memory_and_does_not_free_who_is_slowed)
{
    struct pl_guard *guard = fresh();
    for (int i = 0; i < 8; i++)
        try_at(guard, "10.9.9.9", "victim", (uint64_t)i * 1000, PL_GUARD_BAD);
    char name[32];
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "flood%d", i);
        CHECK(try_at(guard, "unix", name, 7001, PL_GUARD_BAD));
    }
    CHECK(!try_at(guard, "10.9.9.9", "victim", 7002, PL_GUARD_BAD));
    pl_guard_free(guard);
}
