#include "peer.h"

/* What callbacks have heard, as one text. */
struct notes {
    char text[4096];
    struct parley_client *client;
    struct parley_invocation *invocation;
    uint64_t id;
    enum parley_code code;
};

__attribute__((format(printf, 2, 3))) static void note(struct notes *n, const char *format, ...)
{
    size_t len = strlen(n->text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(n->text + len, sizeof n->text - len, format, args);
    va_end(args);
}

static void on_message(struct parley_client *client, const struct parley_message *m, void *context)
{
    char *args = parley_value_json(parley_message_args(m));
    (void)client;
    note(context, "%s%s%s%s;", parley_message_is_progress(m) ? "part " : "",
        parley_message_uri(m) ? parley_message_uri(m) : "",
        parley_message_code(m) == PARLEY_ERROR ? parley_message_error(m)
        : parley_message_code(m)               ? parley_code_text(parley_message_code(m))
                                               : "",
        parley_message_args(m) ? args : "");
    parley_free(args);
}

static void on_done(struct parley_client *client, const struct parley_message *m, void *context)
{
    (void)client;
    note(context, "done %s;",
        parley_message_code(m) == PARLEY_ERROR ? parley_message_error(m)
                                               : parley_code_text(parley_message_code(m)));
}

static void on_state(
    struct parley_client *client, const struct parley_status *status, void *context)
{
    static const char *const words[] = {"connecting", "joined", "waiting", "ended"};
    (void)client;
    note(context, "%s%s%s;", words[status->state], status->reason ? " " : "",
        status->reason ? status->reason : "");
}

static void on_call(
    struct parley_client *client, struct parley_invocation *invocation, void *context)
{
    struct notes *n = context;
    const struct parley_message *m = parley_invocation_message(invocation);
    char *args = parley_value_json(parley_message_args(m));
    (void)client;
    note(n, "%scall %s%s;", parley_message_is_progress(m) ? "part " : "", parley_message_uri(m),
        args);
    parley_free(args);
    n->invocation = invocation;
}

static void process(struct parley_client *client)
{
    while (parley_client_fd(client) >= 0) {
        struct pollfd p = {.fd = parley_client_fd(client), .events = POLLIN};
        if (poll(&p, 1, 0) <= 0)
            return;
        if (parley_client_process(client, 0) != PARLEY_OK)
            return;
    }
}

static void say(struct peer *peer, struct parley_client *client, const char *json)
{
    peer_say(peer, NULL, json);
    process(client);
}

/* The router answers the goodbye while the client waits for it. */
static void end(struct peer *peer, struct parley_client *client)
{
    parley_client_close(client);
    CHECK_STR(peer_hear(peer, client), "[6,{},\"wamp.close.close_realm\"]");
    say(peer, client, "[6,{},\"wamp.close.goodbye_and_out\"]");
    CHECK_EQ(parley_client_process(client, 0), PARLEY_CLOSED);
    parley_client_free(client);
    peer_hang_up(peer);
}

static struct peer peer;

TEST(a_client_joins_and_says_goodbye)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.on_state = on_state;
    options.context = &n;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    CHECK(parley_client_session_id(client) == 9007199254740992u);
    end(&peer, client);
    CHECK_STR(n.text, "connecting;joined;ended wamp.close.goodbye_and_out;");
}

TEST(wrong_options_are_refused)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_client *client;
    CHECK_EQ(parley_client_new(&options, &client), PARLEY_INVALID); /* nowhere to go */
    options.url = "http://localhost/";
    CHECK_EQ(parley_client_new(&options, &client), PARLEY_INVALID);
    options.url = "ws://";
    CHECK_EQ(parley_client_new(&options, &client), PARLEY_INVALID);
    options.url = "rs://127.0.0.1:1";
    options.authextra = "[1]";
    CHECK_EQ(parley_client_new(&options, &client), PARLEY_INVALID);
    CHECK_EQ(parley_client_new(NULL, &client), PARLEY_INVALID);
}

