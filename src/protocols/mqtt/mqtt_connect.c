/*
 * From CONNECT to CONNACK:
 *
 *     CONNECT     checked; a session is made; login is asked for; the link waits
 *     login       refused: CONNACK says so. Else the client id is claimed
 *     claim       this session stands under the name, or an older one goes on: CONNACK,
 *                 retransmission, and the link reads on
 *
 * A client need not wait for our CONNACK (MQTT 5.0, section 3.1.4): what it has sent meanwhile
 * stays in the connection's buffer.
 */
#include "protocols/mqtt/mqtt_session.h"

#include <sys/random.h>

#include "base/alloc.h"
#include "base/text.h"

enum { NAME_RANDOM = 8, RESPONSE_RANDOM = 16 };

static uint8_t return_code_of(uint8_t reason)
{
    switch (reason) {
    case MQTT_UNSUPPORTED_VERSION:
        return MQTT_REFUSED_VERSION;
    case MQTT_BAD_CLIENT_ID:
        return MQTT_REFUSED_CLIENT_ID;
    case MQTT_BAD_USER_OR_PASSWORD:
        return MQTT_REFUSED_LOGIN;
    case MQTT_NOT_AUTHORIZED:
    case MQTT_BANNED:
        return MQTT_REFUSED_AUTHORIZATION;
    case MQTT_MALFORMED_PACKET:
    case MQTT_PROTOCOL_ERROR:
    case MQTT_TOPIC_NAME_INVALID:
        return MQTT_ACCEPTED; /* 3.1.1 has no word for it: closed without an answer */
    default:
        return MQTT_REFUSED_UNAVAILABLE;
    }
}

enum pl_err pl_mqtt_refuse(struct mqtt_link *l, enum pl_err err, uint8_t reason, const char *text)
{
    struct mqtt_connack packet = {.code = reason};
    uint8_t code = return_code_of(reason);
    if (pl_mqtt_is_5(l) || code != MQTT_ACCEPTED) {
        struct pl_bytes words = pl_bytes_text(text);
        if (pl_mqtt_is_5(l) && l->packet_max_out >= words.len + 16)
            MQTT_SET(&packet.properties, reason_string, words);
        if (!pl_mqtt_is_5(l))
            packet.code = code;
        struct pl_writer w = pl_writer_begin(l->link.out);
        pl_mqtt_encode_connack(&w, l->version, &packet);
        if (!pl_mqtt_send(l, &w))
            return err;
    }
    return pl_mqtt_fail(l, err, reason, text);
}

static enum pl_err refuse_diag(struct mqtt_link *l, enum pl_err err, const struct pl_diag *diag)
{
    return pl_mqtt_refuse(l, err, (uint8_t)diag->code, diag->text);
}

/* A level that we do not know is answered in the words of the next older version that we do. A
 * bridge's private level (bit 7) tries again with the public one then. */
static enum pl_err refuse_version(
    struct mqtt_link *l, enum pl_err err, uint8_t level, const struct pl_diag *diag)
{
    if (!level)
        return pl_mqtt_fail_diag(l, err, diag);
    l->version = level > MQTT_5 && level < 0x80 ? MQTT_5 : MQTT_3_1_1;
    return refuse_diag(l, err, diag);
}

static enum pl_err check_will(struct mqtt_link *l, const struct mqtt_connect *packet)
{
    const struct pl_mqtt_options *options = pl_mqtt_options_of(l);
    if (!packet->has_will)
        return PL_OK;
    if (packet->will_qos > options->qos_max)
        return pl_mqtt_refuse(l, PL_UNSUPPORTED, MQTT_QOS_NOT_SUPPORTED, "the QoS of the will");
    if (packet->will_retain && !options->retain_available)
        return pl_mqtt_refuse(l, PL_UNSUPPORTED, MQTT_RETAIN_NOT_SUPPORTED, "the will is retained");
    return PL_OK;
}

static enum pl_err check_connect(struct mqtt_link *l, const struct mqtt_connect *packet)
{
    if (MQTT_HAS(&packet->properties, auth_method))
        return pl_mqtt_refuse(
            l, PL_UNSUPPORTED, MQTT_BAD_AUTH_METHOD, "enhanced authentication is not offered");
    bool needs_id =
        packet->version == MQTT_3_1 || (packet->version == MQTT_3_1_1 && !packet->clean_start);
    if (!packet->client_id.len && needs_id)
        return pl_mqtt_refuse(l, PL_PROTOCOL, MQTT_BAD_CLIENT_ID, "an empty client id");
    if (packet->client_id.len > pl_mqtt_options_of(l)->client_id_max)
        return pl_mqtt_refuse(l, PL_TOO_LARGE, MQTT_BAD_CLIENT_ID, "the client id is too long");
    return check_will(l, packet);
}

