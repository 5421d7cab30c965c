/* Logins from credentials to identity; the pool's threads answer some of them. */
#include "check.h"

#include <pthread.h>
#include <sodium.h>
#include <time.h>

#include "auth/authenticator.h"
#include "tokens.h"

#define NOW_MS      1000u
#define NOW_UNIX_MS 1700000000000u

/* Of the password "secret", as cheap as argon2id can be. */
#define HASH                                                                                       \
    "$argon2id$v=19$m=8,t=1,p=1$wknNX2G+1/"                                                        \
    "CTiWsGjNRsww$0kUPVp1JvuYYzZIPDIS0kqT2FXrmbfY7JZWKytpc2ig"

static struct pl_diag diag;

/* One answer, waited for. */
struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int answers;
    enum pl_err err;
    struct pl_identity *identity;
    char realm[64];
    char why[sizeof(((struct pl_diag *)NULL)->text)];
};

static void on_answer(const struct pl_login *login, const struct pl_login_answer *answer)
{
    struct waiting *waiting = login->context;
    pthread_mutex_lock(&waiting->lock);
    waiting->answers++;
    waiting->err = answer->err;
    waiting->identity = answer->identity;
    snprintf(waiting->realm, sizeof(waiting->realm), "%.*s", (int)answer->realm.len,
        answer->realm.len ? (const char *)answer->realm.data : "");
    snprintf(waiting->why, sizeof(waiting->why), "%s", answer->diag ? answer->diag->text : "");
    CHECK((answer->err == PL_OK) == (answer->identity != NULL));
    CHECK((answer->err == PL_OK) == (answer->diag == NULL));
    CHECK_EQ(login->token, 17);
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

static void begin(struct pl_auth *auth, const struct pl_credentials *shown, uint64_t now_ms,
    struct waiting *waiting)
{
    *waiting =
        (struct waiting){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pl_auth_login(auth, shown, now_ms, NOW_UNIX_MS,
        (struct pl_login){.done = on_answer, .context = waiting, .token = 17});
}

static void end(struct waiting *waiting)
{
    pthread_mutex_lock(&waiting->lock);
    while (!waiting->answers)
        pthread_cond_wait(&waiting->changed, &waiting->lock);
    pthread_mutex_unlock(&waiting->lock);
    CHECK_EQ(waiting->answers, 1);
}

static struct waiting login(
    struct pl_auth *auth, const struct pl_credentials *shown, uint64_t now_ms)
{
    struct waiting waiting;
    begin(auth, shown, now_ms, &waiting);
    end(&waiting);
    return waiting;
}

/* NULL: not shown. */
static struct pl_credentials shown_of(const char *user, const char *password, const char *token)
{
    return (struct pl_credentials){
        .has_user = user,
        .has_password = password,
        .has_token = token,
        .user = pl_bytes_text(user),
        .password = pl_bytes_text(password),
        .token = pl_bytes_text(token),
        .address = PL_BYTES("10.0.0.1"),
        .protocol = "test",
        .listener = "main",
        .is_ambient_allowed = true,
    };
}

/* "err user role method", or "err why". */
static const char *outcome(struct pl_auth *auth, const struct pl_credentials *shown)
{
    static char text[512];
    struct waiting waiting = login(auth, shown, NOW_MS);
    if (waiting.identity)
        snprintf(text, sizeof(text), "ok %.*s/%.*s/%.*s", (int)waiting.identity->user.len,
            waiting.identity->user.len ? (const char *)waiting.identity->user.data : "",
            (int)waiting.identity->role.len, waiting.identity->role.data,
            (int)waiting.identity->method.len, waiting.identity->method.data);
    else
        snprintf(text, sizeof(text), "%s: %s", pl_err_text(waiting.err), waiting.why);
    pl_identity_unref(waiting.identity);
    return text;
}

static const char *outcome_of(
    struct pl_auth *auth, const char *user, const char *password, const char *token)
{
    struct pl_credentials shown = shown_of(user, password, token);
    return outcome(auth, &shown);
}

static const char *const device_patterns[] = {"{user_id}.#"};
static const char *const any_patterns[] = {">"};
static const struct pl_role_config roles[] = {
    {.name = "device", .publish = {any_patterns, 1}, .subscribe = {device_patterns, 1}},
    {.name = "guest", .subscribe = {any_patterns, 1}},
};

/* Users bob (role device, realm plant), ann (role all), default; and, if asked for, tokens. */
static struct pl_auth_config config_of(bool has_users, bool has_tokens)
{
    static struct pl_jwt_key_config key;
    struct pl_auth_config config = {
        .roles = roles, .role_count = 2, .free_failures = 100000, .backoff_ms = 100};
    if (has_users)
        config.users_file = file_write(
            "users", "bob device " HASH " realm=plant\nann all " HASH "\ndefault all " HASH "\n");
    if (has_tokens) {
        key.file = file_write("secret", TOKEN_SECRET);
        config.jwt = (struct pl_jwt_config){.keys = &key, .key_count = 1};
    }
    return config;
}

static struct pl_auth *auth_of(const struct pl_auth_config *config)
{
    struct pl_auth *auth = NULL;
    if (!CHECK_EQ(pl_auth_new(config, &diag, &auth), PL_OK))
        printf("    %s\n", diag.text);
    return auth;
}

TEST(a_right_password_is_a_login_with_the_users_role_and_realm)
{
    struct pl_auth_config config = config_of(true, false);
    struct pl_auth *auth = auth_of(&config);
    struct pl_credentials shown = shown_of("bob", "secret", NULL);
    struct waiting waiting = login(auth, &shown, NOW_MS);
    REQUIRE(waiting.err == PL_OK);
    CHECK(pl_bytes_equal(waiting.identity->user, PL_BYTES("bob")));
    CHECK_STR(waiting.realm, "plant");
    CHECK(waiting.identity->expires_unix_ms == PL_NEVER);
    CHECK(pl_identity_may_receive(waiting.identity, PL_BYTES("bob.x")));
    CHECK(!pl_identity_may_receive(waiting.identity, PL_BYTES("ann.x")));
    pl_identity_unref(waiting.identity);
    CHECK_STR(outcome_of(auth, "ann", "secret", NULL), "ok ann/all/password");
    pl_auth_free(auth);
}

TEST(wrong_passwords_and_unknown_users_are_the_same_to_a_client)
{
    struct pl_auth_config config = config_of(true, false);
    struct pl_auth *auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, "bob", "Secret", NULL), "login refused: wrong password");
    CHECK_STR(outcome_of(auth, "bob", "", NULL), "login refused: wrong password");
    CHECK_STR(outcome_of(auth, "bob", NULL, NULL), "login refused: wrong password");
    CHECK_STR(outcome_of(auth, "eve", "secret", NULL), "login refused: no such user");
    CHECK_STR(outcome_of(auth, "", "secret", NULL), "login refused: no such user");
    CHECK_STR(outcome_of(auth, "bob\n", "secret", NULL), "login refused: no such user");
    /* Both went through the pool: as many hashes were made. */
    struct waiting known, unknown;
    struct pl_credentials bob = shown_of("bob", "x", NULL), eve = shown_of("eve", "x", NULL);
    begin(auth, &bob, NOW_MS, &known);
    begin(auth, &eve, NOW_MS, &unknown);
    end(&known);
    end(&unknown);
    CHECK_EQ(known.err, unknown.err);
    pl_auth_free(auth);
}

