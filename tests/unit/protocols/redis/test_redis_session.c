#include "check.h"

#include "base/alloc.h"
#include "codec/value.h"
#include "protocols/rig.h"
#include "protocols/redis/redis.h"

static struct rig rig;

static struct rig_peer *peer(void)
{
    return rig_open(&rig, &pl_redis_protocol, 0);
}

TEST(a_ping_is_answered_after_the_anonymous_login)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "PING\r\n*1\r\n$4\r\nPING\r\n"), "+PONG\r\n+PONG\r\n");
    rig_done(&rig);
}

TEST(a_message_reaches_a_channel_and_a_pattern)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer(), *c = peer();
    CHECK_STR(rig_ask(a, "SUBSCRIBE plant.temp\r\n"),
        "*3\r\n$9\r\nsubscribe\r\n$10\r\nplant.temp\r\n:1\r\n");
    CHECK_STR(rig_ask(b, "PSUBSCRIBE pl[a]nt.*\r\n"),
        "*3\r\n$10\r\npsubscribe\r\n$9\r\npl[a]nt.*\r\n:1\r\n");
    rig_clear(a);
    rig_clear(b);
    CHECK_STR(rig_ask(c, "PUBLISH plant.temp 21.5\r\n"), ":2\r\n");
    CHECK_STR(a->got, "*3\r\n$7\r\nmessage\r\n$10\r\nplant.temp\r\n$4\r\n21.5\r\n");
    CHECK_STR(b->got, "*4\r\n$8\r\npmessage\r\n$9\r\npl[a]nt.*\r\n$10\r\nplant.temp\r\n"
                      "$4\r\n21.5\r\n");
    rig_done(&rig);
}

TEST(replies_keep_the_order_of_the_requests)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "PING 0\r\nPUBLISH x 1\r\nPING 2\r\nPUBLISH x 3\r\nPUBLISH x 4\r\n"
                         "ECHO 5\r\nSUBSCRIBE x\r\nPING 6\r\nUNSUBSCRIBE x\r\nPUBLISH x 7\r\n"
                         "PING 8\r\n"),
        "$1\r\n0\r\n:0\r\n$1\r\n2\r\n:0\r\n:0\r\n$1\r\n5\r\n"
        "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n*2\r\n$4\r\npong\r\n$1\r\n6\r\n"
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n:0\r\n$1\r\n8\r\n");
    rig_done(&rig);
}

/* "user" with password "pw" may do dev.> and ok; "root" everything. */
static struct pl_identity *identify(struct rig *r, const struct pl_credentials *shown)
{
    (void)r;
    if (!shown->has_password)
        return rig.config.requires_login ? NULL : pl_identity_new_all("", "anonymous");
    if (!pl_bytes_equal(shown->password, PL_BYTES("pw")) || !shown->has_user)
        return NULL;
    if (pl_bytes_equal(shown->user, PL_BYTES("root")))
        return pl_identity_new_all("root", "all");
    struct pl_identity *identity = pl_identity_new();
    if (!identity)
        return NULL;
    identity->user = PL_BYTES("user");
    identity->expires_unix_ms = PL_NEVER;
    static const char *const allowed[] = {"dev.>", "ok"};
    for (int i = 0; i < 2; i++)
        for (int action = 0; action < PL_ACTION_COUNT; action++) {
            struct pl_pattern *pattern = NULL;
            if (pl_pattern_parse(pl_bytes_text(allowed[i]), &pattern) ||
                pl_identity_add_pattern(identity, (enum pl_action)action, false, pattern))
                return pl_identity_unref(identity);
        }
    return identity;
}

static void begin_with_users(bool requires_login)
{
    rig_init(&rig, 1);
    rig.identify = identify;
    rig.config.requires_login = requires_login;
}

#define NOPERM                                                                                     \
    "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n"

