/* Life, and the memories behind the lock. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "peers/peers_state.h"

static bool read_url(const char *text, struct pl_url *out)
{
    return pl_url_parse(text, out) && !out->has_user && out->host[0] &&
           (strcmp(out->scheme, "wss") == 0 || strcmp(out->scheme, "ws") == 0);
}

bool pl_peers_read_host(const char *text, char out[PL_PEER_HOST_MAX])
{
    struct pl_url url;
    _Static_assert(sizeof url.host == PL_PEER_HOST_MAX, "as in url.h");
    if (!read_url(text, &url))
        return false;
    memcpy(out, url.host, sizeof url.host);
    return true;
}

static enum pl_err read_urls(struct pl_peers *p, struct pl_diag *diag)
{
    p->urls = pl_zalloc((p->options.url_count + 1) * sizeof *p->urls);
    if (!p->urls)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < p->options.url_count; i++) {
        if (i == PL_PEERS_MAX || !read_url(p->options.urls[i], &p->urls[i])) {
            pl_diag_set(diag, 0, "%s: expected wss://host:port", p->options.urls[i]);
            return PL_CONFIG;
        }
    }
    return PL_OK;
}

static enum pl_err open_descriptors(struct pl_peers *p, struct pl_diag *diag)
{
    struct epoll_event event = {.events = EPOLLIN};
    p->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (p->wake >= 0 && p->epoll >= 0 && !epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &event))
        return PL_OK;
    pl_diag_set(diag, errno, "peers: no file descriptor is free");
    return PL_IO;
}

/* ---- Channels ---- */

static void free_channel(struct pl_peer_channel *channel)
{
    pl_peer_memory_free(channel->memory);
    pl_free(channel->name);
    pl_free(channel);
}

/* Under the lock. NULL: no memory. */
static struct pl_peer_channel *find_or_add(struct pl_peers *p, struct pl_bytes name)
{
    struct pl_map_entry *e = pl_map_find(&p->channels, name);
    if (e)
        return PL_CONTAINER(e, struct pl_peer_channel, entry);
    struct pl_peer_channel *channel =
        pl_zalloc(sizeof *channel + p->options.url_count * sizeof channel->links[0]);
    if (!channel)
        return NULL;
    channel->peers = p;
    channel->changed.run = pl_peer_on_changed;
    channel->due.kind = PL_PEER_DUE_CHANNEL;
    channel->due.at_ms = PL_NEVER;
    channel->name = pl_alloc_copy((const char *)name.data, name.len);
    channel->memory = pl_peer_memory_new(p->options.memory);
    if (channel->name && channel->memory &&
        !pl_map_add(&p->channels, &channel->entry, pl_bytes_of(channel->name, name.len)))
        return channel;
    free_channel(channel);
    return NULL;
}

/* Under the lock. True: the thread is to be told. */
static bool has_changed(struct pl_peer_channel *channel)
{
    bool is_first = !channel->is_posted;
    channel->is_posted = true;
    return is_first;
}

bool pl_peers_join(struct pl_peers *p, struct pl_bytes name)
{
    pthread_mutex_lock(&p->lock);
    struct pl_peer_channel *channel = find_or_add(p, name);
    bool is_news = channel && ++channel->members == 1 && has_changed(channel);
    pthread_mutex_unlock(&p->lock);
    if (is_news)
        pl_peers_post(p, &channel->changed);
    return channel;
}

void pl_peers_leave(struct pl_peers *p, struct pl_bytes name)
{
    pthread_mutex_lock(&p->lock);
    struct pl_map_entry *e = pl_map_find(&p->channels, name);
    struct pl_peer_channel *channel = e ? PL_CONTAINER(e, struct pl_peer_channel, entry) : NULL;
    bool is_news = channel && --channel->members == 0 && has_changed(channel);
    pthread_mutex_unlock(&p->lock);
    if (is_news)
        pl_peers_post(p, &channel->changed);
}

uint32_t pl_peers_open_count(const struct pl_peers *p, uint32_t url)
{
    return atomic_load(&p->open[url]);
}

bool pl_peers_is_occupied(struct pl_peer_channel *channel)
{
    pthread_mutex_lock(&channel->peers->lock);
    bool is_occupied = channel->members || channel->is_configured;
    pthread_mutex_unlock(&channel->peers->lock);
    return is_occupied;
}

