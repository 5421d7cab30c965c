/*
 * A WAMP client, as the files of this folder share it.
 *
 *     wamp.c            the protocol: open, receive, keep-alive, drain
 *     wamp_frame.c      messages ↔ bytes of RawSocket, WebSocket, batches
 *     wamp_session.c    the state machine, and what the core tells
 *     wamp_hello.c      HELLO to WELCOME: features, login, the card
 *     wamp_publish.c    PUBLISH, and who may receive it
 *     wamp_subscribe.c  SUBSCRIBE and UNSUBSCRIBE
 *     wamp_event.c      EVENT
 *     wamp_call.c       CALL, CANCEL, RESULT, ERROR
 *     wamp_callee.c     REGISTER, UNREGISTER, INVOCATION, INTERRUPT, YIELD
 *     wamp_authorize.c  roles whose rights a procedure decides
 *     wamp_told.c       words of the meta session: kill, testaments, revocation
 *     wamp_names.c      URI ↔ names and patterns
 *     wamp_card.c       what a session tells of itself
 *     wamp_meta*.c      the meta API, a session of its own
 *
 *     OPEN ─HELLO─► LOGIN ⇄ CHALLENGED ─► JOINING ─WELCOME─► JOINED ─GOODBYE, ABORT─► CLOSING
 *
 * The link is the connection's and goes with it. The session is on the heap: it is made at HELLO
 * and frees itself when the core lets go of it.
 */
#ifndef PL_PROTOCOLS_WAMP_SESSION_H
#define PL_PROTOCOLS_WAMP_SESSION_H

#include "base/hash.h"
#include "base/map.h"
#include "codec/wamp.h"
#include "core/audience.h"
#include "protocols/wamp/wamp.h"
#include "protocols/wamp/wamp_names.h"
#include "protocols/wamp/wamp_words.h"

enum {
    WAMP_RAW_HEADER = 4,
    WAMP_RAW_MAX = 1 << 24, /* bytes of a RawSocket message */
};

enum wamp_phase {
    WAMP_OPEN, /* nothing yet; RawSocket: the handshake */
    WAMP_LOGIN,
    WAMP_CHALLENGED,
    WAMP_JOINING,
    WAMP_JOINED,
    WAMP_CLOSING, /* said goodbye: nothing is read any more */
};

/* How messages leave, as encode and deliver need it. */
struct wamp_way {
    uint8_t serializer; /* enum pl_serializer */
    uint8_t framing;    /* enum pl_framing; STREAM is RawSocket */
    bool is_batched;
};

struct wamp_session;

struct wamp_link {
    struct pl_link link; /* first */
    struct wamp_session *session;
    struct wamp_way way;
    uint8_t phase;         /* enum wamp_phase */
    bool has_handshake;    /* RawSocket: done */
    uint32_t peer_max;     /* bytes of a message that the peer takes */
    uint64_t seen_bytes;   /* link's bytes_in as of the last tick */
    uint32_t pings_out;    /* unanswered */
    uint64_t last_request; /* strict_ids: the client's newest request id */
};

/* What the client said it can, as far as anyone asks. */
struct wamp_features {
    bool publisher_identification, caller_identification, call_canceling, call_timeout,
        progressive_results, progressive_results_caller, progressive_invocations, unsaid_parts,
        subscription_revocation, registration_revocation;
};

struct wamp_sub {
    struct pl_subscription core; /* first */
    struct pl_map_entry entry;   /* by id, while a client may name it */
    struct wamp_sub *next;
    uint64_t id, request;
    struct wamp_way way;
    uint8_t plain; /* enum pl_wamp_plain */
    bool wants_publisher, has_topic, is_live, is_listed, is_revoked;
};

struct wamp_callee {
    struct pl_callee core;     /* first */
    struct pl_map_entry entry; /* by id */
    struct wamp_callee *next;
    uint64_t id, request; /* request: of its UNREGISTER; 0: none */
    uint8_t match;        /* enum wamp_match */
    bool is_listed;
};

struct wamp_testament {
    struct wamp_testament *next;
    uint8_t scope;
    struct pl_shared *word; /* the dictionary that it came in; one reference */
};

