/*
 * A name is told in the words of every protocol, holds there nothing that the protocol cannot
 * carry, and comes back as it was: by the protocols' own functions, and over their wires.
 */
#include "check.h"

#include "core/escape_rules.h"
#include "core/random_names.h"
#include "protocols/mqtt/mqtt.h"
#include "protocols/mqtt/mqtt_translate.h"
#include "protocols/nats/nats.h"
#include "protocols/nats/nats_session.h"
#include "protocols/redis/redis.h"
#include "protocols/rig.h"

enum { MQTT, NATS, REDIS, PROTOCOLS, NAME_MAX_BYTES = 96 };

static enum pl_err decode(
    int protocol, struct pl_arena *arena, struct pl_bytes text, struct pl_bytes *out)
{
    switch (protocol) {
    case MQTT:
        return pl_mqtt_topic_decode(arena, text, out);
    case NATS:
        return nats_name_decode(arena, text, out);
    default:
        *out = text;
        return PL_OK;
    }
}

static enum pl_err encode(
    int protocol, struct pl_arena *arena, struct pl_bytes name, struct pl_bytes *out)
{
    switch (protocol) {
    case MQTT:
        return pl_mqtt_topic_encode(arena, name, out);
    case NATS:
        return pl_subject_encode(&nats_rules, arena, name, out);
    default:
        *out = name;
        return PL_OK;
    }
}

/* By what stands in DESIGN, not by the protocols' own tables. */
static bool may_carry(int protocol, struct pl_bytes text)
{
    return protocol == MQTT   ? can_carry(&mqtt, text)
           : protocol == NATS ? can_carry(&nats, text)
                              : true;
}

static void check_name(struct pl_arena *arena, struct pl_bytes name)
{
    for (int p = 0; p < PROTOCOLS; p++) {
        struct pl_bytes text, back;
        if (!CHECK_EQ(encode(p, arena, name, &text), PL_OK) || !CHECK(may_carry(p, text)) ||
            !CHECK_EQ(decode(p, arena, text, &back), PL_OK))
            continue;
        CHECK_BYTES(back.data, back.len, name.data, name.len);
    }
}

/* What a client of `from` says is told in `to` and comes back to it. */
static void check_way(struct pl_arena *arena, int from, int to, struct pl_bytes text)
{
    struct pl_bytes name, told, name_back, back;
    if (decode(from, arena, text, &name))
        return;
    if (!CHECK_EQ(encode(to, arena, name, &told), PL_OK) ||
        !CHECK_EQ(decode(to, arena, told, &name_back), PL_OK) ||
        !CHECK_EQ(encode(from, arena, name_back, &back), PL_OK))
        return;
    CHECK(may_carry(to, told));
    CHECK_BYTES(back.data, back.len, text.data, text.len);
}

TEST(a_million_random_names_come_back_from_every_protocol)
{
    struct pl_random random = pl_random_seeded(1);
    struct pl_arena arena = {0};
    uint8_t memory[NAME_MAX_BYTES];
    for (int i = 0; i < ROUNDS(1000000, 50000); i++) {
        check_name(&arena, random_name(&random, memory, sizeof memory));
        pl_arena_reset(&arena);
    }
    pl_arena_done(&arena);
}

TEST(a_million_random_texts_come_back_by_every_way)
{
    struct pl_random random = pl_random_seeded(2);
    struct pl_arena arena = {0};
    uint8_t memory[NAME_MAX_BYTES];
    for (int i = 0; i < ROUNDS(1000000, 50000); i++) {
        struct pl_bytes text = random_name(&random, memory, sizeof memory);
        for (int from = 0; from < PROTOCOLS; from++)
            for (int to = 0; to < PROTOCOLS; to++)
                check_way(&arena, from, to, text);
        pl_arena_reset(&arena);
    }
    pl_arena_done(&arena);
}

/* Over the wires: three publishers and three subscribers to everything. */

struct wires {
    struct rig rig;
    struct rig_peer *publishers[PROTOCOLS], *subscribers[PROTOCOLS];
    size_t at[PROTOCOLS]; /* what was read of what each subscriber has got */
};

static struct wires wires;

