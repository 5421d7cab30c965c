/* INFO: what clients and people look at to know whom they speak to. */
#include <stdio.h>

#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_info.h"
#include "protocols/redis/redis_session.h"

static void line(struct pl_writer *w, const char *name, const char *value)
{
    pl_write_text(w, name);
    pl_write_u8(w, ':');
    pl_write_text(w, value);
    pl_write_text(w, "\r\n");
}

static void number(struct pl_writer *w, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    line(w, name, text);
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static void write_server(struct pl_redis_link *link, struct pl_writer *w)
{
    const struct pl_link_config *config = link->base.config;
    line(w, "redis_version", PL_REDIS_VERSION);
    line(w, "redis_mode", "standalone");
    line(w, "server_name", text_or_empty(config->server_name));
    line(w, "parley_version", text_or_empty(config->version));
    number(w, "arch_bits", 8 * sizeof(void *));
    line(w, "run_id", text_or_empty(config->server_id));
    number(w, "tcp_port", config->port);
    number(w, "server_time_usec", link->base.worker->now_unix_ms * 1000);
}

static void write_clients(struct pl_redis_link *link, struct pl_writer *w)
{
    struct pl_realm_stats stats;
    pl_realm_stats(link->session->core.realm, &stats);
    number(w, "connected_clients", stats.sessions - stats.sessions_detached);
    number(w, "maxclients", pl_realm_limits(link->session->core.realm)->sessions_max);
    number(w, "blocked_clients", 0);
    number(w, "tracking_clients", 0);
}

static void write_stats(struct pl_redis_link *link, struct pl_writer *w)
{
    struct pl_realm_stats stats;
    pl_realm_stats(link->session->core.realm, &stats);
    uint64_t counts[PL_REDIS_KIND_COUNT] = {0};
    for (int kind = 0; kind < PL_REDIS_KIND_COUNT; kind++)
        if (pl_redis_count_active(link, (enum pl_redis_kind)kind, &counts[kind]))
            w->err = PL_NO_MEMORY;
    number(w, "pubsub_channels", counts[PL_REDIS_CHANNEL]);
    number(w, "pubsub_patterns", counts[PL_REDIS_PATTERN]);
    number(w, "pubsubshard_channels", counts[PL_REDIS_SHARD]);
    number(w, "parley_publications", stats.publications);
    number(w, "parley_subscriptions", stats.subscriptions);
    number(w, "parley_retained", stats.retained_count);
}

/* Clients that look for a primary, or wait until a dump is loaded, find what they look for. */
static void write_replication(struct pl_redis_link *link, struct pl_writer *w)
{
    (void)link;
    line(w, "role", "master");
    number(w, "connected_slaves", 0);
}

static void write_persistence(struct pl_redis_link *link, struct pl_writer *w)
{
    (void)link;
    number(w, "loading", 0);
}

struct section {
    const char *name, *title;
    void (*write)(struct pl_redis_link *link, struct pl_writer *w);
};

static const struct section sections[] = {
    {"server", "# Server\r\n", write_server},
    {"clients", "# Clients\r\n", write_clients},
    {"persistence", "# Persistence\r\n", write_persistence},
    {"stats", "# Stats\r\n", write_stats},
    {"replication", "# Replication\r\n", write_replication},
};

static bool is_wanted(const struct section *section, const struct pl_resp_request *request)
{
    if (request->count == 1)
        return true;
    struct pl_resp_args args = pl_resp_args(request, 1);
    struct pl_bytes arg;
    while (pl_resp_next(&args, &arg))
        if (pl_bytes_equal_nocase(arg, pl_bytes_text(section->name)) ||
            pl_bytes_equal_nocase(arg, PL_BYTES("all")) ||
            pl_bytes_equal_nocase(arg, PL_BYTES("default")) ||
            pl_bytes_equal_nocase(arg, PL_BYTES("everything")))
            return true;
    return false;
}

void pl_redis_on_info(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    struct pl_writer text = pl_writer_new();
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (!is_wanted(&sections[i], request))
            continue;
        if (text.len)
            pl_write_text(&text, "\r\n");
        pl_write_text(&text, sections[i].title);
        sections[i].write(link, &text);
    }
    struct pl_shared *whole = NULL;
    if (pl_writer_take(&text, &whole)) {
        pl_redis_reply_error(link, "OOM command not allowed: out of memory");
        return;
    }
    pl_resp_write_verbatim(pl_redis_reply(link), link->resp, pl_bytes_of(whole->data, whole->len));
    pl_redis_replied(link);
    pl_shared_unref(whole);
}
