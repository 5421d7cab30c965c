/*
 * Three WAMP clients in JSON on two reactors over the real core, with the meta session.
 *
 * The first byte says how they are configured. In the rest each line is a message; 0x1D, 0x1E and
 * 0x1F say whose bytes follow, 0x1C lets everything run, 0x1B lets that connection vanish and
 * brings a new one, 0x1A lets time pass. 0x19 stands for a HELLO with everything on; with 0x18 a
 * client stops reading, or goes on.
 */
#include "wamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STRICT = 1, BATCHED = 2, SMALL = 4, TWO_WORKERS = 8, STRICT_IDS = 16 };

static const char hello[] =
    "[1,\"r\",{\"roles\":{\"publisher\":{},\"subscriber\":{\"features\":{"
    "\"publisher_identification\":true,\"subscription_revocation\":true}},\"caller\":{},"
    "\"callee\":{\"features\":{\"caller_identification\":true,\"call_canceling\":true,"
    "\"call_timeout\":true,\"progressive_call_results\":true,"
    "\"progressive_call_invocations\":true,\"registration_revocation\":true}}}}]";

static void check_heard(const struct rig_peer *p, bool is_batched)
{
    struct pl_bytes rest = pl_bytes_of(p->got, p->got_len);
    bool is_over = false;
    while (rest.len) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        rig_require(end != NULL, "said half a line");
        struct pl_bytes line = pl_bytes_of(rest.data, (size_t)(end - rest.data));
        rest = pl_bytes_from(rest, line.len + 1);
        /* A ping stands between the messages. */
        while (line.len >= 2 && line.data[0] == 0x89)
            line = pl_bytes_from(line, 2);
        if (is_batched) {
            rig_require(line.len && line.data[line.len - 1] == 0x1E, "a record has no end");
            line.len--;
        }
        check_said(PL_SERIAL_JSON, line, &is_over);
    }
}

static void say(struct rig_peer *p, const char *text, bool is_batched)
{
    rig_write(p, text);
    rig_write(p, is_batched ? "\x1E\n" : "\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig;
    if (!size)
        return 0;
    uint8_t mode = data[0];
    uint32_t workers = mode & TWO_WORKERS ? 2 : 1;
    struct pl_wamp_options options = pl_wamp_options_default;
    options.strict_uri = options.strict_features = mode & STRICT;
    options.strict_ids = mode & STRICT_IDS;
    begin(&rig, workers, &options);
    rig.framing = PL_FRAMING_MESSAGES;
    rig.subprotocol = mode & BATCHED ? "wamp.2.json.batched" : "wamp.2.json";
    rig.config.ping_interval_ms = 20000;
    if (mode & SMALL)
        rig.out_max = 512;
    struct rig_peer *peers[3];
    for (uint32_t i = 0; i < 3; i++)
        peers[i] = rig_open(&rig, &pl_wamp_protocol, i % workers);
    uint32_t at = 0;
    for (size_t i = 1; i < size; i++) {
        switch (data[i]) {
        case 0x18:
            peers[at]->is_stuck = !peers[at]->is_stuck;
            break;
        case 0x19:
            say(peers[at], hello, mode & BATCHED);
            break;
        case 0x1A:
            rig_pass(&rig, 4000);
            break;
        case 0x1B:
            peers[at]->is_stuck = false;
            peers[at] = replace(&rig, peers[at], &pl_wamp_protocol, at % workers);
            break;
        case 0x1C:
            rig_run(&rig);
            break;
        case 0x1D:
        case 0x1E:
        case 0x1F:
            if (mode & BATCHED && data[i] == 0x1E)
                rig_send(peers[at], &data[i], 1);
            else
                at = data[i] - 0x1Du;
            break;
        default:
            rig_send(peers[at], &data[i], 1);
            break;
        }
    }
    rig_run(&rig);
    for (uint32_t i = 0; i < 3; i++)
        peers[i]->is_stuck = false;
    rig_run(&rig);
    for (uint32_t i = 0; i < rig.peer_count; i++)
        check_heard(&rig.peers[i], mode & BATCHED);
    end(&rig);
    return 0;
}
