/*
 * The values of parley.h, as trees over the bytes of a message; and the arguments that a program
 * puts together.
 */
#ifndef PL_CLIENT_VALUES_H
#define PL_CLIENT_VALUES_H

#include <parley/parley.h>

#include "codec/value.h"

/* Lies in the arena of its message, and points into its bytes. Small, because a message may have
 * millions of them. */
struct parley_value {
    const uint8_t *raw; /* the whole value as it stands */
    uint32_t raw_len;
    uint32_t count; /* of items or values */
    union {
        int64_t integer;
        uint64_t natural;
        double real;
        bool boolean;
        const char *text; /* STRING, BINARY: with a zero behind it, which is not counted */
        struct parley_value *items;
    };
    union {
        size_t text_len;
        const char **keys; /* DICT */
    };
    uint8_t kind;       /* enum parley_kind */
    uint8_t serializer; /* enum pl_serializer */
};

/* The tree of a value that was checked. NULL: no memory. */
PL_MUST_USE struct parley_value *pl_tree_build(
    struct pl_arena *arena, const struct pl_value *source);

/* What a builder's arguments are on the wire, in MessagePack: for pl_wamp_end. args may be NULL,
 * which is none. PL_NO_MEMORY, PL_MALFORMED: what went wrong while they were put together. Fixes
 * them. Lives as long as args. */
PL_MUST_USE enum pl_err pl_args_payload(struct parley_args *args, struct pl_bytes *out);

/* Writes the pairs of a JSON object into the dictionary that is open; text NULL: nothing.
 * PL_MALFORMED: it is no object. */
PL_MUST_USE enum pl_err pl_put_json_pairs(struct pl_value_writer *v, const char *text);

#endif
