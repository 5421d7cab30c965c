/*
 * Deliveries, on the worker that owns the targets, outside every lock.
 *
 *     batch ─ item (messages i..j, match set) ─ part of this worker ─ groups of one wire form
 *                                                      │ encode the messages once, into one buffer
 *                                                      └ each target: append that buffer's bytes
 *
 * So a target is visited once per stretch of messages, not once per message, and a message is
 * encoded once per wire form. The buffers are used again as soon as no output refers to them.
 *
 * Slow readers: an output over its limit meets its subscription's policy here. What is kept for it
 * (drop oldest, newest per subject) waits in a backlog of messages until half of the limit is free.
 */
#include "base/alloc.h"
#include "core/audience.h"
#include "core/batch.h"
#include "core/dealer.h"

enum { SCRATCH_COUNT = 32, SCRATCH_CAP_MAX = 4 * 1024 * 1024 };

struct pl_walk {
    struct pl_shared *scratch[SCRATCH_COUNT];
    uint32_t scratch_at;
    uint32_t *ends;
    const struct pl_message **chosen;
    uint32_t cap; /* of ends and chosen */
};

struct pl_backlog {
    struct pl_backlog *next;
    struct pl_subscription *sub;
    struct pl_message **ring; /* one reference each */
    uint32_t first, count, max;
    uint64_t epoch;
};

struct pl_walk *pl_walk_new(void)
{
    return pl_zalloc(sizeof(struct pl_walk));
}

struct pl_walk *pl_walk_free(struct pl_walk *walk)
{
    if (!walk)
        return NULL;
    for (uint32_t i = 0; i < SCRATCH_COUNT; i++)
        pl_shared_unref(walk->scratch[i]);
    pl_free(walk->ends);
    pl_free(walk->chosen);
    pl_free(walk);
    return NULL;
}

static bool make_room(struct pl_walk *walk, uint32_t count)
{
    if (count <= walk->cap)
        return true;
    uint32_t cap = walk->cap ? walk->cap : 256;
    while (cap < count)
        cap *= 2;
    uint32_t *ends = pl_realloc(walk->ends, cap * sizeof *ends);
    if (ends)
        walk->ends = ends;
    const struct pl_message **chosen =
        ends ? pl_realloc((void *)walk->chosen, cap * sizeof *chosen) : NULL;
    if (!chosen)
        return false;
    walk->chosen = chosen;
    walk->cap = cap;
    return true;
}

/* A slot whose buffer nobody else refers to, if there is one. */
static struct pl_shared **next_scratch(struct pl_walk *walk)
{
    for (uint32_t i = 0; i < SCRATCH_COUNT; i++) {
        struct pl_shared **slot = &walk->scratch[(walk->scratch_at + i) % SCRATCH_COUNT];
        if (!*slot || pl_shared_is_mine(*slot)) {
            walk->scratch_at = (uint32_t)(slot - walk->scratch);
            return slot;
        }
    }
    walk->scratch_at = (walk->scratch_at + 1) % SCRATCH_COUNT;
    return &walk->scratch[walk->scratch_at];
}

/* Encodes the run for the form of sub. A message that this form cannot carry is left out. *slot
 * holds the buffer afterwards. */
static bool encode_run(struct pl_worker *w, const struct pl_session_ops *ops,
    const struct pl_subscription *sub, struct pl_run *run, struct pl_shared **slot)
{
    struct pl_walk *walk = w->walk;
    if (!make_room(walk, run->count))
        return false;
    struct pl_writer writer = pl_writer_reuse(slot);
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        size_t before = writer.len;
        enum pl_err err = ops->encode(sub, run->messages[i], w->now_ms, &writer);
        if (writer.err)
            break;
        if (err) {
            writer.len = before;
            continue;
        }
        walk->ends[n] = (uint32_t)writer.len;
        walk->chosen[n++] = run->messages[i];
    }
    if (pl_writer_take(&writer, slot))
        return false;
    run->frames = *slot;
    run->ends = walk->ends;
    run->messages = walk->chosen;
    run->count = n;
    return true;
}

static void trim_scratch(struct pl_shared **slot)
{
    if (*slot && (*slot)->cap > SCRATCH_CAP_MAX)
        *slot = pl_shared_unref(*slot);
}

static void grant_replies(struct pl_session *s, const struct pl_run *run)
{
    if (!s->identity || s->identity->rights[PL_PUBLISH].allow_all)
        return;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        if (m->grants_reply && !pl_identity_may_publish(s->identity, m->reply))
            pl_grants_add(s, m->reply);
    }
}

