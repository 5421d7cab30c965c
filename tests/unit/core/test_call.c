#include "check.h"

#include "base/alloc.h"
#include "core/caller.h"

#define PLAIN ((struct pl_callee){0})

static const struct pl_callee can_cancel = {.flags = PL_CALLEE_CAN_CANCEL};
static const struct pl_callee takes_parts = {
    .flags = PL_CALLEE_CAN_CANCEL | PL_CALLEE_TAKES_PARTS, .invoke = PL_INVOKE_FIRST};

/* Someone asks, someone on another worker answers. */
struct pair {
    struct world w;
    struct probe *caller, *callee;
    struct pl_callee *offer;
};

static void pair_init(struct pair *pair, struct pl_callee options)
{
    world_init(&pair->w, 2);
    pair->caller = caller_new(&pair->w, 0);
    pair->callee = caller_new(&pair->w, 1);
    pair->offer = offer(pair->callee, "p", options);
    HEARD(pair->callee, "register ok; ");
}

static void pair_done(struct pair *pair)
{
    struct pl_realm_stats stats;
    probe_gone(pair->caller, NULL);
    probe_gone(pair->callee, NULL);
    free(pair->offer);
    pl_realm_stats(pair->w.realm, &stats);
    CHECK_EQ(stats.calls, 0);
    CHECK_EQ(stats.registrations, 0);
    world_done(&pair->w);
}

TEST(a_call_is_answered_once_and_what_comes_later_is_dropped)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "x", 0, 0);
    call(p.caller, "p", "y", 0, 0);
    HEARD(p.callee, "1 p(x); 2 p(y); ");
    yield(p.callee, 2, "Y", 0);
    yield(p.callee, 1, "e.bad", IS_ERROR);
    HEARD(p.caller, "#2 Y; #1 e.bad ; ");
    yield(p.callee, 1, "again", 0);
    yield(p.callee, 2, "again", IS_ERROR);
    yield(p.callee, 3, "never asked", 0);
    yield(p.caller, 1, "not its own", 0);
    cancel(p.caller, 1, PL_CANCEL_KILL);
    HEARD(p.caller, "");
    HEARD(p.callee, "");
    pair_done(&p);
}

TEST(a_call_of_nothing_and_one_without_the_right_are_answered_with_why)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "q", "", 0, 0);
    HEARD(p.caller, "#1 NOT_FOUND; ");
    struct pl_identity *weak = pl_identity_new();
    REQUIRE(weak);
    weak->expires_unix_ms = PL_NEVER;
    pl_session_rejoin(&p.caller->core, weak, 0);
    world_run(&p.w);
    probe_clear(p.caller);
    call(p.caller, "p", "", 0, 0);
    struct pl_callee *refused = offer(p.caller, "r", PLAIN);
    CHECK(refused != NULL);
    HEARD(p.caller, "#2 DENIED; register DENIED; ");
    call(p.caller, "p", "x", PL_CALL_TRUSTED, 0);
    HEARD(p.callee, "1 p(x); ");
    pair_done(&p);
}

TEST(who_may_offer_what)
{
    struct world w;
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.registrations_max = 3;
    world_init_limits(&w, 1, &limits);
    struct probe *a = caller_new(&w, 0), *b = caller_new(&w, 0);
    struct pl_callee turn = {.invoke = PL_INVOKE_ROUNDROBIN}, *offers[4];
    offers[0] = offer(a, "p", PLAIN);
    offers[1] = offer(a, "s", turn);
    offers[2] = offer(b, "s", turn);
    HEARD(a, "register ok; register ok; ");
    HEARD(b, "register ok; ");
    (void)offer(b, "p", PLAIN);
    (void)offer(b, "p", turn);
    (void)offer(a, "s", turn);
    (void)offer(b, "s", (struct pl_callee){.invoke = PL_INVOKE_LAST});
    (void)offer(b, "wamp.x", PLAIN);
    (void)offer(b, "$SYS.>", PLAIN);
    HEARD(a, "register EXISTS; ");
    HEARD(b, "register EXISTS; register EXISTS; register EXISTS; register BAD_NAME; "
             "register BAD_NAME; ");
    offers[3] = offer(a, "t", PLAIN);
    (void)offer(a, "u", PLAIN);
    HEARD(a, "register ok; register LIMIT; ");
    withdraw(a, offers[0]);
    HEARD(a, "unregister ok; ");
    offers[0] = offer(b, "p", PLAIN);
    HEARD(b, "register ok; ");
    probe_gone(a, NULL);
    probe_gone(b, NULL);
    for (int i = 0; i < 4; i++)
        free(offers[i]);
    world_done(&w);
}

