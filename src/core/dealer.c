/*
 * Calls under the lock: each op of call.h becomes items for its caller and its callee.
 *
 *     call ──► open ──► answered · failed · canceled · timed out · callee gone · caller gone
 *
 * A call is found by its caller's number (cancel, further parts), by its callee's (yield), or,
 * where subscriptions answer, by its reply subject. It stands in the lists of both sessions, so
 * that it ends with either. Whatever ends it takes it out of all of these at once: so it ends once.
 *
 * If there is no memory to say so, it waits in `stuck` until the next tick.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "core/realm_state.h"

enum { FREE_CALLS_MAX = 1024, FINISH_ITEMS = 3 };

void pl_dealer_init(struct pl_dealer *dealer, uint64_t seed)
{
    *dealer = (struct pl_dealer){0};
    pl_registrations_init(&dealer->registrations, seed);
    pl_map_init(&dealer->by_caller, seed);
    pl_map_init(&dealer->by_callee, seed);
    pl_map_init(&dealer->by_reply, seed);
    uint64_t other = pl_hash(seed, PL_BYTES("reply subjects"));
    memcpy(dealer->key, &seed, sizeof seed);
    memcpy(dealer->key + sizeof seed, &other, sizeof other);
}

void pl_dealer_done(struct pl_dealer *dealer)
{
    PL_ASSERT(!dealer->open_count);
    while (dealer->free) {
        struct pl_call *next = dealer->free->next;
        pl_free(dealer->free);
        dealer->free = next;
    }
    pl_map_done(&dealer->by_caller);
    pl_map_done(&dealer->by_callee);
    pl_map_done(&dealer->by_reply);
    pl_registrations_done(&dealer->registrations);
}

const char *pl_call_error_uri(enum pl_err err)
{
    static const struct {
        enum pl_err err;
        const char *uri;
    } uris[] = {
        {PL_NOT_FOUND, "wamp.error.no_such_procedure"},
        {PL_NO_RESPONDERS, "wamp.error.no_such_procedure"},
        {PL_DENIED, "wamp.error.not_authorized"},
        {PL_BAD_NAME, "wamp.error.invalid_uri"},
        {PL_TOO_LARGE, "wamp.error.payload_size_exceeded"},
        {PL_CANCELED, "wamp.error.canceled"},
        {PL_CALLEE_GONE, "wamp.error.canceled"},
        {PL_TIMEOUT, "wamp.error.timeout"},
        {PL_NO_CALLEE, "wamp.error.no_available_callee"},
        {PL_NO_PARTS, "wamp.error.feature_not_supported"},
        {PL_UNSUPPORTED, "wamp.error.feature_not_supported"},
        {PL_SLOW_CONSUMER, "wamp.error.network_failure"},
        {PL_EXISTS, "wamp.error.procedure_already_exists"},
    };
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++)
        if (uris[i].err == err)
            return uris[i].uri;
    return "wamp.error.unavailable";
}

/* ---- Calls ---- */

static struct pl_bytes key_bytes(const struct pl_call_key *key)
{
    return pl_bytes_of(key, sizeof *key);
}

static struct pl_map_entry *find_key(const struct pl_map *map, uint64_t session, uint64_t number)
{
    struct pl_call_key key = {session, number};
    return pl_map_find(map, key_bytes(&key));
}

static struct pl_call *find_by_caller(struct pl_dealer *d, uint64_t session, uint64_t token)
{
    struct pl_map_entry *e = find_key(&d->by_caller, session, token);
    return e ? PL_CONTAINER(e, struct pl_call, by_caller) : NULL;
}

static struct pl_call *find_by_callee(struct pl_dealer *d, uint64_t session, uint64_t invocation)
{
    struct pl_map_entry *e = find_key(&d->by_callee, session, invocation);
    return e ? PL_CONTAINER(e, struct pl_call, by_callee) : NULL;
}

static struct pl_call *new_call(struct pl_realm *realm)
{
    struct pl_dealer *d = &realm->dealer;
    struct pl_call *call = d->free;
    if (call) {
        d->free = call->next;
        d->free_count--;
    } else if (!(call = pl_alloc(sizeof *call))) {
        return NULL;
    }
    memset(call, 0, sizeof *call);
    call->deadline = (struct pl_deadline){.at_ms = PL_NEVER, .kind = PL_DUE_CALL};
    d->open_count++;
    return call;
}

