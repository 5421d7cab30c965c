#include "core/restore.h"

#include "base/alloc.h"
#include "core/realm_state.h"

enum { EPOCHS_MAX = 64, PAIR = 16 };

/* Of an epoch that has not ended, as far as the store knows. */
#define OPEN_END UINT64_MAX

static const char epochs_name[] = "epochs", dropped_name[] = "dropped";

enum pl_err pl_state_key_parse(struct pl_bytes key, struct pl_state_key *out)
{
    const uint8_t *realm_end = key.len > 1 ? memchr(key.data + 1, 0, key.len - 1) : NULL;
    if (!realm_end)
        return PL_MALFORMED;
    *out = (struct pl_state_key){.realm = {key.data + 1, (size_t)(realm_end - key.data) - 1}};
    out->first = pl_bytes_from(key, out->realm.len + 2);
    /* A session's name is user, 0, name; what is behind one more zero is its protocol's. */
    if (key.data[0] == PL_STATE_SUBSCRIPTION || key.data[0] == PL_STATE_PROGRESS) {
        const uint8_t *user_end = memchr(out->first.data, 0, out->first.len);
        size_t at = user_end ? (size_t)(user_end - out->first.data) + 1 : 0;
        const uint8_t *name_end =
            user_end ? memchr(out->first.data + at, 0, out->first.len - at) : NULL;
        if (!name_end)
            return PL_MALFORMED;
        size_t len = (size_t)(name_end - out->first.data);
        out->second = pl_bytes_from(out->first, len + 1);
        out->first.len = len;
    }
    return PL_OK;
}

enum pl_err pl_stored_session_parse(
    const struct pl_state_key *key, struct pl_bytes value, struct pl_stored_session *out)
{
    const uint8_t *user_end = memchr(key->first.data, 0, key->first.len);
    if (!user_end || value.len < 16)
        return PL_MALFORMED;
    size_t user_len = (size_t)(user_end - key->first.data);
    *out = (struct pl_stored_session){
        .user = {key->first.data, user_len},
        .name = pl_bytes_from(key->first, user_len + 1),
        .protocol = pl_bytes_from(value, 16),
        .expiry_ms = pl_get_u64(value.data),
        .left_unix_ms = pl_get_u64(value.data + 8),
    };
    return PL_OK;
}

/* ---- the log ---- */

static enum pl_err restore_epochs(struct pl_realm *realm, struct pl_bytes value)
{
    if (value.len % PAIR)
        return PL_MALFORMED;
    uint32_t count = (uint32_t)(value.len / PAIR);
    struct pl_cursor *epochs = pl_alloc((count + 1) * sizeof *epochs);
    if (!epochs)
        return PL_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        epochs[i] = (struct pl_cursor){
            pl_get_u64(value.data + i * PAIR), pl_get_u64(value.data + i * PAIR + 8)};
    pl_free(realm->epochs);
    realm->epochs = epochs;
    realm->epoch_count = count;
    return PL_OK;
}

enum pl_err pl_realm_restore_log(
    struct pl_realm *realm, const struct pl_state_key *key, struct pl_bytes value)
{
    if (pl_bytes_equal(key->first, pl_bytes_text(epochs_name)))
        return restore_epochs(realm, value);
    struct pl_bytes dropped = pl_bytes_of(dropped_name, sizeof dropped_name); /* with its zero */
    if (!pl_bytes_starts(key->first, dropped) || value.len != 8)
        return PL_MALFORMED;
    pl_history_set_dropped(
        realm->history, pl_bytes_from(key->first, dropped.len), pl_get_u64(value.data));
    return PL_OK;
}

void pl_store_dropped(struct pl_realm *realm)
{
    for (uint32_t i = 0; i < pl_history_rule_count(realm->history); i++) {
        uint64_t offset;
        uint8_t value[8];
        struct pl_bytes pattern;
        if (!pl_history_tell_dropped(realm->history, i, &pattern, &offset))
            continue;
        pl_put_u64(value, offset);
        pl_store_log(realm, pl_bytes_text(dropped_name), &pattern, pl_bytes_of(value, 8));
    }
}

/* ---- retained values ---- */

enum pl_err pl_realm_restore_retained(struct pl_realm *realm, struct pl_message *kept_moved)
{
    /* One that has expired goes with the first tick, from the store too. */
    kept_moved->id = ++realm->publications;
    kept_moved->retain = true;
    enum pl_err err = pl_retained_set(realm->retained, kept_moved);
    pl_message_unref(kept_moved);
    return err == PL_LIMIT ? PL_OK : err; /* a smaller limit than before: the rest waits */
}

/* ---- sessions ---- */

