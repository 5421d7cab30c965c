/* The first frame of an Mles session: what is read is within the rules, and written it is the same.
 */
#include <stddef.h>
#include <stdint.h>

#include "codec/mles.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_arena arena = {0};
    struct pl_mles_header header, again;
    if (pl_mles_header_decode(pl_bytes_of(data, size), &arena, &header) == PL_OK) {
        PL_ASSERT(size <= PL_MLES_HEADER_MAX);
        PL_ASSERT(header.uid.len && header.uid.len <= PL_MLES_NAME_MAX);
        PL_ASSERT(header.channel.len && header.channel.len <= PL_MLES_NAME_MAX);
        (void)pl_mles_auth_matches(&header, PL_BYTES("key"));
        struct pl_writer w = pl_writer_new();
        struct pl_shared *made = NULL;
        pl_mles_header_encode(&w, &header);
        if (pl_writer_take(&w, &made) == PL_OK) {
            enum pl_err err =
                pl_mles_header_decode(pl_bytes_of(made->data, made->len), &arena, &again);
            /* Escapes may make it longer. */
            PL_ASSERT(err == PL_TOO_LARGE || err == PL_OK);
            PL_ASSERT(err || (pl_bytes_equal(header.uid, again.uid) &&
                                 pl_bytes_equal(header.channel, again.channel) &&
                                 header.has_auth == again.has_auth &&
                                 pl_bytes_equal(header.auth, again.auth)));
        }
        pl_shared_unref(made);
        uint8_t stripped[PL_MLES_HEADER_MAX];
        size_t len = pl_mles_header_strip(pl_bytes_of(data, size), stripped);
        PL_ASSERT(len == size || header.has_auth);
        PL_ASSERT(pl_mles_header_decode(pl_bytes_of(stripped, len), &arena, &again) == PL_OK);
        PL_ASSERT(!again.has_auth && pl_bytes_equal(header.uid, again.uid) &&
                  pl_bytes_equal(header.channel, again.channel));
    }
    pl_arena_done(&arena);
    return 0;
}
