/* Roles: what a login's values may do to a pattern (nothing but be one token), and how a token
 * narrows a role. */
#include "check.h"

#include "auth/narrow.h"
#include "auth/roles.h"
#include "base/alloc.h"
#include "base/hash.h"

static struct pl_diag diag;

#define TEXTS(...)                                                                                 \
    (struct pl_texts)                                                                              \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *) \
    }

/* A table of one role that is called "r". */
static struct pl_roles *roles_of(struct pl_role_config config)
{
    struct pl_roles *roles = NULL;
    config.name = "r";
    if (!CHECK_EQ(pl_roles_new(&config, 1, &diag, &roles), PL_OK))
        printf("    %s\n", diag.text);
    return roles;
}

static struct pl_identity *draft(const char *role, struct pl_bytes user)
{
    struct pl_identity *identity = pl_identity_new();
    identity->role = pl_bytes_text(role);
    identity->user = user;
    return identity;
}

static void give(struct pl_identity *identity, const char *name, const char *value)
{
    struct pl_attribute *list =
        pl_arena_alloc(identity->memory, (identity->attribute_count + 1) * sizeof(*list));
    if (identity->attribute_count)
        memcpy(list, identity->attributes, identity->attribute_count * sizeof(*list));
    list[identity->attribute_count++] =
        (struct pl_attribute){pl_bytes_text(name), pl_bytes_text(value)};
    identity->attributes = list;
}

static bool may_publish(const struct pl_identity *identity, const char *name)
{
    return pl_identity_may_publish(identity, pl_bytes_text(name));
}

static bool may_subscribe(const struct pl_identity *identity, const char *text)
{
    struct pl_pattern *pattern;
    bool filtered;
    if (!CHECK_EQ(pl_pattern_parse(pl_bytes_text(text), &pattern), PL_OK))
        return false;
    bool may = pl_identity_may_subscribe(identity, pattern, &filtered);
    pl_pattern_unref(pattern);
    return may;
}

