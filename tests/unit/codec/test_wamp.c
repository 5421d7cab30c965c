/* WAMP messages, and payloads as arguments and as others see them (DESIGN section 2). */
#include "codec/wamp_again.h"

#include "check.h"
#include "codec/same_values.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct pl_wamp m;
static struct pl_diag diag;
static char text[1024];

static enum pl_err decode(const char *json)
{
    return pl_wamp_decode(PL_SERIAL_JSON, pl_bytes_text(json), &m, &diag);
}

static const char *as_text(struct pl_bytes bytes)
{
    value_require(bytes.len < sizeof text);
    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    return text;
}

static const char *taken(struct pl_writer *w)
{
    struct pl_shared *bytes = NULL;
    if (!CHECK_EQ(pl_writer_take(w, &bytes), PL_OK))
        return "";
    const char *got = as_text(value_bytes(bytes));
    pl_shared_unref(bytes);
    return got;
}

TEST(every_element_of_a_message_is_found)
{
    REQUIRE(CHECK_EQ(decode("[8, 48, 7, {\"a\":1}, \"com.err\", [1, 2], {\"k\":3}]"), PL_OK));
    CHECK_EQ(m.type, PL_WAMP_ERROR);
    CHECK_EQ(m.request_type, 48);
    CHECK_EQ(m.id_count, 1);
    CHECK_EQ(m.ids[0], 7);
    CHECK_STR(as_text(m.details.raw), "{\"a\":1}");
    CHECK_STR(as_text(m.text.text), "com.err");
    CHECK_STR(as_text(m.payload), "[1, 2], {\"k\":3}");
    REQUIRE(CHECK_EQ(decode("[36,9007199254740992,2.0,{}]"), PL_OK));
    CHECK_EQ(m.ids[0], (uint64_t)1 << 53);
    CHECK_EQ(m.ids[1], 2);
    CHECK_EQ(m.payload.len, 0);
    CHECK_STR(pl_wamp_type_name(m.type), "EVENT");
}

TEST(what_may_be_left_out_may_be_left_out_and_be_empty)
{
    static const char *const without[] = {"[16,1,{},\"t\"]", "[16,1,{},\"t\" ]\n",
        "[16,1,{},\"t\",[]]", "[16,1,{},\"t\",[],{}]", "[16,1,{},\"t\",[],{},7,[8]]"};
    for (size_t i = 0; i < COUNT(without); i++) {
        check_that(decode(without[i]) == PL_OK, __FILE__, __LINE__, "%s is refused", without[i]);
        CHECK_EQ(m.payload.len, 0);
    }
    CHECK_EQ(decode("[16,1,{},\"t\",[1],{}]"), PL_OK);
    CHECK_STR(as_text(m.payload), "[1]");
    CHECK_EQ(decode("[16,1,{},\"t\",[],{\"a\":1},9]"), PL_OK);
    CHECK_STR(as_text(m.payload), "[],{\"a\":1}");
    CHECK_EQ(decode("[67,0,{\"registration\":5}]"), PL_OK);
    CHECK_EQ(m.ids[0], 0);
    CHECK_EQ(m.details.kind, PL_VALUE_DICT);
    CHECK_EQ(decode("[67,1]"), PL_OK);
    CHECK_EQ(m.details.kind, PL_VALUE_NULL);
}

TEST(what_is_wrong_is_refused_and_said)
{
    static const char *const wrong[] = {"", "[", "[]", "{}", "1", "[16", "[16]", "[16,1,{},\"t\"",
        "[16,1,{},\"t\"]x", "[16,1,{},\"t\"]]", "[16,\"1\",{},\"t\"]", "[16,-1,{},\"t\"]",
        "[16,1.5,{},\"t\"]", "[16,9007199254740993,{},\"t\"]", "[16,1,[],\"t\"]", "[16,1,{},7]",
        "[16,1,{},\"t\",7]", "[16,1,{},\"t\",{}]", "[16,1,{},\"t\",\"x\"]", "[16,1,{},\"t\",[],[]]",
        "[16,1,{},\"t\",]", "[16,1,{},\"t\",[],{},x]", "[\"16\",1,{},\"t\"]", "[16,1,{}]",
        "[67,1,7]", "[-1]", "[1.5]", "[4294967296]", "[17,1,2"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        check_that(
            decode(wrong[i]) == PL_MALFORMED, __FILE__, __LINE__, "%s is not refused", wrong[i]);
        CHECK(diag.text[0] != '\0');
    }
    CHECK_EQ(decode("[16,1,{},7]"), PL_MALFORMED);
    CHECK_STR(diag.text, "element 3 of PUBLISH is no string");
    CHECK_EQ(pl_wamp_decode(PL_SERIAL_JSON, PL_BYTES("[16]"), &m, NULL), PL_MALFORMED);
}

