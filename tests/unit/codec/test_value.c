/* Values of JSON, MessagePack and CBOR: what is read, what is refused, what crosses and how. */
#include "check.h"

#include <math.h>

#include "base/text.h"
#include "codec/same_values.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct pl_value value;
static size_t used;

/* Bytes from hex; spaces are left out. Good until the next 8 calls. */
static struct pl_bytes hex(const char *text)
{
    static uint8_t memory[8][512];
    static unsigned turn;
    uint8_t *out = memory[turn++ % 8];
    size_t digits = 0;
    for (; *text; text++) {
        if (*text == ' ')
            continue;
        int digit = pl_hex_value((uint8_t)*text);
        out[digits / 2] = (uint8_t)(digits % 2 ? out[digits / 2] << 4 | digit : digit);
        digits++;
    }
    return pl_bytes_of(out, digits / 2);
}

static enum pl_err read_value(enum pl_serializer serializer, struct pl_bytes in)
{
    /* Of its own, so that a sanitizer sees a byte too much. */
    static uint8_t *exact;
    free(exact);
    exact = malloc(in.len ? in.len : 1);
    value_require(exact != NULL);
    if (in.len)
        memcpy(exact, in.data, in.len);
    return pl_value_read(serializer, pl_bytes_of(exact, in.len), &value, &used);
}

static enum pl_err read_json(const char *text)
{
    return read_value(PL_SERIAL_JSON, pl_bytes_text(text));
}

/* The value that was read last, in another serializer; as hex, or JSON as it is. */
static const char *told(enum pl_serializer to)
{
    static char text[2048];
    struct pl_shared *bytes = value_in(to, &value);
    size_t len = to == PL_SERIAL_JSON ? bytes->len : 2 * (size_t)bytes->len;
    value_require(len < sizeof text);
    if (to == PL_SERIAL_JSON)
        memcpy(text, bytes->data, bytes->len);
    else
        pl_hex_encode(value_bytes(bytes), text);
    text[len] = '\0';
    pl_shared_unref(bytes);
    return text;
}

static void check_told(enum pl_serializer from, const char *bytes, enum pl_serializer to,
    const char *expected, int line)
{
    struct pl_bytes in = from == PL_SERIAL_JSON ? pl_bytes_text(bytes) : hex(bytes);
    enum pl_err err = read_value(from, in);
    if (!check_that(!err && used == in.len, __FILE__, line, "%s is not read", bytes))
        return;
    check_text(told(to), expected, __FILE__, line, bytes);
}

#define JSON_OF_MSGPACK(bytes, expected)                                                           \
    check_told(PL_SERIAL_MSGPACK, bytes, PL_SERIAL_JSON, expected, __LINE__)
#define JSON_OF_CBOR(bytes, expected)                                                              \
    check_told(PL_SERIAL_CBOR, bytes, PL_SERIAL_JSON, expected, __LINE__)
#define MSGPACK_OF_JSON(text, expected)                                                            \
    check_told(PL_SERIAL_JSON, text, PL_SERIAL_MSGPACK, expected, __LINE__)
#define CBOR_OF_JSON(text, expected)                                                               \
    check_told(PL_SERIAL_JSON, text, PL_SERIAL_CBOR, expected, __LINE__)
#define MSGPACK_OF_CBOR(bytes, expected)                                                           \
    check_told(PL_SERIAL_CBOR, bytes, PL_SERIAL_MSGPACK, expected, __LINE__)
#define CBOR_OF_MSGPACK(bytes, expected)                                                           \
    check_told(PL_SERIAL_MSGPACK, bytes, PL_SERIAL_CBOR, expected, __LINE__)

TEST(messagepack_integers_of_every_width_are_the_same_numbers_in_json)
{
    JSON_OF_MSGPACK("00", "0");
    JSON_OF_MSGPACK("7f", "127");
    JSON_OF_MSGPACK("e0", "-32");
    JSON_OF_MSGPACK("ff", "-1");
    JSON_OF_MSGPACK("ccff", "255");
    JSON_OF_MSGPACK("cdffff", "65535");
    JSON_OF_MSGPACK("ceffffffff", "4294967295");
    JSON_OF_MSGPACK("cf7fffffffffffffff", "9223372036854775807");
    JSON_OF_MSGPACK("cfffffffffffffffff", "18446744073709551615");
    JSON_OF_MSGPACK("cf0000000000000001", "1");
    JSON_OF_MSGPACK("d080", "-128");
    JSON_OF_MSGPACK("d18000", "-32768");
    JSON_OF_MSGPACK("d280000000", "-2147483648");
    JSON_OF_MSGPACK("d38000000000000000", "-9223372036854775808");
    JSON_OF_MSGPACK("d30000000000000001", "1");
}

