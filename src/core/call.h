/*
 * Calls: one model for every RPC (DESIGN section 3).
 *
 *     caller                       realm                          callee
 *     pl_session_call    ────►  finds the registration  ────►  ops->invoke
 *     ops->answer        ◄────  the call, by its ids    ◄────  pl_session_yield
 *     pl_session_cancel  ────►                          ────►  ops->interrupt
 *
 * A callee is a session's offer to answer calls of a pattern; the callees of one pattern are a
 * registration, which chooses one of them for each call by its policy. A registration is the only
 * callee, whoever asks: also a message with a reply subject becomes a call of it, and its answers
 * are published there. Without a registration a call goes to the subscriptions that can reply
 * (PL_SUB_CAN_REPLY), with a reply subject of the realm's own; the first answer ends it.
 *
 * Every call ends exactly once for its caller: by the callee's last answer, or by an error of the
 * core (see pl_result). What comes later is dropped without a word.
 *
 * What is asked for here runs in the realm's order with everything else that the session asks for.
 * All functions are for the session's reactor.
 */
#ifndef PL_CORE_CALL_H
#define PL_CORE_CALL_H

/* Of a request that is a message: its answer may come in parts, if the value is "true". */
#define PL_PROGRESS_HEADER "Parley-Receive-Progress"

#include "core/identity.h"
#include "core/message.h"

struct pl_session;
struct pl_registration;

/* Which callee of a registration gets a call. All callees of one registration ask for the same. */
enum pl_invoke {
    PL_INVOKE_SINGLE, /* there is only one */
    PL_INVOKE_ROUNDROBIN,
    PL_INVOKE_RANDOM,
    PL_INVOKE_FIRST, /* the one that has been there longest */
    PL_INVOKE_LAST,  /* the newest */
};

enum pl_callee_flags {
    PL_CALLEE_FORCED = 1,       /* those registered before must go: ops->unregistered tells them */
    PL_CALLEE_KEEPS_TIME = 2,   /* the call's timeout is handed on; the realm sets no timer */
    PL_CALLEE_CAN_CANCEL = 4,   /* ops->interrupt means something to it */
    PL_CALLEE_TAKES_PARTS = 8,  /* a call may come in several parts */
    PL_CALLEE_WANTS_CALLER = 16 /* the protocol's own: it must be told who calls */
};

/* Embedded in the protocol's own struct. Constant from pl_session_register on, but for the core's
 * part. */
struct pl_callee {
    struct pl_pattern *pattern; /* one reference, given to the core */
    uint8_t invoke;             /* enum pl_invoke */
    uint8_t flags;              /* enum pl_callee_flags */
    uint32_t concurrency;       /* calls in progress at most; 0: no limit */

    /* The core's; under the lock. */
    struct pl_session *session;
    struct pl_registration *registration; /* NULL: not, or no longer, registered */
    uint32_t open_calls;
    struct pl_callee *next, **at;                 /* the registration's list, oldest first */
    struct pl_callee *session_next, **session_at; /* list of its session */
};

/*
 * Offers to answer calls. callee is the core's until PL_DONE_UNREGISTER or PL_DONE_LEAVE, or an
 * error in PL_DONE_REGISTER: PL_DENIED, PL_BAD_NAME (reserved), PL_EXISTS (taken, or another
 * policy, or this session offers it already), PL_LIMIT, PL_NO_MEMORY. pl_completion.id is the
 * registration's id, the same for all of its callees.
 */
void pl_session_register(struct pl_session *s, struct pl_callee *callee, uint64_t token);

/* PL_DONE_UNREGISTER: nothing refers to it any more, free it. Invocations that came before may
 * still be answered. */
void pl_session_unregister(struct pl_session *s, struct pl_callee *callee, uint64_t token);

enum pl_call_flags {
    PL_CALL_WANTS_PROGRESS = 1, /* answers may come in several parts */
    PL_CALL_MORE = 2,           /* this is a part of the arguments; more come under this token */
    PL_CALL_NEXT = 4,    /* a further part; without an open call of that token it is dropped */
    PL_CALL_TRUSTED = 8, /* the server asks: no right is needed */
};

/*
 * Calls draft->subject. token: the caller's own number of the call, unique among its open ones. Of
 * a further part (PL_CALL_NEXT) only the payload and PL_CALL_MORE count; what comes after the last
 * part or after the end is dropped. timeout_ms: 0: none where a
 * registration answers, else the realm's limit. draft and buffer: as for pl_session_publish. Every
 * outcome comes by ops->answer, in the order of what was asked.
 */
void pl_session_call(struct pl_session *s, const struct pl_message *draft, struct pl_shared *buffer,
    unsigned flags, uint64_t timeout_ms, uint64_t token);

enum pl_cancel {
    PL_CANCEL_SKIP,        /* the caller is answered PL_CANCELED now, the callee hears nothing */
    PL_CANCEL_KILL,        /* the callee is interrupted, its answer ends the call */
    PL_CANCEL_KILL_NO_WAIT /* the callee is interrupted and the caller answered now */
};

/* A call that is over or unknown: nothing happens. A callee that cannot be interrupted: as SKIP. */
void pl_session_cancel(struct pl_session *s, uint64_t token, enum pl_cancel mode);

/* What ops->invoke is given; borrowed. */
struct pl_invocation {
    uint64_t id; /* counts the session's invocations from 1; parts share it */
    struct pl_callee *callee;
    const struct pl_message *message; /* subject is the procedure; properties as the caller's */
    const struct pl_identity *caller; /* NULL: nobody (the server) */
    uint64_t caller_id;               /* pl_session_public_id */
    uint64_t timeout_ms;              /* with PL_CALLEE_KEEPS_TIME; 0: none */
    bool wants_progress;
    bool is_first; /* false: a further part of the arguments */
    bool has_more; /* further parts follow */
};

/*
 * Answers an invocation. draft: payload and properties; properties->error makes it an error;
 * properties->is_progress: more answers follow (the caller must want progress, else the answer is
 * dropped). Anything else ends the call. An invocation that is over or unknown: nothing happens.
 */
void pl_session_yield(struct pl_session *s, uint64_t invocation, const struct pl_message *draft,
    struct pl_shared *buffer);

/* The callee cannot take this one: the next of its registration is asked; without one the caller
 * is answered PL_NO_CALLEE. */
void pl_session_pass(struct pl_session *s, uint64_t invocation);

/* What ops->answer is given; borrowed. */
struct pl_result {
    uint64_t token;
    enum pl_err err; /* of the core: PL_NOT_FOUND (no such procedure), PL_DENIED, PL_BAD_NAME,
                        PL_TOO_LARGE, PL_CANCELED, PL_TIMEOUT, PL_CALLEE_GONE, PL_NO_CALLEE,
                        PL_NO_PARTS (parts, to a callee that takes none), PL_SLOW_CONSUMER (the
                        callee's queue is full), PL_LIMIT, PL_NO_MEMORY */
    const struct pl_message *message; /* NULL with err; properties->error: the callee's error */
    bool is_progress;                 /* more answers follow */
};

/* The URI that names an error of the core to whoever asked: "wamp.error.timeout". Static. */
const char *pl_call_error_uri(enum pl_err err);

#endif
