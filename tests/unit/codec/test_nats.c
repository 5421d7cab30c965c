/* NATS packets: what nats-server 2.9 takes and refuses. */
#include "codec/nats.h"

#include "base/text.h"
#include "check.h"

static struct pl_nats_line line;
static size_t used;

static enum pl_err read_line(const char *text)
{
    line = (struct pl_nats_line){0};
    used = 0;
    return pl_nats_read_line(pl_bytes_text(text), 64, &line, &used);
}

#define CHECK_TEXT(bytes, expected)                                                                \
    CHECK_BYTES((bytes).data, (bytes).len, expected, strlen(expected))

TEST(arguments_are_parted_by_spaces_and_tabs_and_verbs_are_of_any_case)
{
    CHECK_EQ(read_line("pub\t a.b  \tre.ply 12\r\nrest"), PL_OK);
    CHECK_EQ(line.verb, PL_NATS_PUB);
    CHECK_TEXT(line.subject, "a.b");
    CHECK_TEXT(line.reply, "re.ply");
    CHECK_EQ(line.size, 12);
    CHECK_EQ(used, strlen("pub\t a.b  \tre.ply 12\r\n"));
    CHECK_EQ(read_line("PUB a 0\n"), PL_OK);
    CHECK_EQ(line.reply.len, 0);
    CHECK_EQ(read_line("hPuB a r 5 7\r\n"), PL_OK);
    CHECK_EQ(line.head_size, 5);
    CHECK_EQ(line.size, 7);
    CHECK_EQ(read_line("SUB a.* g 1\r\n"), PL_OK);
    CHECK_TEXT(line.queue, "g");
    CHECK_TEXT(line.sid, "1");
    CHECK_EQ(read_line("SUB a.* 1 \r\n"), PL_OK);
    CHECK_TEXT(line.sid, "1");
    CHECK_EQ(line.queue.len, 0);
    CHECK_EQ(read_line("UNSUB 1 5\r\n"), PL_OK);
    CHECK_EQ(line.max, 5);
    CHECK_EQ(read_line("UNSUB 1 many\r\n"), PL_OK);
    CHECK_EQ(line.max, 0);
    CHECK_EQ(read_line("MSG a.b 7 3\r\n"), PL_OK);
    CHECK_TEXT(line.sid, "7");
    CHECK_EQ(read_line("HMSG a.b 7 re 3 4\r\n"), PL_OK);
    CHECK_TEXT(line.reply, "re");
    CHECK_EQ(read_line("CONNECT{\"a\":1}\r\n"), PL_OK);
    CHECK_TEXT(line.text, "{\"a\":1}");
    CHECK_EQ(read_line("-ERR 'x y'\r\n"), PL_OK);
    CHECK_TEXT(line.text, "'x y'");
    CHECK_EQ(read_line("PINGwhatever\r\n"), PL_OK);
    CHECK_EQ(line.verb, PL_NATS_PING);
}

