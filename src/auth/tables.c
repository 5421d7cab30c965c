#include "auth/tables.h"

#include <sodium.h>

#include "base/file.h"
#include "auth/proof.h"
#include "base/alloc.h"
#include "base/text.h"

enum { REVOKED_KEY_MAX = 512 };

/* A withdrawn token, or all tokens of a user up to a time. */
struct revocation {
    struct pl_map_entry entry;
    uint64_t until_unix_ms; /* PL_NEVER: whenever issued */
};

/* A copy in the tables' memory; NULL stays NULL. */
static enum pl_err copy_text(struct pl_auth_tables *tables, const char *text, const char **out)
{
    *out = text ? pl_arena_copy(&tables->memory, pl_bytes_text(text)) : NULL;
    return text && !*out ? PL_NO_MEMORY : PL_OK;
}

static enum pl_err copy_texts(
    struct pl_auth_tables *tables, struct pl_texts texts, struct pl_texts *out)
{
    *out = (struct pl_texts){0};
    if (texts.count == 0)
        return PL_OK;
    const char **items = pl_arena_alloc(&tables->memory, texts.count * sizeof(*items));
    if (!items)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < texts.count; i++) {
        enum pl_err err = copy_text(tables, texts.items[i], &items[i]);
        if (err != PL_OK)
            return err;
    }
    *out = (struct pl_texts){items, texts.count};
    return PL_OK;
}

static enum pl_err check_role(
    const struct pl_auth_tables *tables, const char *where, const char *role, struct pl_diag *diag)
{
    if (!role || pl_roles_has(tables->roles, pl_bytes_text(role)))
        return PL_OK;
    pl_diag_set(diag, 0, "%s: there is no role \"%.80s\"", where, role);
    return PL_CONFIG;
}

static enum pl_err load_users(struct pl_auth_tables *tables, const char *path, struct pl_diag *diag)
{
    if (!path)
        return PL_OK;
    enum pl_err err = pl_users_load(path, diag, &tables->users);
    if (err != PL_OK)
        return err == PL_NOT_FOUND ? PL_IO : err;
    for (size_t i = 0; i < pl_users_count(tables->users); i++) {
        const struct pl_user *user = pl_users_at(tables->users, i);
        if (!pl_roles_has(tables->roles, user->role)) {
            pl_diag_set(diag, 0, "%s:%u: there is no role \"%.*s\"", path, user->line,
                (int)(user->role.len < 80 ? user->role.len : 80), user->role.data);
            return PL_CONFIG;
        }
    }
    return PL_OK;
}

static enum pl_err hold_sources(struct pl_auth_tables *tables, const struct pl_jwt_config *config,
    struct pl_jwks *jwks, struct pl_diag *diag)
{
    for (size_t i = 0; i < config->key_count; i++) {
        const struct pl_jwt_key_config *key = &config->keys[i];
        if (!key->url)
            continue;
        if (tables->source_count == PL_JWT_SOURCES_MAX) {
            pl_diag_set(diag, 0, "keys of tokens come from at most 8 addresses");
            return PL_CONFIG;
        }
        enum pl_err err =
            pl_jwks_source_hold(jwks, key->url, key->ca, &tables->sources[tables->source_count]);
        if (err != PL_OK)
            return err;
        tables->source_count++;
    }
    return PL_OK;
}

