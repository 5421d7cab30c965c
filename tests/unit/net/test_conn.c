/* Connections over TCP and Unix sockets, seen from a peer. */
#include "check.h"

#include <sys/resource.h>

#include "net/net_harness.h"

static void put_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

TEST(what_is_sent_comes_back)
{
    struct harness h = {0};
    char back[16];
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "hello", 5));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "hello", 5);
    CHECK(harness_send(fd, "again", 5));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "again", 5);
    close(fd);
    CHECK(harness_wait(&h.closed, 1));
    CHECK_EQ(atomic_load(&h.last_why), PL_CLOSED);
    harness_stop(&h);
}

TEST(a_unix_socket_works_alike)
{
    struct harness h = {0};
    char path[64], back[32];
    snprintf(path, sizeof path, "/tmp/parley-test-%d.sock", (int)getpid());
    harness_start(&h, 1, path, NULL);
    int fd = harness_connect_unix(path);
    CHECK(harness_send(fd, "hello", 5));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "hello", 5);
    CHECK(harness_send(fd, "W", 1));
    CHECK_BYTES(back, harness_recv(fd, back, 17), "clear stream unix", 17);
    close(fd);
    harness_stop(&h);
    CHECK(access(path, F_OK) != 0);
}

TEST(a_stale_socket_file_is_replaced_and_a_live_one_is_not)
{
    char path[64];
    struct pl_diag diag;
    struct pl_listener *second = NULL;
    snprintf(path, sizeof path, "/tmp/parley-test-%d.sock", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    CHECK(bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
    close(fd);
    struct harness h = {0};
    harness_start(&h, 1, path, NULL);
    struct pl_reactor *reactor = h.shards[0].reactor;
    CHECK_EQ(pl_listener_open(
                 &(struct pl_listener_options){
                     .unix_path = path, .reactors = &reactor, .reactor_count = 1},
                 &second, &diag),
        PL_EXISTS);
    CHECK(strstr(diag.text, path) != NULL);
    harness_stop(&h);
}

TEST(a_port_in_use_is_told)
{
    struct harness h = {0};
    struct pl_diag diag;
    struct pl_listener *second = NULL;
    harness_start(&h, 1, NULL, NULL);
    struct pl_reactor *reactor = h.shards[0].reactor;
    CHECK(pl_listener_port(h.listener) != 0);
    CHECK_STR(pl_listener_host(h.listener), "127.0.0.1");
    CHECK(pl_listener_is_loopback(h.listener));
    CHECK_EQ(pl_listener_open(&(struct pl_listener_options){.host = "127.0.0.1",
                                  .port = pl_listener_port(h.listener),
                                  .reactors = &reactor,
                                  .reactor_count = 1},
                 &second, &diag),
        PL_EXISTS);
    CHECK_EQ(diag.code, EADDRINUSE);
    harness_stop(&h);
}

TEST(ipv6_and_every_address_can_be_listened_on)
{
    struct harness h = {0};
    struct pl_diag diag = {0};
    harness_start(&h, 1, NULL, NULL);
    struct pl_reactor *reactor = h.shards[0].reactor;
    static const char *const hosts[] = {"::1", "*", "localhost", ""};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct pl_listener *l = NULL;
        CHECK_EQ(pl_listener_open(
                     &(struct pl_listener_options){
                         .host = hosts[i], .reactors = &reactor, .reactor_count = 1},
                     &l, &diag),
            PL_OK);
        if (l)
            CHECK_EQ(pl_listener_is_loopback(l), hosts[i][0] == ':' || hosts[i][0] == 'l');
        pl_listener_free(l);
    }
    harness_stop(&h);
}

TEST(a_packet_larger_than_a_read_buffer_arrives_whole)
{
    enum { LEN = 3000000 };
    struct harness h = {0};
    char back[16] = "";
    uint8_t *packet = malloc(5 + LEN);
    packet[0] = 'L';
    put_u32(packet + 1, LEN);
    for (size_t i = 0; i < LEN; i++)
        packet[5 + i] = (uint8_t)i;
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, packet, 5 + LEN));
    CHECK_BYTES(back, harness_recv(fd, back, 11), "got 3000000", 11);
    close(fd);
    harness_stop(&h);
    free(packet);
}

TEST(packets_are_whole_wherever_the_reads_cut_them)
{
    struct harness h = {0};
    static uint8_t packet[5 + 40000];
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    packet[0] = 'L';
    for (size_t i = 0; i < 40000; i++)
        packet[5 + i] = (uint8_t)i;
    for (uint32_t len = 0; len < 40000; len += 1777) {
        char back[16] = "", expected[16];
        put_u32(packet + 1, len);
        size_t cut = len * 7 % (len + 5) + 1;
        CHECK(harness_send(fd, packet, cut));
        usleep(1000);
        CHECK(harness_send(fd, packet + cut, 5 + len - cut));
        int n = snprintf(expected, sizeof expected, "got %u", len);
        CHECK_BYTES(back, harness_recv(fd, back, (size_t)n), expected, (size_t)n);
    }
    close(fd);
    harness_stop(&h);
}

