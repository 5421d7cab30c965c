/*
 * Writing and transcoding. put_… take care of commas and counts, emit_… write one value and know
 * nothing of what stands around it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/json.h"
#include "codec/value_state.h"

enum { CBOR_NATURAL, CBOR_NEGATIVE, CBOR_BYTES, CBOR_TEXT, CBOR_LIST, CBOR_MAP };

struct pl_value_writer pl_value_writer(struct pl_writer *w, enum pl_serializer serializer)
{
    struct pl_value_writer v;
    v.w = w;
    v.serializer = (uint8_t)serializer;
    v.depth = 0;
    v.after_key = false;
    return v;
}

/* Before each value: counts it, and separates it from the one before. */
static void begin_value(struct pl_value_writer *v)
{
    if (v->after_key) {
        v->after_key = false;
        return;
    }
    if (!v->depth)
        return;
    if (v->open[v->depth - 1].count++ && v->serializer == PL_SERIAL_JSON)
        pl_write_u8(v->w, ',');
}

/* count UINT32_MAX: unknown, for close_items to tell. */
static void write_head(struct pl_writer *w, uint8_t serializer, uint32_t count, bool is_dict)
{
    static const uint8_t marks[PL_SERIAL_COUNT][2] = {{'[', '{'}, {0x90, 0x80}, {0x80, 0xA0}};
    if (serializer == PL_SERIAL_JSON || count == UINT32_MAX)
        pl_write_u8(w, marks[serializer][is_dict]);
    else if (serializer == PL_SERIAL_MSGPACK)
        pl_msgpack_write_list(w, count, is_dict);
    else
        pl_cbor_write_head(w, is_dict ? CBOR_MAP : CBOR_LIST, count);
}

static void open_one(struct pl_value_writer *v, bool is_dict)
{
    begin_value(v);
    if (v->depth == PL_PUT_DEPTH_MAX) {
        v->w->err = v->w->err ? v->w->err : PL_LIMIT;
        return;
    }
    v->open[v->depth].at = v->w->len;
    v->open[v->depth].count = 0;
    v->open[v->depth].is_dict = is_dict;
    v->depth++;
    write_head(v->w, v->serializer, UINT32_MAX, is_dict);
}

void pl_put_list(struct pl_value_writer *v)
{
    open_one(v, false);
}

void pl_put_dict(struct pl_value_writer *v)
{
    open_one(v, true);
}

/* Room for a head that outgrew its byte. */
static uint8_t *widen_head(struct pl_writer *w, size_t at, size_t more)
{
    size_t behind = w->len - at - 1;
    if (!pl_writer_room(w, more))
        return NULL;
    uint8_t *head = w->data + at;
    memmove(head + 1 + more, head + 1, behind);
    return head;
}

static void store_big(uint8_t *at, size_t size, uint32_t v)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(v >> 8 * (size - 1 - i));
}

static void close_msgpack(struct pl_writer *w, size_t at, uint32_t count, bool is_dict)
{
    if (count < 16) {
        w->data[at] |= (uint8_t)count;
        return;
    }
    size_t size = count <= UINT16_MAX ? 2 : 4;
    uint8_t *head = widen_head(w, at, size);
    if (!head)
        return;
    head[0] = (uint8_t)((is_dict ? 0xDE : 0xDC) + (size == 4));
    store_big(head + 1, size, count);
}

static void close_cbor(struct pl_writer *w, size_t at, uint32_t count)
{
    if (count < 24) {
        w->data[at] |= (uint8_t)count;
        return;
    }
    size_t size = count <= UINT8_MAX ? 1 : count <= UINT16_MAX ? 2 : 4;
    uint8_t *head = widen_head(w, at, size);
    if (!head)
        return;
    head[0] |= size == 1 ? 24 : size == 2 ? 25 : 26;
    store_big(head + 1, size, count);
}

/* Behind the last item of what was opened at `at`. */
static void close_items(
    struct pl_writer *w, uint8_t serializer, size_t at, uint32_t count, bool is_dict)
{
    if (w->err)
        return;
    if (serializer == PL_SERIAL_JSON)
        pl_write_u8(w, is_dict ? '}' : ']');
    else if (serializer == PL_SERIAL_MSGPACK)
        close_msgpack(w, at, count, is_dict);
    else
        close_cbor(w, at, count);
}

