/*
 * A message as bytes in the store: all that receivers may ever be told of it. Its expiry is written
 * as Unix time; what only counts while the process lives (publication id, publisher) is not there.
 */
#ifndef PL_CORE_MESSAGE_RECORD_H
#define PL_CORE_MESSAGE_RECORD_H

#include "base/output.h"
#include "core/journal.h"
#include "core/message.h"

/* Appends it; w->err tells what went wrong. */
void pl_message_write(struct pl_writer *w, const struct pl_message *m, const struct pl_times *now);
/* A kept message, one reference. PL_MALFORMED: these are not the bytes of one. */
PL_MUST_USE enum pl_err pl_message_read(
    struct pl_bytes bytes, const struct pl_times *now, struct pl_message **out_message);

#endif
