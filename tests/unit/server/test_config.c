/* What the configuration promises: values, precedence, and errors that say where and what. */
#include "server/config.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/heap.h"
#include "check.h"
#include "core/subscription.h"
#include "server/config_table.h"

static struct pl_diag diag;

/* NULL: refused, and diag says why. */
static struct pl_config *parse_with(
    const char *text, const char *const *environment, const char *const *sets, uint32_t set_count)
{
    struct pl_config_sources sources = {
        .environment = environment, .sets = sets, .set_count = set_count};
    struct pl_config *config = NULL;
    diag.text[0] = '\0';
    enum pl_err err =
        pl_config_parse(&sources, "/etc/parley/parley.yaml", pl_bytes_text(text), &config, &diag);
    CHECK((err == PL_OK) == (config != NULL));
    CHECK(err == PL_OK || diag.text[0]);
    return config;
}

static struct pl_config *parse(const char *text)
{
    return parse_with(text, NULL, NULL, 0);
}

static void refuses(const char *text, const char *expected)
{
    struct pl_config *config = parse(text);
    CHECK(config == NULL);
    CHECK_STR(diag.text, expected);
    pl_config_free(config);
}

TEST(an_empty_file_is_the_defaults)
{
    struct pl_config *config = parse("");
    REQUIRE(config);
    CHECK_STR(config->name, "parley");
    CHECK_EQ(config->log.level, 1);
    CHECK_EQ(config->limits.payload, 1 << 20);
    CHECK_EQ(config->client.login_timeout_ms, 5000);
    CHECK_EQ(config->calls.timeout_ms, 30000);
    CHECK_EQ(config->admin.port, 8081);
    CHECK(config->admin.is_default);
    CHECK_EQ(config->listeners.count, 4);
    for (uint32_t i = 0; i < config->listeners.count; i++)
        CHECK(config->listeners.items[i].is_default);
    const struct pl_config_listener *shared = &config->listeners.items[0];
    CHECK_STR(shared->name, "shared");
    CHECK_EQ(shared->port, 8080);
    CHECK_EQ(shared->tls, PL_TLS_OPTIONAL);
    CHECK(shared->websocket);
    CHECK_EQ(shared->address.count, 2);
    CHECK_STR(shared->address.items[1], "::1");
    CHECK_EQ(shared->websocket_paths.count, 2);
    CHECK_STR(shared->websocket_paths.items[1].key, "/nats");
    CHECK_STR(shared->websocket_paths.items[1].value, "nats");
    CHECK_STR(pl_config_anonymous_role(config, shared), "all");
    pl_config_free(config);
}

TEST(the_printed_defaults_are_the_defaults)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    pl_config_print_defaults(out);
    fclose(out);
    struct pl_config *printed = parse(text), *defaults = parse("");
    CHECK_STR(diag.text, "");
    free(text);
    REQUIRE(printed && defaults);
    CHECK_STR(printed->data, defaults->data);
    CHECK_EQ(memcmp(&printed->limits, &defaults->limits, sizeof printed->limits), 0);
    CHECK_EQ(memcmp(&printed->client, &defaults->client, sizeof printed->client), 0);
    CHECK_EQ(memcmp(&printed->drain, &defaults->drain, sizeof printed->drain), 0);
    CHECK_EQ(printed->listeners.count, defaults->listeners.count);
    for (uint32_t i = 0; i < printed->listeners.count; i++) {
        const struct pl_config_listener *a = &printed->listeners.items[i];
        const struct pl_config_listener *b = &defaults->listeners.items[i];
        CHECK_STR(a->name, b->name);
        CHECK_EQ(a->port, b->port);
        CHECK_EQ(a->tls, b->tls);
        CHECK_EQ(a->websocket, b->websocket);
        CHECK_EQ(a->protocols.count, b->protocols.count);
        CHECK_EQ(memcmp(&a->client, &b->client, sizeof a->client), 0);
        CHECK(!a->is_default); /* It is in a file now: its port is asked for. */
    }
    pl_config_free(printed);
    pl_config_free(defaults);
}

