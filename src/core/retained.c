#include "core/retained.h"

#include "base/alloc.h"

struct slot {
    struct pl_subject_entry entry;
    struct pl_deadline expiry;
    struct pl_message *message; /* one reference */
    uint64_t newest_id;         /* of the last publication with this subject that we know of */
    size_t size;                /* what it counts against bytes_max */
};

struct pl_retained {
    struct pl_subject_index slots;
    struct pl_heap expiries;
    size_t count_max, bytes_max;
    size_t bytes;
};

struct pl_retained *pl_retained_new(uint64_t seed, size_t count_max, size_t bytes_max)
{
    struct pl_retained *r = pl_zalloc(sizeof *r);
    if (!r)
        return NULL;
    pl_subject_index_init(&r->slots, seed);
    r->count_max = count_max;
    r->bytes_max = bytes_max;
    return r;
}

static struct slot *slot_of(struct pl_subject_entry *entry)
{
    return entry ? PL_CONTAINER(entry, struct slot, entry) : NULL;
}

static struct slot *find(const struct pl_retained *r, struct pl_bytes subject)
{
    return slot_of(pl_subject_index_find(&r->slots, subject));
}

static void free_slot(struct slot *slot)
{
    pl_message_unref(slot->message);
    pl_free(slot);
}

struct pl_retained *pl_retained_free(struct pl_retained *r)
{
    if (!r)
        return NULL;
    struct pl_order_node *node = pl_order_first(&r->slots.order);
    while (node) {
        struct pl_order_node *next = pl_order_next(node);
        free_slot(slot_of(PL_CONTAINER(node, struct pl_subject_entry, node)));
        node = next;
    }
    pl_subject_index_done(&r->slots);
    pl_heap_done(&r->expiries);
    pl_free(r);
    return NULL;
}

static void drop(struct pl_retained *r, struct slot *slot)
{
    pl_subject_index_remove(&r->slots, &slot->entry);
    pl_heap_remove(&r->expiries, &slot->expiry);
    r->bytes -= slot->size;
    free_slot(slot);
}

void pl_retained_drop(struct pl_retained *r, struct pl_bytes subject)
{
    struct slot *slot = find(r, subject);
    if (slot)
        drop(r, slot);
}

static uint64_t expires_ms(const struct pl_message *m)
{
    return m->properties ? m->properties->expires_ms : PL_NEVER;
}

/* A slot that stands nowhere yet. NULL: no memory. */
static struct slot *new_slot(uint32_t height)
{
    struct slot *slot = pl_zalloc(sizeof *slot + height * sizeof(struct pl_order_node *));
    if (!slot)
        return NULL;
    slot->entry.node.links = (struct pl_order_node **)(void *)(slot + 1);
    slot->expiry.at_ms = PL_NEVER;
    return slot;
}

static enum pl_err set_expiry(struct pl_retained *r, struct slot *slot, uint64_t at_ms)
{
    if (at_ms != PL_NEVER)
        return pl_heap_set(&r->expiries, &slot->expiry, at_ms);
    pl_heap_remove(&r->expiries, &slot->expiry);
    return PL_OK;
}

enum pl_err pl_retained_set(struct pl_retained *r, const struct pl_message *m)
{
    if (!m->payload.len) {
        pl_retained_drop(r, m->subject);
        return PL_OK;
    }
    struct slot *old = find(r, m->subject), *slot = old;
    size_t size = sizeof *slot + pl_message_size(m);
    if ((!old && pl_retained_count(r) >= r->count_max) ||
        r->bytes - (old ? old->size : 0) + size > r->bytes_max) {
        if (old) /* it goes out live, and the old value must not be read behind it */
            old->newest_id = m->id;
        return PL_LIMIT;
    }
    struct pl_message *message = pl_message_keep(m);
    if (!message)
        return PL_NO_MEMORY;
    uint32_t height = pl_order_height(&r->slots.order);
    if (!slot)
        slot = new_slot(height);
    /* What can fail comes before what changes the slot. */
    if (!slot || set_expiry(r, slot, expires_ms(m)))
        goto fail;
    if (!old && pl_subject_index_add(&r->slots, &slot->entry, height, message->subject)) {
        pl_heap_remove(&r->expiries, &slot->expiry);
        goto fail;
    }
    pl_subject_index_move_key(&slot->entry, message->subject);
    pl_message_unref(slot->message);
    r->bytes += size - slot->size;
    slot->message = message;
    slot->newest_id = m->id;
    slot->size = size;
    return PL_OK;

fail:
    if (!old)
        pl_free(slot);
    pl_message_unref(message);
    return PL_NO_MEMORY;
}

void pl_retained_touch(struct pl_retained *r, struct pl_bytes subject, uint64_t message_id)
{
    struct slot *slot = find(r, subject);
    if (slot && slot->newest_id < message_id)
        slot->newest_id = message_id;
}

size_t pl_retained_expire(
    struct pl_retained *r, uint64_t now_ms, pl_retained_gone_fn *gone, void *context)
{
    size_t count = 0;
    struct pl_deadline *due;
    while ((due = pl_heap_pop_due(&r->expiries, now_ms))) {
        struct slot *slot = PL_CONTAINER(due, struct slot, expiry);
        struct pl_message *message = slot->message;
        slot->message = NULL;
        drop(r, slot);
        if (gone)
            gone(context, message->subject);
        pl_message_unref(message);
        count++;
    }
    return count;
}

const struct pl_message *pl_retained_find(const struct pl_retained *r, struct pl_bytes subject)
{
    const struct slot *slot = find(r, subject);
    return slot ? slot->message : NULL;
}

size_t pl_retained_read(struct pl_retained *r, const struct pl_pattern *pattern, uint64_t now_ms,
    struct pl_retained_cursor *cursor, struct pl_message **out, size_t max, size_t steps_max,
    bool *out_end)
{
    size_t count = 0;
    while (count < max) {
        struct slot *slot =
            slot_of(pl_subject_index_next(&r->slots, pattern, &cursor->position, &steps_max));
        if (!slot)
            break;
        if (slot->newest_id <= cursor->since_id && !pl_message_is_expired(slot->message, now_ms))
            out[count++] = slot->message;
    }
    *out_end = pl_subject_position_is_end(cursor->position);
    return count;
}

size_t pl_retained_count(const struct pl_retained *r)
{
    return r->slots.by_name.count;
}

size_t pl_retained_bytes(const struct pl_retained *r)
{
    return r->bytes;
}
