/*
 * The dealer against a naive one: random registrations, calls, parts, cancellations, answers,
 * passes, departures and passing time, of sessions on two workers, several in one turn. Each
 * session must be told exactly what the model says, in its order; so every call ends exactly once.
 *
 * The model knows neither indexes nor lists in lists: arrays, looked through from end to end.
 */
#include "check.h"

#include "core/dealer.h"
#include "core/probe.h"
#include "core/random_names.h"

enum {
    WORKERS = 2,
    PEERS = 8,
    OFFERS_MAX = 5, /* per session: registrations_max */
    CALLS_MAX = 6,  /* per session: calls_max */
    OPEN_MAX = PEERS * CALLS_MAX,
    TIMEOUT_MAX = 2000,
    LOG_MAX = 1 << 14,
    LINES_MAX = 256,
};

/* ---- What both dealers are asked about ---- */

struct form {
    const char *text; /* "*" is any token, a last "~" makes it a prefix */
    uint8_t rank;     /* 0 exact, 1 prefix, 2 tokens */
};

static const struct form forms[] = {{"a.b", 0}, {"a.b.c", 0}, {"x", 0}, {"a", 1}, {"a.b", 1},
    {"a.b.", 1}, {"x", 1}, {"a.*.c", 2}, {"a.b.*", 2}, {"*.b.c", 2}, {"*.*", 2}, {"a.*", 2}};
static const char *const names[] = {
    "a.b", "a.b.c", "a.b.d", "a.x.c", "x", "x.y", "y.b.c", "q", "a", "ab", "y.z"};

enum { FORMS = sizeof forms / sizeof *forms, NAMES = sizeof names / sizeof *names };

/* ---- The real side ---- */

struct peer;

struct offer {
    struct pl_callee core; /* first */
    uint32_t number;
};

struct peer {
    struct pl_session core; /* first */
    struct pl_output out;
    char log[LOG_MAX];
    size_t len;
    bool has_left;
};

static struct world world;
static struct peer *peers[PEERS];

static void note(char *log, size_t *len, const char *format, va_list args)
{
    int n = vsnprintf(log + *len, LOG_MAX - *len, format, args);
    *len += n > 0 && (size_t)n < LOG_MAX - *len ? (size_t)n : 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct peer *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(p->log, &p->len, format, args);
    va_end(args);
}

static void on_complete(struct pl_session *s, const struct pl_completion *done)
{
    struct peer *p = (struct peer *)s;
    struct offer *offer = (struct offer *)done->callee;
    switch (done->kind) {
    case PL_DONE_REGISTER:
        say(p, "reg %u %d\n", offer->number, done->err);
        if (done->err)
            free(offer);
        break;
    case PL_DONE_UNREGISTER:
        say(p, "unreg %u\n", offer->number);
        free(offer);
        break;
    case PL_DONE_LEAVE:
        p->has_left = true;
        break;
    default:
        break;
    }
}

static void on_ended(struct pl_session *s, enum pl_err why)
{
    say((struct peer *)s, "ended %d\n", why);
}

static void on_invoke(struct pl_session *s, const struct pl_invocation *i)
{
    say((struct peer *)s, "inv %llu of %u: %.*s timeout=%llu progress=%d first=%d more=%d\n",
        (unsigned long long)i->id, i->callee ? ((struct offer *)i->callee)->number : 0,
        (int)i->message->payload.len, (const char *)i->message->payload.data,
        (unsigned long long)i->timeout_ms, i->wants_progress, i->is_first, i->has_more);
}

static void on_interrupt(
    struct pl_session *s, uint64_t invocation, enum pl_cancel mode, enum pl_err why)
{
    say((struct peer *)s, "int %llu %d %d\n", (unsigned long long)invocation, mode, why);
}

static void on_answer(struct pl_session *s, const struct pl_result *result)
{
    const struct pl_message *m = result->message;
    say((struct peer *)s, "ans %llu %d %.*s%s\n", (unsigned long long)result->token, result->err,
        m ? (int)m->payload.len : 0, m ? (const char *)m->payload.data : "",
        result->is_progress ? " more" : "");
}

