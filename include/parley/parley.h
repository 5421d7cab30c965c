/*
 * libparley: a WAMP client, and a whole Parley server inside a C program.
 *
 *     struct parley_client_options options = PARLEY_CLIENT_OPTIONS;
 *     options.url = "ws://127.0.0.1:8080/";
 *     options.own_thread = true;
 *     struct parley_client *client;
 *     if (parley_client_new(&options, &client) == PARLEY_OK &&
 *         parley_client_join(client, 5000) == PARLEY_OK)
 *         parley_publish(client, "plant.line1.temp", parley_args_json("[21.5]", NULL), NULL, NULL,
 *             NULL);
 *     parley_client_free(client);
 *
 * Build: cc program.c $(pkg-config --cflags --libs parley)
 *
 * Ownership. A pointer that is given to a function is borrowed until it returns, but for
 * `struct parley_args`, which every function that sends takes over, whatever it returns. A pointer
 * that a function returns, or a callback gets, is borrowed for as long as the text here says.
 *
 * Threads. Every function of a client, an invocation or a router may be called from any thread.
 * Callbacks of a client run one at a time: on its own thread (own_thread), else on the thread that
 * is in parley_client_process or in one of the functions that wait. No lock is held meanwhile, so a
 * callback may call everything but what waits, which answers PARLEY_BUSY there. Values, messages
 * and arguments belong to one thread at a time.
 *
 * Errors. Functions that can fail return enum parley_code and write their out_ parameters only on
 * PARLEY_OK. out_ parameters may be NULL where that makes sense. Nothing that a router sends, and
 * no allocation that fails, ends the process.
 *
 * Option structs begin with their size: initialise them with their macro, and a program that was
 * compiled with an older header goes on working. Every option may stay zero.
 *
 * Fork: a client and a router belong to the process that made them.
 */
#ifndef PARLEY_PARLEY_H
#define PARLEY_PARLEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PARLEY_API      __attribute__((visibility("default")))
#define PARLEY_MUST_USE __attribute__((warn_unused_result))
#else
#define PARLEY_API
#define PARLEY_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum parley_code {
    PARLEY_OK,
    PARLEY_ERROR,     /* the router or a callee answered with an error: parley_message_error */
    PARLEY_INVALID,   /* an argument is wrong, or it is not the moment for this */
    PARLEY_BUSY,      /* this waits, and was called from a callback */
    PARLEY_NO_MEMORY, /* nothing was done */
    PARLEY_CLOSED,    /* there is no session, or it ended before the answer */
    PARLEY_REFUSED,   /* the router does not let this client in */
    PARLEY_TIMEOUT,
    PARLEY_TOO_LARGE, /* the router takes no message of this size */
    PARLEY_FULL,      /* more than queue_bytes_max waits to be sent */
    PARLEY_IO,        /* the connection, or a file; also: port in use */
    PARLEY_PROTOCOL,  /* the other side does not speak WAMP as it should */
    PARLEY_CONFIG,    /* the configuration of a router */
    PARLEY_NOT_FOUND, /* no such subscription, registration or listener */
};

/* "timed out". Static. */
PARLEY_API const char *parley_code_text(enum parley_code code);
/* "0.1.0", of the library that runs. Static. */
PARLEY_API const char *parley_version(void);

/* ---- Values ---- */

/*
 * What an argument is: as in JSON, and binary. A list holds values, a dictionary pairs of key and
 * value in the order in which they came. Values are read only, and live as long as what they are a
 * part of. NULL stands for a value that is not there, and every function here accepts it.
 */
struct parley_value;

enum parley_kind {
    PARLEY_NULL,
    PARLEY_BOOL,
    PARLEY_INTEGER, /* fits int64_t */
    PARLEY_NATURAL, /* a whole number above INT64_MAX */
    PARLEY_FLOAT,
    PARLEY_STRING, /* valid UTF-8; may hold zeros */
    PARLEY_BINARY,
    PARLEY_LIST,
    PARLEY_DICT,
};

