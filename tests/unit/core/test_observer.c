/* What sessions are told of each other: notices, words, the log. */
#include "check.h"

#include "base/alloc.h"
#include "core/caller.h"

static struct pl_shared *card_of(const char *text)
{
    struct pl_shared *card = pl_shared_new(strlen(text));
    if (!card)
        abort();
    memcpy(card->data, text, strlen(text));
    card->len = (uint32_t)strlen(text);
    return card;
}

/* One that others are told of. */
static struct probe *visible(struct world *w, uint32_t worker, const char *card)
{
    struct probe *p = probe_alloc(w, worker);
    world_run(w);
    p->core.ops = &caller_ops;
    p->core.card = card_of(card);
    pl_session_join(&p->core, 0);
    world_run(w);
    probe_clear(p);
    return p;
}

TEST(the_observer_is_told_what_sessions_with_a_card_do_in_its_order)
{
    struct world w;
    world_init(&w, 2);
    struct probe *observer = caller_new(&w, 0);
    pl_realm_set_observer(w.realm, &observer->core);
    struct probe *a = visible(&w, 1, "A"), *b = visible(&w, 0, "B"), *unseen = caller_new(&w, 1);
    HEARD(observer, "A joined; B joined; ");
    struct probe_sub *subs[] = {probe_subscribe(a, "s.*", (struct probe_sub_options){0}), NULL};
    struct pl_callee turn = {.invoke = PL_INVOKE_ROUNDROBIN};
    struct pl_callee *of_a = offer(a, "p", turn), *of_b = offer(b, "p", turn);
    struct pl_callee *hidden = offer(unseen, "q", turn);
    HEARD(observer, "A subscribed s.*; A registered p first; B registered p; ");
    withdraw(a, of_a);
    HEARD(observer, "A unregistered p; ");
    pl_session_set_card(&b->core, card_of("B2"));
    world_run(&w);
    probe_gone(b, NULL);
    free(of_b);
    HEARD(observer, "B2 unregistered p last; B2 left; ");
    pl_session_unsubscribe(&a->core, &subs[0]->core, 0);
    world_run(&w);
    probe_gone(a, NULL);
    HEARD(observer, "A unsubscribed s.*; A left; ");
    probe_gone(unseen, NULL);
    free(hidden);
    HEARD(observer, "");
    probe_gone(observer, NULL);
    world_done(&w);
}

TEST(what_a_session_takes_along_is_told_before_it_has_left)
{
    struct world w;
    world_init(&w, 1);
    struct probe *observer = caller_new(&w, 0);
    pl_realm_set_observer(w.realm, &observer->core);
    struct probe *a = visible(&w, 0, "A");
    struct probe_sub *subs[] = {probe_subscribe(a, "s", (struct probe_sub_options){0}), NULL};
    struct pl_callee *callee = offer(a, "p", (struct pl_callee){0});
    probe_clear(observer);
    probe_gone(a, subs);
    free(callee);
    HEARD(observer, "A unregistered p last; A unsubscribed s; A left; ");
    probe_gone(observer, NULL);
    world_done(&w);
}

TEST(a_realm_without_its_observer_goes_on)
{
    struct world w;
    world_init(&w, 1);
    struct probe *observer = caller_new(&w, 0);
    pl_realm_set_observer(w.realm, &observer->core);
    probe_gone(observer, NULL);
    struct probe *a = visible(&w, 0, "A");
    struct pl_callee *callee = offer(a, "p", (struct pl_callee){0});
    HEARD(a, "register ok; ");
    probe_gone(a, NULL);
    free(callee);
    world_done(&w);
}

