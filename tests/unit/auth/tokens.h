/* Keys and tokens made by hand, so that a test can break any part of them. */
#ifndef PARLEY_TESTS_AUTH_TOKENS_H
#define PARLEY_TESTS_AUTH_TOKENS_H

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#include "auth/jwt.h"
#include "base/alloc.h"
#include "base/text.h"
#include "files.h"

#define TOKEN_SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* HS256 with TOKEN_SECRET over whatever header and claims; the static buffer of the last calls. */
static inline const char *token_of(const char *header, const char *claims)
{
    static char tokens[4][PL_JWT_MAX * 2];
    static unsigned next;
    char *token = tokens[next++ % 4];
    size_t at = pl_base64_encode(pl_bytes_text(header), true, token);
    token[at++] = '.';
    at += pl_base64_encode(pl_bytes_text(claims), true, token + at);
    uint8_t mac[32];
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, TOKEN_SECRET, strlen(TOKEN_SECRET), token, at, mac) < 0)
        abort();
    token[at++] = '.';
    at += pl_base64_encode(pl_bytes_of(mac, sizeof(mac)), true, token + at);
    token[at] = 0;
    return token;
}

static inline const char *token_with(const char *claims)
{
    return token_of("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claims);
}

/* Makes NAME.key (private) and NAME.pub as PEM. */
static inline void token_make_keys(const char *name, gnutls_pk_algorithm_t kind, unsigned bits)
{
    gnutls_x509_privkey_t x509;
    gnutls_privkey_t private_key;
    gnutls_pubkey_t public_key;
    gnutls_datum_t pem;
    char file[64];
    if (gnutls_x509_privkey_init(&x509) < 0 || gnutls_privkey_init(&private_key) < 0 ||
        gnutls_pubkey_init(&public_key) < 0 ||
        gnutls_x509_privkey_generate(x509, kind, bits, 0) < 0 ||
        gnutls_x509_privkey_export2_pkcs8(
            x509, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem) < 0)
        abort();
    snprintf(file, sizeof(file), "%s.key", name);
    file_write_bytes(file, pem.data, pem.size);
    gnutls_free(pem.data);
    if (gnutls_privkey_import_x509(private_key, x509, 0) < 0 ||
        gnutls_pubkey_import_privkey(public_key, private_key, 0, 0) < 0 ||
        gnutls_pubkey_export2(public_key, GNUTLS_X509_FMT_PEM, &pem) < 0)
        abort();
    snprintf(file, sizeof(file), "%s.pub", name);
    file_write_bytes(file, pem.data, pem.size);
    gnutls_free(pem.data);
    gnutls_pubkey_deinit(public_key);
    gnutls_privkey_deinit(private_key);
    gnutls_x509_privkey_deinit(x509);
}

#endif