static void take_from(struct pl_map *map, struct pl_map_entry *entry)
{
    if (entry->key.len)
        pl_map_remove(map, entry);
    entry->key = PL_NO_BYTES;
}

/* Nobody finds it any more; the sessions' lists and what it owns stay. */
static void hide(struct pl_dealer *d, struct pl_call *call)
{
    take_from(&d->by_caller, &call->by_caller);
    take_from(call->reply[0] ? &d->by_reply : &d->by_callee, &call->by_callee);
    if (call->offer)
        call->offer->open_calls--;
    call->offer = NULL;
}

static void leave_caller(struct pl_call *call)
{
    if (!call->caller)
        return;
    *call->caller_at = call->caller_next;
    if (call->caller_next)
        call->caller_next->caller_at = call->caller_at;
    call->caller->open_calls--;
    call->caller = NULL;
}

static void leave_callee(struct pl_call *call)
{
    if (!call->callee)
        return;
    *call->callee_at = call->callee_next;
    if (call->callee_next)
        call->callee_next->callee_at = call->callee_at;
    call->callee = NULL;
}

static void free_call(struct pl_runner *r, struct pl_call *call)
{
    struct pl_dealer *d = &r->realm->dealer;
    hide(d, call);
    leave_caller(call);
    leave_callee(call);
    pl_heap_remove(&r->realm->deadlines, &call->deadline);
    pl_identity_unref(call->identity);
    pl_message_unref(call->kept);
    pl_free(call->sink);
    d->open_count--;
    if (d->free_count >= FREE_CALLS_MAX) {
        pl_free(call);
        return;
    }
    call->next = d->free;
    d->free = call;
    d->free_count++;
}

static void link_caller(struct pl_call *call, struct pl_session *s)
{
    call->caller = s;
    call->caller_next = s->calls_made;
    if (s->calls_made)
        s->calls_made->caller_at = &call->caller_next;
    call->caller_at = &s->calls_made;
    s->calls_made = call;
    s->open_calls++;
}

static void link_callee(struct pl_call *call, struct pl_session *s)
{
    call->callee = s;
    call->callee_next = s->calls_taken;
    if (s->calls_taken)
        s->calls_taken->callee_at = &call->callee_next;
    call->callee_at = &s->calls_taken;
    s->calls_taken = call;
}

/* ---- Answers ---- */

static struct pl_item *add_result(
    struct pl_runner *r, struct pl_session *s, uint64_t token, enum pl_err err, uint32_t index)
{
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_RESULT, s->address);
    item->session = s;
    item->token = token;
    item->err = (uint8_t)err;
    item->first = index;
    return item;
}

/* The answer to a message's call, with the correlation of the request: a message like any other. */
static enum pl_err address_answer(
    struct pl_runner *r, const struct pl_call *call, struct pl_message *m, const char *error)
{
    struct pl_arena *arena = &r->batch->arena;
    struct pl_properties *p = pl_arena_alloc(arena, sizeof *p);
    const char *reply = pl_arena_copy(arena, call->sink->reply);
    const char *correlation = pl_arena_copy(arena, call->sink->correlation);
    if (!p || !reply || !correlation)
        return PL_NO_MEMORY;
    *p = m->properties ? *m->properties : (struct pl_properties){.expires_ms = PL_NEVER};
    p->correlation = pl_bytes_of(correlation, call->sink->correlation.len);
    if (error)
        p->error = pl_bytes_text(error);
    m->properties = p;
    m->subject = pl_bytes_of(reply, call->sink->reply.len);
    m->reply = PL_NO_BYTES;
    m->grants_reply = m->retain = m->spares_publisher = false;
    return PL_OK;
}

