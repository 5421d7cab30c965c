/*
 * Who is this? Credentials → identity, now or later, from any thread.
 *
 *     struct pl_auth *auth;
 *     err = pl_auth_new(&config, &diag, &auth);
 *     pl_auth_login(auth, shown, now_ms, now_unix_ms, (struct pl_login){on_login, ctx, s, token});
 *     …
 *     err = pl_auth_reload(auth, &new_config, &diag);    // SIGHUP; on an error the old one stays
 *     pl_realm_review(realm, pl_auth_review, auth);      // each realm; see below
 *
 * How the credentials are read, first match:
 *
 *     user or password shown     a password of the users file, or a JWT (below)
 *     token shown                a JWT; one that does not look like a JWT is the password of the
 *                                user `default`
 *     nothing shown              anonymous, if the listener has it and the protocol allows ambient
 *                                rights; else refused
 *
 * Who names methods of authentication (credentials.methods) gets the first of them that is offered
 * here: by the users file, the keys of tokens, the listener, or a dynamic authenticator, which is
 * asked about names that are not in the file. The answer is PL_CHALLENGED with an exchange; the
 * next login brings it and the response. Whether there is such a user makes no difference until
 * then: who is unknown is asked for the same, with a salt made from the name and a secret.
 *
 * A password is taken for a JWT if JWT keys are configured, it looks like one, and it was not shown
 * with the name of a user of the file. A password without a user name is that of the user `default`
 * (Redis' AUTH). If neither users nor JWT keys are configured, whatever is shown is ignored and
 * everyone is anonymous.
 *
 * Passwords are checked by a small pool of threads; its queue is bounded, and a full one answers
 * PL_LIMIT. An unknown user takes the time of a wrong password. Who fails is slowed, by address
 * (IPv6: by /64) and by name, in constant memory; being slowed is PL_LIMIT too. A name is never
 * locked for an address from which it logged in before.
 *
 * A token that names a key which is not known waits for its set to be fetched anew, where sets come
 * from addresses, see jwks.h; PL_IO: a set was never to be had.
 *
 * The answer is PL_OK, PL_BAD_LOGIN, PL_EXPIRED (a good token, too late), PL_LIMIT, PL_NO_MEMORY,
 * or PL_DRAINING from pl_auth_free; PL_CHALLENGED; PL_NO_METHOD: none of those named is offered.
 */
#ifndef PL_AUTH_AUTHENTICATOR_H
#define PL_AUTH_AUTHENTICATOR_H

#include "auth/jwt.h"
#include "auth/users.h"

struct pl_auth;
struct pl_jwks_event;
struct pl_question_state;

/* What one listener does otherwise than the rest. */
struct pl_auth_listener {
    const char *name;
    const char *anonymous_role; /* NULL: no anonymous login here */
    struct pl_texts methods;    /* that may be named here; none: all */
};

/* Borrowed during the call that it is given to; everything is copied. */
struct pl_auth_config {
    const char *anonymous_role; /* role of those who show nothing; "all"; NULL: they are refused */
    const struct pl_auth_listener *listeners; /* overrides, by pl_credentials.listener */
    size_t listener_count;

    const char *users_file; /* NULL: no users */
    const char *key_file;   /* the server's own for cryptosign, 64 hex digits; NULL: none */
    struct pl_bytes secret; /* 32 bytes, the same after a restart: what the salt of who is unknown
                               is made from. Empty: random. Constant from pl_auth_new on */
    struct pl_jwt_config jwt;
    const struct pl_role_config *roles;
    size_t role_count;

    /* Withdrawn logins: "jti:ID" a token; "user:NAME" all of a user's tokens; "user:NAME@SECONDS"
     * those issued (`iat`) up to that Unix time. A user of the file is withdrawn by removing it. */
    struct pl_texts revoked;

    /* 0: the default. Constant from pl_auth_new on. */
    uint32_t cookies;            /* logins that are remembered; 10000 */
    uint64_t cookie_lifetime_ms; /* since its last use; 7 days */
    uint32_t threads;            /* that check passwords; 2 */
    uint32_t queue_max;          /* logins that wait for them; 256; an address may have a quarter */
    uint32_t free_failures;      /* of an address or name before it is slowed; 5 */
    uint64_t backoff_ms;         /* first wait, doubled by each further failure; 250 */
    uint64_t backoff_max_ms;     /* 15000 */
    uint64_t forget_ms;          /* a failure less is remembered after each of these; 60000 */
    uint64_t jwks_refresh_ms;    /* sets of keys from addresses are fetched again; an hour */
    uint64_t jwks_refresh_min_ms; /* … at most so often for a token with an unknown key; 30000 */
    /* On a thread of the authenticator, which may be told to review. NULL: nobody wants to know. */
    void (*on_jwks)(void *context, const struct pl_jwks_event *event);
    void *on_jwks_context;
};

struct pl_login_answer {
    enum pl_err err;
    struct pl_identity *identity; /* one reference moved; NULL with an error */
    struct pl_bytes realm;        /* that the login asks for; empty: the listener's. Lies in
                                     identity */
    const struct pl_diag *diag;   /* of an error: why, for the log; never for the client */
    /* PL_CHALLENGED: moved; the challenge lies in it. */
    struct pl_exchange *exchange;
    const struct pl_challenge *challenge;
};

