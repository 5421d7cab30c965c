/* Logins of clients that choose among methods of authentication, from HELLO to the answer. */
#include "check.h"

#include <pthread.h>
#include <sodium.h>

#include "auth/authenticator.h"
#include "auth/proof.h"
#include "base/text.h"
#include "files.h"

#define NOW_MS      1000u
#define NOW_UNIX_MS 1767323045678u /* 2026-01-02T03:04:05.678Z */
#define PUBLIC_KEY  "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"

static const char users_text[] =
    "peter device $wampcra$cHJxNytZa0oxL0tsVzFYMFljek1Idz09\n"
    "ann admin $wampcra$i=1000,l=32$salt123$64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc= "
    "realm=plant\n"
    "user admin $scram$pbkdf2$i=4096$aBc+fx0NAVA=$0fCr7EYY8YwoS0VQMtES7YBGB7DlELfCsFIeOvlTzkc=$"
    "aCtxeIoGuHVmsyd50QLzSXZWPgYI9rjZqGZ7ldyNmc4=\n"
    "robot device $cryptosign$" PUBLIC_KEY "\n"
    "bob device $argon2id$v=19$m=8,t=1,p=1$wknNX2G+1/CTiWsGjNRsww$"
    "0kUPVp1JvuYYzZIPDIS0kqT2FXrmbfY7JZWKytpc2ig\n";

static const char *const any[] = {">"};
static const struct pl_role_config roles[] = {
    {.name = "device", .publish = {any, 1}},
    {.name = "admin", .publish = {any, 1}, .subscribe = {any, 1}},
    {.name = "guest", .subscribe = {any, 1}},
};

/* One client's login: what it was answered. */
struct client {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int answers;
    struct pl_login_answer answer;
    char user[64], role[64], method[64], realm[64], why[256];
    struct pl_auth_question *question;
};

static struct pl_bytes methods[8];
static struct pl_diag diag;

static void copy(char out[64], struct pl_bytes text)
{
    snprintf(out, 64, "%.*s", (int)text.len, text.len ? (const char *)text.data : "");
}

static void on_answer(const struct pl_login *login, const struct pl_login_answer *answer)
{
    struct client *c = login->context;
    pthread_mutex_lock(&c->lock);
    c->answers++;
    c->answer = *answer;
    c->answer.diag = NULL;
    snprintf(c->why, sizeof c->why, "%s", answer->diag ? answer->diag->text : "");
    if (answer->identity) {
        copy(c->user, answer->identity->user);
        copy(c->role, answer->identity->role);
        copy(c->method, answer->identity->method);
        copy(c->realm, answer->realm);
    }
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void on_ask(const struct pl_login *login, struct pl_auth_question *question)
{
    ((struct client *)login->context)->question = question;
}

static struct pl_credentials hello(const char *authid, const char *method)
{
    methods[0] = pl_bytes_text(method);
    return (struct pl_credentials){
        .user = pl_bytes_text(authid),
        .methods = methods,
        .method_count = 1,
        .address = PL_BYTES("10.0.0.1"),
        .protocol = "test",
        .listener = "main",
        .session_id = 3251278072152162,
        .is_ambient_allowed = true,
    };
}

static void wait_answer(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->answers)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
    CHECK_EQ(c->answers, 1);
}

static struct pl_login login_of(struct client *c, bool may_ask, struct pl_exchange *exchange)
{
    return (struct pl_login){
        .done = on_answer, .ask = may_ask ? on_ask : NULL, .exchange = exchange, .context = c};
}

static struct client begin(struct pl_auth *auth, const struct pl_credentials *shown)
{
    struct client c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pl_auth_login(auth, shown, NOW_MS, NOW_UNIX_MS, login_of(&c, false, NULL));
    wait_answer(&c);
    return c;
}

/* The answer to what begin brought. */
static struct client respond(
    struct pl_auth *auth, const struct client *begun, const char *response, bool may_ask)
{
    struct client c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct pl_credentials shown = {
        .is_response = true,
        .response = pl_bytes_text(response),
        .address = PL_BYTES("10.0.0.1"),
        .listener = "main",
    };
    pl_auth_login(auth, &shown, NOW_MS, NOW_UNIX_MS, login_of(&c, may_ask, begun->answer.exchange));
    if (!c.question)
        wait_answer(&c);
    pl_identity_unref(c.answer.identity);
    return c;
}

