/*
 * What happens under a realm's lock: each op of a batch becomes items, in order.
 *
 * A message costs one entry: the first of a stretch with one match set opens a RUN item, those
 * behind it make it longer. Nothing is encoded or delivered here.
 *
 * Items are reserved before the lock for all that must be answered, so that a batch is run whole or
 * not at all. If memory runs out under the lock, a
 * message is dropped, counted, and its publisher told if it asked.
 */
#include "core/realm_state.h"

#include "base/alloc.h"
#include "core/audience.h"

enum { REPLAY_CHUNK = 128, REPLAY_STEPS = 4096 };

struct pl_item *pl_run_done(
    struct pl_runner *r, struct pl_session *s, enum pl_done done, enum pl_err err, uint64_t token)
{
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_DONE, s->address);
    item->session = s;
    item->done = (uint8_t)done;
    item->err = (uint8_t)err;
    item->token = token;
    return item;
}

static void concern_match(struct pl_batch *b, const struct pl_match *match)
{
    for (uint32_t i = 0; i < match->part_count; i++)
        b->concerned |= 1ull << match->parts[i].worker;
}

static bool has_audience(const struct pl_message *m)
{
    return m->properties && m->properties->audience;
}

static bool add_run(struct pl_runner *r, struct pl_match *match, uint32_t index)
{
    struct pl_batch *b = r->batch;
    const struct pl_message *m = b->messages[index];
    uint64_t publisher = match->has_no_local || m->spares_publisher ? m->publisher : 0;
    if (b->open_run) {
        struct pl_item *item = &b->items[b->open_run - 1];
        if (item->match == match && item->first + item->count == index &&
            item->token == publisher && item->spares_publisher == m->spares_publisher &&
            !has_audience(m) && !has_audience(b->messages[index - 1])) {
            item->count++;
            return true;
        }
    }
    if (pl_batch_reserve_items(b, 1))
        return false;
    struct pl_item *item = pl_batch_item(b, PL_ITEM_RUN, b->worker);
    item->match = pl_match_ref(match);
    item->first = index;
    item->count = 1;
    item->token = publisher;
    item->spares_publisher = m->spares_publisher;
    concern_match(b, match);
    b->open_run = b->item_count;
    return true;
}

struct pl_subscription *pl_run_pick(struct pl_realm *realm, const struct pl_match *match,
    const struct pl_match_slot *slot, const struct pl_message *message, uint8_t flags)
{
    struct pl_subscription *const *members = match->members + slot->first;
    uint32_t start = slot->count > 1 ? pl_random_below(&realm->random, slot->count) : 0;
    struct pl_subscription *second = NULL; /* one that is away: its mailbox takes it */
    for (uint32_t i = 0; i < slot->count; i++) {
        struct pl_subscription *sub = members[(start + i) % slot->count];
        const struct pl_mailbox *mailbox = sub->session->mailbox;
        bool is_spared = message->spares_publisher || sub->flags & PL_SUB_NO_LOCAL;
        if ((is_spared && sub->session->id == message->publisher) || (sub->flags & flags) != flags)
            continue;
        if (has_audience(message) &&
            !pl_audience_may_admit(message->properties->audience, sub->session))
            continue;
        if (!mailbox || !mailbox->is_detached)
            return sub;
        if (!second)
            second = sub;
    }
    return second;
}

bool pl_run_add_pick(struct pl_runner *r, struct pl_subscription *sub, uint32_t index)
{
    struct pl_batch *b = r->batch;
    struct pl_item *last = b->item_count ? &b->items[b->item_count - 1] : NULL;
    if (last && last->kind == PL_ITEM_PICK && last->sub == sub &&
        last->first + last->count == index) {
        last->count++;
        return true;
    }
    if (pl_batch_reserve_items(b, 1))
        return false;
    struct pl_item *item = pl_batch_item(b, PL_ITEM_PICK, &r->realm->workers[sub->worker]);
    item->sub = sub;
    item->session = sub->session;
    item->first = index;
    item->count = 1;
    return true;
}

