/*
 * Redis' globs (util.c, stringmatchlen, of Redis 7), odd cases too: a class without its ']' goes to
 * the end of the glob, a range may stand the wrong way round and compares signed bytes, a '\' at
 * the end is itself, and "*" does not match the empty text.
 *
 * What stands between two '*' matches one byte per piece, so it is enough to remember the last '*':
 * if the shortest text that brought us there leads to no match, no longer one before it does.
 */
#include "core/pattern.h"

/* Does the piece of the glob at `at` match c? *out_len: bytes that the piece takes. */
static bool piece_matches(struct pl_bytes glob, size_t at, uint8_t c, size_t *out_len)
{
    const uint8_t *g = glob.data;
    size_t i = at, end = glob.len;
    switch (g[i]) {
    case '?':
        *out_len = 1;
        return true;
    case '\\':
        *out_len = end - i >= 2 ? 2 : 1;
        return g[i + *out_len - 1] == c;
    default:
        *out_len = 1;
        return g[i] == c;
    case '[':
        break;
    }
    bool negated = ++i < end && g[i] == '^', found = false;
    i += negated;
    for (; i < end && g[i] != ']'; i++) {
        if (g[i] == '\\' && end - i >= 2) {
            found |= g[++i] == c;
        } else if (end - i >= 3 && g[i + 1] == '-') {
            int8_t from = (int8_t)g[i], to = (int8_t)g[i + 2], it = (int8_t)c;
            found |= from <= to ? it >= from && it <= to : it >= to && it <= from;
            i += 2;
        } else {
            found |= g[i] == c;
        }
    }
    *out_len = (i < end ? i + 1 : end) - at;
    return found != negated;
}

bool pl_glob_matches(struct pl_bytes glob, struct pl_bytes text)
{
    if (!text.len)
        return !glob.len;
    size_t g = 0, t = 0;
    size_t star = SIZE_MAX; /* behind the last '*' */
    size_t star_text = 0;   /* where the text goes on behind what it took */
    while (t < text.len) {
        size_t len;
        if (g < glob.len && glob.data[g] == '*') {
            star = ++g;
            star_text = t;
            if (g == glob.len)
                return true;
        } else if (g < glob.len && piece_matches(glob, g, text.data[t], &len)) {
            g += len;
            t++;
        } else if (star != SIZE_MAX) {
            g = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.data[g] == '*')
        g++;
    return g == glob.len;
}
