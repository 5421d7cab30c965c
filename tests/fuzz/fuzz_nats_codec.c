/*
 * Every reader of NATS packets over the same bytes: none reads beyond them, and what is taken was
 * there. A line that is read is read equally from its own bytes alone.
 */
#include <stdlib.h>

#include "codec/nats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

static bool is_inside(struct pl_bytes part, struct pl_bytes all)
{
    return !part.len || (part.data >= all.data && part.data + part.len <= all.data + all.len);
}

static void read_line(struct pl_bytes in)
{
    struct pl_nats_line line, again;
    size_t used, used_again, more;
    if (pl_nats_read_line(in, 256, &line, &used) != PL_OK)
        return;
    require(used <= in.len && in.data[used - 1] == '\n');
    struct pl_bytes own = pl_bytes_of(in.data, used);
    require(is_inside(line.subject, own) && is_inside(line.reply, own));
    require(is_inside(line.queue, own) && is_inside(line.sid, own) && is_inside(line.text, own));
    require(line.head_size <= line.size);
    require(pl_nats_read_line(own, 256, &again, &used_again) == PL_OK && used_again == used);
    struct pl_bytes payload;
    if (pl_nats_read_payload(pl_bytes_from(in, used), line.size, &payload, &more) == PL_OK)
        require(payload.len == line.size && used + more <= in.len);
}

static void read_head(struct pl_bytes in)
{
    struct pl_nats_head head;
    struct pl_bytes status, name, value;
    if (pl_nats_head_begin(&head, in, &status) != PL_OK)
        return;
    require(is_inside(status, in));
    while (pl_nats_head_next(&head, &name, &value))
        require(is_inside(name, in) && is_inside(value, in));
}

/* What is read of a CONNECT or INFO, written and read again, is the same. */
static void read_json(struct pl_bytes in)
{
    uint8_t *memory = malloc(in.len + 1);
    struct pl_nats_connect connect = pl_nats_connect_default;
    struct pl_nats_info info = {0};
    require(memory != NULL);
    if (pl_nats_read_connect(in, memory, &connect) == PL_OK && connect.protocol >= 0) {
        struct pl_writer w = pl_writer_new();
        struct pl_shared *text;
        struct pl_nats_line line;
        size_t used;
        pl_nats_write_connect(&w, &connect);
        require(pl_writer_take(&w, &text) == PL_OK);
        require(pl_nats_read_line(pl_bytes_of(text->data, text->len), text->len, &line, &used) ==
                PL_OK);
        uint8_t *other = malloc(text->len);
        require(other != NULL);
        struct pl_nats_connect again = pl_nats_connect_default;
        require(pl_nats_read_connect(line.text, other, &again) == PL_OK);
        require(pl_bytes_equal(again.name, connect.name) && again.echo == connect.echo);
        require(!connect.has_user || pl_bytes_equal(again.user, connect.user));
        free(other);
        pl_shared_unref(text);
    }
    if (pl_nats_read_info(in, memory, &info) == PL_OK) {
        struct pl_writer w = pl_writer_new();
        struct pl_shared *text;
        pl_nats_write_info(&w, &info);
        require(pl_writer_take(&w, &text) == PL_OK);
        pl_shared_unref(text);
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a byte too much */
    require(exact != NULL);
    if (size)
        memcpy(exact, data, size);
    struct pl_bytes in = pl_bytes_of(exact, size);
    read_line(in);
    read_head(in);
    read_json(in);
    free(exact);
    return 0;
}
