/* COMMAND: the table of commands told to clients, as redis-server 7 tells it. */
#include <stdio.h>

#include "core/pattern.h"
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_session.h"

struct bit_name {
    uint32_t bit;
    const char *name;
};

static const struct bit_name flag_names[] = {
    {PL_REDIS_ADMIN, "admin"},
    {PL_REDIS_PUBSUB, "pubsub"},
    {PL_REDIS_NOSCRIPT, "noscript"},
    {PL_REDIS_LOADING, "loading"},
    {PL_REDIS_STALE, "stale"},
    {PL_REDIS_SKIP_SLOWLOG, "skip_slowlog"},
    {PL_REDIS_FAST, "fast"},
    {PL_REDIS_NO_AUTH, "no_auth"},
    {PL_REDIS_ALLOW_BUSY, "allow_busy"},
    {0, NULL},
};

static const struct bit_name category_names[] = {
    {PL_REDIS_CAT_ADMIN, "@admin"},
    {PL_REDIS_CAT_PUBSUB, "@pubsub"},
    {PL_REDIS_CAT_FAST, "@fast"},
    {PL_REDIS_CAT_SLOW, "@slow"},
    {PL_REDIS_CAT_DANGEROUS, "@dangerous"},
    {PL_REDIS_CAT_CONNECTION, "@connection"},
    {PL_REDIS_CAT_TRANSACTION, "@transaction"},
    {0, NULL},
};

static void write_bits(
    struct pl_writer *w, unsigned resp, uint32_t bits, const struct bit_name *names)
{
    uint64_t count = 0;
    for (const struct bit_name *n = names; n->name; n++)
        count += (bits & n->bit) != 0;
    pl_resp_write_set(w, resp, count);
    for (const struct bit_name *n = names; n->name; n++)
        if (bits & n->bit)
            pl_resp_write_status(w, n->name);
}

static uint64_t count_commands(const struct pl_redis_command *table)
{
    uint64_t count = 0;
    while (table && table[count].name)
        count++;
    return count;
}

/* {flags, begin_search, find_keys}: keys from index first_key on. */
static void write_key_spec(
    struct pl_writer *w, unsigned resp, const struct pl_redis_command *command)
{
    pl_resp_write_map(w, resp, 3);
    pl_resp_write_bulk_text(w, "flags");
    pl_resp_write_set(w, resp, 1);
    pl_resp_write_status(w, command->are_keys ? "RO" : "not_key");
    pl_resp_write_bulk_text(w, "begin_search");
    pl_resp_write_map(w, resp, 2);
    pl_resp_write_bulk_text(w, "type");
    pl_resp_write_bulk_text(w, "index");
    pl_resp_write_bulk_text(w, "spec");
    pl_resp_write_map(w, resp, 1);
    pl_resp_write_bulk_text(w, "index");
    pl_resp_write_integer(w, command->first_key);
    pl_resp_write_bulk_text(w, "find_keys");
    pl_resp_write_map(w, resp, 2);
    pl_resp_write_bulk_text(w, "type");
    pl_resp_write_bulk_text(w, "range");
    pl_resp_write_bulk_text(w, "spec");
    pl_resp_write_map(w, resp, 3);
    pl_resp_write_bulk_text(w, "lastkey");
    pl_resp_write_integer(w, command->last_key > 0 ? 0 : command->last_key);
    pl_resp_write_bulk_text(w, "keystep");
    pl_resp_write_integer(w, command->key_step);
    pl_resp_write_bulk_text(w, "limit");
    pl_resp_write_integer(w, 0);
}

/* Subcommands are written by whoever writes their container: no recursion. */
static void write_head_of(
    struct pl_writer *w, unsigned resp, const struct pl_redis_command *command)
{
    pl_resp_write_array(w, 10);
    pl_resp_write_bulk_text(w, command->name);
    pl_resp_write_integer(w, command->arity);
    write_bits(w, resp, command->flags, flag_names);
    pl_resp_write_integer(w, command->first_key);
    pl_resp_write_integer(w, command->last_key);
    pl_resp_write_integer(w, command->key_step);
    write_bits(w, resp, command->categories, category_names);
    pl_resp_write_set(w, resp, 0);
    pl_resp_write_set(w, resp, command->first_key ? 1 : 0);
    if (command->first_key)
        write_key_spec(w, resp, command);
}

