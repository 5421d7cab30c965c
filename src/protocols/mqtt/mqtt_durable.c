/*
 * What a session keeps in the store beside its messages.
 *
 *     subscriptions     key: the filter as it came; state: look, No Local
 *     progress "w"      the mark: how far the client has come
 *     progress "2"+id   QoS 2 packet ids of the client between PUBREC and PUBREL
 *
 * The mark is written now and then, not with every acknowledgement: after a crash a client may get
 * again what it had acknowledged shortly before (DUP). It tells the window entry by entry, so that
 * a message that is sent again has the packet id that it had: a client that was in the middle of
 * QoS 2 knows it again. What is done leaves the store only after a mark that says so is on disk;
 * else ids behind it would move.
 */
#include "base/alloc.h"
#include "core/journal.h"
#include "core/restore.h"
#include "core/worker.h"
#include "protocols/mqtt/mqtt_flow.h"

enum {
    MARK_EVERY_MS = 200,
    MARK_HEAD = 16, /* head, through */
    MARK_ENTRY = 9, /* record, state */
    STATE_LEN = 9,
    TOKEN_MARK = 1,    /* tokens of PL_DONE_STATE: for whom */
    TOKEN_PUBCOMP = 2, /* … with the link's generation, reason and packet id */
};

static const char mark_key[] = "w";
enum { INCOMING_KEY = '2' };

size_t pl_mqtt_write_state(
    const struct pl_subscription *core, uint8_t *out_state, struct pl_bytes *out_key)
{
    const struct mqtt_subscription *sub = (const void *)core; /* its first member */
    *out_key = pl_bytes_of(sub->text, sub->text_len);
    pl_put_u64(out_state, sub->look);
    out_state[8] = core->flags & PL_SUB_NO_LOCAL;
    return STATE_LEN;
}

/* ---- the mark ---- */

static void free_list(struct mqtt_done_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        pl_message_unref(list->items[i]);
    pl_free(list->items);
    *list = (struct mqtt_done_list){0};
}

void pl_mqtt_done_lists_free(struct mqtt_flow *f)
{
    free_list(&f->done);
    free_list(&f->marking);
}

