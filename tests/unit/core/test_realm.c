/* Sessions of a realm, driven by hand: no socket, no thread, no clock. */
#include "probe.h"

#include "core/retained.h"

#define NO_OPTIONS ((struct probe_sub_options){0})

static struct pl_message *will_of(const char *subject, const char *payload)
{
    struct pl_message draft = {
        .subject = pl_bytes_text(subject), .payload = pl_bytes_text(payload)};
    struct pl_message *kept = pl_message_keep(&draft);
    pl_message_done(&draft);
    return kept;
}

TEST(a_message_reaches_each_matching_subscription_once_and_in_order)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 1), *c = probe_new(&w, 0);
    struct probe_sub *sa = probe_subscribe(a, "plant.>", (struct probe_sub_options){.form = 1});
    struct probe_sub *sb = probe_subscribe(b, "plant.*.temp", NO_OPTIONS);
    world_run(&w);
    CHECK_EQ(probe_publish(c, "plant.1.temp", "1"), PL_OK);
    CHECK_EQ(probe_publish(c, "plant.1.temp", "2"), PL_OK);
    CHECK_EQ(probe_publish(c, "plant.1", "3"), PL_OK);
    CHECK_EQ(probe_publish(c, "other", "4"), PL_OK);
    world_run(&w);
    CHECK_STR(a->log, "sub ok; plant.1.temp=1; plant.1.temp=2; plant.1=3; ");
    CHECK_STR(b->log, "sub ok; plant.1.temp=1; plant.1.temp=2; ");
    CHECK_STR(c->log, "");
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    probe_gone(b, (struct probe_sub *[]){sb, NULL});
    probe_gone(c, NULL);
    world_done(&w);
}

TEST(answers_stand_in_one_order_with_deliveries)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0);
    struct pl_message draft = {.subject = PL_BYTES("x"), .payload = PL_BYTES("1")};
    probe_send(a, draft, PL_WANT_DONE);
    struct probe_sub *sub = probe_subscribe(a, "x", (struct probe_sub_options){.form = 3});
    probe_send(a, draft, PL_WANT_DONE);
    probe_send(a, draft, 0);
    pl_session_fence(&a->core, 0);
    pl_session_unsubscribe(&a->core, &sub->core, 0);
    probe_send(a, draft, PL_WANT_DONE);
    world_run(&w);
    /* What was published before an unsubscribe of the same turn still comes. */
    CHECK_STR(a->log, "pub 0; sub ok; x=1; pub 1; x=1; fence ok; unsub ok; pub 0; ");
    probe_gone(a, NULL);
    world_done(&w);
}

TEST(nobody_hears_himself_who_does_not_want_to)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0);
    struct probe_sub *sa =
        probe_subscribe(a, "x", (struct probe_sub_options){.form = 3, .flags = PL_SUB_NO_LOCAL});
    world_run(&w);
    probe_clear(a);
    probe_publish(a, "x", "own");
    probe_publish(b, "x", "other");
    world_run(&w);
    CHECK_STR(a->log, "x=other; ");
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    probe_gone(b, NULL);
    world_done(&w);
}

TEST(a_request_that_nobody_hears_is_told_at_once)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0);
    struct pl_message draft = {.subject = PL_BYTES("service"), .reply = PL_BYTES("_INBOX.a.1")};
    probe_send(a, draft, PL_WANT_RESPONDERS);
    world_run(&w);
    CHECK_STR(a->log, "pub NO_RESPONDERS; ");
    CHECK_EQ(w.workers[0].counters.no_responders, 1);
    probe_gone(a, NULL);
    world_done(&w);
}

