/*
 * Heads of HTTP/1.1 requests, read strictly (RFC 9112), and small answers.
 *
 * A server that is lenient where a proxy is not (or the other way round) lets requests hide in one
 * another. So what the grammar does not allow is refused: bare LF, folded lines, space before a
 * colon, NUL, Content-Length that is not one plain number, Content-Length beside Transfer-Encoding.
 *
 *     struct pl_http_request request;
 *     unsigned status;
 *     enum pl_err err = pl_http_parse(bytes, &request, &status);
 *     if (err == PL_NEED_MORE) …come again with more…
 *     if (err) …answer with status, close…
 *     …pl_http_header(&request, "sec-websocket-key")…
 *
 * Pure. What is found are slices of the input.
 */
#ifndef PL_CODEC_HTTP_H
#define PL_CODEC_HTTP_H

#include "base/bytes.h"

struct pl_arena;
struct pl_writer;

enum {
    PL_HTTP_HEAD_MAX = 16384,  /* bytes of a whole head */
    PL_HTTP_TARGET_MAX = 8192, /* bytes of the request target */
    PL_HTTP_HEADERS_MAX = 64,
};

struct pl_http_header {
    struct pl_bytes name, value; /* value: without the white space around it */
};

struct pl_http_request {
    struct pl_bytes method;  /* case matters */
    struct pl_bytes target;  /* as it was sent: origin form; "*" for OPTIONS */
    struct pl_bytes path;    /* of the target, still percent-encoded */
    struct pl_bytes query;   /* behind the '?', still encoded; empty if there is none */
    uint8_t minor;           /* HTTP/1.minor: 0 or 1 */
    bool keeps_alive;        /* the connection may serve another request */
    bool is_chunked;         /* a body in chunks follows */
    uint64_t content_length; /* bytes of body that follow; 0 if not told */
    size_t head_len;         /* with the empty line */
    uint32_t header_count;
    struct pl_http_header headers[PL_HTTP_HEADERS_MAX];
};

/*
 * PL_OK: a whole head. PL_NEED_MORE: a prefix of a possible one. PL_MALFORMED, PL_TOO_LARGE,
 * PL_UNSUPPORTED: *out_status is what to answer before closing (400, 414, 431, 501, 505).
 */
PL_MUST_USE enum pl_err pl_http_parse(
    struct pl_bytes in, struct pl_http_request *out, unsigned *out_status);

/* Could these first bytes become a request? For a shared port: PL_OK, PL_NEED_MORE, PL_MALFORMED.
 * Looks at the method and the character behind its space only. */
PL_MUST_USE enum pl_err pl_http_sniff(struct pl_bytes first);

/* May it stand in a token (RFC 9110, section 5.6.2)? */
bool pl_http_is_token_byte(uint8_t c);
/* Without the spaces and tabs around it. */
struct pl_bytes pl_http_trim(struct pl_bytes b);

/* The value of the first header of that name; data NULL if there is none. name: any case. */
struct pl_bytes pl_http_header(const struct pl_http_request *request, const char *name);
/* How many headers have that name. */
uint32_t pl_http_header_count(const struct pl_http_request *request, const char *name);
/* Is token an element of the comma-separated lists under that name? Case does not matter. */
bool pl_http_header_has(const struct pl_http_request *request, const char *name, const char *token);

/*
 * Takes the next element of a comma-separated list, trimmed; false at the end. Empty elements are
 * skipped. A comma in a quoted string does not separate.
 */
bool pl_http_next_element(struct pl_bytes *list, struct pl_bytes *out);

/*
 * The decoded value of a query parameter (application/x-www-form-urlencoded: %HH, + is a space).
 * PL_NOT_FOUND; PL_MALFORMED: bad escape in it. The bytes lie in query or in arena.
 */
PL_MUST_USE enum pl_err pl_http_query(
    struct pl_bytes query, const char *name, struct pl_arena *arena, struct pl_bytes *out);

/* Decodes %HH (and + if form). PL_MALFORMED: bad escape, or a NUL. Lies in text or in arena. */
PL_MUST_USE enum pl_err pl_http_unescape(
    struct pl_bytes text, bool is_form, struct pl_arena *arena, struct pl_bytes *out);

/* The cookie of that name in the value of a Cookie header; data NULL if it is not there. */
struct pl_bytes pl_http_cookie(struct pl_bytes cookies, const char *name);

/* The token in an Authorization header's value "Bearer …"; data NULL if there is none. */
struct pl_bytes pl_http_bearer(struct pl_bytes authorization);

struct pl_http_authority {
    struct pl_bytes host; /* without the brackets of an IPv6 address */
    uint16_t port;        /* 0: not told */
};

/* "host", "host:port", "[::1]:port". PL_MALFORMED. */
PL_MUST_USE enum pl_err pl_http_parse_authority(
    struct pl_bytes text, struct pl_http_authority *out);

/* localhost, a name under .localhost, an address of 127.0.0.0/8, or ::1. */
bool pl_http_is_loopback(struct pl_bytes host);

/*
 * What an Origin says about a request with this Host (RFC 6454). A proxy may have ended TLS, so of
 * the scheme only the default port counts. "null" is PL_HTTP_ORIGIN_OTHER.
 */
enum pl_http_origin {
    PL_HTTP_ORIGIN_ABSENT,
    PL_HTTP_ORIGIN_SAME,
    PL_HTTP_ORIGIN_LOOPBACK,
    PL_HTTP_ORIGIN_OTHER
};
enum pl_http_origin pl_http_origin(const struct pl_http_request *request);

/*
 * A whole small answer: status line, Content-Type, Content-Length, Connection, body. type NULL: no
 * body and no type. more: extra header lines, each ended by CRLF, or empty. is_head: the body is
 * counted, not sent.
 */
struct pl_http_answer {
    unsigned status;
    const char *type;
    struct pl_bytes body;
    struct pl_bytes more;
    bool keeps_alive, is_head;
};
void pl_http_write_answer(struct pl_writer *w, const struct pl_http_answer *answer);

/* "Not Found" for 404; "Unknown" for a number that we do not know. */
const char *pl_http_reason(unsigned status);

#endif
