#include "core/batch.h"

#include "base/alloc.h"

enum { FREE_BATCHES_MAX = 8, ARRAY_FIRST = 64, KEPT_MAX = 4096 };

/* Doubles an array until it holds `need` elements. */
static bool grow(void *array_address, uint32_t *cap, uint32_t need, size_t element)
{
    if (need <= *cap)
        return true;
    uint32_t bigger = *cap ? *cap : ARRAY_FIRST;
    while (bigger < need)
        bigger *= 2;
    void *old;
    memcpy(&old, array_address, sizeof old);
    void *array = pl_realloc(old, bigger * element);
    if (!array)
        return false;
    memcpy(array_address, &array, sizeof array);
    *cap = bigger;
    return true;
}

static void walk_post(struct pl_post *post, void *context)
{
    struct pl_batch_link *link = PL_CONTAINER(post, struct pl_batch_link, post);
    struct pl_worker *w = context;
    struct pl_batch *b = link->batch;
    pl_walk_batch(w, b);
    pl_batch_release(b, w);
}

static struct pl_batch *new_batch(struct pl_worker *w, uint32_t link_count)
{
    struct pl_batch *b = pl_zalloc(sizeof *b + link_count * sizeof *b->links);
    if (!b)
        return NULL;
    b->worker = w;
    b->link_count = link_count;
    for (uint32_t i = 0; i < link_count; i++)
        b->links[i] = (struct pl_batch_link){.post.run = walk_post, .batch = b};
    return b;
}

struct pl_batch *pl_batch_open(struct pl_worker *w, struct pl_realm *realm)
{
    for (struct pl_batch *b = w->open; b; b = b->next)
        if (b->realm == realm)
            return b;
    uint32_t link_count = pl_realm_worker_count(realm);
    struct pl_batch *b = w->free_batches;
    if (b && b->link_count == link_count) {
        w->free_batches = b->next;
        w->free_batch_count--;
    } else {
        b = new_batch(w, link_count);
        if (!b)
            return NULL;
    }
    b->realm = realm;
    b->next = w->open;
    w->open = b;
    w->batches_opened++;
    return b;
}

struct pl_op *pl_batch_add_op(struct pl_batch *b, enum pl_op_kind kind, struct pl_session *session)
{
    if (!grow(&b->ops, &b->op_cap, b->op_count + 1, sizeof *b->ops))
        return NULL;
    struct pl_op *op = &b->ops[b->op_count++];
    *op = (struct pl_op){.kind = (uint8_t)kind, .session = session};
    return op;
}

void pl_op_forget(struct pl_op *op)
{
    if (op->kind == PL_OP_REPLAY) {
        struct pl_replay_job *job = op->subject;
        job->is_asked = false;
        op->kind = PL_OP_NONE;
        return;
    }
    if (op->kind == PL_OP_PUBLISH) {
        op->flags = 0;
        op->session = NULL;
        return;
    }
    if (op->kind == PL_OP_SEAT)
        pl_free(op->subject);
    if (op->kind == PL_OP_CARD)
        pl_shared_unref(op->subject);
    if (op->kind == PL_OP_READ_LOG)
        pl_pattern_unref(((struct pl_log_request *)op->subject)->pattern);
    if (op->kind == PL_OP_REGISTER) {
        struct pl_callee *callee = op->subject;
        callee->pattern = pl_pattern_unref(callee->pattern);
    }
    struct pl_subscription *sub = op->kind == PL_OP_SUBSCRIBE ? op->subject : NULL;
    if (sub && sub->job) {
        sub->job->sub = NULL;
        sub->job->is_over = true;
        sub->job = NULL;
    }
    if (sub)
        sub->pattern = pl_pattern_unref(sub->pattern);
    if (op->kind == PL_OP_IDENTITY)
        pl_identity_unref(op->subject);
    op->kind = PL_OP_NONE;
}

struct pl_message *pl_batch_add_message(struct pl_batch *b, uint32_t *out_index)
{
    if (!grow(&b->messages, &b->message_cap, b->message_count + 1, sizeof *b->messages))
        return NULL;
    if (!b->slab || b->slab_used == PL_SLAB_COUNT) {
        struct pl_slab *next = b->slab ? b->slab->next : b->slabs;
        if (!next) {
            next = pl_alloc(sizeof *next);
            if (!next)
                return NULL;
            next->next = NULL;
            if (b->slab)
                b->slab->next = next;
            else
                b->slabs = next;
        }
        b->slab = next;
        b->slab_used = 0;
    }
    struct pl_message *m = &b->slab->messages[b->slab_used++];
    *out_index = b->message_count;
    b->messages[b->message_count++] = m;
    return m;
}