TEST(cbor_integers_of_every_width_are_the_same_numbers_in_json)
{
    JSON_OF_CBOR("17", "23");
    JSON_OF_CBOR("1818", "24");
    JSON_OF_CBOR("190100", "256");
    JSON_OF_CBOR("1a00010000", "65536");
    JSON_OF_CBOR("1b0000000100000000", "4294967296");
    JSON_OF_CBOR("1bffffffffffffffff", "18446744073709551615");
    JSON_OF_CBOR("1b0000000000000001", "1");
    JSON_OF_CBOR("20", "-1");
    JSON_OF_CBOR("3818", "-25");
    JSON_OF_CBOR("390100", "-257");
    JSON_OF_CBOR("3a00010000", "-65537");
    JSON_OF_CBOR("3b7fffffffffffffff", "-9223372036854775808");
    JSON_OF_CBOR("3bffffffffffffffff", "-1.8446744073709552e+19");
}

TEST(integers_are_written_as_small_as_they_can_be)
{
    MSGPACK_OF_JSON("[0,127,128,255,256,65535,65536,4294967295,4294967296,18446744073709551615]",
        "9a007fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000cfffffffffffffffff");
    MSGPACK_OF_JSON("[-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649]",
        "99ffe0d0dfd080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffff");
    CBOR_OF_JSON("[0,23,24,255,256,65535,65536,4294967295,4294967296,18446744073709551615]",
        "8a0017181818ff19010019ffff1a000100001affffffff1b00000001000000001bffffffffffffffff");
    CBOR_OF_JSON(
        "[-1,-24,-25,-256,-257,-9223372036854775808]", "862037381838ff3901003b7fffffffffffffff");
}

TEST(floats_of_every_width_keep_their_value_and_stay_floats)
{
    JSON_OF_MSGPACK("ca3fc00000", "1.5");
    JSON_OF_MSGPACK("cb3ff8000000000000", "1.5");
    JSON_OF_MSGPACK("cb4000000000000000", "2.0");
    JSON_OF_CBOR("f93c00", "1.0");
    JSON_OF_CBOR("f90001", "5.9604644775390625e-08");
    JSON_OF_CBOR("f903ff", "6.097555160522461e-05");
    JSON_OF_CBOR("f97bff", "65504.0");
    JSON_OF_CBOR("f98000", "-0.0");
    JSON_OF_CBOR("fa3fc00000", "1.5");
    JSON_OF_CBOR("fb3fb999999999999a", "0.1");
    JSON_OF_CBOR("fb7e37e43c8800759c", "1e+300");
    MSGPACK_OF_JSON("[2.0,-0,1e2]", "93cb4000000000000000cb8000000000000000cb4059000000000000");
    CBOR_OF_JSON("0.1", "fb3fb999999999999a");
    MSGPACK_OF_CBOR("f93c00", "cb3ff0000000000000");
}

TEST(what_json_cannot_say_of_a_float_is_null)
{
    JSON_OF_CBOR("83f97c00f9fc00f97e00", "[null,null,null]");
    JSON_OF_MSGPACK("93cb7ff0000000000000cbfff0000000000000ca7fc00000", "[null,null,null]");
    MSGPACK_OF_CBOR("82f97c00f9fc00", "92cb7ff0000000000000cbfff0000000000000");
}

TEST(numbers_of_json_beyond_64_bits_are_floats)
{
    CHECK_EQ(read_json("18446744073709551616"), PL_OK);
    CHECK(value.kind == PL_VALUE_FLOAT && value.real == 0x1p64);
    CHECK_EQ(read_json("-9223372036854775809"), PL_OK);
    CHECK(value.kind == PL_VALUE_FLOAT && value.real == -0x1p63);
    CHECK_EQ(read_json("[1e999]"), PL_OK);
    struct pl_items items = pl_value_items(&value);
    CHECK(pl_items_next(&items, NULL, &value) && isinf(value.real));
    char digits[450];
    memset(digits, '7', sizeof digits);
    digits[400] = '\0';
    CHECK_EQ(read_json(digits), PL_OK);
    CHECK(value.kind == PL_VALUE_FLOAT && isinf(value.real));
    digits[400] = '7';
    digits[401] = '\0';
    CHECK_EQ(read_json(digits), PL_MALFORMED);
    digits[0] = '[';
    memcpy(digits + 401, "7]", sizeof "7]");
    CHECK_EQ(read_json(digits), PL_MALFORMED);
}

