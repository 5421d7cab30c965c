#include "check.h"

#include <stdlib.h>

#include "protocols/redis/redis_packet.h"

static const struct pl_resp_limits wide = {
    .line_max = PL_RESP_LINE_MAX, .bulk_max = 1 << 20, .request_max = 1 << 20};

struct decoded {
    enum pl_err err;
    size_t used;
    struct pl_resp_request request;
    struct pl_diag diag;
};

static struct decoded decode(const char *text, size_t len, const struct pl_resp_limits *limits)
{
    struct decoded d = {0};
    struct pl_resp_scan scan = {0};
    d.err = pl_resp_decode(pl_bytes_of(text, len), limits, &scan, &d.request, &d.used, &d.diag);
    return d;
}

static void check_refused(const char *text, const struct pl_resp_limits *limits, const char *why)
{
    struct decoded d = decode(text, strlen(text), limits);
    CHECK_EQ(d.err, PL_MALFORMED);
    CHECK_STR(d.diag.text, why);
}

TEST(an_array_of_bulk_strings_is_a_request)
{
    const char text[] = "*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$12\r\nhello\r\nworld\r\nrest";
    struct decoded d = decode(text, strlen(text), &wide);
    CHECK_EQ(d.err, PL_OK);
    CHECK_EQ(d.request.count, 3);
    CHECK(pl_bytes_equal(d.request.args[0], PL_BYTES("PUBLISH")));
    CHECK(pl_bytes_equal(d.request.args[2], PL_BYTES("hello\r\nworld")));
    CHECK_EQ(d.used, strlen(text) - 4);
}

TEST(an_empty_or_negative_array_asks_for_nothing)
{
    struct decoded d = decode("*0\r\nx", 5, &wide);
    CHECK(d.err == PL_OK && d.request.count == 0 && d.used == 4);
    d = decode("*-1\r\nx", 6, &wide);
    CHECK(d.err == PL_OK && d.request.count == 0 && d.used == 5);
}

TEST(a_request_may_come_in_any_pieces)
{
    const char text[] = "*9\r\n$1\r\n0\r\n$1\r\n1\r\n$0\r\n\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"
                        "$10\r\n6666666666\r\n$1\r\n7\r\n$1\r\n8\r\n";
    size_t len = strlen(text);
    struct pl_resp_scan scan = {0};
    for (size_t n = 1; n <= len; n++) {
        char *piece = malloc(n);
        REQUIRE(piece);
        memcpy(piece, text, n);
        struct pl_resp_request request = {0};
        struct pl_diag diag;
        size_t used = 0;
        enum pl_err err =
            pl_resp_decode(pl_bytes_of(piece, n), &wide, &scan, &request, &used, &diag);
        if (n < len) {
            CHECK_EQ(err, PL_NEED_MORE);
        } else {
            CHECK_EQ(err, PL_OK);
            CHECK_EQ(used, len);
            struct pl_resp_args args = pl_resp_args(&request, 0);
            struct pl_bytes arg;
            uint32_t count = 0;
            for (; pl_resp_next(&args, &arg); count++)
                if (count != 2)
                    CHECK(arg.len && arg.data[0] == '0' + count);
            CHECK_EQ(count, 9);
        }
        free(piece);
    }
}

TEST(what_is_no_request_is_told_in_the_words_of_the_real_server)
{
    check_refused("*x\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*+1\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*01\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*-0\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*1 \r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*2147483648\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*99999999999999999999\r\n", &wide, "Protocol error: invalid multibulk length");
    check_refused("*1\r\n+OK\r\n", &wide, "Protocol error: expected '$', got '+'");
    check_refused("*1\r\n$\r\n", &wide, "Protocol error: invalid bulk length");
    check_refused("*1\r\n$-1\r\n", &wide, "Protocol error: invalid bulk length");
    check_refused("*1\r\n$04\r\n", &wide, "Protocol error: invalid bulk length");
    check_refused("*1\r\n$1048577\r\n", &wide, "Protocol error: invalid bulk length");
}

TEST(a_line_that_ends_at_its_type_byte_is_refused_and_nothing_behind_it_is_read)
{
    static const char text[] = "*1\r\n\r-";
    size_t len = sizeof text - 1;
    char *exact = malloc(len);
    REQUIRE(exact);
    memcpy(exact, text, len);
    CHECK_EQ(decode(exact, len, &wide).err, PL_MALFORMED);
    free(exact);
}

