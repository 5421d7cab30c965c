#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const texts[] = {
#define PL_ERR(name, text) text,
#include "base/err.def"
#undef PL_ERR
};

const char *pl_err_text(enum pl_err err)
{
    size_t i = (size_t)err;
    return i < sizeof texts / sizeof *texts ? texts[i] : "unknown error";
}

void pl_diag_set(struct pl_diag *diag, int code, const char *format, ...)
{
    if (!diag)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(diag->text, sizeof diag->text, format, args);
    va_end(args);
    diag->code = code;
}

_Noreturn void pl_assert_failed(const char *claim, const char *file, int line)
{
    (void)fprintf(stderr, "parley: bug: %s does not hold at %s:%d\n", claim, file, line);
    abort();
}