TEST(who_must_log_in_is_told_so)
{
    begin_with_users(true);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "PING\r\n"), "-NOAUTH Authentication required.\r\n");
    CHECK_STR(rig_ask(a, "PUBLISH a b\r\n"), "-NOAUTH Authentication required.\r\n");
    CHECK_STR(rig_ask(a, "AUTH root wrong\r\n"),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    CHECK_STR(rig_ask(a, "AUTH root pw\r\nPING\r\n"), "+OK\r\n+PONG\r\n");
    CHECK_STR(rig_ask(a, "AUTH root wrong\r\nPING\r\n"),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n+PONG\r\n");
    rig_done(&rig);
}

TEST(a_password_where_none_is_needed_is_told_in_redis_words)
{
    begin_with_users(false);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "AUTH x\r\n"),
        "-ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?\r\n");
    rig_done(&rig);
}

TEST(a_right_that_is_missing_refuses_the_whole_command)
{
    begin_with_users(true);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "AUTH user pw\r\n"), "+OK\r\n");
    CHECK_STR(rig_ask(a, "PUBLISH dev.1 x\r\nPUBLISH other x\r\nPUBLISH $SYS.x y\r\nPING\r\n"),
        ":0\r\n" NOPERM NOPERM "+PONG\r\n");
    CHECK_STR(rig_ask(a, "SUBSCRIBE ok other\r\n"), NOPERM);
    CHECK_STR(rig_ask(a, "PSUBSCRIBE *\r\n"), NOPERM);
    CHECK_STR(rig_ask(a, "SSUBSCRIBE other\r\n"), NOPERM);
    CHECK_STR(
        rig_ask(a, "PSUBSCRIBE dev.*\r\n"), "*3\r\n$10\r\npsubscribe\r\n$5\r\ndev.*\r\n:1\r\n");
    CHECK_STR(rig_ask(a, "RESET\r\n"), "+RESET\r\n");
    CHECK_STR(rig_ask(a, "AUTH user pw\r\nMULTI\r\nPUBLISH other x\r\nEXEC\r\n"),
        "+OK\r\n+OK\r\n" NOPERM "-EXECABORT Transaction discarded because of previous errors.\r\n");
    rig_done(&rig);
}

TEST(a_login_on_a_live_connection_keeps_what_it_may_have)
{
    begin_with_users(true);
    struct rig_peer *a = peer(), *b = peer();
    rig_ask(a, "HELLO 3 AUTH root pw SETNAME me\r\n");
    CHECK_STR(rig_ask(a, "SUBSCRIBE other\r\nSUBSCRIBE ok\r\n"),
        ">3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$2\r\nok\r\n:"
        "2\r\n");
    CHECK_STR(
        rig_ask(a, "AUTH user pw\r\n"), ">3\r\n$11\r\nunsubscribe\r\n$5\r\nother\r\n:1\r\n+OK\r\n");
    rig_ask(b, "AUTH root pw\r\n");
    rig_clear(a);
    CHECK_STR(rig_ask(b, "PUBLISH other 1\r\nPUBLISH ok 2\r\n"), ":0\r\n:1\r\n");
    CHECK_STR(a->got, ">3\r\n$7\r\nmessage\r\n$2\r\nok\r\n$1\r\n2\r\n");
    CHECK_STR(rig_ask(a, "PUBLISH other 1\r\nCLIENT GETNAME\r\n"), NOPERM "$2\r\nme\r\n");
    rig_done(&rig);
}

TEST(a_login_limit_closes_who_does_not_log_in)
{
    begin_with_users(true);
    struct rig_peer *a = peer(), *b = peer();
    rig_ask(a, "AUTH root pw\r\n");
    rig_pass(&rig, 5000);
    CHECK(!b->is_closed);
    rig_pass(&rig, 6000);
    CHECK(b->is_closed && b->why == PL_TIMEOUT);
    CHECK(!a->is_closed);
    rig_done(&rig);
}

