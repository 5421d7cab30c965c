#include "base/output.h"

#include "base/alloc.h"
#include "base/text.h"

enum { SPILL_FIRST = 256 };

void pl_output_init(struct pl_output *out, struct pl_output_pool *pool, size_t bytes_max)
{
    *out = (struct pl_output){.pool = pool, .bytes_max = bytes_max};
}

static void leave_dirty(struct pl_output *out)
{
    if (!out->is_dirty)
        return;
    for (struct pl_output **at = &out->pool->dirty; *at; at = &(*at)->next_dirty)
        if (*at == out) {
            *at = out->next_dirty;
            break;
        }
    out->is_dirty = false;
}

void pl_output_done(struct pl_output *out)
{
    if (!out->pool)
        return;
    leave_dirty(out);
    out->pool->bytes -= out->bytes;
    out->bytes = 0;
    while (out->head) {
        struct pl_chunk *chunk = out->head;
        out->head = chunk->next;
        pl_chunk_free(out->pool, chunk);
    }
    out->tail = NULL;
    out->closed = true;
}

static void free_chain(struct pl_chunk *chunk)
{
    while (chunk) {
        struct pl_chunk *next = chunk->next;
        pl_free(chunk);
        chunk = next;
    }
}

void pl_output_pool_done(struct pl_output_pool *pool)
{
    for (int i = 0; i < PL_CHUNK_SIZES; i++)
        free_chain(pool->free[i]);
    *pool = (struct pl_output_pool){0};
}

static const uint32_t chunk_caps[PL_CHUNK_SIZES] = {PL_CHUNK_TINY, PL_CHUNK_SMALL, PL_CHUNK_LARGE};
/* So many of each size wait to be used again: about 1, 1 and 4 MiB. */
static const uint32_t free_count_max[PL_CHUNK_SIZES] = {4096, 512, 128};

struct pl_chunk *pl_chunk_new(struct pl_output_pool *pool, size_t room)
{
    int i = 0;
    while (i < PL_CHUNK_SIZES && chunk_caps[i] < room)
        i++;
    struct pl_chunk *chunk;
    size_t cap = i < PL_CHUNK_SIZES ? chunk_caps[i] : room;
    if (i < PL_CHUNK_SIZES && pool->free[i]) {
        chunk = pool->free[i];
        pool->free[i] = chunk->next;
        pool->free_count[i]--;
    } else {
        chunk = cap <= UINT32_MAX - sizeof *chunk ? pl_alloc(sizeof *chunk + cap) : NULL;
    }
    if (!chunk)
        return NULL;
    chunk->next = NULL;
    chunk->shared = NULL;
    chunk->data = chunk->bytes;
    chunk->len = 0;
    chunk->room = chunk->cap = (uint32_t)cap;
    return chunk;
}

void pl_chunk_free(struct pl_output_pool *pool, struct pl_chunk *chunk)
{
    if (chunk->shared) {
        pl_shared_unref(chunk->shared);
        pl_free(chunk);
        return;
    }
    for (int i = 0; i < PL_CHUNK_SIZES; i++)
        if (chunk->cap == chunk_caps[i] && pool->free_count[i] < free_count_max[i]) {
            chunk->next = pool->free[i];
            pool->free[i] = chunk;
            pool->free_count[i]++;
            return;
        }
    pl_free(chunk);
}

static void link_chunk(struct pl_output *out, struct pl_chunk *chunk)
{
    if (out->tail)
        out->tail->next = chunk;
    else
        out->head = chunk;
    out->tail = chunk;
}

void pl_output_touch(struct pl_output *out)
{
    if (!out->is_dirty) {
        out->is_dirty = true;
        out->next_dirty = out->pool->dirty;
        out->pool->dirty = out;
    }
}

static void account(struct pl_output *out, size_t n)
{
    out->bytes += n;
    out->pool->bytes += n;
    pl_output_touch(out);
}

enum pl_err pl_output_append(struct pl_output *out, struct pl_bytes bytes)
{
    if (out->closed || !bytes.len)
        return PL_OK;
    struct pl_chunk *tail = out->tail;
    if (!tail || tail->room < bytes.len) {
        /* Each chunk behind another is larger: an answer is short, a stream is not. */
        size_t room = !tail || tail->shared        ? bytes.len
                      : tail->cap <= PL_CHUNK_TINY ? PL_CHUNK_SMALL
                                                   : PL_CHUNK_LARGE;
        if (room < bytes.len)
            room = bytes.len;
        tail = pl_chunk_new(out->pool, room);
        if (!tail)
            return PL_NO_MEMORY;
        link_chunk(out, tail);
    }
    memcpy(tail->bytes + (tail->cap - tail->room), bytes.data, bytes.len);
    tail->len += (uint32_t)bytes.len;
    tail->room -= (uint32_t)bytes.len;
    account(out, bytes.len);
    return PL_OK;
}

