/*
 * Three NATS connections on two reactors over the real core.
 *
 * The first byte says how they are configured. In the rest, 0x1D, 0x1E and 0x1F say whose bytes
 * follow, 0x1C lets everything run, 0x1B lets that connection vanish and brings a new one, 0x1A
 * lets time pass. 0x19 stands for a CONNECT with everything on; with 0x18 a connection vanishes
 * when what it said has been taken, and nothing of it has run.
 */
#include "sessions.h"

#include "codec/nats.h"
#include "protocols/nats/nats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LOGIN = 1, STUCK = 2, SMALL = 4, TWO_WORKERS = 8, REPLAY = 16 };

/* What a server may send: lines, and behind some of them a payload. Nothing else, whoever says
 * what. */
static void check_heard(const struct rig_peer *p)
{
    struct pl_bytes rest = pl_bytes_of(p->got, p->got_len);
    while (rest.len) {
        struct pl_nats_line line;
        size_t used, more = 0;
        struct pl_bytes payload;
        enum pl_err err = pl_nats_read_line(rest, 1 << 20, &line, &used);
        rig_require(err == PL_OK, "said what is no line");
        bool is_message = line.verb == PL_NATS_MSG || line.verb == PL_NATS_HMSG;
        rig_require(is_message || line.verb >= PL_NATS_PING, "said what a client says");
        if (is_message)
            rig_require(pl_nats_read_payload(
                            pl_bytes_from(rest, used), line.size, &payload, &more) == PL_OK,
                "said half a message");
        rest = pl_bytes_from(rest, used + more);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char connect[] = "CONNECT {\"verbose\":false,\"headers\":true,"
                                  "\"no_responders\":true,\"protocol\":1,\"user\":\"r\"}\r\n";
    static struct rig rig;
    if (!size)
        return 0;
    uint8_t mode = data[0];
    uint32_t workers = mode & TWO_WORKERS ? 2 : 1;
    rig_init(&rig, workers);
    rig.identify = identify;
    rig.config.requires_login = mode & LOGIN;
    rig.config.ping_interval_ms = 3000;
    rig.config.replay = mode & REPLAY ? PL_REPLAY_RETAINED : PL_REPLAY_NONE;
    if (mode & SMALL) {
        rig.out_max = 512;
        rig.config.line_max = 32;
    }
    struct rig_peer *peers[3];
    for (uint32_t i = 0; i < 3; i++)
        peers[i] = rig_open(&rig, &pl_nats_protocol, i % workers);
    peers[2]->is_stuck = mode & STUCK;
    uint32_t at = 0;
    for (size_t i = 1; i < size; i++) {
        switch (data[i]) {
        case 0x18:
            if (rig.peer_count == RIG_PEERS)
                break;
            while (rig_feed(peers[at]))
                continue;
            rig_cut(peers[at]);
            rig_finish(peers[at]);
            peers[at] = rig_open(&rig, &pl_nats_protocol, at % workers);
            break;
        case 0x19:
            rig_write(peers[at], connect);
            break;
        case 0x1A:
            rig_pass(&rig, 4000);
            break;
        case 0x1B:
            peers[at] = replace(&rig, peers[at], &pl_nats_protocol, at % workers);
            break;
        case 0x1C:
            rig_run(&rig);
            break;
        case 0x1D:
        case 0x1E:
        case 0x1F:
            at = data[i] - 0x1Du;
            break;
        default:
            rig_send(peers[at], &data[i], 1);
            break;
        }
    }
    rig_run(&rig);
    for (uint32_t i = 0; i < rig.peer_count; i++)
        check_heard(&rig.peers[i]);
    rig_done(&rig);
    return 0;
}
