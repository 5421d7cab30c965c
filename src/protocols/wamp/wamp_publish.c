/*
 * PUBLISH: whom it is for, what travels beside the arguments, and its answer.
 */
#include "protocols/wamp/wamp_session.h"

/* ---- Lists ---- */

struct audience_name {
    const char *option, *attribute; /* attribute NULL: the kind says it */
    uint8_t kind;
};

static bool starts(struct pl_bytes text, const char *head)
{
    return pl_bytes_starts(text, pl_bytes_text(head));
}

/* exclude, eligible, exclude_authid … and any other detail of a session; false: another option. */
static bool read_list_name(struct pl_bytes key, struct pl_audience_list *out)
{
    static const char black[] = "exclude", white[] = "eligible";
    out->is_excluded = starts(key, black);
    if (!out->is_excluded && !starts(key, white))
        return false;
    struct pl_bytes rest =
        pl_bytes_from(key, out->is_excluded ? sizeof black - 1 : sizeof white - 1);
    out->kind = PL_AUDIENCE_ID;
    if (!rest.len)
        return true;
    if (rest.data[0] != '_' || pl_bytes_equal(rest, PL_BYTES("_me")))
        return false;
    out->name = pl_bytes_from(rest, 1);
    out->kind = pl_bytes_equal(out->name, PL_BYTES("authid"))     ? PL_AUDIENCE_USER
                : pl_bytes_equal(out->name, PL_BYTES("authrole")) ? PL_AUDIENCE_ROLE
                                                                  : PL_AUDIENCE_ATTRIBUTE;
    return true;
}

/* What is of another type than the list's is skipped. */
static enum pl_err read_list(struct pl_arena *arena, const struct pl_value *value,
    struct pl_audience_list *list, uint32_t *io_left)
{
    struct pl_items items = pl_value_items(value);
    struct pl_value item;
    uint64_t *ids = pl_arena_alloc(arena, (items.count + 1) * sizeof *ids);
    struct pl_bytes *texts = pl_arena_alloc(arena, (items.count + 1) * sizeof *texts);
    if (!ids || !texts)
        return PL_NO_MEMORY;
    if (items.count > *io_left)
        return PL_LIMIT;
    *io_left -= items.count;
    list->count = 0;
    while (pl_items_next(&items, NULL, &item)) {
        if (list->kind == PL_AUDIENCE_ID)
            list->count += pl_value_id(&item, &ids[list->count]);
        else if (item.kind == PL_VALUE_STRING)
            list->count += !pl_value_text(&item, arena, &texts[list->count]);
    }
    if (list->kind == PL_AUDIENCE_ID)
        list->ids = ids;
    else
        list->texts = texts;
    return PL_OK;
}

enum pl_err wamp_audience(
    struct wamp_session *s, const struct pl_value *options, const struct pl_audience **out)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct pl_items items = pl_value_items(options);
    struct pl_value key, value;
    struct pl_audience_list *lists = NULL;
    struct pl_audience *audience = NULL;
    uint32_t left = wamp_options(s->wl)->audience_max;
    *out = NULL;
    while (pl_items_next(&items, &key, &value)) {
        struct pl_audience_list list = {0};
        struct pl_bytes name;
        if (value.kind != PL_VALUE_LIST || key.kind != PL_VALUE_STRING ||
            pl_value_text(&key, arena, &name) || !read_list_name(name, &list))
            continue;
        if (!lists) {
            lists = pl_arena_alloc(arena, options->count * sizeof *lists);
            audience = pl_arena_zalloc(arena, sizeof *audience);
        }
        enum pl_err err = lists && audience ? read_list(arena, &value, &list, &left) : PL_NO_MEMORY;
        if (err)
            return err;
        audience->names_sessions |= list.kind == PL_AUDIENCE_ID;
        lists[audience->count++] = list;
        audience->lists = lists;
    }
    *out = audience;
    return PL_OK;
}

/* ---- Properties ---- */

static bool is_header(struct pl_bytes key)
{
    return (starts(key, "x_") && key.len > 2) || (starts(key, "ppt_") && key.len > 4);
}

/* A string as it is, anything else as its JSON. */
static enum pl_err header_value(
    struct pl_arena *arena, const struct pl_value *value, struct pl_bytes *out)
{
    if (value->kind == PL_VALUE_STRING)
        return pl_value_text(value, arena, out);
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_JSON);
    struct pl_shared *text;
    pl_put_value(&v, value);
    enum pl_err err = pl_writer_take(&w, &text);
    if (err)
        return err;
    const char *copy = pl_arena_copy(arena, pl_bytes_of(text->data, text->len));
    *out = pl_bytes_of(copy, copy ? text->len : 0);
    pl_shared_unref(text);
    return copy ? PL_OK : PL_NO_MEMORY;
}

