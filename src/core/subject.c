/*
 * Escapes (DESIGN section 1).
 *
 * Written %, any number of "25", and two upper-case hex digits of a byte that the protocol cannot
 * carry. With no "25" it is that byte; with some it is text that looks like an escape and has one
 * "25" less in the subject. So encode puts one in, decode takes one out, and neither can confuse
 * what the other wrote:
 *
 *     subject     encoded    (NATS)
 *     a b         a%20b
 *     a%20b       a%2520b
 *     a%2520b     a%252520b
 *     a%41        a%41       'A' needs no escape, so this does not look like one
 *
 * Three forms count only if they are a whole token: "%" (an empty one), "%2A" and "%3E".
 *
 * Where invalid UTF-8 is escaped, text such as "%C3%A9" is common in the wild (an URL's é). Encode
 * never writes it, since é is valid; so it need not look like an escape, and is itself: adjacent
 * escapes of 80–FF with equally many "25" that spell one valid character.
 */
#include "core/subject.h"

#include "base/text.h"

/* Where output goes; at NULL counts only. */
struct sink {
    uint8_t *at;
    size_t len;
};

static void put(struct sink *out, uint8_t byte)
{
    if (out->at)
        out->at[out->len] = byte;
    out->len++;
}

static void put_bytes(struct sink *out, struct pl_bytes bytes)
{
    if (out->at && bytes.len)
        memcpy(out->at + out->len, bytes.data, bytes.len);
    out->len += bytes.len;
}

static struct pl_bytes part(struct pl_bytes text, size_t at, size_t len)
{
    return pl_bytes_of(text.data + at, len);
}

static bool is_listed(const struct pl_escape_rules *rules, uint8_t byte)
{
    return rules->bytes[byte / 8] >> byte % 8 & 1;
}

static uint8_t separator_of(const struct pl_escape_rules *rules)
{
    return rules->separator == '/' ? '/' : '.';
}

static uint8_t swapped(const struct pl_escape_rules *rules, uint8_t byte)
{
    if (rules->separator != '/')
        return byte;
    return byte == '/' ? '.' : byte == '.' ? '/' : byte;
}

/* Length of the character at the start of text that the protocol can carry; 0: none. */
static size_t carried_character(const struct pl_escape_rules *rules, struct pl_bytes text)
{
    uint32_t code;
    size_t len = pl_utf8_next(text, &code);
    if (len && rules->c1_and_nonchars &&
        ((code >= 0x80 && code <= 0x9F) || (code >= 0xFDD0 && code <= 0xFDEF) ||
            (code & 0xFFFE) == 0xFFFE))
        return 0;
    return len;
}

/* Number of "25" from at on. */
static size_t count_25(struct pl_bytes text, size_t at)
{
    size_t n = 0;
    while (text.len - at >= 2 && text.data[at] == '2' && text.data[at + 1] == '5') {
        at += 2;
        n++;
    }
    return n;
}

static int upper_hex(uint8_t c)
{
    return c >= 'a' ? -1 : pl_hex_value(c);
}

struct escape {
    size_t len; /* 0: there is none */
    size_t count_25;
    uint8_t byte;
};

static struct escape read_escape(
    const struct pl_escape_rules *rules, struct pl_bytes text, size_t at)
{
    struct escape none = {0};
    if (at >= text.len || text.data[at] != '%')
        return none;
    size_t n = count_25(text, at + 1), hex = at + 1 + 2 * n;
    if (text.len - hex < 2)
        return none;
    int high = upper_hex(text.data[hex]), low = upper_hex(text.data[hex + 1]);
    if (high < 0 || low < 0)
        return none;
    uint8_t byte = (uint8_t)(high << 4 | low);
    if (!is_listed(rules, byte) && !(byte >= 0x80 && rules->invalid_utf8))
        return none;
    return (struct escape){.len = hex + 2 - at, .count_25 = n, .byte = byte};
}

/* The escape at `at` and those behind it spell a character: their length. 0: they do not. */
static size_t spelled_character(
    const struct pl_escape_rules *rules, struct pl_bytes text, size_t at, struct escape first)
{
    if (!rules->invalid_utf8 || first.byte < 0xC2 || first.byte > 0xF4)
        return 0;
    size_t want = first.byte >= 0xF0 ? 4 : first.byte >= 0xE0 ? 3 : 2;
    uint8_t spelled[4] = {first.byte};
    size_t end = at + first.len;
    for (size_t i = 1; i < want; i++) {
        struct escape next = read_escape(rules, text, end);
        if (!next.len || next.count_25 != first.count_25)
            return 0;
        spelled[i] = next.byte;
        end += next.len;
    }
    return carried_character(rules, pl_bytes_of(spelled, want)) == want ? end - at : 0;
}

enum whole { WHOLE_NONE, WHOLE_EMPTY, WHOLE_ANY, WHOLE_REST };