static void on_unregistered(struct pl_session *s, struct pl_callee *callee)
{
    say((struct peer *)s, "forced %u\n", ((struct offer *)callee)->number);
}

static void on_press(struct pl_session *s, bool is_on)
{
    say((struct peer *)s, "press %d\n", is_on);
}

static const struct pl_session_ops ops = {
    .name = "peer",
    .complete = on_complete,
    .ended = on_ended,
    .invoke = on_invoke,
    .interrupt = on_interrupt,
    .answer = on_answer,
    .unregistered = on_unregistered,
    .press = on_press,
};

/* ---- The model ---- */

struct model_offer {
    uint32_t number; /* 0: this place is free */
    int peer, form;
    uint8_t invoke, flags;
    uint32_t concurrency;
    uint64_t age; /* order of registration */
    struct offer *real;
};

struct model_call {
    bool is_open;
    int caller, callee; /* callee: -1: none now */
    uint64_t token, invocation, due_ms, timeout_ms;
    uint32_t offer; /* number; 0: it was withdrawn */
    uint8_t flags;  /* of the offer that took it */
    bool wants_progress, has_more, is_parted, keeps_time, is_killed, may_go_on;
    int name;
    char payload[16];
    int tried[PL_CALL_TRIES_MAX], tried_count;
};

static struct {
    struct model_offer offers[PEERS * OFFERS_MAX];
    uint32_t turns[FORMS]; /* round robin: age of who was asked last, plus 1; 0: nobody */
    uint64_t ages[FORMS];
    struct model_call calls[OPEN_MAX];
    uint64_t invocations[PEERS], tokens[PEERS];
    char logs[PEERS][LOG_MAX];
    size_t lens[PEERS];
    bool is_sorted; /* several ended at once: their order is nobody's business */
    uint32_t made, payloads;
    uint64_t ended;
} model;

static struct pl_random dice;

__attribute__((format(printf, 2, 3))) static void expect(int peer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(model.logs[peer], &model.lens[peer], format, args);
    va_end(args);
}

static uint32_t roll(uint32_t below)
{
    return pl_random_below(&dice, below);
}

static bool matches(const struct form *form, const char *name)
{
    if (form->rank == 0)
        return strcmp(form->text, name) == 0;
    if (form->rank == 1)
        return strncmp(form->text, name, strlen(form->text)) == 0;
    const char *f = form->text, *n = name;
    for (;;) {
        size_t fl = strcspn(f, "."), nl = strcspn(n, ".");
        if (!(fl == 1 && *f == '*') && (fl != nl || strncmp(f, n, fl) != 0))
            return false;
        f += fl;
        n += nl;
        if (!*f || !*n)
            return *f == *n;
        f++;
        n++;
    }
}

/* Lengths of the runs of literal tokens, those before the first wildcard first. */
static void runs_of(const char *text, int *out)
{
    int at = 0;
    bool was_any = false;
    memset(out, 0, 8 * sizeof *out);
    for (;;) {
        size_t len = strcspn(text, ".");
        bool is_any = len == 1 && *text == '*';
        if (is_any && !was_any)
            at++;
        else if (!is_any)
            out[at]++;
        was_any = is_any;
        text += len;
        if (!*text++)
            return;
    }
}

static bool goes_before(const struct form *a, const struct form *b)
{
    int x[8], y[8];
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->rank < 2)
        return strlen(a->text) > strlen(b->text);
    runs_of(a->text, x);
    runs_of(b->text, y);
    for (int i = 0; i < 8; i++)
        if (x[i] != y[i])
            return x[i] > y[i];
    return false;
}

static uint32_t count_offers(int form)
{
    uint32_t count = 0;
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++)
        count += model.offers[i].number && model.offers[i].form == form;
    return count;
}

