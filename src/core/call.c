/*
 * Calls on the reactors: what a session asks for becomes ops, and items become what its ops are
 * told.
 */
#include "core/call.h"

#include "core/batch.h"
#include "core/dealer.h"

/* What goes wrong without memory for the op: the peer is told that way. */
static struct pl_op *add_op(struct pl_session *s, enum pl_op_kind kind, uint64_t token)
{
    struct pl_op *op = pl_session_add_op(s, kind);
    if (op)
        op->token = token;
    else
        pl_session_end(s, PL_NO_MEMORY);
    return op;
}

void pl_session_register(struct pl_session *s, struct pl_callee *callee, uint64_t token)
{
    callee->session = s;
    callee->registration = NULL;
    callee->open_calls = 0;
    struct pl_op *op = add_op(s, PL_OP_REGISTER, token);
    if (!op)
        return;
    op->subject = callee;
    op->index = s->identities;
    bool is_reserved =
        callee->pattern->literal_head ? pl_subject_is_reserved(callee->pattern->text) : false;
    if (callee->pattern->text.len > pl_realm_limits(s->realm)->subject_max ||
        (is_reserved && !s->identity->is_server))
        op->err = PL_BAD_NAME;
    else if (!pl_identity_may_register(s->identity, callee->pattern))
        op->err = PL_DENIED;
    if (op->err == PL_DENIED)
        pl_count(&s->worker->counters.denied, 1);
}

void pl_session_unregister(struct pl_session *s, struct pl_callee *callee, uint64_t token)
{
    struct pl_op *op = add_op(s, PL_OP_UNREGISTER, token);
    if (op)
        op->subject = callee;
}

/* A draft's message in the batch, with the op behind it. */
static struct pl_op *add_with_message(struct pl_session *s, enum pl_op_kind kind,
    const struct pl_message *draft, struct pl_shared *buffer, uint64_t token, enum pl_err err)
{
    struct pl_batch *b = s->realm ? pl_batch_open(s->worker, s->realm) : NULL;
    uint32_t index = PL_NO_MESSAGE;
    if (!b) {
        pl_session_end(s, PL_NO_MEMORY);
        return NULL;
    }
    if (!err)
        err = pl_session_add_message(s, b, draft, buffer, &index);
    struct pl_op *op = add_op(s, kind, token);
    if (!op)
        return NULL;
    op->index = index;
    op->err = (uint8_t)err;
    if (!err)
        b->bytes += draft->payload.len;
    return op;
}

void pl_session_call(struct pl_session *s, const struct pl_message *draft, struct pl_shared *buffer,
    unsigned flags, uint64_t timeout_ms, uint64_t token)
{
    enum pl_err err = s->realm ? pl_session_check_draft(s, draft) : PL_CLOSED;
    if (!err && !(flags & PL_CALL_TRUSTED) && !pl_identity_may_call(s->identity, draft->subject)) {
        err = PL_DENIED;
        pl_count(&s->worker->counters.denied, 1);
    }
    uint64_t *timeout = NULL;
    if (!err && timeout_ms) {
        timeout = pl_arena_alloc(pl_session_arena(s), sizeof *timeout);
        if (timeout)
            *timeout = timeout_ms;
        else
            err = PL_NO_MEMORY;
    }
    struct pl_op *op = add_with_message(s, PL_OP_CALL, draft, buffer, token, err);
    if (!op)
        return;
    op->flags = (uint8_t)flags;
    op->subject = timeout;
}

void pl_session_cancel(struct pl_session *s, uint64_t token, enum pl_cancel mode)
{
    struct pl_op *op = add_op(s, PL_OP_CANCEL, token);
    if (op)
        op->flags = (uint8_t)mode;
}

void pl_session_yield(struct pl_session *s, uint64_t invocation, const struct pl_message *draft,
    struct pl_shared *buffer)
{
    enum pl_err err =
        draft->payload.len > pl_realm_limits(s->realm)->payload_max ? PL_TOO_LARGE : PL_OK;
    (void)add_with_message(s, PL_OP_YIELD, draft, buffer, invocation, err);
}

void pl_session_pass(struct pl_session *s, uint64_t invocation)
{
    (void)add_op(s, PL_OP_PASS, invocation);
}

/* ---- Items ---- */

static void walk_invoke(struct pl_session *s, struct pl_batch *b, const struct pl_item *item)
{
    const struct pl_invoke_facts *facts = item->invoke;
    if (s->out && s->out->bytes > s->out->bytes_max) {
        struct pl_op *op = add_op(s, PL_OP_YIELD, item->token);
        if (op)
            op->err = PL_SLOW_CONSUMER;
        return;
    }
    const struct pl_invocation invocation = {
        .id = item->token,
        .callee = facts->callee,
        .message = b->messages[item->first],
        .caller = facts->caller,
        .caller_id = facts->caller_id,
        .timeout_ms = facts->timeout_ms,
        .wants_progress = facts->wants_progress,
        .is_first = facts->is_first,
        .has_more = facts->has_more,
    };
    pl_count(&s->worker->counters.messages_out, 1);
    pl_count(&s->worker->counters.payload_bytes_out, invocation.message->payload.len);
    s->ops->invoke(s, &invocation);
}

/* A caller that reads too slowly holds up who answers it, and nobody else. */
static void press_if_slow(struct pl_session *s, const struct pl_item *item)
{
    if (!item->is_on || !s->out || s->out->bytes <= s->out->bytes_max)
        return;
    struct pl_op *op = add_op(s, PL_OP_PRESS, item->token);
    if (!op)
        return;
    op->flags = true;
    s->presses = true;
}

static void walk_result(struct pl_session *s, struct pl_batch *b, const struct pl_item *item)
{
    const struct pl_result result = {
        .token = item->token,
        .err = (enum pl_err)item->err,
        .message = item->first == PL_NO_MESSAGE ? NULL : b->messages[item->first],
        .is_progress = item->is_on,
    };
    if (result.message) {
        pl_count(&s->worker->counters.messages_out, 1);
        pl_count(&s->worker->counters.payload_bytes_out, result.message->payload.len);
    }
    s->ops->answer(s, &result);
    press_if_slow(s, item);
}

void pl_walk_call(struct pl_batch *b, const struct pl_item *item)
{
    struct pl_session *s = item->session;
    if (s->has_left)
        return;
    switch ((enum pl_item_kind)item->kind) {
    case PL_ITEM_INVOKE:
        walk_invoke(s, b, item);
        return;
    case PL_ITEM_INTERRUPT:
        s->ops->interrupt(s, item->token, (enum pl_cancel)item->done, (enum pl_err)item->err);
        return;
    case PL_ITEM_RESULT:
        walk_result(s, b, item);
        return;
    case PL_ITEM_UNREGISTERED:
        s->ops->unregistered(s, item->callee);
        return;
    case PL_ITEM_PRESS:
        s->pressed += item->is_on ? 1 : -1;
        if (s->pressed == item->is_on)
            s->ops->press(s, item->is_on);
        return;
    case PL_ITEM_TOLD:
        s->ops->told(s, item->word);
        return;
    case PL_ITEM_NOTICE:
        s->ops->noticed(s, item->notice);
        return;
    case PL_ITEM_RUN:
    case PL_ITEM_PICK:
    case PL_ITEM_REPLAY:
    case PL_ITEM_DONE:
    case PL_ITEM_ENDED:
    case PL_ITEM_EXPECT:
    case PL_ITEM_TAKEN:
    case PL_ITEM_CONTESTED:
    case PL_ITEM_IDENTITY:
        return; /* the walk's own */
    }
}
