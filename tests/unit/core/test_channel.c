/* Channels with a memory: subjects that are claimed, notes, and joining without gap or double. */
#include "probe.h"

enum { AGE = 1000 };

static void world_with_claims(struct world *w, uint32_t workers, uint32_t subjects, uint32_t limit)
{
    world_init(w, workers);
    pl_realm_set_claims(
        w->realm, &(struct pl_history_claims){.subjects = subjects, .limit = limit, .age_ms = AGE});
}

/* As a member of a channel does. The note is what others see of it later. */
static struct probe_sub *member_joins(struct probe *p, const char *channel, const char *note)
{
    struct probe_sub *sub = calloc(1, sizeof *sub);
    CHECK_EQ(pl_pattern_new_literal(pl_bytes_text(channel), &sub->core.pattern), PL_OK);
    sub->core.flags = PL_SUB_NO_LOCAL | PL_SUB_NOTES;
    pl_session_subscribe(&p->core, &sub->core,
        &(struct pl_subscribe_options){.from_start = true, .claims = true}, 0);
    struct pl_message draft = {
        .subject = pl_bytes_text(channel), .payload = pl_bytes_text(note), .is_note = true};
    if (note)
        CHECK_EQ(probe_send(p, draft, 0), PL_OK);
    return sub;
}

static const char *past_of(struct world *w, const char *channel)
{
    static char text[PROBE_LOG];
    struct probe *p = probe_new(w, 0);
    struct probe_sub *sub =
        probe_subscribe(p, channel, (struct probe_sub_options){.from_start = true});
    world_run(w);
    (void)snprintf(text, sizeof text, "%s", p->log);
    probe_gone(p, (struct probe_sub *[]){sub, NULL});
    return text;
}

TEST(a_claimed_subject_keeps_what_any_session_publishes_to_it)
{
    struct world w;
    world_with_claims(&w, 2, 10, 3);
    struct probe *a = probe_new(&w, 0), *other = probe_new(&w, 1);
    probe_publish(other, "room", "0");
    world_run(&w);
    struct probe_sub *sa = member_joins(a, "room", NULL);
    world_run(&w);
    for (const char *const *text = (const char *const[]){"1", "2", "3", "4", NULL}; *text; text++)
        probe_publish(other, "room", *text);
    probe_publish(other, "elsewhere", "5");
    world_run(&w);
    CHECK_STR(a->log, "sub ok; replayed ok; room=1; room=2; room=3; room=4; ");
    CHECK_STR(past_of(&w, "room"),
        "sub ok; history room=2; history room=3; history room=4; replayed ok; ");
    CHECK_STR(past_of(&w, "elsewhere"), "sub ok; replayed ok; ");
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    probe_gone(other, NULL);
    world_done(&w);
}

TEST(a_note_is_told_to_later_members_and_to_nobody_else)
{
    struct world w;
    world_with_claims(&w, 1, 10, 200);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0);
    struct probe_sub *sa = member_joins(a, "room", "I am a");
    world_run(&w);
    struct probe_sub *sb = member_joins(b, "room", "I am b");
    world_run(&w);
    CHECK_STR(a->log, "sub ok; replayed ok; ");
    CHECK_STR(b->log, "sub ok; history room=I am a; replayed ok; ");
    CHECK_STR(past_of(&w, "room"), "sub ok; replayed ok; ");
    CHECK_STR(past_of(&w, ">"), "sub ok; replayed ok; ");
    pl_session_read_log(&b->core, sb->core.pattern, (struct pl_cursor){0}, 100, 0);
    probe_clear(b);
    world_run(&w);
    CHECK_STR(b->log, "log ok; ");
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    probe_gone(b, (struct probe_sub *[]){sb, NULL});
    world_done(&w);
}