TEST(a_number_whose_line_never_ends_is_refused)
{
    static char text[PL_RESP_LINE_MAX + 8];
    memset(text, '1', sizeof text);
    text[0] = '*';
    struct decoded d = decode(text, PL_RESP_LINE_MAX, &wide);
    CHECK_EQ(d.err, PL_NEED_MORE);
    d = decode(text, PL_RESP_LINE_MAX + 1, &wide);
    CHECK_EQ(d.err, PL_MALFORMED);
    CHECK_STR(d.diag.text, "Protocol error: too big mbulk count string");
    memcpy(text, "*1\r\n$", 5);
    d = decode(text, sizeof text, &wide);
    CHECK_EQ(d.err, PL_MALFORMED);
    CHECK_STR(d.diag.text, "Protocol error: too big bulk count string");
}

TEST(before_the_login_requests_are_small)
{
    struct pl_resp_limits limits = wide;
    limits.is_login = true;
    CHECK_EQ(decode("*10\r\n", 5, &limits).err, PL_NEED_MORE);
    check_refused("*11\r\n", &limits, "Protocol error: unauthenticated multibulk length");
    CHECK_EQ(decode("*1\r\n$16384\r\n", 12, &limits).err, PL_NEED_MORE);
    check_refused("*1\r\n$16385\r\n", &limits, "Protocol error: unauthenticated bulk length");
}

TEST(a_request_is_bounded_as_a_whole)
{
    struct pl_resp_limits limits = wide;
    limits.request_max = 64;
    check_refused("*3\r\n$40\r\n0123456789012345678901234567890123456789\r\n$20\r\n", &limits,
        "Protocol error: invalid bulk length");
    check_refused("*11\r\n", &limits, "Protocol error: invalid multibulk length");
}

static void check_inline(const char *line, const char *expected)
{
    struct pl_writer w = pl_writer_new();
    struct pl_diag diag;
    size_t used = 0;
    CHECK_EQ(pl_resp_decode_inline(pl_bytes_text(line), &wide, &w, &used, &diag), PL_OK);
    CHECK_EQ(used, strlen(line));
    struct pl_shared *whole = NULL;
    REQUIRE(pl_writer_take(&w, &whole) == PL_OK);
    CHECK_BYTES(whole->data, whole->len, expected, strlen(expected));
    pl_shared_unref(whole);
}

TEST(an_inline_line_is_split_as_the_real_server_splits_it)
{
    check_inline("PING\r\n", "*1\r\n$4\r\nPING\r\n");
    check_inline("PING\n", "*1\r\n$4\r\nPING\r\n");
    check_inline("\r\n", "");
    check_inline("  \t \r\n", "");
    check_inline("  a  b \r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    check_inline("a \"\" ''\r\n", "*3\r\n$1\r\na\r\n$0\r\n\r\n$0\r\n\r\n");
    check_inline("\"a \\x41\\n\\q\\\"\"\r\n", "*1\r\n$6\r\na A\nq\"\r\n");
    check_inline("'it\\'s \\n'\r\n", "*1\r\n$7\r\nit's \\n\r\n");
    check_inline("x\"y z\"\r\n", "*1\r\n$4\r\nxy z\r\n");
    check_inline("\"\\xZZ\"\r\n", "*1\r\n$3\r\nxZZ\r\n");
}

TEST(an_inline_line_with_open_quotes_is_refused)
{
    static const char *const lines[] = {"a \"b\r\n", "a 'b\r\n", "a \"b\"c\r\n", "\"\\\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct pl_writer w = pl_writer_new();
        struct pl_diag diag;
        size_t used = 0;
        CHECK_EQ(
            pl_resp_decode_inline(pl_bytes_text(lines[i]), &wide, &w, &used, &diag), PL_MALFORMED);
        CHECK_STR(diag.text, "Protocol error: unbalanced quotes in request");
        pl_shared_unref(w.spill);
    }
}

TEST(an_inline_line_without_end_is_refused_when_it_is_too_long)
{
    static char text[PL_RESP_LINE_MAX + 1];
    memset(text, 'x', sizeof text);
    struct pl_writer w = pl_writer_new();
    struct pl_diag diag;
    size_t used = 0;
    CHECK_EQ(pl_resp_decode_inline(pl_bytes_of(text, PL_RESP_LINE_MAX), &wide, &w, &used, &diag),
        PL_NEED_MORE);
    CHECK_EQ(pl_resp_decode_inline(pl_bytes_of(text, sizeof text), &wide, &w, &used, &diag),
        PL_MALFORMED);
    CHECK_STR(diag.text, "Protocol error: too big inline request");
}

