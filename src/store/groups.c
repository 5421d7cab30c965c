/* Which groups of the file are still wanted. On the writer's thread, or before the start. */
#include "base/alloc.h"
#include "store/store_state.h"

void pl_store_add_group(struct pl_store *store, struct store_group *group)
{
    group->next = NULL;
    group->at = store->groups_end;
    *store->groups_end = group;
    store->groups_end = &group->next;
    store->bytes += group->bytes;
    store->live_bytes += group->live_bytes;
}

void pl_store_add_record(struct store_group *group, struct store_record *record)
{
    record->group = group;
    record->next = group->records;
    if (record->next)
        record->next->at = &record->next;
    record->at = &group->records;
    group->records = record;
    group->live_count++;
    group->live_bytes += record->size;
}

static void forget(struct pl_store *store, struct store_record *record)
{
    struct store_group *group = record->group;
    if (record->is_waiting) {
        record->is_dropped = true;
        return;
    }
    if (group) {
        *record->at = record->next;
        if (record->next)
            record->next->at = record->at;
        group->live_count--;
        group->live_bytes -= record->size;
        store->live_bytes -= record->size;
        group->is_dead = !group->live_count;
        store->dead_count += group->is_dead;
    }
    pl_free(record);
}

void pl_store_take_dropped(struct pl_store *store)
{
    struct store_record *record =
        atomic_exchange_explicit(&store->dropped, NULL, memory_order_acquire);
    while (record) {
        struct store_record *next = record->dropped_next;
        forget(store, record);
        record = next;
    }
}

void pl_store_drop_group(struct pl_store *store, struct store_group *group)
{
    *group->at = group->next;
    if (group->next)
        group->next->at = group->at;
    else
        store->groups_end = group->at;
    store->bytes -= group->bytes;
    store->live_bytes -= group->live_bytes;
    store->dead_count -= group->is_dead;
    while (group->records) { /* wanted, and held by nobody: their realm or rule is gone for now */
        struct store_record *next = group->records->next;
        pl_free(group->records);
        group->records = next;
    }
    pl_free(group);
}

void pl_store_groups_free(struct pl_store *store)
{
    pl_store_take_dropped(store);
    while (store->groups)
        pl_store_drop_group(store, store->groups);
}
