#include "client/values.h"

#include <math.h>

#include "base/alloc.h"
#include "base/text.h"

/* ---- Building ---- */

static const char *copy_text(struct pl_arena *arena, const struct pl_value *source, size_t *out_len)
{
    struct pl_bytes text;
    if (pl_value_text(source, arena, &text) != PL_OK)
        return NULL;
    *out_len = text.len;
    return pl_arena_copy(arena, text);
}

/* Keys that are no strings are told as their digits, as JSON would have them. */
static const char *copy_key(struct pl_arena *arena, const struct pl_value *key)
{
    char digits[PL_DECIMAL_MAX + 2] = "-";
    size_t len = 0, sign = 0;
    switch ((enum pl_value_kind)key->kind) {
    case PL_VALUE_STRING:
    case PL_VALUE_BINARY:
        return copy_text(arena, key, &len);
    case PL_VALUE_INTEGER:
        sign = key->integer < 0;
        len = sign + pl_format_decimal(
                         digits + sign, sign ? 0 - (uint64_t)key->integer : (uint64_t)key->integer);
        return pl_arena_copy(arena, pl_bytes_of(digits, len));
    case PL_VALUE_NATURAL:
        len = pl_format_decimal(digits, key->natural);
        return pl_arena_copy(arena, pl_bytes_of(digits, len));
    case PL_VALUE_NULL:
    case PL_VALUE_BOOL:
    case PL_VALUE_FLOAT:
    case PL_VALUE_LIST:
    case PL_VALUE_DICT:
        break;
    }
    return pl_arena_copy(arena, key->raw);
}

static enum pl_err fill(
    struct pl_arena *arena, const struct pl_value *source, struct parley_value *out);

/* Nested no deeper than the tokenizer allows (PL_VALUE_DEPTH_MAX). */
static enum pl_err fill_items(
    struct pl_arena *arena, const struct pl_value *source, struct parley_value *out)
{
    bool is_dict = source->kind == PL_VALUE_DICT;
    struct pl_items items = pl_value_items(source);
    struct pl_value key, item;
    out->count = 0;
    if (!source->count)
        return PL_OK;
    out->items = pl_arena_alloc(arena, source->count * sizeof *out->items);
    out->keys = is_dict ? pl_arena_alloc(arena, source->count * sizeof *out->keys) : NULL;
    if (!out->items || (is_dict && !out->keys))
        return PL_NO_MEMORY;
    while (out->count < source->count && pl_items_next(&items, is_dict ? &key : NULL, &item)) {
        if (is_dict && !(out->keys[out->count] = copy_key(arena, &key)))
            return PL_NO_MEMORY;
        if (fill(arena, &item, &out->items[out->count]) != PL_OK)
            return PL_NO_MEMORY;
        out->count++;
    }
    return PL_OK;
}

static enum pl_err fill(
    struct pl_arena *arena, const struct pl_value *source, struct parley_value *out)
{
    *out = (struct parley_value){
        .raw = source->raw.data,
        .raw_len = (uint32_t)source->raw.len,
        .serializer = source->serializer,
    };
    switch ((enum pl_value_kind)source->kind) {
    case PL_VALUE_NULL:
        out->kind = PARLEY_NULL;
        return PL_OK;
    case PL_VALUE_BOOL:
        out->kind = PARLEY_BOOL;
        out->boolean = source->boolean;
        return PL_OK;
    case PL_VALUE_INTEGER:
        out->kind = PARLEY_INTEGER;
        out->integer = source->integer;
        return PL_OK;
    case PL_VALUE_NATURAL:
        out->kind = PARLEY_NATURAL;
        out->natural = source->natural;
        return PL_OK;
    case PL_VALUE_FLOAT:
        out->kind = PARLEY_FLOAT;
        out->real = source->real;
        return PL_OK;
    case PL_VALUE_STRING:
    case PL_VALUE_BINARY:
        out->kind = source->kind == PL_VALUE_STRING ? PARLEY_STRING : PARLEY_BINARY;
        out->text = copy_text(arena, source, &out->text_len);
        return out->text ? PL_OK : PL_NO_MEMORY;
    case PL_VALUE_LIST:
    case PL_VALUE_DICT:
        out->kind = source->kind == PL_VALUE_LIST ? PARLEY_LIST : PARLEY_DICT;
        return fill_items(arena, source, out);
    }
    return PL_MALFORMED;
}

