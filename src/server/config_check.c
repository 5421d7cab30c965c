/*
 * What one key alone cannot tell: do they make sense together?
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwks.h"
#include "core/pattern.h"
#include "peers/peers.h"
#include "server/config_table.h"
#include "server/registry.h"

enum { DOMAINS_MAX = 100 }; /* of one certificate: what Let's Encrypt takes */

bool pl_config_has_auth(const struct pl_config *config)
{
    bool has_auth =
        config->auth.users[0] || config->auth.jwt.keys.count || config->wamp.authenticator[0];
    for (uint32_t i = 0; i < config->realms.count; i++)
        has_auth |= config->realms.items[i].authenticator[0] != 0;
    return has_auth;
}

bool pl_config_mles_key(const struct pl_config *config, struct pl_bytes *out)
{
    *out = pl_bytes_text(config->mles.key);
    return config->mles.has_key;
}

const char *pl_config_anonymous_role(
    const struct pl_config *config, const struct pl_config_listener *listener)
{
    const char *role = listener->anonymous_role[0] ? listener->anonymous_role
                       : config->auth.anonymous[0] ? config->auth.anonymous
                                                   : NULL;
    bool has_auth = pl_config_has_auth(config);
    switch ((enum pl_config_allow)listener->anonymous) {
    case PL_ALLOW_AUTO:
        return role || has_auth ? role : "all";
    case PL_ALLOW_YES:
        return role ? role : "all";
    case PL_ALLOW_NO:
        break;
    }
    return NULL;
}

bool pl_config_is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(address, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static bool is_address(const char *address)
{
    uint8_t any[16];
    return strcmp(address, "localhost") == 0 || inet_pton(AF_INET, address, any) == 1 ||
           inet_pton(AF_INET6, address, any) == 1;
}

struct checker {
    const struct pl_config *config;
    struct pl_diag *diag;
    const struct pl_node *item; /* what is being looked at */
    char where[120];
};

/* The line of a key of the item, else of the item. */
PL_PRINTF(3, 4)
static enum pl_err refuse(struct checker *c, const char *key, const char *format, ...)
{
    char text[150], name[180];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const struct pl_node *node =
        c->item && c->item->kind == PL_NODE_MAP ? pl_node_find(c->item, key) : NULL;
    snprintf(name, sizeof name, "%s%s%s", c->where, c->where[0] ? "." : "", key);
    return pl_config_refuse(c->diag, node ? node : c->item, name, "%s", text);
}

static enum pl_err check_addresses(struct checker *c, const struct pl_text_list *addresses)
{
    if (addresses->count == 0)
        return refuse(c, "address", "expected at least one address");
    for (uint32_t i = 0; i < addresses->count; i++) {
        if (!is_address(addresses->items[i]))
            return refuse(c, "address", "expected an IP address or localhost, found %.60s",
                addresses->items[i]);
    }
    return PL_OK;
}

static enum pl_err check_protocols(struct checker *c, const struct pl_config_listener *l)
{
    if (l->protocols.count == 0 && !l->web && !l->redirect)
        return refuse(c, "protocols", "expected at least one of %s", pl_registry_names());
    for (uint32_t i = 0; i < l->protocols.count; i++) {
        if (!pl_registry_find(l->protocols.items[i]))
            return refuse(c, "protocols", "unknown protocol %.40s; expected %s",
                l->protocols.items[i], pl_registry_names());
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(l->protocols.items[i], l->protocols.items[j]) == 0)
                return refuse(c, "protocols", "%.40s is given twice", l->protocols.items[i]);
        }
    }
    bool is_shared = l->protocols.count > 1 || pl_config_has_http(l);
    if (is_shared && !l->websocket) {
        for (uint32_t i = 0; i < l->protocols.count; i++) {
            if (!pl_registry_find(l->protocols.items[i])->sniff)
                return refuse(c, "protocols",
                    "%.40s speaks first: it needs a listener of its own, or websocket: true",
                    l->protocols.items[i]);
        }
    }
    for (uint32_t i = 0; i < l->websocket_paths.count; i++) {
        const struct pl_text_pair *pair = &l->websocket_paths.items[i];
        if (pair->key[0] != '/' || !pl_registry_find(pair->value))
            return refuse(c, "websocket_paths", "expected /path: protocol, found %.40s: %.40s",
                pair->key, pair->value);
    }
    return PL_OK;
}

