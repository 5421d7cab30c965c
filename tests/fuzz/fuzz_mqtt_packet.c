/*
 * Any body of any packet of any version: decoded without reading beyond it, and what was decoded is
 * encoded to something that decodes to the same bytes again.
 */
#include <stdlib.h>

#include "base/output.h"
#include "protocols/mqtt/mqtt_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILTERS = 64, USERS = 64 };

union any {
    struct mqtt_connect connect;
    struct mqtt_connack connack;
    struct mqtt_publish publish;
    struct mqtt_ack ack;
    struct mqtt_subscribe subscribe;
    struct mqtt_suback suback;
    struct mqtt_disconnect disconnect;
};

static enum pl_err decode(
    uint8_t version, const struct mqtt_fixed *f, struct pl_bytes body, union any *out)
{
    struct pl_diag diag;
    enum mqtt_type type = (enum mqtt_type)f->type;
    switch (type) {
    case MQTT_CONNECT:
        return pl_mqtt_decode_connect(body, &out->connect, &diag);
    case MQTT_CONNACK:
        return pl_mqtt_decode_connack(version, body, &out->connack, &diag);
    case MQTT_PUBLISH:
        return pl_mqtt_decode_publish(version, f->flags, body, &out->publish, &diag);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return pl_mqtt_decode_ack(version, type, body, &out->ack, &diag);
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return pl_mqtt_decode_subscribe(version, type, body, &out->subscribe, &diag);
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        return pl_mqtt_decode_suback(version, type, body, &out->suback, &diag);
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        return pl_mqtt_decode_disconnect(version, type, body, &out->disconnect, &diag);
    case MQTT_WILL:
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    }
    return PL_UNSUPPORTED;
}

/* What was read of user properties is what is to be written. False: more than we keep here. */
static bool collect(struct mqtt_properties *p, struct pl_header *users)
{
    if (p->user_count > USERS || p->subscription_count > 1)
        return false;
    size_t at = 0;
    for (uint32_t i = 0; i < p->user_count; i++)
        if (!pl_mqtt_next_user(p, &at, &users[i]))
            abort();
    p->users = users;
    return true;
}

static bool encode(
    struct pl_writer *w, uint8_t version, const struct mqtt_fixed *f, union any *packet)
{
    struct pl_header users[USERS], will_users[USERS];
    struct mqtt_filter filters[FILTERS];
    enum mqtt_type type = (enum mqtt_type)f->type;
    size_t at = 0;
    switch (type) {
    case MQTT_CONNECT:
        if (!collect(&packet->connect.properties, users) ||
            !collect(&packet->connect.will_properties, will_users))
            return false;
        pl_mqtt_encode_connect(w, &packet->connect);
        return true;
    case MQTT_CONNACK:
        if (!collect(&packet->connack.properties, users))
            return false;
        pl_mqtt_encode_connack(w, version, &packet->connack);
        return true;
    case MQTT_PUBLISH:
        if (!collect(&packet->publish.properties, users))
            return false;
        pl_mqtt_encode_publish(w, version, &packet->publish);
        return true;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        if (!collect(&packet->ack.properties, users))
            return false;
        pl_mqtt_encode_ack(w, version, type, &packet->ack);
        return true;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        if (packet->subscribe.count > FILTERS || !collect(&packet->subscribe.properties, users))
            return false;
        for (uint32_t i = 0; i < packet->subscribe.count; i++)
            if (!pl_mqtt_next_filter(&packet->subscribe, version, type, &at, &filters[i]))
                abort();
        pl_mqtt_encode_subscribe(w, version, type, &packet->subscribe, filters);
        return true;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        if (!collect(&packet->suback.properties, users))
            return false;
        pl_mqtt_encode_suback(w, version, type, &packet->suback);
        return true;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        if (!collect(&packet->disconnect.properties, users))
            return false;
        pl_mqtt_encode_disconnect(w, version, type, &packet->disconnect);
        return true;
    case MQTT_WILL:
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    }
    return false;
}

static struct pl_shared *encoded(uint8_t version, const struct mqtt_fixed *fixed, union any *packet)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *out = NULL;
    bool is_written = encode(&w, version, fixed, packet);
    if (pl_writer_take(&w, &out))
        abort();
    return is_written ? out : pl_shared_unref(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    uint8_t version = (uint8_t)(3 + data[0] % 3);
    struct mqtt_fixed fixed, again;
    struct pl_bytes in = {data + 1, size - 1};
    if (pl_mqtt_read_fixed(in, &fixed) || in.len - fixed.size < fixed.len ||
        !pl_mqtt_flags_are_valid(version, &fixed))
        return 0;
    /* On the heap and of its own size, so that one byte too many is seen. */
    uint8_t *body = malloc(fixed.len + 1);
    if (!body)
        return 0;
    memcpy(body, in.data + fixed.size, fixed.len);
    union any packet;
    if (!decode(version, &fixed, pl_bytes_of(body, fixed.len), &packet)) {
        if (fixed.type == MQTT_CONNECT)
            version = packet.connect.version;
        struct pl_shared *first = encoded(version, &fixed, &packet);
        if (first) {
            union any second_packet;
            struct pl_bytes bytes = {first->data, first->len};
            if (pl_mqtt_read_fixed(bytes, &again) ||
                decode(version, &again, pl_bytes_from(bytes, again.size), &second_packet))
                abort();
            struct pl_shared *second = encoded(version, &again, &second_packet);
            if (!second || !pl_bytes_equal(bytes, pl_bytes_of(second->data, second->len)))
                abort();
            pl_shared_unref(second);
        }
        pl_shared_unref(first);
    }
    free(body);
    return 0;
}
