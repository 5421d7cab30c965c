/*
 * JSON Web Keys (RFC 7517; 7518 section 6; 8037) and the files that keys come in.
 *
 *     kty   of it we read            and refuse
 *     oct   k
 *     RSA   n e, private d p q       oth (more than two primes)
 *     EC    crv P-256, x y, d        other curves
 *     OKP   crv Ed25519, x, d        other curves
 */
#include <gnutls/crypto.h>
#include <sodium.h>
#include <stdatomic.h>

#include "base/file.h"
#include "auth/jwt_key.h"
#include "base/alloc.h"
#include "base/text.h"

enum { KEY_FILE_MAX = 256 << 10, MEMBER_MAX = 2048 };

static enum pl_err refuse(struct pl_diag *diag, const char *where, const char *why)
{
    pl_diag_set(diag, 0, "%s: %s", where, why);
    return PL_CONFIG;
}

static const char *text_of(const json_t *jwk, const char *member)
{
    return json_string_value(json_object_get(jwk, member));
}

/* A member's bytes, in memory of its own for GnuTLS' numbers. */
struct member {
    uint8_t bytes[MEMBER_MAX];
    size_t len;
};

static bool read_member(const json_t *jwk, const char *name, struct member *out)
{
    const char *text = text_of(jwk, name);
    size_t len = text ? strlen(text) : 0;
    return len > 0 && !strchr(text, '=') && len <= MEMBER_MAX / 4 * 4 - 4 &&
           pl_base64_decode(pl_bytes_of(text, len), true, out->bytes, &out->len) == PL_OK;
}

static gnutls_datum_t datum(struct member *m)
{
    return (gnutls_datum_t){m->bytes, (unsigned)m->len};
}

static int import_curve(
    struct pl_jwt_key *key, const json_t *jwk, gnutls_ecc_curve_t curve, bool is_private)
{
    bool has_y = curve == GNUTLS_ECC_CURVE_SECP256R1;
    struct member x, y, d;
    /* RFC 7518, 6.2.1.2: the whole length, leading zeros too. */
    if (!read_member(jwk, "x", &x) || x.len != 32 ||
        (has_y && (!read_member(jwk, "y", &y) || y.len != 32)))
        return GNUTLS_E_PARSING_ERROR;
    gnutls_datum_t x_datum = datum(&x), y_datum = {0};
    if (has_y)
        y_datum = datum(&y);
    if (!is_private)
        return gnutls_pubkey_import_ecc_raw(
            key->public_key, curve, &x_datum, has_y ? &y_datum : NULL);
    if (!read_member(jwk, "d", &d) || d.len != 32)
        return GNUTLS_E_PARSING_ERROR;
    gnutls_datum_t d_datum = datum(&d);
    int code = gnutls_privkey_import_ecc_raw(
        key->private_key, curve, &x_datum, has_y ? &y_datum : NULL, &d_datum);
    sodium_memzero(&d, sizeof(d));
    return code;
}

static int import_rsa(struct pl_jwt_key *key, const json_t *jwk, bool is_private)
{
    struct member n, e, d, p, q;
    if (json_object_get(jwk, "oth") || !read_member(jwk, "n", &n) || !read_member(jwk, "e", &e))
        return GNUTLS_E_PARSING_ERROR;
    gnutls_datum_t n_datum = datum(&n), e_datum = datum(&e);
    if (!is_private)
        return gnutls_pubkey_import_rsa_raw(key->public_key, &n_datum, &e_datum);
    if (!read_member(jwk, "d", &d) || !read_member(jwk, "p", &p) || !read_member(jwk, "q", &q))
        return GNUTLS_E_PARSING_ERROR;
    gnutls_datum_t d_datum = datum(&d), p_datum = datum(&p), q_datum = datum(&q);
    int code = gnutls_privkey_import_rsa_raw(
        key->private_key, &n_datum, &e_datum, &d_datum, &p_datum, &q_datum, NULL, NULL, NULL);
    sodium_memzero(&d, sizeof(d));
    sodium_memzero(&p, sizeof(p));
    sodium_memzero(&q, sizeof(q));
    return code;
}

