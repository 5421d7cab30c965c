/*
 * What the files of the ACME client share: acme.c keeps certificates and decides when to order,
 * order.c orders one, client.c asks the authority. All of it is the ACME thread's.
 */
#ifndef PL_ACME_STATE_H
#define PL_ACME_STATE_H

#include <pthread.h>

#include "acme/acme.h"
#include "acme/answers.h"
#include "acme/cache.h"
#include "acme/https.h"
#include "acme/key.h"

struct pl_tls_certificate;

/* One certificate that is asked for. */
struct pl_acme_group {
    struct pl_acme_names names; /* in acme's arena */
    char cache_name[PL_ACME_CACHE_NAME_MAX];
    struct pl_tls_certificate *certificate; /* one reference; NULL: there is none that is valid */
    uint64_t renew_unix_ms;                 /* of that one */
    uint64_t retry_ms;                      /* monotonic; not before this */
    uint32_t failures;                      /* since the last success; read under the lock */
    uint64_t expires_unix_ms;               /* the same */
};

struct pl_acme {
    struct pl_acme_options options; /* its texts are in the arena */
    struct pl_arena arena;
    struct pl_acme_https *https;
    struct pl_acme_key *key; /* NULL: not read or made yet */
    char *account;           /* owned; its address, NULL: not asked for yet */
    char nonce[PL_ACME_NONCE_MAX + 1];
    struct pl_acme_group *groups; /* in the arena */
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock;   /* guards is_stopping, and what groups say is read under it */
    pthread_cond_t stopped; /* on the monotonic clock */
    bool is_stopping;
};

/* One try to get one certificate. */
struct pl_acme_attempt {
    struct pl_acme *acme;
    struct pl_acme_group *group;
    struct pl_arena arena;   /* of what was answered */
    uint64_t until_ms;       /* monotonic; then it has failed */
    uint64_t retry_after_ms; /* what the authority says, after a failure; 0: nothing */
    struct pl_acme_directory directory;
    struct pl_acme_answer answer;   /* the last one; its body until the next request */
    struct pl_acme_problem problem; /* of the last one that was an error */
    struct pl_diag *diag;
};

/* ---- acme.c ---- */

/* Any length of time, or until the end: PL_CANCELED. */
PL_MUST_USE enum pl_err pl_acme_wait(struct pl_acme *acme, uint64_t ms);

/* ---- client.c ---- */

PL_MUST_USE enum pl_err pl_acme_find_directory(struct pl_acme_attempt *attempt);
/* Has the account's address; it is registered if it was not. */
PL_MUST_USE enum pl_err pl_acme_need_account(struct pl_acme_attempt *attempt);
/*
 * A signed request. what: for diag. payload: JSON; empty: POST-as-GET. PL_OK: a status of 2xx, with
 * attempt->answer. Else attempt->problem may tell more: PL_LIMIT (too many requests), PL_DENIED.
 */
PL_MUST_USE enum pl_err pl_acme_post(struct pl_acme_attempt *attempt, const char *what,
    const char *url, struct pl_bytes payload, const char *accept);

/* ---- order.c ---- */

/* The whole way: *out has one reference, *out_pem is what the cache keeps, pl_free it. */
PL_MUST_USE enum pl_err pl_acme_order(
    struct pl_acme_attempt *attempt, struct pl_tls_certificate **out, char **out_pem);

#endif
