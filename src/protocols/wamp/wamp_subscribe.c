/*
 * SUBSCRIBE and UNSUBSCRIBE. A session has one subscription of a pattern: asking again gives the
 * same id, and one UNSUBSCRIBE ends it.
 */
#include "base/alloc.h"
#include "protocols/wamp/wamp_session.h"

static struct pl_bytes id_key(const uint64_t *id)
{
    return pl_bytes_of(id, sizeof *id);
}

struct wamp_sub *wamp_find_sub(struct wamp_session *s, uint64_t id)
{
    struct pl_map_entry *e = pl_map_find(&s->subs, id_key(&id));
    return e ? PL_CONTAINER(e, struct wamp_sub, entry) : NULL;
}

static void unlist(struct wamp_session *s, struct wamp_sub *sub)
{
    if (sub->is_listed)
        pl_map_remove(&s->subs, &sub->entry);
    sub->is_listed = false;
}

static void free_sub(struct wamp_session *s, struct wamp_sub *sub)
{
    unlist(s, sub);
    for (struct wamp_sub **at = &s->sub_list; *at; at = &(*at)->next)
        if (*at == sub) {
            *at = sub->next;
            break;
        }
    pl_free(sub);
}

void wamp_free_subs(struct wamp_session *s)
{
    while (s->sub_list)
        free_sub(s, s->sub_list);
}

/* Answered behind what is open: by then it is known whether the first one was granted. */
static enum pl_err answer_again(struct wamp_session *s, uint64_t request, uint64_t id)
{
    uint64_t *asked = pl_arena_alloc(pl_session_arena(&s->core), 2 * sizeof *asked);
    if (!asked)
        return PL_NO_MEMORY;
    asked[0] = request;
    asked[1] = id;
    pl_session_fence(&s->core, (uint64_t)(uintptr_t)asked);
    return PL_OK;
}

static uint8_t replay_of(const struct wamp_session *s, bool get_retained)
{
    const struct pl_identity *identity = s->core.identity;
    if (get_retained)
        return PL_REPLAY_RETAINED;
    return identity->has_replay ? identity->replay : s->wl->link.config->replay;
}

static enum pl_err add_sub(
    struct wamp_session *s, const struct pl_wamp *m, struct pl_pattern *pattern_moved, uint64_t id)
{
    const struct wamp_link *wl = s->wl;
    struct wamp_sub *sub = pl_zalloc(sizeof *sub);
    if (!sub) {
        pl_pattern_unref(pattern_moved);
        return PL_NO_MEMORY;
    }
    sub->id = id;
    sub->request = m->ids[0];
    sub->way = wl->way;
    sub->plain = wamp_options(wl)->plain;
    sub->wants_publisher = s->features.publisher_identification;
    sub->has_topic = !pattern_moved->is_literal;
    sub->core.pattern = pattern_moved;
    sub->core.form = wamp_form(sub);
    sub->core.slow = wl->link.config->has_slow ? wl->link.config->slow : PL_SLOW_DISCONNECT;
    sub->core.replay = replay_of(s, pl_value_flag(&m->details, "get_retained"));
    if (pl_map_add(&s->subs, &sub->entry, id_key(&sub->id))) {
        pl_pattern_unref(pattern_moved);
        pl_free(sub);
        return PL_NO_MEMORY;
    }
    sub->is_listed = true;
    sub->next = s->sub_list;
    s->sub_list = sub;
    pl_session_subscribe(&s->core, &sub->core, NULL, m->ids[0]);
    return PL_OK;
}

static enum pl_err subscribe(struct wamp_session *s, const struct pl_wamp *m)
{
    struct pl_arena *arena = pl_session_arena(&s->core);
    enum wamp_match match = WAMP_EXACT;
    struct pl_value value;
    struct pl_bytes uri;
    struct pl_pattern *pattern;
    if (wamp_option(&m->details, "match", &value) && !wamp_match_parse(&value, &match))
        return PL_UNSUPPORTED;
    enum pl_err err = pl_value_text(&m->text, arena, &uri);
    if (!err)
        err = wamp_pattern_decode(arena, uri, match, wamp_options(s->wl)->strict_uri, &pattern);
    if (err)
        return err;
    uint64_t id = wamp_subscription_id(s->core.realm, pattern);
    if (!wamp_find_sub(s, id))
        return add_sub(s, m, pattern, id);
    pl_pattern_unref(pattern);
    return answer_again(s, m->ids[0], id);
}

enum pl_err wamp_on_subscribe(struct wamp_session *s, const struct pl_wamp *m)
{
    enum pl_err err = wamp_authorize(s, m, "subscribe", true);
    if (err)
        return err == PL_DENIED || err == PL_NEED_MORE ? PL_OK : err;
    err = subscribe(s, m);
    if (err == PL_UNSUPPORTED)
        wamp_send_error(
            s->wl, PL_WAMP_SUBSCRIBE, m->ids[0], "wamp.error.invalid_argument", "unknown match");
    else if (err)
        wamp_send_err(s->wl, PL_WAMP_SUBSCRIBE, m->ids[0], err);
    return PL_OK;
}

void wamp_on_subscribed(struct wamp_session *s, const struct pl_completion *done)
{
    struct wamp_sub *sub = (struct wamp_sub *)done->sub;
    uint64_t id = sub->id;
    if (done->err)
        free_sub(s, sub);
    else
        sub->is_live = true;
    if (!s->wl)
        return;
    if (done->err)
        wamp_send_err(s->wl, PL_WAMP_SUBSCRIBE, done->token, done->err);
    else
        wamp_send_ids(s->wl, PL_WAMP_SUBSCRIBED, done->token, id);
}

void wamp_drop_sub(struct wamp_session *s, struct wamp_sub *sub, uint64_t request)
{
    unlist(s, sub);
    pl_session_unsubscribe(&s->core, &sub->core, request);
}

void wamp_on_unsubscribe(struct wamp_session *s, const struct pl_wamp *m)
{
    struct wamp_sub *sub = wamp_find_sub(s, m->ids[1]);
    if (sub)
        wamp_drop_sub(s, sub, m->ids[0]);
    else
        wamp_send_error(
            s->wl, PL_WAMP_UNSUBSCRIBE, m->ids[0], "wamp.error.no_such_subscription", NULL);
}

void wamp_on_unsubscribed(struct wamp_session *s, const struct pl_completion *done)
{
    free_sub(s, (struct wamp_sub *)done->sub);
    /* Token 0: it was taken away, and that has been told. */
    if (s->wl && done->token)
        wamp_send_ids(s->wl, PL_WAMP_UNSUBSCRIBED, done->token, 0);
}
