/*
 * CLIENT: about this connection, and about others.
 *
 * Others are those of this realm that speak Redis, and of them only those that the asker may know:
 * its own user's; all of them if it may publish and subscribe everything (as the default user of a
 * redis-server without ACLs may).
 */
#include <stdio.h>

#include "base/alloc.h"
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_session.h"

enum { USER_TOLD_MAX = 64, LABEL_MAX = 256, LINE_MAX_BYTES = 1024 + 3 * LABEL_MAX };

enum client_type { TYPE_ANY, TYPE_NORMAL, TYPE_PUBSUB, TYPE_OTHER };

/* One connection of the list. */
struct client {
    struct pl_redis_card *card; /* one reference */
    char user[USER_TOLD_MAX];
};

static uint32_t subs_of(const struct pl_redis_card *card, enum pl_redis_kind kind)
{
    return atomic_load_explicit(&card->subs[kind], memory_order_relaxed);
}

static bool is_subscriber(const struct pl_redis_card *card)
{
    return subs_of(card, PL_REDIS_CHANNEL) || subs_of(card, PL_REDIS_PATTERN) ||
           subs_of(card, PL_REDIS_SHARD);
}

static bool has_type(const struct pl_redis_card *card, enum client_type type)
{
    switch (type) {
    case TYPE_ANY:
        return true;
    case TYPE_NORMAL:
        return !is_subscriber(card);
    case TYPE_PUBSUB:
        return is_subscriber(card);
    case TYPE_OTHER:
        return false;
    }
    return false;
}

static bool parse_type(struct pl_bytes word, enum client_type *out)
{
    if (pl_bytes_equal_nocase(word, PL_BYTES("normal")))
        *out = TYPE_NORMAL;
    else if (pl_bytes_equal_nocase(word, PL_BYTES("pubsub")))
        *out = TYPE_PUBSUB;
    else if (pl_bytes_equal_nocase(word, PL_BYTES("master")) ||
             pl_bytes_equal_nocase(word, PL_BYTES("replica")) ||
             pl_bytes_equal_nocase(word, PL_BYTES("slave")))
        *out = TYPE_OTHER;
    else
        return false;
    return true;
}

static void reply_unknown_type(struct pl_redis_link *link, struct pl_bytes word)
{
    pl_redis_reply_error(
        link, "ERR Unknown client type '%.*s'", (int)(word.len < 128 ? word.len : 128), word.data);
}

static bool is_unrestricted(const struct pl_identity *identity)
{
    return identity->rights[PL_PUBLISH].allow_all && identity->rights[PL_SUBSCRIBE].allow_all;
}

/* May the asker know of this session? Under the realm's lock. */
static bool may_know(const struct pl_redis_link *asker, const struct pl_session *other)
{
    if (other->ops != &pl_redis_session_ops)
        return false;
    const struct pl_identity *mine = asker->session->core.identity;
    const struct pl_redis_session *s =
        (const struct pl_redis_session *)(const void *)((const char *)other -
                                                        offsetof(struct pl_redis_session, core));
    return s->card == asker->card || is_unrestricted(mine) ||
           (mine->user.len && pl_bytes_equal(mine->user, other->identity->user));
}

/* "anonymous" is called "default", as Redis calls whoever did not say. */
static void copy_user(const struct pl_identity *identity, char *out)
{
    struct pl_bytes user = identity->user;
    if (!user.len)
        user = PL_BYTES("default");
    size_t n = 0;
    for (; n < user.len && n + 1 < USER_TOLD_MAX; n++)
        out[n] = user.data[n] > ' ' && user.data[n] < 0x7F ? (char)user.data[n] : '?';
    out[n] = 0;
}

static void write_label(struct pl_writer *w, const char *key, struct pl_shared *label)
{
    pl_write_text(w, key);
    if (label)
        pl_write_bytes(w, pl_bytes_of(label->data, label->len));
}

static uint64_t seconds_since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
}

