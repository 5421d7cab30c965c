/*
 * A NATS client, as the files of this folder share it.
 *
 *     nats.c            the protocol: open, receive, keep-alive, drain
 *     nats_session.c    login, answers in order, deliveries, the end
 *     nats_publish.c    PUB and HPUB
 *     nats_subscribe.c  SUB and UNSUB
 *     nats_encode.c     MSG and HMSG
 *     nats_headers.c    header block ↔ properties
 *     nats_names.c      text ↔ names and patterns
 *
 * The link is the connection's and goes with it. The session is on the heap: it is made at the
 * login and frees itself when the core lets go of it.
 *
 * Answers come in the order of the requests. What can be answered at once is, if nothing asked
 * before it is still open in the core; else it waits behind a fence (pl_session_fence), so `+OK`,
 * `-ERR`, `PONG` and deliveries stand as nats-server would send them.
 */
#ifndef PL_PROTOCOLS_NATS_NATS_SESSION_H
#define PL_PROTOCOLS_NATS_NATS_SESSION_H

#include "base/map.h"
#include "codec/nats.h"
#include "protocols/nats/nats.h"

enum {
    NATS_HEADERS_MAX = 1024,       /* headers of one message */
    NATS_CONNECT_MAX = 16 * 1024,  /* bytes of CONNECT's line: a token may be longer than a line */
    NATS_REPLY_STEPS_MAX = 100000, /* subscriptions that a turn looks at to find a reply's */
};

struct nats_session;

struct nats_link {
    struct pl_link link;          /* first */
    struct nats_session *session; /* NULL: no login yet */
    uint64_t quiet_since_ms;      /* last input, or our last PING */
    uint32_t pings_out;           /* unanswered */
    uint32_t payload_max;         /* as last announced */
    bool has_input;               /* something was read, so it is not TLS */
    bool is_connected;            /* CONNECT was seen */
    bool takes_info;              /* CONNECT said protocol 1 */
};

struct nats_session {
    struct pl_session core;                  /* first */
    struct nats_link *nl;                    /* NULL: the connection is gone */
    struct pl_map subs;                      /* by sid: struct nats_sub.entry */
    struct nats_sub *closing, *closing_last; /* UNSUB is open, in its order */
    struct nats_sub *reply_sub;              /* the last one that a 503 went to; borrowed */
    uint64_t publish_turn;                   /* the worker's turn of the last PUB */
    uint64_t steps_turn;                     /* the turn that reply_steps counts for */
    uint32_t reply_steps;
    uint32_t open_count; /* completions that are due */
    uint32_t payload_max;
    bool is_joined;
    bool verbose, pedantic, echo, headers, no_responders;
    int8_t protocol; /* as CONNECT said, 2 for whatever is not known */
};

struct nats_sub {
    struct pl_subscription core; /* first */
    struct pl_map_entry entry;
    struct nats_sub *closing_next;
    uint64_t delivered;
    uint32_t max;     /* UNSUB with a number; 0: none */
    bool is_listed;   /* stands in the session's map */
    bool is_live;     /* the core has said that it is; a refused one never is */
    bool is_spent;    /* max is reached: nothing is delivered any more */
    bool is_closing;  /* PL_DONE_UNSUBSCRIBE is due */
    bool has_headers; /* its client takes HMSG */
    uint16_t sid_len;
    char text[]; /* sid, then queue */
};

static inline struct pl_bytes nats_sub_sid(const struct nats_sub *sub)
{
    return pl_bytes_of(sub->text, sub->sid_len);
}

/* What the session does when all before it has been answered. In the arena of the batch or static.
 */
struct nats_note {
    struct pl_bytes text; /* sent as it stands */
    enum pl_err fatal;    /* then the connection is closed for this, if it is not PL_OK */
    struct nats_sub *sub; /* UNSUB with a number: its subscription … */
    uint32_t max;         /* … and the number */
};

/* nats_session.c */

extern const struct pl_session_ops nats_session_ops;

/* Begins the login; the link waits. connect: NULL without a CONNECT. PL_NO_MEMORY. */
PL_MUST_USE enum pl_err nats_session_begin(
    struct nats_link *nl, const struct pl_nats_connect *connect);
