/*
 * HELLO, and the client's half of each method of authentication (WAMP, "Authentication Methods").
 * What is computed are pure functions of the secret and of what the router sent.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/text.h"
#include "client/client.h"

enum {
    HASH_LEN = 32,
    BASE64_MAX = 4 * ((HASH_LEN + 2) / 3) + 1,
    NONCE_LEN = 16,
    ITERATIONS_MAX = 10000000,    /* what a router may ask of us: seconds, not hours */
    MEMORY_MAX_KIB = 1024 * 1024, /* the same for argon2id */
    SALT_MAX = 1024,
    SIGNATURE_MAX = 2 * (64 + HASH_LEN),
};

/* ---- HELLO ---- */

static void put_features(struct pl_value_writer *v, const char *role, const char *const *features)
{
    pl_put_key(v, role);
    pl_put_dict(v);
    pl_put_key(v, "features");
    pl_put_dict(v);
    for (; *features; features++) {
        pl_put_key(v, *features);
        pl_put_bool(v, true);
    }
    pl_put_end(v);
    pl_put_end(v);
}

static void put_roles(struct pl_value_writer *v)
{
    static const char *const publisher[] = {"publisher_identification", "publisher_exclusion",
        "subscriber_blackwhite_listing", "payload_passthru_mode", NULL};
    static const char *const subscriber[] = {"publisher_identification",
        "pattern_based_subscription", "event_retention", "event_history", "subscription_revocation",
        "payload_passthru_mode", NULL};
    static const char *const caller[] = {"caller_identification", "progressive_call_results",
        "progressive_call_invocations", "call_canceling", "call_timeout", "payload_passthru_mode",
        NULL};
    static const char *const callee[] = {"caller_identification", "progressive_call_results",
        "progressive_call_invocations", "call_canceling", "pattern_based_registration",
        "shared_registration", "registration_revocation", "payload_passthru_mode", NULL};
    pl_put_key(v, "roles");
    pl_put_dict(v);
    put_features(v, "publisher", publisher);
    put_features(v, "subscriber", subscriber);
    put_features(v, "caller", caller);
    put_features(v, "callee", callee);
    pl_put_end(v);
}

/* The methods that are offered, one after the other; NULL after the last one. */
static const char *const *default_methods(const struct parley_client *c, const char *out[6])
{
    const struct parley_client_options *o = &c->options;
    size_t count = 0;
    if (o->private_key)
        out[count++] = "cryptosign";
    if (o->ticket)
        out[count++] = "ticket";
    if (o->password) {
        out[count++] = "scram";
        out[count++] = "wampcra";
    }
    if (!count)
        out[count++] = "anonymous";
    out[count] = NULL;
    return out;
}

static bool next_method(const char **list, struct pl_bytes *out)
{
    *list += strspn(*list, " ,");
    *out = pl_bytes_of(*list, strcspn(*list, " ,"));
    *list += out->len;
    return out->len;
}

static bool offers(const struct parley_client *c, const char *method)
{
    const char *defaults[6], *list = c->options.authmethods;
    struct pl_bytes word;
    if (!list) {
        for (const char *const *m = default_methods(c, defaults); *m; m++) {
            if (strcmp(*m, method) == 0)
                return true;
        }
        return false;
    }
    while (next_method(&list, &word)) {
        if (pl_bytes_equal(word, pl_bytes_text(method)))
            return true;
    }
    return false;
}

static void put_methods(struct parley_client *c, struct pl_value_writer *v)
{
    const char *defaults[6], *list = c->options.authmethods;
    struct pl_bytes word;
    pl_put_key(v, "authmethods");
    pl_put_list(v);
    if (list) {
        while (next_method(&list, &word))
            pl_put_string(v, word);
    } else {
        for (const char *const *m = default_methods(c, defaults); *m; m++)
            pl_put_text(v, *m);
    }
    pl_put_end(v);
}

/* The secret of the options, else what the program says when it is asked. */
static const char *secret_of(struct parley_client *c, const char *method, const char *given)
{
    if (given || !c->options.secret)
        return given;
    pl_client_unlock(c);
    const char *secret = c->options.secret(c->options.context, method, c->options.authid);
    pl_client_lock(c);
    return secret;
}

