/*
 * SUBSCRIBE and UNSUBSCRIBE.
 *
 * A packet becomes a request with one code per filter. Filters that are refused here have their
 * code at once; the others wait for the core. The answer goes out when no code is open any more.
 *
 * A filter that is subscribed again takes the place of the older one: both requests stand in one
 * batch, so that nothing is lost or comes twice in between (MQTT 5.0, section 3.8.4).
 */
#include "protocols/mqtt/mqtt_session.h"

#include "base/alloc.h"

/* From so many on, filters are found by a map; below it by walking the list. */
enum { INDEX_FROM = 12 };

static struct pl_bytes text_of(const struct mqtt_subscription *sub)
{
    return pl_bytes_of(sub->text, sub->text_len);
}

static struct mqtt_subscription *find(struct mqtt_session *s, struct pl_bytes text)
{
    if (s->index) {
        struct pl_map_entry *e = pl_map_find(s->index, text);
        return e ? PL_CONTAINER(e, struct mqtt_subscription, entry) : NULL;
    }
    for (struct mqtt_subscription *sub = s->subs; sub; sub = sub->next)
        if (sub->is_listed && pl_bytes_equal(text_of(sub), text))
            return sub;
    return NULL;
}

static void free_index(struct mqtt_session *s)
{
    if (!s->index)
        return;
    pl_map_done(s->index);
    pl_free(s->index);
    s->index = NULL;
}

static enum pl_err make_index(struct mqtt_session *s)
{
    s->index = pl_alloc(sizeof *s->index);
    if (!s->index)
        return PL_NO_MEMORY;
    pl_map_init(s->index, (uint64_t)(uintptr_t)s ^ s->core.id << 32);
    for (struct mqtt_subscription *sub = s->subs; sub; sub = sub->next)
        if (sub->is_listed && pl_map_add(s->index, &sub->entry, text_of(sub))) {
            free_index(s);
            return PL_NO_MEMORY;
        }
    return PL_OK;
}

static void unlist(struct mqtt_session *s, struct mqtt_subscription *sub)
{
    if (!sub->is_listed)
        return;
    sub->is_listed = false;
    s->sub_count--;
    if (s->index)
        pl_map_remove(s->index, &sub->entry);
}

/* Stands in the session's list until it is freed, under its filter until it is unlisted. */
static enum pl_err list(struct mqtt_session *s, struct mqtt_subscription *sub)
{
    if (!s->index && s->sub_count >= INDEX_FROM && make_index(s))
        return PL_NO_MEMORY;
    if (s->index && pl_map_add(s->index, &sub->entry, text_of(sub)))
        return PL_NO_MEMORY;
    sub->is_listed = true;
    s->sub_count++;
    sub->next = s->subs;
    if (sub->next)
        sub->next->at = &sub->next;
    sub->at = &s->subs;
    s->subs = sub;
    return PL_OK;
}

static void free_subscription(struct mqtt_session *s, struct mqtt_subscription *sub)
{
    unlist(s, sub);
    *sub->at = sub->next;
    if (sub->next)
        sub->next->at = sub->at;
    pl_free(sub);
}

void pl_mqtt_subscriptions_free(struct mqtt_session *s)
{
    free_index(s);
    while (s->subs) {
        struct mqtt_subscription *next = s->subs->next;
        pl_free(s->subs);
        s->subs = next;
    }
    while (s->requests) {
        struct mqtt_request *next = s->requests->next;
        pl_free(s->requests);
        s->requests = next;
    }
}

/* ---- answers ---- */

static struct mqtt_request *new_request(
    struct mqtt_session *s, const struct mqtt_subscribe *packet, enum mqtt_type type)
{
    struct mqtt_request *r = pl_zalloc(sizeof *r + packet->count);
    if (!r)
        return NULL;
    r->packet_id = packet->packet_id;
    r->type = (uint8_t)type;
    r->count = packet->count;
    r->generation = s->generation;
    r->next = s->requests;
    if (r->next)
        r->next->at = &r->next;
    r->at = &s->requests;
    s->requests = r;
    return r;
}

