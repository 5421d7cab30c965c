#include "check.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "codec/deflate.h"
#include "codec/websocket.h"

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* A client's frame; returns its length. */
static size_t client_frame(
    uint8_t *out, uint8_t first, const void *payload, size_t len, const uint8_t mask[4])
{
    size_t n = pl_websocket_encode_header(out, PL_WS_TEXT, true, false, len);
    out[0] = first;
    out[1] |= 0x80;
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < len; i++)
        out[n + i] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
    return n + len;
}

/* What came out of a run of the decoder, as text: T/B payload pieces, [ at a start, ] at an end,
 * P ping, p pong, C code reason, ! code for an error. */
struct transcript {
    char text[4096];
    size_t len;
};

static void note(struct transcript *t, const char *text, struct pl_bytes bytes)
{
    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s%.*s", text,
        (int)bytes.len, bytes.len ? (const char *)bytes.data : "");
}

static void feed(struct pl_websocket_decoder *d, struct transcript *t, uint8_t *bytes, size_t len)
{
    struct pl_bytes in = {bytes, len};
    struct pl_websocket_piece piece;
    char text[32];
    for (;;) {
        enum pl_err err = pl_websocket_decode(d, &in, bytes + len - in.len, &piece);
        if (err == PL_NEED_MORE)
            break;
        if (err) {
            snprintf(text, sizeof text, "!%u", d->close_code);
            note(t, text, PL_NO_BYTES);
            return;
        }
        switch (piece.kind) {
        case PL_WS_PING:
            note(t, "P", piece.bytes);
            break;
        case PL_WS_PONG:
            note(t, "p", piece.bytes);
            break;
        case PL_WS_CLOSE:
            snprintf(text, sizeof text, "C%u", piece.code);
            note(t, text, piece.bytes);
            break;
        default:
            if (piece.is_start)
                note(t, piece.kind == PL_WS_TEXT ? "T[" : "B[", PL_NO_BYTES);
            note(t, piece.is_compressed ? "z" : "", piece.bytes);
            if (piece.is_end)
                note(t, "]", PL_NO_BYTES);
        }
    }
    CHECK_EQ(in.len, 0);
}

/* All at once, and byte by byte: the same must come out, but for how payload is cut. */
static void check_run(const uint8_t *bytes, size_t len, const char *expected)
{
    for (int step = 0; step < 2; step++) {
        struct pl_websocket_decoder d;
        struct transcript t = {0};
        uint8_t copy[4096];
        memcpy(copy, bytes, len);
        pl_websocket_decoder_init(&d, false);
        if (step)
            for (size_t i = 0; i < len && !d.close_code; i++)
                feed(&d, &t, copy + i, 1);
        else
            feed(&d, &t, copy, len);
        CHECK_STR(t.text, expected);
    }
}

#define FRAME(first, payload) at += client_frame(buf + at, first, payload, sizeof payload - 1, key)

