#include "client/message.h"

#include "base/alloc.h"

enum parley_code pl_code_of(enum pl_err err)
{
    switch (err) {
    case PL_OK:
        return PARLEY_OK;
    case PL_NO_MEMORY:
        return PARLEY_NO_MEMORY;
    case PL_TOO_LARGE:
        return PARLEY_TOO_LARGE;
    case PL_LIMIT:
        return PARLEY_FULL;
    case PL_TIMEOUT:
        return PARLEY_TIMEOUT;
    case PL_CLOSED:
    case PL_DRAINING:
        return PARLEY_CLOSED;
    case PL_MALFORMED:
        return PARLEY_INVALID;
    case PL_PROTOCOL:
    case PL_UNSUPPORTED:
        return PARLEY_PROTOCOL;
    case PL_DENIED:
    case PL_BAD_LOGIN:
    case PL_NO_REALM:
    case PL_NO_METHOD:
        return PARLEY_REFUSED;
    case PL_NOT_FOUND:
        return PARLEY_NOT_FOUND;
    case PL_CONFIG:
        return PARLEY_CONFIG;
    default: /* the core's: none of them comes here */
        return PARLEY_IO;
    }
}

const char *parley_code_text(enum parley_code code)
{
    switch (code) {
    case PARLEY_OK:
        return "ok";
    case PARLEY_ERROR:
        return "answered with an error";
    case PARLEY_INVALID:
        return "wrong argument or moment";
    case PARLEY_BUSY:
        return "a callback cannot wait";
    case PARLEY_NO_MEMORY:
        return "out of memory";
    case PARLEY_CLOSED:
        return "there is no session";
    case PARLEY_REFUSED:
        return "the router refuses it";
    case PARLEY_TIMEOUT:
        return "timed out";
    case PARLEY_TOO_LARGE:
        return "the message is too large";
    case PARLEY_FULL:
        return "too much waits to be sent";
    case PARLEY_IO:
        return "input or output failed";
    case PARLEY_PROTOCOL:
        return "the other side does not speak WAMP";
    case PARLEY_CONFIG:
        return "bad configuration";
    case PARLEY_NOT_FOUND:
        return "not found";
    }
    return "unknown";
}

const char *parley_version(void)
{
    return PARLEY_VERSION;
}

void pl_view_of(struct parley_message *m, const struct pl_wamp *wamp, struct pl_bytes bytes)
{
    *m = (struct parley_message){.self = m, .wamp = *wamp, .bytes = bytes};
    m->code = wamp->type == PL_WAMP_ERROR || wamp->type == PL_WAMP_ABORT ? PARLEY_ERROR : PARLEY_OK;
    m->is_progress = pl_value_flag(&wamp->details, "progress");
    if (wamp->type == PL_WAMP_EVENT || wamp->type == PL_WAMP_PUBLISHED)
        m->publication = wamp->ids[1];
}

void pl_view_plain(struct parley_message *m, enum parley_code code, const char *why)
{
    *m = (struct parley_message){.self = m, .code = code, .why = why};
}

void pl_view_done(struct parley_message *m)
{
    pl_arena_done(&m->arena);
}

static const struct parley_value *view(const struct parley_message *message, unsigned which)
{
    struct parley_message *m = message->self;
    if (!m->is_split && m->wamp.type) {
        m->is_split = true;
        pl_wamp_arguments((enum pl_serializer)m->wamp.serializer, m->wamp.payload,
            &m->sources[PL_VIEW_ARGS], &m->sources[PL_VIEW_KWARGS]);
        m->sources[PL_VIEW_DETAILS] = m->wamp.details;
    }
    if (!m->views[which] && m->sources[which].kind != PL_VALUE_NULL)
        m->views[which] = pl_tree_build(&m->arena, &m->sources[which]);
    return m->views[which];
}

enum parley_code parley_message_code(const struct parley_message *m)
{
    return m->code;
}

static const char *text_of(const struct parley_message *message, const struct pl_value *value)
{
    struct parley_message *m = message->self;
    struct pl_bytes text;
    if (value->kind != PL_VALUE_STRING || pl_value_text(value, &m->arena, &text) != PL_OK)
        return NULL;
    return pl_arena_copy(&m->arena, text);
}

const char *parley_message_error(const struct parley_message *m)
{
    if (m->code != PARLEY_ERROR || !m->wamp.type)
        return NULL;
    if (!m->error)
        m->self->error = text_of(m, &m->wamp.text);
    return m->error;
}

const char *parley_message_text(const struct parley_message *m)
{
    if (m->why)
        return m->why;
    const char *first = parley_value_string(parley_message_arg(m, 0), NULL);
    if (m->code == PARLEY_OK)
        return "ok";
    const char *error = parley_message_error(m);
    return first ? first : error ? error : parley_code_text(m->code);
}

const struct parley_value *parley_message_args(const struct parley_message *m)
{
    return view(m, PL_VIEW_ARGS);
}

const struct parley_value *parley_message_kwargs(const struct parley_message *m)
{
    return view(m, PL_VIEW_KWARGS);
}

const struct parley_value *parley_message_details(const struct parley_message *m)
{
    return view(m, PL_VIEW_DETAILS);
}

const struct parley_value *parley_message_arg(const struct parley_message *m, size_t index)
{
    const struct parley_value *args = parley_message_args(m);
    return parley_value_kind(args) == PARLEY_LIST ? parley_value_at(args, index) : NULL;
}

const struct parley_value *parley_message_kwarg(const struct parley_message *m, const char *key)
{
    return parley_value_get(parley_message_kwargs(m), key);
}

const char *parley_message_uri(const struct parley_message *m)
{
    return m->uri;
}

uint64_t parley_message_publication(const struct parley_message *m)
{
    return m->publication;
}

bool parley_message_is_progress(const struct parley_message *m)
{
    return m->is_progress;
}

static enum pl_err copy_into(struct parley_message *copy, const struct parley_message *m)
{
    if (m->bytes.len) {
        const char *bytes = pl_arena_copy(&copy->arena, m->bytes);
        if (!bytes)
            return PL_NO_MEMORY;
        copy->bytes = pl_bytes_of(bytes, m->bytes.len);
        enum pl_err err =
            pl_wamp_decode((enum pl_serializer)m->wamp.serializer, copy->bytes, &copy->wamp, NULL);
        if (err)
            return err;
    }
    if (m->uri && !(copy->uri = pl_arena_copy(&copy->arena, pl_bytes_text(m->uri))))
        return PL_NO_MEMORY;
    if (m->why && !(copy->why = pl_arena_copy(&copy->arena, pl_bytes_text(m->why))))
        return PL_NO_MEMORY;
    return PL_OK;
}

struct parley_message *parley_message_copy(const struct parley_message *m)
{
    struct parley_message *copy = pl_zalloc(sizeof *copy);
    if (!copy)
        return NULL;
    copy->self = copy;
    copy->code = m->code;
    copy->is_progress = m->is_progress;
    copy->publication = m->publication;
    copy->is_copy = true;
    if (copy_into(copy, m) != PL_OK) {
        parley_message_free(copy);
        return NULL;
    }
    return copy;
}

void parley_message_free(struct parley_message *m)
{
    if (!m)
        return;
    PL_ASSERT(m->is_copy);
    pl_arena_done(&m->arena);
    pl_free(m);
}