TEST(values_have_units)
{
    struct pl_config *config = parse("limits: {payload: 64K, queued: 2 GiB, session_expiry: 2w}\n"
                                     "client: {login_timeout: 1500ms, packet_before_login: 4096}\n"
                                     "calls: {timeout: 2m}\n"
                                     "drain: {spread: 0s, timeout: never}\n");
    REQUIRE(config);
    CHECK_EQ(config->limits.payload, 65536);
    CHECK_EQ(config->limits.queued, 2ll << 30);
    CHECK_EQ(config->limits.session_expiry_ms, 14ll * 86400000);
    CHECK_EQ(config->client.login_timeout_ms, 1500);
    CHECK_EQ(config->client.packet_before_login, 4096);
    CHECK_EQ(config->calls.timeout_ms, 120000);
    CHECK(config->drain.timeout_ms == PL_NEVER);
    pl_config_free(config);
}

TEST(everything_that_a_file_can_say_is_read)
{
    struct pl_config *config =
        parse("name: edge\n"
              "data: state\n"
              "threads: 3\n"
              "log: {level: debug}\n"
              "tls: {certificate: cert.pem, key: /keys/key.pem}\n"
              "auth:\n"
              "  users: users\n"
              "  anonymous: guest\n"
              "  revoked: ['jti:1', 'user:bob@17']\n"
              "  jwt:\n"
              "    issuers: one\n"
              "    keys:\n"
              "    - {file: a.pem, algorithm: EdDSA}\n"
              "    - file: b.jwk\n"
              "roles:\n"
              "  device: {publish: ['>'], subscribe: ['{user_id}.#'], replay: retained}\n"
              "  guest:\n"
              "    subscribe: news.>\n"
              "history:\n"
              "- {subject: chat.>, limit: 200, age: 24h, bytes: 16M}\n"
              "realms:\n"
              "- name: lab\n"
              "  history: [{subject: '#'}]\n"
              "client: {slow: drop_oldest, replay: history}\n"
              "listeners:\n"
              "- name: a\n"
              "  unix: run/a.sock\n"
              "  protocols: [mqtt, redis]\n"
              "  realm: lab\n"
              "  client: {replay: none, output: 1M}\n"
              "- name: b\n"
              "  address: [0.0.0.0, '::']\n"
              "  port: 4222\n"
              "  protocols: nats\n"
              "  tls: on\n"
              "  anonymous: false\n");
    CHECK_STR(diag.text, "");
    REQUIRE(config);
    CHECK_STR(config->name, "edge");
    CHECK_STR(config->data, "/etc/parley/state");
    CHECK_EQ(config->threads, 3);
    CHECK_EQ(config->log.level, 0);
    CHECK_STR(config->tls.certificate, "/etc/parley/cert.pem");
    CHECK_STR(config->tls.key, "/keys/key.pem");
    CHECK_STR(config->auth.users, "/etc/parley/users");
    CHECK_EQ(config->auth.revoked.count, 2);
    CHECK_EQ(config->auth.jwt.keys.count, 2);
    CHECK_STR(config->auth.jwt.keys.items[0].file, "/etc/parley/a.pem");
    CHECK_STR(config->auth.jwt.keys.items[0].algorithm, "EdDSA");
    CHECK_STR(config->auth.jwt.issuers.items[0], "one");
    CHECK_EQ(config->roles.count, 2);
    CHECK_STR(config->roles.items[0].name, "device");
    CHECK_STR(config->roles.items[0].subscribe.items[0], "{user_id}.#");
    CHECK_EQ(config->roles.items[0].replay, PL_REPLAY_RETAINED + 1);
    CHECK_EQ(config->roles.items[1].replay, PL_CONFIG_REPLAY_LISTENER);
    CHECK_STR(config->roles.items[1].subscribe.items[0], "news.>");
    CHECK_EQ(config->history.count, 1);
    CHECK_EQ(config->history.items[0].age_ms, 86400000);
    CHECK_EQ(config->realms.count, 1);
    CHECK_EQ(config->realms.items[0].history.count, 1);
    CHECK_EQ(config->client.slow, PL_SLOW_DROP_OLDEST + 1);
    const struct pl_config_listener *a = &config->listeners.items[0];
    const struct pl_config_listener *b = &config->listeners.items[1];
    CHECK_STR(a->unix, "/etc/parley/run/a.sock");
    CHECK_EQ(a->client.replay, PL_REPLAY_NONE);
    CHECK_EQ(a->client.output, 1 << 20);
    CHECK_EQ(a->client.slow, PL_SLOW_DROP_OLDEST + 1); /* as in `client` */
    CHECK_EQ(b->client.replay, PL_REPLAY_HISTORY);
    CHECK_EQ(b->tls, PL_TLS_ON);
    CHECK_STR(pl_config_anonymous_role(config, a), "guest");
    CHECK(pl_config_anonymous_role(config, b) == NULL);
    CHECK(!a->is_default && !b->is_default);
    pl_config_free(config);
}

