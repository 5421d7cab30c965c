/*
 * Names to addresses, in a thread of its own, because nobody can say how long that takes.
 * Numbers and "localhost" are answered at once.
 */
#ifndef PL_CLIENT_LOOKUP_H
#define PL_CLIENT_LOOKUP_H

#include <sys/socket.h>

#include "base/bytes.h"

struct pl_lookup;

struct pl_address {
    struct sockaddr_storage bytes;
    socklen_t len;
};

enum { PL_ADDRESSES_OF_HOST_MAX = 16 };

/* Begins. */
PL_MUST_USE enum pl_err pl_lookup_new(
    const char *host, const char *port, struct pl_lookup **out, struct pl_diag *diag);
/* Readable when it is done. */
int pl_lookup_fd(const struct pl_lookup *lookup);
/* PL_NEED_MORE: not yet. PL_OK: an array to be freed with pl_free. PL_IO: diag. */
PL_MUST_USE enum pl_err pl_lookup_take(
    struct pl_lookup *lookup, struct pl_address **out, uint32_t *out_count, struct pl_diag *diag);
/* It may still be at work: it ends by itself. Returns NULL; accepts NULL. */
struct pl_lookup *pl_lookup_free(struct pl_lookup *lookup);

#endif
