/* HTTP heads: whatever comes, slices stay within the input, and a prefix of it never contradicts.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "codec/deflate.h"
#include "codec/http.h"
#include "net/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct pl_bytes outer, struct pl_bytes inner)
{
    if (inner.len)
        PL_ASSERT(inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const subprotocols[] = {"mqtt", "nats", NULL};
    static struct pl_http_request request;
    struct pl_bytes in = {data, size}, value;
    struct pl_upgrade up;
    struct pl_http_authority authority;
    struct pl_arena arena = {0};
    unsigned status = 0;
    enum pl_err sniffed = pl_http_sniff(in);
    enum pl_err err = pl_http_parse(in, &request, &status);
    if (err == PL_OK) {
        check_within(in, request.target);
        check_within(request.target, request.path);
        check_within(request.target, request.query);
        for (uint32_t i = 0; i < request.header_count; i++) {
            check_within(in, request.headers[i].name);
            check_within(in, request.headers[i].value);
        }
        PL_ASSERT(request.head_len <= size);
        /* Only now was it whole. */
        PL_ASSERT(pl_http_parse(pl_bytes_of(data, request.head_len - 1), &request, &status) ==
                  PL_NEED_MORE);
        PL_ASSERT(pl_http_parse(in, &request, &status) == PL_OK);
        (void)pl_http_origin(&request);
        (void)pl_http_bearer(pl_http_header(&request, "authorization"));
        (void)pl_http_cookie(pl_http_header(&request, "cookie"), "token");
        err = pl_http_query(request.query, "token", &arena, &value);
        err = pl_http_unescape(request.path, false, &arena, &value);
        if (pl_upgrade_check(
                &request, pl_bytes_from(in, request.head_len), subprotocols, true, &up) != PL_OK)
            PL_ASSERT(up.status >= 400);
    } else if (err != PL_NEED_MORE) {
        PL_ASSERT(status >= 400 && status < 600);
    } else {
        PL_ASSERT(size < PL_HTTP_HEAD_MAX);
    }
    (void)sniffed;
    (void)pl_http_is_loopback(in);
    if (pl_http_parse_authority(in, &authority) == PL_OK)
        check_within(in, authority.host);
    if (pl_deflate_negotiate(in, &up.deflate) == PL_OK) {
        char answer[PL_DEFLATE_ANSWER_MAX];
        PL_ASSERT(pl_deflate_answer(&up.deflate, answer) < sizeof answer);
    }
    pl_arena_done(&arena);
    return 0;
}
