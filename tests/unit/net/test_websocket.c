/* WebSocket connections, seen from a client that makes each frame by hand. */
#include "check.h"

#include "codec/websocket.h"
#include "net/net_harness.h"

static const uint8_t key[4] = {1, 2, 3, 4};

/* Reads an HTTP head, byte by byte so as not to read too far. */
static void read_head(int fd, char *head, size_t cap)
{
    size_t len = 0;
    while (len + 1 < cap && harness_recv(fd, head + len, 1) == 1) {
        len++;
        if (len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    head[len] = 0;
}

static void ask(int fd, const char *more)
{
    char text[1024];
    int len = snprintf(text, sizeof text,
        "HGET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        more);
    CHECK(harness_send(fd, text, (size_t)len));
}

/* A connection that has been upgraded. */
static int open_websocket(struct harness *h, const char *more)
{
    char head[1024];
    int fd = harness_connect(h);
    ask(fd, more);
    read_head(fd, head, sizeof head);
    CHECK(strncmp(head, "HTTP/1.1 101 ", 13) == 0);
    return fd;
}

static size_t put_frame(uint8_t *out, uint8_t first, const void *payload, size_t len)
{
    size_t n = pl_websocket_encode_header(out, PL_WS_BINARY, true, false, len);
    out[0] = first;
    out[1] |= 0x80;
    memcpy(out + n, key, 4);
    n += 4;
    for (size_t i = 0; i < len; i++)
        out[n + i] = ((const uint8_t *)payload)[i] ^ key[i & 3];
    return n + len;
}

static void send_frame(int fd, uint8_t first, const void *payload, size_t len)
{
    uint8_t *frame = malloc(len + 14);
    CHECK(harness_send(fd, frame, put_frame(frame, first, payload, len)));
    free(frame);
}

/* Reads one frame; returns its first byte, 0 at the end. */
static uint8_t recv_frame(int fd, uint8_t *payload, size_t cap, size_t *out_len)
{
    uint8_t head[10];
    *out_len = 0;
    if (harness_recv(fd, head, 2) != 2)
        return 0;
    size_t extended = head[1] == 126 ? 2 : head[1] == 127 ? 8 : 0;
    CHECK(!(head[1] & 0x80)); /* a server does not mask */
    harness_recv(fd, head + 2, extended);
    uint64_t len = extended ? 0 : head[1];
    for (size_t i = 0; i < extended; i++)
        len = len << 8 | head[2 + i];
    if (!CHECK(len <= cap))
        return 0;
    *out_len = harness_recv(fd, payload, len);
    CHECK_EQ(*out_len, len);
    return head[0];
}

static void check_frame(int fd, uint8_t first, const void *payload, size_t len)
{
    static uint8_t got[1 << 16];
    size_t got_len;
    CHECK_EQ(recv_frame(fd, got, sizeof got, &got_len), first);
    CHECK_BYTES(got, got_len, payload, len);
}

/* Reads payload of binary frames until there are len bytes. How many frames. */
static unsigned recv_stream(int fd, uint8_t *to, size_t len)
{
    size_t at = 0;
    unsigned frames = 0;
    while (at < len) {
        size_t got;
        if (!CHECK_EQ(recv_frame(fd, to + at, len - at, &got), 0x82))
            break;
        at += got;
        frames++;
    }
    return frames;
}

TEST(the_handshake_of_rfc_6455_is_answered)
{
    struct harness h = {0};
    char head[1024];
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    ask(fd, "Sec-WebSocket-Protocol: other, binary-stream, stream\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    read_head(fd, head, sizeof head);
    CHECK_STR(head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                    "Sec-WebSocket-Protocol: binary-stream\r\n\r\n");
    send_frame(fd, 0x82, "hello", 5);
    check_frame(fd, 0x82, "hello", 5);
    close(fd);
    harness_stop(&h);
}

static void check_refusal(struct harness *h, const char *request, const char *status)
{
    char head[1024];
    int fd = harness_connect(h);
    CHECK(harness_send(fd, "H", 1));
    CHECK(harness_send(fd, request, strlen(request)));
    read_head(fd, head, sizeof head);
    if (!CHECK(strncmp(head, status, strlen(status)) == 0))
        printf("    %s\n    %s", request, head);
    while (recv(fd, head, sizeof head, 0) > 0)
        continue;
    close(fd);
}

#define BEGIN   "GET / HTTP/1.1\r\nHost: localhost\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

TEST(bad_handshakes_are_refused)
{
    struct harness h = {0};
    harness_start(&h, 1, NULL, NULL);
    check_refusal(&h, BEGIN "\r\n", "HTTP/1.1 426 ");
    check_refusal(&h, BEGIN UPGRADE KEY "\r\n", "HTTP/1.1 426 ");
    check_refusal(&h, BEGIN UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", "HTTP/1.1 426 ");
    check_refusal(&h, BEGIN UPGRADE VERSION "\r\n", "HTTP/1.1 400 ");
    check_refusal(&h, BEGIN UPGRADE KEY KEY VERSION "\r\n", "HTTP/1.1 400 ");
    check_refusal(&h, BEGIN UPGRADE "Sec-WebSocket-Key: short\r\n" VERSION "\r\n", "HTTP/1.1 400 ");
    check_refusal(&h, BEGIN UPGRADE KEY VERSION "Content-Length: 4\r\n\r\nabcd", "HTTP/1.1 400 ");
    check_refusal(&h, BEGIN UPGRADE KEY VERSION "\r\n\x82\x80too early", "HTTP/1.1 400 ");
    check_refusal(&h, "POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 405 ");
    check_refusal(&h, "GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 ");
    check_refusal(&h, "GET /\n", "HTTP/1.1 400 ");
    harness_stop(&h);
}

TEST(many_small_frames_of_one_read_are_one_input)
{
    enum { COUNT = 1000 };
    struct harness h = {0};
    static uint8_t frames[COUNT * 32], back[COUNT * 16];
    size_t len = 0, plain = 0;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    unsigned before = atomic_load(&h.inputs);
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "message %d;", i);
        len += put_frame(frames + len, 0x82, text, (size_t)n);
        plain += (size_t)n;
    }
    CHECK(harness_send(fd, frames, len));
    recv_stream(fd, back, plain);
    CHECK(atomic_load(&h.inputs) - before < 20);
    size_t at = 0;
    bool right = true;
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "message %d;", i);
        right &= memcmp(back + at, text, (size_t)n) == 0;
        at += (size_t)n;
    }
    CHECK(right);
    close(fd);
    harness_stop(&h);
}

TEST(a_stream_does_not_care_how_it_is_framed)
{
    enum { LEN = 300000 };
    struct harness h = {0};
    static uint8_t packet[5 + LEN], wire[2 * LEN + 100000];
    packet[0] = 'L';
    packet[1] = 0;
    packet[2] = (uint8_t)(LEN >> 16);
    packet[3] = (uint8_t)(LEN >> 8);
    packet[4] = (uint8_t)LEN;
    for (size_t i = 0; i < LEN; i++)
        packet[5 + i] = (uint8_t)i;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    for (size_t part = 1; part < 2 * LEN; part = part * 9 + 1) {
        size_t len = 0;
        for (size_t at = 0; at < sizeof packet; at += part) {
            size_t n = sizeof packet - at < part ? sizeof packet - at : part;
            bool is_first = at == 0, is_last = at + n == sizeof packet;
            len += put_frame(
                wire + len, (uint8_t)((is_last ? 0x80 : 0) | (is_first ? 2 : 0)), packet + at, n);
            if (len > sizeof wire - LEN - 100) {
                CHECK(harness_send(fd, wire, len));
                len = 0;
            }
        }
        CHECK(harness_send(fd, wire, len));
        check_frame(fd, 0x82, "got 300000", 10);
    }
    close(fd);
    harness_stop(&h);
}

TEST(pings_are_answered_between_frames_and_within_messages)
{
    struct harness h = {0};
    uint8_t buf[256];
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    size_t len = put_frame(buf, 0x02, "he", 2);
    len += put_frame(buf + len, 0x89, "one", 3);
    len += put_frame(buf + len, 0x89, "", 0);
    len += put_frame(buf + len, 0x8a, "unasked", 7);
    len += put_frame(buf + len, 0x80, "llo", 3);
    CHECK(harness_send(fd, buf, len));
    check_frame(fd, 0x8a, "one", 3);
    check_frame(fd, 0x8a, "", 0);
    check_frame(fd, 0x82, "hello", 5);
    close(fd);
    harness_stop(&h);
}

TEST(a_flood_of_pings_keeps_memory_small_and_answers_the_newest)
{
    enum { COUNT = 2000 };
    struct harness h = {0};
    static uint8_t wire[COUNT * 64];
    uint8_t back[256];
    size_t len = 0, got;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    for (int i = 0; i < COUNT; i++) {
        char text[40];
        int n = snprintf(text, sizeof text, "this is ping number %d", i);
        len += put_frame(wire + len, 0x89, text, (size_t)n);
    }
    CHECK(harness_send(fd, wire, len));
    char last[40] = "";
    while (strcmp(last, "this is ping number 1999") != 0) {
        if (!CHECK_EQ(recv_frame(fd, back, sizeof back, &got), 0x8a))
            break;
        memcpy(last, back, got);
        last[got] = 0;
    }
    close(fd);
    harness_stop(&h);
}

TEST(a_close_is_answered_with_its_code_and_the_server_ends_first)
{
    struct harness h = {0};
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    send_frame(fd, 0x88, "\x0f\xa0why", 5);
    check_frame(fd, 0x88, "\x0f\xa0", 2);
    CHECK(harness_ended(fd));
    close(fd);
    fd = open_websocket(&h, "");
    send_frame(fd, 0x88, "", 0);
    check_frame(fd, 0x88, "", 0);
    CHECK(harness_ended(fd));
    close(fd);
    CHECK(harness_wait(&h.closed, 2));
    CHECK_EQ(atomic_load(&h.last_why), PL_CLOSED);
    harness_stop(&h);
}

TEST(our_close_waits_for_the_peers)
{
    struct harness h = {0};
    struct timeval brief = {.tv_usec = 100000}, patience = {.tv_sec = 20};
    char c;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    send_frame(fd, 0x82, "B", 1);
    check_frame(fd, 0x82, "bye", 3);
    check_frame(fd, 0x88, "\x03\xe8", 2);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
    CHECK(recv(fd, &c, 1, 0) < 0 && errno == EAGAIN);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send_frame(fd, 0x88, "\x03\xe8", 2);
    CHECK(harness_ended(fd));
    close(fd);
    /* One that never answers is left after a moment. */
    fd = open_websocket(&h, "");
    send_frame(fd, 0x82, "E", 1);
    check_frame(fd, 0x82, "error", 5);
    check_frame(fd, 0x88,
        "\x03\xea"
        "malformed input",
        17);
    CHECK(harness_ended(fd));
    close(fd);
    harness_stop(&h);
}

static void check_failure(
    struct harness *h, const char *protocol, const uint8_t *wire, size_t len, unsigned code)
{
    uint8_t back[256];
    size_t got;
    int fd = open_websocket(h, protocol);
    CHECK(harness_send(fd, wire, len));
    CHECK_EQ(recv_frame(fd, back, sizeof back, &got), 0x88);
    if (CHECK(got >= 2))
        CHECK_EQ(back[0] << 8 | back[1], code);
    CHECK(harness_ended(fd));
    close(fd);
}

TEST(broken_rules_fail_the_connection_with_their_code)
{
    struct harness h = {0};
    uint8_t wire[64];
    harness_start(&h, 1, NULL, NULL);
    check_failure(&h, "", (const uint8_t *)"\x82\x01x", 3, 1002);
    check_failure(&h, "", wire, put_frame(wire, 0x80, "x", 1), 1002);
    check_failure(&h, "", wire, put_frame(wire, 0xc2, "x", 1), 1002);
    check_failure(&h, "", wire, put_frame(wire, 0x81, "\xff", 1), 1007);
    check_failure(&h, "", wire, put_frame(wire, 0x88, "\x03\xed", 2), 1002);
    check_failure(
        &h, "Sec-WebSocket-Protocol: binary-stream\r\n", wire, put_frame(wire, 0x81, "x", 1), 1003);
    harness_stop(&h);
}

TEST(what_came_before_a_broken_frame_is_served)
{
    struct harness h = {0};
    uint8_t wire[64], back[256];
    size_t got;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    size_t len = put_frame(wire, 0x82, "hello", 5);
    len += put_frame(wire + len, 0x83, "x", 1);
    CHECK(harness_send(fd, wire, len));
    check_frame(fd, 0x82, "hello", 5);
    CHECK_EQ(recv_frame(fd, back, sizeof back, &got), 0x88);
    close(fd);
    harness_stop(&h);
}

TEST(messages_come_whole_and_go_back_as_what_they_were)
{
    enum { LEN = 200000 };
    struct harness h = {.messages = true};
    static uint8_t big[LEN], back[LEN];
    uint8_t wire[128];
    size_t got;
    for (size_t i = 0; i < LEN; i++)
        big[i] = (uint8_t)(i * 3);
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    size_t len = put_frame(wire, 0x81, "text", 4);
    len += put_frame(wire + len, 0x82, "", 0);
    len += put_frame(wire + len, 0x01, "in ", 3);
    len += put_frame(wire + len, 0x89, "ping", 4);
    len += put_frame(wire + len, 0x80, "parts", 5);
    len += put_frame(wire + len, 0x82, "last", 4);
    CHECK(harness_send(fd, wire, len));
    check_frame(fd, 0x81, "text", 4);
    check_frame(fd, 0x82, "", 0);
    check_frame(fd, 0x8a, "ping", 4);
    check_frame(fd, 0x81, "in parts", 8);
    check_frame(fd, 0x82, "last", 4);
    send_frame(fd, 0x82, big, LEN);
    CHECK_EQ(recv_frame(fd, back, LEN, &got), 0x82);
    CHECK(got == LEN && memcmp(big, back, LEN) == 0);
    close(fd);
    harness_stop(&h);
}

TEST(messages_of_one_read_that_the_owner_keeps_stay_what_they_were)
{
    struct harness h = {.messages = true};
    uint8_t wire[256];
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    size_t len = put_frame(wire, 0x82, "Kone", 4);
    len += put_frame(wire + len, 0x82, "Ktwo, longer than one", 21);
    len += put_frame(wire + len, 0x02, "Kin ", 4);
    len += put_frame(wire + len, 0x80, "parts", 5);
    len += put_frame(wire + len, 0x82, "Kfour", 5);
    len += put_frame(wire + len, 0x82, "Kback", 5);
    CHECK(harness_send(fd, wire, len));
    check_frame(fd, 0x82, "Kone", 4);
    check_frame(fd, 0x82, "Ktwo, longer than one", 21);
    check_frame(fd, 0x82, "Kin parts", 9);
    check_frame(fd, 0x82, "Kfour", 5);
    close(fd);
    harness_stop(&h);
}

TEST(a_message_is_taken_in_parts_by_an_owner_that_pauses)
{
    struct harness h = {.messages = true};
    uint8_t wire[64];
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    size_t len = put_frame(wire, 0x82, "PPP", 3);
    len += put_frame(wire + len, 0x81, "PPend", 5);
    CHECK(harness_send(fd, wire, len));
    check_frame(fd, 0x81, "end", 3);
    close(fd);
    harness_stop(&h);
}

TEST(frames_that_the_owner_makes_go_out_as_they_are_and_pongs_between_them)
{
    struct harness h = {.messages = true};
    static uint8_t big[70001];
    uint8_t *wire = malloc(2 * sizeof big + 64);
    memset(big, 'O', sizeof big);
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    size_t len = put_frame(wire, 0x82, "Oown", 4);
    len += put_frame(wire + len, 0x89, "ping", 4);
    len += put_frame(wire + len, 0x82, big, 40000);
    len += put_frame(wire + len, 0x89, "pong", 4);
    len += put_frame(wire + len, 0x82, big, 301);
    len += put_frame(wire + len, 0x88, "\x03\xe8", 2);
    CHECK(harness_send(fd, wire, len));
    for (int i = 0; i < 2; i++)
        check_frame(fd, 0x81, "own", 3);
    check_frame(fd, 0x8a, "ping", 4);
    for (int i = 0; i < 2; i++)
        check_frame(fd, 0x81, big, 39999);
    check_frame(fd, 0x8a, "pong", 4);
    for (int i = 0; i < 2; i++)
        check_frame(fd, 0x81, big, 300);
    check_frame(fd, 0x88, "\x03\xe8", 2);
    free(wire);
    close(fd);
    harness_stop(&h);
}

TEST(a_message_over_its_limit_fails_with_1009)
{
    struct harness h = {.messages = true};
    static uint8_t big[5 << 20];
    uint8_t back[256];
    size_t got;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    uint8_t *frame = malloc(sizeof big + 14);
    size_t len = put_frame(frame, 0x82, big, sizeof big);
    (void)harness_send(fd, frame, len);
    free(frame);
    CHECK_EQ(recv_frame(fd, back, sizeof back, &got), 0x88);
    CHECK_EQ(back[0] << 8 | back[1], 1009);
    close(fd);
    harness_stop(&h);
}

/* Frames of a client that compresses. */
static void send_deflated(int fd, const void *payload, size_t len, bool in_two)
{
    struct pl_deflater *deflater = pl_deflater_new(15);
    uint8_t *packed = malloc(len + 1000);
    size_t packed_len;
    bool more;
    pl_deflater_begin(deflater);
    CHECK_EQ(pl_deflater_next(
                 deflater, pl_bytes_of(payload, len), true, packed, len + 1000, &packed_len, &more),
        PL_OK);
    pl_deflater_free(deflater);
    if (in_two) {
        send_frame(fd, 0x42, packed, packed_len / 2);
        send_frame(fd, 0x80, packed + packed_len / 2, packed_len - packed_len / 2);
    } else {
        send_frame(fd, 0xc2, packed, packed_len);
    }
    free(packed);
}

/* One frame, inflated if it is marked. */
static size_t recv_deflated(int fd, uint8_t *to, size_t cap, bool *out_marked)
{
    struct pl_inflater *inflater = pl_inflater_new();
    uint8_t *packed = malloc(cap);
    size_t packed_len, at = 0, len = 0;
    uint8_t first = recv_frame(fd, packed, cap, &packed_len);
    *out_marked = first & 0x40;
    if (*out_marked) {
        pl_inflater_begin(inflater, pl_bytes_of(packed, packed_len));
        do {
            CHECK_EQ(pl_inflater_next(inflater, to + at, cap - at, &len), PL_OK);
            at += len;
        } while (len && at < cap);
    } else {
        memcpy(to, packed, packed_len);
        at = packed_len;
    }
    free(packed);
    pl_inflater_free(inflater);
    return at;
}

#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

TEST(compressed_messages_flow_both_ways)
{
    enum { LEN = 300000 };
    struct harness h = {.allows_deflate = true};
    static uint8_t in[LEN], back[LEN + 1];
    bool marked, some_marked = false;
    for (size_t i = 0; i < LEN; i++)
        in[i] = (uint8_t)("the quick brown fox "[i % 20] ^ (i / 5000 & 3));
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, DEFLATE);
    send_deflated(fd, "hello", 5, false);
    CHECK_EQ(recv_deflated(fd, back, sizeof back, &marked), 5);
    CHECK(!marked && memcmp(back, "hello", 5) == 0);
    for (int round = 0; round < 3; round++) {
        send_deflated(fd, in, LEN, round & 1);
        size_t at = 0;
        while (at < LEN) {
            size_t len = recv_deflated(fd, back + at, LEN - at, &marked);
            some_marked |= marked;
            if (!len)
                break;
            at += len;
        }
        CHECK(at == LEN && memcmp(in, back, LEN) == 0);
    }
    CHECK(some_marked);
    /* Plain and compressed ones in one read, with a tail across them. */
    uint8_t wire[256];
    size_t len = put_frame(wire, 0x82, "L\0\0", 3);
    static const uint8_t lazy[] = {0x00, 0x04, 0x00, 0xfb, 0xff, 'l', 'a', 'z', 'y', 0x00};
    len += put_frame(wire + len, 0x82, "\0\0", 2);
    len += put_frame(wire + len, 0xc2, lazy, sizeof lazy);
    len += put_frame(wire + len, 0x82, "!", 1);
    len += put_frame(wire + len, 0xc2, lazy, sizeof lazy);
    CHECK(harness_send(fd, wire, len));
    static const char expected[] = "got 0lazy!lazy";
    size_t at = 0;
    while (at < sizeof expected - 1) {
        size_t n = recv_deflated(fd, back + at, sizeof back - at, &marked);
        if (!n)
            break;
        at += n;
    }
    CHECK_BYTES(back, at, expected, sizeof expected - 1);
    close(fd);
    harness_stop(&h);
}

