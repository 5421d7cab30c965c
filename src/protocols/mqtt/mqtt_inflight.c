/*
 * QoS 1 and 2 to the client (MQTT 5.0, sections 4.3, 4.4 and 4.9).
 *
 *     deliver → [ queue ] → [ window ] → wire
 *
 * The window holds what was sent and is not acknowledged. Packet ids rise by one from entry to
 * entry (1 to 65535 and around), so that the id tells the place. An entry that is done leaves a
 * hole until all before it are done, too; the window's span is limited, so a client that never
 * acknowledges one message cannot make it grow.
 *
 *     QoS 1    SENT ── PUBACK ─→ done
 *     QoS 2    SENT ── PUBREC ─→ RELEASED (PUBREL sent) ── PUBCOMP ─→ done
 *
 * How many may be open is the client's quota. On a new link all entries count as unsent: they go
 * out again in order with DUP, as the new quota allows, then the queue.
 */
#include "protocols/mqtt/mqtt_flow.h"

#include "base/alloc.h"
#include "core/worker.h"

enum { RING_FIRST = 16 };

struct outgoing *pl_mqtt_ring_push(struct ring *r)
{
    if (r->tail - r->head == r->cap) {
        uint32_t cap = r->cap ? r->cap * 2 : RING_FIRST;
        struct outgoing *items = pl_alloc(cap * sizeof *items);
        if (!items)
            return NULL;
        for (uint64_t i = r->head; i < r->tail; i++)
            items[i & (cap - 1)] = *ring_at(r, i);
        pl_free(r->items);
        r->items = items;
        r->cap = cap;
    }
    return ring_at(r, r->tail++);
}

/* An empty ring that once was long gives its memory back. */
static void ring_trim(struct ring *r)
{
    if (r->head != r->tail || r->cap <= RING_FIRST)
        return;
    pl_free(r->items);
    r->items = NULL;
    r->cap = 0;
}

static void ring_free(struct ring *r)
{
    for (uint64_t i = r->head; i < r->tail; i++)
        pl_message_unref(ring_at(r, i)->message);
    pl_free(r->items);
}

struct mqtt_flow *pl_mqtt_flow_of(struct mqtt_session *s)
{
    if (!s->flow)
        s->flow = pl_zalloc(sizeof *s->flow);
    return s->flow;
}

void pl_mqtt_flow_free(struct mqtt_session *s)
{
    struct mqtt_flow *f = s->flow;
    if (!f)
        return;
    ring_free(&f->window);
    ring_free(&f->queue);
    pl_mqtt_done_lists_free(f);
    for (uint32_t i = 0; i < ID_PAGES; i++)
        pl_free(f->incoming[i]);
    pl_free(f->spare);
    pl_free(f);
    s->flow = NULL;
}

static uint16_t id_of(uint64_t position)
{
    return (uint16_t)(position % MQTT_IDS + 1);
}

/* The open entry of a packet id, or NULL. */
static struct outgoing *find_entry(const struct mqtt_flow *f, uint16_t packet_id)
{
    uint64_t first = f->window.head % MQTT_IDS;
    uint64_t offset = ((uint64_t)packet_id - 1 + MQTT_IDS - first) % MQTT_IDS;
    uint64_t position = f->window.head + offset;
    if (position >= f->window.tail)
        return NULL;
    struct outgoing *entry = ring_at(&f->window, position);
    return entry->state == ENTRY_DONE ? NULL : entry;
}

static bool has_window(const struct mqtt_session *s, const struct mqtt_link *l)
{
    uint64_t span_max = (uint64_t)s->options->inflight_max * MQTT_SPAN_FACTOR;
    if (span_max > MQTT_IDS)
        span_max = MQTT_IDS;
    const struct ring *w = &s->flow->window;
    return l->quota && w->tail - w->head < span_max && pl_mqtt_has_room(l);
}

static void finish(struct mqtt_session *s, struct outgoing *entry)
{
    struct mqtt_flow *f = s->flow;
    struct mqtt_link *l = s->link;
    pl_mqtt_let_go(s, entry);
    entry->state = ENTRY_DONE;
    if (l && entry->is_on_wire && l->quota < l->quota_max)
        l->quota++;
    struct ring *w = &f->window;
    while (w->head < w->tail && ring_at(w, w->head)->state == ENTRY_DONE)
        w->head++;
    if (f->unsent < w->head)
        f->unsent = w->head;
    pl_mqtt_mark(s, false);
}

