#include "protocols/mqtt/mqtt_session.h"

#include "base/alloc.h"

const struct pl_mqtt_options pl_mqtt_options_default = {
    .receive_max = UINT16_MAX, /* we answer at the end of each turn; popular clients do not count */
    .inflight_max = 512,
    .queue_count_max = 100000,
    .queue_bytes_max = 16 * 1024 * 1024,
    .topic_alias_max = 32,
    .topic_alias_out_max = 32,
    .session_expiry_max_s = UINT32_MAX,
    .keep_alive_max_s = 0,
    .client_id_max = 1024,
    .user_properties_max = 256,
    .qos_max = 2,
    .retain_available = true,
    .wildcard_available = true,
    .subscription_id_available = true,
    .shared_available = true,
};

enum { LOGIN_LOOK_MS = 1000, STALLED_LOOK_MS = 1000 };

static struct mqtt_link *link_of(struct pl_link *link)
{
    return PL_CONTAINER(link, struct mqtt_link, link);
}

bool pl_mqtt_send(struct mqtt_link *l, struct pl_writer *w)
{
    if (!pl_writer_end(w))
        return true;
    pl_mqtt_broken(l);
    return false;
}

static void write_disconnect(struct mqtt_link *l, uint8_t reason, const char *text)
{
    struct mqtt_disconnect packet = {.reason = reason};
    if (text && pl_mqtt_text_is_valid(pl_bytes_text(text)))
        MQTT_SET(&packet.properties, reason_string, pl_bytes_text(text));
    struct pl_writer w = pl_writer_begin(l->link.out);
    pl_mqtt_encode_disconnect(&w, MQTT_5, MQTT_DISCONNECT, &packet);
    if (w.len > l->packet_max_out) {
        w.len = 0;
        packet.properties = (struct mqtt_properties){0};
        pl_mqtt_encode_disconnect(&w, MQTT_5, MQTT_DISCONNECT, &packet);
    }
    if (pl_writer_end(&w))
        return; /* no memory for a goodbye; the transport closes anyway */
}

void pl_mqtt_goodbye(struct mqtt_link *l, enum pl_err err, uint8_t reason, const char *text)
{
    if (l->state == MQTT_CLOSED)
        return;
    if (l->state == MQTT_CONNECTED && pl_mqtt_is_5(l))
        write_disconnect(l, reason, text);
    l->state = MQTT_CLOSED;
    struct pl_diag diag;
    pl_diag_set(&diag, reason, "%s", text ? text : "");
    l->link.host->close(&l->link, err, text ? &diag : NULL);
}

void pl_mqtt_part(struct mqtt_link *l, bool publish_will)
{
    struct mqtt_session *s = l->session;
    if (!s)
        return;
    bool has_joined = !s->connecting;
    l->session = NULL;
    l->link.session = NULL;
    s->link = NULL;
    if (has_joined)
        pl_mqtt_mark(s, true);
    if (has_joined)
        pl_session_detach(&s->core, publish_will);
    else
        pl_session_leave(&s->core, publish_will);
}

enum pl_err pl_mqtt_fail(struct mqtt_link *l, enum pl_err err, uint8_t reason, const char *text)
{
    pl_mqtt_goodbye(l, err, reason, text);
    pl_mqtt_part(l, true);
    return err;
}

enum pl_err pl_mqtt_fail_diag(struct mqtt_link *l, enum pl_err err, const struct pl_diag *diag)
{
    return pl_mqtt_fail(l, err, (uint8_t)diag->code, diag->text);
}

void pl_mqtt_broken(struct mqtt_link *l)
{
    /* A goodbye would stand behind half a packet. */
    if (l->state != MQTT_CLOSED) {
        l->state = MQTT_CLOSED;
        l->link.host->close(&l->link, PL_NO_MEMORY, NULL);
    }
    pl_mqtt_part(l, true);
}

static enum pl_sniff sniff(struct pl_bytes first)
{
    struct mqtt_fixed fixed;
    if (first.len && first.data[0] != MQTT_CONNECT << 4)
        return PL_SNIFF_NO;
    enum pl_err err = pl_mqtt_read_fixed(first, &fixed);
    if (err == PL_NEED_MORE)
        return PL_SNIFF_MORE;
    if (err)
        return PL_SNIFF_NO;
    struct pl_bytes body = pl_bytes_from(first, fixed.size);
    struct pl_bytes names[] = {PL_BYTES("\0\4MQTT"), PL_BYTES("\0\6MQIsdp")};
    for (size_t i = 0; i < 2; i++) {
        if (pl_bytes_starts(body, names[i]))
            return PL_SNIFF_YES;
        if (pl_bytes_starts(names[i], body))
            return PL_SNIFF_MORE;
    }
    return PL_SNIFF_NO;
}

