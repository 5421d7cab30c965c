/*
 * A load generator on loopback: one thread, epoll, bounded in time. It prints one line of
 * key=value.
 *
 *     load --protocol nats --port 4222 --pid PID --mode stream --subscribers 100
 *
 *     stream         publishers → subscribers, so many messages under way (window)
 *     request        one requester, one responder, so many requests under way
 *     ack            publishers alone, so many messages under way that were not acknowledged
 *     subscriptions  N filters are loaded, then random subjects are published, four or five match
 * each idle           N connections with one subscription each; then bytes of the server per
 * connection
 *
 * cpu_us is the server's CPU time (run time of all its threads, from the scheduler) per delivered
 * message: the figure that survives a noisy machine. lost and disorder are checked by numbers that
 * every message carries. The generator spins, so the server does not pay for waking it.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

enum { MAX_PUBLISHERS = 256, READ = 1 << 18, LATENCIES = 1 << 20 };

struct conn {
    int fd;
    bool is_subscriber, is_upgraded, wants_out;
    uint32_t subject; /* it publishes to or subscribes */
    struct wire_peer peer;
    struct buffer in, out;
    struct buffer plain, stream;   /* within WebSocket frames: to the server, and from it */
    uint32_t last[MAX_PUBLISHERS]; /* number of the last message of each publisher; subscribers */
};

struct stamp { /* in front of every payload */
    uint32_t publisher, number;
    uint64_t sent_ns;
};

static struct {
    const struct wire *wire;
    int port, pid, qos, window, publishers, subscribers, subjects, size, count;
    double seconds, warmup;
    bool websocket, queue, keep;
    const char *mode, *label;
} o = {.wire = &wire_nats,
    .window = 4096,
    .publishers = 1,
    .subscribers = 1,
    .subjects = 1,
    .size = 128,
    .count = 10000,
    .seconds = 1.5,
    .warmup = 0.4,
    .mode = "stream",
    .label = "-"};

static int ep;
static struct conn **conns;
static int conn_count;
static uint64_t *published, *received; /* per subject */
static uint64_t deliveries, disorder, errors;
static uint64_t *latencies;
static uint32_t latency_count;
static bool answers; /* request: a subscriber sends back what it gets */
static uint8_t *payload;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* Run time of all threads of the server, in ns. */
static uint64_t server_cpu_ns(void)
{
    char path[300];
    (void)snprintf(path, sizeof path, "/proc/%d/task", o.pid);
    DIR *dir = opendir(path);
    if (!dir)
        die("the server's process");
    uint64_t sum = 0;
    struct dirent *e;
    while ((e = readdir(dir))) {
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", o.pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        unsigned long long ns = 0;
        if (f && fscanf(f, "%llu", &ns) == 1)
            sum += ns;
        if (f)
            (void)fclose(f);
    }
    closedir(dir);
    return sum;
}

static long server_rss_bytes(void)
{
    char path[64];
    long pages = 0, rss = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/statm", o.pid);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%ld %ld", &pages, &rss) != 2)
        die("the server's memory");
    (void)fclose(f);
    return rss * sysconf(_SC_PAGESIZE);
}