/* ---- sending ---- */

static void count_dropped(struct mqtt_session *s, bool no_memory)
{
    struct pl_counters *counters = &s->core.worker->counters;
    pl_count(no_memory ? &counters->dropped_no_memory : &counters->dropped_slow, 1);
}

/* The frame of all with this packet id. */
static enum mqtt_sent append_frame(
    struct mqtt_link *l, struct pl_shared *frames, struct pl_bytes frame, uint16_t packet_id)
{
    size_t at = 1;
    while (frame.data[at++] & 128)
        ;
    at += 2 + ((size_t)frame.data[at] << 8 | frame.data[at + 1]);
    /* A large payload is referenced, what stands before it copied. */
    size_t copied = frame.len - at - 2 >= PL_BY_REFERENCE ? at + 2 : frame.len;
    struct pl_writer w = pl_writer_begin(l->link.out);
    uint8_t *copy = pl_writer_room(&w, copied);
    if (copy) {
        memcpy(copy, frame.data, copied);
        copy[at] = (uint8_t)(packet_id >> 8);
        copy[at + 1] = (uint8_t)packet_id;
    }
    if (pl_writer_end(&w))
        return MQTT_NOT_NOW;
    if (copied == frame.len ||
        !pl_output_append_shared(l->link.out, frames, pl_bytes_from(frame, copied)))
        return MQTT_SENT;
    pl_mqtt_broken(l);
    return MQTT_BROKEN;
}

/* What became of a PUBLISH of the window. */
static void note_sent(struct mqtt_session *s, struct outgoing *entry, enum mqtt_sent sent)
{
    if (sent == MQTT_NOT_SENDABLE) {
        /* As if it had been acknowledged (MQTT 5.0, section 3.1.2.11.4). */
        finish(s, entry);
    } else if (sent == MQTT_NOT_NOW) {
        entry->is_on_wire = false;
        s->link->quota++;
    } else {
        entry->was_sent = true;
    }
}

/* A new last entry of the window, whose reference it takes. MQTT_NOT_NOW: there was no memory; it
 * waits in the window, unless that could not take it. */
static enum mqtt_sent send_new(struct mqtt_session *s, const struct outgoing *moved,
    struct pl_shared *frames, struct pl_bytes frame)
{
    struct mqtt_flow *f = s->flow;
    struct mqtt_link *l = s->link;
    uint64_t position = f->window.tail;
    struct outgoing *entry = pl_mqtt_ring_push(&f->window);
    if (!entry) {
        count_dropped(s, true);
        pl_message_unref(moved->message);
        return MQTT_NOT_NOW;
    }
    *entry = *moved;
    entry->state = ENTRY_SENT;
    entry->is_on_wire = true;
    if (entry->record > f->through)
        f->through = entry->record;
    l->quota--;
    uint16_t id = id_of(position);
    enum mqtt_sent sent = frame.len ? append_frame(l, frames, frame, id)
                                    : pl_mqtt_write_publish(l, entry->message, entry->look, id,
                                          entry->was_sent, f->epoch);
    if (sent != MQTT_NOT_NOW)
        f->unsent = f->window.tail;
    note_sent(s, entry, sent);
    return sent;
}

static void enqueue(struct mqtt_session *s, const struct outgoing *moved)
{
    struct mqtt_flow *f = s->flow;
    size_t size = pl_message_size(moved->message);
    /* What comes back was in flight, or was let in once: it is more than the queue, at most by the
     * window. */
    bool is_full =
        !s->is_restoring && (f->queue.tail - f->queue.head >= s->options->queue_count_max ||
                                f->queue_bytes + size > s->options->queue_bytes_max);
    struct outgoing *item = is_full ? NULL : pl_mqtt_ring_push(&f->queue);
    if (!item) {
        count_dropped(s, !is_full);
        pl_message_unref(moved->message);
        return;
    }
    *item = *moved;
    f->queue_bytes += size;
}

