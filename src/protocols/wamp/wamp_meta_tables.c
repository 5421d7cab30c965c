/* Who is there: the meta session's own picture of the realm, as its notices drew it. */
#include "base/alloc.h"
#include "protocols/wamp/wamp_meta_state.h"

static struct pl_bytes id_bytes(const uint64_t *id)
{
    return pl_bytes_of(id, sizeof *id);
}

static void init_table(struct meta_table *table, uint64_t seed)
{
    pl_map_init(&table->by_id, seed);
    pl_map_init(&table->by_pattern, seed);
}

void meta_tables_init(struct pl_wamp_meta *meta)
{
    uint64_t seed = pl_realm_seed(meta->session.realm);
    pl_map_init(&meta->sessions, seed);
    init_table(&meta->subscriptions, seed);
    init_table(&meta->registrations, seed);
    meta->end = &meta->first;
}

/* ---- Sessions ---- */

struct meta_session *meta_session_find(const struct pl_wamp_meta *meta, uint64_t id)
{
    struct pl_map_entry *e = pl_map_find(&meta->sessions, id_bytes(&id));
    return e ? PL_CONTAINER(e, struct meta_session, entry) : NULL;
}

enum pl_err meta_session_add(struct pl_wamp_meta *meta, uint64_t id, struct pl_shared *card)
{
    struct meta_session *session = pl_zalloc(sizeof *session);
    if (!session)
        return PL_NO_MEMORY;
    session->id = id;
    enum pl_err err = pl_map_add(&meta->sessions, &session->entry, id_bytes(&session->id));
    if (err) {
        pl_free(session);
        return err;
    }
    session->card = pl_shared_ref(card);
    session->at = meta->end;
    *meta->end = session;
    meta->end = &session->next;
    return PL_OK;
}

void meta_session_remove(struct pl_wamp_meta *meta, struct meta_session *session)
{
    pl_map_remove(&meta->sessions, &session->entry);
    *session->at = session->next;
    if (session->next)
        session->next->at = session->at;
    else
        meta->end = session->at;
    pl_shared_unref(session->card);
    pl_free(session);
}

void meta_session_set_card(struct meta_session *session, struct pl_shared *card_moved)
{
    pl_shared_unref(session->card);
    session->card = card_moved;
}

/* ---- Topics ---- */

struct meta_topic *meta_topic_find(const struct meta_table *table, uint64_t id)
{
    struct pl_map_entry *e = pl_map_find(&table->by_id, id_bytes(&id));
    return e ? PL_CONTAINER(e, struct meta_topic, by_id) : NULL;
}

struct meta_topic *meta_topic_find_pattern(const struct meta_table *table, uint64_t pattern_id)
{
    struct pl_map_entry *e = pl_map_find(&table->by_pattern, id_bytes(&pattern_id));
    return e ? PL_CONTAINER(e, struct meta_topic, by_pattern) : NULL;
}

static enum pl_err index_topic(struct meta_table *table, struct meta_topic *topic)
{
    enum pl_err err = pl_map_add(&table->by_id, &topic->by_id, id_bytes(&topic->id));
    if (err)
        return err;
    err = pl_map_add(&table->by_pattern, &topic->by_pattern, id_bytes(&topic->pattern_id));
    if (err)
        pl_map_remove(&table->by_id, &topic->by_id);
    return err;
}

enum pl_err meta_topic_make(struct pl_wamp_meta *meta, struct meta_table *table, uint64_t id,
    struct pl_pattern *pattern, uint64_t now_unix_ms, struct meta_topic **out, bool *out_is_new)
{
    struct meta_topic *topic = meta_topic_find(table, id);
    *out_is_new = !topic;
    if (topic) {
        *out = topic;
        return PL_OK;
    }
    topic = pl_zalloc(sizeof *topic);
    if (!topic)
        return PL_NO_MEMORY;
    topic->id = id;
    topic->pattern_id = wamp_subscription_id(meta->session.realm, pattern);
    topic->created_unix_ms = now_unix_ms;
    pl_map_init(&topic->members, id);
    enum pl_err err = index_topic(table, topic);
    if (err) {
        pl_free(topic);
        return err;
    }
    topic->pattern = pl_pattern_ref(pattern);
    struct meta_topic **list = pattern->is_literal ? &table->literals : &table->patterns;
    topic->next = *list;
    topic->at = list;
    if (*list)
        (*list)->at = &topic->next;
    *list = topic;
    *out = topic;
    return PL_OK;
}

static struct meta_member *find_member(const struct meta_topic *topic, uint64_t session)
{
    struct pl_map_entry *e = pl_map_find(&topic->members, id_bytes(&session));
    return e ? PL_CONTAINER(e, struct meta_member, entry) : NULL;
}

bool meta_topic_has(const struct meta_topic *topic, uint64_t session)
{
    return find_member(topic, session) != NULL;
}

enum pl_err meta_topic_join(struct meta_topic *topic, uint64_t session)
{
    if (meta_topic_has(topic, session))
        return PL_OK;
    struct meta_member *member = pl_zalloc(sizeof *member);
    if (!member)
        return PL_NO_MEMORY;
    member->session = session;
    enum pl_err err = pl_map_add(&topic->members, &member->entry, id_bytes(&member->session));
    if (err)
        pl_free(member);
    return err;
}

bool meta_topic_leave(struct meta_topic *topic, uint64_t session)
{
    struct meta_member *member = find_member(topic, session);
    if (!member)
        return false;
    pl_map_remove(&topic->members, &member->entry);
    pl_free(member);
    return true;
}

void meta_topic_remove(struct meta_table *table, struct meta_topic *topic)
{
    struct pl_map_entry *e;
    while ((e = pl_map_next(&topic->members, NULL))) {
        pl_map_remove(&topic->members, e);
        pl_free(PL_CONTAINER(e, struct meta_member, entry));
    }
    pl_map_done(&topic->members);
    pl_map_remove(&table->by_id, &topic->by_id);
    pl_map_remove(&table->by_pattern, &topic->by_pattern);
    *topic->at = topic->next;
    if (topic->next)
        topic->next->at = topic->at;
    pl_pattern_unref(topic->pattern);
    pl_free(topic);
}

/* ---- The end ---- */

static void drop_table(struct meta_table *table)
{
    while (table->literals)
        meta_topic_remove(table, table->literals);
    while (table->patterns)
        meta_topic_remove(table, table->patterns);
    pl_map_done(&table->by_id);
    pl_map_done(&table->by_pattern);
}

void meta_tables_done(struct pl_wamp_meta *meta)
{
    while (meta->first)
        meta_session_remove(meta, meta->first);
    pl_map_done(&meta->sessions);
    drop_table(&meta->subscriptions);
    drop_table(&meta->registrations);
}
