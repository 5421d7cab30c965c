/*
 * Links to other Mles servers: what the configuration says of them, and what the log tells.
 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "peers/peers.h"
#include "server/state.h"

enum { NAME_RANDOM = 4, CHANNEL_SHOWN = 64 };

/* ---- Our name ---- */

/* Kept in the data folder, so that a peer knows us again; without one it is another at each start.
 */
static void read_random(const struct pl_server *server, char out[2 * NAME_RANDOM + 1])
{
    char path[PATH_MAX];
    struct pl_diag diag = {{0}, 0};
    char *text = NULL;
    size_t len = 0;
    if (snprintf(path, sizeof path, "%s/mles-peer-name", server->data) >= (int)sizeof path)
        path[0] = 0;
    enum pl_err err = pl_file_read(path, 2 * NAME_RANDOM, &diag, &text, &len, NULL);
    if (!err && len == 2 * NAME_RANDOM) {
        memcpy(out, text, len);
    } else {
        uint8_t random[NAME_RANDOM];
        randombytes_buf(random, sizeof random);
        pl_hex_encode(pl_bytes_of(random, sizeof random), out);
        if (mkdir(server->data, 0700) == 0 || errno == EEXIST)
            err = pl_file_replace(path, pl_bytes_of(out, 2 * NAME_RANDOM), NULL, &diag);
        if (err)
            pl_log(PL_LOG_WARN, "mles_peer_name", "why=\"%s\"", diag.text);
    }
    out[2 * NAME_RANDOM] = 0;
    pl_free(text);
}

static char *make_uid(const struct pl_server *server)
{
    const struct pl_config *config = server->config;
    char random[2 * NAME_RANDOM + 1], uid[sizeof PL_PEER_UID + 320];
    if (config->mles.peer_name[0]) {
        snprintf(uid, sizeof uid, PL_PEER_UID "%s", config->mles.peer_name);
    } else {
        read_random(server, random);
        snprintf(uid, sizeof uid, PL_PEER_UID "%s-%s", config->name, random);
    }
    return pl_alloc_copy(uid, strlen(uid));
}

/* ---- News ---- */

/* On the links' thread. */
static void on_news(void *context, const struct pl_peer_news *news)
{
    struct pl_server *server = context;
    if (!pl_server_may_log(server))
        return;
    int shown = news->channel.len > CHANNEL_SHOWN ? CHANNEL_SHOWN : (int)news->channel.len;
    const char *channel = (const char *)news->channel.data;
    switch (news->kind) {
    case PL_PEER_LINKED:
        pl_log(
            PL_LOG_INFO, "mles_peer_linked", "peer=%s channel=\"%.*s\"", news->url, shown, channel);
        break;
    case PL_PEER_LOST:
        pl_log(PL_LOG_WARN, "mles_peer_lost", "peer=%s channel=\"%.*s\" retry=%llums why=\"%s\"",
            news->url, shown, channel, (unsigned long long)news->retry_ms, news->why);
        break;
    case PL_PEER_LIMIT:
        pl_log(PL_LOG_WARN, "mles_peer_links_full", "channel=\"%.*s\" limit=mles.peer_links", shown,
            channel);
        break;
    }
}

/* ---- Members ---- */

/* The channels of realm main are shared. */
static bool is_shared(const struct pl_server *server, const struct pl_realm *realm)
{
    return realm == server->realms[0];
}

static bool on_joined(void *context, const struct pl_realm *realm, struct pl_bytes channel)
{
    struct pl_server *server = context;
    return is_shared(server, realm) && pl_peers_join(server->peers, channel);
}

static void on_left(void *context, const struct pl_realm *realm, struct pl_bytes channel)
{
    struct pl_server *server = context;
    (void)realm;
    pl_peers_leave(server->peers, channel);
}

static bool on_admits(void *context, const struct pl_realm *realm, struct pl_bytes channel,
    bool is_text, struct pl_bytes frame)
{
    struct pl_server *server = context;
    return !is_shared(server, realm) || pl_peers_admits(server->peers, channel, is_text, frame);
}

/* ---- Life ---- */

enum pl_err pl_mles_open_peers(struct pl_server *server, struct pl_diag *diag)
{
    const struct pl_config_mles *mles = &server->config->mles;
    struct pl_bytes key;
    if (!mles->peers.count)
        return PL_OK;
    server->peer_uid = make_uid(server);
    if (!server->peer_uid)
        return PL_NO_MEMORY;
    bool has_key = pl_config_mles_key(server->config, &key);
    server->peering = (struct pl_mles_peering){
        .context = server, .joined = on_joined, .left = on_left, .admits = on_admits};
    server->options.mles.peering = &server->peering;
    return pl_peers_new(
        &(struct pl_peers_options){
            .urls = mles->peers.items,
            .url_count = mles->peers.count,
            .channels = mles->peer_channels.items,
            .channel_count = mles->peer_channels.count,
            .uid = server->peer_uid,
            .key = key,
            .has_key = has_key,
            .prefix = pl_bytes_text(mles->prefix),
            .tls = {.ca_file = mles->peer_ca[0] ? mles->peer_ca : NULL,
                .insecure = mles->peer_insecure},
            .memory = mles->peer_memory,
            .links_max = mles->peer_links,
            .queue_max = server->config->client.output,
            .retry_ms = mles->peer_retry_ms,
            .retry_max_ms = mles->peer_retry_max_ms,
            .settle_ms = mles->peer_settle_ms,
            .linger_ms = mles->peer_linger_ms,
            .realm = server->realms[0],
            .home = server->shards[0].worker,
            .context = server,
            .told = on_news,
        },
        &server->peers, diag);
}

enum pl_err pl_mles_start_peers(struct pl_server *server, struct pl_diag *diag)
{
    return server->peers ? pl_peers_start(server->peers, diag) : PL_OK;
}

void pl_mles_stop_peers(struct pl_server *server)
{
    if (server->peers)
        pl_peers_stop(server->peers);
}

void pl_mles_free_peers(struct pl_server *server)
{
    server->peers = pl_peers_free(server->peers);
    pl_free(server->peer_uid);
}
