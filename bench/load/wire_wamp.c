/*
 * WAMP: MessagePack over RawSocket, and JSON over WebSocket.
 *
 * wamp-call and wamp-json-call are the same with calls instead of publications: the question is a
 * CALL of what its answerer registers, the answer a YIELD.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum {
    WELCOME = 2,
    ABORT = 3,
    ERROR = 8,
    PUBLISH = 16,
    PUBLISHED = 17,
    SUBSCRIBE = 32,
    SUBSCRIBED = 33,
    EVENT = 36,
    CALL = 48,
    RESULT = 50,
    REGISTER = 64,
    REGISTERED = 65,
    INVOCATION = 68,
    YIELD = 70,
    STAMP = 16, /* bytes in front of every payload; in JSON as hex */
    HEAD = 4,
};

static const char ANSWER[] = "load.answer";

/* ---- MessagePack ---- */

static void put_head(struct buffer *b, size_t at)
{
    size_t len = b->len - at - HEAD;
    b->data[at] = 0;
    b->data[at + 1] = (uint8_t)(len >> 16);
    b->data[at + 2] = (uint8_t)(len >> 8);
    b->data[at + 3] = (uint8_t)len;
}

static size_t begin(struct buffer *b)
{
    buffer_add(b, "\0\0\0\0", HEAD);
    return b->len - HEAD;
}

static void put_number(struct buffer *b, uint64_t number)
{
    uint8_t bytes[9] = {0xcf};
    for (size_t i = 0; i < 8; i++)
        bytes[1 + i] = (uint8_t)(number >> (56 - 8 * i));
    buffer_add(b, bytes, sizeof bytes);
}

static void put_text(struct buffer *b, const char *text)
{
    uint8_t head[2] = {0xd9, (uint8_t)strlen(text)};
    buffer_add(b, head, 2);
    buffer_text(b, text);
}

static void put_binary(struct buffer *b, const uint8_t *bytes, size_t len)
{
    uint8_t head[3] = {0xc5, (uint8_t)(len >> 8), (uint8_t)len};
    buffer_add(b, head, 3);
    buffer_add(b, bytes, len);
}

static void put_list(struct buffer *b, uint8_t count, uint8_t type)
{
    uint8_t head[2] = {(uint8_t)(0x90 | count), type};
    buffer_add(b, head, 2);
}

static void wamp_hello(struct wire_peer *p, struct buffer *out)
{
    static const char *const roles[] = {"publisher", "subscriber", "caller", "callee"};
    (void)p;
    buffer_add(out, "\x7f\xf2\0\0", HEAD);
    size_t at = begin(out);
    put_list(out, 3, 1);
    put_text(out, "main");
    buffer_add(out, "\x81", 1);
    put_text(out, "roles");
    buffer_add(out, "\x84", 1);
    for (size_t i = 0; i < 4; i++) {
        put_text(out, roles[i]);
        buffer_add(out, "\x80", 1);
    }
    put_head(out, at);
}

static void ask(struct wire_peer *p, struct buffer *out, uint8_t type, const char *uri)
{
    size_t at = begin(out);
    put_list(out, 4, type);
    put_number(out, ++p->request);
    buffer_add(out, "\x80", 1);
    put_text(out, uri);
    put_head(out, at);
}

static void wamp_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    (void)queue;
    (void)id;
    ask(p, out, SUBSCRIBE, subject);
}

static void call_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    (void)queue;
    (void)id;
    ask(p, out, strcmp(subject, ANSWER) != 0 ? REGISTER : SUBSCRIBE, subject);
}

static void send_payload(struct wire_peer *p, struct buffer *out, uint8_t type, uint64_t id,
    const char *uri, const uint8_t *payload, size_t len)
{
    size_t at = begin(out);
    (void)p;
    put_list(out, uri ? 5 : 4, type);
    put_number(out, id);
    buffer_add(out, "\x80", 1);
    if (uri)
        put_text(out, uri);
    buffer_add(out, "\x91", 1);
    put_binary(out, payload, len);
    put_head(out, at);
}

