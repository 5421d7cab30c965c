#include "protocols/wamp/wamp_meta.h"

#include "base/alloc.h"
#include "protocols/wamp/wamp_meta_state.h"

static struct pl_wamp_meta *of(struct pl_session *session)
{
    return (struct pl_wamp_meta *)session;
}

/* ---- Answers ---- */

void meta_answer(struct pl_wamp_meta *meta, uint64_t invocation, struct pl_writer *results_moved)
{
    struct pl_shared *payload;
    if (pl_writer_take(results_moved, &payload)) {
        meta_answer_error(meta, invocation, "wamp.error.unavailable", "out of memory");
        return;
    }
    const struct pl_message draft = {
        .payload = pl_bytes_of(payload->data, payload->len),
        .format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK,
    };
    pl_session_yield(&meta->session, invocation, &draft, payload);
    pl_shared_unref(payload);
}

void meta_answer_error(
    struct pl_wamp_meta *meta, uint64_t invocation, const char *uri, const char *text)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_list(&v);
    if (text)
        pl_put_text(&v, text);
    pl_put_end(&v);
    struct pl_shared *payload = NULL;
    if (pl_writer_take(&w, &payload))
        payload = NULL; /* The error alone. */
    struct pl_properties *properties =
        pl_arena_zalloc(pl_session_arena(&meta->session), sizeof *properties);
    if (properties) {
        properties->error = pl_bytes_text(uri);
        properties->expires_ms = PL_NEVER;
        const struct pl_message draft = {
            .payload = payload ? pl_bytes_of(payload->data, payload->len) : PL_NO_BYTES,
            .format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK,
            .properties = properties,
        };
        pl_session_yield(&meta->session, invocation, &draft, payload);
    } else {
        pl_session_pass(&meta->session, invocation);
    }
    pl_shared_unref(payload);
}

/* ---- Invocations ---- */

static void invoke(struct pl_session *session, const struct pl_invocation *invocation)
{
    struct pl_wamp_meta *meta = of(session);
    const struct meta_callee *callee = (const struct meta_callee *)invocation->callee;
    struct pl_arena arena = {0};
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    struct meta_call call = {.meta = meta, .invocation = invocation, .arena = &arena, .v = &v};
    pl_put_list(&v);
    if (wamp_read_arguments(invocation->message, &arena, &call.args, &call.kwargs))
        meta_fail(&call, "wamp.error.unavailable", "out of memory");
    else
        callee->procedure->run(&call);
    if (!call.error && !call.is_later) {
        pl_put_end(&v);
        meta_answer(meta, invocation->id, &w);
    } else {
        pl_shared_unref(w.spill);
        if (call.error)
            meta_answer_error(meta, invocation->id, call.error, call.text);
    }
    pl_arena_done(&arena);
}

/* Of a call that waits for the log; the others are over. */
static void interrupt(
    struct pl_session *session, uint64_t invocation, enum pl_cancel mode, enum pl_err why)
{
    (void)why;
    meta_drop_reads(of(session), invocation);
    if (mode == PL_CANCEL_KILL)
        meta_answer_error(of(session), invocation, "wamp.error.canceled", NULL);
}

/* ---- What happens in the realm ---- */

static void on_joined(struct pl_wamp_meta *meta, const struct pl_notice *notice)
{
    struct meta_event event;
    if (meta_session_add(meta, notice->session, notice->card)) {
        pl_count(&meta->session.worker->counters.dropped_no_memory, 1);
        return;
    }
    meta_event_begin(&event);
    meta_put_card(meta, &event.v, notice->card);
    meta_event_end(meta, &event, "wamp.session.on_join", notice->session);
}

static void on_left(struct pl_wamp_meta *meta, const struct pl_notice *notice)
{
    struct meta_session *session = meta_session_find(meta, notice->session);
    struct pl_arena arena = {0};
    struct meta_event event;
    if (!session)
        return;
    if (!session->is_quiet) {
        meta_event_begin(&event);
        pl_put_natural(&event.v, notice->session);
        pl_put_string(&event.v, meta_card_text(session, "authid", &arena));
        pl_put_string(&event.v, meta_card_text(session, "authrole", &arena));
        meta_event_end(meta, &event, "wamp.session.on_leave", 0);
        pl_arena_done(&arena);
    }
    meta_session_remove(meta, session);
}

static bool is_meta(const struct pl_pattern *pattern)
{
    return pl_bytes_starts(pattern->text, PL_BYTES("wamp."));
}

