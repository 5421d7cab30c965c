/*
 * What outlives the process waits for the disk (DESIGN section 7).
 *
 *     run an op ─ is it to be written down? ─ no ─→ it is done at once
 *                   │ yes: appended to the journal's group, and put into the realm's deferrals
 *     group on disk ─→ pl_realm_committed: the op is done as any other, or answered with the error
 *
 * So nobody hears of a durable message, and nobody is told that it was taken, before it is on disk,
 * and what a group that failed brought has never happened. Matching comes after the disk: a
 * subscription that came meanwhile gets the message like one that was there.
 *
 * Order: deferrals are done in the order in which they came. An op waits, too, without being
 * written, behind a deferral of its own session (answers come in the order of the requests), and a
 * message of a rule in memory waits behind any deferral (the log has one order).
 */
#include "core/realm_state.h"

#include "base/alloc.h"
#include "core/audience.h"
#include "core/restore.h"

enum { RING_FIRST = 64, COMMIT_CHUNK = 1024, KEY_SMALL = 512 };

static bool is_empty(const struct pl_deferrals *d)
{
    return d->head == d->tail;
}

static struct pl_deferred *at(const struct pl_deferrals *d, uint64_t position)
{
    return &d->ring[position & (d->cap - 1)];
}

/* A new last one, to be filled before anyone looks; NULL: no memory. */
static struct pl_deferred *push(struct pl_deferrals *d)
{
    if (d->tail - d->head == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : RING_FIRST;
        struct pl_deferred *ring = pl_alloc(cap * sizeof *ring);
        if (!ring)
            return NULL;
        for (uint64_t i = d->head; i < d->tail; i++)
            ring[i & (cap - 1)] = *at(d, i);
        pl_free(d->ring);
        d->ring = ring;
        d->cap = cap;
    }
    return at(d, d->tail++);
}

void pl_deferrals_done(struct pl_deferrals *d)
{
    for (uint64_t i = d->head; i < d->tail; i++) {
        struct pl_deferred *it = at(d, i);
        pl_message_unref(it->kept);
        if (it->batch && !--it->batch->deferred)
            pl_batch_free(it->batch); /* the workers have stopped */
    }
    pl_free(d->ring);
    *d = (struct pl_deferrals){0};
}

/* Behind what waits already: what is not written itself is done when that is. */
static uint64_t last_ticket(const struct pl_deferrals *d)
{
    return is_empty(d) ? 0 : at(d, d->tail - 1)->ticket;
}

/* Those behind it ask what waits before them: one more, or one less. */
static void note(struct pl_realm *realm, const struct pl_deferred *it, int n)
{
    const struct pl_op *op = &it->op;
    const struct pl_subscription *sub = op->kind == PL_OP_SUBSCRIBE ? op->subject : NULL;
    bool is_plain = op->kind == PL_OP_PUBLISH && !op->flags && it->kept && !it->kept->offset;
    if (op->session)
        op->session->deferred += (uint32_t)n;
    if (op->session && is_plain)
        op->session->deferred_plain += (uint32_t)n;
    if (sub && sub->is_durable && sub->qos)
        realm->durable_waiting += (uint32_t)n;
}

static enum pl_err defer(
    struct pl_runner *r, const struct pl_op *op, struct pl_message *kept, uint64_t ticket)
{
    struct pl_deferrals *d = &r->realm->deferrals;
    uint64_t last = last_ticket(d);
    struct pl_deferred *it = push(d);
    if (!it)
        return PL_NO_MEMORY;
    *it = (struct pl_deferred){
        .op = *op,
        .kept = kept,
        .ticket = ticket > last ? ticket : last,
        .is_written = ticket != 0,
        .batch = op->session ? r->batch : NULL,
        .worker = (uint8_t)r->batch->worker->index,
    };
    if (op->session)
        r->batch->deferred++;
    note(r->realm, it, 1);
    if (kept)
        atomic_fetch_add_explicit(
            &r->realm->workers[it->worker].handed_bytes, kept->payload.len, memory_order_relaxed);
    return PL_OK;
}

