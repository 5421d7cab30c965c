/* Arguments as payloads, and payloads as arguments (DESIGN section 2). */
#include "base/text.h"
#include "codec/value_state.h"
#include "codec/wamp.h"

/* Splits what was checked when the message was decoded. */
static void split(enum pl_serializer serializer, struct pl_bytes payload, struct pl_value *out_args,
    struct pl_value *out_kwargs)
{
    out_args->kind = out_kwargs->kind = PL_VALUE_NULL;
    if (!payload.len)
        return;
    struct pl_scan s = {.at = payload.data, .end = payload.data + payload.len, .is_checked = true};
    if (pl_value_scan(serializer, &s, 0, out_args)) {
        out_args->kind = PL_VALUE_NULL;
        return;
    }
    if (serializer == PL_SERIAL_JSON) {
        pl_json_skip_space(&s);
        if (s.at < s.end)
            s.at++; /* the comma */
    }
    if (s.at == s.end || pl_value_scan(serializer, &s, 0, out_kwargs))
        out_kwargs->kind = PL_VALUE_NULL;
}

void pl_wamp_arguments(enum pl_serializer serializer, struct pl_bytes payload,
    struct pl_value *out_args, struct pl_value *out_kwargs)
{
    split(serializer, payload, out_args, out_kwargs);
}

void pl_wamp_end(
    struct pl_value_writer *v, enum pl_serializer payload_serializer, struct pl_bytes payload)
{
    struct pl_value args, kwargs;
    if (!payload.len) {
        pl_put_end(v);
        return;
    }
    if (payload_serializer == PL_SERIAL_JSON && v->serializer == PL_SERIAL_JSON) {
        pl_write_u8(v->w, ',');
        pl_write_bytes(v->w, payload);
    } else {
        split(payload_serializer, payload, &args, &kwargs);
        pl_put_value(v, &args);
        if (kwargs.kind != PL_VALUE_NULL)
            pl_put_value(v, &kwargs);
    }
    pl_put_end(v);
}

/* ---- From plain ---- */

/* Exactly {"args": [...], "kwargs": {...}}, as a payload with arguments is told to others. */
static bool is_arguments(
    const struct pl_value *value, struct pl_value *out_args, struct pl_value *out_kwargs)
{
    return value->kind == PL_VALUE_DICT && value->count == 2 &&
           pl_value_find(value, "args", out_args) && out_args->kind == PL_VALUE_LIST &&
           pl_value_find(value, "kwargs", out_kwargs) && out_kwargs->kind == PL_VALUE_DICT;
}

/* The whole text is one JSON value. */
static bool is_json(struct pl_bytes text, struct pl_value *out)
{
    struct pl_scan s = {.at = text.data, .end = text.data + text.len};
    if (pl_json_scan(&s, 2, out)) /* in a list in a message */
        return false;
    pl_json_skip_space(&s);
    return s.at == s.end;
}

static bool may_be_json(
    struct pl_bytes plain, struct pl_bytes content_type, enum pl_wamp_plain rule)
{
    if (rule == PL_WAMP_PLAIN_RAW)
        return false;
    if (rule == PL_WAMP_PLAIN_JSON ||
        pl_bytes_equal_nocase(content_type, PL_BYTES("application/x-wamp+json")))
        return true;
    return plain.data[0] == '{' || plain.data[0] == '[';
}

void pl_wamp_end_plain(struct pl_value_writer *v, struct pl_bytes plain,
    struct pl_bytes content_type, enum pl_wamp_plain rule)
{
    struct pl_value value, args, kwargs;
    if (!plain.len) {
        pl_put_end(v);
        return;
    }
    bool has_json = may_be_json(plain, content_type, rule) && is_json(plain, &value);
    if (has_json && is_arguments(&value, &args, &kwargs)) {
        pl_put_value(v, &args);
        if (kwargs.count)
            pl_put_value(v, &kwargs);
        pl_put_end(v);
        return;
    }
    pl_put_list(v);
    if (has_json)
        pl_put_value(v, &value);
    else if (pl_is_ascii(plain.data, plain.len) || pl_utf8_is_valid(plain))
        pl_put_string(v, plain);
    else
        pl_put_binary(v, plain);
    pl_put_end(v);
    pl_put_end(v);
}

/* ---- To plain ---- */

static void write_content(struct pl_writer *w, const struct pl_value *value)
{
    struct pl_arena arena = {0};
    struct pl_bytes text;
    enum pl_err err = pl_value_text(value, &arena, &text);
    if (err)
        w->err = w->err ? w->err : err;
    else
        pl_write_bytes(w, text);
    pl_arena_done(&arena);
}

static void write_json(struct pl_writer *w, const struct pl_value *value)
{
    struct pl_value_writer v = pl_value_writer(w, PL_SERIAL_JSON);
    pl_put_value(&v, value);
}

void pl_wamp_write_plain(
    struct pl_writer *w, enum pl_serializer serializer, struct pl_bytes payload)
{
    struct pl_value args, kwargs, one;
    split(serializer, payload, &args, &kwargs);
    bool is_content = args.kind == PL_VALUE_BINARY || args.kind == PL_VALUE_STRING;
    if (is_content) { /* payload passthru */
        write_content(w, &args);
        return;
    }
    if (kwargs.kind == PL_VALUE_NULL && (args.kind == PL_VALUE_NULL || !args.count))
        return;
    if (kwargs.kind == PL_VALUE_NULL && args.count == 1) {
        struct pl_items items = pl_value_items(&args);
        if (!pl_items_next(&items, NULL, &one))
            return;
        if (one.kind == PL_VALUE_STRING || one.kind == PL_VALUE_BINARY)
            write_content(w, &one);
        else
            write_json(w, &one);
        return;
    }
    pl_write_text(w, "{\"args\":");
    write_json(w, &args);
    pl_write_text(w, ",\"kwargs\":");
    if (kwargs.kind == PL_VALUE_NULL)
        pl_write_text(w, "{}");
    else
        write_json(w, &kwargs);
    pl_write_u8(w, '}');
}
