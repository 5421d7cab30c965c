#include "core/session.h"

#include "base/alloc.h"
#include "core/batch.h"
#include "core/retained.h"

/*
 * What a session asks for is appended to a batch. If there is no memory even for that, the session
 * ends with PL_NO_MEMORY: its peer is told, and no request goes unanswered in silence.
 */

void pl_session_init(struct pl_session *s, const struct pl_session_ops *ops,
    struct pl_worker *worker, struct pl_output *out)
{
    *s = (struct pl_session){
        .ops = ops,
        .worker = worker,
        .address = worker,
        .out = out,
        .id = ++worker->next_session_id,
        .expiry.at_ms = PL_NEVER,
    };
}

void pl_session_done(struct pl_session *s)
{
    pl_free(s->grants);
    s->grants = NULL;
    s->card = pl_shared_unref(s->card);
    s->exchange = pl_exchange_free(s->exchange);
    s->challenge = NULL;
    s->identity = pl_identity_unref(s->identity);
}

struct pl_op *pl_session_add_op(struct pl_session *s, enum pl_op_kind kind)
{
    struct pl_batch *b = s->realm ? pl_batch_open(s->worker, s->realm) : NULL;
    return b ? pl_batch_add_op(b, kind, s) : NULL;
}

/* Puts it into the worker's list of those that are worked off at the end of the turn. */
static void list_ending(struct pl_session *s)
{
    for (struct pl_session *e = s->worker->ending; e; e = e->ending_next)
        if (e == s)
            return;
    s->ending_next = s->worker->ending;
    s->worker->ending = s;
}

static void unlist_ending(struct pl_session *s)
{
    for (struct pl_session **at = &s->worker->ending; *at; at = &(*at)->ending_next)
        if (*at == s) {
            *at = s->ending_next;
            return;
        }
}

void pl_session_end(struct pl_session *s, enum pl_err why)
{
    if (s->is_ending || s->has_left)
        return;
    s->is_ending = true;
    s->ending_why = (uint8_t)why;
    list_ending(s);
}

struct login {
    struct pl_post post;
    struct pl_session *session;
    struct pl_identity *identity;
    struct pl_realm *realm;
    uint64_t token;
    enum pl_err err;
};

static void complete_leave(struct pl_session *s)
{
    struct pl_completion done = {.kind = PL_DONE_LEAVE, .session = s};
    unlist_ending(s);
    s->ops->complete(s, &done);
}

static void logged_in(struct pl_post *post, void *context)
{
    struct login *login = PL_CONTAINER(post, struct login, post);
    struct pl_worker *w = context;
    struct pl_session *s = login->session;
    s->open_request = NULL;
    if (!login->err) {
        s->identity = login->identity;
        s->realm = login->realm;
    } else {
        pl_identity_unref(login->identity);
    }
    bool is_late = s->has_left;
    if (login->err != PL_CHALLENGED)
        pl_count(login->err ? &w->counters.logins_refused : &w->counters.logins_ok, 1);
    struct pl_completion done = {
        .kind = PL_DONE_LOGIN,
        .err = is_late ? PL_CLOSED : login->err,
        .token = login->token,
        .session = s,
    };
    pl_free(login);
    s->ops->complete(s, &done);
    if (is_late)
        complete_leave(s);
}

void pl_session_login(
    struct pl_session *s, const struct pl_credentials *credentials, uint64_t token)
{
    struct login *login = pl_zalloc(sizeof *login);
    if (!login) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    login->post.run = logged_in;
    login->session = s;
    s->open_request = login;
    s->worker->hooks->login(s->worker->hooks->context, s, credentials, token);
}

void pl_worker_logged_in(struct pl_worker *w, struct pl_session *session, enum pl_err err,
    struct pl_identity *identity_moved, struct pl_realm *realm, uint64_t token)
{
    struct login *login = session->open_request;
    PL_ASSERT(login);
    login->err = err;
    login->identity = identity_moved;
    login->realm = realm;
    login->token = token;
    pl_worker_post(w, &login->post);
}