TEST(a_tail_over_its_limit_ends_the_connection)
{
    struct harness h = {0};
    static char junk[1 << 20];
    memset(junk, 'N', sizeof junk);
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    for (int i = 0; i < 20; i++)
        if (!harness_send(fd, junk, sizeof junk))
            break;
    CHECK(harness_wait(&h.closed, 1));
    CHECK_EQ(atomic_load(&h.last_why), PL_TOO_LARGE);
    close(fd);
    harness_stop(&h);
}

TEST(a_slow_reader_gets_everything_and_on_drained_comes)
{
    enum { LEN = 20000000 };
    struct harness h = {0};
    uint8_t ask[5] = {'G'};
    static uint8_t back[65536];
    put_u32(ask + 1, LEN);
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, ask, 5));
    usleep(100000);
    size_t got = 0;
    bool right = true;
    while (got < LEN) {
        size_t want = LEN - got < sizeof back ? LEN - got : sizeof back;
        size_t n = harness_recv(fd, back, want);
        if (!n)
            break;
        for (size_t i = 0; i < n; i++)
            right &= back[i] == (uint8_t)(got + i);
        got += n;
    }
    CHECK_EQ(got, LEN);
    CHECK(right);
    CHECK(harness_wait(&h.drained, 1));
    close(fd);
    harness_stop(&h);
}

TEST(what_is_queued_is_written_before_a_close)
{
    enum { LEN = 5000000 };
    struct harness h = {0};
    uint8_t ask[6] = {'G', 0, 0, 0, 0, 'B'};
    static uint8_t back[LEN + 3];
    put_u32(ask + 1, LEN);
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, ask, 5));
    CHECK(harness_send(fd, ask + 5, 1));
    usleep(50000);
    CHECK_EQ(harness_recv(fd, back, sizeof back), LEN + 3);
    CHECK(memcmp(back + LEN, "bye", 3) == 0);
    CHECK(harness_ended(fd));
    close(fd);
    CHECK(harness_wait(&h.closed, 1));
    CHECK_EQ(atomic_load(&h.last_why), PL_OK);
    harness_stop(&h);
}

TEST(a_goodbye_is_not_lost_to_unread_input)
{
    struct harness h = {0};
    static char junk[300000] = "E";
    char back[8] = "";
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, junk, sizeof junk));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "error", 5);
    CHECK(harness_ended(fd));
    close(fd);
    CHECK(harness_wait(&h.closed, 1));
    CHECK_EQ(atomic_load(&h.last_why), PL_MALFORMED);
    harness_stop(&h);
}

TEST(who_ends_its_side_still_gets_its_answer)
{
    struct harness h = {0};
    char back[8] = "";
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "hello", 5));
    shutdown(fd, SHUT_WR);
    CHECK_BYTES(back, harness_recv(fd, back, 5), "hello", 5);
    CHECK(harness_ended(fd));
    close(fd);
    harness_stop(&h);
}

TEST(an_aborted_connection_is_gone_at_once)
{
    struct harness h = {0};
    char c;
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "A", 1));
    CHECK(recv(fd, &c, 1, 0) <= 0);
    close(fd);
    CHECK(harness_wait(&h.closed, 1));
    CHECK_EQ(atomic_load(&h.last_why), PL_KICKED);
    harness_stop(&h);
}

TEST(a_paused_connection_goes_on_where_it_was)
{
    struct harness h = {0};
    char back[16] = "";
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "Phello", 6));
    usleep(5000);
    CHECK(harness_send(fd, " world", 6));
    CHECK_BYTES(back, harness_recv(fd, back, 11), "hello world", 11);
    close(fd);
    harness_stop(&h);
}

TEST(who_does_not_read_its_last_bytes_is_cut_after_a_while)
{
    struct harness h = {0};
    uint8_t ask[6] = {'G', 0x04, 0, 0, 0, 'C'};
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, ask, 6));
    CHECK(harness_wait(&h.closed, 1));
    for (int i = 0; i < 8000 && pl_reactor_conn_count(h.shards[0].reactor); i++)
        usleep(1000);
    CHECK_EQ(pl_reactor_conn_count(h.shards[0].reactor), 0);
    close(fd);
    harness_stop(&h);
}

TEST(a_stop_ends_connections_that_are_still_there)
{
    struct harness h = {0};
    int fds[20];
    harness_start(&h, 2, NULL, NULL);
    for (int i = 0; i < 20; i++)
        fds[i] = harness_connect(&h);
    CHECK(harness_wait(&h.opened, 20));
    harness_stop(&h);
    CHECK_EQ(atomic_load(&h.closed), 20);
    CHECK_EQ(atomic_load(&h.last_why), PL_DRAINING);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
}

