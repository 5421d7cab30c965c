/*
 * JSON (RFC 8259), read in one pass. A string is looked through eight bytes at a time until one of
 * them ends it, escapes, or is not ASCII.
 */
#include <stdlib.h>

#include "base/text.h"
#include "codec/json.h"
#include "codec/value_state.h"

enum { NUMBER_MAX = 400 }; /* characters of a number */

void pl_json_skip_space(struct pl_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

void pl_json_skip_mark(struct pl_scan *s, uint8_t mark)
{
    pl_json_skip_space(s);
    if (s->at < s->end && *s->at == mark)
        s->at++;
}

/* Behind the backslash. */
static enum pl_err scan_escape(struct pl_scan *s)
{
    if (s->at == s->end)
        return PL_NEED_MORE;
    uint8_t kind = *s->at++;
    if (kind != 'u')
        return kind && strchr("\"\\/bfnrt", kind) ? PL_OK : PL_MALFORMED;
    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end)
            return PL_NEED_MORE;
        if (pl_hex_value(*s->at) < 0)
            return PL_MALFORMED;
    }
    return PL_OK;
}

/* Behind the opening quote. */
static enum pl_err scan_string(struct pl_scan *s, struct pl_bytes *out, bool *out_plain)
{
    const uint8_t *start = s->at;
    bool has_escape = false, has_high = false;
    for (;;) {
        uint64_t word;
        while (pl_scan_left(s) >= 8) {
            memcpy(&word, s->at, 8);
            uint64_t found = pl_json_marks(word);
            if (found) {
                s->at += (size_t)__builtin_ctzll(found) / 8;
                break;
            }
            s->at += 8;
        }
        if (s->at == s->end)
            return PL_NEED_MORE;
        uint8_t byte = *s->at++;
        if (byte == '"')
            break;
        if (byte < 0x20)
            return PL_MALFORMED;
        if (byte == '\\') {
            has_escape = true;
            enum pl_err err = scan_escape(s);
            if (err)
                return err;
        }
        has_high |= byte >= 0x80;
    }
    *out = pl_bytes_of(start, (size_t)(s->at - 1 - start));
    *out_plain = !has_escape;
    return !has_high || s->is_checked || pl_utf8_is_valid(*out) ? PL_OK : PL_MALFORMED;
}

static size_t scan_digits(struct pl_scan *s)
{
    const uint8_t *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - start);
}

/* Of what most numbers are: up to 15 digits with a point among them, so that both the digits and
 * the power of ten are exact floats, and their quotient is rounded once. */
static bool read_short_real(const uint8_t *at, size_t len, double *out)
{
    static const double powers[] = {
        1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool is_negative = at[0] == '-';
    size_t i = is_negative, point = len;
    uint64_t digits = 0;
    if (len - i > 16)
        return false;
    for (; i < len; i++) {
        if (at[i] == '.')
            point = i + 1;
        else if (at[i] >= '0' && at[i] <= '9')
            digits = digits * 10 + (at[i] - '0');
        else
            return false;
    }
    if (point == len)
        return false;
    *out = (double)digits / powers[len - point];
    if (is_negative)
        *out = -*out;
    return true;
}

/* The value of a number that is no integer, or too large for one. Beyond all floats: infinity. */
static void read_real(const uint8_t *at, size_t len, struct pl_value *out)
{
    char text[NUMBER_MAX + 1];
    out->kind = PL_VALUE_FLOAT;
    if (read_short_real(at, len, &out->real))
        return;
    memcpy(text, at, len);
    text[len] = '\0';
    out->real = strtod(text, NULL);
}

static enum pl_err scan_number(struct pl_scan *s, struct pl_value *out)
{
    const uint8_t *start = s->at;
    bool is_negative = *s->at == '-', is_whole = true;
    s->at += is_negative;
    const uint8_t *first = s->at;
    size_t digits = scan_digits(s);
    if (!digits)
        return s->at == s->end ? PL_NEED_MORE : PL_MALFORMED;
    if (digits > 1 && *first == '0')
        return PL_MALFORMED;
    struct pl_bytes integer = pl_bytes_of(first, digits);
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        is_whole = false;
        if (!scan_digits(s))
            return s->at == s->end ? PL_NEED_MORE : PL_MALFORMED;
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        is_whole = false;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (!scan_digits(s))
            return s->at == s->end ? PL_NEED_MORE : PL_MALFORMED;
    }
    size_t len = (size_t)(s->at - start);
    if (len > NUMBER_MAX)
        return PL_MALFORMED;
    if (!out)
        return PL_OK;
    uint64_t v;
    uint64_t max = is_negative ? (uint64_t)INT64_MAX + 1 : UINT64_MAX;
    if (!is_whole || pl_parse_decimal(integer, max, &v) || (is_negative && v == 0)) {
        read_real(start, len, out);
        return PL_OK;
    }
    if (!is_negative && v > INT64_MAX) {
        out->kind = PL_VALUE_NATURAL;
        out->natural = v;
        return PL_OK;
    }
    out->kind = PL_VALUE_INTEGER;
    out->integer = is_negative ? (int64_t)(0 - v) : (int64_t)v;
    return PL_OK;
}