/* CONNECT once more: its options count from now on. */
void nats_session_set_options(struct nats_session *s, const struct pl_nats_connect *connect);
/* The connection is gone. */
void nats_session_close(struct nats_session *s);
/* At once, whatever is open: for completions, which come in order by themselves. */
void nats_send(struct nats_link *nl, struct pl_bytes text);
void nats_send_err(struct nats_link *nl, struct pl_bytes words);
/* Sends text after the answers to all that came before. Static text. */
void nats_answer(struct nats_link *nl, struct pl_bytes text);
/* The same for -ERR '…'; text is copied where it has to wait. */
void nats_answer_err(struct nats_link *nl, struct pl_bytes text);
/* words "subject"[ using queue "queue"], as -ERR quotes it. In the arena; no memory: the words. */
struct pl_bytes nats_quote(
    struct pl_arena *arena, const char *words, struct pl_bytes subject, struct pl_bytes queue);
/* A place among the answers, to be filled before the turn ends; what stays empty sends nothing.
 * NULL: no memory. */
struct nats_note *nats_answer_begin(struct nats_session *s);
/*
 * The end of the connection, after the answers to all that came before: words (of -ERR, static;
 * NULL: none), then it is closed. Returns what `receive` returns.
 */
PL_MUST_USE enum pl_err nats_fail(struct nats_link *nl, enum pl_err why, const char *words);
void nats_send_info(struct nats_link *nl);

/* nats_publish.c. buffer: what `line` and `payload` lie in. last: the last plain name of this
 * buffer, which is most often the next one, too; see there. */
PL_MUST_USE enum pl_err nats_on_publish(struct nats_session *s, const struct pl_nats_line *line,
    struct pl_bytes payload, struct pl_shared *buffer, struct pl_bytes *last);
/* A plain PUB to a plain name for a client that is not verbose; payload is within the limit. */
void nats_publish_again(struct nats_session *s, struct pl_bytes subject, struct pl_bytes payload,
    struct pl_shared *buffer);
void nats_on_no_responders(struct nats_session *s, struct pl_bytes reply);

/* nats_subscribe.c */
void nats_on_subscribe(struct nats_session *s, const struct pl_nats_line *line);
void nats_on_unsubscribe(struct nats_session *s, const struct pl_nats_line *line);
void nats_on_subscribed(struct nats_session *s, const struct pl_completion *done);
void nats_on_unsubscribed(struct nats_session *s, const struct pl_completion *done);
void nats_sub_set_max(struct nats_session *s, struct nats_sub *sub, uint32_t max);
/* It has had its last message. */
void nats_sub_spend(struct nats_session *s, struct nats_sub *sub);
void nats_subs_free(struct nats_session *s);

/* nats_encode.c */
enum pl_err nats_encode(const struct pl_subscription *base, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w);
/* Equal for subscriptions whose frames are equal; 0: sid is too long to tell. */
uint64_t nats_form(struct pl_bytes sid, bool has_headers);

/* nats_headers.c */

/*
 * PL_OK: *out lies in the arena and in the block. PL_MALFORMED: no header block, or too many
 * headers. PL_NO_MEMORY.
 */
PL_MUST_USE enum pl_err nats_headers_decode(struct pl_bytes block, uint64_t now_ms,
    struct pl_arena *arena, const struct pl_properties **out);
/* Is a block written? Not for what NATS cannot tell, such as an audience. */
bool nats_headers_has(const struct pl_properties *p);
/* Bytes of the block that nats_headers_write would write; 0: no memory. */
size_t nats_headers_size(const struct pl_properties *p, uint64_t now_ms);
PL_MUST_USE enum pl_err nats_headers_write(
    struct pl_writer *w, const struct pl_properties *p, uint64_t now_ms);

/* nats_names.c */

extern const struct pl_escape_rules nats_rules;

/* A name that decodes to itself and that NATS can publish to. */
bool nats_name_is_plain(struct pl_bytes text);
/* PL_BAD_NAME: a wildcard, an empty token, or a byte that NATS cannot carry. */
PL_MUST_USE enum pl_err nats_name_decode(
    struct pl_arena *arena, struct pl_bytes text, struct pl_bytes *out);
PL_MUST_USE enum pl_err nats_pattern_decode(
    struct pl_arena *arena, struct pl_bytes text, struct pl_pattern **out);

#endif
