/*
 * A connection: net's bytes on one side, a protocol's link on the other.
 *
 *     SNIFF   a port for several: the first bytes tell TLS, HTTP, or a protocol
 *     HTTP    requests, until one asks for a WebSocket
 *     LINK    a protocol has it
 *
 * Before its protocol is known a connection is small; then it is allocated anew, with the
 * protocol's link behind it.
 */
#include <stdalign.h>

#include "base/alloc.h"
#include "base/log.h"
#include "codec/http.h"
#include "net/upgrade.h"
#include "server/state.h"

enum phase { PHASE_SNIFF, PHASE_HTTP, PHASE_LINK };

enum { PACKET_SLACK = 1024 };

struct pl_connection {
    struct pl_conn *conn;
    struct pl_place *place;
    uint64_t id, opened_ms;
    struct pl_answer *answer;  /* it waits for; whoever works on it owns it */
    char *request;             /* owned; what is kept of a WebSocket's request, see keep_request */
    struct pl_user_hold *hold; /* owned with login.c: its logins, the newest first */
    uint32_t taken;            /* bytes that its protocol took before anyone had logged in */
    uint8_t phase;             /* enum phase */
    bool has_link;             /* a struct pl_link stands behind this one */
    bool has_entered;          /* someone has logged in on it */
    bool is_stalled;           /* not read from until server->queued falls */
    bool is_drained;           /* its peer knows that the server goes down */
    alignas(max_align_t) char link[];
};

static struct pl_link *link_of(struct pl_connection *c)
{
    return (struct pl_link *)(void *)c->link;
}

static struct pl_connection *connection_of(struct pl_link *link)
{
    return (struct pl_connection *)(void *)((char *)link - offsetof(struct pl_connection, link));
}

/* Once someone has logged in, larger packets may come. */
static void enter(struct pl_connection *c)
{
    struct pl_link *link = link_of(c);
    const struct pl_link_config *config = link->config;
    if (c->has_entered || !link->session || !link->session->identity)
        return;
    c->has_entered = true;
    pl_conn_set_input_max(c->conn, (size_t)config->packet_max + PACKET_SLACK);
    if (link->is_websocket)
        pl_conn_set_message_max(c->conn, config->packet_max);
}

/* ---- What a link asks of its connection ---- */

static void host_resume(struct pl_link *link)
{
    struct pl_connection *c = connection_of(link);
    enter(c); /* before net looks at what has come meanwhile */
    if (!c->is_stalled)
        pl_conn_resume(c->conn);
}

static void host_close(struct pl_link *link, enum pl_err why, const struct pl_diag *diag)
{
    if (!link->is_open)
        return;
    link->is_open = false;
    pl_conn_close(connection_of(link)->conn, why, diag);
}

static enum pl_err host_start_tls(struct pl_link *link)
{
    enum pl_err err = pl_conn_start_tls(connection_of(link)->conn);
    if (!err)
        link->is_tls = true;
    return err;
}

static void host_tick_at(struct pl_link *link, uint64_t at_ms)
{
    pl_conn_set_timer(connection_of(link)->conn, at_ms);
}

static enum pl_err host_send_message(struct pl_link *link, bool is_text, struct pl_bytes message)
{
    return pl_conn_send_message(
        connection_of(link)->conn, is_text ? PL_CONN_TEXT : PL_CONN_BINARY, message);
}

static uint64_t host_bytes_in(struct pl_link *link)
{
    return pl_conn_bytes_in(connection_of(link)->conn);
}

/* The lines "name\0value\0" of keep_request. */
static struct pl_bytes find_kept(const struct pl_connection *c, char kind, const char *name)
{
    for (const char *at = c->request; at && *at; at += strlen(at) + 1) {
        const char *value = at + strlen(at) + 1;
        if (at[0] == kind && strcmp(at + 1, name) == 0)
            return pl_bytes_text(value);
        at = value;
    }
    return PL_NO_BYTES;
}

static struct pl_bytes host_request_header(struct pl_link *link, const char *name)
{
    return find_kept(connection_of(link), 'h', name);
}

static struct pl_bytes host_request_query(struct pl_link *link, const char *name)
{
    return find_kept(connection_of(link), 'q', name);
}

static struct pl_bytes host_certificate(struct pl_link *link)
{
    return pl_conn_certificate(connection_of(link)->conn);
}

static size_t host_channel_id(struct pl_link *link, struct pl_bytes type, uint8_t *out, size_t cap)
{
    const struct pl_conn *conn = connection_of(link)->conn;
    if (pl_bytes_equal(type, PL_BYTES("tls-unique")))
        return pl_conn_channel_id(conn, PL_TLS_UNIQUE, out, cap);
    if (pl_bytes_equal(type, PL_BYTES("tls-exporter")))
        return pl_conn_channel_id(conn, PL_TLS_EXPORTER, out, cap);
    return 0;
}