/* Which form answers; -1: none. */
static int find_form(int name)
{
    int best = -1;
    for (int f = 0; f < FORMS; f++)
        if (count_offers(f) && matches(&forms[f], names[name]) &&
            (best < 0 || goes_before(&forms[f], &forms[best])))
            best = f;
    return best;
}

static struct model_offer *find_offer(uint32_t number)
{
    for (size_t i = 0; number && i < PEERS * OFFERS_MAX; i++)
        if (model.offers[i].number == number)
            return &model.offers[i];
    return NULL;
}

static uint32_t open_calls_of(const struct model_offer *offer)
{
    uint32_t count = 0;
    for (int i = 0; i < OPEN_MAX; i++)
        count += model.calls[i].is_open && model.calls[i].offer == offer->number;
    return count;
}

static bool is_free(const struct model_offer *o, const struct model_call *call)
{
    for (int i = 0; i < call->tried_count; i++)
        if (call->tried[i] == o->peer)
            return false;
    return !o->concurrency || open_calls_of(o) < o->concurrency;
}

/* The next one by age behind `from` that is free; NULL: none. */
static struct model_offer *next_free(int form, uint64_t from, const struct model_call *call)
{
    struct model_offer *best = NULL;
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
        struct model_offer *o = &model.offers[i];
        if (o->number && o->form == form && o->age >= from && is_free(o, call) &&
            (!best || o->age < best->age))
            best = o;
    }
    return best;
}

static struct model_offer *last_free(int form, const struct model_call *call)
{
    struct model_offer *best = NULL;
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
        struct model_offer *o = &model.offers[i];
        if (o->number && o->form == form && is_free(o, call) && (!best || o->age > best->age))
            best = o;
    }
    return best;
}

static uint8_t policy_of(int form)
{
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++)
        if (model.offers[i].number && model.offers[i].form == form)
            return model.offers[i].invoke;
    return PL_INVOKE_SINGLE;
}

/* random: whom the real one chose; the caller checks that it was free. */
static struct model_offer *choose(int form, const struct model_call *call, uint32_t random)
{
    switch (policy_of(form)) {
    case PL_INVOKE_LAST:
        return last_free(form, call);
    case PL_INVOKE_RANDOM:
        return find_offer(random);
    case PL_INVOKE_ROUNDROBIN: {
        struct model_offer *o = next_free(form, model.turns[form], call);
        if (!o)
            o = next_free(form, 0, call);
        if (o)
            model.turns[form] = (uint32_t)o->age + 1;
        return o;
    }
    default:
        return next_free(form, 0, call);
    }
}

static void end_call(struct model_call *call)
{
    call->is_open = false;
    model.ended++;
}

static void tell_interrupt(const struct model_call *call, enum pl_cancel mode, enum pl_err why)
{
    if (call->callee >= 0 && call->flags & PL_CALLEE_CAN_CANCEL)
        expect(call->callee, "int %llu %d %d\n", (unsigned long long)call->invocation, mode, why);
}

static void fail_call(struct model_call *call, enum pl_err err, enum pl_err why)
{
    if (why)
        tell_interrupt(call, PL_CANCEL_KILL_NO_WAIT, why);
    expect(call->caller, "ans %llu %d \n", (unsigned long long)call->token, err);
    end_call(call);
}

static void tell_invoke(const struct model_call *call, const char *payload, bool is_first)
{
    expect(call->callee, "inv %llu of %u: %s timeout=%llu progress=%d first=%d more=%d\n",
        (unsigned long long)call->invocation, call->offer, payload,
        (unsigned long long)(call->keeps_time ? call->timeout_ms : 0), call->wants_progress,
        is_first, call->has_more);
}

static void start_clock(struct model_call *call)
{
    call->due_ms =
        call->timeout_ms && !call->keeps_time ? world.now_ms + call->timeout_ms : PL_NEVER;
}

