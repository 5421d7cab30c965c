/*
 * Where the server listens. Everything is opened before anyone is served, so a port that is in use
 * stops the start with nothing half done.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "codec/http.h"
#include "server/state.h"

enum { FREE_PORT_TRIES = 16 };

/* ---- TLS ---- */

/* l: whose own it is; NULL: of all others. */
static enum pl_err load_tls(struct pl_server *server, struct pl_tls_server *tls,
    const struct pl_config_listener *l, struct pl_diag *diag)
{
    static const struct pl_config_listener all_others = {.certificate = "", .client_ca = ""};
    if (!l)
        l = &all_others;
    const char *ca = l->client_ca;
    bool has_own = l->certificate[0];
    const struct pl_tls_options options = {
        .cert_file = has_own ? l->certificate : NULL,
        .key_file = has_own ? l->key : NULL,
        .store = server->certificates,
        .ca_file = ca[0] ? ca : NULL,
        .client_cert = !ca[0]               ? PL_TLS_NO_CERT
                       : l->client_required ? PL_TLS_REQUIRE_CERT
                                            : PL_TLS_REQUEST_CERT,
    };
    return pl_tls_server_load(tls, &options, diag);
}

/* By name: after a reload the file may list them in another order. */
static const struct pl_config_listener *find_listener(
    const struct pl_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->listeners.count; i++) {
        if (strcmp(config->listeners.items[i].name, name) == 0)
            return &config->listeners.items[i];
    }
    return NULL;
}

enum pl_err pl_ports_load_tls(
    struct pl_server *server, const struct pl_config *config, struct pl_diag *diag)
{
    enum pl_err err = pl_certificates_load(server, config, diag);
    if (server->tls && !err)
        err = load_tls(server, server->tls, NULL, diag);
    for (uint32_t i = 0; i < server->port_count && !err; i++) {
        const struct pl_config_listener *l = find_listener(config, server->ports[i].config->name);
        if (l && server->own_tls[i])
            err = load_tls(server, server->own_tls[i], l, diag);
    }
    return err;
}

static enum pl_err make_tls(struct pl_server *server)
{
    server->own_tls = pl_zalloc((server->port_count + 1) * sizeof(struct pl_tls_server *));
    if (!server->own_tls)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < server->port_count; i++) {
        struct pl_port *port = &server->ports[i];
        bool has_own = port->config->certificate[0] || port->config->client_ca[0];
        struct pl_tls_server **tls = has_own ? &server->own_tls[i] : &server->tls;
        if (port->config->tls == PL_TLS_OFF)
            continue;
        if (!*tls && !(*tls = pl_tls_server_new()))
            return PL_NO_MEMORY;
        port->tls = *tls;
    }
    return PL_OK;
}

/* ---- What a protocol is told of the place it is spoken at ---- */