TEST(json_is_what_rfc_8259_says_and_nothing_else)
{
    static const char *const good[] = {"null", " true ", "\t\r\n false", "0", "-0", "1e5", "1E+5",
        "1.5e-3", "\"\"", "[]", " [ ] ", "{}", "{\"a\":1,\"a\":2}", "[[],{}]", "\"\x7f\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\""};
    static const char *const wrong[] = {"nul!", "True", "01", "+1", "1.x", ".5", "1e+x", "--1",
        "'a'", "\"\t\"", "\"\x01\"", "\"\\x\"", "\"\\u00g0\"", "[1,]", "[,1]", "[1 2]", "{,}",
        "{\"a\"}", "{\"a\",1}", "{1:2}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "]", "}", ",", "[1}",
        "NaN", "Infinity", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
        "// x\n1",
        "\xef\xbb\xbf"
        "1",
        "\x0b"
        "1",
        "\xc2\xa0"
        "1"};
    static const char *const begun[] = {"", " ", "n", "tru", "-", "1.", "1e", "1e+", "\"", "\"a\\",
        "\"\\u00", "[", "[1", "[1,", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",
        "[[]"};
    for (size_t i = 0; i < COUNT(good); i++)
        check_that(read_json(good[i]) == PL_OK, __FILE__, __LINE__, "%s is refused", good[i]);
    for (size_t i = 0; i < COUNT(wrong); i++)
        check_that(
            read_json(wrong[i]) == PL_MALFORMED, __FILE__, __LINE__, "%s is not refused", wrong[i]);
    for (size_t i = 0; i < COUNT(begun); i++)
        check_that(
            read_json(begun[i]) == PL_NEED_MORE, __FILE__, __LINE__, "%s is an end", begun[i]);
}

TEST(what_follows_a_value_is_left_to_the_caller)
{
    CHECK_EQ(read_json(" [1] [2]"), PL_OK);
    CHECK_EQ(used, 4);
    CHECK_BYTES(value.raw.data, value.raw.len, "[1]", 3);
    CHECK_EQ(read_json("12,"), PL_OK);
    CHECK_EQ(used, 2);
    CHECK_EQ(read_value(PL_SERIAL_MSGPACK, hex("91 01 02")), PL_OK);
    CHECK_EQ(used, 2);
    CHECK_EQ(read_value(PL_SERIAL_CBOR, hex("81 01 02")), PL_OK);
    CHECK_EQ(used, 2);
}

TEST(messagepack_that_is_cut_off_wants_more_and_what_is_wrong_is_refused)
{
    static const char *const begun[] = {"", "cc", "cd01", "ce010203", "cf01020304050607", "d0",
        "ca000000", "cb00000000000000", "a2 61", "d9", "d902 61", "da0001", "db00000001", "c4",
        "c401", "c7", "c70105", "d4 01", "91", "92 01", "81 a161", "dc", "dc0001", "dd00000001",
        "df00000001", "ddffffffff", "dbffffffff"};
    static const char *const wrong[] = {"c1", "91 c1", "a1 ff", "a2 c328", "d903 eda080",
        "81 90 01", "81 80 01", "81 dc0000 01", "81 de0000 01"};
    for (size_t i = 0; i < COUNT(begun); i++)
        check_that(read_value(PL_SERIAL_MSGPACK, hex(begun[i])) == PL_NEED_MORE, __FILE__, __LINE__,
            "%s is an end", begun[i]);
    for (size_t i = 0; i < COUNT(wrong); i++)
        check_that(read_value(PL_SERIAL_MSGPACK, hex(wrong[i])) == PL_MALFORMED, __FILE__, __LINE__,
            "%s is not refused", wrong[i]);
}

