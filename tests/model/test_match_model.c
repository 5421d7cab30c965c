/*
 * The matcher against two naive ones: pl_pattern_matches over every subscription, and 30 lines
 * written for this test that know patterns as lists of words. Subscriptions come and go at random,
 * allocations fail at random; each answer must be what the naive ones say, in groups and slots as
 * match.h promises.
 */
#include "check.h"
#include "core/random_names.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "core/match.h"
#include "core/session.h"

enum { SUBS = 300, WORDS_MAX = 5, WORD_LEN = 40 };

/* A pattern as the test knows it. */
struct model {
    bool stands; /* is in the matcher */
    enum { WORDS, PREFIX, GLOB } kind;
    bool mqtt; /* a leading wildcard spares '$' */
    int word_count;
    char words[WORDS_MAX][WORD_LEN]; /* of a glob or prefix: the text is the first one */
    char queue[4];
    bool denied; /* its session may not receive what begins with "deny." */
    struct pl_subscription sub;
};

static struct model models[SUBS];
static struct pl_random dice;
static struct pl_session_ops ops[2];
static struct pl_session sessions[4];
static struct pl_identity *filtered;

static uint32_t roll(uint32_t below)
{
    return pl_random_below(&dice, below);
}

static const char *random_word(bool is_first)
{
    static const char *const first[] = {"a", "b", "$SYS", "wamp", "_INBOX", "$x", "deny", ""};
    static const char *const other[] = {
        "a", "b", "c", "", "longer_than_seven", "longer_than_sevem"};
    return is_first ? first[roll(8)] : other[roll(6)];
}

static void random_subject(char *out)
{
    uint32_t count = 1 + roll(WORDS_MAX);
    out[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            strcat(out, ".");
        strcat(out, random_word(!i));
    }
}

/* The naive matcher: words of a name against words of a pattern, by recursion. */
static bool words_match(const struct model *m, int i, const char *name)
{
    if (i == m->word_count)
        return !name;
    if (!strcmp(m->words[i], "#"))
        return true;
    if (!name)
        return false;
    if (!strcmp(m->words[i], ">"))
        return true;
    const char *dot = strchr(name, '.');
    size_t len = dot ? (size_t)(dot - name) : strlen(name);
    if (strcmp(m->words[i], "*") && (strlen(m->words[i]) != len || memcmp(m->words[i], name, len)))
        return false;
    return words_match(m, i + 1, dot ? dot + 1 : NULL);
}

static bool is_wild(const char *word)
{
    return !strcmp(word, "*") || !strcmp(word, ">") || !strcmp(word, "#");
}

static bool naive_matches(const struct model *m, const char *name)
{
    bool inbox = !strncmp(name, "_INBOX.", 7);
    bool reserved = !strncmp(name, "$SYS.", 5) || !strcmp(name, "$SYS") ||
                    !strncmp(name, "wamp.", 5) || !strcmp(name, "wamp");
    if (m->kind == WORDS) {
        bool wild_head = is_wild(m->words[0]);
        if (inbox && (m->word_count < 2 || wild_head || is_wild(m->words[1])))
            return false;
        if (wild_head && (reserved || (m->mqtt && name[0] == '$')))
            return false;
        return words_match(m, 0, name);
    }
    const char *text = m->words[0], *dot = strpbrk(text, ".*?[");
    /* Only "$SYS.…", or a glob that is just "$SYS", holds the token whole. */
    bool has_head = dot ? *dot == '.' : m->kind == GLOB;
    if (inbox || (reserved && !has_head))
        return false;
    return m->kind == PREFIX ? !strncmp(name, text, strlen(text))
                             : pl_glob_matches(pl_bytes_text(text), pl_bytes_text(name));
}

