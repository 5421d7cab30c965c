/* What a realm holds. Internal to the core: realm.c, run.c and mailbox.c share it. */
#ifndef PL_CORE_REALM_STATE_H
#define PL_CORE_REALM_STATE_H

#include <pthread.h>

#include "base/hash.h"
#include "core/batch.h"
#include "core/dealer.h"
#include "core/journal.h"
#include "core/retained.h"

enum pl_due_kind { PL_DUE_IDENTITY, PL_DUE_SESSION, PL_DUE_WILL, PL_DUE_CALL };

/* A session that others may see. */
struct pl_presence {
    struct pl_map_entry entry;
    uint64_t id; /* pl_session_public_id */
    struct pl_session *session;
};

/* What waits until its group is on disk; and what must not come before that (durable.c). */
struct pl_deferred {
    struct pl_op op;
    struct pl_message *kept; /* PUBLISH: one reference */
    struct pl_batch *batch;  /* it came in, held while there are such; NULL: it needs none */
    uint64_t ticket;
    bool is_written; /* part of that group, not only behind it */
    uint8_t worker;  /* whose handed_bytes it counts in */
};

struct pl_deferrals {
    struct pl_deferred *ring;     /* owned; positions rise for ever */
    uint32_t cap;                 /* power of two, or 0 */
    uint64_t head, decided, tail; /* before `decided`, their groups' fate stands in op.err */
    uint64_t known;               /* the last ticket that was decided */
};

struct pl_realm {
    pthread_mutex_t lock; /* guards all below but what never changes */
    struct pl_matcher *matcher;
    struct pl_retained *retained;
    struct pl_history *history;
    struct pl_map names; /* of mailboxes */
    struct pl_map seats;
    struct pl_heap deadlines;
    struct pl_dealer dealer;
    struct pl_map presences;     /* sessions with a card, by public id */
    struct pl_session *observer; /* is told what happens; NULL: nobody */
    struct pl_session *sessions;
    uint64_t session_count, detached_count, publications;
    uint32_t durable_subs;     /* subscriptions with QoS that outlive the process */
    uint32_t durable_waiting;  /* … that wait for the disk themselves */
    uint64_t unstored;         /* counts named sessions that went from the store */
    uint32_t retained_readers; /* replays of retained values that have not ended */
    struct pl_random random;
    struct pl_deferrals deferrals;
    struct pl_cursor *epochs; /* earlier ones, as the store knows them; owned */
    uint32_t epoch_count;
    uint64_t expire_next_ms; /* when old history and retained values are looked for */

    /* Constant. */
    char *name;
    struct pl_worker *workers;
    uint32_t worker_count;
    uint64_t epoch, seed;
    bool has_history;
    const struct pl_journal *journal; /* NULL: nothing outlives the process */
    struct pl_realm_limits limits;
};

/* What a run carries along. */
struct pl_runner {
    struct pl_realm *realm;
    struct pl_batch *batch;
    struct pl_match *last; /* of the message before, while nothing has changed since */
    bool last_logged;
    const struct pl_match *heard; /* of the run that is open: does its publisher hear himself? */
    const struct pl_session *hearer;
    bool is_heard;
    bool holds_journal;
    bool is_commit; /* what it runs has waited for the disk already */
    uint64_t now_ms, now_unix_ms;
};

/* Under the lock. */
void pl_run_op(struct pl_runner *r, struct pl_op *op);
/* Items that an op must find room for. */
uint32_t pl_op_answers(const struct pl_op *op);
/* One message of a publication that wants no answer. */
void pl_run_plain(struct pl_runner *r, const struct pl_op *op, uint32_t index);
void pl_run_message(
    struct pl_runner *r, uint32_t index, const struct pl_match **out_match, enum pl_err *out_err);
/* One that wants the message, connected if there is one, each in its turn by chance; of those that
 * have all of `flags`. NULL: none. */
struct pl_subscription *pl_run_pick(struct pl_realm *realm, const struct pl_match *match,
    const struct pl_match_slot *slot, const struct pl_message *message, uint8_t flags);