TEST(a_queue_group_gives_each_message_to_one_member_and_uses_all)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 1), *c = probe_new(&w, 0);
    struct probe_sub_options by_name = {.queue = "g", .form = 1, .flags = PL_SUB_QUEUE_BY_NAME};
    struct probe_sub *sa = probe_subscribe(a, "job.*", by_name);
    struct probe_sub *sb = probe_subscribe(b, "job.>", (struct probe_sub_options){.queue = "g"});
    world_run(&w);
    for (int i = 0; i < 1000; i++)
        probe_publish(c, "job.1", "x");
    world_run(&w);
    CHECK_EQ(a->received + b->received, 1000);
    CHECK(a->received > 300 && b->received > 300);
    probe_gone(a, (struct probe_sub *[]){sa, NULL});
    probe_gone(b, (struct probe_sub *[]){sb, NULL});
    probe_gone(c, NULL);
    world_done(&w);
}

TEST(retained_values_come_once_to_a_new_subscription_however_many_they_are)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0);
    char subject[32];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(subject, sizeof subject, "r.%d", i);
        struct pl_message draft = {
            .subject = pl_bytes_text(subject), .payload = PL_BYTES("v"), .retain = true};
        pl_session_publish(&a->core, &draft, NULL, 0, 0);
        world_run(&w);
    }
    struct probe_sub *sub =
        probe_subscribe(b, "r.*", (struct probe_sub_options){.replay = PL_REPLAY_RETAINED});
    pl_worker_turn(&w.workers[0]);
    world_run(&w);
    CHECK_EQ(b->received, 1000);
    CHECK(strstr(b->log, "replayed ok; ") != NULL);
    probe_gone(a, NULL);
    probe_gone(b, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

static void add_history(struct world *w, const char *pattern, uint32_t limit)
{
    struct pl_history_rule rule = {.limit = limit};
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(pattern), &rule.pattern), PL_OK);
    CHECK_EQ(pl_realm_add_history(w->realm, rule), PL_OK);
}