enum pl_err pl_output_append_shared(
    struct pl_output *out, struct pl_shared *buffer, struct pl_bytes bytes)
{
    if (bytes.len < PL_BY_REFERENCE)
        return pl_output_append(out, bytes);
    if (out->closed)
        return PL_OK;
    struct pl_chunk *chunk = pl_alloc(sizeof *chunk);
    if (!chunk)
        return PL_NO_MEMORY;
    *chunk = (struct pl_chunk){
        .shared = pl_shared_ref(buffer), .data = bytes.data, .len = (uint32_t)bytes.len};
    link_chunk(out, chunk);
    account(out, bytes.len);
    return PL_OK;
}

struct pl_chunk *pl_output_take(struct pl_output *out)
{
    struct pl_chunk *head = out->head;
    out->head = out->tail = NULL;
    return head;
}

void pl_output_sent(struct pl_output *out, size_t n)
{
    PL_ASSERT(n <= out->bytes);
    out->bytes -= n;
    out->pool->bytes -= n;
}

void pl_chunk_advance(struct pl_output_pool *pool, struct pl_chunk **head, size_t n)
{
    while (*head && n >= (*head)->len) {
        struct pl_chunk *spent = *head;
        n -= spent->len;
        *head = spent->next;
        pl_chunk_free(pool, spent);
        if (!n)
            return;
    }
    if (n) {
        PL_ASSERT(*head);
        (*head)->data += n;
        (*head)->len -= (uint32_t)n;
    }
}

struct pl_output *pl_output_pool_next_dirty(struct pl_output_pool *pool)
{
    struct pl_output *out = pool->dirty;
    if (!out)
        return NULL;
    pool->dirty = out->next_dirty;
    out->next_dirty = NULL;
    out->is_dirty = false;
    return out;
}

/* Where a writer without room stands: data is never NULL, so that adding 0 to it is defined. */
static uint8_t nowhere[1];

struct pl_writer pl_writer_begin(struct pl_output *out)
{
    struct pl_chunk *tail = out->tail;
    struct pl_writer w = {.out = out, .data = nowhere};
    if (tail && tail->room) {
        w.data = tail->bytes + (tail->cap - tail->room);
        w.cap = tail->room;
    }
    return w;
}

struct pl_writer pl_writer_new(void)
{
    return (struct pl_writer){.data = nowhere};
}

struct pl_writer pl_writer_reuse(struct pl_shared **buffer)
{
    struct pl_shared *old = *buffer;
    *buffer = NULL;
    if (!old || !pl_shared_is_mine(old)) {
        pl_shared_unref(old);
        return pl_writer_new();
    }
    return (struct pl_writer){.spill = old, .data = old->data, .cap = old->cap};
}

uint8_t *pl_writer_reserve(struct pl_writer *w, size_t n)
{
    if (w->err)
        return NULL;
    size_t need = w->len + n;
    if (need > w->cap) {
        size_t cap = w->cap < SPILL_FIRST ? SPILL_FIRST : w->cap * 2;
        if (cap < need)
            cap = need;
        struct pl_shared *bigger = pl_shared_new(cap);
        if (!bigger) {
            w->err = PL_NO_MEMORY;
            w->cap = w->len; /* so that the quick path comes here too */
            return NULL;
        }
        if (w->len)
            memcpy(bigger->data, w->data, w->len);
        pl_shared_unref(w->spill);
        w->spill = bigger;
        w->data = bigger->data;
        w->cap = cap;
    }
    uint8_t *at = w->data + w->len;
    w->len = need;
    return at;
}

enum pl_err pl_writer_end(struct pl_writer *w)
{
    enum pl_err err = w->err;
    if (!err && w->spill) {
        w->spill->len = (uint32_t)w->len;
        err = pl_output_append_shared(w->out, w->spill, pl_bytes_of(w->data, w->len));
    } else if (!err && w->len && !w->out->closed) {
        struct pl_chunk *tail = w->out->tail;
        tail->len += (uint32_t)w->len;
        tail->room -= (uint32_t)w->len;
        account(w->out, w->len);
    }
    pl_shared_unref(w->spill);
    *w = (struct pl_writer){.out = w->out};
    return err;
}

enum pl_err pl_writer_take(struct pl_writer *w, struct pl_shared **out_buffer)
{
    if (!w->err && !w->spill) {
        w->spill = pl_shared_new(1);
        if (!w->spill)
            w->err = PL_NO_MEMORY;
    }
    enum pl_err err = w->err;
    if (err) {
        pl_shared_unref(w->spill);
    } else {
        w->spill->len = (uint32_t)w->len;
        *out_buffer = w->spill;
    }
    *w = (struct pl_writer){0};
    return err;
}

void pl_write_decimal(struct pl_writer *w, uint64_t v)
{
    char text[PL_DECIMAL_MAX];
    size_t len = pl_format_decimal(text, v);
    pl_write_bytes(w, pl_bytes_of(text, len));
}
