/*
 * What a client publishes.
 *
 * QoS 2, receiving (MQTT 5.0, section 4.3.3), per packet id:
 *
 *     PUBLISH           new id: to the core, remember the id, PUBREC when it is taken
 *     PUBLISH again     known id: PUBREC, nothing to the core
 *     PUBREL            forget the id, PUBCOMP
 *
 * QoS 1 and 2 are acknowledged by the core's completion, in the order of the packets, so the
 * answer knows whether anybody was there and whether it was allowed.
 */
#include "protocols/mqtt/mqtt_session.h"

#include "base/alloc.h"
#include "core/worker.h"

/* What a publication's token says: packet id, QoS, which link. */
static uint64_t token_of(const struct mqtt_session *s, uint16_t packet_id, uint8_t qos)
{
    return (uint64_t)s->generation << 32 | (uint64_t)qos << 16 | packet_id;
}

void pl_mqtt_write_ack(
    struct mqtt_link *l, enum mqtt_type type, uint16_t packet_id, uint8_t reason, const char *text)
{
    struct mqtt_ack packet;
    packet.packet_id = packet_id;
    packet.reason = reason;
    packet.properties.present = 0;
    packet.properties.user_count = 0;
    if (text && l->wants_problems && pl_mqtt_is_5(l) && strlen(text) + 16 <= l->packet_max_out)
        MQTT_SET(&packet.properties, reason_string, pl_bytes_text(text));
    struct pl_writer w = pl_writer_begin(l->link.out);
    pl_mqtt_encode_ack(&w, l->version, type, &packet);
    (void)pl_mqtt_send(l, &w);
}

static void aliases_in_free(struct pl_bytes *aliases, uint32_t count)
{
    for (uint32_t i = 0; aliases && i < count; i++)
        pl_free((void *)(uintptr_t)aliases[i].data);
    pl_free(aliases);
}

void pl_mqtt_aliases_done(struct mqtt_link *l)
{
    aliases_in_free(l->aliases_in, pl_mqtt_options_of(l)->topic_alias_max);
    l->aliases_in = NULL;
}

static enum pl_err set_alias(struct mqtt_link *l, uint32_t alias, struct pl_bytes topic)
{
    uint32_t max = pl_mqtt_options_of(l)->topic_alias_max;
    if (!l->aliases_in)
        l->aliases_in = pl_zalloc(max * sizeof *l->aliases_in);
    struct pl_bytes *slot = l->aliases_in ? &l->aliases_in[alias - 1] : NULL;
    if (slot && pl_bytes_equal(*slot, topic))
        return PL_OK;
    char *copy = slot ? pl_alloc_copy(topic.data, topic.len) : NULL;
    if (!copy)
        return pl_mqtt_fail(l, PL_NO_MEMORY, MQTT_UNSPECIFIED_ERROR, "out of memory");
    pl_free((void *)(uintptr_t)slot->data);
    *slot = pl_bytes_of(copy, topic.len);
    return PL_OK;
}

/* Sets an alias, or puts the topic in whose place it stands. */
static enum pl_err resolve_alias(struct mqtt_link *l, struct mqtt_publish *packet)
{
    if (!MQTT_HAS(&packet->properties, topic_alias)) {
        if (packet->topic.len)
            return PL_OK;
        return pl_mqtt_fail(
            l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "neither a topic nor a topic alias");
    }
    uint32_t alias = packet->properties.topic_alias;
    if (alias > pl_mqtt_options_of(l)->topic_alias_max)
        return pl_mqtt_fail(
            l, PL_PROTOCOL, MQTT_TOPIC_ALIAS_INVALID, "a topic alias over the maximum");
    if (packet->topic.len)
        return set_alias(l, alias, packet->topic);
    if (!l->aliases_in || !l->aliases_in[alias - 1].len)
        return pl_mqtt_fail(l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "a topic alias that was not set");
    packet->topic = l->aliases_in[alias - 1];
    return PL_OK;
}