static void ask(struct model_call *call, const struct model_offer *o)
{
    call->callee = o->peer;
    call->offer = o->number;
    call->flags = o->flags;
    call->invocation = ++model.invocations[o->peer];
    call->keeps_time = call->timeout_ms && o->flags & PL_CALLEE_KEEPS_TIME;
    if (call->tried_count < PL_CALL_TRIES_MAX)
        call->tried[call->tried_count++] = o->peer;
    start_clock(call);
    tell_invoke(call, call->payload, true);
}

/* ---- Comparing ---- */

static int compare_lines(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void sort_lines(char *log)
{
    static char copy[LOG_MAX];
    char *lines[LINES_MAX];
    size_t count = 0;
    memcpy(copy, log, strlen(log) + 1);
    for (char *line = strtok(copy, "\n"); line && count < LINES_MAX; line = strtok(NULL, "\n"))
        lines[count++] = line;
    qsort(lines, count, sizeof *lines, compare_lines);
    *log = 0;
    for (size_t i = 0; i < count; i++)
        log += sprintf(log, "%s\n", lines[i]);
}

static bool agree(void)
{
    bool is_same = true;
    for (int i = 0; i < PEERS; i++) {
        peers[i]->log[peers[i]->len] = 0;
        model.logs[i][model.lens[i]] = 0;
        if (model.is_sorted) {
            sort_lines(peers[i]->log);
            sort_lines(model.logs[i]);
        }
        if (strcmp(peers[i]->log, model.logs[i]) != 0)
            is_same = CHECK_STR(peers[i]->log, model.logs[i]);
        peers[i]->len = model.lens[i] = 0;
    }
    model.is_sorted = false;
    return is_same;
}

/* ---- Operations, on both ---- */

static int worker_of(int peer)
{
    return peer % WORKERS;
}

static int random_peer(int worker)
{
    return (int)roll(PEERS / WORKERS) * WORKERS + worker;
}

static struct peer *new_peer(int number)
{
    struct peer *p = calloc(1, sizeof *p);
    struct pl_worker *worker = &world.workers[worker_of(number)];
    pl_output_init(&p->out, &worker->outputs, 1 << 20);
    pl_session_init(&p->core, &ops, worker, &p->out);
    p->core.realm = world.realm;
    p->core.identity = pl_identity_ref(world.identity);
    pl_session_join(&p->core, 0);
    return p;
}

static enum pl_err make_pattern(const struct form *form, struct pl_pattern **out)
{
    return form->rank == 1 ? pl_pattern_new_prefix(pl_bytes_text(form->text), out)
                           : pl_pattern_parse(pl_bytes_text(form->text), out);
}

static void withdraw(struct model_offer *o)
{
    for (int i = 0; i < OPEN_MAX; i++)
        if (model.calls[i].is_open && model.calls[i].offer == o->number)
            model.calls[i].offer = 0;
    /* The turn goes back to the one before. */
    if (model.turns[o->form] == o->age + 1) {
        model.turns[o->form] = 0;
        for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
            const struct model_offer *other = &model.offers[i];
            if (other->number && other->form == o->form && other->age < o->age &&
                other->age + 1 > model.turns[o->form])
                model.turns[o->form] = (uint32_t)other->age + 1;
        }
    }
    int form = o->form;
    o->number = 0;
    if (!count_offers(form))
        model.turns[form] = 0;
}

static struct model_offer *oldest_of(int form)
{
    struct model_offer *oldest = NULL;
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
        struct model_offer *o = &model.offers[i];
        if (o->number && o->form == form && (!oldest || o->age < oldest->age))
            oldest = o;
    }
    return oldest;
}

static bool has_offer(int peer, int form)
{
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
        const struct model_offer *o = &model.offers[i];
        if (o->number && o->peer == peer && o->form == form)
            return true;
    }
    return false;
}

static uint32_t offers_of(int peer)
{
    uint32_t count = 0;
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++)
        count += model.offers[i].number && model.offers[i].peer == peer;
    return count;
}

