#include <sodium.h>
#include <stdio.h>
#include <time.h>

#include "auth/auth_state.h"
#include "auth/proof.h"
#include "base/alloc.h"
#include "base/text.h"
#include "codec/value.h"

enum {
    NONCE_LEN = 24,
    NONCE_TEXT = 32, /* base64 of that */
    CLIENT_NONCE_MAX = 256,
    NAME_MAX_LEN = 256,
    /* Of fakes, where no user has a real one. */
    FAKE_CRA_ITERATIONS = 10000,
    FAKE_SCRAM_ITERATIONS = 100000,
};

static void free_exchange(struct pl_exchange *base)
{
    struct pl_auth_exchange *exchange = PL_CONTAINER(base, struct pl_auth_exchange, core);
    pl_arena_done(&exchange->memory);
    sodium_memzero(exchange, sizeof *exchange);
    pl_free(exchange);
}

struct pl_auth_exchange *pl_auth_exchange_new(
    enum pl_auth_method method, const char *method_name, struct pl_bytes name)
{
    struct pl_auth_exchange *exchange = pl_zalloc(sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->core.free = free_exchange;
    exchange->method = method;
    exchange->provider = "static";
    exchange->challenge = (struct pl_challenge){
        .method = pl_bytes_text(method_name),
        .fields = exchange->fields,
    };
    if (pl_auth_exchange_keep(exchange, name, &exchange->name)) {
        free_exchange(&exchange->core);
        return NULL;
    }
    return exchange;
}

enum pl_err pl_auth_exchange_keep(
    struct pl_auth_exchange *exchange, struct pl_bytes bytes, struct pl_bytes *out)
{
    const char *copy = pl_arena_copy(&exchange->memory, bytes);
    *out = pl_bytes_of(copy, copy ? bytes.len : 0);
    return copy ? PL_OK : PL_NO_MEMORY;
}

struct pl_bytes pl_credentials_extra(const struct pl_credentials *credentials, const char *name)
{
    for (uint32_t i = 0; i < credentials->extra_count; i++)
        if (pl_bytes_equal(credentials->extra[i].name, pl_bytes_text(name)))
            return credentials->extra[i].value;
    return PL_NO_BYTES;
}

/* ---- Whose secret ---- */

/* Base64 of bytes that nobody guesses, and that are the same for a name each time. */
static enum pl_err fake_salt(struct pl_auth_exchange *exchange, const struct pl_auth *auth)
{
    uint8_t bytes[16];
    char text[24];
    crypto_generichash_state state;
    crypto_generichash_init(&state, auth->secret, sizeof auth->secret, sizeof bytes);
    crypto_generichash_update(&state, &exchange->method, 1);
    crypto_generichash_update(&state, exchange->name.data, exchange->name.len);
    crypto_generichash_final(&state, bytes, sizeof bytes);
    size_t len = pl_base64_encode(pl_bytes_of(bytes, sizeof bytes), false, text);
    return pl_auth_exchange_keep(exchange, pl_bytes_of(text, len), &exchange->secret.salt);
}

static enum pl_err set_fake(
    struct pl_auth_exchange *exchange, const struct pl_auth *auth, const struct pl_users *users)
{
    static const enum pl_secret_kind kinds[] = {
        PL_SECRET_PASSWORD, PL_SECRET_CRA, PL_SECRET_SCRAM, PL_SECRET_KEY};
    const struct pl_secret *example = pl_users_example(users, kinds[exchange->method]);
    struct pl_secret *s = &exchange->secret;
    *s = (struct pl_secret){.kind = (uint8_t)kinds[exchange->method], .scram_count = 1};
    bool has_salt =
        s->kind == PL_SECRET_SCRAM || (s->kind == PL_SECRET_CRA && (!example || example->salt.len));
    if (example) {
        s->kdf = example->kdf;
        s->iterations = example->iterations;
        s->memory_kib = example->memory_kib;
        s->key_len = example->key_len;
        s->scram_count = example->scram_count;
    } else {
        s->iterations = s->kind == PL_SECRET_CRA ? FAKE_CRA_ITERATIONS : FAKE_SCRAM_ITERATIONS;
        s->key_len = PL_KEY_LEN;
    }
    randombytes_buf(s->scram, sizeof s->scram);
    randombytes_buf(s->bytes, sizeof s->bytes);
    s->key = pl_bytes_of(s->bytes, sizeof s->bytes);
    return has_salt ? fake_salt(exchange, auth) : PL_OK;
}

static enum pl_err copy_secret(struct pl_auth_exchange *exchange, const struct pl_secret *from)
{
    struct pl_secret *s = &exchange->secret;
    *s = *from;
    enum pl_err err = pl_auth_exchange_keep(exchange, from->text, &s->text);
    if (!err)
        err = pl_auth_exchange_keep(exchange, from->salt, &s->salt);
    if (!err)
        err = pl_auth_exchange_keep(exchange, from->key, &s->key);
    exchange->is_known = true;
    return err;
}

enum pl_err pl_auth_exchange_set_secret(struct pl_auth_exchange *exchange,
    const struct pl_auth *auth, const struct pl_users *users, const struct pl_secret *secret)
{
    exchange->is_known = false;
    return secret ? copy_secret(exchange, secret) : set_fake(exchange, auth, users);
}

/* Base64, or hex. */
static bool decode_key(struct pl_bytes text, uint8_t out[PL_KEY_LEN])
{
    uint8_t bytes[64];
    size_t len;
    if (pl_hex_decode_key(text, out))
        return true;
    if (text.len > 44 || pl_base64_decode(text, false, bytes, &len) || len != PL_KEY_LEN)
        return false;
    memcpy(out, bytes, PL_KEY_LEN);
    return true;
}

static bool is_argon(struct pl_bytes kdf)
{
    return pl_bytes_starts(kdf, PL_BYTES("argon2id"));
}

static uint32_t count_of(uint64_t number, uint32_t standard)
{
    return !number ? standard : number > PL_ITERATIONS_MAX ? 0 : (uint32_t)number;
}

enum pl_err pl_auth_exchange_set_principal(
    struct pl_auth_exchange *exchange, const struct pl_auth_principal *p)
{
    struct pl_secret s = {.kdf = is_argon(p->kdf) ? PL_KDF_ARGON2ID : PL_KDF_PBKDF2,
        .salt = p->salt,
        .key = p->secret,
        .scram_count = 1};
    uint8_t salt[PL_SALT_MAX + 3];
    size_t len;
    bool is_good = p->salt.len <= PL_SALT_MAX;
    switch ((enum pl_auth_method)exchange->method) {
    case PL_METHOD_TICKET:
        return PL_OK;
    case PL_METHOD_CRA:
        s.kind = PL_SECRET_CRA;
        s.iterations = count_of(p->iterations, 1000);
        s.key_len = count_of(p->key_len, PL_KEY_LEN);
        is_good &= p->secret.len && s.iterations && s.key_len;
        break;
    case PL_METHOD_SCRAM:
        s.kind = PL_SECRET_SCRAM;
        s.iterations = count_of(p->iterations, 4096);
        s.memory_kib = is_argon(p->kdf) ? count_of(p->memory_kib, 512) : 0;
        is_good &= p->salt.len && !pl_base64_decode(p->salt, false, salt, &len) && s.iterations &&
                   decode_key(p->stored_key, s.scram[0].stored) &&
                   decode_key(p->server_key, s.scram[0].server);
        break;
    case PL_METHOD_KEY:
        s.kind = PL_SECRET_KEY;
        is_good = pl_hex_decode_key(p->public_key, s.bytes);
        break;
    }
    return is_good ? copy_secret(exchange, &s) : PL_MALFORMED;
}

/* ---- The challenge ---- */

static void add_field(struct pl_auth_exchange *exchange, const char *name, struct pl_bytes text)
{
    exchange->fields[exchange->challenge.field_count++] =
        (struct pl_challenge_field){.name = name, .text = text};
}

static void add_number(struct pl_auth_exchange *exchange, const char *name, uint64_t number)
{
    exchange->fields[exchange->challenge.field_count++] =
        (struct pl_challenge_field){.name = name, .number = number};
}

static size_t make_nonce(char out[NONCE_TEXT])
{
    uint8_t bytes[NONCE_LEN];
    randombytes_buf(bytes, sizeof bytes);
    return pl_base64_encode(pl_bytes_of(bytes, sizeof bytes), false, out);
}

static void put_time(struct pl_value_writer *v, uint64_t unix_ms)
{
    char text[40];
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        return;
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof text - len, ".%03uZ", (unsigned)(unix_ms % 1000));
    pl_put_text(v, text);
}

