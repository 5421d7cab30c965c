#include "web/condition.h"

#include <stdio.h>
#include <time.h>

#include "base/text.h"
#include "codec/http.h"

static const char month_names[12][4] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

void pl_web_date_format(int64_t unix_s, char out[PL_WEB_DATE_LEN + 1])
{
    time_t time = unix_s < 0 ? 0 : unix_s > 253402300799 ? 253402300799 : (time_t)unix_s;
    struct tm tm;
    gmtime_r(&time, &tm);
    snprintf(out, PL_WEB_DATE_LEN + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT",
        day_names[(unsigned)tm.tm_wday % 7], (unsigned)tm.tm_mday % 100,
        month_names[(unsigned)tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000,
        (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

/* ---- Dates, read field by field ---- */

struct cursor {
    struct pl_bytes rest;
    bool has_failed;
};

static void skip(struct cursor *c, const char *text)
{
    struct pl_bytes wanted = pl_bytes_text(text);
    if (!pl_bytes_starts(c->rest, wanted))
        c->has_failed = true;
    else
        c->rest = pl_bytes_from(c->rest, wanted.len);
}

static int number(struct cursor *c, size_t digits)
{
    uint64_t value = 0;
    if (c->rest.len < digits ||
        pl_parse_decimal(pl_bytes_of(c->rest.data, digits), 9999, &value) != PL_OK)
        c->has_failed = true;
    else
        c->rest = pl_bytes_from(c->rest, digits);
    return (int)value;
}

static int month(struct cursor *c)
{
    for (int i = 0; i < 12; i++) {
        if (pl_bytes_starts(c->rest, pl_bytes_of(month_names[i], 3))) {
            c->rest = pl_bytes_from(c->rest, 3);
            return i;
        }
    }
    c->has_failed = true;
    return 0;
}

static void clock_time(struct cursor *c, struct tm *tm)
{
    tm->tm_hour = number(c, 2);
    skip(c, ":");
    tm->tm_min = number(c, 2);
    skip(c, ":");
    tm->tm_sec = number(c, 2);
}

/* "06 Nov 1994 08:49:37 GMT", behind the comma and its space. */
static void fixed_date(struct cursor *c, struct tm *tm)
{
    tm->tm_mday = number(c, 2);
    skip(c, " ");
    tm->tm_mon = month(c);
    skip(c, " ");
    tm->tm_year = number(c, 4) - 1900;
    skip(c, " ");
    clock_time(c, tm);
    skip(c, " GMT");
}

/* "06-Nov-94 08:49:37 GMT" */
static void rfc850_date(struct cursor *c, struct tm *tm)
{
    tm->tm_mday = number(c, 2);
    skip(c, "-");
    tm->tm_mon = month(c);
    skip(c, "-");
    int year = number(c, 2);
    tm->tm_year = year < 70 ? year + 100 : year;
    skip(c, " ");
    clock_time(c, tm);
    skip(c, " GMT");
}

/* "Nov  6 08:49:37 1994" */
static void asctime_date(struct cursor *c, struct tm *tm)
{
    tm->tm_mon = month(c);
    skip(c, " ");
    if (c->rest.len && c->rest.data[0] == ' ') {
        skip(c, " ");
        tm->tm_mday = number(c, 1);
    } else {
        tm->tm_mday = number(c, 2);
    }
    skip(c, " ");
    clock_time(c, tm);
    skip(c, " ");
    tm->tm_year = number(c, 4) - 1900;
}

enum pl_err pl_web_date_parse(struct pl_bytes text, int64_t *out_unix_s)
{
    struct cursor c = {.rest = text};
    struct tm tm = {0};
    const uint8_t *comma = text.len ? memchr(text.data, ',', text.len) : NULL;
    if (comma) {
        c.rest = pl_bytes_from(text, (size_t)(comma - text.data) + 1);
        skip(&c, " ");
        if (c.rest.len > 2 && c.rest.data[2] == '-')
            rfc850_date(&c, &tm);
        else
            fixed_date(&c, &tm);
    } else if (text.len > 4) {
        c.rest = pl_bytes_from(text, 4);
        asctime_date(&c, &tm);
    } else {
        return PL_MALFORMED;
    }
    if (c.has_failed || c.rest.len || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return PL_MALFORMED;
    *out_unix_s = timegm(&tm);
    return PL_OK;
}

/* ---- Conditions ---- */

bool pl_web_etag_is_in(struct pl_bytes list, struct pl_bytes etag, bool is_weak)
{
    struct pl_bytes element;
    while (pl_http_next_element(&list, &element)) {
        if (pl_bytes_equal(element, PL_BYTES("*")))
            return true;
        if (pl_bytes_starts(element, PL_BYTES("W/"))) {
            if (!is_weak)
                continue;
            element = pl_bytes_from(element, 2);
        }
        if (pl_bytes_equal(element, etag))
            return true;
    }
    return false;
}

/* Was it changed after the date? One that is not understood says nothing: `otherwise`. */
static bool is_after(int64_t modified_unix_s, struct pl_bytes date, bool otherwise)
{
    int64_t unix_s;
    return pl_web_date_parse(date, &unix_s) == PL_OK ? modified_unix_s > unix_s : otherwise;
}

enum pl_err pl_web_condition_check(
    const struct pl_web_conditions *c, struct pl_bytes etag, int64_t modified_unix_s)
{
    /* In the order of RFC 9110, section 13.2.2. */
    if (c->if_match.data) {
        if (!pl_web_etag_is_in(c->if_match, etag, false))
            return PL_DENIED;
    } else if (c->if_unmodified_since.data &&
               is_after(modified_unix_s, c->if_unmodified_since, false)) {
        return PL_DENIED;
    }
    if (c->if_none_match.data)
        return pl_web_etag_is_in(c->if_none_match, etag, true) ? PL_EXISTS : PL_OK;
    if (c->if_modified_since.data && !is_after(modified_unix_s, c->if_modified_since, true))
        return PL_EXISTS;
    return PL_OK;
}

/* ---- Ranges ---- */

/* If-Range: is the client's part of this file? A date must be the very same. */
static bool is_same_file(
    const struct pl_web_conditions *c, struct pl_bytes etag, int64_t modified_unix_s)
{
    int64_t unix_s;
    if (!c->if_range.data)
        return true;
    if (c->if_range.len && c->if_range.data[0] == '"')
        return pl_bytes_equal(c->if_range, etag);
    return pl_web_date_parse(c->if_range, &unix_s) == PL_OK && unix_s == modified_unix_s;
}

/* "first-last", "first-", "-length". PL_NOT_FOUND: it is none. */
static enum pl_err parse_range(
    struct pl_bytes text, uint64_t size, uint64_t *out_from, uint64_t *out_len)
{
    const uint8_t *dash = text.len ? memchr(text.data, '-', text.len) : NULL;
    if (!dash)
        return PL_NOT_FOUND;
    struct pl_bytes first = pl_bytes_of(text.data, (size_t)(dash - text.data));
    struct pl_bytes last = pl_bytes_from(text, first.len + 1);
    uint64_t from = 0, to = size;
    if ((first.len && pl_parse_decimal(first, UINT64_MAX, &from) != PL_OK) ||
        (last.len && pl_parse_decimal(last, UINT64_MAX, &to) != PL_OK) ||
        (!first.len && !last.len) || (first.len && last.len && to < from))
        return PL_NOT_FOUND;
    if (!first.len) {
        uint64_t length = to < size ? to : size;
        *out_from = size - length;
        *out_len = length;
        return length ? PL_OK : PL_LIMIT;
    }
    if (from >= size)
        return PL_LIMIT;
    *out_from = from;
    *out_len = (last.len && to < size ? to + 1 : size) - from;
    return PL_OK;
}

enum pl_err pl_web_range_choose(const struct pl_web_conditions *c, struct pl_bytes etag,
    int64_t modified_unix_s, uint64_t size, uint64_t *out_from, uint64_t *out_len)
{
    static const struct pl_bytes unit = {(const uint8_t *)"bytes=", 6};
    if (!c->range.data || c->range.len < unit.len || !is_same_file(c, etag, modified_unix_s) ||
        !pl_bytes_equal_nocase(pl_bytes_of(c->range.data, unit.len), unit))
        return PL_NOT_FOUND;
    struct pl_bytes set = pl_bytes_from(c->range, unit.len), only, more;
    if (!pl_http_next_element(&set, &only) || pl_http_next_element(&set, &more))
        return PL_NOT_FOUND;
    return parse_range(only, size, out_from, out_len);
}
