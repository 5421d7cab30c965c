#include "check.h"

#include "base/alloc.h"
#include "core/match.h"
#include "core/match_index.h"
#include "core/session.h"

static struct pl_session_ops ops_a, ops_b;
static struct pl_session session_a = {.ops = &ops_a}, session_b = {.ops = &ops_b};

static struct pl_matcher *matcher;

enum { SUBS_MAX = 64 };
static struct pl_subscription subs[SUBS_MAX];
static uint32_t sub_count;

static void begin(void)
{
    matcher = pl_matcher_new(42, 64);
    memset(subs, 0, sizeof subs);
    sub_count = 0;
}

static void end(void)
{
    for (uint32_t i = 0; i < sub_count; i++)
        pl_pattern_unref(subs[i].pattern);
    matcher = pl_matcher_free(matcher);
}

/* 'g:' a glob, 'p:' a prefix, 'm:' MQTT's kind of NATS text, else NATS text. */
static struct pl_subscription *prepare(const char *text)
{
    struct pl_subscription *s = &subs[sub_count++];
    s->session = &session_a;
    s->form = 1;
    if (!strncmp(text, "g:", 2))
        CHECK_EQ(pl_pattern_new_glob(pl_bytes_text(text + 2), &s->pattern), PL_OK);
    else if (!strncmp(text, "p:", 2))
        CHECK_EQ(pl_pattern_new_prefix(pl_bytes_text(text + 2), &s->pattern), PL_OK);
    else
        CHECK_EQ(
            pl_pattern_parse(pl_bytes_text(strncmp(text, "m:", 2) ? text : text + 2), &s->pattern),
            PL_OK);
    if (!strncmp(text, "m:", 2))
        s->pattern->spares_dollar = s->pattern->literal_head == 0;
    return s;
}

static struct pl_subscription *add(const char *text)
{
    struct pl_subscription *s = prepare(text);
    CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    return s;
}

static struct pl_subscription *add_queue(const char *text, const char *queue, uint8_t flags)
{
    struct pl_subscription *s = prepare(text);
    s->queue = pl_bytes_text(queue);
    s->flags = flags;
    CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    return s;
}

static struct pl_match *match(const char *subject)
{
    return pl_matcher_match(matcher, pl_bytes_text(subject), false);
}

static bool targets(const struct pl_match *m, const struct pl_subscription *s)
{
    for (uint32_t i = 0; i < m->target_count; i++)
        if (m->targets[i] == s)
            return true;
    return false;
}

TEST(every_kind_of_pattern_is_found_where_it_matches)
{
    begin();
    struct pl_subscription *literal = add("plant.line1.temp"), *any = add("plant.*.temp"),
                           *rest = add("plant.>"), *self = add("plant.line1.temp.#"),
                           *g = add("g:plant.l*"), *p = add("p:plant.line1.t");
    struct pl_match *m = match("plant.line1.temp");
    CHECK_EQ(m->target_count, 6);
    CHECK(targets(m, literal) && targets(m, any) && targets(m, rest) && targets(m, self));
    CHECK(targets(m, g) && targets(m, p));
    m = match("plant.line1.temp.x");
    CHECK_EQ(m->target_count, 4);
    CHECK(targets(m, rest) && targets(m, self) && targets(m, g) && targets(m, p));
    m = match("plant");
    CHECK_EQ(m->receivers, 0);
    m = match("plant.x.temp");
    CHECK_EQ(m->target_count, 2);
    CHECK(pl_bytes_equal(m->subject, PL_BYTES("plant.x.temp")));
    CHECK_EQ(pl_matcher_count(matcher), 6);
    end();
}

TEST(long_tokens_empty_tokens_and_any_bytes_are_compared_whole)
{
    begin();
    struct pl_subscription *a = add("*.a_rather_long_token.x"), *b = add("*.a_rather_long_tokem.x"),
                           *c = add("*..x"), *d = add("*.1234567.x"), *e = add("*.12345678.x");
    struct pl_match *m = match("q.a_rather_long_token.x");
    CHECK_EQ(m->target_count, 1);
    CHECK(targets(m, a));
    m = match("q.a_rather_long_tokem.x");
    CHECK(m->target_count == 1 && targets(m, b));
    m = match("q..x");
    CHECK(m->target_count == 1 && targets(m, c));
    m = match("q.1234567.x");
    CHECK(m->target_count == 1 && targets(m, d));
    m = match("q.12345678.x");
    CHECK(m->target_count == 1 && targets(m, e));
    CHECK_EQ(match("q.a_rather_long_toke.x")->target_count, 0);
    struct pl_match *zero = pl_matcher_match(matcher, PL_BYTES("q.\0.x"), false);
    CHECK_EQ(zero->target_count, 0);
    end();
}