TEST(json_is_yaml)
{
    struct pl_config *config = parse("{\"limits\": {\"payload\": \"2K\"}, \"listeners\": [\n"
                                     "{\"name\": \"m\", \"port\": 0, \"protocols\": [\"mqtt\"],\n"
                                     "\"websocket\": true, \"tls\": \"on\"}]}");
    REQUIRE(config);
    CHECK_EQ(config->limits.payload, 2048);
    CHECK_EQ(config->listeners.items[0].tls, PL_TLS_ON);
    CHECK(config->listeners.items[0].websocket);
    pl_config_free(config);
}

TEST(a_section_whose_keys_are_comments_is_the_default)
{
    struct pl_config *config = parse("limits:\n  # payload: 1K\nlog:\n");
    REQUIRE(config);
    CHECK_EQ(config->limits.payload, 1 << 20);
    pl_config_free(config);
}

TEST(errors_name_file_line_key_and_what_was_expected)
{
    refuses("limits:\n  payload: big\n",
        "/etc/parley/parley.yaml:2: limits.payload: expected a size such as 4096, 64K, 1M, "
        "found big");
    refuses("limits:\n  payload:\n",
        "/etc/parley/parley.yaml:2: limits.payload: expected a size such as 4096, 64K, 1M, "
        "found nothing");
    refuses("calls:\n  timeout: 30\n",
        "/etc/parley/parley.yaml:2: calls.timeout: expected a time such as 500ms, 30s, 5m, 24h, "
        "7d, or never, found 30");
    refuses("threads: 65\n", "/etc/parley/parley.yaml:1: threads: expected 0 to 64, found 65");
    refuses("threads: -1\n", "/etc/parley/parley.yaml:1: threads: expected a number, found -1");
    refuses("log: {level: loud}\n",
        "/etc/parley/parley.yaml:1: log.level: expected debug, info, warn or error, found loud");
    refuses("log: debug\n", "/etc/parley/parley.yaml:1: log: expected a map of keys");
    refuses("listeners: {}\n", "/etc/parley/parley.yaml:1: listeners: expected a list of maps");
    refuses("name: [a]\n", "/etc/parley/parley.yaml:1: name: expected a text, found a list");
    refuses("- 1\n", "/etc/parley/parley.yaml:1: configuration: expected a map of keys");
    refuses("listeners:\n- name: x\n  port: 1\n",
        "/etc/parley/parley.yaml:2: listeners[0].protocols: expected at least one of mqtt, "
        "nats, redis, wamp, mles");
    refuses(
        "listeners:\n- # name: x\n", "/etc/parley/parley.yaml:2: listeners[0].name: must be given");
    refuses("limits: {queued: 18446744073709551616G}\n",
        "/etc/parley/parley.yaml:1: limits.queued: expected a size such as 4096, 64K, 1M, found "
        "18446744073709551616G");
}

TEST(unknown_keys_are_refused)
{
    refuses("drain:\n  spread: 1s\n  speed: 2\n",
        "/etc/parley/parley.yaml:3: drain.speed: unknown key; expected one of spread, timeout");
    struct pl_config *config = parse("\n\nlimitz: {}\n");
    CHECK(config == NULL);
    CHECK(strstr(diag.text, "/etc/parley/parley.yaml:3: limitz: unknown key; expected one of"));
}

TEST(a_key_that_stands_twice_is_refused)
{
    refuses("name: a\nthreads: 1\nname: b\n",
        "/etc/parley/parley.yaml:3: name: given twice, first in line 1");
    refuses("limits:\n  payload: 1K\n  payload: 2K\n",
        "/etc/parley/parley.yaml:3: payload: given twice, first in line 2");
}

