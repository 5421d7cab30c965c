#include "server/server.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/jwks.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "server/notify.h"
#include "server/site.h"
#include "server/state.h"
#include "store/store.h"

enum { POLL_MS = 20, CLOSE_MS = 6000, LEAVE_MS = 2000, REVIEW_AGAIN_MS = 6000 };

/* ---- Configuration ---- */

static enum pl_err load_config(
    const struct pl_server_options *options, struct pl_config **out, struct pl_diag *diag)
{
    struct pl_config_sources sources = {
        .file = options->config_file,
        .nexus = options->nexus,
        .text = options->config_text,
        .text_name = options->command ? options->command : "config",
        .environment =
            options->config_text && !options->command ? NULL : (const char *const *)environ,
        .sets = options->sets,
        .set_count = options->set_count,
    };
    return pl_config_load(&sources, out, diag);
}

/* Where state lives, if the configuration does not say. */
static char *find_data(const struct pl_config *config)
{
    const char *systemd = getenv("STATE_DIRECTORY");
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char path[4096];
    if (config->data[0])
        snprintf(path, sizeof path, "%s", config->data);
    else if (systemd && systemd[0])
        snprintf(path, sizeof path, "%.*s", (int)strcspn(systemd, ":"), systemd);
    else if (xdg && xdg[0] == '/')
        snprintf(path, sizeof path, "%s/parley", xdg);
    else if (home && home[0] == '/')
        snprintf(path, sizeof path, "%s/.local/share/parley", home);
    else
        snprintf(path, sizeof path, "parley-data");
    return pl_alloc_copy(path, strlen(path));
}

/* ---- Start ---- */

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    /* Where that is forbidden, it stays as it is. */
    (void)!setrlimit(RLIMIT_NOFILE, &limit);
}

/* Each connection is a file. */
static void tell_file_limit(const struct pl_config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < config->limits.connections)
        pl_log(PL_LOG_INFO, "few_files", "open_files=%llu limits.connections=%u",
            (unsigned long long)limit.rlim_cur, config->limits.connections);
}

static uint32_t count_threads(const struct pl_config *config)
{
    cpu_set_t mine;
    int processors = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : 1;
    uint32_t count = config->threads ? config->threads : (uint32_t)processors;
    return count > PL_WORKERS_MAX ? PL_WORKERS_MAX : count;
}

static enum pl_err add_rules(
    struct pl_realm *realm, const struct pl_config_history *rules, uint32_t count)
{
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; i < count && !err; i++) {
        struct pl_history_rule rule = {
            .limit = rules[i].limit,
            .age_ms = rules[i].age_ms == PL_NEVER ? 0 : rules[i].age_ms,
            .bytes = rules[i].bytes,
            .is_durable = rules[i].durable,
        };
        err = pl_pattern_parse(pl_bytes_text(rules[i].subject), &rule.pattern);
        if (!err)
            err = pl_realm_add_history(realm, rule);
    }
    return err;
}

static enum pl_err open_realms(struct pl_server *server)
{
    const struct pl_config *config = server->config;
    const struct pl_config_limits *l = &config->limits;
    const struct pl_realm_limits limits = {
        .payload_max = (uint32_t)l->payload,
        .subject_max = (uint32_t)l->subject,
        .subscriptions_max = l->subscriptions,
        .registrations_max = l->registrations,
        .calls_max = l->calls,
        .sessions_max = l->sessions,
        .retained_count_max = l->retained,
        .retained_bytes_max = l->retained_bytes,
        .history_bytes_max = l->history_bytes,
        .reply_grant_ms = config->calls.timeout_ms,
        .reply_grants_max = l->reply_grants,
        .session_expiry_max_ms = l->session_expiry_ms,
        .backlog_max = l->backlog,
    };
    const struct pl_history_claims claims = {
        .subjects = config->mles.channels,
        .limit = config->mles.limit,
        .age_ms = config->mles.age_ms,
        .bytes = config->mles.bytes,
    };
    server->realms = pl_zalloc((config->realms.count + 1) * sizeof(struct pl_realm *));
    if (!server->realms)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i <= config->realms.count; i++) {
        const struct pl_config_realm *realm = i ? &config->realms.items[i - 1] : NULL;
        uint64_t seeds[2];
        if (getrandom(seeds, sizeof seeds, 0) != (ssize_t)sizeof seeds)
            return PL_IO;
        server->realms[i] = pl_realm_new(realm ? realm->name : "main", server->workers,
            server->shard_count, &limits, seeds[0], seeds[1]);
        if (!server->realms[i])
            return PL_NO_MEMORY;
        server->realm_count = i + 1;
        enum pl_err err =
            realm ? add_rules(server->realms[i], realm->history.items, realm->history.count)
                  : add_rules(server->realms[i], config->history.items, config->history.count);
        if (err)
            return err;
        pl_realm_set_claims(server->realms[i], &claims);
    }
    return PL_OK;
}

