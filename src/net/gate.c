/*
 * Who may come in, and how many.
 *
 * The gate keeps one entry per address that has connections, which carries the address' text for
 * all of them. It is asked once per accept and once per close, on any reactor, so one lock does.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

#include "base/alloc.h"
#include "net/rate.h"
#include "net/state.h"

struct pl_gate {
    pthread_mutex_t lock; /* guards all of it */
    struct pl_gate_limits limits;
    struct pl_gate_counts counts;
    struct pl_map peers;
    struct pl_rate rate;
    uint64_t tokens_ms;    /* when tokens was right */
    uint64_t tokens_milli; /* thousandths of an accept that may come now */
};

struct pl_gate *pl_gate_new(const struct pl_gate_limits *limits)
{
    struct pl_gate *gate = pl_zalloc(sizeof *gate);
    if (!gate)
        return NULL;
    pthread_mutex_init(&gate->lock, NULL);
    gate->limits = *limits;
    gate->tokens_milli = (uint64_t)limits->accepts_per_second * 1000;
    pl_map_init(&gate->peers, uv_hrtime());
    pl_rate_init(&gate->rate, limits->address_accepts_per_minute, uv_hrtime());
    return gate;
}

struct pl_gate_counts pl_gate_counts(struct pl_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    struct pl_gate_counts counts = gate->counts;
    pthread_mutex_unlock(&gate->lock);
    return counts;
}

struct pl_gate *pl_gate_free(struct pl_gate *gate)
{
    if (!gate)
        return NULL;
    PL_ASSERT(gate->counts.open == 0);
    pl_map_done(&gate->peers);
    pl_rate_done(&gate->rate);
    pthread_mutex_destroy(&gate->lock);
    pl_free(gate);
    return NULL;
}

/* The address' bytes; an IPv4 one in IPv6's clothes is IPv4. */
static struct pl_bytes address_bytes(const struct sockaddr *addr)
{
    if (!addr)
        return PL_NO_BYTES;
    if (addr->sa_family == AF_INET)
        return pl_bytes_of(&((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(v6))
        return pl_bytes_of(&v6->s6_addr[12], 4);
    return pl_bytes_of(v6, 16);
}

static bool is_loopback(struct pl_bytes address)
{
    static const uint8_t v6[16] = {[15] = 1};
    return !address.len || (address.len == 4 && address.data[0] == 127) ||
           pl_bytes_equal(address, pl_bytes_of(v6, 16));
}

static bool takes_token(struct pl_gate *gate, uint64_t now_ms)
{
    uint64_t rate = gate->limits.accepts_per_second;
    if (!rate)
        return true;
    uint64_t most = rate * 1000;
    uint64_t passed = now_ms > gate->tokens_ms ? now_ms - gate->tokens_ms : 0;
    gate->tokens_ms = now_ms;
    /* rate per second is as many thousandths per millisecond. */
    uint64_t tokens = passed > 1000 ? most : gate->tokens_milli + passed * rate;
    gate->tokens_milli = tokens < most ? tokens : most;
    if (gate->tokens_milli < 1000)
        return false;
    gate->tokens_milli -= 1000;
    return true;
}

static struct pl_peer *peer_new(struct pl_gate *gate, struct pl_bytes address)
{
    struct pl_peer *peer = pl_zalloc(sizeof *peer);
    if (!peer)
        return NULL;
    peer->gate = gate;
    peer->is_exempt = is_loopback(address);
    if (!address.len) {
        memcpy(peer->text, "unix", 5);
    } else {
        memcpy(peer->key, address.data, address.len);
        inet_ntop(address.len == 4 ? AF_INET : AF_INET6, peer->key, peer->text, sizeof peer->text);
    }
    peer->text_len = (uint8_t)strlen(peer->text);
    if (pl_map_add(&gate->peers, &peer->entry, pl_bytes_of(peer->key, address.len)) != PL_OK) {
        pl_free(peer);
        return NULL;
    }
    return peer;
}

static struct pl_peer *enter(
    struct pl_gate *gate, struct pl_bytes address, bool has_address_rate, uint64_t now_ms)
{
    const struct pl_gate_limits *limits = &gate->limits;
    struct pl_gate_counts *counts = &gate->counts;
    if (limits->connections_max && counts->open >= limits->connections_max) {
        counts->refused_connections++;
        return NULL;
    }
    struct pl_map_entry *entry = pl_map_find(&gate->peers, address);
    struct pl_peer *peer = entry ? PL_CONTAINER(entry, struct pl_peer, entry) : NULL;
    if (peer && limits->per_address_max && !peer->is_exempt &&
        peer->count >= limits->per_address_max) {
        counts->refused_address++;
        return NULL;
    }
    if (has_address_rate && !pl_rate_take(&gate->rate, address, now_ms)) {
        counts->refused_address_rate++;
        return NULL;
    }
    if (!takes_token(gate, now_ms)) {
        counts->refused_rate++;
        return NULL;
    }
    if (!peer)
        peer = peer_new(gate, address);
    if (!peer) {
        counts->refused_memory++;
        return NULL;
    }
    peer->count++;
    counts->open++;
    counts->accepted++;
    return peer;
}

struct pl_peer *pl_gate_enter(
    struct pl_gate *gate, const struct sockaddr *addr, bool has_address_rate, uint64_t now_ms)
{
    pthread_mutex_lock(&gate->lock);
    struct pl_peer *peer = enter(gate, address_bytes(addr), has_address_rate, now_ms);
    pthread_mutex_unlock(&gate->lock);
    return peer;
}

void pl_gate_leave(struct pl_peer *peer)
{
    struct pl_gate *gate = peer->gate;
    pthread_mutex_lock(&gate->lock);
    gate->counts.open--;
    if (--peer->count == 0) {
        pl_map_remove(&gate->peers, &peer->entry);
        pl_free(peer);
    }
    pthread_mutex_unlock(&gate->lock);
}
