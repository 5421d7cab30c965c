/*
 * The caller's side: CALL, CANCEL, and what comes of them.
 */
#include "protocols/wamp/wamp_session.h"

static enum pl_err fill_draft(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_message *draft)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct wamp_extras extras = {0};
    struct pl_bytes uri;
    enum pl_err err = pl_value_text(&m->text, arena, &uri);
    if (!err)
        err = wamp_uri_decode(arena, uri, wamp_options(s->wl)->strict_uri, &draft->subject);
    if (err)
        return err;
    bool discloses = pl_value_flag(&m->details, "disclose_me");
    if (discloses && (!wamp_options(s->wl)->allow_disclose || !s->core.identity->may_disclose))
        return PL_UNSUPPORTED;
    if (discloses) {
        struct pl_author *author = pl_arena_alloc(arena, sizeof *author);
        if (!author || pl_session_author(&s->core, arena, true, author))
            return PL_NO_MEMORY;
        extras.from = author;
    }
    return wamp_properties(s, &m->details, &extras, &draft->properties);
}

enum pl_err wamp_on_call(struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer)
{
    struct pl_message draft = {
        .payload = m->payload,
        .format = (uint8_t)(PL_FORMAT_ARGUMENTS + m->serializer),
    };
    struct pl_value value;
    uint64_t timeout_ms = 0;
    unsigned flags = 0;
    enum pl_err err = wamp_authorize(s, m, "call", true);
    if (err)
        return err == PL_DENIED || err == PL_NEED_MORE ? PL_OK : err;
    /* An id that was there before is a further part of that call, or comes after its end. */
    if (m->ids[0] <= s->last_call)
        flags |= PL_CALL_NEXT;
    else
        s->last_call = m->ids[0];
    if (pl_value_flag(&m->details, "receive_progress"))
        flags |= PL_CALL_WANTS_PROGRESS;
    if (pl_value_flag(&m->details, "progress"))
        flags |= PL_CALL_MORE;
    if (pl_value_find(&m->details, "timeout", &value))
        (void)pl_value_natural(&value, &timeout_ms);
    err = fill_draft(s, m, &draft);
    if (!err)
        pl_session_call(&s->core, &draft, buffer, flags, timeout_ms, m->ids[0]);
    else if (err == PL_UNSUPPORTED)
        wamp_send_error(
            s->wl, PL_WAMP_CALL, m->ids[0], "wamp.error.option_disallowed.disclose_me", NULL);
    else
        wamp_send_err(s->wl, PL_WAMP_CALL, m->ids[0], err);
    return PL_OK;
}

static bool read_mode(const struct pl_value *options, enum pl_cancel *out)
{
    static const char *const modes[] = {"skip", "kill", "killnowait"};
    struct pl_value value;
    *out = PL_CANCEL_KILL_NO_WAIT;
    if (!wamp_option(options, "mode", &value))
        return true;
    for (int mode = 0; mode < 3; mode++)
        if (pl_value_is(&value, modes[mode])) {
            *out = (enum pl_cancel)mode;
            return true;
        }
    return false;
}

void wamp_on_cancel(struct wamp_session *s, const struct pl_wamp *m)
{
    enum pl_cancel mode;
    if (read_mode(&m->details, &mode))
        pl_session_cancel(&s->core, m->ids[0], mode);
    else
        wamp_send_error(
            s->wl, PL_WAMP_CANCEL, m->ids[0], "wamp.error.invalid_argument", "unknown mode");
}

/* An error of another protocol may be any text: then that is the error's argument, if it has none
 * of its own. */
static bool is_uri(struct pl_bytes error)
{
    struct pl_arena arena = {0};
    struct pl_bytes subject;
    bool is_good = wamp_uri_decode(&arena, error, false, &subject) == PL_OK;
    pl_arena_done(&arena);
    return is_good;
}

/* The callee's error, with its arguments. */
static void send_callee_error(struct wamp_session *s, const struct pl_result *result)
{
    const struct pl_properties *p = result->message->properties;
    const struct pl_message text = {.payload = p->error, .format = PL_FORMAT_TEXT};
    bool has_uri = is_uri(p->error);
    const struct pl_message *m = has_uri || result->message->payload.len ? result->message : &text;
    struct wamp_out o;
    wamp_send_begin(&o, s->wl, PL_WAMP_ERROR);
    pl_put_natural(&o.v, PL_WAMP_CALL);
    pl_put_natural(&o.v, result->token);
    pl_put_dict(&o.v);
    wamp_put_headers(&o.v, p);
    pl_put_end(&o.v);
    pl_put_string(&o.v, has_uri ? p->error : PL_BYTES("wamp.error.runtime_error"));
    if (wamp_send_end_payload(&o, m, wamp_options(s->wl)->plain) == PL_TOO_LARGE)
        wamp_send_err(s->wl, PL_WAMP_CALL, result->token, PL_TOO_LARGE);
}

static void send_result(struct wamp_session *s, const struct pl_result *result)
{
    const struct pl_message *m = result->message;
    struct wamp_out o;
    wamp_send_begin(&o, s->wl, PL_WAMP_RESULT);
    pl_put_natural(&o.v, result->token);
    pl_put_dict(&o.v);
    if (result->is_progress) {
        pl_put_key(&o.v, "progress");
        pl_put_bool(&o.v, true);
    }
    wamp_put_headers(&o.v, m->properties);
    pl_put_end(&o.v);
    if (wamp_send_end_payload(&o, m, wamp_options(s->wl)->plain) != PL_TOO_LARGE)
        return;
    /* A part that the peer does not take ends the call: it would be incomplete. */
    if (result->is_progress)
        pl_session_cancel(&s->core, result->token, PL_CANCEL_KILL_NO_WAIT);
    else
        wamp_send_err(s->wl, PL_WAMP_CALL, result->token, PL_TOO_LARGE);
}

void wamp_answer(struct pl_session *core, const struct pl_result *result)
{
    struct wamp_session *s = (struct wamp_session *)core;
    if (wamp_is_question(result->token)) {
        wamp_on_authorized(s, result);
        return;
    }
    if (!s->wl || s->wl->phase != WAMP_JOINED)
        return;
    if (result->err)
        wamp_send_err(s->wl, PL_WAMP_CALL, result->token, result->err);
    else if (result->message->properties && result->message->properties->error.len)
        send_callee_error(s, result);
    else
        send_result(s, result);
}
