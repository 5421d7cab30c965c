/*
 * How fast is a server, from outside?
 *
 * One thread, many connections. What is on its way is bounded by a window, so neither side piles
 * up; with --rate messages go out by the clock instead and the latency is what a user would see.
 *
 *     pubsub    P publishers, each with its own subject and one subscriber
 *     fanout    one publisher, S subscribers of one subject
 *     request   P clients that ask one responder (this process too)
 *
 * Every payload begins with when it was sent and its number, so a loss or a change of order shows.
 */
#include "cli/commands.h"
#include "cli/histogram.h"
#include "cli/text.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

static const char help[] =
    "Usage: parley bench [options] [pubsub | fanout | request]\n"
    "\n"
    "Measures messages per second and their latency, with publishers and subscribers in this\n"
    "process. Every delivery is checked for loss and order.\n"
    "\n"
    "  parley bench                                   one publisher, one subscriber, 128 bytes\n"
    "  parley bench fanout --subscribers 100\n"
    "  parley bench request --window 1 --seconds 5    the time of one round trip\n"
    "  parley bench --rate 1000                       latency at a low rate\n"
    "\n"
    "      --publishers N   pubsub, request: that many pairs, or clients that ask (default 1)\n"
    "      --subscribers N  fanout: that many (default 10)\n"
    "      --size BYTES     of a payload, at least 16 (default 128)\n"
    "      --count N        stop after N published messages\n"
    "      --seconds N      stop after N seconds (default 5)\n"
    "      --window N       messages on their way per publisher (default 1000; request: 64)\n"
    "      --rate N         publish N messages a second in all, instead of as fast as they go\n"
    "      --json           the result as an object\n"
    "      --quiet          no progress line\n" PL_NATS_CLIENT_HELP;

enum {
    OPTION_PUBLISHERS = PL_OPTION_OWN,
    OPTION_SUBSCRIBERS,
    OPTION_SIZE,
    OPTION_COUNT,
    OPTION_SECONDS,
    OPTION_WINDOW,
    OPTION_RATE,
    OPTION_JSON,
    OPTION_QUIET,
};

enum { CLIENTS_MAX = 4000, STAMP_SIZE = 16, BURST = 64, DRAIN_NS = 5 };

#define SECOND_NS 1000000000ull

enum mode { MODE_PUBSUB, MODE_FANOUT, MODE_REQUEST };

struct stamp {
    uint64_t sent_ns, number;
};

struct publisher {
    struct pl_nats_client *client;
    char subject[64], inbox[PL_CLI_INBOX_MAX];
    uint64_t sent, finished; /* finished: delivered to all its subscribers, or answered */
    uint64_t delivered;      /* to any of its subscribers */
};

struct subscriber {
    struct pl_nats_client *client;
    struct publisher *of;
    uint64_t expected; /* the next number */
};

struct bench {
    struct pl_nats_client_options server;
    enum mode mode;
    uint64_t publishers, subscribers, size, count, seconds, window, rate;
    bool json, quiet;

    struct pl_nats_client *clients[CLIENTS_MAX];
    size_t client_count;
    struct publisher *pubs;
    struct subscriber *subs;
    size_t sub_count;
    uint8_t *payload;
    uint64_t start_ns, end_ns, told_ns, told_count;
    uint64_t sent, received, lost, disordered;
    struct pl_histogram latency;
};

static int broken(const struct pl_nats_client *c)
{
    return pl_cli_fail("bench", "%s", pl_nats_client_error(c));
}

static bool connect_one(struct bench *b, struct pl_nats_client **out)
{
    struct pl_diag diag = {0};
    if (pl_nats_client_open(&b->server, out, &diag)) {
        (void)pl_cli_fail("bench", "%s", diag.text);
        return false;
    }
    b->clients[b->client_count++] = *out;
    return true;
}

static bool subscribe(struct pl_nats_client *c, const char *subject)
{
    if (pl_nats_client_subscribe(c, pl_bytes_text(subject), PL_NO_BYTES, 1) == PL_OK &&
        pl_nats_client_sync(c, 5000) == PL_OK)
        return true;
    (void)broken(c);
    return false;
}

