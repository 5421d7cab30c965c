/*
 * The own thread: which channels have links, their WebSockets, and when each tries again.
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "codec/mles.h"
#include "net/reactor.h"
#include "peers/peers_state.h"

enum {
    EVENTS_MAX = 64,
    CONNECT_MS = 10000,
    CONNECTING_MAX = 32, /* links at once; each may have a thread that asks for its address */
    CONNECTING_WAIT_MS = 20,
    SETTLE_TIMES_MAX = 10, /* of settle_ms: then it has settled, whatever comes */
    STABLE_MS = 30000,     /* open for so long: the next wait is the first again */
    KEEPALIVE_MS = 30000,  /* looked at so often; asked when silent for so long … */
    SILENT_MS = 100000,    /* … and given up */
};

void pl_peers_wake(struct pl_peers *p)
{
    static const uint64_t one = 1;
    (void)!write(p->wake, &one, sizeof one);
}

void pl_peers_post(struct pl_peers *p, struct pl_post *post)
{
    if (pl_inbox_push(&p->inbox, post))
        pl_peers_wake(p);
}

static void tell(struct pl_peer_link *link, enum pl_peer_news_kind kind, const char *why)
{
    const struct pl_peers_options *o = &link->peers->options;
    o->told(o->context, &(struct pl_peer_news){.kind = kind,
                            .url = o->urls[link->peer],
                            .channel = link->channel->entry.key,
                            .why = why,
                            .retry_ms = link->wait_ms});
}

static void set_due(struct pl_peer_link *link, uint64_t at_ms)
{
    /* It stands in the heap from its creation on, so it only moves. */
    (void)!pl_heap_set(&link->peers->heap, &link->due, at_ms);
}

/* ---- To the home ---- */

/* Moves the reference. */
static bool send_event(
    struct pl_peer_link *link, enum pl_peer_event_kind kind, bool is_text, struct pl_shared *bytes)
{
    struct pl_peer_event *event = pl_zalloc(sizeof *event);
    if (!event) {
        pl_shared_unref(bytes);
        return false;
    }
    event->post.run = pl_peer_on_event;
    event->link = link;
    event->attempt = link->attempt;
    event->kind = (uint8_t)kind;
    event->is_text = is_text;
    event->bytes = bytes;
    if (bytes)
        atomic_fetch_add(&link->peers->inbound, pl_peer_cost(bytes));
    pl_worker_post(link->peers->options.home, &event->post);
    return true;
}

/* ---- The connection ---- */

/* What epoll waits for is what the wire wants now. */
static void watch(struct pl_peer_link *link)
{
    int epoll = link->peers->epoll, fd = link->wire ? pl_wire_fd(link->wire) : -1;
    bool writes = link->wire && pl_wire_wants_write(link->wire);
    struct epoll_event event = {.events = writes ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = link};
    if (link->is_watched && link->watched == fd && link->watches_write == writes)
        return;
    if (link->watched >= 0 && link->watched != fd)
        (void)epoll_ctl(epoll, EPOLL_CTL_DEL, link->watched, NULL); /* or it has been closed */
    /* A new descriptor may have the number of one that was closed, and so be none of epoll's. */
    if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) && errno == ENOENT)
        (void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    link->watched = fd;
    link->watches_write = writes;
    /* Until it is open, its descriptor changes, and maybe back to the same number. */
    link->is_watched = link->phase >= PL_PEER_SETTLING;
}

static void close_wire(struct pl_peer_link *link)
{
    if (link->wire && link->watched >= 0)
        (void)epoll_ctl(link->peers->epoll, EPOLL_CTL_DEL, link->watched, NULL);
    link->watched = -1;
    link->is_watched = false;
    link->wire = pl_wire_free(link->wire);
    atomic_store(&link->written, 0);
}

static void set_phase(struct pl_peer_link *link, enum pl_peer_phase phase)
{
    atomic_uint *open = &link->peers->open[link->peer];
    if (phase == PL_PEER_OPEN)
        atomic_fetch_add(open, 1);
    else if (link->phase == PL_PEER_OPEN)
        atomic_fetch_sub(open, 1);
    link->peers->connecting += phase == PL_PEER_CONNECTING;
    link->peers->connecting -= link->phase == PL_PEER_CONNECTING;
    link->phase = phase;
}