static const struct pl_link_host link_host = {
    .resume = host_resume,
    .close = host_close,
    .start_tls = host_start_tls,
    .tick_at = host_tick_at,
    .send_message = host_send_message,
    .bytes_in = host_bytes_in,
    .request_header = host_request_header,
    .request_query = host_request_query,
    .certificate = host_certificate,
    .channel_id = host_channel_id,
};

/*
 * Of a WebSocket's request only what may hold a login is kept: "hname\0value\0" of a header,
 * "qname\0value\0" of a query parameter, "tcookie\0value\0" of the one that it is known again by,
 * and an empty line at the end. A cookie comes by itself, so
 * it does not count where the Origin is foreign (DESIGN section 5, Browsers).
 */
static enum pl_err keep_request(struct pl_connection *c, const struct pl_http_request *request,
    const char *cookie, bool is_ambient)
{
    static const char *const headers[] = {"authorization", "cookie"};
    static const char *const parameters[] = {"token", "jwt", "user", "password"};
    struct pl_arena arena = {0};
    struct pl_bytes values[7];
    size_t size = 1, count = 0;
    const char *names[7];
    char kinds[7];
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < 2; i++) {
        struct pl_bytes value = pl_http_header(request, headers[i]);
        if (!value.data || (i == 1 && !is_ambient) || memchr(value.data, 0, value.len))
            continue;
        kinds[count] = 'h';
        names[count] = headers[i];
        values[count++] = value;
    }
    for (size_t i = 0; i < 4 && !err; i++) {
        err = pl_http_query(request->query, parameters[i], &arena, &values[count]);
        if (!err && !memchr(values[count].data, 0, values[count].len)) {
            kinds[count] = 'q';
            names[count++] = parameters[i];
        }
        if (err != PL_NO_MEMORY)
            err = PL_OK;
    }
    if (cookie[0]) {
        kinds[count] = 't';
        names[count] = "cookie";
        values[count++] = pl_bytes_text(cookie);
    }
    for (size_t i = 0; i < count; i++)
        size += 1 + strlen(names[i]) + 1 + values[i].len + 1;
    if (!err && count && !(c->request = pl_alloc(size)))
        err = PL_NO_MEMORY;
    if (!err && count) {
        char *at = c->request;
        for (size_t i = 0; i < count; i++) {
            *at++ = kinds[i];
            at = stpcpy(at, names[i]) + 1;
            memcpy(at, values[i].data, values[i].len);
            at += values[i].len;
            *at++ = '\0';
        }
        *at = '\0';
    }
    pl_arena_done(&arena);
    return err;
}

/* ---- The protocol ---- */

static const struct pl_link_config *link_config(
    const struct pl_place *place, const struct pl_protocol *protocol)
{
    for (size_t i = 0; place->port->protocols[i]; i++) {
        if (place->port->protocols[i] == protocol)
            return &place->links[i];
    }
    return NULL;
}

/* The connection is the protocol's from now on. c moves: *c_at is where it stands then. */
static enum pl_err speak(struct pl_connection **c_at, const struct pl_protocol *protocol,
    const struct pl_upgrade *up, bool is_ambient)
{
    struct pl_connection *c = *c_at;
    struct pl_conn *conn = c->conn;
    const struct pl_link_config *config = link_config(c->place, protocol);
    size_t link_size = protocol->link_size;
    c = pl_realloc(c, sizeof *c + link_size);
    if (!c)
        return PL_NO_MEMORY;
    memset(c->link, 0, link_size);
    pl_conn_set_owner(conn, c);
    *c_at = c;
    c->phase = PHASE_LINK;
    c->has_link = true;
    struct pl_link *link = link_of(c);
    link->protocol = protocol;
    link->host = &link_host;
    link->config = config;
    link->worker = pl_conn_shard(conn)->worker;
    link->out = pl_conn_output(conn);
    link->address = pl_conn_address(conn);
    link->opened_ms = c->opened_ms;
    link->id = c->id;
    link->is_websocket = pl_conn_is_websocket(conn);
    link->is_tls = pl_conn_is_tls(conn);
    link->is_ambient_allowed = is_ambient;
    link->cookie = find_kept(c, 't', "cookie");
    if (up && protocol->takes_messages)
        link->framing = up->has_deflate ? PL_FRAMING_MESSAGES : PL_FRAMING_WEBSOCKET;
    link->subprotocol = up ? up->subprotocol : NULL;
    link->is_open = true;
    pl_conn_set_input_max(conn, config->packet_max_login);
    struct pl_shard *shard = pl_conn_shard(conn);
    shard->current = c;
    enum pl_err err = protocol->open ? protocol->open(link) : PL_OK;
    if (!err && link->is_open)
        pl_conn_set_timer(conn, protocol->tick ? protocol->tick(link, link->opened_ms) : PL_NEVER);
    shard->current = NULL;
    return err;
}

