/*
 * PUBSUB: which channels have subscribers, and how many?
 *
 * Asked of the whole realm, so subscribers of other protocols count too: a literal NATS or MQTT
 * subscription is a subscriber of that channel, one with wildcards is a pattern. Nobody is told of
 * channels that it may not subscribe, and nobody of `_INBOX.` names, which are secrets.
 *
 * Under the realm's lock only references to patterns are taken.
 */
#include "base/alloc.h"
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_session.h"

/* Patterns of the subscriptions of one sort. */
struct census {
    struct pl_pattern **patterns; /* one reference each */
    size_t count, cap;
    bool is_full;
    bool wants_shards, wants_patterns;
};

static bool is_shard(const struct pl_subscription *sub)
{
    return sub->session->ops == &pl_redis_session_ops &&
           pl_redis_form_kind(sub->form) == PL_REDIS_SHARD;
}

static void count_one(void *context, struct pl_subscription *sub)
{
    struct census *c = context;
    bool is_channel = sub->pattern->is_literal;
    if (c->wants_patterns ? is_channel : !is_channel || is_shard(sub) != c->wants_shards)
        return;
    if (c->count == c->cap)
        c->is_full = true;
    else
        c->patterns[c->count++] = pl_pattern_ref(sub->pattern);
}

static void census_done(struct census *c)
{
    for (size_t i = 0; i < c->count; i++)
        pl_pattern_unref(c->patterns[i]);
    pl_free(c->patterns);
    *c = (struct census){0};
}

/* Room is made before the lock is taken; who subscribed meanwhile may be too many for it. */
static enum pl_err take_census(struct pl_realm *realm, struct census *c)
{
    struct census wanted = *c;
    for (;;) {
        struct pl_realm_stats stats;
        pl_realm_stats(realm, &stats);
        *c = wanted;
        c->cap = stats.subscriptions + stats.subscriptions / 8 + 16;
        c->patterns = pl_alloc(c->cap * sizeof *c->patterns);
        if (!c->patterns)
            return PL_NO_MEMORY;
        pl_realm_each_subscription(realm, count_one, c);
        if (!c->is_full)
            return PL_OK;
        census_done(c);
    }
}

/* One name of the census and how often it stands there. */
struct tally {
    struct pl_map_entry entry;
    uint64_t count;
};

struct tallies {
    struct pl_map map;
    struct tally *all; /* owned */
    size_t count;
};

static void tallies_done(struct tallies *t)
{
    pl_map_done(&t->map);
    pl_free(t->all);
}

static enum pl_err add_tally(struct tallies *t, struct pl_bytes name)
{
    struct tally *one = &t->all[t->count];
    *one = (struct tally){0};
    enum pl_err err = pl_map_add(&t->map, &one->entry, name);
    t->count += !err;
    return err;
}

static bool may_be_told(struct pl_redis_link *link, const struct pl_pattern *channel)
{
    bool is_filtered = false;
    return !pl_subject_is_inbox(channel->text) &&
           pl_identity_may_subscribe(link->session->core.identity, channel, &is_filtered);
}

static struct tally *find_tally(struct tallies *t, struct pl_bytes name)
{
    struct pl_map_entry *e = pl_map_find(&t->map, name);
    return e ? PL_CONTAINER(e, struct tally, entry) : NULL;
}

/* The different names of the census that match the glob (NULL: all). */
static enum pl_err sort_out(struct pl_redis_link *link, const struct census *c,
    const struct pl_bytes *glob, bool are_channels, struct tallies *out)
{
    pl_map_init(&out->map, link->base.id);
    out->count = 0;
    out->all = pl_alloc((c->count ? c->count : 1) * sizeof *out->all);
    if (!out->all)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < c->count; i++) {
        const struct pl_pattern *p = c->patterns[i];
        struct tally *known = find_tally(out, p->text);
        if (known || (glob && !pl_glob_matches(*glob, p->text)) ||
            (are_channels && !may_be_told(link, p)))
            continue;
        enum pl_err err = add_tally(out, p->text);
        if (err)
            return err;
    }
    return PL_OK;
}

static void reply_no_memory(struct pl_redis_link *link)
{
    pl_redis_reply_error(link, "OOM command not allowed: out of memory");
}

