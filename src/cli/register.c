#include <stdlib.h>

#include "base/alloc.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "cli/text.h"
#include "cli/wamp_client.h"

static const char help[] =
    "Usage: parley register [options] PROCEDURE --command CMD | --file FILE | --echo\n"
    "\n"
    "Answers calls of a procedure of WAMP, one after the other; requests of other protocols, too.\n"
    "\n"
    "  parley register time.now --command date\n"
    "  parley register --file config.json com.example.config\n"
    "\n"
    "  -c, --command CMD    run CMD by the shell: the arguments on its standard input (a string\n"
    "                       alone as it is, else as JSON), the result from its standard output,\n"
    "                       $PARLEY_SUBJECT is the procedure. A JSON object or list is that "
    "value,\n"
    "                       anything else a string\n"
    "      --file FILE      the JSON value in this file, read anew for each call\n"
    "  -e, --echo           the arguments themselves\n"
    "      --match KIND     exact, prefix or wildcard\n"
    "      --invoke POLICY  single, roundrobin, random, first or last: how several callees share "
    "it\n"
    "      --force          take the procedure over from another callee\n"
    "  -n, --count N        stop after N calls\n"
    "\n"
    "If a command fails, the caller gets wamp.error.runtime_error.\n" PL_CLI_WAMP_HELP;

enum {
    OPTION_FILE = PL_OPTION_OWN,
    OPTION_MATCH,
    OPTION_INVOKE,
    OPTION_FORCE,
    OPTION_REALM,
    ANSWER_MAX = 16 << 20,
};

struct callee {
    struct pl_nats_client_options server;
    struct parley_register_options options;
    const char *realm, *procedure, *command, *file;
    uint64_t count, answered; /* count 0: no limit */
    bool echo;
};

/* The answer is a string without the line break that commands end with, or JSON. */
static struct parley_args *args_of(uint8_t *text, size_t len)
{
    struct parley_args *args = parley_args_new();
    if (len && text[len - 1] == '\n')
        len--;
    if (len)
        pl_cli_put_payload(args, pl_bytes_of(text, len));
    return args;
}

static void answer_by_command(const struct callee *c, struct parley_invocation *invocation)
{
    const struct parley_message *call = parley_invocation_message(invocation);
    const char *uri = parley_message_uri(call);
    size_t len = 0, answer_len = 0;
    char *request = pl_cli_plain(call, &len);
    uint8_t *answer = request
                          ? pl_cli_run_command(c->command, pl_bytes_text(uri ? uri : c->procedure),
                                pl_bytes_of(request, len), ANSWER_MAX, &answer_len)
                          : NULL;
    if (answer)
        parley_result(invocation, args_of(answer, answer_len));
    else
        parley_fail(invocation, "wamp.error.runtime_error",
            parley_args_json("[\"the command failed\"]", NULL));
    pl_free(answer);
    pl_free(request);
}

static void answer_by_file(const struct callee *c, struct parley_invocation *invocation)
{
    FILE *file = fopen(c->file, "rb");
    struct parley_args *args = parley_args_new();
    size_t len = 0;
    uint8_t *text = file ? pl_cli_read_all(file, ANSWER_MAX, &len) : NULL;
    char *json = text ? pl_alloc_copy(text, len) : NULL;
    if (file)
        (void)fclose(file);
    if (json)
        parley_args_json_value(args, json);
    if (json)
        parley_result(invocation, args);
    else
        parley_fail(invocation, "wamp.error.runtime_error", args);
    pl_free(json);
    pl_free(text);
}

static void answer_by_echo(struct parley_invocation *invocation)
{
    const struct parley_message *call = parley_invocation_message(invocation);
    const struct parley_value *values = parley_message_args(call);
    const struct parley_value *named = parley_message_kwargs(call);
    struct parley_args *args = parley_args_new();
    for (size_t i = 0; i < parley_value_count(values); i++)
        parley_args_value(args, parley_value_at(values, i));
    if (parley_value_count(named))
        parley_args_keywords(args);
    for (size_t i = 0; i < parley_value_count(named); i++) {
        parley_args_key(args, parley_value_key(named, i));
        parley_args_value(args, parley_value_at(named, i));
    }
    parley_result(invocation, args);
}

