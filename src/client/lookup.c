#include "client/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"

struct pl_lookup {
    atomic_uint refs; /* the owner's and the thread's */
    atomic_bool is_done;
    int fd;
    char host[256], port[16];
    struct addrinfo *list; /* what the thread found; read after is_done */
    int failed;
};

static void unref(struct pl_lookup *l)
{
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (l->list)
        freeaddrinfo(l->list);
    close(l->fd);
    pl_free(l);
}

static void finish(struct pl_lookup *l)
{
    uint64_t one = 1;
    atomic_store_explicit(&l->is_done, true, memory_order_release);
    (void)!write(l->fd, &one, sizeof one);
}

static int ask(struct pl_lookup *l, const char *host, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    return getaddrinfo(host, l->port, &hints, &l->list);
}

static void *run(void *context)
{
    struct pl_lookup *l = context;
    l->failed = ask(l, l->host, AI_NUMERICSERV);
    finish(l);
    unref(l);
    return NULL;
}

static enum pl_err start_thread(struct pl_lookup *l, struct pl_diag *diag)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_store(&l->refs, 2);
    int number = pthread_create(&thread, &attributes, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!number)
        return PL_OK;
    atomic_store(&l->refs, 1);
    pl_diag_set(diag, number, "no thread is left");
    return PL_IO;
}

enum pl_err pl_lookup_new(
    const char *host, const char *port, struct pl_lookup **out, struct pl_diag *diag)
{
    struct pl_lookup *l = pl_zalloc(sizeof *l);
    if (!l)
        return PL_NO_MEMORY;
    atomic_init(&l->refs, 1);
    l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->fd < 0) {
        pl_free(l);
        pl_diag_set(diag, errno, "no descriptor is left");
        return PL_IO;
    }
    (void)stpncpy(l->host, host, sizeof l->host - 1);
    (void)stpncpy(l->port, port, sizeof l->port - 1);
    enum pl_err err = PL_OK;
    bool is_local = strcmp(host, "localhost") == 0;
    if (is_local || ask(l, host, AI_NUMERICHOST | AI_NUMERICSERV) == 0) {
        /* The loopback addresses of this machine: NULL stands for them. */
        if (is_local)
            l->failed = ask(l, NULL, AI_NUMERICSERV);
        finish(l);
    } else {
        err = start_thread(l, diag);
    }
    if (err)
        unref(l);
    else
        *out = l;
    return err;
}

int pl_lookup_fd(const struct pl_lookup *l)
{
    return l->fd;
}

enum pl_err pl_lookup_take(
    struct pl_lookup *l, struct pl_address **out, uint32_t *out_count, struct pl_diag *diag)
{
    if (!atomic_load_explicit(&l->is_done, memory_order_acquire))
        return PL_NEED_MORE;
    if (l->failed) {
        pl_diag_set(diag, l->failed, "%s: %s", l->host, gai_strerror(l->failed));
        return PL_IO;
    }
    struct pl_address *list = pl_zalloc(PL_ADDRESSES_OF_HOST_MAX * sizeof *list);
    if (!list)
        return PL_NO_MEMORY;
    uint32_t count = 0;
    for (const struct addrinfo *a = l->list; a && count < PL_ADDRESSES_OF_HOST_MAX;
         a = a->ai_next) {
        list[count].len = a->ai_addrlen;
        memcpy(&list[count++].bytes, a->ai_addr, a->ai_addrlen);
    }
    *out = list;
    *out_count = count;
    return PL_OK;
}

struct pl_lookup *pl_lookup_free(struct pl_lookup *l)
{
    if (l)
        unref(l);
    return NULL;
}
