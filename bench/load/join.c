/*
 * What do those who are in a channel notice while others join it? One thread, bounded in time.
 *
 *     join --port 8080 [--rate 1000] [--history 200] [--members 10] [--live 1000]
 *
 * Mles clients over WebSocket. The channel is filled, then members listen to so many live frames a
 * second; first alone, then while so many others a second connect, join, read the whole history and
 * go away. It prints the live frames' latency, from when they were due, without and with joins, and
 * how long a join takes, from connect to its last frame of history.
 */
#include <arpa/inet.h>
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

enum { READ = 1 << 17, SAMPLES = 1 << 20, SIZE = 128, OPEN_MAX = 4000 };

static struct {
    int port, rate, history, members, live, seconds;
} o = {.rate = 1000, .history = 200, .members = 10, .live = 1000, .seconds = 3};

struct client {
    int fd;
    bool is_member, is_upgraded;
    int frames;
    uint64_t begun_ns;
    struct buffer in, out, later; /* later: what waits for the handshake's end */
};

struct samples {
    uint64_t *ns;
    size_t count;
};

static int ep;
static struct samples live, joins;
static uint64_t failures, live_wanted;
static int open_joins;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "join: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

static void note(struct samples *samples, uint64_t ns)
{
    if (samples->count < SAMPLES)
        samples->ns[samples->count++] = ns;
}

static void flush(struct client *c)
{
    while (c->out.at < c->out.len) {
        ssize_t n = write(c->fd, c->out.data + c->out.at, c->out.len - c->out.at);
        if (n <= 0)
            return; /* a few bytes: the next event sends them */
        c->out.at += (size_t)n;
    }
}

static struct client *open_client(const char *uid, bool is_member)
{
    char header[128];
    struct client *c = calloc(1, sizeof *c);
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)o.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    if (!c || (c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) < 0)
        die("socket");
    c->is_member = is_member;
    c->begun_ns = now_ns();
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect");
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    websocket_hello(&c->out, "mles-websocket");
    int len = snprintf(header, sizeof header, "{\"uid\":\"%s\",\"channel\":\"load\"}", uid);
    websocket_wrap(&c->later, 0x81, header, (size_t)len);
    flush(c);
    return c;
}

static void close_client(struct client *c)
{
    open_joins--;
    close(c->fd);
    free(c->in.data);
    free(c->out.data);
    free(c->later.data);
    free(c);
}

static void on_frame(struct client *c, const uint8_t *payload, size_t len)
{
    uint64_t due_ns;
    c->frames++;
    if (c->is_member && len == SIZE) {
        memcpy(&due_ns, payload, sizeof due_ns);
        if (due_ns)
            note(&live, now_ns() - due_ns);
    }
}

/* False: it is done, or the server has closed it. */
static bool on_readable(struct client *c)
{
    static uint8_t bytes[READ];
    size_t size, head;
    for (;;) {
        ssize_t n = read(c->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            failures++;
            return false;
        }
        buffer_add(&c->in, bytes, (size_t)n);
        if (!c->is_upgraded) {
            uint8_t *at = c->in.data + c->in.at;
            uint8_t *end = memmem(at, c->in.len - c->in.at, "\r\n\r\n", 4);
            if (!end)
                continue;
            c->in.at += (size_t)(end - at) + 4;
            c->is_upgraded = true;
            buffer_add(&c->out, c->later.data, c->later.len);
            flush(c);
        }
        while ((head = websocket_frame(c->in.data + c->in.at, c->in.len - c->in.at, &size)) != 0) {
            if ((c->in.data[c->in.at] & 15) <= 2)
                on_frame(c, c->in.data + c->in.at + head, size);
            c->in.at += head + size;
        }
        if (!c->is_member && c->frames >= o.history) {
            note(&joins, now_ns() - c->begun_ns);
            return false;
        }
    }
}

