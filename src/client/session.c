/*
 * A client's way to a session, and out of it:
 *
 *     WAITING ─→ CONNECTING ─→ JOINING ─→ JOINED ─→ LEAVING ─→ ENDED
 *        ↑____________|____________|__________|     (closed by the program)
 *              lost or refused, and tried again
 *
 * Only whoever runs the client is here, so a phase does not change under a callback.
 */
#include <gnutls/crypto.h>

#include "base/alloc.h"
#include "client/client.h"
#include "client/router.h"
#include "net/reactor.h"

enum { LEAVE_MS = 1000, REASON_MAX = 256 };

/* ---- Telling ---- */

static void tell_state(struct parley_client *c, struct parley_status status)
{
    struct pl_diag error = c->error; /* another thread may ask, and a callback may change it */
    if (!c->options.on_state)
        return;
    status.size = sizeof status;
    status.text = error.text;
    pl_client_unlock(c);
    c->options.on_state(c, &status, c->options.context);
    pl_client_lock(c);
}

static bool is_final(const struct parley_client *c, enum parley_code code)
{
    return c->is_closing || !c->options.reconnect || code == PARLEY_REFUSED ||
           code == PARLEY_INVALID;
}

/* Twice as long each time, and a random part less, so that many clients do not come at once. */
static uint32_t retry_ms(const struct parley_client *c)
{
    uint64_t ms = c->options.reconnect_min_ms;
    uint32_t random = 0;
    for (uint32_t i = 0; i < c->retries && ms < c->options.reconnect_max_ms; i++)
        ms *= 2;
    if (ms > c->options.reconnect_max_ms)
        ms = c->options.reconnect_max_ms;
    if (gnutls_rnd(GNUTLS_RND_NONCE, &random, sizeof random) < 0 || ms < 2)
        return (uint32_t)ms;
    return (uint32_t)(ms - random % (ms / 2));
}

void pl_client_lose(struct parley_client *c, enum parley_code code, const char *reason)
{
    if (c->wire) {
        pl_wire_bye(c->wire);
        (void)!pl_wire_flush(c->wire); /* Whatever it brings, it is over. */
        c->wire = pl_wire_free(c->wire);
    }
    struct parley_status status = {.code = code, .reason = reason, .state = PARLEY_ENDED};
    c->error_code = code;
    bool ends = is_final(c, code);
    if (ends) {
        c->phase = PL_PHASE_ENDED;
        c->phase_at_ms = PL_NEVER;
    } else {
        status.state = PARLEY_WAITING;
        status.retry_ms = retry_ms(c);
        c->retries++;
        c->phase = PL_PHASE_WAITING;
        c->phase_at_ms = pl_clock_ms() + status.retry_ms;
    }
    c->generation++;
    pl_handlers_rest(c);
    pl_client_cancel_all(c);
    pl_requests_end_all(c, PARLEY_CLOSED, "the session ended before the answer");
    pl_requests_tell_ready(c);
    if (ends)
        pl_handlers_end_all(c, PARLEY_CLOSED, "the session has ended");
    tell_state(c, status);
}

static void lose_by(struct parley_client *c, enum pl_err err, const struct pl_diag *diag)
{
    const char *text = diag->text[0] ? diag->text : pl_err_text(err);
    if (c->options.router)
        pl_diag_set(&c->error, diag->code, "%s", text);
    else if (c->url.host[0])
        pl_diag_set(&c->error, diag->code, "%s://%.100s:%s: %s", c->url.scheme, c->url.host,
            c->url.port[0] ? c->url.port : "default", text);
    else
        pl_diag_set(&c->error, diag->code, "unix:%.100s: %s", c->url.path, text);
    enum parley_code code = pl_code_of(err);
    /* What the other side sent is no fault of the program. */
    pl_client_lose(c, code == PARLEY_INVALID ? PARLEY_PROTOCOL : code, NULL);
}

/* ---- Joining ---- */

static void connect_wire(struct parley_client *c)
{
    struct pl_diag diag = {0};
    struct pl_wire_options options = {
        .url = &c->url,
        .fd_moved = -1,
        .serializer = c->serializer,
        .tls = {.ca_file = c->options.ca_file,
            .cert_file = c->options.cert_file,
            .key_file = c->options.key_file,
            .insecure = c->options.tls_insecure},
        .origin = c->options.origin,
        .message_max = c->options.message_bytes_max,
    };
    c->phase = PL_PHASE_CONNECTING;
    c->phase_at_ms = pl_clock_ms() + c->options.connect_timeout_ms;
    c->pinged_ms = 0;
    tell_state(c, (struct parley_status){.state = PARLEY_CONNECTING});
    enum pl_err err = PL_OK;
    if (c->options.router)
        err = c->options.router->connect(c->options.router, &options.fd_moved);
    if (!err)
        err = pl_wire_new(&options, &c->wire, &diag);
    if (err)
        lose_by(c, err, &diag);
}

