/*
 * JSON, as little as wire protocols need: looks at the members of one object without building a
 * tree, and writes strings.
 *
 * The whole text is checked (RFC 8259), nesting is bounded, nothing is allocated:
 *
 *     static enum pl_err on_member(void *context, struct pl_json_member m) { … }
 *     err = pl_json_each_member(text, on_member, &options);
 */
#ifndef PL_CODEC_JSON_H
#define PL_CODEC_JSON_H

#include "base/bytes.h"
#include "base/output.h"

enum { PL_JSON_DEPTH_MAX = 32 };

enum pl_json_kind {
    PL_JSON_NULL,
    PL_JSON_FALSE,
    PL_JSON_TRUE,
    PL_JSON_NUMBER,
    PL_JSON_STRING,
    PL_JSON_ARRAY,
    PL_JSON_OBJECT,
};

struct pl_json_member {
    struct pl_bytes name;  /* between its quotes, escapes as they stand */
    struct pl_bytes value; /* as it stands; a string without its quotes */
    uint8_t kind;          /* enum pl_json_kind */
};

/* An error of the function ends the walk and is returned. Everything in `m` is borrowed. */
typedef enum pl_err pl_json_member_fn(void *context, struct pl_json_member m);

/* PL_MALFORMED: text is not one JSON object, or is nested too deeply. */
PL_MUST_USE enum pl_err pl_json_each_member(
    struct pl_bytes text, pl_json_member_fn *fn, void *context);

/*
 * Resolves the escapes of a string without its quotes that pl_json_each_member gave. out has room
 * for value.len bytes; returns the length. Half of a surrogate pair becomes U+FFFD.
 */
size_t pl_json_unescape(struct pl_bytes value, uint8_t *out);

/* A value that is a whole number between min and max; PL_MALFORMED if it is not. */
PL_MUST_USE enum pl_err pl_json_integer(
    struct pl_json_member m, int64_t min, int64_t max, int64_t *out);

/* The highest bits of those of eight bytes that a string cannot hold as they stand, or that need a
 * closer look: quotes, backslashes, controls, what is not ASCII. The lowest one set is exact. */
static inline uint64_t pl_json_marks(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word) |
               word) &
           highs;
}

/* Text as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void pl_json_write_string(struct pl_writer *w, struct pl_bytes text);

#endif