static bool add_picks(struct pl_runner *r, const struct pl_match *match, uint32_t index)
{
    if (pl_batch_reserve_items(r->batch, match->slot_count))
        return false;
    for (uint32_t i = 0; i < match->slot_count; i++) {
        struct pl_subscription *sub =
            pl_run_pick(r->realm, match, &match->slots[i], r->batch->messages[index], 0);
        if (sub && !pl_run_add_pick(r, sub, index))
            return false;
    }
    return true;
}

/* What a publication that answers a call says of itself: it has reached someone; and a note. */
static const struct pl_match answered = {.receivers = 1}, noted = {0};

void pl_run_message(
    struct pl_runner *r, uint32_t index, const struct pl_match **out_match, enum pl_err *out_err)
{
    struct pl_realm *realm = r->realm;
    struct pl_message *m = r->batch->messages[index];
    *out_match = NULL;
    *out_err = PL_OK;
    m->id = ++realm->publications;
    if (realm->dealer.by_reply.count && pl_subject_is_inbox(m->subject) && pl_run_reply(r, index)) {
        *out_match = &answered;
        return;
    }
    /* What is for sessions of now is for nobody who comes later. */
    bool is_fleeting = has_audience(m) && m->properties->audience->names_sessions;
    if (realm->has_history && !is_fleeting) {
        *out_err = pl_history_append(realm->history, m, r->now_unix_ms);
        if (*out_err)
            return;
    }
    if (m->is_note) {
        *out_match = &noted;
        return;
    }
    if (m->retain && !is_fleeting) {
        *out_err = pl_retained_set(realm->retained, m);
        if (*out_err && m->is_kept)
            pl_store_retained(r, m->subject); /* it was written, and is not to come back */
        if (*out_err == PL_NO_MEMORY)
            return;
    } else if (realm->retained_readers) {
        pl_retained_touch(realm->retained, m->subject, m->id);
    }
    struct pl_match *match = r->last;
    bool is_logged = m->offset != 0;
    if (!match || r->last_logged != is_logged || !pl_bytes_equal(match->subject, m->subject)) {
        match = pl_matcher_match(realm->matcher, m->subject, is_logged);
        r->last = match;
        r->last_logged = is_logged;
    }
    if (!match || (match->target_count && !add_run(r, match, index)) ||
        (match->slot_count && !add_picks(r, match, index))) {
        pl_count(&r->batch->worker->counters.dropped_no_memory, 1);
        *out_err = PL_NO_MEMORY;
        return;
    }
    *out_match = match;
}

void pl_run_publish_kept(struct pl_runner *r, struct pl_message *kept_moved)
{
    uint32_t index;
    const struct pl_match *match;
    enum pl_err err;
    kept_moved->time_unix_ms = r->now_unix_ms;
    if (pl_run_defer_kept(r, kept_moved))
        return;
    if (!pl_batch_add_kept(r->batch, kept_moved, &index))
        pl_run_message(r, index, &match, &err);
    else
        pl_count(&r->batch->worker->counters.dropped_no_memory, 1);
}

/* True if this session is among those who get what the match set says. */
static bool hears_itself(const struct pl_match *match, const struct pl_session *s)
{
    for (uint32_t i = 0; i < match->target_count; i++)
        if (match->targets[i]->session == s)
            return true;
    return false;
}

/*
 * An answer between two messages of a stretch ends the stretch only for a publisher who hears
 * himself: nobody else can see which of both came first. So QoS 1 and Redis, where every
 * publication is answered, are delivered in stretches too.
 */
static uint32_t run_that_may_grow(struct pl_runner *r, const struct pl_session *s)
{
    if (!r->batch->open_run)
        return 0;
    const struct pl_match *match = r->batch->items[r->batch->open_run - 1].match;
    PL_ASSERT(match);
    if (match != r->heard || s != r->hearer) {
        r->heard = match;
        r->hearer = s;
        r->is_heard = hears_itself(match, s);
    }
    return r->is_heard ? 0 : r->batch->open_run;
}

/* As a message, and as a call if there is a registration that answers it; *out_called. */
static void run_one(struct pl_runner *r, const struct pl_op *op, uint32_t index,
    const struct pl_match **out_match, bool *out_called, enum pl_err *out_err)
{
    *out_called = r->batch->messages[index]->reply.len && r->realm->dealer.registrations.count &&
                  pl_run_request(r, op->session, index);
    pl_run_message(r, index, out_match, out_err);
}

