#include "server/errand.h"

#include "base/alloc.h"
#include "net/upgrade.h"

enum {
    TAKEN_AT = PL_WEB_PIECE / 2 - 1, /* a piece is over it, and taken when half of this is left */
    SMALL = 65536,                   /* left of an answer: the next request need not wait for it */
};

static const struct pl_answer_ops errand_answer_ops = {
    .drained = pl_errand_drained, .gone = pl_errand_gone};

enum pl_err pl_line_init(
    struct pl_line *line, uint32_t threads, uint32_t open_max, uint32_t waiting_max)
{
    line->open_max = open_max;
    line->waiting_max = waiting_max;
    pthread_mutex_init(&line->lock, NULL);
    line->pool = pl_pool_new(threads, open_max);
    return line->pool ? PL_OK : PL_NO_MEMORY;
}

uint32_t pl_line_waiting(struct pl_line *line)
{
    if (!line->pool)
        return 0;
    pthread_mutex_lock(&line->lock);
    uint32_t waiting = line->waiting;
    pthread_mutex_unlock(&line->lock);
    return waiting;
}

void pl_line_done(struct pl_line *line)
{
    if (!line->pool)
        return;
    line->pool = pl_pool_free(line->pool);
    pthread_mutex_destroy(&line->lock);
}

/* ---- Places ---- */

static void to_thread(struct pl_errand *x);

/* A place, or one in the line, from where other threads take it. PL_LIMIT: the line is full. */
static enum pl_err enter(struct pl_line *line, struct pl_errand *x, bool *out_has_slot)
{
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&line->lock);
    if (line->open < line->open_max) {
        line->open++;
        x->has_slot = *out_has_slot = true;
    } else if (line->waiting < line->waiting_max) {
        if (line->first)
            line->last->next = x;
        else
            line->first = x;
        line->last = x;
        line->waiting++;
    } else {
        err = PL_LIMIT;
    }
    pthread_mutex_unlock(&line->lock);
    return err;
}

static struct pl_errand *next_waiting(struct pl_line *line)
{
    struct pl_errand *next = line->first;
    if (next) {
        line->first = next->next;
        line->waiting--;
    }
    return next;
}

/* Gives the place to who has waited longest. */
static void leave(struct pl_errand *x)
{
    struct pl_line *line = x->line;
    if (!x->has_slot)
        return;
    x->has_slot = false;
    pthread_mutex_lock(&line->lock);
    struct pl_errand *next = next_waiting(line);
    if (!next)
        line->open--;
    else
        next->has_slot = true;
    pthread_mutex_unlock(&line->lock);
    if (next)
        to_thread(next);
}

/* ---- On the shard ---- */

static void errand_free(struct pl_errand *x)
{
    leave(x);
    pl_web_answer_done(&x->result);
    pl_shared_unref(x->piece);
    x->ops->done(x);
}

static enum pl_err append(struct pl_conn *conn, struct pl_shared *shared)
{
    return shared ? pl_output_append_shared(
                        pl_conn_output(conn), shared, pl_bytes_of(shared->data, shared->len))
                  : PL_OK;
}

void pl_errand_wait_for_client(const struct pl_errand *x)
{
    uint64_t now_ms = pl_reactor_now_ms(x->answer.shard->reactor);
    pl_conn_set_timer(
        x->answer.conn, x->line->timeout_ms == PL_NEVER ? PL_NEVER : now_ms + x->line->timeout_ms);
}

/* The connection is free for the next request, or ends. */
static void finish(struct pl_errand *x)
{
    struct pl_conn *conn = x->answer.conn;
    if (x->has_begun)
        pl_conn_output(conn)->bytes_max = x->output_max;
    pl_connection_set_answer(conn, NULL);
    if (x->err) {
        pl_conn_abort(conn, x->err); /* the length that was told does not hold */
    } else if (x->answer.keeps_alive) {
        pl_conn_set_timer(conn, pl_reactor_now_ms(x->answer.shard->reactor) + x->line->idle_ms);
        pl_conn_resume(conn);
    } else {
        pl_conn_close(conn, PL_OK, NULL);
    }
    errand_free(x);
}

void pl_errand_cancel(struct pl_errand *x)
{
    x->answer.keeps_alive = false;
    finish(x);
}

static void send_head(struct pl_errand *x)
{
    struct pl_output *out = pl_conn_output(x->answer.conn);
    x->has_begun = true;
    x->output_max = out->bytes_max;
    if (x->ops->tell)
        x->ops->tell(x);
    /* "HTTP/1.1 200" */
    pl_web_tally_add(x->line->tally, x->err ? 5 : (unsigned)(x->result.head->data[9] - '0'));
    if (x->err) {
        pl_conn_answer_status(x->answer.conn, 503);
        x->err = PL_OK;
        x->answer.keeps_alive = false;
        return;
    }
    x->err = append(x->answer.conn, x->result.head);
    if (!x->err)
        x->err = append(x->answer.conn, x->result.body);
}

