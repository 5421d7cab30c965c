/* What the fuzz targets of WAMP share: who logs in and how, and the meta session. */
#ifndef PARLEY_TESTS_FUZZ_WAMP_H
#define PARLEY_TESTS_FUZZ_WAMP_H

#include "sessions.h"

#include "protocols/wamp/wamp.h"
#include "protocols/wamp/wamp_meta.h"

static struct pl_wamp_meta *meta;

/* "u" has few rights, of "a" a procedure decides, "x" is nobody; who asks for the method "ticket"
 * must say "secret". Everyone else is trusted. */
static inline void login(
    void *context, struct pl_session *session, const struct pl_credentials *shown, uint64_t token)
{
    struct rig *rig = context;
    static struct pl_challenge_field field = {.name = "nonce"};
    static struct pl_challenge challenge = {.fields = &field, .field_count = 1};
    field.text = PL_BYTES("n");
    challenge.method = PL_BYTES("ticket");
    struct pl_credentials who = *shown;
    struct pl_identity *identity = NULL;
    enum pl_err err = PL_OK;
    who.has_user = pl_bytes_equal(shown->user, PL_BYTES("u"));
    bool is_asked = shown->method_count && pl_bytes_equal(shown->methods[0], PL_BYTES("ticket"));
    if (shown->is_response && !pl_bytes_equal(shown->response, PL_BYTES("secret")))
        err = PL_BAD_LOGIN;
    else if (!shown->is_response && is_asked)
        err = PL_CHALLENGED;
    else if (pl_bytes_equal(shown->user, PL_BYTES("x")) || !(identity = identify(rig, &who)))
        err = PL_BAD_LOGIN;
    session->challenge = err == PL_CHALLENGED ? &challenge : NULL;
    if (!err && pl_bytes_equal(shown->user, PL_BYTES("a")))
        identity->authorizer = PL_BYTES("may.i");
    if (!err)
        identity->may_disclose = true;
    pl_worker_logged_in(session->worker, session, err, identity, rig->realm, token);
}

static inline void begin(struct rig *rig, uint32_t workers, const struct pl_wamp_options *options)
{
    const struct pl_wamp_meta_options all = {
        .wamp = options, .can_kill = true, .can_modify = true, .has_nexus_names = true};
    struct pl_pattern *pattern = NULL;
    rig_init(rig, workers);
    rig->hooks.login = login;
    rig->identify = identify;
    rig->config.options = options;
    rig_require(!pl_pattern_parse(PL_BYTES("h.>"), &pattern), "no pattern");
    rig_require(
        !pl_realm_add_history(rig->realm, (struct pl_history_rule){.pattern = pattern, .limit = 8}),
        "no history");
    rig_require(!pl_wamp_meta_new(rig->realm, &rig->workers[0], &all, &meta), "no meta session");
    rig_run(rig);
}

static bool everybody(void *context, const struct pl_session *session)
{
    (void)context;
    (void)session;
    return true;
}

static inline void end(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->peer_count; i++)
        rig_cut(&rig->peers[i]);
    rig_run(rig);
    (void)pl_realm_end_sessions(rig->realm, &rig->workers[0], everybody, NULL, PL_DRAINING);
    rig_run(rig);
    meta = pl_wamp_meta_free(meta);
    rig_done(rig);
}

/* A router says what routers say, whole; nothing behind its goodbye. */
static inline void check_said(enum pl_serializer serializer, struct pl_bytes message, bool *over)
{
    struct pl_wamp m;
    struct pl_diag diag;
    enum pl_err err = pl_wamp_decode(serializer, message, &m, &diag);
    rig_require(!err, "said what is no message");
    rig_require(m.type != PL_WAMP_HELLO && m.type != PL_WAMP_AUTHENTICATE &&
                    m.type != PL_WAMP_PUBLISH && m.type != PL_WAMP_SUBSCRIBE &&
                    m.type != PL_WAMP_UNSUBSCRIBE && m.type != PL_WAMP_CALL &&
                    m.type != PL_WAMP_CANCEL && m.type != PL_WAMP_REGISTER &&
                    m.type != PL_WAMP_UNREGISTER && m.type != PL_WAMP_YIELD,
        "said what a client says");
    rig_require(!*over, "went on after its goodbye");
    *over = m.type == PL_WAMP_ABORT || m.type == PL_WAMP_GOODBYE;
}

#endif
