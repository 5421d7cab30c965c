#include "auth/roles.h"

#include "auth/narrow.h"
#include "auth/template.h"
#include "base/alloc.h"
#include "base/map.h"

struct role_list {
    struct pl_template *patterns;
    uint32_t count;
};

enum { ALLOW, DENY, LIST_COUNT };

struct role {
    struct pl_map_entry entry;
    struct role_list lists[PL_ACTION_COUNT][LIST_COUNT];
    bool has_replay;
    uint8_t replay;
    uint8_t disclose; /* enum pl_role_disclose */
    uint32_t trust;
    struct pl_bytes authorizer;
};

struct pl_roles {
    struct pl_map by_name;
    struct pl_arena memory;
};

static enum pl_err read_list(struct pl_arena *memory, const char *role, const char *name,
    struct pl_texts texts, struct role_list *list, struct pl_diag *diag)
{
    if (texts.count > PL_ROLE_PATTERNS_MAX) {
        pl_diag_set(
            diag, 0, "role %s: %s: more than %d patterns", role, name, PL_ROLE_PATTERNS_MAX);
        return PL_CONFIG;
    }
    if (texts.count == 0)
        return PL_OK;
    list->patterns = pl_arena_zalloc(memory, texts.count * sizeof(*list->patterns));
    if (!list->patterns)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < texts.count; i++) {
        const char *wrong = pl_template_read(memory, texts.items[i], &list->patterns[i]);
        if (wrong) {
            pl_diag_set(diag, 0, "role %s: %s: \"%.80s\": %s", role, name, texts.items[i], wrong);
            return PL_CONFIG;
        }
        list->count++;
    }
    return PL_OK;
}

