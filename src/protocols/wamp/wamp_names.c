#include "protocols/wamp/wamp_names.h"

#include "base/hash.h"
#include "base/text.h"

const struct pl_escape_rules wamp_rules = {
    .bytes = {[0] = 0xFF, [1] = 0xFF, [2] = 0xFF, [3] = 0xFF, [4] = 0x09}, /* 00–20, # */
    .invalid_utf8 = true,
    .empty_token = true,
    .empty_name = true,
    .separator = '.',
};

bool wamp_match_parse(const struct pl_value *value, enum wamp_match *out)
{
    for (int match = WAMP_EXACT; match <= WAMP_WILDCARD; match++)
        if (pl_value_is(value, wamp_match_name((enum wamp_match)match))) {
            *out = (enum wamp_match)match;
            return true;
        }
    return false;
}

const char *wamp_match_name(enum wamp_match match)
{
    return match == WAMP_EXACT ? "exact" : match == WAMP_PREFIX ? "prefix" : "wildcard";
}

enum wamp_match wamp_match_of(const struct pl_pattern *pattern)
{
    return pattern->is_literal                  ? WAMP_EXACT
           : pattern->kind == PL_PATTERN_PREFIX ? WAMP_PREFIX
                                                : WAMP_WILDCARD;
}

/* Neither white space nor '#', nor, where it is strict, anything but a-z, 0-9 and _. */
static bool is_component_byte(uint8_t c, bool is_strict)
{
    if (is_strict)
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    return c > ' ' && c != '#';
}

/* Empty components: none, only the last one, or any. */
enum empties { NO_EMPTY, LAST_EMPTY, ANY_EMPTY };

static bool is_uri(struct pl_bytes uri, bool is_strict, enum empties empties)
{
    size_t begin = 0;
    for (size_t i = 0; i <= uri.len; i++) {
        bool is_end = i == uri.len;
        if (!is_end && uri.data[i] != '.') {
            if (!is_component_byte(uri.data[i], is_strict))
                return false;
            continue;
        }
        if (i == begin && empties != ANY_EMPTY && !(is_end && empties == LAST_EMPTY))
            return false;
        begin = i + 1;
    }
    return true;
}

enum pl_err wamp_uri_decode(
    struct pl_arena *arena, struct pl_bytes uri, bool is_strict, struct pl_bytes *out)
{
    if (!is_uri(uri, is_strict, NO_EMPTY))
        return PL_BAD_NAME;
    if (pl_subject_is_plain(&wamp_rules, uri)) {
        *out = uri;
        return PL_OK;
    }
    return pl_subject_decode(&wamp_rules, arena, uri, out);
}

enum pl_err wamp_uri_encode(struct pl_arena *arena, struct pl_bytes subject, struct pl_bytes *out)
{
    return pl_subject_encode(&wamp_rules, arena, subject, out);
}

static enum pl_err decode_wildcard(
    struct pl_arena *arena, struct pl_bytes uri, struct pl_pattern **out)
{
    struct pl_pattern_builder b;
    enum pl_err err = PL_OK;
    pl_pattern_begin(&b);
    size_t begin = 0;
    for (size_t i = 0; i <= uri.len && !err; i++) {
        if (i < uri.len && uri.data[i] != '.')
            continue;
        struct pl_bytes token = pl_bytes_of(uri.data + begin, i - begin), literal;
        if (!token.len)
            pl_pattern_add_any(&b);
        else if (!(err = pl_token_decode(&wamp_rules, arena, token, &literal)))
            pl_pattern_add_literal(&b, literal);
        begin = i + 1;
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

enum pl_err wamp_pattern_decode(struct pl_arena *arena, struct pl_bytes uri, enum wamp_match match,
    bool is_strict, struct pl_pattern **out)
{
    struct pl_bytes subject;
    enum pl_err err;
    switch (match) {
    case WAMP_EXACT:
        err = wamp_uri_decode(arena, uri, is_strict, &subject);
        return err ? err : pl_pattern_new_literal(subject, out);
    case WAMP_PREFIX:
        return is_uri(uri, is_strict, LAST_EMPTY) ? pl_pattern_new_prefix(uri, out) : PL_BAD_NAME;
    case WAMP_WILDCARD:
        return uri.len && is_uri(uri, is_strict, ANY_EMPTY) ? decode_wildcard(arena, uri, out)
                                                            : PL_BAD_NAME;
    }
    return PL_BAD_NAME;
}

enum pl_err wamp_pattern_encode(
    struct pl_arena *arena, const struct pl_pattern *pattern, struct pl_bytes *out)
{
    if (pattern->is_literal)
        return wamp_uri_encode(arena, pattern->text, out);
    *out = pattern->text;
    if (pattern->kind != PL_PATTERN_TOKENS)
        return PL_OK;
    struct pl_writer w = pl_writer_new();
    struct pl_shared *text;
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; i < pattern->token_count && !err; i++) {
        const struct pl_token *token = &pattern->tokens[i];
        struct pl_bytes literal = PL_NO_BYTES;
        if (i)
            pl_write_u8(&w, '.');
        if (token->kind == PL_TOKEN_LITERAL)
            err = pl_token_encode(&wamp_rules, arena,
                pl_bytes_of(pattern->text.data + token->at, token->len), &literal);
        pl_write_bytes(&w, literal);
    }
    if (err)
        w.err = err;
    if ((err = pl_writer_take(&w, &text)))
        return err;
    const char *copy = pl_arena_copy(arena, pl_bytes_of(text->data, text->len));
    *out = pl_bytes_of(copy, copy ? text->len : 0);
    pl_shared_unref(text);
    return copy ? PL_OK : PL_NO_MEMORY;
}

uint64_t wamp_subscription_id(const struct pl_realm *realm, const struct pl_pattern *pattern)
{
    const struct pl_bytes kind = pl_bytes_of(&pattern->kind, 1);
    uint64_t hash = pl_hash(pl_realm_seed(realm) ^ pl_hash(0, kind), pattern->text);
    return (hash & (((uint64_t)1 << 53) - 1)) + 1;
}