TEST(an_unknown_verb_is_told_at_its_first_wrong_byte)
{
    static const char *const wrong[] = {
        "X", "\r\n", "PX", "PUBS", "PUB\r\n", "SUBa", "+KO", "-ERRx", "HMX", "UNSUB\r\n", "\x16"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_EQ(read_line(wrong[i]), PL_MALFORMED);
    static const char *const begun[] = {
        "", "P", "p", "PU", "PUB", "PUB ", "PUB a", "PUB a 5\r", "C", "CONNECT {", "+O", "H"};
    for (size_t i = 0; i < sizeof begun / sizeof begun[0]; i++)
        CHECK_EQ(read_line(begun[i]), PL_NEED_MORE);
}

TEST(wrong_arguments_are_a_violation)
{
    static const char *const wrong[] = {"PUB \r\n", "PUB a\r\n", "PUB a b c d\r\n", "PUB a x\r\n",
        "PUB a -1\r\n", "PUB a 1234567890\r\n", "PUB a 1x\r\n", "HPUB a 5\r\n", "HPUB a 6 5\r\n",
        "SUB a\r\n", "SUB a b c d\r\n", "SUB \r\n", "UNSUB \r\n", "UNSUB a b c\r\n", "MSG a 1\r\n",
        "PUB a b c d e f g h\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_EQ(read_line(wrong[i]), PL_PROTOCOL);
}

TEST(a_line_has_a_limit_with_and_without_its_end)
{
    char text[200] = "SUB ";
    memset(text + 4, 'a', 62);
    strcpy(text + 66, " 1\r\n");
    CHECK_EQ(read_line(text), PL_OK);
    memset(text + 4, 'a', 63);
    strcpy(text + 67, " 1\r\n");
    CHECK_EQ(read_line(text), PL_TOO_LARGE);
    memset(text + 4, 'a', 66);
    text[70] = 0;
    CHECK_EQ(read_line(text), PL_TOO_LARGE);
    memset(text + 3, ' ', 100);
    text[103] = 0;
    CHECK_EQ(read_line(text), PL_TOO_LARGE);
}

TEST(a_payload_ends_with_crlf)
{
    struct pl_bytes payload;
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("ab\r\nX"), 2, &payload, &used), PL_OK);
    CHECK_TEXT(payload, "ab");
    CHECK_EQ(used, 4);
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("ab\r"), 2, &payload, &used), PL_NEED_MORE);
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("a"), 2, &payload, &used), PL_NEED_MORE);
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("abc"), 2, &payload, &used), PL_MALFORMED);
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("ab\n\n"), 2, &payload, &used), PL_MALFORMED);
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("ab\rx"), 2, &payload, &used), PL_MALFORMED);
    CHECK_EQ(pl_nats_read_payload(PL_BYTES("\r\n"), 0, &payload, &used), PL_OK);
}

TEST(a_header_block_is_read_line_by_line)
{
    struct pl_nats_head head;
    struct pl_bytes status, name, value;
    CHECK_EQ(pl_nats_head_begin(&head,
                 PL_BYTES("NATS/1.0 503 no one\r\nA:1\r\nnot a header\r\nb: \t x y \r\n:\r\n\r\n"),
                 &status),
        PL_OK);
    CHECK_TEXT(status, "503 no one");
    CHECK(pl_nats_head_next(&head, &name, &value));
    CHECK_TEXT(name, "A");
    CHECK_TEXT(value, "1");
    CHECK(pl_nats_head_next(&head, &name, &value));
    CHECK_TEXT(name, "b");
    CHECK_TEXT(value, "x y");
    CHECK(pl_nats_head_next(&head, &name, &value));
    CHECK_EQ(name.len + value.len, 0);
    CHECK(!pl_nats_head_next(&head, &name, &value));
    CHECK_EQ(pl_nats_head_begin(&head, PL_BYTES("HTTP/1.1\r\n\r\n"), &status), PL_MALFORMED);
    CHECK_EQ(pl_nats_head_begin(&head, PL_NO_BYTES, &status), PL_MALFORMED);
}

static enum pl_err read_connect(const char *text, struct pl_nats_connect *out, uint8_t *memory)
{
    *out = pl_nats_connect_default;
    return pl_nats_read_connect(pl_bytes_text(text), memory, out);
}

