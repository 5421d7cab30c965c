/*
 * One login of libparley, told as a line.
 *
 *     libparley_login URL METHODS AUTHID SECRET     SECRET: the ticket, password or private key
 *     ← joined   or   refused wamp.error.…
 */
#include <parley/parley.h>
#include <stdio.h>
#include <string.h>

static char reason[256] = "-";

static void on_state(
    struct parley_client *client, const struct parley_status *status, void *context)
{
    (void)client;
    (void)context;
    if (status->reason)
        snprintf(reason, sizeof reason, "%s", status->reason);
}

int main(int argc, char **argv)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_client *client = NULL;
    if (argc != 5)
        return 2;
    options.url = argv[1];
    options.authmethods = argv[2];
    options.authid = argv[3][0] ? argv[3] : NULL;
    options.ticket = options.password = options.private_key = argv[4];
    if (!strstr(argv[2], "cryptosign"))
        options.private_key = NULL;
    options.on_state = on_state;
    if (parley_client_new(&options, &client) != PARLEY_OK)
        return 1;
    if (parley_client_join(client, 10000) == PARLEY_OK)
        printf("joined\n");
    else
        printf("refused %s\n", reason);
    parley_client_free(client);
    return 0;
}
