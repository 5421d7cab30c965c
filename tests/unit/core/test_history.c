#include "check.h"
#include "core/random_names.h"

#include "base/alloc.h"
#include "core/history.h"

enum { EPOCH = 77 };

static struct pl_history *h;

static struct pl_pattern *parse(const char *text)
{
    struct pl_pattern *p = NULL;
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(text), &p), PL_OK);
    return p;
}

static void add_rule(const char *pattern, uint32_t limit, uint64_t age_ms, uint64_t bytes)
{
    CHECK_EQ(pl_history_add_rule(h,
                 (struct pl_history_rule){
                     .pattern = parse(pattern), .limit = limit, .age_ms = age_ms, .bytes = bytes}),
        PL_OK);
}

/* Returns the offset that it got. */
static uint64_t append(const char *subject, const char *payload, uint64_t now_ms)
{
    struct pl_message m = {.subject = pl_bytes_text(subject), .payload = pl_bytes_text(payload)};
    enum pl_err err = pl_history_append(h, &m, now_ms);
    pl_message_done(&m);
    CHECK_EQ(err, PL_OK);
    return m.offset;
}

static const char *read_from(const char *pattern, uint64_t offset, size_t steps)
{
    static char text[256];
    struct pl_pattern *p = parse(pattern);
    struct pl_message *found[2];
    bool end = false;
    uint64_t before = offset;
    text[0] = 0;
    for (int i = 0; !end && i < 1000; i++) {
        size_t n = pl_history_read(h, p, false, 0, &offset, found, 2, steps, &end);
        for (size_t j = 0; j < n; j++) {
            CHECK(found[j]->offset > before);
            before = found[j]->offset;
            strncat(text, (const char *)found[j]->payload.data, found[j]->payload.len);
        }
    }
    CHECK(end);
    CHECK_EQ(offset, pl_history_head(h).offset);
    pl_pattern_unref(p);
    return text;
}

static bool is_whole(const char *pattern, uint64_t offset)
{
    struct pl_pattern *p = parse(pattern);
    bool yes = pl_history_is_whole(h, p, (struct pl_cursor){.epoch = EPOCH, .offset = offset});
    pl_pattern_unref(p);
    return yes;
}

TEST(one_sequence_runs_over_all_rules)
{
    h = pl_history_new(1, EPOCH, 1000000);
    REQUIRE(h);
    CHECK(!pl_history_has_rules(h));
    CHECK_EQ(append("chat.a", "x", 0), 0);
    add_rule("chat.>", 0, 0, 0);
    add_rule("log.#", 0, 0, 0);
    CHECK(pl_history_has_rules(h));
    CHECK_EQ(append("chat.a", "1", 0), 1);
    CHECK_EQ(append("log", "2", 0), 2);
    CHECK_EQ(append("other", "x", 0), 0);
    CHECK_EQ(append("chat.b", "3", 0), 3);
    CHECK_EQ(append("chat.a", "4", 0), 4);
    CHECK_STR(read_from(">", 0, 100), "1234");
    CHECK_STR(read_from(">", 0, 1), "1234");
    CHECK_STR(read_from("chat.>", 1, 100), "34");
    CHECK_STR(read_from("chat.a", 0, 1), "14");
    CHECK_STR(read_from("chat.a", 1, 100), "4");
    CHECK_STR(read_from("chat.none", 0, 100), "");
    CHECK_STR(read_from(">", 4, 100), "");
    CHECK_STR(read_from(">", UINT64_MAX, 100), "");
    CHECK_EQ(pl_history_count(h), 4);
    CHECK_EQ(pl_history_head(h).epoch, EPOCH);
    h = pl_history_free(h);
}

