/*
 * A router inside a program: it listens for WebSocket clients, and this program takes part without
 * a socket.
 *
 *     cc embed.c -o embed $(pkg-config --cflags --libs parley)
 *     ./embed            serves on a free port until Enter is pressed
 */
#include <parley/parley.h>

#include <stdio.h>

static void on_join(struct parley_client *client, const struct parley_message *event, void *context)
{
    (void)client;
    (void)context;
    const struct parley_value *who = parley_message_arg(event, 0);
    printf("joined: %s\n", parley_value_string(parley_value_get(who, "authrole"), "?"));
    fflush(stdout);
}

/* "hello" answers with its argument. */
static void on_hello(
    struct parley_client *client, struct parley_invocation *invocation, void *context)
{
    (void)client;
    (void)context;
    const struct parley_message *call = parley_invocation_message(invocation);
    struct parley_args *args = parley_args_new();
    parley_args_string(args, parley_value_string(parley_message_arg(call, 0), "nobody"));
    parley_result(invocation, args);
}

int main(void)
{
    struct parley_router_options router_options = PARLEY_ROUTER_OPTIONS;
    struct parley_client_options client_options = PARLEY_CLIENT_OPTIONS;
    struct parley_router *router;
    struct parley_client *client;
    char error[200];
    router_options.config = "log: {level: warn}\n"
                            "admin: {enabled: false}\n"
                            "listeners:\n"
                            "  - {name: ws, protocols: [wamp], websocket: true}\n";
    if (parley_router_new(&router_options, &router, error, sizeof error) != PARLEY_OK) {
        fprintf(stderr, "embed: %s\n", error);
        return 1;
    }
    client_options.router = router;
    client_options.own_thread = true;
    int status = 1;
    if (parley_client_new(&client_options, &client) == PARLEY_OK) {
        if (parley_client_join(client, 5000) == PARLEY_OK &&
            parley_subscribe_wait(client, "wamp.session.on_join", NULL, on_join, NULL, 5000, NULL,
                NULL) == PARLEY_OK &&
            parley_register_wait(client, "hello", NULL, on_hello, NULL, 5000, NULL, NULL) ==
                PARLEY_OK) {
            printf("ws://127.0.0.1:%u/\n", parley_router_port(router, "ws"));
            fflush(stdout);
            (void)getchar();
            status = 0;
        }
        parley_client_free(client);
    }
    parley_router_free(router);
    return status;
}
