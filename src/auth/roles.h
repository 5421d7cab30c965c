/*
 * Roles: what someone may publish and subscribe (DESIGN section 5).
 *
 *     device:
 *       subscribe: ["{user_id}.#"]
 *       publish:   [">"]
 *       deny_publish: ["admin.>"]
 *
 * Role patterns are NATS text in which a last token "#" means self or rest. `{name}` stands for an
 * attribute of the one who logs in and becomes part of exactly one literal token: it is put into
 * the parsed pattern, never into its text, so a value `*` or `a.>` is a strange name and no
 * wildcard. As in MQTT's names `.` and `/` change places, so a value `a.b` is the token `a/b`,
 * which MQTT spells `a.b`.
 *
 * A login is refused if a value that its role needs is missing, is empty or longer than 256 bytes,
 * is not valid UTF-8, or holds `/`, `+`, `#` or a control character; and if an expanded first token
 * begins with `$` or is `_INBOX` or `wamp`, since a role that gives people a subtree of their own
 * did not mean these.
 *
 * The role `all` may do everything, unless the configuration has another role of that name.
 *
 * What a token says about itself (JWT claims `permissions`, `allowed_subjects`, `deny_subjects`)
 * narrows its role and never widens it: an allowed pattern is what role and token have in common.
 *
 * A table is immutable and counted; any thread may read it. A reload makes a new one.
 */
#ifndef PL_AUTH_ROLES_H
#define PL_AUTH_ROLES_H

#include "core/identity.h"

/* A list of terminated texts; borrowed. */
struct pl_texts {
    const char *const *items;
    size_t count;
};

struct pl_role_config {
    const char *name;
    struct pl_texts publish, subscribe, deny_publish, deny_subscribe;
    /* A role without `call` may call what it may publish, one without `register` may register what
     * it may subscribe. */
    struct pl_texts call, register_, deny_call, deny_register;
    bool has_replay;
    uint8_t replay;         /* enum pl_replay */
    uint8_t disclose;       /* enum pl_role_disclose */
    uint32_t trust;         /* its publications and calls carry it; 0: none */
    const char *authorizer; /* procedure that decides instead of the lists, in protocols that can
                               ask one; NULL: none */
};

/* Whether others are told who publishes and calls. */
enum pl_role_disclose { PL_DISCLOSE_ASK, PL_DISCLOSE_ALWAYS, PL_DISCLOSE_NEVER };

enum {
    PL_ROLES_MAX = 1024,
    PL_ROLE_PATTERNS_MAX = 256, /* of one list, also after narrowing */
    PL_ATTRIBUTE_VALUE_MAX = 256,
};

struct pl_roles;

/* Copies what it needs. PL_CONFIG: diag names role, list and pattern. */
PL_MUST_USE enum pl_err pl_roles_new(const struct pl_role_config *configs, size_t count,
    struct pl_diag *diag, struct pl_roles **out);
/* Returns NULL; accepts NULL. */
struct pl_roles *pl_roles_free(struct pl_roles *roles);
bool pl_roles_has(const struct pl_roles *roles, struct pl_bytes name);

/*
 * Gives identity, which nobody else sees yet, the rights and the replay default of its role, made
 * from its `user`, `role` and `attributes`, all filled before. An empty role gives everything that
 * the token's own lists allow, and is for tokens with a `permissions` claim alone.
 *
 * PL_BAD_LOGIN: no such role, or a value that may not stand in a pattern; diag tells the operator
 * why, the client is not told.
 */
PL_MUST_USE enum pl_err pl_roles_apply(
    const struct pl_roles *roles, struct pl_identity *identity, struct pl_diag *diag);

/* Value of an attribute; empty if there is none. */
struct pl_bytes pl_identity_attribute(const struct pl_identity *identity, const char *name);

#endif
