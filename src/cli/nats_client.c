#include "cli/nats_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/text.h"
#include "client/socket.h"
#include "client/url.h"

enum {
    READ_SIZE = 64 * 1024,
    LINE_MAX_IN = 64 * 1024, /* INFO may be long */
    CONNECT_MS = 5000,
    CLOSE_MS = 1000,
    CLIENTS_MAX = 4096,
};

struct pl_nats_client {
    struct pl_socket *socket;
    struct pl_output_pool pool;
    struct pl_output out;
    struct pl_chunk *sending; /* taken from out, being written */
    uint8_t *in;
    size_t in_at, in_len, in_cap;
    uint8_t *info_memory;
    struct pl_nats_info info;
    bool is_ended; /* the server has; what it said before is still looked at */
    bool is_closed;
    char name[300];
    struct pl_diag error;
};

bool pl_nats_client_option(struct pl_nats_client_options *options, int option, const char *argument)
{
    switch (option) {
    case 's':
        options->server = argument;
        return true;
    case PL_OPTION_USER:
        options->user = argument;
        return true;
    case PL_OPTION_PASSWORD:
        options->password = argument;
        return true;
    case PL_OPTION_TOKEN:
        options->token = argument;
        return true;
    case PL_OPTION_CA:
        options->ca_file = argument;
        return true;
    case PL_OPTION_INSECURE:
        options->insecure = true;
        return true;
    case PL_OPTION_TLS_FIRST:
        options->tls_first = true;
        return true;
    default:
        return false;
    }
}

uint64_t pl_nats_client_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* nats://, tls:// or unix:; no path behind a host. */
static bool read_url(const char *text, struct pl_url *out, bool *out_is_tls)
{
    if (!pl_url_parse(text, out))
        return false;
    bool is_unix = strcmp(out->scheme, "unix") == 0;
    *out_is_tls = strcmp(out->scheme, "tls") == 0;
    if (!is_unix && !*out_is_tls && out->scheme[0] && strcmp(out->scheme, "nats") != 0)
        return false;
    if (!is_unix && out->path[0] && out->path[1])
        return false;
    if (!out->port[0])
        (void)snprintf(out->port, sizeof out->port, "4222");
    return true;
}

static enum pl_err fail(struct pl_nats_client *c, enum pl_err err, const char *text)
{
    c->is_closed = true;
    if (!c->error.text[0])
        pl_diag_set(&c->error, 0, "%s", text);
    return err;
}

static bool has_output(const struct pl_nats_client *c)
{
    return c->sending || c->out.head;
}

static enum pl_err send_some(struct pl_nats_client *c)
{
    while (has_output(c)) {
        if (!c->sending)
            c->sending = pl_output_take(&c->out);
        size_t n;
        enum pl_err err =
            pl_socket_write(c->socket, pl_bytes_of(c->sending->data, c->sending->len), &n);
        if (err == PL_NEED_MORE)
            return PL_OK;
        if (err)
            return err;
        pl_output_sent(&c->out, n);
        pl_chunk_advance(&c->pool, &c->sending, n);
    }
    (void)pl_output_pool_next_dirty(&c->pool);
    return PL_OK;
}

static void drop_output(struct pl_nats_client *c)
{
    while (has_output(c)) {
        if (!c->sending)
            c->sending = pl_output_take(&c->out);
        pl_output_sent(&c->out, c->sending->len);
        pl_chunk_advance(&c->pool, &c->sending, c->sending->len);
    }
}

static enum pl_err read_some(struct pl_nats_client *c)
{
    if (c->in_at) {
        memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
        c->in_len -= c->in_at;
        c->in_at = 0;
    }
    for (int rounds = 0; rounds < 4; rounds++) {
        if (c->in_cap - c->in_len < READ_SIZE) {
            size_t cap = c->in_cap * 2 + READ_SIZE;
            uint8_t *bigger = pl_realloc(c->in, cap);
            if (!bigger)
                return PL_NO_MEMORY;
            c->in = bigger;
            c->in_cap = cap;
        }
        size_t n;
        enum pl_err err = pl_socket_read(c->socket, c->in + c->in_len, c->in_cap - c->in_len, &n);
        if (err == PL_NEED_MORE)
            return PL_OK;
        if (err) {
            c->is_ended = true;
            return PL_OK;
        }
        c->in_len += n;
        if (c->in_cap - c->in_len > READ_SIZE / 2)
            return PL_OK;
    }
    return PL_OK;
}

