/* A set of keys from an address: what a provider, or whoever stands in its place, may answer. */
#include "auth/jwt_key.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_diag diag = {{0}, 0};
    struct pl_jwt_keys *keys = NULL;
    enum pl_err err = pl_jwt_keys_of_set("fuzz", pl_bytes_of(data, size), &diag, &keys);
    PL_ASSERT(err == PL_OK || (err == PL_MALFORMED && diag.text[0]) || err == PL_NO_MEMORY);
    PL_ASSERT((err == PL_OK) == (pl_jwt_keys_count(keys) > 0));
    /* None of them is a secret. */
    static const char *const macs[] = {"HS256", "HS384", "HS512"};
    uint8_t signature[64] = {0};
    for (size_t i = 0; keys && i < 3; i++) {
        const struct pl_jwt_algorithm *algorithm = pl_jwt_algorithm_find(pl_bytes_text(macs[i]));
        PL_ASSERT(!pl_jwt_keys_verify(keys, algorithm, PL_NO_BYTES, PL_BYTES("x"),
            pl_bytes_of(signature, algorithm->secret_min)));
    }
    if (keys)
        pl_jwt_keys_have_id(keys, PL_BYTES("kid"));
    pl_jwt_keys_unref(keys);
    return 0;
}