static enum pl_err key_pair(
    struct parley_client *c, uint8_t public_key[32], uint8_t secret_key[64], struct pl_diag *diag)
{
    const char *hex = secret_of(c, "cryptosign", c->options.private_key);
    uint8_t seed[32];
    size_t len;
    if (sodium_init() < 0)
        return PL_IO;
    if (!hex || strlen(hex) < 64 ||
        sodium_hex2bin(seed, sizeof seed, hex, 64, NULL, &len, NULL) != 0 || len != sizeof seed) {
        pl_diag_set(diag, 0, "the private key for cryptosign has to be 64 hex digits");
        return PL_BAD_LOGIN;
    }
    crypto_sign_seed_keypair(public_key, secret_key, seed);
    sodium_memzero(seed, sizeof seed);
    return PL_OK;
}

static enum pl_err put_extra(
    struct parley_client *c, struct pl_value_writer *v, struct pl_diag *diag)
{
    uint8_t nonce[NONCE_LEN], public_key[32], secret_key[64];
    char hex[64];
    bool has_scram = offers(c, "scram") || offers(c, "wamp-scram");
    pl_put_key(v, "authextra");
    pl_put_dict(v);
    if (has_scram) {
        if (gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof nonce) < 0)
            return PL_IO;
        size_t len = pl_base64_encode(pl_bytes_of(nonce, sizeof nonce), false, c->login.nonce);
        c->login.nonce[len] = '\0';
        pl_put_key(v, "nonce");
        pl_put_text(v, c->login.nonce);
        pl_put_key(v, "channel_binding");
        pl_put_null(v);
    }
    if (offers(c, "cryptosign")) {
        enum pl_err err = key_pair(c, public_key, secret_key, diag);
        sodium_memzero(secret_key, sizeof secret_key);
        if (err)
            return err;
        pl_hex_encode(pl_bytes_of(public_key, sizeof public_key), hex);
        pl_put_key(v, "pubkey");
        pl_put_string(v, pl_bytes_of(hex, sizeof hex));
    }
    enum pl_err err = pl_put_json_pairs(v, c->options.authextra);
    pl_put_end(v);
    return err;
}

enum pl_err pl_client_hello(struct parley_client *c, struct pl_diag *diag)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, PL_WAMP_HELLO);
    c->login = (struct pl_client_login){0};
    pl_put_text(&v, c->options.realm);
    pl_put_dict(&v);
    put_roles(&v);
    pl_put_key(&v, "agent");
    pl_put_text(&v, c->options.agent);
    put_methods(c, &v);
    if (c->options.authid) {
        pl_put_key(&v, "authid");
        pl_put_text(&v, c->options.authid);
    }
    if (c->options.authrole) {
        pl_put_key(&v, "authrole");
        pl_put_text(&v, c->options.authrole);
    }
    enum pl_err err = put_extra(c, &v, diag);
    if (!err)
        err = pl_put_json_pairs(&v, c->options.details);
    pl_put_end(&v);
    pl_put_end(&v);
    if (!err)
        return pl_client_send(c, &w);
    pl_client_drop(c, &w);
    return err;
}

/* ---- What the router sent ---- */

/* A string of Extra in the arena; data NULL: it is not there. */
static struct pl_bytes text_of(
    const struct pl_value *extra, const char *key, struct pl_arena *arena)
{
    struct pl_value value;
    struct pl_bytes text = PL_NO_BYTES;
    if (extra->kind != PL_VALUE_DICT || !pl_value_find(extra, key, &value) ||
        value.kind != PL_VALUE_STRING || pl_value_text(&value, arena, &text) != PL_OK)
        return PL_NO_BYTES;
    return text.data ? text : PL_BYTES("");
}

static uint64_t number_of(const struct pl_value *extra, const char *key, uint64_t otherwise)
{
    struct pl_value value;
    uint64_t number;
    bool is_there = extra->kind == PL_VALUE_DICT && pl_value_find(extra, key, &value) &&
                    pl_value_natural(&value, &number);
    return is_there ? number : otherwise;
}

static enum pl_err refuse(struct pl_diag *diag, const char *text)
{
    pl_diag_set(diag, 0, "%s", text);
    return PL_BAD_LOGIN;
}

