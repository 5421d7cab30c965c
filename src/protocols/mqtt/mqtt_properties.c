/*
 * The properties of MQTT 5.0. One table, made from mqtt_property.def, drives both directions: it
 * says per identifier how the value looks, which field it goes to, and which packets may carry it.
 */
#include "protocols/mqtt/mqtt_packet.h"

#include "base/text.h"

enum kind {
    KIND_NONE,
    KIND_BOOL,
    KIND_U16,
    KIND_U16_NONZERO,
    KIND_U32,
    KIND_U32_NONZERO,
    KIND_VARINT,
    KIND_TEXT,
    KIND_BINARY,
};

struct property {
    uint8_t kind; /* enum kind */
    uint16_t offset;
    uint16_t packets; /* bit n: enum mqtt_type n */
};

enum { IDS = 64 };

#define IN(type) 1u << MQTT_##type

static const struct property table[IDS] = {
#define MQTT_PROPERTY(id, field, kind_name, in)                                                    \
    [id] = {KIND_##kind_name, offsetof(struct mqtt_properties, field), in},
#include "protocols/mqtt/mqtt_property.def"
#undef MQTT_PROPERTY
};

/* User properties may stand in every packet that has properties. */

static enum pl_err malformed(struct pl_diag *diag, const char *what)
{
    pl_diag_set(diag, MQTT_MALFORMED_PACKET, "%s", what);
    return PL_MALFORMED;
}

static enum pl_err forbidden(struct pl_diag *diag, int reason, const char *what)
{
    pl_diag_set(diag, reason, "%s", what);
    return PL_PROTOCOL;
}

bool pl_mqtt_text_is_valid(struct pl_bytes text)
{
    return !text.len || (!memchr(text.data, 0, text.len) && pl_utf8_is_valid(text));
}

static bool read_sized(const uint8_t **at, const uint8_t *end, struct pl_bytes *out)
{
    if (end - *at < 2)
        return false;
    size_t len = (size_t)(*at)[0] << 8 | (*at)[1];
    if ((size_t)(end - *at) - 2 < len)
        return false;
    *out = pl_bytes_of(*at + 2, len);
    *at += 2 + len;
    return true;
}

static bool read_number(const uint8_t **at, const uint8_t *end, uint8_t kind, uint32_t *out)
{
    if (kind == KIND_VARINT) {
        size_t used;
        if (pl_mqtt_read_length(pl_bytes_of(*at, (size_t)(end - *at)), out, &used))
            return false;
        *at += used;
        return true;
    }
    size_t width = kind == KIND_BOOL ? 1 : kind == KIND_U16 || kind == KIND_U16_NONZERO ? 2 : 4;
    if ((size_t)(end - *at) < width)
        return false;
    uint32_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | (*at)[i];
    *at += width;
    *out = v;
    return true;
}

static enum pl_err check_number(uint8_t id, uint8_t kind, uint32_t v, struct pl_diag *diag)
{
    if (kind == KIND_BOOL && v > 1)
        return forbidden(diag, MQTT_PROTOCOL_ERROR, "a property that is 0 or 1 has another value");
    if (v)
        return PL_OK;
    if (id == MQTT_ID_topic_alias)
        return forbidden(diag, MQTT_TOPIC_ALIAS_INVALID, "topic alias 0");
    if (kind == KIND_U16_NONZERO || kind == KIND_U32_NONZERO || kind == KIND_VARINT)
        return forbidden(diag, MQTT_PROTOCOL_ERROR, "a property that must not be 0 is 0");
    return PL_OK;
}

static enum pl_err read_user(
    const uint8_t **at, const uint8_t *end, struct pl_header *out, struct pl_diag *diag)
{
    if (!read_sized(at, end, &out->name) || !read_sized(at, end, &out->value))
        return malformed(diag, "a user property is cut off");
    if (!pl_mqtt_text_is_valid(out->name) || !pl_mqtt_text_is_valid(out->value))
        return malformed(diag, "a user property is not UTF-8");
    return PL_OK;
}

/* Identifiers of one packet repeat only where the standard says so: the subscription identifier in
 * a PUBLISH to a client. */
static enum pl_err check_repeat(
    struct mqtt_properties *out, uint8_t id, enum mqtt_type where, struct pl_diag *diag)
{
    if (!(out->present >> id & 1))
        return PL_OK;
    if (id == MQTT_ID_subscription_id && where == MQTT_PUBLISH)
        return PL_OK;
    return forbidden(diag, MQTT_PROTOCOL_ERROR, "a property stands twice");
}

static enum pl_err read_one(const uint8_t **at, const uint8_t *end, enum mqtt_type where,
    struct mqtt_properties *out, struct pl_diag *diag)
{
    uint8_t id = *(*at)++;
    if (id == MQTT_USER_PROPERTY) {
        struct pl_header user;
        out->user_count++;
        return read_user(at, end, &user, diag);
    }
    if (id >= IDS || !(table[id].packets >> where & 1))
        return malformed(diag, "a property that this packet has not");
    const struct property *property = &table[id];
    enum pl_err err = check_repeat(out, id, where, diag);
    if (err)
        return err;
    uint8_t *field = (uint8_t *)out + property->offset;
    if (property->kind == KIND_TEXT || property->kind == KIND_BINARY) {
        struct pl_bytes value;
        if (!read_sized(at, end, &value))
            return malformed(diag, "a property is cut off");
        if (property->kind == KIND_TEXT && !pl_mqtt_text_is_valid(value))
            return malformed(diag, "a property is not UTF-8");
        memcpy(field, &value, sizeof value);
    } else {
        uint32_t value = 0;
        if (!read_number(at, end, property->kind, &value))
            return malformed(diag, "a property is cut off");
        err = check_number(id, property->kind, value, diag);
        if (err)
            return err;
        if (id == MQTT_ID_subscription_id)
            out->subscription_count++;
        if (!(out->present >> id & 1))
            memcpy(field, &value, sizeof value);
    }
    out->present |= (uint64_t)1 << id;
    return PL_OK;
}

enum pl_err pl_mqtt_read_properties(const uint8_t **at, const uint8_t *end, enum mqtt_type where,
    struct mqtt_properties *out, struct pl_diag *diag)
{
    uint32_t len;
    size_t used;
    out->present = 0;
    out->user_count = out->subscription_count = 0;
    out->users = NULL;
    out->block = PL_NO_BYTES;
    if (pl_mqtt_read_length(pl_bytes_of(*at, (size_t)(end - *at)), &len, &used))
        return malformed(diag, "the length of the properties is bad");
    *at += used;
    if ((size_t)(end - *at) < len)
        return malformed(diag, "the properties are longer than their packet");
    out->block = pl_bytes_of(*at, len);
    const uint8_t *block_end = *at + len;
    while (*at < block_end) {
        enum pl_err err = read_one(at, block_end, where, out, diag);
        if (err)
            return err;
    }
    if (MQTT_HAS(out, auth_data) && !MQTT_HAS(out, auth_method))
        return forbidden(diag, MQTT_PROTOCOL_ERROR, "authentication data without a method");
    return PL_OK;
}

/* Steps over one property of a block that was checked. Returns its identifier. */
static uint8_t step(
    const uint8_t **at, const uint8_t *end, struct pl_header *user, uint32_t *number)
{
    uint8_t id = *(*at)++;
    if (id == MQTT_USER_PROPERTY) {
        (void)read_sized(at, end, &user->name);
        (void)read_sized(at, end, &user->value);
    } else if (table[id].kind == KIND_TEXT || table[id].kind == KIND_BINARY) {
        struct pl_bytes skipped;
        (void)read_sized(at, end, &skipped);
    } else {
        (void)read_number(at, end, table[id].kind, number);
    }
    return id;
}

static bool next_of(const struct mqtt_properties *p, size_t *at, uint8_t wanted,
    struct pl_header *user, uint32_t *number)
{
    const uint8_t *end = p->block.data + p->block.len;
    for (const uint8_t *pos = p->block.data + *at; *at < p->block.len;) {
        uint8_t id = step(&pos, end, user, number);
        *at = (size_t)(pos - p->block.data);
        if (id == wanted)
            return true;
    }
    return false;
}

bool pl_mqtt_next_user(const struct mqtt_properties *p, size_t *at, struct pl_header *out)
{
    uint32_t number;
    return p->user_count && next_of(p, at, MQTT_USER_PROPERTY, out, &number);
}

bool pl_mqtt_next_subscription_id(const struct mqtt_properties *p, size_t *at, uint32_t *out)
{
    struct pl_header user;
    return p->subscription_count && next_of(p, at, MQTT_ID_subscription_id, &user, out);
}

static uint32_t value_size(uint8_t kind, const uint8_t *field)
{
    uint32_t number;
    struct pl_bytes bytes;
    switch (kind) {
    case KIND_BOOL:
        return 1;
    case KIND_U16:
    case KIND_U16_NONZERO:
        return 2;
    case KIND_U32:
    case KIND_U32_NONZERO:
        return 4;
    case KIND_VARINT:
        memcpy(&number, field, sizeof number);
        return pl_mqtt_length_size(number);
    default:
        memcpy(&bytes, field, sizeof bytes);
        return bytes.len > MQTT_TEXT_MAX ? UINT32_MAX : (uint32_t)bytes.len + 2;
    }
}

uint32_t pl_mqtt_properties_size(const struct mqtt_properties *p)
{
    uint64_t size = 0;
    for (uint64_t left = p->present; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        uint32_t value = value_size(table[id].kind, (const uint8_t *)p + table[id].offset);
        if (value == UINT32_MAX)
            return UINT32_MAX;
        size += 1 + (uint64_t)value;
    }
    for (uint32_t i = 0; i < p->user_count; i++) {
        if (p->users[i].name.len > MQTT_TEXT_MAX || p->users[i].value.len > MQTT_TEXT_MAX)
            return UINT32_MAX;
        size += 5 + p->users[i].name.len + p->users[i].value.len;
    }
    return size > MQTT_LENGTH_MAX ? UINT32_MAX : (uint32_t)size;
}

static uint8_t *put_sized(uint8_t *at, struct pl_bytes bytes)
{
    *at++ = (uint8_t)(bytes.len >> 8);
    *at++ = (uint8_t)bytes.len;
    if (bytes.len)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

static uint8_t *put_value(uint8_t *at, uint8_t kind, const uint8_t *field)
{
    if (kind == KIND_TEXT || kind == KIND_BINARY) {
        struct pl_bytes bytes;
        memcpy(&bytes, field, sizeof bytes);
        return put_sized(at, bytes);
    }
    uint32_t number;
    memcpy(&number, field, sizeof number);
    if (kind == KIND_VARINT)
        return pl_mqtt_put_length(at, number);
    for (uint32_t left = value_size(kind, field); left; left--)
        *at++ = (uint8_t)(number >> 8 * (left - 1));
    return at;
}

uint8_t *pl_mqtt_put_properties(uint8_t *at, const struct mqtt_properties *p, uint32_t size)
{
    at = pl_mqtt_put_length(at, size);
    for (uint64_t left = p->present; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        *at++ = (uint8_t)id;
        at = put_value(at, table[id].kind, (const uint8_t *)p + table[id].offset);
    }
    for (uint32_t i = 0; i < p->user_count; i++) {
        *at++ = MQTT_USER_PROPERTY;
        at = put_sized(at, p->users[i].name);
        at = put_sized(at, p->users[i].value);
    }
    return at;
}
