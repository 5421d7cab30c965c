/*
 * A value of any serializer from any bytes: whatever is read is there, can be written in the other
 * two, and is the same there; what JSON cannot say is lost once and nothing after that.
 */
#ifndef PARLEY_TESTS_FUZZ_VALUES_H
#define PARLEY_TESTS_FUZZ_VALUES_H

#include "codec/same_values.h"

static inline bool is_inside(struct pl_bytes part, struct pl_bytes all)
{
    return part.data >= all.data && part.data + part.len <= all.data + all.len;
}

/* Every item and every text lies within the value. */
static inline void walk(const struct pl_value *value)
{
    struct pl_items items = pl_value_items(value);
    struct pl_value key, item;
    uint32_t count = 0;
    for (; pl_items_next(&items, &key, &item); count++) {
        value_require(is_inside(item.raw, value->text));
        if (items.is_dict)
            value_require(is_inside(key.raw, value->text));
        walk(&item);
    }
    bool has_items = value->kind == PL_VALUE_LIST || value->kind == PL_VALUE_DICT;
    value_require(count == (has_items ? value->count : 0));
    if (has_items || value->kind == PL_VALUE_STRING || value->kind == PL_VALUE_BINARY)
        value_require(is_inside(value->text, value->raw));
}

/* From `bytes`, by way of `by`, to `to`. */
static inline struct pl_shared *crossed_by(
    enum pl_serializer to, enum pl_serializer by, enum pl_serializer from, struct pl_bytes bytes)
{
    struct pl_shared *between = value_crossed(by, from, bytes);
    struct pl_shared *end = value_crossed(to, by, value_bytes(between));
    pl_shared_unref(between);
    return end;
}

static inline void require_equal(struct pl_shared *a, struct pl_shared *b)
{
    value_require(pl_bytes_equal(value_bytes(a), value_bytes(b)));
    pl_shared_unref(a);
    pl_shared_unref(b);
}

/* The bytes that our own writer made: every way around the three ends where it began. */
static inline void go_round(enum pl_serializer from, struct pl_bytes bytes)
{
    for (int by = 0; by < PL_SERIAL_COUNT; by++) {
        for (int to = 0; to < PL_SERIAL_COUNT; to++) {
            if (by == (int)from || by == to)
                continue;
            struct pl_shared *around =
                crossed_by((enum pl_serializer)to, (enum pl_serializer)by, from, bytes);
            require_equal(around, value_crossed((enum pl_serializer)to, from, bytes));
        }
    }
}

static inline void cross(const struct pl_value *value)
{
    enum pl_serializer from = (enum pl_serializer)value->serializer;
    for (int to = PL_SERIAL_MSGPACK; to < PL_SERIAL_COUNT; to++) {
        if (to == (int)from)
            continue;
        struct pl_shared *other = value_in((enum pl_serializer)to, value);
        struct pl_value again = value_of((enum pl_serializer)to, value_bytes(other));
        value_require(values_are_same(value, &again));
        /* Twice by JSON: once what it cannot say is lost, nothing is. */
        struct pl_shared *json =
            crossed_by(PL_SERIAL_JSON, (enum pl_serializer)to, from, value->raw);
        struct pl_shared *plain =
            crossed_by(PL_SERIAL_JSON, (enum pl_serializer)to, PL_SERIAL_JSON, value_bytes(json));
        go_round(PL_SERIAL_JSON, value_bytes(plain));
        pl_shared_unref(json);
        pl_shared_unref(plain);
        pl_shared_unref(other);
    }
}

/* A beginning of a value wants more, but for a number of JSON, which may have ended there. */
static inline void cut(enum pl_serializer serializer, const struct pl_value *value)
{
    struct pl_value part;
    size_t used;
    enum pl_err err =
        pl_value_read(serializer, pl_bytes_of(value->raw.data, value->raw.len - 1), &part, &used);
    bool is_number = value->kind == PL_VALUE_INTEGER || value->kind == PL_VALUE_NATURAL ||
                     value->kind == PL_VALUE_FLOAT;
    value_require(err == PL_NEED_MORE || (!err && is_number && serializer == PL_SERIAL_JSON));
}

static inline int fuzz_values(enum pl_serializer serializer, const uint8_t *data, size_t size)
{
    struct pl_value value, found;
    size_t used;
    uint64_t id;
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a byte too much */
    value_require(exact != NULL);
    if (size)
        memcpy(exact, data, size);
    if (pl_value_read(serializer, pl_bytes_of(exact, size), &value, &used) == PL_OK) {
        value_require(used <= size && value.raw.data + value.raw.len == exact + used);
        walk(&value);
        cut(serializer, &value);
        cross(&value);
        (void)pl_value_find(&value, "topic", &found);
        (void)pl_value_flag(&value, "progress");
        value_require(!pl_value_id(&value, &id) || (id >= 1 && id <= (uint64_t)1 << 53));
    }
    free(exact);
    return 0;
}

#endif
