/*
 * The commands: what each is called, takes and may, in one table; and COMMAND, which tells clients
 * of it. Containers (CLIENT, COMMAND, PUBSUB) have their subcommands in tables of the same kind.
 */
#ifndef PL_PROTOCOLS_REDIS_REDIS_COMMAND_H
#define PL_PROTOCOLS_REDIS_REDIS_COMMAND_H

#include "protocols/redis/redis_packet.h"

struct pl_redis_link;

enum pl_redis_command_flags {
    /* As COMMAND INFO tells them, in its order. */
    PL_REDIS_ADMIN = 1,
    PL_REDIS_PUBSUB = 2,
    PL_REDIS_NOSCRIPT = 4,
    PL_REDIS_LOADING = 8,
    PL_REDIS_STALE = 16,
    PL_REDIS_SKIP_SLOWLOG = 32,
    PL_REDIS_FAST = 64,
    PL_REDIS_NO_AUTH = 128, /* may be given before the login */
    PL_REDIS_ALLOW_BUSY = 256,
    /* Our own. */
    PL_REDIS_WHILE_SUBSCRIBED = 1 << 16, /* may be given in RESP2 by a subscriber */
    PL_REDIS_NOT_QUEUED = 1 << 17,       /* runs at once between MULTI and EXEC */
    PL_REDIS_NOT_IN_MULTI = 1 << 18,     /* is refused there: it waits for a login */
};

enum pl_redis_category {
    PL_REDIS_CAT_ADMIN = 1,
    PL_REDIS_CAT_FAST = 2,
    PL_REDIS_CAT_SLOW = 4,
    PL_REDIS_CAT_PUBSUB = 8,
    PL_REDIS_CAT_DANGEROUS = 16,
    PL_REDIS_CAT_CONNECTION = 32,
    PL_REDIS_CAT_TRANSACTION = 64,
};

/* A command that it is known to be allowed and to have the right number of arguments. buffer holds
 * the bytes of the request. */
typedef void pl_redis_run_fn(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer);

struct pl_redis_command {
    const char *name;                  /* lower case; "client|id" */
    const char *word;                  /* what is typed: behind the '|' */
    int arity;                         /* arguments with the names; negative: at least */
    uint32_t flags;                    /* enum pl_redis_command_flags */
    uint32_t categories;               /* enum pl_redis_category */
    int first_key, last_key, key_step; /* channels of a shard count as keys for routing; 0: none */
    bool are_keys;                     /* they are keys (WATCH), not channels */
    const char *since, *group, *summary;
    pl_redis_run_fn *run;                       /* NULL: a container */
    const struct pl_redis_command *subcommands; /* ends with a NULL name; NULL: none */
};

extern const struct pl_redis_command pl_redis_commands[]; /* ends with a NULL name */

/* By name, in any case; NULL: unknown. */
const struct pl_redis_command *pl_redis_find_command(struct pl_bytes name);
const struct pl_redis_command *pl_redis_find_subcommand(
    const struct pl_redis_command *container, struct pl_bytes word);

/* redis_publish.c */
pl_redis_run_fn pl_redis_on_publish, pl_redis_on_spublish;
pl_redis_run_fn pl_redis_on_multi, pl_redis_on_exec, pl_redis_on_discard, pl_redis_on_watch,
    pl_redis_on_unwatch;

/* redis_pubsub.c */
pl_redis_run_fn pl_redis_on_subscribe, pl_redis_on_unsubscribe, pl_redis_on_psubscribe,
    pl_redis_on_punsubscribe, pl_redis_on_ssubscribe, pl_redis_on_sunsubscribe;

/* redis_active.c */
pl_redis_run_fn pl_redis_on_pubsub_channels, pl_redis_on_pubsub_help, pl_redis_on_pubsub_numpat,
    pl_redis_on_pubsub_numsub, pl_redis_on_pubsub_shardchannels, pl_redis_on_pubsub_shardnumsub;

/* redis_connection.c */
pl_redis_run_fn pl_redis_on_auth, pl_redis_on_echo, pl_redis_on_hello, pl_redis_on_ping,
    pl_redis_on_quit, pl_redis_on_reset, pl_redis_on_select;

/* redis_info.c */
pl_redis_run_fn pl_redis_on_info;

/* redis_client.c */
pl_redis_run_fn pl_redis_on_client_getname, pl_redis_on_client_getredir, pl_redis_on_client_help,
    pl_redis_on_client_id, pl_redis_on_client_info, pl_redis_on_client_kill,
    pl_redis_on_client_list, pl_redis_on_client_no_evict, pl_redis_on_client_no_touch,
    pl_redis_on_client_pause, pl_redis_on_client_reply, pl_redis_on_client_setinfo,
    pl_redis_on_client_setname, pl_redis_on_client_trackinginfo, pl_redis_on_client_unblock,
    pl_redis_on_client_unpause;

/* redis_introspect.c */
pl_redis_run_fn pl_redis_on_command, pl_redis_on_command_count, pl_redis_on_command_docs,
    pl_redis_on_command_getkeys, pl_redis_on_command_getkeysandflags, pl_redis_on_command_help,
    pl_redis_on_command_info, pl_redis_on_command_list;

#endif
