/*
 * Text: numbers, UTF-8, hex, base64. Pure; nothing here allocates.
 */
#ifndef PL_BASE_TEXT_H
#define PL_BASE_TEXT_H

#include "base/bytes.h"

enum { PL_DECIMAL_MAX = 20 };

/* Writes v in decimal, no zero at the end; returns the length, at most PL_DECIMAL_MAX. */
size_t pl_format_decimal(char *out, uint64_t v);

/* All of text is one decimal number without sign; PL_MALFORMED if not, or over max. */
PL_MUST_USE enum pl_err pl_parse_decimal(struct pl_bytes text, uint64_t max, uint64_t *out);

/* Valid UTF-8 (RFC 3629): shortest forms, no surrogates, at most U+10FFFF. */
bool pl_utf8_is_valid(struct pl_bytes text);

/*
 * Length of the valid UTF-8 sequence at the start of text (1 to 4) and its code point;
 * 0 if there is none, and *out_code is left alone.
 */
size_t pl_utf8_next(struct pl_bytes text, uint32_t *out_code);

/*
 * Checks a text that comes in pieces. Start with state 0; give each piece; false: not UTF-8.
 * After the last piece the text is whole if state is 0.
 */
bool pl_utf8_feed(uint32_t *state, struct pl_bytes piece);

/* Value of a hex digit of either case, -1 if it is none. */
int pl_hex_value(uint8_t c);
/* 2 * in.len lower-case digits, no zero at the end. */
void pl_hex_encode(struct pl_bytes in, char *out);

/* What a letter of base64 stands for, 0 to 63; -1: it is none. */
int pl_base64_value(uint8_t c, bool url);
/* RFC 4648. out has room for 4 * ((len + 2) / 3); returns the length. url: - and _, no padding. */
size_t pl_base64_encode(struct pl_bytes in, bool url, char *out);
/* Accepts padding or none. out has room for 3 * (len / 4) + 3. */
PL_MUST_USE enum pl_err pl_base64_decode(
    struct pl_bytes in, bool url, uint8_t *out, size_t *out_len);

/* Compares without telling by its time where they differ. */
bool pl_bytes_equal_secret(struct pl_bytes a, struct pl_bytes b);

#endif