TEST(history_is_read_from_a_cursor_without_gap_or_double)
{
    struct world w;
    world_init(&w, 1);
    add_history(&w, "chat.>", 1000);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0);
    char payload[16];
    struct probe_sub *first = probe_subscribe(b, "chat.*", NO_OPTIONS);
    world_run(&w);
    pl_session_unsubscribe(&b->core, &first->core, 0);
    world_run(&w);
    for (int i = 0; i < 600; i++) {
        (void)snprintf(payload, sizeof payload, "%d", i);
        probe_publish(a, "chat.room", payload);
        world_run(&w);
    }
    struct pl_cursor cursor = b->cursor;
    probe_clear(b);
    b->received = 0;
    struct probe_sub *sub = probe_subscribe(
        b, "chat.*", (struct probe_sub_options){.has_cursor = true, .cursor = cursor});
    for (int i = 600; i < 610; i++) {
        (void)snprintf(payload, sizeof payload, "%d", i);
        probe_publish(a, "chat.room", payload);
        pl_worker_turn(&w.workers[0]);
    }
    world_run(&w);
    CHECK_EQ(b->received, 610);
    CHECK(strncmp(b->log, "sub ok recovered; ", 18) == 0);
    const char *at = b->log;
    char expected[40];
    for (int i = 0; i < 610 && at; i++) {
        (void)snprintf(expected, sizeof expected, "chat.room=%d; ", i);
        at = strstr(at, expected);
        CHECK(at != NULL);
    }
    probe_gone(a, NULL);
    probe_gone(b, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(a_cursor_whose_messages_were_dropped_is_not_recovered)
{
    struct world w;
    world_init(&w, 1);
    add_history(&w, "chat.>", 2);
    struct probe *a = probe_new(&w, 0);
    for (int i = 0; i < 5; i++)
        probe_publish(a, "chat.room", "x");
    world_run(&w);
    struct pl_cursor start = {.epoch = 7, .offset = 0};
    struct probe_sub *all = probe_subscribe(
        a, "chat.room", (struct probe_sub_options){.has_cursor = true, .cursor = start});
    struct probe_sub *strict = probe_subscribe(a, "chat.*",
        (struct probe_sub_options){.has_cursor = true, .cursor = start, .is_strict = true});
    world_run(&w);
    CHECK_STR(a->log, "sub ok; history chat.room=x; history chat.room=x; replayed ok; sub ok; ");
    probe_gone(a, (struct probe_sub *[]){all, strict, NULL});
    world_done(&w);
}

TEST(a_named_session_gets_what_came_while_it_was_away_on_another_worker)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0), *c = probe_new(&w, 0);
    world_run(&w);
    struct probe_sub *sub = probe_subscribe(a, "x", NO_OPTIONS);
    world_run(&w);
    a->core.out = NULL;
    pl_session_detach(&a->core, true);
    world_run(&w);
    probe_publish(c, "x", "away");
    world_run(&w);
    CHECK_STR(a->log, "claim ok; sub ok; x=away; ");
    probe_clear(a);

    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]); /* the claim runs; worker 0 has not given the session yet */
    probe_publish(c, "x", "early");
    pl_worker_turn(&w.workers[0]);
    world_run(&w);
    CHECK(b->became == a);
    CHECK(a->core.worker == &w.workers[1]);
    CHECK_STR(a->log, "back; x=early; ");
    CHECK_STR(b->log, "claim resumed; leave ok; ");
    probe_free(b);
    probe_gone(c, NULL);
    a->core.out = NULL;
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(a_session_can_be_taken_over_again_before_it_arrived)
{
    struct world w;
    world_init(&w, 3);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0), *p = probe_new(&w, 0);
    world_run(&w);
    struct probe_sub *sub = probe_subscribe(a, "x", NO_OPTIONS);
    world_run(&w);
    probe_clear(a);
    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    struct probe *c = probe_claim(&w, 2, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]);
    pl_worker_turn(&w.workers[2]);
    probe_publish(p, "x", "1");
    world_run(&w);
    CHECK(b->became == a && c->became == a);
    CHECK(a->core.worker == &w.workers[2]);
    CHECK_STR(a->log, "ended: another connection took the session over; back; ended: another "
                      "connection took the session over; back; x=1; ");
    probe_free(b);
    probe_free(c);
    probe_gone(p, NULL);
    a->core.out = NULL;
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(two_claims_from_one_worker_get_the_session_one_after_the_other)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0), *p = probe_new(&w, 0);
    world_run(&w);
    struct probe_sub *sub = probe_subscribe(a, "x", NO_OPTIONS);
    world_run(&w);
    probe_clear(a);
    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]);
    probe_publish(p, "x", "1");
    pl_worker_turn(&w.workers[0]); /* gives the session away; worker 1 has not looked yet */
    struct probe *c = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    struct probe *d = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]);
    probe_publish(p, "x", "2");
    world_run(&w);
    CHECK(b->became == a && c->became == a && d->became == a);
    CHECK(a->core.out == &d->out);
    const char *one = strstr(a->log, "x=1; "), *two = strstr(a->log, "x=2; ");
    CHECK(one && two && one < two);
    size_t goodbyes = 0;
    for (const char *at = a->log; (at = strstr(at, "ended: another")); at++)
        goodbyes++;
    CHECK_EQ(goodbyes, 3);
    probe_free(b);
    probe_free(c);
    probe_free(d);
    probe_gone(p, NULL);
    a->core.out = NULL;
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(two_claims_at_once_from_one_worker_while_the_session_is_elsewhere)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0), *p = probe_new(&w, 0);
    world_run(&w);
    struct probe_sub *sub = probe_subscribe(a, "x", NO_OPTIONS);
    world_run(&w);
    probe_clear(a);
    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    struct probe *c = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]); /* both claims run; worker 0 has given nothing yet */
    probe_publish(p, "x", "1");
    world_run(&w);
    CHECK(b->became == a && c->became == a);
    CHECK(a->core.out == &c->out);
    CHECK_STR(a->log, "ended: another connection took the session over; back; ended: another "
                      "connection took the session over; back; x=1; ");
    probe_free(b);
    probe_free(c);
    probe_gone(p, NULL);
    a->core.out = NULL;
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(a_clean_claim_ends_the_older_session_and_sends_its_will)
{
    struct world w;
    world_init(&w, 2);
    struct probe *watch = probe_new(&w, 0);
    struct probe_sub *sub = probe_subscribe(watch, "will", NO_OPTIONS);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, will_of("will", "a died"), 5000);
    world_run(&w);
    struct probe *b = probe_claim(&w, 1, "dev", true, 0, NULL, 0);
    world_run(&w);
    CHECK_STR(watch->log, "sub ok; will=a died; ");
    CHECK_STR(
        a->log, "claim ok; ended: another connection took the session over; leave TAKEN_OVER; ");
    CHECK_STR(b->log, "claim ok; ");
    probe_free(a);
    probe_gone(b, NULL);
    probe_gone(watch, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(a_delayed_will_is_dropped_by_a_return_and_sent_by_time)
{
    struct world w;
    world_init(&w, 1);
    struct probe *watch = probe_new(&w, 0);
    struct probe_sub *sub = probe_subscribe(watch, "will", NO_OPTIONS);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, will_of("will", "1"), 5000);
    world_run(&w);
    a->core.out = NULL;
    pl_session_detach(&a->core, true);
    world_run(&w);
    world_pass(&w, 4000);
    struct probe *b = probe_claim(&w, 0, "dev", false, 60000, will_of("will", "2"), 5000);
    world_run(&w);
    world_pass(&w, 9000);
    CHECK_STR(watch->log, "sub ok; ");
    a->core.out = NULL;
    pl_session_detach(&a->core, true);
    world_run(&w);
    world_pass(&w, 5001);
    CHECK_STR(watch->log, "sub ok; will=2; ");
    world_pass(&w, 60000);
    CHECK(a->has_left);
    probe_free(a);
    probe_free(b);
    probe_gone(watch, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

TEST(rights_hold_for_publishing_subscribing_and_replies)
{
    struct world w;
    world_init(&w, 1);
    struct probe *boss = probe_new(&w, 0);
    pl_identity_unref(w.identity);
    w.identity = pl_identity_new();
    static const struct {
        enum pl_action action;
        bool deny;
        const char *pattern;
    } rights[] = {
        {PL_PUBLISH, false, "dev.1.#"},
        {PL_SUBSCRIBE, false, "dev.1.#"},
        {PL_SUBSCRIBE, true, "dev.1.secret"},
    };
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++) {
        struct pl_pattern *pattern;
        CHECK_EQ(pl_pattern_parse(pl_bytes_text(rights[i].pattern), &pattern), PL_OK);
        CHECK_EQ(
            pl_identity_add_pattern(w.identity, rights[i].action, rights[i].deny, pattern), PL_OK);
    }
    w.identity->expires_unix_ms = PL_NEVER;
    struct probe *dev = probe_new(&w, 0);
    CHECK_EQ(probe_publish(dev, "dev.2", "no"), PL_DENIED);
    CHECK_EQ(probe_publish(dev, "$SYS.x", "no"), PL_DENIED);
    CHECK_EQ(probe_publish(boss, "$SYS.x", "no"), PL_DENIED);
    CHECK_EQ(probe_publish(dev, "dev.1.a", "yes"), PL_OK);
    struct probe_sub *own = probe_subscribe(dev, "dev.1.#", (struct probe_sub_options){.form = 9});
    (void)probe_subscribe(dev, "dev.*", NO_OPTIONS);
    (void)probe_subscribe(dev, ">", NO_OPTIONS);
    world_run(&w);
    probe_publish(boss, "dev.1.secret", "hidden");
    probe_publish(boss, "dev.1", "seen");
    world_run(&w);
    CHECK_STR(dev->log, "sub ok; sub DENIED; sub DENIED; dev.1=seen; ");

    struct pl_message request = {
        .subject = PL_BYTES("dev.1.ask"), .reply = PL_BYTES("_INBOX.boss.1")};
    CHECK_EQ(probe_publish(dev, "_INBOX.boss.1", "early"), PL_DENIED);
    probe_send(boss, request, 0);
    world_run(&w);
    CHECK_EQ(probe_publish(dev, "_INBOX.boss.1", "answer"), PL_OK);
    CHECK_EQ(probe_publish(dev, "_INBOX.boss.1", "again"), PL_DENIED);
    probe_send(boss, request, 0);
    world_run(&w);
    world_pass(&w, 31000);
    CHECK_EQ(probe_publish(dev, "_INBOX.boss.1", "late"), PL_DENIED);
    probe_gone(dev, (struct probe_sub *[]){own, NULL});
    probe_gone(boss, NULL);
    world_done(&w);
}

TEST(a_session_ends_when_its_identity_expires)
{
    struct world w;
    world_init(&w, 1);
    w.identity->expires_unix_ms = w.now_ms + 1000000 + 5000;
    struct probe *a = probe_new(&w, 0);
    world_pass(&w, 4999);
    CHECK_STR(a->log, "");
    world_pass(&w, 2);
    CHECK_STR(a->log, "ended: the login has expired; leave ok; ");
    probe_gone(a, NULL);
    world_done(&w);
}

static enum pl_err give_identity(
    void *context, const struct pl_identity *now, struct pl_identity **out)
{
    (void)now;
    *out = pl_identity_ref(context);
    return PL_OK;
}

TEST(a_withdrawn_right_ends_the_session_that_uses_it)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_new(&w, 1), *b = probe_new(&w, 0);
    struct probe_sub *sub = probe_subscribe(a, "x", NO_OPTIONS);
    world_run(&w);
    struct pl_identity *less = pl_identity_new();
    less->expires_unix_ms = PL_NEVER;
    pl_realm_review(w.realm, &w.workers[0], give_identity, less);
    world_run(&w);
    CHECK_STR(a->log, "sub ok; ended: the right was withdrawn; leave ok; ");
    CHECK_STR(b->log, "");
    CHECK_EQ(probe_publish(b, "x", "1"), PL_DENIED);
    pl_identity_unref(less);
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    probe_gone(b, NULL);
    world_done(&w);
}