static void on_call(
    struct parley_client *client, struct parley_invocation *invocation, void *context)
{
    struct callee *c = context;
    (void)client;
    if (c->echo)
        answer_by_echo(invocation);
    else if (c->file)
        answer_by_file(c, invocation);
    else
        answer_by_command(c, invocation);
    c->answered++;
}

static int serve(struct callee *c, struct parley_client *client)
{
    struct parley_message *answer = NULL;
    enum parley_code code = parley_register_wait(
        client, c->procedure, &c->options, on_call, c, PL_CLI_ANSWER_MS, NULL, &answer);
    if (code) {
        int exit_code = pl_cli_wamp_fail("register", code, answer);
        parley_message_free(answer);
        return exit_code;
    }
    parley_message_free(answer);
    (void)fprintf(stderr, "answering %s\n", c->procedure);
    while (!c->count || c->answered < c->count) {
        if (parley_client_process(client, -1)) {
            char why[300];
            parley_client_error(client, why, sizeof why);
            return pl_cli_fail("register", "%s", why);
        }
    }
    return PL_EXIT_OK;
}

/* The place of a word in a list; -1: it is not in it. */
static int word_at(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

/* An exit code, or -1: go on. */
static int read_args(struct callee *c, int argc, char **argv)
{
    static const char *const matches[] = {"exact", "prefix", "wildcard", NULL};
    static const char *const policies[] = {"single", "roundrobin", "random", "first", "last", NULL};
    static const struct option options[] = {
        {"command", required_argument, NULL, 'c'},
        {"file", required_argument, NULL, OPTION_FILE},
        {"echo", no_argument, NULL, 'e'},
        {"match", required_argument, NULL, OPTION_MATCH},
        {"invoke", required_argument, NULL, OPTION_INVOKE},
        {"force", no_argument, NULL, OPTION_FORCE},
        {"count", required_argument, NULL, 'n'},
        {"realm", required_argument, NULL, OPTION_REALM},
        PL_NATS_CLIENT_OPTIONS,
        {0},
    };
    int option, at;
    while ((option = getopt_long(argc, argv, "c:en:s:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            c->command = optarg;
            break;
        case OPTION_FILE:
            c->file = optarg;
            break;
        case 'e':
            c->echo = true;
            break;
        case OPTION_MATCH:
            if ((at = word_at(matches, optarg)) < 0)
                return pl_cli_usage("register", "--match is exact, prefix or wildcard");
            c->options.match = (enum parley_match)at;
            break;
        case OPTION_INVOKE:
            if ((at = word_at(policies, optarg)) < 0)
                return pl_cli_usage(
                    "register", "--invoke is single, roundrobin, random, first or last");
            c->options.invoke = (enum parley_invoke)at;
            break;
        case OPTION_FORCE:
            c->options.force = true;
            break;
        case 'n':
            if (!pl_cli_number(optarg, 1, UINT64_MAX, &c->count))
                return pl_cli_usage("register", "--count wants a number from 1, not %s", optarg);
            break;
        case OPTION_REALM:
            c->realm = optarg;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? PL_EXIT_FAILED : PL_EXIT_OK;
        default:
            if (!pl_nats_client_option(&c->server, option, optarg))
                return PL_EXIT_USAGE;
        }
    }
    if (argc - optind != 1)
        return pl_cli_usage("register", "one procedure is needed");
    if ((c->command != NULL) + (c->file != NULL) + c->echo != 1)
        return pl_cli_usage("register", "one of --command, --file and --echo says what to answer");
    c->procedure = argv[optind];
    return -1;
}

int pl_cmd_register(int argc, char **argv)
{
    struct callee c = {.options = PARLEY_REGISTER_OPTIONS};
    int code = read_args(&c, argc, argv);
    if (code >= 0)
        return code;
    struct parley_client *client = pl_cli_wamp_open("register", &c.server, c.realm);
    if (!client)
        return PL_EXIT_FAILED;
    code = serve(&c, client);
    parley_client_free(client);
    return code;
}