TEST(a_role_allows_its_lists_and_nothing_else)
{
    struct pl_roles *roles = roles_of((struct pl_role_config){
        .publish = TEXTS("up.*", "log.>"),
        .subscribe = TEXTS("down.#"),
        .deny_publish = TEXTS("log.secret.>"),
        .has_replay = true,
        .replay = PL_REPLAY_HISTORY,
    });
    struct pl_identity *identity = draft("r", PL_BYTES("bob"));
    REQUIRE(pl_roles_apply(roles, identity, &diag) == PL_OK);
    CHECK(may_publish(identity, "up.x"));
    CHECK(!may_publish(identity, "up"));
    CHECK(!may_publish(identity, "up.x.y"));
    CHECK(may_publish(identity, "log.a.b"));
    CHECK(!may_publish(identity, "log.secret.b"));
    CHECK(!may_publish(identity, "down.x"));
    CHECK(may_subscribe(identity, "down"));
    CHECK(may_subscribe(identity, "down.>"));
    CHECK(!may_subscribe(identity, ">"));
    CHECK(!may_subscribe(identity, "up.x"));
    CHECK(identity->has_replay);
    CHECK_EQ(identity->replay, PL_REPLAY_HISTORY);
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

TEST(a_role_without_lists_may_do_nothing)
{
    struct pl_roles *roles = roles_of((struct pl_role_config){0});
    struct pl_identity *identity = draft("r", PL_BYTES("bob"));
    REQUIRE(pl_roles_apply(roles, identity, &diag) == PL_OK);
    CHECK(!may_publish(identity, "x"));
    CHECK(!may_subscribe(identity, "x"));
    CHECK(!may_subscribe(identity, ">"));
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

TEST(the_role_all_is_there_unless_it_is_configured)
{
    struct pl_roles *roles;
    REQUIRE(pl_roles_new(NULL, 0, &diag, &roles) == PL_OK);
    struct pl_identity *identity = draft("all", PL_NO_BYTES);
    REQUIRE(pl_roles_apply(roles, identity, &diag) == PL_OK);
    CHECK(identity->rights[PL_PUBLISH].allow_all);
    CHECK(may_publish(identity, "x"));
    CHECK(may_subscribe(identity, ">"));
    CHECK(may_subscribe(identity, "$SYS.>"));
    pl_identity_unref(identity);
    pl_roles_free(roles);

    struct pl_role_config narrow = {.name = "all", .publish = TEXTS("x")};
    REQUIRE(pl_roles_new(&narrow, 1, &diag, &roles) == PL_OK);
    identity = draft("all", PL_NO_BYTES);
    REQUIRE(pl_roles_apply(roles, identity, &diag) == PL_OK);
    CHECK(!may_publish(identity, "y"));
    CHECK(!may_subscribe(identity, ">"));
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

TEST(a_role_that_is_not_there_refuses_the_login)
{
    struct pl_roles *roles = roles_of((struct pl_role_config){0});
    struct pl_identity *identity = draft("nobody", PL_BYTES("bob"));
    CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_BAD_LOGIN);
    CHECK_STR(diag.text, "there is no role \"nobody\"");
    pl_identity_unref(identity);
    identity = draft("", PL_BYTES("bob"));
    CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_BAD_LOGIN);
    CHECK_STR(diag.text, "neither a role nor permissions");
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

/* A login of user (and site) in a role with device.{user_id}.# and at.{site}-{user}.>; NULL:
 * refused. */
static struct pl_identity *login(struct pl_bytes user, const char *site)
{
    struct pl_roles *roles = roles_of((struct pl_role_config){
        .subscribe = TEXTS("device.{user_id}.#"), .publish = TEXTS("at.x{site}-{user}.>")});
    struct pl_identity *identity = draft("r", user);
    if (site)
        give(identity, "site", site);
    enum pl_err err = pl_roles_apply(roles, identity, &diag);
    pl_roles_free(roles);
    if (err == PL_OK)
        return identity;
    CHECK_EQ(err, PL_BAD_LOGIN);
    CHECK(diag.text[0]);
    pl_identity_unref(identity);
    return NULL;
}

TEST(a_value_becomes_one_literal_token_with_dot_and_slash_swapped)
{
    struct pl_identity *bob = login(PL_BYTES("bob"), "s1");
    REQUIRE(bob);
    CHECK(may_subscribe(bob, "device.bob"));
    CHECK(may_subscribe(bob, "device.bob.>"));
    CHECK(!may_subscribe(bob, "device.*"));
    CHECK(!may_subscribe(bob, "device.bobby"));
    CHECK(!may_subscribe(bob, "device.>"));
    CHECK(may_publish(bob, "at.xs1-bob.a.b"));
    CHECK(!may_publish(bob, "at.xs1-bob"));
    pl_identity_unref(bob);
    struct pl_identity *dotted = login(PL_BYTES("a.b"), "s");
    REQUIRE(dotted);
    CHECK(may_subscribe(dotted, "device.a/b"));
    CHECK(!may_subscribe(dotted, "device.a.b"));
    CHECK(!may_subscribe(dotted, "device.a"));
    pl_identity_unref(dotted);
}

TEST(a_value_that_reads_like_a_wildcard_is_a_strange_name)
{
    static const char *const strange[] = {"*", ">", "*.*", ">.>", "a.>", "{user_id}", "{", "%2A",
        "$SYS", "$share", "_INBOX", "wamp", "a b", "\xc3\xa9", "bob>"};
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        struct pl_identity *identity = login(pl_bytes_text(strange[i]), "s");
        if (!CHECK(identity != NULL))
            continue;
        const struct pl_rights *rights = &identity->rights[PL_SUBSCRIBE];
        REQUIRE(rights->allow_count == 1);
        CHECK_EQ(rights->allow[0]->token_count, 3);
        CHECK_EQ(rights->allow[0]->tokens[1].kind, PL_TOKEN_LITERAL);
        CHECK(!rights->allow_all);
        CHECK(!may_subscribe(identity, "device.*"));
        CHECK(!may_subscribe(identity, "device.*.>"));
        CHECK(!may_subscribe(identity, "device.>"));
        CHECK(!may_subscribe(identity, "device.#"));
        CHECK(!may_subscribe(identity, "device.bob"));
        CHECK(!pl_identity_may_receive(identity, PL_BYTES("device.bob")));
        CHECK(!may_publish(identity, "at.xs-bob.x"));
        pl_identity_unref(identity);
    }
}

TEST(a_value_that_cannot_be_one_token_of_every_protocol_refuses_the_login)
{
    static const char *const bad[] = {"", "/", "a/b", "+", "a+", "#", "a#", "\n", "a\tb", "\x7f",
        "\xc2\x80", "\xc2\x9f", "\xff", "\xed\xa0\x80", "\xc0\xaf", "bob\r\nPUB x 1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!login(pl_bytes_text(bad[i]), "s"));
        CHECK(!login(PL_BYTES("bob"), bad[i]));
    }
    CHECK(!login(PL_BYTES("a\0b"), "s"));
    CHECK(!login(PL_BYTES("bob"), NULL));
    CHECK(!login(PL_NO_BYTES, "s"));
}

TEST(a_value_has_at_most_256_bytes)
{
    static char huge[70000];
    memset(huge, 'u', sizeof(huge) - 1);
    struct pl_identity *identity = login(pl_bytes_of(huge, 256), "s");
    CHECK(identity != NULL);
    pl_identity_unref(identity);
    CHECK(!login(pl_bytes_of(huge, 257), "s"));
    CHECK(!login(pl_bytes_text(huge), "s"));
    CHECK(!login(PL_BYTES("bob"), huge));
}

TEST(an_expanded_first_token_is_none_of_the_special_ones)
{
    struct pl_roles *roles =
        roles_of((struct pl_role_config){.subscribe = TEXTS("{user_id}.#", "{user_id}x.#")});
    static const char *const bad[] = {"$SYS", "$", "$anything", "_INBOX", "wamp"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pl_identity *identity = draft("r", pl_bytes_text(bad[i]));
        CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_BAD_LOGIN);
        pl_identity_unref(identity);
    }
    static const char *const good[] = {"SYS", "a$", "_INBO", "wam", "WAMP", "_INBOX.a"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct pl_identity *identity = draft("r", pl_bytes_text(good[i]));
        CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_OK);
        CHECK(!may_subscribe(identity, "$SYS.>"));
        CHECK(!pl_identity_may_receive(identity, PL_BYTES("$SYS.x")));
        pl_identity_unref(identity);
    }
    pl_roles_free(roles);
    /* A role of the operator's own may say so, and the parts of a token together may not. */
    roles = roles_of((struct pl_role_config){.subscribe = TEXTS("wa{user}.>")});
    struct pl_identity *identity = draft("r", PL_BYTES("mp"));
    CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_BAD_LOGIN);
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

