#include "codec/websocket.h"

#include "base/text.h"

void pl_websocket_decoder_init(struct pl_websocket_decoder *d, bool allows_compression)
{
    *d = (struct pl_websocket_decoder){.allows_compression = allows_compression};
}

void pl_websocket_decoder_init_client(struct pl_websocket_decoder *d)
{
    *d = (struct pl_websocket_decoder){.is_client = true};
}

void pl_websocket_mask(uint8_t *to, const uint8_t *from, size_t len, const uint8_t mask[4])
{
    uint64_t wide[4];
    for (size_t i = 0; i < sizeof wide; i += 4)
        memcpy((uint8_t *)wide + i, mask, 4);
    size_t i = 0;
    /* Each step is read before it is written, so `to` may lie before `from` and overlap it. */
    for (; len - i >= sizeof wide; i += sizeof wide) {
        uint64_t word[4];
        memcpy(word, from + i, sizeof word);
        word[0] ^= wide[0];
        word[1] ^= wide[1];
        word[2] ^= wide[2];
        word[3] ^= wide[3];
        memcpy(to + i, word, sizeof word);
    }
    for (; len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, 8);
        word ^= wide[0];
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = from[i] ^ mask[i & 3];
}

/* The mask as it stands n bytes later. */
static void turn_mask(uint8_t mask[4], size_t n)
{
    uint8_t old[4];
    memcpy(old, mask, 4);
    for (size_t i = 0; i < 4; i++)
        mask[i] = old[(i + n) & 3];
}

static enum pl_err fail(struct pl_websocket_decoder *d, uint16_t code)
{
    d->close_code = code;
    return PL_MALFORMED;
}

static bool is_control(uint8_t opcode)
{
    return opcode >= PL_WS_CLOSE;
}

/* What the first two bytes must not be (RFC 6455, sections 5.2, 5.4, 5.5). */
static bool is_header_valid(const struct pl_websocket_decoder *d, uint8_t first, uint8_t second)
{
    uint8_t opcode = first & 0x0f;
    bool is_fin = first & 0x80, is_masked = second & 0x80, is_marked = first & 0x40;
    if (is_masked == d->is_client || (first & 0x30))
        return false;
    /* RSV1 marks the first frame of a compressed message (RFC 7692, section 6). */
    if (is_marked && (!d->allows_compression || is_control(opcode) || !opcode))
        return false;
    if (is_control(opcode))
        return opcode <= PL_WS_PONG && is_fin && (second & 0x7f) <= PL_WS_CONTROL_MAX;
    return opcode == PL_WS_CONTINUATION ? d->message != 0 : opcode <= PL_WS_BINARY && !d->message;
}

/* Bytes of the whole header, as its second byte tells. */
static size_t header_len(uint8_t second)
{
    uint8_t len = second & 0x7f;
    return 2u + (len == 126 ? 2u : len == 127 ? 8u : 0u) + (second & 0x80 ? 4u : 0u);
}

/* head is whole. */
static enum pl_err begin_frame(struct pl_websocket_decoder *d, const uint8_t *head)
{
    uint8_t len = head[1] & 0x7f;
    size_t extended = len == 126 ? 2 : len == 127 ? 8 : 0;
    uint64_t left = extended ? 0 : len;
    for (size_t i = 0; i < extended; i++)
        left = left << 8 | head[2 + i];
    /* The shortest form, and 63 bits (RFC 6455, section 5.2). */
    if ((len == 126 && left < 126) || (len == 127 && (left < 65536 || left >> 63)))
        return fail(d, PL_WS_PROTOCOL_ERROR);
    if (d->is_client)
        memset(d->mask, 0, 4); /* which changes nothing */
    else
        memcpy(d->mask, head + 2 + extended, 4);
    d->left = left;
    d->opcode = head[0] & 0x0f;
    d->is_fin = head[0] & 0x80;
    d->in_frame = true;
    d->control_len = 0;
    return PL_OK;
}