static void do_register(int peer)
{
    struct model_offer o = {
        .number = ++model.made,
        .peer = peer,
        .form = (int)roll(FORMS),
        .invoke = (uint8_t)(roll(3) ? PL_INVOKE_ROUNDROBIN + roll(4) : PL_INVOKE_SINGLE),
        .flags = (uint8_t)(roll(32) & ~(uint32_t)PL_CALLEE_WANTS_CALLER),
        .concurrency = roll(2) ? roll(3) : 0,
    };
    if (roll(4))
        o.flags &= (uint8_t)~PL_CALLEE_FORCED;
    if (count_offers(o.form) && roll(4))
        o.invoke = policy_of(o.form);
    struct offer *real = calloc(1, sizeof *real);
    real->number = o.number;
    real->core.invoke = o.invoke;
    real->core.flags = o.flags;
    real->core.concurrency = o.concurrency;
    REQUIRE(make_pattern(&forms[o.form], &real->core.pattern) == PL_OK);
    o.real = real;
    pl_session_register(&peers[peer]->core, &real->core, 0);

    enum pl_err err = offers_of(peer) >= OFFERS_MAX ? PL_LIMIT : PL_OK;
    struct model_offer *old;
    while (!err && o.flags & PL_CALLEE_FORCED && (old = oldest_of(o.form))) {
        expect(old->peer, "forced %u\nunreg %u\n", old->number, old->number);
        withdraw(old);
    }
    if (!err && count_offers(o.form) &&
        (policy_of(o.form) == PL_INVOKE_SINGLE || policy_of(o.form) != o.invoke ||
            has_offer(peer, o.form)))
        err = PL_EXISTS;
    expect(peer, "reg %u %d\n", o.number, err);
    for (size_t i = 0; !err && i < PEERS * OFFERS_MAX; i++)
        if (!model.offers[i].number) {
            o.age = model.ages[o.form]++;
            model.offers[i] = o;
            return;
        }
}

static void do_unregister(int peer)
{
    uint32_t skip = roll(OFFERS_MAX);
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
        struct model_offer *o = &model.offers[i];
        if (!o->number || o->peer != peer || skip--)
            continue;
        pl_session_unregister(&peers[peer]->core, &o->real->core, 0);
        expect(peer, "unreg %u\n", o->number);
        withdraw(o);
        return;
    }
}

static bool is_due_unique(uint64_t due_ms)
{
    for (int i = 0; i < OPEN_MAX; i++)
        if (model.calls[i].is_open && model.calls[i].due_ms == due_ms)
            return false;
    return true;
}

static uint32_t open_calls(int caller)
{
    uint32_t count = 0;
    for (int i = 0; i < OPEN_MAX; i++)
        count += model.calls[i].is_open && model.calls[i].caller == caller;
    return count;
}

static void send_call(const struct model_call *call, unsigned flags)
{
    const struct pl_message draft = {
        .subject = pl_bytes_text(names[call->name]),
        .payload = pl_bytes_text(call->payload),
    };
    struct pl_shared *copy = pl_shared_new(sizeof call->payload);
    memcpy(copy->data, call->payload, draft.payload.len);
    struct pl_message kept = draft;
    kept.payload.data = copy->data;
    pl_session_call(&peers[call->caller]->core, &kept, copy, flags, call->timeout_ms, call->token);
    pl_shared_unref(copy);
}

/* Whom a call went to, out of the one log that now tells an invocation with this payload. */
static uint32_t invoked_offer(const char *payload)
{
    char wanted[32];
    (void)snprintf(wanted, sizeof wanted, ": %s timeout", payload);
    for (int i = 0; i < PEERS; i++) {
        peers[i]->log[peers[i]->len] = 0;
        const char *at = strstr(peers[i]->log, wanted);
        unsigned number;
        while (at && at > peers[i]->log && at[-1] != '\n')
            at--;
        if (at && sscanf(at, "inv %*u of %u:", &number) == 1)
            return number;
    }
    return 0;
}

