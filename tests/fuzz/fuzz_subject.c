/*
 * First byte: whose rules. The rest is a name, which must come back from its text, and a text,
 * which must come back from its name or be refused.
 */
#include <stdlib.h>

#include "core/escape_rules.h"

#include "base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const struct pl_escape_rules *rules = all[*data % ALL];
    struct pl_bytes in = pl_bytes_of(data + 1, size - 1), out, back;
    struct pl_arena arena = {0};

    claim(!pl_subject_encode(rules, &arena, in, &out));
    claim(can_carry(rules, out));
    claim(!pl_subject_decode(rules, &arena, out, &back) && pl_bytes_equal(back, in));
    if (pl_subject_is_plain(rules, in))
        claim(out.data == in.data && pl_bytes_equal(out, in));

    enum pl_err err = pl_subject_decode(rules, &arena, in, &out);
    claim(err == (can_carry(rules, in) ? PL_OK : PL_BAD_NAME));
    if (!err)
        claim(!pl_subject_encode(rules, &arena, out, &back) && pl_bytes_equal(back, in));

    if (!pl_token_decode(rules, &arena, in, &out))
        claim(!pl_token_encode(rules, &arena, out, &back) && pl_bytes_equal(back, in));
    pl_arena_done(&arena);
    return 0;
}