static uint64_t stay_of(const struct pl_realm *realm, uint64_t expiry_ms)
{
    uint64_t max = realm->limits.session_expiry_max_ms;
    return expiry_ms < max ? expiry_ms : max;
}

bool pl_stored_session_is_over(
    const struct pl_realm *realm, const struct pl_stored_session *state, uint64_t now_unix_ms)
{
    uint64_t stay_ms = stay_of(realm, state->expiry_ms);
    if (!stay_ms)
        return true;
    return stay_ms != PL_NEVER && state->left_unix_ms && now_unix_ms > state->left_unix_ms &&
           now_unix_ms - state->left_unix_ms >= stay_ms;
}

static struct pl_mailbox *new_mailbox(struct pl_session *s, const struct pl_stored_session *state)
{
    size_t len = state->user.len + 1 + state->name.len;
    struct pl_mailbox *mailbox = pl_zalloc(sizeof *mailbox + len);
    if (!mailbox)
        return NULL;
    if (state->user.len)
        memcpy(mailbox->name, state->user.data, state->user.len);
    if (state->name.len)
        memcpy(mailbox->name + state->user.len + 1, state->name.data, state->name.len);
    mailbox->entry.key = pl_bytes_of(mailbox->name, len);
    mailbox->expiry_ms = state->expiry_ms;
    mailbox->expiry.kind = PL_DUE_SESSION;
    mailbox->will_due.kind = PL_DUE_WILL;
    mailbox->session = s;
    mailbox->is_detached = true;
    mailbox->is_stored = true;
    return mailbox;
}

static enum pl_err set_end(
    struct pl_realm *realm, struct pl_mailbox *mailbox, uint64_t left_unix_ms)
{
    const struct pl_worker *home = realm->workers;
    uint64_t stay_ms = stay_of(realm, mailbox->expiry_ms);
    if (stay_ms == PL_NEVER)
        return PL_OK;
    uint64_t gone_ms =
        left_unix_ms && home->now_unix_ms > left_unix_ms ? home->now_unix_ms - left_unix_ms : 0;
    uint64_t rest_ms = stay_ms > gone_ms ? stay_ms - gone_ms : 0;
    return pl_heap_set(&realm->deadlines, &mailbox->expiry, home->now_ms + rest_ms);
}

enum pl_err pl_realm_restore_session(
    struct pl_realm *realm, struct pl_session *s, const struct pl_stored_session *state)
{
    struct pl_runner r = {.realm = realm};
    char *user = pl_alloc_copy(state->user.data, state->user.len);
    struct pl_mailbox *mailbox = user ? new_mailbox(s, state) : NULL;
    s->identity = mailbox ? pl_identity_new_all(user, "") : NULL;
    pl_free(user);
    s->realm = realm;
    enum pl_err err = s->identity ? PL_OK : PL_NO_MEMORY;
    if (!err)
        err = pl_map_add(&realm->names, &mailbox->entry, mailbox->entry.key);
    if (err) {
        pl_mailbox_free(mailbox);
        return err;
    }
    s->mailbox = mailbox;
    err = set_end(realm, mailbox, state->left_unix_ms);
    if (!err)
        err = pl_run_enter(&r, s);
    if (err) {
        pl_map_remove(&realm->names, &mailbox->entry);
        pl_heap_remove(&realm->deadlines, &mailbox->expiry);
        pl_mailbox_free(mailbox);
        s->mailbox = NULL;
        return err;
    }
    s->state = PL_SESSION_JOINED;
    realm->detached_count++;
    return PL_OK;
}

enum pl_err pl_realm_restore_subscription(
    struct pl_realm *realm, struct pl_session *s, struct pl_subscription *sub, uint64_t since)
{
    sub->session = s;
    sub->worker = (uint8_t)s->address->index;
    sub->is_durable = true;
    sub->since = since;
    enum pl_err err = pl_matcher_add(realm->matcher, sub);
    if (err) {
        sub->pattern = pl_pattern_unref(sub->pattern);
        return err;
    }
    sub->session_next = s->subs;
    if (sub->session_next)
        sub->session_next->session_at = &sub->session_next;
    sub->session_at = &s->subs;
    s->subs = sub;
    s->sub_count++;
    realm->durable_subs += sub->qos > 0;
    return PL_OK;
}

void pl_realm_restore_undo(struct pl_session *s)
{
    struct pl_realm *realm = s->realm;
    struct pl_mailbox *mailbox = s->mailbox;
    for (; s->subs; s->subs = s->subs->session_next) {
        pl_matcher_remove(realm->matcher, s->subs);
        s->subs->pattern = pl_pattern_unref(s->subs->pattern);
    }
    *s->realm_at = s->realm_next;
    if (s->realm_next)
        s->realm_next->realm_at = s->realm_at;
    realm->session_count--;
    realm->detached_count--;
    pl_map_remove(&realm->names, &mailbox->entry);
    pl_heap_remove(&realm->deadlines, &mailbox->expiry);
    pl_mailbox_free(mailbox);
    s->mailbox = NULL;
}