/* Milliseconds of CPU of the whole process that n logins take. */
static double cpu_ms(struct pl_auth *auth, const char *user, const char *password, int n)
{
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    for (int i = 0; i < n; i++)
        outcome_of(auth, user, password, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    return (double)(after.tv_sec - before.tv_sec) * 1000 +
           (double)(after.tv_nsec - before.tv_nsec) / 1e6;
}

TEST(an_unknown_user_costs_what_a_wrong_password_costs)
{
    /* 4 MiB: enough to tell a hash from none, little enough for a test. */
    char hash[crypto_pwhash_STRBYTES], line[256];
    REQUIRE(crypto_pwhash_str(hash, "secret", 6, 1, 4 << 20) == 0);
    struct pl_auth_config config = config_of(false, true);
    snprintf(line, sizeof(line), "bob device %s\n", hash);
    config.users_file = file_write("costly", line);
    struct pl_auth *auth = auth_of(&config);
    double wrong = cpu_ms(auth, "bob", "x", 20), unknown = cpu_ms(auth, "eve", "x", 20);
    /* A bad token as the password of nobody takes that way too. */
    double token = cpu_ms(auth, "eve", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", 20);
    /* Without a hash it would cost a hundredth; a loaded machine may double the same work. */
    CHECK(unknown > wrong / 4 && unknown < wrong * 4);
    CHECK(token > wrong / 4 && token < wrong * 4);
    pl_auth_free(auth);
}

TEST(names_and_passwords_that_are_too_long_are_refused)
{
    static char long_text[PL_PASSWORD_MAX + 2];
    memset(long_text, 'x', sizeof(long_text) - 1);
    struct pl_auth_config config = config_of(true, false);
    struct pl_auth *auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, "bob", long_text, NULL),
        "login refused: a name or password that is too long");
    CHECK_STR(outcome_of(auth, long_text, "secret", NULL),
        "login refused: a name or password that is too long");
    pl_auth_free(auth);
}