/* Takes what there is of a header. PL_OK: a frame has begun. */
static enum pl_err read_header(struct pl_websocket_decoder *d, struct pl_bytes *in)
{
    /* The usual case: all of it is here. */
    if (!d->head_len && in->len >= 2) {
        if (!is_header_valid(d, in->data[0], in->data[1]))
            return fail(d, PL_WS_PROTOCOL_ERROR);
        size_t need = header_len(in->data[1]);
        if (in->len >= need) {
            const uint8_t *head = in->data;
            *in = pl_bytes_from(*in, need);
            return begin_frame(d, head);
        }
    }
    for (;;) {
        if (d->head_len >= 2) {
            if (!is_header_valid(d, d->head[0], d->head[1]))
                return fail(d, PL_WS_PROTOCOL_ERROR);
            if (d->head_len == header_len(d->head[1])) {
                d->head_len = 0;
                return begin_frame(d, d->head);
            }
        }
        if (!in->len)
            return PL_NEED_MORE;
        d->head[d->head_len++] = in->data[0];
        *in = pl_bytes_from(*in, 1);
    }
}

static enum pl_err end_close(struct pl_websocket_decoder *d, struct pl_websocket_piece *out)
{
    d->closed = true;
    out->code = PL_WS_NO_CODE;
    if (!d->control_len)
        return PL_OK;
    if (d->control_len < 2)
        return fail(d, PL_WS_PROTOCOL_ERROR);
    out->code = (uint16_t)(d->control[0] << 8 | d->control[1]);
    out->bytes = pl_bytes_of(d->control + 2, d->control_len - 2u);
    if (!pl_websocket_is_code(out->code))
        return fail(d, PL_WS_PROTOCOL_ERROR);
    if (!pl_utf8_is_valid(out->bytes))
        return fail(d, PL_WS_BAD_DATA);
    return PL_OK;
}

static enum pl_err read_control(
    struct pl_websocket_decoder *d, struct pl_bytes *in, struct pl_websocket_piece *out)
{
    size_t n = in->len < d->left ? in->len : (size_t)d->left;
    pl_websocket_mask(d->control + d->control_len, in->data, n, d->mask);
    turn_mask(d->mask, n);
    d->control_len = (uint8_t)(d->control_len + n);
    d->left -= n;
    *in = pl_bytes_from(*in, n);
    if (d->left)
        return PL_NEED_MORE;
    d->in_frame = false;
    *out = (struct pl_websocket_piece){
        .kind = d->opcode, .bytes = pl_bytes_of(d->control, d->control_len)};
    return d->opcode == PL_WS_CLOSE ? end_close(d, out) : PL_OK;
}

static enum pl_err read_data(struct pl_websocket_decoder *d, struct pl_bytes *in, uint8_t *to,
    struct pl_websocket_piece *out)
{
    size_t n = in->len < d->left ? in->len : (size_t)d->left;
    if (n) {
        pl_websocket_mask(to, in->data, n, d->mask);
        turn_mask(d->mask, n);
        d->left -= n;
        *in = pl_bytes_from(*in, n);
    }
    bool is_end = !d->left && d->is_fin;
    *out = (struct pl_websocket_piece){
        .kind = d->message,
        .is_start = d->is_start,
        .is_end = is_end,
        .is_compressed = d->is_compressed,
        .bytes = pl_bytes_of(to, n),
    };
    d->is_start = false;
    if (d->message == PL_WS_TEXT && !d->is_compressed &&
        (!pl_utf8_feed(&d->utf8, out->bytes) || (is_end && d->utf8)))
        return fail(d, PL_WS_BAD_DATA);
    if (!d->left)
        d->in_frame = false;
    if (is_end)
        d->message = 0;
    return PL_OK;
}