/* One message to one subscription. False: no memory. */
bool pl_run_add_pick(struct pl_runner *r, struct pl_subscription *sub, uint32_t index);
/* Tells the observer, if there is one and the session has a card. */
void pl_run_notice(struct pl_runner *r, struct pl_session *about, enum pl_notice_kind kind,
    struct pl_pattern *pattern, const struct pl_registration *registration, bool is_edge);
void pl_run_publish_kept(struct pl_runner *r, struct pl_message *kept_moved);
struct pl_item *pl_run_done(
    struct pl_runner *r, struct pl_session *s, enum pl_done done, enum pl_err err, uint64_t token);
enum pl_err pl_run_enter(struct pl_runner *r, struct pl_session *s);
/* Out of the realm with all its subscriptions; PL_DONE_LEAVE goes to its address, with why it ended
 * if it did not ask for it. */
void pl_run_remove(struct pl_runner *r, struct pl_session *s, enum pl_err why);
void pl_run_claim(struct pl_runner *r, struct pl_op *op);
/* Of a literal pattern; sub->has_claim tells whether there is something to release (channel.c). */
enum pl_err pl_run_claim_subject(struct pl_runner *r, struct pl_subscription *sub);
void pl_run_seat(struct pl_runner *r, struct pl_op *op);
void pl_run_hold(struct pl_runner *r, struct pl_session *s);
/* Who waits for its seat gets it: PL_DONE_JOIN. */
void pl_run_leave_seat(struct pl_runner *r, struct pl_session *s);
enum pl_err pl_run_enter_presence(struct pl_realm *realm, struct pl_session *s);
void pl_run_leave_presence(struct pl_realm *realm, struct pl_session *s);
void pl_run_tell(struct pl_runner *r, const struct pl_op *op);
void pl_run_card(const struct pl_op *op);
void pl_run_detach(struct pl_runner *r, struct pl_session *s, bool publish_will);
void pl_run_leave(struct pl_runner *r, struct pl_session *s, bool publish_will);
void pl_run_set_expiry(struct pl_runner *r, struct pl_session *s, uint64_t expiry_ms);
void pl_run_due(struct pl_runner *r);
/* ---- durable.c, under the lock ---- */

/* True: the op waits for the disk, or for one that does, or was done. */
bool pl_run_defer(struct pl_runner *r, struct pl_op *op);
/* One that is nobody's, as a will. True: it waits, and the reference was taken. */
bool pl_run_defer_kept(struct pl_runner *r, struct pl_message *kept);
/* At the end of a batch: the journal is for others again. */
void pl_run_let_go(struct pl_runner *r);
/* The session goes: what waits of it is done without it, or not at all. */
void pl_run_forget_deferred(struct pl_runner *r, struct pl_session *s);
/* The session's own lines in the store: as it stands now; or away with all that is its. */
void pl_store_mailbox(struct pl_runner *r, struct pl_mailbox *mailbox);
void pl_unstore_mailbox(struct pl_runner *r, struct pl_mailbox *mailbox);
/* The retained value of the subject in the store, as it stands now: it, or none. */
void pl_store_retained(struct pl_runner *r, struct pl_bytes subject);
/* A line of the log in the store. */
void pl_store_log(struct pl_realm *realm, struct pl_bytes name, const struct pl_bytes *about,
    struct pl_bytes value);
/* What durable rules have dropped since it was last written (restore.c). */
void pl_store_dropped(struct pl_realm *realm);
/* Runs what has been decided, some of it; true: there is more. *out_spent: batches that are held no
 * more, by `next`: to be released after the lock. */
bool pl_run_decided(struct pl_runner *r, struct pl_batch **out_spent);
/* The group is on disk, or err. */
void pl_deferrals_decide(struct pl_deferrals *d, uint64_t ticket, enum pl_err err);
void pl_deferrals_done(struct pl_deferrals *d);

void pl_mailbox_free(struct pl_mailbox *mailbox);
/* Links the batch into the inboxes; bits of the workers to wake are returned. */
uint64_t pl_realm_hand_over(struct pl_realm *realm, struct pl_batch *b);
void pl_realm_wake(struct pl_realm *realm, uint64_t bits);

#endif
