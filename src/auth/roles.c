/*
 * Roles are parsed once, into lists of tokens in which `{name}` has its own kind; a login only
 * fills values into them:
 *
 *     "{user_id}.#"        TEMPLATE[attribute user_id]  SELF_OR_REST
 *     user_id = "a.b"      literal "a/b"                self or rest
 *
 * No text is put together and parsed again on the way, so no value can become a wildcard or a
 * second token.
 */
#include "auth/roles.h"

#include "auth/narrow.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/text.h"

/* A run of text, or an attribute's name, inside a token with a template. */
struct piece {
    struct pl_bytes text;
    bool is_attribute;
};

enum slot_kind { SLOT_LITERAL, SLOT_ANY, SLOT_REST, SLOT_SELF_OR_REST };

/* One token of a pattern; a literal is the sum of its pieces. */
struct slot {
    enum slot_kind kind;
    uint32_t piece_count;
    bool has_attribute;
    const struct piece *pieces;
};

struct role_pattern {
    struct pl_pattern *fixed; /* one reference; NULL: it has templates */
    const struct slot *slots;
    uint32_t slot_count;
};

struct role_list {
    struct role_pattern *patterns;
    uint32_t count;
};

enum { ALLOW, DENY, LIST_COUNT };

struct role {
    struct pl_map_entry entry;
    struct role_list lists[PL_ACTION_COUNT][LIST_COUNT];
    bool has_replay;
    uint8_t replay;
};

struct pl_roles {
    atomic_uint refs;
    struct pl_map by_name;
    struct pl_arena memory;
};

static bool is_attribute_byte(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* The braces of a token: NULL if all is well, else what is not. */
static const char *read_pieces(struct pl_bytes token, struct piece *pieces, uint32_t *out_count)
{
    uint32_t count = 0;
    for (size_t at = 0; at < token.len;) {
        size_t begin = at;
        if (token.data[at] != '{') {
            while (at < token.len && token.data[at] != '{' && token.data[at] != '}')
                at++;
            if (at == begin)
                return "'}' without '{'";
            pieces[count++] = (struct piece){pl_bytes_of(token.data + begin, at - begin), false};
            continue;
        }
        at++;
        while (at < token.len && is_attribute_byte(token.data[at]))
            at++;
        if (at == begin + 1 || at == token.len || token.data[at] != '}')
            return "expected {name}, a name of A-Z a-z 0-9 _ -";
        pieces[count++] = (struct piece){pl_bytes_of(token.data + begin + 1, at - begin - 1), true};
        at++;
    }
    *out_count = count;
    return NULL;
}

static bool has_byte(struct pl_bytes text, char c)
{
    return text.len > 0 && memchr(text.data, c, text.len);
}

static const char *read_slot(
    struct pl_arena *memory, struct pl_bytes token, bool is_last, struct slot *slot)
{
    bool is_rest = pl_bytes_equal(token, PL_BYTES(">"));
    bool is_self_or_rest = pl_bytes_equal(token, PL_BYTES("#"));
    if ((is_rest || is_self_or_rest) && !is_last)
        return "'>' and '#' stand at the end only";
    if (is_rest || is_self_or_rest || pl_bytes_equal(token, PL_BYTES("*"))) {
        slot->kind = is_rest ? SLOT_REST : is_self_or_rest ? SLOT_SELF_OR_REST : SLOT_ANY;
        return NULL;
    }
    slot->kind = SLOT_LITERAL;
    slot->has_attribute = has_byte(token, '{') || has_byte(token, '}');
    if (slot->has_attribute && (has_byte(token, '*') || has_byte(token, '>') ||
                                   has_byte(token, '#') || has_byte(token, '+')))
        return "a token with {name} can have no wildcard";
    /* At most one piece a byte. */
    struct piece *pieces = pl_arena_alloc(memory, (token.len + 1) * sizeof(*pieces));
    if (!pieces)
        return pl_err_text(PL_NO_MEMORY);
    slot->pieces = pieces;
    if (slot->has_attribute)
        return read_pieces(token, pieces, &slot->piece_count);
    pieces[0] = (struct piece){token, false};
    slot->piece_count = 1;
    return NULL;
}

static const char *read_slots(
    struct pl_arena *memory, struct pl_bytes text, struct role_pattern *pattern)
{
    uint32_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '.';
    if (count > PL_SUBJECT_TOKENS_MAX)
        return "too many tokens";
    struct slot *slots = pl_arena_zalloc(memory, count * sizeof(*slots));
    if (!slots)
        return pl_err_text(PL_NO_MEMORY);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *dot = text.len ? memchr(text.data, '.', text.len) : NULL;
        size_t len = dot ? (size_t)(dot - text.data) : text.len;
        const char *wrong =
            read_slot(memory, pl_bytes_of(text.data, len), i + 1 == count, &slots[i]);
        if (wrong)
            return wrong;
        text = pl_bytes_from(text, len + (dot != NULL));
    }
    pattern->slots = slots;
    pattern->slot_count = count;
    return NULL;
}

