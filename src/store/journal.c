/* What realms append, under their locks: quick, in memory, one lock for all, which a batch holds
 * while it appends. */
#include "base/alloc.h"
#include "core/message_record.h"
#include "store/store_state.h"

enum {
    SPARE_MAX = 16 * 1024 * 1024,
    GROUP_MAX = 512 * 1024 * 1024, /* a row of SQLite holds less than 1 GB */
    HEAD = 13,                     /* of a record: size, id, length of the realm's name */
};

static void drop_record(struct pl_record *base)
{
    struct store_record *record = PL_CONTAINER(base, struct store_record, base);
    struct pl_store *store = record->store;
    record->dropped_next = atomic_load_explicit(&store->dropped, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &store->dropped, &record->dropped_next, record, memory_order_release, memory_order_relaxed))
        ;
}

struct store_record *pl_store_record_new(struct pl_store *store, uint64_t id)
{
    struct store_record *record = pl_zalloc(sizeof *record);
    if (!record)
        return NULL;
    record->base = (struct pl_record){.drop = drop_record, .id = id};
    record->store = store;
    return record;
}

/* The writer's buffer, to be used again. */
static void keep_buffer(struct pl_writer *w, struct pl_shared **spare)
{
    struct pl_shared *buffer = NULL;
    if (pl_writer_take(w, &buffer))
        return;
    if (*spare || buffer->cap > SPARE_MAX)
        pl_shared_unref(buffer);
    else
        *spare = buffer;
}

void pl_store_filling_free(struct pl_store *store, struct filling *f)
{
    pthread_mutex_lock(&store->lock);
    keep_buffer(&f->body, &store->spare_body);
    keep_buffer(&f->changes, &store->spare_changes);
    pthread_mutex_unlock(&store->lock);
    pl_free(f->group);
    pl_free(f->verdict);
    pl_free(f);
}

/* Under the store's lock. */
static struct filling *open_filling(struct pl_store *store)
{
    if (store->filling)
        return store->filling;
    struct filling *f = pl_zalloc(sizeof *f);
    struct store_group *group = f ? pl_zalloc(sizeof *group) : NULL;
    struct pl_store_verdict *verdict = group ? pl_zalloc(sizeof *verdict) : NULL;
    if (!verdict) {
        pl_free(group);
        pl_free(f);
        return NULL;
    }
    f->body = pl_writer_reuse(&store->spare_body);
    f->changes = pl_writer_reuse(&store->spare_changes);
    f->records_end = &f->records;
    f->group = group;
    f->verdict = verdict;
    f->ticket = ++store->next_ticket;
    store->filling = f;
    return f;
}

static enum pl_err may_take(const struct pl_store *store, bool is_state)
{
    if (store->is_stopping || store->is_stopped || !store->is_started)
        return PL_STORE;
    /* States are small, and most have nobody who would ask again: they have more room. */
    uint64_t max = store->pending_bytes_max;
    uint64_t room = is_state && max < UINT64_MAX / 2 ? max * 2 : max;
    const struct filling *f = store->filling;
    bool is_full = f && (f->body.len > GROUP_MAX || f->changes.len > GROUP_MAX);
    return store->pending_bytes > room || is_full ? PL_LIMIT : PL_OK;
}

/* After something was appended that began at those lengths; on an error it is taken back. */
static enum pl_err close_append(struct pl_store *store, struct filling *f, struct pl_writer *w,
    size_t before, uint64_t *out_ticket)
{
    if (w->err) {
        /* Nothing of it was added: the next one may find memory. */
        w->len = before;
        w->err = PL_OK;
        return PL_NO_MEMORY;
    }
    store->pending_bytes += w->len - before;
    *out_ticket = f->ticket;
    return PL_OK;
}

