/*
 * MQTT packets: bytes ↔ structs, for 3.1, 3.1.1 and 5.0. Pure: no state, no allocation; what a
 * struct refers to lies in the bytes that were decoded.
 *
 *     struct mqtt_fixed fixed;
 *     err = pl_mqtt_read_fixed(in, &fixed);          // PL_NEED_MORE: wait; check fixed.len
 * yourself struct pl_bytes body = {in.data + fixed.size, fixed.len}; err =
 * pl_mqtt_decode_connect(body, &connect, &diag);
 *
 * A decoder of a body answers PL_OK, PL_MALFORMED, PL_PROTOCOL or PL_UNSUPPORTED and fills diag:
 * code is MQTT 5's reason code for it, text says what is wrong. Both sides' packets are decoded, so
 * that a client, a test or a tool can use this too. Text is checked to be UTF-8 without U+0000.
 *
 * An encoder appends one packet to a writer, which remembers a failure; strings longer than 65535
 * bytes are the caller's mistake and fail as PL_TOO_LARGE.
 */
#ifndef PL_PROTOCOLS_MQTT_PACKET_H
#define PL_PROTOCOLS_MQTT_PACKET_H

#include "base/output.h"
#include "core/message.h"

enum mqtt_type {
    MQTT_WILL = 0, /* no packet: where the will's properties stand */
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH,
};

/* Protocol level, as in CONNECT. */
enum mqtt_version { MQTT_3_1 = 3, MQTT_3_1_1 = 4, MQTT_5 = 5 };

/* MQTT 5.0, section 2.4. */
enum mqtt_reason {
    MQTT_SUCCESS = 0x00,
    MQTT_DISCONNECT_WITH_WILL = 0x04,
    MQTT_NO_MATCHING_SUBSCRIBERS = 0x10,
    MQTT_NO_SUBSCRIPTION_EXISTED = 0x11,
    MQTT_CONTINUE_AUTHENTICATION = 0x18,
    MQTT_REAUTHENTICATE = 0x19,
    MQTT_UNSPECIFIED_ERROR = 0x80,
    MQTT_MALFORMED_PACKET = 0x81,
    MQTT_PROTOCOL_ERROR = 0x82,
    MQTT_IMPLEMENTATION_ERROR = 0x83,
    MQTT_UNSUPPORTED_VERSION = 0x84,
    MQTT_BAD_CLIENT_ID = 0x85,
    MQTT_BAD_USER_OR_PASSWORD = 0x86,
    MQTT_NOT_AUTHORIZED = 0x87,
    MQTT_SERVER_UNAVAILABLE = 0x88,
    MQTT_SERVER_BUSY = 0x89,
    MQTT_BANNED = 0x8A,
    MQTT_SERVER_SHUTTING_DOWN = 0x8B,
    MQTT_BAD_AUTH_METHOD = 0x8C,
    MQTT_KEEP_ALIVE_TIMEOUT = 0x8D,
    MQTT_SESSION_TAKEN_OVER = 0x8E,
    MQTT_TOPIC_FILTER_INVALID = 0x8F,
    MQTT_TOPIC_NAME_INVALID = 0x90,
    MQTT_PACKET_ID_IN_USE = 0x91,
    MQTT_PACKET_ID_NOT_FOUND = 0x92,
    MQTT_RECEIVE_MAX_EXCEEDED = 0x93,
    MQTT_TOPIC_ALIAS_INVALID = 0x94,
    MQTT_PACKET_TOO_LARGE = 0x95,
    MQTT_MESSAGE_RATE_TOO_HIGH = 0x96,
    MQTT_QUOTA_EXCEEDED = 0x97,
    MQTT_ADMINISTRATIVE_ACTION = 0x98,
    MQTT_PAYLOAD_FORMAT_INVALID = 0x99,
    MQTT_RETAIN_NOT_SUPPORTED = 0x9A,
    MQTT_QOS_NOT_SUPPORTED = 0x9B,
    MQTT_USE_ANOTHER_SERVER = 0x9C,
    MQTT_SERVER_MOVED = 0x9D,
    MQTT_SHARED_NOT_SUPPORTED = 0x9E,
    MQTT_RATE_EXCEEDED = 0x9F,
    MQTT_CONNECT_TIME = 0xA0,
    MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1,
    MQTT_WILDCARDS_NOT_SUPPORTED = 0xA2,
};

/* MQTT 3.1.1, section 3.2.2.3. */
enum mqtt_return {
    MQTT_ACCEPTED = 0,
    MQTT_REFUSED_VERSION = 1,
    MQTT_REFUSED_CLIENT_ID = 2,
    MQTT_REFUSED_UNAVAILABLE = 3,
    MQTT_REFUSED_LOGIN = 4,
    MQTT_REFUSED_AUTHORIZATION = 5,
};

