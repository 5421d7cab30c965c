#include "auth/secret.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdio.h>

#include "auth/proof.h"
#include "base/text.h"

enum {
    CRA_ITERATIONS = 10000, /* clients in browsers compute it in JavaScript */
    SCRAM_ITERATIONS = 100000,
    ARGON_PASSES = 2,
    ARGON_KIB = 19456,
    SALT_LEN = 16,
    BASE64_KEY = 44, /* letters of PL_KEY_LEN bytes, with padding */
    MEMORY_MAX_KIB = 1 << 20,
    PASSES_MAX = 4096,
    CRA_KEY_MAX = 64,
};

/* ---- Reading ---- */

/* Takes what stands before the next '$' off *in, and the '$'. */
static struct pl_bytes take_part(struct pl_bytes *in)
{
    const uint8_t *end = in->len ? memchr(in->data, '$', in->len) : NULL;
    struct pl_bytes part = pl_bytes_of(in->data, end ? (size_t)(end - in->data) : in->len);
    *in = pl_bytes_from(*in, part.len + (end != NULL));
    return part;
}

/* "m=19456,t=2": the number behind head, from *in. */
static bool take_number(struct pl_bytes *in, const char *head, uint64_t max, uint32_t *out)
{
    struct pl_bytes name = pl_bytes_text(head);
    size_t len = name.len;
    uint64_t value;
    if (!pl_bytes_starts(*in, name))
        return false;
    while (len < in->len && in->data[len] >= '0' && in->data[len] <= '9')
        len++;
    struct pl_bytes digits = pl_bytes_of(in->data + name.len, len - name.len);
    if (!digits.len || pl_parse_decimal(digits, max, &value) || !value)
        return false;
    *out = (uint32_t)value;
    *in = pl_bytes_from(*in, len);
    return true;
}

static bool decode_key(struct pl_bytes text, uint8_t out[PL_KEY_LEN])
{
    uint8_t bytes[3 * (BASE64_KEY / 4) + 3];
    size_t len;
    if (text.len > BASE64_KEY || pl_base64_decode(text, false, bytes, &len) || len != PL_KEY_LEN)
        return false;
    memcpy(out, bytes, PL_KEY_LEN);
    return true;
}

