/*
 * From HELLO to WELCOME: what the client can, who it is, what others may know of it.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/text.h"
#include "protocols/wamp/wamp_session.h"

enum { EXTRA_MAX = 32, METHODS_MAX = 16 };

/* ---- What the client says ---- */

static bool find(const struct pl_value *dict, const char *key, struct pl_value *out)
{
    return pl_value_find(dict, key, out);
}

/* The features of a role; no role: none of them. */
static bool role(const struct pl_value *details, const char *name, struct pl_value *out)
{
    struct pl_value roles, one;
    out->kind = PL_VALUE_NULL;
    if (!find(details, "roles", &roles) || !find(&roles, name, &one))
        return false;
    if (!find(&one, "features", out))
        out->kind = PL_VALUE_NULL;
    return true;
}

/* wampy takes a call's parts without announcing it. To others a second INVOCATION of a request is a
 * violation (autobahn-python), or another call (autobahn-js). */
static bool takes_unsaid_parts(const struct pl_value *details)
{
    struct pl_arena arena = {0};
    struct pl_value agent;
    struct pl_bytes name = PL_NO_BYTES;
    bool is_wampy = find(details, "agent", &agent) && agent.kind == PL_VALUE_STRING &&
                    !pl_value_text(&agent, &arena, &name) &&
                    pl_bytes_starts(name, PL_BYTES("Wampy.js"));
    pl_arena_done(&arena);
    return is_wampy;
}

/* False: it has none of the roles that a client can have. */
static bool read_features(const struct pl_value *details, struct wamp_features *f)
{
    struct pl_value subscriber, publisher, caller, callee;
    bool is_subscriber = role(details, "subscriber", &subscriber);
    bool is_publisher = role(details, "publisher", &publisher);
    bool is_caller = role(details, "caller", &caller);
    bool is_callee = role(details, "callee", &callee);
    *f = (struct wamp_features){
        .publisher_identification = pl_value_flag(&subscriber, "publisher_identification"),
        .subscription_revocation = pl_value_flag(&subscriber, "subscription_revocation"),
        .caller_identification = pl_value_flag(&callee, "caller_identification"),
        .call_canceling = pl_value_flag(&callee, "call_canceling"),
        .call_timeout = pl_value_flag(&callee, "call_timeout"),
        .progressive_results = pl_value_flag(&callee, "progressive_call_results"),
        .progressive_results_caller = pl_value_flag(&caller, "progressive_call_results"),
        .progressive_invocations = pl_value_flag(&callee, "progressive_call_invocations"),
        .unsaid_parts = takes_unsaid_parts(details),
        .registration_revocation = pl_value_flag(&callee, "registration_revocation"),
    };
    return is_subscriber || is_publisher || is_caller || is_callee;
}

/* Of a value what fits into a text attribute; false: a list, a dictionary, nothing. */
static bool as_text(const struct pl_value *value, struct pl_arena *arena, struct pl_bytes *out)
{
    if (value->kind == PL_VALUE_STRING)
        return !pl_value_text(value, arena, out);
    if (value->kind == PL_VALUE_BOOL) {
        *out = value->boolean ? PL_BYTES("true") : PL_BYTES("false");
        return true;
    }
    uint64_t number;
    char digits[PL_DECIMAL_MAX];
    if (!pl_value_natural(value, &number))
        return false;
    size_t len = pl_format_decimal(digits, number);
    const char *copy = pl_arena_copy(arena, pl_bytes_of(digits, len));
    *out = pl_bytes_of(copy, copy ? len : 0);
    return copy != NULL;
}

/* The members of a dictionary that are text, as attributes in the arena; at most max. */
static uint32_t read_texts(
    const struct pl_value *dict, struct pl_arena *arena, struct pl_attribute *out, uint32_t max)
{
    struct pl_items items = pl_value_items(dict);
    struct pl_value key, value;
    uint32_t count = 0;
    while (items.is_dict && count < max && pl_items_next(&items, &key, &value))
        if (key.kind == PL_VALUE_STRING && !pl_value_text(&key, arena, &out[count].name) &&
            as_text(&value, arena, &out[count].value))
            count++;
    return count;
}

