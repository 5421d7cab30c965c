#include "codec/json.h"

#include "base/text.h"

struct cursor {
    const uint8_t *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r' || *c->at == '\n'))
        c->at++;
}

static bool take(struct cursor *c, uint8_t byte)
{
    skip_space(c);
    if (c->at == c->end || *c->at != byte)
        return false;
    c->at++;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool take_escape(struct cursor *c)
{
    if (c->at == c->end)
        return false;
    uint8_t kind = *c->at++;
    if (kind != 'u')
        return kind && strchr("\"\\/bfnrt", kind);
    for (int i = 0; i < 4; i++)
        if (c->at == c->end || pl_hex_value(*c->at++) < 0)
            return false;
    return true;
}

/* The cursor stands behind the opening quote. */
static bool take_string(struct cursor *c, struct pl_bytes *out)
{
    const uint8_t *start = c->at;
    while (c->at < c->end) {
        uint8_t byte = *c->at++;
        if (byte == '"') {
            *out = pl_bytes_of(start, (size_t)(c->at - 1 - start));
            return pl_utf8_is_valid(*out);
        }
        if (byte < 0x20 || (byte == '\\' && !take_escape(c)))
            return false;
    }
    return false;
}

static size_t take_digits(struct cursor *c)
{
    const uint8_t *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return (size_t)(c->at - start);
}

static bool take_number(struct cursor *c)
{
    if (c->at < c->end && *c->at == '-')
        c->at++;
    const uint8_t *first = c->at;
    size_t digits = take_digits(c);
    if (!digits || (digits > 1 && *first == '0'))
        return false;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!take_digits(c))
            return false;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
            c->at++;
        if (!take_digits(c))
            return false;
    }
    return true;
}

static bool take_value(struct cursor *c, unsigned depth, struct pl_json_member *out);

static bool take_name(struct cursor *c, struct pl_bytes *out)
{
    return take(c, '"') && take_string(c, out) && take(c, ':');
}

/* The cursor stands behind the opening bracket. Recursion is bounded by depth. */
static bool take_items(struct cursor *c, unsigned depth, bool is_object)
{
    uint8_t close = is_object ? '}' : ']';
    if (depth == PL_JSON_DEPTH_MAX)
        return false;
    if (take(c, close))
        return true;
    do {
        struct pl_json_member ignored;
        if (is_object && !take_name(c, &ignored.name))
            return false;
        if (!take_value(c, depth + 1, &ignored))
            return false;
    } while (take(c, ','));
    return take(c, close);
}

static bool take_value(struct cursor *c, unsigned depth, struct pl_json_member *out)
{
    skip_space(c);
    if (c->at == c->end)
        return false;
    const uint8_t *start = c->at;
    bool ok;
    switch (*start) {
    case '"':
        c->at++;
        out->kind = PL_JSON_STRING;
        return take_string(c, &out->value);
    case '{':
    case '[':
        c->at++;
        out->kind = *start == '{' ? PL_JSON_OBJECT : PL_JSON_ARRAY;
        ok = take_items(c, depth, *start == '{');
        break;
    case 't':
        out->kind = PL_JSON_TRUE;
        ok = take_word(c, "true");
        break;
    case 'f':
        out->kind = PL_JSON_FALSE;
        ok = take_word(c, "false");
        break;
    case 'n':
        out->kind = PL_JSON_NULL;
        ok = take_word(c, "null");
        break;
    default:
        out->kind = PL_JSON_NUMBER;
        ok = take_number(c);
        break;
    }
    out->value = pl_bytes_of(start, (size_t)(c->at - start));
    return ok;
}

