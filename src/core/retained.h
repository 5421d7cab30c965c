/*
 * One slot per subject, set by the publisher's retain flag; an empty payload clears it. Guarded by
 * the realm's lock. A pattern's slots are read in steps, so that a wildcard over many subjects does
 * not hold the lock for long.
 */
#ifndef PL_CORE_RETAINED_H
#define PL_CORE_RETAINED_H

#include "core/message.h"
#include "core/subject_index.h"

struct pl_retained;

PL_MUST_USE struct pl_retained *pl_retained_new(uint64_t seed, size_t count_max, size_t bytes_max);
struct pl_retained *pl_retained_free(struct pl_retained *r);

/* Keeps the message, or clears the slot if its payload is empty. PL_LIMIT: full, nothing changed.
 */
PL_MUST_USE enum pl_err pl_retained_set(struct pl_retained *r, const struct pl_message *m);
/* A live message without the flag passed: slots of this subject are older than that publication,
 * and a reader whose subscription began before it must not be given them. */
void pl_retained_touch(struct pl_retained *r, struct pl_bytes subject, uint64_t message_id);
void pl_retained_drop(struct pl_retained *r, struct pl_bytes subject);
/* Drops what has expired; returns how many. */
typedef void pl_retained_gone_fn(void *context, struct pl_bytes subject);
size_t pl_retained_expire(
    struct pl_retained *r, uint64_t now_ms, pl_retained_gone_fn *gone, void *context);
/* Borrowed; NULL: there is none. */
const struct pl_message *pl_retained_find(const struct pl_retained *r, struct pl_bytes subject);

/* A reader of the slots that a pattern matches. */
struct pl_retained_cursor {
    uint64_t since_id;                   /* the last publication before the subscription */
    struct pl_subject_position position; /* zero: at the start; the reader's */
};

/*
 * Up to max messages that match, are not expired and are neither newer than the subscription nor
 * touched since, in at most steps_max looks at a slot or jumps over many. Borrowed until the lock
 * is released: keep them. Returns how many; *out_end: that was all. Sets and drops between two
 * reads neither repeat a slot nor leave one out that stood all the time.
 */
size_t pl_retained_read(struct pl_retained *r, const struct pl_pattern *pattern, uint64_t now_ms,
    struct pl_retained_cursor *cursor, struct pl_message **out, size_t max, size_t steps_max,
    bool *out_end);

size_t pl_retained_count(const struct pl_retained *r);
size_t pl_retained_bytes(const struct pl_retained *r);

#endif
