/*
 * What members of a channel ask for beside subscribing: that it has a memory, and that nobody else
 * sits where they do.
 *
 *     a seat   holder             joins at it: has it
 *              holder, waiter     one more: the holder is asked
 *              holder             … holds it: the waiter is refused
 *              waiter → holder    … leaves: the waiter has joined
 */
#include "core/realm_state.h"

#include "base/alloc.h"

/* Another subject may be forgotten for it, which then is logged no more. */
enum pl_err pl_run_claim_subject(struct pl_runner *r, struct pl_subscription *sub)
{
    struct pl_history *h = r->realm->history;
    uint64_t forgotten = pl_history_forgotten(h);
    enum pl_err err = pl_history_claim(h, sub->pattern->text, r->now_unix_ms, &sub->has_claim);
    if (forgotten != pl_history_forgotten(h))
        pl_matcher_touch(r->realm->matcher);
    return err;
}

/* The seat is nobody's: this one's, if it can come in. */
static enum pl_err sit_down(struct pl_runner *r, struct pl_seat *seat, struct pl_session *s)
{
    enum pl_err err = pl_run_enter(r, s);
    seat->holder = err ? NULL : s;
    s->seat = err ? NULL : seat;
    return err;
}

static void free_seat(struct pl_realm *realm, struct pl_seat *seat)
{
    pl_map_remove(&realm->seats, &seat->entry);
    pl_free(seat);
}

void pl_run_seat(struct pl_runner *r, struct pl_op *op)
{
    struct pl_realm *realm = r->realm;
    struct pl_session *s = op->session;
    struct pl_seat *made = op->subject;
    struct pl_map_entry *found = pl_map_find(&realm->seats, made->entry.key);
    if (!found) {
        enum pl_err err = pl_map_add(&realm->seats, &made->entry, made->entry.key);
        if (err) {
            pl_free(made);
        } else {
            err = sit_down(r, made, s);
            if (err)
                free_seat(realm, made);
        }
        pl_run_done(r, s, PL_DONE_JOIN, err, op->token);
        return;
    }
    pl_free(made);
    struct pl_seat *seat = PL_CONTAINER(found, struct pl_seat, entry);
    if (seat->waiter) {
        pl_run_done(r, s, PL_DONE_JOIN, PL_EXISTS, op->token);
        return;
    }
    seat->waiter = s;
    seat->token = op->token;
    s->seat = seat;
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_CONTESTED, seat->holder->address);
    item->session = seat->holder;
}

void pl_run_hold(struct pl_runner *r, struct pl_session *s)
{
    struct pl_seat *seat = s->seat;
    if (!seat || seat->holder != s || !seat->waiter)
        return;
    struct pl_session *waiter = seat->waiter;
    seat->waiter = NULL;
    waiter->seat = NULL;
    pl_run_done(r, waiter, PL_DONE_JOIN, PL_EXISTS, seat->token);
}

void pl_run_leave_seat(struct pl_runner *r, struct pl_session *s)
{
    struct pl_seat *seat = s->seat;
    s->seat = NULL;
    if (!seat)
        return;
    if (seat->waiter == s) {
        seat->waiter = NULL;
        return;
    }
    struct pl_session *waiter = seat->waiter;
    seat->holder = seat->waiter = NULL;
    if (waiter) {
        enum pl_err err = sit_down(r, seat, waiter);
        pl_run_done(r, waiter, PL_DONE_JOIN, err, seat->token);
    }
    if (!seat->holder)
        free_seat(r->realm, seat);
}
