/*
 * What the server tells of itself: retained messages under $SYS.broker, with the names that
 * mosquitto gave them ("$SYS/broker/…" in MQTT). Published when they change, every ten seconds.
 *
 * Load averages are those of mosquitto: per minute, over 1, 5 and 15 minutes, with weights that
 * fade exponentially.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>

#include "base/alloc.h"
#include "server/state.h"

enum { SYS_EVERY_MS = 10000, VALUE_MAX = 48, LOADS = 8, VALUES_MAX = 64 };

struct load {
    double average[3]; /* over 1, 5, 15 minutes */
    uint64_t before;   /* the total at the last turn */
};

struct value {
    const char *name; /* behind "$SYS.broker."; static */
    char text[VALUE_MAX];
};

/* Belongs to the home shard. */
struct pl_sys {
    uint64_t next_ms, last_ms, clients_max;
    struct load loads[LOADS];
    struct value values[VALUES_MAX]; /* as they were published */
    uint32_t value_count;
};

struct pl_sys *pl_sys_new(void)
{
    return pl_zalloc(sizeof(struct pl_sys));
}

struct pl_sys *pl_sys_free(struct pl_sys *sys)
{
    pl_free(sys);
    return NULL;
}

static struct value *find_value(struct pl_sys *sys, const char *name)
{
    for (uint32_t i = 0; i < sys->value_count; i++) {
        if (strcmp(sys->values[i].name, name) == 0)
            return &sys->values[i];
    }
    if (sys->value_count == VALUES_MAX)
        return NULL;
    sys->values[sys->value_count].name = name;
    return &sys->values[sys->value_count++];
}

/* name must be static. */
PL_PRINTF(3, 4)
static void tell(struct pl_server *server, const char *name, const char *format, ...)
{
    char text[VALUE_MAX], subject[96];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct value *value = find_value(server->sys, name);
    if (!value || strcmp(value->text, text) == 0)
        return;
    snprintf(subject, sizeof subject, "$SYS.broker.%s", name);
    const struct pl_message draft = {
        .subject = pl_bytes_text(subject),
        .payload = pl_bytes_text(text),
        .format = PL_FORMAT_TEXT,
        .retain = true,
    };
    /* Without memory it stands as it was; the next turn tries again. */
    if (pl_realm_publish(server->realms[0], server->shards[0].worker, &draft) == PL_OK)
        memcpy(value->text, text, sizeof text);
}

/* As mosquitto's sys_tree.c describes: each average moves towards the rate of the last turn. */
static void tell_load(struct pl_server *server, uint32_t index, const char *const names[3],
    uint64_t total, uint64_t elapsed_ms)
{
    static const double minutes[3] = {1, 5, 15};
    struct load *load = &server->sys->loads[index];
    double elapsed = (double)elapsed_ms / 60000.0;
    double rate = (double)(total - load->before) / elapsed;
    load->before = total;
    for (int i = 0; i < 3; i++) {
        double fade = exp(-elapsed / minutes[i]);
        load->average[i] = rate + fade * (load->average[i] - rate);
        tell(server, names[i], "%.2f", load->average[i]);
    }
}

#define LOAD(name)                                                                                 \
    (const char *const[3])                                                                         \
    {                                                                                              \
        "load." name ".1min", "load." name ".5min", "load." name ".15min"                          \
    }

static void tell_loads(struct pl_server *server, const struct pl_totals *t, uint64_t elapsed_ms)
{
    uint32_t i = 0;
    tell_load(server, i++, LOAD("messages.received"), t->messages_in, elapsed_ms);
    tell_load(server, i++, LOAD("messages.sent"), t->messages_out, elapsed_ms);
    tell_load(server, i++, LOAD("publish.received"), t->messages_in, elapsed_ms);
    tell_load(server, i++, LOAD("publish.sent"), t->messages_out, elapsed_ms);
    tell_load(server, i++, LOAD("publish.dropped"), t->dropped_slow, elapsed_ms);
    tell_load(server, i++, LOAD("bytes.received"), t->bytes_in, elapsed_ms);
    tell_load(server, i++, LOAD("bytes.sent"), t->bytes_out, elapsed_ms);
    tell_load(server, i++, LOAD("connections"), t->connections_accepted, elapsed_ms);
    PL_ASSERT(i == LOADS);
}

/* Those of the admin listener do not stand at the gate. */
static uint64_t count_clients(const struct pl_server *server)
{
    return pl_gate_counts(server->gate).open;
}

static void tell_numbers(struct pl_server *server, uint64_t now_ms)
{
    struct pl_totals t;
    struct pl_realm_stats r;
    struct pl_sys *sys = server->sys;
    pl_server_totals(server, &t);
    pl_realm_stats(server->realms[0], &r);
    uint64_t clients = count_clients(server);

    tell(server, "version", "parley version " PARLEY_VERSION);
    tell(server, "uptime", "%" PRIu64 " seconds", (now_ms - server->started_ms) / 1000);
    tell(server, "clients.connected", "%" PRIu64, clients);
    tell(server, "clients.active", "%" PRIu64, clients);
    tell(server, "clients.disconnected", "%" PRIu64, r.sessions_detached);
    tell(server, "clients.inactive", "%" PRIu64, r.sessions_detached);
    tell(server, "clients.total", "%" PRIu64, clients + r.sessions_detached);
    tell(server, "clients.maximum", "%" PRIu64, sys->clients_max);
    tell(server, "messages.received", "%" PRIu64, t.messages_in);
    tell(server, "messages.sent", "%" PRIu64, t.messages_out);
    tell(server, "publish.messages.received", "%" PRIu64, t.messages_in);
    tell(server, "publish.messages.sent", "%" PRIu64, t.messages_out);
    tell(server, "publish.messages.dropped", "%" PRIu64, t.dropped_slow);
    tell(server, "publish.bytes.received", "%" PRIu64, t.payload_bytes_in);
    tell(server, "publish.bytes.sent", "%" PRIu64, t.payload_bytes_out);
    tell(server, "bytes.received", "%" PRIu64, t.bytes_in);
    tell(server, "bytes.sent", "%" PRIu64, t.bytes_out);
    tell(server, "subscriptions.count", "%" PRIu64, r.subscriptions);
    tell(server, "retained messages.count", "%" PRIu64, r.retained_count);
    tell(server, "retained.count", "%" PRIu64, r.retained_count);
    tell(server, "store.messages.count", "%" PRIu64, r.retained_count);
    tell(server, "store.messages.bytes", "%" PRIu64, r.retained_bytes);
    tell_loads(server, &t, now_ms - sys->last_ms);
}

void pl_sys_tick(struct pl_server *server, uint64_t now_ms)
{
    struct pl_sys *sys = server->sys;
    uint64_t clients = count_clients(server);
    if (clients > sys->clients_max)
        sys->clients_max = clients;
    if (now_ms < sys->next_ms || now_ms == sys->last_ms)
        return;
    if (sys->last_ms == 0)
        sys->last_ms = server->started_ms < now_ms ? server->started_ms : now_ms - 1;
    tell_numbers(server, now_ms);
    sys->last_ms = now_ms;
    sys->next_ms = now_ms + SYS_EVERY_MS;
}
