/*
 * Dynamic authenticators: procedures that are called about those who log in (as Crossbar calls
 * them), with [realm, authid, details], and answer a role, or a dictionary, or an error.
 *
 *     a shard              home
 *     login → ask ──post──► asker.call … answered → pl_auth_told → the session's shard
 *
 * The call is its own post, and is counted in server->asking until it is answered.
 */
#include "base/alloc.h"
#include "protocols/wamp/wamp_asker.h"
#include "server/state.h"

enum { EXTRA_MAX = 32 };

struct call {
    struct pl_post post;
    struct pl_wamp_asked asked;
    struct pl_server *server;
    struct pl_wamp_asker *asker;
    const char *procedure;
    struct pl_auth_question *question;
    struct pl_shared *arguments; /* one reference */
};

static uint32_t index_of(const struct pl_server *server, const struct pl_realm *realm)
{
    uint32_t i = 0;
    while (server->realms[i] != realm)
        i++;
    return i;
}

/* The first realm is main, which has no section of its own. */
static const char *procedure_of(const struct pl_server *server, uint32_t realm)
{
    const struct pl_config *config = server->config;
    const char *own = realm ? config->realms.items[realm - 1].authenticator : "";
    return own[0] ? own : config->wamp.authenticator;
}

bool pl_caller_has(const struct pl_server *server, const struct pl_realm *realm)
{
    return realm && server->askers && procedure_of(server, index_of(server, realm))[0];
}

/* ---- The question ---- */

static void put(struct pl_value_writer *v, const char *key, struct pl_bytes text)
{
    pl_put_key(v, key);
    pl_put_string(v, text);
}

static enum pl_err write_arguments(
    const struct pl_auth_question *question, const struct pl_realm *realm, struct pl_shared **out)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_list(&v);
    pl_put_text(&v, pl_realm_name(realm));
    pl_put_string(&v, question->name);
    pl_put_dict(&v);
    put(&v, "authmethod", question->method);
    if (question->ticket.data && pl_bytes_equal(question->method, PL_BYTES("ticket")))
        put(&v, "ticket", question->ticket);
    pl_put_key(&v, "session");
    pl_put_natural(&v, question->session_id);
    pl_put_key(&v, "authextra");
    pl_put_dict(&v);
    for (uint32_t i = 0; i < question->extra_count; i++) {
        pl_put_key_bytes(&v, question->extra[i].name);
        pl_put_string(&v, question->extra[i].value);
    }
    pl_put_end(&v);
    pl_put_key(&v, "transport");
    pl_put_dict(&v);
    put(&v, "peer", question->address);
    pl_put_end(&v);
    pl_put_end(&v);
    pl_put_end(&v);
    return pl_writer_take(&w, out);
}

/* ---- The answer ---- */

static struct pl_bytes text_of(const struct pl_value *dict, const char *key, struct pl_arena *arena)
{
    struct pl_value value;
    struct pl_bytes text;
    bool is_there = pl_value_find(dict, key, &value) &&
                    (value.kind == PL_VALUE_STRING || value.kind == PL_VALUE_BINARY) &&
                    !pl_value_text(&value, arena, &text);
    return is_there ? text : PL_NO_BYTES;
}

/* Under either name. */
static struct pl_bytes either(
    const struct pl_value *dict, const char *key, const char *other, struct pl_arena *arena)
{
    struct pl_bytes text = text_of(dict, key, arena);
    return text.len ? text : text_of(dict, other, arena);
}

static uint64_t number_of(const struct pl_value *dict, const char *key)
{
    struct pl_value value;
    uint64_t number;
    return pl_value_find(dict, key, &value) && pl_value_natural(&value, &number) ? number : 0;
}

/* Texts of `extra`, as "authextra.KEY". */
static uint32_t read_extra(
    const struct pl_value *dict, struct pl_arena *arena, struct pl_attribute out[EXTRA_MAX])
{
    static const char head[] = "authextra.";
    struct pl_value extra, key, value;
    uint32_t count = 0;
    if (!pl_value_find(dict, "extra", &extra) || extra.kind != PL_VALUE_DICT)
        return 0;
    struct pl_items items = pl_value_items(&extra);
    while (count < EXTRA_MAX && pl_items_next(&items, &key, &value)) {
        struct pl_bytes name;
        if (key.kind != PL_VALUE_STRING || value.kind != PL_VALUE_STRING ||
            pl_value_text(&key, arena, &name) || pl_value_text(&value, arena, &out[count].value))
            continue;
        char *full = pl_arena_alloc(arena, sizeof head - 1 + name.len + 1);
        if (!full)
            continue;
        memcpy(full, head, sizeof head - 1);
        if (name.len)
            memcpy(full + sizeof head - 1, name.data, name.len);
        out[count++].name = pl_bytes_of(full, sizeof head - 1 + name.len);
    }
    return count;
}