bool pl_hex_decode_key(struct pl_bytes text, uint8_t out[PL_KEY_LEN])
{
    if (text.len != (size_t)2 * PL_KEY_LEN)
        return false;
    for (size_t i = 0; i < PL_KEY_LEN; i++) {
        int high = pl_hex_value(text.data[2 * i]), low = pl_hex_value(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static enum pl_err parse_cra(struct pl_bytes in, struct pl_arena *memory, struct pl_secret *s)
{
    struct pl_bytes first = take_part(&in);
    s->kind = PL_SECRET_CRA;
    if (!in.len) {
        size_t len;
        uint8_t *bytes = pl_arena_alloc(memory, 3 * (first.len / 4) + 3);
        if (!bytes)
            return PL_NO_MEMORY;
        if (!first.len || pl_base64_decode(first, false, bytes, &len) || !len)
            return PL_MALFORMED;
        s->key = pl_bytes_of(bytes, len);
        return PL_OK;
    }
    s->salt = take_part(&in);
    s->key = in;
    uint8_t bytes[3 * (BASE64_KEY / 2) + 3];
    size_t len;
    bool is_good = take_number(&first, "i=", PL_ITERATIONS_MAX, &s->iterations) &&
                   take_number(&first, ",l=", CRA_KEY_MAX, &s->key_len) && !first.len &&
                   s->salt.len && s->salt.len <= PL_SALT_MAX && pl_utf8_is_valid(s->salt) &&
                   s->key.len <= (size_t)2 * BASE64_KEY && s->key.len % 4 == 0 &&
                   !pl_base64_decode(s->key, false, bytes, &len) && len == s->key_len;
    return is_good ? PL_OK : PL_MALFORMED;
}

static enum pl_err parse_scram(struct pl_bytes in, struct pl_secret *s)
{
    struct pl_bytes kdf = take_part(&in), costs = take_part(&in);
    uint8_t salt[PL_SALT_MAX + 3];
    size_t salt_len;
    s->kind = PL_SECRET_SCRAM;
    s->salt = take_part(&in);
    bool is_good = s->salt.len && s->salt.len <= PL_SALT_MAX &&
                   !pl_base64_decode(s->salt, false, salt, &salt_len);
    if (pl_bytes_equal(kdf, PL_BYTES("argon2id"))) {
        s->kdf = PL_KDF_ARGON2ID;
        is_good = is_good && take_number(&costs, "m=", MEMORY_MAX_KIB, &s->memory_kib) &&
                  take_number(&costs, ",t=", PASSES_MAX, &s->iterations) && salt_len == SALT_LEN;
    } else {
        is_good = is_good && pl_bytes_equal(kdf, PL_BYTES("pbkdf2")) &&
                  take_number(&costs, "i=", PL_ITERATIONS_MAX, &s->iterations);
    }
    uint32_t max = s->kdf == PL_KDF_ARGON2ID ? 2 : 1;
    do {
        struct pl_scram_keys *keys = &s->scram[s->scram_count];
        is_good = is_good && !costs.len && s->scram_count < max &&
                  decode_key(take_part(&in), keys->stored) &&
                  decode_key(take_part(&in), keys->server);
        s->scram_count++;
    } while (is_good && in.len);
    return is_good ? PL_OK : PL_MALFORMED;
}

static enum pl_err parse_certificate(struct pl_bytes in, struct pl_secret *s)
{
    s->kind = PL_SECRET_CERTIFICATE;
    s->is_by_name = pl_bytes_equal(in, PL_BYTES("name"));
    return s->is_by_name || pl_hex_decode_key(in, s->bytes) ? PL_OK : PL_MALFORMED;
}

enum pl_err pl_secret_parse(struct pl_bytes text, struct pl_arena *memory, struct pl_secret *out)
{
    struct pl_bytes in = text;
    *out = (struct pl_secret){.text = text};
    if (text.len >= PL_SECRET_TEXT_MAX || take_part(&in).len)
        return PL_MALFORMED;
    struct pl_bytes kind = take_part(&in);
    if (pl_bytes_equal(kind, PL_BYTES("argon2id"))) {
        out->kind = PL_SECRET_PASSWORD;
        return pl_password_hash_is_valid(text) ? PL_OK : PL_MALFORMED;
    }
    if (pl_bytes_equal(kind, PL_BYTES("wampcra")))
        return parse_cra(in, memory, out);
    if (pl_bytes_equal(kind, PL_BYTES("scram")))
        return parse_scram(in, out);
    if (pl_bytes_equal(kind, PL_BYTES("tls")))
        return parse_certificate(in, out);
    out->kind = PL_SECRET_KEY;
    return pl_bytes_equal(kind, PL_BYTES("cryptosign")) && pl_hex_decode_key(in, out->bytes)
               ? PL_OK
               : PL_MALFORMED;
}

/* ---- Making ---- */

enum pl_err pl_derive(
    struct pl_bytes password, struct pl_bytes salt, uint32_t iterations, uint8_t *out, size_t len)
{
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)password.data, (unsigned)password.len};
    gnutls_datum_t salted = {(unsigned char *)(uintptr_t)salt.data, (unsigned)salt.len};
    return gnutls_pbkdf2(GNUTLS_MAC_SHA256, &key, &salted, iterations, out, len) < 0 ? PL_NO_MEMORY
                                                                                     : PL_OK;
}

enum pl_err pl_scram_keys(struct pl_bytes salted, struct pl_scram_keys *out)
{
    uint8_t client[PL_KEY_LEN];
    enum pl_err err = pl_hmac(salted, PL_BYTES("Client Key"), client);
    if (!err && gnutls_hash_fast(GNUTLS_DIG_SHA256, client, sizeof client, out->stored) < 0)
        err = PL_NO_MEMORY;
    if (!err)
        err = pl_hmac(salted, PL_BYTES("Server Key"), out->server);
    sodium_memzero(client, sizeof client);
    return err;
}

/* Base64 and a zero. */
static void encode(struct pl_bytes bytes, char *out)
{
    out[pl_base64_encode(bytes, false, out)] = 0;
}

struct keys_text {
    char stored[BASE64_KEY + 1], server[BASE64_KEY + 1];
};

static enum pl_err keys_text(struct pl_bytes salted, struct keys_text *out)
{
    struct pl_scram_keys keys;
    enum pl_err err = pl_scram_keys(salted, &keys);
    if (err)
        return err;
    encode(pl_bytes_of(keys.stored, sizeof keys.stored), out->stored);
    encode(pl_bytes_of(keys.server, sizeof keys.server), out->server);
    return PL_OK;
}

static enum pl_err make_cra(
    struct pl_bytes password, struct pl_bytes salt_text, char out[PL_SECRET_TEXT_MAX])
{
    uint8_t derived[PL_KEY_LEN];
    char key[BASE64_KEY + 1];
    enum pl_err err = pl_derive(password, salt_text, CRA_ITERATIONS, derived, sizeof derived);
    if (err)
        return err;
    encode(pl_bytes_of(derived, sizeof derived), key);
    snprintf(out, PL_SECRET_TEXT_MAX, "$wampcra$i=%d,l=%d$%.*s$%s", CRA_ITERATIONS, PL_KEY_LEN,
        (int)salt_text.len, salt_text.data, key);
    sodium_memzero(derived, sizeof derived);
    sodium_memzero(key, sizeof key);
    return PL_OK;
}

static enum pl_err make_scram(struct pl_bytes password, struct pl_bytes salt,
    struct pl_bytes salt_text, char out[PL_SECRET_TEXT_MAX])
{
    uint8_t salted[PL_KEY_LEN];
    struct keys_text keys;
    enum pl_err err = pl_derive(password, salt, SCRAM_ITERATIONS, salted, sizeof salted);
    if (!err)
        err = keys_text(pl_bytes_of(salted, sizeof salted), &keys);
    if (!err)
        snprintf(out, PL_SECRET_TEXT_MAX, "$scram$pbkdf2$i=%d$%.*s$%s$%s", SCRAM_ITERATIONS,
            (int)salt_text.len, salt_text.data, keys.stored, keys.server);
    sodium_memzero(salted, sizeof salted);
    return err;
}

static enum pl_err make_argon(struct pl_bytes password, struct pl_bytes salt,
    struct pl_bytes salt_text, char out[PL_SECRET_TEXT_MAX])
{
    uint8_t salted[PL_KEY_LEN];
    char text[BASE64_KEY + 1];
    struct keys_text keys, text_keys;
    if (crypto_pwhash_argon2id(salted, sizeof salted, (const char *)password.data, password.len,
            salt.data, ARGON_PASSES, (size_t)ARGON_KIB * 1024,
            crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0)
        return PL_NO_MEMORY;
    encode(pl_bytes_of(salted, sizeof salted), text);
    enum pl_err err = keys_text(pl_bytes_of(salted, sizeof salted), &keys);
    if (!err)
        err = keys_text(pl_bytes_of(text, strcspn(text, "=")), &text_keys);
    if (!err)
        snprintf(out, PL_SECRET_TEXT_MAX, "$scram$argon2id$m=%d,t=%d$%.*s$%s$%s$%s$%s", ARGON_KIB,
            ARGON_PASSES, (int)salt_text.len, salt_text.data, keys.stored, keys.server,
            text_keys.stored, text_keys.server);
    sodium_memzero(salted, sizeof salted);
    sodium_memzero(text, sizeof text);
    return err;
}

/* As the client prepares it, too (RFC 8265, section 4.2, which took SASLprep's place). */
static enum pl_err normalize(struct pl_bytes password, gnutls_datum_t *out)
{
    int code = gnutls_utf8_password_normalize(password.data, (unsigned)password.len, out, 0);
    return code >= 0 ? PL_OK : code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_MALFORMED;
}

enum pl_err pl_secret_make(
    enum pl_secret_way way, struct pl_bytes password, char out[PL_SECRET_TEXT_MAX])
{
    uint8_t salt_bytes[SALT_LEN];
    char salt_text[4 * ((SALT_LEN + 2) / 3)];
    gnutls_datum_t prepared = {0};
    if (sodium_init() < 0)
        return PL_UNSUPPORTED;
    /* Room for its base64. */
    if (password.len > PL_SECRET_TEXT_MAX / 2)
        return PL_TOO_LARGE;
    randombytes_buf(salt_bytes, sizeof salt_bytes);
    struct pl_bytes salt = pl_bytes_of(salt_bytes, sizeof salt_bytes);
    struct pl_bytes text = pl_bytes_of(salt_text, pl_base64_encode(salt, false, salt_text));
    if (way == PL_SECRET_WAY_CRA)
        return make_cra(password, text, out);
    if (way == PL_SECRET_WAY_CRA_PLAIN) {
        size_t len = (size_t)snprintf(out, PL_SECRET_TEXT_MAX, "$wampcra$");
        encode(password, out + len);
        return PL_OK;
    }
    enum pl_err err = normalize(password, &prepared);
    if (err)
        return err;
    password = pl_bytes_of(prepared.data, prepared.size);
    err = way == PL_SECRET_WAY_SCRAM ? make_scram(password, salt, text, out)
                                     : make_argon(password, salt, text, out);
    sodium_memzero(prepared.data, prepared.size);
    gnutls_free(prepared.data);
    return err;
}
