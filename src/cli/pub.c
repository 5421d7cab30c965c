#include "cli/commands.h"
#include "cli/text.h"
#include "cli/wamp_client.h"
#include "cli/wamp_pubsub.h"

#include <stdlib.h>

#include "base/alloc.h"

static const char help[] =
    "Usage: parley pub [options] SUBJECT [PAYLOAD]\n"
    "\n"
    "Publishes a message. Without a PAYLOAD, or with -, it is read from the standard input.\n"
    "\n"
    "  parley pub plant.line1.temp 21.5\n"
    "  parley pub -H 'Content-Type: application/json' plant.line1.state '{\"on\":true}'\n"
    "  tail -f log.txt | parley pub --stdin-lines logs.web\n"
    "\n"
    "  -H, --header 'K: V'  add a header; again for more\n"
    "      --content-type T what the payload is; an MQTT 5 subscriber sees it as its content type\n"
    "      --ttl SECONDS    not delivered any more after that\n"
    "  -r, --reply SUBJECT  where answers go\n"
    "  -n, --count N        publish it N times\n"
    "      --stdin-lines    each line of the standard input is a message\n"
    "      --realm NAME     of WAMP, for unix:/path too\n"
    "\n"
    "Over ws://, wss://, rs:// and rss:// it is a session of WAMP: a JSON object or list is that\n"
    "value, anything else a string; there are none of the options above but "
    "--count.\n" PL_NATS_CLIENT_HELP;

enum { OPTION_CONTENT_TYPE = PL_OPTION_OWN, OPTION_TTL, OPTION_LINES, OPTION_REALM };

struct pub {
    struct pl_nats_client_options server;
    struct pl_cli_head head;
    const char *subject, *payload, *reply, *realm;
    uint64_t count;
    bool by_lines;
};

enum { QUEUED_MAX = 1 << 20, ANSWER_MS = 10000, PAYLOAD_MAX = 16 << 20 };

/* Lets the server catch up when much is queued. An exit code. */
static int flush_some(struct pl_nats_client *c)
{
    struct pl_nats_client_event event;
    while (pl_nats_client_queued(c) > QUEUED_MAX) {
        if (pl_nats_client_wait(&c, 1, ANSWER_MS))
            return pl_cli_fail("pub", "%s", pl_nats_client_error(c));
        while (pl_nats_client_next(c, &event))
            if (event.kind == PL_NATS_CLIENT_ERROR)
                return pl_cli_fail(
                    "pub", "%.*s", (int)event.text.len, (const char *)event.text.data);
    }
    return PL_EXIT_OK;
}

static int send_one(struct pub *pub, struct pl_nats_client *c, struct pl_bytes payload)
{
    struct pl_bytes head = pl_cli_head_block(&pub->head);
    uint32_t max = pl_nats_client_info(c)->max_payload;
    if (head.len + payload.len > max)
        return pl_cli_fail("pub", "the message has %zu bytes, and the server takes %u",
            head.len + payload.len, max);
    if (pl_nats_client_publish(
            c, pl_bytes_text(pub->subject), pl_bytes_text(pub->reply), head, payload))
        return pl_cli_fail("pub", "out of memory");
    return flush_some(c);
}

static int send_lines(struct pub *pub, struct pl_nats_client *c)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int code = PL_EXIT_OK;
    while (!code && (len = getline(&line, &cap, stdin)) >= 0) {
        if (len && line[len - 1] == '\n')
            len--;
        code = send_one(pub, c, pl_bytes_of(line, (size_t)len));
        struct pl_nats_client *one = c;
        if (!code && pl_nats_client_wait(&one, 1, 0)) /* a line is sent when it is there */
            code = pl_cli_fail("pub", "%s", pl_nats_client_error(c));
    }
    free(line);
    return code;
}

static int send_all(struct pub *pub, struct pl_nats_client *c)
{
    if (pub->by_lines)
        return send_lines(pub, c);
    uint8_t *memory = NULL;
    struct pl_bytes payload = pl_bytes_text(pub->payload);
    if (!pub->payload || strcmp(pub->payload, "-") == 0) {
        memory = pl_cli_read_all(stdin, pl_nats_client_info(c)->max_payload, &payload.len);
        if (!memory)
            return pl_cli_fail("pub",
                "the standard input is longer than the %u bytes that the "
                "server takes",
                pl_nats_client_info(c)->max_payload);
        payload.data = memory;
    }
    int code = PL_EXIT_OK;
    for (uint64_t i = 0; !code && i < pub->count; i++)
        code = send_one(pub, c, payload);
    pl_free(memory);
    return code;
}

