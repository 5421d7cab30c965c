/* MQTT clients by hand, over the real core: what the standards promise them. */
#include "mqtt_peer.h"

#include "base/alloc.h"

#define B(text) PL_BYTES(text)

TEST(a_message_comes_back_to_its_subscriber)
{
    static const uint8_t versions[] = {3, 4};
    for (int i = 0; i < 2; i++) {
        struct place place;
        mqtt_place(&place);
        struct peer *p = peer_new(&place);
        struct mqtt_connect c = connect_as("c", versions[i]);
        says_connect(p, &c);
        HEARS(p, "20 02 00 00");
        says(p, "82 08 0001 0003'a/+' 00");
        HEARS(p, "90 03 0001 00");
        says(p, "30 07 0003'a/b' 'hi' 30 06 0002'a/' '12' 30 07 0003'b/b' 'no' c0 00");
        HEARS(p, "d0 00 30 07 0003'a/b' 'hi' 30 06 0002'a/' '12'");
        says(p, "a2 07 0002 0003'a/+'");
        HEARS(p, "b0 02 0002");
        says(p, "30 07 0003'a/b' 'hi' e0 00");
        HEARS(p, "");
        CLOSED_WITH(p, PL_OK);
        mqtt_place_done(&place);
    }
}

TEST(bytes_may_come_one_by_one)
{
    struct place place;
    mqtt_place(&place);
    place.piece = 1;
    struct peer *p = peer_new(&place);
    struct mqtt_connect c = connect_as("c", 5);
    says_connect(p, &c);
    HEARS(p, WELCOME);
    says(p, "82 09 0001 00 0003'a/#' 00 30 06 0001'a' 00 'hi'");
    HEARS(p, "90 04 0001 00 00 30 06 0001'a' 00 'hi'");
    mqtt_place_done(&place);
}

TEST(a_client_need_not_wait_for_connack)
{
    struct place place;
    mqtt_place(&place);
    place.holds_logins = true;
    struct peer *p = peer_new(&place);
    says(p, "10 0d 0004'MQTT' 04 02 0000 0001'c' 82 06 0001 0001'a' 00 30 04 0001'a' '1'");
    HEARS(p, "");
    place_answer_login(&place, place.held);
    HEARS(p, "20 02 00 00 90 03 0001 00 30 04 0001'a' '1'");
    mqtt_place_done(&place);
}

TEST(qos_1_and_2_are_acknowledged_in_order)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 4), *five = joined(&place, "5", 5);
    says(p, "32 06 0001'a' 0001 '1' 34 06 0001'a' 0002 '2' 32 06 0001'a' 0003 '3'");
    HEARS(p, "40 02 0001 50 02 0002 40 02 0003");
    says(p, "62 02 0002");
    HEARS(p, "70 02 0002");
    /* Version 5 says that nobody was there. */
    says(five, "32 07 0001'a' 0001 00 '1' 34 07 0001'a' 0002 00 '2'");
    HEARS(five, "40 03 0001 10 50 03 0002 10");
    says(five, "62 02 0002 62 02 0009");
    HEARS(five, "70 02 0002 70 03 0009 92");
    mqtt_place_done(&place);
}

TEST(a_qos_2_message_is_taken_once)
{
    struct place place;
    mqtt_place(&place);
    struct peer *sub = joined(&place, "s", 4), *p = joined(&place, "p", 4);
    says(sub, "82 06 0001 0001'a' 00");
    HEARS(sub, "90 03 0001 00");
    says(p, "34 06 0001'a' 0007 '1'");
    HEARS(p, "50 02 0007");
    says(p, "3c 06 0001'a' 0007 '1'");
    HEARS(p, "50 02 0007");
    says(p, "62 02 0007 62 02 0007 34 06 0001'a' 0007 '2'");
    HEARS(p, "70 02 0007 70 02 0007 50 02 0007");
    HEARS(sub, "30 04 0001'a' '1' 30 04 0001'a' '2'");
    mqtt_place_done(&place);
}

TEST(a_qos_2_packet_id_outlives_its_connection)
{
    struct place place;
    mqtt_place(&place);
    struct peer *sub = joined(&place, "s", 4), *p = joined_for(&place, "p", 4, 0);
    says(sub, "82 06 0001 0001'a' 00");
    HEARS(sub, "90 03 0001 00");
    says(p, "34 06 0001'a' 0007 '1'");
    HEARS(p, "20 02 00 00 50 02 0007");
    peer_leave(p);
    p = joined_for(&place, "p", 4, 0);
    HEARS(p, "20 02 01 00");
    says(p, "3c 06 0001'a' 0007 '1' 62 02 0007");
    HEARS(p, "50 02 0007 70 02 0007");
    HEARS(sub, "30 04 0001'a' '1'");
    mqtt_place_done(&place);
}

TEST(the_qos_of_a_delivery_is_the_lesser_of_both)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 4), *p = joined(&place, "p", 4);
    says(s, "82 0e 0001 0001'0' 00 0001'1' 01 0001'2' 02");
    HEARS(s, "90 05 0001 00 01 02");
    says(p, "34 06 0001'0' 0001 'x' 34 06 0001'1' 0002 'x' 34 06 0001'2' 0003 'x'"
            "32 06 0001'2' 0004 'y' 30 04 0001'2' 'z'");
    HEARS(s, "30 04 0001'0' 'x' 32 06 0001'1' 0001 'x' 34 06 0001'2' 0002 'x'"
             "32 06 0001'2' 0003 'y' 30 04 0001'2' 'z'");
    says(s, "40 02 0001 50 02 0002 40 02 0003");
    HEARS(s, "62 02 0002");
    says(s, "50 02 0002 70 02 0002 70 02 0002 50 02 0099");
    HEARS(s, "62 02 0002 62 02 0099");
    mqtt_place_done(&place);
}

TEST(an_acknowledgement_of_the_other_qos_is_an_error)
{
    static const char *const wrong[] = {"40 02 0001", "70 02 0001"};
    for (int i = 0; i < 2; i++) {
        struct place place;
        mqtt_place(&place);
        struct peer *s = joined(&place, "s", 4);
        says(s, "82 06 0001 0001'a' 02 34 06 0001'a' 0001 'x'");
        HEARS(s, "90 03 0001 02 34 06 0001'a' 0001 'x' 50 02 0001");
        says(s, wrong[i]);
        CLOSED_WITH(s, PL_PROTOCOL);
        mqtt_place_done(&place);
    }
}

TEST(what_was_in_flight_is_sent_again_after_a_reconnect_in_order)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined_for(&place, "s", 4, 0), *p = joined(&place, "p", 4);
    says(s, "82 06 0001 0001'a' 02");
    HEARS(s, "20 02 00 00 90 03 0001 02");
    says(p, "32 06 0001'a' 0001 '1' 34 06 0001'a' 0002 '2' 34 06 0001'a' 0003 '3' 32 06 0001'a' "
            "0004 '4'");
    HEARS(s, "32 06 0001'a' 0001 '1' 34 06 0001'a' 0002 '2' 34 06 0001'a' 0003 '3' 32 06 0001'a' "
             "0004 '4'");
    says(s, "50 02 0002 40 02 0004");
    HEARS(s, "62 02 0002");
    peer_leave(s);
    says(p, "32 06 0001'a' 0005 '5' 30 04 0001'a' '0'");
    place_run(&place);
    s = joined_for(&place, "s", 4, 0);
    HEARS(s, "20 02 01 00 3a 06 0001'a' 0001 '1' 62 02 0002 3c 06 0001'a' 0003 '3'"
             "32 06 0001'a' 0005 '5'");
    says(s, "40 02 0001 70 02 0002 50 02 0003 70 02 0003 40 02 0005");
    HEARS(s, "62 02 0003");
    peer_leave(s);
    s = joined_for(&place, "s", 4, 0);
    HEARS(s, "20 02 01 00");
    mqtt_place_done(&place);
}

