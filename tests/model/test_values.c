/*
 * Random values written by us in all three serializers, against jansson, msgpack-c and libcbor:
 * they read what we wrote as what it was, we read what they wrote, and what is broken at random is
 * read by both or neither. Between our three, nothing is lost, also when memory is short.
 */
#include "check.h"

#include <cbor.h>
#include <jansson.h>
#include <math.h>
#include <msgpack.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "codec/same_values.h"

enum { DEPTH_MAX = 6, VALUES = 3000, MUTATIONS = 20 };

/* What jansson cannot read (integers from 2^63 on) and JSON cannot say (NaN, infinities). IN_LIST:
 * the value is a list. */
enum { WITH_NATURALS = 1, WITH_ODD_FLOATS = 2, IN_LIST = 4 };

/* ---- Random values ---- */

static void put_random(struct pl_value_writer *v, struct pl_random *random, int depth, int with);

static double random_float(struct pl_random *random, int with)
{
    static const double plain[] = {0, -0.0, 2, 0.1, -1.5, 1e22, 1e300, 5e-324, 1.0 / 3};
    uint64_t bits = pl_random_next(random);
    double v;
    memcpy(&v, &bits, sizeof v);
    if (pl_random_below(random, 2) || (!isfinite(v) && !(with & WITH_ODD_FLOATS)))
        v = plain[pl_random_below(random, sizeof plain / sizeof *plain)];
    if ((with & WITH_ODD_FLOATS) && !pl_random_below(random, 8))
        v = pl_random_below(random, 2) ? NAN : -INFINITY;
    return v;
}

/* At most 4 bytes; ASCII, also controls, in three of four. */
static size_t random_character(struct pl_random *random, uint8_t *out)
{
    static const char *const others[] = {"é", "€", "😀", "\xef\xbf\xbd", "\x7f", "\"", "\\", "/"};
    if (pl_random_below(random, 4)) {
        out[0] = (uint8_t)pl_random_below(random, 0x80);
        return 1;
    }
    const char *text = others[pl_random_below(random, sizeof others / sizeof *others)];
    memcpy(out, text, strlen(text));
    return strlen(text);
}

static struct pl_bytes random_text(struct pl_random *random)
{
    static uint8_t memory[4 * 70000];
    uint32_t kind = pl_random_below(random, 400);
    size_t count = kind == 0   ? 65500 + pl_random_below(random, 100)
                   : kind < 20 ? pl_random_below(random, 300)
                               : pl_random_below(random, 40);
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += random_character(random, memory + len);
    if (len && !memory[0])
        memory[0] = 'x'; /* with NUL first it might look binary in JSON */
    return pl_bytes_of(memory, len);
}

static struct pl_bytes random_binary(struct pl_random *random)
{
    static uint8_t memory[300];
    size_t len = pl_random_below(random, pl_random_below(random, 8) ? 8 : sizeof memory);
    for (size_t i = 0; i < len; i++)
        memory[i] = (uint8_t)pl_random_next(random);
    return pl_bytes_of(memory, len);
}

static void put_items(
    struct pl_value_writer *v, struct pl_random *random, int depth, bool is_dict, int with)
{
    uint32_t count = pl_random_below(random, pl_random_below(random, 10) ? 4 : 40);
    is_dict ? pl_put_dict(v) : pl_put_list(v);
    for (uint32_t i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%x\n%u", (unsigned)pl_random_below(random, 99), i);
        if (is_dict)
            pl_put_key(v, key);
        put_random(v, random, depth + 1, with);
    }
    pl_put_end(v);
}

