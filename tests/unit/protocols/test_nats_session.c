/* A NATS client by hand: what nats-server 2.9 answers to the same lines. */
#include "peer.h"

#include "check.h"
#include "base/alloc.h"
#include "protocols/nats/nats.h"

#define QUIET                                                                                      \
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n"

static struct peer *quiet_peer(struct place *place)
{
    struct peer *p = peer_new(place);
    peer_say(p, QUIET);
    (void)peer_heard(p);
    return p;
}

TEST(info_comes_first_and_says_what_clients_look_for)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_new(&place);
    CHECK_STR(peer_heard(p),
        "INFO {\"server_id\":\"SERVERID\",\"server_name\":\"test-server\",\"version\":\"2.9.0\","
        "\"proto\":1,\"git_commit\":\"0.0.0\",\"host\":\"127.0.0.1\",\"port\":4222,"
        "\"headers\":true,\"max_payload\":1048576,\"client_id\":1,\"client_ip\":\"192.0.2.1\"} "
        "\r\n");
    place_done(&place);
}

TEST(a_client_without_connect_is_verbose)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_new(&place);
    (void)peer_heard(p);
    peer_say(p, "PING\r\nSUB foo 1\r\nPUB foo 2\r\nhi\r\nUNSUB 1\r\nPUB foo 2\r\nhi\r\nPING\r\n");
    CHECK_STR(peer_heard(p), "PONG\r\n+OK\r\n+OK\r\nMSG foo 1 2\r\nhi\r\n+OK\r\n+OK\r\nPONG\r\n");
    place_done(&place);
}

TEST(answers_stand_in_order_however_the_bytes_come)
{
    static const size_t pieces[] = {0, 1, 2, 3, 7, 16};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct place place;
        place_init(&place, &pl_nats_protocol);
        struct peer *p = quiet_peer(&place);
        place.piece = pieces[i];
        peer_say(p, "sub a.* 7\r\nPING\r\npub\ta.b   3\nxyz\r\nPub a.c r.1 0\r\n\r\nPING\r\n"
                    "SUB a..b 8\r\nHPUB a.d 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nok\r\nPING\r\n");
        CHECK_STR(peer_heard(p),
            "PONG\r\nMSG a.b 7 3\r\nxyz\r\nMSG a.c 7 r.1 0\r\n\r\nPONG\r\n-ERR 'Invalid "
            "Subject'\r\nHMSG a.d 7 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nok\r\nPONG\r\n");
        place_done(&place);
    }
}

static const char *ask(struct peer *p, const char *text)
{
    peer_say(p, text);
    return peer_heard(p);
}

/* What the first lines after INFO are answered with, and whether it was closed. */
static void check_end(const char *said, const char *answer, bool closes)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    CHECK_STR(ask(p, said), answer);
    CHECK_EQ(p->is_closed, closes);
    place_done(&place);
}

TEST(errors_are_in_the_servers_words_and_close_where_it_closes)
{
    check_end("FOO\r\n", "-ERR 'Unknown Protocol Operation'\r\n", true);
    check_end("MSG a 1 0\r\n\r\n", "-ERR 'Unknown Protocol Operation'\r\n", true);
    check_end("\r\n", "-ERR 'Unknown Protocol Operation'\r\n", true);
    check_end("PUB a 2\r\nabc\r\n", "-ERR 'Unknown Protocol Operation'\r\n", true);
    check_end("PUB a 2000000\r\n", "-ERR 'Maximum Payload Violation'\r\n", true);
    check_end("PUB a\r\n", "", true);
    check_end("SUB a\r\n", "", true);
    check_end("-ERR 'x'\r\n", "", true);
    check_end("CONNECT {]\r\n", "", true);
    check_end("SUB a..b 1\r\nPING\r\n", "-ERR 'Invalid Subject'\r\nPONG\r\n", false);
    check_end("SUB >.a 1\r\nPING\r\n", "-ERR 'Invalid Subject'\r\nPONG\r\n", false);
    check_end("CONNECT {\"account\":\"x\"}\r\n", "-ERR 'Authorization Violation'\r\n", true);
    check_end("HPUB a 4 4\r\nabcd\r\n", "-ERR 'Parser Error'\r\n", true);
    check_end("SUB a 1\r\nPUB a 1\r\nx\r\nFOO\r\n",
        "MSG a 1 1\r\nx\r\n-ERR 'Unknown Protocol Operation'\r\n", true);
}