/* What the link keeps of a CONNECT. */
static void take_limits(struct mqtt_link *l, const struct mqtt_connect *packet)
{
    const struct pl_mqtt_options *options = pl_mqtt_options_of(l);
    const struct mqtt_properties *p = &packet->properties;
    l->quota_max = options->inflight_max;
    l->keep_alive_s = packet->keep_alive_s;
    if (packet->version != MQTT_5)
        return;
    if (MQTT_HAS(p, receive_max) && p->receive_max < l->quota_max)
        l->quota_max = (uint16_t)p->receive_max;
    if (MQTT_HAS(p, packet_max))
        l->packet_max_out = p->packet_max;
    if (MQTT_HAS(p, topic_alias_max))
        l->alias_out_max = (uint16_t)(p->topic_alias_max < options->topic_alias_out_max
                                          ? p->topic_alias_max
                                          : options->topic_alias_out_max);
    if (MQTT_HAS(p, request_problem))
        l->wants_problems = p->request_problem;
}

/* Digits that nobody can guess; false: the system has none. */
static bool random_hex(size_t count, char *out)
{
    uint8_t random[RESPONSE_RANDOM];
    if (getrandom(random, count, 0) != (ssize_t)count)
        return false;
    pl_hex_encode(pl_bytes_of(random, count), out);
    return true;
}

static struct mqtt_connecting *new_connecting(
    struct mqtt_link *l, const struct mqtt_connect *packet)
{
    const struct pl_mqtt_options *options = pl_mqtt_options_of(l);
    const struct mqtt_properties *p = &packet->properties;
    char assigned[5 + 2 * NAME_RANDOM];
    struct pl_bytes name = packet->client_id;
    if (!name.len) {
        memcpy(assigned, "auto-", 5);
        if (!random_hex(NAME_RANDOM, assigned + 5))
            return NULL;
        name = pl_bytes_of(assigned, sizeof assigned);
    }
    struct mqtt_connecting *c = pl_zalloc(sizeof *c + name.len);
    if (!c)
        return NULL;
    memcpy(c->name, name.data, name.len);
    c->name_len = (uint16_t)name.len;
    c->is_id_assigned = !packet->client_id.len;
    c->clean = packet->clean_start;
    c->expiry_s = packet->clean_start ? 0 : UINT32_MAX;
    if (packet->version == MQTT_5) {
        c->expiry_s = MQTT_HAS(p, session_expiry) ? p->session_expiry : 0;
        c->wants_response_information = MQTT_HAS(p, request_response) && p->request_response;
    }
    if (c->expiry_s > options->session_expiry_max_s) {
        c->expiry_s = options->session_expiry_max_s;
        c->is_expiry_told = true;
    }
    uint16_t keep_alive_max_s = options->keep_alive_max_s;
    if (keep_alive_max_s && packet->version == MQTT_5 &&
        (!packet->keep_alive_s || packet->keep_alive_s > keep_alive_max_s)) {
        l->keep_alive_s = keep_alive_max_s;
        c->is_keep_alive_told = true;
    }
    return c;
}

static enum pl_err take_will(struct mqtt_link *l, const struct mqtt_connect *packet,
    struct mqtt_connecting *c, uint8_t *out_reason)
{
    struct pl_arena arena = {0};
    const struct mqtt_properties *p = &packet->will_properties;
    struct pl_message draft = {
        .payload = packet->will_payload, .qos = packet->will_qos, .retain = packet->will_retain};
    *out_reason = MQTT_TOPIC_NAME_INVALID;
    enum pl_err err = pl_mqtt_topic_decode(&arena, packet->will_topic, &draft.subject);
    if (!err && packet->version == MQTT_5) {
        err = pl_mqtt_take_properties(&arena, p, l->link.worker->now_ms,
            pl_mqtt_options_of(l)->user_properties_max, &draft, out_reason);
        c->will_delay_ms = MQTT_HAS(p, will_delay) ? (uint64_t)p->will_delay * 1000 : 0;
        c->will_expiry_ms = MQTT_HAS(p, message_expiry) ? (uint64_t)p->message_expiry * 1000 : 0;
    }
    if (!err) {
        c->will = pl_message_keep(&draft);
        pl_message_done(&draft);
        err = c->will ? PL_OK : PL_NO_MEMORY;
    }
    if (err == PL_NO_MEMORY)
        *out_reason = MQTT_SERVER_UNAVAILABLE;
    pl_arena_done(&arena);
    return err;
}