static enum pl_err hmac(struct pl_bytes key, struct pl_bytes text, uint8_t out[HASH_LEN])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.data, key.len, text.data, text.len, out) < 0
               ? PL_NO_MEMORY
               : PL_OK;
}

static enum pl_err pbkdf2(
    const char *password, struct pl_bytes salt, uint64_t iterations, uint8_t *out, size_t len)
{
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)password, (unsigned)strlen(password)};
    gnutls_datum_t salted = {(unsigned char *)(uintptr_t)salt.data, (unsigned)salt.len};
    return gnutls_pbkdf2(GNUTLS_MAC_SHA256, &key, &salted, (unsigned)iterations, out, len) < 0
               ? PL_BAD_LOGIN
               : PL_OK;
}

/* ---- WAMP-CRA ---- */

static enum pl_err answer_cra(struct parley_client *c, const struct pl_value *extra,
    struct pl_arena *arena, char out[SIGNATURE_MAX + 1], struct pl_diag *diag)
{
    const char *secret = secret_of(c, "wampcra", c->options.password);
    struct pl_bytes challenge = text_of(extra, "challenge", arena);
    struct pl_bytes salt = text_of(extra, "salt", arena), key = pl_bytes_text(secret);
    uint64_t len = number_of(extra, "keylen", HASH_LEN);
    uint64_t iterations = number_of(extra, "iterations", 1000);
    uint8_t derived[64], signature[HASH_LEN];
    char text[4 * ((sizeof derived + 2) / 3)];
    if (!secret || !challenge.data)
        return refuse(diag, secret ? "the router's challenge for wampcra has no text"
                                   : "there is no password for wampcra");
    if (salt.len) {
        if (!len || len > sizeof derived || !iterations || iterations > ITERATIONS_MAX)
            return refuse(diag, "the router's challenge for wampcra asks for too much");
        enum pl_err err = pbkdf2(secret, salt, iterations, derived, len);
        if (err)
            return err;
        key = pl_bytes_of(text, pl_base64_encode(pl_bytes_of(derived, len), false, text));
    }
    enum pl_err err = hmac(key, challenge, signature);
    out[pl_base64_encode(pl_bytes_of(signature, sizeof signature), false, out)] = '\0';
    return err;
}

/* ---- SCRAM ---- */

struct scram {
    struct pl_bytes nonce, salt, kdf;
    uint64_t iterations, memory_kib;
    uint8_t salt_bytes[SALT_MAX];
    size_t salt_len;
    uint8_t salted_password[HASH_LEN];
};

static enum pl_err read_scram(struct parley_client *c, const struct pl_value *extra,
    struct pl_arena *arena, struct scram *s, struct pl_diag *diag)
{
    *s = (struct scram){
        .nonce = text_of(extra, "nonce", arena),
        .salt = text_of(extra, "salt", arena),
        .kdf = text_of(extra, "kdf", arena),
        .iterations = number_of(extra, "iterations", 0),
        .memory_kib = number_of(extra, "memory", 0),
    };
    struct pl_bytes ours = pl_bytes_text(c->login.nonce);
    /* A router that does not repeat our nonce could play us an old answer. */
    if (!ours.len || s->nonce.len <= ours.len || !pl_bytes_starts(s->nonce, ours))
        return refuse(diag, "the router's challenge for scram does not belong to ours");
    if (!s->salt.len || s->salt.len > SALT_MAX ||
        pl_base64_decode(s->salt, false, s->salt_bytes, &s->salt_len) != PL_OK || !s->iterations ||
        s->iterations > ITERATIONS_MAX || s->memory_kib > MEMORY_MAX_KIB)
        return refuse(diag, "the router's challenge for scram is wrong or asks for too much");
    return PL_OK;
}

