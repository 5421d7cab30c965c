/*
 * Sessions with a name: claimed, detached, taken over, expired.
 *
 * A takeover between reactors A (old) and B (new):
 *
 *     B's batch, under the lock   the session's address is B from here on: what is published later
 *                                 goes to B's inbox, what was published before is in A's already
 *     B walks EXPECT              deliveries for it are kept in order until it comes
 *     A walks TAKEN               everything before is delivered; says goodbye to the old
 *                                 connection; gives the session to B by inbox
 *     B gets it                   the claim is answered, then what was kept is delivered
 *
 * If C claims it before it came to B, B passes it on as soon as it has come. With A == B the same
 * steps happen in one inbox.
 */
#include "core/realm_state.h"

#include "base/alloc.h"

/* What came for a session before the session did. */
struct pl_early {
    struct pl_early *next;
    struct pl_subscription *sub; /* of messages */
    struct pl_message **kept;    /* one reference each */
    struct pl_item item;         /* if there are no messages: a copy of it */
    uint32_t count;
    uint8_t origin;
    uint64_t epoch;
};

void pl_mailbox_free(struct pl_mailbox *mailbox)
{
    if (!mailbox)
        return;
    pl_message_unref(mailbox->will);
    pl_free(mailbox);
}

static void arrive(struct pl_post *post, void *context);

struct pl_expected *pl_expected_new(
    struct pl_session *claimer, const struct pl_claim *claim, uint64_t token)
{
    struct pl_bytes user = claimer->identity ? claimer->identity->user : PL_NO_BYTES;
    size_t len = user.len + 1 + claim->name.len;
    struct pl_expected *e = pl_zalloc(sizeof *e);
    struct pl_mailbox *mailbox = e ? pl_zalloc(sizeof *mailbox + len) : NULL;
    if (!mailbox) {
        pl_message_unref(claim->will);
        pl_free(e);
        return NULL;
    }
    if (user.len)
        memcpy(mailbox->name, user.data, user.len);
    memcpy(mailbox->name + user.len + 1, claim->name.data, claim->name.len);
    mailbox->entry.key = pl_bytes_of(mailbox->name, len);
    mailbox->expiry_ms = claim->expiry_ms;
    mailbox->will = claim->will;
    mailbox->will_delay_ms = claim->will_delay_ms;
    mailbox->will_expiry_ms = claim->will_expiry_ms;
    mailbox->expiry.kind = PL_DUE_SESSION;
    mailbox->will_due.kind = PL_DUE_WILL;
    mailbox->session = claimer;
    e->post.run = arrive;
    e->worker = claimer->worker;
    e->claimer = claimer;
    e->mailbox = mailbox;
    e->token = token;
    e->clean = claim->clean;
    return e;
}

void pl_expected_free(struct pl_expected *e)
{
    if (!e)
        return;
    pl_mailbox_free(e->mailbox);
    pl_free(e);
}

/* The will goes out now, or is dropped. Rights are those of now, not those of its CONNECT. */
static void settle_will(struct pl_runner *r, struct pl_mailbox *mailbox, bool publish)
{
    struct pl_message *will = mailbox->will;
    mailbox->will = NULL;
    pl_heap_remove(&r->realm->deadlines, &mailbox->will_due);
    publish = publish && will && pl_identity_may_publish(mailbox->session->identity, will->subject);
    if (publish && will->properties && mailbox->will_expiry_ms) {
        /* Nobody else has seen it yet: the mailbox holds the only reference. */
        struct pl_properties *own = (struct pl_properties *)(uintptr_t)will->properties;
        own->expires_ms = r->now_ms + mailbox->will_expiry_ms;
    }
    if (publish)
        pl_run_publish_kept(r, will);
    else
        pl_message_unref(will);
}

/* The older session ends: its will goes out, as its connection was not closed by itself. */
static void end_older(struct pl_runner *r, struct pl_session *old)
{
    struct pl_mailbox *mailbox = old->mailbox;
    if (!mailbox->is_detached) {
        struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_ENDED, old->address);
        item->session = old;
        item->err = PL_TAKEN_OVER;
    }
    settle_will(r, mailbox, true);
    pl_run_remove(r, old, PL_TAKEN_OVER);
}