static bool is_for_signatures(const json_t *jwk)
{
    const char *use = text_of(jwk, "use");
    const json_t *ops = json_object_get(jwk, "key_ops");
    if (use && strcmp(use, "sig") != 0)
        return false;
    if (!ops)
        return true;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        if (op && (strcmp(op, "verify") == 0 || strcmp(op, "sign") == 0))
            return true;
    }
    return false;
}

/* `alg` and kty must agree; without `alg`, the kty's first algorithm. */
static bool pick_algorithm(
    const json_t *jwk, enum pl_jwt_key_type type, const struct pl_jwt_algorithm **out)
{
    const json_t *alg = json_object_get(jwk, "alg");
    *out = alg ? pl_jwt_algorithm_find(pl_bytes_text(json_string_value(alg)))
               : pl_jwt_algorithm_of(type);
    return *out && (*out)->type == type;
}

static bool pick_type(const json_t *jwk, enum pl_jwt_key_type *out)
{
    const char *kty = text_of(jwk, "kty"), *crv = text_of(jwk, "crv");
    if (!kty)
        return false;
    if (strcmp(kty, "oct") == 0)
        *out = PL_JWT_SECRET;
    else if (strcmp(kty, "RSA") == 0)
        *out = PL_JWT_RSA;
    else if (strcmp(kty, "EC") == 0 && crv && strcmp(crv, "P-256") == 0)
        *out = PL_JWT_P256;
    else if (strcmp(kty, "OKP") == 0 && crv && strcmp(crv, "Ed25519") == 0)
        *out = PL_JWT_ED25519;
    else
        return false;
    return true;
}

static enum pl_err import_secret(struct pl_jwt_key *key, const char *where, const json_t *jwk,
    const struct pl_jwt_algorithm *algorithm, struct pl_diag *diag)
{
    struct member k;
    if (!read_member(jwk, "k", &k))
        return refuse(diag, where, "\"k\" is not base64url of at most 1.5 KB");
    enum pl_err err =
        pl_jwt_key_from_secret(key, where, pl_bytes_of(k.bytes, k.len), algorithm, diag);
    sodium_memzero(&k, sizeof(k));
    return err;
}

static enum pl_err import_pair(struct pl_jwt_key *key, const char *where, const json_t *jwk,
    enum pl_jwt_key_type type, bool is_private, struct pl_diag *diag)
{
    int code =
        is_private ? gnutls_privkey_init(&key->private_key) : gnutls_pubkey_init(&key->public_key);
    if (code >= 0) {
        if (type == PL_JWT_RSA)
            code = import_rsa(key, jwk, is_private);
        else
            code = import_curve(key, jwk,
                type == PL_JWT_P256 ? GNUTLS_ECC_CURVE_SECP256R1 : GNUTLS_ECC_CURVE_ED25519,
                is_private);
    }
    if (code < 0) {
        pl_diag_set(diag, code, "%s: %s", where, gnutls_strerror(code));
        return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_CONFIG;
    }
    return pl_jwt_key_check(key, where, diag);
}

enum pl_err pl_jwt_key_from_jwk(struct pl_jwt_key *key, const char *where, const json_t *jwk,
    bool is_private, struct pl_diag *diag)
{
    enum pl_jwt_key_type type;
    const struct pl_jwt_algorithm *algorithm;
    if (!json_is_object(jwk))
        return refuse(diag, where, "a key is a JSON object");
    if (!pick_type(jwk, &type) || !is_for_signatures(jwk) ||
        !pick_algorithm(jwk, type, &algorithm)) {
        pl_diag_set(diag, 0, "%s: no key for a signature that is supported", where);
        return PL_UNSUPPORTED;
    }
    if (type != PL_JWT_SECRET && !is_private && json_object_get(jwk, "d"))
        return refuse(diag, where, "a private key; checking tokens takes the public one");

    const json_t *kid = json_object_get(jwk, "kid");
    if (kid && !json_is_string(kid))
        return refuse(diag, where, "\"kid\" is a text");
    if (kid) {
        key->kid = pl_alloc_copy(json_string_value(kid), json_string_length(kid));
        if (!key->kid) {
            pl_diag_set(diag, 0, "%s: %s", where, pl_err_text(PL_NO_MEMORY));
            return PL_NO_MEMORY;
        }
    }
    if (type == PL_JWT_SECRET)
        return import_secret(key, where, jwk, algorithm, diag);
    return import_pair(key, where, jwk, type, is_private, diag);
}

