/*
 * The two objects of MQTT, and how its files share them. Internal to this folder.
 *
 *     mqtt_link      one connection: version, keep-alive, limits, aliases. Lives with the transport
 *     mqtt_session   one client id: subscriptions, what is in flight and queued, packet ids. May
 *                    outlive its links; freed when the core says PL_DONE_LEAVE
 *
 *     mqtt_link.c       bytes in, packets told apart, time, the end of a link
 *     mqtt_connect.c    CONNECT → login → claim → CONNACK
 *     mqtt_publish.c    PUBLISH from the client, and what answers it
 *     mqtt_subscribe.c  SUBSCRIBE, UNSUBSCRIBE and their answers
 *     mqtt_deliver.c    deliveries → PUBLISH to the client
 *     mqtt_inflight.c   QoS 1 and 2 to the client: window, queue, retransmission
 *     mqtt_session.c    the ops that the core calls, and the end of a session
 */
#ifndef PL_PROTOCOLS_MQTT_SESSION_H
#define PL_PROTOCOLS_MQTT_SESSION_H

#include "protocols/mqtt/mqtt.h"
#include "protocols/mqtt/mqtt_packet.h"
#include "protocols/mqtt/mqtt_translate.h"

struct mqtt_session;
struct mqtt_flow;

enum mqtt_state {
    MQTT_NEW,        /* waits for CONNECT */
    MQTT_CONNECTING, /* login or claim is open; nothing is read */
    MQTT_CONNECTED,
    MQTT_CLOSED, /* we said goodbye: nothing is read or written any more */
};

/* The link's last topic and the subject that it means: a publisher repeats itself. */
enum { MQTT_CACHED_TOPIC_MAX = 240 };

struct mqtt_topic_cache {
    uint64_t batch; /* subject lies in the arena of this one */
    struct pl_bytes subject;
    size_t len;
    uint8_t topic[MQTT_CACHED_TOPIC_MAX];
};

/* A topic that we gave an alias. */
struct mqtt_alias_out {
    struct pl_map_entry entry;
    uint16_t alias;
    uint8_t subject[];
};

struct mqtt_link {
    struct pl_link link;
    struct mqtt_session *session; /* NULL: before CONNECT and after the end */
    uint64_t last_receive_ms;
    uint32_t packet_max_out; /* bytes of a packet that the client takes */
    uint16_t keep_alive_s;   /* 0: none */
    uint16_t quota_max;      /* open QoS 1 and 2 messages that the client takes … */
    uint16_t quota;          /* … and how many more right now */
    uint16_t receive_open;   /* QoS 1 and 2 messages from it that are not acknowledged */
    uint16_t alias_out_max;
    uint8_t version;             /* enum mqtt_version; 0: not known yet */
    uint8_t state;               /* enum mqtt_state */
    bool wants_problems;         /* Request Problem Information */
    bool takes_frames;           /* shared frames may go out as they are: no limit, no alias */
    struct pl_bytes *aliases_in; /* owned array [topic_alias_max] of owned topics; NULL: none yet */
    struct pl_map *aliases_out;  /* owned, of mqtt_alias_out by subject; NULL: none yet */
    struct mqtt_topic_cache *cache; /* owned; NULL: published nothing yet */
};

/* What CONNECT said that is needed until CONNACK. */
struct mqtt_connecting {
    struct pl_message *will; /* one reference, or NULL */
    uint64_t will_delay_ms, will_expiry_ms;
    uint32_t expiry_s; /* granted; UINT32_MAX: for ever */
    bool clean;
    bool wants_response_information;
    bool is_expiry_told;     /* the client asked for another one */
    bool is_keep_alive_told; /* the server's choice */
    bool is_id_assigned;
    uint16_t name_len;
    uint8_t name[]; /* client id */
};

struct mqtt_subscription {
    struct pl_subscription core;
    struct mqtt_subscription *next, **at; /* the session's list */
    struct pl_map_entry entry;            /* the session's index, key is text */
    struct mqtt_request *request;         /* whose answer it is part of; NULL: none */
    uint64_t look;                        /* enum mqtt_look; core.form is it, or 0 */
    uint32_t request_index;               /* which of its codes */
    bool is_listed;                       /* stands under its filter; false: on its way out */
    bool is_leaving;                      /* unsubscribe was asked for */
    uint16_t text_len;
    uint8_t text[]; /* the filter as it came, with $share/group */
};

