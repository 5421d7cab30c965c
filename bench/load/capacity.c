/*
 * Many devices, each with some topics of its own, and messages of which each has one receiver.
 *
 *     capacity --port 8883 --pid PID --tokens FILE --connections 10000 --topics 5 --rate 5000
 *              --seconds 10
 *
 * MQTT 3.1.1 over WebSocket, each connection with a token. FILE has one a line: the publisher's,
 * then that of device 0, 1 … whose user ids are their numbers. Device 17 subscribes 17/t0, 17/t1 …
 *
 * One thread. Messages go out when they are due, whatever has come; latency is counted from when
 * they were due, so a server that stalls is seen. Each message has a number: what is lost, came
 * twice, to somebody else or out of its topic's order is counted. Prints one line of key=value.
 *
 * Connections come from 127.0.0.1, .2 …, 4,000 each: an address has some 28,000 ports, of which
 * those of the last minute cannot be had again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

enum { READ = 1 << 16, SIZE = 128, OPENING_MAX = 128, PER_ADDRESS = 4000, TOPICS_MAX = 64 };

static struct {
    int port, pid, connections, topics, rate, seconds;
    const char *tokens;
} o = {.connections = 10000, .topics = 5, .rate = 5000, .seconds = 10};

struct stamp { /* in front of every payload */
    uint32_t device, topic, number, in_topic;
    uint64_t due_ns;
};

struct client {
    int fd;
    bool is_upgraded, is_settled;
    struct wire_peer peer;
    struct buffer in, out, stream; /* stream: MQTT's bytes, out of the frames */
    uint32_t last[TOPICS_MAX];     /* of each topic */
};

static int ep;
static struct client *clients; /* the publisher, then the devices */
static int settled, opened;
static uint8_t *seen; /* per message */
static uint64_t delivered, twice, misdelivered, disorder;
static uint64_t *latencies;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "capacity: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* A field of the server's /proc/PID/stat, counted as proc(5) does from 14 on. */
static unsigned long long server_stat(int field)
{
    char path[64], text[1024] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", o.pid);
    FILE *f = fopen(path, "r");
    size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
    const char *at = len ? strrchr(text, ')') : NULL;
    if (f)
        (void)fclose(f);
    if (!at)
        die("the server's process");
    for (int i = 2; i < field; i++)
        at = strchr(at + 1, ' ');
    return strtoull(at, NULL, 10);
}

static double server_cpu_s(void)
{
    return (double)(server_stat(14) + server_stat(15)) / (double)sysconf(_SC_CLK_TCK);
}

static void flush(struct client *c)
{
    while (c->out.at < c->out.len) {
        ssize_t n = write(c->fd, c->out.data + c->out.at, c->out.len - c->out.at);
        if (n < 0 && (errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN))
            return;
        if (n <= 0)
            die("write");
        c->out.at += (size_t)n;
    }
}

static void wrap(struct client *c, const struct buffer *packets)
{
    websocket_wrap(&c->out, 0x82, packets->data, packets->len);
    flush(c);
}

static void open_client(int index, const char *token)
{
    struct client *c = &clients[index];
    struct sockaddr_in from = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / PER_ADDRESS))};
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)o.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from))
        die("bind");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect");
    c->peer.number = (uint32_t)index;
    c->peer.token = token;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    websocket_hello(&c->out, "mqtt");
    opened++;
}

/* CONNECT and all subscriptions in one frame, for none needs an answer before the next. */
static void on_upgrade(struct client *c)
{
    struct buffer packets = {0};
    int device = (int)(c - clients) - 1;
    wire_mqtt.hello(&c->peer, &packets);
    for (int t = 0; device >= 0 && t < o.topics; t++) {
        char subject[64];
        (void)snprintf(subject, sizeof subject, "%d.t%d", device, t);
        wire_mqtt.subscribe(&c->peer, &packets, subject, NULL, 0);
    }
    wrap(c, &packets);
    free(packets.data);
}