TEST(who_need_not_log_in_may_stay_silent)
{
    begin_with_users(false);
    struct rig_peer *a = peer();
    rig_pass(&rig, 11000);
    rig_pass(&rig, 11000);
    CHECK(!a->is_closed);
    CHECK_STR(rig_ask(a, "PING\r\n"), "+PONG\r\n");
    rig_done(&rig);
}

TEST(a_first_request_may_be_big_where_nobody_must_log_in)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer();
    rig_ask(a, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$20000\r\n");
    CHECK(!a->link->session);
    static char payload[20002];
    memset(payload, 'p', sizeof payload);
    rig_send(a, payload, 19000);
    rig_run(&rig);
    CHECK(a->link->session);
    rig_send(a, payload, 1002);
    rig_run(&rig);
    CHECK_STR(a->got, ":0\r\n");
    rig_done(&rig);
}

TEST(before_the_login_a_big_request_is_refused)
{
    begin_with_users(true);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "*11\r\n"), "-ERR Protocol error: unauthenticated multibulk length\r\n");
    CHECK(a->is_closed && a->why == PL_MALFORMED);
    rig_done(&rig);
}

TEST(reset_forgets_the_login_the_name_and_the_subscriptions)
{
    begin_with_users(true);
    struct rig_peer *a = peer(), *b = peer();
    rig_ask(a, "HELLO 3 AUTH root pw SETNAME me\r\n");
    rig_ask(a, "SUBSCRIBE x\r\nMULTI\r\n");
    CHECK_STR(rig_ask(a, "RESET\r\nPING\r\nEXEC\r\n"),
        "+RESET\r\n-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n");
    rig_ask(b, "AUTH root pw\r\n");
    CHECK_STR(rig_ask(b, "PUBLISH x 1\r\n"), ":0\r\n");
    CHECK_STR(rig_ask(a, "AUTH root pw\r\nCLIENT GETNAME\r\n"), "+OK\r\n$-1\r\n");
    rig_done(&rig);
}

TEST(an_exec_leaves_as_one_piece)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer();
    rig_ask(a, "HELLO 3\r\n");
    rig_ask(a, "SUBSCRIBE x\r\n");
    CHECK_STR(rig_ask(a, "PUBLISH x 0\r\nMULTI\r\nPUBLISH x 1\r\nPING\r\nPUBLISH y 2\r\nEXEC\r\n"
                         "PING\r\n"),
        ">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n0\r\n:1\r\n"
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
        ">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n1\r\n"
        "*3\r\n:1\r\n+PONG\r\n:0\r\n+PONG\r\n");
    rig_done(&rig);
}

TEST(replies_can_be_turned_off)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "CLIENT REPLY OFF\r\nPING\r\nPUBLISH x 1\r\nFOO\r\n"), "");
    CHECK_STR(rig_ask(a, "SUBSCRIBE x\r\n"), "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
    CHECK_STR(rig_ask(a, "UNSUBSCRIBE x\r\nCLIENT REPLY ON\r\n"),
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n+OK\r\n");
    CHECK_STR(rig_ask(a, "CLIENT REPLY SKIP\r\nPUBLISH x 1\r\nPUBLISH x 2\r\n"), ":0\r\n");
    rig_done(&rig);
}

TEST(hello_changes_the_version_of_what_is_subscribed)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer(), *c = peer();
    rig_ask(a, "HELLO 3\r\n");
    rig_ask(a, "PSUBSCRIBE x*\r\nSUBSCRIBE y\r\n");
    rig_ask(c, "PSUBSCRIBE x*\r\n");
    rig_ask(a, "HELLO 2\r\n");
    rig_clear(a);
    rig_clear(c);
    CHECK_STR(rig_ask(b, "PUBLISH x1 1\r\nPUBLISH y 2\r\n"), ":2\r\n:1\r\n");
    CHECK_STR(a->got, "*4\r\n$8\r\npmessage\r\n$2\r\nx*\r\n$2\r\nx1\r\n$1\r\n1\r\n"
                      "*3\r\n$7\r\nmessage\r\n$1\r\ny\r\n$1\r\n2\r\n");
    CHECK_STR(c->got, "*4\r\n$8\r\npmessage\r\n$2\r\nx*\r\n$2\r\nx1\r\n$1\r\n1\r\n");
    rig_done(&rig);
}

