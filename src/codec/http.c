#include "codec/http.h"

#include "base/arena.h"
#include "base/output.h"
#include "base/text.h"

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool pl_http_is_token_byte(uint8_t c)
{
    return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Visible ASCII that may stand in a path or a query; '%' must begin an escape. */
static bool is_target_byte(uint8_t c)
{
    return is_alnum(c) || (c && strchr("-._~!$&'()*+,;=:@/?%", c));
}

/* Field values: visible, space, tab, and what is over ASCII. */
static bool is_value_byte(uint8_t c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

struct pl_bytes pl_http_trim(struct pl_bytes b)
{
    while (b.len && (b.data[0] == ' ' || b.data[0] == '\t'))
        b = pl_bytes_from(b, 1);
    while (b.len && (b.data[b.len - 1] == ' ' || b.data[b.len - 1] == '\t'))
        b.len--;
    return b;
}

struct head_parser {
    struct pl_bytes in;
    size_t at;
    unsigned status;
};

static enum pl_err refuse(struct head_parser *p, unsigned status)
{
    p->status = status;
    return status == 431 || status == 414   ? PL_TOO_LARGE
           : status == 501 || status == 505 ? PL_UNSUPPORTED
                                            : PL_MALFORMED;
}

/*
 * The next line, without its CRLF. A bare LF or CR and NUL are refused here, also in a line that
 * has not ended yet.
 */
static enum pl_err next_line(struct head_parser *p, unsigned status_too_long, struct pl_bytes *out)
{
    size_t limit = p->in.len < PL_HTTP_HEAD_MAX ? p->in.len : PL_HTTP_HEAD_MAX;
    for (size_t i = p->at; i < limit; i++) {
        uint8_t c = p->in.data[i];
        if (c == '\n' || c == 0)
            return refuse(p, 400);
        if (c != '\r')
            continue;
        if (i + 1 == limit)
            break;
        if (p->in.data[i + 1] != '\n')
            return refuse(p, 400);
        *out = pl_bytes_of(p->in.data + p->at, i - p->at);
        p->at = i + 2;
        return PL_OK;
    }
    return limit == PL_HTTP_HEAD_MAX ? refuse(p, status_too_long) : PL_NEED_MORE;
}

static enum pl_err check_target(struct head_parser *p, struct pl_http_request *out)
{
    struct pl_bytes target = out->target;
    if (target.len > PL_HTTP_TARGET_MAX)
        return refuse(p, 414);
    if (pl_bytes_equal(target, PL_BYTES("*")) && pl_bytes_equal(out->method, PL_BYTES("OPTIONS"))) {
        out->path = target;
        return PL_OK;
    }
    /* Origin form alone: we are no proxy. */
    if (!target.len || target.data[0] != '/')
        return refuse(p, 400);
    for (size_t i = 0; i < target.len; i++) {
        if (!is_target_byte(target.data[i]))
            return refuse(p, 400);
        if (target.data[i] == '%' && (target.len - i < 3 || pl_hex_value(target.data[i + 1]) < 0 ||
                                         pl_hex_value(target.data[i + 2]) < 0))
            return refuse(p, 400);
    }
    const uint8_t *mark = memchr(target.data, '?', target.len);
    size_t path_len = mark ? (size_t)(mark - target.data) : target.len;
    out->path = pl_bytes_of(target.data, path_len);
    out->query = pl_bytes_from(target, mark ? path_len + 1 : path_len);
    return PL_OK;
}

/* method SP target SP HTTP/1.x, each space exactly one. */
static enum pl_err read_request_line(struct head_parser *p, struct pl_http_request *out)
{
    struct pl_bytes line;
    enum pl_err err = next_line(p, 414, &line);
    if (err)
        return err;
    size_t i = 0;
    while (i < line.len && pl_http_is_token_byte(line.data[i]))
        i++;
    if (!i || i > 32 || i == line.len || line.data[i] != ' ')
        return refuse(p, i > 32 ? 501 : 400);
    out->method = pl_bytes_of(line.data, i);
    struct pl_bytes rest = pl_bytes_from(line, i + 1);
    const uint8_t *space = rest.len ? memchr(rest.data, ' ', rest.len) : NULL;
    if (!space)
        return refuse(p, 400);
    size_t target_len = (size_t)(space - rest.data);
    out->target = pl_bytes_of(rest.data, target_len);
    struct pl_bytes version = pl_bytes_from(rest, target_len + 1);
    if (version.len != 8 || !pl_bytes_starts(version, PL_BYTES("HTTP/")) || version.data[5] < '0' ||
        version.data[5] > '9' || version.data[6] != '.' || version.data[7] < '0' ||
        version.data[7] > '9')
        return refuse(p, 400);
    if (version.data[5] != '1')
        return refuse(p, 505);
    /* A higher minor version is spoken to as 1.1 (RFC 9110, section 2.5). */
    out->minor = version.data[7] > '0';
    return check_target(p, out);
}

static enum pl_err read_header(
    struct head_parser *p, struct pl_bytes line, struct pl_http_request *out)
{
    size_t i = 0;
    while (i < line.len && pl_http_is_token_byte(line.data[i]))
        i++;
    /* A folded line begins with white space, so it fails here as well. */
    if (!i || i == line.len || line.data[i] != ':')
        return refuse(p, 400);
    struct pl_bytes value = pl_http_trim(pl_bytes_from(line, i + 1));
    for (size_t j = 0; j < value.len; j++)
        if (!is_value_byte(value.data[j]))
            return refuse(p, 400);
    if (out->header_count == PL_HTTP_HEADERS_MAX)
        return refuse(p, 431);
    out->headers[out->header_count++] = (struct pl_http_header){pl_bytes_of(line.data, i), value};
    return PL_OK;
}

/* What follows the head, and whether the next request is where we would look for it. */
static enum pl_err check_framing(struct head_parser *p, struct pl_http_request *out)
{
    uint32_t lengths = pl_http_header_count(out, "content-length");
    uint32_t codings = pl_http_header_count(out, "transfer-encoding");
    if ((lengths && codings) || lengths > 1 || codings > 1 || (codings && !out->minor))
        return refuse(p, 400);
    if (lengths && pl_parse_decimal(pl_http_header(out, "content-length"), INT64_MAX,
                       &out->content_length) != PL_OK)
        return refuse(p, 400);
    if (codings &&
        !pl_bytes_equal_nocase(pl_http_header(out, "transfer-encoding"), PL_BYTES("chunked")))
        return refuse(p, 501);
    out->is_chunked = codings != 0;
    uint32_t hosts = pl_http_header_count(out, "host");
    struct pl_http_authority authority;
    struct pl_bytes host = pl_http_header(out, "host");
    if (hosts > 1 || (!hosts && out->minor) ||
        (host.len && pl_http_parse_authority(host, &authority) != PL_OK))
        return refuse(p, 400);
    out->keeps_alive = out->minor ? !pl_http_header_has(out, "connection", "close")
                                  : pl_http_header_has(out, "connection", "keep-alive");
    return PL_OK;
}

static enum pl_err parse_head(struct head_parser *p, struct pl_http_request *out)
{
    enum pl_err err = read_request_line(p, out);
    while (!err) {
        struct pl_bytes line;
        err = next_line(p, 431, &line);
        if (err)
            break;
        if (!line.len) {
            out->head_len = p->at;
            return check_framing(p, out);
        }
        err = read_header(p, line, out);
    }
    return err;
}

enum pl_err pl_http_parse(struct pl_bytes in, struct pl_http_request *out, unsigned *out_status)
{
    struct head_parser p = {.in = in};
    /* Not the table of headers: it is large, and header_count says what counts in it. */
    memset(out, 0, offsetof(struct pl_http_request, headers));
    enum pl_err err = parse_head(&p, out);
    if (err && err != PL_NEED_MORE)
        *out_status = p.status;
    return err;
}

enum pl_err pl_http_sniff(struct pl_bytes first)
{
    size_t i = 0;
    while (i < first.len && first.data[i] >= 'A' && first.data[i] <= 'Z')
        i++;
    if (i > 16)
        return PL_MALFORMED;
    if (i == first.len)
        return PL_NEED_MORE;
    if (i < 3 || first.data[i] != ' ')
        return PL_MALFORMED;
    if (i + 1 == first.len)
        return PL_NEED_MORE;
    return first.data[i + 1] == '/' || first.data[i + 1] == '*' ? PL_OK : PL_MALFORMED;
}

struct pl_bytes pl_http_header(const struct pl_http_request *request, const char *name)
{
    struct pl_bytes wanted = pl_bytes_text(name);
    for (uint32_t i = 0; i < request->header_count; i++)
        if (pl_bytes_equal_nocase(request->headers[i].name, wanted))
            return request->headers[i].value;
    return PL_NO_BYTES;
}

uint32_t pl_http_header_count(const struct pl_http_request *request, const char *name)
{
    struct pl_bytes wanted = pl_bytes_text(name);
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->header_count; i++)
        count += pl_bytes_equal_nocase(request->headers[i].name, wanted);
    return count;
}

bool pl_http_next_element(struct pl_bytes *list, struct pl_bytes *out)
{
    while (list->len) {
        bool quoted = false;
        size_t i = 0;
        for (; i < list->len && (quoted || list->data[i] != ','); i++) {
            if (quoted && list->data[i] == '\\' && i + 1 < list->len)
                i++;
            else if (list->data[i] == '"')
                quoted = !quoted;
        }
        struct pl_bytes element = pl_http_trim(pl_bytes_of(list->data, i));
        *list = pl_bytes_from(*list, i < list->len ? i + 1 : i);
        if (element.len) {
            *out = element;
            return true;
        }
    }
    return false;
}

bool pl_http_header_has(const struct pl_http_request *request, const char *name, const char *token)
{
    struct pl_bytes header = pl_bytes_text(name), wanted = pl_bytes_text(token), element;
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (!pl_bytes_equal_nocase(request->headers[i].name, header))
            continue;
        struct pl_bytes list = request->headers[i].value;
        while (pl_http_next_element(&list, &element))
            if (pl_bytes_equal_nocase(element, wanted))
                return true;
    }
    return false;
}

