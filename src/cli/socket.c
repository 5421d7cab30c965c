#include "cli/socket.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

struct pl_socket {
    int fd;
    gnutls_session_t tls; /* NULL: plain */
    gnutls_certificate_credentials_t credentials;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* False: the time is over. */
static bool wait_for(int fd, short events, uint64_t end_ms)
{
    for (;;) {
        uint64_t now = now_ms();
        if (now >= end_ms)
            return false;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, (int)(end_ms - now));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/* 0, or an errno. */
static int connect_to(int fd, const struct sockaddr *address, socklen_t len, uint64_t end_ms)
{
    if (connect(fd, address, len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    int error = 0;
    socklen_t size = sizeof error;
    if (!wait_for(fd, POLLOUT, end_ms))
        return ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
        return errno;
    return error;
}

static int open_unix(const char *path, uint64_t end_ms, int *out_error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        *out_error = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *out_error =
        fd < 0 ? errno : connect_to(fd, (struct sockaddr *)&address, sizeof address, end_ms);
    if (*out_error && fd >= 0)
        close(fd);
    return *out_error ? -1 : fd;
}

static int open_tcp(const struct addrinfo *list, uint64_t end_ms, int *out_error)
{
    *out_error = EHOSTUNREACH;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        *out_error = fd < 0 ? errno : connect_to(fd, a->ai_addr, a->ai_addrlen, end_ms);
        if (!*out_error) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            return fd;
        }
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

enum pl_err pl_socket_open(const char *host, const char *port, const char *path,
    uint64_t timeout_ms, struct pl_socket **out, struct pl_diag *diag)
{
    uint64_t end_ms = now_ms() + timeout_ms;
    int error = 0, fd;
    if (*host) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
        int failed = getaddrinfo(host, port, &hints, &list);
        if (failed) {
            pl_diag_set(diag, failed, "%s: %s", host, gai_strerror(failed));
            return PL_IO;
        }
        fd = open_tcp(list, end_ms, &error);
        freeaddrinfo(list);
    } else {
        fd = open_unix(path, end_ms, &error);
    }
    if (fd < 0) {
        char text[128];
        pl_diag_set(diag, error, "%s", strerror_r(error, text, sizeof text));
        return PL_IO;
    }
    struct pl_socket *s = pl_zalloc(sizeof *s);
    if (!s) {
        close(fd);
        return PL_NO_MEMORY;
    }
    s->fd = fd;
    *out = s;
    return PL_OK;
}

void pl_socket_close(struct pl_socket *s)
{
    if (!s)
        return;
    if (s->tls) {
        (void)gnutls_bye(s->tls, GNUTLS_SHUT_WR);
        gnutls_deinit(s->tls);
    }
    if (s->credentials)
        gnutls_certificate_free_credentials(s->credentials);
    close(s->fd);
    pl_free(s);
}

static int prepare_tls(struct pl_socket *s, const char *host, const char *ca_file, bool insecure)
{
    int code = gnutls_certificate_allocate_credentials(&s->credentials);
    if (code == GNUTLS_E_SUCCESS && ca_file)
        code = gnutls_certificate_set_x509_trust_file(s->credentials, ca_file, GNUTLS_X509_FMT_PEM);
    else if (code == GNUTLS_E_SUCCESS && !insecure)
        code = gnutls_certificate_set_x509_system_trust(s->credentials);
    if (code < 0)
        return code;
    code = gnutls_init(&s->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (code == GNUTLS_E_SUCCESS)
        code = gnutls_set_default_priority(s->tls);
    if (code == GNUTLS_E_SUCCESS)
        code = gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, s->credentials);
    if (code != GNUTLS_E_SUCCESS)
        return code;
    if (*host)
        (void)gnutls_server_name_set(s->tls, GNUTLS_NAME_DNS, host, strlen(host));
    if (!insecure)
        gnutls_session_set_verify_cert(s->tls, *host ? host : NULL, 0);
    gnutls_transport_set_int(s->tls, s->fd);
    return GNUTLS_E_SUCCESS;
}

enum pl_err pl_socket_start_tls(struct pl_socket *s, const char *host, const char *ca_file,
    bool insecure, uint64_t timeout_ms, struct pl_diag *diag)
{
    uint64_t end_ms = now_ms() + timeout_ms;
    int code = prepare_tls(s, host, ca_file, insecure);
    while (code == GNUTLS_E_SUCCESS || !gnutls_error_is_fatal(code)) {
        code = gnutls_handshake(s->tls);
        if (code == GNUTLS_E_SUCCESS)
            return PL_OK;
        short events = gnutls_record_get_direction(s->tls) ? POLLOUT : POLLIN;
        if (code == GNUTLS_E_AGAIN && !wait_for(s->fd, events, end_ms)) {
            pl_diag_set(diag, 0, "no TLS handshake in time");
            return PL_TIMEOUT;
        }
    }
    gnutls_datum_t why = {0};
    if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
        gnutls_certificate_verification_status_print(gnutls_session_get_verify_cert_status(s->tls),
            GNUTLS_CRT_X509, &why, 0) == GNUTLS_E_SUCCESS)
        pl_diag_set(diag, code, "the server's certificate: %s", (const char *)why.data);
    else
        pl_diag_set(diag, code, "TLS: %s", gnutls_strerror(code));
    gnutls_free(why.data);
    return PL_IO;
}

int pl_socket_fd(const struct pl_socket *s)
{
    return s->fd;
}

bool pl_socket_has_pending(const struct pl_socket *s)
{
    return s->tls && gnutls_record_check_pending(s->tls);
}

/* What a call's result means; n > 0 is a length. */
static enum pl_err result(const struct pl_socket *s, ssize_t n, size_t *out_len)
{
    if (n > 0) {
        *out_len = (size_t)n;
        return PL_OK;
    }
    if (n == 0)
        return PL_CLOSED;
    if (s->tls)
        return gnutls_error_is_fatal((int)n) ? PL_CLOSED : PL_NEED_MORE;
    return errno == EAGAIN || errno == EINTR ? PL_NEED_MORE : PL_CLOSED;
}

enum pl_err pl_socket_read(struct pl_socket *s, void *to, size_t cap, size_t *out_len)
{
    return result(
        s, s->tls ? gnutls_record_recv(s->tls, to, cap) : recv(s->fd, to, cap, 0), out_len);
}

enum pl_err pl_socket_write(struct pl_socket *s, struct pl_bytes from, size_t *out_len)
{
    ssize_t n = s->tls ? gnutls_record_send(s->tls, from.data, from.len)
                       : send(s->fd, from.data, from.len, MSG_NOSIGNAL);
    return result(s, n, out_len);
}
