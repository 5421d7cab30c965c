/*
 * CBOR (RFC 8949). Tags are skipped, and kept where the value passes as it stands; strings, lists
 * and maps may be of indefinite length.
 */
#include <math.h>

#include "base/text.h"
#include "codec/value_state.h"

enum major { NATURAL, NEGATIVE, BYTES, TEXT, LIST, MAP, TAG, SIMPLE };
enum { INDEFINITE = 31, BREAK = 0xFF };

/* The argument of a head; *out_indefinite where there is none. */
static enum pl_err take_argument(
    struct pl_scan *s, uint8_t head, uint64_t *out, bool *out_indefinite)
{
    uint8_t info = head & 0x1F;
    *out_indefinite = info == INDEFINITE;
    *out = info;
    if (info < 24 || info == INDEFINITE)
        return PL_OK;
    if (info > 27)
        return PL_MALFORMED;
    size_t size = (size_t)1 << (info - 24);
    if (pl_scan_left(s) < size)
        return PL_NEED_MORE;
    *out = pl_read_big(s->at, size);
    s->at += size;
    return PL_OK;
}

static enum pl_err check_text(const struct pl_scan *s, uint8_t major, const uint8_t *at, size_t len)
{
    return major == BYTES || s->is_checked || pl_is_ascii(at, len) ||
                   pl_utf8_is_valid(pl_bytes_of(at, len))
               ? PL_OK
               : PL_MALFORMED;
}

static enum pl_err scan_chunk(struct pl_scan *s, uint8_t major, uint64_t len)
{
    if (len > pl_scan_left(s))
        return PL_NEED_MORE;
    const uint8_t *at = s->at;
    s->at += len;
    return check_text(s, major, at, (size_t)len);
}

/* The chunks of an indefinite string, up to its break. */
static enum pl_err scan_chunks(struct pl_scan *s, uint8_t major)
{
    for (;;) {
        if (s->at == s->end)
            return PL_NEED_MORE;
        uint8_t head = *s->at++;
        if (head == BREAK)
            return PL_OK;
        uint64_t len;
        bool is_indefinite;
        enum pl_err err = take_argument(s, head, &len, &is_indefinite);
        if (!err && (head >> 5 != major || is_indefinite))
            err = PL_MALFORMED;
        if (!err)
            err = scan_chunk(s, major, len);
        if (err)
            return err;
    }
}

static enum pl_err scan_string(
    struct pl_scan *s, uint8_t major, uint64_t len, bool is_indefinite, struct pl_value *out)
{
    const uint8_t *start = s->at;
    enum pl_err err = is_indefinite ? scan_chunks(s, major) : scan_chunk(s, major, len);
    if (!err && out) {
        out->kind = major == BYTES ? PL_VALUE_BINARY : PL_VALUE_STRING;
        out->is_plain = !is_indefinite;
        out->text = pl_bytes_of(start, (size_t)(s->at - start) - is_indefinite);
    }
    return err;
}

static enum pl_err scan_items(struct pl_scan *s, unsigned depth, bool is_map, uint64_t count,
    bool is_indefinite, struct pl_value *out)
{
    const uint8_t *start = s->at;
    uint64_t values = 0;
    struct pl_value key;
    if (!is_indefinite && (count > pl_scan_left(s) || count * (is_map ? 2 : 1) > pl_scan_left(s)))
        return PL_NEED_MORE; /* each takes a byte at least */
    if (s->is_shallow) {
        out->kind = is_map ? PL_VALUE_DICT : PL_VALUE_LIST;
        out->count = is_indefinite ? UINT32_MAX : (uint32_t)count;
        return PL_OK;
    }
    for (; is_indefinite || values < count * (is_map ? 2 : 1); values++) {
        if (is_indefinite && s->at == s->end)
            return PL_NEED_MORE;
        if (is_indefinite && *s->at == BREAK)
            break;
        bool is_key = is_map && values % 2 == 0;
        enum pl_err err = pl_cbor_scan(s, depth + 1, is_key ? &key : NULL);
        if (!err && is_key && pl_value_has_items(&key))
            err = PL_MALFORMED;
        if (err)
            return err;
    }
    if (is_map && values % 2)
        return PL_MALFORMED;
    if (out) {
        out->kind = is_map ? PL_VALUE_DICT : PL_VALUE_LIST;
        out->count = (uint32_t)(is_map ? values / 2 : values);
        out->text = pl_bytes_of(start, (size_t)(s->at - start));
    }
    s->at += is_indefinite;
    return PL_OK;
}