TEST(a_subscriber_in_resp2_may_only_do_what_the_real_server_lets_it)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer();
    rig_ask(a, "SSUBSCRIBE x\r\n");
    CHECK_STR(rig_ask(a, "PUBLISH x 1\r\n"), "-ERR Can't execute 'publish': only (P|S)SUBSCRIBE / "
                                             "(P|S)UNSUBSCRIBE / PING / QUIT / RESET "
                                             "are allowed in this context\r\n");
    CHECK_STR(rig_ask(a, "PING\r\n"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    CHECK_STR(rig_ask(a, "SUNSUBSCRIBE\r\nPUBLISH x 1\r\n"),
        "*3\r\n$12\r\nsunsubscribe\r\n$1\r\nx\r\n:0\r\n:0\r\n");
    rig_done(&rig);
}

TEST(pubsub_counts_what_is_subscribed)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer(), *c = peer();
    rig_ask(a, "SUBSCRIBE x y\r\nPSUBSCRIBE p* q*\r\nSSUBSCRIBE s\r\n");
    rig_ask(b, "SUBSCRIBE x _INBOX.secret.1\r\nPSUBSCRIBE p*\r\n");
    CHECK_STR(rig_ask(c, "PUBSUB NUMSUB x y z x\r\n"),
        "*8\r\n$1\r\nx\r\n:2\r\n$1\r\ny\r\n:1\r\n$1\r\nz\r\n:0\r\n$1\r\nx\r\n:2\r\n");
    CHECK_STR(rig_ask(c, "PUBSUB NUMPAT\r\n"), ":2\r\n");
    CHECK_STR(rig_ask(c, "PUBSUB CHANNELS x*\r\n"), "*1\r\n$1\r\nx\r\n");
    CHECK_STR(rig_ask(c, "PUBSUB CHANNELS _*\r\n"), "*0\r\n");
    CHECK_STR(
        rig_ask(c, "PUBSUB NUMSUB _INBOX.secret.1\r\n"), "*2\r\n$15\r\n_INBOX.secret.1\r\n:0\r\n");
    CHECK_STR(rig_ask(c, "PUBSUB SHARDCHANNELS\r\n"), "*1\r\n$1\r\ns\r\n");
    CHECK_STR(rig_ask(c, "PUBSUB SHARDNUMSUB s x\r\n"), "*4\r\n$1\r\ns\r\n:1\r\n$1\r\nx\r\n:0\r\n");
    rig_done(&rig);
}

TEST(pubsub_tells_nobody_of_channels_that_it_may_not_have)
{
    begin_with_users(true);
    struct rig_peer *a = peer(), *b = peer();
    rig_ask(a, "AUTH root pw\r\n");
    rig_ask(a, "SUBSCRIBE secret ok\r\n");
    rig_ask(b, "AUTH user pw\r\n");
    CHECK_STR(rig_ask(b, "PUBSUB CHANNELS\r\n"), "*1\r\n$2\r\nok\r\n");
    CHECK_STR(rig_ask(b, "PUBSUB NUMSUB secret ok\r\n"),
        "*4\r\n$6\r\nsecret\r\n:0\r\n$2\r\nok\r\n:1\r\n");
    rig_done(&rig);
}