enum pl_err pl_nats_client_wait(
    struct pl_nats_client *const *clients, size_t count, int64_t timeout_ms)
{
    struct pollfd polls[CLIENTS_MAX];
    PL_ASSERT(count <= CLIENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct pl_nats_client *c = clients[i];
        if (c->is_closed)
            return PL_CLOSED;
        if (c->is_ended)
            return fail(c, PL_CLOSED, "the server closed the connection");
        /* A server that hangs up has often said why: so its end is noticed by reading. */
        if (send_some(c))
            drop_output(c);
        polls[i] = (struct pollfd){.fd = pl_socket_fd(c->socket),
            .events = (short)(POLLIN | (has_output(c) ? POLLOUT : 0))};
        if (pl_socket_has_pending(c->socket))
            timeout_ms = 0;
    }
    int timeout = timeout_ms < 0 || timeout_ms > INT32_MAX ? -1 : (int)timeout_ms;
    if (poll(polls, count, timeout) < 0 && errno != EINTR)
        return PL_IO;
    for (size_t i = 0; i < count; i++) {
        struct pl_nats_client *c = clients[i];
        bool readable = polls[i].revents & (POLLIN | POLLHUP | POLLERR);
        if (!readable && !pl_socket_has_pending(c->socket))
            continue;
        if (read_some(c))
            return fail(c, PL_NO_MEMORY, "out of memory");
    }
    return PL_OK;
}

static struct pl_bytes unquoted(struct pl_bytes text)
{
    if (text.len >= 2 && text.data[0] == '\'' && text.data[text.len - 1] == '\'')
        return pl_bytes_of(text.data + 1, text.len - 2);
    return text;
}

static void on_info(struct pl_nats_client *c, struct pl_bytes text)
{
    uint8_t *memory = pl_alloc(text.len + 1);
    struct pl_nats_info info = {0};
    if (memory && pl_nats_read_info(text, memory, &info) == PL_OK) {
        pl_free(c->info_memory);
        c->info_memory = memory;
        c->info = info;
    } else {
        pl_free(memory);
    }
}

/* PL_OK: *out is an event; PL_EXISTS: a line that is none; PL_NEED_MORE. */
static enum pl_err take_line(struct pl_nats_client *c, struct pl_nats_client_event *out)
{
    struct pl_nats_line line;
    struct pl_bytes in = pl_bytes_of(c->in + c->in_at, c->in_len - c->in_at), all;
    size_t used, more;
    enum pl_err err = in.len ? pl_nats_read_line(in, LINE_MAX_IN, &line, &used) : PL_NEED_MORE;
    if (err)
        return err;
    *out = (struct pl_nats_client_event){0};
    switch ((enum pl_nats_verb)line.verb) {
    case PL_NATS_MSG:
    case PL_NATS_HMSG:
        err = pl_nats_read_payload(pl_bytes_from(in, used), line.size, &all, &more);
        if (err)
            return err;
        used += more;
        out->kind = PL_NATS_CLIENT_MESSAGE;
        out->subject = line.subject;
        out->sid = line.sid;
        out->reply = line.reply;
        out->head = pl_bytes_of(all.data, line.head_size);
        out->payload = pl_bytes_from(all, line.head_size);
        break;
    case PL_NATS_PONG:
        out->kind = PL_NATS_CLIENT_PONG;
        break;
    case PL_NATS_ERR:
        out->kind = PL_NATS_CLIENT_ERROR;
        out->text = unquoted(line.text);
        break;
    case PL_NATS_PING:
        err = pl_output_append(&c->out, PL_BYTES("PONG\r\n"));
        break;
    case PL_NATS_INFO:
        on_info(c, line.text);
        break;
    case PL_NATS_OK:
        break;
    case PL_NATS_PUB:
    case PL_NATS_HPUB:
    case PL_NATS_SUB:
    case PL_NATS_UNSUB:
    case PL_NATS_CONNECT:
        return PL_MALFORMED;
    }
    c->in_at += used;
    if (err)
        return err;
    bool is_event = line.verb == PL_NATS_MSG || line.verb == PL_NATS_HMSG ||
                    line.verb == PL_NATS_PONG || line.verb == PL_NATS_ERR;
    return is_event ? PL_OK : PL_EXISTS;
}

