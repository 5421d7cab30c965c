/*
 * MessagePack (specification of 2013: str and bin are distinct). An extension is binary: its type
 * is lost where it must be transcoded, and kept where it passes as it stands.
 */
#include "base/text.h"
#include "codec/value_state.h"

static enum pl_err take(struct pl_scan *s, size_t n, const uint8_t **out)
{
    if (pl_scan_left(s) < n)
        return PL_NEED_MORE;
    *out = s->at;
    s->at += n;
    return PL_OK;
}

static enum pl_err take_size(struct pl_scan *s, size_t size, uint64_t *out)
{
    const uint8_t *at;
    enum pl_err err = take(s, size, &at);
    if (!err)
        *out = pl_read_big(at, size);
    return err;
}

static enum pl_err scan_text(
    struct pl_scan *s, uint64_t len, enum pl_value_kind kind, struct pl_value *out)
{
    const uint8_t *at;
    if (len > pl_scan_left(s))
        return PL_NEED_MORE;
    enum pl_err err = take(s, (size_t)len, &at);
    if (err)
        return err;
    if (kind == PL_VALUE_STRING && !s->is_checked && !pl_is_ascii(at, (size_t)len) &&
        !pl_utf8_is_valid(pl_bytes_of(at, (size_t)len)))
        return PL_MALFORMED;
    if (out) {
        out->kind = (uint8_t)kind;
        out->is_plain = true;
        out->text = pl_bytes_of(at, (size_t)len);
    }
    return PL_OK;
}

/* Of a head: does a list or a dictionary follow? */
static bool has_items(uint8_t head)
{
    return (head >= 0x80 && head < 0xA0) || (head >= 0xDC && head <= 0xDF);
}

/* Behind what most items are, small numbers, truths and short ASCII strings, so that they cost no
 * call each; NULL: it is something else. */
static inline const uint8_t *pass_small(const uint8_t *at, const uint8_t *end, bool is_checked)
{
    if (at == end)
        return NULL;
    uint8_t head = *at;
    if (head < 0x80 || head >= 0xE0 || head == 0xC0 || head == 0xC2 || head == 0xC3)
        return at + 1;
    size_t len = head & 0x1F;
    if ((head & 0xE0) != 0xA0 || (size_t)(end - at) <= len ||
        !(is_checked || pl_is_ascii(at + 1, len)))
        return NULL;
    return at + 1 + len;
}

static enum pl_err scan_items(
    struct pl_scan *s, unsigned depth, uint64_t count, bool is_dict, struct pl_value *out)
{
    const uint8_t *start = s->at;
    uint64_t values = is_dict ? count * 2 : count;
    if (values > pl_scan_left(s))
        return PL_NEED_MORE; /* each takes a byte at least */
    if (s->is_shallow)
        values = 0;
    if (values && depth == PL_VALUE_DEPTH_MAX)
        return PL_MALFORMED;
    for (uint64_t i = 0; i < values; i++) {
        const uint8_t *behind, *at = s->at;
        for (; i < values && (behind = pass_small(at, s->end, s->is_checked)); i++)
            at = behind;
        s->at = at;
        if (i == values)
            break;
        if (is_dict && i % 2 == 0 && s->at < s->end && has_items(*s->at))
            return PL_MALFORMED; /* as a key */
        enum pl_err err = pl_msgpack_scan(s, depth + 1, NULL);
        if (err)
            return err;
    }
    if (out) {
        out->kind = is_dict ? PL_VALUE_DICT : PL_VALUE_LIST;
        out->count = (uint32_t)count;
        out->text = pl_bytes_of(start, (size_t)(s->at - start));
    }
    return PL_OK;
}

static void set_natural(struct pl_value *out, uint64_t v)
{
    if (!out)
        return;
    out->kind = v > INT64_MAX ? PL_VALUE_NATURAL : PL_VALUE_INTEGER;
    out->natural = v;
}

static void set_integer(struct pl_value *out, int64_t v)
{
    if (!out)
        return;
    out->kind = PL_VALUE_INTEGER;
    out->integer = v;
}

static enum pl_err scan_signed(struct pl_scan *s, size_t size, struct pl_value *out)
{
    uint64_t v = 0;
    enum pl_err err = take_size(s, size, &v);
    unsigned shift = 64 - 8 * (unsigned)size;
    if (!err)
        set_integer(out, (int64_t)(v << shift) >> shift);
    return err;
}

static enum pl_err scan_real(struct pl_scan *s, size_t size, struct pl_value *out)
{
    uint64_t bits = 0;
    enum pl_err err = take_size(s, size, &bits);
    if (!err && out) {
        out->kind = PL_VALUE_FLOAT;
        out->real = size == 4 ? pl_real_of_float_bits((uint32_t)bits) : pl_real_of_bits(bits);
    }
    return err;
}

static enum pl_err scan_extension(struct pl_scan *s, uint64_t len, struct pl_value *out)
{
    const uint8_t *type;
    enum pl_err err = take(s, 1, &type);
    return err ? err : scan_text(s, len, PL_VALUE_BINARY, out);
}

