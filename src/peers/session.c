/*
 * A link's session in the core: remembers what is published, and while the link is open sends it.
 *
 * Everything that crosses passes the channel's memory: what comes from the peer is published if it
 * was not known, what is published goes to the peer if it has not had it.
 */
#include "base/alloc.h"
#include "peers/peers_state.h"

enum { SCAN_AT_ONCE = 256, SEND_AT_ONCE = 16, SCAN = 1, CATCH_UP = 2 };

static struct pl_peer_link *link_of(struct pl_session *session)
{
    return PL_CONTAINER(session, struct pl_peer_link, member.session);
}

/* ---- From the core to the peer ---- */

static void send_frame(struct pl_peer_link *link, bool is_text, struct pl_bytes frame)
{
    struct pl_peer_event *event = pl_zalloc(sizeof *event);
    size_t waiting = atomic_load(&link->queued) + atomic_load(&link->written);
    /* The history comes in pieces, each when there is room. */
    bool has_room = !link->member.sends || waiting + frame.len <= link->peers->options.queue_max;
    if (event && has_room)
        event->bytes = pl_shared_new(frame.len ? frame.len : 1);
    if (!event || !event->bytes) {
        /* The next connection gets it out of the history. */
        link->member.sends = false;
        pl_peer_fall_behind(link);
        pl_free(event);
        return;
    }
    if (frame.len)
        memcpy(event->bytes->data, frame.data, frame.len);
    event->bytes->len = (uint32_t)frame.len;
    event->post.run = pl_peer_on_outgoing;
    event->link = link;
    event->attempt = link->member.attempt;
    event->is_text = is_text;
    atomic_fetch_add(&link->queued, pl_peer_cost(event->bytes));
    pl_peers_post(link->peers, &event->post);
}

static void take(struct pl_peer_link *link, const struct pl_message *message, bool sends)
{
    struct pl_bytes frame = pl_message_plain(message);
    bool is_text = message->format == PL_FORMAT_TEXT;
    uint64_t bit = sends ? pl_peer_bit(link) : 0, before;
    pl_peers_note(link, pl_peers_hash(link->peers, is_text, frame), bit, &before);
    if (sends && !(before & bit))
        send_frame(link, is_text, frame);
}

static void deliver(
    struct pl_session *session, struct pl_subscription *sub, const struct pl_run *run)
{
    struct pl_peer_link *link = link_of(session);
    (void)sub;
    for (uint32_t i = 0; i < run->count; i++)
        take(link, run->messages[i], link->member.sends);
}

static void read_log(struct pl_peer_link *link, struct pl_cursor from, uint64_t token)
{
    struct pl_peer_member *m = &link->member;
    uint32_t count = token == SCAN ? SCAN_AT_ONCE : SEND_AT_ONCE;
    pl_session_read_log(&m->session, m->subscription.pattern, from, count, token);
}

static void catch_up(struct pl_peer_link *link)
{
    read_log(link, link->member.read, CATCH_UP + (uint64_t)link->member.attempt);
}

/* Reads on now, or when the thread says that the peer has taken enough. */
static void catch_up_later(struct pl_peer_link *link)
{
    if (pl_peer_is_full(link)) {
        atomic_store(&link->is_held, true);
        /* It may have taken all of it before the flag stood. */
        if (pl_peer_is_full(link) || !atomic_exchange(&link->is_held, false))
            return;
    }
    catch_up(link);
}

/* A catch-up's token tells which connection it is for: a later one begins anew. */
static void on_log(struct pl_peer_link *link, const struct pl_completion *done)
{
    struct pl_peer_member *m = &link->member;
    bool is_scan = done->token == SCAN;
    if (m->has_left || (!is_scan && done->token != CATCH_UP + (uint64_t)m->attempt))
        return;
    for (uint32_t i = 0; i < done->message_count; i++)
        take(link, done->messages[i], !is_scan && !atomic_load(&link->is_behind));
    if (!done->is_end && !done->err) {
        m->read = done->cursor;
        if (is_scan)
            read_log(link, done->cursor, SCAN);
        else
            catch_up_later(link);
        return;
    }
    m->catches_up = false;
    if (!is_scan)
        m->sends = !atomic_load(&link->is_behind);
    else if (!m->is_scanned)
        pl_peers_post(link->peers, &link->ready);
    m->is_scanned = true;
}

/* Not before the thread sends nothing more about it. */
static void tell_gone(struct pl_peer_link *link)
{
    if (link->member.is_out && link->member.is_detached)
        pl_peers_post(link->peers, &link->gone);
}

static void leave(struct pl_peer_link *link)
{
    if (!link->member.has_left)
        pl_session_leave(&link->member.session, false);
    link->member.has_left = true;
    link->member.sends = link->member.catches_up = false;
}

static void complete(struct pl_session *session, const struct pl_completion *done)
{
    struct pl_peer_link *link = link_of(session);
    if (done->kind == PL_DONE_LOG)
        on_log(link, done);
    if ((done->kind == PL_DONE_SUBSCRIBE || done->kind == PL_DONE_JOIN) && done->err)
        leave(link);
    if (done->kind == PL_DONE_LEAVE) {
        pl_session_done(session);
        pl_output_done(&link->member.out);
        link->member.is_out = true;
        tell_gone(link);
    }
}