static void write_answer(struct mqtt_link *l, const struct mqtt_request *r)
{
    struct mqtt_suback packet = {
        .packet_id = r->packet_id, .codes = pl_bytes_of(r->codes, r->count)};
    struct pl_header told[2];
    char cursor[PL_CURSOR_TEXT_MAX];
    if (r->has_history && l->wants_problems) {
        told[0] = (struct pl_header){
            PL_BYTES("parley-recovered"), r->is_recovered ? PL_BYTES("true") : PL_BYTES("false")};
        told[1] = (struct pl_header){
            PL_BYTES("parley-cursor"), pl_bytes_of(cursor, pl_cursor_format(r->cursor, cursor))};
        packet.properties.users = told;
        packet.properties.user_count = 2;
    }
    struct pl_writer w = pl_writer_begin(l->link.out);
    pl_mqtt_encode_suback(&w, l->version, (enum mqtt_type)r->type, &packet);
    (void)pl_mqtt_send(l, &w);
}

/* Answers and forgets it if nothing is open any more. */
static void settle(struct mqtt_session *s, struct mqtt_request *r)
{
    if (r->pending)
        return;
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    if (s->link && s->generation == r->generation && s->link->state == MQTT_CONNECTED)
        write_answer(s->link, r);
    pl_free(r);
}

/* ---- SUBSCRIBE ---- */

/* What the whole packet says. */
struct wish {
    uint32_t subscription_id; /* 0: none */
    bool has_options;
    struct pl_subscribe_options options;
};

/* Before 3.1.1 there was no word for a refusal; its clients know this one by now. */
static uint8_t refusal(const struct mqtt_link *l, uint8_t reason)
{
    return pl_mqtt_is_5(l) ? reason : MQTT_UNSPECIFIED_ERROR;
}

static uint8_t reason_of(enum pl_err err)
{
    switch (err) {
    case PL_DENIED:
        return MQTT_NOT_AUTHORIZED;
    case PL_BAD_NAME:
        return MQTT_TOPIC_FILTER_INVALID;
    case PL_LIMIT:
    case PL_STORE:
        return MQTT_QUOTA_EXCEEDED;
    default: /* memory, mostly */
        return MQTT_UNSPECIFIED_ERROR;
    }
}

static uint8_t default_replay(const struct mqtt_link *l)
{
    const struct pl_identity *identity = l->session->core.identity;
    return identity && identity->has_replay ? identity->replay : l->link.config->replay;
}

/* What it gets from before: what is retained, as its standard says, or the history where the
 * configuration or the packet wants that. A shared subscription gets nothing. */
static uint8_t replay_of(const struct mqtt_link *l, const struct mqtt_filter *filter,
    const struct mqtt_filter_parts *parts, bool is_new, const struct wish *wish)
{
    if (parts->group.len)
        return PL_REPLAY_NONE;
    if (wish->has_options)
        return PL_REPLAY_HISTORY;
    if (filter->retain_handling == 2 || (filter->retain_handling == 1 && !is_new))
        return PL_REPLAY_NONE;
    return default_replay(l) == PL_REPLAY_HISTORY ? PL_REPLAY_HISTORY : PL_REPLAY_RETAINED;
}

static uint64_t look_of(const struct mqtt_link *l, const struct mqtt_filter *filter, uint8_t qos,
    const struct wish *wish)
{
    uint64_t look = pl_mqtt_version_look(l) | (uint64_t)qos << MQTT_LOOK_QOS_SHIFT;
    if (filter->retain_as_published)
        look |= MQTT_LOOK_AS_PUBLISHED;
    if (wish->has_options)
        look |= MQTT_LOOK_CURSOR;
    return look | (uint64_t)wish->subscription_id << MQTT_LOOK_ID_SHIFT;
}

