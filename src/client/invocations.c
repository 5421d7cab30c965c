/*
 * Calls that the program answers. An invocation is in the client's map until it is answered or the
 * session ends, and is the program's until it is answered, whatever happens to the session.
 */
#include "base/alloc.h"
#include "client/client.h"

static struct pl_bytes key_of(const uint64_t *id)
{
    return pl_bytes_of(id, sizeof *id);
}

static struct parley_invocation *find(struct parley_client *c, uint64_t id)
{
    struct pl_map_entry *entry = pl_map_find(&c->invocations, key_of(&id));
    return entry ? PL_CONTAINER(entry, struct parley_invocation, entry) : NULL;
}

static void forget(struct parley_client *c, struct parley_invocation *inv)
{
    if (inv->is_there)
        pl_map_remove(&c->invocations, &inv->entry);
    inv->is_there = false;
}

/* Under the lock. The client stays: whoever calls it has it, or another reference. */
static void unref(struct parley_invocation *inv)
{
    if (--inv->refs)
        return;
    inv->client->refs--;
    parley_message_free(inv->message);
    pl_free(inv);
}

/* ---- Coming ---- */

static struct parley_message *keep_message(
    const struct pl_handler *h, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    struct parley_message message;
    pl_view_of(&message, wamp, bytes);
    const struct parley_value *procedure =
        parley_value_get(parley_message_details(&message), "procedure");
    message.uri = parley_value_string(procedure, h->uri);
    struct parley_message *copy = parley_message_copy(&message);
    pl_view_done(&message);
    return copy;
}

static struct parley_invocation *new_invocation(
    struct parley_client *c, const struct pl_wamp *wamp, struct parley_message *message_moved)
{
    struct parley_invocation *inv = pl_zalloc(sizeof *inv);
    if (inv) {
        inv->client = c;
        inv->refs = 1;
        inv->id = wamp->ids[0];
        inv->wants_progress = pl_value_flag(&wamp->details, "receive_progress");
        inv->is_there = pl_map_add(&c->invocations, &inv->entry, key_of(&inv->id)) == PL_OK;
    }
    if (!inv || !inv->is_there) {
        pl_free(inv);
        parley_message_free(message_moved);
        return NULL;
    }
    inv->message = message_moved;
    c->refs++;
    return inv;
}

static enum pl_err send_answer(struct parley_client *c, uint64_t id, const char *error,
    bool is_progress, struct pl_bytes payload)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, error ? PL_WAMP_ERROR : PL_WAMP_YIELD);
    if (error)
        pl_put_natural(&v, PL_WAMP_INVOCATION);
    pl_put_natural(&v, id);
    pl_put_dict(&v);
    if (is_progress) {
        pl_put_key(&v, "progress");
        pl_put_bool(&v, true);
    }
    pl_put_end(&v);
    if (error)
        pl_put_text(&v, error);
    pl_wamp_end(&v, PL_SERIAL_MSGPACK, payload);
    return pl_client_send(c, &w);
}

void pl_client_invoke(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    uint64_t id = wamp->ids[0];
    struct parley_invocation *inv = find(c, id);
    /* A part that was on its way when the answer was given. */
    if (!inv && id <= c->last_invocation)
        return;
    struct pl_handler *h = pl_handler_of_registration(c, wamp->ids[1]);
    struct parley_message *message = h ? keep_message(h, wamp, bytes) : NULL;
    if (inv && !message)
        return; /* it was let go of meanwhile, or there is no memory for this part */
    if (inv) {
        parley_message_free(inv->message);
        inv->message = message;
    } else {
        c->last_invocation = id;
        inv = message ? new_invocation(c, wamp, message) : NULL;
    }
    if (!inv) {
        /* Another callee may still be there. Without memory for this either, the caller's time
         * limit ends it. */
        (void)!send_answer(c, id, "wamp.error.unavailable", false, PL_NO_BYTES);
        return;
    }
    parley_call_fn *on_call = h->on_call;
    void *context = h->context;
    inv->refs++;
    pl_client_unlock(c);
    on_call(c, inv, context);
    pl_client_lock(c);
    unref(inv);
}

