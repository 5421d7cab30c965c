/*
 * Arguments that a program puts together: written as MessagePack at once, list and dictionary each
 * into a writer of its own, because the list's head is filled in at its end. The first use joins
 * the two.
 */
#include <stdatomic.h>

#include "base/alloc.h"
#include "client/values.h"

struct parley_args {
    atomic_uint refs;
    struct pl_writer writers[2]; /* the list, the dictionary */
    struct pl_value_writer values[2];
    uint8_t part;   /* which of them is being written */
    bool has_part1; /* parley_args_keywords was called */
    bool is_fixed;
    enum pl_err err;           /* the first failure */
    struct pl_shared *payload; /* owned; after it is fixed */
};

/* What there is where there is no memory: never written, never freed. */
static const struct parley_args no_args = {.is_fixed = true, .err = PL_NO_MEMORY};

static struct parley_args *nothing(void)
{
    return (struct parley_args *)(uintptr_t)&no_args;
}

struct parley_args *parley_args_new(void)
{
    struct parley_args *args = pl_zalloc(sizeof *args);
    if (!args)
        return nothing();
    atomic_init(&args->refs, 1);
    for (int i = 0; i < 2; i++) {
        args->writers[i] = pl_writer_new();
        args->values[i] = pl_value_writer(&args->writers[i], PL_SERIAL_MSGPACK);
    }
    pl_put_list(&args->values[0]);
    return args;
}

static void drop_writers(struct parley_args *args)
{
    for (int i = 0; i < 2; i++) {
        struct pl_shared *buffer;
        if (pl_writer_take(&args->writers[i], &buffer) == PL_OK)
            pl_shared_unref(buffer);
    }
}

static void fail(struct parley_args *args, enum pl_err err)
{
    if (!args->err)
        args->err = err;
}

static enum pl_err join(struct parley_args *args)
{
    struct pl_shared *parts[2] = {NULL, NULL};
    enum pl_err err = PL_OK;
    for (int i = 0; i < 2 && !err; i++)
        err = pl_writer_take(&args->writers[i], &parts[i]);
    struct pl_shared *payload = NULL;
    bool is_empty = !err && parts[0]->len == 1 && parts[0]->data[0] == 0x90 && !parts[1]->len;
    if (!err && !is_empty) {
        payload = parts[1]->len ? pl_shared_new((size_t)parts[0]->len + parts[1]->len)
                                : pl_shared_ref(parts[0]);
        err = payload ? PL_OK : PL_NO_MEMORY;
    }
    if (!err && !is_empty && parts[1]->len) {
        memcpy(payload->data, parts[0]->data, parts[0]->len);
        memcpy(payload->data + parts[0]->len, parts[1]->data, parts[1]->len);
        payload->len = parts[0]->len + parts[1]->len;
    }
    args->payload = payload;
    pl_shared_unref(parts[0]);
    pl_shared_unref(parts[1]);
    return err;
}

static void fix(struct parley_args *args)
{
    if (args->is_fixed)
        return;
    args->is_fixed = true;
    int count = args->has_part1 ? 2 : 1;
    for (int i = 0; i < count; i++) {
        struct pl_value_writer *v = &args->values[i];
        if (v->depth != 1 || v->after_key)
            fail(args, PL_MALFORMED);
        else
            pl_put_end(v);
        if (v->w->err)
            fail(args, v->w->err == PL_NO_MEMORY ? PL_NO_MEMORY : PL_MALFORMED);
    }
    if (args->err)
        drop_writers(args);
    else
        args->err = join(args);
}

enum pl_err pl_args_payload(struct parley_args *args, struct pl_bytes *out)
{
    *out = PL_NO_BYTES;
    if (!args)
        return PL_OK;
    fix(args);
    if (!args->err && args->payload)
        *out = pl_bytes_of(args->payload->data, args->payload->len);
    return args->err;
}

struct parley_args *parley_args_keep(struct parley_args *args)
{
    if (!args || args == &no_args)
        return args;
    fix(args);
    atomic_fetch_add_explicit(&args->refs, 1, memory_order_relaxed);
    return args;
}

void parley_args_free(struct parley_args *args)
{
    if (!args || args == &no_args ||
        atomic_fetch_sub_explicit(&args->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (!args->is_fixed)
        drop_writers(args);
    pl_shared_unref(args->payload);
    pl_free(args);
}

/* Where the next value goes; NULL: nowhere. In a dictionary a key must have come before. */
static struct pl_value_writer *place(struct parley_args *args)
{
    if (!args || args->is_fixed)
        return NULL;
    struct pl_value_writer *v = &args->values[args->part];
    if (v->open[v->depth - 1].is_dict && !v->after_key) {
        fail(args, PL_MALFORMED);
        return NULL;
    }
    return args->err ? NULL : v;
}

void parley_args_null(struct parley_args *args)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_null(v);
}

void parley_args_bool(struct parley_args *args, bool value)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_bool(v, value);
}

