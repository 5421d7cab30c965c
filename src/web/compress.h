/*
 * Compresses a whole body: gzip, brotli, zstd.
 */
#ifndef PL_WEB_COMPRESS_H
#define PL_WEB_COMPRESS_H

#include "web/accept.h"

/* out: one reference. PL_UNSUPPORTED: it would not get smaller. PL_NO_MEMORY. Takes its time:
 * not on a reactor. */
PL_MUST_USE enum pl_err pl_web_compress(
    enum pl_web_encoding encoding, struct pl_bytes in, struct pl_shared **out);

#endif