static enum pl_err check_pages(struct checker *c, const struct pl_config_listener *l)
{
    const struct pl_config_web *web = &c->config->web;
    if (l->web && l->redirect)
        return refuse(c, "redirect", "a listener has either web or redirect");
    if (l->web && !web->root[0] && !web->proxies.count)
        return refuse(c, "web", "say what is served there, web.root or web.proxies");
    if (l->redirect && !web->domains.count)
        return refuse(c, "redirect", "name the domains, web.domains");
    if (l->redirect && l->tls != PL_TLS_OFF)
        return refuse(c, "redirect", "it is for plain HTTP: tls must be off");
    return PL_OK;
}

static bool is_mode(const char *text)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);
    return text[0] >= '0' && text[0] <= '7' && *end == '\0' && mode <= 0777;
}

static enum pl_err check_client(struct checker *c, const struct pl_config_client *client)
{
    if (client->packet_before_login > client->packet)
        return refuse(c, "client", "packet_before_login is more than packet");
    return PL_OK;
}

static bool has_role(const struct pl_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->roles.count; i++) {
        if (strcmp(config->roles.items[i].name, name) == 0)
            return true;
    }
    return strcmp(name, "all") == 0;
}

static bool has_realm(const struct pl_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->realms.count; i++) {
        if (strcmp(config->realms.items[i].name, name) == 0)
            return true;
    }
    return strcmp(name, "main") == 0;
}

/* DESIGN section 5, Listening. */
static enum pl_err check_reach(struct checker *c, const struct pl_config_listener *l)
{
    /* Pages are for everyone. */
    bool has_logins = l->protocols.count != 0;
    for (uint32_t i = 0; has_logins && !l->unix[0] && i < l->address.count; i++) {
        if (pl_config_is_loopback(l->address.items[i]) || pl_config_has_auth(c->config) ||
            l->anonymous == PL_ALLOW_YES)
            continue;
        return refuse(c, "address",
            "%.60s is not loopback: configure auth.users or auth.jwt.keys, or give "
            "anonymous: true",
            l->address.items[i]);
    }
    const char *role = pl_config_anonymous_role(c->config, l);
    if (role && !has_role(c->config, role))
        return refuse(c, l->anonymous_role[0] ? "anonymous_role" : "anonymous",
            "there is no role %.60s", role);
    if (role && pl_config_has_auth(c->config) && !l->anonymous_role[0] &&
        !c->config->auth.anonymous[0])
        return refuse(c, "anonymous",
            "users are configured: name the role of the others, auth.anonymous or "
            "anonymous_role");
    return PL_OK;
}

static enum pl_err check_methods(struct checker *c, const struct pl_config_listener *l)
{
    static const char *const known[] = {
        "anonymous", "ticket", "wampcra", "scram", "wamp-scram", "cryptosign", "tls", "cookie"};
    for (uint32_t i = 0; i < l->authmethods.count; i++) {
        bool is_known = false;
        for (size_t j = 0; j < sizeof known / sizeof *known; j++)
            is_known |= strcmp(known[j], l->authmethods.items[i]) == 0;
        if (!is_known)
            return refuse(c, "authmethods",
                "expected anonymous, ticket, wampcra, scram, wamp-scram, cryptosign, tls or "
                "cookie, "
                "found %.60s",
                l->authmethods.items[i]);
    }
    return PL_OK;
}

static bool is_cookie_name(const char *name)
{
    return !name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")];
}

static enum pl_err check_listener(struct checker *c, const struct pl_config_listener *l)
{
    enum pl_err err = check_protocols(c, l);
    if (!err)
        err = check_pages(c, l);
    if (!err && l->unix[0] && c->item && pl_node_find(c->item, "port"))
        err = refuse(c, "port", "a listener has either unix, or address and port");
    if (!err && !l->unix[0])
        err = check_addresses(c, &l->address);
    if (!err && !is_mode(l->unix_mode))
        err = refuse(c, "unix_mode", "expected three octal digits such as 0660");
    if (!err && !l->certificate[0] != !l->key[0])
        err = refuse(c, l->key[0] ? "key" : "certificate", "certificate and key go together");
    if (!err)
        err = check_methods(c, l);
    if (!err && !is_cookie_name(l->cookie))
        err = refuse(c, "cookie", "expected letters, digits, - and _");
    if (!err && l->client_ca[0] && l->tls == PL_TLS_OFF)
        err = refuse(c, "client_ca", "there are certificates with TLS alone");
    if (!err && l->client_required && !l->client_ca[0])
        err = refuse(c, "client_required", "name those who vouch for clients, client_ca");
    if (!err && !has_realm(c->config, l->realm))
        err = refuse(c, "realm", "there is no realm %.64s", l->realm);
    if (!err)
        err = check_reach(c, l);
    return err ? err : check_client(c, &l->client);
}

