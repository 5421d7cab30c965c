/*
 * One reading of the configuration: users, keys, roles, revocations, and who is anonymous.
 * Immutable and counted; a reload makes a new one, and what was begun with the old one ends with
 * it.
 */
#ifndef PL_AUTH_TABLES_H
#define PL_AUTH_TABLES_H

#include "auth/authenticator.h"
#include "auth/jwks.h"

struct pl_auth_anonymous {
    struct pl_bytes listener;     /* empty: all that are not named */
    struct pl_identity *identity; /* one reference, shared by all sessions; NULL: refused */
    struct pl_identity *asked; /* of those whose protocol asks the role's authorizer; NULL: it has
                                  none */
    struct pl_texts methods;   /* that may be named here; none: all */
};

struct pl_auth_tables {
    atomic_uint refs;
    struct pl_users *users;                             /* NULL: no passwords */
    struct pl_jwt_keys *keys;                           /* of files; NULL: no tokens */
    struct pl_jwks_source *sources[PL_JWT_SOURCES_MAX]; /* of addresses; one reference each */
    uint32_t source_count;
    struct pl_jwt_config jwt; /* its texts lie in memory; keys are not kept */
    struct pl_roles *roles;
    bool has_key; /* for cryptosign, the server's own */
    uint8_t public_key[PL_KEY_LEN], secret_key[2 * PL_KEY_LEN];
    struct pl_map revoked; /* "jti:…" and "user:…" */
    struct pl_auth_anonymous *anonymous;
    size_t anonymous_count; /* the last is for all others */
    struct pl_arena memory;
};

PL_MUST_USE enum pl_err pl_auth_tables_new(const struct pl_auth_config *config,
    struct pl_jwks *jwks, struct pl_diag *diag, struct pl_auth_tables **out);
struct pl_auth_tables *pl_auth_tables_unref(struct pl_auth_tables *tables);

/* Borrowed; NULL: this listener asks for a login. */
struct pl_identity *pl_auth_tables_anonymous(
    const struct pl_auth_tables *tables, struct pl_bytes listener, bool can_ask);

/* Who has shown the key that all clients of its protocol share. One reference. */
PL_MUST_USE enum pl_err pl_auth_tables_of_shared_key(const struct pl_auth_tables *tables,
    const struct pl_credentials *shown, struct pl_diag *diag, struct pl_identity **out);

/* May clients of this listener use this method of authentication? */
bool pl_auth_tables_allow(
    const struct pl_auth_tables *tables, struct pl_bytes listener, struct pl_bytes method);

bool pl_auth_tables_is_revoked(
    const struct pl_auth_tables *tables, const struct pl_identity *identity);

/* The keys as they are now; pl_jwt_ring_done gives them back. */
struct pl_jwt_ring pl_auth_tables_ring(const struct pl_auth_tables *tables);
void pl_jwt_ring_done(struct pl_jwt_ring *ring);

/* The identities of a user of the file, who came in by that secret of his, of a token, and of whom
 * a dynamic authenticator told of. method: as others are told it; static. *out: one reference. */
PL_MUST_USE enum pl_err pl_auth_tables_of_user(const struct pl_auth_tables *tables,
    const struct pl_user *user, struct pl_bytes secret, struct pl_bytes method,
    struct pl_diag *diag, struct pl_identity **out);
PL_MUST_USE enum pl_err pl_auth_tables_of_token(const struct pl_auth_tables *tables,
    struct pl_bytes token, uint64_t now_unix_ms, struct pl_diag *diag, struct pl_identity **out);
PL_MUST_USE enum pl_err pl_auth_tables_of_principal(const struct pl_auth_tables *tables,
    const struct pl_auth_principal *principal, struct pl_bytes method, struct pl_diag *diag,
    struct pl_identity **out);

/* Of an identity that nobody else sees yet, whose protocol can ask: if its role has an authorizer,
 * that alone decides, unless a token's own lists narrow it. */
PL_MUST_USE enum pl_err pl_identity_set_asked(struct pl_identity *identity);

/* One more, of an identity that nobody else sees yet; name is static, value is copied. */
PL_MUST_USE enum pl_err pl_identity_add_attribute(
    struct pl_identity *identity, const char *name, struct pl_bytes value);

/* What pl_auth_review says, of these tables. */
PL_MUST_USE enum pl_err pl_auth_tables_review(const struct pl_auth_tables *tables,
    const struct pl_identity *now, struct pl_identity **out_identity);

#endif
