/* wamp.session.…: who is there, testaments, the end of others, their details. */
#include "protocols/wamp/wamp_meta_state.h"

/* ---- Who is there ---- */

/* Is the session's role one of the list's? A list that is not there names all. */
static bool has_role(
    const struct meta_session *session, const struct pl_value *roles, struct pl_arena *arena)
{
    struct pl_value item;
    struct pl_bytes role = meta_card_text(session, "authrole", arena), name;
    struct pl_items items = pl_value_items(roles);
    if (roles->kind == PL_VALUE_NULL)
        return true;
    while (pl_items_next(&items, NULL, &item))
        if (item.kind == PL_VALUE_STRING && !pl_value_text(&item, arena, &name) &&
            pl_bytes_equal(name, role))
            return true;
    return false;
}

/* The first argument: a list of roles, or nothing. */
static bool read_roles(struct meta_call *call, struct pl_value *out)
{
    if (!meta_argument(call, 0, out))
        out->kind = PL_VALUE_NULL;
    if (out->kind == PL_VALUE_NULL || out->kind == PL_VALUE_LIST)
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "roles are a list");
    return false;
}

static void count_sessions(struct meta_call *call)
{
    struct pl_value roles;
    uint64_t count = 0;
    if (!read_roles(call, &roles))
        return;
    if (roles.kind == PL_VALUE_NULL)
        count = call->meta->sessions.count;
    else
        for (const struct meta_session *s = call->meta->first; s; s = s->next)
            count += has_role(s, &roles, call->arena);
    pl_put_natural(call->v, count);
}

static void list_sessions(struct meta_call *call)
{
    struct pl_value roles;
    if (!read_roles(call, &roles))
        return;
    pl_put_list(call->v);
    for (const struct meta_session *s = call->meta->first; s; s = s->next)
        if (has_role(s, &roles, call->arena))
            pl_put_natural(call->v, s->id);
    pl_put_end(call->v);
}

/* The session that the first argument names; NULL: the call has failed. */
static struct meta_session *named_session(struct meta_call *call)
{
    uint64_t id;
    if (!meta_argument_id(call, 0, &id))
        return NULL;
    struct meta_session *session = meta_session_find(call->meta, id);
    if (!session)
        meta_fail(call, "wamp.error.no_such_session", NULL);
    return session;
}

static void get_session(struct meta_call *call)
{
    const struct meta_session *session = named_session(call);
    if (session)
        meta_put_card(call->meta, call->v, session->card);
}

/* ---- Testaments ---- */

static bool read_scope(struct meta_call *call, enum pl_wamp_scope *out)
{
    struct pl_bytes scope;
    *out = PL_WAMP_SCOPE_DESTROYED;
    if (!meta_keyword_text(call, "scope", &scope))
        return false;
    if (!scope.len || pl_bytes_equal(scope, PL_BYTES("destroyed")))
        return true;
    *out = PL_WAMP_SCOPE_DETACHED;
    if (pl_bytes_equal(scope, PL_BYTES("detached")))
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "scope is destroyed or detached");
    return false;
}

static const char *scope_name(enum pl_wamp_scope scope)
{
    return scope == PL_WAMP_SCOPE_DETACHED ? "detached" : "destroyed";
}

/* An argument that is there must be of this kind. */
static bool read_part(struct meta_call *call, uint32_t index, uint8_t kind, struct pl_value *out)
{
    if (!meta_argument(call, index, out) || out->kind == PL_VALUE_NULL) {
        out->kind = PL_VALUE_NULL;
        return true;
    }
    if (out->kind == kind)
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "args are a list, kwargs a dictionary");
    return false;
}

static void put_part(struct pl_value_writer *v, const char *key, const struct pl_value *part)
{
    if (part->kind == PL_VALUE_NULL)
        return;
    pl_put_key(v, key);
    pl_put_value(v, part);
}