TEST(the_log_keeps_what_it_was_given)
{
    h = pl_history_new(1, EPOCH, 1000000);
    REQUIRE(h);
    add_rule(">", 0, 0, 0);
    struct pl_properties properties = {.content_type = PL_BYTES("text/plain"), .expires_ms = 500};
    struct pl_message m = {.subject = PL_BYTES("a"),
        .payload = PL_BYTES("p"),
        .id = 9,
        .reply = PL_BYTES("r"),
        .properties = &properties};
    CHECK_EQ(pl_history_append(h, &m, 0), PL_OK);
    pl_message_done(&m);
    struct pl_pattern *p = parse("a");
    struct pl_message *found[1];
    uint64_t offset = 0;
    bool end;
    REQUIRE(pl_history_read(h, p, false, 499, &offset, found, 1, 9, &end) == 1 && end);
    CHECK(pl_bytes_equal(pl_message_content_type(found[0]), PL_BYTES("text/plain")));
    CHECK(found[0]->offset == 1 && found[0]->id == 9);
    offset = 0;
    CHECK_EQ(pl_history_read(h, p, false, 500, &offset, found, 1, 9, &end), 0); /* expired */
    pl_pattern_unref(p);
    h = pl_history_free(h);
}

TEST(each_subject_keeps_its_newest_messages)
{
    h = pl_history_new(1, EPOCH, 1000000);
    REQUIRE(h);
    add_rule("chat.*", 2, 0, 0);
    append("chat.a", "1", 0);
    append("chat.b", "2", 0);
    append("chat.a", "3", 0);
    append("chat.a", "4", 0);
    CHECK_STR(read_from("chat.*", 0, 100), "234");
    CHECK(!is_whole("chat.*", 0));
    CHECK(!is_whole("chat.a", 0));
    CHECK(is_whole("chat.b", 0));
    CHECK(is_whole("chat.*", 1));
    CHECK(is_whole("other.>", 0));
    CHECK(is_whole("chat.*.x", 0));
    CHECK(!is_whole("*.a", 0));
    h = pl_history_free(h);
}

TEST(old_messages_go_with_their_age)
{
    h = pl_history_new(1, EPOCH, 1000000);
    REQUIRE(h);
    add_rule("short.>", 0, 100, 0);
    add_rule("long.>", 0, 1000, 0);
    append("short.a", "1", 0);
    append("long.a", "2", 0);
    append("short.b", "3", 50);
    pl_history_expire(h, 99);
    CHECK_EQ(pl_history_count(h), 3);
    pl_history_expire(h, 100);
    CHECK_STR(read_from(">", 0, 100), "23");
    CHECK(!is_whole(">", 0));
    CHECK(is_whole(">", 1));
    CHECK(is_whole("long.>", 0));
    append("short.c", "4", 150);
    CHECK_STR(read_from(">", 0, 100), "24");
    CHECK(!is_whole("short.b", 2));
    CHECK(is_whole("short.a", 1));
    pl_history_expire(h, 100000);
    CHECK_EQ(pl_history_count(h), 0);
    CHECK_EQ(pl_history_bytes(h), 0);
    CHECK_EQ(append("short.a", "5", 100000), 5);
    CHECK_STR(read_from(">", 0, 100), "5");
    h = pl_history_free(h);
}

TEST(bytes_are_limited_per_rule_and_for_the_log)
{
    h = pl_history_new(1, EPOCH, 4000);
    REQUIRE(h);
    add_rule("small.>", 0, 0, 1000);
    add_rule("large.>", 0, 0, 0);
    for (int i = 0; i < 100; i++) {
        append("small.a", "1", 0);
        append("large.a", "2", 0);
        CHECK(pl_history_bytes(h) <= 4000);
    }
    CHECK(strchr(read_from(">", 0, 100), '1') != NULL);
    CHECK(strlen(read_from("small.a", 0, 100)) < strlen(read_from("large.a", 0, 100)));
    static char huge[5000];
    memset(huge, 'x', sizeof huge - 1);
    uint64_t offset = append("large.b", huge, 0);
    CHECK(offset > 0);
    CHECK_EQ(pl_history_count(h), 0);
    CHECK(!is_whole("large.b", offset - 1));
    CHECK(is_whole("large.b", offset));
    h = pl_history_free(h);
}