static enum pl_err append_message(struct pl_store *store, struct filling *f, const char *realm,
    struct pl_message *kept, const struct pl_times *now, uint64_t *out_ticket)
{
    struct store_record *record = pl_store_record_new(store, store->last_id + 1);
    if (!record)
        return PL_NO_MEMORY;
    size_t before = f->body.len, realm_len = strlen(realm);
    (void)!pl_writer_room(&f->body, HEAD);
    pl_write_bytes(&f->body, pl_bytes_of(realm, realm_len));
    pl_message_write(&f->body, kept, now);
    enum pl_err err = close_append(store, f, &f->body, before, out_ticket);
    if (err) {
        pl_free(record);
        return err;
    }
    uint8_t *head = f->body.data + before; /* where it stands now that all is there */
    record->offset = (uint32_t)before;
    record->size = (uint32_t)(f->body.len - before);
    uint32_t rest = record->size - 4;
    head[0] = (uint8_t)(rest >> 24);
    head[1] = (uint8_t)(rest >> 16);
    head[2] = (uint8_t)(rest >> 8);
    head[3] = (uint8_t)rest;
    pl_put_u64(head + 4, record->base.id);
    head[12] = (uint8_t)realm_len;
    *f->records_end = record;
    f->records_end = &record->next;
    f->record_count++;
    store->last_id++;
    record->is_waiting = true;
    kept->record = &record->base;
    return PL_OK;
}

static enum pl_err add_message(void *context, const char *realm, struct pl_message *kept,
    const struct pl_times *now, uint64_t *out_ticket)
{
    struct pl_store *store = context;
    enum pl_err err = may_take(store, false);
    struct filling *f = err ? NULL : open_filling(store);
    if (!err)
        err = f ? append_message(store, f, realm, kept, now, out_ticket) : PL_NO_MEMORY;
    return err;
}

static void write_change_head(struct pl_writer *w, enum change_kind kind, struct pl_bytes key)
{
    pl_write_u8(w, (uint8_t)kind);
    pl_write_u32(w, (uint32_t)key.len);
    pl_write_bytes(w, key);
}

/* value, or a message, or neither. */
static enum pl_err change(struct pl_store *store, enum change_kind kind, struct pl_bytes key,
    struct pl_bytes value, const struct pl_message *message, const struct pl_times *now,
    uint64_t *out_ticket)
{
    enum pl_err err = may_take(store, !message);
    struct filling *f = err ? NULL : open_filling(store);
    if (!err && !f)
        err = PL_NO_MEMORY;
    if (!err) {
        struct pl_writer *w = &f->changes;
        size_t before = w->len;
        write_change_head(w, kind, key);
        size_t at = w->len;
        pl_write_u32(w, (uint32_t)value.len);
        if (message)
            pl_message_write(w, message, now);
        else
            pl_write_bytes(w, value);
        err = close_append(store, f, w, before, out_ticket);
        if (!err) {
            uint32_t len = (uint32_t)(w->len - at - 4);
            uint8_t *to = w->data + at;
            to[0] = (uint8_t)(len >> 24);
            to[1] = (uint8_t)(len >> 16);
            to[2] = (uint8_t)(len >> 8);
            to[3] = (uint8_t)len;
            f->change_count++;
        }
    }
    return err;
}

static enum pl_err put(
    void *context, struct pl_bytes key, struct pl_bytes value, uint64_t *out_ticket)
{
    return change(context, CHANGE_PUT, key, value, NULL, NULL, out_ticket);
}

static enum pl_err put_message(void *context, struct pl_bytes key, const struct pl_message *message,
    const struct pl_times *now, uint64_t *out_ticket)
{
    return change(context, CHANGE_PUT, key, PL_NO_BYTES, message, now, out_ticket);
}

static enum pl_err drop(void *context, struct pl_bytes key, uint64_t *out_ticket)
{
    return change(context, CHANGE_DROP, key, PL_NO_BYTES, NULL, NULL, out_ticket);
}

static enum pl_err drop_all(void *context, struct pl_bytes prefix, uint64_t *out_ticket)
{
    return change(context, CHANGE_DROP_ALL, prefix, PL_NO_BYTES, NULL, NULL, out_ticket);
}

static uint64_t last_id(void *context)
{
    const struct pl_store *store = context;
    return store->last_id;
}

static void hold(void *context)
{
    struct pl_store *store = context;
    pthread_mutex_lock(&store->lock);
}

static void release(void *context)
{
    struct pl_store *store = context;
    bool wakes = store->filling && store->is_asleep;
    store->is_asleep &= !wakes;
    pthread_mutex_unlock(&store->lock);
    if (wakes) /* not before: it would wake only to wait for the lock */
        pthread_cond_signal(&store->wake);
}

void pl_store_init_journal(struct pl_store *store)
{
    store->journal = (struct pl_journal){
        .context = store,
        .hold = hold,
        .release = release,
        .message = add_message,
        .put_message = put_message,
        .put = put,
        .drop = drop,
        .drop_all = drop_all,
        .last_id = last_id,
    };
}
