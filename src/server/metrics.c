/*
 * /metrics in Prometheus' text format. Everything here can be read on any thread.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "codec/http.h"
#include "net/upgrade.h"
#include "peers/peers.h"
#include "server/metrics.h"
#include "server/site.h"
#include "server/state.h"
#include "store/store.h"

struct metric {
    const char *name, *kind, *labels, *help;
};

enum metric_index {
#define PL_METRIC(name, kind, labels, help) METRIC_##name,
#include "server/metrics.def"
#undef PL_METRIC
    METRIC_COUNT
};

static const struct metric metrics[] = {
#define PL_METRIC(name, kind, labels, help) {#name, #kind, labels, help},
#include "server/metrics.def"
#undef PL_METRIC
};

static const struct metric counters[] = {
#define PL_COUNTER(name, help) {#name "_total", "counter", "", help},
#include "core/counters.def"
#undef PL_COUNTER
};

enum { COUNTER_COUNT = sizeof counters / sizeof counters[0] };

void pl_server_totals(const struct pl_server *server, struct pl_totals *out)
{
    *out = (struct pl_totals){0};
    for (uint32_t i = 0; i < server->shard_count; i++) {
        const struct pl_counters *c = &server->workers[i].counters;
#define PL_COUNTER(name, help) out->name += atomic_load_explicit(&c->name, memory_order_relaxed);
#include "core/counters.def"
#undef PL_COUNTER
        out->connections += pl_reactor_conn_count(server->shards[i].reactor);
        out->bytes_in += pl_reactor_bytes_in(server->shards[i].reactor);
        out->bytes_out += pl_reactor_bytes_out(server->shards[i].reactor);
    }
}

static void head(FILE *out, const struct metric *m)
{
    fprintf(out, "# HELP parley_%s %s\n# TYPE parley_%s %s\n", m->name, m->help, m->name, m->kind);
}

static void number(FILE *out, enum metric_index index, double value)
{
    head(out, &metrics[index]);
    fprintf(out, "parley_%s %.15g\n", metrics[index].name, value);
}

static void labelled(FILE *out, enum metric_index index, const char *label, double value)
{
    fprintf(out, "parley_%s{%s=\"%s\"} %.15g\n", metrics[index].name, metrics[index].labels, label,
        value);
}

static void write_threads(FILE *out, const struct pl_server *server)
{
    char label[16];
    head(out, &metrics[METRIC_connections]);
    for (uint32_t i = 0; i < server->shard_count; i++) {
        snprintf(label, sizeof label, "%u", i);
        labelled(out, METRIC_connections, label,
            (double)pl_reactor_conn_count(server->shards[i].reactor));
    }
    head(out, &metrics[METRIC_thread_lag_seconds]);
    for (uint32_t i = 0; i < server->shard_count; i++) {
        snprintf(label, sizeof label, "%u", i);
        labelled(out, METRIC_thread_lag_seconds, label,
            pl_reactor_lag_ms(server->shards[i].reactor) / 1000.0);
    }
}

static void write_gate(FILE *out, const struct pl_server *server)
{
    struct pl_gate_counts gate = pl_gate_counts(server->gate);
    head(out, &metrics[METRIC_refused_total]);
    labelled(out, METRIC_refused_total, "connections", (double)gate.refused_connections);
    labelled(out, METRIC_refused_total, "address", (double)gate.refused_address);
    labelled(out, METRIC_refused_total, "rate", (double)gate.refused_rate);
    labelled(out, METRIC_refused_total, "address_rate", (double)gate.refused_address_rate);
    labelled(out, METRIC_refused_total, "memory", (double)gate.refused_memory);
}

/* One family at a time, as the format wants it. Names of realms come from the configuration and
 * hold what a label may: the check allows no quote, backslash or line break. */