TEST(cbor_that_is_cut_off_wants_more_and_what_is_wrong_is_refused)
{
    static const char *const begun[] = {"", "18", "1901", "1a010203", "1b01020304050607", "f9 00",
        "61", "5801", "7f", "7f 6161", "5f 41", "81", "9f", "9f 01", "bf", "bf 01", "a1 01", "c1",
        "9affffffff", "bbffffffffffffffff", "7bffffffffffffffff"};
    static const char *const wrong[] = {"1c", "1f", "3f", "ff", "df", "fc", "f800", "f818", "e0",
        "f0", "81 ff", "61 ff", "7f 41 61 ff", "5f 61 61 ff", "7f 7f 6161 ff ff",
        "7f 61 c3 61 a9 ff", "bf 01 ff", "a1 80 01", "a1 a0 01", "a1 c1 80 01", "bf 9f ff 01 ff",
        "fe"};
    for (size_t i = 0; i < COUNT(begun); i++)
        check_that(read_value(PL_SERIAL_CBOR, hex(begun[i])) == PL_NEED_MORE, __FILE__, __LINE__,
            "%s is an end", begun[i]);
    for (size_t i = 0; i < COUNT(wrong); i++)
        check_that(read_value(PL_SERIAL_CBOR, hex(wrong[i])) == PL_MALFORMED, __FILE__, __LINE__,
            "%s is not refused", wrong[i]);
}

TEST(cbor_of_indefinite_length_is_what_it_would_be_with_a_length)
{
    JSON_OF_CBOR("9f 01 9f ff bf 61 61 02 ff ff", "[1,[],{\"a\":2}]");
    JSON_OF_CBOR("7f 61 61 60 62 6263 ff", "\"abc\"");
    JSON_OF_CBOR("7f ff", "\"\"");
    JSON_OF_CBOR("5f 41 00 41 ff ff", "\"\\u0000AP8=\"");
    MSGPACK_OF_CBOR("9f 7f 6161 ff 5f 41aa 41bb ff ff", "92a161c402aabb");
    MSGPACK_OF_CBOR("bf 7f 61 6b ff 01 ff", "81a16b01");
}

TEST(cbor_tags_are_skipped_and_undefined_is_null)
{
    JSON_OF_CBOR("c0 74 323031332d30332d32315432303a30343a30305a", "\"2013-03-21T20:04:00Z\"");
    JSON_OF_CBOR("c4 82 21 19 6ab3", "[-2,27315]");
    JSON_OF_CBOR("d9d9f7 82 c1 01 d818 41 aa", "[1,\"\\u0000qg==\"]");
    JSON_OF_CBOR("82 f6 f7", "[null,null]");
}

TEST(messagepack_extensions_are_binary)
{
    CBOR_OF_MSGPACK("96 d401aa d502aabb c70005 c70105cc c8000105dd c90000000105ee",
        "8641aa42aabb4041cc41dd41ee");
    JSON_OF_MSGPACK("d6ff 00000001", "\"\\u0000AAAAAQ==\"");
}

TEST(strings_and_binaries_of_every_length_form_are_the_same)
{
    JSON_OF_MSGPACK("95 a161 d90161 da000161 db0000000161 a0", "[\"a\",\"a\",\"a\",\"a\",\"\"]");
    JSON_OF_MSGPACK(
        "93 c401ff c50001ff c600000001ff", "[\"\\u0000/w==\",\"\\u0000/w==\",\"\\u0000/w==\"]");
    JSON_OF_CBOR("84 6161 780161 79000161 7a0000000161", "[\"a\",\"a\",\"a\",\"a\"]");
    JSON_OF_CBOR("83 41ff 5801ff 590001ff", "[\"\\u0000/w==\",\"\\u0000/w==\",\"\\u0000/w==\"]");
}

TEST(binary_in_json_is_nul_and_base64_both_ways)
{
    MSGPACK_OF_JSON("\"\\u0000EOP/kFMHXFJvX8BtT+N82w==\"", "c41010e3ff9053075c526f5fc06d4fe37cdb");
    JSON_OF_MSGPACK("c41010e3ff9053075c526f5fc06d4fe37cdb", "\"\\u0000EOP/kFMHXFJvX8BtT+N82w==\"");
    MSGPACK_OF_JSON("\"\\u0000\"", "c400");
    MSGPACK_OF_JSON("\"\\u0000AAE\"", "c4020001");
    MSGPACK_OF_JSON("\"\\u0000AAE=\"", "c4020001");
    MSGPACK_OF_JSON("\"\\u0000\\u002b\\/\\u002B\\/\"", "c403fbffbf");
}