static enum pl_err load_keys(struct pl_auth_tables *tables, const struct pl_jwt_config *config,
    struct pl_jwks *jwks, struct pl_diag *diag)
{
    if (config->key_count == 0)
        return PL_OK;
    enum pl_err err = pl_jwt_keys_load(config, diag, &tables->keys);
    if (err == PL_OK)
        err = hold_sources(tables, config, jwks, diag);
    if (err == PL_OK)
        err = check_role(tables, "handler_role", config->handler_role, diag);
    if (err == PL_OK)
        err = check_role(tables, "nameless_role", config->nameless_role, diag);
    if (err == PL_OK)
        err = check_role(tables, "default_role", config->default_role, diag);
    if (err != PL_OK)
        return err;
    tables->jwt = (struct pl_jwt_config){
        .leeway_ms = config->leeway_ms,
        .requires_expiry = config->requires_expiry,
    };
    const struct {
        const char *from, **to;
    } texts[] = {
        {config->user_claim, &tables->jwt.user_claim},
        {config->role_claim, &tables->jwt.role_claim},
        {config->handler_claim, &tables->jwt.handler_claim},
        {config->handler_role, &tables->jwt.handler_role},
        {config->nameless_role, &tables->jwt.nameless_role},
        {config->default_role, &tables->jwt.default_role},
        {config->user_name, &tables->jwt.user_name},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && err == PL_OK; i++)
        err = copy_text(tables, texts[i].from, texts[i].to);
    if (err == PL_OK)
        err = copy_texts(tables, config->issuers, &tables->jwt.issuers);
    if (err == PL_OK)
        err = copy_texts(tables, config->audiences, &tables->jwt.audiences);
    return err;
}

static enum pl_err load_own_key(
    struct pl_auth_tables *tables, const char *path, struct pl_diag *diag)
{
    char *text = NULL;
    size_t len = 0;
    uint8_t seed[PL_KEY_LEN];
    if (!path)
        return PL_OK;
    enum pl_err err = pl_file_read(path, 2 * PL_KEY_LEN + 1, diag, &text, &len, NULL);
    if (err != PL_OK)
        return err == PL_NOT_FOUND ? PL_IO : err;
    if (len && text[len - 1] == '\n')
        len--;
    tables->has_key = pl_hex_decode_key(pl_bytes_of(text, len), seed);
    if (tables->has_key) {
        crypto_sign_seed_keypair(tables->public_key, tables->secret_key, seed);
    } else {
        pl_diag_set(diag, 0, "%s: expected 64 hex digits", path);
        err = PL_CONFIG;
    }
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(text, len);
    pl_free(text);
    return err;
}

/* "user:NAME@SECONDS": takes the seconds off *key. */
static uint64_t take_until(struct pl_bytes *key)
{
    const uint8_t *at = memrchr(key->data, '@', key->len);
    uint64_t seconds;
    if (!pl_bytes_starts(*key, PL_BYTES("user:")) || !at)
        return PL_NEVER;
    size_t name_len = (size_t)(at - key->data);
    struct pl_bytes digits = pl_bytes_from(*key, name_len + 1);
    if (pl_parse_decimal(digits, UINT64_MAX / 1000 - 1, &seconds) != PL_OK)
        return PL_NEVER;
    key->len = name_len;
    return seconds * 1000 + 999;
}

static enum pl_err add_revocation(
    struct pl_auth_tables *tables, const char *text, struct pl_diag *diag)
{
    struct pl_bytes key = pl_bytes_text(text);
    uint64_t until = take_until(&key);
    bool is_good = (pl_bytes_starts(key, PL_BYTES("jti:")) && key.len > 4) ||
                   (pl_bytes_starts(key, PL_BYTES("user:")) && key.len > 5);
    if (!is_good || key.len > REVOKED_KEY_MAX) {
        pl_diag_set(
            diag, 0, "revoked: \"%.80s\": expected jti:ID, user:NAME or user:NAME@SECONDS", text);
        return PL_CONFIG;
    }
    struct pl_map_entry *known = pl_map_find(&tables->revoked, key);
    if (known) {
        struct revocation *older = PL_CONTAINER(known, struct revocation, entry);
        if (until > older->until_unix_ms)
            older->until_unix_ms = until;
        return PL_OK;
    }
    struct revocation *revocation = pl_arena_zalloc(&tables->memory, sizeof(*revocation));
    const char *copy = pl_arena_copy(&tables->memory, key);
    if (!revocation || !copy)
        return PL_NO_MEMORY;
    revocation->until_unix_ms = until;
    return pl_map_add(&tables->revoked, &revocation->entry, pl_bytes_of(copy, key.len));
}