static void want_out(struct conn *c, bool wants)
{
    if (c->wants_out == wants)
        return;
    c->wants_out = wants;
    struct epoll_event e = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void flush(struct conn *c)
{
    if (o.websocket && c->is_upgraded && c->plain.len > c->plain.at) {
        const uint8_t *bytes = c->plain.data + c->plain.at;
        size_t len = c->plain.len - c->plain.at;
        if (o.wire->is_framed)
            buffer_add(&c->out, bytes, len);
        else
            websocket_wrap(&c->out, 0x82, bytes, len);
        c->plain.at = c->plain.len = 0;
    }
    while (c->out.at < c->out.len) {
        ssize_t n = write(c->fd, c->out.data + c->out.at, c->out.len - c->out.at);
        if (n < 0 && errno != EAGAIN)
            die("write");
        if (n <= 0)
            break;
        c->out.at += (size_t)n;
    }
    want_out(c, c->out.at < c->out.len);
}

/* Where the protocol's bytes go: straight out, or first into a frame. */
static struct buffer *outlet(struct conn *c)
{
    return o.websocket ? &c->plain : &c->out;
}

static struct conn *open_conn(bool is_subscriber, uint32_t subject)
{
    struct conn *c = calloc(1, sizeof *c);
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)o.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    if (!c || (c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof to))
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->is_subscriber = is_subscriber;
    c->subject = subject;
    c->peer.number = (uint32_t)conn_count;
    c->peer.qos = o.qos;
    c->peer.keeps_session = o.keep && is_subscriber;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    conns = realloc(conns, (size_t)(conn_count + 1) * sizeof(struct conn *));
    conns[conn_count++] = c;
    if (o.websocket)
        websocket_hello(&c->out, o.wire->subprotocol);
    o.wire->hello(&c->peer, outlet(c));
    flush(c);
    return c;
}

static void on_message(struct conn *c, const struct message *m)
{
    struct stamp stamp;
    if (m->len < sizeof stamp)
        return;
    memcpy(&stamp, m->payload, sizeof stamp);
    deliveries++;
    if (answers && c->is_subscriber && c->subject == 0) {
        o.wire->publish(&c->peer, outlet(c), "load.answer", m->payload, m->len);
        return;
    }
    received[c->subject]++;
    if (stamp.publisher < MAX_PUBLISHERS && !o.queue) {
        disorder += stamp.number <= c->last[stamp.publisher];
        c->last[stamp.publisher] = stamp.number;
    }
    if (answers && latency_count < LATENCIES)
        latencies[latency_count++] = now_ns() - stamp.sent_ns;
}

static void parse(struct conn *c, const uint8_t *bytes, size_t len, size_t *used)
{
    *used = 0;
    while (*used < len) {
        struct message m;
        size_t n = 0;
        enum found found = o.wire->next(&c->peer, bytes + *used, len - *used, &n, &m, outlet(c));
        if (found == FOUND_NOTHING)
            return;
        if (found == FOUND_MESSAGE)
            on_message(c, &m);
        errors += found == FOUND_ERROR;
        *used += n;
    }
}

/* WebSocket: payloads are moved together, so that the protocol sees its stream. */
static void parse_frames(struct conn *c)
{
    uint8_t *at = c->in.data + c->in.at;
    size_t len = c->in.len - c->in.at, size, head, used;
    if (!c->is_upgraded) {
        uint8_t *end = memmem(at, len, "\r\n\r\n", 4);
        if (!end)
            return;
        c->is_upgraded = true;
        c->in.at += (size_t)(end - at) + 4;
        flush(c);
        parse_frames(c);
        return;
    }
    while ((head = websocket_frame(at, len, &size))) {
        if ((at[0] & 15) <= 2 && o.wire->is_framed)
            parse(c, at + head, size, &used);
        else if ((at[0] & 15) <= 2)
            buffer_add(&c->stream, at + head, size);
        at += head + size;
        len -= head + size;
    }
    parse(c, c->stream.data + c->stream.at, c->stream.len - c->stream.at, &used);
    c->stream.at += used;
    memmove(c->in.data, at, len);
    c->in.at = 0;
    c->in.len = len;
}

static void on_readable(struct conn *c)
{
    static uint8_t bytes[READ];
    ssize_t n = read(c->fd, bytes, sizeof bytes);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the server closed a connection");
    size_t used;
    if (!o.websocket && c->in.at == c->in.len) { /* nothing is left over: no copy */
        parse(c, bytes, (size_t)n, &used);
        c->in.at = c->in.len = 0;
        buffer_add(&c->in, bytes + used, (size_t)n - used);
    } else {
        buffer_add(&c->in, bytes, (size_t)n);
        if (o.websocket) {
            parse_frames(c);
        } else {
            parse(c, c->in.data + c->in.at, c->in.len - c->in.at, &used);
            c->in.at += used;
            memmove(c->in.data, c->in.data + c->in.at, c->in.len - c->in.at);
            c->in.len -= c->in.at;
            c->in.at = 0;
        }
    }
    flush(c);
}