/* The caller's own session; NULL: the call has failed. */
static struct meta_session *own_session(struct meta_call *call)
{
    struct meta_session *session = meta_session_find(call->meta, call->invocation->caller_id);
    if (!session)
        meta_fail(call, "wamp.error.no_such_session", "only a WAMP session has testaments");
    return session;
}

static bool has_room(const struct meta_session *session, const struct pl_wamp_options *limits,
    const struct pl_writer *word)
{
    uint32_t count = 0;
    size_t bytes = word->len;
    for (int i = 0; i < PL_WAMP_SCOPE_COUNT; i++) {
        count += session->testaments[i];
        bytes += session->testament_bytes[i];
    }
    return count < limits->testaments_max && bytes <= limits->testament_bytes_max;
}

static void add_testament(struct meta_call *call)
{
    struct pl_value args, kwargs, options = {.kind = PL_VALUE_NULL};
    struct pl_bytes topic, subject;
    enum pl_wamp_scope scope;
    struct meta_session *session = own_session(call);
    if (!session || !meta_argument_text(call, 0, &topic) || !read_scope(call, &scope) ||
        !read_part(call, 1, PL_VALUE_LIST, &args) || !read_part(call, 2, PL_VALUE_DICT, &kwargs))
        return;
    if (wamp_uri_decode(call->arena, topic, call->meta->options.wamp->strict_uri, &subject) ||
        pl_subject_is_reserved(subject)) {
        meta_fail(call, "wamp.error.invalid_uri", NULL);
        return;
    }
    if (meta_keyword(call, "publish_options", &options) && options.kind != PL_VALUE_DICT) {
        meta_fail(call, "wamp.error.invalid_argument", "publish_options are a dictionary");
        return;
    }
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    pl_put_key(&v, "topic");
    pl_put_string(&v, topic);
    pl_put_key(&v, "scope");
    pl_put_text(&v, scope_name(scope));
    put_part(&v, "args", &args);
    put_part(&v, "kwargs", &kwargs);
    put_part(&v, "options", &options);
    pl_put_end(&v);
    if (!has_room(session, call->meta->options.wamp, &w)) {
        pl_shared_unref(w.spill);
        meta_fail(call, "wamp.error.unavailable", "too many testaments");
        return;
    }
    session->testaments[scope]++;
    session->testament_bytes[scope] += w.len;
    meta_tell(call, session->id, PL_WAMP_WORD_TESTAMENT, &w);
}

static void flush_testaments(struct meta_call *call)
{
    enum pl_wamp_scope scope;
    struct meta_session *session = own_session(call);
    if (!session || !read_scope(call, &scope))
        return;
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    pl_put_key(&v, "scope");
    pl_put_text(&v, scope_name(scope));
    pl_put_end(&v);
    meta_tell(call, session->id, PL_WAMP_WORD_FLUSH, &w);
    pl_put_natural(call->v, session->testaments[scope]);
    session->testaments[scope] = 0;
    session->testament_bytes[scope] = 0;
}

/* ---- The end of others ---- */

struct sentence {
    struct pl_bytes reason, message;
    bool is_quiet;
};

static bool read_sentence(struct meta_call *call, struct sentence *out)
{
    struct pl_bytes subject;
    *out = (struct sentence){0};
    if (!meta_keyword_text(call, "reason", &out->reason) ||
        !meta_keyword_text(call, "message", &out->message))
        return false;
    if (!out->reason.len || !wamp_uri_decode(call->arena, out->reason, false, &subject))
        return true;
    meta_fail(call, "wamp.error.invalid_uri", "reason is no URI");
    return false;
}

static void kill_one(
    struct meta_call *call, struct meta_session *session, const struct sentence *sentence)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    if (sentence->reason.len) {
        pl_put_key(&v, "reason");
        pl_put_string(&v, sentence->reason);
    }
    if (sentence->message.len) {
        pl_put_key(&v, "message");
        pl_put_string(&v, sentence->message);
    }
    pl_put_key(&v, "is_quiet");
    pl_put_bool(&v, sentence->is_quiet);
    pl_put_end(&v);
    session->is_quiet |= sentence->is_quiet;
    meta_tell(call, session->id, PL_WAMP_WORD_KILL, &w);
}