enum pl_err pl_json_each_member(struct pl_bytes text, pl_json_member_fn *fn, void *context)
{
    struct cursor c = {.at = text.data, .end = text.data + text.len};
    if (!text.len || !take(&c, '{'))
        return PL_MALFORMED;
    if (!take(&c, '}')) {
        do {
            struct pl_json_member m;
            if (!take_name(&c, &m.name) || !take_value(&c, 1, &m))
                return PL_MALFORMED;
            enum pl_err err = fn(context, m);
            if (err)
                return err;
        } while (take(&c, ','));
        if (!take(&c, '}'))
            return PL_MALFORMED;
    }
    skip_space(&c);
    return c.at == c.end ? PL_OK : PL_MALFORMED;
}

static uint32_t hex4(const uint8_t *at)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)pl_hex_value(at[i]);
    return v;
}

static size_t put_utf8(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 63));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (code & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (code & 63));
    return 4;
}

size_t pl_json_unescape(struct pl_bytes value, uint8_t *out)
{
    size_t n = 0;
    const uint8_t *at = value.data, *end = value.data + value.len;
    while (at < end) {
        if (*at != '\\') {
            out[n++] = *at++;
            continue;
        }
        static const char kinds[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
        uint8_t kind = at[1];
        at += 2;
        if (kind != 'u') {
            out[n++] = (uint8_t)means[strchr(kinds, kind) - kinds];
            continue;
        }
        uint32_t code = hex4(at);
        at += 4;
        bool high = code >= 0xD800 && code < 0xDC00;
        if (high && end - at >= 6 && at[0] == '\\' && at[1] == 'u' &&
            (hex4(at + 2) >> 10) == 0x37) {
            code = 0x10000 + ((code - 0xD800) << 10) + (hex4(at + 2) - 0xDC00);
            at += 6;
        } else if (code >= 0xD800 && code < 0xE000) {
            code = 0xFFFD;
        }
        n += put_utf8(out + n, code);
    }
    return n;
}

enum pl_err pl_json_integer(struct pl_json_member m, int64_t min, int64_t max, int64_t *out)
{
    bool negative = m.value.len && m.value.data[0] == '-';
    uint64_t v;
    if (m.kind != PL_JSON_NUMBER ||
        pl_parse_decimal(pl_bytes_from(m.value, negative ? 1 : 0), INT64_MAX, &v) != PL_OK)
        return PL_MALFORMED;
    int64_t n = negative ? -(int64_t)v : (int64_t)v;
    if (n < min || n > max)
        return PL_MALFORMED;
    *out = n;
    return PL_OK;
}

/* Bytes from the beginning on that stand in a string as they are. */
static size_t plain_run(struct pl_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        uint64_t word;
        while (text.len - i >= 8) {
            memcpy(&word, text.data + i, 8);
            uint64_t delete = word ^ 0x7F7F7F7F7F7F7F7Fu;
            if (pl_json_marks(word) || ((delete - 0x0101010101010101u) & ~delete))
                break;
            i += 8;
        }
        if (i == text.len)
            break;
        uint8_t byte = text.data[i];
        uint32_t code;
        size_t n = pl_utf8_next(pl_bytes_from(text, i), &code);
        if (!n || byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7F)
            break;
        i += n;
    }
    return i;
}

static void write_escaped(struct pl_writer *w, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    if (byte >= 0x80) {
        pl_write_text(w, "\xEF\xBF\xBD");
    } else if (byte == '"' || byte == '\\') {
        pl_write_u8(w, '\\');
        pl_write_u8(w, byte);
    } else if (byte == '\n') {
        pl_write_text(w, "\\n");
    } else {
        pl_write_text(w, "\\u00");
        pl_write_u8(w, (uint8_t)digits[byte >> 4]);
        pl_write_u8(w, (uint8_t)digits[byte & 15]);
    }
}

void pl_json_write_string(struct pl_writer *w, struct pl_bytes text)
{
    pl_write_u8(w, '"');
    while (text.len) {
        size_t run = plain_run(text);
        pl_write_bytes(w, pl_bytes_of(text.data, run));
        text = pl_bytes_from(text, run);
        if (!text.len)
            break;
        write_escaped(w, text.data[0]);
        text = pl_bytes_from(text, 1);
    }
    pl_write_u8(w, '"');
}
