/*
 * nexusd's configuration as ours. Where it sets something per realm that we have once, it is on
 * when one of its realms has it, and a difference between them is told.
 *
 *     websocket.address …       listeners: websocket; rawsocket.tcp_address …: tcp, unix
 *     router.realms             realms, and the first one is the listeners'
 *     anonymous_auth            the role "anonymous", which may everything
 *     event_history             history of that realm; prefix is two rules
 */
#include "server/nexus.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "codec/value.h"
#include "server/yaml.h"

struct translation {
    const char *file;
    struct pl_diag *diag;
    struct pl_value_writer v;
    struct pl_node *websocket, *rawsocket, *router, *realms; /* NULL: not there */
    const struct pl_nexus_flags *flags;
};

static void warn(
    const struct translation *t, const struct pl_node *node, const char *where, const char *what)
{
    fprintf(stderr, "%s:%u: %s%s%s: %s\n", t->file, node->line, where, *where ? "." : "",
        node->key ? node->key : "", what);
}

static enum pl_err refuse(struct translation *t, const struct pl_node *node, const char *what)
{
    pl_diag_set(t->diag, 0, "%s:%u: %s: %s", t->file, node->line, node->key ? node->key : "", what);
    return PL_CONFIG;
}

/* ---- Reading ---- */

static const char *text_of(const struct pl_node *map, const char *key)
{
    const struct pl_node *node = map ? pl_node_find(map, key) : NULL;
    return node && node->kind == PL_NODE_SCALAR ? node->text : "";
}

static bool flag_of(const struct pl_node *map, const char *key)
{
    return strcmp(text_of(map, key), "true") == 0;
}

static uint64_t number_of(const struct pl_node *map, const char *key)
{
    return strtoull(text_of(map, key), NULL, 10);
}

enum { KNOWN, MEANS_NOTHING, MISSING };

struct key {
    const char *name;
    int meaning;
};

/* Tells which entries of a map are not taken over. */
static void check_keys(const struct translation *t, const struct pl_node *map, const char *where,
    const struct key *keys)
{
    for (const struct pl_node *entry = map ? map->first : NULL; entry; entry = entry->next) {
        const struct key *key = keys;
        while (key->name && strcmp(key->name, entry->key) != 0)
            key++;
        if (!key->name)
            warn(t, entry, where, "is no key of nexus");
        else if (key->meaning == MEANS_NOTHING)
            warn(t, entry, where, "has no meaning here");
        else if (key->meaning == MISSING)
            warn(t, entry, where, "is not supported, and left out");
    }
}

static const struct key root_keys[] = {{"websocket", KNOWN}, {"rawsocket", KNOWN},
    {"router", KNOWN}, {"log_path", MEANS_NOTHING}, {NULL, 0}};
static const struct key websocket_keys[] = {{"address", KNOWN}, {"cert_file", KNOWN},
    {"key_file", KNOWN}, {"keep_alive", KNOWN}, {"enable_compression", KNOWN},
    {"enable_tracking_cookie", KNOWN}, {"enable_request_capture", MEANS_NOTHING},
    {"allow_origins", KNOWN}, {"out_queue_size", MEANS_NOTHING}, {NULL, 0}};
static const struct key rawsocket_keys[] = {{"tcp_address", KNOWN},
    {"tcp_keepalive_interval", KNOWN}, {"unix_address", KNOWN}, {"max_msg_len", KNOWN},
    {"cert_file", KNOWN}, {"key_file", KNOWN}, {"out_queue_size", MEANS_NOTHING}, {NULL, 0}};
static const struct key router_keys[] = {{"realms", KNOWN}, {"realm_template", MISSING},
    {"debug", KNOWN}, {"mem_stats_log_sec", MEANS_NOTHING}, {NULL, 0}};
