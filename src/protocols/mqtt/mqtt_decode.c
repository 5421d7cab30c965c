/*
 * Bodies of packets → structs. A reader walks the body and remembers its first failure, so that a
 * decoder reads field by field and asks once.
 */
#include "protocols/mqtt/mqtt_packet.h"

struct reader {
    const uint8_t *at, *end;
    enum pl_err err;
    struct pl_diag *diag;
};

static struct reader reader_of(struct pl_bytes body, struct pl_diag *diag)
{
    return (struct reader){.at = body.data, .end = body.data + body.len, .diag = diag};
}

static void fail(struct reader *r, enum pl_err err, int reason, const char *what)
{
    if (r->err)
        return;
    r->err = err;
    pl_diag_set(r->diag, reason, "%s", what);
}

static void malformed(struct reader *r, const char *what)
{
    fail(r, PL_MALFORMED, MQTT_MALFORMED_PACKET, what);
}

static void forbidden(struct reader *r, const char *what)
{
    fail(r, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, what);
}

static size_t left(const struct reader *r)
{
    return r->err ? 0 : (size_t)(r->end - r->at);
}

static bool need(struct reader *r, size_t n)
{
    if (left(r) >= n)
        return true;
    malformed(r, "the packet is cut off");
    return false;
}

static uint8_t read_u8(struct reader *r)
{
    return need(r, 1) ? *r->at++ : 0;
}

static uint16_t read_u16(struct reader *r)
{
    if (!need(r, 2))
        return 0;
    uint16_t v = (uint16_t)(r->at[0] << 8 | r->at[1]);
    r->at += 2;
    return v;
}

static struct pl_bytes read_binary(struct reader *r)
{
    size_t len = read_u16(r);
    if (r->err || !need(r, len))
        return PL_NO_BYTES;
    struct pl_bytes bytes = {r->at, len};
    r->at += len;
    return bytes;
}

static struct pl_bytes read_text(struct reader *r)
{
    struct pl_bytes text = read_binary(r);
    if (!pl_mqtt_text_is_valid(text))
        malformed(r, "a text is not UTF-8");
    return text;
}

static uint16_t read_packet_id(struct reader *r)
{
    uint16_t id = read_u16(r);
    if (!id)
        forbidden(r, "packet identifier 0");
    return id;
}

static void read_properties(struct reader *r, enum mqtt_type where, struct mqtt_properties *out)
{
    *out = (struct mqtt_properties){0};
    if (!r->err)
        r->err = pl_mqtt_read_properties(&r->at, r->end, where, out, r->diag);
}

static enum pl_err ended(struct reader *r)
{
    if (left(r))
        malformed(r, "bytes behind the end of the packet");
    return r->err;
}

enum pl_err pl_mqtt_read_length(struct pl_bytes in, uint32_t *out_len, size_t *out_used)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i == in.len)
            return PL_NEED_MORE;
        uint8_t byte = in.data[i];
        value |= (uint32_t)(byte & 127) << 7 * i;
        if (byte < 128) {
            if (i && !byte)
                return PL_MALFORMED;
            *out_len = value;
            *out_used = i + 1;
            return PL_OK;
        }
    }
    return PL_MALFORMED;
}

enum pl_err pl_mqtt_read_fixed(struct pl_bytes in, struct mqtt_fixed *out)
{
    if (in.len < 2)
        return PL_NEED_MORE;
    uint32_t len;
    size_t used;
    enum pl_err err = pl_mqtt_read_length(pl_bytes_from(in, 1), &len, &used);
    if (err)
        return err;
    *out = (struct mqtt_fixed){
        .type = in.data[0] >> 4, .flags = in.data[0] & 15, .size = (uint32_t)used + 1, .len = len};
    return PL_OK;
}

bool pl_mqtt_flags_are_valid(uint8_t version, const struct mqtt_fixed *fixed)
{
    switch (fixed->type) {
    case MQTT_WILL:
        return false;
    case MQTT_PUBLISH:
        /* QoS 3 does not exist, and what is sent at most once has no duplicate. */
        return (fixed->flags & 6) != 6 && (fixed->flags & 14) != 8;
    case MQTT_PUBREL:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        /* In 3.1 these have a DUP flag too. */
        return version == MQTT_3_1 ? (fixed->flags & 6) == 2 : fixed->flags == 2;
    case MQTT_AUTH:
        return version == MQTT_5 && fixed->flags == 0;
    default:
        return version == MQTT_3_1 || fixed->flags == 0;
    }
}