static int run_wamp(struct pub *pub)
{
    uint8_t *memory = NULL;
    struct pl_bytes payload = pl_bytes_text(pub->payload);
    if (pl_cli_head_block(&pub->head).len || pub->reply || pub->by_lines)
        return pl_cli_usage("pub", "over WAMP there are no headers, replies and lines");
    if (!pub->payload || strcmp(pub->payload, "-") == 0) {
        memory = pl_cli_read_all(stdin, PAYLOAD_MAX, &payload.len);
        if (!memory)
            return pl_cli_fail("pub", "the standard input is too long");
        payload.data = memory;
    }
    int code = pl_cli_wamp_pub(&pub->server, pub->realm, pub->subject, payload, pub->count);
    pl_free(memory);
    return code;
}

static int run(struct pub *pub)
{
    if (pl_cli_is_wamp(&pub->server, pub->realm))
        return run_wamp(pub);
    struct pl_nats_client *c;
    struct pl_diag diag = {0};
    if (pl_nats_client_open(&pub->server, &c, &diag))
        return pl_cli_fail("pub", "%s", diag.text);
    int code = send_all(pub, c);
    /* A refusal comes before the answer to this. */
    if (!code && pl_nats_client_sync(c, ANSWER_MS))
        code = pl_cli_fail("pub", "%s", pl_nats_client_error(c));
    pl_nats_client_close(c);
    return code;
}

/* An exit code, or -1: go on. */
static int read_args(struct pub *pub, int argc, char **argv)
{
    static const struct option options[] = {
        {"header", required_argument, NULL, 'H'},
        {"content-type", required_argument, NULL, OPTION_CONTENT_TYPE},
        {"ttl", required_argument, NULL, OPTION_TTL},
        {"reply", required_argument, NULL, 'r'},
        {"count", required_argument, NULL, 'n'},
        {"stdin-lines", no_argument, NULL, OPTION_LINES},
        {"realm", required_argument, NULL, OPTION_REALM},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option;
    uint64_t number;
    while ((option = getopt_long(argc, argv, "H:r:n:s:h", options, NULL)) != -1) {
        switch (option) {
        case 'H':
            if (!pl_cli_head_add(&pub->head, optarg))
                return pl_cli_usage("pub", "a header is 'Name: value', not '%s'", optarg);
            break;
        case OPTION_CONTENT_TYPE:
            if (!pl_cli_head_set(&pub->head, "Content-Type", optarg))
                return pl_cli_usage("pub", "not a content type: %s", optarg);
            break;
        case OPTION_TTL:
            if (!pl_cli_number(optarg, 1, UINT32_MAX, &number) ||
                !pl_cli_head_set(&pub->head, "Nats-TTL", optarg))
                return pl_cli_usage("pub", "--ttl wants whole seconds, not %s", optarg);
            break;
        case 'r':
            pub->reply = optarg;
            break;
        case 'n':
            if (!pl_cli_number(optarg, 1, UINT32_MAX, &pub->count))
                return pl_cli_usage("pub", "--count wants a number from 1, not %s", optarg);
            break;
        case OPTION_REALM:
            pub->realm = optarg;
            break;
        case OPTION_LINES:
            pub->by_lines = true;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            if (!pl_nats_client_option(&pub->server, option, optarg))
                return PL_EXIT_USAGE;
        }
    }
    if (optind == argc || argc - optind > 2 || (pub->by_lines && argc - optind > 1))
        return pl_cli_usage("pub", "a subject is needed, and at most one payload");
    pub->subject = argv[optind];
    pub->payload = argv[optind + 1];
    if (!pl_cli_is_subject(pub->subject))
        return pl_cli_usage(
            "pub", "cannot publish to '%s': tokens parted by dots, no wildcards", pub->subject);
    if (pub->reply && !pl_cli_is_subject(pub->reply))
        return pl_cli_usage("pub", "cannot reply to '%s'", pub->reply);
    return -1;
}

int pl_cmd_pub(int argc, char **argv)
{
    struct pub pub = {.count = 1};
    int code = read_args(&pub, argc, argv);
    if (code < 0)
        code = run(&pub);
    pl_cli_head_done(&pub.head);
    return code;
}
