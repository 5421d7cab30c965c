/*
 * Names across protocols: what one protocol says, every other can say, and nothing is lost on the
 * way. The first byte of the input chooses the direction.
 */
#include <stdlib.h>

#include "core/subject.h"
#include "protocols/mqtt/mqtt_translate.h"
#include "protocols/nats/nats_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pl_escape_rules *const protocols[] = {&pl_mqtt_escape_rules, &nats_rules};
enum { PROTOCOLS = sizeof protocols / sizeof protocols[0] };

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Any subject is told in any protocol, without what it cannot carry, and comes back. */
static void from_subject(struct pl_arena *arena, struct pl_bytes name)
{
    for (int i = 0; i < PROTOCOLS; i++) {
        const struct pl_escape_rules *rules = protocols[i];
        struct pl_bytes text, back;
        must(pl_subject_encode(rules, arena, name, &text) == PL_OK);
        for (size_t at = 0; at < text.len; at++)
            must(!(rules->bytes[text.data[at] / 8] >> text.data[at] % 8 & 1));
        must(pl_subject_decode(rules, arena, text, &back) == PL_OK);
        must(pl_bytes_equal(name, back));
    }
}

/* What a protocol itself says comes back to it as it was. */
static void from_text(
    struct pl_arena *arena, const struct pl_escape_rules *rules, struct pl_bytes text)
{
    struct pl_bytes name, back;
    if (pl_subject_decode(rules, arena, text, &name) != PL_OK)
        return;
    must(pl_subject_encode(rules, arena, name, &back) == PL_OK);
    must(pl_bytes_equal(text, back));
    from_subject(arena, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    struct pl_arena arena = {0};
    struct pl_bytes rest = {.data = data + 1, .len = size - 1};
    unsigned way = data[0] % (PROTOCOLS + 1);
    if (way == PROTOCOLS)
        from_subject(&arena, rest);
    else
        from_text(&arena, protocols[way], rest);
    pl_arena_done(&arena);
    return 0;
}
