/*
 * Subjects: names of the one space in which every protocol meets.
 *
 * A subject is a byte string of tokens joined by '.'; a token may be empty and may hold any byte.
 * A protocol whose text cannot carry some bytes escapes them, all in the same way, each with its
 * own byte set (DESIGN section 1): the byte as %HH. A protocol's own text comes back as it was, and
 * every name can be told to every protocol.
 *
 *     decode: a protocol's text → subject       encode: subject → a protocol's text
 */
#ifndef PL_CORE_SUBJECT_H
#define PL_CORE_SUBJECT_H

#include "base/arena.h"
#include "base/bytes.h"

enum {
    PL_SUBJECT_MAX = 65535,     /* bytes; the default limit is lower, see limits */
    PL_SUBJECT_TOKENS_MAX = 128 /* tokens of a name or pattern */
};

/* What a protocol's text cannot carry. A const table in the protocol's folder. */
struct pl_escape_rules {
    uint8_t bytes[32];    /* bit set: byte b is escaped, as bytes[b / 8] >> b % 8 & 1 */
    bool invalid_utf8;    /* bytes that are not valid UTF-8 are escaped, and U+0080–9F … */
    bool c1_and_nonchars; /* … and non-characters too (MQTT) */
    bool empty_token;     /* an empty token is written "%" */
    bool empty_name;      /* the empty name is written "%" */
    bool wildcard_tokens; /* the whole tokens "*" and ">" are written %2A and %3E */
    char separator;       /* of the protocol's text: '.', or '/' which changes places with '.' */
};

/* True if encode and decode both leave every name made of these bytes alone; a quick test. */
bool pl_subject_is_plain(const struct pl_escape_rules *rules, struct pl_bytes name);

/*
 * A subject as the protocol writes it. *out is name itself if nothing changes, else arena memory.
 * Never fails but for memory: every name can be told to every protocol.
 */
PL_MUST_USE enum pl_err pl_subject_encode(const struct pl_escape_rules *rules,
    struct pl_arena *arena, struct pl_bytes name, struct pl_bytes *out);

/*
 * The subject that a protocol's text means. *out is text itself if nothing changes, else arena
 * memory. PL_BAD_NAME: the text holds what the protocol cannot carry.
 */
PL_MUST_USE enum pl_err pl_subject_decode(const struct pl_escape_rules *rules,
    struct pl_arena *arena, struct pl_bytes text, struct pl_bytes *out);

/*
 * One token (or the literal text of a glob's or prefix' head) as decode does it, but for the rule
 * on the empty name: what has no wildcard is a name, and goes through pl_subject_decode as a whole.
 */
PL_MUST_USE enum pl_err pl_token_decode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes text, struct pl_bytes *out);
PL_MUST_USE enum pl_err pl_token_encode(const struct pl_escape_rules *rules, struct pl_arena *arena,
    struct pl_bytes token, struct pl_bytes *out);

/* True if the first token of the name is `token`. */
bool pl_subject_begins(struct pl_bytes name, struct pl_bytes token);

/* First token `$SYS` or `wamp`: written by the server alone. */
bool pl_subject_is_reserved(struct pl_bytes name);
/* `_INBOX.`: replies; only patterns whose first two tokens are literal match it. */
bool pl_subject_is_inbox(struct pl_bytes name);

#endif
