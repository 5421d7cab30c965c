#include "acme/key.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"

enum {
    COORDINATE = 32,
    COORDINATE_TEXT = 43,
    DER_MAX = 1024,
    SHA256_LEN = 32,
};

struct pl_acme_key {
    gnutls_x509_privkey_t x509;
    gnutls_privkey_t signer;
    char jwk[160]; /* as RFC 7638 wants it: no spaces, members in order */
    char thumbprint[PL_ACME_THUMBPRINT_LEN + 1];
};

struct pl_acme_key *pl_acme_key_free(struct pl_acme_key *key)
{
    if (!key)
        return NULL;
    if (key->signer)
        gnutls_privkey_deinit(key->signer);
    if (key->x509)
        gnutls_x509_privkey_deinit(key->x509);
    pl_free(key);
    return NULL;
}

const char *pl_acme_key_thumbprint(const struct pl_acme_key *key)
{
    return key->thumbprint;
}

/* A number of at most 32 bytes, with zeros before it or cut of those that ASN.1 put there. */
static bool pad(const gnutls_datum_t *number, uint8_t out[COORDINATE])
{
    const uint8_t *data = number->data;
    size_t len = number->size;
    while (len > COORDINATE && *data == 0) {
        data++;
        len--;
    }
    if (len > COORDINATE)
        return false;
    memset(out, 0, COORDINATE - len);
    memcpy(out + COORDINATE - len, data, len);
    return true;
}

static bool encode_number(const gnutls_datum_t *number, char out[COORDINATE_TEXT + 2])
{
    uint8_t padded[COORDINATE];
    if (!pad(number, padded))
        return false;
    out[pl_base64_encode(pl_bytes_of(padded, COORDINATE), true, out)] = 0;
    return true;
}

/* Fills what is told of the key. */
static enum pl_err describe(struct pl_acme_key *key)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    gnutls_datum_t x = {0}, y = {0};
    char x_text[COORDINATE_TEXT + 2], y_text[COORDINATE_TEXT + 2];
    uint8_t digest[SHA256_LEN];
    int code = gnutls_x509_privkey_export_ecc_raw(key->x509, &curve, &x, &y, NULL);
    bool is_ours = code >= 0 && curve == GNUTLS_ECC_CURVE_SECP256R1 && encode_number(&x, x_text) &&
                   encode_number(&y, y_text);
    gnutls_free(x.data);
    gnutls_free(y.data);
    if (!is_ours)
        return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_MALFORMED;
    int len = snprintf(key->jwk, sizeof key->jwk,
        "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x_text, y_text);
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, key->jwk, (size_t)len, digest) < 0)
        return PL_IO;
    len = (int)pl_base64_encode(pl_bytes_of(digest, sizeof digest), true, key->thumbprint);
    key->thumbprint[len] = 0;
    if (gnutls_privkey_init(&key->signer) < 0 ||
        gnutls_privkey_import_x509(key->signer, key->x509, 0) < 0)
        return PL_NO_MEMORY;
    return PL_OK;
}

/* A struct whose x509 is to be filled. */
static struct pl_acme_key *begin(void)
{
    struct pl_acme_key *key = pl_zalloc(sizeof *key);
    if (key && gnutls_x509_privkey_init(&key->x509) < 0) {
        pl_free(key);
        key = NULL;
    }
    return key;
}

enum pl_err pl_acme_key_new(struct pl_acme_key **out)
{
    struct pl_acme_key *key = begin();
    if (!key)
        return PL_NO_MEMORY;
    enum pl_err err = PL_IO;
    if (gnutls_x509_privkey_generate(
            key->x509, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) >= 0)
        err = describe(key);
    if (err)
        pl_acme_key_free(key);
    else
        *out = key;
    return err;
}

enum pl_err pl_acme_key_import(struct pl_bytes der, struct pl_acme_key **out)
{
    struct pl_acme_key *key = begin();
    if (!key)
        return PL_NO_MEMORY;
    const gnutls_datum_t datum = {(unsigned char *)(uintptr_t)der.data, (unsigned)der.len};
    enum pl_err err = PL_MALFORMED;
    if (der.len <= DER_MAX && gnutls_x509_privkey_import_pkcs8(key->x509, &datum,
                                  GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN) >= 0)
        err = describe(key);
    if (err)
        pl_acme_key_free(key);
    else
        *out = key;
    return err;
}

enum pl_err pl_acme_key_export(const struct pl_acme_key *key, uint8_t **out, size_t *out_len)
{
    gnutls_datum_t der = {0};
    int code = gnutls_x509_privkey_export2_pkcs8(
        key->x509, GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN, &der);
    if (code < 0)
        return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_IO;
    uint8_t *copy = (uint8_t *)pl_alloc_copy(der.data, der.size);
    size_t len = der.size;
    gnutls_memset(der.data, 0, der.size);
    gnutls_free(der.data);
    if (!copy)
        return PL_NO_MEMORY;
    *out = copy;
    *out_len = len;
    return PL_OK;
}

