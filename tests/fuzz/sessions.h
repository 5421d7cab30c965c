/* What the fuzz targets of protocol sessions share: who logs in, and how a connection is replaced.
 */
#ifndef PARLEY_TESTS_FUZZ_SESSIONS_H
#define PARLEY_TESTS_FUZZ_SESSIONS_H

#include "protocols/rig.h"

/* "u" may do what begins with "u."; "r" everything; nobody else gets in where a login is needed. */
static inline struct pl_identity *identify(struct rig *rig, const struct pl_credentials *shown)
{
    if (!shown->has_user)
        return rig->config.requires_login ? NULL : pl_identity_new_all("", "all");
    if (pl_bytes_equal(shown->user, PL_BYTES("r")))
        return pl_identity_new_all("r", "all");
    if (!pl_bytes_equal(shown->user, PL_BYTES("u")))
        return NULL;
    struct pl_identity *identity = pl_identity_new();
    rig_require(identity != NULL, "no memory");
    identity->user = PL_BYTES("u");
    identity->expires_unix_ms = PL_NEVER;
    for (int action = 0; action < PL_ACTION_COUNT; action++) {
        struct pl_pattern *pattern = NULL;
        rig_require(!pl_pattern_parse(PL_BYTES("u.>"), &pattern), "no pattern");
        rig_require(
            !pl_identity_add_pattern(identity, (enum pl_action)action, false, pattern), "no right");
    }
    return identity;
}

/* Vanishes; a new one takes its place, while there is room. */
static inline struct rig_peer *replace(
    struct rig *rig, struct rig_peer *old, const struct pl_protocol *protocol, uint32_t worker)
{
    rig_cut(old);
    rig_run(rig);
    return rig->peer_count < RIG_PEERS ? rig_open(rig, protocol, worker) : old;
}

#endif
