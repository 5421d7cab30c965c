#include "check.h"
#include "core/random_names.h"

#include "base/alloc.h"
#include "core/retained.h"

static struct pl_retained *r;
static uint64_t last_id;

static enum pl_err set_expiring(struct pl_bytes subject, const char *payload, uint64_t expires_ms)
{
    struct pl_properties properties = {.expires_ms = expires_ms};
    struct pl_message m = {
        .subject = subject,
        .payload = pl_bytes_text(payload),
        .id = ++last_id,
        .properties = expires_ms == PL_NEVER ? NULL : &properties,
        .retain = true,
    };
    enum pl_err err = pl_retained_set(r, &m);
    pl_message_done(&m);
    return err;
}

static enum pl_err set(const char *subject, const char *payload)
{
    return set_expiring(pl_bytes_text(subject), payload, PL_NEVER);
}

static struct pl_pattern *parse(const char *text)
{
    struct pl_pattern *p = NULL;
    enum pl_err err = !strncmp(text, "g:", 2) ? pl_pattern_new_glob(pl_bytes_text(text + 2), &p)
                                              : pl_pattern_parse(pl_bytes_text(text), &p);
    CHECK_EQ(err, PL_OK);
    return p;
}

/* All payloads that a reader who subscribes now gets, in one text. */
static const char *read_all(const char *pattern, uint64_t now_ms)
{
    static char text[256];
    struct pl_pattern *p = parse(pattern);
    struct pl_retained_cursor cursor = {.since_id = last_id};
    struct pl_message *found[2];
    bool end = false;
    text[0] = 0;
    for (int i = 0; !end && i < 1000; i++) {
        size_t n = pl_retained_read(r, p, now_ms, &cursor, found, 2, 3, &end);
        for (size_t j = 0; j < n; j++)
            strncat(text, (const char *)found[j]->payload.data, found[j]->payload.len);
    }
    CHECK(end);
    pl_pattern_unref(p);
    return text;
}

static size_t count_all(const char *pattern)
{
    return strlen(read_all(pattern, 0));
}

TEST(a_slot_holds_the_last_value_until_an_empty_one)
{
    r = pl_retained_new(1, 10, 100000);
    REQUIRE(r);
    CHECK_EQ(set("a.b", "1"), PL_OK);
    CHECK_STR(read_all("a.b", 0), "1");
    size_t bytes = pl_retained_bytes(r);
    CHECK_EQ(set("a.b", "2"), PL_OK);
    CHECK_STR(read_all("a.*", 0), "2");
    CHECK_EQ(pl_retained_count(r), 1);
    CHECK_EQ(pl_retained_bytes(r), bytes);
    CHECK_EQ(set("a.b", ""), PL_OK);
    CHECK_STR(read_all(">", 0), "");
    CHECK_EQ(pl_retained_count(r), 0);
    CHECK_EQ(pl_retained_bytes(r), 0);
    CHECK_EQ(set("a.c", "3"), PL_OK);
    pl_retained_drop(r, PL_BYTES("a.c"));
    pl_retained_drop(r, PL_BYTES("a.c"));
    CHECK_EQ(pl_retained_count(r), 0);
    r = pl_retained_free(r);
}

