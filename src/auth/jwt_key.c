#include "auth/jwt_key.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <sodium.h>

#include "base/alloc.h"
#include "base/text.h"

/* The first of a type is what such a key means if nothing else is said. */
static const struct pl_jwt_algorithm algorithms[] = {
    {"HS256", PL_JWT_SECRET, 32, GNUTLS_MAC_SHA256, GNUTLS_SIGN_UNKNOWN},
    {"HS384", PL_JWT_SECRET, 48, GNUTLS_MAC_SHA384, GNUTLS_SIGN_UNKNOWN},
    {"HS512", PL_JWT_SECRET, 64, GNUTLS_MAC_SHA512, GNUTLS_SIGN_UNKNOWN},
    {"RS256", PL_JWT_RSA, 0, GNUTLS_MAC_UNKNOWN, GNUTLS_SIGN_RSA_SHA256},
    {"ES256", PL_JWT_P256, 0, GNUTLS_MAC_UNKNOWN, GNUTLS_SIGN_ECDSA_SHA256},
    {"EdDSA", PL_JWT_ED25519, 0, GNUTLS_MAC_UNKNOWN, GNUTLS_SIGN_EDDSA_ED25519},
};

enum {
    ALGORITHM_COUNT = sizeof(algorithms) / sizeof(algorithms[0]),
    RSA_BITS_MIN = 2048,
    RSA_BITS_MAX = 8192,
    CURVE_SIGNATURE_LEN = 64, /* of P-256: r and s; of Ed25519: R and S */
    MAC_MAX = 64,
};

const struct pl_jwt_algorithm *pl_jwt_algorithm_find(struct pl_bytes name)
{
    for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
        if (pl_bytes_equal(name, pl_bytes_text(algorithms[i].name)))
            return &algorithms[i];
    }
    return NULL;
}

const struct pl_jwt_algorithm *pl_jwt_algorithm_of(enum pl_jwt_key_type type)
{
    size_t i = 0;
    while (algorithms[i].type != type)
        i++;
    return &algorithms[i];
}

void pl_jwt_key_done(struct pl_jwt_key *key)
{
    pl_free(key->kid);
    if (key->secret)
        sodium_memzero(key->secret, key->secret_len);
    pl_free(key->secret);
    if (key->public_key)
        gnutls_pubkey_deinit(key->public_key);
    if (key->private_key)
        gnutls_privkey_deinit(key->private_key);
    *key = (struct pl_jwt_key){0};
}

static enum pl_err refuse(struct pl_diag *diag, const char *where, const char *why)
{
    pl_diag_set(diag, 0, "%s: %s", where, why);
    return PL_CONFIG;
}

static enum pl_err refuse_gnutls(struct pl_diag *diag, const char *where, int code)
{
    pl_diag_set(diag, code, "%s: %s", where, gnutls_strerror(code));
    return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_CONFIG;
}

static enum pl_err out_of_memory(struct pl_diag *diag, const char *where)
{
    pl_diag_set(diag, 0, "%s: %s", where, pl_err_text(PL_NO_MEMORY));
    return PL_NO_MEMORY;
}

/* Names a key without telling it; sessions remember by which key they came in. */
static void set_fingerprint(struct pl_jwt_key *key, struct pl_bytes material)
{
    uint8_t hash[32];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, material.data, material.len, hash) < 0)
        memset(hash, 0, sizeof(hash));
    pl_hex_encode(pl_bytes_of(hash, PL_JWT_FINGERPRINT_LEN / 2), key->fingerprint);
    key->fingerprint[PL_JWT_FINGERPRINT_LEN] = 0;
}

enum pl_err pl_jwt_key_from_secret(struct pl_jwt_key *key, const char *where,
    struct pl_bytes secret, const struct pl_jwt_algorithm *algorithm, struct pl_diag *diag)
{
    if (!algorithm)
        algorithm = pl_jwt_algorithm_of(PL_JWT_SECRET);
    if (algorithm->type != PL_JWT_SECRET)
        return refuse(diag, where, "a secret is for HS256, HS384 or HS512");
    if (secret.len < algorithm->secret_min) {
        pl_diag_set(diag, 0, "%s: a secret for %s has at least %u bytes, this one has %zu", where,
            algorithm->name, algorithm->secret_min, secret.len);
        return PL_CONFIG;
    }
    key->algorithm = algorithm;
    key->secret = (uint8_t *)pl_alloc_copy(secret.data, secret.len);
    if (!key->secret)
        return out_of_memory(diag, where);
    key->secret_len = secret.len;
    set_fingerprint(key, secret);
    return PL_OK;
}

