#include "server/site.h"

#include "base/alloc.h"
#include "codec/http.h"
#include "net/upgrade.h"
#include "server/forward.h"
#include "server/web_state.h"

/* A request for a file. */
struct file_errand {
    struct pl_errand x;
    struct pl_web *web;
    struct pl_arena arena;
    struct pl_web_ask ask;
};

static enum pl_err work(struct pl_errand *x)
{
    struct file_errand *f = PL_CONTAINER(x, struct file_errand, x);
    return pl_site_answer(f->web->site, &f->ask, &x->result);
}

static void done(struct pl_errand *x)
{
    struct file_errand *f = PL_CONTAINER(x, struct file_errand, x);
    pl_arena_done(&f->arena);
    pl_free(f);
}

static const struct pl_errand_ops file_ops = {.work = work, .done = done};

/* ---- Requests ---- */

static bool is_read(const struct pl_http_request *request)
{
    return pl_bytes_equal(request->method, PL_BYTES("GET")) ||
           pl_bytes_equal(request->method, PL_BYTES("HEAD"));
}

/* An answer of ours, without a thread. */
static void refuse(struct pl_conn *conn, struct pl_web *web, const struct pl_http_request *request,
    unsigned status)
{
    pl_web_tally_add(&web->tally, status / 100);
    char body[64];
    int len = snprintf(body, sizeof body, "%s\n", pl_http_reason(status));
    pl_conn_answer(conn, &(struct pl_http_answer){
                             .status = status,
                             .type = "text/plain; charset=utf-8",
                             .body = pl_bytes_of(body, (size_t)len),
                             .more = status == 405 ? PL_BYTES("Allow: GET, HEAD\r\n") : PL_NO_BYTES,
                             .keeps_alive = request->keeps_alive && request->minor &&
                                            !request->content_length && !request->is_chunked,
                             .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD")),
                         });
}

/* In the list's own spelling; NULL: it is not in it. */
static const char *find_name(const struct pl_text_list *names, struct pl_bytes host)
{
    if (host.len && host.data[host.len - 1] == '.')
        host.len--;
    for (uint32_t i = 0; i < names->count; i++) {
        if (pl_bytes_equal_nocase(host, pl_bytes_text(names->items[i])))
            return names->items[i];
    }
    return NULL;
}

/* The domain that the request names; where there is one alone, one of old need not name it. */
static const char *find_domain(const struct pl_web *web, const struct pl_http_request *request)
{
    const struct pl_config_web *config = &web->server->config->web;
    struct pl_http_authority authority;
    struct pl_bytes host = pl_http_header(request, "host");
    if (!host.len)
        return !request->minor && config->domains.count == 1 ? config->domains.items[0] : NULL;
    if (pl_http_parse_authority(host, &authority) != PL_OK)
        return NULL;
    return find_name(&config->domains, authority.host);
}

static void serve_file(struct pl_conn *conn, struct pl_web *web, const char *domain,
    const struct pl_http_request *request)
{
    bool keeps_alive = request->keeps_alive && !request->content_length && !request->is_chunked;
    struct file_errand *f = pl_zalloc(sizeof *f);
    if (!f) {
        pl_conn_answer_status(conn, 503);
        return;
    }
    f->web = web;
    pl_errand_begin(&f->x, conn, &web->files, &file_ops, NULL, keeps_alive);
    if (pl_web_ask_make(domain, request, web->server->config->web.hidden, &f->arena, &f->ask) !=
        PL_OK) {
        pl_conn_answer_status(conn, 503);
        pl_errand_cancel(&f->x);
        return;
    }
    f->ask.keeps_alive = keeps_alive;
    f->ask.is_tls = pl_conn_is_tls(conn);
    pl_errand_submit(&f->x);
}

/* To the same page by HTTPS. */
static void redirect(struct pl_conn *conn, struct pl_web *web, const char *domain,
    const struct pl_http_request *request)
{
    pl_web_tally_add(&web->tally, 3);
    char line[PL_HTTP_TARGET_MAX + 512], port[8] = "";
    uint16_t number = pl_ports_https(web->server);
    if (number != 443 && number)
        snprintf(port, sizeof port, ":%u", number);
    bool has_target = request->target.len && request->target.data[0] == '/';
    int len = snprintf(line, sizeof line, "Location: https://%s%s%.*s\r\n", domain, port,
        has_target ? (int)request->target.len : 1,
        has_target ? (const char *)request->target.data : "/");
    pl_conn_answer(conn, &(struct pl_http_answer){
                             .status = 301,
                             .type = "text/plain; charset=utf-8",
                             .body = PL_BYTES("Moved Permanently\n"),
                             .more = pl_bytes_of(line, (size_t)len),
                             .keeps_alive = request->keeps_alive && request->minor &&
                                            !request->content_length && !request->is_chunked,
                             .is_head = pl_bytes_equal(request->method, PL_BYTES("HEAD")),
                         });
}

