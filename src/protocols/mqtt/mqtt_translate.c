#include "protocols/mqtt/mqtt_translate.h"

#include "base/text.h"

/* 00–1F, '#', '+', 7F. Everything from 80 on is a matter of UTF-8. */
const struct pl_escape_rules pl_mqtt_escape_rules = {
    .bytes = {0xFF, 0xFF, 0xFF, 0xFF, 0x08, 0x08, [15] = 0x80},
    .invalid_utf8 = true,
    .c1_and_nonchars = true,
    .empty_name = true,
    .separator = '/',
};

/*
 * What a byte is to the quick paths: itself (swapped already), 0: look closer, 1: part of a longer
 * UTF-8 sequence. Neither 0 nor 1 stands for itself here.
 */
static const uint8_t swapped[256] = {
#define SELF(c)   [c] = (c)
#define SELF4(c)  SELF(c), SELF((c) + 1), SELF((c) + 2), SELF((c) + 3)
#define LONG4(c)  [c] = 1, [(c) + 1] = 1, [(c) + 2] = 1, [(c) + 3] = 1
#define LONG16(c) LONG4(c), LONG4((c) + 4), LONG4((c) + 8), LONG4((c) + 12)
    SELF(' '),
    SELF('!'),
    SELF('"'),
    SELF('$'),
    SELF('&'),
    SELF('\''),
    SELF('('),
    SELF(')'),
    SELF('*'),
    SELF(','),
    SELF('-'),
    SELF4('0'),
    SELF4('4'),
    SELF4('8'),
    SELF4('<'),
    SELF4('@'),
    SELF4('D'),
    SELF4('H'),
    SELF4('L'),
    SELF4('P'),
    SELF4('T'),
    SELF4('X'),
    SELF4('\\'),
    SELF4('`'),
    SELF4('d'),
    SELF4('h'),
    SELF4('l'),
    SELF4('p'),
    SELF4('t'),
    SELF4('x'),
    SELF('|'),
    SELF('}'),
    SELF('~'),
    ['.'] = '/',
    ['/'] = '.',
    LONG16(0x80),
    LONG16(0x90),
    LONG16(0xA0),
    LONG16(0xB0),
    LONG16(0xC0),
    LONG16(0xD0),
    LONG16(0xE0),
    LONG16(0xF0),
#undef LONG16
#undef LONG4
#undef SELF4
#undef SELF
};

