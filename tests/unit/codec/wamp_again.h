/* A WAMP message put together again from its parts, in any serializer. */
#ifndef PARLEY_TESTS_WAMP_AGAIN_H
#define PARLEY_TESTS_WAMP_AGAIN_H

#include "codec/wamp.h"

/* The letters of wamp.def. */
static inline const char *wamp_shape(uint32_t type)
{
    switch (type) {
#define PL_WAMP(name, code, shape)                                                                 \
    case code:                                                                                     \
        return shape;
#include "codec/wamp.def"
#undef PL_WAMP
    default:
        return "";
    }
}

static inline void wamp_encode_again(
    struct pl_writer *w, enum pl_serializer serializer, const struct pl_wamp *m)
{
    struct pl_value_writer v = pl_wamp_begin(w, serializer, (enum pl_wamp_type)m->type);
    unsigned ids = 0;
    for (const char *letter = wamp_shape(m->type); *letter; letter++) {
        if (*letter == 'i')
            pl_put_natural(&v, m->ids[ids++]);
        else if (*letter == 'r')
            pl_put_natural(&v, m->request_type);
        else if (*letter == 'u')
            pl_put_value(&v, &m->text);
        else if (*letter != 'a' && m->details.kind != PL_VALUE_NULL)
            pl_put_value(&v, &m->details);
    }
    pl_wamp_end(&v, (enum pl_serializer)m->serializer, m->payload);
}

#endif
