/*
 * The configuration: YAML, then PARLEY_… variables, then --set; later ones win.
 *
 *     struct pl_config_sources from = {.file = "parley.yaml", .environment = environ};
 *     struct pl_config *config;
 *     if (pl_config_load(&from, &config, &diag) != PL_OK)
 *         fprintf(stderr, "%s\n", diag.text);   // parley.yaml:7: limits.payload: expected …
 *
 * Every key stands once, in config.def: from there come these structs, the parser, `parley check`
 * and docs/reference/config.md. A loaded configuration is immutable; everything in it lives as long
 * as it does.
 */
#ifndef PL_SERVER_CONFIG_H
#define PL_SERVER_CONFIG_H

#include <stdio.h>

#include "base/arena.h"
#include "base/bytes.h"

struct pl_text_list {
    const char *const *items;
    uint32_t count;
};

struct pl_text_pair {
    const char *key, *value;
};

struct pl_text_pairs {
    const struct pl_text_pair *items;
    uint32_t count;
};

/* ON: from the first byte, in NATS after its INFO as its clients expect. DIRECT: from the first
 * byte in NATS too. OPTIONAL: in the clear as well; the first byte tells, NATS offers it. */
enum pl_config_tls { PL_TLS_OFF, PL_TLS_ON, PL_TLS_DIRECT, PL_TLS_OPTIONAL };
/* AUTO: on loopback without configured users, and where auth.anonymous names a role. */
enum pl_config_allow { PL_ALLOW_AUTO, PL_ALLOW_YES, PL_ALLOW_NO };
/* enum pl_slow_policy plus 1; 0: the protocol's custom. */
enum { PL_CONFIG_SLOW_PROTOCOL };
/* enum pl_replay plus 1; 0: the listener's. */
enum { PL_CONFIG_REPLAY_LISTENER };
enum pl_config_challenge { PL_CONFIG_TLS_ALPN, PL_CONFIG_HTTP };

#define PL_CONFIG_BOOL(name)        bool name;
#define PL_CONFIG_COUNT(name)       uint32_t name;
#define PL_CONFIG_PORT(name)        uint16_t name;
#define PL_CONFIG_SIZE(name)        uint64_t name;
#define PL_CONFIG_TIME(name)        uint64_t name##_ms;
#define PL_CONFIG_TEXT(name)        const char *name;
#define PL_CONFIG_PATH(name)        const char *name;
#define PL_CONFIG_LIST(name)        struct pl_text_list name;
#define PL_CONFIG_PAIRS(name)       struct pl_text_pairs name;
#define PL_CONFIG_LEVEL(name)       uint8_t name;
#define PL_CONFIG_REPLAY(name)      uint8_t name;
#define PL_CONFIG_ROLE_REPLAY(name) uint8_t name;
#define PL_CONFIG_SLOW(name)        uint8_t name;
#define PL_CONFIG_TLS(name)         uint8_t name;
#define PL_CONFIG_ALLOW(name)       uint8_t name;
#define PL_CONFIG_PLAIN(name)       uint8_t name;
#define PL_CONFIG_DISCLOSE(name)    uint8_t name;
#define PL_CONFIG_CHALLENGE(name)   uint8_t name;

#define PL_MEMBER(name, type, ...) PL_CONFIG_##type(name)

struct pl_config_log {
#define PL_LOG PL_MEMBER
#include "server/config.def"
};

struct pl_config_tls_pair {
#define PL_TLS_PAIR PL_MEMBER
#include "server/config.def"
};

struct pl_config_tls_files {
#define PL_TLS PL_MEMBER
#include "server/config.def"
    struct {
        struct pl_config_tls_pair *items;
        uint32_t count;
    } certificates;
};

struct pl_config_acme_certificate {
#define PL_ACME_CERTIFICATE PL_MEMBER
#include "server/config.def"
};

struct pl_config_acme {
#define PL_ACME PL_MEMBER
#include "server/config.def"
    struct {
        struct pl_config_acme_certificate *items;
        uint32_t count;
    } certificates;
};

struct pl_config_limits {
#define PL_LIMITS PL_MEMBER
#include "server/config.def"
};

struct pl_config_client {
#define PL_CLIENT PL_MEMBER
#include "server/config.def"
};

struct pl_config_mqtt {
#define PL_MQTT PL_MEMBER
#include "server/config.def"
};

struct pl_config_wamp {
#define PL_WAMP_KEY PL_MEMBER
#include "server/config.def"
};

struct pl_config_mles {
#define PL_MLES PL_MEMBER
#include "server/config.def"
    bool has_key; /* key counts, also if it is empty: then MLES_KEY was set to that */
};

struct pl_config_calls {
#define PL_CALLS PL_MEMBER
#include "server/config.def"
};

