/*
 * What a login says against itself: the claims `permissions`, `allowed_subjects` and
 * `deny_subjects` (as attributes that hold JSON lists) leave of a role only what they name.
 *
 *     permissions        of "publish" and "subscribe", whatever their case; others mean nothing.
 *                        Not there: both. `request` is not publish: a right to ask does not become
 *                        a right to say
 *     allowed_subjects   patterns as in roles; not there or empty: every subject
 *     deny_subjects      patterns as in roles, for publish and subscribe
 */
#ifndef PL_AUTH_NARROW_H
#define PL_AUTH_NARROW_H

#include "core/identity.h"

struct pl_narrowing {
    bool has_permissions;
    bool may[PL_ACTION_COUNT];
    struct pl_pattern **allowed, **denied; /* owned arrays, one reference each */
    uint32_t allowed_count, denied_count;
};

/* PL_BAD_LOGIN: one of them is no list of texts, too long, or holds what is no pattern. */
PL_MUST_USE enum pl_err pl_narrowing_read(
    const struct pl_identity *identity, struct pl_diag *diag, struct pl_narrowing *out);
void pl_narrowing_done(struct pl_narrowing *narrowing);

static inline bool pl_narrowing_allows(const struct pl_narrowing *by, enum pl_action action)
{
    return !by->has_permissions || by->may[action];
}

/*
 * The pattern that matches exactly what both match; *out_both is one reference, or NULL if there is
 * no such name. For patterns of tokens there is always one such pattern.
 */
PL_MUST_USE enum pl_err pl_pattern_intersection(
    const struct pl_pattern *a, const struct pl_pattern *b, struct pl_pattern **out_both);

#endif
