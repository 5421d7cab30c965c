/*
 * What tests of values share: a value written in another serializer and read again, and are two the
 * same? What cannot be read ends the program, with a fuzzer's or a sanitizer's trace.
 */
#ifndef PARLEY_TESTS_SAME_VALUES_H
#define PARLEY_TESTS_SAME_VALUES_H

#include <stdlib.h>

#include "codec/value.h"

static inline void value_require(bool claim)
{
    if (!claim)
        abort();
}

static inline struct pl_bytes value_bytes(const struct pl_shared *shared)
{
    return pl_bytes_of(shared->data, shared->len);
}

/* The whole of bytes is one value, which is read. */
static inline struct pl_value value_of(enum pl_serializer serializer, struct pl_bytes bytes)
{
    struct pl_value value;
    size_t used = 0;
    value_require(pl_value_read(serializer, bytes, &value, &used) == PL_OK);
    value_require(used == bytes.len);
    return value;
}

/* One reference to its bytes in this serializer. */
static inline struct pl_shared *value_in(enum pl_serializer to, const struct pl_value *value)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, to);
    struct pl_shared *bytes = NULL;
    pl_put_value(&v, value);
    value_require(pl_writer_take(&w, &bytes) == PL_OK);
    return bytes;
}

/* The same, from bytes. */
static inline struct pl_shared *value_crossed(
    enum pl_serializer to, enum pl_serializer from, struct pl_bytes bytes)
{
    struct pl_value value = value_of(from, bytes);
    return value_in(to, &value);
}

static inline bool value_texts_are_same(const struct pl_value *a, const struct pl_value *b)
{
    struct pl_arena arena = {0};
    struct pl_bytes one, other;
    value_require(pl_value_text(a, &arena, &one) == PL_OK);
    value_require(pl_value_text(b, &arena, &other) == PL_OK);
    bool is_same = pl_bytes_equal(one, other);
    pl_arena_done(&arena);
    return is_same;
}

/* Of whatever serializers; floats are compared by their bits, not a number by its name. */
static inline bool values_are_same(const struct pl_value *a, const struct pl_value *b)
{
    if (a->kind != b->kind)
        return false;
    switch ((enum pl_value_kind)a->kind) {
    case PL_VALUE_NULL:
        return true;
    case PL_VALUE_BOOL:
        return a->boolean == b->boolean;
    case PL_VALUE_INTEGER:
    case PL_VALUE_NATURAL:
        return a->natural == b->natural;
    case PL_VALUE_FLOAT:
        return memcmp(&a->real, &b->real, sizeof a->real) == 0 ||
               (a->real != a->real && b->real != b->real);
    case PL_VALUE_STRING:
    case PL_VALUE_BINARY:
        return value_texts_are_same(a, b);
    case PL_VALUE_LIST:
    case PL_VALUE_DICT:
        break;
    }
    struct pl_items one = pl_value_items(a), other = pl_value_items(b);
    struct pl_value key, other_key, item, other_item;
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        value_require(pl_items_next(&one, &key, &item));
        value_require(pl_items_next(&other, &other_key, &other_item));
        if (one.is_dict && !values_are_same(&key, &other_key))
            return false;
        if (!values_are_same(&item, &other_item))
            return false;
    }
    value_require(!pl_items_next(&one, &key, &item) && !pl_items_next(&other, &key, &item));
    return true;
}

#endif