TEST(a_reserved_name_is_not_answered_by_who_offers_everything)
{
    struct pair p;
    pair_init(&p, PLAIN);
    struct pl_callee *all[] = {
        offer(p.callee, "~", PLAIN), offer(p.callee, ">", PLAIN), offer(p.callee, "*.x", PLAIN)};
    HEARD(p.callee, "register ok; register ok; register ok; ");
    call(p.caller, "wamp.x", "", 0, 0);
    call(p.caller, "$SYS.x", "", 0, 0);
    HEARD(p.callee, "");
    call(p.caller, "a.x", "", 0, 0);
    HEARD(p.callee, "1 a.x(); ");
    for (int i = 0; i < 3; i++)
        withdraw(p.callee, all[i]);
    pair_done(&p);
}

TEST(progress_reaches_who_wants_it_and_nobody_else)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "", PL_CALL_WANTS_PROGRESS, 0);
    call(p.caller, "p", "", 0, 0);
    HEARD(p.callee, "1 p() progress; 2 p(); ");
    for (uint64_t i = 1; i <= 2; i++) {
        yield(p.callee, i, "a", IS_PROGRESS);
        yield(p.callee, i, "b", IS_PROGRESS);
        yield(p.callee, i, "c", 0);
        yield(p.callee, i, "d", IS_PROGRESS);
    }
    HEARD(p.caller, "#1 a …; #1 b …; #1 c; #2 c; ");
    pair_done(&p);
}

TEST(a_call_is_canceled_in_three_ways)
{
    struct pair p;
    pair_init(&p, can_cancel);
    for (int i = 0; i < 3; i++)
        call(p.caller, "p", "", 0, 0);
    probe_clear(p.callee);
    cancel(p.caller, 1, PL_CANCEL_SKIP);
    HEARD(p.caller, "#1 CANCELED; ");
    HEARD(p.callee, "");
    cancel(p.caller, 2, PL_CANCEL_KILL_NO_WAIT);
    HEARD(p.caller, "#2 CANCELED; ");
    HEARD(p.callee, "stop 2 CANCELED; ");
    cancel(p.caller, 3, PL_CANCEL_KILL);
    cancel(p.caller, 3, PL_CANCEL_SKIP); /* once is enough */
    HEARD(p.caller, "");
    HEARD(p.callee, "kill 3 CANCELED; ");
    for (uint64_t i = 1; i <= 3; i++)
        yield(p.callee, i, "e.stopped", IS_ERROR);
    HEARD(p.caller, "#3 e.stopped ; ");
    pair_done(&p);
}

TEST(who_cannot_be_interrupted_hears_nothing_and_the_caller_is_answered)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "", 0, 0);
    call(p.caller, "p", "", 0, 5);
    cancel(p.caller, 1, PL_CANCEL_KILL);
    world_pass(&p.w, 5);
    HEARD(p.caller, "#1 CANCELED; #2 TIMEOUT; ");
    HEARD(p.callee, "1 p(); 2 p(); ");
    pair_done(&p);
}

TEST(time_runs_out_and_progress_winds_it_up_again)
{
    struct pair p;
    pair_init(&p, can_cancel);
    call(p.caller, "p", "", PL_CALL_WANTS_PROGRESS, 100);
    probe_clear(p.callee);
    world_pass(&p.w, 99);
    HEARD(p.caller, "");
    yield(p.callee, 1, "a", IS_PROGRESS);
    world_pass(&p.w, 99);
    HEARD(p.caller, "#1 a …; ");
    world_pass(&p.w, 1);
    HEARD(p.caller, "#1 TIMEOUT; ");
    HEARD(p.callee, "stop 1 TIMEOUT; ");
    world_pass(&p.w, 1000000);
    call(p.caller, "p", "", 0, 0);
    world_pass(&p.w, 1000000);
    HEARD(p.caller, ""); /* no time was set, and a registration has none of its own */
    pair_done(&p);
}

