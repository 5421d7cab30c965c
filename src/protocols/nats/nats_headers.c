/*
 * Header block ↔ properties of a message.
 *
 *     NATS/1.0 503 text         the header "Nats-Status", if it is the first
 *     Content-Type: …           content type
 *     Correlation-Data: …       correlation, where it is printable ASCII
 *     Correlation-Data-Base64:  correlation, where it is not
 *     Nats-TTL: 90 or 1m30s     expiry; written in seconds, rounded up
 *     Nats-Service-Error: …     it is an error; also a header in the list, as it came. So is
 *     Nats-Service-Error-Code:  with its code alone
 *     Parley-Progress: true     more answers follow; the same
 *     anything else             the list of headers, in its order
 *
 * Names are told apart by case, as NATS' clients do. Headers of other protocols can hold what a
 * line cannot: these bytes are escaped as in names, so no header can forge another one.
 */
#include "protocols/nats/nats_session.h"

#include "base/text.h"

static const struct pl_escape_rules name_rules = {
    .bytes = {[1] = 0x24, [7] = 0x04}, /* 0A 0D, ':' */
    .empty_token = true,
    .separator = '.',
};

static const struct pl_escape_rules value_rules = {
    .bytes = {[1] = 0x24}, /* 0A 0D */
    .separator = '.',
};

#define STATUS             "Nats-Status"
#define CONTENT_TYPE       "Content-Type"
#define CORRELATION        "Correlation-Data"
#define CORRELATION_BASE64 "Correlation-Data-Base64"
#define TTL                "Nats-TTL"
#define ERROR              "Nats-Service-Error"
#define ERROR_CODE         "Nats-Service-Error-Code"
#define PROGRESS           "Parley-Progress"

/* text, its escapes resolved; as it is if that is not possible. */
static enum pl_err unescape(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes text, struct pl_bytes *out)
{
    *out = text;
    if (!text.len || !memchr(text.data, '%', text.len))
        return PL_OK;
    enum pl_err err = pl_token_decode(rules, arena, text, out);
    if (err == PL_BAD_NAME) {
        *out = text;
        err = PL_OK;
    }
    return err;
}

static const struct unit {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"m", 60000000000},
    {"h", 3600000000000},
};

/* Takes a unit off the text; 0: none there. */
static uint64_t take_unit(struct pl_bytes *text)
{
    size_t len = 0;
    while (len < text->len && text->data[len] >= 'a' && text->data[len] <= 'z')
        len++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (pl_bytes_equal(pl_bytes_of(text->data, len), pl_bytes_text(units[i].name))) {
            *text = pl_bytes_from(*text, len);
            return units[i].ns;
        }
    return 0;
}

/* Whole seconds, or a duration as Go writes it ("1m30s"; no fractions). Rounds up to ms. */
static bool read_ttl(struct pl_bytes text, uint64_t *out_ms)
{
    enum { DIGITS_MAX = 9 };
    uint64_t seconds, total_ns = 0;
    if (text.len <= DIGITS_MAX && pl_parse_decimal(text, UINT32_MAX, &seconds) == PL_OK) {
        *out_ms = seconds * 1000;
        return seconds > 0;
    }
    while (text.len) {
        size_t digits = 0;
        while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
            digits++;
        uint64_t v;
        if (digits > DIGITS_MAX || pl_parse_decimal(pl_bytes_of(text.data, digits), UINT32_MAX, &v))
            return false;
        text = pl_bytes_from(text, digits);
        uint64_t ns = take_unit(&text);
        if (!ns || v > (UINT64_MAX / 2 - total_ns) / ns)
            return false;
        total_ns += v * ns;
    }
    *out_ms = (total_ns + 999999) / 1000000;
    return total_ns > 0;
}

static enum pl_err read_base64(struct pl_arena *arena, struct pl_bytes text, struct pl_bytes *out)
{
    uint8_t *memory = pl_arena_alloc(arena, 3 * (text.len / 4) + 3);
    if (!memory)
        return PL_NO_MEMORY;
    size_t len;
    enum pl_err err = pl_base64_decode(text, false, memory, &len);
    if (!err)
        *out = pl_bytes_of(memory, len);
    return err;
}