static void pump(int timeout_ms)
{
    struct epoll_event events[512];
    int n = epoll_wait(ep, events, 512, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            flush(c);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            on_readable(c);
    }
}

/* Until every connection in [from, to) is ready and has so many acks. */
static void await(int from, int to, uint32_t acks)
{
    uint64_t give_up = now_ns() + 20000000000u;
    for (int i = from; i < to; i++)
        while (!conns[i]->peer.is_ready || conns[i]->peer.acks < acks) {
            pump(10);
            if (now_ns() > give_up)
                die("the server does not answer");
        }
}

static const char *subject_name(uint32_t subject)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "load.s%u", subject);
    return name;
}

static void publish(struct conn *c, uint32_t number)
{
    struct stamp stamp = {c->peer.number, number, answers ? now_ns() : 0};
    memcpy(payload, &stamp, sizeof stamp);
    o.wire->publish(&c->peer, outlet(c), subject_name(c->subject), payload, (size_t)o.size);
}

struct mark {
    uint64_t at_ns, cpu_ns, deliveries, published;
};

static struct mark take_mark(void)
{
    struct mark m = {.at_ns = now_ns(), .cpu_ns = server_cpu_ns(), .deliveries = deliveries};
    for (int i = 0; i < o.subjects; i++)
        m.published += published[i];
    return m;
}

static void report(const struct mark *a, const struct mark *b, uint64_t lost)
{
    double seconds = (double)(b->at_ns - a->at_ns) / 1e9;
    double count = (double)(b->deliveries - a->deliveries);
    double sent = (double)(b->published - a->published);
    double cpu_us = (double)(b->cpu_ns - a->cpu_ns) / 1e3;
    printf("label=%s mode=%s protocol=%s size=%d publishers=%d subscribers=%d per_s=%.0f "
           "cpu_us=%.4f cpu_us_published=%.4f cpu_share=%.2f lost=%llu disorder=%llu errors=%llu",
        o.label, o.mode, o.wire->name, o.size, o.publishers, o.subscribers, count / seconds,
        count > 0 ? cpu_us / count : 0, sent > 0 ? cpu_us / sent : 0, cpu_us / seconds / 1e6,
        (unsigned long long)lost, (unsigned long long)disorder, (unsigned long long)errors);
}

static void connect_all(int count, bool is_subscriber)
{
    for (int i = 0; i < count; i++) {
        open_conn(is_subscriber, (uint32_t)(i % o.subjects));
        if (i % 32 == 31)
            await(0, conn_count, 0);
    }
    await(0, conn_count, 0);
}

static void subscribe_all(int from, int to)
{
    for (int i = from; i < to; i++) {
        struct conn *c = conns[i];
        c->peer.acks = 0;
        o.wire->subscribe(
            &c->peer, outlet(c), subject_name(c->subject), o.queue ? "workers" : NULL, 1);
        flush(c);
    }
    await(from, to, 1);
}

static uint64_t expected_per_message(uint32_t subject)
{
    if (o.queue)
        return 1;
    uint64_t n = 0;
    for (int i = 0; i < o.subscribers; i++)
        n += (uint32_t)(i % o.subjects) == subject;
    return n;
}

