/*
 * The callee's side: REGISTER, UNREGISTER, INVOCATION, INTERRUPT, YIELD, ERROR.
 */
#include "base/alloc.h"
#include "protocols/wamp/wamp_session.h"

static struct pl_bytes id_key(const uint64_t *id)
{
    return pl_bytes_of(id, sizeof *id);
}

struct wamp_callee *wamp_find_callee(struct wamp_session *s, uint64_t id)
{
    struct pl_map_entry *e = pl_map_find(&s->callees, id_key(&id));
    return e ? PL_CONTAINER(e, struct wamp_callee, entry) : NULL;
}

static void unlist(struct wamp_session *s, struct wamp_callee *callee)
{
    if (callee->is_listed)
        pl_map_remove(&s->callees, &callee->entry);
    callee->is_listed = false;
}

static void free_callee(struct wamp_session *s, struct wamp_callee *callee)
{
    unlist(s, callee);
    for (struct wamp_callee **at = &s->callee_list; *at; at = &(*at)->next)
        if (*at == callee) {
            *at = callee->next;
            break;
        }
    pl_free(callee);
}

void wamp_free_callees(struct wamp_session *s)
{
    while (s->callee_list)
        free_callee(s, s->callee_list);
}

/* ---- REGISTER ---- */

static bool read_policy(const struct pl_value *options, uint8_t *out)
{
    static const char *const policies[] = {"single", "roundrobin", "random", "first", "last"};
    struct pl_value value;
    *out = PL_INVOKE_SINGLE;
    if (!wamp_option(options, "invoke", &value))
        return true;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        if (pl_value_is(&value, policies[i])) {
            *out = (uint8_t)i;
            return true;
        }
    return false;
}

static uint8_t read_flags(const struct wamp_session *s, const struct pl_value *options)
{
    const struct wamp_features *f = &s->features;
    bool is_strict = wamp_options(s->wl)->strict_features;
    return (uint8_t)((pl_value_flag(options, "force_reregister") ? PL_CALLEE_FORCED : 0) |
                     (pl_value_flag(options, "forward_timeout") && f->call_timeout
                             ? PL_CALLEE_KEEPS_TIME
                             : 0) |
                     (f->call_canceling ? PL_CALLEE_CAN_CANCEL : 0) |
                     (f->progressive_invocations || (!is_strict && f->unsaid_parts)
                             ? PL_CALLEE_TAKES_PARTS
                             : 0) |
                     (pl_value_flag(options, "disclose_caller") ? PL_CALLEE_WANTS_CALLER : 0));
}

/* What a REGISTER says that cannot be: its error's URI, and words. */
static const char *check_options(struct wamp_session *s, const struct pl_wamp *m,
    enum wamp_match *out_match, uint8_t *out_policy, const char **out_text)
{
    struct pl_value value;
    *out_match = WAMP_EXACT;
    *out_text = NULL;
    if (wamp_option(&m->details, "match", &value) && !wamp_match_parse(&value, out_match)) {
        *out_text = "unknown match";
        return "wamp.error.invalid_argument";
    }
    if (!read_policy(&m->details, out_policy)) {
        *out_text = "unknown invocation policy";
        return "wamp.error.invalid_argument";
    }
    bool may = wamp_options(s->wl)->allow_disclose ||
               pl_bytes_equal(s->core.identity->role, PL_BYTES("trusted"));
    if (pl_value_flag(&m->details, "disclose_caller") && !may)
        return "wamp.error.option_disallowed.disclose_me";
    return NULL;
}

static enum pl_err add_callee(
    struct wamp_session *s, const struct pl_wamp *m, enum wamp_match match, uint8_t policy)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct pl_value value;
    struct pl_bytes uri;
    struct pl_pattern *pattern;
    uint64_t concurrency = 0;
    enum pl_err err = pl_value_text(&m->text, arena, &uri);
    if (!err)
        err = wamp_pattern_decode(arena, uri, match, wamp_options(s->wl)->strict_uri, &pattern);
    if (err)
        return err;
    struct wamp_callee *callee = pl_zalloc(sizeof *callee);
    if (!callee) {
        pl_pattern_unref(pattern);
        return PL_NO_MEMORY;
    }
    if (pl_value_find(&m->details, "concurrency", &value))
        (void)pl_value_natural(&value, &concurrency);
    callee->match = (uint8_t)match;
    callee->core.pattern = pattern;
    callee->core.invoke = policy;
    callee->core.flags = read_flags(s, &m->details);
    callee->core.concurrency = concurrency > UINT32_MAX ? UINT32_MAX : (uint32_t)concurrency;
    callee->next = s->callee_list;
    s->callee_list = callee;
    pl_session_register(&s->core, &callee->core, m->ids[0]);
    return PL_OK;
}