TEST(clients_are_killed_by_who_may_know_them)
{
    begin_with_users(true);
    struct rig_peer *root = peer(), *user = peer(), *other = peer();
    rig_ask(root, "AUTH root pw\r\n");
    rig_ask(user, "AUTH user pw\r\n");
    rig_ask(other, "AUTH user pw\r\n");
    CHECK_STR(rig_ask(user, "CLIENT KILL ID 1\r\n"), ":0\r\n");
    CHECK(!strstr(rig_ask(user, "CLIENT LIST\r\n"), "user=root"));
    CHECK(strstr(rig_ask(root, "CLIENT LIST\r\n"), "user=user"));
    CHECK_STR(rig_ask(user, "CLIENT KILL USER user\r\n"), ":1\r\n");
    CHECK(other->is_closed && other->why == PL_KICKED);
    CHECK_STR(rig_ask(root, "CLIENT KILL ID 2\r\n"), ":1\r\n");
    CHECK(user->is_closed);
    CHECK_STR(rig_ask(root, "CLIENT KILL ID 1 SKIPME no\r\n"), ":1\r\n");
    CHECK(root->is_closed);
    rig_done(&rig);
}

TEST(quit_and_errors_come_behind_what_is_open)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer();
    CHECK_STR(rig_ask(a, "PUBLISH x 1\r\nQUIT\r\nPING\r\n"), ":0\r\n+OK\r\n");
    CHECK(a->is_closed && a->why == PL_OK);
    CHECK_STR(rig_ask(b, "PUBLISH x 1\r\n*x\r\nPING\r\n"),
        ":0\r\n-ERR Protocol error: invalid multibulk length\r\n");
    CHECK(b->is_closed && b->why == PL_MALFORMED);
    rig_done(&rig);
}

TEST(a_browser_that_was_talked_into_it_is_cut_off)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer();
    CHECK_STR(rig_ask(a, "POST / HTTP/1.1\r\nPUBLISH x 1\r\n"), "");
    CHECK(a->is_closed);
    CHECK_STR(rig_ask(b, "Host: here\r\nPUBLISH x 1\r\n"), "");
    CHECK(b->is_closed);
    rig_done(&rig);
}

TEST(a_shared_port_takes_no_inline_commands)
{
    rig_init(&rig, 1);
    rig.config.is_shared = true;
    struct rig_peer *a = peer();
    CHECK_STR(rig_ask(a, "*1\r\n$4\r\nPING\r\nPING\r\n"),
        "+PONG\r\n-ERR Protocol error: expected '*'\r\n");
    CHECK(a->is_closed);
    rig_done(&rig);
}

TEST(who_asks_and_does_not_read_is_cut)
{
    rig_init(&rig, 1);
    rig.out_max = 1 << 16;
    struct rig_peer *a = peer(), *b = peer();
    rig_ask(a, "PING\r\n");
    a->is_stuck = true;
    for (int i = 0; i < 2000; i++)
        rig_write(a, "COMMAND\r\n");
    rig_run(&rig);
    CHECK(a->is_closed && a->why == PL_SLOW_CONSUMER);
    /* Also inside of one EXEC. */
    rig_ask(b, "MULTI\r\n");
    b->is_stuck = true;
    for (int i = 0; i < 2000; i++)
        rig_write(b, "COMMAND\r\n");
    rig_write(b, "EXEC\r\n");
    rig_run(&rig);
    CHECK(b->is_closed && b->why == PL_SLOW_CONSUMER);
    rig_done(&rig);
}

