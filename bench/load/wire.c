#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_add(struct buffer *b, const void *bytes, size_t len)
{
    if (b->at == b->len)
        b->at = b->len = 0;
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
        if (!b->data) {
            perror("load");
            exit(1);
        }
    }
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

void buffer_text(struct buffer *b, const char *text)
{
    buffer_add(b, text, strlen(text));
}

/* ---- NATS ---- */

static void nats_hello(struct wire_peer *p, struct buffer *out)
{
    (void)p;
    buffer_text(out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
                     "\"no_responders\":true}\r\nPING\r\n");
}

static void nats_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    char line[512];
    (void)p;
    (void)snprintf(line, sizeof line, "SUB %s %s%s%u\r\nPING\r\n", subject, queue ? queue : "",
        queue ? " " : "", id);
    buffer_text(out, line);
}

static void nats_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    char line[512];
    (void)p;
    int n = snprintf(line, sizeof line, "PUB %s %zu\r\n", subject, len);
    buffer_add(out, line, (size_t)n);
    buffer_add(out, payload, len);
    buffer_add(out, "\r\n", 2);
}

static void nats_sync(struct buffer *out)
{
    buffer_text(out, "PING\r\n");
}

static enum found nats_next(struct wire_peer *p, const uint8_t *bytes, size_t len, size_t *used,
    struct message *message, struct buffer *out)
{
    const uint8_t *end = memchr(bytes, '\n', len);
    if (!end)
        return FOUND_NOTHING;
    *used = (size_t)(end - bytes) + 1;
    if (*used > 4 && !memcmp(bytes, "MSG ", 4)) {
        const uint8_t *at = end - 2;
        size_t size = 0, digit = 1;
        for (; at > bytes && *at != ' '; at--, digit *= 10)
            size += (size_t)(*at - '0') * digit;
        if (len < *used + size + 2)
            return FOUND_NOTHING;
        message->payload = end + 1;
        message->len = size;
        *used += size + 2;
        return FOUND_MESSAGE;
    }
    if (*used >= 4 && !memcmp(bytes, "PING", 4)) {
        buffer_text(out, "PONG\r\n");
    } else if (*used >= 4 && !memcmp(bytes, "PONG", 4)) {
        p->acks += p->is_ready;
        p->is_ready = true;
    } else if (bytes[0] == '-') {
        return FOUND_ERROR;
    }
    return FOUND_OTHER;
}

const struct wire wire_nats = {.name = "nats",
    .hello = nats_hello,
    .subscribe = nats_subscribe,
    .publish = nats_publish,
    .sync = nats_sync,
    .next = nats_next};

/* ---- MQTT 3.1.1 ---- */

static void mqtt_head(struct buffer *out, uint8_t first, size_t len)
{
    uint8_t head[5] = {first};
    size_t n = 1;
    do {
        head[n] = (uint8_t)(len & 127);
        len >>= 7;
        head[n] |= len ? 128 : 0;
        n++;
    } while (len);
    buffer_add(out, head, n);
}

static void mqtt_text(struct buffer *out, const char *text)
{
    size_t len = strlen(text);
    uint8_t size[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    buffer_add(out, size, 2);
    buffer_add(out, text, len);
}

static void mqtt_hello(struct wire_peer *p, struct buffer *out)
{
    char id[32];
    (void)snprintf(id, sizeof id, "load-%u", p->number);
    size_t shown = p->token ? 2 + strlen("JWT") + 2 + strlen(p->token) : 0;
    uint8_t flags = (uint8_t)((p->keeps_session ? 0 : 2) | (p->token ? 0xC0 : 0));
    mqtt_head(out, 0x10, 12 + strlen(id) + shown);
    buffer_add(out, "\0\4MQTT\4", 7);
    buffer_add(out, &flags, 1);
    buffer_add(out, "\0\0", 2);
    mqtt_text(out, id);
    if (p->token) {
        mqtt_text(out, "JWT");
        mqtt_text(out, p->token);
    }
}

static void mqtt_topic(char *topic, const char *subject)
{
    for (; *subject; subject++, topic++)
        *topic = *subject == '.' ? '/' : *subject == '*' ? '+' : *subject == '>' ? '#' : *subject;
    *topic = 0;
}

static void mqtt_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    char topic[512], filter[600];
    (void)id;
    mqtt_topic(topic, subject);
    (void)snprintf(filter, sizeof filter, "%s%s%s%s", queue ? "$share/" : "", queue ? queue : "",
        queue ? "/" : "", topic);
    mqtt_head(out, 0x82, 2 + 2 + strlen(filter) + 1);
    p->packet_id++;
    uint8_t packet[2] = {(uint8_t)(p->packet_id >> 8), (uint8_t)p->packet_id};
    buffer_add(out, packet, 2);
    mqtt_text(out, filter);
    uint8_t qos = (uint8_t)p->qos;
    buffer_add(out, &qos, 1);
}