TEST(an_unknown_type_is_told_from_what_is_malformed)
{
    static const uint32_t unknown[] = {0, 7, 37, 38, 337};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        char json[32];
        (void)snprintf(json, sizeof json, "[%u,1,{}]", (unsigned)unknown[i]);
        CHECK_EQ(decode(json), PL_UNSUPPORTED);
        CHECK_EQ(m.type, unknown[i]);
        CHECK(pl_wamp_type_name(unknown[i]) == NULL);
    }
}

TEST(one_binary_in_the_place_of_arguments_is_carried)
{
    REQUIRE(CHECK_EQ(decode("[36,1,2,{},\"\\u0000AP8=\"]"), PL_OK));
    struct pl_value args, kwargs;
    pl_wamp_arguments(PL_SERIAL_JSON, m.payload, &args, &kwargs);
    CHECK_EQ(args.kind, PL_VALUE_BINARY);
    CHECK_EQ(kwargs.kind, PL_VALUE_NULL);
    struct pl_writer w = pl_writer_new();
    struct pl_shared *bytes = NULL;
    wamp_encode_again(&w, PL_SERIAL_MSGPACK, &m);
    REQUIRE(CHECK_EQ(pl_writer_take(&w, &bytes), PL_OK));
    CHECK_BYTES(bytes->data, bytes->len, "\x95\x24\x01\x02\x80\xc4\x02\x00\xff", 9);
    pl_shared_unref(bytes);
}

TEST(a_message_may_come_in_indefinite_cbor)
{
    /* [_ 48, 1, {_ }, "p", [_ 1], {_ "k": 2}] and the same without a payload */
    struct pl_bytes whole =
        PL_BYTES("\x9f\x18\x30\x01\xbf\xff\x61p\x9f\x01\xff\xbf\x61k\x02\xff\xff");
    struct pl_bytes bare = PL_BYTES("\x9f\x18\x30\x01\xbf\xff\x7f\x61p\xff\xff");
    REQUIRE(CHECK_EQ(pl_wamp_decode(PL_SERIAL_CBOR, whole, &m, &diag), PL_OK));
    struct pl_writer w = pl_writer_new();
    wamp_encode_again(&w, PL_SERIAL_JSON, &m);
    CHECK_STR(taken(&w), "[48,1,{},\"p\",[1],{\"k\":2}]");
    REQUIRE(CHECK_EQ(pl_wamp_decode(PL_SERIAL_CBOR, bare, &m, &diag), PL_OK));
    CHECK(pl_value_is(&m.text, "p"));
    CHECK_EQ(m.payload.len, 0);
}

TEST(a_payload_of_the_same_serializer_passes_as_it_stands)
{
    REQUIRE(CHECK_EQ(decode("[16,1,{},\"t\", [ 1 , \"\\u0041\" ] , { \"k\" : 1e0 } ]"), PL_OK));
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_JSON, PL_WAMP_EVENT);
    pl_put_natural(&v, 5);
    pl_put_natural(&v, 6);
    pl_put_dict(&v);
    pl_put_end(&v);
    pl_wamp_end(&v, PL_SERIAL_JSON, m.payload);
    CHECK_STR(taken(&w), "[36,5,6,{},[ 1 , \"\\u0041\" ] , { \"k\" : 1e0 }]");
}

/* The elements behind EVENT's details for a payload of another protocol, as JSON. */
static const char *from_plain(
    struct pl_bytes plain, struct pl_bytes content_type, enum pl_wamp_plain rule)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_JSON, PL_WAMP_YIELD);
    pl_put_natural(&v, 1);
    pl_put_dict(&v);
    pl_put_end(&v);
    pl_wamp_end_plain(&v, plain, content_type, rule);
    const char *got = taken(&w);
    size_t head = strlen("[70,1,{}"), len = strlen(got);
    if (!CHECK(len > head))
        return "";
    text[len - 1] = '\0';
    return got[head] == ',' ? got + head + 1 : got + head;
}

#define FROM_PLAIN(plain, expected)                                                                \
    CHECK_STR(from_plain(PL_BYTES(plain), PL_NO_BYTES, PL_WAMP_PLAIN_AUTO), expected)

TEST(a_payload_of_another_protocol_is_the_arguments_that_it_looks_like)
{
    FROM_PLAIN("", "");
    FROM_PLAIN("hello", "[\"hello\"]");
    FROM_PLAIN("42", "[\"42\"]");
    FROM_PLAIN("\"42\"", "[\"\\\"42\\\"\"]");
    FROM_PLAIN("{\"a\":1}", "[{\"a\":1}]");
    FROM_PLAIN("[1,2]", "[[1,2]]");
    FROM_PLAIN("[1,2", "[\"[1,2\"]");
    FROM_PLAIN("{} x", "[\"{} x\"]");
    FROM_PLAIN("\xff\x00", "[\"\\u0000/wA=\"]");
    FROM_PLAIN("é", "[\"é\"]");
    FROM_PLAIN("{\"args\":[1],\"kwargs\":{\"k\":2}}", "[1],{\"k\":2}");
    FROM_PLAIN("{\"kwargs\":{},\"args\":[1]}", "[1]");
    FROM_PLAIN("{\"args\":[1]}", "[{\"args\":[1]}]");
    FROM_PLAIN("{\"args\":[],\"kwargs\":[]}", "[{\"args\":[],\"kwargs\":[]}]");
    FROM_PLAIN("{\"args\":{},\"kwargs\":{}}", "[{\"args\":{},\"kwargs\":{}}]");
    FROM_PLAIN("{\"args\":[],\"kwargs\":{},\"x\":1}", "[{\"args\":[],\"kwargs\":{},\"x\":1}]");
}

