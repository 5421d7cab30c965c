#include "check.h"
#include "core/random_names.h"

#include "base/alloc.h"
#include "core/pattern.h"

static struct pl_pattern *parse(const char *text)
{
    struct pl_pattern *p = NULL;
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(text), &p), PL_OK);
    return p;
}

static bool matches(const char *pattern, const char *name)
{
    struct pl_pattern *p = parse(pattern);
    bool yes = pl_pattern_matches(p, pl_bytes_text(name));
    pl_pattern_unref(p);
    return yes;
}

static bool glob(const char *g, const char *text)
{
    return pl_glob_matches(pl_bytes_text(g), pl_bytes_text(text));
}

/* 'g:' a glob, 'p:' a prefix, else NATS form. */
static struct pl_pattern *any_kind(const char *text)
{
    struct pl_pattern *p = NULL;
    if (!strncmp(text, "g:", 2))
        CHECK_EQ(pl_pattern_new_glob(pl_bytes_text(text + 2), &p), PL_OK);
    else if (!strncmp(text, "p:", 2))
        CHECK_EQ(pl_pattern_new_prefix(pl_bytes_text(text + 2), &p), PL_OK);
    else
        p = parse(text);
    return p;
}

typedef bool question(const struct pl_pattern *a, const struct pl_pattern *b);

static bool ask(question *fn, const char *a, const char *b)
{
    struct pl_pattern *p = any_kind(a), *q = any_kind(b);
    bool yes = fn(p, q);
    pl_pattern_unref(p);
    pl_pattern_unref(q);
    return yes;
}

TEST(each_kind_of_token_means_what_it_says)
{
    CHECK(matches("a.b", "a.b"));
    CHECK(!matches("a.b", "a.b.c"));
    CHECK(!matches("a.b", "a"));
    CHECK(matches("a.*.c", "a..c"));
    CHECK(matches("*", ""));
    CHECK(!matches("*", "a.b"));
    CHECK(matches("a.>", "a.b"));
    CHECK(matches("a.>", "a.b.c"));
    CHECK(matches("a.>", "a."));
    CHECK(!matches("a.>", "a"));
    CHECK(matches("a.#", "a"));
    CHECK(matches("a.#", "a.b.c"));
    CHECK(!matches("a.#", "ab"));
    CHECK(matches("#", "a"));
    CHECK(matches(">", ""));
    CHECK(matches("a..b", "a..b"));
    CHECK(matches("a.b*", "a.b*"));
}

TEST(reserved_and_inbox_names_need_literal_heads)
{
    CHECK(!matches(">", "$SYS.a"));
    CHECK(!matches("*.a", "$SYS.a"));
    CHECK(matches("$SYS.>", "$SYS.a"));
    CHECK(!matches("*.a", "wamp.a"));
    CHECK(matches("wamp.*", "wamp.a"));
    CHECK(matches(">", "$other.a"));
    CHECK(!matches(">", "_INBOX.a.b"));
    CHECK(!matches("_INBOX.>", "_INBOX.a.b"));
    CHECK(!matches("_INBOX.*.b", "_INBOX.a.b"));
    CHECK(matches("_INBOX.a.>", "_INBOX.a.b"));
    CHECK(matches("_INBOX.a", "_INBOX.a"));
    CHECK(matches("*", "_INBOX"));
    struct pl_pattern *p = parse(">");
    CHECK(pl_pattern_covers(p, PL_BYTES("_INBOX.a")));
    CHECK(pl_pattern_covers(p, PL_BYTES("$SYS.a")));
    pl_pattern_unref(p);
    const char *kinds[] = {"g:_INBOX.a.*", "p:_INBOX.a.", "g:$S*", "p:wam", "g:_INBOX.a.b"};
    for (int i = 0; i < 5; i++) {
        p = any_kind(kinds[i]);
        CHECK(!pl_pattern_matches(p, PL_BYTES("_INBOX.a.b")));
        CHECK(!pl_pattern_matches(p, PL_BYTES("$SYS.a")));
        CHECK(!pl_pattern_matches(p, PL_BYTES("wamp.a")));
        pl_pattern_unref(p);
    }
    p = any_kind("g:$SYS.*");
    CHECK(pl_pattern_matches(p, PL_BYTES("$SYS.a")));
    pl_pattern_unref(p);
    p = any_kind("p:wamp.");
    CHECK(pl_pattern_matches(p, PL_BYTES("wamp.a")));
    pl_pattern_unref(p);
}

