#include "cli/commands.h"
#include "cli/text.h"
#include "cli/wamp_client.h"
#include "cli/wamp_pubsub.h"

static const char help[] =
    "Usage: parley sub [options] PATTERN...\n"
    "\n"
    "Prints what is published to subjects that match. In a pattern `*` is one token and `>` at "
    "its\n"
    "end is one or more. Says on the standard error when the server has subscribed it.\n"
    "\n"
    "  parley sub 'plant.>'\n"
    "  parley sub --json --headers 'plant.*.temp' | jq .payload\n"
    "  parley sub --raw --count 1 --timeout 10s reports.daily > report.pdf\n"
    "\n"
    "  -q, --queue GROUP    share the messages with the other members of this group\n"
    "  -n, --count N        stop after N messages\n"
    "  -t, --timeout TIME   stop after this time (5, 500ms, 2m); with --count it is a failure "
    "then\n"
    "      --json           an object a line: subject, payload (or payload_base64), reply, "
    "headers\n"
    "      --raw            the payload alone, as it is, and a line break\n"
    "      --headers        headers too, below their message (--json always has them)\n"
    "      --realm NAME     of WAMP, for unix:/path too\n"
    "\n"
    "A plain line is the subject, a space and the payload, in which line breaks and bytes that "
    "are\n"
    "no text are escaped (\\n, \\x00, \\\\). Over ws://, wss://, rs:// and rss:// it is a session "
    "of\n"
    "WAMP; arguments are printed as JSON, a string alone as it is.\n" PL_NATS_CLIENT_HELP;

enum { OPTION_JSON = PL_OPTION_OWN, OPTION_RAW, OPTION_HEADERS, OPTION_REALM };

struct sub {
    struct pl_nats_client_options server;
    char **patterns;
    int pattern_count;
    const char *queue, *realm;
    uint64_t count, timeout_ms; /* 0: none */
    enum pl_cli_style style;
    bool headers;
};

static bool ask(const struct sub *sub, struct pl_nats_client *c)
{
    for (int i = 0; i < sub->pattern_count; i++)
        if (pl_nats_client_subscribe(
                c, pl_bytes_text(sub->patterns[i]), pl_bytes_text(sub->queue), (uint32_t)i + 1))
            return false;
    return pl_nats_client_ping(c) == PL_OK;
}

static void tell_subscribed(const struct sub *sub, const struct pl_nats_client *c)
{
    (void)fprintf(stderr, "subscribed to ");
    for (int i = 0; i < sub->pattern_count; i++)
        (void)fprintf(stderr, "%s%s", i ? ", " : "", sub->patterns[i]);
    (void)fprintf(stderr, " at %s\n", pl_nats_client_name(c));
}

/* An exit code, or -1: go on. */
static int on_event(struct sub *sub, struct pl_nats_client *c,
    const struct pl_nats_client_event *event, uint64_t *io_seen)
{
    switch ((enum pl_nats_client_event_kind)event->kind) {
    case PL_NATS_CLIENT_PONG:
        tell_subscribed(sub, c);
        return -1;
    case PL_NATS_CLIENT_ERROR:
        return pl_cli_fail("sub", "%.*s", (int)event->text.len, (const char *)event->text.data);
    case PL_NATS_CLIENT_MESSAGE:
        if (!pl_cli_print(stdout, event, sub->style, true, sub->headers))
            return pl_cli_fail("sub", "cannot write to the standard output");
        return ++*io_seen == sub->count ? PL_EXIT_OK : -1;
    }
    return -1;
}