TEST(events_reach_their_handler)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_subscribe_options how = PARLEY_SUBSCRIBE_OPTIONS;
    uint64_t id;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    how.match = PARLEY_PREFIX;
    how.get_retained = true;
    how.more = "{\"x_note\":1}";
    CHECK_EQ(parley_subscribe(client, "plant.", &how, on_message, on_done, &n, &id), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client),
        "[32,1,{\"match\":\"prefix\",\"get_retained\":true,\"x_note\":1},\"plant.\"]");
    say(&peer, client, "[33,1,77]");
    say(&peer, client, "[36,77,5,{\"topic\":\"plant.a\"},[21.5]]");
    say(&peer, client, "[36,78,6,{},[\"whose?\"]]");
    CHECK_STR(n.text, "done ok;plant.a[21.5];");
    CHECK_EQ(parley_unsubscribe(client, id, on_done, &n), PARLEY_OK);
    CHECK_EQ(parley_unsubscribe(client, id, on_done, &n), PARLEY_NOT_FOUND);
    CHECK_STR(peer_hear(&peer, client), "[34,2,77]");
    say(&peer, client, "[36,77,7,{\"topic\":\"plant.b\"},[1]]");
    say(&peer, client, "[35,2]");
    CHECK_STR(n.text, "done ok;plant.a[21.5];done ok;");
    end(&peer, client);
}