static const struct pl_node *entry(const struct pl_node *map, const char *key)
{
    return map && map->kind == PL_NODE_MAP ? pl_node_find(map, key) : NULL;
}

static enum pl_err check_listeners(struct checker *c, const struct pl_node *root)
{
    const struct pl_node *list = entry(root, "listeners");
    c->item = list ? list->first : NULL;
    for (uint32_t i = 0; i < c->config->listeners.count; i++) {
        const struct pl_config_listener *l = &c->config->listeners.items[i];
        snprintf(c->where, sizeof c->where, "listeners[%u]", i);
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(c->config->listeners.items[j].name, l->name) == 0)
                return refuse(c, "name", "%.64s is given twice", l->name);
        }
        if (strcmp(l->name, "admin") == 0)
            return refuse(c, "name", "admin is the name of the admin listener");
        enum pl_err err = check_listener(c, l);
        if (err)
            return err;
        c->item = c->item ? c->item->next : NULL;
    }
    return PL_OK;
}

static enum pl_err check_rules(struct checker *c, const struct pl_config_history *rules,
    uint32_t count, const struct pl_node *list, const char *where)
{
    c->item = list ? list->first : NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct pl_pattern *pattern;
        snprintf(c->where, sizeof c->where, "%s[%u]", where, i);
        enum pl_err err = pl_pattern_parse(pl_bytes_text(rules[i].subject), &pattern);
        if (err == PL_NO_MEMORY)
            return err;
        if (err)
            return refuse(
                c, "subject", "expected a pattern such as chat.>, found %.60s", rules[i].subject);
        pl_pattern_unref(pattern);
        c->item = c->item ? c->item->next : NULL;
    }
    return PL_OK;
}

static enum pl_err check_realms(struct checker *c, const struct pl_node *root)
{
    const struct pl_config *config = c->config;
    enum pl_err err = check_rules(
        c, config->history.items, config->history.count, entry(root, "history"), "history");
    const struct pl_node *list = entry(root, "realms");
    const struct pl_node *item = list ? list->first : NULL;
    for (uint32_t i = 0; i < config->realms.count && !err; i++) {
        const struct pl_config_realm *realm = &config->realms.items[i];
        c->item = item;
        snprintf(c->where, sizeof c->where, "realms[%u]", i);
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(config->realms.items[j].name, realm->name) == 0)
                return refuse(c, "name", "%.64s is given twice", realm->name);
        }
        if (strcmp(realm->name, "main") == 0)
            return refuse(c, "name", "main is always there; its rules are those of `history`");
        char where[40];
        snprintf(where, sizeof where, "realms[%u].history", i);
        err = check_rules(
            c, realm->history.items, realm->history.count, entry(item, "history"), where);
        item = item ? item->next : NULL;
    }
    return err;
}

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

/* A name of folders and of hosts. */
static bool is_domain(const char *name)
{
    size_t len = strlen(name);
    return len && name[0] != '.' && name[0] != '-' && name[len - 1] != '.' && !strstr(name, "..") &&
           !name[strspn(name, letters)];
}

static enum pl_err check_web(struct checker *c, const struct pl_config_web *web)
{
    if (web->root[0] && !web->domains.count)
        return refuse(c, "domains", "name those that have a folder in web.root");
    for (uint32_t i = 0; i < web->domains.count; i++) {
        if (!is_domain(web->domains.items[i]))
            return refuse(c, "domains", "expected a name such as example.org, found %.60s",
                web->domains.items[i]);
    }
    for (uint32_t i = 0; i < web->proxies.count; i++) {
        const struct pl_text_pair *pair = &web->proxies.items[i];
        const char *host = strncmp(pair->value, "http://", 7) == 0 ? pair->value + 7 : "";
        if (!pair->key[strspn(pair->key, "/")] || !host[0] || strpbrk(host, "?#@ ") ||
            host[0] == '/' || strstr(pair->key, ".."))
            return refuse(c, "proxies", "expected prefix: http://host:port, found %.40s: %.60s",
                pair->key, pair->value);
    }
    return PL_OK;
}