void pl_run_plain(struct pl_runner *r, const struct pl_op *op, uint32_t index)
{
    const struct pl_match *match;
    bool called;
    enum pl_err dropped; /* counted where it was met */
    run_one(r, op, index, &match, &called, &dropped);
}

static void run_publish(struct pl_runner *r, const struct pl_op *op)
{
    const struct pl_match *match = NULL;
    bool called = false;
    if (op->count > 1) {
        for (uint32_t i = 0; i < op->count; i++)
            pl_run_plain(r, op, op->index + i);
        return;
    }
    enum pl_err err = (enum pl_err)op->err;
    if (!err)
        run_one(r, op, op->index, &match, &called, &err);
    bool nobody = !err && match->receivers == 0 && !called;
    if (nobody && op->flags & PL_WANT_RESPONDERS) {
        err = PL_NO_RESPONDERS;
        pl_count(&r->batch->worker->counters.no_responders, 1);
    } else if (!(op->flags & PL_WANT_DONE) && !(err && op->flags & PL_WANT_ERROR)) {
        return;
    }
    uint32_t open_run = run_that_may_grow(r, op->session);
    struct pl_item *item = pl_run_done(r, op->session, PL_DONE_PUBLISH, err, op->token);
    item->receivers = (match ? match->receivers : 0) + called;
    item->id = err ? 0 : pl_publication_public_id(r->realm, r->batch->messages[op->index]);
    r->batch->open_run = open_run;
}

static void run_read_log(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_realm *realm = r->realm;
    const struct pl_log_request *request = op->subject;
    struct pl_cursor head = pl_history_head(realm->history);
    uint64_t offset = pl_history_resume_at(realm->history, request->from);
    struct pl_message *found[REPLAY_CHUNK];
    bool is_end = false;
    size_t max = request->max < REPLAY_CHUNK ? request->max : REPLAY_CHUNK;
    size_t n = pl_history_read(realm->history, request->pattern, false, r->now_ms, &offset, found,
        max, REPLAY_STEPS, &is_end);
    struct pl_item *item = pl_run_done(r, op->session, PL_DONE_LOG, PL_OK, op->token);
    item->kept = n ? pl_arena_alloc(&r->batch->arena, n * sizeof *item->kept) : NULL;
    for (size_t i = 0; item->kept && i < n; i++) {
        if (!pl_identity_may_receive(op->session->identity, found[i]->subject))
            continue;
        item->kept[item->count] = pl_message_keep(found[i]);
        item->count += item->kept[item->count] != NULL;
    }
    if (n && !item->kept)
        item->err = PL_NO_MEMORY;
    item->cursor = (struct pl_cursor){head.epoch, offset};
    item->is_on = is_end;
    pl_pattern_unref(request->pattern);
}

enum pl_err pl_run_enter(struct pl_runner *r, struct pl_session *s)
{
    struct pl_realm *realm = r->realm;
    if (realm->session_count >= realm->limits.sessions_max)
        return PL_LIMIT;
    if (s->card && pl_run_enter_presence(realm, s))
        return PL_NO_MEMORY;
    if (s->identity && s->identity->expires_unix_ms != PL_NEVER) {
        uint64_t end = s->identity->expires_unix_ms;
        uint64_t left_ms = end > r->now_unix_ms ? end - r->now_unix_ms : 0;
        s->expiry.kind = PL_DUE_IDENTITY;
        if (pl_heap_set(&realm->deadlines, &s->expiry, r->now_ms + left_ms)) {
            pl_run_leave_presence(realm, s);
            return PL_NO_MEMORY;
        }
    }
    s->realm_next = realm->sessions;
    if (s->realm_next)
        s->realm_next->realm_at = &s->realm_next;
    s->realm_at = &realm->sessions;
    realm->sessions = s;
    realm->session_count++;
    s->is_in_realm = true;
    pl_run_notice(r, s, PL_NOTICE_JOINED, NULL, NULL, false);
    return PL_OK;
}