TEST(a_session_may_come_back_with_another_version)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined_for(&place, "s", 4, 0), *p = joined(&place, "p", 5);
    says(s, "82 06 0001 0001'a' 01");
    HEARS(s, "20 02 00 00 90 03 0001 01");
    says(p, "32 0b 0001'a' 0001 04 03 0001'j' '1'");
    HEARS(s, "32 06 0001'a' 0001 '1'");
    peer_leave(s);
    s = joined_for(&place, "s", 5, 100);
    HEARS(s, WELCOME_BACK "3a 0b 0001'a' 0001 04 03 0001'j' '1'");
    says(p, "30 05 0001'a' 00 '2'");
    HEARS(s, "30 05 0001'a' 00 '2'");
    mqtt_place_done(&place);
}

TEST(a_new_connection_takes_the_session_over)
{
    struct place place;
    mqtt_place(&place);
    struct peer *a = joined_for(&place, "s", 5, 100), *p = joined(&place, "p", 5);
    says(a, "82 07 0001 00 0001'a' 01");
    HEARS(a, WELCOME "90 04 0001 00 01");
    struct peer *b = joined_for(&place, "s", 5, 100);
    HEARS(a, "e0 (8e (1f <'another connection took the session over'>))");
    CLOSED_WITH(a, PL_TAKEN_OVER);
    HEARS(b, WELCOME_BACK);
    says(p, "32 07 0001'a' 0001 00 '1'");
    HEARS(b, "32 07 0001'a' 0001 00 '1'");
    /* A clean start leaves nothing of it. */
    struct peer *c = peer_new(&place);
    struct mqtt_connect clean = connect_as("s", 5);
    says_connect(c, &clean);
    HEARS(c, WELCOME);
    HEARS(b, "e0 (8e (1f <'another connection took the session over'>))");
    CLOSED_WITH(b, PL_TAKEN_OVER);
    says(p, "32 07 0001'a' 0002 00 '2'");
    HEARS(c, "");
    /* Older versions are just closed. */
    struct peer *old = joined(&place, "o", 4), *old2 = joined(&place, "o", 4);
    HEARS(old, "");
    CLOSED_WITH(old, PL_TAKEN_OVER);
    CHECK(!old2->is_closed);
    mqtt_place_done(&place);
}

TEST(equal_client_ids_of_two_users_are_two_sessions)
{
    struct place place;
    mqtt_place(&place);
    struct peer *a = joined(&place, "s", 4);
    struct pl_identity *ann = place.identity;
    place.identity = pl_identity_new_all("bob", "all");
    struct peer *b = joined(&place, "s", 4);
    place_run(&place);
    CHECK(!a->is_closed && !b->is_closed);
    pl_identity_unref(ann);
    mqtt_place_done(&place);
}

static struct peer *with_will(struct place *place, const char *id, uint32_t delay_s,
    uint32_t expiry_s, uint32_t message_expiry_s)
{
    struct peer *p = peer_new(place);
    struct mqtt_connect c = connect_as(id, 5);
    c.clean_start = false;
    c.has_will = true;
    c.will_topic = B("w");
    c.will_payload = B("bye");
    if (expiry_s)
        MQTT_SET(&c.properties, session_expiry, expiry_s);
    if (delay_s)
        MQTT_SET(&c.will_properties, will_delay, delay_s);
    if (message_expiry_s)
        MQTT_SET(&c.will_properties, message_expiry, message_expiry_s);
    says_connect(p, &c);
    place_run(place);
    p->heard_len = 0;
    return p;
}

TEST(a_will_goes_out_unless_its_client_said_goodbye)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 4);
    says(s, "82 06 0001 0001'w' 00");
    HEARS(s, "90 03 0001 00");
    peer_leave(with_will(&place, "a", 0, 0, 0));
    HEARS(s, "30 06 0001'w' 'bye'");
    says(with_will(&place, "a", 0, 0, 0), "e0 00");
    HEARS(s, "");
    says(with_will(&place, "a", 0, 0, 0), "e0 01 04");
    HEARS(s, "30 06 0001'w' 'bye'");
    says(with_will(&place, "a", 0, 0, 0), "ff 00"); /* nonsense is no goodbye */
    HEARS(s, "30 06 0001'w' 'bye'");
    /* Taken over by a clean start. */
    struct peer *a = with_will(&place, "a", 0, 0, 0);
    joined(&place, "a", 5);
    CLOSED_WITH(a, PL_TAKEN_OVER);
    HEARS(s, "30 06 0001'w' 'bye'");
    mqtt_place_done(&place);
}

TEST(a_delayed_will_waits_for_its_client)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 5);
    says(s, "82 07 0001 00 0001'w' 00");
    HEARS(s, "90 04 0001 00 00");
    peer_leave(with_will(&place, "a", 10, 100, 30));
    place_pass(&place, 9000);
    HEARS(s, "");
    struct peer *a = with_will(&place, "a", 10, 100, 30); /* back in time */
    place_pass(&place, 20000);
    HEARS(s, "");
    peer_leave(a);
    place_pass(&place, 10000);
    HEARS(s, "30 0c 0001'w' 05 02 0000001e 'bye'"); /* its expiry begins now */
    /* The end of the session is the end of the delay. */
    peer_leave(with_will(&place, "b", 60, 5, 0));
    place_pass(&place, 4900);
    HEARS(s, "");
    place_pass(&place, 200);
    HEARS(s, "30 07 0001'w' 00 'bye'");
    mqtt_place_done(&place);
}

TEST(retained_messages_are_sent_as_the_subscription_wants)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 5), *s = joined(&place, "s", 5);
    says(p, "31 05 0001'a' 00 'r'");
    place_run(&place);
    says(s, "82 07 0001 00 0001'a' 00"); /* 0: always */
    HEARS(s, "90 04 0001 00 00 31 05 0001'a' 00 'r'");
    says(s, "82 07 0002 00 0001'a' 00");
    HEARS(s, "90 04 0002 00 00 31 05 0001'a' 00 'r'");
    says(s, "82 07 0003 00 0001'a' 10"); /* 1: only a new subscription */
    HEARS(s, "90 04 0003 00 00");
    says(s, "a2 06 0004 00 0001'a' 82 07 0005 00 0001'a' 10");
    HEARS(s, "b0 04 0004 00 00 90 04 0005 00 00 31 05 0001'a' 00 'r'");
    says(s, "82 07 0006 00 0001'a' 20"); /* 2: never */
    HEARS(s, "90 04 0006 00 00");
    /* A live one has the flag only if it is wanted as published. */
    says(p, "31 05 0001'a' 00 'q'");
    HEARS(s, "30 05 0001'a' 00 'q'");
    says(s, "82 07 0007 00 0001'a' 28");
    HEARS(s, "90 04 0007 00 00");
    says(p, "31 05 0001'a' 00 'p' 30 05 0001'a' 00 'o'");
    HEARS(s, "31 05 0001'a' 00 'p' 30 05 0001'a' 00 'o'");
    /* An empty one clears it. */
    says(p, "31 04 0001'a' 00");
    HEARS(s, "31 04 0001'a' 00");
    says(s, "82 07 0008 00 0001'a' 00");
    HEARS(s, "90 04 0008 00 00");
    mqtt_place_done(&place);
}

TEST(a_retained_message_keeps_its_qos)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 4), *s = joined(&place, "s", 4);
    says(p, "33 06 0001'a' 0001 'r'");
    HEARS(p, "40 02 0001");
    says(s, "82 06 0001 0001'#' 01");
    HEARS(s, "90 03 0001 01 33 06 0001'a' 0001 'r'");
    mqtt_place_done(&place);
}