TEST(what_is_no_yaml_or_too_clever_is_refused)
{
    struct pl_config *config = parse("a: [1\nb: 2\n");
    CHECK(config == NULL);
    CHECK(strstr(diag.text, "/etc/parley/parley.yaml:2: not YAML: "));
    refuses("name: &a x\n", "/etc/parley/parley.yaml:1: anchors and tags are not supported");
    refuses("name: !!str x\n", "/etc/parley/parley.yaml:1: anchors and tags are not supported");
    refuses("name: a\n---\nname: b\n", "/etc/parley/parley.yaml:2: a second document");
    refuses("? [a]\n: b\n", "/etc/parley/parley.yaml:1: a key must be a word");
    refuses("name: \"a\\0b\"\n", "/etc/parley/parley.yaml:1: a zero byte in a value");
    char deep[64];
    memset(deep, '[', 40);
    memset(deep + 40, '\0', 1);
    config = parse(deep);
    CHECK(config == NULL);
    CHECK_STR(diag.text, "/etc/parley/parley.yaml:1: nested deeper than 16 levels");
}

TEST(keys_must_make_sense_together)
{
    refuses("listeners:\n- {name: a, web: true}\n",
        "/etc/parley/parley.yaml:2: listeners[0].web: say what is served there, web.root or "
        "web.proxies");
    refuses("listeners:\n- {name: a, redirect: true}\n",
        "/etc/parley/parley.yaml:2: listeners[0].redirect: name the domains, web.domains");
    refuses("web: {root: www}\n",
        "/etc/parley/parley.yaml:1: web.domains: name those that have a folder in web.root");
    refuses("web: {domains: [../x]}\n",
        "/etc/parley/parley.yaml:1: web.domains: expected a name such as example.org, found ../x");
    refuses("web: {proxies: {api: 'https://x'}}\n",
        "/etc/parley/parley.yaml:1: web.proxies: expected prefix: http://host:port, found api: "
        "https://x");
    refuses("web: {root: w, domains: a}\nlisteners:\n- {name: a, web: true, redirect: true}\n",
        "/etc/parley/parley.yaml:3: listeners[0].redirect: a listener has either web or redirect");
    refuses("web: {root: w, domains: a}\nlisteners:\n- {name: a, web: true, protocols: nats}\n",
        "/etc/parley/parley.yaml:3: listeners[0].protocols: nats speaks first: it needs a listener "
        "of its own, or websocket: true");
    refuses("listeners:\n- {name: a, port: 1, protocols: smtp}\n",
        "/etc/parley/parley.yaml:2: listeners[0].protocols: unknown protocol smtp; expected mqtt, "
        "nats, redis, wamp, mles");
    refuses("listeners:\n- {name: a, port: 1, protocols: [mqtt, nats]}\n",
        "/etc/parley/parley.yaml:2: listeners[0].protocols: nats speaks first: it needs a listener "
        "of its own, or websocket: true");
    refuses("listeners:\n- name: a\n  protocols: mqtt\n- name: a\n  protocols: mqtt\n",
        "/etc/parley/parley.yaml:4: listeners[1].name: a is given twice");
    refuses("listeners:\n- {name: a, protocols: mqtt, port: 1, unix: x}\n",
        "/etc/parley/parley.yaml:2: listeners[0].port: a listener has either unix, or address and "
        "port");
    refuses("listeners:\n- {name: a, protocols: mqtt, address: example.org}\n",
        "/etc/parley/parley.yaml:2: listeners[0].address: expected an IP address or localhost, "
        "found example.org");
    refuses("listeners:\n- {name: a, protocols: wamp, authmethods: [ticket, tickets]}\n",
        "/etc/parley/parley.yaml:2: listeners[0].authmethods: expected anonymous, ticket, wampcra, "
        "scram, wamp-scram, cryptosign, tls or cookie, found tickets");
    refuses("listeners:\n- {name: a, protocols: wamp, client_ca: ca.pem}\n",
        "/etc/parley/parley.yaml:2: listeners[0].client_ca: there are certificates with TLS alone");
    refuses("listeners:\n- {name: a, protocols: wamp, tls: on, client_required: true}\n",
        "/etc/parley/parley.yaml:2: listeners[0].client_required: name those who vouch for "
        "clients, client_ca");
    refuses("listeners:\n- {name: a, protocols: wamp, cookie: \"a b\"}\n",
        "/etc/parley/parley.yaml:2: listeners[0].cookie: expected letters, digits, - and _");
    refuses("tls: {certificate: a.pem}\n",
        "/etc/parley/parley.yaml:1: tls.certificate: certificate and key go together");
    refuses(
        "drain: {spread: 1m}\n", "/etc/parley/parley.yaml:1: drain.timeout: is less than spread");
    refuses("limits: {payload: 4M}\n",
        "/etc/parley/parley.yaml:1: limits.payload: is more than client.packet");
    refuses("history: [{subject: a.>.b}]\n",
        "/etc/parley/parley.yaml:1: history[0].subject: expected a pattern such as chat.>, found "
        "a.>.b");
    refuses("mles: {role: chat}\n", "/etc/parley/parley.yaml:1: mles.role: is of members who have "
                                    "shown the key; there is no mles.key");
    refuses("mles: {role: chat, key: k}\n",
        "/etc/parley/parley.yaml:1: mles.role: there is no role chat");
    refuses("mles: {peers: [\"http://a\"]}\n",
        "/etc/parley/parley.yaml:1: mles.peers: expected wss://host:port, found http://a");
    refuses("mles: {peers: [\"wss://me:secret@a\"]}\n",
        "/etc/parley/parley.yaml:1: mles.peers: expected wss://host:port, found one with a user");
    refuses("mles: {peers: [\"wss://[::1]:1\", \"wss://a:1\"], peer_insecure: yes}\n",
        "/etc/parley/parley.yaml:1: mles.peer_insecure: wss://a:1 is not loopback");
    refuses("mles: {peer_name: a b}\n",
        "/etc/parley/parley.yaml:1: mles.peer_name: expected letters, digits and . - _");
    refuses("mles: {peer_retry_max: 1s}\n",
        "/etc/parley/parley.yaml:1: mles.peer_retry_max: is less than peer_retry");
    refuses("realms: [{name: main}]\n",
        "/etc/parley/parley.yaml:1: realms[0].name: main is always there; its rules are those of "
        "`history`");
    refuses("listeners:\n- {name: a, protocols: mqtt, realm: lab}\n",
        "/etc/parley/parley.yaml:2: listeners[0].realm: there is no realm lab");
}