TEST(a_control_line_has_a_limit)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    char text[5000] = "SUB ";
    memset(text + 4, 'a', sizeof text - 5);
    CHECK_STR(ask(p, text), "-ERR 'maximum control line exceeded'\r\n");
    CHECK(p->is_closed);
    place_done(&place);
}

TEST(a_name_that_nobody_can_publish_to_is_refused_and_the_client_stays)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place), *all = quiet_peer(&place);
    peer_say(all, "SUB > 1\r\n");
    CHECK_STR(ask(p, "PUB a.* 1\r\nx\r\nPUB a..b 1\r\nx\r\nPUB > 0\r\n\r\nPUB a r.> 0\r\n\r\n"
                     "PUB $SYS.x 0\r\n\r\nPUB a*b 1\r\ny\r\nPING\r\n"),
        "-ERR 'Permissions Violation for Publish to \"a.*\"'\r\n"
        "-ERR 'Permissions Violation for Publish to \"a..b\"'\r\n"
        "-ERR 'Permissions Violation for Publish to \">\"'\r\n"
        "-ERR 'Permissions Violation for Publish with Reply of \"r.>\"'\r\n"
        "-ERR 'Permissions Violation for Publish to \"$SYS.x\"'\r\nPONG\r\n");
    CHECK_STR(peer_heard(all), "MSG a*b 1 1\r\ny\r\n");
    struct peer *pedantic = peer_new(&place);
    (void)peer_heard(pedantic);
    CHECK_STR(ask(pedantic, "CONNECT {}\r\nPUB a.* 1\r\nx\r\nPING\r\n"),
        "+OK\r\n-ERR 'Invalid Publish Subject'\r\n+OK\r\nPONG\r\n");
    place_done(&place);
}

TEST(unsub_with_a_number_of_a_refused_subscription_finds_nothing_to_do)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct pl_realm_limits limits = *pl_realm_limits(place.realm);
    CHECK(limits.subject_max > 0);
    char line[8192];
    int n = snprintf(line, sizeof line, "SUB %0*d 4\r\nUNSUB 4 2\r\nUNSUB 4 3\r\nPING\r\n",
        (int)limits.subject_max + 1, 7);
    CHECK(n > 0);
    place.config.line_max = sizeof line;
    struct peer *q = quiet_peer(&place);
    peer_say(q, line);
    CHECK_STR(peer_heard(q), "-ERR 'Invalid Subject'\r\nPONG\r\n");
    place_done(&place);
}

TEST(unsub_counts_from_the_first_delivery_and_cuts_precisely)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    CHECK_STR(ask(p, "SUB a 1\r\nPUB a 1\r\n1\r\nUNSUB 1 3\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\n"
                     "PUB a 1\r\n4\r\nPING\r\n"),
        "MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nMSG a 1 1\r\n3\r\nPONG\r\n");
    CHECK_STR(ask(p, "SUB a 1\r\nPUB a 1\r\n5\r\nUNSUB 1 1\r\nPUB a 1\r\n6\r\nPING\r\n"),
        "MSG a 1 1\r\n5\r\nPONG\r\n");
    CHECK_STR(ask(p, "SUB a 2\r\nUNSUB 2 1\r\nUNSUB 2\r\nUNSUB 2\r\nPUB a 0\r\n\r\nPING\r\n"),
        "PONG\r\n");
    place_done(&place);
}