static void lose(struct pl_peer_link *link, const char *why)
{
    const struct pl_peers_options *o = &link->peers->options;
    uint64_t now_ms = pl_clock_ms();
    bool was_open = link->phase == PL_PEER_OPEN;
    bool was_stable = was_open && now_ms - link->opened_ms >= STABLE_MS;
    close_wire(link);
    if (link->phase >= PL_PEER_SETTLING)
        (void)!send_event(link, PL_PEER_EVENT_LOST, false, NULL);
    set_phase(link, PL_PEER_WAITING);
    link->wait_ms = link->wait_ms && !was_stable ? link->wait_ms * 2 : o->retry_ms;
    if (link->wait_ms > o->retry_max_ms)
        link->wait_ms = o->retry_max_ms;
    /* Those that were lost together do not come back together. */
    uint32_t spread = (uint32_t)(link->wait_ms / 8) + 1;
    set_due(link, now_ms + link->wait_ms + pl_random_below(&link->peers->random, spread));
    tell(link, PL_PEER_LOST, why);
}

static void lose_by(struct pl_peer_link *link, enum pl_err err, const struct pl_diag *diag)
{
    lose(link, diag->text[0] ? diag->text : pl_err_text(err));
}

/* Writes what it can. */
static void flush_link(struct pl_peer_link *link)
{
    (void)!pl_wire_flush(link->wire); /* reading tells if it is broken */
    atomic_store(&link->written, pl_wire_queued(link->wire));
    watch(link);
    if (atomic_load(&link->is_held) && !pl_peer_is_full(link) &&
        atomic_exchange(&link->is_held, false) &&
        !send_event(link, PL_PEER_EVENT_DRAINED, false, NULL))
        lose(link, pl_err_text(PL_NO_MEMORY));
}

static void start_wire(struct pl_peer_link *link)
{
    struct pl_peers *p = link->peers;
    struct pl_diag diag = {{0}, 0};
    if (p->connecting >= CONNECTING_MAX) {
        set_phase(link, PL_PEER_WAITING);
        set_due(link, pl_clock_ms() + CONNECTING_WAIT_MS);
        return;
    }
    set_phase(link, PL_PEER_CONNECTING);
    link->attempt++;
    atomic_store(&link->is_behind, false);
    atomic_store(&link->is_held, false);
    set_due(link, pl_clock_ms() + CONNECT_MS);
    enum pl_err err = pl_wire_new(
        &(struct pl_wire_options){
            .url = &p->urls[link->peer],
            .fd_moved = -1,
            .subprotocol = PL_MLES_SUBPROTOCOL,
            .tls = p->options.tls,
            .message_max = PL_WIRE_MESSAGE_MAX, /* what the core does not take stays out */
        },
        &link->wire, &diag);
    if (err)
        lose_by(link, err, &diag);
    else
        watch(link);
}

static enum pl_err send_header(struct pl_peer_link *link)
{
    const struct pl_peers_options *o = &link->peers->options;
    char auth[PL_MLES_AUTH_LEN];
    struct pl_mles_header header = {
        .uid = pl_bytes_text(o->uid),
        .channel = link->channel->entry.key,
        .auth = pl_bytes_of(auth, sizeof auth),
        .has_auth = o->has_key,
    };
    pl_mles_auth(header.uid, header.channel, o->key, auth);
    struct pl_writer w = pl_writer_new();
    pl_mles_header_encode(&w, &header);
    struct pl_shared *frame = NULL;
    enum pl_err err = pl_writer_take(&w, &frame);
    if (!err)
        err = pl_wire_send_text(link->wire, frame->data, frame->len);
    pl_shared_unref(frame);
    return err ? err : pl_wire_flush(link->wire);
}

static void open_link(struct pl_peer_link *link)
{
    struct pl_diag diag = {{0}, 0};
    link->opened_ms = pl_clock_ms();
    set_phase(link, PL_PEER_SETTLING);
    set_due(link, link->opened_ms + link->peers->options.settle_ms);
    enum pl_err err = send_header(link);
    if (!err && !send_event(link, PL_PEER_EVENT_OPENED, false, NULL))
        err = PL_NO_MEMORY;
    if (err)
        lose_by(link, err, &diag);
}