TEST(compressed_messages_come_whole_too)
{
    struct harness h = {.allows_deflate = true, .messages = true};
    uint8_t back[64], wire[64];
    static const uint8_t hello[] = {0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00};
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, DEFLATE);
    CHECK(harness_send(fd, wire, put_frame(wire, 0xc1, hello, sizeof hello)));
    size_t got;
    CHECK_EQ(recv_frame(fd, back, sizeof back, &got), 0x81);
    CHECK_BYTES(back, got, "Hello", 5);
    CHECK(harness_send(fd, wire, put_frame(wire, 0xc2, "\0", 1)));
    check_frame(fd, 0x82, "", 0);
    /* What is long enough goes back compressed, one frame a message, and what does not get shorter
     * as it is. */
    enum { LEN = 100000 };
    static uint8_t text[LEN], long_back[LEN + 1];
    bool marked;
    for (size_t i = 0; i < LEN; i++)
        text[i] = (uint8_t)("abcdefgh"[i % 8]);
    send_deflated(fd, text, LEN, true);
    CHECK_EQ(recv_deflated(fd, long_back, sizeof long_back, &marked), LEN);
    CHECK(marked && memcmp(text, long_back, LEN) == 0);
    for (size_t i = 0; i < 300; i++)
        text[i] = (uint8_t)(i * i * 31 >> 3 ^ i);
    send_frame(fd, 0x82, text, 300);
    CHECK_EQ(recv_deflated(fd, long_back, sizeof long_back, &marked), 300);
    CHECK(memcmp(text, long_back, 300) == 0);
    close(fd);
    harness_stop(&h);
}