static const struct key realm_keys[] = {{"uri", KNOWN}, {"strict_uri", KNOWN},
    {"anonymous_auth", KNOWN}, {"allow_disclose", KNOWN}, {"require_local_auth", MEANS_NOTHING},
    {"require_local_authz", MEANS_NOTHING}, {"meta_strict", KNOWN},
    {"meta_include_session_details", KNOWN}, {"enable_meta_kill", KNOWN},
    {"enable_meta_modify", KNOWN}, {"event_history", KNOWN}, {NULL, 0}};

/* ---- Writing ---- */

static void put_text(struct translation *t, const char *key, const char *text)
{
    pl_put_key(&t->v, key);
    pl_put_text(&t->v, text);
}

static void put_flag(struct translation *t, const char *key, bool value)
{
    pl_put_key(&t->v, key);
    pl_put_bool(&t->v, value);
}

static void put_wamp_only(struct translation *t)
{
    pl_put_key(&t->v, "protocols");
    pl_put_list(&t->v);
    pl_put_text(&t->v, "wamp");
    pl_put_end(&t->v);
}

/* "host:port", ":port", "[::1]:port". */
static enum pl_err put_address(
    struct translation *t, const char *address, const struct pl_node *node)
{
    const char *colon = strrchr(address, ':');
    char host[256], port[8];
    size_t len = colon ? (size_t)(colon - address) : 0;
    size_t port_len = colon ? strlen(colon + 1) : 0;
    bool is_bracketed = len > 1 && address[0] == '[' && address[len - 1] == ']';
    if (!colon || len >= sizeof host || !port_len || port_len >= sizeof port)
        return refuse(t, node, "expected host:port");
    snprintf(host, sizeof host, "%.*s", (int)(is_bracketed ? len - 2 : len),
        is_bracketed ? address + 1 : address);
    snprintf(port, sizeof port, "%s", colon + 1);
    pl_put_key(&t->v, "address");
    pl_put_list(&t->v);
    pl_put_text(&t->v, *host ? host : "0.0.0.0");
    if (!*host)
        pl_put_text(&t->v, "::");
    pl_put_end(&t->v);
    put_text(t, "port", port);
    return PL_OK;
}

static const char *first_realm(const struct translation *t)
{
    const char *uri = t->realms && t->realms->first ? text_of(t->realms->first, "uri") : "";
    return t->flags->realm ? t->flags->realm : *uri ? uri : "realm1";
}

static bool any_realm(const struct translation *t, const char *key, bool without_file)
{
    if (!t->realms)
        return without_file;
    bool is_any = false, is_all = true;
    for (const struct pl_node *realm = t->realms->first; realm; realm = realm->next) {
        is_any |= flag_of(realm, key);
        is_all &= flag_of(realm, key);
    }
    if (is_any && !is_all)
        warn(t, t->realms, key, "is one for all realms here, and on");
    return is_any;
}

static void put_tls(struct translation *t, const struct pl_node *from)
{
    if (!*text_of(from, "cert_file"))
        return;
    put_text(t, "tls", "on");
    put_text(t, "certificate", text_of(from, "cert_file"));
    put_text(t, "key", text_of(from, "key_file"));
}

static void put_client(struct translation *t, const char *key, const char *value, const char *unit)
{
    char text[64];
    snprintf(text, sizeof text, "%.32s%s", value, unit);
    pl_put_key(&t->v, "client");
    pl_put_dict(&t->v);
    put_text(t, key, text);
    pl_put_end(&t->v);
}

static void begin_listener(struct translation *t, const char *name, bool may_be_anonymous)
{
    pl_put_dict(&t->v);
    put_text(t, "name", name);
    put_wamp_only(t);
    put_text(t, "realm", first_realm(t));
    put_flag(t, "anonymous", may_be_anonymous);
}

/* nexus compares host and port alone. */
static void put_origin(struct translation *t, const char *pattern)
{
    char text[512];
    bool is_whole = strstr(pattern, "://") || strcmp(pattern, "*") == 0;
    snprintf(text, sizeof text, "%s%s", is_whole ? "" : "*://", pattern);
    pl_put_text(&t->v, text);
}

