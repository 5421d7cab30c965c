/*
 * Roles whose rights a procedure decides: it is called with who asks, the URI, the action and the
 * request's options, and answers true, false, or {allow, cache}. Meanwhile the peer is not read
 * from, so its requests stay in order; the one that asked comes again when the answer is there.
 */
#include "base/alloc.h"
#include "protocols/wamp/wamp_session.h"

enum { GRANTS_MAX = 1000 };

static const uint64_t QUESTION = (uint64_t)1 << 63;

enum verdict { UNASKED, ALLOWED, REFUSED, FAILED };

struct wamp_question {
    uint64_t token;
    uint8_t verdict;           /* enum verdict */
    bool is_kept;              /* the answer counts for later ones of this kind too */
    struct pl_shared *message; /* what asked; one reference */
};

/* An answer that counts again. */
struct wamp_grant {
    struct wamp_grant *next;
    const char *action; /* static */
    bool allows;
    size_t len;
    uint8_t uri[];
};

bool wamp_is_question(uint64_t token)
{
    return token & QUESTION;
}

static void free_question(struct wamp_session *s)
{
    if (!s->question)
        return;
    pl_shared_unref(s->question->message);
    pl_free(s->question);
    s->question = NULL;
}

void wamp_free_questions(struct wamp_session *s)
{
    free_question(s);
    while (s->grants) {
        struct wamp_grant *next = s->grants->next;
        pl_free(s->grants);
        s->grants = next;
    }
}

static const struct wamp_grant *find_grant(
    const struct wamp_session *s, const char *action, struct pl_bytes uri)
{
    for (const struct wamp_grant *g = s->grants; g; g = g->next)
        if (strcmp(g->action, action) == 0 && pl_bytes_equal(pl_bytes_of(g->uri, g->len), uri))
            return g;
    return NULL;
}

static void keep_grant(struct wamp_session *s, const char *action, struct pl_bytes uri, bool allows)
{
    struct wamp_grant *g = s->grant_count < GRANTS_MAX ? pl_alloc(sizeof *g + uri.len) : NULL;
    if (!g)
        return;
    *g = (struct wamp_grant){.next = s->grants, .action = action, .allows = allows, .len = uri.len};
    memcpy(g->uri, uri.data, uri.len);
    s->grants = g;
    s->grant_count++;
}

/* [details of the session, uri, action, options] */
static enum pl_err write_question(struct wamp_session *s, const char *action,
    const struct pl_value *uri, const struct pl_value *options, struct pl_shared **out)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    struct pl_value card = {
        .kind = PL_VALUE_DICT,
        .serializer = PL_SERIAL_MSGPACK,
        .raw = pl_bytes_of(s->core.card->data, s->core.card->len),
    };
    pl_put_list(&v);
    pl_put_value(&v, &card);
    pl_put_value(&v, uri);
    pl_put_text(&v, action);
    pl_put_value(&v, options);
    pl_put_end(&v);
    return pl_writer_take(&w, out);
}

static enum pl_err ask(struct wamp_session *s, const struct pl_wamp *m, const char *action)
{
    struct pl_shared *arguments;
    struct wamp_question *q = pl_zalloc(sizeof *q);
    if (!q)
        return PL_NO_MEMORY;
    s->question = q;
    q->token = QUESTION | ++s->questions;
    q->message = pl_shared_new(s->message.len + 1);
    if (!q->message || write_question(s, action, &m->text, &m->details, &arguments)) {
        free_question(s);
        return PL_NO_MEMORY;
    }
    memcpy(q->message->data, s->message.data, s->message.len);
    q->message->len = (uint32_t)s->message.len;
    const struct pl_message draft = {
        .subject = s->core.identity->authorizer,
        .payload = pl_bytes_of(arguments->data, arguments->len),
        .format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK,
    };
    pl_session_call(&s->core, &draft, arguments, PL_CALL_TRUSTED,
        pl_realm_limits(s->core.realm)->reply_grant_ms, q->token);
    pl_shared_unref(arguments);
    wamp_set_waiting(s);
    return PL_NEED_MORE;
}

static enum pl_err refuse(
    struct wamp_session *s, const struct pl_wamp *m, bool wants_error, bool has_failed)
{
    if (wants_error)
        wamp_send_error(s->wl, (enum pl_wamp_type)m->type, m->ids[0],
            has_failed ? "wamp.error.authorization_failed" : "wamp.error.not_authorized", NULL);
    return PL_DENIED;
}

enum pl_err wamp_authorize(
    struct wamp_session *s, const struct pl_wamp *m, const char *action, bool wants_error)
{
    if (!s->core.identity->authorizer.len)
        return PL_OK;
    struct pl_bytes uri = m->text.raw;
    const struct wamp_grant *grant = find_grant(s, action, uri);
    if (grant)
        return grant->allows ? PL_OK : refuse(s, m, wants_error, false);
    if (!s->question)
        return ask(s, m, action);
    enum verdict verdict = (enum verdict)s->question->verdict;
    if (s->question->is_kept && verdict != FAILED)
        keep_grant(s, action, uri, verdict == ALLOWED);
    return verdict == ALLOWED ? PL_OK : refuse(s, m, wants_error, verdict == FAILED);
}

static void read_verdict(struct wamp_question *q, const struct pl_result *result)
{
    struct pl_arena arena = {0};
    struct pl_value args, kwargs, answer, allow;
    const struct pl_message *m = result->message;
    bool has_error = !m || (m->properties && m->properties->error.len);
    q->verdict = FAILED;
    if (!has_error && !wamp_read_arguments(m, &arena, &args, &kwargs)) {
        struct pl_items items = pl_value_items(&args);
        if (!pl_items_next(&items, NULL, &answer))
            answer.kind = PL_VALUE_NULL;
        if (answer.kind == PL_VALUE_BOOL) {
            q->verdict = answer.boolean ? ALLOWED : REFUSED;
        } else if (pl_value_find(&answer, "allow", &allow) && allow.kind == PL_VALUE_BOOL) {
            q->verdict = allow.boolean ? ALLOWED : REFUSED;
            q->is_kept = pl_value_flag(&answer, "cache");
        }
    }
    pl_arena_done(&arena);
}

void wamp_on_authorized(struct wamp_session *s, const struct pl_result *result)
{
    struct wamp_question *q = s->question;
    if (!q || q->token != result->token || !s->wl)
        return;
    read_verdict(q, result);
    struct wamp_link *wl = s->wl;
    enum pl_err err =
        wamp_on_message(wl, pl_bytes_of(q->message->data, q->message->len), q->message);
    free_question(s);
    if (err) {
        wl->link.is_waiting = true;
        wl->link.host->close(&wl->link, err, NULL);
        return;
    }
    wamp_set_waiting(s);
}