static void put_random(struct pl_value_writer *v, struct pl_random *random, int depth, int with)
{
    unsigned shift = pl_random_below(random, 64);
    uint64_t number = pl_random_next(random) >> shift;
    switch (pl_random_below(random, depth < DEPTH_MAX ? 10 : 8)) {
    case 0:
        pl_put_null(v);
        return;
    case 1:
        pl_put_bool(v, number & 1);
        return;
    case 2:
        pl_put_integer(v, -(int64_t)(number >> 1) - 1);
        return;
    case 3:
        pl_put_natural(v, with & WITH_NATURALS ? number : number >> 1);
        return;
    case 4:
        pl_put_float(v, random_float(random, with));
        return;
    case 5:
    case 6:
        pl_put_string(v, random_text(random));
        return;
    case 7:
        pl_put_binary(v, random_binary(random));
        return;
    default:
        put_items(v, random, depth, pl_random_below(random, 2), with);
        return;
    }
}

static struct pl_shared *random_value(enum pl_serializer serializer, uint64_t seed, int with)
{
    struct pl_random random = pl_random_seeded(seed);
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, serializer);
    struct pl_shared *bytes = NULL;
    if (with & IN_LIST)
        put_items(&v, &random, 0, false, with);
    else
        put_random(&v, &random, 0, with);
    value_require(pl_writer_take(&w, &bytes) == PL_OK);
    return bytes;
}

/* The whole of bytes as they are, or with some of them changed. */
static void mutate(struct pl_random *random, struct pl_shared *bytes)
{
    static const char likely[] = "[]{}\",:\\u0 e.-1\x81\x9f\xff\xbf\x7f\xd9\xc1\xf9\xfb";
    for (uint32_t n = 1 + pl_random_below(random, 2); n && bytes->len; n--) {
        uint32_t at = pl_random_below(random, bytes->len);
        if (!pl_random_below(random, 4))
            bytes->len = at;
        else
            bytes->data[at] = pl_random_below(random, 3)
                                  ? (uint8_t)likely[pl_random_below(random, sizeof likely - 1)]
                                  : (uint8_t)pl_random_next(random);
    }
}

/* ---- As others see them ---- */

static bool is_text(const struct pl_value *value, struct pl_bytes expected)
{
    struct pl_arena arena = {0};
    struct pl_bytes text;
    value_require(pl_value_text(value, &arena, &text) == PL_OK);
    bool is_same = pl_bytes_equal(text, expected);
    pl_arena_done(&arena);
    return is_same;
}

static bool is_float(const struct pl_value *value, double expected)
{
    return value->kind == PL_VALUE_FLOAT &&
           (memcmp(&value->real, &expected, sizeof expected) == 0 ||
               (isnan(expected) && isnan(value->real)));
}

static bool is_natural(const struct pl_value *value, uint64_t expected)
{
    return value->kind == (expected > INT64_MAX ? PL_VALUE_NATURAL : PL_VALUE_INTEGER) &&
           value->natural == expected;
}

static bool is_msgpack(const struct pl_value *value, const msgpack_object *o);

static bool are_msgpack(const struct pl_value *value, const msgpack_object *o)
{
    struct pl_items items = pl_value_items(value);
    struct pl_value key, item;
    bool is_map = o->type == MSGPACK_OBJECT_MAP;
    uint32_t count = is_map ? o->via.map.size : o->via.array.size;
    if (value->kind != (is_map ? PL_VALUE_DICT : PL_VALUE_LIST) || value->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        value_require(pl_items_next(&items, &key, &item));
        if (is_map && !is_msgpack(&key, &o->via.map.ptr[i].key))
            return false;
        if (!is_msgpack(&item, is_map ? &o->via.map.ptr[i].val : &o->via.array.ptr[i]))
            return false;
    }
    return true;
}

static bool is_msgpack(const struct pl_value *value, const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        return value->kind == PL_VALUE_NULL;
    case MSGPACK_OBJECT_BOOLEAN:
        return value->kind == PL_VALUE_BOOL && value->boolean == o->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return is_natural(value, o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return value->kind == PL_VALUE_INTEGER && value->integer == o->via.i64;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return is_float(value, o->via.f64);
    case MSGPACK_OBJECT_STR:
        return value->kind == PL_VALUE_STRING &&
               is_text(value, pl_bytes_of(o->via.str.ptr, o->via.str.size));
    case MSGPACK_OBJECT_BIN:
        return value->kind == PL_VALUE_BINARY &&
               is_text(value, pl_bytes_of(o->via.bin.ptr, o->via.bin.size));
    case MSGPACK_OBJECT_EXT:
        return value->kind == PL_VALUE_BINARY &&
               is_text(value, pl_bytes_of(o->via.ext.ptr, o->via.ext.size));
    case MSGPACK_OBJECT_ARRAY:
    case MSGPACK_OBJECT_MAP:
        return are_msgpack(value, o);
    }
    return false;
}