static uint32_t read_methods(
    const struct pl_value *details, struct pl_arena *arena, struct pl_bytes *out)
{
    struct pl_value list, item;
    uint32_t count = 0;
    if (!find(details, "authmethods", &list) || list.kind != PL_VALUE_LIST)
        return 0;
    struct pl_items items = pl_value_items(&list);
    while (count < METHODS_MAX && pl_items_next(&items, NULL, &item))
        if (item.kind == PL_VALUE_STRING && !pl_value_text(&item, arena, &out[count]))
            count++;
    return count;
}

/* ---- Login ---- */

static struct pl_credentials credentials_of(struct wamp_session *s)
{
    struct pl_link *link = &s->wl->link;
    return (struct pl_credentials){
        .address = link->address,
        .protocol = "wamp",
        .listener = link->config->listener,
        .is_ambient_allowed = link->is_ambient_allowed,
        .realm = s->realm,
        .session_id = pl_session_public_id(&s->core),
        .cookie = link->cookie,
        .can_ask = true,
    };
}

/* What its TLS connection says of it. */
static void show_tls(
    struct pl_link *link, struct pl_credentials *shown, uint8_t channel_id[PL_CHANNEL_ID_MAX])
{
    if (!link->is_tls || !link->host->certificate)
        return;
    shown->certificate = link->host->certificate(link);
    for (uint32_t i = 0; i < shown->extra_count; i++) {
        if (!pl_bytes_equal(shown->extra[i].name, PL_BYTES("channel_binding")))
            continue;
        size_t len =
            link->host->channel_id(link, shown->extra[i].value, channel_id, PL_CHANNEL_ID_MAX);
        shown->channel_id = pl_bytes_of(channel_id, len);
    }
}

static void log_in(struct wamp_session *s)
{
    struct pl_bytes methods[METHODS_MAX];
    struct pl_attribute extra[EXTRA_MAX];
    struct pl_value value;
    struct pl_credentials shown = credentials_of(s);
    shown.methods = methods;
    shown.method_count = read_methods(&s->details, &s->memory, methods);
    shown.extra = extra;
    bool has_method = false;
    for (uint32_t i = 0; i < shown.method_count; i++)
        has_method |= !pl_bytes_equal(methods[i], PL_BYTES("anonymous"));
    shown.user = s->authid;
    if (find(&s->details, "authextra", &value))
        shown.extra_count = read_texts(&value, &s->memory, extra, EXTRA_MAX);
    uint8_t channel_id[PL_CHANNEL_ID_MAX];
    show_tls(&s->wl->link, &shown, channel_id);
    /* Who asks for no method may have shown a token with the WebSocket's request. */
    if (s->wl->link.is_websocket && !has_method)
        shown.token = pl_link_request_token(&s->wl->link);
    shown.has_token = shown.token.len > 0;
    if (shown.has_token) {
        shown.method_count = 0;
    } else if (!shown.method_count) {
        methods[0] = PL_BYTES("anonymous");
        shown.method_count = 1;
    }
    s->wl->phase = WAMP_LOGIN;
    wamp_set_waiting(s);
    pl_session_login(&s->core, &shown, 0);
}

static enum pl_err keep_hello(struct wamp_session *s, const struct pl_wamp *m)
{
    struct pl_value value;
    size_t used;
    const char *details = pl_arena_copy(&s->memory, m->details.raw);
    struct pl_bytes realm = PL_NO_BYTES;
    if (!details || pl_value_text(&m->text, &s->memory, &realm))
        return PL_NO_MEMORY;
    const char *kept = pl_arena_copy(&s->memory, realm);
    if (!kept)
        return PL_NO_MEMORY;
    s->realm = pl_bytes_of(kept, realm.len);
    enum pl_err err = pl_value_read((enum pl_serializer)m->serializer,
        pl_bytes_of(details, m->details.raw.len), &s->details, &used);
    if (err)
        return err;
    if (find(&s->details, "authid", &value) && value.kind == PL_VALUE_STRING)
        err = pl_value_text(&value, &s->memory, &s->authid);
    return err;
}