static void publish_answer(
    struct pl_runner *r, const struct pl_call *call, enum pl_err core_err, uint32_t index)
{
    const struct pl_match *match;
    enum pl_err err = PL_OK;
    if (index == PL_NO_MESSAGE) {
        struct pl_message *m = pl_batch_add_message(r->batch, &index);
        if (!m)
            err = PL_NO_MEMORY;
        else
            *m = (struct pl_message){.time_unix_ms = r->now_unix_ms, .format = PL_FORMAT_BYTES};
    }
    bool may = call->sink->grants ||
               (call->callee && pl_identity_may_publish(call->callee->identity, call->sink->reply));
    if (!may)
        return;
    if (!err)
        err = address_answer(
            r, call, r->batch->messages[index], core_err ? pl_call_error_uri(core_err) : NULL);
    if (err)
        pl_count(&r->batch->worker->counters.dropped_no_memory, 1);
    else
        pl_run_message(r, index, &match, &err);
}

static void interrupt(
    struct pl_runner *r, const struct pl_call *call, enum pl_cancel mode, enum pl_err why)
{
    if (!call->callee || !(call->callee_flags & PL_CALLEE_CAN_CANCEL))
        return;
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_INTERRUPT, call->callee->address);
    item->session = call->callee;
    item->token = call->callee_key.number;
    item->done = (uint8_t)mode;
    item->err = (uint8_t)why;
}

static void press(struct pl_runner *r, struct pl_call *call, bool is_on)
{
    if (call->is_pressing == is_on || !call->callee)
        return;
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_PRESS, call->callee->address);
    item->session = call->callee;
    item->is_on = is_on;
    call->is_pressing = is_on;
}

/*
 * The end. The caller is told err, or the message at index; the callee is interrupted if `why` is
 * not PL_OK. Without memory for these it waits, and ends with PL_NO_MEMORY.
 */
static void finish(
    struct pl_runner *r, struct pl_call *call, enum pl_err err, uint32_t index, enum pl_err why)
{
    struct pl_dealer *d = &r->realm->dealer;
    if (err)
        pl_count(&r->batch->worker->counters.calls_failed, 1);
    if (pl_batch_reserve_items(r->batch, FINISH_ITEMS)) {
        hide(d, call);
        pl_heap_remove(&r->realm->deadlines, &call->deadline);
        call->is_stuck = true;
        call->next = d->stuck;
        d->stuck = call;
        return;
    }
    if (why)
        interrupt(r, call, PL_CANCEL_KILL_NO_WAIT, why);
    press(r, call, false);
    if (call->sink)
        publish_answer(r, call, err, index);
    else if (call->caller)
        add_result(r, call->caller, call->caller_key.number, err, index);
    free_call(r, call);
}

void pl_run_stuck_calls(struct pl_runner *r)
{
    struct pl_dealer *d = &r->realm->dealer;
    struct pl_call *list = d->stuck;
    d->stuck = NULL;
    while (list) {
        struct pl_call *call = list;
        list = call->next;
        call->is_stuck = false;
        finish(r, call, PL_NO_MEMORY, PL_NO_MESSAGE, PL_CANCELED);
    }
}

/* ---- Asking ---- */

static enum pl_err add_invoke(
    struct pl_runner *r, struct pl_call *call, struct pl_callee *callee, uint32_t index, bool first)
{
    struct pl_invoke_facts *facts = pl_arena_alloc(&r->batch->arena, sizeof *facts);
    if (!facts || pl_batch_reserve_items(r->batch, 1))
        return PL_NO_MEMORY;
    *facts = (struct pl_invoke_facts){
        .callee = callee,
        .caller = call->identity ? pl_identity_ref(call->identity) : NULL,
        .caller_id = call->caller_id,
        .timeout_ms = call->keeps_time ? call->timeout_ms : 0,
        .wants_progress = call->wants_progress,
        .is_first = first,
        .has_more = call->has_more,
    };
    struct pl_item *item = pl_batch_item(r->batch, PL_ITEM_INVOKE, call->callee->address);
    item->session = call->callee;
    item->token = call->callee_key.number;
    item->first = index;
    item->invoke = facts;
    return PL_OK;
}

static enum pl_err set_deadline(struct pl_runner *r, struct pl_call *call)
{
    if (!call->timeout_ms || call->keeps_time) {
        /* The callee before this one may have left it to us. */
        pl_heap_remove(&r->realm->deadlines, &call->deadline);
        return PL_OK;
    }
    return pl_heap_set(&r->realm->deadlines, &call->deadline, r->now_ms + call->timeout_ms);
}

