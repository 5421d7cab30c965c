/*
 * The log: what was published under the operator's rules, in one sequence per realm (DESIGN
 * section 4). Guarded by the realm's lock; in memory. What stands under a durable rule is in the
 * store, too, and put back here at the start.
 *
 * A cursor is (epoch, offset). Recovered is true only if the epoch is known and nothing that the
 * pattern could match was dropped behind the offset.
 *
 * A subject under no rule may be *claimed* by who subscribes it (Mles channels): then it is kept
 * under one common rule, until nobody has claimed or published it for a while. A *note* is a
 * message that stands in the log alone: only who asks for notes reads it.
 */
#ifndef PL_CORE_HISTORY_H
#define PL_CORE_HISTORY_H

#include "core/message.h"
#include "core/pattern.h"

struct pl_history_rule {
    struct pl_pattern *pattern; /* one reference, the log's from then on */
    uint32_t limit;             /* messages kept per subject; 0: no limit of this kind */
    uint64_t age_ms;            /* 0: no limit of this kind */
    uint64_t bytes;             /* kept per rule; 0: the log's limit alone */
    bool is_durable;            /* its messages are in the store before they are here */
};

/* What claimed subjects stand under. */
struct pl_history_claims {
    uint32_t subjects; /* at most so many; the one that was unused the longest goes. 0: no claims */
    uint32_t limit;    /* messages kept per subject, notes too; 0: no limit of this kind */
    uint64_t age_ms;   /* since its last use a subject is forgotten as a whole; PL_NEVER */
    uint64_t bytes;    /* kept of all of them; 0: the log's limit alone */
};

struct pl_cursor {
    uint64_t epoch, offset;
};

enum { PL_CURSOR_TEXT_MAX = 48 };

struct pl_history;

PL_MUST_USE struct pl_history *pl_history_new(uint64_t seed, uint64_t epoch, size_t bytes_max);
struct pl_history *pl_history_free(struct pl_history *h);
/* The first rule that matches a subject decides. */
PL_MUST_USE enum pl_err pl_history_add_rule(struct pl_history *h, struct pl_history_rule rule);
void pl_history_set_claims(struct pl_history *h, const struct pl_history_claims *claims);
/* A subject may be logged. */
bool pl_history_has_rules(const struct pl_history *h);

enum pl_history_kind { PL_HISTORY_NONE, PL_HISTORY_MEMORY, PL_HISTORY_DURABLE };

/* What rule the subject stands under. */
enum pl_history_kind pl_history_kind(const struct pl_history *h, struct pl_bytes subject);
/* The next offset, for a message that is appended later; some may never be. */
uint64_t pl_history_reserve(struct pl_history *h);

/*
 * What is published to this subject from here on is kept, as long as it is claimed and
 * claims.age_ms after that. *out_claimed false: there is nothing to release, a rule has it (or no
 * claims are taken). PL_LIMIT: all others are in use. PL_NO_MEMORY.
 */
PL_MUST_USE enum pl_err pl_history_claim(
    struct pl_history *h, struct pl_bytes name, uint64_t now_unix_ms, bool *out_claimed);
void pl_history_release(struct pl_history *h, struct pl_bytes name, uint64_t now_unix_ms);
/* The newest that was dropped under the operator's rules. */
uint64_t pl_history_dropped_to(const struct pl_history *h);
/* How many claimed subjects were forgotten so far: they are not logged any more. */
uint64_t pl_history_forgotten(const struct pl_history *h);

/*
 * Appends if a rule matches: assigns message->offset if it has none yet, keeps a copy, drops what
 * the rule no longer allows. Offsets must rise. PL_OK and offset 0: no rule. PL_NO_MEMORY: nothing
 * changed.
 */
PL_MUST_USE enum pl_err pl_history_append(
    struct pl_history *h, struct pl_message *message, uint64_t now_unix_ms);
void pl_history_expire(struct pl_history *h, uint64_t now_unix_ms);

/*
 * Before anyone joins: an epoch of an earlier start, and the last offset of it that is in the
 * store. Cursors of it count as far as that; for rules in memory everything of it was dropped.
 */
PL_MUST_USE enum pl_err pl_history_add_epoch(struct pl_history *h, struct pl_cursor end);
uint32_t pl_history_rule_count(const struct pl_history *h);
/* The newest offset that a durable rule has dropped, to be written down. False: it has not changed
 * since it was told last, or is no durable rule. */
bool pl_history_tell_dropped(
    struct pl_history *h, uint32_t rule, struct pl_bytes *out_pattern, uint64_t *out_offset);
/* Before anyone joins: what was written down. */
void pl_history_set_dropped(struct pl_history *h, struct pl_bytes pattern, uint64_t offset);
/* Before anyone joins: that offset has been given out, to a message that is not here. */
void pl_history_pass(struct pl_history *h, uint64_t offset);
/* Where a reader with that cursor goes on: 0 if its epoch is unknown. */
uint64_t pl_history_resume_at(const struct pl_history *h, struct pl_cursor since);

/* Where the log stands: the offset of the newest message. */
struct pl_cursor pl_history_head(const struct pl_history *h);
/* True: everything behind the cursor that the pattern could match is still there. */
bool pl_history_is_whole(
    const struct pl_history *h, const struct pl_pattern *pattern, struct pl_cursor since);
/*
 * Messages behind *offset that match, oldest first, up to max and looking at no more than
 * steps_max; notes among them only if they are asked for. Moves *offset on. *out_end: it now stands
 * at the head. Borrowed until the lock is released.
 */
size_t pl_history_read(struct pl_history *h, const struct pl_pattern *pattern, bool with_notes,
    uint64_t now_ms, uint64_t *offset, struct pl_message **out, size_t max, size_t steps_max,
    bool *out_end);

size_t pl_history_count(const struct pl_history *h);
size_t pl_history_bytes(const struct pl_history *h);

/* Opaque text, the same in every protocol; terminated, at most PL_CURSOR_TEXT_MAX with its zero. */
size_t pl_cursor_format(struct pl_cursor cursor, char *out);
PL_MUST_USE enum pl_err pl_cursor_parse(struct pl_bytes text, struct pl_cursor *out);

#endif
