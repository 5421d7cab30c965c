/*
 * The client of parley.h, as its files see it:
 *
 *     client.c      options, life, the loop, its own thread
 *     session.c     connecting, joining, losing, ending; which message goes where
 *     login.c       HELLO and the challenges of the methods of authentication
 *     handlers.c    subscriptions and registrations, and their life over several sessions
 *     requests.c    publications and calls
 *     invocations.c answering calls
 *     waits.c       the functions that wait
 *
 * One lock guards everything. Whoever is in pl_client_run "runs" the client: it alone connects,
 * reads, moves the phase, and calls the program, for which it lets go of the lock. Everyone else
 * only appends messages and requests. So what is read stays where it is while a callback has it.
 */
#ifndef PL_CLIENT_CLIENT_H
#define PL_CLIENT_CLIENT_H

#include <pthread.h>

#include "base/heap.h"
#include "base/map.h"
#include "client/message.h"
#include "client/wire.h"

enum pl_client_phase {
    PL_PHASE_WAITING,    /* until phase_at_ms, then it connects */
    PL_PHASE_CONNECTING, /* until the transport is open; phase_at_ms is the end of patience */
    PL_PHASE_JOINING,    /* HELLO was sent */
    PL_PHASE_JOINED,
    PL_PHASE_LEAVING, /* GOODBYE was sent */
    PL_PHASE_ENDED,
};

/* Who waits for a request, in waits.c; lives on that function's stack. Under the lock. */
struct pl_waiter {
    bool is_done;
    enum parley_code code;
    struct parley_message *message; /* owned; NULL: none, or no memory for it */
};

/* Something the router is to answer. */
struct pl_request {
    struct pl_map_entry entry; /* in client->requests, by id */
    struct pl_request *next;   /* in client->ready */
    uint64_t id;               /* WAMP's */
    uint32_t type;             /* PL_WAMP_CALL … */
    uint64_t handler;          /* SUBSCRIBE … UNREGISTER: whose; 0: it is gone */
    parley_message_fn *fn;     /* may be NULL */
    void *context;
    struct pl_waiter *waiter;    /* instead of fn for the end; NULL: none */
    struct pl_deadline deadline; /* CALL: when it is given up */
    uint64_t patience_ms;        /* CALL: 0: none */
    char *uri; /* owned; CALL: more parts of its arguments may follow, and it is repeated; NULL */
};

/* A subscription or registration of the program. */
struct pl_handler {
    struct pl_handler *next, **at; /* in client->handlers, oldest first; at: what points here */
    struct pl_map_entry entry;     /* in client->handlers_by_id */
    struct pl_map_entry routed;    /* LIVE: in client->topics or ->procedures, by router_id … */
    struct pl_handler *same;       /* … and those of the same router_id, which are not in there */
    uint64_t id;                   /* the client's */
    uint32_t type;                 /* PL_WAMP_SUBSCRIBE or PL_WAMP_REGISTER */
    uint8_t match;                 /* enum parley_match */
    enum { PL_HANDLER_IDLE, PL_HANDLER_ASKED, PL_HANDLER_LIVE } state;
    uint64_t router_id;        /* LIVE */
    uint64_t request;          /* ASKED: WAMP's id */
    bool was_answered;         /* on_done knows that it is there */
    char *uri;                 /* owned */
    struct pl_shared *options; /* owned; a MessagePack dictionary */
    parley_message_fn *on_event;
    parley_call_fn *on_call;
    parley_message_fn *on_done;
    void *context;
    struct pl_waiter *waiter; /* for the first answer; NULL: none */
};

struct parley_invocation {
    struct pl_map_entry entry;    /* in client->invocations, by id */
    struct parley_client *client; /* one reference */
    uint32_t refs;                /* the map's or the program's, and of callbacks; under the lock */
    uint64_t id;                  /* WAMP's */
    struct parley_message *message; /* owned */
    bool is_there;                  /* in the map: an answer goes somewhere */
    bool wants_progress, is_canceled;
    void (*on_cancel)(struct parley_invocation *invocation, void *context);
    void *cancel_context, *context;
};

