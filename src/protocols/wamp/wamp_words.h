/*
 * What the meta session tells the sessions that it is about (pl_session_tell): bytes are one
 * MessagePack dictionary.
 *
 * Also the card, what a session tells of itself (pl_session.card): a MessagePack dictionary, as
 * wamp.session.get answers it.
 */
#ifndef PL_PROTOCOLS_WAMP_WORDS_H
#define PL_PROTOCOLS_WAMP_WORDS_H

#include "codec/value.h"

enum pl_wamp_word {
    /* {reason, message, is_quiet}: end with GOODBYE; quiet: without testaments. */
    PL_WAMP_WORD_KILL = 1,
    /* {details: {…}}: members of the session's details that change; null takes one away. */
    PL_WAMP_WORD_DETAILS,
    /* {topic, args, kwargs, options, scope}: to be published when the session ends. */
    PL_WAMP_WORD_TESTAMENT,
    /* {scope}: forget these testaments. */
    PL_WAMP_WORD_FLUSH,
    /* {subscription, reason}, {registration, reason}: it was taken away. */
    PL_WAMP_WORD_DROP_SUBSCRIPTION,
    PL_WAMP_WORD_DROP_REGISTRATION,
};

/* When testaments are published: a session here is never detached, so both mean its end. */
enum pl_wamp_scope { PL_WAMP_SCOPE_DETACHED, PL_WAMP_SCOPE_DESTROYED, PL_WAMP_SCOPE_COUNT };

/* The card with the members of `delta` (of any serializer) set anew, or taken away where they are
 * null; `session` stays. One reference. PL_MALFORMED: delta is no dictionary. */
PL_MUST_USE enum pl_err pl_wamp_card_change(
    struct pl_bytes card, const struct pl_value *delta, struct pl_shared **out);

#endif