/* What a batch appends stands in one group: a packet id of QoS 2 and its message, for one. */
static void hold(struct pl_runner *r)
{
    if (!r->holds_journal)
        r->realm->journal->hold(r->realm->journal->context);
    r->holds_journal = true;
}

void pl_run_let_go(struct pl_runner *r)
{
    if (r->holds_journal)
        r->realm->journal->release(r->realm->journal->context);
    r->holds_journal = false;
}

/* ---- keys ---- */

/* kind, realm, 0, the parts with a zero between them. */
struct key {
    struct pl_bytes bytes;
    uint8_t small[KEY_SMALL];
    uint8_t *large; /* owned; NULL: none */
};

static bool make_key(struct key *key, const struct pl_realm *realm, enum pl_state kind,
    struct pl_bytes first, const struct pl_bytes *second)
{
    size_t realm_len = strlen(realm->name) + 1;
    size_t len = 1 + realm_len + first.len + (second ? 1 + second->len : 0);
    key->large = len > sizeof key->small ? pl_alloc(len) : NULL;
    uint8_t *to = key->large ? key->large : key->small;
    if (len > sizeof key->small && !key->large)
        return false;
    key->bytes = pl_bytes_of(to, len);
    *to++ = (uint8_t)kind;
    memcpy(to, realm->name, realm_len);
    to += realm_len;
    if (first.len)
        memcpy(to, first.data, first.len);
    to += first.len;
    if (second) {
        *to++ = 0;
        if (second->len)
            memcpy(to, second->data, second->len);
    }
    return true;
}

static enum pl_err put(struct pl_realm *realm, enum pl_state kind, struct pl_bytes first,
    const struct pl_bytes *second, struct pl_bytes value, uint64_t *out_ticket)
{
    const struct pl_journal *j = realm->journal;
    struct key key;
    if (!make_key(&key, realm, kind, first, second))
        return PL_NO_MEMORY;
    enum pl_err err = value.len ? j->put(j->context, key.bytes, value, out_ticket)
                                : j->drop(j->context, key.bytes, out_ticket);
    pl_free(key.large);
    return err;
}

/* ---- named sessions ---- */

/* expiry, when it was left (Unix milliseconds, 0: it is connected), protocol. */
static enum pl_err put_mailbox(struct pl_realm *realm, const struct pl_mailbox *mailbox,
    uint64_t left_unix_ms, uint64_t *ticket)
{
    uint8_t value[16 + 32];
    const char *protocol = mailbox->session->ops->name;
    size_t len = strlen(protocol);
    PL_ASSERT(len <= 32);
    pl_put_u64(value, mailbox->expiry_ms);
    pl_put_u64(value + 8, left_unix_ms);
    memcpy(value + 16, protocol, len);
    return put(
        realm, PL_STATE_SESSION, mailbox->entry.key, NULL, pl_bytes_of(value, 16 + len), ticket);
}

static enum pl_err drop_mailbox(struct pl_realm *realm, struct pl_bytes name, uint64_t *ticket)
{
    static const enum pl_state kinds[] = {PL_STATE_SUBSCRIPTION, PL_STATE_PROGRESS};
    const struct pl_journal *j = realm->journal;
    enum pl_err err = put(realm, PL_STATE_SESSION, name, NULL, PL_NO_BYTES, ticket);
    for (size_t i = 0; !err && i < 2; i++) {
        struct key key;
        if (!make_key(&key, realm, kinds[i], name, &PL_NO_BYTES))
            return PL_NO_MEMORY;
        err = j->drop_all(j->context, key.bytes, ticket);
        pl_free(key.large);
    }
    return err;
}

void pl_realm_forget_session(struct pl_realm *realm, struct pl_bytes key_first)
{
    uint64_t ticket;
    const struct pl_journal *j = realm->journal;
    if (!j)
        return;
    j->hold(j->context);
    (void)!drop_mailbox(realm, key_first, &ticket);
    j->release(j->context);
}

