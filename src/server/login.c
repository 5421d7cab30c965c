/*
 * Logins: what the configuration says, as auth wants it, and the way of one login.
 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/alloc.h"
#include "base/log.h"
#include "server/state.h"

struct user_count {
    struct pl_map_entry entry;
    uint32_t connections;
    char name[];
};

/*
 * One login of a connection, while connections_per_user counts. It belongs to two: the connection,
 * which may end before the login is answered, and whoever answers, on any thread. The second one to
 * look at the state frees it.
 *
 *     OPEN   → COUNTED  the login was accepted, the user is counted
 *            → REFUSED  it was not
 *            → GONE     the connection ended, or logs in anew, first
 */
enum hold_state { HOLD_OPEN, HOLD_COUNTED, HOLD_REFUSED, HOLD_GONE };

struct pl_user_hold {
    atomic_int state; /* enum hold_state */
    struct pl_port *port;
    struct user_count *count;  /* written before COUNTED */
    struct pl_user_hold *next; /* the connection's: its login before that */
};

/* Counts; NULL: it has connections_per_user already, or there is no memory. */
static struct user_count *enter(struct pl_server *server, struct pl_bytes user)
{
    pthread_mutex_lock(&server->users.lock);
    struct pl_map_entry *entry = pl_map_find(&server->users.map, user);
    struct user_count *count = entry ? PL_CONTAINER(entry, struct user_count, entry) : NULL;
    if (!count && (count = pl_zalloc(sizeof *count + user.len))) {
        memcpy(count->name, user.data, user.len);
        if (pl_map_add(&server->users.map, &count->entry, pl_bytes_of(count->name, user.len))) {
            pl_free(count);
            count = NULL;
        }
    }
    if (count && count->connections >= server->config->limits.connections_per_user)
        count = NULL;
    if (count)
        count->connections++;
    pthread_mutex_unlock(&server->users.lock);
    return count;
}

static void leave(struct pl_server *server, struct user_count *count)
{
    if (!count)
        return; /* Without a name nobody is counted. */
    pthread_mutex_lock(&server->users.lock);
    if (--count->connections == 0) {
        pl_map_remove(&server->users.map, &count->entry);
        pl_free(count);
    }
    pthread_mutex_unlock(&server->users.lock);
}

static void let_go(struct pl_user_hold *hold)
{
    struct pl_server *server = hold->port->server;
    int state = atomic_exchange(&hold->state, HOLD_GONE);
    if (state == HOLD_COUNTED)
        leave(server, hold->count);
    if (state != HOLD_OPEN)
        pl_free(hold);
}

struct pl_user_hold *pl_user_hold_free(struct pl_user_hold *hold)
{
    while (hold) {
        struct pl_user_hold *next = hold->next;
        let_go(hold);
        hold = next;
    }
    return NULL;
}

/* Of older ones that were refused nothing is left, of accepted ones the last: a login that fails
 * leaves the connection to whom it had. */
static void push(struct pl_user_hold **head, struct pl_user_hold *hold)
{
    bool has_counted = false;
    for (struct pl_user_hold **at = head; *at;) {
        struct pl_user_hold *older = *at;
        int state = atomic_load(&older->state);
        if (state == HOLD_REFUSED || (state == HOLD_COUNTED && has_counted)) {
            *at = older->next;
            let_go(older);
            continue;
        }
        has_counted |= state == HOLD_COUNTED;
        at = &older->next;
    }
    hold->next = *head;
    *head = hold;
}

/* The login's side: counts the user if it was accepted. False: it is one too many. */
static bool settle(struct pl_user_hold *hold, const struct pl_identity *identity)
{
    struct pl_server *server = hold->port->server;
    bool may = identity != NULL;
    if (may && identity->user.len)
        may = (hold->count = enter(server, identity->user)) != NULL;
    int state = HOLD_OPEN;
    if (!atomic_compare_exchange_strong(&hold->state, &state, may ? HOLD_COUNTED : HOLD_REFUSED)) {
        leave(server, hold->count);
        pl_free(hold);
    }
    return may;
}

static struct pl_realm *realm_named(const struct pl_server *server, struct pl_bytes name)
{
    for (uint32_t i = 0; i < server->realm_count; i++) {
        if (pl_bytes_equal(pl_bytes_text(pl_realm_name(server->realms[i])), name))
            return server->realms[i];
    }
    return NULL;
}

/* By its name, or by another that the configuration gives it. */
static struct pl_realm *find_realm(const struct pl_server *server, struct pl_bytes name)
{
    struct pl_realm *realm = realm_named(server, name);
    const struct pl_text_pairs *aliases = &server->config->realm_aliases;
    for (uint32_t i = 0; i < aliases->count && !realm; i++)
        if (pl_bytes_equal(pl_bytes_text(aliases->items[i].key), name))
            realm = realm_named(server, pl_bytes_text(aliases->items[i].value));
    return realm;
}

/* What the client asked for, what its login says, what the listener has: the first two must agree.
 */