/* What follows from the filter and the look. */
static void fill(struct mqtt_subscription *sub, const struct mqtt_filter_parts *parts,
    uint64_t look, bool no_local)
{
    struct pl_subscription *core = &sub->core;
    sub->look = look;
    if (parts->group.len)
        core->queue =
            pl_bytes_of(sub->text + (sub->text_len - parts->filter.len - 1 - parts->group.len),
                parts->group.len);
    /* A cursor holds the log's epoch, which a frame of all does not know. */
    core->form = look & MQTT_LOOK_CURSOR ? 0 : look;
    core->qos = (uint8_t)((look & MQTT_LOOK_QOS) >> MQTT_LOOK_QOS_SHIFT);
    if (no_local)
        core->flags |= PL_SUB_NO_LOCAL;
    if (look & MQTT_LOOK_5)
        core->flags |= PL_SUB_CAN_REPLY;
    /* What tells its copies apart gets its own (MQTT 5.0, section 3.3.4). */
    if (!(look & MQTT_LOOK_CURSOR) && !(look >> MQTT_LOOK_ID_SHIFT) && !no_local)
        core->flags |= PL_SUB_ONCE;
}

static struct mqtt_subscription *new_subscription(struct mqtt_link *l,
    const struct mqtt_filter *filter, const struct mqtt_filter_parts *parts, uint8_t qos,
    const struct wish *wish)
{
    struct mqtt_subscription *sub = pl_zalloc(sizeof *sub + filter->text.len);
    if (!sub)
        return NULL;
    memcpy(sub->text, filter->text.data, filter->text.len);
    sub->text_len = (uint16_t)filter->text.len;
    fill(sub, parts, look_of(l, filter, qos, wish), filter->no_local);
    sub->core.is_durable = l->session->is_expiring;
    const struct pl_link_config *config = l->link.config;
    sub->core.protocol_bits = config->has_slow ? config->slow : PL_SLOW_DISCONNECT;
    sub->core.slow = qos ? PL_SLOW_OWN : sub->core.protocol_bits;
    return sub;
}

/* `by` gets what was meant for the old one and waits in the store. */
static void replace(
    struct mqtt_session *s, struct mqtt_subscription *old, struct mqtt_subscription *by)
{
    unlist(s, old);
    old->is_leaving = true;
    old->core.is_replaced = true;
    by->core.since = old->core.since;
    pl_session_unsubscribe(&s->core, &old->core, 0);
}

/* The code of a filter that cannot be had; MQTT_SUCCESS: it can. */
static uint8_t check_offer(const struct mqtt_link *l, const struct mqtt_filter_parts *parts)
{
    const struct pl_mqtt_options *options = pl_mqtt_options_of(l);
    if (parts->has_wildcard && !options->wildcard_available)
        return MQTT_WILDCARDS_NOT_SUPPORTED;
    if (parts->group.len && !options->shared_available)
        return MQTT_SHARED_NOT_SUPPORTED;
    return MQTT_SUCCESS;
}

static uint8_t subscribe(struct mqtt_link *l, struct mqtt_request *r, uint32_t index,
    const struct mqtt_filter *filter, const struct mqtt_filter_parts *parts,
    const struct wish *wish)
{
    struct mqtt_session *s = l->session;
    uint8_t qos = filter->qos;
    if (qos > s->options->qos_max)
        qos = s->options->qos_max;
    struct pl_pattern *pattern;
    enum pl_err err = pl_mqtt_filter_decode(pl_session_arena(&s->core), parts, &pattern);
    if (err)
        return reason_of(err == PL_LIMIT ? PL_BAD_NAME : err);
    struct mqtt_subscription *sub = new_subscription(l, filter, parts, qos, wish);
    struct mqtt_subscription *old = find(s, filter->text);
    if (sub)
        sub->core.replay = replay_of(l, filter, parts, !old, wish);
    if (old && sub)
        replace(s, old, sub);
    if (!sub || list(s, sub)) {
        pl_free(sub);
        pl_pattern_unref(pattern);
        return MQTT_UNSPECIFIED_ERROR;
    }
    sub->core.pattern = pattern;
    sub->request = r;
    sub->request_index = index;
    r->pending++;
    pl_session_subscribe(&s->core, &sub->core, wish->has_options ? &wish->options : NULL, 0);
    return qos;
}

