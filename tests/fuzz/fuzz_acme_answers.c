/* Every answer of an authority, read as each kind; the first byte chooses the kind of challenge. */
#include <stddef.h>
#include <stdint.h>

#include "acme/answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read holds what the header says. */
static void check_url(const char *url)
{
    PL_ASSERT(!url || pl_acme_is_url(pl_bytes_text(url)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct pl_bytes body = pl_bytes_of(data + 1, size - 1);
    struct pl_arena arena = {0};
    struct pl_diag diag;
    struct pl_acme_directory directory;
    struct pl_acme_order order;
    struct pl_acme_authorization authorization;
    struct pl_acme_problem problem;
    if (pl_acme_read_directory(body, &arena, &directory, &diag) == PL_OK) {
        check_url(directory.new_nonce);
        check_url(directory.new_account);
        check_url(directory.new_order);
    }
    if (pl_acme_read_order(body, &arena, &order, &diag) == PL_OK) {
        check_url(order.finalize);
        check_url(order.certificate);
        PL_ASSERT(order.status != PL_ACME_VALID || order.certificate);
        for (size_t i = 0; i < order.authorization_count; i++)
            check_url(order.authorizations[i]);
    }
    const char *challenge = data[0] & 1 ? "http-01" : "tls-alpn-01";
    if (pl_acme_read_authorization(body, challenge, &arena, &authorization, &diag) == PL_OK) {
        check_url(authorization.url);
        PL_ASSERT(!authorization.url == !authorization.token);
        PL_ASSERT(!authorization.token ||
                  pl_acme_is_token(pl_bytes_text(authorization.token), PL_ACME_TOKEN_MAX));
    }
    pl_acme_read_problem(body, &problem);
    PL_ASSERT(strlen(problem.type) < sizeof problem.type);
    PL_ASSERT(strlen(problem.detail) < sizeof problem.detail);
    pl_arena_done(&arena);
    return 0;
}
