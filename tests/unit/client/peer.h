/*
 * A router that says and hears what a test tells it, in JSON over RawSocket. The client gets to it
 * by a pair of sockets, as it gets to a router in its own process; both run in the test's thread.
 *
 *     struct peer peer;
 *     peer_open(&peer);
 *     options.router = &peer.router;
 *     …parley_client_new(&options, &client)…
 *     CHECK_STR(peer_hear(&peer, client), "[1,\"realm1\",{…}]");
 *     peer_say(&peer, client, "[2,1,{}]");
 */
#ifndef PARLEY_TESTS_CLIENT_PEER_H
#define PARLEY_TESTS_CLIENT_PEER_H

#include <parley/parley.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "client/router.h"

enum { PEER_WAIT_MS = 10000, PEER_BUFFER = 1 << 20 };

struct peer {
    struct parley_router router; /* first */
    int fd;                      /* -1: nobody came yet */
    atomic_uint connected;       /* how often */
    uint8_t length_nibble;       /* what it says it takes */
    bool is_down;                /* refuses to be connected to */
    size_t len;
    char heard[PEER_BUFFER]; /* the message that came last */
    uint8_t in[PEER_BUFFER];
};

static inline enum pl_err peer_connect(struct parley_router *router, int *out_fd)
{
    struct peer *peer = (struct peer *)(void *)router;
    int fds[2];
    peer->connected++;
    if (peer->is_down || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
        return PL_IO;
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = fds[0];
    peer->len = 0;
    *out_fd = fds[1];
    return PL_OK;
}

static inline void peer_open(struct peer *peer)
{
    memset(peer, 0, sizeof *peer);
    peer->router.connect = peer_connect;
    peer->fd = -1;
    peer->length_nibble = 15;
}

static inline void peer_hang_up(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

/* Waits until n bytes are there; runs the client meanwhile, unless it runs itself (NULL). */
static inline bool peer_need(struct peer *peer, struct parley_client *client, size_t n)
{
    for (int rounds = 0; rounds < PEER_WAIT_MS && peer->len < n; rounds++) {
        if (client)
            (void)parley_client_process(client, 1);
        struct pollfd p = {.fd = peer->fd, .events = POLLIN};
        if (peer->fd < 0 || poll(&p, 1, client ? 0 : 10) <= 0)
            continue;
        ssize_t got = read(peer->fd, peer->in + peer->len, sizeof peer->in - peer->len);
        if (got == 0)
            return false;
        if (got > 0)
            peer->len += (size_t)got;
    }
    return peer->len >= n;
}

static inline void peer_take(struct peer *peer, size_t n)
{
    memmove(peer->in, peer->in + n, peer->len - n);
    peer->len -= n;
}

static inline void peer_write(struct peer *peer, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        struct pollfd p = {.fd = peer->fd, .events = POLLOUT};
        (void)poll(&p, 1, PEER_WAIT_MS);
        ssize_t n = send(peer->fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

/* The RawSocket handshake. */
static inline bool peer_greet(struct peer *peer, struct parley_client *client)
{
    if (!CHECK(peer_need(peer, client, 4)))
        return false;
    uint8_t answer[4] = {0x7F, (uint8_t)(peer->length_nibble << 4 | (peer->in[1] & 15)), 0, 0};
    peer_take(peer, 4);
    peer_write(peer, answer, 4);
    return true;
}

/* The next message of the client; "(gone)" if it has hung up, "(nothing)" if none comes. */
static inline const char *peer_hear(struct peer *peer, struct parley_client *client)
{
    for (;;) {
        if (!peer_need(peer, client, 4))
            return peer->len == 0 ? "(gone)" : "(nothing)";
        size_t len = (size_t)peer->in[1] << 16 | (size_t)peer->in[2] << 8 | peer->in[3];
        uint8_t type = peer->in[0];
        if (!peer_need(peer, client, 4 + len))
            return "(nothing)";
        memcpy(peer->heard, peer->in + 4, len);
        peer->heard[len] = '\0';
        peer_take(peer, 4 + len);
        if (type == 0)
            return peer->heard;
        if (type == 1) { /* a ping */
            uint8_t head[4] = {2, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
            peer_write(peer, head, 4);
            peer_write(peer, peer->heard, len);
        }
    }
}

static inline void peer_say(struct peer *peer, struct parley_client *client, const char *json)
{
    size_t len = strlen(json);
    uint8_t head[4] = {0, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    peer_write(peer, head, 4);
    peer_write(peer, json, len);
    if (client)
        (void)parley_client_process(client, 0);
}

/* Handshake, HELLO, WELCOME. */
static inline void peer_welcome(struct peer *peer, struct parley_client *client)
{
    if (!peer_greet(peer, client))
        return;
    CHECK(strncmp(peer_hear(peer, client), "[1,\"realm1\",{\"roles\":", 21) == 0);
    peer_say(peer, client, "[2,9007199254740992,{\"authid\":\"joe\",\"roles\":{}}]");
}

/* A client of this peer that has joined. */
static inline struct parley_client *peer_client(
    struct peer *peer, struct parley_client_options *options)
{
    struct parley_client *client = NULL;
    options->router = &peer->router;
    options->serializer = PARLEY_JSON;
    if (!CHECK_EQ(parley_client_new(options, &client), PARLEY_OK))
        return NULL;
    peer_welcome(peer, options->own_thread ? NULL : client);
    CHECK_EQ(parley_client_join(client, PEER_WAIT_MS), PARLEY_OK);
    return client;
}

#endif
