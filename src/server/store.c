/* The store behind the realms: put back at the start, told of commits while it serves. */
#include <limits.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "core/message_record.h"
#include "core/restore.h"
#include "server/state.h"
#include "store/store.h"

/* Where a restored session stands, so that what is its own finds it. */
struct back {
    struct pl_map_entry entry;
    struct pl_session *session; /* NULL: it is over */
    const struct pl_restorer *restorer;
    size_t realm_len;
    uint8_t key[]; /* realm, 0, name of the mailbox */
};

struct restoring {
    struct pl_server *server;
    struct pl_store *store;
    struct pl_map sessions;
    struct pl_times now;
    uint64_t session_count, over_count, message_count, lost_count, orphan_count;
};

static struct pl_realm *find_realm(const struct pl_server *server, struct pl_bytes name)
{
    for (uint32_t i = 0; i < server->realm_count; i++)
        if (pl_bytes_equal(pl_bytes_text(pl_realm_name(server->realms[i])), name))
            return server->realms[i];
    return NULL;
}

/* What can only be told of, not be used: a realm that is not configured any more, and the like. */
static enum pl_err pass_over(struct restoring *r)
{
    r->lost_count++;
    return PL_OK;
}

static enum pl_err restore_log(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct restoring *r = context;
    struct pl_state_key parts;
    struct pl_realm *realm =
        pl_state_key_parse(key, &parts) ? NULL : find_realm(r->server, parts.realm);
    enum pl_err err = realm ? pl_realm_restore_log(realm, &parts, value) : PL_MALFORMED;
    return err == PL_MALFORMED ? pass_over(r) : err;
}

static enum pl_err restore_retained(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct restoring *r = context;
    struct pl_state_key parts;
    struct pl_realm *realm =
        pl_state_key_parse(key, &parts) ? NULL : find_realm(r->server, parts.realm);
    struct pl_message *kept = NULL;
    enum pl_err err = realm ? pl_message_read(value, &r->now, &kept) : PL_MALFORMED;
    if (!err)
        err = pl_realm_restore_retained(realm, kept);
    return err == PL_MALFORMED ? pass_over(r) : err;
}

static struct pl_bytes back_key(struct pl_bytes key, const struct pl_state_key *parts)
{
    /* Both begin behind the key's first byte. */
    return pl_bytes_of(key.data + 1, parts->realm.len + 1 + parts->first.len);
}

static const struct pl_protocol *find_protocol(struct pl_bytes name)
{
    for (const struct pl_protocol *const *p = pl_registry_protocols; *p; p++)
        if (pl_bytes_equal(pl_bytes_text((*p)->name), name) && (*p)->restorer)
            return *p;
    return NULL;
}

static struct back *new_back(struct restoring *r, struct pl_bytes key, struct pl_bytes realm)
{
    struct back *back = pl_zalloc(sizeof *back + key.len);
    if (!back)
        return NULL;
    memcpy(back->key, key.data, key.len);
    back->realm_len = realm.len;
    if (!pl_map_add(&r->sessions, &back->entry, pl_bytes_of(back->key, key.len)))
        return back;
    pl_free(back);
    return NULL;
}

static enum pl_err add_session(struct restoring *r, struct pl_realm *realm, struct back *back,
    const struct pl_stored_session *state)
{
    const struct pl_protocol *protocol = find_protocol(state->protocol);
    if (!protocol)
        return PL_MALFORMED;
    back->restorer = protocol->restorer;
    back->session = protocol->restorer->session(r->server->shards[0].worker,
        pl_registry_options(protocol, &r->server->options), !state->left_unix_ms);
    enum pl_err err =
        back->session ? pl_realm_restore_session(realm, back->session, state) : PL_NO_MEMORY;
    if (err && back->session) {
        protocol->restorer->give_up(back->session);
        back->session = NULL;
    }
    return err;
}

