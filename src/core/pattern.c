#include "core/pattern.h"

#include "base/alloc.h"

static struct pl_bytes token_bytes(const struct pl_pattern *p, uint32_t i)
{
    return pl_bytes_of(p->text.data + p->tokens[i].at, p->tokens[i].len);
}

void pl_pattern_begin(struct pl_pattern_builder *b)
{
    b->text = b->small;
    b->len = 0;
    b->cap = sizeof b->small;
    b->count = 0;
    b->err = PL_OK;
    b->spares_dollar = false;
}

static bool is_open_ended(enum pl_token_kind kind)
{
    return kind == PL_TOKEN_REST || kind == PL_TOKEN_SELF_OR_REST;
}

static enum pl_err make_room(struct pl_pattern_builder *b, size_t more)
{
    if (more <= b->cap - b->len)
        return PL_OK;
    size_t cap = 2 * (b->len + more);
    bool is_small = b->text == b->small;
    uint8_t *text = pl_realloc(is_small ? NULL : b->text, cap);
    if (!text)
        return PL_NO_MEMORY;
    if (is_small)
        memcpy(text, b->small, b->len);
    b->text = text;
    b->cap = cap;
    return PL_OK;
}

static enum pl_err add_token(
    struct pl_pattern_builder *b, enum pl_token_kind kind, struct pl_bytes text)
{
    if (b->count && is_open_ended((enum pl_token_kind)b->tokens[b->count - 1].kind))
        return PL_BAD_NAME;
    if (b->count == PL_SUBJECT_TOKENS_MAX || text.len + 1 > PL_SUBJECT_MAX - b->len)
        return PL_LIMIT;
    enum pl_err err = make_room(b, text.len + 1);
    if (err)
        return err;
    if (b->count)
        b->text[b->len++] = '.';
    b->tokens[b->count++] = (struct pl_token){
        .at = (uint16_t)b->len,
        .len = (uint16_t)text.len,
        .kind = (uint8_t)kind,
    };
    if (text.len)
        memcpy(b->text + b->len, text.data, text.len);
    b->len += text.len;
    return PL_OK;
}

static void add(struct pl_pattern_builder *b, enum pl_token_kind kind, struct pl_bytes text)
{
    if (!b->err)
        b->err = add_token(b, kind, text);
}

void pl_pattern_add_literal(struct pl_pattern_builder *b, struct pl_bytes token)
{
    add(b, PL_TOKEN_LITERAL, token);
}

void pl_pattern_add_any(struct pl_pattern_builder *b)
{
    add(b, PL_TOKEN_ANY, PL_BYTES("*"));
}

void pl_pattern_add_rest(struct pl_pattern_builder *b)
{
    add(b, PL_TOKEN_REST, PL_BYTES(">"));
}

void pl_pattern_add_self_or_rest(struct pl_pattern_builder *b)
{
    add(b, PL_TOKEN_SELF_OR_REST, PL_BYTES("#"));
}

/* One block: the struct, the tokens, the text. */
static enum pl_err new_pattern(enum pl_pattern_kind kind, const struct pl_token *tokens,
    uint32_t count, struct pl_bytes text, struct pl_pattern **out)
{
    struct pl_pattern *p = pl_alloc(sizeof *p + count * sizeof *tokens + text.len);
    if (!p)
        return PL_NO_MEMORY;
    struct pl_token *own_tokens = (struct pl_token *)(void *)(p + 1);
    uint8_t *own_text = (uint8_t *)(own_tokens + count);
    memcpy(own_tokens, tokens, count * sizeof *tokens);
    if (text.len)
        memcpy(own_text, text.data, text.len);
    uint32_t head = 0;
    while (head < count && tokens[head].kind == PL_TOKEN_LITERAL)
        head++;
    *p = (struct pl_pattern){
        .kind = (uint8_t)kind,
        .is_literal = kind == PL_PATTERN_TOKENS && head == count,
        .literal_head = (uint8_t)head,
        .token_count = count,
        .tokens = own_tokens,
        .text = pl_bytes_of(own_text, text.len),
    };
    atomic_init(&p->refs, 1);
    *out = p;
    return PL_OK;
}

