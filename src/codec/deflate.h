/*
 * permessage-deflate (RFC 7692): negotiation, and one message in, one message out.
 *
 * We always answer with both no_context_takeover parameters. So a message stands alone, a
 * connection keeps no window, and one inflater and one deflater serve a whole reactor.
 */
#ifndef PL_CODEC_DEFLATE_H
#define PL_CODEC_DEFLATE_H

#include "base/bytes.h"

/* What was agreed on. */
struct pl_deflate_terms {
    uint8_t server_bits;                       /* our window, 9 to 15 */
    uint8_t client_bits;                       /* the peer's */
    bool tells_server_bits, tells_client_bits; /* the answer names them */
};

/*
 * Picks the first acceptable offer of a Sec-WebSocket-Extensions value. PL_NOT_FOUND: none, go on
 * without. PL_MALFORMED: not a list of extensions; the handshake fails.
 */
PL_MUST_USE enum pl_err pl_deflate_negotiate(
    struct pl_bytes extensions, struct pl_deflate_terms *out);

enum { PL_DEFLATE_ANSWER_MAX = 160 };
/* The value of our Sec-WebSocket-Extensions, zero-terminated. Returns its length. */
size_t pl_deflate_answer(const struct pl_deflate_terms *terms, char out[PL_DEFLATE_ANSWER_MAX]);

struct pl_inflater;
struct pl_deflater;

/* 32 KiB window. NULL: no memory. */
PL_MUST_USE struct pl_inflater *pl_inflater_new(void);
struct pl_inflater *pl_inflater_free(struct pl_inflater *inflater);

/* Begins a message; compressed is borrowed until its end. */
void pl_inflater_begin(struct pl_inflater *inflater, struct pl_bytes compressed);
/*
 * Writes up to room bytes. *out_len 0 with PL_OK: the message is at its end. PL_MALFORMED: not
 * deflate. The caller limits the sum.
 */
PL_MUST_USE enum pl_err pl_inflater_next(
    struct pl_inflater *inflater, uint8_t *out, size_t room, size_t *out_len);

/* NULL: no memory. bits: 9 to 15. */
PL_MUST_USE struct pl_deflater *pl_deflater_new(uint8_t bits);
struct pl_deflater *pl_deflater_free(struct pl_deflater *deflater);
void pl_deflater_begin(struct pl_deflater *deflater);
/*
 * Takes in; is_last: the message ends with it. Writes up to room bytes (at least 64). *out_more:
 * they did not suffice, call again with nothing more to take in. The four bytes that RFC 7692
 * (section 7.2.1) takes off a message's end are taken off.
 */
PL_MUST_USE enum pl_err pl_deflater_next(struct pl_deflater *deflater, struct pl_bytes in,
    bool is_last, uint8_t *out, size_t room, size_t *out_len, bool *out_more);

#endif