static void write_info(struct pl_writer *w, unsigned resp, const struct pl_redis_command *command)
{
    write_head_of(w, resp, command);
    if (!command->subcommands) {
        pl_resp_write_set(w, resp, 0);
        return;
    }
    pl_resp_write_array(w, count_commands(command->subcommands));
    for (const struct pl_redis_command *c = command->subcommands; c->name; c++) {
        write_head_of(w, resp, c);
        pl_resp_write_set(w, resp, 0);
    }
}

static void write_doc_head(struct pl_writer *w, unsigned resp,
    const struct pl_redis_command *command, bool has_subcommands)
{
    pl_resp_write_bulk_text(w, command->name);
    pl_resp_write_map(w, resp, has_subcommands ? 4 : 3);
    pl_resp_write_bulk_text(w, "summary");
    pl_resp_write_bulk_text(w, command->summary);
    pl_resp_write_bulk_text(w, "since");
    pl_resp_write_bulk_text(w, command->since);
    pl_resp_write_bulk_text(w, "group");
    pl_resp_write_bulk_text(w, command->group);
}

static void write_doc(struct pl_writer *w, unsigned resp, const struct pl_redis_command *command)
{
    write_doc_head(w, resp, command, command->subcommands != NULL);
    if (!command->subcommands)
        return;
    pl_resp_write_bulk_text(w, "subcommands");
    pl_resp_write_map(w, resp, count_commands(command->subcommands));
    for (const struct pl_redis_command *c = command->subcommands; c->name; c++)
        write_doc_head(w, resp, c, false);
}

/* "client" or "client|id"; NULL: unknown. */
static const struct pl_redis_command *find_by_name(struct pl_bytes name)
{
    const uint8_t *bar = name.len ? memchr(name.data, '|', name.len) : NULL;
    if (!bar)
        return pl_redis_find_command(name);
    size_t len = (size_t)(bar - name.data);
    const struct pl_redis_command *container = pl_redis_find_command(pl_bytes_of(name.data, len));
    return container && container->subcommands
               ? pl_redis_find_subcommand(container, pl_bytes_from(name, len + 1))
               : NULL;
}

static void reply_all_infos(struct pl_redis_link *link)
{
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_array(w, count_commands(pl_redis_commands));
    for (const struct pl_redis_command *c = pl_redis_commands; c->name; c++)
        write_info(w, link->resp, c);
    pl_redis_replied(link);
}

void pl_redis_on_command(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    reply_all_infos(link);
}

void pl_redis_on_command_info(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    if (request->count == 2) {
        reply_all_infos(link);
        return;
    }
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_array(w, request->count - 2);
    struct pl_resp_args args = pl_resp_args(request, 2);
    struct pl_bytes name;
    while (pl_resp_next(&args, &name)) {
        const struct pl_redis_command *c = find_by_name(name);
        if (c)
            write_info(w, link->resp, c);
        else
            pl_resp_write_null(w, link->resp);
    }
    pl_redis_replied(link);
}

void pl_redis_on_command_docs(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    struct pl_writer *w = pl_redis_reply(link);
    struct pl_bytes name;
    if (request->count == 2) {
        pl_resp_write_map(w, link->resp, count_commands(pl_redis_commands));
        for (const struct pl_redis_command *c = pl_redis_commands; c->name; c++)
            write_doc(w, link->resp, c);
    } else {
        uint64_t known = 0;
        struct pl_resp_args args = pl_resp_args(request, 2);
        while (pl_resp_next(&args, &name))
            known += find_by_name(name) != NULL;
        pl_resp_write_map(w, link->resp, known);
        args = pl_resp_args(request, 2);
        while (pl_resp_next(&args, &name)) {
            const struct pl_redis_command *c = find_by_name(name);
            if (c)
                write_doc(w, link->resp, c);
        }
    }
    pl_redis_replied(link);
}

void pl_redis_on_command_count(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    pl_resp_write_integer(pl_redis_reply(link), (int64_t)count_commands(pl_redis_commands));
    pl_redis_replied(link);
}

enum filter { FILTER_NONE, FILTER_MODULE, FILTER_CATEGORY, FILTER_PATTERN };