static bool connect_all(struct bench *b)
{
    char run[PL_CLI_INBOX_MAX];
    pl_cli_new_inbox(run);
    b->pubs = pl_zalloc(b->publishers * sizeof *b->pubs);
    b->subs = pl_zalloc(b->sub_count * sizeof *b->subs);
    b->payload = pl_zalloc(b->size);
    if (!b->pubs || !b->subs || !b->payload) {
        (void)pl_cli_fail("bench", "out of memory");
        return false;
    }
    for (size_t i = 0; i < b->publishers; i++) {
        struct publisher *p = &b->pubs[i];
        (void)snprintf(p->subject, sizeof p->subject, "bench.%s.%zu", run + 7,
            b->mode == MODE_REQUEST ? 0 : i);
        pl_cli_new_inbox(p->inbox);
        if (!connect_one(b, &p->client) ||
            (b->mode == MODE_REQUEST && !subscribe(p->client, p->inbox)))
            return false;
    }
    for (size_t i = 0; i < b->sub_count; i++) {
        struct subscriber *s = &b->subs[i];
        s->of = &b->pubs[b->mode == MODE_PUBSUB ? i : 0];
        if (!connect_one(b, &s->client) || !subscribe(s->client, s->of->subject))
            return false;
    }
    return true;
}

static bool publish_one(struct bench *b, struct publisher *p)
{
    struct stamp stamp = {pl_nats_client_now_ns(), p->sent++};
    memcpy(b->payload, &stamp, sizeof stamp);
    b->sent++;
    return pl_nats_client_publish(p->client, pl_bytes_text(p->subject),
               b->mode == MODE_REQUEST ? pl_bytes_text(p->inbox) : PL_NO_BYTES, PL_NO_BYTES,
               pl_bytes_of(b->payload, b->size)) == PL_OK;
}

/* How many more may go out now by the clock. */
static uint64_t due_by_rate(const struct bench *b, uint64_t now_ns)
{
    if (!b->rate)
        return UINT64_MAX;
    double due = (double)(now_ns - b->start_ns) / 1e9 * (double)b->rate;
    return due > (double)b->sent ? (uint64_t)due - b->sent : 0;
}

static bool is_over(const struct bench *b, uint64_t now_ns)
{
    return (b->count && b->sent >= b->count) || now_ns >= b->end_ns;
}

/* True: all that fits was published; more can only follow when something came. */
static bool publish_some(struct bench *b)
{
    uint64_t now_ns = pl_nats_client_now_ns(), due = due_by_rate(b, now_ns);
    for (size_t i = 0; i < b->publishers; i++) {
        struct publisher *p = &b->pubs[i];
        for (int n = 0; n < BURST && due && !is_over(b, now_ns); n++, due--) {
            if (p->sent - p->finished >= b->window)
                break;
            if (!publish_one(b, p))
                return false;
        }
    }
    return true;
}

static bool read_stamp(const struct pl_nats_client_event *event, struct stamp *out)
{
    if (event->payload.len < sizeof *out)
        return false;
    memcpy(out, event->payload.data, sizeof *out);
    return true;
}

static void on_delivery(struct bench *b, struct subscriber *s,
    const struct pl_nats_client_event *event, uint64_t now_ns)
{
    struct stamp stamp;
    if (!read_stamp(event, &stamp))
        return;
    if (stamp.number > s->expected)
        b->lost += stamp.number - s->expected;
    else if (stamp.number < s->expected)
        b->disordered++;
    s->expected = stamp.number + 1;
    b->received++;
    if (b->mode == MODE_REQUEST) {
        (void)!pl_nats_client_publish(
            s->client, event->reply, PL_NO_BYTES, PL_NO_BYTES, event->payload);
        return;
    }
    pl_histogram_add(&b->latency, now_ns - stamp.sent_ns);
    struct publisher *p = s->of;
    p->delivered++;
    p->finished = b->mode == MODE_FANOUT ? p->delivered / b->sub_count : p->delivered;
}

/* An exit code, or -1: go on. */
static int take_events(struct bench *b)
{
    struct pl_nats_client_event event;
    uint64_t now_ns = pl_nats_client_now_ns();
    for (size_t i = 0; i < b->sub_count; i++) {
        while (pl_nats_client_next(b->subs[i].client, &event)) {
            if (event.kind == PL_NATS_CLIENT_ERROR)
                return pl_cli_fail(
                    "bench", "%.*s", (int)event.text.len, (const char *)event.text.data);
            if (event.kind != PL_NATS_CLIENT_MESSAGE)
                continue;
            if (b->mode == MODE_REQUEST)
                b->subs[i].expected = 0; /* many ask: no one order */
            uint64_t lost = b->lost;
            on_delivery(b, &b->subs[i], &event, now_ns);
            if (b->mode == MODE_REQUEST)
                b->lost = lost;
        }
    }
    for (size_t i = 0; i < b->publishers; i++) {
        struct publisher *p = &b->pubs[i];
        struct stamp stamp;
        while (pl_nats_client_next(p->client, &event)) {
            if (event.kind == PL_NATS_CLIENT_ERROR)
                return pl_cli_fail(
                    "bench", "%.*s", (int)event.text.len, (const char *)event.text.data);
            if (event.kind != PL_NATS_CLIENT_MESSAGE || !read_stamp(&event, &stamp))
                continue;
            b->disordered += stamp.number != p->finished;
            pl_histogram_add(&b->latency, now_ns - stamp.sent_ns);
            p->finished++;
        }
    }
    return -1;
}

