#include "base/alloc.h"
#include "client/client.h"
#include "net/reactor.h"

enum {
    GRACE_MS = 2000, /* the router, which has the timeout too, is waited for so much longer */
    WAMP_ID_BITS = 53,
};

static struct pl_bytes key_of(const uint64_t *id)
{
    return pl_bytes_of(id, sizeof *id);
}

/* ---- Life ---- */

uint64_t pl_request_id(const struct parley_client *c)
{
    return c->next_request + 1;
}

struct pl_request *pl_request_new(uint32_t type)
{
    struct pl_request *r = pl_zalloc(sizeof *r);
    if (r)
        r->type = type;
    return r;
}

struct pl_request *pl_request_free(struct pl_request *r)
{
    if (r)
        pl_free(r->uri);
    pl_free(r);
    return NULL;
}

static struct pl_request *find(struct parley_client *c, uint64_t id)
{
    struct pl_map_entry *entry = pl_map_find(&c->requests, key_of(&id));
    return entry ? PL_CONTAINER(entry, struct pl_request, entry) : NULL;
}

void pl_request_remove(struct parley_client *c, struct pl_request *r)
{
    pl_map_remove(&c->requests, &r->entry);
    pl_heap_remove(&c->deadlines, &r->deadline);
}

enum pl_err pl_request_send(struct parley_client *c, struct pl_writer *w, struct pl_request *r)
{
    enum pl_err err = PL_OK;
    if (r) {
        r->id = pl_request_id(c);
        err = pl_map_add(&c->requests, &r->entry, key_of(&r->id));
        bool is_added = !err;
        if (!err && r->patience_ms)
            err = pl_heap_set(&c->deadlines, &r->deadline, pl_clock_ms() + r->patience_ms);
        if (err && is_added)
            pl_map_remove(&c->requests, &r->entry);
    }
    if (err) {
        pl_client_drop(c, w);
        pl_request_free(r);
        return err;
    }
    err = pl_client_send(c, w);
    if (err && r) {
        pl_request_remove(c, r);
        pl_request_free(r);
    }
    if (!err) {
        c->next_request++;
        if (r && r->patience_ms)
            pl_client_wake(c); /* its deadline may be the next one */
    }
    return err;
}

/* ---- Ends ---- */

void pl_waiter_done(
    struct parley_client *c, struct pl_waiter *waiter, const struct parley_message *message)
{
    waiter->code = message->code;
    waiter->message = parley_message_copy(message);
    if (!waiter->message)
        waiter->code = PARLEY_NO_MEMORY;
    waiter->is_done = true;
    pthread_cond_broadcast(&c->changed);
}

/* Its end, to whoever wants to know; frees it. It is out of the map. */
static void tell_end(
    struct parley_client *c, struct pl_request *r, const struct parley_message *message)
{
    parley_message_fn *fn = r->fn;
    void *context = r->context;
    struct pl_waiter *waiter = r->waiter;
    pl_request_free(r);
    if (waiter)
        pl_waiter_done(c, waiter, message);
    else
        pl_client_tell(c, fn, context, message);
}

void pl_request_end_soon(struct parley_client *c, struct pl_request *r)
{
    r->next = NULL;
    *c->ready_at = r;
    c->ready_at = &r->next;
    pl_client_wake(c);
}

void pl_requests_tell_ready(struct parley_client *c)
{
    struct parley_message message;
    pl_view_plain(&message, PARLEY_OK, NULL);
    while (c->ready) {
        struct pl_request *r = c->ready;
        c->ready = r->next;
        if (!c->ready)
            c->ready_at = &c->ready;
        tell_end(c, r, &message);
    }
    pl_view_done(&message);
}

/* Of a subscription and registration its handler knows; that something is gone is as it should be.
 */
void pl_requests_end_all(struct parley_client *c, enum parley_code code, const char *why)
{
    struct parley_message lost, gone;
    struct pl_map_entry *entry;
    pl_view_plain(&lost, code, why);
    pl_view_plain(&gone, PARLEY_OK, NULL);
    while ((entry = pl_map_next(&c->requests, NULL))) {
        struct pl_request *r = PL_CONTAINER(entry, struct pl_request, entry);
        pl_request_remove(c, r);
        if (r->handler)
            pl_request_free(r);
        else
            tell_end(c, r, r->type == PL_WAMP_CALL || r->type == PL_WAMP_PUBLISH ? &lost : &gone);
    }
    pl_view_done(&lost);
    pl_view_done(&gone);
}

static enum pl_err send_cancel(struct parley_client *c, uint64_t id, enum parley_cancel_mode mode)
{
    static const char *const words[] = {"killnowait", "kill", "skip"};
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, PL_WAMP_CANCEL);
    pl_put_natural(&v, id);
    pl_put_dict(&v);
    pl_put_key(&v, "mode");
    pl_put_text(&v, words[mode]);
    pl_put_end(&v);
    pl_put_end(&v);
    return pl_client_send(c, &w);
}