static void channels(
    struct pl_redis_link *link, const struct pl_resp_request *request, bool are_shards)
{
    if (request->count > 3) {
        struct pl_bytes word = request->args[1];
        pl_redis_reply_error(link,
            "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
            (int)word.len, word.data);
        return;
    }
    struct census census = {.wants_shards = are_shards};
    struct tallies names = {0};
    enum pl_err err = take_census(link->session->core.realm, &census);
    if (!err)
        err = sort_out(link, &census, request->count > 2 ? &request->args[2] : NULL, true, &names);
    if (err) {
        reply_no_memory(link);
    } else {
        struct pl_writer *w = pl_redis_reply(link);
        pl_resp_write_array(w, names.count);
        for (size_t i = 0; i < names.count; i++)
            pl_resp_write_bulk(w, names.all[i].entry.key);
        pl_redis_replied(link);
    }
    tallies_done(&names);
    census_done(&census);
}

void pl_redis_on_pubsub_channels(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    channels(link, request, false);
}

void pl_redis_on_pubsub_shardchannels(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    channels(link, request, true);
}

/* The names that were asked for, each once; who stands in the census is counted. */
static enum pl_err count_asked(struct pl_redis_link *link, const struct pl_resp_request *request,
    const struct census *c, struct tallies *out)
{
    pl_map_init(&out->map, link->base.id);
    out->count = 0;
    out->all = pl_alloc(request->count * sizeof *out->all);
    if (!out->all)
        return PL_NO_MEMORY;
    struct pl_resp_args args = pl_resp_args(request, 2);
    struct pl_bytes name;
    while (pl_resp_next(&args, &name)) {
        enum pl_err err = find_tally(out, name) ? PL_OK : add_tally(out, name);
        if (err)
            return err;
    }
    for (size_t i = 0; i < c->count; i++) {
        struct tally *asked = find_tally(out, c->patterns[i]->text);
        if (asked && (asked->count || may_be_told(link, c->patterns[i])))
            asked->count++;
    }
    return PL_OK;
}

static void numsub(
    struct pl_redis_link *link, const struct pl_resp_request *request, bool are_shards)
{
    struct census census = {.wants_shards = are_shards};
    struct tallies asked = {0};
    enum pl_err err = take_census(link->session->core.realm, &census);
    if (!err)
        err = count_asked(link, request, &census, &asked);
    if (err) {
        reply_no_memory(link);
    } else {
        struct pl_writer *w = pl_redis_reply(link);
        pl_resp_write_array(w, 2 * (uint64_t)(request->count - 2));
        struct pl_resp_args args = pl_resp_args(request, 2);
        struct pl_bytes name;
        while (pl_resp_next(&args, &name)) {
            pl_resp_write_bulk(w, name);
            pl_resp_write_integer(w, (int64_t)find_tally(&asked, name)->count);
        }
        pl_redis_replied(link);
    }
    tallies_done(&asked);
    census_done(&census);
}

void pl_redis_on_pubsub_numsub(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    numsub(link, request, false);
}

void pl_redis_on_pubsub_shardnumsub(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    numsub(link, request, true);
}

enum pl_err pl_redis_count_active(
    struct pl_redis_link *link, enum pl_redis_kind kind, uint64_t *out_count)
{
    struct census census = {
        .wants_shards = kind == PL_REDIS_SHARD, .wants_patterns = kind == PL_REDIS_PATTERN};
    struct tallies names = {0};
    enum pl_err err = take_census(link->session->core.realm, &census);
    if (!err)
        err = sort_out(link, &census, NULL, kind != PL_REDIS_PATTERN, &names);
    if (!err)
        *out_count = names.count;
    tallies_done(&names);
    census_done(&census);
    return err;
}

void pl_redis_on_pubsub_numpat(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    uint64_t count = 0;
    if (pl_redis_count_active(link, PL_REDIS_PATTERN, &count)) {
        reply_no_memory(link);
        return;
    }
    pl_resp_write_integer(pl_redis_reply(link), (int64_t)count);
    pl_redis_replied(link);
}

void pl_redis_on_pubsub_help(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)request, (void)buffer;
    static const char *const lines[] = {
        "PUBSUB <subcommand> [<arg> ...]. Subcommands are:",
        "CHANNELS [<pattern>]",
        "    Channels that somebody is subscribed to, those that match the pattern.",
        "NUMPAT",
        "    How many different patterns are subscribed.",
        "NUMSUB [<channel> ...]",
        "    How many subscribers each of these channels has; patterns do not count.",
        "SHARDCHANNELS [<pattern>]",
        "    The same as CHANNELS for SSUBSCRIBE.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    The same as NUMSUB for SSUBSCRIBE.",
        "HELP",
        "    This text.",
        NULL,
    };
    pl_redis_reply_help(link, lines);
}