static enum pl_err add_role(
    struct pl_roles *roles, const struct pl_role_config *config, struct pl_diag *diag)
{
    struct pl_bytes name = pl_bytes_text(config->name);
    if (name.len == 0 || name.len > PL_ATTRIBUTE_VALUE_MAX || pl_map_find(&roles->by_name, name)) {
        pl_diag_set(diag, 0, "role \"%.80s\": %s", config->name ? config->name : "",
            name.len && name.len <= PL_ATTRIBUTE_VALUE_MAX ? "stands there twice"
                                                           : "a name has 1 to 256 bytes");
        return PL_CONFIG;
    }
    struct role *role = pl_arena_zalloc(&roles->memory, sizeof(*role));
    const char *copy = pl_arena_copy(&roles->memory, name);
    if (!role || !copy)
        return PL_NO_MEMORY;
    role->has_replay = config->has_replay;
    role->replay = config->replay;
    role->disclose = config->disclose;
    role->trust = config->trust;
    if (config->authorizer) {
        const char *authorizer = pl_arena_copy(&roles->memory, pl_bytes_text(config->authorizer));
        if (!authorizer)
            return PL_NO_MEMORY;
        role->authorizer = pl_bytes_text(authorizer);
    }
    enum pl_err err = pl_map_add(&roles->by_name, &role->entry, pl_bytes_of(copy, name.len));
    if (err != PL_OK)
        return err;
    const struct {
        const char *name;
        struct pl_texts texts;
        enum pl_action action;
        int list;
    } lists[] = {
        {"publish", config->publish, PL_PUBLISH, ALLOW},
        {"deny_publish", config->deny_publish, PL_PUBLISH, DENY},
        {"subscribe", config->subscribe, PL_SUBSCRIBE, ALLOW},
        {"deny_subscribe", config->deny_subscribe, PL_SUBSCRIBE, DENY},
        {"call", config->call, PL_CALL, ALLOW},
        {"deny_call", config->deny_call, PL_CALL, DENY},
        {"register", config->register_, PL_REGISTER, ALLOW},
        {"deny_register", config->deny_register, PL_REGISTER, DENY},
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        err = read_list(&roles->memory, copy, lists[i].name, lists[i].texts,
            &role->lists[lists[i].action][lists[i].list], diag);
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

static const char *const everything[] = {"#", "$SYS.#", "wamp.#"};
static const struct pl_role_config role_all = {
    .name = "all",
    .publish = {everything, 1},
    .subscribe = {everything, sizeof(everything) / sizeof(everything[0])},
};

enum pl_err pl_roles_new(
    const struct pl_role_config *configs, size_t count, struct pl_diag *diag, struct pl_roles **out)
{
    enum pl_err err = PL_NO_MEMORY;
    struct pl_roles *roles = pl_zalloc(sizeof(*roles));
    if (!roles)
        goto fail;
    pl_map_init(&roles->by_name, 0x9e3779b97f4a7c15u);
    if (count > PL_ROLES_MAX) {
        pl_diag_set(diag, 0, "more than %d roles", PL_ROLES_MAX);
        err = PL_CONFIG;
        goto fail;
    }
    for (size_t i = 0; i < count; i++) {
        err = add_role(roles, &configs[i], diag);
        if (err != PL_OK)
            goto fail;
    }
    if (!pl_roles_has(roles, PL_BYTES("all"))) {
        err = add_role(roles, &role_all, diag);
        if (err != PL_OK)
            goto fail;
    }
    *out = roles;
    return PL_OK;
fail:
    pl_roles_free(roles);
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "roles: %s", pl_err_text(err));
    return err;
}

static void free_patterns(struct role *role)
{
    for (int action = 0; action < PL_ACTION_COUNT; action++) {
        for (int which = 0; which < LIST_COUNT; which++) {
            struct role_list *list = &role->lists[action][which];
            for (uint32_t i = 0; i < list->count; i++)
                pl_template_done(&list->patterns[i]);
        }
    }
}

struct pl_roles *pl_roles_free(struct pl_roles *roles)
{
    if (!roles)
        return NULL;
    for (struct pl_map_entry *e = NULL; (e = pl_map_next(&roles->by_name, e)) != NULL;)
        free_patterns(PL_CONTAINER(e, struct role, entry));
    pl_map_done(&roles->by_name);
    pl_arena_done(&roles->memory);
    pl_free(roles);
    return NULL;
}

bool pl_roles_has(const struct pl_roles *roles, struct pl_bytes name)
{
    return pl_map_find(&roles->by_name, name) != NULL;
}

struct pl_bytes pl_identity_attribute(const struct pl_identity *identity, const char *name)
{
    for (uint32_t i = 0; i < identity->attribute_count; i++) {
        if (pl_bytes_equal(identity->attributes[i].name, pl_bytes_text(name)))
            return identity->attributes[i].value;
    }
    return PL_NO_BYTES;
}

/* Puts one allowed pattern of the role into the identity: as it is, or what the token leaves. */
static enum pl_err add_allowed(struct pl_identity *identity, enum pl_action action,
    struct pl_pattern *pattern, const struct pl_narrowing *by, struct pl_diag *diag)
{
    if (!pl_narrowing_allows(by, action))
        return PL_OK;
    if (by->allowed_count == 0)
        return pl_identity_add_pattern(identity, action, false, pl_pattern_ref(pattern));
    for (uint32_t i = 0; i < by->allowed_count; i++) {
        if (identity->rights[action].allow_count >= PL_ROLE_PATTERNS_MAX) {
            pl_diag_set(diag, 0, "role and token together have more than %d patterns",
                PL_ROLE_PATTERNS_MAX);
            return PL_BAD_LOGIN;
        }
        struct pl_pattern *both = NULL;
        enum pl_err err = pl_pattern_intersection(pattern, by->allowed[i], &both);
        if (err == PL_OK && both)
            err = pl_identity_add_pattern(identity, action, false, both);
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

/* Whose lists say what this action may: its own if there are any. */
static enum pl_action ruled_by(const struct role *role, enum pl_action action)
{
    if (role->lists[action][ALLOW].count || role->lists[action][DENY].count)
        return action;
    return action == PL_CALL ? PL_PUBLISH : action == PL_REGISTER ? PL_SUBSCRIBE : action;
}

static enum pl_err apply_list(const struct role *role, struct pl_identity *identity,
    enum pl_action action, int which, const struct pl_narrowing *by, struct pl_diag *diag)
{
    const struct role_list *list = &role->lists[ruled_by(role, action)][which];
    for (uint32_t i = 0; i < list->count; i++) {
        struct pl_pattern *pattern;
        enum pl_err err = pl_template_expand(&list->patterns[i], identity, diag, &pattern);
        if (err != PL_OK)
            return err;
        if (which == DENY) {
            err = pl_identity_add_pattern(identity, action, true, pattern);
        } else {
            err = add_allowed(identity, action, pattern, by, diag);
            pl_pattern_unref(pattern);
        }
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

static enum pl_err apply_role(const struct role *role, struct pl_identity *identity,
    const struct pl_narrowing *by, struct pl_diag *diag)
{
    for (int action = 0; action < PL_ACTION_COUNT; action++) {
        for (int which = 0; which < LIST_COUNT; which++) {
            enum pl_err err = apply_list(role, identity, action, which, by, diag);
            if (err != PL_OK)
                return err;
        }
        for (uint32_t i = 0; i < by->denied_count; i++) {
            enum pl_err err =
                pl_identity_add_pattern(identity, action, true, pl_pattern_ref(by->denied[i]));
            if (err != PL_OK)
                return err;
        }
    }
    identity->has_replay = role->has_replay;
    identity->replay = role->replay;
    identity->may_disclose = role->disclose != PL_DISCLOSE_NEVER;
    identity->is_disclosed = role->disclose == PL_DISCLOSE_ALWAYS;
    identity->has_trust = role->trust != 0;
    identity->trust = role->trust;
    if (!role->authorizer.len)
        return PL_OK;
    /* The table may go before the identity does. */
    const char *authorizer = pl_arena_copy(identity->memory, role->authorizer);
    if (!authorizer)
        return PL_NO_MEMORY;
    identity->authorizer = pl_bytes_text(authorizer);
    return PL_OK;
}

/* A token without a role gives itself its rights: everything, narrowed by its lists. */
static enum pl_err apply_token_alone(
    struct pl_identity *identity, const struct pl_narrowing *by, struct pl_diag *diag)
{
    if (!by->has_permissions) {
        pl_diag_set(diag, 0, "neither a role nor permissions");
        return PL_BAD_LOGIN;
    }
    struct pl_pattern *all;
    enum pl_err err = pl_pattern_parse(PL_BYTES("#"), &all);
    if (err != PL_OK)
        return err;
    struct pl_template pattern = {.fixed = all};
    struct role role = {0};
    for (int action = 0; action < PL_ACTION_COUNT; action++)
        role.lists[action][ALLOW] = (struct role_list){&pattern, 1};
    err = apply_role(&role, identity, by, diag);
    pl_pattern_unref(all);
    return err;
}

enum pl_err pl_roles_apply(
    const struct pl_roles *roles, struct pl_identity *identity, struct pl_diag *diag)
{
    struct pl_narrowing by;
    enum pl_err err = pl_narrowing_read(identity, diag, &by);
    if (err != PL_OK)
        return err;
    if (identity->role.len == 0) {
        err = apply_token_alone(identity, &by, diag);
    } else {
        struct pl_map_entry *entry = pl_map_find(&roles->by_name, identity->role);
        if (entry) {
            err = apply_role(PL_CONTAINER(entry, struct role, entry), identity, &by, diag);
        } else {
            pl_diag_set(diag, 0, "there is no role \"%.*s\"",
                (int)(identity->role.len < 64 ? identity->role.len : 64), identity->role.data);
            err = PL_BAD_LOGIN;
        }
    }
    pl_narrowing_done(&by);
    return err;
}
