#include "server/config_table.h"

#include <string.h>

/* Of a time that may be `never`. */
#define NEVER UINT64_MAX

/* Where a key of the open struct lies: times are called name_ms there. */
#define OFFSET_BOOL(s, name)        offsetof(struct s, name)
#define OFFSET_COUNT(s, name)       offsetof(struct s, name)
#define OFFSET_PORT(s, name)        offsetof(struct s, name)
#define OFFSET_SIZE(s, name)        offsetof(struct s, name)
#define OFFSET_TIME(s, name)        offsetof(struct s, name##_ms)
#define OFFSET_TEXT(s, name)        offsetof(struct s, name)
#define OFFSET_PATH(s, name)        offsetof(struct s, name)
#define OFFSET_LIST(s, name)        offsetof(struct s, name)
#define OFFSET_PAIRS(s, name)       offsetof(struct s, name)
#define OFFSET_LEVEL(s, name)       offsetof(struct s, name)
#define OFFSET_REPLAY(s, name)      offsetof(struct s, name)
#define OFFSET_ROLE_REPLAY(s, name) offsetof(struct s, name)
#define OFFSET_SLOW(s, name)        offsetof(struct s, name)
#define OFFSET_TLS(s, name)         offsetof(struct s, name)
#define OFFSET_ALLOW(s, name)       offsetof(struct s, name)
#define OFFSET_PLAIN(s, name)       offsetof(struct s, name)
#define OFFSET_DISCLOSE(s, name)    offsetof(struct s, name)
#define OFFSET_CHALLENGE(s, name)   offsetof(struct s, name)