static void review_realms(struct pl_server *server)
{
    for (uint32_t i = 0; i < server->realm_count; i++)
        pl_realm_review(server->realms[i], server->shards[0].worker, pl_auth_review, server->auth);
}

/* On the thread that fetches sets of keys, which ends before the shards do. */
static void on_jwks(void *context, const struct pl_jwks_event *event)
{
    struct pl_server *server = context;
    if (event->err)
        pl_log(PL_LOG_WARN, "token_keys_failed", "url=%s why=\"%s\"", event->url, event->why);
    else
        pl_log(PL_LOG_INFO, "token_keys", "url=%s keys=%zu", event->url, event->key_count);
    if (event->has_lost)
        pl_home_run(server, review_realms);
}

static enum pl_err open_auth(struct pl_server *server, struct pl_diag *diag)
{
    struct pl_arena arena = {0};
    struct pl_auth_config config;
    uint8_t secret[PL_LOGIN_SECRET_LEN];
    enum pl_err err = pl_login_config(server->config, &arena, &config);
    if (!err && config.users_file && server->data) { /* one that is only checked has none */
        pl_login_secret(server, secret);
        config.secret = pl_bytes_of(secret, sizeof secret);
    }
    config.on_jwks = on_jwks;
    config.on_jwks_context = server;
    if (!err)
        err = pl_auth_new(&config, diag, &server->auth);
    pl_arena_done(&arena);
    return err;
}

static enum pl_err open_all(struct pl_server *server, struct pl_diag *diag)
{
    const struct pl_config_limits *limits = &server->config->limits;
    uint8_t random[28];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return PL_IO;
    pl_hex_encode(pl_bytes_of(random, sizeof random), server->server_id);
    server->started_ms = pl_clock_ms();
    server->started_unix_ms = pl_clock_unix_ms();
    server->shard_count = count_threads(server->config);
    pthread_mutex_init(&server->users.lock, NULL);
    pthread_mutex_init(&server->acme_lock, NULL);
    pl_map_init(&server->users.map, server->started_unix_ms);
    pl_registry_fill(server->config, &server->options);
    server->data = find_data(server->config);
    server->sys = pl_sys_new();
    server->gate = pl_gate_new(&(struct pl_gate_limits){
        .connections_max = limits->connections,
        .per_address_max = limits->connections_per_address,
        .accepts_per_second = limits->accept_rate,
        .address_accepts_per_minute = server->config->web.rate_limit,
    });
    if (!server->data || !server->sys || !server->gate)
        return PL_NO_MEMORY;
    enum pl_err err = pl_certificates_open(server);
    if (!err)
        err = pl_shards_open(server, diag);
    if (!err)
        err = open_realms(server);
    if (!err)
        err = open_auth(server, diag);
    if (!err)
        err = pl_web_open(server, &server->web, diag);
    if (!err)
        err = pl_ports_open(server, diag);
    if (!err)
        err = pl_store_restore(server, diag);
    if (!err)
        err = pl_callers_open(server);
    if (!err)
        err = pl_metas_open(server);
    if (!err)
        err = pl_mles_open_peers(server, diag);
    return err ? err : pl_probe_open(server);
}

static void warn_of_variables(const struct pl_config *config)
{
    for (uint32_t i = 0; i < config->unknown_variables.count; i++)
        pl_log(PL_LOG_WARN, "unknown_variable", "name=%s", config->unknown_variables.items[i]);
}