TEST(a_leading_wildcard_of_mqtt_spares_dollar_names)
{
    struct pl_pattern_builder b;
    struct pl_pattern *p;
    pl_pattern_begin(&b);
    b.spares_dollar = true;
    pl_pattern_add_any(&b);
    pl_pattern_add_self_or_rest(&b);
    REQUIRE(!pl_pattern_end(&b, &p));
    CHECK(!pl_pattern_matches(p, PL_BYTES("$x.a")));
    CHECK(pl_pattern_matches(p, PL_BYTES("x.$a")));
    CHECK(pl_bytes_equal(p->text, PL_BYTES("*.#")));
    pl_pattern_unref(p);
    pl_pattern_begin(&b);
    b.spares_dollar = true;
    pl_pattern_add_literal(&b, PL_BYTES("$x"));
    pl_pattern_add_self_or_rest(&b);
    REQUIRE(!pl_pattern_end(&b, &p));
    CHECK(pl_pattern_matches(p, PL_BYTES("$x.a")));
    pl_pattern_unref(p);
}

TEST(the_builder_refuses_what_is_no_pattern)
{
    struct pl_pattern_builder b;
    struct pl_pattern *p;
    pl_pattern_begin(&b);
    CHECK_EQ(pl_pattern_end(&b, &p), PL_BAD_NAME);
    pl_pattern_begin(&b);
    pl_pattern_add_rest(&b);
    pl_pattern_add_any(&b);
    CHECK_EQ(pl_pattern_end(&b, &p), PL_BAD_NAME);
    pl_pattern_begin(&b);
    for (int i = 0; i <= PL_SUBJECT_TOKENS_MAX; i++)
        pl_pattern_add_any(&b);
    CHECK_EQ(pl_pattern_end(&b, &p), PL_LIMIT);
    CHECK_EQ(pl_pattern_parse(PL_BYTES("a.>.b"), &p), PL_BAD_NAME);
    CHECK_EQ(pl_pattern_parse(PL_BYTES("#.b"), &p), PL_BAD_NAME);
    CHECK_EQ(pl_pattern_parse(PL_BYTES(""), &p), PL_BAD_NAME);
    static uint8_t dots[PL_SUBJECT_MAX + 1];
    memset(dots, '.', sizeof dots);
    CHECK_EQ(pl_pattern_new_literal(pl_bytes_of(dots, 128), &p), PL_LIMIT);
    REQUIRE(!pl_pattern_new_literal(pl_bytes_of(dots, 127), &p));
    CHECK_EQ(p->token_count, 128);
    pl_pattern_unref(p);
    memset(dots, 'a', sizeof dots);
    CHECK_EQ(pl_pattern_new_literal(pl_bytes_of(dots, sizeof dots), &p), PL_LIMIT);
    CHECK_EQ(pl_pattern_new_glob(pl_bytes_of(dots, sizeof dots), &p), PL_LIMIT);
    CHECK_EQ(pl_pattern_new_prefix(pl_bytes_of(dots, sizeof dots), &p), PL_LIMIT);
    pl_pattern_begin(&b);
    pl_pattern_add_literal(&b, pl_bytes_of(dots, PL_SUBJECT_MAX - 1));
    REQUIRE(!pl_pattern_end(&b, &p));
    CHECK(p->is_literal && pl_pattern_matches(p, pl_bytes_of(dots, PL_SUBJECT_MAX - 1)));
    pl_pattern_unref(p);
    pl_pattern_begin(&b);
    pl_pattern_add_literal(&b, pl_bytes_of(dots, PL_SUBJECT_MAX - 1));
    pl_pattern_add_literal(&b, PL_BYTES("a"));
    CHECK_EQ(pl_pattern_end(&b, &p), PL_LIMIT);
    pl_pattern_begin(&b);
    pl_alloc_fail(0, 1);
    pl_pattern_add_literal(&b, pl_bytes_of(dots, 1000));
    CHECK_EQ(pl_pattern_end(&b, &p), PL_NO_MEMORY);
    pl_alloc_fail(-1, 0);
}

