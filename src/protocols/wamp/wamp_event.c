/*
 * EVENT. Subscriptions of one pattern in one serializer and framing get equal bytes, apart from who
 * may be told the publisher: these are forms of their own, so nothing leaks from one to another.
 */
#include "protocols/wamp/wamp_session.h"

uint64_t wamp_form(const struct wamp_sub *sub)
{
    /* 53 bits of id, which says whether there is a topic too; the top bit, so that it is never 0.
     */
    uint64_t way = (uint64_t)sub->way.serializer | (uint64_t)sub->way.framing << 2 |
                   (uint64_t)sub->way.is_batched << 4 | (uint64_t)sub->wants_publisher << 5;
    return (uint64_t)1 << 63 | way << 54 | sub->id;
}

static void put_author(struct pl_value_writer *v, const struct pl_author *from, bool wants_it)
{
    if (wants_it && from->id) {
        pl_put_key(v, "publisher");
        pl_put_natural(v, from->id);
        pl_put_key(v, "publisher_authid");
        pl_put_string(v, from->user);
        pl_put_key(v, "publisher_authrole");
        pl_put_string(v, from->role);
    }
    if (from->has_trust) {
        pl_put_key(v, "trustlevel");
        pl_put_natural(v, from->trust);
    }
}

static void put_topic(struct pl_value_writer *v, struct pl_bytes subject)
{
    struct pl_arena arena = {0};
    struct pl_bytes uri;
    if (wamp_uri_encode(&arena, subject, &uri)) {
        v->w->err = PL_NO_MEMORY;
    } else {
        pl_put_key(v, "topic");
        pl_put_string(v, uri);
    }
    pl_arena_done(&arena);
}

static void put_event(struct pl_value_writer *v, const struct wamp_sub *sub,
    const struct pl_message *m, bool is_retained)
{
    const struct pl_properties *p = m->properties;
    pl_put_natural(v, sub->id);
    pl_put_natural(v, pl_publication_public_id(sub->core.session->realm, m));
    pl_put_dict(v);
    if (sub->has_topic)
        put_topic(v, m->subject);
    if (p && p->from)
        put_author(v, p->from, sub->wants_publisher);
    if (is_retained) {
        pl_put_key(v, "retained");
        pl_put_bool(v, true);
    }
    wamp_put_headers(v, p);
    pl_put_end(v);
}

static enum pl_err write_event(
    struct pl_writer *w, const struct wamp_sub *sub, const struct pl_message *m, bool is_retained)
{
    size_t at = wamp_frame_begin(&sub->way, w);
    struct pl_value_writer v = pl_wamp_begin(w, sub->way.serializer, PL_WAMP_EVENT);
    put_event(&v, sub, m, is_retained);
    if (m->format >= PL_FORMAT_ARGUMENTS)
        pl_wamp_end(&v, (enum pl_serializer)(m->format - PL_FORMAT_ARGUMENTS), m->payload);
    else
        pl_wamp_end_plain(
            &v, m->payload, pl_message_content_type(m), (enum pl_wamp_plain)sub->plain);
    wamp_frame_end(&sub->way, w, at);
    return w->err;
}

enum pl_err wamp_encode(const struct pl_subscription *base, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w)
{
    (void)now_ms;
    return write_event(w, (const struct wamp_sub *)base, message, false);
}

void wamp_deliver(struct pl_session *core, struct pl_subscription *base, const struct pl_run *run)
{
    struct wamp_session *s = (struct wamp_session *)core;
    const struct wamp_sub *sub = (const struct wamp_sub *)base;
    if (!s->wl || s->wl->phase != WAMP_JOINED || sub->is_revoked)
        return;
    if (run->frames) {
        wamp_send_frames(s->wl, run);
        return;
    }
    for (uint32_t i = 0; i < run->count; i++) {
        struct wamp_out o;
        wamp_send_begin(&o, s->wl, PL_WAMP_EVENT);
        put_event(&o.v, sub, run->messages[i], run->origin == PL_ORIGIN_RETAINED);
        (void)wamp_send_end_payload(&o, run->messages[i], sub->plain);
    }
}
