#include "protocols/wamp/wamp_session.h"

/* What is plain is written as a message and read again: one place knows the rules. */
static enum pl_err read_plain(const struct pl_message *message, struct pl_arena *arena,
    struct pl_value *out_args, struct pl_value *out_kwargs)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *whole;
    struct pl_wamp m;
    struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_MSGPACK, PL_WAMP_YIELD);
    pl_put_natural(&v, 1);
    pl_put_dict(&v);
    pl_put_end(&v);
    pl_wamp_end_plain(&v, message->payload, pl_message_content_type(message), PL_WAMP_PLAIN_AUTO);
    enum pl_err err = pl_writer_take(&w, &whole);
    if (err)
        return err;
    const char *copy = pl_arena_copy(arena, pl_bytes_of(whole->data, whole->len));
    err = copy ? pl_wamp_decode(PL_SERIAL_MSGPACK, pl_bytes_of(copy, whole->len), &m, NULL)
               : PL_NO_MEMORY;
    pl_shared_unref(whole);
    if (!err)
        pl_wamp_arguments(PL_SERIAL_MSGPACK, m.payload, out_args, out_kwargs);
    return err;
}

enum pl_err wamp_read_arguments(const struct pl_message *message, struct pl_arena *arena,
    struct pl_value *out_args, struct pl_value *out_kwargs)
{
    if (message->format < PL_FORMAT_ARGUMENTS)
        return read_plain(message, arena, out_args, out_kwargs);
    pl_wamp_arguments((enum pl_serializer)(message->format - PL_FORMAT_ARGUMENTS), message->payload,
        out_args, out_kwargs);
    return PL_OK;
}