/* ---- messages ---- */

static bool wants(const struct pl_subscription *sub, const struct pl_message *m)
{
    return sub->is_durable && sub->qos && m->record->id > sub->since;
}

static void deliver(struct pl_subscription *sub, const struct pl_message *m)
{
    if (!wants(sub, m))
        return;
    const struct pl_message *const one[] = {m};
    struct pl_run run = {
        .messages = one, .count = 1, .cursor.epoch = pl_realm_epoch(sub->session->realm)};
    sub->session->ops->deliver(sub->session, sub, &run);
}

/* The one of a queue group that it was in flight to; else one that has not had it: it may be that
 * another had, but not that nobody gets it. */
static struct pl_subscription *find_member(
    const struct pl_match *match, const struct pl_match_slot *slot, const struct pl_message *m)
{
    struct pl_subscription *found = NULL;
    for (uint32_t i = 0; i < slot->count; i++) {
        uint64_t at = (m->record->id + i) % slot->count; /* each in its turn */
        struct pl_subscription *sub = match->members[slot->first + at];
        enum pl_had had = wants(sub, m) && sub->session->ops->had
                              ? sub->session->ops->had(sub->session, m)
                              : PL_HAD_DONE;
        if (had == PL_HAD_OPEN)
            return sub;
        if (had == PL_HAD_NOT && !found)
            found = sub;
    }
    return found;
}

static enum pl_err give_out(struct pl_realm *realm, const struct pl_message *m)
{
    if (!m->qos || m->is_note || !realm->durable_subs ||
        pl_message_is_expired(m, realm->workers->now_ms))
        return PL_OK;
    struct pl_match *match = pl_matcher_match(realm->matcher, m->subject, m->offset != 0);
    if (!match)
        return PL_NO_MEMORY;
    pl_match_ref(match);
    for (uint32_t i = 0; i < match->target_count; i++)
        deliver(match->targets[i], m);
    for (uint32_t i = 0; i < match->slot_count; i++) {
        struct pl_subscription *sub = find_member(match, &match->slots[i], m);
        if (sub)
            deliver(sub, m);
    }
    pl_match_unref(match);
    return PL_OK;
}

enum pl_err pl_realm_restore_message(
    struct pl_realm *realm, struct pl_message *kept_moved, bool *out_orphan)
{
    struct pl_message *m = kept_moved;
    enum pl_err err = PL_OK;
    m->id = ++realm->publications;
    bool has_rule = pl_history_kind(realm->history, m->subject) == PL_HISTORY_DURABLE;
    *out_orphan = m->offset && !has_rule;
    if (*out_orphan)
        pl_history_pass(realm->history, m->offset);
    if (!has_rule || m->offset <= pl_history_head(realm->history).offset)
        m->offset = 0;
    else
        err = pl_history_append(realm->history, m, m->time_unix_ms);
    if (!err)
        err = give_out(realm, m);
    /* Let go of without its record, which then stays; unless a session holds it. */
    if (*out_orphan && atomic_load_explicit(&m->refs, memory_order_relaxed) == 1)
        m->record = NULL;
    pl_message_unref(m);
    return err;
}

enum pl_err pl_realm_restore_end(struct pl_realm *realm)
{
    uint64_t last = pl_history_head(realm->history).offset;
    uint64_t dropped = pl_history_dropped_to(realm->history);
    if (last < dropped) /* nothing newer is left: new offsets begin behind it all the same */
        last = dropped;
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; i < realm->epoch_count && !err; i++) {
        if (realm->epochs[i].offset == OPEN_END)
            realm->epochs[i].offset = last;
        err = pl_history_add_epoch(realm->history, realm->epochs[i]);
    }
    if (err || !realm->journal || !realm->has_history)
        return err;
    uint8_t value[(EPOCHS_MAX + 1) * PAIR];
    uint32_t first = realm->epoch_count > EPOCHS_MAX ? realm->epoch_count - EPOCHS_MAX : 0;
    size_t len = 0;
    for (uint32_t i = first; i < realm->epoch_count; i++, len += PAIR) {
        pl_put_u64(value + len, realm->epochs[i].epoch);
        pl_put_u64(value + len + 8, realm->epochs[i].offset);
    }
    pl_put_u64(value + len, realm->epoch);
    pl_put_u64(value + len + 8, OPEN_END);
    pl_store_log(realm, pl_bytes_text(epochs_name), NULL, pl_bytes_of(value, len + PAIR));
    return PL_OK;
}
