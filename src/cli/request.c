#include "cli/commands.h"
#include "cli/text.h"

#include "base/alloc.h"

static const char help[] =
    "Usage: parley request [options] SUBJECT [PAYLOAD]\n"
    "\n"
    "Asks, and prints the answer. Without a PAYLOAD it is empty; with - it is read from the "
    "standard\n"
    "input. If nobody is there to answer, that is told at once.\n"
    "\n"
    "  parley request time.now\n"
    "  parley request --timeout 500ms --count 3 services.ping hello\n"
    "\n"
    "  -H, --header 'K: V'  add a header; again for more\n"
    "  -n, --count N        wait for N answers (default 1)\n"
    "  -t, --timeout TIME   give up after this time (default 5s)\n"
    "      --json           an object a line: subject, payload (or payload_base64), headers\n"
    "      --raw            the payload as it is and a line break\n"
    "      --headers        headers too, below their answer\n"
    "\n"
    "Without these an answer is printed as text; bytes that are none are escaped "
    "(\\x00).\n" PL_NATS_CLIENT_HELP;

enum { OPTION_JSON = PL_OPTION_OWN, OPTION_RAW, OPTION_HEADERS };

struct request {
    struct pl_nats_client_options server;
    struct pl_cli_head head;
    const char *subject, *payload;
    uint64_t count, timeout_ms;
    enum pl_cli_style style;
    bool headers;
};

static int await_answers(struct request *r, struct pl_nats_client *c)
{
    uint64_t end_ms = pl_nats_client_now_ns() / 1000000 + r->timeout_ms, seen = 0;
    for (;;) {
        uint64_t now_ms = pl_nats_client_now_ns() / 1000000;
        if (now_ms >= end_ms)
            return seen ? pl_cli_fail("request", "%llu of %llu answers came in time",
                              (unsigned long long)seen, (unsigned long long)r->count)
                        : pl_cli_fail("request", "no answer in time");
        if (pl_nats_client_wait(&c, 1, (int64_t)(end_ms - now_ms)))
            return pl_cli_fail("request", "%s", pl_nats_client_error(c));
        struct pl_nats_client_event event;
        while (pl_nats_client_next(c, &event)) {
            if (event.kind == PL_NATS_CLIENT_ERROR)
                return pl_cli_fail(
                    "request", "%.*s", (int)event.text.len, (const char *)event.text.data);
            if (event.kind != PL_NATS_CLIENT_MESSAGE)
                continue;
            if (!event.payload.len && pl_bytes_starts(pl_cli_status(event.head), PL_BYTES("503")))
                return pl_cli_fail("request", "nobody answers at %s", r->subject);
            if (!pl_cli_print(stdout, &event, r->style, false, r->headers))
                return pl_cli_fail("request", "cannot write to the standard output");
            if (++seen == r->count)
                return PL_EXIT_OK;
        }
    }
}

static int ask(struct request *r, struct pl_nats_client *c)
{
    char inbox[PL_CLI_INBOX_MAX];
    pl_cli_new_inbox(inbox);
    uint32_t max = pl_nats_client_info(c)->max_payload;
    struct pl_bytes head = pl_cli_head_block(&r->head), payload = pl_bytes_text(r->payload);
    uint8_t *memory = NULL;
    if (r->payload && strcmp(r->payload, "-") == 0) {
        memory = pl_cli_read_all(stdin, max, &payload.len);
        payload.data = memory;
    }
    int code = PL_EXIT_OK;
    if ((r->payload && !payload.data) || head.len + payload.len > max)
        code = pl_cli_fail("request", "the server takes messages of up to %u bytes", max);
    else if (pl_nats_client_subscribe(c, pl_bytes_text(inbox), PL_NO_BYTES, 1) ||
             pl_nats_client_publish(
                 c, pl_bytes_text(r->subject), pl_bytes_text(inbox), head, payload))
        code = pl_cli_fail("request", "out of memory");
    else
        code = await_answers(r, c);
    pl_free(memory);
    return code;
}

/* An exit code, or -1: go on. */
static int read_args(struct request *r, int argc, char **argv)
{
    static const struct option options[] = {
        {"header", required_argument, NULL, 'H'},
        {"count", required_argument, NULL, 'n'},
        {"timeout", required_argument, NULL, 't'},
        {"json", no_argument, NULL, OPTION_JSON},
        {"raw", no_argument, NULL, OPTION_RAW},
        {"headers", no_argument, NULL, OPTION_HEADERS},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "H:n:t:s:h", options, NULL)) != -1) {
        switch (option) {
        case 'H':
            if (!pl_cli_head_add(&r->head, optarg))
                return pl_cli_usage("request", "a header is 'Name: value', not '%s'", optarg);
            break;
        case 'n':
            if (!pl_cli_number(optarg, 1, UINT64_MAX, &r->count))
                return pl_cli_usage("request", "--count wants a number from 1, not %s", optarg);
            break;
        case 't':
            if (!pl_cli_duration(optarg, &r->timeout_ms) || !r->timeout_ms)
                return pl_cli_usage("request", "--timeout wants a time such as 5s, not %s", optarg);
            break;
        case OPTION_JSON:
            r->style = PL_CLI_JSON;
            break;
        case OPTION_RAW:
            r->style = PL_CLI_RAW;
            break;
        case OPTION_HEADERS:
            r->headers = true;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            if (!pl_nats_client_option(&r->server, option, optarg))
                return PL_EXIT_USAGE;
        }
    }
    if (optind == argc || argc - optind > 2)
        return pl_cli_usage("request", "a subject is needed, and at most one payload");
    r->subject = argv[optind];
    r->payload = argv[optind + 1];
    if (!pl_cli_is_subject(r->subject))
        return pl_cli_usage(
            "request", "cannot ask '%s': tokens parted by dots, no wildcards", r->subject);
    return -1;
}

int pl_cmd_request(int argc, char **argv)
{
    struct request r = {.count = 1, .timeout_ms = 5000, .style = PL_CLI_TEXT};
    struct pl_nats_client *c;
    struct pl_diag diag = {0};
    int code = read_args(&r, argc, argv);
    if (code < 0 && pl_nats_client_open(&r.server, &c, &diag)) {
        code = pl_cli_fail("request", "%s", diag.text);
    } else if (code < 0) {
        code = ask(&r, c);
        pl_nats_client_close(c);
    }
    pl_cli_head_done(&r.head);
    return code;
}