void pl_put_end(struct pl_value_writer *v)
{
    if (v->w->err || !v->depth)
        return;
    v->depth--;
    close_items(v->w, v->serializer, v->open[v->depth].at, v->open[v->depth].count,
        v->open[v->depth].is_dict);
}

/* ---- One value ---- */

static void emit_null(struct pl_writer *w, uint8_t serializer)
{
    if (serializer == PL_SERIAL_JSON)
        pl_write_text(w, "null");
    else
        pl_write_u8(w, serializer == PL_SERIAL_MSGPACK ? 0xC0 : 0xF6);
}

static void emit_bool(struct pl_writer *w, uint8_t serializer, bool value)
{
    if (serializer == PL_SERIAL_JSON)
        pl_write_text(w, value ? "true" : "false");
    else
        pl_write_u8(w, (uint8_t)((serializer == PL_SERIAL_MSGPACK ? 0xC2 : 0xF4) + value));
}

static void emit_natural(struct pl_writer *w, uint8_t serializer, uint64_t value)
{
    if (serializer == PL_SERIAL_JSON)
        pl_write_decimal(w, value);
    else if (serializer == PL_SERIAL_MSGPACK)
        pl_msgpack_write_natural(w, value);
    else
        pl_cbor_write_head(w, CBOR_NATURAL, value);
}

static void emit_integer(struct pl_writer *w, uint8_t serializer, int64_t value)
{
    if (value >= 0) {
        emit_natural(w, serializer, (uint64_t)value);
    } else if (serializer == PL_SERIAL_JSON) {
        pl_write_u8(w, '-');
        pl_write_decimal(w, 0 - (uint64_t)value);
    } else if (serializer == PL_SERIAL_MSGPACK) {
        pl_msgpack_write_negative(w, value);
    } else {
        pl_cbor_write_head(w, CBOR_NEGATIVE, (uint64_t)(-1 - value));
    }
}

/*
 * What most numbers of sensors and prices are: a whole number below 2^53 with up to 6 decimals. The
 * quotient of two exact floats is rounded as a reader rounds the decimal, so it is read back.
 */
static bool emit_short_real(struct pl_writer *w, double value)
{
    static const double powers[] = {10, 100, 1000, 1e4, 1e5, 1e6};
    double size = fabs(value);
    if (!(size >= 1e-3 && size < 1e9))
        return false;
    for (unsigned decimals = 1; decimals <= 6; decimals++) {
        double power = powers[decimals - 1], scaled = nearbyint(size * power);
        if (scaled / power != size)
            continue;
        uint64_t whole = (uint64_t)scaled / (uint64_t)power;
        uint64_t rest = (uint64_t)scaled % (uint64_t)power;
        char digits[6];
        for (unsigned i = decimals; i; i--, rest /= 10)
            digits[i - 1] = (char)('0' + rest % 10);
        if (value < 0)
            pl_write_u8(w, '-');
        pl_write_decimal(w, whole);
        pl_write_u8(w, '.');
        pl_write_bytes(w, pl_bytes_of(digits, decimals));
        return true;
    }
    return false;
}

/* The shortest digits that are read back as this number, and never as an integer. */
static void emit_json_real(struct pl_writer *w, double value)
{
    char text[40];
    if (!isfinite(value)) {
        pl_write_text(w, "null");
        return;
    }
    if (emit_short_real(w, value))
        return;
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    pl_write_text(w, text);
    if (!strpbrk(text, ".e"))
        pl_write_text(w, ".0");
}