/* Somebody's, out of the channel's history? */
static bool is_header(const struct pl_peer_link *link, struct pl_bytes frame)
{
    struct pl_arena arena = {0};
    struct pl_mles_header header;
    bool is_one = !pl_mles_header_decode(frame, &arena, &header) &&
                  pl_bytes_equal(header.channel, link->channel->entry.key);
    pl_arena_done(&arena);
    return is_one;
}

static enum pl_err on_message(struct pl_peer_link *link, struct pl_bytes bytes)
{
    bool is_text = pl_wire_is_text(link->wire);
    if (link->phase == PL_PEER_SETTLING) {
        uint64_t settle_ms = link->peers->options.settle_ms;
        uint64_t at_ms = pl_clock_ms() + settle_ms;
        uint64_t last_ms = link->opened_ms + SETTLE_TIMES_MAX * settle_ms;
        set_due(link, at_ms < last_ms ? at_ms : last_ms);
    }
    if (is_text && is_header(link, bytes))
        return PL_OK;
    struct pl_shared *copy = pl_shared_new(bytes.len ? bytes.len : 1);
    if (!copy)
        return PL_NO_MEMORY;
    if (bytes.len)
        memcpy(copy->data, bytes.data, bytes.len);
    copy->len = (uint32_t)bytes.len;
    return send_event(link, PL_PEER_EVENT_FRAME, is_text, copy) ? PL_OK : PL_NO_MEMORY;
}

static enum pl_err take_messages(struct pl_peer_link *link, struct pl_diag *diag)
{
    struct pl_bytes bytes;
    enum pl_err err;
    while (!(err = pl_wire_next(link->wire, &bytes, diag))) {
        err = on_message(link, bytes);
        if (err)
            return err;
    }
    return err == PL_NEED_MORE ? PL_OK : err;
}

static bool is_full(struct pl_peers *p)
{
    if (atomic_load(&p->inbound) <= PL_PEERS_INBOUND_MAX)
        return false;
    atomic_store(&p->is_paused, true);
    /* They may all have gone before the flag stood. */
    if (atomic_load(&p->inbound) > PL_PEERS_INBOUND_MAX)
        return true;
    atomic_store(&p->is_paused, false);
    return false;
}

/* Its descriptor is ready, or it has more. */
static void step(struct pl_peer_link *link)
{
    struct pl_diag diag = {{0}, 0};
    do {
        if (!link->wire)
            return;
        enum pl_err err = pl_wire_step(link->wire, &diag);
        if (!err && link->phase == PL_PEER_CONNECTING)
            open_link(link);
        if (err == PL_NEED_MORE || !link->wire)
            break;
        /* What came before the end counts, and may tell why. */
        enum pl_err taken = link->phase >= PL_PEER_SETTLING ? take_messages(link, &diag) : PL_OK;
        if (taken || err) {
            lose_by(link, taken ? taken : err, &diag);
            return;
        }
    } while (link->wire && pl_wire_has_more(link->wire) && !is_full(link->peers));
    if (link->wire)
        flush_link(link);
}

/* ---- Links and channels ---- */

static void begin_leaving(struct pl_peer_link *link)
{
    if (link->phase == PL_PEER_LEAVING)
        return;
    if (link->wire) {
        pl_wire_bye(link->wire);
        (void)!pl_wire_flush(link->wire);
    }
    close_wire(link);
    pl_heap_remove(&link->peers->heap, &link->due);
    set_phase(link, PL_PEER_LEAVING);
    pl_worker_post(link->peers->options.home, &link->detach);
}

static void add_link(struct pl_peers *p, struct pl_peer_channel *channel, uint32_t peer)
{
    struct pl_peer_link *link =
        p->link_count < p->options.links_max ? pl_zalloc(sizeof *link) : NULL;
    if (!link || pl_heap_set(&p->heap, &link->due, PL_NEVER - 1)) {
        pl_free(link);
        if (!p->has_told_limit)
            p->options.told(p->options.context,
                &(struct pl_peer_news){.kind = PL_PEER_LIMIT, .channel = channel->entry.key});
        p->has_told_limit = true;
        return;
    }
    link->peers = p;
    link->channel = channel;
    link->peer = peer;
    link->watched = -1;
    link->due.kind = PL_PEER_DUE_LINK;
    link->attach.run = pl_peer_on_attach;
    link->detach.run = pl_peer_on_detach;
    link->ready.run = pl_peer_on_ready;
    link->gone.run = pl_peer_on_gone;
    link->next = p->links;
    if (link->next)
        link->next->at = &link->next;
    link->at = &p->links;
    p->links = link;
    p->link_count++;
    channel->links[peer] = link;
    channel->link_count++;
    pl_worker_post(p->options.home, &link->attach);
}

