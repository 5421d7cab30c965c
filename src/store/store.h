/*
 * The store: what outlives the process, in one SQLite file (DESIGN section 7).
 *
 *     any thread, under a realm's lock    journal → the group that is being filled
 *     the writer's thread                 one transaction per group, one fsync for all in it;
 *                                         then committed(ticket, err)
 *
 * Messages are written as one blob per group, because a row per message would be four times
 * slower; states are rows. Which messages are still wanted is known in memory: a message's record
 * is dropped when its last holder lets go, a group goes when nothing in it is wanted, and is
 * written anew when less than half of it is.
 *
 * At the start: open, read everything back, start. At the end: stop (writes what waits), free what
 * holds messages, free.
 */
#ifndef PL_STORE_STORE_H
#define PL_STORE_STORE_H

#include "base/inbox.h"
#include "core/journal.h"
#include "core/message.h"

struct pl_store;

enum { PL_STORE_SCHEMA = 1 };

struct pl_store_options {
    const char *file;
    uint64_t pending_bytes_max; /* that wait for the disk; more is refused with PL_LIMIT */
    bool is_read_only;          /* for looking at it: never started */
    bool must_exist;            /* none is made; so too if it is read only */
    bool may_be_damaged;        /* what cannot be read is left out, and counted */
};

/* What became of a group. Its owner frees it with pl_free. */
struct pl_store_verdict {
    struct pl_post post; /* for whoever passes it on */
    void *context;       /* of pl_store_start */
    uint64_t ticket;
    enum pl_err err; /* PL_OK, PL_STORE */
};

/*
 * Makes the file (mode 0600) where there is none. PL_CONFIG: it is damaged, of another program or
 * of a newer version, and was not changed; PL_EXISTS: another process has it; PL_IO. diag tells
 * which, and what to do.
 */
PL_MUST_USE enum pl_err pl_store_open(
    const struct pl_store_options *options, struct pl_store **out, struct pl_diag *diag);

/* Before the start: every state whose key begins with that byte, in the order of keys; an error of
 * fn ends it and is returned. */
typedef enum pl_err pl_store_state_fn(void *context, struct pl_bytes key, struct pl_bytes value);
PL_MUST_USE enum pl_err pl_store_each_state(struct pl_store *store, enum pl_state kind,
    pl_store_state_fn *fn, void *context, struct pl_diag *diag);
/* Every message, in the order of ids. Kept ones, the reference is fn's; its record is in place. */
typedef enum pl_err pl_store_message_fn(
    void *context, struct pl_bytes realm, struct pl_message *kept_moved);
PL_MUST_USE enum pl_err pl_store_each_message(struct pl_store *store, const struct pl_times *now,
    pl_store_message_fn *fn, void *context, struct pl_diag *diag);

/* The writer begins. committed is called on its thread for each group, in the order of tickets. */
typedef void pl_store_committed_fn(struct pl_store_verdict *verdict);
PL_MUST_USE enum pl_err pl_store_start(
    struct pl_store *store, pl_store_committed_fn *committed, void *context, struct pl_diag *diag);
/* Borrowed; lives with the store. */
const struct pl_journal *pl_store_journal(struct pl_store *store);
/* Writes what waits and ends the writer. From then on nothing is taken, and a message that is freed
 * stays in the file. */
void pl_store_stop(struct pl_store *store);
/* All messages with a record of it have been freed. Returns NULL; accepts NULL. */
struct pl_store *pl_store_free(struct pl_store *store);

struct pl_store_stats {
    uint64_t groups, messages, group_bytes, live_bytes; /* in the file, and still wanted of it */
    uint64_t states, file_bytes;
    uint64_t commits, failures, written_bytes; /* since the start */
    uint64_t pending_bytes;                    /* that wait for the disk */
    uint64_t damaged;                          /* groups and states that cannot be read */
    bool is_failing;                           /* the last group could not be written */
};

/* Any thread. */
void pl_store_stats(struct pl_store *store, struct pl_store_stats *out);

/* Are its pages in order? PL_CONFIG: they are not. */
PL_MUST_USE enum pl_err pl_store_check_pages(struct pl_store *store, struct pl_diag *diag);

/* Gives space back that is not used. Before the start. */
PL_MUST_USE enum pl_err pl_store_vacuum(struct pl_store *store, struct pl_diag *diag);

#endif