TEST(the_examples_of_rfc_6455_are_read)
{
    static const uint8_t hello[] = {
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
    check_run(hello, sizeof hello, "T[Hello]");
    uint8_t buf[256];
    size_t at = 0;
    FRAME(0x01, "Hel");
    FRAME(0x80, "lo");
    check_run(buf, at, "T[Hello]");
    at = 0;
    FRAME(0x89, "Hello");
    FRAME(0x8a, "Hello");
    check_run(buf, at, "PHellopHello");
}

TEST(the_examples_of_rfc_6455_are_written)
{
    uint8_t out[2 + PL_WS_CONTROL_MAX];
    CHECK_BYTES(out, pl_websocket_encode_header(out, PL_WS_TEXT, true, false, 5), "\x81\x05", 2);
    CHECK_BYTES(out, pl_websocket_encode_header(out, PL_WS_BINARY, true, false, 256),
        "\x82\x7e\x01\x00", 4);
    CHECK_BYTES(out, pl_websocket_encode_header(out, PL_WS_BINARY, true, false, 65536),
        "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    CHECK_BYTES(
        out, pl_websocket_encode_header(out, PL_WS_BINARY, true, false, 125), "\x82\x7d", 2);
    CHECK_BYTES(out, pl_websocket_encode_header(out, PL_WS_BINARY, true, false, 126),
        "\x82\x7e\x00\x7e", 4);
    CHECK_BYTES(out, pl_websocket_encode_header(out, PL_WS_BINARY, true, true, 65535),
        "\xc2\x7e\xff\xff", 4);
    CHECK_BYTES(
        out, pl_websocket_encode_control(out, PL_WS_PONG, PL_BYTES("Hello")), "\x8a\x05Hello", 7);
    CHECK_BYTES(out, pl_websocket_encode_close(out, 1000, PL_BYTES("ok")), "\x88\x04\x03\xe8ok", 6);
    CHECK_BYTES(out, pl_websocket_encode_close(out, PL_WS_NO_CODE, PL_BYTES("ok")), "\x88\x00", 2);
}

TEST(a_long_close_reason_is_cut_between_characters)
{
    uint8_t out[2 + PL_WS_CONTROL_MAX];
    char reason[200];
    memset(reason, 'a', sizeof reason);
    memcpy(reason + 121, "\xe2\x82\xac", 3); /* bytes 121 to 123: the cut is inside */
    size_t len = pl_websocket_encode_close(out, 1008, pl_bytes_of(reason, sizeof reason));
    CHECK_EQ(len, 2 + 2 + 121);
    CHECK_EQ(out[1], 123);
}

TEST(every_length_form_is_read)
{
    static const size_t lens[] = {0, 1, 125, 126, 127, 65535, 65536, 100000};
    uint8_t *buf = malloc(100100), *payload = malloc(100000);
    for (size_t i = 0; i < 100000; i++)
        payload[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct pl_websocket_decoder d;
        struct pl_websocket_piece piece;
        struct pl_bytes in = {buf, client_frame(buf, 0x82, payload, lens[i], key)};
        pl_websocket_decoder_init(&d, false);
        CHECK_EQ(pl_websocket_decode(&d, &in, buf, &piece), PL_OK);
        CHECK(piece.is_start && piece.is_end && piece.kind == PL_WS_BINARY);
        CHECK_BYTES(piece.bytes.data, piece.bytes.len, payload, lens[i]);
        CHECK_EQ(in.len, 0);
    }
    free(buf);
    free(payload);
}

TEST(frames_of_a_stream_move_together)
{
    uint8_t buf[4096];
    struct pl_websocket_decoder d;
    struct pl_websocket_piece piece;
    size_t at = 0;
    for (int i = 0; i < 30; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "message %d of a stream that has thirty;", i);
        at += client_frame(buf + at, 0x82, text, (size_t)n, key);
        if (i % 3 == 0)
            FRAME(0x89, "ping in between");
    }
    struct pl_bytes in = {buf, at};
    uint8_t *to = buf;
    pl_websocket_decoder_init(&d, false);
    while (pl_websocket_decode(&d, &in, to, &piece) == PL_OK)
        if (piece.kind == PL_WS_BINARY)
            to += piece.bytes.len;
    size_t read = 0;
    for (int i = 0; i < 30; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "message %d of a stream that has thirty;", i);
        CHECK_BYTES(buf + read, (size_t)n, text, (size_t)n);
        read += (size_t)n;
    }
    CHECK_EQ(to - buf, read);
}

TEST(a_mask_is_taken_off_at_any_length_and_distance)
{
    uint8_t from[200], masked[200], buf[300];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 31);
    for (size_t len = 0; len <= sizeof from; len++)
        for (size_t gap = 0; gap < 40; gap += 3) {
            for (size_t i = 0; i < len; i++)
                masked[i] = from[i] ^ key[i & 3];
            memcpy(buf + gap, masked, len);
            pl_websocket_mask(buf, buf + gap, len, key);
            if (len && memcmp(buf, from, len) != 0)
                CHECK_BYTES(buf, len, from, len);
        }
    CHECK(true);
}

TEST(control_frames_stand_between_fragments)
{
    uint8_t buf[512];
    size_t at = 0;
    FRAME(0x01, "one ");
    FRAME(0x89, "hi");
    FRAME(0x00, "two ");
    FRAME(0x8a, "");
    FRAME(0x00, "");
    FRAME(0x80, "three");
    FRAME(0x82, "");
    FRAME(0x88, "\x03\xe8"
                "bye");
    FRAME(0x81, "ignored");
    struct pl_websocket_decoder d;
    struct transcript t = {0};
    pl_websocket_decoder_init(&d, false);
    feed(&d, &t, buf, at);
    CHECK_STR(t.text, "T[one Phitwo pthree]B[]C1000bye");
}

