#include "server/longpoll.h"

#include <stdalign.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/http.h"
#include "codec/value.h"
#include "net/upgrade.h"

enum {
    ID_RANDOM = 16,
    ID_LEN = 2 + 2 * ID_RANDOM, /* the shard's index, then what nobody can guess; in hex */
    HELD_MS = 10000,            /* a request for a message, without one */
    IDLE_MS = 60000,            /* a transport without a request */
    POLLS_MAX = 10000,          /* of one shard */
};

/* A message on its way, in either direction. */
struct item {
    struct item *next;
    struct pl_shared *bytes; /* owned */
    size_t used;
};

struct queue {
    struct item *first, *last;
};

struct poll {
    struct pl_map_entry entry; /* by id */
    struct pl_shard *shard;
    struct pl_output out; /* never written to: the core asks for its size */
    struct queue in, outgoing;
    struct pl_answer *receiver; /* owned; waits for a message */
    struct pl_timer timer;
    uint64_t seen_ms;     /* the last request */
    uint64_t receiver_ms; /* since when it waits */
    uint64_t tick_ms;     /* when the protocol wants to be called */
    uint64_t asked;       /* so that it never looks silent: the protocol cannot ping it */
    size_t in_bytes;      /* in `in` */
    bool is_text, is_drained;
    bool is_closed;   /* the protocol has been told; the link is not touched any more */
    bool is_released; /* the peer does not come again */
    enum pl_err why;
    char id[ID_LEN];
    char address[64];
    alignas(max_align_t) char link[];
};

static struct poll *poll_of(struct pl_link *link)
{
    return (struct poll *)(void *)((char *)link - offsetof(struct poll, link));
}

static struct pl_link *link_of(struct poll *poll)
{
    return (struct pl_link *)(void *)poll->link;
}

static void answer(
    struct pl_answer *a, unsigned status, const char *type, const void *body, size_t len)
{
    char *copy = len ? pl_alloc_copy(body, len) : NULL;
    if (len && !copy)
        pl_answer_send(a, 503, NULL, NULL, 0);
    else
        pl_answer_send(a, status, type, copy, len);
}

/* ---- Queues ---- */

static enum pl_err push(struct queue *queue, struct pl_bytes bytes)
{
    struct item *item = pl_zalloc(sizeof *item);
    struct pl_shared *copy = item ? pl_shared_new(bytes.len) : NULL;
    if (!copy) {
        pl_free(item);
        return PL_NO_MEMORY;
    }
    memcpy(copy->data, bytes.data, bytes.len);
    copy->len = (uint32_t)bytes.len;
    item->bytes = copy;
    if (queue->last)
        queue->last->next = item;
    else
        queue->first = item;
    queue->last = item;
    return PL_OK;
}

static void pop(struct queue *queue)
{
    struct item *item = queue->first;
    queue->first = item->next;
    if (!queue->first)
        queue->last = NULL;
    pl_shared_unref(item->bytes);
    pl_free(item);
}

static void clear(struct queue *queue)
{
    while (queue->first)
        pop(queue);
}

/* ---- A transport ---- */

static void free_poll(struct poll *poll)
{
    (void)!pl_timer_set(poll->shard->reactor, &poll->timer, PL_NEVER);
    pl_map_remove(&poll->shard->polls, &poll->entry);
    if (poll->receiver)
        answer(poll->receiver, 404, NULL, NULL, 0);
    clear(&poll->in);
    clear(&poll->outgoing);
    pl_output_done(&poll->out);
    pl_free(poll);
}

static void run_soon(struct poll *poll)
{
    if (pl_timer_set(poll->shard->reactor, &poll->timer, pl_reactor_now_ms(poll->shard->reactor)))
        poll->tick_ms = 0; /* without memory the next request does it */
}

