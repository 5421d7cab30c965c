#include "core/message_record.h"

#include "core/audience.h"

enum {
    RECORD_VERSION = 1,
    FLAG_RETAIN = 1,
    FLAG_GRANTS_REPLY = 2,
    FLAG_PROPERTIES = 4,
    FLAG_FROM = 8,
    FLAG_TRUST = 16,
    FLAG_AUDIENCE = 32,
    FLAG_PROGRESS = 64,
    FLAG_NOTE = 128,
    LIST_MAX = 1 << 20,
};

static void write_u64(struct pl_writer *w, uint64_t v)
{
    uint8_t *at = pl_writer_room(w, 8);
    if (at)
        pl_put_u64(at, v);
}

static void write_text(struct pl_writer *w, struct pl_bytes bytes)
{
    pl_write_u32(w, (uint32_t)bytes.len);
    pl_write_bytes(w, bytes);
}

static uint8_t flags_of(const struct pl_message *m)
{
    const struct pl_properties *p = m->properties;
    uint8_t flags =
        (uint8_t)((m->retain ? FLAG_RETAIN : 0) | (m->grants_reply ? FLAG_GRANTS_REPLY : 0) |
                  (m->is_note ? FLAG_NOTE : 0));
    if (!p)
        return flags;
    flags |= FLAG_PROPERTIES;
    if (p->from)
        flags |= (uint8_t)(FLAG_FROM | (p->from->has_trust ? FLAG_TRUST : 0));
    if (p->audience)
        flags |= FLAG_AUDIENCE;
    return (uint8_t)(flags | (p->is_progress ? FLAG_PROGRESS : 0));
}

static void write_audience(struct pl_writer *w, const struct pl_audience *audience)
{
    pl_write_u32(w, audience->count);
    for (uint32_t i = 0; i < audience->count; i++) {
        const struct pl_audience_list *list = &audience->lists[i];
        pl_write_u8(w, list->kind);
        pl_write_u8(w, list->is_excluded);
        write_text(w, list->name);
        /* Sessions of a process that is gone are nobody. */
        uint32_t count = list->texts ? list->count : 0;
        pl_write_u32(w, count);
        for (uint32_t j = 0; j < count; j++)
            write_text(w, list->texts[j]);
    }
}

static void write_properties(
    struct pl_writer *w, const struct pl_properties *p, const struct pl_times *now)
{
    uint64_t expires = PL_NEVER;
    if (p->expires_ms != PL_NEVER)
        expires = now->unix_ms +
                  (p->expires_ms > now->monotonic_ms ? p->expires_ms - now->monotonic_ms : 0);
    write_u64(w, expires);
    write_text(w, p->content_type);
    write_text(w, p->correlation);
    write_text(w, p->error);
    pl_write_u32(w, p->header_count);
    for (uint32_t i = 0; i < p->header_count; i++) {
        write_text(w, p->headers[i].name);
        write_text(w, p->headers[i].value);
    }
    if (p->from) {
        write_text(w, p->from->user);
        write_text(w, p->from->role);
        pl_write_u32(w, p->from->trust);
    }
    if (p->audience)
        write_audience(w, p->audience);
}

void pl_message_write(struct pl_writer *w, const struct pl_message *m, const struct pl_times *now)
{
    pl_write_u8(w, RECORD_VERSION);
    pl_write_u8(w, flags_of(m));
    pl_write_u8(w, m->format);
    pl_write_u8(w, m->qos);
    pl_write_u8(w, m->hops);
    write_u64(w, m->time_unix_ms);
    write_u64(w, m->offset);
    write_text(w, m->subject);
    write_text(w, m->reply);
    write_text(w, m->payload);
    if (m->properties)
        write_properties(w, m->properties, now);
}

/* ---- back ---- */

struct reader {
    struct pl_bytes rest;
    struct pl_arena arena;
    enum pl_err err;
};

static struct pl_bytes take(struct reader *r, size_t len)
{
    if (len > r->rest.len) {
        r->err = r->err ? r->err : PL_MALFORMED;
        return PL_NO_BYTES;
    }
    struct pl_bytes out = pl_bytes_of(r->rest.data, len);
    r->rest = pl_bytes_from(r->rest, len);
    return out;
}

static uint8_t read_u8(struct reader *r)
{
    struct pl_bytes b = take(r, 1);
    return b.len ? b.data[0] : 0;
}

static uint32_t read_u32(struct reader *r)
{
    struct pl_bytes b = take(r, 4);
    return b.len ? (uint32_t)b.data[0] << 24 | (uint32_t)b.data[1] << 16 |
                       (uint32_t)b.data[2] << 8 | b.data[3]
                 : 0;
}

