/*
 * The first frame of an Mles session (version 2): who comes to which channel.
 *
 *     {"uid":"alice","channel":"example","auth":"b4a9a15cdd7c8094"}
 *
 * And `auth`: SipHash-2-4, with a key of zeros, over uid, channel and the shared key, one behind
 * the other. Everything behind the first frame is opaque.
 */
#ifndef PL_CODEC_MLES_H
#define PL_CODEC_MLES_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/output.h"

#define PL_MLES_SUBPROTOCOL "mles-websocket"

enum {
    PL_MLES_HEADER_MAX = 8192, /* bytes of the frame */
    PL_MLES_NAME_MAX = 1024,   /* of uid and channel, each */
    PL_MLES_AUTH_LEN = 16,     /* as we write it */
    PL_MLES_KEY_MAX = 1024,    /* of the shared key; the configuration allows no more */
};

struct pl_mles_header {
    struct pl_bytes uid, channel; /* ASCII, not empty */
    struct pl_bytes auth;
    bool has_auth; /* it is there and not null */
};

/*
 * A JSON object with the strings uid and channel, maybe a string or null as auth, and anything
 * else; each of these once, nothing but white space behind it. What it gives lies in the frame or
 * in the arena.
 *
 * PL_MALFORMED: it is no such object. PL_BAD_NAME: a name is empty or not ASCII. PL_TOO_LARGE: the
 * frame, or a name. PL_NO_MEMORY.
 */
PL_MUST_USE enum pl_err pl_mles_header_decode(
    struct pl_bytes frame, struct pl_arena *arena, struct pl_mles_header *out);
/* The same object with these members alone. */
void pl_mles_header_encode(struct pl_writer *w, const struct pl_mles_header *header);

/* A frame that was decoded, without its member auth if that is a string, else as it is. out has
 * room for frame.len bytes; returns the length. */
size_t pl_mles_header_strip(struct pl_bytes frame, uint8_t *out);

/* Lower-case hex of 16 digits, no zero at its end. key: no bytes if there is none. */
void pl_mles_auth(
    struct pl_bytes uid, struct pl_bytes channel, struct pl_bytes key, char out[PL_MLES_AUTH_LEN]);
/* Is the header's auth that number, in hex of any case, with or without zeros or a `+` in front?
 * The time it takes tells nothing about the number. */
bool pl_mles_auth_matches(const struct pl_mles_header *header, struct pl_bytes key);

#endif