/* PARLEY_NULL for NULL. */
PARLEY_API enum parley_kind parley_value_kind(const struct parley_value *value);
/* `otherwise` if it is no boolean. */
PARLEY_API bool parley_value_bool(const struct parley_value *value, bool otherwise);
/* A whole number that fits, also one that came as a float (2.0); else `otherwise`. */
PARLEY_API int64_t parley_value_integer(const struct parley_value *value, int64_t otherwise);
PARLEY_API uint64_t parley_value_natural(const struct parley_value *value, uint64_t otherwise);
/* Any number; else `otherwise`. */
PARLEY_API double parley_value_number(const struct parley_value *value, double otherwise);
/* A string, with a zero behind it; else `otherwise`. */
PARLEY_API const char *parley_value_string(const struct parley_value *value, const char *otherwise);
/* The bytes of a string or binary; NULL: it is neither. out_len may be NULL. */
PARLEY_API const void *parley_value_bytes(const struct parley_value *value, size_t *out_len);
/* Items of a list, pairs of a dictionary; 0 for the rest. */
PARLEY_API size_t parley_value_count(const struct parley_value *value);
/* An item of a list, a value of a dictionary; NULL: not there. index counts from 0. */
PARLEY_API const struct parley_value *parley_value_at(
    const struct parley_value *value, size_t index);
/* The key of a dictionary's pair; NULL: not there. Keys that were no strings are their digits. */
PARLEY_API const char *parley_value_key(const struct parley_value *value, size_t index);
/* The value of a key, the last one if it stands there twice; NULL: not there, or no dictionary. */
PARLEY_API const struct parley_value *parley_value_get(
    const struct parley_value *value, const char *key);
/* Its JSON, binary as "\u0000" and base64. To be freed with parley_free. NULL: no memory. */
PARLEY_API char *parley_value_json(const struct parley_value *value);
/* For what parley_value_json gave. Accepts NULL. */
PARLEY_API void parley_free(void *memory);

/* ---- Arguments ---- */

/*
 * Arguments of a call or a publication while they are put together: a list, and after
 * parley_args_keywords a dictionary.
 *
 *     struct parley_args *args = parley_args_new();
 *     parley_args_string(args, "pump 3");
 *     parley_args_keywords(args);
 *     parley_args_key(args, "speed");
 *     parley_args_float(args, 0.75);
 *     parley_call(client, "plant.set", args, …);      // took args over
 *
 * The first failure (no memory, a key where none belongs, nested deeper than 14) is remembered, and
 * told by the function that is to send them: PARLEY_NO_MEMORY or PARLEY_INVALID.
 */
struct parley_args;

/* Never NULL: without memory they are arguments that only tell so. */
PARLEY_API struct parley_args *parley_args_new(void);
/* From JSON texts: a list, and an object or NULL. */
PARLEY_API struct parley_args *parley_args_json(const char *list, const char *dictionary);
/* Keeps them for another use: one reference more. Returns args. From then on they are fixed. */
PARLEY_API struct parley_args *parley_args_keep(struct parley_args *args);
/* Gives a reference back. Accepts NULL. */
PARLEY_API void parley_args_free(struct parley_args *args);

PARLEY_API void parley_args_null(struct parley_args *args);
PARLEY_API void parley_args_bool(struct parley_args *args, bool value);
PARLEY_API void parley_args_integer(struct parley_args *args, int64_t value);
PARLEY_API void parley_args_natural(struct parley_args *args, uint64_t value);
PARLEY_API void parley_args_float(struct parley_args *args, double value);
/* UTF-8; NULL is null. Bytes that are not UTF-8 become U+FFFD. */
PARLEY_API void parley_args_string(struct parley_args *args, const char *text);
PARLEY_API void parley_args_text(struct parley_args *args, const char *text, size_t len);
PARLEY_API void parley_args_binary(struct parley_args *args, const void *bytes, size_t len);
/* A copy of any value. */
PARLEY_API void parley_args_value(struct parley_args *args, const struct parley_value *value);
/* Any one JSON value. */
PARLEY_API void parley_args_json_value(struct parley_args *args, const char *json);
/* Opens a list or dictionary; what follows is in it until parley_args_end. */
PARLEY_API void parley_args_list(struct parley_args *args);
PARLEY_API void parley_args_dict(struct parley_args *args);
PARLEY_API void parley_args_end(struct parley_args *args);
/* Of a dictionary; its value follows. */
PARLEY_API void parley_args_key(struct parley_args *args, const char *key);
/* The list is done: what follows are keyword arguments. Once. */
PARLEY_API void parley_args_keywords(struct parley_args *args);

