/*
 * The way of a login:
 *
 *     shown ── nothing ──────────────→ anonymous?                                     answer
 *           ── a token ──→ guard ────→ token_login.c                                  answer
 *           ── a password ─ guard ───→ pool: argon2id against the user's hash, or
 *                                      against a dummy where there is no such user →  answer
 *
 * A refused token that was shown as a password takes the password's way too, so that the time tells
 * nothing about which names are in the users file.
 */
#include <sodium.h>

#include "auth/auth_state.h"
#include "base/alloc.h"
#include "base/text.h"

static uint64_t or_default(uint64_t value, uint64_t standard)
{
    return value ? value : standard;
}

enum pl_err pl_auth_new(
    const struct pl_auth_config *config, struct pl_diag *diag, struct pl_auth **out)
{
    enum pl_err err = PL_NO_MEMORY;
    uint64_t seed;
    struct pl_auth *auth = pl_zalloc(sizeof(*auth));
    if (!auth)
        goto fail;
    pthread_mutex_init(&auth->lock, NULL);
    if (sodium_init() < 0)
        goto fail;
    randombytes_buf(&seed, sizeof(seed));
    if (config->secret.len == sizeof(auth->secret))
        memcpy(auth->secret, config->secret.data, sizeof(auth->secret));
    else
        randombytes_buf(auth->secret, sizeof(auth->secret));
    uint32_t queue_max = (uint32_t)or_default(config->queue_max, 256);
    struct pl_guard_limits limits = {
        .free_failures = (uint32_t)or_default(config->free_failures, 5),
        .backoff_ms = or_default(config->backoff_ms, 250),
        .backoff_max_ms = or_default(config->backoff_max_ms, 15000),
        .forget_ms = or_default(config->forget_ms, 60000),
        .pending_max = queue_max < 4 ? 1 : queue_max / 4,
    };
    auth->guard = pl_guard_new(&limits, seed);
    auth->pool = pl_pool_new((uint32_t)or_default(config->threads, 2), queue_max);
    auth->cookies = pl_cookies_new((uint32_t)or_default(config->cookies, 10000),
        or_default(config->cookie_lifetime_ms, 7u * 24 * 3600 * 1000));
    auth->jwks = pl_jwks_new(&(struct pl_jwks_options){
        .refresh_ms = or_default(config->jwks_refresh_ms, 3600u * 1000),
        .refresh_min_ms = or_default(config->jwks_refresh_min_ms, 30000),
        .waiting_max = queue_max,
        .on_event = config->on_jwks,
        .context = config->on_jwks_context,
    });
    if (!auth->guard || !auth->pool || !auth->cookies || !auth->jwks)
        goto fail;
    err = pl_auth_tables_new(config, auth->jwks, diag, &auth->tables);
    if (err != PL_OK)
        goto fail;
    *out = auth;
    return PL_OK;
fail:
    if (err == PL_NO_MEMORY)
        pl_diag_set(diag, 0, "logins: %s", pl_err_text(err));
    pl_auth_free(auth);
    return err;
}

struct pl_auth *pl_auth_free(struct pl_auth *auth)
{
    if (!auth)
        return NULL;
    /* First: their last answers still look at the rest. */
    pl_jwks_end(auth->jwks);
    pl_pool_free(auth->pool);
    pl_guard_free(auth->guard);
    pl_cookies_free(auth->cookies);
    pl_auth_tables_unref(auth->tables);
    pl_jwks_free(auth->jwks);
    pthread_mutex_destroy(&auth->lock);
    sodium_memzero(auth->secret, sizeof(auth->secret));
    pl_free(auth);
    return NULL;
}

enum pl_err pl_auth_start(struct pl_auth *auth)
{
    return pl_jwks_start(auth->jwks);
}

struct pl_auth_tables *pl_auth_hold_tables(struct pl_auth *auth)
{
    pthread_mutex_lock(&auth->lock);
    struct pl_auth_tables *tables = auth->tables;
    atomic_fetch_add_explicit(&tables->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&auth->lock);
    return tables;
}

enum pl_err pl_auth_reload(
    struct pl_auth *auth, const struct pl_auth_config *config, struct pl_diag *diag)
{
    struct pl_auth_tables *fresh;
    enum pl_err err = pl_auth_tables_new(config, auth->jwks, diag, &fresh);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&auth->lock);
    struct pl_auth_tables *old = auth->tables;
    auth->tables = fresh;
    pthread_mutex_unlock(&auth->lock);
    pl_auth_tables_unref(old);
    return PL_OK;
}

