#include "protocols/nats/nats_session.h"

#include "base/alloc.h"

/* Nothing asked before is still open, so an answer may be written at once. */
static bool is_quiet(const struct nats_session *s)
{
    return !s || (!s->open_count && s->publish_turn != s->core.worker->turn);
}

void nats_send(struct nats_link *nl, struct pl_bytes text)
{
    /* Without memory the answer is lost; the client notices by its own timeout. */
    (void)!pl_output_append(nl->link.out, text);
}

struct nats_note *nats_answer_begin(struct nats_session *s)
{
    struct nats_note *note = pl_arena_zalloc(pl_session_arena(&s->core), sizeof *note);
    if (!note)
        return NULL;
    s->open_count++;
    pl_session_fence(&s->core, (uint64_t)(uintptr_t)note);
    return note;
}

void nats_answer(struct nats_link *nl, struct pl_bytes text)
{
    struct nats_note *note = is_quiet(nl->session) ? NULL : nats_answer_begin(nl->session);
    if (note)
        note->text = text;
    else
        nats_send(nl, text);
}

void nats_send_err(struct nats_link *nl, struct pl_bytes words)
{
    struct pl_writer w = pl_writer_begin(nl->link.out);
    pl_nats_write_err(&w, words);
    (void)!pl_writer_end(&w);
}

void nats_answer_err(struct nats_link *nl, struct pl_bytes text)
{
    struct nats_note *note = is_quiet(nl->session) ? NULL : nats_answer_begin(nl->session);
    if (!note) {
        nats_send_err(nl, text);
        return;
    }
    static const char begin[] = "-ERR '", end[] = "'\r\n";
    size_t len = sizeof begin - 1 + text.len + sizeof end - 1;
    char *line = pl_arena_alloc(pl_session_arena(&nl->session->core), len);
    if (!line)
        return;
    memcpy(line, begin, sizeof begin - 1);
    memcpy(line + sizeof begin - 1, text.data, text.len);
    memcpy(line + sizeof begin - 1 + text.len, end, sizeof end - 1);
    note->text = pl_bytes_of(line, len);
}

struct pl_bytes nats_quote(
    struct pl_arena *arena, const char *words, struct pl_bytes subject, struct pl_bytes queue)
{
    /* As Go's %q, so that no byte ends the line. At most four bytes for one. */
    static const char digits[] = "0123456789abcdef", using[] = " using queue ";
    size_t head = strlen(words);
    uint8_t *start = pl_arena_alloc(arena, head + sizeof using + 4 * (subject.len + queue.len) + 4);
    if (!start)
        return pl_bytes_text(words);
    uint8_t *at = start + head;
    memcpy(start, words, head);
    for (int part = 0; part < (queue.len ? 2 : 1); part++) {
        struct pl_bytes text = part ? queue : subject;
        if (part) {
            memcpy(at, using, sizeof using - 1);
            at += sizeof using - 1;
        }
        *at++ = '"';
        for (size_t i = 0; i < text.len; i++) {
            uint8_t byte = text.data[i];
            if (byte == '"' || byte == '\\')
                *at++ = '\\';
            if (byte >= 0x20 && byte != 0x7F) {
                *at++ = byte;
                continue;
            }
            *at++ = '\\';
            *at++ = 'x';
            *at++ = (uint8_t)digits[byte >> 4];
            *at++ = (uint8_t)digits[byte & 15];
        }
        *at++ = '"';
    }
    return pl_bytes_of(start, (size_t)(at - start));
}

enum pl_err nats_fail(struct nats_link *nl, enum pl_err why, const char *words)
{
    struct nats_session *s = nl->session;
    if (!is_quiet(s)) {
        if (words)
            nats_answer_err(nl, pl_bytes_text(words));
        struct nats_note *last = nats_answer_begin(s);
        if (last) {
            last->fatal = why;
            nl->link.is_waiting = true; /* for good: nothing more is read */
            return PL_OK;
        }
    }
    if (words)
        nats_send_err(nl, pl_bytes_text(words));
    return why;
}