TEST(who_keeps_the_time_is_told_it_and_we_do_not_look_at_the_clock)
{
    struct pair p;
    pair_init(&p, (struct pl_callee){.flags = PL_CALLEE_KEEPS_TIME});
    call(p.caller, "p", "", 0, 100);
    HEARD(p.callee, "1 p() in 100; ");
    world_pass(&p.w, 1000);
    HEARD(p.caller, "");
    yield(p.callee, 1, "late", 0);
    HEARD(p.caller, "#1 late; ");
    pair_done(&p);
}

TEST(who_leaves_ends_calls_on_both_sides)
{
    struct pair p;
    pair_init(&p, can_cancel);
    struct probe *second = caller_new(&p.w, 1);
    call(second, "p", "", 0, 0);
    call(p.caller, "p", "", 0, 0);
    probe_clear(p.callee);
    probe_gone(second, NULL);
    HEARD(p.callee, "stop 1 CANCELED; ");
    yield(p.callee, 1, "nobody is there", 0);
    pl_session_leave(&p.callee->core, false);
    world_run(&p.w);
    HEARD(p.caller, "#1 CALLEE_GONE; ");
    call(p.caller, "p", "", 0, 0);
    HEARD(p.caller, "#2 NOT_FOUND; ");
    pair_done(&p);
}

TEST(who_unregisters_still_answers_what_came_before)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "", 0, 0);
    withdraw(p.callee, p.offer);
    p.offer = NULL;
    HEARD(p.callee, "1 p(); unregister ok; ");
    yield(p.callee, 1, "x", 0);
    HEARD(p.caller, "#1 x; ");
    pair_done(&p);
}

TEST(arguments_in_parts_go_to_one_callee_in_order)
{
    struct pair p;
    pair_init(&p, takes_parts);
    struct probe *other = caller_new(&p.w, 0);
    struct pl_callee *second = offer(other, "p", takes_parts);
    probe_clear(other);
    uint64_t n = call(p.caller, "p", "a", PL_CALL_MORE, 0);
    next_part(p.caller, n, "b", PL_CALL_MORE);
    next_part(p.caller, n, "c", 0);
    next_part(p.caller, n, "d", 0);
    next_part(p.caller, n + 1, "e", PL_CALL_MORE);
    HEARD(p.callee, "1 p(a) more; 1 p(b) next more; 1 p(c) next; ");
    HEARD(other, "");
    HEARD(p.caller, "");
    yield(p.callee, 1, "abc", 0);
    next_part(p.caller, n, "f", 0);
    HEARD(p.caller, "#1 abc; ");
    HEARD(p.callee, "");
    probe_gone(other, NULL);
    free(second);
    pair_done(&p);
}

TEST(who_takes_no_parts_is_not_asked_in_parts)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "a", PL_CALL_MORE, 0);
    next_part(p.caller, 1, "b", 0);
    HEARD(p.caller, "#1 NO_PARTS; ");
    HEARD(p.callee, "");
    pair_done(&p);
}

TEST(a_call_that_one_cannot_take_goes_to_the_next)
{
    struct pair p;
    pair_init(&p, takes_parts);
    struct probe *other = caller_new(&p.w, 0);
    struct pl_callee *second = offer(other, "p", takes_parts);
    probe_clear(other);
    call(p.caller, "p", "x", 0, 0);
    pass(p.callee, 1);
    HEARD(p.callee, "1 p(x); ");
    HEARD(other, "1 p(x); ");
    yield(p.callee, 1, "too late", 0);
    yield(other, 1, "y", 0);
    HEARD(p.caller, "#1 y; ");
    call(p.caller, "p", "x", 0, 0);
    pass(p.callee, 2);
    pass(other, 2);
    HEARD(p.caller, "#2 NO_CALLEE; ");
    probe_gone(other, NULL);
    free(second);
    pair_done(&p);
}

TEST(a_call_in_parts_is_not_given_to_the_next_by_half)
{
    struct pair p;
    pair_init(&p, takes_parts);
    struct probe *other = caller_new(&p.w, 0);
    struct pl_callee *second = offer(other, "p", takes_parts);
    probe_clear(other);
    uint64_t n = call(p.caller, "p", "a", PL_CALL_MORE, 0);
    next_part(p.caller, n, "b", 0);
    pass(p.callee, 1);
    HEARD(other, "");
    HEARD(p.caller, "#1 NO_CALLEE; ");
    probe_gone(other, NULL);
    free(second);
    pair_done(&p);
}