static struct pl_bytes field(const struct client *c, const char *name)
{
    const struct pl_challenge *challenge = c->answer.challenge;
    for (uint32_t i = 0; challenge && i < challenge->field_count; i++)
        if (strcmp(challenge->fields[i].name, name) == 0)
            return challenge->fields[i].text;
    return PL_NO_BYTES;
}

static uint64_t number(const struct client *c, const char *name)
{
    const struct pl_challenge *challenge = c->answer.challenge;
    for (uint32_t i = 0; challenge && i < challenge->field_count; i++)
        if (strcmp(challenge->fields[i].name, name) == 0)
            return challenge->fields[i].number;
    return 0;
}

static struct pl_auth *open_auth(void)
{
    static const char *const narrow[] = {"ticket"};
    static const struct pl_auth_listener listeners[] = {
        {.name = "tickets", .methods = {narrow, 1}},
        {.name = "open", .anonymous_role = "guest"},
    };
    struct pl_auth_config config = {
        .users_file = file_write("users", users_text),
        .roles = roles,
        .role_count = 3,
        .listeners = listeners,
        .listener_count = 2,
        .secret = PL_BYTES("0123456789abcdef0123456789abcdef"),
        .free_failures = 100,
    };
    struct pl_auth *auth = NULL;
    if (!CHECK_EQ(pl_auth_new(&config, &diag, &auth), PL_OK))
        printf("    %s\n", diag.text);
    return auth;
}

/* Base64 of the HMAC, as a client of wampcra makes it. */
static const char *cra(struct pl_bytes key, const struct client *c)
{
    static char text[45];
    uint8_t hmac[PL_KEY_LEN];
    CHECK(pl_hmac(key, field(c, "challenge"), hmac) == PL_OK);
    text[pl_base64_encode(pl_bytes_of(hmac, sizeof hmac), false, text)] = 0;
    return text;
}

TEST(wampcra_challenges_with_the_session_and_takes_the_right_signature)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("peter", "wampcra");
    struct client c = begin(auth, &shown);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    CHECK(pl_bytes_equal(c.answer.challenge->method, PL_BYTES("wampcra")));
    CHECK(!field(&c, "salt").len);
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)field(&c, "challenge").len,
        (const char *)field(&c, "challenge").data);
    CHECK(strstr(text, "\"authid\":\"peter\""));
    CHECK(strstr(text, "\"timestamp\":\"2026-01-02T03:04:05.678Z\""));
    CHECK(strstr(text, "\"session\":3251278072152162"));
    struct client done = respond(auth, &c, cra(PL_BYTES("prq7+YkJ1/KlW1X0YczMHw=="), &c), false);
    CHECK_EQ(done.answer.err, PL_OK);
    CHECK_STR(done.user, "peter");
    CHECK_STR(done.role, "device");
    CHECK_STR(done.method, "wampcra");
    c = begin(auth, &shown);
    done = respond(auth, &c, cra(PL_BYTES("wrong"), &c), false);
    CHECK_EQ(done.answer.err, PL_BAD_LOGIN);
    pl_auth_free(auth);
}

TEST(wampcra_tells_the_salt_and_takes_the_key_that_is_derived_with_it)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("ann", "wampcra");
    struct client c = begin(auth, &shown);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    CHECK(pl_bytes_equal(field(&c, "salt"), PL_BYTES("salt123")));
    CHECK_EQ(number(&c, "iterations"), 1000);
    CHECK_EQ(number(&c, "keylen"), 32);
    struct client done =
        respond(auth, &c, cra(PL_BYTES("64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc="), &c), false);
    CHECK_EQ(done.answer.err, PL_OK);
    CHECK_STR(done.realm, "plant");
    pl_auth_free(auth);
}

