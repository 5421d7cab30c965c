/* The RESP decoders: whole, in two pieces, and inline; what was decoded lies inside of the input.
 */
#include <stdlib.h>

#include "protocols/redis/redis_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

static void check_arguments(struct pl_bytes in, const struct pl_resp_request *request)
{
    struct pl_resp_args args = pl_resp_args(request, 0);
    struct pl_bytes arg;
    uint32_t count = 0;
    for (; pl_resp_next(&args, &arg); count++)
        require(arg.data >= in.data && arg.data + arg.len <= in.data + in.len);
    require(count == request->count);
}

static void take_array(struct pl_bytes in, size_t cut)
{
    static const struct pl_resp_limits limits = {
        .line_max = 64, .bulk_max = 4096, .request_max = 8192};
    struct pl_resp_scan whole_scan = {0}, scan = {0};
    struct pl_resp_request whole = {0}, pieces = {0};
    struct pl_diag diag;
    size_t whole_used = 0, used = 0;
    enum pl_err err = pl_resp_decode(in, &limits, &whole_scan, &whole, &whole_used, &diag);
    if (!err) {
        require(whole_used <= in.len);
        check_arguments(in, &whole);
    }
    enum pl_err first =
        pl_resp_decode(pl_bytes_of(in.data, cut), &limits, &scan, &pieces, &used, &diag);
    if (first == PL_NEED_MORE) {
        require(pl_resp_decode(in, &limits, &scan, &pieces, &used, &diag) == err);
        if (!err) {
            require(used == whole_used && pieces.count == whole.count);
            check_arguments(in, &pieces);
        }
    }
}

static void take_inline(struct pl_bytes in)
{
    static const struct pl_resp_limits limits = {
        .line_max = 4096, .bulk_max = UINT32_MAX, .request_max = UINT32_MAX};
    struct pl_writer w = pl_writer_new();
    struct pl_diag diag;
    size_t used = 0;
    if (pl_resp_decode_inline(in, &limits, &w, &used, &diag) == PL_OK) {
        require(used <= in.len);
        struct pl_shared *array = NULL;
        require(pl_writer_take(&w, &array) == PL_OK);
        if (array->len) {
            struct pl_resp_scan scan = {0};
            struct pl_resp_request request = {0};
            struct pl_bytes bytes = pl_bytes_of(array->data, array->len);
            require(pl_resp_decode(bytes, &limits, &scan, &request, &used, &diag) == PL_OK);
            require(used == array->len);
            check_arguments(bytes, &request);
        }
        pl_shared_unref(array);
    } else {
        pl_shared_unref(w.spill);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t *copy = malloc(size - 1);
    require(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct pl_bytes in = pl_bytes_of(copy, size - 1);
    if (in.data[0] == '*')
        take_array(in, data[0] % in.len);
    else
        take_inline(in);
    free(copy);
    return 0;
}