TEST(a_callee_that_is_busy_is_left_alone)
{
    struct pair p;
    pair_init(&p, (struct pl_callee){.concurrency = 2, .invoke = PL_INVOKE_FIRST});
    for (int i = 0; i < 3; i++)
        call(p.caller, "p", "", 0, 0);
    HEARD(p.callee, "1 p(); 2 p(); ");
    HEARD(p.caller, "#3 NO_CALLEE; ");
    yield(p.callee, 2, "y", 0);
    call(p.caller, "p", "", 0, 0);
    HEARD(p.callee, "3 p(); ");
    pair_done(&p);
}

TEST(who_is_forced_out_is_told_and_its_calls_go_on)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "x", 0, 0);
    probe_clear(p.callee);
    struct pl_callee *now = offer(p.caller, "p", (struct pl_callee){.flags = PL_CALLEE_FORCED});
    p.offer = NULL;
    HEARD(p.callee, "forced out; unregister ok; ");
    HEARD(p.caller, "register ok; ");
    yield(p.callee, 1, "y", 0);
    HEARD(p.caller, "#1 y; ");
    withdraw(p.caller, now);
    pair_done(&p);
}

TEST(each_policy_asks_whom_it_says)
{
    static const struct {
        uint8_t invoke;
        const char *asked;
    } policies[] = {
        {PL_INVOKE_ROUNDROBIN, "012012"}, {PL_INVOKE_FIRST, "000000"}, {PL_INVOKE_LAST, "222222"}};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct world w;
        struct probe *callees[3], *caller;
        struct pl_callee *offers[3];
        char asked[7] = "";
        world_init(&w, 2);
        caller = caller_new(&w, 0);
        for (uint32_t k = 0; k < 3; k++) {
            callees[k] = caller_new(&w, k % 2);
            offers[k] = offer(callees[k], "p", (struct pl_callee){.invoke = policies[i].invoke});
            probe_clear(callees[k]);
        }
        for (int n = 0; n < 6; n++) {
            call(caller, "p", "", 0, 0);
            for (int k = 0; k < 3; k++) {
                if (callees[k]->log_len)
                    asked[n] = (char)('0' + k);
                probe_clear(callees[k]);
            }
        }
        CHECK_STR(asked, policies[i].asked);
        for (int k = 0; k < 3; k++) {
            probe_gone(callees[k], NULL);
            free(offers[k]);
        }
        probe_gone(caller, NULL);
        world_done(&w);
    }
}

TEST(a_callee_that_reads_too_slowly_is_not_waited_for)
{
    struct pair p;
    pair_init(&p, PLAIN);
    p.callee->out.bytes = p.callee->out.bytes_max + 1;
    call(p.caller, "p", "", 0, 0);
    HEARD(p.caller, "#1 SLOW_CONSUMER; ");
    HEARD(p.callee, "");
    p.callee->out.bytes = 0;
    pair_done(&p);
}

TEST(a_caller_that_reads_too_slowly_holds_up_who_answers_it)
{
    struct pair p;
    pair_init(&p, PLAIN);
    call(p.caller, "p", "", PL_CALL_WANTS_PROGRESS, 0);
    call(p.caller, "p", "", PL_CALL_WANTS_PROGRESS, 0);
    probe_clear(p.callee);
    p.caller->out.bytes = p.caller->out.bytes_max + 1;
    yield(p.callee, 1, "a", IS_PROGRESS);
    yield(p.callee, 2, "b", IS_PROGRESS);
    HEARD(p.callee, "wait; ");
    yield(p.callee, 2, "c", 0);
    HEARD(p.callee, "");
    p.caller->out.bytes = 0;
    pl_session_drained(&p.caller->core);
    world_run(&p.w);
    HEARD(p.callee, "go on; ");
    HEARD(p.caller, "#1 a …; #2 b …; #2 c; "); /* nothing is lost */
    p.caller->out.bytes = p.caller->out.bytes_max + 1;
    yield(p.callee, 1, "d", IS_PROGRESS);
    HEARD(p.callee, "wait; ");
    p.caller->out.bytes = 0;
    pl_session_leave(&p.caller->core, false);
    world_run(&p.w);
    HEARD(p.callee, "go on; ");
    pair_done(&p);
}