static void run_stream(void)
{
    connect_all(o.publishers, false);
    connect_all(o.subscribers, true);
    subscribe_all(o.publishers, conn_count);
    uint32_t *numbers = calloc((size_t)o.publishers, sizeof *numbers);
    uint64_t *fan = calloc((size_t)o.subjects, sizeof *fan);
    for (int i = 0; i < o.subjects; i++)
        fan[i] = expected_per_message((uint32_t)i);
    uint64_t warm_until = now_ns() + (uint64_t)(o.warmup * 1e9), end = 0;
    struct mark a = {0}, b = {0};
    for (;;) {
        uint64_t now = now_ns();
        if (!end && now >= warm_until) {
            a = take_mark();
            end = now + (uint64_t)(o.seconds * 1e9);
        }
        if (end && now >= end)
            break;
        for (int i = 0; i < o.publishers; i++) {
            struct conn *c = conns[i];
            uint32_t s = c->subject;
            while (c->out.len - c->out.at < READ &&
                   (published[s] + 1) * fan[s] <= received[s] + (uint64_t)o.window * fan[s]) {
                publish(c, ++numbers[i]);
                published[s]++;
                if ((published[s] & 63) == 0)
                    break;
            }
            flush(c);
        }
        pump(0);
    }
    b = take_mark();
    uint64_t sent = 0, got = 0, settle = now_ns() + 1000000000u;
    do {
        pump(1);
        sent = got = 0;
        for (int i = 0; i < o.subjects; i++) {
            sent += published[i] * fan[i];
            got += received[i];
        }
    } while (got < sent && now_ns() < settle);
    report(&a, &b, sent - got);
    printf("\n");
    free(numbers);
    free(fan);
}

static struct mark take_mark_of_acks(void)
{
    deliveries = 0;
    for (int i = 0; i < conn_count; i++)
        deliveries += conns[i]->peer.acks;
    return take_mark();
}

static void run_ack(void)
{
    connect_all(o.publishers, false);
    uint32_t *sent = calloc((size_t)o.publishers, sizeof *sent);
    uint64_t warm_until = now_ns() + (uint64_t)(o.warmup * 1e9), end = 0;
    struct mark a = {0}, b;
    for (int i = 0; i < conn_count; i++)
        conns[i]->peer.acks = 0;
    for (;;) {
        uint64_t now = now_ns();
        if (!end && now >= warm_until) {
            a = take_mark_of_acks();
            end = now + (uint64_t)(o.seconds * 1e9);
        }
        if (end && now >= end)
            break;
        for (int i = 0; i < o.publishers; i++) {
            struct conn *c = conns[i];
            while (c->out.len - c->out.at < READ &&
                   sent[i] - c->peer.acks < (uint32_t)o.window / (uint32_t)o.publishers) {
                publish(c, ++sent[i]);
                published[c->subject]++;
            }
            flush(c);
        }
        pump(0);
    }
    b = take_mark_of_acks();
    for (int i = 0; i < conn_count; i++)
        await(i, i + 1, sent[i]);
    report(&a, &b, 0);
    printf("\n");
    free(sent);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void run_request(void)
{
    o.subjects = 2; /* 0: the question, 1 has the answer's subject */
    answers = true;
    struct conn *responder = open_conn(true, 0), *requester = open_conn(true, 1);
    await(0, 2, 0);
    responder->peer.acks = requester->peer.acks = 0;
    o.wire->subscribe(&responder->peer, outlet(responder), "load.s0", NULL, 1);
    o.wire->subscribe(&requester->peer, outlet(requester), "load.answer", NULL, 1);
    flush(responder);
    flush(requester);
    await(0, 2, 1);
    uint64_t warm_until = now_ns() + (uint64_t)(o.warmup * 1e9), end = 0;
    struct mark a = {0};
    uint32_t number = 0;
    for (;;) {
        uint64_t now = now_ns();
        if (!end && now >= warm_until) {
            a = take_mark();
            latency_count = 0;
            end = now + (uint64_t)(o.seconds * 1e9);
        }
        if (end && now >= end)
            break;
        requester->subject = 0;
        while (published[0] < received[1] + (uint64_t)o.window) {
            publish(requester, ++number);
            published[0]++;
        }
        requester->subject = 1;
        flush(requester);
        pump(0);
    }
    struct mark b = take_mark();
    qsort(latencies, latency_count, sizeof *latencies, compare_u64);
    report(&a, &b, 0);
    if (latency_count)
        printf(" p50_us=%.1f p99_us=%.1f", (double)latencies[latency_count / 2] / 1e3,
            (double)latencies[latency_count - latency_count / 100 - 1] / 1e3);
    printf("\n");
}

static uint32_t random_below(uint32_t n)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % n;
}