TEST(a_shared_subscription_gives_each_message_to_one)
{
    struct place place;
    mqtt_place(&place);
    struct peer *a = joined(&place, "a", 5), *b = joined(&place, "b", 4);
    struct peer *p = joined(&place, "p", 4);
    says(a, "82 10 0001 00 000a'$share/g/a' 00");
    HEARS(a, "90 04 0001 00 00");
    says(b, "82 0f 0001 000a'$share/g/a' 00");
    HEARS(b, "90 03 0001 00");
    for (int i = 0; i < 200; i++)
        says(p, "30 04 0001'a' '1'");
    place_run(&place);
    CHECK(a->heard_len > 0 && b->heard_len > 0);
    CHECK_EQ(a->heard_len / 7 + b->heard_len / 6, 200);
    a->heard_len = b->heard_len = 0;
    /* Nothing retained for it, and no No Local. */
    says(p, "31 04 0001'a' 'r'");
    place_run(&place);
    a->heard_len = b->heard_len = 0;
    says(a, "82 10 0002 00 000a'$share/h/a' 00");
    HEARS(a, "90 04 0002 00 00");
    says(a, "82 10 0003 00 000a'$share/i/a' 04");
    HEARS(a, "e0 (82 (1f <'No Local on a shared subscription'>))");
    CLOSED_WITH(a, PL_PROTOCOL);
    mqtt_place_done(&place);
}

TEST(bad_filters_are_told_one_by_one)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 5);
    says(p, "82 (0001 00 <'a+b'> 00 <'#/a'> 00 <'a#'> 00 <> 00 <'$share'> 00 <'$share/g'> 00"
            "<07> 00 <'$share/+/ab'> 00 <'$share//a'> 00 <'$share/g/'> 00 <'ok'> 00)");
    HEARS(p, "90 (0001 00 8f 8f 8f 8f 8f 8f 8f 8f 8f 8f 00)");
    struct peer *old = joined(&place, "o", 4);
    says(old, "82 08 0001 0003'a+b' 00");
    CLOSED_WITH(old, PL_PROTOCOL);
    mqtt_place_done(&place);
}

TEST(subscription_identifiers_come_with_each_copy)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 5), *p = joined(&place, "p", 5);
    says(s, "82 09 0001 02 0b 05 0001'a' 00 82 0a 0002 03 0b c801 0001'#' 00");
    HEARS(s, "90 04 0001 00 00 90 04 0002 00 00");
    says(p, "30 05 0001'a' 00 '1'");
    place_run(&place);
    struct hex h;
    struct pl_bytes either =
        hex_read(&h, "30 07 0001'a' 02 0b 05 '1' 30 08 0001'a' 03 0b c801 '1'");
    struct hex g;
    struct pl_bytes other = hex_read(&g, "30 08 0001'a' 03 0b c801 '1' 30 07 0001'a' 02 0b 05 '1'");
    CHECK(s->heard_len == either.len && (memcmp(s->heard, either.data, either.len) == 0 ||
                                            memcmp(s->heard, other.data, other.len) == 0));
    mqtt_place_done(&place);
}

TEST(no_local_spares_the_publisher)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 5), *p = joined(&place, "p", 5);
    says(s, "82 07 0001 00 0001'a' 04");
    HEARS(s, "90 04 0001 00 00");
    says(s, "30 05 0001'a' 00 '1'");
    says(p, "30 05 0001'a' 00 '2'");
    HEARS(s, "30 05 0001'a' 00 '2'");
    mqtt_place_done(&place);
}

TEST(all_properties_of_a_message_arrive_in_order)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 5), *old = joined(&place, "o", 4);
    says(s, "82 07 0001 00 0001'a' 00");
    says(old, "82 06 0001 0001'a' 00");
    HEARS(s, "90 04 0001 00 00");
    HEARS(old, "90 03 0001 00");
    says(s, "30 (<'a'> (01 01 03 <'ct'> 08 <'r/t'> 09 <fffe>"
            "26 <'k'> <'1'> 26 <'k'> <'2'> 26 <'a'> <'3'>) 'hi')");
    HEARS(s, "30 (<'a'> (01 01 03 <'ct'> 08 <'r/t'> 09 <fffe>"
             "26 <'k'> <'1'> 26 <'k'> <'2'> 26 <'a'> <'3'>) 'hi')");
    HEARS(old, "30 05 0001'a' 'hi'");
    mqtt_place_done(&place);
}

TEST(the_payload_format_is_believed_only_if_true)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 5);
    says(p, "30 07 0001'a' 02 01 01 ff");
    HEARS(p, "e0 (99 (1f <'the properties of a PUBLISH are not acceptable'>))");
    mqtt_place_done(&place);
}

TEST(topic_aliases_of_a_client_stand_for_their_topics)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 4), *p = joined(&place, "p", 5);
    says(s, "82 06 0001 0001'#' 00");
    HEARS(s, "90 03 0001 00");
    says(p, "30 08 0001'a' 03 23 0001 '1' 30 07 0000 03 23 0001 '2' 30 08 0001'b' 03 23 0020 '3'"
            "30 07 0000 03 23 0020 '4' 30 08 0001'c' 03 23 0001 '5' 30 07 0000 03 23 0001 '6'");
    HEARS(s, "30 04 0001'a' '1' 30 04 0001'a' '2' 30 04 0001'b' '3' 30 04 0001'b' '4'"
             "30 04 0001'c' '5' 30 04 0001'c' '6'");
    says(p, "30 08 0001'b' 03 23 0021 '3'");
    HEARS(p, "e0 (94 (1f <'a topic alias over the maximum'>))");
    p = joined(&place, "p", 5); /* aliases end with their connection */
    says(p, "30 07 0000 03 23 0001 '2'");
    HEARS(p, "e0 (82 (1f <'a topic alias that was not set'>))");
    p = joined(&place, "p", 5);
    says(p, "30 04 0000 00 '2'");
    HEARS(p, "e0 (82 (1f <'neither a topic nor a topic alias'>))");
    mqtt_place_done(&place);
}

TEST(a_client_that_takes_aliases_gets_them)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = peer_new(&place), *p = joined(&place, "p", 4);
    struct mqtt_connect c = connect_as("s", 5);
    MQTT_SET(&c.properties, topic_alias_max, 1);
    says_connect(s, &c);
    says(s, "82 07 0001 00 0001'#' 01");
    HEARS(s, WELCOME "90 04 0001 00 01");
    says(p, "30 04 0001'a' '1' 30 04 0001'a' '2' 30 04 0001'b' '3' 32 06 0001'a' 0001 '4'");
    HEARS(s, "30 08 0001'a' 03 23 0001 '1' 30 07 0000 03 23 0001 '2' 30 05 0001'b' 00 '3'"
             "32 09 0000 0001 03 23 0001 '4'");
    mqtt_place_done(&place);
}

TEST(no_more_is_in_flight_than_the_client_takes)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = peer_new(&place), *p = joined(&place, "p", 4);
    struct mqtt_connect c = connect_as("s", 5);
    MQTT_SET(&c.properties, receive_max, 2);
    MQTT_SET(&c.properties, session_expiry, 100);
    says_connect(s, &c);
    says(s, "82 07 0001 00 0001'a' 02");
    HEARS(s, WELCOME "90 04 0001 00 02");
    says(p, "32 06 0001'a' 0001 '1' 34 06 0001'a' 0002 '2' 32 06 0001'a' 0003 '3' 34 06 0001'a' "
            "0004 '4' 30 04 0001'a' '0' 32 06 0001'a' 0005 '5'");
    HEARS(s, "32 07 0001'a' 0001 00 '1' 34 07 0001'a' 0002 00 '2' 30 05 0001'a' 00 '0'");
    says(s, "50 02 0002"); /* PUBREC does not make room, PUBCOMP does */
    HEARS(s, "62 02 0002");
    says(s, "70 02 0002");
    HEARS(s, "32 07 0001'a' 0003 00 '3'");
    says(s, "40 02 0003"); /* out of order: 1 is still open */
    HEARS(s, "34 07 0001'a' 0004 00 '4'");
    says(s, "50 03 0004 80"); /* refused: done */
    HEARS(s, "32 07 0001'a' 0005 00 '5'");
    peer_leave(s);
    s = peer_new(&place);
    c.clean_start = false;
    c.properties.receive_max = 1;
    says_connect(s, &c);
    HEARS(s, WELCOME_BACK "3a 07 0001'a' 0001 00 '1'");
    says(s, "40 02 0001");
    HEARS(s, "3a 07 0001'a' 0005 00 '5'");
    mqtt_place_done(&place);
}