static void on_message(struct client *c, const struct message *m)
{
    struct stamp s;
    if (m->len < sizeof s) {
        misdelivered++;
        return;
    }
    memcpy(&s, m->payload, sizeof s);
    if (s.device != (uint32_t)(c - clients) - 1 || s.topic >= (uint32_t)o.topics) {
        misdelivered++;
        return;
    }
    twice += seen[s.number];
    seen[s.number] = 1;
    disorder += s.in_topic != c->last[s.topic] + 1;
    c->last[s.topic] = s.in_topic;
    latencies[delivered++] = now_ns() - s.due_ns;
}

/* PUBLISH is answered by nothing at QoS 0, so `answers` stays empty. */
static void on_packets(struct client *c)
{
    static struct buffer answers;
    struct message m;
    size_t used;
    enum found found;
    while ((found = wire_mqtt.next(&c->peer, c->stream.data + c->stream.at,
                c->stream.len - c->stream.at, &used, &m, &answers)) != FOUND_NOTHING) {
        if (found == FOUND_ERROR)
            die("the server refuses a token");
        if (found == FOUND_MESSAGE)
            on_message(c, &m);
        c->stream.at += used;
    }
    uint32_t wanted = c == clients ? 0 : (uint32_t)o.topics;
    if (!c->is_settled && c->peer.is_ready && c->peer.acks == wanted) {
        c->is_settled = true;
        settled++;
    }
}

static void on_readable(struct client *c)
{
    static uint8_t bytes[READ];
    size_t size, head;
    ssize_t n;
    while ((n = read(c->fd, bytes, sizeof bytes)) > 0) {
        buffer_add(&c->in, bytes, (size_t)n);
        if (!c->is_upgraded) {
            uint8_t *at = c->in.data + c->in.at;
            uint8_t *end = memmem(at, c->in.len - c->in.at, "\r\n\r\n", 4);
            if (!end)
                continue;
            c->in.at += (size_t)(end - at) + 4;
            c->is_upgraded = true;
            on_upgrade(c);
        }
        while ((head = websocket_frame(c->in.data + c->in.at, c->in.len - c->in.at, &size)) != 0) {
            if ((c->in.data[c->in.at] & 15) == 2)
                buffer_add(&c->stream, c->in.data + c->in.at + head, size);
            c->in.at += head + size;
        }
        on_packets(c);
    }
    if (n == 0 || errno != EAGAIN)
        die("the server has closed a connection");
}

/* It sleeps, so that it leaves the machine's cores to the server. */
static void pump(uint64_t wait_ns)
{
    struct epoll_event events[512];
    struct timespec wait = {0, (long)(wait_ns < 1000000 ? wait_ns : 1000000)};
    int n = epoll_pwait2(ep, events, 512, &wait, NULL);
    for (int i = 0; i < n; i++) {
        flush(events[i].data.ptr);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            on_readable(events[i].data.ptr);
    }
}

static void connect_all(void)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(o.tokens, "r");
    if (!f)
        die(o.tokens);
    for (int i = 0; i <= o.connections; i++) {
        ssize_t len = getline(&line, &cap, f);
        if (len < 1)
            die("there are too few tokens");
        line[len - 1] = 0;
        char *token = strdup(line);
        open_client(i, token);
        while (opened - settled >= OPENING_MAX)
            pump(1000000);
    }
    while (settled < opened)
        pump(1000000);
    free(line);
    (void)fclose(f);
}