void pl_requests_expire(struct parley_client *c, uint64_t now_ms)
{
    struct pl_deadline *due;
    struct parley_message message;
    pl_view_plain(&message, PARLEY_TIMEOUT, "the router did not answer in time");
    while ((due = pl_heap_pop_due(&c->deadlines, now_ms))) {
        struct pl_request *r = PL_CONTAINER(due, struct pl_request, deadline);
        (void)!send_cancel(c, r->id, PARLEY_KILL_NO_WAIT); /* A courtesy. */
        pl_request_remove(c, r);
        tell_end(c, r, &message);
    }
    pl_view_done(&message);
}

/* ---- Answers ---- */

/* Which request a message answers. */
static uint32_t answered_type(const struct pl_wamp *wamp)
{
    switch (wamp->type) {
    case PL_WAMP_PUBLISHED:
        return PL_WAMP_PUBLISH;
    case PL_WAMP_SUBSCRIBED:
        return PL_WAMP_SUBSCRIBE;
    case PL_WAMP_UNSUBSCRIBED:
        return PL_WAMP_UNSUBSCRIBE;
    case PL_WAMP_REGISTERED:
        return PL_WAMP_REGISTER;
    case PL_WAMP_UNREGISTERED:
        return PL_WAMP_UNREGISTER;
    case PL_WAMP_RESULT:
        return PL_WAMP_CALL;
    default:
        return wamp->request_type;
    }
}

/* What nobody waits for any more comes late, and is nothing to complain about. */
void pl_requests_answer(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    struct pl_request *r = find(c, wamp->ids[0]);
    if (!r || r->type != answered_type(wamp))
        return;
    struct parley_message message;
    pl_view_of(&message, wamp, bytes);
    if (wamp->type == PL_WAMP_RESULT && message.is_progress) {
        if (r->patience_ms)
            /* It stands in the heap, so it only moves. */
            (void)!pl_heap_set(&c->deadlines, &r->deadline, pl_clock_ms() + r->patience_ms);
        pl_client_tell(c, r->fn, r->context, &message);
    } else {
        pl_request_remove(c, r);
        if (r->type == PL_WAMP_SUBSCRIBE || r->type == PL_WAMP_REGISTER)
            pl_handlers_answered(c, r, &message);
        else
            tell_end(c, r, &message);
    }
    pl_view_done(&message);
}

/* ---- Publishing ---- */

static void put_flag(struct pl_value_writer *v, const char *key, bool value)
{
    if (!value)
        return;
    pl_put_key(v, key);
    pl_put_bool(v, true);
}

/* Ends the message that was begun and sends it, or gives it up because of err. */
static enum pl_err send_or_drop(
    struct parley_client *c, struct pl_writer *w, struct pl_request *r, enum pl_err err)
{
    if (!err)
        return pl_request_send(c, w, r);
    pl_client_drop(c, w);
    pl_request_free(r);
    return err;
}

static enum pl_err publish(struct parley_client *c, const char *topic, struct pl_bytes payload,
    const struct parley_publish_options *o, struct pl_request *r)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, PL_WAMP_PUBLISH);
    pl_put_natural(&v, pl_request_id(c));
    pl_put_dict(&v);
    put_flag(&v, "acknowledge", r);
    put_flag(&v, "retain", o->retain);
    put_flag(&v, "disclose_me", o->disclose_me);
    if (o->include_me) {
        pl_put_key(&v, "exclude_me");
        pl_put_bool(&v, false);
    }
    enum pl_err err = pl_put_json_pairs(&v, o->more);
    pl_put_end(&v);
    pl_put_text(&v, topic);
    pl_wamp_end(&v, PL_SERIAL_MSGPACK, payload);
    return send_or_drop(c, &w, r, err);
}

/* PL_OK and, if someone wants the answer, a request; the client is locked then. */
static enum pl_err begin_request(struct parley_client *c, const char *uri, struct parley_args *args,
    struct pl_bytes *out_payload)
{
    enum pl_err err = uri && *uri ? pl_args_payload(args, out_payload) : PL_MALFORMED;
    pl_client_lock(c);
    return !err && c->phase != PL_PHASE_JOINED ? PL_CLOSED : err;
}

static enum parley_code end_request(
    struct parley_client *c, struct parley_args *args, enum pl_err err)
{
    pl_client_unlock(c);
    parley_args_free(args);
    return pl_code_of(err);
}

enum parley_code pl_client_publish(struct parley_client *c, const char *topic,
    struct parley_args *args, const struct parley_publish_options *options,
    parley_message_fn *on_done, void *context, struct pl_waiter *waiter)
{
    struct parley_publish_options o = PARLEY_PUBLISH_OPTIONS;
    struct pl_bytes payload;
    struct pl_request *r = NULL;
    pl_client_take_options(&o, sizeof o, options);
    enum pl_err err = begin_request(c, topic, args, &payload);
    if (!err && (on_done || waiter)) {
        r = pl_request_new(PL_WAMP_PUBLISH);
        err = r ? PL_OK : PL_NO_MEMORY;
    }
    if (r) {
        r->fn = on_done;
        r->context = context;
        r->waiter = waiter;
    }
    if (!err)
        err = publish(c, topic, payload, &o, r);
    return end_request(c, args, err);
}

