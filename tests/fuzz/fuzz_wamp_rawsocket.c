/*
 * Three WAMP clients over RawSocket in any serializer, on two reactors over the real core.
 *
 * The first byte says how they are configured; then come steps: a byte whose high nibble says what
 * and whose low one says who, and what it needs.
 */
#include "wamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SMALL = 1, STRICT = 2, PEERS = 3 };

enum step {
    BYTES,     /* a count, as many bytes */
    MESSAGE,   /* a count, a message of as many bytes */
    HANDSHAKE, /* its second byte */
    HELLO,
    RUN,
    PASS,
    VANISH,
    STICK, /* stops reading, or goes on */
    STEPS
};

static void send_message(struct rig_peer *p, struct pl_bytes message)
{
    const uint8_t head[] = {
        0, (uint8_t)(message.len >> 16), (uint8_t)(message.len >> 8), (uint8_t)message.len};
    rig_send(p, head, sizeof head);
    rig_send(p, message.data, message.len);
}

static void put_role(
    struct pl_value_writer *v, const char *role, const char *const *features, size_t count)
{
    pl_put_key(v, role);
    pl_put_dict(v);
    pl_put_key(v, "features");
    pl_put_dict(v);
    for (size_t i = 0; i < count; i++) {
        pl_put_key(v, features[i]);
        pl_put_bool(v, true);
    }
    pl_put_end(v);
    pl_put_end(v);
}

static void say_hello(struct rig_peer *p, enum pl_serializer serializer)
{
    static const char *const callee[] = {"caller_identification", "call_canceling", "call_timeout",
        "progressive_call_results", "progressive_call_invocations", "registration_revocation"};
    static const char *const subscriber[] = {"publisher_identification", "subscription_revocation"};
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_wamp_begin(&w, serializer, PL_WAMP_HELLO);
    struct pl_shared *hello = NULL;
    pl_put_text(&v, "r");
    pl_put_dict(&v);
    pl_put_key(&v, "roles");
    pl_put_dict(&v);
    put_role(&v, "callee", callee, sizeof callee / sizeof *callee);
    put_role(&v, "subscriber", subscriber, sizeof subscriber / sizeof *subscriber);
    put_role(&v, "publisher", NULL, 0);
    put_role(&v, "caller", NULL, 0);
    pl_put_end(&v);
    pl_put_end(&v);
    pl_wamp_end(&v, serializer, PL_NO_BYTES);
    rig_require(!pl_writer_take(&w, &hello), "no memory");
    send_message(p, pl_bytes_of(hello->data, hello->len));
    pl_shared_unref(hello);
}

/* Its handshake, then frames. */
static void check_heard(const struct rig_peer *p)
{
    struct pl_bytes rest = pl_bytes_of(p->got, p->got_len);
    bool is_over = false;
    if (!rest.len)
        return;
    rig_require(rest.len >= 4 && rest.data[0] == 0x7F && !rest.data[2] && !rest.data[3],
        "answered with no handshake");
    uint8_t serializer = rest.data[1] & 0x0F;
    rest = pl_bytes_from(rest, 4);
    rig_require(serializer ? serializer <= PL_SERIAL_COUNT : !rest.len, "went on after a refusal");
    while (rest.len) {
        rig_require(rest.len >= 4, "said half a head");
        size_t len = (size_t)rest.data[1] << 16 | (size_t)rest.data[2] << 8 | rest.data[3];
        rig_require(rest.data[0] <= 2 && len <= rest.len - 4, "said half a frame");
        if (!rest.data[0])
            check_said(
                (enum pl_serializer)(serializer - 1), pl_bytes_of(rest.data + 4, len), &is_over);
        rest = pl_bytes_from(rest, 4 + len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig;
    if (!size)
        return 0;
    uint8_t mode = data[0];
    struct pl_wamp_options options = pl_wamp_options_default;
    options.strict_uri = options.strict_features = mode & STRICT;
    begin(&rig, 2, &options);
    rig.config.ping_interval_ms = 20000;
    if (mode & SMALL) {
        rig.out_max = 512;
        rig.config.packet_max = 1024;
    }
    struct rig_peer *peers[PEERS];
    uint8_t serializers[PEERS] = {0};
    for (uint32_t i = 0; i < PEERS; i++)
        peers[i] = rig_open(&rig, &pl_wamp_protocol, i % 2);
    for (size_t i = 1; i < size; i++) {
        uint32_t who = (data[i] & 15u) % PEERS;
        enum step step = (enum step)((data[i] >> 4) % STEPS);
        size_t left = size - i - 1, n = left ? data[i + 1] : 0;
        switch (step) {
        case BYTES:
        case MESSAGE:
            if (!left)
                break;
            n = n < left ? n : left - 1;
            if (step == BYTES)
                rig_send(peers[who], data + i + 2, n);
            else
                send_message(peers[who], pl_bytes_of(data + i + 2, n));
            i += n + 1;
            break;
        case HANDSHAKE: {
            const uint8_t shake[] = {0x7F, (uint8_t)n, 0, 0};
            rig_send(peers[who], shake, sizeof shake);
            uint8_t serializer = (uint8_t)n & 0x0F;
            serializers[who] =
                (uint8_t)(serializer && serializer <= PL_SERIAL_COUNT ? serializer - 1 : 0);
            i++;
            break;
        }
        case HELLO:
            say_hello(peers[who], (enum pl_serializer)serializers[who]);
            break;
        case RUN:
            rig_run(&rig);
            break;
        case PASS:
            rig_pass(&rig, 4000);
            break;
        case VANISH:
            peers[who]->is_stuck = false;
            peers[who] = replace(&rig, peers[who], &pl_wamp_protocol, who % 2);
            break;
        case STICK:
            peers[who]->is_stuck = !peers[who]->is_stuck;
            break;
        case STEPS:
            break;
        }
    }
    rig_run(&rig);
    for (uint32_t i = 0; i < PEERS; i++)
        peers[i]->is_stuck = false;
    rig_run(&rig);
    for (uint32_t i = 0; i < rig.peer_count; i++)
        check_heard(&rig.peers[i]);
    end(&rig);
    return 0;
}
