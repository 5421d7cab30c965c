/*
 * A Redis connection: requests in, one after the other.
 *
 *     connected ── first command that needs it ──▶ logging in (anonymous) ──▶ joined
 *         │                                              └─ refused: NOAUTH to every command
 *         └─ AUTH, HELLO … AUTH ──▶ logging in ──▶ joined, under that name
 *
 * Until a login is answered no input is taken, so its reply and all after it stand in order. Who is
 * logged in already and logs in again goes on with the same session: so a token is renewed without
 * a gap in what is subscribed. RESET leaves the realm; what follows logs in anew.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "protocols/redis/redis.h"
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_session.h"

static enum pl_sniff redis_sniff(struct pl_bytes first)
{
    if (!first.len)
        return PL_SNIFF_MORE;
    return first.data[0] == '*' ? PL_SNIFF_YES : PL_SNIFF_NO;
}

static enum pl_err redis_open(struct pl_link *base)
{
    struct pl_redis_link *link = pl_redis_link_of(base);
    link->resp = link->push_resp = 2;
    link->answers.held = link->answers.group = pl_writer_new();
    link->card = pl_redis_card_new(link);
    return link->card ? PL_OK : PL_NO_MEMORY;
}

static void session_free(struct pl_redis_session *s)
{
    if (!s)
        return;
    pl_redis_subscriptions_free(s);
    pl_redis_card_unref(s->card);
    pl_session_done(&s->core);
    pl_free(s);
}

static struct pl_redis_session *session_new(struct pl_redis_link *link)
{
    struct pl_redis_session *s = pl_zalloc(sizeof *s);
    if (!s)
        return NULL;
    pl_session_init(&s->core, &pl_redis_session_ops, link->base.worker, link->base.out);
    for (int kind = 0; kind < PL_REDIS_KIND_COUNT; kind++)
        pl_map_init(&s->subs[kind], link->base.id);
    s->link = link;
    s->card = pl_redis_card_ref(link->card);
    return s;
}

void pl_redis_log_in(
    struct pl_redis_link *link, const struct pl_credentials *shown, enum pl_redis_login kind)
{
    if (!link->candidate)
        link->candidate = session_new(link);
    if (!link->candidate) {
        pl_redis_close(link, PL_NO_MEMORY, NULL);
        return;
    }
    struct pl_credentials credentials = *shown;
    credentials.address = link->base.address;
    credentials.protocol = pl_redis_protocol.name;
    credentials.listener = link->base.config->listener;
    credentials.is_ambient_allowed = link->base.is_ambient_allowed;
    link->login = (uint8_t)kind;
    link->base.is_waiting = true;
    pl_session_login(&link->candidate->core, &credentials, PL_REDIS_QUIET);
}

void pl_redis_leave(struct pl_redis_link *link, bool is_answered)
{
    struct pl_redis_session *s = link->session;
    s->is_answered = is_answered;
    link->leaving = s;
    link->session = NULL;
    link->base.session = NULL;
    pl_session_leave(&s->core, false);
}

/* CLIENT REPLY SKIP is for one command. */
static void end_command(struct pl_redis_link *link)
{
    link->skips = link->skips_next;
    link->skips_next = false;
}

/* The reply to AUTH or HELLO … AUTH; the anonymous login has none. */
static void tell_login(struct pl_redis_link *link, enum pl_err err)
{
    enum pl_redis_login kind = (enum pl_redis_login)link->login;
    link->login = PL_REDIS_LOGIN_NONE;
    if (kind == PL_REDIS_LOGIN_FIRST || (kind == PL_REDIS_LOGIN_HELLO_ANONYMOUS && err)) {
        link->is_refused = err != PL_OK;
        if (kind == PL_REDIS_LOGIN_HELLO_ANONYMOUS)
            pl_redis_reply_error(link, "%s", pl_redis_hello_first);
    } else if (err && link->is_password_only && err == PL_BAD_LOGIN &&
               !link->base.config->requires_login) {
        pl_redis_reply_error(link,
            "ERR AUTH <password> called without any password configured for the default user. Are "
            "you sure your configuration is correct?");
    } else if (err == PL_LIMIT || err == PL_NO_MEMORY) {
        pl_redis_reply_error(link, "ERR max number of clients reached");
    } else if (err) {
        pl_redis_reply_error(link, "WRONGPASS invalid username-password pair or user is disabled.");
    } else if (kind != PL_REDIS_LOGIN_AUTH) {
        pl_redis_hello_done(link);
    } else {
        pl_redis_reply_ok(link);
    }
    link->hello_name = pl_shared_unref(link->hello_name);
    link->is_password_only = false;
    if (kind != PL_REDIS_LOGIN_FIRST)
        end_command(link);
    if (!link->base.is_open)
        return;
    link->base.is_waiting = false;
    link->base.host->resume(&link->base);
}