enum parley_code parley_publish(struct parley_client *c, const char *topic,
    struct parley_args *args, const struct parley_publish_options *options,
    parley_message_fn *on_done, void *context)
{
    return pl_client_publish(c, topic, args, options, on_done, context, NULL);
}

/* ---- Calling ---- */

/* An id of a call names its session too, so that an old one never means a call of a later one. */
static uint64_t public_id(const struct parley_client *c, uint64_t id)
{
    return c->generation << WAMP_ID_BITS | id;
}

static struct pl_request *find_call(struct parley_client *c, uint64_t call)
{
    struct pl_request *r = find(c, call & ((1ull << WAMP_ID_BITS) - 1));
    return r && r->type == PL_WAMP_CALL && public_id(c, r->id) == call ? r : NULL;
}

static enum pl_err call(struct parley_client *c, const char *procedure, struct pl_bytes payload,
    const struct parley_call_options *o, struct pl_request *r)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, PL_WAMP_CALL);
    pl_put_natural(&v, pl_request_id(c));
    pl_put_dict(&v);
    if (o->timeout_ms) {
        pl_put_key(&v, "timeout");
        pl_put_natural(&v, o->timeout_ms);
    }
    put_flag(&v, "receive_progress", o->receive_progress);
    put_flag(&v, "progress", o->send_progress);
    put_flag(&v, "disclose_me", o->disclose_me);
    enum pl_err err = pl_put_json_pairs(&v, o->more);
    pl_put_end(&v);
    pl_put_text(&v, procedure);
    pl_wamp_end(&v, PL_SERIAL_MSGPACK, payload);
    return send_or_drop(c, &w, r, err);
}

static struct pl_request *new_call(const char *procedure, const struct parley_call_options *o)
{
    struct pl_request *r = pl_request_new(PL_WAMP_CALL);
    if (!r)
        return NULL;
    r->patience_ms = o->timeout_ms ? (uint64_t)o->timeout_ms + GRACE_MS : 0;
    if (o->send_progress && !(r->uri = pl_alloc_copy(procedure, strlen(procedure))))
        return pl_request_free(r);
    return r;
}

enum parley_code pl_client_call(struct parley_client *c, const char *procedure,
    struct parley_args *args, const struct parley_call_options *options,
    parley_message_fn *on_result, void *context, struct pl_waiter *waiter, uint64_t *out_id)
{
    struct parley_call_options o = PARLEY_CALL_OPTIONS;
    struct pl_bytes payload;
    pl_client_take_options(&o, sizeof o, options);
    enum pl_err err = begin_request(c, procedure, args, &payload);
    struct pl_request *r = err ? NULL : new_call(procedure, &o);
    if (!err && !r)
        err = PL_NO_MEMORY;
    if (!err) {
        r->fn = on_result;
        r->context = context;
        r->waiter = waiter;
        err = call(c, procedure, payload, &o, r);
    }
    if (!err && out_id)
        *out_id = public_id(c, c->next_request);
    return end_request(c, args, err);
}

enum parley_code parley_call(struct parley_client *c, const char *procedure,
    struct parley_args *args, const struct parley_call_options *options,
    parley_message_fn *on_result, void *context, uint64_t *out_id)
{
    return pl_client_call(c, procedure, args, options, on_result, context, NULL, out_id);
}

enum parley_code parley_call_more(
    struct parley_client *c, uint64_t id, struct parley_args *args, bool is_last)
{
    struct pl_bytes payload;
    enum pl_err err = pl_args_payload(args, &payload);
    pl_client_lock(c);
    struct pl_request *r = find_call(c, id);
    if (!err && (!r || !r->uri))
        err = PL_NOT_FOUND;
    if (!err) {
        struct pl_writer w;
        struct pl_value_writer v = pl_client_begin(c, &w, PL_WAMP_CALL);
        pl_put_natural(&v, r->id);
        pl_put_dict(&v);
        put_flag(&v, "progress", !is_last);
        pl_put_end(&v);
        pl_put_text(&v, r->uri);
        pl_wamp_end(&v, PL_SERIAL_MSGPACK, payload);
        err = pl_client_send(c, &w);
    }
    if (!err && is_last) {
        pl_free(r->uri);
        r->uri = NULL;
    }
    return end_request(c, args, err);
}

enum parley_code parley_cancel(struct parley_client *c, uint64_t id, enum parley_cancel_mode mode)
{
    if (mode > PARLEY_SKIP)
        return PARLEY_INVALID;
    pl_client_lock(c);
    struct pl_request *r = find_call(c, id);
    enum pl_err err = r ? send_cancel(c, r->id, mode) : PL_OK;
    pl_client_unlock(c);
    return pl_code_of(err);
}

void pl_request_abandon(struct parley_client *c, uint64_t id)
{
    struct pl_request *r = find_call(c, id);
    if (!r)
        return;
    (void)!send_cancel(c, r->id, PARLEY_KILL_NO_WAIT); /* A courtesy. */
    pl_request_remove(c, r);
    pl_request_free(r);
}