TEST(a_password_without_a_name_is_that_of_default)
{
    struct pl_auth_config config = config_of(true, true);
    struct pl_auth *auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, NULL, "secret", NULL), "ok default/all/password");
    CHECK_STR(outcome_of(auth, NULL, "wrong", NULL), "login refused: wrong password");
    CHECK_STR(outcome_of(auth, NULL, NULL, "secret"), "ok default/all/password");
    CHECK_STR(outcome_of(auth, NULL, NULL, "wrong"), "login refused: wrong password");
    pl_auth_free(auth);
}

TEST(a_token_comes_as_token_or_as_password)
{
    struct pl_auth_config config = config_of(true, true);
    struct pl_auth *auth = auth_of(&config);
    char token[512];
    strcpy(token, token_with("{\"sub\":\"tom\",\"role\":\"device\",\"realm\":\"r2\"}"));
    CHECK_STR(outcome_of(auth, NULL, NULL, token), "ok tom/device/jwt");
    CHECK_STR(outcome_of(auth, "JWT", token, NULL), "ok tom/device/jwt");
    CHECK_STR(outcome_of(auth, "anything", token, NULL), "ok tom/device/jwt");
    CHECK_STR(outcome_of(auth, "label", NULL, token), "ok tom/device/jwt");
    CHECK_STR(outcome_of(auth, NULL, token, NULL), "ok tom/device/jwt");
    CHECK_STR(outcome_of(auth, "default", token, NULL), "login refused: wrong password");
    /* A user of the file who has such a password has the word, and so has what CONNECT shows. */
    CHECK_STR(outcome_of(auth, "bob", token, NULL), "login refused: wrong password");
    CHECK_STR(outcome_of(auth, "bob", "secret", token), "ok bob/device/password");
    struct pl_credentials shown = shown_of(NULL, NULL, token);
    struct waiting waiting = login(auth, &shown, NOW_MS);
    CHECK_STR(waiting.realm, "r2");
    pl_identity_unref(waiting.identity);

    CHECK_STR(outcome_of(auth, NULL, NULL, token_with("{\"sub\":\"t\",\"role\":\"x\"}")),
        "login refused: there is no role \"x\"");
    CHECK_STR(outcome_of(auth, NULL, NULL, token_with("{\"role\":\"device\"}")),
        "login refused: the value of {user_id} is empty");
    CHECK_STR(outcome_of(auth, NULL, NULL, token_with("{\"sub\":\"a/b\",\"role\":\"device\"}")),
        "login refused: the value of {user_id} holds one of / + #");
    CHECK_STR(
        outcome_of(auth, NULL, NULL, token_with("{\"sub\":\"t\",\"role\":\"device\",\"exp\":1}")),
        "the login has expired: token: the claim exp is in the past");
    CHECK_STR(
        outcome_of(auth, "eve", token_with("{\"sub\":\"t\",\"role\":\"device\",\"exp\":1}"), NULL),
        "the login has expired: token: the claim exp is in the past");
    /* Bad as a token and no password of anybody. */
    CHECK_STR(outcome_of(auth, "eve", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", NULL),
        "login refused: no such user");
    pl_auth_free(auth);

    config = config_of(false, true);
    auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, "bob", "secret", NULL), "login refused: expected a token");
    CHECK_STR(outcome_of(auth, "bob", NULL, NULL), "login refused: expected a token");
    CHECK_STR(outcome_of(auth, NULL, NULL, "x"), "login refused: expected a token");
    CHECK_STR(outcome_of(auth, NULL, NULL, token), "ok tom/device/jwt");
    CHECK_STR(outcome_of(auth, "eve", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", NULL),
        "login refused: token: no key by which its signature is good");
    pl_auth_free(auth);

    /* No keys: a token is a password like any other. */
    config = config_of(true, false);
    auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, "tom", token, NULL), "login refused: no such user");
    pl_auth_free(auth);
}