/* A login that was given something to remember it by. Of the anonymous there is nothing. */
static void remember(
    struct pl_auth *auth, const struct pl_login *login, struct pl_identity *identity)
{
    if (login->cookie[0] && identity && !pl_bytes_equal(identity->method, PL_BYTES("anonymous")) &&
        !pl_bytes_equal(identity->method, PL_BYTES("cookie")))
        pl_cookies_remember(auth->cookies, pl_bytes_of(login->cookie, PL_COOKIE_LEN), identity,
            login->began_unix_ms);
}

void pl_auth_answer(struct pl_auth *auth, const struct pl_login *login, enum pl_err err,
    struct pl_identity *identity_moved, const struct pl_diag *diag)
{
    struct pl_diag plain;
    bool is_shared =
        identity_moved && pl_bytes_equal(identity_moved->method, PL_BYTES("anonymous"));
    if (err == PL_OK && login->can_ask && !is_shared &&
        (err = pl_identity_set_asked(identity_moved)) != PL_OK)
        identity_moved = pl_identity_unref(identity_moved);
    if (err != PL_OK && (!diag || !diag->text[0])) {
        pl_diag_set(&plain, 0, "%s", pl_err_text(err));
        diag = &plain;
    }
    struct pl_login_answer given = {.err = err, .diag = err == PL_OK ? NULL : diag};
    if (err == PL_OK) {
        given.identity = identity_moved;
        given.realm = pl_identity_attribute(identity_moved, "realm");
        remember(auth, login, identity_moved);
    }
    atomic_fetch_add(err == PL_OK ? &auth->accepted : &auth->refused, 1);
    login->done(login, &given);
}

void pl_auth_answer_error(
    struct pl_auth *auth, const struct pl_login *login, enum pl_err err, const char *why)
{
    struct pl_diag diag;
    pl_diag_set(&diag, 0, "%s", why);
    pl_auth_answer(auth, login, err, NULL, &diag);
}

/* A password that waits for its turn in the pool. */
struct password_job {
    struct pl_pool_job job;
    struct pl_auth *auth;
    struct pl_login login;
    struct pl_guard_attempt attempt;
    struct pl_bytes method; /* static */
    bool is_known;          /* hash is the user's; else a dummy */
    char hash[PL_PASSWORD_HASH_MAX];
    size_t name_len, password_len;
    char name[PL_USER_NAME_MAX];
    char password[PL_PASSWORD_MAX];
};

static void free_job(struct password_job *job)
{
    atomic_fetch_sub(&job->auth->pending, 1);
    sodium_memzero(job, sizeof(*job));
    pl_free(job);
}

/* The password was right. The user may have gone meanwhile, or changed. */
static enum pl_err find_again(
    const struct password_job *job, struct pl_diag *diag, struct pl_identity **out)
{
    struct pl_auth_tables *tables = pl_auth_hold_tables(job->auth);
    const struct pl_user *user =
        pl_users_find(tables->users, pl_bytes_of(job->name, job->name_len));
    enum pl_err err = PL_BAD_LOGIN;
    if (user && user->hash && strcmp(user->hash, job->hash) == 0)
        err =
            pl_auth_tables_of_user(tables, user, pl_bytes_text(job->hash), job->method, diag, out);
    else
        pl_diag_set(diag, 0, "the user was changed during the login");
    pl_auth_tables_unref(tables);
    return err;
}

static void run_password(struct pl_pool_job *pool_job)
{
    struct password_job *job = PL_CONTAINER(pool_job, struct password_job, job);
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    bool matches = pl_password_matches(job->hash, pl_bytes_of(job->password, job->password_len));
    enum pl_err err = PL_BAD_LOGIN;
    if (matches && job->is_known)
        err = find_again(job, &diag, &identity);
    else
        pl_diag_set(&diag, 0, job->is_known ? "wrong password" : "no such user");
    /* A right password is no guess, even if its role refuses it. */
    pl_guard_settle(job->auth->guard, &job->attempt,
        err == PL_OK                  ? PL_GUARD_GOOD
        : !(matches && job->is_known) ? PL_GUARD_BAD
                                      : PL_GUARD_NEITHER);
    struct pl_login login = job->login;
    struct pl_auth *auth = job->auth;
    free_job(job);
    pl_auth_answer(auth, &login, err, identity, &diag);
}