enum pl_err pl_pattern_end(struct pl_pattern_builder *b, struct pl_pattern **out)
{
    enum pl_err err = b->err;
    if (!err && !b->count)
        err = PL_BAD_NAME;
    if (!err)
        err =
            new_pattern(PL_PATTERN_TOKENS, b->tokens, b->count, pl_bytes_of(b->text, b->len), out);
    if (!err)
        (*out)->spares_dollar = b->spares_dollar && !(*out)->literal_head;
    if (b->text != b->small)
        pl_free(b->text);
    b->text = NULL;
    return err;
}

/*
 * The literal tokens at the start of text, up to max; what follows the last '.' is one only if the
 * text ends there (is_whole).
 */
static uint32_t split(struct pl_bytes text, bool is_whole, struct pl_token *out, uint32_t max)
{
    uint32_t count = 0;
    for (size_t at = 0; count < max; count++) {
        const uint8_t *dot = at < text.len ? memchr(text.data + at, '.', text.len - at) : NULL;
        if (!dot && !is_whole)
            break;
        size_t end = dot ? (size_t)(dot - text.data) : text.len;
        out[count] = (struct pl_token){
            .at = (uint16_t)at, .len = (uint16_t)(end - at), .kind = PL_TOKEN_LITERAL};
        if (!dot)
            return count + 1;
        at = end + 1;
    }
    return count;
}

enum pl_err pl_pattern_new_prefix(struct pl_bytes text, struct pl_pattern **out)
{
    struct pl_token tokens[PL_SUBJECT_TOKENS_MAX];
    if (text.len > PL_SUBJECT_MAX)
        return PL_LIMIT;
    uint32_t count = split(text, false, tokens, PL_SUBJECT_TOKENS_MAX);
    return new_pattern(PL_PATTERN_PREFIX, tokens, count, text, out);
}

enum pl_err pl_pattern_new_glob(struct pl_bytes text, struct pl_pattern **out)
{
    struct pl_token tokens[PL_SUBJECT_TOKENS_MAX];
    if (text.len > PL_SUBJECT_MAX)
        return PL_LIMIT;
    size_t plain = 0;
    while (plain < text.len && !memchr("*?[\\", text.data[plain], 4))
        plain++;
    uint32_t count =
        split(pl_bytes_of(text.data, plain), plain == text.len, tokens, PL_SUBJECT_TOKENS_MAX);
    return new_pattern(PL_PATTERN_GLOB, tokens, count, text, out);
}

enum pl_err pl_pattern_new_literal(struct pl_bytes name, struct pl_pattern **out)
{
    struct pl_token tokens[PL_SUBJECT_TOKENS_MAX + 1];
    if (name.len > PL_SUBJECT_MAX)
        return PL_LIMIT;
    uint32_t count = split(name, true, tokens, PL_SUBJECT_TOKENS_MAX + 1);
    if (count > PL_SUBJECT_TOKENS_MAX)
        return PL_LIMIT;
    return new_pattern(PL_PATTERN_TOKENS, tokens, count, name, out);
}

enum pl_err pl_pattern_parse(struct pl_bytes text, struct pl_pattern **out)
{
    struct pl_pattern_builder b;
    if (!text.len)
        return PL_BAD_NAME;
    pl_pattern_begin(&b);
    for (size_t at = 0; !b.err;) {
        const uint8_t *dot = at < text.len ? memchr(text.data + at, '.', text.len - at) : NULL;
        size_t end = dot ? (size_t)(dot - text.data) : text.len;
        struct pl_bytes token = pl_bytes_of(text.data + at, end - at);
        if (pl_bytes_equal(token, PL_BYTES("*")))
            pl_pattern_add_any(&b);
        else if (pl_bytes_equal(token, PL_BYTES(">")))
            pl_pattern_add_rest(&b);
        else if (pl_bytes_equal(token, PL_BYTES("#")))
            pl_pattern_add_self_or_rest(&b);
        else
            pl_pattern_add_literal(&b, token);
        if (!dot)
            break;
        at = end + 1;
    }
    return pl_pattern_end(&b, out);
}

