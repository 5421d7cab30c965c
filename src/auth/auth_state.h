/*
 * What the files of the authenticator share.
 *
 *     authenticator.c   passwords, the pool, the answer
 *     token_login.c     tokens, also those whose key has to be fetched first
 *     methods.c         clients that choose among methods of authentication: which one, with whom
 *     exchange.c        what is asked of them, and whether the answer proves it
 */
#ifndef PL_AUTH_AUTH_STATE_H
#define PL_AUTH_AUTH_STATE_H

#include <pthread.h>

#include "auth/cookies.h"
#include "auth/guard.h"
#include "base/pool.h"
#include "auth/tables.h"

struct pl_auth {
    pthread_mutex_t lock; /* guards tables: taken to take a reference or to swap */
    struct pl_auth_tables *tables;
    struct pl_guard *guard;
    struct pl_pool *pool;
    struct pl_cookies *cookies;
    struct pl_jwks *jwks;
    uint8_t secret[PL_KEY_LEN]; /* what an unknown user's salt is made from; constant */
    atomic_ullong accepted, refused, slowed, pending;
};

/* What a login shows, sorted. */
struct pl_auth_shown {
    struct pl_bytes name, password, address;
    struct pl_bytes method; /* as others are told it; static. Empty: the secret's own */
    uint64_t now_ms, now_unix_ms;
};

/* ---- authenticator.c ---- */

/* One reference. */
struct pl_auth_tables *pl_auth_hold_tables(struct pl_auth *auth);
/* diag may be NULL. */
void pl_auth_answer(struct pl_auth *auth, const struct pl_login *login, enum pl_err err,
    struct pl_identity *identity_moved, const struct pl_diag *diag);
void pl_auth_answer_error(
    struct pl_auth *auth, const struct pl_login *login, enum pl_err err, const char *why);
void pl_auth_slow_down(struct pl_auth *auth, const struct pl_login *login);
void pl_auth_check_anonymous(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, const struct pl_login *login);
/* A user's password, or a token. */
void pl_auth_check_shown(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, struct pl_auth_shown *shown,
    const struct pl_login *login);

/* shown->password, with a name or without. */
void pl_auth_check_password(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_auth_shown *shown, const struct pl_login *login);

/* ---- token_login.c ---- */

/* shown->password is a token. is_password: it came as one, and if it is none of ours, it is one. */
void pl_auth_check_token(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_auth_shown *shown, bool is_password, const struct pl_login *login);

/* ---- methods.c ---- */

/* The client names methods: the first that is offered is begun, or done at once. */
void pl_auth_begin(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, struct pl_auth_shown *shown,
    const struct pl_login *login);
/* The answer to a challenge; login->exchange is freed. */
void pl_auth_finish(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, struct pl_auth_shown *shown,
    const struct pl_login *login);

/* ---- exchange.c ---- */

enum pl_auth_method { PL_METHOD_TICKET, PL_METHOD_CRA, PL_METHOD_SCRAM, PL_METHOD_KEY };

struct pl_auth_exchange {
    struct pl_exchange core; /* first */
    struct pl_challenge challenge;
    struct pl_challenge_field fields[5];
    struct pl_arena memory;
    uint8_t method;          /* enum pl_auth_method */
    bool is_known;           /* secret is someone's; else a fake */
    struct pl_bytes name;    /* whose it is: the client's authid, or of the key that it showed */
    const char *provider;    /* "static", "dynamic" */
    struct pl_secret secret; /* what counts is copied */
    const struct pl_auth_principal *principal; /* the dynamic authenticator's; NULL: the file's */
    struct pl_bytes binding;    /* the client binds the login to its TLS connection: how, and … */
    struct pl_bytes channel_id; /* … to what; at most PL_CHANNEL_ID_MAX */
    struct pl_bytes client_nonce;
    struct pl_bytes nonce;      /* SCRAM: what was sent */
    struct pl_bytes text;       /* CRA: what is signed */
    struct pl_bytes own_key;    /* KEY: the server's, and … */
    struct pl_bytes signature;  /* … what it says to the client's challenge; empty: nothing */
    uint8_t random[PL_KEY_LEN]; /* KEY: the challenge */
};

/* method_name: as the client calls it; static. NULL: no memory. */
PL_MUST_USE struct pl_auth_exchange *pl_auth_exchange_new(
    enum pl_auth_method method, const char *method_name, struct pl_bytes name);
/* A copy of a secret of ours; NULL: one that is nobody's, and looks as those of others do. */
PL_MUST_USE enum pl_err pl_auth_exchange_set_secret(struct pl_auth_exchange *exchange,
    const struct pl_auth *auth, const struct pl_users *users, const struct pl_secret *secret);
/* The same for what a dynamic authenticator has told. PL_MALFORMED: it does not fit the method. */
PL_MUST_USE enum pl_err pl_auth_exchange_set_principal(
    struct pl_auth_exchange *exchange, const struct pl_auth_principal *principal);
/* Makes the challenge. PL_BAD_LOGIN: what the client has to bring for it is missing. */
PL_MUST_USE enum pl_err pl_auth_exchange_begin(struct pl_auth_exchange *exchange, uint64_t session,
    uint64_t now_unix_ms, struct pl_diag *diag);
/* KEY: answers the client's own challenge, hex, with the server's key. */
PL_MUST_USE enum pl_err pl_auth_exchange_sign(struct pl_auth_exchange *exchange,
    const struct pl_auth_tables *tables, struct pl_bytes challenge);
/* Does the response prove that the client knows the secret? out_verifier: SCRAM: what proves that
 * we do; else empty; PL_VERIFIER_LEN bytes of room. */
PL_MUST_USE bool pl_auth_exchange_is_proved(const struct pl_auth_exchange *exchange,
    const struct pl_credentials *credentials, char *verifier, struct pl_bytes *out_verifier);

/* Of credentials' extra; empty: not there. */
struct pl_bytes pl_credentials_extra(const struct pl_credentials *credentials, const char *name);
/* In the exchange's memory. */
PL_MUST_USE enum pl_err pl_auth_exchange_keep(
    struct pl_auth_exchange *exchange, struct pl_bytes bytes, struct pl_bytes *out);

#endif
