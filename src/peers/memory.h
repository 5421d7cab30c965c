/*
 * Which frames of a channel have been seen lately, and by which peers?
 *
 * The newest `cap` frames as hashes, oldest out first, each with a bit per peer that has it: sent
 * to it, or come from it. So a frame enters a server once by however many ways it comes, goes to a
 * peer once, and both histories can be replayed to each other.
 *
 *     had = pl_peer_memory_note(memory, hash, bit, &bits_before);
 *
 * Guarded by whoever owns it.
 */
#ifndef PL_PEERS_MEMORY_H
#define PL_PEERS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pl_peer_memory;

/* NULL: no memory. cap: at least 1. */
PL_MUST_USE struct pl_peer_memory *pl_peer_memory_new(uint32_t cap);
/* Returns NULL; accepts NULL. */
struct pl_peer_memory *pl_peer_memory_free(struct pl_peer_memory *m);

/*
 * True: the frame was known, *out_before are its peers so far; bits are added to them. False: it
 * is remembered from here on, with bits; *out_before is 0. Where there is no memory for more, the
 * oldest is forgotten earlier.
 */
bool pl_peer_memory_note(
    struct pl_peer_memory *m, uint64_t hash, uint64_t bits, uint64_t *out_before);
/* The peer may have lost what it had. */
void pl_peer_memory_forget_peer(struct pl_peer_memory *m, uint64_t bit);
uint32_t pl_peer_memory_count(const struct pl_peer_memory *m);

#endif
