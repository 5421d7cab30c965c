/*
 * A server of the tests' own on real sockets: reactors without a core, and a protocol that echoes.
 * Its clients are plain blocking sockets of the test's thread.
 *
 * The peer chooses what the server does by what it sends first:
 *
 *     anything else   is echoed
 *     'B'             "bye" is answered, then the connection closes (PL_OK)
 *     'C'             the same without a word
 *     'A'             aborts
 *     'E'             on_input fails with PL_MALFORMED
 *     'P'             pauses, and resumes after 20 ms
 *     'G' + 4 bytes   sends that many bytes (big endian)
 *     'L' + 4 bytes   waits until that many bytes of body have come, answers "got <len>"
 *     'F' + 1 byte    of the reactor's next allocations that one fails; answers "ok"
 *     'N'             needs more, always: the tail grows to its limit
 *     'H'             an HTTP request follows: WebSocket upgrade (subprotocol "stream" or none)
 *     'T'             answers "tls", starts TLS
 *     0x16            is a ClientHello
 *     'O'             a message: what follows it is answered as two frames that are made here
 *     'W'             answers whether it is TLS, WebSocket, and the peer's certificate's subject
 */
#ifndef PARLEY_TESTS_NET_HARNESS_H
#define PARLEY_TESTS_NET_HARNESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/websocket.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/reactor.h"
#include "net/tls.h"
#include "net/upgrade.h"

enum { HARNESS_REACTORS_MAX = 4 };

struct harness_shard {
    struct pl_reactor *reactor;
    struct pl_output_pool outputs;
    atomic_uint opened;
};

struct harness {
    struct harness_shard shards[HARNESS_REACTORS_MAX];
    unsigned shard_count;
    struct pl_listener *listener;
    struct pl_gate *gate;
    struct pl_tls_server *tls;
    bool tls_at_once, allows_deflate, messages;
    atomic_uint opened, closed, drained, secured;
    atomic_int last_why; /* enum pl_err of the last on_close */
    atomic_uint inputs;  /* calls of on_input */
    atomic_size_t most;  /* the largest one */
};

static inline struct harness *harness_of(struct pl_conn *conn)
{
    return pl_listener_context(pl_conn_listener(conn));
}

static inline void harness_begin(void *context, uint64_t now_ms, uint64_t now_unix_ms)
{
    (void)context;
    (void)now_ms;
    (void)now_unix_ms;
}

static inline bool harness_turn(void *context)
{
    (void)context;
    return false;
}

static inline bool harness_sleep(void *context)
{
    (void)context;
    return true;
}

static inline enum pl_err harness_on_open(struct pl_conn *conn)
{
    struct harness *h = harness_of(conn);
    struct harness_shard *shard = pl_reactor_context(pl_conn_reactor(conn));
    atomic_fetch_add(&h->opened, 1);
    atomic_fetch_add(&shard->opened, 1);
    return h->tls_at_once ? pl_conn_start_tls(conn) : PL_OK;
}

static inline void harness_on_secured(struct pl_conn *conn)
{
    atomic_fetch_add(&harness_of(conn)->secured, 1);
}

static inline void harness_on_close(
    struct pl_conn *conn, enum pl_err why, const struct pl_diag *diag)
{
    (void)diag;
    atomic_store(&harness_of(conn)->last_why, (int)why);
    atomic_fetch_add(&harness_of(conn)->closed, 1);
}

static inline void harness_on_drained(struct pl_conn *conn)
{
    atomic_fetch_add(&harness_of(conn)->drained, 1);
}

static inline void harness_on_timer(struct pl_conn *conn, uint64_t now_ms)
{
    (void)now_ms;
    pl_conn_resume(conn);
}

static inline uint32_t harness_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline enum pl_err harness_say(struct pl_conn *conn, const char *text)
{
    return pl_output_append(pl_conn_output(conn), pl_bytes_text(text));
}

static inline enum pl_err harness_upgrade(
    struct pl_conn *conn, struct pl_bytes bytes, size_t *out_used)
{
    static const char *const subprotocols[] = {"stream", "binary-stream", NULL};
    struct harness *h = harness_of(conn);
    struct pl_http_request request;
    struct pl_upgrade up;
    unsigned status;
    enum pl_err err = pl_http_parse(bytes, &request, &status);
    if (err == PL_NEED_MORE) {
        *out_used = 0;
        return PL_OK;
    }
    if (err) {
        pl_conn_answer_status(conn, status);
        return PL_OK;
    }
    *out_used += bytes.len;
    err = pl_upgrade_check(
        &request, pl_bytes_from(bytes, request.head_len), subprotocols, h->allows_deflate, &up);
    if (err) {
        pl_conn_answer_status(conn, up.status);
        return PL_OK;
    }
    return pl_upgrade_accept(conn, &request, &up,
        (struct pl_websocket_options){
            .is_stream = !h->messages,
            .refuses_text = up.subprotocol && strcmp(up.subprotocol, "binary-stream") == 0,
            .message_max = 4 << 20,
        });
}