/* A name of the DNS that an authority may be asked for: letters, digits and hyphens. */
static bool is_dns_name(const char *name)
{
    size_t label = 0;
    for (const char *c = name; *c; c++) {
        if (*c == '.' && (label == 0 || c[-1] == '-'))
            return false;
        bool is_inner = *c == '-' && label > 0;
        bool is_plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        if (*c != '.' && !is_inner && !is_plain)
            return false;
        label = *c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0 && name[strlen(name) - 1] != '-' && !is_address(name);
}

static enum pl_err check_mles(struct checker *c, const struct pl_config_mles *mles)
{
    char host[PL_PEER_HOST_MAX];
    if (mles->role[0] && !mles->has_key)
        return refuse(c, "role", "is of members who have shown the key; there is no mles.key");
    if (mles->role[0] && !has_role(c->config, mles->role))
        return refuse(c, "role", "there is no role %.60s", mles->role);
    if (mles->peers.count > PL_PEERS_MAX)
        return refuse(c, "peers", "expected at most %d", PL_PEERS_MAX);
    for (uint32_t i = 0; i < mles->peers.count; i++) {
        if (strchr(mles->peers.items[i], '@'))
            return refuse(c, "peers", "expected wss://host:port, found one with a user");
        if (!pl_peers_read_host(mles->peers.items[i], host))
            return refuse(
                c, "peers", "expected wss://host:port, found %.60s", mles->peers.items[i]);
        if (mles->peer_insecure && !pl_config_is_loopback(host))
            return refuse(c, "peer_insecure", "%.60s is not loopback", mles->peers.items[i]);
    }
    if (mles->peer_name[strspn(mles->peer_name, letters)])
        return refuse(c, "peer_name", "expected letters, digits and . - _");
    if (mles->peer_retry_max_ms < mles->peer_retry_ms)
        return refuse(c, "peer_retry_max", "is less than peer_retry");
    return PL_OK;
}

static enum pl_err check_domains(
    struct checker *c, const struct pl_text_list *domains, uint32_t most)
{
    if (domains->count > most)
        return refuse(c, "domains", "expected at most %u of one certificate", most);
    for (uint32_t i = 0; i < domains->count; i++) {
        const char *name = domains->items[i];
        if (name[0] == '*')
            return refuse(c, "domains",
                "%.60s: names with * need a challenge by DNS, which is not there", name);
        if (!is_dns_name(name))
            return refuse(c, "domains",
                "expected a name such as chat.example.org, in lower case, found %.60s", name);
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(domains->items[j], name) == 0)
                return refuse(c, "domains", "%.60s is given twice", name);
        }
    }
    return PL_OK;
}

static bool is_printable(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            return false;
    }
    return true;
}

static enum pl_err check_acme(struct checker *c, const struct pl_node *root)
{
    const struct pl_config_acme *acme = &c->config->acme;
    c->item = entry(root, "acme") ? entry(root, "acme") : root;
    snprintf(c->where, sizeof c->where, "acme");
    enum pl_err err = check_domains(c, &acme->domains, DOMAINS_MAX);
    if (!err && strncmp(acme->directory, "https://", 8) != 0)
        err = refuse(c, "directory", "expected an https:// address");
    if (!err && !acme->agree && (acme->domains.count || acme->certificates.count))
        err = refuse(c, "agree", "no certificate is issued to who does not agree");
    bool has_tls = false;
    for (uint32_t i = 0; i < c->config->listeners.count; i++)
        has_tls |= c->config->listeners.items[i].tls != PL_TLS_OFF;
    if (!err && !has_tls && (acme->domains.count || acme->certificates.count))
        err = refuse(c, "domains", "there is no listener with TLS to show the certificate");
    if (!err && !acme->binding_id[0] != !acme->binding_key[0])
        err = refuse(c, acme->binding_key[0] ? "binding_key" : "binding_id",
            "binding_id and binding_key go together");
    if (!err && !is_printable(acme->binding_id))
        err = refuse(c, "binding_id", "expected printable ASCII without quotes");
    if (!err && acme->backoff_max_ms < acme->backoff_ms)
        err = refuse(c, "backoff_max", "is less than backoff");
    for (uint32_t i = 0; i < acme->email.count && !err; i++) {
        const char *at = strchr(acme->email.items[i], '@');
        if (!at || at == acme->email.items[i] || !at[1] || strpbrk(acme->email.items[i], " ,?:"))
            err = refuse(c, "email", "expected an address, found %.60s", acme->email.items[i]);
    }
    const struct pl_node *list = entry(c->item, "certificates");
    c->item = list ? list->first : NULL;
    for (uint32_t i = 0; i < acme->certificates.count && !err; i++) {
        snprintf(c->where, sizeof c->where, "acme.certificates[%u]", i);
        err = check_domains(c, &acme->certificates.items[i].domains, DOMAINS_MAX);
        if (!err && !acme->certificates.items[i].domains.count)
            err = refuse(c, "domains", "expected at least one name");
        c->item = c->item ? c->item->next : NULL;
    }
    return err;
}