static void mqtt_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    char topic[512];
    mqtt_topic(topic, subject);
    mqtt_head(out, (uint8_t)(0x30 | p->qos << 1), 2 + strlen(topic) + (p->qos ? 2 : 0) + len);
    mqtt_text(out, topic);
    if (p->qos) {
        p->packet_id = p->packet_id == UINT16_MAX ? 1 : p->packet_id + 1;
        uint8_t packet[2] = {(uint8_t)(p->packet_id >> 8), (uint8_t)p->packet_id};
        buffer_add(out, packet, 2);
    }
    buffer_add(out, payload, len);
}

static void mqtt_sync(struct buffer *out)
{
    buffer_add(out, "\xC0\0", 2);
}

static enum found mqtt_next(struct wire_peer *p, const uint8_t *bytes, size_t len, size_t *used,
    struct message *message, struct buffer *out)
{
    size_t size = 0, head = 1;
    for (unsigned shift = 0;; shift += 7) {
        if (head >= len)
            return FOUND_NOTHING;
        size |= (size_t)(bytes[head] & 127) << shift;
        if (!(bytes[head++] & 128))
            break;
    }
    if (len < head + size)
        return FOUND_NOTHING;
    *used = head + size;
    const uint8_t *body = bytes + head;
    switch (bytes[0] >> 4) {
    case 2: /* CONNACK */
        if (body[1])
            return FOUND_ERROR;
        p->is_ready = true;
        return FOUND_OTHER;
    case 3: { /* PUBLISH */
        size_t skip = 2 + ((size_t)body[0] << 8 | body[1]);
        if (bytes[0] & 6) {
            uint8_t ack[4] = {0x40, 2, body[skip], body[skip + 1]};
            buffer_add(out, ack, 4);
            skip += 2;
        }
        message->payload = body + skip;
        message->len = size - skip;
        return FOUND_MESSAGE;
    }
    case 4:  /* PUBACK */
    case 9:  /* SUBACK */
    case 13: /* PINGRESP */
        p->acks++;
        return FOUND_OTHER;
    default:
        return FOUND_OTHER;
    }
}

const struct wire wire_mqtt = {.name = "mqtt",
    .subprotocol = "mqtt",
    .hello = mqtt_hello,
    .subscribe = mqtt_subscribe,
    .publish = mqtt_publish,
    .sync = mqtt_sync,
    .next = mqtt_next};

/* ---- Redis ---- */

static void redis_bulk(struct buffer *out, const void *bytes, size_t len)
{
    char head[32];
    int n = snprintf(head, sizeof head, "$%zu\r\n", len);
    buffer_add(out, head, (size_t)n);
    buffer_add(out, bytes, len);
    buffer_add(out, "\r\n", 2);
}

static void redis_hello(struct wire_peer *p, struct buffer *out)
{
    (void)p;
    buffer_text(out, "*1\r\n$4\r\nPING\r\n");
}

static void redis_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    bool is_pattern = strpbrk(subject, "*>") != NULL;
    char glob[512];
    (void)p;
    (void)queue;
    (void)id;
    (void)snprintf(glob, sizeof glob, "%s", subject);
    for (char *at = glob; *at; at++)
        if (*at == '>')
            *at = '*';
    buffer_text(out, is_pattern ? "*2\r\n$10\r\nPSUBSCRIBE\r\n" : "*2\r\n$9\r\nSUBSCRIBE\r\n");
    redis_bulk(out, glob, strlen(glob));
}

static void redis_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    (void)p;
    buffer_text(out, "*3\r\n$7\r\nPUBLISH\r\n");
    redis_bulk(out, subject, strlen(subject));
    redis_bulk(out, payload, len);
}

static void redis_sync(struct buffer *out)
{
    buffer_text(out, "*1\r\n$4\r\nPING\r\n");
}

