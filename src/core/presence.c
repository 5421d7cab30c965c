/* Sessions that others may see: those with a card. What happens to them is told to the observer. */
#include "core/realm_state.h"

#include "base/alloc.h"

enum pl_err pl_run_enter_presence(struct pl_realm *realm, struct pl_session *s)
{
    struct pl_presence *presence = pl_zalloc(sizeof *presence);
    if (!presence)
        return PL_NO_MEMORY;
    presence->id = pl_session_public_id(s);
    presence->session = s;
    struct pl_bytes key = pl_bytes_of(&presence->id, sizeof presence->id);
    if (pl_map_add(&realm->presences, &presence->entry, key)) {
        pl_free(presence);
        return PL_NO_MEMORY;
    }
    s->presence = presence;
    return PL_OK;
}

void pl_run_leave_presence(struct pl_realm *realm, struct pl_session *s)
{
    if (!s->presence)
        return;
    pl_map_remove(&realm->presences, &s->presence->entry);
    pl_free(s->presence);
    s->presence = NULL;
}

void pl_run_notice(struct pl_runner *r, struct pl_session *about, enum pl_notice_kind kind,
    struct pl_pattern *pattern, const struct pl_registration *registration, bool is_edge)
{
    struct pl_session *observer = r->realm->observer;
    if (!observer || !observer->is_in_realm || observer == about || !about->card)
        return;
    struct pl_notice *notice = pl_arena_alloc(&r->batch->arena, sizeof *notice);
    if (!notice || pl_batch_reserve_items(r->batch, 1)) {
        pl_count(&r->batch->worker->counters.dropped_no_memory, 1);
        return;
    }
    *notice = (struct pl_notice){
        .kind = (uint8_t)kind,
        .is_first = is_edge && kind == PL_NOTICE_REGISTERED,
        .is_last = is_edge && kind == PL_NOTICE_UNREGISTERED,
        .session = pl_session_public_id(about),
        .time_unix_ms = r->now_unix_ms,
        .card = pl_shared_ref(about->card),
        .pattern = pattern ? pl_pattern_ref(pattern) : NULL,
        .registration = registration ? pl_hash_id(r->realm->seed, registration->id) : 0,
        .invoke = registration ? registration->invoke : PL_INVOKE_SINGLE,
    };
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_NOTICE, observer->address);
    item->session = observer;
    item->notice = notice;
}

void pl_run_tell(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_map_entry *e =
        pl_map_find(&r->realm->presences, pl_bytes_of(&op->token, sizeof op->token));
    if (!e)
        return;
    struct pl_session *s = PL_CONTAINER(e, struct pl_presence, entry)->session;
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_TOLD, s->address);
    item->session = s;
    item->word = op->subject;
}

void pl_run_card(const struct pl_op *op)
{
    struct pl_session *s = op->session;
    pl_shared_unref(s->card);
    s->card = op->subject;
}