TEST(a_word_reaches_whom_it_is_for_in_order_with_everything_else)
{
    struct world w;
    world_init(&w, 2);
    struct probe *from = caller_new(&w, 0), *a = visible(&w, 1, "A"), *b = visible(&w, 0, "B");
    struct probe_sub *subs[] = {probe_subscribe(a, "t", (struct probe_sub_options){0}), NULL};
    world_run(&w);
    probe_clear(a);
    uint64_t id = pl_session_public_id(&a->core);
    for (uint32_t kind = 1; kind <= 2; kind++) {
        char text[] = "hello";
        const struct pl_word word = {.kind = kind, .bytes = pl_bytes_text(text)};
        pl_session_tell(&from->core, id, &word);
        memset(text, 'x', 5); /* it was copied */
        CHECK_EQ(probe_publish(from, "t", "1"), PL_OK);
    }
    const struct pl_word lost = {.kind = 3};
    pl_session_tell(&from->core, id + 1, &lost);
    world_run(&w);
    HEARD(a, "told 1 hello; t=1; told 2 hello; t=1; ");
    HEARD(b, "");
    probe_gone(a, subs);
    pl_session_tell(&from->core, id, &lost);
    world_run(&w);
    HEARD(from, "");
    probe_gone(b, NULL);
    probe_gone(from, NULL);
    world_done(&w);
}

/* ---- The log ---- */

struct reader {
    struct pl_session core; /* first */
    struct pl_output out;
    char log[256];
    struct pl_cursor cursor;
    bool has_left;
};

static void reader_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct reader *r = (struct reader *)s;
    size_t len = strlen(r->log);
    r->has_left |= done->kind == PL_DONE_LEAVE;
    if (done->kind != PL_DONE_LOG)
        return;
    r->cursor = done->cursor;
    for (uint32_t i = 0; i < done->message_count; i++)
        len += (size_t)snprintf(r->log + len, sizeof r->log - len, "%.*s ",
            (int)done->messages[i]->payload.len, (const char *)done->messages[i]->payload.data);
    (void)snprintf(r->log + len, sizeof r->log - len, "%s", done->is_end ? "end" : "…");
}

static const struct pl_session_ops reader_ops = {
    .name = "reader", .complete = reader_complete, .ended = probe_ended};

static const char *read_on(
    struct world *w, struct reader *r, struct pl_pattern *pattern, uint32_t max)
{
    r->log[0] = 0;
    pl_session_read_log(&r->core, pattern, r->cursor, max, 0);
    world_run(w);
    return r->log;
}

TEST(the_log_is_read_piece_by_piece_without_a_subscription)
{
    struct world w;
    struct reader r = {0};
    world_init(&w, 1);
    REQUIRE(!pl_realm_add_history(
        w.realm, (struct pl_history_rule){.pattern = pattern_of("h.>"), .limit = 100}));
    pl_output_init(&r.out, &w.workers[0].outputs, 1 << 20);
    pl_session_init(&r.core, &reader_ops, &w.workers[0], &r.out);
    r.core.realm = w.realm;
    r.core.identity = pl_identity_ref(w.identity);
    pl_session_join(&r.core, 0);
    struct probe *p = caller_new(&w, 0);
    static const char *const sent[][2] = {
        {"h.a", "1"}, {"h.b", "2"}, {"x", "3"}, {"h.a", "4"}, {"h.a", "5"}};
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++)
        CHECK_EQ(probe_publish(p, sent[i][0], sent[i][1]), PL_OK);
    world_run(&w);
    struct pl_pattern *some = pattern_of("h.a"), *all = pattern_of("h.*");
    CHECK_STR(read_on(&w, &r, some, 2), "1 4 …");
    CHECK_STR(read_on(&w, &r, some, 2), "5 end");
    CHECK_STR(read_on(&w, &r, some, 2), "end");
    CHECK_EQ(probe_publish(p, "h.a", "6"), PL_OK);
    CHECK_STR(read_on(&w, &r, some, 2), "6 end");
    r.cursor = (struct pl_cursor){1234567, 3}; /* of another log: from the start */
    CHECK_STR(read_on(&w, &r, all, 100), "1 2 4 5 6 end");
    pl_pattern_unref(some);
    pl_pattern_unref(all);
    probe_gone(p, NULL);
    pl_session_leave(&r.core, false);
    world_run(&w);
    CHECK(r.has_left);
    pl_session_done(&r.core);
    pl_output_done(&r.out);
    world_done(&w);
}