enum {
    MQTT_LENGTH_MAX = 268435455, /* of a body: the largest variable byte integer */
    MQTT_TEXT_MAX = 65535,
    MQTT_USER_PROPERTY = 0x26,
};

enum mqtt_property_id {
#define MQTT_PROPERTY(id, field, kind, packets) MQTT_ID_##field = (id),
#include "protocols/mqtt/mqtt_property.def"
#undef MQTT_PROPERTY
};

#define MQTT_TYPE_OF_BOOL        uint32_t
#define MQTT_TYPE_OF_U16         uint32_t
#define MQTT_TYPE_OF_U16_NONZERO uint32_t
#define MQTT_TYPE_OF_U32         uint32_t
#define MQTT_TYPE_OF_U32_NONZERO uint32_t
#define MQTT_TYPE_OF_VARINT      uint32_t
#define MQTT_TYPE_OF_TEXT        struct pl_bytes
#define MQTT_TYPE_OF_BINARY      struct pl_bytes

/* A field means something only if its bit is set in present. So "none" is present and user_count
 * being 0, whatever else stands there. */
struct mqtt_properties {
    uint64_t present;              /* bit n: property n */
    uint32_t user_count;           /* user properties */
    uint32_t subscription_count;   /* subscription identifiers; the field holds the first */
    const struct pl_header *users; /* for encoding: user_count of them */
    struct pl_bytes block;         /* from decoding: all properties, for pl_mqtt_next_… */
#define MQTT_PROPERTY(id, field, kind, packets) MQTT_TYPE_OF_##kind field;
#include "protocols/mqtt/mqtt_property.def"
#undef MQTT_PROPERTY
};