enum pl_err wamp_on_hello(struct wamp_link *wl, const struct pl_wamp *m)
{
    struct wamp_features features;
    if (m->details.raw.len > wamp_options(wl)->details_max)
        return wamp_violate(wl, "Details are too long");
    if (!read_features(&m->details, &features))
        return wamp_abort(
            wl, PL_PROTOCOL, "wamp.error.no_such_role", "HELLO names none of a client's roles");
    struct wamp_session *s = pl_zalloc(sizeof *s);
    if (!s)
        return PL_NO_MEMORY;
    pl_session_init(&s->core, &wamp_session_ops, wl->link.worker, wl->link.out);
    uint64_t seed = pl_session_public_id(&s->core);
    pl_map_init(&s->subs, seed);
    pl_map_init(&s->callees, seed);
    s->testaments_end = &s->testaments;
    s->features = features;
    enum pl_err err = keep_hello(s, m);
    if (err) {
        wamp_session_free(s);
        return err;
    }
    s->wl = wl;
    wl->session = s;
    wl->link.session = &s->core;
    log_in(s);
    return PL_OK;
}

/* What a challenge's field says: a text, or a number. */
static void put_field(struct pl_value_writer *v, const struct pl_challenge_field *field)
{
    pl_put_key(v, field->name);
    if (field->text.data)
        pl_put_string(v, field->text);
    else
        pl_put_natural(v, field->number);
}

static void send_challenge(struct wamp_session *s)
{
    const struct pl_challenge *challenge = s->core.challenge;
    struct wamp_out o;
    wamp_send_begin(&o, s->wl, PL_WAMP_CHALLENGE);
    pl_put_string(&o.v, challenge->method);
    pl_put_dict(&o.v);
    for (uint32_t i = 0; i < challenge->field_count; i++)
        put_field(&o.v, &challenge->fields[i]);
    pl_put_end(&o.v);
    (void)wamp_send_end(&o);
    s->wl->phase = WAMP_CHALLENGED;
    wamp_set_waiting(s);
}

enum pl_err wamp_on_authenticate(struct wamp_session *s, const struct pl_wamp *m)
{
    struct pl_arena arena = {0};
    struct pl_attribute extra[EXTRA_MAX];
    struct pl_credentials shown = credentials_of(s);
    shown.is_response = true;
    shown.extra = extra;
    shown.extra_count = read_texts(&m->details, &arena, extra, EXTRA_MAX);
    enum pl_err err = pl_value_text(&m->text, &arena, &shown.response);
    if (!err) {
        s->wl->phase = WAMP_LOGIN;
        wamp_set_waiting(s);
        pl_session_login(&s->core, &shown, 0);
    }
    pl_arena_done(&arena);
    return err;
}

/* ---- The card ---- */

void wamp_name_of(const struct pl_session *near, uint64_t public_id, char out[WAMP_NAME])
{
    uint8_t bytes[PL_SECRET_HASH_SIZE];
    uint64_t seed[] = {near->worker->id_seed, pl_realm_seed(near->realm)};
    pl_hash_secret(
        pl_bytes_of(seed, sizeof seed), pl_bytes_of(&public_id, sizeof public_id), bytes);
    pl_hex_encode(pl_bytes_of(bytes, sizeof bytes), out);
}

static enum pl_err make_name(struct wamp_session *s)
{
    char hex[WAMP_NAME];
    wamp_name_of(&s->core, pl_session_public_id(&s->core), hex);
    const char *copy = pl_arena_copy(&s->memory, pl_bytes_of(hex, sizeof hex));
    s->core.name = pl_bytes_of(copy, copy ? sizeof hex : 0);
    return copy ? PL_OK : PL_NO_MEMORY;
}

static struct pl_bytes attribute(const struct pl_identity *identity, const char *name)
{
    for (uint32_t i = 0; i < identity->attribute_count; i++)
        if (pl_bytes_equal(identity->attributes[i].name, pl_bytes_text(name)))
            return identity->attributes[i].value;
    return PL_NO_BYTES;
}

