/* A message's bytes in the store: whatever stands there is a message or refused, and what was read
 * is written as it is read again. */
#include <stddef.h>
#include <stdint.h>

#include "core/message_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pl_shared *written(const struct pl_message *m, const struct pl_times *now)
{
    struct pl_shared *out = NULL;
    struct pl_writer w = pl_writer_new();
    pl_message_write(&w, m, now);
    PL_ASSERT(pl_writer_take(&w, &out) == PL_OK);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_times now = {1000, 1700000000000};
    struct pl_message *first = NULL, *second = NULL;
    enum pl_err err = pl_message_read(pl_bytes_of(data, size), &now, &first);
    PL_ASSERT(err == PL_OK || err == PL_MALFORMED);
    if (err)
        return 0;
    PL_ASSERT(first->qos <= 2 && first->format <= PL_FORMAT_LAST && first->is_kept);
    struct pl_shared *once = written(first, &now);
    PL_ASSERT(!pl_message_read(pl_bytes_of(once->data, once->len), &now, &second));
    struct pl_shared *twice = written(second, &now);
    PL_ASSERT(once->len == twice->len && !memcmp(once->data, twice->data, once->len));
    PL_ASSERT(pl_bytes_equal(first->subject, second->subject) &&
              pl_bytes_equal(first->payload, second->payload));
    pl_shared_unref(once);
    pl_shared_unref(twice);
    pl_message_unref(first);
    pl_message_unref(second);
    return 0;
}