/* Nine of ten are exact; the rest have wildcards at each place, one in eight of them over subjects
 * that are published: a publication matches four or five. */
static void filter_name(char *name, size_t size, uint32_t i)
{
    bool is_near = i / 40 % 8 == 0;
    uint32_t a = is_near ? i / 300 : 100000 + i, b = is_near ? i % 300 : 100000 + i;
    switch (i % 40) {
    case 36:
        (void)snprintf(name, size, "*.%u.dev.%u.*", a, b);
        return;
    case 37:
        (void)snprintf(name, size, "site.*.dev.%u.temp", b);
        return;
    case 38:
        (void)snprintf(name, size, "site.%u.>", a);
        return;
    case 39:
        (void)snprintf(name, size, "site.%u.dev.*.temp", a);
        return;
    default:
        (void)snprintf(name, size, "site.%u.dev.%u.temp", i / 300, i % 300);
    }
}

static void publish_random(struct conn *c, uint32_t number)
{
    char name[64];
    struct stamp stamp = {UINT32_MAX, number, 0};
    (void)snprintf(name, sizeof name, "site.%u.dev.%u.temp", random_below((uint32_t)o.count / 300),
        random_below(300));
    memcpy(payload, &stamp, sizeof stamp);
    o.wire->publish(&c->peer, outlet(c), name, payload, (size_t)o.size);
    published[0]++;
}

static void run_subscriptions(void)
{
    char name[64];
    connect_all(11, true);
    uint64_t cpu = server_cpu_ns();
    for (int i = 0; i < o.count; i++) {
        struct conn *c = conns[i % 10];
        filter_name(name, sizeof name, (uint32_t)i);
        o.wire->subscribe(&c->peer, outlet(c), name, NULL, (uint32_t)i + 1);
        if (i % 1000 == 999) {
            for (int k = 0; k < 10; k++)
                flush(conns[k]);
            await(0, 10, (uint32_t)(i + 1) / 10);
        }
    }
    double load_us = (double)(server_cpu_ns() - cpu) / 1e3 / o.count;
    uint64_t end = now_ns() + (uint64_t)((o.seconds + o.warmup) * 1e9), sent = 0;
    uint64_t warm_until = now_ns() + (uint64_t)(o.warmup * 1e9);
    struct mark a = {0};
    struct conn *publisher = conns[10];
    publisher->peer.acks = 0;
    for (uint32_t syncs = 0; now_ns() < end;) {
        if (!a.at_ns && now_ns() >= warm_until)
            a = take_mark();
        /* Stretches of 256, a few of them under way: the answer to each tells that it was routed.
         */
        if (syncs < publisher->peer.acks + 4) {
            for (int i = 0; i < 256; i++)
                publish_random(publisher, (uint32_t)++sent);
            o.wire->sync(outlet(publisher));
            syncs++;
        }
        flush(publisher);
        pump(0);
    }
    struct mark b = take_mark();
    report(&a, &b, 0);
    printf(" cpu_us_subscribe=%.3f matches=%.2f\n", load_us,
        (double)(b.deliveries - a.deliveries) / (double)(b.published - a.published));
}

static void run_idle(void)
{
    long rss = server_rss_bytes();
    uint64_t cpu = server_cpu_ns();
    o.subjects = o.count;
    connect_all(o.count, true);
    double connect_us = (double)(server_cpu_ns() - cpu) / 1e3 / o.count;
    subscribe_all(0, conn_count);
    usleep(300000); /* what the server does a moment later counts too */
    printf("label=%s mode=idle protocol=%s connections=%d bytes_per_connection=%.0f "
           "cpu_us_connect=%.2f\n",
        o.label, o.wire->name, o.count, (double)(server_rss_bytes() - rss) / o.count, connect_us);
}