static void write_client(struct pl_writer *w, const struct client *client, uint64_t now_ms)
{
    struct pl_redis_card *card = client->card;
    char text[512];
    uint64_t active_ms = atomic_load_explicit(&card->active_ms, memory_order_relaxed);
    int32_t queued = atomic_load_explicit(&card->queued, memory_order_relaxed);
    bool no_evict = atomic_load_explicit(&card->no_evict, memory_order_relaxed);
    bool no_touch = atomic_load_explicit(&card->no_touch, memory_order_relaxed);
    char flags[8] = "";
    size_t n = 0;
    if (is_subscriber(card))
        flags[n++] = 'P';
    if (queued >= 0)
        flags[n++] = 'x';
    if (no_evict)
        flags[n++] = 'e';
    if (no_touch)
        flags[n++] = 'T';
    if (!n)
        flags[n++] = 'N';
    const struct pl_redis_command *command =
        atomic_load_explicit(&card->command, memory_order_relaxed);

    (void)snprintf(text, sizeof text, "id=%llu addr=%s laddr=%s fd=-1",
        (unsigned long long)card->id, card->address, card->local);
    pl_write_text(w, text);
    (void)pthread_mutex_lock(&card->lock);
    write_label(w, " name=", card->name);
    (void)snprintf(text, sizeof text,
        " age=%llu idle=%llu flags=%s db=0 sub=%u psub=%u ssub=%u multi=%d watch=0 qbuf=0 "
        "qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r "
        "cmd=%s user=%s redir=-1 resp=%u",
        (unsigned long long)seconds_since(now_ms, card->opened_ms),
        (unsigned long long)seconds_since(now_ms, active_ms), flags,
        subs_of(card, PL_REDIS_CHANNEL), subs_of(card, PL_REDIS_PATTERN),
        subs_of(card, PL_REDIS_SHARD), queued, command ? command->name : "NULL", client->user,
        atomic_load_explicit(&card->resp, memory_order_relaxed));
    pl_write_text(w, text);
    write_label(w, " lib-name=", card->library);
    write_label(w, " lib-ver=", card->library_version);
    (void)pthread_mutex_unlock(&card->lock);
    pl_write_text(w, "\n");
}

struct listing {
    struct pl_redis_link *asker;
    struct client *clients;
    size_t count, cap;
    bool is_full;
};

static void list_one(void *context, struct pl_session *session)
{
    struct listing *l = context;
    if (!may_know(l->asker, session))
        return;
    if (l->count == l->cap) {
        l->is_full = true;
        return;
    }
    struct client *client = &l->clients[l->count++];
    client->card = pl_redis_card_ref(pl_redis_session_of(session)->card);
    copy_user(session->identity, client->user);
}

static void listing_done(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        pl_redis_card_unref(l->clients[i].card);
    pl_free(l->clients);
    l->clients = NULL;
    l->count = 0;
}

static enum pl_err list_clients(struct pl_redis_link *link, struct listing *l)
{
    struct pl_realm *realm = link->session->core.realm;
    for (;;) {
        struct pl_realm_stats stats;
        pl_realm_stats(realm, &stats);
        *l = (struct listing){.asker = link, .cap = stats.sessions + stats.sessions / 8 + 16};
        l->clients = pl_alloc(l->cap * sizeof *l->clients);
        if (!l->clients)
            return PL_NO_MEMORY;
        pl_realm_each_session(realm, list_one, l);
        if (!l->is_full)
            return PL_OK;
        listing_done(l);
    }
}

/* Replies with what was written to `text`, which is used up. */
static void reply_text(struct pl_redis_link *link, struct pl_writer *text)
{
    struct pl_shared *whole = NULL;
    if (pl_writer_take(text, &whole)) {
        pl_redis_reply_error(link, "OOM command not allowed: out of memory");
        return;
    }
    pl_resp_write_verbatim(pl_redis_reply(link), link->resp, pl_bytes_of(whole->data, whole->len));
    pl_redis_replied(link);
    pl_shared_unref(whole);
}

static bool is_among(const struct pl_resp_request *request, uint64_t id)
{
    struct pl_resp_args args = pl_resp_args(request, 3);
    struct pl_bytes arg;
    int64_t asked = 0;
    while (pl_resp_next(&args, &arg))
        if (!pl_resp_parse_integer(arg, &asked) && asked > 0 && (uint64_t)asked == id)
            return true;
    return false;
}