static enum pl_err scan_word(struct pl_scan *s, const char *word)
{
    size_t len = strlen(word), left = pl_scan_left(s);
    size_t common = left < len ? left : len;
    if (memcmp(s->at, word, common) != 0)
        return PL_MALFORMED;
    s->at += common;
    return common < len ? PL_NEED_MORE : PL_OK;
}

/* Behind the opening bracket or brace. */
static enum pl_err scan_items(
    struct pl_scan *s, unsigned depth, bool is_dict, uint32_t *out_count, struct pl_bytes *out_text)
{
    if (s->is_shallow) {
        *out_count = UINT32_MAX;
        return PL_OK;
    }
    const uint8_t *start = s->at;
    uint8_t end = is_dict ? '}' : ']';
    uint32_t count = 0;
    for (;;) {
        pl_json_skip_space(s);
        if (s->at == s->end)
            return PL_NEED_MORE;
        if (*s->at == end && !count)
            break;
        if (is_dict) {
            struct pl_bytes key;
            bool is_plain;
            if (*s->at++ != '"')
                return PL_MALFORMED;
            enum pl_err err = scan_string(s, &key, &is_plain);
            if (err)
                return err;
            pl_json_skip_space(s);
            if (s->at == s->end)
                return PL_NEED_MORE;
            if (*s->at++ != ':')
                return PL_MALFORMED;
        }
        enum pl_err err = pl_json_scan(s, depth + 1, NULL);
        if (err)
            return err;
        if (count++ == UINT32_MAX - 1)
            return PL_MALFORMED;
        pl_json_skip_space(s);
        if (s->at == s->end)
            return PL_NEED_MORE;
        if (*s->at == end)
            break;
        if (*s->at++ != ',')
            return PL_MALFORMED;
    }
    *out_text = pl_bytes_of(start, (size_t)(s->at - start));
    *out_count = count;
    s->at++;
    return PL_OK;
}

/* The next character of a string that was checked, its escape resolved; 0: no letter of base64. */
static uint8_t next_letter(struct pl_bytes text, size_t *at)
{
    uint8_t c = text.data[(*at)++];
    if (c != '\\')
        return c;
    c = text.data[(*at)++];
    if (c != 'u')
        return c == '/' ? c : 0;
    const uint8_t *digits = text.data + *at;
    *at += 4;
    if (digits[0] != '0' || digits[1] != '0')
        return 0;
    return (uint8_t)(pl_hex_value(digits[2]) << 4 | pl_hex_value(digits[3]));
}

/* A string that begins with the escape of NUL is binary (WAMP, section "Binary conversion"), if
 * base64 follows that can be decoded. */
static bool is_binary(struct pl_bytes text)
{
    const struct pl_bytes nul = PL_BYTES("\\u0000");
    if (!pl_bytes_starts(text, nul))
        return false;
    size_t digits = 0, pads = 0;
    int value = 0;
    for (size_t i = nul.len; i < text.len;) {
        uint8_t c = next_letter(text, &i);
        if (c == '=') {
            pads++;
            continue;
        }
        value = pl_base64_value(c, false);
        if (pads || value < 0)
            return false;
        digits++;
    }
    bool is_padded = !pads || (pads <= 2 && (digits + pads) % 4 == 0);
    int unused_bits = digits % 4 == 2 ? 0x0F : digits % 4 == 3 ? 0x03 : 0;
    return is_padded && digits % 4 != 1 && !(value & unused_bits);
}

enum pl_err pl_json_scan(struct pl_scan *s, unsigned depth, struct pl_value *out)
{
    struct pl_value unwanted;
    if (depth > PL_VALUE_DEPTH_MAX)
        return PL_MALFORMED;
    pl_json_skip_space(s);
    if (s->at == s->end)
        return PL_NEED_MORE;
    struct pl_value *v = out ? out : &unwanted;
    const uint8_t *start = s->at;
    enum pl_err err;
    switch (*s->at) {
    case '"':
        s->at++;
        err = scan_string(s, &v->text, &v->is_plain);
        v->kind = !err && out && is_binary(v->text) ? PL_VALUE_BINARY : PL_VALUE_STRING;
        break;
    case '[':
    case '{': {
        bool is_dict = *s->at++ == '{';
        v->kind = is_dict ? PL_VALUE_DICT : PL_VALUE_LIST;
        err = scan_items(s, depth, is_dict, &v->count, &v->text);
        break;
    }
    case 't':
    case 'f':
        v->kind = PL_VALUE_BOOL;
        v->boolean = *s->at == 't';
        err = scan_word(s, v->boolean ? "true" : "false");
        break;
    case 'n':
        v->kind = PL_VALUE_NULL;
        err = scan_word(s, "null");
        break;
    default:
        if (*s->at != '-' && (*s->at < '0' || *s->at > '9'))
            return PL_MALFORMED;
        err = scan_number(s, out);
        break;
    }
    v->serializer = PL_SERIAL_JSON;
    v->raw = pl_bytes_of(start, (size_t)(s->at - start));
    return err;
}