enum pl_err pl_batch_add_kept(
    struct pl_batch *b, struct pl_message *kept_moved, uint32_t *out_index)
{
    if (!grow(&b->messages, &b->message_cap, b->message_count + 1, sizeof *b->messages)) {
        pl_message_unref(kept_moved);
        return PL_NO_MEMORY;
    }
    *out_index = b->message_count;
    b->messages[b->message_count++] = kept_moved;
    if (kept_moved->properties && kept_moved->properties->expires_ms != PL_NEVER)
        b->has_expiring = true;
    return PL_OK;
}

enum pl_err pl_batch_hold(struct pl_batch *b, struct pl_shared *buffer)
{
    if (b->buffer_count && b->buffers[b->buffer_count - 1] == buffer)
        return PL_OK;
    if (!grow(&b->buffers, &b->buffer_cap, b->buffer_count + 1, sizeof(struct pl_shared *)))
        return PL_NO_MEMORY;
    b->buffers[b->buffer_count++] = pl_shared_ref(buffer);
    return PL_OK;
}

enum pl_err pl_batch_reserve_items(struct pl_batch *b, uint32_t n)
{
    uint32_t need = b->item_count + b->item_promised + n;
    return grow(&b->items, &b->item_cap, need, sizeof *b->items) ? PL_OK : PL_NO_MEMORY;
}

struct pl_item *pl_batch_item(struct pl_batch *b, enum pl_item_kind kind, struct pl_worker *whom)
{
    PL_ASSERT(b->item_count < b->item_cap);
    struct pl_item *item = &b->items[b->item_count++];
    *item = (struct pl_item){.kind = (uint8_t)kind, .worker = (uint8_t)whom->index};
    b->concerned |= 1ull << whom->index;
    if (kind != PL_ITEM_PICK)
        b->open_run = 0;
    return item;
}

static void let_go(struct pl_batch *b)
{
    for (uint32_t i = 0; i < b->item_count; i++) {
        const struct pl_item *item = &b->items[i];
        if (item->kind == PL_ITEM_RUN)
            pl_match_unref(item->match);
        else if (item->kind == PL_ITEM_INVOKE)
            pl_identity_unref(item->invoke->caller);
        else if (item->kind == PL_ITEM_NOTICE)
            pl_notice_done(item->notice);
    }
    for (uint32_t i = 0; i < b->message_count; i++) {
        if (b->messages[i]->is_kept)
            pl_message_unref(b->messages[i]);
        else
            pl_message_done(b->messages[i]);
    }
    for (uint32_t i = 0; i < b->buffer_count; i++)
        pl_shared_unref(b->buffers[i]);
    b->item_count = b->message_count = b->buffer_count = b->op_count = 0;
    pl_arena_reset(&b->arena);
}

void pl_batch_free(struct pl_batch *b)
{
    if (!b)
        return;
    let_go(b);
    pl_arena_done(&b->arena);
    while (b->slabs) {
        struct pl_slab *next = b->slabs->next;
        pl_free(b->slabs);
        b->slabs = next;
    }
    pl_free(b->ops);
    pl_free(b->messages);
    pl_free(b->items);
    pl_free(b->buffers);
    pl_free(b);
}

void pl_notice_done(struct pl_notice *notice)
{
    pl_shared_unref(notice->card);
    pl_pattern_unref(notice->pattern);
}

/* A burst's arrays are given back: they would stay with the pool for good. */
static void trim_arrays(struct pl_batch *b)
{
    if (b->item_cap > KEPT_MAX) {
        pl_free(b->items);
        b->items = NULL;
        b->item_cap = 0;
    }
    if (b->op_cap > KEPT_MAX) {
        pl_free(b->ops);
        b->ops = NULL;
        b->op_cap = 0;
    }
}

static void trim_slabs(struct pl_batch *b)
{
    struct pl_slab *slab = b->slabs;
    for (uint32_t i = 1; slab && i < PL_SLABS_KEPT; i++)
        slab = slab->next;
    if (!slab)
        return;
    struct pl_slab *extra = slab->next;
    slab->next = NULL;
    while (extra) {
        struct pl_slab *next = extra->next;
        pl_free(extra);
        extra = next;
    }
}

void pl_batch_release(struct pl_batch *b, struct pl_worker *walker)
{
    if (atomic_fetch_sub_explicit(&b->walkers, 1, memory_order_acq_rel) != 1)
        return;
    if (b->bytes)
        atomic_fetch_sub_explicit(&b->worker->handed_bytes, b->bytes, memory_order_relaxed);
    b->bytes = 0;
    let_go(b);
    /* Pools are per thread: the last walker keeps it, whoever filled it. */
    if (walker->free_batch_count >= FREE_BATCHES_MAX) {
        pl_batch_free(b);
        return;
    }
    trim_slabs(b);
    trim_arrays(b);
    b->slab = NULL;
    b->slab_used = 0;
    b->open_run = 0;
    b->has_expiring = false;
    b->concerned = 0;
    b->realm = NULL;
    b->worker = walker;
    b->next = walker->free_batches;
    walker->free_batches = b;
    walker->free_batch_count++;
}
