#include "web/compress.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

enum { GZIP_LEVEL = 6, GZIP_WINDOW = 15 + 16, BROTLI_LEVEL = 5, ZSTD_LEVEL = 6 };

/* Each writes at most cap bytes and returns their number; 0: they would be more, or no memory. */
typedef size_t compress_fn(struct pl_bytes in, uint8_t *out, size_t cap);

static size_t to_gzip(struct pl_bytes in, uint8_t *out, size_t cap)
{
    z_stream z = {0};
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    z.next_in = (Bytef *)(uintptr_t)in.data; /* zlib's is not const, but it does not write there */
    z.avail_in = (uInt)in.len;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    bool is_whole = deflate(&z, Z_FINISH) == Z_STREAM_END;
    size_t len = cap - z.avail_out;
    deflateEnd(&z);
    return is_whole ? len : 0;
}

static size_t to_brotli(struct pl_bytes in, uint8_t *out, size_t cap)
{
    size_t len = cap;
    return BrotliEncoderCompress(
               BROTLI_LEVEL, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC, in.len, in.data, &len, out)
               ? len
               : 0;
}

static size_t to_zstd(struct pl_bytes in, uint8_t *out, size_t cap)
{
    size_t len = ZSTD_compress(out, cap, in.data, in.len, ZSTD_LEVEL);
    return ZSTD_isError(len) ? 0 : len;
}

enum pl_err pl_web_compress(
    enum pl_web_encoding encoding, struct pl_bytes in, struct pl_shared **out)
{
    static compress_fn *const ways[PL_WEB_ENCODINGS] = {
        [PL_WEB_GZIP] = to_gzip, [PL_WEB_BROTLI] = to_brotli, [PL_WEB_ZSTD] = to_zstd};
    compress_fn *way = ways[encoding];
    if (!way || !in.len || in.len > INT32_MAX)
        return PL_UNSUPPORTED;
    struct pl_shared *room = pl_shared_new(in.len);
    if (!room)
        return PL_NO_MEMORY;
    size_t len = way(in, room->data, in.len - 1);
    struct pl_shared *fit = len ? pl_shared_new(len) : NULL;
    if (fit) {
        memcpy(fit->data, room->data, len);
        fit->len = (uint32_t)len;
    }
    pl_shared_unref(room);
    if (!fit)
        return len ? PL_NO_MEMORY : PL_UNSUPPORTED;
    *out = fit;
    return PL_OK;
}