static struct client begin_scram(struct pl_auth *auth, const char *authid)
{
    static const struct pl_attribute nonce = {
        {(const uint8_t *)"nonce", 5}, {(const uint8_t *)"egVDf3DMJh0=", 12}};
    struct pl_credentials shown = hello(authid, "wamp-scram");
    shown.extra = &nonce;
    shown.extra_count = 1;
    return begin(auth, &shown);
}

TEST(an_unknown_user_is_challenged_as_others_are_and_alike_each_time)
{
    struct pl_auth *auth = open_auth();
    struct client known = begin_scram(auth, "user"), first = begin_scram(auth, "eve"),
                  again = begin_scram(auth, "eve"), other = begin_scram(auth, "mallory");
    REQUIRE(known.answer.err == PL_CHALLENGED && first.answer.err == PL_CHALLENGED &&
            again.answer.err == PL_CHALLENGED && other.answer.err == PL_CHALLENGED);
    CHECK_EQ(first.answer.challenge->field_count, known.answer.challenge->field_count);
    CHECK(pl_bytes_equal(field(&first, "kdf"), field(&known, "kdf")));
    CHECK_EQ(number(&first, "iterations"), number(&known, "iterations"));
    CHECK(pl_bytes_equal(field(&first, "salt"), field(&again, "salt")));
    CHECK(!pl_bytes_equal(field(&first, "salt"), field(&other, "salt")));
    CHECK(!pl_bytes_equal(field(&first, "nonce"), field(&again, "nonce")));
    struct client *all[] = {&known, &first, &again, &other};
    for (size_t i = 0; i < 4; i++) {
        struct client done =
            respond(auth, all[i], "L1uwjEEL7BdbtlWMKxNcQ1A/CmNjct+7xdAguB/rpnA=", false);
        CHECK_EQ(done.answer.err, PL_BAD_LOGIN);
    }
    /* A user without a secret of that kind is as one who is not there. */
    struct client bob = begin_scram(auth, "bob");
    CHECK_EQ(bob.answer.err, PL_CHALLENGED);
    CHECK_EQ(respond(auth, &bob, "", false).answer.err, PL_BAD_LOGIN);
    pl_auth_free(auth);
}

TEST(scram_without_a_nonce_is_refused)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("user", "scram");
    CHECK_EQ(begin(auth, &shown).answer.err, PL_BAD_LOGIN);
    pl_auth_free(auth);
}

static const char *sign(const struct client *c)
{
    static char hex[193];
    uint8_t seed[32], public_key[32], secret_key[64], bytes[96];
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)i;
    crypto_sign_seed_keypair(public_key, secret_key, seed);
    CHECK(pl_hex_decode_key(field(c, "challenge"), bytes + 64));
    crypto_sign_detached(bytes, NULL, bytes + 64, 32, secret_key);
    pl_hex_encode(pl_bytes_of(bytes, sizeof bytes), hex);
    return hex;
}

TEST(cryptosign_finds_the_user_by_the_key_and_takes_no_old_answer)
{
    static const struct pl_attribute key = {
        {(const uint8_t *)"pubkey", 6}, {(const uint8_t *)PUBLIC_KEY, 64}};
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("", "cryptosign");
    shown.extra = &key;
    shown.extra_count = 1;
    struct client c = begin(auth, &shown);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    char old[193];
    snprintf(old, sizeof old, "%s", sign(&c));
    struct client done = respond(auth, &c, old, false);
    CHECK_EQ(done.answer.err, PL_OK);
    CHECK_STR(done.user, "robot");
    c = begin(auth, &shown);
    CHECK_EQ(respond(auth, &c, old, false).answer.err, PL_BAD_LOGIN);
    /* Somebody else's name beside it. */
    shown.user = PL_BYTES("peter");
    c = begin(auth, &shown);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    CHECK_EQ(respond(auth, &c, sign(&c), false).answer.err, PL_BAD_LOGIN);
    /* A channel binding that the connection does not have. */
    struct pl_attribute bound[] = {key, {PL_BYTES("channel_binding"), PL_BYTES("tls-unique")}};
    shown.user = PL_NO_BYTES;
    shown.extra = bound;
    shown.extra_count = 2;
    CHECK_EQ(begin(auth, &shown).answer.err, PL_BAD_LOGIN);
    pl_auth_free(auth);
}

