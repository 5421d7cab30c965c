/*
 * A message: immutable once published.
 *
 * Two lives. In a turn it stands in its batch: its bytes are borrowed from the batch's arena or
 * from a read buffer that the batch holds. Whoever wants it longer (retained, history, a mailbox's
 * queue, an inflight window) keeps it: pl_message_keep makes one counted copy on the heap, once per
 * message, and everyone who keeps it shares that copy.
 *
 * Unset bytes have len 0. A message may be read on any thread while the reader holds its batch or a
 * kept reference.
 */
#ifndef PL_CORE_MESSAGE_H
#define PL_CORE_MESSAGE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/heap.h"

/*
 * The form in which the payload came (DESIGN: messages). ARGUMENTS: a list and maybe a dictionary
 * as they stand in a WAMP message of that serializer (codec/wamp.h); empty: none.
 */
enum pl_format {
    PL_FORMAT_BYTES,
    PL_FORMAT_TEXT,
    PL_FORMAT_JSON,
    PL_FORMAT_ARGUMENTS, /* plus enum pl_serializer: JSON, MessagePack, CBOR */
    PL_FORMAT_LAST = PL_FORMAT_ARGUMENTS + 2,
};

struct pl_header {
    struct pl_bytes name, value;
};

struct pl_audience;
struct pl_record;

/* Who published, or calls, as receivers may be told. */
struct pl_author {
    uint64_t id; /* pl_session_public_id; 0: not to be told */
    struct pl_bytes user, role;
    bool has_trust;
    uint32_t trust; /* the role's trust level */
};

/* What most messages have not. */
struct pl_properties {
    struct pl_bytes content_type;
    struct pl_bytes correlation;
    const struct pl_header *headers; /* in the order in which they came; crosses protocols */
    uint32_t header_count;
    uint64_t expires_ms;   /* monotonic; PL_NEVER: never. A relative rest is computed at delivery */
    struct pl_bytes error; /* an answer that is an error: its URI */
    bool is_progress;      /* an answer after which more come */
    const struct pl_audience *audience; /* NULL: everyone */
    const struct pl_author *from;       /* NULL: not to be told */
};

struct pl_message {
    struct pl_bytes subject; /* a valid name */
    struct pl_bytes payload;
    struct pl_bytes reply;                  /* subject for answers; empty: none is wanted */
    const struct pl_properties *properties; /* NULL: none of them */
    uint64_t id;                            /* publication id, unique in the realm, rising */
    uint64_t offset;                        /* in the realm's history; 0: under no rule */
    uint64_t publisher;                     /* session id; 0: the server */
    uint64_t time_unix_ms;                  /* when it was published */
    uint8_t format;                         /* enum pl_format */
    uint8_t qos;                            /* 0, 1, 2 as published */
    bool retain;                            /* the publisher asked to retain it */
    uint8_t hops;                           /* forwards between realms and engines so far */
    bool grants_reply;                      /* a receiver may publish to reply once */
    bool spares_publisher;                  /* its own session does not get it */
    bool is_note; /* for the log alone: replayed to who asks for notes, delivered to nobody live */
    bool is_kept; /* stands on the heap, counted */
    _Atomic(struct pl_message *) kept; /* the counted copy of one in a batch, once made */
    _Atomic(struct pl_shared *) plain; /* see pl_message_plain; once made */
    struct pl_record *record;          /* of a kept one in the store; dropped with it */
    atomic_uint refs;                  /* of a kept one */
};

/* A reference to the counted copy, made at the first call. Any thread. NULL: no memory. */
PL_MUST_USE struct pl_message *pl_message_keep(const struct pl_message *message);
/* Drops a reference that pl_message_keep gave. Returns NULL; accepts NULL. */
struct pl_message *pl_message_unref(struct pl_message *message);
/* For the batch that owns a message that is not kept: drops its hold on the counted copy. */
void pl_message_done(struct pl_message *message);
/*
 * The payload as protocols without arguments carry it (DESIGN section 2, "From WAMP"): the payload
 * itself, unless it is ARGUMENTS; then it is made at the first call and kept with the message.
 * Lives as long as the message. Any thread. No memory: empty.
 */
struct pl_bytes pl_message_plain(const struct pl_message *message);
/* Bytes that a kept copy holds, for limits. */
size_t pl_message_size(const struct pl_message *message);

static inline struct pl_bytes pl_message_content_type(const struct pl_message *m)
{
    return m->properties ? m->properties->content_type : PL_NO_BYTES;
}

static inline struct pl_bytes pl_message_correlation(const struct pl_message *m)
{
    return m->properties ? m->properties->correlation : PL_NO_BYTES;
}

static inline bool pl_message_is_expired(const struct pl_message *m, uint64_t now_ms)
{
    return m->properties && m->properties->expires_ms <= now_ms;
}

#endif
