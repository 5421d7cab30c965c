#include "protocols/mqtt/mqtt_packet.h"

#include <stdlib.h>

#include "base/alloc.h"

#include "check.h"
#include "hex.h"

#define B(text) PL_BYTES(text)

/* What an encoder wrote is this. */
static void expect_written(struct pl_writer *w, const char *expected, int line)
{
    struct hex h;
    struct pl_bytes want = hex_read(&h, expected);
    struct pl_shared *out = NULL;
    enum pl_err err = pl_writer_take(w, &out);
    check_equal(err, PL_OK, __FILE__, line, "encoded");
    if (!err)
        check_bytes(out->data, out->len, want.data, want.len, __FILE__, line, expected);
    pl_shared_unref(out);
}

#define WRITTEN(call, expected)                                                                    \
    do {                                                                                           \
        struct pl_writer w = pl_writer_new();                                                      \
        call;                                                                                      \
        expect_written(&w, expected, __LINE__);                                                    \
    } while (0)

/* A copy on the heap of exactly its length, so that the sanitizer sees one byte too many. */
static struct pl_bytes exact(struct pl_bytes in)
{
    uint8_t *copy = malloc(in.len ? in.len : 1);
    if (in.len)
        memcpy(copy, in.data, in.len);
    return pl_bytes_of(copy, in.len);
}

static void let_go(struct pl_bytes b)
{
    free((void *)(uintptr_t)b.data);
}

static enum pl_err decode_any(
    uint8_t version, uint8_t type, uint8_t flags, struct pl_bytes body, struct pl_diag *diag)
{
    union {
        struct mqtt_connect connect;
        struct mqtt_connack connack;
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe;
        struct mqtt_suback suback;
        struct mqtt_disconnect disconnect;
    } out;
    switch (type) {
    case MQTT_CONNECT:
        return pl_mqtt_decode_connect(body, &out.connect, diag);
    case MQTT_CONNACK:
        return pl_mqtt_decode_connack(version, body, &out.connack, diag);
    case MQTT_PUBLISH:
        return pl_mqtt_decode_publish(version, flags, body, &out.publish, diag);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return pl_mqtt_decode_ack(version, type, body, &out.ack, diag);
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return pl_mqtt_decode_subscribe(version, type, body, &out.subscribe, diag);
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        return pl_mqtt_decode_suback(version, type, body, &out.suback, diag);
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        return pl_mqtt_decode_disconnect(version, type, body, &out.disconnect, diag);
    default:
        return body.len ? PL_MALFORMED : PL_OK;
    }
}

/* The whole packet is refused with this error and reason, or accepted (PL_OK). */
static void expect_judged(
    uint8_t version, const char *packet, enum pl_err wanted, int reason, int line)
{
    struct hex h;
    struct pl_bytes whole = hex_read(&h, packet);
    struct mqtt_fixed fixed;
    struct pl_diag diag = {0};
    if (!check_that(
            pl_mqtt_read_fixed(whole, &fixed) == PL_OK, __FILE__, line, "%s: fixed", packet) ||
        !check_that(fixed.len + fixed.size == whole.len, __FILE__, line, "%s: its length", packet))
        return;
    struct pl_bytes body = exact(pl_bytes_from(whole, fixed.size));
    enum pl_err err = decode_any(version, fixed.type, fixed.flags, body, &diag);
    check_that(err == wanted, __FILE__, line, "%s: got \"%s\", expected \"%s\"", packet,
        pl_err_text(err), pl_err_text(wanted));
    if (err && err == wanted)
        check_that(diag.code == reason, __FILE__, line, "%s: reason %02x, expected %02x", packet,
            (unsigned)diag.code, (unsigned)reason);
    /* Cut off anywhere it is never read beyond, and never the same packet with more to it. */
    for (size_t n = 0; n < body.len; n++) {
        struct pl_bytes part = exact(pl_bytes_of(body.data, n));
        (void)!decode_any(version, fixed.type, fixed.flags, part, &diag);
        let_go(part);
    }
    let_go(body);
}

#define ACCEPTED(version, packet) expect_judged(version, packet, PL_OK, 0, __LINE__)
#define MALFORMED(version, packet)                                                                 \
    expect_judged(version, packet, PL_MALFORMED, MQTT_MALFORMED_PACKET, __LINE__)
#define FORBIDDEN(version, packet, reason)                                                         \
    expect_judged(version, packet, PL_PROTOCOL, reason, __LINE__)