/* What a key is called where something is wrong with it. */
static const char *name_of(const struct pl_jwt_key_config *config)
{
    return config->env ? config->env : config->file;
}

enum file_kind { FILE_PEM, FILE_JSON, FILE_SECRET };

static enum file_kind kind_of(struct pl_bytes text)
{
    size_t at = 0;
    while (at < text.len && (text.data[at] == ' ' || (text.data[at] >= 9 && text.data[at] <= 13)))
        at++;
    text = pl_bytes_from(text, at);
    if (pl_bytes_starts(text, PL_BYTES("-----BEGIN ")))
        return FILE_PEM;
    return pl_bytes_starts(text, PL_BYTES("{")) ? FILE_JSON : FILE_SECRET;
}

/* Of a file: an editor's. */
static struct pl_bytes without_line_end(struct pl_bytes text)
{
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    if (text.len > 0 && text.data[text.len - 1] == '\r')
        text.len--;
    return text;
}

/* The one key in a text that is no key set. */
static enum pl_err read_key(struct pl_jwt_key *key, struct pl_bytes text, const json_t *jwk,
    const struct pl_jwt_key_config *config, bool is_private, struct pl_diag *diag)
{
    const struct pl_jwt_algorithm *wanted = NULL;
    if (config->algorithm) {
        wanted = pl_jwt_algorithm_find(pl_bytes_text(config->algorithm));
        if (!wanted)
            return refuse(diag, name_of(config),
                "the algorithm is one of HS256 HS384 HS512 RS256 ES256 EdDSA");
    }
    enum pl_err err;
    if (jwk)
        err = pl_jwt_key_from_jwk(key, name_of(config), jwk, is_private, diag);
    else if (kind_of(text) == FILE_PEM)
        err = pl_jwt_key_from_pem(key, name_of(config), text, is_private, diag);
    else
        err = pl_jwt_key_from_secret(
            key, name_of(config), config->env ? text : without_line_end(text), wanted, diag);
    if (err != PL_OK)
        return err;
    if (wanted && wanted != key->algorithm) {
        pl_diag_set(diag, 0, "%s: this key is for %s, not for %s", name_of(config),
            key->algorithm->name, wanted->name);
        return PL_CONFIG;
    }
    if (config->kid) {
        pl_free(key->kid);
        key->kid = pl_alloc_copy(config->kid, strlen(config->kid));
        if (!key->kid) {
            pl_diag_set(diag, 0, "%s: %s", name_of(config), pl_err_text(PL_NO_MEMORY));
            return PL_NO_MEMORY;
        }
    }
    return PL_OK;
}

/* A copy of the variable's value. */
static enum pl_err read_variable(
    const char *name, struct pl_diag *diag, char **out_text, size_t *out_len)
{
    const char *value = getenv(name);
    if (!value || !value[0]) {
        pl_diag_set(
            diag, 0, "the environment has no %s, which the key of tokens is read from", name);
        return PL_CONFIG;
    }
    *out_len = strlen(value);
    *out_text = pl_alloc_copy(value, *out_len);
    return *out_text ? PL_OK : PL_NO_MEMORY;
}

/* Reads the file or variable; *out_json: json_decref it, NULL if it is no JSON. */
static enum pl_err read_text(const struct pl_jwt_key_config *config, struct pl_diag *diag,
    char **out_text, size_t *out_len, json_t **out_json)
{
    enum pl_err err = config->env
                          ? read_variable(config->env, diag, out_text, out_len)
                          : pl_file_read(config->file, KEY_FILE_MAX, diag, out_text, out_len, NULL);
    if (err != PL_OK)
        return err == PL_NOT_FOUND ? PL_IO : err;
    *out_json = NULL;
    if (kind_of(pl_bytes_of(*out_text, *out_len)) != FILE_JSON)
        return PL_OK;
    json_error_t error;
    *out_json = json_loadb(*out_text, *out_len, JSON_REJECT_DUPLICATES, &error);
    if (*out_json)
        return PL_OK;
    pl_diag_set(diag, 0, "%s:%d: %s", name_of(config), error.line, error.text);
    sodium_memzero(*out_text, *out_len);
    pl_free(*out_text);
    return PL_CONFIG;
}

