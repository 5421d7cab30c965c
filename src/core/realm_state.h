/* What a realm holds. Internal to the core: realm.c, run.c and mailbox.c share it. */
#ifndef PL_CORE_REALM_STATE_H
#define PL_CORE_REALM_STATE_H

#include <pthread.h>

#include "base/hash.h"
#include "core/batch.h"
#include "core/dealer.h"
#include "core/retained.h"

enum pl_due_kind { PL_DUE_IDENTITY, PL_DUE_SESSION, PL_DUE_WILL, PL_DUE_CALL };

/* A session that others may see. */
struct pl_presence {
    struct pl_map_entry entry;
    uint64_t id; /* pl_session_public_id */
    struct pl_session *session;
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
    uint32_t retained_readers; /* replays of retained values that have not ended */
    struct pl_random random;
    uint64_t expire_next_ms; /* when old history and retained values are looked for */

    /* Constant. */
    char *name;
    struct pl_worker *workers;
    uint32_t worker_count;
    uint64_t epoch, seed;
    bool has_history;
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
    uint64_t now_ms, now_unix_ms;
};

/* Under the lock. */
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
void pl_run_set_expiry(struct pl_session *s, uint64_t expiry_ms);
void pl_run_due(struct pl_runner *r);
void pl_mailbox_free(struct pl_mailbox *mailbox);
/* Links the batch into the inboxes; bits of the workers to wake are returned. */
uint64_t pl_realm_hand_over(struct pl_realm *realm, struct pl_batch *b);
void pl_realm_wake(struct pl_realm *realm, uint64_t bits);

#endif