/* Reason codes by packet (MQTT 5.0, section 2.4): those below 32, and bit n for 0x80 + n. */
static const struct {
    uint32_t low;
    uint64_t high;
} reasons[16] = {
#define LOW(code)  1u << (code)
#define HIGH(code) (uint64_t)1 << ((code)-0x80)
    [MQTT_CONNACK] = {LOW(0), HIGH(0x80) | HIGH(0x81) | HIGH(0x82) | HIGH(0x83) | HIGH(0x84) |
                                  HIGH(0x85) | HIGH(0x86) | HIGH(0x87) | HIGH(0x88) | HIGH(0x89) |
                                  HIGH(0x8A) | HIGH(0x8C) | HIGH(0x90) | HIGH(0x95) | HIGH(0x97) |
                                  HIGH(0x99) | HIGH(0x9A) | HIGH(0x9B) | HIGH(0x9C) | HIGH(0x9D) |
                                  HIGH(0x9F)},
    [MQTT_PUBACK] = {LOW(0) | LOW(0x10),
        HIGH(0x80) | HIGH(0x83) | HIGH(0x87) | HIGH(0x90) | HIGH(0x91) | HIGH(0x97) | HIGH(0x99)},
    [MQTT_PUBREC] = {LOW(0) | LOW(0x10),
        HIGH(0x80) | HIGH(0x83) | HIGH(0x87) | HIGH(0x90) | HIGH(0x91) | HIGH(0x97) | HIGH(0x99)},
    [MQTT_PUBREL] = {LOW(0), HIGH(0x92)},
    [MQTT_PUBCOMP] = {LOW(0), HIGH(0x92)},
    [MQTT_SUBACK] = {LOW(0) | LOW(1) | LOW(2), HIGH(0x80) | HIGH(0x83) | HIGH(0x87) | HIGH(0x8F) |
                                                   HIGH(0x91) | HIGH(0x97) | HIGH(0x9E) |
                                                   HIGH(0xA1) | HIGH(0xA2)},
    [MQTT_UNSUBACK] = {LOW(0) | LOW(0x11),
        HIGH(0x80) | HIGH(0x83) | HIGH(0x87) | HIGH(0x8F) | HIGH(0x91)},
    [MQTT_DISCONNECT] = {LOW(0) | LOW(4),
        HIGH(0x80) | HIGH(0x81) | HIGH(0x82) | HIGH(0x83) | HIGH(0x87) | HIGH(0x89) | HIGH(0x8B) |
            HIGH(0x8D) | HIGH(0x8E) | HIGH(0x8F) | HIGH(0x90) | HIGH(0x93) | HIGH(0x94) |
            HIGH(0x95) | HIGH(0x96) | HIGH(0x97) | HIGH(0x98) | HIGH(0x99) | HIGH(0x9A) |
            HIGH(0x9B) | HIGH(0x9C) | HIGH(0x9D) | HIGH(0x9E) | HIGH(0x9F) | HIGH(0xA0) |
            HIGH(0xA1) | HIGH(0xA2)},
    [MQTT_AUTH] = {LOW(0) | LOW(0x18) | LOW(0x19), 0},
#undef LOW
#undef HIGH
};

bool pl_mqtt_reason_is_valid(enum mqtt_type type, uint8_t reason)
{
    if (reason < 32)
        return reasons[type].low >> reason & 1;
    return reason >= 0x80 && reason < 0xC0 && (reasons[type].high >> (reason - 0x80) & 1);
}

static uint8_t read_reason(struct reader *r, enum mqtt_type type)
{
    uint8_t reason = read_u8(r);
    if (!r->err && !pl_mqtt_reason_is_valid(type, reason))
        malformed(r, "a reason code that this packet has not");
    return reason;
}

