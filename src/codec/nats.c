/*
 * Control lines: a verb, then arguments parted by spaces or tabs.
 *
 * A line is looked at once for its end (memchr) and once for its arguments. No argument is copied.
 */
#include "codec/nats.h"

#include "base/text.h"

enum { ARGS_MAX = 5 };

static const struct verb {
    const char *text;
    uint8_t len;
    bool needs_space; /* what follows must be parted from it by a space or tab */
} verbs[] = {
    [PL_NATS_PUB] = {"PUB", 3, true},
    [PL_NATS_HPUB] = {"HPUB", 4, true},
    [PL_NATS_SUB] = {"SUB", 3, true},
    [PL_NATS_UNSUB] = {"UNSUB", 5, true},
    [PL_NATS_CONNECT] = {"CONNECT", 7, false},
    [PL_NATS_PING] = {"PING", 4, false},
    [PL_NATS_PONG] = {"PONG", 4, false},
    [PL_NATS_OK] = {"+OK", 3, false},
    [PL_NATS_ERR] = {"-ERR", 4, true},
    [PL_NATS_INFO] = {"INFO", 4, true},
    [PL_NATS_MSG] = {"MSG", 3, true},
    [PL_NATS_HMSG] = {"HMSG", 4, true},
};

enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

enum pl_err pl_nats_read_verb(struct pl_bytes in, enum pl_nats_verb *out)
{
    bool possible = false;
    for (unsigned v = 0; v < VERB_COUNT; v++) {
        size_t len = verbs[v].len, i = 0;
        while (i < len && i < in.len && upper(in.data[i]) == (uint8_t)verbs[v].text[i])
            i++;
        if (i < len) {
            possible |= i == in.len;
        } else if (!verbs[v].needs_space || (in.len > len && is_space(in.data[len]))) {
            *out = (enum pl_nats_verb)v;
            return PL_OK;
        } else {
            possible |= in.len == len;
        }
    }
    return possible ? PL_NEED_MORE : PL_MALFORMED;
}

/* Up to ARGS_MAX arguments; one more than that is counted and not kept. `also` parts them, too. */
static unsigned split(struct pl_bytes line, uint8_t also, struct pl_bytes *args)
{
    unsigned count = 0;
    const uint8_t *at = line.data, *end = line.data + line.len;
    for (;;) {
        while (at < end && (is_space(*at) || *at == also))
            at++;
        if (at == end)
            return count;
        const uint8_t *start = at;
        while (at < end && !is_space(*at) && *at != also)
            at++;
        if (count == ARGS_MAX)
            return count + 1;
        args[count++] = pl_bytes_of(start, (size_t)(at - start));
    }
}

static bool read_size(struct pl_bytes text, uint32_t *out)
{
    uint64_t v;
    if (text.len > 9 || pl_parse_decimal(text, PL_NATS_SIZE_MAX, &v) != PL_OK)
        return false;
    *out = (uint32_t)v;
    return true;
}

/* PUB subject [reply] size, HPUB subject [reply] head size, and with a sid after the subject MSG
 * and HMSG. */
static bool read_message_args(
    struct pl_nats_line *out, struct pl_bytes *args, unsigned count, bool has_sid, bool has_head)
{
    unsigned least = 2u + has_sid + has_head;
    if (count != least && count != least + 1)
        return false;
    unsigned i = 0;
    out->subject = args[i++];
    if (has_sid)
        out->sid = args[i++];
    if (count > least)
        out->reply = args[i++];
    if (has_head && !read_size(args[i++], &out->head_size))
        return false;
    return read_size(args[i], &out->size) && out->head_size <= out->size;
}

