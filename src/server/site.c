#include "server/site.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/pool.h"
#include "codec/http.h"
#include "net/upgrade.h"
#include "server/state.h"
#include "web/site.h"

enum {
    TAKEN_AT = PL_WEB_PIECE / 2 - 1, /* a piece is over it, and taken when half of this is left */
    SMALL = 65536,                   /* left of an answer: the next request need not wait for it */
};

struct exchange;

struct pl_web {
    struct pl_server *server;
    struct pl_site *site; /* owned; NULL: no files */
    struct pl_pool *pool; /* owned */
    pthread_mutex_t lock; /* guards all below */
    uint32_t open;        /* exchanges that may have a file open */
    uint32_t waiting;
    struct exchange *first, *last; /* these wait */
};

/*
 * A request for a file and its answer.
 *
 *     waits in web's line → with a thread of the pool ⇄ on its connection's shard
 *
 * Its connection may go at any time; it ends when it is on the shard again.
 */
struct exchange {
    struct pl_answer answer;
    struct pl_pool_job job;
    struct pl_web *web;
    struct exchange *next; /* in web's line */
    struct pl_arena arena;
    struct pl_web_ask ask;
    struct pl_web_answer result;
    struct pl_shared *piece; /* owned; what was read */
    enum pl_err err;
    size_t output_max;   /* the connection's own */
    bool has_begun;      /* the head is on its way */
    bool has_slot;       /* counted in web->open */
    bool is_away;        /* not on the shard; the shard's to know */
    atomic_bool is_gone; /* nobody waits for it */
};

/* ---- Slots ---- */

static void submit(struct exchange *x);

/* A slot, or a place in the line, from where other threads take it. PL_LIMIT: the line is full. */
static enum pl_err enter(struct pl_web *web, struct exchange *x, bool *out_has_slot)
{
    const struct pl_config_web *config = &web->server->config->web;
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&web->lock);
    if (web->open < config->filelimit) {
        web->open++;
        x->has_slot = *out_has_slot = true;
    } else if (web->waiting < config->queue) {
        if (web->first)
            web->last->next = x;
        else
            web->first = x;
        web->last = x;
        web->waiting++;
    } else {
        err = PL_LIMIT;
    }
    pthread_mutex_unlock(&web->lock);
    return err;
}

static struct exchange *next_waiting(struct pl_web *web)
{
    struct exchange *next = web->first;
    if (next) {
        web->first = next->next;
        web->waiting--;
    }
    return next;
}

/* Gives the slot to who has waited longest. */
static void leave(struct exchange *x)
{
    struct pl_web *web = x->web;
    if (!x->has_slot)
        return;
    x->has_slot = false;
    pthread_mutex_lock(&web->lock);
    struct exchange *next = next_waiting(web);
    if (!next)
        web->open--;
    else
        next->has_slot = true;
    pthread_mutex_unlock(&web->lock);
    if (next)
        submit(next);
}

/* ---- On the shard ---- */

static void exchange_free(struct exchange *x)
{
    leave(x);
    pl_web_answer_done(&x->result);
    pl_shared_unref(x->piece);
    pl_arena_done(&x->arena);
    pl_free(x);
}

static enum pl_err append(struct pl_conn *conn, struct pl_shared *shared)
{
    return shared ? pl_output_append_shared(
                        pl_conn_output(conn), shared, pl_bytes_of(shared->data, shared->len))
                  : PL_OK;
}

static void wait_for_client(const struct exchange *x)
{
    uint64_t timeout_ms = x->web->server->config->web.timeout_ms;
    uint64_t now_ms = pl_reactor_now_ms(x->answer.shard->reactor);
    pl_conn_set_timer(x->answer.conn, timeout_ms == PL_NEVER ? PL_NEVER : now_ms + timeout_ms);
}

/* The connection is free for the next request, or ends. */
static void finish(struct exchange *x)
{
    struct pl_conn *conn = x->answer.conn;
    pl_conn_output(conn)->bytes_max = x->output_max;
    pl_connection_set_answer(conn, NULL);
    if (x->answer.keeps_alive && !x->err) {
        uint64_t now_ms = pl_reactor_now_ms(x->answer.shard->reactor);
        pl_conn_set_timer(conn, now_ms + x->web->server->config->client.ping_interval_ms);
        pl_conn_resume(conn);
    } else if (x->err) {
        pl_conn_abort(conn, x->err); /* the length that was told does not hold */
    } else {
        pl_conn_close(conn, PL_OK, NULL);
    }
    exchange_free(x);
}

static void begin(struct exchange *x)
{
    struct pl_output *out = pl_conn_output(x->answer.conn);
    x->has_begun = true;
    x->output_max = out->bytes_max;
    if (x->err) {
        pl_conn_answer_status(x->answer.conn, 503);
        x->err = PL_OK;
        x->answer.keeps_alive = false;
        return;
    }
    x->err = append(x->answer.conn, x->result.head);
    if (!x->err)
        x->err = append(x->answer.conn, x->result.body);
}

/* What a thread has found goes to the client. */
static void on_back(struct pl_post *post, void *context)
{
    struct exchange *x = PL_CONTAINER(post, struct exchange, answer.post);
    struct pl_conn *conn = x->answer.conn;
    (void)context;
    x->is_away = false;
    if (!conn) {
        exchange_free(x);
        return;
    }
    if (!x->has_begun)
        begin(x);
    else if (!x->err)
        x->err = append(conn, x->piece);
    x->piece = pl_shared_unref(x->piece);
    bool is_whole = x->err || x->result.fd < 0;
    if (is_whole)
        leave(x);
    if (is_whole && (x->err || pl_conn_output(conn)->bytes <= SMALL)) {
        finish(x);
        return;
    }
    /* The whole of it must be gone before the connection may end or idle. */
    pl_conn_output(conn)->bytes_max = is_whole ? 0 : TAKEN_AT;
    wait_for_client(x);
}