/* A bulk string or number at *at; false: not whole. */
static bool redis_part(
    const uint8_t *bytes, size_t len, size_t *at, const uint8_t **part, size_t *part_len)
{
    const uint8_t *end = *at < len ? memchr(bytes + *at, '\n', len - *at) : NULL;
    if (!end)
        return false;
    uint8_t kind = bytes[*at];
    size_t size = 0;
    for (const uint8_t *c = bytes + *at + 1; *c >= '0' && *c <= '9'; c++)
        size = size * 10 + (size_t)(*c - '0');
    *at = (size_t)(end - bytes) + 1;
    *part = bytes + *at;
    *part_len = size;
    if (kind != '$')
        return true;
    if (*at + size + 2 > len)
        return false;
    *at += size + 2;
    return true;
}

static enum found redis_next(struct wire_peer *p, const uint8_t *bytes, size_t len, size_t *used,
    struct message *message, struct buffer *out)
{
    const uint8_t *end = memchr(bytes, '\n', len), *part = NULL, *kind = NULL;
    size_t size = 0, kind_len = 0;
    (void)out;
    if (!end)
        return FOUND_NOTHING;
    size_t at = (size_t)(end - bytes) + 1;
    *used = at;
    if (bytes[0] == '-')
        return FOUND_ERROR;
    if (bytes[0] != '*') {
        p->acks += bytes[0] == '+' && p->is_ready;
        p->is_ready = true;
        return FOUND_OTHER;
    }
    int count = bytes[1] - '0';
    for (int i = 0; i < count; i++) {
        if (!redis_part(bytes, len, &at, &part, &size))
            return FOUND_NOTHING;
        if (!i) {
            kind = part;
            kind_len = size;
        }
    }
    *used = at;
    if ((kind_len == 7 && kind[0] == 'm') || (kind_len == 8 && kind[0] == 'p' && kind[1] == 'm')) {
        message->payload = part;
        message->len = size;
        return FOUND_MESSAGE;
    }
    p->acks++;
    return FOUND_OTHER;
}

const struct wire wire_redis = {.name = "redis",
    .hello = redis_hello,
    .subscribe = redis_subscribe,
    .publish = redis_publish,
    .sync = redis_sync,
    .next = redis_next};

/* ---- Redis' streams: what it keeps, and acknowledges when it has ---- */

static void redis_xadd_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    (void)p;
    buffer_text(out, "*5\r\n$4\r\nXADD\r\n");
    redis_bulk(out, subject, strlen(subject));
    buffer_text(out, "$1\r\n*\r\n$1\r\nd\r\n");
    redis_bulk(out, payload, len);
}

static enum found redis_xadd_next(struct wire_peer *p, const uint8_t *bytes, size_t len,
    size_t *used, struct message *message, struct buffer *out)
{
    const uint8_t *id;
    size_t id_len, at = 0;
    (void)message;
    (void)out;
    if (!redis_part(bytes, len, &at, &id, &id_len))
        return FOUND_NOTHING;
    *used = at;
    p->acks += bytes[0] == '$';
    p->is_ready = true;
    return bytes[0] == '-' ? FOUND_ERROR : FOUND_OTHER;
}

const struct wire wire_redis_xadd = {.name = "redis-xadd",
    .hello = redis_hello,
    .subscribe = redis_subscribe,
    .publish = redis_xadd_publish,
    .sync = redis_sync,
    .next = redis_xadd_next};

/* ---- WebSocket ---- */

void websocket_hello(struct buffer *out, const char *subprotocol)
{
    char head[400];
    (void)snprintf(head, sizeof head,
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
        subprotocol ? "Sec-WebSocket-Protocol: " : "", subprotocol ? subprotocol : "",
        subprotocol ? "\r\n" : "");
    buffer_text(out, head);
}

void websocket_wrap(struct buffer *out, uint8_t first, const void *bytes, size_t len)
{
    uint8_t head[14] = {first};
    size_t n = 2;
    if (len < 126) {
        head[1] = (uint8_t)(0x80 | len);
    } else if (len <= UINT16_MAX) {
        head[1] = 0x80 | 126;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        n = 4;
    } else {
        head[1] = 0x80 | 127;
        for (size_t i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    /* A mask of zeros is a mask: the server unmasks all the same. */
    buffer_add(out, head, n + 4);
    buffer_add(out, bytes, len);
}

size_t websocket_frame(const uint8_t *bytes, size_t len, size_t *payload_len)
{
    if (len < 2)
        return 0;
    size_t head = 2, size = bytes[1] & 127;
    size_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (len < head + more)
        return 0;
    if (more)
        size = 0;
    for (size_t i = 0; i < more; i++)
        size = size << 8 | bytes[head + i];
    if (len < head + more + size)
        return 0;
    *payload_len = size;
    return head + more;
}
