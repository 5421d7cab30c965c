/* What crosses into NATS and out of it: arguments as plain payloads, answers in headers. */
#include "check.h"
#include "protocols/peer.h"

#include "codec/value.h"
#include "protocols/nats/nats.h"
#include "protocols/nats/nats_session.h"

#define QUIET "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB > 1\r\n"
#define PLAIN "CONNECT {\"verbose\":false}\r\nSUB > 1\r\n"

enum { JSON = PL_FORMAT_ARGUMENTS + PL_SERIAL_JSON };

static struct peer *peer_with(struct place *place, const char *words)
{
    struct peer *p = peer_new(place);
    peer_say(p, words);
    (void)peer_heard(p);
    return p;
}

static void publish(struct place *place, struct pl_message draft)
{
    draft.subject = PL_BYTES("a");
    CHECK_EQ(pl_realm_publish(place->realm, &place->worker, &draft), PL_OK);
}

TEST(arguments_are_told_as_plain_payloads)
{
    const struct {
        struct pl_bytes payload;
        uint8_t serializer;
        const char *frame;
    } cases[] = {
        {PL_BYTES("[\"hello\"]"), PL_SERIAL_JSON, "MSG a 1 5\r\nhello\r\n"},
        {PL_BYTES("[\"\\u0000AP8=\"]"), PL_SERIAL_JSON, "MSG a 1 2\r\n"}, /* 00 ff follow */
        {PL_BYTES("[]"), PL_SERIAL_JSON, "MSG a 1 0\r\n\r\n"},
        {PL_NO_BYTES, PL_SERIAL_CBOR, "MSG a 1 0\r\n\r\n"},
        {PL_BYTES("[21.5]"), PL_SERIAL_JSON, "MSG a 1 4\r\n21.5\r\n"},
        {PL_BYTES("[1,2],{\"k\":\"v\"}"), PL_SERIAL_JSON,
            "MSG a 1 33\r\n{\"args\":[1,2],\"kwargs\":{\"k\":\"v\"}}\r\n"},
        {PL_BYTES("\x91\xa2hi"), PL_SERIAL_MSGPACK, "MSG a 1 2\r\nhi\r\n"},
        {PL_BYTES("\x92\x01\x02"), PL_SERIAL_MSGPACK,
            "MSG a 1 26\r\n{\"args\":[1,2],\"kwargs\":{}}\r\n"},
        {PL_BYTES("\x81\x42hi"), PL_SERIAL_CBOR, "MSG a 1 2\r\nhi\r\n"},
        {PL_BYTES("\x81\x83\x01\x02\x03"), PL_SERIAL_CBOR, "MSG a 1 7\r\n[1,2,3]\r\n"},
    };
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET), *old = peer_with(&place, PLAIN);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        publish(&place, (struct pl_message){.payload = cases[i].payload,
                            .format = (uint8_t)(PL_FORMAT_ARGUMENTS + cases[i].serializer)});
        if (i == 1) {
            static const char frame[] = "MSG a 1 2\r\n\x00\xff\r\n";
            place_run(&place);
            CHECK_BYTES(p->heard, p->heard_len, frame, sizeof frame - 1);
            (void)peer_heard(p), (void)peer_heard(old);
            continue;
        }
        CHECK_STR(peer_heard(p), cases[i].frame);
        CHECK_STR(peer_heard(old), cases[i].frame);
    }
    place_done(&place);
}

TEST(bytes_that_look_like_arguments_are_left_alone)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET);
    publish(&place, (struct pl_message){.payload = PL_BYTES("[\"hello\"]")});
    CHECK_STR(peer_heard(p), "MSG a 1 9\r\n[\"hello\"]\r\n");
    publish(
        &place, (struct pl_message){.payload = PL_BYTES("[\"hello\"]"), .format = PL_FORMAT_JSON});
    CHECK_STR(peer_heard(p), "MSG a 1 9\r\n[\"hello\"]\r\n");
    place_done(&place);
}

TEST(an_error_is_told_with_a_code_as_services_have_it)
{
    const struct {
        const char *uri, *code;
    } cases[] = {
        {"com.example.bad", "500"},
        {"wamp.error.invalid_argument", "400"},
        {"wamp.error.not_authorized", "403"},
        {"wamp.error.no_such_procedure", "404"},
        {"wamp.error.no_available_callee", "503"},
        {"wamp.error.timeout", "504"},
    };
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET), *old = peer_with(&place, PLAIN);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct pl_properties properties = {
            .expires_ms = PL_NEVER, .error = pl_bytes_text(cases[i].uri)};
        char head[256], frame[512];
        int n = snprintf(head, sizeof head,
            "NATS/1.0\r\nNats-Service-Error: %s\r\nNats-Service-Error-Code: %s\r\n\r\n",
            cases[i].uri, cases[i].code);
        (void)snprintf(frame, sizeof frame, "HMSG a 1 %d %d\r\n%swhy\r\n", n, n + 3, head);
        publish(&place,
            (struct pl_message){
                .payload = PL_BYTES("[\"why\"]"), .format = JSON, .properties = &properties});
        CHECK_STR(peer_heard(p), frame);
        CHECK_STR(peer_heard(old), "MSG a 1 3\r\nwhy\r\n");
    }
    place_done(&place);
}

