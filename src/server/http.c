/*
 * HTTP on shared ports and on the admin listener: WebSocket upgrades, and small answers.
 *
 *     shared   upgrades, /healthz, /readyz, pages (site.c)
 *     admin    /healthz, /readyz, /metrics, /connections, /subscriptions
 *
 * Browsers (DESIGN section 5): a right that comes by itself, such as anonymous' or simply reaching
 * a loopback address, needs an Origin that is absent, the same, loopback or listed, and on loopback
 * a Host that is loopback or listed. A WebSocket that fails this may still log in by its protocol;
 * every other request is refused.
 */
#include <fnmatch.h>

#include "base/alloc.h"
#include "base/log.h"
#include "net/upgrade.h"
#include "server/forward.h"
#include "server/longpoll.h"
#include "server/site.h"
#include "server/state.h"

static const char text_type[] = "text/plain; charset=utf-8";

static bool list_has(const struct pl_text_list *list, struct pl_bytes text)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (pl_bytes_equal_nocase(pl_bytes_text(list->items[i]), text))
            return true;
    }
    return false;
}

/* The same with * and ? in the list. */
static bool list_matches(const struct pl_text_list *list, struct pl_bytes text)
{
    char copy[512];
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    for (uint32_t i = 0; i < list->count; i++) {
        if (fnmatch(list->items[i], copy, FNM_CASEFOLD | FNM_NOESCAPE) == 0)
            return true;
    }
    return false;
}

static bool is_host_fine(const struct pl_place *place, const struct pl_http_request *request)
{
    if (!pl_listener_is_loopback(place->listener))
        return true;
    struct pl_bytes host = pl_http_header(request, "host");
    struct pl_http_authority authority;
    if (!host.data)
        return request->minor == 0; /* HTTP/1.0 need not tell; browsers do. */
    if (pl_http_parse_authority(host, &authority))
        return false;
    const struct pl_text_list *hosts =
        place->port ? &place->port->config->hosts : &place->server->config->admin.hosts;
    return pl_http_is_loopback(authority.host) || list_has(hosts, authority.host) ||
           pl_web_has_host(place, authority.host);
}

static bool is_origin_fine(const struct pl_place *place, const struct pl_http_request *request)
{
    static const struct pl_text_list nothing;
    const struct pl_text_list *origins = place->port ? &place->port->config->origins : &nothing;
    switch (pl_http_origin(request)) {
    case PL_HTTP_ORIGIN_ABSENT:
    case PL_HTTP_ORIGIN_SAME:
    case PL_HTTP_ORIGIN_LOOPBACK:
        return true;
    case PL_HTTP_ORIGIN_OTHER:
        break;
    }
    return list_matches(origins, pl_http_header(request, "origin"));
}

static int shown_len(struct pl_bytes text)
{
    return (int)(text.len < 100 ? text.len : 100);
}

