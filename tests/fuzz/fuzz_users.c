/* The users file: whatever it holds, it is a table or a refusal with a line; and what was read is
 * what stands there. */
#include <stddef.h>
#include <stdint.h>

#include "auth/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_diag diag = {0};
    struct pl_users *users = NULL;
    enum pl_err err = pl_users_parse(pl_bytes_of(data, size), "users", &diag, &users);
    PL_ASSERT(err == PL_OK || (err == PL_CONFIG && diag.text[0]));
    for (size_t i = 0; i < pl_users_count(users); i++) {
        const struct pl_user *user = pl_users_at(users, i);
        PL_ASSERT(pl_user_text_is_valid(user->name) && pl_user_text_is_valid(user->role));
        PL_ASSERT(pl_users_find(users, user->name) == user);
        /* Nobody without a whole secret. */
        PL_ASSERT(user->secret_count && user->secret_count <= PL_SECRETS_MAX);
        for (uint32_t j = 0; j < user->secret_count; j++)
            PL_ASSERT(user->secrets[j].text.len < PL_SECRET_TEXT_MAX);
        PL_ASSERT(!user->hash || strncmp(user->hash, "$argon2id$v=19$", 15) == 0);
        PL_ASSERT(!user->hash ||
                  (strlen(user->hash) < PL_PASSWORD_HASH_MAX && !strpbrk(user->hash, " \t\r\n")));
        PL_ASSERT(user->attribute_count <= PL_USER_ATTRIBUTES_MAX);
        for (uint32_t j = 0; j < user->attribute_count; j++)
            PL_ASSERT(pl_user_text_is_valid(user->attributes[j].value));
    }
    pl_users_free(users);
    return 0;
}
