/*
 * A message as its subscribers read it: MSG, or HMSG for who takes headers and if there are any.
 *
 * Subscriptions of one sid get equal bytes, whoever has them: clients number theirs from 1, so a
 * fan-out to a thousand of them is encoded once or a few times.
 */
#include "protocols/nats/nats_session.h"

uint64_t nats_form(struct pl_bytes sid, bool has_headers)
{
    enum { SID_BYTES = 7 };
    if (sid.len > SID_BYTES)
        return 0;
    uint64_t form = 0;
    for (size_t i = 0; i < sid.len; i++)
        form |= (uint64_t)sid.data[i] << 8 * i;
    return form | (uint64_t)(0x80u | has_headers << 3 | sid.len) << 56;
}

/* The frame of a message whose names are plain text already. */
static enum pl_err write_frame(struct pl_writer *w, const struct nats_sub *sub,
    const struct pl_message *m, struct pl_bytes subject, struct pl_bytes reply, uint64_t now_ms)
{
    struct pl_bytes payload = pl_message_plain(m);
    if (payload.len > PL_NATS_SIZE_MAX)
        return PL_TOO_LARGE;
    if (!sub->has_headers || !m->properties || !nats_headers_has(m->properties)) {
        pl_nats_write_msg(w, subject, nats_sub_sid(sub), reply, payload);
        return w->err;
    }
    size_t head = nats_headers_size(m->properties, now_ms);
    if (!head)
        return PL_NO_MEMORY;
    if (head + payload.len > PL_NATS_SIZE_MAX)
        return PL_TOO_LARGE;
    pl_nats_write_hmsg_line(
        w, subject, nats_sub_sid(sub), reply, (uint32_t)head, (uint32_t)(head + payload.len));
    enum pl_err err = nats_headers_write(w, m->properties, now_ms);
    if (err)
        return err;
    pl_write_bytes(w, payload);
    pl_write_text(w, "\r\n");
    return w->err;
}

enum pl_err nats_encode(const struct pl_subscription *base, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w)
{
    const struct nats_sub *sub = (const struct nats_sub *)base;
    struct pl_bytes subject = message->subject, reply = message->reply;
    if (nats_name_is_plain(subject) && (!reply.len || nats_name_is_plain(reply)))
        return write_frame(w, sub, message, subject, reply, now_ms);
    struct pl_arena memory = {0};
    enum pl_err err = pl_subject_encode(&nats_rules, &memory, message->subject, &subject);
    if (!err && reply.len)
        err = pl_subject_encode(&nats_rules, &memory, message->reply, &reply);
    if (!err)
        err = write_frame(w, sub, message, subject, reply, now_ms);
    pl_arena_done(&memory);
    return err;
}