/* Asks this callee. On an error nothing has happened. */
static enum pl_err ask(
    struct pl_runner *r, struct pl_call *call, struct pl_callee *callee, uint32_t index)
{
    struct pl_dealer *d = &r->realm->dealer;
    struct pl_session *s = callee->session;
    call->callee_key = (struct pl_call_key){s->id, s->invocations + 1};
    call->callee_flags = callee->flags;
    call->keeps_time = call->timeout_ms && callee->flags & PL_CALLEE_KEEPS_TIME;
    enum pl_err err = pl_map_add(&d->by_callee, &call->by_callee, key_bytes(&call->callee_key));
    if (err) {
        call->by_callee.key = PL_NO_BYTES;
        return err;
    }
    link_callee(call, s);
    err = set_deadline(r, call);
    if (!err)
        err = add_invoke(r, call, callee, index, true);
    if (err) {
        take_from(&d->by_callee, &call->by_callee);
        leave_callee(call);
        return err;
    }
    s->invocations++;
    call->offer = callee;
    callee->open_calls++;
    if (call->tried_count < PL_CALL_TRIES_MAX)
        call->tried[call->tried_count++] = s->id;
    return PL_OK;
}

static void set_caller(struct pl_call *call, struct pl_session *s)
{
    call->identity = s->identity ? pl_identity_ref(s->identity) : NULL;
    call->caller_id = pl_session_public_id(s);
}

static enum pl_err ask_registration(
    struct pl_runner *r, struct pl_call *call, struct pl_registration *reg, uint32_t index)
{
    struct pl_callee *callee = pl_dealer_choose(r->realm, call, reg);
    if (!callee)
        return PL_NO_CALLEE;
    if (call->has_more && !(callee->flags & PL_CALLEE_TAKES_PARTS))
        return PL_NO_PARTS;
    /* Another one may have to be asked, with the same arguments; parts have the first one's name.
     */
    if (reg->callee_count > 1 || call->has_more)
        call->kept = pl_message_keep(r->batch->messages[index]);
    return ask(r, call, callee, index);
}

/* ---- Subscriptions that answer ---- */

static void make_reply(struct pl_dealer *d, struct pl_call *call)
{
    uint8_t bytes[PL_SECRET_HASH_SIZE];
    d->replies++;
    memcpy(call->reply, "_INBOX.", 7);
    pl_hash_secret(
        pl_bytes_of(d->key, sizeof d->key), pl_bytes_of(&d->replies, sizeof d->replies), bytes);
    pl_hex_encode(pl_bytes_of(bytes, sizeof bytes), call->reply + 7);
}

/* Whoever listens to everything is no callee. */
static bool can_answer(const struct pl_subscription *sub)
{
    const struct pl_mailbox *mailbox = sub->session->mailbox;
    return sub->flags & PL_SUB_CAN_REPLY && (sub->queue.len || sub->pattern->literal_head) &&
           (!mailbox || !mailbox->is_detached);
}

/* The message as those see it whom it asks. */
static enum pl_err address_request(struct pl_runner *r, struct pl_call *call, struct pl_message *m)
{
    struct pl_arena *arena = &r->batch->arena;
    const char *reply = pl_arena_copy(arena, pl_bytes_text(call->reply));
    if (!reply)
        return PL_NO_MEMORY;
    m->reply = pl_bytes_of(reply, PL_CALL_REPLY_LEN);
    m->grants_reply = true;
    if (!call->wants_progress)
        return PL_OK;
    uint32_t count = m->properties ? m->properties->header_count : 0;
    struct pl_properties *p = pl_arena_alloc(arena, sizeof *p);
    struct pl_header *headers = pl_arena_alloc(arena, (count + 1) * sizeof *headers);
    if (!p || !headers)
        return PL_NO_MEMORY;
    *p = m->properties ? *m->properties : (struct pl_properties){.expires_ms = PL_NEVER};
    if (count)
        memcpy(headers, p->headers, count * sizeof *headers);
    headers[count] = (struct pl_header){PL_BYTES(PL_PROGRESS_HEADER), PL_BYTES("true")};
    p->headers = headers;
    p->header_count = count + 1;
    m->properties = p;
    return PL_OK;
}

