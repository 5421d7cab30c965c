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
#include "auth/template.h"

#include "auth/roles.h"
#include "base/text.h"

/* A run of text, or an attribute's name, inside a token with a template. */
struct piece {
    struct pl_bytes text;
    bool is_attribute;
};

enum slot_kind { SLOT_LITERAL, SLOT_ANY, SLOT_REST, SLOT_SELF_OR_REST };

/* One token of a pattern; a literal is the sum of its pieces. */
struct pl_template_slot {
    enum slot_kind kind;
    uint32_t piece_count;
    bool has_attribute;
    const struct piece *pieces;
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
    struct pl_arena *memory, struct pl_bytes token, bool is_last, struct pl_template_slot *slot)
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
    struct pl_arena *memory, struct pl_bytes text, struct pl_template *pattern)
{
    uint32_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '.';
    if (count > PL_SUBJECT_TOKENS_MAX)
        return "too many tokens";
    struct pl_template_slot *slots = pl_arena_zalloc(memory, count * sizeof(*slots));
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

const char *pl_template_read(
    struct pl_arena *memory, const char *config_text, struct pl_template *pattern)
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
static enum pl_err expand_slot(const struct pl_template_slot *slot, struct pl_identity *identity,
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

enum pl_err pl_template_expand(const struct pl_template *pattern, struct pl_identity *identity,
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
        const struct pl_template_slot *slot = &pattern->slots[i];
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

void pl_template_done(struct pl_template *pattern)
{
    pattern->fixed = pl_pattern_unref(pattern->fixed);
}
