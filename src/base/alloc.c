#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local long fail_after = -1;
static _Thread_local int fail_rest;

static int must_fail(void)
{
    if (__builtin_expect(fail_after < 0, 1))
        return 0;
    if (fail_after > 0) {
        fail_after--;
        return 0;
    }
    if (!fail_rest)
        fail_after = -1;
    return 1;
}

void *pl_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *pl_zalloc(size_t size)
{
    return must_fail() ? NULL : calloc(1, size ? size : 1);
}

void *pl_realloc(void *old, size_t size)
{
    return must_fail() ? NULL : realloc(old, size ? size : 1);
}

void pl_free(void *memory)
{
    free(memory);
}

char *pl_alloc_copy(const void *bytes, size_t len)
{
    char *copy = pl_alloc(len + 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

void pl_alloc_fail(long after, int then_all)
{
    fail_after = after;
    fail_rest = then_all;
}
