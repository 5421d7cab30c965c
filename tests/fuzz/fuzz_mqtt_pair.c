/*
 * Several MQTT clients at a time, on two reactors: takeover, subscribe churn, wills, retained
 * messages, acknowledgements in any order, readers that lag, time that passes. The input is a list
 * of steps of two bytes: what is done, and with what. At the end nobody may be left in the realm.
 */
#include "protocols/rig.h"

#include "protocols/mqtt/mqtt.h"
#include "protocols/mqtt/mqtt_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENTS = 4, STEPS_MAX = 400 };

struct client {
    struct rig_peer *peer;
    uint8_t version;
};

static struct rig rig;
static struct client clients[CLIENTS];

static const char *const topics[] = {"a", "a/b", "c", "w", "a/b/c", "$x/a", "%41", "caf\xc3\xa9"};
static const char *const filters[] = {"a", "#", "a/+", "+/b", "$share/g/a", "$share/g/#", "w",
    "a/#", "$share/h/+", "$x/#", "bad#", "a/b"};

static bool everybody(void *context, const struct pl_session *session)
{
    (void)context;
    (void)session;
    return true;
}

static void send_written(struct client *c, struct pl_writer *w)
{
    struct pl_shared *out = NULL;
    if (pl_writer_take(w, &out))
        abort();
    if (c->peer)
        rig_send(c->peer, out->data, out->len);
    pl_shared_unref(out);
}

static void connect(struct client *c, uint8_t how, uint32_t which)
{
    /* Places for peers are not endless: one that has closed makes room. */
    if (rig.peer_count == RIG_PEERS)
        return;
    c->peer = rig_open(&rig, &pl_mqtt_protocol, (which + how) & 1);
    c->version = how & 1 ? 5 : 4;
    struct mqtt_connect packet = {
        .version = c->version,
        .clean_start = how & 2,
        .client_id = how & 4 ? PL_BYTES("one") : PL_BYTES("two"),
        .has_will = how & 8,
        .will_topic = PL_BYTES("w"),
        .will_payload = PL_BYTES("bye"),
        .will_qos = how >> 4 & 1,
        .will_retain = how & 8 && how & 32,
    };
    if (!packet.has_will)
        packet.will_qos = 0;
    if (c->version == 5 && how & 64) {
        MQTT_SET(&packet.properties, session_expiry, 3);
        MQTT_SET(&packet.properties, receive_max, 2);
        MQTT_SET(&packet.properties, topic_alias_max, 2);
        MQTT_SET(&packet.properties, packet_max, 60);
        MQTT_SET(&packet.will_properties, will_delay, 1);
    }
    struct pl_writer w = pl_writer_new();
    pl_mqtt_encode_connect(&w, &packet);
    send_written(c, &w);
}

static void publish(struct client *c, uint8_t what)
{
    struct mqtt_publish packet = {
        .topic = pl_bytes_text(topics[what & 7]),
        .qos = (what >> 3) % 3,
        .retain = what & 64,
        .payload = what & 128 ? PL_NO_BYTES : PL_BYTES("payload"),
    };
    packet.packet_id = packet.qos ? (uint16_t)(1 + (what >> 5)) : 0;
    if (what & 32)
        MQTT_SET(&packet.properties, message_expiry, 1);
    struct pl_writer w = pl_writer_new();
    pl_mqtt_encode_publish(&w, c->version, &packet);
    send_written(c, &w);
}

static void subscribe(struct client *c, uint8_t what, bool is_away)
{
    struct mqtt_filter filter = {.text = pl_bytes_text(filters[what % 12]),
        .qos = (what >> 4) % 3,
        .retain_as_published = what & 64,
        .retain_handling = what >> 7};
    struct mqtt_subscribe packet = {.packet_id = (uint16_t)(what + 1), .count = 1};
    if (what & 32 && !is_away)
        MQTT_SET(&packet.properties, subscription_id, what);
    struct pl_writer w = pl_writer_new();
    pl_mqtt_encode_subscribe(
        &w, c->version, is_away ? MQTT_UNSUBSCRIBE : MQTT_SUBSCRIBE, &packet, &filter);
    send_written(c, &w);
}