TEST(without_logins_only_loopback_is_listened_on)
{
    refuses("listeners:\n- name: a\n  protocols: mqtt\n  address: 0.0.0.0\n",
        "/etc/parley/parley.yaml:4: listeners[0].address: 0.0.0.0 is not loopback: configure "
        "auth.users or auth.jwt.keys, or give anonymous: true");
    static const char *const fine[] = {
        "listeners: [{name: a, protocols: mqtt, address: 127.1.2.3}]",
        "listeners: [{name: a, protocols: mqtt, address: localhost}]",
        "listeners: [{name: a, protocols: mqtt, address: '::1'}]",
        "listeners: [{name: a, protocols: mqtt, address: 0.0.0.0, anonymous: true}]",
        "listeners: [{name: a, protocols: mqtt, address: 0.0.0.0}]\nauth: {users: u}",
        "listeners: [{name: a, protocols: mqtt, unix: a.sock}]",
    };
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        struct pl_config *config = parse(fine[i]);
        CHECK_STR(diag.text, "");
        pl_config_free(config);
    }
}

TEST(anonymous_is_a_role_where_users_are_configured)
{
    static const char text[] = "auth: {users: u}\n"
                               "roles: {guest: {subscribe: '>'}}\n"
                               "listeners:\n"
                               "- {name: a, protocols: mqtt}\n"
                               "- {name: b, protocols: mqtt, anonymous_role: guest}\n";
    struct pl_config *config = parse(text);
    CHECK_STR(diag.text, "");
    REQUIRE(config);
    CHECK(pl_config_anonymous_role(config, &config->listeners.items[0]) == NULL);
    CHECK_STR(pl_config_anonymous_role(config, &config->listeners.items[1]), "guest");
    pl_config_free(config);
    refuses("auth: {users: u}\nlisteners:\n- {name: a, protocols: mqtt, anonymous: true}\n",
        "/etc/parley/parley.yaml:3: listeners[0].anonymous: users are configured: name the role of "
        "the others, auth.anonymous or anonymous_role");
    refuses("auth: {users: u, anonymous: nobody}\n",
        "/etc/parley/parley.yaml:1: auth.anonymous: there is no role nobody");
}