static bool has_free_without_parts(int form, const struct model_call *call)
{
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++) {
        const struct model_offer *o = &model.offers[i];
        if (o->number && o->form == form && is_free(o, call) && !(o->flags & PL_CALLEE_TAKES_PARTS))
            return true;
    }
    return false;
}

/* The model asks; a random choice is taken over from the real one, which has run then. */
static enum pl_err ask_form(struct model_call *call, int form)
{
    uint32_t random = 0;
    bool is_random = policy_of(form) == PL_INVOKE_RANDOM;
    if (is_random) {
        world_run(&world);
        random = invoked_offer(call->payload);
    }
    struct model_offer *o = choose(form, call, random);
    if (is_random && o)
        CHECK(o->form == form && is_free(o, call));
    if (is_random && !o && call->has_more && has_free_without_parts(form, call))
        return PL_NO_PARTS; /* that was the one */
    if (is_random && !o)
        CHECK(!next_free(form, 0, call));
    if (!o)
        return PL_NO_CALLEE;
    if (call->has_more && !(o->flags & PL_CALLEE_TAKES_PARTS))
        return PL_NO_PARTS;
    ask(call, o);
    return PL_OK;
}

static void do_call(int peer)
{
    struct model_call *call = NULL;
    for (int i = 0; i < OPEN_MAX && !call; i++)
        if (!model.calls[i].is_open)
            call = &model.calls[i];
    struct model_call made = {
        .is_open = true,
        .caller = peer,
        .callee = -1,
        .token = ++model.tokens[peer],
        .name = (int)roll(NAMES),
        .wants_progress = roll(2),
        .has_more = !roll(5),
        .timeout_ms = roll(2) ? 1 + roll(TIMEOUT_MAX) : 0,
        .due_ms = PL_NEVER,
    };
    while (made.timeout_ms && !is_due_unique(world.now_ms + made.timeout_ms))
        made.timeout_ms++;
    (void)snprintf(made.payload, sizeof made.payload, "c%u", ++model.payloads);
    send_call(&made,
        (made.wants_progress ? PL_CALL_WANTS_PROGRESS : 0u) | (made.has_more ? PL_CALL_MORE : 0u));
    enum pl_err err = open_calls(peer) >= CALLS_MAX ? PL_LIMIT : PL_OK;
    int form = find_form(made.name);
    if (!err && form < 0)
        err = PL_NOT_FOUND;
    if (!err && call) {
        made.may_go_on = count_offers(form) > 1;
        err = ask_form(&made, form);
        *call = made;
    }
    if (err) {
        expect(peer, "ans %llu %d \n", (unsigned long long)made.token, err);
        if (call)
            call->is_open = false;
    }
}

static struct model_call *random_call(int peer, bool as_caller)
{
    uint32_t skip = roll(OPEN_MAX);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < OPEN_MAX; i++) {
            struct model_call *call = &model.calls[i];
            if (call->is_open && (as_caller ? call->caller : call->callee) == peer && !skip--)
                return call;
            if (skip > OPEN_MAX)
                skip = 0;
        }
    for (int i = 0; i < OPEN_MAX; i++)
        if (model.calls[i].is_open &&
            (as_caller ? model.calls[i].caller : model.calls[i].callee) == peer)
            return &model.calls[i];
    return NULL;
}

static void do_part(int peer)
{
    struct model_call *call = random_call(peer, true);
    if (!call)
        return;
    bool has_more = roll(2);
    struct model_call part = *call;
    (void)snprintf(part.payload, sizeof part.payload, "p%u", ++model.payloads);
    send_call(&part, PL_CALL_NEXT | (has_more ? PL_CALL_MORE : 0u));
    if (!call->has_more || call->callee < 0 || call->is_killed)
        return;
    call->has_more = has_more;
    call->is_parted = true;
    tell_invoke(call, part.payload, false);
}