/* One identity for all who come in here without a login. */
static enum pl_err make_anonymous(const struct pl_auth_tables *tables, struct pl_bytes listener,
    const char *role, struct pl_diag *diag, struct pl_identity **out)
{
    struct pl_identity *identity = *out = pl_identity_new();
    if (!identity)
        return PL_NO_MEMORY;
    char *role_copy = pl_arena_copy(identity->memory, pl_bytes_text(role));
    if (!role_copy)
        return PL_NO_MEMORY;
    identity->role = pl_bytes_text(role_copy);
    identity->method = PL_BYTES("anonymous");
    identity->expires_unix_ms = PL_NEVER;
    enum pl_err err = pl_identity_add_attribute(identity, ".listener", listener);
    struct pl_diag why = {0};
    if (err == PL_OK)
        err = pl_roles_apply(tables->roles, identity, &why);
    if (err == PL_BAD_LOGIN) {
        pl_diag_set(diag, 0, "anonymous role: %s", why.text);
        err = PL_CONFIG;
    }
    return err;
}

static enum pl_err add_anonymous(struct pl_auth_tables *tables, const char *listener,
    const char *role, struct pl_texts methods, struct pl_diag *diag)
{
    struct pl_auth_anonymous *place = &tables->anonymous[tables->anonymous_count++];
    const char *name;
    enum pl_err err = copy_text(tables, listener, &name);
    if (err == PL_OK)
        err = copy_texts(tables, methods, &place->methods);
    if (err != PL_OK)
        return err;
    place->listener = pl_bytes_text(name);
    if (!role)
        return PL_OK;
    err = make_anonymous(tables, place->listener, role, diag, &place->identity);
    if (err == PL_OK && place->identity->authorizer.len) {
        err = make_anonymous(tables, place->listener, role, diag, &place->asked);
        if (err == PL_OK)
            err = pl_identity_set_asked(place->asked);
    }
    return err;
}

static enum pl_err fill(struct pl_auth_tables *tables, const struct pl_auth_config *config,
    struct pl_jwks *jwks, struct pl_diag *diag)
{
    enum pl_err err = pl_roles_new(config->roles, config->role_count, diag, &tables->roles);
    if (err == PL_OK)
        err = load_users(tables, config->users_file, diag);
    if (err == PL_OK)
        err = load_keys(tables, &config->jwt, jwks, diag);
    if (err == PL_OK)
        err = load_own_key(tables, config->key_file, diag);
    for (size_t i = 0; i < config->revoked.count && err == PL_OK; i++)
        err = add_revocation(tables, config->revoked.items[i], diag);
    if (err != PL_OK)
        return err;
    tables->anonymous =
        pl_arena_zalloc(&tables->memory, (config->listener_count + 1) * sizeof(*tables->anonymous));
    if (!tables->anonymous)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < config->listener_count && err == PL_OK; i++) {
        const struct pl_auth_listener *listener = &config->listeners[i];
        err = add_anonymous(
            tables, listener->name, listener->anonymous_role, listener->methods, diag);
    }
    return err == PL_OK
               ? add_anonymous(tables, NULL, config->anonymous_role, (struct pl_texts){0}, diag)
               : err;
}

enum pl_err pl_auth_tables_new(const struct pl_auth_config *config, struct pl_jwks *jwks,
    struct pl_diag *diag, struct pl_auth_tables **out)
{
    enum pl_err err = PL_NO_MEMORY;
    struct pl_auth_tables *tables = pl_zalloc(sizeof(*tables));
    if (tables) {
        tables->refs = 1;
        pl_map_init(&tables->revoked, 0x9e3779b97f4a7c15u);
        err = fill(tables, config, jwks, diag);
    }
    if (err == PL_OK) {
        *out = tables;
        return PL_OK;
    }
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "logins: %s", pl_err_text(err));
    pl_auth_tables_unref(tables);
    return err;
}