static void emit_real(struct pl_writer *w, uint8_t serializer, double value)
{
    if (serializer == PL_SERIAL_JSON) {
        emit_json_real(w, value);
        return;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    pl_write_u8(w, serializer == PL_SERIAL_MSGPACK ? 0xCB : 0xFB);
    pl_write_u64(w, bits);
}

static void emit_string_head(struct pl_writer *w, uint8_t serializer, size_t len, bool is_binary)
{
    if (serializer == PL_SERIAL_MSGPACK)
        pl_msgpack_write_string(w, len, is_binary);
    else
        pl_cbor_write_head(w, is_binary ? CBOR_BYTES : CBOR_TEXT, len);
}

/* Bytes that are no UTF-8, each as U+FFFD. */
static void emit_mended(struct pl_writer *w, uint8_t serializer, struct pl_bytes text)
{
    size_t len = 0, n;
    uint32_t code;
    for (size_t i = 0; i < text.len; i += n ? n : 1) {
        n = pl_utf8_next(pl_bytes_from(text, i), &code);
        len += n ? n : 3;
    }
    emit_string_head(w, serializer, len, false);
    for (size_t i = 0; i < text.len; i += n ? n : 1) {
        n = pl_utf8_next(pl_bytes_from(text, i), &code);
        pl_write_bytes(w, n ? pl_bytes_of(text.data + i, n) : PL_BYTES("\xEF\xBF\xBD"));
    }
}

static void emit_string(struct pl_writer *w, uint8_t serializer, struct pl_bytes text)
{
    if (serializer == PL_SERIAL_JSON) {
        pl_json_write_string(w, text);
    } else if (pl_is_ascii(text.data, text.len) || pl_utf8_is_valid(text)) {
        emit_string_head(w, serializer, text.len, false);
        pl_write_bytes(w, text);
    } else {
        emit_mended(w, serializer, text);
    }
}

static void emit_binary(struct pl_writer *w, uint8_t serializer, struct pl_bytes bytes)
{
    if (serializer != PL_SERIAL_JSON) {
        emit_string_head(w, serializer, bytes.len, true);
        pl_write_bytes(w, bytes);
        return;
    }
    pl_write_text(w, "\"\\u0000");
    uint8_t *at = bytes.len ? pl_writer_room(w, 4 * ((bytes.len + 2) / 3)) : NULL;
    if (at)
        (void)pl_base64_encode(bytes, false, (char *)at);
    pl_write_u8(w, '"');
}

void pl_put_key_bytes(struct pl_value_writer *v, struct pl_bytes key)
{
    begin_value(v);
    emit_string(v->w, v->serializer, key);
    if (v->serializer == PL_SERIAL_JSON)
        pl_write_u8(v->w, ':');
    v->after_key = true;
}

void pl_put_key(struct pl_value_writer *v, const char *key)
{
    pl_put_key_bytes(v, pl_bytes_text(key));
}

void pl_put_null(struct pl_value_writer *v)
{
    begin_value(v);
    emit_null(v->w, v->serializer);
}

void pl_put_bool(struct pl_value_writer *v, bool value)
{
    begin_value(v);
    emit_bool(v->w, v->serializer, value);
}

void pl_put_natural(struct pl_value_writer *v, uint64_t value)
{
    begin_value(v);
    emit_natural(v->w, v->serializer, value);
}

void pl_put_integer(struct pl_value_writer *v, int64_t value)
{
    begin_value(v);
    emit_integer(v->w, v->serializer, value);
}

void pl_put_float(struct pl_value_writer *v, double value)
{
    begin_value(v);
    emit_real(v->w, v->serializer, value);
}

void pl_put_string(struct pl_value_writer *v, struct pl_bytes text)
{
    begin_value(v);
    emit_string(v->w, v->serializer, text);
}

void pl_put_text(struct pl_value_writer *v, const char *text)
{
    pl_put_string(v, pl_bytes_text(text));
}

void pl_put_binary(struct pl_value_writer *v, struct pl_bytes bytes)
{
    begin_value(v);
    emit_binary(v->w, v->serializer, bytes);
}

/*
 * ---- From one serializer to another ----
 *
 * One pass over what was checked before, whatever its depth: lists and dictionaries are entered,
 * and where only their end tells their count, the head is made wider at the end.
 */

struct crossing {
    struct pl_writer *w;
    struct pl_scan from;
    struct pl_arena arena; /* for one string at a time */
    uint8_t from_serializer, serializer;
};

/* What was checked before ended too early: a bug of ours, and no reason to loop. */
static void fail(struct crossing *c, enum pl_err err)
{
    c->w->err = c->w->err ? c->w->err : err;
}

static void cross_text(struct crossing *c, const struct pl_value *value)
{
    struct pl_bytes text;
    enum pl_err err = pl_value_text(value, &c->arena, &text);
    if (err)
        fail(c, err);
    else if (value->kind == PL_VALUE_BINARY)
        emit_binary(c->w, c->serializer, text);
    else
        emit_string(c->w, c->serializer, text);
    pl_arena_reset(&c->arena);
}

static void cross_scalar(struct crossing *c, const struct pl_value *value)
{
    switch ((enum pl_value_kind)value->kind) {
    case PL_VALUE_NULL:
        emit_null(c->w, c->serializer);
        return;
    case PL_VALUE_BOOL:
        emit_bool(c->w, c->serializer, value->boolean);
        return;
    case PL_VALUE_INTEGER:
        emit_integer(c->w, c->serializer, value->integer);
        return;
    case PL_VALUE_NATURAL:
        emit_natural(c->w, c->serializer, value->natural);
        return;
    case PL_VALUE_FLOAT:
        emit_real(c->w, c->serializer, value->real);
        return;
    case PL_VALUE_STRING:
    case PL_VALUE_BINARY:
        cross_text(c, value);
        return;
    case PL_VALUE_LIST:
    case PL_VALUE_DICT:
        return;
    }
}

/* JSON's keys are strings: what other scalars look like there becomes one. */
static void cross_key(struct crossing *c)
{
    struct pl_value key;
    enum pl_err err = pl_value_scan(c->from_serializer, &c->from, 0, &key);
    if (err || pl_value_has_items(&key)) {
        fail(c, err ? err : PL_MALFORMED);
        return;
    }
    bool is_json = c->serializer == PL_SERIAL_JSON;
    bool is_quoted = is_json && key.kind != PL_VALUE_STRING && key.kind != PL_VALUE_BINARY;
    if (is_quoted)
        pl_write_u8(c->w, '"');
    cross_scalar(c, &key);
    if (is_json)
        pl_write_text(c->w, is_quoted ? "\":" : ":");
    if (c->from_serializer == PL_SERIAL_JSON)
        pl_json_skip_mark(&c->from, ':');
}

/* Is there another item? Where the count is unknown, the mark of the end is taken. */
static bool has_another(struct crossing *c, uint32_t count, uint32_t done)
{
    struct pl_scan *s = &c->from;
    if (c->w->err || count != UINT32_MAX)
        return !c->w->err && done < count;
    if (c->from_serializer == PL_SERIAL_JSON)
        pl_json_skip_mark(s, ',');
    if (c->from_serializer == PL_SERIAL_JSON)
        pl_json_skip_space(s);
    if (s->at == s->end) {
        fail(c, PL_MALFORMED);
        return false;
    }
    bool is_end = *s->at == (c->from_serializer == PL_SERIAL_CBOR ? 0xFF : ']') ||
                  (c->from_serializer == PL_SERIAL_JSON && *s->at == '}');
    s->at += is_end;
    return !is_end;
}

/* The depth of recursion is that of the value, which was bounded when it was read. */
static void cross(struct crossing *c)
{
    struct pl_value value;
    c->from.is_shallow = true;
    enum pl_err err = pl_value_scan(c->from_serializer, &c->from, 0, &value);
    if (err) {
        fail(c, err);
        return;
    }
    if (!pl_value_has_items(&value)) {
        cross_scalar(c, &value);
        return;
    }
    bool is_dict = value.kind == PL_VALUE_DICT, is_json = c->serializer == PL_SERIAL_JSON;
    size_t at = c->w->len;
    uint32_t done = 0;
    write_head(c->w, c->serializer, value.count, is_dict);
    for (; has_another(c, value.count, done); done++) {
        if (is_json && done)
            pl_write_u8(c->w, ',');
        if (is_dict)
            cross_key(c);
        if (!c->w->err)
            cross(c);
    }
    if (is_json || value.count == UINT32_MAX)
        close_items(c->w, c->serializer, at, done, is_dict);
}

void pl_put_value(struct pl_value_writer *v, const struct pl_value *value)
{
    begin_value(v);
    if (value->serializer == v->serializer) {
        pl_write_bytes(v->w, value->raw);
        return;
    }
    struct crossing c = {
        .w = v->w,
        .from = {.at = value->raw.data,
            .end = value->raw.data + value->raw.len,
            .is_checked = true},
        .from_serializer = value->serializer,
        .serializer = v->serializer,
    };
    cross(&c);
    pl_arena_done(&c.arena);
}
