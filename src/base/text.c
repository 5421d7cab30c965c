#include "base/text.h"

size_t pl_format_decimal(char *out, uint64_t v)
{
    /* Lengths and counts on hot paths are mostly small. */
    if (v < 10) {
        out[0] = (char)('0' + v);
        return 1;
    }
    if (v < 100) {
        out[0] = (char)('0' + v / 10);
        out[1] = (char)('0' + v % 10);
        return 2;
    }
    char digits[PL_DECIMAL_MAX];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

enum pl_err pl_parse_decimal(struct pl_bytes text, uint64_t max, uint64_t *out)
{
    if (!text.len || text.len > PL_DECIMAL_MAX)
        return PL_MALFORMED;
    uint64_t v = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return PL_MALFORMED;
        v = v * 10 + digit;
    }
    if (v > max)
        return PL_MALFORMED;
    *out = v;
    return PL_OK;
}

size_t pl_utf8_next(struct pl_bytes text, uint32_t *out_code)
{
    if (!text.len)
        return 0;
    uint8_t first = text.data[0];
    if (first < 0x80) {
        *out_code = first;
        return 1;
    }
    size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (first < 0xC2 || first > 0xF4 || text.len < n)
        return 0;
    uint32_t code = first & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text.data[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (text.data[i] & 0x3Fu);
    }
    if (code < smallest[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    *out_code = code;
    return n;
}

bool pl_utf8_is_valid(struct pl_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        uint64_t eight;
        if (text.len - i >= 8) {
            memcpy(&eight, text.data + i, 8);
            if (!(eight & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        uint32_t code;
        size_t n = pl_utf8_next(pl_bytes_from(text, i), &code);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

/*
 * state: 0 between characters; else continuation bytes still due in bits 0-1, and in bits 8-15 and
 * 16-23 the lowest and highest value that the next one may have.
 */
bool pl_utf8_feed(uint32_t *state, struct pl_bytes piece)
{
    uint32_t s = *state;
    for (size_t i = 0; i < piece.len; i++) {
        uint8_t c = piece.data[i];
        if (s) {
            uint32_t low = s >> 8 & 0xFF, high = s >> 16 & 0xFF, left = (s & 3) - 1;
            if (c < low || c > high)
                return false;
            s = left ? left | 0x80u << 8 | 0xBFu << 16 : 0;
        } else if (c >= 0x80) {
            uint32_t due = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
            uint32_t low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
            uint32_t high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
            if (c < 0xC2 || c > 0xF4)
                return false;
            s = due | low << 8 | high << 16;
        }
    }
    *state = s;
    return true;
}

int pl_hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void pl_hex_encode(struct pl_bytes in, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        out[2 * i] = digits[in.data[i] >> 4];
        out[2 * i + 1] = digits[in.data[i] & 15];
    }
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static char base64_char(uint32_t v, bool url)
{
    if (v < 62)
        return alphabet[v];
    return v == 62 ? (url ? '-' : '+') : url ? '_' : '/';
}

int pl_base64_value(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

size_t pl_base64_encode(struct pl_bytes in, bool url, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t v = (uint32_t)in.data[i] << 16;
        v |= left > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
        v |= left > 2 ? in.data[i + 2] : 0;
        out[n++] = base64_char(v >> 18, url);
        out[n++] = base64_char(v >> 12 & 63, url);
        if (left > 1)
            out[n++] = base64_char(v >> 6 & 63, url);
        else if (!url)
            out[n++] = '=';
        if (left > 2)
            out[n++] = base64_char(v & 63, url);
        else if (!url)
            out[n++] = '=';
    }
    return n;
}

enum pl_err pl_base64_decode(struct pl_bytes in, bool url, uint8_t *out, size_t *out_len)
{
    size_t len = in.len, pad = 0;
    while (len && pad < 2 && in.data[len - 1] == '=') {
        len--;
        pad++;
    }
    if (len % 4 == 1 || (pad && in.len % 4))
        return PL_MALFORMED;
    size_t n = 0;
    uint32_t v = 0, bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = pl_base64_value(in.data[i], url);
        if (value < 0)
            return PL_MALFORMED;
        v = v << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (uint8_t)(v >> bits);
        }
    }
    if (v & ((1u << bits) - 1))
        return PL_MALFORMED;
    *out_len = n;
    return PL_OK;
}

bool pl_bytes_equal_secret(struct pl_bytes a, struct pl_bytes b)
{
    volatile uint8_t differ = a.len != b.len;
    for (size_t i = 0; i < a.len && b.len; i++)
        differ |= (uint8_t)(a.data[i] ^ b.data[i % b.len]);
    return !differ;
}
