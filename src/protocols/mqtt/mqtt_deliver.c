/*
 * What is delivered to a session, as PUBLISH packets on its link.
 *
 * The quick path is a run whose frames fit this link as they are: QoS 0 goes out in one piece, QoS
 * 1 and 2 as copies with their packet ids. Links with a packet limit or aliases, sessions that came
 * back with another version, and what is not live, are encoded one by one.
 */
#include "protocols/mqtt/mqtt_session.h"

#include "base/alloc.h"
#include "core/journal.h"
#include "core/worker.h"

static struct mqtt_alias_out *find_alias(const struct mqtt_link *l, struct pl_bytes subject)
{
    struct pl_map_entry *e = l->aliases_out ? pl_map_find(l->aliases_out, subject) : NULL;
    return e ? PL_CONTAINER(e, struct mqtt_alias_out, entry) : NULL;
}

/* The next alias, for this subject, before it is known whether it will be told. NULL: none. */
static struct mqtt_alias_out *new_alias(struct mqtt_link *l, struct pl_bytes subject)
{
    if (!l->aliases_out) {
        l->aliases_out = pl_alloc(sizeof *l->aliases_out);
        if (!l->aliases_out)
            return NULL;
        pl_map_init(l->aliases_out, (uint64_t)(uintptr_t)l ^ l->link.id);
    }
    if (l->aliases_out->count >= l->alias_out_max)
        return NULL;
    struct mqtt_alias_out *alias = pl_zalloc(sizeof *alias + subject.len);
    if (!alias)
        return NULL;
    alias->alias = (uint16_t)(l->aliases_out->count + 1);
    if (subject.len)
        memcpy(alias->subject, subject.data, subject.len);
    return alias;
}

void pl_mqtt_aliases_out_done(struct mqtt_link *l)
{
    struct pl_map *map = l->aliases_out;
    if (!map)
        return;
    for (struct pl_map_entry *e = pl_map_next(map, NULL); e; e = pl_map_next(map, NULL)) {
        pl_map_remove(map, e);
        pl_free(PL_CONTAINER(e, struct mqtt_alias_out, entry));
    }
    pl_map_done(map);
    pl_free(map);
    l->aliases_out = NULL;
}

/* PL_TOO_LARGE: nothing was written, it can never go to this client. */
static enum pl_err write_one(
    struct mqtt_link *l, const struct pl_message *m, const struct mqtt_delivery *d)
{
    struct pl_writer w = pl_writer_begin(l->link.out);
    enum pl_err err = pl_mqtt_encode_message(&w, m, d);
    if (!err && w.err)
        err = w.err;
    if (!err && w.len > l->packet_max_out)
        err = PL_TOO_LARGE;
    if (err)
        w.len = 0;
    enum pl_err end_err = pl_writer_end(&w);
    return err ? err : end_err;
}

enum mqtt_sent pl_mqtt_write_publish(struct mqtt_link *l, const struct pl_message *m, uint64_t look,
    uint16_t packet_id, bool dup, uint64_t epoch)
{
    struct mqtt_delivery d = {
        .look = (look & ~(uint64_t)(MQTT_LOOK_OLD | MQTT_LOOK_5)) | pl_mqtt_version_look(l),
        .packet_id = packet_id,
        .dup = dup,
        .epoch = epoch,
        .now_ms = l->link.worker->now_ms,
    };
    struct mqtt_alias_out *known = NULL, *fresh = NULL;
    if (l->alias_out_max) {
        known = find_alias(l, m->subject);
        fresh = known ? NULL : new_alias(l, m->subject);
        d.alias = known ? known->alias : fresh ? fresh->alias : 0;
        d.omit_topic = known != NULL;
    }
    enum pl_err err = write_one(l, m, &d);
    if (fresh && (err || pl_map_add(l->aliases_out, &fresh->entry,
                             pl_bytes_of(fresh->subject, m->subject.len))))
        pl_free(fresh); /* told, but not used again: allowed */
    if (!err)
        return MQTT_SENT;
    return err == PL_TOO_LARGE ? MQTT_NOT_SENDABLE : MQTT_NOT_NOW;
}