static void kill_session(struct meta_call *call)
{
    struct sentence sentence;
    struct meta_session *session = named_session(call);
    if (!session || !read_sentence(call, &sentence))
        return;
    if (session->id == call->invocation->caller_id)
        meta_fail(call, "wamp.error.no_such_session", "a session cannot end itself");
    else
        kill_one(call, session, &sentence);
}

/* All but the caller whose detail is `text` (key NULL: all); with ids, they are listed. */
static uint64_t kill_those(struct meta_call *call, const char *key, struct pl_bytes text,
    const struct sentence *sentence, bool lists_them)
{
    uint64_t count = 0;
    for (struct meta_session *s = call->meta->first; s && !call->error; s = s->next) {
        if (s->id == call->invocation->caller_id ||
            (key && !pl_bytes_equal(meta_card_text(s, key, call->arena), text)))
            continue;
        kill_one(call, s, sentence);
        count++;
        if (lists_them)
            pl_put_natural(call->v, s->id);
    }
    return count;
}

static void kill_by_authid(struct meta_call *call)
{
    struct sentence sentence;
    struct pl_bytes authid;
    if (!meta_argument_text(call, 0, &authid) || !read_sentence(call, &sentence))
        return;
    pl_put_list(call->v);
    (void)kill_those(call, "authid", authid, &sentence, true);
    pl_put_end(call->v);
}

static void kill_by_authrole(struct meta_call *call)
{
    struct sentence sentence;
    struct pl_bytes role;
    if (meta_argument_text(call, 0, &role) && read_sentence(call, &sentence))
        pl_put_natural(call->v, kill_those(call, "authrole", role, &sentence, false));
}

static void kill_all(struct meta_call *call)
{
    struct sentence sentence;
    if (!read_sentence(call, &sentence))
        return;
    sentence.is_quiet = true;
    pl_put_natural(call->v, kill_those(call, NULL, PL_NO_BYTES, &sentence, false));
}

/* ---- Other details ---- */

static void modify_details(struct meta_call *call)
{
    struct pl_value delta;
    struct pl_shared *card;
    struct meta_session *session = named_session(call);
    if (!session)
        return;
    if (!meta_argument(call, 1, &delta) || delta.kind != PL_VALUE_DICT) {
        meta_fail(call, "wamp.error.invalid_argument", "details are a dictionary");
        return;
    }
    struct pl_bytes old = pl_bytes_of(session->card->data, session->card->len);
    if (pl_wamp_card_change(old, &delta, &card)) {
        meta_fail(call, "wamp.error.unavailable", "out of memory");
        return;
    }
    if (card->len > call->meta->options.wamp->details_max) {
        pl_shared_unref(card);
        meta_fail(call, "wamp.error.invalid_argument", "details are too long");
        return;
    }
    meta_session_set_card(session, card);
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    pl_put_key(&v, "details");
    pl_put_value(&v, &delta);
    pl_put_end(&v);
    meta_tell(call, session->id, PL_WAMP_WORD_DETAILS, &w);
}

const struct meta_procedure meta_session_procedures[] = {
    {"wamp.session.count", count_sessions},
    {"wamp.session.list", list_sessions},
    {"wamp.session.get", get_session},
    {"wamp.session.add_testament", add_testament},
    {"wamp.session.flush_testaments", flush_testaments},
    {0},
};

const struct meta_procedure meta_kill_procedures[] = {
    {"wamp.session.kill", kill_session},
    {"wamp.session.kill_by_authid", kill_by_authid},
    {"wamp.session.kill_by_authrole", kill_by_authrole},
    {"wamp.session.kill_all", kill_all},
    {"wamp.subscription.remove_subscriber", meta_remove_subscriber},
    {"wamp.registration.remove_callee", meta_remove_callee},
    {0},
};

const struct meta_procedure meta_modify_procedures[] = {
    {"wamp.session.modify_details", modify_details},
    {0},
};