static bool is_cbor(const struct pl_value *value, const cbor_item_t *item);

static bool are_cbor(const struct pl_value *value, const cbor_item_t *o)
{
    struct pl_items items = pl_value_items(value);
    struct pl_value key, item;
    bool is_map = cbor_isa_map(o);
    size_t count = is_map ? cbor_map_size(o) : cbor_array_size(o);
    if (value->kind != (is_map ? PL_VALUE_DICT : PL_VALUE_LIST) || value->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        value_require(pl_items_next(&items, &key, &item));
        if (is_map && !is_cbor(&key, cbor_map_handle(o)[i].key))
            return false;
        if (!is_cbor(&item, is_map ? cbor_map_handle(o)[i].value : cbor_array_handle(o)[i]))
            return false;
    }
    return true;
}

/* Definite, or the chunks of an indefinite one. */
static bool is_cbor_text(const struct pl_value *value, const cbor_item_t *item)
{
    bool is_string = cbor_isa_string(item);
    if (value->kind != (is_string ? PL_VALUE_STRING : PL_VALUE_BINARY))
        return false;
    if (is_string && cbor_string_is_definite(item))
        return is_text(value, pl_bytes_of(cbor_string_handle(item), cbor_string_length(item)));
    if (!is_string && cbor_bytestring_is_definite(item))
        return is_text(
            value, pl_bytes_of(cbor_bytestring_handle(item), cbor_bytestring_length(item)));
    size_t count = is_string ? cbor_string_chunk_count(item) : cbor_bytestring_chunk_count(item);
    struct pl_writer w = pl_writer_new();
    struct pl_shared *all = NULL;
    for (size_t i = 0; i < count; i++) {
        const cbor_item_t *chunk =
            is_string ? cbor_string_chunks_handle(item)[i] : cbor_bytestring_chunks_handle(item)[i];
        pl_write_bytes(&w,
            is_string ? pl_bytes_of(cbor_string_handle(chunk), cbor_string_length(chunk))
                      : pl_bytes_of(cbor_bytestring_handle(chunk), cbor_bytestring_length(chunk)));
    }
    value_require(pl_writer_take(&w, &all) == PL_OK);
    bool is_same = is_text(value, value_bytes(all));
    pl_shared_unref(all);
    return is_same;
}

static bool is_cbor(const struct pl_value *value, const cbor_item_t *item)
{
    switch (cbor_typeof(item)) {
    case CBOR_TYPE_UINT:
        return is_natural(value, cbor_get_int(item));
    case CBOR_TYPE_NEGINT:
        if (cbor_get_int(item) > INT64_MAX)
            return is_float(value, -1.0 - (double)cbor_get_int(item));
        return value->kind == PL_VALUE_INTEGER &&
               value->integer == -1 - (int64_t)cbor_get_int(item);
    case CBOR_TYPE_BYTESTRING:
    case CBOR_TYPE_STRING:
        return is_cbor_text(value, item);
    case CBOR_TYPE_ARRAY:
    case CBOR_TYPE_MAP:
        return are_cbor(value, item);
    case CBOR_TYPE_TAG: {
        cbor_item_t *inner = cbor_tag_item(item);
        bool is_same = is_cbor(value, inner);
        cbor_decref(&inner);
        return is_same;
    }
    case CBOR_TYPE_FLOAT_CTRL:
        if (!cbor_float_ctrl_is_ctrl(item))
            return is_float(value, cbor_float_get_float(item));
        if (cbor_ctrl_value(item) >= 22)
            return value->kind == PL_VALUE_NULL;
        return value->kind == PL_VALUE_BOOL && value->boolean == (cbor_ctrl_value(item) == 21);
    }
    return false;
}

