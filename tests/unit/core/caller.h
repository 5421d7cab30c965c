/*
 * A probe (probe.h) that calls and answers. What it is told of calls stands in its log with the
 * rest:
 *
 *     struct probe *p = caller_new(&w, 0);
 *     offer(p, "p.one", (struct pl_callee){0});
 *     call(p, "p.one", "x", 0, 0);              → "register ok; 1 p.one(x); "
 *     yield(p, 1, "y", 0);                      → "#1 y; "
 *
 * Calls are numbered from 1.
 */
#ifndef PARLEY_TESTS_CALLER_H
#define PARLEY_TESTS_CALLER_H

#include "core/probe.h"

static const char *err_name(enum pl_err err)
{
    static const char *const names[] = {
#define PL_ERR(name, text) #name,
#include "base/err.def"
#undef PL_ERR
    };
    return names[err];
}

static void caller_invoke(struct pl_session *s, const struct pl_invocation *i)
{
    struct probe *p = PL_CONTAINER(s, struct probe, core);
    const struct pl_message *m = i->message;
    probe_note(p, "%llu %.*s(%.*s)", (unsigned long long)i->id, (int)m->subject.len,
        (const char *)m->subject.data, (int)m->payload.len, (const char *)m->payload.data);
    if (i->timeout_ms)
        probe_note(p, " in %llu", (unsigned long long)i->timeout_ms);
    probe_note(p, "%s%s%s; ", i->wants_progress ? " progress" : "", i->is_first ? "" : " next",
        i->has_more ? " more" : "");
}

static void caller_interrupt(
    struct pl_session *s, uint64_t invocation, enum pl_cancel mode, enum pl_err why)
{
    probe_note(PL_CONTAINER(s, struct probe, core), "%s %llu %s; ",
        mode == PL_CANCEL_KILL ? "kill" : "stop", (unsigned long long)invocation, err_name(why));
}

static void caller_answer(struct pl_session *s, const struct pl_result *result)
{
    struct probe *p = PL_CONTAINER(s, struct probe, core);
    const struct pl_message *m = result->message;
    struct pl_bytes error = m && m->properties ? m->properties->error : PL_NO_BYTES;
    probe_note(p, "#%llu ", (unsigned long long)result->token);
    if (result->err)
        probe_note(p, "%s; ", err_name(result->err));
    else
        probe_note(p, "%.*s%s%.*s%s; ", (int)error.len, (const char *)error.data,
            error.len ? " " : "", (int)m->payload.len, (const char *)m->payload.data,
            result->is_progress ? " …" : "");
}

static void caller_unregistered(struct pl_session *s, struct pl_callee *callee)
{
    (void)callee;
    probe_note(PL_CONTAINER(s, struct probe, core), "forced out; ");
}

static void caller_press(struct pl_session *s, bool is_on)
{
    probe_note(PL_CONTAINER(s, struct probe, core), is_on ? "wait; " : "go on; ");
}

static void caller_told(struct pl_session *s, const struct pl_word *word)
{
    probe_note(PL_CONTAINER(s, struct probe, core), "told %u %.*s; ", word->kind,
        (int)word->bytes.len, (const char *)word->bytes.data);
}

static void caller_noticed(struct pl_session *s, const struct pl_notice *n)
{
    static const char *const kinds[] = {
        "joined", "left", "subscribed", "unsubscribed", "registered", "unregistered"};
    struct probe *p = PL_CONTAINER(s, struct probe, core);
    probe_note(p, "%.*s %s", (int)n->card->len, (const char *)n->card->data, kinds[n->kind]);
    if (n->pattern)
        probe_note(p, " %.*s", (int)n->pattern->text.len, (const char *)n->pattern->text.data);
    probe_note(p, "%s%s; ", n->is_first ? " first" : "", n->is_last ? " last" : "");
}