void pl_session_join(struct pl_session *s, uint64_t token)
{
    struct pl_op *op = pl_session_add_op(s, PL_OP_JOIN);
    if (!op) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    op->token = token;
    s->state = PL_SESSION_JOINED;
}

void pl_session_join_at(struct pl_session *s, struct pl_bytes seat, uint64_t token)
{
    struct pl_seat *made = pl_zalloc(sizeof *made + seat.len);
    struct pl_op *op = made ? pl_session_add_op(s, PL_OP_SEAT) : NULL;
    if (!op) {
        pl_free(made);
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    if (seat.len)
        memcpy(made->name, seat.data, seat.len);
    made->entry.key = pl_bytes_of(made->name, seat.len);
    op->subject = made;
    op->token = token;
    s->state = PL_SESSION_JOINED;
}

void pl_session_hold_seat(struct pl_session *s)
{
    if (!pl_session_add_op(s, PL_OP_HOLD))
        pl_session_end(s, PL_NO_MEMORY);
}

void pl_session_rejoin(struct pl_session *s, struct pl_identity *identity_moved, uint64_t token)
{
    struct pl_op *op = pl_session_add_op(s, PL_OP_IDENTITY);
    if (!op) {
        pl_identity_unref(identity_moved);
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    op->subject = identity_moved;
    op->flags = PL_WANT_DONE;
    op->token = token;
}

void pl_session_claim(struct pl_session *s, const struct pl_claim *claim, uint64_t token)
{
    struct pl_expected *e = pl_expected_new(s, claim, token);
    struct pl_op *op = e ? pl_session_add_op(s, PL_OP_CLAIM) : NULL;
    if (!op) {
        pl_expected_free(e);
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    op->subject = e;
    op->token = token;
    s->open_request = e;
}

void pl_session_set_expiry(struct pl_session *s, uint64_t expiry_ms)
{
    struct pl_op *op = pl_session_add_op(s, PL_OP_EXPIRY);
    if (!op)
        return;
    op->token = expiry_ms;
    op->index = s->tenure;
}

static void ask_to_leave(struct pl_session *s, enum pl_op_kind kind, bool publish_will)
{
    struct pl_op *op = pl_session_add_op(s, kind);
    if (op) {
        op->flags = publish_will;
        op->index = s->tenure;
        return;
    }
    /* No memory: asked again every turn. A detached session that cannot say so leaves. */
    s->has_left = true;
    list_ending(s);
}

void pl_session_detach(struct pl_session *s, bool publish_will)
{
    s->out = NULL;
    if (s->has_left || s->state != PL_SESSION_JOINED) {
        pl_session_leave(s, publish_will);
        return;
    }
    s->is_ending = false;
    s->ending_why = PL_OK;
    unlist_ending(s);
    ask_to_leave(s, PL_OP_DETACH, publish_will);
}

void pl_session_leave(struct pl_session *s, bool publish_will)
{
    if (s->has_left)
        return;
    s->has_left = true;
    s->out = NULL;
    if (s->open_request)
        return; /* the answer comes first */
    if (s->state != PL_SESSION_JOINED)
        list_ending(s);
    else
        ask_to_leave(s, PL_OP_LEAVE, publish_will);
}

void pl_session_call_ended(struct pl_session *s, enum pl_err why)
{
    if (s->has_left)
        return;
    s->is_ending = true;
    s->ending_why = PL_OK;
    if (why == PL_SLOW_CONSUMER)
        pl_count(&s->worker->counters.cut_slow, 1);
    s->ops->ended(s, why);
}

bool pl_session_run_ending(struct pl_worker *w)
{
    struct pl_session *list = w->ending, *s;
    bool any = list != NULL;
    w->ending = NULL;
    while ((s = list)) {
        list = s->ending_next;
        s->ending_next = NULL;
        if (s->ending_why) {
            pl_session_call_ended(s, (enum pl_err)s->ending_why);
        } else if (s->has_left && s->state == PL_SESSION_JOINED) {
            ask_to_leave(s, PL_OP_LEAVE, true);
        } else if (s->has_left && !s->open_request) {
            complete_leave(s);
        }
    }
    return any;
}

static struct pl_replay_job *new_replay(
    struct pl_session *s, struct pl_subscription *sub, const struct pl_subscribe_options *options)
{
    bool is_history = (options && (options->has_cursor || options->from_start)) ||
                      sub->replay == PL_REPLAY_HISTORY;
    struct pl_replay_job *job =
        pl_zalloc(sizeof *job + (is_history ? 0 : sizeof(struct pl_retained_cursor)));
    if (!job)
        return NULL;
    job->session = s;
    job->sub = sub;
    job->is_history = is_history;
    if (options)
        job->options = *options;
    if (!is_history)
        job->retained = (struct pl_retained_cursor *)(void *)(job + 1);
    job->next = s->worker->replays;
    s->worker->replays = job;
    return job;
}

void pl_session_subscribe(struct pl_session *s, struct pl_subscription *sub,
    const struct pl_subscribe_options *options, uint64_t token)
{
    sub->session = s;
    sub->session_at = NULL;
    sub->session_next = NULL;
    sub->backlog = NULL;
    sub->job = NULL;
    sub->dropped = 0;
    sub->is_filtered = sub->is_recovering = sub->has_claim = false;
    struct pl_op *op = pl_session_add_op(s, PL_OP_SUBSCRIBE);
    if (!op) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    op->subject = sub;
    op->token = token;
    op->index = s->identities;
    bool filtered = false;
    bool wants_replay =
        sub->replay != PL_REPLAY_NONE || (options && (options->has_cursor || options->from_start));
    if (sub->pattern->text.len > pl_realm_limits(s->realm)->subject_max)
        op->err = PL_BAD_NAME;
    else if (!pl_identity_may_subscribe(s->identity, sub->pattern, &filtered))
        op->err = PL_DENIED;
    else if (wants_replay && !(sub->job = new_replay(s, sub, options)))
        op->err = PL_NO_MEMORY;
    sub->is_filtered = filtered;
    if (op->err == PL_DENIED)
        pl_count(&s->worker->counters.denied, 1);
    if (op->err)
        sub->pattern = pl_pattern_unref(sub->pattern);
}

void pl_session_unsubscribe(struct pl_session *s, struct pl_subscription *sub, uint64_t token)
{
    struct pl_op *op = pl_session_add_op(s, PL_OP_UNSUBSCRIBE);
    if (!op) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    op->subject = sub;
    op->token = token;
}

void pl_session_fence(struct pl_session *s, uint64_t token)
{
    struct pl_op *op = pl_session_add_op(s, PL_OP_FENCE);
    if (op)
        op->token = token;
    else
        pl_session_end(s, PL_NO_MEMORY);
}

void pl_session_put_state(struct pl_session *s, struct pl_bytes key, struct pl_bytes value,
    bool wants_done, uint64_t token)
{
    struct pl_arena *arena = pl_session_arena(s);
    struct pl_state_note *note = pl_arena_alloc(arena, sizeof *note);
    const char *key_copy = pl_arena_copy(arena, key), *value_copy = pl_arena_copy(arena, value);
    struct pl_op *op = note && key_copy && value_copy ? pl_session_add_op(s, PL_OP_STATE) : NULL;
    if (!op) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    *note = (struct pl_state_note){
        .key = pl_bytes_of(key_copy, key.len), .value = pl_bytes_of(value_copy, value.len)};
    op->subject = note;
    op->flags = wants_done ? PL_WANT_DONE : 0;
    op->token = token;
}

static bool has_too_many_tokens(struct pl_bytes subject)
{
    if (subject.len < PL_SUBJECT_TOKENS_MAX)
        return false;
    size_t dots = 0;
    for (size_t i = 0; i < subject.len; i++)
        dots += subject.data[i] == '.';
    return dots >= PL_SUBJECT_TOKENS_MAX;
}

enum pl_err pl_session_check_draft(const struct pl_session *s, const struct pl_message *draft)
{
    const struct pl_realm_limits *limits = pl_realm_limits(s->realm);
    if (draft->payload.len > limits->payload_max)
        return PL_TOO_LARGE;
    if (draft->subject.len > limits->subject_max || has_too_many_tokens(draft->subject))
        return PL_BAD_NAME;
    return PL_OK;
}

static enum pl_err check_publish(struct pl_session *s, const struct pl_message *draft)
{
    enum pl_err err = pl_session_check_draft(s, draft);
    if (err)
        return err;
    if (pl_identity_may_publish(s->identity, draft->subject))
        return PL_OK;
    if (!pl_subject_is_reserved(draft->subject) && pl_grants_take(s, draft->subject))
        return PL_OK;
    pl_count(&s->worker->counters.denied, 1);
    return PL_DENIED;
}

/* Who published, where that is to be told without having been asked for. */
static enum pl_err add_author(struct pl_session *s, struct pl_batch *b, struct pl_message *m)
{
    const struct pl_identity *identity = s->identity;
    if (!identity || (!identity->is_disclosed && !identity->has_trust) ||
        (m->properties && m->properties->from))
        return PL_OK;
    struct pl_properties *p = pl_arena_alloc(&b->arena, sizeof *p);
    struct pl_author *author = pl_arena_zalloc(&b->arena, sizeof *author);
    if (!p || !author)
        return PL_NO_MEMORY;
    *p = m->properties ? *m->properties : (struct pl_properties){.expires_ms = PL_NEVER};
    p->from = author;
    m->properties = p;
    return pl_session_author(s, &b->arena, identity->is_disclosed, author);
}

enum pl_err pl_session_author(
    const struct pl_session *s, struct pl_arena *arena, bool is_disclosed, struct pl_author *out)
{
    const struct pl_identity *identity = s->identity;
    *out = (struct pl_author){.has_trust = identity->has_trust, .trust = identity->trust};
    if (!is_disclosed)
        return PL_OK;
    /* Copied: the identity may be another one before the message is delivered. */
    const char *user = pl_arena_copy(arena, s->name.len ? s->name : identity->user);
    const char *role = pl_arena_copy(arena, identity->role);
    if (!user || !role)
        return PL_NO_MEMORY;
    out->id = pl_session_public_id(s);
    out->user = pl_bytes_text(user);
    out->role = pl_bytes_text(role);
    return PL_OK;
}

enum pl_err pl_session_add_message(struct pl_session *s, struct pl_batch *b,
    const struct pl_message *draft, struct pl_shared *buffer, uint32_t *out_index)
{
    if (buffer && pl_batch_hold(b, buffer))
        return PL_NO_MEMORY;
    struct pl_message *m = pl_batch_add_message(b, out_index);
    if (!m)
        return PL_NO_MEMORY;
    *m = (struct pl_message){
        .subject = draft->subject,
        .payload = draft->payload,
        .reply = draft->reply,
        .properties = draft->properties,
        .publisher = s->id,
        .time_unix_ms = s->worker->now_unix_ms,
        .format = draft->format,
        .qos = draft->qos,
        .retain = draft->retain,
        .hops = draft->hops,
        .spares_publisher = draft->spares_publisher,
        .is_note = draft->is_note,
    };
    if (add_author(s, b, m))
        return PL_NO_MEMORY;
    if (m->properties && m->properties->expires_ms != PL_NEVER)
        b->has_expiring = true;
    m->grants_reply = m->reply.len && (pl_subject_is_inbox(m->reply) ||
                                          pl_identity_may_publish(s->identity, m->reply));
    return PL_OK;
}

/* A publication without an answer joins the one before it: one op for a stretch. */
static bool joins_last_op(struct pl_batch *b, const struct pl_session *s, uint32_t index)
{
    struct pl_op *last = b->op_count ? &b->ops[b->op_count - 1] : NULL;
    if (!last || last->kind != PL_OP_PUBLISH || last->session != s || last->flags || last->err ||
        last->index + last->count != index)
        return false;
    last->count++;
    return true;
}

enum pl_err pl_session_publish(struct pl_session *s, const struct pl_message *draft,
    struct pl_shared *buffer, unsigned flags, uint64_t token)
{
    struct pl_worker *w = s->worker;
    if (!s->realm)
        return PL_CLOSED;
    struct pl_batch *b = w->open;
    if (!b || b->realm != s->realm) {
        b = pl_batch_open(w, s->realm);
        if (!b)
            return PL_NO_MEMORY;
    }
    uint32_t index = 0;
    enum pl_err err = check_publish(s, draft);
    if (!err)
        err = pl_session_add_message(s, b, draft, buffer, &index);
    if (err && !(flags & PL_WANT_DONE))
        return err;
    if (!err) {
        pl_count(&w->counters.messages_in, 1);
        pl_count(&w->counters.payload_bytes_in, draft->payload.len);
        b->bytes += draft->payload.len;
        if (!flags && joins_last_op(b, s, index))
            return PL_OK;
    }
    struct pl_op *op = pl_batch_add_op(b, PL_OP_PUBLISH, s);
    if (!op) {
        if (flags & PL_WANT_DONE)
            pl_session_end(s, PL_NO_MEMORY);
        return err ? err : PL_NO_MEMORY;
    }
    op->flags = (uint8_t)flags;
    op->err = (uint8_t)err;
    op->index = index;
    op->count = 1;
    op->token = token;
    return err;
}

struct pl_arena *pl_session_arena(struct pl_session *s)
{
    struct pl_batch *b = s->realm ? pl_batch_open(s->worker, s->realm) : NULL;
    return b ? &b->arena : &s->worker->turn_arena;
}

uint64_t pl_session_now_ms(const struct pl_session *s)
{
    return s->worker->now_ms;
}

void pl_session_drained(struct pl_session *s)
{
    /* Backlogs and replays look at the room of their sessions every turn; this is a turn. */
    if (!s->presses || s->has_left)
        return;
    struct pl_op *op = pl_session_add_op(s, PL_OP_PRESS); /* flags 0: it is over */
    s->presses = op == NULL;
}

uint64_t pl_session_public_id(const struct pl_session *s)
{
    return pl_hash_id(s->worker->id_seed, s->id);
}

uint64_t pl_publication_public_id(const struct pl_realm *realm, const struct pl_message *message)
{
    return pl_hash_id(pl_realm_seed(realm), message->id);
}

void pl_session_tell(struct pl_session *s, uint64_t to_public_id, const struct pl_word *word)
{
    struct pl_arena *arena = pl_session_arena(s);
    struct pl_word *copy = pl_arena_alloc(arena, sizeof *copy);
    const char *bytes = pl_arena_copy(arena, word->bytes);
    struct pl_op *op = copy && bytes ? pl_session_add_op(s, PL_OP_TELL) : NULL;
    if (!op) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    *copy = (struct pl_word){
        .from = pl_session_public_id(s),
        .kind = word->kind,
        .bytes = pl_bytes_of(bytes, word->bytes.len),
    };
    op->subject = copy;
    op->token = to_public_id;
}

void pl_session_set_card(struct pl_session *s, struct pl_shared *card_moved)
{
    struct pl_op *op = pl_session_add_op(s, PL_OP_CARD);
    if (op)
        op->subject = card_moved;
    else
        pl_shared_unref(card_moved);
}

void pl_session_read_log(struct pl_session *s, struct pl_pattern *pattern, struct pl_cursor from,
    uint32_t max, uint64_t token)
{
    struct pl_log_request *request = pl_arena_alloc(pl_session_arena(s), sizeof *request);
    struct pl_op *op = request ? pl_session_add_op(s, PL_OP_READ_LOG) : NULL;
    if (!op) {
        pl_session_end(s, PL_NO_MEMORY);
        return;
    }
    *request =
        (struct pl_log_request){.pattern = pl_pattern_ref(pattern), .from = from, .max = max};
    op->subject = request;
    op->token = token;
}

/* The claim is answered: who stands under the name is here. */
static void complete_claim(struct pl_session *s, const struct pl_item *item)
{
    bool is_late = s->has_left;
    pl_expected_free(item->expected);
    s->open_request = NULL;
    if (!item->err)
        s->state = PL_SESSION_JOINED;
    struct pl_completion done = {
        .kind = PL_DONE_CLAIM,
        .err = is_late ? PL_CLOSED : (enum pl_err)item->err,
        .token = item->token,
        .session = s,
    };
    s->ops->complete(s, &done);
    if (is_late && !item->err)
        ask_to_leave(s, PL_OP_LEAVE, true);
    else if (is_late)
        complete_leave(s);
}

void pl_session_drop_ops(struct pl_worker *w, const struct pl_session *s)
{
    for (struct pl_batch *b = w->open; b; b = b->next)
        for (uint32_t i = 0; i < b->op_count; i++)
            if (b->ops[i].session == s)
                pl_op_forget(&b->ops[i]);
}

/* It is about to be freed: a request that met no memory yet must not look at it. */
static void forget_callee(struct pl_worker *w, const struct pl_callee *callee)
{
    for (struct pl_batch *b = w->open; b; b = b->next)
        for (uint32_t i = 0; i < b->op_count; i++)
            if (b->ops[i].kind == PL_OP_UNREGISTER && b->ops[i].subject == callee)
                pl_op_forget(&b->ops[i]);
}

static void complete(struct pl_worker *w, const struct pl_item *item)
{
    struct pl_session *s = item->session;
    if (item->done == PL_DONE_CLAIM) {
        complete_claim(s, item);
        return;
    }
    struct pl_completion done = {
        .kind = item->done,
        .is_recovered = item->is_recovered,
        .err = (enum pl_err)item->err,
        .token = item->token,
        .receivers = item->receivers,
        .session = s,
        .cursor = item->cursor,
        .id = item->id,
    };
    switch ((enum pl_done)item->done) {
    case PL_DONE_SUBSCRIBE:
    case PL_DONE_REPLAY:
        done.sub = item->sub;
        break;
    case PL_DONE_UNSUBSCRIBE:
        done.sub = item->sub;
        pl_backlog_drop(w, item->sub);
        break;
    case PL_DONE_LEAVE:
        /* Who parted without leaving may have been asked for since: given other rights, or ended.
         */
        pl_session_drop_ops(w, s);
        s->has_left = true;
        s->state = PL_SESSION_LEFT;
        pl_backlog_drop_session(w, s);
        unlist_ending(s);
        break;
    case PL_DONE_LOGIN:
    case PL_DONE_JOIN:
    case PL_DONE_CLAIM:
    case PL_DONE_PUBLISH:
    case PL_DONE_STATE:
    case PL_DONE_FENCE:
        break;
    case PL_DONE_REGISTER:
        done.callee = item->callee;
        break;
    case PL_DONE_UNREGISTER:
        done.callee = item->callee;
        forget_callee(w, item->callee);
        break;
    case PL_DONE_LOG:
        done.messages = (const struct pl_message *const *)item->kept;
        done.message_count = item->count;
        done.is_end = item->is_on;
        break;
    }
    s->ops->complete(s, &done);
    if (item->done == PL_DONE_LOG)
        for (uint32_t i = 0; i < item->count; i++)
            pl_message_unref(item->kept[i]);
}

void pl_session_dispatch(struct pl_worker *w, const struct pl_item *item)
{
    struct pl_session *s = item->session;
    switch ((enum pl_item_kind)item->kind) {
    case PL_ITEM_DONE:
        complete(w, item);
        return;
    case PL_ITEM_ENDED:
        if (!s->is_ending)
            pl_session_call_ended(s, (enum pl_err)item->err);
        return;
    case PL_ITEM_CONTESTED:
        if (!s->is_ending && !s->has_left)
            s->ops->contested(s);
        return;
    case PL_ITEM_IDENTITY: {
        struct pl_op *op = s->has_left ? NULL : pl_session_add_op(s, PL_OP_IDENTITY);
        if (op)
            op->subject = item->identity;
        else
            pl_identity_unref(item->identity);
        return;
    }
    case PL_ITEM_RUN:
    case PL_ITEM_PICK:
    case PL_ITEM_REPLAY:
    case PL_ITEM_EXPECT:
    case PL_ITEM_TAKEN:
    case PL_ITEM_INVOKE:
    case PL_ITEM_INTERRUPT:
    case PL_ITEM_RESULT:
    case PL_ITEM_UNREGISTERED:
    case PL_ITEM_PRESS:
    case PL_ITEM_TOLD:
    case PL_ITEM_NOTICE:
        return; /* the walk's own */
    }
}