/* A SUBSCRIBE or UNSUBSCRIBE that is not answered yet. */
struct mqtt_request {
    struct mqtt_request *next, **at; /* the session's list */
    uint32_t generation;             /* of the link that asked; another one gets no answer */
    uint16_t packet_id;
    uint8_t type;     /* enum mqtt_type of the answer */
    bool has_history; /* parley-since was given: the answer tells what came of it */
    bool is_recovered;
    struct pl_cursor cursor;
    uint32_t pending; /* codes that are still open */
    uint32_t count;
    uint8_t codes[];
};

struct mqtt_session {
    struct pl_session core;
    struct mqtt_link *link; /* NULL: detached */
    struct mqtt_subscription *subs;
    struct pl_map *index;               /* of subs by filter, once they are many; owned, or NULL */
    struct mqtt_flow *flow;             /* QoS 1 and 2; NULL: none yet */
    struct mqtt_request *requests;      /* open ones */
    struct mqtt_connecting *connecting; /* owned, until CONNACK */
    const struct pl_mqtt_options *options;
    uint32_t sub_count;  /* listed ones */
    uint32_t generation; /* counts links */
    bool is_expiring;    /* its session expiry is not 0 */
    bool is_restoring;   /* messages that come are looked at, see pl_mqtt_is_had */
};

extern const struct pl_session_ops pl_mqtt_session_ops;

static inline const struct pl_mqtt_options *pl_mqtt_options_of(const struct mqtt_link *l)
{
    return l->link.config->options ? l->link.config->options : &pl_mqtt_options_default;
}

static inline bool pl_mqtt_is_5(const struct mqtt_link *l)
{
    return l->version == MQTT_5;
}

static inline uint64_t pl_mqtt_version_look(const struct mqtt_link *l)
{
    return l->version == MQTT_5 ? MQTT_LOOK_5 : MQTT_LOOK_OLD;
}

static inline bool pl_mqtt_has_room(const struct mqtt_link *l)
{
    return l->link.out->bytes <= l->link.out->bytes_max;
}

/* ---- mqtt_link.c ---- */

/* Says goodbye, closes the connection and lets the session go as for a lost connection. reason is
 * MQTT 5's; older versions are just closed. Returns err. */
enum pl_err pl_mqtt_fail(struct mqtt_link *l, enum pl_err err, uint8_t reason, const char *text);
/* What was decoded badly: err and its diag. */
enum pl_err pl_mqtt_fail_diag(struct mqtt_link *l, enum pl_err err, const struct pl_diag *diag);
/* The words alone: DISCONNECT and the end of the transport. The session is the caller's matter. */
void pl_mqtt_goodbye(struct mqtt_link *l, enum pl_err err, uint8_t reason, const char *text);
/* Link and session part; the session detaches or, if it had not joined, leaves. */
void pl_mqtt_part(struct mqtt_link *l, bool publish_will);
/* Closes a link whose output met no memory: its stream is broken. */
void pl_mqtt_broken(struct mqtt_link *l);
/* Ends a writer begun on the link's output; a failure breaks the link. False: it failed. */
bool pl_mqtt_send(struct mqtt_link *l, struct pl_writer *w);

/* ---- mqtt_connect.c ---- */
enum pl_err pl_mqtt_on_connect(struct mqtt_link *l, struct pl_bytes body);
void pl_mqtt_on_login(struct mqtt_session *s, const struct pl_completion *done);
void pl_mqtt_on_claim(struct mqtt_session *s, const struct pl_completion *done);
void pl_mqtt_connecting_free(struct mqtt_session *s);
/* Refuses a CONNECT in its version's words, and closes. */
enum pl_err pl_mqtt_refuse(struct mqtt_link *l, enum pl_err err, uint8_t reason, const char *text);

/* ---- mqtt_publish.c ---- */
enum pl_err pl_mqtt_on_publish(
    struct mqtt_link *l, uint8_t flags, struct pl_bytes body, struct pl_shared *buffer);
enum pl_err pl_mqtt_on_pubrel(struct mqtt_link *l, struct pl_bytes body);
void pl_mqtt_on_published(struct mqtt_session *s, const struct pl_completion *done);
void pl_mqtt_aliases_done(struct mqtt_link *l);
void pl_mqtt_write_ack(
    struct mqtt_link *l, enum mqtt_type type, uint16_t packet_id, uint8_t reason, const char *text);

