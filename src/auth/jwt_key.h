/*
 * Keys of tokens: from PEM, JWK or a secret, each pinned to one algorithm (jwt.h says which files).
 *
 * What touches the wire is small on purpose: this and jwt.c use GnuTLS' primitives and jansson
 * directly; docs/design/tokens.md says what was wrong with the JWT libraries that we tried.
 */
#ifndef PL_AUTH_JWT_KEY_H
#define PL_AUTH_JWT_KEY_H

#include <gnutls/abstract.h>
#include <jansson.h>

#include "auth/jwt.h"

enum pl_jwt_key_type { PL_JWT_SECRET, PL_JWT_RSA, PL_JWT_P256, PL_JWT_ED25519 };

struct pl_jwt_algorithm {
    const char *name;
    enum pl_jwt_key_type type;
    uint32_t secret_min; /* bytes; also the size of the MAC */
    gnutls_mac_algorithm_t mac;
    gnutls_sign_algorithm_t sign;
};

/* NULL: none of ours. */
const struct pl_jwt_algorithm *pl_jwt_algorithm_find(struct pl_bytes name);
/* What a key is for if nothing says otherwise: the first in the table. */
const struct pl_jwt_algorithm *pl_jwt_algorithm_of(enum pl_jwt_key_type type);

enum { PL_JWT_FINGERPRINT_LEN = 16 };

struct pl_jwt_key {
    const struct pl_jwt_algorithm *algorithm;
    char *kid;       /* owned; NULL: none */
    uint8_t *secret; /* owned; HMAC */
    size_t secret_len;
    gnutls_pubkey_t public_key;   /* owned; the others */
    gnutls_privkey_t private_key; /* owned; only where tokens are made */
    char fingerprint[PL_JWT_FINGERPRINT_LEN + 1];
};

void pl_jwt_key_done(struct pl_jwt_key *key);

/*
 * Fills key, zeroed before, and is followed by pl_jwt_key_done in any case. is_private: the key
 * shall sign. PL_CONFIG: diag (which begins with `where`) says why not.
 */
PL_MUST_USE enum pl_err pl_jwt_key_from_secret(struct pl_jwt_key *key, const char *where,
    struct pl_bytes secret, const struct pl_jwt_algorithm *algorithm, struct pl_diag *diag);
PL_MUST_USE enum pl_err pl_jwt_key_from_pem(struct pl_jwt_key *key, const char *where,
    struct pl_bytes pem, bool is_private, struct pl_diag *diag);
/* PL_UNSUPPORTED: a key for something else, which a set may hold (RFC 7517, section 5). */
PL_MUST_USE enum pl_err pl_jwt_key_from_jwk(struct pl_jwt_key *key, const char *where,
    const json_t *jwk, bool is_private, struct pl_diag *diag);
/* After public_key or private_key came in from elsewhere: sets the algorithm by the kind of key. */
PL_MUST_USE enum pl_err pl_jwt_key_check(
    struct pl_jwt_key *key, const char *where, struct pl_diag *diag);
/* The one key of a file that shall sign. */
PL_MUST_USE enum pl_err pl_jwt_key_load_private(
    struct pl_jwt_key *key, const struct pl_jwt_key_config *config, struct pl_diag *diag);

/* The MAC or signature of data is `signature`. Constant time for MACs. */
bool pl_jwt_key_verifies(
    const struct pl_jwt_key *key, struct pl_bytes data, struct pl_bytes signature);

/* The key of this algorithm and kid (empty: any) by which the signature is good; NULL: none. */
const struct pl_jwt_key *pl_jwt_keys_verify(const struct pl_jwt_keys *keys,
    const struct pl_jwt_algorithm *algorithm, struct pl_bytes kid, struct pl_bytes data,
    struct pl_bytes signature);

enum { PL_JWT_SIGNATURE_MAX = 1024 }; /* an RSA key of 8192 bits */

PL_MUST_USE enum pl_err pl_jwt_key_sign(const struct pl_jwt_key *key, struct pl_bytes data,
    uint8_t out[PL_JWT_SIGNATURE_MAX], size_t *out_len);

#endif