/* The filter of CLIENT LIST; false: it was answered with an error. */
static bool parse_list(struct pl_redis_link *link, const struct pl_resp_request *request,
    enum client_type *out_type, bool *out_by_id)
{
    if (request->count == 2)
        return true;
    if (request->count == 4 && pl_bytes_equal_nocase(request->args[2], PL_BYTES("type"))) {
        if (parse_type(request->args[3], out_type))
            return true;
        reply_unknown_type(link, request->args[3]);
        return false;
    }
    if (request->count > 3 && pl_bytes_equal_nocase(request->args[2], PL_BYTES("id"))) {
        struct pl_resp_args args = pl_resp_args(request, 3);
        struct pl_bytes arg;
        int64_t id = 0;
        while (pl_resp_next(&args, &arg))
            if (pl_resp_parse_integer(arg, &id)) {
                pl_redis_reply_error(link, "ERR Invalid client ID");
                return false;
            }
        *out_by_id = true;
        return true;
    }
    pl_redis_reply_error(link, "ERR syntax error");
    return false;
}

void pl_redis_on_client_list(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    enum client_type type = TYPE_ANY;
    bool by_id = false;
    if (!parse_list(link, request, &type, &by_id))
        return;
    struct listing l;
    if (list_clients(link, &l)) {
        pl_redis_reply_error(link, "OOM command not allowed: out of memory");
        return;
    }
    struct pl_writer text = pl_writer_new();
    for (size_t i = 0; i < l.count; i++)
        if (has_type(l.clients[i].card, type) &&
            (!by_id || is_among(request, l.clients[i].card->id)))
            write_client(&text, &l.clients[i], link->base.worker->now_ms);
    listing_done(&l);
    reply_text(link, &text);
}

void pl_redis_on_client_info(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    struct client client = {.card = link->card};
    copy_user(link->session->core.identity, client.user);
    struct pl_writer text = pl_writer_new();
    write_client(&text, &client, link->base.worker->now_ms);
    reply_text(link, &text);
}

/* Whom CLIENT KILL means. */
struct kill {
    struct pl_redis_link *asker;
    struct pl_bytes address, local, user; /* data NULL: any */
    uint64_t id;                          /* 0: any */
    enum client_type type;
    bool spares_self, hits_self;
    uint32_t count;
};

static bool is_text(struct pl_bytes asked, const char *has)
{
    return !asked.data || pl_bytes_equal(asked, pl_bytes_text(has));
}

/* Under the realm's lock. The asker itself is counted, but ended by its own hand later. */
static bool choose(void *context, const struct pl_session *session)
{
    struct kill *k = context;
    if (!may_know(k->asker, session))
        return false;
    const struct pl_redis_card *card =
        ((const struct pl_redis_session *)(const void *)((const char *)session -
                                                         offsetof(struct pl_redis_session, core)))
            ->card;
    char user[USER_TOLD_MAX];
    copy_user(session->identity, user);
    if ((k->id && k->id != card->id) || !has_type(card, k->type) ||
        !is_text(k->address, card->address) || !is_text(k->local, card->local) ||
        !is_text(k->user, user))
        return false;
    bool is_self = card == k->asker->card;
    if (is_self && k->spares_self)
        return false;
    k->count++;
    k->hits_self |= is_self;
    return !is_self;
}