static void publish(uint32_t number, uint64_t due_ns)
{
    static uint64_t random = 88172645463325252u;
    static uint32_t *in_topic;
    char subject[64];
    uint8_t payload[SIZE] = {0};
    if (!in_topic)
        in_topic = calloc((size_t)o.connections * (size_t)o.topics, sizeof *in_topic);
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    struct stamp s = {.number = number, .due_ns = due_ns};
    s.device = (uint32_t)(random >> 16) % (uint32_t)o.connections;
    s.topic = (uint32_t)(random >> 48) % (uint32_t)o.topics;
    s.in_topic = ++in_topic[s.device * (uint32_t)o.topics + s.topic];
    memcpy(payload, &s, sizeof s);
    (void)snprintf(subject, sizeof subject, "%u.t%u", s.device, s.topic);
    struct buffer packet = {0};
    wire_mqtt.publish(&clients[0].peer, &packet, subject, payload, sizeof payload);
    wrap(&clients[0], &packet);
    free(packet.data);
}

static int compare(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static double latency_us(double part)
{
    size_t at = (size_t)((double)delivered * part);
    return delivered ? (double)latencies[at < delivered ? at : delivered - 1] / 1e3 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"pid", 1, NULL, 'i'},
        {"tokens", 1, NULL, 't'}, {"connections", 1, NULL, 'c'}, {"topics", 1, NULL, 's'},
        {"rate", 1, NULL, 'r'}, {"seconds", 1, NULL, 'd'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 't')
            o.tokens = optarg;
        else
            *(option == 'p'     ? &o.port
                : option == 'i' ? &o.pid
                : option == 'c' ? &o.connections
                : option == 's' ? &o.topics
                : option == 'r' ? &o.rate
                                : &o.seconds) = atoi(optarg);
    }
    uint64_t wanted = (uint64_t)o.rate * (uint64_t)o.seconds;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ep = epoll_create1(0);
    clients = calloc((size_t)o.connections + 1, sizeof *clients);
    seen = calloc(wanted, 1);
    latencies = calloc(2 * wanted, sizeof *latencies);
    if (!o.port || !o.pid || !o.tokens || o.topics > TOPICS_MAX || !clients || !seen || !latencies)
        die("--port, --pid and --tokens are needed");

    double cpu = server_cpu_s();
    uint64_t begin = now_ns();
    connect_all();
    double connect_s = (double)(now_ns() - begin) / 1e9, connect_cpu = server_cpu_s() - cpu;

    cpu = server_cpu_s();
    begin = now_ns();
    for (uint32_t sent = 0; sent < wanted;) {
        uint64_t due = begin + (uint64_t)sent * 1000000000u / (uint64_t)o.rate, now = now_ns();
        if (due <= now)
            publish(sent++, due);
        else
            pump(due - now);
        if (sent % 64 == 0)
            pump(0);
    }
    double took_s = (double)(now_ns() - begin) / 1e9;
    for (uint64_t until = now_ns() + 3000000000u; delivered < wanted && now_ns() < until;)
        pump(1000000);
    cpu = server_cpu_s() - cpu;
    qsort(latencies, delivered, sizeof *latencies, compare);
    uint64_t lost = 0;
    for (uint64_t i = 0; i < wanted; i++)
        lost += !seen[i];
    printf("connections=%d subscriptions=%d connect_s=%.1f connect_cpu_us=%.0f rss_mb=%.0f ",
        o.connections, o.connections * o.topics, connect_s, connect_cpu * 1e6 / o.connections,
        (double)server_stat(24) * (double)sysconf(_SC_PAGESIZE) / 1e6);
    printf("published_per_s=%.0f delivered=%llu lost=%llu twice=%llu misdelivered=%llu "
           "disorder=%llu ",
        (double)wanted / took_s, (unsigned long long)delivered, (unsigned long long)lost,
        (unsigned long long)twice, (unsigned long long)misdelivered, (unsigned long long)disorder);
    printf("cpu_percent=%.1f cpu_us=%.1f p50_us=%.0f p99_us=%.0f p999_us=%.0f max_us=%.0f\n",
        cpu * 100 / took_s, cpu * 1e6 / (double)wanted, latency_us(.5), latency_us(.99),
        latency_us(.999), latency_us(1));
    return lost || twice || misdelivered || disorder;
}