TEST(a_client_keeps_to_our_receive_maximum)
{
    struct place place;
    mqtt_place(&place);
    struct pl_mqtt_options options = pl_mqtt_options_default;
    options.receive_max = 2;
    place.config.options = &options;
    struct peer *p = joined(&place, "p", 5);
    says(p, "34 07 0001'a' 0001 00 '1' 34 07 0001'a' 0002 00 '1'");
    HEARS(p, "50 03 0001 10 50 03 0002 10");
    says(p, "62 02 0001");
    HEARS(p, "70 02 0001");
    says(p, "34 07 0001'a' 0003 00 '1'");
    HEARS(p, "50 03 0003 10");
    says(p, "34 07 0001'a' 0004 00 '1'");
    HEARS(p, "e0 (93 (1f <'more open messages than the receive maximum'>))");
    CLOSED_WITH(p, PL_LIMIT);
    mqtt_place_done(&place);
}

TEST(a_message_too_large_for_its_client_is_left_out)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = peer_new(&place), *p = joined(&place, "p", 4);
    struct mqtt_connect c = connect_as("s", 5);
    MQTT_SET(&c.properties, packet_max, 30);
    says_connect(s, &c);
    says(s, "82 07 0001 00 0001'a' 01");
    HEARS(s, WELCOME "90 04 0001 00 01");
    says(p, "32 06 0001'a' 0001 '1' 32 25 0001'a' 0002 '01234567890123456789012345678901'"
            "30 23 0001'a' '01234567890123456789012345678901' 32 06 0001'a' 0003 '2'");
    HEARS(s, "32 07 0001'a' 0001 00 '1' 32 07 0001'a' 0003 00 '2'");
    mqtt_place_done(&place);
}

TEST(a_packet_too_large_for_us_ends_its_connection)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 5), *q = peer_new(&place);
    says(p, "30 80 80 80 01"); /* before any of its 2 MiB came */
    HEARS(p, "e0 (95 (1f <'the packet is too large'>))");
    CLOSED_WITH(p, PL_TOO_LARGE);
    says(q, "10 80 80 04"); /* 64 KiB before the login */
    HEARS(q, "");
    CLOSED_WITH(q, PL_TOO_LARGE);
    mqtt_place_done(&place);
}

TEST(an_expiry_counts_down_and_runs_out)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined_for(&place, "s", 5, 100), *p = joined(&place, "p", 5);
    says(s, "82 07 0001 00 0001'a' 01");
    HEARS(s, WELCOME "90 04 0001 00 01");
    says(p, "30 0a 0001'a' 05 02 0000000a '0'");
    HEARS(s, "30 0a 0001'a' 05 02 0000000a '0'");
    peer_leave(s);
    says(p, "32 0c 0001'a' 0001 05 02 0000000a '1' 32 0c 0001'a' 0002 05 02 00000002 '2'"
            "32 07 0001'a' 0003 00 '3'");
    place_pass(&place, 3000);
    s = joined_for(&place, "s", 5, 100);
    HEARS(s, WELCOME_BACK "32 0c 0001'a' 0001 05 02 00000007 '1' 32 07 0001'a' 0002 00 '3'");
    mqtt_place_done(&place);
}

TEST(a_session_stays_as_long_as_it_was_asked_to)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined_for(&place, "s", 5, 10);
    HEARS(s, WELCOME);
    peer_leave(s);
    place_pass(&place, 9000);
    s = joined_for(&place, "s", 5, 10);
    HEARS(s, WELCOME_BACK);
    peer_leave(s);
    place_pass(&place, 10100);
    s = joined_for(&place, "s", 5, 10);
    HEARS(s, WELCOME);
    says(s, "e0 07 00 05 11 00000002"); /* shorter at the end */
    place_run(&place);
    place_pass(&place, 2100);
    s = joined_for(&place, "s", 5, 0);
    HEARS(s, WELCOME);
    says(s, "e0 07 00 05 11 00000002"); /* what was to end cannot be kept then */
    HEARS(s, "e0 (82 (1f <'a session expiry at the end of a session that has none'>))");
    CLOSED_WITH(s, PL_PROTOCOL);
    /* Before version 5: for ever, or not at all. */
    peer_leave(joined_for(&place, "o", 4, 0));
    place_pass(&place, 100000);
    s = joined_for(&place, "o", 4, 0);
    HEARS(s, "20 02 01 00");
    peer_leave(s);
    peer_leave(joined(&place, "o", 4));
    s = joined_for(&place, "o", 4, 0);
    HEARS(s, "20 02 00 00");
    mqtt_place_done(&place);
}

TEST(the_server_may_bound_expiry_and_keep_alive)
{
    struct place place;
    mqtt_place(&place);
    struct pl_mqtt_options options = pl_mqtt_options_default;
    options.session_expiry_max_s = 60;
    options.keep_alive_max_s = 30;
    options.qos_max = 1;
    options.retain_available = options.wildcard_available = false;
    options.subscription_id_available = options.shared_available = false;
    options.topic_alias_max = 0;
    place.config.options = &options;
    struct peer *p = joined_for(&place, "p", 5, 100);
    HEARS(p, "20 (00 00 (11 0000003c 13 001e 24 01 25 00 27 00200000 28 00 29 00 2a "
             "00))");
    says(p, "82 (0001 00 <'a'> 02 <'#'> 00 <'$share/g/abc'> 00)");
    HEARS(p, "90 06 0001 00 01 a2 9e");
    says(p, "34 07 0001'a' 0001 00 '1'");
    HEARS(p, "e0 (9b (1f <'this QoS is not offered'>))");
    p = joined(&place, "p", 5);
    says(p, "31 05 0001'a' 00 '1'");
    HEARS(p, "e0 (9a (1f <'retained messages are not offered'>))");
    p = joined(&place, "p", 5);
    says(p, "82 09 0001 02 0b 01 0001'a' 00");
    HEARS(p, "e0 (a1 (1f <'subscription identifiers are not offered'>))");
    p = joined(&place, "p", 5);
    says(p, "30 08 0001'a' 03 23 0001 '1'");
    HEARS(p, "e0 (94 (1f <'a topic alias over the maximum'>))");
    p = peer_new(&place);
    struct mqtt_connect c = connect_as("w", 5);
    c.has_will = true;
    c.will_qos = 2;
    c.will_topic = B("w");
    says_connect(p, &c);
    HEARS(p, "20 (00 9b (1f <'the QoS of the will'>))");
    mqtt_place_done(&place);
}

TEST(keep_alive_is_half_again_as_long)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = peer_new(&place), *old = peer_new(&place), *never = joined(&place, "n", 4);
    struct mqtt_connect c = connect_as("p", 5);
    c.keep_alive_s = 2;
    says_connect(p, &c);
    c = connect_as("o", 4);
    c.keep_alive_s = 2;
    says_connect(old, &c);
    HEARS(p, WELCOME);
    place_pass(&place, 2900);
    says(p, "c0 00");
    HEARS(p, "d0 00");
    CHECK(!old->is_closed);
    place_pass(&place, 200);
    CLOSED_WITH(old, PL_TIMEOUT);
    CHECK(!p->is_closed);
    place_pass(&place, 3000);
    HEARS(p, "e0 (8d (1f <'keep-alive timed out'>))");
    CLOSED_WITH(p, PL_TIMEOUT);
    place_pass(&place, 1000000);
    CHECK(!never->is_closed);
    mqtt_place_done(&place);
}

