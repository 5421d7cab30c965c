/*
 * Tokens, by the first byte of the input:
 *
 *     0      the rest is a token as a stranger sends it: never good, as he has no key
 *     1      the rest is the claims of a token with a good signature
 *     2      the rest is its header
 *     else   the rest is a key file
 *
 * A login that comes out of the claims is applied to roles: whatever a token says, its templates
 * stay single tokens and its rights within the role.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <gnutls/crypto.h>

#include "auth/jwt.h"
#include "auth/jwt_key.h"
#include "auth/jwt_parts.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "0123456789abcdef0123456789abcdef"

/* One secret and one role, made once. */
static struct pl_jwt_keys *keys;
static struct pl_roles *roles;

static char *write_file(struct pl_bytes text)
{
    static char path[] = "/tmp/parley-fuzz-jwt-XXXXXX";
    strcpy(path + sizeof(path) - 7, "XXXXXX");
    int fd = mkstemp(path);
    PL_ASSERT(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len);
    close(fd);
    return path;
}

static struct pl_jwt_keys *load(struct pl_bytes text)
{
    struct pl_jwt_key_config key = {.file = write_file(text)};
    struct pl_jwt_config config = {.keys = &key, .key_count = 1};
    struct pl_diag diag = {0};
    struct pl_jwt_keys *loaded = NULL;
    enum pl_err err = pl_jwt_keys_load(&config, &diag, &loaded);
    unlink(key.file);
    PL_ASSERT(err == PL_OK || diag.text[0]);
    return loaded;
}

static void set_up(void)
{
    static const char *const mine[] = {"device.{user_id}.#", "{site}.x"}, *const any[] = {">"};
    struct pl_role_config config = {
        .name = "device", .subscribe = {mine, 1}, .publish = {any, 1}, .deny_publish = {mine, 2}};
    struct pl_diag diag;
    if (keys)
        return;
    keys = load(PL_BYTES(SECRET));
    PL_ASSERT(keys && pl_roles_new(&config, 1, &diag, &roles) == PL_OK);
}

/* out has room for 4 / 3 of both and a signature. */
static size_t sign(struct pl_bytes header, struct pl_bytes claims, char *out)
{
    uint8_t mac[32];
    size_t at = pl_base64_encode(header, true, out);
    out[at++] = '.';
    at += pl_base64_encode(claims, true, out + at);
    PL_ASSERT(gnutls_hmac_fast(GNUTLS_MAC_SHA256, SECRET, sizeof(SECRET) - 1, out, at, mac) >= 0);
    out[at++] = '.';
    return at + pl_base64_encode(pl_bytes_of(mac, sizeof(mac)), true, out + at);
}

/* The rights of a device are device.X.# with one literal token X, or less. */
static void check_rights(const struct pl_identity *identity)
{
    const struct pl_rights *rights = &identity->rights[PL_SUBSCRIBE];
    PL_ASSERT(!rights->allow_all);
    for (uint32_t i = 0; i < rights->allow_count; i++) {
        const struct pl_pattern *p = rights->allow[i];
        PL_ASSERT(p->token_count >= 2 && p->literal_head >= 2);
        PL_ASSERT(p->tokens[1].kind == PL_TOKEN_LITERAL && p->tokens[1].len > 0);
    }
    PL_ASSERT(!pl_identity_may_receive(identity, PL_BYTES("other")));
}

static enum pl_err verify(struct pl_bytes token)
{
    static const char *const ours[] = {"parley"};
    struct pl_jwt_config config = {
        .default_role = "device", .audiences = {ours, 1}, .leeway_ms = 1000};
    struct pl_identity *identity = pl_identity_new();
    struct pl_diag diag = {0};
    PL_ASSERT(identity);
    const struct pl_jwt_ring ring = {.sets = {keys}, .count = 1};
    enum pl_err err = pl_jwt_verify(&ring, &config, token, 1700000000000, identity, &diag);
    PL_ASSERT(err == PL_OK || err == PL_BAD_LOGIN || err == PL_EXPIRED);
    PL_ASSERT(err == PL_OK || diag.text[0]);
    if (err == PL_OK && pl_bytes_equal(identity->role, PL_BYTES("device")) &&
        pl_roles_apply(roles, identity, &diag) == PL_OK)
        check_rights(identity);
    pl_identity_unref(identity);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char token[PL_JWT_MAX * 4];
    if (size < 1 || size > PL_JWT_MAX)
        return 0;
    set_up();
    struct pl_bytes rest = pl_bytes_of(data + 1, size - 1);
    if (data[0] == 0) {
        PL_ASSERT(verify(rest) != PL_OK);
        (void)pl_jwt_looks_like(rest);
    } else if (data[0] == 1) {
        size_t len = sign(PL_BYTES("{\"alg\":\"HS256\"}"), rest, token);
        (void)verify(pl_bytes_of(token, len));
    } else if (data[0] == 2) {
        size_t len = sign(rest, PL_BYTES("{\"aud\":\"parley\"}"), token);
        (void)verify(pl_bytes_of(token, len));
    } else {
        struct pl_jwt_keys *loaded = load(rest);
        pl_jwt_keys_unref(loaded);
    }
    return 0;
}