void pl_mqtt_flow_deliver(struct mqtt_session *s, const struct pl_message *m, uint64_t look,
    uint64_t record, uint64_t epoch, struct pl_shared *frames, struct pl_bytes frame)
{
    struct mqtt_flow *f = pl_mqtt_flow_of(s);
    struct pl_message *kept = f ? pl_message_keep(m) : NULL;
    if (!kept) {
        count_dropped(s, true);
        return;
    }
    f->epoch = epoch;
    struct outgoing new = {
        .message = kept, .look = look, .record = record, .was_sent = f->may_have_sent};
    struct mqtt_link *l = s->link;
    bool is_next = l && l->state == MQTT_CONNECTED && f->queue.head == f->queue.tail &&
                   f->unsent == f->window.tail;
    if (!is_next || !has_window(s, l)) {
        enqueue(s, &new);
        return;
    }
    (void)send_new(s, &new, frames, frame);
}

/* One that was sent on an older link, or before it broke. False: not now. */
static bool send_again(struct mqtt_session *s, uint64_t position)
{
    struct mqtt_flow *f = s->flow;
    struct mqtt_link *l = s->link;
    struct outgoing *entry = ring_at(&f->window, position);
    if (entry->state == ENTRY_DONE || entry->is_on_wire)
        return true;
    if (!pl_mqtt_has_room(l))
        return false;
    if (entry->state == ENTRY_RELEASED) {
        entry->is_on_wire = true;
        pl_mqtt_write_ack(l, MQTT_PUBREL, id_of(position), MQTT_SUCCESS, NULL);
        return s->link != NULL;
    }
    if (!l->quota)
        return false;
    entry->is_on_wire = true;
    l->quota--;
    enum mqtt_sent sent = pl_mqtt_write_publish(
        l, entry->message, entry->look, id_of(position), entry->was_sent, f->epoch);
    note_sent(s, entry, sent);
    return sent != MQTT_NOT_NOW;
}

static bool send_queued(struct mqtt_session *s)
{
    struct mqtt_flow *f = s->flow;
    struct outgoing item = *ring_at(&f->queue, f->queue.head);
    f->queue.head++;
    f->queue_bytes -= pl_message_size(item.message);
    if (pl_message_is_expired(item.message, s->core.worker->now_ms)) {
        pl_count(&s->core.worker->counters.dropped_expired, 1);
        pl_message_unref(item.message);
        return true;
    }
    return send_new(s, &item, NULL, PL_NO_BYTES) != MQTT_NOT_NOW;
}

void pl_mqtt_flow_pump(struct mqtt_session *s)
{
    struct mqtt_flow *f = s->flow;
    struct mqtt_link *l = s->link;
    if (!f || !l || l->state != MQTT_CONNECTED)
        return;
    while (f->unsent < f->window.tail) {
        uint64_t position = f->unsent;
        if (!send_again(s, position))
            return;
        if (f->unsent == position)
            f->unsent++;
    }
    while (f->queue.head < f->queue.tail && has_window(s, l))
        if (!send_queued(s))
            return;
    ring_trim(&f->queue);
}

bool pl_mqtt_flow_is_waiting(const struct mqtt_session *s)
{
    const struct mqtt_flow *f = s->flow;
    return f && (f->queue.head != f->queue.tail || f->unsent != f->window.tail);
}

/* What waits was let in by an older login; who came back may have lost the right to some of it. */
static void leave_out_denied(struct mqtt_session *s)
{
    struct mqtt_flow *f = s->flow;
    const struct pl_identity *identity = s->core.identity;
    for (uint64_t i = f->window.head; i < f->window.tail; i++) {
        struct outgoing *entry = ring_at(&f->window, i);
        if (entry->message && !pl_identity_may_receive(identity, entry->message->subject))
            finish(s, entry);
    }
    uint64_t to = f->queue.head;
    for (uint64_t i = f->queue.head; i < f->queue.tail; i++) {
        struct outgoing item = *ring_at(&f->queue, i);
        if (pl_identity_may_receive(identity, item.message->subject)) {
            *ring_at(&f->queue, to++) = item;
            continue;
        }
        f->queue_bytes -= pl_message_size(item.message);
        pl_message_unref(item.message);
    }
    f->queue.tail = to;
}