TEST(a_literal_token_that_reads_like_a_wildcard_is_none)
{
    struct pl_pattern_builder b;
    struct pl_pattern *p, *q = parse("a.*");
    pl_pattern_begin(&b);
    pl_pattern_add_literal(&b, PL_BYTES("a"));
    pl_pattern_add_literal(&b, PL_BYTES("*"));
    REQUIRE(!pl_pattern_end(&b, &p));
    CHECK(pl_pattern_matches(p, PL_BYTES("a.*")));
    CHECK(!pl_pattern_matches(p, PL_BYTES("a.b")));
    CHECK(!pl_pattern_equal(p, q));
    CHECK(pl_pattern_contains(q, p));
    CHECK(!pl_pattern_contains(p, q));
    pl_pattern_unref(p);
    pl_pattern_unref(q);
}

/* All of these answers were asked of redis-server 7. */
TEST(globs_match_as_in_redis)
{
    CHECK(glob("a*", "a"));
    CHECK(glob("*", "a.b.c"));
    CHECK(glob("", ""));
    CHECK(!glob("*", ""));
    CHECK(glob("a?c", "a.c"));
    CHECK(!glob("a?c", "ac"));
    CHECK(glob("h[ae]llo", "hello"));
    CHECK(!glob("h[^ae]llo", "hello"));
    CHECK(glob("h[a-c]", "hb"));
    CHECK(glob("h[c-a]", "hb"));
    CHECK(!glob("h[a-c]", "hd"));
    CHECK(glob("\\*", "*"));
    CHECK(!glob("\\*", "a"));
    CHECK(glob("a\\", "a\\"));
    CHECK(glob("[a", "a"));
    CHECK(glob("[^", "a"));
    CHECK(!glob("[", "a"));
    CHECK(!glob("[]", "a"));
    CHECK(glob("[\\]]", "]"));
    CHECK(glob("[a-]", "b") == false);
    CHECK(glob("[a-]", "]"));
    CHECK(glob("[\x80-\x01]", "\xFF"));
    CHECK(glob("*a*b", "xaxbxb"));
    CHECK(!glob("*a*b", "xaxbxbx"));
    CHECK(glob("a**b", "ab"));
    CHECK(glob("news.*", "news."));
}

TEST(a_hostile_glob_takes_bounded_time)
{
    static uint8_t g[4096], t[4096];
    for (size_t i = 0; i < sizeof g; i++)
        g[i] = i % 2 ? 'a' : '*';
    g[sizeof g - 1] = 'b';
    memset(t, 'a', sizeof t);
    CHECK(!pl_glob_matches(pl_bytes_of(g, sizeof g), pl_bytes_of(t, sizeof t)));
}