TEST(reserved_and_inbox_names_are_found_by_literal_heads_only)
{
    begin();
    add(">");
    add("*.a.b");
    add("g:*");
    add("p:_INBOX.");
    add("_INBOX.*.b");
    add("_INBOX.>");
    add("$SYS.a.b");
    struct pl_subscription *own = add("_INBOX.a.>"), *exact = add("_INBOX.a.b");
    struct pl_subscription *sys = add("$SYS.>"), *sys_glob = add("g:$SYS.*");
    struct pl_match *m = match("_INBOX.a.b");
    CHECK_EQ(m->target_count, 2);
    CHECK(targets(m, own) && targets(m, exact));
    m = match("$SYS.a.b");
    CHECK_EQ(m->target_count, 3);
    CHECK(targets(m, sys) && targets(m, sys_glob));
    CHECK_EQ(match("wamp.a.b")->target_count, 0);
    CHECK_EQ(match("x.a.b")->target_count, 3);
    end();
}

TEST(a_leading_wildcard_of_mqtt_does_not_see_dollar_names)
{
    begin();
    struct pl_subscription *nats = add("*.a");
    add("m:*.a");
    add("m:#");
    struct pl_match *m = match("$x.a");
    CHECK(m->target_count == 1 && targets(m, nats));
    CHECK_EQ(match("x.a")->target_count, 3);
    end();
}

TEST(targets_are_grouped_by_worker_protocol_and_form)
{
    begin();
    for (uint32_t i = 0; i < 40; i++) {
        struct pl_subscription *s = prepare(i % 2 ? "a.b" : "a.*");
        s->worker = (uint8_t)(i % 3);
        s->session = i % 5 < 2 ? &session_a : &session_b;
        s->form = i % 7 % 3;
        CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    }
    struct pl_match *m = match("a.b");
    CHECK_EQ(m->target_count, 40);
    CHECK_EQ(m->part_count, 3);
    CHECK_EQ(m->group_count, 3 * 2 * 3);
    uint32_t groups = 0, count = 0;
    for (uint32_t i = 0; i < m->part_count; i++) {
        const struct pl_match_part *part = &m->parts[i];
        CHECK_EQ(part->worker, i);
        CHECK_EQ(part->first, groups);
        groups += part->count;
        for (uint32_t j = part->first; j < groups; j++) {
            const struct pl_match_group *g = &m->groups[j];
            CHECK_EQ(g->first, count);
            count += g->count;
            for (uint32_t k = g->first; k < count; k++) {
                CHECK(m->targets[k]->session->ops == g->ops);
                CHECK(m->targets[k]->form == g->form);
                CHECK(m->targets[k]->worker == part->worker);
            }
        }
    }
    CHECK_EQ(groups, m->group_count);
    CHECK_EQ(count, m->target_count);
    end();
}

TEST(a_queue_group_is_one_slot_per_name_and_pattern)
{
    begin();
    add_queue("a.*", "workers", 0);
    add_queue("a.*", "workers", 0);
    add_queue("a.b", "workers", 0);
    add_queue("a.b", "others", 0);
    add("a.b");
    struct pl_match *m = match("a.b");
    CHECK_EQ(m->target_count, 1);
    CHECK_EQ(m->slot_count, 3);
    CHECK_EQ(m->member_count, 4);
    CHECK_EQ(m->receivers, 4);
    end();
}

TEST(a_last_self_or_rest_counts_as_rest_in_a_queue_group)
{
    begin();
    add_queue("a.#", "workers", 0);
    add_queue("a.>", "workers", 0);
    CHECK_EQ(match("a.b")->slot_count, 1);
    CHECK_EQ(match("a.b")->member_count, 2);
    CHECK_EQ(match("a")->member_count, 1);
    end();
}