TEST(two_handlers_of_one_topic_share_a_subscription)
{
    struct notes a = {0}, b = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    uint64_t first, second;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    CHECK_EQ(parley_subscribe(client, "t", NULL, on_message, NULL, &a, &first), PARLEY_OK);
    CHECK_EQ(parley_subscribe(client, "t", NULL, on_message, NULL, &b, &second), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[32,1,{},\"t\"]");
    CHECK_STR(peer_hear(&peer, client), "[32,2,{},\"t\"]");
    say(&peer, client, "[33,1,7]");
    say(&peer, client, "[33,2,7]");
    say(&peer, client, "[36,7,1,{},[1]]");
    CHECK_EQ(parley_unsubscribe(client, first, on_done, &a), PARLEY_OK);
    process(client);
    say(&peer, client, "[36,7,2,{},[2]]");
    CHECK_STR(a.text, "t[1];done ok;");
    CHECK_STR(b.text, "t[1];t[2];");
    CHECK_EQ(parley_unsubscribe(client, second, NULL, NULL), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[34,3,7]");
    end(&peer, client);
}

TEST(a_subscription_that_is_let_go_of_early_ends_when_it_is_there)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    uint64_t id;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    CHECK_EQ(parley_subscribe(client, "t", NULL, on_message, on_message, &n, &id), PARLEY_OK);
    CHECK_EQ(parley_unsubscribe(client, id, on_done, &n), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[32,1,{},\"t\"]");
    say(&peer, client, "[33,1,7]");
    CHECK_STR(peer_hear(&peer, client), "[34,2,7]");
    CHECK_STR(n.text, "");
    say(&peer, client, "[35,2]");
    CHECK_STR(n.text, "done ok;");
    end(&peer, client);
}

TEST(a_revoked_or_refused_subscription_is_told)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    uint64_t id;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    CHECK_EQ(parley_subscribe(client, "a", NULL, on_message, on_done, &n, &id), PARLEY_OK);
    CHECK_EQ(parley_subscribe(client, "b", NULL, on_message, on_done, &n, NULL), PARLEY_OK);
    (void)peer_hear(&peer, client);
    (void)peer_hear(&peer, client);
    say(&peer, client, "[33,1,7]");
    say(&peer, client, "[8,32,2,{},\"wamp.error.not_authorized\"]");
    say(&peer, client, "[35,0,{\"subscription\":7,\"reason\":\"x.y\"}]");
    CHECK_STR(n.text, "done ok;done wamp.error.not_authorized;done the router refuses it;");
    CHECK_EQ(parley_unsubscribe(client, id, NULL, NULL), PARLEY_NOT_FOUND);
    end(&peer, client);
}

TEST(subscriptions_and_registrations_are_made_anew_after_a_loss)
{
    struct notes n = {0}, states = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.reconnect = true;
    options.reconnect_min_ms = 1;
    options.on_state = on_state;
    options.context = &states;
    options.router = &peer.router;
    options.serializer = PARLEY_JSON;
    peer_open(&peer);
    struct parley_client *client;
    REQUIRE(parley_client_new(&options, &client) == PARLEY_OK);
    /* Before there is a session. */
    CHECK_EQ(parley_subscribe(client, "t", NULL, on_message, on_done, &n, NULL), PARLEY_OK);
    CHECK_EQ(parley_register(client, "p", NULL, on_call, on_done, &n, NULL), PARLEY_OK);
    CHECK_EQ(parley_publish(client, "t", NULL, NULL, NULL, NULL), PARLEY_CLOSED);
    peer_welcome(&peer, client);
    CHECK_STR(peer_hear(&peer, client), "[32,1,{},\"t\"]");
    CHECK_STR(peer_hear(&peer, client), "[64,2,{},\"p\"]");
    say(&peer, client, "[33,1,7]");
    say(&peer, client, "[65,2,8]");
    CHECK_EQ(parley_call(client, "x", NULL, NULL, on_message, &n, NULL), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[48,3,{},\"x\"]");
    peer.is_down = true;
    peer_hang_up(&peer);
    unsigned before = peer.connected;
    while (peer.connected < before + 3)
        (void)parley_client_process(client, 100);
    peer.is_down = false;
    peer_welcome(&peer, client);
    CHECK_STR(peer_hear(&peer, client), "[32,1,{},\"t\"]");
    CHECK_STR(peer_hear(&peer, client), "[64,2,{},\"p\"]");
    say(&peer, client, "[33,1,70]");
    say(&peer, client, "[65,2,80]");
    say(&peer, client, "[36,70,1,{},[1]]");
    CHECK_STR(n.text, "done ok;done ok;there is no session;t[1];");
    CHECK(strstr(states.text, "joined;waiting;connecting;waiting;connecting;"));
    end(&peer, client);
    CHECK(strstr(n.text, "t[1];done there is no session;done there is no session;"));
}

TEST(a_call_gets_parts_and_one_end)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_call_options how = PARLEY_CALL_OPTIONS;
    uint64_t id;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    how.receive_progress = how.disclose_me = true;
    how.timeout_ms = 60000;
    CHECK_EQ(parley_call(
                 client, "sum", parley_args_json("[1,2]", "{\"a\":3}"), &how, on_message, &n, &id),
        PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client),
        "[48,1,{\"timeout\":60000,\"receive_progress\":true,\"disclose_me\":true},\"sum\",[1,2],"
        "{\"a\":3}]");
    say(&peer, client, "[50,1,{\"progress\":true},[1]]");
    say(&peer, client, "[50,1,{},[3]]");
    say(&peer, client, "[50,1,{},[4]]");                         /* late: of no interest */
    CHECK_EQ(parley_cancel(client, id, PARLEY_KILL), PARLEY_OK); /* it has ended */
    CHECK_EQ(parley_call(client, "bad", NULL, NULL, on_message, &n, NULL), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[48,2,{},\"bad\"]");
    say(&peer, client, "[8,48,2,{},\"wamp.error.no_such_procedure\",[\"no\"]]");
    CHECK_STR(n.text, "part [1];[3];wamp.error.no_such_procedure[\"no\"];");
    end(&peer, client);
}

TEST(a_call_is_canceled_and_its_arguments_come_in_parts)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_call_options how = PARLEY_CALL_OPTIONS;
    uint64_t id;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    how.send_progress = true;
    CHECK_EQ(parley_call(client, "p", parley_args_json("[1]", NULL), &how, on_message, &n, &id),
        PARLEY_OK);
    CHECK_EQ(parley_call_more(client, id, parley_args_json("[2]", NULL), false), PARLEY_OK);
    CHECK_EQ(parley_call_more(client, id, parley_args_json("[3]", NULL), true), PARLEY_OK);
    CHECK_EQ(parley_call_more(client, id, NULL, true), PARLEY_NOT_FOUND);
    CHECK_STR(peer_hear(&peer, client), "[48,1,{\"progress\":true},\"p\",[1]]");
    CHECK_STR(peer_hear(&peer, client), "[48,1,{\"progress\":true},\"p\",[2]]");
    CHECK_STR(peer_hear(&peer, client), "[48,1,{},\"p\",[3]]");
    CHECK_EQ(parley_cancel(client, id, PARLEY_KILL), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[49,1,{\"mode\":\"kill\"}]");
    say(&peer, client, "[8,48,1,{},\"wamp.error.canceled\"]");
    CHECK_STR(n.text, "wamp.error.canceled;");
    end(&peer, client);
}

TEST(a_publication_is_acknowledged_if_someone_wants_to_know)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_publish_options how = PARLEY_PUBLISH_OPTIONS;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    CHECK_EQ(parley_publish(client, "t", NULL, NULL, NULL, NULL), PARLEY_OK);
    how.include_me = how.retain = true;
    how.more = "{\"eligible_authrole\":[\"a\"]}";
    CHECK_EQ(
        parley_publish(client, "t", parley_args_json("[1]", NULL), &how, on_done, &n), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[16,1,{},\"t\"]");
    CHECK_STR(peer_hear(&peer, client),
        "[16,2,{\"acknowledge\":true,\"retain\":true,\"exclude_me\":false,"
        "\"eligible_authrole\":[\"a\"]},\"t\",[1]]");
    say(&peer, client, "[17,2,55]");
    CHECK_STR(n.text, "done ok;");
    how.more = "nonsense";
    CHECK_EQ(parley_publish(client, "t", NULL, &how, NULL, NULL), PARLEY_INVALID);
    CHECK_EQ(
        parley_publish(client, "t", parley_args_json("1", NULL), NULL, NULL, NULL), PARLEY_INVALID);
    CHECK_EQ(parley_publish(client, "", NULL, NULL, NULL, NULL), PARLEY_INVALID);
    end(&peer, client);
}

TEST(invocations_are_answered_at_once_or_later)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    struct parley_register_options how = PARLEY_REGISTER_OPTIONS;
    uint64_t id;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    how.match = PARLEY_PREFIX;
    how.invoke = PARLEY_ROUND_ROBIN;
    how.concurrency = 4;
    CHECK_EQ(parley_register(client, "p.", &how, on_call, NULL, &n, &id), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client),
        "[64,1,{\"match\":\"prefix\",\"invoke\":\"roundrobin\",\"concurrency\":4},\"p.\"]");
    say(&peer, client, "[65,1,9]");
    say(&peer, client, "[68,1,9,{\"procedure\":\"p.x\",\"receive_progress\":true},[1]]");
    struct parley_invocation *first = n.invocation;
    say(&peer, client, "[68,2,9,{\"procedure\":\"p.y\"}]");
    struct parley_invocation *second = n.invocation;
    REQUIRE(first && second && first != second);
    CHECK(parley_invocation_wants_progress(first) && !parley_invocation_wants_progress(second));
    CHECK_EQ(parley_progress(first, parley_args_json("[0.5]", NULL)), PARLEY_OK);
    CHECK_EQ(parley_progress(second, parley_args_json("[0.5]", NULL)), PARLEY_OK);
    CHECK_EQ(parley_result(first, parley_args_json("[1]", NULL)), PARLEY_OK);
    CHECK_EQ(parley_fail(second, "x.error", parley_args_json(NULL, "{\"k\":1}")), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[70,1,{\"progress\":true},[0.5]]");
    CHECK_STR(peer_hear(&peer, client), "[70,1,{},[1]]");
    CHECK_STR(peer_hear(&peer, client), "[8,68,2,{},\"x.error\",[],{\"k\":1}]");
    say(&peer, client, "[68,3,1234,{}]"); /* no registration of ours */
    CHECK_STR(peer_hear(&peer, client), "[8,68,3,{},\"wamp.error.unavailable\"]");
    CHECK_STR(n.text, "call p.x[1];call p.ynull;");
    end(&peer, client);
}

static void on_cancel(struct parley_invocation *invocation, void *context)
{
    note(context, "cancel %d;", parley_invocation_is_canceled(invocation));
}

TEST(an_invocation_hears_of_its_cancel_and_of_the_end)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    CHECK_EQ(parley_register(client, "p", NULL, on_call, NULL, &n, NULL), PARLEY_OK);
    (void)peer_hear(&peer, client);
    say(&peer, client, "[65,1,9]");
    say(&peer, client, "[68,1,9,{}]");
    struct parley_invocation *first = n.invocation;
    parley_invocation_on_cancel(first, on_cancel, &n);
    say(&peer, client, "[68,2,9,{\"progress\":true},[1]]");
    struct parley_invocation *second = n.invocation;
    parley_invocation_on_cancel(second, on_cancel, &n);
    say(&peer, client, "[68,2,9,{},[2]]"); /* the next part of the arguments */
    CHECK(n.invocation == second);
    say(&peer, client, "[69,1,{\"mode\":\"killnowait\"}]");
    say(&peer, client, "[69,77,{}]");
    CHECK_STR(n.text, "call pnull;part call p[1];call p[2];cancel 1;");
    CHECK_EQ(parley_progress(first, NULL), PARLEY_CLOSED);
    CHECK_EQ(parley_fail(first, "wamp.error.canceled", NULL), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[8,68,1,{},\"wamp.error.canceled\"]");
    end(&peer, client);
    CHECK_STR(n.text, "call pnull;part call p[1];call p[2];cancel 1;cancel 1;");
    /* It outlives the client. */
    CHECK_EQ(parley_result(second, parley_args_json("[1]", NULL)), PARLEY_CLOSED);
}

TEST(what_the_router_does_not_take_is_not_sent)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    static char big[2000];
    peer_open(&peer);
    peer.length_nibble = 1; /* 1024 octets */
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    memset(big, 'x', sizeof big - 1);
    struct parley_args *args = parley_args_new();
    parley_args_string(args, big);
    CHECK_EQ(parley_call(client, "p", parley_args_keep(args), NULL, on_message, &n, NULL),
        PARLEY_TOO_LARGE);
    CHECK_EQ(parley_register(client, "p", NULL, on_call, NULL, &n, NULL), PARLEY_OK);
    CHECK_STR(peer_hear(&peer, client), "[64,1,{},\"p\"]");
    say(&peer, client, "[65,1,9]");
    say(&peer, client, "[68,1,9,{}]");
    CHECK_EQ(parley_result(n.invocation, args), PARLEY_TOO_LARGE);
    CHECK_STR(peer_hear(&peer, client), "[8,68,1,{},\"wamp.error.payload_size_exceeded\"]");
    end(&peer, client);
}

TEST(too_much_that_waits_is_refused)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    static char big[10000];
    options.queue_bytes_max = 1 << 20;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    memset(big, 'x', sizeof big - 1);
    enum parley_code code = PARLEY_OK;
    int sent = 0;
    while (code == PARLEY_OK && sent++ < 10000) {
        struct parley_args *args = parley_args_new();
        parley_args_string(args, big);
        code = parley_publish(client, "t", args, NULL, NULL, NULL);
    }
    CHECK_EQ(code, PARLEY_FULL);
    CHECK(sent > 50);
    for (int i = 0; i < sent - 1; i++)
        CHECK(strncmp(peer_hear(&peer, client), "[16,", 4) == 0);
    end(&peer, client);
}