struct pl_auth_question;

/* A cookie's value: random bytes in base64 for URLs. */
enum { PL_COOKIE_LEN = 24 };

/* Where the answer goes; context, session and token are the caller's own. */
struct pl_login {
    void (*done)(const struct pl_login *login, const struct pl_login_answer *answer);
    /* Asks the dynamic authenticator, which answers by pl_auth_told, once, now or later, on any
     * thread. NULL: there is none. */
    void (*ask)(const struct pl_login *login, struct pl_auth_question *question);
    struct pl_exchange *exchange; /* moved: what PL_CHALLENGED brought, where credentials are a
                                     response; else NULL */
    void *context;
    void *session;
    uint64_t token;
    /* The authenticator's: for what cookie an accepted login is remembered, and when it began. */
    char cookie[PL_COOKIE_LEN + 1];
    uint64_t began_unix_ms;
    bool can_ask; /* as credentials say */
};

/* What a dynamic authenticator is asked. Lives until pl_auth_told. */
struct pl_auth_question {
    struct pl_login login;
    struct pl_bytes method, name, ticket; /* ticket: that was shown; empty with other methods */
    struct pl_bytes address;
    const struct pl_attribute *extra; /* of the client */
    uint32_t extra_count;
    uint64_t session_id;
    struct pl_question_state *state; /* the authenticator's */
};

/* What it says of someone; borrowed. Which of the secrets count, the method says. */
struct pl_auth_principal {
    struct pl_bytes name, role, realm; /* name: empty: as it was asked; realm: empty: as asked */
    struct pl_bytes ticket;            /* that must have been shown; empty: it was looked at */
    struct pl_bytes secret;            /* WAMP-CRA: the key of the HMAC */
    struct pl_bytes salt;              /* WAMP-CRA, SCRAM */
    uint64_t iterations, key_len, memory_kib;    /* 0: the standard's */
    struct pl_bytes kdf, stored_key, server_key; /* SCRAM: keys in base64 or hex */
    struct pl_bytes public_key;                  /* cryptosign: hex */
    const struct pl_attribute *attributes;       /* "authextra.X" is told to the client */
    uint32_t attribute_count;
};

/* principal NULL: nobody, and the login is refused in the end. Any thread. */
void pl_auth_told(struct pl_auth *auth, struct pl_auth_question *question,
    const struct pl_auth_principal *principal, uint64_t now_unix_ms);

/* PL_CONFIG, PL_IO: diag says what is wrong, with file and line where there is one. */
PL_MUST_USE enum pl_err pl_auth_new(
    const struct pl_auth_config *config, struct pl_diag *diag, struct pl_auth **out);
/* Begins to fetch sets of keys; before, and without it, none are. PL_LIMIT: there is no thread to
 * be had. Once. */
PL_MUST_USE enum pl_err pl_auth_start(struct pl_auth *auth);
/* Answers what is pending (PL_DRAINING), ends the threads. Nobody calls pl_auth_login any more.
 * Returns NULL; accepts NULL. */
struct pl_auth *pl_auth_free(struct pl_auth *auth);

/* Swaps users, keys, roles, revocations for those of config. An error leaves all as it was. */
PL_MUST_USE enum pl_err pl_auth_reload(
    struct pl_auth *auth, const struct pl_auth_config *config, struct pl_diag *diag);

/*
 * Answers by login.done, exactly once, maybe before this returns, else from a thread of the pool.
 * Any thread. credentials are borrowed during the call.
 */
void pl_auth_login(struct pl_auth *auth, const struct pl_credentials *credentials, uint64_t now_ms,
    uint64_t now_unix_ms, struct pl_login login);

/*
 * A pl_review_fn; context is the struct pl_auth. Which identity has this one become? Its user, key
 * and role must still be there and it must not be revoked: else PL_REVOKED. Rights are made anew
 * from the role; NULL if nothing could have changed since that identity was made.
 *
 * A login that was being answered during the reload may join after the review: review again a few
 * seconds later (the login limit of the listeners).
 */
enum pl_err pl_auth_review(
    void *context, const struct pl_identity *now, struct pl_identity **out_identity);

/* Is a login remembered for this cookie? Any thread. */
bool pl_auth_knows_cookie(struct pl_auth *auth, struct pl_bytes cookie, uint64_t now_unix_ms);
/* A fresh one. */
void pl_auth_make_cookie(char out[PL_COOKIE_LEN + 1]);

/* True if a login needs to show something on this listener (NATS' auth_required). */
bool pl_auth_is_required(struct pl_auth *auth, const char *listener);

struct pl_auth_stats {
    uint64_t accepted, refused, slowed; /* logins; slowed: refused unseen */
    uint64_t pending;                   /* passwords that wait or are being checked */
    uint64_t users;
    bool users_file_exposed; /* others may read the users file: worth a warning */
};

void pl_auth_stats(struct pl_auth *auth, struct pl_auth_stats *out);

#endif