TEST(a_string_with_nul_that_is_no_base64_stays_a_string)
{
    MSGPACK_OF_JSON("\"\\u0000a b\"", "a400612062");
    MSGPACK_OF_JSON("\"\\u0000AAAAA\"", "a6004141414141");
    MSGPACK_OF_JSON("\"\\u0000AB\"", "a3004142");
    MSGPACK_OF_JSON("\"\\u0000=\"", "a2003d");
    MSGPACK_OF_JSON("\"\\u0000QQ=Q\"", "a50051513d51");
    MSGPACK_OF_JSON("\"\\u0000QQ===\"", "a60051513d3d3d");
    MSGPACK_OF_JSON("\"a\\u0000\"", "a26100");
    MSGPACK_OF_JSON("\"\\u0000\\n\"", "a2000a");
    MSGPACK_OF_JSON("\"\\u0000\\u0141AA\"", "a500c5814141");
}

TEST(escapes_of_json_are_the_characters_that_they_stand_for)
{
    MSGPACK_OF_JSON("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a8225c2f080c0a0d09");
    MSGPACK_OF_JSON("\"\\u00e9\\u20AC\\ud83d\\ude00\"", "a9c3a9e282acf09f9880");
    MSGPACK_OF_JSON("\"\\ud800\"", "a3efbfbd");
    MSGPACK_OF_JSON("\"\\udc00\\ud800x\"", "a7efbfbdefbfbd78");
    MSGPACK_OF_JSON("\"\\ud800\\u0041\"", "a4efbfbd41");
    JSON_OF_MSGPACK("a8225c2f080c0a0d09", "\"\\\"\\\\/\\u0008\\u000c\\n\\u000d\\u0009\"");
    JSON_OF_MSGPACK("aac3a9e282acf09f98807f", "\"é€😀\\u007f\"");
}

TEST(a_long_string_is_looked_through_to_its_end_wherever_what_is_special_stands)
{
    char text[80];
    for (size_t len = 0; len < 40; len++) {
        for (size_t at = 0; at < len; at++) {
            memset(text, 'a', sizeof text);
            text[0] = '"';
            text[len + 1] = '"';
            text[len + 2] = '\0';
            CHECK_EQ(read_json(text), PL_OK);
            CHECK(value.is_plain && value.text.len == len);
            text[at + 1] = '\x1f';
            CHECK_EQ(read_json(text), PL_MALFORMED);
            text[at + 1] = '\x80';
            CHECK_EQ(read_json(text), PL_MALFORMED);
            text[at + 1] = '"';
            CHECK_EQ(read_json(text), PL_OK);
            CHECK_EQ(value.text.len, at);
            text[at + 1] = '\\';
            text[at + 2] = '"';
            text[len + 2] = '"';
            text[len + 3] = '\0';
            CHECK_EQ(read_json(text), PL_OK);
            CHECK(!value.is_plain);
        }
    }
}

TEST(keys_that_are_no_strings_are_strings_in_json_and_stay_what_they_are_elsewhere)
{
    const char *msgpack =
        "87 01a161 ffa162 c0a163 c3a164 cb3ff8000000000000a165 c4010aa166 a16ba167";
    JSON_OF_MSGPACK(msgpack, "{\"1\":\"a\",\"-1\":\"b\",\"null\":\"c\",\"true\":\"d\",\"1.5\":"
                             "\"e\",\"\\u0000Cg==\":\"f\","
                             "\"k\":\"g\"}");
    CBOR_OF_MSGPACK(msgpack, "a7016161206162f66163f56164fb3ff80000000000006165410a6166616b6167");
    JSON_OF_CBOR("a1 1bffffffffffffffff 01", "{\"18446744073709551615\":1}");
}

TEST(order_and_repeated_keys_stay_as_they_are_and_the_last_one_counts)
{
    CHECK_EQ(read_json("{\"b\":1,\"a\":2,\"b\":3}"), PL_OK);
    CHECK_STR(told(PL_SERIAL_CBOR), "a3616201616102616203");
    struct pl_value found;
    CHECK(pl_value_find(&value, "b", &found) && found.integer == 3);
    CHECK(!pl_value_find(&value, "c", &found));
}