static void tell_progress(struct bench *b)
{
    uint64_t now_ns = pl_nats_client_now_ns(), done = b->latency.count;
    if (b->quiet || now_ns < b->told_ns + SECOND_NS)
        return;
    double seconds = (double)(now_ns - b->told_ns) / 1e9;
    (void)fprintf(stderr, "%s%.0f s: %.0f messages/s   %s", isatty(STDERR_FILENO) ? "\r" : "",
        (double)(now_ns - b->start_ns) / 1e9, (double)(done - b->told_count) / seconds,
        isatty(STDERR_FILENO) ? "" : "\n");
    b->told_ns = now_ns;
    b->told_count = done;
}

static bool is_finished(const struct bench *b)
{
    for (size_t i = 0; i < b->publishers; i++)
        if (b->pubs[i].finished < b->pubs[i].sent)
            return false;
    return true;
}

static int measure(struct bench *b)
{
    b->start_ns = b->told_ns = pl_nats_client_now_ns();
    b->end_ns = b->seconds ? b->start_ns + b->seconds * SECOND_NS : UINT64_MAX;
    uint64_t gave_up_ns = 0;
    for (;;) {
        uint64_t now_ns = pl_nats_client_now_ns();
        if (is_over(b, now_ns)) {
            if (!gave_up_ns)
                gave_up_ns = now_ns + DRAIN_NS * SECOND_NS;
            if (is_finished(b) || now_ns > gave_up_ns)
                return PL_EXIT_OK;
        } else if (!publish_some(b)) {
            return pl_cli_fail("bench", "out of memory");
        }
        enum pl_err err = pl_nats_client_wait(b->clients, b->client_count, b->rate ? 1 : 100);
        for (size_t i = 0; err && i < b->client_count; i++)
            if (strcmp(pl_nats_client_error(b->clients[i]), "the connection failed") != 0)
                return broken(b->clients[i]);
        if (err)
            return broken(b->clients[0]);
        int code = take_events(b);
        if (code >= 0)
            return code;
        tell_progress(b);
    }
}

static void print_latency(const char *name, double ns)
{
    if (ns < 1e6)
        (void)printf("  %-6s %8.1f µs\n", name, ns / 1e3);
    else
        (void)printf("  %-6s %8.2f ms\n", name, ns / 1e6);
}

static int report(struct bench *b)
{
    static const char *const names[] = {"pubsub", "fanout", "request"};
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}};
    double seconds = (double)(pl_nats_client_now_ns() - b->start_ns) / 1e9;
    const struct pl_histogram *h = &b->latency;
    uint64_t expected = b->sent * (b->mode == MODE_FANOUT ? b->sub_count : 1);
    uint64_t missing = expected > h->count ? expected - h->count : 0;
    double mean = h->count ? (double)h->sum / (double)h->count : 0;
    if (!b->quiet && isatty(STDERR_FILENO))
        (void)fputs("\r                                        \r", stderr);
    if (b->json) {
        (void)printf("{\"mode\":\"%s\",\"size\":%llu,\"sent\":%llu,\"received\":%llu,"
                     "\"missing\":%llu,\"disordered\":%llu,\"seconds\":%.3f,"
                     "\"per_second\":%.0f,\"latency_us\":{\"min\":%.1f,\"mean\":%.1f",
            names[b->mode], (unsigned long long)b->size, (unsigned long long)b->sent,
            (unsigned long long)h->count, (unsigned long long)missing,
            (unsigned long long)b->disordered, seconds, (double)h->count / seconds,
            (double)h->min / 1e3, mean / 1e3);
        for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
            (void)printf(
                ",\"%s\":%.1f", points[i].name, (double)pl_histogram_at(h, points[i].share) / 1e3);
        (void)printf(",\"max\":%.1f}}\n", (double)h->max / 1e3);
    } else {
        (void)printf("%s, %llu bytes: %llu published, %llu %s in %.2f s\n", names[b->mode],
            (unsigned long long)b->size, (unsigned long long)b->sent, (unsigned long long)h->count,
            b->mode == MODE_REQUEST ? "answered" : "delivered", seconds);
        (void)printf("  %.0f messages/s, %.1f MB/s\n", (double)h->count / seconds,
            (double)(h->count * b->size) / seconds / 1e6);
        print_latency("min", (double)h->min);
        print_latency("mean", mean);
        for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
            print_latency(points[i].name, (double)pl_histogram_at(h, points[i].share));
        print_latency("max", (double)h->max);
    }
    if (missing || b->disordered)
        return pl_cli_fail("bench", "%llu messages are missing, %llu came out of order",
            (unsigned long long)missing, (unsigned long long)b->disordered);
    return fflush(stdout) ? PL_EXIT_FAILED : PL_EXIT_OK;
}

