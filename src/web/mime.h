/*
 * What is in a file, by its name.
 */
#ifndef PL_WEB_MIME_H
#define PL_WEB_MIME_H

#include "base/bytes.h"

enum pl_web_trait {
    PL_WEB_TEXT = 1,    /* compressing it helps */
    PL_WEB_GZIPPED = 2, /* the file itself is gzip, and its type that of what is in there */
    PL_WEB_FOR_ALL = 4, /* pages of other sites may read it, as from Mles */
};

struct pl_web_mime {
    const char *extension; /* in lower case */
    const char *type;      /* as in Content-Type */
    unsigned traits;       /* of enum pl_web_trait */
};

/* path: of the file. Never NULL: what is not known is application/octet-stream. */
const struct pl_web_mime *pl_web_mime_find(struct pl_bytes path);

#endif