/* The filters of the new form; false: it was answered with an error. */
static bool parse_kill(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct kill *k)
{
    struct pl_resp_args args = pl_resp_args(request, 2);
    struct pl_bytes option, value;
    while (pl_resp_next(&args, &option)) {
        int64_t id = 0;
        if (!pl_resp_next(&args, &value))
            break;
        if (pl_bytes_equal_nocase(option, PL_BYTES("id"))) {
            if (pl_resp_parse_integer(value, &id) || id < 1) {
                pl_redis_reply_error(link, "ERR client-id should be greater than 0");
                return false;
            }
            k->id = (uint64_t)id;
        } else if (pl_bytes_equal_nocase(option, PL_BYTES("type"))) {
            if (!parse_type(value, &k->type)) {
                reply_unknown_type(link, value);
                return false;
            }
        } else if (pl_bytes_equal_nocase(option, PL_BYTES("addr"))) {
            k->address = value;
        } else if (pl_bytes_equal_nocase(option, PL_BYTES("laddr"))) {
            k->local = value;
        } else if (pl_bytes_equal_nocase(option, PL_BYTES("user"))) {
            k->user = value;
        } else if (pl_bytes_equal_nocase(option, PL_BYTES("skipme")) &&
                   (pl_bytes_equal_nocase(value, PL_BYTES("yes")) ||
                       pl_bytes_equal_nocase(value, PL_BYTES("no")))) {
            k->spares_self = pl_bytes_equal_nocase(value, PL_BYTES("yes"));
        } else {
            pl_redis_reply_error(link, "ERR syntax error");
            return false;
        }
    }
    if (request->count % 2) {
        pl_redis_reply_error(link, "ERR syntax error");
        return false;
    }
    return true;
}

void pl_redis_on_client_kill(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    struct kill k = {.asker = link, .spares_self = true};
    bool is_old_form = request->count == 3;
    if (is_old_form) {
        k.address = request->args[2];
        k.spares_self = false;
    } else if (!parse_kill(link, request, &k)) {
        return;
    }
    (void)pl_realm_end_sessions(
        link->session->core.realm, link->base.worker, choose, &k, PL_KICKED);
    if (is_old_form && !k.count) {
        pl_redis_reply_error(link, "ERR No such client");
    } else if (is_old_form) {
        pl_redis_reply_ok(link);
    } else {
        pl_resp_write_integer(pl_redis_reply(link), k.count);
        pl_redis_replied(link);
    }
    if (k.hits_self)
        pl_redis_close(link, PL_KICKED, NULL);
}

void pl_redis_on_client_id(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    pl_resp_write_integer(pl_redis_reply(link), (int64_t)link->card->id);
    pl_redis_replied(link);
}

void pl_redis_on_client_getname(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    const struct pl_shared *name = link->card->name; /* only this reactor changes it */
    struct pl_writer *w = pl_redis_reply(link);
    if (name)
        pl_resp_write_bulk(w, pl_bytes_of(name->data, name->len));
    else
        pl_resp_write_null(w, link->resp);
    pl_redis_replied(link);
}

/* Sets one of the card's labels; an empty one is none. what: of whom an error speaks. */
static void set_label(
    struct pl_redis_link *link, struct pl_shared **label, struct pl_bytes text, const char *what)
{
    if (!pl_redis_is_label(text)) {
        pl_redis_reply_error(
            link, "ERR %s cannot contain spaces, newlines or special characters.", what);
        return;
    }
    if (text.len > LABEL_MAX) {
        pl_redis_reply_error(link, "ERR %s cannot be longer than %d bytes", what, LABEL_MAX);
        return;
    }
    struct pl_shared *copy = text.len ? pl_redis_text_new(text) : NULL;
    if (text.len && !copy) {
        pl_redis_reply_error(link, "OOM command not allowed: out of memory");
        return;
    }
    pl_redis_card_set(link->card, label, copy);
    pl_redis_reply_ok(link);
}

void pl_redis_on_client_setname(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    set_label(link, &link->card->name, request->args[2], "Client names");
}

void pl_redis_on_client_setinfo(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    struct pl_bytes option = request->args[2];
    if (pl_bytes_equal_nocase(option, PL_BYTES("lib-name")))
        set_label(link, &link->card->library, request->args[3], "lib-name");
    else if (pl_bytes_equal_nocase(option, PL_BYTES("lib-ver")))
        set_label(link, &link->card->library_version, request->args[3], "lib-ver");
    else
        pl_redis_reply_error(link, "ERR Unrecognized option '%.*s'",
            (int)(option.len < 128 ? option.len : 128), option.data);
}

