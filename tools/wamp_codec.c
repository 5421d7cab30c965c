/*
 * Decodes and encodes WAMP messages line by line, for tests and for people who look at a capture.
 *
 *     $ echo 'msgpack 9331ce00773bf780' | wamp_codec
 *     {"type":49,"name":"CANCEL","ids":[7814135],"details":{},"json":"5b34…","msgpack":"9331…",…}
 *
 * A line is a serializer (json, msgpack, cbor) and a message in hex. An answer is one line of JSON:
 * what the message says, and the message put together again from that, in hex, in each serializer.
 * A type that is unknown is told as its values; "error" says what else is wrong.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/wamp_again.h"

static const char *const names[PL_SERIAL_COUNT] = {"json", "msgpack", "cbor"};

static void put_hex(struct pl_value_writer *v, const char *key, const struct pl_shared *bytes)
{
    char *hex = malloc(2 * (size_t)bytes->len + 1);
    if (!hex)
        abort();
    pl_hex_encode(pl_bytes_of(bytes->data, bytes->len), hex);
    pl_put_key(v, key);
    pl_put_string(v, pl_bytes_of(hex, 2 * (size_t)bytes->len));
    free(hex);
}

/* What was written, or why it could not be. */
static void put_encoded(struct pl_value_writer *v, const char *key, struct pl_writer *w)
{
    struct pl_shared *bytes;
    enum pl_err err = pl_writer_take(w, &bytes);
    if (err) {
        pl_put_key(v, key);
        pl_put_null(v);
        return;
    }
    put_hex(v, key, bytes);
    pl_shared_unref(bytes);
}

static void put_member(struct pl_value_writer *v, const char *key, const struct pl_value *value)
{
    if (value->kind == PL_VALUE_NULL)
        return;
    pl_put_key(v, key);
    pl_put_value(v, value);
}

static void put_message(struct pl_value_writer *v, const struct pl_wamp *m)
{
    struct pl_value args, kwargs;
    pl_put_key(v, "name");
    pl_put_text(v, pl_wamp_type_name(m->type));
    pl_put_key(v, "ids");
    pl_put_list(v);
    for (unsigned i = 0; i < m->id_count; i++)
        pl_put_natural(v, m->ids[i]);
    pl_put_end(v);
    if (m->type == PL_WAMP_ERROR) {
        pl_put_key(v, "request_type");
        pl_put_natural(v, m->request_type);
    }
    put_member(v, "details", &m->details);
    put_member(v, "text", &m->text);
    pl_wamp_arguments(m->serializer, m->payload, &args, &kwargs);
    put_member(v, "args", &args);
    put_member(v, "kwargs", &kwargs);
    for (int to = 0; to < PL_SERIAL_COUNT; to++) {
        struct pl_writer w = pl_writer_new();
        wamp_encode_again(&w, (enum pl_serializer)to, m);
        put_encoded(v, names[to], &w);
    }
}

/* A type that nobody knows: a list of values like any other. */
static void put_values(
    struct pl_value_writer *v, enum pl_serializer serializer, struct pl_bytes message)
{
    struct pl_value list;
    size_t used;
    if (pl_value_read(serializer, message, &list, &used))
        return;
    put_member(v, "values", &list);
    for (int to = 0; to < PL_SERIAL_COUNT; to++) {
        struct pl_writer w = pl_writer_new();
        struct pl_value_writer copy = pl_value_writer(&w, (enum pl_serializer)to);
        pl_put_value(&copy, &list);
        put_encoded(v, names[to], &w);
    }
}

static void answer(struct pl_writer *w, enum pl_serializer serializer, struct pl_bytes message)
{
    struct pl_wamp m;
    struct pl_diag diag;
    struct pl_value_writer v = pl_value_writer(w, PL_SERIAL_JSON);
    enum pl_err err = pl_wamp_decode(serializer, message, &m, &diag);
    pl_put_dict(&v);
    if (!err || err == PL_UNSUPPORTED) {
        pl_put_key(&v, "type");
        pl_put_natural(&v, m.type);
    }
    if (err) {
        pl_put_key(&v, "error");
        pl_put_text(&v, diag.text);
    }
    if (!err)
        put_message(&v, &m);
    else if (err == PL_UNSUPPORTED)
        put_values(&v, serializer, message);
    pl_put_end(&v);
    pl_write_u8(w, '\n');
}

/* In place. False: not hex. */
static bool read_hex(char *text, size_t *out_len)
{
    size_t len = strlen(text);
    uint8_t *out = (uint8_t *)text;
    for (size_t i = 0; i + 1 < len; i += 2) {
        int high = pl_hex_value((uint8_t)text[i]), low = pl_hex_value((uint8_t)text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    *out_len = len / 2;
    return len % 2 == 0;
}

static bool answer_line(char *line)
{
    char *rest = line;
    const char *name = strsep(&rest, " \r\n");
    char *hex = rest ? strsep(&rest, " \r\n") : NULL;
    int serializer = 0;
    size_t len;
    while (serializer < PL_SERIAL_COUNT && strcmp(name, names[serializer]) != 0)
        serializer++;
    if (serializer == PL_SERIAL_COUNT || !hex || !read_hex(hex, &len))
        return false;
    struct pl_writer w = pl_writer_new();
    struct pl_shared *text;
    answer(&w, (enum pl_serializer)serializer, pl_bytes_of(hex, len));
    if (pl_writer_take(&w, &text))
        return false;
    bool is_written = fwrite(text->data, 1, text->len, stdout) == text->len;
    pl_shared_unref(text);
    return is_written && fflush(stdout) == 0;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    int status = 0;
    while (getline(&line, &cap, stdin) > 0) {
        number++;
        if (answer_line(line))
            continue;
        fprintf(stderr, "line %zu: not \"json|msgpack|cbor hex\"\n", number);
        status = 1;
    }
    free(line);
    return status;
}
