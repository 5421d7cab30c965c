/*
 * A member, from its first frame on:
 *
 *     header    read, its auth compared
 *     login     as who has shown the key, or as anyone
 *     seat      uid and channel together are one member's; an older one that shows no sign of life
 *               loses them (core/session.h, pl_session_join_at)
 *     join      in one batch: subscribes, which claims a history for the channel and replays it;
 *               leaves its header in the log, for those who come later; then its frames
 */
#include "protocols/mles/mles_session.h"

#include "base/alloc.h"
#include "codec/mles.h"

static bool is_peer(const struct mles_session *s)
{
    static const char prefix[] = PL_MLES_PEER_PREFIX;
    enum { LEN = sizeof prefix - 1 };
    return s->uid.len > LEN && memcmp(s->uid.data, prefix, LEN) == 0;
}

static void free_session(struct mles_session *s)
{
    pl_pattern_unref(s->pattern);
    pl_session_done(&s->core);
    pl_arena_done(&s->memory);
    pl_free(s);
}

static struct pl_bytes channel_of(const struct mles_session *s)
{
    return pl_bytes_from(s->subject, mles_options(s->ml)->prefix.len);
}

void mles_session_close(struct mles_session *s)
{
    const struct pl_mles_peering *peering = mles_options(s->ml)->peering;
    if (s->is_told)
        peering->left(peering->context, s->core.realm, channel_of(s));
    s->ml = NULL;
    pl_session_leave(&s->core, false);
}

/* ---- The header ---- */

static enum pl_err copy_names(struct mles_session *s, const struct pl_mles_header *header,
    struct pl_bytes frame, struct pl_bytes prefix)
{
    struct pl_arena *memory = &s->memory;
    size_t len = prefix.len + header->channel.len;
    char *uid = pl_arena_copy(memory, header->uid), *subject = pl_arena_alloc(memory, len);
    uint8_t *note = pl_arena_alloc(memory, frame.len);
    if (!uid || !subject || !note)
        return PL_NO_MEMORY;
    if (prefix.len)
        memcpy(subject, prefix.data, prefix.len);
    memcpy(subject + prefix.len, header->channel.data, header->channel.len);
    s->uid = pl_bytes_of(uid, header->uid.len);
    s->subject = pl_bytes_of(subject, len);
    s->note = pl_bytes_of(note, pl_mles_header_strip(frame, note));
    s->core.name = s->uid;
    return pl_pattern_new_literal(s->subject, &s->pattern);
}

static enum pl_err begin(
    struct mles_link *ml, const struct pl_mles_header *header, struct pl_bytes frame)
{
    const struct pl_mles_options *options = mles_options(ml);
    struct pl_link *link = &ml->link;
    bool is_right = !header->has_auth && !options->has_key;
    if (!is_right)
        is_right = pl_mles_auth_matches(header, options->key);
    if (!is_right && !options->has_key)
        return mles_refuse(ml, PL_BAD_LOGIN, PL_WS_POLICY, "auth is wrong");
    struct mles_session *s = pl_zalloc(sizeof *s);
    if (!s)
        return mles_refuse_err(ml, PL_NO_MEMORY);
    enum pl_err err = copy_names(s, header, frame, options->prefix);
    if (err) {
        pl_pattern_unref(s->pattern);
        pl_arena_done(&s->memory);
        pl_free(s);
        return err == PL_NO_MEMORY ? mles_refuse_err(ml, err)
                                   : mles_refuse(ml, PL_BAD_NAME, PL_WS_POLICY,
                                         "the channel's name has too many parts");
    }
    pl_session_init(&s->core, &mles_session_ops, link->worker, link->out);
    s->ml = ml;
    ml->session = s;
    ml->phase = MLES_LOGIN;
    link->session = &s->core;
    link->is_waiting = true;
    struct pl_credentials shown = {
        .address = link->address,
        .protocol = pl_mles_protocol.name,
        .listener = link->config->listener,
        .cookie = link->cookie,
        .session_id = pl_session_public_id(&s->core),
        .is_ambient_allowed = link->is_ambient_allowed,
        .has_shared_key = options->has_key,
        .is_shared_key_right = is_right,
        .shared_role = options->role,
    };
    pl_session_login(&s->core, &shown, 0);
    return PL_OK;
}