TEST(a_bomb_is_not_inflated_beyond_the_limit)
{
    struct harness h = {.allows_deflate = true};
    static uint8_t zeros[16 << 20];
    uint8_t back[256];
    size_t got;
    memset(zeros, 'N', sizeof zeros);
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, DEFLATE);
    send_deflated(fd, zeros, sizeof zeros, false);
    CHECK_EQ(recv_frame(fd, back, sizeof back, &got), 0x88);
    CHECK_EQ(back[0] << 8 | back[1], 1009);
    CHECK(atomic_load(&h.most) <= (4 << 20) + 65536);
    close(fd);
    uint8_t wire[64];
    check_failure(&h, DEFLATE, wire, put_frame(wire, 0xc2, "\xff\xff\xff", 3), 1007);
    check_failure(&h, DEFLATE, wire, put_frame(wire, 0xc1, "\x6a\x04\x00", 3), 1007);
    harness_stop(&h);
}

TEST(a_paused_websocket_goes_on_where_it_was)
{
    for (int messages = 0; messages < 2; messages++) {
        struct harness h = {.messages = messages};
        uint8_t wire[128], back[16];
        harness_start(&h, 1, NULL, NULL);
        int fd = open_websocket(&h, "");
        size_t len = put_frame(wire, 0x82, "Phel", 4);
        len += put_frame(wire + len, 0x81, "lo", 2);
        CHECK(harness_send(fd, wire, len - 3));
        usleep(5000);
        CHECK(harness_send(fd, wire + len - 3, 3));
        if (messages) {
            check_frame(fd, 0x82, "hel", 3);
            check_frame(fd, 0x81, "lo", 2);
        } else {
            recv_stream(fd, back, 5);
            CHECK_BYTES(back, 5, "hello", 5);
        }
        close(fd);
        harness_stop(&h);
    }
}

TEST(a_slow_reader_of_a_websocket_gets_everything)
{
    enum { LEN = 10000000 };
    struct harness h = {0};
    uint8_t ask_for[5] = {
        'G', (uint8_t)(LEN >> 24), (uint8_t)(LEN >> 16), (uint8_t)(LEN >> 8), (uint8_t)LEN};
    uint8_t *back = malloc(LEN);
    bool right = true;
    harness_start(&h, 1, NULL, NULL);
    int fd = open_websocket(&h, "");
    send_frame(fd, 0x82, ask_for, 5);
    usleep(50000);
    unsigned frames = recv_stream(fd, back, LEN);
    for (size_t i = 0; i < LEN; i++)
        right &= back[i] == (uint8_t)(i & 0xffff);
    CHECK(right);
    CHECK(frames >= LEN / (1 << 20));
    CHECK(harness_wait(&h.drained, 1));
    free(back);
    close(fd);
    harness_stop(&h);
}
