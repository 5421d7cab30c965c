#include "base/bytes.h"

#include "base/alloc.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool pl_bytes_equal_nocase(struct pl_bytes a, struct pl_bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

struct pl_shared *pl_shared_new(size_t cap)
{
    if (cap > UINT32_MAX - sizeof(struct pl_shared))
        return NULL;
    struct pl_shared *s = pl_alloc(sizeof *s + cap);
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->len = 0;
    s->cap = (uint32_t)cap;
    return s;
}

struct pl_shared *pl_shared_unref(struct pl_shared *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        pl_free(s);
    return NULL;
}