#define MQTT_HAS(properties, field) ((properties)->present >> MQTT_ID_##field & 1)
/* Sets a property that is to be encoded. */
#define MQTT_SET(properties, name, value)                                                          \
    ((properties)->name = (value), (properties)->present |= (uint64_t)1 << MQTT_ID_##name)

struct mqtt_fixed {
    uint8_t type;  /* enum mqtt_type; 0 is none of them and malformed */
    uint8_t flags; /* low four bits */
    uint32_t size; /* bytes of the fixed header */
    uint32_t len;  /* bytes of the body */
};

struct mqtt_connect {
    uint8_t version; /* enum mqtt_version */
    bool clean_start;
    bool has_will, will_retain, has_user, has_password;
    uint8_t will_qos;
    uint16_t keep_alive_s;
    struct pl_bytes client_id, will_topic, will_payload, user, password;
    struct mqtt_properties properties, will_properties;
};

struct mqtt_connack {
    bool session_present;
    uint8_t code; /* enum mqtt_return, in version 5 enum mqtt_reason */
    struct mqtt_properties properties;
};

struct mqtt_publish {
    bool dup, retain;
    uint8_t qos;
    uint16_t packet_id;    /* 0 for QoS 0 */
    struct pl_bytes topic; /* its text is not checked here: pl_mqtt_topic_decode does */
    struct pl_bytes payload;
    struct mqtt_properties properties;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct mqtt_ack {
    uint16_t packet_id;
    uint8_t reason;
    struct mqtt_properties properties;
};

/* One filter of a SUBSCRIBE. */
struct mqtt_filter {
    struct pl_bytes text;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling;
};

/* SUBSCRIBE and UNSUBSCRIBE. */
struct mqtt_subscribe {
    uint16_t packet_id;
    uint32_t count;          /* of filters, at least one */
    struct pl_bytes filters; /* checked; see pl_mqtt_next_filter */
    struct mqtt_properties properties;
};

/* SUBACK and UNSUBACK. */
struct mqtt_suback {
    uint16_t packet_id;
    struct pl_bytes codes; /* one byte per filter; UNSUBACK before version 5 has none */
    struct mqtt_properties properties;
};

/* DISCONNECT and AUTH. */
struct mqtt_disconnect {
    uint8_t reason;
    struct mqtt_properties properties;
};

/*
 * Reads MQTT's variable byte integer (MQTT 5.0, section 1.5.5): 7 bits a byte, low bits first.
 *
 * in        borrowed; need not hold the whole number
 * out_used  bytes that the number took, 1 to 4
 *
 * PL_NEED_MORE: a prefix of a valid number. PL_MALFORMED: a fifth byte, or longer than needed.
 */
PL_MUST_USE enum pl_err pl_mqtt_read_length(
    struct pl_bytes in, uint32_t *out_len, size_t *out_used);
/* Bytes that it takes: 1 to 4. */
static inline uint32_t pl_mqtt_length_size(uint32_t len)
{
    return len < 128 ? 1 : len < 16384 ? 2 : len < 2097152 ? 3 : 4;
}
/* Writes it and returns where it ends. */
static inline uint8_t *pl_mqtt_put_length(uint8_t *at, uint32_t len)
{
    for (; len >= 128; len >>= 7)
        *at++ = (uint8_t)(len | 128);
    *at++ = (uint8_t)len;
    return at;
}

/* The first bytes of a packet. PL_MALFORMED: a bad length. Type and flags are not judged. */
PL_MUST_USE enum pl_err pl_mqtt_read_fixed(struct pl_bytes in, struct mqtt_fixed *out);
/* Type and flags are what this version allows. */
bool pl_mqtt_flags_are_valid(uint8_t version, const struct mqtt_fixed *fixed);
/* A reason code that this packet may carry (version 5). */
bool pl_mqtt_reason_is_valid(enum mqtt_type type, uint8_t reason);
/* UTF-8 without U+0000. */
bool pl_mqtt_text_is_valid(struct pl_bytes text);

/*
 * PL_UNSUPPORTED: a protocol name or level that we do not know; out->version is that level if the
 * name was right, else 0.
 */
PL_MUST_USE enum pl_err pl_mqtt_decode_connect(
    struct pl_bytes body, struct mqtt_connect *out, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_mqtt_decode_connack(
    uint8_t version, struct pl_bytes body, struct mqtt_connack *out, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_mqtt_decode_publish(uint8_t version, uint8_t flags, struct pl_bytes body,
    struct mqtt_publish *out, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_mqtt_decode_ack(uint8_t version, enum mqtt_type type,
    struct pl_bytes body, struct mqtt_ack *out, struct pl_diag *diag);
/* SUBSCRIBE or UNSUBSCRIBE. */
PL_MUST_USE enum pl_err pl_mqtt_decode_subscribe(uint8_t version, enum mqtt_type type,
    struct pl_bytes body, struct mqtt_subscribe *out, struct pl_diag *diag);
/* SUBACK or UNSUBACK. */
PL_MUST_USE enum pl_err pl_mqtt_decode_suback(uint8_t version, enum mqtt_type type,
    struct pl_bytes body, struct mqtt_suback *out, struct pl_diag *diag);
/* DISCONNECT or AUTH. */
PL_MUST_USE enum pl_err pl_mqtt_decode_disconnect(uint8_t version, enum mqtt_type type,
    struct pl_bytes body, struct mqtt_disconnect *out, struct pl_diag *diag);

/* The next filter of a decoded packet; *at is 0 at the beginning. False: that was all. */
bool pl_mqtt_next_filter(const struct mqtt_subscribe *packet, uint8_t version, enum mqtt_type type,
    size_t *at, struct mqtt_filter *out);
/* The next user property, or subscription identifier, of a decoded block. */
bool pl_mqtt_next_user(const struct mqtt_properties *p, size_t *at, struct pl_header *out);
bool pl_mqtt_next_subscription_id(const struct mqtt_properties *p, size_t *at, uint32_t *out);

/*
 * Reads a length and that many bytes of properties that stand in a packet of type `where`. *at
 * moves behind them.
 */
PL_MUST_USE enum pl_err pl_mqtt_read_properties(const uint8_t **at, const uint8_t *end,
    enum mqtt_type where, struct mqtt_properties *out, struct pl_diag *diag);
/* Bytes of the properties without their length; UINT32_MAX: a text is too long. */
uint32_t pl_mqtt_properties_size(const struct mqtt_properties *p);
/* Writes the length (`size`, from the function above) and the properties. */
uint8_t *pl_mqtt_put_properties(uint8_t *at, const struct mqtt_properties *p, uint32_t size);

void pl_mqtt_encode_connect(struct pl_writer *w, const struct mqtt_connect *packet);
void pl_mqtt_encode_connack(
    struct pl_writer *w, uint8_t version, const struct mqtt_connack *packet);
void pl_mqtt_encode_publish(
    struct pl_writer *w, uint8_t version, const struct mqtt_publish *packet);
void pl_mqtt_encode_ack(
    struct pl_writer *w, uint8_t version, enum mqtt_type type, const struct mqtt_ack *packet);
/* filters: packet->count of them; packet->filters is not looked at. */
void pl_mqtt_encode_subscribe(struct pl_writer *w, uint8_t version, enum mqtt_type type,
    const struct mqtt_subscribe *packet, const struct mqtt_filter *filters);
void pl_mqtt_encode_suback(
    struct pl_writer *w, uint8_t version, enum mqtt_type type, const struct mqtt_suback *packet);
void pl_mqtt_encode_disconnect(struct pl_writer *w, uint8_t version, enum mqtt_type type,
    const struct mqtt_disconnect *packet);
/* PINGREQ and PINGRESP. */
void pl_mqtt_encode_ping(struct pl_writer *w, enum mqtt_type type);

#endif