/* ---- Messages ---- */

/*
 * What came: an event, a result, an answer, a call. Borrowed during the callback that gets it, if
 * nothing else is said; parley_message_copy keeps it.
 */
struct parley_message;

/* PARLEY_OK, or what ended the request. */
PARLEY_API enum parley_code parley_message_code(const struct parley_message *message);
/* "wamp.error.no_such_procedure"; NULL: no error, or one that this library found itself. */
PARLEY_API const char *parley_message_error(const struct parley_message *message);
/* What went wrong, for people: of an error the first argument that is a string, or its URI. */
PARLEY_API const char *parley_message_text(const struct parley_message *message);
/* A LIST, or NULL: none. With payload passthru it may be BINARY or STRING. */
PARLEY_API const struct parley_value *parley_message_args(const struct parley_message *message);
/* A DICT, or NULL: none. */
PARLEY_API const struct parley_value *parley_message_kwargs(const struct parley_message *message);
/* Details or Options as the router sent them: "publisher", "caller", "retained" … A DICT or NULL.
 */
PARLEY_API const struct parley_value *parley_message_details(const struct parley_message *message);
/* One of the arguments; NULL: not there. */
PARLEY_API const struct parley_value *parley_message_arg(
    const struct parley_message *message, size_t index);
PARLEY_API const struct parley_value *parley_message_kwarg(
    const struct parley_message *message, const char *key);
/* An event's topic, a call's procedure; else NULL. */
PARLEY_API const char *parley_message_uri(const struct parley_message *message);
/* Of an event and of an acknowledged publication: its publication id; else 0. */
PARLEY_API uint64_t parley_message_publication(const struct parley_message *message);
/* A result or call of which more follows. */
PARLEY_API bool parley_message_is_progress(const struct parley_message *message);
/* Owned by the caller. NULL: no memory. */
PARLEY_API struct parley_message *parley_message_copy(const struct parley_message *message);
/* Of a copy. Accepts NULL. */
PARLEY_API void parley_message_free(struct parley_message *message);

/* ---- A client ---- */

/* A session with a realm of a router, and the connection that it needs. */
struct parley_client;
/* A router in this process, see below. */
struct parley_router;

enum parley_state {
    PARLEY_CONNECTING,
    PARLEY_JOINED,
    PARLEY_WAITING, /* the session was lost or could not be had; it is tried again */
    PARLEY_ENDED,   /* and nothing more comes: parley_client_close, or it is not tried again */
};

/* Borrowed during the callback. */
struct parley_status {
    size_t size;
    enum parley_state state;
    enum parley_code code;              /* WAITING, ENDED: why */
    const char *reason;                 /* the URI of the router's ABORT or GOODBYE; NULL: none */
    const char *text;                   /* why, for people; never NULL */
    uint64_t session_id;                /* JOINED */
    uint32_t retry_ms;                  /* WAITING: it is tried again after this time */
    const struct parley_value *details; /* JOINED: of WELCOME: "authid", "authrole", "roles" … */
};

typedef void parley_state_fn(
    struct parley_client *client, const struct parley_status *status, void *context);
typedef void parley_message_fn(
    struct parley_client *client, const struct parley_message *message, void *context);

enum parley_serializer { PARLEY_MSGPACK, PARLEY_JSON, PARLEY_CBOR };

struct parley_client_options {
    size_t size;
    /* ws://host:8080/path and wss:// are WebSocket, rs://host:port and rss:// RawSocket (…s: in
     * TLS), unix:/path is RawSocket over a Unix socket. user:password@ in it are authid and
     * password. */
    const char *url;
    struct parley_router *router; /* instead of a URL: in this process; it outlives the client */
    const char *realm;            /* NULL: "realm1" */
    enum parley_serializer serializer;
    bool own_thread; /* else the program calls parley_client_process */

