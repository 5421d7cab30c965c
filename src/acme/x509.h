/*
 * What an order needs of X.509: a request with a new key, the certificate of a challenge, and the
 * look at what was issued. Pure.
 */
#ifndef PL_ACME_X509_H
#define PL_ACME_X509_H

#include "base/bytes.h"

struct pl_tls_certificate;

struct pl_acme_csr {
    uint8_t *der; /* owned: pl_free */
    size_t len;
    char *key; /* owned: PKCS #8, PEM */
};

/* For these names, in their order, with an empty subject and a new ECDSA P-256 key.
 * pl_acme_csr_done it. PL_NO_MEMORY, PL_IO. */
PL_MUST_USE enum pl_err pl_acme_csr_make(
    const char *const *domains, size_t count, struct pl_acme_csr *out);
void pl_acme_csr_done(struct pl_acme_csr *csr);

/* What is shown to who checks `domain` by TLS-ALPN-01 (RFC 8737, section 3). authorization: the
 * token, a dot, the account's thumbprint. */
PL_MUST_USE enum pl_err pl_acme_challenge_make(
    const char *domain, const char *authorization, struct pl_tls_certificate **out);

/* May this be shown for these names at this time? PL_CONFIG: diag tells why not. */
PL_MUST_USE enum pl_err pl_acme_certificate_check(const struct pl_tls_certificate *certificate,
    const char *const *domains, size_t count, uint64_t now_unix_ms, struct pl_diag *diag);

#endif
