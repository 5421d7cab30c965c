/* What crosses into MQTT and out of it: arguments as plain payloads, answers in user properties. */
#include "mqtt_peer.h"

#include "codec/value.h"
#include "protocols/mqtt/mqtt_translate.h"

static void publish(struct place *place, struct pl_message draft)
{
    draft.subject = PL_BYTES("a");
    CHECK_EQ(pl_realm_publish(place->realm, &place->worker, &draft), PL_OK);
}

static struct peer *subscriber(struct place *place, const char *id, uint8_t version)
{
    struct peer *p = joined(place, id, version);
    says(p, version == 5 ? "82 07 0001 00 0001'a' 01" : "82 06 0001 0001'a' 01");
    place_run(place);
    p->heard_len = 0;
    return p;
}

TEST(arguments_are_told_as_plain_payloads_and_text_as_text)
{
    const struct {
        struct pl_bytes payload;
        uint8_t serializer;
        const char *old, *five;
    } cases[] = {
        {PL_BYTES("[\"hello\"]"), PL_SERIAL_JSON, "30 (<'a'> 'hello')",
            "30 (<'a'> (01 01) 'hello')"},
        {PL_BYTES("[\"\\u0000AP8=\"]"), PL_SERIAL_JSON, "30 (<'a'> 00ff)", "30 (<'a'> () 00ff)"},
        {PL_NO_BYTES, PL_SERIAL_JSON, "30 (<'a'>)", "30 (<'a'> (01 01))"},
        {PL_BYTES("\x91\xc3"), PL_SERIAL_MSGPACK, "30 (<'a'> 'true')", "30 (<'a'> (01 01) 'true')"},
        {PL_BYTES("\x81\x42\xff\xfe"), PL_SERIAL_CBOR, "30 (<'a'> fffe)", "30 (<'a'> () fffe)"},
        {PL_BYTES("\x82\x01\x02"), PL_SERIAL_CBOR, "30 (<'a'> '{\"args\":[1,2],\"kwargs\":{}}')",
            "30 (<'a'> (01 01) '{\"args\":[1,2],\"kwargs\":{}}')"},
    };
    struct place place;
    mqtt_place(&place);
    struct peer *old = subscriber(&place, "4", 4), *five = subscriber(&place, "5", 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        publish(&place, (struct pl_message){.payload = cases[i].payload,
                            .format = (uint8_t)(PL_FORMAT_ARGUMENTS + cases[i].serializer)});
        HEARS(old, cases[i].old);
        HEARS(five, cases[i].five);
    }
    /* Bytes are bytes, whatever they look like. */
    publish(&place, (struct pl_message){.payload = PL_BYTES("[\"hello\"]")});
    HEARS(old, "30 (<'a'> '[\"hello\"]')");
    HEARS(five, "30 (<'a'> () '[\"hello\"]')");
    mqtt_place_done(&place);
}

TEST(a_retained_and_a_queued_value_are_plain_too)
{
    struct place place;
    mqtt_place(&place);
    struct peer *away = joined_for(&place, "q", 4, 0);
    says(away, "82 06 0001 0001'a' 01");
    place_run(&place);
    peer_leave(away);
    publish(&place, (struct pl_message){.payload = PL_BYTES("\x91\xa2hi"),
                        .format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK,
                        .qos = 1,
                        .retain = true});
    struct peer *late = joined(&place, "late", 4);
    says(late, "82 06 0001 0001'a' 00");
    HEARS(late, "90 03 0001 00 31 (<'a'> 'hi')");
    struct peer *back = joined_for(&place, "q", 4, 0);
    HEARS(back, "20 02 01 00 32 (<'a'> 0001 'hi')");
    mqtt_place_done(&place);
}

TEST(an_error_and_a_part_are_told_to_version_5)
{
    struct place place;
    mqtt_place(&place);
    struct peer *old = subscriber(&place, "4", 4), *five = subscriber(&place, "5", 5);
    const struct pl_header headers[] = {{PL_BYTES("k"), PL_BYTES("v")}};
    struct pl_properties p = {.expires_ms = PL_NEVER,
        .headers = headers,
        .header_count = 1,
        .error = PL_BYTES("com.bad")};
    publish(&place, (struct pl_message){.payload = PL_BYTES("1"), .properties = &p});
    HEARS(five, "30 (<'a'> (26 <'k'> <'v'> 26 <'parley-error'> <'com.bad'>) '1')");
    HEARS(old, "30 (<'a'> '1')");
    p = (struct pl_properties){.expires_ms = PL_NEVER, .is_progress = true};
    publish(&place, (struct pl_message){.payload = PL_BYTES("2"), .properties = &p});
    HEARS(five, "30 (<'a'> (26 <'parley-progress'> <'true'>) '2')");
    HEARS(old, "30 (<'a'> '2')");
    /* What MQTT cannot carry is left out. */
    p = (struct pl_properties){.expires_ms = PL_NEVER, .error = PL_BYTES("a\xff")};
    publish(&place, (struct pl_message){.payload = PL_BYTES("3"), .properties = &p});
    HEARS(five, "30 (<'a'> () '3')");
    mqtt_place_done(&place);
}

TEST(an_answer_of_an_mqtt_responder_comes_through_as_it_was)
{
    struct place place;
    mqtt_place(&place);
    struct peer *five = subscriber(&place, "5", 5);
    says(five, "30 (<'a'> (26 <'parley-progress'> <'true'> 26 <'parley-error'> <'com.bad'>) '1')");
    HEARS(five, "30 (<'a'> (26 <'parley-progress'> <'true'> 26 <'parley-error'> <'com.bad'>) '1')");
    mqtt_place_done(&place);
}

/* The properties of an encoded PUBLISH, as the core gets them. */
static struct pl_message taken(struct pl_arena *arena, const char *body)
{
    static struct hex h;
    struct mqtt_publish packet;
    struct pl_diag diag;
    struct pl_message draft = {0};
    uint8_t reason;
    struct pl_bytes bytes = hex_read(&h, body);
    CHECK_EQ(pl_mqtt_decode_publish(MQTT_5, 0, bytes, &packet, &diag), PL_OK);
    CHECK_EQ(pl_mqtt_take_properties(arena, &packet.properties, 0, 10, &draft, &reason), PL_OK);
    return draft;
}

TEST(user_properties_say_what_an_answer_is)
{
    struct pl_arena arena = {0};
    struct pl_message m = taken(&arena, "<'a'> (26 <'parley-error'> <'com.bad'> 26 <'k'> <'v'>)");
    REQUIRE(m.properties != NULL);
    CHECK(pl_bytes_equal(m.properties->error, PL_BYTES("com.bad")));
    CHECK(!m.properties->is_progress);
    CHECK_EQ(m.properties->header_count, 2);
    m = taken(&arena, "<'a'> (26 <'parley-progress'> <'true'>)");
    REQUIRE(m.properties != NULL);
    CHECK(m.properties->is_progress && !m.properties->error.len);
    m = taken(&arena, "<'a'> (26 <'parley-progress'> <'1'> 26 <'Parley-Error'> <'x'>)");
    REQUIRE(m.properties != NULL);
    CHECK(!m.properties->is_progress && !m.properties->error.len);
    pl_arena_done(&arena);
}