static enum pl_err put_websocket(struct translation *t, const char *address, bool anonymous)
{
    const struct pl_node *from = t->websocket;
    const struct pl_node *origins = from ? pl_node_find(from, "allow_origins") : NULL;
    begin_listener(t, "websocket", anonymous);
    enum pl_err err = put_address(t, address, from ? from : &(struct pl_node){.key = "-ws"});
    put_flag(t, "websocket", true);
    put_tls(t, from);
    if (number_of(from, "keep_alive"))
        put_client(t, "ping_interval", text_of(from, "keep_alive"), "s");
    if (flag_of(from, "enable_tracking_cookie"))
        put_text(t, "cookie", "nexus-wamp-cookie");
    if (origins && origins->kind == PL_NODE_LIST && origins->first) {
        pl_put_key(&t->v, "origins");
        pl_put_list(&t->v);
        for (const struct pl_node *o = origins->first; o; o = o->next)
            put_origin(t, o->text);
        pl_put_end(&t->v);
    }
    pl_put_end(&t->v);
    return err;
}

/* Rounded up to a power of two, as nexus does; 0 is the most. */
static uint64_t message_max(const struct translation *t)
{
    uint64_t asked = number_of(t->rawsocket, "max_msg_len"), size = 512;
    while (size < asked && size < 1 << 24)
        size *= 2;
    return asked ? size : 1 << 24;
}

static enum pl_err put_rawsocket(
    struct translation *t, const char *tcp, const char *unix_path, bool anonymous)
{
    const struct pl_node *from = t->rawsocket;
    char interval[32];
    enum pl_err err = PL_OK;
    begin_listener(t, *tcp ? "tcp" : "unix", anonymous);
    if (*tcp) {
        err = put_address(t, tcp, from ? from : &(struct pl_node){.key = "-tcp"});
        put_tls(t, from);
        snprintf(interval, sizeof interval, "%llus",
            (unsigned long long)number_of(from, "tcp_keepalive_interval"));
        put_text(t, "tcp_keepalive", interval);
    } else {
        put_text(t, "unix", unix_path);
    }
    pl_put_end(&t->v);
    return err;
}

/* Packets of all listeners: our limit of payloads is one, and may not be above them. */
static void put_packet(struct translation *t)
{
    char size[32];
    snprintf(size, sizeof size, "%llu", (unsigned long long)message_max(t));
    if (message_max(t) < 65536)
        put_client(t, "packet", "65536", "");
    else
        put_client(t, "packet", size, "");
    pl_put_key(&t->v, "limits");
    pl_put_dict(&t->v);
    put_text(t, "payload", message_max(t) < 65536 ? "65536" : size);
    pl_put_end(&t->v);
}

static enum pl_err put_listeners(struct translation *t, bool anonymous)
{
    const struct pl_nexus_flags *flags = t->flags;
    bool given = flags->ws || flags->tcp || flags->unix;
    const char *ws = given ? (flags->ws ? flags->ws : "") : text_of(t->websocket, "address");
    const char *tcp = given ? (flags->tcp ? flags->tcp : "") : text_of(t->rawsocket, "tcp_address");
    const char *path =
        given ? (flags->unix ? flags->unix : "") : text_of(t->rawsocket, "unix_address");
    enum pl_err err = PL_OK;
    if (!*ws && !*tcp && !*path) {
        pl_diag_set(t->diag, 0, "%s: neither websocket.address nor rawsocket's are set", t->file);
        return PL_CONFIG;
    }
    pl_put_key(&t->v, "listeners");
    pl_put_list(&t->v);
    if (*ws)
        err = put_websocket(t, ws, anonymous);
    if (*tcp && !err)
        err = put_rawsocket(t, tcp, "", anonymous);
    if (*path && !err)
        err = put_rawsocket(t, "", path, anonymous);
    pl_put_end(&t->v);
    return err;
}