/* The user property parley-since: a cursor, or "all". PL_MALFORMED: neither. */
static enum pl_err read_since(const struct mqtt_properties *p, struct wish *wish)
{
    struct pl_header user;
    for (size_t at = 0; pl_mqtt_next_user(p, &at, &user);) {
        if (!pl_bytes_equal(user.name, PL_BYTES("parley-since")))
            continue;
        wish->has_options = true;
        if (pl_bytes_equal(user.value, PL_BYTES("all"))) {
            wish->options.from_start = true;
            return PL_OK;
        }
        wish->options.has_cursor = true;
        return pl_cursor_parse(user.value, &wish->options.cursor);
    }
    return PL_OK;
}

static enum pl_err subscribe_each(
    struct mqtt_link *l, const struct mqtt_subscribe *packet, struct wish *wish)
{
    bool is_bad_since = read_since(&packet->properties, wish) != PL_OK;
    struct mqtt_request *r = new_request(l->session, packet, MQTT_SUBACK);
    if (!r)
        return pl_mqtt_fail(l, PL_NO_MEMORY, MQTT_UNSPECIFIED_ERROR, "out of memory");
    r->has_history = wish->has_options && !is_bad_since;
    r->is_recovered = true;
    struct mqtt_filter filter;
    size_t at = 0;
    for (uint32_t i = 0; pl_mqtt_next_filter(packet, l->version, MQTT_SUBSCRIBE, &at, &filter);
         i++) {
        struct mqtt_filter_parts parts;
        if (pl_mqtt_filter_split(filter.text, &parts)) {
            r->codes[i] = refusal(l, MQTT_TOPIC_FILTER_INVALID);
            continue;
        }
        uint8_t code = is_bad_since ? MQTT_IMPLEMENTATION_ERROR : check_offer(l, &parts);
        if (code == MQTT_SUCCESS)
            code = subscribe(l, r, i, &filter, &parts, wish);
        r->codes[i] = code < 0x80 ? code : refusal(l, code);
    }
    settle(l->session, r);
    return PL_OK;
}

/* What makes the whole packet a mistake, before any of it is done. */
static enum pl_err check_filters(struct mqtt_link *l, const struct mqtt_subscribe *packet)
{
    struct mqtt_filter filter;
    for (size_t at = 0; pl_mqtt_next_filter(packet, l->version, MQTT_SUBSCRIBE, &at, &filter);) {
        struct mqtt_filter_parts parts;
        if (!pl_mqtt_filter_split(filter.text, &parts)) {
            if (parts.group.len && filter.no_local)
                return pl_mqtt_fail(
                    l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "No Local on a shared subscription");
        } else if (!pl_mqtt_is_5(l)) {
            return pl_mqtt_fail(
                l, PL_PROTOCOL, MQTT_TOPIC_FILTER_INVALID, "an invalid topic filter");
        }
    }
    return PL_OK;
}

enum pl_err pl_mqtt_on_subscribe(struct mqtt_link *l, struct pl_bytes body)
{
    struct mqtt_subscribe packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_subscribe(l->version, MQTT_SUBSCRIBE, body, &packet, &diag);
    if (err)
        return pl_mqtt_fail_diag(l, err, &diag);
    struct wish wish = {0};
    if (MQTT_HAS(&packet.properties, subscription_id)) {
        if (!pl_mqtt_options_of(l)->subscription_id_available)
            return pl_mqtt_fail(l, PL_UNSUPPORTED, MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED,
                "subscription identifiers are not offered");
        wish.subscription_id = packet.properties.subscription_id;
    }
    err = check_filters(l, &packet);
    return err ? err : subscribe_each(l, &packet, &wish);
}