static const struct wire *wire_named(const char *name)
{
    static const struct wire *const wires[] = {&wire_nats, &wire_mqtt, &wire_redis,
        &wire_redis_xadd, &wire_wamp, &wire_wamp_call, &wire_wamp_json, &wire_wamp_json_call};
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        if (!strcmp(wires[i]->name, name))
            return wires[i];
    (void)fprintf(stderr,
        "load: --protocol is nats, mqtt, redis, redis-xadd, wamp, wamp-call, wamp-json or "
        "wamp-json-call\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"protocol", 1, NULL, 'P'}, {"port", 1, NULL, 'p'},
        {"pid", 1, NULL, 'k'}, {"mode", 1, NULL, 'm'}, {"publishers", 1, NULL, 'n'},
        {"subscribers", 1, NULL, 'S'}, {"subjects", 1, NULL, 't'}, {"size", 1, NULL, 's'},
        {"window", 1, NULL, 'w'}, {"qos", 1, NULL, 'q'}, {"count", 1, NULL, 'N'},
        {"seconds", 1, NULL, 'd'}, {"warmup", 1, NULL, 'W'}, {"websocket", 0, NULL, 'x'},
        {"queue", 0, NULL, 'g'}, {"keep", 0, NULL, 'c'}, {"label", 1, NULL, 'l'}, {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'P':
            o.wire = wire_named(optarg);
            break;
        case 'p':
            o.port = atoi(optarg);
            break;
        case 'k':
            o.pid = atoi(optarg);
            break;
        case 'm':
            o.mode = optarg;
            break;
        case 'n':
            o.publishers = atoi(optarg);
            break;
        case 'S':
            o.subscribers = atoi(optarg);
            break;
        case 't':
            o.subjects = atoi(optarg);
            break;
        case 's':
            o.size = atoi(optarg);
            break;
        case 'w':
            o.window = atoi(optarg);
            break;
        case 'q':
            o.qos = atoi(optarg);
            break;
        case 'N':
            o.count = atoi(optarg);
            break;
        case 'd':
            o.seconds = atof(optarg);
            break;
        case 'W':
            o.warmup = atof(optarg);
            break;
        case 'x':
            o.websocket = true;
            break;
        case 'c':
            o.keep = true;
            break;
        case 'g':
            o.queue = true;
            break;
        case 'l':
            o.label = optarg;
            break;
        default:
            exit(2);
        }
    if (!o.port || !o.pid || o.size < (int)sizeof(struct stamp) || o.publishers < 1 ||
        o.publishers > MAX_PUBLISHERS || o.subjects < 1) {
        (void)fprintf(stderr,
            "load: --port and --pid are needed, --size is at least %zu, "
            "--publishers 1 to %d\n",
            sizeof(struct stamp), MAX_PUBLISHERS);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *mode;
        void (*run)(void);
    } modes[] = {{"stream", run_stream}, {"request", run_request}, {"ack", run_ack},
        {"subscriptions", run_subscriptions}, {"idle", run_idle}};
    read_options(argc, argv);
    ep = epoll_create1(0);
    size_t subjects = (size_t)(o.subjects > o.count ? o.subjects : o.count) + 2;
    published = calloc(subjects, sizeof *published);
    received = calloc(subjects, sizeof *received);
    latencies = calloc(LATENCIES, sizeof *latencies);
    payload = calloc(1, (size_t)o.size);
    if (ep < 0 || !published || !received || !latencies || !payload)
        die("start");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(modes[i].mode, o.mode)) {
            modes[i].run();
            return errors || disorder ? 1 : 0;
        }
    (void)fprintf(stderr, "load: --mode is stream, request, ack, subscriptions or idle\n");
    return 2;
}