TEST(variables_win_over_the_file_and_set_wins_over_both)
{
    static const char *const environment[] = {"PARLEY_LIMITS_PAYLOAD=2K", "HOME=/root",
        "PARLEY_CLIENT_LOGIN_TIMEOUT=7s", "PARLEY_AUTH_JWT_DEFAULT_ROLE=all",
        "PARLEY_LOG_LEVEL=debug", "PARLEY_URL=nats://x", "PARLEY_ADMIN_HOSTS=a, b",
        "PARLEY_DATA=here", NULL};
    static const char *const sets[] = {"log.level=error", "client.output=1M",
        "listeners.mqtt.port=1884", "roles.device.publish=a.>",
        "listeners.shared.client.slow=disconnect"};
    struct pl_config *config = parse_with(
        "limits: {payload: 1K, subject: 512}\nlog: {level: warn}\n", environment, sets, 5);
    CHECK_STR(diag.text, "");
    REQUIRE(config);
    CHECK_EQ(config->limits.payload, 2048);
    CHECK_EQ(config->limits.subject, 512);
    CHECK_EQ(config->client.login_timeout_ms, 7000);
    CHECK_STR(config->auth.jwt.default_role, "all");
    CHECK_EQ(config->log.level, 3);
    CHECK_EQ(config->admin.hosts.count, 2);
    CHECK_STR(config->data, "here"); /* where the program was started */
    CHECK_EQ(config->listeners.count, 4);
    CHECK_EQ(config->listeners.items[1].port, 1884);
    CHECK(!config->listeners.items[1].is_default);
    CHECK(config->listeners.items[2].is_default);
    CHECK_EQ(config->listeners.items[2].client.output, 1 << 20);
    CHECK_EQ(config->listeners.items[0].client.slow, PL_SLOW_DISCONNECT + 1);
    CHECK_STR(config->roles.items[0].publish.items[0], "a.>");
    pl_config_free(config);
}

TEST(a_list_can_be_given_as_a_whole)
{
    static const char *const environment[] = {
        "PARLEY_LISTENERS=[{name: m, port: 7, protocols: mqtt}]", NULL};
    struct pl_config *config = parse_with("", environment, NULL, 0);
    REQUIRE(config);
    CHECK_EQ(config->listeners.count, 1);
    CHECK_EQ(config->listeners.items[0].port, 7);
    CHECK(!config->listeners.items[0].is_default);
    pl_config_free(config);
}

TEST(the_variable_of_the_original_sets_the_key_of_mles_even_to_nothing)
{
    static const char *const key[] = {"MLES_KEY=k3y with = and spaces", NULL};
    static const char *const empty[] = {"MLES_KEY=", NULL};
    struct pl_bytes shown;
    struct pl_config *config = parse_with("mles: {key: other}\n", key, NULL, 0);
    REQUIRE(config);
    CHECK(pl_config_mles_key(config, &shown));
    CHECK(pl_bytes_equal(shown, PL_BYTES("k3y with = and spaces")));
    pl_config_free(config);
    config = parse_with("", empty, NULL, 0);
    REQUIRE(config);
    CHECK(pl_config_mles_key(config, &shown) && shown.len == 0);
    pl_config_free(config);
    config = parse_with("", NULL, NULL, 0);
    REQUIRE(config);
    CHECK(!pl_config_mles_key(config, &shown));
    CHECK_EQ(config->mles.limit, 200);
    CHECK_EQ(config->mles.age_ms, 30ull * 24 * 3600 * 1000);
    pl_config_free(config);
}