static void ask_login(
    struct mqtt_link *l, struct mqtt_session *s, const struct mqtt_connect *packet)
{
    struct pl_credentials shown = {
        .has_user = packet->has_user,
        .has_password = packet->has_password,
        .user = packet->user,
        .password = packet->password,
        .address = l->link.address,
        .protocol = pl_mqtt_protocol.name,
        .listener = l->link.config->listener,
        .is_ambient_allowed = l->link.is_ambient_allowed,
    };
    if (!packet->has_password) {
        shown.token = pl_link_request_token(&l->link);
        shown.has_token = shown.token.len > 0;
    }
    l->state = MQTT_CONNECTING;
    l->link.is_waiting = true;
    pl_session_login(&s->core, &shown, 0);
}

static enum pl_err begin(struct mqtt_link *l, const struct mqtt_connect *packet)
{
    struct mqtt_session *s = pl_zalloc(sizeof *s);
    struct mqtt_connecting *c = s ? new_connecting(l, packet) : NULL;
    if (!c) {
        pl_free(s);
        return pl_mqtt_refuse(l, PL_NO_MEMORY, MQTT_SERVER_UNAVAILABLE, "out of memory");
    }
    uint8_t reason = MQTT_TOPIC_NAME_INVALID;
    enum pl_err err = packet->has_will ? take_will(l, packet, c, &reason) : PL_OK;
    if (err) {
        pl_free(c);
        pl_free(s);
        return pl_mqtt_refuse(l, err, reason, "the will is not acceptable");
    }
    pl_session_init(&s->core, &pl_mqtt_session_ops, l->link.worker, l->link.out);
    s->connecting = c;
    s->options = pl_mqtt_options_of(l);
    s->link = l;
    l->session = s;
    l->link.session = &s->core;
    ask_login(l, s, packet);
    return PL_OK;
}

enum pl_err pl_mqtt_on_connect(struct mqtt_link *l, struct pl_bytes body)
{
    struct mqtt_connect packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_connect(body, &packet, &diag);
    if (err == PL_UNSUPPORTED)
        return refuse_version(l, err, packet.version, &diag);
    l->version = packet.version;
    if (err)
        return packet.version == MQTT_5 ? refuse_diag(l, err, &diag)
                                        : pl_mqtt_fail_diag(l, err, &diag);
    take_limits(l, &packet);
    err = check_connect(l, &packet);
    return err ? err : begin(l, &packet);
}

/* ---- answers of the core ---- */

static uint8_t refusal_of(enum pl_err err)
{
    switch (err) {
    case PL_BAD_LOGIN:
    case PL_EXPIRED:
        return MQTT_BAD_USER_OR_PASSWORD;
    case PL_DENIED:
    case PL_REVOKED:
        return MQTT_NOT_AUTHORIZED;
    case PL_LIMIT:
        return MQTT_QUOTA_EXCEEDED;
    default: /* whatever else keeps the server from serving this one */
        return MQTT_SERVER_UNAVAILABLE;
    }
}

static enum pl_err check_rights_of_will(struct mqtt_session *s, const struct pl_message *will)
{
    const struct pl_realm_limits *limits = pl_realm_limits(s->core.realm);
    if (!pl_identity_may_publish(s->core.identity, will->subject))
        return PL_DENIED;
    if (will->payload.len > limits->payload_max || will->subject.len > limits->subject_max)
        return PL_TOO_LARGE;
    return PL_OK;
}

void pl_mqtt_on_login(struct mqtt_session *s, const struct pl_completion *done)
{
    struct mqtt_link *l = s->link;
    struct mqtt_connecting *c = s->connecting;
    if (!l)
        return; /* the connection is gone; PL_DONE_LEAVE comes */
    if (done->err) {
        (void)pl_mqtt_refuse(l, done->err, refusal_of(done->err), pl_err_text(done->err));
        return;
    }
    enum pl_err err = c->will ? check_rights_of_will(s, c->will) : PL_OK;
    if (err) {
        uint8_t reason = err == PL_DENIED ? MQTT_NOT_AUTHORIZED : MQTT_PACKET_TOO_LARGE;
        (void)pl_mqtt_refuse(l, err, reason, "the will may not be published");
        return;
    }
    struct pl_claim claim = {
        .name = pl_bytes_of(c->name, c->name_len),
        .clean = c->clean,
        .expiry_ms = c->expiry_s == UINT32_MAX ? PL_NEVER : (uint64_t)c->expiry_s * 1000,
        .will = c->will,
        .will_delay_ms = c->will_delay_ms,
        .will_expiry_ms = c->will_expiry_ms,
    };
    c->will = NULL;
    pl_session_claim(&s->core, &claim, 0);
}

