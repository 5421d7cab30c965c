/*
 * The sets of DESIGN section 1, written down once more: a protocol's own table is tested there. And
 * what a protocol's text can hold, written independently of core/subject.c.
 */
#ifndef PARLEY_TESTS_ESCAPE_RULES_H
#define PARLEY_TESTS_ESCAPE_RULES_H

#include "base/text.h"
#include "core/subject.h"

static const struct pl_escape_rules nats = {
    .bytes = {[0] = 0x01, [1] = 0x26, [4] = 0x01}, /* 00 09 0A 0D 20 */
    .empty_token = true,
    .wildcard_tokens = true,
    .separator = '.',
};
static const struct pl_escape_rules mqtt = {
    .bytes = {0xFF, 0xFF, 0xFF, 0xFF, [4] = 0x08, [5] = 0x08, [15] = 0x80}, /* 00-1F # + 7F */
    .invalid_utf8 = true,
    .c1_and_nonchars = true,
    .empty_name = true,
    .separator = '/',
};
static const struct pl_escape_rules wamp = {
    .bytes = {0xFF, 0xFF, 0xFF, 0xFF, [4] = 0x09}, /* 00-20 # */
    .invalid_utf8 = true,
    .empty_token = true,
    .separator = '.',
};
static const struct pl_escape_rules redis = {.separator = '.'};

static const struct pl_escape_rules *const all[] = {&nats, &mqtt, &wamp, &redis};
enum { ALL = 4 };

static inline bool can_carry(const struct pl_escape_rules *r, struct pl_bytes text)
{
    if ((r == &nats || r == &wamp || r == &mqtt) && !text.len)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (r == &nats && (c == 0 || c == 9 || c == 10 || c == 13 || c == 32))
            return false;
        if (r == &mqtt && (c < 0x20 || c == 0x7F || c == '+' || c == '#'))
            return false;
        if (r == &wamp && (c <= 0x20 || c == '#'))
            return false;
        if (c >= 0x80 && (r == &mqtt || r == &wamp)) {
            uint32_t code = 0;
            size_t len = pl_utf8_next(pl_bytes_from(text, i), &code);
            if (!len)
                return false;
            if (r == &mqtt &&
                (code < 0xA0 || (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF)))
                return false;
            i += len - 1;
        }
    }
    for (size_t from = 0, i = 0; i <= text.len && (r == &nats || r == &wamp); i++) {
        if (i < text.len && text.data[i] != '.')
            continue;
        if (i == from)
            return false;
        uint8_t c = text.data[from];
        if (r == &nats && i - from == 1 && (c == '*' || c == '>'))
            return false;
        from = i + 1;
    }
    return true;
}

#endif