enum pl_err mles_on_header(struct mles_link *ml, struct pl_bytes frame)
{
    struct pl_arena arena = {0};
    struct pl_mles_header header;
    enum pl_err err = pl_mles_header_decode(frame, &arena, &header);
    switch ((int)err) {
    case PL_OK:
        err = begin(ml, &header, frame);
        break;
    case PL_BAD_NAME:
        err = mles_refuse(ml, err, PL_WS_POLICY, "uid and channel are ASCII and not empty");
        break;
    case PL_TOO_LARGE:
        err = frame.len > PL_MLES_HEADER_MAX
                  ? mles_refuse(ml, err, PL_WS_TOO_BIG, "the first frame is too large")
                  : mles_refuse(ml, err, PL_WS_POLICY, "uid or channel is too long");
        break;
    case PL_NO_MEMORY:
        err = mles_refuse_err(ml, err);
        break;
    default:
        err = mles_refuse(ml, PL_MALFORMED, PL_WS_POLICY,
            "the first frame is a JSON object with the strings uid and channel");
        break;
    }
    pl_arena_done(&arena);
    return err;
}

/* ---- Login, seat, join ---- */

/* False: no memory; the session ends. */
static bool ask_for_seat(struct mles_session *s)
{
    size_t len = 2 + s->uid.len + s->subject.len;
    uint8_t *name = pl_arena_alloc(&s->memory, len);
    if (!name)
        return false;
    /* Where the uid ends is told too: ("ab", "c") is not ("a", "bc"). */
    name[0] = (uint8_t)(s->uid.len >> 8);
    name[1] = (uint8_t)s->uid.len;
    memcpy(name + 2, s->uid.data, s->uid.len);
    memcpy(name + 2 + s->uid.len, s->subject.data, s->subject.len);
    pl_session_join_at(&s->core, pl_bytes_of(name, len), 0);
    return true;
}

static void on_login(struct mles_session *s, enum pl_err err)
{
    struct mles_link *ml = s->ml;
    bool is_filtered;
    if (!ml)
        return;
    if (err == PL_BAD_LOGIN && mles_options(ml)->has_key)
        (void)mles_refuse(ml, err, PL_WS_POLICY, "auth is missing or wrong");
    else if (err)
        (void)mles_refuse_err(ml, err);
    else if (s->subject.len > pl_realm_limits(s->core.realm)->subject_max)
        (void)mles_refuse(ml, PL_BAD_NAME, PL_WS_POLICY, "channel is too long");
    else if (!pl_identity_may_subscribe(s->core.identity, s->pattern, &is_filtered))
        (void)mles_refuse(ml, PL_DENIED, PL_WS_POLICY, "this channel is not for you");
    else if (!ask_for_seat(s))
        (void)mles_refuse_err(ml, PL_NO_MEMORY);
    else
        ml->phase = MLES_JOINING;
}

static void on_join(struct mles_session *s, enum pl_err err)
{
    struct mles_link *ml = s->ml;
    if (!ml || ml->phase != MLES_JOINING)
        return;
    if (err == PL_EXISTS) {
        (void)mles_refuse(ml, err, PL_WS_POLICY, "this uid is on the channel already");
        return;
    }
    if (err) {
        (void)mles_refuse_err(ml, err);
        return;
    }
    s->sub = (struct pl_subscription){
        .pattern = s->pattern,
        .form = ml->link.framing == PL_FRAMING_MESSAGES ? 0 : MLES_FORM,
        .slow = ml->link.config->has_slow ? ml->link.config->slow : PL_SLOW_DISCONNECT,
        .flags = PL_SUB_NO_LOCAL | PL_SUB_NOTES,
    };
    s->pattern = NULL;
    const struct pl_subscribe_options options = {.from_start = true, .claims = true};
    pl_session_subscribe(&s->core, &s->sub, &options, 0);
    if (!is_peer(s)) {
        const struct pl_message note = {.subject = s->subject,
            .payload = s->note,
            .properties = mles_properties(pl_session_arena(&s->core), s->uid, true),
            .format = PL_FORMAT_TEXT,
            .is_note = true};
        /* Who may only listen leaves no trace. */
        (void)!pl_session_publish(&s->core, &note, NULL, 0, 0);
    }
    const struct pl_mles_peering *peering = mles_options(ml)->peering;
    s->is_told =
        peering && !is_peer(s) && peering->joined(peering->context, s->core.realm, channel_of(s));
    ml->phase = MLES_JOINED;
    ml->link.is_waiting = false;
    ml->link.host->resume(&ml->link);
}

