/*
 * Subscriptions and registrations of the program:
 *
 *     IDLE ──asked──→ ASKED ──answered──→ LIVE          the session ends: all are IDLE again, and
 *      ↑_______________|___________________|            asked for in the next one
 *
 * The router gives all subscriptions of one topic and kind of match the same id. So several
 * handlers may stand behind one, and UNSUBSCRIBE is sent for the last of them alone.
 */
#include "base/alloc.h"
#include "client/client.h"

static struct pl_bytes key_of(const uint64_t *id)
{
    return pl_bytes_of(id, sizeof *id);
}

static struct pl_map *routes_of(struct parley_client *c, const struct pl_handler *h)
{
    return h->type == PL_WAMP_SUBSCRIBE ? &c->topics : &c->procedures;
}

static struct pl_handler *find(struct parley_client *c, uint64_t id)
{
    struct pl_map_entry *entry = pl_map_find(&c->handlers_by_id, key_of(&id));
    return entry ? PL_CONTAINER(entry, struct pl_handler, entry) : NULL;
}

/* The first of those that the router knows by this id. */
static struct pl_handler *find_route(struct pl_map *routes, uint64_t router_id)
{
    struct pl_map_entry *entry = pl_map_find(routes, key_of(&router_id));
    return entry ? PL_CONTAINER(entry, struct pl_handler, routed) : NULL;
}

struct pl_handler *pl_handler_of_registration(struct parley_client *c, uint64_t router_id)
{
    return find_route(&c->procedures, router_id);
}

/* ---- Life ---- */

static struct pl_handler *free_handler(struct pl_handler *h)
{
    pl_free(h->uri);
    pl_shared_unref(h->options);
    pl_free(h);
    return NULL;
}

static enum pl_err add(struct parley_client *c, struct pl_handler *h)
{
    h->id = c->next_handler + 1;
    enum pl_err err = pl_map_add(&c->handlers_by_id, &h->entry, key_of(&h->id));
    if (err)
        return err;
    c->next_handler++;
    h->at = c->handlers_at;
    *h->at = h;
    c->handlers_at = &h->next;
    return PL_OK;
}

/* They stand in the order of their ids. PL_NO_MEMORY: it is not there. */
static enum pl_err add_route(struct parley_client *c, struct pl_handler *h, uint64_t router_id)
{
    struct pl_map *routes = routes_of(c, h);
    struct pl_handler *first = find_route(routes, router_id);
    h->router_id = router_id;
    h->same = NULL;
    if (first && first->id < h->id) {
        while (first->same && first->same->id < h->id)
            first = first->same;
        h->same = first->same;
        first->same = h;
        return PL_OK;
    }
    if (first) {
        pl_map_remove(routes, &first->routed);
        h->same = first;
    }
    return pl_map_add(routes, &h->routed, key_of(&h->router_id));
}

static void remove_route(struct parley_client *c, struct pl_handler *h)
{
    struct pl_map *routes = routes_of(c, h);
    struct pl_handler *first = find_route(routes, h->router_id);
    if (first != h) {
        while (first && first->same != h)
            first = first->same;
        if (first)
            first->same = h->same;
        return;
    }
    pl_map_remove(routes, &h->routed);
    if (h->same) {
        enum pl_err err = pl_map_add(routes, &h->same->routed, key_of(&h->same->router_id));
        PL_ASSERT(err == PL_OK); /* One has just made room. */
    }
}

static void remove_handler(struct parley_client *c, struct pl_handler *h)
{
    if (h->state == PL_HANDLER_LIVE)
        remove_route(c, h);
    pl_map_remove(&c->handlers_by_id, &h->entry);
    *h->at = h->next;
    if (h->next)
        h->next->at = h->at;
    else
        c->handlers_at = h->at;
}

/* It has ended, or never was: on_done hears of it. */
static void end_handler(
    struct parley_client *c, struct pl_handler *h, const struct parley_message *message)
{
    struct pl_waiter *waiter = h->waiter;
    parley_message_fn *on_done = h->on_done;
    void *context = h->context;
    remove_handler(c, h);
    free_handler(h);
    if (waiter)
        pl_waiter_done(c, waiter, message);
    else
        pl_client_tell(c, on_done, context, message);
}

/* ---- Asking ---- */

static void put_match(struct pl_value_writer *v, enum parley_match match)
{
    if (match == PARLEY_EXACT)
        return;
    pl_put_key(v, "match");
    pl_put_text(v, match == PARLEY_PREFIX ? "prefix" : "wildcard");
}