static void take_out(struct pl_runner *r, struct pl_subscription *sub)
{
    struct pl_realm *realm = r->realm;
    pl_run_notice(r, sub->session, PL_NOTICE_UNSUBSCRIBED, sub->pattern, NULL, false);
    pl_matcher_remove(realm->matcher, sub);
    if (sub->has_claim)
        pl_history_release(realm->history, sub->pattern->text, r->now_unix_ms);
    realm->durable_subs -= sub->is_durable && sub->qos;
    *sub->session_at = sub->session_next;
    if (sub->session_next)
        sub->session_next->session_at = sub->session_at;
    sub->session->sub_count--;
    if (sub->job) {
        if (!sub->job->is_history && sub->job->is_started && !sub->job->is_over)
            realm->retained_readers--;
        sub->job->is_over = true;
        sub->job->sub = NULL;
        sub->job = NULL;
    }
    sub->pattern = pl_pattern_unref(sub->pattern);
}

void pl_run_remove(struct pl_runner *r, struct pl_session *s, enum pl_err why)
{
    struct pl_realm *realm = r->realm;
    pl_run_drop_calls(r, s);
    pl_run_forget_deferred(r, s);
    while (s->subs)
        take_out(r, s->subs);
    r->last = NULL;
    pl_run_notice(r, s, PL_NOTICE_LEFT, NULL, NULL, false);
    pl_run_leave_presence(realm, s);
    if (realm->observer == s)
        realm->observer = NULL;
    if (s->is_in_realm) {
        *s->realm_at = s->realm_next;
        if (s->realm_next)
            s->realm_next->realm_at = s->realm_at;
        realm->session_count--;
        s->is_in_realm = false;
    }
    pl_heap_remove(&realm->deadlines, &s->expiry);
    struct pl_mailbox *mailbox = s->mailbox;
    if (mailbox) {
        pl_unstore_mailbox(r, mailbox);
        pl_map_remove(&realm->names, &mailbox->entry);
        pl_heap_remove(&realm->deadlines, &mailbox->expiry);
        pl_heap_remove(&realm->deadlines, &mailbox->will_due);
        if (mailbox->is_detached)
            realm->detached_count--;
        pl_mailbox_free(mailbox);
        s->mailbox = NULL;
    }
    s->was_removed = true;
    pl_run_leave_seat(r, s);
    pl_run_done(r, s, PL_DONE_LEAVE, why, 0);
}

/* One step of a replay; PL_DONE_REPLAY and the job's end when it stands at the head. */
static void step_replay(struct pl_runner *r, struct pl_replay_job *job)
{
    struct pl_realm *realm = r->realm;
    struct pl_subscription *sub = job->sub;
    job->is_asked = false;
    if (job->is_over || !sub)
        return;
    struct pl_message *found[REPLAY_CHUNK];
    bool is_end = false;
    bool with_notes = sub->flags & PL_SUB_NOTES;
    uint64_t spared = job->is_history && sub->flags & PL_SUB_NO_LOCAL ? sub->session->id : 0;
    size_t n = job->is_history
                   ? pl_history_read(realm->history, sub->pattern, with_notes, r->now_ms,
                         &job->offset, found, REPLAY_CHUNK, REPLAY_STEPS, &is_end)
                   : pl_retained_read(realm->retained, sub->pattern, r->now_ms, job->retained,
                         found, REPLAY_CHUNK, REPLAY_STEPS, &is_end);
    struct pl_message **kept = n ? pl_arena_alloc(&r->batch->arena, n * sizeof *kept) : NULL;
    uint32_t count = 0;
    for (size_t i = 0; kept && i < n; i++) {
        if (sub->is_filtered && !pl_identity_may_receive(sub->session->identity, found[i]->subject))
            continue;
        if (spared && found[i]->publisher == spared)
            continue;
        kept[count] = pl_message_keep(found[i]);
        count += kept[count] != NULL;
    }
    if (n && !kept)
        pl_count(&r->batch->worker->counters.dropped_no_memory, n);
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_REPLAY, sub->session->address);
    item->session = sub->session;
    item->sub = sub;
    item->kept = kept;
    item->count = count;
    item->origin = job->is_history ? PL_ORIGIN_HISTORY : PL_ORIGIN_RETAINED;
    if (!is_end)
        return;
    job->is_over = true;
    sub->job = NULL;
    job->sub = NULL;
    if (sub->is_recovering) {
        sub->is_recovering = false;
        pl_matcher_touch_pattern(realm->matcher, sub->pattern);
        r->last = NULL;
    }
    if (!job->is_history)
        realm->retained_readers--;
    struct pl_item *done = pl_run_done(r, sub->session, PL_DONE_REPLAY, PL_OK, 0);
    done->sub = sub;
}