TEST(the_name_of_an_error_cannot_make_a_header)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET);
    const struct pl_properties properties = {
        .expires_ms = PL_NEVER, .error = PL_BYTES("bad\r\nX: 1")};
    publish(&place, (struct pl_message){.properties = &properties});
    CHECK(strstr(peer_heard(p), "\r\nNats-Service-Error: bad%0D%0AX: 1\r\n") != NULL);
    place_done(&place);
}

TEST(a_part_of_an_answer_is_told_as_one)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET);
    const struct pl_properties part = {.expires_ms = PL_NEVER, .is_progress = true};
    publish(&place, (struct pl_message){.payload = PL_BYTES("1"), .properties = &part});
    CHECK_STR(peer_heard(p), "HMSG a 1 35 36\r\nNATS/1.0\r\nParley-Progress: true\r\n\r\n1\r\n");
    place_done(&place);
}

/* An audience or an author alone is no reason for a header block. */
TEST(properties_that_nats_cannot_tell_cost_no_headers)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET);
    const struct pl_author author = {.id = 7};
    const struct pl_properties properties = {.expires_ms = PL_NEVER, .from = &author};
    publish(&place, (struct pl_message){.payload = PL_BYTES("1"), .properties = &properties});
    CHECK_STR(peer_heard(p), "MSG a 1 1\r\n1\r\n");
    peer_say(p, "HPUB a 12 13\r\nNATS/1.0\r\n\r\n1\r\n"); /* an empty block is one */
    CHECK_STR(peer_heard(p), "HMSG a 1 12 13\r\nNATS/1.0\r\n\r\n1\r\n");
    place_done(&place);
}

static const struct pl_properties *decode(struct pl_arena *arena, const char *block)
{
    const struct pl_properties *out = NULL;
    CHECK_EQ(nats_headers_decode(pl_bytes_text(block), 0, arena, &out), PL_OK);
    return out;
}

static bool is_text(struct pl_bytes bytes, const char *text)
{
    return pl_bytes_equal(bytes, pl_bytes_text(text));
}

TEST(what_a_service_says_of_its_answer_is_understood_and_stays_in_the_headers)
{
    struct pl_arena arena = {0};
    const struct pl_properties *p = decode(&arena,
        "NATS/1.0\r\nNats-Service-Error: no such thing\r\nNats-Service-Error-Code: 404\r\n\r\n");
    CHECK(is_text(p->error, "no such thing"));
    CHECK(!p->is_progress);
    CHECK_EQ(p->header_count, 2);
    CHECK(is_text(p->headers[1].value, "404"));
    p = decode(&arena,
        "NATS/1.0\r\nNats-Service-Error-Code: 404\r\nNats-Service-Error: no such thing\r\n\r\n");
    CHECK(is_text(p->error, "no such thing"));
    p = decode(&arena, "NATS/1.0\r\nNats-Service-Error: \r\nNats-Service-Error-Code: 418\r\n\r\n");
    CHECK(is_text(p->error, "wamp.error.runtime_error"));
    CHECK_EQ(p->header_count, 2);
    p = decode(&arena, "NATS/1.0\r\nParley-Progress: true\r\nA: 1\r\n\r\n");
    CHECK(p->is_progress && !p->error.len);
    CHECK_EQ(p->header_count, 2);
    p = decode(&arena, "NATS/1.0\r\nParley-Progress: false\r\nnats-service-error: x\r\n\r\n");
    CHECK(!p->is_progress && !p->error.len);
    pl_arena_done(&arena);
}

TEST(an_answer_of_a_service_comes_through_as_it_was)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_with(&place, QUIET);
    static const char block[] = "NATS/1.0\r\nNats-Service-Error: bad\r\n"
                                "Nats-Service-Error-Code: 418\r\nParley-Progress: true\r\n\r\n";
    char said[256], frame[256];
    (void)snprintf(
        said, sizeof said, "HPUB a %zu %zu\r\n%sx\r\n", sizeof block - 1, sizeof block, block);
    (void)snprintf(
        frame, sizeof frame, "HMSG a 1 %zu %zu\r\n%sx\r\n", sizeof block - 1, sizeof block, block);
    peer_say(p, said);
    CHECK_STR(peer_heard(p), frame);
    place_done(&place);
}