TEST(an_attribute_goes_before_the_user_name)
{
    struct pl_roles *roles =
        roles_of((struct pl_role_config){.publish = TEXTS("{user_id}.{user}")});
    struct pl_identity *identity = draft("r", PL_BYTES("bob"));
    give(identity, "user_id", "17");
    REQUIRE(pl_roles_apply(roles, identity, &diag) == PL_OK);
    CHECK(may_publish(identity, "17.bob"));
    CHECK(!may_publish(identity, "bob.bob"));
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

TEST(role_patterns_that_make_no_sense_are_told_with_role_and_list)
{
    static const struct {
        const char *pattern, *why;
    } rows[] = {
        {"", "a pattern cannot be empty"},
        {">.a", "stand at the end only"},
        {"a.#.b", "stand at the end only"},
        {"{user_id}.>.b", "stand at the end only"},
        {"{user_id", "expected {name}"},
        {"{}", "expected {name}"},
        {"{a b}", "expected {name}"},
        {"{a.b}", "expected {name}"},
        {"a}", "'}' without '{'"},
        {"{a}}", "'}' without '{'"},
        {"{{a}}", "expected {name}"},
        {"{a}*", "no wildcard"},
        {">{a}", "no wildcard"},
        {"x.{a}#", "no wildcard"},
        {"{a}+", "no wildcard"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pl_role_config config = {.name = "r", .deny_subscribe = TEXTS(rows[i].pattern)};
        struct pl_roles *roles = NULL;
        CHECK_EQ(pl_roles_new(&config, 1, &diag, &roles), PL_CONFIG);
        CHECK(strstr(diag.text, "role r: deny_subscribe: \""));
        if (!CHECK(strstr(diag.text, rows[i].why)))
            printf("    %s: %s\n", rows[i].pattern, diag.text);
        pl_roles_free(roles);
    }
    struct pl_roles *roles;
    struct pl_role_config twice[] = {{.name = "r"}, {.name = "r"}};
    CHECK_EQ(pl_roles_new(twice, 2, &diag, &roles), PL_CONFIG);
    struct pl_role_config nameless = {.name = ""};
    CHECK_EQ(pl_roles_new(&nameless, 1, &diag, &roles), PL_CONFIG);
}

TEST(a_role_that_expands_beyond_the_limits_of_a_pattern_refuses_the_login)
{
    static char text[3000];
    text[0] = 0;
    for (int i = 0; i < 270; i++)
        strcat(text, "{user}");
    struct pl_roles *roles = roles_of((struct pl_role_config){.publish = TEXTS(text)});
    char user[256];
    memset(user, 'u', sizeof(user));
    struct pl_identity *identity = draft("r", pl_bytes_of(user, sizeof(user)));
    CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_BAD_LOGIN);
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

/* What the token claims narrow a role with publish and subscribe lists to. NULL: refused. */
static struct pl_identity *narrowed(
    const char *role, const char *permissions, const char *allowed, const char *denied)
{
    struct pl_roles *roles = roles_of(
        (struct pl_role_config){.publish = TEXTS("a.>", "b.*"), .subscribe = TEXTS("a.#", "*.x")});
    struct pl_identity *identity = draft(role, PL_BYTES("bob"));
    if (permissions)
        give(identity, "permissions", permissions);
    if (allowed)
        give(identity, "allowed_subjects", allowed);
    if (denied)
        give(identity, "deny_subjects", denied);
    enum pl_err err = pl_roles_apply(roles, identity, &diag);
    pl_roles_free(roles);
    if (err == PL_OK)
        return identity;
    CHECK_EQ(err, PL_BAD_LOGIN);
    pl_identity_unref(identity);
    return NULL;
}

TEST(permissions_leave_only_what_they_name)
{
    static const struct {
        const char *permissions;
        bool publish, subscribe;
    } rows[] = {
        {NULL, true, true},
        {"[\"publish\",\"subscribe\"]", true, true},
        {"[\"PUBLISH\"]", true, false},
        {"[\"Subscribe\",\"request\",\"read:x\"]", false, true},
        {"[\"request\"]", false, false},
        {"[]", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pl_identity *identity = narrowed("r", rows[i].permissions, NULL, NULL);
        if (!CHECK(identity != NULL))
            continue;
        CHECK_EQ(may_publish(identity, "a.b"), rows[i].publish);
        CHECK_EQ(may_subscribe(identity, "a.b"), rows[i].subscribe);
        pl_identity_unref(identity);
    }
}

TEST(allowed_subjects_never_widen_a_role)
{
    struct pl_identity *identity = narrowed("r", NULL, "[\"*.x\",\"b.>\",\"c.>\"]", NULL);
    REQUIRE(identity);
    CHECK(may_publish(identity, "a.x"));
    CHECK(may_publish(identity, "b.y"));
    CHECK(!may_publish(identity, "a.y"));
    CHECK(!may_publish(identity, "c.y"));
    CHECK(!may_publish(identity, "c.x"));
    CHECK(may_subscribe(identity, "*.x"));
    CHECK(!may_subscribe(identity, "a.>"));
    pl_identity_unref(identity);
    /* Empty means every subject of the role. */
    identity = narrowed("r", NULL, "[]", "[]");
    REQUIRE(identity);
    CHECK(may_subscribe(identity, "a.>"));
    CHECK(!may_subscribe(identity, "c"));
    pl_identity_unref(identity);
}

TEST(deny_subjects_win_for_both_actions)
{
    struct pl_identity *identity = narrowed("r", NULL, NULL, "[\"a.secret.>\"]");
    REQUIRE(identity);
    CHECK(!may_publish(identity, "a.secret.x"));
    CHECK(may_publish(identity, "a.other"));
    CHECK(!may_subscribe(identity, "a.secret.x"));
    CHECK(!pl_identity_may_receive(identity, PL_BYTES("a.secret.x")));
    CHECK(pl_identity_may_receive(identity, PL_BYTES("a.other")));
    pl_identity_unref(identity);
}

TEST(a_token_without_a_role_has_what_its_own_lists_say)
{
    struct pl_identity *identity =
        narrowed("", "[\"publish\",\"subscribe\"]", "[\"messages.*\"]", "[\"messages.admin\"]");
    REQUIRE(identity);
    CHECK(may_publish(identity, "messages.x"));
    CHECK(!may_publish(identity, "messages.admin"));
    CHECK(!may_publish(identity, "a.b"));
    CHECK(may_subscribe(identity, "messages.*"));
    /* The hole of the original: the text "messages.>" matches messages.* */
    CHECK(!may_subscribe(identity, "messages.>"));
    pl_identity_unref(identity);
    identity = narrowed("", "[\"subscribe\"]", NULL, NULL);
    REQUIRE(identity);
    CHECK(may_subscribe(identity, ">"));
    CHECK(!may_publish(identity, "x"));
    pl_identity_unref(identity);
    CHECK(!narrowed("", NULL, "[\"messages.*\"]", NULL));
}

TEST(claims_of_the_wrong_shape_refuse_the_login)
{
    static const char *const bad[] = {
        "null", "true", "7", "\"publish\"", "{}", "[1]", "[null]", "[[\"publish\"]]", "[", "x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!narrowed("r", bad[i], NULL, NULL));
        CHECK(!narrowed("r", NULL, bad[i], NULL));
        CHECK(!narrowed("r", NULL, NULL, bad[i]));
    }
    CHECK(!narrowed("r", NULL, "[\"a.>.b\"]", NULL));
    CHECK(!narrowed("r", NULL, NULL, "[\"#.a\"]"));
    char many[2048] = "[\"a\"";
    for (int i = 0; i < 256; i++)
        strcat(many, ",\"a\"");
    strcat(many, "]");
    CHECK(!narrowed("r", NULL, many, NULL));
}

TEST(role_and_token_together_have_a_limit)
{
    struct pl_role_config config = {.name = "r"};
    const char *patterns[200];
    for (int i = 0; i < 200; i++)
        patterns[i] = "*.x";
    config.publish = (struct pl_texts){patterns, 200};
    struct pl_roles *roles;
    REQUIRE(pl_roles_new(&config, 1, &diag, &roles) == PL_OK);
    struct pl_identity *identity = draft("r", PL_BYTES("bob"));
    give(identity, "allowed_subjects", "[\"a.*\",\"b.*\"]");
    CHECK_EQ(pl_roles_apply(roles, identity, &diag), PL_BAD_LOGIN);
    CHECK(strstr(diag.text, "more than 256"));
    pl_identity_unref(identity);
    pl_roles_free(roles);
}

/* A pattern of up to four tokens of {a, b, *}, maybe with a rest. */
static struct pl_pattern *random_pattern(struct pl_random *random)
{
    static const char *const tokens[] = {"a", "b", "*"};
    char text[32] = "";
    uint32_t count = pl_random_below(random, 4);
    const char *last[] = {"", ">", "#"};
    const char *end = last[pl_random_below(random, 3)];
    for (uint32_t i = 0; i < count; i++) {
        strcat(text, i ? "." : "");
        strcat(text, tokens[pl_random_below(random, 3)]);
    }
    if (*end || !count) {
        strcat(text, count ? "." : "");
        strcat(text, *end ? end : "a");
    }
    struct pl_pattern *pattern = NULL;
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(text), &pattern), PL_OK);
    return pattern;
}

/* All names of up to five tokens of {a, b}; index < 62. */
static struct pl_bytes name_at(unsigned index, char *text)
{
    unsigned count = 1, first = 0;
    while (index - first >= 1u << count)
        first += 1u << count++;
    unsigned bits = index - first;
    text[0] = 0;
    for (unsigned i = 0; i < count; i++) {
        strcat(text, i ? "." : "");
        strcat(text, bits >> i & 1 ? "b" : "a");
    }
    return pl_bytes_text(text);
}

TEST(an_intersection_matches_what_both_match_and_nothing_else)
{
    struct pl_random random = pl_random_seeded(42);
    char text[32];
    for (int round = 0; round < 20000; round++) {
        struct pl_pattern *a = random_pattern(&random), *b = random_pattern(&random), *both;
        REQUIRE(pl_pattern_intersection(a, b, &both) == PL_OK);
        for (unsigned i = 0; i < 62; i++) {
            struct pl_bytes name = name_at(i, text);
            bool expected = pl_pattern_matches(a, name) && pl_pattern_matches(b, name);
            if (expected != (both && pl_pattern_matches(both, name))) {
                CHECK(false);
                printf("    %s and %s at %s\n", (const char *)a->text.data,
                    (const char *)b->text.data, text);
            }
        }
        pl_pattern_unref(a);
        pl_pattern_unref(b);
        pl_pattern_unref(both);
    }
    CHECK(true);
}

TEST(an_allocation_that_fails_is_no_login_and_no_leak)
{
    struct pl_role_config config = {
        .name = "r",
        .publish = TEXTS("a.{user}.>", "b"),
        .deny_subscribe = TEXTS("c.{user}-{user_id}", "d.>"),
    };
    struct pl_roles *roles = NULL;
    for (long after = 0; !roles; after++) {
        pl_alloc_fail(after, 0);
        enum pl_err err = pl_roles_new(&config, 1, &diag, &roles);
        pl_alloc_fail(-1, 0);
        CHECK(err == PL_OK || (roles == NULL && strstr(diag.text, "memory")));
    }
    enum pl_err err = PL_NO_MEMORY;
    for (long after = 0; err != PL_OK; after++) {
        struct pl_identity *identity = draft("r", PL_BYTES("bob"));
        give(identity, "allowed_subjects", "[\"a.*.*\",\"b\"]");
        give(identity, "deny_subjects", "[\"a.bob.x\"]");
        pl_alloc_fail(after, 0);
        err = pl_roles_apply(roles, identity, &diag);
        pl_alloc_fail(-1, 0);
        CHECK(err == PL_OK || err == PL_NO_MEMORY);
        if (err == PL_OK)
            CHECK(may_publish(identity, "a.bob.y") && !may_publish(identity, "a.bob.x"));
        pl_identity_unref(identity);
    }
    pl_roles_free(roles);
}