/* Nobody waits for these; what fails is written by the next change of the session, or leaves a
 * session that ends a little late. */
void pl_store_mailbox(struct pl_runner *r, struct pl_mailbox *mailbox)
{
    uint64_t ticket;
    if (!r->realm->journal)
        return;
    hold(r);
    if (!put_mailbox(r->realm, mailbox, mailbox->is_detached ? r->now_unix_ms : 0, &ticket))
        mailbox->is_stored = true;
}

void pl_unstore_mailbox(struct pl_runner *r, struct pl_mailbox *mailbox)
{
    uint64_t ticket;
    if (r->realm->journal && mailbox->is_stored) {
        hold(r);
        (void)!drop_mailbox(r->realm, mailbox->entry.key, &ticket);
        r->realm->unstored++;
    }
    mailbox->is_stored = false;
}

void pl_store_retained(struct pl_runner *r, struct pl_bytes subject)
{
    const struct pl_journal *j = r->realm->journal;
    struct key key;
    uint64_t ticket;
    if (!j || pl_subject_is_reserved(subject) ||
        !make_key(&key, r->realm, PL_STATE_RETAINED, subject, NULL))
        return;
    const struct pl_message *now = pl_retained_find(r->realm->retained, subject);
    struct pl_times times = {r->now_ms, r->now_unix_ms};
    hold(r);
    (void)!(now ? j->put_message(j->context, key.bytes, now, &times, &ticket)
                : j->drop(j->context, key.bytes, &ticket));
    pl_free(key.large);
}

static struct pl_mailbox *stored_mailbox(const struct pl_session *s)
{
    return s && s->mailbox && s->mailbox->is_stored ? s->mailbox : NULL;
}

void pl_store_log(struct pl_realm *realm, struct pl_bytes name, const struct pl_bytes *about,
    struct pl_bytes value)
{
    uint64_t ticket;
    const struct pl_journal *j = realm->journal;
    j->hold(j->context);
    (void)!put(realm, PL_STATE_LOG, name, about, value, &ticket);
    j->release(j->context);
}

/* ---- what is written at what op ---- */

enum fate { FATE_NOW, FATE_WAITS, FATE_DONE };

/* A message that the runner's batch has no hold on yet, or a kept one (then index is not used). */
struct candidate {
    struct pl_message *m;
    struct pl_session *session; /* NULL: nobody's */
    bool is_asked;              /* its session wants an answer */
};

/* Someone who outlives the process wants it with QoS 1 or 2. */
static bool is_mail(struct pl_runner *r, const struct pl_message *m, bool is_logged)
{
    if (!m->qos)
        return false;
    if (r->realm->durable_waiting) /* it may wait behind one that it matches */
        return true;
    if (!r->realm->durable_subs)
        return false;
    const struct pl_match *match = pl_matcher_match(r->realm->matcher, m->subject, is_logged);
    r->last = NULL;
    return !match || match->has_durable;
}