/* What is signed says nothing that it would not say of a user who is not there: so the role is
 * none of theirs. */
static enum pl_err begin_cra(
    struct pl_auth_exchange *exchange, uint64_t session, uint64_t now_unix_ms)
{
    char nonce[NONCE_TEXT];
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_JSON);
    struct pl_shared *text;
    pl_put_dict(&v);
    pl_put_key(&v, "authid");
    pl_put_string(&v, exchange->name);
    pl_put_key(&v, "authrole");
    pl_put_text(&v, "user");
    pl_put_key(&v, "authmethod");
    pl_put_text(&v, "wampcra");
    pl_put_key(&v, "authprovider");
    pl_put_text(&v, exchange->provider);
    pl_put_key(&v, "nonce");
    pl_put_string(&v, pl_bytes_of(nonce, make_nonce(nonce)));
    pl_put_key(&v, "timestamp");
    put_time(&v, now_unix_ms);
    pl_put_key(&v, "session");
    pl_put_natural(&v, session);
    pl_put_end(&v);
    enum pl_err err = pl_writer_take(&w, &text);
    if (err)
        return err;
    err = pl_auth_exchange_keep(exchange, pl_bytes_of(text->data, text->len), &exchange->text);
    pl_shared_unref(text);
    add_field(exchange, "challenge", exchange->text);
    if (exchange->secret.salt.len) {
        add_field(exchange, "salt", exchange->secret.salt);
        add_number(exchange, "keylen", exchange->secret.key_len);
        add_number(exchange, "iterations", exchange->secret.iterations);
    }
    return err;
}

