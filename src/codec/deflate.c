#include "codec/deflate.h"

#include <stdio.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/http.h"

enum { DEFLATE_LEVEL = 1, DEFLATE_MEMORY = 8, BITS_MAX = 15, BITS_MIN = 8 };

/* Cut off the end of a message by its sender, put back by its receiver. */
static const uint8_t sync_tail[4] = {0x00, 0x00, 0xff, 0xff};

static bool is_token(struct pl_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!pl_http_is_token_byte(text.data[i]))
            return false;
    return text.len != 0;
}

/* Takes the text before the next ';' that is not in quotes. */
static struct pl_bytes next_part(struct pl_bytes *text)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < text->len && (quoted || text->data[i] != ';'); i++)
        if (text->data[i] == '"')
            quoted = !quoted;
    struct pl_bytes part = {text->data, i};
    *text = pl_bytes_from(*text, i < text->len ? i + 1 : i);
    return pl_http_trim(part);
}

/* 8 to 15, without a leading zero (RFC 7692, section 7.1.2). */
static bool read_bits(struct pl_bytes value, uint8_t *out)
{
    uint64_t bits;
    if (!value.len || value.data[0] == '0' || pl_parse_decimal(value, BITS_MAX, &bits) != PL_OK ||
        bits < BITS_MIN)
        return false;
    *out = (uint8_t)bits;
    return true;
}

enum parameter {
    SERVER_NO_TAKEOVER = 1,
    CLIENT_NO_TAKEOVER = 2,
    SERVER_BITS = 4,
    CLIENT_BITS = 8,
};