TEST(long_and_equal_sids_get_their_own_frames)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *a = quiet_peer(&place), *b = quiet_peer(&place), *c = peer_new(&place);
    (void)peer_heard(c);
    (void)ask(a, "SUB x 1\r\nSUB x 12345678901\r\n");
    (void)ask(b, "SUB x 1\r\n");
    (void)ask(c, "CONNECT {\"verbose\":false}\r\nSUB x 1\r\n"); /* takes no headers */
    (void)ask(b, "HPUB x 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nz\r\n");
    static const char with[] = "HMSG x 1 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nz\r\n";
    CHECK(strstr(peer_heard(a), with) != NULL);
    CHECK(strstr(a->told, "HMSG x 12345678901 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nz\r\n") != NULL);
    CHECK_STR(peer_heard(c), "MSG x 1 1\r\nz\r\n");
    place_done(&place);
}

TEST(nobody_is_there_to_answer)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    CHECK_STR(ask(p, "SUB _INBOX.a.* 3\r\nPUB no.one _INBOX.a.1 2\r\nhi\r\nPING\r\n"),
        "HMSG _INBOX.a.1 3 16 16\r\nNATS/1.0 503\r\n\r\n\r\nPONG\r\n");
    CHECK_STR(ask(p, "PUB no.one r.other 2\r\nhi\r\nPING\r\n"), "PONG\r\n");
    CHECK_STR(
        ask(p, "CONNECT {\"no_responders\":false}\r\nPUB no.one _INBOX.a.1 2\r\nhi\r\nPING\r\n"),
        "PONG\r\n");
    place_done(&place);
}

TEST(nobody_hears_himself_who_asked_for_no_echo)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_new(&place), *other = quiet_peer(&place);
    (void)peer_heard(p);
    CHECK_STR(
        ask(p, "CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n"),
        "PONG\r\n");
    (void)ask(other, "PUB a 1\r\ny\r\n");
    CHECK_STR(peer_heard(p), "MSG a 1 1\r\ny\r\n");
    place_done(&place);
}

TEST(headers_cross_with_what_has_a_place_of_its_own)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    static const char block[] =
        "NATS/1.0 408 late\r\nB: 2\r\nContent-Type: text/plain\r\n"
        "Correlation-Data: id%0D7\r\nNats-TTL: 1m30s\r\nA:1\r\nB: 3\r\n\r\n";
    char said[512];
    (void)snprintf(said, sizeof said, "SUB a 1\r\nHPUB a %zu %zu\r\n%s\r\nPING\r\n",
        sizeof block - 1, sizeof block - 1, block);
    /* What has a place comes first, the rest in its order; the lifetime in seconds. */
    CHECK_STR(ask(p, said),
        "HMSG a 1 114 114\r\nNATS/1.0 408 late\r\nContent-Type: text/plain\r\n"
        "Correlation-Data-Base64: aWQNNw==\r\nNats-TTL: 90\r\nB: 2\r\nA: 1\r\nB: 3\r\n\r\n\r\n"
        "PONG\r\n");
    static const char again[] = "NATS/1.0\r\nCorrelation-Data-Base64: aWQNNw==\r\n\r\n";
    (void)snprintf(
        said, sizeof said, "HPUB a %zu %zu\r\n%s\r\n", sizeof again - 1, sizeof again - 1, again);
    CHECK(strstr(ask(p, said), again) != NULL);
    place_done(&place);
}

TEST(an_expired_message_is_not_delivered)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    (void)ask(p, "SUB a 1\r\n");
    peer_say(p, "HPUB a 27 27\r\nNATS/1.0\r\nNats-TTL: 1ms\r\n\r\n\r\n");
    place.now_ms += 10;
    pl_worker_begin(&place.worker, place.now_ms, place.now_ms);
    CHECK_STR(peer_heard(p), "");
    place_done(&place);
}

/* A message of another protocol, by the server's own way in. */
static void publish(struct place *place, struct pl_message draft)
{
    CHECK_EQ(pl_realm_publish(place->realm, &place->worker, &draft), PL_OK);
}

