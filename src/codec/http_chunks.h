/*
 * A body in chunks (RFC 9112, section 7.1), as it comes.
 *
 *     struct pl_http_chunks chunks = {0};
 *     do {
 *         err = pl_http_chunks_read(&chunks, in, &used, &data);
 *         …keep data, take used bytes off in…
 *     } while (err == PL_NEED_MORE && in.len);
 *
 * Strict, as heads are: no bare LF, no space around a size. Extensions and trailers are skipped.
 * Pure.
 */
#ifndef PL_CODEC_HTTP_CHUNKS_H
#define PL_CODEC_HTTP_CHUNKS_H

#include "base/bytes.h"

enum { PL_HTTP_CHUNK_LINE_MAX = 4096 }; /* bytes of a size with its extensions; of all trailers */

struct pl_http_chunks {
    uint8_t state;
    uint32_t line; /* bytes of the current line, or of the trailers */
    uint64_t left; /* bytes of the current chunk */
};

/*
 * Takes bytes up to the end of a run of data, or of the input. out: the data, within in; may be
 * empty.
 *
 * PL_NEED_MORE: there is more of the body. PL_OK: that was all of it, and *out_used is where it
 * ends. PL_MALFORMED, PL_TOO_LARGE.
 */
PL_MUST_USE enum pl_err pl_http_chunks_read(
    struct pl_http_chunks *chunks, struct pl_bytes in, size_t *out_used, struct pl_bytes *out);

#endif
