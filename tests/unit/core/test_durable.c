/* What waits for the disk, with a journal that is told when a group is there and when it failed. */
#include "core/batch.h"
#include "core/journal.h"
#include "core/retained.h"

#include "probe.h"

enum { ROWS_MAX = 64, TEXT_MAX = 128, NEVER_DETACHED = 3600 * 1000 };

/* A row, or a change of one. A zero of a key is shown as `|`. */
struct row {
    char kind; /* +, - and * (all that begin so); 0: none */
    char key[TEXT_MAX];
    char value[TEXT_MAX];
};

struct disk {
    struct pl_journal journal;
    bool is_held;
    uint64_t ticket, last_ticket; /* of the group that is open; 0: none */
    uint64_t last_id;
    enum pl_err refuses;
    uint32_t messages, messages_max; /* appended; more is refused with PL_LIMIT */
    int records;                     /* that are wanted */
    struct row changes[ROWS_MAX];
    uint32_t change_count;
    struct row rows[ROWS_MAX];
};

struct disk_record {
    struct pl_record base;
    struct disk *disk;
};

static void drop_record(struct pl_record *base)
{
    struct disk_record *record = PL_CONTAINER(base, struct disk_record, base);
    record->disk->records--;
    free(record);
}

static void hold(void *context)
{
    struct disk *d = context;
    CHECK(!d->is_held);
    d->is_held = true;
}

static void release(void *context)
{
    struct disk *d = context;
    CHECK(d->is_held);
    d->is_held = false;
}

static enum pl_err take(struct disk *d, uint64_t *out_ticket)
{
    CHECK(d->is_held);
    if (d->refuses)
        return d->refuses;
    if (!d->ticket)
        d->ticket = ++d->last_ticket;
    *out_ticket = d->ticket;
    return PL_OK;
}

static enum pl_err add_message(void *context, const char *realm, struct pl_message *kept,
    const struct pl_times *now, uint64_t *out_ticket)
{
    struct disk *d = context;
    CHECK_STR(realm, "main");
    CHECK(now->unix_ms > now->monotonic_ms);
    enum pl_err err = take(d, out_ticket);
    if (err)
        return err;
    struct disk_record *record = calloc(1, sizeof *record);
    record->base = (struct pl_record){.drop = drop_record, .id = ++d->last_id};
    record->disk = d;
    d->records++;
    d->messages++;
    kept->record = &record->base;
    return PL_OK;
}

static void show(char *to, struct pl_bytes bytes)
{
    size_t n = bytes.len < TEXT_MAX - 1 ? bytes.len : TEXT_MAX - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = bytes.data[i] ? (char)bytes.data[i] : '|';
    to[n] = 0;
}

static enum pl_err change(
    struct disk *d, char kind, struct pl_bytes key, struct pl_bytes value, uint64_t *out_ticket)
{
    enum pl_err err = take(d, out_ticket);
    if (err || !CHECK(d->change_count < ROWS_MAX))
        return err;
    struct row *row = &d->changes[d->change_count++];
    row->kind = kind;
    show(row->key, key);
    show(row->value, value);
    return PL_OK;
}

static enum pl_err put(
    void *context, struct pl_bytes key, struct pl_bytes value, uint64_t *out_ticket)
{
    return change(context, '+', key, value, out_ticket);
}

static enum pl_err put_message(void *context, struct pl_bytes key, const struct pl_message *message,
    const struct pl_times *now, uint64_t *out_ticket)
{
    struct disk *d = context;
    (void)now;
    if (d->messages_max && d->messages >= d->messages_max)
        return PL_LIMIT;
    return change(context, '+', key, message->payload, out_ticket);
}

static enum pl_err drop(void *context, struct pl_bytes key, uint64_t *out_ticket)
{
    return change(context, '-', key, PL_NO_BYTES, out_ticket);
}

static enum pl_err drop_all(void *context, struct pl_bytes prefix, uint64_t *out_ticket)
{
    return change(context, '*', prefix, PL_NO_BYTES, out_ticket);
}

static uint64_t last_id(void *context)
{
    const struct disk *d = context;
    CHECK(d->is_held);
    return d->last_id;
}

