/* The WAMP meta API: one session of the server's own per realm, on the home shard. */
#include "base/alloc.h"
#include "protocols/wamp/wamp_meta.h"
#include "server/state.h"

static enum pl_err open_one(struct pl_server *server, uint32_t index)
{
    const struct pl_config *config = server->config;
    const struct pl_config_wamp *wamp = &config->wamp;
    const struct pl_config_realm *realm = index ? &config->realms.items[index - 1] : NULL;
    const struct pl_config_history *rules = realm ? realm->history.items : config->history.items;
    uint32_t count = realm ? realm->history.count : config->history.count;
    const char **subjects = pl_arena_alloc(&server->config->arena, (count + 1) * sizeof *subjects);
    if (!subjects)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        subjects[i] = rules[i].subject;
    const struct pl_wamp_meta_options options = {
        .wamp = &server->options.wamp,
        .can_kill = wamp->meta_kill,
        .can_modify = wamp->meta_modify,
        .is_strict = wamp->meta_strict,
        .details = wamp->meta_details.items,
        .detail_count = wamp->meta_details.count,
        .has_nexus_names = wamp->nexus_history,
        .history = subjects,
        .history_count = count,
    };
    return pl_wamp_meta_new(
        server->realms[index], server->shards[0].worker, &options, &server->metas[index]);
}

enum pl_err pl_metas_open(struct pl_server *server)
{
    if (!server->config->wamp.meta)
        return PL_OK;
    server->metas = pl_zalloc(server->realm_count * sizeof(struct pl_wamp_meta *));
    if (!server->metas)
        return PL_NO_MEMORY;
    struct pl_worker *home = server->shards[0].worker;
    pl_worker_begin(home, pl_clock_ms(), pl_clock_unix_ms());
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; i < server->realm_count && !err; i++)
        err = open_one(server, i);
    /* Each is in its realm before any shard serves anyone, and so misses nobody. */
    while (!err && pl_worker_turn(home))
        continue;
    return err;
}

void pl_metas_free(struct pl_server *server)
{
    for (uint32_t i = 0; server->metas && i < server->realm_count; i++)
        pl_wamp_meta_free(server->metas[i]);
    pl_free(server->metas);
    server->metas = NULL;
}
