/*
 * SUBSCRIBE and its kin. Channels, patterns and shard channels are three sets of a session, each
 * with its own commands; the number in the replies counts the first two together, and the third
 * alone, as in redis-server.
 *
 * Rights are asked for all names of a command first: one that is denied refuses them all. What the
 * core may still refuse (a limit, memory) is told in the place of that channel's reply.
 */
#include "base/alloc.h"
#include "protocols/redis/redis_command.h"
#include "protocols/redis/redis_session.h"

struct words {
    const char *subscribe, *unsubscribe;
};

static const struct words words[PL_REDIS_KIND_COUNT] = {
    {"subscribe", "unsubscribe"}, {"psubscribe", "punsubscribe"}, {"ssubscribe", "sunsubscribe"}};

static struct pl_redis_subscription *subscription_of(struct pl_subscription *sub)
{
    return PL_CONTAINER(sub, struct pl_redis_subscription, core);
}

void pl_redis_subscription_free(struct pl_redis_subscription *sub)
{
    if (!sub)
        return;
    if (sub->at) {
        *sub->at = sub->next;
        if (sub->next)
            sub->next->at = sub->at;
    }
    pl_pattern_unref(sub->name);
    pl_free(sub);
}

void pl_redis_subscriptions_free(struct pl_redis_session *s)
{
    while (s->going)
        pl_redis_subscription_free(s->going);
    for (int kind = 0; kind < PL_REDIS_KIND_COUNT; kind++) {
        struct pl_map_entry *e = pl_map_next(&s->subs[kind], NULL);
        while (e) {
            struct pl_map_entry *next = pl_map_next(&s->subs[kind], e);
            pl_redis_subscription_free(PL_CONTAINER(e, struct pl_redis_subscription, entry));
            e = next;
        }
        pl_map_done(&s->subs[kind]);
    }
}

/* Takes the pattern's reference over. */
static struct pl_redis_subscription *subscription_new(struct pl_redis_link *link,
    const struct pl_identity *identity, enum pl_redis_kind kind, struct pl_pattern *pattern_moved)
{
    struct pl_redis_subscription *sub = pl_zalloc(sizeof *sub);
    if (!sub) {
        pl_pattern_unref(pattern_moved);
        return NULL;
    }
    const struct pl_link_config *config = link->base.config;
    sub->name = pattern_moved;
    sub->core.form = pl_redis_form(kind, link->resp, sub->name->text);
    sub->core.slow = config->has_slow ? config->slow : PL_SLOW_DISCONNECT;
    sub->core.replay = identity->has_replay ? identity->replay : config->replay;
    return sub;
}

/* Lists it and hands it to the core. False: no memory. */
static bool begin(
    struct pl_redis_session *s, struct pl_redis_subscription *sub, enum pl_redis_token token)
{
    enum pl_redis_kind kind = pl_redis_form_kind(sub->core.form);
    if (pl_map_add(&s->subs[kind], &sub->entry, sub->name->text))
        return false;
    sub->is_listed = true;
    sub->core.pattern = pl_pattern_ref(sub->name);
    pl_session_subscribe(&s->core, &sub->core, NULL, token);
    return true;
}

static void set_count(struct pl_redis_link *link, enum pl_redis_kind kind, uint32_t count)
{
    link->subs[kind] = count;
    atomic_store_explicit(&link->card->subs[kind], count, memory_order_relaxed);
}

/* [word, name, number]; name NULL: null. */
static void write_answer(struct pl_redis_link *link, struct pl_writer *w, const char *word,
    enum pl_redis_kind kind, const struct pl_bytes *name)
{
    pl_resp_write_push(w, link->resp, 3);
    pl_resp_write_bulk_text(w, word);
    if (name)
        pl_resp_write_bulk(w, *name);
    else
        pl_resp_write_null(w, link->resp);
    pl_resp_write_integer(w, kind == PL_REDIS_SHARD
                                 ? link->subs[PL_REDIS_SHARD]
                                 : link->subs[PL_REDIS_CHANNEL] + link->subs[PL_REDIS_PATTERN]);
}

static void free_list(struct pl_redis_subscription *list)
{
    while (list) {
        struct pl_redis_subscription *next = list->next;
        pl_redis_subscription_free(list);
        list = next;
    }
}

static enum pl_err new_pattern(
    enum pl_redis_kind kind, struct pl_bytes name, struct pl_pattern **out)
{
    return kind == PL_REDIS_PATTERN ? pl_pattern_new_glob(name, out)
                                    : pl_pattern_new_literal(name, out);
}

/* All that the command names, checked; NULL: it was answered with an error. */
static struct pl_redis_subscription *check(
    struct pl_redis_link *link, const struct pl_resp_request *request, enum pl_redis_kind kind)
{
    const struct pl_identity *identity = link->session->core.identity;
    struct pl_redis_subscription *list = NULL, **end = &list;
    struct pl_resp_args args = pl_resp_args(request, 1);
    struct pl_bytes name;
    while (pl_resp_next(&args, &name)) {
        struct pl_pattern *pattern = NULL;
        enum pl_err err = name.len > pl_realm_limits(link->session->core.realm)->subject_max
                              ? PL_TOO_LARGE
                              : new_pattern(kind, name, &pattern);
        bool is_filtered = false;
        if (!err && !pl_identity_may_subscribe(identity, pattern, &is_filtered)) {
            pl_pattern_unref(pattern);
            err = PL_DENIED;
        }
        struct pl_redis_subscription *sub =
            err ? NULL : subscription_new(link, identity, kind, pattern);
        if (!sub) {
            free_list(list);
            if (err == PL_DENIED)
                pl_redis_reply_error(link, "%s", pl_redis_no_permission);
            else if (err && err != PL_NO_MEMORY)
                pl_redis_reply_error(link, "ERR the channel's name is too long");
            else
                pl_redis_reply_error(link, "OOM command not allowed: out of memory");
            return NULL;
        }
        *end = sub;
        end = &sub->next;
    }
    return list;
}