TEST(a_token_is_shown_with_the_configured_user_name_or_with_none)
{
    struct pl_auth_config config = config_of(false, true);
    config.jwt.user_name = "JWT";
    config.jwt.default_role = "device";
    struct pl_auth *auth = auth_of(&config);
    const char *token = token_with("{\"user_id\":12}");
    static const char other[] = "not authorized: expected the user name auth.jwt.user_name";
    CHECK_STR(outcome_of(auth, "JWT", token, NULL), "ok 12/device/jwt");
    CHECK_STR(outcome_of(auth, NULL, NULL, token), "ok 12/device/jwt");
    CHECK_STR(outcome_of(auth, "jwt", token, NULL), other);
    CHECK_STR(outcome_of(auth, "", token, NULL), other);
    CHECK_STR(outcome_of(auth, NULL, token, NULL), other);
    CHECK_STR(outcome_of(auth, "bob", NULL, NULL), other);
    CHECK_STR(outcome_of(auth, "JWT", NULL, NULL), "login refused: expected a token");
    CHECK_STR(outcome_of(auth, "JWT", "secret", NULL), "login refused: expected a token");
    CHECK_STR(outcome_of(auth, NULL, NULL, NULL),
        "not authorized: nothing shown, and anonymous is not allowed");
    pl_auth_free(auth);
}

TEST(nothing_shown_is_anonymous_where_it_is_allowed)
{
    struct pl_auth_config config = config_of(true, true);
    struct pl_auth *auth = auth_of(&config);
    CHECK(pl_auth_is_required(auth, "main"));
    CHECK_STR(outcome_of(auth, NULL, NULL, NULL),
        "login refused: nothing shown, and anonymous is not allowed");
    pl_auth_free(auth);

    struct pl_auth_listener listeners[] = {
        {.name = "inside", .anonymous_role = "all"}, {.name = "outside"}};
    config.anonymous_role = "guest";
    config.listeners = listeners;
    config.listener_count = 2;
    auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, NULL, NULL, NULL), "ok /guest/anonymous");
    struct pl_credentials shown = shown_of(NULL, NULL, NULL);
    shown.listener = "inside";
    CHECK_STR(outcome(auth, &shown), "ok /all/anonymous");
    shown.listener = "outside";
    CHECK_STR(outcome(auth, &shown), "login refused: nothing shown, and anonymous is not allowed");
    CHECK(!pl_auth_is_required(auth, "main"));
    CHECK(pl_auth_is_required(auth, "outside"));
    shown.listener = "main";
    shown.is_ambient_allowed = false;
    CHECK_STR(outcome(auth, &shown),
        "login refused: nothing shown, and this Origin or Host may not be anonymous");
    /* What is shown and wrong is refused, not made anonymous. */
    CHECK_STR(outcome_of(auth, "eve", "x", NULL), "login refused: no such user");
    CHECK_STR(outcome_of(auth, NULL, NULL, "x"), "login refused: wrong password");
    /* A credential of its own needs no Origin. */
    shown = shown_of("bob", "secret", NULL);
    shown.is_ambient_allowed = false;
    CHECK_STR(outcome(auth, &shown), "ok bob/device/password");
    pl_auth_free(auth);
}