bool pl_nats_client_next(struct pl_nats_client *c, struct pl_nats_client_event *out)
{
    enum pl_err err;
    while ((err = take_line(c, out)) == PL_EXISTS)
        continue;
    if (err == PL_OK)
        return true;
    if (err != PL_NEED_MORE)
        (void)fail(c, err, "the server does not speak NATS");
    return false;
}

static enum pl_err await_info(struct pl_nats_client *c, uint64_t timeout_ms)
{
    uint64_t end = pl_nats_client_now_ns() / 1000000 + timeout_ms;
    struct pl_nats_client_event event;
    while (!c->info_memory) {
        uint64_t now = pl_nats_client_now_ns() / 1000000;
        if (now >= end)
            return fail(c, PL_TIMEOUT, "the server does not say anything, as a NATS server would");
        enum pl_err err = pl_nats_client_wait(&c, 1, (int64_t)(end - now));
        if (err)
            return err;
        if (pl_nats_client_next(c, &event) && event.kind == PL_NATS_CLIENT_ERROR) {
            pl_diag_set(&c->error, 0, "%.*s", (int)event.text.len, (const char *)event.text.data);
            return fail(c, PL_BAD_LOGIN, "");
        }
        if (c->is_closed)
            return PL_CLOSED;
    }
    return PL_OK;
}

enum pl_err pl_nats_client_sync(struct pl_nats_client *c, uint64_t timeout_ms)
{
    uint64_t end = pl_nats_client_now_ns() / 1000000 + timeout_ms;
    struct pl_nats_client_event event;
    enum pl_err err = pl_nats_client_ping(c);
    while (!err) {
        while (pl_nats_client_next(c, &event)) {
            if (event.kind == PL_NATS_CLIENT_PONG)
                return PL_OK;
            if (event.kind == PL_NATS_CLIENT_ERROR) {
                pl_diag_set(
                    &c->error, 0, "%.*s", (int)event.text.len, (const char *)event.text.data);
                return PL_DENIED;
            }
        }
        uint64_t now = pl_nats_client_now_ns() / 1000000;
        if (now >= end)
            return fail(c, PL_TIMEOUT, "the server does not answer");
        err = pl_nats_client_wait(&c, 1, (int64_t)(end - now));
    }
    return err;
}

static void set_name(struct pl_nats_client *c, const struct pl_url *url)
{
    if (!url->host[0])
        (void)snprintf(c->name, sizeof c->name, "unix:%.*s", 256, url->path);
    else
        (void)snprintf(c->name, sizeof c->name, "%s:%s", url->host, url->port);
}

static enum pl_err log_in(struct pl_nats_client *c, const struct pl_nats_client_options *options,
    const struct pl_url *url)
{
    const char *password = options->password ? options->password : getenv("PARLEY_PASSWORD");
    const char *token = options->token ? options->token : getenv("PARLEY_TOKEN");
    const char *user = options->user ? options->user : url->has_user ? url->user : NULL;
    if (!password && url->has_password)
        password = url->password;
    if (user && !password && !options->user) { /* nats://token@host */
        token = user;
        user = NULL;
    }
    struct pl_nats_connect connect = {
        .echo = !options->no_echo,
        .headers = true,
        .no_responders = true,
        .protocol = 1,
        .has_user = user != NULL,
        .user = pl_bytes_text(user),
        .has_pass = user && password,
        .pass = pl_bytes_text(password),
        .has_token = token != NULL && !user,
        .auth_token = pl_bytes_text(token),
        .name = PL_BYTES("parley-cli"),
        .lang = PL_BYTES("c"),
        .version = PL_BYTES(PARLEY_VERSION),
    };
    struct pl_writer w = pl_writer_begin(&c->out);
    pl_nats_write_connect(&w, &connect);
    return pl_writer_end(&w);
}