static enum pl_err begin_scram(struct pl_auth_exchange *exchange, struct pl_diag *diag)
{
    const struct pl_secret *s = &exchange->secret;
    struct pl_bytes ours = exchange->client_nonce;
    char nonce[CLIENT_NONCE_MAX + NONCE_TEXT];
    if (!ours.len || ours.len > CLIENT_NONCE_MAX || memchr(ours.data, ',', ours.len)) {
        pl_diag_set(diag, 0, "scram: authextra has no nonce, or none that may be one");
        return PL_BAD_LOGIN;
    }
    memcpy(nonce, ours.data, ours.len);
    size_t len = ours.len + make_nonce(nonce + ours.len);
    enum pl_err err = pl_auth_exchange_keep(exchange, pl_bytes_of(nonce, len), &exchange->nonce);
    add_field(exchange, "nonce", exchange->nonce);
    add_field(exchange, "salt", s->salt);
    /* Autobahn for Python spells it otherwise than the standard. */
    add_field(exchange, "kdf",
        s->kdf == PL_KDF_PBKDF2                                         ? PL_BYTES("pbkdf2")
        : pl_bytes_equal(exchange->challenge.method, PL_BYTES("scram")) ? PL_BYTES("argon2id-13")
                                                                        : PL_BYTES("argon2id13"));
    add_number(exchange, "iterations", s->iterations);
    if (s->kdf == PL_KDF_ARGON2ID)
        add_number(exchange, "memory", s->memory_kib);
    return err;
}

/* What TLS gave, hashed to as many bytes as a challenge has; empty: no binding. */
static struct pl_bytes hashed_channel(
    const struct pl_auth_exchange *exchange, uint8_t hash[crypto_hash_sha256_BYTES])
{
    if (!exchange->binding.len)
        return PL_NO_BYTES;
    crypto_hash_sha256(hash, exchange->channel_id.data, exchange->channel_id.len);
    return pl_bytes_of(hash, crypto_hash_sha256_BYTES);
}

enum pl_err pl_auth_exchange_sign(struct pl_auth_exchange *exchange,
    const struct pl_auth_tables *tables, struct pl_bytes challenge)
{
    uint8_t bytes[PL_KEY_LEN], hash[crypto_hash_sha256_BYTES];
    char signature[PL_CRYPTOSIGN_LEN], key[2 * PL_KEY_LEN];
    if (exchange->method != PL_METHOD_KEY || !tables->has_key ||
        !pl_hex_decode_key(challenge, bytes))
        return PL_OK;
    pl_cryptosign_sign(tables->secret_key, bytes, hashed_channel(exchange, hash), signature);
    pl_hex_encode(pl_bytes_of(tables->public_key, sizeof tables->public_key), key);
    enum pl_err err =
        pl_auth_exchange_keep(exchange, pl_bytes_of(key, sizeof key), &exchange->own_key);
    return err ? err
               : pl_auth_exchange_keep(
                     exchange, pl_bytes_of(signature, sizeof signature), &exchange->signature);
}