static struct pl_realm *choose_realm(
    struct pl_port *port, const struct pl_session *session, struct pl_bytes granted)
{
    struct pl_realm *asked = session->asked_realm;
    struct pl_realm *realm = granted.len ? find_realm(port->server, granted) : NULL;
    if (granted.len)
        return asked && asked != realm ? NULL : realm;
    return asked ? asked : port->realm;
}

/* Any thread. hold may be NULL. */
static void answer_login(struct pl_port *port, struct pl_user_hold *hold,
    const struct pl_login *login, const struct pl_login_answer *answer)
{
    struct pl_server *server = port->server;
    struct pl_session *session = login->session;
    struct pl_identity *identity = answer->identity;
    enum pl_err err = answer->err;
    struct pl_realm *realm = NULL;
    const char *why = answer->diag ? answer->diag->text : "";
    /* The session's reactor looks at them when the login is answered, not before. */
    session->exchange = answer->exchange;
    session->challenge = answer->challenge;
    if (!err && !(realm = choose_realm(port, session, answer->realm))) {
        err = PL_BAD_LOGIN;
        why = "there is no such realm";
    }
    if (hold && !settle(hold, err ? NULL : identity) && !err) {
        err = PL_LIMIT;
        why = "limits.connections_per_user";
    }
    if (err) {
        if (err != PL_CHALLENGED && pl_server_may_log(server))
            pl_log(PL_LOG_INFO, "login_refused", "listener=%s protocol=%s why=\"%s\" detail=\"%s\"",
                port->config->name, session->ops->name, pl_err_text(err), why);
        identity = pl_identity_unref(identity);
    }
    pl_worker_logged_in(session->worker, session, err, identity, realm, login->token);
}

static void on_login(const struct pl_login *login, const struct pl_login_answer *answer)
{
    answer_login(login->context, NULL, login, answer);
}

static void on_counted_login(const struct pl_login *login, const struct pl_login_answer *answer)
{
    struct pl_user_hold *hold = login->context;
    answer_login(hold->port, hold, login, answer);
}

static void ask(
    const struct pl_login *login, struct pl_port *port, struct pl_auth_question *question)
{
    const struct pl_session *session = login->session;
    pl_caller_ask(
        port->server, session->asked_realm ? session->asked_realm : port->realm, question);
}

static void on_ask(const struct pl_login *login, struct pl_auth_question *question)
{
    ask(login, login->context, question);
}

static void on_counted_ask(const struct pl_login *login, struct pl_auth_question *question)
{
    const struct pl_user_hold *hold = login->context;
    ask(login, hold->port, question);
}

void pl_login_hook(
    void *context, struct pl_session *session, const struct pl_credentials *shown, uint64_t token)
{
    struct pl_server *server = context;
    struct pl_port *port = &server->ports[0];
    for (uint32_t i = 0; i < server->port_count; i++) {
        if (strcmp(server->ports[i].config->name, shown->listener) == 0)
            port = &server->ports[i];
    }
    struct pl_worker *worker = session->worker;
    if (shown->realm.len && !(session->asked_realm = find_realm(server, shown->realm))) {
        pl_worker_logged_in(worker, session, PL_NO_REALM, NULL, NULL, token);
        return;
    }
    if (port->is_local && !server->needs_local_login && !shown->has_user && !shown->has_token &&
        !shown->has_shared_key) {
        struct pl_identity *trusted = pl_identity_new_all("", "trusted");
        struct pl_realm *realm = session->asked_realm ? session->asked_realm : port->realm;
        pl_worker_logged_in(worker, session, trusted ? PL_OK : PL_NO_MEMORY, trusted,
            trusted ? realm : NULL, token);
        return;
    }
    struct pl_login login = {.done = on_login, .context = port, .session = session, .token = token};
    if (server->config->limits.connections_per_user) {
        struct pl_user_hold *hold = pl_zalloc(sizeof *hold);
        if (!hold) {
            pl_worker_logged_in(session->worker, session, PL_NO_MEMORY, NULL, NULL, token);
            return;
        }
        hold->port = port;
        struct pl_user_hold **head = pl_connection_holds(&server->shards[worker->index]);
        if (head)
            push(head, hold);
        else
            pl_user_hold_free(hold); /* looked at once, and not held */
        login.done = on_counted_login;
        login.context = hold;
    }
    if (pl_caller_has(server, session->asked_realm ? session->asked_realm : port->realm))
        login.ask = login.done == on_login ? on_ask : on_counted_ask;
    login.exchange = session->exchange;
    session->exchange = NULL;
    session->challenge = NULL;
    if (!shown->is_response)
        login.exchange = pl_exchange_free(login.exchange);
    pl_auth_login(server->auth, shown, worker->now_ms, worker->now_unix_ms, login);
}

/* ---- Configuration ---- */

