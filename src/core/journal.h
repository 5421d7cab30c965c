/*
 * What a realm writes down, so that it outlives the process (DESIGN section 7). The core does no
 * I/O: whoever keeps the store gives it this.
 *
 * Everything is appended under a realm's lock, in the order in which it is to count, to the group
 * that is being filled. A group is on disk as a whole or not at all. What must not be answered
 * before waits until pl_realm_committed tells what became of its group.
 *
 *     message   a publication, once, however many want it. It stands in the store until its kept
 *               copy is freed, then its record is dropped
 *     put       a state under a key: replaces what stood there; no value: drops it
 *
 * Keys are bytes; the first tells what it is (enum pl_state).
 */
#ifndef PL_CORE_JOURNAL_H
#define PL_CORE_JOURNAL_H

#include "base/bytes.h"
#include "base/err.h"

struct pl_message;

/* The same moment on both clocks. */
struct pl_times {
    uint64_t monotonic_ms, unix_ms;
};

/* One message in the store. */
struct pl_record {
    void (*drop)(struct pl_record *record); /* any thread: its message has been freed */
    uint64_t id; /* rises from message to message, over all starts of the server */
};

/* The first byte of a key; behind it the realm's name and a zero. */
enum pl_state {
    PL_STATE_RETAINED = 'r',     /* subject → a message (core/message_record.h) */
    PL_STATE_SESSION = 's',      /* mailbox name → core/mailbox.c */
    PL_STATE_SUBSCRIPTION = 'b', /* mailbox name, 0, the protocol's key → id of the last message
                                    before it, and the protocol's bytes */
    PL_STATE_PROGRESS = 'p',     /* mailbox name, 0, the protocol's key → the protocol's bytes */
    PL_STATE_LOG = 'l',          /* nothing, or a rule's pattern → core/history.h */
};

struct pl_journal {
    void *context;
    /* What is appended between the two stands in one group. The others below are called there
     * alone; it is held for no longer than a batch runs. */
    void (*hold)(void *context);
    void (*release)(void *context);
    /*
     * Under the lock of a realm. *out_ticket: the group's number, rising. PL_NO_MEMORY; PL_LIMIT:
     * so much waits for the disk that more is not taken; PL_STORE: the store is broken.
     */
    enum pl_err (*message)(void *context, const char *realm, struct pl_message *kept,
        const struct pl_times *now, uint64_t *out_ticket);
    /* A message as a state. */
    enum pl_err (*put_message)(void *context, struct pl_bytes key, const struct pl_message *message,
        const struct pl_times *now, uint64_t *out_ticket);
    enum pl_err (*put)(
        void *context, struct pl_bytes key, struct pl_bytes value, uint64_t *out_ticket);
    enum pl_err (*drop)(void *context, struct pl_bytes key, uint64_t *out_ticket);
    /* All keys that begin so. */
    enum pl_err (*drop_all)(void *context, struct pl_bytes prefix, uint64_t *out_ticket);
    /* The id of the newest message. */
    uint64_t (*last_id)(void *context);
};

#endif
