/*
 * RESP, the wire format of Redis: requests in, replies out. Pure.
 *
 * A request is an array of bulk strings (`*2\r\n$4\r\nPING\r\n$1\r\nx\r\n`) or an inline line
 * (`PING x\r\n`), which is turned into an array first. It is decoded in place: what the arguments
 * point to is the caller's input.
 *
 *     struct pl_resp_scan scan = {0};        // once per connection
 *     err = pl_resp_decode(in, &limits, &scan, &request, &used, &diag);
 *
 * As the real server does, the byte behind a line's CR and the two behind a bulk string are skipped
 * unseen.
 */
#ifndef PL_PROTOCOLS_REDIS_REDIS_PACKET_H
#define PL_PROTOCOLS_REDIS_REDIS_PACKET_H

#include "base/output.h"

enum {
    PL_RESP_ARGS = 6,               /* arguments that a request holds decoded */
    PL_RESP_LOGIN_COUNT_MAX = 10,   /* arguments before the login, as in redis-server */
    PL_RESP_LOGIN_BULK_MAX = 16384, /* bytes of one before the login */
    PL_RESP_LINE_MAX = 65536,       /* bytes of an inline request or of a number's line */
};

struct pl_resp_limits {
    uint32_t line_max;    /* bytes of an inline request, or of a number's line */
    uint32_t bulk_max;    /* bytes of one argument */
    uint32_t request_max; /* bytes of a whole request */
    bool is_login;        /* nobody has logged in yet and somebody must: count and bulk are small */
};

/* How far an unfinished request was read, so that it is not read from its start at each piece. */
struct pl_resp_scan {
    size_t at;      /* where the next argument begins; 0: at the start of a request */
    uint32_t count; /* arguments in all */
    uint32_t left;  /* and those still to come */
};

struct pl_resp_request {
    uint32_t count;                     /* arguments with the command's name; 0: nothing to do */
    struct pl_bytes args[PL_RESP_ARGS]; /* the first of them */
    struct pl_bytes rest;               /* the others as they stand on the wire */
};

/*
 * Decodes an array request; in begins with '*'.
 *
 * PL_NEED_MORE: scan remembers how far it was; call again with the same bytes and more.
 * PL_MALFORMED: diag->text is what the peer is told ("Protocol error: …").
 */
PL_MUST_USE enum pl_err pl_resp_decode(struct pl_bytes in, const struct pl_resp_limits *limits,
    struct pl_resp_scan *scan, struct pl_resp_request *out, size_t *out_used, struct pl_diag *diag);

/*
 * Decodes an inline line into an array request, which it appends to w (nothing for an empty line).
 * Quoting as in redis-server: "a \x41\n" and 'it\'s'. *out_used: the line with its end.
 */
PL_MUST_USE enum pl_err pl_resp_decode_inline(struct pl_bytes in,
    const struct pl_resp_limits *limits, struct pl_writer *w, size_t *out_used,
    struct pl_diag *diag);

/* Walks a request's arguments:  struct pl_resp_args a = pl_resp_args(&request, 1);
 *                               while (pl_resp_next(&a, &arg)) … */
struct pl_resp_args {
    const struct pl_resp_request *request;
    uint32_t index;
    struct pl_bytes rest;
};

struct pl_resp_args pl_resp_args(const struct pl_resp_request *request, uint32_t from);
bool pl_resp_next(struct pl_resp_args *args, struct pl_bytes *out);

/* A canonical decimal number, as redis-server reads it: no sign but '-', no leading zero. */
PL_MUST_USE enum pl_err pl_resp_parse_integer(struct pl_bytes text, int64_t *out);

/* Replies. resp: 2 or 3. */
void pl_resp_write_status(struct pl_writer *w, const char *text);
/* text with its code: "ERR …". Line breaks become spaces, it ends at a zero byte. */
void pl_resp_write_error(struct pl_writer *w, const char *text);
void pl_resp_write_integer(struct pl_writer *w, int64_t v);
void pl_resp_write_bulk(struct pl_writer *w, struct pl_bytes bytes);
void pl_resp_write_bulk_text(struct pl_writer *w, const char *text);
void pl_resp_write_null(struct pl_writer *w, unsigned resp);
void pl_resp_write_array(struct pl_writer *w, uint64_t count);
/* pairs: of key and value. In RESP2 an array of twice as many. */
void pl_resp_write_map(struct pl_writer *w, unsigned resp, uint64_t pairs);
void pl_resp_write_set(struct pl_writer *w, unsigned resp, uint64_t count);
/* Something that nobody asked for: `>` in RESP3, an array in RESP2. */
void pl_resp_write_push(struct pl_writer *w, unsigned resp, uint64_t count);
/* Text for people: verbatim in RESP3, a bulk string in RESP2. */
void pl_resp_write_verbatim(struct pl_writer *w, unsigned resp, struct pl_bytes text);

/*
 * One frame of a message: kind ("message", "smessage", "pmessage"), for "pmessage" the pattern (its
 * data is not NULL then), channel, payload. The hot encoder: one piece of room, written once.
 */
void pl_resp_write_message(struct pl_writer *w, unsigned resp, struct pl_bytes kind,
    const struct pl_bytes *pattern, struct pl_bytes channel, struct pl_bytes payload);

#endif