    /* Who it is. Methods are offered in the order of authmethods ("ticket,wampcra"); NULL: those
     * for which there is something here, else anonymous. */
    const char *authmethods;
    const char *authid;
    const char *authrole;    /* the one that is asked for */
    const char *ticket;      /* method ticket; also a JWT */
    const char *password;    /* methods wampcra and scram */
    const char *private_key; /* method cryptosign: the Ed25519 seed, 64 hex digits */
    const char *authextra;   /* a JSON object, added to HELLO's */
    /* Asked for a secret that is not here when the router wants it: the ticket, password or key. A
     * callback. Borrowed until it is called again; NULL: there is none, the login fails. */
    const char *(*secret)(void *context, const char *method, const char *authid);

    /* TLS of wss:// and rss://. */
    const char *ca_file;   /* PEM; NULL: what the system trusts */
    const char *cert_file; /* PEM: the client's own certificate and key */
    const char *key_file;
    bool tls_insecure; /* any certificate will do */

    /* After a loss: again after reconnect_min_ms (0: 500), then twice as long each time, up to
     * reconnect_max_ms (0: 30 000), each time a random part less. Subscriptions and registrations
     * are made anew; calls that were open end with PARLEY_CLOSED. Where the router refuses the
     * login, it is not tried again. */
    bool reconnect;
    uint32_t reconnect_min_ms, reconnect_max_ms;
    uint32_t connect_timeout_ms; /* until the session is there; 0: 10 000 */
    uint32_t keepalive_ms;       /* silence after which it pings; twice that: lost. 0: 30 000 */
    uint32_t message_bytes_max;  /* of one message from the router; 0: 16 MiB, also the most */
    size_t queue_bytes_max;      /* to be sent; 0: 64 MiB */

    const char *agent;   /* HELLO's; NULL: "libparley/…" */
    const char *origin;  /* of a WebSocket's request; NULL: none */
    const char *details; /* a JSON object, added to HELLO's Details */

    parley_state_fn *on_state; /* may be NULL */
    void *context;             /* of on_state and secret */
};
#define PARLEY_CLIENT_OPTIONS                                                                      \
    {                                                                                              \
        .size = sizeof(struct parley_client_options)                                               \
    }

/*
 * Begins to connect. PARLEY_INVALID: an option is wrong. PARLEY_IO: no thread or descriptor is
 * left. Whether it succeeds is told by on_state and parley_client_join.
 */
PARLEY_API PARLEY_MUST_USE enum parley_code parley_client_new(
    const struct parley_client_options *options, struct parley_client **out_client);
/*
 * Says goodbye, waits at most a second for the router's, ends what is open with PARLEY_CLOSED (in
 * callbacks, during the call), ends the thread, and frees. Not from a callback; no other thread may
 * be in a function of this client or call one later. Accepts NULL.
 */
PARLEY_API void parley_client_free(struct parley_client *client);
/* Says goodbye; PARLEY_ENDED comes, and no reconnect. */
PARLEY_API void parley_client_close(struct parley_client *client);

/* Waits until the session is there: PARLEY_OK. What ended the client; PARLEY_TIMEOUT: it goes on
 * trying. Negative timeout_ms: no limit. */
PARLEY_API PARLEY_MUST_USE enum parley_code parley_client_join(
    struct parley_client *client, int timeout_ms);
/* Why it is not joined, or was not before: a text of at most size bytes with its zero. */
PARLEY_API void parley_client_error(struct parley_client *client, char *out, size_t size);
/* 0: there is no session now. */
PARLEY_API uint64_t parley_client_session_id(struct parley_client *client);

/*
 * For the program's own loop: a descriptor to wait on until it is readable, then call
 * parley_client_process with 0. It stays the same and takes care of time too. -1: own_thread.
 */
PARLEY_API int parley_client_fd(const struct parley_client *client);
/* Waits at most timeout_ms (negative: no limit) for something to come, and does it, callbacks too.
 * PARLEY_CLOSED: the client has ended, nothing more will come. */