static void forget_file(char *text, size_t len, json_t *json)
{
    sodium_memzero(text, len);
    pl_free(text);
    json_decref(json);
}

enum pl_err pl_jwt_key_load_private(
    struct pl_jwt_key *key, const struct pl_jwt_key_config *config, struct pl_diag *diag)
{
    char *text;
    size_t len;
    json_t *json;
    enum pl_err err = read_text(config, diag, &text, &len, &json);
    if (err != PL_OK)
        return err;
    const json_t *jwk = json, *set = json_object_get(json, "keys");
    if (set)
        jwk = json_array_size(set) == 1 ? json_array_get(set, 0) : NULL;
    if (set && !jwk)
        err = refuse(diag, name_of(config), "expected one key, not a set");
    else
        err = read_key(key, pl_bytes_of(text, len), jwk, config, true, diag);
    forget_file(text, len, json);
    return err == PL_UNSUPPORTED ? PL_CONFIG : err;
}

struct pl_jwt_keys {
    atomic_uint refs;
    uint32_t count;
    struct pl_jwt_key keys[PL_JWT_KEYS_MAX];
};

static enum pl_err load_set(struct pl_jwt_keys *keys, const json_t *set,
    const struct pl_jwt_key_config *config, struct pl_diag *diag)
{
    if (config->algorithm || config->kid)
        return refuse(diag, name_of(config), "in a key set, each key names its own alg and kid");
    uint32_t used = 0;
    for (size_t i = 0; i < json_array_size(set); i++) {
        if (keys->count == PL_JWT_KEYS_MAX)
            return refuse(diag, name_of(config), "more than 64 keys");
        struct pl_jwt_key *key = &keys->keys[keys->count++];
        char where[160];
        snprintf(where, sizeof(where), "%s: key %zu", name_of(config), i + 1);
        enum pl_err err = pl_jwt_key_from_jwk(key, where, json_array_get(set, i), false, diag);
        if (err == PL_UNSUPPORTED) {
            pl_jwt_key_done(key);
            keys->count--;
            continue;
        }
        if (err != PL_OK)
            return err;
        used++;
    }
    return used ? PL_OK : refuse(diag, name_of(config), "no key for a signature that is supported");
}

static enum pl_err load_file(
    struct pl_jwt_keys *keys, const struct pl_jwt_key_config *config, struct pl_diag *diag)
{
    char *text;
    size_t len;
    json_t *json;
    enum pl_err err = read_text(config, diag, &text, &len, &json);
    if (err != PL_OK)
        return err;
    const json_t *set = json_object_get(json, "keys");
    if (set)
        err = load_set(keys, set, config, diag);
    else if (keys->count == PL_JWT_KEYS_MAX)
        err = refuse(diag, name_of(config), "more than 64 keys");
    else
        err =
            read_key(&keys->keys[keys->count++], pl_bytes_of(text, len), json, config, false, diag);
    forget_file(text, len, json);
    return err == PL_UNSUPPORTED ? PL_CONFIG : err;
}

static struct pl_jwt_keys *new_keys(struct pl_diag *diag)
{
    struct pl_jwt_keys *keys = pl_zalloc(sizeof(*keys));
    if (keys)
        atomic_init(&keys->refs, 1);
    else
        pl_diag_set(diag, 0, "JWT keys: %s", pl_err_text(PL_NO_MEMORY));
    return keys;
}

/* A key that everybody can read verifies signatures; a secret that everybody can read is none. */
static bool is_public(const json_t *jwk)
{
    const char *kty = text_of(jwk, "kty");
    return kty && strcmp(kty, "oct") != 0;
}