/* Of what kind is this public key, and may it be used? */
static enum pl_err check_public(struct pl_jwt_key *key, const char *where, struct pl_diag *diag)
{
    unsigned bits = 0;
    int code = gnutls_pubkey_verify_params(key->public_key);
    if (code < 0)
        return refuse_gnutls(diag, where, code);
    switch (gnutls_pubkey_get_pk_algorithm(key->public_key, &bits)) {
    case GNUTLS_PK_RSA:
        if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
            pl_diag_set(diag, 0, "%s: an RSA key has %d to %d bits, this one has %u", where,
                RSA_BITS_MIN, RSA_BITS_MAX, bits);
            return PL_CONFIG;
        }
        key->algorithm = pl_jwt_algorithm_of(PL_JWT_RSA);
        break;
    case GNUTLS_PK_ECDSA: {
        gnutls_ecc_curve_t curve;
        gnutls_datum_t x = {0}, y = {0};
        code = gnutls_pubkey_export_ecc_raw(key->public_key, &curve, &x, &y);
        gnutls_free(x.data);
        gnutls_free(y.data);
        if (code < 0)
            return refuse_gnutls(diag, where, code);
        if (curve != GNUTLS_ECC_CURVE_SECP256R1)
            return refuse(diag, where, "of elliptic curves, P-256 and Ed25519 are supported");
        key->algorithm = pl_jwt_algorithm_of(PL_JWT_P256);
        break;
    }
    case GNUTLS_PK_EDDSA_ED25519:
        key->algorithm = pl_jwt_algorithm_of(PL_JWT_ED25519);
        break;
    default:
        return refuse(diag, where, "expected an RSA, P-256 or Ed25519 key");
    }
    gnutls_datum_t der = {0};
    code = gnutls_pubkey_export2(key->public_key, GNUTLS_X509_FMT_DER, &der);
    if (code < 0)
        return refuse_gnutls(diag, where, code);
    set_fingerprint(key, pl_bytes_of(der.data, der.size));
    gnutls_free(der.data);
    return PL_OK;
}

/* A private key knows its public one, which is checked as such. */
static enum pl_err check_private(struct pl_jwt_key *key, const char *where, struct pl_diag *diag)
{
    int code = gnutls_pubkey_init(&key->public_key);
    if (code >= 0)
        code = gnutls_pubkey_import_privkey(key->public_key, key->private_key, 0, 0);
    return code < 0 ? refuse_gnutls(diag, where, code) : check_public(key, where, diag);
}

enum pl_err pl_jwt_key_check(struct pl_jwt_key *key, const char *where, struct pl_diag *diag)
{
    return key->private_key ? check_private(key, where, diag) : check_public(key, where, diag);
}

static int import_certificate(gnutls_pubkey_t public_key, const gnutls_datum_t *pem)
{
    gnutls_x509_crt_t certificate;
    int code = gnutls_x509_crt_init(&certificate);
    if (code < 0)
        return code;
    code = gnutls_x509_crt_import(certificate, pem, GNUTLS_X509_FMT_PEM);
    if (code >= 0)
        code = gnutls_pubkey_import_x509(public_key, certificate, 0);
    gnutls_x509_crt_deinit(certificate);
    return code;
}