/* Name and level. False: not ours, and out->version tells the level if the name was right. */
static bool read_version(struct reader *r, struct mqtt_connect *out)
{
    struct pl_bytes name = read_binary(r);
    bool is_old = pl_bytes_equal(name, PL_BYTES("MQIsdp"));
    if (r->err)
        return false;
    if (!is_old && !pl_bytes_equal(name, PL_BYTES("MQTT"))) {
        fail(r, PL_UNSUPPORTED, MQTT_UNSUPPORTED_VERSION, "the protocol's name is not MQTT");
        return false;
    }
    out->version = read_u8(r);
    if (r->err)
        return false;
    if (is_old ? out->version == MQTT_3_1 : out->version == MQTT_3_1_1 || out->version == MQTT_5)
        return true;
    fail(r, PL_UNSUPPORTED, MQTT_UNSUPPORTED_VERSION, "a protocol level that is not supported");
    return false;
}

static void read_connect_flags(struct reader *r, struct mqtt_connect *out)
{
    uint8_t flags = read_u8(r);
    out->clean_start = flags & 2;
    out->has_will = flags & 4;
    out->will_qos = flags >> 3 & 3;
    out->will_retain = flags & 0x20;
    out->has_password = flags & 0x40;
    out->has_user = flags & 0x80;
    if (flags & 1 && out->version != MQTT_3_1)
        malformed(r, "the reserved flag of CONNECT is set");
    if (out->will_qos == 3)
        malformed(r, "the will's QoS is 3");
    if (!out->has_will && (out->will_qos || out->will_retain))
        malformed(r, "a QoS or retain flag of no will");
    if (out->version == MQTT_3_1_1 && out->has_password && !out->has_user)
        malformed(r, "a password without a user name");
}

/* In 3.1 the flags may promise a user and a password that the packet is too short for. */
static bool is_missing(const struct reader *r, const struct mqtt_connect *out)
{
    return out->version == MQTT_3_1 && !r->err && r->at == r->end;
}

enum pl_err pl_mqtt_decode_connect(
    struct pl_bytes body, struct mqtt_connect *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    *out = (struct mqtt_connect){0};
    if (!read_version(&r, out))
        return r.err;
    read_connect_flags(&r, out);
    out->keep_alive_s = read_u16(&r);
    if (out->version == MQTT_5)
        read_properties(&r, MQTT_CONNECT, &out->properties);
    out->client_id = read_text(&r);
    if (out->has_will) {
        if (out->version == MQTT_5)
            read_properties(&r, MQTT_WILL, &out->will_properties);
        out->will_topic = read_text(&r);
        out->will_payload = read_binary(&r);
    }
    if (out->has_user && is_missing(&r, out))
        out->has_user = false;
    if (out->has_user)
        out->user = read_text(&r);
    if (out->has_password && is_missing(&r, out))
        out->has_password = false;
    if (out->has_password)
        out->password = read_binary(&r);
    return ended(&r);
}

enum pl_err pl_mqtt_decode_connack(
    uint8_t version, struct pl_bytes body, struct mqtt_connack *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    *out = (struct mqtt_connack){0};
    uint8_t flags = read_u8(&r);
    out->session_present = flags & 1;
    if (flags > 1)
        malformed(&r, "reserved flags of CONNACK are set");
    if (version == MQTT_5) {
        out->code = read_reason(&r, MQTT_CONNACK);
        read_properties(&r, MQTT_CONNACK, &out->properties);
    } else {
        out->code = read_u8(&r);
        if (out->code > MQTT_REFUSED_AUTHORIZATION)
            malformed(&r, "an unknown return code");
    }
    if (out->session_present && out->code)
        forbidden(&r, "a session is present in a refusal");
    return ended(&r);
}

enum pl_err pl_mqtt_decode_publish(uint8_t version, uint8_t flags, struct pl_bytes body,
    struct mqtt_publish *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    out->dup = flags & 8;
    out->qos = flags >> 1 & 3;
    out->retain = flags & 1;
    out->packet_id = 0;
    out->topic = read_binary(&r);
    if (out->qos)
        out->packet_id = read_packet_id(&r);
    if (version == MQTT_5 && left(&r) && !*r.at)
        r.at++; /* no properties: what most have, without clearing the fields */
    else if (version == MQTT_5) {
        read_properties(&r, MQTT_PUBLISH, &out->properties);
        out->payload = pl_bytes_of(r.at, left(&r));
        return r.err;
    }
    out->properties.present = 0;
    out->properties.user_count = out->properties.subscription_count = 0;
    out->properties.users = NULL;
    out->properties.block = PL_NO_BYTES;
    out->payload = pl_bytes_of(r.at, left(&r));
    return r.err;
}