static void apply(struct disk *d, const struct row *change)
{
    struct row *place = NULL;
    for (uint32_t i = 0; i < ROWS_MAX; i++) {
        struct row *row = &d->rows[i];
        size_t len = change->kind == '*' ? strlen(change->key) : TEXT_MAX;
        if (row->kind && strncmp(row->key, change->key, len) == 0)
            row->kind = 0;
        if (!row->kind)
            place = row;
    }
    if (change->kind == '+' && CHECK(place))
        *place = *change;
}

/* The value of a row; "": it is not there. */
static const char *value_of(const struct disk *d, const char *key)
{
    for (uint32_t i = 0; i < ROWS_MAX; i++)
        if (d->rows[i].kind && strcmp(d->rows[i].key, key) == 0)
            return d->rows[i].value;
    return "";
}

static bool is_there(const struct disk *d, const char *key)
{
    for (uint32_t i = 0; i < ROWS_MAX; i++)
        if (d->rows[i].kind && strcmp(d->rows[i].key, key) == 0)
            return true;
    return false;
}

static uint32_t count_rows(const struct disk *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ROWS_MAX; i++)
        n += d->rows[i].kind != 0;
    return n;
}

struct place {
    struct world w;
    struct disk disk;
};

static void add_rule(struct world *w, const char *pattern, bool is_durable)
{
    struct pl_history_rule rule = {.limit = 100, .is_durable = is_durable};
    CHECK_EQ(pl_pattern_parse(pl_bytes_text(pattern), &rule.pattern), PL_OK);
    CHECK_EQ(pl_realm_add_history(w->realm, rule), PL_OK);
}

static void place_init_limits(
    struct place *p, uint32_t workers, const struct pl_realm_limits *limits)
{
    world_init_limits(&p->w, workers, limits);
    p->disk = (struct disk){
        .journal = {.hold = hold,
            .release = release,
            .message = add_message,
            .put_message = put_message,
            .put = put,
            .drop = drop,
            .drop_all = drop_all,
            .last_id = last_id},
    };
    p->disk.journal.context = &p->disk;
    add_rule(&p->w, "d.>", true);
    add_rule(&p->w, "m.>", false);
    pl_realm_set_journal(p->w.realm, &p->disk.journal);
}

static void place_init(struct place *p, uint32_t workers)
{
    place_init_limits(p, workers, &pl_realm_limits_default);
}

/* What waits is on disk, or has failed; nobody has turned since. */
static void decide(struct place *p, enum pl_err err)
{
    struct disk *d = &p->disk;
    uint64_t ticket = d->ticket;
    d->ticket = 0;
    for (uint32_t i = 0; !err && i < d->change_count; i++)
        apply(d, &d->changes[i]);
    d->change_count = 0;
    if (CHECK(ticket))
        pl_realm_committed(p->w.realm, &p->w.workers[0], ticket, err);
}

static void commit(struct place *p, enum pl_err err)
{
    world_run(&p->w);
    decide(p, err);
    world_run(&p->w);
}

/* Until nothing waits. */
static void settle(struct place *p)
{
    world_run(&p->w);
    while (p->disk.ticket)
        commit(p, PL_OK);
}

static void place_done(struct place *p)
{
    settle(p);
    pl_realm_set_journal(p->w.realm, NULL);
    world_done(&p->w);
    CHECK_EQ(p->disk.records, 0);
}

static void gone(struct place *p, struct probe *probe, struct probe_sub **subs)
{
    if (!probe->has_left)
        pl_session_leave(&probe->core, false);
    settle(p);
    probe_gone(probe, subs);
}

static size_t write_state(
    const struct pl_subscription *sub, uint8_t *out_state, struct pl_bytes *out_key)
{
    out_state[0] = (uint8_t)('0' + sub->qos);
    *out_key = sub->pattern->text;
    return 1;
}

static struct pl_session_ops durable_ops;

/* The claim has not run yet. */
static struct probe *claim(
    struct place *p, uint32_t worker, const char *name, bool clean, uint64_t expiry_ms)
{
    durable_ops = probe_ops;
    durable_ops.write_state = write_state;
    struct probe *probe = probe_claim(&p->w, worker, name, clean, expiry_ms, NULL, 0);
    probe->core.ops = &durable_ops;
    return probe;
}

/* On disk; its log is empty. */
static struct probe *named(struct place *p, uint32_t worker, const char *name)
{
    struct probe *probe = claim(p, worker, name, false, NEVER_DETACHED);
    settle(p);
    CHECK_STR(probe->log, "claim ok; ");
    probe_clear(probe);
    return probe;
}

