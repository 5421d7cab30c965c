/* What the files of this protocol share. */
#ifndef PL_PROTOCOLS_MLES_SESSION_H
#define PL_PROTOCOLS_MLES_SESSION_H

#include "codec/websocket.h"
#include "protocols/mles/mles.h"

struct mles_session;

enum mles_phase {
    MLES_OPEN,    /* the header is waited for */
    MLES_LOGIN,   /* nothing is read … */
    MLES_JOINING, /* … until it has the name */
    MLES_JOINED,
    MLES_CLOSING,
};

struct mles_link {
    struct pl_link link;
    struct mles_session *session; /* NULL: none yet, or it has left */
    uint8_t phase;                /* enum mles_phase */
    uint32_t pings_out;           /* since the last sign of life */
    uint64_t seen_bytes;          /* of the peer, at the last look */
    uint64_t ping_due_ms;
    uint64_t contest_end_ms; /* PL_NEVER: nobody wants its name */
};

struct mles_session {
    struct pl_session core;
    struct pl_subscription sub;
    struct mles_link *ml; /* NULL: its connection has gone */
    struct pl_arena memory;
    struct pl_bytes uid, subject; /* in memory */
    struct pl_bytes note;         /* its header, as others are shown it; in memory */
    bool is_told;                 /* where other servers share the channel */
    struct pl_pattern *pattern;   /* of the subject; one reference until it subscribes */
};

/* mles.c */

const struct pl_mles_options *mles_options(const struct mles_link *ml);
/* Closes with a code and a reason. The last word: nothing is read or sent behind it. Returns why.
 */
enum pl_err mles_refuse(
    struct mles_link *ml, enum pl_err why, enum pl_websocket_code code, const char *reason);
/* The code of what the core or a limit says; its reason is the error's own text. */
enum pl_err mles_refuse_err(struct mles_link *ml, enum pl_err why);
/* Someone else wants its name: a sign of life within contest_ms, or it is closed. */
void mles_contest(struct mles_link *ml, uint64_t now_ms);

/* mles_session.c */

extern const struct pl_session_ops mles_session_ops;

/* The first frame. */
enum pl_err mles_on_header(struct mles_link *ml, struct pl_bytes frame);
enum pl_err mles_on_frame(struct mles_session *s, const struct pl_input *in);
/* Its connection has gone. */
void mles_session_close(struct mles_session *s);

/* mles_frame.c */

enum { MLES_FORM = 1 }; /* all members get equal frames, where they are framed by us */

enum pl_err mles_encode(const struct pl_subscription *sub, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w);
void mles_deliver(struct pl_session *core, struct pl_subscription *sub, const struct pl_run *run);
/* uid and kind of frame, for other protocols. NULL: no memory. */
const struct pl_properties *mles_properties(
    struct pl_arena *arena, struct pl_bytes uid, bool is_text);

#endif