/* Everyone who can answer is asked; of a queue group one. */
static enum pl_err ask_subscriptions(struct pl_runner *r, struct pl_call *call, uint32_t index)
{
    struct pl_dealer *d = &r->realm->dealer;
    struct pl_message *m = r->batch->messages[index];
    struct pl_match *match = pl_matcher_match(r->realm->matcher, m->subject, false);
    r->last = match;
    r->last_logged = false;
    if (!match)
        return PL_NO_MEMORY;
    if (pl_batch_reserve_items(r->batch, match->target_count + match->slot_count))
        return PL_NO_MEMORY;
    make_reply(d, call);
    enum pl_err err = address_request(r, call, m);
    if (!err)
        err = pl_map_add(&d->by_reply, &call->by_callee, pl_bytes_text(call->reply));
    if (!err)
        err = set_deadline(r, call);
    if (err)
        return err;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < match->target_count; i++)
        if (can_answer(match->targets[i]))
            asked += pl_run_add_pick(r, match->targets[i], index);
    for (uint32_t i = 0; i < match->slot_count; i++) {
        struct pl_subscription *sub =
            pl_run_pick(r->realm, match, &match->slots[i], m, PL_SUB_CAN_REPLY);
        if (sub && can_answer(sub))
            asked += pl_run_add_pick(r, sub, index);
    }
    return asked ? PL_OK : PL_NOT_FOUND;
}

/* ---- Ops ---- */

static enum pl_err begin_call(
    struct pl_runner *r, const struct pl_op *op, struct pl_call *call, uint32_t index)
{
    const struct pl_message *m = r->batch->messages[index];
    uint64_t limit_ms = r->realm->limits.reply_grant_ms;
    set_caller(call, op->session);
    call->caller_key = (struct pl_call_key){op->session->id, op->token};
    call->timeout_ms = op->subject ? *(const uint64_t *)op->subject : 0;
    call->wants_progress = op->flags & PL_CALL_WANTS_PROGRESS;
    call->has_more = op->flags & PL_CALL_MORE;
    if (pl_map_add(&r->realm->dealer.by_caller, &call->by_caller, key_bytes(&call->caller_key))) {
        call->by_caller.key = PL_NO_BYTES;
        return PL_NO_MEMORY;
    }
    struct pl_registration *reg =
        pl_registrations_match(&r->realm->dealer.registrations, m->subject);
    if (reg)
        return ask_registration(r, call, reg, index);
    if (call->has_more)
        return PL_NOT_FOUND;
    if (!call->timeout_ms || call->timeout_ms > limit_ms)
        call->timeout_ms = limit_ms;
    return ask_subscriptions(r, call, index);
}

/* A part is a call of what the first one called, whatever it says itself. */
static enum pl_err address_part(struct pl_runner *r, const struct pl_call *call, uint32_t index)
{
    const struct pl_message *first = call->kept;
    const char *subject = first ? pl_arena_copy(&r->batch->arena, first->subject) : NULL;
    if (!subject)
        return PL_NO_MEMORY;
    r->batch->messages[index]->subject = pl_bytes_of(subject, first->subject.len);
    return PL_OK;
}

/* A further part goes where the first one went. */
static void run_part(struct pl_runner *r, const struct pl_op *op, struct pl_call *call)
{
    if (!call || !call->has_more || !call->callee || call->is_killed)
        return;
    call->has_more = op->flags & PL_CALL_MORE;
    call->is_parted = true;
    if (address_part(r, call, op->index) || add_invoke(r, call, call->offer, op->index, false))
        finish(r, call, PL_NO_MEMORY, PL_NO_MESSAGE, PL_NO_MEMORY);
}

void pl_run_call(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_session *s = op->session;
    enum pl_err err = (enum pl_err)op->err;
    struct pl_call *call = NULL;
    if (op->flags & PL_CALL_NEXT) {
        if (!err)
            run_part(r, op, find_by_caller(&r->realm->dealer, s->id, op->token));
        return;
    }
    pl_count(&r->batch->worker->counters.calls, 1);
    if (!err && !s->is_in_realm)
        err = PL_CLOSED;
    if (!err && (s->open_calls >= r->realm->limits.calls_max ||
                    find_by_caller(&r->realm->dealer, s->id, op->token)))
        err = PL_LIMIT;
    if (!err && !(call = new_call(r->realm)))
        err = PL_NO_MEMORY;
    if (!err) {
        link_caller(call, s);
        err = begin_call(r, op, call, op->index);
    }
    if (!err)
        return;
    pl_count(&r->batch->worker->counters.calls_failed, 1);
    if (call)
        free_call(r, call);
    add_result(r, s, op->token, err, PL_NO_MESSAGE);
}

