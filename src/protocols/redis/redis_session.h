/*
 * What the files of this folder share: a connection, its session in the realm, and the replies that
 * wait for their turn.
 *
 *     pl_redis_link      one connection; everything about it belongs to its reactor
 *     pl_redis_session   whom it speaks for in a realm: made by a login, another one after AUTH or
 *                        RESET; ends when the core says so
 *     pl_redis_card      what other connections may read of it (CLIENT LIST), counted
 *
 * Replies leave in the order of the requests, but PUBLISH and SUBSCRIBE are answered by the core at
 * the end of the turn. So a reply that follows one of those is held in `answers` until it is the
 * first. A command writes its reply by
 *
 *     struct pl_writer *w = pl_redis_reply(link);
 *     pl_resp_write_status(w, "OK");
 *     pl_redis_replied(link);
 */
#ifndef PL_PROTOCOLS_REDIS_REDIS_SESSION_H
#define PL_PROTOCOLS_REDIS_REDIS_SESSION_H

#include <pthread.h>

#include "base/heap.h"
#include "protocols/protocol.h"
#include "protocols/redis/redis_packet.h"

struct pl_redis_command;
struct pl_redis_session;

/* A channel, a pattern or a shard channel. The order is that of PL_REDIS_FORM_… */
enum pl_redis_kind { PL_REDIS_CHANNEL, PL_REDIS_PATTERN, PL_REDIS_SHARD, PL_REDIS_KIND_COUNT };

struct pl_redis_subscription {
    struct pl_subscription core;
    struct pl_map_entry entry; /* in its session's map of its kind; key: name->text */
    struct pl_pattern *name;   /* one reference of our own */
    struct pl_redis_subscription
        *next;                         /* while SUBSCRIBE is checked, or in its session's `going` */
    bool is_listed;                    /* stands in the map: wanted */
    struct pl_redis_subscription **at; /* who points to it in `going`; NULL: not there */
};

/* What CLIENT LIST tells of a connection. Read by any thread while its session is in the realm. */
struct pl_redis_card {
    atomic_uint refs;
    uint64_t id, opened_ms;                             /* constant */
    char address[64];                                   /* constant */
    char local[96];                                     /* constant */
    pthread_mutex_t lock;                               /* guards the three texts */
    struct pl_shared *name, *library, *library_version; /* NULL: none */
    /* Written by the connection's reactor without order. */
    _Atomic uint64_t active_ms;
    _Atomic(const struct pl_redis_command *) command; /* the last one */
    _Atomic uint32_t subs[PL_REDIS_KIND_COUNT];
    _Atomic int32_t queued; /* commands in MULTI; -1: none is open */
    _Atomic uint8_t resp;
    _Atomic bool no_evict, no_touch;
};

struct pl_redis_session {
    struct pl_session core;
    struct pl_redis_link *link; /* NULL: the connection is gone */
    struct pl_redis_card *card; /* one reference */
    struct pl_map subs[PL_REDIS_KIND_COUNT];
    struct pl_redis_subscription *going; /* the core was told to let go of these */
    bool is_answered;                    /* its leaving answers a RESET */
};

/* What a completion answers. */
enum pl_redis_token { PL_REDIS_QUIET, PL_REDIS_ANSWERS };

enum pl_redis_open {
    PL_REDIS_OPEN_PUBLISH, /* `count` publications in a row, each a number or an error */
    PL_REDIS_OPEN_SILENT,  /* the same, not answered: what follows waits for it all the same */
    PL_REDIS_OPEN_AWAIT,   /* `len` bytes that leave when `count` completions came well */
    PL_REDIS_OPEN_TEXT,    /* `len` bytes that are ready */
    PL_REDIS_OPEN_RESP,    /* pushes have the RESP version `count` from here on */
    PL_REDIS_OPEN_GROUP,   /* what follows leaves as one piece: EXEC */
    PL_REDIS_OPEN_GROUP_END,
    PL_REDIS_OPEN_CLOSE, /* the connection ends when this is the first */
};

struct pl_redis_entry {
    uint8_t kind; /* enum pl_redis_open */
    uint32_t count;
    size_t len;
};