static void link_channel(struct pl_peer_channel *channel)
{
    struct pl_peers *p = channel->peers;
    channel->is_linked = true;
    for (uint32_t i = 0; i < p->options.url_count; i++) {
        if (!channel->links[i])
            add_link(p, channel, i);
    }
}

static void unlink_channel(struct pl_peer_channel *channel)
{
    channel->is_linked = false;
    for (uint32_t i = 0; i < channel->peers->options.url_count; i++) {
        if (channel->links[i])
            begin_leaving(channel->links[i]);
    }
    if (!channel->link_count)
        pl_peers_drop_channel(channel);
}

void pl_peer_on_changed(struct pl_post *post, void *context)
{
    struct pl_peer_channel *channel = PL_CONTAINER(post, struct pl_peer_channel, changed);
    struct pl_peers *p = context;
    pthread_mutex_lock(&p->lock);
    channel->is_posted = false;
    pthread_mutex_unlock(&p->lock);
    if (atomic_load(&p->is_stopping))
        return;
    if (pl_peers_is_occupied(channel)) {
        pl_heap_remove(&p->heap, &channel->due);
        link_channel(channel);
    } else if (pl_heap_set(&p->heap, &channel->due, pl_clock_ms() + p->options.linger_ms)) {
        unlink_channel(channel);
    }
}

/* ---- From the home ---- */

void pl_peer_on_ready(struct pl_post *post, void *context)
{
    struct pl_peer_link *link = PL_CONTAINER(post, struct pl_peer_link, ready);
    (void)context;
    if (link->phase == PL_PEER_ATTACHING)
        start_wire(link);
}

void pl_peer_on_gone(struct pl_post *post, void *context)
{
    struct pl_peer_link *link = PL_CONTAINER(post, struct pl_peer_link, gone);
    struct pl_peers *p = context;
    struct pl_peer_channel *channel = link->channel;
    channel->links[link->peer] = NULL;
    channel->link_count--;
    *link->at = link->next;
    if (link->next)
        link->next->at = link->at;
    p->link_count--;
    pl_free(link);
    if (channel->is_linked && !atomic_load(&p->is_stopping))
        link_channel(channel);
    else if (!channel->link_count)
        pl_peers_drop_channel(channel);
}

void pl_peer_on_outgoing(struct pl_post *post, void *context)
{
    struct pl_peer_event *event = PL_CONTAINER(post, struct pl_peer_event, post);
    struct pl_peer_link *link = event->link;
    struct pl_peers *p = context;
    struct pl_shared *bytes = event->bytes;
    atomic_fetch_sub(&link->queued, pl_peer_cost(bytes));
    if (link->phase == PL_PEER_OPEN && event->attempt == link->attempt) {
        enum pl_err err = event->is_text ? pl_wire_send_text(link->wire, bytes->data, bytes->len)
                                         : pl_wire_send_binary(link->wire, bytes->data, bytes->len);
        atomic_store(&link->written, pl_wire_queued(link->wire));
        if (err)
            pl_peer_fall_behind(link);
        if (!link->is_to_flush) {
            link->is_to_flush = true;
            link->flush_next = p->to_flush;
            p->to_flush = link;
        }
    }
    pl_shared_unref(bytes);
    pl_free(event);
}

/* ---- The loop ---- */

static void on_link_due(struct pl_peer_link *link, uint64_t now_ms)
{
    switch (link->phase) {
    case PL_PEER_WAITING:
        start_wire(link);
        return;
    case PL_PEER_CONNECTING:
        lose(link, "no connection in time");
        return;
    case PL_PEER_SETTLING:
        set_phase(link, PL_PEER_OPEN);
        set_due(link, now_ms + KEEPALIVE_MS);
        if (!send_event(link, PL_PEER_EVENT_SETTLED, false, NULL))
            lose(link, pl_err_text(PL_NO_MEMORY));
        else
            tell(link, PL_PEER_LINKED, NULL);
        return;
    case PL_PEER_OPEN:
        if (now_ms - pl_wire_heard_ms(link->wire) >= SILENT_MS) {
            lose(link, "the peer is silent");
            return;
        }
        if (now_ms - pl_wire_heard_ms(link->wire) >= KEEPALIVE_MS)
            (void)!pl_wire_ping(link->wire);
        set_due(link, now_ms + KEEPALIVE_MS);
        step(link);
        return;
    case PL_PEER_ATTACHING:
    case PL_PEER_LEAVING:
        return;
    }
}