/* True: the header is one that has a place of its own, and the place was free. */
static bool take_property(struct pl_properties *p, struct pl_bytes name, struct pl_bytes value,
    uint64_t now_ms, struct pl_arena *arena)
{
    uint64_t ttl_ms;
    if (!value.len)
        return false;
    if (!p->content_type.len && pl_bytes_equal(name, PL_BYTES(CONTENT_TYPE))) {
        p->content_type = value;
        return true;
    }
    if (!p->correlation.len && pl_bytes_equal(name, PL_BYTES(CORRELATION))) {
        p->correlation = value;
        return true;
    }
    if (!p->correlation.len && pl_bytes_equal(name, PL_BYTES(CORRELATION_BASE64)))
        return read_base64(arena, value, &p->correlation) == PL_OK;
    if (p->expires_ms == PL_NEVER && pl_bytes_equal(name, PL_BYTES(TTL)) &&
        read_ttl(value, &ttl_ms)) {
        p->expires_ms = now_ms + ttl_ms;
        return true;
    }
    return false;
}

/* What an answer says of itself. The headers stay, so that they come through as they were. A
 * service may give its error a code and no words. */
static void note_answer(struct pl_properties *p, struct pl_bytes name, struct pl_bytes value)
{
    static const char nameless[] = "wamp.error.runtime_error";
    bool is_nameless = p->error.data == (const uint8_t *)nameless;
    if (pl_bytes_equal(name, PL_BYTES(ERROR)) && value.len && (!p->error.len || is_nameless))
        p->error = value;
    else if (pl_bytes_equal(name, PL_BYTES(ERROR_CODE)) && value.len && !p->error.len)
        p->error = pl_bytes_of(nameless, sizeof nameless - 1);
    else if (pl_bytes_equal(name, PL_BYTES(PROGRESS)))
        p->is_progress = pl_bytes_equal(value, PL_BYTES("true"));
}

static size_t count_lines(struct pl_bytes block)
{
    size_t count = 0;
    const uint8_t *at = block.data, *end = block.data + block.len;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        count++;
        at++;
    }
    return count;
}

enum pl_err nats_headers_decode(struct pl_bytes block, uint64_t now_ms, struct pl_arena *arena,
    const struct pl_properties **out)
{
    struct pl_nats_head head;
    struct pl_bytes status, name, value;
    if (pl_nats_head_begin(&head, block, &status) != PL_OK)
        return PL_MALFORMED;
    /* Room for a header per line, the status line counted among them. */
    size_t room = count_lines(block) + 1;
    if (room > NATS_HEADERS_MAX + 3)
        return PL_MALFORMED;
    struct pl_properties *p = pl_arena_zalloc(arena, sizeof *p);
    struct pl_header *headers = pl_arena_alloc(arena, room * sizeof *headers);
    if (!p || !headers)
        return PL_NO_MEMORY;
    p->expires_ms = PL_NEVER;
    p->headers = headers;
    if (status.len)
        headers[p->header_count++] = (struct pl_header){PL_BYTES(STATUS), status};
    while (pl_nats_head_next(&head, &name, &value)) {
        if (unescape(&name_rules, arena, name, &name) ||
            unescape(&value_rules, arena, value, &value))
            return PL_NO_MEMORY;
        if (take_property(p, name, value, now_ms, arena))
            continue;
        headers[p->header_count++] = (struct pl_header){name, value};
        note_answer(p, name, value);
    }
    *out = p;
    return PL_OK;
}

/* Where a block goes: into a writer, or only counted. */
struct sink {
    struct pl_writer *w; /* NULL: only counted */
    size_t len;
    bool failed; /* no memory for an escape */
};

static void put(struct sink *sink, struct pl_bytes bytes)
{
    sink->len += bytes.len;
    if (sink->w)
        pl_write_bytes(sink->w, bytes);
}

/* Escapes are rare: only a text that holds such a byte, or a '%', takes this way. */
static void put_escaped(
    struct sink *sink, const struct pl_escape_rules *rules, struct pl_bytes text)
{
    bool plain = text.len || !rules->empty_token;
    for (size_t i = 0; plain && i < text.len; i++) {
        uint8_t byte = text.data[i];
        plain = byte != '%' && !(rules->bytes[byte / 8] >> byte % 8 & 1);
    }
    if (plain) {
        put(sink, text);
        return;
    }
    struct pl_arena memory = {0};
    struct pl_bytes escaped;
    if (pl_token_encode(rules, &memory, text, &escaped) == PL_OK)
        put(sink, escaped);
    else
        sink->failed = true;
    pl_arena_done(&memory);
}

