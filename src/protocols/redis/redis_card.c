/* What others see of a connection: CLIENT LIST, CLIENT INFO and CLIENT KILL read it. */
#include <stdio.h>

#include "base/alloc.h"
#include "protocols/redis/redis_session.h"

struct pl_redis_card *pl_redis_card_new(const struct pl_redis_link *link)
{
    struct pl_redis_card *card = pl_zalloc(sizeof *card);
    if (!card)
        return NULL;
    if (pthread_mutex_init(&card->lock, NULL)) {
        pl_free(card);
        return NULL;
    }
    const struct pl_link *base = &link->base;
    atomic_init(&card->refs, 1);
    card->id = base->id;
    card->opened_ms = base->opened_ms;
    (void)snprintf(card->address, sizeof card->address, "%.*s:0",
        (int)(base->address.len < 60 ? base->address.len : 60), base->address.data);
    (void)snprintf(card->local, sizeof card->local, "%s:%u",
        base->config->host ? base->config->host : "", base->config->port);
    atomic_init(&card->active_ms, base->opened_ms);
    atomic_init(&card->queued, -1);
    atomic_init(&card->resp, link->resp);
    return card;
}

struct pl_redis_card *pl_redis_card_ref(struct pl_redis_card *card)
{
    atomic_fetch_add_explicit(&card->refs, 1, memory_order_relaxed);
    return card;
}

struct pl_redis_card *pl_redis_card_unref(struct pl_redis_card *card)
{
    if (!card || atomic_fetch_sub_explicit(&card->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    pl_shared_unref(card->name);
    pl_shared_unref(card->library);
    pl_shared_unref(card->library_version);
    (void)pthread_mutex_destroy(&card->lock);
    pl_free(card);
    return NULL;
}

void pl_redis_card_set(struct pl_redis_card *card, struct pl_shared **text, struct pl_shared *moved)
{
    (void)pthread_mutex_lock(&card->lock);
    struct pl_shared *old = *text;
    *text = moved;
    (void)pthread_mutex_unlock(&card->lock);
    pl_shared_unref(old);
}

struct pl_shared *pl_redis_text_new(struct pl_bytes text)
{
    struct pl_shared *s = pl_shared_new(text.len);
    if (s && text.len)
        memcpy(s->data, text.data, text.len);
    if (s)
        s->len = (uint32_t)text.len;
    return s;
}