static void do_cancel(int peer)
{
    struct model_call *call = random_call(peer, true);
    enum pl_cancel mode = (enum pl_cancel)roll(3);
    uint64_t token = call && roll(8) ? call->token : model.tokens[peer] + 100;
    pl_session_cancel(&peers[peer]->core, token, mode);
    if (!call || call->token != token || call->is_killed)
        return;
    bool can = call->callee >= 0 && call->flags & PL_CALLEE_CAN_CANCEL;
    if (can && mode == PL_CANCEL_KILL) {
        call->is_killed = true;
        tell_interrupt(call, mode, PL_CANCELED);
        return;
    }
    fail_call(call, PL_CANCELED, can && mode == PL_CANCEL_KILL_NO_WAIT ? PL_CANCELED : PL_OK);
}

static void send_yield(
    int peer, uint64_t invocation, const char *payload, bool is_progress, bool is_error)
{
    static const struct pl_properties error = {
        .error = {(const uint8_t *)"an.error", 8}, .expires_ms = PL_NEVER};
    static const struct pl_properties progress = {.is_progress = true, .expires_ms = PL_NEVER};
    struct pl_shared *copy = pl_shared_new(16);
    size_t len = strlen(payload);
    memcpy(copy->data, payload, len);
    const struct pl_message draft = {
        .payload = pl_bytes_of(copy->data, len),
        .properties = is_progress ? &progress
                      : is_error  ? &error
                                  : NULL,
    };
    pl_session_yield(&peers[peer]->core, invocation, &draft, copy);
    pl_shared_unref(copy);
}

static void do_yield(int peer)
{
    char payload[16];
    struct model_call *call = random_call(peer, false);
    bool is_progress = roll(3) == 0, is_error = roll(4) == 0;
    (void)snprintf(payload, sizeof payload, "y%u", ++model.payloads);
    if (call && is_progress && call->timeout_ms && !call->keeps_time && call->wants_progress &&
        !is_due_unique(world.now_ms + call->timeout_ms))
        is_progress = false;
    /* Now and then one that is over, or was never asked for. */
    uint64_t invocation = call && roll(8) ? call->invocation : 1 + roll(1 << 20) + (1u << 30);
    send_yield(peer, invocation, payload, is_progress, is_error);
    if (!call || call->invocation != invocation)
        return;
    if (is_progress && !call->wants_progress)
        return;
    expect(call->caller, "ans %llu 0 %s%s\n", (unsigned long long)call->token, payload,
        is_progress ? " more" : "");
    if (is_progress)
        start_clock(call);
    else
        end_call(call);
}

static void do_pass(int peer)
{
    struct model_call *call = random_call(peer, false);
    if (!call)
        return;
    /* What tells whom the real one chose next must be the newest invocation of this payload. */
    world_run(&world);
    CHECK(agree());
    pl_session_pass(&peers[peer]->core, call->invocation);
    if (call->is_killed) {
        fail_call(call, PL_CANCELED, PL_OK);
        return;
    }
    call->callee = -1;
    call->offer = 0;
    int form = call->may_go_on ? find_form(call->name) : -1;
    enum pl_err err = PL_NO_CALLEE;
    if (form >= 0 && !call->has_more && !call->is_parted && call->tried_count < PL_CALL_TRIES_MAX)
        err = ask_form(call, form);
    if (err)
        fail_call(call, err, PL_OK);
}

