/*
 * A protocol driven by hand: links without sockets, over a real core with one worker.
 *
 *     struct place place;
 *     place_init(&place, &pl_nats_protocol);
 *     struct peer *p = peer_new(&place);
 *     peer_say(p, "PING\r\n");
 *     CHECK_STR(peer_heard(p), "INFO {…} \r\nPONG\r\n");   runs turns until nothing happens
 *     place_done(&place);
 *
 * What a peer says comes in pieces of place.piece bytes (0: all at once). Everything is freed by
 * place_done, so a leak is the protocol's.
 */
#ifndef PARLEY_TESTS_PEER_H
#define PARLEY_TESTS_PEER_H

#include <stdio.h>
#include <stdlib.h>

#include "protocols/protocol.h"

enum { PEERS_MAX = 16 };

struct place {
    struct pl_worker_hooks hooks;
    struct pl_worker worker;
    struct pl_realm *realm;
    struct pl_identity *identity; /* who everybody is that logs in */
    enum pl_err login_err;        /* what a login is answered with */
    bool holds_logins;
    struct pl_session *held; /* whose login is open */
    char shown[1024];        /* the last credentials: "user/password/token" */
    const struct pl_protocol *protocol;
    struct pl_link_config config;
    size_t piece;
    size_t output_max;
    uint64_t now_ms;
    struct peer *peers[PEERS_MAX];
    uint32_t peer_count;
};

struct peer {
    struct place *place;
    struct pl_link *link; /* NULL: closed */
    struct pl_output out;
    uint8_t *input; /* said and not taken yet */
    size_t input_len;
    char *heard; /* since the last peer_heard */
    size_t heard_len, heard_cap;
    char *told;
    const char *header, *header_value; /* of its WebSocket request */
    const char *query, *query_value;
    bool must_receive, is_closing, is_closed, starts_tls, reads_nothing;
    enum pl_err why;
    uint64_t tick_ms;
};

static struct peer *peer_of(struct pl_link *link);

static void place_wake(void *context, struct pl_worker *worker)
{
    (void)context;
    (void)worker;
}

static void place_answer_login(struct place *place, struct pl_session *s)
{
    bool ok = place->login_err == PL_OK;
    pl_worker_logged_in(s->worker, s, place->login_err,
        ok ? pl_identity_ref(place->identity) : NULL, ok ? place->realm : NULL, 0);
}

static void place_on_login(
    void *context, struct pl_session *s, const struct pl_credentials *shown, uint64_t token)
{
    struct place *place = context;
    (void)token;
    (void)snprintf(place->shown, sizeof place->shown, "%.*s/%.*s/%.*s",
        (int)(shown->has_user ? shown->user.len : 0), (const char *)shown->user.data,
        (int)(shown->has_password ? shown->password.len : 0), (const char *)shown->password.data,
        (int)(shown->has_token ? shown->token.len : 0), (const char *)shown->token.data);
    if (place->holds_logins)
        place->held = s;
    else
        place_answer_login(place, s);
}

static inline void place_init_limits(
    struct place *place, const struct pl_protocol *protocol, const struct pl_realm_limits *limits)
{
    *place = (struct place){.protocol = protocol, .now_ms = 1000, .output_max = 1 << 20};
    place->hooks = (struct pl_worker_hooks){place, place_wake, place_on_login};
    if (pl_worker_init(&place->worker, 0, &place->hooks) != PL_OK)
        abort();
    place->realm = pl_realm_new("main", &place->worker, 1, limits, 42, 7);
    place->identity = pl_identity_new_all("ann", "all");
    if (!place->realm || !place->identity)
        abort();
    place->config = (struct pl_link_config){
        .listener = "test",
        .server_id = "SERVERID",
        .server_name = "test-server",
        .version = "0.0.0",
        .host = "127.0.0.1",
        .port = 4222,
        .packet_max = 2 * 1024 * 1024,
        .packet_max_login = 64 * 1024,
        .line_max = 4096,
        .login_ms = 5000,
        .ping_interval_ms = 60000,
        .ping_max = 2,
    };
    pl_worker_begin(&place->worker, place->now_ms, place->now_ms + 1000000);
}

static inline void place_init(struct place *place, const struct pl_protocol *protocol)
{
    place_init_limits(place, protocol, &pl_realm_limits_default);
}

