#include "protocols/wamp/wamp_session.h"

#include "base/alloc.h"

void wamp_send_error(struct wamp_link *wl, enum pl_wamp_type type, uint64_t request,
    const char *uri, const char *text)
{
    struct wamp_out o;
    wamp_send_begin(&o, wl, PL_WAMP_ERROR);
    pl_put_natural(&o.v, type);
    pl_put_natural(&o.v, request);
    pl_put_dict(&o.v);
    pl_put_end(&o.v);
    pl_put_text(&o.v, uri);
    if (text) {
        pl_put_list(&o.v);
        pl_put_text(&o.v, text);
        pl_put_end(&o.v);
    }
    (void)wamp_send_end(&o);
}

void wamp_send_err(struct wamp_link *wl, enum pl_wamp_type type, uint64_t request, enum pl_err err)
{
    const char *text = err == PL_CALLEE_GONE     ? "callee gone"
                       : err == PL_TIMEOUT       ? "call timeout"
                       : err == PL_SLOW_CONSUMER ? "callee blocked - cannot call procedure"
                       : err == PL_LIMIT || err == PL_NO_MEMORY || err == PL_CLOSED
                           ? pl_err_text(err)
                           : NULL;
    wamp_send_error(wl, type, request, pl_call_error_uri(err), text);
}

static void put_message(struct pl_value_writer *v, struct pl_bytes text)
{
    pl_put_dict(v);
    if (text.len) {
        pl_put_key(v, "message");
        pl_put_string(v, text);
    }
    pl_put_end(v);
}

enum pl_err wamp_abort(struct wamp_link *wl, enum pl_err why, const char *uri, const char *text)
{
    struct wamp_out o;
    if (wl->phase != WAMP_CLOSING) {
        wamp_send_begin(&o, wl, PL_WAMP_ABORT);
        put_message(&o.v, pl_bytes_text(text));
        pl_put_text(&o.v, uri);
        (void)wamp_send_end(&o);
    }
    wl->phase = WAMP_CLOSING;
    struct pl_diag diag;
    pl_diag_set(&diag, 0, "%s: %s", uri, text);
    wl->link.host->close(&wl->link, why, &diag);
    return why;
}

enum pl_err wamp_violate(struct wamp_link *wl, const char *text)
{
    return wamp_abort(wl, PL_PROTOCOL, "wamp.error.protocol_violation", text);
}

static void hang_up(struct wamp_session *s, enum pl_err why)
{
    struct wamp_link *wl = s->wl;
    wl->phase = WAMP_CLOSING;
    wl->link.is_waiting = true;
    wl->link.host->close(&wl->link, why, NULL);
}

void wamp_set_waiting(struct wamp_session *s)
{
    struct pl_link *link = &s->wl->link;
    bool was = link->is_waiting;
    link->is_waiting = s->wl->phase == WAMP_LOGIN || s->wl->phase == WAMP_JOINING ||
                       s->wl->phase == WAMP_CLOSING || s->is_goodbye_due || s->question ||
                       s->core.pressed > 0;
    if (was && !link->is_waiting)
        link->host->resume(link);
}

static void send_goodbye(struct wamp_link *wl, const char *uri, struct pl_bytes message)
{
    struct wamp_out o;
    wamp_send_begin(&o, wl, PL_WAMP_GOODBYE);
    put_message(&o.v, message);
    pl_put_text(&o.v, uri);
    (void)wamp_send_end(&o);
}

void wamp_goodbye(struct wamp_session *s, const char *uri, struct pl_bytes message)
{
    if (!s->wl || s->wl->phase == WAMP_CLOSING)
        return;
    send_goodbye(s->wl, uri, message);
    hang_up(s, PL_OK);
}

/* The client's: answered when all that it asked for before is done. */
static enum pl_err on_goodbye(struct wamp_session *s)
{
    s->is_goodbye_due = true;
    wamp_set_waiting(s);
    pl_session_fence(&s->core, 0);
    return PL_OK;
}

static void on_fence(struct wamp_session *s, uint64_t token)
{
    if (!s->wl)
        return;
    if (s->is_goodbye_due && !token) {
        wamp_goodbye(s, "wamp.close.goodbye_and_out", PL_NO_BYTES);
        return;
    }
    /* A SUBSCRIBE of what was subscribed already. */
    const uint64_t *asked = (const uint64_t *)(uintptr_t)token;
    struct wamp_sub *sub = asked ? wamp_find_sub(s, asked[1]) : NULL;
    if (sub && sub->is_live)
        wamp_send_ids(s->wl, PL_WAMP_SUBSCRIBED, asked[0], sub->id);
    else if (asked)
        wamp_send_error(s->wl, PL_WAMP_SUBSCRIBE, asked[0], "wamp.error.not_authorized", NULL);
}

/* ---- Messages ---- */

/* strict_ids: requests count from 1. CALLs in parts repeat theirs. */
static bool is_next_request(struct wamp_link *wl, const struct pl_wamp *m)
{
    if (!wamp_options(wl)->strict_ids)
        return true;
    bool repeats = m->type == PL_WAMP_CALL && m->ids[0] <= wl->last_request;
    if (m->ids[0] == wl->last_request + 1)
        wl->last_request++;
    else
        return repeats;
    return true;
}

static bool is_request(uint32_t type)
{
    return type == PL_WAMP_PUBLISH || type == PL_WAMP_SUBSCRIBE || type == PL_WAMP_UNSUBSCRIBE ||
           type == PL_WAMP_CALL || type == PL_WAMP_REGISTER || type == PL_WAMP_UNREGISTER;
}