TEST(a_login_that_is_refused_is_not_tried_again)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    char text[200];
    options.reconnect = true;
    options.on_state = on_state;
    options.context = &n;
    options.router = &peer.router;
    options.serializer = PARLEY_JSON;
    peer_open(&peer);
    struct parley_client *client;
    REQUIRE(parley_client_new(&options, &client) == PARLEY_OK);
    REQUIRE(peer_greet(&peer, client));
    (void)peer_hear(&peer, client);
    say(&peer, client, "[3,{\"message\":\"who?\"},\"wamp.error.no_such_realm\"]");
    CHECK_EQ(parley_client_join(client, 1000), PARLEY_REFUSED);
    parley_client_error(client, text, sizeof text);
    CHECK_STR(text, "wamp.error.no_such_realm: who?");
    CHECK_STR(n.text, "connecting;ended wamp.error.no_such_realm;");
    CHECK_EQ(parley_subscribe(client, "t", NULL, on_message, NULL, &n, NULL), PARLEY_CLOSED);
    parley_client_free(client);
    peer_hang_up(&peer);
}

static void breaks(const char *json)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    peer_say(&peer, NULL, json);
    CHECK(strstr(peer_hear(&peer, client), "\"wamp.error.protocol_violation\"]"));
    CHECK_STR(peer_hear(&peer, client), "(gone)");
    CHECK_EQ(parley_client_join(client, 1000), PARLEY_PROTOCOL);
    parley_client_free(client);
    peer_hang_up(&peer);
}