enum pl_err mles_on_frame(struct mles_session *s, const struct pl_input *in)
{
    struct mles_link *ml = s->ml;
    const struct pl_mles_peering *peering = mles_options(ml)->peering;
    bool is_text = in->kind == PL_INPUT_TEXT_FRAME;
    if (peering && is_peer(s) &&
        !peering->admits(peering->context, s->core.realm, channel_of(s), is_text, in->bytes))
        return PL_OK;
    const struct pl_message draft = {
        .subject = s->subject,
        .payload = in->bytes,
        .properties = mles_properties(pl_session_arena(&s->core), s->uid, is_text),
        .format = is_text ? PL_FORMAT_TEXT : PL_FORMAT_BYTES,
    };
    enum pl_err err = draft.properties
                          ? pl_session_publish(&s->core, &draft, in->buffer, PL_WANT_ERROR, 0)
                          : PL_NO_MEMORY;
    if (err == PL_TOO_LARGE)
        return mles_refuse(ml, err, PL_WS_TOO_BIG, "the frame is too large");
    if (err == PL_DENIED)
        return mles_refuse(ml, err, PL_WS_POLICY, "this channel is not for you to write to");
    if (err == PL_BAD_NAME)
        return mles_refuse(ml, err, PL_WS_POLICY, "the channel's name has too many parts");
    /* A frame that is lost is not hidden from who sent it. */
    return err ? mles_refuse_err(ml, err) : PL_OK;
}

/* ---- What the core tells ---- */

static void complete(struct pl_session *core, const struct pl_completion *done)
{
    struct mles_session *s = (struct mles_session *)core;
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        on_login(s, done->err);
        return;
    case PL_DONE_JOIN:
        on_join(s, done->err);
        return;
    case PL_DONE_SUBSCRIBE:
    case PL_DONE_PUBLISH:
        if (done->err && s->ml)
            (void)mles_refuse_err(s->ml, done->err);
        return;
    case PL_DONE_LEAVE:
        pl_pattern_unref(s->sub.pattern);
        free_session(s);
        return;
    case PL_DONE_CLAIM:
    case PL_DONE_UNSUBSCRIBE:
    case PL_DONE_REPLAY:
    case PL_DONE_STATE:
    case PL_DONE_FENCE:
    case PL_DONE_REGISTER:
    case PL_DONE_UNREGISTER:
    case PL_DONE_LOG:
        return; /* not asked for, or nothing to tell */
    }
}

static void ended(struct pl_session *core, enum pl_err why)
{
    struct mles_session *s = (struct mles_session *)core;
    if (s->ml)
        (void)mles_refuse_err(s->ml, why);
}

static void contested(struct pl_session *core)
{
    struct mles_session *s = (struct mles_session *)core;
    struct mles_link *ml = s->ml;
    if (!ml || ml->phase == MLES_CLOSING)
        return; /* it leaves */
    if (ml->contest_end_ms == PL_NEVER)
        mles_contest(ml, pl_session_now_ms(core));
}

const struct pl_session_ops mles_session_ops = {
    .name = "mles",
    .encode = mles_encode,
    .deliver = mles_deliver,
    .complete = complete,
    .ended = ended,
    .contested = contested,
};