static void wamp_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    send_payload(p, out, PUBLISH, ++p->request, subject, payload, len);
}

static void call_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    if (strcmp(subject, ANSWER) != 0)
        send_payload(p, out, CALL, ++p->request, subject, payload, len);
    else
        send_payload(p, out, YIELD, p->invocation, NULL, payload, len);
}

/* Bytes of the value at `at`, of the kinds that a router sends in ids and details. */
static size_t skip(const uint8_t *at)
{
    size_t size = 1, items = 0;
    if (*at < 0x80 || *at >= 0xe0 || (*at >= 0xc0 && *at <= 0xc3))
        return 1;
    if (*at >= 0xa0 && *at <= 0xbf)
        return 1 + (*at & 31u);
    if (*at >= 0xcc && *at <= 0xd3)
        return 1 + ((size_t)1 << (*at & 3));
    if (*at == 0xcb || *at == 0xca)
        return *at == 0xcb ? 9 : 5;
    if (*at == 0xd9 || *at == 0xc4)
        return 2 + (size_t)at[1];
    if ((*at & 0xf0) == 0x80)
        items = 2 * (size_t)(*at & 15);
    else if ((*at & 0xf0) == 0x90)
        items = *at & 15;
    else
        exit(3); /* Nothing that is measured here. */
    for (; items; items--)
        size += skip(at + size);
    return size;
}

static uint64_t read_number(const uint8_t *at)
{
    uint64_t number = 0;
    if (*at < 0x80)
        return *at;
    for (size_t i = 1; i < skip(at); i++)
        number = number << 8 | at[i];
    return number;
}

/* [ids …, details, [payload]] */
static enum found find_payload(const uint8_t *at, int ids, struct message *message)
{
    for (int i = 0; i <= ids; i++)
        at += skip(at);
    at++;
    message->len = *at == 0xc4 ? at[1] : (size_t)at[1] << 8 | at[2];
    message->payload = at + (*at == 0xc4 ? 2 : 3);
    return FOUND_MESSAGE;
}

static enum found wamp_next(struct wire_peer *p, const uint8_t *bytes, size_t len, size_t *used,
    struct message *message, struct buffer *out)
{
    (void)out;
    if (len < HEAD)
        return FOUND_NOTHING;
    *used = HEAD;
    if (!p->is_open) {
        p->is_open = bytes[0] == 0x7f;
        return p->is_open ? FOUND_OTHER : FOUND_ERROR;
    }
    size_t size = (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    if (len < HEAD + size)
        return FOUND_NOTHING;
    *used += size;
    const uint8_t *body = bytes + HEAD + 2;
    switch (bytes[HEAD + 1]) {
    case WELCOME:
        p->is_ready = true;
        return FOUND_OTHER;
    case SUBSCRIBED:
    case REGISTERED:
    case PUBLISHED:
        p->acks++;
        return FOUND_OTHER;
    case EVENT:
        return find_payload(body, 2, message);
    case RESULT:
        return find_payload(body, 1, message);
    case INVOCATION:
        p->invocation = read_number(body);
        return find_payload(body, 2, message);
    default:
        return FOUND_ERROR;
    }
}

const struct wire wire_wamp = {.name = "wamp",
    .hello = wamp_hello,
    .subscribe = wamp_subscribe,
    .publish = wamp_publish,
    .next = wamp_next};

const struct wire wire_wamp_call = {.name = "wamp-call",
    .hello = wamp_hello,
    .subscribe = call_subscribe,
    .publish = call_publish,
    .next = wamp_next};

/* ---- JSON, each message in a frame ---- */

static void send_text(struct buffer *out, const char *text, size_t len)
{
    websocket_wrap(out, 0x81, text, len);
}

static void json_hello(struct wire_peer *p, struct buffer *out)
{
    static const char hello[] = "[1,\"main\",{\"roles\":{\"publisher\":{},\"subscriber\":{},"
                                "\"caller\":{},\"callee\":{}}}]";
    (void)p;
    send_text(out, hello, strlen(hello));
}

static void json_ask(struct wire_peer *p, struct buffer *out, int type, const char *uri)
{
    char text[200];
    int len = snprintf(
        text, sizeof text, "[%d,%llu,{},\"%s\"]", type, (unsigned long long)++p->request, uri);
    send_text(out, text, (size_t)len);
}

static void json_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    (void)queue;
    (void)id;
    json_ask(p, out, SUBSCRIBE, subject);
}

