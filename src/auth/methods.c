/*
 * Clients that choose among methods of authentication (WAMP):
 *
 *     methods named ──→ the first that is offered
 *         anonymous, tls, cookie ────────────────────────────────────────────→ answer
 *         ticket, wampcra, scram, cryptosign
 *             a user of the file, or nobody ──→ secret, or fake ──→ challenge → PL_CHALLENGED
 *             not of the file, and one is there to ask ──→ ask ──→ pl_auth_told ──↑
 *
 *     response ──→ guard ──→ proved? ──→ answer
 *                  ticket: as a password; or ask ──→ pl_auth_told ──→ answer
 */
#include <gnutls/x509.h>
#include <sodium.h>

#include "auth/auth_state.h"
#include "auth/proof.h"
#include "base/alloc.h"
#include "base/text.h"

static const struct method {
    const char *name;
    uint8_t method, kind; /* enum pl_auth_method, enum pl_secret_kind */
} methods[] = {
    {"ticket", PL_METHOD_TICKET, PL_SECRET_PASSWORD},
    {"wampcra", PL_METHOD_CRA, PL_SECRET_CRA},
    {"scram", PL_METHOD_SCRAM, PL_SECRET_SCRAM},
    {"wamp-scram", PL_METHOD_SCRAM, PL_SECRET_SCRAM},
    {"cryptosign", PL_METHOD_KEY, PL_SECRET_KEY},
};

static const struct method *find_method(struct pl_bytes name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (pl_bytes_equal(pl_bytes_text(methods[i].name), name))
            return &methods[i];
    return NULL;
}

static bool offers(
    const struct pl_auth_tables *tables, const struct method *method, const struct pl_login *login)
{
    return login->ask || pl_users_example(tables->users, (enum pl_secret_kind)method->kind) ||
           (method->method == PL_METHOD_TICKET && tables->keys);
}

/* ---- Questions ---- */

/* The other side of a struct pl_auth_question. */
struct pl_question_state {
    struct pl_auth_question question;
    struct pl_auth_exchange *exchange; /* owned */
    struct pl_guard_attempt attempt;
    bool is_response; /* a ticket was shown: the attempt counts */
};

static void ask(struct pl_auth *auth, struct pl_auth_exchange *exchange_moved,
    const struct pl_credentials *credentials, const struct pl_guard_attempt *attempt,
    const struct pl_login *login)
{
    struct pl_question_state *state = pl_zalloc(sizeof *state);
    struct pl_auth_question *question = state ? &state->question : NULL;
    enum pl_err err = state ? PL_OK : PL_NO_MEMORY;
    struct pl_attribute *extra = NULL;
    if (!err) {
        extra =
            pl_arena_alloc(&exchange_moved->memory, (credentials->extra_count + 1) * sizeof *extra);
        err = extra ? PL_OK : PL_NO_MEMORY;
    }
    for (uint32_t i = 0; i < credentials->extra_count && !err; i++) {
        err = pl_auth_exchange_keep(exchange_moved, credentials->extra[i].name, &extra[i].name);
        if (!err)
            err =
                pl_auth_exchange_keep(exchange_moved, credentials->extra[i].value, &extra[i].value);
    }
    if (!err)
        err = pl_auth_exchange_keep(exchange_moved, credentials->response, &question->ticket);
    if (!err)
        err = pl_auth_exchange_keep(exchange_moved, credentials->address, &question->address);
    if (err) {
        if (attempt)
            pl_guard_settle(auth->guard, attempt, PL_GUARD_NEITHER);
        pl_free(state);
        pl_exchange_free(&exchange_moved->core);
        pl_auth_answer_error(auth, login, err, pl_err_text(err));
        return;
    }
    exchange_moved->provider = "dynamic";
    state->exchange = exchange_moved;
    state->is_response = attempt != NULL;
    if (attempt)
        state->attempt = *attempt;
    question->login = *login;
    question->login.exchange = NULL;
    question->method = exchange_moved->challenge.method;
    question->name = exchange_moved->name;
    question->extra = extra;
    question->extra_count = credentials->extra_count;
    question->session_id = credentials->session_id;
    question->state = state;
    login->ask(login, question);
}

/* ---- The challenge ---- */