TEST(no_name_and_no_header_of_another_protocol_can_break_a_line)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    (void)ask(p, "SUB > 1\r\n");
    const struct pl_header headers[] = {
        {PL_BYTES("a: b\r\nX"), PL_BYTES("1\r\nPUB evil 0\r\n")},
        {PL_NO_BYTES, PL_BYTES("%0D")},
    };
    const struct pl_properties properties = {
        .headers = headers, .header_count = 2, .expires_ms = PL_NEVER};
    publish(&place, (struct pl_message){.subject = PL_BYTES("a b.\r\n.*..%"),
                        .reply = PL_BYTES("r\tx"),
                        .payload = PL_BYTES("1")});
    CHECK_STR(peer_heard(p), "MSG a%20b.%0D%0A.%2A.%.%25 1 r%09x 1\r\n1\r\n");
    publish(&place, (struct pl_message){.subject = PL_BYTES("x"), .properties = &properties});
    CHECK_STR(peer_heard(p),
        "HMSG x 1 62 62\r\nNATS/1.0\r\na%3A b%0D%0AX: 1%0D%0APUB evil 0%0D%0A\r\n%: %250D\r\n"
        "\r\n\r\n");
    CHECK_STR(ask(p, "PUB a%20b.%2A.%.%25 1\r\n2\r\nPUB %zz 1\r\n3\r\n"),
        "MSG a%20b.%2A.%.%25 1 1\r\n2\r\nMSG %zz 1 1\r\n3\r\n");
    place_done(&place);
}

TEST(whoever_must_log_in_does_so_first)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    place.config.requires_login = true;
    struct peer *p = peer_new(&place);
    CHECK(strstr(peer_heard(p), "\"auth_required\":true") != NULL);
    CHECK_STR(ask(p, "PING\r\n"), "-ERR 'Authorization Violation'\r\n");
    CHECK(p->is_closed);
    p = peer_new(&place);
    (void)peer_heard(p);
    CHECK_STR(ask(p, "CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPING\r\n"), "+OK\r\nPONG\r\n");
    CHECK_STR(place.shown, "u/p/");
    CHECK_STR(ask(p, "CONNECT {\"user\":\"v\"}\r\n"), "-ERR 'Authorization Violation'\r\n");
    CHECK(p->is_closed);
    p = peer_new(&place);
    (void)ask(p, "CONNECT {\"jwt\":\"j.w.t\",\"auth_token\":\"t\",\"user\":\"\"}\r\n");
    CHECK_STR(place.shown, "//j.w.t");
    p = peer_new(&place);
    (void)peer_heard(p);
    place.login_err = PL_BAD_LOGIN;
    CHECK_STR(
        ask(p, "CONNECT {\"auth_token\":\"t\"}\r\nPING\r\n"), "-ERR 'Authorization Violation'\r\n");
    CHECK_STR(place.shown, "//t");
    CHECK(p->is_closed);
    place_done(&place);
}

TEST(a_websocket_brings_its_token_in_its_request)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    place.config.requires_login = true;
    place.config.has_tls = place.config.requires_tls = true; /* of no concern to a WebSocket */
    static const struct {
        const char *header, *query, *value;
        bool ambient;
        const char *shown;
    } ways[] = {
        {"authorization", NULL, "Bearer j.w.t", true, "//j.w.t"},
        {"authorization", NULL, "Basic xxx", true, "//"},
        {NULL, "token", "q.w.t", true, "//q.w.t"},
        {"cookie", NULL, "a=1; token=c.w.t; b", true, "//c.w.t"},
        {"cookie", NULL, "token=c.w.t", false, "//"},
        {"cookie", NULL, "xtoken=c; tokens=d", true, "//"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct peer *p = peer_alloc(&place);
        p->link->is_websocket = true;
        p->link->is_ambient_allowed = ways[i].ambient;
        p->header = ways[i].header;
        p->query = ways[i].query;
        p->header_value = p->query_value = ways[i].value;
        peer_open(p);
        (void)ask(p, "CONNECT {}\r\n");
        CHECK_STR(place.shown, ways[i].shown);
    }
    place_done(&place);
}

TEST(connect_asks_for_what_fits_together)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_new(&place), *q = peer_new(&place);
    (void)peer_heard(p), (void)peer_heard(q);
    CHECK_STR(ask(p, "CONNECT {\"protocol\":2}\r\nPING\r\n"), "-ERR 'invalid client protocol'\r\n");
    CHECK_STR(ask(q, "CONNECT {\"no_responders\":true}\r\n"),
        "-ERR 'no responders requires headers support'\r\n");
    CHECK(p->is_closed && q->is_closed);
    place_done(&place);
}

