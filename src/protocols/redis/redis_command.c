/* The table of commands; a flat list. */
#include "protocols/redis/redis_command.h"

#define PUBSUB       (PL_REDIS_PUBSUB | PL_REDIS_LOADING | PL_REDIS_STALE)
#define SUBSCRIBE    (PUBSUB | PL_REDIS_NOSCRIPT | PL_REDIS_WHILE_SUBSCRIBED)
#define READ         (PL_REDIS_LOADING | PL_REDIS_STALE)
#define CLIENT       (READ | PL_REDIS_NOSCRIPT)
#define ADMIN        (CLIENT | PL_REDIS_ADMIN)
#define TRANSACT     (CLIENT | PL_REDIS_FAST | PL_REDIS_ALLOW_BUSY)
#define LOGIN        (TRANSACT | PL_REDIS_NO_AUTH)
#define FAST_CAT     (PL_REDIS_CAT_FAST | PL_REDIS_CAT_CONNECTION)
#define SLOW_CAT     (PL_REDIS_CAT_SLOW | PL_REDIS_CAT_CONNECTION)
#define ADMIN_CAT    (SLOW_CAT | PL_REDIS_CAT_ADMIN | PL_REDIS_CAT_DANGEROUS)
#define PUBSUB_CAT   (PL_REDIS_CAT_PUBSUB | PL_REDIS_CAT_SLOW)
#define TRANSACT_CAT (PL_REDIS_CAT_FAST | PL_REDIS_CAT_TRANSACTION)

#define ROW(parent, text, count, bits, cats, version, kind, told, function)                        \
    {                                                                                              \
        .name = parent text, .word = text, .arity = count, .flags = bits, .categories = cats,      \
        .since = version, .group = kind, .summary = told, .run = function                          \
    }
#define CLIENT_ROW(text, count, bits, cats, version, told, function)                               \
    ROW("client|", text, count, bits, cats, version, "connection", told, function)
#define COMMAND_ROW(text, count, version, told, function)                                          \
    ROW("command|", text, count, READ, SLOW_CAT, version, "server", told, function)
#define PUBSUB_ROW(text, count, version, told, function)                                           \
    ROW("pubsub|", text, count, PUBSUB, PUBSUB_CAT, version, "pubsub", told, function)

static const struct pl_redis_command client_commands[] = {
    CLIENT_ROW("getname", 2, CLIENT, SLOW_CAT, "2.6.9", "Tells this connection's name",
        pl_redis_on_client_getname),
    CLIENT_ROW("getredir", 2, CLIENT, SLOW_CAT, "6.0.0", "Tells that nothing is tracked",
        pl_redis_on_client_getredir),
    CLIENT_ROW(
        "help", 2, READ, SLOW_CAT, "5.0.0", "Lists the subcommands", pl_redis_on_client_help),
    CLIENT_ROW(
        "id", 2, CLIENT, SLOW_CAT, "5.0.0", "Tells this connection's id", pl_redis_on_client_id),
    CLIENT_ROW("info", 2, CLIENT, SLOW_CAT, "6.2.0", "Tells about this connection",
        pl_redis_on_client_info),
    CLIENT_ROW(
        "kill", -3, ADMIN, ADMIN_CAT, "2.4.0", "Closes connections", pl_redis_on_client_kill),
    CLIENT_ROW("list", -2, ADMIN, ADMIN_CAT, "2.4.0", "Lists connections", pl_redis_on_client_list),
    CLIENT_ROW("no-evict", 3, ADMIN, ADMIN_CAT, "7.0.0", "Notes that it should not be evicted",
        pl_redis_on_client_no_evict),
    CLIENT_ROW("no-touch", 3, CLIENT, SLOW_CAT, "7.2.0", "Notes that keys are not touched",
        pl_redis_on_client_no_touch),
    CLIENT_ROW("pause", -3, ADMIN, ADMIN_CAT, "2.9.50", "Is refused: others are not paused",
        pl_redis_on_client_pause),
    CLIENT_ROW("reply", 3, CLIENT, SLOW_CAT, "3.2.0", "Turns replies on and off",
        pl_redis_on_client_reply),
    CLIENT_ROW("setinfo", 4, CLIENT, SLOW_CAT, "7.2.0", "Tells the client library's name",
        pl_redis_on_client_setinfo),
    CLIENT_ROW("setname", 3, CLIENT, SLOW_CAT, "2.6.9", "Names this connection",
        pl_redis_on_client_setname),
    CLIENT_ROW("trackinginfo", 2, CLIENT, SLOW_CAT, "6.2.0", "Tells that nothing is tracked",
        pl_redis_on_client_trackinginfo),
    CLIENT_ROW("unblock", -3, ADMIN, ADMIN_CAT, "5.0.0", "Answers 0: nobody blocks",
        pl_redis_on_client_unblock),
    CLIENT_ROW("unpause", 2, ADMIN, ADMIN_CAT, "6.2.0", "Does nothing: nobody is paused",
        pl_redis_on_client_unpause),
    {0},
};