static void on_login(struct pl_redis_session *s, const struct pl_completion *done)
{
    struct pl_redis_link *link = s->link;
    if (!link)
        return;
    if (done->err) {
        tell_login(link, done->err);
        return;
    }
    struct pl_redis_session *old = link->session;
    struct pl_identity *identity = s->core.identity;
    if (old && old->core.realm == s->core.realm) {
        /* The session goes on under the new name, without what that may not have. */
        pl_redis_review_subscriptions(link, identity);
        pl_session_rejoin(&old->core, pl_identity_ref(identity), PL_REDIS_QUIET);
        link->candidate = NULL;
        s->link = NULL;
        pl_session_leave(&s->core, false);
        return;
    }
    if (old) {
        pl_redis_review_subscriptions(link, NULL);
        pl_redis_leave(link, false);
    }
    pl_session_join(&s->core, PL_REDIS_QUIET);
}

static void on_join(struct pl_redis_session *s, const struct pl_completion *done)
{
    struct pl_redis_link *link = s->link;
    if (!link)
        return;
    if (done->err) {
        /* Nobody is left to speak for: an older session has gone already. */
        pl_redis_reply_error(link, "ERR max number of clients reached");
        pl_redis_close(link, done->err, NULL);
        return;
    }
    if (link->candidate == s)
        link->candidate = NULL;
    link->session = s;
    link->base.session = &s->core;
    link->is_refused = false;
    tell_login(link, PL_OK);
}

static void on_left(struct pl_redis_session *s, const struct pl_completion *done)
{
    struct pl_redis_link *link = s->link;
    if (link && link->leaving == s)
        link->leaving = NULL;
    if (link && link->session == s) {
        /* The core ended it unasked. */
        link->session = NULL;
        link->base.session = NULL;
        pl_redis_close(link, done->err, NULL);
    }
    bool is_answered = s->is_answered;
    session_free(s);
    if (link && is_answered)
        pl_redis_answered(link, done);
}

static void redis_complete(struct pl_session *session, const struct pl_completion *done)
{
    struct pl_redis_session *s = pl_redis_session_of(session);
    struct pl_redis_link *link = s->link;
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        on_login(s, done);
        return;
    case PL_DONE_JOIN:
        on_join(s, done);
        return;
    case PL_DONE_SUBSCRIBE:
        if (done->err)
            pl_redis_on_subscribed(s, done);
        break;
    case PL_DONE_UNSUBSCRIBE:
        pl_redis_on_unsubscribed(done);
        break;
    case PL_DONE_PUBLISH:
        break;
    case PL_DONE_LEAVE:
        on_left(s, done);
        return;
    case PL_DONE_CLAIM:
    case PL_DONE_REPLAY:
    case PL_DONE_STATE:
    case PL_DONE_FENCE:
    case PL_DONE_REGISTER:
    case PL_DONE_UNREGISTER:
    case PL_DONE_LOG:
        return;
    }
    if (link && done->token == PL_REDIS_ANSWERS)
        pl_redis_answered(link, done);
}

/* The real server has no words for these: a client that is killed or too slow is closed. */
static void redis_ended(struct pl_session *session, enum pl_err why)
{
    struct pl_redis_link *link = pl_redis_session_of(session)->link;
    if (!link)
        return;
    link->is_done = true;
    if (link->base.is_open)
        link->base.host->close(&link->base, why, NULL);
}

const struct pl_session_ops pl_redis_session_ops = {
    .name = "redis",
    .encode = pl_redis_encode,
    .deliver = pl_redis_deliver,
    .complete = redis_complete,
    .ended = redis_ended,
};