static uint32_t up_to_u32(uint64_t n)
{
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void fill_links(struct pl_place *place)
{
    const struct pl_server *server = place->server;
    const struct pl_port *port = place->port;
    const struct pl_config_listener *l = port->config;
    bool is_shared = pl_config_has_http(l) || port->protocols[1];
    for (size_t i = 0; port->protocols[i]; i++) {
        place->links[i] = (struct pl_link_config){
            .listener = l->name,
            .server_id = server->server_id,
            .server_name = server->config->name,
            .version = PARLEY_VERSION,
            .host = pl_listener_host(place->listener),
            .port = pl_listener_port(place->listener),
            .has_tls = l->tls != PL_TLS_OFF,
            .requires_tls = l->tls == PL_TLS_ON || l->tls == PL_TLS_DIRECT,
            .requires_login = pl_auth_is_required(server->auth, l->name),
            .is_shared = is_shared,
            .replay = l->client.replay,
            .slow = (uint8_t)(l->client.slow ? l->client.slow - 1 : 0),
            .has_slow = l->client.slow != PL_CONFIG_SLOW_PROTOCOL,
            .packet_max = up_to_u32(l->client.packet),
            .packet_max_login = up_to_u32(l->client.packet_before_login),
            .line_max = up_to_u32(l->client.line),
            .login_ms = l->client.login_timeout_ms,
            .ping_interval_ms = l->client.ping_interval_ms,
            .ping_max = l->client.ping_max,
            .options = pl_registry_options(port->protocols[i], &server->options),
        };
    }
}

/* ---- Opening ---- */

static enum pl_err open_listener(struct pl_server *server, struct pl_place *place,
    const struct pl_listener_options *what, struct pl_diag *diag)
{
    struct pl_reactor *reactors[PL_WORKERS_MAX];
    for (uint32_t i = 0; i < server->shard_count; i++)
        reactors[i] = server->shards[i].reactor;
    struct pl_listener_options options = *what;
    options.reactors = reactors;
    options.reactor_count = server->shard_count;
    options.ops = &pl_connection_ops;
    options.context = place;
    if (place->port) {
        const struct pl_config_client *client = &place->port->config->client;
        options.gate = server->gate;
        options.has_address_rate = place->port->config->web || place->port->config->redirect;
        options.tls = place->port->tls;
        options.output_max = client->output;
        options.keepalive_s = (int)((place->port->config->tcp_keepalive_ms + 999) / 1000);
        /* Until the protocol is known a request's head may stand there. */
        options.input_max = client->packet_before_login;
        if (pl_config_has_http(place->port->config) && options.input_max < PL_HTTP_HEAD_MAX)
            options.input_max = PL_HTTP_HEAD_MAX;
    } else {
        options.output_max = 64u << 20;
        options.input_max = PL_HTTP_HEAD_MAX;
    }
    return pl_listener_open(&options, &place->listener, diag);
}

static void close_places(struct pl_place *places, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (places[i].listener)
            places[i].listener = pl_listener_free(places[i].listener);
    }
}

/* "localhost" is both loopback addresses. */
static uint32_t expand(const struct pl_text_list *addresses, const char *out[PL_ADDRESSES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < addresses->count && count + 2 <= PL_ADDRESSES_MAX; i++) {
        bool is_localhost = strcmp(addresses->items[i], "localhost") == 0;
        out[count++] = is_localhost ? "127.0.0.1" : addresses->items[i];
        if (is_localhost)
            out[count++] = "::1";
    }
    return count;
}

/* Every address with one port number; 0: one that is free on all of them. ::1 may be missing where
 * the machine has no IPv6. */
static enum pl_err open_all(struct pl_server *server, const struct pl_port *port, uint16_t number,
    const char *const *addresses, uint32_t count, struct pl_place *places, uint32_t *out_count,
    struct pl_diag *diag)
{
    uint32_t opened = 0;
    uint16_t chosen = number;
    for (uint32_t i = 0; i < count; i++) {
        struct pl_place *place = &places[opened];
        *place = (struct pl_place){.server = server, .port = (struct pl_port *)(uintptr_t)port};
        const struct pl_listener_options what = {.host = addresses[i], .port = chosen};
        enum pl_err err = open_listener(server, place, &what, diag);
        bool may_miss = i > 0 && strcmp(addresses[i], "::1") == 0 && err == PL_IO;
        if (err && !may_miss) {
            close_places(places, opened);
            return err;
        }
        if (!err) {
            chosen = pl_listener_port(place->listener);
            opened++;
        }
    }
    *out_count = opened;
    return PL_OK;
}