TEST(a_member_by_name_makes_one_slot_of_all_patterns)
{
    begin();
    add_queue("a.*", "workers", 0);
    add_queue("a.b", "workers", 0);
    CHECK_EQ(match("a.b")->slot_count, 2);
    add_queue("a.>", "workers", PL_SUB_QUEUE_BY_NAME);
    add_queue("a.b", "others", 0);
    struct pl_match *m = match("a.b");
    CHECK_EQ(m->slot_count, 2);
    CHECK_EQ(m->member_count, 4);
    uint32_t large = m->slots[0].count == 3 ? 0 : 1;
    CHECK_EQ(m->slots[large].count, 3);
    for (uint32_t i = 0; i < m->slot_count; i++)
        for (uint32_t j = 0; j < m->slots[i].count; j++)
            CHECK(pl_bytes_equal(
                m->members[m->slots[i].first + j]->queue, m->members[m->slots[i].first]->queue));
    end();
}

TEST(globs_of_one_node_are_queue_slots_of_their_own)
{
    begin();
    add_queue("g:a.b*", "workers", 0);
    add_queue("g:a.?b*", "workers", 0);
    add_queue("g:a.b*", "workers", 0);
    add_queue("p:a.bb", "workers", 0);
    CHECK_EQ(match("a.bb")->slot_count, 3);
    CHECK_EQ(match("a.bb")->member_count, 4);
    end();
}

TEST(who_may_not_receive_a_subject_is_not_in_its_set)
{
    begin();
    struct pl_identity *identity = pl_identity_new();
    struct pl_pattern *allow, *deny;
    REQUIRE(identity && !pl_pattern_parse(PL_BYTES(">"), &allow) &&
            !pl_pattern_parse(PL_BYTES("secret.>"), &deny));
    REQUIRE(!pl_identity_add_pattern(identity, PL_SUBSCRIBE, false, allow) &&
            !pl_identity_add_pattern(identity, PL_SUBSCRIBE, true, deny));
    struct pl_session session = {.ops = &ops_a, .identity = identity};
    struct pl_subscription *s = prepare(">");
    s->session = &session;
    s->is_filtered = true;
    CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    s = prepare(">");
    s->session = &session;
    s->is_filtered = true;
    s->queue = PL_BYTES("q");
    CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    CHECK_EQ(match("open.a")->receivers, 2);
    CHECK_EQ(match("secret.a")->receivers, 0);
    end();
    pl_identity_unref(identity);
}

TEST(a_recovering_subscription_is_left_out_of_what_is_logged)
{
    begin();
    struct pl_subscription *s = prepare("a.>");
    s->is_recovering = true;
    CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    CHECK_EQ(pl_matcher_match(matcher, PL_BYTES("a.b"), true)->receivers, 0);
    CHECK_EQ(pl_matcher_match(matcher, PL_BYTES("a.c"), false)->receivers, 1);
    s->is_recovering = false;
    pl_matcher_touch(matcher);
    CHECK_EQ(pl_matcher_match(matcher, PL_BYTES("a.b"), true)->receivers, 1);
    end();
}

TEST(no_local_is_told)
{
    begin();
    add("a");
    CHECK(!match("a")->has_no_local);
    struct pl_subscription *s = prepare("a");
    s->flags = PL_SUB_NO_LOCAL;
    CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    CHECK(match("a")->has_no_local);
    end();
}

