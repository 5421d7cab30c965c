/* What the meta procedures are given and what they tell. */
#include <stdio.h>
#include <time.h>

#include "protocols/wamp/wamp_meta_state.h"

/* ---- Arguments ---- */

void meta_fail(struct meta_call *call, const char *uri, const char *text)
{
    call->error = uri;
    call->text = text;
}

bool meta_argument(const struct meta_call *call, uint32_t index, struct pl_value *out)
{
    struct pl_items items = pl_value_items(&call->args);
    if (items.is_dict)
        return false;
    do {
        if (!pl_items_next(&items, NULL, out))
            return false;
    } while (index--);
    return true;
}

bool meta_argument_id(struct meta_call *call, uint32_t index, uint64_t *out)
{
    struct pl_value value;
    if (meta_argument(call, index, &value) && pl_value_id(&value, out))
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "an id is missing");
    return false;
}

bool meta_argument_text(struct meta_call *call, uint32_t index, struct pl_bytes *out)
{
    struct pl_value value;
    if (meta_argument(call, index, &value) && value.kind == PL_VALUE_STRING &&
        !pl_value_text(&value, call->arena, out))
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "a string is missing");
    return false;
}

bool meta_keyword(const struct meta_call *call, const char *name, struct pl_value *out)
{
    return pl_value_find(&call->kwargs, name, out) && out->kind != PL_VALUE_NULL;
}

bool meta_keyword_text(struct meta_call *call, const char *name, struct pl_bytes *out)
{
    struct pl_value value;
    *out = PL_NO_BYTES;
    if (!meta_keyword(call, name, &value))
        return true;
    if (value.kind == PL_VALUE_STRING && !pl_value_text(&value, call->arena, out))
        return true;
    meta_fail(call, "wamp.error.invalid_argument", "a keyword is no string");
    return false;
}

/* ---- Time ---- */

void meta_format_time(uint64_t unix_ms, char out[META_TIME_MAX])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc = {0};
    char date[META_TIME_MAX - 8];
    gmtime_r(&seconds, &utc);
    if (!strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc))
        date[0] = 0;
    snprintf(out, META_TIME_MAX, "%s.%03uZ", date, (unsigned)(unix_ms % 1000));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "+02:00" in minutes. */