static void peer_resume(struct pl_link *link)
{
    peer_of(link)->must_receive = true;
}

static void peer_close(struct pl_link *link, enum pl_err why, const struct pl_diag *diag)
{
    struct peer *p = peer_of(link);
    (void)diag;
    if (p->is_closing)
        return;
    p->is_closing = true;
    p->why = why;
    link->is_open = false;
}

static enum pl_err peer_start_tls(struct pl_link *link)
{
    peer_of(link)->starts_tls = true;
    link->is_tls = true;
    return PL_OK;
}

static struct pl_bytes peer_request_header(struct pl_link *link, const char *name)
{
    struct peer *p = peer_of(link);
    bool is_it = p->header && strcmp(p->header, name) == 0;
    return is_it ? pl_bytes_text(p->header_value) : PL_NO_BYTES;
}

static struct pl_bytes peer_request_query(struct pl_link *link, const char *name)
{
    struct peer *p = peer_of(link);
    bool is_it = p->query && strcmp(p->query, name) == 0;
    return is_it ? pl_bytes_text(p->query_value) : PL_NO_BYTES;
}

static const struct pl_link_host peer_host = {
    .resume = peer_resume,
    .close = peer_close,
    .start_tls = peer_start_tls,
    .request_header = peer_request_header,
    .request_query = peer_request_query,
};

/* The link is a block of its own, as in the server; the peer stands in front of its output. */
static struct peer *peer_of(struct pl_link *link)
{
    return (struct peer *)(void *)((char *)link->out - offsetof(struct peer, out));
}

/* Not opened yet: the test may change the link. */
static inline struct peer *peer_alloc(struct place *place)
{
    struct peer *p = calloc(1, sizeof *p);
    struct pl_link *link = calloc(1, place->protocol->link_size);
    if (!p || !link || place->peer_count == PEERS_MAX)
        abort();
    place->peers[place->peer_count++] = p;
    p->place = place;
    p->link = link;
    pl_output_init(&p->out, &place->worker.outputs, place->output_max);
    link->protocol = place->protocol;
    link->host = &peer_host;
    link->config = &place->config;
    link->worker = &place->worker;
    link->out = &p->out;
    link->address = PL_BYTES("192.0.2.1");
    link->opened_ms = place->now_ms;
    link->id = place->peer_count;
    link->is_ambient_allowed = true;
    link->is_open = true;
    return p;
}

static inline void peer_open(struct peer *p)
{
    enum pl_err err = p->link->protocol->open(p->link);
    if (err)
        peer_close(p->link, err, NULL);
    p->tick_ms = p->link->protocol->tick(p->link, p->place->now_ms);
}

static inline struct peer *peer_new(struct place *place)
{
    struct peer *p = peer_alloc(place);
    peer_open(p);
    return p;
}

static inline void peer_collect(struct peer *p)
{
    struct pl_chunk *chunk = p->reads_nothing ? NULL : pl_output_take(&p->out);
    while (chunk) {
        if (p->heard_len + chunk->len + 1 > p->heard_cap) {
            p->heard_cap = (p->heard_len + chunk->len + 1) * 2;
            p->heard = realloc(p->heard, p->heard_cap);
            if (!p->heard)
                abort();
        }
        memcpy(p->heard + p->heard_len, chunk->data, chunk->len);
        p->heard_len += chunk->len;
        pl_output_sent(&p->out, chunk->len);
        struct pl_chunk *next = chunk->next;
        pl_chunk_free(p->out.pool, chunk);
        chunk = next;
    }
}

/* Gives the protocol what was said; true: it took some. */
static inline bool peer_receive(struct peer *p)
{
    struct pl_link *link = p->link;
    p->must_receive = false;
    if (!link || p->is_closing || link->is_waiting || !p->input_len)
        return false;
    size_t len = p->input_len, used = 0;
    struct pl_shared *buffer = pl_shared_new(len);
    if (!buffer)
        return false;
    memcpy(buffer->data, p->input, len);
    buffer->len = (uint32_t)len;
    struct pl_input in = {
        .bytes = pl_bytes_of(buffer->data, len), .buffer = buffer, .kind = PL_INPUT_STREAM};
    enum pl_err err = link->protocol->receive(link, in, &used);
    pl_shared_unref(buffer);
    if (used > len)
        abort();
    memmove(p->input, p->input + used, len - used);
    p->input_len = len - used;
    if (err)
        peer_close(link, err, NULL);
    return used > 0;
}