TEST(a_ticket_is_a_password)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("bob", "ticket");
    struct client c = begin(auth, &shown);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    CHECK_EQ(c.answer.challenge->field_count, 0);
    struct client done = respond(auth, &c, "secret", false);
    CHECK_EQ(done.answer.err, PL_OK);
    CHECK_STR(done.method, "ticket");
    c = begin(auth, &shown);
    CHECK_EQ(respond(auth, &c, "wrong", false).answer.err, PL_BAD_LOGIN);
    pl_auth_free(auth);
}

TEST(the_first_method_that_is_offered_is_taken)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("peter", "cookie");
    methods[1] = PL_BYTES("anonymous");
    methods[2] = PL_BYTES("wampcra");
    methods[3] = PL_BYTES("ticket");
    shown.method_count = 4;
    struct client c = begin(auth, &shown);
    CHECK_EQ(c.answer.err, PL_CHALLENGED);
    CHECK(pl_bytes_equal(c.answer.challenge->method, PL_BYTES("wampcra")));
    pl_exchange_free(c.answer.exchange);
    shown.listener = "tickets";
    c = begin(auth, &shown);
    CHECK_EQ(c.answer.err, PL_CHALLENGED);
    CHECK(pl_bytes_equal(c.answer.challenge->method, PL_BYTES("ticket")));
    pl_exchange_free(c.answer.exchange);
    shown.listener = "open";
    c = begin(auth, &shown);
    CHECK_EQ(c.answer.err, PL_OK);
    CHECK_STR(c.role, "guest");
    pl_identity_unref(c.answer.identity);
    shown.method_count = 1;
    CHECK_EQ(begin(auth, &shown).answer.err, PL_NO_METHOD);
    pl_auth_free(auth);
}

TEST(an_answer_without_a_challenge_is_refused)
{
    struct pl_auth *auth = open_auth();
    struct client none = {0};
    CHECK_EQ(respond(auth, &none, "secret", false).answer.err, PL_BAD_LOGIN);
    pl_auth_free(auth);
}

TEST(a_user_who_was_changed_during_the_login_is_refused)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("peter", "wampcra");
    struct client c = begin(auth, &shown);
    struct pl_auth_config config = {
        .users_file = file_write("users", "peter admin $wampcra$eA==\n"),
        .roles = roles,
        .role_count = 3};
    REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
    struct client done = respond(auth, &c, cra(PL_BYTES("prq7+YkJ1/KlW1X0YczMHw=="), &c), false);
    CHECK_EQ(done.answer.err, PL_BAD_LOGIN);
    CHECK_STR(done.why, "the user was changed during the login");
    pl_auth_free(auth);
}

