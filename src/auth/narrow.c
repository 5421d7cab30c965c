#include "auth/narrow.h"

#include <jansson.h>

#include "auth/roles.h"
#include "base/alloc.h"

static enum pl_err refuse_claim(struct pl_diag *diag, const char *name, const char *why)
{
    pl_diag_set(diag, 0, "the claim %s %s", name, why);
    return PL_BAD_LOGIN;
}

/* *out_list: NULL if there is no such claim; else json_decref it. */
static enum pl_err read_claim(
    const struct pl_identity *identity, const char *name, struct pl_diag *diag, json_t **out_list)
{
    *out_list = NULL;
    struct pl_bytes text = pl_identity_attribute(identity, name);
    if (text.len == 0)
        return PL_OK;
    json_error_t error;
    json_t *list = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!list && json_error_code(&error) == json_error_out_of_memory)
        return PL_NO_MEMORY;
    bool is_good = json_is_array(list) && json_array_size(list) <= PL_ROLE_PATTERNS_MAX;
    for (size_t i = 0; is_good && i < json_array_size(list); i++)
        is_good = json_is_string(json_array_get(list, i));
    if (!is_good) {
        json_decref(list);
        return refuse_claim(diag, name, "is no list of at most 256 texts");
    }
    *out_list = list;
    return PL_OK;
}

static enum pl_err read_patterns(const struct pl_identity *identity, const char *name,
    struct pl_diag *diag, struct pl_pattern ***out, uint32_t *out_count)
{
    json_t *list;
    enum pl_err err = read_claim(identity, name, diag, &list);
    size_t count = json_array_size(list);
    if (err != PL_OK || count == 0) {
        json_decref(list);
        return err;
    }
    *out = pl_zalloc(count * sizeof(struct pl_pattern *));
    if (!*out)
        err = PL_NO_MEMORY;
    for (size_t i = 0; i < count && err == PL_OK; i++) {
        json_t *item = json_array_get(list, i);
        err = pl_pattern_parse(
            pl_bytes_of(json_string_value(item), json_string_length(item)), &(*out)[i]);
        if (err == PL_OK)
            (*out_count)++;
        else if (err != PL_NO_MEMORY)
            err = refuse_claim(diag, name, "holds what is no pattern");
    }
    json_decref(list);
    return err;
}

static enum pl_err read_permissions(
    const struct pl_identity *identity, struct pl_diag *diag, struct pl_narrowing *out)
{
    json_t *list;
    enum pl_err err = read_claim(identity, "permissions", diag, &list);
    if (err != PL_OK || !list)
        return err;
    out->has_permissions = true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        struct pl_bytes verb = pl_bytes_of(json_string_value(item), json_string_length(item));
        if (pl_bytes_equal_nocase(verb, PL_BYTES("publish")))
            out->may[PL_PUBLISH] = out->may[PL_CALL] = true;
        else if (pl_bytes_equal_nocase(verb, PL_BYTES("subscribe")))
            out->may[PL_SUBSCRIBE] = out->may[PL_REGISTER] = true;
    }
    json_decref(list);
    return PL_OK;
}

enum pl_err pl_narrowing_read(
    const struct pl_identity *identity, struct pl_diag *diag, struct pl_narrowing *out)
{
    struct pl_narrowing read = {0};
    enum pl_err err = read_permissions(identity, diag, &read);
    if (err == PL_OK)
        err = read_patterns(identity, "allowed_subjects", diag, &read.allowed, &read.allowed_count);
    if (err == PL_OK)
        err = read_patterns(identity, "deny_subjects", diag, &read.denied, &read.denied_count);
    if (err == PL_OK)
        *out = read;
    else
        pl_narrowing_done(&read);
    return err;
}

static void free_patterns(struct pl_pattern **patterns, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pl_pattern_unref(patterns[i]);
    pl_free(patterns);
}

void pl_narrowing_done(struct pl_narrowing *narrowing)
{
    free_patterns(narrowing->allowed, narrowing->allowed_count);
    free_patterns(narrowing->denied, narrowing->denied_count);
}

static struct pl_bytes token_text(const struct pl_pattern *p, uint32_t i)
{
    return pl_bytes_of(p->text.data + p->tokens[i].at, p->tokens[i].len);
}

static bool is_rest(const struct pl_pattern *p, uint32_t i)
{
    return i < p->token_count && p->tokens[i].kind >= PL_TOKEN_REST;
}

static void add_token(struct pl_pattern_builder *b, const struct pl_pattern *p, uint32_t i)
{
    switch ((enum pl_token_kind)p->tokens[i].kind) {
    case PL_TOKEN_LITERAL:
        pl_pattern_add_literal(b, token_text(p, i));
        break;
    case PL_TOKEN_ANY:
        pl_pattern_add_any(b);
        break;
    case PL_TOKEN_REST:
        pl_pattern_add_rest(b);
        break;
    case PL_TOKEN_SELF_OR_REST:
        pl_pattern_add_self_or_rest(b);
        break;
    }
}

/* rest stands at i and ends its pattern: what of other's tokens from i on does it leave? False:
 * nothing. */
static bool add_tail(struct pl_pattern_builder *b, const struct pl_pattern *rest,
    const struct pl_pattern *other, uint32_t i)
{
    bool needs_one = rest->tokens[i].kind == PL_TOKEN_REST;
    if (i == other->token_count)
        return !needs_one;
    if (is_rest(other, i)) {
        /* One of them asks for a token: so do both together. */
        if (needs_one || other->tokens[i].kind == PL_TOKEN_REST)
            pl_pattern_add_rest(b);
        else
            pl_pattern_add_self_or_rest(b);
        return true;
    }
    for (uint32_t j = i; j < other->token_count; j++)
        add_token(b, other, j);
    return true;
}

/* False: no name matches both. */
static bool add_common(
    struct pl_pattern_builder *b, const struct pl_pattern *p, const struct pl_pattern *q)
{
    for (uint32_t i = 0;; i++) {
        if (is_rest(p, i))
            return add_tail(b, p, q, i);
        if (is_rest(q, i))
            return add_tail(b, q, p, i);
        if (i == p->token_count || i == q->token_count)
            return p->token_count == q->token_count;
        bool p_any = p->tokens[i].kind == PL_TOKEN_ANY, q_any = q->tokens[i].kind == PL_TOKEN_ANY;
        if (!p_any && !q_any && !pl_bytes_equal(token_text(p, i), token_text(q, i)))
            return false;
        add_token(b, p_any ? q : p, i);
    }
}

enum pl_err pl_pattern_intersection(
    const struct pl_pattern *a, const struct pl_pattern *b, struct pl_pattern **out_both)
{
    PL_ASSERT(a->kind == PL_PATTERN_TOKENS && b->kind == PL_PATTERN_TOKENS);
    struct pl_pattern_builder builder;
    pl_pattern_begin(&builder);
    builder.spares_dollar = a->spares_dollar || b->spares_dollar;
    bool meets = add_common(&builder, a, b);
    /* Ended in any case: that frees what the builder holds. */
    struct pl_pattern *both = NULL;
    enum pl_err err = pl_pattern_end(&builder, &both);
    if (err == PL_OK && !meets)
        both = pl_pattern_unref(both);
    if (!meets && err != PL_NO_MEMORY)
        err = PL_OK;
    if (err == PL_OK)
        *out_both = both;
    return err;
}
