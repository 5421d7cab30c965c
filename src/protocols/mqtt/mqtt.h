/*
 * MQTT 3.1, 3.1.1 and 5.0 as a protocol of the server (protocols/protocol.h).
 *
 * A topic is a subject in which '/' and '.' changed places; core/subject.h has the escapes.
 */
#ifndef PL_PROTOCOLS_MQTT_H
#define PL_PROTOCOLS_MQTT_H

#include "protocols/protocol.h"

/* What pl_link_config.options points to; NULL means pl_mqtt_options_default. */
struct pl_mqtt_options {
    uint16_t receive_max;          /* open QoS 1 and 2 messages that a client may send us, 1 up */
    uint16_t inflight_max;         /* and that we send to a client, whatever more it allows, 1 up */
    uint32_t queue_count_max;      /* QoS 1 and 2 messages that wait for one session … */
    uint64_t queue_bytes_max;      /* … and their bytes; what comes when it is full is dropped */
    uint16_t topic_alias_max;      /* aliases that a client may set; 0: none */
    uint16_t topic_alias_out_max;  /* aliases that we set, if the client takes them; 0: none */
    uint32_t session_expiry_max_s; /* longest session expiry; UINT32_MAX: for ever */
    uint16_t keep_alive_max_s;     /* longest keep-alive; 0: a client may choose, and none too */
    uint16_t client_id_max;        /* bytes */
    uint32_t user_properties_max;  /* of one message */
    uint8_t qos_max;               /* 0, 1, 2 */
    bool retain_available;
    bool wildcard_available;
    bool subscription_id_available;
    bool shared_available;
};

extern const struct pl_mqtt_options pl_mqtt_options_default;
extern const struct pl_protocol pl_mqtt_protocol;

#endif