static void reject(struct pl_redis_link *link)
{
    if (link->transaction.is_open)
        link->transaction.is_aborted = true;
}

static void reject_unknown(struct pl_redis_link *link, const struct pl_resp_request *request)
{
    enum { NAME_MAX_TOLD = 128, ARGS_MAX_TOLD = 128 };
    char args[2 * ARGS_MAX_TOLD] = "";
    size_t len = 0;
    struct pl_resp_args rest = pl_resp_args(request, 1);
    struct pl_bytes arg;
    while (len < ARGS_MAX_TOLD && pl_resp_next(&rest, &arg)) {
        int n = snprintf(args + len, sizeof args - len, "'%.*s' ",
            (int)(arg.len < ARGS_MAX_TOLD - len ? arg.len : ARGS_MAX_TOLD - len), arg.data);
        len += n > 0 ? (size_t)n : 0;
    }
    struct pl_bytes name = request->args[0];
    pl_redis_reply_error(link, "ERR unknown command '%.*s', with args beginning with: %s",
        (int)(name.len < NAME_MAX_TOLD ? name.len : NAME_MAX_TOLD), name.data, args);
}

static bool is_arity_right(const struct pl_redis_command *command, uint32_t count)
{
    return command->arity < 0 ? count >= (uint32_t)-command->arity
                              : count == (uint32_t)command->arity;
}

/* The command of this name. The last one is remembered as it was typed: most clients use one. */
static const struct pl_redis_command *look_up(struct pl_redis_link *link, struct pl_bytes name)
{
    if (link->command && pl_bytes_equal(name, pl_bytes_of(link->typed, link->typed_len)))
        return link->command;
    const struct pl_redis_command *command = pl_redis_find_command(name);
    if (command && name.len <= sizeof link->typed) {
        link->command = command;
        memcpy(link->typed, name.data, name.len);
        link->typed_len = (uint8_t)name.len;
    }
    return command;
}

/* The command that the request means, or NULL when it was told that there is none. */
static const struct pl_redis_command *find_command(
    struct pl_redis_link *link, const struct pl_resp_request *request)
{
    const struct pl_redis_command *command = look_up(link, request->args[0]);
    /* Somebody's browser was talked into this: not another byte of it is looked at. */
    if (!command && (pl_bytes_equal_nocase(request->args[0], PL_BYTES("post")) ||
                        pl_bytes_equal_nocase(request->args[0], PL_BYTES("host:")))) {
        pl_redis_close(link, PL_PROTOCOL, "a request of another protocol: POST or Host:");
        return NULL;
    }
    if (!command) {
        reject(link);
        reject_unknown(link, request);
        return NULL;
    }
    if (command->subcommands && request->count > 1) {
        const struct pl_redis_command *container = command;
        command = pl_redis_find_subcommand(container, request->args[1]);
        if (!command) {
            struct pl_bytes word = request->args[1];
            char upper[16] = "";
            for (size_t i = 0; container->name[i] && i + 1 < sizeof upper; i++)
                upper[i] = (char)(container->name[i] - 'a' + 'A');
            reject(link);
            pl_redis_reply_error(link, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                (int)(word.len < 128 ? word.len : 128), word.data, upper);
            return NULL;
        }
    }
    if (!is_arity_right(command, request->count)) {
        reject(link);
        pl_redis_reply_error(link, "ERR wrong number of arguments for '%s' command", command->name);
        return NULL;
    }
    return command;
}

static bool may_still_log_in(const struct pl_redis_link *link)
{
    return !link->base.config->requires_login && !link->is_refused;
}