TEST(a_router_that_breaks_the_rules_is_told_so)
{
    breaks("nonsense");
    breaks("[]");
    breaks("[2,1,{}]");
    breaks("[16,1,{},\"t\"]");
    breaks("[36,1]");
    breaks("[999,1]");
}

TEST(a_silent_router_is_pinged_and_then_given_up)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.keepalive_ms = 30;
    peer_open(&peer);
    struct parley_client *client = peer_client(&peer, &options);
    REQUIRE(client);
    REQUIRE(peer_need(&peer, client, 4));
    CHECK_EQ(peer.in[0], 1); /* a ping */
    while (parley_client_process(client, 1000) == PARLEY_OK)
        continue;
    CHECK_EQ(parley_client_join(client, 0), PARLEY_TIMEOUT);
    parley_client_free(client);
    peer_hang_up(&peer);
}

/* ---- Logins, with the worked examples of the standard's methods ---- */

static struct parley_client *challenged(
    const char *hello_has, const char *challenge, struct parley_client_options *options)
{
    struct parley_client *client;
    options->router = &peer.router;
    options->serializer = PARLEY_JSON;
    peer_open(&peer);
    if (!CHECK_EQ(parley_client_new(options, &client), PARLEY_OK))
        return NULL;
    peer_greet(&peer, client);
    const char *hello = peer_hear(&peer, client);
    if (!CHECK(strstr(hello, hello_has)))
        printf("%s\n", hello);
    say(&peer, client, challenge);
    return client;
}