static void caller_complete(struct pl_session *s, const struct pl_completion *done)
{
    probe_complete(s, done);
    if (done->kind == PL_DONE_UNREGISTER || (done->kind == PL_DONE_REGISTER && done->err))
        free(done->callee);
}

static const struct pl_session_ops caller_ops = {
    .name = "caller",
    .encode = probe_encode,
    .deliver = probe_deliver,
    .complete = caller_complete,
    .ended = probe_ended,
    .invoke = caller_invoke,
    .interrupt = caller_interrupt,
    .answer = caller_answer,
    .unregistered = caller_unregistered,
    .press = caller_press,
    .told = caller_told,
    .noticed = caller_noticed,
};

static inline struct probe *caller_new(struct world *w, uint32_t worker)
{
    struct probe *p = probe_new(w, worker);
    p->core.ops = &caller_ops;
    return p;
}

/* A pattern: "a.*", or with "~" at its end a prefix. */
static inline struct pl_pattern *pattern_of(const char *text)
{
    struct pl_pattern *pattern = NULL;
    size_t len = strlen(text);
    bool is_prefix = len && text[len - 1] == '~';
    enum pl_err err = is_prefix ? pl_pattern_new_prefix(pl_bytes_of(text, len - 1), &pattern)
                                : pl_pattern_parse(pl_bytes_text(text), &pattern);
    CHECK_EQ(err, PL_OK);
    return pattern;
}

/* Registers; it is freed when it is unregistered, or by the caller after its session has left. */
static inline struct pl_callee *offer(
    struct probe *p, const char *pattern, struct pl_callee options)
{
    struct pl_callee *callee = calloc(1, sizeof *callee);
    *callee = options;
    callee->pattern = pattern_of(pattern);
    pl_session_register(&p->core, callee, 0);
    world_run(p->world);
    return callee;
}

static inline void withdraw(struct probe *p, struct pl_callee *callee)
{
    pl_session_unregister(&p->core, callee, 0);
    world_run(p->world);
}

/* Returns its number. */
static inline uint64_t call(
    struct probe *p, const char *name, const char *payload, unsigned flags, uint64_t timeout_ms)
{
    struct pl_message draft = {.subject = pl_bytes_text(name), .payload = pl_bytes_text(payload)};
    pl_session_call(&p->core, &draft, NULL, flags, timeout_ms, ++p->calls);
    world_run(p->world);
    return p->calls;
}

static inline void next_part(struct probe *p, uint64_t number, const char *payload, unsigned flags)
{
    struct pl_message draft = {.subject = PL_BYTES("x"), .payload = pl_bytes_text(payload)};
    pl_session_call(&p->core, &draft, NULL, PL_CALL_NEXT | flags, 0, number);
    world_run(p->world);
}

static inline void cancel(struct probe *p, uint64_t number, enum pl_cancel mode)
{
    pl_session_cancel(&p->core, number, mode);
    world_run(p->world);
}

enum { IS_PROGRESS = 1, IS_ERROR = 2 }; /* an error: the payload is its URI */

static inline void yield(struct probe *p, uint64_t invocation, const char *payload, int flags)
{
    struct pl_properties *properties =
        pl_arena_zalloc(pl_session_arena(&p->core), sizeof *properties);
    *properties =
        (struct pl_properties){.expires_ms = PL_NEVER, .is_progress = (flags & IS_PROGRESS) != 0};
    struct pl_message draft = {.properties = properties};
    *(flags & IS_ERROR ? &properties->error : &draft.payload) = pl_bytes_text(payload);
    pl_session_yield(&p->core, invocation, &draft, NULL);
    world_run(p->world);
}

static inline void pass(struct probe *p, uint64_t invocation)
{
    pl_session_pass(&p->core, invocation);
    world_run(p->world);
}

/* What it was told since the last time. */
#define HEARD(p, text)                                                                             \
    do {                                                                                           \
        CHECK_STR((p)->log, (text));                                                               \
        probe_clear(p);                                                                            \
    } while (0)

#endif