static struct pl_bytes provider(const struct pl_identity *identity)
{
    struct pl_bytes named = attribute(identity, "authprovider");
    return named.len ? named : PL_BYTES("static");
}

static void put_who(struct pl_value_writer *v, const struct wamp_session *s)
{
    const struct pl_identity *identity = s->core.identity;
    pl_put_key(v, "authid");
    pl_put_string(v, s->core.name);
    pl_put_key(v, "authrole");
    pl_put_string(v, identity->role);
    pl_put_key(v, "authmethod");
    pl_put_string(v, identity->method);
    pl_put_key(v, "authprovider");
    pl_put_string(v, provider(identity));
}

static void put_transport(struct pl_value_writer *v, const struct wamp_link *wl)
{
    const struct pl_link *link = &wl->link;
    pl_put_key(v, "transport");
    pl_put_dict(v);
    pl_put_key(v, "type");
    pl_put_text(v, link->is_websocket ? "websocket" : "rawsocket");
    pl_put_key(v, "protocol");
    pl_put_text(v, link->subprotocol                         ? link->subprotocol
                   : wl->way.serializer == PL_SERIAL_JSON    ? "wamp.2.json"
                   : wl->way.serializer == PL_SERIAL_MSGPACK ? "wamp.2.msgpack"
                                                             : "wamp.2.cbor");
    pl_put_key(v, "peer");
    pl_put_string(v, link->address);
    pl_put_key(v, "is_secure");
    pl_put_bool(v, link->is_tls);
    pl_put_end(v);
}