static const struct pl_redis_command command_commands[] = {
    COMMAND_ROW("count", 2, "2.8.13", "Counts the commands", pl_redis_on_command_count),
    COMMAND_ROW("docs", -2, "7.0.0", "Describes commands", pl_redis_on_command_docs),
    COMMAND_ROW(
        "getkeys", -4, "2.8.13", "Finds the keys in a command", pl_redis_on_command_getkeys),
    COMMAND_ROW("getkeysandflags", -4, "7.0.0", "Finds the keys in a command and what they are for",
        pl_redis_on_command_getkeysandflags),
    COMMAND_ROW("help", 2, "5.0.0", "Lists the subcommands", pl_redis_on_command_help),
    COMMAND_ROW("info", -2, "2.8.13", "Tells what commands take and may", pl_redis_on_command_info),
    COMMAND_ROW("list", -2, "7.0.0", "Lists the names of commands", pl_redis_on_command_list),
    {0},
};

static const struct pl_redis_command pubsub_commands[] = {
    PUBSUB_ROW(
        "channels", -2, "2.8.0", "Lists channels with subscribers", pl_redis_on_pubsub_channels),
    ROW("pubsub|", "help", 2, READ, PL_REDIS_CAT_SLOW, "6.2.0", "pubsub", "Lists the subcommands",
        pl_redis_on_pubsub_help),
    PUBSUB_ROW("numpat", 2, "2.8.0", "Counts patterns", pl_redis_on_pubsub_numpat),
    PUBSUB_ROW(
        "numsub", -2, "2.8.0", "Counts the subscribers of channels", pl_redis_on_pubsub_numsub),
    PUBSUB_ROW("shardchannels", -2, "7.0.0", "Lists shard channels with subscribers",
        pl_redis_on_pubsub_shardchannels),
    PUBSUB_ROW("shardnumsub", -2, "7.0.0", "Counts the subscribers of shard channels",
        pl_redis_on_pubsub_shardnumsub),
    {0},
};

#define SHARD_ROW(text, count, bits, cats, last, told, function)                                   \
    {                                                                                              \
        .name = text, .word = text, .arity = count, .flags = bits, .categories = cats,             \
        .since = "7.0.0", .group = "pubsub", .summary = told, .run = function, .first_key = 1,     \
        .last_key = last, .key_step = 1                                                            \
    }
#define CONTAINER_ROW(text, version, kind, told, table)                                            \
    {                                                                                              \
        .name = text, .word = text, .arity = -2, .categories = PL_REDIS_CAT_SLOW,                  \
        .since = version, .group = kind, .summary = told, .subcommands = table                     \
    }

