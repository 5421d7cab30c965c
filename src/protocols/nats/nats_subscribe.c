/*
 * SUB and UNSUB.
 *
 *     SUB         listed under its sid at once; a sid that is in use keeps its subscription
 *     refused     off the list, then as after UNSUB
 *     UNSUB       off the list at once, so that the sid can be used again; what was published
 *                 before still comes; freed when the core says so
 *     UNSUB max   counted from the first delivery, whenever it was asked for
 *
 * A refused one is not freed at once: an UNSUB max for it may be on its way (see nats_note), and
 * comes before the answer to the unsubscribing.
 */
#include "protocols/nats/nats_session.h"

#include "base/alloc.h"

static struct nats_sub *find_sub(struct nats_session *s, struct pl_bytes sid)
{
    struct pl_map_entry *e = pl_map_find(&s->subs, sid);
    return e ? PL_CONTAINER(e, struct nats_sub, entry) : NULL;
}

static void unlist(struct nats_session *s, struct nats_sub *sub)
{
    if (!sub->is_listed)
        return;
    pl_map_remove(&s->subs, &sub->entry);
    sub->is_listed = false;
    if (s->reply_sub == sub)
        s->reply_sub = NULL;
}

static struct nats_sub *sub_new(struct nats_session *s, const struct pl_nats_line *line)
{
    struct nats_sub *sub = pl_alloc(sizeof *sub + line->sid.len + line->queue.len);
    if (!sub)
        return NULL;
    const struct pl_link_config *config = s->nl->link.config;
    const struct pl_identity *identity = s->core.identity;
    *sub = (struct nats_sub){
        .core.form = nats_form(line->sid, s->headers),
        .core.slow = config->has_slow ? config->slow : PL_SLOW_DISCONNECT,
        /* What was before is nobody's in a queue group: each member would get all of it. */
        .core.replay = line->queue.len        ? PL_REPLAY_NONE
                       : identity->has_replay ? identity->replay
                                              : config->replay,
        .core.flags = (uint8_t)(PL_SUB_CAN_REPLY | (line->queue.len ? PL_SUB_QUEUE_BY_NAME : 0) |
                                (s->echo ? 0 : PL_SUB_NO_LOCAL)),
        .has_headers = s->headers,
        .sid_len = (uint16_t)line->sid.len,
    };
    memcpy(sub->text, line->sid.data, line->sid.len);
    if (line->queue.len)
        memcpy(sub->text + line->sid.len, line->queue.data, line->queue.len);
    sub->core.queue = pl_bytes_of(sub->text + line->sid.len, line->queue.len);
    return sub;
}

/* The subject as its client wrote it, for the words of a refusal, which comes with the completion.
 */
static uint64_t keep_subject(struct nats_session *s, struct pl_bytes subject)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct pl_bytes *kept = pl_arena_alloc(arena, sizeof *kept);
    char *text = kept ? pl_arena_copy(arena, subject) : NULL;
    if (!text)
        return 0;
    *kept = pl_bytes_of(text, subject.len);
    return (uint64_t)(uintptr_t)kept;
}

static void answer_ok(struct nats_session *s)
{
    if (s->verbose)
        nats_answer(s->nl, PL_BYTES("+OK\r\n"));
}

void nats_on_subscribe(struct nats_session *s, const struct pl_nats_line *line)
{
    struct pl_pattern *pattern;
    enum pl_err err = nats_pattern_decode(pl_session_arena(&s->core), line->subject, &pattern);
    if (err) {
        nats_answer_err(s->nl, PL_BYTES("Invalid Subject"));
        return;
    }
    struct nats_sub *sub = find_sub(s, line->sid) ? NULL : sub_new(s, line);
    if (sub && pl_map_add(&s->subs, &sub->entry, nats_sub_sid(sub)) != PL_OK) {
        pl_free(sub);
        sub = NULL;
    }
    if (!sub) {
        pl_pattern_unref(pattern);
        if (find_sub(s, line->sid))
            answer_ok(s);
        else
            nats_answer_err(s->nl, PL_BYTES("maximum subscriptions exceeded"));
        return;
    }
    sub->core.pattern = pattern;
    sub->is_listed = true;
    s->open_count++;
    pl_session_subscribe(&s->core, &sub->core, NULL, keep_subject(s, line->subject));
}

