#include "check.h"

#include "codec/mles.h"

static struct pl_arena arena;
static struct pl_mles_header header;

static enum pl_err decode(const char *text)
{
    return pl_mles_header_decode(pl_bytes_text(text), &arena, &header);
}

static bool matches(const char *auth, const char *key)
{
    header.has_auth = auth != NULL;
    header.auth = pl_bytes_text(auth);
    return pl_mles_auth_matches(&header, pl_bytes_text(key));
}

TEST(a_header_is_an_object_with_uid_and_channel)
{
    CHECK_EQ(decode("{\"uid\":\"alice\",\"channel\":\"example\"}"), PL_OK);
    CHECK_BYTES(header.uid.data, header.uid.len, "alice", 5);
    CHECK_BYTES(header.channel.data, header.channel.len, "example", 7);
    CHECK(!header.has_auth);
    CHECK_EQ(
        decode(" { \"x\" : [1,{}], \"channel\":\"a b/+=\", \"auth\":null,\"uid\":\"\\u0041\" } \n"),
        PL_OK);
    CHECK_BYTES(header.uid.data, header.uid.len, "A", 1);
    CHECK_BYTES(header.channel.data, header.channel.len, "a b/+=", 6);
    CHECK(!header.has_auth);
    CHECK_EQ(decode("{\"uid\":\"a\",\"channel\":\"c\",\"auth\":\"12\"}"), PL_OK);
    CHECK(header.has_auth);
    CHECK_BYTES(header.auth.data, header.auth.len, "12", 2);
    pl_arena_done(&arena);
}

TEST(what_is_no_header_is_refused)
{
    static const char *const malformed[] = {"", "hello", "[\"a\",\"b\",null]", "{\"uid\":\"a\"}",
        "{\"channel\":\"a\"}", "{\"uid\":1,\"channel\":\"c\"}", "{\"uid\":\"a\",\"channel\":null}",
        "{\"uid\":\"a\",\"channel\":\"c\",\"auth\":1}",
        "{\"uid\":\"a\",\"uid\":\"a\",\"channel\":\"c\"}",
        "{\"uid\":\"a\",\"channel\":\"c\",\"auth\":null,\"auth\":\"1\"}",
        "{\"uid\":\"a\",\"channel\":\"c\"} x", "{\"uid\":\"a\",\"channel\":\"c\"", NULL};
    for (size_t i = 0; malformed[i]; i++)
        CHECK_EQ(decode(malformed[i]), PL_MALFORMED);
    CHECK_EQ(decode("{\"uid\":\"\",\"channel\":\"c\"}"), PL_BAD_NAME);
    CHECK_EQ(decode("{\"uid\":\"\xc3\xa4\",\"channel\":\"c\"}"), PL_BAD_NAME);
    CHECK_EQ(decode("{\"uid\":\"a\",\"channel\":\"\\u00e4\"}"), PL_BAD_NAME);
    char text[PL_MLES_HEADER_MAX + 2];
    memset(text, ' ', sizeof text);
    memcpy(text, "{\"uid\":\"a\",\"channel\":\"c\"}", 25);
    text[PL_MLES_HEADER_MAX] = 0;
    CHECK_EQ(decode(text), PL_OK);
    text[PL_MLES_HEADER_MAX] = ' ';
    text[PL_MLES_HEADER_MAX + 1] = 0;
    CHECK_EQ(decode(text), PL_TOO_LARGE);
    snprintf(text, sizeof text, "{\"uid\":\"a\",\"channel\":\"%0*d\"}", PL_MLES_NAME_MAX + 1, 0);
    CHECK_EQ(decode(text), PL_TOO_LARGE);
    pl_arena_done(&arena);
}

TEST(auth_is_the_siphash_that_clients_of_the_original_send)
{
    static const struct {
        const char *uid, *channel, *key, *auth;
    } known[] = {
        {"alice", "example", "", "9b3b95527f7c2d80"},
        {"alice", "example", "secret-key", "b4a9a15cdd7c8094"},
        {"bob", "chat-room-1", "k3y with spaces", "1e83943921a90cf3"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char auth[PL_MLES_AUTH_LEN];
        header = (struct pl_mles_header){
            .uid = pl_bytes_text(known[i].uid), .channel = pl_bytes_text(known[i].channel)};
        pl_mles_auth(header.uid, header.channel, pl_bytes_text(known[i].key), auth);
        CHECK_BYTES(auth, sizeof auth, known[i].auth, 16);
        CHECK(matches(known[i].auth, known[i].key));
        CHECK(!matches(known[i].auth, "another"));
        CHECK(!matches(NULL, known[i].key));
    }
}

TEST(auth_is_compared_as_a_number)
{
    header = (struct pl_mles_header){.uid = PL_BYTES("alice"), .channel = PL_BYTES("example")};
    CHECK(matches("B4A9A15CDD7C8094", "secret-key"));
    CHECK(matches("+00b4a9a15cdd7c8094", "secret-key"));
    CHECK(!matches("0xb4a9a15cdd7c8094", "secret-key"));
    CHECK(!matches(" b4a9a15cdd7c8094", "secret-key"));
    CHECK(!matches("1b4a9a15cdd7c8094", "secret-key"));
    CHECK(!matches("", "secret-key"));
    CHECK(!matches("+", "secret-key"));
    /* Its hash begins with a zero, which need not be there. */
    char uid[16], auth[PL_MLES_AUTH_LEN + 1] = "";
    for (int i = 0; auth[0] != '0'; i++) {
        snprintf(uid, sizeof uid, "u%d", i);
        header.uid = pl_bytes_text(uid);
        pl_mles_auth(header.uid, header.channel, PL_NO_BYTES, auth);
    }
    CHECK(matches(auth + 1, ""));
}

TEST(an_encoded_header_is_read_back)
{
    struct pl_mles_header in = {.uid = PL_BYTES("peer-\"x\""),
        .channel = PL_BYTES("a/b\\"),
        .auth = PL_BYTES("00ff"),
        .has_auth = true};
    struct pl_writer w = pl_writer_new();
    struct pl_shared *made = NULL;
    pl_mles_header_encode(&w, &in);
    CHECK_EQ(pl_writer_take(&w, &made), PL_OK);
    CHECK_EQ(pl_mles_header_decode(pl_bytes_of(made->data, made->len), &arena, &header), PL_OK);
    CHECK(pl_bytes_equal(header.uid, in.uid) && pl_bytes_equal(header.channel, in.channel) &&
          pl_bytes_equal(header.auth, in.auth));
    pl_shared_unref(made);
    pl_arena_done(&arena);
}
