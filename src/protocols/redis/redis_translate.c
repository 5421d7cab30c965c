/*
 * Ours → Redis. A channel is the subject, byte by byte; a payload is the payload; everything else
 * of a message (headers, reply subject, content type) has no place in Redis.
 *
 * Subscriptions to channels share one frame per RESP version, whatever the channel. A pmessage
 * names its pattern, so only equal patterns share one: the form is a hash of the pattern, and since
 * two patterns may have one hash, a delivery looks whether the frames name its own.
 */
#include "base/hash.h"
#include "base/text.h"
#include "protocols/redis/redis_session.h"

/* Bit 0: RESP3; bits 1 and 2: kind + 1, so that no form is 0; above: the pattern's hash. */
uint64_t pl_redis_form(enum pl_redis_kind kind, unsigned resp, struct pl_bytes name)
{
    uint64_t form = (resp == 3) | (uint64_t)(kind + 1) << 1;
    return kind == PL_REDIS_PATTERN ? form | pl_hash(0, name) << 3 : form;
}

static unsigned form_resp(uint64_t form)
{
    return form & 1 ? 3 : 2;
}

enum pl_redis_kind pl_redis_form_kind(uint64_t form)
{
    return (enum pl_redis_kind)((form >> 1 & 3) - 1);
}

/* Our own reference: the core's goes when it lets go of the subscription, while deliveries from
 * before are still on their way. */
static const struct pl_bytes *name_of(const struct pl_subscription *sub)
{
    const char *at = (const char *)sub - offsetof(struct pl_redis_subscription, core);
    return &((const struct pl_redis_subscription *)(const void *)at)->name->text;
}

static enum pl_err encode_as(unsigned resp, const struct pl_subscription *sub,
    const struct pl_message *message, struct pl_writer *w)
{
    static const struct pl_bytes words[PL_REDIS_KIND_COUNT] = {{(const uint8_t *)"message", 7},
        {(const uint8_t *)"pmessage", 8}, {(const uint8_t *)"smessage", 8}};
    enum pl_redis_kind kind = pl_redis_form_kind(sub->form);
    const struct pl_bytes *pattern = kind == PL_REDIS_PATTERN ? name_of(sub) : NULL;
    pl_resp_write_message(
        w, resp, words[kind], pattern, message->subject, pl_message_plain(message));
    return w->err;
}

enum pl_err pl_redis_encode(const struct pl_subscription *sub, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w)
{
    (void)now_ms;
    return encode_as(form_resp(sub->form), sub, message, w);
}

/* Every frame of the run is a pmessage that names this pattern. */
static bool are_frames_ours(struct pl_bytes pattern, const struct pl_run *run)
{
    enum { HEAD = 18 }; /* "*4\r\n$8\r\npmessage\r\n" */
    char length[PL_DECIMAL_MAX + 3] = "$";
    size_t n = 1 + pl_format_decimal(length + 1, pattern.len);
    length[n++] = '\r';
    length[n++] = '\n';
    size_t at = 0;
    for (uint32_t i = 0; i < run->count; at = run->ends[i++]) {
        size_t len = run->ends[i] - at;
        if (!len)
            continue;
        const uint8_t *named = run->frames->data + at + HEAD;
        if (len < HEAD + n + pattern.len || memcmp(named, length, n) != 0 ||
            memcmp(named + n, pattern.data, pattern.len) != 0)
            return false;
    }
    return true;
}

static void deliver_each(struct pl_redis_link *link, struct pl_session *session,
    const struct pl_subscription *sub, const struct pl_run *run)
{
    for (uint32_t i = 0; i < run->count; i++) {
        struct pl_writer w = pl_writer_begin(session->out);
        (void)!encode_as(link->push_resp, sub, run->messages[i], &w);
        enum pl_err err = pl_writer_end(&w);
        if (err) {
            /* A hole in what a subscriber gets must not go unseen. */
            pl_session_end(session, err);
            return;
        }
    }
}

/* The run's frames are what this subscriber would have been given alone. */
static bool may_share(
    const struct pl_redis_link *link, const struct pl_subscription *sub, const struct pl_run *run)
{
    /* HELLO may have changed the version since. */
    if (!run->frames || form_resp(sub->form) != link->push_resp)
        return false;
    return pl_redis_form_kind(sub->form) != PL_REDIS_PATTERN || are_frames_ours(*name_of(sub), run);
}

void pl_redis_deliver(
    struct pl_session *session, struct pl_subscription *sub, const struct pl_run *run)
{
    struct pl_redis_link *link = pl_redis_session_of(session)->link;
    if (!link || !session->out)
        return;
    if (!may_share(link, sub, run)) {
        deliver_each(link, session, sub, run);
        return;
    }
    struct pl_bytes frames = pl_bytes_of(run->frames->data, run->ends[run->count - 1]);
    if (pl_output_append_shared(session->out, run->frames, frames))
        pl_session_end(session, PL_NO_MEMORY);
}