/* One run on its way. */
struct course {
    struct mqtt_session *s;
    const struct mqtt_subscription *sub;
    const struct pl_run *run;
    uint64_t look;
    bool is_direct; /* frames are right for this link */
};

static struct pl_bytes frame_at(const struct pl_run *run, uint32_t i)
{
    uint32_t from = i ? run->ends[i - 1] : 0;
    return pl_bytes_of(run->frames->data + from, run->ends[i] - from);
}

/* Messages from..to of QoS 0: what does not find memory is dropped. */
static void send_plain(const struct course *c, uint32_t from, uint32_t to)
{
    struct mqtt_link *l = c->s->link;
    if (!l || from == to)
        return;
    const struct pl_run *run = c->run;
    uint32_t dropped = 0;
    if (c->is_direct) {
        uint32_t at = from ? run->ends[from - 1] : 0;
        struct pl_bytes bytes = {run->frames->data + at, run->ends[to - 1] - at};
        if (pl_output_append_shared(l->link.out, run->frames, bytes))
            dropped = to - from;
    } else {
        for (uint32_t i = from; i < to; i++)
            dropped += pl_mqtt_write_publish(l, run->messages[i], c->look, 0, false,
                           run->cursor.epoch) == MQTT_NOT_NOW;
    }
    if (dropped)
        pl_count(&l->link.worker->counters.dropped_no_memory, dropped);
}

/* A subscription with QoS 1 or 2 gets QoS 0 messages, too, and for these the reader that lags meets
 * the policy here (PL_SLOW_OWN). */
static bool may_send_plain(const struct course *c, uint32_t count)
{
    struct mqtt_link *l = c->s->link;
    if (!l)
        return false;
    if (pl_mqtt_has_room(l))
        return true;
    pl_count(&l->link.worker->counters.dropped_slow, count);
    if (c->sub->core.protocol_bits == PL_SLOW_DISCONNECT)
        pl_session_end(&c->s->core, PL_SLOW_CONSUMER);
    return false;
}

static void deliver_mixed(const struct course *c)
{
    const struct pl_run *run = c->run;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        if (pl_mqtt_look_qos(c->look, m)) {
            struct pl_bytes frame = c->is_direct ? frame_at(run, i) : PL_NO_BYTES;
            bool is_stored = c->s->is_expiring && run->origin == PL_ORIGIN_LIVE && m->record;
            uint64_t record = is_stored ? m->record->id : 0;
            if (c->s->is_restoring && pl_mqtt_is_had(c->s, m, c->look))
                continue;
            pl_mqtt_flow_deliver(c->s, m, c->look, record, run->cursor.epoch, run->frames, frame);
            continue;
        }
        uint32_t from = i;
        while (i + 1 < run->count && !pl_mqtt_look_qos(c->look, run->messages[i + 1]))
            i++;
        if (may_send_plain(c, i + 1 - from))
            send_plain(c, from, i + 1);
    }
}

void pl_mqtt_deliver(
    struct pl_session *core, struct pl_subscription *core_sub, const struct pl_run *run)
{
    struct mqtt_session *s = PL_CONTAINER(core, struct mqtt_session, core);
    const struct mqtt_subscription *sub = PL_CONTAINER(core_sub, struct mqtt_subscription, core);
    const struct mqtt_link *l = s->link;
    struct course c = {.s = s, .sub = sub, .run = run, .look = sub->look};
    if (run->origin == PL_ORIGIN_RETAINED)
        c.look |= MQTT_LOOK_RETAINED;
    c.is_direct = run->frames && l && l->takes_frames && sub->look & pl_mqtt_version_look(l);
    if (core_sub->qos)
        deliver_mixed(&c);
    else
        send_plain(&c, 0, run->count);
}
