#include "check.h"

#include "base/alloc.h"
#include "core/identity.h"

static enum pl_err add(
    struct pl_identity *identity, enum pl_action action, bool deny, const char *text)
{
    struct pl_pattern *p = NULL;
    enum pl_err err = pl_pattern_parse(pl_bytes_text(text), &p);
    return err ? err : pl_identity_add_pattern(identity, action, deny, p);
}

static bool may_subscribe(const struct pl_identity *identity, const char *text, bool *filtered)
{
    struct pl_pattern *p = NULL;
    bool ignored;
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(text), &p), PL_OK);
    bool yes = pl_identity_may_subscribe(identity, p, filtered ? filtered : &ignored);
    pl_pattern_unref(p);
    return yes;
}

TEST(who_may_do_everything_may_not_write_reserved_names)
{
    struct pl_identity *all = pl_identity_new_all("admin", "owner");
    REQUIRE(all);
    CHECK(pl_bytes_equal(all->user, PL_BYTES("admin")));
    CHECK(all->expires_unix_ms == PL_NEVER);
    CHECK(pl_identity_may_publish(all, PL_BYTES("a.b")));
    CHECK(pl_identity_may_publish(all, PL_BYTES("_INBOX.a.b")));
    CHECK(pl_identity_may_publish(all, PL_BYTES("")));
    CHECK(!pl_identity_may_publish(all, PL_BYTES("$SYS.a")));
    CHECK(!pl_identity_may_publish(all, PL_BYTES("wamp.a")));
    bool filtered = true;
    CHECK(may_subscribe(all, "$SYS.#", &filtered));
    CHECK(!filtered);
    CHECK(may_subscribe(all, "#", NULL));
    CHECK(pl_identity_may_receive(all, PL_BYTES("$SYS.a")));
    CHECK(!pl_identity_unref(all));
}

TEST(who_has_no_rights_may_have_an_inbox_only)
{
    struct pl_identity *nobody = pl_identity_new();
    REQUIRE(nobody);
    CHECK(!pl_identity_may_publish(nobody, PL_BYTES("a")));
    CHECK(!pl_identity_may_publish(nobody, PL_BYTES("_INBOX.a")));
    CHECK(!may_subscribe(nobody, "a", NULL));
    CHECK(!may_subscribe(nobody, ">", NULL));
    CHECK(!may_subscribe(nobody, "_INBOX.>", NULL));
    CHECK(!may_subscribe(nobody, "_INBOX.*.a", NULL));
    CHECK(!may_subscribe(nobody, "_INBOXES.a.b", NULL));
    CHECK(may_subscribe(nobody, "_INBOX.a.>", NULL));
    CHECK(may_subscribe(nobody, "_INBOX.a", NULL));
    pl_identity_unref(nobody);
}

TEST(the_union_of_the_allow_list_must_contain_a_subscription)
{
    struct pl_identity *device = pl_identity_new();
    REQUIRE(device && !add(device, PL_SUBSCRIBE, false, "device.7.#"));
    REQUIRE(
        !add(device, PL_SUBSCRIBE, false, "news") && !add(device, PL_SUBSCRIBE, false, "news.>"));
    REQUIRE(!add(device, PL_PUBLISH, false, "device.7.>"));
    CHECK(may_subscribe(device, "device.7", NULL));
    CHECK(may_subscribe(device, "device.7.#", NULL));
    CHECK(may_subscribe(device, "device.7.*.x", NULL));
    CHECK(may_subscribe(device, "news.#", NULL));
    CHECK(!may_subscribe(device, "device.*", NULL));
    CHECK(!may_subscribe(device, "device.8", NULL));
    CHECK(!may_subscribe(device, "device.>", NULL));
    CHECK(!may_subscribe(device, "#", NULL));
    CHECK(pl_identity_may_publish(device, PL_BYTES("device.7.x")));
    CHECK(!pl_identity_may_publish(device, PL_BYTES("device.7")));
    CHECK(!pl_identity_may_publish(device, PL_BYTES("news")));
    struct pl_pattern *p;
    bool filtered;
    REQUIRE(!pl_pattern_new_glob(PL_BYTES("device.7.*"), &p));
    CHECK(pl_identity_may_subscribe(device, p, &filtered));
    pl_pattern_unref(p);
    REQUIRE(!pl_pattern_new_glob(PL_BYTES("device.7*"), &p));
    CHECK(!pl_identity_may_subscribe(device, p, &filtered));
    pl_pattern_unref(p);
    REQUIRE(!pl_pattern_new_prefix(PL_BYTES("device.7."), &p));
    CHECK(pl_identity_may_subscribe(device, p, &filtered));
    pl_pattern_unref(p);
    pl_identity_unref(device);
}

TEST(deny_wins_and_filters_what_it_only_crosses)
{
    struct pl_identity *user = pl_identity_new();
    REQUIRE(user && !add(user, PL_SUBSCRIBE, false, ">") && !add(user, PL_PUBLISH, false, ">"));
    CHECK(user->rights[PL_SUBSCRIBE].allow_all);
    REQUIRE(!add(user, PL_SUBSCRIBE, true, "secret.>") && !add(user, PL_PUBLISH, true, "*.locked"));
    CHECK(!user->rights[PL_SUBSCRIBE].allow_all);
    bool filtered = false;
    CHECK(may_subscribe(user, ">", &filtered));
    CHECK(filtered);
    CHECK(may_subscribe(user, "*.a", &filtered));
    CHECK(filtered);
    CHECK(may_subscribe(user, "open.>", &filtered));
    CHECK(!filtered);
    CHECK(!may_subscribe(user, "secret.a", NULL));
    CHECK(!may_subscribe(user, "secret.*.b", NULL));
    CHECK(may_subscribe(user, "_INBOX.x.>", &filtered));
    CHECK(!filtered);
    CHECK(!pl_identity_may_receive(user, PL_BYTES("secret.a")));
    CHECK(pl_identity_may_receive(user, PL_BYTES("secret")));
    CHECK(pl_identity_may_receive(user, PL_BYTES("_INBOX.x.y")));
    CHECK(!pl_identity_may_publish(user, PL_BYTES("a.locked")));
    CHECK(pl_identity_may_publish(user, PL_BYTES("a.locked.b")));
    pl_identity_unref(user);
}

TEST(a_list_of_many_patterns_keeps_them_all)
{
    struct pl_identity *user = pl_identity_new();
    REQUIRE(user);
    char text[32];
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "room.%d", i);
        CHECK_EQ(add(user, PL_PUBLISH, false, text), PL_OK);
    }
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "room.%d", i);
        CHECK(pl_identity_may_publish(user, pl_bytes_text(text)));
    }
    CHECK(!pl_identity_may_publish(user, PL_BYTES("room.100")));
    pl_identity_ref(user);
    pl_identity_unref(user);
    pl_identity_unref(user);
}

TEST(no_memory_leaves_no_rights_behind)
{
    for (int i = 0; i < 8; i++) {
        pl_alloc_fail(i, 1);
        struct pl_identity *all = pl_identity_new_all("u", "r");
        pl_alloc_fail(-1, 0);
        CHECK(!all || all->rights[PL_PUBLISH].allow_all);
        pl_identity_unref(all);
    }
}