/* Everything of it ends; another one takes its place. */
static void do_leave(int peer)
{
    struct offer *offers[OFFERS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < PEERS * OFFERS_MAX; i++)
        if (model.offers[i].number && model.offers[i].peer == peer) {
            offers[count++] = model.offers[i].real;
            withdraw(&model.offers[i]);
        }
    pl_session_leave(&peers[peer]->core, false);
    world_run(&world);
    for (int i = 0; i < OPEN_MAX; i++) {
        struct model_call *call = &model.calls[i];
        if (call->is_open && call->callee == peer && call->caller == peer)
            end_call(call); /* The answer finds nobody: what it says is not looked at. */
        else if (call->is_open && call->callee == peer)
            fail_call(call, PL_CALLEE_GONE, PL_OK);
    }
    for (int i = 0; i < OPEN_MAX; i++) {
        struct model_call *call = &model.calls[i];
        if (!call->is_open || call->caller != peer)
            continue;
        tell_interrupt(call, PL_CANCEL_KILL_NO_WAIT, PL_CANCELED);
        end_call(call);
    }
    /* Who comes in its place was not asked yet. */
    for (int i = 0; i < OPEN_MAX; i++)
        for (int k = 0; k < model.calls[i].tried_count; k++)
            if (model.calls[i].tried[k] == peer)
                model.calls[i].tried[k] = -1;
    model.is_sorted = true;
    peers[peer]->len = model.lens[peer] = 0;
    CHECK(agree());
    REQUIRE(peers[peer]->has_left);
    for (uint32_t i = 0; i < count; i++)
        free(offers[i]);
    pl_session_done(&peers[peer]->core);
    pl_output_done(&peers[peer]->out);
    free(peers[peer]);
    peers[peer] = new_peer(peer);
    model.invocations[peer] = 0;
    model.tokens[peer] = 0;
    world_run(&world);
}

static void do_wait(void)
{
    uint64_t ms = 1 + roll(TIMEOUT_MAX / 4);
    world_pass(&world, ms);
    for (;;) {
        struct model_call *first = NULL;
        for (int i = 0; i < OPEN_MAX; i++) {
            struct model_call *call = &model.calls[i];
            if (call->is_open && call->due_ms <= world.now_ms &&
                (!first || call->due_ms < first->due_ms))
                first = call;
        }
        if (!first)
            return;
        fail_call(first, PL_TIMEOUT, PL_TIMEOUT);
    }
}

static void do_one(int peer)
{
    uint32_t what = roll(100);
    if (what < 12)
        do_register(peer);
    else if (what < 16)
        do_unregister(peer);
    else if (what < 50)
        do_call(peer);
    else if (what < 56)
        do_part(peer);
    else if (what < 64)
        do_cancel(peer);
    else if (what < 94)
        do_yield(peer);
    else
        do_pass(peer);
}

static void open_world(uint64_t seed)
{
    struct pl_realm_limits limits = pl_realm_limits_default;
    limits.registrations_max = OFFERS_MAX;
    limits.calls_max = CALLS_MAX;
    memset(&model, 0, sizeof model);
    dice = pl_random_seeded(seed);
    world_init_limits(&world, WORKERS, &limits);
    for (int i = 0; i < PEERS; i++)
        peers[i] = new_peer(i);
    world_run(&world);
}

static void close_world(void)
{
    for (int i = 0; i < PEERS; i++)
        do_leave(i);
    struct pl_realm_stats stats;
    pl_realm_stats(world.realm, &stats);
    CHECK_EQ(stats.calls, 0);
    CHECK_EQ(stats.registrations, 0);
    for (int i = 0; i < PEERS; i++)
        pl_session_leave(&peers[i]->core, false);
    world_run(&world);
    for (int i = 0; i < PEERS; i++) {
        pl_session_done(&peers[i]->core);
        pl_output_done(&peers[i]->out);
        free(peers[i]);
    }
    world_done(&world);
}

TEST(every_session_is_told_what_the_model_says_and_every_call_ends_once)
{
    enum { SEEDS = 10 };
    uint64_t ended = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        open_world(seed);
        for (int i = 0; i < ROUNDS(1000000, 50000) / SEEDS;) {
            uint32_t dice_now = roll(100);
            if (dice_now < 4) {
                do_wait();
                i++;
            } else if (dice_now < 6) {
                do_leave((int)roll(PEERS));
                i++;
            } else {
                /* A turn: what each worker's sessions ask for runs worker by worker. */
                for (int worker = 0; worker < WORKERS; worker++)
                    for (uint32_t n = roll(4); n; n--, i++)
                        do_one(random_peer(worker));
                world_run(&world);
            }
            REQUIRE(agree());
        }
        ended += model.ended;
        close_world();
    }
    CHECK(ended > 1000);
    (void)&probe_ops;
}
