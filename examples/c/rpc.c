/*
 * A procedure whose result comes in parts, and a caller that prints them as they come.
 *
 *     cc rpc.c -o rpc $(pkg-config --cflags --libs parley)
 *     ./rpc rs://127.0.0.1:8080
 */
#include <parley/parley.h>

#include <stdio.h>

enum { WAIT_MS = 5000 };

/* Counts down from its argument; each number is a part, the end is the result. */
static void on_countdown(
    struct parley_client *client, struct parley_invocation *invocation, void *context)
{
    (void)client;
    (void)context;
    const struct parley_message *call = parley_invocation_message(invocation);
    int64_t from = parley_value_integer(parley_message_arg(call, 0), -1);
    if (from < 0) {
        parley_fail(invocation, "com.example.error.not_a_number", NULL);
        return;
    }
    for (int64_t i = from; i > 0; i--) {
        struct parley_args *args = parley_args_new();
        parley_args_integer(args, i);
        parley_progress(invocation, args);
    }
    parley_result(invocation, parley_args_json("[\"lift off\"]", NULL));
}

static void on_part(struct parley_client *client, const struct parley_message *part, void *context)
{
    (void)client;
    (void)context;
    printf("%lld\n", (long long)parley_value_integer(parley_message_arg(part, 0), -1));
}

static enum parley_code call(struct parley_client *caller, const char *arguments)
{
    struct parley_call_options options = PARLEY_CALL_OPTIONS;
    struct parley_message *answer;
    options.receive_progress = true;
    enum parley_code code = parley_call_wait(caller, "countdown", parley_args_json(arguments, NULL),
        &options, on_part, NULL, WAIT_MS, &answer);
    if (code == PARLEY_OK)
        printf("%s\n", parley_value_string(parley_message_arg(answer, 0), "?"));
    else if (code == PARLEY_ERROR)
        printf("error: %s\n", parley_message_error(answer));
    parley_message_free(answer);
    return code;
}

int main(int argc, char **argv)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_client *callee, *caller;
    options.url = argc > 1 ? argv[1] : "ws://127.0.0.1:8080/";
    options.own_thread = true;
    if (parley_client_new(&options, &callee) != PARLEY_OK ||
        parley_client_new(&options, &caller) != PARLEY_OK)
        return 1;
    if (parley_client_join(callee, WAIT_MS) != PARLEY_OK ||
        parley_client_join(caller, WAIT_MS) != PARLEY_OK ||
        parley_register_wait(callee, "countdown", NULL, on_countdown, NULL, WAIT_MS, NULL, NULL) !=
            PARLEY_OK)
        return 1;
    bool is_good = call(caller, "[3]") == PARLEY_OK && call(caller, "[\"x\"]") == PARLEY_ERROR;
    parley_client_free(caller);
    parley_client_free(callee);
    return is_good ? 0 : 1;
}
