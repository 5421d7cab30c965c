/*
 * The connection's side: INFO first, then lines are read until one is not whole.
 *
 *     TLS      where the listener has it, a first byte 0x16 begins it; where it must be, every
 *              other first byte is the end
 *     login    by CONNECT. Where anonymous is enough, the first PUB, SUB or UNSUB without a CONNECT
 *              logs in too, with the options that CONNECT leaves out (verbose, pedantic). Meanwhile
 *              nothing is read
 *     alive    silence of an interval gets a PING; `ping_max` of them unanswered are the end
 *
 * PUB is most of what comes: the line before it mostly had the same subject, so it is compared with
 * that before anything is parsed.
 */
#include "protocols/nats/nats_session.h"

#include "base/alloc.h"

static struct nats_link *of_link(struct pl_link *link)
{
    return (struct nats_link *)link;
}

static enum pl_err on_open(struct pl_link *link)
{
    struct nats_link *nl = of_link(link);
    const struct pl_nats_options *options = link->config->options;
    nl->payload_max = options && options->payload_max ? options->payload_max
                                                      : pl_realm_limits_default.payload_max;
    nl->quiet_since_ms = link->opened_ms;
    nats_send_info(nl);
    return PL_OK;
}

static enum pl_err on_connect(struct nats_link *nl, struct pl_bytes text)
{
    struct nats_session *s = nl->session;
    struct pl_nats_connect connect = pl_nats_connect_default;
    uint8_t *memory = pl_alloc(text.len + 1);
    if (!memory)
        return PL_NO_MEMORY;
    if (s) {
        connect.verbose = s->verbose;
        connect.pedantic = s->pedantic;
        connect.echo = s->echo;
        connect.headers = s->headers;
        connect.no_responders = s->no_responders;
    }
    enum pl_err err = PL_OK;
    if (pl_nats_read_connect(text, memory, &connect) != PL_OK) {
        err = nats_fail(nl, PL_MALFORMED, NULL);
    } else if (connect.account.len) {
        err = nats_fail(nl, PL_BAD_LOGIN, "Authorization Violation");
    } else {
        nl->is_connected = true;
        nl->takes_info = connect.protocol >= 1;
        if (!s) {
            err = nats_session_begin(nl, &connect);
        } else if (connect.user.len || connect.pass.len || connect.auth_token.len ||
                   connect.jwt.len) {
            /* Who it is was settled by the first login. */
            err = nats_fail(nl, PL_BAD_LOGIN, "Authorization Violation");
        } else {
            nats_session_set_options(s, &connect);
            if (s->verbose)
                nats_answer(nl, PL_BYTES("+OK\r\n"));
        }
    }
    pl_free(memory);
    return err;
}

/* What needs no login. */
static enum pl_err on_plain(struct nats_link *nl, const struct pl_nats_line *line)
{
    switch ((enum pl_nats_verb)line->verb) {
    case PL_NATS_CONNECT:
        return on_connect(nl, line->text);
    case PL_NATS_PING:
        nats_answer(nl, PL_BYTES("PONG\r\n"));
        return PL_OK;
    case PL_NATS_PONG:
        nl->pings_out = 0;
        return PL_OK;
    case PL_NATS_OK:
    case PL_NATS_INFO:
        return PL_OK;
    case PL_NATS_ERR:
        return nats_fail(nl, PL_CLOSED, NULL);
    case PL_NATS_PUB:
    case PL_NATS_HPUB:
    case PL_NATS_SUB:
    case PL_NATS_UNSUB:
    case PL_NATS_MSG:
    case PL_NATS_HMSG:
        break;
    }
    return nats_fail(nl, PL_MALFORMED, "Unknown Protocol Operation");
}

/* The payload behind a PUB or HPUB line, then the message. */
static enum pl_err on_message(struct nats_link *nl, const struct pl_nats_line *line,
    struct pl_input in, struct pl_bytes *last, size_t *io_used)
{
    struct nats_session *s = nl->session;
    struct pl_bytes payload;
    size_t used;
    if (line->verb == PL_NATS_HPUB && !s->headers)
        return nats_fail(nl, PL_PROTOCOL, NULL);
    if (line->size > s->payload_max)
        return nats_fail(nl, PL_TOO_LARGE, "Maximum Payload Violation");
    enum pl_err err =
        pl_nats_read_payload(pl_bytes_from(in.bytes, *io_used), line->size, &payload, &used);
    if (err == PL_MALFORMED)
        return nats_fail(nl, err, "Unknown Protocol Operation");
    if (err)
        return err;
    *io_used += used;
    return nats_on_publish(s, line, payload, in.buffer, last);
}