struct pl_bytes pl_http_cookie(struct pl_bytes cookies, const char *name)
{
    struct pl_bytes wanted = pl_bytes_text(name);
    while (cookies.len) {
        const uint8_t *end = memchr(cookies.data, ';', cookies.len);
        size_t len = end ? (size_t)(end - cookies.data) : cookies.len;
        struct pl_bytes pair = pl_http_trim(pl_bytes_of(cookies.data, len));
        cookies = pl_bytes_from(cookies, end ? len + 1 : len);
        if (pair.len <= wanted.len || pair.data[wanted.len] != '=' ||
            !pl_bytes_starts(pair, wanted))
            continue;
        struct pl_bytes value = pl_bytes_from(pair, wanted.len + 1);
        if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
            value = pl_bytes_of(value.data + 1, value.len - 2);
        return value;
    }
    return PL_NO_BYTES;
}

struct pl_bytes pl_http_bearer(struct pl_bytes authorization)
{
    if (authorization.len < 8 ||
        !pl_bytes_equal_nocase(pl_bytes_of(authorization.data, 7), PL_BYTES("bearer ")))
        return PL_NO_BYTES;
    return pl_http_trim(pl_bytes_from(authorization, 7));
}

enum pl_err pl_http_unescape(
    struct pl_bytes text, bool is_form, struct pl_arena *arena, struct pl_bytes *out)
{
    bool is_plain = true;
    for (size_t i = 0; i < text.len && is_plain; i++)
        is_plain = text.data[i] != '%' && !(is_form && text.data[i] == '+');
    if (is_plain) {
        *out = text;
        return PL_OK;
    }
    uint8_t *decoded = pl_arena_alloc(arena, text.len);
    if (!decoded)
        return PL_NO_MEMORY;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '+' && is_form) {
            c = ' ';
        } else if (c == '%') {
            int high = text.len - i > 2 ? pl_hex_value(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? pl_hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || !(high | low))
                return PL_MALFORMED;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        decoded[len++] = c;
    }
    *out = pl_bytes_of(decoded, len);
    return PL_OK;
}