TEST(a_dynamic_authenticator_is_asked_about_who_is_not_in_the_file)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("zoe", "wampcra");
    struct client c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pl_auth_login(auth, &shown, NOW_MS, NOW_UNIX_MS, login_of(&c, true, NULL));
    REQUIRE(c.question && !c.answers);
    CHECK(pl_bytes_equal(c.question->name, PL_BYTES("zoe")));
    CHECK(pl_bytes_equal(c.question->method, PL_BYTES("wampcra")));
    struct pl_attribute extra = {PL_BYTES("authextra.team"), PL_BYTES("red")};
    struct pl_auth_principal principal = {
        .role = PL_BYTES("device"),
        .secret = PL_BYTES("hidden"),
        .realm = PL_BYTES("plant"),
        .attributes = &extra,
        .attribute_count = 1,
    };
    pl_auth_told(auth, c.question, &principal, NOW_UNIX_MS);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    struct client done = respond(auth, &c, cra(PL_BYTES("hidden"), &c), true);
    CHECK_EQ(done.answer.err, PL_OK);
    CHECK_STR(done.user, "zoe");
    CHECK_STR(done.realm, "plant");

    /* Nobody: a challenge all the same. */
    c = (struct client){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pl_auth_login(auth, &shown, NOW_MS, NOW_UNIX_MS, login_of(&c, true, NULL));
    pl_auth_told(auth, c.question, NULL, NOW_UNIX_MS);
    REQUIRE(c.answer.err == PL_CHALLENGED);
    CHECK_EQ(respond(auth, &c, cra(PL_BYTES("hidden"), &c), true).answer.err, PL_BAD_LOGIN);

    /* Users of the file are not asked about. */
    shown = hello("peter", "wampcra");
    c = (struct client){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pl_auth_login(auth, &shown, NOW_MS, NOW_UNIX_MS, login_of(&c, true, NULL));
    CHECK(!c.question);
    CHECK_EQ(c.answer.err, PL_CHALLENGED);
    pl_exchange_free(c.answer.exchange);
    pl_auth_free(auth);
}

TEST(where_the_protocol_asks_an_authorizer_the_lists_of_the_role_do_not_count)
{
    static const struct pl_role_config asked[] = {{.name = "asked", .authorizer = "com.ask"}};
    static const struct pl_auth_listener listeners[] = {
        {.name = "open", .anonymous_role = "asked"}};
    struct pl_auth_config config = {
        .users_file =
            file_write("users", "peter asked $wampcra$cHJxNytZa0oxL0tsVzFYMFljek1Idz09\n"),
        .roles = asked,
        .role_count = 1,
        .listeners = listeners,
        .listener_count = 1,
    };
    struct pl_auth *auth = NULL;
    REQUIRE(pl_auth_new(&config, &diag, &auth) == PL_OK);
    for (int can_ask = 0; can_ask < 2; can_ask++) {
        struct pl_credentials shown = hello("", "anonymous");
        shown.listener = "open";
        shown.can_ask = can_ask;
        struct client c = begin(auth, &shown);
        REQUIRE(c.answer.err == PL_OK);
        struct pl_identity *again = NULL;
        CHECK_EQ(pl_identity_may_publish(c.answer.identity, PL_BYTES("a")), can_ask);
        CHECK_EQ(pl_auth_review(auth, c.answer.identity, &again), PL_OK);
        CHECK(!again);
        REQUIRE(pl_auth_reload(auth, &config, &diag) == PL_OK);
        CHECK_EQ(pl_auth_review(auth, c.answer.identity, &again), PL_OK);
        REQUIRE(again);
        CHECK_EQ(pl_identity_may_publish(again, PL_BYTES("a")), can_ask);
        pl_identity_unref(again);
        pl_identity_unref(c.answer.identity);
    }
    pl_auth_free(auth);
}

TEST(a_dynamic_authenticator_is_shown_the_ticket)
{
    struct pl_auth *auth = open_auth();
    struct pl_credentials shown = hello("zoe", "ticket");
    static const struct {
        const char *role, *ticket;
        enum pl_err err;
    } cases[] = {
        {"device", "", PL_OK},
        {"device", "t1", PL_OK},
        {"device", "t2", PL_BAD_LOGIN},
        {"nobody", "", PL_BAD_LOGIN},
        {NULL, "", PL_BAD_LOGIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        pl_auth_login(auth, &shown, NOW_MS, NOW_UNIX_MS, login_of(&c, true, NULL));
        REQUIRE(c.answer.err == PL_CHALLENGED && !c.question);
        struct client done = {
            .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        struct pl_credentials answer = {.is_response = true,
            .response = PL_BYTES("t1"),
            .address = PL_BYTES("10.0.0.1"),
            .listener = "main"};
        pl_auth_login(auth, &answer, NOW_MS, NOW_UNIX_MS, login_of(&done, true, c.answer.exchange));
        REQUIRE(done.question);
        CHECK(pl_bytes_equal(done.question->ticket, PL_BYTES("t1")));
        struct pl_auth_principal principal = {
            .role = pl_bytes_text(cases[i].role), .ticket = pl_bytes_text(cases[i].ticket)};
        pl_auth_told(auth, done.question, cases[i].role ? &principal : NULL, NOW_UNIX_MS);
        CHECK_EQ(done.answer.err, cases[i].err);
        pl_identity_unref(done.answer.identity);
    }
    pl_auth_free(auth);
}