TEST(where_nobody_is_configured_what_is_shown_is_ignored)
{
    struct pl_auth_config config = config_of(false, false);
    config.anonymous_role = "all";
    struct pl_auth *auth = auth_of(&config);
    CHECK_STR(outcome_of(auth, "bob", "x", NULL), "ok /all/anonymous");
    CHECK_STR(outcome_of(auth, NULL, NULL, "x"), "ok /all/anonymous");
    struct pl_credentials shown = shown_of("bob", "x", NULL);
    shown.is_ambient_allowed = false;
    CHECK(strstr(outcome(auth, &shown), "login refused"));
    pl_auth_free(auth);
    config.anonymous_role = NULL;
    auth = auth_of(&config);
    CHECK(strstr(outcome_of(auth, "bob", "x", NULL), "login refused"));
    CHECK(strstr(outcome_of(auth, NULL, NULL, NULL), "login refused"));
    pl_auth_free(auth);
}

TEST(a_key_that_all_share_stands_for_its_role_or_for_anonymous_of_any_origin)
{
    struct pl_auth_config config = config_of(true, false);
    config.free_failures = 2;
    struct pl_auth *auth = auth_of(&config);
    struct pl_credentials shown = shown_of(NULL, NULL, NULL);
    shown.is_ambient_allowed = false;
    shown.has_shared_key = shown.is_shared_key_right = true;
    CHECK_STR(outcome(auth, &shown),
        "login refused: the key stands for no role, and anonymous is not allowed");
    shown.shared_role = "guest";
    CHECK_STR(outcome(auth, &shown), "ok /guest/key");
    shown.shared_role = "nobody";
    CHECK(strstr(outcome(auth, &shown), "login refused"));
    /* A review finds its role again, or ends it. */
    shown.shared_role = "guest";
    struct waiting waiting = login(auth, &shown, NOW_MS);
    struct pl_identity *reviewed = NULL;
    REQUIRE(waiting.identity != NULL);
    CHECK_EQ(pl_auth_review(auth, waiting.identity, &reviewed), PL_OK);
    CHECK(reviewed && pl_bytes_equal(reviewed->role, PL_BYTES("guest")));
    pl_identity_unref(reviewed);
    config.role_count = 1;
    CHECK_EQ(pl_auth_reload(auth, &config, &diag), PL_OK);
    CHECK_EQ(pl_auth_review(auth, waiting.identity, &reviewed), PL_REVOKED);
    pl_identity_unref(waiting.identity);
    /* Who guesses is slowed. */
    shown.is_shared_key_right = false;
    for (int i = 0; i < 3; i++)
        CHECK_STR(outcome(auth, &shown), "login refused: wrong key");
    CHECK_EQ(login(auth, &shown, NOW_MS).err, PL_LIMIT);
    pl_auth_free(auth);

    config = config_of(true, false);
    config.anonymous_role = "guest";
    auth = auth_of(&config);
    shown.shared_role = NULL;
    shown.is_shared_key_right = true;
    CHECK_STR(outcome(auth, &shown), "ok /guest/anonymous");
    pl_auth_free(auth);
}

TEST(failures_slow_an_address_by_the_callers_clock)
{
    struct pl_auth_config config = config_of(true, false);
    config.free_failures = 2;
    struct pl_auth *auth = auth_of(&config);
    struct pl_credentials bad = shown_of("bob", "x", NULL), good = shown_of("ann", "secret", NULL);
    CHECK_EQ(login(auth, &bad, 0).err, PL_BAD_LOGIN);
    CHECK_EQ(login(auth, &bad, 0).err, PL_BAD_LOGIN);
    CHECK_EQ(login(auth, &bad, 0).err, PL_BAD_LOGIN);
    CHECK_EQ(login(auth, &bad, 99).err, PL_LIMIT);
    CHECK_EQ(login(auth, &good, 99).err, PL_LIMIT);
    struct waiting waiting = login(auth, &good, 100);
    CHECK_EQ(waiting.err, PL_OK);
    pl_identity_unref(waiting.identity);
    struct pl_auth_stats stats;
    pl_auth_stats(auth, &stats);
    CHECK_EQ(stats.accepted, 1);
    CHECK_EQ(stats.refused, 5);
    CHECK_EQ(stats.slowed, 2);
    CHECK_EQ(stats.pending, 0);
    CHECK_EQ(stats.users, 3);
    pl_auth_free(auth);
}