static enum pl_err send_reason(
    struct parley_client *c, enum pl_wamp_type type, const char *reason, const char *message)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, type);
    pl_put_dict(&v);
    if (message) {
        pl_put_key(&v, "message");
        pl_put_text(&v, message);
    }
    pl_put_end(&v);
    pl_put_text(&v, reason);
    pl_put_end(&v);
    return pl_client_send(c, &w);
}

/* The other side broke the rules, or did not prove itself. */
static void abort_session(struct parley_client *c, enum parley_code code, const char *reason)
{
    (void)!send_reason(c, PL_WAMP_ABORT, reason, c->error.text);
    pl_client_lose(c, code, reason);
}

static void violate(struct parley_client *c, const char *what)
{
    pl_diag_set(&c->error, 0, "the router broke WAMP's rules: %s", what);
    abort_session(c, PARLEY_PROTOCOL, "wamp.error.protocol_violation");
}

static void on_welcome(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    if (!pl_client_is_proved(c, &wamp->details)) {
        pl_diag_set(&c->error, 0, "the router does not know the password either");
        abort_session(c, PARLEY_REFUSED, "wamp.error.authentication_failed");
        return;
    }
    c->phase = PL_PHASE_JOINED;
    c->phase_at_ms = PL_NEVER;
    c->retries = 0;
    c->session_id = wamp->ids[0];
    c->next_request = 0;
    c->last_invocation = 0;
    c->generation++;
    c->error = (struct pl_diag){0};
    c->error_code = PARLEY_OK;
    pl_handlers_ask(c);
    struct parley_message message;
    pl_view_of(&message, wamp, bytes);
    tell_state(c, (struct parley_status){.state = PARLEY_JOINED,
                      .session_id = c->session_id,
                      .details = parley_message_details(&message)});
    pl_view_done(&message);
}

static void on_challenge(struct parley_client *c, const struct pl_wamp *wamp)
{
    struct pl_diag diag = {0};
    enum pl_err err = pl_client_answer(c, wamp, &diag);
    if (!err)
        return;
    pl_diag_set(&c->error, 0, "%s", diag.text[0] ? diag.text : pl_err_text(err));
    abort_session(c, err == PL_NO_MEMORY ? PARLEY_NO_MEMORY : PARLEY_REFUSED,
        "wamp.error.cannot_authenticate");
}

/* A string of a message, cut where it is too long for a reason. */
static void copy_text(const struct pl_value *value, char out[REASON_MAX])
{
    struct pl_arena arena = {0};
    struct pl_bytes text = PL_NO_BYTES;
    if (value->kind == PL_VALUE_STRING && pl_value_text(value, &arena, &text) != PL_OK)
        text = PL_NO_BYTES;
    size_t len = text.len < REASON_MAX - 1 ? text.len : REASON_MAX - 1;
    if (len)
        memcpy(out, text.data, len);
    out[len] = '\0';
    pl_arena_done(&arena);
}

/* A login that is refused is refused again; a router that goes down or has trouble is not. */
static bool is_refusal(const struct parley_client *c, const char *reason)
{
    static const char *const passing[] = {"wamp.close.system_shutdown", "wamp.error.unavailable",
        "wamp.error.network_failure", "wamp.error.timeout", "wamp.error.protocol_violation",
        "wamp.close.goodbye_and_out"};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (strcmp(reason, passing[i]) == 0)
            return false;
    }
    return c->phase == PL_PHASE_JOINING;
}

/* ABORT and GOODBYE. */
static void on_end(struct parley_client *c, const struct pl_wamp *wamp)
{
    char reason[REASON_MAX], text[REASON_MAX] = "";
    struct pl_value message;
    copy_text(&wamp->text, reason);
    if (wamp->details.kind == PL_VALUE_DICT && pl_value_find(&wamp->details, "message", &message))
        copy_text(&message, text);
    if (wamp->type == PL_WAMP_GOODBYE && c->phase != PL_PHASE_LEAVING)
        (void)!send_reason(c, PL_WAMP_GOODBYE, "wamp.close.goodbye_and_out", NULL);
    pl_diag_set(&c->error, 0, "%.100s%s%.130s", reason, text[0] ? ": " : "", text);
    pl_client_lose(c, is_refusal(c, reason) ? PARLEY_REFUSED : PARLEY_CLOSED, reason);
}

/* ---- Messages ---- */

static void on_session_message(
    struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    switch (wamp->type) {
    case PL_WAMP_EVENT:
        pl_handlers_event(c, wamp, bytes);
        break;
    case PL_WAMP_INVOCATION:
        pl_client_invoke(c, wamp, bytes);
        break;
    case PL_WAMP_INTERRUPT:
        pl_client_interrupt(c, wamp->ids[0]);
        break;
    case PL_WAMP_UNSUBSCRIBED:
    case PL_WAMP_UNREGISTERED:
        if (wamp->ids[0])
            pl_requests_answer(c, wamp, bytes);
        else
            pl_handlers_revoked(c, wamp, bytes);
        break;
    case PL_WAMP_PUBLISHED:
    case PL_WAMP_SUBSCRIBED:
    case PL_WAMP_REGISTERED:
    case PL_WAMP_RESULT:
    case PL_WAMP_ERROR:
        pl_requests_answer(c, wamp, bytes);
        break;
    default:
        violate(c, "a message that no router sends");
    }
}