static void subscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, enum pl_redis_kind kind)
{
    struct pl_redis_session *s = link->session;
    struct pl_redis_subscription *sub = check(link, request, kind);
    while (sub) {
        struct pl_redis_subscription *next = sub->next;
        sub->next = NULL;
        struct pl_bytes name = sub->name->text;
        bool is_new = !pl_map_find(&s->subs[kind], name);
        if (is_new && !begin(s, sub, PL_REDIS_ANSWERS)) {
            pl_redis_subscription_free(sub);
            free_list(next);
            pl_redis_reply_error(link, "OOM command not allowed: out of memory");
            return;
        }
        if (is_new)
            set_count(link, kind, link->subs[kind] + 1);
        write_answer(link, pl_redis_push(link), words[kind].subscribe, kind, &name);
        if (is_new) {
            pl_redis_pushed_after(link, 1);
        } else {
            pl_redis_pushed(link);
            pl_redis_subscription_free(sub);
        }
        sub = next;
    }
}

static void unsubscribe_one(
    struct pl_redis_link *link, enum pl_redis_kind kind, struct pl_redis_subscription *sub)
{
    struct pl_redis_session *s = link->session;
    struct pl_bytes name = sub->name->text;
    pl_map_remove(&s->subs[kind], &sub->entry);
    sub->is_listed = false;
    sub->at = &s->going;
    sub->next = s->going;
    if (sub->next)
        sub->next->at = &sub->next;
    s->going = sub;
    set_count(link, kind, link->subs[kind] - 1);
    pl_session_unsubscribe(&s->core, &sub->core, PL_REDIS_ANSWERS);
    write_answer(link, pl_redis_push(link), words[kind].unsubscribe, kind, &name);
    pl_redis_pushed_after(link, 1);
}

static void unsubscribe_all(struct pl_redis_link *link, enum pl_redis_kind kind)
{
    struct pl_map *map = &link->session->subs[kind];
    struct pl_map_entry *e = pl_map_next(map, NULL);
    if (!e) {
        write_answer(link, pl_redis_push(link), words[kind].unsubscribe, kind, NULL);
        pl_redis_pushed(link);
    }
    while (e) {
        struct pl_map_entry *next = pl_map_next(map, e);
        unsubscribe_one(link, kind, PL_CONTAINER(e, struct pl_redis_subscription, entry));
        e = next;
    }
}

static void unsubscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, enum pl_redis_kind kind)
{
    if (request->count == 1) {
        unsubscribe_all(link, kind);
        return;
    }
    struct pl_resp_args args = pl_resp_args(request, 1);
    struct pl_bytes name;
    while (pl_resp_next(&args, &name)) {
        struct pl_map_entry *e = pl_map_find(&link->session->subs[kind], name);
        if (e) {
            unsubscribe_one(link, kind, PL_CONTAINER(e, struct pl_redis_subscription, entry));
        } else {
            write_answer(link, pl_redis_push(link), words[kind].unsubscribe, kind, &name);
            pl_redis_pushed(link);
        }
    }
}

void pl_redis_on_subscribed(struct pl_redis_session *s, const struct pl_completion *done)
{
    struct pl_redis_subscription *sub = subscription_of(done->sub);
    enum pl_redis_kind kind = pl_redis_form_kind(sub->core.form);
    if (sub->is_listed) {
        pl_map_remove(&s->subs[kind], &sub->entry);
        if (s->link)
            set_count(s->link, kind, s->link->subs[kind] - 1);
    }
    /* If it was unsubscribed meanwhile, that answer is still to come. */
    if (!sub->at)
        pl_redis_subscription_free(sub);
}

void pl_redis_on_unsubscribed(const struct pl_completion *done)
{
    pl_redis_subscription_free(subscription_of(done->sub));
}

void pl_redis_review_subscriptions(struct pl_redis_link *link, const struct pl_identity *identity)
{
    for (int kind = 0; kind < PL_REDIS_KIND_COUNT; kind++) {
        struct pl_map *map = &link->session->subs[kind];
        struct pl_map_entry *e = pl_map_next(map, NULL);
        while (e) {
            struct pl_map_entry *next = pl_map_next(map, e);
            struct pl_redis_subscription *sub =
                PL_CONTAINER(e, struct pl_redis_subscription, entry);
            bool is_filtered = false;
            if (!identity || !pl_identity_may_subscribe(identity, sub->name, &is_filtered))
                unsubscribe_one(link, (enum pl_redis_kind)kind, sub);
            e = next;
        }
    }
}

void pl_redis_on_subscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    subscribe(link, request, PL_REDIS_CHANNEL);
}

void pl_redis_on_psubscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    subscribe(link, request, PL_REDIS_PATTERN);
}

void pl_redis_on_ssubscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    subscribe(link, request, PL_REDIS_SHARD);
}

void pl_redis_on_unsubscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    unsubscribe(link, request, PL_REDIS_CHANNEL);
}

void pl_redis_on_punsubscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    unsubscribe(link, request, PL_REDIS_PATTERN);
}

void pl_redis_on_sunsubscribe(
    struct pl_redis_link *link, const struct pl_resp_request *request, struct pl_shared *buffer)
{
    (void)buffer;
    unsubscribe(link, request, PL_REDIS_SHARD);
}