TEST(connections_are_spread_evenly)
{
    struct harness h = {0};
    int fds[20];
    harness_start(&h, 2, NULL, NULL);
    for (int i = 0; i < 20; i++)
        fds[i] = harness_connect(&h);
    CHECK(harness_wait(&h.opened, 20));
    CHECK_EQ(atomic_load(&h.shards[0].opened), 10);
    CHECK_EQ(atomic_load(&h.shards[1].opened), 10);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    harness_stop(&h);
}

TEST(a_stopped_listener_lets_nobody_in_and_the_old_go_on)
{
    struct harness h = {0};
    char back[8];
    harness_start(&h, 1, NULL, NULL);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "hello", 5));
    CHECK_EQ(harness_recv(fd, back, 5), 5);
    pl_listener_stop(h.listener);
    struct sockaddr_in addr = {.sin_family = AF_INET,
        .sin_port = htons(pl_listener_port(h.listener)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int refused = 0;
    for (int i = 0; i < 2000 && !refused; i++) {
        int other = socket(AF_INET, SOCK_STREAM, 0);
        refused = connect(other, (struct sockaddr *)&addr, sizeof addr) != 0;
        close(other);
        usleep(1000);
    }
    CHECK(refused);
    CHECK(harness_send(fd, "still", 5));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "still", 5);
    close(fd);
    harness_stop(&h);
}

TEST(a_full_gate_turns_away_and_lets_in_again)
{
    struct harness h = {0};
    char back[8];
    harness_start(&h, 1, NULL, &(struct pl_gate_limits){.connections_max = 2});
    int one = harness_connect(&h), two = harness_connect(&h);
    CHECK(harness_wait(&h.opened, 2));
    int three = harness_connect(&h);
    CHECK(recv(three, back, 1, 0) <= 0);
    struct pl_gate_counts counts = pl_gate_counts(h.gate);
    CHECK_EQ(counts.open, 2);
    CHECK_EQ(counts.refused_connections, 1);
    close(one);
    CHECK(harness_wait(&h.closed, 1));
    for (int i = 0; i < 5000 && pl_gate_counts(h.gate).open != 1; i++)
        usleep(1000);
    int four = harness_connect(&h);
    CHECK(harness_send(four, "hello", 5));
    CHECK_EQ(harness_recv(four, back, 5), 5);
    close(two);
    close(three);
    close(four);
    harness_stop(&h);
}

TEST(a_gate_limits_the_rate)
{
    struct harness h = {0};
    char c;
    int fds[10], refused = 0;
    harness_start(&h, 1, NULL, &(struct pl_gate_limits){.accepts_per_second = 5});
    for (int i = 0; i < 10; i++)
        fds[i] = harness_connect(&h);
    for (int i = 0; i < 10; i++) {
        (void)!harness_send(fds[i], "B", 1);
        refused += recv(fds[i], &c, 1, 0) <= 0;
        close(fds[i]);
    }
    CHECK(refused >= 4 && refused <= 5);
    harness_stop(&h);
}

TEST(a_process_without_descriptors_turns_away_and_recovers)
{
    struct harness h = {0};
    struct rlimit before, low;
    int fds[256], count = 0;
    char back[8];
    harness_start(&h, 1, NULL, NULL);
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = 128;
    setrlimit(RLIMIT_NOFILE, &low);
    while (count < 256 && (fds[count] = dup(0)) >= 0)
        count++;
    REQUIRE(count > 1);
    close(fds[--count]); /* for our own end */
    for (int i = 0; i < 3; i++) {
        int fd = harness_connect(&h);
        CHECK(recv(fd, back, 1, 0) <= 0);
        close(fd);
    }
    while (count)
        close(fds[--count]);
    int fd = harness_connect(&h);
    CHECK(harness_send(fd, "hello", 5));
    CHECK_BYTES(back, harness_recv(fd, back, 5), "hello", 5);
    close(fd);
    setrlimit(RLIMIT_NOFILE, &before);
    harness_stop(&h);
}

TEST(a_failed_allocation_costs_one_connection_at_most)
{
    enum { LEN = 400000 };
    struct harness h = {0};
    static uint8_t packet[2 + 5 + LEN];
    harness_start(&h, 1, NULL, NULL);
    packet[0] = 'F';
    packet[2] = 'L';
    put_u32(packet + 3, LEN);
    for (size_t i = 0; i < LEN; i++)
        packet[7 + i] = (uint8_t)i;
    unsigned served = 0, cut = 0;
    for (uint8_t n = 0; n < 24; n++) {
        char back[16] = "";
        packet[1] = n;
        int fd = harness_connect(&h);
        (void)!harness_send(fd, packet, sizeof packet);
        size_t got = harness_recv(fd, back, 12);
        bool is_served = got == 12 && memcmp(back, "okgot 400000", 12) == 0;
        served += is_served;
        cut += !is_served;
        close(fd);
    }
    CHECK(served > 0 && cut > 0);
    CHECK_EQ(served + cut, 24);
    harness_stop(&h);
}