static struct pl_backlog *new_backlog(struct pl_worker *w, struct pl_subscription *sub)
{
    uint32_t max = pl_realm_limits(sub->session->realm)->backlog_max;
    struct pl_backlog *backlog = max ? pl_zalloc(sizeof *backlog) : NULL;
    if (!backlog)
        return NULL;
    backlog->ring = pl_alloc(max * sizeof *backlog->ring);
    if (!backlog->ring) {
        pl_free(backlog);
        return NULL;
    }
    backlog->max = max;
    backlog->sub = sub;
    backlog->next = w->backlogs;
    w->backlogs = backlog;
    sub->backlog = backlog;
    return backlog;
}

static struct pl_message **backlog_at(struct pl_backlog *backlog, uint32_t i)
{
    return &backlog->ring[(backlog->first + i) % backlog->max];
}

/* True: it took the place of an older one of its subject. */
static bool replace_same_subject(struct pl_backlog *backlog, const struct pl_message *m)
{
    for (uint32_t i = 0; i < backlog->count; i++) {
        struct pl_message **at = backlog_at(backlog, i);
        if (!pl_bytes_equal((*at)->subject, m->subject))
            continue;
        struct pl_message *kept = pl_message_keep(m);
        if (!kept)
            return true;
        pl_message_unref(*at);
        *at = kept;
        return true;
    }
    return false;
}

static void keep_for_later(
    struct pl_worker *w, struct pl_subscription *sub, const struct pl_run *run)
{
    struct pl_backlog *backlog = sub->backlog ? sub->backlog : new_backlog(w, sub);
    uint32_t dropped = backlog ? 0 : run->count;
    for (uint32_t i = 0; backlog && i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        if (sub->slow == PL_SLOW_KEEP_LATEST && replace_same_subject(backlog, m)) {
            dropped++;
            continue;
        }
        if (backlog->count == backlog->max) {
            pl_message_unref(*backlog_at(backlog, 0));
            backlog->first = (backlog->first + 1) % backlog->max;
            backlog->count--;
            dropped++;
        }
        struct pl_message *kept = pl_message_keep(m);
        if (kept)
            *backlog_at(backlog, backlog->count++) = kept;
        else
            dropped++;
    }
    if (backlog)
        backlog->epoch = run->cursor.epoch;
    sub->dropped += dropped;
    pl_count(&w->counters.dropped_slow, dropped);
}

/* False: the run is not to be delivered now. */
static bool has_room(struct pl_worker *w, struct pl_subscription *sub, const struct pl_run *run)
{
    struct pl_session *s = sub->session;
    switch ((enum pl_slow_policy)sub->slow) {
    case PL_SLOW_DISCONNECT:
        pl_session_end(s, PL_SLOW_CONSUMER);
        pl_count(&w->counters.dropped_slow, run->count);
        return false;
    case PL_SLOW_DROP_NEWEST:
        sub->dropped += run->count;
        pl_count(&w->counters.dropped_slow, run->count);
        return false;
    case PL_SLOW_DROP_OLDEST:
    case PL_SLOW_KEEP_LATEST:
        keep_for_later(w, sub, run);
        return false;
    case PL_SLOW_OWN:
        return true;
    }
    return true;
}

static void deliver_one(struct pl_worker *w, struct pl_subscription *sub, const struct pl_run *run)
{
    struct pl_session *s = sub->session;
    if (s->has_left || (s->is_ending && sub->slow != PL_SLOW_OWN))
        return;
    if (sub->backlog) {
        keep_for_later(w, sub, run);
        return;
    }
    struct pl_output *out = s->out;
    if (out && out->bytes > out->bytes_max && !has_room(w, sub, run))
        return;
    grant_replies(s, run);
    s->ops->deliver(s, sub, run);
}

/* What has not expired; the run's own array if that is all. */
static void leave_out_expired(struct pl_worker *w, struct pl_run *run)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->count; i++)
        n += !pl_message_is_expired(run->messages[i], w->now_ms);
    if (n == run->count)
        return;
    pl_count(&w->counters.dropped_expired, run->count - n);
    const struct pl_message **left = pl_arena_alloc(&w->turn_arena, (n ? n : 1) * sizeof *left);
    uint32_t at = 0;
    for (uint32_t i = 0; left && i < run->count; i++)
        if (!pl_message_is_expired(run->messages[i], w->now_ms))
            left[at++] = run->messages[i];
    run->messages = left;
    run->count = at;
}

static uint64_t payload_bytes(const struct pl_run *run)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < run->count; i++)
        n += run->messages[i]->payload.len;
    return n;
}

static const struct pl_audience *audience_of(const struct pl_message *m)
{
    return m->properties ? m->properties->audience : NULL;
}

