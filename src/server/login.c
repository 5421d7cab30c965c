/*
 * Logins: what the configuration says, as auth wants it, and the way of one login.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "server/state.h"

struct user_count {
    struct pl_map_entry entry;
    uint32_t connections;
    char name[];
};

bool pl_user_may_enter(struct pl_server *server, struct pl_bytes user)
{
    uint32_t most = server->config->limits.connections_per_user;
    if (most == 0 || user.len == 0)
        return true;
    pthread_mutex_lock(&server->users.lock);
    struct pl_map_entry *entry = pl_map_find(&server->users.map, user);
    bool may = !entry || PL_CONTAINER(entry, struct user_count, entry)->connections < most;
    pthread_mutex_unlock(&server->users.lock);
    return may;
}

/* Without memory a user is not counted, and leaving finds nothing to count down. */
void pl_user_enter(struct pl_server *server, struct pl_bytes user)
{
    if (server->config->limits.connections_per_user == 0)
        return;
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
    if (count)
        count->connections++;
    pthread_mutex_unlock(&server->users.lock);
}

void pl_user_leave(struct pl_server *server, struct pl_bytes user)
{
    pthread_mutex_lock(&server->users.lock);
    struct pl_map_entry *entry = pl_map_find(&server->users.map, user);
    struct user_count *count = entry ? PL_CONTAINER(entry, struct user_count, entry) : NULL;
    if (count && --count->connections == 0) {
        pl_map_remove(&server->users.map, &count->entry);
        pl_free(count);
    }
    pthread_mutex_unlock(&server->users.lock);
}

static struct pl_realm *find_realm(
    const struct pl_server *server, struct pl_bytes name, struct pl_realm *otherwise)
{
    if (name.len == 0)
        return otherwise;
    for (uint32_t i = 0; i < server->realm_count; i++) {
        if (pl_bytes_equal(pl_bytes_text(pl_realm_name(server->realms[i])), name))
            return server->realms[i];
    }
    return NULL;
}

/* Any thread. */
static void on_login(const struct pl_login *login, const struct pl_login_answer *answer)
{
    const struct pl_port *port = login->context;
    struct pl_session *session = login->session;
    struct pl_identity *identity = answer->identity;
    enum pl_err err = answer->err;
    struct pl_realm *realm = NULL;
    const char *why = answer->diag ? answer->diag->text : "";
    if (!err && !(realm = find_realm(port->server, answer->realm, port->realm))) {
        err = PL_BAD_LOGIN;
        why = "there is no such realm";
    }
    if (!err && !pl_user_may_enter(port->server, identity->user)) {
        err = PL_LIMIT;
        why = "limits.connections_per_user";
    }
    if (err) {
        if (pl_server_may_log(port->server))
            pl_log(PL_LOG_INFO, "login_refused", "listener=%s protocol=%s why=\"%s\" detail=\"%s\"",
                port->config->name, session->ops->name, pl_err_text(err), why);
        identity = pl_identity_unref(identity);
    }
    pl_worker_logged_in(session->worker, session, err, identity, realm, login->token);
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
    const struct pl_worker *worker = session->worker;
    pl_auth_login(server->auth, shown, worker->now_ms, worker->now_unix_ms,
        (struct pl_login){.done = on_login, .context = port, .session = session, .token = token});
}

/* ---- Configuration ---- */

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
        listeners[i] = (struct pl_auth_listener){
            .name = l->name, .anonymous_role = pl_config_anonymous_role(config, l)};
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
        keys[i] = (struct pl_jwt_key_config){
            .file = key->file, .algorithm = or_null(key->algorithm), .kid = or_null(key->kid)};
    }
    *out = (struct pl_jwt_config){
        .keys = keys,
        .key_count = count,
        .issuers = texts(jwt->issuers),
        .audiences = texts(jwt->audiences),
        .leeway_ms = jwt->leeway_ms,
        .requires_expiry = jwt->require_expiry,
        .user_claim = or_null(jwt->user_claim),
        .handler_claim = or_null(jwt->handler_claim),
        .handler_role = or_null(jwt->handler_role),
        .default_role = or_null(jwt->default_role),
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
        .revoked = texts(auth->revoked),
        .threads = auth->threads,
        .queue_max = auth->queue,
        .free_failures = auth->free_failures,
        .backoff_ms = auth->backoff_ms,
        .backoff_max_ms = auth->backoff_max_ms,
        .forget_ms = auth->forget_ms,
    };
    enum pl_err err = add_listeners(config, arena, out);
    if (!err)
        err = add_roles(config, arena, out);
    return err ? err : add_jwt(&auth->jwt, arena, &out->jwt);
}