void pl_login_secret(const struct pl_server *server, uint8_t out[PL_LOGIN_SECRET_LEN])
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    struct pl_diag diag;
    if (!server->data) { /* `parley check` keeps nothing */
        randombytes_buf(out, PL_LOGIN_SECRET_LEN);
        return;
    }
    if (snprintf(path, sizeof path, "%s/login-secret", server->data) >= (int)sizeof path)
        path[0] = 0;
    enum pl_err err = pl_file_read(path, PL_LOGIN_SECRET_LEN, &diag, &text, &len, NULL);
    if (!err && len == PL_LOGIN_SECRET_LEN) {
        memcpy(out, text, PL_LOGIN_SECRET_LEN);
    } else {
        randombytes_buf(out, PL_LOGIN_SECRET_LEN);
        if (mkdir(server->data, 0700) == 0 || errno == EEXIST)
            err = pl_file_replace(path, pl_bytes_of(out, PL_LOGIN_SECRET_LEN), NULL, &diag);
        if (err)
            pl_log(PL_LOG_WARN, "login_secret", "why=\"%s\"", diag.text);
    }
    pl_free(text);
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static struct pl_texts texts(struct pl_text_list list)
{
    return (struct pl_texts){.items = list.items, .count = list.count};
}

static enum pl_err add_listeners(
    const struct pl_config *config, struct pl_arena *arena, struct pl_auth_config *out)
{
    uint32_t count = config->listeners.count;
    struct pl_auth_listener *listeners = pl_arena_zalloc(arena, (count + 1) * sizeof *listeners);
    if (!listeners)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct pl_config_listener *l = &config->listeners.items[i];
        listeners[i] = (struct pl_auth_listener){.name = l->name,
            .anonymous_role = pl_config_anonymous_role(config, l),
            .methods = texts(l->authmethods)};
    }
    out->listeners = listeners;
    out->listener_count = count;
    return PL_OK;
}

static enum pl_err add_roles(
    const struct pl_config *config, struct pl_arena *arena, struct pl_auth_config *out)
{
    uint32_t count = config->roles.count;
    struct pl_role_config *roles = pl_arena_zalloc(arena, (count + 1) * sizeof *roles);
    if (!roles)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct pl_config_role *r = &config->roles.items[i];
        roles[i] = (struct pl_role_config){
            .name = r->name,
            .publish = texts(r->publish),
            .subscribe = texts(r->subscribe),
            .deny_publish = texts(r->deny_publish),
            .deny_subscribe = texts(r->deny_subscribe),
            .call = texts(r->call),
            .register_ = texts(r->register_),
            .deny_call = texts(r->deny_call),
            .deny_register = texts(r->deny_register),
            .disclose = r->disclose,
            .trust = r->trust,
            .authorizer = or_null(r->authorizer),
            .has_replay = r->replay != PL_CONFIG_REPLAY_LISTENER,
            .replay = (uint8_t)(r->replay ? r->replay - 1 : 0),
        };
    }
    out->roles = roles;
    out->role_count = count;
    return PL_OK;
}

static enum pl_err add_jwt(
    const struct pl_config_jwt *jwt, struct pl_arena *arena, struct pl_jwt_config *out)
{
    uint32_t count = jwt->keys.count;
    struct pl_jwt_key_config *keys = pl_arena_zalloc(arena, (count + 1) * sizeof *keys);
    if (!keys)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct pl_config_jwt_key *key = &jwt->keys.items[i];
        keys[i] = (struct pl_jwt_key_config){.file = or_null(key->file),
            .env = or_null(key->env),
            .url = or_null(key->url),
            .ca = or_null(key->ca),
            .algorithm = or_null(key->algorithm),
            .kid = or_null(key->kid)};
    }
    *out = (struct pl_jwt_config){
        .keys = keys,
        .key_count = count,
        .issuers = texts(jwt->issuers),
        .audiences = texts(jwt->audiences),
        .leeway_ms = jwt->leeway_ms,
        .requires_expiry = jwt->require_expiry,
        .user_claim = or_null(jwt->user_claim),
        .role_claim = or_null(jwt->role_claim),
        .handler_claim = or_null(jwt->handler_claim),
        .handler_role = or_null(jwt->handler_role),
        .nameless_role = or_null(jwt->nameless_role),
        .default_role = or_null(jwt->default_role),
        .user_name = or_null(jwt->user_name),
    };
    return PL_OK;
}

enum pl_err pl_login_config(
    const struct pl_config *config, struct pl_arena *arena, struct pl_auth_config *out)
{
    const struct pl_config_auth *auth = &config->auth;
    *out = (struct pl_auth_config){
        .anonymous_role = auth->anonymous[0]           ? auth->anonymous
                          : pl_config_has_auth(config) ? NULL
                                                       : "all",
        .users_file = or_null(auth->users),
        .key_file = or_null(auth->cryptosign_key),
        .revoked = texts(auth->revoked),
        .cookies = auth->cookies,
        .cookie_lifetime_ms = auth->cookie_lifetime_ms,
        .threads = auth->threads,
        .queue_max = auth->queue,
        .free_failures = auth->free_failures,
        .backoff_ms = auth->backoff_ms,
        .backoff_max_ms = auth->backoff_max_ms,
        .forget_ms = auth->forget_ms,
        .jwks_refresh_ms = auth->jwt.refresh_ms,
        .jwks_refresh_min_ms = auth->jwt.refresh_min_ms,
    };
    enum pl_err err = add_listeners(config, arena, out);
    if (!err)
        err = add_roles(config, arena, out);
    return err ? err : add_jwt(&auth->jwt, arena, &out->jwt);
}