static enum pl_err open(struct pl_link *link)
{
    struct mqtt_link *l = link_of(link);
    l->last_receive_ms = link->worker->now_ms;
    l->packet_max_out = UINT32_MAX;
    l->wants_problems = true;
    return PL_OK;
}

static enum pl_err on_disconnect(struct mqtt_link *l, struct pl_bytes body)
{
    struct mqtt_disconnect packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_disconnect(l->version, MQTT_DISCONNECT, body, &packet, &diag);
    if (err)
        return pl_mqtt_fail_diag(l, err, &diag);
    struct mqtt_session *s = l->session;
    PL_ASSERT(s); /* Nothing is read between CONNECT and its CONNACK. */
    if (MQTT_HAS(&packet.properties, session_expiry)) {
        /* MQTT 5.0, section 3.14.2.2.2: what was to end with its connection cannot be kept now. */
        if (!s->is_expiring && packet.properties.session_expiry)
            return pl_mqtt_fail(l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR,
                "a session expiry at the end of a session that has none");
        uint32_t expiry_s = packet.properties.session_expiry;
        if (expiry_s > s->options->session_expiry_max_s)
            expiry_s = s->options->session_expiry_max_s;
        pl_session_set_expiry(
            &s->core, expiry_s == UINT32_MAX ? PL_NEVER : (uint64_t)expiry_s * 1000);
        s->is_expiring = expiry_s != 0;
    }
    l->state = MQTT_CLOSED;
    l->link.host->close(&l->link, PL_OK, NULL);
    pl_mqtt_part(l, packet.reason != MQTT_SUCCESS);
    return PL_OK;
}

static enum pl_err on_ping(struct mqtt_link *l, struct pl_bytes body)
{
    if (body.len && l->version != MQTT_3_1)
        return pl_mqtt_fail(l, PL_MALFORMED, MQTT_MALFORMED_PACKET, "a PINGREQ with a body");
    struct pl_writer w = pl_writer_begin(l->link.out);
    pl_mqtt_encode_ping(&w, MQTT_PINGRESP);
    (void)pl_mqtt_send(l, &w);
    return PL_OK;
}

static enum pl_err on_packet(struct mqtt_link *l, const struct mqtt_fixed *fixed,
    struct pl_bytes body, struct pl_shared *buffer)
{
    if (l->state == MQTT_NEW) {
        if (fixed->flags)
            return pl_mqtt_fail(l, PL_MALFORMED, MQTT_MALFORMED_PACKET, "reserved flags are set");
        return pl_mqtt_on_connect(l, body);
    }
    if (!pl_mqtt_flags_are_valid(l->version, fixed))
        return pl_mqtt_fail(l, PL_MALFORMED, MQTT_MALFORMED_PACKET, "a bad fixed header");
    switch ((enum mqtt_type)fixed->type) {
    case MQTT_PUBLISH:
        return pl_mqtt_on_publish(l, fixed->flags, body, buffer);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
        return pl_mqtt_on_ack(l, (enum mqtt_type)fixed->type, body);
    case MQTT_PUBREL:
        return pl_mqtt_on_pubrel(l, body);
    case MQTT_SUBSCRIBE:
        return pl_mqtt_on_subscribe(l, body);
    case MQTT_UNSUBSCRIBE:
        return pl_mqtt_on_unsubscribe(l, body);
    case MQTT_PINGREQ:
        return on_ping(l, body);
    case MQTT_DISCONNECT:
        return on_disconnect(l, body);
    case MQTT_CONNECT:
        return pl_mqtt_fail(l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "a second CONNECT");
    case MQTT_AUTH:
        return pl_mqtt_fail(
            l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "AUTH without an authentication method");
    case MQTT_WILL:
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP:
        break;
    }
    return pl_mqtt_fail(l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "a packet that only servers send");
}