TEST(the_pools_queue_is_bounded_and_the_end_answers_what_waits)
{
    enum { COUNT = 64 };
    char hash[crypto_pwhash_STRBYTES], line[256];
    /* Some tens of milliseconds each, so that a queue stands. */
    REQUIRE(crypto_pwhash_str(hash, "secret", 6, 3, 32 << 20) == 0);
    struct pl_auth_config config = config_of(false, false);
    snprintf(line, sizeof(line), "bob device %s\n", hash);
    config.users_file = file_write("slow", line);
    config.threads = 1;
    config.queue_max = 8;
    struct pl_auth *auth = auth_of(&config);
    static struct waiting waiting[COUNT];
    static char addresses[COUNT][24];
    for (int i = 0; i < COUNT; i++) {
        struct pl_credentials shown = shown_of("bob", "secret", NULL);
        snprintf(addresses[i], sizeof(addresses[i]), "10.0.1.%d", i);
        shown.address = pl_bytes_text(addresses[i]);
        /* Names are bounded too: each its own. */
        shown.user = pl_bytes_text(addresses[i]);
        begin(auth, &shown, NOW_MS, &waiting[i]);
    }
    end(&waiting[0]);
    pl_auth_free(auth);
    int limited = 0, drained = 0, checked = 0;
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(waiting[i].answers, 1);
        limited += waiting[i].err == PL_LIMIT;
        drained += waiting[i].err == PL_DRAINING;
        checked += waiting[i].err == PL_BAD_LOGIN;
    }
    CHECK_EQ(limited + drained + checked, COUNT);
    CHECK(limited >= COUNT / 2);
    CHECK(drained > 0);
    CHECK(checked > 0);
}

TEST(revoked_tokens_are_refused)
{
    static const char *const revoked[] = {
        "jti:t1", "user:eve", "user:tom@1600000000", "user:a@b.c", "user:tom@1500000000"};
    struct pl_auth_config config = config_of(false, true);
    config.revoked = (struct pl_texts){revoked, 5};
    struct pl_auth *auth = auth_of(&config);
    static const struct {
        const char *claims;
        bool ok;
    } rows[] = {
        {"{\"sub\":\"bob\",\"role\":\"device\"}", true},
        {"{\"sub\":\"bob\",\"role\":\"device\",\"jti\":\"t1\"}", false},
        {"{\"sub\":\"bob\",\"role\":\"device\",\"jti\":\"t2\"}", true},
        {"{\"sub\":\"eve\",\"role\":\"device\",\"iat\":1699999999}", false},
        {"{\"sub\":\"tom\",\"role\":\"device\"}", false},
        {"{\"sub\":\"tom\",\"role\":\"device\",\"iat\":1600000000}", false},
        {"{\"sub\":\"tom\",\"role\":\"device\",\"iat\":1600000001}", true},
        {"{\"sub\":\"a@b.c\",\"role\":\"device\"}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = outcome_of(auth, NULL, NULL, token_with(rows[i].claims));
        CHECK_STR(got, rows[i].ok ? (strstr(got, "ok ") ? got : "ok")
                                  : "login refused: token: it was revoked");
    }
    pl_auth_free(auth);
    static const char *const bad[] = {"t1", "jti:", "user:", "", "role:x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        config.revoked = (struct pl_texts){&bad[i], 1};
        CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_CONFIG);
        CHECK(strstr(diag.text, "expected jti:ID, user:NAME"));
    }
}