static bool is_jansson(const struct pl_value *value, json_t *json)
{
    struct pl_items items = pl_value_items(value);
    struct pl_value key, item;
    const char *name;
    json_t *child;
    size_t i = 0;
    switch (json_typeof(json)) {
    case JSON_NULL:
        return value->kind == PL_VALUE_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return value->kind == PL_VALUE_BOOL && value->boolean == json_is_true(json);
    case JSON_INTEGER:
        return value->kind == PL_VALUE_INTEGER && value->integer == json_integer_value(json);
    case JSON_REAL:
        return is_float(value, json_real_value(json));
    case JSON_STRING:
        if (value->kind == PL_VALUE_BINARY) /* NUL and base64, which jansson knows nothing of */
            return json_string_length(json) && !json_string_value(json)[0];
        return value->kind == PL_VALUE_STRING &&
               is_text(value, pl_bytes_of(json_string_value(json), json_string_length(json)));
    case JSON_ARRAY:
        if (value->kind != PL_VALUE_LIST || value->count != json_array_size(json))
            return false;
        json_array_foreach(json, i, child)
        {
            value_require(pl_items_next(&items, NULL, &item));
            if (!is_jansson(&item, child))
                return false;
        }
        return true;
    case JSON_OBJECT:
        if (value->kind != PL_VALUE_DICT || value->count != json_object_size(json))
            return false;
        json_object_foreach(json, name, child)
        {
            value_require(pl_items_next(&items, &key, &item));
            if (!is_text(&key, pl_bytes_text(name)) || !is_jansson(&item, child))
                return false;
        }
        return true;
    }
    return false;
}

/* ---- The tests ---- */

TEST(random_values_cross_between_all_three_without_loss)
{
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        struct pl_shared *forms[PL_SERIAL_COUNT];
        for (int s = 0; s < PL_SERIAL_COUNT; s++)
            forms[s] = random_value((enum pl_serializer)s, seed, WITH_NATURALS);
        for (int from = 0; from < PL_SERIAL_COUNT; from++) {
            struct pl_value value = value_of((enum pl_serializer)from, value_bytes(forms[from]));
            for (int to = 0; to < PL_SERIAL_COUNT; to++) {
                struct pl_shared *crossed = value_in((enum pl_serializer)to, &value);
                CHECK(pl_bytes_equal(value_bytes(crossed), value_bytes(forms[to])));
                struct pl_value again = value_of((enum pl_serializer)to, value_bytes(crossed));
                CHECK(values_are_same(&value, &again));
                pl_shared_unref(crossed);
            }
        }
        for (int s = 0; s < PL_SERIAL_COUNT; s++)
            pl_shared_unref(forms[s]);
    }
}

TEST(msgpack_c_reads_what_we_write_and_would_have_written_the_same_bytes)
{
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        struct pl_shared *bytes =
            random_value(PL_SERIAL_MSGPACK, seed, WITH_NATURALS | WITH_ODD_FLOATS);
        struct pl_value value = value_of(PL_SERIAL_MSGPACK, value_bytes(bytes));
        msgpack_unpacked unpacked;
        size_t used = 0;
        msgpack_unpacked_init(&unpacked);
        CHECK_EQ(msgpack_unpack_next(&unpacked, (const char *)bytes->data, bytes->len, &used),
            MSGPACK_UNPACK_SUCCESS);
        CHECK_EQ(used, bytes->len);
        CHECK(is_msgpack(&value, &unpacked.data));
        msgpack_sbuffer packed;
        msgpack_packer packer;
        msgpack_sbuffer_init(&packed);
        msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
        msgpack_pack_object(&packer, unpacked.data);
        CHECK(pl_bytes_equal(pl_bytes_of(packed.data, packed.size), value_bytes(bytes)));
        msgpack_sbuffer_destroy(&packed);
        msgpack_unpacked_destroy(&unpacked);
        pl_shared_unref(bytes);
    }
}