static void write_realms(FILE *out, const struct pl_server *server)
{
    static const struct {
        enum metric_index index;
        size_t at;
    } families[] = {
        {METRIC_sessions, offsetof(struct pl_realm_stats, sessions)},
        {METRIC_sessions_detached, offsetof(struct pl_realm_stats, sessions_detached)},
        {METRIC_subscriptions, offsetof(struct pl_realm_stats, subscriptions)},
        {METRIC_retained_messages, offsetof(struct pl_realm_stats, retained_count)},
        {METRIC_retained_bytes, offsetof(struct pl_realm_stats, retained_bytes)},
        {METRIC_history_messages, offsetof(struct pl_realm_stats, history_count)},
        {METRIC_history_bytes, offsetof(struct pl_realm_stats, history_bytes)},
        {METRIC_publications_total, offsetof(struct pl_realm_stats, publications)},
    };
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        head(out, &metrics[families[f].index]);
        for (uint32_t i = 0; i < server->realm_count; i++) {
            struct pl_realm_stats stats;
            pl_realm_stats(server->realms[i], &stats);
            uint64_t value;
            memcpy(&value, (const char *)&stats + families[f].at, sizeof value);
            labelled(out, families[f].index, pl_realm_name(server->realms[i]), (double)value);
        }
    }
}

static void write_web(FILE *out, const struct pl_server *server)
{
    struct pl_web_counts counts;
    pl_web_counts(server->web, &counts);
    head(out, &metrics[METRIC_web_answers_total]);
    for (unsigned digit = 2; digit <= 5; digit++) {
        const char label[] = {(char)('0' + digit), 'x', 'x', 0};
        labelled(out, METRIC_web_answers_total, label, (double)counts.answers[digit]);
    }
    head(out, &metrics[METRIC_web_waiting]);
    labelled(out, METRIC_web_waiting, "files", counts.files_waiting);
    labelled(out, METRIC_web_waiting, "proxies", counts.proxies_waiting);
    number(out, METRIC_web_cache_bytes, (double)counts.cache_bytes);
}

static void write_peers(FILE *out, const struct pl_server *server)
{
    const struct pl_text_list *peers = &server->config->mles.peers;
    head(out, &metrics[METRIC_mles_peer_links]);
    for (uint32_t i = 0; i < peers->count; i++)
        labelled(
            out, METRIC_mles_peer_links, peers->items[i], pl_peers_open_count(server->peers, i));
}

static void write_certificates(FILE *out, const struct pl_server *server)
{
    head(out, &metrics[METRIC_certificate_expires_seconds]);
    for (uint32_t i = 0; i < server->port_count; i++) {
        struct pl_tls_server *tls = server->ports[i].tls;
        uint64_t expires_unix_s = tls ? pl_tls_server_expires_unix_ms(tls) / 1000 : 0;
        if (tls)
            labelled(out, METRIC_certificate_expires_seconds, server->ports[i].config->name,
                (double)expires_unix_s);
    }
}

static void write_issued_expiry(void *out, const struct pl_acme_facts *facts)
{
    labelled(out, METRIC_acme_certificate_expires_seconds, facts->name,
        (double)facts->expires_unix_ms / 1000);
}

static void write_issued_failures(void *out, const struct pl_acme_facts *facts)
{
    labelled(out, METRIC_acme_failures, facts->name, facts->failures);
}

static void write_issued(FILE *out, struct pl_server *server)
{
    head(out, &metrics[METRIC_acme_certificate_expires_seconds]);
    pl_certificates_each(server, write_issued_expiry, out);
    head(out, &metrics[METRIC_acme_failures]);
    pl_certificates_each(server, write_issued_failures, out);
}

static void write_store(FILE *out, struct pl_server *server)
{
    struct pl_store_stats stats = {0};
    if (server->store)
        pl_store_stats(server->store, &stats);
    number(out, METRIC_store_failing, stats.is_failing);
    number(out, METRIC_store_commits_total, (double)stats.commits);
    number(out, METRIC_store_failures_total, (double)stats.failures);
    number(out, METRIC_store_written_bytes_total, (double)stats.written_bytes);
    number(out, METRIC_store_pending_bytes, (double)stats.pending_bytes);
    number(out, METRIC_store_group_bytes, (double)stats.group_bytes);
    number(out, METRIC_store_live_bytes, (double)stats.live_bytes);
    number(out, METRIC_store_file_bytes, (double)stats.file_bytes);
}