static void resume_older(struct pl_runner *r, struct pl_session *old, struct pl_expected *e)
{
    struct pl_mailbox *mailbox = old->mailbox;
    bool was_detached = mailbox->is_detached;
    if (was_detached) {
        mailbox->is_detached = false;
        r->realm->detached_count--;
        pl_heap_remove(&r->realm->deadlines, &mailbox->expiry);
    }
    /* Back before a delayed will was due: it is not sent (MQTT 5.0, section 3.1.3.2.2). */
    settle_will(r, mailbox, !was_detached && !mailbox->will_delay_ms);
    mailbox->expiry_ms = e->mailbox->expiry_ms;
    mailbox->will = e->mailbox->will;
    mailbox->will_delay_ms = e->mailbox->will_delay_ms;
    mailbox->will_expiry_ms = e->mailbox->will_expiry_ms;
    e->mailbox->will = NULL;
    pl_store_mailbox(r, mailbox);
    e->session = old;
    old->claims++;
    /* The end of the new login counts from here on; it comes with the identity. */
    pl_heap_remove(&r->realm->deadlines, &old->expiry);

    struct pl_item *expect = pl_batch_item(r->batch, PL_ITEM_EXPECT, e->worker);
    expect->session = old;
    expect->expected = e;
    struct pl_item *taken = pl_batch_item(r->batch, PL_ITEM_TAKEN, old->address);
    taken->session = old;
    taken->expected = e;
    if (old->address != e->worker) {
        old->address = e->worker;
        for (struct pl_subscription *sub = old->subs; sub; sub = sub->session_next)
            sub->worker = (uint8_t)e->worker->index;
        if (old->subs)
            pl_matcher_touch(r->realm->matcher);
        r->last = NULL;
    }
    pl_count(&r->batch->worker->counters.takeovers, !was_detached);
}

/* What waits in a mailbox was let in by the rights of an older login: who may not have all of its
 * subscriptions begins anew. */
static bool may_resume(const struct pl_session *old, const struct pl_identity *identity)
{
    bool filtered;
    for (const struct pl_subscription *sub = old->subs; sub; sub = sub->session_next)
        if (!pl_identity_may_subscribe(identity, sub->pattern, &filtered))
            return false;
    return true;
}

void pl_run_claim(struct pl_runner *r, struct pl_op *op)
{
    struct pl_realm *realm = r->realm;
    struct pl_expected *e = op->subject;
    struct pl_session *s = op->session;
    struct pl_map_entry *found = op->err ? NULL : pl_map_find(&realm->names, e->mailbox->entry.key);
    if (found) {
        struct pl_mailbox *mailbox = PL_CONTAINER(found, struct pl_mailbox, entry);
        struct pl_session *old = mailbox->session;
        /* Without an expiry it ends with its connection, which we end now. */
        if (!e->clean && mailbox->expiry_ms && may_resume(old, s->identity)) {
            resume_older(r, old, e);
            return;
        }
        pl_count(&r->batch->worker->counters.takeovers, !mailbox->is_detached);
        end_older(r, old);
    }
    enum pl_err err = (enum pl_err)op->err;
    if (!err)
        err = pl_map_add(&realm->names, &e->mailbox->entry, e->mailbox->entry.key);
    if (!err) {
        err = pl_run_enter(r, s);
        if (err)
            pl_map_remove(&realm->names, &e->mailbox->entry);
    }
    if (!err) {
        s->mailbox = e->mailbox;
        e->mailbox = NULL;
        s->mailbox->is_stored = realm->journal && s->mailbox->expiry_ms;
        if (s->mailbox->is_stored && op->count != (uint32_t)realm->unstored)
            pl_store_mailbox(r, s->mailbox); /* it may have gone with an older one */
    } else if (!op->err) {
        e->mailbox->is_stored = e->mailbox->expiry_ms != 0; /* written when it was asked for */
        pl_unstore_mailbox(r, e->mailbox);
    }
    struct pl_item *item = pl_run_done(r, s, PL_DONE_CLAIM, err, op->token);
    item->expected = e;
}

void pl_run_set_expiry(struct pl_runner *r, struct pl_session *s, uint64_t expiry_ms)
{
    if (!s->mailbox)
        return;
    s->mailbox->expiry_ms = expiry_ms;
    if (s->mailbox->is_stored)
        pl_store_mailbox(r, s->mailbox);
}

