/*
 * Replies in the order of their requests.
 *
 *     PUBLISH a 1   →  open: a number that the core will tell
 *     PUBLISH a 2   →  the same entry, count 2
 *     PING          →  "+PONG" is ready, but held behind it
 *     SUBSCRIBE x   →  its text is ready, and leaves when the core has said yes
 *
 * The core completes in the order of asking, so a completion always belongs to the first entry.
 * While nothing is open, replies are written to the output directly.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/text.h"
#include "protocols/redis/redis_session.h"

enum {
    ENTRIES_MAX = 1 << 20,  /* open replies; a turn's input cannot make nearly as many */
    HELD_KEEP = 65536,      /* bytes of a drained buffer that is kept for the next time */
    ERROR_MAX = 1024,       /* bytes of an error's text */
    UNREAD_SLACK = 1 << 20, /* bytes of replies that may wait beyond the output's limit */
};

const char pl_redis_no_permission[] =
    "NOPERM this user has no permissions to access one of the channels used as arguments";

/* Ends the connection at once, without the replies that are still held. */
static void break_off(struct pl_redis_link *link, enum pl_err why)
{
    link->is_done = link->is_broken = true;
    if (link->base.is_open)
        link->base.host->close(&link->base, why, NULL);
}

static void drop_writer(struct pl_writer *w)
{
    pl_shared_unref(w->spill);
    *w = pl_writer_new();
}

static bool is_idle(const struct pl_redis_answers *a)
{
    return a->head == a->count;
}

/* Adds an entry, or lets it grow together with the last one. False: broken off. */
static bool push_entry(
    struct pl_redis_link *link, enum pl_redis_open kind, uint32_t count, size_t len)
{
    struct pl_redis_answers *a = &link->answers;
    struct pl_redis_entry *last = is_idle(a) ? NULL : &a->entries[a->count - 1];
    if (last && last->kind == kind &&
        (kind == PL_REDIS_OPEN_PUBLISH || kind == PL_REDIS_OPEN_SILENT ||
            kind == PL_REDIS_OPEN_TEXT)) {
        last->count += count;
        last->len += len;
        return true;
    }
    if (!a->entries || a->count == a->cap) {
        uint32_t cap = a->cap ? a->cap * 2 : 16;
        struct pl_redis_entry *more =
            cap > ENTRIES_MAX ? NULL : pl_realloc(a->entries, cap * sizeof *more);
        if (!more) {
            break_off(link, PL_NO_MEMORY);
            return false;
        }
        a->entries = more;
        a->cap = cap;
    }
    PL_ASSERT(a->entries);
    a->entries[a->count++] =
        (struct pl_redis_entry){.kind = (uint8_t)kind, .count = count, .len = len};
    return true;
}

/* To the peer, or to the EXEC that is being put together. */
static void emit(struct pl_redis_link *link, struct pl_bytes bytes)
{
    struct pl_redis_answers *a = &link->answers;
    if (a->is_grouping)
        pl_write_bytes(&a->group, bytes);
    else if (pl_output_append(link->base.out, bytes))
        break_off(link, PL_NO_MEMORY);
}

static void end_group(struct pl_redis_link *link)
{
    struct pl_redis_answers *a = &link->answers;
    a->is_grouping = false;
    if (a->group.err)
        break_off(link, PL_NO_MEMORY);
    else
        emit(link, pl_bytes_of(a->group.data, a->group.len));
    drop_writer(&a->group);
}

static void finish_close(struct pl_redis_link *link)
{
    if (link->base.is_open)
        link->base.host->close(
            &link->base, link->close_why, link->close_diag.text[0] ? &link->close_diag : NULL);
}

static void pop(struct pl_redis_answers *a)
{
    a->held_at += a->entries[a->head].len;
    a->head++;
}

/* Sends what is ready up to the first open entry. */
static void flush(struct pl_redis_link *link)
{
    struct pl_redis_answers *a = &link->answers;
    while (!is_idle(a)) {
        struct pl_redis_entry *e = &a->entries[a->head];
        switch ((enum pl_redis_open)e->kind) {
        case PL_REDIS_OPEN_PUBLISH:
        case PL_REDIS_OPEN_SILENT:
            return;
        case PL_REDIS_OPEN_AWAIT:
            if (e->count)
                return;
            emit(link, pl_bytes_of(a->held.data + a->held_at, e->len));
            break;
        case PL_REDIS_OPEN_TEXT:
            emit(link, pl_bytes_of(a->held.data + a->held_at, e->len));
            break;
        case PL_REDIS_OPEN_RESP:
            link->push_resp = (uint8_t)e->count;
            break;
        case PL_REDIS_OPEN_GROUP:
            a->is_grouping = true;
            break;
        case PL_REDIS_OPEN_GROUP_END:
            end_group(link);
            break;
        case PL_REDIS_OPEN_CLOSE:
            finish_close(link);
            break;
        }
        pop(a);
    }
    a->head = a->count = 0;
    a->held_at = 0;
    if (a->held.cap > HELD_KEEP)
        drop_writer(&a->held);
    a->held.len = 0;
}

struct pl_writer *pl_redis_push(struct pl_redis_link *link)
{
    struct pl_redis_answers *a = &link->answers;
    if (is_idle(a)) {
        link->reply = pl_writer_begin(link->base.out);
        return &link->reply;
    }
    link->reply_at = a->held.len;
    return &a->held;
}

void pl_redis_pushed(struct pl_redis_link *link)
{
    struct pl_redis_answers *a = &link->answers;
    if (is_idle(a)) {
        if (pl_writer_end(&link->reply))
            break_off(link, PL_NO_MEMORY);
    } else if (a->held.err) {
        break_off(link, PL_NO_MEMORY);
    } else {
        (void)push_entry(link, PL_REDIS_OPEN_TEXT, 0, a->held.len - link->reply_at);
    }
}

