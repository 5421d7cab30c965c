/*
 * A message → the PUBLISH that its receivers get. The hot half of MQTT: called once per message and
 * wire form. A plain message is its fixed header, its topic (the subject with two bytes swapped)
 * and its payload; everything else is off the quick path.
 */
#include "base/text.h"
#include "protocols/mqtt/mqtt_translate.h"

static bool is_retain_told(const struct pl_message *m, uint64_t look)
{
    return look & MQTT_LOOK_RETAINED || (m->retain && look & MQTT_LOOK_AS_PUBLISHED);
}

static uint32_t rest_s(uint64_t expires_ms, uint64_t now_ms)
{
    uint64_t rest_ms = expires_ms > now_ms ? expires_ms - now_ms : 0;
    uint64_t rest = (rest_ms + 999) / 1000;
    return rest > UINT32_MAX ? UINT32_MAX : (uint32_t)rest;
}

/* Text that MQTT may carry; else it is left out rather than sent to break the receiver. */
static bool is_sendable(struct pl_bytes text)
{
    return text.len <= MQTT_TEXT_MAX && pl_mqtt_text_is_valid(text);
}

static bool has_header(const struct pl_properties *from, struct pl_bytes name)
{
    for (uint32_t i = 0; i < from->header_count; i++)
        if (pl_bytes_equal(from->headers[i].name, name))
            return true;
    return false;
}

/* Ours alone: what came under these names is not passed on. */
static bool is_reserved(struct pl_bytes name)
{
    return pl_bytes_equal(name, PL_BYTES(MQTT_USER)) || pl_bytes_equal(name, PL_BYTES(MQTT_ROLE));
}

static void take_author(
    const struct pl_author *author, struct mqtt_properties *p, struct pl_header *users)
{
    if (!author || !author->id)
        return;
    if (author->user.len && is_sendable(author->user))
        users[p->user_count++] = (struct pl_header){PL_BYTES(MQTT_USER), author->user};
    if (author->role.len && is_sendable(author->role))
        users[p->user_count++] = (struct pl_header){PL_BYTES(MQTT_ROLE), author->role};
}

static enum pl_err take_headers(struct pl_arena *arena, const struct pl_properties *from,
    const struct mqtt_delivery *d, const struct pl_message *m, struct mqtt_properties *p)
{
    enum { OWN_MAX = 5 };
    struct pl_header *users = pl_arena_alloc(arena, (from->header_count + OWN_MAX) * sizeof *users);
    if (!users)
        return PL_NO_MEMORY;
    p->users = users;
    for (uint32_t i = 0; i < from->header_count; i++)
        if (is_sendable(from->headers[i].name) && is_sendable(from->headers[i].value) &&
            !is_reserved(from->headers[i].name))
            users[p->user_count++] = from->headers[i];
    if (from->error.len && is_sendable(from->error) && !has_header(from, PL_BYTES(MQTT_ERROR)))
        users[p->user_count++] = (struct pl_header){PL_BYTES(MQTT_ERROR), from->error};
    if (from->is_progress && !has_header(from, PL_BYTES(MQTT_PROGRESS)))
        users[p->user_count++] = (struct pl_header){PL_BYTES(MQTT_PROGRESS), PL_BYTES("true")};
    take_author(from->from, p, users);
    if (d->look & MQTT_LOOK_CURSOR && m->offset) {
        char *text = pl_arena_alloc(arena, PL_CURSOR_TEXT_MAX);
        if (!text)
            return PL_NO_MEMORY;
        size_t len =
            pl_cursor_format((struct pl_cursor){.epoch = d->epoch, .offset = m->offset}, text);
        users[p->user_count++] =
            (struct pl_header){.name = PL_BYTES("parley-cursor"), .value = pl_bytes_of(text, len)};
    }
    return PL_OK;
}