static void open_wires(void)
{
    static const struct pl_protocol *const protocols[] = {
        &pl_mqtt_protocol, &pl_nats_protocol, &pl_redis_protocol};
    static const char mqtt_connect[] = "\x10\x0C\0\4MQTT\4\2\0\0\0\0";
    static const char mqtt_subscribe[] = "\x82\x06\0\1\0\1#\0";
    rig_init(&wires.rig, 1);
    wires.rig.out_max = 1 << 26;
    for (int p = 0; p < PROTOCOLS; p++) {
        wires.publishers[p] = rig_open(&wires.rig, protocols[p], 0);
        wires.subscribers[p] = rig_open(&wires.rig, protocols[p], 0);
    }
    rig_send(wires.publishers[MQTT], mqtt_connect, sizeof mqtt_connect - 1);
    rig_send(wires.subscribers[MQTT], mqtt_connect, sizeof mqtt_connect - 1);
    rig_send(wires.subscribers[MQTT], mqtt_subscribe, sizeof mqtt_subscribe - 1);
    rig_write(wires.publishers[NATS], "CONNECT {\"verbose\":false}\r\n");
    rig_write(wires.subscribers[NATS], "CONNECT {\"verbose\":false}\r\nSUB > 1\r\n");
    rig_write(wires.subscribers[REDIS], "PSUBSCRIBE *\r\n");
    rig_run(&wires.rig);
}

static void forget(void)
{
    for (int p = 0; p < PROTOCOLS; p++) {
        rig_clear(wires.publishers[p]);
        rig_clear(wires.subscribers[p]);
        wires.at[p] = 0;
    }
}

