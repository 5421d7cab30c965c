/*
 * MQTT clients by hand: a peer that says and hears packets written as in hex.h.
 *
 *     struct place place;
 *     mqtt_place(&place);
 *     struct peer *p = joined(&place, "c", 4);
 *     says(p, "82 06 0001 0001'a' 00");
 *     HEARS(p, "90 03 0001 00");
 *     mqtt_place_done(&place);
 */
#ifndef PARLEY_TESTS_MQTT_PEER_H
#define PARLEY_TESTS_MQTT_PEER_H

#include "check.h"
#include "protocols/peer.h"

#include "hex.h"
#include "protocols/mqtt/mqtt.h"
#include "protocols/mqtt/mqtt_packet.h"

/* CONNACK of version 5 with the defaults of these tests. */
#define WELCOME      "20 (00 00 (22 0020 27 00200000)) "
#define WELCOME_BACK "20 (01 00 (22 0020 27 00200000)) "

static inline void mqtt_place(struct place *place)
{
    place_init(place, &pl_mqtt_protocol);
}

static bool everybody(void *context, const struct pl_session *session)
{
    (void)context;
    (void)session;
    return true;
}

/* Sessions that stay without a connection end, too. */
static inline void mqtt_place_done(struct place *place)
{
    for (uint32_t i = 0; i < place->peer_count; i++)
        peer_leave(place->peers[i]);
    place_run(place);
    (void)pl_realm_end_sessions(place->realm, &place->worker, everybody, NULL, PL_DRAINING);
    place_run(place);
    struct pl_realm_stats stats;
    pl_realm_stats(place->realm, &stats);
    CHECK_EQ(stats.sessions, 0);
    CHECK_EQ(stats.subscriptions, 0);
    place_done(place);
}

static inline void says(struct peer *p, const char *packets)
{
    static struct hex h;
    struct pl_bytes bytes = hex_read(&h, packets);
    peer_say_bytes(p, bytes.data, bytes.len);
}

static inline void says_struct(struct peer *p, struct pl_writer *w)
{
    struct pl_shared *out = NULL;
    if (!CHECK(pl_writer_take(w, &out) == PL_OK))
        return;
    peer_say_bytes(p, out->data, out->len);
    pl_shared_unref(out);
}

static inline void hears_at(struct peer *p, const char *packets, int line)
{
    static struct hex h;
    struct pl_bytes want = hex_read(&h, packets);
    place_run(p->place);
    check_bytes(p->heard, p->heard_len, want.data, want.len, __FILE__, line, packets);
    p->heard_len = 0;
}

#define HEARS(p, packets) hears_at(p, packets, __LINE__)

static inline void says_connect(struct peer *p, const struct mqtt_connect *c)
{
    struct pl_writer w = pl_writer_new();
    pl_mqtt_encode_connect(&w, c);
    says_struct(p, &w);
}

static inline struct mqtt_connect connect_as(const char *id, uint8_t version)
{
    return (struct mqtt_connect){
        .version = version, .clean_start = true, .client_id = pl_bytes_text(id)};
}

/* Connected, with a clean session, nothing heard yet but its CONNACK, which is forgotten. */
static inline struct peer *joined(struct place *place, const char *id, uint8_t version)
{
    struct peer *p = peer_new(place);
    struct mqtt_connect c = connect_as(id, version);
    says_connect(p, &c);
    place_run(place);
    p->heard_len = 0;
    return p;
}

/* With a session that stays (or, in version 5, stays so many seconds); CONNACK is not forgotten. */
static inline struct peer *joined_for(
    struct place *place, const char *id, uint8_t version, uint32_t expiry_s)
{
    struct peer *p = peer_new(place);
    struct mqtt_connect c = connect_as(id, version);
    c.clean_start = false;
    if (version == 5 && expiry_s)
        MQTT_SET(&c.properties, session_expiry, expiry_s);
    says_connect(p, &c);
    place_run(place);
    return p;
}

#define CLOSED_WITH(p, err)                                                                        \
    do {                                                                                           \
        place_run((p)->place);                                                                     \
        CHECK((p)->is_closed);                                                                     \
        CHECK_EQ((p)->why, err);                                                                   \
    } while (0)

#endif
