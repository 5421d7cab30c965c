/*
 * wamp.subscription.get_events: what was published on a subscription's topic, from the realm's
 * history (WAMP advanced profile, "Event History").
 *
 * The log is read in pieces, from its start; the newest that the caller asked for are kept until
 * its end is reached. Publications that were for some only are told to these, where a login says
 * who that is.
 */
#include "base/alloc.h"
#include "protocols/wamp/wamp_meta_state.h"

enum { META_CHUNK = 128 };

/* A bound on publications in the log's order: from, or behind, this one. */
struct bound {
    uint64_t id;  /* 0: none */
    bool is_open; /* … itself is outside */
};

struct meta_read {
    struct meta_read *next;
    uint64_t token, invocation, subscription;
    struct pl_identity *caller; /* one reference; NULL: the server */
    struct pl_pattern *pattern; /* one reference */
    bool is_filtered;           /* the caller may not receive all that the pattern matches */
    uint64_t min_ms, max_ms;    /* when it was published; both are inside */
    struct bound since, until;
    bool has_begun, is_over; /* `since` was passed, `until` was reached */
    struct pl_bytes topic;   /* subject; owned copy. Empty: any */
    char *topic_copy;
    uint64_t asked_unix_ms; /* what comes later is not waited for */
    bool is_reversed;
    uint32_t limit;
    uint64_t found;             /* all that passed */
    struct pl_message **newest; /* owned ring of `limit` references; found % limit is next */
};

/* ---- What is asked ---- */

static bool read_time(struct meta_call *call, const char *key, bool *out_has, uint64_t *out)
{
    struct pl_bytes text;
    *out_has = false;
    if (!meta_keyword_text(call, key, &text))
        return false;
    if (!text.len)
        return true;
    *out_has = true;
    if (!meta_parse_time(text, out))
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "a time is no RFC 3339 date");
    return false;
}

static bool read_times(struct meta_call *call, struct meta_read *read)
{
    bool has_from, has_after, has_before, has_until;
    uint64_t from, after, before, until;
    read->max_ms = PL_NEVER;
    if (!read_time(call, "from_time", &has_from, &from) ||
        !read_time(call, "after_time", &has_after, &after) ||
        !read_time(call, "before_time", &has_before, &before) ||
        !read_time(call, "until_time", &has_until, &until))
        return false;
    if (has_from)
        read->min_ms = from;
    if (has_after && after >= read->min_ms)
        read->min_ms = after + 1;
    if (has_until)
        read->max_ms = until;
    if (has_before && before <= read->max_ms) {
        read->max_ms = before ? before - 1 : 0;
        read->is_over |= !before;
    }
    return true;
}

static bool read_bound(struct meta_call *call, const char *key, bool is_open, struct bound *out)
{
    struct pl_value value;
    if (!meta_keyword(call, key, &value))
        return true;
    if (out->id || !pl_value_id(&value, &out->id)) {
        meta_fail(call, "wamp.error.invalid_argument",
            out->id ? "two bounds of one side" : "a publication is no id");
        return false;
    }
    out->is_open = is_open;
    return true;
}

static bool read_limit(struct meta_call *call, struct meta_read *read)
{
    struct pl_value value;
    uint32_t most = call->meta->options.wamp->events_max;
    uint64_t limit = most;
    if (meta_keyword(call, "limit", &value) && (!pl_value_natural(&value, &limit) || limit == 0)) {
        meta_fail(call, "wamp.error.invalid_argument", "limit is a number from 1 on");
        return false;
    }
    read->limit = limit < most ? (uint32_t)limit : most;
    if (meta_keyword(call, "reverse", &value)) {
        read->is_reversed = value.kind == PL_VALUE_BOOL && value.boolean;
        if (value.kind != PL_VALUE_BOOL) {
            meta_fail(call, "wamp.error.invalid_argument", "reverse is true or false");
            return false;
        }
    }
    return true;
}

static bool read_topic(struct meta_call *call, struct meta_read *read)
{
    struct pl_bytes uri, subject;
    if (!meta_keyword_text(call, "topic", &uri))
        return false;
    if (!uri.len)
        return true;
    if (wamp_uri_decode(call->arena, uri, false, &subject)) {
        meta_fail(call, "wamp.error.invalid_uri", NULL);
        return false;
    }
    read->topic_copy = pl_alloc_copy(subject.data, subject.len);
    read->topic = pl_bytes_of(read->topic_copy, subject.len);
    if (!read->topic_copy)
        meta_fail(call, "wamp.error.unavailable", "out of memory");
    return read->topic_copy != NULL;
}

static bool read_filters(struct meta_call *call, struct meta_read *read)
{
    return read_times(call, read) && read_limit(call, read) && read_topic(call, read) &&
           read_bound(call, "from_publication", false, &read->since) &&
           read_bound(call, "after_publication", true, &read->since) &&
           read_bound(call, "until_publication", false, &read->until) &&
           read_bound(call, "before_publication", true, &read->until);
}