TEST(broken_messagepack_that_we_read_msgpack_c_reads_the_same)
{
    struct pl_random random = pl_random_seeded(1);
    unsigned taken = 0;
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        for (int i = 0; i < MUTATIONS; i++) {
            struct pl_shared *bytes = random_value(PL_SERIAL_MSGPACK, seed, WITH_NATURALS);
            struct pl_value value;
            size_t used = 0, used_there = 0;
            mutate(&random, bytes);
            if (!pl_value_read(PL_SERIAL_MSGPACK, value_bytes(bytes), &value, &used)) {
                msgpack_unpacked unpacked;
                msgpack_unpacked_init(&unpacked);
                int got = msgpack_unpack_next(
                    &unpacked, (const char *)bytes->data, bytes->len, &used_there);
                CHECK_EQ(got, MSGPACK_UNPACK_SUCCESS);
                CHECK_EQ(used, used_there);
                CHECK(is_msgpack(&value, &unpacked.data));
                msgpack_unpacked_destroy(&unpacked);
                taken++;
            }
            pl_shared_unref(bytes);
            if (i == 1 && used > 4096)
                break; /* long ones take long */
        }
    }
    CHECK(taken > VALUES);
}

TEST(libcbor_reads_what_we_write_as_what_it_was)
{
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        struct pl_shared *bytes =
            random_value(PL_SERIAL_CBOR, seed, WITH_NATURALS | WITH_ODD_FLOATS);
        struct pl_value value = value_of(PL_SERIAL_CBOR, value_bytes(bytes));
        struct cbor_load_result result;
        cbor_item_t *item = cbor_load(bytes->data, bytes->len, &result);
        if (CHECK(item != NULL)) {
            CHECK_EQ(result.read, bytes->len);
            CHECK(is_cbor(&value, item));
            cbor_decref(&item);
        }
        pl_shared_unref(bytes);
    }
}

TEST(broken_cbor_that_we_read_libcbor_reads_the_same)
{
    struct pl_random random = pl_random_seeded(2);
    unsigned taken = 0;
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        for (int i = 0; i < MUTATIONS; i++) {
            struct pl_shared *bytes = random_value(PL_SERIAL_CBOR, seed, WITH_NATURALS);
            struct pl_value value;
            size_t used = 0;
            mutate(&random, bytes);
            if (!pl_value_read(PL_SERIAL_CBOR, value_bytes(bytes), &value, &used)) {
                struct cbor_load_result result;
                cbor_item_t *item = cbor_load(bytes->data, bytes->len, &result);
                if (item) {
                    CHECK_EQ(result.read, used);
                    CHECK(is_cbor(&value, item));
                    cbor_decref(&item);
                    taken++;
                } else { /* libcbor 0.8 knows no tags from 6 to 20 */
                    uint8_t head = bytes->data[result.error.position];
                    CHECK(head >= 0xC6 && head <= 0xD4);
                }
            }
            pl_shared_unref(bytes);
            if (i == 1 && used > 4096)
                break;
        }
    }
    CHECK(taken > VALUES);
}