static const char *put_subscribe(
    struct pl_value_writer *v, const struct parley_subscribe_options *o)
{
    put_match(v, o->match);
    if (o->get_retained) {
        pl_put_key(v, "get_retained");
        pl_put_bool(v, true);
    }
    return o->more;
}

static const char *put_register(struct pl_value_writer *v, const struct parley_register_options *o)
{
    static const char *const policies[] = {"single", "roundrobin", "random", "first", "last"};
    put_match(v, o->match);
    if (o->invoke != PARLEY_SINGLE) {
        pl_put_key(v, "invoke");
        pl_put_text(v, policies[o->invoke]);
    }
    if (o->concurrency) {
        pl_put_key(v, "concurrency");
        pl_put_natural(v, o->concurrency);
    }
    if (o->force) {
        pl_put_key(v, "force_reregister");
        pl_put_bool(v, true);
    }
    return o->more;
}

/* Options as they will be sent, with each session anew. */
static enum pl_err encode_options(const struct pl_handler_request *what, struct pl_handler *h)
{
    struct parley_subscribe_options subscribe = PARLEY_SUBSCRIBE_OPTIONS;
    struct parley_register_options registration = PARLEY_REGISTER_OPTIONS;
    pl_client_take_options(&subscribe, sizeof subscribe, what->subscribe);
    pl_client_take_options(&registration, sizeof registration, what->registration);
    bool is_subscription = what->type == PL_WAMP_SUBSCRIBE;
    enum parley_match match = is_subscription ? subscribe.match : registration.match;
    if (match > PARLEY_WILDCARD || registration.invoke > PARLEY_LAST)
        return PL_MALFORMED;
    h->match = (uint8_t)match;
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    pl_put_dict(&v);
    const char *more =
        is_subscription ? put_subscribe(&v, &subscribe) : put_register(&v, &registration);
    enum pl_err malformed = pl_put_json_pairs(&v, more);
    pl_put_end(&v);
    enum pl_err err = pl_writer_take(&w, &h->options);
    return err ? err : malformed;
}

static enum pl_err ask(struct parley_client *c, struct pl_handler *h)
{
    struct pl_writer w;
    struct pl_value options;
    size_t used;
    struct pl_request *r = pl_request_new(h->type);
    enum pl_err err = r ? PL_OK : PL_NO_MEMORY;
    if (!err)
        err = pl_value_read(
            PL_SERIAL_MSGPACK, pl_bytes_of(h->options->data, h->options->len), &options, &used);
    if (err) {
        pl_request_free(r);
        return err;
    }
    r->handler = h->id;
    struct pl_value_writer v = pl_client_begin(c, &w, (enum pl_wamp_type)h->type);
    pl_put_natural(&v, pl_request_id(c));
    pl_put_value(&v, &options);
    pl_put_text(&v, h->uri);
    pl_put_end(&v);
    err = pl_request_send(c, &w, r);
    if (err)
        return err;
    h->state = PL_HANDLER_ASKED;
    h->request = c->next_request;
    return PL_OK;
}

static enum pl_err new_handler(const struct pl_handler_request *what, struct pl_handler **out)
{
    if (!what->uri || (!what->on_event && !what->on_call))
        return PL_MALFORMED;
    struct pl_handler *h = pl_zalloc(sizeof *h);
    if (!h)
        return PL_NO_MEMORY;
    h->type = what->type;
    h->on_event = what->on_event;
    h->on_call = what->on_call;
    h->on_done = what->on_done;
    h->context = what->context;
    h->waiter = what->waiter;
    h->uri = pl_alloc_copy(what->uri, strlen(what->uri));
    enum pl_err err = h->uri ? encode_options(what, h) : PL_NO_MEMORY;
    if (err)
        free_handler(h);
    else
        *out = h;
    return err;
}

enum parley_code pl_handler_add(
    struct parley_client *c, const struct pl_handler_request *what, uint64_t *out_id)
{
    struct pl_handler *h = NULL;
    enum pl_err err = new_handler(what, &h);
    if (err)
        return pl_code_of(err);
    pl_client_lock(c);
    err = c->phase == PL_PHASE_ENDED ? PL_CLOSED : add(c, h);
    if (err) {
        free_handler(h);
    } else if (c->phase == PL_PHASE_JOINED && (err = ask(c, h))) {
        remove_handler(c, h);
        free_handler(h);
    }
    if (!err && out_id)
        *out_id = h->id;
    pl_client_unlock(c);
    return pl_code_of(err);
}