static void check_depth(enum pl_serializer serializer, uint8_t open, uint8_t close, uint8_t leaf)
{
    uint8_t bytes[3 * PL_VALUE_DEPTH_MAX];
    for (size_t depth = PL_VALUE_DEPTH_MAX - 1; depth <= PL_VALUE_DEPTH_MAX + 1; depth++) {
        memset(bytes, open, depth);
        bytes[depth] = leaf;
        memset(bytes + depth + 1, close, depth);
        size_t len = close ? 2 * depth + 1 : depth + 1;
        enum pl_err err = read_value(serializer, pl_bytes_of(bytes, len));
        CHECK_EQ(err, depth > PL_VALUE_DEPTH_MAX ? PL_MALFORMED : PL_OK);
        if (err)
            continue;
        struct pl_shared *other = value_in((enum pl_serializer)((serializer + 1) % 3), &value);
        pl_shared_unref(other);
    }
}

TEST(nesting_is_bounded)
{
    check_depth(PL_SERIAL_JSON, '[', ']', '1');
    check_depth(PL_SERIAL_MSGPACK, 0x91, 0, 0x01);
    check_depth(PL_SERIAL_CBOR, 0x81, 0, 0x01);
    check_depth(PL_SERIAL_CBOR, 0x9F, 0xFF, 0x01);
    check_depth(PL_SERIAL_CBOR, 0xC1, 0, 0x01);
}

/* n nulls in a list and n pairs of null in a dictionary, written item by item. */
static struct pl_shared *write_many(enum pl_serializer serializer, unsigned n)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *bytes = NULL;
    struct pl_value_writer v = pl_value_writer(&w, serializer);
    pl_put_list(&v);
    pl_put_list(&v);
    for (unsigned i = 0; i < n; i++)
        pl_put_null(&v);
    pl_put_end(&v);
    pl_put_dict(&v);
    for (unsigned i = 0; i < n; i++) {
        pl_put_key(&v, "k");
        pl_put_null(&v);
    }
    pl_put_end(&v);
    pl_put_bool(&v, true);
    pl_put_end(&v);
    CHECK_EQ(pl_writer_take(&w, &bytes), PL_OK);
    return bytes;
}

TEST(counts_of_every_size_are_filled_in_as_small_as_they_can_be)
{
    static const unsigned counts[] = {0, 1, 15, 16, 23, 24, 255, 256, 65535, 65536};
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct pl_shared *forms[PL_SERIAL_COUNT];
        for (int s = 0; s < PL_SERIAL_COUNT; s++) {
            forms[s] = write_many((enum pl_serializer)s, counts[i]);
            value = value_of((enum pl_serializer)s, value_bytes(forms[s]));
            struct pl_value list;
            struct pl_items items = pl_value_items(&value);
            CHECK(pl_items_next(&items, NULL, &list));
            CHECK_EQ(list.count, counts[i]);
            CHECK(pl_items_next(&items, NULL, &list));
            CHECK_EQ(list.count, counts[i]);
        }
        for (int from = 0; from < PL_SERIAL_COUNT; from++) {
            for (int to = 0; to < PL_SERIAL_COUNT; to++) {
                struct pl_shared *crossed = value_crossed(
                    (enum pl_serializer)to, (enum pl_serializer)from, value_bytes(forms[from]));
                CHECK(pl_bytes_equal(value_bytes(crossed), value_bytes(forms[to])));
                pl_shared_unref(crossed);
            }
        }
        for (int s = 0; s < PL_SERIAL_COUNT; s++)
            pl_shared_unref(forms[s]);
    }
}

static void put_all(struct pl_value_writer *v)
{
    pl_put_list(v);
    pl_put_null(v);
    pl_put_bool(v, false);
    pl_put_natural(v, UINT64_MAX);
    pl_put_integer(v, INT64_MIN);
    pl_put_integer(v, 7);
    pl_put_float(v, 2);
    pl_put_text(v, "a\"b");
    pl_put_string(v, PL_BYTES("x\xff\xc3\xa9"));
    pl_put_binary(v, PL_BYTES("\0\xff"));
    pl_put_dict(v);
    pl_put_key(v, "one");
    pl_put_list(v);
    pl_put_end(v);
    pl_put_key_bytes(v, PL_BYTES("two"));
    pl_put_dict(v);
    pl_put_end(v);
    pl_put_end(v);
    pl_put_end(v);
}

