/*
 * Three reactors at once: sockets handed over, bytes that came in on one sent out on another by
 * reference, connections that come and go meanwhile. What is under test is what TSan says of it,
 * and that every byte arrives.
 */
#include "check.h"

#include "base/map.h"
#include "net/net_harness.h"

enum { REACTORS = 3, CLIENTS = 12, ROUNDS = 60, LEN = 5000 };

struct relay {
    struct harness h;
    struct {
        struct pl_conn *conns[CLIENTS]; /* of this reactor's thread */
        unsigned count;
    } shards[REACTORS];
};

/* Bytes on their way to all connections of another reactor. */
struct parcel {
    struct pl_post post;
    struct relay *relay;
    unsigned shard;
    struct pl_shared *buffer; /* one reference */
    struct pl_bytes bytes;
};

static struct relay *relay_of(struct pl_conn *conn)
{
    return pl_listener_context(pl_conn_listener(conn));
}

static unsigned shard_of(struct pl_conn *conn)
{
    struct relay *relay = relay_of(conn);
    struct harness_shard *shard = pl_reactor_context(pl_conn_reactor(conn));
    return (unsigned)(shard - relay->h.shards);
}

static enum pl_err on_open(struct pl_conn *conn)
{
    struct relay *relay = relay_of(conn);
    unsigned shard = shard_of(conn);
    atomic_fetch_add(&relay->h.opened, 1);
    if (relay->shards[shard].count == CLIENTS)
        return PL_LIMIT;
    relay->shards[shard].conns[relay->shards[shard].count++] = conn;
    return PL_OK;
}

static void on_close(struct pl_conn *conn, enum pl_err why, const struct pl_diag *diag)
{
    struct relay *relay = relay_of(conn);
    unsigned shard = shard_of(conn), count = relay->shards[shard].count;
    (void)why;
    (void)diag;
    for (unsigned i = 0; i < count; i++)
        if (relay->shards[shard].conns[i] == conn) {
            relay->shards[shard].conns[i] = relay->shards[shard].conns[count - 1];
            relay->shards[shard].count--;
            break;
        }
    atomic_fetch_add(&relay->h.closed, 1);
}

static void arrive(struct pl_post *post, void *reactor)
{
    (void)reactor;
    struct parcel *parcel = PL_CONTAINER(post, struct parcel, post);
    struct relay *relay = parcel->relay;
    for (unsigned i = 0; i < relay->shards[parcel->shard].count; i++)
        CHECK_EQ(pl_output_append_shared(pl_conn_output(relay->shards[parcel->shard].conns[i]),
                     parcel->buffer, parcel->bytes),
            PL_OK);
    pl_shared_unref(parcel->buffer);
    free(parcel);
}

static enum pl_err on_input(struct pl_conn *conn, struct pl_conn_input in, size_t *out_used)
{
    struct relay *relay = relay_of(conn);
    *out_used = in.bytes.len;
    for (unsigned i = 0; i < REACTORS; i++) {
        struct parcel *parcel = malloc(sizeof *parcel);
        if (!parcel)
            return PL_NO_MEMORY;
        *parcel = (struct parcel){.post = {.run = arrive},
            .relay = relay,
            .shard = i,
            .buffer = pl_shared_ref(in.buffer),
            .bytes = in.bytes};
        pl_reactor_post(relay->h.shards[i].reactor, &parcel->post);
    }
    return PL_OK;
}

static const struct pl_conn_ops relay_ops = {
    .on_open = on_open, .on_input = on_input, .on_close = on_close};

struct listener_thread {
    pthread_t thread;
    struct relay *relay;
    int fd;
    size_t got;
    uint64_t sum;
};

static void *listen_all(void *context)
{
    struct listener_thread *t = context;
    static const size_t all = (size_t)ROUNDS * LEN;
    uint8_t part[8192];
    while (t->got < all) {
        ssize_t n = recv(t->fd, part, sizeof part, 0);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            t->sum += part[i];
        t->got += (size_t)n;
    }
    return NULL;
}