PARLEY_API enum parley_code parley_client_process(struct parley_client *client, int timeout_ms);

/* ---- Publish and subscribe ---- */

enum parley_match { PARLEY_EXACT, PARLEY_PREFIX, PARLEY_WILDCARD };

struct parley_subscribe_options {
    size_t size;
    enum parley_match match; /* WILDCARD: empty components match any one: "plant..temp" */
    bool get_retained;       /* what is retained comes first, as an event */
    const char *more;        /* a JSON object, added to the request's Options */
};
#define PARLEY_SUBSCRIBE_OPTIONS                                                                   \
    {                                                                                              \
        .size = sizeof(struct parley_subscribe_options)                                            \
    }

/*
 * on_event gets each event, until the subscription ends. on_done (may be NULL) gets the answer, and
 * once more if the subscription ends otherwise than by parley_unsubscribe: revoked, refused after a
 * reconnect, the client ended. Both get context.
 *
 * May be called before the session is there; with `reconnect` it outlives sessions. The id is the
 * client's own, and stays. options may be NULL. PARLEY_CLOSED: the client has ended.
 */
PARLEY_API enum parley_code parley_subscribe(struct parley_client *client, const char *topic,
    const struct parley_subscribe_options *options, parley_message_fn *on_event,
    parley_message_fn *on_done, void *context, uint64_t *out_id);
/* After on_done (may be NULL) no on_event comes any more. PARLEY_NOT_FOUND: it has ended. */
PARLEY_API enum parley_code parley_unsubscribe(
    struct parley_client *client, uint64_t id, parley_message_fn *on_done, void *context);

struct parley_publish_options {
    size_t size;
    bool include_me;  /* to this client's own subscriptions too */
    bool retain;      /* kept for later subscribers */
    bool disclose_me; /* subscribers are told who published */
    const char *more; /* a JSON object, added to the Options: {"exclude_authrole": ["guest"]} */
};
#define PARLEY_PUBLISH_OPTIONS                                                                     \
    {                                                                                              \
        .size = sizeof(struct parley_publish_options)                                              \
    }

/*
 * args is taken over, and may be NULL. on_done: acknowledged, and it gets the answer; NULL: not.
 * PARLEY_CLOSED: there is no session now, nothing was sent. PARLEY_FULL, PARLEY_TOO_LARGE.
 */
PARLEY_API enum parley_code parley_publish(struct parley_client *client, const char *topic,
    struct parley_args *args, const struct parley_publish_options *options,
    parley_message_fn *on_done, void *context);

/* ---- Calls ---- */

struct parley_call_options {
    size_t size;
    uint32_t timeout_ms;   /* of the whole call; 0: the router's. Ends with wamp.error.timeout, or
                              PARLEY_TIMEOUT if the router does not answer in time at all */
    bool receive_progress; /* results may come in parts: on_result, parley_message_is_progress */
    bool send_progress;    /* the arguments come in parts: parley_call_more */
    bool disclose_me;      /* the callee is told who calls */
    const char *more;      /* a JSON object, added to the Options */
};
#define PARLEY_CALL_OPTIONS                                                                        \
    {                                                                                              \
        .size = sizeof(struct parley_call_options)                                                 \
    }

/*
 * args is taken over, and may be NULL. After PARLEY_OK on_result gets parts, if they were asked
 * for, and exactly one end: PARLEY_OK with the result, PARLEY_ERROR, PARLEY_TIMEOUT or
 * PARLEY_CLOSED. PARLEY_CLOSED: there is no session now, nothing was sent. PARLEY_FULL,
 * PARLEY_TOO_LARGE.
 */
PARLEY_API enum parley_code parley_call(struct parley_client *client, const char *procedure,
    struct parley_args *args, const struct parley_call_options *options,
    parley_message_fn *on_result, void *context, uint64_t *out_id);
/* The next part of the arguments of a call with send_progress. PARLEY_NOT_FOUND: it has ended. */
PARLEY_API enum parley_code parley_call_more(
    struct parley_client *client, uint64_t call, struct parley_args *args, bool is_last);

