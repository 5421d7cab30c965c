/*
 * Who a session is, and what it may do (DESIGN section 5).
 *
 *     Authenticator   credentials → identity           (auth/, wired by the server)
 *     Authorizer      may(identity, action, name or pattern)
 *
 * An identity is immutable and counted. Its rights are compiled patterns with the templates
 * already expanded. Roles change by giving a session a new identity.
 */
#ifndef PL_CORE_IDENTITY_H
#define PL_CORE_IDENTITY_H

#include "base/heap.h"
#include "core/pattern.h"
#include "core/subscription.h"

/* A role that says nothing of calls may call what it may publish, and register what it may
 * subscribe: a request is a publication, its responder a subscriber, in protocols without calls. */
enum pl_action { PL_PUBLISH, PL_SUBSCRIBE, PL_CALL, PL_REGISTER, PL_ACTION_COUNT };

/* Allow and deny lists of one action. No allow list that matches: refused. Deny wins. */
struct pl_rights {
    bool allow_all; /* the allow list holds ">" or "#" and there is no deny: a quick yes */
    uint32_t allow_count, deny_count;
    struct pl_pattern **allow, **deny; /* one reference each */
};

struct pl_attribute {
    struct pl_bytes name, value;
};

struct pl_identity {
    atomic_uint refs;
    struct pl_bytes user; /* empty: anonymous */
    struct pl_bytes role;
    struct pl_bytes method;   /* "anonymous", "password", "jwt" … */
    struct pl_bytes token_id; /* jti; empty: none. For revocation */
    uint64_t issued_unix_ms;  /* iat; 0: unknown */
    uint64_t expires_unix_ms; /* PL_NEVER: never */
    uint8_t replay;           /* enum pl_replay: the role's default for new subscriptions */
    bool has_replay;          /* false: the listener's decides */
    bool is_server;           /* reserved names are its own */
    bool has_trust;           /* its publications and calls carry `trust` */
    bool may_disclose;        /* may ask that others are told who it is; a role's key, true */
    bool is_disclosed;        /* others are always told who it is; a role's key */
    uint32_t trust;
    struct pl_bytes authorizer; /* procedure that is asked for each action; empty: the rights
                                   decide */
    const struct pl_attribute *attributes; /* claims as text: "user_id", "handler" … */
    uint32_t attribute_count;
    struct pl_rights rights[PL_ACTION_COUNT];
    struct pl_arena *memory; /* owned; holds all of the bytes above */
};

/* A new identity with one reference and an arena, everything else zero: whoever authenticates fills
 * it before anyone else sees it. NULL: no memory. */
PL_MUST_USE struct pl_identity *pl_identity_new(void);
struct pl_identity *pl_identity_ref(struct pl_identity *identity);
struct pl_identity *pl_identity_unref(struct pl_identity *identity);
/* An identity that may do everything: anonymous where the configuration says so, tests, the server.
 */
PL_MUST_USE struct pl_identity *pl_identity_new_all(const char *user, const char *role);

/* Parses a list into allow or deny. `{name}` must be expanded already. */
PL_MUST_USE enum pl_err pl_identity_add_pattern(struct pl_identity *identity, enum pl_action action,
    bool deny, struct pl_pattern *pattern_moved);

/*
 * The one question, asked on every path that publishes, subscribes or delivers.
 *
 * may_publish   this name. Reserved names: never.
 * may_subscribe this pattern: the union of the allow list contains it. `_INBOX.` with two literal
 *               tokens: always. *out_filtered: a deny pattern intersects it, ask may_receive.
 * may_receive   a message of this name, over a subscription that was allowed.
 */
bool pl_identity_may_publish(const struct pl_identity *identity, struct pl_bytes name);
bool pl_identity_may_call(const struct pl_identity *identity, struct pl_bytes name);
bool pl_identity_may_register(const struct pl_identity *identity, const struct pl_pattern *pattern);
bool pl_identity_may_subscribe(
    const struct pl_identity *identity, const struct pl_pattern *pattern, bool *out_filtered);
bool pl_identity_may_receive(const struct pl_identity *identity, struct pl_bytes name);

/*
 * A login in two steps: the authenticator answers PL_CHALLENGED and leaves the challenge with the
 * session (pl_session.challenge) until the next pl_session_login on it, which brings the response.
 */
struct pl_challenge {
    struct pl_bytes method;                  /* the one of the client's that was chosen */
    const struct pl_challenge_field *fields; /* what the client needs to answer */
    uint32_t field_count;
};

/* What the authenticator remembers between the two steps, at the beginning of its own struct. */
struct pl_exchange {
    void (*free)(struct pl_exchange *exchange);
};

/* Returns NULL; accepts NULL. */
static inline struct pl_exchange *pl_exchange_free(struct pl_exchange *exchange)
{
    if (exchange)
        exchange->free(exchange);
    return NULL;
}

struct pl_challenge_field {
    const char *name;
    struct pl_bytes text; /* or, if text.data is NULL, … */
    uint64_t number;
};

enum { PL_CHANNEL_ID_MAX = 64 };

/* What a client showed. All borrowed during the call. */
struct pl_credentials {
    bool has_user, has_password, has_token;
    struct pl_bytes user, password;
    struct pl_bytes token;   /* a bearer token: JWT. Protocols fill what they were given; a password
                                may be a JWT too, that is the authenticator's to find out */
    struct pl_bytes address; /* the peer's IP address as text, for slowing guesses */
    const char *protocol;    /* "mqtt", "nats" … */
    const char *listener;    /* name of the listener that it came in by */
    struct pl_bytes realm;   /* that the client asks for; empty: the listener's */
    /* Of clients that choose among methods of authentication (empty: those above count alone). */
    const struct pl_bytes *methods; /* in the client's order */
    uint32_t method_count;
    const struct pl_attribute *extra; /* what comes with the methods or with the response, as text:
                                         "pubkey", "nonce", "channel_binding" … */
    uint32_t extra_count;
    bool is_response;            /* to the session's challenge … */
    struct pl_bytes response;    /* … this */
    struct pl_bytes cookie;      /* that this client was given at an earlier connection */
    struct pl_bytes certificate; /* DER, of a client whose TLS connection showed one; empty */
    struct pl_bytes channel_id;  /* of its TLS connection, of the type that extra's
                                    "channel_binding" asks for, at most PL_CHANNEL_ID_MAX; empty */
    uint64_t session_id;         /* pl_session_public_id, for what is signed */
    bool can_ask; /* its protocol asks a role's authorizer before each action: then the role's lists
                     do not count */
    bool has_shared_key; /* all users of its protocol have one (Mles), which the protocol compares …
                          */
    bool is_shared_key_right; /* … and this was it */
    const char *shared_role;  /* that it stands for; NULL: the one of anonymous clients, who then
                                 need  no is_ambient_allowed */
    bool is_ambient_allowed;  /* a right that comes by itself (anonymous) may be given: the Origin
                                 and Host checks passed */
};

#endif