enum pl_err wamp_on_register(struct wamp_session *s, const struct pl_wamp *m)
{
    enum wamp_match match;
    uint8_t policy;
    const char *text;
    enum pl_err err = wamp_authorize(s, m, "register", true);
    if (err)
        return err == PL_DENIED || err == PL_NEED_MORE ? PL_OK : err;
    const char *uri = check_options(s, m, &match, &policy, &text);
    if (uri)
        wamp_send_error(s->wl, PL_WAMP_REGISTER, m->ids[0], uri, text);
    else if ((err = add_callee(s, m, match, policy)))
        wamp_send_err(s->wl, PL_WAMP_REGISTER, m->ids[0], err);
    return PL_OK;
}

void wamp_on_registered(struct wamp_session *s, const struct pl_completion *done)
{
    struct wamp_callee *callee = (struct wamp_callee *)done->callee;
    enum pl_err err = done->err;
    callee->id = done->id;
    if (err)
        free_callee(s, callee);
    else if (!pl_map_add(&s->callees, &callee->entry, id_key(&callee->id)))
        callee->is_listed = true;
    else
        pl_session_end(&s->core, PL_NO_MEMORY);
    if (!s->wl)
        return;
    if (err)
        wamp_send_err(s->wl, PL_WAMP_REGISTER, done->token, err);
    else
        wamp_send_ids(s->wl, PL_WAMP_REGISTERED, done->token, done->id);
}

void wamp_drop_callee(struct wamp_session *s, struct wamp_callee *callee, uint64_t request)
{
    unlist(s, callee);
    callee->request = request;
    pl_session_unregister(&s->core, &callee->core, request);
}

void wamp_on_unregister(struct wamp_session *s, const struct pl_wamp *m)
{
    struct wamp_callee *callee = wamp_find_callee(s, m->ids[1]);
    if (callee)
        wamp_drop_callee(s, callee, m->ids[0]);
    else
        wamp_send_error(
            s->wl, PL_WAMP_UNREGISTER, m->ids[0], "wamp.error.no_such_registration", NULL);
}

void wamp_on_unregistered(struct wamp_session *s, const struct pl_completion *done)
{
    struct wamp_callee *callee = (struct wamp_callee *)done->callee;
    /* Forced out while its own UNREGISTER was on the way: that is answered, too. */
    uint64_t request = callee->request;
    free_callee(s, callee);
    if (s->wl && request)
        wamp_send_ids(s->wl, PL_WAMP_UNREGISTERED, request, 0);
}

/* [67, 0, {registration, reason}], to who said that it understands. */
void wamp_send_revoked(struct wamp_session *s, enum pl_wamp_type type, const char *key, uint64_t id,
    struct pl_bytes reason)
{
    struct wamp_out o;
    wamp_send_begin(&o, s->wl, type);
    pl_put_natural(&o.v, 0);
    pl_put_dict(&o.v);
    pl_put_key(&o.v, key);
    pl_put_natural(&o.v, id);
    if (reason.len) {
        pl_put_key(&o.v, "reason");
        pl_put_string(&o.v, reason);
    }
    pl_put_end(&o.v);
    (void)wamp_send_end(&o);
}

void wamp_unregistered(struct pl_session *core, struct pl_callee *base)
{
    struct wamp_session *s = (struct wamp_session *)core;
    struct wamp_callee *callee = (struct wamp_callee *)base;
    unlist(s, callee);
    if (s->wl && s->features.registration_revocation && !callee->request)
        wamp_send_revoked(
            s, PL_WAMP_UNREGISTERED, "registration", callee->id, PL_BYTES("wamp.error.replaced"));
}

/* ---- INVOCATION ---- */

static void put_caller(
    struct pl_value_writer *v, const struct wamp_session *s, const struct pl_invocation *i)
{
    const struct pl_author *from = i->message->properties ? i->message->properties->from : NULL;
    bool is_disclosed = from && from->id;
    bool asks = i->callee && i->callee->flags & PL_CALLEE_WANTS_CALLER;
    if (is_disclosed && (s->features.caller_identification || asks)) {
        pl_put_key(v, "caller");
        pl_put_natural(v, from->id);
        pl_put_key(v, "caller_authid");
        pl_put_string(v, from->user);
        pl_put_key(v, "caller_authrole");
        pl_put_string(v, from->role);
    } else if (asks && i->caller) {
        pl_put_key(v, "caller");
        pl_put_natural(v, i->caller_id);
        pl_put_key(v, "caller_authid");
        char name[WAMP_NAME];
        if (!i->caller->user.len)
            wamp_name_of(&s->core, i->caller_id, name);
        pl_put_string(v, i->caller->user.len ? i->caller->user : pl_bytes_of(name, sizeof name));
        pl_put_key(v, "caller_authrole");
        pl_put_string(v, i->caller->role);
    }
    if (i->caller && i->caller->has_trust) {
        pl_put_key(v, "trustlevel");
        pl_put_natural(v, i->caller->trust);
    }
}