const struct pl_redis_command pl_redis_commands[] = {
    ROW("", "auth", -2, LOGIN | PL_REDIS_NOT_IN_MULTI, FAST_CAT, "1.0.0", "connection", "Logs in",
        pl_redis_on_auth),
    CONTAINER_ROW("client", "2.4.0", "connection", "Looks after connections", client_commands),
    {.name = "command",
        .word = "command",
        .arity = -1,
        .flags = READ,
        .categories = SLOW_CAT,
        .since = "2.8.13",
        .group = "server",
        .summary = "Tells about the commands",
        .run = pl_redis_on_command,
        .subcommands = command_commands},
    ROW("", "discard", 1, TRANSACT | PL_REDIS_NOT_QUEUED, TRANSACT_CAT, "2.0.0", "transactions",
        "Forgets what was queued", pl_redis_on_discard),
    ROW("", "echo", 2, READ | PL_REDIS_FAST, FAST_CAT, "1.0.0", "connection",
        "Returns its argument", pl_redis_on_echo),
    ROW("", "exec", 1, CLIENT | PL_REDIS_SKIP_SLOWLOG | PL_REDIS_NOT_QUEUED,
        PL_REDIS_CAT_SLOW | PL_REDIS_CAT_TRANSACTION, "1.2.0", "transactions",
        "Runs what was queued", pl_redis_on_exec),
    ROW("", "hello", -1, LOGIN | PL_REDIS_NOT_IN_MULTI, FAST_CAT, "6.0.0", "connection",
        "Chooses the protocol's version and logs in", pl_redis_on_hello),
    ROW("", "info", -1, READ, PL_REDIS_CAT_SLOW | PL_REDIS_CAT_DANGEROUS, "1.0.0", "server",
        "Tells about the server", pl_redis_on_info),
    ROW("", "multi", 1, TRANSACT | PL_REDIS_NOT_QUEUED, TRANSACT_CAT, "1.2.0", "transactions",
        "Begins to queue commands", pl_redis_on_multi),
    ROW("", "ping", -1, PL_REDIS_FAST | PL_REDIS_WHILE_SUBSCRIBED, FAST_CAT, "1.0.0", "connection",
        "Answers", pl_redis_on_ping),
    ROW("", "psubscribe", -2, SUBSCRIBE, PUBSUB_CAT, "2.0.0", "pubsub",
        "Subscribes to what matches patterns", pl_redis_on_psubscribe),
    ROW("", "publish", 3, PUBSUB | PL_REDIS_FAST, PL_REDIS_CAT_PUBSUB | PL_REDIS_CAT_FAST, "2.0.0",
        "pubsub", "Sends a message to a channel", pl_redis_on_publish),
    CONTAINER_ROW("pubsub", "2.8.0", "pubsub", "Tells what is subscribed", pubsub_commands),
    ROW("", "punsubscribe", -1, SUBSCRIBE, PUBSUB_CAT, "2.0.0", "pubsub",
        "Unsubscribes from patterns", pl_redis_on_punsubscribe),
    ROW("", "quit", -1, LOGIN | PL_REDIS_WHILE_SUBSCRIBED | PL_REDIS_NOT_QUEUED, FAST_CAT, "1.0.0",
        "connection", "Closes the connection", pl_redis_on_quit),
    ROW("", "reset", 1, LOGIN | PL_REDIS_WHILE_SUBSCRIBED | PL_REDIS_NOT_QUEUED, FAST_CAT, "6.2.0",
        "connection", "Makes the connection as it was at its start", pl_redis_on_reset),
    ROW("", "select", 2, READ | PL_REDIS_FAST, FAST_CAT, "1.0.0", "connection",
        "Takes database 0, the only one", pl_redis_on_select),
    SHARD_ROW("spublish", 3, PUBSUB | PL_REDIS_FAST, PL_REDIS_CAT_PUBSUB | PL_REDIS_CAT_FAST, 1,
        "Sends a message to a shard channel", pl_redis_on_spublish),
    SHARD_ROW("ssubscribe", -2, SUBSCRIBE, PUBSUB_CAT, -1, "Subscribes to shard channels",
        pl_redis_on_ssubscribe),
    ROW("", "subscribe", -2, SUBSCRIBE, PUBSUB_CAT, "2.0.0", "pubsub", "Subscribes to channels",
        pl_redis_on_subscribe),
    SHARD_ROW("sunsubscribe", -1, SUBSCRIBE, PUBSUB_CAT, -1, "Unsubscribes from shard channels",
        pl_redis_on_sunsubscribe),
    ROW("", "unsubscribe", -1, SUBSCRIBE, PUBSUB_CAT, "2.0.0", "pubsub",
        "Unsubscribes from channels", pl_redis_on_unsubscribe),
    ROW("", "unwatch", 1, TRANSACT, TRANSACT_CAT, "2.2.0", "transactions",
        "Does nothing: there are no keys", pl_redis_on_unwatch),
    {.name = "watch",
        .word = "watch",
        .arity = -2,
        .flags = TRANSACT | PL_REDIS_NOT_QUEUED,
        .categories = TRANSACT_CAT,
        .since = "2.2.0",
        .group = "transactions",
        .summary = "Does nothing: there are no keys",
        .run = pl_redis_on_watch,
        .first_key = 1,
        .last_key = -1,
        .key_step = 1,
        .are_keys = true},
    {0},
};

static const struct pl_redis_command *find(
    const struct pl_redis_command *table, struct pl_bytes word)
{
    for (const struct pl_redis_command *c = table; c && c->name; c++)
        if (pl_bytes_equal_nocase(pl_bytes_text(c->word), word))
            return c;
    return NULL;
}

const struct pl_redis_command *pl_redis_find_command(struct pl_bytes name)
{
    return find(pl_redis_commands, name);
}

const struct pl_redis_command *pl_redis_find_subcommand(
    const struct pl_redis_command *container, struct pl_bytes word)
{
    return find(container->subcommands, word);
}
