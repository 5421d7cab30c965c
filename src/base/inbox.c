#include "base/inbox.h"

void pl_inbox_init(struct pl_inbox *inbox)
{
    inbox->head = inbox->tail = NULL;
    atomic_init(&inbox->has_posts, false);
    atomic_init(&inbox->sleeping, false);
    pthread_mutex_init(&inbox->lock, NULL);
}

void pl_inbox_done(struct pl_inbox *inbox)
{
    pthread_mutex_destroy(&inbox->lock);
}

bool pl_inbox_push(struct pl_inbox *inbox, struct pl_post *post)
{
    post->next = NULL;
    pthread_mutex_lock(&inbox->lock);
    if (inbox->tail)
        inbox->tail->next = post;
    else
        inbox->head = post;
    inbox->tail = post;
    atomic_store(&inbox->has_posts, true);
    pthread_mutex_unlock(&inbox->lock);
    return atomic_load(&inbox->sleeping) && atomic_exchange(&inbox->sleeping, false);
}

struct pl_post *pl_inbox_take(struct pl_inbox *inbox)
{
    if (!atomic_load_explicit(&inbox->has_posts, memory_order_acquire))
        return NULL;
    pthread_mutex_lock(&inbox->lock);
    struct pl_post *head = inbox->head;
    inbox->head = inbox->tail = NULL;
    atomic_store_explicit(&inbox->has_posts, false, memory_order_relaxed);
    pthread_mutex_unlock(&inbox->lock);
    return head;
}

bool pl_inbox_sleep(struct pl_inbox *inbox)
{
    atomic_store(&inbox->sleeping, true);
    if (!atomic_load(&inbox->has_posts))
        return true;
    atomic_store_explicit(&inbox->sleeping, false, memory_order_relaxed);
    return false;
}

void pl_inbox_wake(struct pl_inbox *inbox)
{
    atomic_store_explicit(&inbox->sleeping, false, memory_order_relaxed);
}