TEST(who_does_not_log_in_in_time_is_closed)
{
    struct place place;
    mqtt_place(&place);
    place.holds_logins = true;
    struct peer *silent = peer_new(&place), *slow = peer_new(&place);
    struct mqtt_connect c = connect_as("s", 5);
    says_connect(slow, &c);
    place_pass(&place, 4900);
    CHECK(!silent->is_closed && !slow->is_closed);
    place_pass(&place, 200);
    CLOSED_WITH(silent, PL_TIMEOUT);
    CLOSED_WITH(slow, PL_TIMEOUT);
    place_answer_login(&place, place.held); /* too late, and harmless */
    place_run(&place);
    mqtt_place_done(&place);
}

TEST(refused_logins_are_told_in_the_words_of_their_version)
{
    static const struct {
        enum pl_err err;
        const char *old, *five;
    } cases[] = {
        {PL_BAD_LOGIN, "20 02 00 04", "20 (00 86 (1f <'login refused'>))"},
        {PL_DENIED, "20 02 00 05", "20 (00 87 (1f <'not authorized'>))"},
        {PL_EXPIRED, "20 02 00 04", "20 (00 86 (1f <'the login has expired'>))"},
        {PL_LIMIT, "20 02 00 03", "20 (00 97 (1f <'a limit is reached'>))"},
        {PL_TIMEOUT, "20 02 00 03", "20 (00 88 (1f <'timed out'>))"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct place place;
        mqtt_place(&place);
        place.login_err = cases[i].err;
        struct peer *old = peer_new(&place), *five = peer_new(&place);
        struct mqtt_connect c = connect_as("c", 4);
        says_connect(old, &c);
        c.version = 5;
        says_connect(five, &c);
        HEARS(old, cases[i].old);
        HEARS(five, cases[i].five);
        CLOSED_WITH(old, cases[i].err);
        CLOSED_WITH(five, cases[i].err);
        mqtt_place_done(&place);
    }
}

TEST(credentials_are_shown_as_they_came)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = peer_new(&place);
    struct mqtt_connect c = connect_as("c", 5);
    c.has_user = c.has_password = true;
    c.user = B("ann");
    c.password = B("secret");
    says_connect(p, &c);
    CHECK_STR(place.shown, "ann/secret/");
    static const char *const headers[][4] = {{"authorization", "Bearer abc", NULL, NULL},
        {"authorization", "bearer abc", NULL, NULL}, {NULL, NULL, "token", "abc"},
        {"cookie", "a=b; token=abc; c=d", NULL, NULL}};
    for (int i = 0; i < 4; i++) {
        p = peer_alloc(&place);
        p->link->is_websocket = true;
        p->header = headers[i][0];
        p->header_value = headers[i][1];
        p->query = headers[i][2];
        p->query_value = headers[i][3];
        peer_open(p);
        c = connect_as("c", 5);
        says_connect(p, &c);
        CHECK_STR(place.shown, "//abc");
    }
    /* A cookie comes by itself: not where the origin was not checked. */
    p = peer_alloc(&place);
    p->link->is_websocket = true;
    p->link->is_ambient_allowed = false;
    p->header = "cookie";
    p->header_value = "token=abc";
    peer_open(p);
    says_connect(p, &c);
    CHECK_STR(place.shown, "//");
    mqtt_place_done(&place);
}

TEST(connects_that_cannot_be_are_refused)
{
    static const struct {
        const char *says, *hears;
    } cases[] = {
        {"10 0c 0004'MQTX' 04 02 0000 0000", ""},
        {"10 0c 0004'MQTT' 06 02 0000 0000",
            "20 (00 84 (1f <'a protocol level that is not supported'>))"},
        {"10 0c 0004'MQTT' 03 02 0000 0000", "20 02 00 01"},
        {"10 0c 0004'MQTT' 84 02 0000 0000", "20 02 00 01"}, /* a bridge tries again with 4 */
        {"10 0c 0004'MQTT' 04 00 0000 0000", "20 02 00 02"}, /* no id for a session that stays */
        {"10 0e 0006'MQIsdp' 03 02 0000 0000", "20 02 00 02"},
        {"10 0c 0004'MQTT' 04 03 0000 0000", ""}, /* 3.1.1: closed without an answer */
        {"10 0d 0004'MQTT' 05 03 0000 00 0000",
            "20 (00 81 (1f <'the reserved flag of CONNECT is set'>))"},
        {"10 11 0004'MQTT' 05 02 0000 04 15 0001'm' 0000",
            "20 (00 8c (1f <'enhanced authentication is not offered'>))"},
        {"10 13 0004'MQTT' 05 06 0000 00 0000 00 0001'#' 0000",
            "20 (00 90 (1f <'the will is not acceptable'>))"},
        {"10 13 0004'MQTT' 04 06 0000 0001'c' 0001'#' 0000 00", ""},
        {"11 0c 0004'MQTT' 04 02 0000 0000", ""},
        {"82 06 0001 0001'a' 00", ""},
        {"c0 00", ""},
        {"'GET / HTTP/1.1'", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct place place;
        mqtt_place(&place);
        struct peer *p = peer_new(&place);
        says(p, cases[i].says);
        place_run(&place);
        if (*cases[i].hears || p->heard_len)
            HEARS(p, cases[i].hears);
        CHECK(p->is_closed);
        mqtt_place_done(&place);
    }
}

TEST(an_empty_client_id_is_given_one)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = peer_new(&place), *q = peer_new(&place), *old = peer_new(&place);
    struct mqtt_connect c = connect_as("", 5);
    says_connect(p, &c);
    says_connect(q, &c);
    c.version = 4;
    says_connect(old, &c);
    place_run(&place);
    REQUIRE(p->heard_len == 13 + 3 + 21 && q->heard_len == p->heard_len);
    CHECK(memcmp(p->heard, q->heard, p->heard_len) != 0);
    CHECK(memcmp(p->heard + 5,
              "\x12\x00\x15"
              "auto-",
              8) == 0);
    HEARS(old, "20 02 00 00");
    mqtt_place_done(&place);
}

TEST(response_information_is_a_topic_of_ones_own)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = peer_new(&place);
    struct mqtt_connect c = connect_as("p", 5);
    MQTT_SET(&c.properties, request_response, 1);
    says_connect(p, &c);
    place_run(&place);
    REQUIRE(p->heard_len == 13 + 3 + 39);
    CHECK(memcmp(p->heard + 5,
              "\x1a\x00\x27"
              "_INBOX/",
              10) == 0);
    mqtt_place_done(&place);
}