struct pl_pattern *pl_pattern_unref(struct pl_pattern *p)
{
    if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        pl_free(p);
    return NULL;
}

static bool covers_tokens(const struct pl_pattern *p, struct pl_bytes name)
{
    if (p->is_literal)
        return pl_bytes_equal(p->text, name);
    size_t at = 0; /* where the next token of the name begins; name.len + 1: there is none */
    for (uint32_t i = 0; i < p->token_count; i++) {
        const struct pl_token *token = &p->tokens[i];
        if (token->kind == PL_TOKEN_SELF_OR_REST)
            return true;
        if (at > name.len)
            return false;
        if (token->kind == PL_TOKEN_REST)
            return true;
        const uint8_t *from = name.data + at;
        const uint8_t *dot = at < name.len ? memchr(from, '.', name.len - at) : NULL;
        size_t len = dot ? (size_t)(dot - from) : name.len - at;
        if (token->kind == PL_TOKEN_LITERAL &&
            !pl_bytes_equal(token_bytes(p, i), pl_bytes_of(from, len)))
            return false;
        at += len + 1;
    }
    return at > name.len;
}

bool pl_pattern_covers(const struct pl_pattern *p, struct pl_bytes name)
{
    switch ((enum pl_pattern_kind)p->kind) {
    case PL_PATTERN_TOKENS:
        return covers_tokens(p, name);
    case PL_PATTERN_PREFIX:
        return pl_bytes_starts(name, p->text);
    case PL_PATTERN_GLOB:
        return pl_glob_matches(p->text, name);
    }
    return false;
}

bool pl_pattern_matches(const struct pl_pattern *p, struct pl_bytes name)
{
    if (pl_subject_is_inbox(name) && (p->kind != PL_PATTERN_TOKENS || p->literal_head < 2))
        return false;
    if (!p->literal_head) {
        if (pl_subject_is_reserved(name))
            return false;
        if (p->spares_dollar && name.len && name.data[0] == '$')
            return false;
    }
    return pl_pattern_covers(p, name);
}

bool pl_pattern_equal(const struct pl_pattern *a, const struct pl_pattern *b)
{
    if (a == b)
        return true;
    if (a->kind != b->kind || a->spares_dollar != b->spares_dollar ||
        a->token_count != b->token_count || !pl_bytes_equal(a->text, b->text))
        return false;
    /* A literal token may read "*": the kinds decide. */
    for (uint32_t i = 0; i < a->token_count; i++)
        if (a->tokens[i].kind != b->tokens[i].kind)
            return false;
    return true;
}

/*
 * A pattern as literal and any tokens, and what may follow. Of a glob or prefix it is what its head
 * allows: everything that it covers and, unless is_exact, more.
 */
struct shape {
    const struct pl_pattern *p;
    uint32_t count; /* tokens before the tail */
    enum { TAIL_NONE, TAIL_REST, TAIL_SELF_OR_REST } tail;
    bool is_exact;
};

static struct shape shape_of(const struct pl_pattern *p)
{
    struct shape s = {.p = p, .count = p->token_count, .tail = TAIL_NONE, .is_exact = true};
    if (p->kind == PL_PATTERN_TOKENS) {
        if (is_open_ended((enum pl_token_kind)p->tokens[s.count - 1].kind)) {
            s.count--;
            /* A name has a token at least, so "#" alone is ">". */
            s.tail = p->tokens[s.count].kind == PL_TOKEN_SELF_OR_REST && s.count ? TAIL_SELF_OR_REST
                                                                                 : TAIL_REST;
        }
        return s;
    }
    size_t head_end = 0; /* behind the '.' of the head */
    if (s.count) {
        const struct pl_token *last = &p->tokens[s.count - 1];
        head_end = (size_t)last->at + last->len;
        if (head_end == p->text.len)
            return s; /* a glob without special bytes */
        head_end++;
    }
    s.tail = TAIL_REST;
    struct pl_bytes rest = pl_bytes_from(p->text, head_end);
    s.is_exact =
        p->kind == PL_PATTERN_PREFIX ? !rest.len : s.count && pl_bytes_equal(rest, PL_BYTES("*"));
    return s;
}

