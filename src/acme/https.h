/*
 * Requests to the authority by libcurl: https alone, one at a time, with limits for time and size,
 * and an end that does not wait for the other side.
 *
 * One thread asks; any may stop it.
 */
#ifndef PL_ACME_HTTPS_H
#define PL_ACME_HTTPS_H

#include "acme/answers.h"

struct pl_acme_https;

struct pl_acme_https_options {
    const char *ca_file;    /* PEM: who vouches for the server; NULL: the system's */
    const char *user_agent; /* borrowed, as ca_file, as long as it lives */
    size_t answer_max;      /* bytes of a body */
    uint64_t timeout_ms;    /* of one request */
};

struct pl_acme_answer {
    unsigned status;
    struct pl_bytes body;              /* until the next request */
    char nonce[PL_ACME_NONCE_MAX + 1]; /* empty: none */
    char location[PL_ACME_URL_MAX + 1];
    char type[64];           /* its Content-Type, without parameters */
    uint64_t retry_after_ms; /* 0: not told */
};

/* NULL: no memory. */
PL_MUST_USE struct pl_acme_https *pl_acme_https_new(const struct pl_acme_https_options *options);
/* Returns NULL; accepts NULL. */
struct pl_acme_https *pl_acme_https_free(struct pl_acme_https *https);

/*
 * body: a JWS that is posted; NULL: a GET. accept: a media type, or NULL. until_ms: the monotonic
 * time at which it is over, whatever timeout_ms says.
 *
 * PL_OK: there is an answer, of any status. PL_CANCELED: pl_acme_https_stop was called. PL_IO,
 * PL_TIMEOUT, PL_TOO_LARGE, PL_NO_MEMORY: diag tells the address and why.
 */
PL_MUST_USE enum pl_err pl_acme_https_ask(struct pl_acme_https *https, const char *url,
    const char *body, const char *accept, uint64_t until_ms, struct pl_acme_answer *out,
    struct pl_diag *diag);

/* No request follows for a while: connections to the authority are closed. */
void pl_acme_https_rest(struct pl_acme_https *https);

/* Any thread: ends the request that is under way, and each later one. */
void pl_acme_https_stop(struct pl_acme_https *https);

#endif