/* Where a history replay begins; false: nothing is to be given. */
static bool begin_history(struct pl_runner *r, struct pl_replay_job *job,
    struct pl_subscription *sub, bool *out_recovered)
{
    const struct pl_subscribe_options *o = &job->options;
    *out_recovered = false;
    if (o->has_cursor) {
        *out_recovered = pl_history_is_whole(r->realm->history, sub->pattern, o->cursor);
        if (!*out_recovered && o->is_strict)
            return false;
        job->offset = pl_history_resume_at(r->realm->history, o->cursor);
    }
    return true;
}

static void run_subscribe(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_realm *realm = r->realm;
    struct pl_subscription *sub = op->subject;
    struct pl_session *s = op->session;
    struct pl_replay_job *job = sub->job;
    enum pl_err err = (enum pl_err)op->err;
    bool is_recovered = false;
    struct pl_cursor head = pl_history_head(realm->history);
    if (!err && !s->is_in_realm)
        err = PL_CLOSED;
    if (!err && op->index != s->identities) { /* asked for with the rights of an older login */
        bool filtered = false;
        if (!pl_identity_may_subscribe(s->identity, sub->pattern, &filtered))
            err = PL_DENIED;
        sub->is_filtered = filtered;
    }
    if (!err && s->sub_count >= realm->limits.subscriptions_max)
        err = PL_LIMIT;
    if (!err && job && job->options.claims && sub->pattern->is_literal)
        err = pl_run_claim_subject(r, sub);
    if (!err) {
        sub->session = s;
        sub->worker = (uint8_t)s->address->index;
        if (job && job->is_history && !begin_history(r, job, sub, &is_recovered)) {
            job->is_over = true;
            job->sub = NULL;
            sub->job = job = NULL;
        } else if (job && job->is_history) {
            sub->is_recovering = true;
        }
        err = pl_matcher_add(realm->matcher, sub);
        if (err && sub->has_claim)
            pl_history_release(realm->history, sub->pattern->text, r->now_unix_ms);
    }
    r->last = NULL;
    if (err) {
        if (job) {
            job->is_over = true;
            job->sub = NULL;
            sub->job = NULL;
        }
        sub->pattern = pl_pattern_unref(sub->pattern);
    } else {
        sub->session_next = s->subs;
        if (sub->session_next)
            sub->session_next->session_at = &sub->session_next;
        sub->session_at = &s->subs;
        s->subs = sub;
        s->sub_count++;
        realm->durable_subs += sub->is_durable && sub->qos;
        pl_run_notice(r, s, PL_NOTICE_SUBSCRIBED, sub->pattern, NULL, false);
    }
    struct pl_item *item = pl_run_done(r, s, PL_DONE_SUBSCRIBE, err, op->token);
    item->sub = sub;
    item->cursor = head;
    item->is_recovered = is_recovered;
    if (err || !job)
        return;
    job->is_started = true;
    if (!job->is_history) {
        job->retained->since_id = realm->publications;
        realm->retained_readers++;
    }
    step_replay(r, job);
}

static void run_unsubscribe(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_subscription *sub = op->subject;
    if (sub->session_at) { /* not one that was refused, or went with its session */
        take_out(r, sub);
        sub->session_at = NULL;
    }
    r->last = NULL;
    struct pl_item *item =
        pl_run_done(r, op->session, PL_DONE_UNSUBSCRIBE, (enum pl_err)op->err, op->token);
    item->sub = sub;
}

