/*
 * Rights that a program decides: a router in this process asks the procedure `may` before whatever
 * its WebSocket clients do.
 *
 *     cc authorizer.c -o authorizer $(pkg-config --cflags --libs parley)
 *     ./authorizer            serves on a free port until Enter is pressed
 *
 * The procedure gets the session's details, the URI, the action ("publish", "subscribe", "call",
 * "register") and the request's options; it answers true, false, or {allow, cache}.
 */
#include <parley/parley.h>

#include <stdio.h>
#include <string.h>

static void on_question(
    struct parley_client *client, struct parley_invocation *invocation, void *context)
{
    (void)client;
    (void)context;
    const struct parley_message *call = parley_invocation_message(invocation);
    const char *uri = parley_value_string(parley_message_arg(call, 1), "");
    const char *action = parley_value_string(parley_message_arg(call, 2), "");
    bool may = strncmp(uri, "public.", 7) == 0 || strcmp(action, "subscribe") == 0;
    printf("%s %s: %s\n", action, uri, may ? "yes" : "no");
    fflush(stdout);
    struct parley_args *args = parley_args_new();
    parley_args_bool(args, may);
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
                            "auth: {anonymous: guest}\n"
                            "roles: {guest: {publish: '>', subscribe: '>', authorizer: may}}\n"
                            "listeners:\n"
                            "  - {name: ws, protocols: [wamp], websocket: true}\n";
    if (parley_router_new(&router_options, &router, error, sizeof error) != PARLEY_OK) {
        fprintf(stderr, "authorizer: %s\n", error);
        return 1;
    }
    client_options.router = router;
    client_options.own_thread = true;
    int status = 1;
    if (parley_client_new(&client_options, &client) == PARLEY_OK) {
        if (parley_client_join(client, 5000) == PARLEY_OK &&
            parley_register_wait(client, "may", NULL, on_question, NULL, 5000, NULL, NULL) ==
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