static void warn_of_exposure(const struct pl_server *server)
{
    const struct pl_config *config = server->config;
    struct pl_auth_stats stats;
    bool has_warned = pl_config_has_auth(config);
    for (uint32_t i = 0; i < server->port_count && !has_warned; i++) {
        const struct pl_port *port = &server->ports[i];
        for (uint32_t j = 0; j < port->place_count && !has_warned; j++) {
            /* Pages alone are for everyone. */
            if (pl_listener_is_loopback(port->places[j].listener) || !port->protocols[0])
                continue;
            pl_log(PL_LOG_WARN, "open_to_everyone",
                "listener=%s address=%s anonymous=true logins=none", port->config->name,
                pl_listener_host(port->places[j].listener));
            has_warned = true;
        }
    }
    for (uint32_t i = 0; i < server->admin_count; i++) {
        if (!pl_listener_is_loopback(server->admin[i].listener))
            pl_log(PL_LOG_WARN, "admin_open_to_everyone", "address=%s",
                pl_listener_host(server->admin[i].listener));
    }
    pl_auth_stats(server->auth, &stats);
    if (stats.users_file_exposed)
        pl_log(PL_LOG_WARN, "users_file_readable", "file=%s others=may_read", config->auth.users);
}

/* ---- Reload ---- */

static enum pl_err reload_auth(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag)
{
    struct pl_arena arena = {0};
    struct pl_auth_config auth;
    enum pl_err err = pl_login_config(config, &arena, &auth);
    if (!err)
        err = pl_auth_reload(server->auth, &auth, diag);
    pl_arena_done(&arena);
    return err;
}

/* True: users, keys or roles may have changed, and sessions were looked over. */
static bool reload(struct pl_server *server, const struct pl_server_options *options)
{
    struct pl_diag diag = {{0}, 0};
    struct pl_config *config = NULL;
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
        (unsigned long long)pl_clock_ms() * 1000);
    pl_notify(state);
    enum pl_err err = load_config(options, &config, &diag);
    if (!err)
        err = reload_auth(server, config, &diag);
    bool has_auth_changed = !err;
    if (!err)
        pl_home_run(server, review_realms);
    if (!err)
        err = pl_ports_load_tls(server, config, &diag);
    if (!err)
        err = pl_certificates_order(server, config, &diag);
    if (!err)
        pl_log_set_level(config->log.level);
    if (err)
        pl_log(PL_LOG_ERROR, "reload_failed", "why=\"%s\"",
            diag.text[0] ? diag.text : pl_err_text(err));
    else
        pl_log(PL_LOG_INFO, "reloaded", "file=%s",
            options->config_file ? options->config_file : "none");
    pl_config_free(config);
    pl_notify("READY=1");
    return has_auth_changed;
}

/* ---- The main thread ---- */

static void block_signals(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
    sigaddset(out, SIGHUP);
    pthread_sigmask(SIG_BLOCK, out, NULL);
    /* It cannot fail for signals that there are. A file that may not grow is an error, no end. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

/* The next signal, 0 when the time is over. signals NULL: none are waited for. */
static int wait_signal(const sigset_t *signals, uint64_t ms)
{
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    if (!signals) { /* in a program they are not ours */
        (void)nanosleep(&time, NULL);
        return 0;
    }
    for (;;) {
        int number =
            ms == PL_NEVER ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &time);
        if (number > 0 || errno != EINTR)
            return number > 0 ? number : 0;
    }
}

static void serve(
    struct pl_server *server, const struct pl_server_options *options, const sigset_t *signals)
{
    bool reviews_again = false;
    for (;;) {
        int number = wait_signal(signals, reviews_again ? REVIEW_AGAIN_MS : PL_NEVER);
        if (number == SIGTERM || number == SIGINT)
            return;
        /* A login that was being answered meanwhile may have the old rights: look again later. */
        if (number == SIGHUP) {
            reviews_again = reload(server, options);
        } else if (reviews_again) {
            pl_home_run(server, review_realms);
            reviews_again = false;
        }
    }
}

static bool choose_all(void *context, const struct pl_session *session)
{
    (void)context;
    (void)session;
    return true;
}

static void end_sessions(struct pl_server *server)
{
    pl_probe_close(server);
    for (uint32_t i = 0; i < server->realm_count; i++)
        pl_realm_end_sessions(
            server->realms[i], server->shards[0].worker, choose_all, NULL, PL_DRAINING);
}

static bool have_all_left(const struct pl_server *server)
{
    for (uint32_t i = 0; i < server->realm_count; i++) {
        struct pl_realm_stats stats;
        pl_realm_stats(server->realms[i], &stats);
        if (stats.sessions)
            return false;
    }
    return !atomic_load(&server->asking);
}