/* Gives the first message to who waits for one. */
static void give(struct poll *poll)
{
    struct item *item = poll->outgoing.first;
    if (!poll->receiver || !item)
        return;
    answer(poll->receiver, 200, poll->is_text ? "application/json" : "application/octet-stream",
        item->bytes->data, item->bytes->len);
    poll->receiver = NULL;
    poll->out.bytes -= item->bytes->len;
    pop(&poll->outgoing);
    if (!poll->outgoing.first && !poll->is_closed && link_of(poll)->session)
        pl_session_drained(link_of(poll)->session);
}

/* The protocol is told that it is over; what waits for the peer can still be fetched. */
static void be_closed(struct poll *poll)
{
    struct pl_link *link = link_of(poll);
    if (poll->is_closed)
        return;
    poll->is_closed = true;
    link->is_open = false;
    link->protocol->closed(link, poll->why);
}

static void feed(struct poll *poll)
{
    struct pl_link *link = link_of(poll);
    enum pl_err err = PL_OK;
    while (poll->in.first && link->is_open && !link->is_waiting && !err) {
        struct item *item = poll->in.first;
        struct pl_bytes rest =
            pl_bytes_from(pl_bytes_of(item->bytes->data, item->bytes->len), item->used);
        size_t used = 0;
        err = link->protocol->receive(link,
            (struct pl_input){.bytes = rest,
                .buffer = item->bytes,
                .kind = poll->is_text ? PL_INPUT_TEXT_FRAME : PL_INPUT_BINARY_FRAME},
            &used);
        item->used += used;
        if (err || item->used == item->bytes->len) {
            poll->in_bytes -= item->bytes->len;
            pop(&poll->in);
        } else if (!link->is_waiting) {
            err = PL_PROTOCOL;
        }
    }
    if (err && err != PL_NEED_MORE) {
        poll->why = err;
        link->is_open = false;
    }
}

/* Whatever is due: input, ticks, ends. May free it. */
static void work(struct poll *poll)
{
    struct pl_link *link = link_of(poll);
    uint64_t now_ms = pl_reactor_now_ms(poll->shard->reactor);
    feed(poll);
    if (link->is_open && now_ms >= poll->tick_ms)
        poll->tick_ms = link->protocol->tick(link, now_ms);
    if (now_ms >= poll->seen_ms + IDLE_MS && !poll->receiver && link->is_open) {
        poll->why = PL_TIMEOUT;
        link->is_open = false;
    }
    if (!link->is_open)
        be_closed(poll);
    give(poll);
    if (poll->receiver && now_ms >= poll->receiver_ms + HELD_MS) {
        answer(poll->receiver, 204, NULL, NULL, 0);
        poll->receiver = NULL;
        poll->seen_ms = now_ms;
    }
    if (poll->is_closed && poll->receiver && !poll->outgoing.first) {
        answer(poll->receiver, 404, NULL, NULL, 0);
        poll->receiver = NULL;
    }
    /* Clients close what has ended, and want to hear that it was there. */
    if (poll->is_closed && (poll->is_released || now_ms >= poll->seen_ms + HELD_MS)) {
        free_poll(poll);
        return;
    }
    uint64_t next_ms = poll->receiver    ? poll->receiver_ms + HELD_MS
                       : poll->is_closed ? poll->seen_ms + HELD_MS
                                         : poll->seen_ms + IDLE_MS;
    if (link->is_open && poll->tick_ms < next_ms)
        next_ms = poll->tick_ms;
    (void)!pl_timer_set(poll->shard->reactor, &poll->timer, next_ms);
}

static void on_timer(struct pl_timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    work(PL_CONTAINER(timer, struct poll, timer));
}

/* ---- What the link asks ---- */

static void host_resume(struct pl_link *link)
{
    run_soon(poll_of(link));
}

static void host_close(struct pl_link *link, enum pl_err why, const struct pl_diag *diag)
{
    struct poll *poll = poll_of(link);
    (void)diag;
    if (!link->is_open)
        return;
    link->is_open = false;
    poll->why = why;
    run_soon(poll);
}

static enum pl_err host_start_tls(struct pl_link *link)
{
    (void)link;
    return PL_UNSUPPORTED;
}