/* The token of `a` at i covers every token that `b` may have there. */
static bool token_contains(const struct shape *a, const struct shape *b, uint32_t i)
{
    if (a->p->tokens[i].kind == PL_TOKEN_ANY)
        return true;
    return i < b->count && b->p->tokens[i].kind == PL_TOKEN_LITERAL &&
           pl_bytes_equal(token_bytes(a->p, i), token_bytes(b->p, i));
}

static bool head_contains(const struct shape *a, const struct shape *b, uint32_t depth)
{
    for (uint32_t i = 0; i < depth; i++)
        if (!token_contains(a, b, i))
            return false;
    return true;
}

/*
 * Walks b token by token and looks which of the list can still cover what follows.
 *
 * Where b has any token it is enough to go on with those of the list that have any token there too:
 * a token that nobody names must be covered, and for the named ones more of the list are left. So
 * the answer is exact without branching.
 */
bool pl_pattern_union_contains(
    struct pl_pattern *const *list, size_t count, const struct pl_pattern *b)
{
    for (size_t i = 0; i < count; i++)
        if (pl_pattern_equal(list[i], b))
            return true;
    struct shape want = shape_of(b);
    for (uint32_t depth = 0;; depth++) {
        bool ends = false, rests = false, goes_on = false;
        for (size_t i = 0; i < count; i++) {
            struct shape has = shape_of(list[i]);
            if (!has.is_exact || has.count < depth || !head_contains(&has, &want, depth))
                continue;
            if (has.count > depth)
                goes_on = true;
            else if (has.tail == TAIL_SELF_OR_REST)
                return true;
            else if (has.tail == TAIL_REST)
                rests = true;
            else
                ends = true;
        }
        bool is_tail = depth >= want.count;
        if (is_tail && want.tail == TAIL_NONE)
            return ends;
        if (is_tail && want.tail == TAIL_SELF_OR_REST && !ends)
            return false;
        if (rests)
            return true;
        if (!goes_on)
            return false;
        if (is_tail) /* one token of the rest is behind us */
            want.tail = TAIL_SELF_OR_REST;
    }
}

bool pl_pattern_contains(const struct pl_pattern *a, const struct pl_pattern *b)
{
    struct pl_pattern *list[1];
    memcpy(list, &a, sizeof a); /* read only; the list's type has no const */
    return pl_pattern_union_contains(list, 1, b);
}

bool pl_pattern_intersects(const struct pl_pattern *a, const struct pl_pattern *b)
{
    if (a->is_literal)
        return pl_pattern_covers(b, a->text);
    if (b->is_literal)
        return pl_pattern_covers(a, b->text);
    struct shape x = shape_of(a), y = shape_of(b);
    for (uint32_t i = 0;; i++) {
        bool x_ends = i >= x.count, y_ends = i >= y.count;
        if (x_ends && y_ends)
            return x.tail == y.tail || (x.tail != TAIL_REST && y.tail != TAIL_REST) ||
                   (x.tail != TAIL_NONE && y.tail != TAIL_NONE);
        if (x_ends)
            return x.tail != TAIL_NONE;
        if (y_ends)
            return y.tail != TAIL_NONE;
        if (a->tokens[i].kind == PL_TOKEN_LITERAL && b->tokens[i].kind == PL_TOKEN_LITERAL &&
            !pl_bytes_equal(token_bytes(a, i), token_bytes(b, i)))
            return false;
    }
}
