/* Commands about the connection itself: HELLO, AUTH, RESET, PING and the like. */
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_info.h"
#include "protocols/redis/redis_session.h"

const char pl_redis_hello_first[] =
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    "AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol "
    "version at the same time";

void pl_redis_on_auth(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    if (request->count > 3) {
        pl_redis_reply_error(link, "ERR syntax error");
        return;
    }
    link->is_password_only = request->count == 2;
    struct pl_credentials shown = {
        .has_user = !link->is_password_only,
        .has_password = true,
        .password = request->args[request->count - 1],
    };
    if (shown.has_user)
        shown.user = request->args[1];
    pl_redis_log_in(link, &shown, PL_REDIS_LOGIN_AUTH);
}

bool pl_redis_is_label(struct pl_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '!' || text.data[i] > '~')
            return false;
    return true;
}

void pl_redis_hello_done(struct pl_redis_link *link)
{
    if (link->hello_name) {
        pl_redis_card_set(link->card, &link->card->name, link->hello_name);
        link->hello_name = NULL;
    }
    link->resp = link->hello_resp;
    atomic_store_explicit(&link->card->resp, link->resp, memory_order_relaxed);
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_map(w, link->resp, 7);
    pl_resp_write_bulk_text(w, "server");
    pl_resp_write_bulk_text(w, "redis");
    pl_resp_write_bulk_text(w, "version");
    pl_resp_write_bulk_text(w, PL_REDIS_VERSION);
    pl_resp_write_bulk_text(w, "proto");
    pl_resp_write_integer(w, link->resp);
    pl_resp_write_bulk_text(w, "id");
    pl_resp_write_integer(w, (int64_t)link->card->id);
    pl_resp_write_bulk_text(w, "mode");
    pl_resp_write_bulk_text(w, "standalone");
    pl_resp_write_bulk_text(w, "role");
    pl_resp_write_bulk_text(w, "master");
    pl_resp_write_bulk_text(w, "modules");
    pl_resp_write_array(w, 0);
    pl_redis_replied(link);
    pl_redis_switch_pushes(link);
}

struct hello {
    int64_t version;
    struct pl_bytes user, password, name;
    bool has_login, has_name;
};

/* False: it was answered with an error. */
static bool parse_hello(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct hello *out)
{
    struct pl_resp_args args = pl_resp_args(request, 1);
    struct pl_bytes arg;
    if (!pl_resp_next(&args, &arg))
        return true;
    if (pl_resp_parse_integer(arg, &out->version)) {
        pl_redis_reply_error(link, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (out->version < 2 || out->version > 3) {
        pl_redis_reply_error(link, "NOPROTO unsupported protocol version");
        return false;
    }
    while (pl_resp_next(&args, &arg)) {
        uint32_t left = request->count - args.index;
        if (left >= 2 && pl_bytes_equal_nocase(arg, PL_BYTES("auth"))) {
            out->has_login = pl_resp_next(&args, &out->user) && pl_resp_next(&args, &out->password);
        } else if (left && pl_bytes_equal_nocase(arg, PL_BYTES("setname"))) {
            out->has_name = pl_resp_next(&args, &out->name);
        } else {
            pl_redis_reply_error(link, "ERR Syntax error in HELLO option '%.*s'",
                (int)(arg.len < 128 ? arg.len : 128), arg.data);
            return false;
        }
    }
    if (out->has_name && !pl_redis_is_label(out->name)) {
        pl_redis_reply_error(
            link, "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    return true;
}

void pl_redis_on_hello(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    struct hello hello = {.version = link->resp};
    if (!parse_hello(link, request, &hello))
        return;
    bool may_log_in = !link->base.config->requires_login && !link->is_refused;
    if (!hello.has_login && !link->session && !may_log_in) {
        pl_redis_reply_error(link, "%s", pl_redis_hello_first);
        return;
    }
    link->hello_resp = (uint8_t)hello.version;
    if (hello.has_name) {
        link->hello_name = pl_redis_text_new(hello.name);
        if (!link->hello_name) {
            pl_redis_close(link, PL_NO_MEMORY, NULL);
            return;
        }
    }
    struct pl_credentials shown = {
        .has_user = hello.has_login,
        .has_password = hello.has_login,
        .user = hello.user,
        .password = hello.password,
    };
    if (hello.has_login)
        pl_redis_log_in(link, &shown, PL_REDIS_LOGIN_HELLO);
    else if (!link->session)
        pl_redis_log_in(link, &shown, PL_REDIS_LOGIN_HELLO_ANONYMOUS);
    else
        pl_redis_hello_done(link);
}

void pl_redis_on_ping(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    if (request->count > 2) {
        pl_redis_reply_error(link, "ERR wrong number of arguments for 'ping' command");
        return;
    }
    struct pl_writer *w = pl_redis_reply(link);
    if (link->resp == 2 && pl_redis_is_subscribed(link)) {
        pl_resp_write_array(w, 2);
        pl_resp_write_bulk_text(w, "pong");
        pl_resp_write_bulk(w, request->count > 1 ? request->args[1] : PL_NO_BYTES);
    } else if (request->count > 1) {
        pl_resp_write_bulk(w, request->args[1]);
    } else {
        pl_resp_write_status(w, "PONG");
    }
    pl_redis_replied(link);
}

void pl_redis_on_echo(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    pl_resp_write_bulk(pl_redis_reply(link), request->args[1]);
    pl_redis_replied(link);
}

void pl_redis_on_select(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    int64_t index = 0;
    if (pl_resp_parse_integer(request->args[1], &index) || index > INT32_MAX || index < INT32_MIN)
        pl_redis_reply_error(link, "ERR value is not an integer or out of range");
    else if (index)
        pl_redis_reply_error(link, "ERR DB index is out of range");
    else
        pl_redis_reply_ok(link);
}

void pl_redis_on_quit(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    pl_redis_reply_ok(link);
    pl_redis_close(link, PL_OK, NULL);
}

void pl_redis_on_reset(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    struct pl_redis_card *card = link->card;
    pl_redis_discard(link);
    link->is_silent = link->skips = link->skips_next = false;
    link->is_refused = false;
    link->resp = link->push_resp = 2;
    pl_redis_card_set(card, &card->name, NULL);
    atomic_store_explicit(&card->resp, 2, memory_order_relaxed);
    for (int kind = 0; kind < PL_REDIS_KIND_COUNT; kind++) {
        link->subs[kind] = 0;
        atomic_store_explicit(&card->subs[kind], 0, memory_order_relaxed);
    }
    pl_resp_write_status(pl_redis_push(link), "RESET");
    if (link->session) {
        /* What is still on its way to the old subscriptions comes before the reply. */
        pl_redis_pushed_after(link, 1);
        pl_redis_leave(link, true);
    } else {
        pl_redis_pushed(link);
    }
}
