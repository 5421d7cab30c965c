/*
 * Drives protocols by hand over the real core: no socket, no thread, no sleep. For unit tests and
 * for fuzz targets (it needs no check.h).
 *
 *     struct rig rig;
 *     rig_init(&rig, 1);                                one worker, one realm
 *     struct rig_peer *a = rig_open(&rig, &pl_redis_protocol, 0);
 *     rig_send(a, "PING\r\n", 6);
 *     rig_run(&rig);                                    turns until nothing happens
 *     … a->got, a->got_len, a->is_closed, a->why
 *     rig_done(&rig);
 *
 * What a peer sends is given to the protocol in a buffer of exactly its size, so a sanitizer sees
 * every read beyond it.
 */
#ifndef PARLEY_TESTS_RIG_H
#define PARLEY_TESTS_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/protocol.h"

enum { RIG_PEERS = 64, RIG_WORKERS = 4 };
#define RIG_BINARY '\2'

struct rig;

struct rig_peer {
    struct rig *rig;
    const struct pl_protocol *protocol;
    struct pl_link *link; /* NULL: closed */
    struct pl_output out;
    uint8_t *in;
    size_t in_len;
    char *got; /* terminated */
    size_t got_len;
    uint32_t worker;
    bool is_closed, is_closing, is_resumed;
    bool is_stuck; /* it does not read what it is sent */
    enum pl_err why;
    char diag[240];
    int code;          /* of the diag; a WebSocket's close */
    uint64_t bytes_in; /* what host->bytes_in tells; the test's own */
    uint64_t tick_ms;
};

struct rig {
    struct pl_worker_hooks hooks;
    struct pl_worker workers[RIG_WORKERS];
    uint32_t worker_count;
    struct pl_realm *realm;
    struct pl_link_config config; /* change it before rig_open */
    /* Who is this? One reference, or NULL: refused. */
    struct pl_identity *(*identify)(struct rig *rig, const struct pl_credentials *shown);
    struct rig_peer peers[RIG_PEERS];
    uint32_t peer_count;
    uint64_t now_ms;
    size_t out_max; /* bytes: the outputs' limit */
    /* Of the next peer's WebSocket; change them before rig_open. With PL_FRAMING_MESSAGES each line
     * is a text message; one that begins with RIG_BINARY is a binary one, without that. */
    uint8_t framing; /* enum pl_framing */
    const char *subprotocol;
    uint64_t next_id;
};

static inline void rig_require(bool claim, const char *what)
{
    if (claim)
        return;
    fprintf(stderr, "rig: %s\n", what);
    abort();
}

static struct rig_peer *rig_peer_of(struct pl_link *link)
{
    struct rig *rig = link->worker->hooks->context;
    for (uint32_t i = 0; i < rig->peer_count; i++)
        if (rig->peers[i].link == link)
            return &rig->peers[i];
    rig_require(false, "a link of nobody");
    return NULL;
}

static void rig_host_resume(struct pl_link *link)
{
    rig_require(!link->is_waiting, "resumed while it waits");
    rig_peer_of(link)->is_resumed = true;
}

static void rig_host_close(struct pl_link *link, enum pl_err why, const struct pl_diag *diag)
{
    struct rig_peer *p = rig_peer_of(link);
    if (!link->is_open)
        return;
    link->is_open = false;
    p->is_closing = true;
    p->why = why;
    snprintf(p->diag, sizeof p->diag, "%s", diag ? diag->text : "");
    p->code = diag ? diag->code : 0;
}

static enum pl_err rig_host_start_tls(struct pl_link *link)
{
    (void)link;
    return PL_UNSUPPORTED;
}

static struct pl_bytes rig_host_nothing(struct pl_link *link, const char *name)
{
    (void)link, (void)name;
    return PL_NO_BYTES;
}

/* One message a line, as a reader of the output expects it. */
static enum pl_err rig_host_send_message(
    struct pl_link *link, bool is_text, struct pl_bytes message)
{
    static const char binary[] = {RIG_BINARY};
    enum pl_err err = is_text ? PL_OK : pl_output_append(link->out, pl_bytes_of(binary, 1));
    if (!err)
        err = pl_output_append(link->out, message);
    return err ? err : pl_output_append(link->out, PL_BYTES("\n"));
}

static uint64_t rig_host_bytes_in(struct pl_link *link)
{
    return rig_peer_of(link)->bytes_in;
}

static void rig_host_tick_at(struct pl_link *link, uint64_t at_ms)
{
    rig_peer_of(link)->tick_ms = at_ms;
}

static const struct pl_link_host rig_host = {
    .resume = rig_host_resume,
    .close = rig_host_close,
    .start_tls = rig_host_start_tls,
    .tick_at = rig_host_tick_at,
    .send_message = rig_host_send_message,
    .bytes_in = rig_host_bytes_in,
    .request_header = rig_host_nothing,
    .request_query = rig_host_nothing,
};

