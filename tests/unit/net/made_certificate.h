/*
 * Throw-away certificates for tests: self-signed, for the names that a test wants.
 */
#ifndef PARLEY_TESTS_MADE_CERTIFICATE_H
#define PARLEY_TESTS_MADE_CERTIFICATE_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct made {
    gnutls_datum_t cert, key; /* PEM; gnutls_free */
};

/* names: up to a NULL. from, to: seconds from now. */
static inline struct made made_certificate(
    const char *const *names, gnutls_pk_algorithm_t kind, long from, long to)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    unsigned char serial[8] = {0x41};
    struct made made = {{0}, {0}};
    gnutls_rnd(GNUTLS_RND_NONCE, serial + 1, sizeof serial - 1);
    gnutls_x509_privkey_init(&key);
    gnutls_x509_privkey_generate(key, kind,
        kind == GNUTLS_PK_RSA ? 2048 : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&cert);
    gnutls_x509_crt_set_version(cert, 3);
    gnutls_x509_crt_set_serial(cert, serial, sizeof serial);
    gnutls_x509_crt_set_activation_time(cert, time(NULL) + from);
    gnutls_x509_crt_set_expiration_time(cert, time(NULL) + to);
    for (size_t i = 0; names[i]; i++)
        gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, names[i],
            (unsigned)strlen(names[i]), i ? GNUTLS_FSAN_APPEND : GNUTLS_FSAN_SET);
    gnutls_x509_crt_set_key(cert, key);
    gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
    gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &made.cert);
    gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &made.key);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
    return made;
}

static inline void made_free(struct made *made)
{
    gnutls_free(made->cert.data);
    gnutls_free(made->key.data);
}

#endif
