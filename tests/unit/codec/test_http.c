#include "check.h"

#include "base/arena.h"
#include "base/output.h"
#include "codec/http.h"

static struct pl_http_request request;

static enum pl_err parse(const char *text, unsigned *status)
{
    *status = 0;
    return pl_http_parse(pl_bytes_text(text), &request, status);
}

static void check_refused(const char *text, unsigned expected)
{
    unsigned status;
    enum pl_err err = parse(text, &status);
    if (!CHECK(err != PL_OK && err != PL_NEED_MORE) || !CHECK_EQ(status, expected))
        printf("    in: %s\n", text);
}

static void check_slice(struct pl_bytes actual, const char *expected)
{
    CHECK_BYTES(actual.data, actual.len, expected, strlen(expected));
}

TEST(a_request_of_a_browser_is_read)
{
    unsigned status;
    const char *text = "GET /chat/room%201?token=a.b&x=1 HTTP/1.1\r\n"
                       "Host: example.com:8080\r\n"
                       "User-Agent: \t Browser/1.0 (a; b) \t\r\n"
                       "Empty:\r\n"
                       "CONNECTION: keep-alive, Upgrade\r\n"
                       "\r\nrest";
    CHECK_EQ(parse(text, &status), PL_OK);
    check_slice(request.method, "GET");
    check_slice(request.target, "/chat/room%201?token=a.b&x=1");
    check_slice(request.path, "/chat/room%201");
    check_slice(request.query, "token=a.b&x=1");
    CHECK_EQ(request.minor, 1);
    CHECK_EQ(request.header_count, 4);
    CHECK_EQ(request.head_len, strlen(text) - 4);
    CHECK(request.keeps_alive);
    check_slice(pl_http_header(&request, "user-agent"), "Browser/1.0 (a; b)");
    CHECK(pl_http_header(&request, "empty").data != NULL);
    CHECK_EQ(pl_http_header(&request, "empty").len, 0);
    CHECK(pl_http_header(&request, "none").data == NULL);
    CHECK(pl_http_header_has(&request, "connection", "upgrade"));
    CHECK(!pl_http_header_has(&request, "connection", "close"));
}

TEST(every_prefix_of_a_request_needs_more)
{
    const char *text = "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n";
    unsigned status;
    for (size_t len = 0; len < strlen(text); len++)
        CHECK_EQ(pl_http_parse(pl_bytes_of(text, len), &request, &status), PL_NEED_MORE);
    CHECK_EQ(parse(text, &status), PL_OK);
    CHECK_EQ(request.content_length, 12);
}

#define HOST "Host: x\r\n"

