/* A NATS client by hand: what nats-server 2.9 answers to the same lines. */
#include "peer.h"

#include "check.h"
#include "protocols/nats/nats.h"

#define QUIET "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n"

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
    CHECK_STR(peer_heard(p),
        "PONG\r\n+OK\r\n+OK\r\nMSG foo 1 2\r\nhi\r\n+OK\r\n+OK\r\nPONG\r\n");
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
