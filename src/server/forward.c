#include "server/forward.h"

#include "base/alloc.h"
#include "base/log.h"
#include "codec/http.h"
#include "codec/http_chunks.h"
#include "net/upgrade.h"
#include "server/web_state.h"

enum { BODY_FIRST = 4096 };

struct forward {
    struct pl_errand x;
    struct pl_web *web;
    struct pl_arena arena;
    struct pl_proxy_ask ask;
    struct pl_http_chunks chunks;
    bool is_chunked;
    uint64_t left; /* bytes of the body that have not come, if not chunked */
    uint8_t *body; /* owned; counted in web->bodies, all of cap */
    size_t len, cap;
    struct pl_diag why;
};

/* ---- On a thread, and back ---- */

static enum pl_err work(struct pl_errand *x)
{
    struct forward *f = PL_CONTAINER(x, struct forward, x);
    f->ask.body = pl_bytes_of(f->body, f->len);
    return pl_proxy_answer(f->web->proxy, &f->ask, &x->result, &f->why);
}

static void tell(struct pl_errand *x)
{
    const struct forward *f = PL_CONTAINER(x, struct forward, x);
    if (f->why.text[0] && pl_server_may_log(f->web->server))
        pl_log(PL_LOG_WARN, "proxy_failed", "url=%.200s why=\"%s\"", f->ask.url, f->why.text);
}

static void done(struct pl_errand *x)
{
    struct forward *f = PL_CONTAINER(x, struct forward, x);
    atomic_fetch_sub(&f->web->bodies, f->cap);
    pl_free(f->body);
    pl_arena_done(&f->arena);
    pl_free(f);
}

static const struct pl_errand_ops forward_ops = {
    .work = work, .tell = tell, .done = done, .keeps_place = true};

/* ---- The body ---- */

/* PL_TOO_LARGE: more than one may be. PL_LIMIT: more than all may be. */
static enum pl_err keep(struct forward *f, struct pl_bytes data)
{
    const struct pl_config_web *config = &f->web->server->config->web;
    if (data.len > config->proxy_request - f->len)
        return PL_TOO_LARGE;
    if (data.len > f->cap - f->len) {
        size_t cap = f->cap ? f->cap : BODY_FIRST;
        while (cap < f->len + data.len)
            cap *= 2;
        if (atomic_fetch_add(&f->web->bodies, cap - f->cap) + cap - f->cap > config->proxy_bodies) {
            atomic_fetch_sub(&f->web->bodies, cap - f->cap);
            return PL_LIMIT;
        }
        uint8_t *bigger = pl_realloc(f->body, cap);
        if (!bigger) {
            atomic_fetch_sub(&f->web->bodies, cap - f->cap);
            return PL_NO_MEMORY;
        }
        f->body = bigger;
        f->cap = cap;
    }
    if (data.len)
        memcpy(f->body + f->len, data.data, data.len);
    f->len += data.len;
    return PL_OK;
}

/* PL_OK: it is whole. PL_NEED_MORE. */
static enum pl_err gather(struct forward *f, struct pl_bytes in, size_t *out_used)
{
    *out_used = 0;
    if (!f->is_chunked) {
        size_t len = in.len < f->left ? in.len : (size_t)f->left;
        enum pl_err err = keep(f, pl_bytes_of(in.data, len));
        f->left -= len;
        *out_used = len;
        return err ? err : f->left ? PL_NEED_MORE : PL_OK;
    }
    enum pl_err err = PL_NEED_MORE;
    while (err == PL_NEED_MORE && *out_used < in.len) {
        struct pl_bytes data;
        size_t used;
        err = pl_http_chunks_read(&f->chunks, pl_bytes_from(in, *out_used), &used, &data);
        if (err && err != PL_NEED_MORE)
            break;
        *out_used += used;
        enum pl_err kept = keep(f, data);
        if (kept)
            return kept;
    }
    return err;
}

static void answer_status(struct pl_web *web, struct pl_conn *conn, unsigned status)
{
    pl_web_tally_add(&web->tally, status / 100);
    pl_conn_answer_status(conn, status);
}

static enum pl_err on_input(struct pl_answer *answer, struct pl_bytes in, size_t *out_used)
{
    struct forward *f = PL_CONTAINER(answer, struct forward, x.answer);
    if (f->x.is_away || f->x.has_begun) { /* the next request waits */
        pl_conn_pause(answer->conn);
        *out_used = 0;
        return PL_OK;
    }
    enum pl_err err = gather(f, in, out_used);
    if (err == PL_NEED_MORE) {
        pl_errand_wait_for_client(&f->x);
        return PL_OK;
    }
    if (!err) {
        pl_errand_submit(&f->x);
        return PL_OK;
    }
    *out_used = in.len;
    answer_status(f->web, answer->conn,
        err == PL_TOO_LARGE   ? 413
        : err == PL_MALFORMED ? 400
                              : 503);
    pl_errand_cancel(&f->x);
    return PL_OK;
}

static const struct pl_answer_ops forward_answer_ops = {
    .input = on_input, .drained = pl_errand_drained, .gone = pl_errand_gone};

/* ---- The beginning ---- */

static unsigned refuses(const struct pl_web *web, const struct pl_http_request *request)
{
    if (pl_bytes_equal(request->method, PL_BYTES("CONNECT")))
        return 405;
    return request->content_length > web->server->config->web.proxy_request ? 413 : 0;
}

void pl_forward_begin(struct pl_conn *conn, struct pl_web *web,
    const struct pl_proxy_target *target, const struct pl_http_request *request)
{
    unsigned status = refuses(web, request);
    struct forward *f = status ? NULL : pl_zalloc(sizeof *f);
    if (!f) {
        answer_status(web, conn, status ? status : 503);
        return;
    }
    f->web = web;
    f->is_chunked = request->is_chunked;
    f->left = request->content_length;
    pl_errand_begin(
        &f->x, conn, &web->proxied, &forward_ops, &forward_answer_ops, request->keeps_alive);
    enum pl_err err = pl_proxy_ask_make(
        target, request, pl_conn_address(conn), pl_conn_is_tls(conn), &f->arena, &f->ask);
    if (err) {
        answer_status(web, conn, err == PL_NOT_FOUND ? 404 : 503);
        pl_errand_cancel(&f->x);
        return;
    }
    f->ask.is_gone = &f->x.is_gone;
    if (!f->is_chunked && !f->left) {
        pl_errand_submit(&f->x);
        return;
    }
    if (request->minor && pl_http_header_has(request, "expect", "100-continue") &&
        pl_output_append(pl_conn_output(conn), PL_BYTES("HTTP/1.1 100 Continue\r\n\r\n")) != PL_OK)
        pl_conn_abort(conn, PL_NO_MEMORY);
    pl_errand_wait_for_client(&f->x);
}