enum pl_err pl_jwt_key_from_pem(struct pl_jwt_key *key, const char *where, struct pl_bytes pem,
    bool is_private, struct pl_diag *diag)
{
    static const char begin[] = "-----BEGIN ";
    const char *first = memmem(pem.data, pem.len, begin, sizeof(begin) - 1);
    if (!first)
        return refuse(diag, where, "expected a PEM file");
    size_t behind = (size_t)(first - (const char *)pem.data) + sizeof(begin) - 1;
    if (memmem(pem.data + behind, pem.len - behind, begin, sizeof(begin) - 1))
        return refuse(diag, where, "expected one key or certificate; for more, name more files");
    static const char private_mark[] = "PRIVATE KEY-----";
    bool holds_private = memmem(pem.data, pem.len, private_mark, sizeof(private_mark) - 1);
    if (holds_private && !is_private)
        return refuse(diag, where,
            "a private key; checking tokens takes the public one (openssl pkey -pubout)");
    if (!holds_private && is_private)
        return refuse(diag, where, "expected a private key");

    gnutls_datum_t datum = {(unsigned char *)(uintptr_t)pem.data, (unsigned)pem.len};
    int code;
    if (is_private) {
        code = gnutls_privkey_init(&key->private_key);
        if (code >= 0)
            code = gnutls_privkey_import_x509_raw(
                key->private_key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
        return code < 0 ? refuse_gnutls(diag, where, code) : pl_jwt_key_check(key, where, diag);
    }
    code = gnutls_pubkey_init(&key->public_key);
    if (code < 0)
        return refuse_gnutls(diag, where, code);
    if (memmem(pem.data, pem.len, "BEGIN CERTIFICATE", 17))
        code = import_certificate(key->public_key, &datum);
    else
        code = gnutls_pubkey_import(key->public_key, &datum, GNUTLS_X509_FMT_PEM);
    return code < 0 ? refuse_gnutls(diag, where, code) : pl_jwt_key_check(key, where, diag);
}

/* r and s as ASN.1 wants them. */
static bool verifies_p256(
    const struct pl_jwt_key *key, const gnutls_datum_t *data, struct pl_bytes signature)
{
    unsigned char *bytes = (unsigned char *)(uintptr_t)signature.data;
    gnutls_datum_t r = {bytes, CURVE_SIGNATURE_LEN / 2};
    gnutls_datum_t s = {bytes + CURVE_SIGNATURE_LEN / 2, CURVE_SIGNATURE_LEN / 2};
    gnutls_datum_t der = {0};
    if (gnutls_encode_rs_value(&der, &r, &s) < 0)
        return false;
    int code = gnutls_pubkey_verify_data2(key->public_key, key->algorithm->sign, 0, data, &der);
    gnutls_free(der.data);
    return code >= 0;
}

bool pl_jwt_key_verifies(
    const struct pl_jwt_key *key, struct pl_bytes data, struct pl_bytes signature)
{
    gnutls_datum_t text = {(unsigned char *)(uintptr_t)data.data, (unsigned)data.len};
    gnutls_datum_t shown = {(unsigned char *)(uintptr_t)signature.data, (unsigned)signature.len};
    unsigned bits = 0;
    switch (key->algorithm->type) {
    case PL_JWT_SECRET: {
        uint8_t mac[MAC_MAX];
        return signature.len == key->algorithm->secret_min &&
               gnutls_hmac_fast(key->algorithm->mac, key->secret, key->secret_len, data.data,
                   data.len, mac) >= 0 &&
               pl_bytes_equal_secret(signature, pl_bytes_of(mac, signature.len));
    }
    case PL_JWT_RSA:
        gnutls_pubkey_get_pk_algorithm(key->public_key, &bits);
        return signature.len == (bits + 7) / 8 && gnutls_pubkey_verify_data2(key->public_key,
                                                      key->algorithm->sign, 0, &text, &shown) >= 0;
    case PL_JWT_P256:
        return signature.len == CURVE_SIGNATURE_LEN && verifies_p256(key, &text, signature);
    case PL_JWT_ED25519:
        return signature.len == CURVE_SIGNATURE_LEN &&
               gnutls_pubkey_verify_data2(
                   key->public_key, key->algorithm->sign, 0, &text, &shown) >= 0;
    }
    return false;
}

/* Big-endian number → exactly len bytes. */
static bool pad_number(gnutls_datum_t number, uint8_t *out, size_t len)
{
    while (number.size > 0 && number.data[0] == 0) {
        number.data++;
        number.size--;
    }
    if (number.size > len)
        return false;
    memset(out, 0, len - number.size);
    if (number.size)
        memcpy(out + len - number.size, number.data, number.size);
    return true;
}

enum pl_err pl_jwt_key_sign(const struct pl_jwt_key *key, struct pl_bytes data,
    uint8_t out[PL_JWT_SIGNATURE_MAX], size_t *out_len)
{
    const struct pl_jwt_algorithm *algorithm = key->algorithm;
    if (algorithm->type == PL_JWT_SECRET) {
        *out_len = algorithm->secret_min;
        return gnutls_hmac_fast(
                   algorithm->mac, key->secret, key->secret_len, data.data, data.len, out) < 0
                   ? PL_UNSUPPORTED
                   : PL_OK;
    }
    gnutls_datum_t text = {(unsigned char *)(uintptr_t)data.data, (unsigned)data.len};
    gnutls_datum_t made = {0}, r = {0}, s = {0};
    bool ok = gnutls_privkey_sign_data2(key->private_key, algorithm->sign, 0, &text, &made) >= 0;
    if (ok && algorithm->type == PL_JWT_P256) {
        ok = gnutls_decode_rs_value(&made, &r, &s) >= 0 &&
             pad_number(r, out, CURVE_SIGNATURE_LEN / 2) &&
             pad_number(s, out + CURVE_SIGNATURE_LEN / 2, CURVE_SIGNATURE_LEN / 2);
        *out_len = CURVE_SIGNATURE_LEN;
    } else if (ok) {
        ok = made.size <= PL_JWT_SIGNATURE_MAX;
        if (ok)
            memcpy(out, made.data, made.size);
        *out_len = made.size;
    }
    gnutls_free(made.data);
    gnutls_free(r.data);
    gnutls_free(s.data);
    return ok ? PL_OK : PL_UNSUPPORTED;
}