static enum pl_err fill_properties(struct pl_arena *arena, const struct pl_message *m,
    const struct mqtt_delivery *d, struct mqtt_properties *p)
{
    static const struct pl_properties none = {.expires_ms = PL_NEVER};
    const struct pl_properties *from = m->properties ? m->properties : &none;
    bool is_text = m->format == PL_FORMAT_TEXT || m->format == PL_FORMAT_JSON;
    if (is_text || (m->format >= PL_FORMAT_ARGUMENTS && pl_utf8_is_valid(pl_message_plain(m))))
        MQTT_SET(p, payload_format, 1);
    if (from->expires_ms != PL_NEVER)
        MQTT_SET(p, message_expiry, rest_s(from->expires_ms, d->now_ms));
    if (from->content_type.len && is_sendable(from->content_type))
        MQTT_SET(p, content_type, from->content_type);
    if (from->correlation.len && from->correlation.len <= MQTT_TEXT_MAX)
        MQTT_SET(p, correlation, from->correlation);
    if (m->reply.len) {
        struct pl_bytes topic;
        enum pl_err err = pl_mqtt_topic_encode(arena, m->reply, &topic);
        if (err)
            return err;
        if (topic.len <= MQTT_TEXT_MAX)
            MQTT_SET(p, response_topic, topic);
    }
    if (d->look >> MQTT_LOOK_ID_SHIFT)
        MQTT_SET(p, subscription_id, (uint32_t)(d->look >> MQTT_LOOK_ID_SHIFT));
    if (d->alias)
        MQTT_SET(p, topic_alias, d->alias);
    if (!from->header_count && !from->error.len && !from->is_progress && !from->from &&
        !(d->look & MQTT_LOOK_CURSOR))
        return PL_OK;
    return take_headers(arena, from, d, m, p);
}

/* With properties, an escaped topic or an alias. */
static enum pl_err encode_rich(
    struct pl_writer *w, const struct pl_message *m, const struct mqtt_delivery *d)
{
    struct pl_arena arena = {0};
    struct mqtt_publish packet;
    packet.properties.present = 0;
    packet.properties.user_count = 0;
    packet.dup = d->dup;
    packet.qos = pl_mqtt_look_qos(d->look, m);
    packet.retain = is_retain_told(m, d->look);
    packet.packet_id = d->packet_id;
    packet.payload = pl_message_plain(m);
    packet.topic = PL_NO_BYTES;
    bool is_5 = d->look & MQTT_LOOK_5;
    enum pl_err err = PL_OK;
    if (!d->omit_topic)
        err = pl_mqtt_topic_encode(&arena, m->subject, &packet.topic);
    if (!err && is_5)
        err = fill_properties(&arena, m, d, &packet.properties);
    if (!err && packet.topic.len > MQTT_TEXT_MAX)
        err = PL_TOO_LARGE;
    if (!err && is_5 && pl_mqtt_properties_size(&packet.properties) == UINT32_MAX)
        err = PL_TOO_LARGE;
    if (!err)
        pl_mqtt_encode_publish(w, is_5 ? MQTT_5 : MQTT_3_1_1, &packet);
    pl_arena_done(&arena);
    return err;
}

static bool is_plain(const struct pl_message *m, const struct mqtt_delivery *d)
{
    if (d->alias || !pl_mqtt_subject_is_simple(m->subject))
        return false;
    if (d->look & MQTT_LOOK_OLD)
        return true;
    return !m->properties && !m->reply.len && !m->format &&
           !(d->look >> MQTT_LOOK_ID_SHIFT || d->look & MQTT_LOOK_CURSOR);
}

enum pl_err pl_mqtt_encode_message(
    struct pl_writer *w, const struct pl_message *m, const struct mqtt_delivery *d)
{
    struct pl_bytes payload = pl_message_plain(m);
    uint64_t len = 2 + m->subject.len + payload.len + 5;
    if (m->subject.len > MQTT_TEXT_MAX || len > MQTT_LENGTH_MAX)
        return PL_TOO_LARGE;
    if (!is_plain(m, d))
        return encode_rich(w, m, d);
    uint8_t qos = pl_mqtt_look_qos(d->look, m);
    uint32_t body = (uint32_t)(2 + m->subject.len + (qos ? 2 : 0) + payload.len);
    bool is_5 = d->look & MQTT_LOOK_5;
    body += is_5;
    uint8_t *at = pl_writer_room(w, 1 + pl_mqtt_length_size(body) + (size_t)body);
    if (!at)
        return w->err;
    *at++ = (uint8_t)(MQTT_PUBLISH << 4 | d->dup << 3 | qos << 1 | is_retain_told(m, d->look));
    at = pl_mqtt_put_length(at, body);
    *at++ = (uint8_t)(m->subject.len >> 8);
    *at++ = (uint8_t)m->subject.len;
    at = pl_mqtt_put_swapped(at, m->subject);
    if (qos) {
        *at++ = (uint8_t)(d->packet_id >> 8);
        *at++ = (uint8_t)d->packet_id;
    }
    if (is_5)
        *at++ = 0;
    if (payload.len)
        memcpy(at, payload.data, payload.len);
    return PL_OK;
}