static enum pl_err on_joined(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer)
{
    struct wamp_link *wl = s->wl;
    if (is_request(m->type) && !s->question && (!m->ids[0] || !is_next_request(wl, m)))
        return wamp_violate(wl, "request ids count from 1");
    switch (m->type) {
    case PL_WAMP_PUBLISH:
        return wamp_on_publish(s, m, buffer);
    case PL_WAMP_SUBSCRIBE:
        return wamp_on_subscribe(s, m);
    case PL_WAMP_UNSUBSCRIBE:
        wamp_on_unsubscribe(s, m);
        return PL_OK;
    case PL_WAMP_CALL:
        return wamp_on_call(s, m, buffer);
    case PL_WAMP_CANCEL:
        wamp_on_cancel(s, m);
        return PL_OK;
    case PL_WAMP_REGISTER:
        return wamp_on_register(s, m);
    case PL_WAMP_UNREGISTER:
        wamp_on_unregister(s, m);
        return PL_OK;
    case PL_WAMP_YIELD:
    case PL_WAMP_ERROR:
        return wamp_on_yield(s, m, buffer);
    case PL_WAMP_GOODBYE:
        return on_goodbye(s);
    case PL_WAMP_ABORT:
        wl->phase = WAMP_CLOSING;
        return PL_CLOSED;
    case PL_WAMP_HELLO:
        return wamp_violate(wl, "a session has begun already");
    default:
        return wamp_violate(wl, "a message that only routers send");
    }
}

enum pl_err wamp_on_message(struct wamp_link *wl, struct pl_bytes message, struct pl_shared *buffer)
{
    struct pl_wamp m;
    struct pl_diag diag;
    if (wl->phase == WAMP_CLOSING)
        return PL_OK;
    enum pl_err err = pl_wamp_decode(wl->way.serializer, message, &m, &diag);
    if (err)
        return wamp_violate(wl, diag.text);
    switch ((enum wamp_phase)wl->phase) {
    case WAMP_OPEN:
        if (m.type == PL_WAMP_HELLO)
            return wamp_on_hello(wl, &m);
        if (m.type == PL_WAMP_ABORT)
            return PL_CLOSED;
        return wamp_violate(wl, "the first message is HELLO");
    case WAMP_CHALLENGED:
        if (m.type == PL_WAMP_AUTHENTICATE)
            return wamp_on_authenticate(wl->session, &m);
        if (m.type == PL_WAMP_ABORT)
            return PL_CLOSED;
        return wamp_violate(wl, "AUTHENTICATE answers CHALLENGE");
    case WAMP_JOINED:
        wl->session->message = message;
        return on_joined(wl->session, &m, buffer);
    case WAMP_LOGIN:
    case WAMP_JOINING:
    case WAMP_CLOSING:
        break;
    }
    return PL_OK; /* nothing is read then */
}

/* ---- What the core tells ---- */

void wamp_close(struct wamp_session *s)
{
    if (!s->keeps_quiet)
        wamp_publish_testaments(s);
    s->wl = NULL;
    pl_session_leave(&s->core, false);
}

void wamp_session_free(struct wamp_session *s)
{
    wamp_free_subs(s);
    wamp_free_callees(s);
    wamp_free_testaments(s, 3);
    wamp_free_questions(s);
    pl_map_done(&s->subs);
    pl_map_done(&s->callees);
    pl_session_done(&s->core);
    pl_arena_done(&s->memory);
    pl_free(s);
}

static void complete(struct pl_session *core, const struct pl_completion *done)
{
    struct wamp_session *s = (struct wamp_session *)core;
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        wamp_on_login(s, done->err);
        return;
    case PL_DONE_JOIN:
        wamp_on_join(s, done->err);
        return;
    case PL_DONE_SUBSCRIBE:
        wamp_on_subscribed(s, done);
        return;
    case PL_DONE_UNSUBSCRIBE:
        wamp_on_unsubscribed(s, done);
        return;
    case PL_DONE_PUBLISH:
        wamp_on_published(s, done);
        return;
    case PL_DONE_FENCE:
        on_fence(s, done->token);
        return;
    case PL_DONE_REGISTER:
        wamp_on_registered(s, done);
        return;
    case PL_DONE_UNREGISTER:
        wamp_on_unregistered(s, done);
        return;
    case PL_DONE_LEAVE:
        wamp_session_free(s);
        return;
    case PL_DONE_CLAIM:
    case PL_DONE_REPLAY:
    case PL_DONE_STATE:
    case PL_DONE_LOG:
        return; /* not asked for, or nothing to tell */
    }
}

static void ended(struct pl_session *core, enum pl_err why)
{
    struct wamp_session *s = (struct wamp_session *)core;
    if (!s->wl)
        return;
    const char *uri = why == PL_DRAINING                       ? "wamp.close.system_shutdown"
                      : why == PL_EXPIRED || why == PL_REVOKED ? "wamp.close.killed"
                      : why == PL_KICKED                       ? "wamp.close.killed"
                                                               : NULL;
    struct pl_bytes text = pl_bytes_text(pl_err_text(why));
    if (uri && s->wl->phase == WAMP_JOINED)
        send_goodbye(s->wl, uri, text);
    else
        (void)wamp_abort(s->wl, why, "wamp.error.unavailable", pl_err_text(why));
    hang_up(s, why);
}

static void press(struct pl_session *core, bool is_on)
{
    struct wamp_session *s = (struct wamp_session *)core;
    (void)is_on; /* core->pressed says it too */
    if (s->wl)
        wamp_set_waiting(s);
}

const struct pl_session_ops wamp_session_ops = {
    .name = "wamp",
    .encode = wamp_encode,
    .deliver = wamp_deliver,
    .complete = complete,
    .ended = ended,
    .invoke = wamp_invoke,
    .interrupt = wamp_interrupt,
    .answer = wamp_answer,
    .unregistered = wamp_unregistered,
    .press = press,
    .told = wamp_told,
};