static void json_call_subscribe(
    struct wire_peer *p, struct buffer *out, const char *subject, const char *queue, uint32_t id)
{
    (void)queue;
    (void)id;
    json_ask(p, out, strcmp(subject, ANSWER) != 0 ? REGISTER : SUBSCRIBE, subject);
}

/* The payload as one string: the stamp in hex, then as many letters as make the size. */
static void json_send(
    struct buffer *out, int type, uint64_t id, const char *uri, const uint8_t *payload, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    static char text[1 << 16];
    size_t n = (size_t)snprintf(text, 200, "[%d,%llu,{}%s%s%s,[\"", type, (unsigned long long)id,
        uri ? ",\"" : "", uri ? uri : "", uri ? "\"" : "");
    for (size_t i = 0; i < STAMP; i++) {
        text[n++] = digits[payload[i] >> 4];
        text[n++] = digits[payload[i] & 15];
    }
    for (size_t i = STAMP * 2; i < len; i++)
        text[n++] = 'x';
    memcpy(text + n, "\"]]", 3);
    send_text(out, text, n + 3);
}

static void json_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    json_send(out, PUBLISH, ++p->request, subject, payload, len);
}

static void json_call_publish(struct wire_peer *p, struct buffer *out, const char *subject,
    const uint8_t *payload, size_t len)
{
    if (strcmp(subject, ANSWER) != 0)
        json_send(out, CALL, ++p->request, subject, payload, len);
    else
        json_send(out, YIELD, p->invocation, NULL, payload, len);
}

static uint8_t nibble(uint8_t c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static enum found json_payload(const uint8_t *bytes, size_t len, struct message *message)
{
    static uint8_t stamp[STAMP];
    const uint8_t *at = memmem(bytes, len, "[\"", 2);
    if (!at || at + 2 + 2 * STAMP > bytes + len)
        return FOUND_ERROR;
    at += 2;
    for (size_t i = 0; i < STAMP; i++)
        stamp[i] = (uint8_t)(nibble(at[2 * i]) << 4 | nibble(at[2 * i + 1]));
    message->payload = stamp;
    message->len = STAMP;
    return FOUND_MESSAGE;
}

static enum found json_next(struct wire_peer *p, const uint8_t *bytes, size_t len, size_t *used,
    struct message *message, struct buffer *out)
{
    char *end;
    (void)out;
    *used = len; /* a frame is a message */
    switch (strtol((const char *)bytes + 1, &end, 10)) {
    case WELCOME:
        p->is_ready = true;
        return FOUND_OTHER;
    case SUBSCRIBED:
    case REGISTERED:
    case PUBLISHED:
        p->acks++;
        return FOUND_OTHER;
    case INVOCATION:
        p->invocation = strtoull(end + 1, NULL, 10);
        return json_payload(bytes, len, message);
    case EVENT:
    case RESULT:
        return json_payload(bytes, len, message);
    default:
        return FOUND_ERROR;
    }
}

const struct wire wire_wamp_json = {.name = "wamp-json",
    .subprotocol = "wamp.2.json",
    .is_framed = true,
    .hello = json_hello,
    .subscribe = json_subscribe,
    .publish = json_publish,
    .next = json_next};

const struct wire wire_wamp_json_call = {.name = "wamp-json-call",
    .subprotocol = "wamp.2.json",
    .is_framed = true,
    .hello = json_hello,
    .subscribe = json_call_subscribe,
    .publish = json_call_publish,
    .next = json_next};
