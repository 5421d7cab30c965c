#include "protocols/redis/redis_packet.h"

#include <limits.h>
#include <stdio.h>

#include "base/text.h"

enum pl_err pl_resp_parse_integer(struct pl_bytes text, int64_t *out)
{
    bool negative = text.len && text.data[0] == '-';
    struct pl_bytes digits = negative ? pl_bytes_from(text, 1) : text;
    if (!digits.len || (digits.data[0] == '0' && (negative || digits.len > 1)))
        return PL_MALFORMED;
    uint64_t v = 0;
    if (pl_parse_decimal(digits, (uint64_t)INT64_MAX + negative, &v))
        return PL_MALFORMED;
    *out = negative ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return PL_OK;
}

/*
 * The number on the line at `at`, behind its type byte. PL_NEED_MORE: the line's end is not there;
 * PL_TOO_LARGE: and the line is longer than one may be; PL_MALFORMED: no number.
 */
static enum pl_err read_number(
    struct pl_bytes in, size_t at, uint32_t line_max, int64_t *out, size_t *out_next)
{
    const uint8_t *line = in.data + at;
    size_t len = in.len - at;
    const uint8_t *cr = len ? memchr(line, '\r', len) : NULL;
    if (!cr)
        return len > line_max ? PL_TOO_LARGE : PL_NEED_MORE;
    if ((size_t)(cr - line) + 2 > len)
        return PL_NEED_MORE;
    /* The line may end where its type byte should stand. */
    if (cr == line || pl_resp_parse_integer(pl_bytes_of(line + 1, (size_t)(cr - line) - 1), out))
        return PL_MALFORMED;
    *out_next = at + (size_t)(cr - line) + 2;
    return PL_OK;
}

/* "Protocol error: " and what it is. */
static enum pl_err refuse(struct pl_diag *diag, const char *what)
{
    pl_diag_set(diag, 0, "Protocol error: %s", what);
    return PL_MALFORMED;
}

/* The usual number: one digit, or two without a leading zero, and its CR and LF. Returns where what
 * follows begins; 0: look closer. */
static inline size_t read_short_number(struct pl_bytes in, size_t at, int64_t *out)
{
    if (in.len - at < 5)
        return 0;
    const uint8_t *p = in.data + at + 1;
    unsigned first = (unsigned)p[0] - '1', second = (unsigned)p[1] - '0';
    if (first > 8)
        return 0;
    if (p[1] == '\r') {
        *out = (int64_t)first + 1;
        return at + 4;
    }
    if (second > 9 || p[2] != '\r')
        return 0;
    *out = ((int64_t)first + 1) * 10 + second;
    return at + 5;
}

static enum pl_err read_count(struct pl_bytes in, const struct pl_resp_limits *limits,
    struct pl_resp_scan *scan, struct pl_diag *diag)
{
    int64_t count = 0;
    size_t next = read_short_number(in, 0, &count);
    enum pl_err err = next ? PL_OK : read_number(in, 0, limits->line_max, &count, &next);
    if (err == PL_TOO_LARGE)
        return refuse(diag, "too big mbulk count string");
    if (err == PL_MALFORMED || count > INT_MAX)
        return refuse(diag, "invalid multibulk length");
    if (err)
        return err;
    if (count > PL_RESP_LOGIN_COUNT_MAX && limits->is_login)
        return refuse(diag, "unauthenticated multibulk length");
    /* Each argument takes six bytes at least, so more than this cannot fit. */
    if (count > limits->request_max / 6)
        return refuse(diag, "invalid multibulk length");
    *scan = (struct pl_resp_scan){.at = next,
        .count = count > 0 ? (uint32_t)count : 0,
        .left = count > 0 ? (uint32_t)count : 0};
    return PL_OK;
}