static inline enum pl_err harness_fill(struct pl_conn *conn, uint32_t len)
{
    struct pl_output *out = pl_conn_output(conn);
    uint32_t at = 0;
    struct pl_shared *buffer = pl_shared_new(65536);
    if (!buffer)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < 65536; i++)
        buffer->data[i] = (uint8_t)i;
    buffer->len = 65536;
    enum pl_err err = PL_OK;
    while (at < len && !err) {
        uint32_t part = len - at < 65536 ? len - at : 65536;
        err = pl_output_append_shared(out, buffer, pl_bytes_of(buffer->data, part));
        at += part;
    }
    pl_shared_unref(buffer);
    return err;
}

static _Thread_local bool harness_is_paused;

/* One command at the front of bytes; *out_used 0: more is needed. */
static inline enum pl_err harness_step(
    struct pl_conn *conn, struct pl_shared *buffer, struct pl_bytes bytes, size_t *out_used)
{
    struct pl_output *out = pl_conn_output(conn);
    char text[600];
    switch (bytes.len ? bytes.data[0] : 0) {
    case 'C':
        *out_used = bytes.len;
        pl_conn_close(conn, PL_OK, NULL);
        return PL_OK;
    case 'B':
        *out_used = bytes.len;
        (void)!harness_say(conn, "bye");
        pl_conn_close(conn, PL_OK, NULL);
        return PL_OK;
    case 'A':
        *out_used = bytes.len;
        pl_conn_abort(conn, PL_KICKED);
        return PL_OK;
    case 'E':
        (void)!harness_say(conn, "error");
        return PL_MALFORMED;
    case 'P':
        *out_used = 1;
        pl_conn_pause(conn);
        harness_is_paused = true;
        pl_conn_set_timer(conn, pl_reactor_now_ms(pl_conn_reactor(conn)) + 20);
        return PL_OK;
    case 'G':
        if (bytes.len < 5)
            return PL_OK;
        *out_used = 5;
        return harness_fill(conn, harness_u32(bytes.data + 1));
    case 'L':
        if (bytes.len < 5 || bytes.len - 5 < harness_u32(bytes.data + 1))
            return PL_OK;
        *out_used = 5 + harness_u32(bytes.data + 1);
        snprintf(text, sizeof text, "got %u", harness_u32(bytes.data + 1));
        for (size_t i = 5; i < *out_used; i++)
            if (bytes.data[i] != (uint8_t)(i - 5))
                snprintf(text, sizeof text, "bad %zu", i - 5);
        return harness_say(conn, text);
    case 'F':
        if (bytes.len < 2)
            return PL_OK;
        *out_used = 2;
        pl_alloc_fail(bytes.data[1], 0);
        return harness_say(conn, "ok");
    case 'N':
        return PL_OK;
    case 'H':
        *out_used = 1;
        return harness_upgrade(conn, pl_bytes_from(bytes, 1), out_used);
    case 'T':
        *out_used = 1;
        if (harness_say(conn, "tls") != PL_OK)
            return PL_NO_MEMORY;
        return pl_conn_start_tls(conn);
    case 0x16:
        if (!pl_conn_is_tls(conn))
            return pl_tls_sniff(bytes) == PL_OK ? pl_conn_start_tls(conn) : PL_OK;
        break;
    case 'W':
        *out_used = 1;
        snprintf(text, sizeof text, "%s %s %.*s", pl_conn_is_tls(conn) ? "tls" : "clear",
            pl_conn_is_websocket(conn) ? "websocket" : "stream", (int)pl_conn_address(conn).len,
            (const char *)pl_conn_address(conn).data);
        return harness_say(conn, text);
    default:
        break;
    }
    *out_used = bytes.len;
    return pl_output_append_shared(out, buffer, bytes);
}

/* 'K': kept where it lies, with a reference; "Kback" sends what was kept. */
static inline enum pl_err harness_keep(struct pl_conn *conn, struct pl_conn_input in)
{
    static struct pl_conn_input kept[8];
    static size_t count;
    bool is_end = pl_bytes_equal(in.bytes, PL_BYTES("Kback"));
    enum pl_err err = PL_OK;
    if (!is_end && count < sizeof kept / sizeof *kept) {
        kept[count] = in;
        pl_shared_ref(kept[count++].buffer);
    }
    for (size_t i = 0; is_end && i < count; i++) {
        if (!err)
            err = pl_conn_send_message(conn, kept[i].kind, kept[i].bytes);
        pl_shared_unref(kept[i].buffer);
    }
    if (is_end)
        count = 0;
    return err;
}

/* Of whole messages these are looked at: 'P', 'K', 'O'; every other one is echoed. */
static inline enum pl_err harness_on_message(
    struct pl_conn *conn, struct pl_conn_input in, size_t *out_used)
{
    struct pl_bytes bytes = in.bytes;
    char first = bytes.len ? (char)bytes.data[0] : 0;
    if (first == 'P')
        return harness_step(conn, in.buffer, bytes, out_used);
    *out_used = bytes.len;
    if (first == 'K')
        return harness_keep(conn, in);
    if (first != 'O')
        return pl_conn_send_message(conn, in.kind, bytes);
    uint8_t head[PL_WS_OUR_HEADER_MAX];
    struct pl_writer w = pl_writer_begin(pl_conn_output(conn));
    for (int i = 0; i < 2; i++) {
        size_t len = pl_websocket_encode_header(head, PL_WS_TEXT, true, false, bytes.len - 1);
        pl_write_bytes(&w, pl_bytes_of(head, len));
        pl_write_bytes(&w, pl_bytes_from(bytes, 1));
    }
    return pl_writer_end(&w);
}

