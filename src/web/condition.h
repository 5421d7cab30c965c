/*
 * Does a client have the file already, and which part of it does it want? (RFC 9110, sections 8.8,
 * 13 and 14)
 *
 * Pure.
 */
#ifndef PL_WEB_CONDITION_H
#define PL_WEB_CONDITION_H

#include "base/bytes.h"

enum { PL_WEB_DATE_LEN = 29, PL_WEB_ETAG_MAX = 96 };

/* "Sun, 06 Nov 1994 08:49:37 GMT", with a zero at its end. Years 1970 to 9999. */
void pl_web_date_format(int64_t unix_s, char out[PL_WEB_DATE_LEN + 1]);
/* That, and the two forms of old: "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994". */
PL_MUST_USE enum pl_err pl_web_date_parse(struct pl_bytes text, int64_t *out_unix_s);

/* What a request says; data NULL where it does not. */
struct pl_web_conditions {
    struct pl_bytes if_match, if_none_match, if_modified_since, if_unmodified_since;
    struct pl_bytes range, if_range;
};

/* Is etag, with its quotes, in the list? "*" has all. is_weak: W/ does not matter. */
bool pl_web_etag_is_in(struct pl_bytes list, struct pl_bytes etag, bool is_weak);

/* PL_OK: the answer is what it is. PL_EXISTS: 304, the client has it. PL_DENIED: 412. */
PL_MUST_USE enum pl_err pl_web_condition_check(
    const struct pl_web_conditions *conditions, struct pl_bytes etag, int64_t modified_unix_s);

/*
 * The part of `size` bytes that is asked for.
 *
 * PL_NOT_FOUND: the whole: no range, several ranges, another unit, one that is not understood, or
 * the client's part is of another file (If-Range). PL_LIMIT: 416, there is no such part.
 */
PL_MUST_USE enum pl_err pl_web_range_choose(const struct pl_web_conditions *conditions,
    struct pl_bytes etag, int64_t modified_unix_s, uint64_t size, uint64_t *out_from,
    uint64_t *out_len);

#endif
