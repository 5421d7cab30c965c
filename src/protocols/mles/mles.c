/*
 * The connection's side: whole messages of a WebSocket, pings, deadlines, the last word.
 *
 * A sign of life is anything that the peer sends, a pong too. Those are answered and kept by the
 * transport, so this side looks at how many bytes have come.
 */
#include "codec/mles.h"
#include "protocols/mles/mles_session.h"

enum { CONTEST_STEP_MS = 25 };

const struct pl_mles_options pl_mles_options_default = {
    .header_timeout_ms = 90000,
    .ping_interval_ms = 24000,
    .ping_max = 3,
    .contest_ms = 2000,
};

static struct mles_link *of_link(struct pl_link *link)
{
    return (struct mles_link *)link;
}

const struct pl_mles_options *mles_options(const struct mles_link *ml)
{
    const struct pl_mles_options *options = ml->link.config->options;
    return options ? options : &pl_mles_options_default;
}

enum pl_err mles_refuse(
    struct mles_link *ml, enum pl_err why, enum pl_websocket_code code, const char *reason)
{
    struct pl_diag diag;
    if (ml->phase == MLES_CLOSING)
        return why;
    ml->phase = MLES_CLOSING;
    pl_diag_set(&diag, (int)code, "%s", reason);
    ml->link.host->close(&ml->link, why, &diag);
    return why;
}

enum pl_err mles_refuse_err(struct mles_link *ml, enum pl_err why)
{
    bool is_limit = why == PL_LIMIT || why == PL_SLOW_CONSUMER || why == PL_STORE;
    enum pl_websocket_code code = is_limit              ? PL_WS_TRY_LATER
                                  : why == PL_DRAINING  ? PL_WS_RESTART
                                  : why == PL_NO_MEMORY ? PL_WS_INTERNAL
                                                        : PL_WS_POLICY;
    return mles_refuse(ml, why, code, pl_err_text(why));
}

static uint64_t add_ms(uint64_t a, uint64_t b)
{
    return a > PL_NEVER - b ? PL_NEVER : a + b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static enum pl_err on_open(struct pl_link *link)
{
    struct mles_link *ml = of_link(link);
    ml->seen_bytes = link->host->bytes_in(link);
    ml->ping_due_ms = add_ms(link->opened_ms, mles_options(ml)->ping_interval_ms);
    ml->contest_end_ms = PL_NEVER;
    return PL_OK;
}

/* Nothing but a WebSocket brings this protocol. */
static enum pl_sniff sniff(struct pl_bytes first)
{
    (void)first;
    return PL_SNIFF_NO;
}

static enum pl_err on_receive(struct pl_link *link, struct pl_input in, size_t *out_used)
{
    struct mles_link *ml = of_link(link);
    *out_used = in.bytes.len;
    switch ((enum mles_phase)ml->phase) {
    case MLES_OPEN:
        if (in.kind != PL_INPUT_TEXT_FRAME)
            return mles_refuse(ml, PL_UNSUPPORTED, PL_WS_UNSUPPORTED,
                "the first frame is text: a JSON object with uid and channel");
        return mles_on_header(ml, in.bytes);
    case MLES_JOINED:
        return mles_on_frame(ml->session, &in);
    case MLES_LOGIN:
    case MLES_JOINING:
    case MLES_CLOSING:
        break;
    }
    return PL_OK; /* nothing is read then */
}

static void send_ping(struct mles_link *ml)
{
    static const uint8_t ping[] = {0x89, 0};
    (void)!pl_output_append(ml->link.out, pl_bytes_of(ping, sizeof ping));
}

void mles_contest(struct mles_link *ml, uint64_t now_ms)
{
    ml->seen_bytes = ml->link.host->bytes_in(&ml->link);
    ml->contest_end_ms = add_ms(now_ms, mles_options(ml)->contest_ms);
    send_ping(ml);
    ml->link.host->tick_at(&ml->link, now_ms + CONTEST_STEP_MS);
}

static void see_life(struct mles_link *ml)
{
    uint64_t bytes = ml->link.host->bytes_in(&ml->link);
    if (bytes == ml->seen_bytes)
        return;
    ml->seen_bytes = bytes;
    ml->pings_out = 0;
    if (ml->contest_end_ms != PL_NEVER && ml->session)
        pl_session_hold_seat(&ml->session->core);
    ml->contest_end_ms = PL_NEVER;
}

static uint64_t on_tick(struct pl_link *link, uint64_t now_ms)
{
    struct mles_link *ml = of_link(link);
    const struct pl_mles_options *options = mles_options(ml);
    uint64_t header_end_ms = add_ms(link->opened_ms, options->header_timeout_ms);
    if (!link->is_open)
        return PL_NEVER;
    see_life(ml);
    bool has_header = ml->phase != MLES_OPEN;
    bool is_ping_due = now_ms >= ml->ping_due_ms;
    if (!has_header && now_ms >= header_end_ms) {
        (void)mles_refuse(ml, PL_TIMEOUT, PL_WS_POLICY, "no first frame came");
        return PL_NEVER;
    }
    if (now_ms >= ml->contest_end_ms) {
        (void)mles_refuse(ml, PL_TAKEN_OVER, PL_WS_POLICY,
            "no sign of life, and this uid comes to the channel again");
        return PL_NEVER;
    }
    if (is_ping_due && has_header && ml->pings_out >= options->ping_max) {
        (void)mles_refuse(ml, PL_TIMEOUT, PL_WS_POLICY, "pings were not answered");
        return PL_NEVER;
    }
    if (is_ping_due) {
        send_ping(ml);
        ml->pings_out++;
        ml->ping_due_ms = add_ms(now_ms, options->ping_interval_ms);
    }
    uint64_t next_ms = has_header ? PL_NEVER : header_end_ms;
    if (ml->contest_end_ms != PL_NEVER)
        next_ms = now_ms + CONTEST_STEP_MS;
    return earlier(next_ms, ml->ping_due_ms);
}

static void on_drain(struct pl_link *link)
{
    (void)mles_refuse_err(of_link(link), PL_DRAINING);
}

static void on_closed(struct pl_link *link, enum pl_err why)
{
    struct mles_link *ml = of_link(link);
    (void)why;
    ml->phase = MLES_CLOSING;
    link->session = NULL;
    if (ml->session)
        mles_session_close(ml->session);
    ml->session = NULL;
}

const struct pl_protocol pl_mles_protocol = {
    .name = "mles",
    .websocket = (const char *const[]){PL_MLES_SUBPROTOCOL, NULL},
    .takes_messages = true,
    .never_deflates = true,
    .link_size = sizeof(struct mles_link),
    .sniff = sniff,
    .open = on_open,
    .receive = on_receive,
    .tick = on_tick,
    .drain = on_drain,
    .closed = on_closed,
};