struct parley_value *pl_tree_build(struct pl_arena *arena, const struct pl_value *source)
{
    struct parley_value *value = pl_arena_alloc(arena, sizeof *value);
    return value && fill(arena, source, value) == PL_OK ? value : NULL;
}

/* ---- Reading ---- */

enum parley_kind parley_value_kind(const struct parley_value *value)
{
    return value ? (enum parley_kind)value->kind : PARLEY_NULL;
}

bool parley_value_bool(const struct parley_value *value, bool otherwise)
{
    return parley_value_kind(value) == PARLEY_BOOL ? value->boolean : otherwise;
}

int64_t parley_value_integer(const struct parley_value *value, int64_t otherwise)
{
    if (parley_value_kind(value) == PARLEY_INTEGER)
        return value->integer;
    /* 2^63 as a float is the first that does not fit. */
    if (parley_value_kind(value) == PARLEY_FLOAT && value->real == floor(value->real) &&
        value->real >= -9223372036854775808.0 && value->real < 9223372036854775808.0)
        return (int64_t)value->real;
    return otherwise;
}

uint64_t parley_value_natural(const struct parley_value *value, uint64_t otherwise)
{
    if (parley_value_kind(value) == PARLEY_NATURAL)
        return value->natural;
    int64_t integer = parley_value_integer(value, -1);
    return integer >= 0 ? (uint64_t)integer : otherwise;
}

double parley_value_number(const struct parley_value *value, double otherwise)
{
    switch (parley_value_kind(value)) {
    case PARLEY_INTEGER:
        return (double)value->integer;
    case PARLEY_NATURAL:
        return (double)value->natural;
    case PARLEY_FLOAT:
        return value->real;
    case PARLEY_NULL:
    case PARLEY_BOOL:
    case PARLEY_STRING:
    case PARLEY_BINARY:
    case PARLEY_LIST:
    case PARLEY_DICT:
        break;
    }
    return otherwise;
}

const char *parley_value_string(const struct parley_value *value, const char *otherwise)
{
    return parley_value_kind(value) == PARLEY_STRING ? value->text : otherwise;
}

const void *parley_value_bytes(const struct parley_value *value, size_t *out_len)
{
    enum parley_kind kind = parley_value_kind(value);
    if (kind != PARLEY_STRING && kind != PARLEY_BINARY)
        return NULL;
    if (out_len)
        *out_len = value->text_len;
    return value->text;
}

static bool has_items(const struct parley_value *value)
{
    enum parley_kind kind = parley_value_kind(value);
    return kind == PARLEY_LIST || kind == PARLEY_DICT;
}

size_t parley_value_count(const struct parley_value *value)
{
    return has_items(value) ? value->count : 0;
}

const struct parley_value *parley_value_at(const struct parley_value *value, size_t index)
{
    return index < parley_value_count(value) ? &value->items[index] : NULL;
}

const char *parley_value_key(const struct parley_value *value, size_t index)
{
    bool is_there = parley_value_kind(value) == PARLEY_DICT && index < value->count;
    return is_there ? value->keys[index] : NULL;
}

const struct parley_value *parley_value_get(const struct parley_value *value, const char *key)
{
    size_t count = parley_value_kind(value) == PARLEY_DICT ? value->count : 0;
    while (count--) {
        if (strcmp(value->keys[count], key) == 0)
            return &value->items[count];
    }
    return NULL;
}

char *parley_value_json(const struct parley_value *value)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_JSON);
    struct pl_value source;
    size_t used;
    if (!value)
        pl_put_null(&v);
    else if (pl_value_read((enum pl_serializer)value->serializer,
                 pl_bytes_of(value->raw, value->raw_len), &source, &used) == PL_OK)
        pl_put_value(&v, &source);
    struct pl_shared *text;
    if (pl_writer_take(&w, &text) != PL_OK)
        return NULL;
    char *copy = pl_alloc_copy(text->data, text->len);
    pl_shared_unref(text);
    return copy;
}

void parley_free(void *memory)
{
    pl_free(memory);
}