/* Does the token as a whole look like the escape of one? */
static enum whole read_whole(const struct pl_escape_rules *rules, struct pl_bytes token,
    bool empty_is_escaped, size_t *out_count_25)
{
    if (!token.len || token.data[0] != '%')
        return WHOLE_NONE;
    size_t n = count_25(token, 1);
    struct pl_bytes rest = pl_bytes_from(token, 1 + 2 * n);
    *out_count_25 = n;
    if (!rest.len)
        return empty_is_escaped ? WHOLE_EMPTY : WHOLE_NONE;
    if (!rules->wildcard_tokens)
        return WHOLE_NONE;
    if (pl_bytes_equal(rest, PL_BYTES("2A")))
        return WHOLE_ANY;
    return pl_bytes_equal(rest, PL_BYTES("3E")) ? WHOLE_REST : WHOLE_NONE;
}

static void encode_token(const struct pl_escape_rules *rules, struct pl_bytes token,
    bool empty_is_escaped, struct sink *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n;
    if (!token.len) {
        if (empty_is_escaped)
            put(out, '%');
        return;
    }
    if (read_whole(rules, token, empty_is_escaped, &n)) {
        put_bytes(out, PL_BYTES("%25"));
        put_bytes(out, pl_bytes_from(token, 1));
        return;
    }
    if (rules->wildcard_tokens && token.len == 1 && (*token.data == '*' || *token.data == '>')) {
        put_bytes(out, *token.data == '*' ? PL_BYTES("%2A") : PL_BYTES("%3E"));
        return;
    }
    for (size_t i = 0; i < token.len;) {
        uint8_t byte = token.data[i];
        struct escape escape = read_escape(rules, token, i);
        if (escape.len) {
            size_t len = spelled_character(rules, token, i, escape);
            put_bytes(out, len ? PL_BYTES("%") : PL_BYTES("%25"));
            if (!len)
                len = escape.len;
            put_bytes(out, part(token, i + 1, len - 1));
            i += len;
            continue;
        }
        size_t len = 1;
        bool carried = !is_listed(rules, byte);
        if (byte >= 0x80 && rules->invalid_utf8) {
            len = carried_character(rules, pl_bytes_from(token, i));
            carried = len != 0;
        }
        if (!carried) {
            put(out, '%');
            put(out, (uint8_t)digits[byte >> 4]);
            put(out, (uint8_t)digits[byte & 15]);
            i++;
        } else if (len == 1) {
            put(out, swapped(rules, byte));
            i++;
        } else {
            put_bytes(out, part(token, i, len));
            i += len;
        }
    }
}

static enum pl_err decode_token(const struct pl_escape_rules *rules, struct pl_bytes token,
    bool empty_is_escaped, struct sink *out)
{
    size_t n;
    if (!token.len)
        return empty_is_escaped ? PL_BAD_NAME : PL_OK;
    if (rules->wildcard_tokens && token.len == 1 && (*token.data == '*' || *token.data == '>'))
        return PL_BAD_NAME;
    enum whole whole = read_whole(rules, token, empty_is_escaped, &n);
    if (whole && n) {
        put(out, '%');
        put_bytes(out, pl_bytes_from(token, 3));
        return PL_OK;
    }
    if (whole) {
        if (whole != WHOLE_EMPTY)
            put(out, whole == WHOLE_ANY ? '*' : '>');
        return PL_OK;
    }
    for (size_t i = 0; i < token.len;) {
        uint8_t byte = token.data[i];
        struct escape escape = read_escape(rules, token, i);
        if (escape.len) {
            size_t len = spelled_character(rules, token, i, escape);
            if (len) {
                put_bytes(out, part(token, i, len));
            } else if (escape.count_25) {
                put(out, '%');
                put_bytes(out, part(token, i + 3, escape.len - 3));
            } else {
                put(out, escape.byte);
            }
            i += len ? len : escape.len;
            continue;
        }
        if (byte >= 0x80 && rules->invalid_utf8) {
            size_t len = carried_character(rules, pl_bytes_from(token, i));
            if (!len)
                return PL_BAD_NAME;
            put_bytes(out, part(token, i, len));
            i += len;
            continue;
        }
        if (is_listed(rules, byte))
            return PL_BAD_NAME;
        put(out, swapped(rules, byte));
        i++;
    }
    return PL_OK;
}

/* The part of text up to the next separator, and where that stands. */
static struct pl_bytes next_token(struct pl_bytes text, size_t at, uint8_t separator)
{
    struct pl_bytes rest = pl_bytes_from(text, at);
    const uint8_t *end = rest.len ? memchr(rest.data, separator, rest.len) : NULL;
    return pl_bytes_of(rest.data, end ? (size_t)(end - rest.data) : rest.len);
}

/* What a look at each byte tells. */
enum { SCAN_PLAIN, SCAN_SWAP, SCAN_ALL };

/*
 * SCAN_PLAIN: encode and decode change nothing. SCAN_SWAP: they only let separators change places.
 * SCAN_ALL: look closer. Most names are ASCII without anything special, and end here.
 */