/* False: neither a role nor a dictionary that names one. */
static bool read_principal(const struct pl_value *answer, struct pl_arena *arena,
    struct pl_attribute extra[EXTRA_MAX], struct pl_auth_principal *out)
{
    *out = (struct pl_auth_principal){0};
    if (answer->kind == PL_VALUE_STRING)
        return !pl_value_text(answer, arena, &out->role) && out->role.len;
    if (answer->kind != PL_VALUE_DICT)
        return false;
    *out = (struct pl_auth_principal){
        .name = text_of(answer, "authid", arena),
        .role = either(answer, "role", "authrole", arena),
        .realm = text_of(answer, "realm", arena),
        .ticket = text_of(answer, "ticket", arena),
        .secret = text_of(answer, "secret", arena),
        .salt = text_of(answer, "salt", arena),
        .iterations = number_of(answer, "iterations"),
        .key_len = number_of(answer, "keylen"),
        .memory_kib = number_of(answer, "memory"),
        .kdf = text_of(answer, "kdf", arena),
        .stored_key = either(answer, "stored_key", "stored-key", arena),
        .server_key = either(answer, "server_key", "server-key", arena),
        .public_key = either(answer, "pubkey", "public_key", arena),
        .attributes = extra,
        .attribute_count = read_extra(answer, arena, extra),
    };
    return out->role.len;
}

static void finish(struct call *call, const struct pl_value *answer)
{
    struct pl_server *server = call->server;
    struct pl_arena arena = {0};
    struct pl_attribute extra[EXTRA_MAX];
    struct pl_auth_principal principal;
    bool is_someone = answer && read_principal(answer, &arena, extra, &principal);
    pl_auth_told(server->auth, call->question, is_someone ? &principal : NULL,
        server->shards[0].worker->now_unix_ms);
    pl_arena_done(&arena);
    pl_shared_unref(call->arguments);
    pl_free(call);
    atomic_fetch_sub(&server->asking, 1);
}

static void answered(struct pl_wamp_asked *asked, const struct pl_value *result)
{
    finish(PL_CONTAINER(asked, struct call, asked), result);
}

/* On home. */
static void run(struct pl_post *post, void *context)
{
    struct call *call = PL_CONTAINER(post, struct call, post);
    (void)context;
    pl_wamp_asker_call(call->asker, call->procedure, call->arguments, &call->asked);
}

void pl_caller_ask(
    struct pl_server *server, const struct pl_realm *realm, struct pl_auth_question *question)
{
    uint32_t index = index_of(server, realm);
    struct call *call = pl_zalloc(sizeof *call);
    if (!call || write_arguments(question, realm, &call->arguments)) {
        pl_free(call);
        pl_auth_told(server->auth, question, NULL, pl_clock_unix_ms());
        return;
    }
    call->post.run = run;
    call->asked.answered = answered;
    call->server = server;
    call->asker = server->askers[index];
    call->procedure = procedure_of(server, index);
    call->question = question;
    atomic_fetch_add(&server->asking, 1);
    pl_worker_post(server->shards[0].worker, &call->post);
}

/* ---- Their sessions ---- */

enum pl_err pl_callers_open(struct pl_server *server)
{
    bool is_wanted = false;
    for (uint32_t i = 0; i < server->realm_count; i++)
        is_wanted |= procedure_of(server, i)[0] != 0;
    if (!is_wanted)
        return PL_OK;
    server->askers = pl_zalloc(server->realm_count * sizeof(struct pl_wamp_asker *));
    enum pl_err err = server->askers ? PL_OK : PL_NO_MEMORY;
    for (uint32_t i = 0; i < server->realm_count && !err; i++)
        err = pl_wamp_asker_new(server->realms[i], server->shards[0].worker, &server->askers[i]);
    return err;
}

void pl_callers_free(struct pl_server *server)
{
    for (uint32_t i = 0; server->askers && i < server->realm_count; i++)
        pl_wamp_asker_free(server->askers[i]);
    pl_free(server->askers);
    server->askers = NULL;
}
