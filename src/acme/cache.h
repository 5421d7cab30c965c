/*
 * The folder where an account's key and certificates are kept, in the names and formats of
 * rustls-acme, which the original Mles server uses: who comes from there keeps what he has.
 *
 *     cached_account_<H>   the account's key: PKCS #8, DER
 *     cached_cert_<H>      PEM: the certificate's private key, then its chain
 *
 * <H> is base64url of SHA-256 over each contact (with mailto:), or each domain, with a zero byte
 * behind each, and then the directory's address. Files: for the ACME thread.
 */
#ifndef PL_ACME_CACHE_H
#define PL_ACME_CACHE_H

#include "base/bytes.h"

enum { PL_ACME_CACHE_NAME_MAX = 64 };

/* prefix: "cached_account_", "cached_cert_". */
void pl_acme_cache_name(const char *prefix, const char *const *texts, size_t count,
    const char *directory, char out[PL_ACME_CACHE_NAME_MAX]);

/* PL_NOT_FOUND: there is none. One that others may read is made ours alone. pl_free what comes out.
 */
PL_MUST_USE enum pl_err pl_acme_cache_read(
    const char *folder, const char *name, char **out, size_t *out_len, struct pl_diag *diag);
/* In one step, with mode 0600; the folder is made if it is missing, with 0700. */
PL_MUST_USE enum pl_err pl_acme_cache_write(
    const char *folder, const char *name, struct pl_bytes content, struct pl_diag *diag);

#endif