enum pl_err pl_mqtt_decode_ack(uint8_t version, enum mqtt_type type, struct pl_bytes body,
    struct mqtt_ack *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    out->packet_id = read_packet_id(&r);
    out->reason = MQTT_SUCCESS;
    out->properties.present = 0;
    out->properties.user_count = out->properties.subscription_count = 0;
    out->properties.users = NULL;
    out->properties.block = PL_NO_BYTES;
    if (version == MQTT_5 && left(&r))
        out->reason = read_reason(&r, type);
    if (version == MQTT_5 && left(&r))
        read_properties(&r, type, &out->properties);
    return ended(&r);
}

static void check_options(struct reader *r, uint8_t version, uint8_t options)
{
    if ((options & 3) == 3)
        malformed(r, "a subscription's QoS is 3");
    if (version == MQTT_5 && (options & 0xC0 || (options & 0x30) == 0x30))
        malformed(r, "reserved bits of a subscription's options are set");
    if (version == MQTT_3_1_1 && options & 0xFC)
        malformed(r, "reserved bits of a subscription's QoS are set");
}

enum pl_err pl_mqtt_decode_subscribe(uint8_t version, enum mqtt_type type, struct pl_bytes body,
    struct mqtt_subscribe *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    *out = (struct mqtt_subscribe){0};
    out->packet_id = read_packet_id(&r);
    if (version == MQTT_5)
        read_properties(&r, type, &out->properties);
    out->filters = pl_bytes_of(r.at, left(&r));
    while (left(&r)) {
        (void)read_text(&r);
        if (type == MQTT_SUBSCRIBE)
            check_options(&r, version, read_u8(&r));
        out->count++;
    }
    if (!out->count)
        forbidden(&r, "no topic filter");
    return r.err;
}

bool pl_mqtt_next_filter(const struct mqtt_subscribe *packet, uint8_t version, enum mqtt_type type,
    size_t *at, struct mqtt_filter *out)
{
    if (*at >= packet->filters.len)
        return false;
    struct reader r = reader_of(pl_bytes_from(packet->filters, *at), NULL);
    *out = (struct mqtt_filter){.text = read_binary(&r)};
    if (type == MQTT_SUBSCRIBE) {
        uint8_t options = read_u8(&r);
        out->qos = options & 3;
        if (version == MQTT_5) {
            out->no_local = options & 4;
            out->retain_as_published = options & 8;
            out->retain_handling = options >> 4 & 3;
        }
    }
    *at = (size_t)(r.at - packet->filters.data);
    return true;
}

enum pl_err pl_mqtt_decode_suback(uint8_t version, enum mqtt_type type, struct pl_bytes body,
    struct mqtt_suback *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    *out = (struct mqtt_suback){0};
    out->packet_id = read_packet_id(&r);
    if (version == MQTT_5)
        read_properties(&r, type, &out->properties);
    out->codes = pl_bytes_of(r.at, left(&r));
    if (type == MQTT_UNSUBACK && version != MQTT_5)
        return ended(&r);
    for (size_t i = 0; i < out->codes.len; i++) {
        uint8_t code = out->codes.data[i];
        if (version == MQTT_5 ? !pl_mqtt_reason_is_valid(type, code) : code > 2 && code != 0x80)
            malformed(&r, "a code that this packet has not");
    }
    if (!r.err && !out->codes.len)
        forbidden(&r, "an answer to no filter");
    return r.err;
}

enum pl_err pl_mqtt_decode_disconnect(uint8_t version, enum mqtt_type type, struct pl_bytes body,
    struct mqtt_disconnect *out, struct pl_diag *diag)
{
    struct reader r = reader_of(body, diag);
    *out = (struct mqtt_disconnect){0};
    if (version == MQTT_5 && left(&r))
        out->reason = read_reason(&r, type);
    if (version == MQTT_5 && left(&r))
        read_properties(&r, type, &out->properties);
    if (version == MQTT_3_1)
        return r.err; /* 3.1 does not say that the body must be empty */
    return ended(&r);
}
