#include "codec/http_chunks.h"

#include "check.h"

static char body[256];

/* Feeds it in pieces of `step` bytes. Where the body ended; 0: it has not. */
static enum pl_err read_all(const char *text, size_t step, size_t *out_end)
{
    struct pl_http_chunks chunks = {0};
    struct pl_bytes whole = pl_bytes_text(text);
    size_t at = 0, len = 0;
    enum pl_err err = PL_NEED_MORE;
    while (err == PL_NEED_MORE && at < whole.len) {
        struct pl_bytes data;
        size_t used, room = whole.len - at < step ? whole.len - at : step;
        err = pl_http_chunks_read(&chunks, pl_bytes_of(whole.data + at, room), &used, &data);
        if (err && err != PL_NEED_MORE)
            break;
        at += used;
        if (data.len)
            memcpy(body + len, data.data, data.len);
        len += data.len;
    }
    body[len] = '\0';
    *out_end = at;
    return err;
}

static void check_body(const char *text, size_t end, const char *wanted)
{
    for (size_t step = 1; step < 20; step++) {
        size_t at;
        CHECK_EQ(read_all(text, step, &at), PL_OK);
        CHECK_EQ(at, end);
        CHECK_STR(body, wanted);
    }
}

TEST(a_body_is_put_together_however_it_comes)
{
    check_body("5\r\nhello\r\n0\r\n\r\n", 15, "hello");
    check_body("5\r\nhello\r\n00a\r\n, 90123456\r\n0\r\n\r\nGET /", 32, "hello, 90123456");
    check_body("0\r\n\r\n", 5, "");
    check_body("1;a=b;c=\"d\"\r\nx\r\n0;last\r\n\r\n", 26, "x");
    check_body("1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nrest", 23, "x");
}

TEST(what_could_be_read_in_two_ways_is_refused)
{
    static const char *const bad[] = {"\r\n", " 5\r\nhello", "5 \r\nhello", "0x5\r\nhello",
        "-1\r\n", "5\nhello\r\n", "5\r\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
        "g\r\n", "0\r\n\n", "0\r\nA\n\r\n", "5;a\n\r\nhello"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (size_t step = 1; step < 20; step++) {
            size_t at;
            if (!CHECK_EQ(read_all(bad[i], step, &at), PL_MALFORMED))
                printf("%s\n", bad[i]);
        }
    }
}

TEST(sizes_and_lines_have_limits)
{
    size_t at;
    CHECK_EQ(read_all("fffffffffffffffff\r\n", 100, &at), PL_TOO_LARGE);
    static char text[PL_HTTP_CHUNK_LINE_MAX + 100];
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "1;", 2);
    CHECK_EQ(read_all(text, 1000, &at), PL_TOO_LARGE);
    memset(text, '0', sizeof text - 1);
    CHECK_EQ(read_all(text, 1000, &at), PL_TOO_LARGE);
    for (size_t i = 3; i < sizeof text - 1; i += 4)
        memcpy(text + i, "a:\r\n", 4);
    memcpy(text, "0\r\n", 3);
    text[sizeof text - 1] = '\0';
    CHECK_EQ(read_all(text, 1000, &at), PL_TOO_LARGE);
}