static enum pl_err add_public(
    struct pl_jwt_keys *keys, const char *where, const json_t *set, struct pl_diag *diag)
{
    for (size_t i = 0; i < json_array_size(set); i++) {
        const json_t *jwk = json_array_get(set, i);
        if (!is_public(jwk))
            continue;
        if (keys->count == PL_JWT_KEYS_MAX)
            return refuse(diag, where, "more than 64 keys");
        struct pl_jwt_key *key = &keys->keys[keys->count++];
        enum pl_err err = pl_jwt_key_from_jwk(key, where, jwk, false, diag);
        if (err == PL_OK)
            continue;
        pl_jwt_key_done(key);
        keys->count--;
        if (err == PL_NO_MEMORY)
            return err;
    }
    return keys->count ? PL_OK : refuse(diag, where, "no key for a signature that is supported");
}

enum pl_err pl_jwt_keys_of_set(
    const char *where, struct pl_bytes text, struct pl_diag *diag, struct pl_jwt_keys **out)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    const json_t *set = json_object_get(json, "keys");
    struct pl_jwt_keys *keys = NULL;
    enum pl_err err = PL_CONFIG;
    if (!json)
        pl_diag_set(diag, 0, "%s:%d: %s", where, error.line, error.text);
    else if (!json_is_array(set))
        pl_diag_set(diag, 0, "%s: expected an object with \"keys\"", where);
    else if (!(keys = new_keys(diag)))
        err = PL_NO_MEMORY;
    else
        err = add_public(keys, where, set, diag);
    json_decref(json);
    if (err == PL_OK)
        *out = keys;
    else
        pl_jwt_keys_unref(keys);
    return err == PL_CONFIG ? PL_MALFORMED : err;
}

enum pl_err pl_jwt_keys_load(
    const struct pl_jwt_config *config, struct pl_diag *diag, struct pl_jwt_keys **out)
{
    struct pl_jwt_keys *keys = new_keys(diag);
    if (!keys)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < config->key_count; i++) {
        if (config->keys[i].url)
            continue;
        enum pl_err err = load_file(keys, &config->keys[i], diag);
        if (err != PL_OK) {
            pl_jwt_keys_unref(keys);
            return err;
        }
    }
    *out = keys;
    return PL_OK;
}

struct pl_jwt_keys *pl_jwt_keys_ref(struct pl_jwt_keys *keys)
{
    if (keys)
        atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

struct pl_jwt_keys *pl_jwt_keys_unref(struct pl_jwt_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (uint32_t i = 0; i < keys->count; i++)
        pl_jwt_key_done(&keys->keys[i]);
    pl_free(keys);
    return NULL;
}

size_t pl_jwt_keys_count(const struct pl_jwt_keys *keys)
{
    return keys ? keys->count : 0;
}

const char *pl_jwt_keys_fingerprint(const struct pl_jwt_keys *keys, size_t index)
{
    return keys->keys[index].fingerprint;
}

bool pl_jwt_keys_have_id(const struct pl_jwt_keys *keys, struct pl_bytes kid)
{
    for (size_t i = 0; i < pl_jwt_keys_count(keys); i++) {
        if (keys->keys[i].kid && pl_bytes_equal(pl_bytes_text(keys->keys[i].kid), kid))
            return true;
    }
    return false;
}

bool pl_jwt_keys_have(const struct pl_jwt_keys *keys, struct pl_bytes fingerprint)
{
    for (size_t i = 0; i < pl_jwt_keys_count(keys); i++) {
        if (pl_bytes_equal(pl_bytes_text(keys->keys[i].fingerprint), fingerprint))
            return true;
    }
    return false;
}

const struct pl_jwt_key *pl_jwt_keys_verify(const struct pl_jwt_keys *keys,
    const struct pl_jwt_algorithm *algorithm, struct pl_bytes kid, struct pl_bytes data,
    struct pl_bytes signature)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct pl_jwt_key *key = &keys->keys[i];
        bool is_meant = !key->kid || kid.len == 0 || pl_bytes_equal(kid, pl_bytes_text(key->kid));
        if (key->algorithm == algorithm && is_meant && pl_jwt_key_verifies(key, data, signature))
            return key;
    }
    return NULL;
}