TEST(new_rights_come_too_late_for_a_session_that_goes_in_the_same_turn)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_claim(&w, 0, "dev", false, 0, NULL, 0);
    world_run(&w);
    a->frees_itself = true;
    pl_realm_review(w.realm, &w.workers[0], give_identity, w.identity);
    pl_session_detach(&a->core, false); /* nothing stays of it */
    world_run(&w);
    world_done(&w);
}

static enum pl_err end_it(void *context, const struct pl_identity *now, struct pl_identity **out)
{
    (void)context;
    (void)now;
    (void)out;
    return PL_REVOKED;
}

TEST(an_end_comes_too_late_for_a_session_that_goes_in_the_same_turn)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_claim(&w, 0, "dev", false, 0, NULL, 0);
    world_run(&w);
    a->frees_itself = true;
    pl_realm_review(w.realm, &w.workers[0], end_it, NULL);
    pl_session_detach(&a->core, false);
    world_run(&w);
    world_done(&w);
}

TEST(each_slow_policy_does_what_it_says)
{
    struct world w;
    world_init(&w, 1);
    struct probe *p = probe_new(&w, 0);
    struct probe *readers[4];
    struct probe_sub *subs[4];
    for (uint8_t i = 0; i < 4; i++) {
        readers[i] = probe_new(&w, 0);
        readers[i]->out.bytes_max = 20;
        subs[i] =
            probe_subscribe(readers[i], ">", (struct probe_sub_options){.form = 1, .slow = i});
    }
    world_run(&w);
    probe_publish(p, "a", "0123456789012345678901234567890"); /* over every limit from here on */
    world_run(&w);
    for (int i = 0; i < 4; i++)
        probe_clear(readers[i]);
    probe_publish(p, "a", "1");
    world_run(&w);
    probe_publish(p, "b", "2");
    world_run(&w);
    probe_publish(p, "a", "3");
    world_run(&w);
    CHECK_STR(readers[PL_SLOW_DISCONNECT]->log, "ended: the client reads too slowly; leave ok; ");
    for (int i = 0; i < 4; i++) { /* they read again */
        size_t n = readers[i]->out.bytes;
        struct pl_chunk *chunks = pl_output_take(&readers[i]->out);
        pl_chunk_advance(&w.workers[0].outputs, &chunks, n);
        pl_output_sent(&readers[i]->out, n);
    }
    world_run(&w);
    CHECK_STR(readers[PL_SLOW_DROP_NEWEST]->log, "");
    CHECK_STR(readers[PL_SLOW_DROP_OLDEST]->log, "a=1; b=2; a=3; ");
    CHECK_STR(readers[PL_SLOW_KEEP_LATEST]->log, "a=3; b=2; ");
    CHECK_EQ(w.workers[0].counters.cut_slow, 1);
    for (int i = 0; i < 4; i++)
        probe_gone(readers[i], (struct probe_sub *[]){subs[i], NULL});
    probe_gone(p, NULL);
    world_done(&w);
}