bool pl_web_has_host(const struct pl_place *place, struct pl_bytes host)
{
    const struct pl_port *port = place->port;
    return port && (port->config->web || port->config->redirect) &&
           find_name(&place->server->config->web.domains, host);
}

void pl_web_counts(struct pl_web *web, struct pl_web_counts *out)
{
    for (size_t i = 0; i < sizeof out->answers / sizeof *out->answers; i++)
        out->answers[i] = atomic_load_explicit(&web->tally.answers[i], memory_order_relaxed);
    out->files_waiting = pl_line_waiting(&web->files);
    out->proxies_waiting = pl_line_waiting(&web->proxied);
    out->cache_bytes = web->site ? pl_site_cache_bytes(web->site) : 0;
}

const struct pl_proxy_target *pl_web_target(
    const struct pl_place *place, const struct pl_http_request *request)
{
    const struct pl_web *web = place->server->web;
    bool may_be = web && web->proxy && place->port && place->port->config->web;
    return may_be ? pl_proxy_find(web->proxy, request->path) : NULL;
}

bool pl_web_serve(
    struct pl_conn *conn, struct pl_place *place, const struct pl_http_request *request)
{
    struct pl_web *web = place->server->web;
    const struct pl_config_listener *l = place->port ? place->port->config : NULL;
    if (!web || !l || (!l->web && !l->redirect))
        return false;
    const char *domain = find_domain(web, request);
    if (!domain)
        refuse(conn, web, request, pl_conn_is_tls(conn) ? 421 : 404);
    else if (!is_read(request))
        refuse(conn, web, request, 405);
    else if (l->redirect)
        redirect(conn, web, domain, request);
    else if (!web->site)
        refuse(conn, web, request, 404);
    else
        serve_file(conn, web, domain, request);
    return true;
}

/* ---- The whole ---- */

static enum pl_err open_files(struct pl_web *web, struct pl_diag *diag)
{
    const struct pl_config_web *config = &web->server->config->web;
    const struct pl_site_options options = {
        .root = config->root,
        .file_max = config->file,
        .cache_bytes = config->compression_cache,
        .compress_max = config->compress,
        .max_age_ms = config->max_age_ms,
        .hsts_ms = config->hsts_ms,
    };
    if (!config->root[0])
        return PL_OK;
    enum pl_err err = pl_site_new(&options, &web->site, diag);
    return err ? err : pl_line_init(&web->files, config->threads, config->filelimit, config->queue);
}

static enum pl_err open_proxy(struct pl_web *web)
{
    const struct pl_config_web *config = &web->server->config->web;
    uint32_t count = config->proxies.count;
    if (!count)
        return PL_OK;
    web->targets = pl_zalloc(count * sizeof *web->targets);
    if (!web->targets)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct pl_text_pair *pair = &config->proxies.items[i];
        web->targets[i] = (struct pl_proxy_target){.prefix = pair->key, .url = pair->value};
    }
    const struct pl_proxy_options options = {
        .targets = web->targets,
        .target_count = count,
        .connect_timeout_ms = config->proxy_connect_timeout_ms,
        .timeout_ms = config->proxy_timeout_ms,
        .answer_max = config->proxy_answer,
        .idle_max = config->proxy_threads,
    };
    enum pl_err err = pl_proxy_new(&options, &web->proxy);
    return err ? err
               : pl_line_init(
                     &web->proxied, config->proxy_threads, config->proxy_requests, config->queue);
}

enum pl_err pl_web_open(struct pl_server *server, struct pl_web **out, struct pl_diag *diag)
{
    bool is_asked = false;
    for (uint32_t i = 0; i < server->config->listeners.count; i++) {
        const struct pl_config_listener *l = &server->config->listeners.items[i];
        is_asked |= l->web || l->redirect;
    }
    if (!is_asked)
        return PL_OK;
    struct pl_web *web = pl_zalloc(sizeof *web);
    if (!web)
        return PL_NO_MEMORY;
    web->server = server;
    web->files.tally = web->proxied.tally = &web->tally;
    web->files.timeout_ms = web->proxied.timeout_ms = server->config->web.timeout_ms;
    web->files.idle_ms = web->proxied.idle_ms = server->config->client.ping_interval_ms;
    enum pl_err err = open_files(web, diag);
    if (!err)
        err = open_proxy(web);
    if (err) {
        pl_web_free(web);
        return err;
    }
    *out = web;
    return PL_OK;
}

void pl_web_end(struct pl_web *web)
{
    if (!web)
        return;
    pl_proxy_end(web->proxy);
    pl_line_end(&web->files);
    pl_line_end(&web->proxied);
}

struct pl_web *pl_web_free(struct pl_web *web)
{
    if (!web)
        return NULL;
    pl_line_done(&web->files);
    pl_line_done(&web->proxied);
    pl_site_free(web->site);
    pl_proxy_free(web->proxy);
    pl_free(web->targets);
    pl_free(web);
    return NULL;
}
