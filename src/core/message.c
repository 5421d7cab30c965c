#include "core/message.h"

#include "base/alloc.h"

static size_t header_bytes(const struct pl_properties *p)
{
    size_t n = 0;
    for (uint32_t i = 0; i < p->header_count; i++)
        n += sizeof *p->headers + p->headers[i].name.len + p->headers[i].value.len;
    return n;
}

size_t pl_message_size(const struct pl_message *m)
{
    size_t n = sizeof *m + m->subject.len + m->payload.len + m->reply.len;
    if (m->properties)
        n += sizeof *m->properties + m->properties->content_type.len +
             m->properties->correlation.len + header_bytes(m->properties);
    return n;
}

static struct pl_bytes put(uint8_t **at, struct pl_bytes bytes)
{
    struct pl_bytes copy = {*at, bytes.len};
    if (bytes.len)
        memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return copy;
}

/* One block: the message, its properties, the headers, then all bytes. */
static struct pl_message *copy_message(const struct pl_message *m)
{
    const struct pl_properties *p = m->properties;
    struct pl_message *copy = pl_alloc(pl_message_size(m));
    if (!copy)
        return NULL;
    *copy = (struct pl_message){
        .id = m->id,
        .offset = m->offset,
        .publisher = m->publisher,
        .time_unix_ms = m->time_unix_ms,
        .format = m->format,
        .qos = m->qos,
        .retain = m->retain,
        .hops = m->hops,
        .grants_reply = m->grants_reply,
        .is_kept = true,
    };
    atomic_init(&copy->refs, 1);
    uint8_t *at = (uint8_t *)(copy + 1);
    if (p) {
        struct pl_properties *q = (struct pl_properties *)(void *)at;
        struct pl_header *headers = (struct pl_header *)(void *)(q + 1);
        at = (uint8_t *)(headers + p->header_count);
        *q = *p;
        for (uint32_t i = 0; i < p->header_count; i++) {
            headers[i].name = put(&at, p->headers[i].name);
            headers[i].value = put(&at, p->headers[i].value);
        }
        q->headers = p->header_count ? headers : NULL;
        q->content_type = put(&at, p->content_type);
        q->correlation = put(&at, p->correlation);
        copy->properties = q;
    }
    copy->subject = put(&at, m->subject);
    copy->reply = put(&at, m->reply);
    copy->payload = put(&at, m->payload);
    return copy;
}

static struct pl_message *ref(struct pl_message *kept)
{
    atomic_fetch_add_explicit(&kept->refs, 1, memory_order_relaxed);
    return kept;
}

struct pl_message *pl_message_keep(const struct pl_message *message)
{
    /* Reading a message is shared, keeping it is a matter of its owner's count alone. */
    struct pl_message *m = (struct pl_message *)(uintptr_t)message;
    if (m->is_kept)
        return ref(m);
    struct pl_message *kept = atomic_load_explicit(&m->kept, memory_order_acquire);
    if (kept)
        return ref(kept);
    struct pl_message *mine = copy_message(m);
    if (!mine)
        return NULL;
    /* One reference for the batch, which holds it until it ends, so that everyone shares it. Two
     * reactors may come here at once: the first one's copy counts. */
    ref(mine);
    if (atomic_compare_exchange_strong_explicit(
            &m->kept, &kept, mine, memory_order_acq_rel, memory_order_acquire))
        return mine;
    pl_free(mine);
    return ref(kept);
}

struct pl_message *pl_message_unref(struct pl_message *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        pl_free(m);
    return NULL;
}

void pl_message_done(struct pl_message *m)
{
    struct pl_message *kept = atomic_load_explicit(&m->kept, memory_order_relaxed);
    if (kept) {
        pl_message_unref(kept);
        atomic_store_explicit(&m->kept, NULL, memory_order_relaxed);
    }
}