void pl_peers_drop_channel(struct pl_peer_channel *channel)
{
    struct pl_peers *p = channel->peers;
    pthread_mutex_lock(&p->lock);
    bool is_idle = !channel->members && !channel->is_posted && !channel->is_configured;
    if (is_idle)
        pl_map_remove(&p->channels, &channel->entry);
    pthread_mutex_unlock(&p->lock);
    if (!is_idle)
        return;
    pl_heap_remove(&p->heap, &channel->due);
    free_channel(channel);
}

/* ---- Life ---- */

enum pl_err pl_peers_new(
    const struct pl_peers_options *options, struct pl_peers **out, struct pl_diag *diag)
{
    struct pl_peers *p = pl_zalloc(sizeof *p);
    if (!p)
        return PL_NO_MEMORY;
    uint64_t seed;
    p->options = *options;
    p->wake = p->epoll = -1;
    randombytes_buf(p->hash_key, sizeof p->hash_key);
    randombytes_buf(&seed, sizeof seed);
    pthread_mutex_init(&p->lock, NULL);
    pl_map_init(&p->channels, seed);
    p->random = pl_random_seeded(seed);
    pl_inbox_init(&p->inbox);
    enum pl_err err = read_urls(p, diag);
    if (!err)
        err = open_descriptors(p, diag);
    for (uint32_t i = 0; i < options->channel_count && !err; i++) {
        struct pl_peer_channel *channel = find_or_add(p, pl_bytes_text(options->channels[i]));
        if (channel)
            channel->is_configured = true;
        else
            err = PL_NO_MEMORY;
    }
    if (err)
        pl_peers_free(p);
    else
        *out = p;
    return err;
}

enum pl_err pl_peers_start(struct pl_peers *p, struct pl_diag *diag)
{
    sigset_t all, before;
    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    p->is_running = true;
    int failed = pthread_create(&p->thread, NULL, pl_peers_main, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        p->is_running = false;
        pl_diag_set(diag, failed, "peers: no thread is to be had");
        return PL_IO;
    }
    (void)pthread_setname_np(p->thread, "parley-peers");
    return PL_OK;
}

void pl_peers_stop(struct pl_peers *p)
{
    if (!p->is_running)
        return;
    atomic_store(&p->is_stopping, true);
    pl_peers_wake(p);
    pthread_join(p->thread, NULL);
    p->is_running = false;
}

struct pl_peers *pl_peers_free(struct pl_peers *p)
{
    if (!p)
        return NULL;
    struct pl_map_entry *e;
    while ((e = pl_map_next(&p->channels, NULL))) {
        struct pl_peer_channel *channel = PL_CONTAINER(e, struct pl_peer_channel, entry);
        pl_map_remove(&p->channels, e);
        free_channel(channel);
    }
    pl_map_done(&p->channels);
    pl_heap_done(&p->heap);
    pl_inbox_done(&p->inbox);
    pthread_mutex_destroy(&p->lock);
    if (p->wake >= 0)
        close(p->wake);
    if (p->epoll >= 0)
        close(p->epoll);
    pl_free(p->urls);
    pl_free(p);
    return NULL;
}

/* ---- Memories ---- */

uint64_t pl_peers_hash(const struct pl_peers *p, bool is_text, struct pl_bytes frame)
{
    uint64_t hash;
    _Static_assert(sizeof hash == crypto_shorthash_BYTES, "SipHash-2-4");
    (void)crypto_shorthash((uint8_t *)&hash, frame.data, frame.len, p->hash_key);
    /* The same bytes as the other type are another frame. */
    return is_text ? ~hash : hash;
}

bool pl_peers_note(struct pl_peer_link *link, uint64_t hash, uint64_t bits, uint64_t *out_before)
{
    pthread_mutex_lock(&link->peers->lock);
    bool was_known = pl_peer_memory_note(link->channel->memory, hash, bits, out_before);
    pthread_mutex_unlock(&link->peers->lock);
    return was_known;
}

bool pl_peers_admits(
    struct pl_peers *p, struct pl_bytes channel, bool is_text, struct pl_bytes frame)
{
    uint64_t hash = pl_peers_hash(p, is_text, frame), before;
    pthread_mutex_lock(&p->lock);
    struct pl_map_entry *e = pl_map_find(&p->channels, channel);
    bool is_new = !e || !pl_peer_memory_note(PL_CONTAINER(e, struct pl_peer_channel, entry)->memory,
                            hash, 0, &before);
    pthread_mutex_unlock(&p->lock);
    return is_new;
}