TEST(the_first_rule_that_matches_decides)
{
    h = pl_history_new(1, EPOCH, 100000);
    REQUIRE(h);
    add_rule("a.b", 1, 0, 0);
    add_rule("a.>", 3, 0, 0);
    for (int i = 0; i < 5; i++) {
        append("a.b", "1", 0);
        append("a.c", "2", 0);
    }
    CHECK_STR(read_from(">", 0, 100), "2212");
    h = pl_history_free(h);
}

TEST(an_epoch_that_is_not_ours_is_never_whole)
{
    h = pl_history_new(1, EPOCH, 100000);
    REQUIRE(h);
    struct pl_pattern *p = parse(">");
    CHECK(pl_history_is_whole(h, p, pl_history_head(h)));
    CHECK(!pl_history_is_whole(h, p, (struct pl_cursor){.epoch = EPOCH + 1}));
    pl_pattern_unref(p);
    h = pl_history_free(h);
}

TEST(forgotten_subjects_are_remembered_by_their_rule)
{
    h = pl_history_new(1, EPOCH, 10000000);
    REQUIRE(h);
    add_rule("many.*", 0, 10, 0);
    add_rule("few.*", 0, 0, 0);
    char name[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "many.%d", i);
        append(name, "1", (uint64_t)i * 100);
    }
    append("few.a", "1", 0);
    CHECK_EQ(pl_history_count(h), 2);
    CHECK(!is_whole("many.0", 0));
    CHECK(!is_whole("many.*", 0));
    CHECK(is_whole("many.*", 4999));
    CHECK(is_whole("few.*", 0));
    h = pl_history_free(h);
}

TEST(cursors_are_text_that_comes_back)
{
    struct pl_cursor cursors[] = {{0, 0}, {1, 2}, {UINT64_MAX, UINT64_MAX}, {EPOCH, 1u << 31}};
    for (int i = 0; i < 4; i++) {
        char text[PL_CURSOR_TEXT_MAX];
        struct pl_cursor back = {5, 5};
        size_t len = pl_cursor_format(cursors[i], text);
        CHECK_EQ(len, strlen(text));
        CHECK_EQ(pl_cursor_parse(pl_bytes_text(text), &back), PL_OK);
        CHECK(back.epoch == cursors[i].epoch && back.offset == cursors[i].offset);
        CHECK_EQ(pl_cursor_parse(pl_bytes_of(text, len - 1), &back), PL_MALFORMED);
        text[3] = '!';
        CHECK_EQ(pl_cursor_parse(pl_bytes_text(text), &back), PL_MALFORMED);
    }
    struct pl_cursor back;
    CHECK_EQ(pl_cursor_parse(PL_BYTES("AAAAAAAAAAAAAAAAAAAAA="), &back), PL_MALFORMED);
    CHECK_EQ(pl_cursor_parse(PL_BYTES("AAAAAAAAAAAAAAAAAAAAAB"), &back), PL_MALFORMED);
    CHECK_EQ(pl_cursor_parse(PL_BYTES(""), &back), PL_MALFORMED);
}

/* A naive log: all that was ever published under a rule, and whether it still stands. */
enum { LOG_MAX = 4000 };
static struct {
    char subject[16];
    int rule;
    uint64_t at_ms;
    bool stands;
} model[LOG_MAX + 1]; /* by offset */
static uint64_t model_head;

static const struct {
    const char *pattern;
    uint32_t limit;
    uint64_t age_ms;
} rules[] = {{"a.*", 3, 0}, {"b.>", 0, 200}, {"*.x", 5, 400}};
enum { RULES = 3 };

static void model_expire(uint64_t now_ms)
{
    for (uint64_t i = 1; i <= model_head; i++)
        if (rules[model[i].rule].age_ms && now_ms - model[i].at_ms >= rules[model[i].rule].age_ms)
            model[i].stands = false;
}

