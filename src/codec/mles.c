#include "codec/mles.h"

#include <sodium.h>

#include "base/text.h"
#include "codec/value.h"

/* ---- The header ---- */

static enum pl_err read_name(
    const struct pl_value *value, struct pl_arena *arena, struct pl_bytes *out)
{
    if (out->data || value->kind != PL_VALUE_STRING)
        return PL_MALFORMED;
    struct pl_bytes name;
    enum pl_err err = pl_value_text(value, arena, &name);
    if (err)
        return err;
    if (name.len > PL_MLES_NAME_MAX)
        return PL_TOO_LARGE;
    if (!name.len)
        return PL_BAD_NAME;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] >= 0x80)
            return PL_BAD_NAME;
    }
    *out = name;
    return PL_OK;
}

static enum pl_err read_auth(
    const struct pl_value *value, struct pl_arena *arena, struct pl_mles_header *out)
{
    if (value->kind == PL_VALUE_NULL)
        return PL_OK;
    if (value->kind != PL_VALUE_STRING)
        return PL_MALFORMED;
    out->has_auth = true;
    return pl_value_text(value, arena, &out->auth);
}

static bool is_white(struct pl_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!memchr(" \t\r\n", text.data[i], 4))
            return false;
    }
    return true;
}

enum pl_err pl_mles_header_decode(
    struct pl_bytes frame, struct pl_arena *arena, struct pl_mles_header *out)
{
    struct pl_value root, key, value;
    struct pl_mles_header header = {0};
    size_t used;
    bool had_auth = false;
    if (frame.len > PL_MLES_HEADER_MAX)
        return PL_TOO_LARGE;
    if (pl_value_read(PL_SERIAL_JSON, frame, &root, &used) || root.kind != PL_VALUE_DICT ||
        !is_white(pl_bytes_from(frame, used)))
        return PL_MALFORMED;
    struct pl_items items = pl_value_items(&root);
    while (pl_items_next(&items, &key, &value)) {
        struct pl_bytes name;
        enum pl_err err = pl_value_text(&key, arena, &name);
        if (!err && pl_bytes_equal(name, PL_BYTES("uid"))) {
            err = read_name(&value, arena, &header.uid);
        } else if (!err && pl_bytes_equal(name, PL_BYTES("channel"))) {
            err = read_name(&value, arena, &header.channel);
        } else if (!err && pl_bytes_equal(name, PL_BYTES("auth"))) {
            err = had_auth ? PL_MALFORMED : read_auth(&value, arena, &header);
            had_auth = true;
        }
        if (err)
            return err;
    }
    if (!header.uid.len || !header.channel.len)
        return PL_MALFORMED;
    *out = header;
    return PL_OK;
}

void pl_mles_header_encode(struct pl_writer *w, const struct pl_mles_header *header)
{
    struct pl_value_writer v = pl_value_writer(w, PL_SERIAL_JSON);
    pl_put_dict(&v);
    pl_put_key(&v, "uid");
    pl_put_string(&v, header->uid);
    pl_put_key(&v, "channel");
    pl_put_string(&v, header->channel);
    if (header->has_auth) {
        pl_put_key(&v, "auth");
        pl_put_string(&v, header->auth);
    }
    pl_put_end(&v);
}

/* From the end of the member before it to its own end, or to the member behind it. */
static void find_auth(const struct pl_value *root, const uint8_t **out_from, const uint8_t **out_to)
{
    struct pl_value key, value;
    struct pl_items items = pl_value_items(root);
    const uint8_t *before = NULL;
    bool is_found = false;
    *out_from = *out_to = NULL;
    while (pl_items_next(&items, &key, &value)) {
        if (is_found) { /* it was the first one */
            *out_to = key.raw.data;
            return;
        }
        struct pl_arena arena = {0};
        struct pl_bytes name;
        bool is_auth = value.kind == PL_VALUE_STRING && !pl_value_text(&key, &arena, &name) &&
                       pl_bytes_equal(name, PL_BYTES("auth"));
        pl_arena_done(&arena);
        const uint8_t *end = value.raw.data + value.raw.len;
        if (is_auth) {
            *out_from = before ? before : key.raw.data;
            *out_to = end;
            is_found = true;
            if (before)
                return;
        }
        before = end;
    }
}

size_t pl_mles_header_strip(struct pl_bytes frame, uint8_t *out)
{
    struct pl_value root;
    const uint8_t *from = NULL, *to = NULL;
    size_t used, at = 0;
    if (pl_value_read(PL_SERIAL_JSON, frame, &root, &used) == PL_OK)
        find_auth(&root, &from, &to);
    for (const uint8_t *p = frame.data; p < frame.data + frame.len; p++) {
        if (!from || p < from || p >= to)
            out[at++] = *p;
    }
    return at;
}

/* ---- auth ---- */

/* The number's bytes, the highest first. */
static void hash(struct pl_bytes uid, struct pl_bytes channel, struct pl_bytes key, uint8_t out[8])
{
    static const uint8_t zeros[crypto_shorthash_KEYBYTES] = {0};
    uint8_t data[2 * PL_MLES_NAME_MAX + PL_MLES_KEY_MAX], low_first[8];
    struct pl_bytes parts[] = {uid, channel, key};
    size_t len = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t room = sizeof data - len, n = parts[i].len < room ? parts[i].len : room;
        if (n)
            memcpy(data + len, parts[i].data, n);
        len += n;
    }
    (void)crypto_shorthash(low_first, data, len, zeros);
    for (size_t i = 0; i < sizeof low_first; i++)
        out[i] = low_first[7 - i];
    sodium_memzero(data, sizeof data);
}

void pl_mles_auth(
    struct pl_bytes uid, struct pl_bytes channel, struct pl_bytes key, char out[PL_MLES_AUTH_LEN])
{
    uint8_t number[8];
    hash(uid, channel, key, number);
    pl_hex_encode(pl_bytes_of(number, sizeof number), out);
}

/* False: it is no hexadecimal number of 64 bits. */
static bool read_number(struct pl_bytes text, uint8_t out[8])
{
    if (text.len && text.data[0] == '+')
        text = pl_bytes_from(text, 1);
    if (!text.len)
        return false;
    while (text.len > PL_MLES_AUTH_LEN && text.data[0] == '0')
        text = pl_bytes_from(text, 1);
    if (text.len > PL_MLES_AUTH_LEN)
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = pl_hex_value(text.data[i]);
        if (digit < 0)
            return false;
        number = number << 4 | (unsigned)digit;
    }
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> (56 - 8 * i));
    return true;
}

bool pl_mles_auth_matches(const struct pl_mles_header *header, struct pl_bytes key)
{
    uint8_t shown[8], wanted[8];
    hash(header->uid, header->channel, key, wanted);
    return header->has_auth && read_number(header->auth, shown) &&
           sodium_memcmp(shown, wanted, sizeof wanted) == 0;
}