/* One argument at `at`. */
static enum pl_err read_bulk(struct pl_bytes in, const struct pl_resp_limits *limits, size_t at,
    struct pl_bytes *out, size_t *out_next, struct pl_diag *diag)
{
    int64_t len = 0;
    size_t next = in.len > at && in.data[at] == '$' ? read_short_number(in, at, &len) : 0;
    if (!next) {
        enum pl_err err = read_number(in, at, limits->line_max, &len, &next);
        if (err == PL_TOO_LARGE)
            return refuse(diag, "too big bulk count string");
        if (err == PL_NEED_MORE)
            return err;
        if (in.data[at] != '$') {
            uint8_t got = in.data[at];
            pl_diag_set(diag, 0, "Protocol error: expected '$', got '%c'", got);
            return PL_MALFORMED;
        }
        if (err || len < 0)
            return refuse(diag, "invalid bulk length");
    }
    if (len > PL_RESP_LOGIN_BULK_MAX && limits->is_login)
        return refuse(diag, "unauthenticated bulk length");
    if (len > limits->bulk_max || next + (size_t)len + 2 > limits->request_max)
        return refuse(diag, "invalid bulk length");
    if (in.len - next < (size_t)len + 2)
        return PL_NEED_MORE;
    *out = pl_bytes_of(in.data + next, (size_t)len);
    *out_next = next + (size_t)len + 2;
    return PL_OK;
}

/* The arguments of a request that is known to be whole, which begins at `at`. */
static void collect(struct pl_bytes in, size_t at, struct pl_resp_request *out)
{
    static const struct pl_resp_limits none = {
        .line_max = UINT32_MAX, .bulk_max = UINT32_MAX, .request_max = UINT32_MAX};
    struct pl_diag diag;
    for (uint32_t i = 0; i < out->count && i < PL_RESP_ARGS; i++)
        if (read_bulk(in, &none, at, &out->args[i], &at, &diag))
            return;
    out->rest = pl_bytes_from(in, at);
}

enum pl_err pl_resp_decode(struct pl_bytes in, const struct pl_resp_limits *limits,
    struct pl_resp_scan *scan, struct pl_resp_request *out, size_t *out_used, struct pl_diag *diag)
{
    bool is_resumed = scan->at != 0;
    if (!is_resumed) {
        enum pl_err err = read_count(in, limits, scan, diag);
        if (err)
            return err;
    }
    size_t first = scan->at, at = scan->at;
    out->count = scan->count;
    while (scan->left) {
        struct pl_bytes arg;
        enum pl_err err = read_bulk(in, limits, at, &arg, &at, diag);
        if (err) {
            scan->at = at;
            return err;
        }
        uint32_t index = scan->count - scan->left--;
        if (index < PL_RESP_ARGS) {
            out->args[index] = arg;
            first = at;
        }
    }
    out->rest = pl_bytes_of(in.data + first, at - first);
    if (is_resumed) {
        struct pl_resp_scan again;
        if (!read_count(in, limits, &again, diag))
            collect(pl_bytes_of(in.data, at), again.at, out);
    }
    *scan = (struct pl_resp_scan){0};
    *out_used = at;
    return PL_OK;
}

struct pl_resp_args pl_resp_args(const struct pl_resp_request *request, uint32_t from)
{
    return (struct pl_resp_args){.request = request, .index = from, .rest = request->rest};
}

