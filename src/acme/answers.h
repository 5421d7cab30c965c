/*
 * What an authority answers (RFC 8555, section 7.1): JSON from outside, read into structs. No I/O.
 *
 * Each text is copied into the caller's arena, each address begins with https://. What is too deep,
 * too long or of another type is PL_MALFORMED, and diag tells what it is about.
 */
#ifndef PL_ACME_ANSWERS_H
#define PL_ACME_ANSWERS_H

#include "base/arena.h"

enum {
    PL_ACME_URL_MAX = 2048,
    PL_ACME_TOKEN_MAX = 256,
    PL_ACME_NONCE_MAX = 512,
    PL_ACME_AUTHORIZATIONS_MAX = 100,
    PL_ACME_CHALLENGES_MAX = 32, /* of one authorization */
};

/* An error, or why a challenge failed (RFC 7807, and section 6.7). */
struct pl_acme_problem {
    char type[96];    /* without urn:ietf:params:acme:error:, such as rateLimited; empty: none */
    char detail[200]; /* for people */
};

struct pl_acme_directory {
    const char *new_nonce, *new_account, *new_order;
    const char *terms; /* NULL: there are none */
};

enum pl_acme_status {
    PL_ACME_PENDING,
    PL_ACME_READY,
    PL_ACME_PROCESSING,
    PL_ACME_VALID,
    PL_ACME_INVALID, /* deactivated, expired and revoked too */
};

struct pl_acme_order {
    enum pl_acme_status status;
    const char *finalize;
    const char *certificate; /* NULL: not yet */
    const char *authorizations[PL_ACME_AUTHORIZATIONS_MAX];
    size_t authorization_count;
    struct pl_acme_problem problem;
};

struct pl_acme_authorization {
    enum pl_acme_status status;
    const char *domain;
    const char *url, *token; /* of the challenge that was asked for; NULL: it is not offered */
    struct pl_acme_problem problem;
};

PL_MUST_USE enum pl_err pl_acme_read_directory(struct pl_bytes body, struct pl_arena *arena,
    struct pl_acme_directory *out, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_acme_read_order(
    struct pl_bytes body, struct pl_arena *arena, struct pl_acme_order *out, struct pl_diag *diag);
/* challenge: its type, such as "tls-alpn-01". */
PL_MUST_USE enum pl_err pl_acme_read_authorization(struct pl_bytes body, const char *challenge,
    struct pl_arena *arena, struct pl_acme_authorization *out, struct pl_diag *diag);
/* The body of an answer that is an error; what cannot be read leaves it empty. */
void pl_acme_read_problem(struct pl_bytes body, struct pl_acme_problem *out);

bool pl_acme_is_url(struct pl_bytes text);
/* base64url, as tokens and nonces are. */
bool pl_acme_is_token(struct pl_bytes text, size_t len_max);

#endif