static bool read_args(struct pl_nats_line *out, struct pl_bytes line)
{
    /* A CR inside of SUB and UNSUB parts arguments for nats-server; elsewhere it is a byte. */
    bool parts_cr = out->verb == PL_NATS_SUB || out->verb == PL_NATS_UNSUB;
    struct pl_bytes args[ARGS_MAX];
    unsigned count = split(line, parts_cr ? '\r' : ' ', args);
    switch ((enum pl_nats_verb)out->verb) {
    case PL_NATS_PUB:
        return read_message_args(out, args, count, false, false);
    case PL_NATS_HPUB:
        return read_message_args(out, args, count, false, true);
    case PL_NATS_MSG:
        return read_message_args(out, args, count, true, false);
    case PL_NATS_HMSG:
        return read_message_args(out, args, count, true, true);
    case PL_NATS_SUB:
        if (count != 2 && count != 3)
            return false;
        out->subject = args[0];
        out->queue = count == 3 ? args[1] : PL_NO_BYTES;
        out->sid = args[count - 1];
        return true;
    case PL_NATS_UNSUB:
        if (count != 1 && count != 2)
            return false;
        out->sid = args[0];
        /* A number that cannot be read means "at once", as for nats-server. */
        if (count == 2 && !read_size(args[1], &out->max))
            out->max = 0;
        return true;
    case PL_NATS_CONNECT:
    case PL_NATS_INFO:
    case PL_NATS_ERR:
    case PL_NATS_PING:
    case PL_NATS_PONG:
    case PL_NATS_OK:
        out->text = line;
        return true;
    }
    return false;
}

enum pl_err pl_nats_read_line(
    struct pl_bytes in, size_t line_max, struct pl_nats_line *out, size_t *out_used)
{
    enum pl_nats_verb verb;
    enum pl_err err = pl_nats_read_verb(in, &verb);
    if (err)
        return err;
    size_t start = verbs[verb].len;
    while (start < in.len && is_space(in.data[start]))
        start++;
    size_t look = in.len - start;
    /* The line's end may stand two bytes behind the longest argument. */
    if (look > line_max + 2)
        look = line_max + 2;
    const uint8_t *end = look ? memchr(in.data + start, '\n', look) : NULL;
    if (!end)
        return look == line_max + 2 || start > line_max ? PL_TOO_LARGE : PL_NEED_MORE;
    size_t len = (size_t)(end - (in.data + start));
    *out_used = start + len + 1;
    if (len && in.data[start + len - 1] == '\r')
        len--;
    if (len > line_max)
        return PL_TOO_LARGE;
    struct pl_nats_line line = {.verb = (uint8_t)verb};
    if (!read_args(&line, pl_bytes_of(in.data + start, len)))
        return PL_PROTOCOL;
    *out = line;
    return PL_OK;
}

enum pl_err pl_nats_read_payload(
    struct pl_bytes in, uint32_t size, struct pl_bytes *out_payload, size_t *out_used)
{
    if (in.len > size && in.data[size] != '\r')
        return PL_MALFORMED;
    if (in.len < (size_t)size + 2)
        return PL_NEED_MORE;
    if (in.data[size + 1] != '\n')
        return PL_MALFORMED;
    *out_payload = pl_bytes_of(in.data, size);
    *out_used = (size_t)size + 2;
    return PL_OK;
}

