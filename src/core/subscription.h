/*
 * A subscription: a session wants what matches a pattern, in one wire form.
 *
 * A protocol embeds it in its own struct, fills the upper part, and hands it to
 * pl_session_subscribe; from then on it belongs to the core until the completion
 * PL_DONE_UNSUBSCRIBE (or the session's `left`), after which nothing refers to it and the protocol
 * frees it.
 */
#ifndef PL_CORE_SUBSCRIPTION_H
#define PL_CORE_SUBSCRIPTION_H

#include "core/pattern.h"

struct pl_session;

/* What a delivery does that finds the subscriber's output over its limit. */
enum pl_slow_policy {
    PL_SLOW_DISCONNECT,
    PL_SLOW_DROP_NEWEST,
    PL_SLOW_DROP_OLDEST,
    PL_SLOW_KEEP_LATEST, /* only the newest per subject */
    PL_SLOW_OWN,         /* deliver anyway, also while it is ending: the session bounds a queue of
                            its own (MQTT's QoS 1 and 2) */
};

/* What a new subscription gets before live messages. */
enum pl_replay { PL_REPLAY_NONE, PL_REPLAY_RETAINED, PL_REPLAY_HISTORY };

enum pl_subscription_flags {
    PL_SUB_NO_LOCAL = 1,      /* not what its own session published, in a replay of history too */
    PL_SUB_QUEUE_BY_NAME = 2, /* its queue group is one slot for all patterns (NATS) */
    PL_SUB_CAN_REPLY = 4,     /* whoever stands behind it can answer a request */
    PL_SUB_NOTES = 8,         /* its replay has notes too */
    PL_SUB_ONCE = 16,         /* of its session's that match a live message and have this flag, one
                                 is delivered to: of the highest qos. Not with a queue group */
};

struct pl_subscription {
    /* Filled by the protocol, constant from then on. */
    struct pl_pattern *pattern; /* one reference, given to the core */
    struct pl_bytes queue;      /* group name; empty: none. Memory of the protocol's struct */
    uint64_t form;              /* wire form: equal forms of equal ops get equal bytes; 0: this one
                                   is encoded by its session itself */
    uint8_t slow;               /* enum pl_slow_policy */
    uint8_t replay;             /* enum pl_replay */
    uint8_t qos;                /* 0, 1, 2: the most it wants */
    uint8_t protocol_bits;      /* the protocol's own */
    uint8_t flags;              /* enum pl_subscription_flags */
    bool is_durable;            /* what it wants with QoS 1 and 2, and it itself, outlives the
                                   process; of a session that was claimed with an expiry */
    bool is_replaced;           /* before it is unsubscribed: another one has its key */

    /* The core's. What matching reads stands in the first 64 bytes. */
    uint8_t worker;     /* index of the session's worker, as matching sees it; under the lock */
    bool is_filtered;   /* a deny pattern intersects: asked per subject; under the lock */
    bool is_recovering; /* reads the log, is not delivered to; under the lock */
    bool has_claim;     /* its subject is logged because of it; under the lock */
    uint32_t node;      /* where it stands in the matcher */
    uint32_t dropped;   /* messages that the slow policy dropped; its reactor */
    struct pl_session *session;
    struct pl_subscription *node_next, **node_at;       /* list of its tree node; under the lock */
    struct pl_subscription *session_next, **session_at; /* list of its session; under the lock */
    struct pl_backlog *backlog; /* what waits for a slow reader; its reactor */
    uint64_t since; /* of a durable one: id of the last stored message before it. A protocol that
                       replaces one hands it on; 0: as of now */
    struct pl_replay_job *job; /* what it still has to be given from before; under the lock */
};

#endif