TEST(what_is_written_item_by_item_is_what_was_meant)
{
    static const char *const expected =
        "[null,false,18446744073709551615,-9223372036854775808,7,2.0,"
        "\"a\\\"b\",\"x\xef\xbf\xbd\xc3\xa9\",\"\\u0000AP8=\","
        "{\"one\":[],\"two\":{}}]";
    for (int s = 0; s < PL_SERIAL_COUNT; s++) {
        struct pl_writer w = pl_writer_new();
        struct pl_value_writer v = pl_value_writer(&w, (enum pl_serializer)s);
        struct pl_shared *bytes = NULL;
        put_all(&v);
        REQUIRE(CHECK_EQ(pl_writer_take(&w, &bytes), PL_OK));
        value = value_of((enum pl_serializer)s, value_bytes(bytes));
        CHECK_STR(told(PL_SERIAL_JSON), expected);
        pl_shared_unref(bytes);
    }
}

TEST(more_lists_within_lists_than_there_is_room_for_are_an_error_and_no_harm)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_CBOR);
    struct pl_shared *bytes = NULL;
    for (int i = 0; i < PL_PUT_DEPTH_MAX + 3; i++)
        pl_put_list(&v);
    for (int i = 0; i < PL_PUT_DEPTH_MAX + 3; i++)
        pl_put_end(&v);
    CHECK_EQ(pl_writer_take(&w, &bytes), PL_LIMIT);
}

static bool reads_natural(enum pl_serializer serializer, struct pl_bytes in, uint64_t *out)
{
    return read_value(serializer, in) == PL_OK && pl_value_natural(&value, out);
}

TEST(an_id_may_be_an_integral_float)
{
    uint64_t n = 0;
    CHECK(reads_natural(PL_SERIAL_JSON, PL_BYTES("5.0"), &n) && n == 5);
    CHECK(reads_natural(PL_SERIAL_JSON, PL_BYTES("0"), &n) && n == 0);
    CHECK(reads_natural(PL_SERIAL_JSON, PL_BYTES("18446744073709551615"), &n) && n == UINT64_MAX);
    CHECK(
        reads_natural(PL_SERIAL_MSGPACK, hex("cb4340000000000000"), &n) && n == (uint64_t)1 << 53);
    CHECK(!reads_natural(PL_SERIAL_MSGPACK, hex("cb4350000000000000"), &n));
    CHECK(!reads_natural(PL_SERIAL_MSGPACK, hex("cb7ff8000000000000"), &n));
    CHECK(!reads_natural(PL_SERIAL_MSGPACK, hex("cb7ff0000000000000"), &n));
    CHECK(!reads_natural(PL_SERIAL_JSON, PL_BYTES("5.5"), &n));
    CHECK(!reads_natural(PL_SERIAL_JSON, PL_BYTES("-1"), &n));
    CHECK(!reads_natural(PL_SERIAL_JSON, PL_BYTES("\"5\""), &n));
    CHECK_EQ(read_json("9007199254740992"), PL_OK);
    CHECK(pl_value_id(&value, &n) && n == (uint64_t)1 << 53);
    CHECK_EQ(read_json("9007199254740993"), PL_OK);
    CHECK(!pl_value_id(&value, &n));
    CHECK_EQ(read_json("0"), PL_OK);
    CHECK(!pl_value_id(&value, &n));
}

TEST(a_key_is_found_however_it_is_written)
{
    struct pl_value found;
    CHECK_EQ(read_json("{\"\\u0074op\\u0069c\":1,\"progress\":true,\"no\":1}"), PL_OK);
    CHECK(pl_value_find(&value, "topic", &found) && found.integer == 1);
    CHECK(pl_value_flag(&value, "progress"));
    CHECK(!pl_value_flag(&value, "no"));
    CHECK(!pl_value_flag(&value, "absent"));
    CHECK_EQ(read_value(PL_SERIAL_CBOR, hex("a1 7f 60 61 6b 60 ff f5")), PL_OK);
    CHECK(pl_value_flag(&value, "k"));
    CHECK_EQ(read_json("[1]"), PL_OK);
    CHECK(!pl_value_find(&value, "k", &found));
}

TEST(a_scalar_has_no_items)
{
    struct pl_value item;
    CHECK_EQ(read_json("\"[1]\""), PL_OK);
    struct pl_items items = pl_value_items(&value);
    CHECK(!pl_items_next(&items, NULL, &item));
    struct pl_arena arena = {0};
    struct pl_bytes text;
    CHECK_EQ(read_json("7"), PL_OK);
    CHECK_EQ(pl_value_text(&value, &arena, &text), PL_MALFORMED);
    pl_arena_done(&arena);
}
