/* PUBLISH and SPUBLISH, alone and between MULTI and EXEC. */
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_session.h"

/* Shard channels are the same subjects as channels, so both commands do the same. */
void pl_redis_on_publish(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    const struct pl_message draft = {.subject = request->args[1], .payload = request->args[2]};
    unsigned flags = 0;
    if (!pl_redis_is_silenced(link)) {
        pl_redis_expect_publish(link, PL_REDIS_OPEN_PUBLISH);
        flags = PL_WANT_DONE;
    } else if (pl_redis_is_subscribed(link)) {
        /* What it is delivered of it comes before the next reply. */
        pl_redis_expect_publish(link, PL_REDIS_OPEN_SILENT);
        flags = PL_WANT_DONE;
    }
    /* What went wrong comes with the completion, in its place among the replies. */
    (void)!pl_session_publish(&link->session->core, &draft, buffer, flags, PL_REDIS_ANSWERS);
}

void pl_redis_on_spublish(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    pl_redis_on_publish(link, request, buffer);
}

void pl_redis_on_multi(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    if (link->transaction.is_open) {
        pl_redis_reply_error(link, "ERR MULTI calls can not be nested");
        return;
    }
    link->transaction = (struct pl_redis_transaction){.is_open = true, .commands = pl_writer_new()};
    atomic_store_explicit(&link->card->queued, 0, memory_order_relaxed);
    pl_redis_reply_ok(link);
}

void pl_redis_discard(struct pl_redis_link *link)
{
    pl_shared_unref(link->transaction.commands.spill);
    link->transaction = (struct pl_redis_transaction){0};
    atomic_store_explicit(&link->card->queued, -1, memory_order_relaxed);
}

void pl_redis_on_discard(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    if (!link->transaction.is_open) {
        pl_redis_reply_error(link, "ERR DISCARD without MULTI");
        return;
    }
    pl_redis_discard(link);
    pl_redis_reply_ok(link);
}

/* Each was found to be right when it was queued. */
static void run_queued(struct pl_redis_link *link, struct pl_shared *commands)
{
    static const struct pl_resp_limits none = {
        .line_max = UINT32_MAX, .bulk_max = UINT32_MAX, .request_max = UINT32_MAX};
    struct pl_bytes rest = pl_bytes_of(commands->data, commands->len);
    while (rest.len && !link->is_done) {
        struct pl_resp_request request;
        struct pl_resp_scan scan = {0};
        struct pl_diag diag;
        size_t used = 0;
        if (pl_resp_decode(rest, &none, &scan, &request, &used, &diag))
            return;
        const struct pl_redis_command *command = pl_redis_find_command(request.args[0]);
        if (command->subcommands && request.count > 1)
            command = pl_redis_find_subcommand(command, request.args[1]);
        command->run(link, &request, commands);
        rest = pl_bytes_from(rest, used);
        if (!pl_redis_check_unread(link))
            return;
    }
}

void pl_redis_on_exec(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    struct pl_redis_transaction *t = &link->transaction;
    if (!t->is_open) {
        pl_redis_reply_error(link, "ERR EXEC without MULTI");
        return;
    }
    struct pl_shared *commands = NULL;
    uint32_t count = t->count;
    bool is_aborted = t->is_aborted || pl_writer_take(&t->commands, &commands) != PL_OK;
    pl_redis_discard(link);
    if (is_aborted) {
        pl_redis_reply_error(link, "EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    /* One piece: a delivery that comes before the last number is known must not stand inside. */
    pl_redis_group(link, PL_REDIS_OPEN_GROUP);
    pl_resp_write_array(pl_redis_reply(link), count);
    pl_redis_replied(link);
    run_queued(link, commands);
    pl_redis_group(link, PL_REDIS_OPEN_GROUP_END);
    pl_shared_unref(commands);
}

/* There are no keys, so what is watched never changes. */
void pl_redis_on_watch(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    if (link->transaction.is_open)
        pl_redis_reply_error(link, "ERR WATCH inside MULTI is not allowed");
    else
        pl_redis_reply_ok(link);
}

void pl_redis_on_unwatch(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    pl_redis_reply_ok(link);
}
