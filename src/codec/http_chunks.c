#include "codec/http_chunks.h"

#include "base/text.h"

/*
 *     SIZE_FIRST → SIZE → (EXTENSION) → SIZE_LF → DATA → DATA_CR → DATA_LF → SIZE_FIRST
 *                                          └ size 0 → LINE → TRAILER → TRAILER_LF → LINE
 *                                                       └ CR → END_LF → done
 */
enum {
    SIZE_FIRST,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LINE,
    TRAILER,
    TRAILER_LF,
    END_LF,
    DONE,
};

static enum pl_err take_size(struct pl_http_chunks *c, uint8_t byte)
{
    int digit = pl_hex_value(byte);
    if (digit >= 0) {
        if (c->left > (UINT64_MAX >> 5))
            return PL_TOO_LARGE;
        c->left = c->left << 4 | (unsigned)digit;
        c->state = SIZE;
        return PL_OK;
    }
    if (c->state == SIZE_FIRST || (byte != ';' && byte != '\r'))
        return PL_MALFORMED;
    c->state = byte == ';' ? EXTENSION : SIZE_LF;
    return PL_OK;
}

/* A byte of an extension or a trailer; CR ends it. */
static enum pl_err skip_text(struct pl_http_chunks *c, uint8_t byte, uint8_t next)
{
    if (byte == '\r')
        c->state = next;
    else if ((byte < ' ' && byte != '\t') || byte == 0x7f)
        return PL_MALFORMED;
    return PL_OK;
}

static enum pl_err expect(struct pl_http_chunks *c, uint8_t byte, uint8_t wanted, uint8_t next)
{
    c->state = next;
    return byte == wanted ? PL_OK : PL_MALFORMED;
}

static enum pl_err take_byte(struct pl_http_chunks *c, uint8_t byte)
{
    bool is_line = c->state != DATA_CR && c->state != DATA_LF;
    if (is_line && ++c->line > PL_HTTP_CHUNK_LINE_MAX)
        return PL_TOO_LARGE;
    switch (c->state) {
    case SIZE_FIRST:
    case SIZE:
        return take_size(c, byte);
    case EXTENSION:
        return skip_text(c, byte, SIZE_LF);
    case SIZE_LF:
        c->line = 0;
        return expect(c, byte, '\n', c->left ? DATA : LINE);
    case DATA_CR:
        return expect(c, byte, '\r', DATA_LF);
    case DATA_LF:
        return expect(c, byte, '\n', SIZE_FIRST);
    case LINE:
        c->state = TRAILER;
        return skip_text(c, byte, END_LF);
    case TRAILER:
        return skip_text(c, byte, TRAILER_LF);
    case TRAILER_LF:
        return expect(c, byte, '\n', LINE);
    case END_LF:
        return expect(c, byte, '\n', DONE);
    default:
        return PL_MALFORMED;
    }
}

enum pl_err pl_http_chunks_read(
    struct pl_http_chunks *chunks, struct pl_bytes in, size_t *out_used, struct pl_bytes *out)
{
    size_t at = 0;
    *out = PL_NO_BYTES;
    while (at < in.len && chunks->state != DATA && chunks->state != DONE) {
        enum pl_err err = take_byte(chunks, in.data[at++]);
        if (err)
            return err;
    }
    if (chunks->state == DATA) {
        size_t len = in.len - at < chunks->left ? in.len - at : (size_t)chunks->left;
        *out = pl_bytes_of(in.data + at, len);
        at += len;
        chunks->left -= len;
        if (!chunks->left)
            chunks->state = DATA_CR;
    }
    *out_used = at;
    return chunks->state == DONE ? PL_OK : PL_NEED_MORE;
}