enum pl_err pl_connection_speak_websocket(struct pl_conn *conn, const struct pl_protocol *protocol,
    const struct pl_http_request *request, const struct pl_upgrade *up, const char *cookie,
    bool is_ambient)
{
    struct pl_connection *c = pl_conn_owner(conn);
    enum pl_err err = keep_request(c, request, cookie, is_ambient);
    return err ? err : speak(&c, protocol, up, is_ambient);
}

/* ---- What net tells ---- */

static enum pl_err refuse_new(struct pl_conn *conn, struct pl_shard *shard)
{
    struct pl_server *server = shard->server;
    enum pl_err err = PL_OK;
    if (atomic_load_explicit(&server->is_draining, memory_order_relaxed))
        err = PL_DRAINING;
    else if (pl_reactor_lag_ms(shard->reactor) > server->config->limits.lag_ms)
        err = PL_LIMIT;
    if (err) {
        pl_count(&shard->worker->counters.connections_refused, 1);
        /* Cheap, and no TIME_WAIT of ours: it gets no word. */
        pl_conn_abort(conn, err);
    }
    return err;
}

static uint64_t login_end(const struct pl_connection *c, const struct pl_config_client *client)
{
    return client->login_timeout_ms == PL_NEVER ? PL_NEVER
                                                : c->opened_ms + client->login_timeout_ms;
}

static enum pl_err on_open(struct pl_conn *conn)
{
    struct pl_shard *shard = pl_conn_shard(conn);
    struct pl_place *place = pl_listener_context(pl_conn_listener(conn));
    /* Operators come in to the end. */
    enum pl_err err = place->port ? refuse_new(conn, shard) : PL_OK;
    if (err)
        return err;
    struct pl_connection *c = pl_zalloc(sizeof *c);
    if (!c)
        return PL_NO_MEMORY;
    pl_count(&shard->worker->counters.connections_accepted, 1);
    c->conn = conn;
    c->place = place;
    c->id = ((uint64_t)(shard->index + 1) << PL_SHARD_SHIFT) + ++shard->next_connection;
    c->opened_ms = pl_reactor_now_ms(shard->reactor);
    pl_conn_set_owner(conn, c);
    const struct pl_port *port = place->port;
    if (!port) {
        c->phase = PHASE_HTTP;
        pl_conn_set_timer(conn, login_end(c, &place->server->config->client));
        return PL_OK;
    }
    const struct pl_config_listener *config = port->config;
    const struct pl_protocol *only =
        pl_config_has_http(config) || port->protocols[1] ? NULL : port->protocols[0];
    bool speaks_first = only && !only->sniff;
    if (config->tls == PL_TLS_DIRECT || (config->tls == PL_TLS_ON && !speaks_first)) {
        if ((err = pl_conn_start_tls(conn)))
            return err;
    }
    pl_conn_set_timer(conn, login_end(c, &config->client));
    if (only && (speaks_first || config->tls != PL_TLS_OPTIONAL))
        return speak(&c, only, NULL, true);
    c->phase = PHASE_SNIFF;
    return PL_OK;
}

/* The first bytes of a shared port: PL_OK and the phase, or the protocol, is set. */
static enum pl_err sniff(struct pl_connection **c_at, struct pl_bytes first, bool *out_is_tls)
{
    struct pl_connection *c = *c_at;
    const struct pl_port *port = c->place->port;
    bool needs_more = false;
    if (port->config->tls == PL_TLS_OPTIONAL && !pl_conn_is_tls(c->conn)) {
        enum pl_err err = pl_tls_sniff(first);
        if (err == PL_OK) {
            *out_is_tls = true;
            return pl_conn_start_tls(c->conn);
        }
        needs_more |= err == PL_NEED_MORE;
    }
    if (pl_config_has_http(port->config)) {
        enum pl_err err = pl_http_sniff(first);
        if (err == PL_OK) {
            c->phase = PHASE_HTTP;
            return PL_OK;
        }
        needs_more |= err == PL_NEED_MORE;
    }
    for (const struct pl_protocol *const *p = port->protocols; *p; p++) {
        enum pl_sniff answer = (*p)->sniff ? (*p)->sniff(first) : PL_SNIFF_NO;
        if (answer == PL_SNIFF_YES)
            return speak(c_at, *p, NULL, true);
        needs_more |= answer == PL_SNIFF_MORE;
    }
    return needs_more ? PL_NEED_MORE : PL_PROTOCOL;
}

