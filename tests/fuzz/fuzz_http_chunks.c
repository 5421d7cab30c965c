/* Bodies in chunks: whole or in pieces, whatever comes is read the same. The first byte is the size
 * of the pieces. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "codec/http_chunks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    enum pl_err err;
    size_t end, len;
    uint64_t sum; /* over the data, by place */
};

static struct result read_in_pieces(struct pl_bytes in, size_t step)
{
    struct pl_http_chunks chunks = {0};
    struct result r = {.err = PL_NEED_MORE};
    while (r.err == PL_NEED_MORE && r.end < in.len) {
        struct pl_bytes piece = {in.data + r.end, in.len - r.end < step ? in.len - r.end : step};
        struct pl_bytes out;
        size_t used = 0;
        r.err = pl_http_chunks_read(&chunks, piece, &used, &out);
        if (r.err && r.err != PL_NEED_MORE)
            break;
        PL_ASSERT(used > 0 && used <= piece.len);
        PL_ASSERT(!out.len || (out.data >= piece.data && out.data + out.len <= piece.data + used));
        for (size_t i = 0; i < out.len; i++)
            r.sum = r.sum * 31 + out.data[i];
        r.len += out.len;
        r.end += used;
    }
    if (r.err && r.err != PL_NEED_MORE)
        r.end = 0;
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct pl_bytes in = {data + 1, size - 1};
    struct result whole = read_in_pieces(in, SIZE_MAX), parts = read_in_pieces(in, data[0] + 1u);
    PL_ASSERT(whole.err == parts.err && whole.end == parts.end);
    PL_ASSERT(whole.len == parts.len && whole.sum == parts.sum);
    return 0;
}