/* The owner swaps the identity here, under the lock, because matching reads it from everywhere. */
static void run_identity(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_session *s = op->session;
    struct pl_identity *identity = op->subject;
    if (op->flags & PL_WANT_DONE)
        (void)pl_run_done(r, s, PL_DONE_JOIN, s->is_in_realm ? PL_OK : PL_CLOSED, op->token);
    if (!s->is_in_realm) {
        pl_identity_unref(identity);
        return;
    }
    struct pl_identity *old = s->identity;
    s->identity = identity;
    s->identities++;
    bool revoked = false;
    for (struct pl_subscription *sub = s->subs; sub; sub = sub->session_next) {
        bool filtered = false;
        revoked |= !pl_identity_may_subscribe(identity, sub->pattern, &filtered);
        sub->is_filtered = filtered;
    }
    pl_heap_remove(&r->realm->deadlines, &s->expiry);
    if (identity->expires_unix_ms != PL_NEVER) {
        uint64_t end = identity->expires_unix_ms;
        uint64_t at_ms = r->now_ms + (end > r->now_unix_ms ? end - r->now_unix_ms : 0);
        revoked |= pl_heap_set(&r->realm->deadlines, &s->expiry, at_ms) != PL_OK;
    }
    pl_matcher_touch(r->realm->matcher);
    r->last = NULL;
    pl_identity_unref(old);
    if (revoked) {
        struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_ENDED, s->address);
        item->session = s;
        item->err = PL_REVOKED;
    }
}

/* PL_DONE_LEAVE stands in some inbox already: no answer may come behind it. */
static bool is_too_late(const struct pl_op *op)
{
    /* Those of these kinds need their session no more, and may have outlived it. */
    bool is_nobodys = op->kind == PL_OP_NONE || op->kind == PL_OP_REPLAY ||
                      (op->kind == PL_OP_PUBLISH && !op->flags);
    return !is_nobodys && op->session->was_removed;
}

/* False: it was claimed after it asked, and is not for its old connection to end. */
static bool is_owners(const struct pl_op *op)
{
    return op->index == op->session->claims;
}

void pl_run_op(struct pl_runner *r, struct pl_op *op)
{
    if (is_too_late(op))
        pl_op_forget(op);
    if (r->realm->journal && !r->is_commit && pl_run_defer(r, op))
        return;
    switch ((enum pl_op_kind)op->kind) {
    case PL_OP_NONE:
        return;
    case PL_OP_PUBLISH:
        run_publish(r, op);
        return;
    case PL_OP_JOIN:
        pl_run_done(r, op->session, PL_DONE_JOIN, pl_run_enter(r, op->session), op->token);
        return;
    case PL_OP_CLAIM:
        pl_run_claim(r, op);
        return;
    case PL_OP_SEAT:
        pl_run_seat(r, op);
        return;
    case PL_OP_HOLD:
        pl_run_hold(r, op->session);
        return;
    case PL_OP_SUBSCRIBE:
        run_subscribe(r, op);
        return;
    case PL_OP_UNSUBSCRIBE:
        run_unsubscribe(r, op);
        return;
    case PL_OP_FENCE:
        pl_run_done(r, op->session, PL_DONE_FENCE, PL_OK, op->token);
        return;
    case PL_OP_STATE:
        if (op->flags)
            pl_run_done(r, op->session, PL_DONE_STATE, (enum pl_err)op->err, op->token);
        return;
    case PL_OP_REPLAY:
        step_replay(r, op->subject);
        return;
    case PL_OP_EXPIRY:
        if (is_owners(op))
            pl_run_set_expiry(r, op->session, op->token);
        return;
    case PL_OP_DETACH:
        if (is_owners(op))
            pl_run_detach(r, op->session, op->flags);
        return;
    case PL_OP_LEAVE:
        if (is_owners(op))
            pl_run_leave(r, op->session, op->flags);
        return;
    case PL_OP_IDENTITY:
        run_identity(r, op);
        return;
    case PL_OP_REGISTER:
        pl_run_register(r, op);
        return;
    case PL_OP_UNREGISTER:
        pl_run_unregister(r, op);
        return;
    case PL_OP_CALL:
        pl_run_call(r, op);
        return;
    case PL_OP_CANCEL:
        pl_run_cancel(r, op);
        return;
    case PL_OP_YIELD:
        pl_run_yield(r, op);
        return;
    case PL_OP_PASS:
        pl_run_pass(r, op);
        return;
    case PL_OP_PRESS:
        pl_run_press(r, op);
        return;
    case PL_OP_TELL:
        pl_run_tell(r, op);
        return;
    case PL_OP_CARD:
        pl_run_card(op);
        return;
    case PL_OP_READ_LOG:
        run_read_log(r, op);
        return;
    }
}