static bool is_listed(
    const struct pl_redis_command *command, enum filter filter, struct pl_bytes value)
{
    switch (filter) {
    case FILTER_NONE:
        return true;
    case FILTER_MODULE:
        return false;
    case FILTER_CATEGORY:
        for (const struct bit_name *n = category_names; n->name; n++)
            if (command->categories & n->bit &&
                pl_bytes_equal_nocase(pl_bytes_text(n->name + 1), value))
                return true;
        return false;
    case FILTER_PATTERN:
        return pl_glob_matches(value, pl_bytes_text(command->name));
    }
    return false;
}

/* Counts, and writes if w is not NULL. Containers are listed with their subcommands. */
static uint64_t list(struct pl_writer *w, const struct pl_redis_command *table, enum filter filter,
    struct pl_bytes value)
{
    uint64_t count = 0;
    for (const struct pl_redis_command *c = table; c && c->name; c++) {
        if (is_listed(c, filter, value)) {
            count++;
            if (w)
                pl_resp_write_bulk_text(w, c->name);
        }
    }
    return count;
}

static uint64_t list_all(struct pl_writer *w, enum filter filter, struct pl_bytes value)
{
    uint64_t count = list(w, pl_redis_commands, filter, value);
    if (filter != FILTER_NONE)
        for (const struct pl_redis_command *c = pl_redis_commands; c->name; c++)
            count += list(w, c->subcommands, filter, value);
    return count;
}

void pl_redis_on_command_list(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    enum filter filter = FILTER_NONE;
    struct pl_bytes value = PL_NO_BYTES;
    if (request->count == 5 && pl_bytes_equal_nocase(request->args[2], PL_BYTES("filterby"))) {
        struct pl_bytes by = request->args[3];
        value = request->args[4];
        if (pl_bytes_equal_nocase(by, PL_BYTES("module")))
            filter = FILTER_MODULE;
        else if (pl_bytes_equal_nocase(by, PL_BYTES("aclcat")))
            filter = FILTER_CATEGORY;
        else if (pl_bytes_equal_nocase(by, PL_BYTES("pattern")))
            filter = FILTER_PATTERN;
    }
    if (request->count != 2 && filter == FILTER_NONE) {
        pl_redis_reply_error(link, "ERR syntax error");
        return;
    }
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_array(w, list_all(NULL, filter, value));
    (void)list_all(w, filter, value);
    pl_redis_replied(link);
}

/* WATCH alone has keys. */
static void reply_keys(
    struct pl_redis_link *link, const struct pl_resp_request *request, bool with_flags)
{
    const struct pl_redis_command *command = pl_redis_find_command(request->args[2]);
    uint32_t count = request->count - 2;
    if (command && command->subcommands)
        command = pl_redis_find_subcommand(command, request->args[3]);
    if (!command) {
        pl_redis_reply_error(link, "ERR Invalid command specified");
        return;
    }
    if (!command->are_keys) {
        pl_redis_reply_error(link, "ERR The command has no key arguments");
        return;
    }
    struct pl_writer *w = pl_redis_reply(link);
    pl_resp_write_array(w, count - 1);
    struct pl_resp_args args = pl_resp_args(request, 3);
    struct pl_bytes key;
    while (pl_resp_next(&args, &key)) {
        if (with_flags)
            pl_resp_write_array(w, 2);
        pl_resp_write_bulk(w, key);
        if (with_flags) {
            pl_resp_write_set(w, link->resp, 1);
            pl_resp_write_status(w, "RO");
        }
    }
    pl_redis_replied(link);
}

void pl_redis_on_command_getkeys(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    reply_keys(link, request, false);
}

void pl_redis_on_command_getkeysandflags(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    reply_keys(link, request, true);
}

void pl_redis_on_command_help(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    static const char *const lines[] = {
        "COMMAND <subcommand> [<arg> ...]. Subcommands are:",
        "(no subcommand)",
        "    The same as INFO without names.",
        "COUNT",
        "    How many commands there are.",
        "DOCS [<command-name> ...]",
        "    What commands are for.",
        "GETKEYS <full-command>",
        "    The keys in a command.",
        "GETKEYSANDFLAGS <full-command>",
        "    The keys in a command, and what it does with them.",
        "INFO [<command-name> ...]",
        "    What commands take and may.",
        "LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <value>]",
        "    The names of the commands.",
        "HELP",
        "    This text.",
        NULL,
    };
    pl_redis_reply_help(link, lines);
}