static void model_append(const char *subject, int rule, uint64_t now_ms)
{
    model_head++;
    snprintf(model[model_head].subject, sizeof model[0].subject, "%s", subject);
    model[model_head].rule = rule;
    model[model_head].at_ms = now_ms;
    model[model_head].stands = true;
    uint32_t count = 0;
    for (uint64_t i = model_head; i; i--)
        if (model[i].stands && !strcmp(model[i].subject, subject))
            model[i].stands = !rules[rule].limit || count++ < rules[rule].limit;
}

static bool agrees(struct pl_random *random, const char *pattern)
{
    struct pl_pattern *p = parse(pattern);
    uint64_t since = pl_random_below(random, (uint32_t)model_head + 1), offset = since;
    bool whole = true, end = false, same = true;
    for (uint64_t i = since + 1; i <= model_head; i++)
        if (!model[i].stands && pl_pattern_matches(p, pl_bytes_text(model[i].subject)))
            whole = false;
    same = pl_history_is_whole(h, p, (struct pl_cursor){EPOCH, since}) == whole;
    uint64_t expected = since;
    while (same && !end) {
        struct pl_message *found[5];
        size_t n = pl_history_read(h, p, false, 0, &offset, found, 1 + pl_random_below(random, 5),
            1 + pl_random_below(random, 9), &end);
        for (size_t i = 0; i < n; i++) {
            do
                expected++;
            while (expected <= model_head &&
                   !(model[expected].stands &&
                       pl_pattern_matches(p, pl_bytes_text(model[expected].subject))));
            same &= expected == found[i]->offset &&
                    pl_bytes_equal(found[i]->subject, pl_bytes_text(model[expected].subject));
        }
    }
    for (expected++; expected <= model_head; expected++)
        same &= !model[expected].stands ||
                !pl_pattern_matches(p, pl_bytes_text(model[expected].subject));
    pl_pattern_unref(p);
    return same;
}

static void random_log(uint64_t seed, bool may_fail)
{
    struct pl_random random = pl_random_seeded(seed);
    h = pl_history_new(seed, EPOCH, SIZE_MAX / 2);
    REQUIRE(h);
    model_head = 0;
    for (int i = 0; i < RULES; i++)
        add_rule(rules[i].pattern, rules[i].limit, rules[i].age_ms, 0);
    uint64_t now_ms = 0;
    static const char *const first[] = {"a", "b", "c"}, *const second[] = {"x", "y", "z", "x.y"};
    static const char *const patterns[] = {
        ">", "a.*", "b.>", "a.x", "*.x", "b.x.y", "c.x", "c.#", "*.*.y"};
    for (int round = 0; round < ROUNDS(3900, 800); round++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%s.%s", first[pl_random_below(&random, 3)],
            second[pl_random_below(&random, 4)]);
        now_ms += pl_random_below(&random, 20);
        int rule = 0;
        while (rule < RULES) {
            struct pl_pattern *p = parse(rules[rule].pattern);
            bool found = pl_pattern_matches(p, pl_bytes_text(subject));
            pl_pattern_unref(p);
            if (found)
                break;
            rule++;
        }
        struct pl_message m = {.subject = pl_bytes_text(subject)};
        if (may_fail)
            pl_alloc_fail((long)pl_random_below(&random, 6), 0);
        enum pl_err err = pl_history_append(h, &m, now_ms);
        pl_alloc_fail(-1, 0);
        pl_message_done(&m);
        CHECK(!err || may_fail);
        if (!err && rule < RULES)
            model_append(subject, rule, now_ms);
        if (!CHECK_EQ(m.offset, err || rule == RULES ? 0 : model_head))
            break;
        pl_history_expire(h, now_ms);
        model_expire(now_ms);
        if (!CHECK(agrees(&random, patterns[pl_random_below(&random, 9)]))) {
            printf("    seed %lu round %d\n", (unsigned long)seed, round);
            break;
        }
    }
    h = pl_history_free(h);
}

TEST(the_log_answers_as_a_naive_one_does)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        random_log(seed, false);
}

TEST(failing_allocations_leave_the_log_as_it_was)
{
    random_log(5, true);
}