/* Each of auth.jwt.keys comes from one place. */
static enum pl_err check_keys(struct checker *c, const struct pl_node *root)
{
    const struct pl_node *list = entry(entry(entry(root, "auth"), "jwt"), "keys");
    c->item = list ? list->first : NULL;
    for (uint32_t i = 0; i < c->config->auth.jwt.keys.count; i++) {
        const struct pl_config_jwt_key *key = &c->config->auth.jwt.keys.items[i];
        snprintf(c->where, sizeof c->where, "auth.jwt.keys[%u]", i);
        bool has_file = key->file[0], has_env = key->env[0], has_url = key->url[0];
        if (has_file + has_env + has_url != 1)
            return refuse(c,
                has_url   ? "url"
                : has_env ? "env"
                          : "file",
                "expected one of file, env and url");
        if (has_url && !pl_jwks_url_is_fine(key->url))
            return refuse(c, "url", "expected https://…, or http:// on a loopback address");
        if (has_url && (key->kid[0] || key->algorithm[0]))
            return refuse(
                c, key->kid[0] ? "kid" : "algorithm", "in a key set, each key names its own");
        if (key->ca[0] && !has_url)
            return refuse(c, "ca", "is for a url");
        c->item = c->item ? c->item->next : NULL;
    }
    return PL_OK;
}

/* Keys of one section that need each other; item: the section's node. */
static enum pl_err check_section(struct checker *c, const struct pl_node *root, const char *name)
{
    c->item = entry(root, name) ? entry(root, name) : root;
    snprintf(c->where, sizeof c->where, "%s", name);
    const struct pl_config *config = c->config;
    if (strcmp(name, "tls") == 0 && !config->tls.certificate[0] != !config->tls.key[0])
        return refuse(
            c, config->tls.key[0] ? "key" : "certificate", "certificate and key go together");
    if (strcmp(name, "drain") == 0 && config->drain.timeout_ms < config->drain.spread_ms)
        return refuse(c, "timeout", "is less than spread");
    if (strcmp(name, "limits") == 0 && config->limits.payload > config->client.packet)
        return refuse(c, "payload", "is more than client.packet");
    if (strcmp(name, "auth") == 0 && config->auth.anonymous[0] &&
        !has_role(config, config->auth.anonymous))
        return refuse(c, "anonymous", "there is no role %.60s", config->auth.anonymous);
    if (strcmp(name, "web") == 0)
        return check_web(c, &config->web);
    if (strcmp(name, "mles") == 0)
        return check_mles(c, &config->mles);
    if (strcmp(name, "admin") == 0 && config->admin.enabled)
        return check_addresses(c, &config->admin.address);
    return PL_OK;
}

enum pl_err pl_config_check(
    struct pl_config *config, const struct pl_node *root, struct pl_diag *diag)
{
    static const char *const sections[] = {
        "tls", "drain", "limits", "auth", "web", "mles", "admin"};
    struct checker c = {.config = config, .diag = diag, .item = root};
    enum pl_err err = check_client(&c, &config->client);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0] && !err; i++)
        err = check_section(&c, root, sections[i]);
    if (!err)
        err = check_acme(&c, root);
    if (!err)
        err = check_keys(&c, root);
    if (!err)
        err = check_listeners(&c, root);
    return err ? err : check_realms(&c, root);
}