/* ---- Canceling ---- */

static void cancel(struct parley_client *c, struct parley_invocation *inv)
{
    if (inv->is_canceled)
        return;
    inv->is_canceled = true;
    void (*on_cancel)(struct parley_invocation *, void *) = inv->on_cancel;
    void *context = inv->cancel_context;
    if (!on_cancel)
        return;
    inv->refs++;
    pl_client_unlock(c);
    on_cancel(inv, context);
    pl_client_lock(c);
    unref(inv);
}

void pl_client_interrupt(struct parley_client *c, uint64_t id)
{
    struct parley_invocation *inv = find(c, id);
    if (inv)
        cancel(c, inv);
}

void pl_client_cancel_all(struct parley_client *c)
{
    struct pl_map_entry *entry;
    while ((entry = pl_map_next(&c->invocations, NULL))) {
        struct parley_invocation *inv = PL_CONTAINER(entry, struct parley_invocation, entry);
        forget(c, inv);
        cancel(c, inv);
    }
}

/* ---- parley.h ---- */

const struct parley_message *parley_invocation_message(const struct parley_invocation *inv)
{
    return inv->message;
}

bool parley_invocation_wants_progress(const struct parley_invocation *inv)
{
    return inv->wants_progress;
}

void parley_invocation_set_context(struct parley_invocation *inv, void *context)
{
    pl_client_lock(inv->client);
    inv->context = context;
    pl_client_unlock(inv->client);
}

void *parley_invocation_context(const struct parley_invocation *inv)
{
    pl_client_lock(inv->client);
    void *context = inv->context;
    pl_client_unlock(inv->client);
    return context;
}

bool parley_invocation_is_canceled(const struct parley_invocation *inv)
{
    pl_client_lock(inv->client);
    bool is_canceled = inv->is_canceled;
    pl_client_unlock(inv->client);
    return is_canceled;
}

void parley_invocation_on_cancel(struct parley_invocation *inv,
    void (*on_cancel)(struct parley_invocation *inv, void *context), void *context)
{
    pl_client_lock(inv->client);
    bool is_late = inv->is_canceled;
    inv->on_cancel = on_cancel;
    inv->cancel_context = context;
    pl_client_unlock(inv->client);
    if (is_late && on_cancel)
        on_cancel(inv, context);
}

enum parley_code parley_progress(struct parley_invocation *inv, struct parley_args *args)
{
    struct parley_client *c = inv->client;
    struct pl_bytes payload;
    enum pl_err err = pl_args_payload(args, &payload);
    pl_client_lock(c);
    if (!err && (!inv->is_there || inv->is_canceled))
        err = PL_CLOSED;
    if (!err && inv->wants_progress)
        err = send_answer(c, inv->id, NULL, true, payload);
    pl_client_unlock(c);
    parley_args_free(args);
    return pl_code_of(err);
}

static enum parley_code answer(
    struct parley_invocation *inv, const char *error, struct parley_args *args)
{
    struct parley_client *c = inv->client;
    struct pl_bytes payload;
    enum pl_err err = pl_args_payload(args, &payload);
    pl_client_lock(c);
    if (!inv->is_there)
        err = PL_CLOSED;
    if (!err)
        err = send_answer(c, inv->id, error, false, payload);
    /* What cannot be sent is an error to the caller, who would wait for ever. */
    if (err && err != PL_CLOSED)
        (void)!send_answer(c, inv->id,
            err == PL_TOO_LARGE ? "wamp.error.payload_size_exceeded" : "wamp.error.runtime_error",
            false, PL_NO_BYTES);
    forget(c, inv);
    c->refs++;
    unref(inv);
    if (pl_client_unref(c))
        pl_client_unlock(c);
    parley_args_free(args);
    return pl_code_of(err);
}

enum parley_code parley_result(struct parley_invocation *inv, struct parley_args *args)
{
    return answer(inv, NULL, args);
}

enum parley_code parley_fail(
    struct parley_invocation *inv, const char *error, struct parley_args *args)
{
    return answer(inv, error && *error ? error : "wamp.error.runtime_error", args);
}