#define KEY_NAMED(s, member, key, kind, preset_text, from, to, text)                               \
    {.name = (key),                                                                                \
        .preset = (preset_text),                                                                   \
        .help = (text),                                                                            \
        .least = (from),                                                                           \
        .most = (to),                                                                              \
        .offset = OFFSET_##kind(s, member),                                                        \
        .type = PL_KEY_##kind},
#define KEY(s, key, ...) KEY_NAMED(s, key, #key, __VA_ARGS__)
#define NESTED(s, key, kind, sub)                                                                  \
    {.name = #key,                                                                                 \
        .preset = "",                                                                              \
        .help = "",                                                                                \
        .offset = offsetof(struct s, key),                                                         \
        .type = PL_KEY_##kind,                                                                     \
        .section = &(sub)},
#define SECTION(variable, title, s, table, text)                                                   \
    static const struct pl_config_section variable = {                                             \
        (title), (text), sizeof(struct s), (table), sizeof(table) / sizeof((table)[0])}

static const struct pl_config_key log_keys[] = {
#define PL_LOG(...) KEY(pl_config_log, __VA_ARGS__)
#include "server/config.def"
};
SECTION(log_section, "log", pl_config_log, log_keys, "What is written to stderr.");

static const struct pl_config_key tls_pair_keys[] = {
#define PL_TLS_PAIR(...) KEY(pl_config_tls_pair, __VA_ARGS__)
#include "server/config.def"
};
SECTION(tls_pair_section, "certificates", pl_config_tls_pair, tls_pair_keys,
    "Further certificates: a client is shown the one that has the name which it asks for.");

static const struct pl_config_key tls_keys[] = {
#define PL_TLS(...) KEY(pl_config_tls_files, __VA_ARGS__)
#include "server/config.def"
    NESTED(pl_config_tls_files, certificates, ITEMS, tls_pair_section)};
SECTION(tls_section, "tls", pl_config_tls_files, tls_keys,
    "The certificate of all listeners that have none of their own; read again at SIGHUP.");

static const struct pl_config_key acme_certificate_keys[] = {
#define PL_ACME_CERTIFICATE(...) KEY(pl_config_acme_certificate, __VA_ARGS__)
#include "server/config.def"
};
SECTION(acme_certificate_section, "certificates", pl_config_acme_certificate, acme_certificate_keys,
    "Further certificates, beside the one of acme.domains.");

static const struct pl_config_key acme_keys[] = {
#define PL_ACME(...) KEY(pl_config_acme, __VA_ARGS__)
#include "server/config.def"
    NESTED(pl_config_acme, certificates, ITEMS, acme_certificate_section)};
SECTION(acme_section, "acme", pl_config_acme, acme_keys,
    "Certificates from an authority by ACME (RFC 8555), such as Let's Encrypt: ordered, renewed "
    "and "
    "shown without a restart. Until there is one, that of `tls` is shown.");

static const struct pl_config_key limits_keys[] = {
#define PL_LIMITS(...) KEY(pl_config_limits, __VA_ARGS__)
#include "server/config.def"
};
SECTION(limits_section, "limits", pl_config_limits, limits_keys,
    "What the process, a realm, a session may take.");

static const struct pl_config_key client_keys[] = {
#define PL_CLIENT(...) KEY(pl_config_client, __VA_ARGS__)
#include "server/config.def"
};
SECTION(client_section, "client", pl_config_client, client_keys,
    "How each connection is treated. A listener may have a `client` section of its own; what that "
    "does not say is as here.");

static const struct pl_config_key mqtt_keys[] = {
#define PL_MQTT(...) KEY(pl_config_mqtt, __VA_ARGS__)
#include "server/config.def"
};
SECTION(mqtt_section, "mqtt", pl_config_mqtt, mqtt_keys, "What is special to MQTT.");

static const struct pl_config_key wamp_keys[] = {
#define PL_WAMP_KEY(...) KEY(pl_config_wamp, __VA_ARGS__)
#include "server/config.def"
};
SECTION(wamp_section, "wamp", pl_config_wamp, wamp_keys, "What is special to WAMP.");

static const struct pl_config_key mles_keys[] = {
#define PL_MLES(...) KEY(pl_config_mles, __VA_ARGS__)
#include "server/config.def"
};
SECTION(mles_section, "mles", pl_config_mles, mles_keys,
    "Mles: channels with a memory, and the servers that share them. Subjects under a rule of "
    "`history` "
    "keep what that says.");

static const struct pl_config_key calls_keys[] = {
#define PL_CALLS(...) KEY(pl_config_calls, __VA_ARGS__)
#include "server/config.def"
};
SECTION(calls_section, "calls", pl_config_calls, calls_keys, "Requests and their answers.");

static const struct pl_config_key store_keys[] = {
#define PL_STORE_KEY(...) KEY(pl_config_store, __VA_ARGS__)
#include "server/config.def"
};
SECTION(store_section, "store", pl_config_store, store_keys, "What outlives the process.");

static const struct pl_config_key drain_keys[] = {
#define PL_DRAIN(...) KEY(pl_config_drain, __VA_ARGS__)
#include "server/config.def"
};
SECTION(drain_section, "drain", pl_config_drain, drain_keys, "How the server goes down.");

static const struct pl_config_key web_keys[] = {
#define PL_WEB(...) KEY(pl_config_web, __VA_ARGS__)
#include "server/config.def"
};
SECTION(web_section, "web", pl_config_web, web_keys,
    "Pages: files by domain, and other servers by path, on listeners with `web: true`.");

static const struct pl_config_key admin_keys[] = {
#define PL_ADMIN(...) KEY(pl_config_admin, __VA_ARGS__)
#include "server/config.def"
};
SECTION(admin_section, "admin", pl_config_admin, admin_keys,
    "The listener for operators: /metrics, /healthz, /readyz, /connections, /subscriptions.");

static const struct pl_config_key history_keys[] = {
#define PL_HISTORY(...) KEY(pl_config_history, __VA_ARGS__)
#include "server/config.def"
};
SECTION(history_section, "history", pl_config_history, history_keys,
    "Which messages are kept for those who come later. The first rule that matches a "
    "subject decides.");

static const struct pl_config_key realm_keys[] = {
#define PL_REALM(...) KEY(pl_config_realm, __VA_ARGS__)
#include "server/config.def"
    NESTED(pl_config_realm, history, ITEMS, history_section)};
SECTION(realm_section, "realms", pl_config_realm, realm_keys,
    "Subject spaces of their own, beside `main`.");

static const struct pl_config_key listener_keys[] = {
#define PL_LISTENER(...) KEY(pl_config_listener, __VA_ARGS__)
#include "server/config.def"
    NESTED(pl_config_listener, client, SECTION, client_section)};
SECTION(listener_section, "listeners", pl_config_listener, listener_keys,
    "Where clients come in. Without this key there are the four of `parley check --defaults`; one "
    "of these whose port is in use is left out with a warning.");

static const struct pl_config_key jwt_key_keys[] = {
#define PL_JWT_KEY(...) KEY(pl_config_jwt_key, __VA_ARGS__)
#include "server/config.def"
};
SECTION(jwt_key_section, "keys", pl_config_jwt_key, jwt_key_keys,
    "What tokens are checked with. The key pins the algorithm.");

static const struct pl_config_key jwt_keys[] = {
#define PL_JWT(...) KEY(pl_config_jwt, __VA_ARGS__)
#include "server/config.def"
    NESTED(pl_config_jwt, keys, ITEMS, jwt_key_section)};
SECTION(jwt_section, "jwt", pl_config_jwt, jwt_keys, "JSON Web Tokens as logins.");

static const struct pl_config_key auth_keys[] = {
#define PL_AUTH(...) KEY(pl_config_auth, __VA_ARGS__)
#include "server/config.def"
    NESTED(pl_config_auth, jwt, SECTION, jwt_section)};
SECTION(auth_section, "auth", pl_config_auth, auth_keys,
    "Who may come in; read again at SIGHUP. Without users and jwt.keys everyone is anonymous, and "
    "listeners are on loopback only.");

static const struct pl_config_key role_keys[] = {
#define PL_ROLE(...)       KEY(pl_config_role, __VA_ARGS__)
#define PL_ROLE_NAMED(...) KEY_NAMED(pl_config_role, __VA_ARGS__)
#include "server/config.def"
};
SECTION(role_section, "roles", pl_config_role, role_keys,
    "What those may do who came in, by the name of their role; read again at SIGHUP. The role "
    "`all` may do everything.");

static const struct pl_config_key root_keys[] = {
#define PL_ROOT(...) KEY(pl_config, __VA_ARGS__)
#include "server/config.def"
    /* One a line: */
    /* clang-format off */
    NESTED(pl_config, log, SECTION, log_section)
    NESTED(pl_config, tls, SECTION, tls_section)
    NESTED(pl_config, acme, SECTION, acme_section)
    NESTED(pl_config, auth, SECTION, auth_section)
    NESTED(pl_config, roles, NAMED, role_section)
    NESTED(pl_config, limits, SECTION, limits_section)
    /* Before the listeners, whose `client` begins as a copy of this. */
    NESTED(pl_config, client, SECTION, client_section)
    NESTED(pl_config, listeners, ITEMS, listener_section)
    NESTED(pl_config, mqtt, SECTION, mqtt_section)
    NESTED(pl_config, wamp, SECTION, wamp_section)
    NESTED(pl_config, mles, SECTION, mles_section)
    NESTED(pl_config, web, SECTION, web_section)
    NESTED(pl_config, admin, SECTION, admin_section)
    NESTED(pl_config, calls, SECTION, calls_section)
    NESTED(pl_config, history, ITEMS, history_section)
    NESTED(pl_config, realms, ITEMS, realm_section)
    NESTED(pl_config, store, SECTION, store_section)
    NESTED(pl_config, drain, SECTION, drain_section)
    /* clang-format on */
};

const struct pl_config_section pl_config_root = {
    "", "", sizeof(struct pl_config), root_keys, sizeof root_keys / sizeof root_keys[0]};

const char pl_config_default_listeners[] =
    "# HTTP, WebSockets, and every protocol that its first bytes tell.\n"
    "- name: shared\n"
    "  port: 8080\n"
    "  protocols: [mqtt, nats, redis, wamp, mles]\n"
    "  websocket: true\n"
    "  tls: optional\n"
    "- name: mqtt\n"
    "  port: 1883\n"
    "  protocols: mqtt\n"
    "# NATS speaks first, so it has a port of its own.\n"
    "- name: nats\n"
    "  port: 4222\n"
    "  protocols: nats\n"
    "- name: tls\n"
    "  port: 8443\n"
    "  protocols: [mqtt, nats, redis, wamp, mles]\n"
    "  websocket: true\n"
    "  tls: on\n";

const struct pl_config_key *pl_config_find_key(
    const struct pl_config_section *section, const char *name)
{
    for (uint32_t i = 0; i < section->key_count; i++) {
        if (strcmp(section->keys[i].name, name) == 0)
            return &section->keys[i];
    }
    return NULL;
}
