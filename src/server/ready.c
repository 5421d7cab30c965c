/*
 * /readyz: does a message really go through? A session of the server's own on the home shard
 * subscribes a subject; for each question it publishes there and waits for what it published.
 *
 * Many may ask at a time: one message answers all who asked before it was sent.
 */
#include <sys/random.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/http.h"
#include "net/upgrade.h"
#include "server/state.h"

enum { PROBE_MS = 2000, WAITING_MAX = 64, SUBJECT_RANDOM = 16 };

/* Belongs to the home shard. */
struct pl_probe {
    struct pl_session session;
    struct pl_subscription subscription;
    struct pl_output_pool *pool;
    struct pl_output out; /* never written to: the core asks for its size */
    struct pl_server *server;
    /* "_INBOX.", then what nobody can guess: no wildcard sees it, nobody else publishes there. */
    char subject[7 + 2 * SUBJECT_RANDOM + 1];
    bool is_subscribed, has_left, is_sent;
    struct pl_answer *waiting[WAITING_MAX];
    uint64_t since_ms[WAITING_MAX]; /* when each asked */
    uint32_t count, sent_count;     /* sent_count: of these, asked before the message was sent */
    struct pl_timer timer;
};

static void answer(struct pl_answer *a, bool is_ready)
{
    static const char yes[] = "ready\n", no[] = "not ready\n";
    const char *text = is_ready ? yes : no;
    size_t len = strlen(text);
    char *body = pl_alloc_copy(text, len);
    pl_answer_send(a, is_ready ? 200 : 503, "text/plain; charset=utf-8", body, body ? len : 0);
}

/* The first `count` of those who wait. */
static void answer_first(struct pl_probe *probe, uint32_t count, bool is_ready)
{
    for (uint32_t i = 0; i < count; i++)
        answer(probe->waiting[i], is_ready);
    probe->count -= count;
    memmove(probe->waiting, probe->waiting + count, probe->count * sizeof probe->waiting[0]);
    memmove(probe->since_ms, probe->since_ms + count, probe->count * sizeof probe->since_ms[0]);
    probe->sent_count = 0;
    probe->is_sent = false;
}

static void send_probe(struct pl_probe *probe)
{
    struct pl_message draft = {.subject = pl_bytes_text(probe->subject), .payload = PL_BYTES("?")};
    enum pl_err err = pl_session_publish(&probe->session, &draft, NULL, 0, 0);
    probe->is_sent = !err;
    probe->sent_count = probe->count;
    if (err)
        answer_first(probe, probe->count, false);
}

static void deliver(
    struct pl_session *session, struct pl_subscription *sub, const struct pl_run *run)
{
    struct pl_probe *probe = PL_CONTAINER(session, struct pl_probe, session);
    (void)sub;
    (void)run;
    answer_first(probe, probe->sent_count, true);
    if (probe->count)
        send_probe(probe);
}

static void complete(struct pl_session *session, const struct pl_completion *done)
{
    struct pl_probe *probe = PL_CONTAINER(session, struct pl_probe, session);
    if (done->kind == PL_DONE_SUBSCRIBE)
        probe->is_subscribed = done->err == PL_OK;
    if (done->kind == PL_DONE_LEAVE)
        probe->has_left = true;
}

static void ended(struct pl_session *session, enum pl_err why)
{
    (void)why;
    pl_session_leave(session, false);
}

static const struct pl_session_ops probe_ops = {
    .name = "parley",
    .deliver = deliver,
    .complete = complete,
    .ended = ended,
};

static void on_timer(struct pl_timer *timer, uint64_t now_ms)
{
    struct pl_probe *probe = PL_CONTAINER(timer, struct pl_probe, timer);
    uint32_t late = 0;
    while (late < probe->count && now_ms - probe->since_ms[late] >= PROBE_MS)
        late++;
    if (late)
        answer_first(probe, late, false);
    uint64_t next_ms = probe->count ? probe->since_ms[0] + PROBE_MS : PL_NEVER;
    if (pl_timer_set(probe->server->shards[0].reactor, timer, next_ms))
        answer_first(probe, probe->count, false);
}

/* On the home shard: someone asks. */
static void on_asked(struct pl_post *post, void *context)
{
    struct pl_answer *a = PL_CONTAINER(post, struct pl_answer, post);
    struct pl_shard *home = &a->shard->server->shards[0];
    struct pl_probe *probe = home->server->probe;
    uint64_t now_ms = pl_reactor_now_ms(home->reactor);
    (void)context;
    if (!probe || !probe->is_subscribed || probe->has_left || probe->count == WAITING_MAX ||
        atomic_load(&home->server->is_draining) ||
        (probe->count == 0 && pl_timer_set(home->reactor, &probe->timer, now_ms + PROBE_MS))) {
        answer(a, false);
        return;
    }
    probe->waiting[probe->count] = a;
    probe->since_ms[probe->count++] = now_ms;
    if (!probe->is_sent)
        send_probe(probe);
}

void pl_ready_ask(struct pl_conn *conn, const struct pl_http_request *request)
{
    struct pl_answer *a = pl_answer_begin(conn, request);
    if (!a)
        return;
    a->post.run = on_asked;
    pl_reactor_post(a->shard->server->shards[0].reactor, &a->post);
}

enum pl_err pl_probe_open(struct pl_server *server)
{
    struct pl_probe *probe = pl_zalloc(sizeof *probe);
    if (!probe)
        return PL_NO_MEMORY;
    struct pl_worker *worker = server->shards[0].worker;
    uint8_t random[SUBJECT_RANDOM];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        pl_free(probe);
        return PL_IO;
    }
    memcpy(probe->subject, "_INBOX.", 7);
    pl_hex_encode(pl_bytes_of(random, sizeof random), probe->subject + 7);
    probe->server = server;
    probe->timer.run = on_timer;
    pl_output_init(&probe->out, &worker->outputs, 1 << 16);
    pl_session_init(&probe->session, &probe_ops, worker, &probe->out);
    probe->session.identity = pl_identity_new_all("parley", "all");
    probe->session.realm = server->realms[0];
    enum pl_err err =
        probe->session.identity
            ? pl_pattern_new_literal(pl_bytes_text(probe->subject), &probe->subscription.pattern)
            : PL_NO_MEMORY;
    if (err) {
        pl_session_done(&probe->session);
        pl_output_done(&probe->out);
        pl_free(probe);
        return err;
    }
    server->probe = probe;
    pl_session_join(&probe->session, 0);
    pl_session_subscribe(&probe->session, &probe->subscription, NULL, 0);
    return PL_OK;
}

void pl_probe_close(struct pl_server *server)
{
    struct pl_probe *probe = server->probe;
    if (!probe)
        return;
    answer_first(probe, probe->count, false);
    (void)!pl_timer_set(server->shards[0].reactor, &probe->timer, PL_NEVER);
    pl_session_leave(&probe->session, false);
}

struct pl_probe *pl_probe_free(struct pl_probe *probe)
{
    if (probe) {
        pl_session_done(&probe->session);
        pl_output_done(&probe->out);
        pl_free(probe);
    }
    return NULL;
}
