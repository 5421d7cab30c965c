/*
 * PUB and HPUB.
 *
 * The hot path: a client publishes to the same subject again and again, so the name is compared
 * with the last one of the same buffer, and the draft then points to that one: nothing is checked
 * or copied twice.
 */
#include "protocols/nats/nats_session.h"

static void refuse(struct nats_session *s, struct pl_bytes subject)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    nats_answer_err(
        s->nl, nats_quote(arena, "Permissions Violation for Publish to ", subject, PL_NO_BYTES));
}

/*
 * A name that nobody can publish to. nats-server says so to pedantic clients only and lets the
 * others' messages go where nobody can be; here it never reaches the core. The words for the others
 * are those that client libraries take as a refusal of this one message.
 */
static void refuse_name(struct nats_session *s, struct pl_bytes subject)
{
    if (!s->pedantic) {
        refuse(s, subject);
        return;
    }
    nats_answer_err(s->nl, PL_BYTES("Invalid Publish Subject"));
    if (s->verbose)
        nats_answer(s->nl, PL_BYTES("+OK\r\n"));
}

/* What a completion needs to answer "no responders". */
static uint64_t keep_reply(struct nats_session *s, struct pl_bytes reply)
{
    struct pl_bytes *kept = pl_arena_alloc(pl_session_arena(&s->core), sizeof *kept);
    if (kept)
        *kept = reply;
    return (uint64_t)(uintptr_t)kept;
}

enum pl_err nats_on_publish(struct nats_session *s, const struct pl_nats_line *line,
    struct pl_bytes payload, struct pl_shared *buffer, struct pl_bytes *last)
{
    struct pl_message draft = {.subject = line->subject, .payload = payload};
    if (pl_bytes_equal(line->subject, *last)) {
        draft.subject = *last;
    } else if (nats_name_is_plain(line->subject)) {
        *last = line->subject;
    } else {
        enum pl_err err =
            nats_name_decode(pl_session_arena(&s->core), line->subject, &draft.subject);
        if (err == PL_BAD_NAME)
            refuse_name(s, line->subject);
        if (err)
            return PL_OK; /* no memory: the message is lost, as at most once allows */
    }
    unsigned flags = 0;
    uint64_t token = 0;
    if (line->reply.len) {
        enum pl_err err = nats_name_decode(pl_session_arena(&s->core), line->reply, &draft.reply);
        if (err == PL_BAD_NAME)
            nats_answer_err(s->nl,
                nats_quote(pl_session_arena(&s->core),
                    "Permissions Violation for Publish with Reply of ", line->reply, PL_NO_BYTES));
        if (err)
            return PL_OK;
        if (s->no_responders && (token = keep_reply(s, draft.reply)))
            flags |= PL_WANT_RESPONDERS;
    }
    if (line->head_size) {
        struct pl_bytes block = pl_bytes_of(payload.data, line->head_size);
        enum pl_err err = nats_headers_decode(
            block, pl_session_now_ms(&s->core), pl_session_arena(&s->core), &draft.properties);
        if (err == PL_MALFORMED)
            return nats_fail(s->nl, PL_MALFORMED, "Parser Error");
        if (err)
            return PL_OK;
        draft.payload = pl_bytes_from(payload, line->head_size);
    }
    /* nats-server says +OK before it delivers, also to this client itself. */
    struct nats_note *ok = s->verbose ? nats_answer_begin(s) : NULL;
    s->publish_turn = s->core.worker->turn;
    enum pl_err err = pl_session_publish(&s->core, &draft, buffer, flags, token);
    if (err == PL_TOO_LARGE)
        return nats_fail(s->nl, PL_TOO_LARGE, "Maximum Payload Violation");
    if (err == PL_DENIED || err == PL_BAD_NAME)
        refuse(s, line->subject);
    else if (ok)
        ok->text = PL_BYTES("+OK\r\n");
    return PL_OK;
}

void nats_publish_again(struct nats_session *s, struct pl_bytes subject, struct pl_bytes payload,
    struct pl_shared *buffer)
{
    struct pl_message draft = {.subject = subject, .payload = payload};
    s->publish_turn = s->core.worker->turn;
    enum pl_err err = pl_session_publish(&s->core, &draft, buffer, 0, 0);
    if (err == PL_DENIED || err == PL_BAD_NAME)
        refuse(s, subject);
}

/* The requester's own subscription that the answer would have come by; NULL: none. */
static struct nats_sub *find_reply_sub(struct nats_session *s, struct pl_bytes reply)
{
    if (s->reply_sub && pl_pattern_matches(s->reply_sub->core.pattern, reply))
        return s->reply_sub;
    /* Looking through a great many for each request of a turn would cost the others latency. */
    if (s->steps_turn != s->core.worker->turn) {
        s->steps_turn = s->core.worker->turn;
        s->reply_steps = 0;
    }
    for (struct pl_map_entry *e = pl_map_next(&s->subs, NULL); e; e = pl_map_next(&s->subs, e)) {
        struct nats_sub *sub = PL_CONTAINER(e, struct nats_sub, entry);
        if (s->reply_steps++ > NATS_REPLY_STEPS_MAX)
            return NULL;
        /* One that was asked for after the request hears nothing of it, and may be refused. */
        if (sub->is_live && !sub->core.queue.len && pl_pattern_matches(sub->core.pattern, reply))
            return s->reply_sub = sub;
    }
    return NULL;
}

void nats_on_no_responders(struct nats_session *s, struct pl_bytes reply)
{
    static const char status[] = "NATS/1.0 503\r\n\r\n";
    enum { STATUS_LEN = sizeof status - 1 };
    /* Without an output it leaves, and the core may have taken its subscriptions apart already. */
    struct nats_sub *sub = s->no_responders && s->core.out ? find_reply_sub(s, reply) : NULL;
    struct pl_bytes subject = reply;
    struct pl_arena memory = {0};
    if (!sub)
        return;
    if (pl_subject_encode(&nats_rules, &memory, reply, &subject) == PL_OK) {
        struct pl_writer w = pl_writer_begin(s->core.out);
        pl_nats_write_hmsg_line(
            &w, subject, nats_sub_sid(sub), PL_NO_BYTES, STATUS_LEN, STATUS_LEN);
        pl_write_text(&w, status);
        pl_write_text(&w, "\r\n");
        /* Without memory the requester waits for its timeout. It does not count for UNSUB. */
        (void)!pl_writer_end(&w);
    }
    pl_arena_done(&memory);
}
