/*
 * From the path of a request to the name of a file.
 *
 *     /a%20b//c/./d.html   →  a b/c/d.html
 *     /docs/               →  docs, a folder
 *     /                    →  (empty), a folder
 *
 * Escapes are decoded once, and what they decode to means what it would mean in the clear: %2F
 * separates, %2E%2E goes up and is refused. Pure.
 */
#ifndef PL_WEB_PATH_H
#define PL_WEB_PATH_H

#include "base/bytes.h"

enum { PL_WEB_PATH_MAX = 4096 }; /* with the zero at its end */

struct pl_web_path {
    size_t len;
    bool is_folder; /* it ended in a slash */
    char text[PL_WEB_PATH_MAX];
};

/*
 * path: as it was sent, without the query. shows_hidden: names that begin with a dot are names;
 * else of these only .well-known is.
 *
 * PL_NOT_FOUND: there can be no such file: a segment .., a bad escape, a control character, text
 * that is not UTF-8, a hidden name, too long.
 */
PL_MUST_USE enum pl_err pl_web_path_parse(
    struct pl_bytes path, bool shows_hidden, struct pl_web_path *out);

/* Escapes what may not stand in the path of a URL; slashes stay. At most cap bytes with the zero at
 * its end: PL_TOO_LARGE. */
PL_MUST_USE enum pl_err pl_web_path_escape(struct pl_bytes path, char *out, size_t cap);

#endif