static unsigned parameter_of(struct pl_bytes name)
{
    static const struct {
        struct pl_bytes name;
        unsigned parameter;
    } known[] = {
        {{(const uint8_t *)"server_no_context_takeover", 26}, SERVER_NO_TAKEOVER},
        {{(const uint8_t *)"client_no_context_takeover", 26}, CLIENT_NO_TAKEOVER},
        {{(const uint8_t *)"server_max_window_bits", 22}, SERVER_BITS},
        {{(const uint8_t *)"client_max_window_bits", 22}, CLIENT_BITS},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (pl_bytes_equal_nocase(name, known[i].name))
            return known[i].parameter;
    return 0;
}

/* One offer's parameters. PL_NOT_FOUND: declined. */
static enum pl_err read_offer(struct pl_bytes rest, struct pl_deflate_terms *out)
{
    struct pl_deflate_terms terms = {.server_bits = BITS_MAX, .client_bits = BITS_MAX};
    unsigned seen = 0;
    bool declined = false;
    while (rest.len) {
        struct pl_bytes part = next_part(&rest), name = part, value = PL_NO_BYTES;
        const uint8_t *equals = part.len ? memchr(part.data, '=', part.len) : NULL;
        if (equals) {
            name = pl_http_trim(pl_bytes_of(part.data, (size_t)(equals - part.data)));
            value = pl_http_trim(pl_bytes_from(part, (size_t)(equals - part.data) + 1));
            if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
                value = pl_bytes_of(value.data + 1, value.len - 2);
            if (!is_token(value))
                return PL_MALFORMED;
        }
        if (!is_token(name))
            return PL_MALFORMED;
        unsigned parameter = parameter_of(name);
        if (!parameter || (seen & parameter))
            declined = true;
        seen |= parameter;
        if (parameter == SERVER_BITS)
            declined |= !equals || !read_bits(value, &terms.server_bits);
        else if (parameter == CLIENT_BITS)
            declined |= equals && !read_bits(value, &terms.client_bits);
        else
            declined |= equals != NULL;
    }
    /* zlib cannot make a raw stream with a window of 256 bytes. */
    if (declined || terms.server_bits < 9)
        return PL_NOT_FOUND;
    terms.tells_server_bits = seen & SERVER_BITS;
    /* A client that did not name it need not understand it; one that did is told its own wish. */
    terms.tells_client_bits = (seen & CLIENT_BITS) && terms.client_bits < BITS_MAX;
    *out = terms;
    return PL_OK;
}

enum pl_err pl_deflate_negotiate(struct pl_bytes extensions, struct pl_deflate_terms *out)
{
    struct pl_bytes offer;
    bool found = false;
    while (pl_http_next_element(&extensions, &offer)) {
        struct pl_bytes rest = offer, name = next_part(&rest);
        if (!is_token(name))
            return PL_MALFORMED;
        if (found || !pl_bytes_equal_nocase(name, PL_BYTES("permessage-deflate")))
            continue;
        enum pl_err err = read_offer(rest, out);
        if (err == PL_MALFORMED)
            return err;
        found = err == PL_OK;
    }
    return found ? PL_OK : PL_NOT_FOUND;
}

size_t pl_deflate_answer(const struct pl_deflate_terms *terms, char out[PL_DEFLATE_ANSWER_MAX])
{
    char server[32] = "", client[32] = "";
    if (terms->tells_server_bits)
        snprintf(server, sizeof server, "; server_max_window_bits=%u", terms->server_bits);
    if (terms->tells_client_bits)
        snprintf(client, sizeof client, "; client_max_window_bits=%u", terms->client_bits);
    int len = snprintf(out, PL_DEFLATE_ANSWER_MAX,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover%s%s", server,
        client);
    return (size_t)len;
}

static void *zlib_alloc(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    /* Zeroed: deflate reads, without consequence, parts of its window that it has not written. */
    return pl_zalloc((size_t)count * size);
}

static void zlib_free(void *opaque, void *memory)
{
    (void)opaque;
    pl_free(memory);
}

struct pl_inflater {
    z_stream z;
    bool in_tail; /* the sender's bytes are through, the four that it cut off are being read */
};

struct pl_inflater *pl_inflater_new(void)
{
    struct pl_inflater *inflater = pl_zalloc(sizeof *inflater);
    if (!inflater)
        return NULL;
    inflater->z.zalloc = zlib_alloc;
    inflater->z.zfree = zlib_free;
    if (inflateInit2(&inflater->z, -BITS_MAX) != Z_OK) {
        pl_free(inflater);
        return NULL;
    }
    return inflater;
}

struct pl_inflater *pl_inflater_free(struct pl_inflater *inflater)
{
    if (inflater)
        inflateEnd(&inflater->z);
    pl_free(inflater);
    return NULL;
}

/* zlib's pointer is not const, but it does not write there. */
static void feed(z_stream *z, const uint8_t *bytes, size_t len)
{
    z->next_in = (Bytef *)(uintptr_t)bytes;
    z->avail_in = (uInt)len;
}

void pl_inflater_begin(struct pl_inflater *inflater, struct pl_bytes compressed)
{
    inflateReset(&inflater->z);
    PL_ASSERT(compressed.len <= UINT32_MAX);
    feed(&inflater->z, compressed.data, compressed.len);
    inflater->in_tail = false;
}

enum pl_err pl_inflater_next(
    struct pl_inflater *inflater, uint8_t *out, size_t room, size_t *out_len)
{
    z_stream *z = &inflater->z;
    uInt given = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
    z->next_out = out;
    z->avail_out = given;
    while (z->avail_out) {
        if (!z->avail_in && !inflater->in_tail) {
            inflater->in_tail = true;
            feed(z, sync_tail, sizeof sync_tail);
        }
        uInt had_in = z->avail_in, had_out = z->avail_out;
        int status = inflate(z, Z_SYNC_FLUSH);
        if (status == Z_STREAM_END) {
            /* A final block (section 7.2.3.4): another stream may follow in the same message. */
            if (inflateReset(z) != Z_OK)
                return PL_MALFORMED;
            if (inflater->in_tail) {
                z->avail_in = 0;
                break;
            }
            continue;
        }
        if (status == Z_BUF_ERROR && inflater->in_tail)
            break;
        if (status != Z_OK && status != Z_BUF_ERROR)
            return status == Z_MEM_ERROR ? PL_NO_MEMORY : PL_MALFORMED;
        if (z->avail_in == had_in && z->avail_out == had_out && inflater->in_tail)
            break;
    }
    *out_len = given - z->avail_out;
    return PL_OK;
}

struct pl_deflater {
    z_stream z;
    uint8_t held[sizeof sync_tail]; /* the newest bytes: the message's last four are not sent */
    uint8_t held_len;
};

struct pl_deflater *pl_deflater_new(uint8_t bits)
{
    struct pl_deflater *deflater = pl_zalloc(sizeof *deflater);
    if (!deflater)
        return NULL;
    deflater->z.zalloc = zlib_alloc;
    deflater->z.zfree = zlib_free;
    if (deflateInit2(&deflater->z, DEFLATE_LEVEL, Z_DEFLATED, -(int)bits, DEFLATE_MEMORY,
            Z_DEFAULT_STRATEGY) != Z_OK) {
        pl_free(deflater);
        return NULL;
    }
    return deflater;
}

struct pl_deflater *pl_deflater_free(struct pl_deflater *deflater)
{
    if (deflater)
        deflateEnd(&deflater->z);
    pl_free(deflater);
    return NULL;
}

void pl_deflater_begin(struct pl_deflater *deflater)
{
    deflateReset(&deflater->z);
    deflater->held_len = 0;
}

enum pl_err pl_deflater_next(struct pl_deflater *deflater, struct pl_bytes in, bool is_last,
    uint8_t *out, size_t room, size_t *out_len, bool *out_more)
{
    z_stream *z = &deflater->z;
    size_t held = deflater->held_len;
    PL_ASSERT(room >= 64 && in.len <= UINT32_MAX);
    memcpy(out, deflater->held, held);
    if (in.len)
        feed(z, in.data, in.len);
    uInt given = room - held > UINT32_MAX ? UINT32_MAX : (uInt)(room - held);
    z->next_out = out + held;
    z->avail_out = given;
    int status = deflate(z, is_last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    if (status != Z_OK && status != Z_BUF_ERROR)
        return PL_NO_MEMORY;
    size_t len = held + given - z->avail_out;
    size_t keep = len < sizeof sync_tail ? len : sizeof sync_tail;
    memcpy(deflater->held, out + len - keep, keep);
    deflater->held_len = (uint8_t)keep;
    *out_len = len - keep;
    *out_more = !z->avail_out;
    return PL_OK;
}