/* Whatever stands in what it got: PUBLISH and PUBREL are answered. */
static void acknowledge(struct client *c, uint8_t what)
{
    if (!c->peer)
        return;
    struct pl_bytes got = pl_bytes_of(c->peer->got, c->peer->got_len);
    struct mqtt_fixed fixed;
    while (!pl_mqtt_read_fixed(got, &fixed) && got.len - fixed.size >= fixed.len) {
        struct pl_bytes body = pl_bytes_of(got.data + fixed.size, fixed.len);
        struct mqtt_publish publish;
        struct mqtt_ack ack = {.packet_id = 1};
        struct pl_diag diag;
        enum mqtt_type answer = MQTT_WILL;
        if (fixed.type == MQTT_PUBLISH) {
            if (pl_mqtt_decode_publish(c->version, fixed.flags, body, &publish, &diag))
                abort();
            ack.packet_id = publish.packet_id;
            answer = publish.qos == 1 ? MQTT_PUBACK : publish.qos == 2 ? MQTT_PUBREC : MQTT_WILL;
        } else if (fixed.type == MQTT_PUBREL || fixed.type == MQTT_PUBREC) {
            if (pl_mqtt_decode_ack(c->version, fixed.type, body, &ack, &diag))
                abort();
            answer = fixed.type == MQTT_PUBREL ? MQTT_PUBCOMP : MQTT_PUBREL;
            ack = (struct mqtt_ack){.packet_id = ack.packet_id};
        }
        if (answer != MQTT_WILL && what & 3) {
            struct pl_writer w = pl_writer_new();
            pl_mqtt_encode_ack(&w, c->version, answer, &ack);
            send_written(c, &w);
        }
        got = pl_bytes_from(got, fixed.size + fixed.len);
    }
    rig_clear(c->peer);
}

static void step(uint8_t op, uint8_t what)
{
    uint32_t which = op % CLIENTS;
    struct client *c = &clients[which];
    if (c->peer && c->peer->is_closed)
        c->peer = NULL;
    switch (op / CLIENTS % 12) {
    case 0:
    case 1:
        if (!c->peer)
            connect(c, what, which);
        break;
    case 2:
    case 3:
        publish(c, what);
        break;
    case 4:
        subscribe(c, what, false);
        break;
    case 5:
        subscribe(c, what, true);
        break;
    case 6:
        acknowledge(c, what);
        break;
    case 7:
        if (c->peer)
            rig_cut(c->peer);
        break;
    case 8:
        rig_pass(&rig, (uint64_t)what * 20);
        break;
    case 9:
        if (c->peer)
            rig_send(c->peer, "\xe0\0", 2);
        break;
    case 10:
        if (c->peer)
            c->peer->is_stuck = what & 1;
        break;
    case 11:
        if (c->peer)
            rig_send(c->peer, &what, 1);
        break;
    }
    /* Without a run in between, several steps stand in one turn. */
    if (op & 128)
        rig_run(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rig_init(&rig, 2);
    rig.out_max = 600;
    memset(clients, 0, sizeof clients);
    for (size_t i = 0; i + 1 < size && i < 2 * STEPS_MAX; i += 2)
        step(data[i], data[i + 1]);
    rig_run(&rig);
    for (uint32_t i = 0; i < rig.peer_count; i++)
        rig_cut(&rig.peers[i]);
    rig_run(&rig);
    (void)pl_realm_end_sessions(rig.realm, &rig.workers[0], everybody, NULL, PL_DRAINING);
    rig_run(&rig);
    struct pl_realm_stats stats;
    pl_realm_stats(rig.realm, &stats);
    rig_require(!stats.sessions && !stats.subscriptions, "somebody is left");
    rig_done(&rig);
    return 0;
}