static void drop_password(struct pl_pool_job *pool_job)
{
    struct password_job *job = PL_CONTAINER(pool_job, struct password_job, job);
    struct pl_login login = job->login;
    struct pl_auth *auth = job->auth;
    pl_guard_settle(auth->guard, &job->attempt, PL_GUARD_NEITHER);
    free_job(job);
    pl_auth_answer_error(auth, &login, PL_DRAINING, "the server is going down");
}

void pl_auth_slow_down(struct pl_auth *auth, const struct pl_login *login)
{
    atomic_fetch_add(&auth->slowed, 1);
    pl_auth_answer_error(
        auth, login, PL_LIMIT, "too many failed logins from this address or of this name");
}

void pl_auth_check_password(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_auth_shown *shown, const struct pl_login *login)
{
    /* Whether there is such a user makes no difference here. */
    if (shown->name.len > PL_USER_NAME_MAX || shown->password.len > PL_PASSWORD_MAX) {
        pl_auth_answer_error(auth, login, PL_BAD_LOGIN, "a name or password that is too long");
        return;
    }
    struct pl_guard_attempt attempt;
    if (!pl_guard_admit(
            auth->guard, PL_GUARD_PASSWORD, shown->address, shown->name, shown->now_ms, &attempt)) {
        pl_auth_slow_down(auth, login);
        return;
    }
    struct password_job *job = pl_zalloc(sizeof(*job));
    if (!job) {
        pl_guard_settle(auth->guard, &attempt, PL_GUARD_NEITHER);
        pl_auth_answer_error(auth, login, PL_NO_MEMORY, pl_err_text(PL_NO_MEMORY));
        return;
    }
    const struct pl_user *user = pl_users_find(tables->users, shown->name);
    bool is_known = user && user->hash;
    const char *hash = is_known ? user->hash : pl_users_dummy_hash(tables->users);
    job->job.run = run_password;
    job->job.drop = drop_password;
    job->auth = auth;
    job->login = *login;
    job->attempt = attempt;
    job->is_known = is_known;
    job->method = shown->method.len ? shown->method : PL_BYTES("password");
    memcpy(job->hash, hash, strlen(hash) + 1);
    job->name_len = shown->name.len;
    if (shown->name.len)
        memcpy(job->name, shown->name.data, shown->name.len);
    job->password_len = shown->password.len;
    if (shown->password.len)
        memcpy(job->password, shown->password.data, shown->password.len);
    atomic_fetch_add(&auth->pending, 1);
    enum pl_err err = pl_pool_submit(auth->pool, &job->job);
    if (err == PL_OK)
        return;
    pl_guard_settle(auth->guard, &attempt, PL_GUARD_NEITHER);
    free_job(job);
    pl_auth_answer_error(auth, login, err, "too many logins at a time");
}

void pl_auth_check_anonymous(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, const struct pl_login *login)
{
    struct pl_identity *identity =
        pl_auth_tables_anonymous(tables, pl_bytes_text(credentials->listener), login->can_ask);
    if (!identity)
        pl_auth_answer_error(auth, login, tables->jwt.user_name ? PL_DENIED : PL_BAD_LOGIN,
            "nothing shown, and anonymous is not allowed");
    else if (!credentials->is_ambient_allowed)
        pl_auth_answer_error(auth, login, PL_BAD_LOGIN,
            "nothing shown, and this Origin or Host may not be anonymous");
    else
        pl_auth_answer(auth, login, PL_OK, pl_identity_ref(identity), NULL);
}

void pl_auth_check_shown(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, struct pl_auth_shown *shown,
    const struct pl_login *login)
{
    /* A user name alone beside a token is a label; without one it is a login with no password. */
    bool is_token = credentials->has_token && !credentials->has_password;
    struct pl_bytes secret = is_token ? credentials->token : credentials->password;
    shown->password = secret;
    shown->name = credentials->has_user && !is_token ? credentials->user : PL_BYTES("default");
    /* A name that is in the users file was shown for its password. */
    bool is_for_user = credentials->has_user && pl_users_find(tables->users, shown->name);
    bool may_be_token = tables->keys && (is_token || !is_for_user);
    const char *user_name = tables->jwt.user_name;
    if (user_name && !is_token && !is_for_user &&
        !(credentials->has_user && pl_bytes_equal(shown->name, pl_bytes_text(user_name))))
        pl_auth_answer_error(auth, login, PL_DENIED, "expected the user name auth.jwt.user_name");
    else if (may_be_token && pl_jwt_looks_like(secret))
        pl_auth_check_token(auth, tables, shown, !is_token, login);
    else if (tables->users)
        pl_auth_check_password(auth, tables, shown, login);
    else
        pl_auth_answer_error(auth, login, PL_BAD_LOGIN, "expected a token");
}