TEST(connect_is_read_as_go_reads_json)
{
    struct pl_nats_connect c;
    uint8_t memory[512];
    CHECK_EQ(read_connect("{}", &c, memory), PL_OK);
    CHECK(c.verbose && c.pedantic && c.echo && !c.headers);
    CHECK_EQ(read_connect("{\"VERBOSE\":false,\"echo\":null,\"user\":\"a\\u00e9\\ud83d\\ude00\\n\","
                          "\"pass\":\"\",\"x\":[1,{\"y\":[]}],\"protocol\":1}",
                 &c, memory),
        PL_OK);
    CHECK(!c.verbose && c.echo && c.has_user && c.has_pass && !c.has_token);
    CHECK_TEXT(c.user, "a\xC3\xA9\xF0\x9F\x98\x80\n");
    CHECK_EQ(c.protocol, 1);
    static const char *const wrong[] = {"", "x", "[]", "{", "{\"a\"}", "{\"verbose\":1}",
        "{\"user\":true}", "{\"protocol\":\"1\"}", "{\"protocol\":1.5}", "{} x", "{\"a\":01}",
        "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\xff\"}", "{\"a\":1,}", "{\"a\":tru}",
        "{\"a\":-}", "{\"a\":1e}", "{\"a\":\"b", "{,}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_EQ(read_connect(wrong[i], &c, memory), PL_MALFORMED);
}

TEST(deep_json_is_refused)
{
    struct pl_nats_connect c;
    uint8_t memory[512];
    char text[256] = "{\"a\":";
    memset(text + 5, '[', 100);
    text[105] = 0;
    CHECK_EQ(read_connect(text, &c, memory), PL_MALFORMED);
}

TEST(what_a_client_writes_a_server_reads)
{
    struct pl_writer w = pl_writer_new();
    struct pl_nats_connect in = {.echo = true,
        .headers = true,
        .has_user = true,
        .user = PL_BYTES("a\"\\\n\x01z"),
        .has_token = true,
        .auth_token = PL_BYTES("t"),
        .protocol = 1,
        .name = PL_BYTES("n")};
    pl_nats_write_connect(&w, &in);
    pl_nats_write_pub(&w, PL_BYTES("a.b"), PL_BYTES("r"), PL_NO_BYTES, PL_BYTES("xyz"));
    pl_nats_write_pub(&w, PL_BYTES("a"), PL_NO_BYTES, PL_BYTES("NATS/1.0\r\n\r\n"), PL_BYTES("p"));
    pl_nats_write_sub(&w, PL_BYTES("a.*"), PL_BYTES("g"), PL_BYTES("12"));
    pl_nats_write_unsub(&w, PL_BYTES("12"), 3);
    struct pl_shared *text;
    CHECK_EQ(pl_writer_take(&w, &text), PL_OK);
    struct pl_bytes rest = pl_bytes_of(text->data, text->len);
    CHECK_EQ(pl_nats_read_line(rest, 4096, &line, &used), PL_OK);
    uint8_t memory[512];
    struct pl_nats_connect out = pl_nats_connect_default;
    CHECK_EQ(pl_nats_read_connect(line.text, memory, &out), PL_OK);
    CHECK(!out.verbose && !out.pedantic && out.echo && out.headers && !out.has_pass);
    CHECK_TEXT(out.user, "a\"\\\n\x01z");
    rest = pl_bytes_from(rest, used);
    CHECK_TEXT(rest, "PUB a.b r 3\r\nxyz\r\nHPUB a 12 13\r\nNATS/1.0\r\n\r\np\r\nSUB a.* g 12\r\n"
                     "UNSUB 12 3\r\n");
    pl_shared_unref(text);
}

TEST(info_is_read_as_it_was_written)
{
    struct pl_nats_info in = {.server_id = PL_BYTES("ID"),
                            .server_name = PL_BYTES("n\"ame"),
                            .version = PL_BYTES("2.9.0"),
                            .build = PL_BYTES("1"),
                            .host = PL_BYTES("::1"),
                            .port = 65535,
                            .max_payload = 1048576,
                            .client_id = 1ull << 41,
                            .headers = true,
                            .ldm = true},
                        out = {0};
    struct pl_writer w = pl_writer_new();
    struct pl_shared *text;
    uint8_t memory[512];
    pl_nats_write_info(&w, &in);
    CHECK_EQ(pl_writer_take(&w, &text), PL_OK);
    CHECK_EQ(pl_nats_read_line(pl_bytes_of(text->data, text->len), 4096, &line, &used), PL_OK);
    CHECK_EQ(pl_nats_read_info(line.text, memory, &out), PL_OK);
    CHECK_TEXT(out.server_name, "n\"ame");
    CHECK_EQ(out.port, 65535);
    CHECK_EQ(out.client_id, 1ll << 41);
    CHECK(out.headers && out.ldm && !out.auth_required);
    pl_shared_unref(text);
}