static struct probe_sub *subscribe_qos(struct probe *p, const char *pattern, uint8_t qos)
{
    struct probe_sub *sub = calloc(1, sizeof *sub);
    CHECK(pl_pattern_parse(pl_bytes_text(pattern), &sub->core.pattern) == PL_OK);
    sub->core.qos = qos;
    sub->core.is_durable = true;
    pl_session_subscribe(&p->core, &sub->core, NULL, 0);
    return sub;
}

static void publish(
    struct probe *p, const char *subject, const char *payload, uint8_t qos, unsigned flags)
{
    struct pl_message draft = {
        .subject = pl_bytes_text(subject), .payload = pl_bytes_text(payload), .qos = qos};
    CHECK_EQ(probe_send(p, draft, flags), PL_OK);
}

static void retain(struct probe *p, const char *subject, const char *payload, unsigned flags)
{
    struct pl_message draft = {
        .subject = pl_bytes_text(subject), .payload = pl_bytes_text(payload), .retain = true};
    CHECK_EQ(probe_send(p, draft, flags), PL_OK);
}

/* ---- what waits ---- */

TEST(a_durable_message_is_heard_and_acknowledged_when_it_is_on_disk)
{
    struct place p;
    place_init(&p, 2);
    struct probe *a = probe_new(&p.w, 0), *b = probe_new(&p.w, 1);
    struct probe_sub *sub = probe_subscribe(b, "d.>", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(b);
    publish(a, "d.a", "1", 0, PL_WANT_DONE);
    world_run(&p.w);
    CHECK_STR(a->log, "");
    CHECK_STR(b->log, "");
    CHECK_EQ(p.disk.messages, 1);
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub 1; ");
    CHECK_STR(b->log, "d.a=1; ");
    gone(&p, a, NULL);
    gone(&p, b, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(what_a_group_that_failed_brought_is_refused_and_nobody_hears_it)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = probe_new(&p.w, 0), *b = probe_new(&p.w, 0);
    struct probe_sub *sub = probe_subscribe(b, ">", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(b);
    publish(a, "d.a", "1", 0, PL_WANT_DONE);
    publish(a, "d.b", "2", 0, 0);
    publish(a, "m.c", "3", 0, PL_WANT_DONE); /* waits, but is not written */
    commit(&p, PL_STORE);
    CHECK_STR(a->log, "pub STORE; pub 1; ");
    CHECK_STR(b->log, "m.c=3; ");
    CHECK_EQ(p.disk.records, 0);
    publish(a, "d.a", "4", 0, PL_WANT_DONE);
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub STORE; pub 1; pub 1; ");
    CHECK_STR(b->log, "m.c=3; d.a=4; ");
    gone(&p, a, NULL);
    gone(&p, b, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(answers_come_in_the_order_of_the_requests)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = probe_new(&p.w, 0);
    publish(a, "d.a", "1", 0, PL_WANT_DONE);
    publish(a, "x", "2", 0, PL_WANT_DONE);
    struct probe_sub *sub = probe_subscribe(a, "x", (struct probe_sub_options){0});
    pl_session_fence(&a->core, 0);
    world_run(&p.w);
    CHECK_STR(a->log, "");
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub 0; pub 0; sub ok; fence ok; ");
    gone(&p, a, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(what_the_journal_does_not_take_is_refused_in_its_turn)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = probe_new(&p.w, 0);
    publish(a, "d.a", "1", 0, PL_WANT_DONE);
    world_run(&p.w);
    p.disk.refuses = PL_LIMIT;
    publish(a, "d.b", "2", 0, PL_WANT_DONE);
    world_run(&p.w);
    CHECK_STR(a->log, "");
    p.disk.refuses = PL_OK;
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub 0; pub LIMIT; ");
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(the_log_has_one_order_whoever_publishes)
{
    struct place p;
    place_init(&p, 2);
    struct probe *a = probe_new(&p.w, 0), *b = probe_new(&p.w, 1), *c = probe_new(&p.w, 1);
    struct probe_sub *sub = probe_subscribe(c, ">", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(c);
    publish(a, "d.a", "1", 0, 0);
    world_run(&p.w);
    publish(b, "m.a", "2", 0, 0);
    publish(b, "x", "3", 0, 0); /* under no rule: waits for nobody */
    world_run(&p.w);
    CHECK_STR(c->log, "x=3; ");
    commit(&p, PL_OK);
    CHECK_STR(c->log, "x=3; d.a=1; m.a=2; ");
    gone(&p, a, NULL);
    gone(&p, b, NULL);
    gone(&p, c, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(a_publisher_who_wants_no_answer_is_heard_in_order_too)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = probe_new(&p.w, 0), *b = probe_new(&p.w, 0);
    struct probe_sub *sub = probe_subscribe(b, "x", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(b);
    retain(a, "x", "1", 0);
    publish(a, "x", "2", 0, 0);
    world_run(&p.w);
    publish(a, "x", "3", 0, 0);
    commit(&p, PL_OK);
    CHECK_STR(b->log, "x=1; x=2; x=3; ");
    gone(&p, a, NULL);
    gone(&p, b, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

/* While a long group is worked off, the lock is free now and then. */
static struct {
    struct place *p;
    struct probe *who;
    bool is_done;
} meanwhile;

static void ask_meanwhile(void *context, struct pl_worker *worker)
{
    (void)context;
    if (worker->index != 1 || meanwhile.is_done)
        return;
    meanwhile.is_done = true;
    pl_session_fence(&meanwhile.who->core, 0);
    CHECK(pl_worker_run_open(worker));
}

TEST(what_is_asked_for_while_a_group_is_worked_off_is_answered)
{
    struct place p;
    place_init(&p, 2);
    struct probe *a = probe_new(&p.w, 0), *b = probe_new(&p.w, 1);
    publish(b, "d.b", "1", 0, PL_WANT_DONE);
    world_run(&p.w);
    for (int i = 0; i < 1500; i++)
        publish(a, "d.a", "1", 0, 0);
    world_run(&p.w);
    publish(b, "d.b", "2", 0, PL_WANT_DONE);
    world_run(&p.w);
    p.disk.refuses = PL_STORE; /* of what is asked for meanwhile nothing is written */
    meanwhile.p = &p;
    meanwhile.who = b;
    meanwhile.is_done = false;
    p.w.hooks.wake = ask_meanwhile;
    CHECK(pl_worker_sleep(&p.w.workers[1]));
    decide(&p, PL_OK);
    pl_inbox_wake(&p.w.workers[1].inbox);
    p.w.hooks.wake = world_wake;
    CHECK(meanwhile.is_done);
    world_run(&p.w);
    pl_realm_tick(p.w.realm, &p.w.workers[0]);
    world_run(&p.w);
    p.disk.refuses = PL_OK;
    CHECK_STR(b->log, "pub 0; pub 0; fence ok; ");
    gone(&p, a, NULL);
    gone(&p, b, NULL);
    place_done(&p);
}

/* ---- sessions that go ---- */

TEST(who_leaves_is_let_go_when_what_it_published_is_on_disk)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = probe_new(&p.w, 0), *b = probe_new(&p.w, 0);
    struct probe_sub *sub = probe_subscribe(b, "d.>", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(b);
    publish(a, "d.a", "1", 0, PL_WANT_DONE);
    pl_session_leave(&a->core, false);
    world_run(&p.w);
    CHECK(!a->has_left);
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub 1; leave ok; ");
    CHECK_STR(b->log, "d.a=1; ");
    gone(&p, a, NULL);
    gone(&p, b, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(who_was_ended_while_it_waited_is_not_answered_and_its_messages_go_out)
{
    struct place p;
    place_init(&p, 2);
    struct probe *old = named(&p, 1, "x"), *b = probe_new(&p.w, 0);
    struct probe_sub *sub = probe_subscribe(b, "d.>", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(b);
    struct probe *new = claim(&p, 0, "x", true, NEVER_DETACHED);
    world_run(&p.w);
    publish(old, "d.a", "1", 0, PL_WANT_DONE); /* behind the claim */
    pl_session_fence(&old->core, 0);
    world_run(&p.w);
    old->frees_itself = true; /* then nothing may look at it */
    commit(&p, PL_OK);
    settle(&p);
    CHECK_STR(new->log, "claim ok; ");
    CHECK_STR(b->log, "d.a=1; ");
    gone(&p, new, NULL);
    gone(&p, b, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(who_was_ended_before_its_messages_were_looked_at_is_not_looked_at_again)
{
    struct place p;
    place_init(&p, 2);
    struct probe *old = named(&p, 1, "x"), *b = probe_new(&p.w, 0);
    struct probe_sub *sub = probe_subscribe(b, "d.>", (struct probe_sub_options){0});
    world_run(&p.w);
    probe_clear(b);
    struct probe *new = claim(&p, 0, "x", true, NEVER_DETACHED);
    world_run(&p.w);
    publish(old, "d.a", "1", 0, 0); /* in the open batch of its worker … */
    old->frees_itself = true;
    decide(&p, PL_OK); /* … while it is taken out */
    world_run(&p.w);
    settle(&p);
    CHECK_STR(new->log, "claim ok; ");
    CHECK_STR(b->log, "d.a=1; ");
    gone(&p, new, NULL);
    gone(&p, b, (struct probe_sub *[]){sub, NULL});
    place_done(&p);
}

TEST(a_session_that_moves_to_another_worker_is_answered_before_or_there)
{
    struct place p;
    place_init(&p, 2);
    struct probe *old = named(&p, 0, "x");
    publish(old, "d.a", "1", 0, PL_WANT_DONE);
    world_run(&p.w);
    struct probe *new = claim(&p, 1, "x", false, NEVER_DETACHED);
    world_run(&p.w);
    publish(old, "d.b", "2", 0, PL_WANT_DONE);
    settle(&p);
    CHECK_STR(old->log, "pub 0; ended: another connection took the session over; back; pub 0; ");
    CHECK(new->became == old);
    settle(&p);
    CHECK_EQ(old->core.worker->index, 1);
    probe_free(new);
    gone(&p, old, NULL);
    place_done(&p);
}

/* ---- names ---- */

TEST(a_name_is_answered_for_when_it_is_on_disk)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = claim(&p, 0, "x", false, NEVER_DETACHED);
    world_run(&p.w);
    CHECK_STR(a->log, "");
    commit(&p, PL_STORE);
    CHECK_STR(a->log, "claim STORE; ");
    CHECK_EQ(count_rows(&p.disk), 0);
    struct probe *b = claim(&p, 0, "x", false, NEVER_DETACHED);
    commit(&p, PL_OK);
    CHECK_STR(b->log, "claim ok; ");
    CHECK(is_there(&p.disk, "smain|ann|x"));
    gone(&p, b, NULL);
    CHECK_EQ(count_rows(&p.disk), 0);
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(a_clean_claim_begins_anew_on_disk_too)
{
    struct place p;
    place_init(&p, 1);
    struct probe *old = named(&p, 0, "x");
    struct probe_sub *sub = subscribe_qos(old, "q.>", 1);
    pl_session_put_state(&old->core, PL_BYTES("w"), PL_BYTES("1"), false, 0);
    settle(&p);
    CHECK(is_there(&p.disk, "bmain|ann|x|q.>"));
    CHECK_STR(value_of(&p.disk, "pmain|ann|x|w"), "1");
    struct probe *new = claim(&p, 0, "x", true, NEVER_DETACHED);
    settle(&p);
    CHECK_STR(new->log, "claim ok; ");
    CHECK(is_there(&p.disk, "smain|ann|x"));
    CHECK_EQ(count_rows(&p.disk), 1);
    struct probe_sub *fresh = subscribe_qos(new, "r.>", 1);
    settle(&p);
    CHECK(is_there(&p.disk, "bmain|ann|x|r.>"));
    CHECK_EQ(count_rows(&p.disk), 2);
    gone(&p, old, (struct probe_sub *[]){sub, NULL});
    CHECK_EQ(count_rows(&p.disk), 2);
    gone(&p, new, (struct probe_sub *[]){fresh, NULL});
    CHECK_EQ(count_rows(&p.disk), 0);
    place_done(&p);
}

TEST(what_the_older_one_wrote_while_the_clean_claim_waited_goes_with_it)
{
    struct place p;
    place_init(&p, 1);
    struct probe *old = named(&p, 0, "x");
    struct probe *new = claim(&p, 0, "x", true, NEVER_DETACHED);
    world_run(&p.w);
    struct probe_sub *sub = subscribe_qos(old, "q.>", 1); /* behind the claim */
    pl_session_put_state(&old->core, PL_BYTES("w"), PL_BYTES("1"), false, 0);
    world_run(&p.w);
    commit(&p, PL_OK);
    settle(&p);
    CHECK_STR(new->log, "claim ok; ");
    CHECK(is_there(&p.disk, "smain|ann|x"));
    CHECK_EQ(count_rows(&p.disk), 1);
    gone(&p, old, (struct probe_sub *[]){sub, NULL});
    gone(&p, new, NULL);
    place_done(&p);
}

TEST(a_clean_claim_that_is_not_to_stay_leaves_nothing_behind)
{
    struct place p;
    place_init(&p, 1);
    struct probe *old = named(&p, 0, "x");
    struct probe_sub *sub = subscribe_qos(old, "q.>", 1);
    settle(&p);
    struct probe *new = claim(&p, 0, "x", true, 0);
    settle(&p);
    CHECK_STR(new->log, "claim ok; ");
    CHECK_EQ(count_rows(&p.disk), 0);
    gone(&p, old, (struct probe_sub *[]){sub, NULL});
    gone(&p, new, NULL);
    place_done(&p);
}

TEST(a_name_whose_older_session_went_while_it_waited_is_on_disk)
{
    struct place p;
    place_init(&p, 1);
    struct probe *old = named(&p, 0, "x");
    publish(old, "d.a", "1", 0, PL_WANT_DONE);
    pl_session_set_expiry(&old->core, 0);
    pl_session_detach(&old->core, false); /* both behind it */
    world_run(&p.w);
    struct probe *new = claim(&p, 0, "x", false, NEVER_DETACHED); /* the older one is still there */
    world_run(&p.w);
    CHECK_STR(new->log, "");
    commit(&p, PL_OK);
    CHECK_STR(old->log, "pub 0; leave ok; ");
    CHECK_STR(new->log, "claim ok; ");
    settle(&p);
    CHECK(is_there(&p.disk, "smain|ann|x"));
    gone(&p, old, NULL);
    gone(&p, new, NULL);
    CHECK_EQ(count_rows(&p.disk), 0);
    place_done(&p);
}

/* ---- subscriptions ---- */

TEST(a_message_that_a_durable_session_wants_is_written_once_until_it_is_let_go)
{
    struct place p;
    place_init(&p, 1);
    struct probe *s = named(&p, 0, "x"), *t = named(&p, 0, "y"), *a = probe_new(&p.w, 0);
    struct probe_sub *q = subscribe_qos(s, "q", 1), *r = subscribe_qos(t, "q", 2);
    settle(&p);
    publish(a, "q", "1", 1, PL_WANT_DONE);
    publish(a, "q", "2", 0, 0); /* at most once: not written, not waited for */
    world_run(&p.w);
    CHECK_EQ(p.disk.messages, 1);
    CHECK_EQ(p.disk.records, 1);
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub 2; ");
    CHECK_EQ(p.disk.records, 0); /* these two keep nothing */
    gone(&p, s, (struct probe_sub *[]){q, NULL});
    gone(&p, t, (struct probe_sub *[]){r, NULL});
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(a_message_behind_a_subscription_that_is_not_on_disk_yet_is_written_for_it)
{
    struct place p;
    place_init(&p, 1);
    struct probe *s = named(&p, 0, "x"), *a = probe_new(&p.w, 0);
    publish(a, "d.first", "0", 0, PL_WANT_DONE); /* so that it waits itself */
    struct probe_sub *q = subscribe_qos(s, "q", 1);
    world_run(&p.w);
    publish(a, "q", "1", 1, PL_WANT_DONE);
    world_run(&p.w);
    CHECK_EQ(p.disk.messages, 2);
    commit(&p, PL_OK);
    CHECK_STR(a->log, "pub 0; pub 1; ");
    CHECK_STR(s->log, "sub ok; q=1; ");
    gone(&p, s, (struct probe_sub *[]){q, NULL});
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(a_subscription_that_takes_another_ones_place_leaves_no_gap)
{
    struct place p;
    place_init(&p, 1);
    struct probe *s = named(&p, 0, "x"), *a = probe_new(&p.w, 0);
    struct probe_sub *old = subscribe_qos(s, "q", 1);
    settle(&p);
    probe_clear(s);
    old->core.is_replaced = true;
    pl_session_unsubscribe(&s->core, &old->core, 0);
    struct probe_sub *new = subscribe_qos(s, "q", 2);
    new->core.since = old->core.since;
    world_run(&p.w);
    CHECK_STR(s->log, "");
    publish(a, "q", "0", 0, 0); /* waits for nobody */
    publish(a, "q", "1", 1, PL_WANT_DONE);
    world_run(&p.w);
    CHECK_STR(s->log, "q=0; ");
    CHECK_EQ(p.disk.messages, 1);
    commit(&p, PL_OK);
    CHECK_STR(s->log, "q=0; unsub ok; sub ok; q=1; ");
    CHECK_STR(a->log, "pub 1; ");
    const char *value = value_of(&p.disk, "bmain|ann|x|q");
    CHECK_STR(value + strlen(value) - 1, "2");
    gone(&p, s, (struct probe_sub *[]){new, NULL});
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(a_state_is_answered_for_when_it_is_on_disk)
{
    struct place p;
    place_init(&p, 1);
    struct probe *s = named(&p, 0, "x"), *other = probe_new(&p.w, 0);
    pl_session_put_state(&s->core, PL_BYTES("w"), PL_BYTES("1"), true, 0);
    pl_session_put_state(&other->core, PL_BYTES("w"), PL_BYTES("1"), true, 0);
    world_run(&p.w);
    CHECK_STR(s->log, "");
    CHECK_STR(other->log, "state ok; "); /* it does not outlive the process */
    commit(&p, PL_OK);
    CHECK_STR(s->log, "state ok; ");
    CHECK_STR(value_of(&p.disk, "pmain|ann|x|w"), "1");
    pl_session_put_state(&s->core, PL_BYTES("w"), PL_NO_BYTES, true, 0);
    commit(&p, PL_STORE);
    CHECK_STR(s->log, "state ok; state STORE; ");
    CHECK_EQ(count_rows(&p.disk), 2);
    gone(&p, s, NULL);
    gone(&p, other, NULL);
    place_done(&p);
}

/* ---- retained values ---- */

TEST(a_retained_value_that_is_not_taken_is_not_on_disk_either)
{
    struct place p;
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.retained_count_max = 1;
    place_init_limits(&p, 1, &limits);
    struct probe *a = probe_new(&p.w, 0);
    retain(a, "r.a", "1", PL_WANT_DONE);
    settle(&p);
    retain(a, "r.b", "2", PL_WANT_DONE);
    settle(&p);
    CHECK_STR(a->log, "pub 0; pub LIMIT; ");
    CHECK_STR(value_of(&p.disk, "rmain|r.a"), "1");
    CHECK_EQ(count_rows(&p.disk), 1);
    retain(a, "r.a", "3", PL_WANT_DONE);
    settle(&p);
    CHECK_STR(value_of(&p.disk, "rmain|r.a"), "3");
    retain(a, "r.a", "", PL_WANT_DONE);
    settle(&p);
    CHECK_EQ(count_rows(&p.disk), 0);
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(a_retained_value_that_has_expired_goes_from_the_disk)
{
    struct place p;
    place_init(&p, 1);
    struct probe *a = probe_new(&p.w, 0);
    struct pl_properties soon = {.expires_ms = p.w.now_ms + 500};
    struct pl_message draft = {
        .subject = PL_BYTES("r.a"), .payload = PL_BYTES("1"), .retain = true, .properties = &soon};
    CHECK_EQ(probe_send(a, draft, 0), PL_OK);
    settle(&p);
    CHECK_EQ(count_rows(&p.disk), 1);
    world_pass(&p.w, 1000);
    settle(&p);
    CHECK_EQ(count_rows(&p.disk), 0);
    gone(&p, a, NULL);
    place_done(&p);
}

TEST(what_was_written_by_half_is_refused_whole)
{
    struct place p;
    place_init(&p, 1);
    struct probe *s = named(&p, 0, "x"), *a = probe_new(&p.w, 0);
    struct probe_sub *q = subscribe_qos(s, "q", 1);
    settle(&p);
    probe_clear(s);
    p.disk.messages_max = 1;
    struct pl_message draft = {
        .subject = PL_BYTES("q"), .payload = PL_BYTES("1"), .qos = 1, .retain = true};
    CHECK_EQ(probe_send(a, draft, PL_WANT_DONE), PL_OK);
    settle(&p);
    CHECK_STR(a->log, "pub LIMIT; ");
    CHECK_STR(s->log, "");
    CHECK_EQ(p.disk.records, 0);
    gone(&p, s, (struct probe_sub *[]){q, NULL});
    gone(&p, a, NULL);
    place_done(&p);
}