/* An item of libcbor in whatever form it can have: widths, indefinite lengths, tags. */
static cbor_item_t *random_item(struct pl_random *random, int depth)
{
    uint64_t number = pl_random_next(random);
    uint32_t count = pl_random_below(random, 4);
    cbor_item_t *item;
    switch (pl_random_below(random, depth < DEPTH_MAX ? 12 : 7)) {
    case 0:
        return cbor_build_uint64(number);
    case 1:
        return cbor_build_negint16((uint16_t)number);
    case 2:
        return cbor_build_float2((float)pl_random_below(random, 2048) / 8);
    case 3:
        return cbor_build_float4((float)number);
    case 4:
        return number & 1 ? cbor_new_undef() : cbor_build_bool(number & 2);
    case 5:
        return cbor_build_negint64(number);
    case 6:
        return cbor_build_string(number & 1 ? "é" : "");
    case 7:
        item = cbor_new_indefinite_string();
        while (count--)
            value_require(
                cbor_string_add_chunk(item, cbor_move(cbor_build_string(number & 1 ? "" : "€"))));
        return item;
    case 8:
        item = cbor_new_indefinite_bytestring();
        while (count--)
            value_require(cbor_bytestring_add_chunk(
                item, cbor_move(cbor_build_bytestring((const uint8_t *)&number, count))));
        return item;
    case 9:
        return cbor_build_tag(number, cbor_move(random_item(random, depth + 1)));
    case 10:
        item = number & 1 ? cbor_new_indefinite_array() : cbor_new_definite_array(count);
        while (count--)
            value_require(cbor_array_push(item, cbor_move(random_item(random, depth + 1))));
        return item;
    default:
        item = number & 1 ? cbor_new_indefinite_map() : cbor_new_definite_map(count);
        while (count--) {
            struct cbor_pair pair = {.key = cbor_move(cbor_build_uint8((uint8_t)count)),
                .value = cbor_move(random_item(random, depth + 1))};
            value_require(cbor_map_add(item, pair));
        }
        return item;
    }
}

TEST(we_read_what_libcbor_writes_as_what_it_was)
{
    struct pl_random random = pl_random_seeded(3);
    for (int i = 0; i < 10 * VALUES; i++) {
        cbor_item_t *item = random_item(&random, 0);
        unsigned char *bytes = NULL;
        size_t cap = 0, len = cbor_serialize_alloc(item, &bytes, &cap);
        struct pl_value value;
        size_t used = 0;
        CHECK_EQ(pl_value_read(PL_SERIAL_CBOR, pl_bytes_of(bytes, len), &value, &used), PL_OK);
        CHECK_EQ(used, len);
        CHECK(is_cbor(&value, item));
        struct pl_shared *crossed = value_in(PL_SERIAL_MSGPACK, &value);
        struct pl_value again = value_of(PL_SERIAL_MSGPACK, value_bytes(crossed));
        CHECK(values_are_same(&value, &again));
        pl_shared_unref(crossed);
        free(bytes);
        cbor_decref(&item);
    }
}

static json_t *jansson_load(struct pl_bytes text, json_error_t *error)
{
    return json_loadb((const char *)text.data, text.len,
        JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, error);
}

/* Decimals of every length, and floats beside them, where the short ways of both ends begin. */
TEST(floats_in_json_are_as_printf_tells_them_in_as_few_digits_as_are_read_back)
{
    struct pl_random random = pl_random_seeded(6);
    for (int i = 0; i < 100 * VALUES; i++) {
        uint64_t digits = pl_random_next(&random) >> pl_random_below(&random, 64);
        double v = (double)digits / pow(10, pl_random_below(&random, 20));
        for (uint32_t steps = pl_random_below(&random, 3); steps; steps--)
            v = nextafter(v, INFINITY);
        v = i % 2 ? v : -v;
        struct pl_writer w = pl_writer_new();
        struct pl_value_writer values = pl_value_writer(&w, PL_SERIAL_JSON);
        struct pl_shared *bytes = NULL;
        pl_put_float(&values, v);
        value_require(pl_writer_take(&w, &bytes) == PL_OK);
        struct pl_value value = value_of(PL_SERIAL_JSON, value_bytes(bytes));
        char text[64] = {0}, expected[64];
        value_require(bytes->len < sizeof text);
        memcpy(text, bytes->data, bytes->len);
        int digit_count = 15, len;
        do
            len = snprintf(expected, sizeof expected, "%.*g", digit_count++, v);
        while (strtod(expected, NULL) != v);
        value_require(len > 0 && len < 60);
        if (!strpbrk(expected, ".e"))
            memcpy(expected + len, ".0", sizeof ".0");
        CHECK_STR(text, expected);
        CHECK(is_float(&value, v));
        pl_shared_unref(bytes);
    }
}