static const char *read_pattern(
    struct pl_arena *memory, const char *config_text, struct role_pattern *pattern)
{
    struct pl_bytes text = pl_bytes_text(config_text);
    if (text.len == 0)
        return "a pattern cannot be empty";
    if (text.len > PL_SUBJECT_MAX)
        return "too long";
    const char *copy = pl_arena_copy(memory, text);
    if (!copy)
        return pl_err_text(PL_NO_MEMORY);
    text.data = (const uint8_t *)copy;
    if (has_byte(text, '{') || has_byte(text, '}'))
        return read_slots(memory, text, pattern);
    switch (pl_pattern_parse(text, &pattern->fixed)) {
    case PL_OK:
        return NULL;
    case PL_NO_MEMORY:
        return pl_err_text(PL_NO_MEMORY);
    case PL_LIMIT:
        return "too long, or too many tokens";
    default:
        return "'>' and '#' stand at the end only";
    }
}

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
        const char *wrong = read_pattern(memory, texts.items[i], &list->patterns[i]);
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
    roles->refs = 1;
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
    pl_roles_unref(roles);
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "roles: %s", pl_err_text(err));
    return err;
}

struct pl_roles *pl_roles_ref(struct pl_roles *roles)
{
    atomic_fetch_add_explicit(&roles->refs, 1, memory_order_relaxed);
    return roles;
}

static void free_patterns(struct role *role)
{
    for (int action = 0; action < PL_ACTION_COUNT; action++) {
        for (int which = 0; which < LIST_COUNT; which++) {
            struct role_list *list = &role->lists[action][which];
            for (uint32_t i = 0; i < list->count; i++)
                pl_pattern_unref(list->patterns[i].fixed);
        }
    }
}