static void on_message(struct parley_client *c, struct pl_bytes bytes)
{
    struct pl_wamp wamp;
    struct pl_diag diag = {0};
    enum pl_err err = pl_wamp_decode(c->serializer, bytes, &wamp, &diag);
    if (err) {
        violate(c, diag.text[0] ? diag.text : pl_err_text(err));
        return;
    }
    bool is_joining = c->phase == PL_PHASE_JOINING;
    if (wamp.type == PL_WAMP_ABORT || wamp.type == PL_WAMP_GOODBYE)
        on_end(c, &wamp);
    else if (is_joining && wamp.type == PL_WAMP_WELCOME)
        on_welcome(c, &wamp, bytes);
    else if (is_joining && wamp.type == PL_WAMP_CHALLENGE)
        on_challenge(c, &wamp);
    else if (is_joining)
        violate(c, "a message before WELCOME");
    else
        on_session_message(c, &wamp, bytes);
}

static void read_wire(struct parley_client *c)
{
    struct pl_diag diag = {0};
    struct pl_bytes message;
    enum pl_err err = pl_wire_step(c->wire, &diag);
    if (err == PL_NEED_MORE)
        return;
    if (!err && c->phase == PL_PHASE_CONNECTING) {
        c->phase = PL_PHASE_JOINING;
        err = pl_client_hello(c, &diag);
    }
    while (!err) {
        err = pl_wire_next(c->wire, &message, &diag);
        if (!err)
            on_message(c, message);
        if (!c->wire)
            return;
    }
    if (err != PL_NEED_MORE)
        lose_by(c, err, &diag);
}

/* ---- Time ---- */

static void leave(struct parley_client *c)
{
    pl_diag_set(&c->error, 0, "closed by the program");
    if (c->phase == PL_PHASE_JOINED &&
        send_reason(c, PL_WAMP_GOODBYE, "wamp.close.close_realm", NULL) == PL_OK) {
        c->phase = PL_PHASE_LEAVING;
        c->phase_at_ms = pl_clock_ms() + LEAVE_MS;
        return;
    }
    pl_client_lose(c, PARLEY_CLOSED, NULL);
}

static bool wants_to_leave(const struct parley_client *c)
{
    return c->is_closing && c->phase != PL_PHASE_LEAVING && c->phase != PL_PHASE_ENDED;
}

/* A router that says nothing is asked; one that does not answer either is gone. */
static void keep_alive(struct parley_client *c, uint64_t now_ms)
{
    uint64_t heard_ms = pl_wire_heard_ms(c->wire);
    uint64_t silent_ms = now_ms > heard_ms ? now_ms - heard_ms : 0;
    if (silent_ms < c->options.keepalive_ms) {
        c->pinged_ms = 0;
    } else if (silent_ms >= 2ull * c->options.keepalive_ms) {
        struct pl_diag diag;
        pl_diag_set(&diag, 0, "the router says nothing any more");
        lose_by(c, PL_TIMEOUT, &diag);
    } else if (!c->pinged_ms) {
        c->pinged_ms = now_ms;
        (void)!pl_wire_ping(c->wire); /* Without memory: silence tells, too. */
    }
}

static void check_time(struct parley_client *c)
{
    uint64_t now_ms = pl_clock_ms();
    if (now_ms >= c->phase_at_ms && c->phase == PL_PHASE_LEAVING) {
        pl_client_lose(c, PARLEY_CLOSED, NULL);
    } else if (now_ms >= c->phase_at_ms && c->phase != PL_PHASE_WAITING) {
        struct pl_diag diag;
        pl_diag_set(&diag, 0, "there was no session in time");
        lose_by(c, PL_TIMEOUT, &diag);
    }
    if (c->phase == PL_PHASE_JOINED)
        keep_alive(c, now_ms);
}

void pl_client_step(struct parley_client *c)
{
    if (wants_to_leave(c))
        leave(c);
    if (c->phase == PL_PHASE_WAITING && pl_clock_ms() >= c->phase_at_ms)
        connect_wire(c);
    if (c->wire)
        read_wire(c);
    if (c->wire)
        check_time(c);
    pl_requests_expire(c, pl_clock_ms());
    pl_requests_tell_ready(c);
    if (c->wire)
        (void)!pl_wire_flush(c->wire); /* Its end is heard of by reading. */
}

uint64_t pl_client_next_ms(const struct parley_client *c)
{
    if (wants_to_leave(c) || c->ready || (c->wire && pl_wire_has_more(c->wire)))
        return 0;
    uint64_t next_ms = c->phase_at_ms, calls_ms = pl_heap_next_ms(&c->deadlines);
    if (calls_ms < next_ms)
        next_ms = calls_ms;
    if (c->phase == PL_PHASE_JOINED) {
        uint64_t ping_ms =
            pl_wire_heard_ms(c->wire) + c->options.keepalive_ms * (c->pinged_ms ? 2ull : 1);
        if (ping_ms < next_ms)
            next_ms = ping_ms;
    }
    return next_ms;
}