/* What a thread has found goes to the client. */
static void on_back(struct pl_post *post, void *context)
{
    struct pl_errand *x = PL_CONTAINER(post, struct pl_errand, answer.post);
    struct pl_conn *conn = x->answer.conn;
    (void)context;
    x->is_away = false;
    if (!conn) {
        errand_free(x);
        return;
    }
    if (!x->has_begun)
        send_head(x);
    else if (!x->err)
        x->err = append(conn, x->piece);
    x->piece = pl_shared_unref(x->piece);
    bool is_whole = x->err || x->result.fd < 0;
    bool is_small = pl_conn_output(conn)->bytes <= SMALL;
    if (is_whole && !x->ops->keeps_place)
        leave(x);
    if (is_whole && (x->err || is_small)) {
        finish(x);
        return;
    }
    /* The whole of it must be gone before the connection may end or idle. */
    pl_conn_output(conn)->bytes_max = is_whole ? 0 : TAKEN_AT;
    pl_errand_wait_for_client(x);
}

void pl_errand_drained(struct pl_answer *answer)
{
    struct pl_errand *x = PL_CONTAINER(answer, struct pl_errand, answer);
    if (x->is_away || !x->has_begun)
        return;
    if (x->result.fd < 0) {
        finish(x);
        return;
    }
    x->is_away = true;
    pl_conn_set_timer(answer->conn, PL_NEVER);
    to_thread(x);
}

void pl_errand_gone(struct pl_answer *answer)
{
    struct pl_errand *x = PL_CONTAINER(answer, struct pl_errand, answer);
    if (!x->is_away)
        errand_free(x);
    else
        atomic_store(&x->is_gone, true);
}

/* ---- On a thread of the pool ---- */

static void come_back(struct pl_errand *x)
{
    x->answer.post.run = on_back;
    pl_reactor_post(x->answer.shard->reactor, &x->answer.post);
}

static void run(struct pl_pool_job *job)
{
    struct pl_errand *x = PL_CONTAINER(job, struct pl_errand, job);
    if (atomic_load(&x->is_gone))
        x->err = PL_CLOSED;
    else
        x->err = x->has_begun ? pl_web_answer_read(&x->result, &x->piece) : x->ops->work(x);
    come_back(x);
}

static void drop(struct pl_pool_job *job)
{
    struct pl_errand *x = PL_CONTAINER(job, struct pl_errand, job);
    x->err = PL_DRAINING;
    come_back(x);
}

/* From any thread. It comes back in any case. */
static void to_thread(struct pl_errand *x)
{
    x->job.run = run;
    x->job.drop = drop;
    enum pl_err err = pl_pool_submit(x->line->pool, &x->job);
    if (!err)
        return; /* it may be gone by now */
    x->err = err;
    come_back(x);
}

/* ---- The beginning and the end ---- */

void pl_errand_begin(struct pl_errand *x, struct pl_conn *conn, struct pl_line *line,
    const struct pl_errand_ops *ops, const struct pl_answer_ops *answer_ops, bool keeps_alive)
{
    x->line = line;
    x->ops = ops;
    x->result.fd = -1;
    x->answer = (struct pl_answer){
        .ops = answer_ops ? answer_ops : &errand_answer_ops,
        .conn = conn,
        .shard = pl_conn_shard(conn),
        .keeps_alive = keeps_alive,
    };
    pl_connection_set_answer(conn, &x->answer);
}

void pl_errand_submit(struct pl_errand *x)
{
    bool has_slot = false;
    pl_conn_pause(x->answer.conn);
    pl_conn_set_timer(x->answer.conn, PL_NEVER);
    x->is_away = true;
    enum pl_err err = enter(x->line, x, &has_slot);
    if (err) {
        x->err = err;
        come_back(x);
    } else if (has_slot) {
        to_thread(x);
    }
}

void pl_line_end(struct pl_line *line)
{
    if (!line->pool)
        return;
    pl_pool_end(line->pool);
    /* Those in the line come back as those do whom the pool has dropped. */
    for (;;) {
        pthread_mutex_lock(&line->lock);
        struct pl_errand *next = next_waiting(line);
        pthread_mutex_unlock(&line->lock);
        if (!next)
            break;
        next->err = PL_DRAINING;
        come_back(next);
    }
}
