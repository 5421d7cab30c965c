#include "acme/x509.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "net/tls_store.h"

enum { SHA256_LEN = 32, DAY = 86400 };

/* RFC 8737, section 3: id-pe-acmeIdentifier. */
static const char acme_identifier[] = "1.3.6.1.5.5.7.1.31";

static enum pl_err translate(int code)
{
    if (code >= 0)
        return PL_OK;
    return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_IO;
}

static int make_key(gnutls_x509_privkey_t *out)
{
    int code = gnutls_x509_privkey_init(out);
    if (code < 0)
        return code;
    return gnutls_x509_privkey_generate(
        *out, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
}

/* A PEM text of the key, in memory of its own that is wiped. */
static int export_key(gnutls_x509_privkey_t key, char **out)
{
    gnutls_datum_t pem = {0};
    int code =
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem);
    if (code < 0)
        return code;
    *out = pl_alloc_copy(pem.data, pem.size);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return *out ? 0 : GNUTLS_E_MEMORY_ERROR;
}

static int fill_request(
    gnutls_x509_crq_t request, gnutls_x509_privkey_t key, const char *const *domains, size_t count)
{
    int code = gnutls_x509_crq_set_version(request, 1);
    for (size_t i = 0; i < count && code >= 0; i++)
        code = gnutls_x509_crq_set_subject_alt_name(request, GNUTLS_SAN_DNSNAME, domains[i],
            (unsigned)strlen(domains[i]), i ? GNUTLS_FSAN_APPEND : GNUTLS_FSAN_SET);
    if (code >= 0)
        code = gnutls_x509_crq_set_key(request, key);
    return code < 0 ? code : gnutls_x509_crq_sign2(request, key, GNUTLS_DIG_SHA256, 0);
}

enum pl_err pl_acme_csr_make(const char *const *domains, size_t count, struct pl_acme_csr *out)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crq_t request = NULL;
    gnutls_datum_t der = {0};
    struct pl_acme_csr csr = {0};
    int code = make_key(&key);
    if (code >= 0)
        code = gnutls_x509_crq_init(&request);
    if (code >= 0)
        code = fill_request(request, key, domains, count);
    if (code >= 0)
        code = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_DER, &der);
    if (code >= 0)
        code = export_key(key, &csr.key);
    if (code >= 0) {
        csr.der = (uint8_t *)pl_alloc_copy(der.data, der.size);
        csr.len = der.size;
        code = csr.der ? 0 : GNUTLS_E_MEMORY_ERROR;
    }
    gnutls_free(der.data);
    if (request)
        gnutls_x509_crq_deinit(request);
    if (key)
        gnutls_x509_privkey_deinit(key);
    if (code < 0)
        pl_acme_csr_done(&csr);
    else
        *out = csr;
    return translate(code);
}

void pl_acme_csr_done(struct pl_acme_csr *csr)
{
    if (csr->key)
        gnutls_memset(csr->key, 0, strlen(csr->key));
    pl_free(csr->key);
    pl_free(csr->der);
    *csr = (struct pl_acme_csr){0};
}

static int fill_challenge(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *domain,
    const char *authorization)
{
    unsigned char serial[16] = {0},
                  value[2 + SHA256_LEN] = {0x04, SHA256_LEN}; /* an OCTET STRING */
    time_t now = time(NULL);
    int code = gnutls_hash_fast(GNUTLS_DIG_SHA256, authorization, strlen(authorization), value + 2);
    if (code >= 0)
        code = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] &= 0x7f; /* a positive number … */
    serial[0] |= 0x40; /* … of full length */
#define STEP(call) code = code < 0 ? code : (call)
    STEP(gnutls_x509_crt_set_version(cert, 3));
    STEP(gnutls_x509_crt_set_serial(cert, serial, sizeof serial));
    STEP(gnutls_x509_crt_set_activation_time(cert, now - DAY));
    STEP(gnutls_x509_crt_set_expiration_time(cert, now + DAY));
    STEP(gnutls_x509_crt_set_subject_alt_name(
        cert, GNUTLS_SAN_DNSNAME, domain, (unsigned)strlen(domain), GNUTLS_FSAN_SET));
    STEP(gnutls_x509_crt_set_extension_by_oid(cert, acme_identifier, value, sizeof value, 1));
    STEP(gnutls_x509_crt_set_key(cert, key));
    STEP(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0));
#undef STEP
    return code;
}

enum pl_err pl_acme_challenge_make(
    const char *domain, const char *authorization, struct pl_tls_certificate **out)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t cert = NULL;
    gnutls_datum_t cert_pem = {0};
    char *key_pem = NULL;
    int code = make_key(&key);
    if (code >= 0)
        code = gnutls_x509_crt_init(&cert);
    if (code >= 0)
        code = fill_challenge(cert, key, domain, authorization);
    if (code >= 0)
        code = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem);
    if (code >= 0)
        code = export_key(key, &key_pem);
    enum pl_err err = translate(code);
    struct pl_diag diag;
    if (!err)
        err = pl_tls_certificate_parse(
            pl_bytes_of(cert_pem.data, cert_pem.size), pl_bytes_text(key_pem), out, &diag);
    pl_free(key_pem);
    gnutls_free(cert_pem.data);
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return err;
}

enum pl_err pl_acme_certificate_check(const struct pl_tls_certificate *certificate,
    const char *const *domains, size_t count, uint64_t now_unix_ms, struct pl_diag *diag)
{
    if (pl_tls_certificate_starts_unix_ms(certificate) > now_unix_ms) {
        pl_diag_set(diag, 0, "the certificate is not valid yet; is the clock right?");
        return PL_CONFIG;
    }
    if (pl_tls_certificate_expires_unix_ms(certificate) <= now_unix_ms) {
        pl_diag_set(diag, 0, "the certificate has expired");
        return PL_CONFIG;
    }
    for (size_t i = 0; i < count; i++) {
        if (!pl_tls_certificate_covers(certificate, pl_bytes_text(domains[i]))) {
            pl_diag_set(diag, 0, "the certificate is not for %s", domains[i]);
            return PL_CONFIG;
        }
    }
    return PL_OK;
}