/* The subject of a topic, in the batch's arena: nothing to do if it is the last one again. */
static enum pl_err find_subject(
    struct mqtt_link *l, struct pl_arena *arena, struct pl_bytes topic, struct pl_bytes *out)
{
    struct mqtt_topic_cache *cache = l->cache;
    uint64_t batch = l->link.worker->batches_opened;
    bool is_known = cache && cache->len == topic.len && topic.len &&
                    memcmp(cache->topic, topic.data, topic.len) == 0;
    if (is_known && cache->batch == batch) {
        *out = cache->subject;
        return PL_OK;
    }
    enum pl_err err = pl_mqtt_topic_decode(arena, topic, out);
    if (err || topic.len > MQTT_CACHED_TOPIC_MAX)
        return err;
    if (!cache)
        cache = l->cache = pl_alloc(sizeof *cache);
    if (!cache)
        return PL_OK; /* slower, not wrong */
    if (!is_known)
        memcpy(cache->topic, topic.data, topic.len);
    cache->len = topic.len;
    cache->subject = *out;
    cache->batch = batch;
    return PL_OK;
}

static enum pl_err check_publish(struct mqtt_link *l, const struct mqtt_publish *packet)
{
    const struct pl_mqtt_options *options = pl_mqtt_options_of(l);
    if (packet->qos > options->qos_max)
        return pl_mqtt_fail(l, PL_UNSUPPORTED, MQTT_QOS_NOT_SUPPORTED, "this QoS is not offered");
    if (packet->retain && !options->retain_available)
        return pl_mqtt_fail(
            l, PL_UNSUPPORTED, MQTT_RETAIN_NOT_SUPPORTED, "retained messages are not offered");
    if (packet->properties.subscription_count)
        return pl_mqtt_fail(
            l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "a subscription identifier from a client");
    return PL_OK;
}

static enum pl_err fail_subject(struct mqtt_link *l, enum pl_err err)
{
    if (err == PL_MALFORMED)
        return pl_mqtt_fail(l, err, MQTT_MALFORMED_PACKET, "a topic is not UTF-8");
    if (err == PL_NO_MEMORY)
        return pl_mqtt_fail(l, err, MQTT_UNSPECIFIED_ERROR, "out of memory");
    return pl_mqtt_fail(l, err, MQTT_TOPIC_NAME_INVALID, "an invalid topic name");
}

static enum pl_err fill_draft(struct mqtt_link *l, const struct mqtt_publish *packet,
    struct pl_shared *buffer, struct pl_message *draft)
{
    struct pl_session *core = &l->session->core;
    struct pl_arena *arena = pl_session_arena(core);
    enum pl_err err = find_subject(l, arena, packet->topic, &draft->subject);
    if (err)
        return fail_subject(l, err);
    uint8_t reason = MQTT_UNSPECIFIED_ERROR;
    err = pl_mqtt_is_5(l)
              ? pl_mqtt_take_properties(arena, &packet->properties, l->link.worker->now_ms,
                    pl_mqtt_options_of(l)->user_properties_max, draft, &reason)
              : PL_OK;
    if (err)
        return pl_mqtt_fail(l, err, reason, "the properties of a PUBLISH are not acceptable");
    if (!buffer && draft->payload.len) {
        char *copy = pl_arena_copy(arena, draft->payload);
        if (!copy)
            return pl_mqtt_fail(l, PL_NO_MEMORY, MQTT_UNSPECIFIED_ERROR, "out of memory");
        draft->payload.data = (const uint8_t *)copy;
    }
    return PL_OK;
}

/* Counts it against what we allowed, and remembers a QoS 2 id. *out_known: it came before. */
static enum pl_err open_packet(
    struct mqtt_link *l, const struct mqtt_publish *packet, bool *out_known)
{
    *out_known = packet->qos == 2 && pl_mqtt_incoming_has(l->session, packet->packet_id);
    if (*out_known)
        return PL_OK;
    if (pl_mqtt_is_5(l) && l->receive_open >= pl_mqtt_options_of(l)->receive_max)
        return pl_mqtt_fail(
            l, PL_LIMIT, MQTT_RECEIVE_MAX_EXCEEDED, "more open messages than the receive maximum");
    if (packet->qos == 2 && pl_mqtt_incoming_add(l->session, packet->packet_id))
        return pl_mqtt_fail(l, PL_NO_MEMORY, MQTT_UNSPECIFIED_ERROR, "out of memory");
    if (packet->qos == 2)
        pl_mqtt_store_incoming(l->session, packet->packet_id);
    if (l->receive_open < UINT16_MAX)
        l->receive_open++;
    return PL_OK;
}