static atomic_bool churning;

static void *come_and_go(void *context)
{
    struct relay *relay = context;
    while (atomic_load(&churning)) {
        int fd = harness_connect(&relay->h);
        usleep(500);
        close(fd);
    }
    return NULL;
}

TEST(what_one_reactor_reads_three_write)
{
    static struct relay relay;
    static struct listener_thread threads[CLIENTS];
    static uint8_t packet[LEN];
    pthread_t churn;
    struct pl_diag diag = {0};
    struct pl_reactor *all[REACTORS];
    uint64_t sum = 0;
    relay.h.shard_count = REACTORS;
    for (unsigned i = 0; i < REACTORS; i++) {
        struct harness_shard *shard = &relay.h.shards[i];
        CHECK_EQ(pl_reactor_new(
                     &(struct pl_reactor_options){
                         .ops = &harness_reactor_ops, .context = shard, .outputs = &shard->outputs},
                     &shard->reactor, &diag),
            PL_OK);
        all[i] = shard->reactor;
    }
    REQUIRE(pl_listener_open(&(struct pl_listener_options){.host = "127.0.0.1",
                                 .reactors = all,
                                 .reactor_count = REACTORS,
                                 .ops = &relay_ops,
                                 .context = &relay,
                                 .output_max = 1 << 20,
                                 .input_max = 1 << 20},
                &relay.h.listener, &diag) == PL_OK);
    for (unsigned i = 0; i < REACTORS; i++)
        CHECK_EQ(pl_reactor_start(all[i], "test", &diag), PL_OK);
    pl_listener_start(relay.h.listener);
    for (int i = 0; i < CLIENTS; i++) {
        threads[i].relay = &relay;
        threads[i].fd = harness_connect(&relay.h);
    }
    CHECK(harness_wait(&relay.h.opened, CLIENTS));
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i].thread, NULL, listen_all, &threads[i]);
    atomic_store(&churning, true);
    pthread_create(&churn, NULL, come_and_go, &relay);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < LEN; i++) {
            packet[i] = (uint8_t)(round * 7 + (int)i);
            sum += packet[i];
        }
        CHECK(harness_send(threads[round % CLIENTS].fd, packet, LEN));
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i].thread, NULL);
        CHECK_EQ(threads[i].got, (size_t)ROUNDS * LEN);
        CHECK_EQ(threads[i].sum, sum);
    }
    atomic_store(&churning, false);
    pthread_join(churn, NULL);
    for (int i = 0; i < CLIENTS; i++)
        close(threads[i].fd);
    harness_stop(&relay.h);
}

TEST(tls_is_reloaded_while_three_reactors_serve)
{
    char cert[96], key[96], folder[64];
    struct pl_diag diag = {0};
    snprintf(folder, sizeof folder, "/tmp/parley-threads-%d", (int)getpid());
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    CHECK_EQ(pl_tls_make_self_signed(cert, key, &diag), PL_OK);
    struct pl_tls_options options = {.cert_file = cert, .key_file = key};
    static struct harness h;
    h.tls = pl_tls_server_new();
    CHECK_EQ(pl_tls_server_load(h.tls, &options, &diag), PL_OK);
    harness_start(&h, REACTORS, NULL, NULL);
    for (int i = 0; i < 30; i++) {
        uint8_t back[8];
        int fd = harness_connect(&h);
        CHECK(harness_send(fd, "T", 1));
        CHECK_EQ(harness_recv(fd, back, 3), 3);
        CHECK(harness_send(fd, "no handshake at all", 19));
        CHECK_EQ(pl_tls_server_load(h.tls, &options, &diag), PL_OK);
        CHECK_EQ(harness_recv(fd, back, 7), 7); /* an alert */
        close(fd);
    }
    harness_stop(&h);
    remove(cert);
    remove(key);
    remove(folder);
}