void pl_mqtt_flow_resume(struct mqtt_session *s)
{
    struct mqtt_flow *f = s->flow;
    if (!f)
        return;
    for (uint64_t i = f->window.head; i < f->window.tail; i++)
        ring_at(&f->window, i)->is_on_wire = false;
    leave_out_denied(s);
    f->unsent = f->window.head;
    pl_mqtt_flow_pump(s);
}

/* ---- acknowledgements ---- */

static enum pl_err on_pubrec(
    struct mqtt_link *l, struct outgoing *entry, const struct mqtt_ack *packet)
{
    struct mqtt_session *s = l->session;
    if (!entry) {
        /* Perhaps of a session that is over: the client may forget it. */
        if (packet->reason < 0x80)
            pl_mqtt_write_ack(l, MQTT_PUBREL, packet->packet_id, MQTT_PACKET_ID_NOT_FOUND, NULL);
        return PL_OK;
    }
    if (packet->reason >= 0x80) {
        finish(s, entry);
        pl_mqtt_flow_pump(s);
        return PL_OK;
    }
    entry->state = ENTRY_RELEASED;
    pl_mqtt_let_go(s, entry);
    pl_mqtt_mark(s, false);
    pl_mqtt_write_ack(l, MQTT_PUBREL, packet->packet_id, MQTT_SUCCESS, NULL);
    return PL_OK;
}

enum pl_err pl_mqtt_on_ack(struct mqtt_link *l, enum mqtt_type type, struct pl_bytes body)
{
    struct mqtt_ack packet;
    struct pl_diag diag;
    enum pl_err err = pl_mqtt_decode_ack(l->version, type, body, &packet, &diag);
    if (err)
        return pl_mqtt_fail_diag(l, err, &diag);
    struct mqtt_session *s = l->session;
    struct outgoing *entry = s->flow ? find_entry(s->flow, packet.packet_id) : NULL;
    bool is_qos2 = entry && (entry->state == ENTRY_RELEASED ||
                                pl_mqtt_look_qos(entry->look, entry->message) == 2);
    if (entry && is_qos2 != (type != MQTT_PUBACK))
        return pl_mqtt_fail(
            l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "an acknowledgement of the other QoS");
    if (type == MQTT_PUBREC)
        return on_pubrec(l, entry, &packet);
    if (!entry)
        return PL_OK; /* a late repeat */
    if (type == MQTT_PUBCOMP && entry->state != ENTRY_RELEASED)
        return pl_mqtt_fail(l, PL_PROTOCOL, MQTT_PROTOCOL_ERROR, "PUBCOMP before PUBREC");
    finish(s, entry);
    pl_mqtt_flow_pump(s);
    return PL_OK;
}

/* ---- packet ids of the client's QoS 2 ---- */

bool pl_mqtt_incoming_has(const struct mqtt_session *s, uint16_t packet_id)
{
    const struct id_page *page = s->flow ? s->flow->incoming[packet_id / ID_PAGE_BITS] : NULL;
    uint32_t bit = packet_id % ID_PAGE_BITS;
    return page && page->bits[bit / 8] >> bit % 8 & 1;
}

enum pl_err pl_mqtt_incoming_add(struct mqtt_session *s, uint16_t packet_id)
{
    struct mqtt_flow *f = pl_mqtt_flow_of(s);
    if (!f)
        return PL_NO_MEMORY;
    struct id_page **page = &f->incoming[packet_id / ID_PAGE_BITS];
    if (!*page) {
        *page = f->spare ? f->spare : pl_zalloc(sizeof **page);
        f->spare = NULL;
    }
    if (!*page)
        return PL_NO_MEMORY;
    uint32_t bit = packet_id % ID_PAGE_BITS;
    (*page)->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
    (*page)->count++;
    return PL_OK;
}

bool pl_mqtt_incoming_remove(struct mqtt_session *s, uint16_t packet_id)
{
    if (!pl_mqtt_incoming_has(s, packet_id))
        return false;
    struct id_page **page = &s->flow->incoming[packet_id / ID_PAGE_BITS];
    uint32_t bit = packet_id % ID_PAGE_BITS;
    (*page)->bits[bit / 8] &= (uint8_t) ~(1u << bit % 8);
    if (!--(*page)->count) {
        pl_free(s->flow->spare);
        s->flow->spare = *page;
        *page = NULL;
    }
    return true;
}