/* Replies that wait, oldest first. Owned by the link. */
struct pl_redis_answers {
    struct pl_redis_entry *entries; /* owned */
    uint32_t head, count, cap;      /* entries[head .. count) */
    struct pl_writer held;          /* their bytes, one behind the other */
    size_t held_at;                 /* the first one's begin here */
    struct pl_writer group;         /* an EXEC's replies while it is the first */
    bool is_grouping;
};

/* Commands between MULTI and EXEC, as they came. */
struct pl_redis_transaction {
    struct pl_writer commands;
    uint32_t count;
    bool is_open, is_aborted;
};

enum pl_redis_login {
    PL_REDIS_LOGIN_NONE,
    PL_REDIS_LOGIN_FIRST,           /* anonymous, before a command that needs it */
    PL_REDIS_LOGIN_HELLO_ANONYMOUS, /* the same before HELLO without AUTH */
    PL_REDIS_LOGIN_AUTH,
    PL_REDIS_LOGIN_HELLO,
};

struct pl_redis_link {
    struct pl_link base;
    struct pl_redis_session *session;       /* joined; NULL: nobody yet */
    struct pl_redis_session *candidate;     /* is logging in or joining */
    struct pl_redis_session *leaving;       /* on its way out, still delivered to */
    struct pl_redis_card *card;             /* one reference */
    const struct pl_redis_command *command; /* the last one that was looked up in the table */
    uint8_t typed[16];                      /* and how it was typed */
    uint8_t typed_len;
    struct pl_resp_scan scan;
    struct pl_redis_answers answers;
    struct pl_redis_transaction transaction;
    struct pl_writer reply; /* the one that is being written */
    size_t reply_at;        /* where it begins in `held` */
    uint32_t subs[PL_REDIS_KIND_COUNT];
    uint8_t resp;      /* 2 or 3: of replies that are written now */
    uint8_t push_resp; /* of deliveries: follows when the reply to HELLO has left */
    uint8_t login;     /* enum pl_redis_login: what `candidate` is for */
    uint8_t hello_resp;
    struct pl_shared *hello_name; /* HELLO … AUTH … SETNAME; NULL: not given */
    bool is_password_only;        /* AUTH with one argument */
    bool is_refused;              /* the anonymous login was refused */
    bool is_silent;               /* CLIENT REPLY OFF */
    bool skips;                   /* CLIENT REPLY SKIP: this command is not answered */
    bool skips_next;
    bool is_done;   /* takes no further input */
    bool is_broken; /* closed without the replies that were open */
    enum pl_err close_why;
    struct pl_diag close_diag;
};

extern const struct pl_session_ops pl_redis_session_ops;

/* CLIENT REPLY: the running command is not answered. */
static inline bool pl_redis_is_silenced(const struct pl_redis_link *link)
{
    return link->is_silent || link->skips;
}

static inline struct pl_redis_link *pl_redis_link_of(struct pl_link *link)
{
    return PL_CONTAINER(link, struct pl_redis_link, base);
}

static inline struct pl_redis_session *pl_redis_session_of(struct pl_session *session)
{
    return PL_CONTAINER(session, struct pl_redis_session, core);
}

/* redis_answers.c */

/* Where the reply to the running command goes; nothing else is appended until pl_redis_replied. */
struct pl_writer *pl_redis_reply(struct pl_redis_link *link);
void pl_redis_replied(struct pl_redis_link *link);
/* The same for what CLIENT REPLY OFF does not silence: answers to SUBSCRIBE and its kin. */
struct pl_writer *pl_redis_push(struct pl_redis_link *link);
void pl_redis_pushed(struct pl_redis_link *link);
/* Like pl_redis_pushed, but it leaves after `count` completions with PL_REDIS_ANSWERS. */
void pl_redis_pushed_after(struct pl_redis_link *link, uint32_t count);
void pl_redis_reply_error(struct pl_redis_link *link, const char *format, ...) PL_PRINTF(2, 3);
void pl_redis_reply_ok(struct pl_redis_link *link);
/* An array of status lines; ends with NULL. */
void pl_redis_reply_help(struct pl_redis_link *link, const char *const *lines);
/* A publication that will be completed with PL_REDIS_ANSWERS; kind: PUBLISH or SILENT. */
void pl_redis_expect_publish(struct pl_redis_link *link, enum pl_redis_open kind);
/* Around the replies of EXEC. */
void pl_redis_group(struct pl_redis_link *link, enum pl_redis_open begin_or_end);
/* Deliveries have the link's RESP version from here on. */
void pl_redis_switch_pushes(struct pl_redis_link *link);
/* Ends the connection when all replies before have left. Takes no more input. */
void pl_redis_close(struct pl_redis_link *link, enum pl_err why, const char *text);
/* A completion with PL_REDIS_ANSWERS has come. */
void pl_redis_answered(struct pl_redis_link *link, const struct pl_completion *done);
/* Ends the connection if more replies wait for the peer to read them than may. False: it did. */
bool pl_redis_check_unread(struct pl_redis_link *link);
void pl_redis_answers_done(struct pl_redis_link *link);