static enum pl_err open_addresses(struct pl_server *server, const struct pl_port *port,
    uint16_t number, const struct pl_text_list *addresses, struct pl_place **out,
    uint32_t *out_count, struct pl_diag *diag)
{
    const char *expanded[PL_ADDRESSES_MAX];
    uint32_t count = expand(addresses, expanded);
    struct pl_place *places = pl_zalloc((count + 1) * sizeof *places);
    if (!places)
        return PL_NO_MEMORY;
    enum pl_err err = PL_EXISTS;
    for (int i = 0; err == PL_EXISTS && i < (number ? 1 : FREE_PORT_TRIES); i++)
        err = open_all(server, port, number, expanded, count, places, out_count, diag);
    if (err) {
        pl_free(places);
        return err;
    }
    *out = places;
    return PL_OK;
}

/* A Unix socket, or none at all. */
static enum pl_err open_single(struct pl_server *server, struct pl_port *port, struct pl_diag *diag)
{
    struct pl_place *place = pl_zalloc(sizeof *place);
    if (!place)
        return PL_NO_MEMORY;
    *place = (struct pl_place){.server = server, .port = port};
    const struct pl_listener_options what = {
        .is_local = port->is_local,
        .unix_path = port->config->unix,
        .unix_mode = (unsigned)strtoul(port->config->unix_mode, NULL, 8),
    };
    enum pl_err err = open_listener(server, place, &what, diag);
    if (err) {
        pl_free(place);
        return err;
    }
    port->places = place;
    port->place_count = 1;
    return PL_OK;
}

/* A line that names the listener. */
static enum pl_err explain(
    enum pl_err err, const char *name, const struct pl_diag *cause, struct pl_diag *diag)
{
    pl_diag_set(diag, cause->code, "listener %s: %s", name,
        cause->text[0] ? cause->text : pl_err_text(err));
    return err;
}

static enum pl_err open_port(struct pl_server *server, struct pl_port *port, struct pl_diag *diag)
{
    struct pl_diag cause = {{0}, 0};
    const struct pl_config_listener *l = port->config;
    enum pl_err err = l->unix[0] || port->is_local
                          ? open_single(server, port, &cause)
                          : open_addresses(server, port, l->port, &l->address, &port->places,
                                &port->place_count, &cause);
    if (err == PL_EXISTS && l->is_default) {
        port->is_skipped = true;
        return PL_OK;
    }
    if (err)
        return explain(err, l->name, &cause, diag);
    for (uint32_t i = 0; i < port->place_count; i++)
        fill_links(&port->places[i]);
    return PL_OK;
}

static enum pl_err open_admin(struct pl_server *server, struct pl_diag *diag)
{
    struct pl_diag cause = {{0}, 0};
    const struct pl_config_admin *admin = &server->config->admin;
    if (!admin->enabled)
        return PL_OK;
    enum pl_err err = open_addresses(
        server, NULL, admin->port, &admin->address, &server->admin, &server->admin_count, &cause);
    if (err == PL_EXISTS && admin->is_default) {
        server->admin_is_skipped = true;
        return PL_OK;
    }
    return err ? explain(err, "admin", &cause, diag) : PL_OK;
}

static struct pl_realm *find_realm(const struct pl_server *server, const char *name)
{
    for (uint32_t i = 0; i < server->realm_count; i++) {
        if (strcmp(pl_realm_name(server->realms[i]), name) == 0)
            return server->realms[i];
    }
    return server->realms[0];
}

static void prepare(struct pl_server *server, struct pl_port *port)
{
    size_t subprotocols = 0;
    for (uint32_t i = 0; i < port->config->protocols.count && i < PL_PROTOCOLS_MAX; i++) {
        const struct pl_protocol *p = pl_registry_find(port->config->protocols.items[i]);
        port->protocols[i] = p;
        for (const char *const *s = p->websocket; s && *s; s++) {
            if (subprotocols < PL_SUBPROTOCOLS_MAX)
                port->subprotocols[subprotocols++] = *s;
        }
    }
    port->server = server;
    port->realm = find_realm(server, port->config->realm);
}

/* No client could come in. */
static bool is_deaf(const struct pl_server *server)
{
    for (uint32_t i = 0; i < server->port_count; i++) {
        if (!server->ports[i].is_skipped)
            return false;
    }
    return server->port_count > 0;
}