static struct pl_bytes trim(struct pl_bytes text)
{
    while (text.len && is_space(text.data[0]))
        text = pl_bytes_from(text, 1);
    while (text.len && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Takes one line off the rest, without its end; false: none is left. */
static bool next_line(struct pl_nats_head *h, struct pl_bytes *out)
{
    if (!h->rest.len)
        return false;
    const uint8_t *end = memchr(h->rest.data, '\n', h->rest.len);
    size_t len = end ? (size_t)(end - h->rest.data) : h->rest.len;
    *out = pl_bytes_of(h->rest.data, len);
    h->rest = pl_bytes_from(h->rest, end ? len + 1 : len);
    if (out->len && out->data[out->len - 1] == '\r')
        out->len--;
    return true;
}

enum pl_err pl_nats_head_begin(
    struct pl_nats_head *h, struct pl_bytes block, struct pl_bytes *out_status)
{
    static const char version[] = "NATS/1.0";
    struct pl_bytes line;
    h->rest = block;
    if (!next_line(h, &line) || !pl_bytes_starts(line, pl_bytes_text(version)))
        return PL_MALFORMED;
    *out_status = trim(pl_bytes_from(line, sizeof version - 1));
    return PL_OK;
}

bool pl_nats_head_next(
    struct pl_nats_head *h, struct pl_bytes *out_name, struct pl_bytes *out_value)
{
    struct pl_bytes line;
    while (next_line(h, &line)) {
        const uint8_t *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
        if (!colon)
            continue;
        size_t len = (size_t)(colon - line.data);
        *out_name = pl_bytes_of(line.data, len);
        *out_value = trim(pl_bytes_from(line, len + 1));
        return true;
    }
    return false;
}

static uint8_t *put(uint8_t *at, struct pl_bytes bytes)
{
    /* Sids and short names are a few bytes, for which a call costs more than the copy. */
    if (bytes.len > 16) {
        memcpy(at, bytes.data, bytes.len);
    } else {
        for (size_t i = 0; i < bytes.len; i++)
            at[i] = bytes.data[i];
    }
    return at + bytes.len;
}

void pl_nats_write_msg(struct pl_writer *w, struct pl_bytes subject, struct pl_bytes sid,
    struct pl_bytes reply, struct pl_bytes payload)
{
    static const char verb[] = "MSG ";
    enum { FIXED = sizeof verb + 3 + PL_DECIMAL_MAX + 4 }; /* with three spaces and two CRLF */
    size_t room = FIXED + subject.len + sid.len + reply.len + payload.len, before = w->len;
    uint8_t *start = pl_writer_room(w, room), *at = start;
    if (!at)
        return;
    memcpy(at, verb, sizeof verb - 1);
    at = put(at + sizeof verb - 1, subject);
    *at++ = ' ';
    at = put(at, sid);
    *at++ = ' ';
    if (reply.len) {
        at = put(at, reply);
        *at++ = ' ';
    }
    at += pl_format_decimal((char *)at, payload.len);
    *at++ = '\r';
    *at++ = '\n';
    if (payload.len)
        memcpy(at, payload.data, payload.len);
    at += payload.len;
    *at++ = '\r';
    *at++ = '\n';
    /* What the longest number would have taken is given back. */
    w->len = before + (size_t)(at - start);
}

void pl_nats_write_hmsg_line(struct pl_writer *w, struct pl_bytes subject, struct pl_bytes sid,
    struct pl_bytes reply, uint32_t head_size, uint32_t size)
{
    pl_write_text(w, "HMSG ");
    pl_write_bytes(w, subject);
    pl_write_u8(w, ' ');
    pl_write_bytes(w, sid);
    pl_write_u8(w, ' ');
    if (reply.len) {
        pl_write_bytes(w, reply);
        pl_write_u8(w, ' ');
    }
    pl_write_decimal(w, head_size);
    pl_write_u8(w, ' ');
    pl_write_decimal(w, size);
    pl_write_text(w, "\r\n");
}

void pl_nats_write_pub(struct pl_writer *w, struct pl_bytes subject, struct pl_bytes reply,
    struct pl_bytes head, struct pl_bytes payload)
{
    pl_write_text(w, head.len ? "HPUB " : "PUB ");
    pl_write_bytes(w, subject);
    pl_write_u8(w, ' ');
    if (reply.len) {
        pl_write_bytes(w, reply);
        pl_write_u8(w, ' ');
    }
    if (head.len) {
        pl_write_decimal(w, head.len);
        pl_write_u8(w, ' ');
    }
    pl_write_decimal(w, head.len + payload.len);
    pl_write_text(w, "\r\n");
    pl_write_bytes(w, head);
    pl_write_bytes(w, payload);
    pl_write_text(w, "\r\n");
}

void pl_nats_write_sub(
    struct pl_writer *w, struct pl_bytes subject, struct pl_bytes queue, struct pl_bytes sid)
{
    pl_write_text(w, "SUB ");
    pl_write_bytes(w, subject);
    pl_write_u8(w, ' ');
    if (queue.len) {
        pl_write_bytes(w, queue);
        pl_write_u8(w, ' ');
    }
    pl_write_bytes(w, sid);
    pl_write_text(w, "\r\n");
}

void pl_nats_write_unsub(struct pl_writer *w, struct pl_bytes sid, uint32_t max)
{
    pl_write_text(w, "UNSUB ");
    pl_write_bytes(w, sid);
    if (max) {
        pl_write_u8(w, ' ');
        pl_write_decimal(w, max);
    }
    pl_write_text(w, "\r\n");
}

void pl_nats_write_err(struct pl_writer *w, struct pl_bytes text)
{
    pl_write_text(w, "-ERR '");
    pl_write_bytes(w, text);
    pl_write_text(w, "'\r\n");
}