/*
 * "PUB <last subject> size", payload: true if `in` begins with all of that, and it was published.
 * Everything else takes the long way, which also knows what is wrong with it.
 */
static bool publish_repeated(
    struct nats_session *s, struct pl_input in, struct pl_bytes last, size_t *out_used)
{
    enum { VERB = 4, ROOM = 12 }; /* a space, nine digits, CR, LF */
    const uint8_t *at = in.bytes.data, *end = at + in.bytes.len;
    if (in.bytes.len < VERB + last.len + ROOM || memcmp(at, "PUB ", VERB) != 0 ||
        memcmp(at + VERB, last.data, last.len) != 0 || at[VERB + last.len] != ' ')
        return false;
    at += VERB + last.len + 1;
    size_t size = 0;
    unsigned digits = 0;
    while (digits < 9 && (uint8_t)(*at - '0') <= 9) {
        size = size * 10 + (uint8_t)(*at++ - '0');
        digits++;
    }
    if (!digits || at[0] != '\r' || at[1] != '\n' || size > s->payload_max)
        return false;
    at += 2;
    if ((size_t)(end - at) < size + 2 || at[size] != '\r' || at[size + 1] != '\n')
        return false;
    *out_used = (size_t)(at + size + 2 - in.bytes.data);
    nats_publish_again(s, last, pl_bytes_of(at, size), in.buffer);
    return true;
}

static enum pl_err read_line(
    struct nats_link *nl, struct pl_bytes in, struct pl_nats_line *out, size_t *out_used)
{
    bool is_connect = in.data[0] == 'C' || in.data[0] == 'c';
    size_t line_max = nl->link.config->line_max;
    if (is_connect && line_max < NATS_CONNECT_MAX)
        line_max = NATS_CONNECT_MAX;
    if (!is_connect && nl->link.config->requires_login && !(nl->session && nl->session->is_joined))
        return PL_DENIED;
    /* A server's lines: not even the beginning of one is waited for. */
    if (in.data[0] == 'M' || in.data[0] == 'm')
        return PL_MALFORMED;
    return pl_nats_read_line(in, line_max, out, out_used);
}

/* One request. PL_NEED_MORE: it is not whole; nothing was done. */
static enum pl_err on_request(
    struct nats_link *nl, struct pl_input in, struct pl_bytes *last, size_t *out_used)
{
    struct pl_nats_line line;
    enum pl_err err;
    size_t used;
    if (last->len && !nl->session->verbose && publish_repeated(nl->session, in, *last, out_used))
        return PL_OK;
    err = read_line(nl, in.bytes, &line, &used);
    switch ((int)err) {
    case PL_OK:
        break;
    case PL_NEED_MORE:
        return err;
    case PL_DENIED:
        return nats_fail(nl, PL_BAD_LOGIN, "Authorization Violation");
    case PL_TOO_LARGE:
        return nats_fail(nl, err, "maximum control line exceeded");
    case PL_MALFORMED:
        return nats_fail(nl, err, "Unknown Protocol Operation");
    default: /* wrong arguments: nats-server has no words for them */
        return nats_fail(nl, PL_PROTOCOL, NULL);
    }
    bool needs_login = line.verb == PL_NATS_PUB || line.verb == PL_NATS_HPUB ||
                       line.verb == PL_NATS_SUB || line.verb == PL_NATS_UNSUB;
    if (needs_login && !nl->session) {
        *out_used = 0; /* read again when the login is done */
        return nats_session_begin(nl, NULL);
    }
    if (line.verb == PL_NATS_PUB || line.verb == PL_NATS_HPUB)
        err = on_message(nl, &line, in, last, &used);
    else if (line.verb == PL_NATS_SUB)
        nats_on_subscribe(nl->session, &line);
    else if (line.verb == PL_NATS_UNSUB)
        nats_on_unsubscribe(nl->session, &line);
    else
        err = on_plain(nl, &line);
    *out_used = used;
    return err;
}