static bool wants_progress(const struct pl_message *m)
{
    const struct pl_properties *p = m->properties;
    for (uint32_t i = 0; p && i < p->header_count; i++)
        if (pl_bytes_equal_nocase(p->headers[i].name, PL_BYTES(PL_PROGRESS_HEADER)))
            return pl_bytes_equal_nocase(p->headers[i].value, PL_BYTES("true"));
    return false;
}

static struct pl_sink *new_sink(const struct pl_message *m)
{
    struct pl_bytes correlation = pl_message_correlation(m);
    struct pl_sink *sink = pl_alloc(sizeof *sink + m->reply.len + correlation.len);
    if (!sink)
        return NULL;
    sink->grants = m->grants_reply;
    sink->reply = pl_bytes_of(sink->bytes, m->reply.len);
    sink->correlation = pl_bytes_of(sink->bytes + m->reply.len, correlation.len);
    memcpy(sink->bytes, m->reply.data, m->reply.len);
    if (correlation.len)
        memcpy(sink->bytes + m->reply.len, correlation.data, correlation.len);
    return sink;
}

bool pl_run_request(struct pl_runner *r, struct pl_session *publisher, uint32_t index)
{
    struct pl_message *m = r->batch->messages[index];
    struct pl_registration *reg =
        publisher ? pl_registrations_match(&r->realm->dealer.registrations, m->subject) : NULL;
    if (!reg || !publisher->is_in_realm || !pl_identity_may_call(publisher->identity, m->subject))
        return false;
    pl_count(&r->batch->worker->counters.calls, 1);
    struct pl_call *call = new_call(r->realm);
    enum pl_err err = call && (call->sink = new_sink(m)) ? PL_OK : PL_NO_MEMORY;
    if (!err) {
        set_caller(call, publisher);
        call->timeout_ms = r->realm->limits.reply_grant_ms;
        call->wants_progress = wants_progress(m);
        err = ask_registration(r, call, reg, index);
    }
    /* Subscribers hear it, and are not asked. The callee is not told where its answer goes. */
    m->reply = PL_NO_BYTES;
    m->grants_reply = false;
    if (err && call && call->sink)
        finish(r, call, err, PL_NO_MESSAGE, PL_OK);
    else if (err && call)
        free_call(r, call);
    return true;
}

bool pl_run_reply(struct pl_runner *r, uint32_t index)
{
    struct pl_dealer *d = &r->realm->dealer;
    const struct pl_message *m = r->batch->messages[index];
    struct pl_map_entry *e = pl_map_find(&d->by_reply, m->subject);
    if (!e)
        return false;
    struct pl_call *call = PL_CONTAINER(e, struct pl_call, by_callee);
    if (!m->properties || !m->properties->is_progress) {
        finish(r, call, PL_OK, index, PL_OK);
    } else if (call->wants_progress && !pl_batch_reserve_items(r->batch, 1)) {
        (void)set_deadline(r, call);
        add_result(r, call->caller, call->caller_key.number, PL_OK, index)->is_on = true;
    }
    return true;
}

void pl_run_cancel(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_call *call = find_by_caller(&r->realm->dealer, op->session->id, op->token);
    enum pl_cancel mode = (enum pl_cancel)op->flags;
    if (!call || call->is_killed)
        return;
    bool can = call->callee && call->callee_flags & PL_CALLEE_CAN_CANCEL;
    if (can && mode == PL_CANCEL_KILL) {
        if (pl_batch_reserve_items(r->batch, 1))
            return; /* as if it had not been asked for: the call goes on */
        call->is_killed = true;
        interrupt(r, call, mode, PL_CANCELED);
        return;
    }
    bool tells = can && mode == PL_CANCEL_KILL_NO_WAIT;
    finish(r, call, PL_CANCELED, PL_NO_MESSAGE, tells ? PL_CANCELED : PL_OK);
}