/* What the current login needs to remember. */
struct pl_client_login {
    char nonce[28];               /* SCRAM: ours, base64 */
    uint8_t server_signature[32]; /* SCRAM: what the router has to prove */
    bool expects_proof;
};

struct parley_client {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something that a waiting function looks at */
    uint32_t refs;          /* the program's and of invocations */

    /* Constant after pl_client_new. */
    struct parley_client_options options; /* texts are owned by `arena` */
    struct pl_arena arena;
    struct pl_url url;
    enum pl_serializer serializer;
    int epoll, timer;

    pthread_t thread; /* of own_thread */
    pthread_t runner; /* while is_running */
    bool is_running;
    bool is_closing; /* parley_client_close was called */

    enum pl_client_phase phase;
    uint64_t phase_at_ms; /* by pl_clock_ms; PL_NEVER */
    uint32_t retries;     /* since the last session */
    struct pl_wire *wire; /* owned; NULL: none */
    int watched;          /* descriptor in epoll; -1: none */
    bool watches_write;
    uint64_t timer_at_ms; /* what `timer` is set to */
    uint64_t pinged_ms;   /* 0: not since something was heard */
    struct pl_client_login login;
    bool is_welcomed; /* there was a session */

    uint64_t session_id;
    uint64_t generation; /* counts sessions */
    uint64_t next_request, next_handler;
    struct pl_map requests, invocations; /* by WAMP's ids, of this session */
    uint64_t last_invocation;            /* the highest that came */
    struct pl_handler *handlers, **handlers_at;
    struct pl_map handlers_by_id, topics, procedures;
    struct pl_request *ready, **ready_at; /* answered already by this library */
    struct pl_heap deadlines;             /* of calls */
    struct pl_shared *scratch;            /* what is encoded next */

    struct pl_diag error; /* why it is not joined */
    enum parley_code error_code;
};

/* ---- client.c ---- */

void pl_client_lock(struct parley_client *c);
void pl_client_unlock(struct parley_client *c);
/* Under the lock: gives one reference back; false: it was the last, and c is gone, unlocked. */
bool pl_client_unref(struct parley_client *c);
/* Is the calling thread in a callback? Under the lock. */
bool pl_client_is_runner(const struct parley_client *c);
/* Runs the client once: waits at most timeout_ms for something, and does it. Under the lock, which
 * it lets go of meanwhile; nobody else runs it. */
void pl_client_run(struct parley_client *c, int timeout_ms);
/* Has whoever runs it look again, now. Under the lock. */
void pl_client_wake(struct parley_client *c);
/* Until is_true, at most until end_ms; runs it if nobody does. Under the lock. */
bool pl_client_await(
    struct parley_client *c, bool (*is_true)(const void *what), const void *what, uint64_t end_ms);

/* Copies an option struct as far as both know it; given may be NULL. own begins with its defaults.
 */
void pl_client_take_options(void *own, size_t own_size, const void *given);
/* Begins a message; the elements follow. At its end: send. Under the lock, as all below. */
struct pl_value_writer pl_client_begin(
    struct parley_client *c, struct pl_writer *w, enum pl_wamp_type type);
/* Sends what was written. PL_CLOSED, PL_LIMIT, PL_TOO_LARGE, PL_NO_MEMORY, PL_MALFORMED: nothing
 * was sent. */
PL_MUST_USE enum pl_err pl_client_send(struct parley_client *c, struct pl_writer *w);
/* Gives up what was begun. */
void pl_client_drop(struct parley_client *c, struct pl_writer *w);
/* Calls the program: the lock is let go of. The runner alone. */
void pl_client_tell(struct parley_client *c, parley_message_fn *fn, void *context,
    const struct parley_message *message);

/* ---- session.c ---- */

/* Everything that is due. The runner alone. */
void pl_client_step(struct parley_client *c);
/* Returns when it wants to be run again. */
uint64_t pl_client_next_ms(const struct parley_client *c);
/* The session or the attempt is over. */
void pl_client_lose(struct parley_client *c, enum parley_code code, const char *reason);

/* ---- login.c ---- */

/* PL_BAD_LOGIN: there is no key, diag. */
PL_MUST_USE enum pl_err pl_client_hello(struct parley_client *c, struct pl_diag *diag);
/* Answers a CHALLENGE. PL_BAD_LOGIN: there is nothing to answer with, diag. */
PL_MUST_USE enum pl_err pl_client_answer(
    struct parley_client *c, const struct pl_wamp *challenge, struct pl_diag *diag);