static enum pl_err host_send_message(struct pl_link *link, bool is_text, struct pl_bytes message)
{
    struct poll *poll = poll_of(link);
    (void)is_text;
    enum pl_err err = push(&poll->outgoing, message);
    if (err)
        return err;
    poll->out.bytes += message.len;
    /* Not from in here: what sends may not be told that the output is empty. */
    if (poll->receiver)
        run_soon(poll);
    return PL_OK;
}

static uint64_t host_bytes_in(struct pl_link *link)
{
    return ++poll_of(link)->asked;
}

static struct pl_bytes host_request(struct pl_link *link, const char *name)
{
    (void)link;
    (void)name;
    return PL_NO_BYTES;
}

static const struct pl_link_host host = {
    .resume = host_resume,
    .close = host_close,
    .start_tls = host_start_tls,
    .send_message = host_send_message,
    .bytes_in = host_bytes_in,
    .request_header = host_request,
    .request_query = host_request,
};

/* ---- Requests ---- */

enum verb { NONE, OPEN, RECEIVE, SEND, CLOSE };

/* A request on its way to the shard of its transport. */
struct job {
    struct pl_post post;
    struct pl_answer *answer; /* owned */
    const struct pl_place *place;
    enum verb verb;
    bool is_ambient, is_tls;
    char id[ID_LEN];
    char address[64];
    size_t len;
    uint8_t body[];
};