static bool read_number(const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
    if (pl_cli_number(optarg, min, max, out))
        return true;
    (void)pl_cli_usage("bench", "--%s wants a number from %llu to %llu, not %s", name,
        (unsigned long long)min, (unsigned long long)max, optarg);
    return false;
}

static int read_mode(struct bench *b, int argc, char **argv)
{
    static const char *const names[] = {"pubsub", "fanout", "request"};
    if (argc - optind > 1)
        return pl_cli_usage("bench", "one of pubsub, fanout and request");
    for (int i = 0; optind < argc && i <= 3; i++) {
        if (i == 3)
            return pl_cli_usage("bench", "pubsub, fanout or request, not %s", argv[optind]);
        if (strcmp(argv[optind], names[i]) == 0) {
            b->mode = (enum mode)i;
            break;
        }
    }
    if (b->mode == MODE_FANOUT)
        b->publishers = 1;
    b->sub_count = b->mode == MODE_FANOUT   ? b->subscribers
                   : b->mode == MODE_PUBSUB ? b->publishers
                                            : 1;
    if (!b->window)
        b->window = b->mode == MODE_REQUEST ? 64 : 1000;
    if (b->count && !b->seconds)
        b->seconds = 3600;
    else if (!b->seconds)
        b->seconds = 5;
    return -1;
}

/* An exit code, or -1: go on. */
static int read_args(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        {"publishers", required_argument, NULL, OPTION_PUBLISHERS},
        {"subscribers", required_argument, NULL, OPTION_SUBSCRIBERS},
        {"size", required_argument, NULL, OPTION_SIZE},
        {"count", required_argument, NULL, OPTION_COUNT},
        {"seconds", required_argument, NULL, OPTION_SECONDS},
        {"window", required_argument, NULL, OPTION_WINDOW},
        {"rate", required_argument, NULL, OPTION_RATE},
        {"json", no_argument, NULL, OPTION_JSON},
        {"quiet", no_argument, NULL, OPTION_QUIET},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option;
    bool ok = true;
    while (ok && (option = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
        switch (option) {
        case OPTION_PUBLISHERS:
            ok = read_number("publishers", 1, CLIENTS_MAX / 2, &b->publishers);
            break;
        case OPTION_SUBSCRIBERS:
            ok = read_number("subscribers", 1, CLIENTS_MAX - 1, &b->subscribers);
            break;
        case OPTION_SIZE:
            ok = read_number("size", STAMP_SIZE, 64 << 20, &b->size);
            break;
        case OPTION_COUNT:
            ok = read_number("count", 1, UINT64_MAX / 2, &b->count);
            break;
        case OPTION_SECONDS:
            ok = read_number("seconds", 1, 86400, &b->seconds);
            break;
        case OPTION_WINDOW:
            ok = read_number("window", 1, 1000000, &b->window);
            break;
        case OPTION_RATE:
            ok = read_number("rate", 1, 100000000, &b->rate);
            break;
        case OPTION_JSON:
            b->json = true;
            break;
        case OPTION_QUIET:
            b->quiet = true;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            ok = pl_nats_client_option(&b->server, option, optarg);
        }
    }
    return ok ? read_mode(b, argc, argv) : PL_EXIT_USAGE;
}

int pl_cmd_bench(int argc, char **argv)
{
    struct bench *b = pl_zalloc(sizeof *b);
    if (!b)
        return pl_cli_fail("bench", "out of memory");
    b->publishers = 1;
    b->subscribers = 10;
    b->size = 128;
    int code = read_args(b, argc, argv);
    if (code < 0) {
        code = PL_EXIT_FAILED;
        if (connect_all(b))
            code = measure(b);
        if (code == PL_EXIT_OK)
            code = report(b);
    }
    for (size_t i = 0; i < b->client_count; i++)
        pl_nats_client_close(b->clients[i]);
    pl_free(b->pubs);
    pl_free(b->subs);
    pl_free(b->payload);
    pl_free(b);
    return code;
}
