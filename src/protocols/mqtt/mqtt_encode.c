/*
 * Structs → packets. Each encoder computes the packet's length first, makes room for it once and
 * fills it.
 */
#include "protocols/mqtt/mqtt_packet.h"

static void too_large(struct pl_writer *w)
{
    if (!w->err)
        w->err = PL_TOO_LARGE;
}

/* Room for a packet with that body, its fixed header written; NULL: it failed. */
static uint8_t *begin(struct pl_writer *w, enum mqtt_type type, uint8_t flags, uint64_t len)
{
    if (len > MQTT_LENGTH_MAX)
        too_large(w);
    if (w->err)
        return NULL; /* also where a text is too long, so that lengths and room agree */
    uint32_t body = (uint32_t)len;
    uint8_t *at = pl_writer_room(w, 1 + pl_mqtt_length_size(body) + (size_t)body);
    if (!at)
        return NULL;
    *at++ = (uint8_t)(type << 4 | flags);
    return pl_mqtt_put_length(at, body);
}

static uint8_t *put_u16(uint8_t *at, uint16_t v)
{
    *at++ = (uint8_t)(v >> 8);
    *at++ = (uint8_t)v;
    return at;
}

static uint8_t *put_raw(uint8_t *at, struct pl_bytes bytes)
{
    if (bytes.len)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

static uint8_t *put_sized(uint8_t *at, struct pl_bytes bytes)
{
    return put_raw(put_u16(at, (uint16_t)bytes.len), bytes);
}

/* Bytes of properties with their length in front; *out_size is what pl_mqtt_put_properties wants.
 */
static uint64_t properties_len(
    struct pl_writer *w, const struct mqtt_properties *p, uint32_t *out_size)
{
    uint32_t size = pl_mqtt_properties_size(p);
    if (size == UINT32_MAX) {
        too_large(w);
        size = 0;
    }
    *out_size = size;
    return (uint64_t)pl_mqtt_length_size(size) + size;
}

static uint64_t sized_len(struct pl_writer *w, struct pl_bytes bytes)
{
    if (bytes.len > MQTT_TEXT_MAX)
        too_large(w);
    return 2 + (uint64_t)bytes.len;
}

static bool has_any(const struct mqtt_properties *p)
{
    return p->present || p->user_count;
}

void pl_mqtt_encode_connect(struct pl_writer *w, const struct mqtt_connect *packet)
{
    bool is_5 = packet->version == MQTT_5;
    struct pl_bytes name = packet->version == MQTT_3_1 ? PL_BYTES("MQIsdp") : PL_BYTES("MQTT");
    uint32_t size = 0, will_size = 0;
    uint64_t len = 2 + name.len + 4 + sized_len(w, packet->client_id);
    if (is_5)
        len += properties_len(w, &packet->properties, &size);
    if (packet->has_will) {
        if (is_5)
            len += properties_len(w, &packet->will_properties, &will_size);
        len += sized_len(w, packet->will_topic) + sized_len(w, packet->will_payload);
    }
    if (packet->has_user)
        len += sized_len(w, packet->user);
    if (packet->has_password)
        len += sized_len(w, packet->password);
    uint8_t *at = begin(w, MQTT_CONNECT, 0, len);
    if (!at)
        return;
    at = put_sized(at, name);
    *at++ = packet->version;
    *at++ = (uint8_t)(packet->clean_start << 1 | packet->has_will << 2 | packet->will_qos << 3 |
                      packet->will_retain << 5 | packet->has_password << 6 | packet->has_user << 7);
    at = put_u16(at, packet->keep_alive_s);
    if (is_5)
        at = pl_mqtt_put_properties(at, &packet->properties, size);
    at = put_sized(at, packet->client_id);
    if (packet->has_will) {
        if (is_5)
            at = pl_mqtt_put_properties(at, &packet->will_properties, will_size);
        at = put_sized(put_sized(at, packet->will_topic), packet->will_payload);
    }
    if (packet->has_user)
        at = put_sized(at, packet->user);
    if (packet->has_password)
        put_sized(at, packet->password);
}

void pl_mqtt_encode_connack(struct pl_writer *w, uint8_t version, const struct mqtt_connack *packet)
{
    uint32_t size = 0;
    uint64_t len = 2;
    if (version == MQTT_5)
        len += properties_len(w, &packet->properties, &size);
    uint8_t *at = begin(w, MQTT_CONNACK, 0, len);
    if (!at)
        return;
    *at++ = packet->session_present;
    *at++ = packet->code;
    if (version == MQTT_5)
        pl_mqtt_put_properties(at, &packet->properties, size);
}

void pl_mqtt_encode_publish(struct pl_writer *w, uint8_t version, const struct mqtt_publish *packet)
{
    uint32_t size = 0;
    uint64_t len = sized_len(w, packet->topic) + (packet->qos ? 2 : 0) + packet->payload.len;
    if (version == MQTT_5)
        len += properties_len(w, &packet->properties, &size);
    uint8_t flags = (uint8_t)(packet->dup << 3 | packet->qos << 1 | packet->retain);
    uint8_t *at = begin(w, MQTT_PUBLISH, flags, len);
    if (!at)
        return;
    at = put_sized(at, packet->topic);
    if (packet->qos)
        at = put_u16(at, packet->packet_id);
    if (version == MQTT_5)
        at = pl_mqtt_put_properties(at, &packet->properties, size);
    put_raw(at, packet->payload);
}

void pl_mqtt_encode_ack(
    struct pl_writer *w, uint8_t version, enum mqtt_type type, const struct mqtt_ack *packet)
{
    uint32_t size = 0;
    uint64_t len = 2;
    bool has_properties = version == MQTT_5 && has_any(&packet->properties);
    bool has_reason = has_properties || (version == MQTT_5 && packet->reason);
    if (has_reason)
        len++;
    if (has_properties)
        len += properties_len(w, &packet->properties, &size);
    uint8_t *at = begin(w, type, type == MQTT_PUBREL ? 2 : 0, len);
    if (!at)
        return;
    at = put_u16(at, packet->packet_id);
    if (has_reason)
        *at++ = packet->reason;
    if (has_properties)
        pl_mqtt_put_properties(at, &packet->properties, size);
}

static uint8_t options_of(uint8_t version, const struct mqtt_filter *f)
{
    if (version != MQTT_5)
        return f->qos;
    return (
        uint8_t)(f->qos | f->no_local << 2 | f->retain_as_published << 3 | f->retain_handling << 4);
}

void pl_mqtt_encode_subscribe(struct pl_writer *w, uint8_t version, enum mqtt_type type,
    const struct mqtt_subscribe *packet, const struct mqtt_filter *filters)
{
    uint32_t size = 0;
    uint64_t len = 2;
    if (version == MQTT_5)
        len += properties_len(w, &packet->properties, &size);
    for (uint32_t i = 0; i < packet->count; i++)
        len += sized_len(w, filters[i].text) + (type == MQTT_SUBSCRIBE);
    uint8_t *at = begin(w, type, 2, len);
    if (!at)
        return;
    at = put_u16(at, packet->packet_id);
    if (version == MQTT_5)
        at = pl_mqtt_put_properties(at, &packet->properties, size);
    for (uint32_t i = 0; i < packet->count; i++) {
        at = put_sized(at, filters[i].text);
        if (type == MQTT_SUBSCRIBE)
            *at++ = options_of(version, &filters[i]);
    }
}

void pl_mqtt_encode_suback(
    struct pl_writer *w, uint8_t version, enum mqtt_type type, const struct mqtt_suback *packet)
{
    uint32_t size = 0;
    bool has_codes = version == MQTT_5 || type == MQTT_SUBACK;
    uint64_t len = 2 + (has_codes ? packet->codes.len : 0);
    if (version == MQTT_5)
        len += properties_len(w, &packet->properties, &size);
    uint8_t *at = begin(w, type, 0, len);
    if (!at)
        return;
    at = put_u16(at, packet->packet_id);
    if (version == MQTT_5)
        at = pl_mqtt_put_properties(at, &packet->properties, size);
    if (has_codes)
        put_raw(at, packet->codes);
}

void pl_mqtt_encode_disconnect(
    struct pl_writer *w, uint8_t version, enum mqtt_type type, const struct mqtt_disconnect *packet)
{
    uint32_t size = 0;
    uint64_t len = 0;
    bool has_properties = version == MQTT_5 && has_any(&packet->properties);
    bool has_reason = has_properties || (version == MQTT_5 && packet->reason);
    if (has_reason)
        len++;
    if (has_properties)
        len += properties_len(w, &packet->properties, &size);
    uint8_t *at = begin(w, type, 0, len);
    if (!at)
        return;
    if (has_reason)
        *at++ = packet->reason;
    if (has_properties)
        pl_mqtt_put_properties(at, &packet->properties, size);
}

void pl_mqtt_encode_ping(struct pl_writer *w, enum mqtt_type type)
{
    (void)begin(w, type, 0, 0);
}
