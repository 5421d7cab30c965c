/*
 * What the three serializers give the rest of value.h: one tokenizer each, and how a list is
 * entered. Internal to the codec.
 */
#ifndef PL_CODEC_VALUE_STATE_H
#define PL_CODEC_VALUE_STATE_H

#include "codec/value.h"

/* Where reading stands. Functions leave `at` behind what they read, or anywhere on an error. */
struct pl_scan {
    const uint8_t *at, *end;
    bool is_checked; /* the bytes were read before: text is not looked at for UTF-8 again */
    bool is_shallow; /* lists and dictionaries are entered, not passed: `at` stands at their first
                        item, and their count is UINT32_MAX where only an end's mark tells it */
};

static inline size_t pl_scan_left(const struct pl_scan *s)
{
    return (size_t)(s->end - s->at);
}

/* Reads one value whose depth is `depth`; out may be NULL, it is only checked then. */
typedef enum pl_err pl_value_scan_fn(struct pl_scan *s, unsigned depth, struct pl_value *out);

pl_value_scan_fn pl_json_scan, pl_msgpack_scan, pl_cbor_scan;

static inline enum pl_err pl_value_scan(
    enum pl_serializer serializer, struct pl_scan *s, unsigned depth, struct pl_value *out)
{
    return serializer == PL_SERIAL_JSON      ? pl_json_scan(s, depth, out)
           : serializer == PL_SERIAL_MSGPACK ? pl_msgpack_scan(s, depth, out)
                                             : pl_cbor_scan(s, depth, out);
}

/*
 * The items of a list that has not been read as a whole: each is checked as it comes.
 *
 *     err = pl_list_enter(&list, serializer, bytes);
 *     while (!(err = pl_list_next(&list, &item)) && item) …
 */
struct pl_list {
    struct pl_scan scan;
    uint32_t left; /* items to come; UINT32_MAX: until the end's mark */
    uint8_t serializer;
    bool is_first;
    const uint8_t *item_at; /* where the item that came last begins */
};

PL_MUST_USE enum pl_err pl_list_enter(
    struct pl_list *list, enum pl_serializer serializer, struct pl_bytes in);
/* *out_there false: the end; list->scan.at stands behind it. */
PL_MUST_USE enum pl_err pl_list_next(struct pl_list *list, struct pl_value *out, bool *out_there);

/* JSON's. */
void pl_json_skip_space(struct pl_scan *s);
/* Behind a comma or a colon, if there is one. */
void pl_json_skip_mark(struct pl_scan *s, uint8_t mark);
/* CBOR's: the chunks of an indefinite string joined in out, which has room for text.len. */
size_t pl_cbor_join(struct pl_bytes text, uint8_t *out);

/* Heads as small as they can be. */
void pl_msgpack_write_list(struct pl_writer *w, uint32_t count, bool is_dict);
void pl_msgpack_write_string(struct pl_writer *w, size_t len, bool is_binary);
void pl_msgpack_write_natural(struct pl_writer *w, uint64_t v);
void pl_msgpack_write_negative(struct pl_writer *w, int64_t v);
void pl_cbor_write_head(struct pl_writer *w, uint8_t major, uint64_t v);

static inline void pl_write_u64(struct pl_writer *w, uint64_t v)
{
    pl_write_u32(w, (uint32_t)(v >> 32));
    pl_write_u32(w, (uint32_t)v);
}

static inline uint64_t pl_read_big(const uint8_t *at, size_t size)
{
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | at[i];
    return v;
}

/* Is it a list or a dictionary? */
static inline bool pl_value_has_items(const struct pl_value *value)
{
    return value->kind == PL_VALUE_LIST || value->kind == PL_VALUE_DICT;
}

static inline double pl_real_of_bits(uint64_t bits)
{
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static inline double pl_real_of_float_bits(uint32_t bits)
{
    float real;
    memcpy(&real, &bits, sizeof real);
    return (double)real;
}

/* All bytes below 0x80: so it is UTF-8, without a closer look. */
static inline bool pl_is_ascii(const uint8_t *at, size_t len)
{
    uint64_t high = 0, word;
    uint32_t half[2];
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            memcpy(&word, at + i, 8);
            high |= word;
        }
        memcpy(&word, at + len - 8, 8); /* may have been seen in part */
        high |= word;
    } else if (len >= 4) {
        memcpy(&half[0], at, 4);
        memcpy(&half[1], at + len - 4, 4);
        high = half[0] | half[1];
    } else if (len) {
        high = at[0] | at[len / 2] | at[len - 1];
    }
    return !(high & 0x8080808080808080u);
}

#endif