/* Items that must not be missing. Runs and picks reserve for themselves, and may fail. */
uint32_t pl_op_answers(const struct pl_op *op)
{
    switch ((enum pl_op_kind)op->kind) {
    case PL_OP_NONE:
    case PL_OP_EXPIRY:
    case PL_OP_CANCEL: /* what ends a call reserves for itself, and may wait */
    case PL_OP_YIELD:
    case PL_OP_PASS:
    case PL_OP_PRESS:
    case PL_OP_CARD:
        return 0;
    case PL_OP_PUBLISH:
    case PL_OP_STATE:
        return op->flags != 0;
    case PL_OP_JOIN:
    case PL_OP_UNSUBSCRIBE:
    case PL_OP_FENCE:
    case PL_OP_SEAT:
    case PL_OP_HOLD:
    case PL_OP_REGISTER:
    case PL_OP_UNREGISTER:
    case PL_OP_CALL:
    case PL_OP_TELL:
    case PL_OP_READ_LOG:
        return 1;
    case PL_OP_REPLAY:
    case PL_OP_IDENTITY:
    case PL_OP_DETACH: /* it has left; who waits for its seat */
    case PL_OP_LEAVE:
        return 2;
    case PL_OP_SUBSCRIBE: /* done, the first of a replay, its end */
    case PL_OP_CLAIM:     /* the older one is told and leaves; done */
        return 3;
    }
    return 0;
}

bool pl_realm_run(struct pl_realm *realm, struct pl_batch *b)
{
    struct pl_runner r = {
        .realm = realm,
        .batch = b,
        .now_ms = b->worker->now_ms,
        .now_unix_ms = b->worker->now_unix_ms,
    };
    uint32_t promised = 0;
    for (uint32_t i = 0; i < b->op_count; i++)
        promised += pl_op_answers(&b->ops[i]);
    if (pl_batch_reserve_items(b, promised))
        return false;
    b->item_promised = promised;
    pthread_mutex_lock(&realm->lock);
    for (uint32_t i = 0; i < b->op_count; i++) {
        uint32_t answers = pl_op_answers(&b->ops[i]);
        pl_run_op(&r, &b->ops[i]);
        b->item_promised -= answers;
    }
    b->op_count = 0;
    pl_run_let_go(&r);
    uint64_t wake = pl_realm_hand_over(realm, b);
    pthread_mutex_unlock(&realm->lock);
    pl_realm_wake(realm, wake);
    return true;
}

uint64_t pl_realm_hand_over(struct pl_realm *realm, struct pl_batch *b)
{
    uint64_t wake = 0, concerned = b->concerned;
    unsigned walkers = (unsigned)__builtin_popcountll(concerned);
    /* Its own worker always walks it, so that it gives it back even if nobody was concerned. */
    if (!(concerned >> b->worker->index & 1)) {
        concerned |= 1ull << b->worker->index;
        walkers++;
    }
    uint32_t own = b->worker->index;
    walkers += b->deferred > 0;
    atomic_store_explicit(&b->walkers, walkers, memory_order_relaxed);
    if (b->bytes)
        atomic_fetch_add_explicit(&b->worker->handed_bytes, b->bytes, memory_order_relaxed);
    /* Its own worker first: another may walk its link at once and hand a session over to the one
     * that claimed it here, which must have heard by then that it is expected. */
    pl_inbox_push(&b->worker->inbox, &b->links[own].post);
    concerned &= ~(1ull << own);
    for (uint32_t i = 0; i < realm->worker_count; i++)
        if (concerned >> i & 1 && pl_inbox_push(&realm->workers[i].inbox, &b->links[i].post))
            wake |= 1ull << i;
    if (pl_worker_hurry_tick(realm->workers, pl_heap_next_ms(&realm->deadlines)) && own)
        wake |= 1; /* the home; its own turn looks by itself */
    return wake;
}

void pl_realm_wake(struct pl_realm *realm, uint64_t bits)
{
    while (bits) {
        uint32_t i = (uint32_t)__builtin_ctzll(bits);
        bits &= bits - 1;
        struct pl_worker *w = &realm->workers[i];
        w->hooks->wake(w->hooks->context, w);
    }
}
