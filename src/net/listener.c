#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/state.h"

enum {
    ACCEPTS_PER_EVENT = 64,
    PAUSE_MS = 100, /* after the system had no descriptor or memory for us */
    BACKLOG = 4096,
};

static enum pl_err bind_err(int number)
{
    switch (number) {
    case EADDRINUSE:
        return PL_EXISTS;
    case EACCES:
    case EPERM:
        return PL_DENIED;
    case EADDRNOTAVAIL:
        return PL_CONFIG;
    default:
        return PL_IO;
    }
}

static void note_address(struct pl_listener *l)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    char text[INET6_ADDRSTRLEN] = "";
    getsockname(l->fd, (struct sockaddr *)&addr, &len);
    if (addr.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        l->port = ntohs(v4->sin_port);
        l->is_loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): addr is zeroed, whatever its type. */
        l->port = ntohs(v6->sin6_port);
        l->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    l->host = pl_alloc_copy(text, strlen(text));
}

/* Accepted sockets inherit what is set here. */
static void set_options(int fd, int keepalive_s)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!keepalive_s)
        return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_s, sizeof keepalive_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keepalive_s, sizeof keepalive_s);
}

static int listening_socket(
    const struct addrinfo *ai, bool is_any, int backlog, const struct pl_listener_options *options)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1, v6_only = !is_any;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    set_options(fd, options->keepalive_s);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static enum pl_err open_tcp(
    struct pl_listener *l, const struct pl_listener_options *options, struct pl_diag *diag)
{
    bool is_any = !options->host || !*options->host || strcmp(options->host, "*") == 0;
    /* A name for loopback everywhere, also where no file and no server tells it. */
    bool is_local = !is_any && strcmp(options->host, "localhost") == 0;
    const char *host = is_any ? "::" : is_local ? "127.0.0.1" : options->host;
    char port[8];
    snprintf(port, sizeof port, "%u", options->port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed && is_any)
        failed = getaddrinfo("0.0.0.0", port, &hints, &found);
    if (failed) {
        pl_diag_set(diag, failed, "cannot find the address %s: %s", is_any ? "*" : options->host,
            gai_strerror(failed));
        return PL_CONFIG;
    }
    int backlog = options->backlog ? options->backlog : BACKLOG;
    l->fd = listening_socket(found, is_any, backlog, options);
    if (l->fd < 0 && is_any && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        /* No IPv6 on this machine. */
        freeaddrinfo(found);
        found = NULL;
        if (getaddrinfo("0.0.0.0", port, &hints, &found) == 0)
            l->fd = listening_socket(found, is_any, backlog, options);
    }
    int number = errno;
    if (found)
        freeaddrinfo(found);
    if (l->fd < 0) {
        pl_diag_set(diag, number, "cannot listen on %s port %u: %s", is_any ? "*" : options->host,
            options->port, strerror(number));
        return bind_err(number);
    }
    note_address(l);
    return l->host ? PL_OK : PL_NO_MEMORY;
}