static void ended(struct pl_session *session, enum pl_err why)
{
    (void)why;
    leave(link_of(session));
}

static const struct pl_session_ops peer_ops = {
    .name = "mles",
    .deliver = deliver,
    .complete = complete,
    .ended = ended,
};

/* ---- From the thread ---- */

static enum pl_err make_pattern(struct pl_peer_link *link)
{
    struct pl_bytes prefix = link->peers->options.prefix, name = link->channel->entry.key;
    size_t len = prefix.len + name.len;
    uint8_t *subject = pl_alloc(len + 1);
    if (!subject)
        return PL_NO_MEMORY;
    if (prefix.len)
        memcpy(subject, prefix.data, prefix.len);
    memcpy(subject + prefix.len, name.data, name.len);
    enum pl_err err =
        pl_pattern_new_literal(pl_bytes_of(subject, len), &link->member.subscription.pattern);
    pl_free(subject);
    return err;
}

void pl_peer_on_attach(struct pl_post *post, void *context)
{
    struct pl_peer_link *link = PL_CONTAINER(post, struct pl_peer_link, attach);
    struct pl_peer_member *m = &link->member;
    struct pl_worker *home = link->peers->options.home;
    (void)context;
    pl_output_init(&m->out, &home->outputs, SIZE_MAX);
    pl_session_init(&m->session, &peer_ops, home, &m->out);
    m->session.realm = link->peers->options.realm;
    m->session.identity = pl_identity_new_all("mles", "peer");
    if (!m->session.identity || make_pattern(link)) {
        pl_session_done(&m->session);
        pl_output_done(&m->out);
        m->has_left = m->is_out = true;
        return;
    }
    m->subscription.flags = PL_SUB_NO_LOCAL;
    m->subscription.slow = PL_SLOW_OWN; /* send_frame has a limit of its own */
    pl_session_join(&m->session, 0);
    /* The claim keeps the channel's frames, as that of a member does. */
    pl_session_subscribe(&m->session, &m->subscription,
        &(struct pl_subscribe_options){.from_start = true, .claims = true}, 0);
    read_log(link, (struct pl_cursor){0, 0}, SCAN);
}

void pl_peer_on_detach(struct pl_post *post, void *context)
{
    struct pl_peer_link *link = PL_CONTAINER(post, struct pl_peer_link, detach);
    (void)context;
    link->member.is_detached = true;
    leave(link);
    tell_gone(link);
}

static void on_frame(struct pl_peer_link *link, bool is_text, struct pl_shared *bytes)
{
    struct pl_peers *p = link->peers;
    struct pl_bytes frame = pl_bytes_of(bytes->data, bytes->len);
    uint64_t before;
    bool was_known =
        pl_peers_note(link, pl_peers_hash(p, is_text, frame), pl_peer_bit(link), &before);
    if (was_known || link->member.has_left)
        return;
    struct pl_message draft = {
        .subject = link->member.subscription.pattern->text,
        .payload = frame,
        .format = is_text ? PL_FORMAT_TEXT : PL_FORMAT_BYTES,
    };
    /* One that is larger than our limits stays with the peer. */
    (void)pl_session_publish(&link->member.session, &draft, bytes, 0, 0);
}

static void on_opened(struct pl_peer_link *link, uint32_t attempt)
{
    pthread_mutex_lock(&link->peers->lock);
    pl_peer_memory_forget_peer(link->channel->memory, pl_peer_bit(link));
    pthread_mutex_unlock(&link->peers->lock);
    link->member.attempt = attempt;
    link->member.sends = link->member.catches_up = false;
}

static void count_off(struct pl_peers *p, size_t len)
{
    size_t left = atomic_fetch_sub(&p->inbound, len) - len;
    if (left < PL_PEERS_INBOUND_MAX / 2 && atomic_exchange(&p->is_paused, false))
        pl_peers_wake(p);
}

void pl_peer_on_event(struct pl_post *post, void *context)
{
    struct pl_peer_event *event = PL_CONTAINER(post, struct pl_peer_event, post);
    struct pl_peer_link *link = event->link;
    bool is_current = event->attempt == link->member.attempt;
    (void)context;
    switch ((enum pl_peer_event_kind)event->kind) {
    case PL_PEER_EVENT_OPENED:
        on_opened(link, event->attempt);
        break;
    case PL_PEER_EVENT_SETTLED:
        link->member.catches_up = is_current && !link->member.has_left;
        link->member.read = (struct pl_cursor){0, 0};
        /* fall through */
    case PL_PEER_EVENT_DRAINED:
        if (is_current && link->member.catches_up)
            catch_up(link);
        break;
    case PL_PEER_EVENT_LOST:
        if (is_current)
            link->member.sends = link->member.catches_up = false;
        break;
    case PL_PEER_EVENT_FRAME:
        if (is_current)
            on_frame(link, event->is_text, event->bytes);
        count_off(link->peers, pl_peer_cost(event->bytes));
        break;
    }
    pl_shared_unref(event->bytes);
    pl_free(event);
}
