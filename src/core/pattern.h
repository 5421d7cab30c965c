/*
 * Patterns: which subjects a subscription or a right means. A type of its own: a name never becomes
 * a pattern by being printed and parsed again.
 *
 *     literal   "plant"          exactly this token
 *     any       NATS *, MQTT +   one token, whatever it is (also an empty one)
 *     rest      NATS >           one token or more
 *     self or rest  MQTT #       none or more: "a/#" matches "a" too
 *     prefix    WAMP             the text begins so; need not end at a token
 *     glob      Redis            ? * [a-z] [^x] \x over the whole text
 *
 * A protocol recognises its wildcards in its own text, then builds token by token, with literal
 * tokens decoded:
 *
 *     struct pl_pattern_builder b;
 *     pl_pattern_begin(&b);
 *     pl_pattern_add_literal(&b, PL_BYTES("plant"));
 *     pl_pattern_add_any(&b);
 *     err = pl_pattern_end(&b, &pattern);      // plant.*
 *
 * A finished pattern is immutable and counted; any thread may read it.
 */
#ifndef PL_CORE_PATTERN_H
#define PL_CORE_PATTERN_H

#include "base/bytes.h"
#include "core/subject.h"

enum pl_token_kind {
    PL_TOKEN_LITERAL,
    PL_TOKEN_ANY,
    PL_TOKEN_REST,         /* last only */
    PL_TOKEN_SELF_OR_REST, /* last only */
};

enum pl_pattern_kind { PL_PATTERN_TOKENS, PL_PATTERN_PREFIX, PL_PATTERN_GLOB };

/* Small, for there is one pattern per subscription. PL_SUBJECT_MAX fits. */
struct pl_token {
    uint16_t at;  /* where it begins in text */
    uint16_t len; /* bytes of a literal */
    uint8_t kind; /* enum pl_token_kind */
};

struct pl_pattern {
    atomic_uint refs;
    uint8_t kind;         /* enum pl_pattern_kind */
    bool is_literal;      /* tokens only, all literal: it means the one name `text` */
    bool spares_dollar;   /* a leading wildcard does not match a name that begins with '$' (MQTT) */
    uint8_t literal_head; /* leading literal tokens; of a glob or prefix: whole tokens before its
                             first special byte or its end */
    uint32_t token_count; /* of a glob or prefix: literal_head */
    const struct pl_token *tokens;
    struct pl_bytes text; /* canonical NATS form ("*", ">", "#" last), literals raw; of a glob or
                             prefix the text itself. For people and equality, never parsed again */
};

struct pl_pattern_builder {
    struct pl_token tokens[PL_SUBJECT_TOKENS_MAX];
    uint8_t *text; /* small, or owned */
    size_t len, cap;
    uint32_t count;
    enum pl_err err;
    bool spares_dollar;
    uint8_t small[256];
};

void pl_pattern_begin(struct pl_pattern_builder *b);
void pl_pattern_add_literal(struct pl_pattern_builder *b, struct pl_bytes token);
void pl_pattern_add_any(struct pl_pattern_builder *b);
void pl_pattern_add_rest(struct pl_pattern_builder *b);
void pl_pattern_add_self_or_rest(struct pl_pattern_builder *b);
/*
 * Gives out one reference; frees what the builder holds in every case. PL_BAD_NAME: no token, or
 * something behind a rest; PL_LIMIT: too many tokens or too long.
 */
PL_MUST_USE enum pl_err pl_pattern_end(struct pl_pattern_builder *b, struct pl_pattern **out);

PL_MUST_USE enum pl_err pl_pattern_new_prefix(struct pl_bytes text, struct pl_pattern **out);
PL_MUST_USE enum pl_err pl_pattern_new_glob(struct pl_bytes text, struct pl_pattern **out);
/* The pattern that means exactly this name. */
PL_MUST_USE enum pl_err pl_pattern_new_literal(struct pl_bytes name, struct pl_pattern **out);
/*
 * Config and role text: NATS form in which a last token "#" means self or rest; tokens are raw.
 * PL_BAD_NAME: '>' or '#' not last.
 */
PL_MUST_USE enum pl_err pl_pattern_parse(struct pl_bytes text, struct pl_pattern **out);

static inline struct pl_pattern *pl_pattern_ref(struct pl_pattern *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

/* Returns NULL; accepts NULL. */
struct pl_pattern *pl_pattern_unref(struct pl_pattern *p);

/* The whole truth about one pattern and one name, with all rules on `$`, `_INBOX.` and reserved
 * names. The matcher answers the same for many patterns at once. */
bool pl_pattern_matches(const struct pl_pattern *p, struct pl_bytes name);

/* The same without those rules: what a right means, where ">" is every name. */
bool pl_pattern_covers(const struct pl_pattern *p, struct pl_bytes name);

bool pl_pattern_equal(const struct pl_pattern *a, const struct pl_pattern *b);
/* Every name that b covers, a covers too. Undecidable cases (globs, prefixes) answer false,
 * except that a literal head plus anything is decided. */
bool pl_pattern_contains(const struct pl_pattern *a, const struct pl_pattern *b);
/* The same for all of a list together, exact for lists of tokens: {"a", "a.>"} contains "a.#". */
bool pl_pattern_union_contains(
    struct pl_pattern *const *list, size_t count, const struct pl_pattern *b);
/* Some name may be covered by both. Undecidable cases answer true. */
bool pl_pattern_intersects(const struct pl_pattern *a, const struct pl_pattern *b);
/* As Redis' stringmatchlen, odd cases too, in at most glob.len * text.len steps. */
bool pl_glob_matches(struct pl_bytes glob, struct pl_bytes text);

#endif