/* ---- mqtt_subscribe.c ---- */
enum pl_err pl_mqtt_on_subscribe(struct mqtt_link *l, struct pl_bytes body);
enum pl_err pl_mqtt_on_unsubscribe(struct mqtt_link *l, struct pl_bytes body);
void pl_mqtt_on_subscribed(struct mqtt_session *s, const struct pl_completion *done);
void pl_mqtt_on_unsubscribed(struct mqtt_session *s, const struct pl_completion *done);
/* All that is left, when the core refers to nothing any more. */
void pl_mqtt_subscriptions_free(struct mqtt_session *s);

/* ---- mqtt_deliver.c ---- */
enum mqtt_sent {
    MQTT_SENT,
    MQTT_NOT_SENDABLE, /* never to this client: too large */
    MQTT_NOT_NOW,      /* no memory: nothing was written */
    MQTT_BROKEN,       /* half a packet stands in the output: the link was closed */
};

/* Writes one PUBLISH for this link, with its limits and aliases. */
enum mqtt_sent pl_mqtt_write_publish(struct mqtt_link *l, const struct pl_message *m, uint64_t look,
    uint16_t packet_id, bool dup, uint64_t epoch);
void pl_mqtt_deliver(
    struct pl_session *core, struct pl_subscription *sub, const struct pl_run *run);
void pl_mqtt_aliases_out_done(struct mqtt_link *l);

/* ---- mqtt_inflight.c ---- */

/* A message with QoS 1 or 2 to the client: sent if the window has room, else queued, within the
 * limits. record: its id in the store, 0 if it is not there for this session. frame: it encoded for
 * this link but for the packet id, in `frames`; empty: not so. */
void pl_mqtt_flow_deliver(struct mqtt_session *s, const struct pl_message *m, uint64_t look,
    uint64_t record, uint64_t epoch, struct pl_shared *frames, struct pl_bytes frame);
/* A new link: what was in flight is sent again, then what is queued. */
void pl_mqtt_flow_resume(struct mqtt_session *s);
/* Sends what waits, as far as window and output allow. */
void pl_mqtt_flow_pump(struct mqtt_session *s);
bool pl_mqtt_flow_is_waiting(const struct mqtt_session *s);
/* PUBACK, PUBREC, PUBCOMP. */
enum pl_err pl_mqtt_on_ack(struct mqtt_link *l, enum mqtt_type type, struct pl_bytes body);
/* Packet ids of QoS 2 messages from the client: PUBREC was, PUBREL was not. */
bool pl_mqtt_incoming_has(const struct mqtt_session *s, uint16_t packet_id);
PL_MUST_USE enum pl_err pl_mqtt_incoming_add(struct mqtt_session *s, uint16_t packet_id);
/* False: it was not there. */
bool pl_mqtt_incoming_remove(struct mqtt_session *s, uint16_t packet_id);
void pl_mqtt_flow_free(struct mqtt_session *s);

/* ---- mqtt_durable.c ---- */
extern const struct pl_restorer pl_mqtt_restorer;
size_t pl_mqtt_write_state(
    const struct pl_subscription *core, uint8_t *out_state, struct pl_bytes *out_key);
/* While messages are restored: has this session had it, or is it in flight to it? */
enum pl_had pl_mqtt_had(const struct pl_session *core, const struct pl_message *m);
/* A record that is restored: true: the session has had it, or has it already. */
bool pl_mqtt_is_had(struct mqtt_session *s, const struct pl_message *m, uint64_t look);
/* How far the client has come, if that has changed: now, or when the last time is a while ago. */
void pl_mqtt_mark(struct mqtt_session *s, bool now);
/* The packet id of a QoS 2 message from the client. */
void pl_mqtt_store_incoming(struct mqtt_session *s, uint16_t packet_id);
/* One whose message was refused is new when it comes again. */
void pl_mqtt_forget_incoming(struct mqtt_session *s, uint16_t packet_id);
/* PUBCOMP goes out when the store has forgotten the id. */
void pl_mqtt_unstore_incoming(struct mqtt_session *s, uint16_t packet_id, uint8_t reason);
void pl_mqtt_on_stored(struct mqtt_session *s, const struct pl_completion *done);
/* A subscription of a filter as it is kept, listed; NULL: it is none any more, or no memory. */
struct mqtt_subscription *pl_mqtt_subscription_restore(
    struct mqtt_session *s, struct pl_bytes text, uint64_t look, bool no_local);

#endif