static struct pl_shared *taken(struct pl_writer *w)
{
    struct pl_shared *s = NULL;
    CHECK_EQ(pl_writer_take(w, &s), PL_OK);
    return s;
}

#define CHECK_WRITTEN(writes, expected)                                                            \
    do {                                                                                           \
        struct pl_writer w = pl_writer_new();                                                      \
        writes;                                                                                    \
        struct pl_shared *s = taken(&w);                                                           \
        CHECK_BYTES(s->data, s->len, expected, sizeof(expected) - 1);                              \
        pl_shared_unref(s);                                                                        \
    } while (0)

TEST(replies_have_the_form_of_their_version)
{
    CHECK_WRITTEN(pl_resp_write_status(&w, "OK"), "+OK\r\n");
    CHECK_WRITTEN(pl_resp_write_error(&w, "ERR a\r\nb"), "-ERR a  b\r\n");
    CHECK_WRITTEN(pl_resp_write_integer(&w, 0), ":0\r\n");
    CHECK_WRITTEN(pl_resp_write_integer(&w, -12), ":-12\r\n");
    CHECK_WRITTEN(pl_resp_write_integer(&w, INT64_MIN), ":-9223372036854775808\r\n");
    CHECK_WRITTEN(pl_resp_write_bulk(&w, PL_BYTES("a\0b")), "$3\r\na\0b\r\n");
    CHECK_WRITTEN(pl_resp_write_null(&w, 2), "$-1\r\n");
    CHECK_WRITTEN(pl_resp_write_null(&w, 3), "_\r\n");
    CHECK_WRITTEN(pl_resp_write_map(&w, 2, 3), "*6\r\n");
    CHECK_WRITTEN(pl_resp_write_map(&w, 3, 3), "%3\r\n");
    CHECK_WRITTEN(pl_resp_write_set(&w, 2, 3), "*3\r\n");
    CHECK_WRITTEN(pl_resp_write_set(&w, 3, 3), "~3\r\n");
    CHECK_WRITTEN(pl_resp_write_push(&w, 2, 3), "*3\r\n");
    CHECK_WRITTEN(pl_resp_write_push(&w, 3, 3), ">3\r\n");
    CHECK_WRITTEN(pl_resp_write_verbatim(&w, 2, PL_BYTES("a")), "$1\r\na\r\n");
    CHECK_WRITTEN(pl_resp_write_verbatim(&w, 3, PL_BYTES("a")), "=5\r\ntxt:a\r\n");
}

TEST(a_message_is_written_whole)
{
    struct pl_bytes pattern = PL_BYTES("n*");
    CHECK_WRITTEN(pl_resp_write_message(
                      &w, 2, PL_BYTES("message"), NULL, PL_BYTES("news"), PL_BYTES("0123456789")),
        "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$10\r\n0123456789\r\n");
    CHECK_WRITTEN(
        pl_resp_write_message(&w, 3, PL_BYTES("pmessage"), &pattern, PL_BYTES("news"), PL_NO_BYTES),
        ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$0\r\n\r\n");
}

TEST(numbers_are_read_as_the_real_server_reads_them)
{
    int64_t v = 0;
    CHECK(pl_resp_parse_integer(PL_BYTES("-9223372036854775808"), &v) == PL_OK && v == INT64_MIN);
    CHECK(pl_resp_parse_integer(PL_BYTES("9223372036854775807"), &v) == PL_OK && v == INT64_MAX);
    CHECK(pl_resp_parse_integer(PL_BYTES("0"), &v) == PL_OK && v == 0);
    CHECK_EQ(pl_resp_parse_integer(PL_BYTES("9223372036854775808"), &v), PL_MALFORMED);
    CHECK_EQ(pl_resp_parse_integer(PL_BYTES("-9223372036854775809"), &v), PL_MALFORMED);
    CHECK_EQ(pl_resp_parse_integer(PL_BYTES(""), &v), PL_MALFORMED);
    CHECK_EQ(pl_resp_parse_integer(PL_BYTES("-"), &v), PL_MALFORMED);
    CHECK_EQ(pl_resp_parse_integer(PL_BYTES(" 1"), &v), PL_MALFORMED);
}