void nats_send_info(struct nats_link *nl)
{
    const struct pl_link_config *c = nl->link.config;
    bool can_start_tls = c->has_tls && !nl->link.is_websocket;
    struct pl_nats_info info = {
        .server_id = pl_bytes_text(c->server_id),
        .server_name = pl_bytes_text(c->server_name),
        /* Clients read a nats-server's version here and derive from it what it can. */
        .version = PL_BYTES("2.9.0"),
        .build = pl_bytes_text(c->version),
        .host = pl_bytes_text(c->host),
        .port = c->port,
        .client_id = nl->link.id,
        .client_ip = nl->link.address,
        .max_payload = nl->payload_max,
        .headers = true,
        .auth_required = c->requires_login,
        /* A client that began with TLS looks here whether that was right. */
        .tls_required =
            (can_start_tls && c->requires_tls) || (nl->link.is_tls && !nl->link.is_websocket),
        .tls_available = can_start_tls && !c->requires_tls,
        .ldm = nl->link.is_draining,
    };
    struct pl_writer w = pl_writer_begin(nl->link.out);
    pl_nats_write_info(&w, &info);
    (void)!pl_writer_end(&w);
}

void nats_session_set_options(struct nats_session *s, const struct pl_nats_connect *connect)
{
    s->verbose = connect->verbose;
    s->pedantic = connect->pedantic;
    s->echo = connect->echo;
    s->headers = connect->headers;
    s->no_responders = connect->no_responders;
    s->protocol = connect->protocol == 0 || connect->protocol == 1 ? (int8_t)connect->protocol : 2;
}

static struct pl_credentials read_credentials(
    struct pl_link *link, const struct pl_nats_connect *connect)
{
    struct pl_credentials shown = {
        .address = link->address,
        .protocol = "nats",
        .listener = link->config->listener,
        .is_ambient_allowed = link->is_ambient_allowed,
    };
    /* Empty strings are what clients send for what they were not given. */
    if (connect && connect->user.len) {
        shown.has_user = true;
        shown.user = connect->user;
    }
    if (connect && connect->pass.len) {
        shown.has_password = true;
        shown.password = connect->pass;
    }
    if (connect && connect->jwt.len)
        shown.token = connect->jwt;
    else if (connect && connect->auth_token.len)
        shown.token = connect->auth_token;
    else if (!shown.has_user && !shown.has_password)
        shown.token = pl_link_request_token(link);
    shown.has_token = shown.token.len > 0;
    return shown;
}

enum pl_err nats_session_begin(struct nats_link *nl, const struct pl_nats_connect *connect)
{
    struct nats_session *s = pl_zalloc(sizeof *s);
    if (!s)
        return PL_NO_MEMORY;
    pl_session_init(&s->core, &nats_session_ops, nl->link.worker, nl->link.out);
    s->nl = nl;
    pl_map_init(&s->subs, s->core.id * 0x9E3779B97F4A7C15u);
    s->publish_turn = s->steps_turn = UINT64_MAX;
    nats_session_set_options(s, connect ? connect : &pl_nats_connect_default);
    nl->session = s;
    nl->link.session = &s->core;
    nl->link.is_waiting = true;
    struct pl_credentials shown = read_credentials(&nl->link, connect);
    pl_session_login(&s->core, &shown, 0);
    return PL_OK;
}

static void session_free(struct nats_session *s)
{
    nats_subs_free(s);
    pl_map_done(&s->subs);
    pl_session_done(&s->core);
    pl_free(s);
}

void nats_session_close(struct nats_session *s)
{
    s->nl = NULL;
    pl_session_leave(&s->core, false);
}

/* Last words, then the end. words: NULL for none. */
static void hang_up(struct nats_session *s, enum pl_err why, const char *words)
{
    struct nats_link *nl = s->nl;
    if (!nl)
        return;
    if (words)
        nats_send_err(nl, pl_bytes_text(words));
    nl->link.is_waiting = true;
    nl->link.host->close(&nl->link, why, NULL);
}

static void on_login(struct nats_session *s, enum pl_err err)
{
    if (err) {
        hang_up(s, PL_BAD_LOGIN, "Authorization Violation");
        return;
    }
    if (s->protocol > 1)
        hang_up(s, PL_PROTOCOL, "invalid client protocol");
    else if (s->no_responders && !s->headers)
        hang_up(s, PL_PROTOCOL, "no responders requires headers support");
    else
        pl_session_join(&s->core, 0);
}