/* A message with an audience comes alone, or to one subscription whose run was looked through. */
static const struct pl_audience *run_audience(const struct pl_run *run)
{
    return run->count == 1 ? audience_of(run->messages[0]) : NULL;
}

/* What this one subscription's session is meant to get; the run's own array if that is all. */
static void leave_out_others(
    struct pl_worker *w, const struct pl_subscription *sub, struct pl_run *run)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_audience *audience = audience_of(run->messages[i]);
        n += !audience || pl_audience_admits(audience, sub->session);
    }
    if (n == run->count)
        return;
    const struct pl_message **left = pl_arena_alloc(&w->turn_arena, (n ? n : 1) * sizeof *left);
    uint32_t at = 0;
    for (uint32_t i = 0; left && i < run->count; i++) {
        const struct pl_audience *audience = audience_of(run->messages[i]);
        if (!audience || pl_audience_admits(audience, sub->session))
            left[at++] = run->messages[i];
    }
    run->messages = left;
    run->count = at;
}

/* Who does not hear what he published. */
struct pl_spared {
    uint64_t publisher; /* session id; 0: nobody */
    bool everywhere;    /* over all of its subscriptions, not only those that say so */
};

/* Subscriptions of one form: encoded once, appended to each. */
static void deliver_group(struct pl_worker *w, const struct pl_session_ops *ops, uint64_t form,
    struct pl_subscription *const *subs, uint32_t sub_count, struct pl_run run,
    const struct pl_spared *spared)
{
    const struct pl_audience *audience = run_audience(&run);
    struct pl_shared **slot = NULL;
    if (form && run.origin == PL_ORIGIN_LIVE) {
        slot = next_scratch(w->walk);
        if (!encode_run(w, ops, subs[0], &run, slot)) {
            pl_count(&w->counters.dropped_no_memory, (uint64_t)run.count * sub_count);
            return;
        }
        if (!run.count)
            return;
    }
    pl_count(&w->counters.messages_out, (uint64_t)run.count * sub_count);
    pl_count(&w->counters.payload_bytes_out, payload_bytes(&run) * sub_count);
    for (uint32_t i = 0; i < sub_count; i++) {
        struct pl_subscription *sub = subs[i];
        struct pl_expected *e = w->expected ? pl_expected_find(w, sub->session) : NULL;
        if (spared->publisher && sub->session->id == spared->publisher &&
            (spared->everywhere || sub->flags & PL_SUB_NO_LOCAL))
            continue;
        if (e)
            pl_expected_keep_run(
                e, sub, run.messages, run.count, (enum pl_origin)run.origin, run.cursor.epoch);
        else if (!audience || pl_audience_admits(audience, sub->session))
            deliver_one(w, sub, &run);
    }
    if (slot)
        trim_scratch(slot);
}

void pl_walk_deliver(struct pl_worker *w, struct pl_subscription *sub,
    const struct pl_message *const *messages, uint32_t count, enum pl_origin origin, uint64_t epoch)
{
    struct pl_run run = {
        .messages = messages, .count = count, .origin = (uint8_t)origin, .cursor.epoch = epoch};
    leave_out_expired(w, &run);
    leave_out_others(w, sub, &run);
    const struct pl_spared nobody = {0};
    if (run.count)
        deliver_group(w, sub->session->ops, sub->form, &sub, 1, run, &nobody);
}

static void walk_run(struct pl_worker *w, struct pl_batch *b, const struct pl_item *item)
{
    const struct pl_match *match = item->match;
    const struct pl_match_part *part = match->parts, *end = part + match->part_count;
    while (part < end && part->worker != w->index)
        part++;
    if (part == end)
        return;
    struct pl_run run = {
        .messages = (const struct pl_message *const *)b->messages + item->first,
        .count = item->count,
        .cursor.epoch = pl_realm_epoch(b->realm),
    };
    if (b->has_expiring)
        leave_out_expired(w, &run);
    if (!run.count)
        return;
    const struct pl_spared spared = {item->token, item->spares_publisher};
    for (uint32_t i = 0; i < part->count; i++) {
        const struct pl_match_group *g = &match->groups[part->first + i];
        deliver_group(w, g->ops, g->form, match->targets + g->first, g->count, run, &spared);
    }
}