static void free_read(struct meta_read *read)
{
    for (uint32_t i = 0; read->newest && i < read->limit; i++)
        pl_message_unref(read->newest[i]);
    pl_free(read->newest);
    pl_free(read->topic_copy);
    pl_pattern_unref(read->pattern);
    pl_identity_unref(read->caller);
    pl_free(read);
}

static void go_on(struct pl_wamp_meta *meta, struct meta_read *read, struct pl_cursor from)
{
    read->token = ++meta->next_read;
    pl_session_read_log(&meta->session, read->pattern, from, META_CHUNK, read->token);
}

void meta_get_events(struct meta_call *call)
{
    struct pl_wamp_meta *meta = call->meta;
    const struct pl_identity *caller = call->invocation->caller;
    uint64_t id;
    if (!meta_argument_id(call, 0, &id))
        return;
    const struct meta_topic *topic = meta_topic_find(&meta->subscriptions, id);
    bool is_filtered = false;
    if (!topic) {
        meta_fail(call, "wamp.error.no_such_subscription", NULL);
        return;
    }
    if (caller && !pl_identity_may_subscribe(caller, topic->pattern, &is_filtered)) {
        meta_fail(call, "wamp.error.not_authorized", NULL);
        return;
    }
    bool has_room = meta->read_count < meta->options.wamp->event_reads_max;
    struct meta_read *read = has_room ? pl_zalloc(sizeof *read) : NULL;
    if (!read) {
        meta_fail(call, "wamp.error.unavailable", "too many ask for events");
        return;
    }
    read->pattern = pl_pattern_ref(topic->pattern);
    if (!read_filters(call, read)) {
        free_read(read);
        return;
    }
    read->newest = pl_zalloc(read->limit * sizeof(struct pl_message *));
    if (!read->newest) {
        free_read(read);
        meta_fail(call, "wamp.error.unavailable", "out of memory");
        return;
    }
    read->invocation = call->invocation->id;
    read->subscription = id;
    read->caller = caller ? pl_identity_ref((struct pl_identity *)(uintptr_t)caller) : NULL;
    read->is_filtered = is_filtered;
    read->has_begun = !read->since.id;
    read->asked_unix_ms = meta->session.worker->now_unix_ms;
    read->next = meta->reads;
    meta->reads = read;
    meta->read_count++;
    call->is_later = true;
    go_on(meta, read, (struct pl_cursor){0});
}

/* ---- What is found ---- */

static bool is_within(struct meta_read *read, const struct pl_message *m, uint64_t id)
{
    if (!read->has_begun) {
        read->has_begun = id == read->since.id;
        if (!read->has_begun || read->since.is_open)
            return false;
    }
    if (read->until.id && id == read->until.id) {
        read->is_over = true;
        if (read->until.is_open)
            return false;
    }
    return m->time_unix_ms >= read->min_ms && m->time_unix_ms <= read->max_ms;
}

static bool is_named(const struct pl_audience_list *list, struct pl_bytes name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (pl_bytes_equal(list->texts[i], name))
            return true;
    return false;
}

/* Was it for someone with this login? What goes by a session's other details nobody can tell now.
 */
static bool is_for(const struct pl_audience *audience, const struct pl_identity *who)
{
    for (uint32_t i = 0; audience && who && i < audience->count; i++) {
        const struct pl_audience_list *list = &audience->lists[i];
        if (list->kind != PL_AUDIENCE_USER && list->kind != PL_AUDIENCE_ROLE)
            return false;
        if (is_named(list, list->kind == PL_AUDIENCE_USER ? who->user : who->role) ==
            list->is_excluded)
            return false;
    }
    return true;
}

static void look_at(
    struct pl_wamp_meta *meta, struct meta_read *read, const struct pl_message *message)
{
    uint64_t id = pl_publication_public_id(meta->session.realm, message);
    if (message->time_unix_ms > read->asked_unix_ms) {
        read->is_over = true;
        return;
    }
    if (!is_within(read, message, id) ||
        !is_for(message->properties ? message->properties->audience : NULL, read->caller) ||
        (read->topic.len && !pl_bytes_equal(read->topic, message->subject)) ||
        (read->is_filtered && !pl_identity_may_receive(read->caller, message->subject)))
        return;
    struct pl_message *kept = pl_message_keep(message);
    if (!kept)
        return;
    struct pl_message **at = &read->newest[read->found++ % read->limit];
    pl_message_unref(*at);
    *at = kept;
}