/* It sleeps, so that it leaves the machine's cores to the server. */
static void pump(uint64_t wait_ns)
{
    struct epoll_event events[256];
    struct timespec wait = {0, (long)(wait_ns < 1000000 ? wait_ns : 1000000)};
    int n = epoll_pwait2(ep, events, 256, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        flush(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !on_readable(c)) {
            if (c->is_member)
                die("the server closed a member's connection");
            close_client(c);
        }
    }
}

static void send_frame(struct client *publisher, uint64_t due_ns)
{
    uint8_t frame[SIZE] = {0};
    memcpy(frame, &due_ns, sizeof due_ns);
    websocket_wrap(
        publisher->is_upgraded ? &publisher->out : &publisher->later, 0x82, frame, sizeof frame);
    flush(publisher);
}

static void join_one(void)
{
    static uint32_t uid;
    char name[32];
    if (open_joins >= OPEN_MAX) {
        failures++;
        return;
    }
    (void)snprintf(name, sizeof name, "guest-%u", uid++);
    open_joins++;
    open_client(name, false);
}

/* So many live frames a second, and so many joins. */
static void run(struct client *publisher, double seconds, int rate)
{
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), now;
    uint64_t due_frame = begin, due_join = rate ? begin : UINT64_MAX;
    while ((now = now_ns()) < end) {
        for (; due_frame <= now; due_frame += 1000000000u / (uint64_t)o.live) {
            send_frame(publisher, due_frame);
            live_wanted += (uint64_t)o.members;
        }
        for (; due_join <= now; due_join += 1000000000u / (uint64_t)rate)
            join_one();
        uint64_t due = due_frame < due_join ? due_frame : due_join;
        now = now_ns();
        pump(due > now ? due - now : 0);
    }
    uint64_t settle = now_ns() + 1000000000u;
    while ((open_joins || live.count < live_wanted) && now_ns() < settle)
        pump(1000000);
}

static int compare(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void report(const char *name, struct samples *samples)
{
    qsort(samples->ns, samples->count, sizeof *samples->ns, compare);
    size_t n = samples->count;
    printf("%s_p50_us=%.1f %s_p99_us=%.1f ", name, n ? (double)samples->ns[n / 2] / 1e3 : 0, name,
        n ? (double)samples->ns[n - n / 100 - 1] / 1e3 : 0);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"rate", 1, NULL, 'r'},
        {"history", 1, NULL, 'h'}, {"members", 1, NULL, 'm'}, {"live", 1, NULL, 'l'},
        {"seconds", 1, NULL, 'd'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        *(option == 'p'     ? &o.port
            : option == 'r' ? &o.rate
            : option == 'h' ? &o.history
            : option == 'm' ? &o.members
            : option == 'l' ? &o.live
            : option == 'd' ? &o.seconds
                            : &(int){0}) = atoi(optarg);
    ep = epoll_create1(0);
    live.ns = calloc(SAMPLES, sizeof *live.ns);
    joins.ns = calloc(SAMPLES, sizeof *joins.ns);
    if (!o.port || ep < 0 || !live.ns || !joins.ns)
        die("--port");
    struct client *publisher = open_client("publisher", true);
    for (int i = 0; i < o.members; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "member-%d", i);
        open_client(name, true);
    }
    for (int i = 0; i < o.history; i++)
        send_frame(publisher, 0);
    run(publisher, 0.5, 0);
    live.count = live_wanted = 0;
    run(publisher, o.seconds, 0);
    report("alone", &live);
    uint64_t lost = live_wanted - live.count;
    live.count = live_wanted = 0;
    uint64_t begun = now_ns();
    run(publisher, o.seconds, o.rate);
    double took = (double)(now_ns() - begun) / 1e9;
    report("joined", &live);
    report("join", &joins);
    lost += live_wanted - live.count;
    printf("joins_per_s=%.0f lost=%llu failures=%llu\n", (double)joins.count / took,
        (unsigned long long)lost, (unsigned long long)failures);
    return lost || failures || open_joins;
}