/* [session, id of what it is about, or all of it] */
static void tell(struct pl_wamp_meta *meta, const char *what, uint64_t session,
    const struct meta_table *table, const struct meta_topic *topic, bool is_whole)
{
    struct meta_event event;
    meta_event_begin(&event);
    pl_put_natural(&event.v, session);
    if (is_whole)
        meta_put_topic(&event.v, topic, table == &meta->registrations);
    else
        pl_put_natural(&event.v, topic->id);
    meta_event_end(meta, &event, what, session);
}

static void on_entered(struct pl_wamp_meta *meta, const struct pl_notice *notice,
    struct meta_table *table, uint64_t id, const char *created, const char *entered)
{
    struct meta_topic *topic;
    bool is_new;
    enum pl_err err =
        meta_topic_make(meta, table, id, notice->pattern, notice->time_unix_ms, &topic, &is_new);
    if (!err) {
        topic->invoke = notice->invoke;
        err = meta_topic_join(topic, notice->session);
        if (err && is_new)
            meta_topic_remove(table, topic);
    }
    if (err) {
        pl_count(&meta->session.worker->counters.dropped_no_memory, 1);
        return;
    }
    /* Of subscriptions of these events themselves nothing is told: each event would be two. */
    if (is_meta(notice->pattern))
        return;
    if (is_new)
        tell(meta, created, notice->session, table, topic, true);
    tell(meta, entered, notice->session, table, topic, false);
}

static void on_parted(struct pl_wamp_meta *meta, const struct pl_notice *notice,
    struct meta_table *table, uint64_t id, const char *parted, const char *deleted)
{
    struct meta_topic *topic = meta_topic_find(table, id);
    if (!topic || !meta_topic_leave(topic, notice->session))
        return;
    const struct meta_session *session = meta_session_find(meta, notice->session);
    bool is_last = !topic->members.count && !topic->is_permanent;
    if (!is_meta(notice->pattern) && !(session && session->is_quiet)) {
        tell(meta, parted, notice->session, table, topic, false);
        if (is_last)
            tell(meta, deleted, notice->session, table, topic, false);
    }
    if (is_last)
        meta_topic_remove(table, topic);
}

static void noticed(struct pl_session *session, const struct pl_notice *notice)
{
    struct pl_wamp_meta *meta = of(session);
    uint64_t topic = notice->kind == PL_NOTICE_SUBSCRIBED || notice->kind == PL_NOTICE_UNSUBSCRIBED
                         ? wamp_subscription_id(session->realm, notice->pattern)
                         : 0;
    switch ((enum pl_notice_kind)notice->kind) {
    case PL_NOTICE_JOINED:
        on_joined(meta, notice);
        return;
    case PL_NOTICE_LEFT:
        on_left(meta, notice);
        return;
    case PL_NOTICE_SUBSCRIBED:
        on_entered(meta, notice, &meta->subscriptions, topic, "wamp.subscription.on_create",
            "wamp.subscription.on_subscribe");
        return;
    case PL_NOTICE_UNSUBSCRIBED:
        on_parted(meta, notice, &meta->subscriptions, topic, "wamp.subscription.on_unsubscribe",
            "wamp.subscription.on_delete");
        return;
    case PL_NOTICE_REGISTERED:
        on_entered(meta, notice, &meta->registrations, notice->registration,
            "wamp.registration.on_create", "wamp.registration.on_register");
        return;
    case PL_NOTICE_UNREGISTERED:
        on_parted(meta, notice, &meta->registrations, notice->registration,
            "wamp.registration.on_unregister", "wamp.registration.on_delete");
        return;
    }
}

/* ---- Its life ---- */

static void complete(struct pl_session *session, const struct pl_completion *done)
{
    if (done->kind == PL_DONE_LOG)
        meta_on_log(of(session), done);
}

static void ended(struct pl_session *session, enum pl_err why)
{
    (void)why;
    meta_drop_reads(of(session), 0);
    pl_session_leave(session, false);
}

static void unregistered(struct pl_session *session, struct pl_callee *callee)
{
    (void)session;
    (void)callee;
}

static void press(struct pl_session *session, bool is_on)
{
    (void)session;
    (void)is_on;
}

static const struct pl_session_ops meta_ops = {
    .name = "wamp",
    .complete = complete,
    .ended = ended,
    .invoke = invoke,
    .interrupt = interrupt,
    .unregistered = unregistered,
    .press = press,
    .noticed = noticed,
};

