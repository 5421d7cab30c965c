/*
 * Who may receive a publication, beside those who may not subscribe at all: black and white lists
 * that the publisher gives.
 *
 * A session gets the message if it stands in no exclude list, and in every eligible list. An empty
 * eligible list means nobody.
 *
 * An audience lies in the memory of its message and is copied with it.
 */
#ifndef PL_CORE_AUDIENCE_H
#define PL_CORE_AUDIENCE_H

#include "base/bytes.h"

struct pl_session;

enum pl_audience_kind {
    PL_AUDIENCE_ID,       /* pl_session_public_id is one of ids */
    PL_AUDIENCE_USER,     /* identity->user is one of texts */
    PL_AUDIENCE_ROLE,     /* identity->role is one of texts */
    PL_AUDIENCE_ATTRIBUTE /* the session's attribute `name` is one of texts */
};

struct pl_audience_list {
    uint8_t kind;     /* enum pl_audience_kind */
    bool is_excluded; /* these must not get it; else only these */
    uint32_t count;
    struct pl_bytes name; /* ATTRIBUTE */
    const uint64_t *ids;
    const struct pl_bytes *texts;
};

struct pl_audience {
    const struct pl_audience_list *lists;
    uint32_t count;
    bool names_sessions; /* there is an ID list: it means sessions of now, so the message is neither
                            retained nor kept in the history */
};

/* On the session's reactor, which owns the attributes. */
bool pl_audience_admits(const struct pl_audience *audience, const struct pl_session *session);
/* Under the realm's lock, from any reactor: the same without its attributes, which then do not
 * count. */
bool pl_audience_may_admit(const struct pl_audience *audience, const struct pl_session *session);

#endif
