/*
 * Logins by token. Most are judged at once, in microseconds. One that names a key which no set has
 * waits until the sets have been fetched anew, if that may be done now; then it is judged once
 * more.
 */
#include <sodium.h>

#include "auth/auth_state.h"
#include "base/alloc.h"

/* A token that waits for its key. */
struct token_job {
    struct pl_pool_job job;
    struct pl_auth *auth;
    struct pl_login login;
    struct pl_guard_attempt attempt;
    struct pl_auth_shown shown; /* its texts lie in text, but for method */
    bool is_password;
    size_t len;
    uint8_t text[];
};

static struct pl_bytes keep(struct token_job *job, struct pl_bytes bytes)
{
    uint8_t *copy = job->text + job->len;
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    job->len += bytes.len;
    return pl_bytes_of(copy, bytes.len);
}

static struct token_job *new_job(
    struct pl_auth *auth, const struct pl_auth_shown *shown, const struct pl_login *login)
{
    size_t len = shown->name.len + shown->password.len + shown->address.len;
    struct token_job *job = pl_zalloc(sizeof(*job) + len);
    if (!job)
        return NULL;
    job->auth = auth;
    job->login = *login;
    job->shown = *shown;
    job->shown.name = keep(job, shown->name);
    job->shown.password = keep(job, shown->password);
    job->shown.address = keep(job, shown->address);
    return job;
}

static void free_job(struct token_job *job)
{
    atomic_fetch_sub(&job->auth->pending, 1);
    sodium_memzero(job->text, job->len);
    pl_free(job);
}

/* Some set was never fetched: what is not good by the others may be good by that one. */
static bool lacks_set(const struct pl_auth_tables *tables)
{
    struct pl_jwt_ring ring = pl_auth_tables_ring(tables);
    size_t count = ring.count;
    pl_jwt_ring_done(&ring);
    return count < 1u + tables->source_count;
}

/* Judges it for good. */
static void judge(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct token_job *job, enum pl_err err, struct pl_identity *identity,
    struct pl_diag *diag)
{
    if (err == PL_BAD_LOGIN && tables->source_count && lacks_set(tables)) {
        err = PL_IO;
        pl_diag_set(diag, 0, "token: a set of keys could not be fetched");
    }
    if (err == PL_OK && job->shown.method.len)
        identity->method = job->shown.method;
    pl_guard_settle(auth->guard, &job->attempt,
        err == PL_OK          ? PL_GUARD_GOOD
        : err == PL_BAD_LOGIN ? PL_GUARD_BAD
                              : PL_GUARD_NEITHER);
    if (err == PL_BAD_LOGIN && job->is_password && tables->users)
        pl_auth_check_password(auth, tables, &job->shown, &job->login);
    else
        pl_auth_answer(auth, &job->login, err, identity, diag);
}

static void run(struct pl_pool_job *pool_job)
{
    struct token_job *job = PL_CONTAINER(pool_job, struct token_job, job);
    struct pl_auth_tables *tables = pl_auth_hold_tables(job->auth);
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    enum pl_err err = tables->keys ? pl_auth_tables_of_token(tables, job->shown.password,
                                         job->shown.now_unix_ms, &diag, &identity)
                                   : PL_BAD_LOGIN;
    judge(job->auth, tables, job, err, identity, &diag);
    pl_auth_tables_unref(tables);
    free_job(job);
}

static void drop(struct pl_pool_job *pool_job)
{
    struct token_job *job = PL_CONTAINER(pool_job, struct token_job, job);
    pl_guard_settle(job->auth->guard, &job->attempt, PL_GUARD_NEITHER);
    pl_auth_answer_error(job->auth, &job->login, PL_DRAINING, "the server is going down");
    free_job(job);
}

/* PL_OK: it waits. PL_NOT_FOUND: there is nothing to wait for. */
static enum pl_err wait_for_key(
    struct pl_auth *auth, const struct pl_auth_tables *tables, const struct token_job *given)
{
    struct pl_jwt_ring ring = pl_auth_tables_ring(tables);
    bool may_help = pl_jwt_names_unknown_key(&ring, given->shown.password) || lacks_set(tables);
    pl_jwt_ring_done(&ring);
    if (!may_help)
        return PL_NOT_FOUND;
    struct token_job *job = new_job(auth, &given->shown, &given->login);
    if (!job)
        return PL_NO_MEMORY;
    job->job.run = run;
    job->job.drop = drop;
    job->attempt = given->attempt;
    job->is_password = given->is_password;
    atomic_fetch_add(&auth->pending, 1);
    enum pl_err err = pl_jwks_wait(auth->jwks, &job->job);
    if (err != PL_OK)
        free_job(job);
    return err;
}

void pl_auth_check_token(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_auth_shown *shown, bool is_password, const struct pl_login *login)
{
    struct token_job here = {
        .auth = auth, .login = *login, .shown = *shown, .is_password = is_password};
    if (!pl_guard_admit(auth->guard, PL_GUARD_TOKEN, shown->address, PL_NO_BYTES, shown->now_ms,
            &here.attempt)) {
        pl_auth_slow_down(auth, login);
        return;
    }
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    enum pl_err err =
        pl_auth_tables_of_token(tables, shown->password, shown->now_unix_ms, &diag, &identity);
    if (err == PL_BAD_LOGIN && tables->source_count) {
        enum pl_err wait_err = wait_for_key(auth, tables, &here);
        if (wait_err == PL_OK)
            return;
        if (wait_err != PL_NOT_FOUND) {
            err = wait_err;
            pl_diag_set(&diag, 0, "%s", pl_err_text(err));
        }
    }
    judge(auth, tables, &here, err, identity, &diag);
}
