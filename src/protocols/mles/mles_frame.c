/*
 * Frames and messages. A frame of a member is a message of bytes or text with two headers. A
 * message of another protocol is a binary frame, as the clients of this one expect, unless it is
 * marked as text: by its format, or as WAMP's arguments, which are text where they are not one
 * binary value.
 */
#include "base/text.h"
#include "codec/wamp.h"
#include "protocols/mles/mles_session.h"

static bool is_one_binary(const struct pl_message *m)
{
    struct pl_value args, kwargs, one;
    pl_wamp_arguments(
        (enum pl_serializer)(m->format - PL_FORMAT_ARGUMENTS), m->payload, &args, &kwargs);
    if (args.kind == PL_VALUE_BINARY)
        return true; /* payload passthru */
    struct pl_items items = pl_value_items(&args);
    return args.kind == PL_VALUE_LIST && args.count == 1 && kwargs.kind == PL_VALUE_NULL &&
           pl_items_next(&items, NULL, &one) && one.kind == PL_VALUE_BINARY;
}

/* A text frame that is not UTF-8 would end its receivers' connections. */
static bool is_text(const struct pl_message *m, struct pl_bytes plain)
{
    bool is_marked = m->format == PL_FORMAT_TEXT || m->format == PL_FORMAT_JSON ||
                     (m->format >= PL_FORMAT_ARGUMENTS && !is_one_binary(m));
    return is_marked && pl_utf8_is_valid(plain);
}

enum pl_err mles_encode(const struct pl_subscription *sub, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w)
{
    struct pl_bytes plain = pl_message_plain(message);
    uint8_t head[PL_WS_OUR_HEADER_MAX];
    (void)sub, (void)now_ms;
    enum pl_websocket_opcode opcode = is_text(message, plain) ? PL_WS_TEXT : PL_WS_BINARY;
    size_t len = pl_websocket_encode_header(head, opcode, true, false, plain.len);
    pl_write_bytes(w, pl_bytes_of(head, len));
    pl_write_bytes(w, plain);
    return w->err;
}

void mles_deliver(struct pl_session *core, struct pl_subscription *sub, const struct pl_run *run)
{
    struct mles_session *s = (struct mles_session *)core;
    struct mles_link *ml = s->ml;
    (void)sub;
    if (!ml || ml->phase == MLES_CLOSING)
        return;
    if (run->frames) {
        (void)!pl_output_append_shared(
            ml->link.out, run->frames, pl_bytes_of(run->frames->data, run->ends[run->count - 1]));
        return;
    }
    for (uint32_t i = 0; i < run->count; i++) {
        const struct pl_message *m = run->messages[i];
        struct pl_bytes plain = pl_message_plain(m);
        /* Without memory it is lost, as at most once allows. */
        if (ml->link.framing == PL_FRAMING_MESSAGES) {
            (void)!ml->link.host->send_message(&ml->link, is_text(m, plain), plain);
        } else {
            struct pl_writer w = pl_writer_begin(ml->link.out);
            (void)!mles_encode(&s->sub, m, 0, &w);
            (void)!pl_writer_end(&w);
        }
    }
}

const struct pl_properties *mles_properties(
    struct pl_arena *arena, struct pl_bytes uid, bool is_text)
{
    struct {
        struct pl_properties properties;
        struct pl_header headers[2];
    } *p = pl_arena_alloc(arena, sizeof *p);
    const char *name = p ? pl_arena_copy(arena, uid) : NULL;
    if (!name)
        return NULL;
    p->headers[0] = (struct pl_header){PL_BYTES("mles-uid"), pl_bytes_of(name, uid.len)};
    p->headers[1] =
        (struct pl_header){PL_BYTES("mles-frame"), is_text ? PL_BYTES("text") : PL_BYTES("binary")};
    p->properties =
        (struct pl_properties){.headers = p->headers, .header_count = 2, .expires_ms = PL_NEVER};
    return &p->properties;
}