/* redis_session.c */

/* Runs one request; false: it must wait for a login that was begun, and comes again. */
bool pl_redis_run(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer);
/* Begins a login with these credentials; the link takes no input until it is answered. */
void pl_redis_log_in(
    struct pl_redis_link *link, const struct pl_credentials *shown, enum pl_redis_login kind);
/* Lets the session go: RESET and a login as someone else. */
void pl_redis_leave(struct pl_redis_link *link, bool is_answered);

/* redis_card.c: what others see of a connection, and CLIENT's texts */

struct pl_redis_card *pl_redis_card_new(const struct pl_redis_link *link);
struct pl_redis_card *pl_redis_card_ref(struct pl_redis_card *card);
struct pl_redis_card *pl_redis_card_unref(struct pl_redis_card *card);
/* Replaces one of the card's texts; the reference is the card's from now on. */
void pl_redis_card_set(
    struct pl_redis_card *card, struct pl_shared **text, struct pl_shared *moved);
/* A counted copy; NULL: no memory. */
PL_MUST_USE struct pl_shared *pl_redis_text_new(struct pl_bytes text);

/* redis_publish.c: forgets the open transaction, if there is one */
void pl_redis_discard(struct pl_redis_link *link);

/* redis_pubsub.c */

/* Unsubscribes from what this identity may not have; NULL: from everything. The peer is told as if
 * it had asked. */
void pl_redis_review_subscriptions(struct pl_redis_link *link, const struct pl_identity *identity);
void pl_redis_subscription_free(struct pl_redis_subscription *sub);
/* SUBSCRIBE was refused by the core, UNSUBSCRIBE is done. */
void pl_redis_on_subscribed(struct pl_redis_session *s, const struct pl_completion *done);
void pl_redis_on_unsubscribed(const struct pl_completion *done);
void pl_redis_subscriptions_free(struct pl_redis_session *s);
/* Any subscription: RESP2 takes few commands then. */
static inline bool pl_redis_is_subscribed(const struct pl_redis_link *link)
{
    return link->subs[0] || link->subs[1] || link->subs[2];
}

/* redis_active.c: how many different channels, patterns or shard channels are subscribed */
PL_MUST_USE enum pl_err pl_redis_count_active(
    struct pl_redis_link *link, enum pl_redis_kind kind, uint64_t *out_count);

/* Redis' NOPERM for a channel. */
extern const char pl_redis_no_permission[];

/* redis_connection.c: the answer to HELLO, also when it waited for a login */
/* What HELLO tells someone who must log in. */
extern const char pl_redis_hello_first[];
void pl_redis_hello_done(struct pl_redis_link *link);
/* A name, or library name, may hold printable ASCII without spaces. */
bool pl_redis_is_label(struct pl_bytes text);

/* redis_translate.c */

/* The wire form of a subscription (pl_subscription.form). */
uint64_t pl_redis_form(enum pl_redis_kind kind, unsigned resp, struct pl_bytes name);
enum pl_redis_kind pl_redis_form_kind(uint64_t form);
enum pl_err pl_redis_encode(const struct pl_subscription *sub, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w);
void pl_redis_deliver(
    struct pl_session *session, struct pl_subscription *sub, const struct pl_run *run);

#endif
