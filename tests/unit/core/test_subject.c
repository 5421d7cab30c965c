#include "check.h"
#include "core/escape_rules.h"
#include "core/random_names.h"

#include "base/alloc.h"
#include "core/subject.h"

static struct pl_arena arena;

static struct pl_bytes encode(const struct pl_escape_rules *rules, struct pl_bytes name)
{
    struct pl_bytes out = PL_NO_BYTES;
    CHECK(pl_subject_encode(rules, &arena, name, &out) == PL_OK);
    return out;
}

static bool encodes(const struct pl_escape_rules *rules, struct pl_bytes name, struct pl_bytes text)
{
    struct pl_bytes back = PL_NO_BYTES;
    return pl_bytes_equal(encode(rules, name), text) &&
           !pl_subject_decode(rules, &arena, text, &back) && pl_bytes_equal(back, name);
}

static bool refuses(const struct pl_escape_rules *rules, struct pl_bytes text)
{
    struct pl_bytes out;
    return pl_subject_decode(rules, &arena, text, &out) == PL_BAD_NAME;
}

TEST(what_a_protocol_cannot_carry_is_escaped)
{
    CHECK(encodes(&nats, PL_BYTES("a b.c"), PL_BYTES("a%20b.c")));
    CHECK(encodes(&nats, PL_BYTES("a\0\t\r\n"), PL_BYTES("a%00%09%0D%0A")));
    CHECK(encodes(&nats, PL_BYTES("a\xFF\x01"), PL_BYTES("a\xFF\x01")));
    CHECK(encodes(&mqtt, PL_BYTES("a+.#b"), PL_BYTES("a%2B/%23b")));
    CHECK(encodes(&mqtt, PL_BYTES("a\x1F\x7F"), PL_BYTES("a%1F%7F")));
    CHECK(encodes(&mqtt, PL_BYTES("\xFF\xC3"), PL_BYTES("%FF%C3")));
    CHECK(encodes(&mqtt, PL_BYTES("\xC2\x85"), PL_BYTES("%C2%85")));
    CHECK(encodes(&mqtt, PL_BYTES("\xEF\xBF\xBF"), PL_BYTES("%EF%BF%BF")));
    CHECK(encodes(&mqtt, PL_BYTES("\xEF\xB7\x90"), PL_BYTES("%EF%B7%90")));
    CHECK(encodes(&mqtt, PL_BYTES("*.a*.>"), PL_BYTES("*/a*/>")));
    CHECK(encodes(&wamp, PL_BYTES("a b#.\x01"), PL_BYTES("a%20b%23.%01")));
    CHECK(encodes(&wamp, PL_BYTES("\xC2\x85+\xED\xA0\x80"), PL_BYTES("\xC2\x85+%ED%A0%80")));
    CHECK(encodes(&redis, PL_BYTES("a \0%00\xFF.."), PL_BYTES("a \0%00\xFF..")));
    CHECK(encodes(&redis, PL_BYTES(""), PL_BYTES("")));
}

TEST(dot_and_slash_change_places_in_mqtt)
{
    CHECK(encodes(&mqtt, PL_BYTES("plant.line/1.temp"), PL_BYTES("plant/line.1/temp")));
    CHECK(encodes(&mqtt, PL_BYTES("..a./"), PL_BYTES("//a/.")));
}

TEST(what_looks_like_an_escape_gets_one_more_25)
{
    CHECK(encodes(&nats, PL_BYTES("a%20b"), PL_BYTES("a%2520b")));
    CHECK(encodes(&nats, PL_BYTES("a%2520b"), PL_BYTES("a%252520b")));
    CHECK(encodes(&nats, PL_BYTES("%41%2A%25%"), PL_BYTES("%41%2A%25%")));
    CHECK(encodes(&nats, PL_BYTES("%0a%0A"), PL_BYTES("%0a%250A")));
    CHECK(encodes(&nats, PL_BYTES("%FF"), PL_BYTES("%FF")));
    CHECK(encodes(&mqtt, PL_BYTES("%2B%FF%20"), PL_BYTES("%252B%25FF%20")));
    CHECK(encodes(&wamp, PL_BYTES("%2B%FF%20"), PL_BYTES("%2B%25FF%2520")));
}

