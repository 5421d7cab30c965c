/*
 * Words of the meta session: the end, other details, what is published when the session has ended,
 * what was taken away.
 */
#include "base/alloc.h"
#include "protocols/wamp/wamp_session.h"

static struct pl_bytes text_of(const struct pl_value *dict, const char *key, struct pl_arena *arena)
{
    struct pl_value value;
    struct pl_bytes text = PL_NO_BYTES;
    if (!pl_value_find(dict, key, &value) || value.kind != PL_VALUE_STRING ||
        pl_value_text(&value, arena, &text))
        return PL_NO_BYTES;
    return text;
}

static uint64_t id_of(const struct pl_value *dict, const char *key)
{
    struct pl_value value;
    uint64_t id = 0;
    return pl_value_find(dict, key, &value) && pl_value_id(&value, &id) ? id : 0;
}

static void be_killed(struct wamp_session *s, const struct pl_value *word, struct pl_arena *arena)
{
    struct pl_bytes reason = text_of(word, "reason", arena);
    const char *uri = reason.len ? pl_arena_copy(arena, reason) : NULL;
    s->keeps_quiet = pl_value_flag(word, "is_quiet");
    wamp_goodbye(s, uri ? uri : "wamp.close.killed", text_of(word, "message", arena));
}

static void change_details(struct wamp_session *s, const struct pl_value *word)
{
    struct pl_value delta;
    struct pl_shared *card;
    struct pl_bytes old = pl_bytes_of(s->core.card->data, s->core.card->len);
    if (!pl_value_find(word, "details", &delta) || pl_wamp_card_change(old, &delta, &card))
        return;
    if (wamp_set_attributes(s, pl_bytes_of(card->data, card->len)))
        pl_shared_unref(card);
    else
        pl_session_set_card(&s->core, card);
}

/* ---- Testaments ---- */

static uint8_t scope_of(const struct pl_value *word)
{
    struct pl_value value;
    return pl_value_find(word, "scope", &value) && pl_value_is(&value, "detached")
               ? PL_WAMP_SCOPE_DETACHED
               : PL_WAMP_SCOPE_DESTROYED;
}

static void add_testament(struct wamp_session *s, const struct pl_value *word)
{
    const struct pl_wamp_options *options = wamp_options(s->wl);
    if (s->testament_count >= options->testaments_max ||
        word->raw.len > options->testament_bytes_max - s->testament_bytes)
        return;
    struct wamp_testament *t = pl_zalloc(sizeof *t);
    struct pl_shared *kept = t ? pl_shared_new(word->raw.len) : NULL;
    if (!kept) {
        pl_free(t);
        return;
    }
    memcpy(kept->data, word->raw.data, word->raw.len);
    kept->len = (uint32_t)word->raw.len;
    t->word = kept;
    t->scope = scope_of(word);
    *s->testaments_end = t;
    s->testaments_end = &t->next;
    s->testament_count++;
    s->testament_bytes += kept->len;
}