static inline enum pl_err harness_on_input(
    struct pl_conn *conn, struct pl_conn_input in, size_t *out_used)
{
    struct harness *h = harness_of(conn);
    struct pl_bytes bytes = in.bytes;
    bool was_tls = pl_conn_is_tls(conn);
    size_t used = 1;
    enum pl_err err = PL_OK;
    atomic_fetch_add(&h->inputs, 1);
    if (bytes.len > atomic_load(&h->most))
        atomic_store(&h->most, bytes.len);
    if (in.kind != PL_CONN_STREAM)
        return harness_on_message(conn, in, out_used);
    while (!err && used && bytes.len) {
        used = 0;
        err = harness_step(conn, in.buffer, bytes, &used);
        bytes = pl_bytes_from(bytes, used);
        *out_used += used;
        if (harness_is_paused || pl_conn_is_tls(conn) != was_tls)
            break;
    }
    harness_is_paused = false;
    return err;
}

static const struct pl_conn_ops harness_ops = {
    .on_open = harness_on_open,
    .on_secured = harness_on_secured,
    .on_input = harness_on_input,
    .on_timer = harness_on_timer,
    .on_drained = harness_on_drained,
    .on_close = harness_on_close,
};

static const struct pl_reactor_ops harness_reactor_ops = {
    .begin = harness_begin, .turn = harness_turn, .sleep = harness_sleep};

/* h: zeroed, but for what the test wants. unix_path NULL: TCP on a free port of 127.0.0.1. */
static inline void harness_start(
    struct harness *h, unsigned reactors, const char *unix_path, const struct pl_gate_limits *gate)
{
    struct pl_reactor *all[HARNESS_REACTORS_MAX];
    struct pl_diag diag = {0};
    h->shard_count = reactors;
    for (unsigned i = 0; i < reactors; i++) {
        struct harness_shard *shard = &h->shards[i];
        if (!CHECK_EQ(pl_reactor_new(&(struct pl_reactor_options){.ops = &harness_reactor_ops,
                                         .context = shard,
                                         .outputs = &shard->outputs},
                          &shard->reactor, &diag),
                PL_OK))
            abort();
        all[i] = shard->reactor;
    }
    h->gate = gate ? pl_gate_new(gate) : NULL;
    enum pl_err err = pl_listener_open(
        &(struct pl_listener_options){
            .host = "127.0.0.1",
            .unix_path = unix_path,
            .reactors = all,
            .reactor_count = reactors,
            .gate = h->gate,
            .ops = &harness_ops,
            .context = h,
            .tls = h->tls,
            .output_max = 1 << 20,
            .input_max = 8 << 20,
        },
        &h->listener, &diag);
    if (!CHECK_STR(err ? diag.text : "", ""))
        abort();
    for (unsigned i = 0; i < reactors; i++)
        if (!CHECK_EQ(pl_reactor_start(h->shards[i].reactor, "test", &diag), PL_OK))
            abort();
    pl_listener_start(h->listener);
}

static inline void harness_stop(struct harness *h)
{
    for (unsigned i = 0; i < h->shard_count; i++)
        pl_reactor_stop(h->shards[i].reactor);
    for (unsigned i = 0; i < h->shard_count; i++)
        pl_reactor_join(h->shards[i].reactor);
    for (unsigned i = 0; i < h->shard_count; i++) {
        h->shards[i].reactor = pl_reactor_free(h->shards[i].reactor);
        CHECK_EQ(h->shards[i].outputs.bytes, 0);
        pl_output_pool_done(&h->shards[i].outputs);
    }
    h->listener = pl_listener_free(h->listener);
    h->gate = pl_gate_free(h->gate);
    h->tls = pl_tls_server_free(h->tls);
    CHECK_EQ(atomic_load(&h->opened), atomic_load(&h->closed));
}

static inline int harness_connect(struct harness *h)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
        .sin_port = htons(pl_listener_port(h->listener)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (!CHECK(connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline int harness_connect_unix(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    if (!CHECK(connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline bool harness_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* Reads exactly len bytes, or until the end. How many. */
static inline size_t harness_recv(int fd, void *to, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = recv(fd, (char *)to + got, len - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

/* Does the peer's side end now, in order? */
static inline bool harness_ended(int fd)
{
    char c;
    return recv(fd, &c, 1, 0) == 0;
}

/* Waits until the counter is value, at most 20 s. */
static inline bool harness_wait(atomic_uint *counter, unsigned value)
{
    for (int i = 0; i < 20000 && atomic_load(counter) != value; i++)
        usleep(1000);
    return atomic_load(counter) == value;
}

#endif