/* Has the router proved what it must? WELCOME's details. */
bool pl_client_is_proved(const struct parley_client *c, const struct pl_value *details);

/* ---- requests.c ---- */

/* Sends what was written, with the id pl_request_id, and puts the request, if there is one, in the
 * map; frees it if that fails. */
PL_MUST_USE enum pl_err pl_request_send(
    struct parley_client *c, struct pl_writer *w, struct pl_request *request_moved);
/* The id of the next request. */
uint64_t pl_request_id(const struct parley_client *c);
/* NULL: no memory. */
PL_MUST_USE struct pl_request *pl_request_new(uint32_t type);
struct pl_request *pl_request_free(struct pl_request *request);
/* It is told that by the runner, soon: for those that need no answer of the router. */
void pl_request_end_soon(struct parley_client *c, struct pl_request *request_moved);
void pl_requests_tell_ready(struct parley_client *c);
void pl_requests_end_all(struct parley_client *c, enum parley_code code, const char *why);
/* Calls whose time is over. */
void pl_requests_expire(struct parley_client *c, uint64_t now_ms);
/* RESULT, ERROR and the rest that answers a request. */
void pl_requests_answer(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes);
/* Takes it out of the map; it is the caller's. */
void pl_request_remove(struct parley_client *c, struct pl_request *request);
/* Has the callee end a call, which is not waited for any more. */
void pl_request_abandon(struct parley_client *c, uint64_t id);
/* Copies a message for whoever waits. */
void pl_waiter_done(
    struct parley_client *c, struct pl_waiter *waiter, const struct parley_message *message);
PL_MUST_USE enum parley_code pl_client_publish(struct parley_client *client, const char *topic,
    struct parley_args *args, const struct parley_publish_options *options,
    parley_message_fn *on_done, void *context, struct pl_waiter *waiter);
PL_MUST_USE enum parley_code pl_client_call(struct parley_client *client, const char *procedure,
    struct parley_args *args, const struct parley_call_options *options,
    parley_message_fn *on_result, void *context, struct pl_waiter *waiter, uint64_t *out_id);

/* ---- handlers.c ---- */

struct pl_handler_request {
    uint32_t type; /* PL_WAMP_SUBSCRIBE or PL_WAMP_REGISTER */
    const char *uri;
    const struct parley_subscribe_options *subscribe;
    const struct parley_register_options *registration;
    parley_message_fn *on_event;
    parley_call_fn *on_call;
    parley_message_fn *on_done;
    void *context;
    struct pl_waiter *waiter;
};
PL_MUST_USE enum parley_code pl_handler_add(
    struct parley_client *client, const struct pl_handler_request *what, uint64_t *out_id);
/* type: PL_WAMP_UNSUBSCRIBE or PL_WAMP_UNREGISTER. */
PL_MUST_USE enum parley_code pl_handler_remove(struct parley_client *client, uint32_t type,
    uint64_t id, parley_message_fn *on_done, void *context, struct pl_waiter *waiter);
/* There is a session: all are asked for. */
void pl_handlers_ask(struct parley_client *c);
/* There is none any more. */
void pl_handlers_rest(struct parley_client *c);
/* And never will be. */
void pl_handlers_end_all(struct parley_client *c, enum parley_code code, const char *why);
/* The answer to SUBSCRIBE or REGISTER. */
void pl_handlers_answered(struct parley_client *c, struct pl_request *request_moved,
    const struct parley_message *message);
void pl_handlers_event(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes);
/* UNSUBSCRIBED or UNREGISTERED that nobody asked for: the router took it away. */
void pl_handlers_revoked(
    struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes);
/* The registration of an invocation; NULL. */
struct pl_handler *pl_handler_of_registration(struct parley_client *c, uint64_t router_id);

/* ---- invocations.c ---- */

void pl_client_invoke(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes);
void pl_client_interrupt(struct parley_client *c, uint64_t id);
/* The session is over: nobody waits for their answers. */
void pl_client_cancel_all(struct parley_client *c);

#endif