static void put_rule(struct translation *t, const char *subject, uint64_t limit)
{
    pl_put_dict(&t->v);
    put_text(t, "subject", subject);
    pl_put_key(&t->v, "limit");
    pl_put_natural(&t->v, limit);
    pl_put_end(&t->v);
}

static void put_history(struct translation *t, const struct pl_node *realm)
{
    const struct pl_node *history = pl_node_find(realm, "event_history");
    if (!history || history->kind != PL_NODE_LIST || !history->first)
        return;
    pl_put_key(&t->v, "history");
    pl_put_list(&t->v);
    for (const struct pl_node *rule = history->first; rule; rule = rule->next) {
        const char *topic = text_of(rule, "topic"), *match = text_of(rule, "match");
        uint64_t limit = number_of(rule, "limit");
        char subject[1024] = "";
        size_t len = 0;
        bool is_wildcard = strcmp(match, "wildcard") == 0;
        /* An empty component of a wildcard is ours "*". */
        for (const char *at = topic; *at && len < sizeof subject - 8; at++) {
            if (is_wildcard && *at == '.' && (at == topic || at[-1] == '.'))
                subject[len++] = '*';
            subject[len++] = *at;
        }
        if (is_wildcard && len && subject[len - 1] == '.')
            subject[len++] = '*';
        bool is_prefix = strcmp(match, "prefix") == 0;
        while (is_prefix && len && subject[len - 1] == '.')
            len--;
        subject[len] = '\0';
        put_rule(t, subject, limit);
        if (is_prefix) {
            memcpy(subject + len, ".>", sizeof ".>");
            put_rule(t, subject, limit);
            warn(t, rule, "event_history", "a prefix ends with a component here");
        }
    }
    pl_put_end(&t->v);
}

static void put_realms(struct translation *t)
{
    pl_put_key(&t->v, "realms");
    pl_put_list(&t->v);
    bool has_first = false;
    for (struct pl_node *realm = t->realms ? t->realms->first : NULL; realm; realm = realm->next) {
        has_first |= strcmp(text_of(realm, "uri"), first_realm(t)) == 0;
        check_keys(t, realm, "router.realms", realm_keys);
        if (strcmp(text_of(realm, "uri"), "main") == 0)
            continue;
        pl_put_dict(&t->v);
        put_text(t, "name", text_of(realm, "uri"));
        put_history(t, realm);
        pl_put_end(&t->v);
    }
    if (!has_first && strcmp(first_realm(t), "main") != 0) {
        pl_put_dict(&t->v);
        put_text(t, "name", first_realm(t));
        pl_put_end(&t->v);
    }
    pl_put_end(&t->v);
}

static void put_wamp(struct translation *t)
{
    pl_put_key(&t->v, "wamp");
    pl_put_dict(&t->v);
    put_flag(t, "strict_uri", any_realm(t, "strict_uri", false));
    put_flag(t, "disclose", any_realm(t, "allow_disclose", true));
    put_flag(t, "meta_kill", any_realm(t, "enable_meta_kill", false));
    put_flag(t, "meta_modify", any_realm(t, "enable_meta_modify", false));
    put_flag(t, "meta_strict", any_realm(t, "meta_strict", false));
    put_flag(t, "nexus_history", true);
    pl_put_key(&t->v, "meta_details");
    pl_put_list(&t->v);
    for (const struct pl_node *realm = t->realms ? t->realms->first : NULL; realm;
         realm = realm->next) {
        const struct pl_node *list = pl_node_find(realm, "meta_include_session_details");
        for (const struct pl_node *i = list ? list->first : NULL; i; i = i->next)
            pl_put_text(&t->v, i->text);
    }
    pl_put_end(&t->v);
    pl_put_end(&t->v);
}