static int scan(const struct pl_escape_rules *rules, struct pl_bytes name)
{
    if (!name.len)
        return rules->empty_token || rules->empty_name ? SCAN_ALL : SCAN_PLAIN;
    int found = SCAN_PLAIN;
    bool after_separator = true;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.data[i];
        if (is_listed(rules, byte) || byte == '%' || (byte >= 0x80 && rules->invalid_utf8))
            return SCAN_ALL;
        if (rules->wildcard_tokens && (byte == '*' || byte == '>'))
            return SCAN_ALL;
        bool is_separator = byte == '.' || (byte == '/' && rules->separator == '/');
        if (is_separator && after_separator && rules->empty_token)
            return SCAN_ALL;
        if (is_separator && rules->separator == '/')
            found = SCAN_SWAP;
        after_separator = is_separator;
    }
    return after_separator && rules->empty_token ? SCAN_ALL : found;
}

bool pl_subject_is_plain(const struct pl_escape_rules *rules, struct pl_bytes name)
{
    return scan(rules, name) == SCAN_PLAIN;
}

static enum pl_err swap_all(struct pl_arena *arena, struct pl_bytes in, struct pl_bytes *out)
{
    uint8_t *copy = pl_arena_alloc(arena, in.len);
    if (!copy)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t byte = in.data[i];
        copy[i] = byte == '/' ? '.' : byte == '.' ? '/' : byte;
    }
    *out = pl_bytes_of(copy, in.len);
    return PL_OK;
}

static void encode_all(
    const struct pl_escape_rules *rules, struct pl_bytes name, bool is_name, struct sink *out)
{
    for (size_t at = 0;;) {
        struct pl_bytes token = next_token(name, at, '.');
        bool is_whole_name = is_name && token.len == name.len;
        encode_token(rules, token, rules->empty_token || (rules->empty_name && is_whole_name), out);
        at += token.len;
        if (at >= name.len)
            return;
        put(out, separator_of(rules));
        at++;
    }
}

static enum pl_err encode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes name, bool is_name, struct pl_bytes *out)
{
    int found = scan(rules, name);
    if (found == SCAN_PLAIN) {
        *out = name;
        return PL_OK;
    }
    if (found == SCAN_SWAP)
        return swap_all(arena, name, out);
    /* Once to count, once to write: the longest possible text would be three times the name. */
    struct sink sink = {0};
    encode_all(rules, name, is_name, &sink);
    struct sink writing = {.at = pl_arena_alloc(arena, sink.len)};
    if (!writing.at)
        return PL_NO_MEMORY;
    encode_all(rules, name, is_name, &writing);
    struct pl_bytes text = pl_bytes_of(writing.at, writing.len);
    *out = pl_bytes_equal(text, name) ? name : text;
    return PL_OK;
}

static enum pl_err decode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes text, bool is_name, struct pl_bytes *out)
{
    int found = scan(rules, text);
    if (found == SCAN_PLAIN) {
        *out = text;
        return PL_OK;
    }
    if (found == SCAN_SWAP)
        return swap_all(arena, text, out);
    /* A subject is never longer than its text. */
    struct sink writing = {.at = pl_arena_alloc(arena, text.len)};
    if (!writing.at)
        return PL_NO_MEMORY;
    for (size_t at = 0;;) {
        struct pl_bytes token = next_token(text, at, separator_of(rules));
        bool is_whole_name = is_name && token.len == text.len;
        enum pl_err err = decode_token(
            rules, token, rules->empty_token || (rules->empty_name && is_whole_name), &writing);
        if (err)
            return err;
        at += token.len;
        if (at >= text.len)
            break;
        put(&writing, '.');
        at++;
    }
    struct pl_bytes name = pl_bytes_of(writing.at, writing.len);
    *out = pl_bytes_equal(name, text) ? text : name;
    return PL_OK;
}

enum pl_err pl_subject_encode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes name, struct pl_bytes *out)
{
    return encode(rules, arena, name, true, out);
}

enum pl_err pl_subject_decode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes text, struct pl_bytes *out)
{
    return decode(rules, arena, text, true, out);
}

enum pl_err pl_token_encode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes token, struct pl_bytes *out)
{
    return encode(rules, arena, token, false, out);
}

enum pl_err pl_token_decode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes text, struct pl_bytes *out)
{
    return decode(rules, arena, text, false, out);
}

bool pl_subject_begins(struct pl_bytes name, struct pl_bytes token)
{
    return pl_bytes_starts(name, token) && (name.len == token.len || name.data[token.len] == '.');
}

bool pl_subject_is_reserved(struct pl_bytes name)
{
    return name.len >= 4 && (name.data[0] == '$' || name.data[0] == 'w') &&
           (pl_subject_begins(name, PL_BYTES("$SYS")) || pl_subject_begins(name, PL_BYTES("wamp")));
}

bool pl_subject_is_inbox(struct pl_bytes name)
{
    return pl_bytes_starts(name, PL_BYTES("_INBOX."));
}
