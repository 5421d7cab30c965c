/*
 * What a program gets to see of a WAMP message (struct parley_message of parley.h), and how long it
 * lives:
 *
 *     struct parley_message m;
 *     pl_view_of(&m, &wamp, bytes);     borrows both
 *     …callback…
 *     pl_view_done(&m);
 *
 * The trees of its values are built when they are first asked for.
 */
#ifndef PL_CLIENT_MESSAGE_H
#define PL_CLIENT_MESSAGE_H

#include "client/values.h"
#include "codec/wamp.h"

enum { PL_VIEW_ARGS, PL_VIEW_KWARGS, PL_VIEW_DETAILS, PL_VIEW_COUNT };

struct parley_message {
    struct parley_message *self; /* to write what is built late, through a const pointer */
    enum parley_code code;
    bool is_progress;
    const char *why;       /* of a code that this library found: a text; borrowed */
    struct pl_wamp wamp;   /* type 0: the library's own */
    struct pl_bytes bytes; /* the whole message */
    const char *uri;       /* topic or procedure; borrowed */
    uint64_t publication;
    struct pl_arena arena; /* what was built */
    const char *error, *text;
    struct parley_value *views[PL_VIEW_COUNT];
    struct pl_value sources[PL_VIEW_COUNT];
    bool is_split, is_copy;
};

/* wamp and bytes are borrowed. */
void pl_view_of(struct parley_message *m, const struct pl_wamp *wamp, struct pl_bytes bytes);
/* One that the library says itself. */
void pl_view_plain(struct parley_message *m, enum parley_code code, const char *why);
void pl_view_done(struct parley_message *m);

/* parley_code for an error of ours. */
enum parley_code pl_code_of(enum pl_err err);

#endif