TEST(whole_tokens_have_escapes_of_their_own)
{
    CHECK(encodes(&nats, PL_BYTES(""), PL_BYTES("%")));
    CHECK(encodes(&nats, PL_BYTES("a..b."), PL_BYTES("a.%.b.%")));
    CHECK(encodes(&nats, PL_BYTES("%.%25.%a"), PL_BYTES("%25.%2525.%a")));
    CHECK(encodes(&nats, PL_BYTES("*.>.a*.**"), PL_BYTES("%2A.%3E.a*.**")));
    CHECK(encodes(&nats, PL_BYTES("%2A.%253E.a%2A"), PL_BYTES("%252A.%25253E.a%2A")));
    CHECK(encodes(&wamp, PL_BYTES("a..%.*.%2A"), PL_BYTES("a.%.%25.*.%2A")));
    CHECK(encodes(&mqtt, PL_BYTES(""), PL_BYTES("%")));
    CHECK(encodes(&mqtt, PL_BYTES("%"), PL_BYTES("%25")));
    CHECK(encodes(&mqtt, PL_BYTES("%2525"), PL_BYTES("%252525")));
    CHECK(encodes(&mqtt, PL_BYTES("%.%25"), PL_BYTES("%/%25")));
}

TEST(escapes_that_spell_a_character_are_themselves)
{
    CHECK(encodes(&mqtt, PL_BYTES("%C3%A9"), PL_BYTES("%C3%A9")));
    CHECK(encodes(&wamp, PL_BYTES("x%E2%82%ACy"), PL_BYTES("x%E2%82%ACy")));
    CHECK(encodes(&wamp, PL_BYTES("%25C3%25A9"), PL_BYTES("%25C3%25A9")));
    CHECK(encodes(&mqtt, PL_BYTES("%C3%25A9"), PL_BYTES("%25C3%2525A9")));
    CHECK(encodes(&mqtt, PL_BYTES("\xC3%A9"), PL_BYTES("%C3%25A9")));
    CHECK(encodes(&mqtt, PL_BYTES("\xC3%C3%A9"), PL_BYTES("%C3%C3%A9")));
    CHECK(encodes(&mqtt, PL_BYTES("%C3.%A9"), PL_BYTES("%25C3/%25A9")));
    CHECK(encodes(&mqtt, PL_BYTES("%C2%85"), PL_BYTES("%25C2%2585")));
    CHECK(encodes(&wamp, PL_BYTES("%C2%85"), PL_BYTES("%C2%85")));
    CHECK(encodes(&nats, PL_BYTES("%C3"), PL_BYTES("%C3")));
}

TEST(a_protocols_text_with_what_it_cannot_carry_is_refused)
{
    CHECK(refuses(&nats, PL_BYTES("a b")));
    CHECK(refuses(&nats, PL_BYTES("")));
    CHECK(refuses(&nats, PL_BYTES("a..b")));
    CHECK(refuses(&nats, PL_BYTES(".a")));
    CHECK(refuses(&nats, PL_BYTES("a.")));
    CHECK(refuses(&nats, PL_BYTES("a.*")));
    CHECK(refuses(&nats, PL_BYTES("a.>")));
    CHECK(refuses(&mqtt, PL_BYTES("")));
    CHECK(refuses(&mqtt, PL_BYTES("a/#")));
    CHECK(refuses(&mqtt, PL_BYTES("a+")));
    CHECK(refuses(&mqtt, PL_BYTES("a\0")));
    CHECK(refuses(&mqtt, PL_BYTES("\xC3")));
    CHECK(refuses(&mqtt, PL_BYTES("\xC2\x80")));
    CHECK(refuses(&wamp, PL_BYTES("a#")));
    CHECK(refuses(&wamp, PL_BYTES("a b")));
    CHECK(refuses(&wamp, PL_BYTES("a..b")));
}

TEST(a_token_is_decoded_as_in_a_name_but_an_empty_level_stays_one)
{
    struct pl_bytes out;
    REQUIRE(!pl_token_decode(&mqtt, &arena, PL_BYTES("line.1%20%00"), &out));
    CHECK(pl_bytes_equal(out, PL_BYTES("line/1%20\0")));
    REQUIRE(!pl_token_decode(&mqtt, &arena, PL_BYTES(""), &out));
    CHECK_EQ(out.len, 0);
    REQUIRE(!pl_token_decode(&mqtt, &arena, PL_BYTES("%"), &out));
    CHECK(pl_bytes_equal(out, PL_BYTES("%")));
    REQUIRE(!pl_token_decode(&nats, &arena, PL_BYTES("%"), &out));
    CHECK_EQ(out.len, 0);
    REQUIRE(!pl_token_decode(&nats, &arena, PL_BYTES("%3E"), &out));
    CHECK(pl_bytes_equal(out, PL_BYTES(">")));
    CHECK_EQ(pl_token_decode(&nats, &arena, PL_BYTES(""), &out), PL_BAD_NAME);
    REQUIRE(!pl_token_encode(&mqtt, &arena, PL_BYTES("line/1"), &out));
    CHECK(pl_bytes_equal(out, PL_BYTES("line.1")));
    REQUIRE(!pl_token_encode(&mqtt, &arena, PL_BYTES(""), &out));
    CHECK_EQ(out.len, 0);
    REQUIRE(!pl_token_encode(&nats, &arena, PL_BYTES("*"), &out));
    CHECK(pl_bytes_equal(out, PL_BYTES("%2A")));
}