enum pl_err pl_ports_open(struct pl_server *server, struct pl_diag *diag)
{
    const struct pl_config *config = server->config;
    server->ports = pl_zalloc((config->listeners.count + 2) * sizeof *server->ports);
    if (!server->ports)
        return PL_NO_MEMORY;
    server->port_count = config->listeners.count;
    for (uint32_t i = 0; i < server->port_count; i++)
        server->ports[i].config = &config->listeners.items[i];
    if (server->local) {
        server->local_port = &server->ports[server->port_count++];
        server->local_port->config = &server->local->listeners.items[0];
        server->local_port->is_local = true;
    }
    for (uint32_t i = 0; i < server->port_count; i++)
        prepare(server, &server->ports[i]);
    enum pl_err err = make_tls(server);
    if (!err)
        err = pl_ports_load_tls(server, config, diag);
    for (uint32_t i = 0; i < server->port_count && !err; i++)
        err = open_port(server, &server->ports[i], diag);
    if (!err && is_deaf(server)) {
        pl_diag_set(diag, 0, "every default port is in use; configure others");
        err = PL_EXISTS;
    }
    return err ? err : open_admin(server, diag);
}

static void start_places(struct pl_place *places, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pl_listener_start(places[i].listener);
}

void pl_ports_start(struct pl_server *server)
{
    for (uint32_t i = 0; i < server->port_count; i++)
        start_places(server->ports[i].places, server->ports[i].place_count);
    start_places(server->admin, server->admin_count);
}

/* The admin listener goes on: /healthz tells that the process is there, /readyz that it goes. */
void pl_ports_stop(struct pl_server *server)
{
    for (uint32_t i = 0; i < server->port_count; i++) {
        for (uint32_t j = 0; j < server->ports[i].place_count; j++)
            pl_listener_stop(server->ports[i].places[j].listener);
    }
}

struct pl_listener *pl_ports_local(const struct pl_server *server)
{
    return server->local_port ? server->local_port->places[0].listener : NULL;
}

uint16_t pl_ports_number(const struct pl_server *server, const char *name)
{
    for (uint32_t i = 0; i < server->port_count; i++)
        if (strcmp(server->ports[i].config->name, name) == 0 && server->ports[i].place_count)
            return pl_listener_port(server->ports[i].places[0].listener);
    return 0;
}

uint16_t pl_ports_https(const struct pl_server *server)
{
    if (server->config->web.https_port)
        return server->config->web.https_port;
    for (uint32_t i = 0; i < server->port_count; i++) {
        const struct pl_port *port = &server->ports[i];
        if (port->config->web && port->config->tls != PL_TLS_OFF && port->place_count)
            return pl_listener_port(port->places[0].listener);
    }
    return 0;
}

void pl_ports_free(struct pl_server *server)
{
    for (uint32_t i = 0; i < server->port_count; i++) {
        close_places(server->ports[i].places, server->ports[i].place_count);
        pl_free(server->ports[i].places);
        if (server->own_tls && server->own_tls[i])
            pl_tls_server_free(server->own_tls[i]);
    }
    close_places(server->admin, server->admin_count);
    pl_free(server->admin);
    pl_free(server->ports);
    pl_free(server->own_tls);
    if (server->tls)
        pl_tls_server_free(server->tls);
    server->admin = NULL;
    server->ports = NULL;
    server->own_tls = NULL;
    server->tls = NULL;
    server->port_count = server->admin_count = 0;
}

/* ---- The table ---- */

static const char *const tls_words[] = {"", "TLS", "TLS", "TLS or plain"};

