#include "cli/commands.h"
#include "cli/run.h"
#include "cli/text.h"

#include <signal.h>

#include "base/alloc.h"

static const char help[] =
    "Usage: parley reply [options] PATTERN --command CMD | --text TEXT | --echo\n"
    "\n"
    "Answers requests, one after the other. A message that wants no answer is passed over.\n"
    "\n"
    "  parley reply time.now --command date\n"
    "  parley reply --queue workers 'resize.*' --command 'convert - -resize 50% -'\n"
    "\n"
    "  -c, --command CMD    run CMD by the shell: the request on its standard input, the answer "
    "from\n"
    "                       its standard output, $PARLEY_SUBJECT is what was asked\n"
    "      --text TEXT      always this answer\n"
    "  -e, --echo           the request itself, with its headers\n"
    "  -q, --queue GROUP    share the requests with the other members of this group\n"
    "  -n, --count N        stop after N answers\n"
    "  -H, --header 'K: V'  add a header to the answer; again for more\n"
    "\n"
    "If a command fails, the answer is empty and has the headers Nats-Service-Error and\n"
    "Nats-Service-Error-Code: 500.\n" PL_NATS_CLIENT_HELP;

enum { OPTION_TEXT = PL_OPTION_OWN };

struct reply {
    struct pl_nats_client_options server;
    struct pl_cli_head head;
    const char *pattern, *queue, *command, *text;
    uint64_t count; /* 0: no limit */
    bool echo;
};

static enum pl_err answer(
    struct reply *r, struct pl_nats_client *c, const struct pl_nats_client_event *request)
{
    struct pl_bytes head = pl_cli_head_block(&r->head);
    if (r->echo)
        return pl_nats_client_publish(
            c, request->reply, PL_NO_BYTES, head.len ? head : request->head, request->payload);
    if (r->text)
        return pl_nats_client_publish(c, request->reply, PL_NO_BYTES, head, pl_bytes_text(r->text));
    size_t len;
    uint8_t *text = pl_cli_run_command(r->command, request->subject, request->payload,
        pl_nats_client_info(c)->max_payload - head.len, &len);
    if (text) {
        enum pl_err err =
            pl_nats_client_publish(c, request->reply, PL_NO_BYTES, head, pl_bytes_of(text, len));
        pl_free(text);
        return err;
    }
    (void)pl_cli_fail("reply", "the command failed for a request to %.*s",
        (int)request->subject.len, (const char *)request->subject.data);
    return pl_nats_client_publish(c, request->reply, PL_NO_BYTES,
        PL_BYTES("NATS/1.0\r\nNats-Service-Error: the command failed\r\n"
                 "Nats-Service-Error-Code: 500\r\n\r\n"),
        PL_NO_BYTES);
}

static int serve(struct reply *r, struct pl_nats_client *c)
{
    uint64_t answered = 0;
    if (pl_nats_client_subscribe(c, pl_bytes_text(r->pattern), pl_bytes_text(r->queue), 1) ||
        pl_nats_client_ping(c))
        return pl_cli_fail("reply", "out of memory");
    for (;;) {
        if (pl_nats_client_wait(&c, 1, -1))
            return pl_cli_fail("reply", "%s", pl_nats_client_error(c));
        struct pl_nats_client_event event;
        while (pl_nats_client_next(c, &event)) {
            if (event.kind == PL_NATS_CLIENT_ERROR)
                return pl_cli_fail(
                    "reply", "%.*s", (int)event.text.len, (const char *)event.text.data);
            if (event.kind == PL_NATS_CLIENT_PONG)
                (void)fprintf(stderr, "answering %s at %s\n", r->pattern, pl_nats_client_name(c));
            if (event.kind != PL_NATS_CLIENT_MESSAGE || !event.reply.len)
                continue;
            if (answer(r, c, &event))
                return pl_cli_fail("reply", "out of memory");
            if (++answered == r->count)
                return pl_nats_client_sync(c, 5000)
                           ? pl_cli_fail("reply", "%s", pl_nats_client_error(c))
                           : PL_EXIT_OK;
        }
    }
}

/* An exit code, or -1: go on. */
static int read_args(struct reply *r, int argc, char **argv)
{
    static const struct option options[] = {
        {"command", required_argument, NULL, 'c'},
        {"text", required_argument, NULL, OPTION_TEXT},
        {"echo", no_argument, NULL, 'e'},
        {"queue", required_argument, NULL, 'q'},
        {"count", required_argument, NULL, 'n'},
        {"header", required_argument, NULL, 'H'},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:eq:n:H:s:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            r->command = optarg;
            break;
        case OPTION_TEXT:
            r->text = optarg;
            break;
        case 'e':
            r->echo = true;
            break;
        case 'q':
            r->queue = optarg;
            break;
        case 'n':
            if (!pl_cli_number(optarg, 1, UINT64_MAX, &r->count))
                return pl_cli_usage("reply", "--count wants a number from 1, not %s", optarg);
            break;
        case 'H':
            if (!pl_cli_head_add(&r->head, optarg))
                return pl_cli_usage("reply", "a header is 'Name: value', not '%s'", optarg);
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            if (!pl_nats_client_option(&r->server, option, optarg))
                return PL_EXIT_USAGE;
        }
    }
    if (argc - optind != 1)
        return pl_cli_usage("reply", "one pattern is needed");
    if ((r->command != NULL) + (r->text != NULL) + r->echo != 1)
        return pl_cli_usage("reply", "one of --command, --text and --echo says what to answer");
    r->pattern = argv[optind];
    if (!*r->pattern || strpbrk(r->pattern, " \t\r\n"))
        return pl_cli_usage("reply", "not a pattern: '%s'", r->pattern);
    return -1;
}

int pl_cmd_reply(int argc, char **argv)
{
    struct reply r = {0};
    struct pl_nats_client *c;
    struct pl_diag diag = {0};
    int code = read_args(&r, argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    if (code < 0 && pl_nats_client_open(&r.server, &c, &diag)) {
        code = pl_cli_fail("reply", "%s", diag.text);
    } else if (code < 0) {
        code = serve(&r, c);
        pl_nats_client_close(c);
    }
    pl_cli_head_done(&r.head);
    return code;
}