TEST(reserved_and_inbox_names_are_told_by_whole_tokens)
{
    CHECK(pl_subject_is_reserved(PL_BYTES("$SYS.broker")));
    CHECK(pl_subject_is_reserved(PL_BYTES("$SYS")));
    CHECK(pl_subject_is_reserved(PL_BYTES("wamp.session")));
    CHECK(!pl_subject_is_reserved(PL_BYTES("$SYSTEM.a")));
    CHECK(!pl_subject_is_reserved(PL_BYTES("wampum")));
    CHECK(!pl_subject_is_reserved(PL_BYTES("$")));
    CHECK(pl_subject_is_inbox(PL_BYTES("_INBOX.x")));
    CHECK(!pl_subject_is_inbox(PL_BYTES("_INBOX")));
    CHECK(!pl_subject_is_inbox(PL_BYTES("_INBOXES.x")));
    CHECK(pl_subject_begins(PL_BYTES("a.b"), PL_BYTES("a")));
    CHECK(!pl_subject_begins(PL_BYTES("ab"), PL_BYTES("a")));
}

static bool same(struct pl_bytes a, struct pl_bytes b, const char *what, int rules)
{
    if (pl_bytes_equal(a, b))
        return true;
    CHECK_BYTES(a.data, a.len, b.data, b.len);
    printf("    %s, rules %d\n", what, rules);
    return false;
}

TEST(random_names_can_be_told_to_every_protocol_and_come_back)
{
    struct pl_random random = pl_random_seeded(1);
    uint8_t memory[64];
    for (long round = 0; round < ROUNDS(1000000, 50000); round++) {
        struct pl_bytes name = random_name(&random, memory, sizeof memory);
        pl_arena_reset(&arena);
        for (int i = 0; i < ALL; i++) {
            struct pl_bytes text, back = PL_NO_BYTES;
            if (pl_subject_encode(all[i], &arena, name, &text) || !can_carry(all[i], text)) {
                CHECK(!"a name is told in bytes that the protocol can carry");
                return;
            }
            if (pl_subject_decode(all[i], &arena, text, &back) ||
                !same(back, name, "name → text → name", i))
                return;
            if (pl_subject_is_plain(all[i], name) && text.data != name.data) {
                CHECK(!"a plain name is left alone");
                return;
            }
        }
    }
    CHECK(true);
}

TEST(a_protocols_own_random_text_comes_back_as_it_was)
{
    struct pl_random random = pl_random_seeded(2);
    uint8_t memory[64];
    unsigned long valid[ALL] = {0};
    for (long round = 0; round < ROUNDS(1000000, 50000); round++) {
        struct pl_bytes text = random_name(&random, memory, sizeof memory);
        pl_arena_reset(&arena);
        for (int i = 0; i < ALL; i++) {
            struct pl_bytes name, again, other, back;
            enum pl_err err = pl_subject_decode(all[i], &arena, text, &name);
            if (err != (can_carry(all[i], text) ? PL_OK : PL_BAD_NAME)) {
                CHECK_BYTES(text.data, text.len, "", 0);
                return;
            }
            if (err)
                continue;
            valid[i]++;
            if (pl_subject_encode(all[i], &arena, name, &again) ||
                !same(again, text, "text → name → text", i))
                return;
            for (int j = 0; j < ALL; j++)
                if (pl_subject_encode(all[j], &arena, name, &other) ||
                    pl_subject_decode(all[j], &arena, other, &back) ||
                    pl_subject_encode(all[i], &arena, back, &again) ||
                    !same(again, text, "through another protocol", i * 10 + j))
                    return;
        }
    }
    for (int i = 0; i < ALL; i++)
        CHECK(valid[i] > 1000);
}

TEST(no_memory_is_an_error_and_nothing_else)
{
    struct pl_arena none = {0};
    struct pl_bytes out;
    pl_alloc_fail(0, 1);
    CHECK_EQ(pl_subject_encode(&nats, &none, PL_BYTES("a b"), &out), PL_NO_MEMORY);
    CHECK_EQ(pl_subject_decode(&mqtt, &none, PL_BYTES("a/b"), &out), PL_NO_MEMORY);
    CHECK_EQ(pl_subject_decode(&nats, &none, PL_BYTES("a%20b"), &out), PL_NO_MEMORY);
    CHECK_EQ(pl_subject_decode(&nats, &none, PL_BYTES("a.b"), &out), PL_OK);
    pl_alloc_fail(-1, 0);
    pl_arena_done(&none);
    pl_arena_done(&arena);
}