TEST(what_a_member_says_in_the_turn_of_its_join_comes_to_others_once_and_not_to_itself)
{
    struct world w;
    world_with_claims(&w, 2, 10, 1000);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 1);
    struct probe_sub *sa = member_joins(a, "room", "I am a");
    /* More than one step of a replay has. */
    for (int i = 0; i < 300; i++)
        probe_publish(a, "room", "x");
    world_run(&w);
    struct probe_sub *sb = member_joins(b, "room", "I am b");
    probe_publish(b, "room", "b1");
    pl_worker_turn(&w.workers[1]);
    probe_publish(a, "room", "a1");
    probe_publish(b, "room", "b2");
    world_run(&w);
    CHECK_EQ(b->received, 302); /* a's note, 300, a1 */
    CHECK(strstr(b->log, "room=a1; ") && !strstr(b->log, "room=b"));
    CHECK_STR(a->log, "sub ok; replayed ok; room=b1; room=b2; ");
    struct probe *c = probe_new(&w, 0);
    struct probe_sub *sc = member_joins(c, "room", NULL);
    world_run(&w);
    CHECK_EQ(c->received, 305);
    CHECK(strstr(c->log, "history room=x; history room=I am b; history room=b1; "));
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    probe_gone(b, (struct probe_sub *[]){sb, NULL});
    probe_gone(c, (struct probe_sub *[]){sc, NULL});
    world_done(&w);
}

TEST(a_channel_outlives_its_members_and_is_forgotten_long_after_its_last_use)
{
    struct world w;
    world_with_claims(&w, 1, 10, 200);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0);
    struct probe_sub *sa = member_joins(a, "room", "I am a");
    world_run(&w);
    world_pass(&w, AGE * 3); /* a member is there */
    probe_publish(b, "room", "1");
    world_run(&w);
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    world_pass(&w, AGE - 1);
    probe_publish(b, "room", "2");
    world_run(&w);
    world_pass(&w, AGE - 1);
    CHECK_STR(past_of(&w, "room"), "sub ok; history room=1; history room=2; replayed ok; ");
    world_pass(&w, AGE);
    CHECK_STR(past_of(&w, "room"), "sub ok; replayed ok; ");
    probe_publish(b, "room", "3");
    world_run(&w);
    CHECK_STR(past_of(&w, "room"), "sub ok; replayed ok; ");
    struct pl_realm_stats stats;
    pl_realm_stats(w.realm, &stats);
    CHECK(stats.history_count == 0 && stats.history_bytes == 0);
    probe_gone(b, NULL);
    world_done(&w);
}

TEST(of_too_many_channels_the_one_unused_the_longest_goes_and_none_in_use)
{
    struct world w;
    world_with_claims(&w, 1, 2, 200);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0), *c = probe_new(&w, 0);
    struct probe_sub *sa = member_joins(a, "one", NULL), *sb = member_joins(b, "two", NULL);
    probe_publish(a, "one", "1");
    probe_publish(b, "two", "2");
    world_run(&w);
    member_joins(c, "three", NULL);
    world_run(&w);
    CHECK_STR(c->log, "sub LIMIT; ");
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    struct probe_sub *sc = member_joins(c, "three", NULL);
    world_run(&w);
    CHECK_STR(past_of(&w, "one"), "sub ok; replayed ok; ");
    CHECK_STR(past_of(&w, "two"), "sub ok; history two=2; replayed ok; ");
    probe_gone(b, (struct probe_sub *[]){sb, NULL});
    probe_gone(c, (struct probe_sub *[]){sc, NULL});
    world_done(&w);
}

TEST(the_operators_rule_comes_before_a_claim)
{
    struct world w;
    world_with_claims(&w, 1, 2, 200);
    struct pl_history_rule rule = {.limit = 1};
    REQUIRE(pl_pattern_parse(PL_BYTES("chat.>"), &rule.pattern) == PL_OK);
    REQUIRE(pl_realm_add_history(w.realm, rule) == PL_OK);
    struct probe *a = probe_new(&w, 0);
    struct probe_sub *sa = member_joins(a, "chat.x", "I am a");
    probe_publish(a, "chat.x", "1");
    probe_publish(a, "chat.x", "2");
    world_run(&w);
    CHECK_STR(past_of(&w, "chat.x"), "sub ok; history chat.x=2; replayed ok; ");
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    world_pass(&w, AGE * 2);
    CHECK_STR(past_of(&w, "chat.x"), "sub ok; history chat.x=2; replayed ok; ");
    world_done(&w);
}