static bool parse_zone(const char *at, int *out_minutes)
{
    *out_minutes = 0;
    if ((at[0] == 'Z' || at[0] == 'z') && !at[1])
        return true;
    if ((at[0] != '+' && at[0] != '-') || strlen(at) != 6 || at[3] != ':' || !is_digit(at[1]) ||
        !is_digit(at[2]) || !is_digit(at[4]) || !is_digit(at[5]))
        return false;
    int hours = (at[1] - '0') * 10 + (at[2] - '0'), minutes = (at[4] - '0') * 10 + (at[5] - '0');
    if (hours > 23 || minutes > 59)
        return false;
    *out_minutes = (at[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

enum pl_err meta_parse_time(struct pl_bytes text, uint64_t *out_unix_ms)
{
    char copy[META_TIME_MAX + 16];
    struct tm utc = {0};
    if (!text.len || text.len >= sizeof copy || memchr(text.data, 0, text.len))
        return PL_MALFORMED;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    const char *at = strptime(copy, "%Y-%m-%dT%H:%M:%S", &utc);
    if (!at)
        return PL_MALFORMED;
    unsigned ms = 0, scale = 100;
    if (*at == '.') {
        if (!is_digit(*++at))
            return PL_MALFORMED;
        for (; is_digit(*at); at++, scale /= 10)
            ms += (unsigned)(*at - '0') * scale;
    }
    int zone;
    if (!parse_zone(at, &zone))
        return PL_MALFORMED;
    int64_t seconds = (int64_t)timegm(&utc) - (int64_t)zone * 60;
    if (seconds < 0)
        return PL_MALFORMED;
    *out_unix_ms = (uint64_t)seconds * 1000 + ms;
    return PL_OK;
}

/* ---- Sessions ---- */

static struct pl_value read_card(const struct pl_shared *card)
{
    struct pl_value dict = {.kind = PL_VALUE_NULL};
    size_t used;
    if (pl_value_read(PL_SERIAL_MSGPACK, pl_bytes_of(card->data, card->len), &dict, &used))
        dict.kind = PL_VALUE_NULL;
    return dict;
}

struct pl_bytes meta_card_text(
    const struct meta_session *session, const char *key, struct pl_arena *arena)
{
    struct pl_value card = read_card(session->card), value;
    struct pl_bytes text;
    if (!pl_value_find(&card, key, &value) || value.kind != PL_VALUE_STRING ||
        pl_value_text(&value, arena, &text))
        return PL_NO_BYTES;
    return text;
}

static bool is_told(const struct pl_wamp_meta *meta, const struct pl_value *key)
{
    static const char *const standard[] = {
        "session", "authid", "authrole", "authmethod", "authprovider", "transport"};
    if (!meta->options.is_strict)
        return true;
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        if (pl_value_is(key, standard[i]))
            return true;
    for (uint32_t i = 0; i < meta->options.detail_count; i++)
        if (pl_value_is(key, meta->options.details[i]))
            return true;
    return false;
}

void meta_put_card(
    const struct pl_wamp_meta *meta, struct pl_value_writer *v, const struct pl_shared *card)
{
    struct pl_value dict = read_card(card), key, value;
    struct pl_items items = pl_value_items(&dict);
    struct pl_arena arena = {0};
    struct pl_bytes name;
    pl_put_dict(v);
    while (pl_items_next(&items, &key, &value))
        if (is_told(meta, &key) && !pl_value_text(&key, &arena, &name)) {
            pl_put_key_bytes(v, name);
            pl_put_value(v, &value);
        }
    pl_put_end(v);
    pl_arena_done(&arena);
}

/* ---- Topics ---- */

static const char *invoke_name(uint8_t invoke)
{
    static const char *const names[] = {
        [PL_INVOKE_SINGLE] = "single",
        [PL_INVOKE_ROUNDROBIN] = "roundrobin",
        [PL_INVOKE_RANDOM] = "random",
        [PL_INVOKE_FIRST] = "first",
        [PL_INVOKE_LAST] = "last",
    };
    return names[invoke];
}

void meta_put_topic(struct pl_value_writer *v, const struct meta_topic *topic, bool is_registration)
{
    struct pl_arena arena = {0};
    struct pl_bytes uri;
    char created[META_TIME_MAX];
    meta_format_time(topic->created_unix_ms, created);
    if (wamp_pattern_encode(&arena, topic->pattern, &uri)) {
        v->w->err = PL_NO_MEMORY;
    } else {
        pl_put_dict(v);
        pl_put_key(v, "id");
        pl_put_natural(v, topic->id);
        pl_put_key(v, "created");
        pl_put_text(v, created);
        pl_put_key(v, "uri");
        pl_put_string(v, uri);
        pl_put_key(v, "match");
        pl_put_text(v, wamp_match_name(wamp_match_of(topic->pattern)));
        if (is_registration) {
            pl_put_key(v, "invoke");
            pl_put_text(v, invoke_name(topic->invoke));
        }
        pl_put_end(v);
    }
    pl_arena_done(&arena);
}

/* ---- Events ---- */

void meta_event_begin(struct meta_event *event)
{
    event->w = pl_writer_new();
    event->v = pl_value_writer(&event->w, PL_SERIAL_MSGPACK);
    pl_put_list(&event->v);
}

/* Everyone but one. */
static const struct pl_audience *all_but(struct pl_arena *arena, uint64_t spared)
{
    struct pl_audience *audience = pl_arena_zalloc(arena, sizeof *audience);
    struct pl_audience_list *list = pl_arena_zalloc(arena, sizeof *list);
    uint64_t *id = pl_arena_alloc(arena, sizeof *id);
    if (!audience || !list || !id)
        return NULL;
    *id = spared;
    *list = (struct pl_audience_list){
        .kind = PL_AUDIENCE_ID, .is_excluded = true, .count = 1, .ids = id};
    *audience = (struct pl_audience){.lists = list, .count = 1, .names_sessions = true};
    return audience;
}

void meta_event_end(
    struct pl_wamp_meta *meta, struct meta_event *event, const char *topic, uint64_t spared)
{
    struct pl_shared *payload;
    pl_put_end(&event->v);
    if (pl_writer_take(&event->w, &payload)) {
        pl_count(&meta->session.worker->counters.dropped_no_memory, 1);
        return;
    }
    struct pl_arena *arena = pl_session_arena(&meta->session);
    struct pl_properties *properties = NULL;
    if (spared) {
        properties = pl_arena_zalloc(arena, sizeof *properties);
        if (properties) {
            properties->expires_ms = PL_NEVER;
            properties->audience = all_but(arena, spared);
        }
    }
    const struct pl_message draft = {
        .subject = pl_bytes_text(topic),
        .payload = pl_bytes_of(payload->data, payload->len),
        .format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK,
        .properties = properties,
    };
    (void)pl_session_publish(&meta->session, &draft, payload, 0, 0);
    pl_shared_unref(payload);
}

void meta_tell(
    struct meta_call *call, uint64_t to, enum pl_wamp_word kind, struct pl_writer *word_moved)
{
    struct pl_shared *bytes;
    if (pl_writer_take(word_moved, &bytes)) {
        meta_fail(call, "wamp.error.unavailable", "out of memory");
        return;
    }
    const struct pl_word word = {.kind = kind, .bytes = pl_bytes_of(bytes->data, bytes->len)};
    pl_session_tell(&call->meta->session, to, &word);
    pl_shared_unref(bytes);
}