enum pl_err pl_nats_client_open(
    const struct pl_nats_client_options *options, struct pl_nats_client **out, struct pl_diag *diag)
{
    uint64_t limit_ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
    const char *server = options->server ? options->server : getenv("PARLEY_URL");
    struct pl_url url;
    bool is_tls;
    if (!read_url(server && *server ? server : "nats://127.0.0.1:4222", &url, &is_tls)) {
        pl_diag_set(diag, 0, "not a server's address: %s", server);
        return PL_CONFIG;
    }
    struct pl_nats_client *c = pl_zalloc(sizeof *c);
    if (!c)
        return PL_NO_MEMORY;
    pl_output_init(&c->out, &c->pool, SIZE_MAX);
    set_name(c, &url);
    enum pl_err err = pl_socket_open(url.host, url.port, url.path, limit_ms, &c->socket, &c->error);
    bool tls_first = options->tls_first;
    const struct pl_socket_tls tls = {.ca_file = options->ca_file, .insecure = options->insecure};
    if (!err && tls_first)
        err = pl_socket_start_tls(c->socket, url.host, &tls, limit_ms, &c->error);
    if (!err)
        err = await_info(c, limit_ms);
    if (!err && is_tls && !tls_first && !c->info.tls_required && !c->info.tls_available)
        err = fail(c, PL_UNSUPPORTED, "the server offers no TLS");
    if (!err && !tls_first && (is_tls || c->info.tls_required))
        err = pl_socket_start_tls(c->socket, url.host, &tls, limit_ms, &c->error);
    if (!err)
        err = log_in(c, options, &url);
    if (!err)
        err = pl_nats_client_sync(c, limit_ms);
    if (!err) {
        *out = c;
        return PL_OK;
    }
    pl_diag_set(diag, 0, "%s: %s", c->name, c->error.text[0] ? c->error.text : pl_err_text(err));
    pl_nats_client_close(c);
    return err;
}

void pl_nats_client_close(struct pl_nats_client *c)
{
    if (!c)
        return;
    uint64_t end = pl_nats_client_now_ns() / 1000000 + CLOSE_MS;
    while (c->socket && !c->is_closed && has_output(c) && pl_nats_client_now_ns() / 1000000 < end) {
        struct pl_nats_client_event ignored;
        if (pl_nats_client_wait(&c, 1, 50))
            break;
        while (pl_nats_client_next(c, &ignored))
            continue;
    }
    drop_output(c);
    pl_output_done(&c->out);
    pl_output_pool_done(&c->pool);
    pl_socket_close(c->socket);
    pl_free(c->in);
    pl_free(c->info_memory);
    pl_free(c);
}

const struct pl_nats_info *pl_nats_client_info(const struct pl_nats_client *c)
{
    return &c->info;
}

const char *pl_nats_client_name(const struct pl_nats_client *c)
{
    return c->name;
}

const char *pl_nats_client_error(const struct pl_nats_client *c)
{
    return c->error.text[0] ? c->error.text : "the connection failed";
}

size_t pl_nats_client_queued(const struct pl_nats_client *c)
{
    return c->out.bytes;
}

enum pl_err pl_nats_client_publish(struct pl_nats_client *c, struct pl_bytes subject,
    struct pl_bytes reply, struct pl_bytes head, struct pl_bytes payload)
{
    struct pl_writer w = pl_writer_begin(&c->out);
    pl_nats_write_pub(&w, subject, reply, head, payload);
    return pl_writer_end(&w);
}

enum pl_err pl_nats_client_subscribe(
    struct pl_nats_client *c, struct pl_bytes pattern, struct pl_bytes queue, uint32_t sid)
{
    char digits[PL_DECIMAL_MAX];
    struct pl_writer w = pl_writer_begin(&c->out);
    pl_nats_write_sub(&w, pattern, queue, pl_bytes_of(digits, pl_format_decimal(digits, sid)));
    return pl_writer_end(&w);
}

enum pl_err pl_nats_client_ping(struct pl_nats_client *c)
{
    return pl_output_append(&c->out, PL_BYTES("PING\r\n"));
}