void parley_args_integer(struct parley_args *args, int64_t value)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_integer(v, value);
}

void parley_args_natural(struct parley_args *args, uint64_t value)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_natural(v, value);
}

void parley_args_float(struct parley_args *args, double value)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_float(v, value);
}

void parley_args_text(struct parley_args *args, const char *text, size_t len)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_string(v, pl_bytes_of(text, len));
}

void parley_args_string(struct parley_args *args, const char *text)
{
    if (text)
        parley_args_text(args, text, strlen(text));
    else
        parley_args_null(args);
}

void parley_args_binary(struct parley_args *args, const void *bytes, size_t len)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_binary(v, pl_bytes_of(bytes, len));
}

/* Reads the one value that `text` is. */
static bool read_whole(enum pl_serializer serializer, struct pl_bytes text, struct pl_value *out)
{
    size_t used;
    if (pl_value_read(serializer, text, out, &used) != PL_OK)
        return false;
    while (used < text.len && memchr(" \t\r\n", text.data[used], 4))
        used++;
    return used == text.len;
}

static void put_read(struct parley_args *args, enum pl_serializer serializer, struct pl_bytes text)
{
    struct pl_value_writer *v = place(args);
    struct pl_value value;
    if (!v)
        return;
    if (read_whole(serializer, text, &value))
        pl_put_value(v, &value);
    else
        fail(args, PL_MALFORMED);
}

void parley_args_value(struct parley_args *args, const struct parley_value *value)
{
    if (value)
        put_read(
            args, (enum pl_serializer)value->serializer, pl_bytes_of(value->raw, value->raw_len));
    else
        parley_args_null(args);
}

void parley_args_json_value(struct parley_args *args, const char *json)
{
    put_read(args, PL_SERIAL_JSON, pl_bytes_text(json));
}

void parley_args_list(struct parley_args *args)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_list(v);
}

void parley_args_dict(struct parley_args *args)
{
    struct pl_value_writer *v = place(args);
    if (v)
        pl_put_dict(v);
}

void parley_args_end(struct parley_args *args)
{
    if (!args || args->is_fixed || args->err)
        return;
    struct pl_value_writer *v = &args->values[args->part];
    if (v->depth < 2 || v->after_key)
        fail(args, PL_MALFORMED);
    else
        pl_put_end(v);
}

void parley_args_key(struct parley_args *args, const char *key)
{
    if (!args || args->is_fixed || args->err)
        return;
    struct pl_value_writer *v = &args->values[args->part];
    if (!v->open[v->depth - 1].is_dict || v->after_key)
        fail(args, PL_MALFORMED);
    else
        pl_put_key(v, key);
}

void parley_args_keywords(struct parley_args *args)
{
    if (!args || args->is_fixed || args->err)
        return;
    if (args->has_part1 || args->values[0].depth != 1) {
        fail(args, PL_MALFORMED);
        return;
    }
    args->part = 1;
    args->has_part1 = true;
    pl_put_dict(&args->values[1]);
}

enum pl_err pl_put_json_pairs(struct pl_value_writer *v, const char *text)
{
    struct pl_value object, key, value;
    if (!text)
        return PL_OK;
    if (!read_whole(PL_SERIAL_JSON, pl_bytes_text(text), &object) || object.kind != PL_VALUE_DICT)
        return PL_MALFORMED;
    struct pl_items items = pl_value_items(&object);
    struct pl_arena arena = {0};
    enum pl_err err = PL_OK;
    while (!err && pl_items_next(&items, &key, &value)) {
        struct pl_bytes name;
        err = pl_value_text(&key, &arena, &name);
        if (!err) {
            pl_put_key_bytes(v, name);
            pl_put_value(v, &value);
        }
    }
    pl_arena_done(&arena);
    return err;
}

/* The items of a list, or the pairs of an object, into what is open. */
static void put_items(struct parley_args *args, const char *json, enum pl_value_kind kind)
{
    struct pl_value_writer *v = &args->values[args->part];
    struct pl_value whole, item;
    if (kind == PL_VALUE_DICT) {
        enum pl_err err = pl_put_json_pairs(v, json);
        if (err)
            fail(args, err);
        return;
    }
    if (!read_whole(PL_SERIAL_JSON, pl_bytes_text(json), &whole) || whole.kind != kind) {
        fail(args, PL_MALFORMED);
        return;
    }
    struct pl_items items = pl_value_items(&whole);
    while (pl_items_next(&items, NULL, &item))
        pl_put_value(v, &item);
}

struct parley_args *parley_args_json(const char *list, const char *dictionary)
{
    struct parley_args *args = parley_args_new();
    if (args->is_fixed)
        return args;
    if (list)
        put_items(args, list, PL_VALUE_LIST);
    if (dictionary) {
        parley_args_keywords(args);
        if (!args->err)
            put_items(args, dictionary, PL_VALUE_DICT);
    }
    return args;
}