static void print_place(
    FILE *out, const char *name, const struct pl_place *place, const char *what, const char *tls)
{
    char address[160];
    const char *host = pl_listener_host(place->listener);
    if (pl_listener_port(place->listener) == 0)
        snprintf(address, sizeof address, "%s", host);
    else
        snprintf(address, sizeof address, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
            pl_listener_port(place->listener));
    fprintf(out, "  %-10s %-24s %s%s%s\n", name, address, what, tls[0] ? ", " : "", tls);
}

static void describe(const struct pl_port *port, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; port->protocols[i] && len < cap; i++)
        len +=
            (size_t)snprintf(out + len, cap - len, "%s%s", i ? ", " : "", port->protocols[i]->name);
    const char *more = port->config->websocket  ? "websocket, http"
                       : port->config->redirect ? "http to https"
                       : port->config->web      ? "http"
                                                : NULL;
    if (more && len < cap)
        snprintf(out + len, cap - len, "%s%s", len ? ", " : "", more);
}

void pl_ports_print(const struct pl_server *server, FILE *out)
{
    for (uint32_t i = 0; i < server->port_count; i++) {
        const struct pl_port *port = &server->ports[i];
        if (port->is_skipped)
            fprintf(out, "warning: port %u is in use: no listener %s\n", port->config->port,
                port->config->name);
    }
    if (server->admin_is_skipped)
        fprintf(out, "warning: port %u is in use: no listener admin\n", server->config->admin.port);
    fprintf(out, "Parley " PARLEY_VERSION " listens on\n");
    for (uint32_t i = 0; i < server->port_count; i++) {
        const struct pl_port *port = &server->ports[i];
        char what[120];
        describe(port, what, sizeof what);
        for (uint32_t j = 0; j < port->place_count; j++)
            print_place(
                out, port->config->name, &port->places[j], what, tls_words[port->config->tls]);
    }
    for (uint32_t i = 0; i < server->admin_count; i++)
        print_place(out, "admin", &server->admin[i], "http: /metrics, /healthz, /readyz …", "");
    fflush(out);
}

static json_t *place_json(const char *name, const struct pl_place *place)
{
    json_t *protocols = json_array();
    const struct pl_port *port = place->port;
    for (size_t i = 0; port && port->protocols[i]; i++)
        json_array_append_new(protocols, json_string(port->protocols[i]->name));
    if (!port || pl_config_has_http(port->config))
        json_array_append_new(protocols, json_string("http"));
    json_t *item = json_pack("{s:s, s:o}", "name", name, "protocols", protocols);
    if (pl_listener_port(place->listener) == 0) {
        json_object_set_new(item, "unix", json_string(pl_listener_host(place->listener)));
    } else {
        json_object_set_new(item, "address", json_string(pl_listener_host(place->listener)));
        json_object_set_new(item, "port", json_integer(pl_listener_port(place->listener)));
    }
    bool has_tls = port && port->config->tls != PL_TLS_OFF;
    json_object_set_new(item, "tls",
        has_tls && port->config->tls == PL_TLS_OPTIONAL ? json_string("optional")
                                                        : json_boolean(has_tls));
    return item;
}

enum pl_err pl_ports_write(const struct pl_server *server, const char *path, struct pl_diag *diag)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < server->port_count; i++) {
        const struct pl_port *port = &server->ports[i];
        for (uint32_t j = 0; j < port->place_count; j++)
            json_array_append_new(list, place_json(port->config->name, &port->places[j]));
    }
    for (uint32_t i = 0; i < server->admin_count; i++)
        json_array_append_new(list, place_json("admin", &server->admin[i]));
    char fresh[4200];
    int len = snprintf(fresh, sizeof fresh, "%s.new", path);
    bool is_written = len > 0 && (size_t)len < sizeof fresh &&
                      json_dump_file(list, fresh, JSON_INDENT(2)) == 0 && rename(fresh, path) == 0;
    if (!is_written)
        pl_diag_set(diag, errno, "%s: %s", path, strerror(errno));
    json_decref(list);
    return is_written ? PL_OK : PL_IO;
}