/* Writes what of it is durable. *out_waits: it is not to be done yet; *out_kept, one reference. */
static enum pl_err write_message(struct pl_runner *r, const struct candidate *c,
    struct pl_message **out_kept, uint64_t *out_ticket, bool *out_waits)
{
    struct pl_realm *realm = r->realm;
    const struct pl_journal *j = realm->journal;
    const struct pl_message *m = c->m;
    bool is_private = m->properties && m->properties->audience;
    bool is_fleeting = is_private && m->properties->audience->names_sessions;
    enum pl_history_kind kind = realm->has_history && !is_fleeting
                                    ? pl_history_kind(realm->history, m->subject)
                                    : PL_HISTORY_NONE;
    bool is_retained = m->retain && !is_fleeting && !pl_subject_is_reserved(m->subject);
    bool is_stored = kind == PL_HISTORY_DURABLE || is_mail(r, m, kind != PL_HISTORY_NONE);
    const struct pl_session *s = c->session;
    bool waits_for_others = (kind != PL_HISTORY_NONE && !is_empty(&realm->deferrals)) ||
                            (s && (c->is_asked ? s->deferred : s->deferred_plain));
    *out_waits = is_stored || is_retained || waits_for_others;
    struct pl_times now = {r->now_ms, r->now_unix_ms};
    *out_ticket = 0;
    *out_kept = NULL;
    if (!*out_waits)
        return PL_OK;
    struct pl_message *kept = pl_message_keep(m);
    if (!kept)
        return PL_NO_MEMORY;
    if (kind != PL_HISTORY_NONE)
        kept->offset = pl_history_reserve(realm->history);
    enum pl_err err = PL_OK;
    hold(r);
    if (is_stored)
        err = j->message(j->context, realm->name, kept, &now, out_ticket);
    if (is_retained && !err) {
        struct key key;
        if (!make_key(&key, realm, PL_STATE_RETAINED, m->subject, NULL))
            err = PL_NO_MEMORY;
        else if (m->payload.len)
            err = j->put_message(j->context, key.bytes, kept, &now, out_ticket);
        else
            err = j->drop(j->context, key.bytes, out_ticket);
        if (err != PL_NO_MEMORY)
            pl_free(key.large);
    }
    if (err)
        kept = pl_message_unref(kept);
    *out_kept = kept;
    return err;
}

static enum fate defer_message(struct pl_runner *r, struct pl_op *op, uint32_t index)
{
    struct candidate c = {r->batch->messages[index], op->session, op->flags != 0};
    struct pl_op single = *op;
    single.count = 1;
    uint64_t ticket = 0;
    bool waits = false;
    struct pl_message *kept = NULL;
    enum pl_err err = write_message(r, &c, &kept, &ticket, &waits);
    if (!err && !waits)
        return FATE_NOW;
    if (!err)
        err = defer(r, &single, kept, ticket);
    if (!err)
        return FATE_WAITS;
    pl_message_unref(kept);
    if (op->flags) { /* answered as refused, in its turn */
        op->err = (uint8_t)err;
        bool is_behind = op->session && op->session->deferred;
        return is_behind && !defer(r, op, NULL, 0) ? FATE_WAITS : FATE_NOW;
    }
    pl_count(&r->batch->worker->counters.dropped_store, 1);
    return FATE_DONE;
}

static bool defer_publish(struct pl_runner *r, struct pl_op *op)
{
    /* It has left, and may be gone when the disk has it. */
    if (op->session && op->session->was_removed)
        op->session = NULL;
    bool is_behind = op->session && op->session->deferred && op->flags;
    if (op->err)
        return is_behind && !defer(r, op, NULL, 0);
    if (op->count == 1)
        return defer_message(r, op, op->index) != FATE_NOW;
    for (uint32_t i = 0; i < op->count; i++)
        if (defer_message(r, op, op->index + i) == FATE_NOW)
            pl_run_plain(r, op, op->index + i);
    return true;
}

bool pl_run_defer_kept(struct pl_runner *r, struct pl_message *kept)
{
    if (!r->realm->journal)
        return false;
    struct candidate c = {kept, NULL, false};
    struct pl_op op = {.kind = PL_OP_PUBLISH, .count = 1};
    uint64_t ticket = 0;
    bool waits = false;
    struct pl_message *again = NULL;
    enum pl_err err = write_message(r, &c, &again, &ticket, &waits);
    if (!err && !waits)
        return false;
    if (!err)
        err = defer(r, &op, again, ticket);
    if (err) {
        pl_message_unref(again);
        pl_count(&r->batch->worker->counters.dropped_store, 1);
    }
    pl_message_unref(kept); /* `again` is the same one */
    return true;
}

