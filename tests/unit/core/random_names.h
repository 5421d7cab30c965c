/*
 * Random names and texts for tests, rich in what is special somewhere: separators, wildcards,
 * escapes and what looks like them, good and bad UTF-8. And how many rounds a test can afford.
 */
#ifndef PARLEY_TESTS_RANDOM_NAMES_H
#define PARLEY_TESTS_RANDOM_NAMES_H

#include "base/hash.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define ROUNDS(release, checked) (checked)
#else
#define ROUNDS(release, checked) (release)
#endif

static inline struct pl_bytes random_name(struct pl_random *random, uint8_t *out, size_t max)
{
    static const char *const pieces[] = {".", "/", "..", "%", "25", "%25", "%2525", "%2A", "%3E",
        "%252A", "%20", "%0A", "%2520", "%00", "%C3", "%A9", "%C3%A9", "%25C3%25A9", "%25A9",
        "%C2%85", "%E2%82%AC", "%E2", "%82", "%AC", "%F0%9F%98%80", "%EF%BF%BF", "%2B", "%23",
        "%2f", "%2F", "%7F", "%41", "*", ">", "+", "#", " ", "\t", "\r\n", "\x7f", "a", "b", "temp",
        "plant", "_INBOX", "$SYS", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC2\x85",
        "\xEF\xBF\xBF", "\xEF\xB7\x90", "\xC3", "\xA9", "\xE2", "\x82", "\xED\xA0\x80", "\xFF"};
    size_t len = 0, pieces_max = pl_random_below(random, 9);
    for (size_t i = 0; i < pieces_max; i++) {
        if (!pl_random_below(random, 12)) {
            if (len < max)
                out[len++] = (uint8_t)pl_random_next(random);
            continue;
        }
        const char *piece = pieces[pl_random_below(random, sizeof pieces / sizeof *pieces)];
        size_t n = strlen(piece);
        if (n > max - len)
            break;
        memcpy(out + len, piece, n);
        len += n;
    }
    return pl_bytes_of(out, len);
}

#endif