/* A head from C0 on. */
static enum pl_err scan_head(struct pl_scan *s, uint8_t head, unsigned depth, struct pl_value *out)
{
    uint64_t n = 0;
    enum pl_err err;
    switch (head) {
    case 0xC0:
        if (out)
            out->kind = PL_VALUE_NULL;
        return PL_OK;
    case 0xC2:
    case 0xC3:
        if (out) {
            out->kind = PL_VALUE_BOOL;
            out->boolean = head & 1;
        }
        return PL_OK;
    case 0xC4:
    case 0xC5:
    case 0xC6:
        err = take_size(s, (size_t)1 << (head - 0xC4), &n);
        return err ? err : scan_text(s, n, PL_VALUE_BINARY, out);
    case 0xC7:
    case 0xC8:
    case 0xC9:
        err = take_size(s, (size_t)1 << (head - 0xC7), &n);
        return err ? err : scan_extension(s, n, out);
    case 0xCA:
    case 0xCB:
        return scan_real(s, (size_t)4 << (head - 0xCA), out);
    case 0xCC:
    case 0xCD:
    case 0xCE:
    case 0xCF:
        err = take_size(s, (size_t)1 << (head - 0xCC), &n);
        if (!err)
            set_natural(out, n);
        return err;
    case 0xD0:
    case 0xD1:
    case 0xD2:
    case 0xD3:
        return scan_signed(s, (size_t)1 << (head - 0xD0), out);
    case 0xD4:
    case 0xD5:
    case 0xD6:
    case 0xD7:
    case 0xD8:
        return scan_extension(s, (uint64_t)1 << (head - 0xD4), out);
    case 0xD9:
    case 0xDA:
    case 0xDB:
        err = take_size(s, (size_t)1 << (head - 0xD9), &n);
        return err ? err : scan_text(s, n, PL_VALUE_STRING, out);
    case 0xDC:
    case 0xDD:
    case 0xDE:
    case 0xDF:
        err = take_size(s, head & 1 ? 4 : 2, &n);
        return err ? err : scan_items(s, depth, n, head >= 0xDE, out);
    default:
        return PL_MALFORMED; /* C1 */
    }
}

enum pl_err pl_msgpack_scan(struct pl_scan *s, unsigned depth, struct pl_value *out)
{
    if (depth > PL_VALUE_DEPTH_MAX)
        return PL_MALFORMED;
    if (s->at == s->end)
        return PL_NEED_MORE;
    const uint8_t *start = s->at;
    uint8_t head = *s->at++;
    enum pl_err err = PL_OK;
    if (head < 0x80)
        set_natural(out, head);
    else if (head < 0xA0)
        err = scan_items(s, depth, head & 0x0F, head < 0x90, out);
    else if (head < 0xC0)
        err = scan_text(s, head & 0x1F, PL_VALUE_STRING, out);
    else if (head >= 0xE0)
        set_integer(out, (int8_t)head);
    else
        err = scan_head(s, head, depth, out);
    if (!err && out) {
        out->serializer = PL_SERIAL_MSGPACK;
        out->raw = pl_bytes_of(start, (size_t)(s->at - start));
    }
    return err;
}

void pl_msgpack_write_list(struct pl_writer *w, uint32_t count, bool is_dict)
{
    if (count < 16) {
        pl_write_u8(w, (uint8_t)((is_dict ? 0x80 : 0x90) | count));
    } else if (count <= UINT16_MAX) {
        pl_write_u8(w, is_dict ? 0xDE : 0xDC);
        pl_write_u16(w, (uint16_t)count);
    } else {
        pl_write_u8(w, is_dict ? 0xDF : 0xDD);
        pl_write_u32(w, count);
    }
}

void pl_msgpack_write_string(struct pl_writer *w, size_t len, bool is_binary)
{
    if (len < 32 && !is_binary) {
        pl_write_u8(w, (uint8_t)(0xA0 | len));
    } else if (len <= UINT8_MAX) {
        pl_write_u8(w, is_binary ? 0xC4 : 0xD9);
        pl_write_u8(w, (uint8_t)len);
    } else if (len <= UINT16_MAX) {
        pl_write_u8(w, is_binary ? 0xC5 : 0xDA);
        pl_write_u16(w, (uint16_t)len);
    } else {
        pl_write_u8(w, is_binary ? 0xC6 : 0xDB);
        pl_write_u32(w, (uint32_t)len);
    }
}

void pl_msgpack_write_natural(struct pl_writer *w, uint64_t v)
{
    if (v < 0x80) {
        pl_write_u8(w, (uint8_t)v);
    } else if (v <= UINT8_MAX) {
        pl_write_u8(w, 0xCC);
        pl_write_u8(w, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        pl_write_u8(w, 0xCD);
        pl_write_u16(w, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        pl_write_u8(w, 0xCE);
        pl_write_u32(w, (uint32_t)v);
    } else {
        pl_write_u8(w, 0xCF);
        pl_write_u64(w, v);
    }
}

void pl_msgpack_write_negative(struct pl_writer *w, int64_t v)
{
    if (v >= -32) {
        pl_write_u8(w, (uint8_t)v);
    } else if (v >= INT8_MIN) {
        pl_write_u8(w, 0xD0);
        pl_write_u8(w, (uint8_t)v);
    } else if (v >= INT16_MIN) {
        pl_write_u8(w, 0xD1);
        pl_write_u16(w, (uint16_t)v);
    } else if (v >= INT32_MIN) {
        pl_write_u8(w, 0xD2);
        pl_write_u32(w, (uint32_t)v);
    } else {
        pl_write_u8(w, 0xD3);
        pl_write_u64(w, (uint64_t)v);
    }
}