static void challenge(struct pl_auth *auth, struct pl_auth_exchange *exchange_moved,
    uint64_t session_id, uint64_t now_unix_ms, const struct pl_login *login)
{
    struct pl_diag diag = {0};
    enum pl_err err = pl_auth_exchange_begin(exchange_moved, session_id, now_unix_ms, &diag);
    if (err) {
        pl_exchange_free(&exchange_moved->core);
        pl_auth_answer(auth, login, err, NULL, &diag);
        return;
    }
    const struct pl_login_answer given = {
        .err = PL_CHALLENGED,
        .exchange = &exchange_moved->core,
        .challenge = &exchange_moved->challenge,
    };
    login->done(login, &given);
}

/* Of a key that was shown: whose it is, where the client does not say it or says it too. */
static const struct pl_user *find_by_key(const struct pl_users *users, struct pl_bytes shown_key,
    struct pl_bytes name, const struct pl_secret **out_secret)
{
    uint8_t key[PL_KEY_LEN];
    const struct pl_user *named = pl_users_find(users, name);
    *out_secret = NULL;
    if (!shown_key.len) {
        *out_secret = named ? pl_user_secret(named, PL_SECRET_KEY) : NULL;
        return named;
    }
    if (!pl_hex_decode_key(shown_key, key))
        return named;
    const struct pl_user *user = pl_users_find_key(users, PL_SECRET_KEY, key, out_secret);
    if (user && name.len && user != named)
        *out_secret = NULL;
    return name.len ? named : user;
}

/* What the client brings with its HELLO for this method. */
static enum pl_err keep_extra(struct pl_auth_exchange *exchange,
    const struct pl_credentials *credentials, struct pl_diag *diag)
{
    struct pl_bytes binding = pl_credentials_extra(credentials, "channel_binding");
    if (exchange->method < PL_METHOD_SCRAM)
        return PL_OK;
    if (binding.len &&
        (!credentials->channel_id.len || credentials->channel_id.len > PL_CHANNEL_ID_MAX)) {
        pl_diag_set(diag, 0, "this connection has no channel binding of the type asked for");
        return PL_BAD_LOGIN;
    }
    enum pl_err err = pl_auth_exchange_keep(exchange, binding, &exchange->binding);
    if (!err)
        err = pl_auth_exchange_keep(exchange, credentials->channel_id, &exchange->channel_id);
    if (!err)
        err = pl_auth_exchange_keep(
            exchange, pl_credentials_extra(credentials, "nonce"), &exchange->client_nonce);
    return err;
}

static void begin_exchange(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct method *method, const struct pl_credentials *credentials,
    const struct pl_auth_shown *shown, const struct pl_login *login)
{
    const struct pl_secret *secret = NULL;
    const struct pl_user *user;
    struct pl_diag diag = {0};
    struct pl_bytes name = credentials->user;
    if (name.len > PL_USER_NAME_MAX) {
        pl_auth_answer_error(auth, login, PL_BAD_LOGIN, "a name that is too long");
        return;
    }
    if (method->method == PL_METHOD_KEY) {
        struct pl_bytes key = pl_credentials_extra(credentials, "pubkey");
        user = find_by_key(tables->users, key, name, &secret);
    } else {
        user = pl_users_find(tables->users, name);
        secret = user ? pl_user_secret(user, (enum pl_secret_kind)method->kind) : NULL;
    }
    struct pl_auth_exchange *exchange = pl_auth_exchange_new(
        (enum pl_auth_method)method->method, method->name, user ? user->name : name);
    if (!exchange) {
        pl_auth_answer_error(auth, login, PL_NO_MEMORY, pl_err_text(PL_NO_MEMORY));
        return;
    }
    enum pl_err err = keep_extra(exchange, credentials, &diag);
    if (!err)
        err =
            pl_auth_exchange_sign(exchange, tables, pl_credentials_extra(credentials, "challenge"));
    if (!err && !user && login->ask && method->method != PL_METHOD_TICKET) {
        ask(auth, exchange, credentials, NULL, login);
        return;
    }
    if (!err)
        err = pl_auth_exchange_set_secret(exchange, auth, tables->users, secret);
    if (err) {
        pl_exchange_free(&exchange->core);
        pl_auth_answer(auth, login, err, NULL, &diag);
        return;
    }
    challenge(auth, exchange, credentials->session_id, shown->now_unix_ms, login);
}

/* ---- Certificates ---- */