static void run_progress(struct pl_runner *r, struct pl_call *call, uint32_t index)
{
    if (!call->wants_progress)
        return;
    /* Who sends what others wait for is at work: the time begins anew. */
    (void)set_deadline(r, call);
    if (call->sink)
        publish_answer(r, call, PL_OK, index);
    else if (!pl_batch_reserve_items(r->batch, 1))
        add_result(r, call->caller, call->caller_key.number, PL_OK, index)->is_on = true;
    else
        pl_count(&r->batch->worker->counters.dropped_no_memory, 1);
}

void pl_run_yield(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_call *call = find_by_callee(&r->realm->dealer, op->session->id, op->token);
    if (!call)
        return;
    if (op->err) {
        finish(r, call, (enum pl_err)op->err, PL_NO_MESSAGE, PL_OK);
        return;
    }
    const struct pl_message *m = r->batch->messages[op->index];
    if (m->properties && m->properties->is_progress)
        run_progress(r, call, op->index);
    else
        finish(r, call, PL_OK, op->index, PL_OK);
}

/* The next callee, with the arguments that were kept. */
static enum pl_err ask_next(struct pl_runner *r, struct pl_call *call)
{
    uint32_t index;
    struct pl_message *kept = call->kept;
    if (!kept || call->has_more || call->is_parted || call->tried_count == PL_CALL_TRIES_MAX)
        return PL_NO_CALLEE;
    struct pl_registration *reg =
        pl_registrations_match(&r->realm->dealer.registrations, kept->subject);
    struct pl_callee *callee = reg ? pl_dealer_choose(r->realm, call, reg) : NULL;
    if (!callee)
        return PL_NO_CALLEE;
    enum pl_err err = pl_batch_add_kept(r->batch, pl_message_keep(kept), &index);
    return err ? err : ask(r, call, callee, index);
}

void pl_run_pass(struct pl_runner *r, const struct pl_op *op)
{
    struct pl_dealer *d = &r->realm->dealer;
    struct pl_call *call = find_by_callee(d, op->session->id, op->token);
    if (!call)
        return;
    if (call->is_killed) {
        finish(r, call, PL_CANCELED, PL_NO_MESSAGE, PL_OK);
        return;
    }
    if (!pl_batch_reserve_items(r->batch, 1))
        press(r, call, false);
    take_from(&d->by_callee, &call->by_callee);
    if (call->offer)
        call->offer->open_calls--;
    call->offer = NULL;
    leave_callee(call);
    enum pl_err err = ask_next(r, call);
    if (err)
        finish(r, call, err, PL_NO_MESSAGE, PL_OK);
}

void pl_run_press(struct pl_runner *r, const struct pl_op *op)
{
    if (!op->flags) { /* the caller reads again: all of its calls */
        for (struct pl_call *c = op->session->calls_made; c; c = c->caller_next)
            if (c->is_pressing && !pl_batch_reserve_items(r->batch, 1))
                press(r, c, false);
        return;
    }
    struct pl_call *call = find_by_caller(&r->realm->dealer, op->session->id, op->token);
    if (call && !pl_batch_reserve_items(r->batch, 1))
        press(r, call, true);
}

void pl_run_call_due(struct pl_runner *r, struct pl_deadline *due)
{
    struct pl_call *call = PL_CONTAINER(due, struct pl_call, deadline);
    finish(r, call, PL_TIMEOUT, PL_NO_MESSAGE, PL_TIMEOUT);
}

void pl_run_drop_calls(struct pl_runner *r, struct pl_session *s)
{
    while (s->callees)
        pl_run_withdraw(r, s->callees);
    while (s->calls_taken) {
        struct pl_call *call = s->calls_taken;
        call->is_pressing = false; /* whom it pressed is gone */
        leave_callee(call);
        if (!call->is_stuck)
            finish(r, call, PL_CALLEE_GONE, PL_NO_MESSAGE, PL_OK);
    }
    while (s->calls_made) {
        struct pl_call *call = s->calls_made;
        if (!pl_batch_reserve_items(r->batch, 2)) {
            interrupt(r, call, PL_CANCEL_KILL_NO_WAIT, PL_CANCELED);
            press(r, call, false);
        }
        for (struct pl_call **at = &r->realm->dealer.stuck; *at; at = &(*at)->next)
            if (*at == call) {
                *at = call->next;
                break;
            }
        free_call(r, call);
    }
}
