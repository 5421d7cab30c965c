/*
 * What the server keeps of a user so that it can check who logs in: one field of the users file
 * each, beginning with '$'.
 *
 *     $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH          a password (libsodium's own form)
 *     $wampcra$SECRET                                   WAMP-CRA: the secret itself, base64
 *     $wampcra$i=10000,l=32$SALT$KEY                    … derived from a password by PBKDF2
 *     $scram$pbkdf2$i=100000$SALT$STORED$SERVER         SCRAM (RFC 5802, section 3)
 *     $scram$argon2id$m=19456,t=2$SALT$STORED$SERVER$STORED$SERVER
 *     $cryptosign$PUBLICKEY                             Ed25519, 64 hex digits
 *     $tls$FINGERPRINT                                  SHA-256 of a client certificate, 64 hex
 * digits $tls$name                                         any certificate that the listener's
 * authority vouches for and whose common name is the user's
 *
 * SALT of wampcra is a text that is used as it stands; of scram, and all keys, it is base64.
 * STORED and SERVER are StoredKey and ServerKey. argon2id has them twice: for clients that go on
 * with the 32 bytes of the hash, as the standard says, and for those that go on with its base64
 * (Autobahn for Python).
 */
#ifndef PL_AUTH_SECRET_H
#define PL_AUTH_SECRET_H

#include "base/arena.h"
#include "base/map.h"

enum pl_secret_kind {
    PL_SECRET_PASSWORD,
    PL_SECRET_CRA,
    PL_SECRET_SCRAM,
    PL_SECRET_KEY,
    PL_SECRET_CERTIFICATE,
    PL_SECRET_KINDS
};

enum pl_kdf { PL_KDF_PBKDF2, PL_KDF_ARGON2ID };

enum {
    PL_KEY_LEN = 32, /* of keys, hashes, and what is derived */
    PL_SALT_MAX = 64,
    PL_SECRET_TEXT_MAX = 512, /* of one field, with a terminating zero */
    PL_ITERATIONS_MAX = 10000000,
    PL_SECRETS_MAX = 8, /* of one user */
};

struct pl_scram_keys {
    uint8_t stored[PL_KEY_LEN], server[PL_KEY_LEN];
};

struct pl_secret {
    uint8_t kind;         /* enum pl_secret_kind */
    uint8_t kdf;          /* SCRAM: enum pl_kdf */
    bool is_by_name;      /* CERTIFICATE: `$tls$name` */
    struct pl_bytes text; /* as it stands in the file */
    struct pl_bytes salt; /* CRA: empty: there is none; SCRAM: base64 */
    uint32_t iterations;  /* CRA with a salt, SCRAM */
    uint32_t memory_kib;  /* SCRAM with argon2id */
    uint32_t key_len;     /* CRA with a salt: bytes that are derived */
    struct pl_bytes key;  /* CRA: of the HMAC */
    struct pl_scram_keys scram[2];
    uint32_t scram_count;
    uint8_t bytes[PL_KEY_LEN]; /* KEY, CERTIFICATE */

    struct pl_map_entry entry; /* the users table's: KEY and CERTIFICATE by what they are */
    const void *owner;         /* … and whose */
};

/* Bytes of out lie in text or memory. PL_MALFORMED: no secret of these forms. */
PL_MUST_USE enum pl_err pl_secret_parse(
    struct pl_bytes text, struct pl_arena *memory, struct pl_secret *out);

/* From here on out is terminated. PL_NO_MEMORY; PL_MALFORMED: a password that is no text. */

enum pl_secret_way {
    PL_SECRET_WAY_CRA,       /* salted */
    PL_SECRET_WAY_CRA_PLAIN, /* the password itself is kept */
    PL_SECRET_WAY_SCRAM,     /* PBKDF2 */
    PL_SECRET_WAY_SCRAM_ARGON2ID,
};
/* With a fresh salt and costs of our choice. Slow: never on a reactor. */
PL_MUST_USE enum pl_err pl_secret_make(
    enum pl_secret_way way, struct pl_bytes password, char out[PL_SECRET_TEXT_MAX]);

/*
 * The keys of SCRAM for what a KDF has made of a password. salted: PL_KEY_LEN bytes, or 43 of
 * base64.
 */
PL_MUST_USE enum pl_err pl_scram_keys(struct pl_bytes salted, struct pl_scram_keys *out);

/* What PBKDF2 with HMAC-SHA256 derives. */
PL_MUST_USE enum pl_err pl_derive(
    struct pl_bytes password, struct pl_bytes salt, uint32_t iterations, uint8_t *out, size_t len);

#endif
