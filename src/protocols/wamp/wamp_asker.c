#include "protocols/wamp/wamp_asker.h"

#include "base/alloc.h"
#include "protocols/wamp/wamp_session.h"

struct pl_wamp_asker {
    struct pl_session session; /* first */
    struct pl_output out;      /* never written to: the core asks for its size */
    struct pl_wamp_asked *open;
    uint64_t last_token;
    bool has_ended;
};

static struct pl_wamp_asker *of(struct pl_session *session)
{
    return (struct pl_wamp_asker *)session;
}

/* Takes it off the list; NULL: there is none. */
static struct pl_wamp_asked *take(struct pl_wamp_asker *asker, uint64_t token)
{
    for (struct pl_wamp_asked **at = &asker->open; *at; at = &(*at)->next) {
        struct pl_wamp_asked *asked = *at;
        if (asked->token != token)
            continue;
        *at = asked->next;
        return asked;
    }
    return NULL;
}

static void answer(struct pl_session *session, const struct pl_result *result)
{
    struct pl_arena arena = {0};
    struct pl_value args, kwargs, first;
    const struct pl_message *m = result->message;
    struct pl_wamp_asked *asked = take(of(session), result->token);
    if (!asked)
        return;
    bool is_good = m && !(m->properties && m->properties->error.len) &&
                   !wamp_read_arguments(m, &arena, &args, &kwargs);
    struct pl_items items = {0};
    if (is_good)
        items = pl_value_items(&args);
    asked->answered(asked, is_good && pl_items_next(&items, NULL, &first) ? &first : NULL);
    pl_arena_done(&arena);
}

static void complete(struct pl_session *session, const struct pl_completion *done)
{
    (void)session;
    (void)done;
}

static void ended(struct pl_session *session, enum pl_err why)
{
    struct pl_wamp_asker *asker = of(session);
    (void)why;
    asker->has_ended = true;
    while (asker->open) {
        struct pl_wamp_asked *asked = take(asker, asker->open->token);
        asked->answered(asked, NULL);
    }
    pl_session_leave(session, false);
}

static void press(struct pl_session *session, bool is_on)
{
    (void)session;
    (void)is_on;
}

static const struct pl_session_ops asker_ops = {
    .name = "wamp",
    .complete = complete,
    .ended = ended,
    .answer = answer,
    .press = press,
};

enum pl_err pl_wamp_asker_new(
    struct pl_realm *realm, struct pl_worker *worker, struct pl_wamp_asker **out)
{
    struct pl_wamp_asker *asker = pl_zalloc(sizeof *asker);
    if (!asker)
        return PL_NO_MEMORY;
    pl_output_init(&asker->out, &worker->outputs, 1 << 16);
    pl_session_init(&asker->session, &asker_ops, worker, &asker->out);
    asker->session.realm = realm;
    asker->session.identity = pl_identity_new_all("parley", "trusted");
    if (!asker->session.identity) {
        pl_wamp_asker_free(asker);
        return PL_NO_MEMORY;
    }
    asker->session.identity->is_server = true;
    pl_session_join(&asker->session, 0);
    *out = asker;
    return PL_OK;
}

struct pl_wamp_asker *pl_wamp_asker_free(struct pl_wamp_asker *asker)
{
    if (!asker)
        return NULL;
    pl_session_done(&asker->session);
    pl_output_done(&asker->out);
    pl_free(asker);
    return NULL;
}

void pl_wamp_asker_call(struct pl_wamp_asker *asker, const char *procedure,
    struct pl_shared *arguments, struct pl_wamp_asked *asked)
{
    if (asker->has_ended) {
        asked->answered(asked, NULL);
        return;
    }
    asked->token = ++asker->last_token;
    asked->next = asker->open;
    asker->open = asked;
    const struct pl_message draft = {
        .subject = pl_bytes_text(procedure),
        .payload = pl_bytes_of(arguments->data, arguments->len),
        .format = PL_FORMAT_ARGUMENTS + PL_SERIAL_MSGPACK,
    };
    pl_session_call(&asker->session, &draft, arguments, PL_CALL_TRUSTED,
        pl_realm_limits(asker->session.realm)->reply_grant_ms, asked->token);
}
