#include <stdlib.h>

#include "base/alloc.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "cli/wamp_client.h"

static const char help[] =
    "Usage: parley call [options] PROCEDURE [ARGUMENT]...\n"
    "\n"
    "Calls a procedure of WAMP, or whoever answers requests of that name, and prints the result: "
    "a\n"
    "string as it is, anything else as JSON. An ARGUMENT that is valid JSON is that value, else a\n"
    "string.\n"
    "\n"
    "  parley call com.example.add 2 3\n"
    "  parley call -k unit=celsius plant.line1.read '\"17\"'\n"
    "  parley call --progress com.example.backup\n"
    "\n"
    "  -k, --keyword K=V    a keyword argument; again for more\n"
    "  -p, --progress       print the parts of the result as they come\n"
    "  -t, --timeout TIME   give up after this time (5, 500ms, 2m; default: 30s)\n"
    "      --disclose       the callee is told who calls\n"
    "      --json           print {\"args\": […], \"kwargs\": {…}}\n" PL_CLI_WAMP_HELP;

enum { OPTION_DISCLOSE = PL_OPTION_OWN, OPTION_JSON, OPTION_REALM, KEYWORDS_MAX = 256 };

struct call {
    struct pl_nats_client_options server;
    const char *realm, *procedure;
    char **arguments;
    int argument_count;
    char *keywords[KEYWORDS_MAX];
    int keyword_count;
    uint64_t timeout_ms;
    bool progress, disclose, json;
};

static bool print(const struct call *call, const struct parley_message *message)
{
    if (call->json) {
        char *args = parley_value_json(parley_message_args(message));
        char *kwargs = parley_value_json(parley_message_kwargs(message));
        bool has_args = parley_message_args(message) && args;
        bool has_kwargs = parley_message_kwargs(message) && kwargs;
        bool is_good = printf("{\"args\":%s,\"kwargs\":%s}\n", has_args ? args : "[]",
                           has_kwargs ? kwargs : "{}") >= 0;
        parley_free(args);
        parley_free(kwargs);
        return is_good && fflush(stdout) == 0;
    }
    size_t len = 0;
    char *plain = pl_cli_plain(message, &len);
    bool is_good = plain && (!len || (fwrite(plain, 1, len, stdout) == len && putchar('\n') >= 0));
    pl_free(plain);
    return is_good && fflush(stdout) == 0;
}

static void on_part(struct parley_client *client, const struct parley_message *part, void *context)
{
    (void)client;
    (void)print(context, part);
}

static struct parley_args *make_args(const struct call *call)
{
    struct parley_args *args = parley_args_new();
    for (int i = 0; i < call->argument_count; i++)
        pl_cli_put_value(args, call->arguments[i]);
    if (call->keyword_count)
        parley_args_keywords(args);
    for (int i = 0; i < call->keyword_count; i++) {
        char *value = strchr(call->keywords[i], '=');
        *value = 0;
        parley_args_key(args, call->keywords[i]);
        pl_cli_put_value(args, value + 1);
        *value = '=';
    }
    return args;
}

static int run(struct call *call)
{
    struct parley_client *client = pl_cli_wamp_open("call", &call->server, call->realm);
    struct parley_call_options options = PARLEY_CALL_OPTIONS;
    struct parley_message *answer = NULL;
    if (!client)
        return PL_EXIT_FAILED;
    options.timeout_ms = (uint32_t)call->timeout_ms;
    options.receive_progress = call->progress;
    options.disclose_me = call->disclose;
    /* The router ends it in time; this is for one that does not. */
    enum parley_code code = parley_call_wait(client, call->procedure, make_args(call), &options,
        call->progress ? on_part : NULL, call, (int)call->timeout_ms + 1000, &answer);
    int exit_code = PL_EXIT_OK;
    if (code)
        exit_code = pl_cli_wamp_fail("call", code, answer);
    else if (!print(call, answer))
        exit_code = pl_cli_fail("call", "cannot write to the standard output");
    parley_message_free(answer);
    parley_client_free(client);
    return exit_code;
}

/* An exit code, or -1: go on. */
static int read_args(struct call *call, int argc, char **argv)
{
    static const struct option options[] = {
        {"keyword", required_argument, NULL, 'k'},
        {"progress", no_argument, NULL, 'p'},
        {"timeout", required_argument, NULL, 't'},
        {"disclose", no_argument, NULL, OPTION_DISCLOSE},
        {"json", no_argument, NULL, OPTION_JSON},
        {"realm", required_argument, NULL, OPTION_REALM},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option;
    /* What follows the procedure are arguments, also negative numbers. */
    while ((option = getopt_long(argc, argv, "+k:pt:s:h", options, NULL)) != -1) {
        switch (option) {
        case 'k':
            if (!strchr(optarg, '=') || call->keyword_count == KEYWORDS_MAX)
                return pl_cli_usage("call", "a keyword is name=value, not %s", optarg);
            call->keywords[call->keyword_count++] = optarg;
            break;
        case 'p':
            call->progress = true;
            break;
        case 't':
            if (!pl_cli_duration(optarg, &call->timeout_ms) || !call->timeout_ms ||
                call->timeout_ms > INT32_MAX - 1000)
                return pl_cli_usage("call", "--timeout wants a time such as 5s, not %s", optarg);
            break;
        case OPTION_DISCLOSE:
            call->disclose = true;
            break;
        case OPTION_JSON:
            call->json = true;
            break;
        case OPTION_REALM:
            call->realm = optarg;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            if (!pl_nats_client_option(&call->server, option, optarg))
                return PL_EXIT_USAGE;
        }
    }
    if (optind == argc)
        return pl_cli_usage("call", "a procedure is needed");
    call->procedure = argv[optind];
    call->arguments = argv + optind + 1;
    call->argument_count = argc - optind - 1;
    return -1;
}

int pl_cmd_call(int argc, char **argv)
{
    struct call call = {.timeout_ms = 30000};
    int code = read_args(&call, argc, argv);
    return code < 0 ? run(&call) : code;
}