static enum pl_err read_headers(struct wamp_session *s, const struct pl_value *options,
    struct pl_header *headers, uint32_t *out_count)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct pl_items items = pl_value_items(options);
    struct pl_value key, value;
    uint32_t count = 0;
    while (pl_items_next(&items, &key, &value)) {
        struct pl_bytes name;
        if (key.kind != PL_VALUE_STRING || pl_value_text(&key, arena, &name) || !is_header(name))
            continue;
        if (count == wamp_options(s->wl)->headers_max)
            return PL_LIMIT;
        /* "x_trace" is the header "trace" of everyone else. */
        headers[count].name = starts(name, "x_") ? pl_bytes_from(name, 2) : name;
        enum pl_err err = header_value(arena, &value, &headers[count].value);
        if (err)
            return err;
        count++;
    }
    *out_count = count;
    return PL_OK;
}

enum pl_err wamp_properties(struct wamp_session *s, const struct pl_value *options,
    const struct wamp_extras *extras, const struct pl_properties **out)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct pl_header *headers = NULL;
    uint32_t count = 0;
    *out = NULL;
    if (options->count) {
        headers = pl_arena_alloc(arena, options->count * sizeof *headers);
        enum pl_err err = headers ? read_headers(s, options, headers, &count) : PL_NO_MEMORY;
        if (err)
            return err;
    }
    if (!count && !extras->error.len && !extras->is_progress && !extras->audience && !extras->from)
        return PL_OK;
    struct pl_properties *p = pl_arena_alloc(arena, sizeof *p);
    if (!p)
        return PL_NO_MEMORY;
    *p = (struct pl_properties){
        .headers = headers,
        .header_count = count,
        .expires_ms = PL_NEVER,
        .error = extras->error,
        .is_progress = extras->is_progress,
        .audience = extras->audience,
        .from = extras->from,
    };
    *out = p;
    return PL_OK;
}

void wamp_put_headers(struct pl_value_writer *v, const struct pl_properties *p)
{
    char name[64] = "x_";
    for (uint32_t i = 0; p && i < p->header_count; i++) {
        const struct pl_header *h = &p->headers[i];
        if (starts(h->name, "ppt_")) {
            pl_put_key_bytes(v, h->name);
        } else if (h->name.len && h->name.len < sizeof name - 2) {
            memcpy(name + 2, h->name.data, h->name.len);
            pl_put_key_bytes(v, pl_bytes_of(name, h->name.len + 2));
        } else {
            continue;
        }
        pl_put_string(v, h->value);
    }
}

/* ---- PUBLISH ---- */

/* True unless it is said to be false. */
static bool spares_publisher(const struct pl_value *options)
{
    struct pl_value value;
    return !pl_value_find(options, "exclude_me", &value) || value.kind != PL_VALUE_BOOL ||
           value.boolean;
}

static enum pl_err fill_draft(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_message *draft)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct wamp_extras extras = {0};
    struct pl_bytes uri;
    enum pl_err err = pl_value_text(&m->text, arena, &uri);
    if (!err)
        err = wamp_uri_decode(arena, uri, wamp_options(s->wl)->strict_uri, &draft->subject);
    if (!err)
        err = wamp_audience(s, &m->details, &extras.audience);
    if (err)
        return err;
    if (pl_value_flag(&m->details, "disclose_me")) {
        struct pl_author *author = pl_arena_alloc(arena, sizeof *author);
        if (!wamp_options(s->wl)->allow_disclose || !s->core.identity->may_disclose)
            return PL_UNSUPPORTED;
        if (!author || pl_session_author(&s->core, arena, true, author))
            return PL_NO_MEMORY;
        extras.from = author;
    }
    return wamp_properties(s, &m->details, &extras, &draft->properties);
}

enum pl_err wamp_on_publish(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer)
{
    bool is_acknowledged = pl_value_flag(&m->details, "acknowledge");
    struct pl_message draft = {
        .payload = m->payload,
        .format = (uint8_t)(PL_FORMAT_ARGUMENTS + m->serializer),
        .spares_publisher = m->details.count ? spares_publisher(&m->details) : true,
        .retain = m->details.count && pl_value_flag(&m->details, "retain"),
    };
    enum pl_err err = wamp_authorize(s, m, "publish", is_acknowledged);
    if (err)
        return err == PL_DENIED || err == PL_NEED_MORE ? PL_OK : err;
    err = fill_draft(s, m, &draft);
    if (!err) {
        (void)pl_session_publish(
            &s->core, &draft, buffer, is_acknowledged ? PL_WANT_DONE : 0, m->ids[0]);
        return PL_OK; /* what went wrong is told by the completion, if anyone wants to know */
    }
    if (!is_acknowledged)
        return PL_OK;
    if (err == PL_UNSUPPORTED)
        wamp_send_error(
            s->wl, PL_WAMP_PUBLISH, m->ids[0], "wamp.error.option_disallowed.disclose_me", NULL);
    else
        wamp_send_err(s->wl, PL_WAMP_PUBLISH, m->ids[0], err);
    return PL_OK;
}

void wamp_on_published(struct wamp_session *s, const struct pl_completion *done)
{
    if (!s->wl)
        return;
    if (done->err)
        wamp_send_err(s->wl, PL_WAMP_PUBLISH, done->token, done->err);
    else
        wamp_send_ids(s->wl, PL_WAMP_PUBLISHED, done->token, done->id);
}