static bool is_id(struct pl_bytes text)
{
    if (text.len != ID_LEN)
        return false;
    for (size_t i = 0; i < ID_LEN; i++) {
        uint8_t c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static unsigned nibble(uint8_t c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* "…/open", "…/ID/send". */
static enum verb read_path(struct pl_bytes path, struct pl_bytes *out_id)
{
    static const char *const names[] = {
        [OPEN] = "/open", [RECEIVE] = "/receive", [SEND] = "/send", [CLOSE] = "/close"};
    for (enum verb verb = OPEN; verb <= CLOSE; verb++) {
        struct pl_bytes end = pl_bytes_text(names[verb]);
        if (path.len < end.len || memcmp(path.data + path.len - end.len, end.data, end.len) != 0)
            continue;
        size_t left = path.len - end.len;
        *out_id = PL_NO_BYTES;
        if (verb == OPEN)
            return verb;
        if (left <= ID_LEN || path.data[left - ID_LEN - 1] != '/')
            return NONE;
        *out_id = pl_bytes_of(path.data + left - ID_LEN, ID_LEN);
        return is_id(*out_id) ? verb : NONE;
    }
    return NONE;
}

static const struct pl_protocol *protocol_of(const struct pl_place *place, size_t *out_index)
{
    for (size_t i = 0; place->port && place->port->protocols[i]; i++) {
        if (strcmp(place->port->protocols[i]->name, "wamp") == 0) {
            *out_index = i;
            return place->port->protocols[i];
        }
    }
    return NULL;
}

bool pl_longpoll_is_asked(const struct pl_place *place, const struct pl_http_request *request)
{
    struct pl_bytes id;
    size_t index;
    return pl_bytes_equal(request->method, PL_BYTES("POST")) && protocol_of(place, &index) &&
           read_path(request->path, &id) != NONE;
}

/* The first of the client's protocols that is known; NULL: none. */
static const char *choose(const struct pl_protocol *protocol, struct pl_bytes body)
{
    struct pl_value root, list, item;
    size_t used;
    if (pl_value_read(PL_SERIAL_JSON, body, &root, &used) ||
        !pl_value_find(&root, "protocols", &list) || list.kind != PL_VALUE_LIST)
        return NULL;
    struct pl_items items = pl_value_items(&list);
    while (pl_items_next(&items, NULL, &item)) {
        for (const char *const *known = protocol->websocket; *known; known++)
            if (pl_value_is(&item, *known))
                return *known;
    }
    return NULL;
}

static enum pl_err make_id(const struct pl_shard *shard, char out[ID_LEN])
{
    uint8_t bytes[1 + ID_RANDOM] = {(uint8_t)shard->index};
    if (getrandom(bytes + 1, ID_RANDOM, 0) != ID_RANDOM)
        return PL_IO;
    pl_hex_encode(pl_bytes_of(bytes, sizeof bytes), out);
    return PL_OK;
}

static void start_link(struct poll *poll, const struct job *job, const struct pl_protocol *protocol,
    size_t index, const char *subprotocol)
{
    struct pl_link *link = link_of(poll);
    struct pl_shard *shard = poll->shard;
    link->protocol = protocol;
    link->host = &host;
    link->config = &job->place->links[index];
    link->worker = shard->worker;
    link->out = &poll->out;
    link->address = pl_bytes_text(poll->address);
    link->opened_ms = pl_reactor_now_ms(shard->reactor);
    link->id = ((uint64_t)(shard->index + 1) << PL_SHARD_SHIFT) + ++shard->next_connection;
    link->is_websocket = true; /* messages, as those */
    link->is_tls = job->is_tls;
    link->is_ambient_allowed = job->is_ambient;
    link->framing = PL_FRAMING_MESSAGES;
    link->subprotocol = subprotocol;
    link->is_open = true;
}

static void open_poll(struct pl_shard *shard, struct job *job)
{
    size_t index;
    const struct pl_protocol *protocol = protocol_of(job->place, &index);
    const char *subprotocol = choose(protocol, pl_bytes_of(job->body, job->len));
    if (!subprotocol) {
        answer(job->answer, 400, NULL, NULL, 0);
        return;
    }
    struct poll *poll =
        shard->polls.count < POLLS_MAX ? pl_zalloc(sizeof *poll + protocol->link_size) : NULL;
    if (!poll || make_id(shard, poll->id) ||
        pl_map_add(&shard->polls, &poll->entry, pl_bytes_of(poll->id, ID_LEN))) {
        pl_free(poll);
        answer(job->answer, 503, NULL, NULL, 0);
        return;
    }
    poll->shard = shard;
    poll->timer.run = on_timer;
    poll->seen_ms = pl_reactor_now_ms(shard->reactor);
    poll->is_text = strncmp(subprotocol, "wamp.2.json", 11) == 0;
    memcpy(poll->address, job->address, sizeof poll->address);
    pl_output_init(&poll->out, &shard->worker->outputs, job->place->port->config->client.output);
    start_link(poll, job, protocol, index, subprotocol);
    struct pl_link *link = link_of(poll);
    if (protocol->open && protocol->open(link))
        link->is_open = false;
    char text[160];
    int len = snprintf(text, sizeof text, "{\"protocol\":\"%s\",\"transport\":\"%.*s\"}",
        subprotocol, ID_LEN, poll->id);
    answer(job->answer, 200, "application/json", text, (size_t)len);
    work(poll);
}

static void send_to(struct poll *poll, const struct job *job)
{
    struct pl_link *link = link_of(poll);
    const struct pl_link_config *config = link->config;
    bool has_entered = link->session && link->session->identity;
    size_t max = has_entered ? config->packet_max : config->packet_max_login;
    if (!link->is_open || job->len > max - (poll->in_bytes < max ? poll->in_bytes : max)) {
        answer(job->answer, link->is_open ? 413 : 404, NULL, NULL, 0);
        return;
    }
    if (push(&poll->in, pl_bytes_of(job->body, job->len))) {
        answer(job->answer, 503, NULL, NULL, 0);
        return;
    }
    poll->in_bytes += job->len;
    answer(job->answer, 204, NULL, NULL, 0);
}

static void receive_from(struct poll *poll, struct job *job, uint64_t now_ms)
{
    /* One at a time: the older one ends. */
    if (poll->receiver)
        answer(poll->receiver, 204, NULL, NULL, 0);
    poll->receiver = job->answer;
    poll->receiver_ms = now_ms;
}

static void run_job(struct pl_post *post, void *context)
{
    struct job *job = PL_CONTAINER(post, struct job, post);
    struct pl_shard *shard = pl_reactor_context(context);
    struct pl_map_entry *e =
        job->verb == OPEN ? NULL : pl_map_find(&shard->polls, pl_bytes_of(job->id, ID_LEN));
    struct poll *poll = e ? PL_CONTAINER(e, struct poll, entry) : NULL;
    if (job->verb == OPEN) {
        open_poll(shard, job);
    } else if (!poll) {
        answer(job->answer, 404, NULL, NULL, 0);
    } else {
        poll->seen_ms = pl_reactor_now_ms(shard->reactor);
        if (job->verb == SEND)
            send_to(poll, job);
        else if (job->verb == RECEIVE)
            receive_from(poll, job, poll->seen_ms);
        else
            answer(job->answer, 204, NULL, NULL, 0);
        if (job->verb == CLOSE) {
            link_of(poll)->is_open = false;
            poll->is_released = true;
            clear(&poll->outgoing);
        }
        work(poll);
    }
    pl_free(job);
}

static struct job *make_job(
    struct pl_conn *conn, const struct pl_place *place, enum verb verb, struct pl_bytes body)
{
    struct job *job = pl_zalloc(sizeof *job + body.len);
    if (!job)
        return NULL;
    struct pl_bytes address = pl_conn_address(conn);
    size_t len = address.len < sizeof job->address ? address.len : sizeof job->address - 1;
    job->post.run = run_job;
    job->place = place;
    job->verb = verb;
    job->is_tls = pl_conn_is_tls(conn);
    memcpy(job->address, address.data, len);
    job->len = body.len;
    if (body.len)
        memcpy(job->body, body.data, body.len);
    return job;
}

void pl_longpoll_serve(struct pl_conn *conn, const struct pl_place *place,
    const struct pl_http_request *request, struct pl_bytes body, bool is_ambient)
{
    struct pl_server *server = place->server;
    struct pl_bytes id;
    enum verb verb = read_path(request->path, &id);
    struct pl_shard *shard = pl_conn_shard(conn);
    if (verb != OPEN) {
        unsigned index = id.len ? nibble(id.data[0]) << 4 | nibble(id.data[1]) : UINT32_MAX;
        if (index >= server->shard_count) {
            pl_conn_answer_status(conn, 404);
            return;
        }
        shard = &server->shards[index];
    }
    struct job *job = make_job(conn, place, verb, body);
    if (!job || !(job->answer = pl_answer_begin(conn, request))) {
        if (!job)
            pl_conn_answer_status(conn, 503);
        pl_free(job);
        return;
    }
    if (id.len)
        memcpy(job->id, id.data, ID_LEN);
    job->is_ambient = is_ambient;
    pl_reactor_post(shard->reactor, &job->post);
}

/* ---- Going down ---- */

void pl_longpolls_drain(struct pl_shard *shard)
{
    struct pl_map_entry *e = NULL;
    while ((e = pl_map_next(&shard->polls, e))) {
        struct poll *poll = PL_CONTAINER(e, struct poll, entry);
        struct pl_link *link = link_of(poll);
        if (poll->is_drained || !link->is_open)
            continue;
        poll->is_drained = link->is_draining = true;
        link->protocol->drain(link);
    }
}

void pl_longpolls_close(struct pl_shard *shard)
{
    struct pl_map_entry *e;
    while ((e = pl_map_next(&shard->polls, NULL))) {
        struct poll *poll = PL_CONTAINER(e, struct poll, entry);
        poll->why = PL_DRAINING;
        be_closed(poll);
        free_poll(poll);
    }
}

void pl_longpolls_free(struct pl_shard *shard)
{
    struct pl_map_entry *e;
    while ((e = pl_map_next(&shard->polls, NULL))) {
        struct poll *poll = PL_CONTAINER(e, struct poll, entry);
        pl_map_remove(&shard->polls, e);
        if (poll->receiver)
            pl_free(poll->receiver);
        clear(&poll->in);
        clear(&poll->outgoing);
        pl_free(poll);
    }
    pl_map_done(&shard->polls);
}