/* The common name of its subject; empty: none, or more than fits. */
static struct pl_bytes common_name(struct pl_bytes der, char *out, size_t cap)
{
    gnutls_datum_t data = {(unsigned char *)(uintptr_t)der.data, (unsigned)der.len};
    gnutls_x509_crt_t certificate;
    size_t len = cap;
    if (gnutls_x509_crt_init(&certificate) < 0)
        return PL_NO_BYTES;
    int code = gnutls_x509_crt_import(certificate, &data, GNUTLS_X509_FMT_DER);
    if (code >= 0)
        code = gnutls_x509_crt_get_dn_by_oid(
            certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &len);
    gnutls_x509_crt_deinit(certificate);
    return code >= 0 ? pl_bytes_of(out, len) : PL_NO_BYTES;
}

static void check_certificate(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, const struct pl_login *login)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    char name[PL_USER_NAME_MAX + 1];
    const struct pl_secret *secret = NULL;
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    enum pl_err err = PL_BAD_LOGIN;
    crypto_hash_sha256(hash, credentials->certificate.data, credentials->certificate.len);
    const struct pl_user *user =
        pl_users_find_key(tables->users, PL_SECRET_CERTIFICATE, hash, &secret);
    if (!user) {
        user =
            pl_users_find(tables->users, common_name(credentials->certificate, name, sizeof name));
        for (uint32_t i = 0; user && i < user->secret_count; i++)
            if (user->secrets[i].is_by_name)
                secret = &user->secrets[i];
    }
    if (!secret || !user)
        pl_diag_set(&diag, 0, "a certificate of nobody in the users file");
    else if (credentials->user.len && !pl_bytes_equal(credentials->user, user->name))
        pl_diag_set(&diag, 0, "a certificate of someone else");
    else
        err = pl_auth_tables_of_user(tables, user, secret->text, PL_BYTES("tls"), &diag, &identity);
    pl_auth_answer(auth, login, err, identity, &diag);
}

/* ---- Cookies ---- */

/* As who he was, if he still is; false: another method's turn. */
static bool check_cookie(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, const struct pl_auth_shown *shown,
    const struct pl_login *login)
{
    if (!credentials->is_ambient_allowed || credentials->cookie.len != PL_COOKIE_LEN)
        return false;
    struct pl_identity *fresh = NULL, *kept = pl_cookies_find(
                                          auth->cookies, credentials->cookie, shown->now_unix_ms);
    bool is_his = kept && (!credentials->user.len || pl_bytes_equal(credentials->user, kept->user));
    enum pl_err err = is_his ? pl_auth_tables_review(tables, kept, &fresh) : PL_BAD_LOGIN;
    if (err == PL_REVOKED)
        pl_cookies_forget(auth->cookies, credentials->cookie);
    pl_identity_unref(kept);
    if (err || !fresh)
        return false;
    fresh->method = PL_BYTES("cookie");
    pl_auth_answer(auth, login, PL_OK, fresh, NULL);
    return true;
}

/* ---- From the methods to one ---- */

void pl_auth_begin(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, struct pl_auth_shown *shown,
    const struct pl_login *login)
{
    struct pl_bytes listener = pl_bytes_text(credentials->listener);
    for (uint32_t i = 0; i < credentials->method_count; i++) {
        struct pl_bytes name = credentials->methods[i];
        const struct method *method = find_method(name);
        if (!pl_auth_tables_allow(tables, listener, name))
            continue;
        if (method && offers(tables, method, login)) {
            begin_exchange(auth, tables, method, credentials, shown, login);
            return;
        }
        if (pl_bytes_equal(name, PL_BYTES("anonymous")) && credentials->is_ambient_allowed &&
            pl_auth_tables_anonymous(tables, listener, false)) {
            pl_auth_check_anonymous(auth, tables, credentials, login);
            return;
        }
        if (pl_bytes_equal(name, PL_BYTES("cookie")) &&
            check_cookie(auth, tables, credentials, shown, login))
            return;
        if (pl_bytes_equal(name, PL_BYTES("tls")) && credentials->is_ambient_allowed &&
            credentials->certificate.len &&
            pl_users_example(tables->users, PL_SECRET_CERTIFICATE)) {
            check_certificate(auth, tables, credentials, login);
            return;
        }
    }
    pl_auth_answer_error(
        auth, login, PL_NO_METHOD, "none of the methods that the client names is offered here");
}