void pl_redis_pushed_after(struct pl_redis_link *link, uint32_t count)
{
    struct pl_redis_answers *a = &link->answers;
    size_t len = a->held.len - link->reply_at;
    if (is_idle(a)) {
        /* It was written with the output in mind; it must wait all the same. */
        len = link->reply.len;
        pl_write_bytes(&a->held, pl_bytes_of(link->reply.data, len));
        if (link->reply.err)
            a->held.err = link->reply.err;
        drop_writer(&link->reply);
    }
    if (a->held.err)
        break_off(link, PL_NO_MEMORY);
    else
        (void)push_entry(link, PL_REDIS_OPEN_AWAIT, count, len);
}

struct pl_writer *pl_redis_reply(struct pl_redis_link *link)
{
    if (!pl_redis_is_silenced(link))
        return pl_redis_push(link);
    link->reply = pl_writer_new();
    return &link->reply;
}

void pl_redis_replied(struct pl_redis_link *link)
{
    if (pl_redis_is_silenced(link))
        drop_writer(&link->reply);
    else
        pl_redis_pushed(link);
}

void pl_redis_reply_error(struct pl_redis_link *link, const char *format, ...)
{
    char text[ERROR_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pl_resp_write_error(pl_redis_reply(link), text);
    pl_redis_replied(link);
}

void pl_redis_reply_ok(struct pl_redis_link *link)
{
    pl_resp_write_status(pl_redis_reply(link), "OK");
    pl_redis_replied(link);
}

void pl_redis_reply_help(struct pl_redis_link *link, const char *const *lines)
{
    uint64_t count = 0;
    while (lines[count])
        count++;
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_array(w, count);
    for (uint64_t i = 0; i < count; i++)
        pl_resp_write_status(w, lines[i]);
    pl_redis_replied(link);
}

void pl_redis_expect_publish(struct pl_redis_link *link, enum pl_redis_open kind)
{
    (void)push_entry(link, kind, 1, 0);
}

void pl_redis_group(struct pl_redis_link *link, enum pl_redis_open begin_or_end)
{
    (void)push_entry(link, begin_or_end, 0, 0);
    if (begin_or_end == PL_REDIS_OPEN_GROUP_END)
        flush(link);
}

void pl_redis_switch_pushes(struct pl_redis_link *link)
{
    if (is_idle(&link->answers))
        link->push_resp = link->resp;
    else
        (void)push_entry(link, PL_REDIS_OPEN_RESP, link->resp, 0);
}

void pl_redis_close(struct pl_redis_link *link, enum pl_err why, const char *text)
{
    if (link->is_done)
        return;
    link->is_done = true;
    link->close_why = why;
    if (text)
        pl_diag_set(&link->close_diag, 0, "%s", text);
    if (push_entry(link, PL_REDIS_OPEN_CLOSE, 0, 0))
        flush(link);
}

/* What a publication or a subscription that was refused is told. */
static const char *refusal(enum pl_err err)
{
    switch (err) {
    case PL_DENIED:
    case PL_BAD_NAME:
        return pl_redis_no_permission;
    case PL_TOO_LARGE:
        return "ERR message exceeds the maximum allowed size";
    case PL_LIMIT:
        return "ERR the limit of subscriptions is reached";
    case PL_NO_MEMORY:
        return "OOM command not allowed: the server is out of memory";
    default:
        return "ERR the server could not do this";
    }
}

static void emit_error(struct pl_redis_link *link, enum pl_err err)
{
    const char *text = refusal(err);
    emit(link, PL_BYTES("-"));
    emit(link, pl_bytes_text(text));
    emit(link, PL_BYTES("\r\n"));
}

/* Once per message published: no printf here. */
static void emit_count(struct pl_redis_link *link, uint32_t count)
{
    char text[PL_DECIMAL_MAX + 3] = ":";
    size_t len = 1 + pl_format_decimal(text + 1, count);
    text[len++] = '\r';
    text[len++] = '\n';
    emit(link, pl_bytes_of(text, len));
}

void pl_redis_answered(struct pl_redis_link *link, const struct pl_completion *done)
{
    struct pl_redis_answers *a = &link->answers;
    if (link->is_broken)
        return;
    PL_ASSERT(!is_idle(a));
    struct pl_redis_entry *e = &a->entries[a->head];
    PL_ASSERT(e->count && e->kind <= PL_REDIS_OPEN_AWAIT);
    e->count--;
    if (e->kind == PL_REDIS_OPEN_PUBLISH) {
        if (done->err)
            emit_error(link, done->err);
        else
            emit_count(link, done->receivers);
    } else if (done->err && e->kind == PL_REDIS_OPEN_AWAIT) {
        /* The error instead of the text, which is skipped. */
        emit_error(link, done->err);
        a->held_at += e->len;
        e->len = 0;
    }
    if (!e->count && e->kind != PL_REDIS_OPEN_AWAIT)
        pop(a);
    flush(link);
}

bool pl_redis_check_unread(struct pl_redis_link *link)
{
    const struct pl_redis_answers *a = &link->answers;
    size_t waits = link->base.out->bytes + a->held.len - a->held_at + a->group.len +
                   (a->count - a->head) * sizeof *a->entries;
    if (waits <= UNREAD_SLACK || waits - UNREAD_SLACK <= link->base.out->bytes_max)
        return true;
    break_off(link, PL_SLOW_CONSUMER);
    return false;
}

void pl_redis_answers_done(struct pl_redis_link *link)
{
    struct pl_redis_answers *a = &link->answers;
    pl_free(a->entries);
    drop_writer(&a->held);
    drop_writer(&a->group);
    *a = (struct pl_redis_answers){0};
}