TEST(packets_that_must_not_come_end_the_connection_with_their_reason)
{
    static const struct {
        const char *says;
        uint8_t reason;
    } cases[] = {
        {"10 0d 0004'MQTT' 05 02 0000 00 0000", 0x82}, /* a second CONNECT */
        {"f0 00", 0x82},
        {"20 03 00 00 00", 0x82},
        {"90 04 0001 00 00", 0x82},
        {"b0 04 0001 00 00", 0x82},
        {"d0 00", 0x82},
        {"00 00", 0x81},
        {"36 05 0001'a' 0001", 0x81}, /* QoS 3 */
        {"38 04 0001'a' 00", 0x81},   /* DUP of QoS 0 */
        {"80 07 0001 00 0001'a' 00", 0x81},
        {"a0 06 0001 00 0001'a'", 0x81},
        {"60 02 0001", 0x81},
        {"41 02 0001", 0x81},
        {"c1 00", 0x81},
        {"c0 01 00", 0x81},
        {"30 80 80 80 80 01", 0x81},
        {"30 06 0001'a' 02 0b 01", 0x82}, /* a subscription identifier from a client */
        {"30 05 0001'#' 00 '1'", 0x90},
        {"30 05 0001 01 00 '1'", 0x90},
        {"30 05 0001 ff 00 '1'", 0x81},
        {"30 05 0001 00 00 '1'", 0x81},
        {"30 09 0001'a' 04 08 0001'+' '1'", 0x82}, /* a wildcard as response topic */
        {"30 03 0001'a'", 0x81},
        {"82 03 0001 00", 0x82}, /* no filter */
        {"e0 01 77", 0x81},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct place place;
        mqtt_place(&place);
        struct peer *p = joined(&place, "p", 5), *old = joined(&place, "o", 4);
        says(p, cases[i].says);
        place_run(&place);
        CHECK(p->is_closed && p->heard_len > 2);
        check_that(p->heard_len > 2 && (uint8_t)p->heard[2] == cases[i].reason, __FILE__, __LINE__,
            "%s: expected %02x", cases[i].says, cases[i].reason);
        CHECK(!old->is_closed);
        mqtt_place_done(&place);
    }
}

static struct pl_identity *limited(const char *publish, const char *subscribe)
{
    struct pl_identity *identity = pl_identity_new();
    struct pl_pattern *pattern;
    if (pl_pattern_parse(pl_bytes_text(publish), &pattern) == PL_OK)
        CHECK(pl_identity_add_pattern(identity, PL_PUBLISH, false, pattern) == PL_OK);
    if (pl_pattern_parse(pl_bytes_text(subscribe), &pattern) == PL_OK)
        CHECK(pl_identity_add_pattern(identity, PL_SUBSCRIBE, false, pattern) == PL_OK);
    identity->expires_unix_ms = PL_NEVER;
    return identity;
}

TEST(what_is_not_allowed_is_said_where_the_version_can)
{
    struct place place;
    mqtt_place(&place);
    pl_identity_unref(place.identity);
    place.identity = limited("p.>", "s.>");
    struct peer *p = joined(&place, "p", 5), *old = joined(&place, "o", 4);
    says(p, "82 (0001 00 <'s/a'> 00 <'#'> 00 <'a'> 00)");
    HEARS(p, "90 06 0001 00 00 87 87");
    says(old, "82 (0001 <'s/a'> 00 <'#'> 00 <'a'> 00)");
    HEARS(old, "90 05 0001 00 80 80");
    says(p, "30 05 0001'a' 00 '1' 32 07 0001'a' 0001 00 '1' 34 07 0001'a' 0002 00 '1'");
    HEARS(p, "40 (0001 87 (1f <'not authorized'>))50 (0002 87 (1f <'not authorized'>))");
    says(p, "34 09 0003'p/a' 0002 00 '1'"); /* the refused id is free again */
    HEARS(p, "50 03 0002 10");
    says(old, "30 04 0001'a' '1' 32 06 0001'a' 0001 '1' 34 06 0001'a' 0002 '1'");
    HEARS(old, "40 02 0001 50 02 0002");
    says(old, "62 02 0002");
    HEARS(old, "70 02 0002");
    /* A will needs the right, too. */
    struct peer *w = with_will(&place, "w", 0, 0, 0);
    CLOSED_WITH(w, PL_DENIED);
    mqtt_place_done(&place);
}

TEST(sys_is_the_servers_alone_and_wildcards_spare_it)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 5);
    says(p, "82 07 0001 00 0001'#' 00 82 0c 0002 00 0006'$SYS/#' 00");
    HEARS(p, "90 04 0001 00 00 90 04 0002 00 00");
    says(p, "32 0b 0005'$SYS/' 0001 00 '1'");
    HEARS(p, "40 (0001 87 (1f <'not authorized'>))");
    struct pl_message draft = {
        .subject = B("$SYS.broker.version"), .payload = B("1"), .retain = true};
    CHECK(pl_realm_publish(place.realm, &place.worker, &draft) == PL_OK);
    HEARS(p, "30 17 0013'$SYS/broker/version' 00 '1'");
    mqtt_place_done(&place);
}

TEST(names_change_places_and_escape_what_the_wire_cannot_carry)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 4);
    says(p, "82 06 0001 0001'#' 00");
    HEARS(p, "90 03 0001 00");
    static const struct {
        const char *subject, *topic;
    } cases[] = {{"a.b", "a/b"}, {"a/b", "a.b"}, {"a.*", "a/*"}, {"a.>", "a/>"}, {".", "/"},
        {"a+b", "a%2Bb"}, {"#", "%23"}, {"a\nb", "a%0Ab"}, {"%23", "%2523"}, {"50%", "50%"},
        {"\xc3\xa9", "\xc3\xa9"}, {"\xff", "%FF"}, {"\xc2\x80", "%C2%80"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pl_message draft = {.subject = pl_bytes_text(cases[i].subject)};
        CHECK(pl_realm_publish(place.realm, &place.worker, &draft) == PL_OK);
        place_run(&place);
        size_t len = strlen(cases[i].topic);
        REQUIRE(p->heard_len == len + 4);
        CHECK(memcmp(p->heard + 4, cases[i].topic, len) == 0);
        p->heard_len = 0;
        /* And back. */
        struct pl_writer w = pl_writer_new();
        struct mqtt_publish back = {.topic = pl_bytes_text(cases[i].topic), .payload = B("x")};
        pl_mqtt_encode_publish(&w, 4, &back);
        says_struct(p, &w);
        place_run(&place);
        REQUIRE(p->heard_len == len + 5);
        CHECK(memcmp(p->heard + 4, cases[i].topic, len) == 0);
        p->heard_len = 0;
    }
    mqtt_place_done(&place);
}