static void put_publisher(struct pl_value_writer *v, const struct pl_author *from)
{
    if (!from || !from->id)
        return;
    pl_put_key(v, "publisher");
    pl_put_natural(v, from->id);
    pl_put_key(v, "publisher_authid");
    pl_put_string(v, from->user);
    pl_put_key(v, "publisher_authrole");
    pl_put_string(v, from->role);
}

static enum pl_err put_details(
    struct pl_value_writer *v, const struct pl_message *m, struct pl_arena *arena)
{
    struct pl_bytes uri;
    enum pl_err err = wamp_uri_encode(arena, m->subject, &uri);
    pl_put_dict(v);
    if (!err) {
        pl_put_key(v, "topic");
        pl_put_string(v, uri);
    }
    if (m->properties)
        put_publisher(v, m->properties->from);
    wamp_put_headers(v, m->properties);
    pl_put_end(v);
    return err;
}

static void put_named(struct pl_value_writer *v, const char *key, const struct pl_value *value)
{
    if (value->kind == PL_VALUE_NULL)
        return;
    pl_put_key(v, key);
    pl_put_value(v, value);
}

static enum pl_err put_event(const struct pl_wamp_meta *meta, const struct meta_read *read,
    struct pl_value_writer *v, const struct pl_message *m, struct pl_arena *arena)
{
    struct pl_value args, kwargs;
    char time[META_TIME_MAX];
    uint64_t id = pl_publication_public_id(meta->session.realm, m);
    enum pl_err err = wamp_read_arguments(m, arena, &args, &kwargs);
    if (err)
        return err;
    meta_format_time(m->time_unix_ms, time);
    pl_put_dict(v);
    pl_put_key(v, "timestamp");
    pl_put_text(v, time);
    pl_put_key(v, "subscription");
    pl_put_natural(v, read->subscription);
    pl_put_key(v, "publication");
    pl_put_natural(v, id);
    pl_put_key(v, "details");
    err = put_details(v, m, arena);
    put_named(v, "args", &args);
    put_named(v, "kwargs", &kwargs);
    if (meta->options.has_nexus_names && !err) {
        pl_put_key(v, "Subscription");
        pl_put_natural(v, read->subscription);
        pl_put_key(v, "Publication");
        pl_put_natural(v, id);
        pl_put_key(v, "Details");
        err = put_details(v, m, arena);
        put_named(v, "Arguments", &args);
        put_named(v, "ArgumentsKw", &kwargs);
    }
    pl_put_end(v);
    return err;
}

/* [entry, …] and {is_limit_reached} */
static void answer(struct pl_wamp_meta *meta, const struct meta_read *read)
{
    struct pl_arena arena = {0};
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    uint64_t count = read->found < read->limit ? read->found : read->limit;
    enum pl_err err = PL_OK;
    pl_put_list(&v);
    for (uint64_t i = 0; i < count && !err; i++) {
        uint64_t at = read->is_reversed ? read->found - 1 - i : read->found - count + i;
        err = put_event(meta, read, &v, read->newest[at % read->limit], &arena);
        pl_arena_reset(&arena);
    }
    if (!err) {
        pl_put_end(&v);
        struct pl_value_writer kw = pl_value_writer(&w, PL_SERIAL_MSGPACK);
        pl_put_dict(&kw);
        pl_put_key(&kw, "is_limit_reached");
        pl_put_bool(&kw, read->found > count);
        pl_put_end(&kw);
    } else {
        w.err = err;
    }
    meta_answer(meta, read->invocation, &w);
    pl_arena_done(&arena);
}

static struct meta_read **find_read(struct pl_wamp_meta *meta, uint64_t token)
{
    struct meta_read **at = &meta->reads;
    while (*at && (*at)->token != token)
        at = &(*at)->next;
    return at;
}

static void remove_read(struct pl_wamp_meta *meta, struct meta_read **at)
{
    struct meta_read *read = *at;
    *at = read->next;
    meta->read_count--;
    free_read(read);
}

void meta_on_log(struct pl_wamp_meta *meta, const struct pl_completion *done)
{
    struct meta_read **at = find_read(meta, done->token);
    struct meta_read *read = *at;
    if (!read)
        return; /* Nobody waits for it any more. */
    for (uint32_t i = 0; i < done->message_count && !read->is_over; i++)
        look_at(meta, read, done->messages[i]);
    if (!done->err && !done->is_end && !read->is_over) {
        go_on(meta, read, done->cursor);
        return;
    }
    if (done->err)
        meta_answer_error(meta, read->invocation, "wamp.error.unavailable", "out of memory");
    else
        answer(meta, read);
    remove_read(meta, at);
}

void meta_drop_reads(struct pl_wamp_meta *meta, uint64_t invocation)
{
    struct meta_read **at = &meta->reads;
    while (*at) {
        if (!invocation || (*at)->invocation == invocation)
            remove_read(meta, at);
        else
            at = &(*at)->next;
    }
}