/* False: no memory. */
static bool keep_done(struct mqtt_done_list *list, struct pl_message *moved)
{
    if (list->count == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 64;
        struct pl_message **items = pl_realloc(list->items, cap * sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = moved;
    return true;
}

void pl_mqtt_let_go(struct mqtt_session *s, struct outgoing *entry)
{
    struct mqtt_flow *f = s->flow;
    struct pl_message *message = entry->message;
    entry->message = NULL;
    f->is_changed |= entry->record != 0;
    if (!message || !entry->record || !keep_done(&f->done, message))
        pl_message_unref(message);
}

static uint8_t *write_entry(uint8_t *at, const struct outgoing *entry)
{
    pl_put_u64(at, entry->record);
    at[8] = entry->state;
    return at + MARK_ENTRY;
}

void pl_mqtt_mark(struct mqtt_session *s, bool now)
{
    struct mqtt_flow *f = s->flow;
    if (!f || !f->is_changed || f->is_marking || !s->is_expiring)
        return;
    uint64_t now_ms = s->core.worker->now_ms;
    if (!now && now_ms < f->marked_ms + MARK_EVERY_MS)
        return;
    uint64_t count = f->window.tail - f->window.head;
    size_t len = MARK_HEAD + count * MARK_ENTRY;
    uint8_t *value = pl_alloc(len);
    if (!value)
        return; /* the next one comes */
    pl_put_u64(value, f->window.head);
    pl_put_u64(value + 8, f->through);
    uint8_t *at = value + MARK_HEAD;
    for (uint64_t i = f->window.head; i < f->window.tail; i++)
        at = write_entry(at, ring_at(&f->window, i));
    f->is_changed = false;
    f->is_marking = true;
    f->marked_ms = now_ms;
    struct mqtt_done_list empty = f->marking;
    f->marking = f->done;
    f->done = empty; /* its array is used again */
    pl_session_put_state(
        &s->core, pl_bytes_text(mark_key), pl_bytes_of(value, len), true, TOKEN_MARK);
    pl_free(value);
}

/* The mark is on disk, or it will have to be written again. */
static void on_marked(struct mqtt_session *s, enum pl_err err)
{
    struct mqtt_flow *f = s->flow;
    f->is_marking = false;
    f->is_changed |= err != PL_OK;
    for (uint32_t i = 0; i < f->marking.count; i++)
        if (!err || !keep_done(&f->done, f->marking.items[i]))
            pl_message_unref(f->marking.items[i]);
    f->marking.count = 0;
    if (!err && !s->link) /* its last acknowledgements came meanwhile */
        pl_mqtt_mark(s, true);
}

/* ---- QoS 2 from the client ---- */

static size_t incoming_key(uint8_t key[3], uint16_t packet_id)
{
    key[0] = INCOMING_KEY;
    key[1] = (uint8_t)(packet_id >> 8);
    key[2] = (uint8_t)packet_id;
    return 3;
}

void pl_mqtt_store_incoming(struct mqtt_session *s, uint16_t packet_id)
{
    uint8_t key[3];
    if (s->is_expiring) /* its answer comes before that of the message behind it */
        pl_session_put_state(
            &s->core, pl_bytes_of(key, incoming_key(key, packet_id)), PL_BYTES("1"), true, 0);
}

void pl_mqtt_forget_incoming(struct mqtt_session *s, uint16_t packet_id)
{
    uint8_t key[3];
    if (pl_mqtt_incoming_remove(s, packet_id) && s->is_expiring)
        pl_session_put_state(
            &s->core, pl_bytes_of(key, incoming_key(key, packet_id)), PL_NO_BYTES, false, 0);
}

void pl_mqtt_unstore_incoming(struct mqtt_session *s, uint16_t packet_id, uint8_t reason)
{
    uint8_t key[3];
    if (!s->is_expiring) {
        pl_mqtt_write_ack(s->link, MQTT_PUBCOMP, packet_id, reason, NULL);
        return;
    }
    uint64_t token = (uint64_t)s->generation << 32 | (uint64_t)TOKEN_PUBCOMP << 24 |
                     (uint64_t)reason << 16 | packet_id;
    pl_session_put_state(
        &s->core, pl_bytes_of(key, incoming_key(key, packet_id)), PL_NO_BYTES, true, token);
}

void pl_mqtt_on_stored(struct mqtt_session *s, const struct pl_completion *done)
{
    if (done->token == TOKEN_MARK) {
        on_marked(s, done->err);
        return;
    }
    struct mqtt_link *l = s->link;
    if ((done->token >> 24 & 0xff) != TOKEN_PUBCOMP || !l || l->state != MQTT_CONNECTED ||
        done->token >> 32 != s->generation)
        return;
    if (done->err) /* it sends PUBREL again when it is back */
        (void)pl_mqtt_fail(l, done->err, MQTT_UNSPECIFIED_ERROR, pl_err_text(done->err));
    else
        pl_mqtt_write_ack(
            l, MQTT_PUBCOMP, (uint16_t)done->token, (uint8_t)(done->token >> 16), NULL);
}

/* ---- back ---- */

static struct pl_session *restore_session(
    struct pl_worker *home, const void *options, bool was_connected)
{
    struct mqtt_session *s = pl_zalloc(sizeof *s);
    struct mqtt_flow *f = s ? pl_mqtt_flow_of(s) : NULL;
    if (!f) {
        pl_free(s);
        return NULL;
    }
    pl_session_init(&s->core, &pl_mqtt_session_ops, home, NULL);
    s->options = options ? options : &pl_mqtt_options_default;
    s->is_expiring = true;
    s->is_restoring = true;
    f->may_have_sent = was_connected;
    return &s->core;
}

static struct mqtt_session *session_of(struct pl_session *core)
{
    return PL_CONTAINER(core, struct mqtt_session, core);
}

static void give_up(struct pl_session *core)
{
    struct mqtt_session *s = session_of(core);
    pl_mqtt_subscriptions_free(s);
    pl_mqtt_flow_free(s);
    pl_session_done(&s->core);
    pl_free(s);
}

static enum pl_err restore_subscription(struct pl_realm *realm, struct pl_session *core,
    struct pl_bytes key, struct pl_bytes state, uint64_t since)
{
    if (state.len != STATE_LEN)
        return PL_MALFORMED;
    struct mqtt_subscription *sub = pl_mqtt_subscription_restore(
        session_of(core), key, pl_get_u64(state.data), state.data[8] != 0);
    return sub ? pl_realm_restore_subscription(realm, core, &sub->core, since) : PL_MALFORMED;
}

static enum pl_err restore_mark(struct mqtt_session *s, struct pl_bytes value)
{
    struct mqtt_flow *f = s->flow;
    if (value.len < MARK_HEAD || (value.len - MARK_HEAD) % MARK_ENTRY)
        return PL_MALFORMED;
    size_t count = (value.len - MARK_HEAD) / MARK_ENTRY;
    f->window.head = f->window.tail = f->unsent = pl_get_u64(value.data);
    f->through = pl_get_u64(value.data + 8);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = value.data + MARK_HEAD + i * MARK_ENTRY;
        struct outgoing *entry = pl_mqtt_ring_push(&f->window);
        if (!entry)
            return PL_NO_MEMORY;
        if (at[8] > ENTRY_RELEASED)
            return PL_MALFORMED;
        *entry = (struct outgoing){.record = pl_get_u64(at), .state = at[8]};
        /* What the store has no message of can only be passed over. */
        if (entry->state != ENTRY_RELEASED && !entry->record)
            entry->state = ENTRY_DONE;
    }
    return PL_OK;
}

static enum pl_err restore_progress(
    struct pl_session *core, struct pl_bytes key, struct pl_bytes value)
{
    struct mqtt_session *s = session_of(core);
    if (pl_bytes_equal(key, pl_bytes_text(mark_key)))
        return restore_mark(s, value);
    if (key.len != 3 || key.data[0] != INCOMING_KEY)
        return PL_MALFORMED;
    return pl_mqtt_incoming_add(s, (uint16_t)(key.data[1] << 8 | key.data[2]));
}

/* The entry of the window that the mark has of a record, and that waits for its message. Two
 * subscriptions may have brought it twice. NULL: none. */
static struct outgoing *find_open(const struct mqtt_flow *f, uint64_t record)
{
    for (uint64_t i = f->window.head; i < f->window.tail; i++) {
        struct outgoing *entry = ring_at(&f->window, i);
        if (entry->record == record && entry->state == ENTRY_SENT && !entry->message)
            return entry;
    }
    return NULL;
}

enum pl_had pl_mqtt_had(const struct pl_session *core, const struct pl_message *m)
{
    const struct mqtt_session *s = (const void *)core; /* its first member */
    const struct mqtt_flow *f = s->flow;
    if (!f || m->record->id > f->through)
        return PL_HAD_NOT;
    return find_open(f, m->record->id) ? PL_HAD_OPEN : PL_HAD_DONE;
}

bool pl_mqtt_is_had(struct mqtt_session *s, const struct pl_message *m, uint64_t look)
{
    struct mqtt_flow *f = s->flow;
    if (!m->record || m->record->id > f->through)
        return false;
    struct outgoing *entry = find_open(f, m->record->id);
    if (entry) {
        entry->message = pl_message_keep(m);
        entry->look = look;
        entry->was_sent = true;
    }
    return true;
}

static void end_restore(struct pl_session *core)
{
    struct mqtt_session *s = session_of(core);
    struct mqtt_flow *f = s->flow;
    s->is_restoring = false;
    f->may_have_sent = false;
    for (uint64_t i = f->window.head; i < f->window.tail; i++) {
        struct outgoing *entry = ring_at(&f->window, i);
        if (entry->state == ENTRY_SENT && !entry->message)
            entry->state = ENTRY_DONE;
    }
    while (
        f->window.head < f->window.tail && ring_at(&f->window, f->window.head)->state == ENTRY_DONE)
        f->window.head++;
    f->unsent = f->window.head;
}

const struct pl_restorer pl_mqtt_restorer = {
    .session = restore_session,
    .give_up = give_up,
    .subscription = restore_subscription,
    .progress = restore_progress,
    .end = end_restore,
};
