/*
 * Bodies that were compressed, by file, encoding and time of change; the least recently used go.
 *
 *     switch (pl_web_cache_find(cache, key, stamp, &body))
 *     case PL_OK:          …body is one reference; NULL: this one is sent plain…
 *     case PL_NOT_FOUND:   …make it, then pl_web_cache_put, also if it failed…
 *     case PL_LIMIT:       …another thread makes it now: send it plain…
 *
 * Any thread; guarded by a lock of its own.
 */
#ifndef PL_WEB_CACHE_H
#define PL_WEB_CACHE_H

#include "web/accept.h"

enum { PL_WEB_CACHE_NAME_MAX = 4608 };

struct pl_web_cache;

/* What a body was made of: another one is another body. */
struct pl_web_stamp {
    int64_t modified_ns;
    uint64_t size;
};

/* NULL: no memory. bytes_max: of all bodies; each may be half of it. */
PL_MUST_USE struct pl_web_cache *pl_web_cache_new(size_t bytes_max);
/* Returns NULL; accepts NULL. */
struct pl_web_cache *pl_web_cache_free(struct pl_web_cache *cache);

/* name: of the file among all sites, PL_WEB_CACHE_NAME_MAX bytes at most (else PL_LIMIT). */
PL_MUST_USE enum pl_err pl_web_cache_find(struct pl_web_cache *cache, struct pl_bytes name,
    enum pl_web_encoding encoding, struct pl_web_stamp stamp, struct pl_shared **out);
/* After PL_NOT_FOUND, exactly once. body: borrowed; NULL with is_useless: it does not get smaller;
 * NULL without: it could not be made. */
void pl_web_cache_put(struct pl_web_cache *cache, struct pl_bytes name,
    enum pl_web_encoding encoding, struct pl_web_stamp stamp, struct pl_shared *body,
    bool is_useless);
/* Bytes of the bodies in it. */
size_t pl_web_cache_bytes(struct pl_web_cache *cache);

#endif
