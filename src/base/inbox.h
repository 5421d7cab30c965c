/*
 * What other threads want of this one: a queue with many writers and one reader.
 *
 * A post is embedded in what is sent and belongs to the inbox until it is taken. Posts come out in
 * the order in which they went in. pl_inbox_push tells whether the reader must be woken: only if it
 * said that it sleeps, and once.
 */
#ifndef PL_BASE_INBOX_H
#define PL_BASE_INBOX_H

#include <pthread.h>

#include "base/bytes.h"

struct pl_post {
    struct pl_post *next;
    /* Runs on the reader's thread. context is what the reader gave to whoever drains. */
    void (*run)(struct pl_post *post, void *context);
};

struct pl_inbox {
    pthread_mutex_t lock;
    struct pl_post *head, *tail; /* guarded by lock */
    /* Each side writes its own and then reads the other's, so that one of them sees the other. */
    atomic_bool has_posts; /* written under the lock */
    atomic_bool sleeping;
};

void pl_inbox_init(struct pl_inbox *inbox);
void pl_inbox_done(struct pl_inbox *inbox);
/* Any thread. True: the reader sleeps and nobody else has been told to wake it. */
bool pl_inbox_push(struct pl_inbox *inbox, struct pl_post *post);
/* Reader: all posts, oldest first, or NULL. */
struct pl_post *pl_inbox_take(struct pl_inbox *inbox);
/* Reader: false if there are posts, so it must not sleep. */
bool pl_inbox_sleep(struct pl_inbox *inbox);
void pl_inbox_wake(struct pl_inbox *inbox);

#endif