TEST(names_and_payloads_are_any_bytes)
{
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer();
    static const char subscribe[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\n\0 \r\n*>\r\n";
    static const char publish[] = "*3\r\n$7\r\nPUBLISH\r\n$6\r\n\0 \r\n*>\r\n$3\r\n\0\xFF\n\r\n";
    static const char message[] = "*3\r\n$7\r\nmessage\r\n$6\r\n\0 \r\n*>\r\n$3\r\n\0\xFF\n\r\n";
    rig_send(a, subscribe, sizeof subscribe - 1);
    rig_run(&rig);
    rig_clear(a);
    rig_send(b, publish, sizeof publish - 1);
    rig_run(&rig);
    CHECK_STR(b->got, ":1\r\n");
    CHECK_BYTES(a->got, a->got_len, message, sizeof message - 1);
    /* The empty name is one too. */
    rig_ask(a, "SUBSCRIBE \"\"\r\n");
    rig_clear(a);
    CHECK_STR(rig_ask(b, "PUBLISH \"\" x\r\n"), ":1\r\n");
    CHECK_STR(a->got, "*3\r\n$7\r\nmessage\r\n$0\r\n\r\n$1\r\nx\r\n");
    rig_done(&rig);
}

TEST(arguments_of_others_are_plain_payloads)
{
    const struct {
        struct pl_bytes payload;
        uint8_t serializer;
        const char *bulk;
    } cases[] = {
        {PL_BYTES("[\"hello\"]"), PL_SERIAL_JSON, "$5\r\nhello\r\n"},
        {PL_NO_BYTES, PL_SERIAL_JSON, "$0\r\n\r\n"},
        {PL_BYTES("\x91\xa2hi"), PL_SERIAL_MSGPACK, "$2\r\nhi\r\n"},
        {PL_BYTES("\x91\x07"), PL_SERIAL_MSGPACK, "$1\r\n7\r\n"},
        {PL_BYTES("\x81\x42hi"), PL_SERIAL_CBOR, "$2\r\nhi\r\n"},
        {PL_BYTES("\x82\x01\x02"), PL_SERIAL_CBOR, "$26\r\n{\"args\":[1,2],\"kwargs\":{}}\r\n"},
    };
    rig_init(&rig, 1);
    struct rig_peer *a = peer(), *b = peer();
    rig_ask(a, "SUBSCRIBE x\r\n");
    rig_ask(b, "PSUBSCRIBE *\r\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct pl_message draft = {.subject = PL_BYTES("x"),
            .payload = cases[i].payload,
            .format = (uint8_t)(PL_FORMAT_ARGUMENTS + cases[i].serializer)};
        char want[128];
        rig_clear(a), rig_clear(b);
        CHECK_EQ(pl_realm_publish(rig.realm, &rig.workers[0], &draft), PL_OK);
        rig_run(&rig);
        (void)snprintf(want, sizeof want, "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n%s", cases[i].bulk);
        CHECK_STR(a->got, want);
        (void)snprintf(
            want, sizeof want, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nx\r\n%s", cases[i].bulk);
        CHECK_STR(b->got, want);
    }
    rig_done(&rig);
}

/* The same bytes in pieces of every size are answered the same. */
TEST(pieces_make_no_difference)
{
    static const char script[] =
        "PING\r\n*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$3\r\n\r\n\r\r\n\r\nSUBSCRIBE a b a\r\n"
        "*2\r\n$4\r\nPING\r\n$1\r\nz\r\nUNSUBSCRIBE\r\nMULTI\r\nPUBLISH x 1\r\nECHO \"q w\"\r\n"
        "EXEC\r\nHELLO 3\r\nSELECT 1\r\nCLIENT REPLY SKIP\r\nPING\r\nRESET\r\n*1\r\n$4\r\nPING\r\n"
        "QUIT\r\n";
    char *expected = NULL;
    for (size_t size = sizeof script - 1; size; size = size > 40 ? size / 2 : size - 1) {
        rig_init(&rig, 1);
        struct rig_peer *a = peer();
        for (size_t at = 0; at < sizeof script - 1; at += size) {
            size_t left = sizeof script - 1 - at;
            rig_send(a, script + at, left < size ? left : size);
            rig_run(&rig);
        }
        if (!expected)
            expected = strdup(a->got);
        CHECK_STR(a->got, expected);
        CHECK(a->is_closed);
        rig_done(&rig);
    }
    free(expected);
}

TEST(two_reactors_serve_one_realm)
{
    rig_init(&rig, 2);
    struct rig_peer *a = rig_open(&rig, &pl_redis_protocol, 0);
    struct rig_peer *b = rig_open(&rig, &pl_redis_protocol, 1);
    rig_ask(a, "PSUBSCRIBE n*\r\n");
    rig_clear(a);
    CHECK_STR(rig_ask(b, "PUBLISH news 1\r\nPUBLISH news 2\r\n"), ":1\r\n:1\r\n");
    CHECK_STR(a->got, "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\n1\r\n"
                      "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\n2\r\n");
    CHECK_STR(rig_ask(b, "CLIENT KILL TYPE pubsub\r\n"), ":1\r\n");
    CHECK(a->is_closed);
    rig_done(&rig);
}

/* One allocation after the other fails: nobody crashes, nothing leaks, the others go on. */
TEST(memory_that_runs_out_costs_a_connection_at_most)
{
    static const char script[] =
        "HELLO 3 AUTH root pw SETNAME me\r\nSUBSCRIBE a b\r\nPSUBSCRIBE a*\r\nSSUBSCRIBE c\r\n"
        "PUBLISH a 1\r\nPING\r\nMULTI\r\nPUBLISH a 2\r\nECHO x\r\nEXEC\r\nPUBSUB CHANNELS\r\n"
        "PUBSUB NUMSUB a\r\nPUBSUB NUMPAT\r\nCLIENT LIST\r\nCLIENT INFO\r\nINFO\r\n"
        "CLIENT SETNAME x\r\nCOMMAND DOCS\r\nAUTH user pw\r\nUNSUBSCRIBE\r\nRESET\r\n"
        "AUTH user pw\r\nCLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nPING end\r\n";
    bool is_through = false;
    for (int n = 0; n < 600 && !is_through; n++) {
        begin_with_users(false);
        struct rig_peer *a = peer(), *b = peer();
        rig_ask(b, "SUBSCRIBE other\r\n");
        rig_write(a, script);
        pl_alloc_fail(n, 0);
        for (int round = 0; round < 40; round++)
            rig_run(&rig);
        pl_alloc_fail(-1, 0);
        rig_run(&rig);
        is_through = a->got_len > 30 && n > 100 && !a->is_closed &&
                     strcmp(a->got + a->got_len - 9, "$3\r\nend\r\n") == 0;
        CHECK(!b->is_closed);
        rig_done(&rig);
        if (n < 400)
            is_through = false;
    }
    CHECK(is_through);
}

/* The connection goes in the turn in which something was asked for: the answers find nobody. */
TEST(answers_that_come_after_the_client_has_gone_do_no_harm)
{
    static const char *const asked[] = {
        "PING\r\n",
        "SUBSCRIBE a b\r\nUNSUBSCRIBE a\r\nPSUBSCRIBE a*\r\nPUNSUBSCRIBE\r\nPUBLISH a 1\r\n",
        "HELLO 3 AUTH root pw\r\nSUBSCRIBE a\r\nPUBLISH a 1\r\nUNSUBSCRIBE\r\n",
        "AUTH root pw\r\nSUBSCRIBE a\r\nAUTH user pw\r\nSUBSCRIBE dev.1\r\n",
        "SUBSCRIBE a\r\nRESET\r\nAUTH root pw\r\nPUBLISH a 1\r\n",
        "MULTI\r\nPUBLISH a 1\r\nSUBSCRIBE a\r\nEXEC\r\n",
        "SUBSCRIBE a\r\nPUBLISH a 1\r\nQUIT\r\n",
    };
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        for (int turns = 0; turns < 8; turns++)
            for (int is_known = 0; is_known < 2; is_known++) {
                rig_init(&rig, 1);
                rig.identify = identify;
                struct rig_peer *p = peer(), *other = peer();
                CHECK_STR(rig_ask(other, "PING\r\n"), "+PONG\r\n");
                if (is_known)
                    CHECK_STR(rig_ask(p, "PING\r\n"), "+PONG\r\n");
                rig_write(p, asked[i]);
                for (int k = 0; k < turns; k++) {
                    (void)rig_feed(p);
                    if (k + 1 < turns)
                        (void)pl_worker_turn(&rig.workers[0]);
                }
                rig_cut(p);
                rig_finish(p);
                rig_run(&rig);
                CHECK_STR(rig_ask(other, "PUBLISH a 1\r\n"), ":0\r\n");
                rig_done(&rig);
            }
}