TEST(what_rfc_6455_forbids_fails_with_1002)
{
    static const struct {
        uint8_t first;
        const char *why;
    } bad[] = {
        {0x80, "a continuation of nothing"},
        {0x00, "an unfinished one of nothing"},
        {0x83, "reserved data opcode"},
        {0x87, "reserved data opcode"},
        {0x8b, "reserved control opcode"},
        {0x8f, "reserved control opcode"},
        {0x09, "a ping in fragments"},
        {0x08, "a close in fragments"},
        {0xc1, "RSV1 without an extension"},
        {0xa1, "RSV2"},
        {0x91, "RSV3"},
    };
    uint8_t buf[512];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t at = 0;
        FRAME(bad[i].first, "x");
        check_run(buf, at, "!1002");
    }
    /* Not masked. */
    check_run((const uint8_t *)"\x81\x01x", 3, "!1002");
    /* A new message within another. */
    size_t at = 0;
    FRAME(0x01, "a");
    FRAME(0x81, "b");
    check_run(buf, at, "T[a!1002");
    /* A control frame of 126 bytes. */
    at = client_frame(buf, 0x89,
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "01234567890123456789012345678901234567890123456789012345",
        126, key);
    check_run(buf, at, "!1002");
    /* Lengths that are not in their shortest form, or have the 64th bit. */
    check_run((const uint8_t *)"\x82\xfe\x00\x7d\0\0\0\0", 8, "!1002");
    check_run((const uint8_t *)"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 14, "!1002");
    check_run((const uint8_t *)"\x82\xff\x80\0\0\0\0\1\0\0\0\0\0\0", 14, "!1002");
}

TEST(a_length_of_63_bits_allocates_nothing_and_is_waited_for)
{
    uint8_t buf[] = "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0some bytes";
    struct pl_websocket_decoder d;
    struct transcript t = {0};
    pl_websocket_decoder_init(&d, false);
    feed(&d, &t, buf, sizeof buf - 1);
    CHECK_STR(t.text, "B[some bytes");
    CHECK_EQ(d.left, INT64_MAX - 10);
}

TEST(close_codes_are_checked)
{
    static const uint16_t good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012,
        1013, 1014, 3000, 3999, 4000, 4999};
    static const uint16_t bad[] = {
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint8_t buf[64], payload[2] = {(uint8_t)(good[i] >> 8), (uint8_t)good[i]};
        char expected[16];
        snprintf(expected, sizeof expected, "C%u", good[i]);
        check_run(buf, client_frame(buf, 0x88, payload, 2, key), expected);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t buf[64], payload[2] = {(uint8_t)(bad[i] >> 8), (uint8_t)bad[i]};
        check_run(buf, client_frame(buf, 0x88, payload, 2, key), "!1002");
    }
    uint8_t buf[64];
    check_run(buf, client_frame(buf, 0x88, "", 0, key), "C1005");
    check_run(buf, client_frame(buf, 0x88, "\x03", 1, key), "!1002");
    check_run(buf, client_frame(buf, 0x88, "\x03\xe8\xff", 3, key), "!1007");
}

