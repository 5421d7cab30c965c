/*
 * Mles, version 2: rooms with a memory over WebSocket (subprotocol mles-websocket).
 *
 * The first frame says who comes to which channel; whatever follows goes to the other members as it
 * is, text or binary, and never back. A channel is a subject, with a prefix if that is configured.
 * A member is given the channel's history when it joins: the first frames of those before it are
 * notes in it, without `auth`.
 *
 * There are no answers in this protocol but the code and the reason of a close:
 *
 *     1003  the first frame is binary
 *     1008  the header, the key, a right, a name that is taken, no header in time, no sign of life
 *     1009  a frame that is too large
 *     1013  a limit of the server, a member that reads too slowly: come again later
 */
#ifndef PL_PROTOCOLS_MLES_H
#define PL_PROTOCOLS_MLES_H

#include "protocols/protocol.h"

/* Links of other servers come as members whose uid begins so: their first frames are no part of
 * the history. */
#define PL_MLES_PEER_PREFIX "peer-"

struct pl_mles_options {
    bool has_key;        /* then `auth` is asked for; it may be empty */
    struct pl_bytes key; /* shared by all members */
    const char *role;    /* of who has shown the key; NULL: as anonymous, from any Origin */
    struct pl_bytes prefix;
    uint64_t header_timeout_ms; /* since the upgrade */
    uint64_t ping_interval_ms;
    uint32_t ping_max; /* unanswered ones; then it is over when the next one is due */
    uint64_t
        contest_ms; /* who has a name that another one wants shows a sign of life within this */
};

extern const struct pl_mles_options pl_mles_options_default;
extern const struct pl_protocol pl_mles_protocol;

#endif