void pl_mqtt_on_subscribed(struct mqtt_session *s, const struct pl_completion *done)
{
    struct mqtt_subscription *sub = PL_CONTAINER(done->sub, struct mqtt_subscription, core);
    struct mqtt_request *r = sub->request;
    sub->request = NULL;
    if (r) {
        r->pending--;
        r->cursor = done->cursor;
        r->is_recovered &= done->is_recovered;
    }
    if (done->err) {
        /* On version 3 links the older word; a link that is gone gets no answer at all. */
        uint8_t reason = reason_of(done->err);
        if (r)
            r->codes[sub->request_index] = s->link ? refusal(s->link, reason) : reason;
        unlist(s, sub);
        if (!sub->is_leaving)
            free_subscription(s, sub); /* else when the core has looked at that, too */
    }
    if (r)
        settle(s, r);
}

/* ---- UNSUBSCRIBE ---- */

enum pl_err pl_mqtt_on_unsubscribe(struct mqtt_link *l, struct pl_bytes body)
{
    struct mqtt_subscribe packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_subscribe(l->version, MQTT_UNSUBSCRIBE, body, &packet, &diag);
    if (err)
        return pl_mqtt_fail_diag(l, err, &diag);
    struct mqtt_session *s = l->session;
    struct mqtt_request *r = new_request(s, &packet, MQTT_UNSUBACK);
    if (!r)
        return pl_mqtt_fail(l, PL_NO_MEMORY, MQTT_UNSPECIFIED_ERROR, "out of memory");
    struct mqtt_filter filter;
    size_t at = 0;
    for (uint32_t i = 0; pl_mqtt_next_filter(&packet, l->version, MQTT_UNSUBSCRIBE, &at, &filter);
         i++) {
        struct mqtt_filter_parts parts;
        struct mqtt_subscription *sub = find(s, filter.text);
        if (sub) {
            /* Its SUBSCRIBE, if that is still open, keeps its own request: the token is this one.
             */
            unlist(s, sub);
            sub->is_leaving = true;
            r->pending++;
            pl_session_unsubscribe(&s->core, &sub->core, (uint64_t)(uintptr_t)r);
        } else if (pl_mqtt_filter_split(filter.text, &parts)) {
            r->codes[i] = MQTT_TOPIC_FILTER_INVALID;
        } else {
            r->codes[i] = MQTT_NO_SUBSCRIPTION_EXISTED;
        }
    }
    settle(s, r);
    return PL_OK;
}

void pl_mqtt_on_unsubscribed(struct mqtt_session *s, const struct pl_completion *done)
{
    struct mqtt_subscription *sub = PL_CONTAINER(done->sub, struct mqtt_subscription, core);
    struct mqtt_request *r = (struct mqtt_request *)(uintptr_t)done->token;
    free_subscription(s, sub);
    if (!r)
        return;
    r->pending--;
    settle(s, r);
}

struct mqtt_subscription *pl_mqtt_subscription_restore(
    struct mqtt_session *s, struct pl_bytes text, uint64_t look, bool no_local)
{
    struct mqtt_filter_parts parts;
    struct pl_arena arena = {0};
    struct pl_pattern *pattern = NULL;
    if (text.len > UINT16_MAX || pl_mqtt_filter_split(text, &parts) ||
        pl_mqtt_filter_decode(&arena, &parts, &pattern)) {
        pl_arena_done(&arena);
        return NULL;
    }
    pl_arena_done(&arena);
    struct mqtt_subscription *sub = pl_zalloc(sizeof *sub + text.len);
    if (!sub) {
        pl_pattern_unref(pattern);
        return NULL;
    }
    memcpy(sub->text, text.data, text.len);
    sub->text_len = (uint16_t)text.len;
    fill(sub, &parts, look, no_local);
    sub->core.pattern = pattern;
    sub->core.protocol_bits = PL_SLOW_DISCONNECT;
    sub->core.slow = sub->core.qos ? PL_SLOW_OWN : PL_SLOW_DISCONNECT;
    if (list(s, sub)) {
        pl_pattern_unref(pattern);
        pl_free(sub);
        return NULL;
    }
    return sub;
}