void pl_run_leave(struct pl_runner *r, struct pl_session *s, bool publish_will)
{
    if (s->mailbox)
        settle_will(r, s->mailbox, publish_will);
    pl_run_remove(r, s, PL_OK);
}

void pl_run_detach(struct pl_runner *r, struct pl_session *s, bool publish_will)
{
    struct pl_realm *realm = r->realm;
    struct pl_mailbox *mailbox = s->mailbox;
    if (mailbox && mailbox->is_detached)
        return;
    if (!mailbox || !mailbox->expiry_ms) {
        pl_run_leave(r, s, publish_will);
        return;
    }
    uint64_t stay_ms = mailbox->expiry_ms;
    if (stay_ms > realm->limits.session_expiry_max_ms)
        stay_ms = realm->limits.session_expiry_max_ms;
    bool is_bounded = stay_ms != PL_NEVER;
    if (is_bounded && pl_heap_set(&realm->deadlines, &mailbox->expiry, r->now_ms + stay_ms)) {
        pl_run_leave(r, s, publish_will);
        return;
    }
    mailbox->is_detached = true;
    realm->detached_count++;
    if (mailbox->is_stored)
        pl_store_mailbox(r, mailbox);
    /* A login that ends later does not end a session without a connection; a new one logs in. */
    pl_heap_remove(&realm->deadlines, &s->expiry);
    if (mailbox->will && publish_will && mailbox->will_delay_ms) {
        uint64_t delay_ms = mailbox->will_delay_ms;
        if (is_bounded && delay_ms > stay_ms)
            delay_ms = stay_ms;
        if (!pl_heap_set(&realm->deadlines, &mailbox->will_due, r->now_ms + delay_ms))
            return;
    }
    settle_will(r, mailbox, publish_will);
}

void pl_run_due(struct pl_runner *r)
{
    struct pl_deadline *due;
    r->batch->item_promised = 1; /* beside the wills' messages */
    while (!pl_batch_reserve_items(r->batch, 0) &&
           (due = pl_heap_pop_due(&r->realm->deadlines, r->now_ms))) {
        switch ((enum pl_due_kind)due->kind) {
        case PL_DUE_IDENTITY: {
            struct pl_session *s = PL_CONTAINER(due, struct pl_session, expiry);
            struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_ENDED, s->address);
            item->session = s;
            item->err = PL_EXPIRED;
            break;
        }
        case PL_DUE_SESSION: {
            struct pl_mailbox *mailbox = PL_CONTAINER(due, struct pl_mailbox, expiry);
            settle_will(r, mailbox, true);
            pl_run_remove(r, mailbox->session, PL_EXPIRED);
            break;
        }
        case PL_DUE_WILL:
            settle_will(r, PL_CONTAINER(due, struct pl_mailbox, will_due), true);
            break;
        case PL_DUE_CALL:
            pl_run_call_due(r, due);
            break;
        }
    }
    r->batch->item_promised = 0;
}

/* ---- on the workers, outside the lock ---- */

struct pl_expected *pl_expected_find(struct pl_worker *w, const struct pl_session *session)
{
    struct pl_expected *e = w->expected;
    while (e && e->session != session)
        e = e->next;
    return e;
}

static struct pl_early *add_early(struct pl_expected *e)
{
    struct pl_early *early = pl_zalloc(sizeof *early);
    if (!early)
        return NULL;
    if (e->early_last)
        e->early_last->next = early;
    else
        e->early = early;
    e->early_last = early;
    return early;
}

void pl_expected_keep_run(struct pl_expected *e, struct pl_subscription *sub,
    const struct pl_message *const *messages, uint32_t count, enum pl_origin origin, uint64_t epoch)
{
    struct pl_message **kept = pl_alloc((count ? count : 1) * sizeof *kept);
    struct pl_early *early = kept ? add_early(e) : NULL;
    if (!early) {
        pl_free(kept);
        pl_count(&e->worker->counters.dropped_no_memory, count);
        return;
    }
    early->sub = sub;
    early->kept = kept;
    early->origin = (uint8_t)origin;
    early->epoch = epoch;
    for (uint32_t i = 0; i < count; i++) {
        kept[early->count] = pl_message_keep(messages[i]);
        early->count += kept[early->count] != NULL;
    }
}