static enum pl_err salt_password(const char *password, struct scram *s, struct pl_diag *diag)
{
    gnutls_datum_t prepared = {0};
    enum pl_err err = PL_OK;
    if (gnutls_utf8_password_normalize(
            (const unsigned char *)password, (unsigned)strlen(password), &prepared, 0) < 0)
        return refuse(diag, "the password holds what no password may");
    const char *text = (const char *)prepared.data;
    if (pl_bytes_equal(s->kdf, PL_BYTES("pbkdf2"))) {
        err = pbkdf2(text, pl_bytes_of(s->salt_bytes, s->salt_len), s->iterations,
            s->salted_password, HASH_LEN);
    } else if ((pl_bytes_equal(s->kdf, PL_BYTES("argon2id13")) ||
                   pl_bytes_equal(s->kdf, PL_BYTES("argon2id-13"))) &&
               s->salt_len == crypto_pwhash_argon2id_SALTBYTES && sodium_init() >= 0) {
        int failed =
            crypto_pwhash_argon2id(s->salted_password, HASH_LEN, text, prepared.size, s->salt_bytes,
                s->iterations, (size_t)s->memory_kib * 1024, crypto_pwhash_argon2id_ALG_ARGON2ID13);
        err = failed ? refuse(diag, "argon2id cannot do what the router asks for") : PL_OK;
    } else {
        err = refuse(diag, "the router's key derivation for scram is unknown here");
    }
    gnutls_free(prepared.data);
    return err;
}

/* Of the authid: , as =2C and = as =3D. */
static void write_name(struct pl_writer *w, const char *name)
{
    for (; name && *name; name++) {
        if (*name == ',' || *name == '=')
            pl_write_text(w, *name == ',' ? "=2C" : "=3D");
        else
            pl_write_u8(w, (uint8_t)*name);
    }
}

static struct pl_writer begin_auth_message(const struct parley_client *c, const struct scram *s)
{
    struct pl_writer w = pl_writer_new();
    pl_write_text(&w, "n=");
    write_name(&w, c->options.authid);
    pl_write_text(&w, ",r=");
    pl_write_text(&w, c->login.nonce);
    pl_write_text(&w, ",r=");
    pl_write_bytes(&w, s->nonce);
    pl_write_text(&w, ",s=");
    pl_write_bytes(&w, s->salt);
    pl_write_text(&w, ",i=");
    pl_write_decimal(&w, s->iterations);
    pl_write_text(&w, ",c=biws,r="); /* base64 of "n,,": no channel binding */
    pl_write_bytes(&w, s->nonce);
    return w;
}

static enum pl_err prove(
    struct parley_client *c, const struct scram *s, uint8_t out_proof[HASH_LEN])
{
    uint8_t client_key[HASH_LEN], stored_key[HASH_LEN], server_key[HASH_LEN];
    struct pl_bytes salted = pl_bytes_of(s->salted_password, HASH_LEN);
    struct pl_writer w = begin_auth_message(c, s);
    struct pl_shared *message;
    enum pl_err err = pl_writer_take(&w, &message);
    if (err)
        return err;
    struct pl_bytes text = pl_bytes_of(message->data, message->len);
    err = hmac(salted, PL_BYTES("Client Key"), client_key);
    if (!err)
        err = hmac(salted, PL_BYTES("Server Key"), server_key);
    if (!err && gnutls_hash_fast(GNUTLS_DIG_SHA256, client_key, HASH_LEN, stored_key) < 0)
        err = PL_NO_MEMORY;
    if (!err)
        err = hmac(pl_bytes_of(stored_key, HASH_LEN), text, out_proof);
    if (!err)
        err = hmac(pl_bytes_of(server_key, HASH_LEN), text, c->login.server_signature);
    for (size_t i = 0; i < HASH_LEN && !err; i++)
        out_proof[i] ^= client_key[i];
    pl_shared_unref(message);
    return err;
}

static enum pl_err answer_scram(struct parley_client *c, const struct pl_value *extra,
    struct pl_arena *arena, char out[SIGNATURE_MAX + 1], struct pl_bytes *out_nonce,
    struct pl_diag *diag)
{
    const char *password = secret_of(c, "scram", c->options.password);
    uint8_t proof[HASH_LEN];
    struct scram s;
    if (!password)
        return refuse(diag, "there is no password for scram");
    enum pl_err err = read_scram(c, extra, arena, &s, diag);
    if (!err)
        err = salt_password(password, &s, diag);
    if (!err)
        err = prove(c, &s, proof);
    if (err)
        return err;
    c->login.expects_proof = true;
    out[pl_base64_encode(pl_bytes_of(proof, sizeof proof), false, out)] = '\0';
    *out_nonce = s.nonce;
    return PL_OK;
}

