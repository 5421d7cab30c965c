/*
 * JSON Web Tokens as logins (RFC 7519, 7515, 7518, 8037, 8725): checking and making them.
 *
 *     HS256 HS384 HS512 · RS256 · ES256 · EdDSA (Ed25519)
 *
 * The key pins the algorithm: a token is checked only with keys whose algorithm is the one that it
 * names, so `none` finds no key and a public key is never an HMAC secret.
 *
 * A key file holds, told by its content:
 *
 *     -----BEGIN …     one public key or certificate (RSA, P-256 or Ed25519)
 *     {                a JWK, or a JWK set (RFC 7517)
 *     anything else    a secret for HMAC, as it stands, less one line end at the end
 *
 * RSA keys have 2048 to 8192 bits, secrets at least the size of their hash (32, 48 or 64 bytes).
 * Private keys are refused where a token is only checked.
 *
 * A token that names a `kid` is checked with the keys of that kid, and with those that have none;
 * one that does not is checked with all keys of its algorithm.
 *
 * Refused whatever the signature says: longer than 8 KiB, nested deeper than 16, a key twice in an
 * object, any `crit`, a nested token (`cty: JWT`), padding or bytes outside base64url.
 *
 * All of this is pure but for reading files; a key set is immutable and counted.
 */
#ifndef PL_AUTH_JWT_H
#define PL_AUTH_JWT_H

#include "auth/roles.h"

enum {
    PL_JWT_MAX = 8192, /* bytes of a token */
    PL_JWT_DEPTH_MAX = 16,
    PL_JWT_KEYS_MAX = 64,   /* of all files together; of one address */
    PL_JWT_SOURCES_MAX = 8, /* addresses that sets of keys are fetched from */
};

struct pl_jwt_key_config {
    const char *file;
    const char *algorithm; /* "HS384" …; NULL: the key's own, of a secret HS256 */
    const char *kid;       /* NULL: the key's own, or none */
    const char
        *url; /* instead of file: the address of a JWK set (jwks.h), without algorithm and kid */
    const char *ca;  /* PEM file of who vouches for that address' server; NULL: the system's */
    const char *env; /* instead of file: the variable of the environment that holds the same,
                        a secret to the last byte */
};

struct pl_jwt_config {
    const struct pl_jwt_key_config *keys;
    size_t key_count; /* 0: tokens are not accepted */
    /* One of these must be the token's `iss`; empty: not asked. */
    struct pl_texts issuers;
    /* One of these must be in the token's `aud`; empty: a token with `aud` is refused. */
    struct pl_texts audiences;
    uint64_t leeway_ms;        /* of exp, nbf and iat */
    bool requires_expiry;      /* a token without `exp` is refused */
    const char *user_claim;    /* whom it names; NULL: `user_id`, else `sub` */
    const char *role_claim;    /* NULL: `role` */
    const char *handler_claim; /* NULL: `handler` */
    const char *handler_role;  /* role of a token without `role` whose handler claim holds
                                  something; NULL: none */
    const char *nameless_role; /* role of a token without `role` that is no handler's and names no
                                  user; NULL: as others. Its user is then called "/", which nobody's
                                  {user_id} can be: it takes over no session of others */
    const char *default_role;  /* role of any other without `role`; NULL: refused, unless it has a
                                  `permissions` claim */
    const char *user_name;     /* the user name that clients show their token with, where they show
                                  one; others are refused. NULL: any that is not in the users file */
};

struct pl_jwt_keys;

/* Reads the files and variables of config->keys; those with an address are left out. PL_CONFIG,
 * PL_IO: diag names the file and what is wrong. One reference. */
PL_MUST_USE enum pl_err pl_jwt_keys_load(
    const struct pl_jwt_config *config, struct pl_diag *diag, struct pl_jwt_keys **out);
/* The keys of a JWK set that everybody can read: secrets and what cannot be used are left out.
 * PL_MALFORMED: it is no set, or none of its keys can be used. One reference. */
PL_MUST_USE enum pl_err pl_jwt_keys_of_set(
    const char *where, struct pl_bytes text, struct pl_diag *diag, struct pl_jwt_keys **out);
/* Accepts NULL. */
struct pl_jwt_keys *pl_jwt_keys_ref(struct pl_jwt_keys *keys);
/* Returns NULL; accepts NULL. */
struct pl_jwt_keys *pl_jwt_keys_unref(struct pl_jwt_keys *keys);
size_t pl_jwt_keys_count(const struct pl_jwt_keys *keys);
const char *pl_jwt_keys_fingerprint(const struct pl_jwt_keys *keys, size_t index);
/* Is there a key that calls itself so? */
bool pl_jwt_keys_have_id(const struct pl_jwt_keys *keys, struct pl_bytes kid);
/* True if there is (still) a key with this fingerprint. */
bool pl_jwt_keys_have(const struct pl_jwt_keys *keys, struct pl_bytes fingerprint);

/* All keys that tokens are checked with: those of files, and each address' newest. */
struct pl_jwt_ring {
    struct pl_jwt_keys *sets[1 + PL_JWT_SOURCES_MAX]; /* whoever made it holds them */
    size_t count;
};

/* Three parts of base64url, the first of which is a JSON object with `alg`: a quick look, for
 * passwords that may be tokens. */
bool pl_jwt_looks_like(struct pl_bytes token);

/*
 * Checks a token and fills identity, which nobody else sees yet, from its claims (all but the
 * rights: those are pl_roles_apply's):
 *
 *     user        the user claim: a text, or an integer up to 2^53 in decimal, however it is
 * written role        `role`, else handler_role, nameless_role or default_role attributes  claims
 * that are texts, integers or booleans, as text, if their name is of [A-Za-z0-9_-] and their value
 * is not over 256 bytes; `user_id` is always the user; the lists `permissions`, `allowed_subjects`,
 * `deny_subjects` as JSON; and
 *                 `.key`, the fingerprint of the key that the signature was made with
 *     token_id, issued_unix_ms, expires_unix_ms
 *
 * PL_BAD_LOGIN; PL_EXPIRED: the signature is good, and it is expired; PL_NO_MEMORY. diag tells the
 * operator why.
 */
PL_MUST_USE enum pl_err pl_jwt_verify(const struct pl_jwt_ring *ring,
    const struct pl_jwt_config *config, struct pl_bytes token, uint64_t now_unix_ms,
    struct pl_identity *identity, struct pl_diag *diag);

/* Does the token name a key that the ring has not, and could it be checked with one? */
bool pl_jwt_names_unknown_key(const struct pl_jwt_ring *ring, struct pl_bytes token);

/*
 * Makes a token (`parley token`, tests). key_file: a secret, or a private key as PEM or JWK;
 * algorithm may be NULL. claims: the JSON object as text. out_token: terminated, pl_free it.
 */
PL_MUST_USE enum pl_err pl_jwt_sign(const struct pl_jwt_key_config *key, const char *claims,
    struct pl_diag *diag, char **out_token);

/* The header and the claims of a token as JSON texts, unchecked, for people: pl_free both. */
PL_MUST_USE enum pl_err pl_jwt_decode(
    struct pl_bytes token, struct pl_diag *diag, char **out_header, char **out_claims);

#endif