/* The words of a refusal; token: see keep_subject. */
static void refuse(
    struct nats_session *s, const struct nats_sub *sub, enum pl_err err, uint64_t token)
{
    const struct pl_bytes *subject = (const struct pl_bytes *)(uintptr_t)token;
    if (err == PL_BAD_NAME)
        nats_send_err(s->nl, PL_BYTES("Invalid Subject"));
    else if (err == PL_DENIED)
        nats_send_err(s->nl,
            nats_quote(pl_session_arena(&s->core), "Permissions Violation for Subscription to ",
                subject ? *subject : PL_NO_BYTES, sub->core.queue));
    else
        nats_send_err(s->nl, PL_BYTES("maximum subscriptions exceeded"));
}

/* Puts it behind those whose UNSUB is open: they are freed in this order. */
static void unsubscribe(struct nats_session *s, struct nats_sub *sub)
{
    unlist(s, sub);
    sub->is_closing = true;
    if (s->closing_last)
        s->closing_last->closing_next = sub;
    else
        s->closing = sub;
    s->closing_last = sub;
    s->open_count++;
    pl_session_unsubscribe(&s->core, &sub->core, 0);
}

void nats_on_subscribed(struct nats_session *s, const struct pl_completion *done)
{
    struct nats_sub *sub = (struct nats_sub *)done->sub;
    s->open_count--;
    sub->is_live = !done->err;
    if (s->nl && done->err)
        refuse(s, sub, done->err, done->token);
    else if (s->nl && s->verbose)
        nats_send(s->nl, PL_BYTES("+OK\r\n"));
    /* One whose client has gone is freed with the session. */
    if (done->err && s->nl && !sub->is_closing)
        unsubscribe(s, sub);
}

void nats_on_unsubscribed(struct nats_session *s, const struct pl_completion *done)
{
    struct nats_sub *sub = (struct nats_sub *)done->sub, *before = NULL;
    /* It is the first, but for those whose request found no memory; they go with the session. */
    struct nats_sub **at = &s->closing;
    while (*at && *at != sub) {
        before = *at;
        at = &before->closing_next;
    }
    PL_ASSERT(*at);
    *at = sub->closing_next;
    if (s->closing_last == sub)
        s->closing_last = before;
    s->open_count--;
    pl_free(sub);
}

void nats_sub_spend(struct nats_session *s, struct nats_sub *sub)
{
    sub->is_spent = true;
    if (!sub->is_closing)
        unsubscribe(s, sub);
}

void nats_sub_set_max(struct nats_session *s, struct nats_sub *sub, uint32_t max)
{
    if (sub->is_closing)
        return;
    if (max > sub->delivered)
        sub->max = max;
    else
        nats_sub_spend(s, sub);
}

void nats_on_unsubscribe(struct nats_session *s, const struct pl_nats_line *line)
{
    struct nats_sub *sub = find_sub(s, line->sid);
    if (sub && !line->max) {
        unsubscribe(s, sub);
    } else if (sub) {
        /* What was published before counts, so its deliveries come first. */
        struct nats_note *note = nats_answer_begin(s);
        if (note) {
            note->sub = sub;
            note->max = line->max;
        } else {
            nats_sub_set_max(s, sub, line->max);
        }
    }
    answer_ok(s);
}

void nats_subs_free(struct nats_session *s)
{
    struct pl_map_entry *e;
    while ((e = pl_map_next(&s->subs, NULL))) {
        pl_map_remove(&s->subs, e);
        pl_free(PL_CONTAINER(e, struct nats_sub, entry));
    }
    while (s->closing) {
        struct nats_sub *next = s->closing->closing_next;
        pl_free(s->closing);
        s->closing = next;
    }
}