void pl_redis_on_client_reply(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    struct pl_bytes mode = request->args[2];
    if (pl_bytes_equal_nocase(mode, PL_BYTES("on"))) {
        link->is_silent = link->skips = false;
        pl_redis_reply_ok(link);
    } else if (pl_bytes_equal_nocase(mode, PL_BYTES("off"))) {
        link->is_silent = true;
    } else if (pl_bytes_equal_nocase(mode, PL_BYTES("skip"))) {
        link->skips_next = !link->is_silent;
    } else {
        pl_redis_reply_error(link, "ERR syntax error");
    }
}

/* ON or OFF; false: neither, and it was answered. */
static bool set_switch(struct pl_redis_link *link, struct pl_bytes word, _Atomic bool *to)
{
    bool is_on = pl_bytes_equal_nocase(word, PL_BYTES("on"));
    if (!is_on && !pl_bytes_equal_nocase(word, PL_BYTES("off"))) {
        pl_redis_reply_error(link, "ERR syntax error");
        return false;
    }
    atomic_store_explicit(to, is_on, memory_order_relaxed);
    pl_redis_reply_ok(link);
    return true;
}

void pl_redis_on_client_no_evict(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    (void)set_switch(link, request->args[2], &link->card->no_evict);
}

void pl_redis_on_client_no_touch(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    (void)set_switch(link, request->args[2], &link->card->no_touch);
}

void pl_redis_on_client_unblock(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    int64_t id = 0;
    if (request->count > 4)
        pl_redis_reply_error(link, "ERR syntax error");
    else if (request->count == 4 && !pl_bytes_equal_nocase(request->args[3], PL_BYTES("timeout")) &&
             !pl_bytes_equal_nocase(request->args[3], PL_BYTES("error")))
        pl_redis_reply_error(link, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    else if (pl_resp_parse_integer(request->args[2], &id))
        pl_redis_reply_error(link, "ERR value is not an integer or out of range");
    else {
        pl_resp_write_integer(pl_redis_reply(link), 0);
        pl_redis_replied(link);
    }
}

void pl_redis_on_client_pause(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    int64_t timeout_ms = 0;
    if (pl_resp_parse_integer(request->args[2], &timeout_ms))
        pl_redis_reply_error(link, "ERR timeout is not an integer or out of range");
    else if (timeout_ms < 0)
        pl_redis_reply_error(link, "ERR timeout is negative");
    else
        pl_redis_reply_error(link, "ERR CLIENT PAUSE is not supported");
}

void pl_redis_on_client_unpause(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    pl_redis_reply_ok(link);
}

void pl_redis_on_client_getredir(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    pl_resp_write_integer(pl_redis_reply(link), -1);
    pl_redis_replied(link);
}

void pl_redis_on_client_trackinginfo(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_map(w, link->resp, 3);
    pl_resp_write_bulk_text(w, "flags");
    pl_resp_write_set(w, link->resp, 1);
    pl_resp_write_bulk_text(w, "off");
    pl_resp_write_bulk_text(w, "redirect");
    pl_resp_write_integer(w, -1);
    pl_resp_write_bulk_text(w, "prefixes");
    pl_resp_write_array(w, 0);
    pl_redis_replied(link);
}

void pl_redis_on_client_help(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> ...]. Subcommands are:",
        "GETNAME",
        "    This connection's name.",
        "ID",
        "    This connection's id.",
        "INFO",
        "    What CLIENT LIST tells of this connection.",
        "KILL <ip:port>",
        "KILL (ID|TYPE|USER|ADDR|LADDR|SKIPME) <value> [...]",
        "    Closes the connections that all of these mean.",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> [...]]",
        "    The connections.",
        "NO-EVICT (ON|OFF)",
        "NO-TOUCH (ON|OFF)",
        "    Notes the wish; nothing is evicted or touched.",
        "REPLY (ON|OFF|SKIP)",
        "    Turns replies on or off, or skips the next one.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    The name and version of the client's library.",
        "SETNAME <name>",
        "    Names this connection.",
        "HELP",
        "    This text.",
        NULL,
    };
    pl_redis_reply_help(link, lines);
}