/* What a review makes of an identity: "same", "may" / "may not" (receive NAME), or the error. */
static const char *review(struct pl_auth *auth, const struct pl_identity *now, const char *name)
{
    struct pl_identity *fresh = NULL;
    enum pl_err err = pl_auth_review(auth, now, &fresh);
    if (err != PL_OK)
        return pl_err_text(err);
    if (!fresh)
        return "same";
    bool may = pl_identity_may_receive(fresh, pl_bytes_text(name));
    CHECK(pl_bytes_equal(fresh->user, now->user));
    CHECK(fresh->expires_unix_ms == now->expires_unix_ms);
    CHECK_EQ(fresh->attribute_count, now->attribute_count);
    pl_identity_unref(fresh);
    return may ? "may" : "may not";
}

TEST(a_review_gives_each_session_the_rights_of_the_new_configuration)
{
    struct pl_auth_config config = config_of(true, true);
    config.anonymous_role = "guest";
    config.jwt.default_role = "device";
    struct pl_auth *auth = auth_of(&config);
    struct pl_credentials as_bob = shown_of("bob", "secret", NULL),
                          as_nobody = shown_of(NULL, NULL, NULL),
                          as_tom = shown_of(NULL, NULL,
                              token_with("{\"sub\":\"tom\",\"role\":\"device\",\"jti\":\"t1\","
                                         "\"exp\":1700000100}")),
                          as_default = shown_of(NULL, NULL, token_with("{\"sub\":\"dan\"}"));
    struct pl_identity *bob = login(auth, &as_bob, 0).identity,
                       *nobody = login(auth, &as_nobody, 0).identity,
                       *tom = login(auth, &as_tom, 0).identity,
                       *dan = login(auth, &as_default, 0).identity;
    REQUIRE(bob && nobody && tom && dan);
    const char *const revoked = pl_err_text(PL_REVOKED);

    CHECK_STR(review(auth, bob, "bob.x"), "may");
    CHECK_STR(review(auth, nobody, "x"), "same");
    CHECK_STR(review(auth, tom, "tom.x"), "may");
    CHECK_STR(review(auth, tom, "bob.x"), "may not");

    /* The role's list is another one. */
    static const char *const other[] = {"other.{user_id}"};
    struct pl_role_config changed[] = {roles[0], {.name = "guest"}};
    changed[0].subscribe = (struct pl_texts){other, 1};
    config.roles = changed;
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, bob, "bob.x"), "may not");
    CHECK_STR(review(auth, bob, "other.bob"), "may");
    CHECK_STR(review(auth, tom, "other.tom"), "may");
    CHECK_STR(review(auth, nobody, "x"), "may not");

    /* A value that the role needs and the session does not have. */
    static const char *const needs[] = {"other.{site}"};
    changed[0].subscribe = (struct pl_texts){needs, 1};
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, tom, "x"), revoked);
    config.roles = roles;

    /* A configuration that cannot be read changes nothing. */
    struct pl_auth_config broken = config;
    broken.anonymous_role = "missing";
    CHECK_EQ(pl_auth_reload(auth, &broken, &diag), PL_CONFIG);
    CHECK_STR(review(auth, tom, "x"), revoked);

    static const char *const withdrawn[] = {"jti:t1"};
    config.revoked = (struct pl_texts){withdrawn, 1};
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, tom, "x"), revoked);
    CHECK_STR(review(auth, dan, "dan"), "may");
    config.revoked = (struct pl_texts){0};

    /* The configuration gave dan his role and takes it away. */
    config.jwt.default_role = NULL;
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, dan, "dan"), revoked);
    CHECK_STR(review(auth, tom, "tom"), "may");

    /* Another password, another role, no such user. */
    char hash[PL_PASSWORD_HASH_MAX], line[256];
    REQUIRE(crypto_pwhash_str(hash, "secret", 6, 1, 8192) == 0);
    snprintf(line, sizeof(line), "bob device %s realm=plant\n", hash);
    file_write("users", line);
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, bob, "bob"), revoked);
    file_write("users", "bob guest " HASH " realm=plant\n");
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, bob, "anything"), "may");
    file_write("users", "");
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, bob, "bob"), revoked);

    /* No keys, no anonymous any more. */
    config.jwt = (struct pl_jwt_config){0};
    config.anonymous_role = NULL;
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    CHECK_STR(review(auth, tom, "tom"), revoked);
    CHECK_STR(review(auth, nobody, "x"), revoked);

    /* Who came in otherwise is none of ours. */
    struct pl_identity *own = pl_identity_new_all("server", "server");
    CHECK_STR(review(auth, own, "x"), "same");
    pl_identity_unref(own);
    pl_identity_unref(bob);
    pl_identity_unref(nobody);
    pl_identity_unref(tom);
    pl_identity_unref(dan);
    pl_auth_free(auth);
}