static enum pl_err restore_session(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct restoring *r = context;
    struct pl_state_key parts;
    struct pl_stored_session state;
    if (pl_state_key_parse(key, &parts) || pl_stored_session_parse(&parts, value, &state))
        return pass_over(r);
    struct pl_realm *realm = find_realm(r->server, parts.realm);
    if (!realm)
        return pass_over(r);
    struct back *back = new_back(r, back_key(key, &parts), parts.realm);
    if (!back)
        return PL_NO_MEMORY;
    if (pl_stored_session_is_over(realm, &state, r->now.unix_ms)) {
        r->over_count++;
        return PL_OK;
    }
    enum pl_err err = add_session(r, realm, back, &state);
    r->session_count += !err;
    return err == PL_MALFORMED || err == PL_LIMIT ? pass_over(r) : err;
}

static struct back *find_back(
    struct restoring *r, struct pl_bytes key, const struct pl_state_key *parts)
{
    struct pl_map_entry *e = pl_map_find(&r->sessions, back_key(key, parts));
    return e ? PL_CONTAINER(e, struct back, entry) : NULL;
}

static enum pl_err restore_subscription(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct restoring *r = context;
    struct pl_state_key parts;
    if (pl_state_key_parse(key, &parts) || value.len < 8)
        return pass_over(r);
    struct back *back = find_back(r, key, &parts);
    if (!back || !back->session)
        return PL_OK; /* of a session that is over */
    enum pl_err err = back->restorer->subscription(back->session->realm, back->session,
        parts.second, pl_bytes_from(value, 8), pl_get_u64(value.data));
    return err == PL_MALFORMED ? pass_over(r) : err;
}

static enum pl_err restore_progress(void *context, struct pl_bytes key, struct pl_bytes value)
{
    struct restoring *r = context;
    struct pl_state_key parts;
    if (pl_state_key_parse(key, &parts))
        return pass_over(r);
    struct back *back = find_back(r, key, &parts);
    enum pl_err err = back && back->session
                          ? back->restorer->progress(back->session, parts.second, value)
                          : PL_OK;
    return err == PL_MALFORMED ? pass_over(r) : err;
}

static enum pl_err restore_message(
    void *context, struct pl_bytes realm_name, struct pl_message *kept)
{
    struct restoring *r = context;
    struct pl_realm *realm = find_realm(r->server, realm_name);
    if (!realm) {
        /* It stays in the file, should the realm come back. */
        kept->record = NULL;
        pl_message_unref(kept);
        return pass_over(r);
    }
    bool is_orphan;
    enum pl_err err = pl_realm_restore_message(realm, kept, &is_orphan);
    r->message_count += !is_orphan;
    r->orphan_count += is_orphan;
    return err;
}

static void tell(const struct restoring *r)
{
    if (r->message_count || r->session_count || r->lost_count)
        pl_log(r->lost_count ? PL_LOG_WARN : PL_LOG_INFO, "restored",
            "messages=%llu sessions=%llu expired_sessions=%llu not_used=%llu",
            (unsigned long long)r->message_count, (unsigned long long)r->session_count,
            (unsigned long long)r->over_count, (unsigned long long)r->lost_count);
    if (r->orphan_count)
        pl_log(PL_LOG_WARN, "history_without_rule", "messages=%llu effect=\"%s\"",
            (unsigned long long)r->orphan_count,
            "no durable rule of `history` covers them: they stay in the store, unused");
}

/* Rules that ask for what there is not. */
static void warn_of_rules(const struct pl_config_history *rules, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (rules[i].durable)
            pl_log(PL_LOG_WARN, "durable_without_store", "subject=%s effect=\"%s\"",
                rules[i].subject, "kept in memory");
}

static enum pl_err restore_all(struct restoring *r, struct pl_diag *diag)
{
    static const struct {
        enum pl_state kind;
        pl_store_state_fn *fn;
    } steps[] = {
        {PL_STATE_LOG, restore_log},
        {PL_STATE_RETAINED, restore_retained},
        {PL_STATE_SESSION, restore_session},
        {PL_STATE_SUBSCRIPTION, restore_subscription},
        {PL_STATE_PROGRESS, restore_progress},
    };
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !err; i++)
        err = pl_store_each_state(r->store, steps[i].kind, steps[i].fn, r, diag);
    if (!err)
        err = pl_store_each_message(r->store, &r->now, restore_message, r, diag);
    return err;
}

/* Those that are over go from the store, if there is a journal by now. All go if the start failed.
 */