/* True: the peer's first byte says what must not be answered here; *out_err is the answer. */
static bool begin_input(struct nats_link *nl, uint8_t first, enum pl_err *out_err)
{
    enum { TLS_HANDSHAKE = 0x16 };
    struct pl_link *link = &nl->link;
    nl->has_input = true;
    if (link->is_tls || link->is_websocket || !link->config->has_tls)
        return false;
    if (first == TLS_HANDSHAKE) {
        nl->has_input = false; /* its first line comes later */
        *out_err = link->host->start_tls(link);
        return true;
    }
    if (!link->config->requires_tls)
        return false;
    *out_err = nats_fail(nl, PL_PROTOCOL, "Secure Connection - TLS Required");
    return true;
}

static enum pl_err on_receive(struct pl_link *link, struct pl_input in, size_t *out_used)
{
    struct nats_link *nl = of_link(link);
    struct pl_bytes last = PL_NO_BYTES, all = in.bytes;
    enum pl_err err = PL_OK;
    size_t used = 0;
    *out_used = 0;
    nl->quiet_since_ms = link->worker->now_ms;
    if (!nl->has_input && all.len && begin_input(nl, all.data[0], &err))
        return err;
    while (used < all.len && !link->is_waiting && link->is_open) {
        size_t n = 0; /* gcc cannot see that on_request sets it unless it fails. */
        in.bytes = pl_bytes_from(all, used);
        err = on_request(nl, in, &last, &n);
        if (err)
            break;
        used += n;
    }
    *out_used = used;
    return err == PL_NEED_MORE ? PL_OK : err;
}

static bool awaits_login(const struct nats_link *nl)
{
    if (nl->session && nl->session->is_joined)
        return false;
    const struct pl_link_config *config = nl->link.config;
    return nl->session || config->requires_login || (config->requires_tls && !nl->link.is_tls);
}

static void give_up(struct nats_link *nl, const char *words)
{
    nats_send_err(nl, pl_bytes_text(words));
    nl->link.is_waiting = true;
    nl->link.host->close(&nl->link, PL_TIMEOUT, NULL);
}

static uint64_t add_ms(uint64_t a, uint64_t b)
{
    return a > PL_NEVER - b ? PL_NEVER : a + b;
}

static uint64_t on_tick(struct pl_link *link, uint64_t now_ms)
{
    struct nats_link *nl = of_link(link);
    const struct pl_link_config *config = link->config;
    if (!link->is_open)
        return PL_NEVER;
    uint64_t login_due = PL_NEVER;
    if (awaits_login(nl)) {
        login_due = add_ms(link->opened_ms, config->login_ms);
        if (now_ms >= login_due) {
            give_up(nl, "Authentication Timeout");
            return PL_NEVER;
        }
    }
    uint64_t ping_due = add_ms(nl->quiet_since_ms, config->ping_interval_ms);
    if (now_ms >= ping_due) {
        if (nl->pings_out >= config->ping_max) {
            give_up(nl, "Stale Connection");
            return PL_NEVER;
        }
        nl->pings_out++;
        nl->quiet_since_ms = now_ms;
        nats_send(nl, PL_BYTES("PING\r\n"));
        ping_due = add_ms(now_ms, config->ping_interval_ms);
    }
    return login_due < ping_due ? login_due : ping_due;
}

/* "Lame duck": clients that can take the news look for another server; the others notice when the
 * server closes what is left. */
static void on_drain(struct pl_link *link)
{
    struct nats_link *nl = of_link(link);
    if (nl->takes_info && nl->session && nl->session->is_joined)
        nats_send_info(nl);
}

static void on_closed(struct pl_link *link, enum pl_err why)
{
    struct nats_link *nl = of_link(link);
    (void)why;
    link->session = NULL;
    if (nl->session)
        nats_session_close(nl->session);
    nl->session = NULL;
}

const struct pl_protocol pl_nats_protocol = {
    .name = "nats",
    .link_size = sizeof(struct nats_link),
    .open = on_open,
    .receive = on_receive,
    .tick = on_tick,
    .drain = on_drain,
    .closed = on_closed,
};