/* ---- The response ---- */

/* Also says what proves us, in the words of the standard and of Autobahn. */
static enum pl_err tell_verifier(struct pl_identity *identity, struct pl_bytes verifier)
{
    if (!verifier.len)
        return PL_OK;
    enum pl_err err = pl_identity_add_attribute(identity, "authextra.verifier", verifier);
    return err ? err
               : pl_identity_add_attribute(identity, "authextra.scram_server_signature", verifier);
}

static enum pl_err identity_of(const struct pl_auth_tables *tables,
    const struct pl_auth_exchange *exchange, struct pl_diag *diag, struct pl_identity **out)
{
    struct pl_bytes method = exchange->challenge.method;
    if (exchange->principal)
        return pl_auth_tables_of_principal(tables, exchange->principal, method, diag, out);
    const struct pl_user *user = pl_users_find(tables->users, exchange->name);
    for (uint32_t i = 0; user && i < user->secret_count; i++)
        if (pl_bytes_equal(user->secrets[i].text, exchange->secret.text))
            return pl_auth_tables_of_user(tables, user, exchange->secret.text, method, diag, out);
    pl_diag_set(diag, 0, "the user was changed during the login");
    return PL_BAD_LOGIN;
}

static void check_response(struct pl_auth *auth, const struct pl_auth_tables *tables,
    struct pl_auth_exchange *exchange, const struct pl_credentials *credentials,
    const struct pl_auth_shown *shown, const struct pl_login *login)
{
    struct pl_guard_attempt attempt;
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    char room[PL_VERIFIER_LEN];
    struct pl_bytes verifier;
    enum pl_guard_kind kind =
        exchange->method == PL_METHOD_KEY ? PL_GUARD_TOKEN : PL_GUARD_PASSWORD;
    struct pl_bytes name = kind == PL_GUARD_TOKEN ? PL_NO_BYTES : exchange->name;
    if (!pl_guard_admit(auth->guard, kind, shown->address, name, shown->now_ms, &attempt)) {
        pl_auth_slow_down(auth, login);
        return;
    }
    bool is_proved = pl_auth_exchange_is_proved(exchange, credentials, room, &verifier);
    enum pl_err err = PL_BAD_LOGIN;
    if (is_proved)
        err = identity_of(tables, exchange, &diag, &identity);
    else
        pl_diag_set(&diag, 0,
            exchange->is_known ? "a wrong answer to the challenge"
                               : "no such user, or none with a secret of that kind");
    if (!err && (err = tell_verifier(identity, verifier)))
        identity = pl_identity_unref(identity);
    pl_guard_settle(auth->guard, &attempt,
        err == PL_OK ? PL_GUARD_GOOD
        : !is_proved ? PL_GUARD_BAD
                     : PL_GUARD_NEITHER);
    pl_auth_answer(auth, login, err, identity, &diag);
}

static void check_ticket(struct pl_auth *auth, const struct pl_auth_tables *tables,
    struct pl_auth_exchange *exchange_moved, const struct pl_credentials *credentials,
    struct pl_auth_shown *shown, const struct pl_login *login)
{
    struct pl_guard_attempt attempt;
    bool is_token = tables->keys && pl_jwt_looks_like(credentials->response);
    if (!login->ask || is_token || pl_users_find(tables->users, exchange_moved->name)) {
        struct pl_credentials ticket = *credentials;
        ticket.has_user = exchange_moved->name.len > 0;
        ticket.user = exchange_moved->name;
        ticket.has_password = true;
        ticket.password = credentials->response;
        ticket.has_token = false;
        shown->method = PL_BYTES("ticket");
        pl_auth_check_shown(auth, tables, &ticket, shown, login);
        pl_exchange_free(&exchange_moved->core);
        return;
    }
    if (!pl_guard_admit(auth->guard, PL_GUARD_PASSWORD, shown->address, exchange_moved->name,
            shown->now_ms, &attempt)) {
        pl_exchange_free(&exchange_moved->core);
        pl_auth_slow_down(auth, login);
        return;
    }
    ask(auth, exchange_moved, credentials, &attempt, login);
}