static double half(uint64_t bits)
{
    int exponent = (int)(bits >> 10 & 0x1F);
    double fraction = (double)(bits & 0x3FF);
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                : ldexp(fraction + 1024, exponent - 25);
    return bits & 0x8000 ? -v : v;
}

static enum pl_err set_simple(uint8_t info, uint64_t n, struct pl_value *out)
{
    struct pl_value unwanted;
    struct pl_value *v = out ? out : &unwanted;
    switch (info) {
    case 20:
    case 21:
        v->kind = PL_VALUE_BOOL;
        v->boolean = info == 21;
        return PL_OK;
    case 22:
    case 23: /* undefined */
        v->kind = PL_VALUE_NULL;
        return PL_OK;
    case 25:
        v->real = half(n);
        break;
    case 26:
        v->real = pl_real_of_float_bits((uint32_t)n);
        break;
    case 27:
        v->real = pl_real_of_bits(n);
        break;
    default:
        return PL_MALFORMED;
    }
    v->kind = PL_VALUE_FLOAT;
    return PL_OK;
}

static void set_number(bool is_negative, uint64_t n, struct pl_value *out)
{
    if (!out)
        return;
    out->kind = PL_VALUE_INTEGER;
    if (!is_negative) {
        out->kind = n > INT64_MAX ? PL_VALUE_NATURAL : PL_VALUE_INTEGER;
        out->natural = n;
    } else if (n <= INT64_MAX) {
        out->integer = -1 - (int64_t)n;
    } else {
        out->kind = PL_VALUE_FLOAT;
        out->real = -1.0 - (double)n;
    }
}

enum pl_err pl_cbor_scan(struct pl_scan *s, unsigned depth, struct pl_value *out)
{
    const uint8_t *start = s->at;
    uint8_t head, major;
    uint64_t n;
    bool is_indefinite;
    do { /* tags, as many as there are */
        if (depth > PL_VALUE_DEPTH_MAX)
            return PL_MALFORMED;
        if (s->at == s->end)
            return PL_NEED_MORE;
        head = *s->at++;
        major = head >> 5;
        enum pl_err err = take_argument(s, head, &n, &is_indefinite);
        if (err)
            return err;
        if (is_indefinite && (major < BYTES || major > MAP))
            return PL_MALFORMED;
        depth += major == TAG;
    } while (major == TAG);
    enum pl_err err = PL_OK;
    switch ((enum major)major) {
    case NATURAL:
    case NEGATIVE:
        set_number(major == NEGATIVE, n, out);
        break;
    case BYTES:
    case TEXT:
        err = scan_string(s, major, n, is_indefinite, out);
        break;
    case LIST:
    case MAP:
        err = scan_items(s, depth, major == MAP, n, is_indefinite, out);
        break;
    case TAG:
        break;
    case SIMPLE:
        err = set_simple(head & 0x1F, n, out);
        break;
    }
    if (!err && out) {
        out->serializer = PL_SERIAL_CBOR;
        out->raw = pl_bytes_of(start, (size_t)(s->at - start));
    }
    return err;
}

size_t pl_cbor_join(struct pl_bytes text, uint8_t *out)
{
    struct pl_scan s = {.at = text.data, .end = text.data + text.len, .is_checked = true};
    size_t n = 0;
    while (s.at < s.end) {
        uint8_t head = *s.at++;
        uint64_t len;
        bool is_indefinite;
        if (take_argument(&s, head, &len, &is_indefinite) || len > pl_scan_left(&s))
            break;
        memcpy(out + n, s.at, (size_t)len);
        n += (size_t)len;
        s.at += len;
    }
    return n;
}

void pl_cbor_write_head(struct pl_writer *w, uint8_t major, uint64_t v)
{
    uint8_t head = (uint8_t)(major << 5);
    if (v < 24) {
        pl_write_u8(w, (uint8_t)(head | v));
    } else if (v <= UINT8_MAX) {
        pl_write_u8(w, head | 24);
        pl_write_u8(w, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        pl_write_u8(w, head | 25);
        pl_write_u16(w, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        pl_write_u8(w, head | 26);
        pl_write_u32(w, (uint32_t)v);
    } else {
        pl_write_u8(w, head | 27);
        pl_write_u64(w, v);
    }
}
