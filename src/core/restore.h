/*
 * A realm as the store remembers it: what was kept is put back before anyone joins, on the thread
 * that owns the home worker, whose time is set. In this order:
 *
 *     states    log, retained, sessions, their subscriptions, their progress
 *     messages  in the order of their ids: to the log, and to sessions that have not had them
 *     finish    a new epoch begins
 */
#ifndef PL_CORE_RESTORE_H
#define PL_CORE_RESTORE_H

#include "core/journal.h"
#include "core/realm.h"

/* A key's parts behind its first byte. PL_MALFORMED: it is none. */
struct pl_state_key {
    struct pl_bytes realm;
    struct pl_bytes first, second; /* of a session's things: its name, and the protocol's key */
};
PL_MUST_USE enum pl_err pl_state_key_parse(struct pl_bytes key, struct pl_state_key *out);

/* What a session's state says. */
struct pl_stored_session {
    struct pl_bytes user, name; /* of the key */
    struct pl_bytes protocol;
    uint64_t expiry_ms;
    uint64_t left_unix_ms; /* 0: it was connected when the process ended */
};
PL_MUST_USE enum pl_err pl_stored_session_parse(
    const struct pl_state_key *key, struct pl_bytes value, struct pl_stored_session *out);

PL_MUST_USE enum pl_err pl_realm_restore_log(
    struct pl_realm *realm, const struct pl_state_key *key, struct pl_bytes value);
/* The reference is taken over. */
PL_MUST_USE enum pl_err pl_realm_restore_retained(
    struct pl_realm *realm, struct pl_message *kept_moved);

/* True: it has expired meanwhile, and is to be forgotten. */
bool pl_stored_session_is_over(
    const struct pl_realm *realm, const struct pl_stored_session *state, uint64_t now_unix_ms);
/*
 * A session that its protocol has made (pl_session_init on the home worker, without an output): it
 * stands in the realm, detached, under its name. Until someone claims it, it may do everything;
 * what waits in it is looked at again with the rights of who does.
 */
PL_MUST_USE enum pl_err pl_realm_restore_session(
    struct pl_realm *realm, struct pl_session *s, const struct pl_stored_session *state);
/* With a journal: one that is over, or cannot be had, goes from the store with all that is its. */
void pl_realm_forget_session(struct pl_realm *realm, struct pl_bytes key_first);
/* A subscription of one; the pattern's reference is taken over, also on an error. */
PL_MUST_USE enum pl_err pl_realm_restore_subscription(
    struct pl_realm *realm, struct pl_session *s, struct pl_subscription *sub, uint64_t since);
/* The start fails: takes a session out again, with its subscriptions. It is its protocol's to free.
 */
void pl_realm_restore_undo(struct pl_session *s);
/* To the log if it was there, and to the sessions that it is meant for; ops->deliver is called, and
 * leaves out what the session is known to have had. The reference is taken over. *out_orphan: its
 * durable rule is gone; it stays in the store alone, until the rule is back. */
PL_MUST_USE enum pl_err pl_realm_restore_message(
    struct pl_realm *realm, struct pl_message *kept_moved, bool *out_orphan);
/* With a journal: writes down that a new epoch begins. */
PL_MUST_USE enum pl_err pl_realm_restore_end(struct pl_realm *realm);

#endif