TEST(lengths_take_one_to_four_bytes_and_no_more_than_needed)
{
    static const struct {
        uint32_t value;
        const char *bytes;
    } cases[] = {{0, "00"}, {127, "7f"}, {128, "80 01"}, {16383, "ff 7f"}, {16384, "80 80 01"},
        {2097151, "ff ff 7f"}, {2097152, "80 80 80 01"}, {MQTT_LENGTH_MAX, "ff ff ff 7f"}};
    struct hex h;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pl_bytes bytes = hex_read(&h, cases[i].bytes);
        uint32_t value = 0;
        size_t used = 0;
        uint8_t written[4];
        CHECK_EQ(pl_mqtt_read_length(bytes, &value, &used), PL_OK);
        CHECK_EQ(value, cases[i].value);
        CHECK_EQ(used, bytes.len);
        CHECK_EQ(pl_mqtt_length_size(value), bytes.len);
        CHECK_BYTES(
            written, (size_t)(pl_mqtt_put_length(written, value) - written), bytes.data, bytes.len);
        for (size_t n = 0; n < bytes.len; n++)
            CHECK_EQ(pl_mqtt_read_length(pl_bytes_of(bytes.data, n), &value, &used), PL_NEED_MORE);
    }
    static const char *const bad[] = {
        "80 00", "ff 80 00", "80 80 80 00", "ff ff ff ff", "80 80 80 80 01", "ff ff ff 80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t value = 0;
        size_t used = 0;
        CHECK_EQ(pl_mqtt_read_length(hex_read(&h, bad[i]), &value, &used), PL_MALFORMED);
    }
}

TEST(a_fixed_header_waits_for_its_length)
{
    struct mqtt_fixed fixed;
    struct hex h;
    CHECK_EQ(pl_mqtt_read_fixed(PL_NO_BYTES, &fixed), PL_NEED_MORE);
    CHECK_EQ(pl_mqtt_read_fixed(hex_read(&h, "30"), &fixed), PL_NEED_MORE);
    CHECK_EQ(pl_mqtt_read_fixed(hex_read(&h, "30 80"), &fixed), PL_NEED_MORE);
    CHECK_EQ(pl_mqtt_read_fixed(hex_read(&h, "30 ff ff ff ff"), &fixed), PL_MALFORMED);
    CHECK_EQ(pl_mqtt_read_fixed(hex_read(&h, "3d 80 01"), &fixed), PL_OK);
    CHECK_EQ(fixed.type, MQTT_PUBLISH);
    CHECK_EQ(fixed.flags, 13);
    CHECK_EQ(fixed.size, 3);
    CHECK_EQ(fixed.len, 128);
}