static enum pl_err begin_key(struct pl_auth_exchange *exchange)
{
    char hex[2 * PL_KEY_LEN];
    struct pl_bytes text;
    randombytes_buf(exchange->random, sizeof exchange->random);
    pl_hex_encode(pl_bytes_of(exchange->random, sizeof exchange->random), hex);
    enum pl_err err = pl_auth_exchange_keep(exchange, pl_bytes_of(hex, sizeof hex), &text);
    add_field(exchange, "challenge", text);
    if (exchange->binding.len)
        add_field(exchange, "channel_binding", exchange->binding);
    if (exchange->signature.len) {
        add_field(exchange, "pubkey", exchange->own_key);
        add_field(exchange, "signature", exchange->signature);
    }
    return err;
}

enum pl_err pl_auth_exchange_begin(
    struct pl_auth_exchange *exchange, uint64_t session, uint64_t now_unix_ms, struct pl_diag *diag)
{
    switch ((enum pl_auth_method)exchange->method) {
    case PL_METHOD_TICKET:
        return PL_OK;
    case PL_METHOD_CRA:
        return begin_cra(exchange, session, now_unix_ms);
    case PL_METHOD_SCRAM:
        return begin_scram(exchange, diag);
    case PL_METHOD_KEY:
        return begin_key(exchange);
    }
    return PL_UNSUPPORTED;
}

/* ---- The response ---- */

/* "c=" of RFC 5802, section 5.1: base64 of the header and what TLS gave; of no binding, "n,,". */
static struct pl_bytes scram_binding(const struct pl_auth_exchange *exchange, char *out, size_t cap)
{
    char header[64];
    uint8_t bytes[64 + PL_CHANNEL_ID_MAX];
    if (!exchange->binding.len)
        return PL_BYTES("biws");
    int len = snprintf(
        header, sizeof header, "p=%.*s,,", (int)exchange->binding.len, exchange->binding.data);
    memcpy(bytes, header, (size_t)len);
    memcpy(bytes + len, exchange->channel_id.data, exchange->channel_id.len);
    PL_ASSERT(cap >= 4 * ((sizeof bytes + 2) / 3));
    size_t size =
        pl_base64_encode(pl_bytes_of(bytes, (size_t)len + exchange->channel_id.len), false, out);
    return pl_bytes_of(out, size);
}

static bool is_scram_proved(const struct pl_auth_exchange *exchange,
    const struct pl_credentials *credentials, char *verifier)
{
    char text[4 * ((64 + PL_CHANNEL_ID_MAX + 2) / 3 + 1)];
    struct pl_bytes nonce = pl_credentials_extra(credentials, "nonce");
    struct pl_scram scram = {
        .name = exchange->name,
        .client_nonce = exchange->client_nonce,
        .nonce = exchange->nonce,
        .salt = exchange->secret.salt,
        .iterations = exchange->secret.iterations,
        .binding = scram_binding(exchange, text, sizeof text),
    };
    if (nonce.len && !pl_bytes_equal(nonce, exchange->nonce))
        return false;
    bool is_proved = false;
    for (uint32_t i = 0; i < exchange->secret.scram_count; i++) {
        const struct pl_scram_keys *keys = &exchange->secret.scram[i];
        is_proved = is_proved || pl_scram_is_proved(&scram, keys, credentials->response, verifier);
        struct pl_scram bare = scram;
        bare.binding = PL_NO_BYTES;
        if (!exchange->binding.len)
            is_proved =
                is_proved || pl_scram_is_proved(&bare, keys, credentials->response, verifier);
    }
    return is_proved;
}

static bool is_key_proved(
    const struct pl_auth_exchange *exchange, const struct pl_credentials *credentials)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    return pl_cryptosign_is_proved(exchange->secret.bytes, exchange->random,
        hashed_channel(exchange, hash), credentials->response);
}

bool pl_auth_exchange_is_proved(const struct pl_auth_exchange *exchange,
    const struct pl_credentials *credentials, char *verifier, struct pl_bytes *out_verifier)
{
    bool is_proved = false;
    *out_verifier = PL_NO_BYTES;
    switch ((enum pl_auth_method)exchange->method) {
    case PL_METHOD_TICKET:
        break; /* the password's way */
    case PL_METHOD_CRA:
        is_proved = pl_cra_is_proved(exchange->secret.key, exchange->text, credentials->response);
        break;
    case PL_METHOD_SCRAM:
        is_proved = is_scram_proved(exchange, credentials, verifier);
        if (is_proved)
            *out_verifier = pl_bytes_of(verifier, PL_VERIFIER_LEN);
        break;
    case PL_METHOD_KEY:
        is_proved = is_key_proved(exchange, credentials);
        break;
    }
    /* Last, so that it costs the same. */
    return is_proved && exchange->is_known;
}