/* One packet from the start of rest. PL_NEED_MORE: it is not whole yet. */
static enum pl_err receive_one(
    struct mqtt_link *l, struct pl_bytes rest, struct pl_shared *buffer, size_t *used)
{
    const struct pl_link_config *config = l->link.config;
    struct mqtt_fixed fixed;
    if (l->state == MQTT_NEW && rest.len && rest.data[0] >> 4 != MQTT_CONNECT)
        return pl_mqtt_fail(l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "the first packet is no CONNECT");
    enum pl_err err = pl_mqtt_read_fixed(rest, &fixed);
    if (err == PL_NEED_MORE)
        return err;
    if (err)
        return pl_mqtt_fail(l, err, MQTT_MALFORMED_PACKET, "a packet's length is malformed");
    uint32_t max = l->state == MQTT_NEW ? config->packet_max_login : config->packet_max;
    if (fixed.size + fixed.len > max)
        return pl_mqtt_fail(l, PL_TOO_LARGE, MQTT_PACKET_TOO_LARGE, "the packet is too large");
    if (rest.len - fixed.size < fixed.len)
        return PL_NEED_MORE;
    *used += fixed.size + fixed.len;
    return on_packet(l, &fixed, pl_bytes_of(rest.data + fixed.size, fixed.len), buffer);
}

static enum pl_err receive(struct pl_link *link, struct pl_input in, size_t *out_used)
{
    struct mqtt_link *l = link_of(link);
    size_t used = 0;
    enum pl_err err = PL_OK;
    l->last_receive_ms = link->worker->now_ms;
    while (!err && l->state != MQTT_CLOSED && !link->is_waiting && used < in.bytes.len)
        err = receive_one(l, pl_bytes_from(in.bytes, used), in.buffer, &used);
    if (l->session && pl_mqtt_flow_is_waiting(l->session))
        pl_mqtt_flow_pump(l->session);
    *out_used = l->state == MQTT_CLOSED ? in.bytes.len : used;
    return err == PL_NEED_MORE ? PL_OK : err;
}

static uint64_t tick(struct pl_link *link, uint64_t now_ms)
{
    struct mqtt_link *l = link_of(link);
    if (l->state == MQTT_CLOSED)
        return PL_NEVER;
    if (l->state != MQTT_CONNECTED) {
        uint64_t login_ms = link->config->login_ms;
        uint64_t due_ms = login_ms == PL_NEVER ? PL_NEVER : link->opened_ms + login_ms;
        if (now_ms >= due_ms) {
            (void)pl_mqtt_fail(l, PL_TIMEOUT, MQTT_KEEP_ALIVE_TIMEOUT, "the login took too long");
            return PL_NEVER;
        }
        /* CONNECT may bring a keep-alive that is due before the login would have been. */
        return due_ms < now_ms + LOGIN_LOOK_MS ? due_ms : now_ms + LOGIN_LOOK_MS;
    }
    uint64_t next_ms = PL_NEVER;
    if (l->keep_alive_s) {
        uint64_t due_ms = l->last_receive_ms + (uint64_t)l->keep_alive_s * 1500;
        if (now_ms >= due_ms) {
            (void)pl_mqtt_fail(l, PL_TIMEOUT, MQTT_KEEP_ALIVE_TIMEOUT, "keep-alive timed out");
            return PL_NEVER;
        }
        next_ms = due_ms;
    }
    if (l->session && pl_mqtt_flow_is_waiting(l->session)) {
        pl_mqtt_flow_pump(l->session);
        if (next_ms > now_ms + STALLED_LOOK_MS)
            next_ms = now_ms + STALLED_LOOK_MS;
    }
    if (l->session && l->session->is_expiring) {
        pl_mqtt_mark(l->session, false);
        if (next_ms > now_ms + STALLED_LOOK_MS)
            next_ms = now_ms + STALLED_LOOK_MS;
    }
    return next_ms;
}

static void drain(struct pl_link *link)
{
    (void)pl_mqtt_fail(
        link_of(link), PL_DRAINING, MQTT_SERVER_SHUTTING_DOWN, "the server is shutting down");
}

static void closed(struct pl_link *link, enum pl_err why)
{
    (void)why;
    struct mqtt_link *l = link_of(link);
    l->state = MQTT_CLOSED;
    pl_mqtt_part(l, true);
    pl_mqtt_aliases_done(l);
    pl_mqtt_aliases_out_done(l);
    pl_free(l->cache);
    l->cache = NULL;
}

static const char *const subprotocols[] = {"mqtt", "mqttv3.1", NULL};

const struct pl_protocol pl_mqtt_protocol = {
    .name = "mqtt",
    .websocket = subprotocols,
    .refuses_text = true,
    .link_size = sizeof(struct mqtt_link),
    .sniff = sniff,
    .open = open,
    .receive = receive,
    .tick = tick,
    .drain = drain,
    .closed = closed,
    .restorer = &pl_mqtt_restorer,
};