static void rig_wake(void *context, struct pl_worker *worker)
{
    (void)context, (void)worker;
}

static struct pl_identity *rig_identify_all(struct rig *rig, const struct pl_credentials *shown)
{
    (void)rig;
    char user[64] = "";
    if (shown->has_user)
        snprintf(user, sizeof user, "%.*s", (int)shown->user.len, (const char *)shown->user.data);
    return pl_identity_new_all(user, "all");
}

static void rig_login(
    void *context, struct pl_session *session, const struct pl_credentials *shown, uint64_t token)
{
    struct rig *rig = context;
    struct pl_identity *identity = rig->identify(rig, shown);
    pl_worker_logged_in(
        session->worker, session, identity ? PL_OK : PL_BAD_LOGIN, identity, rig->realm, token);
}

static inline void rig_init(struct rig *rig, uint32_t worker_count)
{
    memset(rig, 0, sizeof *rig);
    rig->hooks = (struct pl_worker_hooks){rig, rig_wake, rig_login};
    rig->identify = rig_identify_all;
    rig->worker_count = worker_count;
    rig->now_ms = 1000;
    rig->out_max = 1 << 20;
    for (uint32_t i = 0; i < worker_count; i++)
        rig_require(!pl_worker_init(&rig->workers[i], i, &rig->hooks), "no worker");
    rig->realm = pl_realm_new("main", rig->workers, worker_count, &pl_realm_limits_default, 42, 7);
    rig_require(rig->realm != NULL, "no realm");
    rig->config = (struct pl_link_config){
        .listener = "test",
        .server_id = "PARLEYTEST",
        .server_name = "parley",
        .version = "0",
        .host = "127.0.0.1",
        .port = 1,
        .packet_max = 1 << 20,
        .packet_max_login = 1 << 16,
        .line_max = 1 << 16,
        .login_ms = 10000,
        .ping_interval_ms = PL_NEVER,
        .ping_max = 2,
    };
    for (uint32_t i = 0; i < worker_count; i++)
        pl_worker_begin(&rig->workers[i], rig->now_ms, rig->now_ms + 1000000);
}

static inline struct rig_peer *rig_open(
    struct rig *rig, const struct pl_protocol *protocol, uint32_t worker)
{
    rig_require(rig->peer_count < RIG_PEERS, "too many peers");
    struct rig_peer *p = &rig->peers[rig->peer_count++];
    *p = (struct rig_peer){.rig = rig, .protocol = protocol, .worker = worker};
    p->got = calloc(1, 1);
    pl_output_init(&p->out, &rig->workers[worker].outputs, rig->out_max);
    p->link = calloc(1, protocol->link_size);
    rig_require(p->link && p->got, "no memory");
    *p->link = (struct pl_link){
        .protocol = protocol,
        .host = &rig_host,
        .config = &rig->config,
        .worker = &rig->workers[worker],
        .out = &p->out,
        .address = PL_BYTES("127.0.0.1"),
        .opened_ms = rig->now_ms,
        .id = ++rig->next_id,
        .framing = rig->framing,
        .subprotocol = rig->subprotocol,
        .is_ambient_allowed = true,
        .is_open = true,
    };
    if (protocol->open(p->link)) {
        rig_host_close(p->link, PL_NO_MEMORY, NULL);
        return p;
    }
    if (protocol->tick)
        p->tick_ms = protocol->tick(p->link, rig->now_ms);
    return p;
}

static inline void rig_send(struct rig_peer *p, const void *bytes, size_t len)
{
    if (!p->link || !len)
        return;
    p->in = realloc(p->in, p->in_len + len);
    rig_require(p->in != NULL, "no memory");
    memcpy(p->in + p->in_len, bytes, len);
    p->in_len += len;
}

static inline void rig_write(struct rig_peer *p, const char *text)
{
    rig_send(p, text, strlen(text));
}

/* The peer goes away without a word. */
static inline void rig_cut(struct rig_peer *p)
{
    if (p->link)
        rig_host_close(p->link, PL_CLOSED, NULL);
}

static bool rig_feed(struct rig_peer *p)
{
    if (!p->link || !p->in_len || p->link->is_waiting || !p->link->is_open)
        return false;
    bool is_message = p->link->framing == PL_FRAMING_MESSAGES;
    const uint8_t *end = is_message ? memchr(p->in, '\n', p->in_len) : p->in + p->in_len;
    if (!end)
        return false;
    bool is_binary = is_message && end > p->in && p->in[0] == RIG_BINARY;
    size_t len = (size_t)(end - p->in) - is_binary;
    struct pl_shared *buffer = pl_shared_new(len);
    if (!buffer) /* pl_alloc_fail meant somebody else */
        buffer = pl_shared_new(len);
    rig_require(buffer != NULL, "no memory");
    memcpy(buffer->data, p->in + is_binary, len);
    buffer->len = (uint32_t)len;
    struct pl_input in = {
        .bytes = pl_bytes_of(buffer->data, len),
        .buffer = buffer,
        .kind = is_binary    ? PL_INPUT_BINARY_FRAME
                : is_message ? PL_INPUT_TEXT_FRAME
                             : PL_INPUT_STREAM,
    };
    size_t used = 0;
    enum pl_err err = p->protocol->receive(p->link, in, &used);
    pl_shared_unref(buffer);
    rig_require(used <= len, "took more than there was");
    if (is_message && used == len)
        used += 1u + is_binary; /* the end of the line */
    memmove(p->in, p->in + used, p->in_len - used);
    p->in_len -= used;
    if (err)
        rig_host_close(p->link, err, NULL);
    return used > 0;
}

