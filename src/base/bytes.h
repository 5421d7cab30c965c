/*
 * Runs of bytes.
 *
 *     struct pl_bytes   a borrowed view: pointer and length
 *     struct pl_shared  a counted buffer: payloads, encoded frames, read buffers
 *
 * A view is valid as long as whoever lent it says; a shared buffer lives until its last reference
 * is gone. References may be taken and dropped on any thread; the content is written only while
 * there is one reference.
 */
#ifndef PL_BASE_BYTES_H
#define PL_BASE_BYTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"

struct pl_bytes {
    const uint8_t *data;
    size_t len;
};

#define PL_NO_BYTES ((struct pl_bytes){0})
/* The bytes of a string literal, without its zero. */
#define PL_BYTES(literal) ((struct pl_bytes){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct pl_bytes pl_bytes_of(const void *data, size_t len)
{
    return (struct pl_bytes){data, len};
}

static inline struct pl_bytes pl_bytes_text(const char *text)
{
    return (struct pl_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool pl_bytes_equal(struct pl_bytes a, struct pl_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* From offset to the end; offset <= len. Of no bytes (NULL), too. */
static inline struct pl_bytes pl_bytes_from(struct pl_bytes b, size_t offset)
{
    return (struct pl_bytes){offset ? b.data + offset : b.data, b.len - offset};
}

static inline bool pl_bytes_starts(struct pl_bytes b, struct pl_bytes head)
{
    return b.len >= head.len && (head.len == 0 || memcmp(b.data, head.data, head.len) == 0);
}

/* Eight bytes in network byte order. */
static inline void pl_put_u64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline uint64_t pl_get_u64(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | at[i];
    return v;
}

/* Equal, upper and lower case of ASCII letters being the same. */
bool pl_bytes_equal_nocase(struct pl_bytes a, struct pl_bytes b);

struct pl_shared {
    atomic_uint refs;
    uint32_t len; /* bytes in use */
    uint32_t cap; /* bytes of room */
    uint8_t data[];
};

/* One reference, len 0. NULL: no memory. */
PL_MUST_USE struct pl_shared *pl_shared_new(size_t cap);

static inline struct pl_shared *pl_shared_ref(struct pl_shared *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

/* True if the caller holds the only reference, so that it may write. */
static inline bool pl_shared_is_mine(struct pl_shared *s)
{
    return atomic_load_explicit(&s->refs, memory_order_acquire) == 1;
}

/* Returns NULL. NULL is accepted. */
struct pl_shared *pl_shared_unref(struct pl_shared *s);

#endif
