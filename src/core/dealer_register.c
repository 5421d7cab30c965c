/* Offers to answer calls, under the lock: made, withdrawn, forced out. */
#include "core/realm_state.h"

void pl_run_withdraw(struct pl_runner *r, struct pl_callee *callee)
{
    struct pl_session *s = callee->session;
    struct pl_registration *reg = callee->registration;
    for (struct pl_call *c = s->calls_taken; c; c = c->callee_next)
        if (c->offer == callee)
            c->offer = NULL;
    *callee->session_at = callee->session_next;
    if (callee->session_next)
        callee->session_next->session_at = callee->session_at;
    s->callee_count--;
    pl_run_notice(r, s, PL_NOTICE_UNREGISTERED, callee->pattern, reg, reg->callee_count == 1);
    bool is_last;
    pl_registrations_remove(&r->realm->dealer.registrations, callee, &is_last);
}

/* Those who are there make room, and are told. */
static enum pl_err force_out(struct pl_runner *r, const struct pl_callee *callee)
{
    struct pl_registration *reg =
        pl_registrations_find(&r->realm->dealer.registrations, callee->pattern);
    if (!reg)
        return PL_OK;
    if (pl_batch_reserve_items(r->batch, 2 * reg->callee_count))
        return PL_NO_MEMORY;
    for (uint32_t left = reg->callee_count; left; left--) {
        struct pl_callee *old = reg->first;
        struct pl_session *s = old->session;
        pl_run_withdraw(r, old);
        struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_UNREGISTERED, s->address);
        item->session = s;
        item->callee = old;
        pl_run_done(r, s, PL_DONE_UNREGISTER, PL_OK, 0)->callee = old;
    }
    return PL_OK;
}

static enum pl_err add_callee(struct pl_runner *r, const struct pl_op *op, struct pl_callee *callee)
{
    struct pl_session *s = op->session;
    if (!s->is_in_realm)
        return PL_CLOSED;
    if (op->index != s->identities && !pl_identity_may_register(s->identity, callee->pattern))
        return PL_DENIED; /* asked for with the rights of an older login */
    if (s->callee_count >= r->realm->limits.registrations_max && !s->identity->is_server)
        return PL_LIMIT;
    enum pl_err err = callee->flags & PL_CALLEE_FORCED ? force_out(r, callee) : PL_OK;
    if (!err)
        err = pl_registrations_add(&r->realm->dealer.registrations, callee);
    return err;
}

void pl_run_register(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_session *s = op->session;
    struct pl_callee *callee = op->subject;
    enum pl_err err = op->err ? (enum pl_err)op->err : add_callee(r, op, callee);
    struct pl_registration *reg = callee->registration;
    if (err) {
        callee->pattern = pl_pattern_unref(callee->pattern);
    } else {
        callee->session_next = s->callees;
        if (s->callees)
            s->callees->session_at = &callee->session_next;
        callee->session_at = &s->callees;
        s->callees = callee;
        s->callee_count++;
    }
    struct pl_item *item = pl_run_done(r, s, PL_DONE_REGISTER, err, op->token);
    item->callee = callee;
    item->id = err ? 0 : pl_hash_id(r->realm->seed, reg->id);
    if (!err)
        pl_run_notice(r, s, PL_NOTICE_REGISTERED, callee->pattern, reg, reg->callee_count == 1);
}

void pl_run_unregister(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_callee *callee = op->subject;
    bool is_known = callee->registration != NULL;
    /* One that was forced out has been answered already. */
    if (!is_known)
        return;
    pl_run_withdraw(r, callee);
    pl_run_done(r, op->session, PL_DONE_UNREGISTER, PL_OK, op->token)->callee = callee;
}
