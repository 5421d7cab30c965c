#include "codec/value.h"

#include <math.h>

#include "base/text.h"
#include "codec/json.h"
#include "codec/value_state.h"

enum { UNTIL_END = UINT32_MAX };

enum pl_err pl_value_read(
    enum pl_serializer serializer, struct pl_bytes in, struct pl_value *out, size_t *out_used)
{
    if (!in.len)
        return PL_NEED_MORE;
    struct pl_scan s = {.at = in.data, .end = in.data + in.len};
    enum pl_err err = pl_value_scan(serializer, &s, 0, out);
    if (!err)
        *out_used = (size_t)(s.at - in.data);
    return err;
}

/* ---- Items of what was read ---- */

struct pl_items pl_value_items(const struct pl_value *value)
{
    bool is_dict = value->kind == PL_VALUE_DICT;
    if (!is_dict && value->kind != PL_VALUE_LIST)
        return (struct pl_items){0};
    return (struct pl_items){
        .left = value->text,
        .count = value->count,
        .serializer = value->serializer,
        .is_dict = is_dict,
    };
}

bool pl_items_next(struct pl_items *items, struct pl_value *out_key, struct pl_value *out)
{
    if (!items->count)
        return false;
    struct pl_scan s = {
        .at = items->left.data, .end = items->left.data + items->left.len, .is_checked = true};
    bool is_json = items->serializer == PL_SERIAL_JSON;
    if (is_json)
        pl_json_skip_mark(&s, ',');
    enum pl_err err = PL_OK;
    if (items->is_dict) {
        err = pl_value_scan(items->serializer, &s, 0, out_key);
        if (is_json)
            pl_json_skip_mark(&s, ':');
    }
    if (!err)
        err = pl_value_scan(items->serializer, &s, 0, out);
    if (err)
        return false; /* not what pl_value_read gave */
    items->count--;
    items->left = pl_bytes_of(s.at, pl_scan_left(&s));
    return true;
}

/* ---- A list that is read as it is walked ---- */

static enum pl_err enter_msgpack(struct pl_list *list, struct pl_scan *s)
{
    uint8_t head = *s->at++;
    size_t size = head == 0xDC ? 2 : head == 0xDD ? 4 : 0;
    if ((head & 0xF0) == 0x90)
        list->left = head & 0x0F;
    else if (!size)
        return PL_MALFORMED;
    else if (pl_scan_left(s) < size)
        return PL_NEED_MORE;
    else
        list->left = (uint32_t)pl_read_big(s->at, size);
    s->at += size;
    return list->left == UNTIL_END ? PL_MALFORMED : PL_OK;
}

static enum pl_err enter_cbor(struct pl_list *list, struct pl_scan *s)
{
    uint8_t head = *s->at++, info = head & 0x1F;
    if (head >> 5 != 4)
        return PL_MALFORMED;
    list->left = info;
    if (info == 31)
        list->left = UNTIL_END;
    if (info < 24 || info == 31)
        return PL_OK;
    size_t size = (size_t)1 << (info - 24);
    if (info > 26)
        return PL_MALFORMED;
    if (pl_scan_left(s) < size)
        return PL_NEED_MORE;
    list->left = (uint32_t)pl_read_big(s->at, size);
    s->at += size;
    return list->left == UNTIL_END ? PL_MALFORMED : PL_OK;
}

enum pl_err pl_list_enter(struct pl_list *list, enum pl_serializer serializer, struct pl_bytes in)
{
    if (!in.len)
        return PL_NEED_MORE;
    *list = (struct pl_list){
        .scan = {.at = in.data, .end = in.data + in.len},
        .serializer = (uint8_t)serializer,
        .is_first = true,
    };
    struct pl_scan *s = &list->scan;
    if (serializer == PL_SERIAL_JSON)
        pl_json_skip_space(s);
    if (s->at == s->end)
        return PL_NEED_MORE;
    if (serializer == PL_SERIAL_MSGPACK)
        return enter_msgpack(list, s);
    if (serializer == PL_SERIAL_CBOR)
        return enter_cbor(list, s);
    list->left = UNTIL_END;
    return *s->at++ == '[' ? PL_OK : PL_MALFORMED;
}