TEST(a_channel_that_was_forgotten_does_not_break_the_cursor_of_an_operators_rule)
{
    struct world w;
    world_with_claims(&w, 1, 10, 1);
    struct pl_history_rule rule = {.limit = 10};
    REQUIRE(pl_pattern_parse(PL_BYTES("chat.>"), &rule.pattern) == PL_OK);
    REQUIRE(pl_realm_add_history(w.realm, rule) == PL_OK);
    struct probe *a = probe_new(&w, 0);
    struct probe_sub *sa = member_joins(a, "room", NULL);
    world_run(&w);
    struct pl_cursor start = {.epoch = a->cursor.epoch};
    probe_publish(a, "chat.x", "1");
    probe_publish(a, "room", "2");
    world_run(&w);
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    world_pass(&w, AGE);
    struct probe *b = probe_new(&w, 0);
    struct probe_sub_options from_start = {.has_cursor = true, .cursor = start};
    struct probe_sub *s1 = probe_subscribe(b, "chat.*", from_start);
    struct probe_sub *s2 = probe_subscribe(b, "room", from_start);
    world_run(&w);
    CHECK_STR(b->log, "sub ok recovered; history chat.x=1; replayed ok; sub ok; replayed ok; ");
    probe_gone(b, (struct probe_sub *[]){s1, s2, NULL});
    world_done(&w);
}

/* ---- Seats ---- */

static struct probe *sits_down(struct world *w, uint32_t worker)
{
    struct probe *p = probe_alloc(w, worker);
    world_run(w);
    pl_session_join_at(&p->core, PL_BYTES("seat"), 0);
    world_run(w);
    return p;
}

TEST(a_seat_is_one_sessions_as_long_as_it_holds_it)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = sits_down(&w, 0), *b = sits_down(&w, 1), *c = sits_down(&w, 0);
    CHECK_STR(a->log, "join ok; contested; ");
    CHECK_STR(b->log, "");
    CHECK_STR(c->log, "join EXISTS; ");
    pl_session_hold_seat(&a->core);
    world_run(&w);
    CHECK_STR(b->log, "join EXISTS; ");
    struct probe *d = sits_down(&w, 1);
    CHECK_STR(a->log, "join ok; contested; contested; ");
    probe_gone(a, NULL);
    CHECK_STR(d->log, "join ok; ");
    probe_gone(b, NULL);
    probe_gone(c, NULL);
    struct probe *e = sits_down(&w, 0);
    CHECK_STR(d->log, "join ok; contested; ");
    probe_gone(d, NULL);
    CHECK_STR(e->log, "join ok; ");
    probe_gone(e, NULL);
    struct probe *f = sits_down(&w, 0);
    CHECK_STR(f->log, "join ok; ");
    probe_gone(f, NULL);
    world_done(&w);
}

TEST(who_leaves_while_it_waits_for_a_seat_does_not_get_it)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = sits_down(&w, 0), *b = sits_down(&w, 1);
    probe_gone(b, NULL);
    struct probe *c = sits_down(&w, 1);
    pl_session_leave(&c->core, false);
    probe_gone(a, NULL);
    world_run(&w);
    CHECK(c->has_left);
    probe_gone(c, NULL);
    struct probe *d = sits_down(&w, 0);
    CHECK_STR(d->log, "join ok; ");
    probe_gone(d, NULL);
    world_done(&w);
}

TEST(who_waited_for_a_seat_takes_the_leavers_place_in_a_full_realm)
{
    struct world w;
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.sessions_max = 1;
    world_init_limits(&w, 1, &limits);
    struct probe *a = sits_down(&w, 0), *b = sits_down(&w, 0);
    struct probe *c = probe_alloc(&w, 0);
    world_run(&w);
    pl_session_leave(&a->core, false);
    pl_session_join(&c->core, 0);
    world_run(&w);
    CHECK_STR(b->log, "join ok; ");
    CHECK_STR(c->log, "join LIMIT; ");
    probe_gone(a, NULL);
    probe_gone(b, NULL);
    probe_gone(c, NULL);
    world_done(&w);
}