static void tell_limits(
    struct mqtt_link *l, const struct mqtt_connecting *c, struct mqtt_properties *p)
{
    const struct pl_mqtt_options *options = pl_mqtt_options_of(l);
    if (c->is_expiry_told)
        MQTT_SET(p, session_expiry, c->expiry_s);
    if (options->receive_max < UINT16_MAX)
        MQTT_SET(p, receive_max, options->receive_max);
    if (options->qos_max < 2)
        MQTT_SET(p, qos_max, options->qos_max);
    if (!options->retain_available)
        MQTT_SET(p, retain_available, 0);
    MQTT_SET(p, packet_max, l->link.config->packet_max);
    if (c->is_id_assigned)
        MQTT_SET(p, assigned_client_id, pl_bytes_of(c->name, c->name_len));
    if (options->topic_alias_max)
        MQTT_SET(p, topic_alias_max, options->topic_alias_max);
    if (!options->wildcard_available)
        MQTT_SET(p, wildcard_available, 0);
    if (!options->subscription_id_available)
        MQTT_SET(p, subscription_id_available, 0);
    if (!options->shared_available)
        MQTT_SET(p, shared_available, 0);
    if (c->is_keep_alive_told)
        MQTT_SET(p, server_keep_alive, l->keep_alive_s);
}

/* False: it could not be sent and the link is broken. */
static bool write_connack(struct mqtt_link *l, const struct mqtt_connecting *c, bool is_resumed)
{
    struct mqtt_connack packet = {.session_present = is_resumed};
    char topic[7 + 2 * RESPONSE_RANDOM] = "_INBOX/";
    if (pl_mqtt_is_5(l)) {
        tell_limits(l, c, &packet.properties);
        /* A subject of its own, under which nobody else hears the answers. */
        if (c->wants_response_information && random_hex(RESPONSE_RANDOM, topic + 7))
            MQTT_SET(&packet.properties, response_information, pl_bytes_of(topic, sizeof topic));
    }
    struct pl_writer w = pl_writer_begin(l->link.out);
    pl_mqtt_encode_connack(&w, l->version, &packet);
    return pl_mqtt_send(l, &w);
}

static void give_link(struct mqtt_session *s, struct mqtt_link *l, bool is_expiring)
{
    PL_ASSERT(!s->link || s->link == l); /* an older one was ended before */
    s->link = l;
    s->core.out = l->link.out;
    s->core.about = l->link.session ? l->link.session->about : s->core.about;
    s->options = pl_mqtt_options_of(l);
    s->is_expiring = is_expiring;
    s->generation++;
    l->session = s;
    l->link.session = &s->core;
    l->quota = l->quota_max;
    l->receive_open = 0;
    l->takes_frames = l->packet_max_out == UINT32_MAX && !l->alias_out_max;
    l->state = MQTT_CONNECTED;
}

void pl_mqtt_on_claim(struct mqtt_session *s, const struct pl_completion *done)
{
    struct mqtt_link *l = s->link;
    struct mqtt_session *now = PL_CONTAINER(done->session, struct mqtt_session, core);
    if (!l)
        return; /* the connection is gone; PL_DONE_LEAVE comes */
    if (done->err) {
        (void)pl_mqtt_refuse(l, done->err, refusal_of(done->err), pl_err_text(done->err));
        return;
    }
    struct mqtt_connecting *c = s->connecting;
    s->connecting = NULL;
    give_link(now, l, c->expiry_s != 0);
    bool is_written = write_connack(l, c, done->is_resumed);
    pl_free(c);
    if (now != s) {
        pl_session_done(&s->core);
        pl_free(s);
    }
    if (is_written)
        pl_mqtt_flow_resume(now);
    if (l->state != MQTT_CONNECTED)
        return;
    l->link.is_waiting = false;
    l->link.host->resume(&l->link);
}

void pl_mqtt_connecting_free(struct mqtt_session *s)
{
    if (!s->connecting)
        return;
    pl_message_unref(s->connecting->will);
    pl_free(s->connecting);
    s->connecting = NULL;
}