struct pl_roles *pl_roles_unref(struct pl_roles *roles)
{
    if (!roles || atomic_fetch_sub_explicit(&roles->refs, 1, memory_order_acq_rel) > 1)
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

/* The value of {name}: `user` and, where no attribute says otherwise, `user_id` are the user. */
static struct pl_bytes template_value(const struct pl_identity *identity, struct pl_bytes name)
{
    if (pl_bytes_equal(name, PL_BYTES("user")))
        return identity->user;
    for (uint32_t i = 0; i < identity->attribute_count; i++) {
        if (pl_bytes_equal(identity->attributes[i].name, name))
            return identity->attributes[i].value;
    }
    return pl_bytes_equal(name, PL_BYTES("user_id")) ? identity->user : PL_NO_BYTES;
}

/* NULL, or why a value cannot stand in a subject as one token. */
static const char *value_fault(struct pl_bytes value)
{
    if (value.len == 0)
        return "is empty";
    if (value.len > PL_ATTRIBUTE_VALUE_MAX)
        return "is too long";
    for (size_t at = 0; at < value.len;) {
        uint32_t code;
        size_t len = pl_utf8_next(pl_bytes_from(value, at), &code);
        if (len == 0)
            return "is not UTF-8";
        if (code < 0x20 || (code >= 0x7f && code <= 0x9f))
            return "holds a control character";
        if (code == '/' || code == '+' || code == '#')
            return "holds one of / + #";
        at += len;
    }
    return NULL;
}

static enum pl_err refuse_value(struct pl_diag *diag, struct pl_bytes name, const char *fault)
{
    pl_diag_set(
        diag, 0, "the value of {%.*s} %s", (int)(name.len < 64 ? name.len : 64), name.data, fault);
    return PL_BAD_LOGIN;
}

/* The literal that a token with templates means, in the identity's memory. */
static enum pl_err expand_slot(const struct slot *slot, struct pl_identity *identity,
    struct pl_diag *diag, struct pl_bytes *out)
{
    size_t len = 0;
    for (uint32_t i = 0; i < slot->piece_count; i++) {
        const struct piece *piece = &slot->pieces[i];
        struct pl_bytes text = piece->text;
        if (piece->is_attribute) {
            text = template_value(identity, piece->text);
            const char *fault = value_fault(text);
            if (fault)
                return refuse_value(diag, piece->text, fault);
        }
        len += text.len;
    }
    uint8_t *token = pl_arena_alloc(identity->memory, len);
    if (!token)
        return PL_NO_MEMORY;
    size_t at = 0;
    for (uint32_t i = 0; i < slot->piece_count; i++) {
        const struct piece *piece = &slot->pieces[i];
        if (!piece->is_attribute) {
            memcpy(token + at, piece->text.data, piece->text.len);
            at += piece->text.len;
            continue;
        }
        struct pl_bytes value = template_value(identity, piece->text);
        for (size_t j = 0; j < value.len; j++)
            token[at++] = value.data[j] == '.' ? '/' : value.data[j];
    }
    *out = pl_bytes_of(token, len);
    return PL_OK;
}

/* Names that the server or other rules speak for; nobody owns them by being called so. */
static bool is_special_first(struct pl_bytes token)
{
    return pl_bytes_starts(token, PL_BYTES("$")) || pl_bytes_equal(token, PL_BYTES("_INBOX")) ||
           pl_bytes_equal(token, PL_BYTES("wamp"));
}

static enum pl_err expand(const struct role_pattern *pattern, struct pl_identity *identity,
    struct pl_diag *diag, struct pl_pattern **out)
{
    if (pattern->fixed) {
        *out = pl_pattern_ref(pattern->fixed);
        return PL_OK;
    }
    struct pl_pattern_builder builder;
    pl_pattern_begin(&builder);
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; i < pattern->slot_count && err == PL_OK; i++) {
        const struct slot *slot = &pattern->slots[i];
        struct pl_bytes token = slot->piece_count ? slot->pieces[0].text : PL_NO_BYTES;
        switch (slot->kind) {
        case SLOT_LITERAL:
            if (slot->has_attribute)
                err = expand_slot(slot, identity, diag, &token);
            if (err == PL_OK && slot->has_attribute && i == 0 && is_special_first(token)) {
                pl_diag_set(diag, 0, "a role's first token may not expand to $…, _INBOX or wamp");
                err = PL_BAD_LOGIN;
            }
            if (err == PL_OK)
                pl_pattern_add_literal(&builder, token);
            break;
        case SLOT_ANY:
            pl_pattern_add_any(&builder);
            break;
        case SLOT_REST:
            pl_pattern_add_rest(&builder);
            break;
        case SLOT_SELF_OR_REST:
            pl_pattern_add_self_or_rest(&builder);
            break;
        }
    }
    /* The builder is ended in any case: that frees what it holds. */
    struct pl_pattern *made = NULL;
    enum pl_err end = pl_pattern_end(&builder, &made);
    if (err == PL_OK && end == PL_OK) {
        *out = made;
        return PL_OK;
    }
    if (end == PL_OK)
        pl_pattern_unref(made);
    if (err != PL_OK)
        return err;
    if (end == PL_NO_MEMORY)
        return end;
    pl_diag_set(diag, 0, "a role's pattern grows too long with this login's values");
    return PL_BAD_LOGIN;
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

static enum pl_err apply_list(const struct role *role, struct pl_identity *identity,
    enum pl_action action, int which, const struct pl_narrowing *by, struct pl_diag *diag)
{
    const struct role_list *list = &role->lists[action][which];
    for (uint32_t i = 0; i < list->count; i++) {
        struct pl_pattern *pattern;
        enum pl_err err = expand(&list->patterns[i], identity, diag, &pattern);
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
    struct role_pattern pattern = {.fixed = all};
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