TEST(rights_are_refused_in_the_servers_words)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct pl_pattern *pattern = NULL;
    pl_identity_unref(place.identity);
    place.identity = pl_identity_new();
    place.identity->expires_unix_ms = PL_NEVER;
    CHECK_EQ(pl_pattern_parse(PL_BYTES("own.>"), &pattern), PL_OK);
    CHECK_EQ(pl_identity_add_pattern(place.identity, PL_SUBSCRIBE, false, pattern), PL_OK);
    CHECK_EQ(pl_pattern_parse(PL_BYTES("own.>"), &pattern), PL_OK);
    CHECK_EQ(pl_identity_add_pattern(place.identity, PL_PUBLISH, false, pattern), PL_OK);
    struct peer *p = quiet_peer(&place);
    CHECK_STR(
        ask(p, "SUB a.* 1\r\nSUB a g 2\r\nSUB own.> 3\r\nPUB a.b 1\r\nx\r\nPUB own.a 1\r\ny\r\n"
               "PUB a\"\x01 0\r\n\r\nUNSUB 1\r\nPING\r\n"),
        "-ERR 'Permissions Violation for Subscription to \"a.*\"'\r\n"
        "-ERR 'Permissions Violation for Subscription to \"a\" using queue \"g\"'\r\n"
        "-ERR 'Permissions Violation for Publish to \"a.b\"'\r\nMSG own.a 3 1\r\ny\r\n"
        "-ERR 'Permissions Violation for Publish to \"a\\\"\\x01\"'\r\nPONG\r\n");
    place_done(&place);
}

TEST(a_refused_subscription_may_have_been_given_a_number)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    pl_identity_unref(place.identity);
    place.identity = pl_identity_new();
    place.identity->expires_unix_ms = PL_NEVER;
    struct peer *p = quiet_peer(&place);
    CHECK_STR(ask(p, "SUB a 1\r\nUNSUB 1 1\r\nUNSUB 1 2\r\nPING\r\n"),
        "-ERR 'Permissions Violation for Subscription to \"a\"'\r\nPONG\r\n");
    CHECK_STR(ask(p, "SUB a 1\r\nUNSUB 1 1\r\nUNSUB 1\r\nSUB b 1\r\nUNSUB 1 3\r\nPING\r\n"),
        "-ERR 'Permissions Violation for Subscription to \"a\"'\r\n"
        "-ERR 'Permissions Violation for Subscription to \"b\"'\r\nPONG\r\n");
    place_done(&place);
}

TEST(a_request_is_not_answered_by_what_is_asked_for_behind_it)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct pl_pattern *pattern = NULL;
    pl_identity_unref(place.identity);
    place.identity = pl_identity_new();
    place.identity->expires_unix_ms = PL_NEVER;
    CHECK_EQ(pl_pattern_parse(PL_BYTES("no.one"), &pattern), PL_OK);
    CHECK_EQ(pl_identity_add_pattern(place.identity, PL_PUBLISH, false, pattern), PL_OK);
    CHECK_EQ(pl_pattern_parse(PL_BYTES("r"), &pattern), PL_OK);
    CHECK_EQ(pl_identity_add_pattern(place.identity, PL_PUBLISH, false, pattern), PL_OK);
    struct peer *p = quiet_peer(&place);
    CHECK_STR(ask(p, "PUB no.one r 0\r\n\r\nSUB r 1\r\nPING\r\n"),
        "-ERR 'Permissions Violation for Subscription to \"r\"'\r\nPONG\r\n");
    CHECK_STR(ask(p, "PUB no.one _INBOX.a 0\r\n\r\nSUB _INBOX.a 1\r\nPING\r\n"), "PONG\r\n");
    place_done(&place);
}