static bool make_random(struct model *m)
{
    *m = (struct model){.kind = roll(10) ? WORDS : roll(2) ? GLOB : PREFIX, .mqtt = roll(2)};
    enum pl_err err;
    if (m->kind == WORDS) {
        m->word_count = 1 + (int)roll(WORDS_MAX);
        struct pl_pattern_builder b;
        pl_pattern_begin(&b);
        b.spares_dollar = m->mqtt;
        bool is_literal = roll(3) == 0;
        for (int i = 0; i < m->word_count; i++) {
            bool is_last = i + 1 == m->word_count;
            uint32_t what = is_literal ? 9 : roll(is_last ? 6 : 4);
            const char *word = what == 0   ? "*"
                               : what == 4 ? ">"
                               : what == 5 ? "#"
                                           : random_word(!i);
            snprintf(m->words[i], WORD_LEN, "%s", word);
            if (what == 0)
                pl_pattern_add_any(&b);
            else if (what == 4)
                pl_pattern_add_rest(&b);
            else if (what == 5)
                pl_pattern_add_self_or_rest(&b);
            else
                pl_pattern_add_literal(&b, pl_bytes_text(word));
        }
        err = pl_pattern_end(&b, &m->sub.pattern);
    } else {
        static const char *const globs[] = {
            "*", "a.*", "?", "a.b*", "$SYS.*", "$S*", "_INBOX.*", "a.b", "[ab].?", "wamp", "*.c"};
        static const char *const prefixes[] = {"", "a", "a.", "$SYS.", "$SYS", "_INBOX.", "wamp.a"};
        snprintf(
            m->words[0], WORD_LEN, "%s", m->kind == GLOB ? globs[roll(11)] : prefixes[roll(7)]);
        struct pl_bytes text = pl_bytes_text(m->words[0]);
        err = m->kind == GLOB ? pl_pattern_new_glob(text, &m->sub.pattern)
                              : pl_pattern_new_prefix(text, &m->sub.pattern);
    }
    if (err)
        return false;
    uint32_t session = roll(4);
    m->denied = session == 3;
    m->sub.session = &sessions[session];
    m->sub.worker = (uint8_t)roll(3);
    m->sub.form = roll(3);
    m->sub.flags = (uint8_t)(roll(4) ? 0 : PL_SUB_NO_LOCAL);
    m->sub.is_filtered = m->denied;
    if (!roll(3)) {
        snprintf(m->queue, sizeof m->queue, "q%u", roll(3));
        m->sub.queue = pl_bytes_text(m->queue);
        m->sub.flags |= roll(6) ? 0 : PL_SUB_QUEUE_BY_NAME;
    }
    return true;
}

static bool is_wanted(const struct model *m, const char *subject)
{
    return m->stands && naive_matches(m, subject) && !(m->denied && !strncmp(subject, "deny.", 5));
}

static struct model *model_of(struct pl_subscription *sub)
{
    return (struct model *)(void *)((char *)sub - offsetof(struct model, sub));
}

static bool same_pattern(const struct model *a, const struct model *b)
{
    if (a->kind != b->kind || a->word_count != b->word_count)
        return false;
    int count = a->kind == WORDS ? a->word_count : 1;
    for (int i = 0; i < count; i++) {
        const char *x = a->words[i], *y = b->words[i];
        bool rests = a->kind == WORDS && i + 1 == count && (*x == '#' || *x == '>') &&
                     (*y == '#' || *y == '>');
        if (!rests && strcmp(x, y))
            return false;
    }
    return true;
}

/* Members that stand in one slot, by the rule of DESIGN section 3. */
static bool share_slot(const struct model *a, const struct model *b, const char *subject)
{
    if (strcmp(a->queue, b->queue))
        return false;
    for (int i = 0; i < SUBS; i++)
        if (is_wanted(&models[i], subject) && !strcmp(models[i].queue, a->queue) &&
            models[i].sub.flags & PL_SUB_QUEUE_BY_NAME)
            return true;
    return same_pattern(a, b);
}

static bool groups_hold(const struct pl_match *m)
{
    uint32_t groups = 0, targets = 0;
    for (uint32_t i = 0; i < m->part_count; i++) {
        const struct pl_match_part *part = &m->parts[i];
        if (part->first != groups || !part->count || (i && part->worker <= m->parts[i - 1].worker))
            return false;
        groups += part->count;
        for (uint32_t j = part->first; j < groups; j++) {
            const struct pl_match_group *g = &m->groups[j];
            const struct pl_match_group *before = j > part->first ? g - 1 : NULL;
            if (g->first != targets || !g->count ||
                (before && before->ops == g->ops && before->form == g->form))
                return false;
            targets += g->count;
            for (uint32_t k = g->first; k < targets; k++)
                if (m->targets[k]->worker != part->worker ||
                    m->targets[k]->session->ops != g->ops || m->targets[k]->form != g->form)
                    return false;
        }
    }
    return groups == m->group_count && targets == m->target_count;
}