/* Who comes without a login has nexus' role, and may everything. */
static void put_auth(struct translation *t, bool anonymous)
{
    static const char *const rights[] = {"publish", "subscribe"};
    if (!anonymous)
        return;
    pl_put_key(&t->v, "auth");
    pl_put_dict(&t->v);
    put_text(t, "anonymous", "anonymous");
    pl_put_end(&t->v);
    pl_put_key(&t->v, "roles");
    pl_put_dict(&t->v);
    pl_put_key(&t->v, "anonymous");
    pl_put_dict(&t->v);
    for (size_t i = 0; i < 2; i++) {
        pl_put_key(&t->v, rights[i]);
        pl_put_list(&t->v);
        pl_put_text(&t->v, ">");
        pl_put_end(&t->v);
    }
    pl_put_end(&t->v);
    pl_put_end(&t->v);
}

static enum pl_err put_all(struct translation *t)
{
    bool anonymous = any_realm(t, "anonymous_auth", true);
    pl_put_dict(&t->v);
    put_packet(t);
    if (flag_of(t->router, "debug")) {
        pl_put_key(&t->v, "log");
        pl_put_dict(&t->v);
        put_text(t, "level", "debug");
        pl_put_end(&t->v);
    }
    enum pl_err err = put_listeners(t, anonymous);
    put_realms(t);
    put_wamp(t);
    put_auth(t, anonymous);
    pl_put_end(&t->v);
    return err;
}

/* A section of the root; NULL: not there, or empty. */
static enum pl_err find_map(
    struct translation *t, const struct pl_node *map, const char *key, struct pl_node **out)
{
    *out = pl_node_find(map, key);
    if (*out && pl_node_is_empty(*out))
        *out = NULL;
    return *out && (*out)->kind != PL_NODE_MAP ? refuse(t, *out, "expected {…}") : PL_OK;
}

static enum pl_err read_root(struct translation *t, struct pl_node *root)
{
    if (pl_node_is_empty(root))
        root->kind = PL_NODE_MAP;
    if (root->kind != PL_NODE_MAP)
        return refuse(t, root, "expected {…}");
    enum pl_err err = find_map(t, root, "websocket", &t->websocket);
    if (!err)
        err = find_map(t, root, "rawsocket", &t->rawsocket);
    if (!err)
        err = find_map(t, root, "router", &t->router);
    if (err)
        return err;
    t->realms = t->router ? pl_node_find(t->router, "realms") : NULL;
    if (t->realms && t->realms->kind != PL_NODE_LIST)
        return refuse(t, t->realms, "expected […]");
    for (struct pl_node *realm = t->realms ? t->realms->first : NULL; realm; realm = realm->next) {
        if (realm->kind != PL_NODE_MAP || !*text_of(realm, "uri"))
            return refuse(t, realm, "a realm has a uri");
    }
    check_keys(t, root, "", root_keys);
    check_keys(t, t->websocket, "websocket", websocket_keys);
    check_keys(t, t->rawsocket, "rawsocket", rawsocket_keys);
    check_keys(t, t->router, "router", router_keys);
    return PL_OK;
}

enum pl_err pl_nexus_translate(const char *file, struct pl_bytes text,
    const struct pl_nexus_flags *flags, struct pl_shared **out, struct pl_diag *diag)
{
    struct pl_arena arena = {0};
    struct pl_writer w = pl_writer_new();
    struct translation t = {.file = file, .diag = diag, .flags = flags};
    struct pl_node *root;
    t.v = pl_value_writer(&w, PL_SERIAL_JSON);
    enum pl_err err = pl_yaml_parse(&arena, file, text, &root, diag);
    if (!err)
        err = read_root(&t, root);
    if (!err)
        err = put_all(&t);
    struct pl_shared *made = NULL;
    enum pl_err taken = pl_writer_take(&w, &made);
    pl_arena_done(&arena);
    if (!err && !taken)
        *out = made;
    else
        pl_shared_unref(made);
    return err ? err : taken;
}
