/*
 * Bytes on their way to one peer.
 *
 * A protocol appends; whoever owns the transport takes chunks from the head and writes them. An
 * empty output owns no memory. Small pieces are copied into pooled chunks, large ones are kept by
 * reference. An output that got something links itself into its pool's dirty list, so that a turn
 * ends with one write per peer that has something to say.
 *
 *     struct pl_writer w = pl_writer_begin(out);
 *     pl_write_u8(&w, 0x40);
 *     pl_write_u16(&w, packet_id);
 *     return pl_writer_end(&w);   // PL_OK, or the first failure; then nothing was added
 *
 * Belongs to one reactor; so does its pool.
 */
#ifndef PL_BASE_OUTPUT_H
#define PL_BASE_OUTPUT_H

#include "base/bytes.h"

enum {
    PL_CHUNK_TINY = 256 - 48,    /* bytes of room in a first chunk: an answer */
    PL_CHUNK_SMALL = 2048 - 48,  /* in the next one */
    PL_CHUNK_LARGE = 32768 - 48, /* and in those after it */
    PL_CHUNK_SIZES = 3,
    PL_BY_REFERENCE = 2048, /* runs from this length on are referenced, not copied */
};

struct pl_chunk {
    struct pl_chunk *next;
    struct pl_shared *shared; /* owned reference; NULL: the bytes stand behind the struct */
    const uint8_t *data;      /* where the unwritten bytes begin */
    uint32_t len;             /* unwritten bytes */
    uint32_t room;            /* bytes that can be appended; 0 for a shared one */
    uint32_t cap;
    uint8_t bytes[];
};

struct pl_output;

/* What the outputs of one reactor share. */
struct pl_output_pool {
    struct pl_output *dirty; /* outputs that got something since they were last taken */
    struct pl_chunk *free[PL_CHUNK_SIZES];
    uint32_t free_count[PL_CHUNK_SIZES];
    size_t bytes; /* queued in all outputs of this pool */
};

struct pl_output {
    struct pl_output_pool *pool;
    struct pl_chunk *head, *tail; /* owned; head is next to be written */
    struct pl_output *next_dirty;
    size_t bytes;     /* appended and not yet sent to the peer, wherever it waits */
    size_t bytes_max; /* a delivery that finds more than this meets the slow-consumer policy */
    bool is_dirty;    /* stands in the pool's list */
    bool closed;      /* takes nothing more; what is appended is dropped */
};

void pl_output_init(struct pl_output *out, struct pl_output_pool *pool, size_t bytes_max);
/* Frees what is queued and leaves the dirty list. */
void pl_output_done(struct pl_output *out);
void pl_output_pool_done(struct pl_output_pool *pool);

/* Copies. PL_NO_MEMORY: nothing was added. On a closed output: PL_OK, and dropped. */
PL_MUST_USE enum pl_err pl_output_append(struct pl_output *out, struct pl_bytes bytes);

/* Takes a reference of its own from PL_BY_REFERENCE bytes on, else copies. bytes lies in buffer. */
PL_MUST_USE enum pl_err pl_output_append_shared(
    struct pl_output *out, struct pl_shared *buffer, struct pl_bytes bytes);

/* For the transport: takes the whole chain out (`bytes` stays until pl_output_sent). */
struct pl_chunk *pl_output_take(struct pl_output *out);
/* For the transport: n of the bytes that were taken or stand at the head have left. */
void pl_output_sent(struct pl_output *out, size_t n);
/* Drops n bytes from the chain's head, which it moves on; frees what is spent. */
void pl_chunk_advance(struct pl_output_pool *pool, struct pl_chunk **head, size_t n);
/* Gives a chunk back. */
void pl_chunk_free(struct pl_output_pool *pool, struct pl_chunk *chunk);
/* An empty chunk with room for at least `room` bytes. NULL: no memory. */
PL_MUST_USE struct pl_chunk *pl_chunk_new(struct pl_output_pool *pool, size_t room);
/* For the transport: it has something of its own to write, so the turn is to end with a write. */
void pl_output_touch(struct pl_output *out);
/* Takes the first dirty output off the list; NULL: none. */
struct pl_output *pl_output_pool_next_dirty(struct pl_output_pool *pool);

/*
 * Puts a frame together field by field. What was written is added as a whole at the end, or not at
 * all. Writes to the output directly where the tail has room, so only one writer is open at a time.
 */
struct pl_writer {
    struct pl_output *out;
    uint8_t *data; /* where the frame begins */
    size_t len, cap;
    struct pl_shared *spill; /* owned; holds the frame when it outgrew the tail */
    enum pl_err err;
};

struct pl_writer pl_writer_begin(struct pl_output *out);
PL_MUST_USE enum pl_err pl_writer_end(struct pl_writer *w);

/* A writer into a buffer of its own, for frames that several peers share: it grows. */
struct pl_writer pl_writer_new(void);
/* The same, beginning in *buffer if the caller holds its only reference, else in a new one. Takes
 * the reference over in both cases and sets *buffer to NULL. */
struct pl_writer pl_writer_reuse(struct pl_shared **buffer);
/* Gives the buffer out (one reference, len set). A writer begun with _new or _reuse only. */
PL_MUST_USE enum pl_err pl_writer_take(struct pl_writer *w, struct pl_shared **out_buffer);

/* Makes room for n bytes and returns where they go, or NULL after a failure. Counts them. */
uint8_t *pl_writer_reserve(struct pl_writer *w, size_t n);

static inline uint8_t *pl_writer_room(struct pl_writer *w, size_t n)
{
    if (__builtin_expect(w->cap - w->len >= n, 1)) {
        uint8_t *at = w->data + w->len;
        w->len += n;
        return at;
    }
    return pl_writer_reserve(w, n);
}

static inline void pl_write_u8(struct pl_writer *w, uint8_t v)
{
    uint8_t *at = pl_writer_room(w, 1);
    if (at)
        at[0] = v;
}

/* Network byte order. */
static inline void pl_write_u16(struct pl_writer *w, uint16_t v)
{
    uint8_t *at = pl_writer_room(w, 2);
    if (at) {
        at[0] = (uint8_t)(v >> 8);
        at[1] = (uint8_t)v;
    }
}

/* Network byte order. */
static inline void pl_write_u32(struct pl_writer *w, uint32_t v)
{
    uint8_t *at = pl_writer_room(w, 4);
    if (at) {
        at[0] = (uint8_t)(v >> 24);
        at[1] = (uint8_t)(v >> 16);
        at[2] = (uint8_t)(v >> 8);
        at[3] = (uint8_t)v;
    }
}

static inline void pl_write_bytes(struct pl_writer *w, struct pl_bytes b)
{
    uint8_t *at = b.len ? pl_writer_room(w, b.len) : NULL;
    if (at)
        memcpy(at, b.data, b.len);
}

static inline void pl_write_text(struct pl_writer *w, const char *text)
{
    pl_write_bytes(w, pl_bytes_text(text));
}

/* Decimal. */
void pl_write_decimal(struct pl_writer *w, uint64_t v);

#endif
