/* Logins that are remembered for a cookie. */
#include "check.h"

#include "auth/cookies.h"

static struct pl_identity *someone(const char *name)
{
    return pl_identity_new_all(name, "all");
}

static bool is_for(struct pl_cookies *cookies, const char *cookie, const char *name, uint64_t now)
{
    struct pl_identity *identity = pl_cookies_find(cookies, pl_bytes_text(cookie), now);
    bool is_his = identity && pl_bytes_equal(identity->user, pl_bytes_text(name));
    pl_identity_unref(identity);
    return is_his;
}

static void remember(struct pl_cookies *cookies, const char *cookie, const char *name, uint64_t now)
{
    struct pl_identity *identity = someone(name);
    pl_cookies_remember(cookies, pl_bytes_text(cookie), identity, now);
    pl_identity_unref(identity);
}

TEST(a_login_is_found_by_its_cookie_until_it_was_not_used_for_its_lifetime)
{
    struct pl_cookies *cookies = pl_cookies_new(10, 100);
    remember(cookies, "one", "ann", 1000);
    CHECK(is_for(cookies, "one", "ann", 1000));
    CHECK(!is_for(cookies, "two", "ann", 1000));
    CHECK(is_for(cookies, "one", "ann", 1099));
    /* That was a use. */
    CHECK(is_for(cookies, "one", "ann", 1198));
    CHECK(!is_for(cookies, "one", "ann", 1298));
    CHECK(!is_for(cookies, "one", "ann", 1100));
    pl_cookies_free(cookies);
}

TEST(the_newest_login_of_a_cookie_counts_and_a_forgotten_one_does_not)
{
    struct pl_cookies *cookies = pl_cookies_new(10, 100);
    remember(cookies, "one", "ann", 1000);
    remember(cookies, "one", "bob", 1000);
    CHECK(is_for(cookies, "one", "bob", 1000));
    pl_cookies_forget(cookies, PL_BYTES("one"));
    pl_cookies_forget(cookies, PL_BYTES("one"));
    CHECK(!is_for(cookies, "one", "bob", 1000));
    pl_cookies_free(cookies);
}

TEST(a_login_that_ends_is_not_remembered_beyond_that)
{
    struct pl_cookies *cookies = pl_cookies_new(10, 1000);
    struct pl_identity *identity = someone("ann");
    identity->expires_unix_ms = 1050;
    pl_cookies_remember(cookies, PL_BYTES("one"), identity, 1000);
    pl_identity_unref(identity);
    CHECK(is_for(cookies, "one", "ann", 1049));
    CHECK(!is_for(cookies, "one", "ann", 1050));
    pl_cookies_free(cookies);
}

TEST(the_one_that_was_used_longest_ago_makes_room)
{
    struct pl_cookies *cookies = pl_cookies_new(2, 1000);
    remember(cookies, "one", "ann", 1000);
    remember(cookies, "two", "bob", 1000);
    CHECK(is_for(cookies, "one", "ann", 1001));
    remember(cookies, "three", "eve", 1002);
    CHECK(is_for(cookies, "one", "ann", 1002));
    CHECK(!is_for(cookies, "two", "bob", 1002));
    CHECK(is_for(cookies, "three", "eve", 1002));
    pl_cookies_free(cookies);
}
