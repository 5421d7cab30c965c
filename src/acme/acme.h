/*
 * Certificates from an authority by ACME (RFC 8555): ordered, kept in a folder, renewed, and put
 * into a store that listeners show from. On a thread of its own.
 *
 *     acme = pl_acme_new(&options, &diag);    // what the folder has is in the store now
 *     pl_acme_start(acme, &diag);             // orders what is missing or due
 *     …
 *     acme = pl_acme_free(acme);              // ends at once, whatever the authority does
 *
 * What is asked for is `certificates`, each a list of names. One that fails is tried again after
 * backoff_ms, doubled by each further failure up to backoff_max_ms, or later if the authority says
 * when; meanwhile the one that is there stays. It is renewed when a third of its lifetime is left.
 *
 * The authority sees that a name is ours by TLS-ALPN-01 (RFC 8737), from the store's challenges, or
 * by HTTP-01 (RFC 8555, section 8.3), from `tokens`.
 */
#ifndef PL_ACME_ACME_H
#define PL_ACME_ACME_H

#include "base/bytes.h"

struct pl_acme;
struct pl_acme_tokens;
struct pl_tls_store;

/* What to tell, on the ACME thread or in pl_acme_new. Borrowed for the call. */
enum pl_acme_event_kind {
    PL_ACME_ACCOUNT,      /* the account is there; terms: where they stand */
    PL_ACME_LOADED,       /* the folder had it */
    PL_ACME_ISSUED,       /* a new one is shown */
    PL_ACME_FAILED,       /* an order failed; why, and when the next attempt is */
    PL_ACME_CACHE_FAILED, /* the folder cannot be used, or what it has; why */
};

struct pl_acme_event {
    enum pl_acme_event_kind kind;
    const char *name; /* the certificate's first; NULL: it is about the account */
    const char *why, *terms;
    uint64_t expires_unix_ms, retry_ms;
    uint32_t failures; /* in a row */
};

struct pl_acme_names {
    const char *const *domains; /* in the certificate's order; the first names it in events */
    size_t count;
};

struct pl_acme_options {
    const struct pl_acme_names *certificates;
    size_t certificate_count;
    const char *const *contacts; /* with mailto: */
    size_t contact_count;
    const char *folder;
    const char *directory; /* https://… */
    const char *ca_file;   /* NULL: the system's */
    const char *user_agent;
    const char *binding_id; /* of an account elsewhere (section 7.3.4); NULL: none */
    struct pl_bytes binding_secret;
    bool uses_http;           /* HTTP-01 instead of TLS-ALPN-01 */
    uint64_t renew_before_ms; /* at most two thirds of the lifetime; 0: one third */
    uint64_t backoff_ms, backoff_max_ms;
    uint64_t request_timeout_ms, order_timeout_ms;
    size_t answer_max;
    struct pl_tls_store *store;    /* outlives it */
    struct pl_acme_tokens *tokens; /* the same */
    void (*told)(void *context, const struct pl_acme_event *event);
    void *context;
};

/* options are copied. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err pl_acme_new(const struct pl_acme_options *options, struct pl_acme **out);
PL_MUST_USE enum pl_err pl_acme_start(struct pl_acme *acme, struct pl_diag *diag);
/* Returns NULL; accepts NULL. */
struct pl_acme *pl_acme_free(struct pl_acme *acme);

/* How a certificate stands. Any thread. */
struct pl_acme_facts {
    const char *name;         /* lives with acme */
    uint64_t expires_unix_ms; /* 0: there is none yet */
    uint32_t failures;        /* since the last success */
};
size_t pl_acme_count(const struct pl_acme *acme);
void pl_acme_facts(struct pl_acme *acme, size_t index, struct pl_acme_facts *out);

/*
 * Answers to HTTP-01: what stands at /.well-known/acme-challenge/<token>. Any thread.
 */
enum { PL_ACME_ANSWER_MAX = 320 };
#define PL_ACME_HTTP_PATH "/.well-known/acme-challenge/"

PL_MUST_USE struct pl_acme_tokens *pl_acme_tokens_new(void);
/* Returns NULL; accepts NULL. */
struct pl_acme_tokens *pl_acme_tokens_free(struct pl_acme_tokens *tokens);
/* text: token, dot, thumbprint. PL_NO_MEMORY, PL_TOO_LARGE. */
PL_MUST_USE enum pl_err pl_acme_tokens_add(struct pl_acme_tokens *tokens, const char *text);
void pl_acme_tokens_clear(struct pl_acme_tokens *tokens);
/* Length of what stands at this path; 0: nothing. */
size_t pl_acme_tokens_find(
    struct pl_acme_tokens *tokens, struct pl_bytes path, char out[PL_ACME_ANSWER_MAX]);

#endif