static void put_procedure(struct pl_value_writer *v, struct pl_bytes subject)
{
    struct pl_arena arena = {0};
    struct pl_bytes uri;
    if (wamp_uri_encode(&arena, subject, &uri)) {
        v->w->err = PL_NO_MEMORY;
    } else {
        pl_put_key(v, "procedure");
        pl_put_string(v, uri);
    }
    pl_arena_done(&arena);
}

static void put_flag(struct pl_value_writer *v, const char *key)
{
    pl_put_key(v, key);
    pl_put_bool(v, true);
}

/* A callee hears of progress if it knows of it: the standard wants call_canceling too, which
 * clients leave out. */
static bool hears_of_progress(const struct wamp_session *s)
{
    const struct wamp_features *f = &s->features;
    return f->progressive_results && (f->call_canceling || !wamp_options(s->wl)->strict_features);
}

static void answer_error(struct wamp_session *s, uint64_t invocation, enum pl_err err)
{
    const struct pl_properties p = {
        .error = pl_bytes_text(pl_call_error_uri(err)), .expires_ms = PL_NEVER};
    struct pl_properties *kept = pl_arena_alloc(pl_session_arena(&s->core), sizeof *kept);
    if (!kept)
        return;
    *kept = p;
    const struct pl_message draft = {.properties = kept};
    pl_session_yield(&s->core, invocation, &draft, NULL);
}

void wamp_invoke(struct pl_session *core, const struct pl_invocation *i)
{
    struct wamp_session *s = (struct wamp_session *)core;
    const struct wamp_callee *callee = (const struct wamp_callee *)i->callee;
    struct wamp_out o;
    s->last_invocation = i->id > s->last_invocation ? i->id : s->last_invocation;
    if (!s->wl || s->wl->phase != WAMP_JOINED)
        return; /* it leaves: the caller is told then */
    wamp_send_begin(&o, s->wl, PL_WAMP_INVOCATION);
    pl_put_natural(&o.v, i->id);
    pl_put_natural(&o.v, callee ? callee->id : 0);
    pl_put_dict(&o.v);
    if (!callee || callee->match != WAMP_EXACT)
        put_procedure(&o.v, i->message->subject);
    put_caller(&o.v, s, i);
    if (i->wants_progress && hears_of_progress(s))
        put_flag(&o.v, "receive_progress");
    if (i->has_more)
        put_flag(&o.v, "progress");
    if (i->timeout_ms) {
        pl_put_key(&o.v, "timeout");
        pl_put_natural(&o.v, i->timeout_ms);
    }
    wamp_put_headers(&o.v, i->message->properties);
    pl_put_end(&o.v);
    if (wamp_send_end_payload(&o, i->message, wamp_options(s->wl)->plain) == PL_TOO_LARGE)
        answer_error(s, i->id, PL_TOO_LARGE);
}

void wamp_interrupt(
    struct pl_session *core, uint64_t invocation, enum pl_cancel mode, enum pl_err why)
{
    struct wamp_session *s = (struct wamp_session *)core;
    struct wamp_out o;
    if (!s->wl || s->wl->phase != WAMP_JOINED)
        return;
    wamp_send_begin(&o, s->wl, PL_WAMP_INTERRUPT);
    pl_put_natural(&o.v, invocation);
    pl_put_dict(&o.v);
    pl_put_key(&o.v, "mode");
    pl_put_text(&o.v, mode == PL_CANCEL_KILL ? "kill" : "killnowait");
    pl_put_key(&o.v, "reason");
    pl_put_text(&o.v, pl_call_error_uri(why));
    pl_put_end(&o.v);
    (void)wamp_send_end(&o);
}

/* ---- YIELD and ERROR ---- */

/* Another callee may be able to. */
static bool passes_on(const struct wamp_extras *extras)
{
    return pl_bytes_equal(extras->error, PL_BYTES("wamp.error.unavailable"));
}

enum pl_err wamp_on_yield(struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct wamp_extras extras = {0};
    struct pl_message draft = {
        .payload = m->payload,
        .format = (uint8_t)(PL_FORMAT_ARGUMENTS + m->serializer),
    };
    bool is_error = m->type == PL_WAMP_ERROR;
    if (is_error && m->request_type != PL_WAMP_INVOCATION)
        return wamp_violate(s->wl, "an ERROR of a client is about an INVOCATION");
    if (m->ids[0] > s->last_invocation)
        return wamp_violate(s->wl, "an answer to an invocation that there never was");
    enum pl_err err = is_error ? pl_value_text(&m->text, arena, &extras.error) : PL_OK;
    if (is_error && !err && !extras.error.len)
        extras.error = PL_BYTES("wamp.error.runtime_error");
    extras.is_progress = !is_error && pl_value_flag(&m->details, "progress");
    if (!err && is_error && passes_on(&extras)) {
        pl_session_pass(&s->core, m->ids[0]);
        return PL_OK;
    }
    if (!err)
        err = wamp_properties(s, &m->details, &extras, &draft.properties);
    if (err)
        answer_error(s, m->ids[0], err);
    else
        pl_session_yield(&s->core, m->ids[0], &draft, buffer);
    return PL_OK;
}
