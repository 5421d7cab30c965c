/* What is in flight to a client, shared by mqtt_inflight.c and mqtt_durable.c. */
#ifndef PL_PROTOCOLS_MQTT_FLOW_H
#define PL_PROTOCOLS_MQTT_FLOW_H

#include "protocols/mqtt/mqtt_session.h"

enum entry_state { ENTRY_DONE, ENTRY_SENT, ENTRY_RELEASED };

struct outgoing {
    struct pl_message *message; /* one reference; NULL: done, or released */
    uint64_t look;
    uint64_t record; /* its message's id in the store; 0: it came from before, or is not there */
    uint8_t state;   /* enum entry_state */
    bool is_on_wire; /* on this link */
    bool was_sent;   /* on some link: it is a duplicate from then on */
};

enum {
    MQTT_IDS = 65535,
    MQTT_SPAN_FACTOR = 4, /* the window's span is at most so many times its size */
    ID_PAGE_BITS = 1024,
    ID_PAGES = 65536 / ID_PAGE_BITS,
};

/* A ring that grows by doubling. Positions rise for ever. */
struct ring {
    struct outgoing *items; /* owned */
    uint32_t cap;           /* power of two, or 0 */
    uint64_t head, tail;
};

struct id_page {
    uint32_t count;
    uint8_t bits[ID_PAGE_BITS / 8];
};

/* Messages that are done, one reference each: they stay in the store until it says so, too. */
struct mqtt_done_list {
    struct pl_message **items; /* owned */
    uint32_t count, cap;
};

struct mqtt_flow {
    struct ring window, queue;
    uint64_t unsent; /* in the window: from here on something may have to be sent again */
    size_t queue_bytes;
    uint64_t epoch;                     /* of the realm's log, for cursors */
    struct id_page *incoming[ID_PAGES]; /* QoS 2 from the client; owned, NULL: none in it */
    struct id_page *spare;              /* owned, empty: ids come and go one by one */

    /* mqtt_durable.c */
    struct mqtt_done_list done, marking; /* since the last mark; and until that one is on disk */
    uint64_t through;                    /* the newest record that came into the window */
    uint64_t marked_ms;
    bool is_changed;    /* since the last mark */
    bool is_marking;    /* one is on its way to the disk */
    bool may_have_sent; /* restored, of a client that was connected: all may be duplicates */
};

static inline struct outgoing *ring_at(const struct ring *r, uint64_t position)
{
    return &r->items[position & (r->cap - 1)];
}

/* A new last one, not filled; NULL: no memory. */
PL_MUST_USE struct outgoing *pl_mqtt_ring_push(struct ring *r);
/* The session's, made if there is none; NULL: no memory. */
PL_MUST_USE struct mqtt_flow *pl_mqtt_flow_of(struct mqtt_session *s);

/* ---- mqtt_durable.c ---- */

/* The entry needs its message no more: lets go of it when the store knows that, too. */
void pl_mqtt_let_go(struct mqtt_session *s, struct outgoing *entry);
void pl_mqtt_done_lists_free(struct mqtt_flow *f);

#endif
