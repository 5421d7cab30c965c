/*
 * The server's half of the methods of authentication that prove a secret without showing it: pure
 * functions of what was kept, asked and answered (WAMP, advanced profile, "Authentication
 * Methods"). All comparisons take the same time wherever they fail.
 */
#ifndef PL_AUTH_PROOF_H
#define PL_AUTH_PROOF_H

#include "auth/secret.h"

/* HMAC-SHA256. */
PL_MUST_USE enum pl_err pl_hmac(struct pl_bytes key, struct pl_bytes text, uint8_t out[PL_KEY_LEN]);

/* 64 hex digits of either case. */
bool pl_hex_decode_key(struct pl_bytes text, uint8_t out[PL_KEY_LEN]);
/* An argon2id hash of libsodium's form and of bearable cost. */
bool pl_password_hash_is_valid(struct pl_bytes hash);

/* WAMP-CRA: is signature base64 of the HMAC of challenge? */
bool pl_cra_is_proved(struct pl_bytes key, struct pl_bytes challenge, struct pl_bytes signature);

/* What both sides of SCRAM have said; borrowed. */
struct pl_scram {
    struct pl_bytes name;         /* the authid */
    struct pl_bytes client_nonce; /* HELLO's */
    struct pl_bytes nonce;        /* CHALLENGE's: client_nonce and more */
    struct pl_bytes salt;         /* base64 */
    uint32_t iterations;
    struct pl_bytes binding; /* "c=" of the message that is signed: "biws", base64 of "n,,";
                                Autobahn for Python leaves it empty */
};
/*
 * Does proof, base64, show that the client knows the password? Then out_verifier is base64 of what
 * shows that we knew it too (ServerSignature).
 */
enum { PL_VERIFIER_LEN = 44 };
bool pl_scram_is_proved(const struct pl_scram *scram, const struct pl_scram_keys *keys,
    struct pl_bytes proof, char out_verifier[PL_VERIFIER_LEN]);

/*
 * Cryptosign: is response, hex, the signature of challenge, with channel_id (PL_KEY_LEN bytes, or
 * empty) put over it, and behind it what was signed? An old answer is none.
 */
bool pl_cryptosign_is_proved(const uint8_t public_key[PL_KEY_LEN],
    const uint8_t challenge[PL_KEY_LEN], struct pl_bytes channel_id, struct pl_bytes response);
/* The same answer, made: hex without a zero. */
enum { PL_CRYPTOSIGN_LEN = 192 };
void pl_cryptosign_sign(const uint8_t secret_key[2 * PL_KEY_LEN],
    const uint8_t challenge[PL_KEY_LEN], struct pl_bytes channel_id, char out[PL_CRYPTOSIGN_LEN]);

#endif
