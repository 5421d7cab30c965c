/* URIs and patterns of WAMP, and the subjects and patterns that they mean. Pure. */
#ifndef PL_PROTOCOLS_WAMP_NAMES_H
#define PL_PROTOCOLS_WAMP_NAMES_H

#include "codec/value.h"
#include "core/pattern.h"
#include "core/realm.h"

extern const struct pl_escape_rules wamp_rules;

enum wamp_match { WAMP_EXACT, WAMP_PREFIX, WAMP_WILDCARD };

/* "exact", "prefix", "wildcard". False: something else. */
bool wamp_match_parse(const struct pl_value *value, enum wamp_match *out);
const char *wamp_match_name(enum wamp_match match);
/* How a client would ask for this pattern; of other protocols' patterns the nearest word. */
enum wamp_match wamp_match_of(const struct pl_pattern *pattern);

/* The subject that a URI means. PL_BAD_NAME: it is no URI. */
PL_MUST_USE enum pl_err wamp_uri_decode(
    struct pl_arena *arena, struct pl_bytes uri, bool is_strict, struct pl_bytes *out);
/* The subject as a URI. */
PL_MUST_USE enum pl_err wamp_uri_encode(
    struct pl_arena *arena, struct pl_bytes subject, struct pl_bytes *out);
PL_MUST_USE enum pl_err wamp_pattern_decode(struct pl_arena *arena, struct pl_bytes uri,
    enum wamp_match match, bool is_strict, struct pl_pattern **out);
/* The URI of a pattern, with empty components for wildcards. */
PL_MUST_USE enum pl_err wamp_pattern_encode(
    struct pl_arena *arena, const struct pl_pattern *pattern, struct pl_bytes *out);

/* The id of all subscriptions of this pattern in this realm: 1 to 2^53. */
uint64_t wamp_subscription_id(const struct pl_realm *realm, const struct pl_pattern *pattern);

#endif
