/*
 * The meta API of a realm (WAMP advanced profile: session, subscription, registration meta API,
 * testaments, event history): a session of the server's own that hears what happens in the realm,
 * publishes it as wamp.… events, and answers the wamp.… procedures. docs/reference/wamp.md lists
 * them.
 *
 * It knows WAMP sessions, and what these subscribe and register. Lives on one worker.
 */
#ifndef PL_PROTOCOLS_WAMP_META_H
#define PL_PROTOCOLS_WAMP_META_H

#include "protocols/wamp/wamp.h"

struct pl_realm;
struct pl_worker;

/* What its strings and arrays point to is borrowed and outlives the session. */
struct pl_wamp_meta_options {
    const struct pl_wamp_options *wamp;
    bool can_kill;              /* procedures that end sessions, or take away what is theirs */
    bool can_modify;            /* wamp.session.modify_details */
    bool is_strict;             /* of a session only what the standard names is told, and … */
    const char *const *details; /* … these */
    uint32_t detail_count;
    bool has_nexus_names;       /* entries of get_events have nexus' names too */
    const char *const *history; /* patterns of the history's rules: topics that are always there */
    uint32_t history_count;
};

struct pl_wamp_meta;

/*
 * Joins the realm and becomes its observer. Before anyone else joins; on the worker's thread, or
 * before it runs.
 */
PL_MUST_USE enum pl_err pl_wamp_meta_new(struct pl_realm *realm, struct pl_worker *worker,
    const struct pl_wamp_meta_options *options, struct pl_wamp_meta **out);
/* After it has left the realm, which it does when it is ended (pl_realm_end_sessions). Returns
 * NULL; accepts NULL. */
struct pl_wamp_meta *pl_wamp_meta_free(struct pl_wamp_meta *meta);

#endif