bool pl_resp_next(struct pl_resp_args *args, struct pl_bytes *out)
{
    static const struct pl_resp_limits none = {
        .line_max = UINT32_MAX, .bulk_max = UINT32_MAX, .request_max = UINT32_MAX};
    if (args->index >= args->request->count)
        return false;
    if (args->index < PL_RESP_ARGS) {
        *out = args->request->args[args->index++];
        return true;
    }
    struct pl_diag diag;
    size_t next = 0;
    if (read_bulk(args->rest, &none, 0, out, &next, &diag))
        return false;
    args->rest = pl_bytes_from(args->rest, next);
    args->index++;
    return true;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The character behind a backslash between double quotes. */
static uint8_t unescape(uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/*
 * One argument of an inline line at *at, decoded to `to`, which has room for the rest of the line.
 * A zero byte ends the line, as it does in redis-server. False: quotes that are not closed, or
 * something that follows a closing quote at once.
 */
static bool split_argument(struct pl_bytes line, size_t *at, uint8_t *to, size_t *out_len)
{
    size_t i = *at, n = 0;
    uint8_t quote = 0;
    for (;; i++) {
        bool at_end = i == line.len;
        uint8_t c = at_end ? 0 : line.data[i];
        if (!quote) {
            if (at_end || is_space(c))
                break;
            if (c == '"' || c == '\'')
                quote = c;
            else
                to[n++] = c;
            continue;
        }
        if (at_end)
            return false;
        if (c == quote) {
            if (i + 1 < line.len && !is_space(line.data[i + 1]))
                return false;
            i++;
            break;
        }
        size_t left = line.len - i;
        if (c == '\\' && quote == '\'' && left > 1 && line.data[i + 1] == '\'') {
            to[n++] = '\'';
            i++;
        } else if (c == '\\' && quote == '"' && left > 3 && line.data[i + 1] == 'x' &&
                   pl_hex_value(line.data[i + 2]) >= 0 && pl_hex_value(line.data[i + 3]) >= 0) {
            to[n++] =
                (uint8_t)(pl_hex_value(line.data[i + 2]) * 16 + pl_hex_value(line.data[i + 3]));
            i += 3;
        } else if (c == '\\' && quote == '"' && left > 1) {
            to[n++] = unescape(line.data[i + 1]);
            i++;
        } else {
            to[n++] = c;
        }
    }
    *at = i;
    *out_len = n;
    return true;
}

static size_t skip_spaces(struct pl_bytes line, size_t at)
{
    while (at < line.len && is_space(line.data[at]))
        at++;
    return at;
}

enum pl_err pl_resp_decode_inline(struct pl_bytes in, const struct pl_resp_limits *limits,
    struct pl_writer *w, size_t *out_used, struct pl_diag *diag)
{
    const uint8_t *newline = in.len ? memchr(in.data, '\n', in.len) : NULL;
    size_t len = newline ? (size_t)(newline - in.data) : in.len;
    if (len > limits->line_max)
        return refuse(diag, "too big inline request");
    if (!newline)
        return PL_NEED_MORE;
    struct pl_bytes line = pl_bytes_of(in.data, len);
    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    const uint8_t *zero = line.len ? memchr(line.data, 0, line.len) : NULL;
    if (zero)
        line.len = (size_t)(zero - line.data);

    /* The arguments are decoded in place behind each other at first, to be counted. */
    uint8_t text[PL_RESP_LINE_MAX];
    size_t count = 0;
    for (size_t at = skip_spaces(line, 0); at < line.len; at = skip_spaces(line, at), count++) {
        size_t n = 0;
        if (line.len > sizeof text || !split_argument(line, &at, text, &n))
            return refuse(diag, "unbalanced quotes in request");
    }
    if (count)
        pl_resp_write_array(w, count);
    for (size_t at = skip_spaces(line, 0); at < line.len; at = skip_spaces(line, at)) {
        size_t n = 0;
        if (!split_argument(line, &at, text, &n))
            break;
        pl_resp_write_bulk(w, pl_bytes_of(text, n));
    }
    *out_used = len + 1;
    return w->err;
}

static void write_head(struct pl_writer *w, char type, int64_t v)
{
    char text[PL_DECIMAL_MAX + 4];
    size_t n = 0;
    text[n++] = type;
    if (v < 0)
        text[n++] = '-';
    n += pl_format_decimal(text + n, v < 0 ? -(uint64_t)v : (uint64_t)v);
    text[n++] = '\r';
    text[n++] = '\n';
    pl_write_bytes(w, pl_bytes_of(text, n));
}

void pl_resp_write_status(struct pl_writer *w, const char *text)
{
    pl_write_u8(w, '+');
    pl_write_text(w, text);
    pl_write_text(w, "\r\n");
}

void pl_resp_write_error(struct pl_writer *w, const char *text)
{
    pl_write_u8(w, '-');
    size_t len = strlen(text);
    uint8_t *at = pl_writer_room(w, len);
    for (size_t i = 0; at && i < len; i++)
        at[i] = text[i] == '\r' || text[i] == '\n' ? ' ' : (uint8_t)text[i];
    pl_write_text(w, "\r\n");
}

void pl_resp_write_integer(struct pl_writer *w, int64_t v)
{
    write_head(w, ':', v);
}

void pl_resp_write_bulk(struct pl_writer *w, struct pl_bytes bytes)
{
    write_head(w, '$', (int64_t)bytes.len);
    pl_write_bytes(w, bytes);
    pl_write_text(w, "\r\n");
}

void pl_resp_write_bulk_text(struct pl_writer *w, const char *text)
{
    pl_resp_write_bulk(w, pl_bytes_text(text));
}

void pl_resp_write_null(struct pl_writer *w, unsigned resp)
{
    pl_write_text(w, resp == 3 ? "_\r\n" : "$-1\r\n");
}

void pl_resp_write_array(struct pl_writer *w, uint64_t count)
{
    write_head(w, '*', (int64_t)count);
}

void pl_resp_write_map(struct pl_writer *w, unsigned resp, uint64_t pairs)
{
    write_head(w, resp == 3 ? '%' : '*', (int64_t)(resp == 3 ? pairs : 2 * pairs));
}

void pl_resp_write_set(struct pl_writer *w, unsigned resp, uint64_t count)
{
    write_head(w, resp == 3 ? '~' : '*', (int64_t)count);
}

void pl_resp_write_push(struct pl_writer *w, unsigned resp, uint64_t count)
{
    write_head(w, resp == 3 ? '>' : '*', (int64_t)count);
}

void pl_resp_write_verbatim(struct pl_writer *w, unsigned resp, struct pl_bytes text)
{
    if (resp != 3) {
        pl_resp_write_bulk(w, text);
        return;
    }
    write_head(w, '=', (int64_t)text.len + 4);
    pl_write_text(w, "txt:");
    pl_write_bytes(w, text);
    pl_write_text(w, "\r\n");
}

/* "$<len>\r\n<bytes>\r\n" at `to`; returns its end. */
static uint8_t *put_bulk(uint8_t *to, struct pl_bytes bytes)
{
    *to++ = '$';
    to += pl_format_decimal((char *)to, bytes.len);
    *to++ = '\r';
    *to++ = '\n';
    if (bytes.len)
        memcpy(to, bytes.data, bytes.len);
    to += bytes.len;
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static size_t decimal_len(size_t v)
{
    size_t n = 1;
    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

static size_t bulk_size(struct pl_bytes bytes)
{
    return 1 + decimal_len(bytes.len) + 2 + bytes.len + 2;
}

void pl_resp_write_message(struct pl_writer *w, unsigned resp, struct pl_bytes kind,
    const struct pl_bytes *pattern, struct pl_bytes channel, struct pl_bytes payload)
{
    size_t size = 4 + bulk_size(kind) + (pattern ? bulk_size(*pattern) : 0) + bulk_size(channel) +
                  bulk_size(payload);
    uint8_t *to = pl_writer_room(w, size);
    if (!to)
        return;
    *to++ = resp == 3 ? '>' : '*';
    *to++ = pattern ? '4' : '3';
    *to++ = '\r';
    *to++ = '\n';
    to = put_bulk(to, kind);
    if (pattern)
        to = put_bulk(to, *pattern);
    to = put_bulk(to, channel);
    put_bulk(to, payload);
}
