/*
 * A role's pattern as it stands in the configuration, with `{name}` for what a login brings
 * (roles.h says what it means).
 */
#ifndef PL_AUTH_TEMPLATE_H
#define PL_AUTH_TEMPLATE_H

#include "base/arena.h"
#include "core/identity.h"

struct pl_template_slot;

struct pl_template {
    struct pl_pattern *fixed; /* one reference; NULL: it has {name}s */
    const struct pl_template_slot *slots;
    uint32_t slot_count;
};

/* Reads it into memory. NULL, or what is wrong with it, for people. */
PL_MUST_USE const char *pl_template_read(
    struct pl_arena *memory, const char *config_text, struct pl_template *pattern);
void pl_template_done(struct pl_template *pattern);

/* The pattern that it means for this identity; *out is one reference. PL_BAD_LOGIN: a value that
 * may not stand there. */
PL_MUST_USE enum pl_err pl_template_expand(const struct pl_template *pattern,
    struct pl_identity *identity, struct pl_diag *diag, struct pl_pattern **out);

#endif