TEST(a_session_that_leaves_while_its_login_is_open_is_answered_first)
{
    struct world w;
    world_init(&w, 1);
    w.holds_logins = true;
    struct probe *a = probe_alloc(&w, 0);
    pl_session_leave(&a->core, false);
    world_run(&w);
    CHECK_STR(a->log, "");
    pl_worker_logged_in(&w.workers[0], w.held, PL_OK, pl_identity_ref(w.identity), w.realm, 0);
    world_run(&w);
    CHECK_STR(a->log, "login CLOSED; leave ok; ");
    probe_free(a);
    world_done(&w);
}

TEST(a_claimer_that_leaves_early_leaves_the_older_session_detached)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    world_run(&w);
    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]);
    pl_session_leave(&b->core, false);
    world_run(&w);
    CHECK_STR(b->log, "claim CLOSED; leave ok; ");
    struct pl_realm_stats stats;
    pl_realm_stats(w.realm, &stats);
    CHECK_EQ(stats.sessions, 1);
    CHECK_EQ(stats.sessions_detached, 1);
    probe_free(b);
    probe_gone(a, NULL);
    world_done(&w);
}

TEST(expired_messages_are_left_out_of_a_stretch)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0);
    struct probe_sub *sub = probe_subscribe(a, "x", (struct probe_sub_options){.form = 1});
    world_run(&w);
    probe_clear(a);
    struct pl_properties gone = {.expires_ms = w.now_ms}, fresh = {.expires_ms = w.now_ms + 1};
    struct pl_message draft = {.subject = PL_BYTES("x"), .payload = PL_BYTES("gone")};
    draft.properties = &gone;
    probe_send(a, draft, 0);
    draft.payload = PL_BYTES("fresh");
    draft.properties = &fresh;
    probe_send(a, draft, 0);
    world_run(&w);
    CHECK_STR(a->log, "x=fresh; ");
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