TEST(silence_is_asked_about_and_then_ends)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place);
    place_pass(&place, 60000);
    CHECK_STR(peer_heard(p), "PING\r\n");
    CHECK_STR(ask(p, "PONG\r\n"), "");
    place_pass(&place, 120000);
    CHECK_STR(peer_heard(p), "PING\r\nPING\r\n");
    place_pass(&place, 60000);
    CHECK_STR(peer_heard(p), "-ERR 'Stale Connection'\r\n");
    CHECK(p->is_closed);
    place_done(&place);
}

TEST(a_login_has_a_time_limit_only_where_one_is_needed)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *free = peer_new(&place);
    place_pass(&place, 6000);
    CHECK(!free->is_closed);
    place.config.requires_login = true;
    struct peer *p = peer_new(&place);
    (void)peer_heard(p);
    place_pass(&place, 6000);
    CHECK_STR(peer_heard(p), "-ERR 'Authentication Timeout'\r\n");
    CHECK(p->is_closed);
    place_done(&place);
}

TEST(a_login_may_take_its_time_and_its_client_may_leave_meanwhile)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_new(&place), *gone = peer_new(&place);
    (void)peer_heard(p), (void)peer_heard(gone);
    place.holds_logins = true;
    CHECK_STR(ask(p, "CONNECT {}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n"), "");
    place_answer_login(&place, place.held);
    CHECK_STR(peer_heard(p), "+OK\r\n+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n");
    (void)ask(gone, "CONNECT {}\r\n");
    peer_leave(gone);
    place_answer_login(&place, place.held);
    place_run(&place);
    place_done(&place);
}

TEST(tls_begins_after_info_where_the_listener_has_it)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    place.config.has_tls = true;
    struct peer *p = peer_new(&place), *plain = peer_new(&place);
    CHECK(strstr(peer_heard(p), "\"tls_available\":true") != NULL);
    peer_say_bytes(p, "\x16\x03\x01", 3);
    CHECK(p->starts_tls);
    CHECK_EQ(p->input_len, 3); /* the handshake's */
    p->input_len = 0;
    CHECK_STR(ask(p, "PING\r\n"), "PONG\r\n");
    (void)peer_heard(plain);
    CHECK_STR(ask(plain, "PING\r\n"), "PONG\r\n");
    place.config.requires_tls = true;
    struct peer *refused = peer_new(&place);
    CHECK(strstr(peer_heard(refused), "\"tls_required\":true") != NULL);
    CHECK_STR(ask(refused, "CONNECT {}\r\n"), "-ERR 'Secure Connection - TLS Required'\r\n");
    CHECK(refused->is_closed);
    place_done(&place);
}

TEST(a_slow_reader_is_cut_and_told_why)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    place.output_max = 4096;
    struct peer *slow = quiet_peer(&place), *p = quiet_peer(&place);
    (void)ask(slow, "SUB a 1\r\n");
    slow->reads_nothing = true;
    char text[1100] = "PUB a 1024\r\n";
    memset(text + 12, 'x', 1024);
    strcpy(text + 12 + 1024, "\r\n");
    for (int i = 0; i < 10; i++)
        (void)ask(p, text);
    CHECK(slow->is_closed);
    CHECK_EQ(slow->why, PL_SLOW_CONSUMER);
    CHECK(!p->is_closed);
    place_done(&place);
}

TEST(an_identity_that_expires_ends_its_connection)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    place.identity->expires_unix_ms = place.now_ms + 1000000 + 5000;
    struct peer *p = quiet_peer(&place);
    place_pass(&place, 4000);
    CHECK(!p->is_closed);
    place_pass(&place, 2000);
    CHECK_STR(peer_heard(p), "-ERR 'User Authentication Expired'\r\n");
    CHECK(p->is_closed);
    place_done(&place);
}

TEST(a_drain_is_announced_to_who_takes_news)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = peer_new(&place), *old = quiet_peer(&place);
    (void)ask(p, "CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
    p->link->is_draining = old->link->is_draining = true;
    pl_nats_protocol.drain(p->link);
    pl_nats_protocol.drain(old->link);
    CHECK(strstr(peer_heard(p), "\"ldm\":true") != NULL);
    CHECK_STR(peer_heard(old), "");
    place_done(&place);
}