/* Until it is true, at most that long, or another signal says that someone is in a hurry. */
static bool wait_until(const struct pl_server *server, bool (*is_true)(const struct pl_server *),
    uint64_t ms, const sigset_t *signals)
{
    uint64_t until_ms = ms == PL_NEVER ? PL_NEVER : pl_clock_ms() + ms;
    while (!is_true(server)) {
        if (pl_clock_ms() >= until_ms)
            return false;
        int number = wait_signal(signals, POLL_MS);
        if (number == SIGTERM || number == SIGINT)
            return false;
    }
    return true;
}

static bool are_drained(const struct pl_server *server)
{
    return atomic_load(&server->drained) == server->shard_count;
}

static void drain(struct pl_server *server, const sigset_t *signals)
{
    pl_log(PL_LOG_INFO, "draining", "spread=%llums timeout=%llums",
        (unsigned long long)server->config->drain.spread_ms,
        (unsigned long long)server->config->drain.timeout_ms);
    if (!server->is_embedded)
        pl_notify("STOPPING=1");
    atomic_store(&server->is_draining, true);
    pl_certificates_stop(server);
    pl_ports_stop(server);
    pl_shards_drain(server);
    wait_until(server, are_drained, server->config->drain.timeout_ms, signals);
    pl_shards_close(server);
    wait_until(server, pl_shards_are_empty, CLOSE_MS, signals);
}

/* Everything that was begun is ended, whatever was begun. */
static void close_all(struct pl_server *server, bool is_running)
{
    bool may_free = true;
    pl_mles_stop_peers(server);
    /* Sessions that end from here on stay in the store. */
    pl_store_close(server);
    if (is_running) {
        pl_home_run(server, end_sessions);
        sigset_t hurry;
        sigemptyset(&hurry);
        sigaddset(&hurry, SIGTERM);
        may_free = wait_until(server, have_all_left, LEAVE_MS, server->is_embedded ? NULL : &hurry);
    }
    server->auth = pl_auth_free(server->auth);
    pl_web_end(server->web);
    pl_shards_stop(server);
    pl_ports_free(server);
    server->web = pl_web_free(server->web);
    if (!may_free)
        /* What they hold goes with the process. */
        pl_log(PL_LOG_WARN, "sessions_left", NULL);
    for (uint32_t i = 0; may_free && i < server->realm_count; i++)
        pl_realm_free(server->realms[i]);
    if (may_free) {
        pl_metas_free(server);
        pl_mles_free_peers(server);
        pl_callers_free(server);
        server->probe = pl_probe_free(server->probe);
        pl_shards_free(server);
        server->store = pl_store_free(server->store);
    }
    if (server->gate)
        pl_gate_free(server->gate);
    pl_certificates_free(server);
    pl_sys_free(server->sys);
    pl_map_done(&server->users.map);
    pl_free(server->realms);
    pl_free(server->data);
    pl_config_free(server->local);
    pl_config_free(server->config);
}

static int fail(const struct pl_diag *diag, enum pl_err err)
{
    fprintf(stderr, "parley: %s\n", diag->text[0] ? diag->text : pl_err_text(err));
    return err == PL_NO_MEMORY ? PL_SERVE_FAILED : PL_SERVE_REFUSED;
}

int pl_server_check(const struct pl_server_options *options)
{
    struct pl_server server = {0};
    struct pl_diag diag = {{0}, 0};
    enum pl_err err = load_config(options, &server.config, &diag);
    if (!err)
        err = open_auth(&server, &diag);
    if (!err)
        err = pl_certificates_check(server.config, &diag);
    pl_auth_free(server.auth);
    pl_config_free(server.config);
    if (err)
        return fail(&diag, err);
    printf("%s is fine\n", options->config_file ? options->config_file : "the configuration");
    return PL_SERVED;
}

enum pl_err pl_server_store_file(
    const struct pl_server_options *options, char **out, struct pl_diag *diag)
{
    struct pl_server server = {0};
    enum pl_err err = load_config(options, &server.config, diag);
    if (!err && !(server.data = find_data(server.config)))
        err = PL_NO_MEMORY;
    if (!err)
        err = pl_store_find_file(&server, out, diag);
    pl_free(server.data);
    pl_config_free(server.config);
    return err;
}