bool pl_client_is_proved(const struct parley_client *c, const struct pl_value *details)
{
    if (!c->login.expects_proof)
        return true;
    struct pl_arena arena = {0};
    struct pl_value extra;
    struct pl_bytes verifier = PL_NO_BYTES;
    if (details->kind == PL_VALUE_DICT && pl_value_find(details, "authextra", &extra))
        verifier = text_of(&extra, "verifier", &arena);
    /* RFC 5802 writes "v=" before it, and so do some routers. */
    if (pl_bytes_starts(verifier, PL_BYTES("v=")))
        verifier = pl_bytes_from(verifier, 2);
    uint8_t bytes[BASE64_MAX];
    size_t len = 0;
    bool is_proved = verifier.len && verifier.len < BASE64_MAX &&
                     pl_base64_decode(verifier, false, bytes, &len) == PL_OK &&
                     pl_bytes_equal_secret(
                         pl_bytes_of(bytes, len), pl_bytes_of(c->login.server_signature, HASH_LEN));
    pl_arena_done(&arena);
    return is_proved;
}

/* ---- Cryptosign ---- */

static enum pl_err answer_cryptosign(struct parley_client *c, const struct pl_value *extra,
    struct pl_arena *arena, char out[SIGNATURE_MAX + 1], struct pl_diag *diag)
{
    struct pl_bytes challenge = text_of(extra, "challenge", arena);
    struct pl_bytes binding = text_of(extra, "channel_binding", arena);
    uint8_t signed_bytes[64 + HASH_LEN], public_key[32], secret_key[64];
    size_t len;
    if (binding.len)
        return refuse(diag, "the router wants a channel binding, which this client has not");
    if (challenge.len != 2 * HASH_LEN ||
        sodium_hex2bin(signed_bytes + 64, HASH_LEN, (const char *)challenge.data, challenge.len,
            NULL, &len, NULL) != 0 ||
        len != HASH_LEN)
        return refuse(diag, "the router's challenge for cryptosign is not 32 bytes in hex");
    enum pl_err err = key_pair(c, public_key, secret_key, diag);
    if (err)
        return err;
    crypto_sign_detached(signed_bytes, NULL, signed_bytes + 64, HASH_LEN, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    pl_hex_encode(pl_bytes_of(signed_bytes, sizeof signed_bytes), out);
    out[SIGNATURE_MAX] = '\0';
    return PL_OK;
}

/* ---- AUTHENTICATE ---- */

static enum pl_err send_answer(
    struct parley_client *c, const char *signature, struct pl_bytes scram_nonce)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, PL_WAMP_AUTHENTICATE);
    pl_put_text(&v, signature);
    pl_put_dict(&v);
    if (scram_nonce.len) {
        pl_put_key(&v, "nonce");
        pl_put_string(&v, scram_nonce);
        pl_put_key(&v, "channel_binding");
        pl_put_null(&v);
        pl_put_key(&v, "cbind_data");
        pl_put_null(&v);
    }
    pl_put_end(&v);
    pl_put_end(&v);
    return pl_client_send(c, &w);
}

enum pl_err pl_client_answer(
    struct parley_client *c, const struct pl_wamp *challenge, struct pl_diag *diag)
{
    struct pl_arena arena = {0};
    char signature[SIGNATURE_MAX + 1] = "";
    const char *answer = signature;
    struct pl_bytes nonce = PL_NO_BYTES;
    const struct pl_value *extra = &challenge->details;
    enum pl_err err = PL_OK;
    if (pl_value_is(&challenge->text, "ticket")) {
        answer = secret_of(c, "ticket", c->options.ticket);
        if (!answer)
            err = refuse(diag, "there is no ticket");
    } else if (pl_value_is(&challenge->text, "wampcra")) {
        err = answer_cra(c, extra, &arena, signature, diag);
    } else if (pl_value_is(&challenge->text, "scram") ||
               pl_value_is(&challenge->text, "wamp-scram")) {
        err = answer_scram(c, extra, &arena, signature, &nonce, diag);
    } else if (pl_value_is(&challenge->text, "cryptosign")) {
        err = answer_cryptosign(c, extra, &arena, signature, diag);
    } else {
        err = refuse(diag, "the router's method of authentication is unknown here");
    }
    if (!err)
        err = send_answer(c, answer, nonce);
    pl_arena_done(&arena);
    return err;
}