TEST(subscriptions_have_a_limit)
{
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.subscriptions_max = 2;
    limits.payload_max = 10;
    struct place place;
    place_init_limits(&place, &pl_nats_protocol, &limits);
    struct peer *p = peer_new(&place);
    (void)peer_heard(p);
    CHECK(strstr(ask(p, "CONNECT {\"verbose\":false,\"protocol\":1}\r\n"), "\"max_payload\":10,"));
    CHECK_STR(
        ask(p, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nUNSUB 2\r\nSUB c 4\r\nPUB c 1\r\nx\r\nPING\r\n"),
        "-ERR 'maximum subscriptions exceeded'\r\nMSG c 4 1\r\nx\r\nPONG\r\n");
    CHECK_STR(ask(p, "PUB a 11\r\n"), "-ERR 'Maximum Payload Violation'\r\n");
    place_done(&place);
}

TEST(nothing_breaks_when_memory_runs_out)
{
    static const char said[] =
        "CONNECT {\"headers\":true,\"no_responders\":true,\"user\":\"u\"}\r\nSUB a.> 1\r\nSUB a.b "
        "g 2\r\n"
        "SUB _INBOX.x.* 3\r\nPUB a.b 1\r\nx\r\nPUB a%20b r.x 1\r\ny\r\nHPUB a.c 34 "
        "35\r\nNATS/1.0\r\n"
        "Content-Type: a%0D\r\n\r\n\r\nz\r\nPUB no.one _INBOX.x.1 0\r\n\r\nSUB a..b 4\r\n"
        "PUB a.* 0\r\n\r\nUNSUB 1 2\r\nUNSUB 2\r\nSUB a.b 2\r\nPING\r\nFOO\r\n";
    for (long n = 0; n < 150; n++) {
        struct place place;
        place_init(&place, &pl_nats_protocol);
        struct peer *p = peer_new(&place), *other = quiet_peer(&place);
        (void)ask(other, "SUB a.> 1\r\nPING\r\n");
        pl_alloc_fail(n, (int)(n % 2));
        peer_say(p, said);
        (void)place_turns(&place, 20); /* without memory it need not come to rest */
        pl_alloc_fail(-1, 0);
        (void)peer_heard(p);
        CHECK(strstr(ask(other, "PING\r\n"), "PONG\r\n") != NULL);
        place_done(&place);
    }
}

TEST(a_client_may_go_with_everything_open)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    struct peer *p = quiet_peer(&place), *verbose = peer_new(&place);
    (void)ask(p, "SUB a 1\r\nPUB a 0\r\n\r\n");
    (void)ask(verbose, "CONNECT {}\r\n");
    static const char said[] = "SUB b 2\r\nSUB _INBOX.x.y 3\r\nUNSUB 1 1\r\nUNSUB 2\r\n"
                               "PUB no.one _INBOX.x.y 0\r\n\r\nPING\r\nFOO\r\n";
    peer_say(p, said);
    peer_say(verbose, said);
    peer_close(p->link, PL_CLOSED, NULL);
    peer_close(verbose->link, PL_CLOSED, NULL);
    peer_end_if_closing(p);
    peer_end_if_closing(verbose);
    place_run(&place);
    CHECK(p->is_closed && verbose->is_closed);
    place_done(&place);
}

TEST(what_was_before_is_given_to_a_subscription_and_not_to_a_queue_group)
{
    struct place place;
    place_init(&place, &pl_nats_protocol);
    place.config.replay = PL_REPLAY_RETAINED;
    struct peer *p = quiet_peer(&place);
    struct pl_message draft = {.subject = PL_BYTES("a"), .payload = PL_BYTES("1"), .retain = true};
    CHECK_EQ(pl_realm_publish(place.realm, &place.worker, &draft), PL_OK);
    CHECK_STR(ask(p, "SUB a 1\r\nPING\r\n"), "MSG a 1 1\r\n1\r\nPONG\r\n");
    CHECK_STR(ask(p, "SUB a g 2\r\nPING\r\n"), "PONG\r\n");
    place_done(&place);
}
