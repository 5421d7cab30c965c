/* wamp.subscription.… and wamp.registration.…: one set of procedures for both. */
#include "core/registrations.h"
#include "protocols/wamp/wamp_meta_state.h"

/* ---- What there is ---- */

static void put_ids(
    struct pl_value_writer *v, const struct meta_table *table, enum wamp_match match)
{
    pl_put_key(v, wamp_match_name(match));
    pl_put_list(v);
    const struct meta_topic *t = match == WAMP_EXACT ? table->literals : table->patterns;
    for (; t; t = t->next)
        if (wamp_match_of(t->pattern) == match)
            pl_put_natural(v, t->id);
    pl_put_end(v);
}

static void list(struct meta_call *call, const struct meta_table *table)
{
    pl_put_dict(call->v);
    put_ids(call->v, table, WAMP_EXACT);
    put_ids(call->v, table, WAMP_PREFIX);
    put_ids(call->v, table, WAMP_WILDCARD);
    pl_put_end(call->v);
}

/* lookup(uri, {match}): the id, or null. */
static void look_up(struct meta_call *call, const struct meta_table *table)
{
    struct pl_bytes uri;
    struct pl_value options, value;
    enum wamp_match match = WAMP_EXACT;
    struct pl_pattern *pattern;
    if (!meta_argument_text(call, 0, &uri))
        return;
    bool has_match =
        (meta_argument(call, 1, &options) && pl_value_find(&options, "match", &value)) ||
        meta_keyword(call, "match", &value);
    if (has_match && !wamp_match_parse(&value, &match)) {
        meta_fail(call, "wamp.error.invalid_argument", "match is exact, prefix or wildcard");
        return;
    }
    if (wamp_pattern_decode(call->arena, uri, match, false, &pattern)) {
        meta_fail(call, "wamp.error.invalid_uri", NULL);
        return;
    }
    const struct meta_topic *topic =
        meta_topic_find_pattern(table, wamp_subscription_id(call->meta->session.realm, pattern));
    pl_pattern_unref(pattern);
    if (topic)
        pl_put_natural(call->v, topic->id);
    else
        pl_put_null(call->v);
}

/* The subject of the first argument; false: the call has failed. */
static bool read_subject(struct meta_call *call, struct pl_bytes *out)
{
    struct pl_bytes uri;
    if (!meta_argument_text(call, 0, &uri))
        return false;
    if (!wamp_uri_decode(call->arena, uri, false, out))
        return true;
    meta_fail(call, "wamp.error.invalid_uri", NULL);
    return false;
}

static const struct meta_topic *find_literal(
    const struct meta_table *table, const struct pl_realm *realm, struct pl_bytes subject)
{
    const struct pl_pattern pattern = {.kind = PL_PATTERN_TOKENS, .text = subject};
    return meta_topic_find_pattern(table, wamp_subscription_id(realm, &pattern));
}

static struct meta_topic *named_topic(
    struct meta_call *call, const struct meta_table *table, const char *error)
{
    uint64_t id;
    if (!meta_argument_id(call, 0, &id))
        return NULL;
    struct meta_topic *topic = meta_topic_find(table, id);
    if (!topic)
        meta_fail(call, error, NULL);
    return topic;
}

static void list_members(struct meta_call *call, const struct meta_topic *topic)
{
    if (!topic)
        return;
    pl_put_list(call->v);
    struct pl_map_entry *e = NULL;
    while ((e = pl_map_next(&topic->members, e)))
        pl_put_natural(call->v, PL_CONTAINER(e, struct meta_member, entry)->session);
    pl_put_end(call->v);
}

static void count_members(struct meta_call *call, const struct meta_topic *topic)
{
    if (topic)
        pl_put_natural(call->v, topic->members.count);
}

/* remove(id, session, reason) */
static void remove_member(
    struct meta_call *call, const struct meta_topic *topic, enum pl_wamp_word kind, const char *key)
{
    uint64_t session;
    struct pl_bytes reason;
    struct pl_value value;
    if (!topic || !meta_argument_id(call, 1, &session) ||
        !meta_keyword_text(call, "reason", &reason))
        return;
    if (!meta_topic_has(topic, session)) {
        meta_fail(call, "wamp.error.no_such_session", NULL);
        return;
    }
    if (meta_argument(call, 2, &value) && value.kind == PL_VALUE_STRING &&
        pl_value_text(&value, call->arena, &reason))
        reason = PL_NO_BYTES;
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    pl_put_key(&v, key);
    pl_put_natural(&v, topic->id);
    if (reason.len) {
        pl_put_key(&v, "reason");
        pl_put_string(&v, reason);
    }
    pl_put_end(&v);
    meta_tell(call, session, kind, &w);
}

