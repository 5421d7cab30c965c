#include "client/socket.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/reactor.h"

struct pl_socket {
    int fd;
    gnutls_session_t tls; /* NULL: plain */
    gnutls_certificate_credentials_t credentials;
};

/* ---- Connecting ---- */

static enum pl_err io_error(int number, struct pl_diag *diag)
{
    char text[128];
    pl_diag_set(diag, number, "%s", strerror_r(number, text, sizeof text));
    return PL_IO;
}

enum pl_err pl_socket_adopt(int fd, struct pl_socket **out)
{
    struct pl_socket *s = pl_zalloc(sizeof *s);
    if (!s) {
        close(fd);
        return PL_NO_MEMORY;
    }
    s->fd = fd;
    *out = s;
    return PL_OK;
}

enum pl_err pl_socket_begin(
    const struct sockaddr *address, socklen_t len, struct pl_socket **out, struct pl_diag *diag)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return io_error(errno, diag);
    if (address->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, address, len) != 0 && errno != EINPROGRESS) {
        int number = errno;
        close(fd);
        return io_error(number, diag);
    }
    return pl_socket_adopt(fd, out);
}

enum pl_err pl_socket_begin_unix(const char *path, struct pl_socket **out, struct pl_diag *diag)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return io_error(ENAMETOOLONG, diag);
    memcpy(address.sun_path, path, strlen(path) + 1);
    return pl_socket_begin((struct sockaddr *)&address, sizeof address, out, diag);
}

enum pl_err pl_socket_connected(struct pl_socket *s, struct pl_diag *diag)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    if (poll(&p, 1, 0) == 0)
        return PL_NEED_MORE;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size))
        error = errno;
    return error ? io_error(error, diag) : PL_OK;
}

struct pl_socket *pl_socket_close(struct pl_socket *s)
{
    if (!s)
        return NULL;
    if (s->tls) {
        (void)gnutls_bye(s->tls, GNUTLS_SHUT_WR);
        gnutls_deinit(s->tls);
    }
    if (s->credentials)
        gnutls_certificate_free_credentials(s->credentials);
    close(s->fd);
    pl_free(s);
    return NULL;
}

/* ---- TLS ---- */

static int load_credentials(struct pl_socket *s, const struct pl_socket_tls *tls)
{
    int code = gnutls_certificate_allocate_credentials(&s->credentials);
    if (code == GNUTLS_E_SUCCESS && tls->ca_file)
        code = gnutls_certificate_set_x509_trust_file(
            s->credentials, tls->ca_file, GNUTLS_X509_FMT_PEM);
    else if (code == GNUTLS_E_SUCCESS && !tls->insecure)
        code = gnutls_certificate_set_x509_system_trust(s->credentials);
    if (code >= 0 && tls->cert_file)
        code = gnutls_certificate_set_x509_key_file(s->credentials, tls->cert_file,
            tls->key_file ? tls->key_file : tls->cert_file, GNUTLS_X509_FMT_PEM);
    return code < 0 ? code : GNUTLS_E_SUCCESS;
}

static int prepare_tls(struct pl_socket *s, const char *host, const struct pl_socket_tls *tls)
{
    int code = load_credentials(s, tls);
    if (code == GNUTLS_E_SUCCESS)
        code = gnutls_init(&s->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (code == GNUTLS_E_SUCCESS)
        code = gnutls_set_default_priority(s->tls);
    if (code == GNUTLS_E_SUCCESS)
        code = gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, s->credentials);
    if (code != GNUTLS_E_SUCCESS)
        return code;
    if (*host)
        (void)gnutls_server_name_set(s->tls, GNUTLS_NAME_DNS, host, strlen(host));
    if (!tls->insecure)
        gnutls_session_set_verify_cert(s->tls, *host ? host : NULL, 0);
    gnutls_transport_set_int(s->tls, s->fd);
    return GNUTLS_E_SUCCESS;
}

enum pl_err pl_socket_begin_tls(
    struct pl_socket *s, const char *host, const struct pl_socket_tls *tls, struct pl_diag *diag)
{
    int code = prepare_tls(s, host, tls);
    if (code == GNUTLS_E_SUCCESS)
        return PL_OK;
    pl_diag_set(diag, code, "TLS: %s", gnutls_strerror(code));
    return PL_IO;
}

enum pl_err pl_socket_handshake(struct pl_socket *s, struct pl_diag *diag)
{
    int code;
    do {
        code = gnutls_handshake(s->tls);
        if (code == GNUTLS_E_SUCCESS)
            return PL_OK;
        if (code == GNUTLS_E_AGAIN)
            return PL_NEED_MORE;
    } while (!gnutls_error_is_fatal(code));
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

bool pl_socket_wants_write(const struct pl_socket *s)
{
    return s->tls && gnutls_record_get_direction(s->tls);
}

bool pl_socket_is_tls(const struct pl_socket *s)
{
    return s->tls;
}

/* ---- Opening, and waiting for it ---- */

/* False: the time is over. */
static bool wait_for(int fd, short events, uint64_t end_ms)
{
    for (;;) {
        uint64_t now = pl_clock_ms();
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

static enum pl_err await_connected(struct pl_socket **s, uint64_t end_ms, struct pl_diag *diag)
{
    enum pl_err err = PL_NEED_MORE;
    while (err == PL_NEED_MORE) {
        if (!wait_for((*s)->fd, POLLOUT, end_ms))
            err = io_error(ETIMEDOUT, diag);
        else
            err = pl_socket_connected(*s, diag);
    }
    if (err)
        *s = pl_socket_close(*s);
    return err;
}

enum pl_err pl_socket_open(const char *host, const char *port, const char *path,
    uint64_t timeout_ms, struct pl_socket **out, struct pl_diag *diag)
{
    uint64_t end_ms = pl_clock_ms() + timeout_ms;
    struct pl_socket *s = NULL;
    enum pl_err err = PL_IO;
    if (!*host) {
        err = pl_socket_begin_unix(path, &s, diag);
        if (!err)
            err = await_connected(&s, end_ms, diag);
    } else {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
        int failed = getaddrinfo(host, port, &hints, &list);
        if (failed) {
            pl_diag_set(diag, failed, "%s: %s", host, gai_strerror(failed));
            return PL_IO;
        }
        for (const struct addrinfo *a = list; a && err; a = a->ai_next) {
            err = pl_socket_begin(a->ai_addr, a->ai_addrlen, &s, diag);
            if (!err)
                err = await_connected(&s, end_ms, diag);
        }
        freeaddrinfo(list);
    }
    if (!err)
        *out = s;
    return err;
}

enum pl_err pl_socket_start_tls(struct pl_socket *s, const char *host,
    const struct pl_socket_tls *tls, uint64_t timeout_ms, struct pl_diag *diag)
{
    uint64_t end_ms = pl_clock_ms() + timeout_ms;
    enum pl_err err = pl_socket_begin_tls(s, host, tls, diag);
    while (!err) {
        err = pl_socket_handshake(s, diag);
        if (err != PL_NEED_MORE)
            return err;
        err = PL_OK;
        if (!wait_for(s->fd, pl_socket_wants_write(s) ? POLLOUT : POLLIN, end_ms)) {
            pl_diag_set(diag, 0, "no TLS handshake in time");
            err = PL_TIMEOUT;
        }
    }
    return err;
}

/* ---- Bytes ---- */

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
