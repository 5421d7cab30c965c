/* A client with a thread of its own, used from several others. */
#include <pthread.h>

#include "peer.h"

static struct peer peer;

enum { CALLERS = 3, CALLS = 200 };

/* Answers everything that comes until the client says goodbye: calls with their own argument,
 * subscriptions with an event. */
static void *serve(void *context)
{
    (void)context;
    peer_welcome(&peer, NULL);
    for (;;) {
        const char *heard = peer_hear(&peer, NULL);
        unsigned type = 0;
        unsigned long id = 0;
        char answer[256];
        (void)sscanf(heard, "[%u,%lu", &type, &id);
        const char *argument = strrchr(heard, '[');
        switch (type) {
        case 6:
            peer_say(&peer, NULL, "[6,{},\"wamp.close.goodbye_and_out\"]");
            return NULL;
        case 48:
            if (strstr(heard, "\"never\""))
                continue;
            (void)snprintf(answer, sizeof answer, "[50,%lu,{},%.50s", id, argument);
            break;
        case 32:
            (void)snprintf(answer, sizeof answer, "[33,%lu,7]", id);
            break;
        case 64:
            (void)snprintf(answer, sizeof answer, "[65,%lu,9]", id);
            break;
        case 34:
            (void)snprintf(answer, sizeof answer, "[35,%lu]", id);
            break;
        case 16:
            if (!strstr(heard, "acknowledge")) {
                (void)snprintf(answer, sizeof answer, "[36,7,1,{},%.50s", argument);
                break;
            }
            (void)snprintf(answer, sizeof answer, "[17,%lu,5]", id);
            break;
        default:
            return NULL;
        }
        peer_say(&peer, NULL, answer);
    }
}

struct caller {
    struct parley_client *client;
    unsigned from, right;
};

static void *run_calls(void *context)
{
    struct caller *caller = context;
    for (unsigned i = 0; i < CALLS; i++) {
        struct parley_args *args = parley_args_new();
        struct parley_message *m = NULL;
        parley_args_integer(args, caller->from + i);
        enum parley_code code =
            parley_call_wait(caller->client, "echo", args, NULL, NULL, NULL, 10000, &m);
        if (!code &&
            parley_value_integer(parley_message_arg(m, 0), -1) == (int64_t)(caller->from + i))
            caller->right++;
        parley_message_free(m);
    }
    return NULL;
}

static atomic_uint events, busy;

static void on_event(struct parley_client *client, const struct parley_message *m, void *context)
{
    (void)m;
    (void)context;
    /* A callback may send, but not wait. */
    if (parley_call_wait(client, "echo", NULL, NULL, NULL, NULL, 10, NULL) == PARLEY_BUSY)
        atomic_fetch_add(&busy, 1);
    atomic_fetch_add(&events, 1);
}

static pthread_t server;

static struct parley_client *start(struct parley_client_options *options)
{
    struct parley_client *client = NULL;
    peer_open(&peer);
    options->router = &peer.router;
    options->serializer = PARLEY_JSON;
    CHECK_EQ(parley_client_new(options, &client), PARLEY_OK);
    /* The peer's descriptor is there once the client has connected. */
    while (client && parley_client_join(client, 0) != PARLEY_OK && !peer.connected)
        usleep(1000);
    pthread_create(&server, NULL, serve, NULL);
    CHECK_EQ(parley_client_join(client, 10000), PARLEY_OK);
    return client;
}

static void stop(struct parley_client *client)
{
    parley_client_free(client);
    pthread_join(server, NULL);
    peer_hang_up(&peer);
}

TEST(threads_call_at_the_same_time)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    pthread_t threads[CALLERS];
    struct caller callers[CALLERS];
    options.own_thread = true;
    struct parley_client *client = start(&options);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){client, i * 100000, 0};
        pthread_create(&threads[i], NULL, run_calls, &callers[i]);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(callers[i].right, CALLS);
    }
    stop(client);
}

TEST(waiting_functions_work_in_the_programs_own_loop_too)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct caller caller = {0};
    struct parley_client *client = NULL;
    peer_open(&peer);
    options.router = &peer.router;
    options.serializer = PARLEY_JSON;
    CHECK_EQ(parley_client_new(&options, &client), PARLEY_OK);
    while (!peer.connected)
        (void)parley_client_process(client, 10);
    pthread_create(&server, NULL, serve, NULL);
    CHECK_EQ(parley_client_join(client, 10000), PARLEY_OK);
    caller.client = client;
    run_calls(&caller);
    CHECK_EQ(caller.right, CALLS);
    stop(client);
}

TEST(everything_can_be_waited_for)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_message *m = NULL;
    uint64_t id = 0;
    options.own_thread = true;
    atomic_store(&events, 0);
    struct parley_client *client = start(&options);
    CHECK_EQ(parley_subscribe_wait(client, "t", NULL, on_event, NULL, 10000, &id, NULL), PARLEY_OK);
    for (unsigned i = 0; i < 50; i++)
        CHECK_EQ(parley_publish(client, "t", parley_args_json("[1]", NULL), NULL, NULL, NULL),
            PARLEY_OK);
    CHECK_EQ(parley_publish_wait(client, "t", NULL, NULL, 10000, &m), PARLEY_OK);
    CHECK_EQ(parley_message_publication(m), 5);
    parley_message_free(m);
    CHECK_EQ(atomic_load(&events), 50);
    CHECK_EQ(atomic_load(&busy), 50);
    CHECK_EQ(parley_unsubscribe_wait(client, id, 10000), PARLEY_OK);
    CHECK_EQ(parley_unsubscribe_wait(client, id, 10000), PARLEY_NOT_FOUND);
    CHECK_EQ(parley_call_wait(
                 client, "never", parley_args_json("[\"never\"]", NULL), NULL, NULL, NULL, 50, &m),
        PARLEY_TIMEOUT);
    CHECK(!m);
    stop(client);
}

static void *close_soon(void *context)
{
    parley_client_close(context);
    return NULL;
}

TEST(whoever_waits_hears_of_the_end)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    pthread_t closer;
    options.own_thread = true;
    struct parley_client *client = start(&options);
    pthread_create(&closer, NULL, close_soon, client);
    /* Sent before the close or after it: it ends. */
    CHECK_EQ(parley_call_wait(client, "never", NULL, NULL, NULL, NULL, 10000, NULL), PARLEY_CLOSED);
    pthread_join(closer, NULL);
    CHECK_EQ(parley_client_join(client, 10000), PARLEY_CLOSED);
    stop(client);
}