enum pl_err pl_websocket_decode(struct pl_websocket_decoder *d, struct pl_bytes *in, uint8_t *to,
    struct pl_websocket_piece *out)
{
    for (;;) {
        if (d->closed) {
            /* Nothing that follows a close frame counts (RFC 6455, section 5.5.1). */
            *in = pl_bytes_from(*in, in->len);
            return PL_NEED_MORE;
        }
        if (!d->in_frame) {
            uint8_t marked = d->head_len ? d->head[0] : in->len ? in->data[0] : 0;
            enum pl_err err = read_header(d, in);
            if (err)
                return err;
            if (!is_control(d->opcode) && d->opcode != PL_WS_CONTINUATION) {
                d->message = d->opcode;
                d->is_start = true;
                d->is_compressed = marked & 0x40;
                d->utf8 = 0;
            }
        }
        if (d->left && !in->len)
            return PL_NEED_MORE;
        if (is_control(d->opcode))
            return read_control(d, in, out);
        /* An empty frame in the middle of a message has nothing to tell. */
        if (!d->left && !d->is_fin && !d->is_start) {
            d->in_frame = false;
            continue;
        }
        return read_data(d, in, to, out);
    }
}

size_t pl_websocket_encode_header(uint8_t out[PL_WS_OUR_HEADER_MAX],
    enum pl_websocket_opcode opcode, bool is_fin, bool is_compressed, uint64_t len)
{
    out[0] = (uint8_t)((is_fin ? 0x80 : 0) | (is_compressed ? 0x40 : 0) | (uint8_t)opcode);
    if (len < 126) {
        out[1] = (uint8_t)len;
        return 2;
    }
    size_t extended = len < 65536 ? 2 : 8;
    out[1] = extended == 2 ? 126 : 127;
    for (size_t i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (extended - 1 - i)));
    return 2 + extended;
}

size_t pl_websocket_encode_masked(uint8_t out[PL_WS_HEADER_MAX], enum pl_websocket_opcode opcode,
    uint64_t len, const uint8_t mask[4])
{
    size_t at = pl_websocket_encode_header(out, opcode, true, false, len);
    out[1] |= 0x80;
    memcpy(out + at, mask, 4);
    return at + 4;
}

size_t pl_websocket_encode_control(
    uint8_t *out, enum pl_websocket_opcode opcode, struct pl_bytes payload)
{
    size_t len = payload.len < PL_WS_CONTROL_MAX ? payload.len : PL_WS_CONTROL_MAX;
    out[0] = (uint8_t)(0x80 | (uint8_t)opcode);
    out[1] = (uint8_t)len;
    if (len)
        memcpy(out + 2, payload.data, len);
    return 2 + len;
}

size_t pl_websocket_encode_close(uint8_t *out, uint16_t code, struct pl_bytes reason)
{
    uint8_t payload[PL_WS_CONTROL_MAX];
    size_t len = 0;
    if (code != PL_WS_NO_CODE) {
        payload[0] = (uint8_t)(code >> 8);
        payload[1] = (uint8_t)code;
        size_t text = reason.len < PL_WS_REASON_MAX ? reason.len : PL_WS_REASON_MAX;
        while (text && text < reason.len && (reason.data[text] & 0xc0) == 0x80)
            text--;
        if (text)
            memcpy(payload + 2, reason.data, text);
        len = 2 + text;
    }
    return pl_websocket_encode_control(out, PL_WS_CLOSE, pl_bytes_of(payload, len));
}

bool pl_websocket_is_code(uint16_t code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != PL_WS_NO_CODE &&
           code != PL_WS_ABNORMAL;
}

bool pl_websocket_is_key(struct pl_bytes key)
{
    uint8_t nonce[3 * (24 / 4) + 3];
    size_t len;
    return key.len == 24 && key.data[22] == '=' && key.data[23] == '=' &&
           pl_base64_decode(key, false, nonce, &len) == PL_OK && len == 16;
}
