/*
 * Values of JSON, MessagePack and CBOR, as they stand in a message: read without building a tree,
 * written field by field, transcoded from any of the three to any other.
 *
 * Reading: pl_value_read checks one whole value, what is nested too (depth is bounded), and says
 * what it is. Lists and dictionaries are walked item by item:
 *
 *     struct pl_value list, item;
 *     err = pl_value_read(PL_SERIAL_JSON, in, &list, &used);
 *     struct pl_items items = pl_value_items(&list);
 *     while (pl_items_next(&items, NULL, &item)) …
 *
 * Writing: the counts of lists and dictionaries are filled in when they are closed:
 *
 *     struct pl_value_writer v = pl_value_writer(&writer, PL_SERIAL_CBOR);
 *     pl_put_list(&v);
 *     pl_put_natural(&v, 36);
 *     pl_put_dict(&v);
 *     pl_put_key(&v, "topic");
 *     pl_put_string(&v, topic);
 *     pl_put_end(&v);
 *     pl_put_end(&v);
 *
 * Between the three forms everything travels unharmed but: NaN and infinities (null in JSON);
 * binary, in JSON the string "\u0000" and base64, both ways (so a string that looks so is binary);
 * keys that are no strings, in JSON a string of what they would be as a value ("7", "true"); CBOR's
 * tags, which are skipped, and its undefined, which is null; CBOR's integers below -2^63, which are
 * floats; MessagePack's extensions, which are binary; half of a surrogate pair, which is U+FFFD. A
 * float that is integral stays a float ("2.0"). JSON's numbers beyond 64 bits are floats, infinite
 * at the end; they have 400 characters at most. A key that is a list or a dictionary is malformed,
 * so that whatever was read can be written in each of the three.
 *
 * Pure: no allocation but from the caller's arena and writer.
 */
#ifndef PL_CODEC_VALUE_H
#define PL_CODEC_VALUE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/output.h"

enum pl_serializer { PL_SERIAL_JSON, PL_SERIAL_MSGPACK, PL_SERIAL_CBOR, PL_SERIAL_COUNT };

enum { PL_VALUE_DEPTH_MAX = 128 };

enum pl_value_kind {
    PL_VALUE_NULL,
    PL_VALUE_BOOL,
    PL_VALUE_INTEGER, /* fits int64_t */
    PL_VALUE_NATURAL, /* above INT64_MAX */
    PL_VALUE_FLOAT,
    PL_VALUE_STRING, /* valid UTF-8 */
    PL_VALUE_BINARY, /* in JSON: a string that begins with NUL */
    PL_VALUE_LIST,
    PL_VALUE_DICT,
};

/* Borrowed from where it was read. */
struct pl_value {
    uint8_t kind;       /* enum pl_value_kind */
    uint8_t serializer; /* enum pl_serializer */
    bool is_plain;      /* STRING, BINARY: `text` is the content; else pl_value_text decodes it
                           (escapes and base64 of JSON, chunks of CBOR) */
    bool boolean;
    uint32_t count; /* LIST: items, DICT: pairs */
    union {
        int64_t integer;
        uint64_t natural;
        double real;
        struct pl_bytes text; /* STRING, BINARY; LIST, DICT: the items as they stand */
    };
    struct pl_bytes raw; /* the whole value as it stands */
};

/* The value that `in` begins with (JSON: white space before it is skipped). PL_NEED_MORE: cut off;
 * PL_MALFORMED. Strings must be valid UTF-8. */
PL_MUST_USE enum pl_err pl_value_read(
    enum pl_serializer serializer, struct pl_bytes in, struct pl_value *out, size_t *out_used);

struct pl_items {
    struct pl_bytes left;
    uint32_t count; /* items that are left */
    uint8_t serializer;
    bool is_dict;
};

/* Of a LIST or DICT that pl_value_read gave; none of anything else. */
struct pl_items pl_value_items(const struct pl_value *value);
/* The next one; false: there is none. out_key may be NULL; keys may be of any kind. */
bool pl_items_next(struct pl_items *items, struct pl_value *out_key, struct pl_value *out);

/* The content of a STRING or BINARY: value->text, or decoded in the arena. */
PL_MUST_USE enum pl_err pl_value_text(
    const struct pl_value *value, struct pl_arena *arena, struct pl_bytes *out);
/* Is it the string `text` (ASCII without controls, quotes and backslashes)? */
bool pl_value_is(const struct pl_value *value, const char *text);
/* A whole number from 0 on, also one that came as an integral float. */
bool pl_value_natural(const struct pl_value *value, uint64_t *out);
/* The same between 1 and 2^53. */
bool pl_value_id(const struct pl_value *value, uint64_t *out);
/* The value of a DICT's key (ASCII); the last one if it stands there twice. False: not there. */
bool pl_value_find(const struct pl_value *dict, const char *key, struct pl_value *out);
/* The same for a member that must be `true` to count. */
bool pl_value_flag(const struct pl_value *dict, const char *key);

enum { PL_PUT_DEPTH_MAX = 16 };

struct pl_value_writer {
    struct pl_writer *w;
    uint8_t serializer;
    uint8_t depth;
    bool after_key;
    struct {
        size_t at; /* where its head stands in w */
        uint32_t count;
        bool is_dict;
    } open[PL_PUT_DEPTH_MAX];
};

struct pl_value_writer pl_value_writer(struct pl_writer *w, enum pl_serializer serializer);
void pl_put_list(struct pl_value_writer *v);
void pl_put_dict(struct pl_value_writer *v);
/* Closes the innermost list or dictionary. */
void pl_put_end(struct pl_value_writer *v);
/* Of a dictionary; its value follows. */
void pl_put_key(struct pl_value_writer *v, const char *key);
void pl_put_key_bytes(struct pl_value_writer *v, struct pl_bytes key);
void pl_put_null(struct pl_value_writer *v);
void pl_put_bool(struct pl_value_writer *v, bool value);
void pl_put_natural(struct pl_value_writer *v, uint64_t value);
void pl_put_integer(struct pl_value_writer *v, int64_t value);
void pl_put_float(struct pl_value_writer *v, double value);
/* Bytes that are not UTF-8 become U+FFFD. */
void pl_put_string(struct pl_value_writer *v, struct pl_bytes text);
void pl_put_text(struct pl_value_writer *v, const char *text);
void pl_put_binary(struct pl_value_writer *v, struct pl_bytes bytes);
/* Any value: as it stands if it is of this serializer, else transcoded, in one pass. */
void pl_put_value(struct pl_value_writer *v, const struct pl_value *value);

#endif
