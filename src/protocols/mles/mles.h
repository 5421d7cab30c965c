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

/* Where other servers share the channels. Called on any reactor. */
struct pl_mles_peering {
    void *context;
    /* A member that is no link of another server has joined. False: do not tell when it leaves. */
    bool (*joined)(void *context, const struct pl_realm *realm, struct pl_bytes channel);
    void (*left)(void *context, const struct pl_realm *realm, struct pl_bytes channel);
    /* A frame that a link brings. False: it has been here before, by another way. */
    bool (*admits)(void *context, const struct pl_realm *realm, struct pl_bytes channel,
        bool is_text, struct pl_bytes frame);
};

struct pl_mles_options {
    bool has_key;        /* then `auth` is asked for; it may be empty */
    struct pl_bytes key; /* shared by all members */
    const char *role;    /* of who has shown the key; NULL: as anonymous, from any Origin */
    struct pl_bytes prefix;
    const struct pl_mles_peering *peering; /* NULL: there are no other servers */
    uint64_t header_timeout_ms;            /* since the upgrade */
    uint64_t ping_interval_ms;
    uint32_t ping_max; /* unanswered ones; then it is over when the next one is due */
    uint64_t
        contest_ms; /* who has a name that another one wants shows a sign of life within this */
};

extern const struct pl_mles_options pl_mles_options_default;
extern const struct pl_protocol pl_mles_protocol;

#endif
