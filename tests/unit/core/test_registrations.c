#include "check.h"

#include "base/alloc.h"
#include "core/caller.h"
#include "core/registrations.h"

enum { OFFERS_MAX = 8 };

struct table {
    struct pl_registrations all;
    struct pl_callee callees[OFFERS_MAX];
    struct pl_session session;
    uint32_t count;
};

static void table_init(struct table *t, const char *const *patterns)
{
    *t = (struct table){0};
    pl_registrations_init(&t->all, 7);
    for (; patterns[t->count]; t->count++) {
        struct pl_callee *callee = &t->callees[t->count];
        callee->pattern = pattern_of(patterns[t->count]);
        callee->session = &t->session;
        CHECK_EQ(pl_registrations_add(&t->all, callee), PL_OK);
    }
}

static void table_done(struct table *t)
{
    bool is_last;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->callees[i].registration)
            pl_registrations_remove(&t->all, &t->callees[i], &is_last);
    CHECK_EQ(t->all.count, 0);
    pl_registrations_done(&t->all);
}

/* The text of the pattern that answers calls of the name; "" if there is none. */
static const char *answers(struct table *t, const char *name)
{
    static char text[64];
    const struct pl_registration *r = pl_registrations_match(&t->all, pl_bytes_text(name));
    struct pl_bytes found = r ? r->place.pattern->text : PL_NO_BYTES;
    (void)snprintf(text, sizeof text, "%.*s%s", (int)found.len, (const char *)found.data,
        r && r->place.pattern->kind == PL_PATTERN_PREFIX ? "~" : "");
    return text;
}

static void check_order(const char *const *patterns, const char *name)
{
    struct table t;
    table_init(&t, patterns);
    /* Whoever answers goes, and the next one does. */
    for (uint32_t i = 0; i < t.count; i++) {
        bool is_last = false;
        CHECK_STR(answers(&t, name), patterns[i]);
        pl_registrations_remove(&t.all, &t.callees[i], &is_last);
        CHECK(is_last);
    }
    CHECK_STR(answers(&t, name), "");
    table_done(&t);
}

TEST(a_name_comes_before_prefixes_and_these_before_tokens)
{
    check_order((const char *const[]){"a1.b2.c33.d4.e5", "a1.b2.c33.d4~", "a1.b2.c3~", "a1~", "~",
                    "a1.b2.c33.*.e5", NULL},
        "a1.b2.c33.d4.e5");
}

/* "Pattern-based Registrations". Its prefixes are of bytes everywhere but in one of its examples,
 * where a1.b2.c3 is no prefix of a1.b2.c33: ours is. */
TEST(the_standards_examples)
{
    struct table t;
    bool is_last;
    table_init(
        &t, (const char *const[]){"a1.b2.c3~", "a1.b2.c3.d4.e55", "a1.b2.c3.d4~", "a1.b2.*.d4.e5",
                "a1.b2.c33.*.e5", "a1.b2.*.d4.e5.*.g7", "a1.b2.*.d4.*.f6.g7", NULL});
    CHECK_STR(answers(&t, "a1.b2.c3.d4.e55"), "a1.b2.c3.d4.e55");
    CHECK_STR(answers(&t, "a1.b2.c3.d98.e74"), "a1.b2.c3~");
    CHECK_STR(answers(&t, "a1.b2.c3.d4.e325"), "a1.b2.c3.d4~");
    CHECK_STR(answers(&t, "a1.b2.c55.d4.e5"), "a1.b2.*.d4.e5");
    CHECK_STR(answers(&t, "a1.b2.c88.d4.e5.f6.g7"), "a1.b2.*.d4.e5.*.g7");
    CHECK_STR(answers(&t, "a2.b2.c2.d2.e2"), "");
    CHECK_STR(answers(&t, "a1.b2.c33.d4.e5"), "a1.b2.c3~");
    pl_registrations_remove(&t.all, &t.callees[0], &is_last);
    CHECK_STR(answers(&t, "a1.b2.c33.d4.e5"), "a1.b2.c33.*.e5");
    table_done(&t);
}

TEST(of_tokens_the_longest_first_run_of_literal_ones_wins_then_the_second)
{
    check_order((const char *const[]){"a.b.c.*.*.*", "a.b.*.d.e.*", "a.b.*.d.*.f", "a.*.c.d.e.f",
                    "*.b.c.d.e.f", "*.b.*.*.*.*", NULL},
        "a.b.c.d.e.f");
}

TEST(one_pattern_has_one_registration_of_one_policy)
{
    struct table t;
    struct pl_session others[2] = {0};
    struct pl_callee more[3] = {0};
    bool is_last = true;
    table_init(&t, (const char *const[]){NULL});
    for (int i = 0; i < 3; i++) {
        more[i].pattern = pattern_of("p");
        more[i].invoke = i == 2 ? PL_INVOKE_LAST : PL_INVOKE_RANDOM;
        more[i].session = &others[i % 2];
    }
    CHECK_EQ(pl_registrations_add(&t.all, &more[0]), PL_OK);
    CHECK_EQ(pl_registrations_add(&t.all, &more[1]), PL_OK);
    CHECK_EQ(pl_registrations_add(&t.all, &more[2]), PL_EXISTS); /* another policy */
    more[2].invoke = PL_INVOKE_RANDOM;
    CHECK_EQ(pl_registrations_add(&t.all, &more[2]), PL_EXISTS); /* the session offers it */
    CHECK(more[0].registration == more[1].registration);
    CHECK(pl_registrations_find(&t.all, more[2].pattern) == more[0].registration);
    uint64_t id = more[0].registration->id;
    pl_registrations_remove(&t.all, &more[0], &is_last);
    CHECK(!is_last);
    pl_registrations_remove(&t.all, &more[1], &is_last);
    CHECK(is_last);
    CHECK(pl_registrations_find(&t.all, more[2].pattern) == NULL);
    CHECK_EQ(pl_registrations_add(&t.all, &more[2]), PL_OK);
    CHECK(more[2].registration->id != id);
    pl_registrations_remove(&t.all, &more[2], &is_last);
    table_done(&t);
}

TEST(a_prefix_and_a_name_of_the_same_text_are_two)
{
    struct table t;
    table_init(&t, (const char *const[]){"a.b", "a.b~", NULL});
    CHECK_STR(answers(&t, "a.b"), "a.b");
    CHECK_STR(answers(&t, "a.bc"), "a.b~");
    CHECK_STR(answers(&t, "a.b.c"), "a.b~");
    CHECK_STR(answers(&t, "a"), "");
    table_done(&t);
}