enum pl_err pl_http_query(
    struct pl_bytes query, const char *name, struct pl_arena *arena, struct pl_bytes *out)
{
    struct pl_bytes wanted = pl_bytes_text(name);
    while (query.len) {
        const uint8_t *end = memchr(query.data, '&', query.len);
        size_t len = end ? (size_t)(end - query.data) : query.len;
        struct pl_bytes pair = pl_bytes_of(query.data, len), key = pair, value = PL_NO_BYTES;
        query = pl_bytes_from(query, end ? len + 1 : len);
        const uint8_t *equals = len ? memchr(pair.data, '=', len) : NULL;
        if (equals) {
            key.len = (size_t)(equals - pair.data);
            value = pl_bytes_from(pair, key.len + 1);
        }
        enum pl_err err = pl_http_unescape(key, true, arena, &key);
        if (err == PL_NO_MEMORY)
            return err;
        if (!err && pl_bytes_equal(key, wanted))
            return pl_http_unescape(value, true, arena, out);
    }
    return PL_NOT_FOUND;
}

enum pl_err pl_http_parse_authority(struct pl_bytes text, struct pl_http_authority *out)
{
    struct pl_http_authority found = {.host = text};
    struct pl_bytes rest;
    if (text.len && text.data[0] == '[') {
        const uint8_t *end = memchr(text.data, ']', text.len);
        if (!end)
            return PL_MALFORMED;
        found.host = pl_bytes_of(text.data + 1, (size_t)(end - text.data) - 1);
        rest = pl_bytes_from(text, found.host.len + 2);
        for (size_t i = 0; i < found.host.len; i++)
            if (pl_hex_value(found.host.data[i]) < 0 && found.host.data[i] != ':' &&
                found.host.data[i] != '.')
                return PL_MALFORMED;
    } else {
        size_t i = 0;
        while (i < text.len && (is_alnum(text.data[i]) || strchr("-._~", text.data[i])) &&
               text.data[i])
            i++;
        found.host.len = i;
        rest = pl_bytes_from(text, i);
    }
    if (!found.host.len)
        return PL_MALFORMED;
    if (rest.len) {
        uint64_t port;
        if (rest.data[0] != ':')
            return PL_MALFORMED;
        rest = pl_bytes_from(rest, 1);
        if (rest.len && pl_parse_decimal(rest, UINT16_MAX, &port) != PL_OK)
            return PL_MALFORMED;
        if (rest.len)
            found.port = (uint16_t)port;
    }
    *out = found;
    return PL_OK;
}

