/*
 * Key sets (RFC 7517) of identity providers, fetched from their addresses by one thread.
 *
 *     struct pl_jwks *jwks = pl_jwks_new(&options);
 *     err = pl_jwks_source_hold(jwks, url, ca, &source);    // for each address that is configured
 *     err = pl_jwks_start(jwks);
 *     struct pl_jwt_keys *keys = pl_jwks_source_keys(source);    // what is known now
 *     err = pl_jwks_wait(jwks, &job);                       // a token names a key that is not
 *
 * A set is fetched at the start, then every refresh_ms; and when somebody waits for a key, but not
 * more often than every refresh_min_ms, so that tokens with made-up keys cannot make us a nuisance
 * to the provider. After a failure the older set stays, and the next attempt comes after 1 s, then
 * twice that, up to a minute.
 *
 * https, or http on a loopback address; redirects are not followed; at most 256 KiB within 10 s.
 * Secrets in a set (kty oct) are not read: what everybody can fetch must sign nothing.
 */
#ifndef PL_AUTH_JWKS_H
#define PL_AUTH_JWKS_H

#include "auth/jwt.h"
#include "base/pool.h"

struct pl_jwks;
struct pl_jwks_source;

/* A set was fetched, or could not be. Borrowed. */
struct pl_jwks_event {
    const char *url;
    enum pl_err err;
    const char *why;  /* of an error */
    size_t key_count; /* that can be used */
    bool has_lost;    /* a key that was in the set before is not any more */
};

struct pl_jwks_options {
    uint64_t refresh_ms, refresh_min_ms;
    uint32_t waiting_max; /* jobs */
    /* On the thread; NULL: nobody wants to know. */
    void (*on_event)(void *context, const struct pl_jwks_event *event);
    void *context;
};

/* NULL: no memory. */
PL_MUST_USE struct pl_jwks *pl_jwks_new(const struct pl_jwks_options *options);
/* Begins to fetch, as soon as there is a source. PL_LIMIT: there is no thread to be had. */
PL_MUST_USE enum pl_err pl_jwks_start(struct pl_jwks *jwks);
/* Ends the thread and drops what waits; within about a second. Accepts NULL. */
void pl_jwks_end(struct pl_jwks *jwks);
/* After its sources were given back. Returns NULL; accepts NULL. */
struct pl_jwks *pl_jwks_free(struct pl_jwks *jwks);

/* Is this an address that may be fetched? */
PL_MUST_USE bool pl_jwks_url_is_fine(const char *url);

/* The source of this address, the one that is there already if there is one: one reference. ca:
 * PEM file of who vouches for the server; NULL: the system's. PL_NO_MEMORY, PL_LIMIT. Any thread.
 */
PL_MUST_USE enum pl_err pl_jwks_source_hold(
    struct pl_jwks *jwks, const char *url, const char *ca, struct pl_jwks_source **out);
/* Returns NULL; accepts NULL. */
struct pl_jwks_source *pl_jwks_source_unref(struct pl_jwks_source *source);
/* One reference; NULL: it was never fetched. Any thread. */
struct pl_jwt_keys *pl_jwks_source_keys(struct pl_jwks_source *source);

/* Has job run, on the thread, when the sets have been fetched anew. PL_NOT_FOUND: that would be too
 * soon, or nothing is started; PL_LIMIT: too many wait. Any thread. */
PL_MUST_USE enum pl_err pl_jwks_wait(struct pl_jwks *jwks, struct pl_pool_job *job);

#endif
