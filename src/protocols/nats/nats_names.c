/*
 * Names and patterns in NATS' words: tokens parted by '.', none of them empty; `*` and `>` are
 * wildcards where they are a whole token. What NATS' text cannot carry is escaped (DESIGN section
 * 1).
 */
#include "protocols/nats/nats_session.h"

const struct pl_escape_rules nats_rules = {
    .bytes = {[0] = 0x01, [1] = 0x26, [4] = 0x01}, /* 00, 09 0A 0D, 20 */
    .empty_token = true,
    .empty_name = true,
    .wildcard_tokens = true,
    .separator = '.',
};

enum { PLAIN, DOT, WILD, OTHER };

static const uint8_t byte_kinds[256] = {
    [0x00] = OTHER,
    [0x09] = OTHER,
    [0x0A] = OTHER,
    [0x0D] = OTHER,
    [0x20] = OTHER,
    ['%'] = OTHER,
    ['.'] = DOT,
    ['*'] = WILD,
    ['>'] = WILD,
};

bool nats_name_is_plain(struct pl_bytes text)
{
    size_t token = 0; /* where it begins */
    for (size_t i = 0; i < text.len; i++) {
        uint8_t kind = byte_kinds[text.data[i]];
        if (__builtin_expect(kind == PLAIN, 1))
            continue;
        if (kind == OTHER)
            return false;
        if (kind == WILD && i == token && (i + 1 == text.len || text.data[i + 1] == '.'))
            return false;
        if (kind == DOT) {
            if (i == token)
                return false;
            token = i + 1;
        }
    }
    return token < text.len;
}

/* Takes a token off *rest; false: there is none left. */
static bool next_token(struct pl_bytes *rest, struct pl_bytes *out)
{
    if (!rest->data)
        return false;
    const uint8_t *dot = rest->len ? memchr(rest->data, '.', rest->len) : NULL;
    size_t len = dot ? (size_t)(dot - rest->data) : rest->len;
    *out = pl_bytes_of(rest->data, len);
    *rest = dot ? pl_bytes_from(*rest, len + 1) : PL_NO_BYTES;
    return true;
}

static bool is_token(struct pl_bytes token, uint8_t byte)
{
    return token.len == 1 && token.data[0] == byte;
}

enum pl_err nats_name_decode(struct pl_arena *arena, struct pl_bytes text, struct pl_bytes *out)
{
    if (nats_name_is_plain(text)) {
        *out = text;
        return PL_OK;
    }
    struct pl_bytes rest = text, token;
    while (next_token(&rest, &token))
        if (!token.len || is_token(token, '*') || is_token(token, '>'))
            return PL_BAD_NAME;
    return pl_subject_decode(&nats_rules, arena, text, out);
}

enum pl_err nats_pattern_decode(
    struct pl_arena *arena, struct pl_bytes text, struct pl_pattern **out)
{
    struct pl_pattern_builder b;
    struct pl_bytes rest = text, token;
    enum pl_err err = PL_OK;
    pl_pattern_begin(&b);
    while (!err && next_token(&rest, &token)) {
        struct pl_bytes literal;
        if (!token.len)
            err = PL_BAD_NAME;
        else if (is_token(token, '*'))
            pl_pattern_add_any(&b);
        else if (is_token(token, '>'))
            pl_pattern_add_rest(&b);
        else if (!(err = pl_token_decode(&nats_rules, arena, token, &literal)))
            pl_pattern_add_literal(&b, literal);
    }
    struct pl_pattern *pattern;
    enum pl_err end = pl_pattern_end(&b, &pattern);
    if (end)
        return err ? err : end;
    if (err)
        pl_pattern_unref(pattern);
    else
        *out = pattern;
    return err;
}