/* SKIP: its result is not waited for. KILL: the callee is to end it, and how is what is told.
 * KILL_NO_WAIT: the callee is to end it, and it is over. */
enum parley_cancel_mode { PARLEY_KILL_NO_WAIT, PARLEY_KILL, PARLEY_SKIP };

/* on_result still gets its end: mostly wamp.error.canceled. Of a call that has ended: PARLEY_OK. */
PARLEY_API enum parley_code parley_cancel(
    struct parley_client *client, uint64_t call, enum parley_cancel_mode mode);

/* ---- Answering calls ---- */

/* A call that a client of this process answers. The program's until it has answered. */
struct parley_invocation;

typedef void parley_call_fn(
    struct parley_client *client, struct parley_invocation *invocation, void *context);

enum parley_invoke { PARLEY_SINGLE, PARLEY_ROUND_ROBIN, PARLEY_RANDOM, PARLEY_FIRST, PARLEY_LAST };

struct parley_register_options {
    size_t size;
    enum parley_match match;
    enum parley_invoke invoke; /* how several callees share the procedure */
    uint32_t concurrency;      /* calls at a time; 0: no limit */
    bool force;                /* takes the procedure over from another callee */
    const char *more;          /* a JSON object, added to the Options */
};
#define PARLEY_REGISTER_OPTIONS                                                                    \
    {                                                                                              \
        .size = sizeof(struct parley_register_options)                                             \
    }

/*
 * on_call gets each call, and answers it with parley_result or parley_fail, at once or at any later
 * time from any thread. Everything else is as with parley_subscribe.
 */
PARLEY_API enum parley_code parley_register(struct parley_client *client, const char *procedure,
    const struct parley_register_options *options, parley_call_fn *on_call,
    parley_message_fn *on_done, void *context, uint64_t *out_id);
/* After on_done (may be NULL) no on_call comes any more. PARLEY_NOT_FOUND: it has ended. */
PARLEY_API enum parley_code parley_unregister(
    struct parley_client *client, uint64_t id, parley_message_fn *on_done, void *context);

/*
 * What was asked. Lives until the invocation is answered. If the caller sends its arguments in
 * parts (parley_message_is_progress), on_call comes again for each with the same invocation, and
 * the message of before is gone.
 */
PARLEY_API const struct parley_message *parley_invocation_message(
    const struct parley_invocation *invocation);
/* Does the caller want parts of the result? Without, parley_progress does nothing. */
PARLEY_API bool parley_invocation_wants_progress(const struct parley_invocation *invocation);
/* The program's own pointer; NULL at first. */
PARLEY_API void parley_invocation_set_context(struct parley_invocation *invocation, void *context);
PARLEY_API void *parley_invocation_context(const struct parley_invocation *invocation);
/* The caller has canceled, its time is over, or the session is gone: an answer does no harm. */
PARLEY_API bool parley_invocation_is_canceled(const struct parley_invocation *invocation);
/* on_cancel is a callback, at most one, and not after the answer. At once if it is canceled
 * already. */
PARLEY_API void parley_invocation_on_cancel(struct parley_invocation *invocation,
    void (*on_cancel)(struct parley_invocation *invocation, void *context), void *context);

/* A part of the result. args is taken over. PARLEY_CLOSED: nobody waits any more. */
PARLEY_API enum parley_code parley_progress(
    struct parley_invocation *invocation, struct parley_args *args);
/* The answer. Frees the invocation, and takes args over, whatever it returns: PARLEY_CLOSED,
 * PARLEY_NO_MEMORY, PARLEY_TOO_LARGE (the caller gets an error then) or PARLEY_INVALID (the same).
 */
PARLEY_API enum parley_code parley_result(
    struct parley_invocation *invocation_moved, struct parley_args *args);
/* The same with an error: a URI such as "com.example.error.too_hot". */
PARLEY_API enum parley_code parley_fail(
    struct parley_invocation *invocation_moved, const char *error, struct parley_args *args);

/* ---- Functions that wait ---- */