struct wamp_session {
    struct pl_session core; /* first */
    struct wamp_link *wl;   /* NULL: the connection is gone */
    struct wamp_features features;
    struct pl_map subs;        /* struct wamp_sub.entry */
    struct pl_map callees;     /* struct wamp_callee.entry */
    struct wamp_sub *sub_list; /* all that the core may hold */
    struct wamp_callee *callee_list;
    struct pl_arena memory;        /* what HELLO said: details, attributes, names */
    struct pl_value details;       /* of HELLO; in memory */
    struct pl_bytes realm, authid; /* asked for; in memory */
    struct wamp_testament *testaments, **testaments_end;
    uint32_t testament_count;
    size_t testament_bytes;
    struct pl_bytes message; /* that is being worked on */
    uint64_t last_invocation;
    uint64_t last_call;             /* the newest id of a CALL */
    struct wamp_question *question; /* the authorizer is asked; the link waits */
    struct wamp_grant *grants;      /* what it answered, to be used again */
    uint32_t grant_count;
    uint64_t questions;
    bool keeps_quiet; /* its end publishes no testaments */
    bool is_goodbye_due;
};

static inline const struct pl_wamp_options *wamp_options(const struct wamp_link *wl)
{
    return wl->link.config->options ? wl->link.config->options : &pl_wamp_options_default;
}

/* An option of a word or number. Null is none, as clients write what they leave out; and so is
 * binary: JavaScript's undefined is an extension in MessagePack. */
static inline bool wamp_option(
    const struct pl_value *options, const char *key, struct pl_value *out)
{
    return pl_value_find(options, key, out) && out->kind != PL_VALUE_NULL &&
           out->kind != PL_VALUE_BINARY;
}

/* ---- wamp_frame.c ---- */

/* The bytes of one message, between the two: a writer of link->out, or of a shared frame. */
size_t wamp_frame_begin(const struct wamp_way *way, struct pl_writer *w);
void wamp_frame_end(const struct wamp_way *way, struct pl_writer *w, size_t at);

/* A message to the peer. begin opens the list and writes the type; put the rest by v, then end. */
struct wamp_out {
    struct wamp_link *wl;
    struct pl_writer w;
    struct pl_value_writer v;
    size_t at;
};
void wamp_send_begin(struct wamp_out *o, struct wamp_link *wl, enum pl_wamp_type type);
/* PL_TOO_LARGE: the peer does not take messages of that size; nothing was sent. */
enum pl_err wamp_send_end(struct wamp_out *o);
/* The same with a payload: arguments of any serializer, or plain. */
enum pl_err wamp_send_end_payload(struct wamp_out *o, const struct pl_message *m, uint8_t rule);
/* [type, request] and [type, request, id]. */
void wamp_send_ids(struct wamp_link *wl, enum pl_wamp_type type, uint64_t request, uint64_t id);
/* One run of encoded messages. */
void wamp_send_frames(struct wamp_link *wl, const struct pl_run *run);

/* ---- wamp_session.c ---- */

extern const struct pl_session_ops wamp_session_ops;

/* One message of the peer. An error ends the connection; its last words are said. */
PL_MUST_USE enum pl_err wamp_on_message(
    struct wamp_link *wl, struct pl_bytes message, struct pl_shared *buffer);
/* ABORT, then the end. Returns what `receive` returns. */
enum pl_err wamp_abort(struct wamp_link *wl, enum pl_err why, const char *uri, const char *text);
enum pl_err wamp_violate(struct wamp_link *wl, const char *text);
/* Whether the peer is read from: not while a login, the authorizer, or someone who reads too slowly
 * is waited for. */
void wamp_set_waiting(struct wamp_session *s);
/* GOODBYE, then the end. */
void wamp_goodbye(struct wamp_session *s, const char *uri, struct pl_bytes message);
void wamp_close(struct wamp_session *s);
void wamp_session_free(struct wamp_session *s);
/* ERROR for a request of the peer; text may be NULL. */
void wamp_send_error(struct wamp_link *wl, enum pl_wamp_type type, uint64_t request,
    const char *uri, const char *text);
/* The same for an error of the core. */
void wamp_send_err(struct wamp_link *wl, enum pl_wamp_type type, uint64_t request, enum pl_err err);

/* ---- wamp_hello.c ---- */

enum { WAMP_NAME = 2 * PL_SECRET_HASH_SIZE };
/* The authid of a session without a user: different in each, and says nothing. near: any session
 * of the realm. No zero at its end. */
void wamp_name_of(const struct pl_session *near, uint64_t public_id, char out[WAMP_NAME]);

PL_MUST_USE enum pl_err wamp_on_hello(struct wamp_link *wl, const struct pl_wamp *m);
PL_MUST_USE enum pl_err wamp_on_authenticate(struct wamp_session *s, const struct pl_wamp *m);
void wamp_on_login(struct wamp_session *s, enum pl_err err);
void wamp_on_join(struct wamp_session *s, enum pl_err err);
/* Attributes and card as the details say; after details have changed, too. */
PL_MUST_USE enum pl_err wamp_set_attributes(struct wamp_session *s, struct pl_bytes card);

