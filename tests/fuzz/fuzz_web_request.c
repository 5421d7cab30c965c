/* What a request says of encodings, conditions and ranges: parts lie within the file, dates that
 * were read are written the same. The first byte is the size of the file, lines are the headers. */
#include <stddef.h>
#include <stdint.h>

#include "web/accept.h"
#include "web/condition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pl_bytes next_line(struct pl_bytes *rest)
{
    const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    struct pl_bytes line = {rest->data, end ? (size_t)(end - rest->data) : rest->len};
    *rest = pl_bytes_from(*rest, end ? line.len + 1 : line.len);
    return line;
}

static void check_date(struct pl_bytes text)
{
    char written[PL_WEB_DATE_LEN + 1];
    int64_t unix_s, again;
    if (pl_web_date_parse(text, &unix_s) != PL_OK || unix_s < 0)
        return;
    pl_web_date_format(unix_s, written);
    PL_ASSERT(pl_web_date_parse(pl_bytes_text(written), &again) == PL_OK);
    PL_ASSERT(again == unix_s || unix_s > 253402300799);
}

static void check_accept(struct pl_bytes text)
{
    struct pl_web_accept accept;
    bool was[PL_WEB_ENCODINGS] = {false};
    unsigned count = 0;
    pl_web_accept_begin(&accept);
    pl_web_accept_add(&accept, text);
    for (enum pl_web_encoding e; (e = pl_web_accept_choice(&accept, count)) != PL_WEB_IDENTITY;) {
        PL_ASSERT(e < PL_WEB_ENCODINGS && !was[e]);
        was[e] = true;
        PL_ASSERT(++count < PL_WEB_ENCODINGS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char etag[] = "\"1-2\"";
    struct pl_bytes rest = {data, size};
    uint64_t of = size ? data[0] : 0, from = 0, len = 0;
    rest = pl_bytes_from(rest, size ? 1 : 0);
    struct pl_web_conditions conditions;
    check_accept(next_line(&rest));
    conditions.range = next_line(&rest);
    conditions.if_range = next_line(&rest);
    conditions.if_match = next_line(&rest);
    conditions.if_none_match = next_line(&rest);
    conditions.if_modified_since = next_line(&rest);
    conditions.if_unmodified_since = next_line(&rest);
    check_date(conditions.if_range);
    check_date(conditions.if_modified_since);
    enum pl_err err = pl_web_condition_check(&conditions, pl_bytes_text(etag), 784111777);
    PL_ASSERT(err == PL_OK || err == PL_EXISTS || err == PL_DENIED);
    err = pl_web_range_choose(&conditions, pl_bytes_text(etag), 784111777, of, &from, &len);
    PL_ASSERT(err == PL_OK || err == PL_NOT_FOUND || err == PL_LIMIT);
    PL_ASSERT(err != PL_OK || (len > 0 && from < of && len <= of - from));
    return 0;
}