/* The room for items is made in steps: a batch of every length must hold what is answered behind
 * messages that need much of it. */
static void answered_behind(uint32_t before, bool by_will)
{
    enum { GROUPS = 12 };
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0), *b = probe_new(&w, 0);
    struct probe_sub *subs[GROUPS + 1] = {0};
    for (int i = 0; i < GROUPS; i++) {
        char queue[16];
        (void)snprintf(queue, sizeof queue, "g%d", i);
        subs[i] = probe_subscribe(a, "x", (struct probe_sub_options){.queue = queue});
    }
    struct probe *c = probe_claim(&w, 0, "dev", true, 0, will_of("x", "will"), 0);
    world_run(&w);
    for (uint32_t i = 0; i < before; i++)
        pl_session_fence(&b->core, i);
    struct pl_message draft = {.subject = PL_BYTES("x"), .payload = PL_BYTES("1")};
    if (by_will)
        pl_session_leave(&c->core, true);
    else
        probe_send(b, draft, PL_WANT_DONE);
    world_run(&w);
    CHECK_EQ(a->received, GROUPS);
    CHECK(by_will ? c->has_left : strstr(b->log, "pub 12; ") != NULL);
    probe_gone(a, subs);
    probe_gone(b, NULL);
    probe_gone(c, NULL);
    world_done(&w);
}