void wamp_free_testaments(struct wamp_session *s, unsigned scopes)
{
    struct wamp_testament **at = &s->testaments;
    while (*at) {
        struct wamp_testament *t = *at;
        if (!(scopes & 1u << t->scope)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        s->testament_count--;
        s->testament_bytes -= t->word->len;
        pl_shared_unref(t->word);
        pl_free(t);
    }
    s->testaments_end = at;
}

/* args and kwargs, one behind the other. */
static enum pl_err join_arguments(const struct pl_value *word, struct pl_shared **out)
{
    struct pl_value args, kwargs;
    bool has_args = pl_value_find(word, "args", &args) && args.kind == PL_VALUE_LIST;
    bool has_kwargs = pl_value_find(word, "kwargs", &kwargs) && kwargs.kind == PL_VALUE_DICT;
    struct pl_writer w = pl_writer_new();
    if (has_args)
        pl_write_bytes(&w, args.raw);
    else if (has_kwargs)
        pl_write_u8(&w, 0x90); /* no arguments, in MessagePack */
    if (has_kwargs)
        pl_write_bytes(&w, kwargs.raw);
    return pl_writer_take(&w, out);
}

static void publish_testament(struct wamp_session *s, const struct wamp_testament *t)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    struct pl_value word, options = {.kind = PL_VALUE_NULL};
    struct pl_shared *payload;
    struct wamp_extras extras = {0};
    struct pl_message draft = {.format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK};
    size_t used;
    /* The batch outlives the testament: what the message refers to lies in its arena. */
    const char *copy = pl_arena_copy(arena, pl_bytes_of(t->word->data, t->word->len));
    if (!copy || pl_value_read(PL_SERIAL_MSGPACK, pl_bytes_of(copy, t->word->len), &word, &used))
        return;
    struct pl_bytes topic = text_of(&word, "topic", arena);
    (void)pl_value_find(&word, "options", &options);
    if (wamp_uri_decode(arena, topic, wamp_options(s->wl)->strict_uri, &draft.subject) ||
        wamp_audience(s, &options, &extras.audience) ||
        wamp_properties(s, &options, &extras, &draft.properties) || join_arguments(&word, &payload))
        return;
    draft.payload = pl_bytes_of(payload->data, payload->len);
    draft.retain = pl_value_flag(&options, "retain");
    (void)pl_session_publish(&s->core, &draft, payload, 0, 0);
    pl_shared_unref(payload);
}

void wamp_publish_testaments(struct wamp_session *s)
{
    for (int scope = 0; scope < PL_WAMP_SCOPE_COUNT; scope++)
        for (const struct wamp_testament *t = s->testaments; t; t = t->next)
            if (t->scope == scope)
                publish_testament(s, t);
}

/* ---- Revocation ---- */

static void drop_subscription(
    struct wamp_session *s, const struct pl_value *word, struct pl_arena *arena)
{
    struct wamp_sub *sub = wamp_find_sub(s, id_of(word, "subscription"));
    if (!sub)
        return;
    sub->is_revoked = true;
    if (s->features.subscription_revocation)
        wamp_send_revoked(
            s, PL_WAMP_UNSUBSCRIBED, "subscription", sub->id, text_of(word, "reason", arena));
    wamp_drop_sub(s, sub, 0);
}

static void drop_registration(
    struct wamp_session *s, const struct pl_value *word, struct pl_arena *arena)
{
    struct wamp_callee *callee = wamp_find_callee(s, id_of(word, "registration"));
    if (!callee)
        return;
    if (s->features.registration_revocation)
        wamp_send_revoked(
            s, PL_WAMP_UNREGISTERED, "registration", callee->id, text_of(word, "reason", arena));
    wamp_drop_callee(s, callee, 0);
}

void wamp_told(struct pl_session *core, const struct pl_word *said)
{
    struct wamp_session *s = (struct wamp_session *)core;
    struct pl_arena arena = {0};
    struct pl_value word;
    size_t used;
    if (!s->wl || s->wl->phase != WAMP_JOINED ||
        pl_value_read(PL_SERIAL_MSGPACK, said->bytes, &word, &used))
        return;
    switch ((enum pl_wamp_word)said->kind) {
    case PL_WAMP_WORD_KILL:
        be_killed(s, &word, &arena);
        break;
    case PL_WAMP_WORD_DETAILS:
        change_details(s, &word);
        break;
    case PL_WAMP_WORD_TESTAMENT:
        add_testament(s, &word);
        break;
    case PL_WAMP_WORD_FLUSH:
        wamp_free_testaments(s, 1u << scope_of(&word));
        break;
    case PL_WAMP_WORD_DROP_SUBSCRIPTION:
        drop_subscription(s, &word, &arena);
        break;
    case PL_WAMP_WORD_DROP_REGISTRATION:
        drop_registration(s, &word, &arena);
        break;
    }
    pl_arena_done(&arena);
}