TEST(errors_of_variables_and_set_name_where_they_stand)
{
    static const struct {
        const char *set, *expected;
    } cases[] = {
        {"limits.payload=x",
            "--set: limits.payload: expected a size such as 4096, 64K, 1M, found x"},
        {"limits.nothing=1", "--set: limits.nothing: no such key"},
        {"listeners.nobody.port=1", "--set: listeners.nobody.port: no such key"},
        {"log=debug", "--set:1: log: expected a map of keys"},
        {"limits.payload.x=1", "--set: limits.payload.x: no such key"},
        {"limits", "--set: limits: expected key=value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const sets[] = {cases[i].set};
        struct pl_config *config = parse_with("", NULL, sets, 1);
        CHECK(config == NULL);
        CHECK_STR(diag.text, cases[i].expected);
    }
    static const char *const bad[] = {"PARLEY_THREADS=many", NULL};
    CHECK(parse_with("", bad, NULL, 0) == NULL);
    CHECK_STR(diag.text, "PARLEY_THREADS: threads: expected a number, found many");
    static const char *const strange[] = {"PARLEY_TREADS=1", "PARLEY_PORT_8080_TCP=x", NULL};
    struct pl_config_sources sources = {.environment = strange};
    struct pl_config *config = NULL;
    CHECK_EQ(pl_config_parse(&sources, "f", PL_NO_BYTES, &config, &diag), PL_OK);
    REQUIRE(config);
    CHECK_EQ(config->unknown_variables.count, 1);
    CHECK_STR(config->unknown_variables.items[0], "PARLEY_TREADS");
    pl_config_free(config);
}

TEST(a_file_that_is_not_there_is_told_by_name)
{
    struct pl_config_sources sources = {.file = "/nowhere/parley.yaml"};
    struct pl_config *config = NULL;
    CHECK_EQ(pl_config_load(&sources, &config, &diag), PL_IO);
    CHECK_STR(diag.text, "/nowhere/parley.yaml: No such file or directory");
}

TEST(no_failing_allocation_harms)
{
    static const char text[] = "limits: {payload: 2K}\nroles: {a: {publish: [a, b]}}\n"
                               "history: [{subject: a.>}]\n";
    static const char *const sets[] = {"listeners.mqtt.port=1884"};
    for (long i = 0;; i++) {
        struct pl_config_sources sources = {.sets = sets, .set_count = 1};
        struct pl_config *config = NULL;
        pl_alloc_fail(i, 1);
        enum pl_err err = pl_config_parse(&sources, "f", pl_bytes_text(text), &config, &diag);
        pl_alloc_fail(-1, 0);
        pl_config_free(config);
        if (err == PL_OK) {
            CHECK(i > 0);
            break;
        }
        CHECK_EQ(err, PL_NO_MEMORY);
        if (!CHECK(i < 1000))
            break;
    }
}

TEST(certificates_are_ordered_for_names_that_an_authority_may_be_asked_for)
{
    struct pl_config *config =
        parse("acme: {domains: [example.org, www.example.org], challenge: http-01,\n"
              "  certificates: [{domains: chat-1.example.net}]}\n"
              "tls: {certificates: [{certificate: a.pem, key: /b.pem}]}\n");
    REQUIRE(config);
    CHECK_EQ(config->acme.domains.count, 2);
    CHECK_STR(config->acme.domains.items[1], "www.example.org");
    CHECK_EQ(config->acme.challenge, PL_CONFIG_HTTP);
    CHECK_STR(config->acme.certificates.items[0].domains.items[0], "chat-1.example.net");
    CHECK_STR(config->tls.certificates.items[0].certificate, "/etc/parley/a.pem");
    pl_config_free(config);
    static const char *const bad[] = {"EXAMPLE.org", "a..org", ".org", "org.", "-a.org", "a-.org",
        "a_b.org", "192.0.2.1", "\"[::1]\"", "\"*.example.org\"", "localhost:80", "a b",
        "x12345678901234567890123456789012345678901234567890123456789012345.org"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[160];
        snprintf(text, sizeof text, "acme: {domains: [%s]}", bad[i]);
        CHECK(parse(text) == NULL);
        CHECK(strstr(diag.text, ":1: acme.domains: ") != NULL);
    }
    refuses("acme: {domains: [a.org, a.org]}",
        "/etc/parley/parley.yaml:1: acme.domains: a.org is given twice");
    refuses("acme: {directory: \"http://a.org/\"}",
        "/etc/parley/parley.yaml:1: acme.directory: expected an https:// address");
    refuses("acme: {domains: a.org, agree: false}",
        "/etc/parley/parley.yaml:1: acme.agree: no certificate is issued to who does not agree");
    refuses("acme: {domains: a.org}\nlisteners: [{name: a, protocols: mqtt}]",
        "/etc/parley/parley.yaml:1: acme.domains: there is no listener with TLS to show the "
        "certificate");
    refuses("acme: {binding_id: a}",
        "/etc/parley/parley.yaml:1: acme.binding_id: binding_id and binding_key go together");
    refuses("acme: {email: nobody}",
        "/etc/parley/parley.yaml:1: acme.email: expected an address, found nobody");
    refuses("acme:\n  certificates:\n    - {domains: []}",
        "/etc/parley/parley.yaml:3: acme.certificates[0].domains: expected at least one name");
}
