#include "check.h"

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