static void refuse(
    struct pl_conn *conn, const struct pl_http_request *request, unsigned status, const char *why)
{
    struct pl_server *server = pl_conn_shard(conn)->server;
    if (pl_log_is_on(PL_LOG_DEBUG) || (status == 403 && pl_server_may_log(server))) {
        struct pl_bytes address = pl_conn_address(conn), path = request->path;
        struct pl_bytes origin = pl_http_header(request, "origin");
        struct pl_bytes host = pl_http_header(request, "host");
        pl_log(status == 403 ? PL_LOG_INFO : PL_LOG_DEBUG, "request_refused",
            "address=%.*s path=%.*s origin=%.*s host=%.*s status=%u why=\"%s\"", (int)address.len,
            address.data, shown_len(path), path.data, shown_len(origin), origin.data,
            shown_len(host), host.data, status, why);
    }
    char body[200];
    int len = snprintf(body, sizeof body, "%s: %s\n", pl_http_reason(status), why);
    pl_conn_answer(conn, &(struct pl_http_answer){.status = status,
                             .type = text_type,
                             .body = pl_bytes_of(body, (size_t)len),
                             .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD"))});
}

/* ---- WebSockets ---- */

static const struct pl_protocol *by_subprotocol(const struct pl_port *port, const char *name)
{
    for (const struct pl_protocol *const *p = port->protocols; *p; p++) {
        for (const char *const *s = (*p)->websocket; s && *s; s++) {
            if (strcmp(*s, name) == 0)
                return *p;
        }
    }
    return NULL;
}

static const struct pl_protocol *by_path(const struct pl_port *port, struct pl_bytes path)
{
    const struct pl_text_pairs *paths = &port->config->websocket_paths;
    for (uint32_t i = 0; i < paths->count; i++) {
        if (!pl_bytes_equal(pl_bytes_text(paths->items[i].key), path) &&
            strcmp(paths->items[i].key, "/*") != 0)
            continue;
        for (const struct pl_protocol *const *p = port->protocols; *p; p++) {
            if (strcmp((*p)->name, paths->items[i].value) == 0)
                return *p;
        }
    }
    return NULL;
}

enum { COOKIE_LINE_MAX = 256 };

/*
 * The cookie by which a WebSocket is known again: one that a login is remembered for stays, any
 * other is answered by a fresh one, so that nobody can choose another's. line is what tells the
 * client; empty: nothing.
 */
static void choose_cookie(const struct pl_conn *conn, const struct pl_place *place,
    const struct pl_http_request *request, char cookie[PL_COOKIE_LEN + 1],
    char line[COOKIE_LINE_MAX])
{
    const struct pl_server *server = place->server;
    const char *name = place->port->config->cookie;
    cookie[0] = line[0] = 0;
    if (!name[0])
        return;
    struct pl_bytes shown = pl_http_cookie(pl_http_header(request, "cookie"), name);
    if (shown.len == PL_COOKIE_LEN &&
        pl_auth_knows_cookie(server->auth, shown, pl_clock_unix_ms())) {
        memcpy(cookie, shown.data, PL_COOKIE_LEN);
        cookie[PL_COOKIE_LEN] = 0;
        return;
    }
    pl_auth_make_cookie(cookie);
    snprintf(line, COOKIE_LINE_MAX,
        "Set-Cookie: %s=%s; Path=/; Max-Age=%llu; HttpOnly; SameSite=Strict%s\r\n", name, cookie,
        (unsigned long long)(server->config->auth.cookie_lifetime_ms / 1000),
        pl_conn_is_tls(conn) ? "; Secure" : "");
}

static void serve_upgrade(struct pl_conn *conn, const struct pl_place *place,
    const struct pl_http_request *request, struct pl_bytes rest)
{
    const struct pl_port *port = place->port;
    bool is_ambient = is_host_fine(place, request) && is_origin_fine(place, request);
    struct pl_upgrade up = {0};
    if (pl_upgrade_check(request, rest, port->subprotocols, true, &up)) {
        pl_conn_answer_status(conn, up.status);
        return;
    }
    if (up.asked_subprotocol && !up.subprotocol) {
        refuse(conn, request, 400, "none of these subprotocols is spoken here");
        return;
    }
    const struct pl_protocol *protocol =
        up.subprotocol ? by_subprotocol(port, up.subprotocol) : by_path(port, request->path);
    if (!protocol) {
        refuse(conn, request, 404, "no protocol at this path; name a subprotocol");
        return;
    }
    if (!is_ambient && !pl_registry_has_login(protocol, place->server->config)) {
        refuse(conn, request, 403, "this Origin or Host may not use a server without logins");
        return;
    }
    up.has_deflate &= !protocol->never_deflates;
    struct pl_websocket_options options = {
        .is_stream = !protocol->takes_messages,
        .refuses_text = protocol->refuses_text,
        .message_max = port->config->client.packet_before_login > UINT32_MAX
                           ? UINT32_MAX
                           : (uint32_t)port->config->client.packet_before_login,
    };
    char cookie[PL_COOKIE_LEN + 1] = "", line[COOKIE_LINE_MAX] = "";
    if (is_ambient)
        choose_cookie(conn, place, request, cookie, line);
    up.more = pl_bytes_text(line);
    enum pl_err err = pl_upgrade_accept(conn, request, &up, options);
    if (!err)
        err = pl_connection_speak_websocket(conn, protocol, request, &up, cookie, is_ambient);
    if (err)
        pl_conn_close(conn, err, NULL);
}

/* ---- Small answers ---- */

static void answer_health(struct pl_conn *conn, const struct pl_http_request *request)
{
    pl_conn_answer(conn, &(struct pl_http_answer){.status = 200,
                             .type = text_type,
                             .body = PL_BYTES("ok\n"),
                             .keeps_alive = request->keeps_alive,
                             .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD"))});
}

static void answer_index(struct pl_conn *conn, const struct pl_http_request *request)
{
    pl_conn_answer(conn,
        &(struct pl_http_answer){.status = 200,
            .type = text_type,
            .body = PL_BYTES("Parley " PARLEY_VERSION "\n"
                             "/metrics        counters, for Prometheus\n"
                             "/healthz        is the process alive?\n"
                             "/readyz         does a message go through it?\n"
                             "/connections    who is here; ?limit=100&after=ID\n"
                             "/subscriptions  who wants what; ?limit=100&offset=0&subject=NAME\n"),
            .keeps_alive = request->keeps_alive,
            .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD"))});
}

static const struct {
    const char *path;
    bool on_shared; /* also where clients are */
    void (*answer)(struct pl_conn *conn, const struct pl_http_request *request);
} routes[] = {
    {"/healthz", true, answer_health},
    {"/readyz", true, pl_ready_ask},
    {"/metrics", false, pl_admin_metrics},
    {"/connections", false, pl_admin_connections},
    {"/subscriptions", false, pl_admin_subscriptions},
    {"/", false, answer_index},
};

typedef void answer_fn(struct pl_conn *conn, const struct pl_http_request *request);

static answer_fn *find_route(const struct pl_place *place, struct pl_bytes path)
{
    if (place->port && !place->port->config->websocket)
        return NULL;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (pl_bytes_equal(pl_bytes_text(routes[i].path), path) &&
            (!place->port || routes[i].on_shared))
            return routes[i].answer;
    }
    return NULL;
}

static void serve_small(
    struct pl_conn *conn, const struct pl_place *place, const struct pl_http_request *request)
{
    answer_fn *answer = find_route(place, request->path);
    if (!is_host_fine(place, request) || !is_origin_fine(place, request)) {
        refuse(conn, request, 403, "not for this Origin or Host");
        return;
    }
    if (!answer)
        refuse(conn, request, 404, "there is nothing at this path");
    else if (!pl_bytes_equal(request->method, PL_BYTES("GET")) &&
             !pl_bytes_equal(request->method, PL_BYTES("HEAD")))
        refuse(conn, request, 405, "GET and HEAD are answered");
    else
        answer(conn, request);
}

/* The same as serve_one, for a request with a body. */
static bool serve_longpoll(struct pl_conn *conn, struct pl_place *place,
    const struct pl_http_request *request, struct pl_bytes in, size_t *out_used)
{
    bool is_ambient = is_host_fine(place, request) && is_origin_fine(place, request);
    size_t rest = in.len - request->head_len;
    if (!is_ambient && !pl_config_has_auth(place->server->config)) {
        refuse(conn, request, 403, "this Origin or Host may not use a server without logins");
    } else if (request->is_chunked) {
        refuse(conn, request, 411, "a body has a length");
    } else if (request->content_length > place->port->config->client.packet_before_login / 2) {
        refuse(conn, request, 413, "the body is too long");
    } else if (rest < request->content_length) {
        *out_used = 0;
        return false;
    } else {
        *out_used = request->head_len + (size_t)request->content_length;
        pl_longpoll_serve(conn, place, request,
            pl_bytes_of(in.data + request->head_len, (size_t)request->content_length), is_ambient);
        /* Longer than a request is held. */
        pl_conn_set_timer(conn, pl_reactor_now_ms(pl_conn_reactor(conn)) +
                                    place->server->config->client.ping_interval_ms + 30000);
    }
    return false;
}

/* The same for one that another server answers. What it says to a foreign Origin is its own. */
static bool serve_proxied(struct pl_conn *conn, struct pl_place *place,
    const struct pl_proxy_target *target, const struct pl_http_request *request, struct pl_bytes in,
    size_t *out_used)
{
    size_t used = 0;
    enum pl_err err = PL_OK;
    if (!is_host_fine(place, request)) {
        refuse(conn, request, 403, "not for this Host");
        return false;
    }
    pl_forward_begin(conn, place->server->web, target, request);
    if (pl_connection_feed_answer(conn, pl_bytes_from(in, request->head_len), &used, &err))
        *out_used += used;
    return false;
}

/* One request. *out_used 0: it is not whole. True: another may follow. */
static bool serve_one(
    struct pl_conn *conn, struct pl_place *place, struct pl_bytes in, size_t *out_used)
{
    struct pl_http_request request;
    unsigned status = 400;
    enum pl_err err = pl_http_parse(in, &request, &status);
    *out_used = 0;
    if (err == PL_NEED_MORE)
        return false;
    if (err) {
        pl_count(&pl_conn_shard(conn)->worker->counters.malformed, 1);
        pl_conn_answer_status(conn, status);
        *out_used = in.len;
        return false;
    }
    *out_used = request.head_len;
    if (place->port && place->port->config->websocket && pl_upgrade_is_asked(&request)) {
        serve_upgrade(conn, place, &request, pl_bytes_from(in, request.head_len));
        return false;
    }
    if (place->port && pl_longpoll_is_asked(place, &request))
        return serve_longpoll(conn, place, &request, in, out_used);
    const struct pl_proxy_target *target = pl_web_target(place, &request);
    if (target)
        return serve_proxied(conn, place, target, &request, in, out_used);
    /* We answer nothing else that has a body: what follows the head is not read as a request. */
    if (request.content_length || request.is_chunked)
        request.keeps_alive = false;
    pl_conn_set_timer(conn,
        pl_reactor_now_ms(pl_conn_reactor(conn)) + place->server->config->client.ping_interval_ms);
    /* Whoever checks a name for a certificate comes from anywhere, by that name. */
    bool is_check = place->port && pl_certificates_answer(place->server, conn, &request);
    if (!is_check && (find_route(place, request.path) || !pl_web_serve(conn, place, &request)))
        serve_small(conn, place, &request);
    return pl_conn_is_open(conn) && !pl_connection_has_answer(conn);
}

enum pl_err pl_http_serve(
    struct pl_conn *conn, struct pl_place *place, struct pl_bytes in, size_t *out_used)
{
    size_t used = 0;
    bool more = true;
    *out_used = 0;
    while (more) {
        more = serve_one(conn, place, pl_bytes_from(in, *out_used), &used);
        *out_used += used;
        /* Who asks and does not read is not read from, until half of it is gone. */
        if (more && pl_conn_output(conn)->bytes > pl_conn_output(conn)->bytes_max) {
            pl_conn_pause(conn);
            more = false;
        }
    }
    return PL_OK;
}

/* ---- Answers that come later ---- */

struct pl_answer *pl_answer_begin(struct pl_conn *conn, const struct pl_http_request *request)
{
    struct pl_answer *answer = pl_zalloc(sizeof *answer);
    if (!answer) {
        pl_conn_answer_status(conn, 503);
        return NULL;
    }
    answer->conn = conn;
    answer->shard = pl_conn_shard(conn);
    answer->is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD"));
    answer->keeps_alive = request->keeps_alive;
    pl_connection_set_answer(conn, answer);
    pl_conn_pause(conn);
    return answer;
}

/* On the connection's shard. */
static void give_answer(struct pl_post *post, void *context)
{
    struct pl_answer *answer = PL_CONTAINER(post, struct pl_answer, post);
    struct pl_conn *conn = answer->conn;
    (void)context;
    if (conn) {
        pl_connection_set_answer(conn, NULL);
        pl_conn_answer(conn, &(struct pl_http_answer){.status = answer->status,
                                 .type = answer->type,
                                 .body = pl_bytes_of(answer->body, answer->len),
                                 .keeps_alive = answer->keeps_alive,
                                 .is_head = answer->is_head});
        if (answer->keeps_alive)
            pl_conn_resume(conn);
    }
    pl_free(answer->body);
    pl_free(answer);
}

void pl_answer_send(
    struct pl_answer *answer, unsigned status, const char *type, char *body_moved, size_t len)
{
    answer->status = status;
    answer->type = type;
    answer->body = body_moved;
    answer->len = len;
    answer->post.run = give_answer;
    pl_reactor_post(answer->shard->reactor, &answer->post);
}