static void run_due(struct pl_peers *p)
{
    uint64_t now_ms = pl_clock_ms();
    struct pl_deadline *due;
    while ((due = pl_heap_pop_due(&p->heap, now_ms))) {
        if (due->kind == PL_PEER_DUE_CHANNEL)
            unlink_channel(PL_CONTAINER(due, struct pl_peer_channel, due));
        else
            on_link_due(PL_CONTAINER(due, struct pl_peer_link, due), now_ms);
    }
}

static void run_posts(struct pl_peers *p)
{
    struct pl_post *post = pl_inbox_take(&p->inbox);
    while (post) {
        struct pl_post *next = post->next;
        post->run(post, p);
        post = next;
    }
}

static void flush(struct pl_peers *p)
{
    while (p->to_flush) {
        struct pl_peer_link *link = p->to_flush;
        p->to_flush = link->flush_next;
        link->is_to_flush = false;
        if (link->wire)
            flush_link(link);
    }
}

void pl_peer_fall_behind(struct pl_peer_link *link)
{
    atomic_store(&link->is_behind, true);
    if (!atomic_exchange(&link->peers->has_behind, true))
        pl_peers_wake(link->peers);
}

/* Those whose peer reads too slowly begin anew. */
static void drop_slow(struct pl_peers *p)
{
    if (!atomic_exchange(&p->has_behind, false))
        return;
    for (struct pl_peer_link *link = p->links; link; link = link->next) {
        if (link->wire && atomic_load(&link->is_behind))
            lose(link, "the peer reads too slowly");
    }
}

static int wait_ms(struct pl_peers *p)
{
    uint64_t next_ms = pl_heap_next_ms(&p->heap), now_ms = pl_clock_ms();
    if (!pl_inbox_sleep(&p->inbox) || next_ms <= now_ms)
        return 0;
    return next_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(next_ms - now_ms);
}

/* Waits, and works on what is ready. While too much is on its way home, nothing is read. */
static void turn(struct pl_peers *p)
{
    struct epoll_event events[EVENTS_MAX];
    struct pollfd wake = {.fd = p->wake, .events = POLLIN};
    int ms = wait_ms(p), count = 0;
    uint64_t ignored;
    bool was_full = is_full(p);
    if (was_full)
        (void)poll(&wake, 1, ms);
    else
        count = epoll_wait(p->epoll, events, EVENTS_MAX, ms);
    pl_inbox_wake(&p->inbox);
    (void)!read(p->wake, &ignored, sizeof ignored);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            step(events[i].data.ptr);
    }
    /* What was read and not taken is told by no descriptor. */
    for (struct pl_peer_link *link = was_full && !is_full(p) ? p->links : NULL; link;
         link = link->next)
        step(link);
}

static void end_all(struct pl_peers *p)
{
    for (struct pl_peer_link *link = p->links; link; link = link->next)
        begin_leaving(link);
}

/* What is said of others of them comes by posts. */
static void link_configured(struct pl_peers *p)
{
    struct pl_map_entry *e = NULL;
    pthread_mutex_lock(&p->lock);
    while ((e = pl_map_next(&p->channels, e))) {
        struct pl_peer_channel *channel = PL_CONTAINER(e, struct pl_peer_channel, entry);
        if (channel->is_configured)
            link_channel(channel);
    }
    pthread_mutex_unlock(&p->lock);
}

void *pl_peers_main(void *context)
{
    struct pl_peers *p = context;
    link_configured(p);
    for (;;) {
        run_posts(p);
        flush(p);
        run_due(p);
        drop_slow(p);
        if (atomic_load(&p->is_stopping))
            end_all(p);
        if (atomic_load(&p->is_stopping) && !p->links)
            break;
        turn(p);
    }
    return NULL;
}
