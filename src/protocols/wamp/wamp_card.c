#include "protocols/wamp/wamp_words.h"

static bool same_key(const struct pl_value *a, const struct pl_value *b)
{
    struct pl_arena arena = {0};
    struct pl_bytes x, y;
    bool is_same = a->kind == PL_VALUE_STRING && b->kind == PL_VALUE_STRING &&
                   !pl_value_text(a, &arena, &x) && !pl_value_text(b, &arena, &y) &&
                   pl_bytes_equal(x, y);
    pl_arena_done(&arena);
    return is_same;
}

/* Is the key one of the dictionary's? */
static bool has_key(const struct pl_value *dict, const struct pl_value *key)
{
    struct pl_value k, v;
    struct pl_items items = pl_value_items(dict);
    while (pl_items_next(&items, &k, &v))
        if (same_key(&k, key))
            return true;
    return false;
}

static void put_member(
    struct pl_value_writer *v, const struct pl_value *key, const struct pl_value *value)
{
    struct pl_arena arena = {0};
    struct pl_bytes text;
    if (pl_value_text(key, &arena, &text)) {
        v->w->err = PL_NO_MEMORY;
    } else {
        pl_put_key_bytes(v, text);
        pl_put_value(v, value);
    }
    pl_arena_done(&arena);
}

enum pl_err pl_wamp_card_change(
    struct pl_bytes card, const struct pl_value *delta, struct pl_shared **out)
{
    struct pl_value old, key, value;
    size_t used;
    if (delta->kind != PL_VALUE_DICT || pl_value_read(PL_SERIAL_MSGPACK, card, &old, &used))
        return PL_MALFORMED;
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    struct pl_items items = pl_value_items(&old);
    while (pl_items_next(&items, &key, &value))
        if (pl_value_is(&key, "session") || !has_key(delta, &key))
            put_member(&v, &key, &value);
    items = pl_value_items(delta);
    while (pl_items_next(&items, &key, &value))
        if (key.kind == PL_VALUE_STRING && value.kind != PL_VALUE_NULL &&
            !pl_value_is(&key, "session"))
            put_member(&v, &key, &value);
    pl_put_end(&v);
    return pl_writer_take(&w, out);
}