int pl_server_run(const struct pl_server_options *options)
{
    struct pl_server *server = pl_zalloc(sizeof *server);
    struct pl_diag diag = {{0}, 0};
    sigset_t signals;
    if (!server)
        return fail(&diag, PL_NO_MEMORY);
    block_signals(&signals);
    int code = PL_SERVED;
    bool is_running = false;
    enum pl_err err = load_config(options, &server->config, &diag);
    if (!err) {
        pl_log_set_level(server->config->log.level);
        raise_file_limit();
        err = open_all(server, &diag);
    }
    if (!err) {
        pl_ports_print(server, stdout);
        tell_file_limit(server->config);
        warn_of_variables(server->config);
        warn_of_exposure(server);
        err = pl_shards_start(server, &diag);
        is_running = !err;
    }
    if (!err && (err = pl_auth_start(server->auth)))
        pl_diag_set(&diag, 0, "logins: %s", pl_err_text(err));
    if (!err)
        err = pl_mles_start_peers(server, &diag);
    if (!err)
        err = pl_certificates_order(server, server->config, &diag);
    if (!err)
        pl_ports_start(server);
    if (!err && options->ports_file)
        err = pl_ports_write(server, options->ports_file, &diag);
    if (!err) {
        pl_log(PL_LOG_INFO, "started", "version=" PARLEY_VERSION " threads=%u pid=%d",
            server->shard_count, (int)getpid());
        pl_notify("READY=1");
        serve(server, options, &signals);
        drain(server, &signals);
    } else {
        code = fail(&diag, err);
    }
    close_all(server, is_running);
    if (!err)
        pl_log(PL_LOG_INFO, "stopped", NULL);
    pl_free(server);
    return code;
}

/* ---- Inside a program ---- */

/* What sessions of this process come in by. */
static enum pl_err add_local(struct pl_server *server, struct pl_diag *diag)
{
    static const char text[] = "listeners: [{name: local, protocols: [wamp], anonymous: yes}]";
    const struct pl_config_sources none = {0};
    return pl_config_parse(&none, "local", pl_bytes_text(text), &server->local, diag);
}

static enum pl_err open_embedded(
    struct pl_server *server, const struct pl_server_options *options, struct pl_diag *diag)
{
    enum pl_err err = load_config(options, &server->config, diag);
    if (!err)
        err = add_local(server, diag);
    if (err)
        return err;
    server->is_embedded = true;
    server->needs_local_login = options->needs_local_login;
    if (options->has_no_listeners) {
        server->config->listeners.count = 0;
        server->config->admin.enabled = false;
    }
    pl_log_set_level(server->config->log.level);
    return open_all(server, diag);
}

enum pl_err pl_server_open(
    const struct pl_server_options *options, struct pl_server **out, struct pl_diag *diag)
{
    struct pl_server *server = pl_zalloc(sizeof *server);
    sigset_t all, before;
    if (!server)
        return PL_NO_MEMORY;
    /* Our threads get none of the program's signals, and no SIGPIPE. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    enum pl_err err = open_embedded(server, options, diag);
    bool is_running = false;
    if (!err) {
        err = pl_shards_start(server, diag);
        is_running = !err;
    }
    if (!err && (err = pl_auth_start(server->auth)))
        pl_diag_set(diag, 0, "logins: %s", pl_err_text(err));
    if (!err)
        err = pl_mles_start_peers(server, diag);
    if (!err)
        err = pl_certificates_order(server, server->config, diag);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        close_all(server, is_running);
        pl_free(server);
        return err;
    }
    pl_ports_start(server);
    *out = server;
    return PL_OK;
}

enum pl_err pl_server_connect(struct pl_server *server, int *out_fd)
{
    int ends[2];
    if (atomic_load(&server->is_draining))
        return PL_CLOSED;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
        return PL_IO;
    enum pl_err err = pl_listener_adopt(pl_ports_local(server), ends[0]);
    if (err) {
        close(ends[0]);
        close(ends[1]);
        return err;
    }
    *out_fd = ends[1];
    return PL_OK;
}

uint16_t pl_server_port(const struct pl_server *server, const char *listener)
{
    return pl_ports_number(server, listener);
}

void pl_server_close(struct pl_server *server)
{
    if (!server)
        return;
    drain(server, NULL);
    close_all(server, true);
    pl_free(server);
}