/* A handler that cannot be asked for, for want of memory or room, has ended. */
void pl_handlers_ask(struct parley_client *c)
{
    uint64_t last = 0;
    for (struct pl_handler *h = c->handlers; h;) {
        last = h->id;
        enum pl_err err = h->state == PL_HANDLER_IDLE ? ask(c, h) : PL_OK;
        if (!err) {
            h = h->next;
            continue;
        }
        struct parley_message message;
        pl_view_plain(&message, pl_code_of(err), NULL);
        end_handler(c, h, &message);
        pl_view_done(&message);
        /* The list may have changed meanwhile. */
        for (h = c->handlers; h && h->id <= last;)
            h = h->next;
    }
}

void pl_handlers_rest(struct parley_client *c)
{
    for (struct pl_handler *h = c->handlers; h; h = h->next) {
        h->state = PL_HANDLER_IDLE;
        h->same = NULL;
        h->request = h->router_id = 0;
    }
    pl_map_done(&c->topics);
    pl_map_done(&c->procedures);
    pl_map_init(&c->topics, 1);
    pl_map_init(&c->procedures, 1);
}

void pl_handlers_end_all(struct parley_client *c, enum parley_code code, const char *why)
{
    struct parley_message message;
    pl_view_plain(&message, code, why);
    while (c->handlers)
        end_handler(c, c->handlers, &message);
    pl_view_done(&message);
}

/* ---- Letting go ---- */

/* Another one for which the router has, or will have, the same subscription. */
static bool has_sibling(const struct parley_client *c, const struct pl_handler *h)
{
    for (const struct pl_handler *other = c->handlers; other; other = other->next) {
        if (other != h && other->type == PL_WAMP_SUBSCRIBE && other->match == h->match &&
            other->state != PL_HANDLER_IDLE && strcmp(other->uri, h->uri) == 0)
            return h->type == PL_WAMP_SUBSCRIBE;
    }
    return false;
}

static enum pl_err ask_to_end(
    struct parley_client *c, uint32_t type, uint64_t router_id, struct pl_request *r)
{
    struct pl_writer w;
    struct pl_value_writer v = pl_client_begin(c, &w, (enum pl_wamp_type)type);
    pl_put_natural(&v, pl_request_id(c));
    pl_put_natural(&v, router_id);
    pl_put_end(&v);
    return pl_request_send(c, &w, r);
}

/* One that is being asked for is let go of when the answer comes: its request becomes ours. */
static void take_request(struct parley_client *c, const struct pl_handler *h, struct pl_request *r)
{
    struct pl_map_entry *entry = pl_map_find(&c->requests, key_of(&h->request));
    PL_ASSERT(entry);
    struct pl_request *asked = PL_CONTAINER(entry, struct pl_request, entry);
    asked->handler = 0;
    asked->fn = r->fn;
    asked->context = r->context;
    asked->waiter = r->waiter;
    pl_request_free(r);
}

static enum pl_err let_go(
    struct parley_client *c, struct pl_handler *h, uint32_t type, struct pl_request *r)
{
    if (h->state == PL_HANDLER_LIVE && !has_sibling(c, h)) {
        enum pl_err err = ask_to_end(c, type, h->router_id, r);
        if (err && err != PL_CLOSED)
            return err;
    } else if (h->state == PL_HANDLER_ASKED && !has_sibling(c, h)) {
        take_request(c, h, r);
    } else {
        pl_request_end_soon(c, r);
    }
    remove_handler(c, h);
    free_handler(h);
    return PL_OK;
}

enum parley_code pl_handler_remove(struct parley_client *c, uint32_t type, uint64_t id,
    parley_message_fn *on_done, void *context, struct pl_waiter *waiter)
{
    struct pl_request *r = pl_request_new(type);
    if (!r)
        return PARLEY_NO_MEMORY;
    r->fn = on_done;
    r->context = context;
    r->waiter = waiter;
    pl_client_lock(c);
    struct pl_handler *h = find(c, id);
    uint32_t asked = type == PL_WAMP_UNSUBSCRIBE ? PL_WAMP_SUBSCRIBE : PL_WAMP_REGISTER;
    enum pl_err err = PL_NOT_FOUND;
    if (h && h->type == asked)
        err = let_go(c, h, type, r);
    else
        pl_request_free(r);
    pl_client_unlock(c);
    return pl_code_of(err);
}

/* ---- What the router says ---- */

/* The program let go of it before the answer came. */
static void answered_late(
    struct parley_client *c, struct pl_request *r, const struct parley_message *message)
{
    bool is_there =
        message->wamp.type == PL_WAMP_SUBSCRIBED || message->wamp.type == PL_WAMP_REGISTERED;
    uint32_t type = r->type == PL_WAMP_SUBSCRIBE ? PL_WAMP_UNSUBSCRIBE : PL_WAMP_UNREGISTER;
    bool is_shared =
        r->type == PL_WAMP_SUBSCRIBE && is_there && find_route(&c->topics, message->wamp.ids[1]);
    r->type = type;
    if (!is_there || is_shared || ask_to_end(c, type, message->wamp.ids[1], r) != PL_OK)
        pl_request_end_soon(c, r);
}

