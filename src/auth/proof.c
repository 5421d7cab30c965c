#include "auth/proof.h"

#include <gnutls/crypto.h>
#include <sodium.h>

#include "base/output.h"
#include "base/text.h"

enum { BASE64_KEY = 44, SIGNATURE_LEN = 64 };

enum pl_err pl_hmac(struct pl_bytes key, struct pl_bytes text, uint8_t out[PL_KEY_LEN])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.data, key.len, text.data, text.len, out) < 0
               ? PL_NO_MEMORY
               : PL_OK;
}

/* Base64, with padding or not, of PL_KEY_LEN bytes. */
static bool decode(struct pl_bytes text, uint8_t out[PL_KEY_LEN])
{
    uint8_t bytes[3 * (BASE64_KEY / 4) + 3];
    size_t len;
    if (text.len > BASE64_KEY || pl_base64_decode(text, false, bytes, &len) || len != PL_KEY_LEN)
        return false;
    memcpy(out, bytes, PL_KEY_LEN);
    return true;
}

bool pl_cra_is_proved(struct pl_bytes key, struct pl_bytes challenge, struct pl_bytes signature)
{
    uint8_t expected[PL_KEY_LEN], shown[PL_KEY_LEN];
    return decode(signature, shown) && !pl_hmac(key, challenge, expected) &&
           sodium_memcmp(expected, shown, PL_KEY_LEN) == 0;
}

/* RFC 5802, section 5.1: of the name, which stands in a list of fields. */
static void write_name(struct pl_writer *w, struct pl_bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == ',')
            pl_write_text(w, "=2C");
        else if (name.data[i] == '=')
            pl_write_text(w, "=3D");
        else
            pl_write_u8(w, name.data[i]);
    }
}

static enum pl_err write_auth_message(const struct pl_scram *s, struct pl_shared **out)
{
    struct pl_writer w = pl_writer_new();
    pl_write_text(&w, "n=");
    write_name(&w, s->name);
    pl_write_text(&w, ",r=");
    pl_write_bytes(&w, s->client_nonce);
    pl_write_text(&w, ",r=");
    pl_write_bytes(&w, s->nonce);
    pl_write_text(&w, ",s=");
    pl_write_bytes(&w, s->salt);
    pl_write_text(&w, ",i=");
    pl_write_decimal(&w, s->iterations);
    pl_write_text(&w, ",c=");
    pl_write_bytes(&w, s->binding);
    pl_write_text(&w, ",r=");
    pl_write_bytes(&w, s->nonce);
    return pl_writer_take(&w, out);
}

bool pl_scram_is_proved(const struct pl_scram *scram, const struct pl_scram_keys *keys,
    struct pl_bytes proof, char out_verifier[PL_VERIFIER_LEN])
{
    uint8_t client[PL_KEY_LEN], stored[PL_KEY_LEN], signature[PL_KEY_LEN], server[PL_KEY_LEN];
    struct pl_shared *message = NULL;
    bool is_proved = false;
    if (!decode(proof, client) || write_auth_message(scram, &message))
        return false;
    struct pl_bytes text = pl_bytes_of(message->data, message->len);
    if (!pl_hmac(pl_bytes_of(keys->stored, PL_KEY_LEN), text, signature)) {
        for (size_t i = 0; i < PL_KEY_LEN; i++)
            client[i] ^= signature[i];
        is_proved = gnutls_hash_fast(GNUTLS_DIG_SHA256, client, sizeof client, stored) >= 0 &&
                    sodium_memcmp(stored, keys->stored, PL_KEY_LEN) == 0 &&
                    !pl_hmac(pl_bytes_of(keys->server, PL_KEY_LEN), text, server);
    }
    if (is_proved)
        pl_base64_encode(pl_bytes_of(server, sizeof server), false, out_verifier);
    pl_shared_unref(message);
    sodium_memzero(client, sizeof client);
    return is_proved;
}

/* The challenge with the channel id, if there is one, put over it. */
static void bind(
    const uint8_t challenge[PL_KEY_LEN], struct pl_bytes channel_id, uint8_t out[PL_KEY_LEN])
{
    for (size_t i = 0; i < PL_KEY_LEN; i++)
        out[i] = challenge[i] ^ (channel_id.len ? channel_id.data[i] : 0);
}

void pl_cryptosign_sign(const uint8_t secret_key[2 * PL_KEY_LEN],
    const uint8_t challenge[PL_KEY_LEN], struct pl_bytes channel_id, char out[PL_CRYPTOSIGN_LEN])
{
    uint8_t bytes[SIGNATURE_LEN + PL_KEY_LEN];
    bind(challenge, channel_id, bytes + SIGNATURE_LEN);
    crypto_sign_detached(bytes, NULL, bytes + SIGNATURE_LEN, PL_KEY_LEN, secret_key);
    pl_hex_encode(pl_bytes_of(bytes, sizeof bytes), out);
}

bool pl_cryptosign_is_proved(const uint8_t public_key[PL_KEY_LEN],
    const uint8_t challenge[PL_KEY_LEN], struct pl_bytes channel_id, struct pl_bytes response)
{
    uint8_t message[PL_KEY_LEN], shown[PL_KEY_LEN], signature[SIGNATURE_LEN];
    if (response.len != 2 * (SIGNATURE_LEN + PL_KEY_LEN) ||
        !pl_hex_decode_key(pl_bytes_of(response.data, 64), signature) ||
        !pl_hex_decode_key(pl_bytes_of(response.data + 64, 64), signature + PL_KEY_LEN) ||
        !pl_hex_decode_key(pl_bytes_of(response.data + 128, 64), shown))
        return false;
    bind(challenge, channel_id, message);
    return sodium_memcmp(message, shown, PL_KEY_LEN) == 0 &&
           crypto_sign_verify_detached(signature, message, PL_KEY_LEN, public_key) == 0;
}
