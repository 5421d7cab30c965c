/*
 * The account's key (ECDSA P-256), and what it signs: requests as flattened JWS with ES256 (RFC
 * 8555, section 6.2; RFC 7518, section 3.4). One thread at a time.
 */
#ifndef PL_ACME_KEY_H
#define PL_ACME_KEY_H

#include "base/bytes.h"

struct pl_acme_key;

enum { PL_ACME_THUMBPRINT_LEN = 43 };

/* PL_NO_MEMORY, PL_IO. */
PL_MUST_USE enum pl_err pl_acme_key_new(struct pl_acme_key **out);
/* PKCS #8, DER. PL_MALFORMED: it is no key of that kind. */
PL_MUST_USE enum pl_err pl_acme_key_import(struct pl_bytes der, struct pl_acme_key **out);
/* The same, to keep it; pl_free what comes out. */
PL_MUST_USE enum pl_err pl_acme_key_export(
    const struct pl_acme_key *key, uint8_t **out, size_t *out_len);
/* Returns NULL; accepts NULL. */
struct pl_acme_key *pl_acme_key_free(struct pl_acme_key *key);

/* RFC 7638, base64url, with a zero behind it. */
const char *pl_acme_key_thumbprint(const struct pl_acme_key *key);

struct pl_acme_request {
    const char *url;
    const char *nonce;
    const char *account;     /* its address; NULL: the key itself is shown (a new account) */
    struct pl_bytes payload; /* JSON; empty: POST-as-GET (section 6.3) */
};

/* The body of that request; pl_free it. */
PL_MUST_USE enum pl_err pl_acme_key_sign(
    const struct pl_acme_key *key, const struct pl_acme_request *request, char **out);

/*
 * Binds the key to an account that its owner has elsewhere (RFC 8555, section 7.3.4): a JWS for the
 * address of new accounts. id: printable, without quotes. pl_free what comes out.
 */
PL_MUST_USE enum pl_err pl_acme_key_bind(const struct pl_acme_key *key, const char *url,
    const char *id, struct pl_bytes secret, char **out);

#endif