/* Which the protocol has compared. A key that many share and nobody can lock is guessed at: who
 * fails is slowed as with passwords. */
static void check_shared_key(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, uint64_t now_ms, const struct pl_login *login)
{
    struct pl_guard_attempt attempt;
    if (!pl_guard_admit(
            auth->guard, PL_GUARD_PASSWORD, credentials->address, PL_NO_BYTES, now_ms, &attempt)) {
        pl_auth_slow_down(auth, login);
        return;
    }
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    enum pl_err err = PL_BAD_LOGIN;
    if (credentials->is_shared_key_right)
        err = pl_auth_tables_of_shared_key(tables, credentials, &diag, &identity);
    else
        pl_diag_set(&diag, 0, "wrong key");
    pl_guard_settle(auth->guard, &attempt,
        !credentials->is_shared_key_right ? PL_GUARD_BAD
        : err == PL_OK                    ? PL_GUARD_GOOD
                                          : PL_GUARD_NEITHER);
    pl_auth_answer(auth, login, err, identity, &diag);
}

void pl_auth_login(struct pl_auth *auth, const struct pl_credentials *credentials, uint64_t now_ms,
    uint64_t now_unix_ms, struct pl_login login)
{
    struct pl_auth_tables *tables = pl_auth_hold_tables(auth);
    struct pl_auth_shown shown = {
        .address = credentials->address, .now_ms = now_ms, .now_unix_ms = now_unix_ms};
    login.began_unix_ms = now_unix_ms;
    login.can_ask = credentials->can_ask;
    if (credentials->cookie.len == PL_COOKIE_LEN)
        memcpy(login.cookie, credentials->cookie.data, PL_COOKIE_LEN);
    bool has_methods = tables->users || tables->keys;
    bool has_any = credentials->has_user || credentials->has_password || credentials->has_token;
    if (credentials->is_response)
        pl_auth_finish(auth, tables, credentials, &shown, &login);
    else if (credentials->has_shared_key)
        check_shared_key(auth, tables, credentials, now_ms, &login);
    else if (credentials->method_count)
        pl_auth_begin(auth, tables, credentials, &shown, &login);
    else if (!has_methods || !has_any)
        pl_auth_check_anonymous(auth, tables, credentials, &login);
    else
        pl_auth_check_shown(auth, tables, credentials, &shown, &login);
    pl_auth_tables_unref(tables);
}

enum pl_err pl_auth_review(
    void *context, const struct pl_identity *now, struct pl_identity **out_identity)
{
    struct pl_auth_tables *tables = pl_auth_hold_tables(context);
    enum pl_err err = pl_auth_tables_review(tables, now, out_identity);
    pl_auth_tables_unref(tables);
    return err;
}

bool pl_auth_knows_cookie(struct pl_auth *auth, struct pl_bytes cookie, uint64_t now_unix_ms)
{
    struct pl_identity *identity = pl_cookies_find(auth->cookies, cookie, now_unix_ms);
    bool is_known = identity != NULL;
    pl_identity_unref(identity);
    return is_known;
}

void pl_auth_make_cookie(char out[PL_COOKIE_LEN + 1])
{
    uint8_t bytes[PL_COOKIE_LEN / 4 * 3];
    randombytes_buf(bytes, sizeof(bytes));
    out[pl_base64_encode(pl_bytes_of(bytes, sizeof(bytes)), true, out)] = 0;
}

bool pl_auth_is_required(struct pl_auth *auth, const char *listener)
{
    struct pl_auth_tables *tables = pl_auth_hold_tables(auth);
    bool is_required = !pl_auth_tables_anonymous(tables, pl_bytes_text(listener), false);
    pl_auth_tables_unref(tables);
    return is_required;
}

void pl_auth_stats(struct pl_auth *auth, struct pl_auth_stats *out)
{
    struct pl_auth_tables *tables = pl_auth_hold_tables(auth);
    *out = (struct pl_auth_stats){
        .accepted = atomic_load(&auth->accepted),
        .refused = atomic_load(&auth->refused),
        .slowed = atomic_load(&auth->slowed),
        .pending = atomic_load(&auth->pending),
        .users = pl_users_count(tables->users),
        .users_file_exposed = pl_users_is_exposed(tables->users),
    };
    pl_auth_tables_unref(tables);
}