TEST(filters_mean_what_the_standard_says)
{
    static const struct {
        const char *filter, *topic;
        bool matches;
    } cases[] = {
        {"a/#", "a", true},
        {"a/#", "a/b/c", true},
        {"a/#", "ab", false},
        {"#", "a/b", true},
        {"#", "$a", false},
        {"+/b", "$a/b", false},
        {"$a/#", "$a/b", true},
        {"+", "a", true},
        {"+", "/a", false},
        {"/+", "/a", true},
        {"+/+", "/a", true},
        {"a/+", "a", false},
        {"a/+", "a/", true},
        {"a/+/c", "a//c", true},
        {"a/*", "a/b", false},
        {"a/*", "a/*", true},
        {"a/>", "a/b", false},
        {"a.b", "a.b", true},
        {"a.b/+", "a.b/c", true},
        {"a.b/+", "a/b/c", false},
        {"%23/+", "%23/a", true},
        {"a/b", "a/b", true},
        {"A", "a", false},
        {"%", "%", true},
        {"\xc3\xa9/+", "\xc3\xa9/1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct place place;
        mqtt_place(&place);
        struct peer *p = joined(&place, "p", 4);
        struct pl_writer w = pl_writer_new();
        struct mqtt_filter filter = {.text = pl_bytes_text(cases[i].filter)};
        struct mqtt_subscribe s = {.packet_id = 1, .count = 1};
        pl_mqtt_encode_subscribe(&w, 4, MQTT_SUBSCRIBE, &s, &filter);
        says_struct(p, &w);
        HEARS(p, "90 03 0001 00");
        struct mqtt_publish m = {.topic = pl_bytes_text(cases[i].topic)};
        w = pl_writer_new();
        pl_mqtt_encode_publish(&w, 4, &m);
        says_struct(p, &w);
        place_run(&place);
        check_that((p->heard_len > 0) == cases[i].matches, __FILE__, __LINE__, "%s and %s",
            cases[i].filter, cases[i].topic);
        p->heard_len = 0;
        mqtt_place_done(&place);
    }
}

TEST(a_queue_has_its_limit_and_keeps_the_older_ones)
{
    struct place place;
    mqtt_place(&place);
    struct pl_mqtt_options options = pl_mqtt_options_default;
    options.queue_count_max = 3;
    place.config.options = &options;
    struct peer *s = joined_for(&place, "s", 4, 0), *p = joined(&place, "p", 4);
    says(s, "82 06 0001 0001'a' 01");
    HEARS(s, "20 02 00 00 90 03 0001 01");
    peer_leave(s);
    says(p, "32 06 0001'a' 0001 '1' 30 04 0001'a' '0' 32 06 0001'a' 0002 '2' 32 06 0001'a' 0003 "
            "'3' 32 06 0001'a' 0004 '4'");
    place_run(&place);
    CHECK_EQ(place.worker.counters.dropped_slow, 1);
    s = joined_for(&place, "s", 4, 0);
    HEARS(s, "20 02 01 00 32 06 0001'a' 0001 '1' 32 06 0001'a' 0002 '2' 32 06 0001'a' 0003 '3'");
    mqtt_place_done(&place);
}

TEST(a_reader_that_lags_is_cut_with_its_reason)
{
    struct place place;
    mqtt_place(&place);
    place.output_max = 100;
    struct peer *s = joined(&place, "s", 5), *p = joined(&place, "p", 4);
    says(s, "82 07 0001 00 0001'a' 00");
    HEARS(s, "90 04 0001 00 00");
    s->reads_nothing = true;
    for (int i = 0; i < 10; i++) {
        says(p, "30 23 0001'a' '01234567890123456789012345678901'");
        place_run(&place);
    }
    CLOSED_WITH(s, PL_SLOW_CONSUMER);
    CHECK_EQ(place.worker.counters.cut_slow, 1);
    mqtt_place_done(&place);
}

TEST(qos_1_waits_in_its_queue_for_a_reader_that_lags)
{
    struct place place;
    mqtt_place(&place);
    place.output_max = 100;
    struct peer *s = joined(&place, "s", 5), *p = joined(&place, "p", 4);
    says(s, "82 07 0001 00 0001'a' 01");
    HEARS(s, "90 04 0001 00 01");
    s->reads_nothing = true;
    for (int i = 0; i < 10; i++) {
        says(p, "32 25 0001'a' 0001 '01234567890123456789012345678901'");
        place_run(&place);
    }
    CHECK(!s->is_closed && s->out.bytes < 200);
    s->reads_nothing = false;
    size_t got = 0;
    for (int i = 0; i < 10; i++) {
        place_run(&place);
        says(s, "c0 00"); /* whatever it says shows that it reads */
        place_run(&place);
    }
    for (size_t i = 0; i + 1 < s->heard_len; i++)
        got += s->heard[i] == 0x32 && s->heard[i + 1] == 0x26;
    CHECK_EQ(got, 10);
    mqtt_place_done(&place);
}

TEST(the_server_says_why_it_closes)
{
    struct place place;
    mqtt_place(&place);
    struct peer *a = joined(&place, "a", 5), *old = joined(&place, "o", 4);
    a->link->is_draining = old->link->is_draining = true;
    pl_mqtt_protocol.drain(a->link);
    pl_mqtt_protocol.drain(old->link);
    HEARS(a, "e0 (8b (1f <'the server is shutting down'>))");
    HEARS(old, "");
    CLOSED_WITH(a, PL_DRAINING);
    CLOSED_WITH(old, PL_DRAINING);
    struct peer *b = joined(&place, "b", 5);
    CHECK_EQ(pl_realm_end_sessions(place.realm, &place.worker, everybody, NULL, PL_KICKED), 1);
    HEARS(b, "e0 (98 (1f <'closed by an operator'>))");
    CLOSED_WITH(b, PL_KICKED);
    pl_identity_unref(place.identity);
    place.identity = limited(">", ">");
    place.identity->expires_unix_ms = place.now_ms + 1000000 + 5000;
    struct peer *c = joined(&place, "c", 5);
    place_pass(&place, 5100);
    HEARS(c, "e0 (a0 (1f <'the login has expired'>))");
    CLOSED_WITH(c, PL_EXPIRED);
    mqtt_place_done(&place);
}

TEST(history_is_given_from_where_a_client_left)
{
    struct place place;
    mqtt_place(&place);
    struct pl_pattern *pattern;
    REQUIRE(pl_pattern_parse(B("h.>"), &pattern) == PL_OK);
    REQUIRE(pl_realm_add_history(
                place.realm, (struct pl_history_rule){.pattern = pattern, .limit = 10}) == PL_OK);
    struct peer *p = joined(&place, "p", 4), *s = joined(&place, "s", 5);
    says(p, "30 (<'h/a'> '1') 30 (<'h/b'> '2') 31 (<'x'> 'r')");
    place_run(&place);
    says(s, "82 (0001 (26 <'parley-since'> <'all'>) <'#'> 00)");
    place_run(&place);
    struct mqtt_suback ack;
    struct mqtt_publish m[2];
    struct pl_diag diag;
    struct pl_bytes left = pl_bytes_of(s->heard, s->heard_len);
    char cursor[2][64] = {0};
    for (int i = 0; i < 3; i++) {
        struct mqtt_fixed fixed;
        REQUIRE(pl_mqtt_read_fixed(left, &fixed) == PL_OK);
        struct pl_bytes body = pl_bytes_of(left.data + fixed.size, fixed.len);
        left = pl_bytes_from(left, fixed.size + fixed.len);
        if (i == 0) {
            CHECK_EQ(pl_mqtt_decode_suback(5, MQTT_SUBACK, body, &ack, &diag), PL_OK);
            CHECK_EQ(ack.properties.user_count, 2);
            continue;
        }
        REQUIRE(pl_mqtt_decode_publish(5, 0, body, &m[i - 1], &diag) == PL_OK);
        struct pl_header user = {0};
        size_t at = 0;
        REQUIRE(pl_mqtt_next_user(&m[i - 1].properties, &at, &user));
        CHECK(pl_bytes_equal(user.name, B("parley-cursor")));
        memcpy(cursor[i - 1], user.value.data, user.value.len < 63 ? user.value.len : 63);
    }
    CHECK_EQ(left.len, 0);
    CHECK(pl_bytes_equal(m[0].topic, B("h/a")) && pl_bytes_equal(m[0].payload, B("1")));
    CHECK(pl_bytes_equal(m[1].topic, B("h/b")) && pl_bytes_equal(m[1].payload, B("2")));
    s->heard_len = 0;
    /* From the first one's cursor on there is the second, then what is live. */
    char packet[256];
    (void)snprintf(packet, sizeof packet,
        "82 (0002 (26 <'parley-since'> <'%s'>) <'h/#'> 00) a2 (0003 00 <'#'>)", cursor[0]);
    says(s, packet);
    place_run(&place);
    s->heard_len = 0;
    says(p, "30 (<'h/c'> '3')");
    place_run(&place);
    REQUIRE(s->heard_len > 10);
    CHECK(memcmp(s->heard + 2, "\0\3h/c", 5) == 0);
    struct peer *t = joined(&place, "t", 5);
    says(t, packet);
    place_run(&place);
    bool has_a = false, has_b = false;
    for (size_t i = 0; i + 3 < t->heard_len; i++) {
        has_a |= memcmp(t->heard + i, "h/a", 3) == 0;
        has_b |= memcmp(t->heard + i, "h/b", 3) == 0;
    }
    CHECK(!has_a && has_b);
    mqtt_place_done(&place);
}

TEST(a_wrong_cursor_is_refused_in_suback)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined(&place, "s", 5);
    says(s, "82 (0001 (26 <'parley-since'> <'x'>) <'h'> 00)");
    HEARS(s, "90 04 0001 00 83");
    mqtt_place_done(&place);
}