TEST(request_lines_are_strict)
{
    check_refused("GET  / HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /  HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused(" GET / HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("G(T / HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET / HTTP/1.1 \r\n" HOST "\r\n", 400);
    check_refused("GET / HTTP/1.10\r\n" HOST "\r\n", 400);
    check_refused("GET / http/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /\r\n" HOST "\r\n", 400);
    check_refused("GET / HTTP/2.0\r\n" HOST "\r\n", 505);
    check_refused("GET x HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET http://a/ HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET * HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /% HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /%4 HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /<> HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("GET /#x HTTP/1.1\r\n" HOST "\r\n", 400);
    check_refused("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI / HTTP/1.1\r\n" HOST "\r\n", 501);
    unsigned status;
    CHECK_EQ(parse("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", &status), PL_OK);
}

TEST(line_ends_are_crlf_and_nothing_else)
{
    check_refused("GET / HTTP/1.1\n" HOST "\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: x\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: x\r\n\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n", 400);
    check_refused("GET /\n", 400); /* at once, not at the end of the line */
    unsigned status = 0;
    CHECK_EQ(pl_http_parse(PL_BYTES("GET / HTTP/1.1\r\nA: \0b"), &request, &status), PL_MALFORMED);
    CHECK_EQ(status, 400);
}

TEST(headers_are_strict)
{
#define GET "GET / HTTP/1.1\r\n" HOST
    check_refused(GET "A : b\r\n\r\n", 400);
    check_refused(GET " A: b\r\n\r\n", 400);
    check_refused(GET "A: b\r\n folded\r\n\r\n", 400);
    check_refused(GET "A: b\r\n\tfolded\r\n\r\n", 400);
    check_refused(GET ": b\r\n\r\n", 400);
    check_refused(GET "no colon\r\n\r\n", 400);
    check_refused(GET "nocolon\r\n\r\n", 400);
    check_refused(GET "A: b\x01\r\n\r\n", 400);
    check_refused(GET "A: b\x7f\r\n\r\n", 400);
    check_refused(GET "A(: b\r\n\r\n", 400);
    unsigned status;
    CHECK_EQ(parse(GET "A:b\xc3\xa4\r\n\r\n", &status), PL_OK);
}

TEST(where_a_request_ends_is_never_a_guess)
{
    check_refused(GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    check_refused(GET "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400);
    check_refused(GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400);
    check_refused(GET "Content-Length: 5, 5\r\n\r\n", 400);
    check_refused(GET "Content-Length: +5\r\n\r\n", 400);
    check_refused(GET "Content-Length: -5\r\n\r\n", 400);
    check_refused(GET "Content-Length: 0x5\r\n\r\n", 400);
    check_refused(GET "Content-Length: 5 5\r\n\r\n", 400);
    check_refused(GET "Content-Length: \r\n\r\n", 400);
    check_refused(GET "Content-Length: 99999999999999999999\r\n\r\n", 400);
    check_refused(GET "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    check_refused(GET "Transfer-Encoding: xchunked\r\n\r\n", 501);
    check_refused(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    check_refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    unsigned status;
    CHECK_EQ(parse(GET "Transfer-Encoding: Chunked\r\n\r\n", &status), PL_OK);
    CHECK(request.is_chunked);
}

TEST(a_host_is_there_once)
{
    unsigned status;
    check_refused("GET / HTTP/1.1\r\n\r\n", 400);
    check_refused(GET "Host: y\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400);
    CHECK_EQ(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n", &status), PL_OK);
    CHECK_EQ(parse("GET / HTTP/1.0\r\n\r\n", &status), PL_OK);
    CHECK(!request.keeps_alive);
}

TEST(a_head_has_limits)
{
    static char text[20000];
    unsigned status;
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    CHECK_EQ(pl_http_parse(pl_bytes_of(text, 16384), &request, &status), PL_TOO_LARGE);
    CHECK_EQ(status, 414);
    CHECK_EQ(pl_http_parse(pl_bytes_of(text, 16383), &request, &status), PL_NEED_MORE);
    memcpy(text + 9000, " HTTP/1.1\r\n", 11);
    CHECK_EQ(pl_http_parse(pl_bytes_of(text, 9100), &request, &status), PL_TOO_LARGE);
    CHECK_EQ(status, 414);
    memcpy(text + 100, " HTTP/1.1\r\nA:", 13);
    CHECK_EQ(pl_http_parse(pl_bytes_of(text, sizeof text), &request, &status), PL_TOO_LARGE);
    CHECK_EQ(status, 431);
    size_t at = (size_t)snprintf(text, sizeof text, GET);
    for (int i = 0; i < PL_HTTP_HEADERS_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "A: b\r\n");
    CHECK_EQ(pl_http_parse(pl_bytes_of(text, at), &request, &status), PL_TOO_LARGE);
    CHECK_EQ(status, 431);
}

TEST(first_bytes_tell_http)
{
    CHECK_EQ(pl_http_sniff(PL_BYTES("GET /")), PL_OK);
    CHECK_EQ(pl_http_sniff(PL_BYTES("OPTIONS * ")), PL_OK);
    CHECK_EQ(pl_http_sniff(PL_BYTES("GET ")), PL_NEED_MORE);
    CHECK_EQ(pl_http_sniff(PL_BYTES("G")), PL_NEED_MORE);
    CHECK_EQ(pl_http_sniff(PL_BYTES("")), PL_NEED_MORE);
    CHECK_EQ(pl_http_sniff(PL_BYTES("CONNECT {")), PL_MALFORMED);
    CHECK_EQ(pl_http_sniff(PL_BYTES("*1\r\n")), PL_MALFORMED);
    CHECK_EQ(pl_http_sniff(PL_BYTES("\x10\x0c\0\4MQTT")), PL_MALFORMED);
}

TEST(query_parameters_are_decoded)
{
    struct pl_arena arena = {0};
    struct pl_bytes value;
    struct pl_bytes query = PL_BYTES("a=1&b%20c=x+y%2Bz&empty=&flag&a=2&bad=%4&nul=%00");
    CHECK_EQ(pl_http_query(query, "a", &arena, &value), PL_OK);
    check_slice(value, "1");
    CHECK_EQ(pl_http_query(query, "b c", &arena, &value), PL_OK);
    check_slice(value, "x y+z");
    CHECK_EQ(pl_http_query(query, "empty", &arena, &value), PL_OK);
    CHECK_EQ(value.len, 0);
    CHECK_EQ(pl_http_query(query, "flag", &arena, &value), PL_OK);
    CHECK_EQ(pl_http_query(query, "none", &arena, &value), PL_NOT_FOUND);
    CHECK_EQ(pl_http_query(query, "bad", &arena, &value), PL_MALFORMED);
    CHECK_EQ(pl_http_query(query, "nul", &arena, &value), PL_MALFORMED);
    CHECK_EQ(pl_http_unescape(PL_BYTES("/a+b%2fc"), false, &arena, &value), PL_OK);
    check_slice(value, "/a+b/c");
    pl_arena_done(&arena);
}

TEST(credentials_are_found)
{
    struct pl_bytes cookies = PL_BYTES("a=1; token=\"x.y.z\";b=2");
    check_slice(pl_http_cookie(cookies, "token"), "x.y.z");
    check_slice(pl_http_cookie(cookies, "b"), "2");
    CHECK(pl_http_cookie(cookies, "oken").data == NULL);
    CHECK(pl_http_cookie(PL_NO_BYTES, "token").data == NULL);
    check_slice(pl_http_bearer(PL_BYTES("bearer  abc.def")), "abc.def");
    CHECK(pl_http_bearer(PL_BYTES("Basic YTpi")).data == NULL);
    CHECK(pl_http_bearer(PL_BYTES("Bearer")).data == NULL);
    CHECK(pl_http_bearer(PL_NO_BYTES).data == NULL);
}

TEST(an_origin_is_judged)
{
    static const struct {
        const char *host, *origin;
        enum pl_http_origin expected;
    } cases[] = {
        {"example.com", "http://example.com", PL_HTTP_ORIGIN_SAME},
        {"example.com", "https://EXAMPLE.com", PL_HTTP_ORIGIN_SAME},
        {"example.com:8080", "http://example.com:8080", PL_HTTP_ORIGIN_SAME},
        {"example.com:443", "https://example.com", PL_HTTP_ORIGIN_SAME},
        {"example.com:8080", "http://example.com", PL_HTTP_ORIGIN_OTHER},
        {"example.com", "http://example.com:8080", PL_HTTP_ORIGIN_OTHER},
        {"example.com", "http://example.com.evil.org", PL_HTTP_ORIGIN_OTHER},
        {"example.com", "null", PL_HTTP_ORIGIN_OTHER},
        {"example.com", "file://", PL_HTTP_ORIGIN_OTHER},
        {"example.com", "http://localhost:3000", PL_HTTP_ORIGIN_LOOPBACK},
        {"example.com", "http://[::1]:3000", PL_HTTP_ORIGIN_LOOPBACK},
        {"[::1]:3000", "http://[::1]:3000", PL_HTTP_ORIGIN_SAME},
        {"localhost:8080", "http://127.0.0.1:8080", PL_HTTP_ORIGIN_LOOPBACK},
        {"localhost:8080", "http://evil.org", PL_HTTP_ORIGIN_OTHER},
    };
    unsigned status;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n\r\n",
            cases[i].host, cases[i].origin);
        CHECK_EQ(parse(text, &status), PL_OK);
        if (!CHECK_EQ(pl_http_origin(&request), cases[i].expected))
            printf("    %s", text);
    }
    CHECK_EQ(parse(GET "\r\n", &status), PL_OK);
    CHECK_EQ(pl_http_origin(&request), PL_HTTP_ORIGIN_ABSENT);
}

TEST(loopback_names_are_known)
{
    static const char *const yes[] = {
        "localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.255.0.9", "::1"};
    static const char *const no[] = {"", "localhost.evil.org", "evillocalhost",
        "127.0.0.1.evil.org", "128.0.0.1", "127.0.0", "127.0.0.1.1", "127.0.0.256", "1270.0.1",
        "::2", "0.0.0.0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        CHECK(pl_http_is_loopback(pl_bytes_text(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        CHECK(!pl_http_is_loopback(pl_bytes_text(no[i])));
}

TEST(an_answer_is_whole)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *buffer = NULL;
    pl_http_write_answer(&w, &(struct pl_http_answer){.status = 404,
                                 .type = "text/plain",
                                 .body = PL_BYTES("no"),
                                 .more = PL_BYTES("X-A: b\r\n")});
    CHECK_EQ(pl_writer_take(&w, &buffer), PL_OK);
    check_slice(pl_bytes_of(buffer->data, buffer->len),
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
        "X-Content-Type-Options: nosniff\r\nContent-Length: 2\r\nX-A: b\r\n"
        "Connection: close\r\n\r\nno");
    pl_shared_unref(buffer);
}
