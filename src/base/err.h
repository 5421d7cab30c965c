/*
 * What can go wrong, in one list (err.def).
 *
 * A function that can fail returns enum pl_err and is marked PL_MUST_USE; results go to out_
 * parameters, which are written only on success. A decoder answers PL_OK, PL_NEED_MORE or
 * PL_MALFORMED.
 */
#ifndef PL_BASE_ERR_H
#define PL_BASE_ERR_H

#include <stddef.h>
#include <stdint.h>

enum pl_err {
#define PL_ERR(name, text) PL_##name,
#include "base/err.def"
#undef PL_ERR
};

#define PL_MUST_USE                   __attribute__((warn_unused_result))
#define PL_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

/* The text of a code, for people. Static. */
const char *pl_err_text(enum pl_err err);

/* Detail for people beside a code: filled where a problem is seen, printed where it is handled. */
struct pl_diag {
    char text[240]; /* always terminated */
    int code;       /* the protocol's or the library's own number, 0 if none */
};

void pl_diag_set(struct pl_diag *diag, int code, const char *format, ...) PL_PRINTF(3, 4);

/* States what only our own bug could break. Stays on in release. */
#define PL_ASSERT(claim) ((claim) ? (void)0 : pl_assert_failed(#claim, __FILE__, __LINE__))
_Noreturn void pl_assert_failed(const char *claim, const char *file, int line);

#endif