TEST(every_answer_finds_its_room_behind_messages_to_many_groups)
{
    for (uint32_t before = 40; before < 70; before++) {
        answered_behind(before, false);
        answered_behind(before, true);
    }
}

static struct pl_identity *identity_of(const char *subscribe, const char *publish)
{
    struct pl_identity *identity = pl_identity_new();
    struct pl_pattern *pattern;
    CHECK(identity != NULL);
    identity->user = PL_BYTES("ann");
    identity->expires_unix_ms = PL_NEVER;
    CHECK(pl_pattern_parse(pl_bytes_text(subscribe), &pattern) == PL_OK);
    CHECK(pl_identity_add_pattern(identity, PL_SUBSCRIBE, false, pattern) == PL_OK);
    CHECK(pl_pattern_parse(pl_bytes_text(publish), &pattern) == PL_OK);
    CHECK(pl_identity_add_pattern(identity, PL_PUBLISH, false, pattern) == PL_OK);
    return identity;
}

/* The old connection closes in the turn in which the new one claims: the session is the new one's
 * by then. */
TEST(a_connection_that_closes_behind_a_claim_does_not_detach_what_was_claimed)
{
    for (uint32_t worker = 0; worker < 2; worker++) {
        struct world w;
        world_init(&w, 2);
        struct probe *a = probe_claim(&w, 0, "dev", false, 60000, will_of("x", "1"), 0);
        world_run(&w);
        struct probe *b = probe_claim(&w, worker, "dev", false, 60000, will_of("x", "2"), 0);
        pl_session_set_expiry(&a->core, 0);
        pl_session_detach(&a->core, false);
        pl_worker_turn(&w.workers[worker]);
        world_run(&w);
        CHECK_STR(b->log, "claim resumed; leave ok; ");
        CHECK(b->became == a && a->core.out == &b->out);
        struct pl_realm_stats stats;
        pl_realm_stats(w.realm, &stats);
        CHECK_EQ(stats.sessions, 1);
        CHECK_EQ(stats.sessions_detached, 0);
        world_pass(&w, 100000);
        CHECK(!a->has_left);
        a->core.out = NULL;
        probe_free(b);
        probe_gone(a, NULL);
        world_done(&w);
    }
}

TEST(a_session_goes_on_with_the_rights_of_who_claims_it)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    world_run(&w);
    pl_session_detach(&a->core, false);
    a->core.out = NULL;
    world_run(&w);
    pl_identity_unref(w.identity);
    w.identity = identity_of("b.>", "b.>");
    struct probe *b = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    b->asks_at_once = true;
    world_run(&w);
    CHECK_EQ(b->asked_err, PL_DENIED);
    CHECK(b->became == a);
    a->core.out = NULL;
    probe_free(b);
    probe_gone(a, NULL);
    world_done(&w);
}

TEST(a_session_with_subscriptions_that_its_claimer_may_not_have_begins_anew)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    world_run(&w);
    struct probe_sub *sub = probe_subscribe(a, "a.>", NO_OPTIONS);
    world_run(&w);
    pl_session_detach(&a->core, false);
    world_run(&w);
    pl_identity_unref(w.identity);
    w.identity = identity_of("b.>", "b.>");
    struct probe *b = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    world_run(&w);
    CHECK_STR(b->log, "claim ok; ");
    CHECK(a->has_left && !b->became);
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    probe_gone(b, NULL);
    world_done(&w);
}

/* What is asked for behind a change of rights in one turn is asked of the new ones. */
TEST(a_subscription_of_the_turn_in_which_its_right_goes_is_refused)
{
    struct world w;
    world_init(&w, 1);
    struct probe *a = probe_new(&w, 0);
    pl_session_rejoin(&a->core, identity_of("b.>", "b.>"), 0);
    (void)probe_subscribe(a, "a.>", NO_OPTIONS);
    struct probe_sub *sub = probe_subscribe(a, "b.>", NO_OPTIONS);
    world_run(&w);
    CHECK_STR(a->log, "join ok; sub DENIED; sub ok; ");
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    world_done(&w);
}

