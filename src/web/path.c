#include "web/path.h"

#include "base/text.h"

/* The next byte of the path, decoded; -1: a bad escape. */
static int next_byte(struct pl_bytes path, size_t *at)
{
    uint8_t c = path.data[(*at)++];
    if (c != '%')
        return c;
    if (path.len - *at < 2)
        return -1;
    int high = pl_hex_value(path.data[*at]), low = pl_hex_value(path.data[*at + 1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* The segment from `from` to the end is whole: drops it if it is empty or a dot. False: it may not
 * be there. */
static bool end_segment(struct pl_web_path *out, size_t from, bool shows_hidden)
{
    struct pl_bytes segment = pl_bytes_of(out->text + from, out->len - from);
    if (!segment.len || pl_bytes_equal(segment, PL_BYTES("."))) {
        out->len = from;
        return true;
    }
    if (pl_bytes_equal(segment, PL_BYTES("..")))
        return false;
    return segment.data[0] != '.' || shows_hidden ||
           pl_bytes_equal(segment, PL_BYTES(".well-known"));
}

enum pl_err pl_web_path_parse(struct pl_bytes path, bool shows_hidden, struct pl_web_path *out)
{
    out->len = 0;
    out->is_folder = true;
    size_t from = 0; /* where the segment begins in out */
    if (!path.len || path.data[0] != '/')
        return PL_NOT_FOUND;
    for (size_t at = 0; at < path.len;) {
        int c = next_byte(path, &at);
        if (c < ' ' || c == 0x7f)
            return PL_NOT_FOUND;
        if (c == '/') {
            if (!end_segment(out, from, shows_hidden))
                return PL_NOT_FOUND;
            if (out->len && out->text[out->len - 1] != '/')
                out->text[out->len++] = '/';
            from = out->len;
        } else {
            out->text[out->len++] = (char)c;
        }
        if (out->len >= PL_WEB_PATH_MAX - 1)
            return PL_NOT_FOUND;
    }
    if (!end_segment(out, from, shows_hidden))
        return PL_NOT_FOUND;
    out->is_folder = out->len == from;
    if (out->is_folder && out->len)
        out->len--; /* the slash */
    out->text[out->len] = '\0';
    return pl_utf8_is_valid(pl_bytes_of(out->text, out->len)) ? PL_OK : PL_NOT_FOUND;
}

enum pl_err pl_web_path_escape(struct pl_bytes path, char *out, size_t cap)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~/!$&'()*+,;=:@";
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i];
        if (cap - len < 4)
            return PL_TOO_LARGE;
        if (c && strchr(plain, c)) {
            out[len++] = (char)c;
        } else {
            out[len++] = '%';
            out[len++] = digits[c >> 4];
            out[len++] = digits[c & 15];
        }
    }
    if (len >= cap)
        return PL_TOO_LARGE;
    out[len] = '\0';
    return PL_OK;
}