TEST(a_session_that_wants_one_copy_gets_it_by_its_highest_qos)
{
    begin();
    static const struct {
        const char *pattern;
        uint8_t qos, flags;
        bool is_of_b;
    } rows[] = {
        {"+.x", 1, PL_SUB_ONCE, false}, /* a strange name, no wildcard */
        {"a.*", 0, PL_SUB_ONCE, false},
        {"a.>", 2, PL_SUB_ONCE, false},
        {"a.x", 1, PL_SUB_ONCE, false},
        {"a.#", 0, 0, false},
        {"*.x", 1, PL_SUB_ONCE, true},
        {">", 1, PL_SUB_ONCE, true},
        {"a.x", 0, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pl_subscription *s = prepare(rows[i].pattern);
        s->qos = rows[i].qos;
        s->flags = rows[i].flags;
        s->session = rows[i].is_of_b ? &session_b : &session_a;
        s->form = 1 + rows[i].qos;
        CHECK_EQ(pl_matcher_add(matcher, s), PL_OK);
    }
    struct pl_match *m = match("a.x");
    CHECK_EQ(m->target_count, 4);
    CHECK(targets(m, &subs[2]) && targets(m, &subs[4]) && targets(m, &subs[7]));
    CHECK(targets(m, &subs[5]) != targets(m, &subs[6]));
    m = match("a.y");
    CHECK_EQ(m->target_count, 3);
    CHECK(targets(m, &subs[2]) && targets(m, &subs[4]) && targets(m, &subs[6]));
    pl_matcher_remove(matcher, &subs[2]);
    m = match("a.y");
    CHECK(m->target_count == 3 && targets(m, &subs[1]));
    end();
}

TEST(answers_stay_until_something_that_they_depend_on_changes)
{
    begin();
    add("a.>");
    struct pl_match *ab = pl_match_ref(match("a.b")), *ac = pl_match_ref(match("a.c"));
    CHECK(match("a.b") == ab);
    struct pl_subscription *literal = add("a.b");
    CHECK(match("a.c") == ac);
    CHECK(match("a.b") != ab);
    CHECK_EQ(match("a.b")->target_count, 2);
    CHECK_EQ(ab->target_count, 1);
    pl_matcher_remove(matcher, literal);
    CHECK_EQ(match("a.b")->target_count, 1);
    struct pl_subscription *wild = add("a.*");
    CHECK_EQ(match("a.c")->target_count, 2);
    pl_matcher_remove(matcher, wild);
    CHECK_EQ(match("a.c")->target_count, 1);
    CHECK_EQ(ac->target_count, 1);
    pl_match_unref(ab);
    pl_match_unref(ac);
    end();
}

TEST(a_set_that_someone_holds_is_not_written_again)
{
    begin();
    add("n.>");
    char name[16];
    struct pl_match *held[200];
    for (int i = 0; i < 200; i++) { /* many times the cache */
        snprintf(name, sizeof name, "n.%d", i);
        held[i] = pl_match_ref(match(name));
    }
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n.%d", i);
        CHECK(pl_bytes_equal(held[i]->subject, pl_bytes_text(name)));
        CHECK_EQ(held[i]->target_count, 1);
        pl_match_unref(held[i]);
    }
    end();
}

static void count_sub(void *context, struct pl_subscription *sub)
{
    (void)sub;
    ++*(size_t *)context;
}

TEST(each_calls_for_every_subscription)
{
    begin();
    const char *texts[] = {"a", "a", "a.*", ">", "#", "g:a*", "p:a.b", "a.b.c"};
    for (size_t i = 0; i < 8; i++)
        add(texts[i]);
    size_t count = 0;
    pl_matcher_each(matcher, count_sub, &count);
    CHECK_EQ(count, 8);
    for (uint32_t i = 0; i < 8; i++)
        pl_matcher_remove(matcher, &subs[i]);
    count = 0;
    pl_matcher_each(matcher, count_sub, &count);
    CHECK_EQ(count, 0);
    CHECK_EQ(pl_matcher_count(matcher), 0);
    end();
}

TEST(nodes_of_removed_patterns_are_used_again)
{
    struct pl_tree tree;
    pl_tree_init(&tree, 7);
    enum { MANY = 3000 };
    static struct pl_subscription many[MANY];
    uint32_t first_nodes = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < MANY; i++) {
            char text[64];
            snprintf(text, sizeof text, "round%d.*.a_long_token_number_%d.>", round, i);
            many[i] = (struct pl_subscription){.session = &session_a};
            REQUIRE(!pl_pattern_parse(pl_bytes_text(text), &many[i].pattern));
            REQUIRE(!pl_tree_add(&tree, &many[i]));
        }
        if (!round)
            first_nodes = tree.node_count;
        CHECK_EQ(tree.node_count, first_nodes);
        for (int i = 0; i < MANY; i++) {
            pl_tree_remove(&tree, &many[(i * 7) % MANY]);
            pl_pattern_unref(many[(i * 7) % MANY].pattern);
        }
        CHECK_EQ(tree.sub_count, 0);
        CHECK_EQ(tree.edge_count, 0);
        CHECK_EQ(tree.long_tokens.count, 0);
        CHECK(tree.edge_cap <= 64);
    }
    pl_tree_done(&tree);
}

TEST(the_deepest_names_and_patterns_are_matched)
{
    begin();
    char text[2 * PL_SUBJECT_TOKENS_MAX];
    for (int i = 0; i < PL_SUBJECT_TOKENS_MAX; i++)
        memcpy(text + 2 * i, i % 2 ? "*." : "a.", 2);
    text[2 * PL_SUBJECT_TOKENS_MAX - 1] = 0;
    add(text);
    memset(text, 'a', sizeof text - 1);
    for (int i = 1; i < PL_SUBJECT_TOKENS_MAX; i++)
        text[2 * i - 1] = '.';
    CHECK_EQ(match(text)->target_count, 1);
    end();
}