TEST(patterns_read_what_they_match_and_no_more)
{
    r = pl_retained_new(1, 100, 1000000);
    REQUIRE(r);
    const char *names[] = {"a", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e", "x.b", "x.b.c.d", "$SYS.a",
        "_INBOX.a.b", "a.", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_EQ(set(names[i], "1"), PL_OK);
    CHECK_EQ(count_all(">"), 9);
    CHECK_EQ(count_all("#"), 9);
    CHECK_EQ(count_all("a.#"), 6);
    CHECK_EQ(count_all("a.>"), 5);
    CHECK_EQ(count_all("*.b"), 2);
    CHECK_EQ(count_all("*.b.c.d"), 2);
    CHECK_EQ(count_all("*.b.c.*.e"), 1);
    CHECK_EQ(count_all("a.b.c.d.#"), 2);
    CHECK_EQ(count_all("a.b.c.d.>"), 1);
    CHECK_EQ(count_all("a.b.c.*"), 1);
    CHECK_EQ(count_all("*"), 2);
    CHECK_EQ(count_all("$SYS.*"), 1);
    CHECK_EQ(count_all("_INBOX.a.*"), 1);
    CHECK_EQ(count_all("_INBOX.*.b"), 0);
    CHECK_EQ(count_all("g:a.b*"), 4);
    CHECK_EQ(count_all("g:*d*"), 3);
    CHECK_EQ(count_all("nobody.*"), 0);
    CHECK_EQ(count_all("nobody"), 0);
    r = pl_retained_free(r);
}

TEST(a_newer_live_value_keeps_an_old_one_from_a_reader)
{
    r = pl_retained_new(1, 10, 100000);
    REQUIRE(r);
    set("a", "1");
    set("b", "2");
    set("c", "3");
    struct pl_retained_cursor cursor = {.since_id = last_id};
    set("b", "4");
    pl_retained_touch(r, PL_BYTES("c"), ++last_id);
    pl_retained_touch(r, PL_BYTES("nobody"), last_id);
    struct pl_pattern *p = parse(">");
    struct pl_message *found[4];
    bool end;
    CHECK_EQ(pl_retained_read(r, p, 0, &cursor, found, 4, 100, &end), 1);
    CHECK(end && pl_bytes_equal(found[0]->payload, PL_BYTES("1")));
    CHECK_EQ(pl_retained_read(r, p, 0, &cursor, found, 4, 100, &end), 0);
    CHECK(end);
    pl_pattern_unref(p);
    CHECK_EQ(count_all(">"), 3);
    r = pl_retained_free(r);
}

TEST(limits_of_count_and_bytes_change_nothing_when_met)
{
    r = pl_retained_new(1, 2, 100000);
    REQUIRE(r);
    CHECK_EQ(set("a", "1"), PL_OK);
    CHECK_EQ(set("b", "2"), PL_OK);
    CHECK_EQ(set("c", "3"), PL_LIMIT);
    CHECK_EQ(set("b", "4"), PL_OK);
    CHECK_EQ(pl_retained_count(r), 2);
    pl_retained_free(r);
    r = pl_retained_new(1, 10, 600);
    static char large[1000];
    memset(large, 'x', sizeof large - 1);
    CHECK_EQ(set("a", "1"), PL_OK);
    struct pl_retained_cursor cursor = {.since_id = last_id};
    CHECK_EQ(set("a", large), PL_LIMIT);
    CHECK_STR(read_all("a", 0), "1");
    struct pl_pattern *p = parse("a");
    struct pl_message *found[1];
    bool end;
    CHECK_EQ(pl_retained_read(r, p, 0, &cursor, found, 1, 10, &end), 0); /* it went out live */
    pl_pattern_unref(p);
    r = pl_retained_free(r);
}

TEST(expired_values_are_not_read_and_go)
{
    r = pl_retained_new(1, 10, 100000);
    REQUIRE(r);
    CHECK_EQ(set_expiring(PL_BYTES("a"), "1", 100), PL_OK);
    CHECK_EQ(set_expiring(PL_BYTES("b"), "2", 200), PL_OK);
    CHECK_EQ(set_expiring(PL_BYTES("c"), "3", PL_NEVER), PL_OK);
    CHECK_EQ(strlen(read_all(">", 99)), 3);
    CHECK_EQ(strlen(read_all(">", 100)), 2);
    CHECK_EQ(pl_retained_expire(r, 99, NULL, NULL), 0);
    CHECK_EQ(pl_retained_expire(r, 150, NULL, NULL), 1);
    CHECK_EQ(set_expiring(PL_BYTES("b"), "4", PL_NEVER), PL_OK);
    CHECK_EQ(pl_retained_expire(r, 1000, NULL, NULL), 0);
    CHECK_EQ(pl_retained_count(r), 2);
    r = pl_retained_free(r);
}

enum { NAMES = 400 };
static struct {
    char text[64];
    struct pl_bytes name;
    bool stands, stood; /* now; all the time since the reader began */
    int seen;
} names[NAMES];

static void make_names(struct pl_random *random)
{
    static const char *const tokens[] = {"a", "b", "c", "", "a_long_token", "x"};
    for (int i = 0; i < NAMES; i++) {
        size_t len = 0;
        for (uint32_t count = 1 + pl_random_below(random, 5); count; count--)
            len += (size_t)snprintf(names[i].text + len, sizeof names[i].text - len, "%s%s",
                tokens[pl_random_below(random, 6)], count > 1 ? "." : "");
        names[i].name = pl_bytes_of(names[i].text, len);
        for (int j = 0; j < i; j++)
            if (pl_bytes_equal(names[j].name, names[i].name)) {
                i--;
                break;
            }
    }
}

static struct pl_pattern *random_pattern(struct pl_random *random)
{
    static const char *const tokens[] = {"a", "b", "c", "", "a_long_token", "*", "*", "#", ">"};
    static const char *const globs[] = {"*", "a.*", "a.b.*.a", "?.*", "a.b.c.a*", "[ab]*"};
    struct pl_pattern *p = NULL;
    char text[80] = "";
    if (!pl_random_below(random, 6)) {
        const char *glob = globs[pl_random_below(random, 6)];
        CHECK_EQ(pl_random_below(random, 2) ? pl_pattern_new_glob(pl_bytes_text(glob), &p)
                                            : pl_pattern_new_prefix(PL_BYTES("a.b.c"), &p),
            PL_OK);
        return p;
    }
    uint32_t count = 1 + pl_random_below(random, 5);
    for (uint32_t i = 0; i < count; i++) {
        strcat(text, i ? "." : "");
        strcat(text, tokens[pl_random_below(random, i + 1 == count ? 9 : 7)]);
    }
    return text[0] ? parse(text) : random_pattern(random);
}

static void change_one(struct pl_random *random, bool may_fail)
{
    uint32_t i = pl_random_below(random, NAMES);
    if (names[i].stands) {
        pl_retained_drop(r, names[i].name);
        names[i].stands = names[i].stood = false;
        return;
    }
    if (may_fail)
        pl_alloc_fail((long)pl_random_below(random, 5), 0);
    enum pl_err err = set_expiring(names[i].name, "1", i % 3 ? PL_NEVER : 1000);
    pl_alloc_fail(-1, 0);
    names[i].stands = !err;
    CHECK(!err || may_fail);
}

static void reads_between_changes(uint64_t seed, bool may_fail)
{
    struct pl_random random = pl_random_seeded(seed);
    memset(names, 0, sizeof names);
    make_names(&random);
    r = pl_retained_new(seed, NAMES, SIZE_MAX / 2);
    REQUIRE(r);
    for (int round = 0; round < ROUNDS(3000, 600); round++) {
        for (uint32_t i = pl_random_below(&random, 20); i; i--)
            change_one(&random, may_fail);
        struct pl_pattern *p = random_pattern(&random);
        struct pl_retained_cursor cursor = {.since_id = last_id};
        for (int i = 0; i < NAMES; i++) {
            names[i].stood = names[i].stands;
            names[i].seen = 0;
        }
        bool end = false;
        while (!end) {
            struct pl_message *found[7];
            size_t n = pl_retained_read(r, p, 0, &cursor, found, 1 + pl_random_below(&random, 7),
                1 + pl_random_below(&random, 30), &end);
            for (size_t j = 0; j < n; j++)
                for (int i = 0; i < NAMES; i++)
                    names[i].seen += pl_bytes_equal(names[i].name, found[j]->subject);
            for (uint32_t i = pl_random_below(&random, 4); i; i--)
                change_one(&random, may_fail);
        }
        for (int i = 0; i < NAMES; i++) {
            bool matches = pl_pattern_matches(p, names[i].name);
            if (names[i].seen > matches || (names[i].stood && names[i].seen != matches)) {
                CHECK(!"each slot that stood is read once, no other twice");
                printf("    seed %lu, %.*s, %s\n", (unsigned long)seed, (int)p->text.len,
                    (const char *)p->text.data, names[i].text);
                round = INT32_MAX - 1;
                break;
            }
        }
        pl_pattern_unref(p);
    }
    size_t standing = 0;
    for (int i = 0; i < NAMES; i++)
        standing += names[i].stands;
    CHECK_EQ(pl_retained_count(r), standing);
    r = pl_retained_free(r);
}

TEST(changes_between_two_steps_neither_repeat_a_slot_nor_leave_one_out)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        reads_between_changes(seed, false);
}

TEST(failing_allocations_leave_the_slots_as_they_were)
{
    reads_between_changes(9, true);
}

TEST(a_wildcard_looks_at_candidates_only)
{
    r = pl_retained_new(3, 100000, SIZE_MAX / 2);
    REQUIRE(r);
    char name[64];
    for (int i = 0; i < 100; i++)
        for (int j = 0; j < 100; j++) {
            snprintf(name, sizeof name, "site%d.dev%d.temp", i, j);
            REQUIRE(!set(name, "1"));
        }
    struct pl_message *found[200];
    struct pl_retained_cursor cursor = {.since_id = last_id};
    struct pl_pattern *p = parse("*.dev7.temp");
    bool end;
    CHECK_EQ(pl_retained_read(r, p, 0, &cursor, found, 200, 310, &end), 100);
    CHECK(end);
    pl_pattern_unref(p);
    p = parse("site3.>");
    cursor.position = (struct pl_subject_position){0};
    CHECK_EQ(pl_retained_read(r, p, 0, &cursor, found, 200, 110, &end), 100);
    CHECK(end);
    pl_pattern_unref(p);
    r = pl_retained_free(r);
}