TEST(heads_of_globs_and_prefixes_are_their_whole_tokens)
{
    static const struct {
        const char *text;
        int head;
    } cases[] = {{"g:a.b.*", 2}, {"g:a.b*", 1}, {"g:*", 0}, {"g:a.b", 2}, {"g:a\\.b", 0}, {"g:", 1},
        {"p:a.b", 1}, {"p:a.", 1}, {"p:a", 0}, {"p:", 0}, {"g:a..[b]", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pl_pattern *p = any_kind(cases[i].text);
        CHECK_EQ(p->literal_head, cases[i].head);
        CHECK_EQ(p->token_count, cases[i].head);
        CHECK(!p->is_literal);
        pl_pattern_unref(p);
    }
}

TEST(globs_and_prefixes_count_as_their_head_and_anything)
{
    CHECK(ask(pl_pattern_contains, "a.>", "g:a.*"));
    CHECK(ask(pl_pattern_contains, "a.>", "p:a."));
    CHECK(ask(pl_pattern_contains, "a.#", "p:a.b"));
    CHECK(!ask(pl_pattern_contains, "a.>", "p:a"));
    CHECK(!ask(pl_pattern_contains, "a.>", "g:a*"));
    CHECK(!ask(pl_pattern_contains, "a.*", "g:a.*"));
    CHECK(ask(pl_pattern_contains, ">", "g:*"));
    CHECK(ask(pl_pattern_contains, "a.*", "g:a.b"));
    CHECK(ask(pl_pattern_contains, "p:a.", "a.b"));
    CHECK(ask(pl_pattern_contains, "p:a.", "a.>"));
    CHECK(ask(pl_pattern_contains, "g:a.*", "a.>"));
    CHECK(!ask(pl_pattern_contains, "g:a.b*", "a.b"));
    CHECK(ask(pl_pattern_contains, "g:a.b*", "g:a.b*"));
    CHECK(!ask(pl_pattern_contains, "g:a.b*", "p:a.b"));
    CHECK(ask(pl_pattern_intersects, "g:a.b*", "a.>"));
    CHECK(!ask(pl_pattern_intersects, "g:a.b*", "b.>"));
    CHECK(!ask(pl_pattern_intersects, "g:a.b*", "a.c"));
    CHECK(ask(pl_pattern_intersects, "p:a", "*.b"));
}

TEST(a_union_contains_more_than_its_parts)
{
    struct pl_pattern *list[] = {parse("a"), parse("a.>"), parse("b.*"), parse("b.*.>")};
    struct pl_pattern *yes[] = {parse("a.#"), parse("b.>"), parse("b.x.>")};
    struct pl_pattern *no[] = {parse("b.#"), parse(">"), parse("*"), parse("*.b.#")};
    for (int i = 0; i < 3; i++)
        CHECK(pl_pattern_union_contains(list, 4, yes[i]));
    for (int i = 0; i < 4; i++)
        CHECK(!pl_pattern_union_contains(list, 4, no[i]));
    CHECK(!pl_pattern_union_contains(list, 0, yes[0]));
    for (int i = 0; i < 3; i++)
        pl_pattern_unref(yes[i]);
    for (int i = 0; i < 4; i++) {
        pl_pattern_unref(no[i]);
        pl_pattern_unref(list[i]);
    }
}

/* Every name of up to 6 tokens of three letters, one of which ('z') no pattern names. */
enum { LETTERS = 3, NAME_TOKENS = 6, NAMES = 3 + 9 + 27 + 81 + 243 + 729 };
static char names[NAMES][2 * NAME_TOKENS];

static void make_names(void)
{
    int n = 0;
    for (int len = 1, many = LETTERS; len <= NAME_TOKENS; len++, many *= LETTERS)
        for (int i = 0; i < many; i++, n++)
            for (int j = 0, rest = i; j < len; j++, rest /= LETTERS) {
                names[n][2 * j] = "abz"[rest % LETTERS];
                names[n][2 * j + 1] = j + 1 < len ? '.' : 0;
            }
}

static struct pl_pattern *random_pattern(struct pl_random *random)
{
    char text[32] = "";
    uint32_t count = 1 + pl_random_below(random, 3);
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            strcat(text, ".");
        bool is_last = i + 1 == count;
        static const char *const tokens[] = {"a", "b", "*", "*", ">", "#"};
        strcat(text, tokens[pl_random_below(random, is_last ? 6 : 4)]);
    }
    return parse(text);
}

TEST(containment_and_intersection_agree_with_every_small_name)
{
    struct pl_random random = pl_random_seeded(3);
    make_names();
    int contained = 0, crossing = 0;
    for (int round = 0; round < ROUNDS(5000, 1000); round++) {
        struct pl_pattern *list[5], *b = random_pattern(&random);
        uint32_t count = 1 + pl_random_below(&random, 5);
        for (uint32_t i = 0; i < count; i++)
            list[i] = random_pattern(&random);
        bool all = true, some = false;
        for (int i = 0; i < NAMES; i++) {
            struct pl_bytes name = pl_bytes_text(names[i]);
            bool covered = false;
            for (uint32_t j = 0; j < count; j++)
                covered |= pl_pattern_covers(list[j], name);
            bool wanted = pl_pattern_covers(b, name);
            all &= !wanted || covered;
            some |= wanted && pl_pattern_covers(list[0], name);
        }
        contained += all;
        crossing += some;
        if (!CHECK_EQ(pl_pattern_union_contains(list, count, b), all) ||
            !CHECK_EQ(pl_pattern_intersects(list[0], b), some) ||
            !CHECK_EQ(pl_pattern_intersects(b, list[0]), some)) {
            printf("    %.*s in", (int)b->text.len, (const char *)b->text.data);
            for (uint32_t i = 0; i < count; i++)
                printf(" %.*s", (int)list[i]->text.len, (const char *)list[i]->text.data);
            printf("\n");
            round = INT32_MAX - 1;
        }
        for (uint32_t i = 0; i < count; i++)
            pl_pattern_unref(list[i]);
        pl_pattern_unref(b);
    }
    CHECK(contained > 100 && crossing > 100);
}