/* ---- the roles' files ---- */

/* Each may be asked again when the authorizer has answered. */
enum pl_err wamp_on_publish(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer);
enum pl_err wamp_on_subscribe(struct wamp_session *s, const struct pl_wamp *m);
void wamp_on_unsubscribe(struct wamp_session *s, const struct pl_wamp *m);
void wamp_on_subscribed(struct wamp_session *s, const struct pl_completion *done);
void wamp_on_unsubscribed(struct wamp_session *s, const struct pl_completion *done);
void wamp_on_published(struct wamp_session *s, const struct pl_completion *done);
struct wamp_sub *wamp_find_sub(struct wamp_session *s, uint64_t id);
void wamp_drop_sub(struct wamp_session *s, struct wamp_sub *sub, uint64_t request);
void wamp_free_subs(struct wamp_session *s);

enum pl_err wamp_encode(const struct pl_subscription *base, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w);
void wamp_deliver(struct pl_session *core, struct pl_subscription *base, const struct pl_run *run);
/* Equal for subscriptions whose EVENTs are equal. */
uint64_t wamp_form(const struct wamp_sub *sub);
/* x_… and ppt_… of a message's headers, into the dictionary that is open. */
void wamp_put_headers(struct pl_value_writer *v, const struct pl_properties *p);

enum pl_err wamp_on_call(struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer);
void wamp_on_cancel(struct wamp_session *s, const struct pl_wamp *m);
void wamp_answer(struct pl_session *core, const struct pl_result *result);

enum pl_err wamp_on_register(struct wamp_session *s, const struct pl_wamp *m);
void wamp_on_unregister(struct wamp_session *s, const struct pl_wamp *m);
void wamp_on_registered(struct wamp_session *s, const struct pl_completion *done);
void wamp_on_unregistered(struct wamp_session *s, const struct pl_completion *done);
enum pl_err wamp_on_yield(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_shared *buffer);
void wamp_invoke(struct pl_session *core, const struct pl_invocation *invocation);
void wamp_interrupt(
    struct pl_session *core, uint64_t invocation, enum pl_cancel mode, enum pl_err why);
void wamp_unregistered(struct pl_session *core, struct pl_callee *base);
void wamp_drop_callee(struct wamp_session *s, struct wamp_callee *callee, uint64_t request);
struct wamp_callee *wamp_find_callee(struct wamp_session *s, uint64_t id);
void wamp_free_callees(struct wamp_session *s);
/* [35 or 67, 0, {key: id, reason}]: something was taken away. */
void wamp_send_revoked(struct wamp_session *s, enum pl_wamp_type type, const char *key, uint64_t id,
    struct pl_bytes reason);

/* A draft's properties: headers from the options, error, progress, audience; NULL if there are none
 * of them. PL_LIMIT, PL_NO_MEMORY. */
struct wamp_extras {
    struct pl_bytes error;
    bool is_progress;
    const struct pl_audience *audience;
    const struct pl_author *from;
};
PL_MUST_USE enum pl_err wamp_properties(struct wamp_session *s, const struct pl_value *options,
    const struct wamp_extras *extras, const struct pl_properties **out);
/* The lists of PUBLISH's options; *out NULL: everyone. */
PL_MUST_USE enum pl_err wamp_audience(
    struct wamp_session *s, const struct pl_value *options, const struct pl_audience **out);

/* ---- wamp_authorize.c ---- */

/* PL_OK: go on. PL_DENIED: an ERROR was sent if one is wanted. PL_NEED_MORE: the procedure is
 * asked; the message was kept and comes again. */
enum pl_err wamp_authorize(
    struct wamp_session *s, const struct pl_wamp *m, const char *action, bool wants_error);
/* A result of pl_session_call with a token of wamp_authorize's. */
void wamp_on_authorized(struct wamp_session *s, const struct pl_result *result);
bool wamp_is_question(uint64_t token);
void wamp_free_questions(struct wamp_session *s);

/* Arguments of a message of any format; kind NULL: none. Borrowed from the message, or in the
 * arena. */
PL_MUST_USE enum pl_err wamp_read_arguments(const struct pl_message *message,
    struct pl_arena *arena, struct pl_value *out_args, struct pl_value *out_kwargs);

/* ---- wamp_told.c ---- */

void wamp_told(struct pl_session *core, const struct pl_word *said);
/* Before it leaves. */
void wamp_publish_testaments(struct wamp_session *s);
void wamp_free_testaments(struct wamp_session *s, unsigned scopes);

#endif
