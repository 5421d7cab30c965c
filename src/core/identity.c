#include "core/identity.h"

#include "base/alloc.h"
#include "base/arena.h"

struct identity_block {
    struct pl_identity identity;
    struct pl_arena memory;
};

struct pl_identity *pl_identity_new(void)
{
    struct identity_block *block = pl_zalloc(sizeof *block);
    if (!block)
        return NULL;
    atomic_init(&block->identity.refs, 1);
    block->identity.memory = &block->memory;
    block->identity.may_disclose = true;
    return &block->identity;
}

struct pl_identity *pl_identity_ref(struct pl_identity *identity)
{
    atomic_fetch_add_explicit(&identity->refs, 1, memory_order_relaxed);
    return identity;
}

struct pl_identity *pl_identity_unref(struct pl_identity *identity)
{
    if (!identity || atomic_fetch_sub_explicit(&identity->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (int action = 0; action < PL_ACTION_COUNT; action++) {
        struct pl_rights *rights = &identity->rights[action];
        for (uint32_t i = 0; i < rights->allow_count; i++)
            pl_pattern_unref(rights->allow[i]);
        for (uint32_t i = 0; i < rights->deny_count; i++)
            pl_pattern_unref(rights->deny[i]);
    }
    pl_arena_done(identity->memory);
    pl_free(identity);
    return NULL;
}

struct pl_identity *pl_identity_new_all(const char *user, const char *role)
{
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return NULL;
    const char *own_user = pl_arena_copy(identity->memory, pl_bytes_text(user));
    const char *own_role = pl_arena_copy(identity->memory, pl_bytes_text(role));
    if (!own_user || !own_role)
        return pl_identity_unref(identity);
    identity->user = pl_bytes_text(own_user);
    identity->role = pl_bytes_text(own_role);
    identity->expires_unix_ms = PL_NEVER;
    for (int action = 0; action < PL_ACTION_COUNT; action++) {
        struct pl_pattern *everything;
        if (pl_pattern_parse(PL_BYTES(">"), &everything) ||
            pl_identity_add_pattern(identity, (enum pl_action)action, false, everything))
            return pl_identity_unref(identity);
    }
    return identity;
}

/* Appends to an array of the arena, which doubles when its count is a power of two. */
static enum pl_err append(
    struct pl_arena *memory, struct pl_pattern ***list, uint32_t *count, struct pl_pattern *pattern)
{
    enum { FIRST = 4 };
    uint32_t n = *count;
    if (!n || (n >= FIRST && !(n & (n - 1)))) {
        struct pl_pattern **grown =
            pl_arena_alloc(memory, (size_t)(n ? 2 * n : FIRST) * sizeof(struct pl_pattern *));
        if (!grown)
            return PL_NO_MEMORY;
        if (n)
            memcpy(grown, *list, n * sizeof *grown);
        *list = grown;
    }
    (*list)[n] = pattern;
    *count = n + 1;
    return PL_OK;
}

static bool is_everything(const struct pl_pattern *p)
{
    return p->kind == PL_PATTERN_TOKENS && p->token_count == 1 && !p->spares_dollar &&
           (p->tokens[0].kind == PL_TOKEN_REST || p->tokens[0].kind == PL_TOKEN_SELF_OR_REST);
}

enum pl_err pl_identity_add_pattern(struct pl_identity *identity, enum pl_action action, bool deny,
    struct pl_pattern *pattern_moved)
{
    struct pl_rights *rights = &identity->rights[action];
    enum pl_err err =
        deny ? append(identity->memory, &rights->deny, &rights->deny_count, pattern_moved)
             : append(identity->memory, &rights->allow, &rights->allow_count, pattern_moved);
    if (err) {
        pl_pattern_unref(pattern_moved);
        return err;
    }
    rights->allow_all = false;
    for (uint32_t i = 0; i < rights->allow_count && !rights->deny_count; i++)
        rights->allow_all |= is_everything(rights->allow[i]);
    return PL_OK;
}

static bool any_covers(struct pl_pattern *const *list, uint32_t count, struct pl_bytes name)
{
    for (uint32_t i = 0; i < count; i++)
        if (pl_pattern_covers(list[i], name))
            return true;
    return false;
}

static bool may(const struct pl_rights *rights, struct pl_bytes name)
{
    return rights->allow_all || (!any_covers(rights->deny, rights->deny_count, name) &&
                                    any_covers(rights->allow, rights->allow_count, name));
}

bool pl_identity_may_publish(const struct pl_identity *identity, struct pl_bytes name)
{
    return (identity->is_server || !pl_subject_is_reserved(name)) &&
           may(&identity->rights[PL_PUBLISH], name);
}

bool pl_identity_may_call(const struct pl_identity *identity, struct pl_bytes name)
{
    return may(&identity->rights[PL_CALL], name);
}

bool pl_identity_may_register(const struct pl_identity *identity, const struct pl_pattern *pattern)
{
    const struct pl_rights *rights = &identity->rights[PL_REGISTER];
    if (rights->allow_all)
        return true;
    if (!pl_pattern_union_contains(rights->allow, rights->allow_count, pattern))
        return false;
    /* A registration is not asked per name: what it could be called by must all be allowed. */
    for (uint32_t i = 0; i < rights->deny_count; i++)
        if (pl_pattern_intersects(rights->deny[i], pattern))
            return false;
    return true;
}

/* Nothing but names under _INBOX., of one holder who knows the next token. */
static bool is_own_inbox(const struct pl_pattern *p)
{
    return p->kind == PL_PATTERN_TOKENS && p->literal_head >= 2 && pl_subject_is_inbox(p->text);
}

bool pl_identity_may_subscribe(
    const struct pl_identity *identity, const struct pl_pattern *pattern, bool *out_filtered)
{
    const struct pl_rights *rights = &identity->rights[PL_SUBSCRIBE];
    *out_filtered = false;
    if (rights->allow_all || is_own_inbox(pattern))
        return true;
    if (!pl_pattern_union_contains(rights->allow, rights->allow_count, pattern) ||
        pl_pattern_union_contains(rights->deny, rights->deny_count, pattern))
        return false;
    for (uint32_t i = 0; i < rights->deny_count && !*out_filtered; i++)
        *out_filtered = pl_pattern_intersects(rights->deny[i], pattern);
    return true;
}

bool pl_identity_may_receive(const struct pl_identity *identity, struct pl_bytes name)
{
    /* Only the two literal tokens of one's own inbox lead here, which nobody is refused. */
    return pl_subject_is_inbox(name) || may(&identity->rights[PL_SUBSCRIBE], name);
}