/* ---- Subscriptions ---- */

static const char NO_SUBSCRIPTION[] = "wamp.error.no_such_subscription";

static void list_subscriptions(struct meta_call *call)
{
    list(call, &call->meta->subscriptions);
}

static void look_up_subscription(struct meta_call *call)
{
    look_up(call, &call->meta->subscriptions);
}

/* All whose subscribers get what is published there. */
static void match_subscriptions(struct meta_call *call)
{
    const struct meta_table *table = &call->meta->subscriptions;
    struct pl_bytes subject;
    if (!read_subject(call, &subject))
        return;
    const struct meta_topic *exact = find_literal(table, call->meta->session.realm, subject);
    bool has_any = exact != NULL;
    for (const struct meta_topic *t = table->patterns; t && !has_any; t = t->next)
        has_any = pl_pattern_matches(t->pattern, subject);
    if (!has_any) {
        pl_put_null(call->v);
        return;
    }
    pl_put_list(call->v);
    if (exact)
        pl_put_natural(call->v, exact->id);
    for (const struct meta_topic *t = table->patterns; t; t = t->next)
        if (pl_pattern_matches(t->pattern, subject))
            pl_put_natural(call->v, t->id);
    pl_put_end(call->v);
}

static struct meta_topic *named_subscription(struct meta_call *call)
{
    return named_topic(call, &call->meta->subscriptions, NO_SUBSCRIPTION);
}

static void get_subscription(struct meta_call *call)
{
    const struct meta_topic *topic = named_subscription(call);
    if (topic)
        meta_put_topic(call->v, topic, false);
}

static void list_subscribers(struct meta_call *call)
{
    list_members(call, named_subscription(call));
}

static void count_subscribers(struct meta_call *call)
{
    count_members(call, named_subscription(call));
}

void meta_remove_subscriber(struct meta_call *call)
{
    remove_member(call, named_subscription(call), PL_WAMP_WORD_DROP_SUBSCRIPTION, "subscription");
}

/* ---- Registrations ---- */

static const char NO_REGISTRATION[] = "wamp.error.no_such_registration";

static void list_registrations(struct meta_call *call)
{
    list(call, &call->meta->registrations);
}

static void look_up_registration(struct meta_call *call)
{
    look_up(call, &call->meta->registrations);
}

/* The one that would be called. */
static void match_registration(struct meta_call *call)
{
    const struct meta_table *table = &call->meta->registrations;
    struct pl_bytes subject;
    if (!read_subject(call, &subject))
        return;
    const struct meta_topic *best = find_literal(table, call->meta->session.realm, subject);
    for (const struct meta_topic *t = best ? NULL : table->patterns; t; t = t->next)
        if (pl_pattern_matches(t->pattern, subject) &&
            (!best || pl_pattern_precedes(t->pattern, best->pattern)))
            best = t;
    if (best)
        pl_put_natural(call->v, best->id);
    else
        pl_put_null(call->v);
}

static struct meta_topic *named_registration(struct meta_call *call)
{
    return named_topic(call, &call->meta->registrations, NO_REGISTRATION);
}

static void get_registration(struct meta_call *call)
{
    const struct meta_topic *topic = named_registration(call);
    if (topic)
        meta_put_topic(call->v, topic, true);
}

static void list_callees(struct meta_call *call)
{
    list_members(call, named_registration(call));
}

static void count_callees(struct meta_call *call)
{
    count_members(call, named_registration(call));
}

void meta_remove_callee(struct meta_call *call)
{
    remove_member(call, named_registration(call), PL_WAMP_WORD_DROP_REGISTRATION, "registration");
}

const struct meta_procedure meta_topic_procedures[] = {
    {"wamp.subscription.list", list_subscriptions},
    {"wamp.subscription.lookup", look_up_subscription},
    {"wamp.subscription.match", match_subscriptions},
    {"wamp.subscription.get", get_subscription},
    {"wamp.subscription.list_subscribers", list_subscribers},
    {"wamp.subscription.count_subscribers", count_subscribers},
    {"wamp.subscription.count_suscribers", count_subscribers}, /* as nexus spells it */
    {"wamp.subscription.get_events", meta_get_events},
    {"wamp.registration.list", list_registrations},
    {"wamp.registration.lookup", look_up_registration},
    {"wamp.registration.match", match_registration},
    {"wamp.registration.get", get_registration},
    {"wamp.registration.list_callees", list_callees},
    {"wamp.registration.count_callees", count_callees},
    {0},
};