TEST(jansson_reads_what_we_write_and_we_what_jansson_writes)
{
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        struct pl_shared *bytes = random_value(PL_SERIAL_JSON, seed, 0);
        struct pl_value value = value_of(PL_SERIAL_JSON, value_bytes(bytes));
        json_error_t error;
        json_t *json = jansson_load(value_bytes(bytes), &error);
        if (CHECK(json != NULL)) {
            CHECK(is_jansson(&value, json));
            size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) |
                           (seed % 2 ? JSON_INDENT(2) : 0) | (seed % 3 ? 0 : JSON_ENSURE_ASCII);
            char *text = json_dumps(json, flags);
            value_require(text != NULL);
            struct pl_value again = value_of(PL_SERIAL_JSON, pl_bytes_text(text));
            CHECK(values_are_same(&value, &again));
            free(text);
            json_decref(json);
        }
        pl_shared_unref(bytes);
    }
}

/* Where we take more than jansson: what it has no number or no character for. */
static bool is_beyond_jansson(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow ||
           json_error_code(error) == json_error_null_byte_in_key ||
           strstr(error->text, "invalid Unicode");
}

/* It also looks at the byte behind a number, and takes a NUL there for its end. */
static bool is_odd_to_jansson(struct pl_bytes text)
{
    return memchr(text.data, '\0', text.len) || (text.data[0] != '[' && text.data[0] != '{');
}

TEST(broken_json_is_read_by_jansson_and_us_or_by_neither)
{
    struct pl_random random = pl_random_seeded(4);
    unsigned taken = 0, refused = 0;
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        for (int i = 0; i < MUTATIONS; i++) {
            struct pl_shared *bytes = random_value(PL_SERIAL_JSON, seed, IN_LIST);
            struct pl_value value;
            size_t used;
            json_error_t error;
            mutate(&random, bytes);
            if (!bytes->len || is_odd_to_jansson(value_bytes(bytes))) {
                pl_shared_unref(bytes);
                continue;
            }
            bool is_read = !pl_value_read(PL_SERIAL_JSON, value_bytes(bytes), &value, &used);
            json_t *json = jansson_load(value_bytes(bytes), &error);
            check_that(is_read == (json != NULL) || (is_read && is_beyond_jansson(&error)),
                __FILE__, __LINE__, "%.*s: %s", (int)bytes->len, (const char *)bytes->data,
                json ? "not read" : error.text);
            is_read ? taken++ : refused++;
            json_decref(json);
            bool is_long = bytes->len > 4096;
            pl_shared_unref(bytes);
            if (is_long)
                break;
        }
    }
    CHECK(taken > VALUES && refused > VALUES);
}

TEST(crossing_with_too_little_memory_is_an_error_and_never_another_value)
{
    struct pl_random random = pl_random_seeded(5);
    unsigned failed = 0;
    for (uint64_t seed = 0; seed < VALUES; seed++) {
        enum pl_serializer from = (enum pl_serializer)pl_random_below(&random, 3);
        enum pl_serializer to = (enum pl_serializer)pl_random_below(&random, 3);
        struct pl_shared *bytes = random_value(from, seed, WITH_NATURALS);
        struct pl_shared *expected = random_value(to, seed, WITH_NATURALS), *got = NULL;
        struct pl_value value = value_of(from, value_bytes(bytes));
        pl_alloc_fail((long)pl_random_below(&random, 8), pl_random_below(&random, 2));
        struct pl_writer w = pl_writer_new();
        struct pl_value_writer v = pl_value_writer(&w, to);
        pl_put_value(&v, &value);
        enum pl_err err = pl_writer_take(&w, &got);
        pl_alloc_fail(-1, 0);
        if (err)
            CHECK_EQ(err, PL_NO_MEMORY);
        else
            CHECK(pl_bytes_equal(value_bytes(got), value_bytes(expected)));
        failed += err != PL_OK;
        pl_shared_unref(got);
        pl_shared_unref(bytes);
        pl_shared_unref(expected);
    }
    CHECK(failed > 10);
}