static void on_join(struct nats_session *s, enum pl_err err)
{
    struct nats_link *nl = s->nl;
    if (err) {
        hang_up(s, err, err == PL_LIMIT ? "maximum account active connections exceeded" : NULL);
        return;
    }
    s->is_joined = true;
    s->payload_max = pl_realm_limits(s->core.realm)->payload_max;
    if (nl->is_connected && s->verbose)
        nats_send(nl, PL_BYTES("+OK\r\n"));
    bool is_news = nl->payload_max != s->payload_max;
    nl->payload_max = s->payload_max;
    if (is_news && nl->takes_info)
        nats_send_info(nl);
    nl->link.is_waiting = false;
    nl->link.host->resume(&nl->link);
}

static void on_fence(struct nats_session *s, const struct nats_note *note)
{
    s->open_count--;
    if (!s->nl)
        return; /* it leaves, and asks for nothing any more */
    if (note->sub)
        nats_sub_set_max(s, note->sub, note->max);
    if (note->text.len)
        nats_send(s->nl, note->text);
    if (note->fatal)
        hang_up(s, note->fatal, NULL);
}

static void on_complete(struct pl_session *core, const struct pl_completion *done)
{
    struct nats_session *s = (struct nats_session *)core;
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        if (s->nl)
            on_login(s, done->err);
        break;
    case PL_DONE_JOIN:
        if (s->nl)
            on_join(s, done->err);
        break;
    case PL_DONE_SUBSCRIBE:
        nats_on_subscribed(s, done);
        break;
    case PL_DONE_UNSUBSCRIBE:
        nats_on_unsubscribed(s, done);
        break;
    case PL_DONE_PUBLISH:
        if (done->err == PL_NO_RESPONDERS && done->token)
            nats_on_no_responders(s, *(const struct pl_bytes *)(uintptr_t)done->token);
        break;
    case PL_DONE_FENCE:
        on_fence(s, (const struct nats_note *)(uintptr_t)done->token);
        break;
    case PL_DONE_LEAVE:
        session_free(s);
        break;
    case PL_DONE_REGISTER:
    case PL_DONE_UNREGISTER:
    case PL_DONE_LOG:
    case PL_DONE_CLAIM:
    case PL_DONE_REPLAY:
    case PL_DONE_STATE:
        break; /* sessions have no names, and nothing tells a client that a replay is over */
    }
}

static void on_deliver(
    struct pl_session *core, struct pl_subscription *base, const struct pl_run *run)
{
    struct nats_session *s = (struct nats_session *)core;
    struct nats_sub *sub = (struct nats_sub *)base;
    struct pl_output *out = core->out;
    uint32_t count = run->count;
    if (!out || sub->is_spent)
        return;
    if (sub->max && sub->max - sub->delivered <= count)
        count = (uint32_t)(sub->max - sub->delivered);
    sub->delivered += count;
    /* Without memory messages are lost, as at most once allows; never a part of one. */
    if (run->frames) {
        if (count)
            (void)!pl_output_append_shared(
                out, run->frames, pl_bytes_of(run->frames->data, run->ends[count - 1]));
    } else {
        for (uint32_t i = 0; i < count; i++) {
            struct pl_writer w = pl_writer_begin(out);
            enum pl_err err = nats_encode(base, run->messages[i], pl_session_now_ms(core), &w);
            if (err)
                w.err = err;
            (void)!pl_writer_end(&w);
        }
    }
    if (sub->max && sub->delivered >= sub->max)
        nats_sub_spend(s, sub);
}

static void on_ended(struct pl_session *core, enum pl_err why)
{
    const char *words = NULL;
    if (why == PL_EXPIRED)
        words = "User Authentication Expired";
    else if (why == PL_REVOKED)
        words = "User Authentication Revoked";
    else if (why == PL_SLOW_CONSUMER)
        words = "Slow Consumer";
    else if (why == PL_LIMIT)
        words = "maximum connections exceeded";
    hang_up((struct nats_session *)core, why, words);
}

const struct pl_session_ops nats_session_ops = {
    .name = "nats",
    .encode = nats_encode,
    .deliver = on_deliver,
    .complete = on_complete,
    .ended = on_ended,
};