static uint64_t read_u64(struct reader *r)
{
    struct pl_bytes b = take(r, 8);
    return b.len ? pl_get_u64(b.data) : 0;
}

static struct pl_bytes read_text(struct reader *r)
{
    uint32_t len = read_u32(r);
    return take(r, len);
}

/* An array for as many elements as may really follow. NULL: none, or an error. */
static void *read_array(struct reader *r, uint32_t *out_count, size_t size, size_t bytes_min)
{
    uint32_t count = read_u32(r);
    *out_count = 0;
    if (r->err || !count)
        return NULL;
    if (count > LIST_MAX || count > r->rest.len / bytes_min) {
        r->err = PL_MALFORMED;
        return NULL;
    }
    void *array = pl_arena_zalloc(&r->arena, count * size);
    if (!array)
        r->err = PL_NO_MEMORY;
    else
        *out_count = count;
    return array;
}

static const struct pl_audience *read_audience(struct reader *r)
{
    struct pl_audience *a = pl_arena_zalloc(&r->arena, sizeof *a);
    if (!a) {
        r->err = PL_NO_MEMORY;
        return NULL;
    }
    struct pl_audience_list *lists = read_array(r, &a->count, sizeof *lists, 10);
    a->lists = lists;
    for (uint32_t i = 0; i < a->count && !r->err; i++) {
        struct pl_audience_list *list = &lists[i];
        list->kind = read_u8(r);
        list->is_excluded = read_u8(r) != 0;
        list->name = read_text(r);
        struct pl_bytes *texts = read_array(r, &list->count, sizeof *texts, 4);
        for (uint32_t j = 0; j < list->count; j++)
            texts[j] = read_text(r);
        list->texts = texts;
        if (list->kind > PL_AUDIENCE_ATTRIBUTE)
            r->err = PL_MALFORMED;
    }
    return a;
}

static void read_properties(
    struct reader *r, uint8_t flags, const struct pl_times *now, struct pl_properties *p)
{
    uint64_t expires = read_u64(r);
    p->expires_ms = PL_NEVER;
    if (expires != PL_NEVER)
        p->expires_ms = now->monotonic_ms + (expires > now->unix_ms ? expires - now->unix_ms : 0);
    p->content_type = read_text(r);
    p->correlation = read_text(r);
    p->error = read_text(r);
    p->is_progress = flags & FLAG_PROGRESS;
    struct pl_header *headers = read_array(r, &p->header_count, sizeof *headers, 8);
    for (uint32_t i = 0; i < p->header_count; i++) {
        headers[i].name = read_text(r);
        headers[i].value = read_text(r);
    }
    p->headers = headers;
    if (flags & FLAG_FROM) {
        struct pl_author *from = pl_arena_zalloc(&r->arena, sizeof *from);
        if (!from) {
            r->err = PL_NO_MEMORY;
            return;
        }
        from->user = read_text(r);
        from->role = read_text(r);
        from->trust = read_u32(r);
        from->has_trust = flags & FLAG_TRUST;
        p->from = from;
    }
    if (flags & FLAG_AUDIENCE)
        p->audience = read_audience(r);
}

enum pl_err pl_message_read(
    struct pl_bytes bytes, const struct pl_times *now, struct pl_message **out_message)
{
    struct reader r = {.rest = bytes};
    struct pl_message draft = {0};
    struct pl_properties properties = {0};
    uint8_t version = read_u8(&r);
    uint8_t flags = read_u8(&r);
    draft.retain = flags & FLAG_RETAIN;
    draft.grants_reply = flags & FLAG_GRANTS_REPLY;
    draft.is_note = flags & FLAG_NOTE;
    draft.format = read_u8(&r);
    draft.qos = read_u8(&r);
    draft.hops = read_u8(&r);
    draft.time_unix_ms = read_u64(&r);
    draft.offset = read_u64(&r);
    draft.subject = read_text(&r);
    draft.reply = read_text(&r);
    draft.payload = read_text(&r);
    if (!r.err && flags & FLAG_PROPERTIES) {
        read_properties(&r, flags, now, &properties);
        draft.properties = &properties;
    }
    if (!r.err &&
        (version != RECORD_VERSION || draft.format > PL_FORMAT_LAST || draft.qos > 2 || r.rest.len))
        r.err = PL_MALFORMED;
    struct pl_message *kept = r.err ? NULL : pl_message_keep(&draft);
    if (!r.err && !kept)
        r.err = PL_NO_MEMORY;
    pl_message_done(&draft);
    pl_arena_done(&r.arena);
    if (!r.err)
        *out_message = kept;
    return r.err;
}