static void on_drained(struct pl_answer *answer)
{
    struct exchange *x = PL_CONTAINER(answer, struct exchange, answer);
    if (x->is_away)
        return;
    if (x->result.fd < 0) {
        finish(x);
        return;
    }
    x->is_away = true;
    pl_conn_set_timer(answer->conn, PL_NEVER);
    submit(x);
}

static void on_gone(struct pl_answer *answer)
{
    struct exchange *x = PL_CONTAINER(answer, struct exchange, answer);
    if (!x->is_away)
        exchange_free(x);
    else
        atomic_store(&x->is_gone, true);
}

static const struct pl_answer_ops exchange_ops = {.drained = on_drained, .gone = on_gone};

/* ---- On a thread of the pool ---- */

static void come_back(struct exchange *x)
{
    x->answer.post.run = on_back;
    pl_reactor_post(x->answer.shard->reactor, &x->answer.post);
}

static void run(struct pl_pool_job *job)
{
    struct exchange *x = PL_CONTAINER(job, struct exchange, job);
    x->err = atomic_load(&x->is_gone) ? PL_CLOSED
             : x->has_begun           ? pl_web_answer_read(&x->result, &x->piece)
                                      : pl_site_answer(x->web->site, &x->ask, &x->result);
    come_back(x);
}

static void drop(struct pl_pool_job *job)
{
    struct exchange *x = PL_CONTAINER(job, struct exchange, job);
    x->err = PL_DRAINING;
    come_back(x);
}

/* To a thread, from any thread. It comes back in any case. */
static void submit(struct exchange *x)
{
    x->job.run = run;
    x->job.drop = drop;
    x->err = pl_pool_submit(x->web->pool, &x->job);
    if (x->err)
        come_back(x);
}

/* ---- Requests ---- */

static bool is_read(const struct pl_http_request *request)
{
    return pl_bytes_equal(request->method, PL_BYTES("GET")) ||
           pl_bytes_equal(request->method, PL_BYTES("HEAD"));
}

/* An answer of ours, without a thread. */
static void refuse(struct pl_conn *conn, const struct pl_http_request *request, unsigned status)
{
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
    struct exchange *x = pl_zalloc(sizeof *x);
    if (!x) {
        pl_conn_answer_status(conn, 503);
        return;
    }
    x->web = web;
    x->result.fd = -1;
    x->answer = (struct pl_answer){
        .ops = &exchange_ops,
        .conn = conn,
        .shard = pl_conn_shard(conn),
        .keeps_alive = request->keeps_alive && !request->content_length && !request->is_chunked,
    };
    if (pl_web_ask_make(domain, request, web->server->config->web.hidden, &x->arena, &x->ask) !=
        PL_OK) {
        exchange_free(x);
        pl_conn_answer_status(conn, 503);
        return;
    }
    x->ask.keeps_alive = x->answer.keeps_alive;
    x->ask.is_tls = pl_conn_is_tls(conn);
    x->is_away = true;
    pl_connection_set_answer(conn, &x->answer);
    pl_conn_pause(conn);
    pl_conn_set_timer(conn, PL_NEVER);
    bool has_slot = false;
    enum pl_err err = enter(web, x, &has_slot);
    if (err) {
        x->err = err;
        come_back(x);
    } else if (has_slot) {
        submit(x);
    }
}

/* To the same page by HTTPS. */
static void redirect(struct pl_conn *conn, const struct pl_web *web, const char *domain,
    const struct pl_http_request *request)
{
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

bool pl_web_serve(
    struct pl_conn *conn, struct pl_place *place, const struct pl_http_request *request)
{
    struct pl_web *web = place->server->web;
    const struct pl_config_listener *l = place->port ? place->port->config : NULL;
    if (!web || !l || (!l->web && !l->redirect))
        return false;
    const char *domain = find_domain(web, request);
    if (!domain)
        refuse(conn, request, pl_conn_is_tls(conn) ? 421 : 404);
    else if (!is_read(request))
        refuse(conn, request, 405);
    else if (l->redirect)
        redirect(conn, web, domain, request);
    else if (!web->site)
        refuse(conn, request, 404);
    else
        serve_file(conn, web, domain, request);
    return true;
}

/* ---- The whole ---- */

enum pl_err pl_web_open(struct pl_server *server, struct pl_web **out, struct pl_diag *diag)
{
    const struct pl_config_web *config = &server->config->web;
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
    pthread_mutex_init(&web->lock, NULL);
    web->server = server;
    enum pl_err err = PL_OK;
    if (config->root[0])
        err = pl_site_new(
            &(struct pl_site_options){
                .root = config->root,
                .file_max = config->file,
                .cache_bytes = config->compression_cache,
                .compress_max = config->compress,
                .max_age_ms = config->max_age_ms,
                .hsts_ms = config->hsts_ms,
            },
            &web->site, diag);
    if (!err && !(web->pool = pl_pool_new(config->threads, config->queue + config->filelimit)))
        err = PL_NO_MEMORY;
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
    if (web->pool)
        pl_pool_end(web->pool);
    /* Those in the line come back as those do whom the pool has dropped. */
    for (;;) {
        pthread_mutex_lock(&web->lock);
        struct exchange *next = next_waiting(web);
        pthread_mutex_unlock(&web->lock);
        if (!next)
            break;
        next->err = PL_DRAINING;
        come_back(next);
    }
}

struct pl_web *pl_web_free(struct pl_web *web)
{
    if (!web)
        return NULL;
    pl_pool_free(web->pool);
    pl_site_free(web->site);
    pthread_mutex_destroy(&web->lock);
    pl_free(web);
    return NULL;
}