struct pl_config_drain {
#define PL_DRAIN PL_MEMBER
#include "server/config.def"
};

struct pl_config_store {
#define PL_STORE_KEY PL_MEMBER
#include "server/config.def"
};

struct pl_config_web {
#define PL_WEB PL_MEMBER
#include "server/config.def"
};

struct pl_config_admin {
#define PL_ADMIN PL_MEMBER
#include "server/config.def"
    bool is_default; /* nobody gave address or port: one in use is left out with a warning */
};

struct pl_config_history {
#define PL_HISTORY PL_MEMBER
#include "server/config.def"
};

struct pl_config_realm {
#define PL_REALM PL_MEMBER
#include "server/config.def"
    struct {
        struct pl_config_history *items;
        uint32_t count;
    } history;
};

struct pl_config_listener {
#define PL_LISTENER PL_MEMBER
#include "server/config.def"
    struct pl_config_client client;
    bool is_default; /* nobody gave address or port, as above */
};

struct pl_config_jwt_key {
#define PL_JWT_KEY PL_MEMBER
#include "server/config.def"
};

struct pl_config_jwt {
#define PL_JWT PL_MEMBER
#include "server/config.def"
    struct {
        struct pl_config_jwt_key *items;
        uint32_t count;
    } keys;
};

struct pl_config_auth {
#define PL_AUTH PL_MEMBER
#include "server/config.def"
    struct pl_config_jwt jwt;
};

struct pl_config_role {
    const char *name;
#define PL_ROLE                               PL_MEMBER
#define PL_ROLE_NAMED(member, key, type, ...) PL_CONFIG_##type(member)
#include "server/config.def"
};

struct pl_config {
#define PL_ROOT PL_MEMBER
#include "server/config.def"
    struct pl_config_log log;
    struct pl_config_tls_files tls;
    struct pl_config_acme acme;
    struct pl_config_limits limits;
    struct pl_config_client client;
    struct pl_config_mqtt mqtt;
    struct pl_config_wamp wamp;
    struct pl_config_mles mles;
    struct pl_config_calls calls;
    struct pl_config_drain drain;
    struct pl_config_store store;
    struct pl_config_web web;
    struct pl_config_admin admin;
    struct pl_config_auth auth;
    struct {
        struct pl_config_role *items;
        uint32_t count;
    } roles;
    struct {
        struct pl_config_history *items;
        uint32_t count;
    } history; /* of realm main */
    struct {
        struct pl_config_realm *items;
        uint32_t count;
    } realms; /* beside main */
    struct {
        struct pl_config_listener *items;
        uint32_t count;
    } listeners;
    struct pl_text_list unknown_variables; /* with our prefix, that name no key */
    struct pl_arena arena;                 /* owned; everything above */
};
#undef PL_MEMBER

/* Borrowed during the load. */
struct pl_config_sources {
    const char *file;                   /* NULL: none, the defaults */
    const char *text;                   /* instead of a file; NULL: none */
    const char *text_name;              /* of that, in errors */
    const struct pl_nexus_flags *nexus; /* not NULL: file is nexusd's, see nexus.h */
    const char *const *environment;     /* "PARLEY_LOG_LEVEL=debug", …, NULL; NULL: none */
    const char *const *sets;            /* "log.level=debug" */
    uint32_t set_count;
};

/* PL_CONFIG, PL_IO, PL_NO_MEMORY: diag is one line for people. */
PL_MUST_USE enum pl_err pl_config_load(
    const struct pl_config_sources *sources, struct pl_config **out, struct pl_diag *diag);
/* The same from text; file is its name in errors. sources->file is not read. */
PL_MUST_USE enum pl_err pl_config_parse(const struct pl_config_sources *sources, const char *file,
    struct pl_bytes text, struct pl_config **out, struct pl_diag *diag);
/* Returns NULL; accepts NULL. */
struct pl_config *pl_config_free(struct pl_config *config);

/* True: someone configured who may log in. */
bool pl_config_has_auth(const struct pl_config *config);
/* Are requests answered on this listener? */
static inline bool pl_config_has_http(const struct pl_config_listener *listener)
{
    return listener->websocket || listener->web || listener->redirect;
}
/* The key that Mles members share. False: there is none. */
bool pl_config_mles_key(const struct pl_config *config, struct pl_bytes *out);
/* The role of anonymous clients on this listener; NULL: there are none. */
const char *pl_config_anonymous_role(
    const struct pl_config *config, const struct pl_config_listener *listener);
/* localhost, an address of 127.0.0.0/8, ::1. */
bool pl_config_is_loopback(const char *address);

/* A configuration file of the defaults, with its comments (`parley check --defaults`). */
void pl_config_print_defaults(FILE *out);
/* docs/reference/config.md. */
void pl_config_print_reference(FILE *out);

#endif