TEST(text_must_be_utf8_also_across_fragments)
{
    uint8_t buf[512];
    size_t at = 0;
    FRAME(0x01, "\xce");
    FRAME(0x00, "\xba\xe1\xbd");
    FRAME(0x80, "\xb9");
    struct pl_websocket_decoder d;
    struct transcript t = {0};
    pl_websocket_decoder_init(&d, false);
    feed(&d, &t, buf, at);
    CHECK_STR(t.text, "T[\xce\xba\xe1\xbd\xb9]");
    at = 0;
    FRAME(0x81, "\xce\xba\xed\xa0\x80");
    memset(&t, 0, sizeof t);
    pl_websocket_decoder_init(&d, false);
    feed(&d, &t, buf, at);
    CHECK_STR(t.text, "!1007");
    /* Cut off in the middle of a character. */
    at = 0;
    FRAME(0x01, "\xce");
    FRAME(0x80, "");
    check_run(buf, at, "T[\xce!1007");
    /* It fails as soon as it cannot become right any more, not at the end. */
    at = 0;
    FRAME(0x01, "\xf4\x90");
    memset(&t, 0, sizeof t);
    pl_websocket_decoder_init(&d, false);
    feed(&d, &t, buf, at);
    CHECK_STR(t.text, "!1007");
    /* Binary may hold anything. */
    at = 0;
    FRAME(0x82, "\xff\xfe");
    memset(&t, 0, sizeof t);
    pl_websocket_decoder_init(&d, false);
    feed(&d, &t, buf, at);
    CHECK_STR(t.text, "B[\xff\xfe]");
}

TEST(rsv1_marks_the_first_frame_of_a_compressed_message)
{
    uint8_t buf[512];
    size_t at = 0;
    struct pl_websocket_decoder d;
    struct transcript t = {0};
    FRAME(0x41, "\xff");
    FRAME(0x80, "\xfe");
    FRAME(0x81, "plain");
    pl_websocket_decoder_init(&d, true);
    feed(&d, &t, buf, at);
    CHECK_STR(t.text, "T[z\xffz\xfe]T[plain]");
    static const uint8_t bad[] = {0xc0, 0xc8, 0xc9, 0xca};
    for (size_t i = 0; i < sizeof bad; i++) {
        at = 0;
        FRAME(0x01, "a");
        FRAME(bad[i], "b");
        memset(&t, 0, sizeof t);
        pl_websocket_decoder_init(&d, true);
        feed(&d, &t, buf, at);
        CHECK_STR(t.text, "T[a!1002");
    }
}

TEST(a_key_is_16_bytes_in_base64)
{
    CHECK(pl_websocket_is_key(PL_BYTES("dGhlIHNhbXBsZSBub25jZQ==")));
    CHECK(!pl_websocket_is_key(PL_BYTES("dGhlIHNhbXBsZSBub25jZQ")));
    CHECK(!pl_websocket_is_key(PL_BYTES("dGhlIHNhbXBsZSBub25jZQ=a")));
    CHECK(!pl_websocket_is_key(PL_BYTES("dGhlIHNhbXBsZSBub25jZS==x")));
    CHECK(!pl_websocket_is_key(PL_BYTES("dGhlIHNhbXBsZSBub2$jZQ==")));
    CHECK(!pl_websocket_is_key(PL_BYTES("")));
}

static void check_offer(const char *offer, enum pl_err expected, const char *answer)
{
    struct pl_deflate_terms terms;
    char text[PL_DEFLATE_ANSWER_MAX];
    if (CHECK_EQ(pl_deflate_negotiate(pl_bytes_text(offer), &terms), expected) && !expected) {
        size_t len = pl_deflate_answer(&terms, text);
        CHECK_EQ(len, strlen(text));
        CHECK_STR(text, answer);
    }
}

#define BOTH "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