enum pl_err pl_mqtt_on_publish(
    struct mqtt_link *l, uint8_t flags, struct pl_bytes body, struct pl_shared *buffer)
{
    struct mqtt_publish packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_publish(l->version, flags, body, &packet, &diag);
    if (err)
        return pl_mqtt_fail_diag(l, err, &diag);
    err = check_publish(l, &packet);
    if (!err && (!packet.topic.len || packet.properties.present))
        err = resolve_alias(l, &packet);
    if (err)
        return err;
    struct pl_message draft = {
        .payload = packet.payload, .qos = packet.qos, .retain = packet.retain};
    err = fill_draft(l, &packet, buffer, &draft);
    if (err)
        return err;
    struct pl_session *core = &l->session->core;
    if (!packet.qos) {
        /* At most once: what is refused is gone, and counted by the core. */
        (void)!pl_session_publish(core, &draft, buffer, 0, 0);
        return PL_OK;
    }
    bool is_known = false;
    err = open_packet(l, &packet, &is_known);
    if (err)
        return err;
    if (is_known) {
        pl_mqtt_write_ack(l, MQTT_PUBREC, packet.packet_id, MQTT_SUCCESS, NULL);
        return PL_OK;
    }
    /* An error comes back as the completion, too; but for memory, where there may be none. */
    err = pl_session_publish(
        core, &draft, buffer, PL_WANT_DONE, token_of(l->session, packet.packet_id, packet.qos));
    if (err == PL_NO_MEMORY && packet.qos == 2)
        pl_mqtt_forget_incoming(l->session, packet.packet_id);
    return PL_OK;
}

static uint8_t reason_of(const struct pl_completion *done)
{
    switch (done->err) {
    case PL_OK:
        return done->receivers ? MQTT_SUCCESS : MQTT_NO_MATCHING_SUBSCRIBERS;
    case PL_DENIED:
        return MQTT_NOT_AUTHORIZED;
    case PL_BAD_NAME:
        return MQTT_TOPIC_NAME_INVALID;
    case PL_TOO_LARGE:
    case PL_LIMIT:
    case PL_STORE:
        return MQTT_QUOTA_EXCEEDED;
    default: /* memory, mostly */
        return MQTT_UNSPECIFIED_ERROR;
    }
}

/* Before version 5 an acknowledgement cannot say no: what is forbidden is taken and dropped, as the
 * standard allows; what we failed at is not acknowledged, and the client tries again later. */
static bool is_told_by_closing(const struct mqtt_link *l, enum pl_err err)
{
    return !pl_mqtt_is_5(l) && err && err != PL_DENIED && err != PL_BAD_NAME;
}

void pl_mqtt_on_published(struct mqtt_session *s, const struct pl_completion *done)
{
    uint16_t packet_id = (uint16_t)done->token;
    uint8_t qos = done->token >> 16 & 3;
    struct mqtt_link *l = s->link;
    bool is_here = l && done->token >> 32 == s->generation && l->state == MQTT_CONNECTED;
    bool is_old = is_here && !pl_mqtt_is_5(l);
    if (qos == 2 && done->err && !(is_old && !is_told_by_closing(l, done->err)))
        pl_mqtt_forget_incoming(s, packet_id);
    if (!is_here)
        return;
    if (is_told_by_closing(l, done->err)) {
        (void)pl_mqtt_fail(l, done->err, MQTT_UNSPECIFIED_ERROR, pl_err_text(done->err));
        return;
    }
    if ((qos == 1 || done->err) && l->receive_open)
        l->receive_open--;
    const char *text = done->err ? pl_err_text(done->err) : NULL;
    pl_mqtt_write_ack(l, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, packet_id, reason_of(done), text);
}

enum pl_err pl_mqtt_on_pubrel(struct mqtt_link *l, struct pl_bytes body)
{
    struct mqtt_ack packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_ack(l->version, MQTT_PUBREL, body, &packet, &diag);
    if (err)
        return pl_mqtt_fail_diag(l, err, &diag);
    bool was_there = pl_mqtt_incoming_remove(l->session, packet.packet_id);
    if (was_there && l->receive_open)
        l->receive_open--;
    pl_mqtt_unstore_incoming(
        l->session, packet.packet_id, was_there ? MQTT_SUCCESS : MQTT_PACKET_ID_NOT_FOUND);
    return PL_OK;
}