void pl_expected_keep_item(struct pl_expected *e, const struct pl_item *item)
{
    struct pl_early *early = add_early(e);
    if (early)
        early->item = *item;
    else
        pl_count(&e->worker->counters.dropped_no_memory, 1);
}

void pl_takeover_expect(struct pl_worker *w, struct pl_expected *e)
{
    e->next = w->expected;
    w->expected = e;
}

/* It is here: says goodbye to its connection and sends it on. */
static void hand_over(struct pl_worker *w, struct pl_session *s, struct pl_expected *to)
{
    if (s->out)
        pl_session_call_ended(s, PL_TAKEN_OVER);
    PL_ASSERT(!s->out);
    /* What it asked for here is run while it is here: nothing of this worker refers to it then. */
    if (!pl_worker_run_open(w))
        pl_session_drop_ops(w, s);
    pl_backlog_drop_session(w, s); /* for the connection that has ended, at most once */
    for (struct pl_replay_job **at = &w->replays; *at;) {
        struct pl_replay_job *job = *at;
        if (job->session != s) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job->next = to->replays;
        to->replays = job;
    }
    for (struct pl_session **at = &w->ending; *at; at = &(*at)->ending_next)
        if (*at == s) {
            *at = s->ending_next;
            break;
        }
    s->is_ending = s->has_left = false;
    s->ending_why = PL_OK;
    s->tenure++;
    s->worker = to->worker;
    pl_worker_post(to->worker, &to->post);
}

void pl_takeover_take(struct pl_worker *w, struct pl_session *s, struct pl_expected *to)
{
    /* Claims may stand in a row, several of them on this worker: the one before goes first. */
    for (struct pl_expected *e = w->expected; e; e = e->next)
        if (e->session == s && e != to && !e->onward) {
            e->onward = to;
            return;
        }
    hand_over(w, s, to);
}

static void play_early(struct pl_worker *w, struct pl_expected *e)
{
    /* A later claim of this session on this worker keeps what came after: this is older, and is not
     * put behind it. */
    struct pl_expected *others = w->expected;
    w->expected = NULL;
    while (e->early) {
        struct pl_early *early = e->early;
        e->early = early->next;
        if (early->kept) {
            pl_walk_deliver(w, early->sub, (const struct pl_message *const *)early->kept,
                early->count, (enum pl_origin)early->origin, early->epoch);
            for (uint32_t i = 0; i < early->count; i++)
                pl_message_unref(early->kept[i]);
            pl_free(early->kept);
        } else {
            pl_session_dispatch(w, &early->item);
        }
        pl_free(early);
    }
    w->expected = others;
}

/* The session is here. */
static void arrive(struct pl_post *post, void *context)
{
    struct pl_worker *w = context;
    struct pl_expected *e = PL_CONTAINER(post, struct pl_expected, post);
    struct pl_session *s = e->session, *claimer = e->claimer;
    for (struct pl_expected **at = &w->expected; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    while (e->replays) {
        struct pl_replay_job *job = e->replays;
        e->replays = job->next;
        job->next = w->replays;
        w->replays = job;
    }
    /* The login that is now behind it counts, not the one that began it, and before anything is
     * sent or read on its behalf. */
    struct pl_batch *b = claimer->identity ? pl_batch_open(w, s->realm) : NULL;
    struct pl_op *op = b ? pl_batch_add_op(b, PL_OP_IDENTITY, s) : NULL;
    if (op)
        op->subject = pl_identity_ref(claimer->identity);

    bool is_new = op && pl_worker_run_open(w);

    bool is_late = claimer->has_left;
    enum pl_err err = is_late ? PL_CLOSED : is_new ? PL_OK : PL_NO_MEMORY;
    claimer->open_request = NULL;
    struct pl_completion done = {
        .kind = PL_DONE_CLAIM,
        .err = err,
        .is_resumed = !err,
        .token = e->token,
        .session = err ? claimer : s,
    };
    claimer->ops->complete(claimer, &done);
    if (err)
        pl_session_detach(s, true);
    if (is_late) {
        done = (struct pl_completion){.kind = PL_DONE_LEAVE, .session = claimer};
        claimer->ops->complete(claimer, &done);
    }
    play_early(w, e);
    if (e->onward)
        hand_over(w, s, e->onward);
    pl_expected_free(e);
}