TEST(a_configuration_that_cannot_hold_is_refused_with_its_reason)
{
    struct pl_auth *auth;
    struct pl_auth_config config = config_of(true, true);
    config.anonymous_role = "nope";
    CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_CONFIG);
    CHECK_STR(diag.text, "anonymous role: there is no role \"nope\"");
    config.anonymous_role = "device";
    CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_CONFIG);
    CHECK_STR(diag.text, "anonymous role: the value of {user_id} is empty");
    config = config_of(true, true);
    config.jwt.default_role = "nope";
    CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_CONFIG);
    CHECK_STR(diag.text, "default_role: there is no role \"nope\"");
    config = config_of(true, true);
    config.users_file = file_write("lost", "bob nope " HASH "\n");
    CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_CONFIG);
    CHECK(strstr(diag.text, "lost:1: there is no role \"nope\""));
    config.users_file = file_path("missing");
    CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_IO);
    CHECK(strstr(diag.text, "missing: No such file"));
}

TEST(an_allocation_that_fails_is_a_refusal_and_no_leak)
{
    struct pl_auth_config config = config_of(true, true);
    static const char *const revoked[] = {"jti:t1"};
    config.revoked = (struct pl_texts){revoked, 1};
    config.anonymous_role = "all";
    struct pl_auth *auth = NULL;
    for (long after = 0; !auth; after++) {
        pl_alloc_fail(after, 0);
        enum pl_err err = pl_auth_new(&config, &diag, &auth);
        pl_alloc_fail(-1, 0);
        CHECK(err == PL_OK || strstr(diag.text, "memory"));
    }
    struct pl_credentials shown[] = {
        shown_of(NULL, NULL, token_with("{\"sub\":\"tom\",\"role\":\"device\"}")),
        shown_of("bob", "secret", NULL),
    };
    for (int i = 0; i < 2; i++) {
        for (long after = 0;; after++) {
            struct waiting waiting;
            pl_alloc_fail(after, 0);
            begin(auth, &shown[i], NOW_MS, &waiting);
            pl_alloc_fail(-1, 0);
            end(&waiting);
            pl_identity_unref(waiting.identity);
            if (waiting.err == PL_OK)
                break;
            CHECK_EQ(waiting.err, PL_NO_MEMORY);
        }
    }
    pl_auth_free(auth);
}

/* One thread logs in while another reloads. */
static void *log_in_often(void *context)
{
    struct pl_auth *auth = context;
    for (int i = 0; i < 200; i++) {
        struct pl_credentials shown =
            i % 2 ? shown_of("bob", "secret", NULL) : shown_of(NULL, NULL, NULL);
        struct waiting waiting = login(auth, &shown, NOW_MS);
        CHECK_EQ(waiting.err, PL_OK);
        struct pl_identity *fresh = NULL;
        CHECK_EQ(pl_auth_review(auth, waiting.identity, &fresh), PL_OK);
        pl_identity_unref(fresh);
        pl_identity_unref(waiting.identity);
    }
    return NULL;
}

TEST(logins_go_on_during_a_reload)
{
    struct pl_auth_config config = config_of(true, false);
    config.anonymous_role = "all";
    struct pl_auth *auth = auth_of(&config);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, log_in_often, auth) == 0);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(pl_auth_reload(auth, &config, &diag), PL_OK);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    pl_auth_free(auth);
}