static void rig_collect(struct rig_peer *p)
{
    if (p->is_stuck || !p->out.pool)
        return;
    bool was_full = p->out.bytes > p->out.bytes_max;
    struct pl_chunk *chunk = pl_output_take(&p->out);
    while (chunk) {
        p->got = realloc(p->got, p->got_len + chunk->len + 1);
        if (!p->got)
            abort();
        memcpy(p->got + p->got_len, chunk->data, chunk->len);
        p->got_len += chunk->len;
        p->got[p->got_len] = 0;
        pl_output_sent(&p->out, chunk->len);
        struct pl_chunk *next = chunk->next;
        pl_chunk_free(p->out.pool, chunk);
        chunk = next;
    }
    if (was_full && p->link && p->link->session)
        pl_session_drained(p->link->session);
}

static void rig_finish(struct rig_peer *p)
{
    if (!p->is_closing || !p->link)
        return;
    p->protocol->closed(p->link, p->why);
    free(p->link);
    p->link = NULL;
    p->is_closed = true;
    rig_collect(p);
    pl_output_done(&p->out);
}

/* Turns of all workers until nothing happens any more. */
static inline void rig_run(struct rig *rig)
{
    for (int round = 0; round < 1000; round++) {
        bool any = false;
        for (uint32_t i = 0; i < rig->worker_count; i++) {
            struct pl_worker *w = &rig->workers[i];
            pl_worker_begin(w, rig->now_ms, rig->now_ms + 1000000);
            for (uint32_t j = 0; j < rig->peer_count; j++)
                if (rig->peers[j].worker == i)
                    any |= rig_feed(&rig->peers[j]);
            any |= pl_worker_turn(w);
            for (uint32_t j = 0; j < rig->peer_count; j++)
                if (rig->peers[j].worker == i) {
                    rig_collect(&rig->peers[j]);
                    any |= rig->peers[j].is_closing && rig->peers[j].link;
                    any |= rig->peers[j].is_resumed;
                    rig->peers[j].is_resumed = false;
                    rig_finish(&rig->peers[j]);
                }
            while (pl_output_pool_next_dirty(&w->outputs))
                continue;
        }
        /* A later worker may have posted to an earlier one. */
        for (uint32_t i = 0; i < rig->worker_count; i++)
            any |= !pl_worker_sleep(&rig->workers[i]);
        if (!any)
            return;
    }
    rig_require(false, "it never comes to rest");
}

/* Time passes: ticks that are due are called. */
static inline void rig_pass(struct rig *rig, uint64_t ms)
{
    rig->now_ms += ms;
    for (uint32_t i = 0; i < rig->worker_count; i++)
        pl_worker_begin(&rig->workers[i], rig->now_ms, rig->now_ms + 1000000);
    pl_realm_tick(rig->realm, &rig->workers[0]);
    for (uint32_t i = 0; i < rig->peer_count; i++) {
        struct rig_peer *p = &rig->peers[i];
        if (p->link && p->link->is_open && p->protocol->tick && p->tick_ms <= rig->now_ms)
            p->tick_ms = p->protocol->tick(p->link, rig->now_ms);
    }
    rig_run(rig);
}

/* Forgets what the peer has got until now. */
static inline void rig_clear(struct rig_peer *p)
{
    p->got_len = 0;
    p->got[0] = 0;
}

/* Sends, runs and gives what came back. */
static inline const char *rig_ask(struct rig_peer *p, const char *text)
{
    rig_clear(p);
    rig_write(p, text);
    rig_run(p->rig);
    return p->got;
}

static inline void rig_done(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->peer_count; i++)
        rig_cut(&rig->peers[i]);
    rig_run(rig);
    struct pl_realm_stats stats;
    pl_realm_stats(rig->realm, &stats);
    rig_require(stats.sessions == stats.sessions_detached, "a session is left behind");
    for (uint32_t i = 0; i < rig->peer_count; i++) {
        free(rig->peers[i].in);
        free(rig->peers[i].got);
    }
    pl_realm_free(rig->realm);
    for (uint32_t i = 0; i < rig->worker_count; i++)
        pl_worker_done(&rig->workers[i]);
}

#endif
