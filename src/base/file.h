/*
 * Small files with secrets in them: read whole, replaced whole.
 */
#ifndef PL_BASE_FILE_H
#define PL_BASE_FILE_H

#include <sys/types.h>

#include "base/bytes.h"

struct pl_file_facts {
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

/*
 * Reads a regular file of at most size_max bytes. out_text has a terminating zero that is not
 * counted; pl_free it. out_facts may be NULL.
 *
 * PL_NOT_FOUND: there is none. PL_IO: anything else that the system says. PL_CONFIG: too large, or
 * no regular file. diag tells the path and why.
 */
PL_MUST_USE enum pl_err pl_file_read(const char *path, size_t size_max, struct pl_diag *diag,
    char **out_text, size_t *out_len, struct pl_file_facts *out_facts);

/*
 * Puts a file with mode 0600 in the place of path, in one step: after a crash there is the old one
 * or the new one. owner: NULL, or whose the new one shall be, as the old one was.
 */
PL_MUST_USE enum pl_err pl_file_replace(const char *path, struct pl_bytes text,
    const struct pl_file_facts *owner, struct pl_diag *diag);

/* Makes the folders above path that are missing, with mode 0700. */
PL_MUST_USE enum pl_err pl_file_make_folders(const char *path, struct pl_diag *diag);

#endif