static bool is_noncharacter(uint32_t code)
{
    return (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
}

/* Bytes of the UTF-8 sequence that begins here if MQTT can carry it, else 0. */
static size_t sequence_len(struct pl_bytes text)
{
    uint32_t code = 0;
    size_t n = pl_utf8_next(text, &code);
    return n && code > 0x9F && !is_noncharacter(code) ? n : 0;
}

bool pl_mqtt_subject_is_simple(struct pl_bytes subject)
{
    if (!subject.len)
        return false;
    for (size_t i = 0; i < subject.len;) {
        uint8_t c = swapped[subject.data[i]];
        size_t n = c > 1 ? 1 : c ? sequence_len(pl_bytes_from(subject, i)) : 0;
        if (!n)
            return false;
        i += n;
    }
    return true;
}

uint8_t *pl_mqtt_put_swapped(uint8_t *at, struct pl_bytes subject)
{
    for (size_t i = 0; i < subject.len; i++) {
        uint8_t c = swapped[subject.data[i]];
        at[i] = c > 1 ? c : subject.data[i];
    }
    return at + subject.len;
}

enum pl_err pl_mqtt_topic_decode(
    struct pl_arena *arena, struct pl_bytes topic, struct pl_bytes *out_subject)
{
    if (!topic.len)
        return PL_BAD_NAME;
    if (pl_mqtt_subject_is_simple(topic)) {
        uint8_t *subject = pl_arena_alloc(arena, topic.len);
        if (!subject)
            return PL_NO_MEMORY;
        pl_mqtt_put_swapped(subject, topic);
        *out_subject = pl_bytes_of(subject, topic.len);
        return PL_OK;
    }
    if (!pl_mqtt_text_is_valid(topic))
        return PL_MALFORMED;
    struct pl_bytes subject;
    enum pl_err err = pl_subject_decode(&pl_mqtt_escape_rules, arena, topic, &subject);
    if (err || subject.data != topic.data) {
        if (!err)
            *out_subject = subject;
        return err;
    }
    char *copy = pl_arena_copy(arena, subject);
    if (!copy)
        return PL_NO_MEMORY;
    *out_subject = pl_bytes_of(copy, subject.len);
    return PL_OK;
}

enum pl_err pl_mqtt_topic_encode(
    struct pl_arena *arena, struct pl_bytes subject, struct pl_bytes *out_topic)
{
    return pl_subject_encode(&pl_mqtt_escape_rules, arena, subject, out_topic);
}

/* The level at *at, which moves behind its '/'. False: there is none. */
static bool next_level(struct pl_bytes filter, size_t *at, struct pl_bytes *out)
{
    if (*at > filter.len)
        return false;
    const uint8_t *from = filter.data + *at;
    const uint8_t *slash = filter.len > *at ? memchr(from, '/', filter.len - *at) : NULL;
    size_t len = slash ? (size_t)(slash - from) : filter.len - *at;
    *out = pl_bytes_of(from, len);
    *at += len + 1;
    return true;
}

static bool has_byte(struct pl_bytes text, char byte)
{
    return text.len && memchr(text.data, byte, text.len);
}

static bool is_only(struct pl_bytes text, char byte)
{
    return text.len == 1 && text.data[0] == (uint8_t)byte;
}

enum pl_err pl_mqtt_filter_split(struct pl_bytes text, struct mqtt_filter_parts *out)
{
    struct mqtt_filter_parts parts = {.filter = text};
    if (pl_bytes_starts(text, PL_BYTES("$share/"))) {
        size_t at = 7;
        if (!next_level(text, &at, &parts.group) || !parts.group.len || at > text.len ||
            has_byte(parts.group, '+') || has_byte(parts.group, '#'))
            return PL_BAD_NAME;
        parts.filter = pl_bytes_from(text, at);
    } else if (pl_bytes_equal(text, PL_BYTES("$share"))) {
        return PL_BAD_NAME;
    }
    if (!parts.filter.len)
        return PL_BAD_NAME;
    struct pl_bytes level;
    for (size_t at = 0; next_level(parts.filter, &at, &level);) {
        bool is_any = is_only(level, '+'), is_rest = is_only(level, '#');
        if ((!is_any && has_byte(level, '+')) || (!is_rest && has_byte(level, '#')))
            return PL_BAD_NAME;
        if (is_rest && at <= parts.filter.len)
            return PL_BAD_NAME;
        parts.has_wildcard |= is_any || is_rest;
    }
    *out = parts;
    return PL_OK;
}

static enum pl_err add_levels(
    struct pl_pattern_builder *b, struct pl_arena *arena, struct pl_bytes filter)
{
    struct pl_bytes level;
    for (size_t at = 0; next_level(filter, &at, &level);) {
        if (is_only(level, '+')) {
            pl_pattern_add_any(b);
        } else if (is_only(level, '#')) {
            pl_pattern_add_self_or_rest(b);
        } else {
            struct pl_bytes token;
            enum pl_err err = pl_token_decode(&pl_mqtt_escape_rules, arena, level, &token);
            if (err)
                return err;
            pl_pattern_add_literal(b, token);
        }
    }
    return PL_OK;
}

enum pl_err pl_mqtt_filter_decode(
    struct pl_arena *arena, const struct mqtt_filter_parts *parts, struct pl_pattern **out_pattern)
{
    if (!parts->has_wildcard) {
        struct pl_bytes name;
        enum pl_err err = pl_mqtt_topic_decode(arena, parts->filter, &name);
        return err ? err : pl_pattern_new_literal(name, out_pattern);
    }
    struct pl_pattern_builder b;
    struct pl_pattern *pattern;
    pl_pattern_begin(&b);
    b.spares_dollar = true;
    enum pl_err err = add_levels(&b, arena, parts->filter);
    enum pl_err end_err = pl_pattern_end(&b, &pattern);
    if (err && !end_err)
        pl_pattern_unref(pattern);
    if (err || end_err)
        return err ? err : end_err;
    *out_pattern = pattern;
    return PL_OK;
}

static enum pl_err take_headers(
    struct pl_arena *arena, const struct mqtt_properties *p, struct pl_properties *out)
{
    struct pl_header *headers = pl_arena_alloc(arena, p->user_count * sizeof *headers);
    if (!headers)
        return PL_NO_MEMORY;
    uint32_t n = 0;
    for (size_t at = 0; n < p->user_count && pl_mqtt_next_user(p, &at, &headers[n]);)
        n++;
    out->headers = headers;
    out->header_count = n;
    /* What an answer says of itself. The properties stay, so that they come through as they were.
     */
    for (uint32_t i = 0; i < n; i++) {
        if (pl_bytes_equal(headers[i].name, PL_BYTES(MQTT_ERROR)) && !out->error.len)
            out->error = headers[i].value;
        else if (pl_bytes_equal(headers[i].name, PL_BYTES(MQTT_PROGRESS)))
            out->is_progress = pl_bytes_equal(headers[i].value, PL_BYTES("true"));
    }
    return PL_OK;
}

enum pl_err pl_mqtt_take_properties(struct pl_arena *arena, const struct mqtt_properties *p,
    uint64_t now_ms, uint32_t user_properties_max, struct pl_message *draft, uint8_t *out_reason)
{
    if (!p->present && !p->user_count)
        return PL_OK;
    if (p->user_count > user_properties_max) {
        *out_reason = MQTT_QUOTA_EXCEEDED;
        return PL_LIMIT;
    }
    *out_reason = MQTT_UNSPECIFIED_ERROR;
    if (MQTT_HAS(p, response_topic)) {
        enum pl_err err = pl_mqtt_topic_decode(arena, p->response_topic, &draft->reply);
        *out_reason = err == PL_NO_MEMORY ? MQTT_UNSPECIFIED_ERROR : MQTT_PROTOCOL_ERROR;
        if (err)
            return err;
    }
    if (MQTT_HAS(p, payload_format) && p->payload_format) {
        if (!pl_utf8_is_valid(draft->payload)) {
            *out_reason = MQTT_PAYLOAD_FORMAT_INVALID;
            return PL_MALFORMED;
        }
        draft->format = PL_FORMAT_TEXT;
    }
    if (!MQTT_HAS(p, message_expiry) && !MQTT_HAS(p, content_type) && !MQTT_HAS(p, correlation) &&
        !p->user_count)
        return PL_OK;
    struct pl_properties *out = pl_arena_zalloc(arena, sizeof *out);
    if (!out || (p->user_count && take_headers(arena, p, out)))
        return PL_NO_MEMORY;
    if (MQTT_HAS(p, content_type))
        out->content_type = p->content_type;
    if (MQTT_HAS(p, correlation))
        out->correlation = p->correlation;
    out->expires_ms =
        MQTT_HAS(p, message_expiry) ? now_ms + (uint64_t)p->message_expiry * 1000 : PL_NEVER;
    draft->properties = out;
    return PL_OK;
}