static void welcomed(struct parley_client *client)
{
    say(&peer, client, "[2,1,{}]");
    CHECK_EQ(parley_client_join(client, 1000), PARLEY_OK);
    end(&peer, client);
}

TEST(a_ticket_is_shown)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.authid = "joe";
    options.ticket = "secret!!!";
    struct parley_client *client = challenged(
        "\"authmethods\":[\"ticket\"],\"authid\":\"joe\"", "[4,\"ticket\",{}]", &options);
    REQUIRE(client);
    CHECK_STR(peer_hear(&peer, client), "[5,\"secret!!!\",{}]");
    welcomed(client);
}

#define CRA_CHALLENGE                                                                              \
    "{\\\"authid\\\":\\\"peter\\\",\\\"authrole\\\":\\\"user\\\",\\\"authmethod\\\":"              \
    "\\\"wampcra\\\""                                                                              \
    ",\\\"authprovider\\\":\\\"static\\\",\\\"nonce\\\":\\\"AAECAwQFBgcICQoLDA0ODw==\\\","         \
    "\\\"timestamp\\\":\\\"2026-01-02T03:04:05.678Z\\\",\\\"session\\\":3251278072152162}"

TEST(wampcra_is_answered_with_and_without_salt)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.authid = "peter";
    options.password = "prq7+YkJ1/KlW1X0YczMHw==";
    options.authmethods = "wampcra";
    struct parley_client *client = challenged("\"authmethods\":[\"wampcra\"]",
        "[4,\"wampcra\",{\"challenge\":\"" CRA_CHALLENGE "\"}]", &options);
    REQUIRE(client);
    CHECK_STR(peer_hear(&peer, client), "[5,\"cTV/y3gM+y45hK7EtXjP8PsQ21DXqa/lyqfyC9gOp8o=\",{}]");
    welcomed(client);
    options.password = "secret1";
    client = challenged("\"authmethods\":[\"wampcra\"]",
        "[4,\"wampcra\",{\"challenge\":\"" CRA_CHALLENGE "\",\"salt\":\"salt123\",\"keylen\":32,"
        "\"iterations\":1000}]",
        &options);
    REQUIRE(client);
    CHECK_STR(peer_hear(&peer, client), "[5,\"S6i3mg6+eHLVw84KG/o/YmLnrn5cr//KnD5nqpt3EtY=\",{}]");
    welcomed(client);
}

