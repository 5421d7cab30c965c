/*
 * Packets as a test writes them: hex digits, 'text' in quotes, spaces between; ( ) is what stands
 * in it with its length in one byte before, < > the same with two.
 *
 *     30 (<'a'> 'hi')    is    30 05 00 01 61 68 69
 */
#ifndef PARLEY_TESTS_MQTT_HEX_H
#define PARLEY_TESTS_MQTT_HEX_H

#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

struct hex {
    uint8_t data[4096];
    size_t len;
};

static inline struct pl_bytes hex_read(struct hex *h, const char *text)
{
    size_t open[8], depth = 0;
    h->len = 0;
    for (const char *c = text; *c;) {
        int high = pl_hex_value((uint8_t)c[0]), low = high < 0 ? -1 : pl_hex_value((uint8_t)c[1]);
        if (low >= 0) {
            h->data[h->len++] = (uint8_t)(high << 4 | low);
            c += 2;
            continue;
        }
        if (*c == '\'') {
            for (c++; *c && *c != '\''; c++)
                h->data[h->len++] = (uint8_t)*c;
        } else if (*c == '(' || *c == '<') {
            open[depth++] = h->len;
            h->len += *c == '(' ? 1 : 2;
        } else if (*c == ')') {
            size_t at = open[--depth];
            h->data[at] = (uint8_t)(h->len - at - 1);
        } else if (*c == '>') {
            size_t at = open[--depth], len = h->len - at - 2;
            h->data[at] = (uint8_t)(len >> 8);
            h->data[at + 1] = (uint8_t)len;
        }
        c += *c != 0;
    }
    return pl_bytes_of(h->data, h->len);
}

#endif