/* An older login's end does not end the session of a newer one. */
TEST(the_end_of_an_older_login_does_not_end_who_came_after_it)
{
    struct world w;
    world_init(&w, 2);
    struct pl_identity *all = w.identity;
    w.identity = pl_identity_new_all("ann", "all");
    w.identity->expires_unix_ms = w.now_ms + 1000000 + 500;
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    world_run(&w);
    pl_identity_unref(w.identity);
    w.identity = all;
    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    pl_worker_turn(&w.workers[1]); /* claimed, not yet here */
    w.now_ms += 1000;
    for (uint32_t i = 0; i < 2; i++)
        pl_worker_begin(&w.workers[i], w.now_ms, w.now_ms + 1000000);
    pl_realm_tick(w.realm, &w.workers[1]);
    world_run(&w);
    CHECK(b->became == a && !a->has_left && a->core.out == &b->out);
    a->core.out = NULL;
    probe_free(b);
    probe_gone(a, NULL);
    world_done(&w);
}

/* A backlog belongs to the worker whose session it was. */
TEST(what_waits_for_a_slow_reader_does_not_refer_to_a_session_that_went_elsewhere)
{
    struct world w;
    world_init(&w, 2);
    struct probe *a = probe_claim(&w, 0, "dev", false, 60000, NULL, 0);
    world_run(&w);
    struct probe_sub *sub =
        probe_subscribe(a, "x", (struct probe_sub_options){.form = 1, .slow = PL_SLOW_DROP_OLDEST});
    struct probe *c = probe_new(&w, 0);
    a->out.bytes_max = 1;
    for (int i = 0; i < 3; i++) {
        probe_publish(c, "x", "some text");
        world_run(&w);
    }
    CHECK(sub->core.backlog != NULL);
    probe_clear(a);
    struct probe *b = probe_claim(&w, 1, "dev", false, 60000, NULL, 0);
    world_run(&w);
    CHECK(b->became == a && !sub->core.backlog && !w.workers[0].backlogs);
    CHECK_STR(a->log, "ended: another connection took the session over; back; ");
    a->core.out = NULL;
    probe_free(b);
    probe_gone(a, (struct probe_sub *[]){sub, NULL});
    probe_gone(c, NULL);
    world_done(&w);
}

static unsigned home_wakes;

static void count_home_wakes(void *context, struct pl_worker *worker)
{
    (void)context;
    if (worker->index == 0)
        home_wakes++;
}

TEST(a_deadline_before_the_homes_next_tick_moves_the_tick_and_wakes_the_home)
{
    struct world w;
    world_init(&w, 2);
    w.hooks.wake = count_home_wakes;
    struct pl_worker *home = &w.workers[0];
    pl_worker_set_tick(home, w.now_ms + 1000);
    w.identity->expires_unix_ms = w.now_ms + 1000000 + 5000;
    struct probe *late = probe_new(&w, 1);
    home_wakes = 0;
    CHECK_EQ(home->tick_ms, w.now_ms + 1000);
    struct pl_identity *all = w.identity;
    w.identity = pl_identity_new_all("ann", "all");
    w.identity->expires_unix_ms = w.now_ms + 1000000 + 200;
    struct probe *soon = probe_new(&w, 1);
    CHECK_EQ(home->tick_ms, w.now_ms + 200);
    CHECK_EQ(home_wakes, 1);
    pl_worker_set_tick(home, w.now_ms + 1000); /* the tick itself looks again */
    pl_realm_tick(w.realm, home);
    CHECK_EQ(home->tick_ms, w.now_ms + 200);
    world_pass(&w, 200);
    CHECK(soon->has_left && !late->has_left);
    pl_identity_unref(all);
    probe_gone(soon, NULL);
    probe_gone(late, NULL);
    world_done(&w);
}