static inline bool peer_end_if_closing(struct peer *p)
{
    if (!p->is_closing || p->is_closed)
        return false;
    peer_collect(p);
    p->is_closed = true;
    p->link->protocol->closed(p->link, p->why);
    free(p->link);
    p->link = NULL;
    pl_output_done(&p->out);
    return true;
}

/* At most so many turns. True: nothing happens any more. */
static inline bool place_turns(struct place *place, int count)
{
    for (int i = 0; i < count; i++) {
        bool more = pl_worker_turn(&place->worker);
        for (uint32_t k = 0; k < place->peer_count; k++) {
            struct peer *p = place->peers[k];
            if (p->must_receive)
                more |= peer_receive(p) || (p->link && p->link->is_waiting);
            if (!p->is_closed)
                peer_collect(p);
            more |= peer_end_if_closing(p);
        }
        while (pl_output_pool_next_dirty(&place->worker.outputs))
            continue;
        more |= !pl_worker_sleep(&place->worker);
        pl_inbox_wake(&place->worker.inbox);
        pl_worker_begin(&place->worker, place->now_ms, place->now_ms + 1000000);
        if (!more)
            return true;
    }
    return false;
}

/* Turns until nothing happens. */
static inline void place_run(struct place *place)
{
    if (!place_turns(place, 10000))
        abort(); /* it never comes to rest */
}

static inline void peer_say_bytes(struct peer *p, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len && !p->is_closing) {
        size_t piece = p->place->piece && p->place->piece < len ? p->place->piece : len;
        p->input = realloc(p->input, p->input_len + piece);
        if (!p->input)
            abort();
        memcpy(p->input + p->input_len, at, piece);
        p->input_len += piece;
        at += piece;
        len -= piece;
        peer_receive(p);
        if (p->place->piece)
            place_run(p->place);
    }
}

static inline void peer_say(struct peer *p, const char *text)
{
    peer_say_bytes(p, text, strlen(text));
}

/* What it was told since the last call, after turns until nothing happens. */
static inline const char *peer_heard(struct peer *p)
{
    place_run(p->place);
    free(p->told);
    p->told = calloc(1, p->heard_len + 1);
    if (!p->told)
        abort();
    if (p->heard_len)
        memcpy(p->told, p->heard, p->heard_len);
    p->heard_len = 0;
    return p->told;
}

/* The peer hangs up. */
static inline void peer_leave(struct peer *p)
{
    if (p->link)
        peer_close(p->link, PL_CLOSED, NULL);
    peer_end_if_closing(p);
    place_run(p->place);
}

/* Time passes; ticks that are due are called. */
static inline void place_pass(struct place *place, uint64_t ms)
{
    uint64_t end = place->now_ms + ms;
    while (place->now_ms < end) {
        uint64_t next = end;
        for (uint32_t i = 0; i < place->peer_count; i++)
            if (place->peers[i]->link && place->peers[i]->tick_ms < next)
                next = place->peers[i]->tick_ms;
        place->now_ms = next > place->now_ms ? next : place->now_ms + 1;
        pl_worker_begin(&place->worker, place->now_ms, place->now_ms + 1000000);
        for (uint32_t i = 0; i < place->peer_count; i++) {
            struct peer *p = place->peers[i];
            if (p->link && !p->is_closing && p->tick_ms <= place->now_ms)
                p->tick_ms = p->link->protocol->tick(p->link, place->now_ms);
        }
        pl_realm_tick(place->realm, &place->worker);
        place_run(place);
    }
}

static inline void place_done(struct place *place)
{
    for (uint32_t i = 0; i < place->peer_count; i++)
        peer_leave(place->peers[i]);
    place_run(place);
    for (uint32_t i = 0; i < place->peer_count; i++) {
        struct peer *p = place->peers[i];
        free(p->input);
        free(p->heard);
        free(p->told);
        free(p);
    }
    pl_realm_free(place->realm);
    pl_identity_unref(place->identity);
    pl_worker_done(&place->worker);
}

#endif