/* Is it a socket that nobody listens on any more? */
static bool is_stale(const struct sockaddr_un *addr)
{
    struct stat about;
    if (lstat(addr->sun_path, &about) != 0 || !S_ISSOCK(about.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool stale =
        connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static enum pl_err open_unix(
    struct pl_listener *l, const struct pl_listener_options *options, struct pl_diag *diag)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(options->unix_path);
    if (!len || len >= sizeof addr.sun_path) {
        pl_diag_set(diag, 0, "the path of a Unix socket has 1 to %zu bytes: %s",
            sizeof addr.sun_path - 1, options->unix_path);
        return PL_CONFIG;
    }
    memcpy(addr.sun_path, options->unix_path, len + 1);
    l->is_unix = l->is_loopback = true;
    l->host = pl_alloc_copy(options->unix_path, len);
    if (!l->host)
        return PL_NO_MEMORY;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct sockaddr *any = (const struct sockaddr *)&addr;
    struct stat about;
    bool bound = l->fd >= 0 && bind(l->fd, any, sizeof addr) == 0;
    if (!bound && l->fd >= 0 && errno == EADDRINUSE) {
        if (is_stale(&addr) && unlink(addr.sun_path) == 0)
            bound = bind(l->fd, any, sizeof addr) == 0;
        else
            errno = EADDRINUSE;
    }
    if (bound && lstat(addr.sun_path, &about) == 0) {
        l->unix_dev = about.st_dev;
        l->unix_ino = about.st_ino;
    }
    /* Nobody can connect before listen, so the mode is right when it counts. */
    if (!bound || (options->unix_mode && chmod(addr.sun_path, options->unix_mode & 0777) != 0) ||
        listen(l->fd, options->backlog ? options->backlog : BACKLOG) != 0) {
        int number = errno;
        pl_diag_set(diag, number, "cannot listen on %s: %s", options->unix_path, strerror(number));
        return bind_err(number);
    }
    return PL_OK;
}

static enum pl_err open_local(struct pl_listener *l)
{
    static const char name[] = "local";
    l->is_unix = l->is_loopback = true;
    l->host = pl_alloc_copy(name, sizeof name - 1);
    return l->host ? PL_OK : PL_NO_MEMORY;
}

static void remove_unix_file(const struct pl_listener *l)
{
    struct stat about;
    if (l->is_unix && l->unix_ino && lstat(l->host, &about) == 0 && about.st_dev == l->unix_dev &&
        about.st_ino == l->unix_ino)
        unlink(l->host);
}

static void close_sockets(struct pl_listener *l)
{
    if (l->fd >= 0) {
        remove_unix_file(l);
        close(l->fd);
    }
    if (l->spare_fd >= 0)
        close(l->spare_fd);
    l->fd = l->spare_fd = -1;
}

enum pl_err pl_listener_open(
    const struct pl_listener_options *options, struct pl_listener **out, struct pl_diag *diag)
{
    struct pl_listener *l = pl_zalloc(sizeof *l);
    if (!l)
        return PL_NO_MEMORY;
    enum pl_err err = PL_NO_MEMORY;
    l->fd = l->spare_fd = -1;
    l->reactors = pl_alloc(options->reactor_count * sizeof *l->reactors);
    if (!l->reactors)
        goto fail;
    memcpy(l->reactors, options->reactors, options->reactor_count * sizeof *l->reactors);
    l->reactor_count = options->reactor_count;
    l->gate = options->gate;
    l->has_address_rate = options->has_address_rate;
    if (!l->gate) {
        l->gate = pl_gate_new(&(struct pl_gate_limits){0});
        l->owns_gate = true;
        if (!l->gate)
            goto fail;
    }
    l->ops = options->ops;
    l->context = options->context;
    l->tls = options->tls;
    l->output_max = options->output_max;
    l->input_max = options->input_max;
    err = options->is_local    ? open_local(l)
          : options->unix_path ? open_unix(l, options, diag)
                               : open_tcp(l, options, diag);
    if (err)
        goto fail;
    l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *out = l;
    return PL_OK;
fail:
    pl_listener_free(l);
    return err;
}

static void admit(struct pl_listener *l, struct pl_reactor *r, int fd, const struct sockaddr *addr)
{
    struct pl_peer *peer =
        pl_gate_enter(l->gate, l->is_unix ? NULL : addr, l->has_address_rate, r->now_ms);
    if (!peer) {
        close(fd);
        return;
    }
    /* Round all listeners of this reactor together, so that one connection on each of several
     * ports does not end up on one reactor. */
    struct pl_reactor *target = l->reactors[r->next_target++ % l->reactor_count];
    struct pl_conn *conn = pl_conn_new(l, fd, peer, target);
    if (!conn) {
        pl_gate_leave(peer);
        close(fd);
    } else if (target == r) {
        pl_conn_start(conn);
    } else {
        pl_reactor_post(target, &conn->post);
    }
}

struct adoption {
    struct pl_post post;
    struct pl_listener *listener;
    int fd;
};

static void adopt_here(struct pl_post *post, void *reactor)
{
    struct adoption *a = PL_CONTAINER(post, struct adoption, post);
    struct pl_reactor *r = reactor;
    if (r->stopping || atomic_load(&a->listener->stop_posted))
        close(a->fd);
    else
        admit(a->listener, r, a->fd, NULL);
    pl_free(a);
}

enum pl_err pl_listener_adopt(struct pl_listener *l, int fd)
{
    struct adoption *a = pl_zalloc(sizeof *a);
    if (!a)
        return PL_NO_MEMORY;
    *a = (struct adoption){.post.run = adopt_here, .listener = l, .fd = fd};
    pl_reactor_post(l->reactors[0], &a->post);
    return PL_OK;
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void go_on(struct pl_timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct pl_listener *l = PL_CONTAINER(timer, struct pl_listener, pause);
    if (l->fd >= 0)
        uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

/* No descriptor is free. The spare one takes the peer in, to turn it away; without it, or without
 * memory, nobody is accepted for a moment: epoll would tell us about the same peer again and
 * again. */
static bool turn_one_away(struct pl_listener *l)
{
    if (l->spare_fd < 0)
        return false;
    close(l->spare_fd);
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct pl_listener *l = poll->data;
    struct pl_reactor *r = l->reactors[0];
    pl_reactor_enter(r);
    for (int i = 0; i < ACCEPTS_PER_EVENT && l->fd >= 0; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        struct sockaddr *any = (struct sockaddr *)&addr;
        int fd = accept4(l->fd, any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(l, r, fd, any);
            continue;
        }
        if (errno == EAGAIN)
            return;
        bool is_short = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (!is_short || turn_one_away(l))
            continue; /* EINTR, ECONNABORTED and what the network had against this one peer */
        if (pl_timer_set(r, &l->pause, r->now_ms + PAUSE_MS) == PL_OK)
            uv_poll_stop(&l->poll);
        return;
    }
}

static void start_here(struct pl_post *post, void *reactor)
{
    struct pl_listener *l = PL_CONTAINER(post, struct pl_listener, start_post);
    struct pl_reactor *r = reactor;
    if (l->is_started || r->stopping || l->fd < 0)
        return;
    if (uv_poll_init(&r->loop, &l->poll, l->fd) != 0)
        return;
    l->is_started = true;
    l->pause.run = go_on;
    l->poll.data = l;
    l->next = r->listeners;
    r->listeners = l;
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

void pl_listener_start(struct pl_listener *l)
{
    if (atomic_exchange(&l->start_posted, true))
        return;
    l->start_post.run = start_here;
    pl_reactor_post(l->reactors[0], &l->start_post);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct pl_listener *l = handle->data;
    close_sockets(l);
}

void pl_listener_stop_here(struct pl_listener *l)
{
    struct pl_reactor *r = l->reactors[0];
    if (!l->is_started)
        return;
    l->is_started = false;
    for (struct pl_listener **at = &r->listeners; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    pl_heap_remove(&r->heap, &l->pause.deadline);
    uv_close((uv_handle_t *)&l->poll, on_poll_closed);
}

static void stop_here(struct pl_post *post, void *reactor)
{
    (void)reactor;
    struct pl_listener *l = PL_CONTAINER(post, struct pl_listener, stop_post);
    if (l->is_started)
        pl_listener_stop_here(l);
    else
        close_sockets(l);
}

void pl_listener_stop(struct pl_listener *l)
{
    if (atomic_exchange(&l->stop_posted, true))
        return;
    l->stop_post.run = stop_here;
    pl_reactor_post(l->reactors[0], &l->stop_post);
}

struct pl_listener *pl_listener_free(struct pl_listener *l)
{
    if (!l)
        return NULL;
    close_sockets(l);
    if (l->owns_gate)
        pl_gate_free(l->gate);
    pl_free(l->reactors);
    pl_free(l->host);
    pl_free(l);
    return NULL;
}

void *pl_listener_context(const struct pl_listener *l)
{
    return l->context;
}

const char *pl_listener_host(const struct pl_listener *l)
{
    return l->host;
}

uint16_t pl_listener_port(const struct pl_listener *l)
{
    return l->port;
}

bool pl_listener_is_loopback(const struct pl_listener *l)
{
    return l->is_loopback;
}
