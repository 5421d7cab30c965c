#include "base/alloc.h"
#include "client/client.h"
#include "net/reactor.h"

static bool is_done(const void *waiter)
{
    return ((const struct pl_waiter *)waiter)->is_done;
}

/* A callback cannot wait for what only its own thread could bring. */
static bool may_wait(struct parley_client *c)
{
    pl_client_lock(c);
    bool is_runner = pl_client_is_runner(c);
    pl_client_unlock(c);
    return !is_runner;
}

static uint64_t end_of(int timeout_ms)
{
    return timeout_ms < 0 ? PL_NEVER : pl_clock_ms() + (uint64_t)timeout_ms;
}

static enum parley_code give(struct pl_waiter *waiter, struct parley_message **out)
{
    if (out)
        *out = waiter->message;
    else
        parley_message_free(waiter->message);
    return waiter->code;
}

/* Nobody waits any more: whatever still points to the waiter forgets it. Under the lock. */
static void forget_waiter(struct parley_client *c, struct pl_waiter *waiter)
{
    struct pl_map_entry *entry = NULL;
    while ((entry = pl_map_next(&c->requests, entry))) {
        struct pl_request *r = PL_CONTAINER(entry, struct pl_request, entry);
        if (r->waiter == waiter)
            r->waiter = NULL;
    }
    for (struct pl_request *r = c->ready; r; r = r->next) {
        if (r->waiter == waiter)
            r->waiter = NULL;
    }
    for (struct pl_handler *h = c->handlers; h; h = h->next) {
        if (h->waiter == waiter)
            h->waiter = NULL;
    }
}

/* PL_OK: it is done. Else nothing points to it any more. */
static enum parley_code await(struct parley_client *c, struct pl_waiter *waiter, uint64_t end_ms)
{
    pl_client_lock(c);
    bool done = pl_client_await(c, is_done, waiter, end_ms);
    if (!done)
        forget_waiter(c, waiter);
    pl_client_unlock(c);
    return done ? PARLEY_OK : PARLEY_TIMEOUT;
}

static enum parley_code refuse(
    struct parley_args *args, struct parley_message **out, enum parley_code code)
{
    parley_args_free(args);
    if (out)
        *out = NULL;
    return code;
}

/* what->waiter: the caller's own, empty. */
static enum parley_code add_and_wait(struct parley_client *c, const struct pl_handler_request *what,
    int timeout_ms, uint64_t *out_id, struct parley_message **out)
{
    struct pl_waiter *waiter = what->waiter;
    uint64_t id, end_ms = end_of(timeout_ms);
    if (!may_wait(c))
        return refuse(NULL, out, PARLEY_BUSY);
    enum parley_code code = pl_handler_add(c, what, &id);
    if (code)
        return refuse(NULL, out, code);
    code = await(c, waiter, end_ms);
    if (code) {
        uint32_t type = what->type == PL_WAMP_SUBSCRIBE ? PL_WAMP_UNSUBSCRIBE : PL_WAMP_UNREGISTER;
        (void)!pl_handler_remove(c, type, id, NULL, NULL, NULL); /* As good as it goes. */
        return refuse(NULL, out, code);
    }
    if (!waiter->code && out_id)
        *out_id = id;
    return give(waiter, out);
}

enum parley_code parley_subscribe_wait(struct parley_client *c, const char *topic,
    const struct parley_subscribe_options *options, parley_message_fn *on_event, void *context,
    int timeout_ms, uint64_t *out_id, struct parley_message **out)
{
    struct pl_waiter waiter = {0};
    const struct pl_handler_request what = {
        .type = PL_WAMP_SUBSCRIBE,
        .uri = topic,
        .subscribe = options,
        .on_event = on_event,
        .context = context,
        .waiter = &waiter,
    };
    return add_and_wait(c, &what, timeout_ms, out_id, out);
}

enum parley_code parley_register_wait(struct parley_client *c, const char *procedure,
    const struct parley_register_options *options, parley_call_fn *on_call, void *context,
    int timeout_ms, uint64_t *out_id, struct parley_message **out)
{
    struct pl_waiter waiter = {0};
    const struct pl_handler_request what = {
        .type = PL_WAMP_REGISTER,
        .uri = procedure,
        .registration = options,
        .on_call = on_call,
        .context = context,
        .waiter = &waiter,
    };
    return add_and_wait(c, &what, timeout_ms, out_id, out);
}

static enum parley_code remove_and_wait(
    struct parley_client *c, uint32_t type, uint64_t id, int timeout_ms)
{
    struct pl_waiter waiter = {0};
    uint64_t end_ms = end_of(timeout_ms);
    if (!may_wait(c))
        return PARLEY_BUSY;
    enum parley_code code = pl_handler_remove(c, type, id, NULL, NULL, &waiter);
    if (!code)
        code = await(c, &waiter, end_ms);
    return code ? code : give(&waiter, NULL);
}

enum parley_code parley_unsubscribe_wait(struct parley_client *c, uint64_t id, int timeout_ms)
{
    return remove_and_wait(c, PL_WAMP_UNSUBSCRIBE, id, timeout_ms);
}

enum parley_code parley_unregister_wait(struct parley_client *c, uint64_t id, int timeout_ms)
{
    return remove_and_wait(c, PL_WAMP_UNREGISTER, id, timeout_ms);
}

enum parley_code parley_publish_wait(struct parley_client *c, const char *topic,
    struct parley_args *args, const struct parley_publish_options *options, int timeout_ms,
    struct parley_message **out)
{
    struct pl_waiter waiter = {0};
    uint64_t end_ms = end_of(timeout_ms);
    if (!may_wait(c))
        return refuse(args, out, PARLEY_BUSY);
    enum parley_code code = pl_client_publish(c, topic, args, options, NULL, NULL, &waiter);
    if (!code)
        code = await(c, &waiter, end_ms);
    return code ? refuse(NULL, out, code) : give(&waiter, out);
}

enum parley_code parley_call_wait(struct parley_client *c, const char *procedure,
    struct parley_args *args, const struct parley_call_options *options,
    parley_message_fn *on_progress, void *context, int timeout_ms, struct parley_message **out)
{
    struct pl_waiter waiter = {0};
    uint64_t id, end_ms = end_of(timeout_ms);
    if (!may_wait(c))
        return refuse(args, out, PARLEY_BUSY);
    enum parley_code code =
        pl_client_call(c, procedure, args, options, on_progress, context, &waiter, &id);
    if (!code)
        code = await(c, &waiter, end_ms);
    if (code == PARLEY_TIMEOUT) {
        pl_client_lock(c);
        pl_request_abandon(c, id);
        pl_client_unlock(c);
    }
    return code ? refuse(NULL, out, code) : give(&waiter, out);
}
