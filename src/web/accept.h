/*
 * Which form of a file does a client want? (RFC 9110, section 12.5.3)
 *
 *     struct pl_web_accept accept;
 *     pl_web_accept_begin(&accept);
 *     …pl_web_accept_add(&accept, value) for each Accept-Encoding…
 *     for (unsigned i = 0; (encoding = pl_web_accept_choice(&accept, i)); i++)
 *         …the best one first; PL_WEB_IDENTITY ends it…
 *
 * Pure.
 */
#ifndef PL_WEB_ACCEPT_H
#define PL_WEB_ACCEPT_H

#include "base/bytes.h"

/* Of equal weight the last one is the best. */
enum pl_web_encoding {
    PL_WEB_IDENTITY,
    PL_WEB_GZIP,
    PL_WEB_BROTLI,
    PL_WEB_ZSTD,
    PL_WEB_ENCODINGS,
};

struct pl_web_accept {
    /* Thousandths; -1: not named. */
    int16_t weight[PL_WEB_ENCODINGS];
    int16_t any; /* of * */
};

void pl_web_accept_begin(struct pl_web_accept *accept);
/* An element that is not understood is left out. */
void pl_web_accept_add(struct pl_web_accept *accept, struct pl_bytes value);
/* The index-th best of those that the client takes rather than, or like, the plain one;
 * PL_WEB_IDENTITY: there are no more. */
enum pl_web_encoding pl_web_accept_choice(const struct pl_web_accept *accept, unsigned index);

/* "gzip", "br", "zstd"; of PL_WEB_IDENTITY "". */
const char *pl_web_encoding_name(enum pl_web_encoding encoding);
/* ".gz", ".br", ".zst"; of PL_WEB_IDENTITY "". */
const char *pl_web_encoding_suffix(enum pl_web_encoding encoding);

#endif