TEST(offers_of_permessage_deflate_are_answered_as_rfc_7692_wants)
{
    check_offer("permessage-deflate", PL_OK, BOTH);
    check_offer("permessage-deflate; client_max_window_bits", PL_OK, BOTH);
    check_offer("foo, permessage-deflate; client_max_window_bits; server_max_window_bits=10", PL_OK,
        BOTH "; server_max_window_bits=10");
    check_offer("permessage-deflate; client_max_window_bits=\"10\"", PL_OK,
        BOTH "; client_max_window_bits=10");
    check_offer(
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover", PL_OK, BOTH);
    /* Declined ones, with and without another to fall back on. */
    check_offer("permessage-deflate; server_max_window_bits=8", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; server_max_window_bits", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; server_max_window_bits=16", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; server_max_window_bits=010", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; client_max_window_bits=7", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; unknown", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; server_no_context_takeover=1", PL_NOT_FOUND, "");
    check_offer(
        "permessage-deflate; client_max_window_bits; client_max_window_bits", PL_NOT_FOUND, "");
    check_offer("permessage-deflate; server_max_window_bits=8, permessage-deflate", PL_OK, BOTH);
    check_offer("x-webkit-deflate-frame", PL_NOT_FOUND, "");
    check_offer("", PL_NOT_FOUND, "");
    /* No list of extensions at all. */
    check_offer("permessage deflate", PL_MALFORMED, "");
    check_offer("permessage-deflate; =3", PL_MALFORMED, "");
    check_offer("permessage-deflate; a b", PL_MALFORMED, "");
}

static enum pl_err inflate_all(struct pl_inflater *inflater, struct pl_bytes in, uint8_t *out,
    size_t cap, size_t step, size_t *out_len)
{
    size_t at = 0, len;
    pl_inflater_begin(inflater, in);
    do {
        size_t room = cap - at < step ? cap - at : step;
        enum pl_err err = pl_inflater_next(inflater, out + at, room, &len);
        if (err)
            return err;
        at += len;
    } while (len && at < cap);
    *out_len = at;
    return PL_OK;
}

TEST(the_examples_of_rfc_7692_inflate)
{
    struct pl_inflater *inflater = pl_inflater_new();
    uint8_t out[64];
    size_t len = 0;
    static const uint8_t one_block[] = {0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00};
    CHECK_EQ(inflate_all(inflater, pl_bytes_of(one_block, 7), out, 64, 64, &len), PL_OK);
    CHECK_BYTES(out, len, "Hello", 5);
    static const uint8_t stored[] = {
        0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00};
    CHECK_EQ(inflate_all(inflater, pl_bytes_of(stored, 11), out, 64, 3, &len), PL_OK);
    CHECK_BYTES(out, len, "Hello", 5);
    static const uint8_t final[] = {0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00};
    CHECK_EQ(inflate_all(inflater, pl_bytes_of(final, 8), out, 64, 64, &len), PL_OK);
    CHECK_BYTES(out, len, "Hello", 5);
    static const uint8_t two_blocks[] = {
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00};
    CHECK_EQ(inflate_all(inflater, pl_bytes_of(two_blocks, 13), out, 64, 1, &len), PL_OK);
    CHECK_BYTES(out, len, "Hello", 5);
    static const uint8_t empty[] = {0x00};
    CHECK_EQ(inflate_all(inflater, pl_bytes_of(empty, 1), out, 64, 64, &len), PL_OK);
    CHECK_EQ(len, 0);
    static const uint8_t junk[] = {0xff, 0xff, 0xff};
    CHECK_EQ(inflate_all(inflater, pl_bytes_of(junk, 3), out, 64, 64, &len), PL_MALFORMED);
    pl_inflater_free(inflater);
}

TEST(what_is_deflated_inflates_to_itself)
{
    enum { MOST = 200000 };
    struct pl_inflater *inflater = pl_inflater_new();
    uint8_t *in = malloc(MOST), *packed = malloc(MOST + 1000), *out = malloc(MOST + 1);
    for (uint8_t bits = 9; bits <= 15; bits++) {
        struct pl_deflater *deflater = pl_deflater_new(bits);
        for (size_t len = 1; len < MOST; len = len * 5 + 3) {
            for (size_t i = 0; i < len; i++)
                in[i] = (uint8_t)(i % 251 * (i / 1000 % 3 ? 1 : rand()));
            size_t packed_len = 0, at = 0;
            pl_deflater_begin(deflater);
            while (at < len) {
                size_t part = len - at < 7777 ? len - at : 7777, made;
                struct pl_bytes piece = {in + at, part};
                bool more = true;
                at += part;
                while (more) {
                    CHECK_EQ(pl_deflater_next(deflater, piece, at == len, packed + packed_len, 100,
                                 &made, &more),
                        PL_OK);
                    piece = PL_NO_BYTES;
                    packed_len += made;
                }
            }
            size_t out_len = 0;
            CHECK_EQ(
                inflate_all(inflater, pl_bytes_of(packed, packed_len), out, MOST, 4096, &out_len),
                PL_OK);
            CHECK_EQ(out_len, len);
            CHECK(memcmp(in, out, len) == 0);
        }
        pl_deflater_free(deflater);
    }
    pl_inflater_free(inflater);
    free(in);
    free(packed);
    free(out);
}