TEST(cryptosign_signs_the_challenge)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.private_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    struct parley_client *client = challenged(
        "\"pubkey\":\"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"",
        "[4,\"cryptosign\",{\"challenge\":"
        "\"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\"}]",
        &options);
    REQUIRE(client);
    CHECK_STR(peer_hear(&peer, client),
        "[5,"
        "\"10e62b0c40734fd1445e9786a0b87557eaae9f122e88a921c27ed835574110becd1a724a66dcfbf58f8498"
        "caa2c49122fe83862dd9ff7130db666da84aba280effffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffff\",{}]");
    welcomed(client);
}

static const char *ask_secret(void *context, const char *method, const char *authid)
{
    note(context, "%s of %s;", method, authid);
    return "secret!!!";
}

TEST(a_secret_is_asked_for_when_it_is_needed)
{
    struct notes n = {0};
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.authid = "joe";
    options.authmethods = "ticket";
    options.secret = ask_secret;
    options.context = &n;
    struct parley_client *client =
        challenged("\"authmethods\":[\"ticket\"]", "[4,\"ticket\",{}]", &options);
    REQUIRE(client);
    CHECK_STR(peer_hear(&peer, client), "[5,\"secret!!!\",{}]");
    CHECK_STR(n.text, "ticket of joe;");
    welcomed(client);
}

static void refuses(const char *challenge, struct parley_client_options *options)
{
    struct parley_client *client = challenged("", challenge, options);
    REQUIRE(client);
    CHECK(strstr(peer_hear(&peer, client), "\"wamp.error.cannot_authenticate\"]"));
    CHECK_EQ(parley_client_join(client, 1000), PARLEY_REFUSED);
    parley_client_free(client);
    peer_hang_up(&peer);
}

TEST(a_challenge_that_is_none_is_refused)
{
    struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
    options.password = "x";
    options.authid = "joe";
    refuses("[4,\"ticket\",{}]", &options);
    refuses("[4,\"wampcra\",{}]", &options);
    refuses("[4,\"wampcra\",{\"challenge\":\"x\",\"salt\":\"y\",\"iterations\":99999999999}]",
        &options);
    refuses("[4,\"scram\",{\"nonce\":\"not ours\",\"salt\":\"AAAA\",\"kdf\":\"pbkdf2\","
            "\"iterations\":1}]",
        &options);
    refuses("[4,\"magic\",{}]", &options);
}