/* Published while too much waits for readers: it is not read from for a while. */
static void stall_if_full(struct pl_connection *c, struct pl_shard *shard, uint64_t published)
{
    const struct pl_server *server = shard->server;
    if (published == shard->worker->counters.messages_in ||
        !pl_shard_is_full(shard, server->config->limits.queued))
        return;
    c->is_stalled = true;
    shard->stalled++;
    pl_conn_pause(c->conn);
    pl_shard_look_soon(shard);
}

/* Nobody may talk for long without saying who it is. */
static enum pl_err count_before_login(struct pl_connection *c, size_t used)
{
    const struct pl_link *link = link_of(c);
    if (c->has_entered || link->is_waiting || (link->session && link->session->identity))
        return PL_OK;
    c->taken += (uint32_t)used;
    return c->taken > link->config->packet_max_login ? PL_TOO_LARGE : PL_OK;
}

static enum pl_err to_link(struct pl_connection *c, struct pl_conn_input in, size_t *out_used)
{
    struct pl_link *link = link_of(c);
    struct pl_shard *shard = pl_conn_shard(c->conn);
    enter(c);
    if (!link->is_open || link->is_waiting || c->is_stalled) {
        if (link->is_open)
            pl_conn_pause(c->conn);
        *out_used = link->is_open ? 0 : in.bytes.len;
        return PL_OK;
    }
    uint64_t published = shard->worker->counters.messages_in;
    shard->current = c;
    enum pl_err err = link->protocol->receive(link,
        (struct pl_input){
            .bytes = in.bytes,
            .buffer = in.buffer,
            .kind = in.kind == PL_CONN_STREAM ? PL_INPUT_STREAM
                    : in.kind == PL_CONN_TEXT ? PL_INPUT_TEXT_FRAME
                                              : PL_INPUT_BINARY_FRAME,
        },
        out_used);
    shard->current = NULL;
    if (err == PL_NEED_MORE)
        err = PL_OK;
    if (!err && link->is_open)
        err = count_before_login(c, *out_used);
    if (!err && link->is_open)
        stall_if_full(c, shard, published);
    if (!err && link->is_open && link->is_waiting)
        pl_conn_pause(c->conn);
    return err;
}

static enum pl_err on_input(struct pl_conn *conn, struct pl_conn_input in, size_t *out_used)
{
    struct pl_connection *c = pl_conn_owner(conn);
    enum pl_err err = PL_OK;
    *out_used = 0;
    if (c->phase == PHASE_SNIFF) {
        bool is_tls = false;
        err = sniff(&c, in.bytes, &is_tls);
        if (err == PL_NEED_MORE)
            return PL_OK;
        if (err || is_tls)
            return err;
    }
    if (c->phase == PHASE_HTTP) {
        if (pl_connection_feed_answer(conn, in.bytes, out_used, &err))
            return err;
        if (c->answer) {
            pl_conn_pause(conn);
            return PL_OK;
        }
        return pl_http_serve(conn, c->place, in.bytes, out_used);
    }
    return to_link(c, in, out_used);
}

static void on_timer(struct pl_conn *conn, uint64_t now_ms)
{
    struct pl_connection *c = pl_conn_owner(conn);
    if (!c->has_link) {
        pl_conn_close(conn, PL_TIMEOUT, NULL);
        return;
    }
    struct pl_link *link = link_of(c);
    if (!link->is_open)
        return;
    enter(c);
    pl_conn_shard(conn)->current = c;
    uint64_t next_ms = link->protocol->tick ? link->protocol->tick(link, now_ms) : PL_NEVER;
    pl_conn_shard(conn)->current = NULL;
    if (link->is_open)
        pl_conn_set_timer(conn, next_ms);
}

static void on_drained(struct pl_conn *conn)
{
    struct pl_connection *c = pl_conn_owner(conn);
    if (c->answer && c->answer->ops && c->answer->ops->drained)
        c->answer->ops->drained(c->answer);
    else if (c->phase == PHASE_HTTP && !c->answer)
        pl_conn_resume(conn);
    if (c->has_link && link_of(c)->session)
        pl_session_drained(link_of(c)->session);
}