static void publish(int protocol, struct pl_bytes text)
{
    struct rig_peer *peer = wires.publishers[protocol];
    char head[64];
    int n = 0;
    switch (protocol) {
    case MQTT: {
        size_t rest = 2 + text.len + 1;
        head[n++] = 0x30;
        if (rest > 127) {
            head[n++] = (char)(rest % 128 | 128);
            rest /= 128;
        }
        head[n++] = (char)rest;
        head[n++] = (char)(text.len >> 8);
        head[n++] = (char)text.len;
        break;
    }
    case NATS:
        n = snprintf(head, sizeof head, "PUB ");
        break;
    default:
        n = snprintf(head, sizeof head, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n", text.len);
        break;
    }
    rig_send(peer, head, (size_t)n);
    rig_send(peer, text.data, text.len);
    rig_write(peer, protocol == MQTT ? "x" : protocol == NATS ? " 1\r\nx\r\n" : "\r\n$1\r\nx\r\n");
}

/* Takes literal text; false: it does not stand there. */
static bool take(struct pl_bytes *in, const char *text)
{
    size_t len = strlen(text);
    if (in->len < len || memcmp(in->data, text, len) != 0)
        return false;
    *in = pl_bytes_from(*in, len);
    return true;
}

static bool take_number(struct pl_bytes *in, size_t *out)
{
    size_t v = 0, i = 0;
    for (; i < in->len && in->data[i] >= '0' && in->data[i] <= '9'; i++)
        v = v * 10 + (size_t)(in->data[i] - '0');
    *in = pl_bytes_from(*in, i);
    *out = v;
    return i > 0;
}

static bool take_text(struct pl_bytes *in, size_t len, struct pl_bytes *out)
{
    if (in->len < len)
        return false;
    *out = pl_bytes_of(in->data, len);
    *in = pl_bytes_from(*in, len);
    return true;
}

static bool take_mqtt(struct pl_bytes *in, struct pl_bytes *out)
{
    if (in->len < 4 || in->data[0] != 0x30)
        return false;
    size_t rest = in->data[1] & 127, head = 2;
    if (in->data[1] & 128)
        rest += (size_t)in->data[head++] * 128;
    *in = pl_bytes_from(*in, head);
    size_t len = (size_t)in->data[0] << 8 | in->data[1];
    *in = pl_bytes_from(*in, 2);
    return rest == len + 3 && take_text(in, len, out) && take(in, "x");
}

static bool take_nats(struct pl_bytes *in, struct pl_bytes *out)
{
    if (!take(in, "MSG "))
        return false;
    const uint8_t *space = memchr(in->data, ' ', in->len);
    return space && take_text(in, (size_t)(space - in->data), out) && take(in, " 1 1\r\nx\r\n");
}

static bool take_redis(struct pl_bytes *in, struct pl_bytes *out)
{
    size_t len = 0;
    return take(in, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$") && take_number(in, &len) &&
           take(in, "\r\n") && take_text(in, len, out) && take(in, "\r\n$1\r\nx\r\n");
}

/* The next message's name as this subscriber was told it, as it stood on its wire. */
static bool next_told(int protocol, struct pl_bytes *out)
{
    struct rig_peer *p = wires.subscribers[protocol];
    struct pl_bytes in = pl_bytes_of(p->got + wires.at[protocol], p->got_len - wires.at[protocol]);
    bool ok = protocol == MQTT   ? take_mqtt(&in, out)
              : protocol == NATS ? take_nats(&in, out)
                                 : take_redis(&in, out);
    wires.at[protocol] = p->got_len - in.len;
    return ok;
}

/* `$…` is not for MQTT's #, the empty name not for Redis' * (as in redis-server), `_INBOX.` for no
 * wildcard, and some are the server's alone. */
static bool is_for_everybody(struct pl_bytes name)
{
    return name.len && name.data[0] != '$' && !pl_subject_is_reserved(name) &&
           !pl_subject_begins(name, PL_BYTES("_INBOX"));
}

enum { BATCH = 64 };

struct told {
    uint8_t bytes[PROTOCOLS][BATCH][3 * NAME_MAX_BYTES + 16];
    size_t len[PROTOCOLS][BATCH];
};

static struct told told;

/* What all subscribers are told of `count` names, kept (is_first), or compared with what was. */
static bool check_told(int count, bool is_first)
{
    for (int p = 0; p < PROTOCOLS; p++) {
        for (int i = 0; i < count; i++) {
            struct pl_bytes text;
            if (!CHECK(next_told(p, &text)) || !CHECK(may_carry(p, text))) {
                printf("    protocol %d, name %d of %d, at %zu of %zu\n", p, i, count, wires.at[p],
                    wires.subscribers[p]->got_len);
                return false;
            }
            if (is_first) {
                if (!CHECK(text.len <= sizeof told.bytes[p][i]))
                    return false;
                memcpy(told.bytes[p][i], text.data, text.len);
                told.len[p][i] = text.len;
            } else if (!CHECK_BYTES(text.data, text.len, told.bytes[p][i], told.len[p][i])) {
                return false;
            }
        }
        if (!CHECK_EQ(wires.at[p], wires.subscribers[p]->got_len))
            return false;
    }
    forget();
    return true;
}

/* Each name is first published by one protocol, then by each with what its subscriber was told. */
TEST(names_come_back_over_the_wires_of_every_protocol)
{
    struct pl_random random = pl_random_seeded(3);
    struct pl_arena arena = {0};
    open_wires();
    forget();
    for (int round = 0; round < ROUNDS(4000, 30); round++) {
        int first = round % PROTOCOLS;
        for (int i = 0; i < BATCH;) {
            uint8_t memory[NAME_MAX_BYTES];
            struct pl_bytes text, name = random_name(&random, memory, sizeof memory);
            if (!is_for_everybody(name))
                continue;
            REQUIRE(encode(first, &arena, name, &text) == PL_OK);
            publish(first, text);
            i++;
        }
        rig_run(&wires.rig);
        REQUIRE(check_told(BATCH, true));
        for (int p = 0; p < PROTOCOLS; p++) {
            for (int i = 0; i < BATCH; i++)
                publish(p, pl_bytes_of(told.bytes[p][i], told.len[p][i]));
            rig_run(&wires.rig);
            REQUIRE(check_told(BATCH, false));
        }
        pl_arena_reset(&arena);
    }
    pl_arena_done(&arena);
    rig_done(&wires.rig);
}

/* MQTT's own text with a level "*" is a name with a star in it, to itself and to everybody. */
TEST(a_star_in_mqtt_is_no_wildcard)
{
    static const char connect[] = "\x10\x0C\0\4MQTT\4\2\0\0\0\0";
    static const char subscribe[] = "\x82\x08\0\1\0\3a/*\0";
    static const char to_star[] = "\x30\x06\0\3a/*x";
    open_wires();
    struct rig_peer *star = rig_open(&wires.rig, &pl_mqtt_protocol, 0);
    rig_send(star, connect, sizeof connect - 1);
    rig_send(star, subscribe, sizeof subscribe - 1);
    rig_run(&wires.rig);
    rig_clear(star);
    forget();
    publish(MQTT, PL_BYTES("a/b"));
    publish(NATS, PL_BYTES("a.b"));
    publish(REDIS, PL_BYTES("a.b"));
    rig_run(&wires.rig);
    CHECK_EQ(star->got_len, 0);
    forget();
    publish(MQTT, PL_BYTES("a/*"));
    publish(NATS, PL_BYTES("a.%2A"));
    publish(REDIS, PL_BYTES("a.*"));
    rig_run(&wires.rig);
    CHECK_EQ(star->got_len, 3 * (sizeof to_star - 1));
    static const struct pl_bytes expected[PROTOCOLS] = {
        {(const uint8_t *)"a/*", 3}, {(const uint8_t *)"a.%2A", 5}, {(const uint8_t *)"a.*", 3}};
    for (int i = 0; i < 3; i++) {
        CHECK_BYTES(star->got + (sizeof to_star - 1) * (size_t)i, sizeof to_star - 1, to_star,
            sizeof to_star - 1);
        for (int p = 0; p < PROTOCOLS; p++) {
            struct pl_bytes text;
            REQUIRE(next_told(p, &text));
            CHECK_BYTES(text.data, text.len, expected[p].data, expected[p].len);
        }
    }
    rig_done(&wires.rig);
}