static double resident_bytes(void)
{
    /* Two numbers of pages: all, and the resident ones. */
    char line[128] = "", *resident;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (!fgets(line, sizeof line, file))
            line[0] = 0;
        (void)fclose(file);
    }
    (void)strtoul(line, &resident, 10);
    unsigned long pages = strtoul(resident, NULL, 10);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
    /* ThreadSanitizer takes the number that opendir gets for the socket which had it before. */
    int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    double count = -3; /* ".", ".." and the folder itself */
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    else if (fd >= 0)
        close(fd);
    return count < 0 ? 0 : count;
}

static void write_process(FILE *out)
{
    struct timespec cpu = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    number(out, METRIC_process_resident_bytes, resident_bytes());
    number(out, METRIC_process_cpu_seconds_total, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    number(out, METRIC_process_open_files, open_files());
}

static void write_all(FILE *out, struct pl_server *server)
{
    struct pl_totals totals;
    struct pl_auth_stats auth;
    pl_server_totals(server, &totals);
    pl_auth_stats(server->auth, &auth);
    head(out, &metrics[METRIC_info]);
    labelled(out, METRIC_info, PARLEY_VERSION, 1);
    number(out, METRIC_uptime_seconds, (double)(pl_clock_ms() - server->started_ms) / 1000);
    number(out, METRIC_draining, atomic_load(&server->is_draining));
    write_threads(out, server);
    number(out, METRIC_queued_bytes, (double)atomic_load(&server->queued));
    write_gate(out, server);
    const uint64_t values[] = {
#define PL_COUNTER(name, help) totals.name,
#include "core/counters.def"
#undef PL_COUNTER
    };
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        head(out, &counters[i]);
        fprintf(out, "parley_%s %" PRIu64 "\n", counters[i].name, values[i]);
    }
    write_realms(out, server);
    number(out, METRIC_passwords_pending, (double)auth.pending);
    number(out, METRIC_logins_slowed_total, (double)auth.slowed);
    number(out, METRIC_users, (double)auth.users);
    if (server->web)
        write_web(out, server);
    write_peers(out, server);
    write_certificates(out, server);
    write_issued(out, server);
    write_store(out, server);
    write_process(out);
}

void pl_admin_metrics(struct pl_conn *conn, const struct pl_http_request *request)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        pl_conn_answer_status(conn, 503);
        return;
    }
    write_all(out, pl_conn_shard(conn)->server);
    if (fclose(out) == 0)
        pl_conn_answer(conn, &(struct pl_http_answer){.status = 200,
                                 .type = "text/plain; version=0.0.4; charset=utf-8",
                                 .body = pl_bytes_of(text, len),
                                 .keeps_alive = request->keeps_alive,
                                 .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD"))});
    else
        pl_conn_answer_status(conn, 503);
    free(text); /* open_memstream's own */
}

void pl_metrics_print_reference(FILE *out)
{
    fputs("# Metrics\n"
          "\n"
          "<!-- Made by `parley check --print-metrics` from src/server/metrics.def and "
          "src/core/counters.def. -->\n"
          "\n"
          "`GET /metrics` on the admin listener (127.0.0.1:8081) answers in Prometheus' text "
          "format.\n"
          "\n"
          "| name | kind | labels | meaning |\n|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < METRIC_COUNT; i++)
        fprintf(out, "| `parley_%s` | %s | %s | %s. |\n", metrics[i].name, metrics[i].kind,
            metrics[i].labels, metrics[i].help);
    for (size_t i = 0; i < COUNTER_COUNT; i++)
        fprintf(out, "| `parley_%s` | %s | %s | %s. |\n", counters[i].name, counters[i].kind,
            counters[i].labels, counters[i].help);
}