/*
 * The same as those above, but they wait for the answer, callbacks running meanwhile, and return
 * what it says. timeout_ms negative: no limit. out_message (may be NULL): the answer, to be freed
 * with parley_message_free; also after PARLEY_ERROR, else NULL. PARLEY_TIMEOUT: a call was canceled
 * then; a subscription or registration is taken back. PARLEY_BUSY: called from a callback.
 */
PARLEY_API enum parley_code parley_subscribe_wait(struct parley_client *client, const char *topic,
    const struct parley_subscribe_options *options, parley_message_fn *on_event, void *context,
    int timeout_ms, uint64_t *out_id, struct parley_message **out_message);
PARLEY_API enum parley_code parley_unsubscribe_wait(
    struct parley_client *client, uint64_t id, int timeout_ms);
PARLEY_API enum parley_code parley_publish_wait(struct parley_client *client, const char *topic,
    struct parley_args *args, const struct parley_publish_options *options, int timeout_ms,
    struct parley_message **out_message);
/* on_progress may be NULL; it gets parts if options ask for them. */
PARLEY_API enum parley_code parley_call_wait(struct parley_client *client, const char *procedure,
    struct parley_args *args, const struct parley_call_options *options,
    parley_message_fn *on_progress, void *context, int timeout_ms,
    struct parley_message **out_message);
PARLEY_API enum parley_code parley_register_wait(struct parley_client *client,
    const char *procedure, const struct parley_register_options *options, parley_call_fn *on_call,
    void *context, int timeout_ms, uint64_t *out_id, struct parley_message **out_message);
PARLEY_API enum parley_code parley_unregister_wait(
    struct parley_client *client, uint64_t id, int timeout_ms);

/* ---- A router in this process ---- */

/*
 * A whole Parley server inside the program: every protocol on its listeners, or none, and sessions
 * of this process, which are clients with options.router instead of a URL:
 *
 *     struct parley_router_options router_options = PARLEY_ROUTER_OPTIONS;
 *     router_options.config = "listeners: [{name: ws, port: 8080, protocols: [wamp],"
 *                             " websocket: true}]";
 *     parley_router_new(&router_options, &router, error, sizeof error);
 *     client_options.router = router;
 *
 * These have the role `trusted`, which may do everything, unless local_login says that they log in
 * as others do. Who may come in by a listener, and do what, a procedure that such a session
 * registers can decide: the configuration names it (wamp.authenticator; a role's authorizer).
 *
 * It runs on threads of its own, which take no signal of the program, and logs to stderr as the
 * configuration says (log.level).
 */
struct parley_router_options {
    size_t size;
    const char *config;      /* a YAML text; NULL: config_file */
    const char *config_file; /* NULL: the defaults, which listen on 1883, 4222, 8080, 8081, 8443 */
    const char *const *sets; /* "limits.payload=1M": instead of what the configuration says */
    size_t set_count;
    bool no_listeners; /* nobody comes in from outside, whatever the configuration says */
    bool local_login;  /* sessions of this process log in as others do */
};
#define PARLEY_ROUTER_OPTIONS                                                                      \
    {                                                                                              \
        .size = sizeof(struct parley_router_options)                                               \
    }

/*
 * Starts it. options may be NULL: the defaults. PARLEY_CONFIG: the configuration is wrong;
 * PARLEY_IO: a port is in use, or a file cannot be read. error (may be NULL) gets one line that
 * says why, empty after PARLEY_OK.
 */
PARLEY_API PARLEY_MUST_USE enum parley_code parley_router_new(
    const struct parley_router_options *options, struct parley_router **out_router, char *error,
    size_t error_size);
/* The TCP port of the listener of that name, of one that was to have a free one (port: 0) too; 0:
 * there is no such listener. Any thread. */
PARLEY_API uint16_t parley_router_port(struct parley_router *router, const char *listener);
/* Says goodbye to all clients, waits for them as long as drain.timeout says, ends its threads, and
 * frees. The clients of this process that were made with it are freed before. Accepts NULL. */
PARLEY_API void parley_router_free(struct parley_router *router);

#ifdef __cplusplus
}
#endif

#endif
