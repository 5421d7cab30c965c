/*
 * First byte: which kind of pattern. Then the pattern, a line feed, and a name. What a pattern says
 * of the name, its containment and the matcher must agree.
 */
#include <stdlib.h>

#include "core/match.h"
#include "core/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool holds)
{
    if (!holds)
        abort();
}

static enum pl_err make(uint8_t kind, struct pl_bytes text, struct pl_pattern **out)
{
    switch (kind % 3) {
    case 0:
        return pl_pattern_parse(text, out);
    case 1:
        return pl_pattern_new_glob(text, out);
    default:
        return pl_pattern_new_prefix(text, out);
    }
}

static void check(struct pl_pattern *p, struct pl_bytes name)
{
    static const struct pl_session_ops ops;
    struct pl_session session = {.ops = &ops};
    struct pl_subscription sub = {.pattern = p, .session = &session, .form = 1};
    struct pl_pattern *exact;
    bool matches = pl_pattern_matches(p, name), covers = pl_pattern_covers(p, name);
    claim(!matches || covers);
    claim(pl_pattern_contains(p, p) && pl_pattern_intersects(p, p) && pl_pattern_equal(p, p));
    if (pl_pattern_new_literal(name, &exact))
        return; /* too many tokens: no name */
    claim(pl_pattern_intersects(p, exact) == covers && pl_pattern_intersects(exact, p) == covers);
    bool contains = pl_pattern_contains(p, exact);
    claim(p->kind == PL_PATTERN_TOKENS ? contains == covers : !contains || covers);
    pl_pattern_unref(exact);

    struct pl_matcher *m = pl_matcher_new(1, 4);
    if (!m)
        return;
    if (!pl_matcher_add(m, &sub)) {
        struct pl_match *match = pl_matcher_match(m, name, false);
        claim(!match || match->receivers == matches);
        pl_matcher_remove(m, &sub);
    }
    pl_matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_pattern *p;
    const uint8_t *line = size ? memchr(data + 1, '\n', size - 1) : NULL;
    if (!line)
        return 0;
    struct pl_bytes text = pl_bytes_of(data + 1, (size_t)(line - data) - 1);
    struct pl_bytes name = pl_bytes_of(line + 1, (size_t)(data + size - line) - 1);
    if (make(*data, text, &p))
        return 0;
    if (text.len <= 4096 &&
        name.len <= 4096) /* the default limit; a glob's time is bounded by both */
        check(p, name);
    pl_pattern_unref(p);
    return 0;
}