static void put_header(struct sink *sink, struct pl_bytes name, struct pl_bytes value)
{
    put_escaped(sink, &name_rules, name);
    put(sink, PL_BYTES(": "));
    put_escaped(sink, &value_rules, value);
    put(sink, PL_BYTES("\r\n"));
}

static bool is_printable(struct pl_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x21 || text.data[i] > 0x7E)
            return false;
    return true;
}

static void put_correlation(struct sink *sink, struct pl_bytes correlation)
{
    if (is_printable(correlation)) {
        put_header(sink, PL_BYTES(CORRELATION), correlation);
        return;
    }
    put(sink, PL_BYTES(CORRELATION_BASE64 ": "));
    /* In pieces of whole triples, so that no buffer grows with it. */
    enum { PIECE = 48 };
    for (size_t i = 0; i < correlation.len; i += PIECE) {
        size_t len = correlation.len - i < PIECE ? correlation.len - i : PIECE;
        char text[4 * PIECE / 3];
        put(sink, pl_bytes_of(
                      text, pl_base64_encode(pl_bytes_of(correlation.data + i, len), false, text)));
    }
    put(sink, PL_BYTES("\r\n"));
}

static bool has_header(const struct pl_properties *p, struct pl_bytes name)
{
    for (uint32_t i = 0; i < p->header_count; i++)
        if (pl_bytes_equal(p->headers[i].name, name))
            return true;
    return false;
}

/* As a NATS service says it: a text and a number, as HTTP has them. */
static void put_error(struct sink *sink, const struct pl_properties *p)
{
    static const struct {
        const char *uri, *code;
    } codes[] = {
        {"wamp.error.invalid_argument", "400"},
        {"wamp.error.not_authorized", "403"},
        {"wamp.error.no_such_procedure", "404"},
        {"wamp.error.no_available_callee", "503"},
        {"wamp.error.timeout", "504"},
    };
    const char *code = "500";
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (pl_bytes_equal(p->error, pl_bytes_text(codes[i].uri)))
            code = codes[i].code;
    put_header(sink, PL_BYTES(ERROR), p->error);
    if (!has_header(p, PL_BYTES(ERROR_CODE)))
        put_header(sink, PL_BYTES(ERROR_CODE), pl_bytes_text(code));
}

bool nats_headers_has(const struct pl_properties *p)
{
    bool is_told = p->header_count || p->content_type.len || p->correlation.len || p->error.len ||
                   p->is_progress || p->expires_ms != PL_NEVER;
    /* Nothing at all is an empty block of NATS' own, which stays one. */
    return is_told || !(p->audience || p->from);
}

static void put_block(struct sink *sink, const struct pl_properties *p, uint64_t now_ms)
{
    uint32_t i = 0;
    put(sink, PL_BYTES("NATS/1.0"));
    if (p->header_count && pl_bytes_equal(p->headers[0].name, PL_BYTES(STATUS))) {
        put(sink, PL_BYTES(" "));
        put_escaped(sink, &value_rules, p->headers[0].value);
        i = 1;
    }
    put(sink, PL_BYTES("\r\n"));
    if (p->content_type.len)
        put_header(sink, PL_BYTES(CONTENT_TYPE), p->content_type);
    if (p->correlation.len)
        put_correlation(sink, p->correlation);
    if (p->expires_ms != PL_NEVER) {
        uint64_t left_ms = p->expires_ms > now_ms ? p->expires_ms - now_ms : 1;
        char digits[PL_DECIMAL_MAX];
        size_t n = pl_format_decimal(digits, (left_ms + 999) / 1000);
        put_header(sink, PL_BYTES(TTL), pl_bytes_of(digits, n));
    }
    if (p->error.len && !has_header(p, PL_BYTES(ERROR)))
        put_error(sink, p);
    if (p->is_progress && !has_header(p, PL_BYTES(PROGRESS)))
        put_header(sink, PL_BYTES(PROGRESS), PL_BYTES("true"));
    for (; i < p->header_count; i++)
        put_header(sink, p->headers[i].name, p->headers[i].value);
    put(sink, PL_BYTES("\r\n"));
}

size_t nats_headers_size(const struct pl_properties *p, uint64_t now_ms)
{
    struct sink sink = {0};
    put_block(&sink, p, now_ms);
    return sink.failed ? 0 : sink.len;
}

enum pl_err nats_headers_write(struct pl_writer *w, const struct pl_properties *p, uint64_t now_ms)
{
    struct sink sink = {.w = w};
    put_block(&sink, p, now_ms);
    return sink.failed ? PL_NO_MEMORY : w->err;
}