void pl_auth_finish(struct pl_auth *auth, const struct pl_auth_tables *tables,
    const struct pl_credentials *credentials, struct pl_auth_shown *shown,
    const struct pl_login *login)
{
    struct pl_login plain = *login;
    if (!login->exchange) {
        pl_auth_answer_error(auth, login, PL_BAD_LOGIN, "an answer without a challenge");
        return;
    }
    struct pl_auth_exchange *exchange =
        PL_CONTAINER(login->exchange, struct pl_auth_exchange, core);
    plain.exchange = NULL;
    if (exchange->method == PL_METHOD_TICKET) {
        check_ticket(auth, tables, exchange, credentials, shown, &plain);
        return;
    }
    check_response(auth, tables, exchange, credentials, shown, &plain);
    pl_exchange_free(&exchange->core);
}

/* ---- What a dynamic authenticator tells ---- */

static enum pl_err keep_principal(
    struct pl_auth_exchange *exchange, const struct pl_auth_principal *told)
{
    struct pl_auth_principal *kept = pl_arena_zalloc(&exchange->memory, sizeof *kept);
    struct pl_attribute *attributes =
        pl_arena_alloc(&exchange->memory, (told->attribute_count + 1) * sizeof *attributes);
    if (!kept || !attributes)
        return PL_NO_MEMORY;
    struct pl_bytes name = told->name.len ? told->name : exchange->name;
    enum pl_err err = pl_auth_exchange_keep(exchange, name, &kept->name);
    if (!err)
        err = pl_auth_exchange_keep(exchange, told->role, &kept->role);
    if (!err)
        err = pl_auth_exchange_keep(exchange, told->realm, &kept->realm);
    for (uint32_t i = 0; i < told->attribute_count && !err; i++) {
        err = pl_auth_exchange_keep(exchange, told->attributes[i].name, &attributes[i].name);
        if (!err)
            err = pl_auth_exchange_keep(exchange, told->attributes[i].value, &attributes[i].value);
    }
    kept->attributes = attributes;
    kept->attribute_count = told->attribute_count;
    exchange->principal = kept;
    return err;
}

/* The ticket was shown to it; it may also say which one it must have been. */
static void finish_ticket(struct pl_auth *auth, const struct pl_auth_tables *tables,
    struct pl_question_state *state, const struct pl_auth_principal *told)
{
    struct pl_diag diag = {0};
    struct pl_identity *identity = NULL;
    struct pl_bytes ticket = state->question.ticket;
    bool is_good = told && (!told->ticket.len || pl_bytes_equal_secret(told->ticket, ticket));
    enum pl_err err = PL_BAD_LOGIN;
    if (is_good)
        err = pl_auth_tables_of_principal(
            tables, state->exchange->principal, PL_BYTES("ticket"), &diag, &identity);
    else
        pl_diag_set(&diag, 0, "the authenticator refuses");
    pl_guard_settle(auth->guard, &state->attempt,
        err == PL_OK ? PL_GUARD_GOOD
        : !is_good   ? PL_GUARD_BAD
                     : PL_GUARD_NEITHER);
    pl_auth_answer(auth, &state->question.login, err, identity, &diag);
    pl_exchange_free(&state->exchange->core);
}

static void go_on(struct pl_auth *auth, const struct pl_auth_tables *tables,
    struct pl_question_state *state, const struct pl_auth_principal *told, uint64_t now_unix_ms)
{
    struct pl_auth_exchange *exchange = state->exchange;
    enum pl_err err = told ? pl_auth_exchange_set_principal(exchange, told) : PL_MALFORMED;
    if (err == PL_MALFORMED) {
        exchange->principal = NULL;
        err = pl_auth_exchange_set_secret(exchange, auth, tables->users, NULL);
    }
    if (err) {
        pl_exchange_free(&exchange->core);
        pl_auth_answer_error(auth, &state->question.login, err, pl_err_text(err));
        return;
    }
    challenge(auth, exchange, state->question.session_id, now_unix_ms, &state->question.login);
}

void pl_auth_told(struct pl_auth *auth, struct pl_auth_question *question,
    const struct pl_auth_principal *principal, uint64_t now_unix_ms)
{
    struct pl_question_state *state = question->state;
    struct pl_auth_tables *tables = pl_auth_hold_tables(auth);
    if (principal && keep_principal(state->exchange, principal))
        principal = NULL;
    if (state->is_response)
        finish_ticket(auth, tables, state, principal);
    else
        go_on(auth, tables, state, principal, now_unix_ms);
    pl_auth_tables_unref(tables);
    pl_free(state);
}