/* What HELLO said beside what is ours to say, and what is nobody else's business. */
static bool is_public_detail(const struct pl_value *key)
{
    static const char *const ours[] = {"session", "realm", "authid", "authrole", "authmethod",
        "authprovider", "authmethods", "authextra", "transport"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (pl_value_is(key, ours[i]))
            return false;
    return key->kind == PL_VALUE_STRING;
}

static enum pl_err make_card(struct wamp_session *s)
{
    struct pl_writer w = pl_writer_new();
    struct pl_value_writer v = pl_value_writer(&w, PL_SERIAL_MSGPACK);
    struct pl_items items = pl_value_items(&s->details);
    struct pl_value key, value;
    struct pl_bytes name;
    pl_put_dict(&v);
    pl_put_key(&v, "session");
    pl_put_natural(&v, pl_session_public_id(&s->core));
    put_who(&v, s);
    put_transport(&v, s->wl);
    while (pl_items_next(&items, &key, &value))
        if (is_public_detail(&key) && !pl_value_text(&key, &s->memory, &name)) {
            pl_put_key_bytes(&v, name);
            pl_put_value(&v, &value);
        }
    pl_put_end(&v);
    enum pl_err err = pl_writer_take(&w, &s->core.card);
    return err ? err : wamp_set_attributes(s, pl_bytes_of(s->core.card->data, s->core.card->len));
}

enum pl_err wamp_set_attributes(struct wamp_session *s, struct pl_bytes card)
{
    struct pl_value dict;
    size_t used;
    const char *copy = pl_arena_copy(&s->memory, card);
    if (!copy || pl_value_read(PL_SERIAL_MSGPACK, pl_bytes_of(copy, card.len), &dict, &used))
        return PL_NO_MEMORY;
    struct pl_attribute *attributes =
        pl_arena_alloc(&s->memory, (dict.count + 1) * sizeof *attributes);
    if (!attributes)
        return PL_NO_MEMORY;
    s->core.attribute_count = read_texts(&dict, &s->memory, attributes, dict.count);
    s->core.attributes = attributes;
    return PL_OK;
}

/* ---- The answer ---- */

static void refuse(struct wamp_session *s, enum pl_err err)
{
    const char *uri = err == PL_NO_REALM    ? "wamp.error.no_such_realm"
                      : err == PL_NO_METHOD ? "wamp.error.no_matching_auth_method"
                      : err == PL_LIMIT     ? "wamp.error.unavailable"
                      : err == PL_DRAINING  ? "wamp.close.system_shutdown"
                      : err == PL_NO_MEMORY ? "wamp.error.unavailable"
                      : err == PL_TOO_LARGE ? "wamp.error.payload_size_exceeded"
                                            : "wamp.error.authentication_failed";
    struct wamp_link *wl = s->wl;
    (void)wamp_abort(wl, err, uri, pl_err_text(err));
    wl->link.is_waiting = true;
    wl->link.host->close(&wl->link, err, NULL);
}

void wamp_on_login(struct wamp_session *s, enum pl_err err)
{
    if (!s->wl)
        return;
    if (err == PL_CHALLENGED) {
        send_challenge(s);
        return;
    }
    if (!err && s->core.identity->user.len)
        s->core.name = s->core.identity->user;
    else if (!err)
        err = make_name(s);
    if (!err)
        err = make_card(s);
    if (err) {
        refuse(s, err);
        return;
    }
    s->wl->phase = WAMP_JOINING;
    pl_session_join(&s->core, 0);
}

static void put_features(
    struct pl_value_writer *v, const char *role, const char *const *features, size_t count)
{
    pl_put_key(v, role);
    pl_put_dict(v);
    pl_put_key(v, "features");
    pl_put_dict(v);
    for (size_t i = 0; i < count; i++) {
        pl_put_key(v, features[i]);
        pl_put_bool(v, true);
    }
    pl_put_end(v);
    pl_put_end(v);
}

static void put_roles(struct pl_value_writer *v)
{
    static const char *const broker[] = {"publisher_identification", "publisher_exclusion",
        "subscriber_blackwhite_listing", "pattern_based_subscription", "session_meta_api",
        "subscription_meta_api", "event_history", "event_retention", "payload_passthru_mode",
        "subscription_revocation", "publication_trustlevels"};
    static const char *const dealer[] = {"caller_identification", "progressive_call_results",
        "progressive_call_invocations", "call_canceling", "call_timeout", "call_trustlevels",
        "pattern_based_registration", "shared_registration", "registration_revocation",
        "call_reroute", "session_meta_api", "registration_meta_api", "testament_meta_api",
        "payload_passthru_mode"};
    pl_put_key(v, "roles");
    pl_put_dict(v);
    put_features(v, "broker", broker, sizeof broker / sizeof *broker);
    put_features(v, "dealer", dealer, sizeof dealer / sizeof *dealer);
    pl_put_end(v);
}

/* Attributes of the login that are named authextra.X. */
static void put_extra(struct pl_value_writer *v, const struct pl_identity *identity)
{
    static const char head[] = "authextra.";
    bool is_open = false;
    for (uint32_t i = 0; i < identity->attribute_count; i++) {
        const struct pl_attribute *a = &identity->attributes[i];
        if (!pl_bytes_starts(a->name, pl_bytes_text(head)))
            continue;
        if (!is_open) {
            pl_put_key(v, "authextra");
            pl_put_dict(v);
        }
        is_open = true;
        pl_put_key_bytes(v, pl_bytes_from(a->name, sizeof head - 1));
        pl_put_string(v, a->value);
    }
    if (is_open)
        pl_put_end(v);
}

void wamp_on_join(struct wamp_session *s, enum pl_err err)
{
    struct wamp_link *wl = s->wl;
    struct wamp_out o;
    if (!wl)
        return;
    if (err) {
        refuse(s, err);
        return;
    }
    wamp_send_begin(&o, wl, PL_WAMP_WELCOME);
    pl_put_natural(&o.v, pl_session_public_id(&s->core));
    pl_put_dict(&o.v);
    put_roles(&o.v);
    pl_put_key(&o.v, "realm");
    pl_put_string(&o.v, s->realm);
    put_who(&o.v, s);
    put_extra(&o.v, s->core.identity);
    pl_put_key(&o.v, "agent");
    pl_put_text(&o.v, "Parley-" PARLEY_VERSION);
    pl_put_end(&o.v);
    if (wamp_send_end(&o) == PL_TOO_LARGE) {
        refuse(s, PL_TOO_LARGE);
        return;
    }
    wl->phase = WAMP_JOINED;
    wamp_set_waiting(s);
}
