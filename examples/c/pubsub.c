/*
 * A publisher and a subscriber, each with its own session.
 *
 *     cc pubsub.c -o pubsub $(pkg-config --cflags --libs parley)
 *     ./pubsub ws://127.0.0.1:8080/
 */
#include <parley/parley.h>

#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 3, WAIT_MS = 5000 };

static int received; /* the subscriber's thread is this one */

static void on_event(
    struct parley_client *client, const struct parley_message *event, void *context)
{
    (void)client;
    (void)context;
    printf("%s: %.1f\n", parley_message_uri(event),
        parley_value_number(parley_message_arg(event, 0), 0));
    received++;
}

static struct parley_client *join(const char *url)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_client *client;
    char why[200];
    options.url = url;
    options.reconnect = true;
    if (parley_client_new(&options, &client) != PARLEY_OK) {
        fprintf(stderr, "pubsub: %s is no URL that is known here\n", url);
        exit(1);
    }
    if (parley_client_join(client, WAIT_MS) == PARLEY_OK)
        return client;
    parley_client_error(client, why, sizeof why);
    fprintf(stderr, "pubsub: %s\n", why);
    exit(1);
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "ws://127.0.0.1:8080/";
    struct parley_client *subscriber = join(url), *publisher = join(url);
    struct parley_subscribe_options all = PARLEY_SUBSCRIBE_OPTIONS;
    all.match = PARLEY_PREFIX;
    if (parley_subscribe_wait(subscriber, "plant.", &all, on_event, NULL, WAIT_MS, NULL, NULL) !=
        PARLEY_OK)
        return 1;
    for (int i = 0; i < COUNT; i++) {
        struct parley_args *args = parley_args_new();
        parley_args_float(args, 21.5 + i);
        if (parley_publish_wait(publisher, "plant.line1.temp", args, NULL, WAIT_MS, NULL) !=
            PARLEY_OK)
            return 1;
    }
    while (received < COUNT && parley_client_process(subscriber, WAIT_MS) == PARLEY_OK)
        continue;
    parley_client_free(publisher);
    parley_client_free(subscriber);
    return received == COUNT ? 0 : 1;
}