/* JSON: up to the next item, or behind the end. */
static enum pl_err next_json(struct pl_list *list, bool *out_there)
{
    struct pl_scan *s = &list->scan;
    pl_json_skip_space(s);
    if (s->at == s->end)
        return PL_NEED_MORE;
    if (*s->at == ']') {
        s->at++;
        *out_there = false;
        return PL_OK;
    }
    if (!list->is_first && *s->at++ != ',')
        return PL_MALFORMED;
    pl_json_skip_space(s);
    return PL_OK;
}

enum pl_err pl_list_next(struct pl_list *list, struct pl_value *out, bool *out_there)
{
    struct pl_scan *s = &list->scan;
    *out_there = list->left != 0;
    if (!list->left)
        return PL_OK;
    if (list->serializer == PL_SERIAL_JSON) {
        enum pl_err err = next_json(list, out_there);
        if (err)
            return err;
    } else if (list->left == UNTIL_END) {
        if (s->at == s->end)
            return PL_NEED_MORE;
        *out_there = *s->at != 0xFF;
        s->at += !*out_there;
    }
    if (!*out_there) {
        list->left = 0; /* so that who asks again is told the same */
        return PL_OK;
    }
    if (list->left != UNTIL_END)
        list->left--;
    list->is_first = false;
    list->item_at = s->at;
    return pl_value_scan(list->serializer, s, 1, out);
}

/* ---- What a value says ---- */

enum pl_err pl_value_text(
    const struct pl_value *value, struct pl_arena *arena, struct pl_bytes *out)
{
    if (value->kind != PL_VALUE_STRING && value->kind != PL_VALUE_BINARY)
        return PL_MALFORMED;
    bool is_json = value->serializer == PL_SERIAL_JSON;
    if (value->is_plain) {
        *out = value->text;
        return PL_OK;
    }
    uint8_t *memory = pl_arena_alloc(arena, value->text.len + 4);
    if (!memory)
        return PL_NO_MEMORY;
    size_t len =
        is_json ? pl_json_unescape(value->text, memory) : pl_cbor_join(value->text, memory);
    *out = pl_bytes_of(memory, len);
    if (!is_json || value->kind != PL_VALUE_BINARY)
        return PL_OK;
    /* NUL, then base64, which is shorter when it is decoded: in its own place. */
    enum pl_err err = pl_base64_decode(pl_bytes_of(memory + 1, len - 1), false, memory, &len);
    *out = pl_bytes_of(memory, len);
    return err;
}

bool pl_value_is(const struct pl_value *value, const char *text)
{
    struct pl_bytes wanted = pl_bytes_text(text);
    if (value->kind != PL_VALUE_STRING)
        return false;
    if (value->is_plain)
        return pl_bytes_equal(value->text, wanted);
    /* An escape of JSON takes six bytes for one at most; chunks may be empty. */
    if (value->serializer == PL_SERIAL_JSON && value->text.len > 6 * wanted.len)
        return false;
    struct pl_arena arena = {0};
    struct pl_bytes content;
    bool is_it = !pl_value_text(value, &arena, &content) && pl_bytes_equal(content, wanted);
    pl_arena_done(&arena);
    return is_it;
}

bool pl_value_natural(const struct pl_value *value, uint64_t *out)
{
    if (value->kind == PL_VALUE_INTEGER && value->integer >= 0) {
        *out = (uint64_t)value->integer;
        return true;
    }
    if (value->kind == PL_VALUE_NATURAL) {
        *out = value->natural;
        return true;
    }
    if (value->kind != PL_VALUE_FLOAT || !(value->real >= 0) || value->real > 0x1p53 ||
        value->real != floor(value->real))
        return false;
    *out = (uint64_t)value->real;
    return true;
}

bool pl_value_id(const struct pl_value *value, uint64_t *out)
{
    uint64_t id;
    if (!pl_value_natural(value, &id) || id < 1 || id > (uint64_t)1 << 53)
        return false;
    *out = id;
    return true;
}

bool pl_value_find(const struct pl_value *dict, const char *key, struct pl_value *out)
{
    struct pl_items items = pl_value_items(dict);
    struct pl_value name, value;
    bool is_there = false;
    if (!items.is_dict)
        return false;
    while (pl_items_next(&items, &name, &value)) {
        if (!pl_value_is(&name, key))
            continue;
        *out = value;
        is_there = true;
    }
    return is_there;
}

bool pl_value_flag(const struct pl_value *dict, const char *key)
{
    struct pl_value value;
    return pl_value_find(dict, key, &value) && value.kind == PL_VALUE_BOOL && value.boolean;
}