static enum pl_err write_claim(struct pl_runner *r, const struct pl_op *op, uint64_t *ticket)
{
    struct pl_realm *realm = r->realm;
    const struct pl_expected *e = op->subject;
    const struct pl_mailbox *mailbox = e->mailbox;
    struct pl_map_entry *found = pl_map_find(&realm->names, mailbox->entry.key);
    bool is_known = found && PL_CONTAINER(found, struct pl_mailbox, entry)->is_stored;
    enum pl_err err = PL_OK;
    hold(r);
    if (e->clean && (is_known || !is_empty(&realm->deferrals)))
        err = drop_mailbox(realm, mailbox->entry.key, ticket);
    if (!err && mailbox->expiry_ms && (e->clean || !is_known))
        err = put_mailbox(realm, mailbox, 0, ticket);
    return err;
}

static enum pl_err put_subscription(struct pl_runner *r, const struct pl_op *op, uint64_t *ticket)
{
    struct pl_subscription *sub = op->subject;
    const struct pl_mailbox *mailbox = stored_mailbox(op->session);
    hold(r);
    const struct pl_journal *j = r->realm->journal;
    uint8_t value[8 + PL_SUB_STATE_MAX];
    struct pl_bytes key;
    size_t len = op->session->ops->write_state(sub, value + 8, &key);
    if (!sub->since)
        sub->since = j->last_id(j->context);
    pl_put_u64(value, sub->since);
    return put(r->realm, PL_STATE_SUBSCRIPTION, mailbox->entry.key, &key,
        pl_bytes_of(value, 8 + len), ticket);
}

static enum pl_err write_subscribe(struct pl_runner *r, const struct pl_op *op, uint64_t *ticket)
{
    const struct pl_subscription *sub = op->subject;
    bool is_stored = !op->err && sub->is_durable && stored_mailbox(op->session);
    return is_stored ? put_subscription(r, op, ticket) : PL_OK;
}

static enum pl_err write_unsubscribe(struct pl_runner *r, const struct pl_op *op, uint64_t *ticket)
{
    const struct pl_subscription *sub = op->subject;
    const struct pl_mailbox *mailbox = stored_mailbox(op->session);
    if (!sub->is_durable || !mailbox)
        return PL_OK;
    /* The next op is the one that takes its place, and writes over this: it stays until then. */
    if (sub->is_replaced)
        return put_subscription(r, op, ticket);
    hold(r);
    uint8_t unused[PL_SUB_STATE_MAX];
    struct pl_bytes key;
    (void)op->session->ops->write_state(sub, unused, &key);
    return put(r->realm, PL_STATE_SUBSCRIPTION, mailbox->entry.key, &key, PL_NO_BYTES, ticket);
}

static enum pl_err write_state(struct pl_runner *r, const struct pl_op *op, uint64_t *ticket)
{
    const struct pl_state_note *note = op->subject;
    const struct pl_mailbox *mailbox = stored_mailbox(op->session);
    if (!mailbox)
        return PL_OK;
    hold(r);
    return put(r->realm, PL_STATE_PROGRESS, mailbox->entry.key, &note->key, note->value, ticket);
}

/* Writes what the op needs. *out_orders: it waits behind its session's deferrals in any case. */
static enum pl_err write_op(
    struct pl_runner *r, struct pl_op *op, uint64_t *ticket, bool *out_orders)
{
    *out_orders = true;
    switch ((enum pl_op_kind)op->kind) {
    case PL_OP_CLAIM:
        op->count = (uint32_t)r->realm->unstored;
        return write_claim(r, op, ticket);
    case PL_OP_SUBSCRIBE:
        return write_subscribe(r, op, ticket);
    case PL_OP_UNSUBSCRIBE:
        return write_unsubscribe(r, op, ticket);
    case PL_OP_STATE:
        return write_state(r, op, ticket);
    case PL_OP_FENCE:
    case PL_OP_EXPIRY:
    case PL_OP_DETACH:
    case PL_OP_LEAVE:
        return PL_OK;
    default: /* what nobody compares with his publications */
        *out_orders = false;
        return PL_OK;
    }
}