TEST(flags_are_what_the_version_allows)
{
    /* Bits: flags 0 to 15 that are valid. */
    static const struct {
        uint8_t type;
        uint16_t old, v311, v5;
    } cases[] = {
        {0, 0, 0, 0},
        {MQTT_CONNECT, 0xFFFF, 1, 1},
        {MQTT_PUBLISH, 0x3C3F, 0x3C3F, 0x3C3F},
        {MQTT_PUBACK, 0xFFFF, 1, 1},
        {MQTT_PUBREC, 0xFFFF, 1, 1},
        {MQTT_PUBREL, 0x0C0C, 4, 4},
        {MQTT_PUBCOMP, 0xFFFF, 1, 1},
        {MQTT_SUBSCRIBE, 0x0C0C, 4, 4},
        {MQTT_UNSUBSCRIBE, 0x0C0C, 4, 4},
        {MQTT_PINGREQ, 0xFFFF, 1, 1},
        {MQTT_DISCONNECT, 0xFFFF, 1, 1},
        {MQTT_AUTH, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint8_t flags = 0; flags < 16; flags++) {
            struct mqtt_fixed fixed = {.type = cases[i].type, .flags = flags};
            CHECK_EQ(pl_mqtt_flags_are_valid(3, &fixed), cases[i].old >> flags & 1);
            CHECK_EQ(pl_mqtt_flags_are_valid(4, &fixed), cases[i].v311 >> flags & 1);
            CHECK_EQ(pl_mqtt_flags_are_valid(5, &fixed), cases[i].v5 >> flags & 1);
        }
}

TEST(connect_of_3_1_and_3_1_1_comes_back_as_it_was)
{
    struct mqtt_connect c = {.version = 4,
        .clean_start = true,
        .keep_alive_s = 60,
        .client_id = B("abc"),
        .has_will = true,
        .will_qos = 2,
        .will_retain = true,
        .will_topic = B("w/t"),
        .will_payload = B("bye"),
        .has_user = true,
        .user = B("u"),
        .has_password = true,
        .password = B("p")};
    const char *bytes = "10 1f 0004'MQTT' 04 f6 003c 0003'abc' 0003'w/t' 0003'bye' 0001'u' 0001'p'";
    WRITTEN(pl_mqtt_encode_connect(&w, &c), bytes);
    c.version = 3;
    WRITTEN(pl_mqtt_encode_connect(&w, &c),
        "10 21 0006'MQIsdp' 03 f6 003c 0003'abc' 0003'w/t' 0003'bye' 0001'u' 0001'p'");
    struct hex h;
    struct mqtt_connect d;
    struct pl_diag diag;
    struct pl_bytes whole = hex_read(&h, bytes);
    REQUIRE(pl_mqtt_decode_connect(pl_bytes_from(whole, 2), &d, &diag) == PL_OK);
    CHECK_EQ(d.version, 4);
    CHECK(d.clean_start && d.has_will && d.will_retain && d.has_user && d.has_password);
    CHECK_EQ(d.will_qos, 2);
    CHECK_EQ(d.keep_alive_s, 60);
    CHECK(pl_bytes_equal(d.client_id, B("abc")));
    CHECK(pl_bytes_equal(d.will_topic, B("w/t")));
    CHECK(pl_bytes_equal(d.will_payload, B("bye")));
    CHECK(pl_bytes_equal(d.user, B("u")));
    CHECK(pl_bytes_equal(d.password, B("p")));
}

TEST(connect_of_5_carries_all_its_properties)
{
    struct pl_header user = {B("k"), B("v")};
    struct mqtt_connect c = {.version = 5,
        .clean_start = false,
        .keep_alive_s = 10,
        .client_id = B("c"),
        .has_will = true,
        .will_topic = B("t"),
        .will_payload = B("w"),
        .has_password = true,
        .password = B("jwt")};
    MQTT_SET(&c.properties, session_expiry, 3600);
    MQTT_SET(&c.properties, auth_method, B("m"));
    MQTT_SET(&c.properties, auth_data, B("d"));
    MQTT_SET(&c.properties, request_problem, 0);
    MQTT_SET(&c.properties, request_response, 1);
    MQTT_SET(&c.properties, receive_max, 20);
    MQTT_SET(&c.properties, topic_alias_max, 7);
    MQTT_SET(&c.properties, packet_max, 65536);
    c.properties.users = &user;
    c.properties.user_count = 1;
    MQTT_SET(&c.will_properties, payload_format, 1);
    MQTT_SET(&c.will_properties, message_expiry, 5);
    MQTT_SET(&c.will_properties, content_type, B("ct"));
    MQTT_SET(&c.will_properties, response_topic, B("r"));
    MQTT_SET(&c.will_properties, correlation, B("co"));
    MQTT_SET(&c.will_properties, will_delay, 9);
    const char *bytes = "10 57 0004'MQTT' 05 44 000a"
                        " 23 11 00000e10 15 0001'm' 16 0001'd' 17 00 19 01 21 0014 22 0007"
                        " 27 00010000 26 0001'k' 0001'v'"
                        " 0001'c'"
                        " 1a 01 01 02 00000005 03 0002'ct' 08 0001'r' 09 0002'co' 18 00000009"
                        " 0001't' 0001'w' 0003'jwt'";
    WRITTEN(pl_mqtt_encode_connect(&w, &c), bytes);
    struct hex h;
    struct mqtt_connect d;
    struct pl_diag diag = {0};
    struct pl_bytes whole = hex_read(&h, bytes);
    REQUIRE(pl_mqtt_decode_connect(pl_bytes_from(whole, 2), &d, &diag) == PL_OK);
    CHECK(!d.has_user && d.has_password);
    CHECK_EQ(d.properties.present, c.properties.present);
    CHECK_EQ(d.properties.session_expiry, 3600);
    CHECK(pl_bytes_equal(d.properties.auth_method, B("m")));
    CHECK(pl_bytes_equal(d.properties.auth_data, B("d")));
    CHECK_EQ(d.properties.request_problem, 0);
    CHECK_EQ(d.properties.request_response, 1);
    CHECK_EQ(d.properties.receive_max, 20);
    CHECK_EQ(d.properties.topic_alias_max, 7);
    CHECK_EQ(d.properties.packet_max, 65536);
    CHECK_EQ(d.properties.user_count, 1);
    CHECK_EQ(d.will_properties.present, c.will_properties.present);
    CHECK_EQ(d.will_properties.will_delay, 9);
    CHECK_EQ(d.will_properties.message_expiry, 5);
    CHECK(pl_bytes_equal(d.will_properties.correlation, B("co")));
    struct pl_header read;
    size_t at = 0;
    REQUIRE(pl_mqtt_next_user(&d.properties, &at, &read));
    CHECK(pl_bytes_equal(read.name, B("k")) && pl_bytes_equal(read.value, B("v")));
    CHECK(!pl_mqtt_next_user(&d.properties, &at, &read));
}

TEST(connect_is_refused_for_what_the_standard_forbids)
{
    ACCEPTED(0, "10 0c 0004'MQTT' 04 02 0000 0000");
    expect_judged(0, "10 0c 0004'MQTX' 04 02 0000 0000", PL_UNSUPPORTED, 0x84, __LINE__);
    expect_judged(0, "10 0c 0004'MQTT' 06 02 0000 0000", PL_UNSUPPORTED, 0x84, __LINE__);
    expect_judged(0, "10 0c 0004'MQTT' 03 02 0000 0000", PL_UNSUPPORTED, 0x84, __LINE__);
    expect_judged(0, "10 0e 0006'MQIsdp' 04 02 0000 0000", PL_UNSUPPORTED, 0x84, __LINE__);
    expect_judged(0, "10 0e 0006'MQIsdp' 83 02 0000 0000", PL_UNSUPPORTED, 0x84, __LINE__);
    MALFORMED(0, "10 0c 0004'MQTT' 04 03 0000 0000");           /* reserved flag */
    MALFORMED(0, "10 0c 0004'MQTT' 04 0a 0000 0000");           /* will QoS without a will */
    MALFORMED(0, "10 0c 0004'MQTT' 04 22 0000 0000");           /* will retain without a will */
    MALFORMED(0, "10 10 0004'MQTT' 04 1e 0000 0000 0000 0000"); /* will QoS 3 */
    MALFORMED(0, "10 0f 0004'MQTT' 04 42 0000 0000 0001'p'");   /* a password alone */
    ACCEPTED(0, "10 10 0004'MQTT' 05 42 0000 00 0000 0001'p'"); /* which 5 allows */
    MALFORMED(0, "10 0d 0004'MQTT' 04 02 0000 0000 00");        /* something behind it */
    MALFORMED(0, "10 0c 0004'MQTT' 04 02 0000 0001");           /* cut off */
    MALFORMED(0, "10 0c 0004'MQTT' 04 82 0000 0000");           /* no user in spite of the flag */
    ACCEPTED(0, "10 0e 0006'MQIsdp' 03 c2 0000 0000");          /* which 3.1 allows */
    MALFORMED(0, "10 0e 0004'MQTT' 04 02 0000 0002 c080");      /* not UTF-8 */
    MALFORMED(0, "10 0f 0004'MQTT' 04 02 0000 0003 eda080");    /* a surrogate */
    MALFORMED(0, "10 0d 0004'MQTT' 04 02 0000 0001 00");        /* U+0000 */
    MALFORMED(0, "10 0d 0004'MQTT' 05 02 0000 01 0000");        /* properties cut off */
    MALFORMED(0, "10 0f 0004'MQTT' 05 02 0000 02 01 01 0000");  /* a property of another packet */
    MALFORMED(0, "10 0f 0004'MQTT' 05 02 0000 02 7f 01 0000");  /* a property that is none */
    FORBIDDEN(0, "10 11 0004'MQTT' 05 02 0000 04 17 01 17 01 0000", 0x82); /* twice */
    FORBIDDEN(0, "10 0f 0004'MQTT' 05 02 0000 02 17 02 0000", 0x82);
    FORBIDDEN(0, "10 0f 0004'MQTT' 05 02 0000 02 19 02 0000", 0x82);
    FORBIDDEN(0, "10 10 0004'MQTT' 05 02 0000 03 21 0000 0000", 0x82);
    FORBIDDEN(0, "10 12 0004'MQTT' 05 02 0000 05 27 00000000 0000", 0x82);
    FORBIDDEN(0, "10 11 0004'MQTT' 05 02 0000 04 16 0001'd' 0000", 0x82); /* data, no method */
}

TEST(connack_speaks_each_version)
{
    struct mqtt_connack c = {.session_present = true};
    WRITTEN(pl_mqtt_encode_connack(&w, 4, &c), "20 02 01 00");
    WRITTEN(pl_mqtt_encode_connack(&w, 5, &c), "20 03 01 00 00");
    c = (struct mqtt_connack){.code = 5};
    WRITTEN(pl_mqtt_encode_connack(&w, 3, &c), "20 02 00 05");
    c = (struct mqtt_connack){0};
    MQTT_SET(&c.properties, session_expiry, 1);
    MQTT_SET(&c.properties, receive_max, 2);
    MQTT_SET(&c.properties, qos_max, 1);
    MQTT_SET(&c.properties, retain_available, 0);
    MQTT_SET(&c.properties, packet_max, 3);
    MQTT_SET(&c.properties, assigned_client_id, B("id"));
    MQTT_SET(&c.properties, topic_alias_max, 4);
    MQTT_SET(&c.properties, reason_string, B("r"));
    MQTT_SET(&c.properties, wildcard_available, 0);
    MQTT_SET(&c.properties, subscription_id_available, 0);
    MQTT_SET(&c.properties, shared_available, 0);
    MQTT_SET(&c.properties, server_keep_alive, 5);
    MQTT_SET(&c.properties, response_information, B("i"));
    MQTT_SET(&c.properties, server_reference, B("s"));
    MQTT_SET(&c.properties, auth_method, B("m"));
    MQTT_SET(&c.properties, auth_data, B("d"));
    const char *bytes = "20 39 00 00 36 11 00000001 12 0002'id' 13 0005 15 0001'm' 16 0001'd'"
                        " 1a 0001'i' 1c 0001's' 1f 0001'r' 21 0002 22 0004 24 01 25 00"
                        " 27 00000003 28 00 29 00 2a 00";
    WRITTEN(pl_mqtt_encode_connack(&w, 5, &c), bytes);
    ACCEPTED(5, bytes);
    MALFORMED(4, "20 02 02 00");
    MALFORMED(4, "20 02 00 06");
    MALFORMED(5, "20 03 00 01 00");
    FORBIDDEN(4, "20 02 01 05", 0x82);
    MALFORMED(4, "20 03 00 00 00");
}

TEST(publish_comes_back_as_it_was)
{
    struct mqtt_publish p = {.topic = B("a/b"), .payload = B("hi")};
    WRITTEN(pl_mqtt_encode_publish(&w, 4, &p), "30 07 0003'a/b' 'hi'");
    WRITTEN(pl_mqtt_encode_publish(&w, 5, &p), "30 08 0003'a/b' 00 'hi'");
    p.qos = 2;
    p.packet_id = 258;
    p.dup = p.retain = true;
    WRITTEN(pl_mqtt_encode_publish(&w, 3, &p), "3d 09 0003'a/b' 0102 'hi'");
    struct pl_header users[] = {{B("a"), B("1")}, {B("a"), B("2")}};
    p.properties.users = users;
    p.properties.user_count = 2;
    MQTT_SET(&p.properties, payload_format, 1);
    MQTT_SET(&p.properties, message_expiry, 0);
    MQTT_SET(&p.properties, topic_alias, 9);
    MQTT_SET(&p.properties, response_topic, B("r"));
    MQTT_SET(&p.properties, correlation, B(""));
    MQTT_SET(&p.properties, subscription_id, 200);
    MQTT_SET(&p.properties, content_type, B("j"));
    const char *bytes = "3d 30 0003'a/b' 0102 26 01 01 02 00000000 03 0001'j' 08 0001'r' 09 0000"
                        " 0b c801 23 0009 26 0001'a' 0001'1' 26 0001'a' 0001'2' 'hi'";
    WRITTEN(pl_mqtt_encode_publish(&w, 5, &p), bytes);
    struct hex h;
    struct mqtt_publish d;
    struct pl_diag diag;
    struct pl_bytes whole = hex_read(&h, bytes);
    REQUIRE(pl_mqtt_decode_publish(5, 13, pl_bytes_from(whole, 2), &d, &diag) == PL_OK);
    CHECK(d.dup && d.retain);
    CHECK_EQ(d.qos, 2);
    CHECK_EQ(d.packet_id, 258);
    CHECK(pl_bytes_equal(d.topic, B("a/b")));
    CHECK(pl_bytes_equal(d.payload, B("hi")));
    CHECK_EQ(d.properties.present, p.properties.present);
    CHECK_EQ(d.properties.topic_alias, 9);
    CHECK_EQ(d.properties.subscription_id, 200);
    CHECK_EQ(d.properties.user_count, 2);
}

TEST(publish_may_name_several_subscriptions)
{
    struct hex h;
    struct mqtt_publish d;
    struct pl_diag diag;
    struct pl_bytes body = hex_read(&h, "0001't' 07 0b 01 0b 8002 0b 03");
    REQUIRE(pl_mqtt_decode_publish(5, 0, body, &d, &diag) == PL_OK);
    CHECK_EQ(d.properties.subscription_count, 3);
    uint32_t id = 0;
    size_t at = 0;
    CHECK(pl_mqtt_next_subscription_id(&d.properties, &at, &id) && id == 1);
    CHECK(pl_mqtt_next_subscription_id(&d.properties, &at, &id) && id == 256);
    CHECK(pl_mqtt_next_subscription_id(&d.properties, &at, &id) && id == 3);
    CHECK(!pl_mqtt_next_subscription_id(&d.properties, &at, &id));
}

TEST(publish_is_refused_for_what_the_standard_forbids)
{
    ACCEPTED(4, "30 02 0000"); /* an empty topic is judged where aliases are known */
    MALFORMED(4, "30 01 00");
    MALFORMED(4, "30 03 0002 61");
    MALFORMED(4, "32 04 0001'a' 00");
    FORBIDDEN(4, "32 05 0001'a' 0000", 0x82);
    MALFORMED(5, "30 03 0001'a'"); /* no property length */
    MALFORMED(5, "30 05 0001'a' 02 01");
    FORBIDDEN(5, "30 06 0001'a' 02 01 02", 0x82);
    FORBIDDEN(5, "30 07 0001'a' 03 23 0000", 0x94);
    FORBIDDEN(5, "30 06 0001'a' 02 0b 00", 0x82);
    MALFORMED(5, "30 07 0001'a' 03 0b 8000");
    MALFORMED(5, "30 09 0001'a' 05 0b ffffffff");
    FORBIDDEN(5, "30 0a 0001'a' 06 23 0001 23 0001", 0x82);
    MALFORMED(5, "30 08 0001'a' 04 03 0001 ff");
    MALFORMED(5, "30 0a 0001'a' 06 26 0001'a' 0001"); /* a user property without its value */
    MALFORMED(5, "30 0b 0001'a' 07 26 0001 ff 0001 61");
    ACCEPTED(5, "30 08 0001'a' 04 09 0001 ff"); /* correlation data is no text */
}

TEST(acknowledgements_are_as_short_as_they_can_be)
{
    struct mqtt_ack a = {.packet_id = 10};
    static const uint8_t types[] = {MQTT_PUBACK, MQTT_PUBREC, MQTT_PUBREL, MQTT_PUBCOMP};
    static const char *const plain[] = {"40 02 000a", "50 02 000a", "62 02 000a", "70 02 000a"};
    static const char *const failed[] = {
        "40 03 000a 87", "50 03 000a 87", "62 03 000a 92", "70 03 000a 92"};
    static const char *const told[] = {"40 08 000a 87 04 1f 0001'x'", "50 08 000a 87 04 1f 0001'x'",
        "62 08 000a 92 04 1f 0001'x'", "70 08 000a 92 04 1f 0001'x'"};
    for (int i = 0; i < 4; i++) {
        a.reason = 0;
        a.properties = (struct mqtt_properties){0};
        WRITTEN(pl_mqtt_encode_ack(&w, 5, types[i], &a), plain[i]);
        ACCEPTED(5, plain[i]);
        a.reason = i < 2 ? 0x87 : 0x92;
        WRITTEN(pl_mqtt_encode_ack(&w, 5, types[i], &a), failed[i]);
        WRITTEN(pl_mqtt_encode_ack(&w, 4, types[i], &a), plain[i]);
        ACCEPTED(5, failed[i]);
        MALFORMED(4, failed[i]);
        MQTT_SET(&a.properties, reason_string, B("x"));
        WRITTEN(pl_mqtt_encode_ack(&w, 5, types[i], &a), told[i]);
        ACCEPTED(5, told[i]);
    }
    FORBIDDEN(4, "40 02 0000", 0x82);
    MALFORMED(4, "40 01 00");
    MALFORMED(5, "40 03 000a 92"); /* a code of another packet */
    MALFORMED(5, "62 03 000a 87");
    MALFORMED(5, "40 05 000a 00 01 1f");
    MALFORMED(5, "40 05 000a 00 00 00");
    FORBIDDEN(5, "40 0c 000a 00 08 1f 0001'x' 1f 0001'y'", 0x82);
}

TEST(subscribe_comes_back_as_it_was)
{
    struct mqtt_subscribe s = {.packet_id = 7, .count = 2};
    struct mqtt_filter filters[] = {{.text = B("a/+"), .qos = 1}, {.text = B("#"),
                                                                      .qos = 2,
                                                                      .no_local = true,
                                                                      .retain_as_published = true,
                                                                      .retain_handling = 2}};
    WRITTEN(pl_mqtt_encode_subscribe(&w, 4, MQTT_SUBSCRIBE, &s, filters),
        "82 0c 0007 0003'a/+' 01 0001'#' 02");
    MQTT_SET(&s.properties, subscription_id, 5);
    const char *bytes = "82 0f 0007 02 0b 05 0003'a/+' 01 0001'#' 2e";
    WRITTEN(pl_mqtt_encode_subscribe(&w, 5, MQTT_SUBSCRIBE, &s, filters), bytes);
    WRITTEN(pl_mqtt_encode_subscribe(&w, 4, MQTT_UNSUBSCRIBE, &s, filters),
        "a2 0a 0007 0003'a/+' 0001'#'");
    struct hex h;
    struct mqtt_subscribe d;
    struct mqtt_filter f;
    struct pl_diag diag;
    struct pl_bytes whole = hex_read(&h, bytes);
    REQUIRE(
        pl_mqtt_decode_subscribe(5, MQTT_SUBSCRIBE, pl_bytes_from(whole, 2), &d, &diag) == PL_OK);
    CHECK_EQ(d.packet_id, 7);
    CHECK_EQ(d.count, 2);
    CHECK_EQ(d.properties.subscription_id, 5);
    size_t at = 0;
    REQUIRE(pl_mqtt_next_filter(&d, 5, MQTT_SUBSCRIBE, &at, &f));
    CHECK(pl_bytes_equal(f.text, B("a/+")) && f.qos == 1 && !f.no_local && !f.retain_handling);
    REQUIRE(pl_mqtt_next_filter(&d, 5, MQTT_SUBSCRIBE, &at, &f));
    CHECK(pl_bytes_equal(f.text, B("#")) && f.qos == 2 && f.no_local && f.retain_as_published);
    CHECK_EQ(f.retain_handling, 2);
    CHECK(!pl_mqtt_next_filter(&d, 5, MQTT_SUBSCRIBE, &at, &f));
}

TEST(subscribe_is_refused_for_what_the_standard_forbids)
{
    FORBIDDEN(4, "82 02 0007", 0x82);
    FORBIDDEN(4, "a2 02 0007", 0x82);
    FORBIDDEN(4, "82 06 0000 0001'a' 00", 0x82);
    MALFORMED(4, "82 06 0007 0001'a' 03");
    MALFORMED(4, "82 06 0007 0001'a' 04");
    ACCEPTED(3, "82 06 0007 0001'a' 04"); /* 3.1 calls these bits "not used" */
    MALFORMED(5, "82 07 0007 00 0001'a' 30");
    MALFORMED(5, "82 07 0007 00 0001'a' 40");
    MALFORMED(5, "82 07 0007 00 0001'a' 80");
    ACCEPTED(5, "82 07 0007 00 0001'a' 2e");
    MALFORMED(4, "82 05 0007 0001'a'");
    MALFORMED(4, "82 06 0007 0001 ff 00");
    MALFORMED(4, "82 06 0007 0001 00 00");
    FORBIDDEN(5, "82 09 0007 02 0b 00 0001'a' 00", 0x82);
    FORBIDDEN(5, "82 0b 0007 04 0b 01 0b 02 0001'a' 00", 0x82); /* one identifier a packet */
    MALFORMED(5, "a2 08 0007 02 0b 01 0001'a'");                /* none in UNSUBSCRIBE */
}

TEST(suback_and_unsuback_speak_each_version)
{
    struct mqtt_suback s = {.packet_id = 1, .codes = pl_bytes_of("\x00\x01\x80", 3)};
    WRITTEN(pl_mqtt_encode_suback(&w, 4, MQTT_SUBACK, &s), "90 05 0001 00 01 80");
    WRITTEN(pl_mqtt_encode_suback(&w, 5, MQTT_SUBACK, &s), "90 06 0001 00 00 01 80");
    s.codes = pl_bytes_of("\x11", 1);
    WRITTEN(pl_mqtt_encode_suback(&w, 5, MQTT_UNSUBACK, &s), "b0 04 0001 00 11");
    WRITTEN(pl_mqtt_encode_suback(&w, 4, MQTT_UNSUBACK, &s), "b0 02 0001");
    MQTT_SET(&s.properties, reason_string, B("no"));
    WRITTEN(pl_mqtt_encode_suback(&w, 5, MQTT_UNSUBACK, &s), "b0 09 0001 05 1f 0002'no' 11");
    ACCEPTED(4, "90 05 0001 00 01 80");
    ACCEPTED(5, "90 06 0001 00 00 01 a2");
    ACCEPTED(4, "b0 02 0001");
    MALFORMED(4, "90 03 0001 03");
    MALFORMED(4, "b0 03 0001 00");
    MALFORMED(5, "90 04 0001 00 11");
    MALFORMED(5, "b0 04 0001 00 02");
    FORBIDDEN(5, "90 03 0001 00", 0x82);
}

TEST(disconnect_auth_and_ping_are_as_short_as_they_can_be)
{
    struct mqtt_disconnect d = {0};
    WRITTEN(pl_mqtt_encode_disconnect(&w, 4, MQTT_DISCONNECT, &d), "e0 00");
    WRITTEN(pl_mqtt_encode_disconnect(&w, 5, MQTT_DISCONNECT, &d), "e0 00");
    d.reason = 0x8e;
    WRITTEN(pl_mqtt_encode_disconnect(&w, 4, MQTT_DISCONNECT, &d), "e0 00");
    WRITTEN(pl_mqtt_encode_disconnect(&w, 5, MQTT_DISCONNECT, &d), "e0 01 8e");
    MQTT_SET(&d.properties, session_expiry, 0);
    MQTT_SET(&d.properties, reason_string, B("x"));
    MQTT_SET(&d.properties, server_reference, B("s"));
    const char *bytes = "e0 0f 8e 0d 11 00000000 1c 0001's' 1f 0001'x'";
    WRITTEN(pl_mqtt_encode_disconnect(&w, 5, MQTT_DISCONNECT, &d), bytes);
    ACCEPTED(5, bytes);
    ACCEPTED(5, "e0 00");
    ACCEPTED(5, "e0 01 04");
    ACCEPTED(5, "e0 02 00 00");
    ACCEPTED(3, "e0 01 00");
    MALFORMED(4, "e0 01 00");
    MALFORMED(5, "e0 01 01");
    MALFORMED(5, "e0 03 00 00 00");
    struct mqtt_disconnect a = {.reason = 0x18};
    MQTT_SET(&a.properties, auth_method, B("m"));
    MQTT_SET(&a.properties, auth_data, B("d"));
    WRITTEN(pl_mqtt_encode_disconnect(&w, 5, MQTT_AUTH, &a), "f0 0a 18 08 15 0001'm' 16 0001'd'");
    ACCEPTED(5, "f0 0a 18 08 15 0001'm' 16 0001'd'");
    ACCEPTED(5, "f0 00");
    MALFORMED(5, "f0 01 04");
    WRITTEN(pl_mqtt_encode_ping(&w, MQTT_PINGREQ), "c0 00");
    WRITTEN(pl_mqtt_encode_ping(&w, MQTT_PINGRESP), "d0 00");
}

TEST(each_property_stands_only_where_the_standard_has_it)
{
    /* Bits by packet type, 0 the will (MQTT 5.0, table 2-4). */
    static const struct {
        uint8_t id;
        uint16_t packets;
        const char *value;
    } cases[] = {
        {0x01, 1 << 0 | 1 << 3, "01"},
        {0x02, 1 << 0 | 1 << 3, "00000001"},
        {0x03, 1 << 0 | 1 << 3, "0001'a'"},
        {0x08, 1 << 0 | 1 << 3, "0001'a'"},
        {0x09, 1 << 0 | 1 << 3, "0001'a'"},
        {0x0B, 1 << 3 | 1 << 8, "01"},
        {0x11, 1 << 1 | 1 << 2 | 1 << 14, "00000001"},
        {0x12, 1 << 2, "0001'a'"},
        {0x13, 1 << 2, "0001"},
        {0x15, 1 << 1 | 1 << 2 | 1 << 15, "0001'a'"},
        {0x17, 1 << 1, "01"},
        {0x18, 1 << 0, "00000001"},
        {0x19, 1 << 1, "01"},
        {0x1A, 1 << 2, "0001'a'"},
        {0x1C, 1 << 2 | 1 << 14, "0001'a'"},
        {0x1F, 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 11 | 1 << 14 | 1 << 15,
            "0001'a'"},
        {0x21, 1 << 1 | 1 << 2, "0001"},
        {0x22, 1 << 1 | 1 << 2, "0001"},
        {0x23, 1 << 3, "0001"},
        {0x24, 1 << 2, "01"},
        {0x25, 1 << 2, "01"},
        {0x26, 0xCFFF, "0001'a' 0001'b'"},
        {0x27, 1 << 1 | 1 << 2, "00000001"},
        {0x28, 1 << 2, "01"},
        {0x29, 1 << 2, "01"},
        {0x2A, 1 << 2, "01"},
    };
    for (int id = 0; id < 256; id++) {
        size_t i = 0;
        while (i < sizeof cases / sizeof *cases && cases[i].id != id)
            i++;
        bool is_known = i < sizeof cases / sizeof *cases;
        for (int where = 0; where < 16; where++) {
            if (where == MQTT_PINGREQ || where == MQTT_PINGRESP || id == MQTT_ID_auth_data)
                continue;
            struct hex h;
            hex_read(&h, is_known ? cases[i].value : "0001'a'");
            memmove(h.data + 2, h.data, h.len);
            h.data[0] = (uint8_t)(h.len + 1);
            h.data[1] = (uint8_t)id;
            const uint8_t *at = h.data;
            struct mqtt_properties p;
            struct pl_diag diag;
            enum pl_err err = pl_mqtt_read_properties(&at, h.data + h.len + 2, where, &p, &diag);
            bool is_allowed = is_known && cases[i].packets >> where & 1;
            CHECK_EQ(err, is_allowed ? PL_OK : PL_MALFORMED);
        }
    }
}

TEST(reason_codes_belong_to_their_packets)
{
    CHECK(pl_mqtt_reason_is_valid(MQTT_CONNACK, 0x8C));
    CHECK(!pl_mqtt_reason_is_valid(MQTT_CONNACK, 0x8E));
    CHECK(pl_mqtt_reason_is_valid(MQTT_DISCONNECT, 0x8E));
    CHECK(!pl_mqtt_reason_is_valid(MQTT_DISCONNECT, 0x8C));
    CHECK(pl_mqtt_reason_is_valid(MQTT_PUBACK, 0x10));
    CHECK(!pl_mqtt_reason_is_valid(MQTT_PUBREL, 0x10));
    CHECK(pl_mqtt_reason_is_valid(MQTT_SUBACK, 2));
    CHECK(!pl_mqtt_reason_is_valid(MQTT_SUBACK, 3));
    CHECK(!pl_mqtt_reason_is_valid(MQTT_SUBACK, 0x40));
    CHECK(!pl_mqtt_reason_is_valid(MQTT_DISCONNECT, 0xFF));
}

TEST(a_text_that_is_too_long_is_not_written)
{
    static uint8_t big[70000];
    struct mqtt_publish p = {.topic = pl_bytes_of(big, sizeof big)};
    struct pl_writer w = pl_writer_new();
    pl_mqtt_encode_publish(&w, 5, &p);
    CHECK_EQ(w.err, PL_TOO_LARGE);
    struct pl_shared *out = NULL;
    CHECK_EQ(pl_writer_take(&w, &out), PL_TOO_LARGE);
    p.topic = B("t");
    MQTT_SET(&p.properties, content_type, pl_bytes_of(big, sizeof big));
    w = pl_writer_new();
    pl_mqtt_encode_publish(&w, 5, &p);
    CHECK_EQ(pl_writer_take(&w, &out), PL_TOO_LARGE);
}