/* Four decimal numbers, the first of them 127. */
static bool is_loopback_v4(struct pl_bytes host)
{
    int parts = 0;
    while (parts < 4) {
        const uint8_t *dot = host.len ? memchr(host.data, '.', host.len) : NULL;
        struct pl_bytes part = {host.data, dot ? (size_t)(dot - host.data) : host.len};
        uint64_t value;
        if (part.len > 3 || pl_parse_decimal(part, 255, &value) != PL_OK ||
            (parts == 0 && value != 127))
            return false;
        parts++;
        if (!dot)
            return parts == 4;
        host = pl_bytes_from(host, part.len + 1);
    }
    return false;
}

bool pl_http_is_loopback(struct pl_bytes host)
{
    struct pl_bytes name = PL_BYTES("localhost"), under = PL_BYTES(".localhost");
    if (host.len && host.data[host.len - 1] == '.')
        host.len--;
    if (pl_bytes_equal_nocase(host, name) || pl_bytes_equal(host, PL_BYTES("::1")))
        return true;
    if (host.len > under.len &&
        pl_bytes_equal_nocase(pl_bytes_from(host, host.len - under.len), under))
        return true;
    return is_loopback_v4(host);
}

enum pl_http_origin pl_http_origin(const struct pl_http_request *request)
{
    uint32_t count = pl_http_header_count(request, "origin");
    if (!count)
        return PL_HTTP_ORIGIN_ABSENT;
    struct pl_bytes origin = pl_http_header(request, "origin");
    uint16_t port = 0;
    if (pl_bytes_starts(origin, PL_BYTES("http://"))) {
        origin = pl_bytes_from(origin, 7);
        port = 80;
    } else if (pl_bytes_starts(origin, PL_BYTES("https://"))) {
        origin = pl_bytes_from(origin, 8);
        port = 443;
    }
    struct pl_http_authority from, to;
    if (count > 1 || !port || pl_http_parse_authority(origin, &from) != PL_OK)
        return PL_HTTP_ORIGIN_OTHER;
    if (from.port)
        port = from.port;
    if (pl_http_parse_authority(pl_http_header(request, "host"), &to) == PL_OK) {
        /* A Host without port means the scheme's, and the Origin names the scheme. */
        bool same_port = to.port ? to.port == port : port == 80 || port == 443;
        if (same_port && pl_bytes_equal_nocase(from.host, to.host))
            return PL_HTTP_ORIGIN_SAME;
    }
    return pl_http_is_loopback(from.host) ? PL_HTTP_ORIGIN_LOOPBACK : PL_HTTP_ORIGIN_OTHER;
}

const char *pl_http_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } known[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {421, "Misdirected Request"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status)
            return known[i].reason;
    return "Unknown";
}

void pl_http_write_answer(struct pl_writer *w, const struct pl_http_answer *answer)
{
    pl_write_text(w, "HTTP/1.1 ");
    pl_write_decimal(w, answer->status);
    pl_write_text(w, " ");
    pl_write_text(w, pl_http_reason(answer->status));
    pl_write_text(w, "\r\n");
    if (answer->type) {
        pl_write_text(w, "Content-Type: ");
        pl_write_text(w, answer->type);
        /* What a browser guesses of our plain answers is nobody's business. */
        pl_write_text(w, "\r\nX-Content-Type-Options: nosniff\r\n");
    }
    if (answer->status != 204 && answer->status != 304) {
        pl_write_text(w, "Content-Length: ");
        pl_write_decimal(w, answer->type ? answer->body.len : 0);
        pl_write_text(w, "\r\n");
    }
    pl_write_bytes(w, answer->more);
    if (!answer->keeps_alive)
        pl_write_text(w, "Connection: close\r\n");
    pl_write_text(w, "\r\n");
    if (answer->type && !answer->is_head)
        pl_write_bytes(w, answer->body);
}