bool pl_run_defer(struct pl_runner *r, struct pl_op *op)
{
    if (op->kind == PL_OP_PUBLISH)
        return defer_publish(r, op);
    uint64_t ticket = 0;
    bool orders;
    enum pl_err err = write_op(r, op, &ticket, &orders);
    if (err)
        op->err = (uint8_t)err; /* answered so, when it is its turn */
    bool is_behind = orders && op->session->deferred;
    bool is_wanted = op->kind != PL_OP_STATE || op->flags;
    /* A claim waits behind all: an older one of its name may be among them. */
    if (op->kind == PL_OP_CLAIM && !is_empty(&r->realm->deferrals))
        is_behind = true;
    if (!is_wanted || (!ticket && !is_behind))
        return !is_wanted;
    if (!defer(r, op, NULL, ticket))
        return true;
    op->err = PL_NO_MEMORY;
    return false;
}

void pl_run_forget_deferred(struct pl_runner *r, struct pl_session *s)
{
    struct pl_deferrals *d = &r->realm->deferrals;
    for (uint64_t i = d->head; s->deferred && i < d->tail; i++) {
        struct pl_deferred *it = at(d, i);
        if (it->op.session != s)
            continue;
        note(r->realm, it, -1);
        pl_op_forget(&it->op);
        it->op.session = NULL;
    }
}

/* ---- when the disk has it ---- */

static void run_deferred(struct pl_runner *r, struct pl_deferred *it)
{
    struct pl_op op = it->op;
    note(r->realm, it, -1);
    if (it->kept) {
        atomic_fetch_sub_explicit(&r->realm->workers[it->worker].handed_bytes,
            it->kept->payload.len, memory_order_relaxed);
        if (op.err) {
            pl_message_unref(it->kept);
            if (!op.flags) {
                pl_count(&r->batch->worker->counters.dropped_store, 1);
                return;
            }
        } else if (pl_batch_add_kept(r->batch, it->kept, &op.index)) {
            op.err = PL_NO_MEMORY;
            if (!op.flags) {
                pl_count(&r->batch->worker->counters.dropped_no_memory, 1);
                return;
            }
        }
    }
    pl_run_op(r, &op);
}

/* What takes its place is next: nothing is to come in between. */
static bool is_replaced(const struct pl_op *op)
{
    const struct pl_subscription *sub = op->kind == PL_OP_UNSUBSCRIBE ? op->subject : NULL;
    return sub && sub->is_replaced;
}

bool pl_run_decided(struct pl_runner *r, struct pl_batch **out_spent)
{
    struct pl_deferrals *d = &r->realm->deferrals;
    *out_spent = NULL;
    r->is_commit = true;
    bool has_memory = true, goes_on = false;
    for (uint32_t n = 0; (n < COMMIT_CHUNK || goes_on) && d->head < d->decided; n++) {
        uint32_t answers = pl_op_answers(&at(d, d->head)->op);
        has_memory = !pl_batch_reserve_items(r->batch, answers);
        if (!has_memory)
            break;
        r->batch->item_promised = answers;
        struct pl_deferred it = *at(d, d->head++);
        goes_on = is_replaced(&it.op);
        run_deferred(r, &it);
        r->batch->item_promised = 0;
        if (it.batch && !--it.batch->deferred) {
            it.batch->next = *out_spent;
            *out_spent = it.batch;
        }
    }
    r->is_commit = false;
    pl_deferrals_decide(d, 0, PL_OK); /* what came meanwhile, behind what was decided already */
    return has_memory && d->head < d->decided;
}

void pl_deferrals_decide(struct pl_deferrals *d, uint64_t ticket, enum pl_err err)
{
    if (d->known < ticket)
        d->known = ticket;
    if (d->decided < d->head)
        d->decided = d->head;
    for (; d->decided < d->tail && at(d, d->decided)->ticket <= d->known; d->decided++) {
        struct pl_deferred *it = at(d, d->decided);
        if (err && it->is_written && it->ticket == ticket && !it->op.err)
            it->op.err = (uint8_t)err;
    }
}
