#include "core/message.h"

#include "base/alloc.h"
#include "codec/wamp.h"
#include "core/audience.h"
#include "core/journal.h"

static size_t audience_bytes(const struct pl_audience *a)
{
    size_t n = a ? sizeof *a : 0;
    for (uint32_t i = 0; a && i < a->count; i++) {
        const struct pl_audience_list *list = &a->lists[i];
        n += sizeof *list + list->name.len + list->count * sizeof(uint64_t);
        for (uint32_t j = 0; list->texts && j < list->count; j++)
            n += sizeof(struct pl_bytes) + list->texts[j].len;
    }
    return n;
}

static size_t author_bytes(const struct pl_author *author)
{
    return author ? sizeof *author + author->user.len + author->role.len : 0;
}

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
             m->properties->correlation.len + m->properties->error.len +
             header_bytes(m->properties) + audience_bytes(m->properties->audience) +
             author_bytes(m->properties->from);
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

/* A place for a struct in the block; structs come before bytes, so all are aligned. */
static void *place(uint8_t **at, size_t size)
{
    void *here = *at;
    *at += size;
    return here;
}

/* The structs of the audience; what their texts refer to is put later. */
static struct pl_audience *place_audience(uint8_t **at, const struct pl_audience *from)
{
    struct pl_audience *a = place(at, sizeof *a);
    struct pl_audience_list *lists = place(at, from->count * sizeof *lists);
    *a = *from;
    a->lists = lists;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct pl_audience_list *list = &from->lists[i];
        lists[i] = *list;
        uint64_t *ids = place(at, list->count * sizeof *ids);
        if (list->ids && list->count)
            memcpy(ids, list->ids, list->count * sizeof *ids);
        lists[i].ids = list->ids ? ids : NULL;
        if (!list->texts)
            continue;
        struct pl_bytes *texts = place(at, list->count * sizeof *texts);
        if (list->count)
            memcpy(texts, list->texts, list->count * sizeof *texts);
        lists[i].texts = texts;
    }
    return a;
}

static void put_audience(uint8_t **at, const struct pl_audience *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        /* Ours, just placed. */
        struct pl_audience_list *list = (struct pl_audience_list *)(uintptr_t)&a->lists[i];
        list->name = put(at, list->name);
        for (uint32_t j = 0; list->texts && j < list->count; j++) {
            struct pl_bytes *text = (struct pl_bytes *)(uintptr_t)&list->texts[j];
            *text = put(at, *text);
        }
    }
}

static struct pl_properties *copy_properties(uint8_t **at, const struct pl_properties *p)
{
    struct pl_properties *q = place(at, sizeof *q);
    struct pl_header *headers = place(at, p->header_count * sizeof *headers);
    struct pl_author *author = p->from ? place(at, sizeof *author) : NULL;
    struct pl_audience *audience = p->audience ? place_audience(at, p->audience) : NULL;
    *q = *p;
    for (uint32_t i = 0; i < p->header_count; i++) {
        headers[i].name = put(at, p->headers[i].name);
        headers[i].value = put(at, p->headers[i].value);
    }
    q->headers = p->header_count ? headers : NULL;
    q->content_type = put(at, p->content_type);
    q->correlation = put(at, p->correlation);
    q->error = put(at, p->error);
    if (author) {
        *author = *p->from;
        author->user = put(at, author->user);
        author->role = put(at, author->role);
        q->from = author;
    }
    if (audience) {
        put_audience(at, audience);
        q->audience = audience;
    }
    return q;
}

/* One block: the message, its properties and what they refer to, then all bytes. */
static struct pl_message *copy_message(const struct pl_message *m)
{
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
        .spares_publisher = m->spares_publisher,
        .is_note = m->is_note,
        .is_kept = true,
    };
    atomic_init(&copy->refs, 1);
    uint8_t *at = (uint8_t *)(copy + 1);
    if (m->properties)
        copy->properties = copy_properties(&at, m->properties);
    copy->subject = put(&at, m->subject);
    copy->reply = put(&at, m->reply);
    copy->payload = put(&at, m->payload);
    return copy;
}

struct pl_bytes pl_message_plain(const struct pl_message *message)
{
    if (message->format < PL_FORMAT_ARGUMENTS || !message->payload.len)
        return message->payload;
    /* As with the kept copy: made by whoever comes first. */
    struct pl_message *m = (struct pl_message *)(uintptr_t)message;
    struct pl_shared *plain = atomic_load_explicit(&m->plain, memory_order_acquire), *mine;
    if (!plain) {
        struct pl_writer w = pl_writer_new();
        pl_wamp_write_plain(
            &w, (enum pl_serializer)(message->format - PL_FORMAT_ARGUMENTS), message->payload);
        if (pl_writer_take(&w, &mine))
            return PL_NO_BYTES;
        if (atomic_compare_exchange_strong_explicit(
                &m->plain, &plain, mine, memory_order_acq_rel, memory_order_acquire))
            plain = mine;
        else
            pl_shared_unref(mine);
    }
    return pl_bytes_of(plain->data, plain->len);
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
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    pl_shared_unref(atomic_load_explicit(&m->plain, memory_order_relaxed));
    if (m->record)
        m->record->drop(m->record);
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
    struct pl_shared *plain = atomic_load_explicit(&m->plain, memory_order_relaxed);
    if (plain) {
        pl_shared_unref(plain);
        atomic_store_explicit(&m->plain, NULL, memory_order_relaxed);
    }
}