/* ---- Signing ---- */

enum { SIGNATURE_TEXT_MAX = 2 * COORDINATE_TEXT + 4 };

/* Signs text, base64url with a zero. */
typedef enum pl_err sign_fn(
    const void *context, struct pl_bytes text, char out[SIGNATURE_TEXT_MAX]);

/* ES256 by the key. */
static enum pl_err sign_by_key(
    const void *context, struct pl_bytes text, char out[SIGNATURE_TEXT_MAX])
{
    const struct pl_acme_key *key = context;
    const gnutls_datum_t datum = {(unsigned char *)(uintptr_t)text.data, (unsigned)text.len};
    gnutls_datum_t der = {0}, r = {0}, s = {0};
    uint8_t raw[2 * COORDINATE];
    enum pl_err err = PL_IO;
    if (gnutls_privkey_sign_data(key->signer, GNUTLS_DIG_SHA256, 0, &datum, &der) >= 0 &&
        gnutls_decode_rs_value(&der, &r, &s) >= 0 && pad(&r, raw) && pad(&s, raw + COORDINATE)) {
        out[pl_base64_encode(pl_bytes_of(raw, sizeof raw), true, out)] = 0;
        err = PL_OK;
    }
    gnutls_free(der.data);
    gnutls_free(r.data);
    gnutls_free(s.data);
    return err;
}

/* HS256 by a shared secret. */
static enum pl_err sign_by_secret(
    const void *context, struct pl_bytes text, char out[SIGNATURE_TEXT_MAX])
{
    const struct pl_bytes *secret = context;
    uint8_t raw[SHA256_LEN];
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret->data, secret->len, text.data, text.len, raw) <
        0)
        return PL_IO;
    out[pl_base64_encode(pl_bytes_of(raw, sizeof raw), true, out)] = 0;
    return PL_OK;
}

static size_t base64_room(size_t len)
{
    return 4 * ((len + 2) / 3) + 1;
}

/* A flattened JWS of this protected header and payload. */
static enum pl_err flatten(
    const char *head, struct pl_bytes payload, sign_fn *sign, const void *context, char **out)
{
    size_t input_cap = base64_room(strlen(head)) + base64_room(payload.len) + 2;
    size_t body_cap = input_cap + SIGNATURE_TEXT_MAX + 80;
    char *input = pl_alloc(input_cap), *body = pl_alloc(body_cap);
    char signature[SIGNATURE_TEXT_MAX];
    enum pl_err err = input && body ? PL_OK : PL_NO_MEMORY;
    if (!err) {
        size_t dot = pl_base64_encode(pl_bytes_text(head), true, input);
        input[dot] = '.';
        size_t len = dot + 1 + pl_base64_encode(payload, true, input + dot + 1);
        input[len] = 0;
        err = sign(context, pl_bytes_of(input, len), signature);
        if (!err)
            snprintf(body, body_cap,
                "{\"protected\":\"%.*s\",\"payload\":\"%s\",\"signature\":\"%s\"}", (int)dot, input,
                input + dot + 1, signature);
    }
    pl_free(input);
    if (err)
        pl_free(body);
    else
        *out = body;
    return err;
}

/* Nonces, addresses and accounts were checked where they came in: they hold no quote. */
enum pl_err pl_acme_key_sign(
    const struct pl_acme_key *key, const struct pl_acme_request *request, char **out)
{
    const char *account = request->account;
    size_t cap = strlen(request->url) + strlen(request->nonce) +
                 (account ? strlen(account) : sizeof key->jwk) + 80;
    char *head = pl_alloc(cap);
    if (!head)
        return PL_NO_MEMORY;
    snprintf(head, cap,
        account ? "{\"alg\":\"ES256\",\"kid\":\"%s\",\"nonce\":\"%s\",\"url\":\"%s\"}"
                : "{\"alg\":\"ES256\",\"jwk\":%s,\"nonce\":\"%s\",\"url\":\"%s\"}",
        account ? account : key->jwk, request->nonce, request->url);
    enum pl_err err = flatten(head, request->payload, sign_by_key, key, out);
    pl_free(head);
    return err;
}

enum pl_err pl_acme_key_bind(const struct pl_acme_key *key, const char *url, const char *id,
    struct pl_bytes secret, char **out)
{
    size_t cap = strlen(url) + strlen(id) + 60;
    char *head = pl_alloc(cap);
    if (!head)
        return PL_NO_MEMORY;
    snprintf(head, cap, "{\"alg\":\"HS256\",\"kid\":\"%s\",\"url\":\"%s\"}", id, url);
    enum pl_err err = flatten(head, pl_bytes_text(key->jwk), sign_by_secret, &secret, out);
    pl_free(head);
    return err;
}