static void log_close(
    struct pl_connection *c, struct pl_shard *shard, enum pl_err why, const struct pl_diag *diag)
{
    bool is_bad = why == PL_MALFORMED || why == PL_PROTOCOL || why == PL_TOO_LARGE ||
                  why == PL_UNSUPPORTED || why == PL_BAD_NAME;
    if (is_bad)
        pl_count(&shard->worker->counters.malformed, 1);
    enum pl_log_level level = is_bad || why == PL_SLOW_CONSUMER ? PL_LOG_INFO : PL_LOG_DEBUG;
    if (!pl_log_is_on(level) || (level == PL_LOG_INFO && !pl_server_may_log(shard->server)))
        return;
    struct pl_bytes address = pl_conn_address(c->conn);
    pl_log(level, "connection_closed",
        "id=%llu listener=%s protocol=%s address=%.*s why=\"%s\"%s%s", (unsigned long long)c->id,
        c->place->port ? c->place->port->config->name : "admin",
        c->has_link ? link_of(c)->protocol->name : "none", (int)address.len, address.data,
        pl_err_text(why), diag ? " detail=" : "", diag ? diag->text : "");
}

static void on_close(struct pl_conn *conn, enum pl_err why, const struct pl_diag *diag)
{
    struct pl_connection *c = pl_conn_owner(conn);
    if (!c)
        return; /* Refused before it was one. */
    struct pl_shard *shard = pl_conn_shard(conn);
    pl_count(&shard->worker->counters.connections_closed, 1);
    log_close(c, shard, why, diag);
    if (c->answer) {
        struct pl_answer *answer = c->answer;
        answer->conn = NULL;
        if (answer->ops && answer->ops->gone)
            answer->ops->gone(answer);
    }
    if (c->is_stalled)
        shard->stalled--;
    c->hold = pl_user_hold_free(c->hold);
    if (c->has_link) {
        struct pl_link *link = link_of(c);
        link->is_open = false;
        if (link->protocol->closed)
            link->protocol->closed(link, why);
    }
    pl_conn_set_owner(conn, NULL);
    pl_free(c->request);
    pl_free(c);
}

const struct pl_conn_ops pl_connection_ops = {
    .on_open = on_open,
    .on_input = on_input,
    .on_timer = on_timer,
    .on_drained = on_drained,
    .on_close = on_close,
};

/* ---- For the rest of the server ---- */

struct pl_connection_facts pl_connection_facts(struct pl_conn *conn)
{
    struct pl_connection *c = pl_conn_owner(conn);
    if (!c)
        return (struct pl_connection_facts){0};
    return (struct pl_connection_facts){
        .id = c->id,
        .place = c->place,
        .link = c->has_link ? link_of(c) : NULL,
        .opened_ms = c->opened_ms,
    };
}

struct pl_user_hold **pl_connection_holds(struct pl_shard *shard)
{
    return shard->current ? &shard->current->hold : NULL;
}

void pl_connection_set_answer(struct pl_conn *conn, struct pl_answer *answer)
{
    ((struct pl_connection *)pl_conn_owner(conn))->answer = answer;
}

bool pl_connection_feed_answer(
    struct pl_conn *conn, struct pl_bytes in, size_t *out_used, enum pl_err *out_err)
{
    struct pl_answer *answer = ((struct pl_connection *)pl_conn_owner(conn))->answer;
    if (!answer || !answer->ops || !answer->ops->input)
        return false;
    *out_err = answer->ops->input(answer, in, out_used);
    return true;
}

bool pl_connection_has_answer(struct pl_conn *conn)
{
    return ((struct pl_connection *)pl_conn_owner(conn))->answer != NULL;
}

static void unstall(struct pl_conn *conn, void *context)
{
    struct pl_shard *shard = context;
    struct pl_connection *c = pl_conn_owner(conn);
    if (!c || !c->is_stalled)
        return;
    c->is_stalled = false;
    shard->stalled--;
    if (!link_of(c)->is_waiting)
        pl_conn_resume(conn);
}

void pl_connection_unstall(struct pl_shard *shard)
{
    pl_reactor_each_conn(shard->reactor, unstall, shard);
}

bool pl_connection_drain(struct pl_conn *conn)
{
    struct pl_connection *c = pl_conn_owner(conn);
    if (!c || c->is_drained || c->answer)
        return false; /* Who waits for an answer gets it first. */
    c->is_drained = true;
    if (!c->has_link) {
        pl_conn_close(conn, PL_DRAINING, NULL);
        return true;
    }
    struct pl_link *link = link_of(c);
    link->is_draining = true;
    if (link->is_open && link->protocol->drain)
        link->protocol->drain(link);
    else if (link->is_open)
        host_close(link, PL_DRAINING, NULL);
    return true;
}
