#include <sodium.h>

#include "auth/users.h"
#include "base/text.h"

_Static_assert((int)PL_PASSWORD_HASH_MAX == (int)crypto_pwhash_STRBYTES, "libsodium's size");

/*
 * What OWASP's password storage cheat sheet names as its first choice for argon2id: 19 MiB, two
 * passes. libsodium's "interactive" takes 64 MiB for each login that is being checked, which a
 * broker's host feels when all of its clients come back at once.
 */
enum { HASH_PASSES = 2, HASH_MEMORY = 19456 * 1024 };

enum pl_err pl_password_hash(struct pl_bytes password, char out_hash[PL_PASSWORD_HASH_MAX])
{
    if (sodium_init() < 0)
        return PL_UNSUPPORTED;
    if (password.len > PL_PASSWORD_MAX)
        return PL_TOO_LARGE;
    /* It fails only for want of memory. */
    return crypto_pwhash_str_alg(out_hash, (const char *)password.data, password.len, HASH_PASSES,
               HASH_MEMORY, crypto_pwhash_ALG_ARGON2ID13) == 0
               ? PL_OK
               : PL_NO_MEMORY;
}

bool pl_password_matches(const char *hash, struct pl_bytes password)
{
    /* A null pointer is no empty password to libsodium. */
    const char *text = password.len ? (const char *)password.data : "";
    return sodium_init() >= 0 && crypto_pwhash_str_verify(hash, text, password.len) == 0;
}

void pl_password_fingerprint(struct pl_bytes secret, char out[PL_PASSWORD_FINGERPRINT_LEN + 1])
{
    uint8_t digest[crypto_generichash_BYTES_MIN];
    /* Fails only for sizes out of range. */
    (void)crypto_generichash(digest, sizeof(digest), secret.data, secret.len, NULL, 0);
    pl_hex_encode(pl_bytes_of(digest, PL_PASSWORD_FINGERPRINT_LEN / 2), out);
    out[PL_PASSWORD_FINGERPRINT_LEN] = 0;
}

const char *pl_users_dummy_hash(const struct pl_users *users)
{
    /* Of 32 random bytes that nobody kept, made with the numbers above. */
    static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$BhH"
                                 "HYgXjFD22wVHp5btTQA$cc4MJWhh/eyME8blorVfwrcuye/55cdQ40h5SCAYV00";
    const struct pl_secret *example = pl_users_example(users, PL_SECRET_PASSWORD);
    return example ? ((const struct pl_user *)example->owner)->hash : nobody;
}