static bool answer_holds(const struct pl_match *m, const char *subject)
{
    uint32_t targets = 0, members = 0, slot_members = 0;
    bool no_local = false;
    for (int i = 0; i < SUBS; i++) {
        const struct model *it = &models[i];
        if (it->stands && naive_matches(it, subject) !=
                              pl_pattern_matches(it->sub.pattern, pl_bytes_text(subject)))
            return CHECK(!"both naive matchers agree");
        bool wanted = is_wanted(it, subject);
        targets += wanted && !it->queue[0];
        members += wanted && it->queue[0];
        no_local |= wanted && !it->queue[0] && it->sub.flags & PL_SUB_NO_LOCAL;
    }
    if (!CHECK_EQ(m->target_count, targets) || !CHECK_EQ(m->member_count, members) ||
        !CHECK_EQ(m->has_no_local, no_local) ||
        !CHECK_EQ(m->receivers, m->target_count + m->slot_count) || !CHECK(groups_hold(m)))
        return false;
    /* The counts agree and no one stands twice: so it is enough that each is wanted. */
    for (uint32_t i = 0; i < targets; i++)
        if (!is_wanted(model_of(m->targets[i]), subject) || m->targets[i]->queue.len)
            return CHECK(!"each target is wanted");
    for (uint32_t i = 0; i < m->slot_count; i++) {
        const struct pl_match_slot *slot = &m->slots[i];
        slot_members += slot->count;
        const struct model *first = model_of(m->members[slot->first]);
        for (uint32_t j = 0; j < members; j++) {
            const struct model *it = model_of(m->members[j]);
            bool inside = j >= slot->first && j < slot->first + slot->count;
            if (!is_wanted(it, subject) || inside != share_slot(first, it, subject))
                return CHECK(!"slots hold who belongs together, and no one else");
        }
    }
    return CHECK_EQ(slot_members, members);
}

static bool has_twice(const struct pl_match *m)
{
    for (uint32_t i = 0; i < m->target_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (m->targets[i] == m->targets[j])
                return true;
    return false;
}

static void maybe_fail(bool may_fail)
{
    if (may_fail && !roll(3))
        pl_alloc_fail((long)roll(4), (int)roll(2));
}

static void run(uint64_t seed, long rounds, bool may_fail)
{
    dice = pl_random_seeded(seed);
    struct pl_matcher *matcher = pl_matcher_new(seed, 32);
    REQUIRE(matcher);
    size_t standing = 0;
    for (long round = 0; round < rounds; round++) {
        struct model *m = &models[roll(SUBS)];
        bool changes = roll(3) == 0;
        if (changes && m->stands) {
            pl_matcher_remove(matcher, &m->sub);
            m->stands = false;
            m->sub.pattern = pl_pattern_unref(m->sub.pattern);
            standing--;
        } else if (changes && make_random(m)) {
            maybe_fail(may_fail);
            enum pl_err err = pl_matcher_add(matcher, &m->sub);
            pl_alloc_fail(-1, 0);
            m->stands = !err;
            standing += m->stands;
            if (err)
                m->sub.pattern = pl_pattern_unref(m->sub.pattern);
        }
        if (!CHECK_EQ(pl_matcher_count(matcher), standing))
            break;
        char subject[WORDS_MAX * WORD_LEN];
        random_subject(subject);
        maybe_fail(may_fail);
        struct pl_match *match = pl_matcher_match(matcher, pl_bytes_text(subject), false);
        pl_alloc_fail(-1, 0);
        if (!match && may_fail)
            continue;
        if (!CHECK(match) || !answer_holds(match, subject) || !CHECK(!has_twice(match))) {
            printf("    seed %lu round %ld subject \"%s\"\n", (unsigned long)seed, round, subject);
            break;
        }
    }
    for (int i = 0; i < SUBS; i++) {
        if (models[i].stands)
            pl_matcher_remove(matcher, &models[i].sub);
        models[i].stands = false;
        models[i].sub.pattern = pl_pattern_unref(models[i].sub.pattern);
    }
    CHECK_EQ(pl_matcher_count(matcher), 0);
    pl_matcher_free(matcher);
}

static bool set_up(void)
{
    struct pl_pattern *all, *deny;
    filtered = pl_identity_new();
    if (!filtered || pl_pattern_parse(PL_BYTES(">"), &all) ||
        pl_identity_add_pattern(filtered, PL_SUBSCRIBE, false, all) ||
        pl_pattern_parse(PL_BYTES("deny.>"), &deny) ||
        pl_identity_add_pattern(filtered, PL_SUBSCRIBE, true, deny))
        return false;
    for (int i = 0; i < 4; i++)
        sessions[i] = (struct pl_session){.ops = &ops[i % 2], .identity = filtered};
    return true;
}

TEST(the_matcher_answers_as_the_naive_ones_do)
{
    REQUIRE(set_up());
    for (uint64_t seed = 1; seed <= 5; seed++)
        run(seed, ROUNDS(10000, 3000), false);
    filtered = pl_identity_unref(filtered);
}

TEST(failing_allocations_change_nothing)
{
    REQUIRE(set_up());
    for (uint64_t seed = 11; seed <= 15; seed++)
        run(seed, ROUNDS(10000, 3000), true);
    filtered = pl_identity_unref(filtered);
}
