/*
 * MQTT's words ↔ the core's: topics and subjects, filters and patterns, properties and messages.
 */
#ifndef PL_PROTOCOLS_MQTT_TRANSLATE_H
#define PL_PROTOCOLS_MQTT_TRANSLATE_H

#include "core/history.h"
#include "core/pattern.h"
#include "protocols/mqtt/mqtt_packet.h"

extern const struct pl_escape_rules pl_mqtt_escape_rules;

/* User properties of an answer: the name of an error; "true": more answers follow. */
#define MQTT_ERROR    "parley-error"
#define MQTT_PROGRESS "parley-progress"
/* Who published, where that is to be told. */
#define MQTT_USER "parley-user"
#define MQTT_ROLE "parley-role"

/*
 * The subject that a topic name means, in arena memory. PL_BAD_NAME: wildcards, control bytes,
 * non-characters or nothing; PL_MALFORMED: not UTF-8, or U+0000; PL_NO_MEMORY.
 */
PL_MUST_USE enum pl_err pl_mqtt_topic_decode(
    struct pl_arena *arena, struct pl_bytes topic, struct pl_bytes *out_subject);
/* True if the topic of this subject is the subject with '.' and '/' swapped: same length, no
 * escapes. Then pl_mqtt_put_swapped writes it. */
bool pl_mqtt_subject_is_simple(struct pl_bytes subject);
uint8_t *pl_mqtt_put_swapped(uint8_t *at, struct pl_bytes subject);
/* The topic of any subject; in arena memory, or the subject itself. */
PL_MUST_USE enum pl_err pl_mqtt_topic_encode(
    struct pl_arena *arena, struct pl_bytes subject, struct pl_bytes *out_topic);

struct mqtt_filter_parts {
    struct pl_bytes group;  /* of $share/group/filter; empty: not shared */
    struct pl_bytes filter; /* what stands behind it */
    bool has_wildcard;
};

/* Takes a filter apart. PL_BAD_NAME: the standard's grammar is broken (MQTT 5.0, 4.7 and 4.8.2). */
PL_MUST_USE enum pl_err pl_mqtt_filter_split(struct pl_bytes text, struct mqtt_filter_parts *out);
/* PL_BAD_NAME: control bytes or non-characters; PL_LIMIT: too many levels; PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_mqtt_filter_decode(
    struct pl_arena *arena, const struct mqtt_filter_parts *parts, struct pl_pattern **out_pattern);

/*
 * Fills the draft's reply, format and properties from a PUBLISH' or a will's. Arena memory, and
 * texts of the packet. With an error *out_reason is MQTT 5's for it.
 */
PL_MUST_USE enum pl_err pl_mqtt_take_properties(struct pl_arena *arena,
    const struct mqtt_properties *p, uint64_t now_ms, uint32_t user_properties_max,
    struct pl_message *draft, uint8_t *out_reason);

/*
 * How a message looks to whom it is delivered: a subscription's form (bits 0 to 40), and what one
 * delivery adds. 0 is no look.
 */
enum mqtt_look {
    MQTT_LOOK_OLD = 1,      /* 3.1, 3.1.1 */
    MQTT_LOOK_5 = 2,        /* 5.0 */
    MQTT_LOOK_QOS = 3 << 2, /* the most that was granted; shifted by MQTT_LOOK_QOS_SHIFT */
    MQTT_LOOK_AS_PUBLISHED = 1 << 4,
    MQTT_LOOK_CURSOR = 1 << 5,
    MQTT_LOOK_RETAINED =
        1 << 6, /* of a delivery: what was retained is sent to a new subscription */
    MQTT_LOOK_QOS_SHIFT = 2,
    MQTT_LOOK_ID_SHIFT = 8, /* 28 bits: the subscription identifier, 0: none */
};

struct mqtt_delivery {
    uint64_t look;
    uint16_t packet_id;
    uint16_t alias;  /* 0: none */
    bool omit_topic; /* the alias stands for it */
    bool dup;
    uint64_t epoch; /* of the realm's log, for cursors */
    uint64_t now_ms;
};

static inline uint8_t pl_mqtt_look_qos(uint64_t look, const struct pl_message *m)
{
    uint8_t max = (uint8_t)((look & MQTT_LOOK_QOS) >> MQTT_LOOK_QOS_SHIFT);
    return m->qos < max ? m->qos : max;
}

/* Appends the PUBLISH of a message. PL_TOO_LARGE: this message has no PUBLISH; the writer keeps
 * what it had. Other failures are the writer's. */
PL_MUST_USE enum pl_err pl_mqtt_encode_message(
    struct pl_writer *w, const struct pl_message *m, const struct mqtt_delivery *d);

#endif