static void free_backs(struct restoring *r, bool has_failed)
{
    for (struct pl_map_entry *e = pl_map_next(&r->sessions, NULL); e;
         e = pl_map_next(&r->sessions, NULL)) {
        struct back *back = PL_CONTAINER(e, struct back, entry);
        pl_map_remove(&r->sessions, e);
        struct pl_bytes realm = {back->key, back->realm_len};
        if (back->session && has_failed) {
            pl_realm_restore_undo(back->session);
            back->restorer->give_up(back->session);
        } else if (back->session)
            back->restorer->end(back->session);
        else
            pl_realm_forget_session(
                find_realm(r->server, realm), pl_bytes_from(back->entry.key, back->realm_len + 1));
        pl_free(back);
    }
    pl_map_done(&r->sessions);
}

/* On the home's thread. */
static void pass_on(struct pl_post *post, void *context)
{
    struct pl_store_verdict *verdict = PL_CONTAINER(post, struct pl_store_verdict, post);
    struct pl_worker *home = context;
    struct pl_server *server = verdict->context;
    for (uint32_t i = 0; i < server->realm_count; i++)
        pl_realm_committed(server->realms[i], home, verdict->ticket, verdict->err);
    pl_free(verdict);
}

/* On the writer's thread. */
static void on_committed(struct pl_store_verdict *verdict)
{
    struct pl_server *server = verdict->context;
    verdict->post.run = pass_on;
    pl_worker_post(server->shards[0].worker, &verdict->post);
}

enum pl_err pl_store_find_file(const struct pl_server *server, char **out, struct pl_diag *diag)
{
    const char *file = server->config->store.file;
    char path[PATH_MAX];
    if (!file[0]) {
        if (snprintf(path, sizeof path, "%s/parley.db", server->data) >= (int)sizeof path) {
            pl_diag_set(diag, 0, "the path is too long: %s", server->data);
            return PL_CONFIG;
        }
        file = path;
    }
    *out = pl_alloc_copy(file, strlen(file));
    return *out ? PL_OK : PL_NO_MEMORY;
}

static bool is_wanted(const struct pl_server *server)
{
    const struct pl_config *config = server->config;
    return config->store.enabled && (!server->is_embedded || config->data[0]);
}

static enum pl_err open_store(struct pl_server *server, struct pl_diag *diag)
{
    char *file = NULL;
    enum pl_err err = pl_store_find_file(server, &file, diag);
    if (!err)
        err = pl_file_make_folders(file, diag);
    if (!err)
        err = pl_store_open(&(struct pl_store_options){.file = file,
                                .pending_bytes_max = server->config->store.pending},
            &server->store, diag);
    pl_free(file);
    return err;
}

static enum pl_err begin(struct pl_server *server, struct pl_diag *diag)
{
    enum pl_err err = pl_store_start(server->store, on_committed, server, diag);
    for (uint32_t i = 0; i < server->realm_count && !err; i++) {
        pl_realm_set_journal(server->realms[i], pl_store_journal(server->store));
        err = pl_realm_restore_end(server->realms[i]);
    }
    return err;
}

enum pl_err pl_store_restore(struct pl_server *server, struct pl_diag *diag)
{
    if (!is_wanted(server)) {
        const struct pl_config *config = server->config;
        warn_of_rules(config->history.items, config->history.count);
        for (uint32_t i = 0; i < config->realms.count; i++)
            warn_of_rules(
                config->realms.items[i].history.items, config->realms.items[i].history.count);
        return PL_OK;
    }
    enum pl_err err = open_store(server, diag);
    if (err)
        return err;
    struct pl_worker *home = server->shards[0].worker;
    struct restoring r = {
        .server = server,
        .store = server->store,
        .now = {pl_clock_ms(), pl_clock_unix_ms()},
    };
    pl_worker_begin(home, r.now.monotonic_ms, r.now.unix_ms);
    pl_map_init(&r.sessions, r.now.unix_ms);
    err = restore_all(&r, diag);
    if (!err)
        err = begin(server, diag);
    free_backs(&r, err != PL_OK);
    if (!err)
        tell(&r);
    return err;
}

void pl_store_close(struct pl_server *server)
{
    if (!server->store)
        return;
    for (uint32_t i = 0; i < server->realm_count; i++)
        pl_realm_set_journal(server->realms[i], NULL);
    pl_store_stop(server->store);
}