/* Queues a command between MULTI and EXEC. */
static void queue(struct pl_redis_link *link, const struct pl_redis_command *command,
    const struct pl_resp_request *request)
{
    struct pl_redis_transaction *t = &link->transaction;
    struct pl_writer *w = &t->commands;
    bool is_denied = false;
    if ((command->run == pl_redis_on_publish || command->run == pl_redis_on_spublish) &&
        !pl_subject_is_inbox(request->args[1]))
        is_denied = !pl_identity_may_publish(link->session->core.identity, request->args[1]);
    if (is_denied || (command->flags & PL_REDIS_NOT_IN_MULTI)) {
        reject(link);
        pl_redis_reply_error(link, "%s",
            is_denied ? pl_redis_no_permission : "ERR Command not allowed inside a transaction");
        return;
    }
    pl_resp_write_array(w, request->count);
    struct pl_resp_args args = pl_resp_args(request, 0);
    struct pl_bytes arg;
    while (pl_resp_next(&args, &arg))
        pl_resp_write_bulk(w, arg);
    t->count++;
    atomic_store_explicit(&link->card->queued, (int32_t)t->count, memory_order_relaxed);
    if (w->err || w->len > link->base.config->packet_max) {
        reject(link);
        pl_redis_reply_error(link, "ERR the transaction is too large");
        return;
    }
    pl_resp_write_status(pl_redis_reply(link), "QUEUED");
    pl_redis_replied(link);
}

/* What may stop a command that is known. True: it was answered. False and *out_wait: it waits. */
static bool is_refused(
    struct pl_redis_link *link, const struct pl_redis_command *command, bool *out_wait)
{
    if (!link->session && !(command->flags & PL_REDIS_NO_AUTH)) {
        if (may_still_log_in(link)) {
            *out_wait = true;
            pl_redis_log_in(link, &(struct pl_credentials){0}, PL_REDIS_LOGIN_FIRST);
            return true;
        }
        reject(link);
        pl_redis_reply_error(link, "NOAUTH Authentication required.");
        return true;
    }
    if (link->resp == 2 && pl_redis_is_subscribed(link) &&
        !(command->flags & PL_REDIS_WHILE_SUBSCRIBED)) {
        reject(link);
        pl_redis_reply_error(link,
            "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
            "are allowed in this context",
            command->name);
        return true;
    }
    return false;
}

bool pl_redis_run(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    const struct pl_redis_command *command = find_command(link, request);
    bool must_wait = false;
    if (command && is_refused(link, command, &must_wait)) {
        if (must_wait)
            return false;
    } else if (command) {
        atomic_store_explicit(&link->card->command, command, memory_order_relaxed);
        if (link->transaction.is_open && !(command->flags & PL_REDIS_NOT_QUEUED))
            queue(link, command, request);
        else
            command->run(link, request, buffer);
    }
    if (!link->login)
        end_command(link);
    return true;
}

static struct pl_resp_limits limits_of(const struct pl_redis_link *link)
{
    const struct pl_link_config *config = link->base.config;
    bool is_login = !link->session && !may_still_log_in(link);
    uint32_t max = is_login ? config->packet_max_login : config->packet_max;
    uint32_t line = config->line_max < PL_RESP_LINE_MAX ? config->line_max : PL_RESP_LINE_MAX;
    return (struct pl_resp_limits){
        .line_max = line, .bulk_max = max, .request_max = max, .is_login = is_login};
}

/* An inline line: turned into an array request in memory of its own, then run. */
static enum pl_err take_inline(struct pl_redis_link *link, struct pl_bytes in,
    const struct pl_resp_limits *limits, size_t *out_used, bool *out_waits, struct pl_diag *diag)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *buffer = NULL;
    enum pl_err err = pl_resp_decode_inline(in, limits, &w, out_used, diag);
    if (err) {
        pl_shared_unref(w.spill);
        return err;
    }
    err = pl_writer_take(&w, &buffer);
    if (err)
        return err;
    struct pl_resp_limits wide = *limits;
    wide.request_max = wide.bulk_max = UINT32_MAX;
    struct pl_resp_request request = {0};
    struct pl_resp_scan scan = {0};
    size_t used = 0;
    if (buffer->len)
        err = pl_resp_decode(
            pl_bytes_of(buffer->data, buffer->len), &wide, &scan, &request, &used, diag);
    if (!err && request.count)
        *out_waits = !pl_redis_run(link, &request, buffer);
    pl_shared_unref(buffer);
    return err;
}

static enum pl_err take_array(struct pl_redis_link *link, struct pl_bytes in,
    struct pl_shared *buffer, const struct pl_resp_limits *limits, size_t *out_used,
    bool *out_waits, struct pl_diag *diag)
{
    struct pl_resp_request request;
    enum pl_err err = pl_resp_decode(in, limits, &link->scan, &request, out_used, diag);
    if (!err && request.count)
        *out_waits = !pl_redis_run(link, &request, buffer);
    return err;
}