static void walk_replay(struct pl_worker *w, struct pl_batch *b, struct pl_item *item)
{
    const struct pl_message *const *kept = (const struct pl_message *const *)item->kept;
    if (item->count) {
        struct pl_expected *e = w->expected ? pl_expected_find(w, item->session) : NULL;
        uint64_t epoch = pl_realm_epoch(b->realm);
        if (e)
            pl_expected_keep_run(
                e, item->sub, kept, item->count, (enum pl_origin)item->origin, epoch);
        else
            pl_walk_deliver(w, item->sub, kept, item->count, (enum pl_origin)item->origin, epoch);
    }
    for (uint32_t i = 0; i < item->count; i++)
        pl_message_unref(item->kept[i]);
}

void pl_walk_batch(struct pl_worker *w, struct pl_batch *b)
{
    for (uint32_t i = 0; i < b->item_count; i++) {
        struct pl_item *item = &b->items[i];
        if (item->kind == PL_ITEM_RUN) {
            walk_run(w, b, item);
            continue;
        }
        if (item->worker != w->index)
            continue;
        switch ((enum pl_item_kind)item->kind) {
        case PL_ITEM_RUN:
            break;
        case PL_ITEM_PICK: {
            struct pl_expected *e = w->expected ? pl_expected_find(w, item->session) : NULL;
            const struct pl_message *const *messages =
                (const struct pl_message *const *)b->messages + item->first;
            uint64_t epoch = pl_realm_epoch(b->realm);
            if (e)
                pl_expected_keep_run(e, item->sub, messages, item->count, PL_ORIGIN_LIVE, epoch);
            else
                pl_walk_deliver(w, item->sub, messages, item->count, PL_ORIGIN_LIVE, epoch);
            break;
        }
        case PL_ITEM_REPLAY:
            walk_replay(w, b, item);
            break;
        case PL_ITEM_EXPECT:
            pl_takeover_expect(w, item->expected);
            break;
        case PL_ITEM_TAKEN:
            pl_takeover_take(w, item->session, item->expected);
            break;
        case PL_ITEM_DONE:
        case PL_ITEM_ENDED:
        case PL_ITEM_CONTESTED:
        case PL_ITEM_IDENTITY: {
            struct pl_expected *e = w->expected ? pl_expected_find(w, item->session) : NULL;
            if (e)
                pl_expected_keep_item(e, item);
            else
                pl_session_dispatch(w, item);
            break;
        }
        case PL_ITEM_INVOKE:
        case PL_ITEM_INTERRUPT:
        case PL_ITEM_RESULT:
        case PL_ITEM_UNREGISTERED:
        case PL_ITEM_PRESS:
        case PL_ITEM_TOLD:
        case PL_ITEM_NOTICE:
            pl_walk_call(b, item);
            break;
        }
    }
}

static void free_backlog(struct pl_backlog *backlog)
{
    for (uint32_t i = 0; i < backlog->count; i++)
        pl_message_unref(*backlog_at(backlog, i));
    pl_free(backlog->ring);
    pl_free(backlog);
}

static void drop_backlogs(
    struct pl_worker *w, const struct pl_subscription *sub, const struct pl_session *session)
{
    for (struct pl_backlog **at = &w->backlogs; *at;) {
        struct pl_backlog *backlog = *at;
        bool is_meant = sub ? backlog->sub == sub : backlog->sub->session == session;
        if (!is_meant) {
            at = &backlog->next;
            continue;
        }
        *at = backlog->next;
        backlog->sub->backlog = NULL;
        free_backlog(backlog);
    }
}

void pl_backlog_drop(struct pl_worker *w, struct pl_subscription *sub)
{
    if (sub && sub->backlog)
        drop_backlogs(w, sub, NULL);
}

void pl_backlog_drop_session(struct pl_worker *w, struct pl_session *session)
{
    drop_backlogs(w, NULL, session);
}

bool pl_walk_backlogs(struct pl_worker *w)
{
    bool any = false;
    for (struct pl_backlog **at = &w->backlogs; *at;) {
        struct pl_backlog *backlog = *at;
        struct pl_subscription *sub = backlog->sub;
        struct pl_output *out = sub->session->out;
        if (out && out->bytes > out->bytes_max / 2) {
            at = &backlog->next;
            continue;
        }
        *at = backlog->next;
        sub->backlog = NULL;
        uint32_t left = backlog->max - backlog->first;
        uint32_t first_part = backlog->count < left ? backlog->count : left;
        pl_walk_deliver(w, sub, (const struct pl_message *const *)backlog->ring + backlog->first,
            first_part, PL_ORIGIN_LIVE, backlog->epoch);
        if (first_part < backlog->count)
            pl_walk_deliver(w, sub, (const struct pl_message *const *)backlog->ring,
                backlog->count - first_part, PL_ORIGIN_LIVE, backlog->epoch);
        free_backlog(backlog);
        any = true;
        at = &w->backlogs; /* delivering may have changed the list */
    }
    return any;
}