TEST(first_bytes_tell_mqtt)
{
    static const struct {
        const char *bytes;
        enum pl_sniff sniff;
    } cases[] = {
        {"", PL_SNIFF_MORE},
        {"10", PL_SNIFF_MORE},
        {"10 0c", PL_SNIFF_MORE},
        {"10 8c", PL_SNIFF_MORE},
        {"10 0c 0004'MQ'", PL_SNIFF_MORE},
        {"10 0c 0004'MQTT'", PL_SNIFF_YES},
        {"10 8c01 0006'MQIsdp'", PL_SNIFF_YES},
        {"10 0c 0004'MQTX'", PL_SNIFF_NO},
        {"11", PL_SNIFF_NO},
        {"'GET /'", PL_SNIFF_NO},
        {"10 ff ff ff ff", PL_SNIFF_NO},
        {"16 03 01", PL_SNIFF_NO},
    };
    struct hex h;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(pl_mqtt_protocol.sniff(hex_read(&h, cases[i].bytes)), cases[i].sniff);
}

TEST(a_thousand_filters_are_found_again)
{
    struct place place;
    mqtt_place(&place);
    struct peer *s = joined_for(&place, "s", 4, 0), *p = joined(&place, "p", 4);
    s->heard_len = 0;
    for (int i = 0; i < 1000; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "82 09 0001 0004'%04d' 00", i);
        says(s, text);
    }
    place_run(&place);
    CHECK_EQ(s->heard_len, 5000);
    s->heard_len = 0;
    for (int i = 0; i < 1000; i += 2) {
        char text[64];
        (void)snprintf(text, sizeof text, "a2 08 0001 0004'%04d'", i);
        says(s, text);
    }
    place_run(&place);
    s->heard_len = 0;
    says(p, "30 07 0004'0500' '1' 30 07 0004'0501' '1'");
    HEARS(s, "30 07 0004'0501' '1'");
    mqtt_place_done(&place);
}

/* One allocation after the other fails, alone or with all behind it: nobody crashes, nothing leaks,
 * nobody is left behind, the others go on. */
TEST(memory_that_runs_out_costs_a_connection_at_most)
{
    static const char *const steps[] = {
        "10 (<'MQTT'> 05 2c 0000 (11 00000064 22 0002) <'a'> (02 00000009 18 00000001 26 <'k'> "
        "<'v'>)"
        " <'w'> <'bye'>)",
        "82 (0001 (0b 07) <'t/#'> 02 <'$share/g/t'> 01 <'x/+'> 00 <'%41'> 00)",
        "31 (<'t'> (01 01 02 00000009 03 <'ct'> 08 <'r'> 09 <'c'> 23 0001 26 <'k'> <'v'>) 'hi')",
        "32 (<> 0001 (23 0001) 'again') 34 (<'t/1'> 0002 00 'x') 34 (<'t/%41'> 0003 00 'y')",
        "40 (0001) 50 (0002) 62 (0002) 70 (0002) 62 (0003)",
        "82 (0002 (26 <'parley-since'> <'all'>) <'t/#'> 01) a2 (0003 00 <'x/+'> <'none'>)",
        "82 (0004 00 <'1'> 00 <'2'> 00 <'3'> 00 <'4'> 00 <'5'> 00 <'6'> 00 <'7'> 00 <'8'> 00 <'9'> "
        "00"
        " <'10'> 00 <'11'> 00 <'12'> 00 <'13'> 00)",
    };
    for (long n = 0; n < 400; n++) {
        struct place place;
        mqtt_place(&place);
        struct peer *other = joined(&place, "other", 4);
        says(other, "82 (0001 <'t/#'> 01 <'w'> 00)");
        place_run(&place);
        other->heard_len = 0;
        struct peer *p = peer_new(&place);
        pl_alloc_fail(n, (int)(n % 2));
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            says(p, steps[i]);
            (void)place_turns(&place, 20); /* without memory it need not come to rest */
        }
        pl_alloc_fail(-1, 0);
        place_run(&place);
        /* Taken over with memory that ends, too. */
        struct peer *q = peer_new(&place);
        pl_alloc_fail(n / 4, (int)(n % 2));
        says(q, "10 (<'MQTT'> 05 00 0000 (11 00000064) <'a'>)");
        (void)place_turns(&place, 20);
        says(q, "32 (<'t'> 0001 00 'x')");
        (void)place_turns(&place, 20);
        pl_alloc_fail(-1, 0);
        place_run(&place);
        other->heard_len = 0;
        says(other, "c0 00");
        place_run(&place);
        CHECK(!other->is_closed && other->heard_len >= 2);
        mqtt_place_done(&place);
    }
}

TEST(what_waits_for_a_client_is_judged_by_the_login_it_comes_back_with)
{
    struct place place;
    mqtt_place(&place);
    struct peer *p = joined(&place, "p", 5), *s = joined_for(&place, "s", 5, 100);
    says(s, "82 (0001 00 <'s/+'> 01)");
    HEARS(s, WELCOME "90 04 0001 00 01");
    says(p, "32 09 0003's/a' 0001 00 '1'"); /* sent, and not acknowledged */
    HEARS(s, "32 09 0003's/a' 0001 00 '1'");
    peer_leave(s);
    says(p, "32 09 0003's/a' 0002 00 '2' 32 09 0003's/b' 0003 00 '3'");
    place_run(&place);
    struct pl_identity *ann = place.identity;
    struct pl_pattern *secret;
    place.identity = limited("p.>", "s.>");
    place.identity->user = PL_BYTES("ann");
    CHECK(pl_pattern_parse(PL_BYTES("s.a"), &secret) == PL_OK);
    CHECK(pl_identity_add_pattern(place.identity, PL_SUBSCRIBE, true, secret) == PL_OK);
    struct peer *back = joined_for(&place, "s", 5, 100);
    HEARS(back, WELCOME_BACK "32 09 0003's/b' 0002 00 '3'");
    /* Who may not have a subscription at all finds no session. */
    says(back, "40 02 0002");
    place_run(&place);
    peer_leave(back);
    pl_identity_unref(place.identity);
    place.identity = limited("p.>", "t.>");
    place.identity->user = PL_BYTES("ann");
    HEARS(joined_for(&place, "s", 5, 100), WELCOME);
    pl_identity_unref(ann);
    mqtt_place_done(&place);
}

/* The connection goes in the turn in which something was asked for: the answers find nobody. */
TEST(answers_that_come_after_the_client_has_gone_do_no_harm)
{
    static const char *const asked[] = {
        "82 (0001 00 <'a'> 01)",
        "82 (0001 00 <'a'> 01) 82 (0002 00 <'a'> 00)",
        "82 (0001 00 <'a'> 01) a2 (0002 00 <'a'>)",
        "82 (0001 00 <'a'> 01) a2 (0002 00 <'a'>) 82 (0003 00 <'a'> 02) 32 06 0001'a' 0001 00",
        "34 07 0001'a' 0002 00 '1' 32 07 0001'a' 0003 00 '2' 62 02 0002",
        "82 (0001 (26 <'parley-since'> <'all'>) <'a'> 01)",
    };
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        for (uint32_t expiry_s = 0; expiry_s <= 100; expiry_s += 100)
            for (int rounds = 0; rounds < 4; rounds++) {
                struct place place;
                mqtt_place(&place);
                struct peer *p = joined_for(&place, "c", 5, expiry_s);
                says(p, asked[i]);
                struct peer *next = peer_new(&place);
                struct mqtt_connect c = connect_as("c", 5);
                c.clean_start = rounds % 2;
                if (rounds < 2) /* before or after the claim of another */
                    peer_leave(p);
                says_connect(next, &c);
                says(next, asked[i]);
                if (rounds >= 2)
                    peer_leave(p);
                peer_leave(next);
                mqtt_place_done(&place);
            }
}