void pl_handlers_answered(
    struct parley_client *c, struct pl_request *r, const struct parley_message *message)
{
    struct pl_handler *h = r->handler ? find(c, r->handler) : NULL;
    if (!h) {
        answered_late(c, r, message);
        return;
    }
    pl_request_free(r);
    h->request = 0;
    if (message->code != PARLEY_OK || add_route(c, h, message->wamp.ids[1]) != PL_OK) {
        h->state = PL_HANDLER_IDLE;
        end_handler(c, h, message);
        return;
    }
    h->state = PL_HANDLER_LIVE;
    if (h->was_answered)
        return;
    h->was_answered = true;
    struct pl_waiter *waiter = h->waiter;
    h->waiter = NULL;
    if (waiter)
        pl_waiter_done(c, waiter, message);
    else
        pl_client_tell(c, h->on_done, h->context, message);
}

/* The program may have changed the subscriptions meanwhile: the next one is looked for anew. */
static struct pl_handler *next_of(struct pl_map *routes, uint64_t router_id, uint64_t last)
{
    struct pl_handler *h = find_route(routes, router_id);
    while (h && h->id <= last)
        h = h->same;
    return h;
}

/* The topic, if the router tells it; else what was subscribed, which is the same then. */
static const char *topic_of(struct parley_message *message, const struct pl_handler *h)
{
    const struct parley_value *topic = parley_value_get(parley_message_details(message), "topic");
    return parley_value_string(topic, h->uri);
}

void pl_handlers_event(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    struct parley_message message;
    struct pl_handler *h = next_of(&c->topics, wamp->ids[0], 0);
    if (!h)
        return;
    pl_view_of(&message, wamp, bytes);
    /* The handler may go while its callback runs. */
    message.uri = pl_arena_copy(&message.arena, pl_bytes_text(topic_of(&message, h)));
    while (h) {
        uint64_t last = h->id;
        pl_client_tell(c, h->on_event, h->context, &message);
        h = next_of(&c->topics, wamp->ids[0], last);
    }
    pl_view_done(&message);
}

void pl_handlers_revoked(struct parley_client *c, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    bool is_subscription = wamp->type == PL_WAMP_UNSUBSCRIBED;
    struct pl_map *routes = is_subscription ? &c->topics : &c->procedures;
    struct pl_value id;
    uint64_t router_id;
    if (wamp->details.kind != PL_VALUE_DICT ||
        !pl_value_find(&wamp->details, is_subscription ? "subscription" : "registration", &id) ||
        !pl_value_natural(&id, &router_id))
        return;
    struct parley_message message;
    pl_view_of(&message, wamp, bytes);
    message.code = PARLEY_REFUSED;
    message.why = "the router has ended it";
    struct pl_handler *h;
    while ((h = find_route(routes, router_id)))
        end_handler(c, h, &message);
    pl_view_done(&message);
}

/* ---- parley.h ---- */

enum parley_code parley_subscribe(struct parley_client *c, const char *topic,
    const struct parley_subscribe_options *options, parley_message_fn *on_event,
    parley_message_fn *on_done, void *context, uint64_t *out_id)
{
    const struct pl_handler_request what = {
        .type = PL_WAMP_SUBSCRIBE,
        .uri = topic,
        .subscribe = options,
        .on_event = on_event,
        .on_done = on_done,
        .context = context,
    };
    return pl_handler_add(c, &what, out_id);
}

enum parley_code parley_unsubscribe(
    struct parley_client *c, uint64_t id, parley_message_fn *on_done, void *context)
{
    return pl_handler_remove(c, PL_WAMP_UNSUBSCRIBE, id, on_done, context, NULL);
}

enum parley_code parley_register(struct parley_client *c, const char *procedure,
    const struct parley_register_options *options, parley_call_fn *on_call,
    parley_message_fn *on_done, void *context, uint64_t *out_id)
{
    const struct pl_handler_request what = {
        .type = PL_WAMP_REGISTER,
        .uri = procedure,
        .registration = options,
        .on_call = on_call,
        .on_done = on_done,
        .context = context,
    };
    return pl_handler_add(c, &what, out_id);
}

enum parley_code parley_unregister(
    struct parley_client *c, uint64_t id, parley_message_fn *on_done, void *context)
{
    return pl_handler_remove(c, PL_WAMP_UNREGISTER, id, on_done, context, NULL);
}
