/*
 * Any bytes as a WAMP message of each serializer: what is decoded can be put together again in all
 * three, and says the same there. Its payload has a plain form, which is a payload again.
 */
#include "codec/same_values.h"
#include "codec/wamp_again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pl_shared *encode(enum pl_serializer serializer, const struct pl_wamp *m)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *bytes = NULL;
    wamp_encode_again(&w, serializer, m);
    value_require(pl_writer_take(&w, &bytes) == PL_OK);
    return bytes;
}

static bool is_same(const struct pl_wamp *a, const struct pl_wamp *b)
{
    struct pl_value args, kwargs, other_args, other_kwargs;
    pl_wamp_arguments((enum pl_serializer)a->serializer, a->payload, &args, &kwargs);
    pl_wamp_arguments((enum pl_serializer)b->serializer, b->payload, &other_args, &other_kwargs);
    return a->type == b->type && a->id_count == b->id_count &&
           memcmp(a->ids, b->ids, sizeof a->ids) == 0 && a->request_type == b->request_type &&
           values_are_same(&a->details, &b->details) && values_are_same(&a->text, &b->text) &&
           values_are_same(&args, &other_args) && values_are_same(&kwargs, &other_kwargs);
}

static void check_plain(const struct pl_wamp *m)
{
    struct pl_writer w = pl_writer_new();
    struct pl_shared *plain = NULL, *bytes = NULL;
    struct pl_wamp again;
    pl_wamp_write_plain(&w, (enum pl_serializer)m->serializer, m->payload);
    value_require(pl_writer_take(&w, &plain) == PL_OK);
    for (int rule = PL_WAMP_PLAIN_AUTO; rule <= PL_WAMP_PLAIN_RAW; rule++) {
        w = pl_writer_new();
        struct pl_value_writer v = pl_wamp_begin(&w, PL_SERIAL_CBOR, PL_WAMP_YIELD);
        pl_put_natural(&v, 1);
        pl_put_dict(&v);
        pl_put_end(&v);
        pl_wamp_end_plain(&v, value_bytes(plain), PL_NO_BYTES, (enum pl_wamp_plain)rule);
        value_require(pl_writer_take(&w, &bytes) == PL_OK);
        value_require(pl_wamp_decode(PL_SERIAL_CBOR, value_bytes(bytes), &again, NULL) == PL_OK);
        value_require(!plain->len == !again.payload.len);
        pl_shared_unref(bytes);
    }
    pl_shared_unref(plain);
}

static void check_message(const struct pl_wamp *m)
{
    for (int to = 0; to < PL_SERIAL_COUNT; to++) {
        struct pl_shared *bytes = encode((enum pl_serializer)to, m);
        struct pl_wamp again;
        value_require(
            pl_wamp_decode((enum pl_serializer)to, value_bytes(bytes), &again, NULL) == PL_OK);
        /* To JSON what it cannot say is lost; the other two can say everything. */
        if (to != PL_SERIAL_JSON || m->serializer == PL_SERIAL_JSON)
            value_require(is_same(m, &again));
        pl_shared_unref(bytes);
    }
    check_plain(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a byte too much */
    value_require(exact != NULL);
    if (size)
        memcpy(exact, data, size);
    for (int serializer = 0; serializer < PL_SERIAL_COUNT; serializer++) {
        struct pl_wamp m;
        struct pl_diag diag;
        enum pl_err err =
            pl_wamp_decode((enum pl_serializer)serializer, pl_bytes_of(exact, size), &m, &diag);
        if (!err)
            check_message(&m);
        else
            value_require(diag.text[0] != '\0');
    }
    free(exact);
    return 0;
}