TEST(a_session_has_so_many_open_calls_and_one_of_each_number)
{
    struct world w;
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.calls_max = 2;
    world_init_limits(&w, 1, &limits);
    struct probe *p = caller_new(&w, 0);
    struct pl_callee *callee = offer(p, "p", PLAIN);
    probe_clear(p);
    for (int i = 0; i < 3; i++)
        call(p, "p", "", 0, 0);
    HEARD(p, "1 p(); 2 p(); #3 LIMIT; ");
    yield(p, 1, "x", 0);
    struct pl_message draft = {.subject = PL_BYTES("p")};
    pl_session_call(&p->core, &draft, NULL, 0, 0, 2);
    world_run(&w);
    HEARD(p, "#1 x; #2 LIMIT; ");
    probe_gone(p, NULL);
    free(callee);
    world_done(&w);
}

/* ---- Across protocols ---- */

static struct pl_message request(const char *subject, const char *reply)
{
    return (struct pl_message){.subject = pl_bytes_text(subject),
        .reply = pl_bytes_text(reply),
        .payload = PL_BYTES("x"),
        .grants_reply = true};
}

TEST(a_message_with_a_reply_subject_is_a_call_of_a_registration)
{
    struct pair p;
    pair_init(&p, PLAIN);
    struct probe *listener = caller_new(&p.w, 0);
    struct probe_sub *subs[] = {
        probe_subscribe(p.caller, "_INBOX.1.2", (struct probe_sub_options){0}), NULL};
    struct probe_sub *heard[] = {
        probe_subscribe(listener, "p", (struct probe_sub_options){0}), NULL};
    world_run(&p.w);
    probe_clear(p.caller);
    probe_clear(listener);
    CHECK_EQ(probe_send(p.caller, request("p", "_INBOX.1.2"), 0), PL_OK);
    world_run(&p.w);
    HEARD(p.callee, "1 p(x); ");
    HEARD(listener, "p=x; ");
    yield(p.callee, 1, "y", 0);
    yield(p.callee, 1, "z", 0);
    HEARD(p.caller, "_INBOX.1.2=y; ");
    CHECK_EQ(probe_send(p.caller, request("p", "_INBOX.1.2"), 0), PL_OK);
    world_run(&p.w);
    pl_session_leave(&p.callee->core, false);
    world_run(&p.w);
    HEARD(p.caller, "_INBOX.1.2=; "); /* with the error in its properties */
    probe_gone(listener, heard);
    struct probe *caller = p.caller;
    (void)caller;
    pl_session_leave(&p.caller->core, false);
    world_run(&p.w);
    pl_pattern_unref(subs[0]->core.pattern);
    free(subs[0]);
    pair_done(&p);
}

TEST(without_a_registration_the_first_subscription_that_can_reply_answers)
{
    struct world w;
    world_init(&w, 2);
    struct probe *caller = caller_new(&w, 0), *one = caller_new(&w, 1), *deaf = caller_new(&w, 0);
    struct probe_sub *subs[] = {
        probe_subscribe(one, "q.*", (struct probe_sub_options){.flags = PL_SUB_CAN_REPLY}), NULL};
    struct probe_sub *others[] = {
        probe_subscribe(deaf, "q.a", (struct probe_sub_options){0}), NULL};
    world_run(&w);
    probe_clear(one);
    probe_clear(deaf);
    call(caller, "q.a", "x", 0, 0);
    HEARD(one, "q.a=x; ");
    HEARD(deaf, "");
    world_pass(&w, pl_realm_limits_default.reply_grant_ms);
    HEARD(caller, "#1 TIMEOUT; ");
    call(caller, "q.a", "x", PL_CALL_MORE, 0);
    call(caller, "r", "x", 0, 0);
    HEARD(caller, "#2 NOT_FOUND; #3 NOT_FOUND; ");
    probe_gone(one, subs);
    probe_gone(deaf, others);
    probe_gone(caller, NULL);
    world_done(&w);
}

TEST(errors_of_the_core_have_the_standards_names)
{
    CHECK_STR(pl_call_error_uri(PL_NOT_FOUND), "wamp.error.no_such_procedure");
    CHECK_STR(pl_call_error_uri(PL_DENIED), "wamp.error.not_authorized");
    CHECK_STR(pl_call_error_uri(PL_CALLEE_GONE), "wamp.error.canceled");
    CHECK_STR(pl_call_error_uri(PL_TIMEOUT), "wamp.error.timeout");
    CHECK_STR(pl_call_error_uri(PL_EXISTS), "wamp.error.procedure_already_exists");
    CHECK_STR(pl_call_error_uri(PL_NO_MEMORY), "wamp.error.unavailable");
}