static int listen_to(struct sub *sub, struct pl_nats_client *c)
{
    uint64_t end_ms =
        sub->timeout_ms ? pl_nats_client_now_ns() / 1000000 + sub->timeout_ms : UINT64_MAX;
    uint64_t seen = 0;
    if (!ask(sub, c))
        return pl_cli_fail("sub", "out of memory");
    for (;;) {
        uint64_t now_ms = pl_nats_client_now_ns() / 1000000;
        if (now_ms >= end_ms && !sub->count)
            return PL_EXIT_OK;
        if (now_ms >= end_ms)
            return pl_cli_fail("sub", "%llu of %llu messages came in time",
                (unsigned long long)seen, (unsigned long long)sub->count);
        int64_t wait_ms = end_ms == UINT64_MAX ? -1 : (int64_t)(end_ms - now_ms);
        if (pl_nats_client_wait(&c, 1, wait_ms))
            return pl_cli_fail("sub", "%s", pl_nats_client_error(c));
        struct pl_nats_client_event event;
        while (pl_nats_client_next(c, &event)) {
            int code = on_event(sub, c, &event, &seen);
            if (code >= 0)
                return code;
        }
    }
}

/* An exit code, or -1: go on. */
static int read_args(struct sub *sub, int argc, char **argv)
{
    static const struct option options[] = {
        {"queue", required_argument, NULL, 'q'},
        {"count", required_argument, NULL, 'n'},
        {"timeout", required_argument, NULL, 't'},
        {"json", no_argument, NULL, OPTION_JSON},
        {"raw", no_argument, NULL, OPTION_RAW},
        {"headers", no_argument, NULL, OPTION_HEADERS},
        {"realm", required_argument, NULL, OPTION_REALM},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "q:n:t:s:h", options, NULL)) != -1) {
        switch (option) {
        case 'q':
            sub->queue = optarg;
            break;
        case 'n':
            if (!pl_cli_number(optarg, 1, UINT64_MAX, &sub->count))
                return pl_cli_usage("sub", "--count wants a number from 1, not %s", optarg);
            break;
        case 't':
            if (!pl_cli_duration(optarg, &sub->timeout_ms) || !sub->timeout_ms)
                return pl_cli_usage("sub", "--timeout wants a time such as 5s, not %s", optarg);
            break;
        case OPTION_JSON:
            sub->style = PL_CLI_JSON;
            break;
        case OPTION_RAW:
            sub->style = PL_CLI_RAW;
            break;
        case OPTION_REALM:
            sub->realm = optarg;
            break;
        case OPTION_HEADERS:
            sub->headers = true;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            if (!pl_nats_client_option(&sub->server, option, optarg))
                return PL_EXIT_USAGE;
        }
    }
    if (optind == argc)
        return pl_cli_usage("sub", "a pattern is needed, for example 'plant.>'");
    sub->patterns = argv + optind;
    sub->pattern_count = argc - optind;
    for (int i = 0; i < sub->pattern_count; i++)
        if (!*sub->patterns[i] || strpbrk(sub->patterns[i], " \t\r\n"))
            return pl_cli_usage("sub", "not a pattern: '%s'", sub->patterns[i]);
    if (sub->queue && (!*sub->queue || strpbrk(sub->queue, " \t\r\n")))
        return pl_cli_usage("sub", "not a queue group: '%s'", sub->queue);
    return -1;
}

int pl_cmd_sub(int argc, char **argv)
{
    struct sub sub = {0};
    struct pl_nats_client *c;
    struct pl_diag diag = {0};
    int code = read_args(&sub, argc, argv);
    if (code >= 0)
        return code;
    if (pl_cli_is_wamp(&sub.server, sub.realm)) {
        if (sub.queue)
            return pl_cli_usage("sub", "there are no queue groups in WAMP");
        return pl_cli_wamp_sub(
            &sub.server, &(struct pl_cli_wamp_sub){sub.realm, sub.patterns, sub.pattern_count,
                             sub.count, sub.timeout_ms, sub.style});
    }
    if (pl_nats_client_open(&sub.server, &c, &diag))
        return pl_cli_fail("sub", "%s", diag.text);
    code = listen_to(&sub, c);
    pl_nats_client_close(c);
    return code;
}