static uint32_t count_procedures(const struct meta_procedure *list)
{
    uint32_t count = 0;
    while (list[count].uri)
        count++;
    return count;
}

static enum pl_err add_callees(struct pl_wamp_meta *meta, const struct meta_procedure *list)
{
    enum pl_err err = PL_OK;
    for (; list->uri && !err; list++) {
        struct meta_callee *callee = &meta->callees[meta->callee_count];
        callee->procedure = list;
        callee->core.flags = PL_CALLEE_CAN_CANCEL;
        err = pl_pattern_new_literal(pl_bytes_text(list->uri), &callee->core.pattern);
        meta->callee_count += !err;
    }
    return err;
}

static enum pl_err make_callees(struct pl_wamp_meta *meta)
{
    const struct meta_procedure *lists[] = {
        meta_session_procedures,
        meta_topic_procedures,
        meta->options.can_kill ? meta_kill_procedures : NULL,
        meta->options.can_modify ? meta_modify_procedures : NULL,
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        count += lists[i] ? count_procedures(lists[i]) : 0;
    meta->callees = pl_zalloc(count * sizeof *meta->callees);
    enum pl_err err = meta->callees ? PL_OK : PL_NO_MEMORY;
    for (size_t i = 0; i < sizeof lists / sizeof *lists && !err; i++)
        if (lists[i])
            err = add_callees(meta, lists[i]);
    return err;
}

/* As a WAMP client subscribes what a rule keeps: the pattern itself, a prefix where it ends in
 * "rest". NULL: it could not. */
static enum pl_err history_pattern(struct pl_bytes text, struct pl_pattern **out)
{
    struct pl_pattern *rule;
    enum pl_err err = pl_pattern_parse(text, &rule);
    *out = NULL;
    if (err)
        return err;
    uint32_t literals = rule->literal_head;
    bool has_rest = rule->tokens[rule->token_count - 1].kind >= PL_TOKEN_REST;
    if (!has_rest)
        *out = pl_pattern_ref(rule);
    else if (literals && literals + 1 == rule->token_count)
        /* Without the last token: "a.>" is "a.". */
        err = pl_pattern_new_prefix(pl_bytes_of(rule->text.data, rule->text.len - 1), out);
    pl_pattern_unref(rule);
    return err;
}

/* Topics with a history are there without anyone who subscribes them. */
static enum pl_err make_topics(struct pl_wamp_meta *meta, uint64_t now_unix_ms)
{
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; i < meta->options.history_count && !err; i++) {
        struct pl_pattern *pattern;
        struct meta_topic *topic;
        bool is_new;
        err = history_pattern(pl_bytes_text(meta->options.history[i]), &pattern);
        if (err || !pattern)
            continue;
        err = meta_topic_make(meta, &meta->subscriptions,
            wamp_subscription_id(meta->session.realm, pattern), pattern, now_unix_ms, &topic,
            &is_new);
        pl_pattern_unref(pattern);
        if (!err)
            topic->is_permanent = true;
    }
    return err;
}

enum pl_err pl_wamp_meta_new(struct pl_realm *realm, struct pl_worker *worker,
    const struct pl_wamp_meta_options *options, struct pl_wamp_meta **out)
{
    struct pl_wamp_meta *meta = pl_zalloc(sizeof *meta);
    if (!meta)
        return PL_NO_MEMORY;
    meta->options = *options;
    pl_output_init(&meta->out, &worker->outputs, 1 << 16);
    pl_session_init(&meta->session, &meta_ops, worker, &meta->out);
    meta->session.realm = realm;
    meta->session.identity = pl_identity_new_all("parley", "trusted");
    meta_tables_init(meta);
    enum pl_err err = meta->session.identity ? make_callees(meta) : PL_NO_MEMORY;
    if (!err)
        err = make_topics(meta, worker->now_unix_ms);
    if (err) {
        pl_wamp_meta_free(meta);
        return err;
    }
    meta->session.identity->is_server = true;
    pl_session_join(&meta->session, 0);
    for (uint32_t i = 0; i < meta->callee_count; i++)
        pl_session_register(&meta->session, &meta->callees[i].core, 0);
    pl_realm_set_observer(realm, &meta->session);
    *out = meta;
    return PL_OK;
}

struct pl_wamp_meta *pl_wamp_meta_free(struct pl_wamp_meta *meta)
{
    if (!meta)
        return NULL;
    meta_tables_done(meta);
    pl_session_done(&meta->session);
    pl_output_done(&meta->out);
    pl_free(meta->callees);
    pl_free(meta);
    return NULL;
}