TEST(a_content_type_or_the_realms_rule_wins_over_guessing)
{
    const struct pl_bytes wamp_json = PL_BYTES("application/x-wamp+json");
    CHECK_STR(from_plain(PL_BYTES("42"), wamp_json, PL_WAMP_PLAIN_AUTO), "[42]");
    CHECK_STR(from_plain(PL_BYTES("42"), PL_NO_BYTES, PL_WAMP_PLAIN_JSON), "[42]");
    CHECK_STR(from_plain(PL_BYTES("x"), PL_NO_BYTES, PL_WAMP_PLAIN_JSON), "[\"x\"]");
    CHECK_STR(from_plain(PL_BYTES("{}"), PL_NO_BYTES, PL_WAMP_PLAIN_RAW), "[\"{}\"]");
    CHECK_STR(from_plain(PL_BYTES("{}"), wamp_json, PL_WAMP_PLAIN_RAW), "[\"{}\"]");
}

TEST(json_that_would_be_nested_too_deeply_in_a_message_is_a_string)
{
    for (size_t depth = PL_VALUE_DEPTH_MAX - 4; depth < PL_VALUE_DEPTH_MAX + 4; depth++) {
        char plain[2 * PL_VALUE_DEPTH_MAX + 16];
        memset(plain, '[', depth);
        memset(plain + depth, ']', depth);
        struct pl_writer w = pl_writer_new();
        struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_JSON, PL_WAMP_YIELD);
        struct pl_shared *bytes = NULL;
        pl_put_natural(&v, 1);
        pl_put_dict(&v);
        pl_put_end(&v);
        pl_wamp_end_plain(&v, pl_bytes_of(plain, 2 * depth), PL_NO_BYTES, PL_WAMP_PLAIN_AUTO);
        REQUIRE(CHECK_EQ(pl_writer_take(&w, &bytes), PL_OK));
        CHECK_EQ(pl_wamp_decode(PL_SERIAL_JSON, value_bytes(bytes), &m, &diag), PL_OK);
        pl_shared_unref(bytes);
    }
}

static const char *to_plain(const char *payload)
{
    struct pl_writer w = pl_writer_new();
    pl_wamp_write_plain(&w, PL_SERIAL_JSON, pl_bytes_text(payload));
    return taken(&w);
}

TEST(arguments_are_told_to_other_protocols_as_plainly_as_they_can_be)
{
    CHECK_STR(to_plain(""), "");
    CHECK_STR(to_plain("[]"), "");
    CHECK_STR(to_plain("[\"hello\"]"), "hello");
    CHECK_STR(to_plain("[\"a\\n\\u00e9\"]"), "a\né");
    CHECK_STR(to_plain("[\"\\u0000QUI=\"]"), "AB");
    CHECK_STR(to_plain("\"\\u0000QUI=\""), "AB");
    CHECK_STR(to_plain("[42]"), "42");
    CHECK_STR(to_plain("[null]"), "null");
    CHECK_STR(to_plain("[ {\"a\":1} ]"), "{\"a\":1}");
    CHECK_STR(to_plain("[1,\"x\"]"), "{\"args\":[1,\"x\"],\"kwargs\":{}}");
    CHECK_STR(to_plain("[],{\"k\":1}"), "{\"args\":[],\"kwargs\":{\"k\":1}}");
    CHECK_STR(to_plain("[1] , {\"k\":1}"), "{\"args\":[1],\"kwargs\":{\"k\":1}}");
}

TEST(arguments_come_back_from_their_plain_form)
{
    static const char *const payloads[] = {"", "[\"hello\"]", "[{\"a\":1}]", "[[1]]", "[1,\"x\"]",
        "[],{\"k\":1}", "[1.5,null],{\"k\":[\"\\u0000AP8=\"]}", "[\"\\u0000/w==\"]"};
    for (size_t i = 0; i < COUNT(payloads); i++) {
        char plain[256];
        size_t len;
        struct pl_writer w = pl_writer_new();
        struct pl_shared *bytes = NULL;
        pl_wamp_write_plain(&w, PL_SERIAL_JSON, pl_bytes_text(payloads[i]));
        REQUIRE(CHECK_EQ(pl_writer_take(&w, &bytes), PL_OK));
        len = bytes->len;
        if (len)
            memcpy(plain, bytes->data, len);
        pl_shared_unref(bytes);
        CHECK_STR(
            from_plain(pl_bytes_of(plain, len), PL_NO_BYTES, PL_WAMP_PLAIN_AUTO), payloads[i]);
    }
}