/* A peer may send little before its login. A first request that is larger has it while it comes. */
static void log_in_before_big_request(struct pl_redis_link *link, size_t waiting)
{
    if (waiting > PL_RESP_LOGIN_BULK_MAX && !link->session && may_still_log_in(link))
        pl_redis_log_in(link, &(struct pl_credentials){0}, PL_REDIS_LOGIN_FIRST);
}

static enum pl_err redis_receive(struct pl_link *base, struct pl_input in, size_t *out_used)
{
    struct pl_redis_link *link = pl_redis_link_of(base);
    size_t at = 0;
    struct pl_diag diag = {0};
    enum pl_err err = PL_OK;
    atomic_store_explicit(&link->card->active_ms, base->worker->now_ms, memory_order_relaxed);
    while (at < in.bytes.len && !link->is_done && !base->is_waiting && base->is_open) {
        struct pl_bytes rest = pl_bytes_from(in.bytes, at);
        struct pl_resp_limits limits = limits_of(link);
        size_t used = 0;
        bool waits = false;
        if (rest.data[0] == '*')
            err = take_array(link, rest, in.buffer, &limits, &used, &waits, &diag);
        else if (!base->config->is_shared)
            err = take_inline(link, rest, &limits, &used, &waits, &diag);
        else {
            pl_diag_set(&diag, 0, "Protocol error: expected '*'");
            err = PL_MALFORMED;
        }
        if (err || waits)
            break;
        at += used;
        (void)pl_redis_check_unread(link);
    }
    if (err == PL_MALFORMED) {
        link->is_silent = link->skips = false;
        pl_redis_reply_error(link, "ERR %s", diag.text);
        pl_redis_close(link, PL_MALFORMED, diag.text);
    } else if (err == PL_NEED_MORE) {
        log_in_before_big_request(link, in.bytes.len - at);
    } else if (err) {
        pl_redis_close(link, err, NULL);
    }
    *out_used = link->is_done ? in.bytes.len : at;
    return PL_OK;
}

/* A peer that has not logged in in time goes; where anonymous is enough, that is tried for it. */
static uint64_t redis_tick(struct pl_link *base, uint64_t now_ms)
{
    struct pl_redis_link *link = pl_redis_link_of(base);
    if (link->session || link->is_done || base->config->login_ms == PL_NEVER)
        return PL_NEVER;
    uint64_t due_ms = base->opened_ms + base->config->login_ms;
    if (now_ms < due_ms)
        return due_ms;
    if (link->candidate && link->login)
        return now_ms + 1000;
    if (may_still_log_in(link)) {
        pl_redis_log_in(link, &(struct pl_credentials){0}, PL_REDIS_LOGIN_FIRST);
        return now_ms + 1000;
    }
    pl_redis_close(link, PL_TIMEOUT, NULL);
    return PL_NEVER;
}

static void redis_drain(struct pl_link *base)
{
    pl_redis_close(pl_redis_link_of(base), PL_DRAINING, NULL);
}

/* The session's connection is gone; it leaves, and is freed when it has left. */
static void let_go(struct pl_redis_session *s, bool leaves)
{
    if (!s)
        return;
    s->link = NULL;
    s->core.out = NULL;
    if (leaves)
        pl_session_leave(&s->core, false);
}

static void redis_closed(struct pl_link *base, enum pl_err why)
{
    (void)why;
    struct pl_redis_link *link = pl_redis_link_of(base);
    let_go(link->session, true);
    let_go(link->candidate, true);
    let_go(link->leaving, false);
    link->session = link->candidate = link->leaving = NULL;
    base->session = NULL;
    pl_redis_answers_done(link);
    pl_shared_unref(link->transaction.commands.spill);
    link->transaction = (struct pl_redis_transaction){0};
    link->hello_name = pl_shared_unref(link->hello_name);
    link->card = pl_redis_card_unref(link->card);
}

const struct pl_protocol pl_redis_protocol = {
    .name = "redis",
    .link_size = sizeof(struct pl_redis_link),
    .sniff = redis_sniff,
    .open = redis_open,
    .receive = redis_receive,
    .tick = redis_tick,
    .drain = redis_drain,
    .closed = redis_closed,
};