struct pl_auth_tables *pl_auth_tables_unref(struct pl_auth_tables *tables)
{
    if (!tables || atomic_fetch_sub_explicit(&tables->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (size_t i = 0; i < tables->anonymous_count; i++) {
        pl_identity_unref(tables->anonymous[i].identity);
        pl_identity_unref(tables->anonymous[i].asked);
    }
    pl_map_done(&tables->revoked);
    pl_users_free(tables->users);
    pl_jwt_keys_unref(tables->keys);
    for (uint32_t i = 0; i < tables->source_count; i++)
        pl_jwks_source_unref(tables->sources[i]);
    pl_roles_free(tables->roles);
    sodium_memzero(tables->secret_key, sizeof(tables->secret_key));
    pl_arena_done(&tables->memory);
    pl_free(tables);
    return NULL;
}

static const struct pl_auth_anonymous *place_of(
    const struct pl_auth_tables *tables, struct pl_bytes listener)
{
    size_t i = 0;
    while (
        i + 1 < tables->anonymous_count && !pl_bytes_equal(tables->anonymous[i].listener, listener))
        i++;
    return &tables->anonymous[i];
}

struct pl_identity *pl_auth_tables_anonymous(
    const struct pl_auth_tables *tables, struct pl_bytes listener, bool can_ask)
{
    const struct pl_auth_anonymous *place = place_of(tables, listener);
    return can_ask && place->asked ? place->asked : place->identity;
}

bool pl_auth_tables_allow(
    const struct pl_auth_tables *tables, struct pl_bytes listener, struct pl_bytes method)
{
    struct pl_texts methods = place_of(tables, listener)->methods;
    bool is_allowed = !methods.count;
    for (size_t i = 0; i < methods.count; i++)
        is_allowed |= pl_bytes_equal(pl_bytes_text(methods.items[i]), method);
    return is_allowed;
}

static const struct revocation *find_revocation(
    const struct pl_auth_tables *tables, struct pl_bytes kind, struct pl_bytes name)
{
    uint8_t key[REVOKED_KEY_MAX];
    if (name.len == 0 || kind.len + name.len > sizeof(key))
        return NULL;
    memcpy(key, kind.data, kind.len);
    memcpy(key + kind.len, name.data, name.len);
    struct pl_map_entry *entry =
        pl_map_find(&tables->revoked, pl_bytes_of(key, kind.len + name.len));
    return entry ? PL_CONTAINER(entry, struct revocation, entry) : NULL;
}

bool pl_auth_tables_is_revoked(
    const struct pl_auth_tables *tables, const struct pl_identity *identity)
{
    if (tables->revoked.count == 0)
        return false;
    if (find_revocation(tables, PL_BYTES("jti:"), identity->token_id))
        return true;
    const struct revocation *user = find_revocation(tables, PL_BYTES("user:"), identity->user);
    return user && identity->issued_unix_ms <= user->until_unix_ms;
}

struct pl_jwt_ring pl_auth_tables_ring(const struct pl_auth_tables *tables)
{
    struct pl_jwt_ring ring = {.count = 0};
    if (tables->keys)
        ring.sets[ring.count++] = pl_jwt_keys_ref(tables->keys);
    for (uint32_t i = 0; i < tables->source_count; i++) {
        struct pl_jwt_keys *keys = pl_jwks_source_keys(tables->sources[i]);
        if (keys)
            ring.sets[ring.count++] = keys;
    }
    return ring;
}

void pl_jwt_ring_done(struct pl_jwt_ring *ring)
{
    while (ring->count)
        pl_jwt_keys_unref(ring->sets[--ring->count]);
}

enum pl_err pl_auth_tables_of_token(const struct pl_auth_tables *tables, struct pl_bytes token,
    uint64_t now_unix_ms, struct pl_diag *diag, struct pl_identity **out)
{
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return PL_NO_MEMORY;
    struct pl_jwt_ring ring = pl_auth_tables_ring(tables);
    enum pl_err err = pl_jwt_verify(&ring, &tables->jwt, token, now_unix_ms, identity, diag);
    pl_jwt_ring_done(&ring);
    if (err == PL_OK && pl_auth_tables_is_revoked(tables, identity)) {
        pl_diag_set(diag, 0, "token: it was revoked");
        err = PL_BAD_LOGIN;
    }
    if (err == PL_OK)
        err = pl_roles_apply(tables->roles, identity, diag);
    if (err == PL_OK)
        *out = identity;
    else
        pl_identity_unref(identity);
    return err;
}

static enum pl_err copy_bytes(
    struct pl_identity *identity, struct pl_bytes from, struct pl_bytes *out)
{
    const char *copy = pl_arena_copy(identity->memory, from);
    if (!copy)
        return PL_NO_MEMORY;
    *out = pl_bytes_of(copy, from.len);
    return PL_OK;
}

/* Copies attributes, and has room for one more behind them. */
static enum pl_err copy_attributes(struct pl_identity *identity,
    const struct pl_attribute *attributes, uint32_t count, struct pl_attribute **out)
{
    struct pl_attribute *copy = pl_arena_alloc(identity->memory, (count + 1) * sizeof(*copy));
    if (!copy)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        enum pl_err err = copy_bytes(identity, attributes[i].name, &copy[i].name);
        if (err == PL_OK)
            err = copy_bytes(identity, attributes[i].value, &copy[i].value);
        if (err != PL_OK)
            return err;
    }
    identity->attributes = *out = copy;
    identity->attribute_count = count;
    return PL_OK;
}

enum pl_err pl_identity_add_attribute(
    struct pl_identity *identity, const char *name, struct pl_bytes value)
{
    uint32_t count = identity->attribute_count;
    struct pl_attribute *grown = pl_arena_alloc(identity->memory, (count + 1) * sizeof(*grown));
    if (!grown)
        return PL_NO_MEMORY;
    if (count)
        memcpy(grown, identity->attributes, count * sizeof(*grown));
    grown[count].name = pl_bytes_text(name);
    enum pl_err err = copy_bytes(identity, value, &grown[count].value);
    if (err != PL_OK)
        return err;
    identity->attributes = grown;
    identity->attribute_count = count + 1;
    return PL_OK;
}

enum pl_err pl_identity_set_asked(struct pl_identity *identity)
{
    static const char *const narrowing[] = {"permissions", "allowed_subjects", "deny_subjects"};
    if (!identity->authorizer.len)
        return PL_OK;
    /* What a token says against itself stands. */
    for (size_t i = 0; i < sizeof(narrowing) / sizeof(narrowing[0]); i++)
        if (pl_identity_attribute(identity, narrowing[i]).data)
            return PL_OK;
    for (int action = 0; action < PL_ACTION_COUNT; action++)
        identity->rights[action].allow_all = true;
    return pl_identity_attribute(identity, ".asked").len
               ? PL_OK
               : pl_identity_add_attribute(identity, ".asked", PL_BYTES("true"));
}

/* Names a secret without telling it: a session remembers by which one it came in. */
static enum pl_err add_fingerprint(struct pl_identity *identity, struct pl_bytes secret)
{
    char fingerprint[PL_PASSWORD_FINGERPRINT_LEN + 1];
    pl_password_fingerprint(secret, fingerprint);
    return pl_identity_add_attribute(identity, ".secret", pl_bytes_text(fingerprint));
}

static enum pl_err fill_of_user(const struct pl_auth_tables *tables, const struct pl_user *user,
    struct pl_bytes secret, struct pl_identity *identity, struct pl_diag *diag)
{
    struct pl_attribute *attributes;
    enum pl_err err = copy_bytes(identity, user->name, &identity->user);
    if (err == PL_OK)
        err = copy_bytes(identity, user->role, &identity->role);
    if (err == PL_OK)
        err = copy_attributes(identity, user->attributes, user->attribute_count, &attributes);
    if (err == PL_OK)
        err = add_fingerprint(identity, secret);
    return err == PL_OK ? pl_roles_apply(tables->roles, identity, diag) : err;
}

enum pl_err pl_auth_tables_of_user(const struct pl_auth_tables *tables, const struct pl_user *user,
    struct pl_bytes secret, struct pl_bytes method, struct pl_diag *diag, struct pl_identity **out)
{
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return PL_NO_MEMORY;
    identity->method = method;
    identity->expires_unix_ms = PL_NEVER;
    enum pl_err err = fill_of_user(tables, user, secret, identity, diag);
    if (err == PL_OK)
        *out = identity;
    else
        pl_identity_unref(identity);
    return err;
}

static enum pl_err fill_of_principal(const struct pl_auth_tables *tables,
    const struct pl_auth_principal *principal, struct pl_identity *identity, struct pl_diag *diag)
{
    struct pl_attribute *attributes;
    enum pl_err err = copy_bytes(identity, principal->name, &identity->user);
    if (err == PL_OK)
        err = copy_bytes(identity, principal->role, &identity->role);
    if (err == PL_OK)
        err = copy_attributes(
            identity, principal->attributes, principal->attribute_count, &attributes);
    if (err == PL_OK)
        err = pl_identity_add_attribute(identity, ".dynamic", PL_BYTES("true"));
    if (err == PL_OK)
        err = pl_identity_add_attribute(identity, "authprovider", PL_BYTES("dynamic"));
    if (err == PL_OK && principal->realm.len)
        err = pl_identity_add_attribute(identity, "realm", principal->realm);
    return err == PL_OK ? pl_roles_apply(tables->roles, identity, diag) : err;
}

enum pl_err pl_auth_tables_of_principal(const struct pl_auth_tables *tables,
    const struct pl_auth_principal *principal, struct pl_bytes method, struct pl_diag *diag,
    struct pl_identity **out)
{
    if (!pl_user_text_is_valid(principal->name) || !pl_roles_has(tables->roles, principal->role)) {
        pl_diag_set(diag, 0, "the authenticator named no user, or a role that there is not");
        return PL_BAD_LOGIN;
    }
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return PL_NO_MEMORY;
    identity->method = method;
    identity->expires_unix_ms = PL_NEVER;
    enum pl_err err = fill_of_principal(tables, principal, identity, diag);
    if (err == PL_OK)
        *out = identity;
    else
        pl_identity_unref(identity);
    return err;
}

enum pl_err pl_auth_tables_of_shared_key(const struct pl_auth_tables *tables,
    const struct pl_credentials *shown, struct pl_diag *diag, struct pl_identity **out)
{
    if (!shown->shared_role) {
        struct pl_identity *anonymous =
            pl_auth_tables_anonymous(tables, pl_bytes_text(shown->listener), shown->can_ask);
        if (!anonymous) {
            pl_diag_set(diag, 0, "the key stands for no role, and anonymous is not allowed");
            return PL_BAD_LOGIN;
        }
        *out = pl_identity_ref(anonymous);
        return PL_OK;
    }
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return PL_NO_MEMORY;
    identity->method = PL_BYTES("key");
    identity->expires_unix_ms = PL_NEVER;
    enum pl_err err = copy_bytes(identity, pl_bytes_text(shown->shared_role), &identity->role);
    if (err == PL_OK)
        err = pl_identity_add_attribute(identity, ".dynamic", PL_BYTES("true"));
    if (err == PL_OK)
        err = pl_roles_apply(tables->roles, identity, diag);
    if (err == PL_OK)
        *out = identity;
    else
        pl_identity_unref(identity);
    return err;
}

/* A token is not kept: what it said stands in its identity. Its role is found again where the
 * configuration, not the token, gave it. */
static enum pl_err fill_again(const struct pl_auth_tables *tables, const struct pl_identity *now,
    struct pl_identity *identity, struct pl_diag *diag)
{
    struct pl_bytes source = pl_identity_attribute(now, ".role"), role = now->role;
    bool is_token = pl_identity_attribute(now, ".key").len;
    if (is_token && pl_bytes_equal(source, PL_BYTES("handler")))
        role = pl_bytes_text(tables->jwt.handler_role);
    else if (is_token && pl_bytes_equal(source, PL_BYTES("nameless")))
        role = pl_bytes_text(tables->jwt.nameless_role);
    else if (is_token && !pl_bytes_equal(source, PL_BYTES("claim")))
        role = pl_bytes_text(tables->jwt.default_role);
    struct pl_attribute *attributes;
    identity->method = now->method;
    identity->issued_unix_ms = now->issued_unix_ms;
    identity->expires_unix_ms = now->expires_unix_ms;
    enum pl_err err = copy_bytes(identity, now->user, &identity->user);
    if (err == PL_OK)
        err = copy_bytes(identity, role, &identity->role);
    if (err == PL_OK)
        err = copy_bytes(identity, now->token_id, &identity->token_id);
    if (err == PL_OK)
        err = copy_attributes(identity, now->attributes, now->attribute_count, &attributes);
    return err == PL_OK ? pl_roles_apply(tables->roles, identity, diag) : err;
}

static enum pl_err review_told(const struct pl_auth_tables *tables, const struct pl_identity *now,
    struct pl_identity **out_identity)
{
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return PL_NO_MEMORY;
    struct pl_diag diag;
    enum pl_err err = fill_again(tables, now, identity, &diag);
    if (err == PL_OK)
        *out_identity = identity;
    else
        pl_identity_unref(identity);
    return err;
}

static enum pl_err review_token(const struct pl_auth_tables *tables, const struct pl_identity *now,
    struct pl_identity **out_identity)
{
    struct pl_jwt_ring ring = pl_auth_tables_ring(tables);
    bool has_key = false;
    for (size_t i = 0; i < ring.count; i++)
        has_key |= pl_jwt_keys_have(ring.sets[i], pl_identity_attribute(now, ".key"));
    pl_jwt_ring_done(&ring);
    if (!has_key || pl_auth_tables_is_revoked(tables, now))
        return PL_REVOKED;
    return review_told(tables, now, out_identity);
}

/* The secret by which he came in must still be his. */
static enum pl_err review_user(const struct pl_auth_tables *tables, const struct pl_identity *now,
    struct pl_bytes secret, struct pl_identity **out_identity)
{
    const struct pl_user *user = pl_users_find(tables->users, now->user);
    char fingerprint[PL_PASSWORD_FINGERPRINT_LEN + 1];
    struct pl_diag diag;
    for (uint32_t i = 0; user && i < user->secret_count; i++) {
        pl_password_fingerprint(user->secrets[i].text, fingerprint);
        if (pl_bytes_equal(pl_bytes_text(fingerprint), secret))
            return pl_auth_tables_of_user(
                tables, user, user->secrets[i].text, now->method, &diag, out_identity);
    }
    return PL_REVOKED;
}

enum pl_err pl_auth_tables_review(const struct pl_auth_tables *tables,
    const struct pl_identity *now, struct pl_identity **out_identity)
{
    struct pl_bytes secret = pl_identity_attribute(now, ".secret");
    bool is_asked = pl_identity_attribute(now, ".asked").len > 0;
    enum pl_err err = PL_OK;
    *out_identity = NULL;
    if (secret.len) {
        err = review_user(tables, now, secret, out_identity);
    } else if (pl_identity_attribute(now, ".key").len) {
        err = review_token(tables, now, out_identity);
    } else if (pl_identity_attribute(now, ".dynamic").len) {
        err = review_told(tables, now, out_identity);
    } else if (pl_bytes_equal(now->method, PL_BYTES("anonymous"))) {
        struct pl_identity *identity =
            pl_auth_tables_anonymous(tables, pl_identity_attribute(now, ".listener"), is_asked);
        if (!identity)
            return PL_REVOKED;
        *out_identity = identity == now ? NULL : pl_identity_ref(identity);
    }
    bool is_fresh = err == PL_OK && *out_identity && !pl_identity_attribute(now, ".listener").data;
    if (is_fresh && is_asked && (err = pl_identity_set_asked(*out_identity)) != PL_OK)
        *out_identity = pl_identity_unref(*out_identity);
    return err == PL_BAD_LOGIN ? PL_REVOKED : err;
}
